"""Assignment 10 as a student meets it in JupyterLab: the release as it is, with one exercise half right."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "convex_relaxations" / "convex_relaxations.ipynb"

# Ends through the layer as they are: right only where no weight is below 0.
INTERVAL_LINEAR = """def interval_linear(weight, bias, lower, upper):
    return weight @ lower + bias, weight @ upper + bias"""


def test_release_runs_a_check_says_what_is_wrong_and_the_net_closes(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("interval_linear", INTERVAL_LINEAR)
    assert notebook.run_all() == []

    table = notebook.page.get_by_role("table", name="interval_linear")
    assert table.get_by_role("img", name="passed").count() == 2
    assert table.get_by_role("img", name="wrong").count() == 2
    table.get_by_text("A negative weight makes its term smallest at the upper end.").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 6

    notebook.set("method", "CROWN")
    assert notebook.picture_changed()
    assert "By CROWN the leads" in notebook.picture()[1]
    notebook.set("eps", 0.1)
    assert notebook.picture_changed()
    assert "eps = 0.1" in notebook.picture()[1]
    notebook.set("network", "trained with bounds")
    assert notebook.picture_changed()
    assert "Network trained with bounds" in notebook.picture()[1]
