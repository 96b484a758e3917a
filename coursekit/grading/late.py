"""Points taken off for handing in late, as nbgrader takes them: by the plugin that `nbgrader_config.py` names.

    c.LateSubmissionPlugin.penalty_method = "zero"          nbgrader's own: nothing for what is late
    c.AssignLatePenalties.plugin_class = "late.PerDay"      one of the course's own, in late.py beside the settings

When an assignment is due stands in the gradebook (formgrader, or `nbgrader db assignment add NAME --duedate=...`).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from nbgrader.preprocessors import AssignLatePenalties
from traitlets.config import Config

from coursekit.grading.course import Course, CourseError


class LatePenalties:
    """The course's way of taking points off. Raises CourseError if its plugin cannot be loaded."""

    def __init__(self, course: Course, config: Config) -> None:
        try:
            with _modules_from(course.dir):
                preprocessor = AssignLatePenalties(config=config)
                preprocessor.init_plugin()
        except Exception as error:
            raise CourseError(
                f"{course.nbgrader_config}: the plugin for late submissions cannot be loaded: {error}"
            ) from error
        self._plugin = preprocessor.plugin_inst if preprocessor.enabled else None

    def penalty(self, student: str, score: float, seconds_late: float) -> float | None:
        """Points to take off a notebook with this score; between 0 and the score. None: none are taken off."""
        if self._plugin is None or seconds_late <= 0:
            return None
        penalty = self._plugin.late_submission_penalty(student, score, seconds_late)
        return None if penalty is None else min(max(float(penalty), 0.0), score)


@contextlib.contextmanager
def _modules_from(folder: Path) -> Iterator[None]:
    """nbgrader runs in the course's folder and finds modules there; last, so that none of ours is shadowed."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
