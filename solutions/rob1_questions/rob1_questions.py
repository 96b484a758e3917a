# %% [markdown]
# # 8 The two questions of the chapter
#
# The chapter on adversarial examples ends with two questions and no answers; you settle both, the first by a **construction** that works for every classifier whatever, the second by a **counterexample** of your own that a program takes apart in exact arithmetic. On the way you learn what a proof has that an experiment has not.
#
# **After this notebook you can**
#
# * say which classifiers have no adversarial example anywhere, and prove that all others have some, for every ε;
# * find two points that no classifier can keep apart with the fewest questions that will do, in any dimension and any norm, without a gradient;
# * tell "robust on the data" from "robust everywhere", and say which property of $\mathbb R^d$ the difference rests on;
# * find the worst point of a small ReLU network exactly, and build one on which FGSM fails although there is something to find;
# * say for which classifiers one step is provably enough, and why more than two classes break the proof.
#
# **Slides**: "Questions - Rob1". **Time**: about three hours. **Points**: 28 from eight functions that are checked at once, 8 from two texts that a person reads. Assignment 03 (gradient attacks) helps, and is not needed.
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other dimensions, other classifiers and other values of ε. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was.</div>
#
# **Notation**, as on the slides: $f$ a classifier, $\mathbf x$ a point with label $y$, and the **open** ball
#
# $$\mathcal P_{\epsilon,p}(\mathbf x) = \{\tilde{\mathbf x} : \lVert\tilde{\mathbf x} - \mathbf x\rVert_p < \epsilon\}, \qquad p \in \{1, 2, \infty\}.$$
#
# The other notebooks use the closed ball, $\le\epsilon$, as code does. Here the two questions are about the slide's own set, so in Part 1 the $<$ is meant. There is no image range in this notebook: the questions speak of all of $\mathbb R^d$. Points are double precision (`torch.float64`).

# %% readonly="setup"
import math

import torch

import coursekit
from coursekit import attacks, checks, data, plots, widgets
from coursekit.perturbations import LpBall

torch.set_num_threads(1)  # what is computed here is small

test_digits = data.load("mnist", "test")
linear_model = coursekit.models.load("mnist_linear")  # logits = W x + b
model = coursekit.models.load("mnist_cnn")  # a small convolutional network
print(f"{len(test_digits.x)} test digits for the end of each part")

# %% [markdown]
# # Part 1: can every point be robust?
#
# ## 8.1 The first question
#
# > *Given an arbitrary binary classifier $f$ for an input domain $\mathbb R^d$ and the perturbation set $\mathcal P_{\epsilon,p}(\mathbf x)$ as defined before. Is it possible that every $\mathbf x \in \mathbb R^d$ is "robust", i.e. no adversarial example exists?*
#
# The definition says: $\tilde{\mathbf x} \in \mathcal P(\mathbf x)$ is an adversarial example for $f$ at $(\mathbf x, y)$ if $f(\mathbf x) = y$ and $f(\tilde{\mathbf x}) \ne y$. It needs a label $y$, and on all of $\mathbb R^d$ nobody has put one. So we take the only one at hand, $y = f(\mathbf x)$. Then the condition $f(\mathbf x) = y$ holds by itself, and
#
# $$\mathbf x \text{ is robust} \iff f(\tilde{\mathbf x}) = f(\mathbf x) \text{ for all } \tilde{\mathbf x} \text{ with } \lVert\tilde{\mathbf x} - \mathbf x\rVert_p < \epsilon.$$
#
# (8.3 comes back to what changes if $y$ comes from elsewhere.) Begin where everything can be seen: $d = 1$.
#
# ### Exercise 8.1: robust on a line · easy · 10 minutes · 2 points
#
# A classifier of the line is given by the places where its label jumps. Say for each of $N$ points whether it is *not* robust.
#
# <details><summary>Hint 1</summary>
# From x, walk to the right up to a jump at t. You are on the other side once you stand at t. How far did you walk? And to the left?
# </details>
# <details><summary>Hint 2</summary>
# <code>x[:, None] - jumps</code> has the difference of each point to each jump, (N, J). One row belongs to one point. <code>.any(dim=1)</code> is False for an empty row.
# </details>

# %% solution="not_robust"
def not_robust(x: torch.Tensor, jumps: torch.Tensor, eps: float) -> torch.Tensor:
    """Which points of a line have a point of the other label less than eps away.

    x: (N,) float64. jumps: (J,) float64, all different, in ascending order, where the label of f changes; J may be 0.
    To the left of the first jump the label is 0, from the first jump on 1, from the second on 0 again, and so on: the
    jump itself has the label of what is to its right. eps: above 0; the ball is open, |x~ - x| < eps.
    Returns (N,) booleans, True where x is not robust.
    """
    ### BEGIN SOLUTION
    return ((x[:, None] - jumps).abs() < eps).any(dim=1)
    ### END SOLUTION

# %% test="not_robust" points=2
# Run this cell to check your not_robust. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect, proofs

exercise = checks.Exercise("not_robust", points=2)

def mask(got, count):
    """One boolean for each point."""
    return proofs.mask(got, count, over="jumps")

@exercise.case("one jump at 2")
def _(not_robust):
    x = torch.tensor([0.0, 1.75, 2.0, 2.25, 3.0], dtype=torch.float64)
    expected = torch.tensor([False, True, True, True, False])
    expect.close(mask(not_robust(x, torch.tensor([2.0], dtype=torch.float64), 0.5), 5), expected, mistakes={
        "This is True where x is robust. Asked for is the opposite.": ~expected,
        "You look to the right only. The points at and beyond the jump have the other label on their left.":
            torch.tensor([False, True, False, False, False]),
        "You look to the left only. The points before the jump have the other label on their right.":
            torch.tensor([False, False, True, True, False]),
        "That is the label of f at x, not whether it changes nearby.": x >= 2,
        "Only points close before the jump and beyond it, but not the jump itself: the labels left of it are as near as you like.":
            torch.tensor([False, True, False, True, False]),
    }, hint="How far is the nearest point of the other label?")

@exercise.case("the ball is open: exactly eps away is not near enough")
def _(not_robust):
    x = torch.tensor([1.5, 2.5, 1.625, 2.375], dtype=torch.float64)
    expect.close(mask(not_robust(x, torch.tensor([2.0], dtype=torch.float64), 0.5), 4), torch.tensor([False, False, True, True]), mistakes={
        "You take the closed ball. The slide's has <: x~ = 2 is not in the ball of 1.5 with eps = 0.5.": torch.ones(4, dtype=torch.bool),
        "You ask for the label at x + eps itself, and that is not in the open ball: x~ = 2 is 0.5 away from 1.5.":
            torch.tensor([True, False, True, True]),
    }, hint="|x~ - x| < eps. From 1.5 the jump at 2 is just out of reach; from 2.5 all labels to the left of 2 are.")

@exercise.case("several jumps: each point looks at all of them")
def _(not_robust):
    x = torch.tensor([-1.5, -0.5, 0.6, 1.9, 2.2, 3.2], dtype=torch.float64)
    jumps = torch.tensor([0.0, 1.0, 1.5], dtype=torch.float64)
    expect.close(mask(not_robust(x, jumps, 1.0), 6), torch.tensor([False, True, True, True, True, False]), mistakes={
        "You ask that all jumps are near. One is enough.": torch.tensor([False, False, True, False, False, False]),
        "You look at the first jump only.": torch.tensor([False, True, True, False, False, False]),
        "You look at the last jump only.": torch.tensor([False, False, True, True, True, False]),
        "You compare the labels at x - eps and x + eps. In between they can change twice.":
            torch.tensor([False, True, True, False, True, False]),
        "You find no point at all. -0.5 is half a unit away from the jump at 0, and eps is 1.": torch.zeros(6, dtype=torch.bool),
    }, hint="A point is not robust if any jump is near.")

@exercise.case("no jump at all: a constant classifier", hint="Without a jump every point is robust: N times False. What does your code do with J = 0?")
def _(not_robust):
    x = torch.tensor([-3.0, 0.0, 7.0], dtype=torch.float64)
    expect.close(mask(not_robust(x, torch.zeros(0, dtype=torch.float64), 5.0), 3), torch.zeros(3, dtype=torch.bool))
    expect.unchanged(not_robust)

@exercise.case("two jumps close together: the label comes back, and still it was another in between")
def _(not_robust):
    x, jumps = torch.tensor([0.55, 0.9, 1.3, 2.0], dtype=torch.float64), torch.tensor([1.0, 1.125], dtype=torch.float64)
    expected = torch.tensor([True, True, True, False])
    expect.close(mask(not_robust(x, jumps, 0.5), 4), expected, mistakes={
        "You compare the labels at x - eps and x + eps. In between they can change twice.": torch.tensor([True, False, False, False]),
    }, hint="Any label within the ball counts, not only those at its ends.")
    jumps = torch.tensor([1.03, 1.03 + 1e-6], dtype=torch.float64)
    expect.close(mask(not_robust(x, jumps, 0.5), 4), expected, hint=
                 "These jumps are a millionth apart. Do you try some points of the ball? The label can change twice between two of them.")

### BEGIN HIDDEN TESTS
@exercise.case("many points, many jumps, other eps", hint="Any number of points and jumps, any eps.", hidden=True)
def _(not_robust):
    for count, jumps, eps in ((40, 7, 0.11), (3, 25, 0.013), (1, 1, 2.0)):
        x, places = 4 * torch.rand(count, dtype=torch.float64) - 2, (4 * torch.rand(jumps, dtype=torch.float64) - 2).sort().values
        nearest = torch.stack([(point - places).abs().min() for point in x])
        expect.close(mask(not_robust(x, places, eps), count), nearest < eps)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# On a line the points that are not robust form a strip of width $2\epsilon$ around each jump. With one jump and a small ε that is next to nothing. Is it still next to nothing where images live?
#
# **Predict.** Take $d = 784$ and the most harmless classifier that there is, one flat boundary: $f(\mathbf x) = 1$ if the mean of the 784 pixels is above $\frac12$. Draw 1,000 points of the unit cube at random, each pixel uniform in $[0, 1]$. **How many of them are not robust, for $p = \infty$ and ε = 0.1?** (For $d = 1$ it is about 200.)

# %%
my_guess = None  # replace None by a number from 0 to 1000

# %% demo="flat-boundary"
def share_not_robust(d, eps=0.1, count=20_000):
    """Moving every pixel by eps moves the mean by eps: not robust is whoever has a mean within eps of 1/2."""
    points = torch.rand(count, d, generator=torch.Generator().manual_seed(d))
    return ((points.mean(dim=1) - 0.5).abs() < eps).float().mean().item()

dimensions = [1, 2, 4, 8, 16, 32, 64, 128, 256, 784]
shares = [share_not_robust(d) for d in dimensions]
checks.reveal(my_guess, f"{1000 * shares[-1]:.0f} of 1000 (from 20,000 points)",
              "The mean of 784 pixels is 1/2 give or take 0.01: nearly every point of the cube lies close to the boundary.")

# %% demo="flat-boundary-picture"
picture = plots.curves({"one flat boundary, ε = 0.1": ([math.log2(d) for d in dimensions], shares)}, chance=None,
                       xlabel="number of inputs d (log scale)", ylabel="points that are not robust")
picture.axes[0].set_xticks([math.log2(d) for d in dimensions], dimensions)
picture.set_label("The share of random points of the unit cube that are not robust, against the number of inputs: "
                  + ", ".join(f"{share:.0%} for {d}" for d, share in zip(dimensions, shares, strict=True)) + ".")
picture

# %% [markdown]
# So in high dimension it is not only possible that *some* points are not robust: for quite innocent classifiers it is nearly all of them. (These are random points, not photographs. Where the data lie is another matter, and 8.3 looks.) That is the one extreme. The question asks about the other: can it be *none*?
#
# ## 8.2 Two points that cannot be kept apart
#
# Say $f$ is not constant. Then there are two points $\mathbf a$ and $\mathbf b$ with different labels, at some distance $D = \lVert\mathbf a - \mathbf b\rVert_p$, perhaps a large one. Ask $f$ about the middle between them. Whatever it answers, one of the two halves has ends with different labels. Keep that half, and do it again: after $k$ questions the ends are $D / 2^k$ apart, and their labels still differ. As soon as
#
# $$\frac{D}{2^k} < \epsilon,$$
#
# the two ends are $\mathbf x$ and $\tilde{\mathbf x}$: different labels, less than ε apart. Neither of them is robust. **That answers the first question**, and nothing was assumed of $f$: no gradient, no continuity, nothing. See it work, also on a classifier that gives every little field of the plane a label by lot.

# %% demo="halving-explorer"
widgets.halving_explorer(kind="wild", halvings=3, eps=0.02)

# %% [markdown]
# <details><summary>Four things worth seeing in the picture</summary>
#
# 1. Raise <i>halvings</i> until the verdict turns. Then change the classifier: the number that it takes is the same for all four (the end b is moved a little where it has a's label, no more).
# 2. Make ε ten times smaller: three or four more halvings. A million times smaller would take twenty.
# 3. Change the norm. The distance is another one, and the number of halvings hardly changes. Where the pair ends up does not depend on it at all.
# 4. At the start the ball around x may hold points of the other label already. Bisection does not look around and does not know: it asks about middles only, and what it promises is its own two ends.
# </details>
#
# ### Exercise 8.2a: how many questions · easy · 5 minutes · 2 points
#
# Say how many halvings bring two points from distance $D$ to a distance *below* ε.
#
# <details><summary>Hint</summary>
# Halve a number in a loop and count, until it is below ε. (A logarithm does it, too, if you take care of the case in which D/ε is a power of two.)
# </details>

# %% solution="halvings_needed"
def halvings_needed(distance: float, eps: float) -> int:
    """The smallest k = 0, 1, 2, ... with distance / 2**k < eps, strictly.

    distance: 0 or more. eps: above 0.
    """
    ### BEGIN SOLUTION
    k = 0
    while distance >= eps:
        distance, k = distance / 2, k + 1
    return k
    ### END SOLUTION

# %% test="halvings_needed" points=2
# Run this cell to check your halvings_needed. (The dots unfold it: what is tried, and what is expected.)
import math
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("halvings_needed", points=2)

@exercise.case("from 1 to below 0.03")
def _(halvings_needed):
    linear = "You need 2^k, not k times, to be above D/eps: each question halves what is left."
    natural = "The natural logarithm counts by factors of e. A halving is a factor of 2."
    expect.close(halvings_needed(1.0, 0.03), 6, mistakes={
        "One too few: after five halvings it is 0.03125, not below 0.03.": 5,
        "One too many: after six it is 0.015625, and that is below 0.03.": 7,
        "This is a logarithm as it is. Questions come in whole numbers: how many are enough?": math.log2(1 / 0.03),
        linear: 34, linear + " ": 33, natural: 4, natural + " ": 3,
        "The decimal logarithm counts by factors of 10. A halving is a factor of 2.": 2,
    }, hint="1, 0.5, 0.25, 0.125, ...: which is the first below 0.03?")

@exercise.case("exactly eps is not below eps")
def _(halvings_needed):
    expect.close(halvings_needed(1.0, 0.25), 3, mistakes={
        "After 2 halvings the distance is 0.25, which is not below 0.25. The ball is open.": 2}, hint="0.25 < 0.25 is false.")
    expect.close(halvings_needed(0.7, 0.7), 1, mistakes={
        "The distance is eps itself, and not below it. The ball is open.": 0}, hint="0.7 < 0.7 is false; 0.35 is below.")

@exercise.case("near enough already, or the same point twice", hint="A distance of 0 is below every eps, and there is no logarithm of 0.")
def _(halvings_needed):
    expect.close(halvings_needed(0.2, 0.7), 0, hint="0.2 is below 0.7 without any halving. The number of questions is not negative.")
    expect.close(halvings_needed(0.0, 0.7), 0, hint="A distance of 0 is below every eps. There is no logarithm of 0.")

@exercise.case("from the moon to a hair: a few dozen questions")
def _(halvings_needed):
    expect.close(halvings_needed(3.8e8, 7e-5), 43, mistakes={
        "The natural logarithm counts by factors of e. A halving is a factor of 2.": math.ceil(math.log(3.8e8 / 7e-5)),
        "The decimal logarithm counts by factors of 10. A halving is a factor of 2.": math.ceil(math.log10(3.8e8 / 7e-5)),
        "One too few.": 42, "One too many.": 44,
    }, hint="2^k must be above 3.8e8 / 7e-5.")

### BEGIN HIDDEN TESTS
@exercise.case("other distances and radii, powers of two among them", hint="The smallest k with D / 2^k < eps, strictly, for any D and eps.", hidden=True)
def _(halvings_needed):
    for k in (1, 5, 17):
        expect.close(halvings_needed(3.0, 3.0 / 2**k), k + 1)
        expect.close(halvings_needed(3.0, 3.1 / 2**k), k)
    expect.close(halvings_needed(1e-9, 1.0), 0)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Exercise 8.2b: the construction · medium · 20 minutes · 5 points
#
# Write the bisection for any classifier, any dimension, and any of the three norms. The classifier `f` takes **one point** `(d,)` and answers 0 or 1. It is patient for as many questions as it takes and no longer: one for each end, if you like, and one for each halving. The next raises an error. You need not know that number, and need not call your `halvings_needed`: measure the distance, and stop when it is below ε.
#
# <details><summary>Hint 1</summary>
# Which answer of f do you know without asking, once you know f(a)? And which end does the middle replace: the one that has its label, or the other?
# </details>
# <details><summary>Hint 2</summary>
# <code>torch.linalg.vector_norm(a - b, ord=p)</code> is the distance, for p = 1, 2 and math.inf alike. Keep the label of one end in a variable: to ask again costs a question.
# </details>

# %% solution="opposite_pair"
def opposite_pair(f, a: torch.Tensor, b: torch.Tensor, eps: float, p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two points x and x~ with f(x) != f(x~) and ||x - x~||_p < eps, strictly.

    f: takes one point (d,), float64, and returns 0 or 1; it answers k + 2 questions, k the halvings needed; measure,
    do not count.
    a, b: (d,) float64, with f(a) != f(b), either way round. eps: above 0, and large against the rounding of float64.
    p: 1, 2 or math.inf. Returns x and x~, each (d,) float64, in any order; a and b stay as they are.
    """
    ### BEGIN SOLUTION
    x, x_tilde, label = a, b, f(a)
    while torch.linalg.vector_norm(x - x_tilde, ord=p) >= eps:
        middle = (x + x_tilde) / 2
        if f(middle) == label:
            x = middle
        else:
            x_tilde = middle
    return x_tilde, x  # in any order
    ### END SOLUTION

# %% test="opposite_pair" points=5
# Run this cell to check your opposite_pair. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect, proofs

exercise = checks.Exercise("opposite_pair", points=5, by_hand=["coursekit.attacks.opposite_ends", "coursekit.attacks.bisection.opposite_ends"])
answered = proofs.found_pair  # calls yours with an f that answers so many questions, and holds the pair against another f

@exercise.case("a threshold on the line, eps = 0.1")
def _(opposite_pair):
    answered(opposite_pair, "linear", torch.tensor([1.0]), -0.3, a=[0.0], b=[1.0], eps=0.1, p=2)

@exercise.case("the ball is open: eps = 1/4 from distance 1")
def _(opposite_pair):
    answered(opposite_pair, "linear", torch.tensor([1.0]), -0.3, a=[0.0], b=[1.0], eps=0.25, p=2)

@exercise.case("the other way round: f(a) = 1 and f(b) = 0")
def _(opposite_pair):
    answered(opposite_pair, "ball", torch.tensor([0.2, 0.1]), 0.5, a=[0.0, 0.25], b=[3.0, -1.0], eps=0.01, p=2)

@exercise.case("the norm counts: p = 1, 2 and infinity in 50 dimensions, a checkerboard")
def _(opposite_pair):
    a, b = torch.full((50,), 0.05), torch.linspace(0.05, 0.21, 50)
    b[0] += 0.1 * ((b / 0.1).floor().sum() % 2 == 0)  # one field further where the labels would be the same
    for p in (1, 2, math.inf):
        answered(opposite_pair, "checkerboard", 0.1, a=a.double(), b=b.double(), eps=0.004, p=p)

@exercise.case("1 at a single point and 0 everywhere else")
def _(opposite_pair):
    needle = torch.tensor([0.75, -0.5, 0.25])
    answered(opposite_pair, "lookup", needle[None], a=[0.0, 0.0, 0.0], b=needle, eps=1e-6, p=math.inf)
    answered(opposite_pair, "lookup", needle[None], a=needle, b=[1.0, 1.0, 1.0], eps=1e-6, p=math.inf)

@exercise.case("near enough already: no halving needed")
def _(opposite_pair):
    answered(opposite_pair, "linear", torch.tensor([1.0, 0.0]), -0.3, a=[0.25, 0.0], b=[0.375, 0.0], eps=0.5, p=1)

@exercise.case("labels by lot, 1000 dimensions, a few dozen questions")
def _(opposite_pair):
    seed = next(s for s in range(50) if [checks.classifier("wild", 0.01, s, d=1000).build()(torch.full((1000,), v, dtype=torch.float64))
                                         for v in (-1.0, 1.0)] == [0, 1])
    answered(opposite_pair, "wild", 0.01, seed, a=-torch.ones(1000), b=torch.ones(1000), eps=1e-7, p=2)

### BEGIN HIDDEN TESTS
@exercise.case("networks, tables, other dimensions, norms and eps", hidden=True,
               hint="Any classifier, any dimension: different labels at the ends, always; distance in the norm p; no more questions than needed.")
def _(opposite_pair):
    for d, p, eps in ((1, 1, 0.3), (7, math.inf, 1e-3), (300, 2, 0.02), (12, 1, 5.0)):
        points, labels = torch.randn(40, d, dtype=torch.float64), torch.arange(40) % 2
        answered(opposite_pair, "nearest", points, labels, a=points[3], b=points[8], eps=eps, p=p)
    net = checks.network(("linear", 3 * torch.randn(20, 6), torch.randn(20)), ("relu",), ("linear", torch.randn(2, 20), torch.randn(2)))
    f = checks.classifier("network", net, d=6).build()
    points = 3 * torch.randn(200, 6, dtype=torch.float64)
    labels = torch.tensor([f(point) for point in points])
    zero, one = points[labels == 0][0], points[labels == 1][0]
    answered(opposite_pair, "network", net, a=one, b=zero, eps=0.005, p=2)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# **Can one do with fewer questions?** No. First the smallest case: a line, $\mathbf a = 0$ with label 0, $\mathbf b = 1$ with label 1, and one question allowed. You play $f$. I ask about 0.3; you say 0, since 0 is nearer. What I know then is a 0 at 0.3 and a 1 at 1: 0.7 apart. Had I asked about 0.8, you had said 1, and left me 0 and 0.8. The best that I can do is the middle, and then the gap is $\frac12$.
#
# It is the same everywhere. Make it hard: of all points that were asked about so far, with $\mathbf a$ and $\mathbf b$ among them, let $A$ be those you gave one label and $B$ the others, and $\Delta$ the smallest distance between the two (0.7 above). Asked about a new point $\mathbf q$, give it the label of whichever set is nearer. By the triangle inequality $\mathbf q$ is at least $\Delta/2$ away from one of them, the one further off, and so no question brings $\Delta$ down by more than half.
#
# After $k$ questions it is still $D/2^k$ or more: whoever stops with $D/2^k \ge \epsilon$ has no pair to show (of two points closer together than that, one was not asked about, and you are free to give it the other's label). So `halvings_needed` is not just what bisection takes but what *any* method takes in the worst case, and neither dimension nor norm nor a gradient changes that.
#
# Count it: 240 random problems, four kinds of classifier, 1 to 1,000 dimensions.

# %% demo="questions-asked"
def reference_pair(f, a, b, eps, p):
    return attacks.opposite_ends(f, a, b, eps=eps, p=p)[-1]

your_pair = checks.yours("opposite_pair", reference_pair)

def random_problem(kind, d, generator):
    """A classifier of R^d and two points of different labels."""
    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)
    table = draw(20, d), torch.arange(20) % 2
    arguments = {"linear": (draw(d), 0.0), "checkerboard": (0.3,), "wild": (0.3, d), "nearest": table}[kind]
    f = checks.classifier(kind, *arguments, d=d).build()
    a = b = draw(d)
    while f(a) == f(b):
        b = draw(d)
    return f, a, b

line = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
your_pair(lambda x: int(x[0] > 0.3), *line, 0.1, 2)  # once before counting: the first call looks at the reference, too
ratios, counts, kinds = [], [], []
generator = torch.Generator().manual_seed(0)
for kind in ("linear", "nearest", "checkerboard", "wild"):
    for d in (1, 2, 10, 100, 1000):
        for _ in range(12):
            f, a, b = random_problem(kind, d, generator)
            eps, asked = 10.0 ** -(5 * torch.rand((), generator=generator).item()), []
            your_pair(lambda x, f=f, asked=asked: asked.append(x) or f(x), a, b, eps, 2)
            ratios.append((a - b).norm().item() / eps)
            counts.append(len(asked))
            kinds.append(kind)
plots.questions_asked(ratios, counts, kinds)

# %% [markdown]
# One staircase for all: the number depends on $D/\epsilon$ alone, and grows with its logarithm. The points lie one or two above the line: these are the questions about the ends. (Marks of the four kinds are moved a little up or down, or they would cover each other.)
#
# ## 8.3 Who has no adversarial example at all?
#
# The construction needs two points with different labels and nothing else. So, for the open ball of any radius ε > 0 and $y = f(\mathbf x)$:
#
# $$\text{every } \mathbf x \in \mathbb R^d \text{ is robust} \iff f \text{ is constant.}$$
#
# A constant classifier is robust everywhere, and useless. Look closely at what the proof used, though. It asked about *middles*: it walked from $\mathbf a$ to $\mathbf b$, and every point of the way was a point of the domain. If the domain has gaps, the walk can fall into one, and the proof with it.
#
# ### Exercise 8.3: a domain with gaps · easy · 10 minutes · 3 points
#
# Now the domain is a finite set of points, and $\tilde{\mathbf x}$ must be one of them. Say which points are not robust.
#
# <details><summary>Hint</summary>
# All distances at once: <code>torch.cdist(points, points, p=p)</code> is (N, N). All pairs of labels at once: <code>labels[:, None] != labels</code>. Which pairs count?
# </details>

# %% solution="not_robust_among"
def not_robust_among(points: torch.Tensor, labels: torch.Tensor, eps: float, p: float) -> torch.Tensor:
    """Which points of a finite domain have another point of the domain less than eps away that has another label.

    points: (N, d) floats, all different, N at least 1. labels: (N,) int64, what f says of each; there may be more than
    two. eps: above 0; the ball is open. p: 1, 2 or math.inf. Returns (N,) booleans, True where the point is not robust.
    """
    ### BEGIN SOLUTION
    near = torch.cdist(points, points, p=p) < eps
    return (near & (labels[:, None] != labels)).any(dim=1)
    ### END SOLUTION

# %% test="not_robust_among" points=3
# Run this cell to check your not_robust_among. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect, proofs

exercise = checks.Exercise("not_robust_among", points=3, by_hand=["coursekit.checks.proofs.among"])

def mask(got, count):
    """One boolean for each point."""
    return proofs.mask(got, count, over="points")

@exercise.case("six points on a line, in any order")
def _(not_robust_among):
    points, labels = torch.tensor([[2.0], [4.0], [1.25], [1.0], [8.0], [8.5]]), torch.tensor([1, 1, 0, 0, 0, 1])
    expected = torch.tensor([True, False, True, True, True, True])
    ordered = "Do you compare labels with > or <? Different is !=, for both of a pair."
    expect.close(mask(not_robust_among(points, labels, 1.5, 2), 6), expected, mistakes={
        "This is True where the point is robust. Asked for is the opposite.": ~expected,
        "You count every near point, also those of the same label (and each is near to itself).": torch.ones(6, dtype=torch.bool),
        "You count near points of the same label. An adversarial example has another one.":
            torch.tensor([False, False, True, True, False, False]),
        "You find the first of each pair only. If x~ is near x, then x is near x~.": torch.tensor([True, False, False, False, True, False]),
        "You find the second of each pair only. If x~ is near x, then x is near x~.": torch.tensor([False, False, True, True, False, True]),
        ordered: torch.tensor([True, False, False, False, False, True]),
        ordered + " ": torch.tensor([False, False, True, True, True, False]),
        "You look at the nearest point alone. It may have the same label, and the next one another.":
            torch.tensor([True, False, False, False, True, True]),
        "You compare each row with the next row only. The points are in no order: compare all pairs.":
            torch.tensor([False, False, False, False, True, True]),
        "You find none. Is one near point of another label enough (any, not all)? Are the labels of all pairs compared, "
        "labels[:, None] with labels, and distances taken over the coordinates?": torch.zeros(6, dtype=torch.bool),
    }, hint="The points at 1 and 1.25 are near to that at 2 and have another label; so have those at 8 and 8.5. 4 is alone.")

@exercise.case("the ball is open")
def _(not_robust_among):
    points, labels = torch.tensor([[0.0], [0.5], [2.0], [2.25]]), torch.tensor([0, 1, 0, 1])
    expect.close(mask(not_robust_among(points, labels, 0.5, math.inf), 4), torch.tensor([False, False, True, True]), mistakes={
        "A distance of eps itself is not below eps.": torch.ones(4, dtype=torch.bool)}, hint="0.5 < 0.5 is false, 0.25 < 0.5 is true.")

@exercise.case("the norm counts")
def _(not_robust_among):
    points, labels = torch.tensor([[0.0, 0.0], [0.3, 0.4], [2.0, 2.0]]), torch.tensor([0, 1, 1])
    near, none = torch.tensor([True, True, False]), torch.zeros(3, dtype=torch.bool)
    for p, eps, expected in ((1, 0.6, none), (1, 0.8, near), (2, 0.45, none), (2, 0.6, near), (math.inf, 0.38, none), (math.inf, 0.42, near)):
        expect.close(mask(not_robust_among(points, labels, eps, p), 3), expected, hint=
                     f"The two are 0.7, 0.5 and 0.4 apart in the norms 1, 2 and infinity; here p = {p} and eps = {eps}. Is p used?")

@exercise.case("no two near points have different labels: a classifier that is robust everywhere, and not constant; and a larger ball")
def _(not_robust_among):
    points = torch.cartesian_prod(torch.arange(5), torch.arange(5)).double()
    labels = ((points - 2).abs().sum(dim=1) <= 2).long()
    expect.close(mask(not_robust_among(points, labels, 1.0, 2), 25), torch.zeros(25, dtype=torch.bool),
                 hint="Points with whole numbers are at least 1 apart, and the ball of radius 1 is open.")
    away = (points - 2).abs().sum(dim=1)
    expect.close(mask(not_robust_among(points, labels, 1.25, 2), 25), (away == 2) | (away == 3),
                 hint="With eps = 1.25 the four neighbours are near: those on both sides of the edge between the labels are not robust.")
    expect.unchanged(not_robust_among)

@exercise.case("three labels; and a domain of one point")
def _(not_robust_among):
    points, labels = torch.tensor([[0.0, 0.0], [0.0, 0.1], [5.0, 5.0], [5.0, 5.1]]), torch.tensor([2, 0, 1, 1])
    expect.close(mask(not_robust_among(points, labels, 0.2, 1), 4), torch.tensor([True, True, False, False]),
                 hint="Another label, whichever: 2 and 0 differ as well as 0 and 1.")
    expect.close(mask(not_robust_among(points[:1], labels[:1], 0.2, 1), 1), torch.tensor([False]), hint="A point alone is robust.")

### BEGIN HIDDEN TESTS
@exercise.case("random points of other dimensions", hint="Any N, d, p and eps; another label, distance below eps.", hidden=True)
def _(not_robust_among):
    for count, d, p, eps in ((60, 3, 2, 0.4), (25, 1, 1, 0.05), (40, 10, math.inf, 1.0)):
        points, labels = torch.randn(count, d, dtype=torch.float64), torch.randint(0, 3, (count,))
        expect.close(mask(not_robust_among(points, labels, eps, p), count), proofs.among(points, labels, eps, p))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# A picture as a file *is* a point of a domain with gaps: 256 grey levels, and with ε = 1/255 no two pictures are less than ε apart in $L_\infty$. There every classifier is robust. In practice one wants a larger ε; then the pictures are close enough together for bisection to get from one to the next, grey level by grey level, and the answer is back to "only if constant".
#
# What about the pictures that occur? Take the first 400 test digits as the domain, and the classifier that gives each its right label. **Predict: up to which ε in $L_\infty$ is every one of them robust?** (ε = 1 is a whole pixel from black to white.)

# %%
my_guess = None  # replace None by a number from 0 to 1

# %% demo="digits-apart"
your_among = checks.yours("not_robust_among", checks.proofs.among)
digits, their_labels = test_digits.x[:400].flatten(1), test_digits.y[:400]
tried = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 1.0)
touched = {eps: int(your_among(digits, their_labels, eps, math.inf).sum()) for eps in tried}
largest = max(eps for eps, count in touched.items() if not count)
checks.reveal(my_guess, f"{largest:g}, of the values tried",
              "Not robust among 400: " + ", ".join(f"{count} at ε = {eps:g}" for eps, count in touched.items()) + ".\n"
              "Any two digits of different classes differ in some pixel by nearly everything.")

# %% [markdown]
# So both are true. **Everywhere**, no classifier with two labels is robust: somewhere it must change its mind, and there it is not. **On the data**, nothing forbids it: the classes lie far apart, and the change of mind could take place in between, where no picture is. That networks are fooled at ε = 0.1 on the pictures themselves is *not* a consequence of the first question; it is a fault of the networks. (Yang et al., 2020, measured how far classes lie apart on several data sets, with the same conclusion.)
#
# <div class="alert alert-info"><b>And the label y?</b> With y = f(x) the answer is clean. With labels from the world, the definition's condition f(x) = y bites: where f is wrong there is no adversarial example, by definition. A classifier that is wrong <i>everywhere</i> has none, constant or not. And if y is the truth and P(x) holds only points of the same meaning, as the slide on the definition demands, then a ball that crosses the true boundary was too large to be called a perturbation set: near that boundary even the perfect classifier "has adversarial examples", and it is the ball that is at fault, not the classifier.</div>
#
# # Part 2: does one step always find it?
#
# ## 8.4 The second question
#
# > *Will the fast gradient-sign method (FGSM) always find an adversarial example (assuming there exist some in the set of perturbations $\mathcal P_{\epsilon,\infty}(\mathbf x)$)?*
#
# FGSM knows of the loss one thing, its slope at $\mathbf x$, and takes one step:
#
# $$\tilde{\mathbf x} = \mathbf x + \epsilon \operatorname{sign}\big(\nabla_{\mathbf x}\mathcal L(f(\mathbf x), y)\big).$$
#
# (It lands on the surface of the ball, $\lVert\tilde{\mathbf x} - \mathbf x\rVert_\infty = \epsilon$, where the slide's open ball just does not reach. That is no way out: all counterexamples below fail with room to spare.) One input is enough to see what can happen. The curve is the loss of a network with four ReLUs; the bump is where the other class lives.

# %% demo="one-step-explorer"
widgets.one_step_explorer()

# %% [markdown]
# <details><summary>What to look for</summary>
#
# 1. As it stands FGSM walks away from the bump. Turn the slope at x round, from -0.5 to 0.5: now it walks towards it, and steps over it. Which ε would succeed? A <i>smaller</i> one.
# 2. Slope 0: it stands still.
# 3. Height of the bump 0: what remains is a linear classifier; its logits are straight lines, the loss a curve that only rises or only falls. Push slope and ε to the end, so that there is something to find, and FGSM finds it, always. Hold on to that for 8.7.
# 4. In every case the verdict knows what was there to be found, from an exact search. How, is the next section.
# </details>
#
# So the answer is no, and there are two ways to fail: **the wrong way** and **too far** (three, with standing still where the gradient is zero). To *prove* it, one needs both halves: that FGSM fails, which is one line of arithmetic, and that an adversarial example exists, which is a search.
#
# ## 8.5 The truth, in one dimension
#
# A network with one hidden layer of ReLUs and one input is a broken line. Write $u$ for the input and look at the **lead** of $y$, its logit minus the other's, which is of the same kind:
#
# $$m(u) = \sum_j v_j \,[w_j u + b_j]_+ + c, \qquad f \text{ is right where } m(u) > 0.$$
#
# (As on the slides, $[z]_+ = \max(z, 0)$.) It bends only where some $w_j u + b_j = 0$ and is straight in between. A straight piece is lowest at one of its ends.
#
# ### Exercise 8.5: the exact minimum · medium · 20 minutes · 4 points
#
# Return the lowest value of $m$ on the interval $[x - \epsilon, x + \epsilon]$, exactly: no grid is fine enough for every network. Below 0 means that an adversarial example exists, above 0 that there is none: a proof either way, from a handful of numbers.
#
# <details><summary>Hint 1</summary>
# Which points can be lowest? The two ends of the interval, and the bends inside it. That is a short list: compute m at each.
# </details>
# <details><summary>Hint 2</summary>
# A neuron with w = 0 has no bend (do not divide by it). A bend outside the interval does not count. <code>torch.cat</code> joins ends and bends; <code>(w * u[:, None] + b).clamp_min(0) @ v + c</code> evaluates m at many places u at once.
# </details>

# %% solution="lowest_lead"
def lowest_lead(w: torch.Tensor, b: torch.Tensor, v: torch.Tensor, c: float, x: float, eps: float) -> float:
    """The minimum of m(u) = sum_j v_j max(w_j u + b_j, 0) + c over the closed interval [x - eps, x + eps].

    w, b, v: (n,) float64, n at least 1; entries of w may be 0. c, x: numbers. eps: 0 or more. Returns a number.
    """
    ### BEGIN SOLUTION
    bends = -b[w != 0] / w[w != 0]
    inside = bends[(bends - x).abs() <= eps]
    candidates = torch.cat([torch.tensor([x - eps, x + eps], dtype=w.dtype), inside])
    leads = (candidates[:, None] * w + b).relu() @ v + c
    return leads.min().item()
    ### END SOLUTION

# %% test="lowest_lead" points=4
# Run this cell to check your lowest_lead. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("lowest_lead", points=4, by_hand=["coursekit.certify.enumeration.worst", "coursekit.certify.enumeration.worst_of_model"])

def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)

# m(u) falls with slope -2 to -0.5 at u = 1 and rises with slope 1 from there
valley = numbers(1.0, -1.0), numbers(-1.0, 1.0), numbers(1.0, 2.0), -0.5

@exercise.case("a valley inside the interval")
def _(lowest_lead):
    expect.close(lowest_lead(*valley, 0.0, 2.0), -0.5, mistakes={
        "You look at the two ends only, or your bends are misplaced. The lowest point can be a bend inside, where w u + b = 0.": 0.5,
        "This is the lead at x. Look all over the interval.": 1.5,
        "This is the highest value; the attacker looks for the lowest.": 5.5,
        "This is a place u. Asked for is the value of m there.": 1.0,
        "The constant c is missing.": 0.0,
        "The ReLU is missing: without it the line does not bend.": -1.5,
    }, hint="m has a bend at u = 1 and is lowest there.")

@exercise.case("the valley lies outside: the lowest point is an end")
def _(lowest_lead):
    expect.close(lowest_lead(*valley, -1.0, 0.75), 2.0, mistakes={
        "You count a bend outside of the interval. Only x - eps <= u <= x + eps counts.": -0.5,
        "You look at the bends only. Where none is inside, an end is lowest.": 3.5,
        "This is the value at the end further away from the valley.": 5.0,
    }, hint="On [-1.75, -0.25] m falls towards the right end.")
    expect.close(lowest_lead(*valley, 3.0, 1.0), 0.5, mistakes={
        "You count a bend outside of the interval. Only x - eps <= u <= x + eps counts.": -0.5}, hint="On [2, 4] m falls towards the left end.")

@exercise.case("a crack one millionth wide: no grid would see it")
def _(lowest_lead):
    width = 1e-6
    crack = numbers(1.0, 1.0, 1.0), numbers(-0.123456 + width, -0.123456, -0.123456 - width), numbers(-3 / width, 6 / width, -3 / width), 1.0
    expect.close(lowest_lead(*crack, 0.0, 1.0), -2.0, tolerance=1e-3, mistakes={
        "You missed the crack at u = 0.123456. Do you look at points of a grid? The bends are known exactly.": 1.0},
        hint="The bends are known exactly, and m is taken there. Is something float32? That has too few digits here: keep the dtype of w.")

@exercise.case("a neuron that does not see the input: w = 0")
def _(lowest_lead):
    w, b, v = numbers(1, 1, 1, 0, 0), numbers(-0.4321 + 1e-4, -0.4321, -0.4321 - 1e-4, 2, 0), numbers(-3e4, 6e4, -3e4, 0.25, 5)
    lowest = lowest_lead(w, b, v, 1.0, 0.0, 1.0)
    hint = "A neuron with w = 0 adds a constant and has no bend: do not divide by 0."
    expect.that(not expect.same(torch.as_tensor(lowest != lowest), torch.tensor(True)), "NaN", "a finite number", hint)
    expect.close(lowest, -1.5, mistakes={
        "You miss the bend at u = 0.4321: ends and bends, where w u + b = 0, and no grid.": 1.5,
        "A neuron with w = 0 still adds v max(b, 0) everywhere.": -2.0,
    }, hint="Ends and bends, where w u + b = 0, and no grid. A neuron with w = 0 has no bend, and still adds v max(b, 0).")

@exercise.case("eps = 0: the lead at x itself", hint="The interval is one point: m(x).")
def _(lowest_lead):
    expect.close(lowest_lead(*valley, 3.0, 0.0), 1.5)
    expect.close(lowest_lead(*valley, 1.0, 0.0), -0.5)
    expect.unchanged(lowest_lead)

### BEGIN HIDDEN TESTS
@exercise.case("random networks of 1 to 30 neurons", hint="Ends and bends inside the interval, m at each of them, the lowest value.", hidden=True)
def _(lowest_lead):
    for n, x, eps in ((1, 0.4, 0.3), (2, -1.0, 3.0), (9, 0.0, 0.8), (30, 5.0, 2.5)):
        w, b, v = torch.randn(3, n, dtype=torch.float64)
        b -= w * x  # so that there are bends near x
        places = torch.cat([torch.linspace(x - eps, x + eps, 2001, dtype=torch.float64), -b / w])
        places = places[(places - x).abs() <= eps]
        expect.close(lowest_lead(w, b, v, 0.7, x, eps), float(((places[:, None] * w + b).clamp_min(0) @ v + 0.7).min()))

@exercise.case("steep random networks", hint="The bends are known exactly; a grid falls beside them.", hidden=True)
def _(lowest_lead):
    for n in (3, 12):
        steep, places, v = 1e5 * torch.randn(n, dtype=torch.float64), 2 * torch.rand(n, dtype=torch.float64) - 1, torch.randn(n, dtype=torch.float64)
        levels = (steep * (places[:, None] - places)).clamp_min(0) @ v
        ends = (steep * (numbers(-1.0, 1.0)[:, None] - places)).clamp_min(0) @ v
        expect.close(lowest_lead(steep, -steep * places, v, 0.0, 0.0, 1.0), min(float(levels.min()), float(ends.min())), tolerance=1e-6)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Now there is a judge, and one can ask how often. Draw 1,000 networks with eight ReLUs at random, each with a lead of 1 at $x = 0$ and with an adversarial example in $[-2, 2]$: the judge has seen to that. **Predict: for how many of the 1,000 does FGSM with ε = 2 miss it?**

# %%
my_guess = None  # replace None by a number from 0 to 1000

# %% demo="random-networks"
def reference_lowest(w, b, v, c, x, eps):
    search = coursekit.certify.enumeration
    network = search.TinyNetwork.of_numbers(w[:, None].tolist(), b.tolist(), [v.tolist(), [0.0] * len(v)], [c, 0.0])
    return float(search.worst(network, [x], 0, eps).lead)

your_lowest = checks.yours("lowest_lead", reference_lowest)
generator = torch.Generator().manual_seed(0)
fails = {"the wrong way": 0, "too far": 0}
found = tried = 0
while found + sum(fails.values()) < 1000 and tried < 10_000:  # a few thousand are enough, if the judge is right
    w, b, v = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    c = 1 - float(b.relu() @ v)  # m(0) = 1
    tried += 1
    if your_lowest(w, b, v, c, 0.0, 2.0) >= 0:
        continue  # nothing to find
    slope = float((w * (b > 0)) @ v)  # of m at 0: the loss rises where m falls
    landing = -2.0 if slope > 0 else 2.0
    if float((w * landing + b).relu() @ v) + c < 0:
        found += 1
    else:
        towards = your_lowest(w, b, v, c, landing / 2, 1.0) < 0  # something to find on FGSM's own side
        fails["too far" if towards else "the wrong way"] += 1
judged = found + sum(fails.values())
if judged < 1000:
    print("Your `lowest_lead` finds next to nothing to be attacked: run its check first, and then this cell once more.")
checks.reveal(my_guess, f"{sum(fails.values())} of {judged}",
              f"It walks the wrong way {fails['the wrong way']} times and too far {fails['too far']} times. "
              f"(Of {tried} networks {tried - judged} had nothing to find.)")

# %% [markdown]
# ## 8.6 Your counterexample
#
# ### Exercise 8.6: build one · hard · 20 minutes · 5 points
#
# Hand in a network, a point and its label, as plain numbers, on which FGSM fails at the given ε although the ball holds an adversarial example. The check believes nothing: it recomputes all of it in exact fractions and searches every linear piece of your network.
#
# The rules: one hidden layer of at most 8 ReLUs, 1 to 3 inputs, 2 classes: logits $= W_2 [W_1 \mathbf x + \mathbf b_1]_+ + \mathbf b_2$. Everything by a clear margin: at $\mathbf x$ and at FGSM's point the logit of $y$ leads by at least 0.01, and somewhere within ε of $\mathbf x$, in $L_\infty$, the other logit leads by at least 0.01. The gradient at $\mathbf x$ must exist (no neuron with $W_1\mathbf x + \mathbf b_1 = 0$ there) and must not be zero: a network that FGSM does not even leave is too cheap. It is your function that gets ε, so it must work for small and for large ones.
#
# The next cell draws what you will hand in, here for a network on which FGSM succeeds. Use it with your own: `draw(fgsm_misses(1.0), eps=1.0)`.

# %% demo="draw-a-network"
def draw(made, eps):
    """The lead of y along FGSM's step, for a dict as fgsm_misses returns it."""
    return plots.step_of_network(made["layers"], made["x"], made["y"], eps)

one_neuron = [[[1.0]], [2.0]]  # [u + 2]₊: W1 is (1, 1), b1 is (1,)
its_logits = [[[0.0], [1.0]], [0.0, -2.5]]  # 0 and [u + 2]₊ - 2.5: W2 is (2, 1), b2 is (2,)
draw({"layers": [one_neuron, its_logits], "x": [0.0], "y": 0}, eps=1.0)

# %% [markdown]
# <details><summary>Hint 1: a bump</summary>
# [u - 1]₊ - 2 [u - 2]₊ + [u - 3]₊ is a hat: 0 up to u = 1, up to 1 at u = 2, back to 0 at u = 3 and beyond. Give one to the logit of the class that is not y. Where should it stand, measured in ε?
# </details>
# <details><summary>Hint 2: a slope</summary>
# At x = 0 the gradient must not be zero, so one neuron must be on at x. Say its weight is 1 and its bias 1: [u + 1]₊ has slope 1 at 0. Which sign in which logit makes FGSM walk away from the bump? How large may its effect be before the label changes?
# </details>
# <details><summary>Hint 3: every ε</summary>
# If all is well for ε = 1, divide W₁ by ε: the same picture, drawn in another unit.
# </details>

# %% solution="fgsm_misses"
def fgsm_misses(eps: float) -> dict:
    """A network, a point and its label where FGSM with this eps fails, although the L-inf ball of radius eps holds an
    adversarial example.

    eps: above 0. Returns {"layers": [(W1, b1), (W2, b2)], "x": x, "y": y}: W1 (n, d), b1 (n,), W2 (2, n), b2 (2,) and
    x (d,) as (nested) lists of finite numbers, or as tensors; y is 0 or 1. n at most 8, d at most 3. There is no image
    range.
    """
    ### BEGIN SOLUTION
    unit = 1 / eps  # in units of eps: a bump from 0.25 to 0.75, a slope that leads to the other side
    hat = [[unit], [unit], [unit]], [-0.25, -0.5, -0.75]
    slope = [[unit]], [2.0]
    first = hat[0] + slope[0], hat[1] + slope[1]
    second = [[0.0, 0.0, 0.0, 0.0], [8.0, -16.0, 8.0, -0.25]], [0.0, -0.5]
    return {"layers": [first, second], "x": [0.0], "y": 0}
    ### END SOLUTION

# %% test="fgsm_misses" points=5
# Run this cell to check your fgsm_misses. (The dots unfold it: what is tried, and what is expected.)
from coursekit import checks
from coursekit.checks import expect, proofs

exercise = checks.Exercise("fgsm_misses", points=5)

@exercise.case("eps = 1: a small network and a point, which it classifies as y")
def _(fgsm_misses):
    made = proofs.construction(fgsm_misses(1.0))
    proofs.classified(made)
    proofs.has_a_step(made)

@exercise.case("eps = 1: FGSM takes its step, and f still says y")
def _(fgsm_misses):
    made = proofs.construction(fgsm_misses(1.0))
    proofs.classified(made)
    proofs.has_a_step(made)
    proofs.step_fails(made, 1.0)

@exercise.case("eps = 1: an adversarial example exists, by exact search")
def _(fgsm_misses):
    made = proofs.construction(fgsm_misses(1.0))
    proofs.classified(made)
    proofs.has_an_adversarial_example(made, 1.0)

def prove(fgsm_misses, eps):
    made = proofs.construction(fgsm_misses(eps))
    try:
        proofs.classified(made)
        proofs.has_a_step(made)
        proofs.has_an_adversarial_example(made, eps)
        proofs.step_fails(made, eps)
    except checks.Wrong as wrong:
        if made == proofs.construction(fgsm_misses(1.0)):
            wrong.hint = f"For eps = {eps:g} you hand in what you do for eps = 1. Your example should grow and shrink with eps."
        raise

@exercise.case("eps = 0.1: all of it")
def _(fgsm_misses):
    prove(fgsm_misses, 0.1)

### BEGIN HIDDEN TESTS
@exercise.case("a very small and a large eps: all of it", hint="Your example should grow and shrink with eps.", hidden=True)
def _(fgsm_misses):
    for eps in (0.003, 0.7, 40.0):
        prove(fgsm_misses, eps)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# You have answered the second question, and not by an opinion. But one should know how a method fails *and* where it does not.
#
# ## 8.7 Where one step is enough
#
# Set the bump's height to 0 in the explorer of 8.4, and FGSM never fails again. What is left is a **linear classifier**. Let $s(\mathbf x) = \mathbf w^\top \mathbf x + b$, label 1 where $s > 0$ and 0 elsewhere; the lead of label 1 is $s$, that of label 0 is $-s$. The loss falls as the lead rises, so its gradient points along $\mp\mathbf w$ *wherever one stands*, and FGSM moves each coordinate by ε in just the direction in which it hurts. No point of the ball does better, for each coordinate does its worst and none is in another's way:
#
# $$\min_{\lVert\boldsymbol\delta\rVert_\infty \le \epsilon} \mathbf w^\top\boldsymbol\delta = \sum_i \min_{|\delta_i| \le \epsilon} w_i\delta_i = -\epsilon \sum_i |w_i| = -\epsilon\lVert\mathbf w\rVert_1.$$
#
# ### Exercise 8.7a: the worst case in closed form · easy · 10 minutes · 3 points
#
# Return for each point the lowest lead of its label that any point of its closed $L_\infty$ ball has. No attack is needed.
#
# <details><summary>Hint</summary>
# The lead at x, then what the ball takes away from it. For label 0 the lead is -s; does what the ball takes away change its sign, too?
# </details>

# %% solution="worst_lead"
def worst_lead(w: torch.Tensor, b: float, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """The lowest lead of y over the L-inf ball around each x, for the linear classifier s(x) = w x + b.

    w: (d,). b: a number. x: (B, d). y: (B,) int64, 0 or 1; the lead of label 1 is s, that of label 0 is -s. eps: 0 or
    more. Returns (B,) in the dtype of x: below 0 where an adversarial example exists or x is misclassified.
    """
    ### BEGIN SOLUTION
    lead = (2 * y - 1) * (x @ w + b)
    return lead - eps * w.abs().sum()
    ### END SOLUTION

# %% test="worst_lead" points=3
# Run this cell to check your worst_lead. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("worst_lead", points=3, by_hand=["coursekit.attacks.best_corner", "coursekit.checks.proofs.lowest_of_ball"])

w = torch.tensor([2.5, -1.5, 0.5], dtype=torch.float64)
x = torch.tensor([[1.0, 0.0, 3.0], [0.8, 1.0, 0.0]], dtype=torch.float64)  # w x = 4 and 0.5

@exercise.case("label 1: how far the score can fall")
def _(worst_lead):
    y = torch.tensor([1, 1])
    expect.close(worst_lead(w, -1.0, x, y, 0.2), torch.tensor([2.1, -1.4]), mistakes={
        "That is the highest lead of the ball; the attacker wants the lowest.": torch.tensor([3.9, 0.4]),
        "That is the lead at x. What does the ball take away from it?": torch.tensor([3.0, -0.5]),
        "You take away eps times the sum of w. Each coordinate does its worst: the sum of |w|.": torch.tensor([2.7, -0.8]),
        "You take away eps times the L2 norm of w. That is the L2 ball; for the L-inf ball it is the L1 norm.":
            torch.tensor([3.0, -0.5]) - 0.2 * w.norm(),
        "You take away eps times the largest |w|. In the L-inf ball every coordinate moves, not only one.": torch.tensor([2.5, -1.0]),
        "You take away eps for each coordinate. How much that costs depends on w.": torch.tensor([2.4, -1.1]),
        "The bias b is missing.": torch.tensor([3.1, -0.4]),
        "A lead below 0 is cut off. It says by how much f is wrong: keep it.": torch.tensor([2.1, 0.0]),
        "You return the ball's part alone. The lead at x comes on top.": torch.tensor([-0.9, -0.9]),
    }, hint="Begin with the lead at x. How much does one coordinate take away that moves by at most eps? Add it up over all.")

@exercise.case("label 0: the lead is -s, and the attacker wants it low as well")
def _(worst_lead):
    y = torch.tensor([0, 0])
    expect.close(worst_lead(w, -3.0, x, y, 0.2), torch.tensor([-1.9, 1.6]), mistakes={
        "You return the worst score; for label 0 the lead is minus the score.": torch.tensor([0.1, -3.4]),
        "You turn round the whole expression. The lead changes its sign; what the ball takes away does not.": torch.tensor([-0.1, 3.4]),
        "You return the highest score: for label 0 its negative is the lowest lead.": torch.tensor([1.9, -1.6]),
        "You flip the sign of the score by multiplying with y: for y = 0 that gives 0, not -s.": torch.tensor([-0.9, -0.9]),
    }, hint="For label 0 the lead at x is -(w x + b). Does the ball take the same away from it as for label 1?")

@exercise.case("both labels in one batch, one value for each point")
def _(worst_lead):
    got = expect.tensor(worst_lead(w, 0.0, x, torch.tensor([1, 0]), 0.1), shape=(2,), dtype=torch.float64)
    expect.close(got, torch.tensor([3.55, -0.95]), hint="Each point by its own label: 4 - 0.45 and -0.5 - 0.45.")
    expect.unchanged(worst_lead)

@exercise.case("eps = 0: the lead at x", hint="A ball of radius 0 takes nothing away.")
def _(worst_lead):
    expect.close(worst_lead(w, 1.0, x, torch.tensor([1, 0]), 0.0), torch.tensor([5.0, -1.5]))

### BEGIN HIDDEN TESTS
@exercise.case("the lowest of all corners of the ball, other dimensions", hint="No corner of the ball is lower, for any d and B, each point by its own label.", hidden=True)
def _(worst_lead):
    for d, count, eps in ((1, 3, 0.7), (6, 1, 0.05), (9, 5, 2.0)):
        w, x, y = torch.randn(d, dtype=torch.float64), torch.randn(count, d, dtype=torch.float64), torch.randint(0, 2, (count,))
        corners = eps * (2 * torch.cartesian_prod(*[torch.arange(2)] * d).reshape(-1, d) - 1).double()
        scores = (x[:, None] + corners) @ w - 0.3
        expect.close(worst_lead(w, -0.3, x, y, eps), ((2 * y - 1)[:, None] * scores).min(dim=1).values)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Test the proof as one tests a program: 1,000 random linear classifiers with two classes and 8 inputs, FGSM's point against **all** $2^8$ corners of the ball. (A linear function is lowest in a corner, so the corners are enough.)

# %% demo="corners"
def reference_worst(w, b, x, y, eps):
    halves = torch.tensor([-0.5, 0.5], dtype=torch.float64)  # two logits, -s/2 and s/2
    return checks.proofs.lowest_of_ball(halves[:, None] * w, halves * b, x, y, eps)

your_worst = checks.yours("worst_lead", reference_worst)
generator = torch.Generator().manual_seed(0)
all_corners = 0.3 * (2 * torch.cartesian_prod(*[torch.arange(2)] * 8) - 1).double()
gap_to_fgsm, gap_to_formula = 0.0, 0.0
for _ in range(1000):
    w, point = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    y = (point @ w > 0).long()[None]  # the label that the classifier gives
    side = float(2 * y - 1)
    landing = point - 0.3 * side * w.sign()  # FGSM: the gradient of the loss points against the lead's, side * w
    lowest = float((side * ((point + all_corners) @ w)).min())
    gap_to_fgsm = max(gap_to_fgsm, side * float(landing @ w) - lowest)
    gap_to_formula = max(gap_to_formula, abs(float(your_worst(w, 0.0, point[None], y, 0.3)) - lowest))
print("Of 1,000 linear classifiers, the largest difference to the lowest of 256 corners:")
print(f"  at FGSM's point {gap_to_fgsm:.1e}, by the formula {gap_to_formula:.1e}")

# %% [markdown]
# No difference but rounding. So for two classes and a linear classifier the answer to the second question is *yes, always*. In the slide's open ball, too: if the ball holds an adversarial example, the lead is 0 or less there, and at FGSM's point, on the surface, it is lower still. (A proof about real numbers. In single precision a lead of 17 rounds $p_y$ to 1, and what is left of the gradient can point elsewhere; assignment 03 ends with that.)
#
# With **three or more classes** the classifier is as linear as before: $\mathbf z = W\mathbf x + \mathbf b$, label $\arg\max_k z_k$. **Predict.** 1,000 random linear classifiers with ten classes and five inputs, each at a point with an adversarial example in its ball. **For how many of them does FGSM miss it?**

# %%
my_guess = None  # replace None by a number from 0 to 1000

# %% demo="many-classes"
def misses(classes, d=5, count=1000):
    """For how many random linear classifiers FGSM fails, with an eps 1.2 times as large as needed."""
    generator = torch.Generator().manual_seed(classes)
    missed = 0
    for _ in range(count):
        weight = torch.randn(classes, d, generator=generator, dtype=torch.float64)
        point = torch.randn(1, d, generator=generator, dtype=torch.float64)
        logits = point @ weight.T
        y = logits.argmax(dim=1)
        steepness = (weight - weight[y]).abs().sum(dim=1)
        needed = ((logits.max() - logits) / steepness.clamp_min(1e-12))[0, torch.arange(classes) != y].min()
        slope = (logits.softmax(dim=1) - torch.eye(classes, dtype=torch.float64)[y]) @ weight  # of the cross-entropy
        landing = point + 1.2 * needed * slope.sign()
        missed += int((landing @ weight.T).argmax() == y)
    return missed

by_classes = {classes: misses(classes) for classes in (2, 3, 5, 10)}
said = ", ".join(f"{count} with {k}" for k, count in by_classes.items())
checks.reveal(my_guess, f"{by_classes[10]} of 1000", f"By number of classes: {said}.")

# %% [markdown]
# With two classes none, and then more and more. What has happened? The gradient of the cross-entropy is
#
# $$\nabla_{\mathbf x}\mathcal L = \sum_k p_k\,(\mathbf w_k - \mathbf w_y),$$
#
# a mean over all classes, weighted with their probabilities. FGSM walks towards a *mixture* of rivals, and a corner that is good for the mixture need not be good enough for any single one. With two classes there is only one rival and nothing to mix.
#
# Two inputs are enough to draw it. Below, $\mathbf x$ is the black dot in the region of $y$, and the two rivals have equal logits there. One wants to go right and a little down, the other left and up. The mixture of the two goes right and *up*, between them, into a corner where $y$ still leads. The star is the best corner of all: the one for rival 2, and there $y$ has lost.

# %% demo="rivals"
toward_rivals = torch.tensor([[0.0, 0.0], [1.0, -0.3], [-0.8, 1.0]])
plots.rivals(toward_rivals, torch.tensor([1.0, 0.0, 0.0]), eps=0.7, names=["y", "rival 1", "rival 2"])

# %% [markdown]
# ### Exercise 8.7b: one step for each rival · medium · 15 minutes · 4 points
#
# Repair it for linear classifiers with any number of classes: for every rival $k \ne y$ take the corner that is best against *it*, and of these corners keep, for each point, the one where $y$ has the lowest lead over its strongest rival, $z_y - \max_{k\ne y} z_k$.
#
# <details><summary>Hint 1</summary>
# The lead of y over k is (w_y - w_k) x + b_y - b_k: one linear score. Which corner makes it lowest?
# </details>
# <details><summary>Hint 2</summary>
# A loop over k, in which you compute all B corners at once: <code>weight[y] - weight[k]</code> has the shape (B, d). For the points with y = k this rival does not count. Keep the best corner so far and its lead; <code>torch.where(better[:, None], corner, best)</code> replaces row by row.
# </details>

# %% solution="best_step"
def best_step(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """For each x the point of its closed L-inf ball where the lead of y over its strongest rival is lowest.

    weight: (K, d), bias: (K,), K at least 2: logits z = W x + b. x: (B, d) floats. y: (B,) int64. eps: above 0. There
    is no image range. Returns (B, d), like x; of several equally good points any one.
    """
    ### BEGIN SOLUTION
    best, lowest = x, x.new_full((len(x),), math.inf)
    for rival in range(len(weight)):
        away = weight[y] - weight[rival]
        corner = x - eps * away.sign()
        score = (corner * away).sum(dim=1) + bias[y] - bias[rival]
        better = (score < lowest) & (y != rival)
        best, lowest = torch.where(better[:, None], corner, best), torch.where(better, score, lowest)
    return best
    ### END SOLUTION

# %% test="best_step" points=4
# Run this cell to check your best_step. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import proofs

exercise = checks.Exercise("best_step", points=4, by_hand=[
    "coursekit.attacks.best_corner", "coursekit.attacks.linearised.best_corner", "coursekit.attacks.pgd", "coursekit.attacks.strongest", "coursekit.attacks.deepfool"])
hold = proofs.best_of_ball  # calls yours; inside the ball, and a lead as low as anywhere in it

@exercise.case("two classes: the corner against the one rival")
def _(best_step):
    weight, bias = torch.tensor([[1.0, -2.0, 0.5], [0.2, 1.0, 3.0]]), torch.tensor([0.3, -0.1])
    x, y = torch.tensor([[0.2, -0.9, 0.4], [0.5, 0.1, 0.3]]), torch.tensor([0, 1])
    hold(best_step, weight, bias, x, y, 0.25)

@exercise.case("three classes: where the mixture of rivals leads nowhere")
def _(best_step):
    # One rival wants to go right and a little down, the other left and up; their mixture goes right and up.
    weight, bias = torch.tensor([[0.5, 0.25], [1.5, -0.05], [-0.3, 1.25]]), torch.tensor([1.0, 0.0, 0.0])
    x, y = torch.tensor([[0.0, 0.0], [-0.1, 0.1], [0.1, 0.0]]), torch.tensor([0, 0, 0])
    hold(best_step, weight, bias, x, y, 0.7)
    hold(best_step, weight, bias, x, torch.tensor([0, 2, 1]), 0.7)

@exercise.case("a rival that is weak at x and gains fastest")
def _(best_step):
    weight, bias = torch.tensor([[0.5, 0.25], [1.0, 0.45], [6.5, -4.75]]), torch.tensor([1.0, 0.9, -3.0])
    x, y = torch.zeros(1, 2), torch.tensor([0])
    hold(best_step, weight, bias, x, y, 0.5)

@exercise.case("the bias counts: two rivals that matter, and one with steep weights and a hopeless bias")
def _(best_step):
    weight, bias = torch.tensor([[0.5, 0.0], [1.5, -0.3], [-0.3, 1.0], [-4.5, -5.0]]), torch.tensor([1.0, 0.0, 0.0, -20.0])
    x, y = torch.zeros(1, 2), torch.tensor([0])
    hold(best_step, weight, bias, x, y, 0.7)

@exercise.case("random classifiers with ten classes")
def _(best_step):
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        weight, bias = torch.randn(10, 5, generator=generator), torch.randn(10, generator=generator)
        x, y = torch.randn(20, 5, generator=generator), torch.randint(0, 10, (20,), generator=generator)
        hold(best_step, weight, bias, x, y, 0.3)

### BEGIN HIDDEN TESTS
@exercise.case("other numbers of classes and inputs, one point, float64", hidden=True,
               hint="Any K, d and B, the dtype of x; for each point its own best rival.")
def _(best_step):
    for classes, d, count, eps in ((3, 1, 1, 0.4), (40, 12, 6, 0.05), (2, 7, 9, 3.0), (6, 3, 30, 0.6)):
        weight, bias = torch.randn(classes, d, dtype=torch.float64), torch.randn(classes, dtype=torch.float64)
        x, y = torch.randn(count, d, dtype=torch.float64), torch.randint(0, classes, (count,))
        hold(best_step, weight, bias, x, y, eps)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 8.8 On real digits
#
# First the linear classifier of the ten digits, where one corner for each rival is the truth. (Here with the image range: a corner of the ball that lies outside of $[0, 1]$ is brought back pixel by pixel, and is still the best that the rival can get.) How much does FGSM leave lying?

# %% demo="linear-digits"
x, y = test_digits.x[:500], test_digits.y[:500]
right = linear_model(x).argmax(dim=1) == y
print(f"The linear classifier reads {int(right.sum())} of {len(x)} digits rightly. Fooled of these, by ε:")
print(f"{'ε':>6} {'FGSM':>6} {'the truth':>10} {'missed':>8}")
for eps in (0.03, 0.05, 0.07, 0.1):
    ball = LpBall(eps, math.inf)
    attacked = [attack(linear_model, x, y, ball) for attack in (attacks.fgsm, attacks.best_corner)]
    one, truth = (right & (linear_model(x_adv).argmax(dim=1) != y) for x_adv in attacked)
    print(f"{eps:>6} {int(one.sum()):>6} {int(truth.sum()):>10} {int((truth & ~one).sum()):>8}")

# %% [markdown]
# A robust accuracy measured with FGSM is too friendly even for a *linear* model, in one step and with every gradient correct. Now the convolutional network, which bends. Here nobody knows the truth for 784 pixels; but where PGD finds an adversarial example and FGSM did not, FGSM has missed one. The picture follows such digits from $\mathbf x$ to FGSM's corner: the lead of $y$ along the way, strong where it crosses 0 and comes back, and at most 20 of the others in each ball, thin.

# %% demo="along-the-step"
images, labels = test_digits.x[:300], test_digits.y[:300]
missed = {}
for eps in (0.1, 0.4):
    ball = LpBall(eps, math.inf)
    by_fgsm = attacks.fgsm(model, images, labels, ball)
    by_pgd = attacks.pgd(model, images, labels, ball, steps=15, random_start=False)
    is_right, after_one, after_many = (model(z).argmax(dim=1) == labels for z in (images, by_fgsm, by_pgd))
    escaped = is_right & after_one & ~after_many
    missed[eps] = images[escaped], labels[escaped]
plots.along_the_step(model, missed)

# %% [markdown]
# Two balls, and the two failures of 8.4. In the small ball FGSM goes **the wrong way**: the lead falls all along, only not enough; no shorter step would have helped, another direction does. In the large ball it goes **too far**: on the digits drawn strong, which the title counts, the way crosses the region of the other class and comes out again at the far end. Assignment 03 saw the robust accuracy under FGSM *rise* again for large ε; this is why. PGD is the answer to both: it asks for a new direction after each step, and its steps are short. It is no proof either, only a better search; proofs are the subject of assignment 09.
#
# ### The truth, for once
#
# For a network with two hidden layers of 32 neurons such a proof takes well under a second a digit. So the second question has an exact answer there: of the digits in whose ball an adversarial example **exists**, how many does one step find? (A few seconds.)

# %% demo="truth"
from coursekit.certify import exact

small = coursekit.models.load("mnist_mlp")
is_right = small(images).argmax(dim=1) == labels
print(f"{'ε':>6}{'there is one':>14}{'FGSM finds':>12}{'PGD finds':>11}{'proven: none':>14}{'undecided':>11}")
for eps in (0.01, 0.02, 0.03):
    ball = LpBall(eps, math.inf)
    verdicts = exact.verify(small, images, labels, ball, time_limit=2)
    exists = is_right & torch.tensor([status == "counterexample" for status in verdicts.status])
    by_fgsm, by_pgd = (
        int((is_right & (small(x_adv).argmax(dim=1) != labels)).sum())
        for x_adv in (attacks.fgsm(small, images, labels, ball),
                      attacks.pgd(small, images, labels, ball, steps=15, random_start=False))
    )
    none, open_still = (verdicts.status.count(status) for status in ("robust", "undecided"))
    print(f"{eps:>6}{int(exists.sum()):>14}{by_fgsm:>12}{by_pgd:>11}{none:>14}{open_still:>11}")

# %% [markdown]
# One missed digit is enough for the answer: no, not always.
#
# ## 8.9 In your own words
#
# These two answers are read by a person. They are the two questions of the slide. Half a page each is plenty; the exercises above have done the work.
#
# ### Question 8.9a: can every point be robust? · medium · 25 minutes · 4 points
#
# Answer the first question of the slide for $y = f(\mathbf x)$ and any ε > 0. (1) For which classifiers is every point of $\mathbb R^d$ robust, and why for no others? Give the argument in full, for an arbitrary $f$, and say where the strict $<$ of the ball matters. (2) Which property of $\mathbb R^d$ does the argument use? Name a domain where a classifier that is not constant can be robust everywhere. (3) Somebody concludes: "So adversarial examples on photographs are unavoidable." Is that right?

# %% [markdown] answer="everywhere-robust" points=4
# === BEGIN MARK SCHEME ===
# **2 points** for (1): exactly the constant ones (half a point; a constant f has no point of another label at all). For all others: there are a and b with different labels; halve the way between them, always keep a half with ends of different labels (1 point for the argument, also in another form: a chain of points less than eps apart from a to b, somewhere on it the label changes; or a supremum along the segment). After k halvings the ends are D/2^k apart; that must be *below* eps, so one more halving if D/2^k equals eps (half a point; for the chain: steps strictly shorter than eps). An argument that needs a continuous f, a gradient or a "decision boundary" that is a smooth surface: at most 1 of the 2 points, f is arbitrary.
#
# **1 point** for (2): the straight way between two points lies in the domain (convex; it is enough that any two points are joined by a chain of steps shorter than eps, so: connected). Counterexample, half a point: a finite set, whole numbers or grey levels with eps at most the spacing, two separate regions more than eps apart.
#
# **1 point** for (3): no. The theorem gives *some* points that are not robust, not which; they may lie where no data are. The classes can lie far apart (the digits do), and then a classifier that is right and robust on all data exists. Also acceptable for half a point: with labels y from the world, a point where f is wrong has no adversarial example by the definition; or where the classes touch the ball itself is too large.
# === END MARK SCHEME ===
# (1) Exactly the constant ones. If f is constant there is no point of another label, in no ball. If it is not, take a and b with f(a) ≠ f(b), at distance D. The middle has the label of one of them, so one of the two halves has ends of different labels. Repeat with that half: after k steps two points of different labels are D/2^k apart. For k large enough this is below ε, and each of the two lies in the open ball of the other: both are not robust. Nothing was assumed about f. The ball is open, so D/2^k = ε does not do yet; one more halving does. (2) That all points in between belong to the domain: R^d is convex. On the whole numbers with ε ≤ 1 every ball holds only its centre and every classifier is robust everywhere; two regions more than ε apart, each with its own label, do as well. (3) No. There are some points that are not robust, but nothing says that they are photographs. If the classes are further apart than 2ε, the label can change in between, where there are no data; the digits are such a case. That our networks fail on the data itself has other reasons.

# %% [markdown]
# ### Question 8.9b: will FGSM always find one? · medium · 25 minutes · 4 points
#
# Answer the second question of the slide. (1) Describe your counterexample of 8.6, or one of your own, so that a reader without a computer is convinced of both halves: FGSM fails, and an adversarial example exists. (2) Name the two different ways in which FGSM can miss, and say for each whether a smaller ε would help FGSM. (3) For which classifiers does FGSM always find one, and why? Where exactly does the argument break for three classes?

# %% [markdown] answer="does-fgsm-always-find" points=4
# === BEGIN MARK SCHEME ===
# **2 points** for (1): a concrete function and point (a drawing with numbers is enough); the gradient's sign at x and FGSM's landing point computed, still label y (1 point); a named point within eps with the other label, strictly inside the open ball or with a remark on the surface (1 point). "The loss is not concave, so it may happen" without an example: half a point in all. A zero gradient at x as the only example: 1 of 2 points.
#
# **1 point** for (2), half each: the wrong way (the slope at x points away from, or not at, the region of the other class; a smaller step in the same direction does not help); too far (the step crosses the region and comes out behind it, or the loss bends back; a smaller step can succeed). Standing still at a zero gradient counts as one of the two; no ε helps there.
#
# **1 point** for (3): binary linear classifiers (or any whose loss is a monotone function of one linear score): the gradient has the same signs everywhere, and eps * sign(w) is the worst of all steps because every coordinate does its own worst: it takes eps ||w||_1 off the lead, the most that the L-inf ball allows (half a point). For three classes the cross-entropy's gradient is a mean of w_k - w_y over the rivals with weights p_k; its sign need not be that of any single w_k - w_y (half a point). Also right: networks that are linear on the whole ball.
# === END MARK SCHEME ===
# (1) One input, x = 0, ε = 1. The logit of y is 0; the other is -0.5 - 0.25 (u + 2), plus a hat on [0.25, 0.75] with its top at 0.5, where it adds 2. At u = 0 the other logit is -1: label y. It falls to the right there, so the loss rises to the left, and FGSM lands at u = -1, where it is -0.75, still below 0: label y. At u = 0.5, well within the open ball, it is -1.125 + 2 = 0.875 > 0: the other label. (2) The wrong way: the slope at x says nothing about what lies further off on the other side; a smaller ε does not help, the direction stays wrong. Too far: the step goes in a good direction and jumps over the region of the other class; there a smaller step can succeed. (3) For linear classifiers with two classes. The gradient of the loss is a positive multiple of ∓w at every point, and the step -ε sign(w) makes every term of w·δ as small as |δ_i| ≤ ε allows, so no point of the ball has a lower lead. With three classes the gradient is a sum of p_k (w_k - w_y) over both rivals, and the sign of a sum is not the sign of either of its terms: the step can be bad for each of them.

# %% [markdown]
# ## What to take along
#
# * On $\mathbb R^d$ only a constant classifier is robust everywhere. For all others bisection finds two points, as close together as you like, that prove it; it takes about $\log_2(D/\epsilon)$ questions, and no method takes fewer in the worst case.
# * Everywhere is not on the data. That networks fail on the data is a finding about networks, not a theorem.
# * FGSM can miss, by walking the wrong way or too far. To show it one needs an exact search; for a small ReLU network that is a finite list of candidates.
# * For a linear classifier with two classes FGSM is exact: it takes $\epsilon\lVert\mathbf w\rVert_1$ off the lead, the most that the ball allows. With more classes it mixes the rivals; one step for each rival repairs that.
# * A failed attack proves nothing, a found example proves itself, and a search that leaves nothing out proves either. That is the step from this chapter to the next.
#
# **Where it goes on**: assignment 09, exact certification, does the search of 8.5 for networks with many inputs. Assignment 03, gradient attacks, has FGSM and PGD at work; assignment 04, minimum-norm attacks, the distance to a linear boundary in other norms.
#
# **Further**: Goodfellow, Shlens, Szegedy, *Explaining and harnessing adversarial examples*, 2015: FGSM, and why linear models explain it. Yang, Rashtchian, Zhang, Salakhutdinov, Chaudhuri, *A closer look at accuracy vs. robustness*, 2020: how far the classes of real data sets lie apart. Fawzi, Fawzi, Fawzi, *Adversarial vulnerability for any classifier*, 2018: for data from a smooth generative model most points are close to the boundary of *any* classifier. The lecture recommends lectures 09 and 10 of Jerry Li's course *Robustness in Machine Learning* (CSE 599-M).
