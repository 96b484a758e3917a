"""`coursekit grade` as a whole: what is recorded, what is kept when grading again, what happens when it cannot work."""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import nbformat
import pytest
from grading_samples import (
    FULL,
    RIGHT,
    as_bytes,
    by_hand,
    cell,
    code,
    coursekit,
    left_running,
    read_json,
    recorded,
    scores,
)
from nbgrader.api import Gradebook

from coursekit import cli
from coursekit.grading import ledger
from coursekit.grading.build import load_config
from coursekit.grading.controller import Means
from coursekit.grading.course import CourseError
from coursekit.grading.feedback import feedback
from coursekit.grading.grade import grade, grade_class, load
from coursekit.grading.gradebook import Book
from coursekit.grading.run import _remove

TABLES = (
    "student",
    "submitted_assignment",
    "submitted_notebook",
    "grade",
    "comment",
    "base_cell",
    "source_cell",
    "notebook",
)


def rows(course) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(course.gradebook)) as connection:
        return {table: connection.execute(f"select count(*) from {table}").fetchone()[0] for table in TABLES}


class TestAClass:
    def test_points_table_json_and_gradebook_say_the_same(self, course, filled, release, hand_in, capsys):
        hand_in(course, "complete", filled())
        hand_in(
            course, "half", filled(add="def add(a, b):\n    return abs(a) + abs(b)", root="def root(x): return 3.0")
        )
        hand_in(course, "untouched", release)
        file = course.dir / "results.json"
        assert grade(course, "tiny", jobs=2, json_file=file) == 0
        results = read_json(file)
        half = FULL | {"test-add": 1.0, "test-root": 1.0}
        nothing = dict.fromkeys(FULL, 0.0)
        assert {s: scores(results, s) for s in results} == {"complete": FULL, "half": half, "untouched": nothing}
        assert results["half"]["test-root"]["status"] == "partial"
        assert "root of zero" in results["half"]["test-root"]["reason"]
        assert results["half"]["why"] == {"score": None, "max": 2.0, "status": "manual", "reason": "awaits a person"}
        book = recorded(course)
        assert {s: {id: entry[0] for id, entry in book[s].items()} for s in book} == {
            s: scores(results, s) for s in results
        }
        assert book["half"]["why"] == (None, None, True)
        assert book["untouched"]["why"] == (0.0, None, False)
        table = capsys.readouterr().out
        for line in ("half  3 of 8 points, 2 more await a person", "test-root        1 / 3    partial"):
            assert line in table, table

    def test_twice_is_identical(self, course, filled, hand_in):
        hand_in(course, "one", filled())
        hand_in(course, "two", filled(add="def add(a, b)\n  return 1"))
        first = grade_class(course, "tiny")
        book, count, notebooks = recorded(course), rows(course), files(course)
        second = grade_class(course, "tiny")
        assert [r.all_grades() for r in first] == [r.all_grades() for r in second]
        assert (recorded(course), rows(course)) == (book, count)
        assert files(course) == notebooks

    def test_only_one_student(self, course, filled, hand_in):
        hand_in(course, "one", filled())
        hand_in(course, "two", filled())
        assert [result.student for result in grade_class(course, "tiny", student="two")] == ["two"]
        assert list(recorded(course)) == ["two"]

    def test_hidden_tests_count_and_are_in_the_autograded_notebook_only(self, course, filled, hand_in, release):
        assert "negative" not in cell(release, "test-add").source
        hand_in(course, "one", filled(add="def add(a, b):\n    return abs(a) + abs(b)"))
        [result] = grade_class(course, "tiny")
        assert result.all_grades()[0].score == 1.0
        notebook = nbformat.read(course.autograded / "one" / "tiny" / "tiny.ipynb", 4)
        assert "negative" in cell(notebook, "test-add").source

    def test_torch_stays_out_of_the_controlling_process(self):
        code = "import sys; from coursekit.grading import grade, feedback, demo, check; print('torch' in sys.modules)"
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert said.strip() == "False"

    def test_time_of_handing_in(self, course, filled, hand_in):
        hand_in(course, "one", filled())
        hand_in(course, "two", filled())
        (course.submitted / "one" / "tiny" / "timestamp.txt").write_text("2026-02-03 10:30:00 UTC")
        (course.submitted / "two" / "tiny" / "timestamp.txt").write_text("last tuesday, I think")
        results = grade_class(course, "tiny")
        assert "time of handing in is unknown" in " ".join(results[1].remarks)
        with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
            assert book.find_submission("tiny", "one").timestamp.isoformat() == "2026-02-03T10:30:00"
            assert book.find_submission("tiny", "two").timestamp is None


def files(course) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(course.autograded.rglob("*")) if path.is_file()}


@pytest.mark.slow
class TestWorkDoneByHand:
    def test_it_is_kept_and_asked_for_again_only_where_the_answer_changed(self, course, filled, hand_in):
        for name in ("same", "changed"):
            hand_in(course, name, filled())
        grade_class(course, "tiny")
        for name in ("same", "changed"):
            by_hand(course, name, "why", score=1.5, comment="Nearly.", extra=0.5)
        hand_in(course, "changed", filled(why="Because of the axioms."))
        grade_class(course, "tiny")
        book = recorded(course)
        assert book["same"]["why"] == (None, 1.5, False)
        assert book["changed"]["why"] == (None, 1.5, True)
        with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as nbgrader:
            for name in ("same", "changed"):
                assert nbgrader.find_comment("why", "tiny", "tiny", name).manual_comment == "Nearly."
                assert nbgrader.find_grade("why", "tiny", "tiny", name).extra_credit == 0.5

    def test_a_test_overruled_by_hand_is_flagged_when_its_automatic_score_changes(self, course, filled, hand_in):
        hand_in(course, "one", filled(root="def root(x): return 3.0"))
        grade_class(course, "tiny")
        by_hand(course, "one", "test-root", score=2.5)
        grade_class(course, "tiny")
        assert recorded(course)["one"]["test-root"] == (1.0, 2.5, False)
        hand_in(course, "one", filled())
        grade_class(course, "tiny")
        assert recorded(course)["one"]["test-root"] == (3.0, 2.5, True)

    def test_no_answer_is_zero_without_a_person(self, course, filled, hand_in):
        hand_in(course, "one", filled(why="   "))
        grade_class(course, "tiny")
        assert recorded(course)["one"]["why"] == (0.0, None, False)

    def test_the_course_may_change_between_two_runs(self, course, filled, hand_in):
        """A new test reaches submissions that are recorded already; one graded by hand is never dropped."""
        hand_in(course, "one", filled())
        grade_class(course, "tiny")
        source = course.sources / "tiny" / "tiny.py"
        text = source.read_text()
        new = '# %% test="more" points=4\n1 + 3\n\n# %% [markdown]\n# ## Why'
        source.write_text(text.replace("# %% [markdown]\n# ## Why", new))
        [result] = grade_class(course, "tiny")
        assert {g.id: g.score for g in result.all_grades()} == FULL | {"test-more": 4.0}
        assert recorded(course)["one"]["test-more"] == (4.0, None, False)
        source.write_text(text)
        grade_class(course, "tiny")
        assert set(recorded(course)["one"]) == set(FULL)
        by_hand(course, "one", "why", score=2.0)
        source.write_text(text[: text.index('# %% [markdown] answer="why"')])
        before = course.gradebook.read_bytes()
        with pytest.raises(CourseError, match=r"'why' of tiny was graded by hand"):
            grade_class(course, "tiny")
        assert course.gradebook.read_bytes() == before


def test_files_of_the_course_are_those_of_the_release(course):
    folder = course.sources / "tiny"
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "old.csv").write_text("x")
    (folder / "data.csv").write_text("x")
    assert [name for name, _ in load(course, "tiny", load_config(course)).files] == ["data.csv"]


@pytest.mark.slow
class TestTheFolder:
    """What lies in `submitted/<student>/<assignment>/` besides, or in place of, the notebook."""

    def test_verdicts(self, course, filled, hand_in, tmp_path):
        good = filled()
        hand_in(course, "renamed", good, name="tiny (1).ipynb")
        hand_in(course, "extra", good)
        hand_in(course, "extra", b"junk", name="scratch.ipynb")
        hand_in(course, "ambiguous", good, name="a.ipynb")
        hand_in(course, "ambiguous", good, name="b.ipynb")
        hand_in(course, "missing", b"x", name="notes.txt")
        elsewhere = tmp_path / "elsewhere.ipynb"
        elsewhere.write_bytes(as_bytes(good))
        (course.submitted / "linked" / "tiny").mkdir(parents=True)
        (course.submitted / "linked" / "tiny" / "tiny.ipynb").symlink_to(elsewhere)
        (course.submitted / "linked-folder").mkdir()
        (course.submitted / "linked-folder" / "tiny").symlink_to(course.submitted / "extra" / "tiny")
        (course.submitted / "linked-student").symlink_to(course.submitted / "extra")
        (course.submitted / "pipe" / "tiny").mkdir(parents=True)
        os.mkfifo(course.submitted / "pipe" / "tiny" / "tiny.ipynb")
        (course.submitted / "a-folder" / "tiny" / "tiny.ipynb").mkdir(parents=True)
        (course.submitted / "a-full-folder" / "tiny" / "tiny.ipynb").mkdir(parents=True)
        (course.submitted / "a-full-folder" / "tiny" / "tiny.ipynb" / "x.txt").write_text("x")
        hand_in(course, "linked-data", filled(root="def root(x):\n    return float(open('gradebook').read(0) or 1)"))
        (course.submitted / "linked-data" / "tiny" / "gradebook").symlink_to("/etc/passwd")
        hand_in(course, "another-assignment", good, assignment="other")
        (course.submitted / "a-file").write_text("x")

        results = {result.student: result for result in grade_class(course, "tiny", jobs=2)}
        full = [name for name, result in results.items() if {g.id: g.score for g in result.all_grades()} == FULL]
        assert sorted(full) == ["extra", "renamed"]
        refused = {
            "ambiguous": "not clear which counts", "missing": "there is no tiny.ipynb", "linked": "symbolic link",
            "linked-folder": "symbolic link", "linked-student": "symbolic link", "pipe": "not a regular file",
            "a-folder": "not a regular file", "a-full-folder": "not a regular file",
        }  # fmt: skip
        for name, reason in refused.items():
            assert {(g.status, g.score) for g in results[name].all_grades()} == {("unreadable", 0.0)}, name
            assert reason in results[name].all_grades()[0].reason, name
        assert results["linked-data"].all_grades()[2].status == "crashed"
        assert "taken for tiny.ipynb" in results["renamed"].remarks[0]
        assert results["extra"].remarks == ["Ignored: scratch.ipynb."]
        assert set(results) == {"extra", "renamed", "linked-data", *refused}

    def test_handed_in_again_while_grading(self, course, filled, hand_in):
        hand_in(course, "one", filled(double="import time\ntime.sleep(3)\n" + RIGHT["double"]))

        def replace_it():
            wait_for(left_running)
            hand_in(course, "one", filled(add="def add(a, b): return 0"))

        again = threading.Thread(target=replace_it)
        again.start()
        [result] = grade_class(course, "tiny")
        again.join()
        assert result.all_grades()[0].score == 2.0, "what was read at the beginning counts"
        assert "handed in again" in " ".join(result.remarks)


@pytest.mark.slow
class TestFailuresOfOurs:
    """An infrastructure failure is a status of its own, never a 0."""

    def test_one_student_fails_the_others_do_not(self, course, filled, hand_in, monkeypatch, pool):
        for name in ("a", "b", "c"):
            hand_in(course, name, filled())
        real = pool.run

        def run(notebook, **keywords):
            if "unlucky" in str(notebook):
                raise OSError(24, "Too many open files")
            return real(notebook, **keywords)

        hand_in(course, "b", filled(why="unlucky"))
        grade_class(course, "tiny")
        before = recorded(course)
        monkeypatch.setattr(pool, "run", run)
        results = {result.student: result for result in grade_class(course, "tiny", means=Means(again=True))}
        assert {(g.status, g.score) for g in results["b"].all_grades()} == {("error", None)}
        assert "Too many open files" in results["b"].all_grades()[0].reason
        assert {g.id: g.score for g in results["c"].all_grades()} == FULL
        assert recorded(course) == before
        assert grade(course, "tiny") == 1, "what failed is tried again"

    def test_a_broken_check_or_setup_costs_nobody_points(self, course, filled, hand_in):
        source = course.sources / "tiny" / "tiny.py"
        text = source.read_text().replace("    return double(4), 8", "    return double(4), 8\n\n1 / 0")
        source.write_text(text)
        hand_in(course, "one", filled())
        [result] = grade_class(course, "tiny")
        verdicts = {g.id: (g.score, g.status) for g in result.all_grades()}
        assert verdicts["test-double"] == (None, "error")
        assert verdicts["test-add"] == (2.0, "passed")
        assert recorded(course)["one"]["test-double"] == (None, None, True), "a person has to look"
        source.write_text(text.replace("import math", "import math, a_package_that_is_missing"))
        hand_in(course, "one", filled(add="def add(a, b): return 0"))
        [result] = grade_class(course, "tiny")
        assert result.all_grades()[0].status == "error"
        assert "a_package_that_is_missing" in result.all_grades()[0].reason


class TestBadInput:
    """One clear line on stderr, an exit code that is not 0, and the gradebook as before."""

    @pytest.fixture
    def refused(self, course, capsys):
        """refused(arguments, words): `coursekit grade` ends with one line that holds the words."""

        def check(*arguments: str, words: tuple[str, ...], done: subprocess.CompletedProcess | None = None):
            if done is None:
                code = cli.main(["grade", "--course", str(course.dir), *arguments])
                said = capsys.readouterr()
                out, err = said.out, said.err
            else:
                code, out, err = done.returncode, done.stdout, done.stderr
            lines = err.splitlines()
            assert code == 1, (out, err)
            assert len(lines) == 1, err
            assert lines[0].startswith("coursekit: ")
            for word in words:
                assert word in lines[0], lines[0]

        return check

    def test_names_and_folders(self, course, filled, hand_in, refused):
        before = course.gradebook.read_bytes()
        refused("nonsense", words=("unknown assignment 'nonsense'", "tiny"))
        refused("tiny", words=("no folder", "submitted"))
        course.submitted.mkdir()
        refused("tiny", words=("no submission of tiny",))
        hand_in(course, "one", filled())
        refused("tiny", "--student", "two", words=("'two'",))
        refused("tiny", "--student", "../one", words=("'../one'",))
        refused("tiny", "--student", "", words=("by ''",))
        refused("tiny", "--json", "/no/such/folder/x.json", words=("/no/such/folder",))
        refused("tiny", "--json", str(course.dir), words=(str(course.dir), "is a folder"))
        assert course.gradebook.read_bytes() == before
        assert not course.autograded.exists()

    def test_a_file_stands_where_a_folder_should(self, course, filled, hand_in, refused):
        before = course.gradebook.read_bytes()
        hand_in(course, "one", filled())
        course.autograded.write_text("in the way")
        refused("tiny", words=("autograded",))
        assert course.gradebook.read_bytes() == before

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform != "linux", reason="root must give up what lets it write everywhere")
    def test_no_write_permission(self, course, filled, hand_in, refused):
        hand_in(course, "one", filled())
        grade_class(course, "tiny")
        before = course.gradebook.read_bytes(), files(course)

        def as_somebody_else(*words):
            done = coursekit("grade", "tiny", course=course, preexec_fn=give_up_rights)
            refused(words=words, done=done)

        try:
            course.autograded.chmod(0o555)
            as_somebody_else("autograded", "cannot be written")
            course.autograded.chmod(0o755)
            target = course.dir / "results"
            target.mkdir(mode=0o555)
            done = coursekit("grade", "tiny", "--json", target / "r.json", course=course, preexec_fn=give_up_rights)
            refused(words=(str(target), "cannot be written"), done=done)
            target.rmdir()
            course.gradebook.chmod(0o444)
            as_somebody_else("gradebook.db", "permissions")
        finally:
            course.autograded.chmod(0o755)
        assert (course.gradebook.read_bytes(), files(course)) == before

    def test_gradebook_locked_by_another_program(self, course, filled, hand_in, refused):
        hand_in(course, "one", filled())
        grade_class(course, "tiny")
        before = recorded(course)
        hand_in(course, "one", filled(add="def add(a, b): return 0"))
        with contextlib.closing(sqlite3.connect(course.gradebook)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            refused("tiny", words=("gradebook.db", "another program"))
        assert recorded(course) == before

    def test_not_a_gradebook(self, course, filled, hand_in, refused):
        hand_in(course, "one", filled())
        course.gradebook.write_text("these are my grades " * 100)
        refused("tiny", words=("gradebook.db", "not a gradebook"))
        assert course.gradebook.read_text() == "these are my grades " * 100

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="makes a small file system, which root may")
    def test_full_disk(self, course, filled, hand_in, tmp_path, refused):
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True)
        if mounted.returncode:
            pytest.skip("mounting is not allowed here")
        try:
            small = disk / "course"
            shutil.copytree(course.dir, small)
            course = type(course)(small)
            for number in range(3):
                hand_in(course, f"s{number}", filled())
            assert not any(result.error for result in grade_class(course, "tiny"))
            before = recorded(course), files(course)
            hand_in(course, "s0", filled(add="def add(a, b): return 0"))
            with open(disk / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
                while True:
                    filler.write(b"x" * 512)
            refused("--course", str(course.dir), "tiny", words=("No space left",))
            assert (recorded(course), files(course)) == before
        finally:
            subprocess.run(["umount", "-l", disk], check=True)

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
    def test_interrupted(self, course, filled, hand_in, kind):
        hand_in(course, "a-first", filled())
        hand_in(course, "b-slow", filled())
        assert grade(course, "tiny") == 0
        before = recorded(course)
        hand_in(course, "b-slow", filled(add="import time\ntime.sleep(60)"))
        command = [sys.executable, "-m", "coursekit.cli", "grade", "tiny", "--jobs", "2", "--course", str(course.dir)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: any(left_running()))
        time.sleep(2)
        process.send_signal(kind)
        said = process.communicate(timeout=250)[1].splitlines()
        if kind == signal.SIGINT:
            assert process.returncode == 130
            assert without_progress(said)[1:] == ["coursekit: interrupted; what was finished before is kept"]
        wait_for(lambda: not left_running())
        assert recorded(course) == before
        assert grade(course, "tiny", cell_limit=2) == 0, "grading again works"


def give_up_rights():
    """To write and read in spite of permissions, as root may: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH."""
    libc = ctypes.CDLL(None)
    libc.prctl(24, 1, 0, 0, 0)
    libc.prctl(24, 2, 0, 0, 0)


@pytest.mark.slow
def test_a_file_that_is_no_longer_handed_in_goes(course, filled, hand_in):
    handed_in = hand_in(course, "one", filled()).parent
    for name in ("old.csv", "data/old.csv", "kept.csv", "changed.csv"):
        (handed_in / name).parent.mkdir(exist_ok=True)
        (handed_in / name).write_text("as handed in")
    grade_class(course, "tiny")
    folder = course.autograded / "one" / "tiny"
    (folder / "changed.csv").write_text("by the instructor")
    (folder / "notes.txt").write_text("by the instructor")
    for name in ("old.csv", "data/old.csv", "changed.csv"):
        (handed_in / name).unlink()
    grade_class(course, "tiny")
    assert sorted(path.name for path in folder.rglob("*")) == ["changed.csv", "kept.csv", "notes.txt", "tiny.ipynb"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="root must give up what lets it write everywhere")
def test_folders_that_a_notebook_locked_are_cleared_away_and_cost_nothing(course, filled, hand_in, tmp_path):
    notebook = filled()
    lock = "import os\nos.makedirs('locked/in')\nos.chmod('locked/in', 0)\nos.chmod('locked', 0)\nos.chmod('.', 0o500)"
    notebook.cells.insert(2, code(lock))
    hand_in(course, "one", notebook)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = coursekit("grade", "tiny", "--json", course.dir / "r.json", course=course, preexec_fn=give_up_rights,
                     env=os.environ | {"TMPDIR": str(temporary)})  # fmt: skip
    assert done.returncode == 0, done
    assert scores(read_json(course.dir / "r.json"), "one") == FULL
    assert not list(temporary.iterdir())


def test_clearing_away_never_fails_and_keeps_to_its_folder(tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir(mode=0o500)
    (tmp_path / "run" / "in").mkdir(parents=True)
    (tmp_path / "run" / "in" / "link").symlink_to(other)
    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
    _remove(tmp_path / "run")
    assert other.stat().st_mode & 0o777 == 0o500
    monkeypatch.setattr(shutil, "rmtree", remove)
    _remove(tmp_path / "run")
    _remove(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_time_for_a_cell_is_a_choice_and_what_was_stopped_is_told(course, filled, hand_in):
    notebook = filled()
    notebook.cells.insert(2, code("import time\ntime.sleep(600)"))
    hand_in(course, "one", notebook)
    done = coursekit("grade", "tiny", "--cell-limit", "2", "--jobs", "1000", course=course)
    assert done.returncode == 0, done
    assert "* A cell that begins with 'import time': stopped after 2 s without an end." in done.stdout
    (said,) = without_progress(done.stderr.splitlines())
    assert said.startswith("Note: 1000 jobs share")


def without_progress(lines):
    """What was said but for how far it is, which depends on how fast the machine is."""
    return [line for line in lines if not re.match(r"\d+ of \d+ submissions", line)]


def wait_for(condition, seconds=250):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


@pytest.mark.slow
def test_json_is_what_the_design_says(course, filled, hand_in):
    hand_in(course, "one", filled())
    done = coursekit("grade", "tiny", "--json", course.dir / "r.json", course=course)
    assert done.returncode == 0, done
    content = json.loads((course.dir / "r.json").read_text())
    assert content["one"]["test-add"] == {"score": 2.0, "max": 2.0, "status": "passed", "reason": ""}
    assert without_progress(done.stderr.splitlines()) == []


@pytest.mark.slow
def test_without_isolation_the_points_are_the_same_and_it_says_so(course, filled, hand_in):
    hand_in(course, "one", filled(add="def add(a, b): return abs(a) + abs(b)"))
    isolated = grade_class(course, "tiny")[0].all_grades()
    done = coursekit("grade", "tiny", "--isolation", "none", "--json", course.dir / "r.json", course=course)
    assert done.returncode == 0, done
    assert "with your rights" in done.stderr
    assert read_json(course.dir / "r.json")["one"] == {grade.id: grade.as_dict() for grade in isolated}


@pytest.mark.slow
class TestTheTableOfAClass:
    def test_what_a_person_graded_is_what_the_table_and_the_json_say(self, course, filled, hand_in, capsys):
        hand_in(course, "one", filled(root="def root(x): return 3.0"))
        grade_class(course, "tiny")
        with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
            for id, score in (("why", 1.5), ("test-root", 2.0)):
                row = book.find_grade(id, "tiny", "tiny", "one")
                row.manual_score, row.needs_manual_grade = score, False
            book.db.commit()
        file = course.dir / "results.json"
        assert grade(course, "tiny", json_file=file) == 0
        results = read_json(file)["one"]
        assert (results["why"]["score"], results["why"]["status"]) == (1.5, "graded")
        assert (results["test-root"]["score"], results["test-root"]["status"]) == (2.0, "graded")
        assert "the tests gave 1" in results["test-root"]["reason"]
        assert "await" not in capsys.readouterr().out
        hand_in(course, "one", filled(root="def root(x): return 3.0", why="Another answer."))
        grade(course, "tiny", json_file=file)
        changed = read_json(file)["one"]["why"]
        assert (changed["status"], changed["score"]) == ("manual", None)
        assert "not what a person graded before" in changed["reason"]

        # The points for the earlier answer are a suggestion in formgrader, and count nowhere.
        assert recorded(course)["one"]["why"] == (None, 1.5, True)
        with Book(course, load_config(course), readonly=True) as book:
            marks = ledger.read(course, book, "tiny").marks["one"]
        assert (marks.raw, marks.waiting) == (5.0, 2.0)
        assert feedback(course, "tiny") == 0
        page = (course.feedback / "one" / "tiny" / "tiny.html").read_text()
        assert "it has changed since a person gave points; a person will look at it again" in page

    def test_a_submission_in_the_wrong_place_is_missed_aloud(self, course, filled, hand_in, capsys):
        hand_in(course, "one", filled())
        (course.submitted / "astray").mkdir()
        (course.submitted / "astray" / "tiny.ipynb").write_bytes(as_bytes(filled()))
        assert grade(course, "tiny") == 0
        said = capsys.readouterr().out
        assert "Nothing by astray: there is no folder submitted/astray/tiny/; what about tiny.ipynb beside it?" in said

    def test_a_file_that_is_no_notebook_is_one_line_and_the_class_a_line_each(self, course, filled, hand_in, capsys):
        hand_in(course, "one", filled())
        hand_in(course, "two", filled())
        (course.submitted / "two" / "tiny" / "tiny.ipynb").write_text("hello")
        assert grade(course, "tiny") == 0
        said = capsys.readouterr().out
        assert said.count("unreadable") == 1
        assert "all questions" in said
        assert "  one       6 / 8  2 await a person\n  two       0 / 8\n" in said
