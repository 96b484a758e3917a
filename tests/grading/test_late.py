"""Points off for handing in late are those that nbgrader takes off."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from grading_samples import by_hand, nbgrader
from nbgrader.api import Gradebook

from coursekit.grading.build import load_config
from coursekit.grading.course import CourseError
from coursekit.grading.grade import grade_class
from coursekit.grading.gradebook import Book

PER_HOUR = '''
from nbgrader.plugins import BasePlugin


class PerHour(BasePlugin):
    """A point for every hour; nobody's business for the first ten minutes; more than there is for two days."""

    def late_submission_penalty(self, student_id, score, total_seconds_late):
        if student_id == "excused":
            return -1
        return None if total_seconds_late < 600 else round(total_seconds_late / 3600, 1)
'''
TIMES = {
    "in-time": "2026-02-03 11:59:59 UTC",
    "a-little": "2026-02-03 12:05:00 UTC",
    "ninety-minutes": "2026-02-03 13:30:00 UTC",
    "two-days": "2026-02-05 12:00:00 UTC",
    "excused": "2026-02-05 12:00:00 UTC",
    "another-zone": "2026-02-03 12:30:00 Europe/Berlin",
    "no-time": "",
}


def penalties(course) -> dict[str, float | None]:
    query = """select a.student_id, n.late_submission_penalty from submitted_notebook n
        join submitted_assignment a on a.id = n.assignment_id"""
    with closing(sqlite3.connect(course.gradebook)) as connection:
        return dict(connection.execute(query).fetchall())


def prepare(course, filled, hand_in, settings, due="2026-02-03 12:00:00 UTC"):
    with course.nbgrader_config.open("a") as config:
        config.write(f"\n{settings}\n")
    (course.dir / "late.py").write_text(PER_HOUR)
    with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
        book.update_or_create_assignment("tiny", duedate=due)
    for student, time in TIMES.items():
        hand_in(course, student, filled(root="def root(x): return 3.0"))
        if time:
            (course.submitted / student / "tiny" / "timestamp.txt").write_text(time)


OWN = 'c.AssignLatePenalties.plugin_class = "late.PerHour"'
ZERO = 'c.LateSubmissionPlugin.penalty_method = "zero"'
EXPECTED = {
    OWN: {"in-time": None, "a-little": None, "ninety-minutes": 1.5, "two-days": 4.0, "excused": 0.0,
          "another-zone": None, "no-time": None},
    ZERO: {
        "in-time": None, "a-little": 4.0, "ninety-minutes": 4.0, "two-days": 4.0, "excused": 4.0,
        "another-zone": None, "no-time": None},
    "": dict.fromkeys(TIMES),
    OWN + "\nc.AssignLatePenalties.enabled = False": dict.fromkeys(TIMES),
}  # fmt: skip


@pytest.mark.slow
def test_points_off_follow_the_settings_and_the_gradebook(course, filled, hand_in):
    """Graded again, nothing is run, and the penalty is that of now."""
    settings_of_all = course.nbgrader_config.read_text()
    prepare(course, filled, hand_in, "")
    for settings, expected in EXPECTED.items():
        course.nbgrader_config.write_text(f"{settings_of_all}\n{settings}\n")
        results = {result.student: result for result in grade_class(course, "tiny")}
        assert penalties(course) == expected, settings
        told = [student for student, result in results.items() if "are taken off" in " ".join(result.remarks)]
        assert sorted(told) == sorted(student for student, points in expected.items() if points)
        scores = [grade.score for grade in results["two-days"].all_grades()]
        assert scores == [2.0, 1.0, 1.0, None], "the questions keep theirs"

    course.nbgrader_config.write_text(f"{settings_of_all}\n{ZERO}\n")
    by_hand(course, "ninety-minutes", "why", score=2.0)
    with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
        book.grant_extension("tiny", "two-days", days=3)
    grade_class(course, "tiny")
    assert penalties(course)["ninety-minutes"] == 6.0
    assert penalties(course)["two-days"] is None
    with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
        book.update_or_create_assignment("tiny", duedate="2026-03-01 12:00:00 UTC")
    grade_class(course, "tiny")
    assert penalties(course) == dict.fromkeys(TIMES)


@pytest.mark.slow
def test_the_same_as_nbgrader(new_course, filled, hand_in):
    ours, stock = new_course(), new_course()
    for course in (ours, stock):
        with Book(course, load_config(course)):
            pass
    nbgrader(stock, "generate_assignment", "tiny", "--force")
    for course in (ours, stock):
        prepare(course, filled, hand_in, OWN)
        for student in TIMES.keys() - {"ninety-minutes", "two-days"}:  # nbgrader takes five seconds for each
            shutil.rmtree(course.submitted / student)
    nbgrader(stock, "autograde", "tiny")
    grade_class(ours, "tiny")
    assert penalties(ours) == penalties(stock)
    assert set(penalties(ours)) == {"ninety-minutes", "two-days"}


@pytest.mark.parametrize("plugin", ["no_plugin.Nobody", "nowhere.PerHour", "no_plugin.Broken"])
def test_a_plugin_that_cannot_be_loaded(plugin, course):
    with course.nbgrader_config.open("a") as config:
        config.write(f'\nc.AssignLatePenalties.plugin_class = "{plugin}"\n')
    (course.dir / "no_plugin.py").write_text("class Broken:\n    pass\n")
    with pytest.raises(CourseError, match="the plugin for late submissions cannot be loaded"):
        Book(course, load_config(course))
