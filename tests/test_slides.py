"""The README's table from the lecture's slides to the notebooks' sections: no slide left out, no section made up."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# The lecture's slides up to its questions, in its order and words. Its two parts each begin with an "Introduction".
SLIDES = [
    "Roadmap",
    "Introduction",
    "What Are Adversarial Examples?",
    "Why We (Should) Care About Adversarial Examples",
    "Adversarial Examples",
    "Adversarial Examples – Definition",
    'On "small" Perturbations',
    "Attack Variants",
    "Adversarial Attacks: Objective Function",
    "Projected Gradient Descent",
    "Alternative Optimization Problem",
    "Introduction",
    "What does not seem to work",
    "Robust Training",
    "Adversarial Training",
    "Adversarial Training: Danskin's Theorem",
    "Adversarial Training: Algorithm",
    "Adversarial Training: Summary",
    "Questions - Rob1",
]
LINK = re.compile(r"\[([^\]]+)\]\((notebooks/[^)]+\.ipynb)\)")


def slide_map() -> list[tuple[str, list[tuple[str, Path]]]]:
    """[(slide, [(section, notebook)])] as the README's table `| slide | ... |` says."""
    table = re.search(r"^\| slide \|.*\n\|[-| :]+\n((?:\|.*\n)+)", README, re.MULTILINE)
    assert table, "the README has no table of slides"
    rows = [line.strip().strip("|").split("|") for line in table[1].splitlines()]
    return [(row[0].strip(), [(text, ROOT / path) for text, path in LINK.findall("|".join(row[1:]))]) for row in rows]


MAP = slide_map()


def markdown(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def plain(text: str) -> str:
    """Without typographic differences: quotation marks, emphasis, code."""
    return re.sub(r"\s+", " ", re.sub(r"[“”„\"*`\\$]", "", text)).strip()


def headings(path: Path) -> set[str]:
    return {plain(line.lstrip("# ")) for line in markdown(path).splitlines() if re.match("#{1,3} ", line)}


def test_the_table_has_every_slide_in_the_lectures_order_and_no_other():
    assert [slide for slide, _ in MAP] == SLIDES


@pytest.mark.parametrize(("slide", "sections"), MAP)
def test_every_slide_has_sections_which_exist(slide, sections):
    assert sections, f"no section covers the slide {slide!r}"
    for section, path in sections:
        assert path.is_file(), path
        assert plain(section) in headings(path), f"{path.name} has no heading {section!r}"


@pytest.mark.parametrize(("slide", "sections"), MAP)
def test_the_notebook_says_that_it_covers_the_slide(slide, sections):
    for _, path in sections:
        (said,) = re.findall(r"^\*\*Slides?\*\*: (.*)$", markdown(path), re.MULTILINE)
        assert plain(slide) in plain(said), f"{path.name} does not name the slide {slide!r} in its opening"


def test_every_assignment_is_in_the_table():
    released = {path.name for path in (ROOT / "notebooks").glob("*/*.ipynb")}
    assert {path.name for _, sections in MAP for _, path in sections} == released
