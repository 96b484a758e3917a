"""The database behind the gradebook: SQLite in the course's folder or, with `CourseDirectory.db_url`, PostgreSQL.

nbgrader opens and fills both alike. Here is what differs: making a new one so that it is complete or not there at
all, letting one program write at a time, and saying in words what is wrong.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import sqlalchemy
from nbgrader.api import Base, Gradebook, get_alembic_version
from nbgrader.api import Course as CourseRow
from sqlalchemy import URL, Connection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import scoped_session

from coursekit.grading.course import Course, CourseError

BUSY_SECONDS = 5  # how long to wait for another program that is writing
CONNECT_SECONDS = 10  # how long to wait for a server that does not answer
_WRITERS = int.from_bytes(b"grading")  # the advisory lock that all writers to one PostgreSQL database share


def locate(course: Course, db_url: str | None) -> URL:
    """Where the gradebook is: `db_url`, as nbgrader's settings have it, or a file in the course's folder.

    Written as nbgrader's Gradebook wants it, but with a short wait for others instead of a long silence.
    """
    if not db_url:
        return URL.create("sqlite", database=str(course.gradebook), query={"timeout": str(BUSY_SECONDS)})
    try:
        url = sqlalchemy.make_url(db_url)
    except ValueError as error:  # a port that is no number
        raise ArgumentError(str(error)) from error
    if url.drivername == "postgresql":  # SQLAlchemy's default depends on its version
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername in ("postgresql+psycopg", "postgresql+psycopg2"):
        options = url.query.get("options", "")
        wait = f"-c lock_timeout={BUSY_SECONDS}s"
        query = {"connect_timeout": str(CONNECT_SECONDS)} | dict(url.query) | {"options": f"{wait} {options}".strip()}
        url = url.set(query=query)
    return url


def is_there(url: URL) -> bool:
    """Whether there is a gradebook. CourseError if a server's database holds something else, or half of one."""
    if file := _file(url):
        return file.exists()
    engine = sqlalchemy.create_engine(url)
    try:
        found = set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    missing = (Base.metadata.tables.keys() | {"alembic_version"}) - found
    if found and missing:
        raise CourseError(
            f"the database {url.database} is in use, but not as a gradebook of this nbgrader (no table "
            f"{min(missing)}); name an empty one, or run nbgrader db upgrade if it is an older gradebook"
        )
    return bool(found)


def create(url: URL, course_id: str, before: Path) -> bool:
    """A new gradebook: complete or not there at all, because nbgrader does not recover from half of one.

    before: the file that a gradebook on a server takes over where there is one; returns whether it did. Does nothing
    if another program has made the gradebook in the meantime.
    """
    # nbgrader calls the program `alembic`, which the environment's bin folder has and PATH may not.
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    if file := _file(url):
        _create_file(file, course_id)
        return False
    return _create_tables(url, course_id, before)


def _file(url: URL) -> Path | None:
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _create_file(path: Path, course_id: str) -> None:
    if not path.parent.is_dir():
        raise CourseError(f"no folder {path.parent}")
    with tempfile.TemporaryDirectory(prefix=".gradebook-", dir=path.parent) as folder:
        new = Path(folder) / "gradebook.db"
        Gradebook(URL.create("sqlite", database=str(new)), course_id).close()
        if path.exists():  # somebody else was faster
            return
        shutil.move(new, path)


def _create_tables(url: URL, course_id: str, before: Path) -> bool:
    """What nbgrader's Gradebook does at first, but in one transaction, which a server's tables allow."""
    version = get_alembic_version()
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.begin() as connection:
            _lock(connection)
            if sqlalchemy.inspect(connection).get_table_names():  # somebody else was faster
                return False
            Base.metadata.create_all(connection)
            connection.execute(sqlalchemy.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(sqlalchemy.text("INSERT INTO alembic_version VALUES (:version)"), {"version": version})
            if before.exists():
                _copy(before, connection)
                return True
            connection.execute(sqlalchemy.insert(CourseRow.__table__).values(id=course_id))
            return False
    finally:
        engine.dispose()


def _copy(file: Path, target: Connection) -> None:
    """All that is in a gradebook of this nbgrader's."""
    engine = sqlalchemy.create_engine(URL.create("sqlite", database=str(file)))
    try:
        with engine.connect() as source:
            for table in Base.metadata.sorted_tables:  # what a row refers to comes before it
                rows = [dict(row) for row in source.execute(sqlalchemy.select(table)).mappings()]
                if rows:
                    target.execute(sqlalchemy.insert(table), rows)
    except SQLAlchemyError as error:
        raise CourseError(
            f"{file} cannot be taken over to the server: {in_words(error)}; mend that, or move the file away"
        ) from error
    finally:
        engine.dispose()


# --- writing -------------------------------------------------------------------------------------------------------


def begin(session: scoped_session) -> None:
    """Start a transaction that sees what is committed now, and that no other grading writes beside.

    Raises an error of SQLAlchemy's if another program does not finish writing within BUSY_SECONDS.
    """
    rollback(session)
    try:
        _lock(session.connection())
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        rollback(session)  # the server had hung up while students' code ran; once more, on a new connection
        _lock(session.connection())


def rollback(session: scoped_session) -> None:
    """Undo what is not committed."""
    try:
        session.rollback()
    except DBAPIError:  # the server has hung up, and undone it itself
        session().invalidate()


def check_writable(session: scoped_session) -> None:
    """Find out now, and not after an hour of grading. Raises an error of SQLAlchemy's."""
    begin(session)
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("CREATE TABLE coursekit_probe (x)")  # a lock alone is had read-only too
    else:
        _try_to_write(connection)
    rollback(session)


def _lock(connection: Connection) -> None:
    """Kept until the transaction ends, also by the end of this process."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif connection.dialect.name == "postgresql":
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_WRITERS)))


def _try_to_write(connection: Connection) -> None:
    """Every kind of statement that changes a row, on every table, for no row: the server still asks for the right."""
    nothing = sqlalchemy.false()
    for table in Base.metadata.sorted_tables:
        key = next(iter(table.primary_key))
        rows = sqlalchemy.select(table).where(nothing)
        connection.execute(sqlalchemy.insert(table).from_select(table.columns.keys(), rows))
        connection.execute(sqlalchemy.update(table).where(nothing).values({key: key}))
        connection.execute(sqlalchemy.delete(table).where(nothing))


# --- errors --------------------------------------------------------------------------------------------------------


def in_words(error: Exception) -> str:
    """What is wrong, and what to do about it, in one sentence."""
    cause = getattr(error, "orig", None) or error
    code, text = getattr(cause, "sqlstate", None), " ".join(str(cause).split())
    if isinstance(error, NoSuchModuleError | ArgumentError):
        return f"{text}; write db_url as postgresql+psycopg://USER@HOST/DATABASE"
    if code in _CODES:
        return f"{_CODES[code]} ({text})"
    if words := _find(_CONNECTING, text):
        return f"{words} ({text})"
    return _find(_FILE, text) or text


def _find(meanings: dict[str, str], text: str) -> str | None:
    return next((meaning for sign, meaning in meanings.items() if sign in text), None)


_BUSY = "another program is writing to it (formgrader, or another grading run); close that and try again"
_OLD = "made by another version of nbgrader; back it up and run nbgrader db upgrade"
_UNREACHABLE = "no PostgreSQL server answers there; start it, or mend CourseDirectory.db_url in nbgrader_config.py"
_REFUSED = "the PostgreSQL server does not let this user in; look at name and password in CourseDirectory.db_url"

# PostgreSQL's codes, which do not depend on the server's language.
_CODES = {
    "25006": "the gradebook can only be read; connect to a server, and as a user, that may write",
    "42501": "this user may not write there; make it the owner of the database (ALTER DATABASE ... OWNER TO ...)",
    "42703": _OLD,
    "53100": "no space left on the server's disk; free some and grade again",
    "53300": "the server has too many connections open; close some and grade again",
    "55P03": _BUSY,
    "57P01": "the server was shut down; start it and grade again",
}

# Where no server was reached that would give a code.
_CONNECTING = {
    "authentication failed": _REFUSED,
    "no password supplied": _REFUSED,
    "no pg_hba.conf entry": _REFUSED,
    'FATAL: role "': _REFUSED,
    'FATAL: database "': "the server has no database of this name; make one: createdb --owner USER DATABASE",
    "server closed the connection": "the server hung up; grade again when it is there",
    "connection failed": _UNREACHABLE,
    "connection is bad": _UNREACHABLE,
    "connection timeout": _UNREACHABLE,
    "failed to resolve host": _UNREACHABLE,
}

_FILE = {
    "locked": _BUSY,
    "readonly": "the gradebook cannot be written; change its permissions, or those of its folder",
    "unable to open": "the gradebook cannot be opened or written; look at its permissions and its folder's",
    "disk is full": "no space left on the disk; free some and grade again",
    "disk I/O": "the disk refused to write (full, or over quota?); free some space and grade again",
    "no such column": _OLD,
    "no such table": "not a complete gradebook of nbgrader; move it away, and a new one is made",
    "not a database": "not a gradebook of nbgrader; move it away, and a new one is made",
    "malformed": "the gradebook is damaged; put a backup in its place",
}
