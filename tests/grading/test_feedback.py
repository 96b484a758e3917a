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
from coursekit.grading.feedback import _question, feedback
from coursekit.grading.grade import grade_class
from coursekit.grading.gradebook import Entry

NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>"

NASTY_ID = "x<b onclick='alert(3)'>&\""


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
    hand_in(course, "complete", filled(why=f"\u202eBecause. {NASTY}"))
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
    hand_in(course, NASTY_ID, filled(add=f"raise RuntimeError({NASTY!r})"))
    damaged = filled()
    damaged.cells = [c for c in damaged.cells if c.id != "test-add"] + [text(f"# {NASTY}")]
    hand_in(course, "damaged", damaged)
    grade_class(course, "tiny", jobs=2)
    by_hand(course, "complete", "why", score=1.5, comment=f"Nearly. {NASTY}", extra=0.25)
    assert feedback(course, "tiny") == 0
    return {path.parts[-3]: path.read_text(encoding="utf-8") for path in course.feedback.rglob("*.html")}


def test_everybody_has_a_page_that_is_well_formed_and_stands_alone(pages):
    assert sorted(pages) == ["complete", "crashes", "damaged", "unreadable", "untouched", "wrong", NASTY_ID]
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
    assert f"Feedback for {NASTY_ID}" in Page(pages[NASTY_ID]).words
    assert "<b onclick" not in pages[NASTY_ID]


def test_nothing_could_be_loaded_or_run(pages):
    """Should something ever get past the escaping, the page itself forbids it."""
    for source in pages.values():
        policies = [
            a.get("content") for tag, a in Page(source).tags if a.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_marks_that_turn_the_direction_of_reading_end_with_the_text(pages):
    assert '<div class="answer" dir="auto">\u202eBecause. ' in pages["complete"]
    assert re.search(r"\.answer \{ unicode-bidi: isolate; \}", pages["complete"])


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_of_text_is_readable_by_day_at_night_and_on_paper(pages):
    """WCAG AA: a contrast of 4.5 to what it stands on."""
    palettes = re.findall(r":root \{([^}]*)\}", pages["complete"])
    assert len(palettes) == 3
    for palette in palettes:
        colours = dict(re.findall(r"--(\w+): (#\w+)", palette))
        for ground in ("paper", "shade"):
            for ink in ("ink", "soft", "good", "bad", "crash", "wait"):
                dark, light = sorted((luminance(colours[ground]), luminance(colours[ink])))
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground, palette)


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
        for secret in ("negative", "below zero"):
            assert secret not in source, student
        assert "-3" not in Page(source).words
    words = Page(pages["wrong"]).words
    assert "✗ wrong hidden case" in words
    assert "a hidden case fails." in words


@pytest.mark.parametrize("hidden", ["no", "hints", "full"])
def test_they_are_shown_as_far_as_the_instructor_says(hidden):
    """In a test of cases; and in one of asserts, where the message may tell as much."""
    case = {
        "title": "adds negative numbers",
        "status": "wrong",
        "got": "3",
        "expected": "-3",
        "hint": "Below zero?",
        "hidden": True,
    }
    later = {"title": "adds zero", "status": "wrong", "got": "[-1, -2]", "expected": "0", "hint": "", "hidden": False}
    result = {"status": "wrong", "reason": "adds negative numbers: 3. Below zero?", "cases": [case, later]}
    shown = question(result, "", hidden)
    assert ("adds negative numbers" in shown, "-3" in shown) == (hidden == "full", hidden == "full")
    assert ("Below zero?" in shown) == (hidden != "no")
    assert ("[-1, -2]" in shown) == (hidden == "full"), "what a function was given before, it can give away later"
    asserts = {"status": "wrong", "reason": "AssertionError: add(-1, -2) is 3", "cases": []}
    assert ("add(-1" in question(asserts, "### BEGIN HIDDEN TESTS", hidden)) == (hidden == "full")
    assert "add(-1" in question(asserts, "", hidden)


def test_the_same_mishap_in_every_case_is_told_once():
    missing = {"status": "crashed", "got": "no function add", "expected": "a function", "hint": "Was its cell run?"}
    cases = [missing | {"title": title, "hidden": False} for title in ("adds", "subtracts", "adds zero")]
    shown = question({"status": "crashed", "reason": "", "cases": cases}, "", "no")
    assert shown.count("Was its cell run?") == shown.count("no function add") == 1
    assert shown.count("as above") == 2
    assert "adds zero" in shown


def question(result: dict, source: str, hidden: str) -> str:
    """What a page says about a question with this result."""
    about = {"grade_id": "test-add", "grade": True, "solution": False, "locked": True, "points": 2}
    test = nbformat.v4.new_code_cell(source, metadata={"nbgrader": about, "coursekit": result}, id="test-add")
    return str(_question(test, Entry(0.0, 2.0, False, False), "", [], hidden))


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
        assert "below zero" not in page


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
