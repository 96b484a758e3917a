# %% [markdown]
# # 7 Adversarial training
#
# If attacks are that easy, let the network meet them while it still learns. **Adversarial training** is the defence that has held: put an attack inside the training loop, and train on what it finds. In this notebook you write it, find out why it is allowed to take the gradient that it takes, watch it change a decision boundary, see its cheap version collapse over night, and measure every line of the lecture's summary.
#
# **After this notebook you can**
#
# * tell the robust loss from the expected loss, and compute it exactly where that is possible;
# * say what Danskin's theorem allows, check it with numbers, and show a place where it does not apply;
# * write a step of adversarial training, and the loop around it, without the slips that cost days;
# * say what adversarial training gives and what it takes: robustness, accuracy, time, and no guarantee;
# * recognise catastrophic overfitting in a training history, and prevent it.
#
# **Slides**: "Robust Training" (two of this title), "Adversarial Training", "Adversarial Training: Danskin's Theorem", "Adversarial Training: Algorithm", "Adversarial Training: Summary". **Time**: about three and a half hours. **Points**: 30 from twelve functions that are checked at once, 6 from two texts that a person reads. Assignment 03, gradient attacks, explains FGSM and PGD; here you get them ready-made.
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other shapes, other numbers of classes and other values of ε. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves the tensors that it is given as they were.</div>
#
# **Notation**, as on the slides: $\mathbf x$ an image with pixels in $[0, 1]$, $y$ its label, $f_\theta$ the classifier with weights $\theta$, $\ell$ the loss, $\mathcal P(\mathbf x)$ the perturbation set, $\tilde{\mathbf x}$ a point of it. In code, `x` is a batch of images `(B, ...)` and `y` holds their `B` labels.

# %% readonly="setup"
import copy
import functools
import math
import time
from functools import partial

import torch
from torch import nn
from tqdm.auto import tqdm

from coursekit import attacks, checks, data, evaluation, losses, models, plots, training, widgets
from coursekit.perturbations import LpBall

torch.set_num_threads(1)  # networks as small as these run faster on a single thread

train_digits, test_digits = data.load("mnist"), data.load("mnist", "test")
standard_model = models.load("mnist_cnn")  # a small convolutional network, trained the ordinary way
robust_model = models.load("mnist_cnn", training="pgd", eps=0.1)  # the same, trained against PGD
x, y = test_digits.x[:100], test_digits.y[:100]


def inner_attack(model, x, y, eps):
    """Step 2 of the algorithm: five steps of PGD from x, in the L-inf ball of radius eps and [0, 1].

    model: returns logits; used in eval mode and left in its own, its .grad untouched.
    Returns x~ like x, detached.
    """
    ball = LpBall(eps, math.inf)
    return attacks.pgd(model, x, y, ball, steps=5, random_start=False, early_stop=False)


def careless_attack(model, x, y, eps):
    """The same five steps, as one writes them at first: see 7.5 for what that leaves behind."""
    ball, z = LpBall(eps, math.inf), x
    for _ in range(5):
        z = z.detach().requires_grad_()
        losses.cross_entropy(model(z), y).sum().backward()
        z = ball.project(z.detach() + 0.5 * eps * z.grad.sign(), x)
    return z


print(f"{len(train_digits.x)} digits to train on, {len(test_digits.x)} to test on")

# %% [markdown]
# ## 7.1 Two losses
#
# Ordinary training minimises the **expected loss**
#
# $$R = \mathop{\mathbb E}_{(\mathbf x, y)}\big[\ell(f_\theta(\mathbf x), y)\big],$$
#
# and so learns what is right *on average*. An attacker does not draw from the average; for each image it picks the worst point of $\mathcal P(\mathbf x)$. **Robust training** puts that into the objective, the **robust loss**:
#
# $$R_{\text{rob}} = \mathop{\mathbb E}_{(\mathbf x, y)}\Big[\sup_{\tilde{\mathbf x} \in \mathcal P(\mathbf x)} \ell(f_\theta(\tilde{\mathbf x}), y)\Big].$$
#
# Mind the order: first the worst point of **each** image, then the mean over the images. The attacker does not have to use one and the same trick for all of them.
#
# ### Exercise 7.1: the robust loss, candidate by candidate · easy · 10 minutes · 2 points
#
# Nobody can look at every point of $\mathcal P(\mathbf x)$. Say that for each image $R$ points of it are given, from several attacks: compute the robust loss over these. The reference for the loss of each image is `losses.cross_entropy(logits, y)`.
#
# <details><summary>Hint</summary>
# Collect the losses of all candidates in a table of shape <code>(R, B)</code> with <code>torch.stack</code>. Along which dimension is the maximum taken, along which the mean?
# </details>

# %% solution="robust_loss"
def robust_loss(model, candidates: torch.Tensor, y: torch.Tensor) -> float:
    """The mean over the images of the highest cross-entropy among an image's candidates.

    model: returns logits (B, K) for a batch (B, ...). candidates: (R, B, ...), R points of P(x) for
    each of B images. y: (B,) labels.
    Returns one number (a float, or a tensor with one element).
    """
    ### BEGIN SOLUTION
    table = torch.stack([losses.cross_entropy(model(points), y) for points in candidates])
    return table.amax(dim=0).mean().item()
    ### END SOLUTION

# %% test="robust_loss" points=2
# Run this cell to check your robust_loss. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks, data, losses
from coursekit.checks import expect
from coursekit.perturbations import LpBall

exercise = checks.Exercise("robust_loss", points=2, by_hand=["coursekit.losses.robust_loss"])
two_pixels = checks.network(("linear", torch.eye(2), None), name="logits = pixels")

def one_number(got, images):
    """The robust loss, after a look at how many numbers came back."""
    if isinstance(got, list) and len(got) == 2 and isinstance(got[0], torch.Tensor):
        expect.that(False, got, "one number", "torch.max with a dim returns two things, values and indices: take .values, or use torch.amax.")
    many = isinstance(got, torch.Tensor) and got.numel() > 1
    expect.that(not many, got, "one number", "One value for each image: the mean over the images is missing." if many and got.numel() == images
                else "More than one number: first the maximum over the candidates, then the mean over the images.")
    return expect.number(got)

@exercise.case("three candidates for each of four images: worst of each image, then the mean")
def _(robust_loss):
    candidates = torch.tensor([[[0.9, 0.1], [0.0, 1.0], [0.5, 0.5], [0.9, 0.2]],
                               [[0.4, 0.5], [0.6, 0.5], [0.0, 0.9], [0.8, 0.3]],
                               [[0.1, 0.7], [0.3, 0.6], [0.9, 0.2], [0.4, 0.6]]])
    y = torch.tensor([0, 0, 0, 1])
    table = torch.stack([losses.cross_entropy(points, y) for points in candidates])
    expect.close(one_number(robust_loss(two_pixels, candidates, y), 4), table.amax(0).mean().item(), mistakes={
        "This is the mean over all candidates, an expected loss. The attacker picks the worst point of each image.": table.mean().item(),
        "The mean came first: this is the worst run for the whole batch. Each image has a worst candidate of its own.":
            table.mean(1).amax().item(),
        "This is the sum over the images. The expectation is a mean.": table.amax(0).sum().item(),
        "You take the lowest loss of each image. Robust training fears the highest.": table.amin(0).mean().item(),
        "This is the single highest loss of all. For each image the worst candidate, then the mean over the images.": table.max().item(),
        "For each candidate you take the worst image. For each image take the worst candidate: the maximum goes over the other dimension.":
            table.amax(1).mean().item(),
        "Only the first candidate counts for you.": table[0].mean().item(),
        "Only the last candidate counts for you: the best so far must be kept.": table[-1].mean().item(),
    }, hint="A table of losses, (R, B): the maximum over R, then the mean over B.")

@exercise.case("a single candidate: the expected loss", hint="With one point in P(x) only a mean is left.")
def _(robust_loss):
    points, y = torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.3]]]), torch.tensor([0, 0, 1])
    expect.close(one_number(robust_loss(two_pixels, points, y), 3), losses.cross_entropy(points[0], y).mean().item(), mistakes={
        "This is the sum over the images. The expectation is a mean.": losses.cross_entropy(points[0], y).sum().item(),
        "This is the worst image. Of the images take the mean.": losses.cross_entropy(points[0], y).max().item(),
    }, hint="With one point in P(x) nothing is left to choose: the mean of the losses.")

@exercise.case("real digits, as they are and after FGSM: between the expected loss and infinity")
def _(robust_loss):
    digits, cnn = data.load("mnist", "test"), checks.model("mnist_cnn")
    x, y, network = digits.x[:12], digits.y[:12], cnn.build()
    far, near = (attacks.fgsm(network, x, y, LpBall(eps, math.inf)) for eps in (0.1, 0.02))
    # Which candidate is the worst differs from image to image.
    even = (torch.arange(12) % 2 == 0)[:, None, None, None]
    candidates = torch.stack([x, torch.where(even, far, near), torch.where(even, near, far)])
    with torch.no_grad():
        table = torch.stack([losses.cross_entropy(network(points), y) for points in candidates])
    expect.close(one_number(robust_loss(cnn, candidates, y), 12), table.amax(0).mean().item(), tolerance=1e-3, mistakes={
        "This is the mean over all candidates, an expected loss.": table.mean().item(),
        "The mean came first. Each image has a worst candidate of its own.": table.mean(1).amax().item(),
        "Only the first candidate counts for you.": table[0].mean().item(),
        "Only the last candidate counts for you.": table[-1].mean().item(),
    }, hint="The highest loss of each image, then the mean.")
    expect.unchanged(robust_loss)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, more candidates than images, a single image", hidden=True,
               hint="Candidates come first, images second; any number of classes, any shape of image.")
def _(robust_loss):
    net = checks.network(("flatten",), ("linear", 3 * torch.randn(5, 12), None))
    for images in (4, 1):
        candidates, y = torch.rand(7, images, 3, 2, 2), torch.randint(0, 5, (images,))
        table = torch.stack([losses.cross_entropy(net.build()(points), y) for points in candidates]).detach()
        expect.close(expect.number(robust_loss(net, candidates, y)), table.amax(0).mean().item())
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Here are both losses of two real networks, on a hundred test digits with $\epsilon = 0.1$. What is printed as robust loss is only what three attacks found: a **lower** bound. The supremum may be higher.

# %% demo="two-losses"
def reference_robust_loss(model, candidates, y):
    each = [losses.robust_loss(model, points, y, lambda model, points, y: points) for points in candidates]
    return functools.reduce(torch.maximum, each).mean().item()

your_robust_loss = checks.yours("robust_loss", reference_robust_loss)
ball = LpBall(0.1, math.inf)
for name, network in (("standard training", standard_model), ("adversarial training", robust_model)):
    found = torch.stack([x, attacks.fgsm(network, x, y, ball), inner_attack(network, x, y, 0.1)])
    expected, robust = (your_robust_loss(network, points, y) for points in (found[:1], found))
    print(f"{name:<21} expected loss {expected:.3f}   robust loss at least {robust:.3f}")

# %% [markdown]
# The ordinary network is excellent at what it was asked for. It was asked for the wrong thing.
#
# ## 7.2 A model whose worst case is known
#
# To see what robust training does, start where the supremum can be written down. Take a linear classifier of two classes, $f(\mathbf x) = \mathbf w^\top \mathbf x + b$, with labels $y \in \{-1, +1\}$: it says $+1$ where $f$ is positive. Its loss is the logistic one (cross-entropy for two classes),
#
# $$\ell(f(\mathbf x), y) = \log\big(1 + e^{-y f(\mathbf x)}\big),$$
#
# which falls as the *margin* $y f(\mathbf x)$ grows. So the worst point is the one with the smallest margin. In this section and the next two we leave the image range $[0, 1]$ aside: $\mathcal P(\mathbf x)$ is the whole ball.
#
# ### Exercise 7.2a: the worst point · easy · 10 minutes · 2 points
#
# Return for every image the point of its $L_\infty$ ball of radius $\epsilon$ at which the loss is highest.
#
# <details><summary>Hint</summary>
# $y\, \mathbf w^\top (\mathbf x + \boldsymbol\delta) = y\, \mathbf w^\top \mathbf x + \sum_i y\, w_i \delta_i$. Each $\delta_i$ may be chosen alone, from $[-\epsilon, \epsilon]$: which choice makes its term as small as it can be? (<code>y[:, None]</code> has the shape <code>(B, 1)</code>.)
# </details>

# %% solution="worst_point"
def worst_point(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """The point of each image's L-inf ball with the highest loss log(1 + exp(-y (w x + b))),
    whatever b is.

    w: (d,) weights. x: (B, d) images, of any values. y: (B,) floats, -1. or 1. eps: radius, 0 or
    more.
    Returns a tensor like x, not clamped to any range. Where a weight is 0 any value in the interval
    is right.
    """
    ### BEGIN SOLUTION
    return x - eps * torch.outer(y, w.sign())
    ### END SOLUTION

# %% test="worst_point" points=2
# Run this cell to check your worst_point. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("worst_point", points=2, by_hand=["coursekit.training.linear.worst_point"])

@exercise.case("two images, one of each class")
def _(worst_point):
    w, x = torch.tensor([2.0, -0.5, 1.0]), torch.tensor([[0.5, 0.4, 0.3], [0.6, 0.2, 0.8]])
    y, signs = torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0, 1.0])
    expected = x - 0.1 * y[:, None] * signs
    expect.close(expect.tensor(worst_point(w, x, y, 0.1), like=x), expected, mistakes={
        "The margin grows: this is the best point of the ball. The worst lies on the other side.": x + 0.1 * y[:, None] * signs,
        "The label is left out: for images of class -1 this point is the best of all.": x - 0.1 * signs,
        "The label is left out, and for images of class 1 this point is the best of all.": x + 0.1 * signs,
        "You go along w itself. In the L-inf ball every pixel may use its whole eps: what of w_i matters?": x - 0.1 * y[:, None] * w,
        "This is the perturbation alone. Add it to x.": expected - x,
        "You go along w in the L2 ball. In the L-inf ball every pixel may use its whole eps.": x - 0.1 * y[:, None] * w / w.norm(),
        "Every pixel moves the same way. Which way depends on the sign of its weight.": x - 0.1 * y[:, None],
        "Only the pixel with the largest weight moves. In the L-inf ball every pixel may use its whole eps.":
            x - 0.1 * y[:, None] * torch.tensor([1.0, 0.0, 0.0]),
    }, hint="For each pixel: the end of [x_i - eps, x_i + eps] at which y * w_i * x_i is smaller.")

@exercise.case("a larger eps, and no range to keep to")
def _(worst_point):
    w, x, y = torch.tensor([1.0, -3.0]), torch.tensor([[0.2, 0.9]]), torch.tensor([1.0])
    expect.close(expect.tensor(worst_point(w, x, y, 0.5), like=x), torch.tensor([[-0.3, 1.4]]), mistakes={
        "You clamp to [0, 1]. In this section the set is the whole ball.": torch.tensor([[0.0, 1.0]]),
        "Is eps used, or a number written out?": torch.tensor([[0.1, 1.0]]),
    }, hint="Each pixel moves by exactly eps.")

@exercise.case("a weight of zero, float64; x is left as it was", hint="w_i / |w_i| is NaN for a weight of zero.")
def _(worst_point):
    w, x = torch.tensor([0.0, 2.0], dtype=torch.float64), torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    got = expect.tensor(worst_point(w, x, torch.tensor([-1.0], dtype=torch.float64), 0.1), like=x)
    expect.close(got[:, 1], torch.tensor([0.6], dtype=torch.float64), hint="y = -1: the worst point has the largest w x.")
    expect.that(abs(got[0, 0].item() - 0.5) <= 0.1 + 1e-6, got[0, 0].item(), "within eps of 0.5")
    expect.unchanged(worst_point)

### BEGIN HIDDEN TESTS
@exercise.case("many pixels, both classes", hint="As above; nothing about the number of pixels may be written out.", hidden=True)
def _(worst_point):
    w, x, y = torch.randn(30), torch.randn(9, 30), torch.tensor([1.0, -1, -1, 1, 1, -1, 1, -1, -1])
    for eps in (0.03, 2.0):
        expect.close(expect.tensor(worst_point(w, x, y, eps), like=x), x - eps * y[:, None] * w.sign())
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Put the worst point into the margin, and the supremum is gone from the formula:
#
# $$\min_{\lVert\boldsymbol\delta\rVert_\infty \le \epsilon} y\,\big(\mathbf w^\top(\mathbf x + \boldsymbol\delta) + b\big) = y f(\mathbf x) - \epsilon \sum_i |w_i| = y f(\mathbf x) - \epsilon \lVert\mathbf w\rVert_1 .$$
#
# The attacker takes the same amount off every margin, and the amount is a *norm of the weights*. The same holds for the other balls. Only the norm changes, to the **dual** one: the $L_p$ ball costs $\epsilon \lVert\mathbf w\rVert_q$ with $\frac1p + \frac1q = 1$ (Hölder's inequality): $p = \infty$ goes with $q = 1$, $p = 2$ with $q = 2$, $p = 1$ with $q = \infty$.
#
# ### Exercise 7.2b: the robust loss in closed form · medium · 15 minutes · 3 points
#
# Return $\sup_{\tilde{\mathbf x}} \log(1 + e^{-y f(\tilde{\mathbf x})})$ for each image and for $p \in \{1, 2, \infty\}$. A margin of $-1000$ must not give `inf`.
#
# <details><summary>Hint</summary>
# First the worst margin, then the loss of it. <code>torch.linalg.vector_norm(w, ord=...)</code> takes 1, 2 and <code>math.inf</code>; <code>torch.nn.functional.softplus(z)</code> is $\log(1 + e^z)$ without overflow.
# </details>

# %% solution="exact_robust_loss"
def exact_robust_loss(w: torch.Tensor, b: float, x: torch.Tensor, y: torch.Tensor,
                      eps: float, p: float) -> torch.Tensor:
    """The highest value of log(1 + exp(-y (w x~ + b))) in the L_p ball of radius eps around each
    image.

    w: (d,) weights. b: a number. x: (B, d) images. y: (B,) floats, -1. or 1. eps: radius, 0 or
    more. p: 1, 2 or math.inf.
    Returns (B,) values in the dtype of x, finite also for margins in the thousands.
    """
    ### BEGIN SOLUTION
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    smallest_margin = y * (x @ w + b) - eps * w.norm(p=q)
    return nn.functional.softplus(-smallest_margin)
    ### END SOLUTION

# %% test="exact_robust_loss" points=3
# Run this cell to check your exact_robust_loss. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from torch.nn.functional import softplus
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("exact_robust_loss", points=3, by_hand=["coursekit.training.linear.robust_loss"])
some_w, some_b = torch.tensor([3.0, -4.0, 1.0]), 0.5
some_x, some_y = torch.tensor([[0.9, 0.2, 0.3], [0.1, 0.8, 0.4]]), torch.tensor([1.0, -1.0])
some_margin = some_y * (some_x @ some_w + some_b)
norms = {1: 8.0, 2: math.sqrt(26), math.inf: 4.0}

def slips(eps, right):
    """What a typical slip gives, apart from the norm; `right`: the norm that belongs there."""
    return {
        "The margin grew: the attacker adds eps times the norm to it. The attacker takes away.": softplus(-(some_margin + eps * right)),
        "eps is not used: this is the ordinary loss.": softplus(-some_margin),
        "The label is left out.": softplus(-(some_x @ some_w + some_b - eps * right)),
        "b is left out.": softplus(-(some_y * (some_x @ some_w) - eps * right)),
        "This is the worst margin. The loss of it is asked for.": some_margin - eps * right,
        "This is the loss of minus the worst margin: log(1 + exp(-margin)).": softplus(some_margin - eps * right),
        "The norm is squared.": softplus(-(some_margin - eps * right**2)),
        "The attacker's part is multiplied with the label, so for class -1 the margin grows. It is taken off every margin.":
            softplus(-(some_y * (some_x @ some_w + some_b - eps * right))),
        "This is the hinge loss. The logistic one is asked for.": (1 - (some_margin - eps * right)).clamp_min(0),
    }

@exercise.case("p = inf")
def _(exact_robust_loss):
    got = expect.tensor(exact_robust_loss(some_w, some_b, some_x, some_y, 0.1, math.inf), like=some_margin)
    expect.close(got, softplus(-(some_margin - 0.1 * norms[1])), mistakes=slips(0.1, norms[1]) | {
        "That is the norm of p itself. Its dual is needed: for p = inf the sum of all |w_i|.": softplus(-(some_margin - 0.1 * norms[math.inf])),
        "That is the L2 norm. For p = inf the dual norm is the sum of all |w_i|.": softplus(-(some_margin - 0.1 * norms[2])),
        "The weights are added up with their signs. A norm adds up sizes.": softplus(-(some_margin - 0.1 * some_w.sum())),
    }, hint="Take eps * ||w||_1 off each margin y f(x); then the loss.")

@exercise.case("p = 2")
def _(exact_robust_loss):
    got = expect.tensor(exact_robust_loss(some_w, some_b, some_x, some_y, 0.2, 2), like=some_margin)
    expect.close(got, softplus(-(some_margin - 0.2 * norms[2])), mistakes=slips(0.2, norms[2]) | {
        "That is right for p = inf only.": softplus(-(some_margin - 0.2 * norms[1])),
    }, hint="For p = 2 the dual norm is the L2 norm.")

@exercise.case("p = 1")
def _(exact_robust_loss):
    got = expect.tensor(exact_robust_loss(some_w, some_b, some_x, some_y, 0.3, 1), like=some_margin)
    expect.close(got, softplus(-(some_margin - 0.3 * norms[math.inf])), mistakes=slips(0.3, norms[math.inf]) | {
        "That is the norm of p itself. Its dual is needed: for p = 1 the largest |w_i|.": softplus(-(some_margin - 0.3 * norms[1])),
        "You take the largest w_i. A negative weight can be the largest in size.": softplus(-(some_margin - 0.3 * some_w.max())),
    }, hint="In the L1 ball the attacker spends all of eps on one pixel. On which?")

@exercise.case("a margin of minus a thousand: a loss of a thousand", hint="log(1 + e^z) for z = 1000: use softplus or logaddexp.")
def _(exact_robust_loss):
    huge, point = torch.tensor([1000.0]), torch.tensor([[1.0], [-1.0]])
    got = expect.tensor(exact_robust_loss(huge, 0.0, point, torch.tensor([-1.0, -1.0]), 0.0, math.inf), shape=(2,),
                        hint="log(1 + e^z) overflows for z = 1000, although the result does not: use softplus or logaddexp.")
    expect.close(got, torch.tensor([1000.0, 0.0]), mistakes={
        "A bound on the exponent bounds the loss. Use softplus, which needs none.": torch.tensor([100.0, 0.0])})
    expect.unchanged(exact_robust_loss)

### BEGIN HIDDEN TESTS
@exercise.case("many pixels, float64, a single image", hint="The dual norm, taken off the margin; then the loss; in the dtype of x.", hidden=True)
def _(exact_robust_loss):
    for images in (1, 6):
        w, x = torch.randn(20, dtype=torch.float64), torch.randn(images, 20, dtype=torch.float64)
        y = torch.where(torch.rand(images) < 0.5, -1.0, 1.0).double()
        for p, q in ((1, math.inf), (2, 2), (math.inf, 1)):
            worst = y * (x @ w - 0.7) - 0.25 * torch.linalg.vector_norm(w, ord=q)
            expect.close(expect.tensor(exact_robust_loss(w, -0.7, x, y, 0.25, p), like=worst), softplus(-worst))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Does it hold on real digits? We train a linear classifier to tell threes from sevens, and put the exact robust loss beside what PGD finds. For a linear model the loss is one straight slope, so PGD gets to the very corner that you computed.

# %% demo="three-or-seven"
chosen = (train_digits.y == 3) | (train_digits.y == 7)
pixels = train_digits.x[chosen].flatten(1).double()[:300]
signs = torch.where(train_digits.y[chosen] == 3, 1.0, -1.0).double()[:300]
w = 0.1 * torch.randn(784, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
b = torch.zeros((), dtype=torch.float64)
w.requires_grad_(), b.requires_grad_()
optimizer = torch.optim.Adam([w, b], lr=0.02)
for _ in range(80):
    optimizer.zero_grad()
    training.linear.robust_loss(w, b, pixels, signs, 0.0).mean().backward()
    optimizer.step()
w, b = w.detach(), b.item()

def two_logits(points):  # the same classifier with a logit for each class: 0 and f(x)
    f = points @ w + b
    return torch.stack([torch.zeros_like(f), f], dim=1)

your_exact = checks.yours("exact_robust_loss", training.linear.robust_loss)
everywhere = LpBall(0.05, math.inf, bounds=(-math.inf, math.inf))
threes = (signs > 0).long()
climbed = attacks.pgd(two_logits, pixels, threes, everywhere, steps=10, random_start=False, early_stop=False)
ordinary, exact = (your_exact(w, b, pixels, signs, eps, math.inf).mean() for eps in (0.0, 0.05))
print(f"ordinary loss                                   {ordinary:.4f}")
print(f"robust loss for ε = 0.05, p = inf, closed form  {exact:.4f}")
print(f"what PGD with 10 steps finds                    {losses.cross_entropy(two_logits(climbed), threes).mean():.4f}")

# %% [markdown]
# ## 7.3 Danskin's theorem, checked
#
# To train on the robust loss by gradient descent one needs its gradient with respect to the **weights**. For each image that is
#
# $$\nabla_\theta \Big(\sup_{\tilde{\mathbf x} \in \mathcal P(\mathbf x)} \ell(f_\theta(\tilde{\mathbf x}), y)\Big),$$
#
# and there is a difficulty: change $\theta$ a little and the worst point moves, too. Does one have to know *how* it moves, and differentiate through the attack? **Danskin's theorem** says no. Let $\Delta(\theta)$ be the set of worst points. If it holds a single one, $\Delta(\theta) = \{\tilde{\mathbf x}^*_\theta\}$, then
#
# $$\nabla_\theta \Big(\sup_{\tilde{\mathbf x}} \ell(f_\theta(\tilde{\mathbf x}), y)\Big) = \nabla_\theta\, \ell\big(f_\theta(\tilde{\mathbf x}^*_\theta), y\big) \quad\text{with } \tilde{\mathbf x}^*_\theta \text{ held fixed.}$$
#
# Find the worst point, then forget that it depends on $\theta$. A theorem about a gradient can be tested by anyone with a calculator: move each weight by a hair, and look what the *true* robust loss does. For the linear model you have the true one.
#
# ### Exercise 7.3a: the slope, without any theorem · easy · 10 minutes · 2 points
#
# Let $R(\mathbf w)$ be the exact robust loss, averaged over the batch ($p = \infty$). Return its central difference in each weight, $\dfrac{R(\mathbf w + h\,\mathbf e_i) - R(\mathbf w - h\,\mathbf e_i)}{2h}$, where $\mathbf e_i$ is 1 at place $i$ and 0 elsewhere. The reference for the exact robust loss is `training.linear.robust_loss(w, b, x, y, eps)`, of shape `(B,)`.
#
# <details><summary>Hint</summary>
# A loop over <code>i</code>. Each turn needs two copies of <code>w</code> with one entry changed: <code>up = w.clone()</code>. The rows of <code>h * torch.eye(len(w), dtype=w.dtype)</code> are the $h\,\mathbf e_i$.
# </details>

# %% solution="finite_differences"
def finite_differences(w: torch.Tensor, b: float, x: torch.Tensor, y: torch.Tensor,
                       eps: float, h: float) -> torch.Tensor:
    """Central differences of the mean exact robust loss (p = inf) in every weight.

    w: (d,) weights. b: a number. x: (B, d) images. y: (B,) floats, -1. or 1. eps: radius. h: the
    step, above 0.
    Returns (d,) slopes in the dtype of w; w is left as it was.
    """
    ### BEGIN SOLUTION
    def mean_loss(weights):
        return training.linear.robust_loss(weights, b, x, y, eps).mean()

    moves = h * torch.eye(len(w), dtype=w.dtype)
    return torch.stack([mean_loss(w + move) - mean_loss(w - move) for move in moves]) / (2 * h)
    ### END SOLUTION

# %% test="finite_differences" points=2
# Run this cell to check your finite_differences. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect
from coursekit.training import linear

exercise = checks.Exercise("finite_differences", points=2, by_hand=[
    "coursekit.training.linear.measured_gradient", "coursekit.training.linear.gradient"])
some_w, some_b = torch.tensor([3.0, -4.0, 1.0], dtype=torch.float64), 0.5
some_x = torch.tensor([[0.9, 0.2, 0.3], [0.1, 0.8, 0.4], [0.5, 0.6, 0.1]], dtype=torch.float64)
some_y = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)

def difference(some_w, some_b, some_x, some_y, eps, h, up=1.0, down=1.0):
    """(R(w + up h e_i) - R(w - down h e_i)) / ((up + down) h) for every i."""
    def mean_loss(weights):
        return linear.robust_loss(weights, some_b, some_x, some_y, eps).mean()
    steps = torch.eye(len(some_w), dtype=some_w.dtype) * h
    return torch.stack([(mean_loss(some_w + up * e) - mean_loss(some_w - down * e)) / ((up + down) * h) for e in steps])

def never_put_back(some_w, some_b, some_x, some_y, eps, h, shift=1.0):
    """The slopes if weight i stays at w_i + shift * h while the weights after it are tried."""
    steps = torch.eye(len(some_w), dtype=some_w.dtype) * h
    return torch.stack([difference(some_w + shift * steps[:i].sum(0), some_b, some_x, some_y, eps, h)[i] for i in range(len(steps))])

def both_stay(some_w, some_b, some_x, some_y, eps, h):
    """The slopes if one copy collects all steps up, the other all steps down."""
    def mean_loss(weights):
        return linear.robust_loss(weights, some_b, some_x, some_y, eps).mean()
    steps = torch.eye(len(some_w), dtype=some_w.dtype) * h
    return torch.stack([(mean_loss(some_w + steps[:i + 1].sum(0)) - mean_loss(some_w - steps[:i + 1].sum(0))) / (2 * h) for i in range(len(steps))])

@exercise.case("three images, three weights, a step large enough to tell the formulas apart")
def _(finite_differences):
    got = expect.tensor(finite_differences(some_w, some_b, some_x, some_y, 0.1, 0.4), like=some_w)
    right = difference(some_w, some_b, some_x, some_y, 0.1, 0.4)
    expect.close(got, right, mistakes={
        "This is the forward difference: from w, not from w - h e_i.": difference(some_w, some_b, some_x, some_y, 0.1, 0.4, down=0.0),
        "This is the backward difference: up to w, not up to w + h e_i.": difference(some_w, some_b, some_x, some_y, 0.1, 0.4, up=0.0),
        "Twice too much: the two points lie 2h apart.": 2 * right,
        "Python reads / 2 * h as (... / 2) * h. Write / (2 * h).": right * 0.4**2,
        "Both losses come from the same weights: up = w is no copy, so what moves down moves up, too. Write w.clone().": torch.zeros_like(right),
        "A weight that was moved stays moved: start again from w for each one.": never_put_back(some_w, some_b, some_x, some_y, 0.1, 0.4),
        "A weight that was moved stays moved: start again from w for each weight.": never_put_back(some_w, some_b, some_x, some_y, 0.1, 0.4, -1.0),
        "The copies are made once: all weights moved so far stay moved. Make new ones for each weight.": both_stay(some_w, some_b, some_x, some_y, 0.1, 0.4),
        "The difference is not divided by the distance of the two points, 2h.": right * 2 * 0.4,
        "The losses of the batch are added up. R is their mean.": len(some_x) * right,
        "The sign is wrong: the loss at w - h e_i is taken away from the one at w + h e_i.": -right,
        "These are slopes of the ordinary loss: eps does not arrive.": difference(some_w, some_b, some_x, some_y, 0.0, 0.4),
        "All weights move together. Each slope moves one weight and leaves the others.":
            ((linear.robust_loss(some_w + 0.4, some_b, some_x, some_y, 0.1).mean() - linear.robust_loss(some_w - 0.4, some_b, some_x, some_y, 0.1).mean()) / 0.8).expand(3),
    }, hint="One weight at a time: h up, h down, the difference of the two losses, divided by 2h.")

@exercise.case("a small step: the gradient of the closed form")
def _(finite_differences):
    got = expect.tensor(finite_differences(some_w, some_b, some_x, some_y, 0.2, 1e-5), like=some_w)
    expect.close(got, difference(some_w, some_b, some_x, some_y, 0.2, 1e-5), tolerance=1e-6, mistakes={
        "Twice too much: the two points lie 2h apart.": 2 * difference(some_w, some_b, some_x, some_y, 0.2, 1e-5),
        "These are slopes of the ordinary loss: eps does not arrive.": difference(some_w, some_b, some_x, some_y, 0.0, 1e-5),
        "The losses of the batch are added up. R is their mean.": 3 * difference(some_w, some_b, some_x, some_y, 0.2, 1e-5),
        "The sign is wrong: the loss at w - h e_i is taken away from the one at w + h e_i.": -difference(some_w, some_b, some_x, some_y, 0.2, 1e-5),
        "No difference between the two losses: is up a copy, and is the division / (2 * h)?": torch.zeros(3, dtype=torch.float64)},
        hint="Is h used, or a step written out? Is everything in float64?")

@exercise.case("w is left as it was", hint="Work on a copy: w.clone().")
def _(finite_differences):
    expect.tensor(finite_differences(some_w, some_b, some_x, some_y, 0.1, 1e-4), like=some_w)
    expect.unchanged(finite_differences)

### BEGIN HIDDEN TESTS
@exercise.case("another number of weights, a single image", hint="One slope for every weight; the mean over any number of images.", hidden=True)
def _(finite_differences):
    for images, d in ((1, 5), (7, 2)):
        w, x = torch.randn(d, dtype=torch.float64), torch.randn(images, d, dtype=torch.float64)
        y = torch.where(torch.rand(images) < 0.5, -1.0, 1.0).double()
        expect.close(expect.tensor(finite_differences(w, -0.2, x, y, 0.15, 0.3), like=w), difference(w, -0.2, x, y, 0.15, 0.3))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Exercise 7.3b: the slope by Danskin's theorem · medium · 15 minutes · 3 points
#
# Now the theorem's way: find the worst points, hold them fixed, and take the gradient of the mean *ordinary* loss there, with respect to $\mathbf w$. The reference for the worst points is `training.linear.worst_point(w, x, y, eps)`.
#
# <details><summary>Hint 1</summary>
# By hand: the derivative of $\log(1 + e^{-m})$ with respect to the margin is $-\sigma(-m)$, where $\sigma$ is <code>torch.sigmoid</code>, and the margin $m = y(\mathbf w^\top\tilde{\mathbf x} + b)$ has the gradient $y\,\tilde{\mathbf x}$.
# </details>
# <details><summary>Hint 2</summary>
# By autograd: take the worst points first, then a copy of the weights that requires a gradient, <code>w.clone().requires_grad_(True)</code>, and <code>torch.autograd.grad(loss, copy)[0]</code>. The loss is <code>nn.functional.softplus(-margin).mean()</code>.
# </details>

# %% solution="danskin_gradient"
def danskin_gradient(w: torch.Tensor, b: float, x: torch.Tensor, y: torch.Tensor,
                     eps: float) -> torch.Tensor:
    """The gradient by w of the mean of log(1 + exp(-y (w x~ + b))), with every x~ fixed at the
    worst point of its ball.

    w: (d,) weights. b: a number. x: (B, d) images. y: (B,) floats, -1. or 1. eps: radius of the
    L-inf ball.
    Returns (d,) like w; w is left as it was.
    """
    ### BEGIN SOLUTION
    x_tilde = training.linear.worst_point(w, x, y, eps)
    pull = torch.sigmoid(-y * (x_tilde @ w + b))
    return -(pull * y) @ x_tilde / len(x)
    ### END SOLUTION

# %% test="danskin_gradient" points=3
# Run this cell to check your danskin_gradient. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect
from coursekit.training import linear

exercise = checks.Exercise("danskin_gradient", points=3, by_hand=[
    "coursekit.training.linear." + name for name in ("robust_loss", "gradient", "measured_gradient")])
some_w, some_b = torch.tensor([3.0, -4.0, 1.0]), 0.5
some_x, some_y = torch.tensor([[0.9, 0.2, 0.3], [0.1, 0.8, 0.4]]), torch.tensor([1.0, -1.0])

def at(points, some_w, some_b, some_y):
    """The gradient by w of the mean loss at these points, and that by the points of the summed loss."""
    copy, places = some_w.clone().requires_grad_(True), points.clone().requires_grad_(True)
    loss = torch.nn.functional.softplus(-some_y * (places @ copy + some_b))
    return torch.autograd.grad(loss.mean(), (copy, places))

def one_gradient(got, some_w, some_x):
    """The gradient by the weights, after a look at what else may have come back."""
    each = isinstance(got, torch.Tensor) and got.shape == some_x.shape != some_w.shape
    expect.that(not each, got, f"shape {tuple(some_w.shape)}", "That is a gradient for each image. Wanted is one by the weights, the mean over the batch.")
    return expect.tensor(got, like=some_w)

def slips(some_w, some_b, some_x, some_y, eps):
    """What typical slips give."""
    points = linear.worst_point(some_w, some_x, some_y, eps)
    margin, labels = some_y * (points @ some_w + some_b), some_y[:, None]
    expected, by_points = at(points, some_w, some_b, some_y)
    def pulled(strength, pixels):
        return -(strength[:, None] * pixels).mean(0)
    return {
        "This is the gradient at x itself, which ordinary training takes. Move to the worst points first.": at(some_x, some_w, some_b, some_y)[0],
        "The losses are added up. Their mean is asked for.": len(some_x) * expected,
        "The sign is wrong: along this the robust loss falls. A gradient points uphill.": -expected,
        "The points are the best of their balls. Is y handed over as it is?": at(linear.worst_point(some_w, some_x, -some_y, eps), some_w, some_b, some_y)[0],
        "This is the gradient of the loss by the points, not by the weights.": by_points.sum(0),
        "This is the gradient of the losses by the points, not by the weights.": len(some_x) * by_points.sum(0),
        "The loss is log(1 + exp(-margin)); this is the gradient of log(1 + exp(margin)). A minus is missing.": -pulled(torch.sigmoid(margin), labels * points),
        "This is the gradient of the mean margin: the loss around it is left out.": (labels * points).mean(0),
        "The weight of each image is sigmoid(margin). Where the margin is small, the pull is strong: sigmoid(-margin).": pulled(torch.sigmoid(margin), labels * points),
        "The margin is y (w x~ + b): its gradient by w is y x~. The y in front is forgotten.": pulled(torch.sigmoid(-margin), points),
        "The strength of the pull is taken at the worst points, the direction is x. Both belong to the worst points.": pulled(torch.sigmoid(-margin), labels * some_x),
        "The strength of the pull is taken at x, the direction at the worst points. Both belong to the worst points.":
            pulled(torch.sigmoid(-some_y * (some_x @ some_w + some_b)), labels * points),
        "b is left out.": at(points, some_w, 0.0, some_y)[0],
    }

@exercise.case("two images, three weights")
def _(danskin_gradient):
    expected = at(linear.worst_point(some_w, some_x, some_y, 0.3), some_w, some_b, some_y)[0]
    got = one_gradient(danskin_gradient(some_w, some_b, some_x, some_y, 0.3), some_w, some_x)
    expect.close(got, expected, mistakes=slips(some_w, some_b, some_x, some_y, 0.3), hint="Worst points, fixed; then the gradient of the mean loss there, by w.")

@exercise.case("float64: the same as central differences of the exact robust loss")
def _(danskin_gradient):
    wide, images, signs = some_w.double(), some_x.double(), some_y.double()
    got = one_gradient(danskin_gradient(wide, some_b, images, signs, 0.1), wide, images)
    expect.close(got, linear.measured_gradient(wide, some_b, images, signs, 0.1), mistakes=slips(wide, some_b, images, signs, 0.1),
                 hint="The worst points of this w and this eps, held fixed.")

@exercise.case("eps = 0: the ordinary gradient; w and x are left as they were", hint="With a radius of 0 the worst point is x.")
def _(danskin_gradient):
    got = one_gradient(danskin_gradient(some_w, some_b, some_x, some_y, 0.0), some_w, some_x)
    expected, typical = at(some_x, some_w, some_b, some_y)[0], slips(some_w, some_b, some_x, some_y, 0.0)
    expect.close(got, expected, mistakes={hint: value for hint, value in typical.items() if not torch.allclose(value, expected)},
                 hint="With a radius of 0 the worst point is x.")
    expect.unchanged(danskin_gradient)

### BEGIN HIDDEN TESTS
@exercise.case("another number of weights, a single image", hint="Any number of images and of pixels; their mean.", hidden=True)
def _(danskin_gradient):
    for images, d in ((1, 6), (5, 2)):
        w, x = torch.randn(d), torch.randn(images, d)
        y = torch.where(torch.rand(images) < 0.5, -1.0, 1.0)
        expect.close(expect.tensor(danskin_gradient(w, 0.4, x, y, 0.2), like=w), at(linear.worst_point(w, x, y, 0.2), w, 0.4, y)[0])
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Now the test of the theorem, on the threes and sevens: 784 weights, so 784 slopes of the true robust loss, each measured with two evaluations and no theory. Beside them two gradients: the one at the worst points, and the one at $\mathbf x$.

# %% demo="danskin-checked"
measured = checks.yours("finite_differences", training.linear.measured_gradient)(w, b, pixels, signs, 0.05, 1e-5)
your_danskin = checks.yours("danskin_gradient", training.linear.gradient)
at_worst, at_x = your_danskin(w, b, pixels, signs, 0.05), your_danskin(w, b, pixels, signs, 0.0)
print(f"largest gap to the gradient at the worst points: {(measured - at_worst).abs().max():.1e}")
print(f"largest gap to the gradient at x:                {(measured - at_x).abs().max():.1e}")
plots.agreement(measured, {"at the worst points": at_worst, "at x": at_x},
                measured_as="slope of the true robust loss, measured", claimed_as="slope that the gradient claims")

# %% [markdown]
# Left: on the diagonal, as far as a float can tell. Nobody has to differentiate through the attack. (Nor would it help. As $\theta$ moves, the worst point either stays, as a corner does here, or it moves in directions in which the loss is flat to first order: the point is a maximum.) Right: the gradient at $\mathbf x$, which ordinary training takes, is zero nearly everywhere. For ordinary training this classifier is finished; the robust loss has steep slopes that it does not see.
#
# ## 7.4 Where the theorem is silent: ties
#
# "If $\Delta(\theta)$ contains only a single element." And if it holds several? Take a single pixel with value $x = 0.05$, class $+1$, and $\epsilon = 0.1$; the classifier is $f(x) = w x$. For $w > 0$ the worst point is $x - \epsilon$, for $w < 0$ it is $x + \epsilon$. At $w = 0$ all points are equally bad: a **tie**. A program does not mind: ask it for the worst point, get one of the two ends, and take the gradient there.
#
# ### Predict, then reveal
#
# At $w = 0$ we take the end $x + \epsilon$ as the worst point (it is one), and make a small step against the gradient of the loss there. Then the same with $x - \epsilon$. **Will the robust loss fall in both cases, in one of them, or in none?**

# %%
my_guess = None  # replace None by "both", "one" or "none"

# %% demo="tie-steps"
ends = {"loss at x + ε": 0.15, "loss at x − ε": -0.05}

def true_robust_loss(weight):
    return max(math.log(1 + math.exp(-weight * end)) for end in ends.values())

outcome, fell = [], 0
for name, end in ends.items():
    slope = -end * 0.5  # the derivative of log(1 + exp(-w end)) at w = 0
    stepped = 0.0 - 1.0 * slope
    fell += true_robust_loss(stepped) < true_robust_loss(0.0)
    outcome.append(f"gradient of the {name}: {slope:+.3f}; after the step w = {stepped:+.3f}, "
                   f"robust loss {true_robust_loss(0.0):.4f} -> {true_robust_loss(stepped):.4f}")
checks.reveal(my_guess, {0: "none", 1: "one", 2: "both"}[fell], "\n".join(outcome))

# %% [markdown]
# The picture shows why. Dashed are the losses at the two ends of the interval, as functions of the weight. The robust loss, the grey band, is the higher of the two: their slopes meet in a kink, and at a kink there is no gradient.

# %% demo="kink"
weights = torch.linspace(-4, 4, 161, dtype=torch.float64)
pieces = {name: nn.functional.softplus(-weights * end) for name, end in ends.items()}
plots.upper_envelope(weights, pieces, name="robust loss", xlabel="weight w")

# %% [markdown]
# Both steps go up. Each gradient is right for its own end of the interval, and after the step the *other* end is the worst. The weight is stuck at 0, and rightly so: 0 is where the robust loss is lowest. The pixel carries some information ($x = 0.05$ speaks for class $+1$), but less than the attacker can overrule ($\epsilon = 0.1$). **A feature that the attacker can turn around is worth nothing, and robust training does without it.** Keep that in mind for 7.6.
#
# At a tie the general form of Danskin's theorem still tells every *one-sided* slope. Move $\theta$ in a direction $\mathbf d$, and right away those worst points take over whose loss rises fastest:
#
# $$\lim_{t \downarrow 0} \frac{L(\theta + t\,\mathbf d) - L(\theta)}{t} = \max_{\tilde{\mathbf x} \in \Delta(\theta)} \nabla_\theta \ell(f_\theta(\tilde{\mathbf x}), y)^\top \mathbf d, \qquad L(\theta) = \sup_{\tilde{\mathbf x} \in \mathcal P(\mathbf x)} \ell(f_\theta(\tilde{\mathbf x}), y).$$
#
# ### Exercise 7.4: the one-sided slope · medium · 15 minutes · 3 points
#
# Given are $M$ candidates for the worst point, for each its loss and its gradient with respect to $n$ weights. Return the slope of $L$ in the direction $\mathbf d$. Only candidates count whose loss is the highest, up to $10^{-6}$.
#
# <details><summary>Hint</summary>
# Which rows of <code>gradients</code> belong to worst points? A comparison gives booleans, and <code>gradients[booleans]</code> picks rows. Then a product with the direction for each, and of these the largest, with its sign.
# </details>

# %% solution="directional_derivative"
def directional_derivative(values: torch.Tensor, gradients: torch.Tensor,
                           direction: torch.Tensor) -> float:
    """The slope of L = max of the losses, for a step from theta in this direction.

    values: (M,) losses of M candidates at theta; those within 1e-6 of the highest are worst points.
    gradients: (M, n), for each candidate the gradient of its loss by theta. direction: (n,), of any
    length, which counts: twice the direction, twice the slope.
    Returns one number (a float, or a tensor with one element).
    """
    ### BEGIN SOLUTION
    worst = values >= values.max() - 1e-6
    return (gradients[worst] @ direction).max().item()
    ### END SOLUTION

# %% test="directional_derivative" points=3
# Run this cell to check your directional_derivative. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("directional_derivative", points=3)

@exercise.case("a single worst point: Danskin's theorem as on the slide")
def _(directional_derivative):
    values = torch.tensor([0.5, 0.9, 0.3])
    gradients, direction = torch.tensor([[4.0, 1.0], [1.0, -2.0], [-3.0, 0.5]]), torch.tensor([0.5, 1.0])
    expect.close(expect.number(directional_derivative(values, gradients, direction)), -1.5, mistakes={
        "All candidates take part. Only those whose loss is the highest decide.": 3.0,
        "This is the mean over all candidates. Only those whose loss is the highest decide.": 1 / 6,
        "You take the candidate with the lowest loss.": -1.0,
        "The slope has a sign: here the loss falls.": 1.5,
        "The direction is scaled to length one. Its length counts.": -1.5 / 1.25**0.5,
        "This is the length of the gradient. How much of it lies along the direction?": 5**0.5,
        "A slope may be negative, as here: neither start a running maximum at 0, nor set the other candidates to 0 (they would win).": 0.0,
    }, hint="The gradient of the worst candidate, times the direction.")

@exercise.case("a tie of two: the larger slope")
def _(directional_derivative):
    values = torch.tensor([0.7, 0.2, 0.7])
    gradients, direction = torch.tensor([[-0.075, 0.0], [9.0, 9.0], [0.025, 0.0]]), torch.tensor([1.0, 0.0])
    slips = {
        "At a tie you take one of the worst points, the first. Right after the step the one rules whose loss rises fastest.": -0.075,
        "You take the mean of the tied gradients. Right after the step the one rules whose loss rises fastest.": -0.025,
        "All candidates take part. Only those whose loss is the highest decide.": 9.0,
        "You take the smaller slope. L is the maximum of the losses.": -0.075,
        "You compare sizes. The largest slope with its sign counts.": 0.075,
        "The tied gradients are added up. One of them rules.": -0.05,
    }
    expect.close(expect.number(directional_derivative(values, gradients, direction)), 0.025, mistakes=slips,
                 hint="Of the tied candidates, the one whose loss rises fastest in this direction.")

@exercise.case("the same tie, the other way: not minus the first answer")
def _(directional_derivative):
    values = torch.tensor([0.7, 0.2, 0.7])
    gradients, direction = torch.tensor([[-0.075, 0.0], [9.0, 9.0], [0.025, 0.0]]), torch.tensor([-1.0, 0.0])
    expect.close(expect.number(directional_derivative(values, gradients, direction)), 0.075, mistakes={
        "In the other direction another candidate rules: a kink has two slopes that are not each other's negative.": -0.025,
        "You take the worst point whose loss rises fastest forwards. The direction is the other one now.": -0.025,
        "You take the mean of the tied gradients. Right after the step the one rules whose loss rises fastest.": 0.025,
        "You compare the gradients before the direction. Multiply first, then compare.": -0.025,
    }, hint="Both ways the loss rises from this kink.")

@exercise.case("a difference of 1e-8 between losses is a tie, one of 1e-3 is none")
def _(directional_derivative):
    gradients, direction = torch.tensor([[1.0], [5.0], [8.0]], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    values = torch.tensor([0.5, 0.5 - 1e-8, 0.5 - 1e-3], dtype=torch.float64)
    expect.close(expect.number(directional_derivative(values, gradients, direction)), 10.0, mistakes={
        "Losses that differ by rounding only count as tied: compare with a tolerance of 1e-6.": 2.0,
        "A candidate 0.001 below the highest loss is no worst point.": 16.0,
    }, hint="Worst points: values >= highest - 1e-6.")
    expect.unchanged(directional_derivative)

### BEGIN HIDDEN TESTS
@exercise.case("many candidates, all slopes negative, other numbers of weights", hidden=True,
               hint="The highest losses decide who takes part, the products with the direction what comes out.")
def _(directional_derivative):
    for count, n in ((6, 4), (1, 3), (9, 1)):
        values, gradients, direction = torch.rand(count), torch.randn(count, n), torch.randn(n)
        values[: (count + 1) // 2] = 1.5
        gradients[: (count + 1) // 2] -= 2 * direction  # a negative slope for all of them, as a rule
        right = (gradients[: (count + 1) // 2] @ direction).max().item()
        expect.close(expect.number(directional_derivative(values, gradients, direction)), right)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# How much does this matter in practice? Exact ties are rare: almost everywhere the robust loss of a network has a gradient, as its ReLUs have one almost everywhere. What hurts more is another condition, which the theorem states in passing: $\tilde{\mathbf x}^*_\theta$ must be **the** worst point. PGD finds *a* bad point. If a worse one exists elsewhere in the ball, the gradient belongs to the wrong place, and nobody notices. (The slide's footnote adds that versions of the theorem ask for a loss that is convex in $\theta$. For the formulas above it is enough that $\mathcal P(\mathbf x)$ is closed and bounded and that $\ell$ and $\nabla_\theta \ell$ are continuous; a network with ReLUs has that only almost everywhere.)
#
# %% [markdown]
# ## 7.5 One step of adversarial training
#
# The algorithm of the slide, for one batch:
#
# 1. sample images and labels $(\mathbf x_i, y_i)$;
# 2. with an attack find $\tilde{\mathbf x}_i \in \mathcal P(\mathbf x_i)$ of high loss $\ell(f_\theta(\tilde{\mathbf x}_i), y_i)$, for the **present** $\theta$;
# 3. update the weights there: $\theta \leftarrow \theta - \eta\, \nabla_\theta \ell(f_\theta(\tilde{\mathbf x}_i), y_i)$, averaged over the batch.
#
# One line more than ordinary training, and places where it goes wrong without an error message:
#
# * The attack wants the network as it will be tested, in **eval mode**; the update wants **train mode**. For networks with dropout or BatchNorm these are two different functions.
# * An attack that calls `backward()` for the gradient by the pixels leaves gradients in the `.grad` of the **weights**, too, and the update adds its own to them, unless they are **cleared in between**.
# * $\tilde{\mathbf x}$ should come out of the attack *detached*: Danskin allows you to hold it fixed, and autograd should not be busy with five steps of PGD.
#
# The attacks of the package look after all of this, and so does `inner_attack` of the first cell. There you also find `careless_attack(model, x, y, eps)`, the same five steps as most people write them at first. It attacks in whatever mode the model is in, and it calls `backward()`.
#
# ### Exercise 7.5: the training step · medium · 20 minutes · 4 points
#
# Write it with plain gradient descent, around `careless_attack`, such that nothing of its carelessness gets into the new weights. (`inner_attack` and the package's PGD are refused here. An attack of your own will do.)
#
# <details><summary>Hint 1</summary>
# In this order: attack, in the eval mode in which the model comes; then <code>model.train()</code>; clear the gradients (<code>optimizer.zero_grad()</code>, or take them with <code>torch.autograd.grad</code>, which leaves <code>.grad</code> alone); loss at the attacked images; backward; step.
# </details>
# <details><summary>Hint 2</summary>
# <code>optimizer = torch.optim.SGD(model.parameters(), lr=lr)</code>. The mean loss is <code>losses.cross_entropy(logits, y).mean()</code>. At the end <code>[p.detach().clone() for p in model.parameters()]</code>.
# </details>

# %% solution="training_step"
def training_step(model, x: torch.Tensor, y: torch.Tensor, eps: float, lr: float) -> list[torch.Tensor]:
    """One update theta - lr * gradient of the mean cross-entropy at the attacked batch.

    model: returns logits (B, K); comes in eval mode, and is attacked in it; the update is made in
    train mode, with the whole batch in one go. x: (B, ...) images in [0, 1]. y: (B,) labels. eps:
    radius for careless_attack, which leaves gradients in the .grad of the parameters. lr: the step
    size eta.
    Returns the new weights, a list of detached tensors in the order of model.parameters(). (What
    becomes of `model` itself, and the mode it is left in, does not matter.)
    """
    ### BEGIN SOLUTION
    attacked = careless_attack(model, x, y, eps)
    model.train()  # only now: the attack meets the network as it will be tested
    batch_loss = losses.cross_entropy(model(attacked), y).mean()
    slopes = torch.autograd.grad(batch_loss, list(model.parameters()),
                                 allow_unused=True, materialize_grads=True)
    return [p.detach() - lr * slope for p, slope in zip(model.parameters(), slopes)]
    ### END SOLUTION

# %% test="training_step" points=4
# Run this cell to check your training_step. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks
from coursekit.checks import expect
from coursekit.perturbations import LpBall

exercise = checks.Exercise("training_step", points=4, by_hand=[
    "coursekit.training.training_step", "coursekit.training.fit", "coursekit.training.adversarial_fit", "coursekit.attacks.pgd"])

def attacked(network, some_x, some_y, eps, train=False):
    """The five steps, without traces: in this mode, the gradients of the weights left alone."""
    network.train(train)
    z = some_x
    for _ in range(5):
        z = z.detach().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(network(z), some_y, reduction="sum")
        z = LpBall(eps, math.inf).project(z.detach() + eps / 2 * torch.autograd.grad(loss, z)[0].sign(), some_x)
    network.eval()
    return z

def gradients(network, points, some_y, reduction="mean", train=True):
    """The gradients of the loss at these points, one tensor for each parameter."""
    network.train(train)
    loss = torch.nn.functional.cross_entropy(network(points), some_y, reduction=reduction)
    found = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, materialize_grads=True)
    network.eval()
    return torch.cat([part.flatten() for part in found])

def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])

def flat(got, network):
    """The list of tensors that came back, as one row, after a look at every one of them."""
    parameters = list(network.parameters())
    wanted = f"a list of {len(parameters)} tensors"
    expect.that(got is not None, "None", wanted, "Did you forget a return?")
    expect.that(isinstance(got, list), got, wanted, "Return [p.detach().clone() for p in model.parameters()].")
    expect.that(len(got) == len(parameters), f"a list of {len(got)}", wanted, "One tensor for each parameter, in the order of model.parameters().")
    return torch.cat([expect.tensor(part, like=p).flatten() for part, p in zip(got, parameters, strict=True)])

curved = checks.network(("flatten",), ("linear", torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(6)), ("tanh",),
                        ("linear", torch.randn(3, 6, generator=torch.Generator().manual_seed(2)), torch.zeros(3)), name="a curved network")
some_x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(3))
some_y = torch.tensor([0, 2, 1, 1, 0])

@exercise.case("five images: the gradient at the attacked images, averaged, downhill")
def _(training_step):
    network = curved.build()
    theta, points = weights(network), attacked(network, some_x, some_y, 0.3)
    step = gradients(network, points, some_y)
    clean = gradients(network, some_x, some_y)
    steps_of_attack, z = [], some_x
    for _ in range(5):  # what an attack with backward() leaves in .grad
        steps_of_attack.append(gradients(network, z, some_y, "sum"))
        z = LpBall(0.3, math.inf).project(z + 0.15 * attacks.input_gradient(network, z, some_y).sign(), some_x)
    got = flat(training_step(curved, some_x, some_y, 0.3, 0.5), network)
    expect.close(got, theta - 0.5 * step, mistakes={
        "The weights are as they were: is the step taken, and are the parameters copied after it?": theta,
        "The loss is taken at x: this is a step of ordinary training. Take it at the attacked images.": theta - 0.5 * clean,
        "This goes uphill: the attack maximises over the images, training minimises over the weights.": theta + 0.5 * step,
        "The losses of the batch are added up. Their mean is asked for.": theta - 0.5 * 5 * step,
        "This is the gradient. The new weights are asked for.": step,
        "The gradient at x is added to that at the attacked images: is .grad cleared in between?": theta - 0.5 * (step + clean),
        "The loss is the mean over clean and attacked images. The robust loss looks at the attacked ones alone.": theta - 0.25 * (step + clean),
        "The attack left gradients in .grad, and they are added to those of the update: clear them before backward().":
            theta - 0.5 * (step + sum(steps_of_attack)),
        "The attack left gradients in .grad, and they are added to those of the update: clear them, after the attack.":
            theta - 0.5 * (step + sum(steps_of_attack) / 5),
        "lr is not used: the step has length 1 times the gradient.": theta - step,
        "The labels are those that the model predicts. Train towards y.":
            theta - 0.5 * gradients(network, points, network(points).argmax(1)),
        "The labels are those that the model predicts for x. Train towards y.":
            theta - 0.5 * gradients(network, points, network(some_x).argmax(1)),
        "You train on the perturbation alone. Add it to x.": theta - 0.5 * gradients(network, points - some_x, some_y),
        "This is a step of Adam. Plain gradient descent is asked for.": theta - 0.5 * step.sign(),
    }, hint="Attack; then theta - lr * gradient of the mean cross-entropy at the attacked images.")

@exercise.case("eps = 0: a step of ordinary training")
def _(training_step):
    network = curved.build()
    expect.close(flat(training_step(curved, some_x, some_y, 0.0, 0.1), network), weights(network) - 0.1 * gradients(network, some_x, some_y),
                 mistakes={"The losses of the batch are added up. Their mean is asked for.": weights(network) - 0.5 * gradients(network, some_x, some_y)},
                 hint="With a radius of 0 the attacked images are x. Is eps handed to the attack, and lr to the update?")

@exercise.case("a network with BatchNorm: attacked in eval mode, updated in train mode")
def _(training_step):
    source = torch.Generator().manual_seed(1)
    normed = checks.network(("flatten",), ("batch_norm", 4), ("linear", torch.randn(6, 4, generator=source), torch.zeros(6)), ("tanh",),
                            ("linear", torch.randn(3, 6, generator=source), torch.zeros(3)), name="a network with BatchNorm")
    network = normed.build()
    theta, points = weights(network), attacked(network, some_x, some_y, 0.2)
    hard = attacked(network, some_x, some_y, 0.2, train=True)
    network, traces = normed.build(), []
    for train in (False, True):  # what the attack leaves in .grad, in either mode
        z, left = some_x, 0.0
        for _ in range(5):
            left = left + gradients(network, z, some_y, "sum", train)
            z = z.detach().requires_grad_(True)
            loss = torch.nn.functional.cross_entropy(network.train(train)(z), some_y, reduction="sum")
            z = LpBall(0.2, math.inf).project(z.detach() + 0.1 * torch.autograd.grad(loss, z)[0].sign(), some_x)
        traces.append(left)
    got = flat(training_step(normed, some_x, some_y, 0.2, 1.0), normed.build())
    def slope(points, train=True):  # of a fresh network: train mode moves the statistics of BatchNorm
        return gradients(normed.build(), points, some_y, train=train)
    expect.close(got, theta - slope(points), tolerance=1e-3, mistakes={
        "The update was made in eval mode, with the statistics of BatchNorm fixed. Call model.train() after the attack.":
            theta - slope(points, train=False),
        "The attack met the network in train mode. It is attacked as it will be tested: call model.train() after the attack.":
            theta - slope(hard),
        "The attack left gradients in .grad, and they are added to those of the update: clear them, after the attack.":
            theta - slope(points) - traces[0],
        "The attack left gradients in .grad and met the network in train mode. After the attack: model.train(), and clear the gradients.":
            theta - slope(hard) - traces[1],
        "The attack left gradients in .grad, and the update was made in eval mode. After the attack: model.train(), and clear the gradients.":
            theta - slope(points, train=False) - traces[0],
        "The loss is taken at x: this is a step of ordinary training.": theta - slope(some_x),
    }, hint="The attack first, in eval mode; then model.train(); then the gradients are cleared, and the update is made.")

@exercise.case("a network with dropout: updated in train mode")
def _(training_step):
    # This dropout lets nothing through in train mode: there only the last bias moves. In eval mode it lets all through.
    dropped = checks.network(("flatten",), ("linear", torch.tensor([[1.0, -2.0, 0.5, 3.0], [2.0, 1.0, -1.0, 0.3]]), None), ("dropout", 1.0),
                             ("linear", torch.tensor([[1.0, 0.5], [-1.0, 2.0]]), torch.zeros(2)), name="a network with dropout")
    network, labels = dropped.build(), torch.tensor([0, 1, 1, 1, 0])

    def traces_of(network, labels):
        """What the attack leaves in .grad."""
        total, z = 0.0, some_x
        for _ in range(5):
            total = total + gradients(network, z, labels, "sum", train=False)
            z = LpBall(0.2, math.inf).project(z + 0.1 * attacks.input_gradient(network, z, labels).sign(), some_x)
        return total

    points = attacked(network, some_x, labels, 0.2)
    expect.close(flat(training_step(dropped, some_x, labels, 0.2, 1.0), network), weights(network) - gradients(network, points, labels), mistakes={
        "The update was made in eval mode, without dropout. Call model.train() after the attack.":
            weights(network) - gradients(network, points, labels, train=False),
        "The weights are as they were.": weights(network),
        "The attack left gradients in .grad, and they are added to those of the update: clear them, after the attack.":
            weights(network) - gradients(network, points, labels) - traces_of(network, labels),
    }, hint="model.train() after the attack, before the loss of the update; and the gradients cleared.")

@exercise.case("a single image, another eps and lr; the images are left as they were")
def _(training_step):
    network, one, label = curved.build(), some_x[:1], some_y[:1]
    got = flat(training_step(curved, one, label, 0.15, 2.0), network)
    expect.close(got, weights(network) - 2 * gradients(network, attacked(network, one, label, 0.15), label), mistakes={
        "The weights are as they were: is the step taken, and are the parameters copied after it?": weights(network),
        "lr is not used: the step has length 1 times the gradient.": weights(network) - gradients(network, attacked(network, one, label, 0.15), label),
        "This goes uphill: training minimises over the weights.": weights(network) + 2 * gradients(network, attacked(network, one, label, 0.15), label),
        "The loss is taken at x: this is a step of ordinary training.": weights(network) - 2 * gradients(network, one, label),
    }, hint="Are eps and lr used, or numbers written out?")
    edited = [text for text in training_step.changed if "parameters" not in text and "mode" not in text]
    expect.that(not edited, " and ".join(edited), "images left as they were", "Work on a copy: the attack returns new images.")

### BEGIN HIDDEN TESTS
@exercise.case("other shapes and classes, float64", hint="The same for any network: nothing may be written out.", hidden=True)
def _(training_step):
    net = checks.network(("flatten",), ("linear", torch.randn(7, 12, dtype=torch.float64), torch.randn(7, dtype=torch.float64)), ("relu",),
                         ("linear", torch.randn(4, 7, dtype=torch.float64), None))
    network, images, labels = net.build(), torch.rand(3, 3, 2, 2, dtype=torch.float64), torch.tensor([3, 0, 1])
    expect.close(flat(training_step(net, images, labels, 0.1, 0.3), network),
                 weights(network) - 0.3 * gradients(network, attacked(network, images, labels, 0.1), labels))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 7.6 The loop, and what it does to a boundary
#
# Around the step goes the loop that you know: several epochs, in each all images once, in random order, cut into batches. Nothing else changes, but note what follows from "for the present $\theta$": the attack runs **anew for each batch in each epoch**. Adversarial examples made once, before training, are soon yesterday's: the network learns those very points, and the attacker moves on.
#
# ### Exercise 7.6: the training loop · medium · 20 minutes · 4 points
#
# Write it with `torch.optim.SGD` and no momentum. The reference for the step is `training.training_step(model, optimizer, x, y, attack)`, where `attack` is a function `(model, x, y) -> x~`; it attacks, updates, and returns the mean loss. For the attack take `inner_attack` with the given `eps`. The last batch of an epoch may be smaller than the others; it counts, too.
#
# <details><summary>Hint 1</summary>
# <code>partial(inner_attack, eps=eps)</code>, or a <code>lambda</code>, makes of <code>inner_attack</code> a function of model, images and labels.
# </details>
# <details><summary>Hint 2</summary>
# <code>torch.randperm(len(x), generator=generator).split(batch_size)</code> gives the numbers of the images, batch by batch. <code>generator = torch.Generator().manual_seed(seed)</code> is made once, before the first epoch.
# </details>

# %% solution="adversarial_training"
def adversarial_training(model, x: torch.Tensor, y: torch.Tensor, eps: float, epochs: int,
                         batch_size: int, lr: float, seed: int) -> list[torch.Tensor]:
    """Adversarial training with plain SGD: in every epoch each image once, attacked for the weights
    of that moment.

    model: returns logits (B, K). x: (N, ...) images in [0, 1]. y: (N,) labels. eps: radius for
    inner_attack. epochs: 1 or more. batch_size: 1 or more; N need not be a multiple of it. lr: step
    size of SGD, always the same. seed: for the order of the images, drawn anew in every epoch; the
    same seed gives the same weights.
    Returns the trained weights, a list of detached tensors in the order of model.parameters().
    """
    ### BEGIN SOLUTION
    source = torch.Generator().manual_seed(seed)
    descent = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for part in torch.randperm(len(x), generator=source).split(batch_size):
            training.training_step(model, descent, x[part], y[part], partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]
    ### END SOLUTION

# %% test="adversarial_training" points=4
# Run this cell to check your adversarial_training. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks
from coursekit.checks import expect
from coursekit.perturbations import LpBall

exercise = checks.Exercise("adversarial_training", points=4, by_hand=["coursekit.training.fit", "coursekit.training.adversarial_fit"])

def attacked(network, some_x, some_y, eps):
    return attacks.pgd(network, some_x, some_y, LpBall(eps, math.inf), steps=5, random_start=False, early_stop=False)

def trained(spec, some_x, some_y, eps, lr, batches, points=None, clear=True, kind=torch.optim.SGD, **settings):
    """The weights after a step on each of these batches, as one row. points: attacked once and for all."""
    network = spec.build()
    optimizer = kind(network.parameters(), lr=lr, **settings)
    for batch in batches:
        x_adv = attacked(network, some_x[batch], some_y[batch], eps) if points is None else points[batch]
        if clear:
            optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x_adv), some_y[batch]).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])

def flat(got, spec):
    """The list of tensors that came back, as one row, after a look at every one of them."""
    parameters = list(spec.build().parameters())
    wanted = f"a list of {len(parameters)} tensors"
    expect.that(got is not None, "None", wanted, "Did you forget a return?")
    expect.that(isinstance(got, list), got, wanted, "Return [p.detach().clone() for p in model.parameters()].")
    expect.that(len(got) == len(parameters), f"a list of {len(got)}", wanted, "One tensor for each parameter, in the order of model.parameters().")
    return torch.cat([expect.tensor(part, like=p).flatten() for part, p in zip(got, parameters, strict=True)])

curved = checks.network(("linear", torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(6)), ("tanh",),
                        ("linear", torch.randn(3, 6, generator=torch.Generator().manual_seed(2)), torch.zeros(3)), name="a curved network")
some_x = torch.rand(5, 4, generator=torch.Generator().manual_seed(3))
some_y = torch.tensor([0, 2, 1, 1, 0])
everything = torch.arange(5)

@exercise.case("one epoch of one batch: one step")
def _(adversarial_training):
    got = flat(adversarial_training(curved, some_x, some_y, 0.3, 1, 5, 0.5, 0), curved)
    expect.close(got, trained(curved, some_x, some_y, 0.3, 0.5, [everything]), mistakes={
        "The weights are as they were: are the parameters taken after training?": trained(curved, some_x, some_y, 0.3, 0.5, []),
        "This is a step of ordinary training. Does the attack reach the step?": trained(curved, some_x, some_y, 0.0, 0.5, [everything]),
        "This is a step of Adam. Plain SGD is asked for.": trained(curved, some_x, some_y, 0.3, 0.5, [everything], kind=torch.optim.Adam),
        "Two steps were taken. One epoch of one batch is one step.": trained(curved, some_x, some_y, 0.3, 0.5, [everything] * 2),
        "The batches have one image each: is batch_size used?": trained(curved, some_x, some_y, 0.3, 0.5, [torch.tensor([i]) for i in range(5)]),
    }, hint="All five images are one batch: attack it, then one step of SGD with lr.")

@exercise.case("four epochs of one batch: the attack meets the weights of the moment")
def _(adversarial_training):
    got = flat(adversarial_training(curved, some_x, some_y, 0.3, 4, 5, 0.5, 0), curved)
    once = attacked(curved.build(), some_x, some_y, 0.3)
    expect.close(got, trained(curved, some_x, some_y, 0.3, 0.5, [everything] * 4), tolerance=1e-3, mistakes={
        "The images are attacked once, before training. Attack them anew in every epoch.": trained(curved, some_x, some_y, 0.3, 0.5, [everything] * 4, once),
        "Gradients of earlier steps are added to the present one: clear them before each backward().":
            trained(curved, some_x, some_y, 0.3, 0.5, [everything] * 4, clear=False),
        "This is SGD with momentum. Plain SGD is asked for.": trained(curved, some_x, some_y, 0.3, 0.5, [everything] * 4, momentum=0.9),
        "These are steps of Adam. Plain SGD is asked for.": trained(curved, some_x, some_y, 0.3, 0.5, [everything] * 4, kind=torch.optim.Adam),
        "Only one epoch was trained.": trained(curved, some_x, some_y, 0.3, 0.5, [everything]),
        "An epoch too few.": trained(curved, some_x, some_y, 0.3, 0.5, [everything] * 3),
        "An epoch too many.": trained(curved, some_x, some_y, 0.3, 0.5, [everything] * 5),
        "This is ordinary training. Does the attack reach the step?": trained(curved, some_x, some_y, 0.0, 0.5, [everything] * 4),
    }, hint="Each epoch: attack with the present weights, clear the gradients, one step of SGD.")

@exercise.case("three images in batches of two: each batch attacked for the weights of the moment, the last one smaller")
def _(adversarial_training):
    few, some_labels = some_x[:3], some_y[:3]
    got = flat(adversarial_training(curved, few, some_labels, 0.3, 1, 2, 4.0, 1), curved)
    pairs = [torch.tensor(pair) for pair in ([0, 1], [0, 2], [1, 2])]
    last = [torch.tensor([i]) for i in (2, 1, 0)]
    stale = attacked(curved.build(), few, some_labels, 0.3)
    def ways(points=None):
        return [trained(curved, few, some_labels, 0.3, 4.0, [pair, single], points) for pair, single in zip(pairs, last, strict=True)]
    if any(expect.same(got, trained(curved, few, some_labels, 0.3, 4.0, [pair])) for pair in pairs):
        hint = "The last, smaller batch is left out. It counts, too."
    elif expect.same(got, trained(curved, few, some_labels, 0.3, 4.0, [torch.arange(3)])):
        hint = "All three images went into one batch. batch_size is 2."
    elif any(expect.same(got, way, 1e-3) for way in ways(stale)):
        hint = "All images were attacked at once, before the first step: for the second batch these are examples of yesterday. Attack each batch when its turn comes."
    else:
        hint = "One step for a pair of images, then one for the third; each of the three images once."
    expect.that(any(expect.same(got, way, 1e-3) for way in ways()), "weights that no order of the images gives", "two steps: a pair, then a single image", hint)

# Eight images that share no pixel, so each has a column of weights of its own: what a column did tells when its image was used.
apart = checks.network(("linear", torch.zeros(2, 8), None), name="a linear network")
alternating = torch.arange(8) % 2

@exercise.case("eight images in batches of two, two epochs: each image once in each epoch, with its own label")
def _(adversarial_training):
    def column(label, times):
        """The weights of one image after this many steps on it."""
        w = torch.zeros(2)
        for _ in range(times):
            w = w - 3.0 / 2 * (w.softmax(0) - torch.nn.functional.one_hot(torch.tensor(label), 2))
        return w

    for epochs in (1, 2):
        got = flat(adversarial_training(apart, torch.eye(8), alternating, 0.0, epochs, 2, 3.0, 5), apart).reshape(2, 8)
        right = torch.stack([column(label, epochs) for label in alternating.tolist()], dim=1)
        used = [next((times for times in range(10) if expect.same(got[:, i], column(label, times), 1e-3)), None)
                for i, label in enumerate(alternating.tolist())]
        towards = (got[1] - got[0]) * (2.0 * alternating - 1)  # above 0: pushed towards its own class
        shown, hint = "steps of another length", "One step of plain SGD with lr for each batch of two, on the mean loss."
        if bool((towards < -1e-6).any()):
            shown, hint = "an image that was pushed to the wrong class", "The images are shuffled, but not the labels: take x[batch] and y[batch]."
        elif None not in used or 0 in used:
            counts = ["?" if times is None else times for times in used]
            shown = f"images used {counts} times".replace("'", "")
            hint = "Draw without putting back, torch.randperm(len(x)): each image comes once in each epoch, whatever the order."
        expect.that(expect.same(got, right, 1e-3), shown, f"each image used {epochs} times", hint)

@exercise.case("the seed decides the order, which is another one in every epoch")
def _(adversarial_training):
    def run(seed, epochs=1):
        return flat(adversarial_training(curved, some_x, some_y, 0.1, epochs, 2, 1.0, seed), curved)

    first = run(0)
    expect.that(expect.same(run(0), first, 1e-6), "other weights with the same seed", "the same weights",
                "Make a generator from the seed in every call, and draw the order from it.")
    expect.that(not all(expect.same(run(seed), first, 1e-6) for seed in (1, 2, 3, 4)), "the same weights with the seeds 0 to 4",
                "another order with another seed", "torch.randperm(len(x), generator=generator): is the order random, and from the seed?")
    # With the same order in every epoch two epochs are one, and one more from where it ended, with the same seed.
    def one_and_one(seed):
        halfway = adversarial_training(curved, some_x, some_y, 0.1, 1, 2, 1.0, seed)
        onwards = checks.network(("linear", *halfway[:2]), ("tanh",), ("linear", *halfway[2:]), name="the network after an epoch")
        return flat(adversarial_training(onwards, some_x, some_y, 0.1, 1, 2, 1.0, seed), curved)

    expect.that(not all(expect.same(run(seed, 2), one_and_one(seed), 1e-6) for seed in (0, 1, 2)), "the same order in both epochs",
                "another order in every epoch", "Make the generator once, before the first epoch; draw an order from it in each.")

# One strong feature that is wrong for one image in ten, and fifty weak ones, always right, that eps can turn around.
source = torch.Generator().manual_seed(0)
some_labels = (torch.arange(200) % 2)
sides = (2.0 * some_labels - 1)[:, None]
strong = torch.where(torch.arange(200)[:, None] % 20 < 2, -sides, sides)
features = torch.cat([0.5 + 0.25 * strong, 0.5 + 0.05 * sides.expand(-1, 50)], dim=1)
blank = checks.network(("linear", torch.eye(51), torch.full((51,), -0.5)), ("linear", torch.zeros(2, 51), torch.zeros(2)), name="a linear network")

@exercise.case("one strong feature and fifty weak ones: the trained classifier is robust")
def _(adversarial_training):
    parts = flat(adversarial_training(blank, features, some_labels, 0.1, 20, 100, 0.1, 3), blank).split([51 * 51, 51, 102, 2])
    inner, outer = parts[0].reshape(51, 51), parts[2].reshape(2, 51)
    w = (outer[1] - outer[0]) @ inner
    b = (outer[1] - outer[0]) @ parts[1] + parts[3][1] - parts[3][0]
    margin = sides[:, 0] * (features @ w + b)
    clean, robust = (margin > 0).float().mean().item(), (margin - 0.1 * w.abs().sum() > 0).float().mean().item()
    hint = ("It uses the weak features, as ordinary training does: is the attack made with the given eps, for every batch?" if clean > 0.95
            else "Does every batch take its step, with the labels of its own images?")
    expect.that(robust > 0.7, f"clean accuracy {clean:.0%}, robust {robust:.0%}", "a robust accuracy of about 90 %", hint)

### BEGIN HIDDEN TESTS
@exercise.case("another network, float64, all in one batch that is larger than the data", hidden=True,
               hint="Any dtype and shape; batch_size may exceed the number of images.")
def _(adversarial_training):
    net = checks.network(("flatten",), ("linear", torch.randn(5, 12, dtype=torch.float64), torch.randn(5, dtype=torch.float64)), ("tanh",),
                         ("linear", torch.randn(4, 5, dtype=torch.float64), None))
    images, classes = torch.rand(4, 3, 2, 2, dtype=torch.float64), torch.tensor([3, 0, 1, 1])
    got = flat(adversarial_training(net, images, classes, 0.1, 3, 100, 0.2, 7), net)
    expect.close(got, trained(net, images, classes, 0.1, 0.2, [torch.arange(4)] * 3), tolerance=1e-3)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# A small theory hides in the check's case with the weak features. The fifty weak ones are always right, but each by only 0.05, and the attacker moves every pixel by 0.1; one strong feature survives the attack, but it is wrong for one image in ten. Ordinary training adds up the fifty and gets everything right. Robust training must do without them, and be content with 90 %. **The two goals contradict each other, whatever the algorithm** (Tsipras et al. 2019).
#
# Now in the plane, where you can look at it: the two moons, and a square of half-width $\epsilon = 0.1$ around each point. For a point to count as robust the boundary must not cut its square.

# %% demo="train-in-the-plane"
moons, moons_test = data.load("moons"), data.load("moons", "test")

def fresh_network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.build("moons_mlp").eval()

def reference_training(model, x, y, eps, epochs, batch_size, lr, seed):  # Adam instead of plain SGD: as good here
    training.fit(model, x, y, epochs=epochs, batch_size=batch_size, lr=0.02, attack=partial(inner_attack, eps=eps),
                 generator=torch.Generator().manual_seed(seed), progress=False)
    return [parameter.detach() for parameter in model.parameters()]

your_training = checks.yours("adversarial_training", reference_training)
your_training(fresh_network(), moons.x[:10], moons.y[:10], 0.0, 1, 10, 0.3, 0)  # the first call also looks at the reference: a short one

def in_the_plane(eps):
    network = fresh_network()
    learned = your_training(copy.deepcopy(network), moons.x[:400], moons.y[:400], eps, 24, 50, 0.3, 0)
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), learned):
            parameter.copy_(value)
    print(f"trained with ε = {eps:g}")
    return network

plane_standard, plane_robust = in_the_plane(0.0), in_the_plane(0.1)

# %% [markdown]
# ### Predict, then reveal
#
# Of the 200 test points the network of ordinary training gets nearly all right. **How many of 200 does the one trained with ε = 0.1 get wrong, without any attack?**

# %%
my_guess = None  # replace None by a number from 0 to 200

# %% demo="price-in-the-plane"
wrong = {name: int((network(moons_test.x).argmax(1) != moons_test.y).sum())
         for name, network in (("ordinary", plane_standard), ("adversarial", plane_robust))}
gap = torch.cdist(moons_test.x[moons_test.y == 0], moons_test.x[moons_test.y == 1], p=math.inf)
checks.reveal(my_guess, f"{wrong['adversarial']} of 200; with ordinary training {wrong['ordinary']}",
              f"Of the {len(gap)} points of the upper moon {int((gap.amin(1) < 0.2).sum())} have a point of the other\n"
              "class so close that their squares overlap. "
              "No classifier is right on both squares.")

# %% demo="before-and-after"
widgets.boundaries({"ordinary training": plane_standard, "adversarial training, ε = 0.1": plane_robust},
                   moons_test.x, moons_test.y, 0.1, classes=moons_test.classes)

# %% [markdown]
# Left a boundary that asks for the points alone: nearly all of them are right, and many squares are cut. Right one that keeps its distance. It gives up the points in the other moon's territory (the crosses), since nobody could defend them *and* their neighbours, and wins more squares than it loses points.
#
# How far does one have to train, and what does it cost? Below are eleven networks, trained with radii from 0 to 0.2 in a few seconds (all in one go, as one stacked network). Move the radius of **training** and the radius of the **attack**. The verdicts come from looking everywhere, which the plane allows: at each of 201 × 201 points. (These networks saw 800 points in 250 steps of Adam, those above 400 points in 24 epochs. So the numbers for the same radius differ a little; for ordinary training, which does not care how near it passes, the robust ones differ a lot.)

# %% demo="training-explorer"
radii = [round(0.02 * step, 2) for step in range(11)]
family = training.family_fit(fresh_network, moons.x, moons.y, radii,
                             generator=torch.Generator().manual_seed(0))
widgets.training_explorer(dict(zip(radii, family)), *moons_test[:2], classes=moons_test.classes)

# %% [markdown]
# <details><summary>Three things worth seeing in the picture</summary>
#
# 1. With the attack at 0.05, training with a radius that is too large costs points without buying any: robust accuracy has its peak near the radius of the attack.
# 2. Clean accuracy only falls as the training radius grows. At small radii it costs nothing, as long as the squares do not overlap.
# 3. Trained with 0.1, attacked with 0.15: robustness does not stop at the radius of training, but it is not promised beyond it either.
# </details>
#
# %% [markdown]
# ## 7.7 What it costs, and how to pay less
#
# The unit of account is a *pass*: once forward and once backward through the network, for one batch. Ordinary training takes one per batch. An attack with $k$ steps takes $k$ more.
#
# | method | what happens to a batch |
# |---|---|
# | `"standard"` | update at $\mathbf x$ |
# | `"fgsm"` | one step of size $\epsilon$ from $\mathbf x$; update at its end |
# | `"fast"` | one step of size $1.25\,\epsilon$ from a random point of the ball; update at its end |
# | `"pgd"` | $k$ steps from a random point; update at their end |
# | `"trades"` | $k$ steps as for `"pgd"`; the update takes a loss at $\mathbf x$ **and** one at $\tilde{\mathbf x}$, a pass each |
#
# ### Exercise 7.7a: the slow-down · easy · 5 minutes · 1 point
#
# How many times as long as ordinary training does a method take, counted in passes per batch?
#
# <details><summary>Hint</summary>
# The passes of the attack plus those of the update. A random start takes none.
# </details>

# %% solution="slowdown"
def slowdown(method: str, steps: int) -> float:
    """The passes (forward and back) for a batch, where ordinary training takes one.

    method: "standard", "fgsm", "fast", "pgd" or "trades", as in the table. steps: the number k of
    steps, for "pgd" and "trades"; the others pay no attention to it.
    Returns a number.
    """
    ### BEGIN SOLUTION
    attack = {"standard": 0, "fgsm": 1, "fast": 1}.get(method, steps)
    return attack + (2 if method == "trades" else 1)
    ### END SOLUTION

# %% test="slowdown" points=1
# Run this cell to check your slowdown. (The dots unfold it: what is tried, and what is expected.)
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("slowdown", points=1)

@exercise.case("PGD with seven steps")
def _(slowdown):
    expect.close(expect.number(slowdown("pgd", 7)), 8, mistakes={
        "These are the passes of the attack. The update takes one as well.": 7,
        "Forward and back together are one pass.": 16,
        "That is as for one step. Each of the k steps takes a pass.": 2,
        "Where does the second extra pass come from? A random start takes none.": 9,
    }, hint="k steps of the attack and one update.")

@exercise.case("one step: FGSM and fast, whatever is said about steps")
def _(slowdown):
    for method in ("fgsm", "fast"):
        expect.close(expect.number(slowdown(method, 7)), 2, mistakes={
            "This method takes one step, not k.": 8,
            "The update takes a pass as well.": 1,
            "A random start takes no pass.": 3,
        }, hint="One step of the attack, one update.")

@exercise.case("ordinary training and TRADES")
def _(slowdown):
    expect.close(expect.number(slowdown("standard", 7)), 1, hint="Ordinary training is what is compared with.", mistakes={
        "There is no attack in ordinary training, but there is an update.": 0, "There is no attack in ordinary training.": 8})
    expect.close(expect.number(slowdown("trades", 10)), 12, mistakes={
        "The update of TRADES takes two passes: one at x, one at the attacked point.": 11,
        "The attack of TRADES has k steps, as that of PGD.": 3,
    }, hint="k steps; and an update with two losses.")

### BEGIN HIDDEN TESTS
@exercise.case("other numbers of steps", hint="Is the number of steps used, not one written out?", hidden=True)
def _(slowdown):
    for steps in (1, 9, 40):
        expect.close(expect.number(slowdown("pgd", steps)), steps + 1)
        expect.close(expect.number(slowdown("trades", steps)), steps + 2)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# The slide says "about 10x". **For which number $k$ of PGD steps is that right, and is it also what a clock says?** A network of three layers, a few batches of real digits, counted and timed. All take turns on each batch, and each keeps its best time, so that a busy machine spoils as little as it can:

# %% demo="ten-times"
def three_layers():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(),
                             nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)).eval()

def attack_of(steps):
    ball = LpBall(0.1, math.inf)
    return None if steps == 0 else partial(attacks.pgd, threat=ball, steps=steps, early_stop=False)

runs = {steps: evaluation.counting(three_layers()) for steps in (0, 1, 3, 7, 9)}
seconds, some = dict.fromkeys(runs, math.inf), slice(600)
batches = list(zip(train_digits.x[some].split(100), train_digits.y[some].split(100)))
for images, labels in tqdm(batches, desc="timing", leave=False):
    for steps, network in runs.items():
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        start = time.perf_counter()
        training.training_step(network, optimizer, images, labels, attack_of(steps))
        seconds[steps] = min(seconds[steps], time.perf_counter() - start)

your_slowdown = checks.yours("slowdown", lambda method, steps: {"standard": 1, "pgd": steps + 1, "trades": steps + 2}.get(method, 2))
print("PGD steps   passes by your rule   counted   by the clock")
for steps in list(runs)[1:]:
    counted = runs[steps].gradients / len(train_digits.x[some])
    ruled, clock = your_slowdown("pgd", steps), seconds[steps] / seconds[0]
    print(f"{steps:>9}   {ruled:>19.0f}   {counted:>7.0f}   {clock:>10.1f} x")

# %% [markdown]
# Ten times is nine steps. With the seven steps of Madry et al. it is eight times, with two steps three times: the figure on the slide is a matter of the attack one wants to pay for. A clock agrees roughly. What it sees besides: the attack also looks at its first and its last point, forward only, which counts where there is a single step; it projects; and its passes go back as far as the pixels, while the update moves the weights. (In a convolutional network the first layer, with its many places, can make a step of the attack twice as dear as an update, and "10x" is reached with five or six steps.) And all this is the price of an *epoch*; robust training often wants more of them.
#
# ### Exercise 7.7b: one step, but a good one · medium · 10 minutes · 2 points
#
# The cheapest attack has a single step. The "fast" recipe (Wong, Rice and Kolter 2020) starts it at a **random point** of the ball:
#
# $$\mathbf x_0 = \mathbf x + \epsilon\,\mathbf n, \qquad \tilde{\mathbf x} = \Pi\big(\mathbf x_0 + 1.25\,\epsilon \operatorname{sign}(\nabla_{\mathbf x}\ell(f_\theta(\mathbf x_0), y))\big),$$
#
# with $\mathbf n$ uniform in $[-1, 1]$, drawn for each pixel, and $\Pi$ the projection onto the ball around $\mathbf x$ and $[0, 1]$. The start itself is not clamped to $[0, 1]$. The noise comes as an argument, so that the result can be checked. References: `attacks.input_gradient(model, x, y)` and `LpBall(eps, math.inf).project(x_tilde, x)`.
#
# <details><summary>Hint</summary>
# Two points take part: the gradient is taken at $\mathbf x_0$, the ball lies around $\mathbf x$.
# </details>

# %% solution="fast_point"
def fast_point(model, x: torch.Tensor, y: torch.Tensor, eps: float,
               noise: torch.Tensor) -> torch.Tensor:
    """One sign step of 1.25 eps from x + eps * noise, projected onto the L-inf ball around x and
    [0, 1].

    model: returns logits (B, K). x: (B, ...) images in [0, 1]. y: (B,) labels. eps: radius. noise:
    like x, in [-1, 1].
    Returns the perturbed images, like x. Where a gradient is zero a pixel makes no step from x_0.
    """
    ### BEGIN SOLUTION
    x_0 = x + eps * noise
    uphill = attacks.input_gradient(model, x_0, y).sign()
    return LpBall(eps, math.inf).project(x_0 + 1.25 * eps * uphill, x)
    ### END SOLUTION

# %% test="fast_point" points=2
# Run this cell to check your fast_point. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import attacks, checks
from coursekit.checks import expect

exercise = checks.Exercise("fast_point", points=2, by_hand=["coursekit.training.methods.fast"])
weight = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.2, 1.0, -3.0, 0.5]])
linear = checks.network(("linear", weight, None), name="a linear classifier")

def box(z, x, eps):
    return torch.minimum(torch.maximum(z, x - eps), x + eps).clamp(0, 1)

@exercise.case("grey images: from the random start, 1.25 eps, back into the ball")
def _(fast_point):
    x, y, noise = torch.full((1, 4), 0.5), torch.tensor([0]), torch.tensor([[1.0, 1.0, -0.5, -0.5]])
    up = torch.tensor([[-1.0, 1.0, -1.0, -1.0]])
    start = x + 0.2 * noise
    expect.close(expect.tensor(fast_point(linear, x, y, 0.2, noise), like=x), box(start + 0.25 * up, x, 0.2), mistakes={
        "The step has length eps. From a random point the far edge may be further: 1.25 eps.": box(start + 0.2 * up, x, 0.2),
        "The noise is left out: this is a step from x.": box(x + 0.25 * up, x, 0.2),
        "The result left the ball around x: it is not projected.": (start + 0.25 * up).clamp(0, 1),
        "You project onto the ball around the random start. It is the ball around x that counts.": box(start + 0.25 * up, start, 0.2),
        "The step goes downhill.": box(start - 0.25 * up, x, 0.2),
        "noise is scaled by eps: it lies in [-1, 1], and the ball has radius eps.": box(x + noise + 0.25 * up, x, 0.2),
        "This is the perturbation alone. Add it to x.": box(start + 0.25 * up, x, 0.2) - x,
        "This is the random start. The step is missing.": box(start, x, 0.2),
        "The step has length 1.25. It is 1.25 eps.": box(start + 1.25 * up, x, 0.2),
        "You step along the gradient itself. Take its sign.": box(start + 0.25 * attacks.input_gradient(linear.build(), start, y), x, 0.2),
    }, hint="x_0 = x + eps * noise; gradient there; 1.25 eps in its sign; projection around x.")

@exercise.case("the gradient is that of the random start, not that of x")
def _(fast_point):
    # One pixel u; the loss of class 1 is highest at u = 0.6 and falls on both sides.
    peak = checks.network(("linear", torch.tensor([[1.0], [-1.0]]), torch.tensor([-0.6, 0.6])), ("relu",),
                          ("linear", torch.tensor([[0.0, 0.0], [5.0, 5.0]]), None), name="a loss with its peak at 0.6")
    x, y, noise = torch.tensor([[0.5], [0.7], [0.5]]), torch.tensor([1, 1, 1]), torch.tensor([[0.9], [-0.9], [-0.9]])
    start = x + 0.2 * noise
    slope, slope_far = (attacks.input_gradient(peak.build(), points, y) for points in (start, x + noise))
    slope_at_x = attacks.input_gradient(peak.build(), x, y)
    expect.close(expect.tensor(fast_point(peak, x, y, 0.2, noise), like=x), box(start + 0.25 * slope.sign(), x, 0.2), mistakes={
        "The gradient is taken at x. Take it where the step starts.": box(start + 0.25 * slope_at_x.sign(), x, 0.2),
        "noise is scaled by eps: it lies in [-1, 1], and the ball has radius eps.": box(x + noise + 0.25 * slope_far.sign(), x, 0.2),
        "The step starts at x. The gradient is that of x_0; the step begins there, too.": box(x + 0.25 * slope.sign(), x, 0.2),
        "The noise is left out: this is a step from x.": box(x + 0.25 * slope_at_x.sign(), x, 0.2),
        "You project onto the ball around the random start. It is the ball around x that counts.": box(start + 0.25 * slope.sign(), start, 0.2),
        "You step along the gradient itself. Take its sign.": box(start + 0.25 * slope, x, 0.2),
        "The step goes downhill.": box(start - 0.25 * slope.sign(), x, 0.2),
        "The step has length eps. From a random point the far edge may be further: 1.25 eps.": box(start + 0.2 * slope.sign(), x, 0.2),
    }, hint="At x_0 the loss falls the other way than at x: which of the two does your gradient see?")

@exercise.case("dark and bright pixels stay in [0, 1]; the start need not; nothing is edited in place")
def _(fast_point):
    x, y = torch.tensor([[0.05, 0.95, 0.0, 1.0], [0.1, 0.5, 0.9, 0.3]]), torch.tensor([0, 1])
    noise = torch.tensor([[-1.0, 1.0, -0.8, 0.9], [0.2, -0.3, 0.7, -1.0]])
    up = attacks.input_gradient(linear.build(), x, y).sign()  # a linear loss: the same signs everywhere
    clamped = (x + 0.3 * noise).clamp(0, 1)
    got = expect.tensor(fast_point(linear, x, y, 0.3, noise), like=x)
    expect.inside(got, x, 0.3)
    expect.close(got, box(x + 0.3 * noise + 0.375 * up, x, 0.3), mistakes={
        "The start is clamped to [0, 1]. Here only the end is.": box(clamped + 0.375 * up, x, 0.3),
    }, hint="Only the end is projected: onto the ball around x, and into [0, 1].")
    expect.unchanged(fast_point)

@exercise.case("a gradient of zero: the random start, and no NaN", hint="g / |g| is NaN where the gradient is zero. The sign of 0 is 0.")
def _(fast_point):
    flat = checks.network(("linear", torch.zeros(3, 4), None), name="a constant classifier")
    x, noise = torch.full((2, 4), 0.5), torch.tensor([[0.5, -0.5, 1.0, 0.0], [-1.0, 0.2, 0.0, 0.7]])
    got = expect.tensor(fast_point(flat, x, torch.tensor([0, 1]), 0.2, noise), like=x, hint="g / |g| is NaN where the gradient is zero. Take .sign(), which is 0 there.")
    expect.close(got, x + 0.2 * noise, hint="Where the gradient is zero there is no step: what stays is the random start.")

### BEGIN HIDDEN TESTS
@exercise.case("a curved loss, other shapes and classes", hidden=True, hint="Gradient at x_0, 1.25 eps, projection around x.")
def _(fast_point):
    net = checks.network(("flatten",), ("linear", 2 * torch.randn(9, 12), torch.randn(9)), ("tanh",), ("linear", 2 * torch.randn(4, 9), None))
    x, y, noise = torch.rand(3, 3, 2, 2), torch.tensor([1, 3, 0]), 2 * torch.rand(3, 3, 2, 2) - 1
    for eps in (0.07, 0.4):
        start = x + eps * noise
        up = attacks.input_gradient(net.build(), start, y).sign()
        expect.close(expect.tensor(fast_point(net, x, y, eps, noise), like=x), box(start + 1.25 * eps * up, x, eps))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 7.8 Overnight collapse
#
# Why bother with a random start? FGSM training costs the same. Here is a network of the package that was trained on FGSM's examples with $\epsilon = 0.2$. Of its epochs the one was kept that did best under PGD, so it shows the method at its best.
#
# ### Predict, then reveal
#
# On clean digits it is nearly always right. **Of 100 digits, how many does it get right under FGSM with ε = 0.2, and how many under PGD with ten steps?**

# %%
my_guess = None  # replace None by two numbers, for instance (50, 40)

# %% demo="one-step-against-ten"
def pgd_of(steps, eps, loss=losses.cross_entropy):
    return lambda model, x, y: attacks.pgd(model, x, y, LpBall(eps, math.inf), steps=steps, loss=loss,
                                           generator=torch.Generator().manual_seed(0))

def fgsm_of(eps):
    return lambda model, x, y: attacks.fgsm(model, x, y, LpBall(eps, math.inf))

one_step_model = models.load("mnist_cnn", training="fgsm", eps=0.2)
under = [evaluation.robust_accuracy(one_step_model, x, y, attack).robust
         for attack in (fgsm_of(0.2), pgd_of(10, 0.2))]
checks.reveal(my_guess, f"FGSM {100 * under[0]:.0f}, PGD {100 * under[1]:.0f}",
              "The network has learned to defeat the one step it was trained with, not the attacker.")

# %% [markdown]
# Watch it happen. A small network is trained live on 4,000 digits with $\epsilon = 0.2$, twice: with FGSM's examples and with the "fast" ones. After every epoch both are attacked, with one step and with five.

# %% demo="overnight"
def small_network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            models.architectures.Normalize([0.1307], [0.3081]),
            nn.Conv2d(1, 8, 4, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(8, 16, 4, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10)).eval()

def history_of(method, epochs=6):
    """Trains; after each epoch the accuracy under FGSM and under PGD of 200 test digits.

    Returns the network of the epoch that was best under PGD, and both lists.
    """
    one_step, many_steps = [], []

    def watch(network, images, labels):  # called after every epoch with the digits that it gets right
        for found, attack in ((one_step, fgsm_of(0.2)), (many_steps, pgd_of(5, 0.2))):
            worst = attack(network, images, labels)
            found.append(float((network(worst).argmax(1) == labels).sum()) / 200)
        return worst

    network = training.adversarial_fit(
        small_network(), train_digits.x, train_digits.y, LpBall(0.2, math.inf), method=method,
        epochs=epochs, lr=1.5e-2, eps_schedule=training.ramp(0.2), generator=torch.Generator().manual_seed(0),
        validation=(test_digits.x[:200], test_digits.y[:200]), validation_attack=watch)
    return network, one_step, many_steps

kept, histories = {}, {}
for method in ("fgsm", "fast"):
    kept[method], *histories[method] = history_of(method)
plots.collapse({"trained with FGSM": histories["fgsm"], "trained with “fast”": histories["fast"]})

# %% [markdown]
# Left the one-step accuracy climbs and looks splendid, while the accuracy under PGD rises for some epochs and then, within one or two, breaks down. This is **catastrophic overfitting**. The weights have found a way out that the training loss cannot see: they bend the loss so that its gradient at $\mathbf x$ points to a place where the loss is low. One step walks right into it. The random start of "fast" looks from another place each time, and that is harder to deceive (not impossible: with a larger $\epsilon$, a longer training or a larger network it collapses, too). And since the loss is no help, somebody must look at PGD **during** training.
#
# ### Exercise 7.8: the alarm · easy · 10 minutes · 2 points
#
# Write the alarm that a training script would use. Given are the accuracies under one step and under many steps after each epoch. Return the number of the **first** epoch, counted from 1, in which both of these hold:
#
# * the accuracy under many steps lies by more than `drop` below the best that it had in any *earlier* epoch;
# * the accuracy under one step lies by more than `drop` above that under many steps.
#
# Return 0 if there is none. (The second condition tells this collapse from a training that simply goes badly, where both fall together.)
#
# <details><summary>Hint</summary>
# A loop over the epochs that carries along the best value so far. Before the first epoch there is no best: nothing can have fallen.
# </details>

# %% solution="breakdown"
def breakdown(one_step: list[float], many_steps: list[float], drop: float) -> int:
    """The first epoch of catastrophic overfitting, counted from 1; 0 if there is none.

    one_step, many_steps: robust accuracies, in [0, 1], after each epoch; equally long, perhaps
    empty. drop: in [0, 1].
    """
    ### BEGIN SOLUTION
    best = -math.inf
    for epoch, (one, many) in enumerate(zip(one_step, many_steps), start=1):
        if many < best - drop and one > many + drop:
            return epoch
        best = max(best, many)
    return 0
    ### END SOLUTION

# %% test="breakdown" points=2
# Run this cell to check your breakdown. (The dots unfold it: what is tried, and what is expected.)
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("breakdown", points=2, by_hand=["coursekit.training.breakdown"])

def epoch_of(got):
    expect.that(got is not None, "None", "a number", "Return 0 where there is no such epoch. (Or did you forget a return?)")
    return expect.number(got)

def joined_by_or(breakdown):
    """Whether one condition is enough for the function: a fall of both, and a gap without a fall."""
    return breakdown([0.7, 0.8, 0.15], [0.5, 0.6, 0.1], 0.2) == 3 and breakdown([0.9, 0.9], [0.1, 0.1], 0.2) in (1, 2)

OR = "Both conditions must hold in the same epoch: join them with `and`, not with `or`."

@exercise.case("a collapse in the fourth epoch")
def _(breakdown):
    got = epoch_of(breakdown([0.5, 0.7, 0.75, 0.9, 0.95], [0.2, 0.45, 0.4, 0.1, 0.05], 0.2))
    expect.close(got, 4, mistakes={
        "Epochs are counted from 1, a list from 0.": 3,
        "This is the last epoch that fulfils both conditions. The first is asked for.": 5,
        "This is the best epoch, the one to keep. Asked for is the first bad one.": 2,
        OR if got == 1 and joined_by_or(breakdown) else "Here the two accuracies are far apart, but that under many steps has not fallen yet.": 1,
        "No alarm? In epoch 4 it is 0.1 after a best of 0.45, and FGSM shows 0.9.": 0,
    }, hint="Both conditions, epoch by epoch.")

@exercise.case("a slow decline: the best of all earlier epochs counts, not the epoch before")
def _(breakdown):
    got = epoch_of(breakdown([0.7, 0.8, 0.85, 0.85, 0.9], [0.6, 0.55, 0.45, 0.35, 0.3], 0.2))
    expect.close(got, 4, mistakes={
        "You compare with the epoch before. The decline is slow: compare with the best so far.": 0,
        "Epochs are counted from 1, a list from 0.": 3,
        "In epoch 4 it is 0.25 below the best already.": 5,
        OR if got == 2 and joined_by_or(breakdown) else "In epoch 2 the two lie apart, but that under many steps has hardly fallen.": 2,
    }, hint="Carry along the best value of the epochs before.")

@exercise.case("both fall together, later one step recovers: the alarm waits for the fifth epoch")
def _(breakdown):
    got = epoch_of(breakdown([0.6, 0.7, 0.15, 0.2, 0.9], [0.5, 0.6, 0.1, 0.15, 0.3], 0.2))
    expect.close(got, 5, mistakes={
        OR if got == 3 and joined_by_or(breakdown) else "In epoch 3 one step and many fall together: the second condition is not fulfilled.": 3,
        "Epochs are counted from 1, a list from 0.": 4,
        "In epoch 5 one step shows 0.9 and many 0.3, after a best of 0.6.": 0,
    }, hint="Only where one step still looks good, and many steps do not.")

@exercise.case("no alarm where all is well, or never was, or where there is no epoch; a late one where it ends badly",
               hint="A training without an epoch has no collapse: 0 for empty lists.")
def _(breakdown):
    expect.close(epoch_of(breakdown([0.5, 0.7, 0.8], [0.4, 0.6, 0.65], 0.2)), 0, hint="Nothing falls: the answer is 0.")
    got = epoch_of(breakdown([0.9, 0.9, 0.9], [0.05, 0.06, 0.05], 0.2))
    expect.close(got, 0, mistakes={
        OR if got == 1 and joined_by_or(breakdown) else "It has not fallen: it never was high. Compare with earlier epochs.": 1}, hint="Before the first epoch there is no best.")
    expect.close(epoch_of(breakdown([], [], 0.2)), 0, hint="A training without an epoch has no collapse: 0 for empty lists.")
    expect.close(epoch_of(breakdown([0.5, 0.7, 0.8], [0.4, 0.6, 0.35], 0.2)), 3, hint="In epoch 3 it is 0.35 after a best of 0.6.")

@exercise.case('exactly `drop` is not "more than drop"')
def _(breakdown):  # 0.25 and the others are exact as floats
    expect.close(epoch_of(breakdown([0.75, 1.0, 1.0], [0.75, 0.5, 0.25], 0.25)), 3, mistakes={
        "In epoch 2 it lies exactly 0.25 below the best: more than drop means >, not >=.": 2},
        hint="More than drop below the best, and more than drop above many steps: >, not >=.")
    expect.close(epoch_of(breakdown([0.75, 0.5, 0.75], [0.75, 0.25, 0.25], 0.25)), 3, mistakes={
        "In epoch 2 one step lies exactly 0.25 above many: more than drop means >, not >=.": 2},
        hint="More than drop below the best, and more than drop above many steps: >, not >=.")

@exercise.case("it recovers later: the first collapse counts; the lists are left as they were")
def _(breakdown):
    got = epoch_of(breakdown([0.6, 0.9, 0.9, 0.65, 0.9], [0.2, 0.5, 0.1, 0.6, 0.1], 0.3))
    expect.close(got, 3, mistakes={
        "The first collapse counts, not the last.": 5,
        "Epochs are counted from 1, a list from 0.": 2,
        OR if got == 1 and joined_by_or(breakdown) else "Nothing has fallen in the first epoch. Look back only: the best of the whole training lies in a later one.": 1,
    }, hint="Epoch 3 is the first.")
    expect.unchanged(breakdown)

### BEGIN HIDDEN TESTS
@exercise.case("another drop; one that starts high and later peaks higher", hidden=True,
               hint="drop is used in both conditions; only earlier epochs count.")
def _(breakdown):
    expect.close(expect.number(breakdown([0.4, 0.5, 0.9, 0.9], [0.3, 0.35, 0.31, 0.2], 0.1)), 4)
    expect.close(expect.number(breakdown([0.9, 0.9], [0.2, 0.8], 0.3)), 0)
    expect.close(expect.number(breakdown([0.6, 0.5, 0.62], [0.55, 0.3, 0.3], 0.22)), 3)
### END HIDDEN TESTS

exercise.score()

# %% demo="alarm"
your_breakdown = checks.yours("breakdown", training.breakdown)
for method, (one_step, many_steps) in histories.items():
    alarm = your_breakdown(one_step, many_steps, 0.2)
    said = f"alarm in epoch {alarm:.0f}" if alarm else "no alarm"
    print(f"{method:<5} {said:<18}  PGD accuracy: best {max(many_steps):.0%}, at the end {many_steps[-1]:.0%}")

# %% [markdown]
# Three cures, then: a random start; more than one step; and, whatever the method, **keep the epoch that is best under PGD**. (`training.adversarial_fit` does that when it is given `validation`; here it did, and the network of the left picture that was kept is the one of its best epoch. To be strict, one would choose the epoch on other images than those that the accuracy is then reported on.)
#
# ## 7.9 The summary, measured
#
# Now every line of the summary slide. Robustness and clean accuracy are one matter; the third, "no guarantee", asks for more care. **Every** attack gives an upper bound of the robust accuracy, and the bounds of several attacks can be joined: an image is robust as far as we know if it withstands all of them. One attack may fool this image, another that one.
#
# ### Exercise 7.9: one row of the table · easy · 10 minutes · 2 points
#
# For a model and the results of $A$ attacks on the same images, return a dictionary with the clean accuracy, the robust accuracy under each attack, and that under all of them together. As always an image counts as robust only if it was right to begin with.
#
# <details><summary>Hint</summary>
# Booleans, one row for each attack: <code>model(points).argmax(dim=1) == y</code>. What is right under all attacks: <code>.all(dim=0)</code>, or <code>&amp;</code> one after another. Only then the mean.
# </details>

# %% solution="summary_row"
def summary_row(model, x: torch.Tensor, y: torch.Tensor, x_adv: torch.Tensor) -> dict:
    """What is known about a model after several attacks.

    model: returns logits (B, K). x: (B, ...) images. y: (B,) labels. x_adv: (A, B, ...), what each
    of A attacks made of the same images.
    Returns {"clean": share of images that are right, "each": list of A shares, right before and
    after that attack, "worst": share right before and after every attack}, all numbers from 0 to 1.
    """
    ### BEGIN SOLUTION
    clean = model(x).argmax(dim=1) == y
    kept = torch.stack([clean & (model(points).argmax(dim=1) == y) for points in x_adv])
    return {"clean": clean.double().mean().item(), "each": kept.double().mean(dim=1).tolist(),
            "worst": kept.all(dim=0).double().mean().item()}
    ### END SOLUTION

# %% test="summary_row" points=2
# Run this cell to check your summary_row. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks, data
from coursekit.checks import expect
from coursekit.perturbations import LpBall

exercise = checks.Exercise("summary_row", points=2, by_hand=["coursekit.evaluation.robust_accuracy", "coursekit.evaluation.attack_report"])
two_pixels = checks.network(("linear", torch.eye(2), None), name="logits = pixels")
zero, one = [0.9, 0.1], [0.1, 0.9]  # predicted as 0 and as 1

def entry(row, key, attacks=None):
    """The number, or for "each" the numbers, under a key of the dictionary; the other entries do not matter here."""
    wanted = 'a dictionary with "clean", "each" and "worst"'
    expect.that(row is not None, "None", wanted, "Did you forget a return?")
    expect.that(isinstance(row, dict), row, wanted)
    expect.that(key in row, f"no entry {key!r}", wanted)
    if key != "each":
        return expect.number(row[key])
    each = row["each"].tolist() if isinstance(row["each"], torch.Tensor) and row["each"].ndim else row["each"]
    expect.that(isinstance(each, list) and len(each) == attacks, row["each"], f"a list of {attacks} numbers as \"each\"",
                "One number for each attack: attacks come first in x_adv.")
    return torch.tensor([expect.number(share) for share in each], dtype=torch.float64)

# Of ten images of class 0 the first nine are right. Attack 1 fools numbers 0 to 2, attack 2 numbers 1 to 5; number 9, wrong
# to begin with, is right after attack 1.
some_x = torch.tensor([zero] * 9 + [one])
some_x_adv = torch.tensor([[one] * 3 + [zero] * 7, [zero] + [one] * 5 + [zero] * 3 + [one]])
some_y = torch.zeros(10, dtype=torch.int64)

@exercise.case("clean accuracy")
def _(summary_row):
    clean = entry(summary_row(two_pixels, some_x, some_y, some_x_adv), "clean")
    expect.close(clean, 0.9, hint="Nine of ten images are right.", mistakes={
        "This is the share that is wrong.": 0.1, "This is a number of images: divide by their number.": 9, "Give shares from 0 to 1, not per cent.": 90})

@exercise.case("robust accuracy under each attack")
def _(summary_row):
    each = entry(summary_row(two_pixels, some_x, some_y, some_x_adv), "each", 2)
    expect.close(each, torch.tensor([0.6, 0.4]).double(), mistakes={
        "Image 9 was wrong before and is right after attack 1. It is not robust.": torch.tensor([0.7, 0.4]).double(),
        "This is the share that was fooled.": torch.tensor([0.3, 0.5]).double(),
        "You divide by the images that were right to begin with. All images count.": torch.tensor([6 / 9, 4 / 9]).double(),
    }, hint="Right before, and right after this attack.")

@exercise.case("under all attacks together: image by image")
def _(summary_row):
    worst = entry(summary_row(two_pixels, some_x, some_y, some_x_adv), "worst")
    expect.close(worst, 0.3, mistakes={
        "This is the smaller of two accuracies. The attacks fool different images: look image by image.": 0.4,
        "This is the product of two accuracies. The attacks fool different images: look image by image.": 0.24,
        "An image that withstands one of the attacks is not yet robust. It must withstand all.": 0.7,
        "This is the mean of the accuracies. Look image by image.": 0.5,
    }, hint="Robust is what was right before and is right after every attack.")

@exercise.case("real digits; model and images are left as they were")
def _(summary_row):
    digits, cnn = data.load("mnist", "test"), checks.model("mnist_cnn")
    images, labels, network = digits.x[:20], digits.y[:20], cnn.build()
    found = torch.stack([attacks.fgsm(network, images, labels, LpBall(eps, math.inf)) for eps in (0.02, 0.1, 0.2)])
    right = torch.stack([network(points).argmax(1) == labels for points in (images, *found)])
    row = summary_row(cnn, images, labels, found)
    expect.unchanged(summary_row)
    clean, each, worst = entry(row, "clean"), entry(row, "each", 3), entry(row, "worst")
    expect.close(clean, right[0].double().mean().item())
    expect.close(each, (right[0] & right[1:]).double().mean(1), hint="Right before, and right after this attack.")
    expect.close(worst, right.all(0).double().mean().item(), hint="Right before, and after every attack.")

### BEGIN HIDDEN TESTS
@exercise.case("ten classes, one attack or several, other shapes", hidden=True, hint="Attacks come first in x_adv; an image counts if it is right throughout.")
def _(summary_row):
    net = checks.network(("flatten",), ("linear", torch.randn(10, 12), None))
    for count in (1, 4):
        network, x = net.build(), torch.rand(30, 3, 2, 2)
        x_adv = (x + 0.2 * torch.randn(count, 30, 3, 2, 2)).clamp(0, 1)
        y = torch.where(torch.rand(30) < 0.8, network(x).argmax(1), torch.randint(0, 10, (30,)))
        right = torch.stack([network(points).argmax(1) == y for points in (x, *x_adv)])
        row = summary_row(net, x, y, x_adv)
        clean, each, worst = entry(row, "clean"), entry(row, "each", count), entry(row, "worst")
        expect.close(clean, right[0].double().mean().item())
        expect.close(each, (right[0] & right[1:]).double().mean(1))
        expect.close(worst, right.all(0).double().mean().item())
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# The table. All networks are of one architecture and were trained on the same 4,000 digits, the robust ones for $\epsilon = 0.2$; the attack has $\epsilon = 0.2$. The last attack climbs another loss, the margin between the logits, with more steps and restarts.

# %% demo="summary-table"
contestants = {"standard": ("standard", 0), "fgsm": ("fgsm", 1), "fast": ("fast", 1),
               "pgd, k = 5": ("pgd", 5), "trades, k = 5": ("trades", 5)}  # name: method and its steps

def margin_attack(network, x, y):
    return attacks.pgd(network, x, y, LpBall(0.2, math.inf), steps=20, restarts=2,
                       loss=losses.margin, generator=torch.Generator().manual_seed(1))

def reference_row(model, x, y, x_adv):
    whole = {"batch_size": len(x)}
    start = evaluation.robust_accuracy(model, x, y, lambda model, images, labels: images, **whole)
    ends = [evaluation.robust_accuracy(model, x, y, lambda *_, found=found: found[start.correct], **whole) for found in x_adv]
    together = functools.reduce(torch.logical_and, (end.survived for end in ends))
    return {"clean": start.clean, "each": [end.robust for end in ends], "worst": float(together.double().mean())}

your_row = checks.yours("summary_row", reference_row)
three_attacks = fgsm_of(0.2), pgd_of(10, 0.2), margin_attack
table, networks = {}, {}
for name, (method, _) in tqdm(contestants.items(), desc="attacking", leave=False):
    networks[name] = models.load("mnist_cnn", training=method, eps=None if method == "standard" else 0.2)
    found, right = x.repeat(3, 1, 1, 1, 1), networks[name](x).argmax(1) == y
    for number, attack in enumerate(three_attacks):  # what is wrong anyway need not be attacked
        found[number, right] = attack(networks[name], x[right], y[right])
    table[name] = your_row(networks[name], x, y, found)
print("training        passes   clean    FGSM  PGD-10  margin  all three")
for name, row in table.items():
    shares = "  ".join(f"{share:>6.0%}" for share in [row["clean"], *row["each"], row["worst"]])
    print(f"{name:<14}  {your_slowdown(*contestants[name]):>5.0f} x  {shares}")
print("\nclean accuracy on all 1,000 test digits, as recorded with the weights:")
for method, eps in (("standard", None), ("pgd", 0.1), ("pgd", 0.2), ("pgd", 0.3), ("trades", 0.2)):
    recorded = float(models.recipe("mnist_cnn", method, eps)["clean"])
    print(f"  {method:<9}{'' if eps is None else f'ε = {eps}':<8} {recorded:.1%}")

# %% [markdown]
# Line by line, from the slide:
#
# * **"It empirically increases robustness."** From nothing to about nine in ten with PGD. The "fast" network comes fairly close at a third of its price; FGSM alone looks best in its own column, and falls behind all other trained ones as soon as an attack takes more than its one step.
# * **"It is easy to implement."** You did, in 7.5 and 7.6. It is also easy to get wrong without noticing.
# * **"The slowdown is about 10x."** It is $k + 1$: 6 for the PGD network here, 2 for "fast", 10 for nine steps.
# * **"Typically lower accuracy on clean data."** *Typically*. In the plane you saw it. On these digits the hundred of the table can hardly tell, so look at the thousand below it: with PGD the clean accuracy is *higher* than that of the standard network up to $\epsilon = 0.2$, since with only 4,000 images to learn from the attacked ones also work as additional data. It falls as $\epsilon$ grows, and TRADES, which is told to care more about robustness, pays at once. On harder images the price is plain: on CIFAR-10 ($\epsilon = 8/255$) Madry et al. report 87 % instead of 95 %.
# * **"No theoretical guarantees."** Look at the last columns: whenever the table gets another attack, "all three" can only fall, and it says nothing about the attack that is not in it. Where PGD-10 and the margin attack agree, that is a good sign and no proof.
#
# ### The truth, for once
#
# The training gives no guarantee. Whether the trained network *is* robust is another question, and for one with two hidden layers of 32 neurons it has an exact answer (assignment 09), image by image: a point that is misclassified, or a proof that there is none. Two such networks, trained the ordinary way and with PGD, on 100 digits and ε = 0.03. (A few seconds.)

# %% demo="truth"
from coursekit.certify import exact

small_ball = LpBall(0.03, math.inf)
images, labels = x, y
print(f"{'of 100 digits':<20}{'right':>8}{'after PGD-10':>14}{'proven robust':>15}{'undecided':>11}")
for method in ("standard", "pgd"):
    small = models.load("mnist_mlp", method)
    attacked = attacks.pgd(small, images, labels, small_ball, steps=10, generator=torch.Generator().manual_seed(0))
    verdicts = exact.verify(small, images, labels, small_ball, time_limit=2)
    right, after = (int((small(z).argmax(1) == labels).sum()) for z in (images, attacked))
    proven, open_still = (verdicts.status.count(status) for status in ("robust", "undecided"))
    print(f"{method:<20}{right:>8}{after:>14}{proven:>15}{open_still:>11}")

# %% [markdown]
# So PGD was right, or off by a digit or two, and robustness gained is robustness indeed. But that is known now, and not because of the training: somebody had to prove it, for these digits and this network. For larger networks the proof gets out of reach, unless the training already has it in mind (assignment 10).
#
# ### The whole curve
#
# One radius hides much. Here is the accuracy under PGD for every radius up to 0.3:

# %% demo="curves"
eps_values = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
lines = {}
for name in tqdm(("standard", "fgsm", "fast", "pgd, k = 5"), desc="attacks at each ε", leave=False):
    def ten_steps(model, images, labels, threat):  # the same random start as in the table
        return attacks.pgd(model, images, labels, threat, steps=10, generator=torch.Generator().manual_seed(0))

    balls = [LpBall(eps, math.inf) for eps in eps_values]
    results = evaluation.accuracy_curve(networks[name], x, y, ten_steps, balls)
    bands = zip(*(result.interval for result in results))
    lines[name] = (eps_values, [result.robust for result in results], *bands)
plots.curves(lines, chance=0.1)

# %% [markdown]
# The network trained with PGD holds up to the radius it was trained for, 0.2, and gives way quickly beyond it; so does "fast", a little earlier. **Robustness is bought for one set $\mathcal P(\mathbf x)$**, and it is robustness in this set: not for larger radii, and not for rotations or glasses (assignments 02 and 05).
#
# ### What the network has learned instead
#
# The gradient of the loss by the pixels tells what a network listens to. First that of the ordinary one, then that of the one trained with PGD at $\epsilon = 0.2$; each picture is scaled to its own largest value.

# %% demo="gradients-standard"
slopes_at_x = attacks.input_gradient(networks["standard"], x[:6], y[:6])
plots.gradient(x[:6], slopes_at_x, titles=["ordinary training"] + [""] * 5)

# %% demo="gradients-robust"
slopes_at_x = attacks.input_gradient(networks["pgd, k = 5"], x[:6], y[:6])
plots.gradient(x[:6], slopes_at_x, titles=["adversarial training"] + [""] * 5)

# %% [markdown]
# Nobody asked for it, and still: the ordinary network listens to specks all over the image, also where there is nothing to see. The robust one listens to the strokes, and hardly to the black around them. It has given up the weak features of 7.6, since each of them can be turned around (Tsipras et al. 2019; Etmann et al. 2019).
#
# But *how* does it manage not to hear the black pixels, of which the attacker may raise every one by 0.2? Raise them all, by $t$, and look.

# %% demo="threshold"
print("                 logits move by      right")
print("all black += t   ordinary  robust    ordinary  robust")
pair = networks["standard"], networks["pgd, k = 5"]
for t in (0.1, 0.2, 0.3):
    raised = torch.where(x == 0, t, x)
    moved = [(network(raised) - network(x)).abs().amax(1).mean().item() for network in pair]
    right = [float((network(raised).argmax(1) == y).double().mean()) for network in pair]
    print(f"     t = {t}     {moved[0]:>8.2f}  {moved[1]:>6.2f}    {right[0]:>8.0%}  {right[1]:>6.0%}")

# %% [markdown]
# The ordinary network answers roughly in proportion: twice the grey, about twice the change. The robust one hardly notices anything up to $\epsilon$, and beyond it changes its mind all at once. It has learned a **threshold**, a little above the radius that it was trained for: what is darker counts as black. On digits, which are black and white, that is a perfect defence against small changes, and it explains the cliff in the curves above. It is also a reminder of what "robust" means: against $\mathcal P(\mathbf x)$, and by whatever trick does the job.
#
# ## 7.10 In your own words
#
# These two answers are read by a person. A few sentences each are enough.
#
# ### Question 7.10a: why may it be held fixed? · medium · 10 minutes · 3 points
#
# In the training step $\tilde{\mathbf x}$ comes out of an attack that depends on $\theta$, and then it is detached, as if it did not. (1) Which statement justifies this, and what exactly does it say? (2) Name two of its conditions that may fail for a network trained with PGD, and for each what goes wrong then. (3) A friend leaves out the `detach` and differentiates through all steps of PGD. With an *exact* inner maximum, would her gradient be another one? Why?

# %% [markdown] answer="why-fixed" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: Danskin's theorem: if the worst point is unique, the gradient of the supremum equals the gradient of the loss by theta at this point, the point held fixed. (Only "Danskin" without the statement: half a point.)
#
# **1 point** for two conditions with consequence, half each: the attack need not find the maximum (local maximum, too few steps), so the gradient belongs to another point and is not that of the robust loss; several worst points (tie): the supremum has a kink, any one gradient need not be a descent direction; non-differentiable loss (ReLU), no gradient in places; convexity in theta, in the slide's footnote, does not hold for networks.
#
# **1 point**: no: at the maximum the loss does not change to first order when the point moves within P(x): either the gradient by x~ is zero, or the point stays where it is (a corner of the box), or it moves along the surface, at right angles to the gradient (envelope theorem). (Right answer without a reason: half a point.)
# === END MARK SCHEME ===
# (1) Danskin's theorem: where the worst point is unique, the gradient of $\sup_{\tilde{\mathbf x}} \ell(f_\theta(\tilde{\mathbf x}), y)$ by $\theta$ is that of $\ell(f_\theta(\tilde{\mathbf x}^*), y)$ with $\tilde{\mathbf x}^*$ held fixed. (2) PGD may end at a local maximum; then I get the gradient at a point that is not the worst, so it is not the gradient of the robust loss, and a step along it may leave the true worst case as it was. And there may be several worst points; there the supremum has a kink, and a step against the gradient of one of them may raise it, since another takes over. (3) No. Differentiating through the attack adds $\nabla_{\tilde{\mathbf x}}\ell$ times the motion of the worst point. At the maximum this product is zero: inside the set the gradient by the image vanishes; on its surface the point either stays, as in a corner, or moves in directions in which the loss does not change to first order.

# %% [markdown]
# ### Question 7.10b: "95 % robust" · medium · 10 minutes · 3 points
#
# A company writes: "We trained our classifier with FGSM at ε = 0.2. Under FGSM at ε = 0.2 it has a robust accuracy of 95 %, and training took only twice as long. So an attacker who may change each pixel by at most 0.2 fools it on at most 5 % of the images." (1) What has been shown? (2) Which special reason for doubt is there in this very case, and which measurement would you ask for first? (3) Say it had been PGD with 20 steps and restarts instead, in training and in the test, and again 95 %: what would be better then, and what would still be missing for the last sentence?

# %% [markdown] answer="what-is-shown" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: an upper bound only: at least 5 % of the (test) images can be fooled or were wrong anyway; for the other 95 % one attack, FGSM, found nothing. The conclusion turns the inequality around.
#
# **1 point**: trained and tested with the same one-step attack: catastrophic overfitting gives exactly this picture. Ask for PGD with several steps and restarts at the same eps, best over the epochs of training. (Only "FGSM is weak": half a point.)
#
# **1 point**: better: a much stronger attack, and no sign of a collapse, so the bound is likely close. Missing: a proof (an exact verifier or certificate gives a lower bound); other attacks and losses may find more; it holds for this set and for a sample of images. (Half a point for each side.)
# === END MARK SCHEME ===
# (1) Only that the robust accuracy is at most 95 % on these images: at least 5 % are fooled or wrong anyway, and for the rest one attack found nothing. "At most 5 %" turns the inequality around. (2) It was trained with FGSM and tested with FGSM. After catastrophic overfitting one-step accuracy is splendid and accuracy under PGD near zero, and it would look just like this. I would first ask for PGD with some ten steps and a few restarts at ε = 0.2, in the course of training. (3) The bound would be much tighter: PGD is hard to deceive in this way, and twenty steps with restarts find nearly all that other attacks find. It would still be an upper bound. The last sentence needs a bound from the other side, by a verifier or a certificate, and it holds for this set and, up to sampling error, for images like the tested ones.

# %% [markdown]
# ## What to take along
#
# * Robust training minimises the **robust loss**: for each image its worst point, then the mean. For a linear model the attacker takes $\epsilon\lVert\mathbf w\rVert_q$ off every margin.
# * **Danskin**: find the worst point, hold it fixed, take the gradient there. It needs *the* worst point, and a single one; PGD offers a bad point and hopes.
# * The step: attack in eval mode with the present weights, clear gradients, update in train mode at $\tilde{\mathbf x}$. It costs $k + 1$ passes instead of one.
# * One-step training can collapse within an epoch while its own numbers improve: **look at PGD during training**.
# * The price in clean accuracy is there where the squares of the classes overlap; on easy data it may be nothing. The guarantee is missing everywhere.
#
# **Where it goes on**: assignments 09 to 12 give the guarantee that is missing here: exact verification, convex relaxations, Lipschitz bounds and randomised smoothing. Some of them can be trained for, too.
#
# **Further**: Madry et al., *Towards deep learning models resistant to adversarial attacks*, 2018 (the robust loss, PGD training; Danskin in its appendix). Wong, Rice and Kolter, *Fast is better than free*, 2020. Andriushchenko and Flammarion, *Understanding and improving fast adversarial training*, 2020 (why one-step training collapses). Tsipras et al., *Robustness may be at odds with accuracy*, 2019. Zhang et al., *Theoretically principled trade-off between robustness and accuracy*, 2019 (TRADES). Danskin, *The theory of max-min*, 1966.
