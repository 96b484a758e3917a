"""Assignment 05 as a student meets it in JupyterLab: the release as it is, then with one exercise half solved."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "physical_attacks" / "physical_attacks.ipynb"

PUT_ON = """def put_on(x, delta, mask):
    return x + mask * delta"""


def test_release_runs_the_camera_moves_and_a_check_says_what_is_wrong(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("put_on", PUT_ON)
    assert notebook.run_all() == []

    # The check of the one exercise that was tried: two of three situations, and why not the third.
    table = notebook.page.get_by_role("table", name="put_on")
    assert table.get_by_role("img", name="passed").count() == 2
    assert table.get_by_role("img", name="wrong").count() == 1
    table.get_by_text("Pixels leave [0, 1]: such a thing is no image. Clamp at the end.").wait_for()
    notebook.page.get_by_text("1.33 of 2 points").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 8

    # Head-on both stickers work; from a little further away only the one that was made for all views.
    alone, everywhere = "made for one photograph: taken for “{}”", "made for all views (EOT): taken for “{}”"
    said = notebook.picture("turned")[1]
    assert alone.format("speed limit 100") in said
    assert everywhere.format("speed limit 100") in said
    for label, value, words in [
        ("size", 0.7, "of size 0.7"),
        ("turned", -20, "turned by -20"),
        ("tilted", 10, "tilted by 10"),
        ("light", 0.8, "in light 0.8"),
        ("air", "hazy", "haze 0.2"),
        ("scene", 3, "scene 3"),
    ]:
        notebook.set(label, value)
        assert notebook.picture_changed(), label
        said = notebook.picture()[1]
        assert words in said
        if label == "size":
            assert alone.format("stop") in said
            assert everywhere.format("speed limit 100") in said
