"""Assignment 03 as a student meets it in JupyterLab: the release as it is, then with one exercise solved."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "gradient_attacks" / "gradient_attacks.ipynb"

PROJECT = """def project(x_tilde, x, eps):
    return torch.maximum(torch.minimum(x_tilde, x + eps), x - eps)"""


def test_release_runs_its_widgets_move_and_a_check_says_what_is_wrong(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("project", PROJECT)
    assert notebook.run_all() == []

    # The check of the one exercise that was tried: three of four situations, and why not the fourth.
    table = notebook.page.get_by_role("table", name="project")
    assert table.get_by_role("img", name="passed").count() == 3
    assert table.get_by_role("img", name="wrong").count() == 1
    table.get_by_text("Pixels leave [0, 1]: such a point lies in the ball, but is no image.").wait_for()
    notebook.page.get_by_text("2.25 of 3 points").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 10

    notebook.set("eps", 0.3)
    assert notebook.picture_changed()
    assert "eps = 0.3" in notebook.picture()[1]
    notebook.set("norm p", "2")
    assert notebook.picture_changed()
    assert "Step 6 of 20" in notebook.picture("step")[1]  # just after the network was fooled
    notebook.set("step", 12)
    assert notebook.picture_changed()
    assert "Step 12 of 20" in notebook.picture()[1]
