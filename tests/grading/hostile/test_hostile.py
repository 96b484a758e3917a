"""Verdicts on hostile submissions, and what must be as it was after a class of them."""

import contextlib
import os
import re
import site
import sqlite3
import sys
from pathlib import Path

import nbformat
import pytest

import coursekit
from coursekit.grading.run import is_test
from coursekit.grading.score import MIME
from hostile.case import ESCAPED, FULL, MOST
from hostile.classroom import ALL, HIDDEN_INPUT, digests

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")]

TAGS = re.compile(r"<(script|img|svg|iframe)\b|<[a-z]+[^>]* on[a-z]+ *=|href *= *[\"']?javascript:", re.IGNORECASE)


def outputs(notebook, tests: bool) -> str:
    """All that the cells gave, of the tests or of the student's own cells."""
    return str([cell.outputs for cell in notebook.cells if cell.cell_type == "code" and is_test(cell) == tests])


@pytest.mark.parametrize("student", sorted(ALL))
def test_verdict(graded, student):
    case, results = ALL[student], graded.results[student]
    assert list(results) == list(FULL)
    for id, full in FULL.items():
        got = results[id]
        assert got["max"] == MOST[id]
        if id in case.lost:
            verdict = case.lost[id]
            assert got["status"] in verdict.statuses, (id, got)
            assert got["score"] in verdict.scores or got["status"] == "manual", (id, got)
            assert verdict.reason in got["reason"], (id, got)
        else:
            assert (got["score"], got["status"]) == (full, "manual" if full is None else "passed"), (id, got)
    notebook = graded.notebook(student)
    nbformat.validate(notebook)
    assert case.remark in " ".join(notebook.metadata.coursekit.remarks)
    tried = case.says in outputs(notebook, tests=False)
    assert tried, f"no sign that it was tried: {case.says!r}"


@pytest.mark.parametrize("student", sorted(ALL))
def test_nothing_that_is_not_theirs_reaches_them(graded, student):
    notebook = graded.notebook(student)
    own, page = outputs(notebook, tests=False), graded.page(student)
    everything = own + outputs(notebook, tests=True) + page + str(graded.results[student])
    for sign in (ESCAPED, "found coursesecret"):  # comparing texts of megabytes in an assert takes pytest minutes
        place = everything.find(sign)
        assert place < 0, everything[place:][:300]
    assert not [word for word in graded.secrets if word in own or word in page]
    in_own, in_page = HIDDEN_INPUT in own, HIDDEN_INPUT in page
    assert not in_own
    assert in_page == ALL[student].open_way
    assert not TAGS.findall(page)


class TestAfterwards:
    def test_the_honest_get_exactly_their_points(self, graded):
        for student in graded.honest:
            got = graded.results[student]
            assert {id: (got[id]["score"], got[id]["reason"]) for id in got} == {
                id: (score, "" if score is not None else "awaits a person") for id, score in FULL.items()
            }, student
            notebook = graded.notebook(student)
            assert not notebook.metadata.coursekit.remarks
            reports = [
                o.data[MIME] for c in notebook.cells if is_test(c) for o in c.outputs if MIME in o.get("data", {})
            ]
            assert [report["status"] for report in reports] == ["passed", "passed"]

    def test_the_same_conditions_for_all(self, graded):
        """What one student drew at random says nothing of those before."""
        drawn = {str(graded.notebook(student).cells[-1].outputs) for student in graded.honest}
        assert len(drawn) == 1

    def test_the_command_told_the_truth(self, graded):
        failed = any(grade["status"] == "error" for grades in graded.results.values() for grade in grades.values())
        assert graded.said.code == int(failed), graded.said.err
        assert sorted(graded.results) == sorted(path.name for path in graded.course.submitted.iterdir())
        assert "Traceback" not in graded.said.err
        assert not [c for c in graded.said.out + graded.said.err if not c.isprintable() and c != "\n"]
        assert graded.said.peak < 1 << 30, f"the grader itself used {graded.said.peak >> 20} MB"

    def test_the_course_is_as_it_was(self, graded):
        assert graded.before == graded.after == digests(graded.course)
        course = graded.course
        expected = {
            "autograded",
            "build",
            "feedback",
            "gradebook.db",
            "nbgrader_config.py",
            "notebooks",
            "solutions",
            "submitted",
        }
        assert {path.name for path in course.dir.iterdir()} - {".nbgrader.log"} <= expected
        assert not [path for path in course.autograded.rglob("*") if path.is_symlink() or path.is_fifo()]
        assert {path.name for path in course.autograded.iterdir()} == set(graded.results)

    def test_the_gradebook_says_what_the_results_say(self, graded):
        with contextlib.closing(sqlite3.connect(graded.course.gradebook)) as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
            rows = connection.execute(
                "select submitted_assignment.student_id, base_cell.name, grade.auto_score from grade"
                " join base_cell on base_cell.id = grade.cell_id"
                " join submitted_notebook on submitted_notebook.id = grade.notebook_id"
                " join submitted_assignment on submitted_assignment.id = submitted_notebook.assignment_id"
            ).fetchall()
            (most,) = connection.execute("select sum(max_score) from grade_cells").fetchone()
        assert most == sum(MOST.values())
        assert len(rows) == len(graded.results) * len(FULL)
        assert {(student, id): score for student, id, score in rows} == {
            (student, id): grade["score"] for student, grades in graded.results.items() for id, grade in grades.items()
        }

    def test_nothing_is_left_behind(self, graded):
        assert not graded.left
        assert not graded.heard
        mark, home = graded.world.values["MARK"], graded.world.home
        folders = ["/tmp", "/var/tmp", "/dev/shm", "/", "/etc", "/usr", "/var", "/run", Path.home(), os.getcwd(), home,
                   graded.course.dir, graded.course.submitted, Path(coursekit.__file__).parent,
                   Path(sys.executable).parent, *site.getsitepackages()]  # fmt: skip
        assert not [folder for folder in folders if os.path.lexists(os.path.join(folder, mark))]
        assert not [f for f in os.listdir("/dev/shm") if f in ("left-behind", "filler", "kept.txt")]
        assert not list((home.parent / "temporary").iterdir())
        assert {path.read_text() for path in (home / "secret.txt", home / ".ssh" / "key.txt", home / ".env")} == {
            word for word in graded.secrets if word.startswith("coursesecret-home")
        }
        mounts = Path("/proc/self/mountinfo").read_text()
        assert str(graded.course.dir.parent) not in mounts
        assert str(home.parent) not in mounts
        assert not list(Path("/sys/fs/cgroup").rglob(f"coursekit-{graded.said.pid}-*"))
