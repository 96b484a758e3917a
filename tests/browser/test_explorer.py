"""The explorer as a reader meets it: live, by keyboard, by screen reader, and in a notebook without a kernel."""

import nbformat
import nbformat.v4

EXPLORER = "import torch\ntorch.set_num_threads(1)\nfrom coursekit import widgets\nwidgets.ball_explorer()"
FIGURE = "import torch\nfrom coursekit import plots\nplots.images(torch.rand(3, 1, 8, 8), ['a', 'b', 'c'])"


def notebook_of(*sources: str) -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


def test_a_changed_control_changes_picture_and_alt_text_and_nothing_collapses(open_notebook):
    notebook = open_notebook(notebook_of(EXPLORER))
    assert notebook.run_all() == []
    assert "eps = 0.15" in notebook.picture("eps")[1]
    for label, value, said in [
        ("eps", 0.2, "eps = 0.2"),
        ("steps", 3, "3 steps"),
        ("step size", 0.05, "size 0.05"),
        ("norm p", "2", "L-2 norm"),
        ("point", 7, "Point 7"),
    ]:
        notebook.set(label, value)
        assert notebook.picture_changed(), label
        assert said in notebook.picture()[1]


def test_a_slider_has_a_name_moves_by_keyboard_and_takes_its_box_along(open_notebook):
    notebook = open_notebook(notebook_of(EXPLORER))
    assert notebook.run_all() == []
    slider = notebook.explorer("steps").get_by_role("slider", name="steps slider", exact=True)
    slider.press("ArrowRight")
    notebook.page.wait_for_function("input => input.value === '11'", arg=notebook.control("steps").element_handle())
    notebook.explorer("steps").get_by_alt_text("11 steps").wait_for()


def test_a_picture_that_does_not_change_is_noticed(open_notebook):
    notebook = open_notebook(notebook_of(EXPLORER))
    assert notebook.run_all() == []
    notebook.set("eps", 0.15)  # as it was
    assert not notebook.picture_changed(seconds=1)


def test_a_saved_notebook_shows_the_picture_without_a_kernel(open_notebook):
    notebook = open_notebook(notebook_of(EXPLORER, FIGURE))
    assert notebook.run_all() == []
    pictures = notebook.page.locator(".jp-OutputArea img:visible")
    assert pictures.count() == 2  # the still picture is not shown beside the live one
    alt = notebook.picture("eps")[1]
    notebook.save()
    notebook.shut_down()
    notebook.reload()
    pictures.first.wait_for()
    assert [picture.get_attribute("alt") for picture in pictures.all()] == [alt, "3 images: a, b, c"]
    notebook.page.get_by_text("Run this cell for live controls: eps, norm p").wait_for()
    assert not notebook.page.get_by_text("Error displaying widget").is_visible()


def test_run_all_returns_the_errors(run_all):
    (error,) = run_all(notebook_of("1 + 1", "1 / 0"))
    assert error == "ZeroDivisionError: division by zero"
