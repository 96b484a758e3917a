"""Assignment 12 as a student meets it in JupyterLab: the release, with one exercise solved and one half right."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "randomized_smoothing" / "randomized_smoothing.ipynb"

BOUND = """def lower_bound(k, n, alpha):
    return stats.beta.ppf(alpha, k, n - k + 1) if k else 0.0"""
ONE_SAMPLE = """def certify(counts0, counts, sigma, alpha):
    votes, label = counts.max(dim=1)
    p = smoothing.lower_bound(votes, int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5"""


def test_release_runs_its_explorer_moves_and_the_one_sample_is_explained(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("lower_bound", BOUND)
    notebook.write("certify", ONE_SAMPLE)
    assert notebook.run_all() == []

    solved = notebook.page.get_by_role("table", name="lower_bound", exact=True)
    assert solved.get_by_role("img", name="passed").count() == 5
    assert solved.get_by_role("img", name="wrong").count() == 0
    one_sample = notebook.page.get_by_role("table", name="certify", exact=True)
    one_sample.get_by_text("You choose the class in the sample that also bounds its probability").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 5

    assert notebook.picture("votes n")[1].startswith("Certified: upper moon within")
    notebook.set("base f", "with islands")
    assert notebook.picture_changed()
    assert "base f: with islands" in notebook.picture()[1]
    notebook.set("votes n", 10)
    assert notebook.picture_changed()
    assert notebook.picture()[1].startswith("g abstains: no majority is proven")
    notebook.set("votes n", 10000)
    assert notebook.picture_changed()
    assert "f itself says otherwise at points in it, g at none" in notebook.picture()[1]
