"""Assignment 01 as a student meets it in JupyterLab: the release with one exercise half solved, and an own photo."""

from pathlib import Path

import skimage

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "notebooks" / "adversarial_examples" / "adversarial_examples.ipynb"
PHOTO = Path(skimage.__file__).parent / "data" / "astronaut.png"

ADD = """def add_perturbation(x, delta, size):
    return x + size * delta"""


def choose(notebook, file) -> None:
    """Picks a file as a person would: presses the button, and the file chooser opens."""
    with notebook.page.expect_file_chooser() as chooser:
        notebook.explorer("size").get_by_role("button", name="Your own photo").click()
    chooser.value.set_files(file)


def test_release_runs_its_explorer_moves_and_a_check_says_what_is_wrong(open_notebook):
    notebook = open_notebook(RELEASE)
    notebook.write("add_perturbation", ADD)
    assert notebook.run_all() == []

    # The check of the one exercise that was tried: two of three situations, and why not the third.
    table = notebook.page.get_by_role("table", name="add_perturbation")
    assert table.get_by_role("img", name="passed").count() == 2
    assert table.get_by_role("img", name="wrong").count() == 1
    table.get_by_text("Pixels leave [0, 1]: clip as the very last thing, after adding.").wait_for()
    notebook.page.get_by_text("1.33 of 2 points").wait_for()
    assert notebook.page.get_by_text("not attempted yet").count() == 8

    for label, value, words in [
        ("photo", "camera", "camera, and 0.0050 times delta added: the model says “airliner”"),
        ("photo", "coffee", "coffee, and 0.0050 times delta added: the model says “airliner”"),
        ("size", 0.0015, "0.0015 times delta added: the model says “espresso”"),
        ("size", 0.007, "0.0070 times delta added: the model says “airliner”"),
        ("add", "random noise", "random noise of the same norm added: the model says “espresso”"),
        ("photo", "your own", "No photo of your own yet"),
    ]:
        notebook.set(label, value)
        assert notebook.picture_changed(), (label, value)
        assert words in notebook.picture()[1]

    explorer = notebook.explorer("size")
    choose(notebook, {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": PHOTO.read_bytes()[:5000]})
    explorer.get_by_role("alert").filter(has_text="broken.jpg: it is damaged").wait_for()
    choose(notebook, PHOTO)
    explorer.get_by_alt_text("your own photo, and 0.0070 times random noise of the same norm added").wait_for()
    assert explorer.get_by_role("alert").count() == 0
    notebook.set("add", "δ")
    assert notebook.picture_changed()
    assert "the model says “airliner”" in notebook.picture()[1]
