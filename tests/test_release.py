"""What students get: up to date with its sources, and without a line of what they are to find out themselves."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from coursekit.grading.build import build, load_config, release_notebook
from coursekit.grading.course import Course
from coursekit.grading.source import read

ROOT = Path(__file__).parents[1]
SOURCES = sorted(ROOT.glob("solutions/*/*.py"))
SAMPLE = ROOT / "tests/grading/sample_course/solutions/tiny/tiny.py"

REGIONS = ("SOLUTION", "HIDDEN TESTS", "MARK SCHEME")
SHORT = 12  # characters: `return x` and `else:` say nothing


def secrets(source: str) -> set[str]:
    """Lines of a text source that students must not see: between delimiters, and all of an answer's cell.

    Read from the text with nothing of the build, so that no mistake there hides itself. A line that is public too
    elsewhere in the source is none.
    """
    hidden, public = set(), []
    inside, in_answer = None, False
    for line in source.splitlines():
        if line.startswith("# %%"):
            in_answer = "answer=" in line
            continue
        begins = next((region for region in REGIONS if f"BEGIN {region}" in line), None)
        ends = next((region for region in REGIONS if f"END {region}" in line), None)
        if begins or ends:
            inside = begins
            continue
        text = re.sub(r"^# ?", "", line).strip()
        if inside or in_answer:
            hidden.add(text)
        else:
            public.append(text)
    everything_public = "\n".join(public)
    return {text for text in hidden if len(text) >= SHORT and text not in everything_public}


def leaks(source: str, given_out: str) -> list[str]:
    return sorted(text for text in secrets(source) if text in given_out)


def passages(source: str) -> set[str]:
    """Two secret lines in a row; a solution of one line by itself. What would be more than an idiom elsewhere."""
    secret, found = secrets(source), set()
    lines = ["", *(re.sub(r"^# ?", "", line).strip() for line in source.splitlines()), ""]
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if {line, after} <= secret:
            found.add(f"{line}\n{after}")
        elif line in secret and "BEGIN" in before and "END" in after:
            found.add(line)
    return found


def copied(source: str, given_out: str) -> list[str]:
    """The passages of a source in a text, whatever the indentation."""
    text = "\n".join(line.strip() for line in given_out.splitlines())
    return sorted(passage for passage in passages(source) if passage in text)


def given_out(path: Path) -> str:
    """The text of a released file, a notebook's as its cells show it."""
    if path.suffix != ".ipynb":
        return path.read_bytes().decode("utf-8", "replace")
    notebook = nbformat.read(path, as_version=4)
    return "\n".join(
        [*(cell.source for cell in notebook.cells), *(str(dict(cell.metadata)) for cell in notebook.cells)]
    )


def released(of: Path | None = None) -> str:
    """All that students get: of one assignment, named by its source, or of all."""
    files = [path for path in ROOT.glob("notebooks/**/*") if path.is_file() and "-kept-" not in path.name]
    return "\n".join(given_out(path) for path in files if of is None or path.stem == of.stem)


def test_the_release_is_up_to_date(capsys):
    assert build(Course(ROOT), check=True) == 0, capsys.readouterr().out


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_nothing_secret_is_in_the_release(source):
    text = source.read_text(encoding="utf-8")
    assert released(source)
    assert leaks(text, released(source)) == []
    assert copied(text, released()) == [], "in another assignment, where a single line may be an idiom"
    assert not re.search("|".join(f"(BEGIN|END) {region}" for region in REGIONS), released())


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_release_asks_for_everything_that_is_graded(source):
    """Each solution and answer of the source is a stub in the release, with its points where they belong."""
    notebook = nbformat.read(ROOT / "notebooks" / source.parent.name / f"{source.stem}.ipynb", as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    for cell in read(source).notebook.cells:
        settings = cell.metadata.get("nbgrader")
        if settings is not None:
            stub = cells[cell.id]
            assert stub.metadata.nbgrader.get("points") == settings.get("points")
            if settings.solution:
                assert ("YOUR CODE HERE" if cell.cell_type == "code" else "Your answer") in stub.source


@pytest.mark.parametrize("source", [*SOURCES, SAMPLE], ids=lambda path: path.stem)
def test_a_leak_would_be_found(source):
    """The search itself: the source notebook, with all that is secret in it, must look like one big leak."""
    text = source.read_text(encoding="utf-8")
    notebook = read(source).notebook
    everything = "\n".join(cell.source for cell in notebook.cells)
    assert len(leaks(text, everything)) == len(secrets(text)) > 0
    assert len(copied(text, everything)) == len(passages(text)) > 0
    release = nbformat.reads(release_notebook(notebook, load_config(Course(ROOT))), as_version=4)
    assert leaks(text, "\n".join(cell.source for cell in release.cells)) == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> dict[str, bytes]:
    """The package as students install it: {file: content}."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert run.returncode == 0, run.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_the_package_holds_coursekit_and_nothing_else(wheel):
    folders = {name.partition("/")[0] for name in wheel}
    assert {re.sub(r"-.*\.dist-info", ".dist-info", folder) for folder in folders} == {
        "coursekit",
        "coursekit.dist-info",
    }
    ours = {str(path.relative_to(ROOT)) for path in ROOT.glob("coursekit/**/*.py")}
    assert ours <= set(wheel)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_nothing_secret_is_in_the_package(source, wheel):
    content = "\n".join(data.decode("utf-8", "replace") for data in wheel.values())
    found = leaks(source.read_text(encoding="utf-8"), content)
    # The library has loops of its own; what stands in a loop is what would tell.
    assert [line for line in found if not line.endswith(":")] == []
    catalogue = {path.read_bytes() for path in ROOT.glob("tests/course/*.py")}
    assert not catalogue & set(wheel.values())
