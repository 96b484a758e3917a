"""Assignment 09 as a student meets it in JupyterLab: the release, with one exercise solved and one half right."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "exact_certification" / "exact_certification.ipynb"

RANGE = """def range_of_linear(weight, bias, lower, upper):
    centre, radius = weight @ ((lower + upper) / 2) + bias, weight.abs() @ ((upper - lower) / 2)
    return centre - radius, centre + radius"""
OPTIMIST = """def verdict(bounds, leads, slack):
    return "counterexample" if any(value < 0 for value in leads) else "robust\""""


def test_release_runs_its_explorer_moves_and_no_proof_is_not_robust(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("range_of_linear", RANGE)
    notebook.write("verdict", OPTIMIST)
    assert notebook.run_all() == []

    solved = notebook.page.get_by_role("table", name="range_of_linear", exact=True)
    assert solved.get_by_role("img", name="passed").count() == 3
    assert solved.get_by_role("img", name="wrong").count() == 0
    optimist = notebook.page.get_by_role("table", name="verdict", exact=True)
    assert optimist.get_by_role("img", name="wrong").count() == 4
    optimist.get_by_text("Robust needs a proof for every rival, not for one.").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 5

    assert notebook.picture("eps")[1].startswith("Counterexample, and PGD misses it")
    notebook.set("eps", 0.1)
    assert notebook.picture_changed()
    assert notebook.picture()[1].startswith("Robust, proven")
    notebook.set("x1", 0.3)
    assert notebook.picture_changed()
    assert "around x = (0.3, 0.5)" in notebook.picture()[1]
