"""The pages students get: complete, safe to open, and silent about hidden tests."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from grading_samples import by_hand, cell, text

from coursekit import cli
from coursekit.grading.feedback import feedback
from coursekit.grading.grade import grade_class

NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """The tags of a page, and what a person reads."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "br", "img", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> does not fit"

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data + " "

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def pages(new_course, filled, hand_in):
    """Pages of a small class, by student."""
    course = new_course()
    hand_in(course, "complete", filled(why=f"Because. {NASTY}"))
    hand_in(
        course, "wrong", filled(add="def add(a, b):\n    return abs(a) + abs(b)", root=f"def root(x): return {NASTY!r}")
    )
    hand_in(
        course,
        "crashes",
        filled(add="def add(a, b)\n    return 1", root="def root(x):\n    import os\n    os._exit(1)"),
    )
    hand_in(course, "unreadable", b"hello")
    hand_in(course, "untouched", filled(why="", add="raise NotImplementedError()"))
    damaged = filled()
    damaged.cells = [c for c in damaged.cells if c.id != "test-add"] + [text(f"# {NASTY}")]
    hand_in(course, "damaged", damaged)
    grade_class(course, "tiny", jobs=2)
    by_hand(course, "complete", "why", score=1.5, comment=f"Nearly. {NASTY}", extra=0.25)
    assert feedback(course, "tiny") == 0
    return {path.parts[-3]: path.read_text(encoding="utf-8") for path in course.feedback.rglob("*.html")}


def test_everybody_has_a_page_that_is_well_formed_and_stands_alone(pages):
    assert sorted(pages) == ["complete", "crashes", "damaged", "unreadable", "untouched", "wrong"]
    for source in pages.values():
        page = Page(source)
        assert not page.open
        names = [tag for tag, _ in page.tags]
        assert page.tags[0] == ("html", {"lang": "en"})
        assert names.count("title") == names.count("h1") == names.count("main") == 1
        assert not {"script", "iframe", "link", "object", "embed", "form", "img"} & set(names)
        assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert not re.search(r"https?://|@import|url\(", source)
        assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
        assert names.count("caption") == names.count("table")
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        links = [attributes["href"][1:] for tag, attributes in page.tags if tag == "a"]
        assert set(links) <= set(ids)


def test_what_a_student_wrote_is_text_and_never_markup(pages):
    assert "&lt;script&gt;" in pages["complete"]
    for source in pages.values():
        assert NASTY not in source


def test_points_and_reasons(pages):
    words = Page(pages["wrong"]).words
    assert "2 of 8 points" in words
    assert "add 1 / 2 ◐ partly passed" in words
    assert "root 0 / 3 ✗ wrong" in words
    assert "Which function of math is it?" in words
    words = Page(pages["crashes"]).words
    assert "its cell does not run: SyntaxError" in words
    assert "the process ended itself with exit code 1" in words
    words = Page(pages["unreadable"]).words
    assert "This notebook could not be read: the file is not a notebook" in words
    assert "0 of 8 points" in words
    assert "No answer was written." in Page(pages["untouched"]).words
    assert "test-add: was deleted; put back." in Page(pages["damaged"]).words


def test_points_and_comments_by_hand(pages):
    words = Page(pages["complete"]).words
    assert "7.75 of 8 points" in words
    assert "1.75 of 2 points, given by a person" in words
    assert "Comment: Nearly. <script>" in words
    assert "await a person" not in words


def test_hidden_tests_are_not_shown(pages):
    for student, source in pages.items():
        assert "negative" not in source, student
        assert "-3" not in Page(source).words
    words = Page(pages["wrong"]).words
    assert "hidden case Think of what is below zero." in words
    assert "a hidden case fails. Think of what is below zero." in words


@pytest.mark.slow
def test_nbgraders_own_pages_do_not_show_them_either(new_course, filled, hand_in):
    course = new_course()
    hand_in(course, "wrong", filled(add="def add(a, b):\n    print(f'{a=}')\n    return abs(a) + abs(b)"))
    hand_in(course, "crashes", filled(add="def add(a, b):\n    return [7][a - 1] + [8][b - 2]"))
    hand_in(course, "right", filled())
    grade_class(course, "tiny", jobs=2)
    path = course.autograded / "crashes" / "tiny" / "tiny.ipynb"  # where the traceback is, the hidden source is too
    notebook = nbformat.read(path, as_version=4)
    error = nbformat.v4.new_output("error", ename="E", evalue="", traceback=["add(-1, -2), -3"])
    cell(notebook, "test-add").outputs.append(error)
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "nbgrader", "generate_feedback", "tiny"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=course.dir, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    for student in ("wrong", "crashes", "right"):
        page = (course.feedback / student / "tiny" / "tiny.html").read_text()
        assert "hidden case" in page
        assert "adds small numbers" in page
        for secret in ("negative", "<b>-3", "a=-1", "add(-1", "HIDDEN TESTS"):
            assert secret not in page, (student, secret)
        assert ("Think of what is below zero." in page) == (student != "right")


def test_writing_again_gives_the_same_bytes_and_only_one_student_is_possible(course, filled, hand_in):
    for name in ("one", "two"):
        hand_in(course, name, filled())
    grade_class(course, "tiny")
    assert cli.main(["feedback", "tiny", "--student", "two", "--course", str(course.dir)]) == 0
    [page] = course.feedback.rglob("*.html")
    first = page.read_bytes()
    assert feedback(course, "tiny") == 0
    assert page.read_bytes() == first
    assert not list(course.feedback.rglob(".new-*"))


def test_nothing_graded_yet(course, capsys):
    for arguments, words in ((["tiny"], "nobody was graded"), (["nonsense"], "unknown assignment")):
        assert cli.main(["feedback", *arguments, "--course", str(course.dir)]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert words in said
