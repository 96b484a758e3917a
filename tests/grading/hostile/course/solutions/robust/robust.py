# %% [markdown]
# # 3 A robust assignment
#
# Four functions and a text. The hidden parts hold a word that nobody but the instructor may ever see.

# %% readonly="setup"
import torch

# %% [markdown]
# ## Clip


# %% solution="clip"
def clip(x: torch.Tensor) -> torch.Tensor:
    """x with every element moved into [0, 1]."""
    ### BEGIN SOLUTION
    return x.clamp(0, 1)  # coursesecret-solution
    ### END SOLUTION


# %% test="clip" points=3
import torch

from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("clip", points=3)


@exercise.case("a vector", hint="Below 0, between, and above 1.")
def _(clip):
    expect.close(clip(torch.tensor([-1.0, 0.25, 3.0])), torch.tensor([0.0, 0.25, 1.0]))


### BEGIN HIDDEN TESTS
@exercise.case("a batch of images", hint="Any shape will do.", hidden=True)
def _(clip):
    secret = "coursesecret-test"
    x = torch.full((2, 3), 0.314208984375)
    x[0, 0] = 5.0
    expected = x.clone()
    expected[0, 0] = 1.0
    expect.close(clip(x), expected, hint=f"{len(secret)} letters.")


### END HIDDEN TESTS


@exercise.case("nothing to do", hint="What is inside stays.")
def _(clip):
    expect.close(clip(torch.tensor([[0.5]])), torch.tensor([[0.5]]))


exercise.score()

# %% [markdown]
# ## One step


# %% solution="fgsm"
def fgsm(model, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """One step of the fast gradient sign method, in [0, 1]."""
    ### BEGIN SOLUTION
    x = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    return (x + eps * gradient.sign()).clamp(0, 1).detach()
    ### END SOLUTION


# %% test="fgsm" points=4
import torch

from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("fgsm", points=4, by_hand=["coursekit.attacks.fgsm"])
weight = torch.tensor([[1.0, -2.0], [-1.0, 2.0]])
linear = checks.network(("linear", weight), name="a linear classifier")


@exercise.case("a linear classifier", hint="Which way does the loss rise?")
def _(fgsm):
    x, y = torch.full((1, 2), 0.5), torch.tensor([0])
    expect.close(fgsm(linear, x, y, 0.1), torch.tensor([[0.4, 0.6]]))


### BEGIN HIDDEN TESTS
@exercise.case("the other class, near the border", hint="The image range.", hidden=True)
def _(fgsm):
    secret = "coursesecret-test"
    x, y = torch.tensor([[0.95, 0.314208984375]]), torch.tensor([1])
    expect.close(fgsm(linear, x, y, 0.125), torch.tensor([[1.0, 0.189208984375]]), hint=f"{len(secret)} letters.")


### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## Mistakes


# %% solution="mistakes"
def mistakes(predicted: list[int], right: list[int]) -> int:
    """How many predictions are wrong."""
    ### BEGIN SOLUTION
    return sum(p != r for p, r in zip(predicted, right, strict=True))
    ### END SOLUTION


# %% test="mistakes" points=1
from coursekit.checks.student import Function

mistakes = Function("mistakes")
assert mistakes([1, 2, 3], [1, 0, 0]) == 2
assert mistakes([], []) == 0

### BEGIN HIDDEN TESTS
secret = "coursesecret-test"
assert mistakes([314208984375, 4, 5, 6], [0, 1, 2, 3]) == 4, secret
### END HIDDEN TESTS

print("counted")

# %% [markdown]
# ## Share


# %% solution="share"
def share(robust: list[bool]) -> float:
    """The share of True in a list that is not empty."""
    ### BEGIN SOLUTION
    return sum(robust) / len(robust)
    ### END SOLUTION


# %% test="share" points=2
from coursekit.checks.student import Function

share = Function("share")
right = [share([True, False]) == 0.5, share([True]) == 1]

### BEGIN HIDDEN TESTS
secret = "coursesecret-test"
right += [share([False, False]) == 0, share([True, True, True, False]) == 0.75]
### END HIDDEN TESTS

2 * sum(right) / len(right)

# %% [markdown]
# ## Why
#
# Why does the gradient's sign give the largest step within the ball?

# %% [markdown] answer="why" points=1
# === BEGIN MARK SCHEME ===
# 1 point: Hölder's inequality (coursesecret-scheme).
# === END MARK SCHEME ===
