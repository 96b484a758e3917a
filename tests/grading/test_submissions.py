"""Which file of what was handed in is which notebook."""

import pytest

from coursekit.grading.submissions import read


@pytest.fixture
def two_assignments(course):
    other = course.sources / "lipschitz"
    other.mkdir()
    (other / "lipschitz.py").write_text("# %% [markdown]\n# # Another\n")
    return course


@pytest.mark.parametrize("name", ["lipschitz.ipynb", "ada_4713_998879_lipschitz-1.ipynb"])
def test_the_notebook_of_another_assignment_is_not_taken_for_this_one(two_assignments, hand_in, name):
    hand_in(two_assignments, "ada", b"{}", name)
    found = read(two_assignments, "tiny", "ada", ["tiny"])
    assert found.notebooks == {}
    assert found.problems == {"tiny": f"'{name}' is called after lipschitz.ipynb, of another assignment"}
    assert found.remarks == []


def test_one_that_was_renamed_is_taken_with_a_remark(two_assignments, hand_in):
    hand_in(two_assignments, "ada", b"{}", "solution.ipynb")
    found = read(two_assignments, "tiny", "ada", ["tiny"])
    assert found.notebooks == {"tiny": b"{}"}
    assert found.remarks == ["The notebook is called 'solution.ipynb'; taken for tiny.ipynb."]


def test_beside_the_right_one_it_is_ignored(two_assignments, hand_in):
    hand_in(two_assignments, "ada", b"{}")
    hand_in(two_assignments, "ada", b"[]", "lipschitz.ipynb")
    found = read(two_assignments, "tiny", "ada", ["tiny"])
    assert found.notebooks == {"tiny": b"{}"}
    assert found.remarks == ["Ignored: lipschitz.ipynb."]
