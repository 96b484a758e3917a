"""The whole way, from the sources to the feedback pages, on the real course: what was planted is what comes out."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from grading_samples import recorded

from coursekit.grading import demo as module
from coursekit.grading.course import Course, CourseError
from coursekit.grading.demo import MARK, demo, first_wrong_answers
from coursekit.grading.source import read

ROOT = Path(__file__).parents[2]
SOME = ("adversarial_examples", "gradient_attacks", "rob1_questions")  # all of them take minutes
CLASS = ["complete", "damaged-cells", "does-not-run", "partly-wrong", "untouched", "warns"]


def planted(assignment: str) -> dict[str, dict[str, tuple[float, float]]]:
    """{student: {grade id: (least, most) points}}: what each question of each student must get."""
    course = Course(ROOT)
    [path] = course.notebooks(assignment)
    cells = [cell for cell in read(path).notebook.cells if "nbgrader" in cell.metadata]
    tests = {
        c.id: float(c.metadata.nbgrader.points) for c in cells if c.metadata.nbgrader.grade and c.cell_type == "code"
    }
    first = next(c.id for c in cells if c.metadata.nbgrader.solution)
    wrong = first_wrong_answers(ROOT / "tests" / "course" / f"{assignment}.py")
    assert len(wrong) == module.WRONG_ANSWERS
    full = {id: (points, points) for id, points in tests.items()}
    return {
        "complete": full,
        "warns": full,
        "damaged-cells": full,
        "untouched": dict.fromkeys(tests, (0.0, 0.0)),
        "does-not-run": full | {f"test-{first}": (0.0, 0.0)},
        "partly-wrong": full | {f"test-{id}": (0.0, tests[f"test-{id}"] - 0.01) for id in wrong},
    }


@pytest.fixture
def part(tmp_path):
    """The course, with some of its assignments."""
    folder = tmp_path / "part"
    for name in SOME:
        shutil.copytree(ROOT / "solutions" / name, folder / "solutions" / name)
        (folder / "tests" / "course").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / "course" / f"{name}.py", folder / "tests" / "course")
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    return Course(folder)


@pytest.mark.slow
def test_every_students_points_are_what_was_planted(part, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert demo(part, tmp_path / "demo") == 0
    said = capsys.readouterr().out
    sample = Course(tmp_path / "demo")
    for assignment in SOME:
        results = recorded(sample, assignment)
        assert sorted(results) == CLASS
        for student, questions in planted(assignment).items():
            for id, (least, most) in questions.items():
                score = results[student][id][0]
                assert least <= score <= most, (student, id, score)
            for id, (score, _, waiting) in results[student].items():
                if id not in questions:  # a free-text answer
                    assert (score, waiting) == ((0.0, False) if student == "untouched" else (None, True))
        for student in CLASS:
            [page] = (sample.feedback / student / assignment).glob("*.html")
            [notebook] = (sample.autograded / student / assignment).glob("*.ipynb")
            assert page.stat().st_size > 2000
            assert notebook.stat().st_size > 2000
    flowing = " ".join(said.split())  # as if the table had never been wrapped
    for words in (
        "its cell does not run: SyntaxError",
        "was deleted; put back",
        "was there 2 times",
        "in a sandbox",
    ):
        assert words in flowing
    for place in ("demo/gradebook.db", "demo/autograded", "demo/feedback/partly-wrong", "jupyterlab"):
        assert place in said
    assert str(tmp_path) not in said, "paths are relative to where the person is"


@pytest.fixture
def no_grading(monkeypatch):
    """Only what happens before: this is about folders."""
    monkeypatch.setattr(module, "grade_class", lambda *a, **k: [])
    monkeypatch.setattr(module, "feedback", lambda *a, **k: 0)


def test_it_is_made_anew_each_time(new_course, no_grading, capsys):
    course = new_course()
    assert demo(course) == 0
    folder = course.dir / "demo"
    (folder / "stale").write_text("x")
    assert demo(course) == 0
    assert not (folder / "stale").exists()
    assert (folder / MARK).exists()
    assert sorted(path.name for path in (folder / "submitted").iterdir()) == CLASS
    assert not (course.dir / "submitted").exists(), "the course itself is left alone"


def test_the_commands_it_prints_work_as_they_are(new_course, no_grading, capsys, monkeypatch, tmp_path):
    """In a shell that knows nothing of the environment: where make puts it, and elsewhere."""
    course = new_course()
    programs = course.dir / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "coursekit"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$(pwd)" "$@"\n')
        (programs / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setattr(sys, "prefix", str(course.dir / ".venv"))
    for here, place in ((course.dir, ".venv/bin/coursekit"), (tmp_path, str(programs / "coursekit"))):
        monkeypatch.chdir(here)
        assert demo(course) == 0
        lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
        lab = next(line for line in lines if "jupyterlab" in line)
        feedback = next(line for line in lines if " feedback tiny " in line)
        assert feedback.startswith(place)
        said = [
            subprocess.run(line, shell=True, cwd=here, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
            for line in (lab, feedback)
        ]
        assert said[0].stdout == f"python {course.dir}/demo -m jupyterlab\n"
        assert said[1].stdout.startswith(f"coursekit {here} feedback tiny --course ")


def test_a_folder_it_did_not_make_is_left_alone(new_course, no_grading, tmp_path):
    course = new_course()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name, words in (("mine", "left alone"), ("file", "not a folder"), ("link", "not a folder")):
        with pytest.raises(CourseError, match=words):
            demo(course, tmp_path / name)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_the_class_is_made_of_the_sources(new_course, no_grading, built):
    """A solution that changes in the source changes in the class: nothing is stored."""
    import nbformat

    course = new_course()
    source = course.sources / "tiny" / "tiny.py"
    source.write_text(source.read_text().replace("return 2 * x", "return x + x"))
    demo(course)
    path = course.dir / "demo" / "submitted" / "complete" / "tiny" / "tiny.ipynb"
    cells = {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells}
    assert "return x + x" in cells["double"]
    assert "SOLUTION" not in cells["double"]
    assert "MARK SCHEME" not in cells["why"]
    assert "commutative" not in cells["why"]
