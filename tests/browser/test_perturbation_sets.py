"""Assignment 02 as a student meets it in JupyterLab: the release as it is, then with one exercise half solved."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "perturbation_sets" / "perturbation_sets.ipynb"

PROJECT = """def project_l2(x_tilde, x, eps):
    delta = x_tilde - x
    return x + delta * per_image(eps / norm(delta, 2).clamp_min(1e-12), x)"""


def test_release_runs_the_explorer_moves_and_a_check_says_what_is_wrong(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("project_l2", PROJECT)
    assert notebook.run_all() == []

    # The check of the one exercise that was tried: points inside were pushed onto the surface.
    table = notebook.page.get_by_role("table", name="project_l2")
    assert table.get_by_role("img", name="passed").count() == 2
    assert table.get_by_role("img", name="wrong").count() == 2
    table.get_by_text("Points inside are pushed out onto the surface. The factor is never above 1.").wait_for()
    notebook.page.get_by_text("1.5 of 3 points").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 10

    assert "gradient of length 1.2 at 25 degrees" in notebook.picture("angle")[1]
    for label, value, said in [
        ("angle", 45, "a tie"),
        ("radius", 0.5, "radius eps = 0.5"),
        ("length", 1.5, "length 1.5"),
        ("show", "projection", "outside of all three"),
        ("length", 0.3, "x̃ lies in all three balls"),
    ]:
        notebook.set(label, value)
        assert notebook.picture_changed(), label
        assert said in notebook.picture()[1]
