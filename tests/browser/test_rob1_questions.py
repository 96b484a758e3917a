"""Assignment 08 as a student meets it in JupyterLab: the release, with one exercise solved and one half right."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "rob1_questions" / "rob1_questions.ipynb"

CLOSED = """def not_robust(x, jumps, eps):
    return ((x[:, None] - jumps).abs() <= eps).any(dim=1)"""
PAIR = """def opposite_pair(f, a, b, eps, p):
    ends = {f(a): a, f(b): b}
    while torch.linalg.vector_norm(ends[0] - ends[1], ord=p) >= eps:
        middle = (ends[0] + ends[1]) / 2
        ends[f(middle)] = middle
    return ends[0], ends[1]"""


def test_release_runs_its_explorers_move_and_the_open_ball_is_explained(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("opposite_pair", PAIR)
    notebook.write("not_robust", CLOSED)
    assert notebook.run_all() == []

    solved = notebook.page.get_by_role("table", name="opposite_pair", exact=True)
    assert solved.get_by_role("img", name="passed").count() == 7
    assert solved.get_by_role("img", name="wrong").count() == 0
    closed = notebook.page.get_by_role("table", name="not_robust", exact=True)
    assert closed.get_by_role("img", name="wrong").count() == 1
    closed.get_by_text("You take the closed ball. The slide's has <").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 6

    assert notebook.picture("slope at x")[1].startswith("FGSM fails: it walks the wrong way")
    notebook.set("slope at x", 0.3)
    assert notebook.picture_changed()
    assert notebook.picture()[1].startswith("FGSM fails: it steps too far")
    notebook.set("height", 0)
    assert notebook.picture_changed()
    assert notebook.picture()[1].startswith("Nothing to find")

    assert notebook.picture("halvings")[1].startswith("After 3 halvings: still too far apart")
    notebook.set("halvings", 6)
    assert notebook.picture_changed()
    assert notebook.picture()[1].startswith("Found: neither of the two points is robust")
    notebook.set("classifier", "checkerboard")
    assert notebook.picture_changed()
    assert "checkerboard" in notebook.picture()[1]
