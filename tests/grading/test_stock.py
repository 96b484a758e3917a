"""Honest submissions get the same points from plain nbgrader, question by question; and its tools read our work."""

import pytest
from grading_samples import by_hand, nbgrader, recorded

from coursekit.grading.grade import grade_class

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(new_course, filled, hand_in):
    """The same class graded by us and by nbgrader: two courses."""
    ours, stock = new_course(), new_course()
    for course in (ours, stock):
        hand_in(course, "complete", filled())
        hand_in(
            course, "partly", filled(add="def add(a, b):\n    return abs(a) + abs(b)", root="def root(x): return 3.0")
        )
        hand_in(course, "crashes", filled(double="def double(x):\n    return x.twice"))
        hand_in(course, "syntax", filled(root="def root(x)\n    return 1"))
        hand_in(course, "nothing", filled(add="", double="", root=""))
    grade_class(ours, "tiny", jobs=2)
    nbgrader(stock, "generate_assignment", "tiny", "--force")
    nbgrader(stock, "autograde", "tiny")
    return ours, stock


def test_equal_points(both):
    ours, stock = map(recorded, both)
    assert ours == stock


def test_the_gradebook_describes_the_assignment_as_nbgrader_does(both):
    import sqlite3
    from contextlib import closing

    queries = (
        "select name, cell_type, locked, source, checksum from source_cell order by name",
        "select b.name, g.max_score, g.cell_type from base_cell b join grade_cells g on g.id = b.id order by 1",
        "select b.name, b.type from base_cell b order by 1, 2",
        "select name, kernelspec from notebook",
        "select name, course_id from assignment",
        "select version_num from alembic_version",
        "select auto_comment, manual_comment from comment order by 1",
    )
    for query in queries:
        answers = []
        for course in both:
            with closing(sqlite3.connect(course.gradebook)) as connection:
                answers.append(connection.execute(query).fetchall())
        assert answers[0] == answers[1], query


def test_nbgraders_own_feedback_and_export_read_ours(both):
    ours, _ = both
    by_hand(ours, "complete", "why", score=2.0, comment="Well said.")
    nbgrader(ours, "generate_feedback", "tiny", "--force", "--student", "complete")
    page = (ours.feedback / "complete" / "tiny" / "tiny.html").read_text()
    assert "Well said." in page
    nbgrader(ours, "export", "--to", "grades.csv")
    assert "complete" in (ours.dir / "grades.csv").read_text()


def test_one_after_the_other_makes_no_duplicate_rows(both):
    ours, _ = both
    before = recorded(ours)
    nbgrader(ours, "autograde", "tiny", "--force", "--student", "partly")
    assert recorded(ours)["partly"] == before["partly"]
    grade_class(ours, "tiny", student="partly")
    assert recorded(ours) == before
