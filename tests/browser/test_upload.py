"""A file of one's own, from the browser's file chooser into an explorer."""

import io

import nbformat
import nbformat.v4
from PIL import Image

EXPLORER = """import torch
torch.set_num_threads(1)
from torch import nn
from coursekit import widgets
torch.manual_seed(0)
model = nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(147, 3)).eval()
x = torch.full((1, 3, 224, 224), 0.5)
widgets.photo_explorer(model, x, torch.ones_like(x), names=["grey"], classes=["a", "b", "c"], craft=torch.ones_like)"""


def choose(notebook, name: str, content: bytes) -> None:
    """Picks a file as a person would: presses the button, and the file chooser opens."""
    with notebook.page.expect_file_chooser() as chooser:
        notebook.explorer("size").get_by_role("button", name="Your own photo").click()
    chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})


def test_a_photo_is_taken_and_a_broken_file_is_told_in_words(open_notebook):
    cell = nbformat.v4.new_code_cell(EXPLORER, id="explorer")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = open_notebook(nbformat.v4.new_notebook(cells=[cell], metadata=kernel))
    assert notebook.run_all() == []
    explorer = notebook.explorer("size")
    before = notebook.picture("size")

    choose(notebook, "holiday.jpg", b"this is no photo")
    explorer.get_by_role("alert").filter(has_text="holiday.jpg: it must be an image that Pillow reads").wait_for()
    assert notebook.picture("size") == before

    file = io.BytesIO()
    Image.new("RGB", (400, 300), (200, 40, 40)).save(file, "png")
    for _ in range(2):  # the same file a second time, too
        choose(notebook, "red.png", file.getvalue())
        explorer.get_by_alt_text("your own photo, and 0.0050 times delta added").wait_for()
        assert explorer.get_by_role("alert").count() == 0
        notebook.set("photo", "grey")
        assert notebook.picture_changed()
