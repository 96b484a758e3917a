"""Each notebook as its reader runs it, top to bottom in a real kernel: with solutions, and as released."""

import re

import nbformat
import pytest
from single_cells import ASSIGNMENTS
from nbclient import NotebookClient

from coursekit import checks


def execute(path, tmp_path, *, figures=True):
    notebook = nbformat.read(path, as_version=4)
    if not figures:
        notebook.cells = [cell for cell in notebook.cells if "demo" not in cell.metadata.get("tags", [])]
    NotebookClient(notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}).execute()
    return notebook


def outputs(notebook, kind):
    return [(cell, out) for cell in notebook.cells for out in cell.get("outputs", []) if out.output_type == kind]


def reports(notebook):
    """{grade id: report} of every test cell."""
    shown = [(cell.id, out.data) for cell, out in outputs(notebook, "display_data")]
    return {grade_id: data[checks.MIME] for grade_id, data in shown if checks.MIME in data}


def graded_cells(notebook):
    return {
        cell.id
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade") and cell.cell_type == "code"
    }


@pytest.fixture(scope="module", params=ASSIGNMENTS)
def solved(request, built, tmp_path_factory):
    (path,) = built.source_notebooks.glob(f"*/{request.param}.ipynb")
    return execute(path, tmp_path_factory.mktemp("solved"))


@pytest.fixture(scope="module", params=ASSIGNMENTS)
def released(request, built, tmp_path_factory):
    """As released, without figures and experiments: the browser tests run those, too."""
    (path,) = built.release.glob(f"*/{request.param}.ipynb")
    return execute(path, tmp_path_factory.mktemp("released"), figures=False)


def errors(notebook):
    return [f"{cell.id}: {out.ename}: {out.evalue}" for cell, out in outputs(notebook, "error")]


@pytest.mark.slow
def test_solution_runs_and_gets_full_points(solved):
    assert errors(solved) == []
    assert {grade_id: r["status"] for grade_id, r in reports(solved).items() if r["status"] != "passed"} == {}
    assert set(reports(solved)) == graded_cells(solved)


@pytest.mark.slow
def test_nothing_is_written_to_stderr(solved):
    assert [(cell.id, out.text) for cell, out in outputs(solved, "stream") if out.name == "stderr"] == []


@pytest.mark.slow
def test_every_picture_has_an_alt_text(solved):
    shown = [(cell.id, out.data) for kind in ("display_data", "execute_result") for cell, out in outputs(solved, kind)]
    assert [cell_id for cell_id, data in shown if "image/png" in data and "<img" not in data.get("text/html", "")] == []
    tags = [(cell_id, tag) for cell_id, data in shown for tag in re.findall(r"<img[^>]*>", data.get("text/html", ""))]
    assert len(tags) >= 5
    assert [(cell_id, tag[:80]) for cell_id, tag in tags if not re.search(r'alt="[^"]{20,}"', tag)] == []


@pytest.mark.slow
def test_release_runs_and_says_what_is_not_attempted(released):
    assert errors(released) == []
    assert {r["status"] for r in reports(released).values()} == {"not attempted"}
    assert set(reports(released)) == graded_cells(released)
