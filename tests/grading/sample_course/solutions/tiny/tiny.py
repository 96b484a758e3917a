# %% [markdown]
# # 1 A tiny assignment
#
# Four questions in five minutes.

# %% readonly="imports"
import math

# %% [markdown]
# ## Add


# %% solution="add"
def add(a, b):
    """The sum of a and b."""
    ### BEGIN SOLUTION
    return a + b
    ### END SOLUTION


# %% test="add" points=2
from tests.grading.light_checks import Exercise

exercise = Exercise("add", points=2)


@exercise.case("adds small numbers", hint="What is one and two?")
def _(add):
    return add(1, 2), 3


### BEGIN HIDDEN TESTS
@exercise.case("adds negative numbers", hint="Think of what is below zero.", hidden=True)
def _(add):
    return add(-1, -2), -3


### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## Double


# %% solution="double"
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


# %% demo="picture"
print("a picture of", double(2))

# %% test="double" points=1
from tests.grading.light_checks import Exercise

exercise = Exercise("double", points=1)


@exercise.case("doubles", hint="Two times.")
def _(double):
    return double(4), 8


exercise.score()

# %% [markdown]
# ## Root


# %% solution="root"
def root(x):
    """The square root of x >= 0."""
    ### BEGIN SOLUTION
    return math.sqrt(x)
    ### END SOLUTION


# %% test="root" points=3
from tests.grading.light_checks import Exercise

exercise = Exercise("root", points=3)


@exercise.case("root of nine", hint="Which function of math is it?")
def _(root):
    return root(9), 3.0


@exercise.case("root of zero", hint="Zero is allowed.")
def _(root):
    return root(0), 0.0


@exercise.case("root of two", hint="Roots need not be whole.")
def _(root):
    return round(root(2), 6), 1.414214


exercise.score()

# %% [markdown]
# ## Why
#
# Why is the sum the same when you swap a and b?

# %% [markdown] answer="why" points=2
# === BEGIN MARK SCHEME ===
# 2 points: addition is commutative.
# === END MARK SCHEME ===
