"""`coursekit grade` beside plain `nbgrader autograde`: submissions a minute, and what grading itself takes.

python -m benchmarks.grading [--quick] [--tasks throughput overhead memory] [--repeats 5] [--write]

Both grade the same submissions in folders of their own, as programs that are started anew for each class. When a
result is there, the time of its autograded notebook says. A comparison with other points than nbgrader's is refused.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
from nbgrader.api import Gradebook

from benchmarks.timing import hardware, median, publish, table
from coursekit.grading import isolated, sandbox
from coursekit.grading.build import build
from coursekit.grading.controller import Means
from coursekit.grading.course import Course
from coursekit.grading.demo import solved, with_answers
from coursekit.grading.grade import grade_class
from coursekit.grading.sandbox import cgroup
from coursekit.grading.source import read as read_source

ROOT = Path(__file__).parents[1]
SMALL, LARGE = "small", "gradient_attacks"
TASKS = ("throughput", "overhead", "memory")
STOCK = "nbgrader autograde"
PLAIN = "\nc.Autograde.clear()  # nbgrader as it comes, without what repairs submissions\n"
MEGABYTE = 1e6  # bytes
LOOK_EVERY = 0.005  # seconds
Points = dict[str, dict[str, float | None]]  # by student and question


class Impossible(Exception):
    """There is nothing to measure; the text says why."""


@dataclass(frozen=True)
class Grader:
    """A program that grades. command: without the assignment; jobs: submissions at once."""

    name: str
    command: tuple[str, ...]
    jobs: int = 1


GRADERS = (
    Grader(STOCK, ("nbgrader", "autograde")),
    Grader("coursekit grade --jobs 1", ("coursekit.cli", "grade", "--jobs", "1")),
    Grader("coursekit grade --jobs 2", ("coursekit.cli", "grade", "--jobs", "2"), jobs=2),
)


@dataclass(frozen=True)
class Timed:
    """The grading of one class. students: how many; total: seconds of the whole program; each: mean of the seconds
    from one result to the next."""

    students: int
    total: float
    each: float

    @property
    def once(self) -> float:
        """Seconds that the class takes whatever its size: starting, preloading, ending."""
        return self.total - self.students * self.each

    def a_minute(self, students: int) -> float:
        """Submissions a minute in a class of so many, all included."""
        return 60 * students / (self.once + students * self.each)


# --- a class -------------------------------------------------------------------------------------------------------


def course_of(sources: Path, folder: Path) -> Course:
    """A course with one assignment, built, known to a new gradebook, without submissions."""
    course = Course(folder)
    shutil.copytree(sources, course.sources / sources.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    with contextlib.redirect_stdout(io.StringIO()):
        if build(course):
            raise Impossible(f"the sources in {sources} cannot be built")
    run(("nbgrader", "generate_assignment", sources.name, "--force"), course)
    return course


def hand_in(course: Course, assignment: str, students: int, all_right: bool = False) -> None:
    """A class with right answers; unless they are all right, every third has left the first function as it was."""
    (path,) = course.notebooks(assignment)
    released = nbformat.read(course.release / assignment / f"{path.stem}.ipynb", as_version=4)
    right = solved(released, read_source(path).notebook)
    first = next(cell for cell in released.cells if cell.metadata.get("nbgrader", {}).get("solution"))
    partly = with_answers(right, {first.id: first.source})
    for number in range(students):
        folder = course.submitted / f"student-{number:03}" / assignment
        folder.mkdir(parents=True)
        notebook = partly if number % 3 == 2 and not all_right else right
        nbformat.write(notebook, folder / f"{path.stem}.ipynb")


@contextlib.contextmanager
def copy_of(course: Course, students: int, plain: bool = False) -> Iterator[Course]:
    """A copy of the course with the first so many of its students, gone afterwards. plain: for nbgrader as it comes."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Course(Path(folder, "course"))
        shutil.copytree(course.dir, copy.dir)
        for student in sorted(copy.submitted.iterdir())[students:]:
            shutil.rmtree(student)
        if plain:
            with copy.nbgrader_config.open("a") as file:
                file.write(PLAIN)
        yield copy


def points(course: Course, assignment: str) -> Points:
    """What the gradebook holds."""
    with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
        return {
            submission.student_id: {
                grade.name: grade.auto_score for notebook in submission.notebooks for grade in notebook.grades
            }
            for submission in book.assignment_submissions(assignment)
        }


# --- time ----------------------------------------------------------------------------------------------------------


def run(command: tuple[str, ...], course: Course) -> None:
    """Run a Python module as a program in the course. One thread each: `coursekit grade` gives a submission no more."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=course.dir, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise Impossible(f"{' '.join(command)} failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")


def graded(grader: Grader, course: Course, assignment: str) -> tuple[Timed, Points]:
    """Have the class graded, and measure it."""
    start = time.time()
    run((*grader.command, assignment), course)
    total = time.time() - start
    there = sorted(path.stat().st_mtime for path in course.autograded.glob(f"*/{assignment}/*.ipynb"))
    if len(there) < 2:
        raise Impossible(f"{len(there)} submissions were graded: that says nothing about the time from one to the next")
    return Timed(len(there), total, (there[-1] - there[0]) / (len(there) - 1)), points(course, assignment)


def gradings(
    course: Course, assignment: str, sizes: dict[str, int], repeats: int, between: Callable[[], float] = lambda: 0.0
) -> Iterator[tuple[dict[str, Timed], dict[str, float]]]:
    """Each repeat goes through all graders, starting with another one: how each did, and the mean of `between` before
    and after it. sizes: students by grader. Raises Impossible if they do not give the same points."""
    before = between()
    for repeat in range(repeats):
        first = repeat % len(GRADERS)
        times: dict[str, Timed] = {}
        around: dict[str, float] = {}
        expected: Points = {}
        for grader in (*GRADERS[first:], *GRADERS[:first]):
            with copy_of(course, sizes[grader.name], plain=grader.name == STOCK) as copy:
                times[grader.name], found = graded(grader, copy, assignment)
            after = between()
            around[grader.name], before = (before + after) / 2, after
            if any(expected.setdefault(student, found[student]) != found[student] for student in found):
                raise Impossible(f"{grader.name} gives other points than those before it")
        yield times, around


def throughput(course: Course, students: int, stock: int, repeats: int) -> str:
    """Submissions a minute on a notebook that does next to nothing."""
    sizes = {grader.name: stock if grader.name == STOCK else students for grader in GRADERS}
    repeated = [times for times, _ in gradings(course, SMALL, sizes, repeats)]
    rows = []
    for grader in GRADERS:
        mine = [times[grader.name] for times in repeated]
        rates = [times[grader.name].a_minute(students) for times in repeated]
        ratios = [rate / times[STOCK].a_minute(students) for rate, times in zip(rates, repeated, strict=True)]
        figures = median(rates), median(ratios), median(t.each for t in mine), median(t.once for t in mine)
        rows.append(
            [
                grader.name,
                *(f"{figure:{form}}" for figure, form in zip(figures, (".0f", ".1f", ".3f", ".1f"), strict=True)),
            ]
        )
    columns = ["", "submissions a minute", "x nbgrader", "one to the next, s", "once for the class, s"]
    title = f"**A class of {students}, a notebook that imports torch and does next to nothing**"
    return f"{title}\n\n{table(columns, rows)}\n\n{repeats} repeats, {hardware()}"


class Yardstick:
    """The assignment's own computation: its solutions and tests in a warm process (`bare_notebook.py`), seconds."""

    def __init__(self, notebook: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare_notebook", str(notebook)], env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        for _ in range(2):  # warms up
            self()

    def __call__(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("run\n")
        answer = self._process.stdout.readline()
        if not answer:
            raise Impossible("the notebook with its own solutions does not run")
        return float(answer)

    def __enter__(self) -> Yardstick:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def overhead(course: Course, assignment: str, students: int, stock: int, repeats: int) -> str:
    """What a submission takes beyond its own computation."""
    sizes = {grader.name: stock if grader.name == STOCK else students for grader in GRADERS}
    with Yardstick(course.source_notebooks / assignment / f"{assignment}.ipynb") as own:
        repeated = list(gradings(course, assignment, sizes, repeats, lambda: median(own() for _ in range(3))))
    rows = []
    for grader in GRADERS:
        # With two at once each takes twice the time from one result to the next.
        each = [grader.jobs * times[grader.name].each for times, _ in repeated]
        beyond = [taken - around[grader.name] for taken, (_, around) in zip(each, repeated, strict=True)]
        rows.append([grader.name, f"{median(each):.2f}", f"{median(beyond):.2f}"])
    bare = median(seconds for _, around in repeated for seconds in around.values())
    title = f"**Assignment {assignment}, solved: {bare:.2f} s of its own computation**"
    conditions = f"Classes of {students}, nbgrader {stock}, {repeats} repeats, {hardware()}"
    return f"{title}\n\n{table(['', 'a submission, s', 'beyond its own, s'], rows)}\n\n{conditions}"


# --- memory --------------------------------------------------------------------------------------------------------


def preloaded() -> float:
    """Bytes of memory of all processes that this one has started: of a page that n processes share, each has the n-th
    part."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        total += 1024 * float(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))
    return total


class Highest:
    """The most memory, in bytes, that submissions have held at any time while a block ran, as the kernel counts it for
    their control groups: what they have written to or read first, not what was preloaded."""

    def __init__(self) -> None:
        if reason := cgroup.why_not():
            raise Impossible(f"memory is measured in control groups: {reason}")
        found = cgroup.hierarchy()
        assert found is not None
        self.value = 0
        self._file = "memory.max_usage_in_bytes" if found.version == 1 else "memory.peak"
        self._folder = found.folders["memory"]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Highest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            self.value = max(self.value, sum(self._peaks()))

    def _peaks(self) -> Iterator[int]:
        """Of each group that is there now: the highest so far."""
        for folder in self._folder.glob(f"{cgroup.PREFIX}{os.getpid()}-*"):
            with contextlib.suppress(OSError):  # it has just gone
                yield int((folder / self._file).read_text())


def memory(courses: dict[str, Course], students: int) -> str:
    """What a submission at work, with its examiner, holds beyond what is preloaded."""
    rows = []
    for assignment, course in courses.items():
        for jobs in (1, 2):
            with copy_of(course, students) as copy, isolated.Pool() as pool:
                pool.wait()
                once = preloaded()
                with Highest() as highest, contextlib.redirect_stderr(io.StringIO()):
                    grade_class(copy, assignment, means=Means(jobs, pool=pool))
            if not highest.value:
                raise Impossible("the submissions had no control groups")
            worker = highest.value / jobs
            rows.append([assignment, str(jobs), f"{once / MEGABYTE:.0f}", f"{worker / MEGABYTE:.0f}"])
    columns = ["", "jobs", "preloaded, MB", "a worker beyond it, at most, MB"]
    return f"{table(columns, rows)}\n\nClasses of {students}, {hardware()}"


# --- the program ---------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Grading: ours beside nbgrader's, and what it takes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--students", type=int, default=40, help="in the class of the small notebook")
    parser.add_argument("--stock", type=int, default=6, help="how many of a class nbgrader grades")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a few submissions, to see that it runs")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md, too")
    chosen = parser.parse_args(argv)
    if chosen.quick:
        chosen.students, chosen.stock, chosen.repeats = min(chosen.students, 4), 2, 1
    try:
        sandbox.nesting()
        _measure(chosen)
    except (Impossible, sandbox.Unavailable) as problem:
        sys.exit(f"not measured: {problem}")


def _measure(chosen: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        small = course_of(ROOT / "benchmarks" / "small_course" / "solutions" / SMALL, Path(folder, "small"))
        hand_in(small, SMALL, chosen.students)
        if "throughput" in chosen.tasks:
            text = throughput(small, chosen.students, chosen.stock, chosen.repeats)
            publish("grading: throughput", text, chosen.write)
        if not {"overhead", "memory"} & set(chosen.tasks):
            return
        name, sources = (SMALL, small.sources / SMALL) if chosen.quick else (LARGE, ROOT / "solutions" / LARGE)
        large, students = course_of(sources, Path(folder, "large")), min(chosen.students, 6)
        hand_in(large, name, students, all_right=True)
        if "overhead" in chosen.tasks:
            text = overhead(large, name, students, min(chosen.stock, students), chosen.repeats)
            publish("grading: overhead", text, chosen.write)
        if "memory" in chosen.tasks:
            text = memory({SMALL: small, name: large}, students)
            publish("grading: memory", text, chosen.write)


if __name__ == "__main__":
    main()
