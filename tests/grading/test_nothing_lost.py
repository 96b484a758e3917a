"""Whatever is killed, full or locked: after another run everything is as if nothing had happened, and nothing twice."""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import psutil
import pytest
from grading_samples import RIGHT, coursekit, left_running

from coursekit.grading import sandbox
from coursekit.grading.grade import grade_class
from coursekit.grading.record import only_writer

pytestmark = pytest.mark.slow

TIMEOUT = 250  # seconds; only a machine that does much else besides takes that long
CLASS = {
    "right": {},
    "partly": {"add": "def add(a, b):\n    return abs(a) + abs(b)", "root": "def root(x):\n    return 3.0"},
    "crashes": {"double": "def double(x):\n    return x.twice"},
    "exits": {"root": "def root(x):\n    import os\n    os._exit(3)"},
    "syntax": {"add": "def add(a, b)\n    return 1"},
    "nothing": dict.fromkeys(RIGHT),
    "slow": {"add": "import time\ntime.sleep(0.5)\n" + RIGHT["add"]},
    "noisy": {"add": "print('x' * 1000)\n" + RIGHT["add"]},
}
ROWS = (
    "select student_id, timestamp, name from submitted_assignment s join assignment a on a.id = s.assignment_id",
    "select student_id, b.name, g.auto_score, g.manual_score, g.needs_manual_grade from grade g "
    "join base_cell b on b.id = g.cell_id join submitted_notebook n on n.id = g.notebook_id "
    "join submitted_assignment a on a.id = n.assignment_id",
    "select student_id, b.name, auto_comment, manual_comment from comment c join base_cell b on b.id = c.cell_id "
    "join submitted_notebook n on n.id = c.notebook_id join submitted_assignment a on a.id = n.assignment_id",
    "select id, first_name from student",
)


def rows(course):
    """What the gradebook says, without the numbers that nbgrader draws by lot."""
    with contextlib.closing(sqlite3.connect(course.gradebook)) as connection:
        found = [sorted(map(repr, connection.execute(query))) for query in ROWS]
        students = [student for [student] in connection.execute("select student_id from submitted_assignment")]
    assert len(students) == len(set(students)), "a submission is there twice"
    return found


def outcome(course):
    """Everything that grading leaves for people: gradebook, autograded notebooks, results as data."""
    files = {
        str(path.relative_to(course.autograded)): path.read_bytes()
        for path in sorted(course.autograded.rglob("*"))
        if path.is_file()
    }
    return rows(course), files, json.loads((course.dir / "r.json").read_text())


@pytest.fixture(scope="module")
def undisturbed(new_course, filled, hand_in):
    """A class, and what an undisturbed grading makes of it."""
    try:
        sandbox.nesting()
    except sandbox.Unavailable as unavailable:
        pytest.skip(f"no sandbox: {unavailable}")
    course = new_course()
    for day, (student, answers) in enumerate(CLASS.items(), 1):
        hand_in(course, student, filled(**answers))
        (course.submitted / student / "tiny" / "timestamp.txt").write_text(f"2026-01-{day:02} 12:00:00 UTC")
    done = coursekit("grade", "tiny", "--jobs", "2", "--json", course.dir / "r.json", course=course)
    assert done.returncode == 0, done
    return course, outcome(course)


@pytest.fixture
def fresh(undisturbed, new_course):
    """The class, not graded yet."""
    course = new_course()
    shutil.copytree(undisturbed[0].submitted, course.submitted)
    return course


def command(course):
    where = ["--course", str(course.dir), "--json", str(course.dir / "r.json")]
    return [sys.executable, "-m", "coursekit.cli", "grade", "tiny", "--jobs", "2", *where]


@pytest.fixture
def start():
    """start(course): the grader as a process, which ends with the test."""
    with contextlib.ExitStack() as ended:

        def run(course):
            process = subprocess.Popen(command(course), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            ended.enter_context(process)
            ended.callback(process.kill)
            return process

        yield run


def finished(course):
    return sorted((course.results / "tiny").glob("*.json"))


def wait_until(condition, process, seconds=TIMEOUT):
    """Wait for something to happen while a process runs. False if the process ended before."""
    until = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.002)
    return True


def test_the_grader_is_killed_at_random_moments(fresh, undisturbed, start):
    lot = random.Random(0)
    for done in (0, 3, 6):  # finished results, and then a moment more
        process = start(fresh)
        if wait_until(lambda done=done: len(finished(fresh)) >= done and left_running(), process):
            time.sleep(lot.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = {path: path.stat().st_ino for path in finished(fresh)}
    process = start(fresh)
    said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, said
    assert {path: path.stat().st_ino for path in kept} == kept, "what was finished was not run again"
    assert f"{len(kept)} finished before" in said[1]
    assert outcome(fresh) == undisturbed[1]
    assert not left_running()


def test_the_writer_is_killed_in_the_middle_of_writing(fresh, undisturbed, start):
    """There is nothing to run: it finds all results, and begins to write at once."""
    shutil.copytree(undisturbed[0].results, fresh.results)
    journal = fresh.gradebook.with_name("gradebook.db-journal")
    lot, killed = random.Random(2), 0
    for number in range(5):
        process = start(fresh)
        # The journal is there while a transaction is.
        if wait_until(lambda n=number: journal.exists() and len(list(fresh.autograded.glob("*/tiny"))) >= n, process):
            time.sleep(lot.uniform(0, 0.05))
            killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert killed
    assert start(fresh).wait(timeout=TIMEOUT) == 0
    assert outcome(fresh) == undisturbed[1]
    assert not list(fresh.autograded.rglob(".new-*"))


def test_zygotes_and_students_processes_are_killed(fresh, undisturbed, start):
    """By somebody from outside; what a student ends from within is the student's."""
    process = start(fresh)
    stop, lot, killed = threading.Event(), random.Random(1), []

    def kill():
        for _ in range(2):
            if stop.wait(lot.uniform(0.2, 0.8)) or not wait_until(left_running, process):
                return
            with contextlib.suppress(psutil.Error, IndexError):
                bwraps = [child for child in psutil.Process(process.pid).children() if child.name() == "bwrap"]
                victim = lot.choice(bwraps)
                victim.kill()
                killed.append(victim.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        said = process.communicate(timeout=TIMEOUT)
    finally:
        stop.set()
        thread.join()
    assert killed
    assert process.returncode == 0, said
    assert outcome(fresh) == undisturbed[1]
    assert not left_running()


def test_a_locked_gradebook_costs_only_the_time(fresh, undisturbed, start):
    process = start(fresh)
    assert wait_until(lambda: finished(fresh), process)
    with contextlib.closing(sqlite3.connect(fresh.gradebook, timeout=30)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        out, err = process.communicate(timeout=TIMEOUT)
    if process.returncode:  # it was not finished with everything when we came
        assert "another program is writing to it" in err.splitlines()[-1], (out, err)
    kept = {path: path.stat().st_ino for path in finished(fresh)}
    assert start(fresh).wait(timeout=TIMEOUT) == 0
    assert {path: path.stat().st_ino for path in kept} == kept
    assert outcome(fresh) == undisturbed[1]


FILL_AND_GRADE = """
set -e
cp -r "$COURSE" "$DISK/course"
for left in 100000 260000; do  # bytes: too little for a gradebook, and for all that is written
    head -c 100M /dev/zero > "$DISK/filler" || truncate -s "-$left" "$DISK/filler"
    "$@" > /dev/null || echo "ended with $?"
    rm "$DISK/filler"
done
"$@"
cp -r "$DISK/course" "$OUT"
"""


def test_a_full_disk(fresh, undisturbed, tmp_path):
    """A small disk of the test's own, which within a sandbox nobody needs rights for."""
    disk, out = tmp_path / "disk", type(fresh)(tmp_path / "out")
    disk.mkdir()
    small = ["bwrap", "--dev-bind", "/", "/", "--size", str(3 * 2**20), "--tmpfs", str(disk), "--"]
    where = {"COURSE": str(fresh.dir), "DISK": str(disk), "OUT": str(out.dir)}
    done = subprocess.run(
        [*small, "sh", "-c", FILL_AND_GRADE, "sh", *command(type(fresh)(disk / "course"))],
        env=os.environ | where, capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[:2] == ["ended with 1", "ended with 1"], done
    assert "Traceback" not in done.stderr
    assert outcome(out) == undisturbed[1]


def test_two_graders_at_once(course, filled, hand_in):
    hand_in(course, "one", filled())
    with only_writer(course, "tiny"):
        done = coursekit("grade", "tiny", course=course)
    assert done.returncode == 1
    assert "is being graded already" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_finished_results_are_recorded_into_a_gradebook_that_was_lost(course, filled, hand_in):
    hand_in(course, "one", filled())
    grade_class(course, "tiny")
    before = rows(course)
    course.gradebook.unlink()
    shutil.rmtree(course.autograded)
    grade_class(course, "tiny")
    assert rows(course) == before
