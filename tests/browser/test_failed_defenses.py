"""Assignment 06 as a student meets it in JupyterLab: the release as it is, then with one exercise solved."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "failed_defenses" / "failed_defenses.ipynb"

FLOORED = """def quantize(x, levels):
    return torch.floor(x * (levels - 1)) / (levels - 1)"""


def test_release_runs_its_explorer_moves_and_a_check_says_what_is_wrong(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("quantize", FLOORED)
    assert notebook.run_all() == []

    table = notebook.page.get_by_role("table", name="quantize")
    assert table.get_by_role("img", name="wrong").count() == 2
    table.get_by_text("You cut off instead of rounding").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 11

    notebook.set("steps", 30)
    assert notebook.picture_changed()
    assert "Stuck: the gradient is exactly zero" in notebook.picture()[1]
    notebook.set("attacker", "adaptive")
    assert notebook.picture_changed()
    assert "Broken by the attacker who knows the defence" in notebook.picture()[1]
    notebook.set("defence", "noise")
    assert notebook.picture_changed()
    assert "averages 6 draws" in notebook.picture()[1]
    notebook.set("eps", 0.02)
    assert notebook.picture_changed()
    assert "Not fooled" in notebook.picture()[1]
