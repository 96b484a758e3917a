"""From the text sources to what students get.

    solutions/<assignment>/<notebook>.py            text source, see `coursekit.grading.source`
    build/source/<assignment>/<notebook>.ipynb      nbgrader's source notebook
    notebooks/<assignment>/<notebook>.ipynb         the release: no solutions, hidden tests or marking schemes
    notebooks/README.md                             the course in order

The release is made by nbgrader's own preprocessors under the course's `nbgrader_config.py`, so it is the same file
that `nbgrader generate_assignment` writes; only the gradebook is left alone. The same sources give the same bytes
everywhere.
"""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import SaveCells
from traitlets.config import Config, PyFileConfigLoader

from coursekit.grading.course import Course, CourseError
from coursekit.grading.source import Source, SourceError, read

Files = dict[Path, bytes]


def build(course: Course, check: bool = False) -> int:
    """Writes source notebooks and release. Returns the exit code: 1 if a source is wrong (nothing is written then).

    check: write nothing; 1 if a file of the release is not what the sources give.
    """
    try:
        sources = _read_all(course)
    except SourceError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    config = load_config(course)
    release = _release_files(course, sources, config)
    if check:
        return _check(course, release)
    files = _source_files(course, sources) | release
    _update(course, files)
    return 0


def load_config(course: Course) -> Config:
    """nbgrader's configuration of this course, as nbgrader itself reads it."""
    path = course.nbgrader_config
    if not path.is_file():
        raise CourseError(
            f"no {path.name} in {course.dir}; a course's folder has one, and solutions/: name it with --course DIR, or "
            "copy both there"
        )
    try:
        return PyFileConfigLoader(path.name, path=str(path.parent)).load_config()
    except Exception as error:
        raise CourseError(f"{path}: {type(error).__name__}: {error}") from error


def release_notebook(source: NotebookNode, config: Config, recorded: bool = False) -> str:
    """The text of the released notebook, made by `nbgrader generate_assignment`'s preprocessors in their order.

    recorded: of the notebook as its gradebook keeps it instead: no solutions, but hidden tests and marking schemes.
    """
    converter = GenerateAssignment(config=config)
    exporter = converter.exporter_class(parent=converter, config=converter.config)
    for preprocessor in converter.preprocessors:
        if preprocessor is not SaveCells:  # it writes to the gradebook and leaves the notebook as it is
            exporter.register_preprocessor(preprocessor)
        elif recorded:
            break
    return exporter.from_notebook_node(source)[0]


# -- what there should be


def _read_all(course: Course) -> list[Source]:
    """All sources in the order of the course. Raises SourceError with the problems of all of them."""
    if not course.assignments():
        raise CourseError(
            f"no source under {course.sources}; a course's folder has solutions/<assignment>/<notebook>.py and "
            "nbgrader_config.py: name it with --course DIR"
        )
    sources, problems = [], []
    for assignment in course.assignments():
        owner: dict[str, Path] = {}
        for path in course.notebooks(assignment):
            try:
                source = read(path, shown_as=_shown(course, path))
            except SourceError as error:
                problems += error.problems
                continue
            sources.append(source)
            # A student's results are kept by assignment and grade id.
            for taken in sorted(owner.keys() & set(source.grade_ids)):
                problems.append(f"{_shown(course, path)}: the id {taken!r} is taken in {_shown(course, owner[taken])}")
            owner |= dict.fromkeys(source.grade_ids, path)
    if problems:
        raise SourceError(problems)
    return sorted(sources, key=lambda source: (source.number, source.path))


def _source_files(course: Course, sources: list[Source]) -> Files:
    files = {
        _notebook_path(course.source_notebooks, source): nbformat.writes(source.notebook).encode() + b"\n"
        for source in sources
    }
    return files | _other_files(course, course.source_notebooks)


def _release_files(course: Course, sources: list[Source], config: Config) -> Files:
    files = {}
    with contextlib.chdir(course.dir):  # as nbgrader does: its configuration may name files of the course
        for source in sources:
            path = _notebook_path(course.release, source)
            files[path] = release_notebook(source.notebook, config).encode()
    files |= _other_files(course, course.release)
    files[course.release / "README.md"] = _contents(sources).encode()
    return files


def _notebook_path(folder: Path, source: Source) -> Path:
    return folder / source.path.parent.name / f"{source.path.stem}.ipynb"


def _other_files(course: Course, into: Path) -> Files:
    return {
        into / path.relative_to(course.sources): path.read_bytes()
        for assignment in course.assignments()
        for path in course.other_files(assignment)
    }


def _contents(sources: list[Source]) -> str:
    rows = []
    for source in sources:
        number = ".".join(str(part) for part in source.number)
        link = f"[{source.title}]({source.path.parent.name}/{source.path.stem}.ipynb)"
        rows.append([number, link, source.summary, f"{source.points:g}"])
    table = [["", "notebook", "", "points"], ["--:", "---", "---", "--:"], *rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return (
        "# The notebooks, in order\n\n"
        "<!-- Written by `coursekit build` from solutions/, like every file in this folder: change the sources. -->\n\n"
        + "\n".join(lines)
        + "\n"
    )


# -- making it so


def _check(course: Course, release: Files) -> int:
    outdated = [_shown(course, path) for path, content in release.items() if _bytes(path) != content]
    outdated += [_shown(course, path) for path in _orphans(course, release)]
    for path in sorted(outdated):
        print(f"{path}: out of date (run coursekit build)")
    return 1 if outdated else 0


def _orphans(course: Course, release: Files) -> Iterator[Path]:
    """Released notebooks of assignments that are no more. A notebook of one's own beside a released one is none."""
    folders = {path.parent for path in release}
    for path in sorted(course.release.glob("*/*.ipynb")):
        if path.parent not in folders:
            yield path


def _update(course: Course, files: Files) -> None:
    changed = [path for path, content in sorted(files.items()) if _bytes(path) != content]
    for path in changed:
        kept = _keep_answers(path) if path.is_relative_to(course.release) else None
        if kept:
            print(f"{_shown(course, path)}: holds answers, kept as {kept.name}")
        _write(path, files[path])
        print(f"{_shown(course, path)}: written")
    removed = _remove_old(course, files)
    print(f"{len(files)} files: {len(changed)} written, {len(removed)} removed, the others are up to date")
    for path in _orphans(course, files):
        print(f"{_shown(course, path)}: has no source, and was not made by the last build: left alone")


def _keep_answers(path: Path) -> Path | None:
    """Sets a notebook aside in which somebody has worked, so that building never costs a student their answers."""
    if path.suffix != ".ipynb" or not path.exists() or not _has_answers(path):
        return None
    number = 1
    while (kept := path.with_name(f"{path.stem}-kept-{number}.ipynb")).exists():
        number += 1
    os.replace(path, kept)
    return kept


def _has_answers(path: Path) -> bool:
    """Whether a cell for answers is no longer as it was released: nbgrader notes a checksum of each."""
    try:
        cells = nbformat.read(path, as_version=4).cells
        answers = [cell for cell in cells if utils.is_solution(cell)]
        return any(cell.metadata.nbgrader.get("checksum") != utils.compute_checksum(cell) for cell in answers)
    except Exception:  # not a notebook any more, so not one of ours: who knows what is in it
        return True


def _remove_old(course: Course, files: Files) -> list[Path]:
    """Removes what an earlier build wrote and this one does not, if it is still as written. Nothing else, ever."""
    record = course.dir / "build" / "generated.json"
    removed = []
    for name, digest in sorted(_recorded(record).items()):
        path = course.dir / name
        content = _bytes(path) if _may_remove(course, path) and path not in files else None
        if content is not None and _digest(content) == digest:
            path.unlink()
            removed.append(path)
            print(f"{name}: removed, its source is gone")
            with contextlib.suppress(OSError):  # not empty
                path.parent.rmdir()
    digests = {_shown(course, path): _digest(content) for path, content in files.items()}
    _write(record, json.dumps(digests, indent=1, sort_keys=True).encode() + b"\n")
    return removed


def _recorded(record: Path) -> dict[str, str]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _may_remove(course: Course, path: Path) -> bool:
    inside = path.is_relative_to(course.release) or path.is_relative_to(course.source_notebooks)
    return inside and ".." not in path.parts


def _write(path: Path, content: bytes) -> None:
    """Writes the whole file or, when interrupted, nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _shown(course: Course, path: Path) -> str:
    return path.relative_to(course.dir).as_posix()
