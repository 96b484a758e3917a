"""Where the things of a course lie, and the one error that reaches the command line as one line."""

from dataclasses import dataclass
from pathlib import Path


class CourseError(Exception):
    """Something the user can mend. Its text is the one line the command line prints: what is wrong, what to do."""


@dataclass(frozen=True)
class Course:
    """The folders of one course, laid out as nbgrader lays them out (`nbgrader_config.py` says the same)."""

    dir: Path

    @property
    def sources(self) -> Path:
        """Text sources, one folder per assignment."""
        return self.dir / "solutions"

    @property
    def source_notebooks(self) -> Path:
        """nbgrader's source notebooks, generated."""
        return self.dir / "build" / "source"

    @property
    def release(self) -> Path:
        """What students get, generated and committed."""
        return self.dir / "notebooks"

    @property
    def submitted(self) -> Path:
        return self.dir / "submitted"

    @property
    def autograded(self) -> Path:
        return self.dir / "autograded"

    @property
    def feedback(self) -> Path:
        return self.dir / "feedback"

    @property
    def results(self) -> Path:
        """What grading has finished, by assignment: `build/` can be deleted, and then it runs anew."""
        return self.dir / "build" / "results"

    @property
    def gradebook(self) -> Path:
        return self.dir / "gradebook.db"

    @property
    def nbgrader_config(self) -> Path:
        """nbgrader's settings, which `coursekit build` reads too."""
        return self.dir / "nbgrader_config.py"

    def assignments(self) -> list[str]:
        """Names of all assignments: the folders under `solutions/` that hold a source."""
        return sorted({source.parent.name for source in self._all_sources()})

    def notebooks(self, assignment: str) -> list[Path]:
        """The text sources of one assignment. Raises CourseError, naming the known ones, if there is none."""
        found = [source for source in self._all_sources() if source.parent.name == assignment]
        if not found:
            known = ", ".join(self.assignments()) or f"none: there is no source under {self.sources}"
            raise CourseError(f"unknown assignment {assignment!r}; known are: {known}")
        return found

    def other_files(self, assignment: str) -> list[Path]:
        """What lies beside the sources, images and data: no Python, no notebooks (solutions!), nothing hidden."""
        folder = self.sources / assignment
        return [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file()
            and path.suffix not in (".py", ".pyc", ".ipynb")
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        ]

    def _all_sources(self) -> list[Path]:
        """Every text source, sorted; not the copies that editors and JupyterLab keep in hidden folders."""
        found = self.sources.glob("*/*.py")
        return sorted(source for source in found if not source.parts[-2].startswith(".") and source.name[0] != ".")
