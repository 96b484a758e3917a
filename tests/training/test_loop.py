import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from coursekit import data, models
from coursekit.attacks import fgsm, pgd
from coursekit.perturbations import LpBall, Masked
from coursekit.training import adversarial_fit, certified_fit, fit, one_cycle, plateau, ramp, training_step
from coursekit.training.processes import Processes
from coursekit.training.schedules import constant, falling

THREAT = LpBall(0.05, math.inf)


def test_fitting_learns_and_says_nothing(fresh, seeded, capfd):
    x, y, _ = data.load("moons")
    model = fresh()
    assert fit(model, x, y, epochs=30, generator=seeded(), progress=False) is model
    assert not model.training
    test = data.load("moons", "test")
    assert (model(test.x).argmax(1) == test.y).float().mean() > 0.95
    assert capfd.readouterr() == ("", "")


def test_the_generator_decides_the_result_and_the_global_random_state_stays(with_dropout, moons, seeded, weights):
    """Also what the model itself draws."""
    state = torch.random.get_rng_state()
    first, second, other = (
        weights(adversarial_fit(
            with_dropout(), *moons, THREAT, steps=2, epochs=1, generator=seeded(seed), progress=False,
        )) for seed in (0, 0, 1)
    )  # fmt: skip
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_step_descends_on_the_attacked_images_in_train_mode_and_treats_them_as_fixed(fresh, moons, weights):
    """Danskin: the gradient at the worst point, without one through the attack that found it."""
    x, y = moons
    threat = LpBall(0.1, math.inf)
    model, twin = fresh().double().eval(), fresh().double()
    x = x.double()

    def attack(model, x, y):
        return fgsm(model, x, y, threat)

    loss = training_step(model, torch.optim.SGD(model.parameters(), lr=0.1), x, y, attack)
    assert model.training
    assert not loss.requires_grad
    by_hand = nn.functional.cross_entropy(twin(fgsm(twin, x, y, threat)), y)
    by_hand.backward()
    torch.testing.assert_close(loss, by_hand.detach())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter -= 0.1 * parameter.grad
    torch.testing.assert_close(weights(model), weights(twin))


@pytest.mark.parametrize("attack", [None, lambda *batch: pgd(*batch, LpBall(0.1, 2), steps=3, early_stop=False)])
def test_nothing_of_a_step_leaves_the_device(attack):
    with torch.device("meta"):
        model = models.build("mnist_cnn")
        x, y = torch.empty(4, 1, 28, 28), torch.empty(4, dtype=torch.int64)
    loss = training_step(model, torch.optim.SGD(model.parameters(), lr=0.1), x, y, attack)
    assert loss.device == x.device


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("steps", [[1], [25], [11, 12, 7]])
@pytest.mark.parametrize("seed", [0, None])
def test_an_interrupted_training_ends_as_if_it_had_not_been(
    steps, seed, tmp_path, with_dropout, moons, seeded, weights
):
    """Bit for bit: weights, running statistics, history; the interruptions come at any step of any epoch."""
    left = []

    def augment(x, generator):
        if left and not (left.append(left.pop() - 1) or left[-1]):
            raise Interrupted
        return x + 0.01 * torch.randn(x.shape, generator=generator)

    def train(checkpoint, history):
        if seed is None:
            torch.manual_seed(1)
        return adversarial_fit(
            with_dropout(), x, y, THREAT, method="fast", eps_schedule=ramp(0.5), epochs=4, augment=augment,
            generator=None if seed is None else seeded(seed), average=0.9, weight_decay=0.01, patience=3,
            validation=(x[:50], y[:50]), checkpoint=checkpoint, history=history, progress=False,
        )  # fmt: skip

    x, y = moons[0][:770], moons[1][:770]
    with torch.random.fork_rng():
        histories = [], []
        whole = train(None, histories[0])
        for step in steps:
            left[:] = [step]
            with pytest.raises(Interrupted):
                train(tmp_path / "half", [])
        left.clear()
        resumed = train(tmp_path / "half", histories[1])
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert [row[:-1] for row in histories[0]] == [row[:-1] for row in histories[1]]
    assert [row.epoch for row in histories[1]] == [1, 2, 3, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["half"]


def test_a_finished_training_is_not_done_again(tmp_path, fresh, moons, seeded, weights):
    settings = {"epochs": 2, "checkpoint": tmp_path / "done", "progress": False}
    first = fit(fresh(), *moons, generator=seeded(), **settings)

    def never(x, generator):
        raise AssertionError

    again = fit(fresh(), *moons, generator=seeded(), augment=never, **settings)
    assert torch.equal(weights(first), weights(again))


def test_a_crash_while_writing_leaves_the_checkpoint_before(tmp_path, fresh, moons, seeded, weights, monkeypatch):
    path, save, written = tmp_path / "half", torch.save, []

    def crash_the_second_time(state, where):
        written.append(where)
        if len(written) == 2:
            where.write_bytes(b"half of a fi")
            raise Interrupted
        save(state, where)

    monkeypatch.setattr(torch, "save", crash_the_second_time)
    settings = {"epochs": 3, "checkpoint": path, "progress": False}
    with pytest.raises(Interrupted):
        fit(fresh(), *moons, generator=seeded(), **settings)
    assert torch.load(path, weights_only=True)["epoch"] == 1
    resumed = fit(fresh(), *moons, generator=seeded(), **settings)
    assert torch.equal(weights(resumed), weights(fit(fresh(), *moons, generator=seeded(), epochs=3, progress=False)))


OTHERS = {
    "epochs": {"epochs": 2}, "batch_size": {"batch_size": 40}, "lr": {"lr": 0.1}, "average": {"average": 0.5},
    "weight_decay": {"weight_decay": 0.1}, "lr_schedule": {"lr_schedule": constant}, "method": {"method": "trades"},
    "steps": {"steps": 3}, "beta": {"beta": 1.0}, "eps": {"eps_schedule": ramp(0.5)}, "seed": {"generator": 1},
    "x": {"x": 1.0}, "y": {"y": 0},
}  # fmt: skip
OTHER_THREATS = {
    "radius": LpBall(0.04, math.inf), "norm": LpBall(0.05, 2), "bounds": LpBall(0.05, math.inf, (0.0, 2.0)),
    "pixels": Masked(THREAT, torch.tensor([True, False])),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "other"), [*OTHERS.items(), *(("threat", {"threat": threat}) for threat in OTHER_THREATS.values())]
)
def test_a_checkpoint_of_another_training_is_refused(name, other, tmp_path, fresh, moons, seeded):
    def train(generator=0, x=0.5, y=1, **settings):
        points, labels = moons[0][:60].clone(), moons[1][:60].clone()
        points[7, 0], labels[7] = x, y
        settings = {"threat": THREAT, "steps": 2, "epochs": 1, "batch_size": 30} | settings
        adversarial_fit(
            fresh(), points, labels, checkpoint=tmp_path / "one", generator=seeded(generator), progress=False,
            **settings,
        )  # fmt: skip

    train()
    train()
    with pytest.raises(ValueError, match=f"checkpoint .*one is of a training with .*'{name}': .*; got .*'{name}': "):
        train(**other)


def test_a_checkpoint_knows_the_pixels_of_a_mask_and_only_names_what_differs(tmp_path, fresh, moons, seeded):
    def train(*mask):
        adversarial_fit(
            fresh(), *moons, Masked(THREAT, torch.tensor(mask)), steps=1, epochs=1, checkpoint=tmp_path / "one",
            generator=seeded(), progress=False,
        )  # fmt: skip

    train(True, False)
    train(True, False)
    with pytest.raises(ValueError, match=r"with {'threat': [^:]*}; got {'threat': [^:]*}: delete it"):
        train(False, True)


def test_a_checkpoint_of_another_kind_of_training_is_refused(tmp_path, fresh, moons, seeded):
    settings = {"epochs": 1, "checkpoint": tmp_path / "one", "progress": False}
    certified_fit(fresh(), *moons, THREAT, generator=seeded(), **settings)
    with pytest.raises(ValueError, match=r"'method': 'ibp'.* got .*'method': 'pgd'"):
        adversarial_fit(fresh(), *moons, THREAT, steps=1, generator=seeded(), **settings)
    with pytest.raises(ValueError, match=r"'method': 'ibp'.* got .*'method': None"):
        fit(fresh(), *moons, generator=seeded(), **settings)


def breaks_after(epochs, batches):
    """A step that trains, and from some epoch on ruins the model: catastrophic overfitting in small."""
    count = []

    def step(model, optimizer, x, y, t):
        count.append(t)
        if len(count) <= epochs * batches:
            return training_step(model, optimizer, x, y)
        with torch.no_grad():
            model[-1].weight.zero_()
            model[-1].bias.copy_(torch.tensor([1.0, 0.0]))
        return x.new_zeros(())

    return step


def test_a_breakdown_is_seen_in_the_history_and_survived(fresh, moons, seeded):
    x, y = moons
    history = []
    model = fit(
        fresh(), x[200:], y[200:], epochs=20, patience=4, validation=(x[:200], y[:200]),
        validation_attack=partial(fgsm, threat=THREAT), step=breaks_after(6, -(-(len(x) - 200) // 100)),
        history=history, generator=seeded(), progress=False,
    )  # fmt: skip
    robust = [row.robust for row in history]
    best = max(robust)
    first_best = robust.index(best)
    assert first_best < 6
    assert robust[-1] < 0.6 < 0.8 < best
    assert len(history) == first_best + 1 + 4
    kept = (model(fgsm(model, x[:200], y[:200], THREAT)).argmax(1) == y[:200]).float().mean()
    assert kept == pytest.approx(best)


def test_patience_ends_a_training_that_stands_still(fresh, moons):
    history = []
    fit(fresh(), *moons, epochs=20, lr=1e-12, validation=moons, patience=3, history=history, progress=False)
    assert len({row.clean for row in history}) == 1
    assert len(history) == 1 + 3


def test_of_epochs_that_are_equally_good_the_last_is_returned(fresh, moons, seeded, weights):
    def step(model, optimizer, x, y, t):
        with torch.no_grad():
            model[-1].bias.add_(1)  # of both classes: changes no answer
        return x.new_zeros(())

    x, y = moons
    model = fit(fresh(), x, y, epochs=3, batch_size=len(x), validation=(x, y), patience=2, step=step, progress=False)
    torch.testing.assert_close(model[-1].bias, fresh()[-1].bias + 3)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_training_that_diverges_ends_and_keeps_what_came_before(loss, tmp_path, fresh, moons, seeded):
    count = []

    def step(model, optimizer, x, y, t):
        count.append(t)
        return training_step(model, optimizer, x, y) + (loss if len(count) == 3 else 0)

    x, y = moons
    history, path = [], tmp_path / "half"
    with pytest.raises(FloatingPointError, match=r"lr must be smaller.*0\.002 made the loss (nan|inf)"):
        fit(
            fresh(), x, y, epochs=5, batch_size=len(x), step=step, validation=moons, history=history, checkpoint=path,
            generator=seeded(), progress=False,
        )  # fmt: skip
    assert [row.epoch for row in history] == [1, 2]
    assert torch.load(path, weights_only=True)["epoch"] == 2


def test_a_learning_rate_without_measure_is_named(fresh, moons, seeded):
    with pytest.raises(FloatingPointError, match="lr must be smaller"):
        fit(fresh(), *moons, lr=1e30, generator=seeded(), progress=False)


class Bfloat16(nn.Module):
    """Mixed precision: the weights in float32, the passes in bfloat16."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.model(x)


WRAPPERS = {"mixed precision": Bfloat16, "compiled": partial(torch.compile, backend="aot_eager")}


@pytest.mark.parametrize(
    ("wrapper", "off"), [("mixed precision", 2e-2), pytest.param("compiled", 1e-5, marks=pytest.mark.slow)]
)
def test_a_step_of_a_wrapped_model_is_that_of_the_model(wrapper, off, fresh, moons, weights):
    x, y = moons[0][:50], moons[1][:50]
    model, twin = fresh(), fresh()
    attack = partial(pgd, threat=THREAT, steps=3, random_start=False, early_stop=False)
    losses = [
        training_step(stepped, torch.optim.SGD(stepped.parameters(), lr=0.1), x, y, attack)
        for stepped in (WRAPPERS[wrapper](model), twin)
    ]
    torch.testing.assert_close(losses[0].float(), losses[1], rtol=off, atol=off)
    torch.testing.assert_close(weights(model), weights(twin), rtol=0, atol=off)
    assert not torch.equal(weights(model), weights(fresh()))
    assert model.training
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())


def test_the_history_tells_each_epoch(fresh, moons, seeded):
    x, y = moons
    history, clean = [], []
    adversarial_fit(
        fresh(), x, y, THREAT, method="fast", epochs=5, lr=0.01, eps_schedule=ramp(0.5), history=history,
        validation=(x[:100], y[:100]), generator=seeded(), progress=False,
    )  # fmt: skip
    fit(fresh(), x, y, epochs=2, history=clean, progress=False)
    assert [row.epoch for row in history] == [1, 2, 3, 4, 5]
    assert all(type(value) is float for row in history for value in row[1:])
    assert all(row.seconds > 0 and row.robust <= row.clean for row in history)
    assert [row.eps for row in history][2:] == [0.05] * 3
    assert 0 < history[0].eps < history[1].eps < 0.05
    assert [row.lr for row in history] == sorted((row.lr for row in history), reverse=True)
    assert history[-1].loss < history[0].loss
    assert all(row.clean is row.robust is row.eps is None for row in clean)


def test_the_average_is_the_running_mean_of_the_weights(fresh, moons, seeded, weights):
    seen = []

    def step(model, optimizer, x, y, t):
        loss = training_step(model, optimizer, x, y)
        seen.append(weights(model))
        return loss

    averaged = fit(fresh(), *moons, epochs=3, average=0.8, step=step, generator=seeded(), progress=False)
    mean = weights(fresh())
    for count, new in enumerate(seen, start=1):
        decay = min(0.8, count / (count + 10))
        mean = decay * mean + (1 - decay) * new
    torch.testing.assert_close(weights(averaged), mean)


@pytest.mark.parametrize("schedule", [constant, falling, one_cycle(), one_cycle(0.5), plateau(), ramp(0.3)])
def test_schedules_are_shares_that_start_and_end_where_they_say(schedule):
    values = [schedule(i / 100) for i in range(101)]
    assert all(0 <= value <= 1 for value in values)
    assert max(values) == pytest.approx(1)
    assert max(abs(a - b) for a, b in pairwise(values)) < 0.11
    if schedule not in (constant, falling):
        assert values[0] == 0


@pytest.mark.parametrize("make", [one_cycle, plateau, ramp])
@pytest.mark.parametrize("share", [0, 1, -0.1, math.nan])
def test_a_share_lies_between_0_and_1(make, share):
    with pytest.raises(ValueError, match="must be between 0 and 1; got"):
        make(share)


class Two(Processes):
    count = 2


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"x": [[0.0, 1.0]]}, TypeError, "x must be a floating tensor .*got list"),
        ({"x": torch.zeros(4, 2, dtype=torch.int64)}, TypeError, "x must be a floating tensor .*got torch.int64"),
        ({"x": torch.zeros(0, 2), "y": torch.zeros(0, dtype=torch.int64)}, ValueError, "x must hold at least one"),
        ({"y": torch.zeros(3, dtype=torch.int64)}, ValueError, "y must have one label per image"),
        ({"y": torch.zeros(4)}, TypeError, "y must be an int64 tensor"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1; got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an int; got float"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0"),
        ({"lr": 0.0}, ValueError, "lr must be above 0; got 0.0"),
        ({"average": 1.0}, ValueError, "average must be at least 0 and below 1; got 1.0"),
        ({"generator": 7}, TypeError, "generator must be a torch.Generator or None; got int"),
        ({"patience": 2}, ValueError, "patience needs validation"),
        ({"validation_attack": fgsm}, ValueError, "validation_attack needs validation"),
        ({"validation": 0.1}, TypeError, r"validation must be a pair \(x, y\); got float"),
        ({"validation": (torch.zeros(2, 2), torch.zeros(1, dtype=torch.int64))}, ValueError, r"validation\[1\] must"),
        (
            {"validation": (torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)), "patience": 0}, ValueError,
            "patience must be an int of at least 1, or None; got 0",
        ),
        ({"processes": Two()}, ValueError, "generator must be given, seeded alike in every process; got None"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(wrong, error, says, fresh):
    arguments = {"x": torch.zeros(4, 2), "y": torch.zeros(4, dtype=torch.int64), "progress": False} | wrong
    with pytest.raises(error, match=says):
        fit(fresh(), arguments.pop("x"), arguments.pop("y"), **arguments)
