# %% [markdown]
# # 9 Exact certification
#
# Turn the question "is there an adversarial example?" into a problem that a solver settles for good: with a **counterexample**, or with a **proof** that there is none. It takes four inequalities for each neuron, and a search that knows when it may stop.
#
# **After this notebook you can**
#
# * say what the gap is between "our attack found nothing" and "there is nothing", and measure it;
# * write a ReLU, a layer and a network as a mixed-integer program, and say why its bounds on the neurons must be valid;
# * write branch and bound, the search inside every such solver, and read its two numbers at any moment;
# * turn a solver's answer into one of three verdicts: robust, counterexample, undecided;
# * say why the exact answer is out of reach for large networks.
#
# **Slides**: "Roadmap", its fourth part: *Certifiable robustness*, exact certification. The slides have no more on it; what is here comes from the papers named on the way. **Time**: about two and a half hours. **Points**: 23 from seven functions that are checked at once, 6 from two texts that a person reads. Assignment 03 (gradient attacks) helps, and is not needed.
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other numbers of inputs, neurons and classes. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was.</div>
#
# **Notation**: $\mathbf x$ an image with label $y$, $\mathcal P(\mathbf x)$ the closed $L_\infty$ ball of radius $\epsilon$, cut down to pixels in $[0, 1]$: a box. $z_0, \dots, z_{K-1}$ are the logits of $f$. Everything is computed in double precision (`torch.float64`): a proof should not hang on rounding.

# %% readonly="setup"
import math
import time

import torch
from tqdm.auto import tqdm

import coursekit
from coursekit import attacks, checks, data, losses, plots, widgets
from coursekit.certify import exact, milp, relaxations
from coursekit.perturbations import LpBall

torch.set_num_threads(1)  # what is computed here is small

test_digits = data.load("mnist", "test")
model = coursekit.models.load("mnist_mlp", "pgd", 0.1)  # two hidden layers of 32 neurons, trained against PGD
standard_model = coursekit.models.load("mnist_mlp")  # the same, trained the ordinary way
x, y = test_digits.x[:100], test_digits.y[:100]
ball = LpBall(0.1, math.inf)

def lead(model, x, y):
    """z_y - max over j != y of z_j for each image, (B,): above 0 where the model is right."""
    with torch.no_grad():
        return -losses.margin(model(x), y)

print(f"{int((lead(model, x, y) > 0).sum())} of the first {len(x)} test digits are classified correctly")

# %% [markdown]
# ## 9.1 "Our attack found nothing"
#
# Give PGD a good chance: the robust network, $\epsilon = 0.1$, 100 steps, ten random restarts, on 100 digits.

# %% demo="strong-pgd"
generator = torch.Generator().manual_seed(0)
x_pgd = attacks.pgd(model, x, y, ball, steps=100, restarts=10, generator=generator)
survives = lead(model, x_pgd, y) > 0
print(f"{int(survives.sum())} of {len(x)} digits survive PGD with 100 steps and ten restarts")

# %% [markdown]
# For those digits we have a thousand points of the box, each classified correctly. The box has infinitely many more. What we would like to know is one number for each image, the **smallest lead** of the right class,
#
# $$m^*(\mathbf x) = \min_{\tilde{\mathbf x} \in \mathcal P(\mathbf x)}\; \min_{j \ne y}\; \big(z_y(\tilde{\mathbf x}) - z_j(\tilde{\mathbf x})\big).$$
#
# If $m^*(\mathbf x) > 0$, then **no** point of the box is misclassified, and no attack will ever find one. If $m^*(\mathbf x) < 0$, then the point where the minimum is taken is an adversarial example. An attack evaluates the lead at a point, so it gives an **upper** bound of $m^*$. A proof needs a **lower** bound. Exact certification pushes both together until they lie on the same side of 0.
#
# **Predict.** Of the digits that survived, how many have an adversarial example in their box all the same?

# %%
my_guess = None  # replace None by a number

# %% demo="what-pgd-missed"
started = time.perf_counter()
verdicts = exact.verify(model, x, y, ball)
missed = [i for i, status in enumerate(verdicts.status) if status == "counterexample" and survives[i]]
checks.reveal(my_guess, f"{len(missed)} of {int(survives.sum())}: digits number {', '.join(map(str, missed))}",
              f"{verdicts.status.count('robust')} digits are proven robust, {verdicts.status.count('counterexample')} have a counterexample "
              f"({int((lead(model, x, y) < 0).sum())} of them are wrong at x already), {verdicts.status.count('undecided')} are undecided; all 100 took {time.perf_counter() - started:.0f} seconds.\n"
              "Each of these counterexamples is a point of the box which the network itself gets wrong.")

# %% [markdown]
# That is what you are going to build. Begin with the easiest classifier of all.
#
# ### Exercise 9.1: the range of a linear layer · easy · 10 minutes · 3 points
#
# Say how low and how high each output of a linear layer can get over a box.
#
# A linear function $\mathbf w^\top \mathbf h + b$ over a box is a sum in which each coordinate can be chosen for itself. So there is nothing to search: each goes to one of its two ends, and the sign of its weight says to which. For a linear classifier this *is* exact certification. For a network, layer after layer, it gives an interval for each neuron, which is rough but holds; you will need it soon.
#
# <details><summary>Hint</summary>
# For the lowest value a positive weight wants its coordinate at the lower end, a negative one at the upper end. <code>weight.clamp(min=0)</code> is the positive part of a matrix, <code>weight.clamp(max=0)</code> the negative part.
# </details>

# %% solution="range_of_linear"
def range_of_linear(
    weight: torch.Tensor, bias: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest and the highest value of each output of W h + b while h is in a box.

    weight: (n, m), bias: (n,). lower, upper: (m,), the box lower <= h <= upper, coordinate by coordinate; the two may be
    equal. All float64. Returns two tensors (n,), float64: both are reached by some h of the box.
    """
    ### BEGIN SOLUTION
    positive, negative = weight.clamp(min=0), weight.clamp(max=0)
    return positive @ lower + negative @ upper + bias, positive @ upper + negative @ lower + bias
    ### END SOLUTION

# %% test="range_of_linear" points=3
# Run this cell to check your range_of_linear. (The dots unfold it: what is tried, and what is expected.)
import itertools
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("range_of_linear", points=3, by_hand=["coursekit.certify.relaxations.bounds"])

def two(got, count):
    """The two tensors of the answer."""
    expect.that(isinstance(got, list) and len(got) == 2, got, "two tensors, the lowest and the highest values",
                "Did you forget a return?" if got is None else "Return both: the lowest values, then the highest.")
    return [expect.tensor(part, shape=(count,), dtype=torch.float64, shape_hint="One value for each output, that is, for each row of weight: n of them.") for part in got]

def corners(weight, bias, lower, upper):
    """The truth, by trying every corner of a small box."""
    values = torch.stack([weight @ torch.where(torch.tensor(pick), upper, lower) + bias
                          for pick in itertools.product((True, False), repeat=len(lower))])
    return values.min(dim=0).values, values.max(dim=0).values

def right(got, weight, bias, lower, upper):
    low, high = two(got, len(bias))
    least, most = corners(weight, bias, lower, upper)
    ends = [weight @ lower + bias, weight @ upper + bias]
    centre = weight @ (lower + upper) / 2 + bias
    mistakes = {
        "These are the values at the corners lower and upper. A negative weight wants its coordinate at the other end (and a radius goes through |W|, not W).": ends[0],
        "This is the lower of the two corners lower and upper. Each coordinate chooses its end for itself.": torch.minimum(*ends),
        "Highest and lowest are swapped.": most,
        "The bias is missing.": least - bias,
        "Half the range: is the radius (upper - lower) / 2, and the centre in the middle?": centre - (centre - least) / 2,
        "The radius is taken twice: half of upper - lower lies on each side of the centre.": centre - 2 * (centre - least),
    }
    expect.close(low, least, mistakes=mistakes, hint="Which end of the box does each weight want, for the lowest value?")
    expect.close(high, most, mistakes={"Right for the lowest, and here the same again: for the highest every choice is the other way round.": least,
                                       "The bias is missing.": most - bias, "This is the value at the corner upper.": ends[1]},
                 hint="The lowest values are right. For the highest, every coordinate goes to its other end.")

@exercise.case("one function of two inputs, weights of both signs")
def _(range_of_linear):
    given = (torch.tensor([[2.0, -3.0]]).double(), torch.tensor([0.5]).double(),
             torch.tensor([0.1, 0.2]).double(), torch.tensor([0.3, 0.6]).double())
    right(range_of_linear(*given), *given)

@exercise.case("several outputs, a box with negative coordinates")
def _(range_of_linear):
    given = (torch.tensor([[1.0, -2.0, 0.5], [-1.5, 0.0, 2.0], [-1.0, -1.0, -1.0]]).double(), torch.tensor([0.3, -1.0, 2.0]).double(),
             torch.tensor([-1.0, 0.5, -2.0]).double(), torch.tensor([0.5, 0.75, -1.0]).double())
    right(range_of_linear(*given), *given)

@exercise.case("a box that is a single point: lowest and highest are the value there")
def _(range_of_linear):
    weight, bias, point = torch.tensor([[1.0, -2.0]]).double(), torch.tensor([0.25]).double(), torch.tensor([0.4, 0.7]).double()
    low, high = two(range_of_linear(weight, bias, point, point.clone()), 1)
    expect.close(low, weight @ point + bias, hint="Where the box has no width, both are W h + b.")
    expect.close(high, weight @ point + bias, hint="Where the box has no width, both are W h + b.")
    expect.unchanged(range_of_linear)

### BEGIN HIDDEN TESTS
@exercise.case("other sizes, one input, a wide box", hidden=True, hint="Any numbers of inputs and outputs: each coordinate goes to the end that its weight wants.")
def _(range_of_linear):
    for count, inputs in ((7, 5), (1, 1), (2, 9)):
        lower = torch.randn(inputs).double()
        given = torch.randn(count, inputs).double(), torch.randn(count).double(), lower, lower + 3 * torch.rand(inputs).double()
        right(range_of_linear(*given), *given)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 9.2 Where the difficulty sits
#
# Between the linear layers stand ReLUs, $a = \max(z, 0)$. Each has two states: *off*, where $z \le 0$ and $a = 0$, and *on*, where $z \ge 0$ and $a = z$. If you knew for each neuron which it is, the network would be one linear function, and you could do as above. So cut the box along the kinks, $z = 0$, into pieces on which no neuron changes its state. On each piece the lead is linear, and its smallest value lies in a corner of the piece. The smallest of all pieces is $m^*$: exactly, whatever the slope at $\mathbf x$ says.
#
# Here is a network with two inputs and eight neurons. Each grey line is the kink of a neuron.

# %% demo="pieces-explorer"
widgets.pieces_explorer(eps=0.25, x1=0.5, x2=0.5)

# %% [markdown]
# <details><summary>Four things worth seeing in the picture</summary>
#
# 1. At the start PGD walks away from the star, because at x the lead falls that way. It ends in a corner where the lead is clearly above 0, and reports that it found nothing. Restarts would help here. They help less in 784 dimensions.
# 2. Lower ε until the verdict says <i>robust, proven</i>. What was proven? Every bar on the right is above 0, and every point of the box belongs to some bar.
# 3. Raise ε and watch the number of neurons that can switch, and the number of pieces. In the plane eight lines make at most 37 pieces. In many dimensions nothing stops the number before 2<sup>n</sup>.
# 4. Move x to a place where no grey line crosses a small box: there is one piece, the network is linear in the box, and PGD cannot fail.
# </details>
#
# With $n$ neurons that can be on and off in the box there are up to $2^n$ patterns. For the digits above $n$ is mostly between 15 and 35, and $2^{35}$ is more than thirty thousand million. The problem is NP-complete (Katz et al. 2017). Nobody knows a method that avoids this in the worst case; what one can do is to look at few of the pieces, and to be sure about the others. For that the network has to become a *program*.
#
# ## 9.3 One neuron, four inequalities
#
# A **mixed-integer program** minimises a linear function of variables under linear inequalities, where some variables must be whole numbers. Solvers for it have been built for more than fifty years. We need to say $a = \max(z, 0)$ in this language, knowing that $l \le z \le u$. Give the neuron a **switch** $s \in \{0, 1\}$: 1 where it is on, 0 where it is off. Two of the inequalities say that a ReLU lies above both of its branches, and hold without the switch:
#
# $$a \ge z, \qquad a \ge 0.$$
#
# The other two hold $a$ down, and each is there for one position of the switch:
#
# * one must force $a \le 0$ when $s = 0$, and say nothing new when $s = 1$: then $a$ may be anything up to $u$;
# * one must force $a \le z$ when $s = 1$, and say nothing new when $s = 0$: then $a$ may be anything up to $z - l$, and that is never below 0.
#
# Both are linear in $z$, $a$ and $s$ (Tjeng, Xiao, Tedrake 2019).
#
# ### Exercise 9.3: a neuron as rows · medium · 15 minutes · 4 points
#
# Write the four inequalities as rows of numbers.
#
# A solver wants them all in one form: $\text{lower} \le A v \le \text{upper}$, with the variables $v = (z, a, s)$. That $0 \le s \le 1$, and when $s$ must be whole, the solver is told separately.
#
# <details><summary>Hint 1</summary>
# "At most 0 if s = 0, at most u if s = 1" is a straight line in s. Which? For the other: at most z − l if s = 0, at most z if s = 1.
# </details>
# <details><summary>Hint 2</summary>
# Bring the variables to one side. a ≥ z is a − z ≥ 0: the row (−1, 1, 0) with lower end 0 and upper end <code>math.inf</code>. What is left without a variable goes into an end.
# </details>

# %% solution="relu_rows"
def relu_rows(l: float, u: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """a = max(z, 0) for l <= z <= u, as inequalities lower <= A v <= upper on v = (z, a, s).

    l < 0 < u. s = 1: on, z >= 0 and a = z. s = 0: off, z <= 0 and a = 0. With s whole, the rows allow (z, max(z, 0)) for
    every z in [l, u], and no other a. With s anywhere in [0, 1] they allow no more than they have to: the triangle with
    the corners (l, 0), (0, 0) and (u, u). What happens for z outside of [l, u] does not matter.
    Returns A (R, 3), lower (R,), upper (R,), float64; ends may be -math.inf and math.inf. Four rows are enough; their
    order and scale are yours.
    """
    ### BEGIN SOLUTION
    big = math.inf
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -u], [-1, 1, -l]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -big, -big]).double(), torch.tensor([big, big, 0, -l]).double()
    ### END SOLUTION

# %% test="relu_rows" points=4
# Run this cell to check your relu_rows. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect, programs

exercise = checks.Exercise("relu_rows", points=4, by_hand=["coursekit.certify.milp.relu", "coursekit.certify.milp.layer"])
rows = programs.rows  # looks at type, shape and dtype of A, lower, upper
allows = programs.allows  # whether rows allow a point

@exercise.case("on: s = 1 allows a = z, from 0 to u")
def _(relu_rows):
    got = rows(relu_rows(-1.0, 2.0), 3)
    why = programs.relu_hint(got, -1.0, 2.0)
    for z in (2.0, 0.5, 0.0):
        expect.that(allows(got, [z, z, 1]), f"z = {z:g}, a = {z:g}, s = 1 is forbidden", "allowed: the neuron is on", why or programs.on_hint(got, 2.0))
    expect.that(not allows(got, [1.5, 1.8, 1]), "z = 1.5, a = 1.8, s = 1 is allowed", "forbidden",
                why or "On, a is held down by z: one inequality has to force a <= z when s = 1. Is the sign of l right?")
    expect.that(not allows(got, [1.5, 1.0, 1]), "z = 1.5, a = 1, s = 1 is allowed", "forbidden", why or "Nothing keeps a above z: a >= z is missing.")

@exercise.case("off: s = 0 allows a = 0, from l to 0")
def _(relu_rows):
    got = rows(relu_rows(-1.0, 2.0), 3)
    why = programs.relu_hint(got, -1.0, 2.0)
    for z in (-1.0, -0.5, 0.0):
        expect.that(allows(got, [z, 0.0, 0]), f"z = {z:g}, a = 0, s = 0 is forbidden", "allowed: the neuron is off", why or programs.OFF_HINT)
    expect.that(not allows(got, [-0.5, 0.3, 0]), "z = -0.5, a = 0.3, s = 0 is allowed", "forbidden",
                why or "Off, a must be 0: one inequality has to force a <= 0 when s = 0.")
    expect.that(not allows(got, [-0.5, -0.2, 0]), "z = -0.5, a = -0.2, s = 0 is allowed", "forbidden", why or "Nothing keeps a above 0: a >= 0 is missing.")

@exercise.case("for no position of the switch another a than max(z, 0)")
def _(relu_rows):
    for l, u in ((-1.0, 2.0), (-3.0, 0.5)):
        got = rows(relu_rows(l, u), 3)
        for z in torch.linspace(l, u, 15).tolist():
            expect.that(any(allows(got, [z, max(z, 0.0), s]) for s in (0, 1)), f"z = {z:.3g} is not allowed at all, for l = {l:g}, u = {u:g}",
                        "a = max(z, 0) with s = 0 or s = 1", "Are l and u used, not numbers written out? Which of your rows forbids it?")
            for a in (max(z, 0.0) + 0.1, max(z, 0.0) - 0.1):
                at = next((s for s in (0, 1) if allows(got, [z, a, s])), None)
                expect.that(at is None, f"z = {z:.3g}, a = {a:.3g}, s = {at} is allowed", f"a = {max(z, 0.0):.3g} only",
                            "With the switch at 0 or 1 nothing but the ReLU may be left.")

@exercise.case("a fractional switch leaves the triangle, and no more")
def _(relu_rows):
    for l, u in ((-1.0, 2.0), (-3.0, 0.5)):
        got = rows(relu_rows(l, u), 3)
        for z in torch.linspace(l, u, 9).tolist():
            top = u * (z - l) / (u - l)
            expect.that(programs.some_switch(got, z, max(z, 0.0)) and programs.some_switch(got, z, top), f"a point of the triangle at z = {z:.3g} is forbidden",
                        "all of the triangle", "Where both corners of a straight line are allowed, what lies between must be, too. Which row forbids it?")
            low = max(z, 0.0) - 0.05
            expect.that(not programs.some_switch(got, z, low), f"z = {z:.3g}, a = {low:.3g} is allowed, for l = {l:g}, u = {u:g}",
                        f"a at least {max(z, 0.0):.3g}", programs.relu_hint(got, l, u) or "Below the triangle nothing may be left: a >= 0 and a >= z hold whatever the switch is.")
            expect.that(not programs.some_switch(got, z, top + 0.05), f"z = {z:.3g}, a = {top + 0.05:.3g} is allowed, for l = {l:g}, u = {u:g}",
                        f"a at most {top:.3g}, the line from (l, 0) to (u, u)",
                        "Right for whole switches, but looser than need be in between: use u where the neuron is on and l where it is off, "
                        "not one large number for both. A solver pays for each of these gaps." if programs.is_relu(got, l, u) else
                        "Above the line from (l, 0) to (u, u) nothing may be left. It follows from the rows for whole switches, so mend those first.")

### BEGIN HIDDEN TESTS
@exercise.case("other bounds", hidden=True, hint="For all l < 0 < u: the ReLU for whole switches, the triangle for the others.")
def _(relu_rows):
    for l, u in ((-0.01, 5.0), (-40.0, 30.0), (-0.3, 0.2)):
        got = rows(relu_rows(l, u), 3)
        for z in torch.linspace(l, u, 11).tolist():
            top, step = u * (z - l) / (u - l), 0.02 * (u - l)
            expect.that(allows(got, [z, max(z, 0.0), float(z > 0)]), "a point of the ReLU is forbidden", "the ReLU")
            expect.that(not any(allows(got, [z, a, s]) for a in (max(z, 0.0) + step, max(z, 0.0) - step) for s in (0, 1)),
                        "another a is allowed", "the ReLU only")
            expect.that(programs.some_switch(got, z, top) and not programs.some_switch(got, z, top + step), "not the triangle", "the triangle")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# This is what your rows allow (the reference's, as long as yours do not pass). With the switch at 0 and at 1 the two branches of the ReLU. With a switch that may be anything between 0 and 1 the **triangle**: the smallest convex set with both branches in it. It is no network any more, but it can be minimised over in no time, and what is smallest over the larger set is a lower bound.

# %% demo="encoding-picture"
your_relu = checks.yours("relu_rows", lambda l, u: tuple(milp.relu(l, u)))
plots.encoding(your_relu(-1.0, 2.0), -1.0, 2.0)

# %% [markdown]
# ## 9.4 A layer, and the whole network
#
# In a network $z$ is no variable of its own. It is $z_i = \mathbf w_i^\top \mathbf h + b_i$ with the layer's inputs $\mathbf h$, so that it can be put in place of $z$, and the variables are $v = (\mathbf h, \mathbf a, \mathbf s)$.
#
# ### Exercise 9.4a: a layer as rows · medium · 15 minutes · 4 points
#
# Write the rows of all neurons of a layer.
#
# The reference for a single neuron is `milp.relu(l, u)`: it returns `matrix` (4, 3), `lower` (4,), `upper` (4,) for the variables $(z, a, s)$ of that neuron. Use it or your own.
#
# <details><summary>Hint 1</summary>
# Take the row (p, q, r) of neuron i, with ends lower and upper: p z + q a + r s. Put in z = w·h + b. What multiplies h? Where does p b go?
# </details>
# <details><summary>Hint 2</summary>
# lower ≤ p (w·h + b) + q a + r s ≤ upper is lower − p b ≤ p w·h + q a + r s ≤ upper − p b. Neuron i has its a at column m + i and its s at column m + n + i.
# </details>

# %% solution="layer_rows"
def layer_rows(
    weight: torch.Tensor, bias: torch.Tensor, l: torch.Tensor, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """a = max(W h + b, 0) as inequalities lower <= A v <= upper on v = (h, a, s).

    weight: (n, m), bias: (n,). l, u: (n,) with l_i <= w_i h + b_i <= u_i; l_i < 0 < u_i. All float64. v has m + 2 n
    entries: the m inputs h, then the n outputs a, then the n switches s, 1 for on. For each neuron as in exercise 9.3.
    Returns A (R, m + 2 n), lower (R,), upper (R,), float64; ends may be infinite. The order of the rows is yours.
    """
    ### BEGIN SOLUTION
    n, m = weight.shape
    blocks, starts, ends = [], [], []
    for i in range(n):
        small, low, high = milp.relu(float(l[i]), float(u[i]))
        wide = torch.zeros(len(small), m + 2 * n, dtype=torch.float64)
        wide[:, :m] = small[:, :1] * weight[i]
        wide[:, m + i], wide[:, m + n + i] = small[:, 1], small[:, 2]
        blocks.append(wide)
        starts.append(low - small[:, 0] * bias[i])
        ends.append(high - small[:, 0] * bias[i])
    return torch.cat(blocks), torch.cat(starts), torch.cat(ends)
    ### END SOLUTION

# %% test="layer_rows" points=4
# Run this cell to check your layer_rows. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect, programs

exercise = checks.Exercise("layer_rows", points=4, by_hand=["coursekit.certify.milp.layer"])

def layer(count, inputs, seed):
    """A layer over the box [0, 1], and intervals for its neurons."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(count, inputs, generator=generator, dtype=torch.float64)
    half = weight.abs().sum(dim=1) / 2
    shift = half * (torch.rand(count, generator=generator, dtype=torch.float64) - 0.5)
    return weight, shift - weight.sum(dim=1) / 2, shift - half - 0.1, shift + half + 0.1

def points(weight, bias, seed, how_many=30):
    h = torch.rand(how_many, weight.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = h @ weight.T + bias
    return torch.cat([h, z.relu(), (z > 0).double()], dim=1)

def agrees(got, weight, bias, l, u, seed):
    """Every input with its own outputs and switches is allowed; with one other output it is not."""
    n, m = weight.shape
    tried = points(weight, bias, seed)
    hint = programs.layer_hint(got, tried[:, :m], weight, bias)
    for v in tried:
        expect.that(programs.allows(got, v.tolist()), "an input with its own outputs and switches is forbidden", "allowed: it is what the layer does", hint)
        for i in range(n):
            for change in (0.2, -0.2):
                other = v.clone()
                other[m + i] += change
                expect.that(not programs.allows(got, other.tolist()), f"output {i} may be {float(other[m + i]):.3g} instead of {float(v[m + i]):.3g}",
                            "forbidden: only max(z, 0)", "Each neuron needs all of its rows, with its own a and its own s: neuron i at columns m + i and m + n + i.")

@exercise.case("one neuron of two inputs")
def _(layer_rows):
    weight, bias = torch.tensor([[1.0, -2.0]]).double(), torch.tensor([0.5]).double()
    given = weight, bias, torch.tensor([-1.5]).double(), torch.tensor([1.5]).double()
    agrees(programs.rows(layer_rows(*given), 4), *given, seed=1)

@exercise.case("four neurons of three inputs")
def _(layer_rows):
    given = layer(4, 3, seed=2)
    agrees(programs.rows(layer_rows(*given), 11), *given, seed=3)

@exercise.case("more neurons than inputs, each with its own l and u: no looser than the triangle")
def _(layer_rows):
    weight, bias, l, u = layer(3, 2, seed=4)
    u = u * torch.tensor([1.0, 2.0, 3.0]).double()
    got = programs.rows(layer_rows(weight, bias, l, u), 8)
    agrees(got, weight, bias, l, u, seed=4)
    h = torch.full((2,), 0.5).double()
    z = weight @ h + bias
    top = u * (z - l) / (u - l)
    for i in range(3):
        v = torch.cat([h, z.relu(), (z > 0).double()])
        v[2 + i], v[5 + i] = top[i], (z[i] - l[i]) / (u[i] - l[i])
        expect.that(programs.allows(got, v.tolist()), f"neuron {i}: the top of its triangle is forbidden", "allowed", "Does each neuron use its own l and u?")
        v[2 + i] += 0.05
        tries = [torch.cat([v[: 5 + i], torch.tensor([s / 100]).double(), v[6 + i :]]) for s in range(101)]
        expect.that(not any(programs.allows(got, w.tolist()) for w in tries), f"neuron {i}: a point above its triangle is allowed", "forbidden",
                    "Does each neuron use its own l and u? One pair for the whole layer leaves too much room.")

@exercise.case("what is given is left as it was")
def _(layer_rows):
    given = layer(2, 2, seed=5)
    agrees(programs.rows(layer_rows(*given), 6), *given, seed=6)
    expect.unchanged(layer_rows)

### BEGIN HIDDEN TESTS
@exercise.case("other sizes", hidden=True, hint="Any numbers of inputs and neurons; z = W h + b with its bias; neuron i at columns m + i and m + n + i.")
def _(layer_rows):
    for count, inputs in ((1, 1), (6, 2), (2, 7)):
        given = layer(count, inputs, seed=10 + count)
        agrees(programs.rows(layer_rows(*given), inputs + 2 * count), *given, seed=count)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# The last layer has no ReLU. Its logits are linear in the outputs $\mathbf a$ of the last hidden layer, $\mathbf z = W \mathbf a + \mathbf b$, and so is every lead $z_y - z_j$. That is what the program minimises, once for each rival $j$.
#
# ### Exercise 9.4b: what to minimise · easy · 5 minutes · 2 points
#
# Write the leads of $y$ over all other classes as linear functions of $\mathbf a$.
#
# <details><summary>Hint</summary>
# z_y − z_j = (w_y − w_j)·a + (b_y − b_j): the difference of two rows is a row.
# </details>

# %% solution="lead_rows"
def lead_rows(weight: torch.Tensor, bias: torch.Tensor, y: int) -> tuple[torch.Tensor, torch.Tensor]:
    """z_y - z_j as rows . a + constants, one for each class j other than y, in ascending order of j.

    weight: (K, n), bias: (K,), the last layer z = W a + b, float64. y: the class, 0 to K - 1.
    Returns rows (K - 1, n) and constants (K - 1,), float64.
    """
    ### BEGIN SOLUTION
    rivals = [j for j in range(len(bias)) if j != y]
    return weight[y] - weight[rivals], bias[y] - bias[rivals]
    ### END SOLUTION

# %% test="lead_rows" points=2
# Run this cell to check your lead_rows. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("lead_rows", points=2, by_hand=["coursekit.certify.milp.leads"])

def right(got, weight, bias, y):
    expect.that(isinstance(got, list) and len(got) == 2, got, "rows and constants",
                "Did you forget a return?" if got is None else "Return two tensors: the rows, and the constants.")
    classes, count = weight.shape
    full = isinstance(got[0], torch.Tensor) and tuple(got[0].shape) == (classes, count)
    expect.that(not full, f"rows of shape {(classes, count)}", f"shape {(classes - 1, count)}", "There is one row too many: y is no rival of itself.")
    rows = expect.tensor(got[0], shape=(classes - 1, count), dtype=torch.float64, shape_hint="One row for each rival, K - 1 of them; as many columns as weight has.")
    constants = expect.tensor(got[1], shape=(classes - 1,), dtype=torch.float64, shape_hint="One number for each rival, K - 1 of them.")
    others = [j for j in range(classes) if j != y]
    expect.close(rows, weight[y] - weight[others], mistakes={
        "The sign is the other way round: these are the leads of the rivals over y.": weight[others] - weight[y],
        "These are the weights of the rivals alone. A lead is a difference.": weight[others],
        "Descending order: j goes from 0 up.": (weight[y] - weight[others]).flip(0),
        "Here the class 0 is y. Use the y that is given.": weight[0] - weight[1:],
        "The last class is left out instead of y.": (weight[y] - weight)[:-1],
        "The first class is left out instead of y.": (weight[y] - weight)[1:],
    }, hint="Row by row: w_y - w_j, for j in ascending order without y.")
    expect.close(constants, bias[y] - bias[others], mistakes={
        "The sign of the constants is the other way round.": bias[others] - bias[y],
        "These are the biases of the rivals alone.": bias[others],
        "The biases are missing.": torch.zeros(classes - 1).double(),
        "The bias of y alone: subtract that of the rival.": bias[y].expand(classes - 1),
    }, hint="b_y - b_j, in the same order as the rows.")

@exercise.case("three classes, y in the middle")
def _(lead_rows):
    weight, bias = torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.25]]).double(), torch.tensor([0.1, 0.7, -0.4]).double()
    right(lead_rows(weight, bias, 1), weight, bias, 1)

@exercise.case("two classes: one rival")
def _(lead_rows):
    weight, bias = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]]).double(), torch.tensor([0.5, -0.5]).double()
    for y in (0, 1):
        right(lead_rows(weight, bias, y), weight, bias, y)
    expect.unchanged(lead_rows)

### BEGIN HIDDEN TESTS
@exercise.case("ten classes, every y", hidden=True, hint="Any number of classes, any y: w_y - w_j and b_y - b_j for all j but y.")
def _(lead_rows):
    weight, bias = torch.randn(10, 6).double(), torch.randn(10).double()
    for y in (0, 4, 9):
        right(lead_rows(weight, bias, y), weight, bias, y)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Now put it together for the digit classifier: the box of pixels, the rows of the two hidden layers one after the other, the lead over one rival. `milp.network` does no more than write your rows into one wide matrix, and `milp.minimise` hands it to a solver (HiGHS, the one behind SciPy). The intervals $l, u$ of the neurons come from CROWN, a better relative of your exercise 9.1 (assignment 10 is about it).
#
# We take one of the digits that PGD did not fool although there is a way, the one with the lowest lead, and its most dangerous rival.

# %% demo="whole-network"
def written_out(model):
    """(W, b) of each linear layer, in double precision, the normalisation put into the first."""
    normalize, *rest = model.double()
    layers = [(layer.weight.detach(), layer.bias.detach()) for layer in rest if isinstance(layer, torch.nn.Linear)]
    weight, bias = layers[0]
    return [(weight / normalize.std, bias - weight.sum(dim=1) * normalize.mean / normalize.std), *layers[1:]]

def neuron_bounds(model, image, eps, method):
    """(l, u) in front of each ReLU."""
    deep, image = model.double(), image.double()
    ends = [i + 1 for i, layer in enumerate(deep[:-1]) if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        return [tuple(end[0] for end in relaxations.bounds(deep[:k], image, LpBall(eps, math.inf), method)) for k in ends]

def program_of(model, image, label, rival, eps, method="crown", bounds=None, layer=milp.layer):
    """The smallest z_label - z_rival over the box, as a mixed-integer program."""
    *hidden, (last, offset) = written_out(model)
    rows, constants = milp.leads(last, offset, label)
    place = rival - (rival > label)
    flat = image.double().flatten()
    return milp.network(hidden, (flat - eps).clamp(0, 1), (flat + eps).clamp(0, 1), bounds or neuron_bounds(model, image, eps, method),
                        rows[place], float(constants[place]), layer=layer)

double_model = coursekit.models.load("mnist_mlp", "pgd", 0.1).double()
candidates = missed or [i for i, status in enumerate(verdicts.status) if status == "counterexample"]
chosen = min(candidates, key=lambda i: float(verdicts.lead[i]))
x_adv = verdicts.x_adv[chosen : chosen + 1]
label, rival = int(y[chosen]), int(model(x_adv).argmax())
your_layer = checks.yours("layer_rows", lambda weight, bias, l, u: tuple(milp.layer(weight, bias, l, u)))

def straddling(weight, bias, l, u):
    """Your rows ask for l < 0 < u: a neuron that cannot switch gets a little room on the other side of 0."""
    return your_layer(weight, bias, l.clamp(max=-1e-3), u.clamp(min=1e-3))

problem = program_of(double_model, x[chosen : chosen + 1], label, rival, 0.1, layer=straddling)
rows_shape = tuple(problem["rows"].shape)
can_switch = sum(int(((l < 0) & (u > 0)).sum()) for l, u in neuron_bounds(double_model, x[chosen : chosen + 1], 0.1, "crown"))
print(f"digit {chosen}, a {label}; its rival is {rival}. {rows_shape[0]} inequalities on {rows_shape[1]} variables")
print(f"{len(problem['switches'])} of the variables are switches, one for each neuron; {can_switch} of these neurons can be on and off in the box")
relaxation = milp.relaxed(problem)
print(f"all switches fractional, one linear program: the lead over {rival} is at least {relaxation.value:.3f}")
print(f"lead of {label} at the best point of PGD: {float(lead(model, x_pgd, y)[chosen]):.3f}, at the point from exact verification: {float(verdicts.lead[chosen]):.3f}")

# %% [markdown]
# Two numbers on two sides of 0: the relaxation says "at least", PGD says "at most", and between them nothing is known. Closing the gap takes a search.
#
# ## 9.5 Branch and bound
#
# Solve the program with fractional switches: one linear program, and a lower bound of the smallest value. If all switches came out whole, its point is one of the network, and the bound is the answer. If not, **branch**: take a switch that is fractional, hold it at 0 in one copy of the problem and at 1 in another. Each point of the network is in one of the two, so the smaller of the two bounds holds for both. Go on with the copies, and **bound**: a copy whose lower bound is not below the best whole point seen so far needs no further look. At every moment there are two numbers:
#
# * **upper**, the smallest value seen at a point whose switches are whole;
# * **lower**, the smallest bound among all copies that still wait. Nothing is below it.
#
# The search is over when the two meet. It may also be stopped before: both numbers are true at any time (Land and Doig 1960; for networks Bunel et al. 2020).
#
# ### Exercise 9.5: branch and bound · hard · 30 minutes · 5 points
#
# Write the search, with a limit on the number of linear programs.
#
# `milp.relaxed(problem, fixed)` solves one linear program. `fixed` is a dictionary, variable → value, for instance `{5: 0, 8: 1}`. It returns `value`, the smallest value (`math.inf` if nothing satisfies the inequalities), and `point`, where it is taken (`None` then). `problem["switches"]` lists the variables that must be whole.
#
# <details><summary>Hint 1</summary>
# Keep a list of waiting copies, each with its bound, its point and its <code>fixed</code>. Always go on with the copy whose bound is lowest: then <code>lower</code> is that bound. (Two copies may have the same bound. Sort with <code>key=</code>: tuples are compared entry by entry, and points and dictionaries have no order.)
# </details>
# <details><summary>Hint 2</summary>
# Take the copy with the lowest bound out of the list. Its bound is not below <code>upper</code>: done, the answer is <code>upper</code>. A switch is fractional: solve the two copies with <code>fixed | {switch: 0}</code> and <code>fixed | {switch: 1}</code>, and put back what is not infinite. Before that: is there room for two more linear programs?
# </details>
# <details><summary>Hint 3</summary>
# Whole is what is closer to 0 or 1 than, say, 1e-6: a solver computes in floating point. A point with whole switches gives a value for <code>upper</code> as soon as it is seen.
# </details>

# %% solution="branch_and_bound"
def branch_and_bound(problem: dict, most: int) -> tuple[float, float]:
    """The smallest value of a problem with whole switches, from below and from above.

    problem: as `milp.relaxed` takes it; every switch is between 0 and 1, and some point satisfies all. most: at least 1;
    solve no more linear programs than that, the first of them the problem as it is. Every call of `milp.relaxed` counts.
    Returns (lower, upper), floats: no point with whole switches has a value below `lower`, which is at least what the
    first linear program gives, and clearly more after 24 of them where each switch that is held raises the bound; some
    point with whole switches has the value `upper`, or none was seen and it is math.inf. Both are the smallest value
    (up to 1e-5) when the search came to its end, which it does once no waiting copy can hold anything better.
    """
    ### BEGIN SOLUTION
    def fractional(answer):
        return [i for i in problem["switches"] if min(answer.point[i], 1 - answer.point[i]) > 1e-6]

    first, solved = milp.relaxed(problem), 1
    waiting = [(first, {})]
    upper = math.inf if fractional(first) else first.value
    while waiting:
        waiting.sort(key=lambda copy: copy[0].value)
        answer, fixed = waiting[0]
        if answer.value >= upper - 1e-9:
            return upper, upper
        if solved + 2 > most:
            return answer.value, upper
        waiting.pop(0)
        switch = max(fractional(answer), key=lambda i: min(answer.point[i], 1 - answer.point[i]))
        for position in (0, 1):
            half = milp.relaxed(problem, fixed | {switch: position})
            solved += 1
            if half.point is None:
                continue
            if not fractional(half):
                upper = min(upper, half.value)
            waiting.append((half, fixed | {switch: position}))
    return upper, upper
    ### END SOLUTION

# %% test="branch_and_bound" points=5
# Run this cell to check your branch_and_bound. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.certify import milp
from coursekit.checks import expect, programs

exercise = checks.Exercise("branch_and_bound", points=5, by_hand=["coursekit.certify.milp.minimise", "coursekit.certify.milp.search"])

def holds(branch_and_bound, problem, most):
    """Both numbers are true: lower is at most the smallest value, and upper is at least that."""
    lower, upper = programs.two_bounds(programs.searched(branch_and_bound, problem, most))
    truth, first = milp.minimise(problem).value, milp.relaxed(problem).value
    whole_too_soon = abs(upper - lower) < 1e-6 and lower > truth + 1e-5
    expect.that(not whole_too_soon, f"({lower:.4g}, {upper:.4g}) after at most {most} linear programs", f"({truth:.4g}, {truth:.4g})",
                "The first whole point is not the best one: a copy that still waits, with a lower bound, may hold a better point. "
                "The search is over when no waiting copy has a bound below upper.")
    expect.that(lower <= truth + 1e-5, f"lower = {lower:.4g} after {most} linear programs", f"at most {truth:.4g}, the smallest value",
                "A bound that is not true: lower is the smallest bound among all copies that still wait. Is one of them forgotten, "
                "or is the larger one taken?")
    expect.that(upper >= truth - 1e-5, f"upper = {upper:.4g} after {most} linear programs", f"at least {truth:.4g}, the smallest value",
                "Nothing has so small a value. Only points whose switches are all whole count for upper; rounding a switch makes another point.")
    expect.that(lower >= first - 1e-5, f"lower = {lower:.4g}", f"at least {first:.4g}, the bound of the first linear program",
                "The first linear program proves more than that.")
    return lower, upper, truth

@exercise.case("one switch: held at 0, held at 1")
def _(branch_and_bound):
    problem = programs.one_switch()
    lower, upper, truth = holds(branch_and_bound, problem, 10)
    expect.that(abs(lower - truth) < 1e-4 and abs(upper - truth) < 1e-4, f"({lower:.4g}, {upper:.4g})", f"({truth:.4g}, {truth:.4g})",
                "Three linear programs are enough for one switch: as it is, held at 0, held at 1. Does the search go on until nothing waits?")

@exercise.case("to the end: the smallest value of small networks")
def _(branch_and_bound):
    for inputs, neurons, seed in ((2, 5, 1), (2, 5, 15), (2, 5, 28), (2, 5, 39), (3, 10, 13)):
        problem = programs.of_network(inputs=inputs, neurons=neurons, seed=seed)
        lower, upper, truth = holds(branch_and_bound, problem, 500)
        expect.that(abs(upper - truth) < 1e-4, f"upper = {upper:.4g}", f"{truth:.4g}", "The smallest value was not found, or the search stopped too "
                    "early. Are both copies of each branching looked into?")
        expect.that(abs(lower - truth) < 1e-4, f"lower = {lower:.4g}, upper = {upper:.4g}", "both the same at the end",
                    "The best point is right, but that nothing is below it is not yet proven: go on while a waiting copy has a lower bound, "
                    "and at the end return the same number twice.")

@exercise.case("ten switches: most of the 1,024 patterns need no look")
def _(branch_and_bound):
    problem = programs.of_network(inputs=3, neurons=10, seed=7)
    lower, upper, truth = holds(branch_and_bound, problem, 400)
    expect.that(abs(lower - truth) < 1e-4 and abs(upper - truth) < 1e-4, f"({lower:.4g}, {upper:.4g}) after 400 linear programs",
                f"({truth:.4g}, {truth:.4g})", "A copy whose bound is not below upper need not be branched on, and a switch that is whole in the "
                "point need not be held. With both, a few dozen linear programs are enough here.")

@exercise.case("no more linear programs than `most`: each switch that is held raises the bound by 1")
def _(branch_and_bound):
    problem = programs.even(switches=6)
    for most, provable in ((1, 0), (2, 0), (4, 1), (8, 2), (16, 3)):
        lower, _, _ = holds(branch_and_bound, problem, most)
        expect.that(lower <= provable + 1e-3, f"lower = {lower:.4g} with most = {most}", f"at most {provable}, all that {most} linear programs can prove",
                    "That takes more linear programs than `most`. Count each call of milp.relaxed, the first one too; a branching has two. Is there room for both?")
    lower, _, _ = holds(branch_and_bound, problem, 24)
    expect.that(lower > 0.5, f"lower = {lower:.4g} after 24 linear programs", "clearly above 0, the bound of the first",
                "When the limit is reached, lower is the smallest bound among the copies that wait by then, no longer that of the first linear program.")

@exercise.case("stopped early: both numbers are true, and they do not meet yet")
def _(branch_and_bound):
    problem = programs.of_network(inputs=3, neurons=10, seed=7)
    for most in (1, 2, 3, 6):
        lower, _, truth = holds(branch_and_bound, problem, most)
        expect.that(lower < truth - 1e-3, f"lower = {lower:.4g}, already the smallest value, with at most {most} linear programs", "a lower bound that is not there yet",
                    "So few linear programs cannot prove that. Do you count each call of milp.relaxed, and stop at `most`?")
    for most in (10, 16, 24):
        holds(branch_and_bound, problem, most)

@exercise.case("a switch that can only be 1: the other copy is empty")
def _(branch_and_bound):
    problem = programs.with_empty_half()
    lower, upper, truth = holds(branch_and_bound, problem, 20)
    expect.that(abs(lower - truth) < 1e-4 and abs(upper - truth) < 1e-4, f"({lower:.4g}, {upper:.4g})", f"({truth:.4g}, {truth:.4g})",
                "A copy that nothing satisfies has the value infinity and no point: it is done.")
    expect.unchanged(branch_and_bound)

### BEGIN HIDDEN TESTS
@exercise.case("other problems, other limits", hidden=True, hint="For any problem: lower and upper hold at every limit, and meet at the end.")
def _(branch_and_bound):
    for seed, neurons, inputs in ((18, 10, 3), (11, 5, 2), (38, 5, 2)):
        problem = programs.of_network(inputs=inputs, neurons=neurons, seed=seed)
        lower, upper, truth = holds(branch_and_bound, problem, 500)
        expect.that(abs(lower - truth) < 1e-4 and abs(upper - truth) < 1e-4, "not at the end", "both the smallest value")
    for seed, switches in ((23, 4), (24, 6)):
        problem = programs.random(switches=switches, seed=seed)
        lower, upper, truth = holds(branch_and_bound, problem, 300)
        expect.that(abs(lower - truth) < 1e-4 and abs(upper - truth) < 1e-4, "not at the end", "both the smallest value")
        holds(branch_and_bound, problem, 4)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Watch it work: the two numbers after 1, 2, 3, ... linear programs, for a network with three inputs and twelve neurons.

# %% demo="two-bounds-picture"
def reference_search(problem, most):
    """A stand-in with the two numbers of the search after `most` linear programs."""
    return milp.search(problem, most=most)

search = checks.yours("branch_and_bound", reference_search)
small = checks.programs.of_network(inputs=3, neurons=12, seed=5) | {"constant": 0.8}
history = []
for most in tqdm(range(1, 80, 2), desc="searches, each a little longer", leave=False):
    history += [search(small, most)] * 2  # two more linear programs at a time
    if history[-1][1] - history[-1][0] < 1e-6:
        break
plots.two_bounds(history[:-1], truth=history[-1][1])

# %% [markdown]
# For certification the search may stop long before the two meet: as soon as *lower* is above 0 the image is robust, and as soon as *upper* is below 0 there is a counterexample. Only while 0 lies between them is nothing known. `exact.verify` does just that, with three refinements: it branches first where the triangle is furthest above the ReLU; it shows the pixels of every linear program to the network itself, so that *upper* falls early; and it recomputes each bound from the linear program's multipliers, so that the proof does not rest on the solver's rounding.
#
# ## 9.6 Reading the answer
#
# For an image there are $K - 1$ searches, one for each rival, and at the end somebody has to say a word. It must be the right one of three. Four things matter:
#
# * **Robust** needs a proof for *every* rival: a lower bound above 0. How far above? Bounds are computed in floating point, so a small `slack` is asked for.
# * **A counterexample** is one when *the model itself* misclassifies the point. The program computes in double precision with tolerances of its own, the model in single precision; close to 0 they may disagree. The model is what is deployed: it has the last word.
# * When time ran out, the lower bounds are true and perhaps below 0. Then the word is **undecided**. It is not robust, and not a counterexample either.
# * A bound that is NaN proves nothing.
#
# ### Exercise 9.6: the verdict · easy · 10 minutes · 3 points
#
# Say "robust", "counterexample" or "undecided".
#
# <details><summary>Hint</summary>
# A point that the model gets wrong settles it, whatever the bounds say. Otherwise look at all bounds. Everything else is the third word.
# </details>

# %% solution="verdict"
def verdict(bounds: list[float], leads: list[float], slack: float) -> str:
    """What is known of an image: "robust", "counterexample" or "undecided".

    bounds: for each rival class, what the lead over it is at least in P(x), as far as its search got; may be -inf, inf or
    NaN; at least one. leads: for each point of P(x) that a search brought up, the lead of y there according to the model
    itself, z_y - max z_j; there may be no points. Below 0: misclassified. slack: above 0; a bound must be above it to
    prove anything.
    """
    ### BEGIN SOLUTION
    if any(value < 0 for value in leads):
        return "counterexample"
    return "robust" if all(bound > slack for bound in bounds) else "undecided"
    ### END SOLUTION

# %% test="verdict" points=3
# Run this cell to check your verdict. (The dots unfold it: what is tried, and what is expected.)
import math
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("verdict", points=3)

def says(verdict, bounds, leads, expected, hint, slack=1e-5):
    got = verdict(bounds, leads, slack)
    expect.that(got is not None, "None", "a word", "Did you forget a return?")
    expect.that(got in ("robust", "counterexample", "undecided"), got, "'robust', 'counterexample' or 'undecided'", "One of these three words, as a string.")
    expect.that(got == expected, f"{got!r} for bounds {bounds} and leads {leads}", repr(expected), hint)

@exercise.case("every rival is proven to stay behind")
def _(verdict):
    says(verdict, [0.3, 1.2, 0.05], [], "robust", "All bounds are above the slack, and no point speaks against it.")
    says(verdict, [0.3, math.inf], [0.4, 0.31], "robust", "A point where y leads is no counterexample; all bounds are above the slack.")

@exercise.case("the model itself gets a point wrong")
def _(verdict):
    says(verdict, [-0.7, 0.2], [-0.1], "counterexample", "The model misclassifies the point: that settles it.")
    says(verdict, [-0.7, -math.inf], [0.3, -0.02, 0.5], "counterexample", "One misclassified point is enough, wherever it stands in the list.")
    says(verdict, [-0.1], [-1e-7], "counterexample", "Below 0 is misclassified, by however little: the slack is for bounds, which are computed in floating point.")

@exercise.case("every bound is above the slack, and yet the model gets a point wrong")
def _(verdict):
    says(verdict, [0.3, 0.2], [-0.01], "counterexample", "Look at the points first. One that the model gets wrong settles it, whatever the bounds say: something was wrong with them.")

@exercise.case("time ran out: one bound is still below 0")
def _(verdict):
    says(verdict, [-0.2, 0.9], [], "undecided", "Robust needs a proof for every rival, not for one.")
    says(verdict, [0.4, -math.inf, 0.9], [0.1], "undecided", "A negative lower bound is no counterexample: it only says that the proof is not finished. And that no "
         "wrong point was found is no proof.")

@exercise.case("a program says below 0, the model says right: rounding")
def _(verdict):
    says(verdict, [-1e-7, 0.5], [2e-6], "undecided", "The model classifies the point correctly, so it is no counterexample; and the bound does not prove anything.")

@exercise.case("a bound within the slack of 0 proves nothing")
def _(verdict):
    says(verdict, [1e-6, 0.5], [], "undecided", "1e-6 is above 0, but not above the slack of 1e-5.")
    says(verdict, [1e-5], [], "undecided", "Above the slack is asked for: equal to it is not above.")
    says(verdict, [0.01, 0.5], [], "undecided", "Use the slack that is given: here 0.1.", slack=0.1)

@exercise.case("NaN is no proof")
def _(verdict):
    says(verdict, [0.3, math.nan], [], "undecided", "Every comparison with NaN is False: ask whether all bounds are above the slack, not whether one is below.")
    says(verdict, [math.nan, 0.3], [], "undecided", "Every comparison with NaN is False, and min() of a list with NaN depends on the order.")

### BEGIN HIDDEN TESTS
@exercise.case("more rivals, other slacks", hidden=True, hint="A misclassified point first, then all bounds against the slack, else undecided.")
def _(verdict):
    says(verdict, [0.2] * 9, [], "robust", "")
    says(verdict, [0.2] * 8 + [-3.0], [], "undecided", "")
    says(verdict, [0.2] * 9, [-1e-3], "counterexample", "A point that the model gets wrong speaks against every bound.")
    says(verdict, [0.2], [0.0], "robust", "")
    says(verdict, [math.nan], [-1.0], "counterexample", "")
    says(verdict, [0.5, 0.06], [], "robust", "", slack=0.05)
    says(verdict, [0.5, 0.05], [], "undecided", "", slack=0.05)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# And here it is, the point that PGD missed: 100 steps from ten starts, and again with the margin as loss, against one answer of the search. The box is the same.

# %% demo="the-missed-one"
one, its_label = x[chosen : chosen + 1], y[chosen : chosen + 1]
by_margin = attacks.pgd(model, one, its_label, ball, steps=100, restarts=10, loss=losses.margin, generator=torch.Generator().manual_seed(1))
print(f"lead of the {label}:  at x {float(lead(model, one, its_label)):.3f}   PGD {float(lead(model, x_pgd, y)[chosen]):.3f}   "
      f"PGD on the margin {float(lead(model, by_margin, its_label)):.3f}   exact {float(lead(model, x_adv, its_label)):.3f}")
print(f"largest change of a pixel: {float((x_adv - one).abs().max()):.3f}; the model says {int(model(x_adv).argmax())}")
plots.perturbation(one, x_adv, model)

# %% [markdown]
# And a word of your own: the first digit, $\epsilon = 0.05$, all nine rivals, with your rows, your search (at most three linear programs for each rival) and your verdict. What does not pass yet is the reference's.

# %% demo="your-verdict"
your_search = checks.yours("branch_and_bound", lambda problem, most: milp.search(problem, most=most))
your_verdict = checks.yours("verdict", lambda bounds, leads, slack: "robust" if min(bounds) > slack else "undecided")
first, its_class = x[:1], int(y[0])
proven = [your_search(program_of(double_model, first, its_class, j, 0.05, layer=straddling), 3)[0] for j in tqdm(range(10), leave=False) if j != its_class]
print(f"digit 0, a {its_class}: its lead is at least {min(proven):.3f} everywhere in the box; the verdict is {your_verdict(proven, [], 1e-5)!r}")

# %% [markdown]
# ## 9.7 Bounds on the neurons: valid, or the proof is void
#
# The inequalities contain $l$ and $u$, and with them two ways to go wrong that are not alike.
#
# **Too loose** ($l$ too low, $u$ too high): the program is still exact. But its triangles are larger, its first bound is worse, and the search has more to do. Here is the relaxation of the same question with the intervals of exercise 9.1 and with those of CROWN.

# %% demo="loose-bounds"
for method in ("interval", "crown"):
    bounds = neuron_bounds(double_model, one, 0.1, method)
    free = sum(int(((l < 0) & (u > 0)).sum()) for l, u in bounds)
    width = torch.cat([u - l for l, u in bounds]).mean()
    value = milp.relaxed(program_of(double_model, one, label, rival, 0.1, bounds=bounds)).value
    print(f"{method:>8}: mean width of a neuron's interval {width:5.2f}, {free} of 64 neurons can switch, first bound {value:7.2f}")

# %% [markdown]
# **Too tight** ($l$ too high, or $u$ too low): some input of the box drives the neuron below $l$. The rows forbid that input, although it is there. So the program searches only a part of the box, and what it proves holds for that part.
#
# This is what the encoding looks like if $l = -0.4$ is claimed of a neuron that goes down to $-1$:

# %% demo="too-tight-picture"
plots.encoding(tuple(milp.relu(-0.4, 2.0)), -1.0, 2.0)

# %% [markdown]
# It is an easy mistake to make. Somebody may take the bounds from *data*: propagate a thousand random points of the box, note the lowest and the highest value of each neuron, add a tenth of the width on either side to be safe. Try it on the digit with the counterexample that we have seen. First with valid bounds, then with those from 1,000 random points: what does the exact solver say about the smallest lead over the rival?
#
# **Predict.** With bounds from random points, does the program find the counterexample ("below 0") or does it "prove" that there is none ("above 0")?

# %%
my_guess = None  # replace None by "below 0" or "above 0"

# %% demo="sampled-bounds"
def sampled_bounds(model, image, eps, count=1000, extra=0.1):
    """What random points of the box reach in front of each ReLU, and a tenth more: no bounds at all."""
    points = LpBall(eps, math.inf).sample(image.expand(count, *image.shape[1:]), generator=torch.Generator().manual_seed(0)).double()
    found = []
    for layer in model[:-1]:
        points = layer(points).detach()
        if isinstance(layer, torch.nn.Linear):
            low, high = points.min(dim=0).values, points.max(dim=0).values
            found.append((low - extra * (high - low), high + extra * (high - low)))
    return found

def smallest(bounds):
    """The smallest lead over the rival with these bounds on the neurons, as a range if there was not time enough."""
    return milp.minimise(program_of(double_model, one, label, rival, 0.1, bounds=bounds), seconds=6.0)

wrong = smallest(sampled_bounds(double_model, one, 0.1))
reached = float(lead(model, x_adv, its_label))
what = f"at least {wrong.bound:.3f}" if wrong.bound < math.inf else "that no point of the box satisfies the inequalities"
checks.reveal(my_guess, f"the program says: {what}", f"But we hold a point of the box in hand where the lead is {reached:.3f}.\nThe program never looked there: its inequalities exclude it.")

# %% [markdown]
# Random points of a box in 784 dimensions all look alike: each neuron sums up hundreds of independent changes, which cancel. What they reach is a small part of what the worst point reaches (the same cancelling lets random noise fail as an attack). And note how the mistake shows: not at all. The solver is exact, its answer is "optimal", and it is wrong about the network.
#
# ### Question 9.7: a bound that is a little too large · medium · 10 minutes · 3 points
#
# A colleague computes the bound $l$ of each neuron in single precision; rounding makes some of them larger than they should be, by one part in a million. (1) Which points does the program lose, and can a verdict become wrong by it? In which direction: could "robust" be false, could a counterexample be false? (2) How would you notice? Name a test that could reveal it, and say what the test cannot show. (3) Name a repair that costs little.

# %% [markdown] answer="too-tight" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: the points of the box at which the neuron lies below the claimed $l$ (a thin slice) are cut out; the minimum is taken over less, so the lower bound may be too high and "robust" may be false. A counterexample cannot become false: it is a point, and the model itself is asked.
#
# **1 point**: a test that holds the bounds against something independent: run attacks (or random points and corners) and see whether any neuron leaves its interval or any point leaves the "proven" lead; compare with enumeration on tiny networks. It can reveal a violation but not show that there is none: that is the same gap as between attack and proof. The solver itself reports nothing.
#
# **1 point**: make the bound safe: widen each interval by more than the rounding error (outward rounding, double precision, a relative slack), because a looser bound is always valid and costs only time; or require a lead above a slack that covers the error.
# === END MARK SCHEME ===
# Lost are the inputs for which this neuron is between its true smallest value and the claimed one. If the smallest lead is taken just there, the program reports a larger one, and a network may be called robust that is not. A reported counterexample stays one, because the model itself misclassifies the point. To notice, I would record the neurons' values for many attacked points and compare them with the intervals, and on networks small enough I would compare the verdicts with an exhaustive enumeration in fractions. Either may find a violation, neither can exclude one. The repair is to err on the safe side: subtract a small amount from each $l$ and add it to each $u$, more than rounding could have changed. A looser bound leaves the program exact and makes it a little slower.

# %% [markdown]
# ## 9.8 What it costs
#
# A neuron that is on everywhere in the box, or off everywhere, is linear there and needs no switch. What counts is the number of those that can do both, and that grows with the box. Measure it: eight digits, both networks, growing ε, two seconds at most for each.

# %% demo="cost-picture"
few = slice(0, 8)

def switching(model, eps):
    """How many neurons of the network can be on and off in the box of each of these digits, by CROWN."""
    deep = model.double()
    ends = [i + 1 for i, layer in enumerate(deep[:-1]) if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        pairs = [relaxations.bounds(deep[:k], x[few].double(), LpBall(eps, math.inf), "crown") for k in ends]
    return sum(((l < 0) & (u > 0)).sum(dim=1) for l, u in pairs)

limit, costs, undecided = 2.0, {}, 0
for name, training in (("standard", ("mnist_mlp",)), ("trained with PGD", ("mnist_mlp", "pgd", 0.1))):
    network, radii = coursekit.models.load(*training), [0.02, 0.04, 0.06, 0.08]
    neurons, seconds = [], []
    for eps in tqdm(radii, desc=name, leave=False):
        neurons.append(switching(coursekit.models.load(*training), eps))
        answers = exact.verify(network, x[few], y[few], LpBall(eps, math.inf), time_limit=limit, attack=False)
        seconds.append(answers.seconds)
        undecided += answers.status.count("undecided")
    costs[name] = radii, torch.stack(neurons), torch.stack(seconds)
print(f"{undecided} of {2 * 4 * 8} questions undecided after {limit:g} seconds")
plots.search_cost(costs, limit=limit)

# %% [markdown]
# Each step to the right lets a few more neurons switch, and the seconds go up with them: on this short way by a factor of ten or so for the standard network, while ε grows by a factor of four. A cross on the dotted line would be a digit that was given up, for which nobody knows how long it would take. The curve is not smooth: a counterexample may turn up early and end the search, and a digit far from every boundary is proven by its first linear program, whatever ε. The crosses are the hard ones in between. At $\epsilon = 0.3$ nearly all of the 64 neurons of the standard network can switch. The shipped `mnist_cnn` has nearly 5,000, a network for photographs millions. There exact certification ends, and one has to be content with bounds: assignment 10 (relaxations), 11 (Lipschitz constants) and 12 (smoothing).
#
# ### Question 9.8: time ran out · medium · 10 minutes · 3 points
#
# A company has its digit reader examined at $\epsilon = 0.1$, with 60 seconds for each of 1,000 images. The result: 720 robust, 190 with a counterexample, 90 undecided. The draft of the report says: "In 81 % of the cases no adversarial example could be found, so the reader is 81 % robust." (1) What may be claimed about the share of these images that are robust, exactly? (2) What is wrong with the sentence, and write a better one. (3) The company offers to leave out the undecided images and report 720 of 910. What would that do, and what do you suggest for the 90?

# %% [markdown] answer="time-ran-out" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: the robust share of these 1,000 images lies between 72 % (proven) and 81 % (not refuted), both ends certain; for other images of the same kind there is a sampling error besides.
#
# **1 point**: "none could be found" is not "there is none": 9 % are unknown. A better sentence names all three numbers with ε, norm and time limit, and claims at least 72 %.
#
# **1 point**: leaving out the undecided makes the number (79 %) larger without any proof, and the undecided are no random sample: they are the hard ones, close to 0, with many neurons that switch. Better: count them as not certified (72 %), or spend more time, tighter bounds, a smaller ε, and report for each image how far its bounds got.
# === END MARK SCHEME ===
# 720 are proven robust, 190 are proven not to be, and for 90 nothing is known. So the share that is robust is at least 72 % and at most 81 %, at this ε and in this norm. The draft takes the upper end for the truth. I would write: "Of 1,000 test images 72.0 % are certified against changes of at most 0.1 for each pixel; for 19.0 % there is a counterexample; 9.0 % were undecided after 60 seconds." To drop the undecided would give 79 %, a number that nothing proves, because the images for which the search takes long are just those whose smallest lead is near 0. I would count them as not certified, and give those 90 more time or tighter bounds on the neurons.

# %% [markdown]
# ## 9.9 The truth between attack and certificate
#
# With exact verdicts one can judge everybody else. Here is the robust accuracy of the network that was trained against PGD, on the second half of our digits, four times: as PGD has it, as it is, and as two certificates have it.

# %% demo="robust-accuracy-picture"
many = slice(50, 100)
radii = [0.025, 0.05, 0.075, 0.1]
shares = {"PGD (20 steps) fails": [], "exact": [], "CROWN proves": [], "intervals prove": []}
undecided = 0
for eps in tqdm(radii, desc="radii", leave=False):
    box = LpBall(eps, math.inf)
    generator = torch.Generator().manual_seed(0)
    x_attacked = attacks.pgd(model, x[many], y[many], box, steps=20, generator=generator)
    truth = exact.verify(model, x[many], y[many], box, time_limit=5.0)
    undecided += truth.status.count("undecided")
    shares["PGD (20 steps) fails"].append(float((lead(model, x_attacked, y[many]) > 0).double().mean()))
    shares["exact"].append(truth.share("robust"))
    for label_of, method in (("CROWN proves", "crown"), ("intervals prove", "interval")):
        shares[label_of].append(float(relaxations.certified(model, x[many], y[many], box, method).double().mean()))
print(f"{undecided} of {len(radii) * 50} exact questions undecided after five seconds")
plots.curves({name: (radii, values) for name, values in shares.items()}, chance=None, ylabel="share of 50 digits")

# %% [markdown]
# Above the exact line lies every attack, below it every certificate, always. The distance from above is what attacks miss, and only the exact line could tell you how much that is. The distance from below is what certificates do not know: CROWN stays close while ε is small, intervals give up almost at once.
#
# One question is left. Verdicts at single radii also say how far away the nearest error is: if a digit is robust at 0.03 and has a counterexample at 0.05, its **distance** lies between. The distance of a counterexample itself counts, too: it may be nearer than the radius that was asked about.
#
# ### Exercise 9.9: what the verdicts say about the distance · easy · 10 minutes · 2 points
#
# Put the verdicts at several radii together into an interval for the distance to the nearest error.
#
# <details><summary>Hint</summary>
# Robust at a radius: nothing is that near, so the distance is at least the radius. A counterexample that is δ away: the distance is at most δ. Undecided says nothing.
# </details>

# %% solution="distance_range"
def distance_range(radii: list[float], statuses: list[str], away: list[float]) -> tuple[float, float]:
    """The distance from x to the nearest point that the model gets wrong: at least the first number, at most the second.

    For each question: the radius of the ball, in any order; what `verdict` said, "robust", "counterexample" or
    "undecided"; and how far the counterexample is from x, at most the radius (math.inf where there is none). The lists
    are equally long and may be empty. The first number is 0 if nothing is known, the second math.inf.
    """
    ### BEGIN SOLUTION
    proven = [radius for radius, status in zip(radii, statuses) if status == "robust"]
    shown = [far for far, status in zip(away, statuses) if status == "counterexample"]
    return max(proven, default=0.0), min(shown, default=math.inf)
    ### END SOLUTION

# %% test="distance_range" points=2
# Run this cell to check your distance_range. (The dots unfold it: what is tried, and what is expected.)
import math
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("distance_range", points=2, by_hand=["coursekit.certify.exact.minimum_distance"])
R, C, U = "robust", "counterexample", "undecided"

def says(distance_range, radii, statuses, away, lower, upper, low_hint, high_hint, mistakes=()):
    got = distance_range(radii, statuses, away)
    expect.that(isinstance(got, list) and len(got) == 2, got, "two numbers, at least and at most",
                "Did you forget a return?" if got is None else "Return both ends, as two numbers.")
    ends = []
    for value in got:
        ends.append(math.inf if value == math.inf else expect.number(value))
    for hint, pair in mistakes:
        expect.that(not all(a == b or abs(a - b) < 1e-9 for a, b in zip(ends, pair)), f"({ends[0]:g}, {ends[1]:g})", f"({lower:g}, {upper:g})", hint)
    expect.that(abs(ends[0] - lower) < 1e-9, f"at least {ends[0]:g}", f"at least {lower:g}", low_hint)
    expect.that(ends[1] == upper or abs(ends[1] - upper) < 1e-9, f"at most {ends[1]:g}", f"at most {upper:g}", high_hint)

@exercise.case("robust at two radii, a counterexample at a third")
def _(distance_range):
    says(distance_range, [0.01, 0.03, 0.05], [R, R, C], [math.inf, math.inf, 0.05], 0.03, 0.05,
         "Robust at 0.03 proves more than robust at 0.01: take the largest.", "The counterexample is 0.05 away.",
         [("The ends are swapped: first at least, then at most.", (0.05, 0.03))])

@exercise.case("the counterexample is nearer than the radius")
def _(distance_range):
    says(distance_range, [0.02, 0.08], [R, C], [math.inf, 0.061], 0.02, 0.061, "Robust at 0.02.",
         "The ball had the radius 0.08, but the point in it is only 0.061 away: that is an upper bound of the distance.")

@exercise.case("in any order, with an undecided one in between")
def _(distance_range):
    says(distance_range, [0.09, 0.04, 0.06, 0.02, 0.12], [C, R, U, R, C], [0.085, math.inf, math.inf, math.inf, 0.09], 0.04, 0.085,
         "The largest radius that is proven, wherever it stands; undecided proves nothing.",
         "The nearest counterexample, wherever it stands.",
         [("You take the last of each kind. The radii are in no order.", (0.02, 0.09)),
          ("You take the last radius that is proven. The radii are in no order: the largest counts.", (0.02, 0.085)),
          ("That is the counterexample furthest away. The nearest one says most about the distance.", (0.04, 0.09)),
          ("Undecided at 0.06 is no proof: nothing was found is not there is nothing.", (0.06, 0.085))])

@exercise.case("nothing proven, nothing found, nothing asked")
def _(distance_range):
    says(distance_range, [0.1, 0.2], [U, U], [math.inf, math.inf], 0.0, math.inf, "Nothing is proven: at least 0.", "Nothing was found: at most infinity.")
    says(distance_range, [0.1], [R], [math.inf], 0.1, math.inf, "Robust at 0.1.", "No counterexample is known: infinity, for it may be anywhere.")
    says(distance_range, [0.1], [C], [0.0], 0.0, 0.0, "Nothing is proven: at least 0.", "x itself is misclassified: the distance is 0.")
    says(distance_range, [], [], [], 0.0, math.inf, "Nothing was asked: at least 0.", "Nothing was asked: infinity.")

### BEGIN HIDDEN TESTS
@exercise.case("more questions", hidden=True, hint="The largest proven radius, and the nearest counterexample.")
def _(distance_range):
    says(distance_range, [0.3, 0.1, 0.2, 0.25], [C, R, R, C], [0.22, math.inf, math.inf, 0.24], 0.2, 0.22, "", "")
    says(distance_range, [0.3, 0.1], [C, C], [0.3, 0.07], 0.0, 0.07, "", "")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Ask at the middle of the interval, again and again, and the two ends close in: that is `exact.minimum_distance`, the exact counterpart of the attacks of assignment 04. Beside it, what PGD makes of the same question.

# %% demo="exact-distances"
digits = [4, 9, 27]
found = exact.minimum_distance(standard_model, x[digits], y[digits], tolerance=2e-3)
by_attack = attacks.smallest_eps(standard_model, x[digits], y[digits], math.inf, eps_max=0.5, halvings=12)
for i, low, high, attacked in zip(digits, found.lower.tolist(), found.upper.tolist(), by_attack.tolist(), strict=True):
    print(f"digit {i:2d}, a {int(y[i])}: between {low:.4f} and {high:.4f};  PGD comes as near as {attacked:.4f}")
plots.images(torch.cat([x[digits], found.x_adv]), columns=len(digits), rows=["x", "nearest error"],
             titles=[f"{int(k)}" for k in y[digits]] + [f"f: {int(k)}" for k in standard_model(found.x_adv).argmax(dim=1)])

# %% [markdown]
# ## What to take along
#
# * **Nothing found is not nothing there.** Attacks bound the smallest lead from above, proofs from below. Only where both are on the same side of 0 is the question settled.
# * **A network is a mixed-integer program**: four inequalities and a switch for each neuron that can be on and off. With fractional switches it is a linear program and a bound; with whole ones it is the network.
# * **Branch and bound** has two true numbers at every moment, and may be stopped at any. That is why there are three verdicts and not two.
# * **Bounds on the neurons must hold.** Too loose costs time; too tight costs the proof, and nobody notices.
# * **Counterexamples are checked by the model**, proofs by nothing but the care with which bounds were computed.
# * **It does not scale**: the cost grows exponentially with the number of neurons that can switch. Where it is affordable, it is the judge of everything else.
#
# ## Further
#
# * Vincent Tjeng, Kai Xiao, Russ Tedrake, "Evaluating robustness of neural networks with mixed integer programming", ICLR 2019: the encoding, and how much tight bounds gain.
# * Guy Katz, Clark Barrett, David Dill, Kyle Julian, Mykel Kochenderfer, "Reluplex: an efficient SMT solver for verifying deep neural networks", CAV 2017: the other root of the field, and the proof that the problem is NP-complete.
# * Rudy Bunel and others, "Branch and bound for piecewise linear neural network verification", JMLR 2020: branch and bound as the common frame.
# * Rüdiger Ehlers, "Formal verification of piece-wise linear feed-forward neural networks", ATVA 2017: the triangle.
# * Arnold Neumaier, Oleg Shcherbina, "Safe bounds in linear and mixed-integer linear programming", Mathematical Programming 2004: how a bound is made to hold in floating point.
# * In the library: `coursekit.certify.exact` (verdicts and distances), `certify.program` (the programs that it builds, smaller than those written out here), `certify.milp` (those of this notebook), `certify.enumeration` (tiny networks, in exact fractions).
