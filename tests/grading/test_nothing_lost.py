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

from coursekit.grading.grade import grade_class
from coursekit.grading.record import only_writer

pytestmark = pytest.mark.slow

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
    "select s.id, s.student_id, s.timestamp from submitted_assignment s",
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
        found = [sorted(map(repr, connection.execute(query))) for query in ROWS[1:]]
        students = [student for _, student, _ in connection.execute(ROWS[0])]
    assert len(students) == len(set(students)), "a submission is there twice"
    return [sorted(students), *found]


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
    course = new_course()
    for student, answers in CLASS.items():
        hand_in(course, student, filled(**answers))
    fresh = new_course()
    shutil.copytree(course.submitted, fresh.submitted)
    done = coursekit("grade", "tiny", "--jobs", "2", "--json", course.dir / "r.json", course=course)
    assert done.returncode == 0, done
    return fresh, outcome(course)


@pytest.fixture
def fresh(undisturbed, tmp_path):
    """A copy of the class, not graded yet."""
    course, _ = undisturbed
    shutil.copytree(course.dir, tmp_path / "course")
    return type(course)(tmp_path / "course")


def start(course, *more):
    command = [sys.executable, "-m", "coursekit.cli", "grade", "tiny", "--jobs", "2", "--course", str(course.dir)]
    command += ["--json", str(course.dir / "r.json"), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(course):
    return sorted((course.results / "tiny").glob("*.json"))


def wait_until(condition, process, seconds=60):
    """Wait for something to happen while a process runs. False if the process ended before."""
    until = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.002)
    return True


def test_the_grader_is_killed_at_random_moments(fresh, undisturbed):
    lot = random.Random(0)
    for done in (0, 2, 3, 5, 7):  # finished results, and then a moment more
        process = start(fresh)
        if wait_until(lambda done=done: len(finished(fresh)) >= done and left_running(), process):
            time.sleep(lot.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = {path: path.stat().st_ino for path in finished(fresh)}
    process = start(fresh)
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert {path: path.stat().st_ino for path in kept} == kept, "what was finished was not run again"
    assert f"{len(kept)} finished before" in said[1]
    assert outcome(fresh) == undisturbed[1]
    assert not left_running()


def test_the_writer_is_killed_in_the_middle_of_writing(fresh, undisturbed):
    journal = fresh.gradebook.with_name("gradebook.db-journal")
    for number in range(4):
        process = start(fresh)
        # The journal is there while a transaction is; from the second round on there is something to record at once.
        if wait_until(lambda: journal.exists() and finished(fresh), process):
            time.sleep(0.01 * number)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert start(fresh).wait(timeout=120) == 0
    assert outcome(fresh) == undisturbed[1]
    assert not list(fresh.autograded.rglob(".new-*"))


def test_zygotes_and_students_processes_are_killed(fresh, undisturbed):
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
        said = process.communicate(timeout=200)
    finally:
        stop.set()
        thread.join()
    assert killed
    assert process.returncode == 0, said
    assert outcome(fresh) == undisturbed[1]
    assert not left_running()


def test_a_locked_gradebook_costs_only_the_time(fresh, undisturbed):
    process = start(fresh)
    assert wait_until(lambda: finished(fresh), process)
    with contextlib.closing(sqlite3.connect(fresh.gradebook, timeout=30)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        out, err = process.communicate(timeout=120)
    if process.returncode:  # it was not finished with everything when we came
        assert "another program is writing to it" in err.splitlines()[-1], (out, err)
    kept = {path: path.stat().st_ino for path in finished(fresh)}
    assert start(fresh).wait(timeout=120) == 0
    assert {path: path.stat().st_ino for path in kept} == kept
    assert outcome(fresh) == undisturbed[1]


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="makes a small file system, which root may")
def test_a_full_disk(fresh, undisturbed, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        course = type(fresh)(disk / "course")
        shutil.copytree(fresh.dir, course.dir)
        with open(disk / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        filler_size = (disk / "filler").stat().st_size
        os.truncate(disk / "filler", filler_size - 300_000)  # enough to begin with
        process = start(course)
        said = process.communicate(timeout=120)
        assert process.returncode == 1, said
        assert "No space left" in " ".join(said) or "no space left" in " ".join(said)
        (disk / "filler").unlink()
        assert start(course).wait(timeout=120) == 0
        assert outcome(course) == undisturbed[1]
    finally:
        subprocess.run(["umount", disk], check=False)


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
