"""What the tests of grading share: the sample course's right answers, and small things to do with notebooks."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import nbformat
import psutil
from nbgrader.api import Gradebook

RIGHT = {
    "add": "def add(a, b):\n    return a + b",
    "double": "def double(x):\n    return 2 * x",
    "root": "def root(x):\n    return math.sqrt(x)",
    "why": "Addition is commutative.",
}
FULL = {"test-add": 2.0, "test-double": 1.0, "test-root": 3.0, "why": None}
MOST = {"test-add": 2.0, "test-double": 1.0, "test-root": 3.0, "why": 2.0}


def cell(notebook, id):
    """The first cell of this id."""
    return next(cell for cell in notebook.cells if cell.id == id)


def place(notebook, id):
    return next(i for i, cell in enumerate(notebook.cells) if cell.id == id)


def code(source, id="own"):
    return nbformat.v4.new_code_cell(source, id=id)


def text(source, id="own-text"):
    return nbformat.v4.new_markdown_cell(source, id=id)


def as_bytes(notebook) -> bytes:
    """The notebook as a file, whatever it holds: nbformat would mend or refuse some of what students hand in."""
    return json.dumps(notebook, ensure_ascii=False).encode("utf-8", "surrogatepass")


def read_json(path: Path) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def scores(results: dict, student: str) -> dict:
    return {id: grade["score"] for id, grade in results[student].items()}


def coursekit(*arguments, course=None, **keywords) -> subprocess.CompletedProcess:
    """The command line, as a person runs it."""
    where = [] if course is None else ["--course", str(course.dir)]
    command = [sys.executable, "-m", "coursekit.cli", *map(str, arguments), *where]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **keywords)


def nbgrader(course, *arguments) -> str:
    """nbgrader's own command line, in the folder of the course. Returns what it says on stderr."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=course.dir, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


# Handed on to everything that a notebook's run starts, so that other runs on this machine are not mistaken for ours.
os.environ["COURSEKIT_TEST_RUN"] = uuid.uuid4().hex


def left_running() -> list[str]:
    """Command lines of the processes that run notebooks, or that notebooks have left behind."""
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            if process.environ().get("COURSEKIT_TEST_RUN") != os.environ["COURSEKIT_TEST_RUN"]:
                continue
            if "coursekit.grading.worker" in command or "left-behind-by-a-student" in command:
                found.append(command)
            elif process.name() == "bwrap" and "coursekit.grading.inside.zygote" in command:
                # Below bubblewrap is the zygote, below the zygote are submissions.
                forked = [child for zygote in process.children() for child in zygote.children(recursive=True)]
                found += [f"{child.pid} of {command[-60:]}" for child in forked if child.status() != "zombie"]
        except psutil.Error:
            continue
    return found


def recorded(course, assignment="tiny") -> dict:
    """{student: {grade id: (automatic score, by hand, needs a person)}}"""
    with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
        return {
            submission.student_id: {
                grade.name: (grade.auto_score, grade.manual_score, grade.needs_manual_grade)
                for grade in submission.notebooks[0].grades
            }
            for submission in book.assignment_submissions(assignment)
        }


def by_hand(course, student, id, score=None, comment=None, extra=None):
    """What a person enters in formgrader."""
    with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
        row = book.find_grade(id, "tiny", "tiny", student)
        row.manual_score, row.extra_credit, row.needs_manual_grade = score, extra, False
        if comment:
            book.find_comment(id, "tiny", "tiny", student).manual_comment = comment
        book.db.commit()
