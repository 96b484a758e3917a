"""Our attacks beside those of torchattacks, Foolbox, ART and adv-lib: time in bare gradients, success, distance.

python -m benchmarks.attacks [--quick] [--tasks fgsm pgd-linf ...] [--libraries coursekit Foolbox ...] [--write]

Everyone attacks the standard mnist_cnn on the same test digits with the same eps, number of steps, step size, loss
(cross-entropy) and kind of start. What cannot be made equal stands beside each library below.
"""

import logging
import math
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.allocator import pin_allocator
from benchmarks.timing import bare_gradients, in_batches, machine, median, options, paired_ratios, publish, table
from coursekit import data, models
from coursekit.attacks import carlini_wagner, ddn, fgsm, pgd
from coursekit.evaluation.budget import Counted, counting
from coursekit.perturbations import LpBall

Attack = Callable[[Tensor, Tensor], Tensor]
SEARCHES = 2  # for lambda, in Carlini and Wagner's attack
# The peers' Carlini-Wagner at 300 gradients is at its best with these (tried on 200 digits: 1, 2, 3, 5, 10 searches,
# learning rates from 0.01 to 0.4, first lambda from 0.001 to 10). Their defaults, meant for 10,000 steps, fail.
LEARNING_RATE, LAMBDA = 0.1, 1.0
BATCH_SIZES = (1, 100, 250, 1000)


@dataclass(frozen=True)
class Task:
    """What every library is to do. threat None: find the smallest L2 distance. gradients: how many for each image.

    random_start: PGD begins at a random point, as by default everywhere, or at x.
    """

    title: str
    threat: LpBall | None
    gradients: int
    repeats: int
    random_start: bool = True

    @property
    def eps(self) -> float:
        """The radius."""
        return float(self.threat.eps)

    @property
    def step(self) -> float:
        """The step size of PGD."""
        return float(self.threat.default_step(self.gradients))


def all_tasks(quick: bool, start: str = "random") -> dict[str, Task]:
    """The tasks by name; with `quick` too few steps to say anything. start of PGD: "random" or "x"."""
    steps, search = (4, 20) if quick else (40, 300)
    linf, l2 = LpBall(0.2, math.inf), LpBall(2.0, 2)
    where = "a random start" if start == "random" else "x"
    tasks = {
        "fgsm": Task("FGSM, L-inf, eps 0.2", linf, 1, 30),
        "pgd-linf": Task(f"PGD-{steps} from {where}, L-inf, eps 0.2", linf, steps, 7),
        "pgd-l2": Task(f"PGD-{steps} from {where}, L2, eps 2", l2, steps, 7),
        "carlini-wagner": Task(f"Carlini-Wagner, L2, {search} gradients", None, search, 3),
        "ddn": Task(f"DDN, L2, {search} gradients", None, search, 3),
        "ddn-short": Task(f"DDN, L2, {search // 10} gradients", None, search // 10, 5),
    }
    settings = {"random_start": start == "random"} | ({"repeats": 1} if quick else {})
    return {name: replace(task, **settings) for name, task in tasks.items()}


# -- the libraries: each (model, tasks) -> {task: attack}


def coursekit(model: nn.Module, tasks: dict[str, Task], early_stop: bool = False) -> dict[str, Attack]:
    """Ours. PGD returns the best of all points it saw, the last one too: two more forward passes than gradients.

    Carlini-Wagner is the default one, with fewer gradients than the peers are given.
    """

    def bounded(task: Task) -> Attack:
        settings = {"steps": task.gradients, "step_size": task.step, "random_start": task.random_start}
        return partial(pgd, model, threat=task.threat, early_stop=early_stop, **settings)

    return {
        "fgsm": partial(fgsm, model, threat=tasks["fgsm"].threat),
        "pgd-linf": bounded(tasks["pgd-linf"]),
        "pgd-l2": bounded(tasks["pgd-l2"]),
        "carlini-wagner": partial(carlini_wagner, model),
        "ddn": partial(ddn, model, steps=tasks["ddn"].gradients),
        "ddn-short": partial(ddn, model, steps=tasks["ddn-short"].gradients),
    }


def coursekit_early_stopping(model: nn.Module, tasks: dict[str, Task]) -> dict[str, Attack]:
    """Ours as it is by default: an image that is fooled takes no further step."""
    attacks = coursekit(model, tasks, early_stop=True)
    return {name: attacks[name] for name in ("pgd-linf", "pgd-l2")}


def coursekit_same_budget(model: nn.Module, tasks: dict[str, Task]) -> dict[str, Attack]:
    """Our Carlini-Wagner with as many gradients as the peers have: more values of lambda (see its docstring)."""
    steps = 3
    searches = max(1, (tasks["carlini-wagner"].gradients - 1) // steps - 8)
    return {"carlini-wagner": partial(carlini_wagner, model, steps=steps, search_steps=searches)}


def torchattacks(model: nn.Module, tasks: dict[str, Task]) -> dict[str, Attack]:
    """PGD returns its last point. Carlini-Wagner has no search for lambda, so it gets one that fools nearly all."""
    import torchattacks as ta

    def pgd(attack: type[ta.attack.Attack], task: Task) -> Attack:
        settings = {"alpha": task.step, "steps": task.gradients, "random_start": task.random_start}
        return attack(model, eps=task.eps, **settings)

    return {
        "fgsm": ta.FGSM(model, eps=tasks["fgsm"].eps),
        "pgd-linf": pgd(ta.PGD, tasks["pgd-linf"]),
        "pgd-l2": pgd(ta.PGDL2, tasks["pgd-l2"]),
        "carlini-wagner": ta.CW(model, c=10, lr=LEARNING_RATE, steps=tasks["carlini-wagner"].gradients),
    }


def foolbox(model: nn.Module, tasks: dict[str, Task]) -> dict[str, Attack]:
    """PGD returns its last point; every call checks its result with one more forward pass."""
    import foolbox as fb

    wrapped = fb.PyTorchModel(model, bounds=(0, 1))

    def of(attack: fb.Attack, eps: float | None) -> Attack:
        return lambda x, y: attack(wrapped, x, y, epsilons=eps)[1]  # the clipped result

    def pgd(attack: type[fb.Attack], task: Task) -> Attack:
        settings = {"abs_stepsize": task.step, "steps": task.gradients, "random_start": task.random_start}
        return of(attack(**settings), task.eps)

    search = tasks["carlini-wagner"]
    carlini_wagner = fb.attacks.L2CarliniWagnerAttack(
        binary_search_steps=SEARCHES, steps=search.gradients // SEARCHES, stepsize=LEARNING_RATE, initial_const=LAMBDA
    )
    return {
        "fgsm": of(fb.attacks.LinfFastGradientAttack(random_start=False), tasks["fgsm"].eps),
        "pgd-linf": pgd(fb.attacks.LinfPGD, tasks["pgd-linf"]),
        "pgd-l2": pgd(fb.attacks.L2PGD, tasks["pgd-l2"]),
        "carlini-wagner": of(carlini_wagner, None),
        "ddn": of(fb.attacks.DDNAttack(steps=tasks["ddn"].gradients), None),
        "ddn-short": of(fb.attacks.DDNAttack(steps=tasks["ddn-short"].gradients), None),
    }


def art(model: nn.Module, tasks: dict[str, Task]) -> dict[str, Attack]:
    """Takes and returns numpy arrays, and by default cuts a batch into pieces of 32: here it need not.

    PGD returns its last point. Carlini-Wagner takes two gradients a step and searches along the difference, so it is
    given the same number of steps and uses several times the gradients.
    """
    from art.attacks import EvasionAttack, evasion
    from art.estimators.classification import PyTorchClassifier

    logging.getLogger("art").setLevel(logging.ERROR)
    wrapped = PyTorchClassifier(
        model, loss=nn.CrossEntropyLoss(), input_shape=(1, 28, 28), nb_classes=10, clip_values=(0, 1), device_type="cpu"
    )

    def of(attack: EvasionAttack) -> Attack:
        def run(x: Tensor, y: Tensor) -> Tensor:
            attack.set_params(batch_size=len(x))
            return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))

        return run

    def pgd(task: Task) -> Attack:
        return of(
            evasion.ProjectedGradientDescent(
                wrapped, norm=task.threat.p, eps=task.eps, eps_step=task.step, max_iter=task.gradients,
                num_random_init=int(task.random_start), verbose=False,
            )
        )  # fmt: skip

    return {
        "fgsm": of(evasion.FastGradientMethod(wrapped, norm=math.inf, eps=tasks["fgsm"].eps)),
        "pgd-linf": pgd(tasks["pgd-linf"]),
        "pgd-l2": pgd(tasks["pgd-l2"]),
        "carlini-wagner": of(
            evasion.CarliniL2Method(
                wrapped, learning_rate=LEARNING_RATE, binary_search_steps=SEARCHES, initial_const=LAMBDA,
                max_iter=tasks["carlini-wagner"].gradients // SEARCHES, verbose=False,
            )
        ),
    }  # fmt: skip


def adv_lib(model: nn.Module, tasks: dict[str, Task]) -> dict[str, Attack]:
    """PGD returns the last fooling point, but does not look at the one after the last step.

    No FGSM; in L2 its attack of this kind is Auto-PGD, with step sizes of its own, always from a random start.
    """
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))  # for live plots; it no longer installs
    from adv_lib import attacks

    linf, l2, search = tasks["pgd-linf"], tasks["pgd-l2"], tasks["carlini-wagner"]
    return {
        "pgd-linf": partial(
            attacks.pgd_linf, model, ε=linf.eps, absolute_step_size=linf.step, steps=linf.gradients,
            random_init=linf.random_start,
        ),
        "pgd-l2": partial(attacks.apgd, model, eps=l2.eps, norm=2, n_iter=l2.gradients, loss_function="ce"),
        "carlini-wagner": partial(
            attacks.carlini_wagner_l2, model, learning_rate=LEARNING_RATE, initial_const=LAMBDA,
            binary_search_steps=SEARCHES, max_iterations=search.gradients // SEARCHES,
        ),
        "ddn": partial(attacks.ddn, model, steps=tasks["ddn"].gradients, levels=None),
        "ddn-short": partial(attacks.ddn, model, steps=tasks["ddn-short"].gradients, levels=None),
    }  # fmt: skip


LIBRARIES: dict[str, Callable[[nn.Module, dict[str, Task]], dict[str, Attack]]] = {
    "coursekit": coursekit,
    "coursekit, early stopping": coursekit_early_stopping,
    "coursekit, same budget": coursekit_same_budget,
    "torchattacks": torchattacks,
    "Foolbox": foolbox,
    "ART": art,
    "adv-lib": adv_lib,
}


def found(wanted: Sequence[str], model: nn.Module, tasks: dict[str, Task]) -> dict[str, dict[str, Attack]]:
    """{library: {task: attack}} of those that are installed; one line on each that is not."""
    attacks = {}
    for name in wanted:
        try:
            attacks[name] = LIBRARIES[name](model, tasks)
        except ImportError as error:
            print(f"{name} is left out: {error}. `make bench-attacks` installs it.\n")
    return attacks


# -- measuring


@dataclass(frozen=True)
class Measured:
    """Medians over the repeats; success and distance are means. Everything is per image."""

    ratio: float
    success: float
    distance: float
    gradients: float
    forwards: float


def measure(
    task: Task, attacks: dict[str, Attack], model: Counted, x: Tensor, y: Tensor, batch_size: int, repeats: int
) -> dict[str, Measured]:
    """Every library's attack on x, in batches, timed in bare gradients of the whole of x in the same batches."""
    results: dict[str, list[tuple[Tensor, float, float]]] = {name: [] for name in attacks}

    def run(name: str) -> None:
        torch.manual_seed(len(results[name]))
        model.reset()
        x_adv = in_batches(attacks[name], x, y, batch_size)
        results[name].append((x_adv, model.gradients / len(x), model.forward_passes / len(x)))

    def bare(x: Tensor, y: Tensor) -> Tensor:
        bare_gradients(model, x, y, task.gradients)
        return y

    ratios = paired_ratios(
        {name: partial(run, name) for name in attacks}, lambda: in_batches(bare, x, y, batch_size), repeats
    )
    measured = {}
    for name, runs in results.items():
        judged = [judge(task, model, x, y, x_adv) for x_adv, _, _ in runs]
        measured[name] = Measured(
            median(ratios[name]),
            sum(success for success, _ in judged) / len(runs),
            sum(distance for _, distance in judged) / len(runs),
            median(gradients for _, gradients, _ in runs),
            median(forwards for _, _, forwards in runs),
        )
    return measured


def judge(task: Task, model: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor) -> tuple[float, float]:
    """The share of images fooled, by points that are allowed; and the median L2 distance to a fooling point.

    The median is over all images: one that was misclassified anyway has distance 0, one that is not fooled infinity.
    """
    with torch.no_grad():
        already, fooled = model(x).argmax(1) != y, model(x_adv).argmax(1) != y
    fooled &= ((x_adv >= -1e-6) & (x_adv <= 1 + 1e-6)).flatten(1).all(1)
    length = torch.linalg.vector_norm
    if task.threat is not None:  # with room for anyone's rounding
        fooled &= length((x_adv - x).flatten(1), ord=task.threat.p, dim=1) <= task.eps * (1 + 1e-4)
    distance = length((x_adv - x).flatten(1), dim=1).where(fooled, math.inf).where(~already, 0)
    return (fooled | already).double().mean().item(), median(distance.tolist())


def main(argv: Sequence[str] | None = None) -> None:
    """Attacks on the standard mnist_cnn, beside other libraries."""
    known = tuple(all_tasks(False))
    chosen = options(
        main.__doc__, argv,
        ("--tasks", {"nargs": "+", "choices": known, "default": known}),
        ("--libraries", {"nargs": "+", "choices": tuple(LIBRARIES), "default": tuple(LIBRARIES)}),
        ("--start", {"choices": ("random", "x"), "default": "random", "help": "of PGD"}),
        ("--batch-size", {"type": int, "default": 1000, "help": "of the main tables"}),
        ("--batch-sizes", {"type": int, "nargs": "*", "default": BATCH_SIZES, "help": "of the table over batch sizes"}),
        ("--repeats", {"type": int, "help": "timed runs of each; default: 3 to 30, by task"}),
    )  # fmt: skip
    tasks = all_tasks(chosen.quick, chosen.start)
    model = counting(models.load("mnist_cnn")).eval()
    x, y, _ = data.load("mnist", "test")
    x, y = x[: chosen.digits], y[: chosen.digits]
    libraries = found(chosen.libraries, model, tasks)
    batch_size = min(chosen.batch_size, len(x))
    across: dict[str, dict[int, dict[str, Measured]]] = {}
    names = [name for name in chosen.tasks if any(name in of for of in libraries.values())]
    for name in names:
        attacks = {library: of[name] for library, of in libraries.items() if name in of}
        repeats = chosen.repeats or tasks[name].repeats
        measured = measure(tasks[name], attacks, model, x, y, batch_size, repeats)
        publish(f"attacks: {name}", task_table(tasks[name], measured, len(x), batch_size), chosen.write)
        across[name] = {batch_size: measured}
    for name in names:
        for size in chosen.batch_sizes:
            attacks = {library: of[name] for library, of in libraries.items() if name in of}
            if size in across[name] or not (attacks := affordable(name, attacks, size)):
                continue
            across[name][size] = measure(tasks[name], attacks, model, x, y, size, 1)
        if len(across[name]) > 1:
            publish(f"attacks: {name} by batch size", batch_table(tasks[name], across[name]), chosen.write)


def affordable(name: str, attacks: dict[str, Attack], batch_size: int) -> dict[str, Attack]:
    """What is measured at other batch sizes: an hour for ART's Carlini-Wagner, or for 300,000 passes, is not spent."""
    if name in ("carlini-wagner", "ddn"):
        return {} if batch_size < 100 else {library: attack for library, attack in attacks.items() if library != "ART"}
    return attacks


def task_table(task: Task, measured: dict[str, Measured], images: int, batch_size: int) -> str:
    """Title, table, and what it was measured with."""
    columns = ["", "x bare gradients", "success", "gradients", "forward passes"]
    rows = [
        [name, f"{m.ratio:.2f}", f"{m.success:.1%}", f"{m.gradients:.1f}", f"{m.forwards:.1f}"]
        for name, m in measured.items()
    ]
    if task.threat is None:
        columns.insert(3, "median L2")
        for row, m in zip(rows, measured.values(), strict=True):
            row.insert(3, f"{m.distance:.3f}")
    conditions = f"{images} digits in batches of {batch_size}, {machine()}"
    return f"**{task.title}**\n\n{table(columns, rows)}\n\n{conditions}"


def batch_table(task: Task, across: dict[int, dict[str, Measured]]) -> str:
    """Success and time by batch size, one row for each library."""
    sizes = sorted(across)

    def cell(m: Measured | None) -> str:
        if m is None:
            return "-"
        return f"{f'{m.distance:.3f}' if task.threat is None else f'{m.success:.1%}'} ({m.ratio:.2f})"

    names = list(dict.fromkeys(name for measured in across.values() for name in measured))
    rows = [[name, *(cell(across[size].get(name)) for size in sizes)] for name in names]
    what = "median L2" if task.threat is None else "success"
    title = f"**{task.title}**, {what} (x bare gradients) in batches of"
    return f"{title}\n\n{table(['', *map(str, sizes)], rows)}"


if __name__ == "__main__":
    pin_allocator()
    main()
