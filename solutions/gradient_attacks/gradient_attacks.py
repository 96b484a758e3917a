# %% [markdown]
# # 3 Gradient attacks
#
# Build the machine that finds adversarial examples, and measure with it how robust a classifier is. It takes one idea, *gradient ascent on the input instead of gradient descent on the weights*, and one projection. With them you will drive a digit classifier from 98 % accuracy to less than 1 %, with changes that leave the digits readable.
#
# **After this notebook you can**
#
# * say why the loss that we care about is useless to an attacker, and which loss takes its place;
# * write FGSM and PGD, targeted and untargeted, in a few lines each, and say what every line is for;
# * tell when FGSM needs no projection, and when it does;
# * measure the robust accuracy of a classifier, and say what the number proves and what it does not.
#
# **Slides**: "Adversarial Attacks: Objective Function", "Projected Gradient Descent" (with FGSM), "Attack Variants" (targeted, untargeted). **Time**: about two and a half hours. **Points**: 30 from eleven functions that are checked at once, 6 from two texts that a person reads. Two neighbours help, and neither is needed: assignment 01 (what an adversarial example is) and assignment 02 (norms, balls, projections).
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other shapes, other numbers of classes and other values of ε. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was: no tensor edited in place, no model in another mode.</div>
#
# **Notation**, as on the slides: $\mathbf x$ an image with pixels in $[0, 1]$, $y$ its label, $f$ the classifier, $\tilde{\mathbf x}$ a perturbed image, $\mathcal P(\mathbf x)$ the perturbation set, $\Pi$ the projection onto it. In code, `x` is a batch of images of shape `(B, C, H, W)` (batch, channels, height, width) and `y` holds their `B` labels. Whatever you write must work for every `B`, and for inputs of other shapes. Where a docstring says that a result is *like* `x`, it has the shape and the dtype of `x`.

# %% readonly="setup"
import copy
import math

import torch
from tqdm.auto import tqdm

import coursekit
from coursekit import attacks, checks, data, evaluation, losses, plots, widgets
from coursekit.perturbations import LpBall

torch.set_num_threads(1)  # networks as small as these run faster on a single thread

test_digits = data.load("mnist", "test")
model = coursekit.models.load("mnist_cnn")  # a small convolutional network, trained the ordinary way
robust_model = coursekit.models.load("mnist_cnn", training="pgd", eps=0.1)  # the same, trained to resist

x, y = test_digits.x[:200], test_digits.y[:200]
accuracy = (model(x).argmax(dim=1) == y).float().mean().item()
print(f"{len(test_digits.x)} test digits of shape {tuple(x.shape[1:])}, pixels in [{x.min():.0f}, {x.max():.0f}]")
print(f"clean accuracy on the first {len(x)}: {accuracy:.1%}")

# %% demo="first-look"
plots.images(x[:10], titles=[f"f(x) = {k}" for k in model(x[:10]).argmax(dim=1).tolist()])

# %% [markdown]
# ## 3.1 The objective, and why it is of no use as it stands
#
# An attacker looks for the point of the perturbation set that is classified wrongly. As an optimisation problem:
#
# $$\tilde{\mathbf x}^* = \underset{\tilde{\mathbf x} \in \mathcal P(\mathbf x)}{\arg\max}\; \ell_{0/1}\big(f(\tilde{\mathbf x}), y\big), \qquad \ell_{0/1} = \begin{cases} 0 & \text{if } f(\tilde{\mathbf x}) = y\\ 1 & \text{otherwise.}\end{cases}$$
#
# ### Exercise 3.1: the zero-one loss · easy · 5 minutes · 2 points
#
# Write $\ell_{0/1}$ for a whole batch. The classifier returns *logits*: one real number per class; the predicted class is the one with the largest.
#
# <details><summary>Hint</summary>
# <code>logits.argmax(dim=1)</code> gives a predicted class per row. A comparison of two tensors is a tensor of booleans; <code>.float()</code> turns it into numbers.
# </details>

# %% solution="zero_one_loss"
def zero_one_loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """1 for every image that is classified wrongly, 0 for the others.

    logits: (B, K) floats, one column per class. y: (B,) the right classes.
    Returns (B,) floats, 0 or 1.
    """
    ### BEGIN SOLUTION
    return (logits.argmax(dim=1) != y).float()
    ### END SOLUTION

# %% test="zero_one_loss" points=2
# Run this cell to check your zero_one_loss. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("zero_one_loss", points=2, by_hand=["coursekit.losses.zero_one"])

@exercise.case("right predictions cost 0, wrong ones cost 1")
def _(zero_one_loss):
    logits = torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 0.0], [5.0, -1.0, 2.0], [-4.0, -2.0, -3.0]])
    y = torch.tensor([0, 0, 1, 1])
    loss = expect.tensor(zero_one_loss(logits, y), shape=(4,)).double()
    expect.close(loss, torch.tensor([0.0, 1.0, 1.0, 0.0]), mistakes={
        "This is 1 where the prediction is right: the accuracy. A loss is large where things go wrong.":
            torch.tensor([1.0, 0.0, 0.0, 1.0]),
        "You take the class with the smallest logit. Predicted is the one with the largest.": torch.tensor([1.0, 1.0, 0.0, 1.0]),
        "This is 1 - p_y, a soft loss. The zero-one loss is 0 or 1, nothing between: is the prediction right?":
            1 - logits.softmax(dim=1)[range(4), y],
    }, hint="Compare the class with the largest logit with y.")

@exercise.case("one float per image")
def _(zero_one_loss):
    loss = zero_one_loss(torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, -1.0]]), torch.tensor([0, 0, 1]))
    loss = expect.tensor(loss, shape=(3,))
    kind = "booleans" if loss.dtype == torch.bool else "whole numbers"
    expect.that(loss.is_floating_point(), f"dtype {loss.dtype}".replace("torch.", ""), "floating point numbers",
                f"These are {kind}; other code will take means and differences of a loss: .float()")

@exercise.case("ten classes, a single image")
def _(zero_one_loss):
    logits = torch.zeros(1, 10)
    logits[0, 7] = 0.1
    expect.close(zero_one_loss(logits, torch.tensor([7])), torch.tensor([0.0]),
                 hint="The prediction is right, with a probability of 0.11: the most probable class can have less than one half. "
                      "Which logit is the largest?")
    expect.close(zero_one_loss(logits, torch.tensor([3])), torch.tensor([1.0]), hint="Predicted is 7, asked for is 3.")

### BEGIN HIDDEN TESTS
@exercise.case("many classes, negative logits", hidden=True)
def _(zero_one_loss):
    logits = -torch.rand(50, 23) - 5
    y = torch.where(torch.rand(50) < 0.5, logits.argmax(dim=1), torch.randint(0, 23, (50,)))
    right = (logits.max(dim=1).indices == y).double()
    expect.close(zero_one_loss(logits, y), 1 - right, hint="Does it work for any number of classes, and if all logits are negative?",
                 mistakes={"This is 1 where the prediction is right: the accuracy, not a loss.": right})
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Predict, then reveal
#
# An image has 784 pixels, so the zero-one loss of the network has 784 partial derivatives at $\mathbf x$, one for each pixel. We measure them at the 4 above: move one pixel by a hair (0.001) up and down and take the difference of the losses, in double precision so that no difference is lost to rounding.
#
# **Before you run on: how many of the 784 come out different from zero?** Write your guess into the cell, then run it and the next.

# %%
my_guess = None  # replace None by a number from 0 to 784

# %% demo="zero-one-slopes"
precise = copy.deepcopy(model).double()

def slopes(loss, image, label, h=0.001):
    """Central differences of a loss in every pixel of one image: (784,)."""
    steps = h * torch.eye(image.numel(), dtype=torch.float64).reshape(-1, *image.shape)
    labels = label.expand(len(steps))
    with torch.no_grad():
        return (loss(precise(image + steps), labels) - loss(precise(image - steps), labels)) / (2 * h)

zero_one_slopes = slopes(losses.zero_one, x[4].double(), y[4])
cross_entropy_slopes = slopes(losses.cross_entropy, x[4].double(), y[4])
checks.reveal(
    my_guess,
    f"{int((zero_one_slopes != 0).sum())} of 784 for the zero-one loss",
    f"(For the cross-entropy, which comes next, it is {int((cross_entropy_slopes != 0).sum())} of 784.)\n"
    "The zero-one loss is a staircase: flat nearly everywhere, and at the step itself it has no derivative at all.\n"
    "A gradient method that starts on a flat step stays there.",
)

# %% demo="staircase"
# From x towards an image of another class: both losses along the way.
plots.loss_along(model, x[2], y[2], direction=x[7] - x[2])

# %% [markdown]
# ## 3.2 The surrogate: cross-entropy
#
# The picture follows both losses along a straight line from the 2 to a 7. Above, the zero-one loss: flat, one jump, flat again; the arrow, its slope at $\mathbf x$, points nowhere. Below, on a logarithmic scale, a loss that rises long before the prediction changes. That is the hill to climb: it has a slope everywhere. It is the **cross-entropy** that the network was trained with,
#
# $$\mathcal L\big(f(\mathbf x), y\big) = -\log p_y, \qquad p_i = \frac{e^{z_i}}{\sum_j e^{z_j}}, \quad z = \text{logits of } f \text{ at } \mathbf x.$$
#
# The attacker's problem becomes
#
# $$\tilde{\mathbf x}^* = \underset{\tilde{\mathbf x} \in \mathcal P(\mathbf x)}{\arg\max}\; \mathcal L\big(f(\tilde{\mathbf x}), y\big).$$
#
# It is a *surrogate*, another problem with another solution, and a fair one: where a prediction is wrong, some other class is at least as probable, so $p_y \le \frac12$ and $\mathcal L \ge \log 2$. So $\mathcal L / \log 2$ bounds the zero-one loss from above: no point can fool the classifier and keep $\mathcal L$ low.
#
# ### Exercise 3.2: cross-entropy, image by image · easy · 10 minutes · 2 points
#
# Training code averages this loss over the batch. An attack needs it *per image*: each image has its own adversary. Write it so that large logits do no harm: $e^{1000}$ is infinite in floating point, and a loss of `inf` or `nan` ends every attack.
#
# <details><summary>Hint 1</summary>
# Take the logarithm of the fraction by hand: $-\log p_y = \log\sum_j e^{z_j} - z_y$. What remains is a sum of exponentials under a logarithm, and <code>torch.logsumexp</code> does that without overflow (or use <code>log_softmax</code>).
# </details>
# <details><summary>Hint 2</summary>
# <code>logits[torch.arange(len(y)), y]</code> picks from every row the entry of its class; <code>logits.gather(1, y[:, None])</code> does, too.
# </details>

# %% solution="cross_entropy"
def cross_entropy(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The cross-entropy -log p_y of every image.

    logits: (B, K) floats, of any size. y: (B,) the right classes. Returns (B,) values in the dtype of the logits, finite,
    none of them averaged.
    """
    ### BEGIN SOLUTION
    return logits.logsumexp(dim=1) - logits.gather(1, y[:, None]).squeeze(1)
    ### END SOLUTION

# %% test="cross_entropy" points=2
# Run this cell to check your cross_entropy. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("cross_entropy", points=2, by_hand=["coursekit.losses.cross_entropy"])

@exercise.case("the value of -log p_y")
def _(cross_entropy):
    p = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    logits, y = p.log() + 3.0, torch.tensor([1, 2])
    expected = torch.tensor([math.log(4), -math.log(0.8)])
    expect.close(cross_entropy(logits, y), expected, mistakes={
        "This is the probability of the right class; its negative logarithm is asked for.": torch.tensor([0.25, 0.8]),
        "The sign is wrong: this is log p_y, which is largest where the network is surest.": torch.tensor([-math.log(4), math.log(0.8)]),
        "This is minus the logit of y. The other classes count as well, through the sum in the softmax.":
            -torch.tensor([math.log(0.25), math.log(0.8)]) - 3.0,
        "The softmax runs over the batch. It belongs over the classes, within each row: dim=1.": -logits.log_softmax(dim=0)[range(2), y],
        "The softmax was taken twice: the library's cross_entropy takes logits, not probabilities.":
            torch.nn.functional.cross_entropy(p, y, reduction="none"),
        "The loss is divided by the number of classes: a mean over a row of which one entry counts.": expected / 3,
        "This is the logarithm to base 2. The formula has the natural logarithm.": expected / math.log(2),
    }, hint="First the softmax over the classes, then the logarithm, then the entry of y.")

@exercise.case("large logits do no harm")
def _(cross_entropy):
    loss = cross_entropy(torch.tensor([[1000.0, 0.0], [0.0, 1000.0], [-1000.0, -1000.0]]), torch.tensor([0, 0, 1]))
    loss = expect.tensor(loss, shape=(3,), hint="An exponential of 1000 is infinite, the logarithm of 0 as well: "
                                                "use logsumexp or log_softmax.")
    expect.close(loss, torch.tensor([0.0, 1000.0, math.log(2)]), mistakes={
        "The sign is wrong: this is log p_y.": torch.tensor([0.0, -1000.0, -math.log(2)])},
        hint="A small number inside the logarithm bounds the loss: use logsumexp or log_softmax instead." if 1.5 < loss[1] < 200
             else "The same formula, with large logits: a row of (0, 1000) and class 0 has p_y = e^-1000.")

@exercise.case("one value per image, also for a single one")
def _(cross_entropy):
    expect.tensor(cross_entropy(torch.zeros(4, 10), torch.tensor([0, 3, 5, 9])), shape=(4,))
    expect.close(cross_entropy(torch.zeros(1, 10), torch.tensor([3])), torch.tensor([math.log(10)]),
                 hint="Ten equal logits: each class has probability 1/10.")

### BEGIN HIDDEN TESTS
@exercise.case("other numbers of classes, float64", hint="Work for any number of classes, in the dtype of the logits.", hidden=True)
def _(cross_entropy):
    logits = 5 * torch.randn(31, 6, dtype=torch.float64)
    y = torch.randint(0, 6, (31,))
    expected = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    expect.tensor(cross_entropy(logits, y), like=expected)
    expect.close(cross_entropy(logits, y), expected)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 3.3 The gradient with respect to the input
#
# Training follows $\nabla_\theta \mathcal L$, the gradient with respect to the weights. An attack asks autograd for another one: $\nabla_{\mathbf x} \mathcal L(f(\mathbf x), y)$, with the weights held fixed.
#
# ### Exercise 3.3: the input gradient · medium · 15 minutes · 3 points
#
# Return for every image of the batch the gradient of *its own* loss. There is a trap: the losses of a batch must be put together into one number before autograd takes its derivative. If you average them, each gradient is divided by the size of the batch, and an attack that steps along it would depend on how many other images happen to be in the batch. Which way of putting them together leaves every gradient as it is?
#
# The reference for the previous exercise is `losses.cross_entropy(logits, y)`, one value per image.
#
# <details><summary>Hint 1</summary>
# Autograd keeps track of tensors with <code>requires_grad</code>. Make a copy of the images that has it: <code>x.clone().requires_grad_(True)</code>; then the caller's images stay as they are.
# </details>
# <details><summary>Hint 2</summary>
# The gradient of a sum of losses, of which each depends on one image only, has in row $b$ just the gradient of loss $b$. <code>torch.autograd.grad(total, x)</code> returns a tuple with one entry per input.
# </details>

# %% solution="input_gradient"
def input_gradient(model, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The gradient of each image's cross-entropy with respect to that image.

    model: returns logits (B, K). x: (B, ...) images. y: (B,) labels, also where the model predicts another class.
    Returns a tensor like x.
    """
    ### BEGIN SOLUTION
    x = x.clone().requires_grad_(True)
    loss = losses.cross_entropy(model(x), y)
    return torch.autograd.grad(loss.sum(), x)[0]
    ### END SOLUTION

# %% test="input_gradient" points=3
# Run this cell to check your input_gradient. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import attacks, checks, data
from coursekit.checks import expect

exercise = checks.Exercise("input_gradient", points=3, by_hand=["coursekit.attacks.input_gradient"])
digits = data.load("mnist", "test")
cnn = checks.model("mnist_cnn")

def along(gradient, x, y):
    """The cosine between what came back for each image and its gradient, the lowest of the batch: 1 in its direction."""
    reference = attacks.input_gradient(cnn.build(), x, y)
    gradient = expect.tensor(gradient, like=x)
    return torch.nn.functional.cosine_similarity(gradient.flatten(1), reference.flatten(1)).min().item()

@exercise.case("real digits: a tensor like x, one gradient per image")
def _(input_gradient):
    x, y = digits.x[:4], digits.y[:4]
    cosine = along(input_gradient(cnn, x, y), x, y)
    expect.that(cosine > 0.9, f"a direction with cosine {cosine:.2f} to the gradient", "the direction of the gradient, cosine 1",
                "This points downhill: is there a minus too many?" if cosine < -0.9 else
                "Is it the derivative of the loss by x, for every image, with its signs? The next line says more.")

@exercise.case("a linear classifier, where the gradient is known: W^T (p - onehot(y))")
def _(input_gradient):
    weight = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]])
    x, y = torch.tensor([[0.2, 0.9, 0.4], [0.5, 0.1, 0.3]]), torch.tensor([0, 1])
    probabilities = (x @ weight.T).softmax(dim=1)
    expected = (probabilities - torch.eye(2)[y]) @ weight
    linear = checks.network(("linear", weight, None), name="a linear classifier")
    expect.close(input_gradient(linear, x, y), expected, mistakes={
        "Each gradient is divided by the number of images: the losses were averaged. Which reduction does not do that?": expected / 2,
        "The sign is wrong: this is the gradient of minus the loss.": -expected,
        "Only the sign is left. Here the gradient itself is asked for; FGSM comes next.": expected.sign(),
        "This is the gradient of the logit of y, not of the cross-entropy.": weight[y],
        "This is the gradient of the probability p_y, not of the cross-entropy, -log p_y.": -probabilities[[0, 1], y, None] * expected,
        "Twice the gradient: backward() adds to .grad. Call it once, or clear .grad before.": 2 * expected,
        "The absolute value is taken: which way each pixel should go is lost.": expected.abs(),
        "Each gradient is scaled to length one. The gradient itself is asked for.": expected / expected.norm(dim=1, keepdim=True),
        "Only the last image has a gradient. Ask for that of the sum of all losses.": torch.stack([torch.zeros(3), expected[1]]),
    }, hint="Is it the gradient of the cross-entropy, at x, with respect to x?")

@exercise.case("an image's gradient does not depend on the rest of the batch",
               hint="Put the losses together so that no image's gradient is scaled by the others: a mean divides by B.")
def _(input_gradient):
    x, y = digits.x[:5], digits.y[:5]
    batch = expect.tensor(input_gradient(cnn, x, y), like=x)
    alone = expect.tensor(input_gradient(cnn, x[2:3], y[2:3]), like=x[2:3])
    expect.that(abs(along(alone, x[2:3], y[2:3])) > 0.3, "something else than the gradient", "the gradient of the loss by x")
    scale = alone.abs().max()
    expect.close(batch[2:3] / scale, alone / scale, tolerance=1e-3)

@exercise.case("model and images are left as they were")
def _(input_gradient):
    x, y = digits.x[:2], digits.y[:2]
    cosine = along(input_gradient(cnn, x, y), x, y)
    expect.that(abs(cosine) > 0.3, "something else than the gradient", "the gradient of the loss by x")
    expect.unchanged(input_gradient)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, other classes, float64", hint="Nothing about 28x28 images or ten classes may be written out.", hidden=True)
def _(input_gradient):
    net = checks.network(("flatten",), ("linear", torch.randn(7, 24, dtype=torch.float64), torch.randn(7, dtype=torch.float64)), ("tanh",),
                         ("linear", torch.randn(4, 7, dtype=torch.float64), None))
    x, y = torch.rand(1, 2, 3, 4, dtype=torch.float64), torch.tensor([2])
    gradient = expect.tensor(input_gradient(net, x, y), like=x)
    expect.close(gradient, attacks.input_gradient(net.build(), x, y))

@exercise.case("the gradient of the right label, also where the model is wrong", hint="Use y, not the predicted class.", hidden=True)
def _(input_gradient):
    net = checks.network(("linear", torch.randn(5, 6), None))
    x = torch.rand(1, 6)
    for y in range(5):
        y = torch.tensor([y])
        expect.close(input_gradient(net, x, y), attacks.input_gradient(net.build(), x, y))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# This is what the attacker sees: orange pixels raise the loss when they get brighter, blue ones when they get darker. (Each is scaled to its own largest entry: for the 0, of which the network is very sure, that entry is a million times smaller than for the 4.) The largest derivatives lie near the strokes, where the picture would have to change to be read as another digit. But nearly every pixel has *some* say, even in the empty corners: 784 small changes that all push the same way add up.

# %% demo="gradient-picture"
plots.gradient(x[:5], attacks.input_gradient(model, x[:5], y[:5]))

# %% [markdown]
# ## 3.4 One step: FGSM
#
# The **fast gradient-sign method** takes one step, and of the gradient only its sign:
#
# $$\tilde{\mathbf x} = \Pi\Big(\mathbf x + \eta \cdot \operatorname{sign}\big(\nabla_{\mathbf x}\mathcal L(f(\mathbf x), y)\big)\Big).$$
#
# (Step *up* the loss, and project with $\Pi$ if need be. When is there no need? That is the question of 3.5.) Why the sign? Close to $\mathbf x$ the loss is nearly linear, $\mathcal L(\mathbf x + \boldsymbol\delta) \approx \mathcal L(\mathbf x) + \mathbf g^\top \boldsymbol\delta$. The $L_\infty$ ball lets every pixel move by $\epsilon$ without asking what the others do. So each should use its whole allowance, in its own best direction: $\delta_i = \epsilon \operatorname{sign}(g_i)$.
#
# ### Exercise 3.4: FGSM · medium · 10 minutes · 4 points
#
# Write FGSM for the $L_\infty$ ball of radius $\epsilon$ with $\eta = \epsilon$. The result must be an image again: all pixels in $[0, 1]$. The reference for the gradient is `attacks.input_gradient(model, x, y)`.
#
# <details><summary>Hint</summary>
# Gradient, sign, scale, add, clamp, in this order. The clamp keeps the pixels in $[0, 1]$: it belongs at the end, after the step.
# </details>

# %% solution="fgsm"
def fgsm(model, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """The fast gradient-sign method with one step of size eps, untargeted.

    model: returns logits (B, K). x: (B, ...) images in [0, 1]. y: (B,) labels. eps: radius of the L-inf ball.
    Returns the perturbed images, like x, with pixels in [0, 1]; no NaN where a gradient is zero.
    """
    ### BEGIN SOLUTION
    gradient = attacks.input_gradient(model, x, y)
    return (x + eps * gradient.sign()).clamp(0, 1)
    ### END SOLUTION

# %% test="fgsm" points=4
# Run this cell to check your fgsm. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks, data, losses
from coursekit.checks import expect, symptoms
from coursekit.perturbations import LpBall

exercise = checks.Exercise("fgsm", points=4, by_hand=["coursekit.attacks.fgsm", "coursekit.attacks.pgd"])
digits = data.load("mnist", "test")
cnn = checks.model("mnist_cnn")

@exercise.case("grey images: every pixel moves by eps, uphill")
def _(fgsm):
    weight = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.2, 1.0, -3.0, 0.5], [-1.0, 0.1, 0.3, -2.0]])
    linear = checks.network(("linear", weight, None), name="a linear classifier")
    x, y = torch.tensor([[0.4, 0.5, 0.6, 0.5], [0.6, 0.5, 0.4, 0.3]]), torch.tensor([0, 2])
    network, ball = linear.build(), LpBall(0.15, math.inf)
    gradient = attacks.input_gradient(network, x, y)
    expected = attacks.fgsm(network, x, y, ball)
    x_adv = expect.tensor(fgsm(linear, x, y, 0.15), like=x)
    elsewhere = "The pixels do not move in the direction of their own derivative: is it the sign of the gradient of y's loss?"
    expect.close(x_adv, expected, hint=symptoms.of_step(x_adv, x, gradient, 0.15) or elsewhere, mistakes={
        "This is the perturbation alone. Add it to x.": expected - x,
        "One pattern for the whole batch. Each image moves by the sign of its own gradient.":
            (x + 0.15 * gradient.mean(dim=0, keepdim=True).sign()).clamp(0, 1),
        "You clamp to the smallest and largest pixel of this batch. All of [0, 1] is allowed.": expected.clamp(x.min(), x.max()),
        "Every pixel moved as far as it could: is the sign scaled by eps?": attacks.fgsm(network, x, y, LpBall(1.0, math.inf)),
        "You flee the class that the model predicts. Flee y: the gradient of the loss of y.":
            attacks.fgsm(network, x, network(x).argmax(dim=1), ball),
        "Pixels only get brighter. Clamp the image, not the perturbation.": x + (expected - x).clamp_min(0),
    })

@exercise.case("real digits: stays an image, and within eps of x")
def _(fgsm):
    x, y = digits.x[:8], digits.y[:8]
    x_adv = expect.tensor(fgsm(cnn, x, y, 0.1), like=x)
    expect.that(not torch.equal(x_adv, x), "x itself", "a perturbed image", "Nothing was added to x.")
    expect.inside(x_adv, x, 0.1, hint="A pixel may move by eps. Is the sign scaled by eps, once?")

@exercise.case("real digits, another eps: the loss of every image rises",
               hint="Is it the gradient of the loss of y, do you add, and is the clamp the last step?")
def _(fgsm):
    x, y = digits.x[:20], digits.y[:20]
    x_adv = expect.tensor(fgsm(cnn, x, y, 0.07), like=x)
    expect.inside(x_adv, x, 0.07, hint="A pixel may move by eps. Is eps used, or another number written out?")
    network = cnn.build()
    before, after = losses.cross_entropy(network(x), y), losses.cross_entropy(network(x_adv), y)
    gradient = attacks.input_gradient(network, x, y)
    expect.that(bool((after > before).all()), f"a loss that rises for {int((after > before).sum())} of 20 images", "all 20",
                symptoms.of_step(x_adv, x, gradient, 0.07))
    best = losses.cross_entropy(network(attacks.fgsm(network, x, y, LpBall(0.07, math.inf))), y).mean()
    expect.that(bool(after.mean() > 0.9 * best), after.mean().item(), f"a mean loss near {best:.3g}",
                symptoms.of_step(x_adv, x, gradient, 0.07))

@exercise.case("one step with the gradient of x, even if it leads past a peak of the loss")
def _(fgsm):
    # One pixel u; the loss of class 1 is highest at u = 0.6 and falls on both sides.
    peak = checks.network(("linear", torch.tensor([[1.0], [-1.0]]), torch.tensor([-0.6, 0.6])), ("relu",),
                          ("linear", torch.tensor([[0.0, 0.0], [5.0, 5.0]]), None), name="a loss with its peak at 0.6")
    x, y = torch.tensor([[0.5], [0.75]]), torch.tensor([1, 1])
    x_adv = expect.tensor(fgsm(peak, x, y, 0.25), like=x)
    stays = float((x_adv - 0.6).abs().max()) < 0.1
    expect.close(x_adv, torch.tensor([[0.75], [0.5]]), hint="You take several steps and stop at the peak. FGSM takes one, with the "
                 "gradient at x." if stays else symptoms.of_step(x_adv, x, attacks.input_gradient(peak.build(), x, y), 0.25))

@exercise.case("the caller's images and model are left as they were")
def _(fgsm):
    x_adv = fgsm(cnn, digits.x[:2], digits.y[:2], 0.1)
    expect.that(not torch.equal(expect.tensor(x_adv, like=digits.x[:2]), digits.x[:2]), "x itself", "a perturbed image",
                "Nothing was added to x.")
    expect.unchanged(fgsm)

### BEGIN HIDDEN TESTS
@exercise.case("one image, another shape, other classes and eps", hint="As above, for one image of another shape: is anything written out, is it the loss of y?", hidden=True)
def _(fgsm):
    net = checks.network(("flatten",), ("linear", torch.randn(7, 24), torch.randn(7)), ("tanh",), ("linear", torch.randn(3, 7), None))
    x, y = torch.rand(1, 2, 3, 4), torch.tensor([1])
    gradient = attacks.input_gradient(net.build(), x, y)
    for eps in (0.03, 0.4):
        x_adv = expect.tensor(fgsm(net, x, y, eps), like=x)
        expect.close(x_adv, (x + eps * gradient.sign()).clamp(0, 1), hint=symptoms.of_step(x_adv, x, gradient, eps))

@exercise.case("no NaN where the gradient is zero", hint="What does your code do with a gradient of exactly zero?", hidden=True)
def _(fgsm):
    dead = checks.network(("linear", torch.zeros(3, 4), None), name="a constant classifier")
    x, y = torch.rand(3, 4), torch.tensor([0, 2, 1])
    x_adv = expect.tensor(fgsm(dead, x, y, 0.2), like=x)
    expect.inside(x_adv, x, 0.2)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Predict, then reveal
#
# The network is right on about 98 of 100 digits. **How many of 100 does it still get right after one FGSM step with ε = 0.1?** (A tenth of the way from black to white, in every pixel.)

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="fgsm-result"
def reference_fgsm(model, x, y, eps):
    return attacks.fgsm(model, x, y, LpBall(eps, math.inf))

x_fgsm = checks.yours("fgsm", reference_fgsm)(model, x, y, 0.1)
still_right = (model(x_fgsm).argmax(dim=1) == y).float().mean().item()
checks.reveal(my_guess, f"{100 * still_right:.0f} of 100", "One step, one gradient: as cheap as one step of training.")

# %% demo="fgsm-picture"
fooled = ((model(x).argmax(dim=1) == y) & (model(x_fgsm).argmax(dim=1) != y)).nonzero().flatten()
index = int(fooled[0]) if len(fooled) else 0
plots.perturbation(x[index], x_fgsm[index], model, test_digits.classes)

# %% [markdown]
# ## 3.5 When does FGSM need no projection?
#
# The slide says: for an $L_\infty$ ball, $\eta = \epsilon$ gives valid perturbations "with only a single step and without projection". That is a statement about the *shape of the ball*. A sign step moves all $d$ pixels by exactly $\eta$ (if no gradient is zero). How long is such a step in other norms?
#
# ### Exercise 3.5: the longest safe step · medium · 10 minutes · 2 points
#
# Let $\mathbf s \in \{-1, +1\}^d$ be the signs of a gradient. Return the largest $\eta$ for which $\mathbf x + \eta\,\mathbf s$ still lies in the $L_p$ ball of radius $\epsilon$ around $\mathbf x$ and needs no projection, for $p \in \{1, 2, \infty\}$. (Leave the image range $[0, 1]$ aside here.)
#
# <details><summary>Hint</summary>
# Write down $\lVert \eta\, \mathbf s \rVert_p$ for the three norms: a largest entry, a root of a sum of squares, a sum. Then solve for $\eta$.
# </details>

# %% solution="longest_safe_step"
def longest_safe_step(eps: float, p: float, d: int) -> float:
    """The largest eta with ||eta * s||_p <= eps for s in {-1, +1}^d.

    eps: radius, above 0. p: 1, 2 or math.inf. d: number of pixels. Returns a number.
    """
    ### BEGIN SOLUTION
    return eps if p == math.inf else eps / d ** (1 / p)
    ### END SOLUTION

# %% test="longest_safe_step" points=2
# Run this cell to check your longest_safe_step. (The dots unfold it: what is tried, and what is expected.)
import math
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("longest_safe_step", points=2)

@exercise.case("p = inf: the case of the slide")
def _(longest_safe_step):
    expect.close(longest_safe_step(0.1, math.inf, 784), 0.1, hint="The norm is the largest entry of eta * s. How large is each?", mistakes={
        "That is half of it. eps is a radius: a pixel may move by eps to either side.": 0.05})

@exercise.case("p = 2")
def _(longest_safe_step):
    expect.close(longest_safe_step(2.0, 2, 100), 0.2, mistakes={
        "That is right for p = inf only. The L2 norm adds up the squares of all pixels.": 2.0,
        "You multiply with the root of d: the more pixels move, the less each may.": 20.0,
        "You divide by d. The squares are added up and then a root is taken.": 0.02,
        "You divide by the square of d. The squares are added up, d times, and then a root is taken.": 0.0002,
    }, hint="||eta s||_2 = sqrt(d * eta^2). Set it equal to eps.")

@exercise.case("p = 1")
def _(longest_safe_step):
    expect.close(longest_safe_step(3.0, 1, 12), 0.25, mistakes={
        "That is right for p = inf only. The L1 norm adds up all pixels.": 3.0,
        "You divide by the root of d; that is the L2 norm.": 3.0 / math.sqrt(12),
        "You multiply with d: the more pixels move, the less each may.": 36.0,
    }, hint="||eta s||_1 = d * eta. Set it equal to eps.")

### BEGIN HIDDEN TESTS
@exercise.case("other radii and dimensions", hint="No radius and no number of pixels may be written out.", hidden=True)
def _(longest_safe_step):
    for eps, d in ((0.3, 1), (1.7, 3072), (0.02, 5)):
        for p in (1, 2, math.inf):
            expect.close(longest_safe_step(eps, p, d), eps / d ** (1 / p), tolerance=1e-6)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Put numbers in: for a digit with $d = 784$ and an $L_2$ ball of radius 2, the longest safe sign step is $2/28 \approx 0.07$. And a sign step is not even a good step for the $L_2$ ball: it spends the same on a pixel that matters and on one that does not. Each norm has its own steepest direction; `LpBall(eps, p).steepest(gradient)` knows them, and assignment 02 derives them.
#
# One more thing is hidden in the slide's "without projection": the **image range**. A black pixel cannot get darker: look at $\boldsymbol\delta$ in the picture above, where whole stretches of the background are white, that is, did not move. FGSM on images still clamps to $[0, 1]$, as you did in 3.4, and that is a projection, too: onto the cube of all images.

# %% [markdown]
# ## 3.6 The projection
#
# With more than one step the iterate may leave $\mathcal P(\mathbf x)$, and must be brought back to the *nearest* point of the set:
#
# $$\Pi(\tilde{\mathbf x}) = \underset{\mathbf z \in \mathcal P(\mathbf x)}{\arg\min}\; \lVert \mathbf z - \tilde{\mathbf x} \rVert_2, \qquad \mathcal P(\mathbf x) = \{\mathbf z \in [0,1]^d : \lVert \mathbf z - \mathbf x\rVert_\infty \le \epsilon\}.$$
#
# (The slide writes $<$. A nearest point exists only if the surface belongs to the set, so code uses $\le$.)
#
# ### Exercise 3.6: project · easy · 10 minutes · 3 points
#
# The set is a box: for each pixel an interval. So the nearest point is found pixel by pixel.
#
# <details><summary>Hint</summary>
# Which interval may pixel $i$ lie in, given $x_i$, $\epsilon$ and the image range? <code>clamp</code> takes tensors as bounds, too, as do <code>torch.minimum</code> and <code>torch.maximum</code>.
# </details>

# %% solution="project"
def project(x_tilde: torch.Tensor, x: torch.Tensor, eps: float) -> torch.Tensor:
    """The nearest point to x_tilde in the L-inf ball of radius eps around x, within the image range [0, 1].

    x_tilde: (B, ...) any values. x: (B, ...) images in [0, 1]. Returns a tensor like x.
    """
    ### BEGIN SOLUTION
    return x_tilde.clamp(x - eps, x + eps).clamp(0, 1)
    ### END SOLUTION

# %% test="project" points=3
# Run this cell to check your project. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("project", points=3, by_hand=["coursekit.perturbations.LpBall.project"])

@exercise.case("a point of the set stays where it is")
def _(project):
    x = torch.tensor([[0.5, 0.3, 0.0, 1.0], [0.9, 0.1, 0.2, 0.4]])
    x_tilde = x + torch.tensor([[0.05, -0.1, 0.02, -0.07], [0.0, 0.03, -0.2, 0.11]])
    projected = expect.tensor(project(x_tilde, x, 0.2), like=x)
    expect.close(projected, x_tilde, mistakes={
        "You push points onto the surface of the ball. The nearest point to one that is inside already is itself.":
            (x + 0.2 * (x_tilde - x).sign()).clamp(0, 1),
        "This is x. The projection moves x_tilde, and no further than needed.": x,
    }, hint="The nearest point of a set to one of its own points is that point.")

@exercise.case("a pixel outside comes back to the edge of its interval, the others stay")
def _(project):
    x = torch.tensor([[0.5, 0.3, 0.7, 0.5]])
    x_tilde = torch.tensor([[0.9, 0.35, 0.2, 0.5]])
    change = x_tilde - x
    expect.close(project(x_tilde, x, 0.1), torch.tensor([[0.6, 0.35, 0.6, 0.5]]), mistakes={
        "You shrink the whole perturbation until it fits. Look at each pixel alone: those that fit need not move.": x + change * 0.1 / 0.5,
        "You project onto the L2 ball, and shrink the whole perturbation. In the L-inf ball look at each pixel alone.":
            x + change * 0.1 / change.norm(),
        "Nothing was brought back into the ball around x.": x_tilde,
        "You return the perturbation. Add it to x.": torch.tensor([[0.1, 0.05, -0.1, 0.0]]),
        "This is one interval for all pixels, from the darkest to the brightest. Each pixel has an interval of its own, around its x.":
            x_tilde.clamp(0.2, 0.8),
        "A pixel that is outside goes all the way back to x. The nearest allowed value is the edge of its interval.":
            torch.tensor([[0.5, 0.35, 0.7, 0.5]]),
        "The ball lies around x, not around 0.": torch.full((1, 4), 0.1),
        "Pixels above their interval come back, those below do not.": torch.tensor([[0.6, 0.35, 0.2, 0.5]]),
        "Pixels below their interval come back, those above do not.": torch.tensor([[0.9, 0.35, 0.6, 0.5]]),
        "No pixel gets darker than x: to keep an image in [0, 1], clamp the image, not the perturbation.": torch.tensor([[0.6, 0.35, 0.7, 0.5]]),
    }, hint="Each pixel has the interval [x - eps, x + eps].")

@exercise.case("the image range counts as well")
def _(project):
    x = torch.tensor([[0.05, 0.95, 0.0, 1.0]])
    x_tilde = torch.tensor([[-0.5, 1.5, -0.02, 1.3]])
    expect.close(project(x_tilde, x, 0.2), torch.tensor([[0.0, 1.0, 0.0, 1.0]]), mistakes={
        "Pixels leave [0, 1]: such a point lies in the ball, but is no image.": torch.tensor([[-0.15, 1.15, -0.02, 1.2]]),
    }, hint="Each pixel must lie in [x - eps, x + eps] and in [0, 1].")

@exercise.case("a batch of images; x and x_tilde are left as they were")
def _(project):
    x = torch.full((2, 1, 1, 3), 0.5)
    x_tilde = torch.tensor([[0.9, 0.5, -0.3], [0.4, 2.0, 0.6]]).reshape(x.shape)
    expect.close(project(x_tilde, x, 0.1), torch.tensor([[0.6, 0.5, 0.4], [0.4, 0.6, 0.6]]).reshape(x.shape),
                 hint="As for a row of pixels: each has its interval, whatever the shape.")
    expect.unchanged(project)

### BEGIN HIDDEN TESTS
@exercise.case("random points of other shapes, float64", hint="Both intervals, pixel by pixel, for any shape.", hidden=True)
def _(project):
    for shape, eps in (((1, 3, 5, 5), 0.3), ((6, 2), 0.01)):
        x = torch.rand(shape, dtype=torch.float64)
        x_tilde = x + 0.5 * torch.randn(shape, dtype=torch.float64)
        nearest = torch.minimum(torch.maximum(x_tilde, (x - eps).clamp_min(0)), (x + eps).clamp_max(1))
        expect.tensor(project(x_tilde, x, eps), like=x)
        expect.close(project(x_tilde, x, eps), nearest)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 3.7 Many steps: projected gradient descent
#
# FGSM trusts the gradient at $\mathbf x$ for the whole way to the edge of the ball. But the loss of a network is curved. **Projected gradient descent** takes many small steps, asks for a fresh gradient after each, and returns to the set whenever it has left it:
#
# $$\mathbf x_{t+1} = \Pi\big(\mathbf x_t + \eta_t \nabla_{\mathbf x}\mathcal L(f(\mathbf x_t), y)\big), \qquad \mathbf x_0 = \mathbf x.$$
#
# It is like training the model, but updating the data instead of the weights, and going up instead of down. The step size $\eta_t$ may change from step to step; here it stays the same. In the $L_\infty$ ball one takes, as FGSM does, the sign of the gradient, so that the step size $\eta$ says directly how far each pixel moves:
#
# $$\mathbf x_{t+1} = \Pi\big(\mathbf x_t + \eta \operatorname{sign}(\nabla_{\mathbf x}\mathcal L(f(\mathbf x_t), y))\big).$$
#
# Play with it before you write it. The plane below holds two classes of points in two dimensions, a small network's decision regions, one point with its ball, and the path of the attack. Try: few large steps against many small ones; $\eta$ larger than $\epsilon$; the three norms.

# %% demo="explorer"
widgets.ball_explorer()

# %% [markdown]
# <details><summary>Three things worth seeing in the picture</summary>
#
# 1. With a step size above ε the path jumps from edge to edge of the ball: the projection does most of the work.
# 2. If steps × step size is less than ε, the attack cannot even reach the edge of its ball. A weak attack looks like a robust model.
# 3. There are points where the ball crosses the boundary and the attack still ends elsewhere, for instance numbers 1 and 35 at ε = 0.15. The end of this section counts them.
# </details>
#
# ### Exercise 3.7: PGD · hard · 20 minutes · 5 points
#
# Write PGD in the $L_\infty$ ball with the image range: `steps` sign steps of size `step_size`, each followed by the projection; return the last iterate. It starts at `x_0` if one is given (3.9 will need that), else at `x`; the ball is always the one around `x`. References: `attacks.input_gradient(model, x, y)` for the gradient and `LpBall(eps, math.inf).project(x_tilde, x)` for the projection.
#
# <details><summary>Hint 1</summary>
# Two points take part, and they have different jobs. The iterate starts at <code>x_0</code> and moves; the centre of the ball stays at <code>x</code>. At which of them is the gradient taken? Around which do you project?
# </details>
# <details><summary>Hint 2</summary>
# If you call <code>backward()</code> yourself, remember that it <em>adds</em> to <code>.grad</code>. <code>torch.autograd.grad</code> gives a fresh gradient each time.
# </details>

# %% solution="pgd"
def pgd(model, x: torch.Tensor, y: torch.Tensor, eps: float, steps: int, step_size: float,
        x_0: torch.Tensor | None = None) -> torch.Tensor:
    """Projected gradient descent in the L-inf ball of radius eps around x, untargeted.

    model: returns logits (B, K). x: (B, ...) images in [0, 1]. y: (B,) labels. eps: radius. steps: how many, 0 or
    more. step_size: how far each pixel moves in one step. x_0: where to start, like x; None starts at x.
    Returns the last iterate, like x, inside the ball and [0, 1]; no NaN where a gradient is zero.
    """
    ### BEGIN SOLUTION
    ball = LpBall(eps, math.inf)
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = ball.project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t
    ### END SOLUTION

# %% test="pgd" points=5
# Run this cell to check your pgd. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks, data, losses
from coursekit.checks import expect, symptoms
from coursekit.perturbations import LpBall

exercise = checks.Exercise("pgd", points=5, by_hand=["coursekit.attacks.pgd"])
digits = data.load("mnist", "test")
cnn = checks.model("mnist_cnn")

@exercise.case("one step of size eps is FGSM")
def _(pgd):
    weight = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.2, 1.0, -3.0, 0.5]])
    linear = checks.network(("linear", weight, None), name="a linear classifier")
    x, y = torch.tensor([[0.4, 0.5, 0.6, 0.5], [0.6, 0.05, 0.4, 0.95]]), torch.tensor([0, 1])
    gradient = attacks.input_gradient(linear.build(), x, y)
    x_adv = expect.tensor(pgd(linear, x, y, 0.1, 1, 0.1), like=x)
    network, ball = linear.build(), LpBall(0.1, math.inf)
    expected = attacks.fgsm(network, x, y, ball)
    expect.close(x_adv, expected, hint=symptoms.of_step(x_adv, x, gradient, 0.1), mistakes={
        "You return the perturbation. Add it to x.": expected - x,
        "You flee the class that the model predicts. Flee y: the gradient of the loss of y.":
            attacks.fgsm(network, x, network(x).argmax(dim=1), ball),
    })

@exercise.case("many steps stay an image, and within eps of x")
def _(pgd):
    x, y = digits.x[:6], digits.y[:6]
    x_adv = expect.tensor(pgd(cnn, x, y, 0.1, 8, 0.03), like=x)
    expect.that(not torch.equal(x_adv, x), "x itself", "a perturbed image", "Nothing was added to x.")
    expect.inside(x_adv, x, 0.1, hint="Project after every step, onto the ball around x (not around the last iterate), "
                                      "and into [0, 1].")

@exercise.case("3 steps of 0.01, also if the image is misclassified to begin with")
def _(pgd):
    weight = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.2, 1.0, -3.0, 0.5]])
    linear = checks.network(("linear", weight, None), name="a linear classifier")
    x, y = torch.full((1, 4), 0.5), torch.tensor([1])
    gradient = attacks.input_gradient(linear.build(), x, y)
    x_adv = expect.tensor(pgd(linear, x, y, 0.1, 3, 0.01), like=x)

    def after(distance):  # the gradient of a linear loss keeps its signs: the path is straight
        return attacks.fgsm(linear.build(), x, y, LpBall(distance, math.inf))

    hint = symptoms.of_step(x_adv, x, gradient, 0.03)
    if not expect.same(x_adv, after(0.03)) and not expect.same(pgd(linear, x, y, 0.1, 0, 0.01), x):
        hint = "With 0 steps the result is not x: the attack starts somewhere else than at x. Without an x_0, start at x."
    expect.close(x_adv, after(0.03), mistakes={
        "Only one step was taken. Does each step start where the last one ended?": after(0.01),
        "The pixels moved by eps, all of it. Is step_size what each step moves by?": after(0.1),
        "One step too many.": after(0.04),
        "One step too few.": after(0.02),
        "Each step is shorter than the one before. All have the same length, step_size.": after(0.01 + 0.01 / 2 + 0.01 / 3),
        "No step was taken. Carry on, fooled or not: all steps are asked for.": x,
        "You return the perturbation. Add it to x.": after(0.03) - x,
    }, hint=hint)

# One pixel u; the loss of class 1 is highest at u = 0.6 and falls on both sides.
peak = checks.network(("linear", torch.tensor([[1.0], [-1.0]]), torch.tensor([-0.6, 0.6])), ("relu",),
                      ("linear", torch.tensor([[0.0, 0.0], [5.0, 5.0]]), None), name="a loss with its peak at 0.6")

@exercise.case("finds a peak of the loss inside the ball")
def _(pgd):
    x = torch.tensor([[0.5], [0.75]])
    x_adv = expect.tensor(pgd(peak, x, torch.tensor([1, 1]), 0.3, 34, 0.011), like=x)
    ends = {
        "The attack runs past the peak: the gradient is always that of x. Take it at the current iterate.": [0.8, 0.45],
        "The attack runs away from the peak, downhill.": [0.2, 1.0],
        "Steps so large jump over the peak. Is step_size what each step moves by?": [0.5, 0.75],
    }
    hint = next((why for why, end in ends.items() if (x_adv.flatten() - torch.tensor(end)).abs().max() < 1e-3),
                "Is the gradient fresh in every step: taken at the current iterate, and not added up with earlier ones?")
    expect.that(float((x_adv - 0.6).abs().max()) < 0.0115, f"pixels at {x_adv[0].item():.3f} and {x_adv[1].item():.3f}",
                "both at the peak, 0.600 give or take a step", hint)

@exercise.case("returns the last iterate, also where it overshoots")
def _(pgd):
    x = torch.tensor([[0.5]])
    expect.close(pgd(peak, x, torch.tensor([1]), 0.3, 3, 0.25), torch.tensor([[0.75]]), mistakes={
        "This is an earlier iterate. Not a bad idea, but here the last one is asked for.": x,
        "Only as far as the ball's edge: is step_size what each step moves by?": torch.tensor([[0.8]]),
    }, hint="From 0.5 to 0.75, back to 0.5, and to 0.75 again: up to the peak at 0.6 and over it.")

@exercise.case("starts at x_0 where one is given, in the ball around x")
def _(pgd):
    weight = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.2, 1.0, -3.0, 0.5]])
    linear = checks.network(("linear", weight, None), name="a linear classifier")
    x, y = torch.full((1, 4), 0.5), torch.tensor([0])
    x_0 = x + torch.tensor([[-0.08, 0.08, 0.0, -0.1]])
    ends = {start: LpBall(0.1, math.inf).project(attacks.fgsm(linear.build(), points, y, LpBall(0.05, math.inf)), x)
            for start, points in (("x", x), ("x_0", x_0))}
    expect.close(pgd(linear, x, y, 0.1, 1, 0.05, x_0), ends["x_0"], mistakes={
        "You start at x. Here an x_0 is given.": ends["x"],
        "You project onto the ball around x_0. It is the ball around x that counts.":
            attacks.fgsm(linear.build(), x_0, y, LpBall(0.05, math.inf)),
    }, hint="The first iterate is x_0; the ball's centre stays x.")
    expect.unchanged(pgd)

@exercise.case("projects in every step, not only at the end")
def _(pgd):
    # Two pixels; up to a certain brightness of the first, the loss rises with the second. Beyond, it falls.
    def bend(at):
        return checks.network(("linear", torch.tensor([[1.0, 0.0], [-10.0, 1.0], [10.0, -1.0]]), torch.tensor([0.0, 10 * at, -10 * at - 1])),
                              ("relu",), ("linear", torch.tensor([[12.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), None), name="a bent loss")

    expect.close(pgd(bend(0.65), torch.tensor([[0.5, 0.5]]), torch.tensor([1]), 0.1, 20, 0.05), torch.tensor([[0.6, 0.6]]),
                 hint="Outside the ball the gradient is another one. Project after each step, onto the ball around x.")
    expect.close(pgd(bend(1.05), torch.tensor([[0.95, 0.5]]), torch.tensor([1]), 0.3, 20, 0.05), torch.tensor([[1.0, 0.8]]),
                 hint="Outside [0, 1] the gradient is another one. Project after each step, into the image range, too.")

@exercise.case("on real digits the loss rises above that of FGSM")
def _(pgd):
    x, y = digits.x[:20], digits.y[:20]
    network = cnn.build()
    x_adv = expect.tensor(pgd(cnn, x, y, 0.1, 10, 0.025), like=x)
    expect.inside(x_adv, x, 0.1)
    at_start, many_steps, one_step = (losses.cross_entropy(network(images), y).mean().item()
                                      for images in (x, x_adv, attacks.fgsm(network, x, y, LpBall(0.1, math.inf))))
    if many_steps < at_start:
        hint = f"The loss fell, from {at_start:.3g}: the steps go downhill."
    elif abs(many_steps - one_step) < 1e-3 * one_step:
        hint = "That is FGSM's result: no step used a new gradient."
    else:
        hint = "Do all steps follow the sign of the gradient of y's loss, at the current iterate?"
    expect.that(many_steps > 1.02 * one_step, f"a mean loss of {many_steps:.3g}", f"clearly more than FGSM's {one_step:.3g}", hint)

@exercise.case("the caller's images and model are left as they were")
def _(pgd):
    x_adv = pgd(cnn, digits.x[:2], digits.y[:2], 0.1, 2, 0.05)
    expect.that(not torch.equal(expect.tensor(x_adv, like=digits.x[:2]), digits.x[:2]), "x itself", "a perturbed image")
    expect.unchanged(pgd)

### BEGIN HIDDEN TESTS
@exercise.case("a curved loss, other shapes and classes, step by step", hidden=True,
               hint="Gradient at the iterate, sign, step, projection onto the ball around x, in every step; start at x, return the last.")
def _(pgd):
    net = checks.network(("flatten",), ("linear", 2 * torch.randn(9, 12), torch.randn(9)), ("tanh",), ("linear", 2 * torch.randn(4, 9), None))
    network, x, y = net.build(), torch.rand(3, 3, 2, 2), torch.tensor([1, 3, 0])
    for eps, steps, step_size in ((0.2, 4, 0.08), (0.05, 3, 0.2)):
        x_t = x
        for _ in range(steps):
            x_t = x_t + step_size * attacks.input_gradient(network, x_t, y).sign()
            x_t = torch.minimum(torch.maximum(x_t, (x - eps).clamp_min(0)), (x + eps).clamp_max(1))
        expect.inside(pgd(net, x, y, eps, steps, step_size), x, eps)
        expect.close(pgd(net, x, y, eps, steps, step_size), x_t)

@exercise.case("no step at all, and a gradient of zero", hidden=True, hint="With 0 steps the result is x; a zero gradient must not give NaN.")
def _(pgd):
    dead = checks.network(("linear", torch.zeros(3, 4), None), name="a constant classifier")
    x, y = torch.rand(2, 4), torch.tensor([0, 1])
    expect.close(pgd(dead, x, y, 0.2, 0, 0.1), x)
    expect.inside(pgd(dead, x, y, 0.2, 3, 0.1), x, 0.2)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Watch it at work. The picture opens at step 6, just after the network was fooled; move the slider back to 0 and on to 20. The image hardly changes, the loss climbs, and the probabilities change hands. In the second row the same attack on a network that was trained to resist.

# %% demo="scrubber"
film = widgets.step_scrubber(model, x[3:4], y[3:4], LpBall(0.15, math.inf), steps=20, beside=robust_model)
film.inputs["step"].value = 6
film

# %% [markdown]
# And ten digits at once, in a larger ball. You can read every one of them; an orange frame says that the network cannot any more.

# %% demo="ten-digits"
def reference_pgd(model, x, y, eps, steps, step_size, x_0=None):
    return attacks.pgd(model, x, y, LpBall(eps, math.inf), steps=steps, step_size=step_size,
                       random_start=False, start=x_0, early_stop=False)

your_pgd = checks.yours("pgd", reference_pgd)
both = torch.cat([x[:10], your_pgd(model, x[:10], y[:10], 0.2, 20, 0.025)])
says = model(both).argmax(dim=1)
plots.images(both, titles=[f"“{k}”" for k in says.tolist()], rows=["x", "x̃, ε = 0.2"],
             marked=says != y[:10].repeat(2))

# %% [markdown]
# ### What PGD does not promise
#
# The slide adds a note: since $f$ is **not convex**, in general we cannot find the global optimum. A climber who follows the slope is sure to reach *a* top only, and which one depends on where the climb starts. (Going up, the harmless case is a *concave* loss, which has one hill. The loss of a network is neither convex nor concave.)
#
# With 784 pixels one cannot look everywhere to see what PGD misses. In the plane of the explorer one can: `attacks.exhaustive` tries 61 × 61 points of each ball, for all 200 points of the two moons, ε = 0.15.
#
# **Predict**: PGD starts at $\mathbf x$ and takes 40 small steps. Of 200 points, for how many does it end at a right prediction, although the ball holds an adversarial example?

# %%
my_guess = None  # replace None by a number from 0 to 200

# %% demo="global-optimum"
moons = data.load("moons", "test")
plane_model = coursekit.models.load("moons_mlp")
climbed = your_pgd(plane_model, moons.x, moons.y, 0.15, 40, 0.015)
anywhere = attacks.exhaustive(plane_model, moons.x, moons.y, LpBall(0.15, math.inf), points=61)
after_pgd, after_search = ((plane_model(ends).argmax(dim=1) == moons.y) for ends in (climbed, anywhere))
missed = (after_pgd & ~after_search).nonzero().flatten().tolist()
checks.reveal(my_guess, f"{len(missed)} of {len(moons.y)}",
              f"Right after PGD: {int(after_pgd.sum())}. Right wherever one looks: {int(after_search.sum())}.\n"
              f"Missed: numbers {', '.join(map(str, missed))}.\n"
              "Set the explorer's `point` to one of them: the star shows what was to be found.")

# %% [markdown]
# So "PGD did not fool it" and "nothing fools it" are two statements, and the gap between them is real. More starts narrow it (3.9); only a proof closes it, and in the Questions - Rob1 of assignment 08 you build such a gap yourself, for FGSM.

# %% [markdown]
# ## 3.8 Targeted: "and make it a 3"
#
# An untargeted attack wants any wrong class. A **targeted** one wants a certain class $t$, the speed limit sign of the slides. (Both are evasion attacks, at test time, against a fixed $f$. Assignment 01 sorts the variants.) So it does not run away from $y$; it walks towards $t$, *down* the loss of the class that it wants:
#
# $$\mathbf x_{k+1} = \Pi\big(\mathbf x_k - \eta \operatorname{sign}(\nabla_{\mathbf x}\mathcal L(f(\mathbf x_k), t))\big).$$
#
# ### Exercise 3.8: targeted PGD · medium · 10 minutes · 3 points
#
# Two things change against PGD, and it is easy to change only one of them.
#
# <details><summary>Hint</summary>
# Whose loss is it now, and should it rise or fall?
# </details>

# %% solution="targeted_pgd"
def targeted_pgd(model, x: torch.Tensor, target: torch.Tensor, eps: float, steps: int, step_size: float) -> torch.Tensor:
    """PGD in the L-inf ball of radius eps towards the classes `target`, from x.

    model: returns logits (B, K). x: (B, ...) images in [0, 1]. target: (B,) the classes wanted.
    Returns the last iterate, like x, inside the ball and [0, 1].
    """
    ### BEGIN SOLUTION
    ball = LpBall(eps, math.inf)
    x_t = x
    for _ in range(steps):
        x_t = ball.project(x_t - step_size * attacks.input_gradient(model, x_t, target).sign(), x)
    return x_t
    ### END SOLUTION

# %% test="targeted_pgd" points=3
# Run this cell to check your targeted_pgd. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks, data, losses
from coursekit.checks import expect
from coursekit.perturbations import LpBall

exercise = checks.Exercise("targeted_pgd", points=3, by_hand=["coursekit.attacks.pgd"])
digits = data.load("mnist", "test")
cnn = checks.model("mnist_cnn")

@exercise.case("a linear classifier: straight to the point of the ball where the target is most probable")
def _(targeted_pgd):
    weight = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.2, 1.0, -3.0, 0.5]])
    linear = checks.network(("linear", weight, None), name="a linear classifier")
    x, target = torch.tensor([[0.4, 0.5, 0.6, 0.5], [0.6, 0.05, 0.4, 0.95]]), torch.tensor([1, 0])
    network, ball = linear.build(), LpBall(0.1, math.inf)
    towards, away = attacks.fgsm(network, x, target, ball, target=target), attacks.fgsm(network, x, target, ball)
    expect.close(targeted_pgd(linear, x, target, 0.1, 5, 0.04), towards, mistakes={
        "You walk away from the target: its loss must fall, so the step goes against the gradient.": away,
        "Nothing was added to x.": x,
    }, hint="Step down the loss of the target, then project onto the ball around x.")

@exercise.case("real digits: inside the ball, and the target becomes the prediction of most")
def _(targeted_pgd):
    x, target = digits.x[:20], (digits.y[:20] + 3) % 10
    x_adv = expect.tensor(targeted_pgd(cnn, x, target, 0.2, 20, 0.02), like=x)
    expect.inside(x_adv, x, 0.2)
    network = cnn.build()
    predicted = network(x).argmax(dim=1)
    hit = (network(x_adv).argmax(dim=1) == target).float().mean().item()
    before, after = (losses.cross_entropy(network(images), target).mean().item() for images in (x, x_adv))
    if losses.cross_entropy(network(x_adv), predicted).mean() < losses.cross_entropy(network(x), predicted).mean():
        hint = "The images became surer of what they show: you go down the loss of that class. Go down the target's."
    elif after > before:
        hint = "The loss of the target rises. Which way must the step go if the target is wanted?"
    else:
        hint = "Is the gradient that of the target's loss, taken at the current iterate?"
    expect.that(hit > 0.5, f"the target is predicted for {hit:.0%}", "more than half of the 20 digits", hint)

@exercise.case("images that are of the target class already: still all steps")
def _(targeted_pgd):
    weight = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.2, 1.0, -3.0, 0.5]])
    linear = checks.network(("linear", weight, None), name="a linear classifier")
    x = torch.full((2, 4), 0.5)
    target = linear.build()(x).argmax(dim=1)

    def after(distance):  # the gradient of a linear loss keeps its signs: the path is straight
        return attacks.fgsm(linear.build(), x, target, LpBall(distance, math.inf), target=target)

    x_adv = expect.tensor(targeted_pgd(linear, x, target, 0.1, 3, 0.02), like=x)
    moved, gradient = x_adv - x, attacks.input_gradient(linear.build(), x, target)
    along = torch.nn.functional.cosine_similarity(moved, -gradient).min()
    unequal = moved.abs().max() > 1.05 * moved.abs().min()
    expect.close(x_adv, after(0.06), mistakes={
        "You stop once the target is reached. All steps are asked for.": x,
        "You stop after one step, once the target is reached. All steps are asked for.": after(0.02),
        "The pixels moved by eps, all of it. Is step_size what each step moves by?": after(0.1),
        "One step too many.": after(0.08),
        "One step too few.": after(0.04),
    }, hint="You step along the gradient itself. As in PGD, take its sign." if along > 0.999 and unequal else
            "Step down the loss of the target, whatever the image shows.")

@exercise.case("projects in every step, not only at the end")
def _(targeted_pgd):
    # Two pixels; as long as the first is in the ball, the target's loss falls with the second. Beyond, it rises.
    bend = checks.network(("linear", torch.tensor([[1.0, 0.0], [-10.0, 1.0], [10.0, -1.0]]), torch.tensor([0.0, 6.5, -7.5])),
                          ("relu",), ("linear", torch.tensor([[12.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), None), name="a bent loss")
    x = torch.tensor([[0.5, 0.5]])
    expect.close(targeted_pgd(bend, x, torch.tensor([0]), 0.1, 20, 0.05), torch.tensor([[0.6, 0.6]]),
                 hint="Outside the ball the gradient is another one. Project after each step, onto the ball around x.")

@exercise.case("stops at a valley of the target's loss; model and images are left as they were")
def _(targeted_pgd):
    # One pixel u; the loss of class 0 is lowest at u = 0.6 and rises on both sides.
    valley = checks.network(("linear", torch.tensor([[1.0], [-1.0]]), torch.tensor([-0.6, 0.6])), ("relu",),
                            ("linear", torch.tensor([[0.0, 0.0], [5.0, 5.0]]), None), name="a loss with its valley at 0.6")
    x = torch.tensor([[0.5], [0.75]])
    x_adv = expect.tensor(targeted_pgd(valley, x, torch.tensor([0, 0]), 0.3, 34, 0.011), like=x)
    expect.that(float((x_adv - 0.6).abs().max()) < 0.0115, f"pixels at {x_adv[0].item():.3f} and {x_adv[1].item():.3f}",
                "both in the valley, 0.600 give or take a step",
                "In every step: is it the gradient of the target's loss at the iterate, and does the step go against it?")
    expect.unchanged(targeted_pgd)

### BEGIN HIDDEN TESTS
@exercise.case("a curved loss, other shapes and classes", hidden=True, hint="Every step: gradient of the target's loss at the iterate, down, project.")
def _(targeted_pgd):
    net = checks.network(("flatten",), ("linear", 2 * torch.randn(9, 12), torch.randn(9)), ("tanh",), ("linear", 2 * torch.randn(4, 9), None))
    network, x, target = net.build(), torch.rand(3, 3, 2, 2), torch.tensor([1, 3, 0])
    x_t = x
    for _ in range(4):
        x_t = x_t - 0.08 * attacks.input_gradient(network, x_t, target).sign()
        x_t = torch.minimum(torch.maximum(x_t, (x - 0.2).clamp_min(0)), (x + 0.2).clamp_max(1))
    expect.inside(targeted_pgd(net, x, target, 0.2, 4, 0.08), x, 0.2)
    expect.close(targeted_pgd(net, x, target, 0.2, 4, 0.08), x_t)
### END HIDDEN TESTS

exercise.score()

# %% demo="all-targets"
# One digit, dressed up as each of the ten classes.
def reference_targeted(model, x, target, eps, steps, step_size):
    return attacks.pgd(model, x, x.new_zeros(len(x), dtype=torch.int64), LpBall(eps, math.inf), steps=steps, step_size=step_size,
                       random_start=False, target=target, early_stop=False)

targets = torch.arange(10)
dressed_up = checks.yours("targeted_pgd", reference_targeted)(model, x[3:4].repeat(10, 1, 1, 1), targets, 0.25, 30, 0.02)
says = model(dressed_up).argmax(dim=1).tolist()
plots.images(dressed_up, titles=[f"target {t}\nf says {k}" for t, k in enumerate(says)],
             alt=f"Ten copies of one handwritten 3, each still a 3 to the eye, with dark and bright patches in the background, attacked "
                 f"with the targets 0 to 9. The network reads them as {', '.join(map(str, says))}.")

# %% [markdown]
# ## 3.9 Random starts and restarts
#
# Every start leads up *one* hill. The maximum that is found from $\mathbf x$ itself need not be the highest in the ball, so one starts several times at random points of $\mathcal P(\mathbf x)$, and keeps for each image the worst result. It takes two small functions.
#
# ### Exercise 3.9a: a random start · easy · 10 minutes · 2 points
#
# Draw, for every pixel of every image, a shift uniformly from $[-\epsilon, \epsilon]$, add it, and stay in the image range. The seed makes the draw repeatable.
#
# <details><summary>Hint</summary>
# <code>generator = torch.Generator().manual_seed(seed)</code>, then <code>torch.rand(x.shape, generator=generator)</code> is uniform in [0, 1). Which shift and scale make it uniform in [-eps, eps]?
# </details>

# %% solution="random_start"
def random_start(x: torch.Tensor, eps: float, seed: int) -> torch.Tensor:
    """x plus uniform noise from [-eps, eps], drawn for each pixel of each image, clamped to [0, 1].

    x: (B, ...) images in [0, 1]. seed: the same seed gives the same points. Returns a tensor like x.
    """
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)
    noise = 2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1
    return (x + eps * noise).clamp(0, 1)
    ### END SOLUTION

# %% test="random_start" points=2
# Run this cell to check your random_start. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("random_start", points=2, by_hand=["coursekit.perturbations.LpBall.sample"])
grey = torch.full((8, 1, 20, 20), 0.5)

@exercise.case("fills the ball evenly: uniform in [-eps, eps]")
def _(random_start):
    shift = expect.tensor(random_start(grey, 0.2, 0), like=grey) - grey
    expect.that(abs(shift.mean().item()) < 0.4, f"a mean brightness of {shift.mean().item() + 0.5:.3g}", "0.5, as in x, give or take",
                "This is the noise alone. Add it to x.")
    expect.inside(grey + shift, grey, 0.2, hint="Uniform noise has hard edges: no pixel moves by more than eps.")
    mean, share = shift.mean().item(), (shift.abs() < 0.1).float().mean().item()
    expect.that(shift.abs().max().item() > 0, "x itself", "noise around x")
    expect.that(shift.min().item() < -0.15 and shift.max().item() > 0.15,
                f"shifts from {shift.min().item():.3g} to {shift.max().item():.3g}", "shifts from -0.2 to 0.2",
                "torch.rand lies in [0, 1): move and scale it so that it covers [-eps, eps].")
    expect.that(abs(mean) < 0.02, f"a mean shift of {mean:.3g}", "a mean near 0", "As many pixels up as down.")
    expect.that(0.4 < share < 0.6, f"{share:.0%} of the shifts in the inner half", "about half of them",
                "Every shift in [-eps, eps] is equally likely: uniform, neither normal nor just a sign.")

@exercise.case("another draw for each pixel and each image")
def _(random_start):
    shift = expect.tensor(random_start(grey, 0.2, 1), like=grey) - grey
    expect.that(not torch.equal(shift[0], shift[1]), "the same noise for every image", "noise of its own for each",
                "Draw a tensor of the full shape of x.")
    expect.that(len(shift[0].unique()) > 100, f"{len(shift[0].unique())} different shifts in an image of 400 pixels",
                "a shift of its own for each pixel", "Draw a tensor of the full shape of x.")

@exercise.case("the same seed gives the same points, another seed others")
def _(random_start):
    one = expect.tensor(random_start(grey, 0.2, 5), like=grey)
    expect.that(torch.equal(one, random_start(grey, 0.2, 5)), "two different draws with one seed", "the same draw",
                "Make a generator from the seed in every call and hand it to torch.rand.")
    for seed in (6, 7, 1005):
        expect.that(not torch.equal(one, random_start(grey, 0.2, seed)), f"the same draw with the seeds 5 and {seed}", "different draws",
                    "The seed, as it is, must reach the generator that is drawn from.")

@exercise.case("black and white pixels stay in [0, 1], and x is left as it was")
def _(random_start):
    black_and_white = (torch.arange(800).reshape(2, 1, 20, 20) % 2).float()
    start = expect.tensor(random_start(black_and_white, 0.3, 2), like=black_and_white)
    expect.inside(start, black_and_white, 0.3)
    expect.that(not torch.equal(start, black_and_white), "x itself", "noise around x")
    still_black = (start[black_and_white == 0] == 0).float().mean().item()
    expect.that(0.4 < still_black < 0.6, f"{still_black:.0%} of the black pixels that stay black", "about half",
                "Noise first, then the clamp: of the black pixels half are pushed below 0 and come back to 0.")
    expect.unchanged(random_start)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes and radii", hint="No shape and no eps may be written out.", hidden=True)
def _(random_start):
    x = torch.full((500, 3), 0.5)
    for eps in (0.01, 0.5):
        shift = expect.tensor(random_start(x, eps, 3), like=x) - x
        expect.that(shift.abs().max().item() <= eps + 1e-6 and shift.min().item() < -0.9 * eps and shift.max().item() > 0.9 * eps,
                    f"shifts from {shift.min().item():.3g} to {shift.max().item():.3g}", f"shifts from {-eps} to {eps}")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Exercise 3.9b: keep the worst of several runs · medium · 15 minutes · 2 points
#
# Say the attack was run $R$ times, with $R$ random starts. For **each image** keep the result with the highest cross-entropy: run 2 may be best for one image and run 5 for the next. The reference for the loss is `losses.cross_entropy(logits, y)`.
#
# <details><summary>Hint</summary>
# Either keep the best so far and its loss, and replace with <code>torch.where</code> where a run does better; or stack the losses to <code>(R, B)</code>, take <code>argmax(dim=0)</code>, and index with <code>candidates[best, torch.arange(B)]</code>.
# </details>

# %% solution="keep_worst"
def keep_worst(model, candidates: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """For each image the candidate with the highest cross-entropy.

    model: returns logits (B, K). candidates: (R, B, ...) results of R runs of an attack on the same B images.
    y: (B,) labels. Returns (B, ...): of several equally bad candidates any one.
    """
    ### BEGIN SOLUTION
    loss = torch.stack([losses.cross_entropy(model(x_adv), y) for x_adv in candidates])
    return candidates[loss.argmax(dim=0), torch.arange(len(y))]
    ### END SOLUTION

# %% test="keep_worst" points=2
# Run this cell to check your keep_worst. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("keep_worst", points=2)
# Logits (u, v) of an image with two pixels u, v: the loss of class 0 is highest where v - u is largest.
two_pixels = checks.network(("linear", torch.eye(2), None), name="logits = pixels")

@exercise.case("another run may be worst for each image: 3 runs, 4 images")
def _(keep_worst):
    candidates = torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.3, 0.4]],
                               [[0.4, 0.5], [0.6, 0.5], [0.3, 0.9], [0.9, 0.2]],
                               [[0.1, 0.7], [0.3, 0.6], [0.9, 0.2], [0.2, 0.6]]])
    y = torch.tensor([0, 0, 0, 0])
    worst = torch.stack([candidates[2, 0], candidates[0, 1], candidates[1, 2], candidates[2, 3]])
    lowest = torch.stack([candidates[0, 0], candidates[1, 1], candidates[2, 2], candidates[1, 3]])
    one_run = "You keep one run for the whole batch. Each image has a worst run of its own."
    kept = expect.tensor(keep_worst(two_pixels, candidates, y), like=worst)
    runs = [run for run in candidates if expect.same(kept, run)]
    strange = [image for image, column in zip(kept, candidates.transpose(0, 1)) if not any(expect.same(image, one) for one in column)]
    hint = "For each image, a column of the candidates: which run has the highest loss?"
    if strange:
        hint = "This is no run's own result: each image of what you return must be one of its own candidates, as it is."
    expect.close(kept, worst, hint=one_run if runs else hint, mistakes={
        "You keep the lowest loss. The attacker wants the highest.": lowest,
        "You compare each run with the one before it. Compare it with the best so far, whose loss must be kept, too.":
            torch.stack([candidates[2, 0], candidates[2, 1], candidates[1, 2], candidates[2, 3]]),
    })

@exercise.case("the label counts", hint="Highest loss of the class in y, which differs from image to image.")
def _(keep_worst):
    candidates = torch.tensor([[[0.9, 0.1], [0.9, 0.1]], [[0.1, 0.9], [0.1, 0.9]]])
    expect.close(keep_worst(two_pixels, candidates, torch.tensor([0, 1])), torch.tensor([[0.1, 0.9], [0.9, 0.1]]))

@exercise.case("three classes: the highest cross-entropy, whatever is predicted")
def _(keep_worst):
    three = checks.network(("linear", torch.eye(3), None), name="logits = pixels")
    unsure, wrong, low = torch.tensor([0.34, 0.33, 0.33]).log(), torch.tensor([0.45, 0.5, 0.05]).log(), torch.tensor([-5.0, -9.0, -9.0])
    candidates = torch.stack([wrong, unsure, low]).reshape(3, 1, 3)
    expect.close(keep_worst(three, candidates, torch.tensor([0])), candidates[1], mistakes={
        "You prefer a wrong prediction. Not a bad idea, but here the cross-entropy decides.": candidates[0],
        "You look at the logit of y alone. The loss depends on all logits.": candidates[2],
    }, hint="For which run is the cross-entropy highest?")

@exercise.case("images of 1 x 1 x 2 pixels, a single one of them; the candidates are left as they were")
def _(keep_worst):
    flat = checks.network(("flatten",), ("linear", torch.eye(2), None), name="logits = pixels")
    candidates = torch.tensor([[0.9, 0.1], [0.3, 0.8]]).reshape(2, 1, 1, 1, 2)
    expect.close(keep_worst(flat, candidates, torch.tensor([0])), candidates[1], hint="The second run has the higher loss.")
    expect.unchanged(keep_worst)

### BEGIN HIDDEN TESTS
@exercise.case("images of other shapes, more runs than images", hint="For each image the run with the highest cross-entropy; runs come first, images second.", hidden=True)
def _(keep_worst):
    net = checks.network(("flatten",), ("linear", torch.randn(5, 12), None))
    candidates, y = torch.rand(7, 4, 3, 2, 2), torch.tensor([4, 0, 2, 2])
    network = net.build()
    loss = torch.stack([torch.nn.functional.cross_entropy(network(x), y, reduction="none") for x in candidates])
    expect.close(keep_worst(net, candidates, y), torch.stack([candidates[int(r), b] for b, r in enumerate(loss.argmax(dim=0))]))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Now the machine is complete: random starts, PGD from each, the worst result for every image. First in the plane, where the truth is known from the end of 3.7, then on digits.

# %% demo="machine"
def reference_start(x, eps, seed):
    return LpBall(eps, math.inf).sample(x, generator=torch.Generator().manual_seed(seed))

def reference_worst(model, candidates, y):
    """Keeps the first run that fools, else the last one: the careful library of the text below."""
    worst = candidates[0].clone()
    for run in candidates[1:]:
        still_right = model(worst).argmax(dim=1) == y
        worst[still_right] = run[still_right]
    return worst

your_start = checks.yours("random_start", reference_start)
your_worst = checks.yours("keep_worst", reference_worst)

def right_after(classifier, x, y, eps, steps, step_size, restarts):
    """After each restart: how many are right, clean and at the worst point so far."""
    clean_right, runs, counts = classifier(x).argmax(dim=1) == y, [], []
    for seed in tqdm(range(restarts), desc="restarts"):
        runs.append(your_pgd(classifier, x, y, eps, steps, step_size, your_start(x, eps, seed)))
        worst = your_worst(classifier, torch.stack(runs), y)
        counts.append(int((clean_right & (classifier(worst).argmax(dim=1) == y)).sum()))
    return counts

in_plane = right_after(plane_model, moons.x, moons.y, eps=0.15, steps=40, step_size=0.015, restarts=8)
print(f"Of 200 points of the plane right after PGD from x: {int(after_pgd.sum())}")
print(f"  after the worst of 1, 2, 3, ... random starts: {', '.join(map(str, in_plane))}")
print(f"  wherever one looks: {int(after_search.sum())}")
on_digits = right_after(model, x[:100], y[:100], eps=0.1, steps=15, step_size=0.02, restarts=5)
print(f"Of 100 digits right after the worst of 1, 2, 3, ... random starts: {', '.join(map(str, on_digits))}")

# %% [markdown]
# In the plane a single random start may well do worse than the start at $\mathbf x$; a handful together find what looking everywhere has found. On the digits restarts gain little: the loss of this network has few hills in so small a ball, and most starts end at equally bad points. That is good news for the attacker, and you only know it because you tried. (Note also what you keep: the highest *cross-entropy*. With ten classes a wrong prediction can have a lower one than a right prediction, so a careful library keeps a fooling point first and looks at the loss second.)
#
# An attack's record shows at a glance whether it deserves trust. Thin lines are the single restarts, the thick one is their mean, and the dotted line is what one step of FGSM leaves. A flag on top names what looks wrong: a loss that still rises, a last restart that still gains, gradients that vanish, one step that beats many. First an attack in a hurry, with three steps:

# %% demo="diagnostics-hasty"
plots.diagnostics(model, x[:100], y[:100], LpBall(0.1, math.inf), steps=3, restarts=5)

# %% [markdown]
# The loss had not finished rising, so the attack had not finished, and its robust accuracy was too good to be true. With 20 steps:

# %% demo="diagnostics"
plots.diagnostics(model, x[:100], y[:100], LpBall(0.1, math.inf), steps=20, restarts=5)

# %% [markdown]
# ## 3.10 Robust accuracy
#
# The number that everyone quotes: the share of test images that are classified rightly **and** stay right under attack. An image that was wrong to begin with is not robust, even if the attack happens to make it right.
#
# ### Exercise 3.10: robust accuracy · easy · 10 minutes · 2 points
#
# Write it for one batch, given the images before and after an attack. (Some papers divide by the images that were right to begin with. This is another number; here *all* images count.)
#
# <details><summary>Hint</summary>
# Two tensors of booleans, right before and right after, and <code>&amp;</code> between them. What is the mean of zeros and ones?
# </details>

# %% solution="robust_accuracy"
def robust_accuracy(model, x: torch.Tensor, x_adv: torch.Tensor, y: torch.Tensor) -> float:
    """The share of images that the model classifies rightly both clean and attacked.

    model: returns logits (B, K). x, x_adv: (B, ...) images and what an attack made of them. y: (B,) labels.
    Returns a number from 0 to 1.
    """
    ### BEGIN SOLUTION
    right = (model(x).argmax(dim=1) == y) & (model(x_adv).argmax(dim=1) == y)
    return right.float().mean().item()
    ### END SOLUTION

# %% test="robust_accuracy" points=2
# Run this cell to check your robust_accuracy. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data
from coursekit.checks import expect

exercise = checks.Exercise("robust_accuracy", points=2, by_hand=["coursekit.evaluation.robust_accuracy"])
two_pixels = checks.network(("linear", torch.eye(2), None), name="logits = pixels")
zero, one = [0.9, 0.1], [0.1, 0.9]  # predicted as 0 and as 1

@exercise.case("right before and after")
def _(robust_accuracy):
    x, x_adv = torch.tensor([zero, zero, one, one, one]), torch.tensor([zero, one, one, one, zero])
    expect.close(robust_accuracy(two_pixels, x, x_adv, torch.tensor([0, 0, 1, 1, 1])), 0.6, mistakes={
        "This is the share that was fooled. Robust are the others.": 0.4,
        "This is the clean accuracy: the attacked images count as well.": 1.0,
        "This is a number of images; divide by the size of the batch.": 3.0,
        "This is in per cent; a share lies between 0 and 1.": 60.0,
        "Is each argmax taken over the classes, dim=1, one for every image?": 0.5,
    }, hint="Three of the five images are right on x and on x_adv.")

@exercise.case("wrong before, right after: not robust")
def _(robust_accuracy):
    # Of seven images one is right on both, two only before, three only after, one on neither.
    x, x_adv = torch.tensor([zero, zero, zero, one, one, one, one]), torch.tensor([zero, one, one, zero, zero, zero, one])
    by_image = "Look at both conditions image by image: an image counts if it is right before and after."
    expect.close(robust_accuracy(two_pixels, x, x_adv, torch.zeros(7, dtype=torch.int64)), 1 / 7, mistakes={
        "You count images that are right under attack but were wrong before. Those are not robust.": 4 / 7,
        "You leave the images that were wrong before out of the count. They stay in it, as not robust.": 1 / 3,
        "This is the product of two accuracies. " + by_image: 12 / 49,
        "This is the smaller of two accuracies. " + by_image: 3 / 7,
        "One condition is enough for you. Both conditions are needed: right before and after.": 6 / 7,
        "You compare the two predictions with each other. Compare each with y: twice the same wrong class is not robust.": 2 / 7,
    }, hint="Both conditions, for each image; divided by all images.")

@exercise.case("real digits, untouched: the clean accuracy", hint="If nothing was changed, it is the ordinary accuracy.")
def _(robust_accuracy):
    digits = data.load("mnist", "test")
    cnn = checks.model("mnist_cnn")
    clean = (cnn.build()(digits.x[:100]).argmax(dim=1) == digits.y[:100]).float().mean().item()
    expect.close(robust_accuracy(cnn, digits.x[:100], digits.x[:100], digits.y[:100]), clean)

### BEGIN HIDDEN TESTS
@exercise.case("ten classes, many images", hint="An image counts if it is right on x and on x_adv.", hidden=True)
def _(robust_accuracy):
    net = checks.network(("linear", torch.randn(10, 6), None))
    network, x, x_adv = net.build(), torch.rand(60, 6), torch.rand(60, 6)
    y = torch.where(torch.rand(60) < 0.7, network(x).argmax(dim=1), torch.randint(0, 10, (60,)))
    right = (network(x).argmax(dim=1) == y) & (network(x_adv).argmax(dim=1) == y)
    expect.close(robust_accuracy(net, x, x_adv, y), right.float().mean().item())
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# One number at one ε says little; a **curve** over ε says how a classifier gives way. It also tests the attack: from ε = 0.5 on, every ball holds the same grey image, which the network puts into one class, so about one digit in ten can be robust at most, and a good attack reaches 0 long before.
#
# **Predict**: noise of the same size, but random, $\pm\epsilon$ for each pixel. How many of 100 digits are still read rightly at ε = 0.2, where PGD leaves less than one?

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="random-noise"
signs = 2 * torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(0)) - 1
noisy = (x + 0.2 * signs).clamp(0, 1)
checks.reveal(my_guess, f"{100 * (model(noisy).argmax(dim=1) == y).float().mean().item():.0f} of 100",
              "In 784 dimensions a random direction is nearly at right angles to the one that matters. The worst case is not bad luck: it is built.")

# %% demo="robustness-curve"
eps_values = [0.0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6]
your_fgsm = checks.yours("fgsm", reference_fgsm)

def random_noise(classifier, x, y, eps):
    return (x + eps * signs[: len(x)]).clamp(0, 1)

def ten_steps(classifier, x, y, eps):
    return your_pgd(classifier, x, y, eps, 10, max(eps, 1e-6) / 4)

def of_size(eps, attack):
    return lambda classifier, x, y: attack(classifier, x, y, eps)

contests = {"random noise": (model, random_noise), "FGSM": (model, your_fgsm),
            "PGD, 10 steps": (model, ten_steps), "PGD on a robust model": (robust_model, ten_steps)}
curves = {name: [] for name in contests}
for name, eps in tqdm([(name, eps) for name in contests for eps in eps_values], desc="attacks at each ε"):
    classifier, attack = contests[name]
    result = evaluation.robust_accuracy(classifier, x, y, of_size(eps, attack))
    curves[name].append((eps, result.robust, *result.interval))
plots.curves({name: list(zip(*points, strict=True)) for name, points in curves.items()})

# %% [markdown]
# The bands are 95 % confidence intervals of the share, from 200 digits. Random noise is what optimists measure. FGSM and PGD attack the same network, and FGSM's number was too friendly: it never reaches 0, and beyond ε = 0.3 it *rises* again, although a larger ball holds all that a smaller one does: one long step lands far beyond the place whose gradient it used. PGD gets there. The robust model was trained on PGD's own examples; it holds out up to the ε that it was trained for (0.1), and then gives way, too. How that is done, and what it costs, is assignment 07, adversarial training.
#
# ### The truth, for once
#
# All of these numbers come from above: each attack shows some adversarial examples, and nobody knows how many it missed. For a network that is small enough the question "is there any point of $\mathcal P(\mathbf x)$ that is misclassified?" can be answered without a gap, as assignment 09, exact certification, will show: either by a point, or by a proof that there is none. Here is the answer for a network with two hidden layers of 32 neurons, 300 digits and ε = 0.03, and beside it what the attacks believe. (A few seconds.)

# %% demo="truth"
from coursekit.certify import exact

small, tiny = coursekit.models.load("mnist_mlp"), LpBall(0.03, math.inf)
images, labels = test_digits.x[:300], test_digits.y[:300]
verdicts = exact.verify(small, images, labels, tiny, time_limit=2)
exists = torch.tensor([status == "counterexample" for status in verdicts.status])
proven = torch.tensor([status == "robust" for status in verdicts.status])
is_right = small(images).argmax(dim=1) == labels

left = {}
for name, attack in {"random noise": lambda f, x, y, eps: tiny.sample(x, generator=torch.Generator().manual_seed(0)),
                     "FGSM": your_fgsm, "PGD, 10 steps": ten_steps}.items():
    stands = small(attack(small, images, labels, tiny.eps)).argmax(dim=1) == labels
    left[name] = stands.double().mean().item()
    print(f"{name + ':':<15} {int((is_right & ~stands).sum()):>3} of {int((is_right & exists).sum())} digits that can be fooled, were")
plots.from_above(left, (proven.double().mean().item(), 1 - exists.double().mean().item()))

# %% [markdown]
# In so small a ball the loss is nearly linear, so even one step finds most of what there is, and PGD nearly all. "Nearly" is the point: the digits that are missing look robust under PGD, and are not. With larger balls, deeper networks and rugged losses the gap grows, and there nobody can tell you how large it is.
#
# ### A surprise to end with
#
# Multiply the logits of the network by 1000. Every prediction stays the same: it is *the same classifier*, just as easy to fool. **Predict**: PGD left about a third of the digits right at ε = 0.1. How many of 100 does it leave right now?

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="scaled-logits"
def shouting(x):
    return 1000 * model(x)

plain, loud = (evaluation.robust_accuracy(f, x, y, lambda m, x, y: ten_steps(m, x, y, 0.1)) for f in (model, shouting))
no_slope = (attacks.input_gradient(shouting, x, y).flatten(1) == 0).all(dim=1).float().mean().item()
checks.reveal(my_guess, f"{100 * loud.robust:.0f} of 100",
              f"Robust accuracy of f: {plain.robust:.1%}; of 1000 f: {loud.robust:.1%}.\n"
              f"Images of which the whole gradient is exactly zero for 1000 f: {no_slope:.1%}.")

# %% [markdown]
# The softmax is so sure of itself that $1 - p_y$ rounds to zero, and with it the gradient. The attack stands still, and a failed attack looks exactly like a robust model. **Robust accuracy under an attack is only as good as the attack.** Assignment 04, minimum-norm attacks, has a loss that does not fall for it; assignment 06, failed defences, takes apart defences that do nothing but this.
#
# ## 3.11 In your own words
#
# These two answers are read by a person. A few sentences each are enough.
#
# ### Question 3.11a: why the sign? · medium · 10 minutes · 3 points
#
# In 3.4 the sign step came out as the best single step in the $L_\infty$ ball for a linear loss with gradient $\mathbf g$. Now take another attacker: a faulty camera, of which **at most $k$ pixels** may be off, each by at most $\epsilon$. (1) Which single step is best for a linear loss, and why? (2) By how much does it raise the loss, compared with FGSM? (3) In the $L_2$ ball, is the sign step the best one? If not, which is, and what is wrong with the sign there?

# %% [markdown] answer="why-sign" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: move the k pixels with the largest |g_i|, each by eps * sign(g_i), and leave the others. Reason: the gain is the sum of g_i * delta_i over the chosen pixels; each term is at most eps * |g_i|, so the k largest are chosen. (Right pixels without a reason: half a point.)
#
# **1 point**: it gains eps times the sum of the k largest |g_i|; FGSM gains eps * ||g||_1, the sum over all pixels. So at most as much, equal for k = d or if all other g_i are 0.
#
# **1 point**: no; the best step is eps * g / ||g||_2 (Cauchy-Schwarz). In L2 the pixels share one budget, the sum of squares, and the sign spends it evenly, on pixels that matter little as well. (Step without explanation, or the reverse: half a point.)
# === END MARK SCHEME ===
# (1) The gain is $\sum_i g_i \delta_i$ over the pixels I may touch, and each term is at most $\epsilon|g_i|$, reached at $\delta_i = \epsilon\operatorname{sign}(g_i)$. So I take the $k$ pixels with the largest $|g_i|$, move each by $\epsilon$ in the sign of its derivative, and leave the rest. (2) It gains $\epsilon$ times the sum of the $k$ largest $|g_i|$, FGSM $\epsilon\lVert\mathbf g\rVert_1$, the sum over all: FGSM gains more unless all the others are zero. (3) No. In the $L_2$ ball the pixels share the budget $\sum_i\delta_i^2\le\epsilon^2$, and it should go where it gains most: the best step is $\epsilon\,\mathbf g/\lVert\mathbf g\rVert_2$ by Cauchy-Schwarz. The sign step spends the same on every pixel, whether it matters or not.

# %% [markdown]
# ### Question 3.11b: what does the curve prove? · medium · 10 minutes · 3 points
#
# A company writes: "Under PGD with 10 steps at ε = 0.1 our classifier keeps 85 % accuracy. So at least 85 % of the images cannot be attacked with ε = 0.1." What exactly has been shown, and what has not? Name two different reasons why the true robust accuracy can be lower, and one check that you would ask for.

# %% [markdown] answer="what-the-curve-proves" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: the measured value is an upper bound of the true robust accuracy (for these images): for 15 % an adversarial example was found or they were wrong anyway; for the other 85 % nothing was found, which is no proof that nothing is there.
#
# **1 point** for two different reasons, half each: the loss is not concave, PGD may end in a local maximum; too few steps or too small steps to reach the edge of the ball; no restarts; vanishing or obfuscated gradients (the scaled logits above); the surrogate is not the zero-one loss; a finite sample of test images (sampling error).
#
# **1 point** for a sensible check: more steps and restarts until the number no longer falls; other losses or attacks; a larger eps must lead to 0; share of zero gradients; an exact verifier or a certificate, which bounds from below.
# === END MARK SCHEME ===
# Shown is only an upper bound: for at least 15 % of the test images a wrong prediction within ε exists (or they were wrong to begin with), so the robust accuracy on them is at most 85 %. For the rest the attack found nothing; that is no proof. It can be lower because the loss is not concave and PGD may stop at a local maximum, and because ten steps without restarts may be too weak, or the gradients may vanish as with the scaled logits. I would raise steps and restarts until the number stops falling, and look whether accuracy goes to 0 for large ε; a proof needs a certificate.

# %% [markdown]
# ## What to take along
#
# * The zero-one loss has no useful gradient, so attacks climb the cross-entropy: a *surrogate*.
# * FGSM is the best step for a linear loss in the $L_\infty$ ball. With $\eta = \epsilon$ it needs no projection onto that ball; the image range is another matter.
# * PGD = step, project, repeat: like training, with the data updated instead of the weights. Fresh gradient at the iterate, projection around $\mathbf x$. It climbs one hill; the global optimum is not promised.
# * Keeping the worst of several runs can only make an attack stronger. Still, what an attack measures is an **upper bound** of robust accuracy.
#
# **Where it goes on**: assignment 04, minimum-norm attacks, asks how far away the nearest adversarial example is. Assignment 05, physical attacks, prints one. Assignment 06, failed defences, hides the gradient, and finds it again. Assignment 07, adversarial training, puts PGD inside the training loop.
#
# **Further**: Goodfellow, Shlens, Szegedy, *Explaining and harnessing adversarial examples*, 2015 (FGSM). Madry et al., *Towards deep learning models resistant to adversarial attacks*, 2018 (PGD). Carlini et al., *On evaluating adversarial robustness*, 2019: how not to fool oneself.
