"""A Dask cluster of the tests' own on this machine: a scheduler and workers, each a process as on a real cluster."""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

# So that workers find what tests let them do, and this `coursekit`, wherever it is installed.
PYTHONPATH = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])


class Cluster:
    """address: where its scheduler listens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen] = []
        self._nannies: list[subprocess.Popen] = []
        self.scheduler: subprocess.Popen | None = None
        self.address = ""
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """Where the last one was, if there was one."""
        file = self._folder / "scheduler.json"
        port = self.address.rpartition(":")[2] or "0"
        file.unlink(missing_ok=True)
        self.scheduler = self._dask("scheduler", "--port", port, "--no-dashboard", "--scheduler-file", file)
        self.address = _await(lambda: json.loads(file.read_text())["address"], self.scheduler)

    def restart_scheduler(self) -> None:
        """With a worker; those that it had end."""
        self.scheduler.kill()
        self.scheduler.wait()
        self.start_scheduler()
        self.add_worker()

    def add_worker(self, *options, **environment: str) -> None:
        """With a nanny, which starts it again when it is killed."""
        command = ["worker", self.address, "--nthreads", 1, "--nanny", "--no-dashboard", "--memory-limit", 0,
                   "--local-directory", self._folder, *options]  # fmt: skip
        self._nannies.append(self._dask(*command, **environment))

    def kill_a_worker(self, choose: random.Random) -> bool:
        """SIGKILL for one of the worker processes. Returns whether there was one."""
        nannies = [psutil.Process(nanny.pid) for nanny in self._nannies]
        workers = [w for n in nannies for w in n.children() if "spawn_main" in " ".join(w.cmdline())]
        for worker in choose.sample(workers, min(1, len(workers))):
            worker.kill()
        return bool(workers)

    def stop_workers(self) -> None:
        _end(self._nannies)

    def stop(self) -> None:
        _end(self._processes)

    def _dask(self, *arguments, **environment: str) -> subprocess.Popen:
        log = open(self._folder / f"{arguments[0]}-{len(self._processes)}.log", "w")  # noqa: SIM115 - the process has it
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, arguments), "--host", "127.0.0.1"],
            stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": PYTHONPATH} | environment,
        )  # fmt: skip
        log.close()
        self._processes.append(process)
        return process


def _end(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        process.wait()


def _await(look, process: subprocess.Popen):
    deadline = time.monotonic() + 60
    while True:
        try:
            return look()
        except (OSError, ValueError):
            assert process.poll() is None, "Dask's scheduler does not start"
            assert time.monotonic() < deadline, "Dask's scheduler does not say where it is"
            time.sleep(0.05)


@contextlib.contextmanager
def running(workers: int = 2):
    """A Cluster, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="dask-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        try:
            for _ in range(workers):
                cluster.add_worker()
            yield cluster
        finally:
            cluster.stop()
