"""A PostgreSQL server of the tests' own: an empty cluster in a temporary folder, reached through a socket there."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

NEEDED = "needs PostgreSQL's server programs (make system installs them: README, 'System packages')"


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, which most systems keep off the PATH; of several versions the newest."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    return max((f for f in folders if (f / "initdb").is_file()), default=None, key=lambda f: int(_digits(str(f))))


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit()) or "0"


class Server:
    """host: the folder of its socket. Everybody who reaches it may be any user; `grader` may do everything."""

    def __init__(self, host: Path) -> None:
        self.host = host
        self._databases = 0

    def url(self, database: str, user: str = "grader", **query: str) -> str:
        """As it stands in nbgrader_config.py."""
        return f"postgresql+psycopg://{user}@/{database}?host={self.host}" + "".join(
            f"&{name}={value}" for name, value in query.items()
        )

    def new_database(self) -> str:
        """The name of an empty one."""
        self._databases += 1
        name = f"course{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Beside whatever the grader does."""
        return psycopg.connect(host=str(self.host), user="grader", dbname=database, autocommit=True)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        """The rows that it returns."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def running(programs: Path):
    """A Server, until the end of the block."""
    who = _somebody()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # the path of a socket has room for 107 characters
    try:
        if who:
            shutil.chown(folder, who["user"], who["group"])
        make = [programs / "initdb", "-D", folder / "data", "-U", "grader", "--auth=trust", "--encoding=UTF8",
                "--locale=C", "--no-sync"]  # fmt: skip
        done = subprocess.run(make, capture_output=True, text=True, cwd=folder, **who)
        assert done.returncode == 0, done.stderr
        serve = [programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-F"]
        with (
            open(folder / "log", "w") as log,
            subprocess.Popen(serve, stdout=log, stderr=log, cwd=folder, **who) as process,
        ):
            try:
                server = Server(folder)
                _await(server, process, folder / "log")
                yield server
            finally:
                process.send_signal(signal.SIGINT)  # at once, whoever is still connected
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _somebody() -> dict:
    """PostgreSQL refuses to run as root."""
    if os.getuid():
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _await(server: Server, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return server.connect().close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server does not start: {log.read_text()}") from None
            time.sleep(0.05)
