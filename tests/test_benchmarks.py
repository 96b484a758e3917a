"""Each benchmark runs, on a handful of digits, and prints a table; what its figures rest on is right."""

import importlib.util
import itertools
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the package

from benchmarks import allocator, attacks, certified, grading, robust_models, timing, training  # noqa: E402
from coursekit import data, models  # noqa: E402
from coursekit.perturbations import LpBall  # noqa: E402

LIBRARY_TASKS = {
    "coursekit": 6, "coursekit, early stopping": 2, "coursekit, same budget": 1, "torchattacks": 4, "Foolbox": 6,
    "ART": 4, "adv-lib": 5,
}  # fmt: skip


def tables(text):
    """The tables of a markdown text as {first cell: other cells}, title row included."""
    found = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().splitlines()]
        assert all(re.fullmatch(r":-+|-+:", cell) for cell in lines[1])
        assert len({len(line) for line in lines}) == 1
        found.append({line[0]: line[1:] for line in lines[:1] + lines[2:]})
    return found


def numbers(cells):
    return [float(number) for cell in cells for number in re.findall(r"\d+\.?\d*", cell)]


@pytest.fixture(autouse=True)
def threads():
    """A benchmark sets their number."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# -- each benchmark runs


def run_attacks(capsys, names, *more):
    attacks.main(["--quick", "--digits", "6", "--threads", "1", "--libraries", *names, *more])
    return tables(capsys.readouterr().out)


def assert_well_formed(table, task, names):
    assert table[""][:2] == ["x bare gradients", "success"]
    assert ("median L2" in table[""]) == (task.threat is None)
    assert set(table) <= {"", *names}
    for cells in list(table.values())[1:]:
        assert all(number >= 0 for number in numbers(cells))
        assert "%" in cells[1]


@pytest.mark.slow
def test_attacks(capsys):
    names = ["coursekit", "coursekit, early stopping", "coursekit, same budget", "Foolbox"]
    tasks = attacks.all_tasks(quick=True)
    found = run_attacks(capsys, names, "--batch-sizes")
    assert len(found) == len(tasks)
    for task, table in zip(tasks.values(), found, strict=True):
        assert_well_formed(table, task, names)
        assert {"coursekit", "Foolbox"} <= set(table)
        assert float(table["Foolbox"][-2]) == task.gradients


@pytest.mark.slow
def test_attacks_by_batch_size(capsys):
    table, by_size = run_attacks(capsys, ["coursekit"], "--tasks", "fgsm", "--batch-sizes", "1", "4")
    assert by_size[""] == ["1", "4", "6"]
    success = [cell.split()[0] for cell in by_size["coursekit"]]
    assert success == [table["coursekit"][1]] * 3


@pytest.mark.slow
@pytest.mark.parametrize("name", attacks.LIBRARIES)
def test_every_library(capsys, name):
    """Those that `make bench-attacks` adds may be missing here."""
    needs = {"torchattacks": "torchattacks", "adv-lib": "adv_lib"}.get(name, "coursekit")
    if not importlib.util.find_spec(needs):
        assert run_attacks(capsys, [name], "--batch-sizes") == []
        return
    expected = LIBRARY_TASKS[name]
    found = run_attacks(capsys, [name], "--batch-sizes")
    assert len(found) == expected
    for table in found:
        assert set(table) == {"", name}
        assert 0 <= numbers(table[name][1:2])[0] <= 100


def test_a_library_that_is_not_installed_is_named_and_left_out(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    attacks.main(["--quick", "--digits", "4", "--threads", "1", "--batch-sizes", "--tasks", "fgsm", "--libraries",
                  "coursekit", "Foolbox"])  # fmt: skip
    out = capsys.readouterr().out
    assert "Foolbox is left out: " in out
    assert set(tables(out)[0]) == {"", "coursekit"}


@pytest.mark.slow
def test_training(capsys):
    training.main(["--quick", "--digits", "10", "--threads", "1"])
    (table,) = tables(capsys.readouterr().out)
    assert set(table) == {"trained with", "standard", *training.METHODS}
    assert table["standard"][0] == "1.00"
    assert all(number >= 0 for cells in list(table.values())[1:] for number in numbers(cells))


@pytest.mark.slow
def test_robust_models(capsys):
    robust_models.main(["--quick", "--digits", "8", "--threads", "1", "--models", "standard", "pgd-0.1"])
    table, *_ = tables(capsys.readouterr().out)
    assert set(table) == {"trained with", "standard, eps 0.1", "pgd, eps 0.1"}
    columns = table["trained with"]
    for row in list(table.values())[1:]:
        clean, fgsm, *_, strongest = numbers(row[: columns.index("strongest") + 1])
        assert 100 >= clean >= fgsm >= 0
        assert clean >= strongest


@pytest.mark.slow
def test_certified(capsys):
    certified.main(["--quick"])
    bounds, euclidean, table = tables(capsys.readouterr().out)
    for row in list(bounds.values())[1:]:
        clean, attacked, intervals, crown = numbers(row)
        assert clean >= attacked >= crown >= intervals
    for row in list(euclidean.values())[1:]:
        assert numbers(row) == sorted(numbers(row), reverse=True)
    assert list(table) == ["mnist_mlp, L-inf", "standard, eps 0.02", "standard, eps 0.05"]
    for row in list(table.values())[1:]:
        robust, counterexample, undecided, decided, middle, late, longest = numbers(row)
        assert robust + counterexample == pytest.approx(decided, abs=0.2)
        assert decided + undecided == pytest.approx(100, abs=0.2)
        assert 0 <= middle <= late <= longest


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_grading(capsys, monkeypatch):
    monkeypatch.setattr(grading, "GRADERS", grading.GRADERS[:2])  # that with two jobs takes as long again
    grading.main(["--quick", "--tasks", "throughput", "--students", "2"])
    (table,) = tables(capsys.readouterr().out)
    assert list(table) == ["", *(grader.name for grader in grading.GRADERS)]
    assert table[grading.STOCK][1] == "1.0"
    assert all(number > 0 for name in list(table)[1:] for number in numbers(table[name][:3]))


@pytest.mark.slow
def test_a_notebook_that_does_not_run_is_no_yardstick(tmp_path):
    path = tmp_path / "broken.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), path)
    with pytest.raises(grading.Impossible, match="does not run"):
        grading.Yardstick(path)


def test_every_shipped_model_is_measured_at_its_radius():
    for training_name, eps in robust_models.shipped().values():
        models.load("mnist_cnn", training_name, None if training_name == "standard" else eps)
        assert 0 < eps < 1


def test_within_the_time_as_many_images_as_possible(monkeypatch):
    monkeypatch.setattr(robust_models, "CHUNK", 3)
    x, y, _ = data.load("mnist", "test")
    model = robust_models.counting(models.load("mnist_cnn")).eval()
    outcome = robust_models.attacked(lambda model, x, y, threat: x, model, x[:8], y[:8], LpBall(0.1, math.inf), 0.0)
    assert len(outcome.survived) == 3
    assert str(outcome).endswith(" of 3")
    whole = robust_models.attacked(lambda model, x, y, threat: x, model, x[:8], y[:8], LpBall(0.1, math.inf), 1.0)
    assert len(whole.survived) == 8


def test_a_point_outside_of_the_ball_is_no_success():
    x, y, _ = data.load("mnist", "test")
    x, y = x[:20], y[:20]
    model, task = models.load("mnist_cnn"), attacks.all_tasks(quick=True)["pgd-linf"]
    clean = (model(x).argmax(1) != y).double().mean().item()
    assert attacks.judge(task, model, x, y, 1 - x)[0] == pytest.approx(clean)
    assert attacks.judge(attacks.all_tasks(quick=True)["ddn"], model, x, y, 1 - x)[0] > clean
    assert attacks.judge(task, model, x, y, x)[1] == math.inf


# -- what the figures rest on


@pytest.fixture
def clock(monkeypatch):
    """Runs that say themselves how long they took, and a list of them."""
    calls = []

    def taking(name, *seconds):
        times = itertools.cycle(seconds)

        def run():
            calls.append(name)
            return next(times)

        return run

    monkeypatch.setattr(timing, "seconds", lambda run: run())
    return taking, calls


def test_a_run_is_paired_with_the_yardstick_around_it(clock):
    taking, calls = clock
    yardstick = taking("|", 0.0, 1.0, 3.0, 5.0, 7.0, 9.0)  # the first one only warms up
    ratios = timing.paired_ratios({"a": taking("a", 4.0), "b": taking("b", 16.0)}, yardstick, 2)
    assert "".join(calls) == "||a|b|b|a|", "each repeat starts with another one"
    assert ratios == {"a": [4 / 2, 4 / 8], "b": [16 / 4, 16 / 6]}


def test_who_is_far_too_slow_is_timed_once(clock):
    taking, _ = clock
    ratios = timing.paired_ratios({"a": taking("a", 11.0), "b": taking("b", 9.0)}, taking("|", 1.0), 3)
    assert ratios == {"a": [11.0], "b": [9.0] * 3}


def test_what_a_class_takes_once_is_told_from_what_each_submission_takes():
    ours, stock = grading.Timed(students=40, total=30.0, each=0.5), grading.Timed(students=4, total=22.0, each=5.0)
    assert (ours.once, stock.once) == (10.0, 2.0)
    assert ours.a_minute(40) == pytest.approx(60 * 40 / 30)
    assert stock.a_minute(40) == pytest.approx(60 * 40 / 202), "what it takes once, spread over a class as large"


def test_bare_gradients_are_counted_and_leave_the_parameters_alone():
    x, y, _ = data.load("mnist", "test")
    model = attacks.counting(models.load("mnist_cnn")).eval()
    timing.in_batches(lambda x, y: timing.bare_gradients(model, x, y, 3) or y, x[:7], y[:7], 4)
    assert (model.gradients, model.forward_passes) == (21, 21)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_the_program_starts_anew_with_the_allocator_pinned():
    code = "import os; from benchmarks.allocator import pin_allocator; pin_allocator(); print(dict(os.environ))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f"'{name}': '{value}'" in done.stdout for name, value in allocator.ALLOCATOR.items())


def test_the_readme_has_a_place_for_every_table():
    page = timing.README.read_text()
    names = ["training", "robust models", "robust models: strength"]
    names += [f"grading: {task}" for task in grading.TASKS]
    for task in attacks.all_tasks(quick=False):
        names += [f"attacks: {task}"]
    for name in names:
        assert "| new |" in timing.between(page, name, "| new |")
    with pytest.raises(ValueError, match="no place called 'nothing'"):
        timing.between(page, "nothing", "")
