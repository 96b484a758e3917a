"""A gradebook on a PostgreSQL server is the same gradebook: same rows, same tools, nothing double, clear errors."""

import contextlib
import functools
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
from grading_samples import FULL, read_json, scores
from nbgrader.api import Base, Gradebook
from postgresql_server import NEEDED, programs, running

from coursekit.grading import database as databases
from coursekit.grading.assignment import load
from coursekit.grading.build import load_config
from coursekit.grading.class_report import report
from coursekit.grading.course import CourseError
from coursekit.grading.export import export
from coursekit.grading.feedback import feedback
from coursekit.grading.grade import grade, grade_class
from coursekit.grading.gradebook import Book

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server():
    found = programs()
    if found is None:
        pytest.skip(NEEDED)
    with running(found) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def version_asked_for_once():
    """nbgrader starts a program for it, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(databases, "get_alembic_version", functools.cache(databases.get_alembic_version))
        yield


@pytest.fixture
def database(server) -> str:
    return server.new_database()


@pytest.fixture
def on_server(new_course, server, database):
    """A course whose gradebook is to be on the server, in a database that is empty yet."""
    course = new_course()
    keep_in(course, server.url(database))
    return course


@pytest.fixture(scope="module")
def template(server, new_course) -> str:
    """A database with a new gradebook: making one takes seconds."""
    course, name = new_course(), server.new_database()
    keep_in(course, server.url(name))
    with Book(course, load_config(course)):
        return name


@pytest.fixture
def made(server, on_server, template, database):
    """The same, with a gradebook in which there is nothing yet."""
    server.execute(f"DROP DATABASE {database}")
    server.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
    return on_server


@pytest.fixture(scope="module")
def a_class(filled, hand_in):
    """a_class(course): two submissions, handed in at known times."""

    def hand_all_in(course):
        notebooks = {
            "half": filled(add="def add(a, b):\n    return abs(a) + abs(b)", root="def root(x): return 3.0"),
            "Zoë Ångström": filled(why="Because of «symmetry» ∀a,b."),
        }
        for day, (student, notebook) in enumerate(notebooks.items(), 1):
            path = hand_in(course, student, notebook)
            path.with_name("timestamp.txt").write_text(f"2026-05-{day:02} 12:00:00 UTC")

    return hand_all_in


@pytest.fixture(scope="module")
def on_disk(new_course, empty_gradebook, a_class):
    """The class graded into a file."""
    course = new_course()
    course.gradebook.write_bytes(empty_gradebook)
    a_class(course)
    assert grade(course, "tiny", json_file=course.dir / "results.json", isolation="none") == 0
    return course


@pytest.fixture(scope="module")
def expected(on_disk):
    """What is then in the gradebook."""
    return rows(in_file(on_disk))


def keep_in(course, url: str) -> None:
    with open(course.nbgrader_config, "a") as file:
        file.write(f"\nc.CourseDirectory.db_url = {url!r}\n")


def rows(url: str) -> dict[str, list[tuple]]:
    """Everything in a gradebook, by table. Keys are random: each stands as what the row it belongs to says."""
    engine = sqlalchemy.create_engine(url)
    said, found = {}, {}
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:  # what a row refers to comes before it
            keys = [column for column in table.primary_key if not column.foreign_keys and column.type.length == 32]
            found[table.name] = []
            for row in connection.execute(sqlalchemy.select(table)).mappings():
                says = tuple(said.get(value, value) for column, value in row.items() if table.c[column] not in keys)
                found[table.name].append(says)
                said |= {row[key.name]: says for key in keys}
    engine.dispose()
    return {table: sorted(says, key=repr) for table, says in found.items()}


def as_exported(course) -> str:
    """The table for a learning platform, and the report on the class."""
    table, summary = course.dir / "exported.csv", course.dir / "report.json"
    assert export(course, "tiny", out=table) == report(course, "tiny", json_file=summary) == 0
    return table.read_text() + summary.read_text()


def in_file(course) -> str:
    return f"sqlite:///{course.gradebook}"


class TestTheSameAsAFile:
    def test_rows_results_and_pages(self, on_disk, expected, on_server, server, database, a_class):
        url = server.url(database)
        a_class(on_server)
        assert grade(on_server, "tiny", json_file=on_server.dir / "results.json", isolation="none") == 0
        assert not on_server.gradebook.exists()
        results = read_json(on_server.dir / "results.json")
        assert results == read_json(on_disk.dir / "results.json")
        assert scores(results, "Zoë Ångström") == FULL
        assert rows(url) == expected
        version = "SELECT version_num FROM alembic_version"
        with contextlib.closing(sqlalchemy.create_engine(in_file(on_disk)).connect()) as connection:
            assert server.execute(version, database) == [tuple(*connection.exec_driver_sql(version))]

        # A person grades, the tests are run once more, the pages are written.
        for course, where in ((on_disk, in_file(on_disk)), (on_server, url)):
            with Gradebook(where, "robustness") as book:
                row = book.find_grade("why", "tiny", "tiny", "half")
                row.manual_score, row.needs_manual_grade = 1.5, False
                book.find_comment("why", "tiny", "tiny", "half").manual_comment = "Nearly."
                book.db.commit()
            grade_class(course, "tiny", student="half", isolation="none")
            assert feedback(course, "tiny") == 0
        assert rows(url) == rows(in_file(on_disk)) != expected
        pages = [(course.feedback / "half" / "tiny" / "tiny.html").read_text() for course in (on_disk, on_server)]
        assert "Nearly." in pages[0]
        assert pages[0] == pages[1]
        exported = [as_exported(course) for course in (on_disk, on_server)]
        assert "Zoë" in exported[0]
        assert exported[0] == exported[1]

        # nbgrader's own tools read it.
        with Gradebook(url, "robustness") as book:  # what formgrader's pages ask for
            assert {s["id"]: s["score"] for s in book.student_dicts()}["half"] == 4.5
            assert {s["student"]: s["needs_manual_grade"] for s in book.submission_dicts("tiny")}["half"] is False
            assert len(book.notebook_submission_dicts("tiny", "tiny")) == 2
            assert book.average_assignment_score("tiny") == pytest.approx((4.5 + 6) / 2)


class TestMoving:
    """A course that was kept in a file goes on where it was, work by hand included."""

    @pytest.fixture
    def moved(self, on_disk, on_server):
        shutil.copytree(on_disk.dir, on_server.dir, dirs_exist_ok=True, ignore=lambda *_: ["nbgrader_config.py"])
        return on_server

    def test_everything_is_taken_over(self, moved, server, database, capsys):
        before, content = rows(in_file(moved)), moved.gradebook.read_bytes()
        with Book(moved, load_config(moved)) as book:
            assert book.entries("tiny", "half", "tiny")["test-root"].score == 1.0
        assert "has taken over all of" in capsys.readouterr().err
        assert rows(server.url(database)) == before
        assert moved.gradebook.read_bytes() == content
        with Book(moved, load_config(moved)):
            assert capsys.readouterr().err == "", "once is enough"

    def test_or_nothing_is(self, moved, server, database):
        with contextlib.closing(sqlite3.connect(moved.gradebook)) as connection:
            connection.execute("ALTER TABLE grade DROP COLUMN extra_credit")
        with pytest.raises(CourseError, match="cannot be taken over to the server: made by another version"):
            Book(moved, load_config(moved))
        assert server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database) == []


class TestSeveralAtOnce:
    def test_two_graders_make_and_fill_a_gradebook(self, new_course, on_server, expected, server, database):
        """Each from a folder of their own, both the same students."""
        courses = [on_server, new_course()]
        keep_in(courses[1], server.url(database))
        both_there = threading.Barrier(2, timeout=60)

        def work(course):
            both_there.wait()
            with Book(course, load_config(course)) as book:
                with book.transaction():
                    book.record_assignment("tiny", load(course, "tiny", load_config(course)).canonical)
                for student in ("ada", "bob", "eve"):
                    with book.transaction():
                        book.record_submission("tiny", student, None)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, courses))
        found = rows(server.url(database))
        for table in ("course", "assignment", "notebook", "base_cell"):
            assert found[table] == expected[table], "as one grader makes it"
        assert [student for student, *_ in found["student"]] == ["ada", "bob", "eve"]
        assert {table: len(found[table]) for table in ("submitted_assignment", "grade", "comment")} == {
            "submitted_assignment": 3, "grade": 12, "comment": 12,
        }  # fmt: skip

    def test_one_writer_waits_for_the_other(self, made, server, database):
        config = load_config(made)
        with Book(made, config) as one, Book(made, config) as other:
            entered = threading.Event()

            def second():
                with other.transaction():
                    entered.set()
                    other.record_submission("tiny", "ada", None)

            with one.transaction():
                one.record_assignment("tiny", {})
                waiting = threading.Thread(target=second)
                waiting.start()
                assert not entered.wait(0.5)
                one.record_submission("tiny", "ada", None)
            waiting.join(10)
            assert entered.is_set()
        assert server.execute("SELECT student_id FROM submitted_assignment", database) == [("ada",)]

    def test_somebody_writes_for_too_long(self, made, server, database):
        with Book(made, load_config(made)) as book, server.connect(database) as formgrader:
            with book.transaction():
                book.record_assignment("tiny", {})
            formgrader.autocommit = False
            formgrader.execute("LOCK TABLE student")
            with pytest.raises(CourseError, match="another program is writing to it"), book.transaction():
                book.record_submission("tiny", "ada", None)
            formgrader.rollback()
            with book.transaction():
                book.record_submission("tiny", "ada", None)
        assert server.execute("SELECT id FROM student", database) == [("ada",)]


class TestInterrupted:
    def test_killed_while_it_makes_the_gradebook(self, on_server, server, database):
        code = (
            "import sys; from pathlib import Path; from coursekit.grading.build import load_config\n"
            "from coursekit.grading import database; database.BUSY_SECONDS = 120\n"
            "from coursekit.grading.course import Course; from coursekit.grading.gradebook import Book\n"
            "course = Course(Path(sys.argv[1])); Book(course, load_config(course))"
        )
        blocker = server.connect(database)
        blocker.execute("SELECT pg_advisory_lock(0)")
        # The server holds the last step up, so that the kill comes between the first row and the commit.
        blocker.execute(
            "CREATE FUNCTION hold() RETURNS event_trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF tg_tag = 'CREATE TABLE' THEN PERFORM pg_advisory_xact_lock(0); END IF; END $$"
        )
        blocker.execute("CREATE EVENT TRIGGER hold ON ddl_command_end EXECUTE FUNCTION hold()")
        with subprocess.Popen([sys.executable, "-c", code, on_server.dir]) as process:
            waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 0 AND NOT granted"
            deadline = time.monotonic() + 120
            while not blocker.execute(waits).fetchall():
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        blocker.execute("DROP EVENT TRIGGER hold")
        blocker.close()
        with Book(on_server, load_config(on_server)):
            pass
        assert len(server.execute("SELECT * FROM alembic_version", database)) == 1
        assert server.execute("SELECT id FROM course", database) == [("robustness",)]

    def test_the_server_hangs_up_between_two_submissions(self, made, server, database):
        with Book(made, load_config(made)) as book:
            with book.transaction():
                book.record_assignment("tiny", {})
                book.record_submission("tiny", "ada", None)
            assert book.handed_in("tiny", "ada") is None
            hang_up(server, database)
            with book.transaction():
                book.record_submission("tiny", "eve", None)
        assert sorted(server.execute("SELECT id FROM student", database)) == [("ada",), ("eve",)]

    def test_the_server_hangs_up_within_a_submission(self, made, server, database):
        with Book(made, load_config(made)) as book:
            with book.transaction():
                book.record_assignment("tiny", {})
            with contextlib.suppress(CourseError), book.transaction():
                book.record_submission("tiny", "ada", None)
                hang_up(server, database)
                book.record_submission("tiny", "eve", None)
                pytest.fail("the connection was lost, and nobody noticed")
            with book.transaction():
                book.record_submission("tiny", "eve", None)
        assert server.execute("SELECT id FROM student", database) == [("eve",)]

    def test_a_name_the_server_has_no_room_for_stops_nobody_else(self, made, server, database):
        with Book(made, load_config(made)) as book:
            with book.transaction():
                book.record_assignment("tiny", {})
            with pytest.raises(ValueError, match="too long"), book.transaction():
                book.record_submission("tiny", "x" * 200, None)
            with book.transaction():
                book.record_submission("tiny", "ada", None)
        assert server.execute("SELECT id FROM student", database) == [("ada",)]


def hang_up(server, database: str) -> None:
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")


class TestErrors:
    """One line that says what to do, exit code 1, nothing graded, and never a password."""

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("postgresql+psycopg://grader:secret@127.0.0.1:9/course", "no PostgreSQL server answers there"),
            ("postgresql+psycopg://grader:secret@no-such-host.invalid/course", "no PostgreSQL server answers there"),
            ("postgresql+psycopg://grader:secret@/nowhere?host={host}", "no database of this name"),
            ("postgresql+psycopg://nobody:secret@/postgres?host={host}", "does not let this user in"),
            ("postgres://grader:secret@/course?host={host}", "write db_url as postgresql+psycopg://"),
            ("postgresql+psycopg://grader:secret@:port/course", "write db_url as postgresql+psycopg://"),
            ("postgresql+nothing://grader:secret@/course", "write db_url as postgresql+psycopg://"),
        ],
    )
    def test_wrong_addresses(self, url, words, new_course, server):
        course = new_course()
        keep_in(course, url.format(host=server.host))
        with pytest.raises(CourseError) as refused:
            Book(course, load_config(course))
        assert words in str(refused.value)
        assert "secret" not in str(refused.value)
        assert "\n" not in str(refused.value)

    @pytest.fixture
    def somebody(self, server, database):
        """A user of the server who owns nothing."""
        server.execute("CREATE ROLE somebody LOGIN")
        yield "somebody"
        server.execute("DROP OWNED BY somebody", database)
        server.execute("DROP ROLE somebody")

    def test_who_may_only_read(self, made, server, database, somebody):
        server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {somebody}", database)
        keep_in(made, server.url(database, user=somebody))
        config = load_config(made)
        with pytest.raises(CourseError, match="this user may not write there"):
            Book(made, config)
        with Book(made, config, readonly=True) as book:
            assert book.handed_in("tiny", "ada") is None

    def test_who_may_make_no_tables(self, new_course, server, database, somebody):
        course = new_course()
        keep_in(course, server.url(database, user=somebody))
        server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database)
        with pytest.raises(CourseError, match="this user may not write there"):
            Book(course, load_config(course))

    def test_a_server_that_only_reads(self, made, server, database):
        with Book(made, load_config(made)):
            pass
        server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        with pytest.raises(CourseError, match="can only be read"):
            Book(made, load_config(made))

    def test_another_database(self, on_server, server, database):
        server.execute("CREATE TABLE poems (line text)", database)
        with pytest.raises(CourseError, match="name an empty one"):
            Book(on_server, load_config(on_server))
        assert server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database) == [("poems",)]

    def test_no_feedback_before_anything_is_graded(self, on_server, server, database):
        with pytest.raises(CourseError, match="grade first"):
            Book(on_server, load_config(on_server), readonly=True)
        assert server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database) == []
