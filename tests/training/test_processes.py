"""Several processes: here pretended one after the other, and once two real ones."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from coursekit.training import METHODS, accelerated, training_step
from coursekit.training.processes import Processes


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
for method in METHODS:
    torch.manual_seed(processes.index if processes else 0)  # that they start alike is not left to the seed
    history = []
    model = adversarial_fit(
        models.build("moons_mlp"), x, y, LpBall(0.08, math.inf), method=method, steps=3, epochs=3, batch_size=50,
        eps_schedule=ramp(0.5), average=0.9, validation=(x[:50], y[:50]), history=history, progress=False,
        generator=torch.Generator().manual_seed(0), **({"processes": processes} if processes else {}),
    )
    if processes is None or processes.first:
        save_file(model.state_dict() | {"history": torch.tensor([row[1:-1] for row in history])},
                  f"{sys.argv[1]}/{method}.safetensors")
"""


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path):
    """For every method, random starts included; what differs is the order in which gradients are added."""
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
        one, several = (load_file(tmp_path / folder / f"{method}.safetensors") for folder in ("one", "several"))
        for name, value in one.items():
            torch.testing.assert_close(several[name], value, rtol=1e-3, atol=1e-4, msg=f"{method}: {name}")
