"""Several processes: here pretended one after the other, and once two real ones."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from coursekit.training import METHODS, accelerated, fit, training_step
from coursekit.training.processes import Processes
from coursekit.training.progress import Epoch


class OneOf(Processes):
    """Process `index` of `count`; `gathered` stands for what the others have sent."""

    def __init__(self, index, count, gathered=None):
        self.index, self.count, self.gathered = index, count, gathered

    def sum(self, value):
        return value if self.gathered is None else self.gathered


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_the_parts_of_the_processes_make_up_the_step(count, fresh, moons, weights):
    """Also of a batch that does not divide evenly, or is smaller than the number of processes."""
    x, y = moons[0][:10].double(), moons[1][:10]
    whole = fresh().double()
    loss = training_step(whole, torch.optim.SGD(whole.parameters(), lr=0.5), x, y)
    losses, moves = [], []
    for index in range(count):
        model = fresh().double()
        before = weights(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        losses.append(training_step(model, optimizer, x, y, processes=OneOf(index, count)))
        moves.append(weights(model) - before)
    torch.testing.assert_close(sum(losses), loss)
    torch.testing.assert_close(weights(fresh().double()) + sum(moves), weights(whole))


def test_every_process_gets_the_sum_and_starts_like_the_first(fresh, weights):
    model = fresh()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    total = torch.arange(float(weights(model).numel()))
    OneOf(1, 2, total).add_gradients(model)
    torch.testing.assert_close(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]), total)
    linear = nn.Linear(2, 2, bias=False)
    OneOf(1, 2, torch.tensor([[1.0, 2.0], [3.0, 4.0]])).agree(linear)
    assert linear.weight.tolist() == [[1.0, 2.0], [3.0, 4.0]]


class First(OneOf):
    """The first of two, that notes what it tells the other; what both compute is the same, so a sum is twice a part."""

    def __init__(self):
        super().__init__(0, 2)
        self.told = []

    def from_first(self, value):
        self.told.append(value)
        return value


class Second(OneOf):
    """The second of two, that hears what the first has told."""

    def __init__(self, told):
        super().__init__(1, 2)
        self.told = list(told)

    def agree(self, model):
        with torch.no_grad():
            for value in model.state_dict().values():
                value.zero_()

    def from_first(self, value):
        return self.told.pop(0)


def test_the_average_begins_from_the_weights_of_the_first(fresh, moons, seeded, weights):
    model = fit(
        fresh(), *moons, epochs=1, average=0.9, step=lambda model, optimizer, x, y, t: x.new_zeros(()),
        generator=seeded(), processes=Second([Epoch(1, 0.0, None, None, 0.0, None, 0.0)]), progress=False,
    )  # fmt: skip
    assert not weights(model).any()


def test_the_first_decides_when_to_end(fresh, moons, seeded):
    """Else one would go on and wait for gradients that nobody sends."""
    told = [Epoch(i + 1, 0.0, clean, None, 0.0, None, 0.0) for i, clean in enumerate([0.1, 0.2, 0.2, 0.1, 0.3])]
    history, second = [], Second(told)
    fit(
        fresh(), *moons, epochs=5, validation=moons, patience=2, history=history, generator=seeded(),
        processes=second, progress=False,
    )  # fmt: skip
    assert history == told[:4]


def test_the_first_reads_the_checkpoint_for_all(tmp_path, fresh, moons, seeded, weights):
    settings = {"epochs": 2, "average": 0.9, "validation": moons, "progress": False}
    done = fit(fresh(), *moons, **settings, checkpoint=tmp_path / "here", generator=seeded(), processes=First())
    first = First()
    fit(fresh(), *moons, **settings, checkpoint=tmp_path / "here", generator=seeded(), processes=first)
    assert len(first.told) == 1
    history = []
    again = fit(
        fresh(), *moons, **settings, checkpoint=tmp_path / "not here", generator=seeded(), history=history,
        processes=Second(first.told),
    )  # fmt: skip
    assert torch.equal(weights(again), weights(done))
    assert [row.epoch for row in history] == [1, 2]
    with pytest.raises(ValueError, match=r"checkpoint .*'lr': 0.002.* got .*'lr': 0.1"):
        fit(
            fresh(), *moons, **settings, lr=0.1, checkpoint=tmp_path / "not here", generator=seeded(),
            processes=Second(first.told),
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_without_accelerate_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"Hugging Face accelerate: pip install 'coursekit\[accelerate\]'"):
        accelerated()


TRAIN = """
import math, sys, torch
from safetensors.torch import save_file
from coursekit import data, models
from coursekit.perturbations import LpBall
from coursekit.training import METHODS, accelerated, adversarial_fit, ramp

torch.set_num_threads(1)
x, y, _ = data.load("moons")
x, y = x[:205], y[:205]  # batches of 50 and 5: neither divides evenly into what two processes take
processes = accelerated() if sys.argv[2] == "several" else None
index = processes.index if processes else 0


def train(method, left):
    # Breaks off after so many batches; only the first process finds a checkpoint under its name.
    def augment(x, generator):
        left.append(left.pop() - 1)
        if not left[-1]:
            raise InterruptedError
        return x

    torch.manual_seed(index)  # that they start alike is not left to the seed
    history = []
    model = adversarial_fit(
        models.build("moons_mlp"), x, y, LpBall(0.08, math.inf), method=method, steps=3, epochs=3, batch_size=50,
        eps_schedule=ramp(0.5), average=0.9, validation=(x[:50], y[:50]), history=history, progress=False,
        patience=3, augment=augment, checkpoint=f"{sys.argv[1]}/{method}-{index}",
        generator=torch.Generator().manual_seed(0), **({"processes": processes} if processes else {}),
    )
    return model.state_dict() | {"history": torch.tensor([row[1:-1] for row in history])}


for method in METHODS:
    if processes:
        try:
            train(method, [7])
        except InterruptedError:
            pass
    trained = train(method, [100])
    save_file(trained, f"{sys.argv[1]}/{method}-{index}.safetensors")
"""


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path):
    """For every method, random starts included; what differs is the order in which gradients are added.

    The two are interrupted in the second epoch, and go on from what the first of them has written.
    """
    pytest.importorskip("accelerate")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for folder in ("one", "several"):
        (tmp_path / folder).mkdir()
    common = os.environ | {"OMP_NUM_THREADS": "1"}
    several = common | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "1"}
    starts = [("one", common)] + [("several", several | {"RANK": r, "LOCAL_RANK": r}) for r in "01"]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(tmp_path / folder), folder], env=environment, stderr=subprocess.PIPE
        )
        for folder, environment in starts
    ]
    for process in running:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors.decode()
    for method in METHODS:
        one = load_file(tmp_path / "one" / f"{method}-0.safetensors")
        first, second = (load_file(tmp_path / "several" / f"{method}-{index}.safetensors") for index in (0, 1))
        for name, value in one.items():
            torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-4, msg=f"{method}: {name}")
            assert torch.equal(first[name], second[name]), f"{method}: {name}"
        assert not (tmp_path / "several" / f"{method}-1").exists()
