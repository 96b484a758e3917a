"""The page a student gets, in a browser: it fits a phone, and runs nothing of what students wrote."""

from pathlib import Path

import pytest

from coursekit.grading.feedback import Question, _render

NASTY = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">" + "x" * 300
CASE = {"status": "wrong", "css": "wrong", "mark": "✗", "title": NASTY, "got": NASTY, "expected": NASTY, "hint": NASTY}
ABOUT = dict.fromkeys(("handed_in", "problem", "waiting", "penalty"), NASTY)
PAGE = ABOUT | {
    "title": NASTY, "student": NASTY, "score": "1", "max": "4", "percent": 25.0, "percent_waiting": 50.0,
    "remarks": [NASTY, "\u202eturned"],
    "questions": [
        Question("one", NASTY, NASTY, "0", "2", "wrong", NASTY, False, False, [CASE, CASE | {"status": "passed"}]),
        Question("two", NASTY, NASTY, "1", "2", "partial", NASTY, True, True, [], NASTY, [NASTY]),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1200, "light")])
def test_it_fits_and_runs_nothing(page, tmp_path: Path, width, scheme):
    (tmp_path / "page.html").write_text(_render(PAGE), encoding="utf-8")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.scripts.length + document.images.length") == 0
    assert page.title() != "run"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
    # A row that is shown as a block is still a row.
    assert page.get_by_role("row").count() >= 4
    assert page.get_by_role("columnheader", name="Points").count() == 1
    page.get_by_role("link").first.press("Enter")
    assert page.url.endswith("#one")
