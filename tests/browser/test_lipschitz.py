"""Assignment 11 as a student meets it in JupyterLab: the release, with one exercise solved and one half right."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "lipschitz" / "lipschitz.ipynb"

MAX_MIN = """def max_min(h):
    a, b = h[:, 0::2], h[:, 1::2]
    return torch.stack([torch.maximum(a, b), torch.minimum(a, b)], dim=2).flatten(1)"""
NO_DUAL = """def pair_constants(weight, L_body, p):
    return L_body * torch.linalg.vector_norm(weight[:, None] - weight[None], ord=p, dim=2)"""


def test_release_runs_its_explorers_move_and_a_missing_dual_norm_is_explained(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("max_min", MAX_MIN)
    notebook.write("pair_constants", NO_DUAL)
    assert notebook.run_all() == []

    solved = notebook.page.get_by_role("table", name="max_min", exact=True)
    assert solved.get_by_role("img", name="passed").count() == 2
    half = notebook.page.get_by_role("table", name="pair_constants", exact=True)
    assert half.get_by_role("img", name="wrong").count() == 3
    half.get_by_text("If every feature moves by 1, a weighted sum moves by the sum of |weights|").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 6

    assert notebook.picture("slope L")[1].startswith("True as far as anyone has looked")
    notebook.set("slope L", 20)
    assert notebook.picture_changed()
    assert notebook.picture()[1].startswith("A false certificate")
    notebook.set("slope L", 400)
    assert notebook.picture_changed()
    assert notebook.picture()[1].startswith("Proven")
    notebook.set("point", 12)
    assert notebook.picture_changed()
    assert "Point 12 of class" in notebook.picture()[1]
