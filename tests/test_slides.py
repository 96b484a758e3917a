"""The README's table from the lecture's slides to the notebooks' sections: no slide left out, no section made up."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# The lecture's slides from its first to where the attacks end, in its order and words.
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
]
LINK = re.compile(r"\[([^\]]+)\]\((notebooks/[^)]+\.ipynb)\)")


def slide_map() -> dict[str, list[tuple[str, Path]]]:
    """{slide: [(section, notebook)]} as the README's table `| slide | ... |` says."""
    table = re.search(r"^\| slide \|.*\n\|[-| :]+\n((?:\|.*\n)+)", README, re.MULTILINE)
    assert table, "the README has no table of slides"
    rows = [line.strip().strip("|").split("|") for line in table[1].splitlines()]
    return {row[0].strip(): [(text, ROOT / path) for text, path in LINK.findall("|".join(row[1:]))] for row in rows}


MAP = slide_map()


def markdown(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def plain(text: str) -> str:
    """Without typographic differences: quotation marks, emphasis, code."""
    return re.sub(r"\s+", " ", re.sub(r"[“”„\"*`\\$]", "", text)).strip()


def headings(path: Path) -> set[str]:
    return {plain(line.lstrip("# ")) for line in markdown(path).splitlines() if re.match("#{1,3} ", line)}


@pytest.mark.parametrize("slide", SLIDES)
def test_every_slide_has_a_section_in_a_notebook(slide):
    assert MAP.get(slide), f"no section covers the slide {slide!r}"


@pytest.mark.parametrize("slide", MAP)
def test_the_sections_of_the_table_exist(slide):
    for section, path in MAP[slide]:
        assert path.is_file(), path
        assert plain(section) in headings(path), f"{path.name} has no heading {section!r}"


@pytest.mark.parametrize("slide", MAP)
def test_the_notebook_says_that_it_covers_the_slide(slide):
    for _, path in MAP[slide]:
        (said,) = re.findall(r"^\*\*Slides?\*\*: (.*)$", markdown(path), re.MULTILINE)
        assert plain(slide) in plain(said), f"{path.name} does not name the slide {slide!r} in its opening"


def test_the_table_names_real_slides_only_and_in_the_lectures_order():
    assert [slide for slide in MAP if slide in SLIDES] == SLIDES
    assert set(MAP) <= set(SLIDES)


def test_every_assignment_is_in_the_table():
    released = {path.name for path in (ROOT / "notebooks").glob("*/*.ipynb")}
    assert {path.name for sections in MAP.values() for _, path in sections} == released
