# %% [markdown]
# # 11 Lipschitz continuity
#
# An attack that fails proves nothing: the next one may succeed. Here you **prove** that none can, and it takes one idea that you could explain at school. A walker who stands at 100 m above the sea, in a country where no slope is steeper than 1 in 10, cannot have wet feet within a kilometre. For a network the height is the lead of its class, the slope is its Lipschitz constant, and the kilometre is a radius that is certified against every attack, known or not.
#
# **After this notebook you can**
#
# * turn a lead and a slope into a certified radius, pair of classes by pair of classes, and say why each step is a proof;
# * compute how far a linear map can stretch a vector, in three norms, a convolution included, and say which estimates are bounds and which are not;
# * bound the slope of a whole network, and hold the certificate against what an attack reaches;
# * say why such a bound is loose, measure by how much, and tell a certificate from something that only looks like one;
# * say what a network that is 1-Lipschitz by construction gains, and what it pays.
#
# **Slides**: "Roadmap". The slide names four ways to certify robustness; this is the third, "4. Certifiable robustness: Lipschitz-continuity", taught from the literature named at the end. **Time**: about two and a half hours. **Points**: 24 from eight functions that are checked at once, 6 from two texts that a person reads. What helps, and is not needed: assignment 02 (norms), assignment 04 (the distance to a boundary).
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other shapes, other numbers of classes and other norms. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was: no tensor edited in place, no model in another mode.</div>
#
# **Notation**, as on the slides: $\mathbf x$ an image with label $y$, $\tilde{\mathbf x}$ a perturbed image, $\lVert\cdot\rVert_p$ a norm with $p \in \{1, 2, \infty\}$. New here: $z = f(\mathbf x)$ are the **logits**, $z_y - z_i$ is the **lead** of $y$ over class $i$, and $L$ is a Lipschitz constant. There is no image range in this notebook: a certificate that holds in all of $\mathbb R^d$ holds in $[0, 1]^d$, too.

# %% readonly="setup"
import math

import torch
from torch import Tensor, nn

import coursekit
from coursekit import attacks, checks, data, plots, training, widgets
from coursekit.certify import lipschitz
from coursekit.models.architectures import MaxMin
from coursekit.perturbations import LpBall

torch.set_num_threads(1)  # networks as small as these run faster on a single thread

test_digits = data.load("mnist", "test")
x, y = test_digits.x[:100], test_digits.y[:100]
pixels = x.shape[1:]  # (1, 28, 28): the shape of one input
model = coursekit.models.load("mnist_cnn")  # two convolutions, two linear layers
networks = {"linear": coursekit.models.load("mnist_linear"),
            "small weights": coursekit.models.load("mnist_mlp"),  # 784-32-32-10, trained with a strong weight decay
            "convolutional": model}
for name, network in networks.items():
    print(f"{name}: {int((network(x).argmax(dim=1) == y).sum())} of {len(x)} digits right")

# %% [markdown]
# ## 11.1 A height, a slope, a safe distance
#
# A function $g: \mathbb R^d \to \mathbb R$ is **Lipschitz** with constant $L$ in the norm $p$ if
#
# $$|g(\tilde{\mathbf x}) - g(\mathbf x)| \le L\, \lVert \tilde{\mathbf x} - \mathbf x\rVert_p \qquad\text{for all } \mathbf x, \tilde{\mathbf x}.$$
#
# Take for $g$ the lead $z_y - z_i$ of the right class over another one, and say it is $m > 0$ at $\mathbf x$. Then
#
# $$g(\tilde{\mathbf x}) \;\ge\; m - L\,\lVert\tilde{\mathbf x} - \mathbf x\rVert_p \;>\; 0 \qquad\text{as long as}\qquad \lVert\tilde{\mathbf x} - \mathbf x\rVert_p < \frac{m}{L}.$$
#
# That is the whole certificate. No attack was run, and no ball was searched: the inequality speaks of all points at once. In the picture the graph of $g$ stays above a cone with its tip at $(\mathbf x, m)$ and the slope $L$, and the cone meets zero at the distance $m / L$.
#
# Everything now hangs on $L$. Play with it. On the left a point of the plane with its certified disc, and dashed the largest disc that is true; on the right a cut through both, along the line to the nearest boundary, with the cone of slope $L$: if $L$ holds, the curve stays in the shaded area.

# %% demo="cone"
widgets.cone_explorer(slope=110)

# %% [markdown]
# <details><summary>Four things worth seeing in the picture</summary>
#
# 1. With $L$ = 30 the curve leaves the cone, and the disc reaches over the boundary: what looks like a certificate is false. (The smaller $L$, the more of the disc lies outside the square. The plane goes on there, and the certificate speaks of all of it.)
# 2. Slowly raise $L$ from there. At about 69, the lead divided by the distance to the boundary, the disc of this point just fits. It is no proof for all that: the verdict is purple as long as slopes steeper than $L$ were seen elsewhere in the square. You only know that the disc fits because in the plane one can look everywhere.
# 3. With $L$ = 110 the certificate is true as far as anyone has looked. "No slope seen is steeper" is a statement about an experiment.
# 4. Only above 280 it is proven, by a method that you are going to build in the next four sections. The price: the disc has shrunk to a quarter of the true distance, or less.
# </details>
#
# So the task is to find an $L$ that is **never too small** and as small as possible. Networks make it easy to begin with: they are chains of simple maps, and a chain is at most as steep as the product of its links,
#
# $$\lVert f_2(f_1(\tilde{\mathbf x})) - f_2(f_1(\mathbf x)) \rVert \le L_2\, \lVert f_1(\tilde{\mathbf x}) - f_1(\mathbf x)\rVert \le L_2 L_1\, \lVert\tilde{\mathbf x} - \mathbf x\rVert .$$
#
# A ReLU brings no two numbers further apart, so its constant is 1, in every norm. What is left are the linear maps.

# %% [markdown]
# ## 11.2 How far can a matrix stretch?
#
# For a layer $\mathbf h \mapsto \mathbf W\mathbf h + \mathbf b$ the bias drops out of every difference, and the smallest Lipschitz constant is the **operator norm**
#
# $$\lVert\mathbf W\rVert_p = \max_{\mathbf v \ne 0} \frac{\lVert \mathbf W\mathbf v\rVert_p}{\lVert\mathbf v\rVert_p}.$$
#
# For two norms the maximum can be written down.
#
# * $p = \infty$: every entry of $\mathbf v$ may be as large as 1, with a sign of its own. Row $i$ of $\mathbf W\mathbf v$ is $\sum_j W_{ij} v_j$. Which signs make it largest, and how large does it get? Take the best row.
# * $p = 1$: the entries of $\mathbf v$ share a budget of 1. The length of $\mathbf W\mathbf v$ in the $L_1$ norm is convex in $\mathbf v$, so it is largest where the whole budget goes to a single entry. Then $\mathbf W\mathbf v$ is (plus or minus) one column. Take the longest.
#
# ### Exercise 11.1: operator norms · easy · 10 minutes · 3 points
#
# Write both. (`torch.linalg.matrix_norm` knows them; that is what you write yourself.)
#
# <details><summary>Hint</summary>
# Absolute values first, then a sum along one dimension, then a maximum. The entry <code>W[i, j]</code> takes input j to output i: which of the two runs over a row? <code>sum(dim=1)</code> adds up along the second index.
# </details>

# %% solution="operator_norm"
def operator_norm(W: Tensor, p: float) -> float:
    """The largest ||W v||_p / ||v||_p over all v that are not 0.

    W: (m, n) floats, n inputs and m outputs. p: 1 or math.inf. Returns a number, at least 0.
    """
    ### BEGIN SOLUTION
    along = 1 if p == math.inf else 0
    return W.abs().sum(dim=along).max().item()
    ### END SOLUTION

# %% test="operator_norm" points=3
# Run this cell to check your operator_norm. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("operator_norm", points=3, by_hand=[
    "torch.linalg.matrix_norm", "torch.linalg.norm", "numpy.linalg.norm", "coursekit.certify.lipschitz.operator_norm"])
W = torch.tensor([[1.0, -5.0, 2.0], [3.5, 0.5, -2.0]])
GENERAL = {
    "This is the largest entry of W. A vector feeds many entries at once: which of them add up?": 5.0,
    "All entries are added up: that is larger than any vector can reach. One row (or column) counts.": 14.0,
    "This is the root of the sum of squares of all entries (Frobenius): a bound for p = 2, not this norm.":
        W.square().sum().sqrt(),
    "This is the largest singular value, the norm for p = 2.": torch.linalg.eigvalsh(W @ W.T)[1].sqrt(),
}
CANCELLED = "Without absolute values entries of opposite sign cancel. The signs of v can be chosen such that nothing does."

@exercise.case("p = inf: two rows, with signs")
def _(operator_norm):
    expect.close(operator_norm(W, math.inf), 8.0, mistakes={
        "This is the longest column: right for p = 1. For p = inf an output adds up a row.": 5.5,
        "You take the smallest row. The worst output counts.": 6.0, CANCELLED: 2.0} | GENERAL,
        hint="For the row (1, -5, 2) the vector v = (1, -1, 1) gives 8.")

@exercise.case("p = 1: three columns")
def _(operator_norm):
    expect.close(operator_norm(W, 1), 5.5, mistakes={
        "This is the longest row: right for p = inf. For p = 1 the budget goes to one input, and its column comes out.": 8.0,
        "You take the shortest column. The worst input counts.": 4.0, CANCELLED: 4.5} | GENERAL,
        hint="For v = (0, 1, 0) the second column comes out, (-5, 0.5).")

@exercise.case("one row, one column: wide and tall matrices")
def _(operator_norm):
    row = torch.tensor([[1.0, -2.0, 3.0, -4.0]])
    for name, A, p, norm, why in (("(1, 4)", row, math.inf, 10.0, "its only row adds up to 1 + 2 + 3 + 4"),
                                  ("(1, 4)", row, 1, 4.0, "it has four columns of one entry each, the longest is 4"),
                                  ("(4, 1)", row.T, math.inf, 4.0, "it has four rows of one entry each, the longest is 4"),
                                  ("(4, 1)", row.T, 1, 10.0, "its only column adds up to 1 + 2 + 3 + 4")):
        expect.close(operator_norm(A, p), norm, hint=f"The matrix is {name} and p = {p:g}: {why}.")

@exercise.case("no vector is stretched further, and some are as far")
def _(operator_norm):
    A = torch.randn(3, 4)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)  # the extreme points of the unit balls
    for p, extreme in ((math.inf, corners), (1, torch.eye(4))):
        furthest = torch.linalg.vector_norm(extreme @ A.T, ord=p, dim=1).max().item()
        expect.close(operator_norm(A, p), furthest, hint=f"p = {p:g}: among all extreme v of the unit ball the furthest comes to "
                                                         f"{furthest:.4g}.")
    expect.unchanged(operator_norm)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, float64, nothing but zeros", hint="No shape may be written out; p = inf: rows, p = 1: columns.", hidden=True)
def _(operator_norm):
    A = torch.randn(7, 3, dtype=torch.float64)
    expect.close(operator_norm(A, math.inf), max(sum(abs(a) for a in row) for row in A.tolist()))
    expect.close(operator_norm(A, 1), max(sum(abs(a) for a in column) for column in A.T.tolist()))
    expect.close(operator_norm(torch.zeros(2, 5), 1), 0.0)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 11.3 The spectral norm, step by step
#
# For $p = 2$ there is no such formula. The square of what we want, $\lVert\mathbf W\mathbf v\rVert_2^2 = \mathbf v^\top \mathbf W^\top\mathbf W\,\mathbf v$ over all unit vectors, has as its largest value the largest eigenvalue of $\mathbf W^\top\mathbf W$; the root of that is the largest **singular value** of $\mathbf W$, the spectral norm $\lVert\mathbf W\rVert_2$. And the largest eigenvalue of a symmetric matrix can be had with matrix-vector products alone: multiply again and again, and the direction with the largest eigenvalue outgrows all others.
#
# $$\mathbf v_0 = \frac{\mathbf v}{\lVert\mathbf v\rVert_2}, \qquad \mathbf v_{t+1} = \frac{\mathbf W^\top\mathbf W\,\mathbf v_t}{\lVert\mathbf W^\top\mathbf W\,\mathbf v_t\rVert_2}, \qquad \text{estimate: } \lVert\mathbf W\,\mathbf v_T\rVert_2 .$$
#
# This is **power iteration**. It is gradient ascent in disguise: $\mathbf W^\top\mathbf W\,\mathbf v$ is the gradient of $\frac12\lVert\mathbf W\mathbf v\rVert_2^2$.
#
# ### Exercise 11.2: power iteration · medium · 15 minutes · 4 points
#
# Return the estimate after $T$ steps from a given start. Scale to length one in every step: without it the numbers overflow. There is one case to think of: a start that $\mathbf W$ takes to zero stays there, and $0/0$ is not a number. The estimate is 0 then.
#
# <details><summary>Hint 1</summary>
# <code>W.T @ (W @ v)</code>: two products with a vector, never the product of the two matrices.
# </details>
# <details><summary>Hint 2</summary>
# Compute the length first. If it is 0, return 0.0 before you divide by it.
# </details>

# %% solution="power_iteration"
def power_iteration(W: Tensor, v: Tensor, steps: int) -> float:
    """The estimate ||W v_T||_2 of the spectral norm of W after T steps of power iteration from v.

    W: (m, n) floats. v: (n,), not 0, of any length. steps: T, 0 or more.
    Returns a number; 0 if W^T W v_t becomes 0. The entries of W may be large or small, say 1e4 or 1e-5.
    """
    ### BEGIN SOLUTION
    for _ in range(steps):
        v = W.T @ (W @ (v / v.norm()))
        if not v.any():
            return 0.0
    return (W @ (v / v.norm())).norm().item()
    ### END SOLUTION

# %% test="power_iteration" points=4
# Run this cell to check your power_iteration. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("power_iteration", points=4, by_hand=[
    "torch.linalg.matrix_norm", "torch.linalg.svdvals", "torch.linalg.svd", "coursekit.certify.lipschitz.power_iteration"])

def after(W, v, steps):
    """The estimate from powers of the eigenvalues: no iteration, so nothing can overflow or be forgotten."""
    size, directions = torch.linalg.eigh(W.double().T @ W.double())
    share = (directions.T @ v.double()) * (size / size.max()) ** steps
    return ((share**2 * size).sum() / (share**2).sum()).sqrt().item()

def finite(got, why):
    """A number, with a hint of its own where it is NaN or infinite."""
    broken = isinstance(got, float) and not math.isfinite(got)
    expect.that(not broken, "NaN or infinite", "a finite number", why)
    return expect.number(got)

UNSCALED = "The numbers grow (or shrink) with every step until they overflow (or vanish). Scale v to length one in every step, not only at the start or at the end."

def by_other_product(W, v, steps):
    """What comes out when a step is W W^T instead of W^T W, for a square W."""
    for _ in range(steps):
        v = torch.nn.functional.normalize(W @ (W.T @ v), dim=0)
    return ((W @ v).norm() / v.norm()).item()

@exercise.case("no step: how far is v itself stretched?")
def _(power_iteration):
    W, v = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([1.0, 1.0])
    expect.close(power_iteration(W, v, 0), math.sqrt(5), mistakes={
        "v was not scaled to length one: the estimate is ||W v|| / ||v||.": math.sqrt(10),
        "This is the square. The estimate is the length of W v, not its square.": 5.0,
        "That is one step too many.": after(W, v, 1),
        "This is the number after many steps. Are there as many as `steps` says?": 3.0,
    }, hint="With 0 steps: scale v to length one, multiply with W, take the length.")

@exercise.case("one step and two, a matrix that is not symmetric")
def _(power_iteration):
    W, v = torch.tensor([[1.0, 2.0], [-1.5, 0.5]]), torch.tensor([3.0, 0.0])
    twice = (W @ W @ v / (W @ v).norm()).norm().item()
    for steps in (1, 2):
        expect.close(power_iteration(W, v, steps), after(W, v, steps), mistakes={
            "You multiply with W alone in each step. A step is W^T W: back to the inputs with the transpose.": twice if steps == 1 else math.nan,
            "That is one step too few.": after(W, v, steps - 1),
            "That is one step too many.": after(W, v, steps + 1),
            "This is the square of the estimate: an eigenvalue of W^T W. Take the root.": after(W, v, steps) ** 2,
            "You multiply with W W^T. Which of the two products takes inputs to inputs?": by_other_product(W, v, steps),
            "This is for the transpose of W: W W^T in each step, W^T in the end. v is an input of W.": after(W.T, v, steps),
            "The last product is missing: v has length one, and its length is what you return. Return that of W v.": 1.0,
        }, hint="v becomes W^T W v, scaled to length one; in the end the length of W v.")

@exercise.case("wide and tall matrices: up to the norm",
               hint="v has as many entries as W has columns: first W @ v, then W.T takes the result back to the inputs.")
def _(power_iteration):
    for shape in ((3, 6), (6, 3)):
        W, v = torch.randn(shape), torch.randn(shape[1])
        expect.close(finite(power_iteration(W, v, 300), UNSCALED), after(W, v, 300), tolerance=1e-3,
                     hint="After many steps this is the largest singular value of W.")

@exercise.case("large and small entries, many steps")
def _(power_iteration):
    v = torch.tensor([1.0, 1.0])
    for size in (1e4, 2e-5):
        W = size * torch.tensor([[1.0, 2.0], [0.0, 1.5]])
        got, norm = finite(power_iteration(W, v, 60), UNSCALED), after(W, v, 60)
        why = "After many steps this is the largest singular value of W, whatever the size of its entries."
        if got == 0:
            why = ("W^T W v is small here, but not 0. Only a length of exactly 0 makes the estimate 0; and v vanishes by itself if it is "
                   "not scaled to length one in every step, with nothing added to the length that you divide by.")
        expect.that(abs(got / norm - 1) < 1e-3, got, f"{norm:.4g}", why)

@exercise.case("a start that W takes to zero")
def _(power_iteration):
    W, v = torch.tensor([[0.0, 1.0], [0.0, 2.0]]), torch.tensor([5.0, 0.0])
    estimate = finite(power_iteration(W, v, 3), "W v is 0, and so is every step after it. Divide by a length only if it is not 0.")
    expect.close(estimate, 0.0, hint="W v is 0, so W^T (W v) is 0, and the estimate with it. Does each of your steps multiply with W first?")
    expect.unchanged(power_iteration)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes and starts, float64", hint="Nothing may be written out; v may have any length, W any shape.", hidden=True)
def _(power_iteration):
    for shape, steps in (((3, 7), 3), ((1, 4), 1), ((5, 5), 8)):
        W, v = torch.randn(shape, dtype=torch.float64), 100 * torch.randn(shape[1], dtype=torch.float64)
        expect.close(power_iteration(W, v, steps), after(W, v, steps))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Now on a layer of the digit network, 1568 inputs and 100 outputs, from three random starts.

# %% demo="estimates"
W = model[6].weight.detach()

def reference_power(W, v, steps):
    for _ in range(steps):
        v = torch.nn.functional.normalize(W.T @ (W @ v), dim=0)
    return torch.linalg.vector_norm(W @ torch.nn.functional.normalize(v, dim=0)).item()

your_power = checks.yours("power_iteration", reference_power)
starts = torch.randn(3, W.shape[1], generator=torch.Generator().manual_seed(0))
rising = {f"start {i + 1}": [your_power(W, v, steps) for steps in range(13)] for i, v in enumerate(starts)}
plots.estimates(rising, torch.linalg.matrix_norm(W, ord=2).item())

# %% [markdown]
# All estimates come **from below**. Each is $\lVert\mathbf W\mathbf v\rVert_2$ for some unit vector, and the norm is the largest of these numbers. For spectral normalisation in training that is good enough, and it is used everywhere. For a certificate it is poison: an $L$ that is a little too small makes a radius that is a little too large, and the statement "no attack within it" is false. How many steps are enough depends on the gap between the two largest singular values, which you do not know.
#
# So a certificate takes either the exact norm, from a singular value decomposition (`torch.linalg.svdvals`, for matrices that fit in memory), or a bound that is proven from above. Cheap ones are $\lVert\mathbf W\rVert_F$, the root of the sum of all squares, and $\sqrt{\lVert\mathbf W\rVert_1\lVert\mathbf W\rVert_\infty}$; for this layer they are three and four times too large, and such factors multiply from layer to layer. The package takes the exact norm for linear layers, rounds it up, and keeps power iteration for looking at things.

# %% [markdown]
# ## 11.4 A convolution is a matrix, too
#
# A convolution is linear in its input: twice the image, twice the result (the bias aside). So there is a matrix $\mathbf A$ with one column for each input pixel and one row for each output pixel that does the same. It is large, nearly empty, and has the few weights of the kernel in it again and again.
#
# ### Exercise 11.3: the matrix of a convolution · medium · 15 minutes · 3 points
#
# Build it. A linear map is known once it is known what it does to the basis vectors: **column $j$ of $\mathbf A$ is what comes out when pixel $j$ is 1 and all others are 0.** Pixels are numbered as `flatten` does it: channel by channel, in each row by row.
#
# <details><summary>Hint 1</summary>
# All basis images at once: <code>torch.eye(n)</code> with n = C_in · H · W, each row made into an image (C_in, H, W). That is a batch of n images, and a convolution takes batches.
# </details>
# <details><summary>Hint 2</summary>
# What comes out has the shape (n, C_out, H', W'). Flattened, row j is what pixel j gives. In the matrix that belongs into column j.
# </details>

# %% solution="conv_matrix"
def conv_matrix(weight: Tensor, size: tuple[int, int], stride: int, padding: int) -> Tensor:
    """The matrix A with A @ x.flatten() = conv2d(x, weight, stride=..., padding=...).flatten().

    weight: (C_out, C_in, h, w) floats. size: (H, W), height and width of the images x (C_in, H, W).
    stride: in both directions. padding: how many zeros on each side.
    Returns (outputs, inputs), that is (C_out * H' * W', C_in * H * W), in the dtype of weight.
    """
    ### BEGIN SOLUTION
    inputs = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(inputs, dtype=weight.dtype).reshape(inputs, weight.shape[1], *size)
    return nn.functional.conv2d(basis, weight, stride=stride, padding=padding).reshape(inputs, -1).T
    ### END SOLUTION

# %% test="conv_matrix" points=3
# Run this cell to check your conv_matrix. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("conv_matrix", points=3, by_hand=["coursekit.certify.lipschitz.as_matrix"])
SHAPE = "Rows are outputs, C_out * H' * W' of them, columns are inputs, C_in * H * W. Do all channels, the stride and the padding take part?"
TRANSPOSE = "This is the transpose: outputs are rows, inputs are columns. What pixel j gives belongs into column j."
RESHAPE = "The entries are all there, in another order: reshape gives rows new lengths. To make rows into columns, transpose (.T)."
BIAS = "All entries of a row are off by the same number: a bias (nn.Conv2d has one, unless bias=False). A has the weights alone."
FLIPPED = "The kernel is turned round. conv2d lays it on the image as it is."

def acts_like(A, weight, size, stride, padding):
    """Holds A against the convolution itself, on random images."""
    images = torch.randn(3, weight.shape[1], *size, dtype=weight.dtype)
    maps = torch.nn.functional.conv2d(images, weight, stride=stride, padding=padding)
    outputs, inputs = maps[0].numel(), images[0].numel()
    turned = isinstance(A, torch.Tensor) and tuple(A.shape) == (inputs, outputs) != (outputs, inputs)
    A = expect.tensor(A, shape=(outputs, inputs), dtype=weight.dtype, shape_hint=TRANSPOSE if turned else SHAPE)
    images, maps, mirrored = images.flatten(1), maps.flatten(1), torch.nn.functional.conv2d(
        images, weight.flip(2, 3), stride=stride, padding=padding).flatten(1)
    off = (images @ A.T - maps) / images.sum(dim=1, keepdim=True)  # a bias in every column adds up with the pixels
    channels = maps.unflatten(1, (len(weight), -1)).transpose(1, 2).flatten(1)
    hint = "Every entry of A x must be that of the convolution of x, in the order of flatten."
    if expect.same(images @ A.T, channels):
        hint = "The outputs are in another order: pixel by pixel, the channels of each together. flatten goes channel by channel."
    elif expect.same(images @ A.T, mirrored):
        hint = FLIPPED
    elif expect.same(images @ A.reshape(inputs, outputs), maps):
        hint = RESHAPE
    elif off.std(dim=0).max() < 1e-3:
        hint = BIAS
    expect.close(images @ A.T, maps, hint=hint)

@exercise.case("one row of four pixels, a kernel of three")
def _(conv_matrix):
    weight = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    expected = torch.tensor([[1.0, 2.0, 3.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    A = conv_matrix(weight, (1, 4), 1, 0)
    turned = isinstance(A, torch.Tensor) and tuple(A.shape) == (4, 2)
    hint = "Row 0 is the first output: 1 x_0 + 2 x_1 + 3 x_2. Row 1 is the same, one pixel further."
    A = expect.tensor(A, shape=(2, 4), dtype=weight.dtype, shape_hint=TRANSPOSE if turned else SHAPE)
    off = A - expected
    expect.close(A, expected, hint=BIAS if (off - off[:, :1]).abs().max() < 1e-4 else hint,
                 mistakes={FLIPPED: expected.flip(1).flip(0), RESHAPE: expected.T.reshape(2, 4)})

@exercise.case("an image, a kernel of 2 x 2", hint="Columns are numbered row by row: pixel (r, c) is number r * W + c.")
def _(conv_matrix):
    weight = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    acts_like(conv_matrix(weight, (3, 4), 1, 0), weight, (3, 4), 1, 0)

@exercise.case("stride and padding", hint="Both belong to the convolution that the basis images go through.")
def _(conv_matrix):
    weight = torch.randn(1, 1, 3, 3)
    acts_like(conv_matrix(weight, (5, 4), 2, 1), weight, (5, 4), 2, 1)

@exercise.case("several channels in and out", hint="C_in * H * W basis images, each of all channels, with one pixel of one channel at 1.")
def _(conv_matrix):
    weight = torch.randn(3, 2, 2, 3)
    acts_like(conv_matrix(weight, (4, 5), 1, 1), weight, (4, 5), 1, 1)
    expect.unchanged(conv_matrix)

@exercise.case("weights in float64", hint="The basis images need the dtype of the weight: torch.eye(n, dtype=weight.dtype).")
def _(conv_matrix):
    weight = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    acts_like(conv_matrix(weight, (3, 3), 1, 0), weight, (3, 3), 1, 0)

### BEGIN HIDDEN TESTS
@exercise.case("other sizes, float64", hint="Nothing may be written out; the matrix has the dtype of the weight.", hidden=True)
def _(conv_matrix):
    for shape, size, stride, padding in (((4, 3, 3, 2), (6, 3), 3, 2), ((1, 1, 1, 1), (2, 2), 1, 0)):
        weight = torch.randn(shape, dtype=torch.float64)
        acts_like(conv_matrix(weight, size, stride, padding), weight, size, stride, padding)
### END HIDDEN TESTS

exercise.score()

# %% demo="conv-matrices"
def reference_matrix(weight, size, stride, padding):
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], stride, padding, bias=False, dtype=weight.dtype)
    layer.load_state_dict({"weight": weight})
    return lipschitz.as_matrix(layer, (weight.shape[1], *size))

your_matrix = checks.yours("conv_matrix", reference_matrix)
first, second = model[1], model[3]  # the two convolutions: 1 -> 16 and 16 -> 32 channels, 4 x 4 kernels, stride 2
kernel = first.weight.detach()[:1]
plots.matrices({"stride 1, no padding": your_matrix(kernel, (8, 8), 1, 0),
                "stride 2, padding 1": your_matrix(kernel, (8, 8), 2, 1)})

# %% [markdown]
# Each row holds the kernel once (orange its positive weights, blue its negative ones, white is 0), and from row to row it moves on by a pixel, or by two where the stride is 2. The spectral norm of the convolution is that of this matrix. For the second layer of the digit network it has 1568 rows and 3136 columns, five million entries from 8192 weights, and for a photograph it would not fit into memory.
#
# ### Predict, then reveal
#
# There is a popular shortcut. Lay out the kernel as a small matrix, $C_\text{out}$ rows and $C_\text{in}\cdot h\cdot w$ columns (a row for each output channel), and take the norm of *that*. The two layers have kernels of 4 × 4 pixels. **Is the number of the shortcut too large, right, or too small?** Write "too large", "right" or "too small" into the cell, then run it and the next.

# %%
my_guess = None  # replace None by "too large", "right" or "too small"

# %% demo="shortcut"
rows, sizes = [], {"first": (first, (28, 28)), "second": (second, (14, 14))}
for name, (layer, size) in sizes.items():
    shape = (layer.in_channels, *size)
    shortcut = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2).item()
    below = lipschitz.power_iteration(layer, shape, steps=60, generator=torch.Generator().manual_seed(0)).item()
    above = lipschitz.operator_norm(layer, shape).item()
    rows.append(f"{name} convolution: shortcut {shortcut:.2f}; the norm lies between {below:.2f} and {above:.2f}")
checks.reveal(my_guess, "too small, by far", "\n".join(rows))

# %% [markdown]
# The shortcut looks at one output pixel alone: the image that is black but for one patch shows that the norm is at least as large. But neighbouring outputs read the same pixels. With a kernel of 4 × 4 and a stride of 2 each pixel goes into four outputs, and what they do adds up, to twice the shortcut at worst (the root of four). So the shortcut is a bound from below, and a certificate that rests on it may be false.
#
# The lower number is from power iteration, which needs no matrix: the convolution and its transpose are enough. The upper number is proven, and close: `lipschitz.operator_norm` computes it.
#
# <details><summary>How the upper number comes about</summary>
#
# The image is put on a torus, where a convolution has no edge. There the Fourier transform splits it into one small matrix for each frequency, whose norms are easy (Sedghi et al. 2019), and an image with zeros around it is a part of a torus that is large enough.
# </details>

# %% [markdown]
# ## 11.5 Through the whole network
#
# Two constants have to be told apart from here on: that of the **logits**, all of them together, and that of a **lead**, the difference of two.
#
# The product of the norms of all layers is a Lipschitz constant $L$ of the logits: $\lVert f(\tilde{\mathbf x}) - f(\mathbf x)\rVert_2 \le L\lVert\tilde{\mathbf x} - \mathbf x\rVert_2$. What the certificate needs is the slope of a lead. Two logits make a vector $(a, b)$ that moves by at most $L\lVert\boldsymbol\delta\rVert_2$; its difference $a - b$ moves by at most $\sqrt2$ times that, when one logit falls and the other rises by the same amount. So $\sqrt 2 L$ is a constant for every lead (Tsuzuku et al. 2018).
#
# There is a better one for each pair of classes, at no cost. The last layer is linear, so the difference of two logits is *one* linear function of the features $\mathbf h$ before it:
#
# $$z_i - z_j = (\mathbf w_i - \mathbf w_j)^\top \mathbf h + b_i - b_j, \qquad |\Delta (z_i - z_j)| \le \lVert\mathbf w_i - \mathbf w_j\rVert_q\, \lVert\Delta\mathbf h\rVert_p, \qquad \frac1p + \frac1q = 1.$$
#
# That is Hölder's inequality, with the dual norm $q$: 2 for $p = 2$, 1 for $p = \infty$, and $\infty$ for $p = 1$. With $L_\text{body}$ for the product of all layers before the last,
#
# $$L_{ij} = \lVert\mathbf w_i - \mathbf w_j\rVert_q\; L_\text{body} .$$
#
# ### Exercise 11.4: a constant for each pair · medium · 15 minutes · 3 points
#
# Return the table of all $L_{ij}$.
#
# <details><summary>Hint 1</summary>
# <code>weight[:, None] - weight[None]</code> has the shape (K, K, n): the differences of all pairs of rows. What remains is a norm along the last dimension.
# </details>
# <details><summary>Hint 2</summary>
# The features move by at most $L_\text{body}\lVert\boldsymbol\delta\rVert_p$ in the norm $p$. If all of them may move by 1 at once (p = ∞), how much does a weighted sum of them move?
# </details>

# %% solution="pair_constants"
def pair_constants(weight: Tensor, L_body: float, p: float) -> Tensor:
    """L[i, j] with |(z_i - z_j)(x~) - (z_i - z_j)(x)| <= L[i, j] ||x~ - x||_p, for all pairs.

    weight: (K, n) floats, the last layer, one row for each class. L_body: a Lipschitz constant,
    in the norm p, of everything before it. p: 1, 2 or math.inf.
    Returns (K, K), 0 on the diagonal.
    """
    ### BEGIN SOLUTION
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    between = weight.unsqueeze(1) - weight.unsqueeze(0)
    return L_body * torch.linalg.vector_norm(between, ord=q, dim=2)
    ### END SOLUTION

# %% test="pair_constants" points=3
# Run this cell to check your pair_constants. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("pair_constants", points=3, by_hand=["coursekit.certify.lipschitz.pair_constants"])
weight = torch.tensor([[1.0, 2.0, 0.0], [-2.0, 6.0, 0.0], [1.0, 2.0, 2.0]])
apart = weight.unsqueeze(1) - weight  # (3, 3, 3)
lengths = {q: torch.linalg.vector_norm(apart, ord=q, dim=-1) for q in (1, 2, math.inf)}
own = {q: torch.linalg.vector_norm(weight, ord=q, dim=-1) for q in (1, 2, math.inf)}

def slips(q, L_body):
    """Values that typical slips give, for a dual norm q."""
    return {
        "The features are only half of it: they move by L_body times ||x~ - x||. Multiply.": lengths[q],
        "Divide? A steeper body makes a steeper lead: multiply with L_body.": lengths[q] / L_body,
        "This is the difference of two lengths. First subtract the rows, then take the length.": L_body * (own[q][:, None] - own[q]).abs(),
        "These are the lengths of the rows added up: a bound, but a worse one. Subtract the rows first.":
            L_body * (own[q][:, None] + own[q]),
        "The sum of two rows? The lead is a difference of logits.":
            L_body * torch.linalg.vector_norm(weight.unsqueeze(1) + weight, ord=q, dim=-1),
        "This is the square of the length. Take the root.": L_body * lengths[q] ** 2,
        "The root of 2 is for the norm of the whole layer. The rows of a pair give the constant of its lead directly.":
            math.sqrt(2) * L_body * lengths[q],
        "The length is taken along the wrong dimension. In (K, K, n) the features are the last one: dim=-1.":
            L_body * torch.linalg.vector_norm(apart, ord=q, dim=1),
        "Absolute values are missing: weights of opposite sign cancel, or count as small.":
            L_body * (apart.amax(dim=-1) if q == math.inf else apart.sum(dim=-1)),
        "The sum is taken first, and its absolute value then: weights of opposite sign cancel.": L_body * apart.sum(dim=-1).abs(),
        "This is one constant for all pairs. Each pair of classes has its own.": L_body * lengths[q].max() * torch.ones(3, 3),
        "This is sqrt(2) times the norm of the whole layer, the same for all pairs. The rows of the pair know better.":
            math.sqrt(2) * L_body * torch.linalg.matrix_norm(weight, ord=2) * torch.ones(3, 3),
    }

LAST = "(K, K), a number for each pair of classes: the norm is taken along the features, the last dimension (dim=-1)."
OWN = "p = 1 and p = inf need a case of their own: a formula such as p / (p - 1) divides by zero, or is inf / inf."

def table(pair_constants, w, L_body, p):
    """The student's table, (K, K)."""
    return expect.tensor(pair_constants(w, L_body, p), shape=(len(w), len(w)), hint=OWN, shape_hint=LAST)

@exercise.case("p = 2: the lengths of the differences of rows")
def _(pair_constants):
    L = table(pair_constants, weight, 3.0, 2)
    expect.close(L, 3 * lengths[2], mistakes=slips(2, 3.0) | {
        "1/q = 1 - 1/p, so q is one divided by (1 - 1/p). For p = 2 that is 2.": 3 * torch.linalg.vector_norm(apart, ord=0.5, dim=-1)},
                 hint="Rows 0 and 1 differ by (3, -4, 0), which has length 5; the body stretches by 3: L[0, 1] = 15.")

@exercise.case("p = inf: all features may move at once", hint=OWN)
def _(pair_constants):
    L = table(pair_constants, weight, 2.0, math.inf)
    expect.close(L, 2 * lengths[1], mistakes={
        "You take the norm p itself. If every feature moves by 1, a weighted sum moves by the sum of |weights|: the dual norm, q = 1.":
            2 * lengths[math.inf],
        "You take the L2 norm for every p. Which q belongs to p = inf?": 2 * lengths[2]} | slips(1, 2.0),
        hint="Rows 0 and 1 differ by (3, -4, 0): features that move by 1 each change the lead by 7.")

@exercise.case("p = 1: the features share one budget", hint=OWN)
def _(pair_constants):
    L = table(pair_constants, weight, 0.5, 1)
    expect.close(L, 0.5 * lengths[math.inf], mistakes={
        "You take the norm p itself. A budget of 1 is best spent on the feature with the largest weight: the dual norm, q = inf.":
            0.5 * lengths[1],
        "You take the L2 norm for every p. Which q belongs to p = 1?": 0.5 * lengths[2],
        "1/q = 1 - 1/p, so q is one divided by (1 - 1/p). For p = 1 that is infinite.":
            0.5 * torch.linalg.vector_norm(apart, ord=0, dim=-1)} | slips(math.inf, 0.5),
        hint="Rows 0 and 1 differ by (3, -4, 0): a budget of 1 changes the lead by 4 at most.")

@exercise.case("a network with a hidden layer: no two points change a lead faster, and some change it as fast", hint=OWN)
def _(pair_constants):
    body, head = torch.tensor([[0.0, -3.0], [3.0, 0.0]]), torch.randn(4, 2)  # it turns by 90 degrees and stretches by 3, for every p
    moves = torch.cat([torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 2), (head.unsqueeze(1) - head).flatten(0, 1) / 9 @ body])
    moves = torch.cat([moves[moves.any(dim=1)], torch.randn(200, 2)])
    def leads(points):
        z = (points @ body.T + 9).relu() @ head.T  # the 9 is a bias
        return z.unsqueeze(2) - z.unsqueeze(1)
    for p in (2, math.inf, 1):
        steps = moves / torch.linalg.vector_norm(moves, ord=p, dim=1, keepdim=True)
        seen = (leads(steps) - leads(torch.zeros_like(steps))).abs().amax(dim=0)
        L = table(pair_constants, head, 3.0, p)
        expect.that(bool((seen <= L + 1e-4).all()), f"for p = {p:g} a lead that changes {(seen - L).max().item():.3g} faster than L[i, j]",
                    "no lead that does", "L[i, j] must hold for every pair of points, and the body stretches by L_body = 3.")
        expect.that(bool((seen >= L - 1e-3).all()), f"for p = {p:g} an L[i, j] that is {(L - seen).max().item():.3g} too large",
                    "the slope that some points reach", "It holds, but is looser than the formula: what is in it that need not be?")
    expect.unchanged(pair_constants)

### BEGIN HIDDEN TESTS
@exercise.case("more classes, two classes, float64", hint="For any K and n, with the dual norm of p.", hidden=True)
def _(pair_constants):
    for classes, features in ((10, 4), (2, 7)):
        w = torch.randn(classes, features, dtype=torch.float64)
        for p, q in ((1, math.inf), (2, 2), (math.inf, 1)):
            expect.close(pair_constants(w, 1.7, p), 1.7 * torch.linalg.vector_norm(w.unsqueeze(1) - w, ord=q, dim=-1))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Once by hand, from the layers of the smallest network with hidden layers (Normalize divides each pixel by its standard deviation and adds a bias: a linear map, too):

# %% demo="by-hand"
shape, body_norms = pixels, []
for layer in networks["small weights"]:
    body_norms.append(lipschitz.operator_norm(layer, shape).item())
    shape = layer(torch.zeros(1, *shape)).shape[1:]
    print(f"{type(layer).__name__:10} {body_norms[-1]:7.3f}")
print(f"{'L':10} {math.prod(body_norms):7.3f}   all of them multiplied; without the last one L_body = {math.prod(body_norms[:-1]):.3f}")

# %% [markdown]
# Now for all networks and norms. `lipschitz.constant(network, shape, p)` multiplies as above, `lipschitz.pair_constants(network, shape, p)` is the table of the exercise. ($\sqrt2 L$ stands there for $p = 2$ alone, where the argument with the two logits holds as it is.)

# %% demo="constants"
print(f"{'':15}{'p':>4}{'L of the logits':>18}{'√2 L':>10}{'median L_ij':>14}")
for name, network in networks.items():
    for p in (1, 2, math.inf):
        whole, pairs = lipschitz.constant(network, pixels, p), lipschitz.pair_constants(network, pixels, p)
        middle = pairs[~torch.eye(10, dtype=torch.bool)].median()
        crude = f"{math.sqrt(2) * whole:10.4g}" if p == 2 else f"{'':10}"
        print(f"{name if p == 1 else '':15}{p:>4}{whole:18.4g}{crude}{middle:14.4g}")

# %% [markdown]
# For $p = 2$ the pairs are better than $\sqrt2 L$. And look at $p = \infty$: a bound of around a hundred thousand for a network with four linear maps. Row sums of $|\mathbf W|$ assume that *all* inputs of a layer conspire, in every layer anew. A certificate in $L_\infty$ from it would be worth nothing; interval bounds (assignment 10), which use the same row sums but know where the image is, do better. From here on $p = 2$.

# %% [markdown]
# ## 11.6 The certified radius
#
# Put 11.1 and 11.5 together. Class $y$ stays ahead of class $i$ as long as $\lVert\tilde{\mathbf x} - \mathbf x\rVert_p < (z_y - z_i) / L_{yi}$. It has to stay ahead of *all* others, so
#
# $$r(\mathbf x) = \min_{i \ne y} \frac{z_y - z_i}{L_{yi}}, \qquad\text{and } 0 \text{ if } \mathbf x \text{ is misclassified.}$$
#
# ### Exercise 11.5: the certified radius · medium · 15 minutes · 4 points
#
# Write it for a batch. Beware of the entry $i = y$, which is $0/0$, and of the thought that the runner-up is always the nearest: a class that is further behind may catch up faster.
#
# <details><summary>Hint 1</summary>
# Everything fits into one table (B, K), a row for each image and a column for each class: the leads, and the constants that belong to them. Which rows of <code>L</code> are these? <code>gather</code> fetches $z_y$ from every row.
# </details>
# <details><summary>Hint 2</summary>
# What has to stand in the place of y so that a minimum over the row never takes it? (<code>scatter</code> is the counterpart of <code>gather</code>.) And which sign has the minimum where another class leads?
# </details>

# %% solution="certified_radius"
def certified_radius(logits: Tensor, y: Tensor, L: Tensor) -> Tensor:
    """The radius within which no point is taken for another class than y, for every image.

    logits: (B, K) floats. y: (B,) the right classes. L: (K, K), the constant of every pair of
    classes; above 0, but for the diagonal, where it is 0. It may be float64 where the logits are float32.
    Returns (B,) in the dtype of the logits, finite: 0 where another class is ahead or tied.
    """
    ### BEGIN SOLUTION
    ahead = logits.gather(1, y[:, None]) - logits
    away = (ahead / L[y]).scatter(1, y[:, None], math.inf)
    return away.min(dim=1).values.clamp_min(0).to(logits.dtype)
    ### END SOLUTION

# %% test="certified_radius" points=4
# Run this cell to check your certified_radius. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("certified_radius", points=4, by_hand=["coursekit.certify.lipschitz.radius"])
L = torch.tensor([[0.0, 2.0, 8.0], [2.0, 0.0, 4.0], [8.0, 4.0, 0.0]])
ROWS = "Image b needs the row of L that belongs to its class, L[y], which is (B, K) like the leads."

def radii_of(certified_radius, logits, y, constants):
    """The student's radii, (B,)."""
    r = expect.tensor(certified_radius(logits, y, constants), shape=(len(y),), hint="0 / 0 at i = y is not a number: leave y out.",
                      shape_hint=f"(B,), one radius for each image. {ROWS} The minimum over the classes takes the last dimension away (no keepdim).")
    expect.that(r.dtype == logits.dtype, f"dtype {r.dtype}".replace("torch.", ""), f"dtype {logits.dtype}".replace("torch.", ""),
                "The radii have the dtype of the logits, also where L has another: .to(logits.dtype).")
    return r

@exercise.case("two classes: the lead divided by the constant", hint=ROWS)
def _(certified_radius):
    two = torch.tensor([[0.0, 4.0], [4.0, 0.0]])
    logits, y = torch.tensor([[3.0, 1.0], [-1.0, 0.0]]), torch.tensor([0, 1])
    expect.close(radii_of(certified_radius, logits, y, two), torch.tensor([0.5, 0.25]), mistakes={
        "These are the leads. Divide them by the constant of the pair.": torch.tensor([2.0, 1.0]),
        "Multiplied? The steeper the lead may fall, the smaller the radius: divide.": torch.tensor([8.0, 4.0]),
        "Half of that is not needed: L is the constant of the lead, not of one logit.": torch.tensor([0.25, 0.125]),
        "This is the logit of y divided by L. What counts is how far it leads.": torch.tensor([0.75, 0.0]),
        "Turned round: the lead is z_y - z_i.": torch.tensor([-0.5, -0.25]),
        "This is 0 everywhere. Is i = y left out of the minimum, and is the lead z_y - z_i, not turned round?": torch.zeros(2),
    }, hint="The lead of the first image is 3 - 1 = 2, and the constant is 4.")

@exercise.case("the runner-up is not always the nearest", hint=ROWS)
def _(certified_radius):
    # From y = 0: class 1 is 2 behind at a slope of 2, class 2 is 4 behind at a slope of 8.
    logits, y = torch.tensor([[5.0, 3.0, 1.0], [1.0, 5.0, 4.0]]), torch.tensor([0, 1])
    expect.close(radii_of(certified_radius, logits, y, L), torch.tensor([0.5, 0.25]), mistakes={
        "You look at the runner-up only. Another class may catch up faster: the minimum over all i.": torch.tensor([1.0, 0.25]),
        "That is the class that needs longest. The first one to catch up counts: the minimum.": torch.tensor([1.0, 2.0]),
        "You divide the lead over the runner-up by the largest constant: sound, but smaller than it could be.":
            torch.tensor([0.25, 0.25]),
        "You divide by the largest constant of all pairs: sound, but smaller than it could be.": torch.tensor([0.25, 0.125]),
        "Turned round: the lead is z_y - z_i.": torch.tensor([-1.0, -2.0]),
        "This is 0 everywhere. Is i = y left out of the minimum, and is the lead z_y - z_i, not turned round?": torch.zeros(2),
    }, hint="Every class i has a distance of its own, (z_y - z_i) / L[y, i].")

@exercise.case("misclassified and tied: 0", hint=ROWS)
def _(certified_radius):
    logits, y = torch.tensor([[5.0, 3.0, 1.0], [2.0, 2.0, 0.0], [5.0, 3.0, 1.0]]), torch.tensor([1, 0, 2])
    expect.close(radii_of(certified_radius, logits, y, L), torch.zeros(3), mistakes={
        "Turned round: z_i - z_y is above 0 where class i is ahead. The lead is z_y - z_i.": torch.tensor([0.0, 0.0, 0.5]),
        "A radius is not negative: where another class is ahead it is 0.": torch.tensor([-1.0, 0.0, -0.5]),
        "This is the radius around the class that the network predicts (or of an absolute value). Certified is y, so it is 0 where the prediction is wrong.":
            torch.tensor([0.5, 0.0, 0.5]),
    }, hint="Where another class leads, or ties, nothing is certified.")

@exercise.case("each image has its own row of L, also a single one; L in float64", hint=ROWS)
def _(certified_radius):
    logits = torch.tensor([[1.0, 2.0, 6.0]])
    expect.close(radii_of(certified_radius, logits, torch.tensor([2]), L.double()), torch.tensor([0.625]), mistakes={
        "You take the constants of class 0. They depend on y: L[y].": torch.tensor([2.0])},
        hint="y = 2: class 0 is 5 behind at a slope of 8, class 1 is 4 behind at a slope of 4.")
    expect.unchanged(certified_radius)

### BEGIN HIDDEN TESTS
@exercise.case("many images and classes, float64", hint="For any B and K: the minimum over all i except y, not below 0.", hidden=True)
def _(certified_radius):
    z = 3 * torch.randn(40, 7, dtype=torch.float64)
    y = torch.where(torch.rand(40) < 0.7, z.argmax(dim=1), torch.randint(0, 7, (40,)))
    M = torch.rand(7, 7, dtype=torch.float64) + 0.2
    M = (M + M.T) * (1 - torch.eye(7))
    expected = [max(0.0, min((row[k] - row[i]).item() / M[k, i].item() for i in range(7) if i != k)) for row, k in zip(z, y.tolist())]
    r = expect.tensor(certified_radius(z, y, M), shape=(40,), dtype=z.dtype)
    expect.close(r, torch.tensor(expected, dtype=z.dtype))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# The first digits, each with its certified radius for the network with small weights. In the second row every digit has moved by just that much, straight towards the nearest adversarial example that an attack has found; in the third row is that example. (The attack is DDN of assignment 04: it looks for the closest point that fools the network.)

# %% demo="radii"
def reference_radius(logits, y, L):
    ratio = (logits.gather(1, y[:, None]) - logits) / (L[y] + torch.finfo(L.dtype).tiny)
    return torch.stack([row[torch.arange(len(row)) != k].amin() for row, k in zip(ratio, y.tolist())]).relu()

your_radius = checks.yours("certified_radius", reference_radius)
small = networks["small weights"]
L_small = lipschitz.pair_constants(small, pixels).float()
few, few_y = x[[0, 2, 3, 4, 6, 7, 8]], y[[0, 2, 3, 4, 6, 7, 8]]
r = your_radius(small(few).detach(), few_y, L_small)
nearest = attacks.ddn(small, few, few_y)
d = (nearest - few).flatten(1).norm(dim=1)
moved = few + (r / d)[:, None, None, None] * (nearest - few)
titles = [f"{k}" for k in few_y.tolist()] + [f"{k} until {v:.2f}" for k, v in zip(few_y.tolist(), r.tolist())]
titles += [f"“{k}” at {v:.2f}" for k, v in zip(small(nearest).argmax(dim=1).tolist(), d.tolist())]
plots.images(torch.cat([few, moved, nearest]), titles=titles, rows=["x", "moved by the\ncertified radius", "an attack\ngets through"])

# %% [markdown]
# ## 11.7 Between the proof and the attack
#
# An attack bounds the robust accuracy from above: what it breaks is broken. A certificate bounds it from below: what it certifies is safe. The truth is somewhere between the two curves. Take care with the edges: the ball of radius ε is closed (a point at distance ε is allowed), the certificate speaks of points *nearer* than $r$. So an image counts as certified at ε if $r > \epsilon$, and it survives an attack that found an adversarial example at the distance $d$ if $d > \epsilon$.
#
# ### Exercise 11.6: two bounds on one number · easy · 10 minutes · 2 points
#
# For every ε, the share of images that are certified, and the share that survive.
#
# <details><summary>Hint</summary>
# <code>radii[:, None] &gt; eps</code> compares every image with every ε, (B, E). What is the mean over the images?
# </details>

# %% solution="accuracy_bounds"
def accuracy_bounds(radii: Tensor, distances: Tensor, eps: Tensor) -> Tensor:
    """Bounds from below and from above on the robust accuracy at every eps.

    radii: (B,) certified radii, 0 where misclassified. distances: (B,) how far away the attack found
    an adversarial example; 0 where misclassified, inf where it found none. eps: (E,), each >= 0.
    Returns (2, E) floats in [0, 1]: the first row the share that is certified, the second the
    share that survives.
    """
    ### BEGIN SOLUTION
    lower, upper = (values[:, None].gt(eps).float().mean(dim=0) for values in (radii, distances))
    return torch.stack([lower, upper])
    ### END SOLUTION

# %% test="accuracy_bounds" points=2
# Run this cell to check your accuracy_bounds. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("accuracy_bounds", points=2)
FIVE_RADII = torch.tensor([0.0, 0.3, 0.1, 0.7, 0.2])  # names that no other cell of the notebook uses
FIVE_DISTANCES = torch.tensor([0.0, 0.9, 0.8, math.inf, 0.6])
SHAPE = "(2, E), a column for each eps. In (B, E) the images are dimension 0: the mean goes over that, mean(dim=0)."

@exercise.case("two rows: certified below, surviving above")
def _(accuracy_bounds):
    eps = torch.tensor([0.05, 0.25, 0.65, 0.85])
    expected = torch.tensor([[0.8, 0.4, 0.2, 0.0], [0.8, 0.8, 0.6, 0.4]])
    found = expect.tensor(accuracy_bounds(FIVE_RADII, FIVE_DISTANCES, eps), shape=(2, 4), shape_hint=SHAPE)
    expect.that(found.is_floating_point(), "whole numbers or booleans", "floating point numbers", "A share is a mean: .float() first.")
    expect.close(found, expected, mistakes={
        "The rows are exchanged: certified comes first.": expected.flip(0),
        "These are the shares that are NOT certified and that are broken.": 1 - expected,
        "The second row is the share that is broken. An image survives if its distance is larger than eps.":
            torch.stack([expected[0], 1 - expected[1]]),
        "The first row is the share that is not certified. Certified is a radius larger than eps.":
            torch.stack([1 - expected[0], expected[1]]),
        "A distance of inf says that the attack found nothing: this image survives at every eps.":
            torch.stack([expected[0], expected[1] - 0.2]),
        "These are numbers of images; divide by how many there are.": 5 * expected,
        "These are per cent; a share lies between 0 and 1.": 100 * expected,
        "You leave out the images that are misclassified. They count, as not robust.": expected * 5 / 4,
        "Both rows are the certified share. The second is about the distances.": expected[[0, 0]],
    }, hint="An image is certified at eps if its radius is larger than eps.")

@exercise.case("at eps = 0: the clean accuracy, in both rows")
def _(accuracy_bounds):
    eps = torch.tensor([0.0, 0.15])
    found = expect.tensor(accuracy_bounds(FIVE_RADII, FIVE_DISTANCES, eps), shape=(2, 2), shape_hint=SHAPE)
    expect.close(found, torch.tensor([[0.8, 0.6], [0.8, 0.8]]), mistakes={
        "A radius or a distance of 0 is not larger than 0: the image is misclassified. Larger than eps, not at least.":
            torch.tensor([[1.0, 0.6], [1.0, 0.8]]),
        "A distance of 0 is not larger than 0: the image is misclassified. Larger than eps, not at least.":
            torch.tensor([[0.8, 0.6], [1.0, 0.8]]),
        "A radius of 0 is not larger than 0: the image is misclassified. Larger than eps, not at least.":
            torch.tensor([[1.0, 0.6], [0.8, 0.8]]),
        "You leave out the images that are misclassified. They count, as not robust.": torch.tensor([[1.0, 0.75], [1.0, 1.0]]),
    }, hint="Four of the five images are right, and at eps = 0 these are certified and survive.")

@exercise.case("on the edge: a radius or a distance of exactly eps")
def _(accuracy_bounds):
    at, third = torch.tensor([0.5]), 1 / 3
    found = accuracy_bounds(torch.tensor([0.5, 0.75, 0.1]), torch.tensor([0.5, 1.0, 2.0]), at)
    expect.close(found, torch.tensor([[third], [2 * third]]), mistakes={
        "A radius of exactly eps says nothing about a point at distance eps, and an attack at distance eps is allowed: larger, not at least.":
            torch.tensor([[2 * third], [1.0]]),
        "An adversarial example at distance eps lies in the closed ball: this image does not survive.": torch.tensor([[third], [1.0]]),
        "The certificate holds for points nearer than the radius: at distance eps it says nothing.":
            torch.tensor([[2 * third], [2 * third]]),
        "The second row is the share that is broken. An image survives if its distance is larger than eps.":
            torch.tensor([[third], [third]]),
    }, hint="Larger than eps, for both.", shape_hint=SHAPE)
    expect.unchanged(accuracy_bounds)

### BEGIN HIDDEN TESTS
@exercise.case("many images, any eps in any order", hint="Each eps for itself; no number of images may be written out.", hidden=True)
def _(accuracy_bounds):
    r, d, e = torch.rand(50), 2 * torch.rand(50), torch.tensor([0.9, 0.1, 0.5])
    expected = torch.tensor([[sum(v > t for v in values) / 50 for t in e.tolist()] for values in (r.tolist(), d.tolist())])
    expect.close(accuracy_bounds(r, d, e), expected)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Predict, then reveal
#
# The convolutional network reads 98 of the 100 digits rightly. **At ε = 0.5 in the $L_2$ norm, how many are certified, and how many survive the attack?** Guess both numbers.

# %%
my_guess = None  # replace None by two numbers from 0 to 98, for instance (50, 60)

# %% demo="gap-in-numbers"
def reference_bounds(radii, distances, eps):
    return torch.stack([torch.stack([(values > e).float().mean() for e in eps]) for values in (radii, distances)])

def attacked(network, x, y):
    """How far away DDN finds an adversarial example: (B,), 0 where misclassified, inf where it finds none."""
    x_adv = attacks.ddn(network, x, y, steps=60)
    distance = (x_adv - x).flatten(1).norm(dim=1)
    return torch.where(network(x_adv).argmax(dim=1) != y, distance, math.inf)

your_bounds = checks.yours("accuracy_bounds", reference_bounds)
radii = {name: lipschitz.radius(network, x, y) for name, network in networks.items()}
distances = {name: attacked(network, x, y) for name, network in networks.items()}
at_half = your_bounds(radii["convolutional"], distances["convolutional"], torch.tensor([0.5]))
checks.reveal(my_guess, f"{100 * at_half[0, 0]:.0f} certified, {100 * at_half[1, 0]:.0f} survive",
              f"The median certified radius is {radii['convolutional'].median():.3f}; the attack needs {distances['convolutional'].median():.2f}.")

# %% demo="gap"
eps = torch.linspace(0, 2, 81)
lines = {name: (eps, *your_bounds(radii[name], distances[name], eps)) for name in networks}
plots.gap(lines)

# %% [markdown]
# For the linear classifier proof and attack are close: there the constant of a pair is the slope itself, and the certified radius is the exact distance in $\mathbb R^{784}$. What is left between the curves is the image range, which binds the attack and which the certificate leaves aside. For the network with small weights the proof reaches about a third of the way. For the convolutional one it ends where the attack has hardly begun, and between the two hardly anything is known. The network is *not* weak: of the three it is the one where the attack has to go furthest. The proof is weak.

# %% [markdown]
# ## 11.8 Why the constant is so large
#
# The constants $L_{ij}$ are bounds for all points of $\mathbb R^{784}$ at once. How steep is the lead where the digits are? If $g$ is the lead over the runner-up, $g(\mathbf x) = z_y - \max_{i\ne y} z_i$, then close to $\mathbf x$ it changes like its linear part, and wherever $g$ is differentiable
#
# $$\lim_{\rho\to0}\; \max_{\lVert\boldsymbol\delta\rVert_p \le \rho} \frac{|g(\mathbf x + \boldsymbol\delta) - g(\mathbf x)|}{\rho} = \lVert\nabla g(\mathbf x)\rVert_q, \qquad \frac1p + \frac1q = 1 .$$
#
# ### Exercise 11.7: the slope at a point · medium · 15 minutes · 3 points
#
# Return it for every image of a batch.
#
# <details><summary>Hint 1</summary>
# Which class is the runner-up? The largest logit once that of y is out of the way. What can stand in its place and is never the largest, whatever the others are?
# </details>
# <details><summary>Hint 2</summary>
# One call gives all gradients: image b has no part in the leads of the others, so the gradient of their <em>sum</em> has in row b the gradient of lead b. An image of any shape is one long vector to a norm.
# </details>

# %% solution="local_slope"
def local_slope(model, x: Tensor, y: Tensor, p: float) -> Tensor:
    """||grad g(x)||_q with g = z_y - max over i != y of z_i and 1/p + 1/q = 1, for every image.

    model: returns logits (B, K). x: (B, ...) images of any shape. y: (B,) labels, also where the model
    predicts another class. p: 1, 2 or math.inf. Returns (B,), like x in its dtype.
    """
    ### BEGIN SOLUTION
    x = x.clone().requires_grad_(True)
    z = model(x)
    g = z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], -math.inf).amax(dim=1)
    slope = torch.autograd.grad(g.sum(), x)[0].flatten(1)
    return slope.norm(p={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)
    ### END SOLUTION

# %% test="local_slope" points=3
# Run this cell to check your local_slope. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks, data
from coursekit.checks import expect

exercise = checks.Exercise("local_slope", points=3, by_hand=["coursekit.certify.lipschitz.local_slopes"])
weight = torch.tensor([[3.0, 0.0, 1.0], [0.0, -4.0, 1.0], [2.0, 1.0, -5.0], [-2.0, 2.0, -1.0]])
linear = checks.network(("linear", weight, None), name="a linear classifier")
two, labels_of_two = torch.tensor([[1.0, 0.0, 0.5], [0.2, -0.9, 0.1]]), torch.tensor([0, 1])  # runner-up: class 1, then class 0
OWN = "p = 1 and p = inf need a case of their own: a formula such as p / (p - 1) divides by zero, or is inf / inf."
FLATTEN = "(B,), one slope for each image: flatten each gradient first, flatten(1), then take the norm along dim=1."

def length(v, q):
    return torch.linalg.vector_norm(v, ord=q, dim=-1)

def slopes(local_slope, model, x, y, p):
    """The student's slopes, (B,)."""
    one = isinstance(got := local_slope(model, x, y, p), torch.Tensor) and got.ndim == 0
    return expect.tensor(got, shape=(len(x),), dtype=x.dtype, hint=OWN, shape_hint="" if one else FLATTEN)

def slips(q, points, labels):
    """Values that typical slips give for the linear classifier, for a dual norm q. Two points."""
    z = points @ weight.T
    own, others = weight[labels], [[i for i in z[b].argsort(descending=True).tolist() if i != k] for b, k in enumerate(labels.tolist())]
    def over(place):
        return own - weight[[row[place] for row in others]]
    each = length(own.unsqueeze(1) - weight, q)
    return {
        "This is the slope of z_y alone. The runner-up moves as well: take the gradient of the lead.": length(own, q),
        "This is the slope of the cross-entropy. Take the lead z_y - z_i, of logits.":
            length((z.softmax(dim=1) - torch.eye(4)[labels]) @ weight, q),
        "The slope is 0: is y left out of the maximum? The lead over itself never changes.": torch.zeros(2),
        "Each gradient is divided by the number of images: the leads were averaged. Add them up.": length(over(0), q) / 2,
        "This is the slope times the number of images: (B, 1) minus (B,) is a table (B, B). Give both the shape (B,), with squeeze(1) after gather.":
            2 * length(over(0), q),
        "This is the lead over the class that is last. Take the one that comes next to y.": length(over(-1), q),
        "This is the largest slope over all classes. Only the runner-up counts.": each.amax(dim=1),
        "This is the slope of the leads over all classes, added up. Only the runner-up counts.": length(4 * own - weight.sum(dim=0), q),
        "This is the square of the length. Take the root.": length(over(0), q) ** 2,
        "This is the lead itself, not its slope.": z.gather(1, labels[:, None]).squeeze(1) - torch.stack([row[i[0]] for row, i in zip(z, others)]),
    }

@exercise.case("a linear classifier, p = 2: the length of w_y - w_i")
def _(local_slope):
    expect.close(slopes(local_slope, linear, two, labels_of_two, 2), torch.tensor([5.0, 5.0]), mistakes=slips(2, two, labels_of_two),
                 hint="The leads are 3 x_0 + 4 x_1 and minus that: their gradients have length 5.")

@exercise.case("p = inf and p = 1: the dual norm", hint=OWN)
def _(local_slope):
    expect.close(slopes(local_slope, linear, two, labels_of_two, math.inf), torch.tensor([7.0, 7.0]), mistakes={
        "You take the norm p of the gradient. With p = inf every pixel moves by 1, and the lead by the sum of |derivatives|: q = 1.":
            torch.tensor([4.0, 4.0]),
        "You take the L2 norm for every p. Which q belongs to p = inf?": torch.tensor([5.0, 5.0])} | slips(1, two, labels_of_two),
        hint="q = 1: 3 + 4.")
    expect.close(slopes(local_slope, linear, two, labels_of_two, 1), torch.tensor([4.0, 4.0]), mistakes={
        "You take the norm p of the gradient. With p = 1 the budget goes to the pixel with the largest derivative: q = inf.":
            torch.tensor([7.0, 7.0])} | slips(math.inf, two, labels_of_two), hint="q = inf: the larger of 3 and 4.")

@exercise.case("y is not the class with the largest logit")
def _(local_slope):
    labels = torch.tensor([1, 2])  # the second and the third logit; ahead are class 0 and class 1
    top, second = weight[[0, 1]], weight[[1, 0]]
    expect.close(slopes(local_slope, linear, two, labels, 2), length(weight[labels] - top, 2), mistakes={
        "These are the two largest logits, whatever y is. The lead is that of y, as given.": length(top - second, 2),
        "You take the second largest logit of all. Take y out first: the largest of what remains is the runner-up.":
            length(weight[labels] - second, 2)} | slips(2, two, labels),
        hint="If the network takes x for another class, that one is the runner-up to y.")

@exercise.case("every logit but that of y is negative")
def _(local_slope):
    points, labels = torch.tensor([[3.0, 3.0, 2.0], [3.0, 4.0, 8.0]]), torch.tensor([0, 0])
    head = weight - torch.tensor([[0.0], [9.0], [9.0], [9.0]]) * torch.tensor([[1.0, 0.0, 0.0]])  # 27 less for every class but 0
    rivals = head[(points @ head.T)[:, 1:].argmax(dim=1) + 1]
    expect.close(slopes(local_slope, checks.network(("linear", head, None), name="a linear classifier"), points, labels, 2),
                 length(head[labels] - rivals, 2), mistakes={
        "This is the slope of z_y alone. Did you put a 0 in the place of y? Here all others are below 0, and the 0 is the largest: put -inf.":
            length(head[labels], 2)}, hint="The runner-up is the largest of the other logits, also where all of these are negative.")

@exercise.case("real digits: a slope for each image, whatever else is in the batch", hint=FLATTEN)
def _(local_slope):
    digits, cnn = data.load("mnist", "test"), checks.model("mnist_cnn")
    images, labels = digits.x[:4], digits.y[:4]
    leads = torch.autograd.functional.jacobian(lambda flat: cnn.build()(flat.view(4, 1, 28, 28)).sum(dim=0), images.flatten(1))
    leads = (leads.transpose(0, 1)[torch.arange(4), labels].unsqueeze(1) - leads.transpose(0, 1))  # (B, K, pixels)
    z = cnn.build()(images).detach()
    z[torch.arange(4), labels] = -math.inf
    expected = length(leads[torch.arange(4), z.argmax(dim=1)], 2)
    expect.close(slopes(local_slope, cnn, images, labels, 2), expected, tolerance=1e-3, mistakes={
        "This is the slope of the leads over all classes, added up. Only the runner-up counts.": length(leads.sum(dim=1), 2),
        "This is the largest slope over all classes. Only the runner-up counts.": length(leads, 2).amax(dim=1),
        "Each gradient is divided by the number of images: the leads were averaged. Add them up.": expected / 4,
        "This is the slope times the number of images: (B, 1) minus (B,) is a table (B, B). Give both the shape (B,), with squeeze(1) after gather.":
            4 * expected,
    }, hint="The slope of the lead over the runner-up, by all pixels of the image, and of no other image.")
    alone = slopes(local_slope, cnn, images[1:2], labels[1:2], 2)
    expect.close(alone, expected[1:2], tolerance=1e-3, hint="The slope of an image depends on the other images of its batch.")
    expect.unchanged(local_slope)

### BEGIN HIDDEN TESTS
@exercise.case("a curved network, other shapes and classes, wrong labels", hidden=True,
               hint="The gradient of z_y - max of the others, by the images, its dual norm; y as given, not as predicted.")
def _(local_slope):
    net = checks.network(("flatten",), ("linear", torch.randn(7, 24, dtype=torch.float64), None), ("tanh",),
                         ("linear", torch.randn(4, 7, dtype=torch.float64), None))
    images, labels, network = torch.rand(5, 2, 3, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0]), net.build()
    for p, q in ((2, 2), (1, math.inf), (math.inf, 1)):
        expected = []
        for image, k in zip(images, labels.tolist()):
            jacobian = torch.autograd.functional.jacobian(network, image[None])[0, :, 0].flatten(1)
            z = network(image[None])[0].detach()
            rival = max((i for i in range(4) if i != k), key=lambda i: z[i].item())
            expected.append(torch.linalg.vector_norm(jacobian[k] - jacobian[rival], ord=q))
        expect.close(local_slope(net, images, labels, p), torch.stack(expected))
### END HIDDEN TESTS

exercise.score()

# %% demo="steepness"
def reference_slope(model, x, y, p):
    z = model(x).detach()
    rival = z.masked_fill(torch.nn.functional.one_hot(y, z.shape[1]).bool(), -math.inf).argmax(dim=1)
    return lipschitz.local_slopes(model, x, y, LpBall(0.0, p), points=1).gather(1, rival[:, None]).squeeze(1)

your_slope = checks.yours("local_slope", reference_slope)

def runner_up(network, x, y):
    """The class with the largest logit apart from y: (B,)."""
    return network(x).detach().scatter(1, y[:, None], -math.inf).argmax(dim=1)

def slopes_and_constant(network):
    """The slope of the lead at each digit, and the constant that is proven for every lead."""
    return your_slope(network, x, y, 2), lipschitz.pair_constants(network, pixels).max()

plots.steepness({name: slopes_and_constant(network) for name, network in networks.items()})

# %% [markdown]
# The dots are the slopes of the leads at real digits; the bar is what is proven, the largest constant of all pairs of classes, and the number beside it says how many times the median dot it is. For the convolutional network they are far apart, on a logarithmic scale. Three reasons:
#
# * **No vector is stretched by all layers.** The direction that the first layer stretches most need not arrive in the direction that the second stretches most. The product assumes that it does, at every joint.
# * **ReLUs are off.** A neuron that is off passes nothing on. The bound lets all of them be on.
# * **All points, not these.** The bound holds far away from any digit, too.
#
# Each layer adds its own looseness, and they multiply:

# %% demo="depth"
def random_network(depth, seed, width=64):
    """A network of random weights, so scaled that signals neither grow nor fade from layer to layer."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(width, 2))
    with torch.no_grad():
        for layer in network[::2]:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * math.sqrt(2 / width))
            layer.bias.zero_()
    return network

depths, proven, seen = [1, 2, 4, 6, 8, 10], [], []
points = torch.randn(100, 64, generator=torch.Generator().manual_seed(0))
for depth in depths:
    random_networks = [random_network(depth, seed) for seed in range(5)]
    proven.append(max(lipschitz.pair_constants(net, (64,))[0, 1].item() for net in random_networks))
    everything = LpBall(0.0, 2, bounds=(-math.inf, math.inf))
    seen.append([lipschitz.local_slopes(net, points, torch.zeros(100, dtype=torch.int64), everything, points=1).max().item()
                 for net in random_networks])
plots.growth(depths, proven, seen)

# %% [markdown]
# ### Predict, then reveal
#
# A thought that everyone has here: the slope at the digit is known, so take *it* for $L$. The radius would be $g(\mathbf x) / \lVert\nabla g(\mathbf x)\rVert_2$, nearly thirty times what is proven (in the middle; the figure says a little more, since it compares with the largest of all constants, and here each digit has that of its own pair). **For how many of the 98 digits that the convolutional network reads rightly does the attack find an adversarial example inside that radius?**

# %%
my_guess = None  # replace None by a number from 0 to 98

# %% demo="local-is-no-proof"
def by_local_slope(network, x, y):
    """What one might take for a certified radius."""
    z = network(x).detach()
    g = (z.gather(1, y[:, None]) - z.gather(1, runner_up(network, x, y)[:, None])).squeeze(1)
    return (g / your_slope(network, x, y, 2)).clamp_min(0)

broken = {name: int((distances[name] < by_local_slope(network, x, y)).sum()) for name, network in networks.items()}
checks.reveal(my_guess, f"{broken['convolutional']} of 98",
              "By network: " + ", ".join(f"{name} {count}" for name, count in broken.items())
              + f".\nInside the certified radius: {int((distances['convolutional'] < radii['convolutional']).sum())}.")

# %% [markdown]
# The slope at $\mathbf x$ says what happens next to $\mathbf x$. On the way the lead may get steeper, and for most digits it does: that is what an attack looks for. Only for the linear classifier, whose slope is the same everywhere, the local slope is a certificate. (DeepFool of assignment 04 makes this step, and is an *attack*: it guesses where the boundary is, and goes there to look.) What would be a certificate is a bound on the slope in the whole ball. Such local Lipschitz constants can be bounded, too, with the methods of assignments 09 and 10.

# %% [markdown]
# ## 11.9 Built in: layers that stretch nothing
#
# Instead of bounding the slope of a network that never heard of it, one can build a network that **cannot be steep**. Two ingredients (Anil, Lucas, Grosse 2019):
#
# * **Orthonormal weights.** If the rows of $\mathbf W$ have length 1 and are at right angles, all singular values are 1, and a gradient that goes back through $\mathbf W^\top$ keeps its length. Where a layer has more outputs than inputs its rows cannot all be at right angles; then the columns are. Still no vector is stretched, but a gradient may lose length on its way back. In training the weight is not free: it is made from free parameters by Gram-Schmidt orthogonalisation in every step.
# * **An activation that loses nothing.** A ReLU has slope 0 on half of its inputs. A chain of orthonormal maps and ReLUs gets flatter with every layer, and a network that is not allowed to be steep cannot make up for it. **MaxMin** sorts its inputs in pairs: out come the larger and the smaller of the two. It only swaps places, so lengths of gradients stay as they are; and it bends, so the network is not linear.
#
# ### Exercise 11.8: MaxMin · easy · 5 minutes · 2 points
#
# Neighbours are a pair: features 0 and 1, 2 and 3, and so on. In each pair the larger one comes first.
#
# <details><summary>Hint</summary>
# <code>h[:, 0::2]</code> are the first ones of all pairs, <code>h[:, 1::2]</code> the second ones. Or give the tensor the shape (B, F / 2, 2).
# </details>

# %% solution="max_min"
def max_min(h: Tensor) -> Tensor:
    """Sorts the features in pairs of neighbours: of each pair first the larger, then the smaller one.

    h: (B, F) floats, F even. Returns a tensor like h.
    """
    ### BEGIN SOLUTION
    pairs = h.reshape(len(h), -1, 2)
    return pairs.sort(dim=2, descending=True).values.reshape(h.shape)
    ### END SOLUTION

# %% test="max_min" points=2
# Run this cell to check your max_min. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("max_min", points=2, by_hand=["coursekit.models.architectures.MaxMin"])
BOTH = "What comes out has the shape of h, (B, F): both of each pair stay, the larger and the smaller one."

@exercise.case("pairs of neighbours, the larger one first")
def _(max_min):
    h = torch.tensor([[1.0, 2.0, 5.0, -3.0, -4.0, -1.0, 0.0, 6.0]])
    expect.close(max_min(h), shape_hint=BOTH, expected= torch.tensor([[2.0, 1.0, 5.0, -3.0, -1.0, -4.0, 6.0, 0.0]]), mistakes={
        "The smaller one comes first here. It is the other way round.": torch.tensor([[1.0, 2.0, -3.0, 5.0, -4.0, -1.0, 0.0, 6.0]]),
        "All features are sorted together. Only neighbours are compared.": torch.tensor([[6.0, 5.0, 2.0, 1.0, 0.0, -1.0, -3.0, -4.0]]),
        "First come all the larger ones, then all the smaller ones. Each pair stays in its own two places.":
            torch.tensor([[2.0, 5.0, -1.0, 6.0, 1.0, -3.0, -4.0, 0.0]]),
        "You pair the first half with the second half. A pair are neighbours: 0 and 1, 2 and 3, ...":
            torch.tensor([[1.0, 2.0, 5.0, 6.0, -4.0, -1.0, 0.0, -3.0]]),
        "This is a ReLU: it cuts off, and what it cuts off is lost.": h.relu(),
        "The larger one stands in both places: the smaller one is lost.": torch.tensor([[2.0, 2.0, 5.0, 5.0, -1.0, -1.0, 6.0, 6.0]]),
        "Sorted by size without the sign. -4 is smaller than -1.": torch.tensor([[2.0, 1.0, 5.0, -3.0, -4.0, -1.0, 6.0, 0.0]]),
        "Nothing was sorted: this is h.": h,
    }, hint="(1, 2) becomes (2, 1); (5, -3) stays; (-4, -1) becomes (-1, -4).")

@exercise.case("a batch: each row for itself, and h is left as it was")
def _(max_min):
    h = torch.tensor([[0.0, 1.0], [3.0, -2.0], [4.0, 4.0], [-5.0, 0.5]])
    expect.close(max_min(h), torch.tensor([[1.0, 0.0], [3.0, -2.0], [4.0, 4.0], [0.5, -5.0]]), mistakes={
        "You sort down the batch. A pair lies within one row.": h.sort(dim=0, descending=True).values},
        hint="Every row is sorted in pairs by itself.")
    expect.unchanged(max_min)

### BEGIN HIDDEN TESTS
@exercise.case("many features, float64: nothing is lost, and no two points get further apart", hidden=True,
               hint="Only the places within each pair change; values, shape and dtype stay.")
def _(max_min):
    a, b = torch.randn(2, 30, 16, dtype=torch.float64)
    out = expect.tensor(max_min(a), like=a)
    expect.close(out.sort(dim=1).values, a.sort(dim=1).values)
    expect.that(bool((out[:, 0::2] >= out[:, 1::2]).all()), "a pair with the smaller one first", "the larger one first in each")
    expect.close(out[:, 0::2] + out[:, 1::2], a[:, 0::2] + a[:, 1::2])
    expect.that(bool(((out - expect.tensor(max_min(b), like=b)).norm(dim=1) <= (a - b).norm(dim=1) + 1e-9).all()), "two points that get further apart", "none")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# First in the plane. The network has three hidden layers of 32 and is trained here and now, on a loss that asks for a lead of $\sqrt2\, r$: the difference of two logits changes by $\sqrt2$ per unit of distance at most, so that lead certifies the radius $r$. Beside it the ordinary network of the explorer.

# %% demo="train-in-plane"
with torch.random.fork_rng():
    torch.manual_seed(0)
    flat = nn.Sequential(nn.Linear(2, 32), MaxMin(), nn.Linear(32, 32), MaxMin(), nn.Linear(32, 32), MaxMin(), nn.Linear(32, 2))
moons, moons_test = data.load("moons", "train"), data.load("moons", "test")
training.lipschitz_fit(flat, moons.x, moons.y, radius=0.05, scale=30, epochs=60, lr=1e-2,
                       generator=torch.Generator().manual_seed(0))
print(f"Lipschitz constant of the logits: {lipschitz.constant(flat, (2,)):.6f}")

# %% demo="circles"
widgets.certified_circles({"ordinary training": coursekit.models.load("moons_mlp"), "1-Lipschitz, MaxMin": flat},
                          moons_test.x, moons_test.y, classes=moons_test.classes)

# %% [markdown]
# On the right many circles come close to the boundary. (Of all the points only some have a circle, so that something can be seen.) Look at it in the explorer, too: the steepest slope that was seen is not far below what is proven. It does not reach it, and there is a reason: the first layer has 2 inputs and 32 outputs, so only its columns are orthonormal, and gradients lose length there.

# %% demo="cone-built-in"
widgets.cone_explorer(flat, slope=1.42)

# %% [markdown]
# Now on digits: 784-128-128-10 with MaxMin, trained the same way for a radius of 1 (the package ships it).

# %% demo="built-in-digits"
one_lipschitz = coursekit.models.load("mnist_lipschitz")
compared = {"small weights": small, "1-Lipschitz, MaxMin": one_lipschitz}
print(f"{'':22}{'L':>7}{'right':>8}{'certified at 0.5':>18}{'at 1.0':>8}{'median radius':>15}    (of all {len(test_digits.x)} test digits)")
for name, network in {"convolutional": model, **compared}.items():
    r = lipschitz.radius(network, test_digits.x, test_digits.y)
    print(f"{name:22}{lipschitz.constant(network, pixels):7.2f}{(r > 0).float().mean():8.1%}{(r > 0.5).float().mean():18.1%}"
          f"{(r > 1).float().mean():8.1%}{r.median():15.2f}")

# %% demo="built-in-gap"
distances["1-Lipschitz, MaxMin"] = attacked(one_lipschitz, x, y)
print("Half of the 100 digits withstand the attack up to: " + ", ".join(
    f"{distances[name].median():.2f} ({name})" for name in ("convolutional", *compared)))
lines = {name: (eps, *your_bounds(lipschitz.radius(network, x, y), distances[name], eps)) for name, network in compared.items()}
plots.gap(lines)

# %% demo="built-in-steepness"
plots.steepness({name: slopes_and_constant(network) for name, network in {"convolutional": model, **compared}.items()})

# %% [markdown]
# A surprise: the measured slopes of the 1-Lipschitz network are not just below the bound, they are *at* it, all of them: $\sqrt2$, to several digits. It is no accident. Every layer here has at most as many outputs as inputs, so all rows are orthonormal; on its way back from the logits to the pixels a gradient keeps its length at each of them, and at every MaxMin. The network uses all the steepness that it is allowed to have, everywhere.
#
# The other surprise is in the figure of certificate and attack. The constraint does not only make the network easier to certify. Half of its digits withstand the attack up to a larger distance than for either of the other two, as the line above the figure says; at small distances the convolutional network is still ahead, because it reads more digits. A bound on the slope is a constraint on the network, not just a proof about it.
#
# The price is accuracy. On all the test digits of the table it is less than a percentage point against the convolutional network; of the first hundred, on which the curves rest, it reads 94 against 98. And the gap between certificate and attack has become narrower, but it is not closed: the slope is $\sqrt2$ everywhere, but the direction in which the lead falls turns on the way, and no straight path follows it; the certificate assumes that one does. On natural images the price is much higher, and certified networks of this kind are far less accurate than the best ordinary ones.

# %% [markdown]
# ## 11.10 In your own words
#
# These two answers are read by a person. A few sentences each are enough.
#
# ### Question 11.10a: a Lipschitz constant of 10,000 · medium · 10 minutes · 3 points
#
# A colleague reports: "The product of the layer norms of my classifier is 10,000, in the $L_2$ norm; of yours it is 50. So mine is 200 times less robust." (1) What exactly has been proven about the colleague's network, and what has not? (2) Change that network in one line such that the product becomes 50 and not a single prediction changes. What does that say about comparing constants, and which number should be compared instead? (3) Even if that number is smaller for the colleague's network, it could be the more robust one. Why?

# %% [markdown] answer="ten-thousand" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: proven is an upper bound: nowhere do the logits change faster than 10,000 times the distance. Not proven is that they change that fast anywhere; the true constant, and the slope at the images, can be far smaller.
#
# **1 point**: multiply the logits (or the last layer, weights and bias) by 1/200: argmax unchanged, product 50. So constants alone say nothing; lead and constant scale together. To be compared is lead / constant, the certified radius (or the certified accuracy at an ε). (Only the scaling, or only the right number: half a point.)
#
# **1 point**: the certified radius is a lower bound on the distance to the boundary, of a looseness that differs from network to network (joints that do not align, ReLUs that are off, depth). A smaller certificate does not mean a nearer boundary. (Attacks would give the bound from the other side.)
# === END MARK SCHEME ===
# (1) Proven is that the logits never change faster than 10,000 times the distance, anywhere. Whether they ever change that fast is open: the product is a bound from above, and usually far from the slopes that occur. (2) Divide the last layer, weights and bias, by 200. Every logit is divided by 200, so is every lead, and the argmax stays; the product is 50. So a constant alone says nothing about robustness: lead and constant scale together, and what counts is their ratio, the certified radius. (3) The ratio is a lower bound on the distance to the boundary. It is loose, and more so for some networks than for others: if in the colleague's network the directions of strongest stretching do not meet, or if it has more layers, its bound is the looser one, and its boundary may still be further away.

# %% [markdown]
# ### Question 11.10b: the slope at x · medium · 10 minutes · 3 points
#
# A start-up sells certificates: for a digit $\mathbf x$ with the lead $g(\mathbf x) > 0$ it computes the gradient and certifies the radius $g(\mathbf x)/\lVert\nabla g(\mathbf x)\rVert_2$. (1) Give a function of one variable, by formula or in words, for which this radius is too large by any factor you like. (2) For which classifiers is it right, and why? (3) Let $L(\rho)$ be the largest slope of $g$ in the ball of radius $\rho$ around $\mathbf x$. Write down a radius that is certified if $L(\rho)$ is known for one $\rho$, and say why the slope at a thousand random points of the ball does not do in its place.

# %% [markdown] answer="slope-at-x" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: any function that is flat at x and falls steeply a little further on; for instance g(t) = 1 up to t = 0.1 and then 1 - a (t - 0.1) with large a (slope 0 at 0: an infinite radius), or 1 - t^2 n, cos, a ReLU kink. The claimed radius exceeds the true distance by an arbitrary factor.
#
# **1 point**: linear (affine) classifiers: the slope is the same everywhere, so that at x bounds it everywhere. (Also right as an answer: leads that are convex in x, since these lie above their tangent. Half a point for the class without a reason.)
#
# **1 point**: min(rho, g(x) / L(rho)): within the ball the lead falls by at most L(rho) times the distance, beyond rho nothing is known (half a point without the min). A thousand points give a lower bound on L(rho): the steep place may lie between them, above all in 784 dimensions.
# === END MARK SCHEME ===
# (1) $g(t) = 1$ for $t \le 0.1$ and $1 - a(t - 0.1)$ beyond. At $t = 0$ the slope is 0, so the radius would be infinite; the boundary is at $0.1 + 1/a$. With a slight slope $s$ at 0 instead of 0, the radius is about $1/s$, too large by any factor. (2) For linear classifiers: the gradient is the same at all points, so the slope at $\mathbf x$ bounds the slope everywhere, and the radius is the exact distance. (3) $\min(\rho, g(\mathbf x)/L(\rho))$: inside the ball the lead cannot fall faster than $L(\rho)$, and outside nothing is known. The slopes at random points bound $L(\rho)$ from below only. In 784 dimensions a thousand points see next to nothing of a ball, and a steep place that they miss makes the certificate false.

# %% [markdown]
# ## What to take along
#
# * A lead of $m$ and a slope of at most $L$ certify the radius $m/L$, against every attack at once.
# * For a certificate $L$ must be a bound **from above**. Power iteration, gradients at points, and reshaped kernels bound from below: good for looking, useless for proving.
# * The logits are at most as steep as the product of all layers' norms; for a lead, the last layer counts with $\lVert\mathbf w_i - \mathbf w_j\rVert_q$ instead of $\sqrt2\lVert\mathbf W\rVert_2$.
# * For ordinary networks such constants are loose, and the more so the deeper they are. A large one says little about the network and much about the proof.
# * A network that is 1-Lipschitz by construction has certificates that are worth something. It pays with accuracy.
#
# **Where it goes on**: assignment 09 certifies exactly, assignment 10 with convex relaxations, which know where the image is. Assignment 12 gets a certificate for networks of any size: it smooths the classifier with noise, and the smoothed one has a Lipschitz constant that is known, whatever was inside.
#
# **Further**: Szegedy et al., *Intriguing properties of neural networks*, 2014, section 4.3 (the product of norms). Tsuzuku, Sato, Sugiyama, *Lipschitz-margin training*, 2018 (radius from margin). Miyato et al., *Spectral normalization*, 2018 (power iteration, the reshaped kernel). Sedghi, Gupta, Long, *The singular values of convolutional layers*, 2019. Anil, Lucas, Grosse, *Sorting out Lipschitz function approximation*, 2019 (MaxMin). Virmaux, Scaman, *Lipschitz regularity of deep neural networks*, 2018: computing the constant exactly is NP-hard.
