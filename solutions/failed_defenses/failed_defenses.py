# %% [markdown]
# # 6 Failed defences
#
# Four defences for a digit classifier, each with a good idea behind it and a number that looks better than it should. You will first believe them, then notice what is odd about the numbers, and then break all four. They leave the decision boundaries where they are (one of them exactly, the others nearly) and hide the way there. That is the difference between a model that is robust and a model that is hard to attack *by you, today*.
#
# **After this notebook you can**
#
# * say how a defence gets a high robust accuracy without robustness: shattered, random and vanishing gradients;
# * read the symptoms of a hidden gradient from a table of measured accuracies, and from a picture of the loss;
# * break each kind: a straight-through gradient, an average over the randomness, a loss that does not saturate;
# * evaluate a detector of adversarial examples, and get past it with an attack that knows it;
# * judge a defence that somebody else proposes.
#
# **Slides**: "Introduction" (to improving robustness: can we prevent adversarial examples, can we improve?), "What does not seem to work" (gradient obfuscation, detection). **Time**: about two and three quarter hours. **Points**: 30 from twelve functions that are checked at once, 6 from two texts that a person reads. PGD from assignment 03 is assumed; you need not have solved it.
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other shapes and other numbers. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was: no tensor edited in place, no model in another mode.</div>
#
# **Notation**, as on the slides: $\mathbf x$ an image with pixels in $[0, 1]$, $y$ its label, $f$ the classifier, $\mathcal L$ the cross-entropy, $\mathcal P(\mathbf x)$ the perturbation set, here the $L_\infty$ ball of radius $\epsilon$. In code, `x` is a batch `(B, C, H, W)` and `y` holds its `B` labels. A result *like* `x` has its shape and its dtype.

# %% readonly="setup"
import math

import torch
from tqdm.auto import tqdm

import coursekit
from coursekit import attacks, checks, data, defenses, evaluation, losses, plots, widgets
from coursekit.perturbations import LpBall

torch.set_num_threads(1)  # networks as small as these run faster on a single thread

test_digits, train_digits = data.load("mnist", "test"), data.load("mnist", "train")
model = coursekit.models.load("mnist_cnn")  # a small convolutional network, trained the ordinary way
x, y = test_digits.x[:100], test_digits.y[:100]
threat = LpBall(0.15, math.inf)  # P(x) for most of this notebook

def seeded(seed=0):
    return torch.Generator().manual_seed(seed)

def accuracy(classifier, images, labels=y):
    """The share of right answers; a random classifier is asked 20 times about each image."""
    draws = 20 if isinstance(classifier, defenses.RandomNoise) else 1
    with torch.no_grad():
        right = [(classifier(images).argmax(dim=1) == labels).float().mean() for _ in range(draws)]
    return float(sum(right) / draws)

def naive(classifier, images, labels, threat, steps=40):
    """The attacker who has not read the defence: PGD as in assignment 03, stopping at success."""
    return attacks.pgd(classifier, images, labels, threat, steps=steps, generator=seeded())

bare = accuracy(model, naive(model, x, y, threat))
print(f"{len(x)} test digits, no defence: {accuracy(model, x):.0%} right without an attack")
print(f"under PGD with eps = {threat.eps}: {bare:.0%}")

# %% [markdown]
# ## 6.1 Can we prevent them?
#
# Most models that are trained in the ordinary way are vulnerable. So the third part of the lecture asks: *How to defend against adversarial examples? Can we prevent them? Can we improve the robustness of our models?* The tempting answer is an add-on: leave the trained model alone, and put something in front of it or behind it that stops attacks. Here are four, all of them proposed in papers, and the promise that came with each.
#
# | defence | what it does | the promise |
# |---|---|---|
# | **grey levels** | rounds every pixel to one of 8 grey levels | a small perturbation is rounded away |
# | **noise** | adds fresh random noise to every image it is asked about | an attacker cannot know the noise of the next call |
# | **temperature** | divides the logits by 0.01, so the model is sure of everything | the output hardly changes around an image, so there is nothing to follow |
# | **detector** | raises an alarm at images that are unlike natural ones | adversarial images come from another distribution |
#
# The first three are what the slide calls **gradient obfuscation**, the fourth is detection. Sections 6.1 to 6.6 are about obfuscation, 6.7 is about detection.
#
# ### Exercise 6.1: grey levels · easy · 5 minutes · 2 points
#
# Build the first one. With $L$ levels a pixel may be $0, \frac1{L-1}, \frac2{L-1}, \dots, 1$. Round every pixel to the nearest of them.
#
# <details><summary>Hint</summary>
# Between 0 and 1 there are L − 1 steps. Stretch [0, 1] to [0, L − 1], round to whole numbers, and shrink it back.
# </details>

# %% solution="quantize"
def quantize(x: torch.Tensor, levels: int) -> torch.Tensor:
    """Every pixel at the nearest of `levels` grey levels that are spaced evenly from 0 to 1.

    x: (B, ...) floats in [0, 1]. levels: 2 or more. Returns a tensor like x. A pixel that is
    exactly halfway between two levels may go to either.
    """
    ### BEGIN SOLUTION
    steps = levels - 1
    return (steps * x).round() / steps
    ### END SOLUTION

# %% test="quantize" points=2
# Run this cell to check your quantize. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("quantize", points=2, by_hand=["coursekit.defenses.Quantized.transform"])

@exercise.case("five levels: 0, 0.25, 0.5, 0.75, 1")
def _(quantize):
    x = torch.tensor([[0.05, 0.15, 0.3, 0.1], [0.45, 0.7, 0.97, 0.85]])
    q = expect.tensor(quantize(x, 5), like=x)
    expect.close(q, torch.tensor([[0.0, 0.25, 0.25, 0.0], [0.5, 0.75, 1.0, 0.75]]), mistakes={
        "You cut [0, 1] into five equal parts, one for each level. Then 0.85 becomes white, though 0.75 is nearer. Round to the nearest level.":
            (5 * x).floor().clamp(max=4) / 4,
        "You cut off instead of rounding: 0.15 is nearer to 0.25 than to 0.": (4 * x).floor() / 4,
        "You always round up: 0.05 is nearer to 0 than to 0.25.": (4 * x).ceil() / 4,
        "These are steps of 1/5, which makes six levels. From 0 to 1 there are levels - 1 steps.": (5 * x).round() / 5,
        "These are steps of 1/5, cut off: five levels, but white is not one of them. From 0 to 1 there are levels - 1 steps.":
            (5 * x).floor() / 5,
        "These are the numbers of the levels. Shrink them back to [0, 1].": (4 * x).round(),
        "You stretch by one number and shrink by another.": (5 * x).round() / 4,
        "You stretch by levels - 1, and shrink by levels.": (4 * x).round() / 5,
        "Every pixel is stretched first and never rounded.": 4 * x,
        "Nothing was rounded.": x,
        "Only black and white are left. There are five levels.": x.round(),
    }, hint="Stretch to [0, levels - 1], round, shrink back.")

@exercise.case("a batch of images with two levels: black and white")
def _(quantize):
    x = torch.tensor([0.1, 0.9, 0.4, 0.6, 1.0, 0.0]).reshape(2, 1, 1, 3)
    expect.close(quantize(x, 2), torch.tensor([0.0, 1, 0, 1, 1, 0]).reshape(2, 1, 1, 3),
                 hint="With two levels there is one step, from 0 to 1. Does it work for any shape?")
    expect.unchanged(quantize)

### BEGIN HIDDEN TESTS
@exercise.case("other numbers of levels, float64", hidden=True, hint="Nothing may be written out: neither the number of levels nor a shape.")
def _(quantize):
    x = torch.rand(3, 2, 5, 4, dtype=torch.float64)
    for levels in (3, 8, 17):
        grid = torch.linspace(0, 1, levels, dtype=torch.float64)
        nearest = grid[(x[..., None] - grid).abs().argmin(dim=-1)]
        expect.tensor(quantize(x, levels), like=x)
        expect.close(quantize(x, levels), nearest)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Three of the four defences, around the same network. Each is a classifier like any other: images in, logits out.

# %% readonly="defences"
grey_levels = defenses.Quantized(model, levels=8)
noise = defenses.RandomNoise(model, sigma=0.2)
temperature = defenses.Saturated(model, temperature=0.01)
defended = {"grey levels": grey_levels, "noise": noise, "temperature": temperature}

# %% demo="as-the-model-sees-them"
torch.manual_seed(0)
shown = torch.cat([x[:7], grey_levels.transform(x[:7]), noise.transform(x[:7]).clamp(0, 1)])
plots.images(shown, rows=["x", "8 grey levels", "noise, one draw"], size=1.2,
             alt="Seven digits in three rows: as they are, with eight grey levels, where hardly a "
                 "difference is to be seen, and with noise, grainy but easy to read.")

# %% [markdown]
# ### Believe it
#
# A defence is worth what it does to the accuracy under attack. Without any, PGD leaves next to nothing. (How much, the setup cell has printed.)
#
# **Predict**: the same PGD, 40 steps, the same ε, against the network that sees eight grey levels. How many of 100 digits does it still get right?

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="believe"
torch.manual_seed(0)
claimed = {name: accuracy(classifier, naive(classifier, x, y, threat))
           for name, classifier in defended.items()}
said = [f"{name:>12}: {accuracy(defended[name], x):.0%} right without an attack, {share:.0%} under PGD"
        for name, share in claimed.items()]
checks.reveal(my_guess, f"{100 * claimed['grey levels']:.0f} of 100", "\n".join(said))

# %% [markdown]
# For a line of code each, and hardly any accuracy on clean images: from nearly nothing to nearly everything with grey levels and temperature, and to about half with the noise. Many papers ended here.
#
# ## 6.2 Too good to be true: the symptoms
#
# An attack is a search. If it comes back empty-handed, either there is nothing to find or the search is no good. Robust accuracy under *one* attack cannot tell which. But a bad search betrays itself, because it breaks rules that every good one obeys:
#
# * **Many steps do not do worse than one** (`"one step"`). PGD refines FGSM. If FGSM leaves less accuracy than PGD does, PGD gets lost on its way.
# * **Gradients do not do worse than chance** (`"random"`). Random points of $\mathcal P(\mathbf x)$ know nothing about the model.
# * **White box does not do worse than black box** (`"transfer"`). Adversarial examples made for *another* model, and merely tried on this one (a *transfer* attack), know less about it than its own gradients do.
# * **A larger ε helps** (`"twice eps"`). The larger ball contains the smaller one, so twice the ε has to leave less accuracy than ε did. Unless ε left nothing already: then there was nothing to bring down.
# * **Without a limit everything falls** (`"no limit"`). If every pixel may take any value, an image of another class is within reach: no accuracy may be left.
#
# (After Athalye, Carlini and Wagner, *Obfuscated gradients give a false sense of security*, 2018, section 3.1. They broke six of nine defences of a single conference completely, and one more in part.)
#
# ### Exercise 6.2: symptoms · easy · 10 minutes · 3 points
#
# Turn the five rules into a function. It gets the measured accuracies and returns the rules that are broken. Chance moves an accuracy by a point or two, so only what is **more than** `slack` counts: by how much PGD is beaten, how much twice the ε helps, and whether anything is left.
#
# <details><summary>Hint 1</summary>
# Three of the rules can share a loop: is <code>measured["pgd"] - measured[name]</code> more than the slack?
# </details>
# <details><summary>Hint 2</summary>
# The rule on a larger ε needs two conditions joined by <code>and</code>: more than the slack was left by PGD, and it is <em>not</em> the case that twice the ε brings that down by more than the slack. Try 0.61 and then 0.60: does it help?
# </details>

# %% solution="symptoms"
def symptoms(measured: dict[str, float], slack: float = 0.02) -> list[str]:
    """Which of the five rules the measured accuracies break.

    measured: accuracies in [0, 1]. Its keys, in any order, are "pgd" and, for each rule, the attack
    that is held against PGD: "one step" (FGSM), "random" (random points of P(x)), "transfer"
    (examples of another model), "twice eps" (PGD in a ball twice as large) and "no limit" (PGD that
    may change every pixel at will). All six are there; leave the dictionary as it is.
    Returns a list of the keys whose rule is broken, in the order in which they are named here; an
    empty list if none is.
    """
    ### BEGIN SOLUTION
    pgd = measured["pgd"]
    broken = [other for other in ("one step", "random", "transfer") if pgd - measured[other] > slack]
    if pgd > slack and not pgd - measured["twice eps"] > slack:
        broken.append("twice eps")
    if measured["no limit"] > slack:
        broken.append("no limit")
    return broken
    ### END SOLUTION

# %% test="symptoms" points=3
# Run this cell to check your symptoms. (The dots unfold it: what is tried, and what is expected.)
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("symptoms", points=3, by_hand=["coursekit.evaluation.broken_rules"])
honest = {"pgd": 0.61, "one step": 0.7, "random": 0.95, "transfer": 0.9, "twice eps": 0.2, "no limit": 0.0}
WHAT = {
    "one step": "one step that leaves less accuracy than PGD",
    "random": "random points that leave less accuracy than PGD",
    "transfer": "a transfer attack that leaves less accuracy than PGD",
    "twice eps": "twice the eps that does not bring the accuracy down by more than the slack, although something was left",
    "no limit": "accuracy that is left without any limit",
}

def listed(got, expected, why=""):
    """A list of strings, the right ones and in order; says which is too many and which is missing."""
    expect.that(got is not None, "None", "a list", "Did you forget a return?")
    expect.that(isinstance(got, list), got, "a list", "Return a list of strings, also if there is none or one.")
    expect.that(all(isinstance(name, str) for name in got), got, "a list of strings", "Return the names of the rules.")
    missing = [name for name in expected if name not in got]
    extra = [name for name in got if name not in expected]
    if extra and extra[0] in WHAT:
        hint = f"“{extra[0]}” is listed, which stands for {WHAT[extra[0]]}. " + (
            why or "Which way round is the comparison, and is it more than the slack?")
    elif extra:
        hint = f"{extra[0]!r} is none of the five names."
    elif missing:
        hint = f"“{missing[0]}” is missing, which stands for {WHAT[missing[0]]}. {why}"
    elif len(got) != len(expected):
        hint = "A rule is listed twice."
    else:
        hint = "These are the right ones, in another order than the docstring's."
    expect.that(got == expected, str(got), str(expected), hint)

@exercise.case("an attack to be believed breaks no rule")
def _(symptoms):
    listed(symptoms(honest), [])
    expect.unchanged(symptoms)

@exercise.case("one rule broken at a time")
def _(symptoms):
    for change in ({"one step": 0.5}, {"random": 0.3}, {"transfer": 0.0}, {"twice eps": 0.75}, {"no limit": 0.4}):
        listed(symptoms({**honest, **change}), list(change))

@exercise.case("all of them at once, in the docstring's order")
def _(symptoms):
    listed(symptoms({"no limit": 0.9, "twice eps": 0.9, "transfer": 0.1, "random": 0.2, "one step": 0.3, "pgd": 0.9}),
           ["one step", "random", "transfer", "twice eps", "no limit"], "All five are broken here.")

@exercise.case("differences within the slack are chance")
def _(symptoms):
    near = "By 0.01 is not more than the slack of 0.02: that is chance."
    listed(symptoms({**honest, "one step": 0.6, "random": 0.6, "transfer": 0.6, "no limit": 0.01}), [], near)
    listed(symptoms({**honest, "twice eps": 0.6}), ["twice eps"],
           "Twice the eps brings the accuracy down by 0.01 only, from 0.61 to 0.6. That is within the slack: it does not help.")

@exercise.case("another slack, 0.1")
def _(symptoms):
    why = "The slack is 0.1 here. It is an argument: use it in every rule."
    listed(symptoms({**honest, "one step": 0.55, "random": 0.4, "transfer": 0.55, "no limit": 0.07}, 0.1), ["random"], why)
    listed(symptoms({**honest, "twice eps": 0.55}, slack=0.1), ["twice eps"], why)

@exercise.case("where PGD leaves nothing, or no more than the slack, twice the eps cannot leave less")
def _(symptoms):
    for least in (0.0, 0.01):
        fallen = {**honest, "pgd": least, "one step": 0.1, "twice eps": least}
        listed(symptoms(fallen), [], f"PGD leaves {least:.0%}, which is not more than the slack: nothing was left to bring down.")

### BEGIN HIDDEN TESTS
@exercise.case("other numbers and another slack", hidden=True, hint="The slack is an argument: use it in every rule.")
def _(symptoms):
    measured = {"pgd": 0.5, "one step": 0.45, "random": 0.3, "transfer": 0.39, "twice eps": 0.42, "no limit": 0.08}
    why = "The slack is an argument: use it in every rule."
    listed(symptoms(measured, 0.07), ["random", "transfer", "no limit"], why)
    listed(symptoms(measured, 0.15), ["random", "twice eps"], why)
    listed(symptoms(measured, slack=0.0), ["one step", "random", "transfer", "no limit"], why)
    listed(symptoms({**measured, "pgd": 0.06, "twice eps": 0.06, "no limit": 0.0}, 0.07), [], why)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Now for the measurements. The transfer attack takes examples made for the network *without* its defence, which an attacker may well have: it is the one that was there before.
#
# **Predict**: which of the five rules does the network with eight grey levels break? Write a number: how many of the five.

# %%
my_guess = None  # replace None by a number from 0 to 5

# %% demo="measure-symptoms"
# Examples made for the bare network, to be tried on all.
borrowed = attacks.pgd(model, x, y, threat, early_stop=False, generator=seeded())

def measure(classifier, pgd):
    """The accuracies that each attack leaves on the classifier; what PGD leaves is known from above."""
    found = {
        "one step": attacks.fgsm(classifier, x, y, threat),
        "random": threat.sample(x, generator=seeded()),
        "transfer": borrowed,
        "twice eps": naive(classifier, x, y, LpBall(2 * threat.eps, math.inf), steps=20),
        "no limit": naive(classifier, x, y, LpBall(1.0, math.inf), steps=20),
    }
    return {"pgd": pgd, **{name: accuracy(classifier, x_adv) for name, x_adv in found.items()}}

torch.manual_seed(0)
table = {"no defence": measure(model, bare)}
for name, classifier in tqdm(defended.items()):
    table[name] = measure(classifier, claimed[name])
your_symptoms = checks.yours("symptoms", evaluation.broken_rules)
signs = {name: your_symptoms(measured) for name, measured in table.items()}
rows = [" " * 13 + "  ".join(f"{name:>9}" for name in table["no defence"])]
rows += [f"{name:>12} " + "  ".join(f"{share:>9.1%}" for share in measured.values())
         for name, measured in table.items()]
rows += [""] + [f"{name:>12}: {', '.join(broken) or 'no rule broken'}" for name, broken in signs.items()]
checks.reveal(my_guess, f"{len(signs['grey levels'])} of 5: {', '.join(signs['grey levels'])}",
              "\n".join(["", *rows]))

# %% [markdown]
# The network without a defence breaks no rule: its low number is to be believed. The three others give themselves away, each in its own manner. All of them are fooled by examples that were made for the bare network, far better than by what their own gradients lead to within the same ball: *the adversarial examples are there*. (The noise needs no other model even: one step does far more than forty.) Two of the rules none of the three breaks: random points do no better than PGD, and twice the ε helps, if only a little. A rule that is kept proves nothing; one that is broken accuses. And where the accusation hangs on a point or two, as the noise's “no limit” does, it is no more than a reason to measure with more images.
#
# The package has a report that looks for such signs, and for others that only show inside an attack. The upper lines count which images each attack fools; the lower ones count images by what went on during PGD: is the gradient at $\mathbf x$ exactly zero, or in most of the steps, did the loss ever rise, is the gradient another one at a second call? Below stands what is suspicious, with a way out. Here is the report on the temperature, for 50 digits. What its first doubt says about the softmax is the subject of section 6.6: read it again after that.

# %% demo="report"
torch.manual_seed(0)
evaluation.attack_report(temperature, x[:50], y[:50], threat, steps=10, restarts=1,
                         surrogate=model, generator=seeded())

# %% [markdown]
# ## 6.3 A look at the landscape
#
# Numbers accuse; a picture explains. Take one image and two directions: $\mathbf v$, towards an adversarial example, and a random one, $\mathbf w$. The loss over the plane that they span,
#
# $$\ell(a, b) = \mathcal L\big(f(\mathbf x + a\,\mathbf v + b\,\mathbf w), y\big), \qquad a, b \in [-1, 1],$$
#
# is what an attack has to climb. For a fair picture $\mathbf w$ should be **orthogonal** to $\mathbf v$ (else moving along $b$ would also be moving along $a$) and **as long** as $\mathbf v$ (else one axis would be stretched). From a random $\mathbf r$ one gets it by taking away its part along $\mathbf v$ and then scaling:
#
# $$\mathbf u = \mathbf r - \frac{\langle \mathbf r, \mathbf v\rangle}{\langle\mathbf v, \mathbf v\rangle}\,\mathbf v, \qquad \mathbf w = \frac{\lVert\mathbf v\rVert_2}{\lVert\mathbf u\rVert_2}\,\mathbf u.$$
#
# ### Exercise 6.3: the loss surface · medium · 15 minutes · 3 points
#
# Compute the table of losses behind such a picture. Points outside of $[0, 1]$ are left as they are: the picture is about the function, not about images.
#
# <details><summary>Hint 1</summary>
# Inner products of images: multiply, then sum over everything.
# </details>
# <details><summary>Hint 2</summary>
# <code>torch.linspace(-1, 1, n)</code> gives the values of a and of b. Two loops with one call of the model each would do; faster is one batch of all n² points. <code>losses.cross_entropy(logits, labels)</code> gives one loss per point, and needs n² labels: <code>y.expand(n * n)</code>.
# </details>

# %% solution="loss_surface"
def loss_surface(model, x: torch.Tensor, y: torch.Tensor, v: torch.Tensor, r: torch.Tensor,
                 n: int) -> torch.Tensor:
    """The cross-entropy at x + a v + b w, for n values of a and n of b, evenly from -1 to 1.

    model: returns logits (N, K). x: one image, (1, C, H, W) or any (1, ...). y: its label, (1,).
    v: a direction like x. r: another one, from which w is made: orthogonal to v, of v's length.
    n: 2 or more. Nothing is clamped.
    Returns (n, n) losses in the dtype of x: row i belongs to the i-th value of a, column j to the
    j-th value of b.
    """
    ### BEGIN SOLUTION
    u = r - (r * v).sum() / (v * v).sum() * v
    w = u * v.norm() / u.norm()
    values = torch.linspace(-1, 1, n, dtype=x.dtype)
    rows = []
    with torch.no_grad():
        for value in values:
            line = [x + value * v + across * w for across in values]
            rows.append(losses.cross_entropy(model(torch.cat(line)), y.expand(n)))
    return torch.stack(rows)
    ### END SOLUTION

# %% test="loss_surface" points=3
# Run this cell to check your loss_surface. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data, plots
from coursekit.checks import expect

exercise = checks.Exercise("loss_surface", points=3, by_hand=[
    "coursekit.plots.surfaces.loss_plane", "coursekit.plots.loss_plane", "coursekit.plots.surfaces.across", "coursekit.plots.across"])
linear = checks.network(("flatten",), ("linear", torch.tensor([[1.0, -2.0, 0.5], [0.5, 1.0, 3.0]]), None), name="a linear classifier")

def like_surface(got, spec, x, y, v, r, n):
    got = expect.tensor(got, shape=(n, n), dtype=x.dtype)
    network, w = spec.build(), plots.across(v, r)
    part = (r * v).sum()

    def other(x=x, v=v, w=w, model=network):
        return plots.loss_plane(model, x, y, v, w, points=n)[0]

    def without(share, scaled=True):  # r without so much of v
        rest = r - share * v
        return other(w=v.norm() * rest / rest.norm() if scaled else rest)

    expected = other()
    expect.close(got, expected, mistakes={
        "Rows and columns are exchanged: row i belongs to the i-th value of a, the factor of v.": expected.T,
        "The second direction is r itself. Take away its part along v, and give it the length of v.": other(w=r),
        "You scale first and take the part along v away afterwards, which makes the rest shorter again. First take it away, then scale.":
            other(w=(lambda long: long - (long * v).sum() / v.square().sum() * v)(r * v.norm() / r.norm())),
        "The second direction is orthogonal to v, but it has another length than v.": without(part / v.square().sum(), scaled=False),
        "The second direction has the length of v, but it is not orthogonal to v.": without(0),
        "The second direction has length 1. It should be as long as v.": other(w=w / w.norm()),
        "Both directions have length 1. v stays as it is, and w gets the length of v.": other(v=v / v.norm(), w=w / w.norm()),
        "The part along v is not quite removed: divide the inner product of r and v by that of v with itself.": without(part),
        "You divide by the length of v. It is the inner product of v with itself, the square of the length.": without(part / v.norm()),
        "The points are clamped to [0, 1]. Here nothing is.": other(model=lambda z: network(z.clamp(0, 1))),
        "a runs from 1 to -1. It should run from -1 to 1.": expected.flip(0),
        "b runs from 1 to -1. It should run from -1 to 1.": expected.flip(1),
        "Both a and b run from 1 to -1.": expected.flip(0, 1),
        "The directions are not added to x.": other(x=torch.zeros_like(x)),
        "This is the negative of the loss.": -expected,
    }, hint="First make w from r: is it orthogonal to v, and as long? Then the loss of y at each x + a v + b w, a and b from -1 to 1.")

@exercise.case("a linear classifier, three by three")
def _(loss_surface):
    x, y = torch.tensor([[[[0.5, 0.2, 0.9]]]]), torch.tensor([0])
    v, r = torch.tensor([[[[0.3, -0.3, 0.6]]]]), torch.tensor([[[[1.0, 0.5, 0.25]]]])
    like_surface(loss_surface(linear, x, y, v, r, 3), linear, x, y, v, r, 3)

@exercise.case("a real digit, seven by seven")
def _(loss_surface):
    digits, cnn = data.load("mnist", "test"), checks.model("mnist_cnn")
    x, y = digits.x[3:4], digits.y[3:4]
    v = 0.2 * torch.randn(x.shape).sign()
    r = 4 * v + torch.randn(x.shape)  # far from orthogonal to v
    like_surface(loss_surface(cnn, x, y, v, r, 7), cnn, x, y, v, r, 7)
    expect.unchanged(loss_surface)

### BEGIN HIDDEN TESTS
@exercise.case("another shape, more classes, float64, an even n", hidden=True, hint="Nothing may be written out: shapes, n, the dtype.")
def _(loss_surface):
    net = checks.network(("flatten",), ("linear", torch.randn(6, 12, dtype=torch.float64), torch.randn(6, dtype=torch.float64)), ("tanh",),
                         ("linear", 3 * torch.randn(4, 6, dtype=torch.float64), None))
    x, v, r = torch.rand(1, 3, 2, 2, dtype=torch.float64), torch.randn(1, 3, 2, 2, dtype=torch.float64), torch.randn(1, 3, 2, 2, dtype=torch.float64)
    like_surface(loss_surface(net, x, torch.tensor([2]), v, r, 4), net, x, torch.tensor([2]), v, r, 4)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Four landscapes of the loss, without a defence and with three. Each has the image in its middle. To the right, where $a$ grows, it goes towards an adversarial example of the bare network. Orange is where the model is wrong; the height of each is its own (see the numbers on the left).

# %% demo="landscapes"
torch.manual_seed(0)
seven = slice(3, 4)
v = 0.2 * attacks.input_gradient(model, x[seven], y[seven]).sign()
r = torch.randn(v.shape, generator=seeded(1)).sign()
plots.loss_surfaces({"no defence": model, **defended}, x[seven], y[seven], v, plots.across(v, r),
                    points=81)

# %% [markdown]
# * **No defence**: a smooth slope. The gradient at $\mathbf x$ points up it.
# * **Grey levels**: the same mountain, cut into terraces. On a terrace the gradient is exactly zero; on the cliffs between them there is none. It is *shattered*.
# * **Noise**: the same mountain, torn. Each call draws another surface; a gradient is that of one draw, which will never be seen again.
# * **Temperature**: flat ground up to the cliff, then a hundred times as steep (look at the height). The gradient has *vanished*: it is there on paper, and rounded to zero in the computer.
#
# The orange region is at about the same place in all four. With the temperature no decision boundary has moved by a hair: the order of the logits is the same everywhere. With grey levels and noise they have hardly moved.
#
# ## 6.4 Shattered gradients: go straight through
#
# Let $q$ be the rounding and $g$ the network behind it, so $f(\mathbf x) = g(q(\mathbf x))$. The chain rule multiplies with the derivative of $q$, which is zero, and all is lost. But $q$ hardly changes an image: $q(\mathbf x) \approx \mathbf x$. So pretend, *in the backward pass only*, that $q$ were the identity, with derivative 1:
#
# $$\nabla_{\mathbf x}\, \mathcal L\big(g(q(\mathbf x)), y\big) \;\approx\; \nabla_{\mathbf z}\, \mathcal L\big(g(\mathbf z), y\big)\Big|_{\mathbf z = q(\mathbf x)}.$$
#
# This is the **straight-through estimator** (Bengio et al. 2013). As an attack it is called *backward pass differentiable approximation*, BPDA, and works with any smooth stand-in for $q$, not only with the identity (Athalye et al. 2018, section 4.1). Note where the right-hand side is taken: at $q(\mathbf x)$, the image that the network really sees.
#
# ### Exercise 6.4a: the straight-through gradient · medium · 10 minutes · 3 points
#
# Return it for every image of a batch. A defended model has two parts that you may call: `defended.transform(x)` is $q(\mathbf x)$, and `defended.model(z)` gives the logits $g(\mathbf z)$. `attacks.input_gradient(model, x, y)` is the gradient of each image's own cross-entropy, for any classifier.
#
# <details><summary>Hint 1</summary>
# The formula's right-hand side has no q in it that would have to be differentiated. First compute z, then take a gradient at z.
# </details>
# <details><summary>Hint 2</summary>
# The other way, useful inside of larger programs: <code>x + (q(x) - x).detach()</code> has the value of q(x) and the derivative of x.
# </details>

# %% solution="straight_through_gradient"
def straight_through_gradient(defended, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The gradient of each image's cross-entropy by x, with the transform taken for the identity.

    defended: has transform, images -> images of the same shape, and model, images -> logits (B, K).
    x: (B, ...) images in [0, 1]. y: (B,) labels. Returns a tensor like x.
    """
    ### BEGIN SOLUTION
    seen = defended.transform(x)
    return attacks.input_gradient(defended.model, seen, y)
    ### END SOLUTION

# %% test="straight_through_gradient" points=3
# Run this cell to check your straight_through_gradient. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import attacks, checks, data, defenses
from coursekit.checks import expect

exercise = checks.Exercise("straight_through_gradient", points=3, by_hand=[
    "coursekit.defenses.bpda", "coursekit.defenses.straight_through", "coursekit.defenses.adaptive.bpda",
    "coursekit.defenses.adaptive.straight_through"])
weight = torch.tensor([[4.0, -2.0, 1.0], [0.0, 3.0, -5.0], [1.0, 1.0, 2.0]])

@exercise.case("a linear classifier behind five grey levels, where the gradient is known")
def _(straight_through_gradient):
    spec = checks.defended("quantized", checks.network(("linear", weight, None), name="a linear classifier"), levels=5)
    x, y = torch.tensor([[0.37, 0.61, 0.1], [0.88, 0.38, 0.62]]), torch.tensor([0, 2])

    def gradient(z):
        return ((z @ weight.T).softmax(dim=1) - torch.eye(3)[y]) @ weight

    q = (4 * x).round() / 4
    expect.close(straight_through_gradient(spec, x, y), gradient(q), mistakes={
        "All zero: that is the true gradient, through the rounding. Where must the rounding not be differentiated?": torch.zeros(2, 3),
        "This is the gradient at x. The network sees q(x): take it there.": gradient(x),
        "The sign is wrong: this is the gradient of minus the loss. (With detach: x has to keep its gradient, and q(x) - x has to lose it, "
        "x + (q(x) - x).detach().)": -gradient(q),
        "Only the sign is left. Here the gradient itself is asked for.": gradient(q).sign(),
        "Each gradient is divided by the number of images: the losses were averaged.": gradient(q) / 2,
        "At x, and divided by the number of images: the losses were averaged, and the network sees q(x).": gradient(x) / 2,
        "Twice the gradient: backward() adds to .grad. Call it once, or clear .grad before.": 2 * gradient(q),
        "This is the image that the network sees. Its gradient is asked for.": q,
        "The gradient is multiplied by the number of levels less one: the factor in front of the rounding was differentiated, "
        "the one behind it was not.": 4 * gradient(q),
    }, hint="Is it the gradient of the cross-entropy of y, of the network behind the rounding, at q(x)?")

@exercise.case("real digits: each image has the gradient that it would have alone")
def _(straight_through_gradient):
    digits = data.load("mnist", "test")
    spec = checks.defended("quantized", checks.model("mnist_cnn"), levels=4)
    x, y = digits.x[10:15], digits.y[10:15]
    got, built = expect.tensor(straight_through_gradient(spec, x, y), like=x), spec.build()
    expected, at_x = (attacks.input_gradient(network, x, y) for network in (defenses.bpda(built), built.model))
    expect.that(bool(got.any()), "zero everywhere", "a gradient that shows the way",
                "The derivative of the rounding is zero. Do not differentiate it.")
    scale = expected.flatten(1).abs().amax(dim=1).view(-1, 1, 1, 1)
    expect.close(got / scale, expected / scale, tolerance=1e-3, mistakes={
        "This is the gradient at x. The network sees q(x): take it there.": at_x / scale,
        "The losses were averaged over the batch.": expected / 5 / scale,
    }, hint="The gradient of the network's loss, taken at q(x), for each image its own.")

@exercise.case("model and images are left as they were")
def _(straight_through_gradient):
    spec = checks.defended("quantized", checks.network(("linear", weight, None)), levels=3)
    x = torch.tensor([[0.3, 0.6, 0.9]])
    got = expect.tensor(straight_through_gradient(spec, x, torch.tensor([1])), like=x)
    expect.that(bool(got.any()), "zero everywhere", "a gradient", "The derivative of the rounding is zero. Do not differentiate it.")
    expect.unchanged(straight_through_gradient)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, classes and levels, float64", hidden=True, hint="At q(x), for any shape, in the dtype of x; y, not the predicted class.")
def _(straight_through_gradient):
    net = checks.network(("flatten",), ("linear", 2 * torch.randn(6, 8, dtype=torch.float64), None), ("tanh",),
                         ("linear", 2 * torch.randn(5, 6, dtype=torch.float64), None))
    for levels in (2, 7):
        spec, x, y = checks.defended("quantized", net, levels=levels), torch.rand(3, 2, 2, 2, dtype=torch.float64), torch.tensor([4, 0, 2])
        built = spec.build()
        expect.tensor(straight_through_gradient(spec, x, y), like=x)
        expect.close(straight_through_gradient(spec, x, y), attacks.input_gradient(defenses.bpda(built), x, y))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Before you break anything, watch both attackers on one digit. On the left the image and the verdict. In the middle the loss of the *defended* model on the straight way to an adversarial example, with an arrow for what the attacker believes its slope to be. On the right how far the right class is ahead, after every step of the attack. Change the defence, then the attacker from "naive" to "adaptive".

# %% demo="explorer"
widgets.defence_explorer(model, x, y, image=78)

# %% [markdown]
# <details><summary>Four things worth seeing in the picture</summary>
#
# 1. Grey levels, naive: the arrow lies flat, and so does the path on the right, whatever the number of steps and ε. The staircase in the middle goes up all the same. Adaptive: the arrow leans up, and the path follows.
# 2. Noise, naive: the attack stops at the first lucky draw (the ring on the right; from there on the image stays as it is, and only the answers differ). The dashed line is the mean of sixteen answers, the band runs from the lowest to the highest: how many of the sixteen are wrong stands above the image. Try several images, 18 for instance.
# 3. Temperature, naive: a plain as flat as the terraces, until the loss rises all at once (mind the numbers at the axis). Adaptive changes nothing but the loss.
# 4. No defence: both attackers step along the same gradient. They differ in one thing: the naive one stops as soon as the model is fooled, the adaptive one goes on to the last step.
# </details>
#
# ### Exercise 6.4b: break the grey levels · medium · 10 minutes · 2 points
#
# Write an attack that gets through. It is not compared with any other: what counts is the **robust accuracy that it leaves**, on the defended model, within the ball. The balls are small enough that a single step does not do. (A good transfer attack would, and counts: see the notes below.) At hand are `attacks.input_gradient(model, x, y)`, `LpBall(eps, math.inf).project(x_tilde, x)`, and `attacks.pgd(model, x, y, LpBall(eps, math.inf), steps=20)`, which takes any function from images to logits for a model.
#
# <details><summary>Hint 1</summary>
# PGD, with one line changed: which gradient does it step along? 20 steps of size eps / 8 do.
# </details>
# <details><summary>Hint 2</summary>
# Or hand PGD another model: a function that returns the same logits as the defended one, and has a better gradient. Hint 2 of the last exercise makes one.
# </details>

# %% solution="break_quantized"
def break_quantized(defended, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """An untargeted attack in the L-inf ball of radius eps on a model that rounds its images.

    defended: images -> logits (B, K), with the parts defended.transform and defended.model.
    x: (B, ...) images in [0, 1]. y: (B,) labels.
    Returns x_adv like x, in the ball and in [0, 1], on which the defended model should be wrong.
    """
    ### BEGIN SOLUTION
    ball, candidate = LpBall(eps, math.inf), x
    for _step in range(20):
        uphill = attacks.input_gradient(defended.model, defended.transform(candidate), y).sign()
        candidate = ball.project(candidate + eps / 8 * uphill, x)
    return candidate
    ### END SOLUTION

# %% test="break_quantized" points=2
# Run this cell to check your break_quantized. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data
from coursekit.checks import expect

exercise = checks.Exercise("break_quantized", points=2, by_hand=[
    "coursekit.defenses.bpda", "coursekit.defenses.straight_through", "coursekit.defenses.adaptive.bpda",
    "coursekit.defenses.adaptive.straight_through"])
digits = data.load("mnist", "test")

def left(x_adv, spec, y):
    with torch.no_grad():
        return (spec.build()(x_adv).argmax(dim=1) == y).float().mean().item()

def judge(attack, spec, images, eps, allowed):
    x, y = digits.x[images], digits.y[images]
    x_adv = expect.tensor(attack(spec, x, y, eps), like=x)
    expect.inside(x_adv, x, eps)
    rest, untouched = left(x_adv, spec, y), left(x, spec, y)
    if float((x_adv - x).abs().max()) < 1e-6:
        hint = ("The images did not move at all. Is it the straight-through gradient (the one through the rounding is zero)? And project takes "
                "the new point first, then the centre of the ball: project(x_tilde, x).")
    elif rest > 0.7 * untouched:
        hint = ("Hardly an image is fooled, so more steps will not help. Is it the straight-through gradient, or still that of the rounding, "
                "which is zero and leaves the images where a random start put them? And does every step go up the loss of y?")
    else:
        hint = "Some are fooled, others not yet: many steps, each with a fresh gradient at the current iterate, up to the edge of the ball?"
    expect.that(rest <= allowed, f"{rest:.0%} of the images still right", f"at most {allowed:.0%}, of {untouched:.0%} without an attack", hint)

@exercise.case("8 grey levels, eps = 0.1: the robust accuracy that is left, in the ball")
def _(break_quantized):
    judge(break_quantized, checks.defended("quantized", checks.model("mnist_cnn"), levels=8), slice(0, 20), 0.1, 0.32)
    expect.unchanged(break_quantized)

@exercise.case("16 grey levels, eps = 0.12")
def _(break_quantized):
    judge(break_quantized, checks.defended("quantized", checks.model("mnist_cnn"), levels=16), slice(20, 40), 0.12, 0.32)

### BEGIN HIDDEN TESTS
@exercise.case("other images, another network, other levels, another eps", hidden=True,
               hint="The attack must get its parts from the model that it is given: defended.transform and defended.model.")
def _(break_quantized):
    judge(break_quantized, checks.defended("quantized", checks.model("mnist_cnn"), levels=16), slice(40, 60), 0.12, 0.32)
    judge(break_quantized, checks.defended("quantized", checks.model("mnist_mlp"), levels=6), slice(40, 60), 0.2, 0.25)
### END HIDDEN TESTS

exercise.score()

# %% demo="grey-levels-broken"
def reference_break_quantized(defended, x, y, eps):
    through = defenses.bpda(defended)
    return attacks.pgd(through, x, y, LpBall(eps, math.inf), steps=20, generator=seeded())

def tell(name):
    print(f"{name}: claimed {claimed[name]:.0%}, left {broken[name]:.0%}; no defence: {bare:.0%}")

your_attack = checks.yours("break_quantized", reference_break_quantized)
broken = {"grey levels": accuracy(grey_levels, your_attack(grey_levels, x, y, threat.eps))}
tell("grey levels")
narrow = LpBall(0.1, math.inf)
with_it = accuracy(grey_levels, attacks.pgd(defenses.bpda(grey_levels), x, y, narrow, generator=seeded()))
without = accuracy(model, attacks.pgd(model, x, y, narrow, generator=seeded()))
print(f"With eps = {narrow.eps}, straight through: left {with_it:.0%}; no defence: {without:.0%}")

# %% [markdown]
# Look at the last line: at a smaller ε the defended network is *easier* to fool than the bare one. Half a level is 1/14, about 0.07. A push of 0.1 takes a black pixel over that edge, and the rounding makes it a whole level, 1/7. It works for whoever knows it.
#
# Three notes. **First**, the transfer attack did about as well: take the rounding away, attack what remains, and try the result. A step in front of the network that hardly changes an image hardly changes its adversarial examples. **Second**, what is reported is the accuracy of the *defended* model; the stand-in served the search only. **Third**, the defence is not quite worthless, and it would be dishonest to say so: with two or three levels, digits that are nearly black and white, and an ε below half a level, most pixels cannot be moved to another level at all. (Try `defenses.Quantized(model, levels=3)`. That is a smaller $\mathcal P(\mathbf x)$, not a better classifier, and a larger ε ends it.)
#
# ## 6.5 Random gradients: fooled once is not fooled
#
# The noise draws anew at every call. Is $\tilde{\mathbf x}$ adversarial, then? That is no longer a yes or no. For a random classifier the honest quantity is the **expected** accuracy: the probability, over its own randomness, of a right answer,
#
# $$\frac1N\sum_{n=1}^{N} \Pr_{\boldsymbol\xi}\big[f(\tilde{\mathbf x}^{(n)}, \boldsymbol\xi) = y^{(n)}\big],$$
#
# estimated by asking $S$ times about each image.
#
# ### Exercise 6.5a: three ways to count · easy · 10 minutes · 2 points
#
# Given the logits of $S$ draws for each image, count three things: the share of the images that are fooled *in at least one* draw, the share of all draws, *on average*, that are fooled, and the share of the images that are fooled *in every* draw.
#
# <details><summary>Hint</summary>
# First a table of booleans (B, S): is this draw of this image wrong? <code>y[:, None]</code> has the shape (B, 1). Then <code>.any(dim=1)</code>, <code>.all(dim=1)</code> and <code>.float().mean()</code>.
# </details>

# %% solution="fooled_shares"
def fooled_shares(logits: torch.Tensor, y: torch.Tensor) -> tuple[float, float, float]:
    """How much of a batch is fooled: once, on average, always.

    logits: (B, S, K), S draws for each of B images. y: (B,) labels.
    Returns three numbers in [0, 1]: the share of the images with at least one wrong draw; the share
    of all B * S draws that are wrong; the share of the images with no right draw.
    """
    ### BEGIN SOLUTION
    wrong = logits.argmax(dim=2) != y[:, None]
    once, always = wrong.any(dim=1), wrong.all(dim=1)
    return tuple(part.float().mean().item() for part in (once, wrong, always))
    ### END SOLUTION

# %% test="fooled_shares" points=2
# Run this cell to check your fooled_shares. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("fooled_shares", points=2)

def three(got):
    """Three numbers, as a tensor (3,), whether they came as a tuple, a list or a tensor."""
    if isinstance(got, torch.Tensor):
        got = got.tolist() if got.ndim == 1 else got
    expect.that(got is not None, "None", "three numbers", "Did you forget a return?")
    expect.that(isinstance(got, list) and len(got) == 3, got, "three numbers", "Return three: once, on average, always.")
    return torch.tensor([expect.number(part) for part in got], dtype=torch.float64)

def logits_for(predicted, classes):
    return torch.nn.functional.one_hot(torch.tensor(predicted), classes).float() * 3 - 1

@exercise.case("four images, two draws each", hint="If the shapes do not match: y[:, None] has the shape (B, 1), beside a table (B, S).")
def _(fooled_shares):
    # Wrong in both draws, in one, in none, in both.
    logits, y = logits_for([[1, 2], [0, 1], [2, 2], [0, 2]], 3), torch.tensor([0, 0, 2, 1])
    mean = (logits.mean(dim=1).argmax(dim=1) != y).double().mean().item()
    over_draws = logits.argmax(dim=1) != y[:, None]
    expect.close(three(fooled_shares(logits, y)), torch.tensor([0.75, 0.625, 0.5]), mistakes={
        "These are 1 less what is asked for: the right ones instead of the fooled ones.": torch.tensor([0.25, 0.375, 0.5]),
        "You count right draws: right once, on average, always. Asked for is what is fooled.": torch.tensor([0.5, 0.375, 0.25]),
        "The order is: once, on average, always.": torch.tensor([0.5, 0.625, 0.75]),
        "These are counts, not shares: divide by the number of images, or of draws.": torch.tensor([3.0, 5.0, 2.0]),
        "The mean of the draws counts draws of all images: divide by B * S.": torch.tensor([0.75, 1.25, 0.5]),
        "The logits of the draws are averaged first. Each draw is an answer of its own.": torch.tensor([mean, mean, mean]),
        "The argmax runs over the draws. The classes are the last dimension: argmax(dim=2).":
            torch.tensor([part.double().mean() for part in (over_draws.any(dim=1), over_draws, over_draws.all(dim=1))]),
        "any and all run over the images. They belong over the draws of each image: dim=1.": torch.tensor([1.0, 0.625, 0.0]),
        "These are percentages. Shares lie between 0 and 1.": torch.tensor([75.0, 62.5, 50.0]),
    }, hint="A table of booleans first, image by draw: is the largest of the K logits (dim=2) another one than that of y? "
            "Then any, mean, all.")

@exercise.case("three images, three draws")
def _(fooled_shares):
    predicted, y = torch.tensor([[3, 3, 3], [0, 1, 0], [2, 0, 1]]), torch.tensor([3, 0, 0])
    across = predicted != y  # each label held against a draw instead of an image
    expect.close(three(fooled_shares(logits_for(predicted.tolist(), 4), y)), torch.tensor([2 / 3, 1 / 3, 0.0]), mistakes={
        "These are the shares that are right. Asked for is what is fooled.": torch.tensor([1.0, 2 / 3, 1 / 3]),
        "These are percentages. Shares lie between 0 and 1.": torch.tensor([200 / 3, 100 / 3, 0.0]),
        "Each label is held against a draw instead of an image. y[:, None] has the shape (B, 1): one label for a whole row.":
            torch.tensor([part.double().mean() for part in (across.any(dim=1), across, across.all(dim=1))]),
    }, hint="Wrong draws: none of three, one of three, two of three.")

### BEGIN HIDDEN TESTS
@exercise.case("many images, other numbers of draws and classes", hidden=True, hint="Nothing may be written out: B, S and K are in the shape.")
def _(fooled_shares):
    for b, s, k in ((40, 7, 3), (1, 1, 2), (9, 30, 12)):
        logits, y = torch.randn(b, s, k, dtype=torch.float64), torch.randint(0, k, (b,))
        table = torch.tensor([[bool(logits[i, j].argmax() != y[i]) for j in range(s)] for i in range(b)])
        expected = [sum(1 for row in table if row.any()) / b, table.double().mean().item(), sum(1 for row in table if row.all()) / b]
        expect.close(three(fooled_shares(logits, y)), torch.tensor(expected))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# **Predict**: we take the 100 images that the naive PGD made for the noisy network. It stopped at each as soon as the network was fooled, and after 40 steps at the latest. We ask the network twenty times about each. In how many of the twenty answers, on average, is it fooled?

# %%
my_guess = None  # replace None by a number from 0 to 20

# %% demo="asked-again"
torch.manual_seed(0)
x_naive = naive(noise, x, y, threat)
with torch.no_grad():
    answers = torch.stack([noise(x_naive) for _ in range(20)], dim=1)  # (B, S, K)
wrong = answers.argmax(dim=2) != y[:, None]
checks.reveal(my_guess, f"{20 * wrong.float().mean():.1f} of 20",
              f"Fooled in at least one of 20 answers: {wrong.any(dim=1).float().mean():.0%} of the images;\n"
              f"on average over the answers: {wrong.float().mean():.0%}; "
              f"in every answer: {wrong.all(dim=1).float().mean():.0%}.")

# %% [markdown]
# So the naive attack has been too easily content. It stopped at the first draw that happened to be wrong, often at a point where most draws are right. Every step is a lottery ticket. And PGD chooses its step as 2.5 ε / steps: more steps are shorter ones, and the first lucky draw comes when the image has hardly moved. So this attack gets *worse* the more steps it is given, which no sane attack does. Of all symptoms this is the plainest, so let us draw it for 50 of the digits:

# %% demo="more-is-less"
torch.manual_seed(0)
allowed = (1, 2, 5, 10, 20, 40, 100)
kept = [accuracy(noise, naive(noise, x[:50], y[:50], threat, steps=steps), y[:50]) for steps in allowed]
plots.curves({"noise, naive PGD": (allowed, kept)}, chance=None, xlabel="steps that PGD may take",
             ylabel="accuracy that is left", title="The more steps, the weaker the attack")

# %% [markdown]
# The defence was not strong; the *criterion of success* was wrong, and so was the objective. What is to be maximised is the expected loss, and its gradient is an expectation, too:
#
# $$\nabla_{\mathbf x}\, \mathbb E_{\boldsymbol\xi}\big[\mathcal L(f(\mathbf x, \boldsymbol\xi), y)\big] = \mathbb E_{\boldsymbol\xi}\big[\nabla_{\mathbf x} \mathcal L(f(\mathbf x, \boldsymbol\xi), y)\big] \;\approx\; \frac1S\sum_{s=1}^{S} \nabla_{\mathbf x} \mathcal L(f(\mathbf x, \boldsymbol\xi_s), y).$$
#
# You know this from the stickers of assignment 05: *expectation over transformations* (EOT), with the defender's randomness in place of the camera's.
#
# ### Exercise 6.5b: the averaged gradient · medium · 10 minutes · 3 points
#
# Return the mean of the gradients of `samples` draws, for each image. Average **losses** (or gradients), not logits: the loss of the mean logits is another function, which no single answer of the model has. The model draws anew every time that it is called, and for every image of a batch.
#
# <details><summary>Hint</summary>
# <code>attacks.input_gradient(model, x, y)</code> calls the model once, so it is the gradient of one draw.
# </details>

# %% solution="averaged_gradient"
def averaged_gradient(model, x: torch.Tensor, y: torch.Tensor, samples: int) -> torch.Tensor:
    """The mean over `samples` draws of the gradient of each image's cross-entropy by x.

    model: images -> logits (B, K), at random: other ones at every call, with draws of its own for
    each image. x: (B, ...) images. y: (B,) labels. samples: 1 or more. Returns a tensor like x.
    """
    ### BEGIN SOLUTION
    draws = [attacks.input_gradient(model, x, y) for _ in range(samples)]
    return torch.stack(draws).mean(dim=0)
    ### END SOLUTION

# %% test="averaged_gradient" points=3
# Run this cell to check your averaged_gradient. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import attacks, checks, data, defenses, losses
from coursekit.attacks.common import goal
from coursekit.checks import expect

exercise = checks.Exercise("averaged_gradient", points=3, by_hand=[
    "coursekit.defenses.averaged", "coursekit.defenses.adaptive.averaged", "coursekit.attacks.expectation", "coursekit.attacks.views"])
weight = torch.tensor([[6.0, -4.0, 1.0, 2.0], [0.0, 5.0, -6.0, 3.0], [2.0, 1.0, 4.0, -7.0]])
linear = checks.network(("linear", weight, None), name="a linear classifier")
points = torch.tensor([[0.5, 0.4, 0.6, 0.3], [0.2, 0.7, 0.5, 0.6], [0.6, 0.3, 0.2, 0.5]])
labels = torch.tensor([0, 2, 1])

def mean_gradient(spec, x, y, samples):
    """The reference: the gradient of the mean loss over so many looks."""
    return attacks.input_gradient(defenses.averaged(spec.build(), samples), x, y, goal(y, None, losses.cross_entropy).objective)

@exercise.case("without randomness it is the gradient, whatever the number of samples")
def _(averaged_gradient):
    expected = attacks.input_gradient(linear.build(), points, labels)
    for samples in (1, 4):
        expect.close(averaged_gradient(linear, points, labels, samples), expected, mistakes={
            "This is the sum over the draws. Divide by their number.": samples * expected,
            "Divided by the number of samples once too often.": expected / samples,
            "The losses were averaged over the batch as well: each image has its own gradient.": expected / 3,
            "The losses were averaged over the batch as well, and the draws are added up.": samples * expected / 3,
            "The sign is wrong: this is the gradient of minus the loss.": -expected,
            "Only signs are left. Average the gradients; a sign may come later.": expected.sign(),
        }, hint="All draws are the same here, so their mean is the gradient of one.")

def near(averaged_gradient, spec, x, y, samples):
    """Averaging makes the error of a single draw far smaller; if it is not small, what was averaged instead?"""
    expected, built = mean_gradient(spec, x, y, 20_000), spec.build()
    got = expect.tensor(averaged_gradient(spec, x, y, samples), like=x)
    single = torch.stack([attacks.input_gradient(built, x, y) for _ in range(100)])
    typical = (single - expected).flatten(1).norm(dim=1).mean().item()
    error, size = (got - expected).norm().item(), expected.norm().item()
    z = x.clone().requires_grad_(True)
    logits = built(z.repeat_interleave(4000, dim=0)).unflatten(0, (len(x), 4000)).mean(dim=1)
    of_mean_logits = torch.autograd.grad(losses.cross_entropy(logits, y).sum(), z)[0]
    signs = single.sign().mean(dim=0)
    along = (got * expected).sum().item() / size**2  # how many times the right length, if the direction is right
    aside = (got - along * expected).norm().item()
    if (got - of_mean_logits).norm() < 0.5 * (of_mean_logits - expected).norm():
        hint = "This is the gradient of the loss of the mean logits. Average the losses, or the gradients, of the draws."
    elif (got - expected.mean(dim=0)).norm() < 0.3 * typical:
        hint = ("All images have about the same gradient: the images were mixed when the copies were taken apart. After "
                "torch.cat([x] * samples) the first dimension is (samples, B), not (B, samples).")
    elif aside < 0.3 * along * typical and along > 1.5:
        hint = f"The direction is right, the length is {along:.0f} times what it should be: the sum over the draws. Divide by their number."
    elif aside < 0.3 * along * typical and along < 0.75:
        hint = (f"The direction is right, but only {along:.2g} of the length is there. Is every draw added up, divided once by their number, "
                "and nothing averaged over the batch?")
    elif (got - signs).norm() < 0.5 * signs.norm():
        hint = "These are averaged signs. Average the gradients; a sign may come later."
    elif got.norm() < 0.1 * size:
        hint = "Hardly anything is left. Is one draw alone divided by the number of all? Add all of them up first."
    elif error > 0.5 * typical:
        hint = "The result is about as far off as a single draw. Does every draw call the model anew, and do all of them count?"
    else:
        hint = "Are all the draws averaged, with the same weight?"
    expect.that(error < 0.25 * typical, f"off by {error:.2g}, where a single draw is off by {typical:.2g}",
                f"the error of a mean of {samples} draws, a quarter of a single one's at most", hint)

@exercise.case("with noise: near the mean of many draws, nearer than a single draw")
def _(averaged_gradient):
    near(averaged_gradient, checks.defended("noise", linear, sigma=0.5), points, labels, 400)
    expect.unchanged(averaged_gradient)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes and classes, float64, one image", hidden=True, hint="Nothing may be written out; the mean of all draws, in the dtype of x.")
def _(averaged_gradient):
    net = checks.network(("flatten",), ("linear", 5 * torch.randn(4, 8, dtype=torch.float64), None))
    x, y = torch.rand(3, 2, 2, 2, dtype=torch.float64), torch.tensor([3, 0, 1])
    expect.close(averaged_gradient(net, x[:1], y[:1], 3), attacks.input_gradient(net.build(), x[:1], y[:1]))
    near(averaged_gradient, checks.defended("noise", net, sigma=0.5), x, y, 300)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Exercise 6.5c: break the noise · medium · 10 minutes · 2 points
#
# Again what counts is what your attack leaves, and now that is the *expected* accuracy: the defended model is asked twenty times about each of your images. No draw is a reason to stop. The check hands you the defended model in one piece, images in, logits out: there is no `defended.model` to step aside to. `attacks.input_gradient(defended, x, y)` is the gradient of one draw, and `LpBall(eps, math.inf).project(x_tilde, x)` the projection.
#
# <details><summary>Hint</summary>
# PGD by hand: in every step the mean of a few gradients, its sign, a step, the projection; ten to twenty steps of size eps / 5; no early stop.
# </details>

# %% solution="break_random"
def break_random(defended, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """An untargeted attack in the L-inf ball of radius eps on a random model.

    defended: images -> logits (B, K), other ones at every call. x: (B, C, H, W) images in [0, 1].
    y: (B,) labels. Returns x_adv like x, in the ball and in [0, 1], on which the defended model
    should be wrong whenever it is asked.
    """
    ### BEGIN SOLUTION
    ball, candidate = LpBall(eps, math.inf), x
    for _step in range(12):
        grads = sum(attacks.input_gradient(defended, candidate, y) for _ in range(6))
        candidate = ball.project(candidate + eps / 5 * grads.sign(), x)
    return candidate
    ### END SOLUTION

# %% test="break_random" points=2
# Run this cell to check your break_random. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data
from coursekit.checks import expect

exercise = checks.Exercise("break_random", points=2, by_hand=[
    "coursekit.attacks.expectation", "coursekit.attacks.views", "coursekit.defenses.averaged", "coursekit.defenses.adaptive.averaged"])
digits = data.load("mnist", "test")

def judge(attack, spec, images, eps, allowed):
    x, y = digits.x[images], digits.y[images]
    x_adv = expect.tensor(attack(spec, x, y, eps), like=x)
    expect.inside(x_adv, x, eps)
    built = spec.build()
    with torch.no_grad():
        wrong, before = (torch.stack([built(z).argmax(dim=1) != y for _ in range(20)], dim=1) for z in (x_adv, x))
    rest, untouched, once = 1 - wrong.float().mean().item(), 1 - before.float().mean().item(), wrong.any(dim=1).float().mean().item()
    if float((x_adv - x).abs().max()) < 1e-6:
        hint = "Nothing moved."
    elif rest > 0.95 * untouched:
        hint = "The images are hardly any worse than without an attack. Does every step go up the loss of y?"
    elif once - (1 - rest) > 0.25:
        hint = (f"{once:.0%} of the images are fooled at least once in twenty answers, but only {1 - rest:.0%} of the answers are wrong. "
                "Take many steps, do not stop at a lucky draw, and follow the mean of several gradients in each.")
    else:
        hint = "More steps, each with the mean of several fresh gradients, up to the edge of the ball?"
    expect.that(rest <= allowed, f"{rest:.0%} expected accuracy", f"at most {allowed:.0%}, of {untouched:.0%} without an attack", hint)

@exercise.case("noise of 0.2, eps = 0.15: the expected accuracy that is left")
def _(break_random):
    judge(break_random, checks.defended("noise", checks.model("mnist_cnn"), sigma=0.2, whole=True), slice(0, 20), 0.15, 0.27)

@exercise.case("another random defence: every image at a random size and place")
def _(break_random):
    judge(break_random, checks.defended("resize", checks.model("mnist_cnn"), smallest=0.8, whole=True), slice(0, 20), 0.15, 0.26)
    expect.unchanged(break_random)

### BEGIN HIDDEN TESTS
@exercise.case("another network, more noise, another ball", hidden=True, hint="Does the attack use the eps and the model that it is given?")
def _(break_random):
    judge(break_random, checks.defended("noise", checks.model("mnist_mlp"), sigma=0.3, whole=True), slice(40, 60), 0.2, 0.2)
### END HIDDEN TESTS

exercise.score()

# %% demo="noise-broken"
def reference_break_random(defended, x, y, eps):
    several = defenses.averaged(defended, 6)
    threat = LpBall(eps, math.inf)
    return attacks.pgd(several, x, y, threat, steps=10, early_stop=False, generator=seeded())

torch.manual_seed(0)
x_broken = checks.yours("break_random", reference_break_random)(noise, x, y, threat.eps)
broken["noise"] = accuracy(noise, x_broken)
tell("noise")

# %% demo="attack-over-steps"
def accuracy_over_steps(classifier, attacked, steps=24, **settings):
    """What PGD on `attacked` leaves of `classifier` among 50 digits, after 0, 3, 6, ... steps."""
    trace = []
    attacks.pgd(attacked, x[:50], y[:50], threat, steps=steps, random_start=False, trace=trace,
                **settings)
    shown = range(0, steps + 1, 3)
    return list(shown), [accuracy(classifier, trace[step].x, y[:50]) for step in shown]

torch.manual_seed(0)
runs = {
    "grey levels, naive": (grey_levels, grey_levels, {}),
    "grey levels, straight through": (grey_levels, defenses.bpda(grey_levels), {"early_stop": False}),
    "noise, naive": (noise, noise, {}),
    "noise, averaged": (noise, defenses.averaged(noise, 3), {"early_stop": False}),
}
lines = {name: accuracy_over_steps(classifier, attacked, **settings)
         for name, (classifier, attacked, settings) in tqdm(runs.items())}
plots.curves(lines, chance=None, xlabel="steps of the attack", ylabel="accuracy of the defended model",
             title="The naive attack and the one that knows the defence")

# %% [markdown]
# It is only fair to say what the averaging itself does here, and what it does not. Most of the gain comes from not stopping at a lucky draw: with this little noise even single gradients, followed for all forty steps, average out on the way. With more randomness, or few steps, the average earns its price. What never works is to call a model fooled because it once was.
#
# ## 6.6 Vanishing gradients: another loss
#
# The third defence divides the logits by a small temperature, $\mathbf z / 0.01$. The ranking of the classes stays, so does every prediction, and so does every decision boundary. *Defensive distillation* (Papernot et al. 2016) did the same to the logits by its training. Why does that stop PGD? Follow the gradient from the back: it begins with the derivative of the cross-entropy by the logits.
#
# ### Exercise 6.6a: where the gradient dies · easy · 10 minutes · 2 points
#
# Derive $\dfrac{\partial \mathcal L}{\partial z_i}$ for $\mathcal L = -z_y + \log\sum_j e^{z_j}$, and write it for a batch. Large logits must do no harm.
#
# <details><summary>Hint</summary>
# The derivative of the second term by $z_i$ is $e^{z_i} / \sum_j e^{z_j}$: a probability. The first term gives −1 for $i = y$, else 0.
# </details>

# %% solution="logit_slope"
def logit_slope(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The derivative of each image's cross-entropy by its logits.

    logits: (B, K) floats, of any size. y: (B,) the right classes.
    Returns a tensor like logits, finite; row b is the gradient of the loss of image b alone.
    """
    ### BEGIN SOLUTION
    by_logit = logits.softmax(dim=1)
    by_logit[torch.arange(len(y)), y] -= 1
    return by_logit
    ### END SOLUTION

# %% test="logit_slope" points=2
# Run this cell to check your logit_slope. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("logit_slope", points=2)

@exercise.case("two images, three classes")
def _(logit_slope):
    p = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    logits, y = p.log() + 2.0, torch.tensor([1, 2])
    onehot = torch.eye(3)[y]
    got = logit_slope(logits, y)
    expect.that(not (isinstance(got, torch.Tensor) and got.shape == y.shape), got, "a tensor of shape (2, 3)",
                "That is one number for each image, the derivative by a single logit. Asked for is the one by every logit.")
    expect.close(expect.tensor(got, like=logits), p - onehot, mistakes={
        "The sign is wrong: the loss falls where z_y grows.": onehot - p,
        "These are the probabilities. Where is the first term, -z_y?": p,
        "This is divided by the number of images: each row is the gradient of one image's loss alone.": (p - onehot) / 2,
        "An index such as [:, y] takes the columns of all labels in every row. Pair each row with its own: [torch.arange(len(y)), y].":
            p - onehot.amax(dim=0),
        "1 is taken away from every class. The term -z_y has a derivative for i = y only.": p - 1,
        "The softmax runs over the batch. It belongs over the classes, within each row: dim=1.": logits.softmax(dim=0) - onehot,
        "This is the derivative of the probability p_y, not of the loss.": p * (onehot - p[[0, 1], y, None]),
        "These are log-probabilities less 1 for y. The derivative has the probabilities.": p.log() - onehot,
        "1 is added for y. The first term is minus z_y.": p + onehot,
    }, hint="Probabilities, less 1 for the right class.")

@exercise.case("large logits: nothing is left of the slope, and nothing is NaN")
def _(logit_slope):
    logits, y = torch.tensor([[1000.0, 0.0, 200.0], [0.0, 1000.0, 0.0]]), torch.tensor([0, 2])
    got = expect.tensor(logit_slope(logits, y), like=logits, hint="An exponential of 1000 is infinite: use softmax.")
    expect.close(got, torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, -1.0]]), mistakes={
        "An index such as [:, y] takes 1 away for the labels of all images in every row. Pair each row with its own: [torch.arange(len(y)), y].":
            torch.tensor([[0.0, 0.0, -1.0], [-1.0, 1.0, -1.0]]),
    }, hint="The same formula: p = (1, 0, 0) in the first row, (0, 1, 0) in the second.")
    expect.unchanged(logit_slope)

### BEGIN HIDDEN TESTS
@exercise.case("one image, other classes, float64", hidden=True, hint="Any number of classes and images, in the dtype of the logits.")
def _(logit_slope):
    for b, k in ((1, 2), (7, 11)):
        logits, y = 4 * torch.randn(b, k, dtype=torch.float64), torch.randint(0, k, (b,))
        got = expect.tensor(logit_slope(logits, y), like=logits)
        expect.close(got, logits.softmax(dim=1) - torch.nn.functional.one_hot(y, k))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# If the model is right and sure, $p_y \approx 1$ and all others $\approx 0$: the slope is small. But small is not zero, and PGD takes only its sign!
#
# **Predict**: two classes, the right one ahead by $m = z_y - z_i$. From which $m$ on is the slope by the *wrong* class's logit exactly zero in 32-bit floating point? (The probability of $y$ itself rounds to 1 from about $m = 17$ on.)

# %%
my_guess = None  # replace None by a number

# %% demo="underflow"
leads = torch.arange(0.0, 200.0, 0.5)
pairs = torch.stack([leads, torch.zeros_like(leads)], dim=1)
dead = leads[(pairs.softmax(dim=1)[:, 1] == 0)]
with torch.no_grad():
    lead = -losses.margin(model(x), y)
    without, with_it = ((scale * lead > dead[0]).float().mean() for scale in (1, 100))
checks.reveal(my_guess, f"{dead[0]:.0f}",
              "e^-m itself underflows: the smallest positive number that 32 bits hold is about e^-103.\n"
              f"So far ahead are {without:.0%} of the digits without the defence, and {with_it:.0%} with it.")

# %% [markdown]
# So all that holds this defence up is rounding in the computer. To break it one need not know anything about the network: it is enough to maximise another loss, one that does not pass through an exponential. The margin of the logits,
#
# $$\mathcal L_{\text{margin}} = \max_{i \ne y} z_i - z_y,$$
#
# has the slope −1 for $y$ and +1 for the strongest rival, at every temperature. It is positive exactly where the model is wrong. (Carlini and Wagner, 2017, broke defensive distillation with it.)
#
# ### Exercise 6.6b: break the temperature · medium · 10 minutes · 2 points
#
# Write the attack, with a loss of your own. It is judged by the robust accuracy that it leaves, and by nothing else: with the right loss even a single step does most of the work. As before there is no `defended.model` to attack instead. `attacks.pgd(model, x, y, threat, loss=...)` takes any function from logits `(B, K)` and labels `(B,)` to one value per image, and maximises it; `attacks.input_gradient(model, x, y, loss)` takes one, too.
#
# <details><summary>Hint</summary>
# For the strongest rival, put minus infinity in the place of y, on a copy: <code>logits.scatter(1, y[:, None], -math.inf)</code>; then <code>.amax(dim=1)</code>. The logit of y: <code>logits.gather(1, y[:, None]).squeeze(1)</code>.
# </details>

# %% solution="break_saturated"
def break_saturated(defended, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """An untargeted attack in the L-inf ball of radius eps on a model that is sure of everything.

    defended: images -> logits (B, K), very large ones. x: (B, ...) images in [0, 1]. y: (B,) labels.
    Returns x_adv like x, in the ball and in [0, 1], on which the defended model should be wrong.
    """
    ### BEGIN SOLUTION
    def lag(logits, y):
        rivals = logits.scatter(1, y[:, None], -math.inf)
        return rivals.amax(dim=1) - logits.gather(1, y[:, None]).squeeze(1)

    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=20, random_start=False, loss=lag)
    ### END SOLUTION

# %% test="break_saturated" points=2
# Run this cell to check your break_saturated. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import attacks, checks, data
from coursekit.checks import expect

exercise = checks.Exercise("break_saturated", points=2, by_hand=[
    "coursekit.losses.margin", "coursekit.losses.cw_margin", "coursekit.losses.cw_margin_targeted", "coursekit.attacks.strongest",
    "coursekit.attacks.carlini_wagner"])
digits = data.load("mnist", "test")

def judge(attack, spec, images, eps, allowed):
    x, y = digits.x[images], digits.y[images]
    x_adv = expect.tensor(attack(spec, x, y, eps), like=x)
    expect.inside(x_adv, x, eps)
    built = spec.build()
    with torch.no_grad():
        rest, untouched = ((built(z).argmax(dim=1) == y).float().mean().item() for z in (x_adv, x))
    moved = (x_adv - x).abs().flatten(1).amax(dim=1)
    if float(moved.max()) < 1e-6 or float((moved < 1e-6).float().mean()) > 0.6:
        hint = ("Most images did not move: the gradient of your loss is zero there. Three ways to that: it passes through a softmax; y is among "
                "its own rivals (the largest of all logits, or minus infinity written into the logits themselves instead of a copy); or it is "
                "cut off at zero, where the model is still right.")
    elif rest > 0.7 * untouched:
        hint = ("Hardly an image is fooled. If the loss passes through a softmax, its gradient is zero for most. If not: is it large "
                "where the model is wrong, not cut off at zero where it is right, and is the strongest rival one other than y?")
    else:
        hint = "Some are fooled: many steps, up to the edge of the ball, and at every step the strongest rival of that moment?"
    expect.that(rest <= allowed, f"{rest:.0%} of the images still right", f"at most {allowed:.0%}, of {untouched:.0%} without an attack", hint)

@exercise.case("temperature 0.01, eps = 0.2: the robust accuracy that is left")
def _(break_saturated):
    judge(break_saturated, checks.defended("saturated", checks.model("mnist_cnn"), temperature=0.01, whole=True), slice(0, 20), 0.2, 0.2)

@exercise.case("temperature 0.001, where hardly a gradient is left")
def _(break_saturated):
    judge(break_saturated, checks.defended("saturated", checks.model("mnist_cnn"), temperature=0.001, whole=True), slice(20, 40), 0.2, 0.2)
    expect.unchanged(break_saturated)

### BEGIN HIDDEN TESTS
@exercise.case("another network and eps", hidden=True, hint="Nothing may depend on the network or on the temperature: use what you are given.")
def _(break_saturated):
    judge(break_saturated, checks.defended("saturated", checks.model("mnist_mlp"), temperature=0.002, whole=True), slice(40, 60), 0.25, 0.15)
### END HIDDEN TESTS

exercise.score()

# %% demo="temperature-broken"
def reference_break_saturated(defended, x, y, eps):
    threat = LpBall(eps, math.inf)
    return attacks.pgd(defended, x, y, threat, steps=20, loss=losses.margin, generator=seeded())

your_attack = checks.yours("break_saturated", reference_break_saturated)
broken["temperature"] = accuracy(temperature, your_attack(temperature, x, y, threat.eps))
tell("temperature")

# %% [markdown]
# ## 6.7 Detection: a guard at the door
#
# The other idea of the slide leaves the classifier as it is and asks whether an image looks *natural*. Adversarial examples come from a different distribution, so a test for outliers should notice them. Do they?
#
# One such test (Lee et al. 2018) looks at the features $\phi(\mathbf x)$ of some layer. For every class $c$ it fits a normal distribution to the features of natural images, each with a mean $\boldsymbol\mu_c$ of its own and one covariance $\Sigma$ for all, and scores an image by the **Mahalanobis distance** to the nearest class:
#
# $$s(\mathbf x) = \min_c\; \big(\phi(\mathbf x) - \boldsymbol\mu_c\big)^\top \Sigma^{-1} \big(\phi(\mathbf x) - \boldsymbol\mu_c\big).$$
#
# A large score is strange. Where does large begin? At a threshold that lets through nearly all *natural* images, for a guard who cries wolf is soon ignored: one fixes the **false-positive rate**, say 5 %, and takes the smallest threshold that keeps it.
#
# ### Exercise 6.7a: the threshold · easy · 10 minutes · 2 points
#
# Find it among the scores of natural images: the smallest of them such that at most the share `rate` of them lies **above** it. (A score that equals the threshold sets off no alarm.)
#
# <details><summary>Hint 1</summary>
# Sort the scores, largest first. How many of N images may be above the threshold? At most rate · N, rounded down.
# </details>
# <details><summary>Hint 2</summary>
# If k images may be above, the threshold is the score that has k before it in the sorted list.
# </details>

# %% solution="alarm_threshold"
def alarm_threshold(scores: torch.Tensor, rate: float) -> float:
    """The smallest t among the scores for which at most the share `rate` of them is above t.

    scores: (N,) floats of natural images, N >= 1, in any order. rate: from 0 to below 1.
    Returns a number. The alarm goes off at a score > t.
    """
    ### BEGIN SOLUTION
    above = int(rate * len(scores))
    return scores.sort(descending=True).values[above].item()
    ### END SOLUTION

# %% test="alarm_threshold" points=2
# Run this cell to check your alarm_threshold. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("alarm_threshold", points=2, by_hand=["coursekit.defenses.Detector.threshold"])

@exercise.case("sixteen scores, 12.5 %: two may be above")
def _(alarm_threshold):
    scores = torch.arange(1.0, 17.0)[torch.randperm(16)] ** 2
    expect.close(alarm_threshold(scores, 0.125), 196.0, mistakes={
        "Three scores are above that: more than 12.5 % of sixteen.": 169.0,
        "Only one score is above that. A smaller threshold still keeps the rate.": 225.0,
        "No score is above that. A smaller threshold still keeps the rate.": 256.0,
        "That is the other end: most natural images would set off the alarm.": 9.0,
        "That is the other end: nearly all natural images would set off the alarm.": 4.0,
        "This is the threshold's place when the scores are sorted. Its value is asked for.": 14.0,
        "That is between two scores. The smallest threshold among the scores is asked for.": torch.quantile(scores, 0.875).item(),
        "The scores are not sorted: this is just the third of the list.": scores[2].item(),
    }, hint="Of 1, 4, 9, ..., 256 the two largest may be above: 225 and 256.")
    expect.unchanged(alarm_threshold)

@exercise.case("rate 0, a rate that does not divide, and one score")
def _(alarm_threshold):
    scores = torch.tensor([0.3, 2.5, 0.7, 1.1, 0.2, 1.9, 0.9])
    expect.close(alarm_threshold(scores, 0.0), 2.5, hint="Rate 0: no natural image may be above, so the threshold is the largest score.")
    expect.close(alarm_threshold(scores, 0.4), 1.1, mistakes={
        "Three scores are above that: 3 of 7 are 0.43, more than 0.4. At most 0.4 of 7, that is 2.8, rounded down: two.": 0.9,
        "One score is above that. Two of seven are 0.29, which is still within 0.4.": 1.9,
    }, hint="At most 0.4 of 7, that is 2.8: two scores may be above.")
    expect.close(alarm_threshold(torch.tensor([4.0]), 0.5), 4.0, hint="With a single score the threshold is that score.")

### BEGIN HIDDEN TESTS
@exercise.case("equal scores, float64", hidden=True, hint="Above means larger than: equal scores are not above. The smallest such threshold.")
def _(alarm_threshold):
    for scores, rate in ((torch.tensor([1.0, 3.0, 3.0, 3.0, 2.0, 0.5, 3.0, 1.5]), 0.25), (torch.rand(64, dtype=torch.float64) * 50, 0.0703125)):
        t = expect.number(alarm_threshold(scores, rate))
        kept = [s for s in scores.tolist() if (scores > s).double().mean().item() <= rate]
        expect.close(t, min(kept))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Now the guard, fitted to a thousand training digits, on the features after the convolutions. Its threshold comes from 400 digits that neither it nor we have used. We attack with plain PGD, and as a detector should have a fair chance, with all of its 40 steps and in a larger ball, ε = 0.2: the further an image is moved, the easier it is to notice.
#
# **Predict**: of 100 images that PGD made, how many set off the alarm?

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="guard"
wide = LpBall(0.2, math.inf)
detector = defenses.Mahalanobis(model, train_digits.x[:1000], train_digits.y[:1000], features=model[:5])
limit = detector.threshold(test_digits.x[500:900], 0.05).item()
x_pgd = attacks.pgd(model, x, y, wide, steps=40, early_stop=False, generator=seeded())

def alarms(images):
    with torch.no_grad():
        return detector.score(images) > limit

def gets_through(images):
    """Which images the model gets wrong without an alarm."""
    with torch.no_grad():
        return (model(images).argmax(dim=1) != y) & ~alarms(images)

with torch.no_grad():
    area = defenses.auroc(detector.score(x), detector.score(x_pgd))
checks.reveal(my_guess, f"{int(alarms(x_pgd).sum())} of 100",
              f"False alarms among the clean images: {int(alarms(x).sum())}.\n"
              f"A PGD image scores higher than a clean one in {area:.1%} of all pairs "
              "(the area under the ROC curve).")

# %% [markdown]
# Going by these numbers, an excellent detector. The slide says: *while some of these methods work against "vanilla" PGD attacks, targeted attacks are very successful against these defences.* Why should they be? Plain PGD was never told that it must not look strange. It went as far as it could, in whatever direction raised the loss. The guard is a function of the image like the classifier is, and it has a gradient.
#
# Think of both as one classifier with one more class, "rejected". To be wrong is no longer enough: "rejected" is a wrong class, too, and it does not help the attacker. Who attacks with a **target** asks for exactly what is wanted: *be taken for a $t$, and for a natural one*. With a threshold $\tau$ that is, for instance,
#
# $$\min_{\tilde{\mathbf x} \in \mathcal P(\mathbf x)}\; \mathcal L\big(f(\tilde{\mathbf x}), t\big) + c\,\Big[\frac{s(\tilde{\mathbf x})}{\tau} - \kappa\Big]_+, \qquad [u]_+ = \max(u, 0).$$
#
# The second term is zero while the score stays below $\kappa\tau$, with $\kappa$ somewhat below 1 so that a little room remains. Below that there is nothing to gain from looking still more natural, and all effort goes into the target.
#
# ### Exercise 6.7b: past the guard · hard · 20 minutes · 4 points
#
# Write the attack: targeted, in the $L_\infty$ ball, past the detector. It is judged by what it achieves: the share of the images that are taken for their target *and* set off no alarm. (The check uses ε = 0.3 and 0.25, some of the targets being far-fetched; the demonstration below has the ε = 0.2 of plain PGD and the likeliest target.) `detector.score(x)` gives the scores `(B,)` and can be differentiated by x. The references: `losses.cross_entropy(logits, target)`, `LpBall(eps, math.inf).project(x_tilde, x)`.
#
# <details><summary>Hint 1</summary>
# A loop like PGD's: make a copy that requires a gradient, compute the sum of both terms over the batch, take the gradient with <code>torch.autograd.grad</code>, step <em>down</em> its sign, project. 40 steps of size eps / 16 are enough.
# </details>
# <details><summary>Hint 2</summary>
# c = 5 and κ = 0.8 work well. The score is divided by the threshold, so c need not know how large scores are.
# </details>

# %% solution="slip_past"
def slip_past(model, detector, x: torch.Tensor, target: torch.Tensor, eps: float,
              threshold: float) -> torch.Tensor:
    """A targeted attack in the L-inf ball of radius eps that keeps a detector silent.

    model: images -> logits (B, K). detector: detector.score(x) -> (B,), higher is stranger, alarm above
    the threshold (> 0). x: (B, ...) images in [0, 1]. target: (B,) the classes wanted.
    Returns x_adv like x, in the ball and in [0, 1], that should be taken for their targets, with
    scores of at most the threshold.
    """
    ### BEGIN SOLUTION
    ball, candidate = LpBall(eps, math.inf), x.clone()
    for _ in range(40):
        candidate.requires_grad_(True)
        strange = (detector.score(candidate) / threshold - 0.8).clamp_min(0)
        cost = losses.cross_entropy(model(candidate), target) + 5 * strange
        downhill = torch.autograd.grad(cost.sum(), candidate)[0].sign()
        candidate = ball.project(candidate.detach() - eps / 16 * downhill, x)
    return candidate
    ### END SOLUTION

# %% test="slip_past" points=4
# Run this cell to check your slip_past. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data
from coursekit.checks import expect

exercise = checks.Exercise("slip_past", points=4, by_hand=[
    "coursekit.defenses.evade", "coursekit.defenses.Guarded", "coursekit.defenses.adaptive.evade", "coursekit.defenses.detection.Guarded"])
digits = data.load("mnist", "test")
cnn = checks.model("mnist_cnn")
guard = checks.detector(cnn, layer=5)
bar = guard.build().threshold(digits.x[500:700], 0.05).item()

def attacked(slip_past, spec, detector, images, eps, threshold, shift=0):
    """x_adv with what came of it: taken for the target, alarm; and the images and targets."""
    x, y = digits.x[images], digits.y[images]
    with torch.no_grad():
        likely = spec.build()(x).scatter(1, y[:, None], -torch.inf)
    target = (y + shift) % 10 if shift else likely.argmax(dim=1)
    x_adv = expect.tensor(slip_past(spec, detector, x, target, eps, threshold), like=x)
    expect.inside(x_adv, x, eps)
    with torch.no_grad():
        called, alarm = spec.build()(x_adv).argmax(dim=1), detector.build().score(x_adv) > threshold
    return called == target, alarm, (called == y).float().mean().item(), x_adv, x

def judged(hit, alarm, right, x_adv, x, wanted):
    both, hits, caught = ((part).float().mean().item() for part in (hit & ~alarm, hit, alarm))
    if torch.equal(x_adv, x):
        hint = "Nothing moved."
    elif caught > 0.5:
        hint = (f"The detector raises an alarm at {caught:.0%}. Its score must be a part of what is minimised, for as long as it is above "
                "the threshold. If it is: does every step go DOWN the sum of both terms? Then a heavier weight, in units of the threshold, "
                "more room below it, more steps.")
    elif hits < 0.3 and right > 0.8:
        hint = "Nearly all are still taken for what they are: does the loss of the target fall in every step, or is the score all that counts?"
    elif hits < 0.3:
        hint = "The model is fooled, but not towards the targets: step down the loss of the target."
    elif caught > 0.1:
        hint = f"Targets are reached by {hits:.0%}, but {caught:.0%} set off the alarm: a heavier weight, or more room below the threshold?"
    else:
        hint = f"Alarms are rare, but only {hits:.0%} are taken for their target: a lighter weight, more steps, up to the edge of the ball?"
    expect.that(both >= wanted, f"{both:.0%} of the images taken for their target without an alarm", f"at least {wanted:.0%}", hint)

@exercise.case("eps = 0.3: the likeliest wrong class, no alarm, and all left as it was")
def _(slip_past):
    judged(*attacked(slip_past, cnn, guard, slice(0, 12), 0.3, bar), wanted=0.6)
    expect.unchanged(slip_past)

@exercise.case("eps = 0.3: a target of somebody's choice, and no alarm")
def _(slip_past):
    judged(*attacked(slip_past, cnn, guard, slice(12, 24), 0.3, bar, shift=3), wanted=0.6)

### BEGIN HIDDEN TESTS
@exercise.case("another network, detector and threshold", hidden=True,
               hint="Use the model, the detector and the threshold that are given; the score in units of the threshold.")
def _(slip_past):
    mlp = checks.model("mnist_mlp")
    other = checks.detector(mlp)
    judged(*attacked(slip_past, mlp, other, slice(30, 45), 0.25, other.build().threshold(digits.x[500:700], 0.1).item()), wanted=0.6)
### END HIDDEN TESTS

exercise.score()

# %% demo="guard-fooled"
def reference_slip_past(model, detector, x, target, eps, threshold):
    return defenses.evade(model, detector, x, target, LpBall(eps, math.inf), threshold=threshold,
                          target=target, steps=40, generator=seeded())

with torch.no_grad():
    rival = model(x).scatter(1, y[:, None], -math.inf).argmax(dim=1)  # the likeliest wrong class
x_guard = checks.yours("slip_past", reference_slip_past)(model, detector, x, rival, wide.eps, limit)
with torch.no_grad():
    kinds = {"clean images": x, "plain PGD": x_pgd, "PGD that knows the guard": x_guard}
    scores = {name: detector.score(images) for name, images in kinds.items()}
for name, images in (("plain PGD", x_pgd), ("PGD that knows the guard", x_guard)):
    print(f"{name:>25}: {gets_through(images).float().mean():.0%} get through, wrong and unnoticed")
plots.score_histograms(scores, limit, xlabel="Mahalanobis score")

# %% [markdown]
# The clever attack does not even have to work harder: same ball, same number of steps. It stays just below the threshold, because that is all that was asked of it. Its images are no more natural than the others to *us*:

# %% demo="guard-pictures"
few = gets_through(x_guard).nonzero().flatten()[:7].tolist()
shown = torch.cat([x[few], x_pgd[few], x_guard[few]])
with torch.no_grad():
    called = model(shown).argmax(dim=1).tolist()
says = [f"“{k}”" + ("  alarm" if alarm else "") for k, alarm in zip(called, alarms(shown), strict=True)]
plots.images(shown, titles=says, rows=["x", "plain PGD", "knows the guard"], size=1.2)

# %% [markdown]
# ## 6.8 As claimed, as broken
#
# All four in one picture. A robust accuracy is always the accuracy under *somebody's* attack, and so an upper bound: a better attack can only lower it. For the detector an image counts as lost if it is wrong and sets off no alarm. It was attacked with ε = 0.2; what the network keeps there without a guard is told beside the dotted line.

# %% demo="claims"
claimed["detector, ε = 0.2"] = 1 - gets_through(x_pgd).float().mean().item()
broken["detector, ε = 0.2"] = 1 - gets_through(x_guard).float().mean().item()
wide_bare = accuracy(model, naive(model, x, y, wide))
plots.claims({name: (claimed[name], broken[name]) for name in claimed},
             reference=(f"no defence, ε = 0.2: {plots.percent(wide_bare)}, ε = 0.15", bare))

# %% [markdown]
# After the attack that knows it, each defence stands about where the network stood without it. That is what the slide's last line means: *fixing a "bad" model seems not to be the solution*. The decision boundaries of this network run close by the images, everywhere, and an add-on that leaves them there leaves the problem there. What is left is to move them: by another *training*. That is assignment 07.
#
# And the habit to keep: **whoever proposes a defence has to attack it as somebody would who knows it and wants it to fall.** Tramèr et al. (2020) took thirteen defences that had been published with such an "adaptive" evaluation, and broke them all.
#
# ### The truth, for once
#
# One of the four can be settled for good. A small network (784-32-32-10) and the same network with its logits divided by a temperature are the same classifier, and whether a point of $\mathcal P(\mathbf x)$ is misclassified can be decided by a search without gaps that needs no gradient at all (assignment 09). Three numbers for the *cold* network: what plain PGD believes, what your attack of 6.6 leaves, and the truth.

# %% demo="truth"
from coursekit.certify import exact

cold = coursekit.models.load("mnist_mlp")
with torch.no_grad():
    for parameter in cold[-1].parameters():
        parameter /= 0.001  # the temperature, as a part of the last layer
images, labels, small_ball = test_digits.x[:120], test_digits.y[:120], LpBall(0.03, math.inf)
verdicts = exact.verify(cold, images, labels, small_ball, time_limit=2)
proven, open_still = verdicts.share("robust"), verdicts.share("undecided")
plots.from_above({"plain PGD": accuracy(cold, naive(cold, images, labels, small_ball), labels),
                  "PGD with another loss": accuracy(cold, your_attack(cold, images, labels, small_ball.eps), labels)},
                 (proven, proven + open_still))

# %% [markdown]
# The proof does not ask how the gradient looks, so there is nothing to hide from it. A defence that only bends gradients leaves the truth where it was.
#
# ## 6.9 Think it over
#
# ### Question 6.9a: what would you ask the authors? · medium · 10 minutes · 3 points
#
# A paper proposes to blur every image before classifying it, by a random amount, and to convert it to JPEG. It reports 71 % robust accuracy under PGD with 100 steps in the ball of ε = 0.3; the model without the defence has 0 %. Code and weights are available. (1) Name two measurements that would tell you, without writing a new attack, whether to believe the number, and what each would show if the gradients were hidden. (2) Sketch the attack that you would write: what do you do about the JPEG, what about the random blur? (3) What exactly do you measure at the end, and on which model?

# %% [markdown] answer="ask-the-authors" points=3
# === BEGIN MARK SCHEME ===
# **1 point** for two different measurements with what they would show, half each: FGSM or fewer steps (fools more than 100 steps); larger eps up to 1 (accuracy does not fall, not to 0); transfer from the bare model (fools more than white box); random noise or search without gradients (more than PGD); share of zero gradients; loss over steps (does not rise); asking the model several times about the same image (answers differ).
#
# **1 point** for the attack: straight-through / BPDA for the JPEG (identity, or a smooth approximation, in the backward pass), half; gradient averaged over many draws of the blur (EOT), no stop at a lucky draw, half.
#
# **1 point**: the accuracy of the defended model, JPEG and fresh blur included (half), in expectation over its randomness, several answers for each image (half); not that of the stand-in. (Also accepted for the second half: the same images, eps and clean accuracy beside it, with enough steps that the number no longer falls.)
# === END MARK SCHEME ===
# (1) I would run a single FGSM step: if it leaves fewer images right than 100 steps of PGD, the iterative attack is lost, and gradients are hidden. And I would let ε grow to 1: a working attack must then reach 0 %; if much is left, it is the attack that fails. (Or try adversarial examples of the bare model: they should not do better than white-box ones.) (2) PGD with two changes: in the backward pass JPEG counts as the identity (straight through), as it hardly changes an image; and every step follows the mean of the gradients over, say, 20 draws of the blur, without stopping when a single draw is fooled. (3) The accuracy of the complete defended model, real JPEG and fresh random blur, on the attacked images, averaged over many answers to each; with so many steps that it no longer falls. The stand-in serves the search only.

# %% [markdown]
# ### Question 6.9b: hidden is not robust · medium · 10 minutes · 3 points
#
# (1) Someone says: "Fine, the grey levels can be broken. But an attacker has to know about them first; until then they protect." Give two reasons, taken from what you have measured in this notebook, why that is little comfort. (2) The temperature changes no prediction at all. Explain with this example why the robust accuracy under PGD is a property of model *and* attack, and what a true robust accuracy would be a property of. (3) What does it mean that "fixing a bad model" is not the solution, in terms of the decision boundary?

# %% [markdown] answer="hidden-is-not-robust" points=3
# === BEGIN MARK SCHEME ===
# **1 point** for two reasons, half each: adversarial examples of the bare model transfer (an attacker who knows nothing of the defence wins); for the noise a single FGSM step is enough; the symptoms give the defence away in a few measurements; attacks without gradients need no knowledge; the attacker has unlimited tries, the defence is fixed once published.
#
# **1 point**: with and without temperature the model gives the same answer to every image, so the set of adversarial examples is the same, and so is the true robust accuracy; PGD with cross-entropy reports very different numbers (half). The true one is a property of the decision function, the data and P(x) alone: the share of images for which no point of P(x) is misclassified (half).
#
# **1 point**: the boundaries still run within eps of the images; obfuscation changes how hard it is to find the way there (gradients), not where they are; to be robust they must be moved away from the images, by training (or proven to be away).
# === END MARK SCHEME ===
# (1) Adversarial examples made for the bare network, without a thought of the rounding, fooled the defended one about as often as the adaptive attack; ignorance did no harm. And a handful of measurements (one step, larger ε, zero gradients) gives such a defence away, so it does not stay secret for long. (2) Dividing by the temperature keeps the order of the logits: both models answer alike at every image, so they have the same adversarial examples and the same true robust accuracy. Plain PGD nevertheless reports nearly nothing for one and nearly everything for the other. The number depends on the attack. The true one depends on the classifier's decisions, the data and $\mathcal P(\mathbf x)$ only: the share of images with no misclassified point in $\mathcal P(\mathbf x)$. (3) An image is robust if the boundary is further than ε away. The add-ons leave the boundary where it is, within ε of nearly all digits, and hide the direction to it. Only training (or another model) moves it.

# %% [markdown]
# ## What to take along
#
# * An attack that fails proves nothing; an attack that fails *and* breaks the rules of a sane search tells on the defence. Compare with one step, random points, transfer, larger ε, no limit, and draw the accuracy over the number of steps.
# * Gradients can be **shattered** (straight-through gradient), **random** (average over the draws, and do not stop at a lucky one) or **vanishing** (a loss that does not saturate). The adversarial examples were there all the time.
# * A random model is judged by its expected accuracy; a guarded one by what is wrong *and* unnoticed; a defended one always on the defended model itself.
# * A detector is one more function with a gradient. A targeted attack that knows it gets past both.
# * Robustness means that the decision boundary is far from the data. Hiding the way to it is something else.
#
# **Where it goes on**: assignment 07, adversarial training, moves the boundary, and measures what that costs. Later chapters prove where it is.
#
# **Further**: Athalye, Carlini, Wagner, *Obfuscated gradients give a false sense of security*, 2018. Carlini and Wagner, *Adversarial examples are not easily detected*, 2017. Tramèr, Carlini, Brendel, Madry, *On adaptive attacks to adversarial example defenses*, 2020. Carlini et al., *On evaluating adversarial robustness*, 2019.
