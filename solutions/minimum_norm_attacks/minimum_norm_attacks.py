# %% [markdown]
# # 4 Minimum-norm attacks
#
# Turn the question round, from whether there is an adversarial example within ε to **how far away the nearest one is**: a number for each image rather than a yes or no, and from the numbers of many images you read off the answer for every ε at once. You will build the attack of Carlini and Wagner, the one that broke defensive distillation and, soon after, ten detectors, and hold it against three rivals and, for a linear classifier, against the exact truth.
#
# **After this notebook you can**
#
# * write down the alternative optimisation problem, say why gradient descent cannot take it as it stands, and turn it into one that it can take;
# * write the margin loss on log-probabilities, and say what it has over the cross-entropy, with measurements of your own;
# * search for the right weight λ, image by image, and say what happens when it is too small and when it is too large;
# * give the exact distance of an image to the decision boundary of a linear classifier, in three norms, and use it on networks;
# * compare attacks by the distances they find, and say what such a distance proves.
#
# **Slides**: "Alternative Optimization Problem". **Time**: about two and a half hours. **Points**: 30 from eleven functions that are checked at once, 6 from two texts that a person reads.
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other shapes, other numbers of classes and other values of λ. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was: no tensor edited in place, no model in another mode.</div>
#
# **Notation**, as on the slides: $\mathbf x$ an image with pixels in $[0, 1]$, $y$ its label, $f$ the classifier, $\tilde{\mathbf x}$ a perturbed image, $\mathcal D(\mathbf x, \tilde{\mathbf x})$ how far apart they are, $L$ the margin loss, $Z$ the log-probabilities. In code, `x` is a batch of images of shape `(B, ...)`, `y` holds their `B` labels, and `lam` holds **one λ per image**, `(B,)` (`lambda` is a word of Python's own). Whatever you write must work for every `B` and for inputs of other shapes.

# %% readonly="setup"
import math

import torch
from torch import Tensor

import coursekit
from coursekit import attacks, checks, data, evaluation, losses, plots, widgets
from coursekit.perturbations import LpBall

torch.set_num_threads(1)  # networks as small as these run faster on a single thread

test_digits = data.load("mnist", "test")
model = coursekit.models.load("mnist_cnn")  # a small convolutional network
linear_model = coursekit.models.load("mnist_linear")  # logits = W x + b: here the truth is known

x, y = test_digits.x[:100], test_digits.y[:100]
right = model(x).argmax(dim=1) == y

def distance(x_tilde, x):
    """||x~ - x||_2 of every image: (B,)."""
    return (x_tilde - x).flatten(1).norm(dim=1)

print(f"{len(x)} test digits; the network reads {int(right.sum())} of them rightly")

# %% [markdown]
# ## 4.1 The question turned round
#
# With a ball of radius ε, as in the notebook on gradient attacks, the attacker has a budget and asks whether it is enough. Now the attacker is thrifty, and wants to spend as little as possible:
#
# $$\min_{\tilde{\mathbf x}}\; \mathcal D(\mathbf x, \tilde{\mathbf x}) \quad\text{subject to}\quad \ell_{0/1}(f(\tilde{\mathbf x}), y) > 0.$$
#
# ($\mathcal D$ is large when $\tilde{\mathbf x}$ is far from $\mathbf x$. We take the squared $L_2$ distance $\lVert\tilde{\mathbf x} - \mathbf x\rVert_2^2$, as Carlini and Wagner do: the same nearest points as without the square, and a gradient that is easier to live with. Distances that we *report* are plain $L_2$ distances.)
#
# ### Predict, then reveal
#
# The $L_2$ distance between two digits is large: from a test digit to the nearest of all 4,000 training digits *of another class* it is about 6.5 (median). Within that distance a real picture of something else exists. **How far is it to the nearest picture that the network merely *takes* for something else?** Write your guess, between 0 and 6.5, into the cell.

# %%
my_guess = None  # replace None by a number from 0 to 6.5

# %% demo="nearest"
train_digits = data.load("mnist", "train")
between = torch.cdist(x.flatten(1), train_digits.x.flatten(1))
to_others, neighbour = between.masked_fill(y[:, None] == train_digits.y, math.inf).min(dim=1)
x_near = attacks.ddn(model, x, y)  # an attack that you will meet at the end

checks.reveal(my_guess, f"{distance(x_near, x)[right].median():.2f} (median)",
              f"To the nearest training digit of another class it is {to_others.median():.2f}.")

# %% demo="nearest-picture"
few = [0, 2, 3, 4, 6, 7, 8]
taken_for = model(x_near[few]).argmax(dim=1).tolist()
others, away = train_digits.y[neighbour[few]].tolist(), to_others[few].tolist()
titles = [f"{k}" for k in y[few].tolist()]
titles += [f"“{k}” at {d:.2f}" for k, d in zip(taken_for, distance(x_near, x)[few].tolist())]
titles += [f"a real {k} at {d:.2f}" for k, d in zip(others, away)]
plots.images(torch.cat([x[few], x_near[few], train_digits.x[neighbour[few]]]), titles=titles,
             rows=["x", "the nearest that\nfools the network", "the nearest of\nanother class"])

# %% [markdown]
# **Why can this problem not be handed to gradient descent as it stands?** Two reasons. The zero-one loss is a staircase: the constraint says *whether* $\tilde{\mathbf x}$ fools the model, never *in which direction* it should go to get closer to doing so. And the set of all points that satisfy it is known only through the network: nobody can project onto it, as one projects onto a ball. So Carlini and Wagner (2017) exchange the constraint for a **penalty**:
#
# $$\min_{\tilde{\mathbf x}}\; \mathcal D(\mathbf x, \tilde{\mathbf x}) + \lambda \cdot L(\tilde{\mathbf x}, y).$$
#
# $L$ is some loss that is positive as long as the model is right, and that has a slope; λ is the price of being classified rightly. Two things are left to choose: $L$, and λ. They are what this notebook is about.

# %% [markdown]
# ## 4.2 The margin loss
#
# "A very effective loss function", says the slide, is
#
# $$L(\tilde{\mathbf x}, y) = \Big[ Z(\tilde{\mathbf x})_y - \max_{i\ne y} Z(\tilde{\mathbf x})_i \Big]_+, \qquad [a]_+ = \max(a, 0), \qquad Z(\tilde{\mathbf x})_i = \log f(\tilde{\mathbf x})_i .$$
#
# By how much does the class $y$ lead its strongest rival, in log-probabilities? The loss is positive if $\tilde{\mathbf x}$ is classified as $y$, and 0 otherwise.
#
# ### Exercise 4.1: the margin loss · medium · 10 minutes · 3 points
#
# Your function gets *logits* $z$, not probabilities: $Z_i = z_i - \log\sum_j e^{z_j}$. You may compute $Z$, or find out on paper why you need not: what becomes of the sum in the difference $Z_y - Z_i$?
#
# There is a famous trap. To leave $y$ out of the maximum, some write `((1 - one_hot) * logits).max()`: the entry of $y$ becomes 0, which is out of the way if all others are positive. Log-probabilities are all negative. A well-known library has done so for years, and on a model that returns log-probabilities its attack has a success rate of 0 % (torchattacks, issue 184).
#
# <details><summary>Hint 1</summary>
# Logits that differ from $Z$ by one number for the whole row have the same differences. So $Z_y - Z_i = z_y - z_i$.
# </details>
# <details><summary>Hint 2</summary>
# What may stand in the place of $y$ so that a maximum never chooses it, whatever the others are? <code>scatter</code> or <code>masked_fill</code> put it there; then <code>max(dim=1).values</code>, and <code>clamp_min(0)</code>.
# </details>

# %% solution="margin_loss"
def margin_loss(logits: Tensor, y: Tensor) -> Tensor:
    """L = [Z_y - max over i != y of Z_i]_+ of every image, with Z the log-probabilities.

    logits: (B, K) floats of any size and sign, K >= 2. y: (B,) the right classes.
    Returns (B,) in the dtype of the logits: positive while y has the largest logit, else 0, also
    where another class has just as large a logit.
    """
    ### BEGIN SOLUTION
    others = logits.scatter(1, y[:, None], -math.inf)
    lead = logits.gather(1, y[:, None]).squeeze(1) - others.max(dim=1).values
    return lead.clamp_min(0)
    ### END SOLUTION

# %% test="margin_loss" points=3
# Run this cell to check your margin_loss. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, losses
from coursekit.checks import expect

exercise = checks.Exercise("margin_loss", points=3, by_hand=["coursekit.losses.cw_margin", "coursekit.losses.margin"])

@exercise.case("by how much y leads the best other class, 0 where it does not lead")
def _(margin_loss):
    logits = torch.tensor([[5.0, 3.5, 1.0], [1.0, 2.0, 4.0], [2.5, 1.0, 0.5], [2.0, 6.0, 5.5]])
    p = logits.softmax(dim=1)
    expect.close(margin_loss(logits, torch.tensor([0, 1, 2, 1])), torch.tensor([1.5, 0.0, 0.0, 0.5]), mistakes={
        "The sign is turned round: this is positive where the model is wrong. L is what the attacker pushes down to 0.":
            torch.tensor([0.0, 2.0, 2.0, 0.0]),
        "This is without [.]_+: below 0 it goes on falling once the model is fooled.": torch.tensor([1.5, -2.0, -2.0, 0.5]),
        "This is 0 for all. Is y left out of the maximum? Z_y - Z_y is never positive.": torch.zeros(4),
        "These are differences of probabilities. Z is their logarithm.": torch.stack(
            [p[0, 0] - p[0, 1], p.new_zeros(()), p.new_zeros(()), p[3, 1] - p[3, 2]]),
        "This is the lead over the weakest other class. The strongest rival counts: a maximum.":
            torch.tensor([4.0, 1.0, 0.0, 4.0]),
        "This is the lead over the mean of the others. The strongest rival counts: a maximum.":
            torch.tensor([2.75, 0.0, 0.0, 2.25]),
    }, hint="From the entry of y take away the largest of the others, then cut off at 0.")

@exercise.case("a model that returns log-probabilities: every entry is negative")
def _(margin_loss):
    log_p = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.05, 0.15, 0.8]]).log()
    rival = torch.tensor([0.7, 0.6, 0.8]).log() - torch.tensor([0.2, 0.3, 0.15]).log()
    expect.close(margin_loss(log_p, torch.tensor([0, 1, 2])), rival, mistakes={
        "This is 0 for all. A 0 in the place of y is larger than every log-probability: the maximum chooses it. What can "
        "stand there that is never chosen?": torch.zeros(3),
        "This is -Z_i: a 0 has taken the place of Z_y.": -torch.tensor([0.2, 0.3, 0.15]).log(),
    }, hint="Nothing may depend on whether the logits are positive.")

@exercise.case("large logits: only differences count")
def _(margin_loss):
    logits = torch.tensor([[2000.0, 0.0, -2000.0], [-3e5, -2e5, -4e5], [5e4, 7e4, 6.5e4]])
    loss = margin_loss(logits, torch.tensor([0, 1, 1]))
    loss = expect.tensor(loss, shape=(3,), hint="The exponential of 2000 is infinite and the logarithm of 0 as well: use "
                                                "log_softmax, or no softmax at all.")
    expect.close(loss, torch.tensor([2000.0, 1e5, 5e3]),
                 hint="Is y taken out of the maximum by a number that others can exceed, or by a small one inside a logarithm? "
                      "-inf is never chosen.")

@exercise.case("a tie gives exactly 0; a single image, two classes; one value per image")
def _(margin_loss):
    tie = expect.tensor(margin_loss(torch.tensor([[1.7, 1.7, 0.0], [-0.3, -4.0, -0.3]]), torch.tensor([0, 2])), shape=(2,))
    expect.that(bool((tie == 0).all()), tie, "[0, 0]", "Two classes lead together: y's lead is 0.")
    expect.close(margin_loss(torch.tensor([[0.25, 0.1]]), torch.tensor([0])), torch.tensor([0.15]))
    expect.unchanged(margin_loss)

### BEGIN HIDDEN TESTS
@exercise.case("other numbers of classes, float64", hidden=True, hint="For any number of classes, in the dtype of the logits.")
def _(margin_loss):
    for K in (2, 7, 23):
        logits = 9 * torch.randn(31, K, dtype=torch.float64) - 20
        y = torch.where(torch.rand(31) < 0.6, logits.argmax(dim=1), torch.randint(0, K, (31,)))
        expected = losses.cw_margin(logits, y)
        expect.tensor(margin_loss(logits, y), like=expected)
        expect.close(margin_loss(logits, y), expected)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Why not the cross-entropy?
#
# It served PGD well. Pushing the probability of $y$ down means to push $\log p_y = -$cross-entropy down, and that could stand in the place of $L$. Follow a straight line from a digit into another class, and compare both.

# %% demo="two-penalties"
plots.penalties_along(model, x[2:3], y[2:3], towards=x_near[2:3])

# %% [markdown]
# Each curve has its slope just where the other has none, and the margin has it where it is needed:
#
# 1. **After the boundary** $L$ is 0 and flat: λ no longer pushes, and $\mathcal D$ alone draws $\tilde{\mathbf x}$ back towards $\mathbf x$. $\log p_y$ falls without end: it goes on pushing an image that is fooled already, further and further away.
# 2. **Before the boundary**, where the model is sure of itself, the slope of $\log p_y$ is $1 - p_y$ times a slope of the logits, nearly nothing; on a surer network it rounds to exactly nothing. The margin is a difference of logits, and does not know how sure the softmax is.
#
# Measure both. First the second: the classifier $1000\, f$ makes the same predictions as $f$, since all its logits are multiplied by 1000. PGD with the cross-entropy stands still on it and leaves 98 % "robust accuracy" at ε = 0.1 (in $L_\infty$), against about 40 % for $f$ itself.
#
# **Predict**: what does PGD leave of $1000\, f$ if it climbs minus the margin instead?

# %%
my_guess = None  # replace None by a number of per cent

# %% demo="scaled-logits"
def shouting(x):
    return 1000 * model(x)

def robust(f, loss):
    """Robust accuracy under 10 steps of PGD that climb this loss."""
    def attack(f, x, y):
        return attacks.pgd(f, x, y, LpBall(0.1, math.inf), steps=10, random_start=False, loss=loss)
    return evaluation.robust_accuracy(f, x, y, attack).robust

quiet = robust(model, losses.cross_entropy), robust(model, losses.margin)
loud = robust(shouting, losses.cross_entropy), robust(shouting, losses.margin)
checks.reveal(
    my_guess,
    f"{loud[1]:.0%} with the margin, {loud[0]:.0%} with the cross-entropy",
    f"On f itself it is {quiet[1]:.0%} and {quiet[0]:.0%}. What the margin finds does not depend on the factor.",
)

# %% [markdown]
# (On $f$ itself the cross-entropy is the slightly better guide: it feels all rivals of $y$, the margin only the strongest. An evaluation that wants to be believed tries both.)
#
# Now the first. The same descent with either loss in the place of $L$, for the same λ, 30 steps each. Read down: how many of the digits were fooled on the way, how far away the nearest point that fools was, and how far away the descent *ended*.

# %% demo="margin-against-cross-entropy"
few_x, few_y = x[right][:50], y[right][:50]

def minus_cross_entropy(logits, y):
    return -losses.cross_entropy(logits, y)

def descent(loss, lam, steps=30):
    x_t, path = few_x, []
    for t in range(steps):
        gradient = 2 * (x_t - few_x) + lam * attacks.input_gradient(model, x_t, few_y, loss)
        x_t = (x_t - gradient / (t + 2)).clamp(0, 1)
        path.append(x_t)
    return torch.stack(path)

print(f"{'':>18}    fooled    nearest that fools    ends at")
for name, loss in (("margin L", losses.cw_margin), ("log p_y", minus_cross_entropy)):
    for lam in (1.0, 10.0, 1000.0):
        path = descent(loss, lam)
        near, found = attacks.closest(model, few_x, few_y, path)
        nearest, end = distance(near, few_x)[found].median(), distance(path[-1], few_x).median()
        share = found.float().mean()
        print(f"{name:>9} λ = {lam:<6g}{share:>8.0%}{nearest:>22.2f}{end:>11.2f}")

# %% [markdown]
# With the margin, a λ of 1 is enough for nearly every digit, and a λ that is ten times too large does little harm. With $\log p_y$ the same λ does nothing for most digits, whose gradients are too small; a λ that is large enough for those sends the others to the far end of the image space. (The median in the column "nearest" is over the digits that were fooled: for $\log p_y$ at small λ, only the easy ones.)

# %% [markdown]
# ## 4.3 The objective and its gradient
#
# $$J_\lambda(\tilde{\mathbf x}) = \underbrace{\lVert\tilde{\mathbf x} - \mathbf x\rVert_2^2}_{\mathcal D} + \lambda \cdot L(\tilde{\mathbf x}, y)$$
#
# ### Exercise 4.2: the objective · easy · 5 minutes · 2 points
#
# One value per image, with one λ per image. The reference for $L$ is `losses.cw_margin(logits, y)`.
#
# <details><summary>Hint</summary>
# <code>.flatten(1)</code> makes every image a row, whatever its shape; then square and <code>.sum(dim=1)</code>.
# </details>

# %% solution="objective"
def objective(model, x_tilde: Tensor, x: Tensor, y: Tensor, lam: Tensor) -> Tensor:
    """||x~ - x||_2^2 + lambda * L(x~, y) of every image.

    model: returns logits (B, K). x_tilde, x: (B, ...) images. y: (B,) labels.
    lam: (B,), one lambda per image.
    Returns (B,) floats.
    """
    ### BEGIN SOLUTION
    squared = (x_tilde - x).flatten(1).square().sum(dim=1)
    return squared + lam * losses.cw_margin(model(x_tilde), y)
    ### END SOLUTION

# %% test="objective" points=2
# Run this cell to check your objective. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data, losses
from coursekit.checks import expect

exercise = checks.Exercise("objective", points=2)
digits = data.load("mnist", "test")
WEIGHT = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0], [2.0, 0.5, -1.0]])
linear = checks.network(("linear", WEIGHT, None), name="a linear classifier")

@exercise.case("squared distance, plus lambda times the margin loss at x~")
def _(objective):
    x, x_tilde = torch.tensor([[0.2, 0.1, 0.9], [0.5, 0.4, 0.3]]), torch.tensor([[0.4, 0.1, 0.6], [0.9, 0.4, 0.1]])
    y, lam = torch.tensor([1, 2]), torch.tensor([2.0, 0.5])
    def margin(at):
        return losses.cw_margin(at @ WEIGHT.T, y)

    D = (x_tilde - x).square().sum(dim=1)
    expect.close(objective(linear, x_tilde, x, y, lam), D + lam * margin(x_tilde), mistakes={
        "D is the distance without the square here. The objective has the squared distance.": D.sqrt() + lam * margin(x_tilde),
        "The squares are averaged over the pixels. A squared norm is their sum.": D / 3 + lam * margin(x_tilde),
        "L is taken at x. It is the perturbed image that must fool the model.": D + lam * margin(x),
        "λ multiplies the distance. It is the price of the margin loss.": lam * D + margin(x_tilde),
        "λ is left out.": D + margin(x_tilde),
        "The margin loss is subtracted. The attacker wants it small, like the distance.": D - lam * margin(x_tilde),
        "This is the margin loss alone.": lam * margin(x_tilde),
    }, hint="Two terms per image: the sum of the squared changes, and λ times L(x~, y).")

@exercise.case("nothing changed: λ L alone; λ = 0: the squared distance alone")
def _(objective):
    x, x_tilde, y = torch.tensor([[0.2, 0.1, 0.9]]), torch.tensor([[0.4, 0.1, 0.6]]), torch.tensor([1])
    expect.close(objective(linear, x, x, y, torch.tensor([3.0])), 3 * losses.cw_margin(x @ WEIGHT.T, y))
    expect.close(objective(linear, x_tilde, x, y, torch.tensor([0.0])), torch.tensor([0.13]), mistakes={
        "The distance enters without its square.": torch.tensor([0.13**0.5])})

@exercise.case("real digits, each with a λ of its own; arguments are left as they were",
               hint="For images (B, 1, 28, 28): one number for each image, and its own λ.")
def _(objective):
    cnn = checks.model("mnist_cnn")
    x, y, lam = digits.x[:5], digits.y[:5], torch.tensor([0.1, 1.0, 10.0, 0.0, 3.0])
    x_tilde = (x + 0.1 * torch.rand(x.shape)).clamp(0, 1)
    expected = (x_tilde - x).flatten(1).square().sum(dim=1) + lam * losses.cw_margin(cnn.build()(x_tilde), y).detach()
    expect.close(objective(cnn, x_tilde, x, y, lam), expected, tolerance=1e-3)
    expect.unchanged(objective)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes and classes, float64", hidden=True, hint="One value for each image, of any shape.")
def _(objective):
    net = checks.network(("flatten",), ("linear", torch.randn(4, 12, dtype=torch.float64), None))
    x, x_tilde = torch.rand(7, 3, 2, 2, dtype=torch.float64), torch.rand(7, 3, 2, 2, dtype=torch.float64)
    y, lam = torch.randint(0, 4, (7,)), 5 * torch.rand(7, dtype=torch.float64)
    expected = (x_tilde - x).flatten(1).square().sum(dim=1) + lam * losses.cw_margin(net.build()(x_tilde), y).detach()
    expect.close(objective(net, x_tilde, x, y, lam), expected)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Exercise 4.3: its gradient · medium · 10 minutes · 2 points
#
# Return $\nabla_{\tilde{\mathbf x}} J_\lambda$ for every image, by hand or by autograd, as you like. By hand there are two terms: $\nabla\mathcal D$ you can write down, and $\nabla L$ is what `attacks.input_gradient(model, x_tilde, y, losses.cw_margin)` returns, one gradient per image. Two traps: λ has shape `(B,)` and must meet images of shape `(B, C, H, W)`; and whoever computes $\lVert\cdot\rVert_2$ first and squares it afterwards asks autograd for the derivative of a root at 0, at the very point where every descent begins.
#
# <details><summary>Hint</summary>
# <code>lam.view(-1, *[1] * (x.ndim - 1))</code> has shape <code>(B, 1, 1, 1)</code> for images and <code>(B, 1)</code> for rows. With autograd: sum the objective over the batch first, and each image keeps its own gradient.
# </details>

# %% solution="objective_gradient"
def objective_gradient(model, x_tilde: Tensor, x: Tensor, y: Tensor, lam: Tensor) -> Tensor:
    """The gradient of ||x~ - x||_2^2 + lambda * L(x~, y) with respect to x~, for every image.

    model: returns logits (B, K). x_tilde, x: (B, ...) images. y: (B,) labels.
    lam: (B,), one lambda per image.
    Returns a tensor like x, finite also where x_tilde equals x.
    """
    ### BEGIN SOLUTION
    slope = attacks.input_gradient(model, x_tilde, y, losses.cw_margin)
    return 2 * (x_tilde - x) + lam.view(-1, *[1] * (x.ndim - 1)) * slope
    ### END SOLUTION

# %% test="objective_gradient" points=2
# Run this cell to check your objective_gradient. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import attacks, checks, data, losses
from coursekit.checks import expect

exercise = checks.Exercise("objective_gradient", points=2)
digits = data.load("mnist", "test")
WEIGHT = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0], [2.0, 0.5, -1.0]])
linear = checks.network(("linear", WEIGHT, None), name="a linear classifier")

@exercise.case("a linear classifier: 2 (x~ - x) + λ (w_y - w_i), with i the strongest rival",
               hint="λ has shape (B,): bring it to (B, 1), or (B, 1, 1, 1) for images, before it meets them.")
def _(objective_gradient):
    x, x_tilde = torch.tensor([[0.2, 0.1, 0.9], [0.5, 0.4, 0.3]]), torch.tensor([[0.4, 0.1, 0.6], [0.9, 0.4, 0.1]])
    y, lam = torch.tensor([1, 2]), torch.tensor([2.0, 0.5])  # rivals at x~: 0 and 1
    pull, push = x_tilde - x, torch.stack([WEIGHT[1] - WEIGHT[0], WEIGHT[2] - WEIGHT[1]])
    price = lam[:, None]
    expect.close(objective_gradient(linear, x_tilde, x, y, lam), 2 * pull + price * push, mistakes={
        "The derivative of the square is twice the difference.": pull + price * push,
        "λ is missing.": 2 * pull + push,
        "The whole batch gets the λ of its first image.": 2 * pull + lam[0] * push,
        "Each gradient is divided by the number of images: something was averaged.": (2 * pull + price * push) / 2,
        "This is minus the gradient.": -(2 * pull + price * push),
        "The part of L has the wrong sign: L must fall.": 2 * pull - price * push,
        "The part of D has the wrong sign: D must fall.": -2 * pull + price * push,
        "This is the part of L alone; the distance has a gradient, too.": price * push,
        "This is the part of D alone; λ L has a gradient, too.": 2 * pull,
        "The distance enters without its square.": pull / pull.norm(dim=1, keepdim=True) + price * push,
    }, hint="Differentiate each of the two terms by x~.")

@exercise.case("at x itself, where every descent begins: λ times the slope of L, and no NaN")
def _(objective_gradient):
    x, y, lam = torch.tensor([[0.2, 0.1, 0.9]]), torch.tensor([1]), torch.tensor([2.0])
    gradient = expect.tensor(objective_gradient(linear, x, x, y, lam), like=x, hint="The root has no derivative at 0: sum the "
                             "squares of x~ - x, and take no root.")
    expect.close(gradient, 2 * (WEIGHT[1] - WEIGHT[0])[None])

@exercise.case("once fooled, only the pull back to x is left")
def _(objective_gradient):
    x, x_tilde = torch.tensor([[0.2, 0.1, 0.9]]), torch.tensor([[0.9, 0.1, 0.1]])  # taken for class 2
    expect.close(objective_gradient(linear, x_tilde, x, torch.tensor([1]), torch.tensor([5.0])), 2 * (x_tilde - x),
                 hint="L is 0 there, and flat: [.]_+ cuts its gradient off as well.", mistakes={
        "λ still pushes although the model is fooled: the [.]_+ is missing from L.":
            2 * (x_tilde - x) + 5 * (WEIGHT[1] - WEIGHT[2])})

@exercise.case("real digits, each with a λ of its own; arguments are left as they were",
               hint="λ must multiply the gradient of its own image: bring it to the shape (B, 1, 1, 1).")
def _(objective_gradient):
    cnn = checks.model("mnist_cnn")
    x, y, lam = digits.x[:4], digits.y[:4], torch.tensor([0.1, 1.0, 10.0, 3.0])
    x_tilde = (x + 0.1 * torch.rand(x.shape)).clamp(0, 1)
    slope = attacks.input_gradient(cnn.build(), x_tilde, y, losses.cw_margin)
    expect.close(objective_gradient(cnn, x_tilde, x, y, lam), 2 * (x_tilde - x) + lam.view(4, 1, 1, 1) * slope, tolerance=1e-3)
    expect.unchanged(objective_gradient)

### BEGIN HIDDEN TESTS
@exercise.case("as many images as pixels; other shapes, float64", hidden=True, hint="One λ per image, whatever the shape of the images.")
def _(objective_gradient):
    for shape in ((3, 3), (6, 2, 3, 1), (1, 5)):
        d = torch.Size(shape[1:]).numel()
        net = checks.network(("flatten",), ("linear", torch.randn(9, d, dtype=torch.float64), torch.randn(9, dtype=torch.float64)),
                             ("tanh",), ("linear", torch.randn(4, 9, dtype=torch.float64), None))
        x, x_tilde = torch.rand(shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
        y, lam = net.build()(x_tilde).argmax(dim=1), 3 * torch.rand(shape[0], dtype=torch.float64)
        slope = attacks.input_gradient(net.build(), x_tilde, y, losses.cw_margin)
        expected = 2 * (x_tilde - x) + lam.view(-1, *[1] * (len(shape) - 1)) * slope
        expect.close(objective_gradient(net, x_tilde, x, y, lam), expected)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 4.4 Descent, for one λ
#
# Which step size? Pretend for a moment that $L$ were linear, with gradient $\mathbf g$. Then $J_\lambda$ is a bowl around $\mathbf x - \frac\lambda2\mathbf g$, and one step of size $\frac12$ from $\mathbf x$ leads exactly to its bottom:
#
# $$\mathbf x_1 = \mathbf x - \tfrac12\cdot\lambda\,\mathbf g.$$
#
# $L$ is not linear: it bends, and at the boundary it has a kink, where the gradient jumps from $\mathbf g$ to $\mathbf 0$. With steps of fixed size the iterate would jump to and fro across the kink for ever. So the steps must shrink:
#
# $$\mathbf x_{t+1} = \Pi_{[0,1]}\Big(\mathbf x_t - \eta_t \nabla J_\lambda(\mathbf x_t)\Big), \qquad \eta_t = \frac1{t+2}, \qquad \mathbf x_0 = \mathbf x.$$
#
# (Write the gradient out, and apart from the projection this is $\mathbf x_{t+1} = \frac{t}{t+2}\,\mathbf x_t + \frac{2}{t+2}\big(\mathbf x - \frac\lambda2\mathbf g_t\big)$: each step averages in what the answer would be if $L$ were linear from $\mathbf x_t$ on. Carlini and Wagner used the optimiser Adam, and a change of variables for the image range; this is simpler, and as good.)
#
# ### Exercise 4.4: descend · medium · 10 minutes · 3 points
#
# Return **all** iterates, $\mathbf x_0$ included: the next exercise will want to choose among them. The reference for the gradient of $L$ is `attacks.input_gradient(model, x_t, y, losses.cw_margin)`.
#
# <details><summary>Hint</summary>
# Keep a list that begins with <code>x</code>; <code>torch.stack</code> makes a tensor of it at the end. In the gradient take part: the iterate <code>x_t</code>, which moves, and <code>x</code>, which stays.
# </details>

# %% solution="descend"
def descend(model, x: Tensor, y: Tensor, lam: Tensor, steps: int) -> Tensor:
    """Gradient descent on ||x~ - x||_2^2 + lambda * L(x~, y) from x; eta_t = 1 / (t + 2) from t = 0 on.

    model: returns logits (B, K). x: (B, ...) images in [0, 1]. y: (B,) labels.
    lam: (B,), one lambda per image. steps: how many, 0 or more.
    After every step the pixels are clamped to [0, 1].
    Returns all iterates x_0 = x, x_1, ..., x_steps as one tensor (steps + 1, B, ...).
    """
    ### BEGIN SOLUTION
    lam = lam.view(-1, *[1] * (x.ndim - 1))
    path = [x]
    for t in range(steps):
        x_t = path[-1]
        gradient = 2 * (x_t - x) + lam * attacks.input_gradient(model, x_t, y, losses.cw_margin)
        path.append((x_t - gradient / (t + 2)).clamp(0, 1))
    return torch.stack(path)
    ### END SOLUTION

# %% test="descend" points=3
# Run this cell to check your descend. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import attacks, checks, data, losses
from coursekit.checks import expect

exercise = checks.Exercise("descend", points=3, by_hand=["coursekit.attacks.penalty", "coursekit.attacks.penalty_path",
                                                         "coursekit.attacks.carlini_wagner"])
digits = data.load("mnist", "test")
cnn = checks.model("mnist_cnn")
source = torch.Generator().manual_seed(4)
curved = checks.network(("linear", 2 * torch.randn(9, 4, generator=source), None), ("tanh",),
                        ("linear", 2 * torch.randn(3, 9, generator=source), None), name="a small network")

def slope_of(model, x_t, y):
    return attacks.input_gradient(model, x_t, y, losses.cw_margin)

def iterates(model, x, y, lam, steps, eta=lambda t: 1 / (t + 2), pull=2.0, push=1.0, clamp=True, fixed=False):
    """The descent, or what becomes of it with one thing changed."""
    lam, path = lam.view(-1, *[1] * (x.ndim - 1)), [x]
    for t in range(steps):
        x_t = path[-1]
        x_t = x_t - eta(t) * (pull * (x_t - x) + push * lam * slope_of(model, x if fixed else x_t, y))
        path.append(x_t.clamp(0, 1) if clamp else x_t)
    return torch.stack(path)

@exercise.case("the first step goes to the bottom of the bowl: x - λ/2 times the slope of L")
def _(descend):
    x = torch.tensor([[0.4, 0.5, 0.6, 0.5], [0.6, 0.5, 0.4, 0.3]])
    y, lam = curved.build()(x).argmax(dim=1), torch.tensor([0.01, 0.006])
    price, slope = lam[:, None], slope_of(curved.build(), x, y)
    path = descend(curved, x, y, lam, 1)
    expect.that(isinstance(path, torch.Tensor) and path.shape == (2, 2, 4), path, "a tensor of shape (2, 2, 4): x_0 and x_1 of 2 images",
                "Did you forget a return?" if path is None else "All iterates are asked for, x_0 = x included, stacked along a new first dimension.")
    expect.close(path[0], x, hint="The iterates begin with x_0 = x.")
    expect.close(path[1], x - price / 2 * slope, mistakes={why: x_1.clamp(0, 1) for why, x_1 in {
        "The step goes uphill: J is to fall.": x + price / 2 * slope,
        "The first step is too long: for t = 0, η is 1/2.": x - price * slope,
        "The first step is too short: for t = 0, η is 1/2. Is t counted from 0?": x - price / 3 * slope,
        "λ is missing.": x - slope / 2,
        "No step was taken.": x,
        "Only the sign of the gradient is left. Here the gradient itself counts: it knows how far the bottom is.":
            x - (price * slope).sign() / 2,
    }.items()}, hint="x_1 = x - 1/2 (2 (x - x) + λ times the slope of L at x).")

@exercise.case("five steps, one λ per image, all iterates")
def _(descend):
    x = torch.tensor([[0.4, 0.5, 0.6, 0.5], [0.6, 0.5, 0.4, 0.3], [0.5, 0.4, 0.7, 0.6]])
    network, lam = curved.build(), torch.tensor([0.002, 0.03, 0.006])
    y = network(x).argmax(dim=1)
    expected = iterates(network, x, y, lam, 5)
    expect.close(descend(curved, x, y, lam, 5), expected, mistakes={
        "The steps do not shrink: η_t = 1/(t + 2).": iterates(network, x, y, lam, 5, eta=lambda t: 0.5),
        "The steps are too long: η_t = 1/(t + 2), with t = 0 in the first.": iterates(network, x, y, lam, 5, eta=lambda t: 1 / (t + 1)),
        "The steps are too short: η_t = 1/(t + 2), with t = 0 in the first.": iterates(network, x, y, lam, 5, eta=lambda t: 1 / (t + 3)),
        "The slope is always that of x. Take it at the current iterate.": iterates(network, x, y, lam, 5, fixed=True),
        "The pull back to x is missing: D has a gradient, too, 2 (x_t - x).": iterates(network, x, y, lam, 5, pull=0.0),
        "The pull back to x is half of what it should be: the derivative of the square is 2 (x_t - x).":
            iterates(network, x, y, lam, 5, pull=1.0),
        "The distance drives x_t away from x: check the sign of its gradient.": iterates(network, x, y, lam, 5, pull=-2.0),
    }, hint="In every step: gradient of J at the iterate, η_t = 1/(t + 2), clamp.")

@exercise.case("stays in [0, 1] at every step")
def _(descend):
    x = torch.tensor([[0.02, 0.97, 0.5, 1.0], [0.0, 1.0, 0.9, 0.05]])
    network, lam = curved.build(), torch.tensor([0.6, 0.9])
    y = network(x).argmax(dim=1)
    path = expect.tensor(descend(curved, x, y, lam, 6), shape=(7, 2, 4))
    low, high = path.min().item(), path.max().item()
    expect.that(low >= 0 and high <= 1, f"pixels from {low:.3g} to {high:.3g}", "pixels in [0, 1]", "Clamp after every step.")
    once = iterates(network, x, y, lam, 6, clamp=False)
    expect.close(path, iterates(network, x, y, lam, 6), mistakes={
        "You clamp once, at the end. Outside of the range the gradients are others: clamp after every step.": once.clamp(0, 1)},
        hint="Clamp after every step, before the next gradient.")

@exercise.case("real digits; λ = 0 stays at x; no steps give x alone")
def _(descend):
    x, y, lam = digits.x[:3], digits.y[:3], torch.tensor([0.0, 0.5, 2.0])
    path = expect.tensor(descend(cnn, x, y, lam, 3), shape=(4, *x.shape), dtype=x.dtype)
    expect.close(path[:, 0], x[:1].expand(4, -1, -1, -1), hint="With λ = 0 nothing draws the image away from x. Is λ taken image by image?")
    expect.close(path, iterates(cnn.build(), x, y, lam, 3), tolerance=1e-3)
    expect.close(descend(cnn, x, y, lam, 0), x[None], hint="With 0 steps there is one iterate: x_0.")

@exercise.case("images and model are left as they were")
def _(descend):
    path = expect.tensor(descend(cnn, digits.x[:2], digits.y[:2], torch.tensor([1.0, 1.0]), 2), shape=(3, 2, 1, 28, 28))
    expect.that(not torch.equal(path[0], path[2]), "iterates that are all the same", "iterates that move",
                "Each iterate must be a tensor of its own, not one that is edited in place.")
    expect.unchanged(descend)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes and classes, as many images as pixels, float64", hidden=True,
               hint="Gradient of J at the iterate, η_t = 1/(t + 2), clamp; one λ per image of any shape.")
def _(descend):
    for shape in ((4, 2, 2, 1), (4, 4), (1, 3, 2)):
        d = torch.Size(shape[1:]).numel()
        net = checks.network(("flatten",), ("linear", torch.randn(8, d, dtype=torch.float64), None), ("tanh",),
                             ("linear", torch.randn(5, 8, dtype=torch.float64), None))
        network, x = net.build(), torch.rand(shape, dtype=torch.float64)
        y, lam = network(x).argmax(dim=1), 0.3 * torch.rand(shape[0], dtype=torch.float64)
        expect.close(descend(net, x, y, lam, 4), iterates(network, x, y, lam, 4))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Keep the best of the way
#
# There is a snag. If λ is large enough, the minimum of $J_\lambda$ lies *exactly on* the boundary: on the near side λ pulls towards it, on the far side $\mathcal D$ does. The iterates approach it by jumping from side to side, and on which side the last one happens to land is luck. So an attack does not return the last iterate. It looks at the whole way and keeps, **for each image, the closest point that fools the model**.
#
# ### Exercise 4.5: the closest adversarial example · medium · 10 minutes · 2 points
#
# <details><summary>Hint</summary>
# Collect for every candidate its distances <code>(T, B)</code> and whether it fools, <code>(T, B)</code>. Where it does not fool, make the distance infinite; then the smallest along dimension 0. Or keep the best so far in a loop, with <code>torch.where</code>. Do not forget the images that are misclassified to begin with: nothing is closer to <code>x</code> than <code>x</code>.
# </details>

# %% solution="closest_adversarial"
def closest_adversarial(
    model, x: Tensor, y: Tensor, candidates: Tensor
) -> tuple[Tensor, Tensor]:
    """For each image the nearest candidate (in L2) that the model takes for another class than y.

    model: returns logits (B, K). x: (B, ...) images. y: (B,) labels.
    candidates: (T, B, ...), T points for each image.
    Returns x_adv like x and found, a tensor of booleans (B,). Where x itself is misclassified:
    x and True. Where no candidate fools the model: x and False.
    """
    ### BEGIN SOLUTION
    points = torch.cat([x[None], candidates])
    fooled = torch.stack([model(point).argmax(dim=1) != y for point in points])
    distances = (points - x).flatten(2).norm(dim=2).masked_fill(~fooled, math.inf)
    best = distances.argmin(dim=0)
    return points[best, torch.arange(len(x))], fooled.any(dim=0)
    ### END SOLUTION

# %% test="closest_adversarial" points=2
# Run this cell to check your closest_adversarial. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import attacks, checks
from coursekit.checks import expect

exercise = checks.Exercise("closest_adversarial", points=2, by_hand=["coursekit.attacks.closest"])
# Logits (u, v) of an image with two pixels u, v: class 0 as long as u > v.
two_pixels = checks.network(("linear", torch.eye(2), None), name="logits = pixels")

def pair(result, x):
    """x_adv and found, looked at in order."""
    expect.that(isinstance(result, list) and len(result) == 2, result, "two tensors: x_adv and found", "return x_adv, found")
    x_adv, found = result
    x_adv, found = expect.tensor(x_adv, like=x), expect.tensor(found, shape=(len(x),))
    expect.that(found.dtype == torch.bool, f"found of dtype {found.dtype}".replace("torch.", ""), "booleans",
                "A comparison gives booleans: keep them as they are.")
    return x_adv, found

@exercise.case("for each image the nearest of those that fool: 4 candidates, 3 images")
def _(closest_adversarial):
    x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.2, 0.5]]), torch.tensor([0, 0, 1])
    candidates = torch.tensor([[[0.6, 0.5], [0.2, 0.8], [0.3, 0.4]],
                               [[0.1, 0.9], [0.4, 0.6], [0.9, 0.1]],
                               [[0.5, 0.55], [0.8, 0.2], [0.5, 0.4]],
                               [[0.2, 0.8], [0.1, 0.9], [0.8, 0.3]]])
    best = torch.stack([candidates[2, 0], candidates[1, 1], candidates[2, 2]])
    x_adv, found = pair(closest_adversarial(two_pixels, x, y, candidates), x)
    expect.close(x_adv, best, mistakes={
        "This is the first that fools. A later one may be closer.": torch.stack([candidates[1, 0], candidates[0, 1], candidates[1, 2]]),
        "This is the last that fools. An earlier one may be closer.": candidates[3],
        "This is the farthest that fools. The thrifty attacker wants the nearest.":
            torch.stack([candidates[1, 0], candidates[3, 1], candidates[1, 2]]),
        "This is the closest candidate, whether it fools the model or not.":
            torch.stack([candidates[0, 0], candidates[2, 1], candidates[0, 2]]),
        "One candidate is kept for the whole batch. Each image has a best one of its own.": candidates[1],
    }, hint="For each image by itself: among the candidates with another class than y, the one with the smallest L2 distance.")
    expect.that(bool(found.all()), found, "[True, True, True]")

@exercise.case("nothing fools: x and False")
def _(closest_adversarial):
    x, y = torch.tensor([[0.6, 0.4], [0.6, 0.4]]), torch.tensor([0, 0])
    candidates = torch.tensor([[[0.6, 0.5], [0.6, 0.5]], [[0.7, 0.1], [0.3, 0.6]]])
    x_adv, found = pair(closest_adversarial(two_pixels, x, y, candidates), x)
    expect.that(found.tolist() == [False, True], found, "[False, True]", "Of the first image no candidate fools the model.")
    expect.close(x_adv, torch.stack([x[0], candidates[1, 1]]), hint="Where nothing fools, return x.")

@exercise.case("x itself is misclassified: x and True, at distance 0")
def _(closest_adversarial):
    x, y = torch.tensor([[0.4, 0.6], [0.6, 0.4]]), torch.tensor([0, 0])
    candidates = torch.tensor([[[0.39, 0.61], [0.3, 0.7]], [[0.9, 0.1], [0.45, 0.5]]])
    x_adv, found = pair(closest_adversarial(two_pixels, x, y, candidates), x)
    expect.close(x_adv, torch.stack([x[0], candidates[1, 1]]), mistakes={
        "The first image is misclassified as it is. Nothing is closer to x than x itself.": torch.stack([candidates[0, 0], candidates[1, 1]])})
    expect.that(found.tolist() == [True, True], found, "[True, True]", "An image that is wrong anyway counts as found.")

@exercise.case("the distance is L2; images of 1 x 2 x 1 pixels; the candidates are left as they were")
def _(closest_adversarial):
    flat = checks.network(("flatten",), ("linear", torch.eye(2), None), name="logits = pixels")
    x = torch.tensor([[0.7, 0.3]]).reshape(1, 1, 2, 1)
    candidates = torch.tensor([[0.7, 0.75], [0.4, 0.6], [0.45, 0.55]]).reshape(3, 1, 1, 2, 1)[:2]
    x_adv, _ = pair(closest_adversarial(flat, x, torch.tensor([0]), candidates), x)
    expect.close(x_adv, candidates[1], mistakes={
        "This one is closer in L1, and farther in L2. Square, add up, take the root.": candidates[0]})
    expect.unchanged(closest_adversarial)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, more classes, more candidates than images", hidden=True,
               hint="Candidates come first, images second; for each image the nearest in L2 of those that fool.")
def _(closest_adversarial):
    for shape in ((5, 3, 2, 2), (3, 6)):
        d = torch.Size(shape[1:]).numel()
        net = checks.network(("flatten",), ("linear", torch.randn(4, d), None))
        network, x, candidates = net.build(), torch.rand(shape), torch.rand(9, *shape)
        y = network(x).argmax(dim=1)
        y[0] = (y[0] + 1) % 4
        expected, has = attacks.closest(network, x, y, candidates)
        x_adv, found = pair(closest_adversarial(net, x, y, candidates), x)
        expect.close(x_adv, expected)
        expect.that(torch.equal(found, has), found, str(has.tolist()))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 4.5 What λ does
#
# Before any search, look. On the left the plane with two classes of points, a small network's decision regions, and one point $\mathbf x$. The grey lines are level lines of the objective $J_\lambda$ for the λ that you choose, the black path is the descent, the blue square is where it ends, the cross is the closest point of the way that fools, and the star is the true nearest point of the other class, found by a dense search. On the right, the same for all λ at once. **Move λ slowly from left to right**, and watch the bottom of the bowl wander from $\mathbf x$ to the boundary, and stay there.

# %% demo="explorer"
widgets.tradeoff_explorer()

# %% [markdown]
# <details><summary>Four things worth seeing in the picture</summary>
#
# 1. λ too small: the bowl has its bottom on the way to the boundary, and the descent ends there. Nobody is fooled.
# 2. From a certain λ on, the bottom lies in the kink, on the boundary. A larger λ does not move it any more: the valley only gets steeper.
# 3. λ much too large: the first step leaps far beyond the boundary. Where it lands $L$ may be 0 and $\mathcal D$ pulls back slowly, or another slope throws it on; in the end the path sits somewhere on the boundary or beyond, seldom at the nearest place.
# 4. The level lines of some points have two valleys. The descent runs down the one that the slope at $\mathbf x$ points to, which need not hold the star: point 1 at λ = 0.012, point 10 at λ = 0.03.
# </details>
#
# Now a digit in 784 dimensions. Each λ is one descent of 30 steps. Above, where it ends.

# %% demo="tradeoff"
lam = torch.logspace(-2, 3, 37)
one_x, one_y = x[3:4].repeat(len(lam), 1, 1, 1), y[3:4].repeat(len(lam))

def reference_descend(model, x, y, lam, steps):
    return attacks.penalty_path(model, x, y, lam, steps=steps)

path = checks.yours("descend", reference_descend)(model, one_x, one_y, lam, 30)
nearest, found = attacks.closest(model, one_x, one_y, path)

# Ten digits, each with every lambda.
ten_x, ten_y = x[:10].repeat(len(lam), 1, 1, 1), y[:10].repeat(len(lam))
ten_paths = attacks.penalty_path(model, ten_x, ten_y, lam.repeat_interleave(10), steps=12)
_, fooled = attacks.closest(model, ten_x, ten_y, ten_paths)

plots.tradeoff(
    lam,
    distance(path[-1], one_x),
    distance(nearest, one_x).where(found, math.inf),
    losses.cw_margin(model(path[-1]), one_y),
    share=fooled.view(-1, 10).float().mean(dim=1),
    images=path[-1],
)

# %% [markdown]
# Three parts. **On the left** nothing happens that anybody would notice; the distance grows in proportion to λ (a straight line in this picture), as the bowl with its bottom at $\mathbf x - \frac\lambda2\mathbf g$ says it must. Then **the jump**: at a certain λ the descent reaches the boundary and the model is fooled. **From there on** the nearest point that fools stays where it is for a while, then gets worse: the descent overshoots. The best λ is just above the smallest that fools. For a linear model one can say which that is: the bottom of the bowl, $\frac\lambda2\lVert\mathbf g\rVert$ away from $\mathbf x$, must reach the boundary, which is $L(\mathbf x)/\lVert\mathbf g\rVert$ away, so $\lambda^* = 2L(\mathbf x)/\lVert\mathbf g\rVert_2^2$.
#
# That λ is another one for every image (the lowest panel says for how many of ten digits each λ is enough). So every image gets its own, and it is searched for.
#
# **Predict**: the attack of the next exercises takes, for each digit, about the smallest λ that fools. Suppose somebody is in a hurry and takes 1000 times as much. Every digit will be fooled. **How many times as far away is what he finds** (median)?

# %%
my_guess = None  # replace None by a factor

# %% demo="hurry"
x_thrifty = attacks.carlini_wagner(model, x, y)
slope = attacks.input_gradient(model, x, y, losses.cw_margin).flatten(1).norm(dim=1)
enough = 2 * losses.cw_margin(model(x), y).detach() / slope.square().clamp_min(1e-9)  # lambda*
hurried_path = attacks.penalty_path(model, x, y, 1000 * enough, steps=30)
x_hurried, _ = attacks.closest(model, x, y, hurried_path)
factor = (distance(x_hurried, x) / distance(x_thrifty, x))[right].median()
end = (distance(hurried_path[-1], x) / distance(x_thrifty, x))[right].median()
checks.reveal(
    my_guess,
    f"{factor:.1f} times as far",
    "And this is the closest point of the whole way, kept as in 4.5.\n"
    f"Where the descent ends it is {end:.1f} times.",
)

# %% [markdown]
# ### Exercise 4.6: the next λ · medium · 10 minutes · 3 points
#
# Carlini and Wagner search as one looks up a word in a dictionary. For each image there is an interval: `low`, the largest λ so far that did *not* fool (0 to begin with), and `high`, the smallest that did (`inf` to begin with). After a descent with λ:
#
# * **fooled**: λ becomes the new `high`; the next λ is the middle of the interval;
# * **not fooled**: λ becomes the new `low`; the next λ is the middle of the interval, or, as long as `high` is infinite, **ten times** the last λ.
#
# One step of this, for a whole batch.
#
# <details><summary>Hint</summary>
# An <code>if</code> decides for the whole batch; <code>torch.where(condition, this, that)</code> decides image by image. The middle of an interval with an infinite end is infinite: which images need the other rule?
# </details>

# %% solution="next_lambda"
def next_lambda(
    lam: Tensor, low: Tensor, high: Tensor, fooled: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the search for the smallest lambda that fools, for every image by itself.

    lam: (B,) the lambdas just tried, low <= lam <= high. low: (B,), not enough.
    high: (B,), enough; inf where none is known. fooled: (B,) booleans, whether lam was enough.
    Returns the next lam, low and high, each (B,).
    """
    ### BEGIN SOLUTION
    low = torch.where(fooled, low, lam)
    high = torch.where(fooled, lam, high)
    return torch.where(high.isinf(), 10 * lam, (low + high) / 2), low, high
    ### END SOLUTION

# %% test="next_lambda" points=3
# Run this cell to check your next_lambda. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks
from coursekit.checks import expect

exercise = checks.Exercise("next_lambda", points=3, by_hand=["coursekit.attacks.narrow"])
FAR = 1e9  # stands for infinity where values are compared

def three(result, like):
    """lam, low and high, looked at in order; infinite ends of `high` as FAR."""
    expect.that(isinstance(result, list) and len(result) == 3, result, "three tensors: lam, low, high", "return lam, low, high")
    lam, low, high = result
    lam = expect.tensor(lam, like=like, hint="The middle between a number and infinity is infinity. Where no λ was enough yet, "
                                            "the next is ten times the last.")
    low = expect.tensor(low, like=like)
    expect.that(isinstance(high, torch.Tensor) and high.shape == like.shape and not bool(high.isnan().any()), high,
                f"`high` as a tensor of shape {tuple(like.shape)} without NaN")
    return lam, low, torch.where(high.isinf(), FAR, high)

def tensors(*rows):
    return [torch.tensor(row) for row in rows]

@exercise.case("fooled: λ becomes the upper end, and the middle is next", hint="One decision per image: torch.where instead of if.")
def _(next_lambda):
    lam, low, high = tensors([8.0, 3.0], [2.0, 0.0], [20.0, math.inf])
    got = three(next_lambda(lam, low, high, torch.tensor([True, True])), lam)
    expect.close(got[1], low, hint="λ was enough: it is the upper end that comes down. `low` stays.")
    expect.close(got[2], torch.tensor([8.0, 3.0]), hint="λ was enough: it is the new `high`.")
    expect.close(got[0], torch.tensor([5.0, 1.5]), mistakes={
        "This is the middle of the old interval. First take λ in, then halve.": torch.tensor([11.0, math.inf]),
        "λ is halved. The middle lies between `low` and `high`.": torch.tensor([4.0, 1.5]),
        "λ grows although it was enough.": torch.tensor([80.0, 30.0]),
        "This is the middle between λ and the old upper end: λ was enough, search below it.": torch.tensor([14.0, FAR]),
    }, hint="The middle of the new interval: (low + high) / 2.")

@exercise.case("not fooled, an upper end is known: λ becomes the lower end, the middle is next", hint="One decision per image: torch.where instead of if.")
def _(next_lambda):
    lam, low, high = tensors([8.0, 0.5], [2.0, 0.0], [20.0, 1.5])
    got = three(next_lambda(lam, low, high, torch.tensor([False, False])), lam)
    expect.close(got[2], high, hint="λ was not enough: it is the lower end that goes up. `high` stays.")
    expect.close(got[1], lam, hint="λ was not enough: it is the new `low`.")
    expect.close(got[0], torch.tensor([14.0, 1.0]), mistakes={
        "Ten times is for images without an upper end. Here one is known.": torch.tensor([80.0, 5.0]),
        "This is the middle of the old interval. First take λ in, then halve.": torch.tensor([11.0, 0.75]),
        "This is the middle between the old lower end and λ: λ was not enough, search above it.": torch.tensor([5.0, 0.25]),
    }, hint="The middle of the new interval: (low + high) / 2.")

@exercise.case("not fooled, no λ was enough yet: ten times as much", hint="One decision per image: torch.where instead of if.")
def _(next_lambda):
    lam, low, high = tensors([0.01, 7.0], [0.0, 0.7], [math.inf, math.inf])
    got = three(next_lambda(lam, low, high, torch.tensor([False, False])), lam)
    expect.close(got[0], torch.tensor([0.1, 70.0]), hint="Ten times the last λ.", mistakes={
        "Twice as much is too timid: ten times the last λ.": torch.tensor([0.02, 14.0]),
        "This is ten times `low` as it was before. λ itself was tried.": torch.tensor([0.0, 7.0])})
    expect.close(got[1], lam, hint="λ was not enough: it is the new `low`.")
    expect.that(bool((got[2] == FAR).all()), got[2], "`high` still infinite")

@exercise.case("every image by itself; arguments are left as they were",
               hint="One decision per image: torch.where instead of if.")
def _(next_lambda):
    lam, low, high = tensors([1.0, 1.0, 4.0, 4.0], [0.0, 0.0, 2.0, 2.0], [math.inf, math.inf, 8.0, 8.0])
    got = three(next_lambda(lam, low, high, torch.tensor([True, False, True, False])), lam)
    expect.close(got[0], torch.tensor([0.5, 10.0, 3.0, 6.0]), hint="Images 0 and 2 were fooled, 1 and 3 were not; only image 1 has "
                 "no upper end. torch.where decides image by image.")
    expect.close(got[1], torch.tensor([0.0, 1.0, 2.0, 4.0]))
    expect.close(got[2], torch.tensor([1.0, FAR, 4.0, 8.0]))
    expect.unchanged(next_lambda)

@exercise.case("the whole search finds thresholds from 0.004 to 3000",
               hint="Repeated, every λ must close in on the smallest that is enough.")
def _(next_lambda):
    threshold = torch.tensor([0.004, 0.3, 1.0, 77.0, 3000.0], dtype=torch.float64)
    lam, low, high = torch.ones(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64), torch.full((5,), math.inf, dtype=torch.float64)
    for _ in range(30):
        lam, low, high = three(next_lambda(lam, low, torch.where(high == FAR, math.inf, high), lam >= threshold), threshold)
    expect.close(lam / threshold, torch.ones(5), tolerance=1e-2)

### BEGIN HIDDEN TESTS
@exercise.case("random intervals, other batch sizes", hidden=True, hint="Each image has its own interval; see the rules above.")
def _(next_lambda):
    for B in (1, 9):
        low, width = torch.rand(B, dtype=torch.float64), 5 * torch.rand(B, dtype=torch.float64)
        high = torch.where(torch.rand(B) < 0.5, math.inf, low + width)
        lam, fooled = low + 0.7 * width, torch.rand(B) < 0.5
        expected = attacks.narrow(lam, low, high, fooled)
        for part, wanted in zip(three(next_lambda(lam, low, high, fooled), lam), expected, strict=True):
            expect.close(part, torch.where(wanted.isinf(), FAR, wanted))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Exercise 4.7: the attack of Carlini and Wagner · hard · 20 minutes · 4 points
#
# Now put it together. For each of `search_steps` values of λ: descend from $\mathbf x$, keep the closest point of the way that fools, see for which images there was one, and choose the next λ. What is returned is the closest of **all** descents: a λ that is tried later need not give a better point.
#
# References: `attacks.penalty_path(model, x, y, lam, steps=steps)` for 4.4, `attacks.closest(model, x, y, candidates)` for 4.5, `attacks.narrow(lam, low, high, fooled)` for 4.6; they take and return the same as the functions that you were asked for.
#
# <details><summary>Hint 1</summary>
# To begin with: <code>lam</code> full of <code>first_lambda</code>, <code>low</code> of 0, <code>high</code> of <code>inf</code>, each with one entry per image.
# </details>
# <details><summary>Hint 2</summary>
# What <code>closest</code> says for <em>this</em> λ decides about the next one. What is best over all λ, <code>closest</code> can say as well, if you hand it a stack of the results.
# </details>

# %% solution="carlini_wagner"
def carlini_wagner(
    model, x: Tensor, y: Tensor, steps: int, search_steps: int, first_lambda: float = 1.0
) -> Tensor:
    """The closest adversarial example in L2: min ||x~ - x||_2^2 + lambda L(x~, y), lambda by search.

    model: returns logits (B, K). x: (B, ...) images in [0, 1]. y: (B,) labels.
    steps: of each descent, 1 or more. search_steps: how many lambdas are tried for every image,
    1 or more; first_lambda: the first of them.
    Returns x_adv like x: the closest point that fools of all descents; x itself where that is
    misclassified, and where nothing was found.
    """
    ### BEGIN SOLUTION
    lam = torch.full((len(x),), first_lambda, dtype=x.dtype)
    low, high = torch.zeros_like(lam), torch.full_like(lam, math.inf)
    results = []
    for _ in range(search_steps):
        path = attacks.penalty_path(model, x, y, lam, steps=steps)
        x_adv, fooled = attacks.closest(model, x, y, path)
        results.append(x_adv)
        lam, low, high = attacks.narrow(lam, low, high, fooled)
    return attacks.closest(model, x, y, torch.stack(results))[0]
    ### END SOLUTION

# %% test="carlini_wagner" points=4
# Run this cell to check your carlini_wagner. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks, data
from coursekit.checks import expect

exercise = checks.Exercise("carlini_wagner", points=4, by_hand=["coursekit.attacks.carlini_wagner", "coursekit.attacks.ddn",
                                                                "coursekit.attacks.deepfool", "coursekit.attacks.nearest_boundary"])
digits = data.load("mnist", "test")
cnn = checks.model("mnist_cnn")
ruler = checks.network(("linear", torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0])), name="class 1 from 0.5 on")

def length(x_adv, x):
    return (x_adv - x).flatten(1).norm(dim=1)

def fooled(spec, x_adv, y):
    return spec.build()(x_adv).argmax(dim=1) != y

@exercise.case("one pixel, boundary at 0.5: images at different distances each get a λ of their own")
def _(carlini_wagner):
    x, y = torch.tensor([[0.499], [0.49], [0.4], [0.1], [0.0]]), torch.tensor([0, 0, 0, 0, 0])
    x_adv = expect.tensor(carlini_wagner(ruler, x, y, 10, 10), like=x)
    missed = ~fooled(ruler, x_adv, y)
    expect.that(not bool(missed.any()), f"{int(missed.sum())} of 5 images not fooled", "all fooled",
                "Where no λ was enough, it must grow. What is returned must be the closest point that fools, not the last.")
    ratio = length(x_adv, x) / (0.5 - x).flatten()
    expect.that(bool((ratio < 1.06).all()), f"up to {ratio.max().item():.3g} times the distance of the boundary", "less than 1.06 times",
                "Is λ searched for every image by itself, and is the closest point of all descents kept?")

@exercise.case("real digits: fooled, images, and close")
def _(carlini_wagner):
    x, y = digits.x[:5], digits.y[:5]
    x_adv = expect.tensor(carlini_wagner(cnn, x, y, 12, 6), like=x)
    expect.that(bool(fooled(cnn, x_adv, y).all()), f"{int(fooled(cnn, x_adv, y).sum())} of 5 fooled", "all of them",
                "Return for each image the closest point that fools. The last iterate need not fool.")
    expect.inside(x_adv, x, 1.0)
    mean, best = length(x_adv, x).mean().item(), length(attacks.carlini_wagner(cnn.build(), x, y), x).mean().item()
    expect.that(mean < 1.08 * best, f"a mean distance of {mean:.3g}", f"at most a few per cent more than {best:.3g}",
                "Keep the closest of all descents, and let λ shrink where it was enough.")

@exercise.case("logits a thousand times smaller: λ must grow; ten times larger: it must shrink")
def _(carlini_wagner):
    x, y = torch.tensor([[0.4], [0.2]]), torch.tensor([0, 0])
    for factor, hint in ((1e-3, "Is the next λ ten times the last as long as nothing was found?"),
                         (10.0, "Does λ come down where it was enough, image by image?")):
        scaled = checks.network(("linear", torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0])), ("scale", factor), name="a scaled classifier")
        x_adv = expect.tensor(carlini_wagner(scaled, x, y, 10, 10), like=x)
        expect.that(bool(fooled(scaled, x_adv, y).all()), "images that are not fooled", "all fooled", hint)
        ratio = length(x_adv, x) / (0.5 - x).flatten()
        expect.that(bool((ratio < 1.06).all()), f"up to {ratio.max().item():.3g} times the distance of the boundary", "less than 1.06 times", hint)

@exercise.case("the closest of all descents is kept, not that of the last λ")
def _(carlini_wagner):
    # With 1.7 as the first λ the next one is 0.85; with 0.85 the boundary at 0.5 away is not reached (λ* = 1).
    x, y = torch.tensor([[0.0]]), torch.tensor([0])
    x_adv = expect.tensor(carlini_wagner(ruler, x, y, 8, 2, 1.7), like=x)
    expect.that(bool(fooled(ruler, x_adv, y).all()), f"the pixel at {x_adv.item():.3g}", "beyond the boundary at 0.5",
                "The second λ is too small and finds nothing. What the first one found must not be forgotten.")
    near = length(attacks.closest(ruler.build(), x, y, attacks.penalty_path(ruler.build(), x, y, 1.7, steps=8))[0], x)
    expect.close(length(x_adv, x), near, tolerance=1e-3, hint="Is first_lambda the first λ that is tried, and `steps` the length of each descent?")

@exercise.case("misclassified already: x. Nothing to be found: x")
def _(carlini_wagner):
    x, y = torch.tensor([[0.8], [0.3]]), torch.tensor([0, 0])
    x_adv = expect.tensor(carlini_wagner(ruler, x, y, 10, 6), like=x)
    expect.close(x_adv[:1], x[:1], hint="The first image is misclassified as it is: nothing is closer to x than x.")
    expect.that(bool(fooled(ruler, x_adv, y)[1]), "the second image not fooled", "fooled")
    constant = checks.network(("linear", torch.zeros(2, 1), torch.tensor([1.0, 0.0])), name="a constant classifier")
    expect.close(carlini_wagner(constant, x, y, 3, 3), x, hint="Where nothing was found, return x; and let nothing become NaN or infinite.")

@exercise.case("an image's result does not depend on its batch; model and images are left as they were")
def _(carlini_wagner):
    x, y = torch.tensor([[0.499], [0.05], [0.3]]), torch.tensor([0, 0, 0])
    together = expect.tensor(carlini_wagner(ruler, x, y, 10, 8), like=x)
    alone = expect.tensor(carlini_wagner(ruler, x[:1], y[:1], 10, 8), like=x[:1])
    expect.that(bool(fooled(ruler, together, y).all()), "images that are not fooled", "all fooled")
    expect.close(length(together, x)[:1], length(alone, x[:1]), tolerance=1e-3,
                 hint="One λ, one interval, one best point for every image.")
    carlini_wagner(cnn, digits.x[:1], digits.y[:1], 2, 1)
    expect.unchanged(carlini_wagner)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes and classes, float64: near the exact distance of a linear classifier", hidden=True,
               hint="Search λ for every image by itself, and keep the closest of all descents.")
def _(carlini_wagner):
    weight = torch.randn(6, 8, dtype=torch.float64)
    net = checks.network(("flatten",), ("linear", weight, None))
    x = 0.4 + 0.2 * torch.rand(7, 2, 2, 2, dtype=torch.float64)
    y = net.build()(x).argmax(dim=1)
    x_adv = expect.tensor(carlini_wagner(net, x, y, 25, 12, 0.5), like=x)
    expect.that(bool(fooled(net, x_adv, y).all()), "images that are not fooled", "all fooled")
    ratio = length(x_adv, x) / length(attacks.nearest_boundary(net.build(), x, y, (0.0, 1.0)), x)
    expect.that(ratio.median().item() < 1.1, f"{ratio.median().item():.3g} times the exact distance", "less than 1.1 times")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Your attack at work, on the digits of the beginning. (About three seconds.)

# %% demo="attack-picture"
def reference_attack(model, x, y, steps, search_steps, first_lambda=1.0):
    return attacks.carlini_wagner(model, x, y, steps=steps, search_steps=search_steps)

your_attack = checks.yours("carlini_wagner", reference_attack)
x_cw = your_attack(model, x[2:3], y[2:3], 30, 8)
print(f"{distance(x_cw, x[2:3]).item():.3f} away in L2")
plots.perturbation(x[2], x_cw[0], model, test_digits.classes)

# %% [markdown]
# ## 4.6 Where the truth is known: a linear classifier
#
# Is that *the* distance, or only what the attack was able to find? For a network nobody can say without a proof. For a **linear** classifier, $\mathbf z = W\mathbf x + \mathbf b$, everybody can. Class $i$ overtakes $y$ where $z_y - z_i = (\mathbf w_y - \mathbf w_i)^\top\mathbf x + b_y - b_i$ becomes 0: on a hyperplane. How far is a point from a hyperplane? A perturbation $\boldsymbol\delta$ lowers the lead by at most $\lVert\mathbf w_y - \mathbf w_i\rVert_q\,\lVert\boldsymbol\delta\rVert_p$ (Hölder's inequality, with the *dual* norm: $\frac1p + \frac1q = 1$, so 2 goes with 2, and ∞ with 1), and some $\boldsymbol\delta$ reaches that. The distance to the nearest decision boundary is therefore
#
# $$r_p(\mathbf x) = \min_{i\ne y}\; \frac{z_y - z_i}{\lVert\mathbf w_y - \mathbf w_i\rVert_q}.$$
#
# ### Exercise 4.8: the distance, in closed form · medium · 15 minutes · 3 points
#
# For $p \in \{1, 2, \infty\}$, leaving the image range $[0,1]$ aside. Mind two divisions by zero: for $i = y$ the formula says $0/0$; and if $\mathbf w_i = \mathbf w_y$ for another class, its lead never changes, and that class never overtakes.
#
# <details><summary>Hint 1</summary>
# All differences at once: <code>weight[y][:, None] - weight</code> has shape <code>(B, K, d)</code>. <code>torch.linalg.vector_norm(w, ord=q, dim=2)</code> takes any $q$, <code>math.inf</code> too.
# </details>
# <details><summary>Hint 2</summary>
# Make the ratio infinite wherever the norm is 0: that leaves out $i = y$ and the twins of $y$ at one stroke. Where another class has a logit just as large or larger, some lead is not positive, and the distance is 0.
# </details>

# %% solution="boundary_distance"
def boundary_distance(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, p: float) -> Tensor:
    """The L_p distance of every point to the nearest decision boundary of z = weight x + bias.

    weight: (K, d). bias: (K,). x: (B, d), any values. y: (B,) labels. p: 1, 2 or math.inf.
    Returns (B,): 0 where another class has a logit at least as large as that of y. A class with
    the same weights as y and a smaller logit never overtakes y: it is left out. (There is always
    some class with other weights.)
    """
    ### BEGIN SOLUTION
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    logits = x @ weight.T + bias
    lead = logits.gather(1, y[:, None]) - logits
    steepness = torch.linalg.vector_norm(weight[y][:, None] - weight, ord=q, dim=2)
    ratio = torch.where(steepness > 0, lead / steepness, math.inf).amin(dim=1)
    overtaken = (lead <= 0).scatter(1, y[:, None], False).any(dim=1)
    return ratio.masked_fill(overtaken, 0.0)
    ### END SOLUTION

# %% test="boundary_distance" points=3
# Run this cell to check your boundary_distance. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks
from coursekit.checks import expect

exercise = checks.Exercise("boundary_distance", points=3, by_hand=["coursekit.attacks.boundary_distance",
                                                                   "coursekit.attacks.nearest_boundary"])
# At x the logits are 6, 5, 3, 0. Class 1 is the runner-up, class 2 the nearest: its logit catches up fastest.
PLANES = torch.tensor([[1.0, 2.0, -1.0], [1.0, 1.5, -1.0], [-3.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
POINT = torch.tensor([[1.0, 1.0, 1.0]])
BIAS = torch.tensor([4.0, 3.5, 2.0, 0.0])
LEAD, NORMALS = torch.tensor([1.0, 3.0, 6.0]), PLANES[0] - PLANES[1:]

def by(power, numerator=None):
    """The formula with the norm of the given power: (1,)."""
    return ((LEAD if numerator is None else numerator) / torch.linalg.vector_norm(NORMALS, ord=power, dim=1)).amin().reshape(1)

@exercise.case("p = 2: the class that is nearest, which need not be the runner-up")
def _(boundary_distance):
    distance = expect.tensor(boundary_distance(PLANES, BIAS, POINT, torch.tensor([0]), 2), shape=(1,),
                             hint="For i = y the ratio is 0/0: leave y out before you take the minimum.")
    expect.close(distance, by(2), mistakes={
        "This is the distance to the runner-up, the class with the second largest logit. Another boundary is nearer: take the "
        "minimum of the ratios.": LEAD[:1] / NORMALS[0].norm(),
        "The lead is divided by the squared norm. That is the multiplier of w in the closest point, not the distance.":
            (LEAD / NORMALS.square().sum(dim=1)).amin().reshape(1),
        "The lead is divided by the norm of w_y. What counts is how fast the *difference* of two logits changes: w_y - w_i.":
            (LEAD / PLANES[0].norm()).amin().reshape(1),
        "This is 0. For i = y the lead is 0, and 0 divided by something small is 0: leave y out of the minimum.": torch.zeros(1),
        "This is the smallest lead. Divide each lead by its own ||w_y - w_i||.": LEAD[:1],
        "This is the distance to the farthest boundary.": (LEAD / NORMALS.norm(dim=1)).amax().reshape(1),
        "The bias is left out.": by(2, LEAD - (BIAS[0] - BIAS[1:])),
    }, hint="For each other class: its lead, divided by ||w_y - w_i||_2; then the smallest.")

@exercise.case("p = inf: divided by the L1 norm")
def _(boundary_distance):
    expect.close(boundary_distance(PLANES, BIAS, POINT, torch.tensor([0]), math.inf), by(1), mistakes={
        "You divide by the L-infinity norm. It is the dual one that counts: for p = inf, q = 1.": by(math.inf),
        "You divide by the L2 norm, whatever p is.": by(2),
    }, hint="If each pixel may move by ε, the lead falls by ε times the sum of all |w_y - w_i|.")

@exercise.case("p = 1: divided by the L-infinity norm")
def _(boundary_distance):
    expect.close(boundary_distance(PLANES, BIAS, POINT, torch.tensor([0]), 1), by(math.inf), mistakes={
        "You divide by the L1 norm. It is the dual one that counts: for p = 1, q = inf.": by(1),
        "You divide by the L2 norm, whatever p is.": by(2),
    }, hint="With one budget for all pixels together, all of it goes into the pixel with the largest |w_y - w_i|.")

@exercise.case("misclassified, or a tie: 0; each point by its own label")
def _(boundary_distance):
    points, y = POINT.repeat(3, 1), torch.tensor([1, 0, 3])
    distance = expect.tensor(boundary_distance(PLANES, BIAS, points, y, 2), shape=(3,),
                             hint="For i = y the ratio is 0/0: leave y out before you take the minimum.")
    expect.close(distance, torch.cat([torch.zeros(1), by(2), torch.zeros(1)]), mistakes={
        "A misclassified point has a lead below 0; its distance is 0, not negative.": torch.tensor([-2.0, by(2).item(), -6 / math.sqrt(6)]),
    }, hint="Where another class is ahead, the distance is 0.")
    tied = boundary_distance(PLANES, BIAS + torch.tensor([0.0, 1.0, 0.0, 0.0]), POINT, torch.tensor([0]), math.inf)
    expect.close(tied, torch.zeros(1), hint="With a tie x lies on the boundary.")

@exercise.case("a class with the same weights as y never overtakes; arguments are left as they were")
def _(boundary_distance):
    twins = torch.tensor([[1.0, 2.0, -1.0], [1.0, 2.0, -1.0], [-3.0, 2.0, 2.0]])
    distance = expect.tensor(boundary_distance(twins, torch.tensor([4.0, 3.5, 2.0]), POINT, torch.tensor([0]), 2), shape=(1,),
                             hint="w_y - w_i is 0 for a class with the same weights. Leave it out: a distance of infinity.")
    expect.close(distance, torch.tensor([0.6]), mistakes={
        "The twin of y counts as if it were on the spot. Its lead never changes: leave it out.": torch.zeros(1)},
        hint="Only classes with other weights than y count. A small number added below the line is no safe way to leave one out.")
    expect.close(boundary_distance(twins, torch.tensor([3.5, 4.0, 2.0]), POINT, torch.tensor([0]), 2), torch.zeros(1),
                 hint="Here the twin is ahead of y: x is misclassified, distance 0.")
    expect.unchanged(boundary_distance)

### BEGIN HIDDEN TESTS
@exercise.case("other numbers of classes and pixels, float64, all norms", hidden=True, hint="The minimum over i != y of lead / dual norm.")
def _(boundary_distance):
    for K, d, B in ((2, 5, 4), (9, 3, 17), (4, 1, 1)):
        W, b = torch.randn(K, d, dtype=torch.float64), torch.randn(K, dtype=torch.float64)
        points = 3 * torch.randn(B, d, dtype=torch.float64)
        y = torch.where(torch.rand(B) < 0.8, (points @ W.T + b).argmax(dim=1), torch.randint(0, K, (B,)))
        network = checks.network(("linear", W, b)).build()
        for p in (1, 2, math.inf):
            expected = attacks.boundary_distance(network, points, y, p)
            expect.tensor(boundary_distance(W, b, points, y, p), like=expected)
            expect.close(boundary_distance(W, b, points, y, p), expected)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Exercise 4.9: the closest point itself · easy · 10 minutes · 2 points
#
# In $L_2$ one goes straight at the hyperplane, along its normal $\mathbf w = \mathbf w_y - \mathbf w_i$, until the lead is used up:
#
# $$\tilde{\mathbf x} = \mathbf x - \frac{z_y - z_i}{\lVert\mathbf w\rVert_2^2}\,\mathbf w, \qquad i \text{ the nearest class.}$$
#
# Return this point *on* the boundary (an attack would go a hair further).
#
# <details><summary>Hint</summary>
# Choose the class by the smallest distance, then build the step for that class. How long is the step? Its norm must come out as the distance of 4.8.
# </details>

# %% solution="closest_point"
def closest_point(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The point nearest to x in L2 on a boundary between y and another class; z = weight x + bias.

    weight: (K, d). bias: (K,). x: (B, d), any values; the result may have any, too. y: (B,) labels.
    Returns a tensor like x: x itself where another class has a logit at least as large as that of
    y. A class with the same weights as y and a smaller logit is left out. (There is always some
    class with other weights.)
    """
    ### BEGIN SOLUTION
    logits = x @ weight.T + bias
    lead = logits.gather(1, y[:, None]) - logits
    w = weight[y][:, None] - weight
    squared = w.square().sum(dim=2)
    nearest = torch.where(squared > 0, lead / squared.sqrt(), math.inf).argmin(dim=1)
    rows = torch.arange(len(x))
    step = (lead / squared)[rows, nearest][:, None] * w[rows, nearest]
    overtaken = (lead <= 0).scatter(1, y[:, None], False).any(dim=1)
    return torch.where(overtaken[:, None], x, x - step)
    ### END SOLUTION

# %% test="closest_point" points=2
# Run this cell to check your closest_point. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import attacks, checks
from coursekit.checks import expect

exercise = checks.Exercise("closest_point", points=2, by_hand=["coursekit.attacks.nearest_boundary"])
# At x the logits are 6, 5, 3, 0. Class 1 is the runner-up, class 2 the nearest.
PLANES = torch.tensor([[1.0, 2.0, -1.0], [1.0, 1.5, -1.0], [-3.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
POINT = torch.tensor([[1.0, 1.0, 1.0]])
BIAS = torch.tensor([4.0, 3.5, 2.0, 0.0])

def reached(i, power=2):
    """The point for class i; power 2: the lead is divided by the squared norm of w."""
    w, lead = PLANES[0] - PLANES[i], torch.tensor([0.0, 1.0, 3.0, 6.0])[i]
    return POINT - lead / w.norm() ** power * w

@exercise.case("straight at the nearest hyperplane, until the lead is used up")
def _(closest_point):
    point = expect.tensor(closest_point(PLANES, BIAS, POINT, torch.tensor([0])), like=POINT,
                          hint="For i = y the ratio is 0/0: leave y out before you choose the nearest class.")
    expect.close(point, reached(2), mistakes={
        "This is the boundary to the runner-up. Another one is nearer.": reached(1),
        "This is the boundary to the farthest class.": reached(3),
        "The lead is divided by the norm of w once. The step is (distance) x (w of length 1): the norm enters twice.": reached(2, 1),
        "The lead is not divided by anything.": reached(2, 0),
        "The step goes the wrong way: away from the boundary.": 2 * POINT - reached(2),
        "This is the step alone. Add it to x.": reached(2) - POINT,
    }, hint="x - (z_y - z_i) / ||w||^2 w with w = w_y - w_i, for the class with the smallest distance.")

@exercise.case("the result lies on the boundary, and as far away as 4.8 says: 3 points, 3 labels")
def _(closest_point):
    points = torch.tensor([[1.0, 1.0, 1.0], [-2.0, 1.0, 1.5], [0.5, 4.0, -2.0]])
    network = checks.network(("linear", PLANES, BIAS)).build()
    y = network(points).argmax(dim=1)
    result = expect.tensor(closest_point(PLANES, BIAS, points, y), like=points)
    top = network(result).detach().topk(2, dim=1).values
    gap = (top[:, 0] - top[:, 1]).abs()
    expect.that(bool((gap < 1e-3).all()), f"two largest logits that differ by up to {gap.max().item():.3g}", "a tie: that is the boundary",
                "Is it the nearest boundary of each point by itself, and is the lead used up there?")
    expect.close((result - points).norm(dim=1), attacks.boundary_distance(network, points, y), hint="Is it the nearest boundary of each point?")

@exercise.case("misclassified: x itself. A twin of y is left out; arguments are left as they were")
def _(closest_point):
    expect.close(closest_point(PLANES, BIAS, POINT, torch.tensor([1])), POINT, hint="Class 0 is ahead of 1: x is misclassified, and stays.")
    twins, offsets = torch.tensor([[1.0, 2.0, -1.0], [1.0, 2.0, -1.0], [-3.0, 2.0, 2.0]]), torch.tensor([4.0, 3.5, 2.0])
    point = expect.tensor(closest_point(twins, offsets, POINT, torch.tensor([0])), like=POINT,
                          hint="w is 0 for a class with the same weights as y: leave it out before you divide.")
    expect.close(point, reached(2), mistakes={"The twin of y was chosen. Its lead never changes.": POINT})
    expect.unchanged(closest_point)

### BEGIN HIDDEN TESTS
@exercise.case("other numbers of classes and pixels, float64", hidden=True, hint="The nearest class by distance; then the step along w_y - w_i.")
def _(closest_point):
    for K, d, B in ((2, 5, 4), (9, 3, 17), (4, 1, 1)):
        W, b = torch.randn(K, d, dtype=torch.float64), torch.randn(K, dtype=torch.float64)
        points = 3 * torch.randn(B, d, dtype=torch.float64)
        y = torch.where(torch.rand(B) < 0.8, (points @ W.T + b).argmax(dim=1), torch.randint(0, K, (B,)))
        expected = attacks.nearest_boundary(checks.network(("linear", W, b)).build(), points, y)
        expect.tensor(closest_point(W, b, points, y), like=expected)
        expect.close(closest_point(W, b, points, y), expected)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# How good are the attacks, then? `mnist_linear` is softmax regression on the digits. Its exact distances, against what two attacks find.

# %% demo="exact"
linear_right = linear_model(x).argmax(dim=1) == y
free = attacks.nearest_boundary(linear_model, x, y)
boxed = attacks.nearest_boundary(linear_model, x, y, bounds=(0.0, 1.0))
outside = ((free < 0) | (free > 1)).flatten(1).any(dim=1)[linear_right].float().mean()
rows = {"exact, any pixel values": free, "exact, pixels in [0, 1]": boxed,
        "Carlini-Wagner": attacks.carlini_wagner(linear_model, x, y),
        "DDN": attacks.ddn(linear_model, x, y)}
for name, found in rows.items():
    print(f"{name:<26} median distance {distance(found, x)[linear_right].median():.3f}")
print(f"closest points by the formula that are no images: {outside:.0%}")

# %% demo="exact-picture"
some = [2, 3, 7]
titles = [f"{k}" for k in y[some].tolist()]
for point in free[some], boxed[some]:
    away, darkest = distance(point, x[some]).tolist(), point.flatten(1).amin(dim=1).tolist()
    titles += [f"{d:.2f} away\ndarkest {low:.2f}".replace("-", "−") for d, low in zip(away, darkest)]
shown = torch.cat([x[some], free[some], boxed[some]])
plots.images(shown, titles=titles, bounds=(-0.15, 1.15), size=1.6,
             rows=["x", "nearest,\nany values", "nearest\nin [0, 1]"])

# %% [markdown]
# Two lessons. The attacks are *good*: on this model they come within a fraction of a per cent of the truth. And the formula is *not the truth for images*: every one of its closest points has pixels below 0 (in the middle row the background is grey so that darker than black can be seen). The image range takes away directions from the attacker; the exact distance with it is about a quarter larger. (That one has no closed form, but is still easy: the pixels that reach the end of their range stop there, and the others go on.) So the formula gives a **lower bound** for images. A lower bound is a proof: whatever the attack, it cannot do with less.

# %% [markdown]
# ## 4.7 A network, as its tangent sees it
#
# A network is not linear, but up close it looks it: $z_i(\mathbf x + \boldsymbol\delta) \approx z_i(\mathbf x) + \nabla z_i(\mathbf x)^\top\boldsymbol\delta$. Put $\nabla z_y - \nabla z_i$ in the place of $\mathbf w_y - \mathbf w_i$, step to the nearest boundary of the *linearised* model, and repeat from there, until the boundary of the model itself is crossed. This is **DeepFool** (Moosavi-Dezfooli et al. 2016).
#
# ### Exercise 4.10: one step of DeepFool · hard · 20 minutes · 3 points
#
# $$\mathbf x' = \mathbf x - \frac{z_y - z_i}{\lVert\mathbf w\rVert_2^2}\,\mathbf w, \qquad \mathbf w = \nabla z_y(\mathbf x) - \nabla z_i(\mathbf x), \qquad i = \underset{i\ne y}{\arg\min}\; \frac{z_y - z_i}{\lVert\mathbf w\rVert_2}.$$
#
# In $L_2$, without the image range. It takes $K$ gradients per image, one for each class.
#
# <details><summary>Hint 1</summary>
# <code>torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True)[0]</code> is the gradient of logit $k$ for every image of the batch; a loop over $k$, and <code>torch.stack(..., dim=1)</code>, give all of them, <code>(B, K, ...)</code>.
# </details>
# <details><summary>Hint 2</summary>
# As rows, <code>.flatten(2)</code>, the images no longer matter: from there on it is Exercise 4.9 with a weight matrix of its own for every image. <code>.reshape(x.shape)</code> brings the step back.
# </details>

# %% solution="deepfool_step"
def deepfool_step(model, x: Tensor, y: Tensor) -> Tensor:
    """The point nearest to x in L2 on a decision boundary of the model linearised at x.

    model: returns logits (B, K). x: (B, ...) images; the result may leave [0, 1]. y: (B,) labels.
    Returns a tensor like x, not clamped and not a hair further: x itself where it is misclassified.
    A class whose difference of gradients w is exactly zero is left out; where that is so for all
    classes, x itself.
    """
    ### BEGIN SOLUTION
    images = x.clone().requires_grad_(True)
    logits = model(images)
    slopes = [torch.autograd.grad(z.sum(), images, retain_graph=True)[0] for z in logits.unbind(dim=1)]
    logits, gradients = logits.detach(), torch.stack(slopes, dim=1).flatten(2)
    rows = torch.arange(len(x))
    lead = logits[rows, y][:, None] - logits
    w = gradients[rows, y][:, None] - gradients
    squared = w.square().sum(dim=2)
    ratio = torch.where(squared > 0, lead / squared.sqrt(), math.inf)
    shortest, nearest = ratio.min(dim=1)
    step = (lead[rows, nearest] / squared[rows, nearest])[:, None] * w[rows, nearest]
    stay = shortest.isinf() | (logits.argmax(dim=1) != y)
    return torch.where(stay.view(-1, *[1] * (x.ndim - 1)), x, x - step.reshape(x.shape))
    ### END SOLUTION

# %% test="deepfool_step" points=3
# Run this cell to check your deepfool_step. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import attacks, checks, data
from coursekit.checks import expect

exercise = checks.Exercise("deepfool_step", points=3, by_hand=["coursekit.attacks.deepfool", "coursekit.attacks.nearest_boundary"])
digits = data.load("mnist", "test")
source = torch.Generator().manual_seed(3)
curved = checks.network(("linear", torch.randn(9, 4, generator=source), None), ("tanh",),
                        ("linear", torch.randn(5, 9, generator=source), None), name="a small network")

@exercise.case("a linear classifier: straight onto the nearest boundary",
               hint="One backward pass per class: retain_graph=True keeps the graph for the next one.")
def _(deepfool_step):
    weight = torch.tensor([[1.0, 2.0, -1.0], [1.0, 1.5, -1.0], [-3.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
    linear = checks.network(("linear", weight, torch.tensor([4.0, 3.5, 2.0, 0.0])), name="a linear classifier")
    x, lead = torch.tensor([[1.0, 1.0, 1.0]]), torch.tensor([0.0, 1.0, 3.0, 6.0])

    def to(i, power=2):
        w = weight[0] - weight[i]
        return x - lead[i] / w.norm() ** power * w

    expect.close(deepfool_step(linear, x, torch.tensor([0])), to(2), mistakes={
        "This is the boundary to the runner-up. Another one is nearer: compare lead / ||w||.": to(1),
        "This is the boundary to the farthest class.": to(3),
        "The lead is divided by the norm of w once; the norm enters twice.": to(2, 1),
        "The step goes the wrong way: away from the boundary.": 2 * x - to(2),
        "This is the step alone. Add it to x.": to(2) - x,
        "The result is clamped. Here it may leave [0, 1].": to(2).clamp(0, 1),
        "This goes 2 % further, as the whole attack does. Here the step ends on the boundary.": x + 1.02 * (to(2) - x),
    }, hint="For every class the lead and the gradient of the lead; the smallest lead / ||w||; a step along that w.")

@exercise.case("a curved network, 3 images")
def _(deepfool_step):
    network, x = curved.build(), torch.rand(3, 4)
    y = network(x).argmax(dim=1)
    expected = attacks.nearest_boundary(network, x, y)
    expect.close(deepfool_step(curved, x, y), expected, mistakes={
        "Nothing moved.": x, "The result is clamped. Here it may leave [0, 1].": expected.clamp(0, 1)},
        hint="w is the difference of the gradients of two logits, at x, for each image.")

@exercise.case("real digits, each by itself")
def _(deepfool_step):
    cnn = checks.model("mnist_cnn")
    x, y = digits.x[:3], digits.y[:3]
    moved = expect.tensor(deepfool_step(cnn, x, y), like=x)
    expected = attacks.nearest_boundary(cnn.build(), x, y)
    expect.close(moved, expected, tolerance=1e-3, hint="(B, K, 1, 28, 28) gradients: as rows, flatten(2), they are like the weights of "
                                                      "a linear classifier, one for each image.")
    expect.unchanged(deepfool_step)

@exercise.case("repeated, it reaches the boundary of the network itself",
               hint="From each new point: fresh logits, fresh gradients.")
def _(deepfool_step):
    network, x = curved.build(), torch.rand(2, 4)
    y = network(x).argmax(dim=1)
    x_t = x
    for _ in range(6):
        x_t = expect.tensor(deepfool_step(curved, x_t, y), like=x)
    top = network(x_t).detach().topk(2, dim=1).values
    gap = (top[:, 0] - top[:, 1]).abs().max().item()
    expect.that(gap < 0.01, f"two largest logits that differ by {gap:.3g}", "nearly a tie", "Is it the lead of y that each step uses up?")

@exercise.case("misclassified: x. A zero gradient: x, and no NaN")
def _(deepfool_step):
    x = torch.rand(2, 4)
    y = curved.build()(x).argmax(dim=1)
    wrong = torch.stack([(y[0] + 1) % 5, y[1]])
    moved = expect.tensor(deepfool_step(curved, x, wrong), like=x)
    expect.close(moved[:1], x[:1], hint="The first image is misclassified as it is: it stays.")
    dead = checks.network(("linear", torch.zeros(3, 4), torch.tensor([1.0, 0.5, 0.0])), name="a constant classifier")
    still = expect.tensor(deepfool_step(dead, x, torch.tensor([0, 0])), like=x, hint="w is 0 for every class: what is divided by what? "
                          "Classes with w = 0 are left out, and where none is left, x stays.")
    expect.close(still, x)
    half = checks.network(("linear", torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]), torch.tensor([2.0, 1.9, 0.0])),
                          name="a classifier with twins")
    twin = expect.tensor(deepfool_step(half, x, torch.tensor([0, 0])), like=x, hint="Leave out the class whose w is 0 before you divide.")
    expect.close(twin, attacks.nearest_boundary(half.build(), x, torch.tensor([0, 0])), hint="Class 1 has the same gradient as 0, and never "
                 "overtakes it: class 2 is the nearest.")

### BEGIN HIDDEN TESTS
@exercise.case("other shapes and classes, float64", hidden=True, hint="Any number of classes, any shape of images.")
def _(deepfool_step):
    for shape, K in (((4, 3, 2, 2), 3), ((1, 5), 7), ((6, 2, 3), 2)):
        d = torch.Size(shape[1:]).numel()
        net = checks.network(("flatten",), ("linear", torch.randn(8, d, dtype=torch.float64), None), ("tanh",),
                             ("linear", torch.randn(K, 8, dtype=torch.float64), None))
        network, x = net.build(), torch.rand(shape, dtype=torch.float64)
        y = network(x).argmax(dim=1)
        expect.close(deepfool_step(net, x, y), attacks.nearest_boundary(network, x, y))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 4.8 The first question, asked again and again
#
# There is a third way to a distance, and it needs nothing new. PGD answers "is there one within ε?". If there is one within ε, there is one within every larger ε. So halve the interval, as you did for λ, until you know the smallest radius at which PGD succeeds.
#
# ### Exercise 4.11: the smallest ε · medium · 15 minutes · 3 points
#
# Bisection for every image by itself: `low` begins at 0, `high` at `eps_max`. Try the middle; where PGD fools, the middle becomes `high`, else `low`. After `halvings` rounds return **`high`**: the smallest radius that is *known* to be enough.
#
# The attack to use, with one ε per image: `attacks.pgd(model, x, y, LpBall(eps, p), steps=10, random_start=False)`.
#
# <details><summary>Hint</summary>
# Two cases beside the loop: images that PGD does not fool even with <code>eps_max</code>, and images that are misclassified already. <code>LpBall</code> takes a tensor <code>(B,)</code>, one radius per image.
# </details>

# %% solution="smallest_eps"
def smallest_eps(model, x: Tensor, y: Tensor, p: float, eps_max: float, halvings: int) -> Tensor:
    """The smallest radius of the L_p ball at which PGD, 10 steps from x, fools the model.

    model: returns logits (B, K). x: (B, ...) images in [0, 1]. y: (B,) labels. p: 1, 2 or math.inf.
    eps_max: the first radius tried. halvings: how often the interval from 0 to eps_max is halved,
    0 or more.
    Returns (B,) the upper ends of the intervals, in the dtype of x: radii at which PGD did fool the
    model; inf where it did not even at eps_max; 0 where x is misclassified.
    """
    ### BEGIN SOLUTION
    def fooled(eps):
        x_adv = attacks.pgd(model, x, y, LpBall(eps, p), steps=10, random_start=False)
        return model(x_adv).argmax(dim=1) != y

    low, high = torch.zeros(len(x), dtype=x.dtype), torch.full((len(x),), eps_max, dtype=x.dtype)
    never = ~fooled(high)
    for _ in range(halvings):
        middle = (low + high) / 2
        enough = fooled(middle)
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    wrong = model(x).argmax(dim=1) != y
    return high.masked_fill(never, math.inf).masked_fill(wrong, 0)
    ### END SOLUTION

# %% test="smallest_eps" points=3
# Run this cell to check your smallest_eps. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks, data
from coursekit.checks import expect
from coursekit.perturbations import LpBall

exercise = checks.Exercise("smallest_eps", points=3, by_hand=["coursekit.attacks.smallest_eps"])
digits = data.load("mnist", "test")
# Two pixels with the same say: class 1 where their sum exceeds 1. Distance in L-inf: (1 - sum) / 2.
sums = checks.network(("linear", torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([1.0, 0.0])), name="class 1 where u + v > 1")
FAR = 1e9  # stands for infinity where values are compared

def radii(result, x):
    expect.that(isinstance(result, torch.Tensor) and result.shape == (len(x),), result, f"a tensor of shape ({len(x)},): one radius per image",
                "Did you forget a return?" if result is None else "")
    expect.that(result.dtype == x.dtype, f"dtype {result.dtype}".replace("torch.", ""), f"dtype {x.dtype}".replace("torch.", ""), "Compute in the dtype of the images.")
    expect.that(not bool(result.isnan().any()), result, "no NaN")
    return torch.where(result.isinf(), FAR, result)

def upper(distance, eps_max, halvings):
    """The first point of the grid of bisection beyond the distance."""
    unit = eps_max / 2**halvings
    return torch.ceil(distance / unit) * unit

@exercise.case("a linear classifier in L-inf, where the distance is known")
def _(smallest_eps):
    x, y = torch.tensor([[0.414, 0.5], [0.214, 0.3], [0.46, 0.414], [0.3, 0.114]]), torch.zeros(4, dtype=torch.int64)
    expected = torch.tensor([0.05, 0.25, 0.07, 0.3])  # the grid of width 0.01, beyond 0.043, 0.243, 0.063 and 0.293
    result = radii(smallest_eps(sums, x, y, math.inf, 0.32, 5), x)
    expect.that(not bool((result == result[0]).all()), "the same radius for every image", "a radius of its own for each",
                "Every image has an interval of its own: torch.where instead of if.")
    expect.close(result, expected, mistakes={
        "These are the lower ends, at which PGD failed. Return `high`.": expected - 0.01,
        "These are the middles, which were not tried yet. Return `high`.": expected - 0.005,
        "One halving too few.": torch.tensor([0.06, 0.26, 0.08, 0.3]),
    }, hint="Where PGD fools, the middle becomes `high`, else `low`; after all halvings return `high`.")

@exercise.case("L2, another eps_max")
def _(smallest_eps):
    x = torch.tensor([[0.41, 0.5], [0.2, 0.33]])
    distance = (1 - x.sum(dim=1)) / math.sqrt(2)
    result = radii(smallest_eps(sums, x, torch.tensor([0, 0]), 2, 1.0, 6), x)
    expect.close(result, upper(distance, 1.0, 6), tolerance=1e-3, mistakes={
        "This is the distance in L-inf. The ball has the norm p.": upper((1 - x.sum(dim=1)) / 2, 1.0, 6),
        "These are the lower ends, at which PGD failed. Return `high`.": upper(distance, 1.0, 6) - 1 / 64,
    }, hint="Are p and eps_max used?")

@exercise.case("not fooled even at eps_max: inf. Misclassified: 0")
def _(smallest_eps):
    x, y = torch.tensor([[0.1, 0.1], [0.9, 0.9], [0.43, 0.5]]), torch.tensor([0, 0, 0])
    result = radii(smallest_eps(sums, x, y, math.inf, 0.2, 3), x)
    expect.close(result[:1], torch.tensor([FAR]), hint="With eps_max PGD fails for the first image: no radius is known to be enough. Return inf.")
    expect.close(result[1:2], torch.zeros(1), hint="The second image is misclassified as it is: 0.")
    expect.close(result[2:], torch.tensor([0.05]))
    expect.close(radii(smallest_eps(sums, x, y, math.inf, 0.2, 0), x), torch.tensor([FAR, 0.0, 0.2]), hint="With 0 halvings nothing is halved.")

@exercise.case("real digits: at the radius returned PGD fools, below it does not; model and images are left as they were")
def _(smallest_eps):
    cnn = checks.model("mnist_cnn")
    x, y = digits.x[2:6], digits.y[2:6]
    result, network = radii(smallest_eps(cnn, x, y, math.inf, 0.32, 4), x), cnn.build()
    expect.unchanged(smallest_eps)
    for eps, wanted in ((result, True), (result - 0.02, False)):
        x_adv = attacks.pgd(network, x, y, LpBall(eps.clamp(0, 1), math.inf), steps=10, random_start=False)
        fooled = network(x_adv).argmax(dim=1) != y
        expect.that(bool((fooled == wanted).all()), f"at {eps.tolist()} fooled {fooled.tolist()}"[:90], f"{wanted} for all",
                    "The radius returned must be one at which PGD fooled, and the next smaller one of the grid must not.")

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, float64", hidden=True, hint="One interval per image, of any shape; see the docstring for inf and 0.")
def _(smallest_eps):
    net = checks.network(("flatten",), ("linear", torch.randn(8, 12, dtype=torch.float64), None), ("tanh",),
                         ("linear", torch.randn(4, 8, dtype=torch.float64), None))
    network, x = net.build(), torch.rand(6, 3, 2, 2, dtype=torch.float64)
    y = network(x).argmax(dim=1)
    y[1] = (y[1] + 1) % 4
    for p, eps_max in ((math.inf, 0.4), (2, 0.8)):
        expected = attacks.smallest_eps(network, x, y, p, eps_max=eps_max, halvings=5, steps=10)
        expect.close(radii(smallest_eps(net, x, y, p, eps_max, 5), x), torch.where(expected.isinf(), FAR, expected), tolerance=1e-3)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 4.9 The comparison
#
# Five attacks on the network, 100 digits, all in $L_2$ and within $[0, 1]$. Beside your own attack and your bisection of PGD there are
#
# * **DeepFool**: the step of 4.10, repeated, 2 % beyond the boundary, and held within the image range;
# * **Carlini-Wagner as the package has it**: every descent goes on where the last one ended, with another λ, and it starts towards each of the three likeliest other classes;
# * **DDN** (decoupled direction and norm, Rony et al. 2019), the baseline that an honest comparison must not leave out. It has no λ at all: it walks on a sphere around $\mathbf x$ whose radius shrinks by 5 % whenever it fooled the model, and grows by 5 % otherwise.
#
# What each spends is counted: gradients per image. The column "nearest of all" says for how many of the digits an attack found the nearest point that any of them found. (About ten seconds.)

# %% demo="comparison"
from tqdm.auto import tqdm

def reference_eps(model, x, y, p, eps_max, halvings):
    return attacks.smallest_eps(model, x, y, p, eps_max=eps_max, halvings=halvings, steps=10)

your_eps = checks.yours("smallest_eps", reference_eps)
attackers = {  # name -> (model, x, y) -> the distances found
    "DeepFool": lambda model, x, y: distance(attacks.deepfool(model, x, y, steps=5), x),
    "PGD, bisected": lambda model, x, y: your_eps(model, x, y, 2, 4.0, 8),
    "Carlini-Wagner": lambda model, x, y: distance(your_attack(model, x, y, 20, 6), x),
    "C-W, package": lambda model, x, y: distance(attacks.carlini_wagner(model, x, y), x),
    "DDN": lambda model, x, y: distance(attacks.ddn(model, x, y), x),
}
distances, gradients = {}, {}
for name, attack in tqdm(attackers.items()):
    counted = evaluation.counting(model)
    distances[name] = attack(counted, x, y).detach()
    gradients[name] = f"{counted.gradients / len(x):.0f}"
distances["best of all"] = best = torch.stack(list(distances.values())).amin(dim=0)

print(f"{'':>16}  median    mean  largest  nearest of all  gradients")
for name, d in distances.items():
    d, near = d[right], (d <= best * 1.005)[right].float().mean()
    print(f"{name:>16}{d.median():>8.3f}{d.mean():>8.3f}{d.max():>9.3f}{near:>16.0%}", end="")
    print(f"{gradients.get(name, ''):>11}")

# %% [markdown]
# Every distance in this table belongs to a point that *does* fool the model. So each is an **upper bound** of the true distance, and the smallest is the best that is known. None of them is a measurement of the truth; the truth is at or below the last line, for every image. (For the linear model of 4.6 the exact distance was there to compare with. For networks, certificates, later in the course, give bounds from the other side.) And a smaller upper bound says something about the *attack*, never that the model became weaker.
#
# Now the pay-off of turning the question round. An image is robust within radius ε if its distance is larger than ε. So one run of a minimum-norm attack gives the robust accuracy for **every** ε: it is the share of images whose distance exceeds ε. The lowest line belongs to the best attack.

# %% demo="robustness-curve"
eps_values = torch.linspace(0, 3, 31)

def robust_share(d):
    return [((d > eps) & right).float().mean().item() for eps in eps_values]

shown = "DeepFool", "PGD, bisected", "Carlini-Wagner", "best of all"
plots.curves({name: (eps_values, robust_share(distances[name])) for name in shown}, chance=None,
             xlabel="radius ε of the L₂ ball", ylabel="digits still right")

# %% [markdown]
# ### The truth, for once
#
# How far below these upper bounds the truth lies can be said for a network that is small enough: two hidden layers of 32 neurons. In $L_\infty$ the nearest adversarial example can be found exactly (assignment 09); the table has it for six digits close to a boundary, beside what the bisection of PGD found. In $L_2$ there is at least a proof from below, a radius within which nothing can be (assignment 10). For every digit the true distance lies between the two. (A few seconds.)

# %% demo="truth"
from coursekit.certify import exact, relaxations

small = coursekit.models.load("mnist_mlp")
by_pgd = your_eps(small, x, y, math.inf, 0.2, 10)
correct = small(x).argmax(dim=1) == y
near = by_pgd.masked_fill(~correct | ~by_pgd.isfinite(), math.inf).argsort()[5:35:5]
exactly = exact.minimum_distance(small, x[near], y[near], eps_max=0.2, tolerance=2e-4, time_limit=10)
print("L∞ distance   " + "".join(f"{f'a “{k}”':>9}" for k in y[near].tolist()))
print("PGD, bisected " + "".join(f"{d:>9.4f}" for d in by_pgd[near].tolist()))
print("at most       " + "".join(f"{d:>9.4f}" for d in exactly.upper.tolist()))
print("at least      " + "".join(f"{d:>9.4f}" for d in exactly.lower.tolist()))

low, high = torch.zeros(len(x)), torch.full((len(x),), 3.0)
for _ in range(8):  # bisection again, this time for the largest radius that is proven
    middle = (low + high) / 2
    proven = relaxations.certified(small, x, y, LpBall(middle, 2), "crown")
    low, high = middle.where(proven, low), high.where(proven, middle)
found = distance(attacks.ddn(small, x, y), x)
print(f"\nL₂ distance, median: proven at least {low[correct].median():.2f}, DDN found one at {found[correct].median():.2f}")

# %% [markdown]
# PGD's bisection is close to the truth and never below it: an attack cannot be. In $L_2$ the truth is somewhere in the gap; it is the bound from below that gives most of it away.

# %% [markdown]
# **Predict**: which digit is the hardest to have misread, the one whose pictures lie farthest from the boundary (largest median distance)? And which lies nearest?

# %%
my_guess = None  # replace None by a digit, or by two

# %% demo="digits-by-distance"
by_class = torch.stack([best[right & (y == k)].median() for k in range(10)])
order = by_class.argsort(descending=True).tolist()
checks.reveal(my_guess, "from far to near: " + ", ".join(f"{k} ({by_class[k]:.2f})" for k in order))

ranked = best.masked_fill(~right, math.nan).argsort()[: int(right.sum())]
extremes = torch.cat([ranked[:8], ranked[-8:]])
odd_x, odd_y = x[extremes], y[extremes]
found = torch.stack([attacks.ddn(model, odd_x, odd_y), attacks.carlini_wagner(model, odd_x, odd_y)])
x_adv, _ = attacks.closest(model, odd_x, odd_y, found)
then = model(x_adv).argmax(dim=1).tolist()
away = best[extremes].tolist()
titles = [f"“{k}”, {d:.2f}\nthen “{to}”" for k, d, to in zip(odd_y.tolist(), away, then)]
plots.images(odd_x, titles=titles, rows=["nearest to\nthe boundary", "farthest\nfrom it"])

# %% [markdown]
# The digits near the boundary are those at which a reader would hesitate, too: short tails, open loops. For these, "adversarial" is a strong word. Those far from it are large and drawn with a thick pen, many of them zeros. With about ten pictures per digit the order in the middle is chance; the ends are not.

# %% [markdown]
# ## 4.10 In your own words
#
# These two answers are read by a person. A few sentences each are enough.
#
# ### Question 4.10a: three choices in one formula · medium · 10 minutes · 3 points
#
# $L = [Z_y - \max_{i\ne y} Z_i]_+$. (1) Name two things that go wrong if $\log p_y$ (minus the cross-entropy) takes the place of $L$, and say for each why. (2) What is the $[\cdot]_+$ for? What would the descent do without it? (3) The slide takes log-probabilities. Do logits give another $L$? And probabilities, $f_y - \max_{i \ne y} f_i$?

# %% [markdown] answer="three-choices" points=3
# === BEGIN MARK SCHEME ===
# **1 point**, half for each of two with its reason: (a) where the model is sure, the gradient of log p_y is nearly or exactly zero ((1 - p_y) times a difference of logit gradients), so that the descent stays at x unless lambda is enormous; (b) it has no end: after the boundary it goes on falling, so that lambda goes on pushing and the result overshoots; also accepted: the lambda that suits varies by orders of magnitude from image to image.
#
# **1 point**: it switches the loss off once the model is fooled; then D alone acts and draws the point back towards x, so the minimum lies on the boundary. Without it the objective falls on beyond the boundary for the sake of an ever larger wrong margin, and the result is farther away than it need be (with D squared, by about lambda/2 times the slope). (Only "it makes the loss non-negative": no point.)
#
# **1 point**: logits give the same L, since they differ from Z by one number for all classes (log of the sum), which cancels in the difference (half a point). Probabilities give another one: positive just when L is, but its gradient vanishes where the model is sure, as with the cross-entropy, because softmax saturates (half a point).
# === END MARK SCHEME ===
# (1) Where the model is sure, $p_y \approx 1$, and the gradient of $\log p_y$ is $1-p_y$ times a difference of logit gradients: nearly zero, in floating point often exactly. The descent stays at $\mathbf x$. And $\log p_y$ has no end: it keeps falling after the boundary, so λ keeps pushing an image that is fooled already, and the distance grows. (2) $[\cdot]_+$ turns the penalty off once the model is fooled; then only $\mathcal D$ acts, and draws the point back to the boundary, where the minimum lies. Without it, the descent would trade distance for an ever larger wrong margin. (3) Logits give the same: $Z_i = z_i - \log\sum_j e^{z_j}$, and the sum cancels in $Z_y - Z_i$. The difference of probabilities has the same sign, but the softmax saturates: its gradient vanishes where the model is sure.

# %% [markdown]
# ### Question 4.10b: two reports · medium · 10 minutes · 3 points
#
# A colleague writes: "Attack A finds a median minimum distance of 1.1 and attack B one of 1.3 on our model. B's value is larger, so B is the better measure of how robust it is." Another: "The minimum distance of our model is 2.0, so every image is safe from changes smaller than 2.0." (1) What is wrong with the first? (2) What with the second? Name two different mistakes. (3) How would you report such results?

# %% [markdown] answer="two-reports" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: each distance belongs to a point that fools the model, so each is an upper bound of the true distance; the smaller one is tighter. A's is the better measure (and the minimum of both, image by image, better still). B is simply the weaker attack. (Only "smaller is better" without "upper bound": half a point.)
#
# **1 point**, half each for two of: an attack gives no lower bound, "nothing found below 2.0" is no proof (a certificate is needed); a median or mean over images says nothing about every image, half of them lie nearer; misclassified images have distance 0; the norm is not named, and a distance in L2 says nothing about L-inf or about rotations; a test sample is not all images.
#
# **1 point** for a sensible report, at least three of: several attacks, the minimum per image; norm and image range named; the number of gradients or steps, and that more of them change nothing; the distribution or the curve of robust accuracy instead of one number; share of images misclassified, and for which nothing was found; "upper bound" said; the exact or a certified lower bound beside it where there is one. (Two: half a point.)
# === END MARK SCHEME ===
# (1) Both attacks return points that do fool the model, so both distances are upper bounds of the true one, and 1.1 is the tighter. B is the weaker attack, not the better measure; best is the smaller of both for each image. (2) It treats an upper bound as a lower one: that no attack found anything nearer proves nothing, a closer point may exist, and only a certificate excludes it. And if 2.0 is a median, half of the images have closer adversarial examples anyway. (Nor is the norm named.) (3) I would give norm and image range, run several strong attacks and take the minimum per image, double their steps to see that nothing changes, show the whole curve of robust accuracy against ε with the misclassified images at 0, call it an upper bound, and put a certified lower bound beside it.

# %% [markdown]
# ## What to take along
#
# * Minimum-norm attacks ask "how far?" instead of "within ε?". One run gives robust accuracy at every ε.
# * The constraint "must fool" becomes a penalty $\lambda L$. λ too small: nothing is fooled. Too large: overshoot. The best lies just above the smallest that fools, and every image has its own: search.
# * The margin loss on log-probabilities has a slope where the model is sure, and none once it is fooled. The cross-entropy has it the other way round.
# * For a linear classifier the distance is $\min_i (z_y - z_i)/\lVert\mathbf w_y - \mathbf w_i\rVert_q$, with the dual norm: exact without the image range, a lower bound with it. Linearised at $\mathbf x$, it becomes DeepFool.
# * Whatever an attack finds is an **upper bound** of the distance. Take the best of several, and say so.
#
# **Further**: Carlini and Wagner, *Towards evaluating the robustness of neural networks*, 2017: seven losses, of which the margin won. Moosavi-Dezfooli, Fawzi, Frossard, *DeepFool: a simple and accurate method to fool deep neural networks*, 2016. Rony et al., *Decoupling direction and norm for efficient gradient-based L2 adversarial attacks and defenses*, 2019. Lacoste-Julien, Schmidt, Bach, *A simpler approach to obtaining an O(1/t) convergence rate for the projected stochastic subgradient method*, 2012: why the steps shrink as they do.
