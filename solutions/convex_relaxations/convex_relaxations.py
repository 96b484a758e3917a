# %% [markdown]
# # 10 Convex relaxations
#
# A proof of robustness can take milliseconds, if it may say "I do not know" now and then. That is the bargain between an attack, which proves nothing when it finds nothing, and an exact search, which always answers and may take until the end of the lecture. Two such methods you will build, interval arithmetic and CROWN; a third, the linear program, you will see at work. In the plane you watch how the net closes, and at the end you train a network that makes it easy for them.
#
# **After this notebook you can**
#
# * compute bounds on a network's outputs that hold for *every* point of $\mathcal P(\mathbf x)$, by interval arithmetic and by CROWN, with nothing but matrices;
# * say what each method forgets, and why the bounds of an ordinary deep network are so wide;
# * read "not certified" rightly: it is not "vulnerable";
# * train a network on its own bounds, and say what that buys and what it costs.
#
# **Slides**: "Roadmap". It is the part "4. Certifiable robustness: convex relaxations"; the slides have no more than the heading, so the notebook teaches it from the papers named at its end. **Time**: about two and a half hours. **Points**: 23 from seven functions that are checked at once, 6 from two texts that a person reads. Assignment 03 (attacks) helps; assignment 09 (exact certification) is the neighbour that always answers, and takes longer.
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other shapes and numbers. No exercise needs an earlier one to be right. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was.</div>
#
# **Notation**: $\mathbf x$ an image, $y$ its label, $\tilde{\mathbf x}\in\mathcal P(\mathbf x)$ a perturbed one; here $\mathcal P(\mathbf x)$ is the $L_\infty$ ball of radius $\epsilon$, which is a *box*. A layer computes $\mathbf z = W\mathbf h + \mathbf b$ and then $\mathbf a = \max(\mathbf z, 0)$; the last $\mathbf z$ are the logits. $\mathbf l \le \mathbf z \le \mathbf u$ are bounds: they hold for all of $\mathcal P(\mathbf x)$. In this notebook most functions are about *one* image, so its vectors have shape `(n,)`.

# %% readonly="setup"
import itertools
import math

import torch
from torch import nn
from tqdm.auto import tqdm

import coursekit
from coursekit import attacks, checks, data, plots, training, widgets
from coursekit.certify import exact, relaxations
from coursekit.perturbations import LpBall

torch.set_num_threads(1)  # networks as small as these run faster on a single thread

digits = data.load("mnist", "test")
x, y = digits.x[:100], digits.y[:100]
small = coursekit.models.load("mnist_mlp")  # 784-32-32-10, trained the ordinary way
small_pgd = coursekit.models.load("mnist_mlp", training="pgd", eps=0.1)  # the same, adversarially trained
for name, network in (("ordinary", small), ("adversarially trained", small_pgd)):
    print(f"{name}: clean accuracy on {len(x)} digits {(network(x).argmax(dim=1) == y).float().mean().item():.0%}")

# %% [markdown]
# ## 10.1 Give up equality, keep soundness
#
# To *prove* that $f$ is robust at $\mathbf x$ is to prove, for every other class $j$, that
#
# $$\min_{\tilde{\mathbf x} \in \mathcal P(\mathbf x)} \big(z_y(\tilde{\mathbf x}) - z_j(\tilde{\mathbf x})\big) > 0 .$$
#
# The number on the left is the smallest *lead* of $y$ over $j$. It is hard to compute: each ReLU whose input can be negative and positive in $\mathcal P(\mathbf x)$ is a fork in the road, and $n$ of them make up to $2^n$ linear pieces. How many are there?

# %% demo="open-neurons"
cnn = coursekit.models.load("mnist_cnn")
for name, network in (("mnist_mlp", small), ("mnist_cnn", cnn)):
    for eps in (0.01, 0.05):
        box, opened, neurons = relaxations.Interval((x[:1] - eps).clamp(0, 1), (x[:1] + eps).clamp(0, 1)), 0, 0
        with torch.no_grad():
            for layer in network:
                if isinstance(layer, nn.ReLU):
                    opened += int(((box.lower < 0) & (box.upper > 0)).sum())
                    neurons += box.lower.numel()
                box = relaxations.interval.through(layer, box)
        print(f"{name} at ε = {eps}: of {neurons} neurons up to {opened} can be on and off, so up to 2^{opened} pieces")

# %% [markdown]
# So we give up *equality*, and keep *soundness*. Instead of the smallest lead we compute some number $\underline m_j$ that is surely no larger:
#
# $$\underline m_j \;\le\; \min_{\tilde{\mathbf x} \in \mathcal P(\mathbf x)} \big(z_y - z_j\big)\qquad\text{for all } j \ne y .$$
#
# If all $\underline m_j > 0$, then $\mathbf x$ is **certified**: no attack of whatever kind, known or not, can succeed within $\mathcal P(\mathbf x)$. If some $\underline m_j \le 0$, we have learned nothing: perhaps there is an adversarial example, perhaps the bound is loose. An attack errs on the other side:
#
# | | says "robust" | says "not robust" |
# |---|---|---|
# | attack (03) | may be wrong | is right: here is $\tilde{\mathbf x}$ |
# | relaxation (this notebook) | is right: a proof | may be wrong |
# | exact search (09) | is right | is right, if you can wait |
#
# The trick is always the same: replace the set of values that the network can really take by a *larger* set that is easy to handle, a convex one. Hence "convex relaxation".

# %% [markdown]
# ## 10.2 The simplest set: a box
#
# Keep for each neuron an interval, $l_i \le h_i \le u_i$, and ask what a layer makes of it. One output of a linear layer is $z = \sum_i w_i h_i + b$. Each $h_i$ may choose its place by itself, so $z$ is smallest if every term is: where $w_i > 0$ at $h_i = l_i$, where $w_i < 0$ at $h_i = u_i$. With $W^+ = \max(W, 0)$ and $W^- = \min(W, 0)$:
#
# $$\mathbf l' = W^+\mathbf l + W^-\mathbf u + \mathbf b, \qquad \mathbf u' = W^+\mathbf u + W^-\mathbf l + \mathbf b .$$
#
# Or, the same thing, with the centre $\mathbf c = (\mathbf u + \mathbf l)/2$ and the radius $\mathbf r = (\mathbf u - \mathbf l)/2$: the centre goes through the layer, and the radius through the layer's absolute values,
#
# $$\mathbf c' = W\mathbf c + \mathbf b, \qquad \mathbf r' = |W|\,\mathbf r .$$
#
# ### Exercise 10.2: a box through a linear layer · easy · 10 minutes · 3 points
#
# Compute the ends of the box behind a linear layer, from those in front of it.
#
# <details><summary>Hint</summary>
# <code>weight.clamp(min=0)</code> is the positive part. Which end do negative weights take? A matrix times a vector is <code>weight @ lower</code>.
# </details>

# %% solution="interval_linear"
def interval_linear(weight: torch.Tensor, bias: torch.Tensor, lower: torch.Tensor,
                    upper: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest and largest value of each output of weight @ h + bias over lower <= h <= upper.

    weight: (m, n), of any signs. bias: (m,). lower, upper: (n,), lower <= upper; equal where h is known.
    Returns two tensors (m,), the lower and the upper ends, in the dtype of the weights.
    """
    ### BEGIN SOLUTION
    centre, radius = (upper + lower) / 2, (upper - lower) / 2
    middle, spread = weight @ centre + bias, weight.abs() @ radius
    return middle - spread, middle + spread
    ### END SOLUTION

# %% test="interval_linear" points=3
# Run this cell to check your interval_linear. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("interval_linear", points=3, by_hand=["coursekit.certify.relaxations.bounds", "coursekit.certify.relaxations.least",
                                                                 "coursekit.certify.relaxations.interval.through"])

def ends(got, size, dtype=None):
    """Two tensors (size,) in one."""
    if not (isinstance(got, torch.Tensor) and got.shape == (2, size)):
        two = isinstance(got, (list, tuple)) and len(got) == 2
        expect.that(two, got, "two tensors, the lower and the upper ends", "Did you forget a return?" if got is None else "Return lower, upper.")
        got = torch.stack([expect.tensor(end, shape=(size,), dtype=dtype, shape_hint="Each of the two has one value for each output.") for end in got])
    return expect.tensor(got, dtype=dtype)

def compare(got, right, hint="", mistakes=None):
    """Both ends at once; says which entry of which end is wrong."""
    if not expect.same(got, right):
        hint = next((why for why, value in (mistakes or {}).items() if expect.same(got, value)), hint)
    for name, end, wanted in zip(("lower", "upper"), got, right):
        at = int((end.double() - wanted.double()).abs().argmax())
        expect.that(expect.same(end, wanted), f"{name}[{at}] = {end[at].item():.4g}", f"{name}[{at}] = {wanted[at].item():.4g}", hint)

@exercise.case("weights above 0: the lower ends make the lower end",
               hint="Does every line still use the lower and upper that came in? A new lower must not be put into the formula for upper.")
def _(interval_linear):
    weight, bias = torch.tensor([[1.0, 2.0], [0.5, 1.0], [0.0, 3.0]]), torch.tensor([0.5, -1.0, 0.0])
    got = ends(interval_linear(weight, bias, torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0])), 3)
    right = torch.tensor([[2.5, 0.0, 3.0], [7.5, 2.5, 9.0]])
    compare(got, right, mistakes={
        "The bias is missing.": right - bias,
        "Upper and lower ends are swapped.": right.flip(0),
        "The bias is added to the radius as well: it moves the box, and makes it no wider.": right + torch.stack([-bias, bias]),
        "The box is twice as wide as it should be: the radius is half of upper - lower.": torch.tensor([[0.0, -1.25, 0.0], [10.0, 3.75, 12.0]]),
    }, hint="With weights above 0 it is weight @ lower + bias and weight @ upper + bias.")

@exercise.case("a weight below 0 is smallest at the upper end")
def _(interval_linear):
    weight, bias = torch.tensor([[1.0, -1.0], [-2.0, 0.5]]), torch.tensor([0.0, 1.0])
    lower, upper = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0])
    got = ends(interval_linear(weight, bias, lower, upper), 2)
    compare(got, torch.tensor([[-3.0, -0.5], [0.0, 2.5]]), mistakes={
        "These are weight @ lower and weight @ upper (or the radius went through the weights with their signs): right for weights above 0 only. "
        "A negative weight makes its term smallest at the upper end.": torch.tensor([[-1.0, 1.5], [-2.0, 0.5]]),
        "You take the smaller of weight @ lower and weight @ upper. The worst corner takes the lower end of some inputs and the upper end of "
        "others: decide weight by weight.": torch.tensor([[-2.0, 0.5], [-1.0, 1.5]]),
        "The absolute values are taken for the centre, too. It goes through the layer as it is.": torch.tensor([[1.0, 1.5], [4.0, 4.5]]),
        "Upper and lower ends are swapped.": torch.tensor([[0.0, 2.5], [-3.0, -0.5]]),
        "The bias is missing.": torch.tensor([[-3.0, -1.5], [0.0, 1.5]]),
        "lower is overwritten before upper uses it: upper needs the old one. Compute both, then assign.": torch.tensor([[-3.0, -0.5], [1.5, 8.5]]),
        "A ReLU has slipped in. This is the linear layer alone; its outputs may be below 0.": torch.tensor([[0.0, 0.0], [0.0, 2.5]]),
    }, hint="Positive weights take the lower end for the lower bound, negative ones the upper end.")

@exercise.case("all 32 corners of a box lie within the ends, and reach them; the arguments are left as they were")
def _(interval_linear):
    weight, bias, lower = torch.randn(4, 5), torch.randn(4), torch.randn(5)
    upper = lower + torch.rand(5)
    low, high = ends(interval_linear(weight, bias, lower, upper), 4)
    corners = torch.cartesian_prod(*[torch.tensor([a, b]) for a, b in zip(lower.tolist(), upper.tolist())]) @ weight.T + bias
    outside = float(torch.maximum(low - corners.amin(0), corners.amax(0) - high).max())
    expect.that(outside < 1e-4, f"a corner that lies {outside:.3g} outside", "every corner within the ends", "Not sound: for which signs of the weights?")
    slack = float(torch.maximum(corners.amin(0) - low, high - corners.amax(0)).max())
    expect.that(slack < 1e-4, f"an end that is {slack:.3g} too far out", "ends that a corner reaches", "Sound, but wider than need be.")
    expect.unchanged(interval_linear)

@exercise.case("a box that is a point")
def _(interval_linear):
    weight, bias, point = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([0.25]), torch.tensor([0.5, 0.5, 1.0])
    compare(ends(interval_linear(weight, bias, point, point), 1, torch.float32), torch.tensor([[0.25], [0.25]]), hint="There both ends are weight @ point + bias.")

### BEGIN HIDDEN TESTS
@exercise.case("other sizes, in float64", hint="Any number of inputs and outputs, weights of both signs, in the dtype of the weights.", hidden=True)
def _(interval_linear):
    for outputs, inputs in ((1, 7), (6, 1), (3, 4)):
        weight, bias = torch.randn(outputs, inputs, dtype=torch.float64), torch.randn(outputs, dtype=torch.float64)
        lower = torch.randn(inputs, dtype=torch.float64)
        upper = lower + torch.rand(inputs, dtype=torch.float64)
        terms = torch.stack([weight * lower, weight * upper])
        right = torch.stack([terms.amin(0).sum(1), terms.amax(0).sum(1)]) + bias
        compare(ends(interval_linear(weight, bias, lower, upper), outputs, torch.float64), right)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# A ReLU never falls, so it takes ends to ends: $[\max(l, 0), \max(u, 0)]$. With these two rules a box goes through any network of linear layers and ReLUs, at the price of two ordinary passes. This is *interval bound propagation*.
#
# ## 10.3 What a box forgets
#
# For a single layer the ends are exact: some corner reaches them. Behind two layers they are not, and the reason is simple. A box says of each neuron where it can be, and forgets how the neurons hang together. Take $h_1 = x$ and $h_2 = x$, with $x \in [-1, 1]$. The next layer computes $h_1 - h_2$. In truth that is 0. The box knows only $h_1 \in [-1, 1]$ and $h_2 \in [-1, 1]$, and says $[-2, 2]$: **for intervals, $x - x$ is not 0.**
#
# **Predict, then reveal**: a layer rotates the plane by 45°, eight times in a row. A rotation changes no length, and eight of them bring every point back to where it was. We start with a box. How many times as wide is the interval box after eight turns? (In truth: once.)

# %%
my_guess = None  # replace None by a number from 1 up

# %% demo="eight-turns"
half = math.sqrt(0.5)
turn = nn.Linear(2, 2)
turn.load_state_dict({"weight": torch.tensor([[half, -half], [half, half]]), "bias": torch.zeros(2)})
box = relaxations.bounds(nn.Sequential(*[turn] * 8), torch.zeros(1, 2), LpBall(1.0, math.inf, bounds=(-1.0, 1.0)), "interval")
together = relaxations.bounds(nn.Sequential(*[turn] * 8), torch.zeros(1, 2), LpBall(1.0, math.inf, bounds=(-1.0, 1.0)), "crown")
checks.reveal(my_guess, f"{box.upper[0, 0].item():.0f} times",
              "Each turn puts a new box round the turned one, and makes it wider by the root of 2. A deep network does this in every layer.\n"
              f"A method that multiplies the eight matrices first says {together.upper[0, 0].item():.0f}, the truth. It is built in 10.7.")

# %% demo="wrapping"
plots.wrapping(4)

# %% [markdown]
# This is the *wrapping effect*, known since Moore's book on interval arithmetic (1966). The blue square is what is there, the dashed box is what the method knows.
#
# ## 10.4 A whole network
#
# ### Exercise 10.4: interval bounds of a network · easy · 10 minutes · 3 points
#
# Send a box through a network: linear layers with a ReLU after each *but the last*, whose outputs are the logits.
#
# <details><summary>Hint</summary>
# A loop over the layers. In each: the box through the linear layer, as in 10.2; then, if it is not the last, both ends through the ReLU: <code>.clamp(min=0)</code>. You may call a function of your own.
# </details>

# %% solution="interval_network"
def interval_network(layers: list, lower: torch.Tensor,
                     upper: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Interval bounds of the logits of a network over the box lower <= x <= upper.

    layers: pairs (weight, bias), weight (m, n), bias (m,), at least one pair; a ReLU follows each but
    the last. lower, upper: (n,) of the first layer. Returns two tensors (K,), the lower and the upper
    ends of the logits, in the dtype of the weights.
    """
    ### BEGIN SOLUTION
    for i, (weight, bias) in enumerate(layers):
        if i > 0:
            lower, upper = lower.clamp(min=0), upper.clamp(min=0)
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        lower, upper = plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias
    return (lower, upper)
    ### END SOLUTION

# %% test="interval_network" points=3
# Run this cell to check your interval_network. (The dots unfold it: what is tried, and what is expected.)
import itertools
import math
import torch
from coursekit import checks
from coursekit.certify import relaxations
from coursekit.checks import expect
from coursekit.perturbations import LpBall

exercise = checks.Exercise("interval_network", points=3, by_hand=["coursekit.certify.relaxations.bounds", "coursekit.certify.relaxations.least",
                                                                  "coursekit.certify.relaxations.interval.outputs",
                                                                  "coursekit.certify.relaxations.interval.through"])

def ends(got, size, dtype=None):
    """Two tensors (size,) in one."""
    if not (isinstance(got, torch.Tensor) and got.shape == (2, size)):
        two = isinstance(got, (list, tuple)) and len(got) == 2
        expect.that(two, got, "two tensors, the lower and the upper ends", "Did you forget a return?" if got is None else "Return lower, upper.")
        got = torch.stack([expect.tensor(end, shape=(size,), dtype=dtype, shape_hint="Each of the two has one value for each output.") for end in got])
    return expect.tensor(got, dtype=dtype)

def compare(got, right, hint="", mistakes=None):
    """Both ends at once; says which entry of which end is wrong."""
    if not expect.same(got, right):
        hint = next((why for why, value in (mistakes or {}).items() if expect.same(got, value)), hint)
    for name, end, wanted in zip(("lower", "upper"), got, right):
        at = int((end.double() - wanted.double()).abs().argmax())
        expect.that(expect.same(end, wanted), f"{name}[{at}] = {end[at].item():.4g}", f"{name}[{at}] = {wanted[at].item():.4g}", hint)

@exercise.case("one layer: its outputs are the logits, no ReLU behind them")
def _(interval_network):
    layer = torch.tensor([[1.0, -1.0], [-2.0, 0.5]]), torch.tensor([0.0, 1.0])
    got = ends(interval_network([layer], torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0])), 2)
    compare(got, torch.tensor([[-3.0, -0.5], [0.0, 2.5]]), mistakes={
        "lower is overwritten before upper uses it: upper needs the old one. Compute both, then assign.": torch.tensor([[-3.0, -0.5], [1.5, 8.5]]),
        "A ReLU follows the last layer. Logits may be below 0.": torch.tensor([[0.0, 0.0], [0.0, 2.5]]),
        "These are weight @ lower and weight @ upper. A negative weight makes its term smallest at the upper end.": torch.tensor([[-1.0, 1.5], [-2.0, 0.5]]),
        "Upper and lower ends are swapped.": torch.tensor([[0.0, 2.5], [-3.0, -0.5]]),
    }, hint="The box through one linear layer, as in 10.2.")

@exercise.case("two layers, by hand", hint="If sizes do not fit: is lower overwritten before upper uses it? Compute both, then assign.")
def _(interval_network):
    first = torch.tensor([[-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]), torch.tensor([0.0, 0.5, -2.0])
    second = torch.tensor([[1.0, -1.0, 2.0], [-2.0, 1.0, -1.0]]), torch.tensor([0.0, 3.0])
    got = ends(interval_network([first, second], torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 2.0])), 2)
    # In front of the ReLU [-1, 3], [-2.5, 1.5] and [-5, -1], behind it [0, 3], [0, 1.5] and 0.
    compare(got, torch.tensor([[-1.5, -3.0], [3.0, 4.5]]), mistakes={
        "There is no ReLU between the layers.": torch.tensor([[-12.5, -4.5], [3.5, 11.5]]),
        "Only the upper ends go through the ReLU. It takes both.": torch.tensor([[-12.5, -5.5], [5.5, 11.5]]),
        "Only the lower ends go through the ReLU. The upper end of a neuron that is always off is below 0, too.": torch.tensor([[-1.5, -2.0], [1.0, 4.5]]),
        "A ReLU stands in front of the first layer. The box of the image goes into it as it is.": torch.tensor([[-1.5, -1.0], [2.0, 4.5]]),
        "A ReLU follows the last layer. Logits may be below 0.": torch.tensor([[0.0, 0.0], [3.0, 4.5]]),
        "The biases are missing.": torch.tensor([[-1.0, -7.0], [5.0, 1.0]]),
        "The weights are taken as if they were above 0: negative ones need the other end.": torch.tensor([[1.0, 1.0], [1.0, 1.0]]),
    }, hint="In front of the ReLU: [-1, 3], [-2.5, 1.5] and [-5, -1]. Behind it: [0, 3], [0, 1.5] and 0. Then the second layer.")

@exercise.case("a random network of three layers: no point of the box leaves the bounds, and they are those of intervals; the arguments stay as they were")
def _(interval_network):
    sizes = (3, 6, 5, 4)
    layers = [(torch.randn(m, n), torch.randn(m)) for n, m in itertools.pairwise(sizes)]
    point = torch.randn(3)
    low, high = ends(interval_network(layers, point - 0.3, point + 0.3), 4)
    h = point + 0.3 * (2 * torch.rand(2000, 3) - 1)
    for i, (weight, bias) in enumerate(layers):
        h = (h.relu() if i else h) @ weight.T + bias
    outside = float(torch.maximum(low - h.amin(0), h.amax(0) - high).max())
    expect.that(outside < 1e-4, f"a logit {outside:.3g} outside of the bounds", "all logits within", "Not sound. Are both ends right in every layer?")
    expect.unchanged(interval_network)
    parts = [part for layer in layers for part in (("linear", *layer), ("relu",))][:-1]

    def box(*parts):
        ball = LpBall(0.3, math.inf, (-math.inf, math.inf))
        return torch.cat(relaxations.bounds(checks.network(*parts).build(), point[None], ball, "interval")).detach()

    compare(torch.stack([low, high]), box(*parts), mistakes={
        "A ReLU stands in front of the first layer. The box of the image goes into it as it is.": box(("relu",), *parts),
    }, hint="Sound, but these are not the ends that interval arithmetic gives: a box through each layer.")

@exercise.case("a box that is a point", hint="There both ends are the logits.")
def _(interval_network):
    layers = [(torch.tensor([[1.0], [-1.0]]), torch.tensor([0.0, 0.5])), (torch.tensor([[2.0, 3.0]]), torch.tensor([-1.0]))]
    compare(ends(interval_network(layers, torch.tensor([0.25]), torch.tensor([0.25])), 1, torch.float32), torch.tensor([[0.25], [0.25]]))

### BEGIN HIDDEN TESTS
@exercise.case("deeper networks of other widths, in float64", hint="Any number of layers, a ReLU between them and none at the end.", hidden=True)
def _(interval_network):
    for sizes in ((2, 3, 4, 3, 2), (5, 1, 7), (4, 6)):
        layers = [(torch.randn(m, n, dtype=torch.float64), torch.randn(m, dtype=torch.float64)) for n, m in itertools.pairwise(sizes)]
        lower = torch.randn(sizes[0], dtype=torch.float64)
        upper = lower + torch.rand(sizes[0], dtype=torch.float64)
        got = ends(interval_network(layers, lower, upper), sizes[-1], torch.float64)
        for i, (weight, bias) in enumerate(layers):
            low, high = (lower, upper) if i == 0 else (lower.relu(), upper.relu())
            terms = torch.stack([weight * low, weight * high])
            lower, upper = terms.amin(0).sum(1) + bias, terms.amax(0).sum(1) + bias
        compare(got, torch.stack([lower, upper]))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Predict, then reveal
#
# Here is a network with two convolutions that was adversarially trained at ε = 0.1. PGD at ε = 0.05 leaves nearly all of its digits right. **Of 100 digits, for how many do intervals prove at ε = 0.05 that no attack succeeds?**

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="intervals-of-a-robust-network"
robust_cnn = coursekit.models.load("mnist_cnn", training="pgd", eps=0.1)
ball = LpBall(0.05, math.inf)
x_adv = attacks.pgd(robust_cnn, x, y, ball, steps=10, generator=torch.Generator().manual_seed(0))
survived = int((robust_cnn(x_adv).argmax(dim=1) == y).sum())
by_intervals = int(relaxations.certified(robust_cnn, x, y, ball, "interval").sum())
box = relaxations.bounds(robust_cnn, x[:1], ball, "interval")
checks.reveal(my_guess, f"{by_intervals} of 100",
              f"PGD leaves {survived} right. The logits of the first digit lie within about {robust_cnn(x[:1]).abs().max().item():.0f} of 0;\n"
              f"the interval of its own class goes from {box.lower[0, y[0]].item():.0f} to {box.upper[0, y[0]].item():.0f}. That proves nothing about anything.")

# %% [markdown]
# ## 10.5 Put the question into the last layer
#
# One loss can be avoided at once. To compare two classes we need the lead $z_y - z_j$, not the two logits. Taken from their intervals it is at least $l_y - u_j$: the one at its lowest, the other at its highest, although both come from the *same* neurons. But the last layer is linear, and so is the question. Put them together,
#
# $$z_y - z_j = (\mathbf w_y - \mathbf w_j)^\top \mathbf h + (b_y - b_j),$$
#
# and bound this *one* linear function over the box of $\mathbf h$. Where both classes use a neuron alike, it now cancels, as it should. (Gowal et al. 2018 call it the elision of the last layer.)
#
# ### Exercise 10.5: the smallest leads · medium · 10 minutes · 3 points
#
# From the box of the last hidden layer, compute a lower bound of the lead of $y$ over every class.
#
# <details><summary>Hint</summary>
# <code>weight[y] - weight</code> has in row j the weights of the lead over class j. The rest is the lower end of 10.2.
# </details>

# %% solution="smallest_leads"
def smallest_leads(weight: torch.Tensor, bias: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor,
                   y: int) -> torch.Tensor:
    """For each class j the smallest z_y - z_j over the box lower <= h <= upper; z = weight @ h + bias.

    weight: (K, n). bias: (K,). lower, upper: (n,), of any signs. y: the class, from 0 to K - 1.
    Returns (K,), in the dtype of the weights; the lead over y itself is 0.
    """
    ### BEGIN SOLUTION
    rows, shift = weight[y] - weight, bias[y] - bias
    return rows.clamp(min=0) @ lower + rows.clamp(max=0) @ upper + shift
    ### END SOLUTION

# %% test="smallest_leads" points=3
# Run this cell to check your smallest_leads. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("smallest_leads", points=3, by_hand=["coursekit.certify.relaxations.worst_case_logits", "coursekit.certify.relaxations.least",
                                                                "coursekit.certify.relaxations.interval.differences"])

def one_per_class(got, classes, dtype=None):
    """The leads, (classes,)."""
    pair = isinstance(got, (tuple, list)) and len(got) == 2
    expect.that(not pair, got, f"one tensor of shape ({classes},)", "These are both ends. Asked for are the smallest leads alone.")
    return expect.tensor(got, shape=(classes,), dtype=dtype, hint="The lead of y over itself is z_y - z_y = 0, not infinite.",
                         shape_hint="One lead for each class: that of y over itself is among them, and is 0.")

@exercise.case("two classes that use a neuron alike: it cancels")
def _(smallest_leads):
    weight, bias = torch.tensor([[1.0, 2.0], [1.0, -1.0]]), torch.tensor([0.5, 0.0])
    lower, upper = torch.tensor([0.0, 1.0]), torch.tensor([4.0, 2.0])
    expect.close(one_per_class(smallest_leads(weight, bias, lower, upper, 0), 2, torch.float32), torch.tensor([0.0, 3.5]), mistakes={
        "These are the smallest leads of the others over y, z_j - z_y. The sign is the other way round: z_y - z_j.": torch.tensor([0.0, -6.5]),
        "This is the lower end of z_y minus the upper end of z_j: each logit at its own worst, at two different places. Put the question into the weights first.":
            torch.tensor([-6.0, -0.5]),
        "The lead over class 1 is the lower end of z_y minus the upper end of z_j, at two different places. Put the question into the weights first.":
            torch.tensor([0.0, -0.5]),
        "That is right for class 1, but the lead of y over itself is 0, whatever h is.": torch.tensor([-6.0, 3.5]),
        "These are the largest values of z_j - z_y. The sign is the other way round.": torch.tensor([0.0, -3.5]),
        "These are the largest leads. Certified is what the smallest ones say.": torch.tensor([0.0, 6.5]),
        "The biases are missing: the lead has b_y - b_j.": torch.tensor([0.0, 3.0]),
    }, hint="z_0 - z_1 = 3 h_2 + 0.5, and h_2 is at least 1.")

@exercise.case("three classes, leads with weights of both signs")
def _(smallest_leads):
    weight = torch.tensor([[2.0, -1.0], [0.0, 1.0], [1.0, 1.0]])
    bias, lower, upper = torch.tensor([0.0, 1.0, -1.0]), torch.tensor([0.0, -1.0]), torch.tensor([1.0, 2.0])
    expect.close(one_per_class(smallest_leads(weight, bias, lower, upper, 1), 3), torch.tensor([-3.0, 0.0, 1.0]), mistakes={
        "A ReLU has slipped in: the box is that of h itself, and may reach below 0.": torch.tensor([-1.0, 0.0, 1.0]),
        "A lead below 0 is cut off. Below 0 means that nothing is proven, and by how much.": torch.tensor([0.0, 0.0, 1.0]),
        "The lead is that of class 0. y says whose lead it is.": torch.tensor([0.0, -5.0, -3.0]),
        "The worst corner takes the lower end where the weight of the lead is above 0, and the upper end where it is below.": torch.tensor([-1.0, 0.0, 2.0]),
        "These are the leads of the others over y, z_j - z_y.": torch.tensor([-5.0, 0.0, -2.0]),
        "These are the largest leads.": torch.tensor([5.0, 0.0, 2.0]),
    }, hint="z_1 - z_0 = -2 h_1 + 2 h_2 + 1, z_1 - z_2 = -h_1 + 2.")

@exercise.case("no corner of the box has a smaller lead, and one reaches it")
def _(smallest_leads):
    weight, bias, lower = torch.randn(5, 4), torch.randn(5), torch.randn(4)
    upper = lower + torch.rand(4)
    logits = torch.cartesian_prod(*[torch.tensor([a, b]) for a, b in zip(lower.tolist(), upper.tolist())]) @ weight.T + bias
    for y in (0, 3):
        leads = one_per_class(smallest_leads(weight, bias, lower, upper, y), 5)
        true = (logits[:, y, None] - logits).amin(0)
        expect.that(bool((leads < true + 1e-4).all()), f"a lead that is {float((leads - true).max()):.3g} larger than at a corner", "never larger",
                    "Not sound: some corner has a smaller lead.")
        expect.close(leads, true, hint="Sound, but looser than need be: bound the lead itself, not two logits.")
    expect.unchanged(smallest_leads)

### BEGIN HIDDEN TESTS
@exercise.case("other numbers of classes, in float64", hint="Any number of classes and neurons, any y, in the dtype of the weights.", hidden=True)
def _(smallest_leads):
    for classes, neurons in ((2, 1), (10, 6)):
        weight, bias = torch.randn(classes, neurons, dtype=torch.float64), torch.randn(classes, dtype=torch.float64)
        lower = torch.randn(neurons, dtype=torch.float64)
        upper = lower + torch.rand(neurons, dtype=torch.float64)
        for y in (0, classes - 1):
            rows = weight[y] - weight
            true = torch.minimum(rows * lower, rows * upper).sum(1) + bias[y] - bias
            expect.close(one_per_class(smallest_leads(weight, bias, lower, upper, y), classes, torch.float64), true)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# How much is it worth? Digits of the small network that intervals prove, with the two logits compared by their intervals, and with the question in the last layer:

# %% demo="elision"
for eps in (0.005, 0.01, 0.015, 0.02):
    ball = LpBall(eps, math.inf)
    lower, upper = (end.detach() for end in relaxations.bounds(small_pgd, x, ball, "interval"))
    others = upper.scatter(1, y[:, None], -math.inf).amax(dim=1)
    apart = int((lower.gather(1, y[:, None]).squeeze(1) > others).sum())
    asked = int(relaxations.certified(small_pgd, x, y, ball, "interval").sum())
    print(f"ε = {eps}: {apart:3d} of 100 by two intervals, {asked:3d} with the question in the last layer")

# %% [markdown]
# Better, and still soon at its end: the boxes of the hidden layers have lost too much by then. We need a method that keeps in mind how neurons hang together.
#
# ## 10.6 Two lines for a ReLU
#
# All that is not linear in the network is the ReLU. Say that we know $z \in [l, u]$ in front of it. If $l \ge 0$ it is the line $a = z$, if $u \le 0$ it is $a = 0$: no loss at all. Only an *open* ReLU, $l < 0 < u$, is a problem. It has a kink, and we replace it by **two lines, one that it never exceeds and one that it never falls below**:
#
# $$\alpha z \;\le\; \max(z, 0) \;\le\; s\,z + t \qquad\text{for all } z \in [l, u].$$
#
# Above, the best line is the chord through $(l, 0)$ and $(u, u)$: from it follow $s$ and $t$. Below, every line through 0 with a slope $\alpha$ from 0 to 1 will do. CROWN takes one of the two ends: $\alpha = 1$ if $u > -l$, else $\alpha = 0$, whichever leaves the smaller region.

# %% demo="relu-relaxations"
plots.relu_relaxations([(-1.0, 2.0), (-2.0, 1.0)])

# %% [markdown]
# The third column, the triangle, comes in 10.8. Note that in the first row the region between the two lines reaches below 0, which the box does not: two lines are not better than a box in every place.
#
# ### Exercise 10.6: the lines of a layer of ReLUs · medium · 15 minutes · 4 points
#
# Compute slope and offset of the line above, and the slope of the line below, for every neuron of a layer.
#
# <details><summary>Hint 1</summary>
# The chord rises by u on its way from l to u, so its slope is u / (u - l). It is 0 at z = l: solve s l + t = 0 for t.
# </details>
# <details><summary>Hint 2</summary>
# <code>torch.where(condition, a, b)</code> chooses neuron by neuron. It computes both, though, so a division by zero in the one that is not taken can still leave a NaN in gradients, or in the result if you multiply: divide by <code>torch.where(open, upper - lower, 1.0)</code>.
# </details>

# %% solution="relu_lines"
def relu_lines(lower: torch.Tensor, upper: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lines with slope_below * z <= relu(z) <= slope_above * z + offset for every z in [lower, upper].

    lower, upper: (n,), lower <= upper. Where lower < 0 < upper: above the chord, below the slope 1
    if upper > -lower, else 0. Where lower >= 0 both lines are z itself; where upper <= 0 (and
    lower < 0) both are 0.
    Returns slope_above, offset, slope_below, each (n,), like lower; no NaN, also where lower = upper.
    """
    ### BEGIN SOLUTION
    always, crossing = lower >= 0, (lower < 0) & (upper > 0)
    slope_above = torch.where(crossing, upper / torch.where(crossing, upper - lower, 1.0), always.to(lower.dtype))
    offset = torch.where(crossing, -slope_above * lower, 0.0)
    slope_below = (always | (crossing & (upper > -lower))).to(lower.dtype)
    return slope_above, offset, slope_below
    ### END SOLUTION

# %% test="relu_lines" points=4
# Run this cell to check your relu_lines. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("relu_lines", points=4)

def lines(got, like, strict=False):
    """slope_above, offset, slope_below in the dtype of `like`; strict: they must have come in it."""
    three = (isinstance(got, (list, tuple)) and len(got) == 3) or (isinstance(got, torch.Tensor) and got.shape == (3, *like.shape))
    expect.that(three, got, "three tensors: slope_above, offset, slope_below", "Did you forget a return?" if got is None else "Return all three, in this order.")
    found = []
    for name, one in zip(("slope_above", "offset", "slope_below"), got):
        one = expect.tensor(one, shape=tuple(like.shape), hint=f"In {name}: where lower = upper, what do you divide by?",
                            shape_hint=f"{name} has one value for each neuron.")
        expect.that(not strict or one.dtype == like.dtype, f"{name} of dtype {one.dtype}".replace("torch.", ""),
                    f"dtype {like.dtype}".replace("torch.", ""), f"A comparison gives booleans, where(..., 1, 0) whole numbers: {name}.to(lower.dtype).")
        found.append(one.to(like.dtype))
    return found

@exercise.case("above an open ReLU: the chord")
def _(relu_lines):
    lower, upper = torch.tensor([-1.0, -3.0, -2.0]), torch.tensor([3.0, 1.0, 0.5])
    slope, offset, _ = lines(relu_lines(lower, upper), lower)
    expect.close(slope, torch.tensor([0.75, 0.25, 0.2]), mistakes={
        "The chord rises by u over a length of u - l: divide by the length, which is more than u as l is below 0.": upper / (upper + lower),
        "This is the length over the rise. The slope is the rise over the length.": (upper - lower) / upper,
        "This is -l / (u - l): the share of the way to 0. The slope is u / (u - l).": -lower / (upper - lower),
        "This is the slope of the line below. The order is slope_above, offset, slope_below.": torch.tensor([1.0, 0.0, 0.0]),
        "This is the offset. The order is slope_above, offset, slope_below.": torch.tensor([0.75, 0.75, 0.4]),
        "This is the ReLU's own slope for z > 0. The line has to stay above it for z < 0, too.": torch.ones(3),
    }, hint="The chord goes from (l, 0) to (u, u).")
    expect.close(offset, torch.tensor([0.75, 0.75, 0.4]), mistakes={
        "The sign of the offset is wrong: s l + t = 0 and l is below 0, so t is above 0.": torch.tensor([-0.75, -0.75, -0.4]),
        "This is the slope of the line below. The order is slope_above, offset, slope_below.": torch.tensor([1.0, 0.0, 0.0]),
        "This is -l. The line is s z + t, and t = -s l.": -lower,
        "This is u: the height of the chord at its right end, not at z = 0.": upper,
        "The offset is missing: without it the chord does not go through (l, 0).": torch.zeros(3),
    }, hint="The line s z + t is 0 at z = l: t = -s l.")

@exercise.case("below an open ReLU: slope 1 if u > -l, else 0")
def _(relu_lines):
    lower, upper = torch.tensor([-1.0, -3.0, -2.0, -0.4]), torch.tensor([3.0, 1.0, 0.5, 0.5])
    _, _, below = lines(relu_lines(lower, upper), lower)
    expect.close(below, torch.tensor([1.0, 0.0, 0.0, 1.0]), mistakes={
        "It is the other way round: slope 1 where the positive part is the longer one, u > -l.": torch.tensor([0.0, 1.0, 1.0, 0.0]),
        "The slope is 0 everywhere. Sound, but where u > -l the slope 1 leaves a smaller region.": torch.zeros(4),
        "The slope is 1 everywhere. Sound, but where u < -l the slope 0 leaves a smaller region.": torch.ones(4),
        "This is the chord's slope. A line through 0 with it is sound, too; asked for is 0 or 1.": upper / (upper - lower),
    }, hint="Compare u with -l, neuron by neuron.")

@exercise.case("always on, always off, at the borders, and known: no loss and no NaN")
def _(relu_lines):
    lower, upper = torch.tensor([0.5, -2.0, 0.0, -1.0, 2.0, -2.0]), torch.tensor([2.0, -0.5, 1.0, 0.0, 2.0, -2.0])
    slope, offset, below = lines(relu_lines(lower, upper), lower)
    on = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    hint = "Where l >= 0 the ReLU is z: slopes 1, offset 0. Where u <= 0 it is 0: slopes and offset 0."
    everywhere = expect.same(slope[:2], (upper / (upper - lower))[:2])
    expect.close(slope, on, hint="The formula of the chord is for open ReLUs only. " * everywhere + hint)
    expect.close(offset, torch.zeros(6), hint=hint)
    expect.close(below, on, hint=hint)

@exercise.case("an interval that is the point 0")
def _(relu_lines):
    lower = torch.tensor([0.0, 1.0])
    _, offset, _ = lines(relu_lines(lower, lower.clone()), lower)
    expect.close(offset, torch.zeros(2), hint="At z = 0 the ReLU is 0: no offset.")

@exercise.case("the ReLU stays between its lines, in float64, too; the arguments are left as they were")
def _(relu_lines):
    lower = torch.randn(200, dtype=torch.float64)
    upper = lower + 2 * torch.rand(200, dtype=torch.float64)
    slope, offset, below = lines(relu_lines(lower, upper), lower, strict=True)
    z = lower + torch.linspace(0, 1, 21)[:, None] * (upper - lower)
    over, under = float((z.relu() - slope * z - offset).max()), float((below * z - z.relu()).max())
    expect.that(over < 1e-5, f"a ReLU {over:.3g} above its upper line", "never above", "Not sound: look at the line above at both ends, l and u.")
    expect.that(under < 1e-5, f"a ReLU {under:.3g} below its lower line", "never below", "Not sound: where may the slope below be 1, where 0?")
    expect.unchanged(relu_lines)

### BEGIN HIDDEN TESTS
@exercise.case("many neurons, in float64", hint="Open, always on, always off: each neuron for itself.", hidden=True)
def _(relu_lines):
    lower = torch.randn(300, dtype=torch.float64)
    upper = lower + torch.rand(300, dtype=torch.float64)
    slope, offset, below = lines(relu_lines(lower, upper), lower)
    low, high = lower.tolist(), upper.tolist()
    chord = [h / (h - l) if l < 0 < h else float(l >= 0) for l, h in zip(low, high)]
    shift = [-l * h / (h - l) if l < 0 < h else 0.0 for l, h in zip(low, high)]
    foot = [float(h > -l) if l < 0 < h else float(l >= 0) for l, h in zip(low, high)]
    for got, right in zip((slope, offset, below), (chord, shift, foot)):
        expect.close(got, torch.tensor(right, dtype=torch.float64))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 10.7 CROWN: carry the question back
#
# Now intervals would push a box forwards and forget. CROWN goes the other way. It takes the question, a *linear function of the logits*, and carries it backwards through the network, all the time as one linear function of the neurons. Nothing is forgotten: where two paths from the same neuron meet, their weights add up, and $x - x$ is 0.
#
# For a network with one hidden layer, $\mathbf z = W_1\mathbf x + \mathbf b_1$, $\mathbf a = \max(\mathbf z, 0)$, output $W_2\mathbf a + \mathbf b_2$, a lower bound of output $k$ takes four steps.
#
# 1. Bounds $\mathbf l, \mathbf u$ of $\mathbf z$: of a single linear layer over the box, exact by 10.2.
# 2. Backwards through the ReLU. The output is $\sum_i w_i a_i + b$ with the weights $w_i$ of row $k$ of $W_2$. A neuron with $w_i \ge 0$ makes the output small if it is small itself: put the line *below* in its place, $w_i \alpha_i z_i$. A neuron with $w_i < 0$ makes it small if it is large: put the line *above*, $w_i (s_i z_i + t_i)$. So with $\mathbf w^+ = \max(\mathbf w, 0)$ and $\mathbf w^- = \min(\mathbf w, 0)$
# $$\text{output} \;\ge\; \sum_i \big(w_i^+\alpha_i + w_i^- s_i\big)\, z_i \;+\; \sum_i w_i^- t_i \;+\; b .$$
# 3. Backwards through the linear layer: put in $\mathbf z = W_1\mathbf x + \mathbf b_1$ and collect. What arrives is one linear function $\mathbf g^\top\tilde{\mathbf x} + c$ of the image.
# 4. Its smallest value over the box you know: $\mathbf g^\top\mathbf x + c - \epsilon\lVert\mathbf g\rVert_1$.
#
# ### Exercise 10.7: CROWN with one hidden layer · hard · 20 minutes · 5 points
#
# Write the four steps, for all outputs at once. (Leave the image range aside: the box is $[\mathbf x - \epsilon, \mathbf x + \epsilon]$.)
#
# <details><summary>Hint 1</summary>
# Step 2 for all rows at once: split <code>w2</code> into <code>plus</code> and <code>minus</code>, its parts above and below 0. Each multiplies the slopes of one of the two lines, and only one of them meets an offset. What stands before <code>z</code> has the shape (K, n).
# </details>
# <details><summary>Hint 2</summary>
# <code>rows = plus * below + minus * slope</code>, and the constant <code>minus @ offset + b2</code>. Step 3 then needs <code>rows @ w1</code> and <code>rows @ b1</code>.
# </details>
# <details><summary>Hint 3</summary>
# For a box the L1 norm decides, row by row: <code>g.abs().sum(dim=1)</code>. Compare assignment 03: in an L-inf ball a linear function changes by at most eps times its L1 norm.
# </details>

# %% solution="crown_lower"
def crown_lower(w1: torch.Tensor, b1: torch.Tensor, w2: torch.Tensor, b2: torch.Tensor, x: torch.Tensor,
                eps: float) -> torch.Tensor:
    """CROWN's lower bounds of w2 @ relu(w1 @ x~ + b1) + b2, for |x~ - x| <= eps in each entry.

    w1: (n, d), b1: (n,), w2: (K, n), b2: (K,), x: (d,). eps: 0 or more. Bounds of the neurons: the
    exact ones of the first layer. Above an open ReLU the chord, below the slope 1 if u > -l, else 0;
    at a tie either. Returns (K,), in the dtype of the weights.
    """
    ### BEGIN SOLUTION
    middle, spread = w1 @ x + b1, eps * w1.abs().sum(dim=1)
    low, high = middle - spread, middle + spread
    crossing = (low < 0) & (high > 0)
    on = (low >= 0).to(x.dtype)
    chord = torch.where(crossing, high / torch.where(crossing, high - low, 1.0), on)
    foot = torch.where(crossing, (high > -low).to(x.dtype), on)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    neurons = plus * foot + minus * chord
    constants = minus @ torch.where(crossing, -chord * low, 0.0) + neurons @ b1 + b2
    pixels = neurons @ w1
    return pixels @ x + constants - eps * pixels.abs().sum(dim=1)
    ### END SOLUTION

# %% test="crown_lower" points=5
# Run this cell to check your crown_lower. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.certify.layers import layers
from coursekit.certify.relaxations.crown import Walk
from coursekit.certify.relaxations.region import Region
from coursekit.checks import expect
from coursekit.perturbations import LpBall

exercise = checks.Exercise("crown_lower", points=5, by_hand=["coursekit.certify.relaxations.bounds", "coursekit.certify.relaxations.least",
                           "coursekit.certify.relaxations.worst_case_logits", "coursekit.certify.relaxations.crown.Walk.least"])

def reference(w1, b1, w2, b2, x, eps):
    """The same four steps, by the package."""
    net = checks.network(("linear", w1, b1), ("relu",), ("linear", w2, b2)).build()
    walk = Walk(layers(net), Region.of(x[None], LpBall(eps, math.inf, (-math.inf, math.inf))))
    return walk.least(torch.eye(len(b2), dtype=x.dtype)[None], 3)[0].detach()

def random(n_in, hidden, outputs, dtype=torch.float32):
    return [torch.randn(*shape, dtype=dtype) for shape in ((hidden, n_in), (hidden,), (outputs, hidden), (outputs,), (n_in,))]

SHAPE = "One bound for each output, (K,): sums go along dim=1, over the pixels or neurons of each row."

@exercise.case("by hand: three neurons, all open")
def _(crown_lower):
    w1, b1 = torch.tensor([[2.0, -2.0], [1.0, 1.0], [-1.0, 2.0]]), torch.tensor([0.0, -0.5, -0.5])
    w2, b2 = torch.tensor([[1.0, -2.0, 1.0], [1.0, -1.0, -1.0]]), torch.tensor([0.5, -1.0])
    # In front of the ReLUs [-2, 6], [-1.5, 2.5], [-4.5, 1.5]: chords 3/4 z + 3/2, 5/8 z + 15/16, 1/4 z + 9/8, slopes below 1, 1, 0.
    narrow = "The bounds of the neurons are too narrow: the radius is eps * sum |w1|, along each row. "
    expect.close(crown_lower(w1, b1, w2, b2, torch.tensor([1.0, 0.0]), 1.0), torch.tensor([-4.0, -5.75]), shape_hint=SHAPE, mistakes={
        narrow + "You take eps itself.": torch.tensor([-3.0, -3.75]),
        narrow + "The two ends of the box are not the two ends of a neuron, and weights do not cancel.": torch.tensor([-4.0, -4.25]),
        narrow + "You take the L2 norm of the row.": torch.tensor([-3.41421, -4.81891]),
        narrow + "You take the largest entry of the row.": torch.tensor([-3.0, -4.375]),
        "b1 is missing in the bounds of the neurons: their middle is w1 @ x + b1.": torch.tensor([-3.75, -5.95833]),
        "Where a neuron's weight is above 0 you take the chord. It lies above the ReLU; a lower bound needs the line below there. Not sound.":
            torch.tensor([-0.5, -3.75]),
        "Where a neuron's weight is below 0 you take the line below, too. Such a neuron makes the output small by being large: the chord. Not sound.":
            torch.tensor([-2.5, -3.5]),
        "The lines are exchanged: a weight above 0 needs the line below, one below 0 the chord. Not sound.": torch.tensor([-0.5, -1.5]),
        "This is the smallest output at the corners of the box. Between them the network may be lower, so it is no proof.": torch.tensor([-2.5, -3.0]),
        "These are the bounds of intervals. CROWN goes backwards: collect one linear function of x first.": torch.tensor([-4.5, -5.0]),
        "This is the better of CROWN and intervals, tighter than CROWN alone: only its four steps are asked for.": torch.tensor([-4.0, -5.0]),
        "The slope below is 0 everywhere. Where u > -l it is 1.": torch.tensor([-4.5, -4.5]),
        "The slope below is 1 everywhere. Where u < -l it is 0.": torch.tensor([-3.0, -5.75]),
        "The slope below is the wrong way round: 1 where u > -l, else 0.": torch.tensor([-6.5, -4.5]),
        "The slope below is that of the chord. It is 1 where u > -l, else 0.": torch.tensor([-3.125, -5.25]),
        "The offsets of the chords are missing: the line above is s z + t.": torch.tensor([-2.125, -3.6875]),
        "The offsets of the chords have the wrong sign: a weight below 0 times an offset above 0 is below 0.": torch.tensor([-0.25, -1.625]),
        "The offsets meet all of w2. Only the line above has an offset, and it is taken where the weight is below 0.": torch.tensor([-1.375, -4.25]),
        "b1 meets w2. What stands before z in step 2 comes before b1, slopes and all: rows @ b1.": torch.tensor([-4.125, -5.1875]),
        "b1 is missing in step 3: what stands before z comes before b1, too.": torch.tensor([-4.625, -6.1875]),
        "b1 is missing, in the bounds of the neurons and in step 3.": torch.tensor([-4.5, -6.5]),
        "b2 is missing.": torch.tensor([-4.5, -4.75]),
        "Step 3 is missing: each neuron is at its worst for itself, in [l, u]. Put in z = w1 @ x + b1 first, so that paths can cancel.": torch.tensor([-6.5, -7.0]),
        "The last step takes the L2 norm. In a box every pixel moves by itself: the L1 norm.": torch.tensor([-3.33542, -4.52225]),
        "The last step takes the largest entry. In a box every pixel moves by itself: the sum of all absolute values, the L1 norm.": torch.tensor([-3.25, -4.125]),
        "The last step adds up all rows together. Each output has an L1 norm of its own: sum(dim=1).": torch.tensor([-8.75, -9.75]),
        "The last step adds up columns. Each output has the L1 norm of its own row: sum(dim=1).": torch.tensor([-2.375, -7.375]),
        "This is the largest value of the linear function. A lower bound needs minus eps times its norm.": torch.tensor([4.0, 3.75]),
        "These are upper bounds. For a lower one a weight above 0 takes the line below, and the last step subtracts.": torch.tensor([7.0, 4.5]),
        "This is the linear function at x. Its smallest value over the box is lower by eps times its L1 norm.": torch.tensor([0.0, -1.0]),
        "The entries are added up with their signs. In a box each takes its worst end: absolute values.": torch.tensor([2.5, 0.5]),
    }, hint="For the first output: 1 * z_1 from below, -2 * (5/8 z_2 + 15/16) from above, 1 * 0 from below, plus 1/2. Then put in z = w1 @ x + b1.")

@exercise.case("no open ReLU: a linear function, whose smallest value is exact")
def _(crown_lower):
    w1, b1 = torch.tensor([[1.0, -2.0], [0.5, 1.0], [2.0, 1.0]]), torch.tensor([5.0, -6.0, 4.0])
    w2, b2 = torch.tensor([[1.0, 3.0, -1.0]]), torch.tensor([0.5])
    # On, off, on: z_1 - z_3 + 1/2 = -x_1 - 3 x_2 + 3/2.
    expect.close(crown_lower(w1, b1, w2, b2, torch.tensor([0.5, -0.5]), 0.25), torch.tensor([1.5]), shape_hint=SHAPE,
                 hint="Here no ReLU is open: the first and the third are z, the second is 0. Their lines have no offset.")

@exercise.case("where two paths meet they cancel: x - x is 0")
def _(crown_lower):
    w1, b1, w2 = torch.tensor([[1.0], [1.0]]), torch.tensor([2.0, 2.0]), torch.tensor([[1.0, -1.0]])
    expect.close(crown_lower(w1, b1, w2, torch.zeros(1), torch.tensor([0.5]), 1.0), torch.zeros(1), mistakes={
        "These are the bounds of intervals, which do not know that both neurons are the same. Collect the function of x first, then take its smallest value.":
            torch.tensor([-2.0])}, hint="Both neurons are x + 2, always on; their difference is 0 everywhere.")

@exercise.case("random networks: the four steps, and no point of the box below the bound")
def _(crown_lower):
    for hidden, eps in ((6, 0.3), (9, 0.8)):
        w1, b1, w2, b2, x = random(3, hidden, 4)
        bound = expect.tensor(crown_lower(w1, b1, w2, b2, x, eps), shape=(4,), dtype=torch.float32, shape_hint=SHAPE)
        points = x + eps * torch.cat([2 * torch.rand(2000, 3) - 1, torch.randn(200, 3).sign()])
        reached = ((points @ w1.T + b1).relu() @ w2.T + b2).amin(0)
        gap = float((bound - reached).max())
        expect.that(gap < 1e-4, f"an output {gap:.3g} below its lower bound", "no output below", "Not sound. Are l and u wide enough? Which line does a weight above 0 need, which one below 0?")
        right = reference(w1, b1, w2, b2, x, eps)
        above = bool((bound > right + 1e-4).any())
        expect.close(bound, right, hint="Larger than CROWN's bound: no sample contradicts it, but the four steps do not prove it. Are l and u the exact ends, "
                     "eps * sum |w1| from the middle? Is the slope below 1 only where u > -l?" if above else "Sound, but not CROWN's bound: are the lines the chord, and slope 1 or 0 below?")

@exercise.case("eps = 0 gives the outputs; the arguments are left as they were", hint="With eps = 0 nothing is open: the outputs at x.")
def _(crown_lower):
    w1, b1, w2, b2, x = random(2, 4, 3)
    expect.close(crown_lower(w1, b1, w2, b2, x, 0.0), (w1 @ x + b1).relu() @ w2.T + b2, shape_hint=SHAPE)
    expect.unchanged(crown_lower)

### BEGIN HIDDEN TESTS
@exercise.case("other sizes, in float64", hint="Any number of pixels, neurons and outputs, in the dtype of the weights.", hidden=True)
def _(crown_lower):
    for sizes, eps in (((1, 5, 1), 0.5), ((7, 3, 2), 0.1), ((4, 20, 10), 0.4)):
        given = random(*sizes, dtype=torch.float64)
        expect.close(expect.tensor(crown_lower(*given, eps), shape=(sizes[2],), dtype=torch.float64, shape_hint=SHAPE), reference(*given, eps))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# For deeper networks the same walk goes through all layers: line for ReLU, matrix for linear layer, until the image is reached. The bounds $\mathbf l, \mathbf u$ in front of the second ReLUs are found in the same way, by a walk of their own, and so on. It is the chain rule of backpropagation with two lines in place of a derivative, and it takes about as many passes as the network has neurons.
#
# **Predict, then reveal**: $f(x) = \max(x, 0) - \max(-x, 0)$ is nothing but $x$. On $[-1, 3]$ intervals say that $f$ is at least $-1$, which is exact. What does CROWN say?

# %%
my_guess = None  # replace None by a number

# %% demo="crown-worse"
def reference_crown(w1, b1, w2, b2, x, eps):
    network = checks.network(("linear", w1, b1), ("relu",), ("linear", w2, b2)).build()
    anywhere = LpBall(eps, math.inf, bounds=(-math.inf, math.inf))
    walk = relaxations.Walk(relaxations.layers_of(network), relaxations.Region.of(x[None], anywhere))
    return walk.least(torch.eye(len(b2))[None], depth=3)[0].detach()

your_crown = checks.yours("crown_lower", reference_crown)
by_crown = your_crown(torch.tensor([[1.0], [-1.0]]), torch.zeros(2), torch.tensor([[1.0, -1.0]]), torch.zeros(1),
                      torch.tensor([1.0]), 2.0)
checks.reveal(my_guess, f"at least {by_crown.item():g}",
              "Worse than intervals: max(x, 0) is replaced by the line x, which goes down to -1 where the ReLU stays at 0.\n"
              "Neither method is better everywhere. So a library computes both and keeps the better one, neuron by neuron;\n"
              "`relaxations.bounds(..., \"crown\")` does, and is never worse than \"interval\".")

# %% [markdown]
# ## 10.8 All constraints at once
#
# CROWN has to choose *one* line below each ReLU before it knows the question. Why choose? Both $a \ge 0$ and $a \ge z$ hold. Together with the chord they leave a **triangle**, the smallest convex set that contains the piece of the ReLU over $[l, u]$:
#
# $$a \ge 0, \qquad a \ge z, \qquad a \le \frac{u\,(z - l)}{u - l} .$$
#
# ### Exercise 10.8: inside the triangle · easy · 5 minutes · 2 points
#
# Say of many points $(z, a)$ whether they lie in the triangle over $[l, u]$.
#
# <details><summary>Hint</summary>
# Three comparisons of tensors, joined by <code>&amp;</code>, each in parentheses.
# </details>

# %% solution="in_triangle"
def in_triangle(z: torch.Tensor, a: torch.Tensor, l: float, u: float) -> torch.Tensor:
    """Which points (z, a) satisfy all three constraints of the triangle of a ReLU over [l, u].

    z, a: (N,). l, u: numbers, l < 0 < u. Returns (N,) booleans. (The edges belong to it; no test asks
    for points on or very near them.)
    """
    ### BEGIN SOLUTION
    return (a >= 0) & (a >= z) & (a <= u * (z - l) / (u - l))
    ### END SOLUTION

# %% test="in_triangle" points=2
# Run this cell to check your in_triangle. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("in_triangle", points=2)

def truth(got, right, hint, mistakes=None):
    got = expect.tensor(got, shape=tuple(right.shape), shape_hint="One answer for each point.")
    expect.that(got.dtype == torch.bool, f"dtype {got.dtype}".replace("torch.", ""), "booleans", "A comparison of tensors gives booleans; join them with &.")
    expect.close(got.double(), right.double(), hint=hint, mistakes={why: value.double() for why, value in (mistakes or {}).items()})

@exercise.case("points inside, and one outside of each edge", hint="Is each comparison in parentheses? & binds more tightly than >=.")
def _(in_triangle):
    z, a = torch.tensor([0.0, -0.5, 1.5, -0.5, 1.0, 0.0]), torch.tensor([0.4, 0.1, 1.6, -0.1, 0.8, 0.8])
    truth(in_triangle(z, a, -1.0, 2.0), torch.tensor([True, True, True, False, False, False]), "Three constraints, all of them: which one is missing?", {
        "The bottom edge is missing: a >= 0.": torch.tensor([True, True, True, True, False, False]),
        "The edge a >= z is missing.": torch.tensor([True, True, True, False, True, False]),
        "The edge is a >= z: the triangle lies above the line, not below it.": torch.tensor([False, False, False, False, True, False]),
        "The upper edge, the chord, is missing or too high.": torch.tensor([True, True, True, False, False, True]),
        "Nothing is inside for you. The triangle is more than the ReLU itself, and its upper edge goes from (l, 0) to (u, u).": torch.zeros(6, dtype=torch.bool),
        "One constraint is enough for you. All three have to hold: &, not |.": torch.ones(6, dtype=torch.bool),
        "Inside and outside are swapped.": torch.tensor([False, False, False, True, True, True]),
    })

@exercise.case("beyond l and u there is no triangle; the arguments are left as they were")
def _(in_triangle):
    z, a = torch.tensor([-1.5, -1.1, 2.5, 2.2, 1.7]), torch.tensor([0.1, 0.0, 2.6, 2.1, 1.75])
    truth(in_triangle(z, a, -1.0, 2.0), torch.tensor([False, False, False, False, True]), "To the left of l the chord is below 0, to the right of u it is below z.")
    expect.unchanged(in_triangle)

@exercise.case("the ReLU itself, and the middle between any two of its points", hint="The triangle is convex and holds the ReLU: both lie inside. Look at the upper edge: a <= u (z - l) / (u - l).")
def _(in_triangle):
    ticks = torch.linspace(-2.9, 0.9, 40)
    first, second = torch.cartesian_prod(ticks, ticks).T
    z, a = (first + second) / 2, (first.relu() + second.relu()) / 2
    clear = (z - first).abs() > 0.5
    inside = clear & (a > 0.02) & (a > z + 0.02) & (a < (z + 3) / 4 - 0.02)
    truth(in_triangle(z[inside], a[inside], -3.0, 1.0), torch.ones(int(inside.sum()), dtype=torch.bool), "")

### BEGIN HIDDEN TESTS
@exercise.case("random points, other l and u", hint="All three constraints, with l and u as they are given.", hidden=True)
def _(in_triangle):
    for l, u in ((-0.5, 3.0), (-4.0, 0.25)):
        z, a = l + 1.2 * (u - l) * torch.rand(500, dtype=torch.float64), u * (1.4 * torch.rand(500, dtype=torch.float64) - 0.2)
        slack = torch.stack([a, a - z, u * (z - l) / (u - l) - a])
        clear = slack.abs().amin(0) > 1e-3
        truth(in_triangle(z[clear], a[clear], l, u), (slack.amin(0) > 0)[clear], "")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# With linear layers as equations and ReLUs as triangles, all constraints are linear, and so is the question: the smallest lead is a **linear program**, and solvers are good at those. Of all choices of lower lines that CROWN could make, even another one for each question, it implicitly takes the best (the choices are the dual variables of the program: Salman et al. 2019). It is the tightest bound to be had from one triangle for each ReLU, with the same $l$ and $u$. The price: one linear program for each question and each image.
#
# ### The net closes, seen in the plane
#
# Three classes of points in the plane, and two networks of three hidden layers: one trained as usual, one trained with bounds (how, comes in 10.10).

# %% demo="arms"
def three_arms(count, seed):
    """Points (count, 2) of the unit square in three spiral arms, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    arm = torch.arange(count) % 3
    radius = 0.08 + 0.38 * torch.rand(count, generator=generator)
    angle = 2 * math.pi * arm / 3 + 8 * radius + 0.16 * torch.randn(count, generator=generator)
    return (0.5 + torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)).clamp(0, 1), arm

def fresh_network(*widths):
    """Linear layers of these widths with ReLUs between them, the same random weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = [part for before, behind in itertools.pairwise(widths) for part in (nn.Linear(before, behind), nn.ReLU())]
        return nn.Sequential(*parts[:-1])

points, arms = three_arms(600, seed=0)
test_points, test_arms = three_arms(150, seed=1)
settings = {"batch_size": 100, "lr": 1e-2}
usual = training.fit(fresh_network(2, 24, 24, 24, 3), points, arms, epochs=60, generator=torch.Generator().manual_seed(0), **settings)
bounded = training.certified_fit(fresh_network(2, 24, 24, 24, 3), points, arms, LpBall(0.05, math.inf), epochs=40,
                                 generator=torch.Generator().manual_seed(0), **settings)
for name, network in (("trained as usual", usual), ("trained with bounds", bounded)):
    accuracy = (network(test_points).argmax(dim=1) == test_arms).float().mean().item()
    shares = [relaxations.certified(network, test_points, test_arms, LpBall(0.05, math.inf), method).float().mean().item()
              for method in ("interval", "crown")]
    print(f"{name}: accuracy {accuracy:.0%}; proven at ε = 0.05 by intervals {shares[0]:.0%}, by CROWN {shares[1]:.0%}")

# %% [markdown]
# With three classes there are two leads of $y$, so what the network makes of the whole box $\mathcal P(\mathbf x)$ can be drawn: a *sheet*, folded along the kinks of the ReLUs. Each method puts a convex polygon round it. It is found by asking in 40 directions how far out the sheet can reach at most. **Certified** means: the polygon stays out of the grey, where another class is ahead.

# %% demo="tightening"
eps = 0.04
ball = LpBall(eps, math.inf)

def proven_leads(which, method):
    """What the smallest lead of each of these test points is at least."""
    worst = relaxations.worst_case_logits(usual, test_points[which], test_arms[which], ball, method).detach()
    return -worst.scatter(1, test_arms[which, None], -math.inf).amax(dim=1)

# Of the points that CROWN cannot certify, the one where the linear program proves most.
unsure = (proven_leads(torch.arange(len(test_points)), "crown") <= 0).nonzero().flatten()
by_program = proven_leads(unsure, "lp")
chosen = int(unsure[by_program.argmax()])
plots.tightening(usual, test_points[chosen], int(test_arms[chosen]), ball, classes=["arm 0", "arm 1", "arm 2"])

# %% [markdown]
# On the left the box, and dotted in it CROWN's polygon, which the other two panels show from near: ever less air round the same sheet. Now play. Look for a point and an ε where the verdict is *not certified, though it is robust*, and see which method settles it; raise ε a little more until not even the linear program can, although the sheet is still clear of the grey. Then change the network.

# %% demo="explorer"
widgets.relaxation_explorer({"trained as usual": usual, "trained with bounds": bounded}, test_points, test_arms,
                            classes=["arm 0", "arm 1", "arm 2"], point=chosen, eps=eps)

# %% [markdown]
# <details><summary>Three things worth seeing in the picture</summary>
#
# 1. At a small ε the sheet is flat (few ReLUs are open), and CROWN's polygon touches it all round. The box has air even there: it forgets that the leads hang together.
# 2. Each method is at least as tight as the one before it: its polygon lies within the dotted ones. (That holds for the library's CROWN, which keeps the better of its lines and the box, neuron by neuron; the four steps alone can lose to the box, as you saw in 10.7.)
# 3. The sheet of the network that was trained with bounds is smaller, and the box sits closer to it. What the box wastes has become small, because training made it small.
# </details>
#
# ## 10.9 Between the attack and the truth
#
# Back to digits, and to the small network `mnist_mlp`, for which the truth can be computed: `exact.verify` decides by a search over the ReLUs (assignment 09). Of 40 digits at ε = 0.05: which does an attack break; which are proven by intervals, which only by CROWN, which only by the linear program; and of the rest, which are robust in truth?

# %% [markdown]
# **Predict, then reveal**: the linear program is the tightest of the three and by far the dearest. For the two networks, 80 verdicts in all: how many digits does *only* the linear program prove, after intervals and CROWN have had their turn?

# %%
my_guess = None  # replace None by a number from 0 to 80

# %% demo="sandwich"
def what_is_known(network, x, y, ball):
    """How many images are broken, proven by which method first, robust by exact search only, or open."""
    x_adv = attacks.pgd(network, x, y, ball, steps=20, generator=torch.Generator().manual_seed(0))
    left = network(x_adv).argmax(dim=1) == y
    known = {"broken": int((~left).sum())}
    for method in relaxations.METHODS:
        rest = left.nonzero().flatten()
        proven = relaxations.certified(network, x[rest], y[rest], ball, method)
        known[method] = int(proven.sum())
        left[rest[proven]] = False
    rest = left.nonzero().flatten()
    status = exact.verify(network, x[rest], y[rest], ball, time_limit=3.0).status
    known |= {"exact": status.count("robust"), "open": status.count("undecided")}
    known["broken"] += status.count("counterexample")
    return known

ball = LpBall(0.05, math.inf)
bars = {name: what_is_known(network, x[:40], y[:40], ball)
        for name, network in tqdm([("ordinary", small), ("adversarially trained", small_pgd)], desc="networks")}
checks.reveal(my_guess, f"{sum(parts['lp'] for parts in bars.values())} of 80",
              f"CROWN has proven {sum(parts['crown'] for parts in bars.values())} before it. What CROWN leaves open is mostly lost in the triangles, not in the choice of lines.")
plots.between(bars)

# %% [markdown]
# Read a bar from both ends. From the right, the attack: what it breaks is broken. From the left, the certificates: what they prove is proven. In the middle lies what neither settles, and here the exact search tells that it is (nearly) all *robust*: the certificates were too careful, not the attack too weak. On a large network nobody can tell.
#
# Note also where the two networks differ. Adversarial training has made images robust, and CROWN profits from it. The linear program adds next to nothing to CROWN here: it works with the same bounds $[l, u]$ in front of the ReLUs, and these, and what a triangle adds to a ReLU, are where most is lost; better lines below change little about either. Intervals prove nothing for either network: nobody has asked them to keep their boxes small.

# %% [markdown]
# ## 10.10 Train on the bound
#
# So ask them to. Adversarial training minimises the loss at the worst point that an attack *finds*; that is a lower bound of the worst loss. Here we can minimise an *upper* bound. Among all logits between $\mathbf l$ and $\mathbf u$, which make the cross-entropy of $y$ largest? It rises with every other logit and falls with that of $y$, so
#
# $$\hat z_y = l_y, \qquad \hat z_j = u_j \;\; (j \ne y), \qquad \max_{\tilde{\mathbf x}\in\mathcal P(\mathbf x)} \mathcal L\big(f(\tilde{\mathbf x}), y\big) \;\le\; \mathcal L(\hat{\mathbf z}, y) .$$
#
# All of it, bounds included, is made of sums, products and maxima: autograd differentiates it, and gradient descent can make the *bound* small.
#
# ### Exercise 10.10: a loss that no attack exceeds · medium · 10 minutes · 3 points
#
# From bounds of the logits compute the largest cross-entropy that they allow, image by image.
#
# <details><summary>Hint</summary>
# A mask that is true in column y of each row: <code>torch.nn.functional.one_hot(y, K).bool()</code>. <code>torch.where</code> then takes the lower ends there and the upper ends elsewhere. Leave the logarithm of the softmax to torch.
# </details>

# %% solution="worst_loss"
def worst_loss(lower: torch.Tensor, upper: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The largest cross-entropy -log p_y of any logits between lower and upper, for every image.

    lower, upper: (B, K) floats, lower <= upper, of any size. y: (B,) the right classes.
    Returns (B,) finite values in the dtype of the bounds, none of them averaged.
    """
    ### BEGIN SOLUTION
    own = torch.nn.functional.one_hot(y, lower.shape[1]).bool()
    return torch.nn.functional.cross_entropy(torch.where(own, lower, upper), y, reduction="none")
    ### END SOLUTION

# %% test="worst_loss" points=3
# Run this cell to check your worst_loss. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("worst_loss", points=3, by_hand=["coursekit.certify.relaxations.worst_case_logits", "coursekit.training.certified.certified_loss"])

def cost(logits, y):
    """-log p_y, image by image."""
    return -torch.as_tensor(logits).log_softmax(dim=1)[range(len(y)), y]

ONE_EACH = "One loss for each image, (B,), whatever B is."

@exercise.case("by hand: two images, three classes", hint="torch.where and ~ want a mask of booleans: one_hot(...).bool().")
def _(worst_loss):
    lower, upper = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, -1.0]]), torch.tensor([[2.0, 1.0, 0.5], [1.0, 4.0, -0.5]])
    y = torch.tensor([0, 2])
    right = cost([[1.0, 1.0, 0.5], [1.0, 4.0, -1.0]], y)
    expect.close(worst_loss(lower, upper, y), right, mistakes={
        "This is the smallest loss that the bounds allow: y at its upper end, the others at their lower ones. An attacker wants the largest.":
            cost([[2.0, 0.0, 0.0], [0.0, 2.0, -0.5]], y),
        "All logits are at their lower ends. The loss rises with those of the other classes: upper ends.": cost(lower, y),
        "All logits are at their upper ends. The loss falls with that of y: its lower end.": cost(upper, y),
        "softmax stands in front of cross_entropy, which takes one itself: give it the logits.":
            cost(torch.tensor([[1.0, 1.0, 0.5], [1.0, 4.0, -1.0]]).softmax(dim=1), y),
        "The softmax goes over the images (dim=0). It goes over the classes of one image, dim=1.":
            -torch.tensor([[1.0, 1.0, 0.5], [1.0, 4.0, -1.0]]).log_softmax(dim=0)[range(2), y],
        "This is the loss in the middle of the bounds.": cost((lower + upper) / 2, y),
        "This is the larger of the losses at the two ends. The worst logits take the lower end of y and the upper ends of the others.":
            torch.maximum(cost(lower, y), cost(upper, y)),
        "The sign is wrong: this is log p_y.": -right,
        "This is the probability of y. The cross-entropy is minus its logarithm.": (-right).exp(),
        "Class 0 is taken for y in every image.": cost([[1.0, 1.0, 0.5], [0.0, 4.0, -0.5]], torch.tensor([0, 0])),
        "An index such as [:, y] takes the columns of all labels in every image. Each image has one label: pair rows and labels.":
            cost([[1.0, 1.0, 0.0], [0.0, 4.0, -1.0]], y),
    }, hint="Image 1: y = 0 at 1, the others at 1 and 0.5. Image 2: y = 2 at -1, the others at 1 and 4.")

@exercise.case("no logits within the bounds have a larger loss; the arguments are left as they were")
def _(worst_loss):
    lower = torch.randn(6, 5)
    upper, y = lower + torch.rand(6, 5), torch.tensor([0, 4, 2, 2, 1, 3])
    worst = expect.tensor(worst_loss(lower, upper, y), shape=(6,), dtype=torch.float32)
    drawn = torch.stack([cost(lower + torch.rand(6, 5).round() * (upper - lower), y) for _ in range(500)]).amax(0)
    over = float((drawn - worst).max())
    expect.that(over < 1e-4, f"logits whose loss is {over:.3g} larger", "no larger loss within the bounds", "Which end of the bounds does the attacker choose for y, which for the others?")
    expect.that(float((worst - drawn).max()) < 1e-3, f"{float((worst - drawn).max()):.3g} more than any logits reach", "the loss that the worst logits have",
                "No logits within the bounds have a loss as large as that.")
    expect.unchanged(worst_loss)

@exercise.case("a single image, whose class is 0")
def _(worst_loss):
    lower, upper, y = torch.tensor([[1.0, 0.0, -1.0, 0.0]]), torch.tensor([[3.0, 2.0, 1.0, 0.5]]), torch.tensor([0])
    expect.close(worst_loss(lower, upper, y), cost([[1.0, 2.0, 1.0, 0.5]], y), shape_hint=ONE_EACH, mistakes={
        "All logits are at their lower ends. one_hot counts classes from the labels it sees: tell it how many there are, one_hot(y, lower.shape[1]).": cost(lower, y),
        "All logits are at their upper ends. one_hot counts classes from the labels it sees: tell it how many there are, one_hot(y, lower.shape[1]).": cost(upper, y),
    }, hint="y = 0 at 1, the others at 2, 1 and 0.5.")

@exercise.case("bounds that meet: the ordinary loss", hint="There both ends are the logits: their cross-entropy.")
def _(worst_loss):
    logits, y = torch.randn(3, 4), torch.tensor([1, 3, 0])
    expect.close(worst_loss(logits, logits.clone(), y), cost(logits, y))

@exercise.case("bounds as wide as those of an untrained network")
def _(worst_loss):
    loss = expect.tensor(worst_loss(torch.full((2, 3), -500.0), torch.full((2, 3), 500.0), torch.tensor([0, 2])), shape=(2,),
                         hint="An exponential of 500 is infinite in float32: use logsumexp, log_softmax or cross_entropy on the logits.")
    expect.close(loss, torch.full((2,), 1000.6931), hint="y at -500, two others at 500: 1000 + log 2. A small number inside a logarithm bounds the loss.")

### BEGIN HIDDEN TESTS
@exercise.case("other numbers of classes, a single image, in float64", hint="Any B and K; one value per image, in the dtype of the bounds.", hidden=True)
def _(worst_loss):
    for images, classes in ((1, 10), (20, 2)):
        lower = 3 * torch.randn(images, classes, dtype=torch.float64)
        upper, y = lower + 2 * torch.rand(images, classes, dtype=torch.float64), torch.randint(0, classes, (images,))
        logits = upper.clone()
        for i, own in enumerate(y.tolist()):
            logits[i, own] = lower[i, own]
        expect.close(expect.tensor(worst_loss(lower, upper, y), shape=(images,), dtype=torch.float64), cost(logits, y))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Two tricks make it work (Gowal et al. 2018). The bounds of an untrained network are so wide that there is nothing to learn from them; so ε grows from 0 during training. And the loss is a mixture, $(1 - \kappa)\,\mathcal L(f(\mathbf x), y) + \kappa\,\mathcal L(\hat{\mathbf z}, y)$, whose $\kappa$ grows along, from 0 to ½. `training.certified_fit` does both, with the question in the last layer (10.5). One step costs about three passes, less than a third of PGD with ten steps.

# %% demo="train-on-the-bound"
train_digits = data.load("mnist", "train")
with torch.random.fork_rng():
    torch.manual_seed(0)
    small_bounded = coursekit.models.build("mnist_mlp")
history = []
training.certified_fit(small_bounded, train_digits.x, train_digits.y, LpBall(0.05, math.inf), epochs=8, lr=4e-3, history=history,
                       generator=torch.Generator().manual_seed(0))
for row in history:
    print(f"epoch {row.epoch}: ε up to {row.eps:.3f}, loss {row.loss:.2f}")

# %% [markdown]
# The loss *rises* while the network learns, and that is no failure: ε and κ grow from step to step, so the question gets harder. Compare losses only at the same ε and κ.
#
# **Predict, then reveal**: the ordinary network reads about 93 of 100 test digits. How many does this one read, without any attack?

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="price"
def accuracy_of(network):
    return (network(digits.x).argmax(dim=1) == digits.y).float().mean().item()

checks.reveal(my_guess, f"{100 * accuracy_of(small_bounded):.1f} of 100",
              f"Ordinary training: {100 * accuracy_of(small):.1f}, adversarial training: {100 * accuracy_of(small_pgd):.1f}.\n"
              "A network that must keep its boxes small has fewer functions to choose from.")

# %% demo="three-bars"
bars |= {"trained with bounds": what_is_known(small_bounded, x[:40], y[:40], ball)}
plots.between(bars)

# %% [markdown]
# Now even intervals prove most of what there is to prove, at the price of two passes. Look at what training has changed inside. For each network, the median over 100 digits of three numbers: the lead at $\mathbf x$ itself, and what CROWN and intervals prove of the smallest lead in $\mathcal P(\mathbf x)$ (below 0 they prove nothing); then the share of ReLUs in the first layer that are open.

# %% demo="inside"
ball = LpBall(0.05, math.inf)
for name, network in (("ordinary", small), ("adversarially trained", small_pgd), ("trained with bounds", small_bounded)):
    with torch.no_grad():
        logits = network(x)
        others = [logits - logits.gather(1, y[:, None])]
        others += [relaxations.worst_case_logits(network, x, y, ball, method) for method in ("crown", "interval")]
        box = relaxations.bounds(network[:3], x, ball, "interval")
    clean, crown, lead = (-leads.scatter(1, y[:, None], -math.inf).amax(dim=1) for leads in others)
    open_share = ((box.lower < 0) & (box.upper > 0)).float().mean().item()
    print(f"{name:22s} median lead at x {clean.median():4.1f}, at least by CROWN {crown.median():4.1f}, "
          f"by intervals {lead.median():5.1f}; open in the first layer {open_share:.0%}")

# %% [markdown]
# Read each row from left to right: what the box costs, in truth and in the method. All three networks lead clearly at $\mathbf x$. By CROWN, adversarial training has paid: its lead stays above 0 for most digits, that of the ordinary network does not. Intervals cannot see it: for both they fall far below 0. For the network trained with bounds they fall little further than CROWN does, and stay above 0; fewer of its ReLUs are open, so there is less to lose. Training has not made the method better; it has made a network on which the method loses little.
#
# And on networks with convolutions, as the certified accuracy against ε. An attack's curve is an upper bound of the truth, a certificate's a lower one: **the truth lies between the two lines of a network.**

# %% demo="certified-curves"
bounded_cnn = coursekit.models.load("mnist_cnn", training="ibp", eps=0.1)
print(f"clean accuracy on all {len(digits.x)} test digits: trained by PGD {accuracy_of(robust_cnn):.1%}, with bounds {accuracy_of(bounded_cnn):.1%}")
radii = [0.0, 0.005, 0.01, 0.02, 0.05, 0.08, 0.1, 0.12, 0.15]

def attacked(network, eps):
    x_adv = attacks.pgd(network, x[:60], y[:60], LpBall(eps, math.inf), steps=10, generator=torch.Generator().manual_seed(0))
    return (network(x_adv).argmax(dim=1) == y[:60]).float().mean().item()

def proven(network, eps):
    return relaxations.certified(network, x[:60], y[:60], LpBall(eps, math.inf), "interval").float().mean().item()

lines = {}
for name, network in tqdm([("PGD-trained", robust_cnn), ("trained with bounds", bounded_cnn)], desc="networks"):
    lines[f"{name}, attacked"] = radii, [attacked(network, eps) for eps in radii]
    lines[f"{name}, proven"] = radii, [proven(network, eps) for eps in radii]
plots.curves(lines, chance=None, ylabel="share of digits", title="Attacked and proven by intervals")

# %% [markdown]
# The network trained by PGD is probably robust over much of this range; nobody can prove it with intervals. Of the network trained with bounds, the two lines lie close together up to the ε that it was trained for, 0.1; beyond, the proof ends before the robustness does. What it pays in clean accuracy is printed above, on the whole test set: the curves rest on 60 digits, where one digit is nearly 2 %. Under attack it need not be the worse one, least of all at the largest radii. That is the bargain of certified training: **something is paid on clean images, and you know what you have.**

# %% [markdown]
# ## 10.11 In your own words
#
# These two answers are read by a person. A few sentences each are enough.
#
# ### Question 10.11a: "CROWN cannot certify it" · medium · 10 minutes · 3 points
#
# A colleague reports: "For this image CROWN's lower bound of the lead over class 7 is −0.4 at ε = 0.05. So the image is vulnerable, and class 7 is what the attacker gets." (1) What does the number say, and what does it not say? (2) Name two steps of the method in which something may have been lost. (3) What would you do to find out the truth about this image, and in which order?

# %% [markdown] answer="not-certified" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: the smallest lead over class 7 in P(x) is *at least* -0.4; it may well be above 0. "Not certified" is no counterexample: neither that the image is vulnerable follows, nor that class 7 would be reached. (Only "it is not proven" without the direction of the bound: half a point.)
#
# **1 point**, half for each of two: the two lines in place of each open ReLU (chord above; the fixed line below, chosen before the question is known); the bounds l, u in front of later ReLUs are bounds themselves, and too wide ones make worse lines; each open neuron's worst case is taken for itself, although no single x~ reaches all of them; for each class the worst point may be another one (harmless here). Rounding does not count.
#
# **1 point**: a sensible order from cheap to dear: attack first (PGD with restarts, the margin loss, or targeted at 7): a success settles it; then tighter bounds (linear program, other lower lines, tighter l and u); then an exact search, if the network is small enough; else the image stays open. (Attack alone or exact search alone: half a point.)
# === END MARK SCHEME ===
# (1) The number is a lower bound: wherever in $\mathcal P(\mathbf x)$ one looks, the lead over class 7 is at least −0.4. The smallest lead itself may be above 0, so the image may be robust. Nothing was found, neither an adversarial example nor the class that it would have. (2) Each open ReLU was replaced by two lines, of which the lower one was chosen in advance; and the intervals $[l, u]$ that the lines depend on are themselves only bounds, often much too wide in later layers. Besides, every neuron may be at its worst for itself, while no single $\tilde{\mathbf x}$ does that to all of them. (3) First an attack, PGD with restarts on the margin, also towards 7: if it succeeds, all is said. If not, tighter bounds, the linear program with its triangles. If that is not enough either, an exact search over the open ReLUs; if it does not end in time, the honest answer is "open".

# %% [markdown]
# ### Question 10.11b: two robust networks · medium · 10 minutes · 3 points
#
# At ε = 0.05 an attack leaves about as many digits right for the network trained by PGD as for the one trained with bounds, or more. Yet intervals prove nothing about the first and most about the second, where CROWN adds only a little. (1) Why can both be robust, and only one provably so by intervals? (2) What has training with interval bounds changed in the network, so that a better method has little left to gain? (3) Which of the two would you use in a product, and on what does it depend?

# %% [markdown] answer="two-networks" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: robustness is about what the logits really do in P(x), the bound about how wide the boxes get. PGD training looks at single points x~ only; nothing keeps the boxes small, in which every neuron is at its worst at once. So the true smallest lead may be well above 0 while the bound is far below.
#
# **1 point**: its loss contains the bound itself, so gradient descent has made wide boxes expensive: smaller weights (sums of |W|), fewer open ReLUs in P(x), neurons that do not rely on cancelling each other. Where ReLUs are not open and little cancels, intervals are nearly exact; then CROWN's lines are as well, and the gap between the methods is small. (One reason of these: half a point.)
#
# **1 point** for a reasoned choice that names both sides: a proof for each image within P(x), cheap to compute, against better clean accuracy (and perhaps better true robustness) without a guarantee. Depends on whether an attacker is expected, what a mistake costs, whether P(x) is the right set at all; an exact verifier may prove the PGD-trained one, if it is small.
# === END MARK SCHEME ===
# (1) Robust is what the logits really do in $\mathcal P(\mathbf x)$. The bound asks how large the boxes get in which every neuron may be at its worst for itself. PGD training improves single points and never looks at boxes, so the smallest lead may be above 0 and its bound far below. (2) Its own bound was in the loss. Gradient descent has made wide boxes expensive: the absolute weights are smaller, fewer ReLUs are open, and neurons no longer cancel each other. Where nothing is open and nothing cancels, intervals are exact, and a better method has nothing to add. (3) If there is an attacker and a mistake is dear, the second: it tells for every image whether it is safe, in two passes. If clean accuracy counts and the perturbations are harmless, the first, which reads more digits right; for a small network an exact search may even prove it. And in both cases only within this $\mathcal P(\mathbf x)$: a rotation is another matter.

# %% [markdown]
# ## What to take along
#
# * A relaxation replaces what a network can reach by a larger, convex set. What it proves holds against every attack; what it cannot prove is open.
# * Intervals are cheap and forgetful: $x - x$ is not 0. CROWN carries one linear function back and lets paths cancel; the linear program keeps all triangles at once. As the library computes them (its CROWN takes the better of its own bound and the interval's) each is at least as tight as the one before, and dearer.
# * Put the question into the last layer: bound the lead, not two logits.
# * Attacks bound robust accuracy from above, certificates from below. Between the two lies what only an exact search can tell.
# * Bounds of ordinary networks are useless in deep networks. Trained on, they become tight; it costs clean accuracy.
#
# **Where it goes on**: assignment 09, exact certification, closes the gap for small networks. Assignment 11 bounds by Lipschitz constants, 12 by noise, which needs no look into the network at all.
#
# **Further**: Moore, *Interval Analysis*, 1966. Ehlers, *Formal verification of piece-wise linear feed-forward neural networks*, 2017 (the triangle). Wong, Kolter, *Provable defenses against adversarial examples via the convex outer adversarial polytope*, 2018. Gowal et al., *On the effectiveness of interval bound propagation for training verifiably robust models*, 2018. Mirman, Gehr, Vechev, *Differentiable abstract interpretation for provably robust neural networks*, 2018. Zhang et al., *Efficient neural network robustness certification with general activation functions*, 2018 (CROWN). Salman et al., *A convex relaxation barrier to tight robustness verification of neural networks*, 2019.
