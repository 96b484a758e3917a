# %% [markdown]
# # 0 A small notebook
#
# It imports what every notebook of the course imports, and then does next to nothing: what grading it takes is what
# grading itself takes.

# %% readonly="setup"
import torch


# %% solution="scale"
def scale(x: torch.Tensor, a: float) -> torch.Tensor:
    """a times x."""
    ### BEGIN SOLUTION
    return a * x
    ### END SOLUTION


# %% test="scale" points=2
import torch

from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("scale", points=2)


@exercise.case("three numbers")
def _(scale):
    x = torch.arange(3.0)
    expect.close(scale(x, 2.0), 2 * x)


### BEGIN HIDDEN TESTS
@exercise.case("a batch of images", hidden=True)
def _(scale):
    x = torch.rand(4, 1, 5, 5)
    expect.close(scale(x, 0.5), 0.5 * x)


### END HIDDEN TESTS

exercise.score()


# %% solution="mean"
def mean(x: torch.Tensor) -> float:
    """The mean of all elements."""
    ### BEGIN SOLUTION
    return x.mean().item()
    ### END SOLUTION


# %% test="mean" points=1
import torch

from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("mean", points=1)


@exercise.case("of a few numbers")
def _(mean):
    expect.close(mean(torch.arange(64.0)), 31.5)


exercise.score()
