"""Assignment 04 as a student meets it in JupyterLab: the release, with one exercise solved and one half right."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "minimum_norm_attacks" / "minimum_norm_attacks.ipynb"

OBJECTIVE = """def objective(model, x_tilde, x, y, lam):
    return ((x_tilde - x) ** 2).flatten(1).sum(1) + lam * losses.cw_margin(model(x_tilde), y)"""
TRAP = """def margin_loss(logits, y):
    onehot = torch.nn.functional.one_hot(y, logits.shape[1])
    other = ((1 - onehot) * logits).max(dim=1).values
    return (logits.gather(1, y[:, None]).squeeze(1) - other).clamp_min(0)"""


def test_release_runs_its_explorer_moves_and_the_famous_trap_is_explained(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("objective", OBJECTIVE)
    notebook.write("margin_loss", TRAP)
    assert notebook.run_all() == []

    solved = notebook.page.get_by_role("table", name="objective", exact=True)
    assert solved.get_by_role("img", name="passed").count() == 3
    assert solved.get_by_role("img", name="wrong").count() == 0
    trapped = notebook.page.get_by_role("table", name="margin_loss")
    assert trapped.get_by_role("img", name="wrong").count() >= 1
    trapped.get_by_text("A 0 in the place of y is larger than every log-probability").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 9

    assert notebook.picture("λ")[1].startswith("Not fooled: λ pushes too little")
    notebook.set("λ", 0.0056)
    assert notebook.picture_changed()
    assert notebook.picture()[1].startswith("Fooled, and close to the nearest point")
    notebook.set("λ", 0.3)
    assert notebook.picture_changed()
    assert "times as far as need be" in notebook.picture()[1]
    notebook.set("point", 10)
    assert notebook.picture_changed()
    assert "Point 10 of class" in notebook.picture()[1]
    notebook.set("steps", 5)
    assert notebook.picture_changed()
    assert "a descent of 5 steps" in notebook.picture()[1]
