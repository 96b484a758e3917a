"""Finished results on the disk: complete or not there, found again only for what they were made of."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import nbformat
import pytest
from grading_samples import RIGHT

from coursekit.grading import submissions
from coursekit.grading.assignment import load
from coursekit.grading.build import load_config
from coursekit.grading.results import Conditions, Graded, Results, key
from coursekit.grading.score import Grade

CONDITIONS = Conditions(time_limit=300, cell_limit=30, isolation="bubblewrap")


@pytest.fixture
def result(release):
    grades = {"tiny": [Grade("test-add", 1.5, 2.0, "partial", "why", [{"title": "a", "hidden": True}])]}
    return Graded("ada", grades, {"tiny": release}, ["A remark."], {"data.csv": "ab"}, key="k" * 64)


@pytest.fixture
def store(tmp_path):
    return Results(tmp_path / "results")


def test_what_is_kept_is_found_again(store, result):
    store.save(result)
    found = store.load("ada", result.key)
    assert found == result
    assert nbformat.writes(found.notebooks["tiny"]) == nbformat.writes(result.notebooks["tiny"])


def test_only_under_its_own_key_and_name(store, result):
    store.save(result)
    assert store.load("ada", "l" + result.key[1:]) is None
    assert store.load("bob", result.key) is None
    assert store.load("ada", result.key[:32] + "x" * 32) is None


def test_the_first_one_stays(store, result):
    store.save(result)
    store.save(replace(result, remarks=["Another."]))
    assert store.load("ada", result.key).remarks == ["A remark."]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"key": "k"}', b"\xff\xfe", b"null"])
def test_a_damaged_file_is_none_and_is_made_again(store, result, damage):
    store.save(result)
    [file] = store.folder.iterdir()
    file.write_bytes(damage)
    assert store.load("ada", result.key) is None
    store.save(result)
    assert store.load("ada", result.key) == result


def test_many_save_the_same_at_once_over_a_damaged_file(store, result):
    store.save(result)
    [file] = store.folder.iterdir()
    file.write_bytes(b"{")

    def save(number):
        store.save(replace(result, remarks=[str(number)]))
        return store.load("ada", result.key)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(save, range(32)))
    assert all(found), "what is saved is there from then on"
    assert [path.name for path in store.folder.iterdir()] == [file.name]


def test_a_file_system_without_hard_links(store, result, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store.save(result)
    assert store.load("ada", result.key) == result
    assert len(list(store.folder.iterdir())) == 1


def test_a_failure_of_ours_is_not_kept(store, result):
    with pytest.raises(ValueError, match="not finished"):
        store.save(replace(result, error="no space"))
    assert not store.folder.exists()


def test_cleaning_leaves_what_holds_and_other_students(store, result):
    other = replace(result, student="bob")
    old = replace(result, key="o" * 64)
    for one in (result, other, old):
        store.save(one)
    left, young = store.folder / ".new-left", store.folder / ".new-young"
    left.write_text("half")
    os.utime(left, (1, 1))
    young.write_text("half")  # somebody may still be writing it
    store.clean([("ada", result.key)])
    assert store.load("ada", result.key) == result
    assert store.load("bob", result.key) == other
    assert store.load("ada", old.key) is None
    assert len(list(store.folder.iterdir())) == 3
    assert young.exists()


def test_a_key_changes_with_everything_that_decides_the_result(course, filled, hand_in):
    def now(conditions=CONDITIONS, student="ada"):
        assignment = load(course, "tiny", load_config(course))
        submission = submissions.read(course, "tiny", student, assignment.templates)
        return key(submission, assignment, conditions)

    path = hand_in(course, "ada", filled())
    hand_in(course, "bob", filled())
    keys = [now()]
    assert now() == keys[0]
    os.utime(path, (1, 1))
    assert now() == keys[0], "only contents count"
    keys.append(now(student="bob"))
    keys.append(now(replace(CONDITIONS, cell_limit=29)))
    keys.append(now(replace(CONDITIONS, isolation="none")))
    hand_in(course, "ada", filled(add=RIGHT["add"] + " "))
    keys.append(now())
    (path.parent / "data.csv").write_text("1")
    keys.append(now())
    source = course.sources / "tiny" / "tiny.py"
    source.write_text(source.read_text().replace("return add(-1, -2), -3", "return add(-1, -3), -4"))
    keys.append(now())
    (source.parent / "given.csv").write_text("1")
    keys.append(now())
    assert len(set(keys)) == len(keys)


SAVE = """
import sys
from pathlib import Path
from nbformat.v4 import new_code_cell, new_notebook
from coursekit.grading.results import Graded, Results
notebook = new_notebook(cells=[new_code_cell("x" * 3_000_000)])
for number in range(10_000):
    Results(Path(sys.argv[1])).save(Graded("ada", notebooks={"tiny": notebook}, key=f"{number:032}" + "0" * 32))
    print("first" if number == 0 else "", flush=True)
"""


@pytest.mark.slow
def test_killed_while_saving(tmp_path):
    for number in range(3):
        folder = tmp_path / str(number)
        with subprocess.Popen([sys.executable, "-c", SAVE, folder], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "first\n"
            time.sleep(0.037 * number)
            process.send_signal(signal.SIGKILL)
        store = Results(folder)
        files = [file for file in folder.iterdir() if not file.name.startswith(".new-")]
        whole = [store.load("ada", f"{number:032}" + "0" * 32) is not None for number in range(len(files))]
        assert files
        assert all(whole)
