"""Assignment 07 as a student meets it in JupyterLab: the release, with one exercise solved and one half right."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "adversarial_training" / "adversarial_training.ipynb"

WORST = """def worst_point(w, x, y, eps):
    return torch.where(y[:, None] * w > 0, x - eps, x + eps)"""
EVAL_MODE = """def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    optimizer.zero_grad()
    losses.cross_entropy(model(x_adv), y).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]"""


def test_release_runs_its_explorer_moves_and_the_forgotten_train_mode_is_explained(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("worst_point", WORST)
    notebook.write("training_step", EVAL_MODE)
    assert notebook.run_all() == []

    solved = notebook.page.get_by_role("table", name="worst_point", exact=True)
    assert solved.get_by_role("img", name="passed").count() == 3
    assert solved.get_by_role("img", name="wrong").count() == 0
    half = notebook.page.get_by_role("table", name="training_step", exact=True)
    assert half.get_by_role("img", name="wrong").count() == 2
    half.get_by_text("The update was made in eval mode, without dropout.").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 10

    assert notebook.picture("trained ε")[1].startswith("Ordinary training: ")
    notebook.set("trained ε", 0.1)
    assert notebook.picture_changed()
    assert notebook.picture()[1].startswith("Trained with ε = 0.1: ")
    notebook.set("attack ε", 0.05)
    assert notebook.picture_changed()
    assert "half-width 0.05" in notebook.picture()[1]
    notebook.set("attack ε", 0)
    assert notebook.picture_changed()
    assert "no attack" in notebook.picture()[1]
