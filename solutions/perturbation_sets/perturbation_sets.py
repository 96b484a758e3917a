# %% [markdown]
# # 2 Perturbation sets
#
# "Small" is the least exact word in the whole subject, and everything hangs on it: what an attack may do, what a defence must stand, what a proof has to cover. Here you make it exact, write the tools that every later notebook takes for granted (distance, membership, nearest point, steepest step), and find out how far the exact version is from what we meant.
#
# **After this notebook you can**
#
# * compute the size of a perturbation in the norms $L_1$, $L_2$ and $L_\infty$, and say what a radius ε means in each;
# * decide whether an image lies in $\mathcal P_{\epsilon,p}(\mathbf x)$, and say why code writes $\le$ where the slide writes $<$;
# * bring any point back to the nearest one in the set, and find the step that raises a loss most, in all three norms;
# * show, by search, that a harmless rotation is far outside every ball, and that a ball holds images which are not harmless.
#
# **Slides**: "On "small" Perturbations", "Adversarial Examples – Definition" (the perturbation set $\mathcal P(\mathbf x)$), "What Are Adversarial Examples?" (its question "What does "small" mean?"). **Time**: about two and a half hours. **Points**: 28 from eleven functions that are checked at once, 6 from two texts that a person reads.
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other shapes, other radii and other images. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was: no tensor edited in place, no model in another mode.</div>
#
# **Notation**, as on the slides: $\mathbf x \in \mathbb R^d$ an image with pixels in $[0, 1]$, $y$ its label, $f$ the classifier, $\tilde{\mathbf x}$ a perturbed image, $\boldsymbol\delta = \tilde{\mathbf x} - \mathbf x$ the perturbation, $\mathcal P(\mathbf x)$ the perturbation set. In code everything comes in batches: `x`, `x_tilde`, `delta` and `g` have a shape `(B, ...)`, for instance `(B, 1, 28, 28)` for digits or `(B, 2)` for points of the plane. Each of the `B` images has a distance, a nearest point and a step of its own.

# %% readonly="setup"
import math

import torch

import coursekit
from coursekit import attacks, checks, data, losses, plots, widgets
from coursekit.perturbations import LpBall, Rotation, per_image
from coursekit.perturbations.common import norm  # the reference: norm(delta, p) is one number per image, (B,)

torch.set_num_threads(1)  # networks as small as these run faster on a single thread

test_digits = data.load("mnist", "test")
model = coursekit.models.load("mnist_cnn")  # a small convolutional network, trained the ordinary way
x, y = test_digits.x[:200], test_digits.y[:200]

def rotate(x: torch.Tensor, angle: float) -> torch.Tensor:
    """The images x (B, C, H, W) turned about their centre by `angle` degrees, counter-clockwise; like x."""
    share = x.new_tensor([[float(angle) / 180, 0.0, 0.0]])
    return Rotation(180).render(share.expand(len(x), 3), x)

print(f"{len(x)} digits of shape {tuple(x.shape[1:])}: d = {x[0].numel()} pixels in [{x.min():.0f}, {x.max():.0f}]")

# %% [markdown]
# ## 2.1 What does "small" mean?
#
# An adversarial example is a point $\tilde{\mathbf x} \in \mathcal P(\mathbf x)$ that $f$ gets wrong although it gets $\mathbf x$ right. The definition is silent about $\mathcal P(\mathbf x)$, except for its purpose: *perturbations that do not change the semantics of* $\mathbf x$. No formula knows what a picture means. So the field settled for a stand-in that one can compute with: whatever is close to $\mathbf x$ is taken to mean the same,
#
# $$\mathcal P_{\epsilon,p}(\mathbf x) = \{\tilde{\mathbf x} : \lVert\tilde{\mathbf x} - \mathbf x\rVert_p < \epsilon\}, \qquad p \in \{1, 2, \infty\}.$$
#
# Three ways of measuring one and the same perturbation:
#
# $$\lVert\boldsymbol\delta\rVert_1 = \sum_i |\delta_i|, \qquad \lVert\boldsymbol\delta\rVert_2 = \sqrt{\sum_i \delta_i^2}, \qquad \lVert\boldsymbol\delta\rVert_\infty = \max_i |\delta_i|.$$
#
# ### Exercise 2.1: the norm of each perturbation · easy · 8 minutes · 2 points
#
# <details><summary>Hint 1</summary>
# <code>delta.flatten(1)</code> makes a row of each image, whatever its shape. Then the three norms are one line each, over <code>dim=1</code>.
# </details>
# <details><summary>Hint 2</summary>
# The general formula $(\sum_i|\delta_i|^p)^{1/p}$ cannot be computed for $p=\infty$: take its limit, the largest $|\delta_i|$. <code>torch.linalg.vector_norm</code> knows all three.
# </details>

# %% solution="lp_norm"
def lp_norm(delta: torch.Tensor, p: float) -> torch.Tensor:
    """The L_p norm of every perturbation of a batch.

    delta: (B, ...) floats, of any shape behind the batch. p: 1, 2 or math.inf. Returns (B,), in the dtype of delta.
    """
    ### BEGIN SOLUTION
    size = delta.flatten(1).abs()
    if p == math.inf:
        return size.amax(dim=1)
    return size.sum(dim=1) if p == 1 else size.square().sum(dim=1).sqrt()
    ### END SOLUTION

# %% test="lp_norm" points=2
# Run this cell to check your lp_norm. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks, data
from coursekit.checks import expect

exercise = checks.Exercise("lp_norm", points=2, by_hand=["coursekit.perturbations.common.norm"])
rows = torch.tensor([[3.0, -4.0, 0.0], [1.0, 2.0, -2.0]])

@exercise.case("p = 1: what all pixels changed, added up")
def _(lp_norm):
    expect.close(lp_norm(rows, 1), torch.tensor([7.0, 5.0]), hint="Add up the sizes |delta_i| of each image.", mistakes={
        "Changes up and down cancel: a size is not negative. Take |delta_i| before you add.": torch.tensor([-1.0, 1.0]),
        "This is a mean over the pixels; the norm is the sum.": torch.tensor([7.0, 5.0]) / 3,
        "This is the L2 norm. Does p reach your formula?": torch.tensor([5.0, 3.0]),
    })

@exercise.case("p = 2: the length")
def _(lp_norm):
    expect.close(lp_norm(rows, 2), torch.tensor([5.0, 3.0]), hint="Squares, sum, root; for each image.", mistakes={
        "The root is missing.": torch.tensor([25.0, 9.0]),
        "The root of the mean, not of the sum: every pixel more must make it longer.": torch.tensor([25.0, 9.0]).div(3).sqrt(),
        "This is the L1 norm. Does p reach your formula?": torch.tensor([7.0, 5.0]),
    })

@exercise.case("p = inf: the largest change of a pixel")
def _(lp_norm):
    expect.close(lp_norm(rows, math.inf), torch.tensor([4.0, 2.0]), hint="The largest |delta_i| of each image.", mistakes={
        "A change downwards counts as well: the largest of |delta_i|, not of delta_i.": torch.tensor([3.0, 2.0]),
        "The general formula breaks down at p = inf (a power of infinity, a root of order 0). Its limit is the largest |delta_i|.":
            torch.tensor([1.0, 1.0]),
    })

@exercise.case("images: one number each, whatever their shape")
def _(lp_norm):
    x = data.load("mnist", "test").x[:3]
    flat = x.reshape(3, -1)
    expect.close(lp_norm(x, 2), flat.square().sum(1).sqrt(), mistakes={
        "This is the matrix norm of the picture, its largest singular value. An image is one long vector here: flatten it first.":
            torch.linalg.matrix_norm(x, ord=2)[:, 0]}, hint="Over all pixels and channels of an image: flatten(1) first.")
    expect.close(lp_norm(x, math.inf), flat.max(1).values, mistakes={
        "This is the largest row sum, the matrix norm. An image is one long vector here: flatten it first.":
            torch.linalg.matrix_norm(x, ord=math.inf)[:, 0]})
    expect.close(lp_norm(x, 1), flat.sum(1), tolerance=1e-3)

@exercise.case("a single image, unchanged: zero; and delta is left as it was")
def _(lp_norm):
    for p in 1, 2, math.inf:
        expect.close(lp_norm(torch.zeros(1, 3, 4, 4), p), torch.zeros(1))
        expect.close(lp_norm(torch.full((1, 2, 2, 2), -0.5), p), torch.tensor([8 ** (1 / p) / 2]))
        expect.unchanged(lp_norm)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, float64", hint="Any shape behind the batch, and the dtype of delta.", hidden=True)
def _(lp_norm):
    for shape in ((5, 3, 2, 4), (2, 7), (1, 1, 1)):
        delta = torch.randn(shape, dtype=torch.float64)
        for p in 1, 2, math.inf:
            expected = torch.linalg.vector_norm(delta.flatten(1), ord=p, dim=1)
            expect.tensor(lp_norm(delta, p), like=expected)
            expect.close(lp_norm(delta, p), expected)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# What does "of norm 1" look like? Below is one digit, perturbed in three ways. One pixel goes all the way from black to white. A smear of 25 pixels gets brighter by 0.2. A haze moves every one of the 784 pixels by 1/28. All three have **the same $L_2$ norm**, exactly 1.

# %% demo="equal-norm"
digit = x[3:4]
one_pixel, smear = torch.zeros_like(digit), torch.zeros_like(digit)
one_pixel[0, 0, 14, 4] = 1
smear[0, 0, 21:26, 3:8] = 0.2
haze = torch.where(digit > 0.5, -1.0, 1.0) / 28  # darker where it is white, brighter where it is black

equally_long = digit + torch.cat([one_pixel, smear, haze])
plots.changes(digit, equally_long, titles=["one pixel", "a smear", "a haze"])

# %% [markdown]
# The eye ranks them in another order than the norms, and each norm in an order of its own. $L_\infty$ asks how far the *worst pixel* went and does not care how many follow. $L_1$ adds up the ink: few pixels may go far, or many a little. $L_2$ lies in between and is kind to changes that are spread out. A norm is a price list, and an attacker buys what is cheap.

# %% [markdown]
# ## 2.2 The same ε in three norms
#
# How different can the three be? For every $\boldsymbol\delta \in \mathbb R^d$
#
# $$\lVert\boldsymbol\delta\rVert_\infty \;\le\; \lVert\boldsymbol\delta\rVert_2 \;\le\; \lVert\boldsymbol\delta\rVert_1 \;\le\; \sqrt d\,\lVert\boldsymbol\delta\rVert_2 \;\le\; d\,\lVert\boldsymbol\delta\rVert_\infty .$$
#
# Both ends are in the picture above: for the single pixel the first three are equal; for the haze the last three are ($28 = 28 \cdot 1 = 784/28$). In two dimensions the factor $\sqrt d$ is 1.4, and nobody would argue about the norm. A digit has $d = 784$, a photo of the usual size $d = 150{,}528$.
#
# ### Exercise 2.2: the smallest ball around a ball · medium · 10 minutes · 2 points
#
# Return the radius of the smallest $L_q$ ball that contains the whole $L_p$ ball of radius $\epsilon$ (same centre, no image range). It answers practical questions: a defence stands every perturbation with $\lVert\boldsymbol\delta\rVert_2 \le r$; how large must $r$ be to cover an $L_\infty$ attacker with $\epsilon = 0.3$?
#
# <details><summary>Hint 1</summary>
# Which point of the $L_p$ ball has the largest $L_q$ norm? Draw the three balls in the plane, a diamond, a circle and a square, and see where one first touches another: at a corner on an axis, or on the diagonal?
# </details>
# <details><summary>Hint 2</summary>
# Two candidates are enough. All on one coordinate, $(\epsilon, 0, \ldots, 0)$: it has norm $\epsilon$ in every $L_q$. Evenly spread, $(c, c, \ldots, c)$ with $\lVert\cdot\rVert_p = \epsilon$: what is $c$, and what is the $L_q$ norm? The larger one is the answer. (In Python <code>1 / math.inf</code> is 0.)
# </details>

# %% solution="covering_radius"
def covering_radius(eps: float, p: float, q: float, d: int) -> float:
    """The least r for which ||delta||_p <= eps implies ||delta||_q <= r in d dimensions.

    eps: radius, above 0. p, q: each 1, 2 or math.inf. d: number of pixels. Returns a number.
    """
    ### BEGIN SOLUTION
    return eps * max(1.0, d ** (1 / q - 1 / p))
    ### END SOLUTION

# %% test="covering_radius" points=2
# Run this cell to check your covering_radius. (The dots unfold it: what is tried, and what is expected.)
import math
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("covering_radius", points=2)

@exercise.case("the L-inf ball in an L2 ball")
def _(covering_radius):
    expect.close(covering_radius(0.3, math.inf, 2, 400), 6.0, mistakes={
        "The cube's corners stick out of the L2 ball of the same radius. How far are they from its centre?": 0.3,
        "You divide by the root of d. A corner has d pixels of 0.3 each: that is longer than 0.3, not shorter.": 0.3 / 20,
        "A corner is (0.3, ..., 0.3): square, add up, and take the root.": 0.3 * 400,
    }, hint="The point that is furthest away in L2 is a corner, (eps, ..., eps).")

@exercise.case("the L-inf ball in an L1 ball")
def _(covering_radius):
    expect.close(covering_radius(0.1, math.inf, 1, 50), 5.0, mistakes={
        "The corners stick out of the L1 ball of the same radius.": 0.1,
        "That is the answer for L2. In L1 the pixels of a corner are added up.": 0.1 * math.sqrt(50),
        "You divide: the more pixels there are, the further away is a corner.": 0.1 / 50,
    }, hint="What is the L1 norm of a corner, (eps, ..., eps)?")

@exercise.case("the L2 ball in an L1 ball")
def _(covering_radius):
    expect.close(covering_radius(2.0, 2, 1, 25), 10.0, mistakes={
        "Spread evenly over all pixels, a perturbation of L2 norm eps is longer in L1.": 2.0,
        "Evenly spread each pixel has eps / sqrt(d), not eps: they are 25 of those.": 50.0,
        "You divide by the root of d: that is how far each pixel goes, not their sum.": 0.4,
    }, hint="||delta||_1 <= sqrt(d) ||delta||_2, and evenly spread it is equal.")

@exercise.case("the other way round, and twice the same norm: no larger ball is needed")
def _(covering_radius):
    for p, q in ((1, 2), (1, math.inf), (2, math.inf), (1, 1), (2, 2), (math.inf, math.inf)):
        expect.close(covering_radius(0.7, p, q, 36), 0.7, mistakes={
            f"For p = {p}, q = {q}: smaller than eps, so the point (eps, 0, ..., 0) of the L_p ball is left out.": 0.7 * 36 ** (1 / q - 1 / p),
            f"For p = {p}, q = {q} you got the answer for p and q exchanged. Which ball lies inside?": 0.7 * 36 ** abs(1 / q - 1 / p),
        }, hint=f"For p = {p}, q = {q}: the norms fall from L1 over L2 to L-inf, so the ball lies inside already.")

### BEGIN HIDDEN TESTS
@exercise.case("other radii and dimensions", hint="No radius and no number of pixels may be written out.", hidden=True)
def _(covering_radius):
    for eps, d in ((0.02, 3072), (1.7, 3), (8.0, 1)):
        for p, q, factor in ((math.inf, 2, d**0.5), (math.inf, 1, d), (2, 1, d**0.5), (1, 2, 1), (2, math.inf, 1)):
            expect.close(covering_radius(eps, p, q, d), eps * factor, tolerance=1e-6)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Predict, then reveal
#
# Two different digits of the test set, taken at random, are about 10 apart in $L_2$; an image and the *nearest* image of another class about 7. A usual radius for attacks on digits is 0.3 in $L_\infty$. **How large must an $L_2$ ball be to hold that $L_\infty$ ball?**

# %%
my_guess = None  # replace None by a number

# %% demo="covering"
def reference_radius(eps, p, q, d):
    return eps * max(1.0, d ** (1 / q - 1 / p))

radius = checks.yours("covering_radius", reference_radius)
checks.reveal(
    my_guess,
    f"{radius(0.3, math.inf, 2, 784):.3g}",
    "Measured in L2, the corners of this 'small' ball are further away than the nearest image of\n"
    "another digit. An L2 ball of radius 0.3 is another matter: it may darken one pixel by 0.3, or all\n"
    f"by {0.3 / 28:.3f}. Nobody would see it.",
)
print("\nThe smallest L_q ball (columns) around the L_p ball of radius 0.3 (rows), d = 784:\n")
norms = {"L1": 1, "L2": 2, "L-inf": math.inf}
print("        " + "".join(f"{name:>9}" for name in norms))
for name, p in norms.items():
    print(f"{name:>8}" + "".join(f"{radius(0.3, p, q, 784):9.4g}" for q in norms.values()))

# %% [markdown]
# So "ε = 0.3" says nothing without the norm and the dimension. Radii that are usual for digits, and which this notebook means by "usual": **10 in $L_1$, 2 in $L_2$, 0.3 in $L_\infty$** (also 0.1, as often).

# %% demo="usual"
usual = {1: 10.0, 2: 2.0, math.inf: 0.3}

# %% [markdown]
# ## 2.3 Inside or outside?
#
# Whoever reports an adversarial example must show that it lies in $\mathcal P(\mathbf x)$. That looks like a one-liner, and it has three catches.
#
# **The image range.** A point with a pixel at $-0.2$ may lie in the ball, but is no image. So $\mathcal P(\mathbf x)$ is the ball *and* the cube $[0,1]^d$, here and in all that follows.
#
# **The surface.** The slide writes $<$: its ball is *open*, without its surface. Code writes $\le$: the *closed* ball. 2.4 shows why.
#
# **Rounding.** A computer adds 0.1 to a pixel, takes the pixel away again, and gets something else than 0.1. Watch:

# %% demo="rounding"
pixels = torch.tensor([0.3, 0.5, 0.7, 0.9])
for pixel, back in zip(pixels.tolist(), (pixels + 0.1 - pixels).tolist()):
    print(f"({pixel:.1f} + 0.1) - {pixel:.1f} = {back:.17f}")
print(f"0.1 itself, in float32:  {torch.tensor(0.1).item():.17f}")

many = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 0.9
back = many + 0.1 - many
larger, smaller = ((back > 0.1).float().mean(), (back < 0.1).float().mean())
print(f"100,000 random pixels: {larger:.0%} come back larger, {smaller:.0%} smaller, {1 - larger - smaller:.0%} equal")

# %% [markdown]
# A float32 number has 24 binary digits, and the sum has to be rounded to fit: by a few hundred-millionths, and more often than not in the wrong direction.
#
# ### Predict, then reveal
#
# FGSM (notebook 3) moves every pixel by exactly $\epsilon$ and clips to $[0, 1]$. We run it on the 200 digits with ε = 0.1 and check each result, in float32, with `(x_tilde - x).abs().max() <= 0.1`. **How many of the 200 does that check reject?**

# %%
my_guess = None  # replace None by a number from 0 to 200

# %% demo="fgsm-rejected"
x_fgsm = attacks.fgsm(model, x, y, LpBall(0.1, math.inf))
distance = norm(x_fgsm - x, math.inf)
checks.reveal(
    my_guess,
    f"{int((distance > 0.1).sum())} of 200 with <=, and {int((distance >= 0.1).sum())} of 200 with the slide's <",
    f"The largest excess is {(distance - 0.1).max():.1e}. Only {((x_fgsm - x).abs() > 0.1).float().mean():.0%} of the pixels are to blame "
    "(most are black\nto begin with, and 0 + 0.1 is exact), but one is enough to condemn an image.",
)

# %% [markdown]
# ### Exercise 2.3: contains · medium · 12 minutes · 3 points
#
# Decide for each image whether $\tilde{\mathbf x}$ lies in the closed ball within the image range, with a tolerance $\tau$:
#
# $$\lVert\tilde{\mathbf x} - \mathbf x\rVert_p \le \epsilon + \tau \qquad\text{and}\qquad -\tau \le \tilde x_i \le 1 + \tau \;\text{ for every pixel.}$$
#
# An image with a pixel that is NaN ("not a number", what 0/0 gives) is not in the set. The reference for the norm is `norm(delta, p)`, of shape `(B,)`.
#
# <details><summary>Hint 1</summary>
# Two conditions for each image, joined by <code>&amp;</code>. The second is one about all pixels: <code>.flatten(1).all(dim=1)</code>.
# </details>
# <details><summary>Hint 2</summary>
# Every comparison with NaN is false. So ask for what must be true (<code>distance &lt;= ...</code>) rather than ruling out what must not be (<code>not distance &gt; ...</code>), and NaN is out by itself.
# </details>

# %% solution="contains"
def contains(x_tilde: torch.Tensor, x: torch.Tensor, eps: float, p: float, tolerance: float = 1e-6) -> torch.Tensor:
    """Which x_tilde lie in the closed L_p ball of radius eps around x and in the image range, up to the tolerance.

    x_tilde: (B, ...) any floats, also NaN. x: (B, ...) images in [0, 1]. eps: radius. p: 1, 2 or math.inf.
    tolerance: added to eps, and to both ends of [0, 1]. Returns (B,) booleans.
    """
    ### BEGIN SOLUTION
    in_ball = norm(x_tilde - x, p) <= eps + tolerance
    in_range = (x_tilde >= -tolerance) & (x_tilde <= 1 + tolerance)
    return in_ball & in_range.flatten(1).all(dim=1)
    ### END SOLUTION

# %% test="contains" points=3
# Run this cell to check your contains. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks, data
from coursekit.checks import expect
from coursekit.perturbations import LpBall

exercise = checks.Exercise("contains", points=3, by_hand=["coursekit.perturbations.LpBall.contains"])

def says(got, expected, hint="", **mistakes):
    """The verdicts `got` are those expected, a string such as "yes no"; mistakes: verdicts -> hint."""
    names = expected.split()
    got = expect.tensor(got, shape=(len(names),))
    expect.that(got.dtype == torch.bool, f"dtype {got.dtype}".replace("torch.", ""), "booleans", "A comparison gives booleans: return those.")
    said = ["yes" if verdict else "no" for verdict in got.tolist()]
    expect.that(said == names, f"inside: {', '.join(said)}", ", ".join(names), mistakes.get("_".join(said), hint))

@exercise.case("p = inf: inside, outside, exactly on the surface")
def _(contains):
    x = torch.tensor([[0.5, 0.5, 0.25], [0.5, 0.5, 0.25], [0.5, 0.5, 0.25]])
    x_tilde = x + torch.tensor([[0.125, -0.0625, 0.0], [0.0, -0.375, 0.125], [0.25, -0.25, 0.25]])
    says(contains(x_tilde, x, 0.25, math.inf), "yes no yes", "Which image has a pixel that moved by more than eps?",
         yes_no_no="The closed ball holds its surface: <= instead of <.",
         no_yes_no="These are the opposite verdicts.",
         yes_yes_yes="One pixel moved by -0.375: downwards counts as well, and one pixel is enough.")

@exercise.case("p = 1 and p = 2, each image by itself")
def _(contains):
    x = torch.full((3, 1, 2, 2), 0.5)
    delta = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.375, 0.0, 0.0, 0.0], [0.25, 0.25, 0.0, 0.0]]).reshape(x.shape)
    says(contains(x + delta, x, 0.4375, 2), "no yes yes", "The L2 norms are 0.5, 0.375 and 0.354.",
         yes_yes_yes="For p = 2 every pixel is inside by itself, but the norm takes all pixels together.",
         no_no_no="One verdict for the whole batch? Each image has a norm of its own.")
    says(contains(x + delta, x, 0.4375, 1), "no yes no", "The L1 norms are 1, 0.375 and 0.5.",
         no_yes_yes="For p = 1 you get the verdicts of p = 2. Does p reach the norm?")

@exercise.case("the tolerance is added to eps")
def _(contains):
    x = torch.zeros(4, 16, dtype=torch.float64)
    x_tilde = x + torch.tensor([3.995, 4.005, 4.02, 4.06], dtype=torch.float64)[:, None] / 16
    says(contains(x_tilde, x, 4.0, 1, 0.01), "yes yes no no", "With eps = 4 and a tolerance of 0.01 a distance up to 4.01 is allowed.",
         yes_no_no_no="4.005 is at most eps + tolerance = 4.01: add the tolerance to eps.",
         yes_yes_yes_no="Yours allows 4.02: it is eps plus the tolerance, not eps times (1 + tolerance).",
         no_no_no_no="The tolerance makes the ball larger, not smaller.")
    says(contains(x_tilde, x, 4.0, 1, 0.1), "yes yes yes yes", "With a tolerance of 0.1 all four are allowed.",
         yes_no_no_no="4.005 is at most eps + tolerance: add the tolerance to eps.")
    says(contains(x_tilde, x, 4.0, 1), "yes no no no", "If no tolerance is given it is a millionth: keep the default of the signature.")

@exercise.case("the image range belongs to the set")
def _(contains):
    x = torch.tensor([[0.05, 0.95], [0.05, 0.95], [0.05, 0.95], [0.05, 0.95]])
    x_tilde = torch.tensor([[0.0, 1.0], [-0.05, 0.9], [0.1, 1.02], [-0.004, 1.004]])
    says(contains(x_tilde, x, 0.2, math.inf, 0.01), "yes no no yes", "A pixel of an image lies in [0, 1], up to the tolerance.",
         yes_yes_yes_yes="All four lie in the ball, but two of them are no images: look at the pixels of x_tilde.",
         yes_no_no_no="The tolerance holds for the image range as well.",
         yes_yes_no_yes="A pixel at -0.05 is no brightness: what is the lowest that is allowed?",
         yes_no_yes_yes="A pixel at 1.02 is no brightness: what is the highest that is allowed?")

@exercise.case("NaN is in no set; the caller's images are left as they were")
def _(contains):
    x = torch.full((2, 1, 2, 2), 0.5)
    x_tilde = x.clone()
    x_tilde[0, 0, 1, 1] = math.nan
    for p in 1, 2, math.inf:
        says(contains(x_tilde, x, 0.3, p), "no yes", f"p = {p}: every comparison with NaN is false. Ask for what must hold, not for what must not.",
             yes_yes=f"p = {p}: every comparison with NaN is false, also 'distance > eps'. Ask for what must hold: 'distance <= eps'.")
        expect.unchanged(contains)

### BEGIN HIDDEN TESTS
@exercise.case("FGSM's own results on real digits lie in its ball, and in no smaller one", hidden=True,
               hint="With the default tolerance every result of FGSM is inside.")
def _(contains):
    digits = data.load("mnist", "test")
    x_fgsm = attacks.fgsm(checks.model("mnist_cnn").build(), digits.x[:5], digits.y[:5], LpBall(0.1, math.inf))
    says(contains(x_fgsm, digits.x[:5], 0.1, math.inf), "yes yes yes yes yes")
    says(contains(x_fgsm, digits.x[:5], 0.099, math.inf), "no no no no no")

@exercise.case("one image, float64, other shapes", hidden=True, hint="As above, for a single image of another shape: is anything written out?")
def _(contains):
    x = torch.full((1, 3, 2, 5), 0.5, dtype=torch.float64)
    for p, length in ((1, 3.0), (2, 3.0 / math.sqrt(30)), (math.inf, 0.1)):
        says(contains(x - 0.1, x, 1.05 * length, p), "yes")
        says(contains(x - 0.1, x, 0.95 * length, p), "no")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# A fixed $\tau = 10^{-6}$ is a fair choice for $L_\infty$ in float32. In $L_1$ the rounding errors of 784 pixels add up, and in bfloat16 each is 65,000 times larger; `LpBall.contains` therefore works out from the dtype, the norm and the pixels what rounding can do, and allows just that. What is **not** a fair choice is a tolerance that the attacker would notice, such as $\tau = 0.01$.

# %% [markdown]
# ## 2.4 Open or closed?
#
# Now to the surface. Take a loss that is linear around $\mathbf x$: $\ell(\tilde{\mathbf x}) = \langle \mathbf g, \tilde{\mathbf x}\rangle$. Somebody claims to have found the *worst* point of the open ball, $\lVert\tilde{\mathbf x} - \mathbf x\rVert_p < \epsilon$. You can always answer: "here is a worse one".
#
# ### Exercise 2.4: there is always a worse one · medium · 10 minutes · 2 points
#
# Given points strictly inside of the open ball, return for each another point of the ball with a larger $\langle \mathbf g, \cdot\rangle$. The distance to the surface that is left is $r = \epsilon - \lVert\tilde{\mathbf x} - \mathbf x\rVert_p > 0$. Any step is fine that goes up and is no longer than $r/2$ in the $L_p$ norm, so that rounding plays no part.
#
# <details><summary>Hint 1</summary>
# The triangle inequality: $\lVert(\tilde{\mathbf x} + \mathbf s) - \mathbf x\rVert_p \le \lVert\tilde{\mathbf x} - \mathbf x\rVert_p + \lVert\mathbf s\rVert_p$. So every step $\mathbf s$ shorter than $r$ stays inside, in whichever direction.
# </details>
# <details><summary>Hint 2</summary>
# Direction $\mathbf g$: then $\langle\mathbf g, \mathbf s\rangle > 0$. Scale it so that its norm is $r/2$: divide by <code>norm(g, p)</code>. A number per image, <code>(B,)</code>, is brought into a shape that multiplies the images with <code>per_image(number, x)</code>.
# </details>

# %% solution="one_worse"
def one_worse(x_tilde: torch.Tensor, x: torch.Tensor, g: torch.Tensor, eps: float, p: float) -> torch.Tensor:
    """For each image a point of the open ball ||z - x||_p < eps at which <g, z> is larger than at x_tilde.

    x_tilde: (B, ...) points with ||x_tilde - x||_p < eps. x: (B, ...) the centres. g: (B, ...), of no image all zero.
    eps: radius. p: 1, 2 or math.inf. There is no image range. The step from x_tilde is at most half as long, in the
    L_p norm, as the distance that was left to the surface. Returns a tensor like x_tilde.
    """
    ### BEGIN SOLUTION
    left = eps - norm(x_tilde - x, p)
    return x_tilde + per_image(left / 2 / norm(g, p), x) * g
    ### END SOLUTION

# %% test="one_worse" points=2
# Run this cell to check your one_worse. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect
from coursekit.perturbations.common import norm

exercise = checks.Exercise("one_worse", points=2)

def worse(one_worse, x_tilde, x, g, eps, p):
    """Calls one_worse and checks all that is asked for; returns the new points."""
    z = expect.tensor(one_worse(x_tilde, x, g, eps, p), like=x_tilde)
    rise = ((z - x_tilde) * g).flatten(1).sum(1)
    step, left = norm(z - x_tilde, p), eps - norm(x_tilde - x, p)
    expect.that(bool((step > 0).all()), f"{int((step == 0).sum())} of {len(x)} points that did not move", "another point for each image",
                "Inside of an open ball there is always some room left to move.")
    from_x = torch.nn.functional.cosine_similarity((z - x).flatten(1), g.flatten(1)) > 1 - 1e-9
    there = torch.nn.functional.cosine_similarity((x_tilde - x).flatten(1), g.flatten(1)) > 1 - 1e-9
    expect.that(not bool((from_x & ~there & (norm(x_tilde - x, p) > 0)).any()), "a step along g that starts at x", "one that starts at x_tilde",
                "x is the centre of the ball; the point to improve on is x_tilde.")
    out = norm(z - x, p) >= eps
    expect.that(not bool(out.any()), f"a point at distance {norm(z - x, p).max().item():.4g}", f"all nearer to x than eps = {eps:g}",
                "Only eps minus the present distance is left to move, measured in the same norm, image by image. Is it x_tilde from which you step?")
    expect.that(bool((rise > 0).all()), f"<g, .> rises for {int((rise > 0).sum())} of {len(x)} points", f"for all {len(x)}",
                "Which direction makes <g, step> positive for certain?" if bool((rise > 0).any()) else "You step downhill: against g.")
    expect.that(bool((step <= left / 2 * (1 + 1e-6)).all()), f"a step of {(step / left).max().item():.3g} times the distance that was left",
                "at most half of it", "Scale the step with its own L_p norm: which norm do you divide by?")
    return z

centres = torch.tensor([[0.5, 0.5, 0.5], [0.2, 0.9, 0.4]], dtype=torch.float64)
slopes = torch.tensor([[2.0, -1.0, 0.5], [0.0, -0.3, 0.0]], dtype=torch.float64)
inside = centres + torch.tensor([[0.1, -0.05, -0.1], [0.15, 0.0, 0.05]], dtype=torch.float64)

@exercise.case("from a point inside of the L-inf ball")
def _(one_worse):
    worse(one_worse, inside, centres, slopes, 0.2, math.inf)

@exercise.case("from x itself, in each norm")
def _(one_worse):
    for p in 1, 2, math.inf:
        worse(one_worse, centres, centres, slopes, 0.3, p)

@exercise.case("L1 and L2, close to the surface")
def _(one_worse):
    worse(one_worse, inside, centres, slopes, 0.26, 1)
    worse(one_worse, inside, centres, slopes, 0.16, 2)
    expect.unchanged(one_worse)

@exercise.case("twenty times in a row: it rises and rises")
def _(one_worse):
    z = centres
    for _ in range(20):
        z = worse(one_worse, z, centres, slopes, 0.5, 2)

### BEGIN HIDDEN TESTS
@exercise.case("images, another radius, a steep and a flat g", hidden=True,
               hint="Image by image: the distance left, and a step up that is at most half as long in the same norm.")
def _(one_worse):
    x = torch.rand(4, 2, 3, 3, dtype=torch.float64)
    g = torch.randn(x.shape, dtype=torch.float64) * torch.tensor([1e-3, 1.0, 50.0, 3.0]).reshape(4, 1, 1, 1)
    direction = torch.randn(x.shape, dtype=torch.float64)
    for eps, p in ((0.05, math.inf), (1.5, 2), (7.0, 1)):
        share = torch.tensor([0.0, 0.3, 0.9, 0.99], dtype=torch.float64) * eps / norm(direction, p)
        worse(one_worse, x + share.reshape(4, 1, 1, 1) * direction, x, g, eps, p)
### END HIDDEN TESTS

exercise.score()

# %% demo="no-maximum"
# Again and again a worse one: a linear loss on one digit, in the open L2 ball of radius 2.
def reference_worse(x_tilde, x, g, eps, p):
    return x_tilde + per_image((eps - norm(x_tilde - x, p)) / 2 / norm(g, p), x) * g

next_point = checks.yours("one_worse", reference_worse)
centre = x[3:4].double()
g = attacks.input_gradient(model, x[3:4], y[3:4]).double()
point = centre
for turn in range(31):
    if turn % 5 == 0:
        gain = ((point - centre) * g).sum().item()
        print(f"after {turn:2d} steps: gain {gain:.12f}, distance {norm(point - centre, 2).item():.12f}")
    point = next_point(point, centre, g, 2.0, 2)
print(f"never reached:  gain {2 * norm(g, 2).item():.12f}, distance 2.000000000000")

# %% [markdown]
# The gains have a least upper bound, a *supremum*, and no point of the open ball reaches it. "The worst point of an open ball" is a phrase without a meaning, and so is "the nearest point of the open ball" to one outside. The closed ball has both: a continuous function on a closed and bounded set takes its maximum (Weierstrass). FGSM's result lies on the surface because the surface is where the maximum of a linear loss is. So:
#
# * On paper, either will do: the supremum is the same. The slides' robust loss is written with $\sup$, not $\max$, for this reason.
# * In code, take $\le$, with a tolerance for rounding.
#
# You are asked to judge this in 2.8.

# %% [markdown]
# ## 2.5 Back to the nearest point
#
# An attack takes a step and lands outside. The **projection** brings it back to the nearest point of the set, by the ordinary, Euclidean distance, whatever norm shapes the ball:
#
# $$\Pi(\tilde{\mathbf x}) = \underset{\mathbf z \in \mathcal P(\mathbf x)}{\arg\min}\;\lVert\mathbf z - \tilde{\mathbf x}\rVert_2 .$$
#
# A point of the set is its own nearest point and stays. For the others each norm has its own recipe.
#
# ### Exercise 2.5a: into the L-inf ball · easy · 8 minutes · 2 points
#
# This one with the image range: $\mathcal P(\mathbf x) = \{\mathbf z \in [0,1]^d : \lVert\mathbf z - \mathbf x\rVert_\infty \le \epsilon\}$. The set is a box, so every pixel finds its nearest value alone.
#
# <details><summary>Hint</summary>
# In which interval may pixel $i$ lie? <code>torch.clamp</code> takes tensors as bounds, too.
# </details>

# %% solution="project_linf"
def project_linf(x_tilde: torch.Tensor, x: torch.Tensor, eps: float) -> torch.Tensor:
    """The nearest point to x_tilde in the L-inf ball of radius eps around x, within the image range [0, 1].

    x_tilde: (B, ...) any values. x: (B, ...) images in [0, 1]. eps: radius, above 0. Returns a tensor like x.
    """
    ### BEGIN SOLUTION
    return x_tilde.clamp(x - eps, x + eps).clamp(0, 1)
    ### END SOLUTION

# %% test="project_linf" points=2
# Run this cell to check your project_linf. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("project_linf", points=2, by_hand=["coursekit.perturbations.LpBall.project", "coursekit.perturbations.LpBall.projector"])

@exercise.case("a pixel outside comes back to the end of its interval, the others stay")
def _(project_linf):
    x = torch.tensor([[0.5, 0.4, 0.6, 0.5]])
    x_tilde = torch.tensor([[0.9, 0.45, 0.2, 0.5]])
    expect.close(project_linf(x_tilde, x, 0.1), torch.tensor([[0.6, 0.45, 0.5, 0.5]]), mistakes={
        "You shrink the whole perturbation until it fits. Look at each pixel alone: those that fit need not move.": x + (x_tilde - x) / 4,
        "Nothing was brought back into the ball around x.": x_tilde,
        "You return the perturbation. Add it to x.": torch.tensor([[0.1, 0.05, -0.1, 0.0]]),
        "Every pixel is put onto the surface. Those inside of their interval stay.": x + 0.1 * (x_tilde - x).sign(),
        "This is the ball around x_tilde. The centre is x.": x.clamp(x_tilde - 0.1, x_tilde + 0.1),
    }, hint="Each pixel has the interval [x - eps, x + eps].")

@exercise.case("a point of the set stays where it is")
def _(project_linf):
    x = torch.tensor([[0.5, 0.3, 0.0, 1.0], [0.9, 0.1, 0.2, 0.4]])
    x_tilde = x + torch.tensor([[0.05, -0.1, 0.02, -0.07], [0.0, 0.03, -0.2, 0.11]])
    expect.close(project_linf(x_tilde, x, 0.25), x_tilde, mistakes={
        "You push points onto the surface. The nearest point to one that is inside already is itself.": (x + 0.25 * (x_tilde - x).sign()).clamp(0, 1),
        "This is x. The projection moves x_tilde, and no further than needed.": x,
    }, hint="The nearest point of a set to one of its own points is that point.")

@exercise.case("the image range counts as well")
def _(project_linf):
    x = torch.tensor([[0.05, 0.95, 0.0, 1.0]])
    x_tilde = torch.tensor([[-0.5, 1.5, -0.02, 1.3]])
    expect.close(project_linf(x_tilde, x, 0.2), torch.tensor([[0.0, 1.0, 0.0, 1.0]]), mistakes={
        "Pixels leave [0, 1]: such a point lies in the ball, but is no image.": torch.tensor([[-0.15, 1.15, -0.02, 1.2]]),
    }, hint="Each pixel must lie in [x - eps, x + eps] and in [0, 1].")

@exercise.case("a batch of images; x and x_tilde are left as they were")
def _(project_linf):
    x = torch.full((2, 1, 1, 3), 0.5)
    x_tilde = torch.tensor([[0.9, 0.5, -0.3], [0.4, 2.0, 0.6]]).reshape(x.shape)
    expect.close(project_linf(x_tilde, x, 0.2), torch.tensor([[0.7, 0.5, 0.3], [0.4, 0.7, 0.6]]).reshape(x.shape), mistakes={
        "Only the image range was looked at.": x_tilde.clamp(0, 1)}, hint="Pixel by pixel, for each image.")
    expect.unchanged(project_linf)

### BEGIN HIDDEN TESTS
@exercise.case("random points of other shapes, float64", hint="Both intervals, pixel by pixel, for any shape.", hidden=True)
def _(project_linf):
    for shape, eps in (((1, 3, 5, 5), 0.3), ((6, 2), 0.01)):
        x = torch.rand(shape, dtype=torch.float64)
        x_tilde = x + 0.5 * torch.randn(shape, dtype=torch.float64)
        nearest = torch.minimum(torch.maximum(x_tilde, (x - eps).clamp_min(0)), (x + eps).clamp_max(1))
        expect.tensor(project_linf(x_tilde, x, eps), like=x)
        expect.close(project_linf(x_tilde, x, eps), nearest)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Exercise 2.5b: into the L2 ball · medium · 12 minutes · 3 points
#
# Here without the image range: the ball alone. It is round, so the nearest point lies straight on the way to the centre: shorten the perturbation to length $\epsilon$ and keep its direction,
#
# $$\Pi(\tilde{\mathbf x}) = \mathbf x + \boldsymbol\delta \cdot \min\!\Big(1, \frac{\epsilon}{\lVert\boldsymbol\delta\rVert_2}\Big), \qquad \boldsymbol\delta = \tilde{\mathbf x} - \mathbf x .$$
#
# Mind $\tilde{\mathbf x} = \mathbf x$: a division by zero must not spoil the image. References: `norm(delta, p)` and `per_image(number, x)`, which brings one number per image, `(B,)`, into a shape that multiplies images.
#
# <details><summary>Hint</summary>
# The factor is $\epsilon / \max(\lVert\boldsymbol\delta\rVert_2, \epsilon)$: never above 1, and never a division by zero. <code>.clamp_min(eps)</code> is that maximum.
# </details>

# %% solution="project_l2"
def project_l2(x_tilde: torch.Tensor, x: torch.Tensor, eps: float) -> torch.Tensor:
    """The nearest point to x_tilde in the L2 ball of radius eps around x; there is no image range.

    x_tilde, x: (B, ...) any values. eps: radius, above 0. Returns a tensor like x.
    """
    ### BEGIN SOLUTION
    delta = x_tilde - x
    return x + delta * per_image(eps / norm(delta, 2).clamp_min(eps), x)
    ### END SOLUTION

# %% test="project_l2" points=3
# Run this cell to check your project_l2. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data
from coursekit.checks import expect
from coursekit.perturbations.common import norm

exercise = checks.Exercise("project_l2", points=3, by_hand=["coursekit.perturbations.LpBall.project", "coursekit.perturbations.LpBall.projector"])

@exercise.case("a point outside comes straight towards x")
def _(project_l2):
    x = torch.tensor([[0.5, 0.2]])
    delta = torch.tensor([[1.2, -1.6]])  # of length 2
    expect.close(project_l2(x + delta, x, 0.5), x + delta / 4, mistakes={
        "You return the perturbation. Add it to x.": delta / 4,
        "Each pixel was clipped by itself: that is the projection onto the L-inf ball.": x + delta.clamp(-0.5, 0.5),
        "You divide by the squared length. Is the root there?": x + delta / 8,
        "You divide by the L1 norm. The ball is round: the length is the L2 norm.": x + delta * 0.5 / 2.8,
        "The length became 1, not eps.": x + delta / 2,
        "You clip to [0, 1]. Here the set is the ball alone, without the image range.": (x + delta / 4).clamp(0, 1),
        "Nothing was brought back.": x + delta,
    }, hint="Shorten the perturbation to length eps, and keep its direction.")

@exercise.case("a point inside stays, and so does x itself")
def _(project_l2):
    x = torch.tensor([[0.5, 0.5], [0.3, 0.8], [0.2, 0.6]])
    delta = torch.tensor([[0.15, -0.2], [0.0, 0.0], [0.03, 0.04]])
    zero = "The perturbation of one image is zero, and you divide by its length. What should the factor be there?"
    got = expect.tensor(project_l2(x + delta, x, 0.5), like=x, hint=zero)
    pushed = x + delta * (0.5 / norm(delta, 2).clamp_min(1e-12))[:, None]
    expect.close(got, x + delta, mistakes={
        "Points inside are pushed out onto the surface. The factor is never above 1.": pushed,
        "This is x. Points inside stay where they are.": x,
        "The perturbation shrinks although it fits. The factor is 1 for points inside.": x + 0.5 * delta,
    }, hint="The nearest point of a set to one of its own points is that point.")

@exercise.case("each image has a factor of its own")
def _(project_l2):
    x = torch.zeros(3, 1, 1, 2)
    x_tilde = torch.tensor([[0.3, 0.4], [3.0, 4.0], [-6.0, 8.0]]).reshape(x.shape)
    expect.close(project_l2(x_tilde, x, 1.0), torch.tensor([[0.3, 0.4], [0.6, 0.8], [-0.6, 0.8]]).reshape(x.shape), mistakes={
        "One length for the whole batch: each image has its own.": x_tilde / x_tilde.norm(),
        "The longest perturbation sets the factor for all. Each image has its own.": x_tilde / 10,
        "The first image was inside and must stay.": torch.tensor([[0.6, 0.8], [0.6, 0.8], [-0.6, 0.8]]).reshape(x.shape),
    }, hint="One norm for each image, over all its pixels.")

@exercise.case("real digits and heavy noise: on the surface, in the same direction; the images are left as they were")
def _(project_l2):
    x = data.load("mnist", "test").x[:4]
    delta = torch.randn(x.shape)
    got = expect.tensor(project_l2(x + delta, x, 2.0), like=x)
    length = norm(got - x, 2)
    expect.that(bool(((length - 2).abs() < 1e-3).all()), f"distances from {length.min().item():.4g} to {length.max().item():.4g}",
                "eps = 2 for all four", "Is the length that of all pixels of an image? And no image range here.")
    expect.close(got, x + delta * (2 / norm(delta, 2)).reshape(-1, 1, 1, 1))
    expect.unchanged(project_l2)

### BEGIN HIDDEN TESTS
@exercise.case("random points of other shapes, float64", hint="Each image by its own length, in any shape, inside or outside.", hidden=True)
def _(project_l2):
    for shape, eps in (((5, 3, 2, 4), 0.3), ((1, 6), 1.7), ((2, 1), 0.05)):
        x = torch.randn(shape, dtype=torch.float64)
        delta = torch.randn(shape, dtype=torch.float64) * torch.linspace(0, 2, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        length = norm(delta, 2).reshape(-1, *[1] * (len(shape) - 1))
        got = expect.tensor(project_l2(x + delta, x, eps), like=x)
        expect.close(got, torch.where(length <= eps, x + delta, x + delta * (eps / length)))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Exercise 2.5c: into the L1 ball · hard · 20 minutes · 4 points
#
# The diamond is the hard one, again without the image range. Scaling does not give its nearest point, as the picture below will show. Start from what it costs to move: whoever has to bring $\sum_i|\delta_i|$ down to $\epsilon$ and wants to move as little as possible (in $L_2$) shortens all coordinates by the **same amount** θ, and those that are shorter than θ become 0:
#
# $$\Pi(\tilde{\mathbf x})_i = x_i + \operatorname{sign}(\delta_i)\,\max(|\delta_i| - \theta, 0) \qquad\text{(soft-thresholding)}.$$
#
# θ must make the sum come out at $\epsilon$. Sort the sizes $|\delta_i|$ from large to small, $u_1 \ge u_2 \ge \dots \ge u_d$. If just the $k$ largest survive, then $\sum_{j\le k}(u_j - \theta) = \epsilon$, so
#
# $$\theta_k = \frac{u_1 + \dots + u_k - \epsilon}{k},$$
#
# and the right $k$ is the largest one for which the last survivor does survive: $u_k > \theta_k$. (Duchi et al., *Efficient projections onto the $\ell_1$-ball*, 2008, figure 1.)
#
# **By hand**: $\boldsymbol\delta = (0.6, 0.5, -0.1)$, $\epsilon = 0.5$. Then $\theta_1 = 0.1$, $\theta_2 = 0.3$, $\theta_3 = 0.233$; of $u_1 = 0.6$, $u_2 = 0.5$, $u_3 = 0.1$ the first two are above theirs. So $k = 2$, $\theta = 0.3$, and the result is $(0.3, 0.2, 0)$. Its sum is 0.5, and one pixel is back where it was.
#
# <details><summary>Hint 1</summary>
# With <code>size = delta.abs().flatten(1)</code>: <code>u = size.sort(dim=1, descending=True).values</code>, the sums are <code>u.cumsum(dim=1)</code>, and <code>k = torch.arange(1, d + 1)</code>. That gives all $\theta_k$ of all images in one line.
# </details>
# <details><summary>Hint 2</summary>
# $u_k > \theta_k$ holds for $k = 1, \dots$ up to the right one and never after it. So count: <code>count = (u &gt; theta).sum(dim=1, keepdim=True)</code>, and <code>theta.gather(1, count - 1)</code> is the θ of each image.
# </details>
# <details><summary>Hint 3</summary>
# An image inside of its ball would get a negative θ. <code>.clamp_min(0)</code> lets it stay as it is.
# </details>

# %% solution="project_l1"
def project_l1(x_tilde: torch.Tensor, x: torch.Tensor, eps: float) -> torch.Tensor:
    """The nearest point (in the Euclidean distance) to x_tilde in the L1 ball of radius eps around x; no image range.

    x_tilde, x: (B, ...) any values. eps: radius, above 0. Returns a tensor like x.
    """
    ### BEGIN SOLUTION
    delta = x_tilde - x
    size = delta.abs().flatten(1)
    u = size.sort(dim=1, descending=True).values
    theta = (u.cumsum(dim=1) - eps) / torch.arange(1, u.shape[1] + 1, dtype=x.dtype)
    count = (u > theta).sum(dim=1, keepdim=True).clamp_min(1)
    shorter = (size - theta.gather(1, count - 1).clamp_min(0)).clamp_min(0)
    return x + delta.sign() * shorter.view(x.shape)
    ### END SOLUTION

# %% test="project_l1" points=4
# Run this cell to check your project_l1. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks, data
from coursekit.checks import expect
from coursekit.perturbations import LpBall
from coursekit.perturbations.common import norm

exercise = checks.Exercise("project_l1", points=4, by_hand=["coursekit.perturbations.LpBall.project", "coursekit.perturbations.LpBall.projector"])

@exercise.case("the example above")
def _(project_l1):
    x = torch.tensor([[0.5, 0.5, 0.5]])
    delta = torch.tensor([[0.6, 0.5, -0.1]])
    expect.close(project_l1(x + delta, x, 0.5), x + torch.tensor([[0.3, 0.2, 0.0]]), mistakes={
        "You scale the perturbation. That lies in the ball, but it is not the nearest point: all coordinates get shorter by the same amount.":
            x + delta * 0.5 / 1.2,
        "You scale with the L2 norm. The ball is the diamond, the L1 ball.": x + delta * 0.5 / delta.norm(),
        "theta_3 was taken: all coordinates as if all survived. The last one does not; which k is right? (And is it sorted from large to small?)": x + torch.tensor([[0.3667, 0.2667, 0.0]]),
        "theta_1 was taken: only the largest as if it survived alone. Which k is right?": x + torch.tensor([[0.5, 0.4, 0.0]]),
        "Only the largest coordinate is left. More than one survives here.": x + torch.tensor([[0.5, 0.0, 0.0]]),
        "You return the perturbation. Add it to x.": torch.tensor([[0.3, 0.2, 0.0]]),
        "Coordinates below theta must become 0, not change their side: max(|delta| - theta, 0).": x + torch.tensor([[0.3, 0.2, 0.2]]),
    }, hint="theta is 0.3, and the two largest coordinates survive, as computed above.")

@exercise.case("a single large coordinate survives; ties survive together; signs are kept")
def _(project_l1):
    x = torch.zeros(3, 4)
    x_tilde = torch.tensor([[2.0, 0.3, -0.2, 0.0], [-0.8, 0.8, 0.0, 0.1], [-0.5, -0.5, -0.5, -0.5]])
    nearest = torch.tensor([[1.0, 0.0, 0.0, 0.0], [-0.5, 0.5, 0.0, 0.0], [-0.25, -0.25, -0.25, -0.25]])
    expect.close(project_l1(x_tilde, x, 1.0), nearest, mistakes={
        "The signs were lost: soft-thresholding shortens |delta| and keeps the sign of delta.": nearest.abs(),
        "You scale the perturbation; all coordinates should get shorter by the same amount.": x_tilde / norm(x_tilde, 1)[:, None],
    }, hint="theta is 1, 0.3 and 0.25 for the three: each image has its own.")

@exercise.case("a point inside stays, and so does x itself")
def _(project_l1):
    x = torch.tensor([[0.5, 0.5, 0.1], [0.3, 0.8, 0.7], [0.2, 0.2, 0.9]])
    delta = torch.tensor([[0.15, -0.2, 0.0], [0.0, 0.0, 0.0], [0.3, 0.01, -0.3]])
    got = expect.tensor(project_l1(x + delta, x, 0.7), like=x,
                        hint="x itself is among the points: its perturbation is zero. What is divided by what?")
    inflated = norm(got - x, 1) > norm(delta, 1) + 1e-4
    expect.close(got, x + delta, mistakes={
        "This is x. Points inside stay where they are.": x,
    }, hint="Points inside are pushed outwards: their theta is negative. What should it be?" if bool(inflated.any())
            else "The nearest point of a set to one of its own points is that point.")

@exercise.case("images, each with a theta of its own; x and x_tilde are left as they were")
def _(project_l1):
    x = torch.full((3, 1, 2, 2), 0.5)
    delta = torch.tensor([[0.1, -0.1, 0.2, 0.0], [1.0, -1.0, 0.5, 0.5], [0.0, 3.0, 0.0, -2.5]]).reshape(x.shape)
    nearest = torch.tensor([[0.1, -0.1, 0.2, 0.0], [0.5, -0.5, 0.0, 0.0], [0.0, 0.75, 0.0, -0.25]]).reshape(x.shape)
    expect.close(project_l1(x + delta, x, 1.0), x + nearest, hint="theta is 0 (inside), 0.5 and 2.25 for the three. Sort and add up along the "
                 "pixels of an image, not along the batch.", mistakes={
        "You clip to [0, 1]. Here the set is the ball alone, without the image range.": (x + nearest).clamp(0, 1)})
    expect.unchanged(project_l1)

@exercise.case("real digits and heavy noise: on the surface, and no point of the ball is nearer")
def _(project_l1):
    x = data.load("mnist", "test").x[:4]
    x_tilde = x + 0.3 * torch.randn(x.shape)
    got = expect.tensor(project_l1(x_tilde, x, 10.0), like=x)
    length = norm(got - x, 1)
    expect.that(bool(((length - 10).abs() < 1e-2).all()), f"L1 distances from {length.min().item():.4g} to {length.max().item():.4g}",
                "eps = 10 for all four", "A theta that is too small leaves the sum too large, and the other way round. Which k is right?")
    best = norm(LpBall(10.0, 1, (-math.inf, math.inf)).project(x_tilde, x) - x_tilde, 2)
    far = norm(got - x_tilde, 2)
    expect.that(bool((far <= best * 1.0005).all()), f"a point {far.max().item():.5g} away from x_tilde", f"the nearest one, {best[far.argmax()].item():.5g} away",
                "It lies in the ball, but there are nearer points. Are all survivors shortened by the same amount?")

### BEGIN HIDDEN TESTS
@exercise.case("random points of other shapes, float64", hint="Sort, sums, theta_k, the right k, soft-threshold: for each image, in any shape.", hidden=True)
def _(project_l1):
    for shape, eps in (((5, 3, 2, 4), 0.9), ((1, 60), 4.0), ((7, 1), 0.05), ((2, 2, 2), 0.3)):
        x = torch.randn(shape, dtype=torch.float64)
        x_tilde = x + torch.randn(shape, dtype=torch.float64) * torch.linspace(0, 2, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        got = expect.tensor(project_l1(x_tilde, x, eps), like=x)
        expect.close(got, LpBall(eps, 1, (-math.inf, math.inf)).project(x_tilde, x))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# The three projections in the plane: every hollow point goes to the nearest point of the ball, along a shortest line, so it meets edges at a right angle. Where do the corners catch a whole fan of points?

# %% demo="nearest-points"
everywhere = (-math.inf, math.inf)

def reference_linf(x_tilde, x, eps):
    return LpBall(eps, math.inf).project(x_tilde, x)

def reference_l2(x_tilde, x, eps):
    return LpBall(eps, 2, everywhere).project(x_tilde, x)

def reference_l1(x_tilde, x, eps):
    return LpBall(eps, 1, everywhere).project(x_tilde, x)

plots.nearest_points({
    1: checks.yours("project_l1", reference_l1),
    2: checks.yours("project_l2", reference_l2),
    math.inf: checks.yours("project_linf", reference_linf),
})

# %% [markdown]
# Corners attract. In the $L_1$ ball they lie on the axes: a point that lands there has lost a coordinate, which is why $L_1$ perturbations come out **sparse**. In the $L_\infty$ ball the corners are the sign vectors: **every** pixel at full use. The round ball has none, and prefers nothing.
#
# ### A surprise: two nearest points do not make a nearest point
#
# For $L_\infty$ you clipped twice, to the ball and to $[0, 1]$, and got the nearest point of both together. It is tempting to do the same for $L_2$: project onto the ball, then clip to $[0, 1]$. The result lies in $\mathcal P(\mathbf x)$, since clipping only moves pixels closer to $\mathbf x$. Is it the nearest point there? We compare with `LpBall(2.0, 2).project`, which treats ball and range as one set.

# %% demo="project-then-clip"
noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
ball = LpBall(2.0, 2)
far_step = 4 * ball.steepest(attacks.input_gradient(model, x, y))
for name, x_tilde in {"noise of size 1": x + noise, "one large gradient step": x + far_step}.items():
    clipped = reference_l2(x_tilde, x, 2.0).clamp(0, 1)
    exact = ball.project(x_tilde, x)
    nearer = (norm(exact - x_tilde, 2) < norm(clipped - x_tilde, 2) - 1e-4).float().mean()
    print(f"x~ = x + {name}:")
    for what, z in (("project, then clip", clipped), ("nearest point of P(x)", exact)):
        away, used = norm(z - x_tilde, 2).mean(), norm(z - x, 2).mean()
        print(f"  {what:22}  distance to x~ {away:.3f},  distance to x {used:.3f} of 2 allowed")
    apart = norm(exact - clipped, 2).mean()
    print(f"  the exact one is nearer for {nearer:.0%} of the images; the two are {apart:.2f} apart\n")

# %% [markdown]
# It is not. The projection spends length on pixels that want to go below 0 or above 1, then the clip takes that length away again, and the result stops well inside the ball: an attack that does this throws away a part of what it is allowed. The exact projection knows both sets at once, and gives the room to the pixels that can use it. Boxes are the exception: for $L_\infty$ the two clips commute with each other, pixel by pixel.

# %% [markdown]
# ## 2.6 The steepest step
#
# Near $\mathbf x$ a loss is nearly linear: a perturbation $\boldsymbol\delta$ raises it by about $\langle\mathbf g, \boldsymbol\delta\rangle$, with $\mathbf g$ its gradient at $\mathbf x$. Which $\boldsymbol\delta$ of length at most ε, measured in $L_p$, gains most? The answer depends on the norm, and the explorer shows why. Slide the level lines of $\langle\mathbf g, \cdot\rangle$ along $\mathbf g$ until they are about to leave the ball: the last point they touch is the best step.
#
# Try: turn the gradient through 45° and watch each orange arrow, then go to exactly 45° and exactly 0°. Then set `show` to *projection*, where the same arrow leads to a point $\tilde{\mathbf x}$, and find places where two norms agree about its nearest point.

# %% demo="explorer"
widgets.norm_explorer()

# %% [markdown]
# <details><summary>Four things worth seeing in the picture</summary>
#
# 1. The $L_1$ step jumps from one axis to the other at 45°, and the $L_\infty$ step from one corner to the next at 0°: in between neither moves, however the gradient turns. Only the $L_2$ step follows it.
# 2. At 45° the level line touches a whole edge of the $L_1$ ball, at 0° a whole edge of the $L_\infty$ ball: many steps are equally good.
# 3. With the same ε the larger ball gains more, by a factor of 1.41 at most from one norm to the next. In the plane. In $d$ dimensions it is $\sqrt d$.
# 4. In the mode <em>projection</em> at 30°, length 1.6: the $L_1$ ball sets the second coordinate to zero. That is soft-thresholding.
# </details>
#
# ### Exercise 2.6a: steepest · medium · 15 minutes · 3 points
#
# Return for each image the unit step: the $\mathbf d$ with $\lVert\mathbf d\rVert_p \le 1$ that maximises $\langle\mathbf g, \mathbf d\rangle$. Three thoughts lead there:
#
# * $p = \infty$: every pixel may use its whole allowance of 1 without asking the others.
# * $p = 2$: among arrows of length 1, the inner product with $\mathbf g$ is largest for the one that points the same way (Cauchy-Schwarz).
# * $p = 1$: one budget for all, $\sum_i |d_i| \le 1$. Spend it where a unit gains most.
#
# Where several steps are equally good (ties in $p = 1$, pixels with $g_i = 0$ in $p = \infty$), any of them is right. A gradient that is zero everywhere has no direction: return zeros. But a *tiny* gradient has one, and gets a whole step: networks that are sure of themselves have gradients of $10^{-10}$ and less.
#
# <details><summary>Hint 1</summary>
# For $p = 1$: <code>size.argmax(dim=1)</code> is one largest pixel per image; start from zeros and write the sign of its gradient there, for instance with <code>scatter</code>, or multiply the sign with a one-hot row.
# </details>
# <details><summary>Hint 2</summary>
# For $p = 2$ a zero gradient means 0/0. Adding something like 1e-8 to the length would shorten the step of a tiny gradient as well; rather replace only a length of exactly zero by 1: <code>torch.where(length &gt; 0, length, 1.0)</code>.
# </details>

# %% solution="steepest"
def steepest(g: torch.Tensor, p: float) -> torch.Tensor:
    """For each image the d with ||d||_p <= 1 that maximises <g, d>; zeros where g is zero everywhere.

    g: (B, ...) gradients, of any size from 1e-15 to 1e15. p: 1, 2 or math.inf. Returns a tensor like g.
    """
    ### BEGIN SOLUTION
    if p == math.inf:
        return g.sign()
    if p == 2:
        length = norm(g, 2)
        return g / per_image(torch.where(length > 0, length, 1.0), g)
    rows = g.flatten(1)
    largest = rows.abs().argmax(dim=1, keepdim=True)
    step = torch.zeros_like(rows).scatter(1, largest, rows.gather(1, largest).sign())
    return step.view(g.shape)
    ### END SOLUTION

# %% test="steepest" points=3
# Run this cell to check your steepest. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks, data
from coursekit.checks import expect
from coursekit.perturbations.common import norm

exercise = checks.Exercise("steepest", points=3, by_hand=["coursekit.perturbations.LpBall.steepest", "coursekit.perturbations.LpBall.step"])
DUAL = {1: math.inf, 2: 2, math.inf: 1}
ADVICE = {1: "Where does the one budget of p = 1 gain most? All of it on one largest |g_i|, with the sign of g_i.",
          2: "The direction of g itself, at length 1.",
          math.inf: "Every pixel by 1, in the sign of its own derivative."}

def symptom(d, g, p):
    """What a wrong step looks like from outside."""
    gain = (d * g).flatten(1).sum(1)
    if bool((gain < 0).all()):
        return "This step goes downhill. The largest <g, d> is asked for."
    if not bool(d.any()):
        return "The step is zero."
    for name, q in (("inf", math.inf), ("2", 2)):
        other = g.sign() if q == math.inf else g / norm(g, 2).reshape(-1, *[1] * (g.ndim - 1))
        if q != p and expect.same(d, other):
            return f"This is the step for p = {name}. Here p is {p}."
    if expect.same(d, g):
        return "This is the gradient itself. Which step of length 1 gains most?"
    if expect.same(d, g / norm(g, p).clamp_min(1e-30).reshape(-1, *[1] * (g.ndim - 1))):
        return f"This is g divided by its own norm for p = {p}: long enough, but only for p = 2 the direction that gains most."
    if expect.same(d, d.abs()) and expect.same((d * g.abs()).flatten(1).sum(1), norm(g, DUAL[p])):
        return "The sign is missing: where g_i is negative, d_i must be, too."
    if p == 1 and expect.same((d * g).flatten(1).sum(1), g.flatten(1).max(1).values.abs()):
        return "All of it on the largest g_i. A negative one counts as well: the largest |g_i|, with the sign of g_i."
    if p == 1 and expect.same(d, g.sign() / g[0].numel()):
        return "The budget is spread over all pixels. It gains more where |g_i| is largest."
    if p == 1 and expect.same(norm(d, math.inf).max()[None], norm(g, math.inf).max()[None]):
        return "The largest pixel keeps the size of its gradient; a step of L1 norm 1 is asked for. Take its sign."
    return ""

def gains_most(got, g, p):
    got = expect.tensor(got, like=g, hint="What happens where the gradient is zero?")
    length, gain, best = norm(got, p), (got * g).flatten(1).sum(1), norm(g, DUAL[p])
    said = symptom(got, g, p)
    expect.that(bool((length <= 1 + 1e-4).all()), f"a step of L{p} norm {length.max().item():.4g}", "at most 1",
                said or "The step is too long, in this norm. Has each image a length of its own?")
    share = torch.where(best > 0, gain / best, 1.0)
    expect.that(bool((share >= 1 - 1e-3).all()), f"a step that gains {share.min().item():.3g} of what is possible", "all of it", said or ADVICE[p])

points = torch.tensor([[3.0, -4.0, 0.5], [-0.2, 0.1, 0.1]])

@exercise.case("p = inf")
def _(steepest):
    gains_most(steepest(points, math.inf), points, math.inf)

@exercise.case("p = 2")
def _(steepest):
    gains_most(steepest(points, 2), points, 2)

@exercise.case("p = 1")
def _(steepest):
    gains_most(steepest(points, 1), points, 1)

@exercise.case("ties and pixels with zero derivative: any of the best steps")
def _(steepest):
    g = torch.tensor([[0.0, 2.0, -2.0, 0.0], [1.0, -1.0, 1.0, -1.0]])
    for p in 1, 2, math.inf:
        gains_most(steepest(g, p), g, p)

@exercise.case("a gradient of zero gives zeros, and no NaN")
def _(steepest):
    g = torch.tensor([[0.0, 0.0], [0.0, -3.0]])
    for p in 1, 2, math.inf:
        step = expect.tensor(steepest(g, p), like=g, hint=f"p = {p}: 0 / 0. What should a gradient without direction give?")
        expect.that(not bool(step[0].any()), f"for p = {p} a step of {step[0].abs().max().item():.3g} where the gradient is zero", "zeros",
                    "No direction, no step: zeros.")
        gains_most(step[1:], g[1:], p)

@exercise.case("a tiny gradient gets a whole step, a huge one as well")
def _(steepest):
    for scale in (1e-10, 1e10):
        for p in 1, 2, math.inf:
            step = expect.tensor(steepest(scale * points, p), like=points)
            length = norm(step, p)
            expect.that(bool((length > 0.999).all()), f"for a gradient near {scale:g}, a step of L{p} norm {length.min().item():.3g}", "1",
                        "A constant added to the length shortens the steps of tiny gradients. Only a gradient of exactly zero has no direction."
                        if scale < 1 else "The step does not depend on the size of g.")
            gains_most(step, scale * points, p)

@exercise.case("real gradients, image by image; g is left as it was")
def _(steepest):
    digits = data.load("mnist", "test")
    g = attacks.input_gradient(checks.model("mnist_cnn").build(), digits.x[:4], digits.y[:4])
    for p in 1, 2, math.inf:
        gains_most(steepest(g, p), g, p)
        expect.unchanged(steepest)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, float64, a single image", hint="Any shape behind the batch, the dtype of g, each image by itself.", hidden=True)
def _(steepest):
    for shape in ((1, 3, 2, 2), (5, 7), (2, 1, 4)):
        g = torch.randn(shape, dtype=torch.float64)
        for p in 1, 2, math.inf:
            gains_most(steepest(g, p), g, p)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Exercise 2.6b: what the best step gains · easy · 8 minutes · 2 points
#
# Put the best step into $\langle\mathbf g, \boldsymbol\delta\rangle$ and look at what comes out in each norm. It is $\epsilon$ times another norm of $\mathbf g$, the **dual norm** $\lVert\mathbf g\rVert_q$ with $\frac1p + \frac1q = 1$:
#
# $$\max_{\lVert\boldsymbol\delta\rVert_p \le \epsilon} \langle\mathbf g, \boldsymbol\delta\rangle = \epsilon\,\lVert\mathbf g\rVert_q .$$
#
# Return that gain for each image. The reference for norms is `norm(g, q)`. (This number comes back: it is the exact distance of a linear classifier in minimum-norm attacks, and the bound in Lipschitz certificates.)
#
# <details><summary>Hint</summary>
# What is $\langle\mathbf g, \operatorname{sign}(\mathbf g)\rangle$? What is $\langle\mathbf g, \mathbf g\rangle / \lVert\mathbf g\rVert_2$? And $g_i \operatorname{sign}(g_i)$ for the largest? So $q$ is 1, 2, ∞ for $p$ = ∞, 2, 1.
# </details>

# %% solution="best_gain"
def best_gain(g: torch.Tensor, eps: float, p: float) -> torch.Tensor:
    """The largest <g, delta> over all ||delta||_p <= eps, for each image; no image range.

    g: (B, ...) gradients. eps: radius, above 0. p: 1, 2 or math.inf. Returns (B,).
    """
    ### BEGIN SOLUTION
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return eps * norm(g, q)
    ### END SOLUTION

# %% test="best_gain" points=2
# Run this cell to check your best_gain. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect
from coursekit.perturbations.common import norm

exercise = checks.Exercise("best_gain", points=2)
slopes = torch.tensor([[3.0, -4.0, 0.0], [1.0, 2.0, -2.0]])
SAME = "This is eps times the norm with the same p. The gain is the dual norm: put the best step into <g, delta>."

@exercise.case("p = inf: every pixel gains")
def _(best_gain):
    expect.close(best_gain(slopes, 0.5, math.inf), torch.tensor([3.5, 2.5]), mistakes={
        SAME: torch.tensor([2.0, 1.0]), "eps is missing: the gain grows with the radius.": torch.tensor([7.0, 5.0]),
        "Derivatives of different sign cancel here. The step has the sign of each, so each term gains.": torch.tensor([-0.5, 0.5]),
    }, hint="<g, eps sign(g)> is eps times the sum of all |g_i|.")

@exercise.case("p = 2")
def _(best_gain):
    expect.close(best_gain(slopes, 0.5, 2), torch.tensor([2.5, 1.5]), mistakes={
        "eps is missing: the gain grows with the radius.": torch.tensor([5.0, 3.0]),
        "This is <g, eps g>: that step is as long as the gradient. It has to have length eps.": torch.tensor([12.5, 4.5]),
    }, hint="<g, eps g / ||g||_2> = eps ||g||_2.")

@exercise.case("p = 1: one pixel gains")
def _(best_gain):
    expect.close(best_gain(slopes, 0.5, 1), torch.tensor([2.0, 1.0]), mistakes={
        SAME: torch.tensor([3.5, 2.5]), "eps is missing: the gain grows with the radius.": torch.tensor([4.0, 2.0]),
        "The largest derivative by size counts, also a negative one.": torch.tensor([1.5, 1.0]),
    }, hint="All of eps goes to one pixel, that with the largest |g_i|.")

@exercise.case("images, one number each; a gradient of zero gains nothing; g is left as it was")
def _(best_gain):
    images = torch.tensor([[0.5, -1.0, 2.0, 0.5], [0.0, 0.0, 0.0, 0.0]]).reshape(2, 1, 2, 2)
    for p, gain in ((1, 2.0), (2, math.sqrt(5.5)), (math.inf, 4.0)):
        expect.close(best_gain(images, 3.0, p), torch.tensor([3 * gain, 0.0]), hint=f"p = {p}: one number for each image, over all its pixels.")
        expect.unchanged(best_gain)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes and radii", hint="eps times the dual norm of each image, in any shape.", hidden=True)
def _(best_gain):
    for shape, eps in (((1, 3, 2, 2), 0.03), ((5, 7), 4.0)):
        g = torch.randn(shape, dtype=torch.float64)
        for p, q in ((1, math.inf), (2, 2), (math.inf, 1)):
            expect.close(best_gain(g, eps, p), eps * norm(g, q))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# On a real digit, with a step of the usual radius in each norm. Above the prediction of the linear picture, $\epsilon\lVert\mathbf g\rVert_q$, and what the loss really did:

# %% demo="steepest-on-a-digit"
def reference_steepest(g, p):
    return LpBall(1.0, p).steepest(g)

your_steepest = checks.yours("steepest", reference_steepest)
image, label = x[6:7], y[6:7]
g = attacks.input_gradient(model, image, label)
stepped, captions = [], []
for name, (p, q) in {"L₁": (1, math.inf), "L₂": (2, 2), "L∞": (math.inf, 1)}.items():
    stepped.append((image + usual[p] * your_steepest(g, p)).clamp(0, 1))
    rise = (losses.cross_entropy(model(stepped[-1]), label) - losses.cross_entropy(model(image), label)).item()
    says = model(stepped[-1]).argmax().item()
    predicted = usual[p] * norm(g, q).item()
    captions.append(f"{name}, ε = {usual[p]:g}\npredicted rise {predicted:.2g}\nmeasured {rise:.2g}, “{says}”")
plots.changes(image, torch.cat(stepped), titles=captions, size=2.0)

# %% [markdown]
# Three attackers with one gradient: one repaints a single pixel (and wastes nine tenths of its step, for a pixel has room for 1 and not for 10), one shades the strokes, one moves everything. Notebook 3 turns the last one into FGSM.

# %% [markdown]
# ## 2.7 Small in meaning, far in every norm
#
# Now the last two points of the slide: $L_p$ balls "do not contain **all** semantically meaningless perturbations", and "a **small rotation** does typically not change the meaning of a picture but often corresponds to **large changes** in $L_p$ norm". Let us measure. `rotate(x, angle)` from the first cell turns a batch of images.
#
# ### Predict, then reveal
#
# Two different digits, taken at random, are about 10.3 apart in $L_2$; the usual radius is 2. **How far, in $L_2$, is a digit from itself turned by 10 degrees?** (The median of the 200.)

# %%
my_guess = None  # replace None by a number

# %% demo="ten-degrees"
turned = rotate(x, 10)
pairwise = torch.cdist(x.flatten(1), x.flatten(1)).masked_fill(y[:, None] == y, math.inf)
nearest_other = pairwise.min(dim=1).values.median().item()
checks.reveal(
    my_guess,
    ", ".join(f"{norm(turned - x, p).median():.3g} in {name}" for name, p in {"L2": 2, "L1": 1, "L-inf": math.inf}.items()),
    f"The usual radii are 2, 10 and 0.3. The nearest image of another digit (among these 200)\nis {nearest_other:.1f} away in L2.",
)

# %% demo="turned-digits"
shown = torch.cat([x[2:8], turned[2:8]])
plots.images(shown, titles=[f"“{k}”" for k in model(shown).argmax(dim=1).tolist()], rows=["x", "turned by 10°"])

# %% [markdown]
# Every stroke has moved by a pixel or so, and where it was is black now. A person reads both rows without noticing a difference; a norm compares pixel with pixel and sees hardly anything else.
#
# ### Exercise 2.7a: how many degrees fit into a ball? · medium · 10 minutes · 2 points
#
# Try the angles in the order given, and return for each image the **first** one at which the turned image lies outside of the closed $L_p$ ball, $\lVert\operatorname{rotate}(\mathbf x, \alpha) - \mathbf x\rVert_p > \epsilon$; `math.inf` if there is none. References: `rotate(x, angle)` and `norm(delta, p)`.
#
# <details><summary>Hint 1</summary>
# Fill a result <code>torch.full((len(x),), math.inf)</code>. Go through the angles; write an angle where the image is outside and the result is still infinite.
# </details>
# <details><summary>Hint 2</summary>
# Or stack the distances to <code>(A, B)</code>. The comparison with eps gives booleans; <code>.int().argmax(dim=0)</code> finds the first true one of each column, and also says 0 if there is none, so treat that case apart.
# </details>

# %% solution="first_angle_outside"
def first_angle_outside(x: torch.Tensor, angles: torch.Tensor, eps: float, p: float) -> torch.Tensor:
    """For each image the first of the angles by which it can be turned out of the closed L_p ball; inf if by none.

    x: (B, C, H, W) images. angles: (A,) degrees, in the order in which they are tried. eps: radius.
    p: 1, 2 or math.inf. Returns (B,) floats.
    """
    ### BEGIN SOLUTION
    first = torch.full((len(x),), math.inf)
    for angle in angles.tolist():
        outside = norm(rotate(x, angle) - x, p) > eps
        first = torch.where(outside & first.isinf(), angle, first)
    return first
    ### END SOLUTION

# %% test="first_angle_outside" points=2
# Run this cell to check your first_angle_outside. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks, data
from coursekit.checks import expect
from coursekit.perturbations import Rotation
from coursekit.perturbations.common import norm

exercise = checks.Exercise("first_angle_outside", points=2)

def turn(x, angle):
    return Rotation(180).render(x.new_tensor([[angle / 180, 0.0, 0.0]]).expand(len(x), 3), x)

def lengths_when_turned(x, angles, p):
    return torch.stack([norm(turn(x, angle) - x, p) for angle in angles.tolist()])

def clear_radius(x, angles, p, about):
    """A radius near `about` that no distance comes close to, so that rounding decides nothing."""
    table = lengths_when_turned(x, angles, p).flatten().sort().values
    gap = table.diff() - (table[:-1] + table.diff() / 2 - about).abs()
    at = int(gap.argmax())
    return (table[at] + table[at + 1]).item() / 2

def tell(got, x, angles, eps, p, hint=""):
    """The angles `got` are right, or else what they look like."""
    count = f"({len(x)},)"
    expect.that(isinstance(got, torch.Tensor) and not got.is_complex(), got, f"a tensor of shape {count}",
                "Did you forget a return?" if got is None else "Return a tensor with one angle for each image.")
    expect.that(tuple(got.shape) == (len(x),), f"shape {tuple(got.shape)}", f"shape {count}", "One angle for each image.")
    outside, degrees, got = lengths_when_turned(x, angles, p) > eps, angles.double(), got.double()

    def first(mask, order=degrees):
        return torch.where(mask.any(0), order[mask.int().argmax(0)], math.inf)

    expected = first(outside)
    position = outside.int().argmax(0)
    mistakes = {
        "This is the number of the angle in the list; the angle itself is asked for.": torch.where(outside.any(0), position, math.inf),
        "This is the last angle before the image leaves. The first one outside is asked for.": degrees[(position - 1).clamp_min(0)],
        "This is the first angle that is still inside.": first(~outside),
        "This is the last angle outside; the first is asked for.": first(outside.flip(0), degrees.flip(0)),
        "One angle for the whole batch: each image has its own.": expected.min().expand(len(x)),
    }
    fits = [why for why, value in mistakes.items() if torch.allclose(got, value.double(), atol=1e-3)]
    shown = [", ".join(f"{value:.3g}" for value in row.tolist()) for row in (got, expected)]
    expect.that(torch.allclose(got, expected, atol=1e-3), *shown, fits[0] if fits else hint)

@exercise.case("L2, real digits")
def _(first_angle_outside):
    x, angles = data.load("mnist", "test").x[:4], torch.arange(0.0, 16.0)
    eps = clear_radius(x, angles, 2, 4.0)
    tell(first_angle_outside(x, angles, eps, 2), x, angles, eps, 2, "For each angle: the norm of rotate(x, angle) - x, and is it above eps?")

@exercise.case("L1 and L-inf, clockwise")
def _(first_angle_outside):
    x, angles = data.load("mnist", "test").x[4:7], torch.arange(0.0, -20.0, -2.0)
    for p, about in ((1, 45.0), (math.inf, 0.75)):
        eps = clear_radius(x, angles, p, about)
        tell(first_angle_outside(x, angles, eps, p), x, angles, eps, p, f"p = {p}: does p reach the norm, and are the angles tried in their order?")

@exercise.case("an image that stays inside for all angles: inf")
def _(first_angle_outside):
    x = torch.zeros(2, 1, 8, 8)
    x[1, 0, :, :4] = 1.0
    angles = torch.tensor([5.0, 10.0, 15.0])
    tell(first_angle_outside(x, angles, 2.0, 2), x, angles, 2.0, 2, "A black square stays as it is: no angle leads outside, so the answer is math.inf.")

@exercise.case("the first, even if the image comes back later")
def _(first_angle_outside):
    x = torch.zeros(2, 1, 9, 9)
    x[0, 0, 4, :] = 1.0  # a bar: turned by 180 degrees it is itself again
    x[1, 0, :5, 4] = 1.0
    angles = torch.tensor([0.0, 60.0, 120.0, 180.0, 210.0 - 180.0])
    tell(first_angle_outside(x, angles, 1.0, 2), x, angles, 1.0, 2, "In the order of the list, the first angle outside; what comes after it does not matter.")
    expect.unchanged(first_angle_outside)

### BEGIN HIDDEN TESTS
@exercise.case("colour, another size, a single image, float64", hint="Any image (B, C, H, W), any list of angles, each norm.", hidden=True)
def _(first_angle_outside):
    x, angles = torch.rand(1, 3, 6, 5, dtype=torch.float64), torch.tensor([1.0, 4.0, 9.0, 30.0, 80.0])
    for p, about in ((1, 15.0), (2, 2.0), (math.inf, 0.4)):
        eps = clear_radius(x, angles, p, about)
        tell(first_angle_outside(x, angles, eps, p), x, angles, eps, p)
### END HIDDEN TESTS

exercise.score()

# %% demo="distance-by-angle"
def reference_first(x, angles, eps, p):
    distance = torch.stack([norm(rotate(x, angle) - x, p) for angle in angles.tolist()])
    outside = distance > eps
    return torch.where(outside.any(dim=0), angles[outside.int().argmax(dim=0)], math.inf)

first_outside = checks.yours("first_angle_outside", reference_first)
angles = torch.linspace(0, 30, 31)
for name, p in {"L1": 1, "L2": 2, "L-inf": math.inf}.items():
    first = first_outside(x, angles, usual[p], p)
    print(f"{name:>5} ball of radius {usual[p]:>4g}: the median digit leaves it at {first.median():.0f} degrees, "
          f"the last one at {first.max():.0f}")

lengths, marks = {}, {}
for p in 1, 2, math.inf:
    lengths[p] = torch.stack([norm(rotate(x, angle) - x, p) for angle in angles.tolist()])
    apart = torch.cdist(x.flatten(1), x.flatten(1), p=p).masked_fill(y[:, None] == y, math.inf)
    marks[p] = {"usual ε": usual[p], "nearest other digit": apart.min(dim=1).values.median().item()}
plots.distances(angles, lengths, marks)

# %% [markdown]
# Look for one radius that would do for all digits: that lets a turn by 15 degrees in and keeps other digits out. In none of the three norms is there one: at 15 degrees the band reaches up to the black line or above it, and that line is only the median of the nearest other digits, half of which are nearer. Where the blue line crosses the black one, a digit is as far from *its own* turned picture as from a picture of *another* digit.
#
# ### And does it fool the network?
#
# A perturbation set needs no formula. This one is a list of angles,
#
# $$\mathcal P_{\mathrm{rot}}(\mathbf x) = \{\operatorname{rotate}(\mathbf x, \alpha) : |\alpha| \le \alpha_{\max}\},$$
#
# and it has *one* dimension instead of 784. So it can be searched by trying: no gradient, no projection, no local maximum to be caught in.
#
# ### Exercise 2.7b: the worst angle · medium · 15 minutes · 3 points
#
# Return for each image the angle of the list at which its cross-entropy is largest; of several equally bad ones the first. References: `rotate(x, angle)` and `losses.cross_entropy(logits, y)`, one value per image.
#
# <details><summary>Hint 1</summary>
# For each angle one call of the model, on the whole batch turned by it: that gives a row of losses. Stack the rows to <code>(A, B)</code>.
# </details>
# <details><summary>Hint 2</summary>
# <code>.argmax(dim=0)</code> says for each image which row is worst (the first of equal ones), and <code>angles[...]</code> turns these numbers into angles.
# </details>

# %% solution="worst_angle"
def worst_angle(model, x: torch.Tensor, y: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """For each image the angle at which its cross-entropy is largest, the first of equal ones.

    model: returns logits (B, K), in eval mode. x: (B, C, H, W) images. y: (B,) labels. angles: (A,) degrees to try.
    Returns (B,) floats, each one of the angles.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        loss = torch.stack([losses.cross_entropy(model(rotate(x, angle)), y) for angle in angles.tolist()])
    return angles[loss.argmax(dim=0)]
    ### END SOLUTION

# %% test="worst_angle" points=3
# Run this cell to check your worst_angle. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data, losses
from coursekit.checks import expect
from coursekit.perturbations import Rotation

exercise = checks.Exercise("worst_angle", points=3, by_hand=["coursekit.attacks.exhaustive", "coursekit.attacks.landscape"])
digits = data.load("mnist", "test")
cnn = checks.model("mnist_cnn")

def loss_table(spec, x, y, angles):
    """(A, B): the loss of each image turned by each angle."""
    network, share = spec.build(), angles[:, None] / 180
    z = torch.cat([share, torch.zeros(len(angles), 2)], dim=1)
    with torch.no_grad():
        return torch.stack([losses.cross_entropy(network(Rotation(180).render(row.expand(len(x), 3), x)), y) for row in z])

def is_worst(got, spec, x, y, angles, hint=""):
    """Each angle is one of the list, and the loss there is the largest of the image's column."""
    table, degrees = loss_table(spec, x, y, angles), angles.double()
    got = expect.tensor(got, shape=(len(x),)).double()
    worst, best, lowest = table.argmax(0), table.max(0).values, table.min(0).values
    off, place = (got[:, None] - degrees).abs().min(1)
    looks_like = {
        "This is the number of the angle in the list: angles[...] makes an angle of it.": worst.double(),
        "This is in radians. Degrees are asked for, as in the list.": degrees[worst].deg2rad(),
        "This is the largest loss. The angle at which it occurs is asked for.": best.double(),
    }
    why = next((why for why, value in looks_like.items() if torch.allclose(got, value, atol=1e-3)), "Return one of the given angles for each image.")
    expect.that(bool((off < 1e-3).all()), ", ".join(f"{angle:.3g}" for angle in got.tolist()), "angles of the list", why)
    here = table[place, torch.arange(len(x))]
    if bool((here <= lowest + 1e-6).all()):
        hint = "These are the angles with the lowest loss. The attacker wants the highest."
    elif len(x) > 1 and len(set(place.tolist())) == 1:
        hint = hint or "All images got the same angle. Each has a worst angle of its own."
    short = int(((best - here) / best.abs().clamp_min(1e-6)).argmax())
    expect.that(bool((here >= best - 1e-3 * best.abs() - 1e-6).all()), f"image {short}: {got[short].item():.3g} degrees, with a loss of {here[short].item():.4g}",
                f"{degrees[worst[short]].item():.3g} degrees, with the largest loss, {best[short].item():.4g}",
                hint or "At which of the angles is the loss of this image largest?")

# Class 0 looks at the pixel at the top left, class 1 at the one in the middle of the right edge.
two_places = torch.zeros(2, 9)
two_places[0, 0] = two_places[1, 5] = 4.0
left_right = checks.network(("flatten",), ("linear", two_places, None), name="a linear classifier")

@exercise.case("real digits")
def _(worst_angle):
    x, y, angles = digits.x[:6], digits.y[:6], torch.linspace(-30, 30, 7)
    is_worst(worst_angle(cnn, x, y, angles), cnn, x, y, angles)

@exercise.case("the angles as they are given: in any order, and to one side only")
def _(worst_angle):
    x, y, angles = digits.x[4:8], digits.y[4:8], torch.tensor([25.0, 5.0, 40.0, 15.0])
    is_worst(worst_angle(cnn, x, y, angles), cnn, x, y, angles, "Try just the angles of the list.")

@exercise.case("the label counts: one image, once as a 0 and once as a 1")
def _(worst_angle):
    x = torch.zeros(2, 1, 3, 3)
    x[:, 0, 0, 1] = 1.0
    y, angles = torch.tensor([0, 1]), torch.tensor([-90.0, -45.0, 0.0, 45.0, 90.0])
    is_worst(worst_angle(left_right, x, y, angles), left_right, x, y, angles, "Is it the loss of y, of the label given?")

@exercise.case("of equally bad angles the first")
def _(worst_angle):
    dead = checks.network(("flatten",), ("linear", torch.zeros(3, 64), None), name="a constant classifier")
    got = worst_angle(dead, torch.rand(2, 1, 8, 8), torch.tensor([2, 0]), torch.tensor([10.0, -20.0, 30.0]))
    expect.close(expect.tensor(got, shape=(2,)).double(), torch.tensor([10.0, 10.0], dtype=torch.float64), mistakes={
        "This is the last of the equally bad angles; the first is asked for.": torch.tensor([30.0, 30.0]),
        "This is a number in the list, not an angle.": torch.tensor([0.0, 0.0]),
        "This is the loss; the angle is asked for.": torch.tensor([1.0986, 1.0986]),
        "The smallest of the angles; the first of the list is asked for.": torch.tensor([-20.0, -20.0]),
    }, hint="All losses are equal: the first angle of the list.")

@exercise.case("the caller's images and model are left as they were")
def _(worst_angle):
    x, y, angles = digits.x[2:4], digits.y[2:4], torch.tensor([-40.0, 40.0])
    got = worst_angle(cnn, x, y, angles)
    expect.unchanged(worst_angle)
    is_worst(got, cnn, x, y, angles)

### BEGIN HIDDEN TESTS
@exercise.case("colour, another size, other classes, a single image", hidden=True, hint="Any image (B, C, H, W), any number of classes and angles.")
def _(worst_angle):
    for count in (1, 3):
        net = checks.network(("flatten",), ("linear", torch.randn(5, 3 * 6 * 4), torch.randn(5)))
        x, y, angles = torch.rand(count, 3, 6, 4), torch.tensor([4, 0, 2])[:count], torch.linspace(-50, 60, 12)
        is_worst(worst_angle(net, x, y, angles), net, x, y, angles)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Predict, then reveal
#
# In the $L_\infty$ ball of radius 0.1 an attack (PGD with 20 steps) leaves the network right on about a third of the digits. **Of 100 digits, how many does it still read rightly if each may be turned by at most 30 degrees, either way?** And by at most 10?

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="rotation-result"
def reference_worst(model, x, y, angles):
    table = torch.stack([losses.cross_entropy(model(rotate(x, angle)), y) for angle in angles.tolist()])
    return angles[table.argmax(dim=0)]

find_worst = checks.yours("worst_angle", reference_worst)

def right_on(images):
    return 100 * (model(images).argmax(dim=1) == y).float().mean().item()

def each_turned(angles):
    return torch.cat([rotate(image, angle) for image, angle in zip(x.split(1), angles.tolist())])

angles = torch.linspace(-30, 30, 31)
with torch.no_grad():
    found = {limit: find_worst(model, x, y, angles[angles.abs() <= limit]) for limit in (10, 30)}
turned = {limit: each_turned(worst) for limit, worst in found.items()}
in_ball = attacks.pgd(model, x, y, LpBall(0.1, math.inf), steps=20, generator=torch.Generator().manual_seed(0))
checks.reveal(
    my_guess,
    f"{right_on(turned[30]):.0f} of 100 with at most 30 degrees, {right_on(turned[10]):.0f} of 100 with at most 10",
    f"Unturned it is {right_on(x):.0f}, under PGD in the L-inf ball of radius 0.1 it is {right_on(in_ball):.0f}. The images turned by up\n"
    f"to 30 degrees lie {norm(turned[30] - x, math.inf).median():.2f} away in L-inf and {norm(turned[30] - x, 2).median():.1f} in L2: no ball of a usual radius holds them.",
)

# %% demo="fooled-by-rotation"
# The first digits that only turning spoils, each at its worst angle.
fooled = ((model(x).argmax(dim=1) == y) & (model(turned[30]).argmax(dim=1) != y)).nonzero().flatten()[:7]
if len(fooled):
    shown = torch.cat([x[fooled], turned[30][fooled]])
    turns = [""] * len(fooled) + [f"{angle:+.0f}°: ".replace("-", "−") for angle in found[30][fooled].tolist()]
    captions = [f"{turn}“{k}”" for turn, k in zip(turns, model(shown).argmax(dim=1).tolist())]
    figure = plots.images(shown, titles=captions, rows=["x", "turned"], marked=[turn != "" for turn in turns])
figure if len(fooled) else print("No digit is spoilt by these angles.")

# %% [markdown]
# Ten degrees lead far out of every usual ball and hardly harm this network; thirty spoil nearly every second digit. (Nobody turns a 6 by 180 degrees and asks for a 6: a rotation set, too, has a limit beyond which it changes the meaning. At 30 degrees a few digits are hard for a person as well.)
#
# Why search and not climb? Because along the angle the loss is not a hill. Below are three digits, turned from −60 to 60 degrees. Where their losses are flat there is nothing to follow; on both sides they rise, to different heights; and small side peaks stop a climber who comes along.

# %% demo="loss-by-angle"
plots.loss_by_angle(model, x[[42, 59, 78]], y[[42, 59, 78]], Rotation(60))

# %% demo="climb-or-search"
some_x, some_y, turns = x[:100], y[:100], Rotation(30)

def report(what, x_adv):
    print(f"right on {(model(x_adv).argmax(dim=1) == some_y).float().mean():.0%} after {what}")

seed = torch.Generator().manual_seed(0)
climb = {"steps": 20, "generator": seed}
report("PGD on the angle: 20 steps up the gradient, from 0 degrees", attacks.pgd(model, some_x, some_y, turns, random_start=False, **climb))
report("PGD with 5 random starts: 100 gradients", attacks.pgd(model, some_x, some_y, turns, restarts=5, **climb))
report("trying 31 angles: no gradient at all", attacks.exhaustive(model, some_x, some_y, turns, points=31))

# %% [markdown]
# And does robustness in a ball help against rotations? Two networks that were trained to resist $L_\infty$ perturbations (notebook 7), with ε = 0.1 and 0.3, beside the ordinary one, and a network for traffic signs on its own data. Each curve says which share of the images is right at **every** angle up to the limit. (About five seconds.)

# %% demo="robust-against-rotation"
signs = data.load("signs", "test")
cases = {
    "ordinary network, digits": (model, x, y, "zeros"),
    "trained in L∞, ε = 0.1": (coursekit.models.load("mnist_cnn", training="pgd", eps=0.1), x, y, "zeros"),
    "trained in L∞, ε = 0.3": (coursekit.models.load("mnist_cnn", training="pgd", eps=0.3), x, y, "zeros"),
    "ordinary network, traffic signs": (coursekit.models.load("signs_cnn"), signs.x[:100], signs.y[:100], "border"),
}
limits = torch.arange(0, 46, 3)
lines = {}
for name, (network, images, labels, padding) in cases.items():
    table = attacks.landscape(network, images, labels, Rotation(45, padding=padding), points=31)
    reached = (torch.linspace(-45, 45, 31).abs()[None] <= limits[:, None] + 1e-3).float()  # which angles each limit allows
    fooled_by = table.fooled.float() @ reached.T > 0
    lines[name] = (limits, 1 - fooled_by.float().mean(dim=0))
    print(f"{name}: right on {lines[name][1][0]:.0%} unturned, {lines[name][1][10]:.0%} at up to 30 degrees")
plots.curves(lines, xlabel="largest angle in degrees", ylabel="right at every angle", chance=None)

# %% [markdown]
# The network that stands the larger ball stands rotations *less* well than the one with the smaller ball. Robust is not a property of a network; it is one of a network **and a set**.
#
# ### The other direction: near, and not the same
#
# A ball leaves out what it should hold. It also holds what it should leave out. On the left two perturbations that keep the meaning and lie outside of every usual ball; on the right two that lie inside of one and lose it.

# %% demo="both-directions"
everything = [data.load("mnist", split) for split in ("train", "test")]
sevens, nines = (torch.cat([part.x[part.y == k] for part in everything]) for k in (7, 9))
apart = torch.cdist(sevens.flatten(1), nines.flatten(1))
i, j = divmod(int(apart.argmin()), len(nines))  # the 7 and the 9 that are nearest to each other, of all 5,000 digits
seven, nine = sevens[i : i + 1], nines[j : j + 1]
between = (seven + nine) / 2

shifted = Rotation(0.0, shift=2.0).render(torch.tensor([[0.0, 1.0, 0.0]]), digit)
grey = LpBall(0.5, math.inf).project(torch.full_like(digit, 0.5), digit)
plots.changes(
    torch.cat([digit, digit, digit, seven]), torch.cat([rotate(digit, 15), shifted, grey, between]),
    titles=["turned by 15°:\na 3", "moved by 2 pixels:\na 3", "grey: in the\nL∞ ball of 0.5", "7 or 9? In the\nL₂ ball of 2"],
    size=1.8,
)

# %% demo="seven-or-nine"
plots.images(
    torch.cat([seven, between, nine]), titles=["a 7", "half-way", "a 9"], size=1.5,
    alt=f"A written 7, the mean of it and of a written 9, and the 9. The two are {apart.min():.2f} apart in L2, "
        "so the mean is half of that from each.",
)

# %% [markdown]
# The grey square lies in the $L_\infty$ ball of radius 0.5 around *every* image: there no classifier can be right on more than one class. That radius is not usual; the last picture needs nothing unusual. This 7 and this 9 of the data set are 3.8 apart in $L_2$, so that their mean lies in **both** balls of radius 2. Whatever a classifier says there, it is wrong for one of the two. So *every* classifier that reads both digits rightly has an adversarial example at one of them. The definition calls that a mistake of $f$; you may judge whose it is.
#
# So the stand-in fails on both sides. Why is it used at all? Because one can compute with it: distance, membership, nearest point and steepest step are a few lines each, as you have seen, and what is proven about it is proven. It is a **necessary** condition: a classifier that fails inside of a *tiny* ball is certainly not reading pictures as we do. It is not a sufficient one.
#
# ## 2.8 In your own words
#
# These two answers are read by a person. A few sentences each are enough.
#
# ### Question 2.8a: what a ball misses · medium · 10 minutes · 3 points
#
# (1) Name two perturbations of a photo, other than a rotation, that keep its meaning and are large in every $L_p$ norm, and say in a clause why they are large. (2) Name one that is small in some $L_p$ norm and changes the meaning. (3) What would you ask of a perturbation set instead, for a camera that reads traffic signs?

# %% [markdown] answer="what-a-ball-misses" points=3
# === BEGIN MARK SCHEME ===
# **1 point** for two perturbations that keep the meaning, half each with a reason: shift, zoom, crop, mirror (where the class allows it), another viewpoint, brightness or contrast or colour of the whole picture, another background, a thicker pen, blur, JPEG with strong compression, rain. Reason: norms compare pixel with pixel, and (nearly) every pixel or every edge changes. Rotation does not count; "noise" only if it is said to be large.
#
# **1 point** for one that is small in a named norm and changes the meaning: a few strokes or pixels that turn a 1 into a 7, a 3 into an 8, or "30" into "80" (small in L1, or in the number of pixels); the mean of a 7 and a 9 (L2); fading to grey (L-inf 0.5). The norm must be named and fit; half a point without it.
#
# **1 point** for demands on the set: it holds what really occurs or what an attacker really can do (viewpoint, distance, light, dirt, stickers, camera noise), and nothing that changes the class for a person; described by few parameters with limits so that it can be searched or certified; several sets rather than one. Half a point for one sensible demand without a reason.
# === END MARK SCHEME ===
# (1) Moving the photo by a few pixels, and turning up the brightness. A norm compares each pixel with the pixel at the same place: after a shift every edge lies elsewhere, and with more brightness every pixel differs a little, in $L_1$ and $L_2$ that adds up, and in $L_\infty$ a change of 0.3 is soon reached. (2) Closing the 3 of a "30" sign to an 8: a few dark pixels, small in $L_1$, and the speed limit is another one. (3) I would describe what happens to signs: angle and distance of view, light, dirt, a sticker of a certain size anywhere on the sign, camera noise. Each has a few parameters with limits that were chosen such that a person still reads the sign; then one can search the set or prove something about it. And I would report each of these sets separately, since being robust in one says little about another.

# %% [markdown]
# ### Question 2.8b: < or ≤? · medium · 10 minutes · 3 points
#
# The slide defines $\mathcal P_{\epsilon,p}$ with $<$, the course's code tests $\le$ with a tolerance. (1) Which two things exist in the closed ball and need not exist in the open one? (2) What goes wrong in code if one writes `< eps`, and what if one writes `<= eps` without a tolerance? (3) Does it matter for the *definition* of an adversarial example, or for the robust accuracy that one reports? Take a classifier of which the logits are continuous.

# %% [markdown] answer="open-or-closed" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: a worst point (the supremum of a continuous loss is attained on the closed, bounded ball) and a nearest point, i.e. a projection of points outside. Half each.
#
# **1 point**: with `<` every result that lies on the surface is refused, so those of FGSM and mostly those of PGD; with `<=` rounding decides: (x + eps) - x comes out larger than eps for many pixels, and one is enough, so that (nearly) every image is refused. Half each.
#
# **1 point**: hardly. With continuous logits a misclassified point with a strict lead of the wrong class has a whole neighbourhood that is misclassified, so if it lies on the surface there are others strictly inside: an adversarial example exists in the closed ball if and only if in the open one, except where only ties or points at a distance of exactly eps are at stake. The supremum of the loss is the same. And eps itself is chosen to one or two digits. (A plain "no, because eps is arbitrary" without any of these arguments: half a point. "Yes" with a correct border case, such as a nearest mistake at exactly eps: full point.)
# === END MARK SCHEME ===
# (1) A worst point, since a continuous loss takes its maximum on a closed and bounded set, and a nearest point to one outside, the projection. In the open ball one can only come ever closer. (2) `<` refuses all results on the surface, where FGSM always lands. `<=` leaves it to rounding: $(x+\epsilon)-x$ comes out above $\epsilon$ for more than half of all grey values, one such pixel is enough, and so every image was refused. (3) Hardly. If the wrong class leads strictly at a point on the surface, continuity gives a small neighbourhood in which it still leads, and part of that lies strictly inside; so an adversarial example exists in one set just when it exists in the other, except in the border case that the nearest mistake lies at a distance of exactly $\epsilon$. That changes no reported accuracy: ε is a round number that somebody chose.

# %% [markdown]
# ## What to take along
#
# * $\mathcal P(\mathbf x)$ should hold what keeps the meaning. $L_p$ balls are a stand-in that one can compute with, and an ε means nothing without its norm and its dimension.
# * The set is closed, includes the image range, and is tested with a tolerance that rounding needs and an attacker does not notice.
# * Projection: clip ($L_\infty$), scale ($L_2$), soft-threshold ($L_1$). With an image range, one after the other is not the nearest point of both, except for boxes.
# * Steepest step: signs ($L_\infty$), the gradient's direction ($L_2$), one pixel ($L_1$); it gains $\epsilon\lVert\mathbf g\rVert_q$, the dual norm.
# * A turn of a few degrees leaves every usual ball, and fools a network; a ball of a usual radius holds pictures of which the meaning is gone. Robustness is always robustness *in a set*.
#
# **Further**: Duchi, Shalev-Shwartz, Singer, Chandra, *Efficient projections onto the $\ell_1$-ball for learning in high dimensions*, 2008. Engstrom, Tran, Tsipras, Schmidt, Madry, *Exploring the landscape of spatial robustness*, 2019: rotations, and why one searches them. Tramèr, Behrmann, Carlini, Papernot, Jacobsen, *Fundamental tradeoffs between invariance and sensitivity to adversarial perturbations*, 2020: pictures inside of the ball that do change their meaning. Gilmer, Adams, Goodfellow, Andersen, Dahl, *Motivating the rules of the game for adversarial example research*, 2018: what attackers really may do.
