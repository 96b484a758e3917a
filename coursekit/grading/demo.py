"""`coursekit demo`: the whole way from the sources to the feedback pages, with a small class made up on the spot.

The class is made from the sources by replacing named solutions, so it never goes stale. It lives in a folder of its
own, laid out like the course; formgrader and every other command work there.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import re
import shlex
import shutil
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from coursekit.grading import report
from coursekit.grading.build import build
from coursekit.grading.controller import start_pool
from coursekit.grading.course import Course, CourseError
from coursekit.grading.feedback import feedback
from coursekit.grading.grade import grade_class, write_atomically
from coursekit.grading.run import is_test
from coursekit.grading.source import read as read_source

MARK = ".coursekit-demo"  # in the folder we made, so that we never delete another one
WRONG_ANSWERS = 3

NOISY = '''\
import functools
import sys
import warnings

from tqdm import tqdm


def noisy(function):
    """Warns, prints to stderr and shows a progress bar at every call; the result is right all the same."""

    @functools.wraps(function)
    def call(*arguments, **keywords):
        warnings.warn("a warning from the student's own code")
        print("a line on stderr", file=sys.stderr)
        for _ in tqdm(range(2), desc="progress"):
            pass
        return function(*arguments, **keywords)

    return call
'''


def demo(course: Course, into: Path | None = None, isolation: str = "bubblewrap") -> int:
    """Make a sample class in `into` (default: demo/ in the course), grade it, and say what is where.

    isolation: as `grade` has it; the sample class can be trusted. Returns the exit code of the grading. CourseError if
    the folder is there already and is not one of ours.
    """
    started = time.monotonic()
    folder = course.dir / "demo" if into is None else into.absolute()
    assignments = course.assignments()
    if not assignments:
        raise CourseError(f"no source under {course.sources}; name the folder of the course with --course DIR")
    sample = _make_course(course, folder)
    print(f"1. The release: {_shown(sample.release)}/, built from the sources")
    count = 0
    for assignment in assignments:
        for path in sample.notebooks(assignment):
            count = _hand_in(course, sample, assignment, path)
    print(f"2. A sample class: {_shown(sample.submitted)}/, {count} submissions of {', '.join(assignments)}")
    print(f"3. Grading, {'in a sandbox' if isolation != 'none' else 'without isolation'}\n", flush=True)
    code = 0
    with contextlib.nullcontext() if isolation == "none" else start_pool() as pool:
        for assignment in assignments:
            results = grade_class(sample, assignment, jobs=min(4, os.cpu_count() or 1), pool=pool, isolation=isolation)
            print(report.table(assignment, results) + "\n", flush=True)
            code = max(code, int(any(grade.status == "error" for result in results for grade in result.all_grades())))
            with contextlib.redirect_stdout(io.StringIO()):
                code = max(code, feedback(sample, assignment))
    print(_what_is_where(sample, assignments[0], time.monotonic() - started))
    return code


def _make_course(course: Course, folder: Path) -> Course:
    """A fresh course folder with the sources and nothing else, built."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise CourseError(f"{folder} is not a folder; name another with --into DIR")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).is_file():
            raise CourseError(
                f"{folder} was not made by coursekit demo and is left alone; name another with --into DIR"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("Made by coursekit demo, which deletes this folder when it runs again.\n")
    shutil.copytree(course.sources, folder / "solutions", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copy(course.nbgrader_config, folder)
    sample = Course(folder)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        failed = build(sample)
    if failed:
        raise CourseError(f"the sources cannot be built: {said.getvalue().strip().splitlines()[0]}")
    return sample


def _hand_in(course: Course, sample: Course, assignment: str, path: Path) -> int:
    """Put the class's version of one notebook in place. Returns how many there are."""
    released = nbformat.read(sample.release / assignment / f"{path.stem}.ipynb", as_version=4)
    complete = solved(released, read_source(path).notebook)
    wrong = first_wrong_answers(course.dir / "tests" / "course" / f"{path.stem}.py")
    notebooks = {
        "complete": complete,
        "partly-wrong": with_answers(complete, wrong or _stubs(released)),
        "does-not-run": does_not_run(complete),
        "untouched": released,
        "warns": warns(complete),
        "damaged-cells": damaged(complete),
    }
    for student, notebook in notebooks.items():
        content = nbformat.writes(notebook).encode() + b"\n"
        write_atomically(sample.submitted / student / assignment / path.with_suffix(".ipynb").name, content)
    return len(notebooks)


# --- the class: each takes a notebook and gives another --------------------------------------------------------------


def solved(released: NotebookNode, source: NotebookNode) -> NotebookNode:
    """The release with every solution of the source filled in, and something written for every answer."""
    solutions = {cell.id: cell.source for cell in source.cells}
    notebook = copy.deepcopy(released)
    for cell in notebook.cells:
        meta = cell.metadata.get("nbgrader", {})
        if not meta.get("solution"):
            continue
        text = re.sub(r"^.*BEGIN MARK SCHEME(.|\n)*END MARK SCHEME.*\n?", "", solutions[cell.id], flags=re.MULTILINE)
        lines = [line for line in text.splitlines() if not re.search("(BEGIN|END) SOLUTION", line)]
        cell.source = "\n".join(lines).strip() or "Some thoughts, for a person to read."
    return notebook


def with_answers(notebook: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """A notebook with some solutions replaced, by grade id."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        cell.source = answers.get(cell.id, cell.source)
    return notebook


def first_wrong_answers(catalogue: Path, count: int = WRONG_ANSWERS) -> dict[str, str]:
    """The first wrong answer to each of the first exercises of a catalogue (`# %% wrong="fgsm"`). Empty without one."""
    answers: dict[str, str] = {}
    if catalogue.is_file():
        for cell in jupytext.read(catalogue, fmt="py:percent").cells:
            name = cell.metadata.get("wrong")
            if name is not None and (name in answers or len(answers) < count):
                answers.setdefault(name, cell.source)
    return answers


def _stubs(released: NotebookNode) -> dict[str, str]:
    """Without a catalogue: the first solutions stay as released."""
    return {cell.id: cell.source for cell in _solutions(released)[:1]}


def does_not_run(notebook: NotebookNode) -> NotebookNode:
    """A syntax error in the first solution, and an own cell that raises."""
    notebook = copy.deepcopy(notebook)
    first = _solutions(notebook)[0]
    first.source = re.sub(r":[ \t]*$", "", first.source, count=1, flags=re.MULTILINE)
    place = notebook.cells.index(first)
    notebook.cells.insert(place + 1, new_code_cell("results = {}\nresults['accuracy']", id="own-experiment"))
    return notebook


def warns(notebook: NotebookNode) -> NotebookNode:
    """Right answers that warn, print to stderr and show a progress bar at every call."""
    notebook = copy.deepcopy(notebook)
    for cell in _solutions(notebook):
        names = re.findall(r"^def (\w+)", cell.source, re.MULTILINE)
        cell.source = "\n\n".join([cell.source, *(f"{name} = noisy({name})" for name in names)])
    place = notebook.cells.index(_solutions(notebook)[0])
    notebook.cells.insert(place, new_code_cell(NOISY, id="own-noise"))
    return notebook


def damaged(notebook: NotebookNode) -> NotebookNode:
    """The first test deleted, the second there twice."""
    notebook = copy.deepcopy(notebook)
    tests = [cell for cell in notebook.cells if is_test(cell)]
    if len(tests) > 1:
        again = copy.deepcopy(tests[1])
        again.id = "pasted"  # a pasted copy gets a new cell id, but keeps nbgrader's
        notebook.cells.insert(notebook.cells.index(tests[1]), again)
    notebook.cells.remove(tests[0])
    return notebook


def _solutions(notebook: NotebookNode) -> list[NotebookNode]:
    cells = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    return [cell for cell in cells if cell.cell_type == "code"]


# --- what to say ---------------------------------------------------------------------------------------------------


def _what_is_where(sample: Course, assignment: str, seconds: float) -> str:
    here = _shown(sample.dir)
    pages = sorted((sample.feedback / "partly-wrong" / assignment).glob("*.html"))
    places = {
        _shown(sample.gradebook): "nbgrader's gradebook",
        _shown(sample.autograded): "the notebooks as they were run",
        _shown(sample.feedback): "a page for each student",
    }
    width = max(map(len, places))
    into = shlex.quote(here)
    return f"""\
Done in {seconds:.0f} s. What there is now:
{"".join(f"  {place:<{width}}  {what}" + chr(10) for place, what in places.items())}
Look at one page:
  {_shown(pages[0]) if pages else here}
Grade the free-text answers in formgrader (menu Nbgrader, Formgrader):
  (cd {into} && {_command(Path(sys.executable), sample.dir)} -m jupyterlab)
Then write the pages again:
  {_coursekit()} feedback {assignment} --course {into}"""


def _command(program: Path, folder: Path) -> str:
    """A program of this environment as a command that works in `folder`, whether the environment is activated or not.

    Not what is on the PATH: make puts the environment there, and the person's shell knows nothing of it.
    """
    if Path(sys.prefix).is_relative_to(Path.cwd()):
        return shlex.quote(os.path.relpath(program, folder))
    return shlex.quote(str(program))


def _coursekit() -> str:
    program = Path(sys.executable).with_name("coursekit")
    if program.is_file():
        return _command(program, Path.cwd())
    return f"{_command(Path(sys.executable), Path.cwd())} -m coursekit.cli"


def _shown(path: Path) -> str:
    """Relative to where the person is, if it is below."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
