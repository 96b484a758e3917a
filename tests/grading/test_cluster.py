"""Grading on a Dask cluster: workers that are killed lose nothing, and every failure is one clear line."""

import _thread
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cluster_calls as calls
import pytest
from dask_cluster import PYTHONPATH, running
from grading_samples import FULL, code, read_json, recorded, scores

from coursekit.grading import cluster, cluster_worker
from coursekit.grading.course import Course, CourseError
from coursekit.grading.grade import grade

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dask():
    with running() as dask:
        yield dask


@pytest.fixture
def course(tmp_path) -> Course:
    """Nothing but a folder."""
    return Course(tmp_path)


def run(dask, course, function, given, isolation="none") -> dict:
    return dict(cluster.run(dask.address, course, function, given, isolation))


def started(folder: Path) -> dict[str, int]:
    """How often each task, or each notebook, was started: they leave marks."""
    return {path.name: len(path.read_text().splitlines()) for path in folder.iterdir() if path.is_file()}


class TestTasks:
    def test_each_is_done_once_in_processes_of_dasks_workers(self, dask, course):
        given = {f"student-{n}": (n,) for n in range(20)}
        results = run(dask, course, calls.square, given)
        assert {name: result[0] for name, result in results.items()} == {f"student-{n}": n**2 for n in range(20)}
        assert os.getpid() not in {result[1] for result in results.values()}
        assert list(course.dir.glob("build/*")) == []

    def test_a_killed_worker_costs_nothing(self, dask, course):
        given = {"ada": (str(course.dir), "ada")}
        assert run(dask, course, calls.dies_at_first, given) == {"ada": "ada"}
        assert started(course.dir)["ada"] >= 2

    def test_a_failure_is_tried_again_and_said_at_last(self, dask, course):
        given = {"once": (str(course.dir), "once", 1), "always": (str(course.dir), "always", 99)}
        results = run(dask, course, calls.fails, given)
        assert results["once"] == "once"
        assert isinstance(results["always"], RuntimeError)
        assert str(results["always"]) == "no room for always"
        assert started(course.dir) == {"once": 2, "always": cluster.ATTEMPTS}

    def test_interrupted(self, dask, course):
        """What runs is told, what waits is never started."""
        given = {f"student-{n}": (str(course.dir), f"student-{n}") for n in range(6)}
        when(lambda: len(list(course.dir.glob("student-?"))) == 2, _thread.interrupt_main)
        with pytest.raises(KeyboardInterrupt):
            run(dask, course, calls.waits, given)
        assert eventually(lambda: len(list(course.dir.glob("* cancelled"))) == 2)
        assert len(list(course.dir.glob("student-?"))) == 2

    def test_killed_itself(self, dask, course):
        """Nobody is left to cancel the tasks: they notice."""
        code = (
            "import sys, cluster_calls; from pathlib import Path; from coursekit.grading import cluster\n"
            "from coursekit.grading.course import Course; folder = sys.argv[1]\n"
            "given = {'ada': (folder, 'ada')}\n"
            "next(cluster.run(sys.argv[2], Course(Path(folder)), cluster_calls.waits, given, 'none'))"
        )
        command = [sys.executable, "-c", code, course.dir, dask.address]
        with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": PYTHONPATH}) as process:
            assert eventually((course.dir / "ada").is_file)
            process.kill()
        assert eventually((course.dir / "ada cancelled").is_file)


class TestAClass:
    def test_killed_workers_lose_nothing_and_run_nothing_twice(
        self, dask, new_course, filled, hand_in, tmp_path, capsys
    ):
        course = new_course()
        hand_in_marked(course, 8, filled, hand_in, tmp_path)
        code, kills = grade_and_kill(course, dask, random.Random(6), most=2)
        assert (code, kills) == (0, 2)
        results = read_json(course.dir / "results.json")
        assert {student: scores(results, student) for student in results} == dict.fromkeys(students(8), FULL)
        assert set(recorded(course)) == set(students(8))
        runs = started(tmp_path)
        assert set(runs) == set(students(8))
        assert sum(runs.values()) <= 8 + kills, "only what a killed worker was at is run again"

        assert grade(course, "tiny", isolation="none", scheduler=dask.address) == 0
        assert "8 finished before, and not run again" in capsys.readouterr().err
        assert started(tmp_path) == runs

    def test_interrupted_and_taken_up_on_this_machine(self, dask, new_course, filled, hand_in, tmp_path, capsys):
        course = new_course()
        hand_in_marked(course, 3, filled, hand_in, tmp_path)
        command = [sys.executable, "-m", "coursekit.cli", "grade", "tiny", "--isolation", "none"]
        command += ["--scheduler", dask.address, "--course", course.dir]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as grading:
            assert eventually(lambda: list(course.results.glob("tiny/*.json")))
            grading.send_signal(signal.SIGINT)
            _, errors = grading.communicate(timeout=30)
        assert grading.returncode == 130
        assert errors.decode().splitlines()[-1] == "coursekit: interrupted; what was finished before is kept"
        finished = len(list(course.results.glob("tiny/*.json")))
        assert grade(course, "tiny", isolation="none") == 0
        assert f"{finished} finished before" in capsys.readouterr().err
        assert set(recorded(course)) == set(students(3))
        assert sum(started(tmp_path).values()) <= 3 + 2

    def test_students_code_is_kept_in_the_workers_sandbox(self, dask, new_course, filled, hand_in, tmp_path):
        course = new_course()
        hand_in_marked(course, 1, filled, hand_in, tmp_path)
        assert grade(course, "tiny", scheduler=dask.address, json_file=course.dir / "results.json") == 0
        assert scores(read_json(course.dir / "results.json"), "student-0") == FULL
        assert started(tmp_path) == {}, "what it wrote stayed in there"


def students(count: int) -> list[str]:
    return [f"student-{number}" for number in range(count)]


MARK = """\
import contextlib, time
with contextlib.suppress(OSError), open({!r}, "a") as file:
    file.write("run\\n")
time.sleep(0.3)
"""


def hand_in_marked(course, count: int, filled, hand_in, marks: Path) -> None:
    """Right submissions, each of which leaves a mark every time that it is run."""
    for student in students(count):
        notebook = filled()
        notebook.cells.insert(2, code(MARK.format(str(marks / student))))
        hand_in(course, student, notebook)


def grade_and_kill(course, dask, choose: random.Random, most: int) -> tuple[int, int]:
    """Grade the course on the cluster, and kill workers at random moments. Returns the exit code, and the kills."""
    over, kills = threading.Event(), 0

    def kill() -> None:
        nonlocal kills
        assert eventually(lambda: list(course.results.glob("tiny/*.json")))
        while kills < most and not over.wait(choose.uniform(0.1, 2.0)):
            kills += dask.kill_a_worker(choose)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        file = course.dir / "results.json"
        return grade(course, "tiny", isolation="none", scheduler=dask.address, json_file=file), kills
    finally:
        over.set()
        killer.join()


class TestErrors:
    @pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "tcp://no-such-host.invalid:8786"])
    def test_nobody_there(self, address, course, monkeypatch):
        monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
        with pytest.raises(CourseError, match=f"--scheduler {address}: no Dask scheduler answers"):
            list(cluster.run(address, course, calls.square, {"ada": (1,)}, "none"))

    @pytest.mark.parametrize("address", ["127.0.0.1", "tcp://", "gopher://host:70", ""])
    def test_no_address(self, address, course):
        with pytest.raises(CourseError, match="it is written tcp://HOST:PORT"):
            list(cluster.run(address, course, calls.square, {"ada": (1,)}, "none"))

    def test_whatever_goes_away(self, course, tmp_path, monkeypatch):
        """One story: at first there is no worker, then one that is of no use; the scheduler is started anew while one
        works; then that one goes, and at last the scheduler."""
        with running(workers=0) as dask:
            with monkeypatch.context() as patch:
                patch.setattr(cluster, "WORKER_SECONDS", 0.5)
                with pytest.raises(CourseError, match=f"has no workers; start some with: dask worker {dask.address}"):
                    run(dask, course, calls.square, {"ada": (1,)})

            (tmp_path / "block.py").write_text("import sys\nsys.modules['coursekit'] = None\n")
            dask.add_worker("--preload", tmp_path / "block.py")
            with pytest.raises(CourseError, match=r"the worker tcp://.*coursekit.* installed there\?"):
                run(dask, course, calls.square, {"ada": (1,)})
            dask.stop_workers()

            dask.add_worker()
            when((course.dir / "ada").exists, dask.restart_scheduler)
            given = {name: (str(course.dir), name, 1.0) for name in ("ada", "bob", "eve")}
            assert run(dask, course, calls.takes, given) == {name: name for name in given}

            monkeypatch.setattr(cluster, "WORKER_SECONDS", 20)  # that it may take to notice what was stopped
            when((course.dir / "dan").exists, dask.stop_workers)
            with pytest.raises(CourseError, match="has no worker left; start some and grade again"):
                run(dask, course, calls.takes, {"dan": (str(course.dir), "dan", 60)})

            monkeypatch.setattr(cluster, "RECONNECT_SECONDS", 1)
            threading.Timer(1.0, dask.scheduler.kill).start()
            with pytest.raises(CourseError, match="is gone; start it and grade again: what was finished is kept"):
                run(dask, course, calls.square, {"ada": (1,)})

    def test_a_worker_with_another_version(self, dask, course, monkeypatch):
        with pytest.raises(CourseError, match="the worker tcp://somewhere has another version"):
            run(dask, course, calls.meets_a_wrong_worker, {"ada": ()})
        monkeypatch.setattr(cluster_worker, "CODE", "another")
        with pytest.raises(CourseError, match=r"the worker tcp://127.0.0.1:\d+ has another version of coursekit"):
            run(dask, course, calls.square, {"ada": (1,)})

    def test_a_worker_that_does_not_see_the_course(self, dask, course):
        """It has a folder of this name, but another one."""
        (course.dir / "build").mkdir()
        elsewhere = course.dir / "build" / ".seen-elsewhere"
        wanted = cluster_worker.Wanted.like_here("none")
        for seen in (None, "something else"):
            if seen:
                elsewhere.write_text(seen)
            with cluster._connect(dask.address) as client:
                answers = client.run(cluster_worker.look, wanted, str(elsewhere))
            assert set(answers.values()) == {f"does not see the folder {course.dir}; share it, under the same name"}

    def test_a_worker_without_a_sandbox(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        assert cluster_worker.Wanted.like_here("bubblewrap").lacking().startswith("has no sandbox: bubblewrap is not")
        assert cluster_worker.Wanted.like_here("none").lacking() == ""


def eventually(happens, seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def when(happens, do) -> None:
    """In a thread of its own: wait for something, then do something."""
    threading.Thread(target=lambda: eventually(happens) and do(), daemon=True).start()
