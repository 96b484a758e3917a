"""How the class did: counted from what was recorded, points by hand included."""

import sqlite3
from contextlib import closing

import pytest
from grading_samples import by_hand, read_json

from coursekit import cli
from coursekit.grading.grade import grade_class

NEGATIVE = "def add(a, b):\n    return abs(a) + abs(b)"


@pytest.fixture(scope="module")
def graded(new_course, filled, hand_in, pool):
    course = new_course()
    hand_in(course, "complete", filled())
    hand_in(course, "overruled", filled(root="def root(x): return 3.0"))
    hand_in(course, "negative", filled(add=NEGATIVE, root="def root(x): return 3.0"))
    hand_in(course, "negative-too", filled(add=NEGATIVE, double=None))
    hand_in(course, "nothing-right", filled(add="def add(a, b): return 0", root="def root(x)\n", why=""))
    hand_in(course, "unreadable", b"hello")
    grade_class(course, "tiny", pool=pool)
    by_hand(course, "complete", "why", score=2.0)
    by_hand(course, "overruled", "test-root", score=3.0)
    return course


@pytest.mark.slow
def test_counts_and_the_case_that_fails_most(graded, tmp_path, capsys):
    file = tmp_path / "report.json"
    assert cli.main(["report", "tiny", "--json", str(file), "--course", str(graded.dir)]) == 0
    result = read_json(file)
    assert (result["assignment"], result["submissions"], result["max"]) == ("tiny", 6, 8.0)
    add, double, root, why = result["questions"].values()
    assert list(result["questions"]) == ["test-add", "test-double", "test-root", "why"]
    counts = ("passed", "partly", "failed", "not attempted", "waiting")
    assert [add[name] for name in counts] == [2, 2, 2, 0, 0]
    assert [double[name] for name in counts] == [4, 0, 1, 1, 0]
    assert [root[name] for name in counts] == [3, 1, 2, 0, 0]
    assert [why[name] for name in counts] == [1, 0, 1, 1, 3]
    assert add["mean"] == pytest.approx((2 + 2 + 1 + 1) / 6)
    assert why["mean"] == pytest.approx(2 / 3), "of those for whom it is decided"
    assert add["case"] == {
        "title": "adds negative numbers", "hidden": True, "hint": "Think of what is below zero.", "count": 3,
    }  # fmt: skip
    assert double["case"] is None
    assert (root["case"]["title"], root["case"]["count"]) == ("root of zero", 3)
    out = capsys.readouterr().out
    assert "6 submissions, on average 3.67 of 8 points so far; 3 with answers that await a person" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["test-add", "2", "1.00", "2", "2", "2", "0", "0"] in lines
    words = " ".join(out.split())  # lines are as long as the terminal is wide
    assert "most often fails: adds negative numbers (hidden), 3 of 6. Think of what is below zero." in words


@pytest.mark.slow
def test_without_the_notebooks_points_decide(graded, capsys):
    moved = graded.autograded.rename(graded.dir / "elsewhere")
    try:
        assert cli.main(["report", "tiny", "--course", str(graded.dir)]) == 0
    finally:
        moved.rename(graded.autograded)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["test-root", "3", "1.67", "3", "1", "2", "0", "0"] in lines


@pytest.mark.slow
def test_points_off_are_in_the_mean(graded, capsys):
    with closing(sqlite3.connect(graded.gradebook)) as connection:
        connection.execute("update submitted_notebook set late_submission_penalty = 1")
        connection.commit()
    assert cli.main(["report", "tiny", "--course", str(graded.dir)]) == 0
    assert "6 with points taken off for handing in late" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "unknown assignment"),
        (["tiny"], "nobody was graded for tiny"),
        (["tiny", "--json", "/nowhere/x.json"], "no folder /nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_nothing_to_report(arguments, words, course, capsys):
    assert cli.main(["report", *arguments, "--course", str(course.dir)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert words in captured.err
