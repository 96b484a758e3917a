"""What submissions of an assignment are graded against, read from the text sources."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from traitlets.config import Config

from coursekit.grading import repair
from coursekit.grading.build import release_notebook
from coursekit.grading.course import Course, CourseError
from coursekit.grading.source import SourceError, marking_schemes
from coursekit.grading.source import read as read_source


@dataclass(frozen=True)
class Assignment:
    """templates and canonical notebooks by notebook name; files beside them; marking schemes by grade id. digest: of
    all of it, so that a result can be told from one of an earlier version."""

    name: str
    templates: dict[str, repair.Template]
    canonical: dict[str, NotebookNode]
    files: list[tuple[str, Path]]
    schemes: dict[str, str]
    digest: str = field(default="")


def load(course: Course, assignment: str, config: Config) -> Assignment:
    """Read the text sources, as they are now. CourseError if there is no such assignment or a source is wrong."""
    templates, canonical = {}, {}
    schemes: dict[str, str] = {}
    for path in course.notebooks(assignment):
        try:
            source = read_source(path).notebook
        except SourceError as error:
            raise CourseError(error.problems[0]) from error
        with contextlib.chdir(course.dir):
            release = nbformat.reads(release_notebook(source, config), as_version=4)
            canonical[path.stem] = nbformat.reads(release_notebook(source, config, recorded=True), as_version=4)
        templates[path.stem] = repair.Template.of(canonical[path.stem], release)
        schemes |= marking_schemes(source)
    folder = course.sources / assignment
    files = [(str(path.relative_to(folder)), path) for path in course.other_files(assignment)]
    digest = _digest(templates, files, schemes)
    return Assignment(assignment, templates, canonical, files, schemes, digest)


def _digest(templates: dict[str, repair.Template], files: list[tuple[str, Path]], schemes: dict[str, str]) -> str:
    cells = {
        name: [(o.id, o.role, o.cell_type, o.text, o.released, o.metadata) for o in template.originals]
        for name, template in templates.items()
    }
    contents = {relative: hashlib.sha256(path.read_bytes()).hexdigest() for relative, path in files}
    return hashlib.sha256(json.dumps([cells, contents, schemes], sort_keys=True).encode()).hexdigest()
