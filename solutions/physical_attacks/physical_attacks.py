# %% [markdown]
# # 5 Physical attacks
#
# An attacker with a printer, a pair of scissors and some glue: you make glasses that hide a face from a detector, the same pair for everybody, and two stickers that turn a STOP sign into a speed limit, from near and far, in sun and in haze. Such an attacker cannot edit the numbers that reach the network. What makes the difference between a trick on one picture and a danger on a road is one expectation in front of the loss.
#
# **After this notebook you can**
#
# * say what a physical attacker may change and what it cannot control, and write both down as a perturbation set and a distribution of views;
# * attack through a mask, and make the result smooth and printable, at a price that you measure;
# * optimise *one* perturbation for many situations at once: expectation over transformations;
# * evaluate such an attack honestly, on views that it has never seen, and judge what a simulation proves.
#
# **Slides**: "Why We (Should) Care About Adversarial Examples" (real-world risks), "Adversarial Examples" (adversarial glasses, the STOP sign). **Time**: about two and a half hours. **Points**: 28 from nine functions that are checked at once, 6 from two texts that a person reads.
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other shapes and other numbers. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was: no tensor edited in place, no model in another mode.</div>
#
# **Notation**: $\mathbf x$ an image with pixels in $[0, 1]$, $y$ its label, $f$ the classifier, $\boldsymbol\delta$ a perturbation, $M$ a mask (1 where the attacker may print, 0 elsewhere), $\odot$ the product pixel by pixel, $t$ a view: what a camera makes of a thing. In code, `x` is a batch `(B, C, H, W)`, `y` holds its `B` labels, and `mask` is a tensor of booleans.

# %% readonly="setup"
import math

import torch
from tqdm.auto import tqdm

import coursekit
from coursekit import attacks, checks, data, losses, plots, widgets
from coursekit.attacks.physical import Worn, glasses, sticker
from coursekit.data import signs
from coursekit.perturbations import LpBall, Masked

torch.set_num_threads(1)  # networks as small as these run faster on a single thread

# A face detector, trained on 160 small photographs: class 1 is "face", class 0 "no face".
detector = coursekit.models.load("faces_cnn")
portraits, others = data.load("faces", "train"), data.load("faces", "test")
people = portraits.x[portraits.y == 1]  # 80 faces that the attacker has photographs of
strangers = others.x[others.y == 1]  # 20 faces that it has never seen
frame = glasses(25, 25, apart=0.36, thickness=0.08)  # the mask: (25, 25), True on the frame

# A classifier of traffic signs.
sign_model = coursekit.models.load("signs_cnn")
classes = data.load("signs", "test").classes
STOP, LIMIT = classes.index("stop"), classes.index("speed limit 100")

def missed(x):
    """The share of the pictures in which the detector finds no face."""
    return (detector(x).argmax(dim=1) == 0).float().mean().item()

def any_paint(mask):
    """P(x): inside the mask any value in [0, 1], outside it no change."""
    return Masked(LpBall(1.0, math.inf), mask)

def seeded(seed):
    return torch.Generator().manual_seed(seed)

print(f"faces: {len(people)} people and {len(strangers)} strangers, 25 x 25 grey pixels")
print(f"missed by the detector: {missed(people):.0%} and {missed(strangers):.0%} of them")
print(f"signs: {', '.join(classes)}")

# %% [markdown]
# ## 5.1 Adversarial examples in the real world
#
# The slide "Why We (Should) Care About Adversarial Examples" names 2D and 3D prints and special glasses. Think for a moment about what such an attacker can do, and compare it with the $\epsilon$-balls that you know.
#
# | | attack on the numbers | attack on the thing |
# |---|---|---|
# | may change | every pixel, by at most $\epsilon$ | **few** pixels, those it can print on, but **any** colour a printer has |
# | knows | the exact image that reaches the network | not where the camera will stand, nor the light, nor the weather |
# | must | not be seen | not be taken for an attack: a sticker may be seen by everybody |
#
# So the set of perturbations is another one: not a ball, but all images that agree with $\mathbf x$ outside of a mask,
#
# $$\mathcal P(\mathbf x) = \{\tilde{\mathbf x} \in [0,1]^d : \tilde x_i = x_i \text{ wherever } M_i = 0\}.$$
#
# In $L_\infty$ its points may be as far from $\mathbf x$ as an image can be, and yet nobody would call a face with glasses something else than a face. Here are some strangers, and the same with an ordinary black frame, which fills the mask.

# %% demo="first-look"
ordinary = torch.where(frame, 0.1, strangers)
shown = torch.cat([strangers[:7], ordinary[:7]])
print(f"the frame covers {frame.sum()} of {frame.numel()} pixels: {frame.float().mean():.0%}")
print(f"with ordinary black glasses the detector misses {missed(ordinary):.0%} of them")
verdicts = [f"“{others.classes[k]}”" for k in detector(shown).argmax(dim=1).tolist()]
plots.images(shown, titles=verdicts, rows=["as they are", "black frame"], size=1.25)

# %% [markdown]
# ### Exercise 5.1: print on it · easy · 5 minutes · 2 points
#
# Apply a perturbation inside the mask only, $\mathbf x + M \odot \boldsymbol\delta$, and keep an image: all pixels in $[0, 1]$. The same glasses must fit any number of faces.
#
# <details><summary>Hint</summary>
# A mask of shape <code>(H, W)</code> broadcasts over images of shape <code>(B, C, H, W)</code>, and so does a perturbation of shape <code>(C, H, W)</code>. Multiplying with a tensor of booleans is allowed; <code>torch.where(mask, a, b)</code> takes <code>a</code> where the mask is True and <code>b</code> elsewhere.
# </details>

# %% solution="put_on"
def put_on(x: torch.Tensor, delta: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """x + mask * delta, clamped to [0, 1].

    x: (B, C, H, W) images in [0, 1]. delta: any values, (C, H, W), the same for every image, or
    (B, C, H, W). mask: (H, W) booleans, True where the perturbation goes.
    Returns images like x, equal to x outside the mask.
    """
    ### BEGIN SOLUTION
    return torch.where(mask, x + delta, x).clamp(0, 1)
    ### END SOLUTION

# %% test="put_on" points=2
# Run this cell to check your put_on. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("put_on", points=2, by_hand=["coursekit.perturbations.Masked.project"])
left = torch.tensor([[True, True, False, False]])

@exercise.case("inside the mask delta is added, outside nothing changes")
def _(put_on):
    x = torch.tensor([[[[0.5, 0.2, 0.3, 0.9]]]])
    delta = torch.tensor([[[[0.25, -0.1, 0.4, -0.6]]]])
    got = expect.tensor(put_on(x, delta, left), like=x)
    expect.close(got, torch.tensor([[[[0.75, 0.1, 0.3, 0.9]]]]), mistakes={
        "Pixels outside the mask changed, too.": torch.tensor([[[[0.75, 0.1, 0.7, 0.3]]]]),
        "Inside and outside are exchanged: the mask is True where you may print.": torch.tensor([[[[0.5, 0.2, 0.7, 0.3]]]]),
        "This is the perturbation alone. Add it to x.": torch.tensor([[[[0.25, -0.1, 0.0, 0.0]]]]),
        "This is the perturbation alone, clamped. Add it to x first.": torch.tensor([[[[0.25, 0.0, 0.0, 0.0]]]]),
        "delta takes the place of x. Here it is added to it.": torch.tensor([[[[0.25, 0.0, 0.3, 0.9]]]]),
        "You clamp delta to [0, 1]: a perturbation may be negative. The image is what must stay in the range.":
            torch.tensor([[[[0.75, 0.2, 0.3, 0.9]]]]),
    })

@exercise.case("the result is an image: pixels in [0, 1]")
def _(put_on):
    x = torch.tensor([[[[0.9, 0.1, 0.3, 0.9]]]])
    got = put_on(x, torch.tensor([[[0.8, -0.5, 3.0, -3.0]]]), left)
    expect.close(got, torch.tensor([[[[1.0, 0.0, 0.3, 0.9]]]]), mistakes={
        "Pixels leave [0, 1]: such a thing is no image. Clamp at the end.": torch.tensor([[[[1.7, -0.4, 0.3, 0.9]]]]),
    }, hint="First add, then clamp to [0, 1].")

@exercise.case("one pair of glasses on several colour images; nothing is edited in place")
def _(put_on):
    x = torch.linspace(0.2, 0.8, 3 * 3 * 2 * 4).reshape(3, 3, 2, 4)
    delta = torch.full((3, 2, 4), 0.1)
    mask = torch.tensor([[True, False, False, False], [False, False, False, True]])
    expected = x.clone()
    expected[:, :, 0, 0] += 0.1
    expected[:, :, 1, 3] += 0.1
    expect.close(expect.tensor(put_on(x, delta, mask), like=x), expected,
                 hint="The mask is for height and width, and it is the same for all images and colours.")
    expect.unchanged(put_on)

### BEGIN HIDDEN TESTS
@exercise.case("a perturbation for each image, float64", hint="As above, with a delta of its own for each image.", hidden=True)
def _(put_on):
    x, delta = torch.rand(4, 2, 5, 6, dtype=torch.float64), torch.randn(4, 2, 5, 6, dtype=torch.float64)
    mask = torch.rand(5, 6) < 0.4
    expected = (x + mask * delta).clamp(0, 1)
    expect.close(expect.tensor(put_on(x, delta, mask), like=x), expected)
    expect.that(bool((put_on(x, delta, mask) == x)[..., ~mask].all()), "pixels outside the mask that changed", "x outside the mask")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 5.2 Glasses that hide a face
#
# Black glasses fool nobody. Perhaps it only takes more of a mess?
#
# ### Predict, then reveal
#
# Every pixel of the frame gets a random grey value, another one on each face. **How many of the 20 strangers does the detector miss?**

# %%
my_guess = None  # replace None by a number from 0 to 20

# %% demo="noise-glasses"
noisy = any_paint(frame).sample(strangers, generator=seeded(0))
checks.reveal(my_guess, f"{20 * missed(noisy):.0f} of 20",
              "Chance does not find the direction that matters. An attacker follows the gradient.")

# %% [markdown]
# Projected gradient descent works on this set as on any other. The projection $\Pi$ onto $\mathcal P(\mathbf x)$ is easy: outside the mask, back to $\mathbf x$; inside, into $[0, 1]$. So the step may as well leave the pixels outside alone:
#
# $$\mathbf x_{k+1} = \operatorname{clamp}_{[0,1]}\Big(\mathbf x_k + \eta\, M \odot \operatorname{sign}\big(\nabla_{\mathbf x}\mathcal L(f(\mathbf x_k), y)\big)\Big), \qquad \mathbf x_0 = \mathbf x.$$
#
# No $\epsilon$ appears: within the mask the attacker may print what it likes.
#
# ### Exercise 5.2: PGD through a mask · medium · 15 minutes · 4 points
#
# Write it, untargeted, and return the last iterate. The reference for the gradient is `attacks.input_gradient(model, x, y)`: like `x`, one gradient per image.
#
# <details><summary>Hint</summary>
# A loop over <code>steps</code>, in it one line. At which point is the gradient taken? And where does the mask go?
# </details>

# %% solution="masked_pgd"
def masked_pgd(model, x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor,
               steps: int, step_size: float) -> torch.Tensor:
    """PGD with sign steps, untargeted, from x, that changes pixels inside the mask only.

    model: returns logits (N, K). x: (B, C, H, W) images in [0, 1]. y: (B,) labels.
    mask: (H, W) booleans, True where pixels may change. steps: how many, 0 or more.
    step_size: how far a pixel moves in one step.
    Returns the last iterate, like x: equal to x outside the mask, in [0, 1] inside.
    """
    ### BEGIN SOLUTION
    x_k = x
    for _ in range(steps):
        step = step_size * attacks.input_gradient(model, x_k, y).sign()
        x_k = (x_k + mask * step).clamp(0, 1)
    return x_k
    ### END SOLUTION

# %% test="masked_pgd" points=4
# Run this cell to check your masked_pgd. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import attacks, checks, data
from coursekit.attacks.physical import glasses
from coursekit.checks import expect

exercise = checks.Exercise("masked_pgd", points=4, by_hand=[
    "coursekit.attacks.pgd", "coursekit.attacks.expectation", "coursekit.perturbations.Masked.project"])
left = torch.tensor([[True, True, False, False]])
weight = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.2, 1.0, -3.0, 0.5]])
linear = checks.network(("flatten",), ("linear", weight, None), name="a linear classifier")  # fleeing class 0: -, +, -, -

@exercise.case("one step on a linear classifier: only the pixels of the mask move, uphill")
def _(masked_pgd):
    x = torch.full((1, 1, 1, 4), 0.5)
    got = expect.tensor(masked_pgd(linear, x, torch.tensor([0]), left, 1, 0.1), like=x)
    expect.close(got, torch.tensor([[[[0.4, 0.6, 0.5, 0.5]]]]), mistakes={
        "Pixels outside the mask moved, too.": torch.tensor([[[[0.4, 0.6, 0.4, 0.4]]]]),
        "Inside and outside are exchanged: the mask is True where pixels may change.": torch.tensor([[[[0.5, 0.5, 0.4, 0.4]]]]),
        "You go downhill: the attack wants the loss to rise.": torch.tensor([[[[0.6, 0.4, 0.5, 0.5]]]]),
        "Pixels outside the mask are set to 0. They stay as they are in x.": torch.tensor([[[[0.4, 0.6, 0.0, 0.0]]]]),
        "No step was taken.": x,
        "This is the change alone. Add it to x.": torch.tensor([[[[-0.1, 0.1, 0.0, 0.0]]]]),
    }, hint="Inside the mask every pixel moves by step_size in the sign of its derivative.")

@exercise.case("many steps: as far as it takes, up to the ends of [0, 1]")
def _(masked_pgd):
    x = torch.tensor([[[[0.5, 0.3, 0.7, 0.2]]]])
    got = expect.tensor(masked_pgd(linear, x, torch.tensor([0]), left, 30, 0.05), like=x)
    expect.close(got, torch.tensor([[[[0.0, 1.0, 0.7, 0.2]]]]), mistakes={
        "Pixels leave [0, 1]: clamp after every step.": torch.tensor([[[[-1.0, 1.8, 0.7, 0.2]]]]),
        "Only one step was taken. Does each step start where the last one ended?": torch.tensor([[[[0.45, 0.35, 0.7, 0.2]]]]),
    }, hint="There is no eps here: inside the mask every value in [0, 1] is allowed.")

# One pixel u = the first; the loss of class 1 is highest at u = 0.6 and falls on both sides. The other pixels do nothing.
first = torch.tensor([[1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]])
peak = checks.network(("flatten",), ("linear", first, torch.tensor([-0.6, 0.6])), ("relu",),
                      ("linear", torch.tensor([[0.0, 0.0], [5.0, 5.0]]), None), name="a loss with its peak at 0.6")

@exercise.case("finds a peak of the loss: a fresh gradient in every step")
def _(masked_pgd):
    x = torch.tensor([[[[0.3, 0.5, 0.5, 0.5]]], [[[0.85, 0.1, 0.2, 0.3]]]])
    got = expect.tensor(masked_pgd(peak, x, torch.tensor([1, 1]), left, 60, 0.011), like=x)
    ends = {"The attack runs past the peak: the gradient is always that of x. Take it at the current iterate.": [0.96, 0.19],
            "The attack runs away from the peak, downhill.": [0.0, 1.0]}
    hint = next((why for why, end in ends.items() if (got[:, 0, 0, 0] - torch.tensor(end)).abs().max() < 1e-3),
                "Is the gradient fresh in every step: taken at the current iterate, and not added up with earlier ones?")
    furthest = (got[:, 0, 0, 0] - 0.6).abs().max().item()
    expect.that(furthest < 0.0115, f"pixels at {got[0, 0, 0, 0].item():.3f} and {got[1, 0, 0, 0].item():.3f}",
                "both at the peak, 0.600 give or take a step", hint)

@exercise.case("returns the last iterate, also where it overshoots; an image that is fooled goes on")
def _(masked_pgd):
    x = torch.tensor([[[[0.5, 0.5, 0.5, 0.5]]]])
    expect.close(masked_pgd(peak, x, torch.tensor([1]), left, 3, 0.25), torch.tensor([[[[0.75, 0.5, 0.5, 0.5]]]]), mistakes={
        "This is an earlier iterate. Here the last one is asked for.": x,
    }, hint="From 0.5 to 0.75, back to 0.5, and to 0.75 again: up to the peak at 0.6 and over it. A pixel without a slope stays.")
    expect.close(masked_pgd(linear, x, torch.tensor([1]), left, 2, 0.1), torch.tensor([[[[0.7, 0.3, 0.5, 0.5]]]]), mistakes={
        "You stop once the image is fooled. All steps are asked for.": x,
        "You stop after one step, once the image is fooled. All steps are asked for.": torch.tensor([[[[0.6, 0.4, 0.5, 0.5]]]]),
    }, hint="All steps are asked for, fooled or not.")

@exercise.case("real faces: nothing changes outside the frame, and the detector misses them all")
def _(masked_pgd):
    faces, spec = data.load("faces", "test"), checks.model("faces_cnn")
    x, frame = faces.x[faces.y == 1][:8], glasses(25, 25, apart=0.36, thickness=0.08)
    got = expect.tensor(masked_pgd(spec, x, torch.ones(8, dtype=torch.int64), frame, 20, 0.1), like=x)
    expect.that(bool((got == x)[..., ~frame].all()), "pixels outside the frame that changed", "the face as it was, but for the frame")
    expect.that(got.min().item() >= 0 and got.max().item() <= 1, f"pixels from {got.min().item():.3g} to {got.max().item():.3g}",
                "pixels in [0, 1]", "Clamp after every step.")
    count = int((spec.build()(got).argmax(dim=1) == 0).sum())
    expect.that(count == 8, f"{count} of 8 faces missed", "all 8", "Do all steps go up the loss of y, each with a fresh gradient?")
    expect.unchanged(masked_pgd)

### BEGIN HIDDEN TESTS
@exercise.case("a curved loss, colour, other shapes and classes, float64", hidden=True,
               hint="Every step: gradient at the iterate, sign, only inside the mask, clamp; start at x, return the last.")
def _(masked_pgd):
    net = checks.network(("flatten",), ("linear", 2 * torch.randn(9, 24, dtype=torch.float64), torch.randn(9, dtype=torch.float64)), ("tanh",),
                         ("linear", 2 * torch.randn(5, 9, dtype=torch.float64), None))
    network, x, y = net.build(), torch.rand(3, 3, 2, 4, dtype=torch.float64), torch.tensor([1, 4, 0])
    mask = torch.tensor([[True, False, True, True], [False, True, False, True]])
    for steps, step_size in ((4, 0.08), (3, 0.3)):
        x_k = x
        for _ in range(steps):
            x_k = torch.where(mask, (x_k + step_size * attacks.input_gradient(network, x_k, y).sign()).clamp(0, 1), x)
        expect.close(expect.tensor(masked_pgd(net, x, y, mask, steps, step_size), like=x), x_k)

@exercise.case("no step at all, and a gradient of zero", hidden=True, hint="With 0 steps the result is x; a zero gradient must not give NaN.")
def _(masked_pgd):
    dead = checks.network(("flatten",), ("linear", torch.zeros(3, 4), None), name="a constant classifier")
    x, y = torch.rand(2, 1, 1, 4), torch.tensor([0, 1])
    expect.close(masked_pgd(dead, x, y, left, 0, 0.1), x)
    expect.close(masked_pgd(dead, x, y, left, 3, 0.1), x)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Three kinds of glasses on the same strangers. A thick frame marks a face that the detector misses.

# %% demo="glasses-gallery"
def reference_pgd(model, x, y, mask, steps, step_size):
    return attacks.pgd(model, x, y, any_paint(mask), steps=steps, step_size=step_size,
                       random_start=False, early_stop=False)

your_pgd = checks.yours("masked_pgd", reference_pgd)
is_face = torch.ones(len(strangers), dtype=torch.int64)
made_for_each = your_pgd(detector, strangers, is_face, frame, 20, 0.1)
rows = {"black": ordinary, "random": noisy, "optimised": made_for_each}
for name, x in rows.items():
    print(f"{name:>10} glasses: {missed(x):>4.0%} of the strangers missed")
shown = torch.cat([x[:7] for x in rows.values()])
plots.images(shown, rows=list(rows), marked=detector(shown).argmax(dim=1) == 0, size=1.3,
             alt="Seven faces in three rows. With black glasses and with glasses of random grey values "
                 "the detector finds every face; with optimised ones, a frame that is white above and "
                 "black below, with a few speckles, it misses them.")

# %% [markdown]
# So far each person got glasses that were made for them. They look much alike, though.
#
# ### Predict, then reveal
#
# Every stranger lends their glasses to the 19 others. **On how many of the 19, on average, do glasses work that were made for somebody else?**

# %%
my_guess = None  # replace None by a number from 0 to 19

# %% demo="lent-glasses"
everybody_wears = [torch.where(frame, pair, strangers) for pair in made_for_each]
lent = [20 * missed(x) - missed(x[k : k + 1]) for k, x in enumerate(everybody_wears)]  # the others only
checks.reveal(my_guess, f"{sum(lent) / 20:.1f} of 19, at least {min(lent):.0f}",
              "The detector has one idea of what a face is, the same for all.\n"
              "Whoever paints over that idea hides everybody.")

# %% [markdown]
# (The slide's glasses do the same and more: they make a network that tells *people* apart take the wearer for somebody else. Sharif et al. also hid faces from a detector, as we do here.)
#
# ## 5.3 Something that one could print
#
# Those glasses are speckled, black beside white from one pixel to the next, which no camera sees from a few steps away; and nobody asked whether the printer has these greys. Sharif et al. add two penalties to the loss, and minimise
#
# $$-\mathcal L\big(f(\mathbf x + M\odot\boldsymbol\delta), y\big) + \lambda\,\mathrm{TV} + \mu\,\mathrm{NPS}.$$
#
# The first one is the **total variation**, how much the print changes from a pixel to its neighbours. With $z_{i,j}$ for the printed image, $i$ counting down and $j$ across,
#
# $$\mathrm{TV}(\mathbf z) = \frac{1}{|M|}\sum_{(i,j) \in M} \sqrt{d_{i,j}^2 + r_{i,j}^2}\,, \qquad d_{i,j} = z_{i+1,j} - z_{i,j}, \quad r_{i,j} = z_{i,j+1} - z_{i,j}.$$
#
# Two things need care. **At the border of the mask** a difference counts only if *both* pixels belong to the mask; otherwise it is taken as 0. (The frame need not have the colour of the skin beside it.) The same holds at the edge of the picture, where there is no neighbour. And a **colour image** has a TV in each channel; they are added up. (The paper sums over pixels. We divide by their number $|M|$, so that a weight $\lambda$ means the same for masks of any size.)
#
# ### Exercise 5.3: total variation inside a mask · medium · 15 minutes · 3 points
#
# <details><summary>Hint 1</summary>
# Differences: <code>x[:, :, 1:] - x[:, :, :-1]</code> goes down, with one row less than <code>x</code>; <code>x.diff(dim=2)</code> is the same. Which pairs of pixels are both inside? <code>mask[1:] &amp; mask[:-1]</code>.
# </details>
# <details><summary>Hint 2</summary>
# To add up squares of downward and rightward differences, both must have the shape of <code>x</code>. Start from <code>torch.zeros_like(x)</code> and fill in all rows but the last, or all columns but the last.
# </details>

# %% solution="total_variation"
def total_variation(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The total variation of each image inside the mask, as in the formula above.

    x: (B, C, H, W) images. mask: (H, W) booleans, True for at least one pixel.
    A difference counts only between two pixels of the mask; channels are added up; divided by
    the number of pixels of the mask. Returns (B,) floats.
    """
    ### BEGIN SOLUTION
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[:, :, :-1] = x.diff(dim=2) * (mask[1:] & mask[:-1])
    right[:, :, :, :-1] = x.diff(dim=3) * (mask[:, 1:] & mask[:, :-1])
    return (down**2 + right**2).sqrt().sum(dim=(1, 2, 3)) / mask.sum()
    ### END SOLUTION

# %% test="total_variation" points=3
# Run this cell to check your total_variation. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("total_variation", points=3, by_hand=["coursekit.attacks.physical.total_variation"])
everywhere = torch.ones(2, 3, dtype=torch.bool)

@exercise.case("a picture of 2 x 3 pixels, all of them inside")
def _(total_variation):
    # d = 0.3, 0, 0.1 in the first row; r = 0.4, 0.2 in the first and 0.1, 0.3 in the second.
    x = torch.tensor([[[[0.1, 0.5, 0.7], [0.4, 0.5, 0.8]]]])
    value = (0.5 + 0.2 + 0.1 + 0.1 + 0.3) / 6
    expect.close(expect.tensor(total_variation(x, everywhere), shape=(1,)), torch.tensor([value]), mistakes={
        "This is the sum. Divide by the number of pixels of the mask.": torch.tensor([6 * value]),
        "You add up |d| + |r|. The formula takes the root of the sum of their squares.": torch.tensor([(0.7 + 0.2 + 0.1 + 0.1 + 0.3) / 6]),
        "The root is missing: these are squares.": torch.tensor([(0.25 + 0.04 + 0.01 + 0.01 + 0.09) / 6]),
        "One root of everything: take it at each pixel, then add up.": torch.tensor([math.sqrt(0.40) / 6]),
        "One root of everything: take it at each pixel, then take the mean.": torch.tensor([math.sqrt(0.40 / 6)]),
        "Only the differences to the right count here. Where are those downwards?": torch.tensor([(0.4 + 0.2 + 0.1 + 0.3) / 6]),
        "Only the differences downwards count here. Where are those to the right?": torch.tensor([0.4 / 6]),
        "The last row and the last column are left out as a whole. There only the difference without a neighbour is 0.":
            torch.tensor([(0.5 + 0.2) / 6]),
        "The last row and the last column are left out as a whole, and from the number of pixels, too.": torch.tensor([(0.5 + 0.2) / 2]),
    }, hint="At each pixel sqrt(d^2 + r^2); 0 for a neighbour that is not there.")

@exercise.case("at the border of the mask nothing counts")
def _(total_variation):
    mask = torch.tensor([[False, False, False, False], [False, True, True, False], [False, True, False, False]])
    x = torch.ones(1, 1, 3, 4)
    x[0, 0, 1, 1], x[0, 0, 1, 2], x[0, 0, 2, 1] = 0.2, 0.5, 0.6  # r = 0.3 and d = 0.4 at the first, nothing at the others
    expect.close(total_variation(x, mask), torch.tensor([0.5 / 3]), mistakes={
        "Right inside, but divided by all pixels of the picture instead of those of the mask.": torch.tensor([0.5 / 12]),
        "Differences from the mask to pixels outside count as well. Both must be inside.":
            torch.tensor([(0.5 + math.sqrt(0.5**2 + 0.5**2) + 0.4) / 3]),
        "This is the sum. Divide by the number of pixels of the mask.": torch.tensor([0.5]),
        "You set the pixels outside to 0 and then take differences: the step from the print to 0 counts. Both pixels must be inside.":
            torch.tensor([(0.2 + 0.5 + 0.2 + 0.5 + math.sqrt(0.5) + 0.6 + 0.6) / 3]),
        "You set the pixels outside to 0: at the edge of the print the step down to it counts. Both pixels must be inside.":
            torch.tensor([(0.5 + math.sqrt(0.5) + 0.6) / 3]),
    }, hint="A difference counts only if both of its pixels are inside the mask; then divide by the number of pixels inside.")

@exercise.case("colours are added up; an even print costs nothing")
def _(total_variation):
    x = torch.zeros(2, 3, 1, 2)
    x[0, :, 0, 1] = torch.tensor([0.1, 0.2, 0.6])
    x[1] = torch.tensor([0.3, 0.5, 0.9]).view(3, 1, 1)
    got = expect.tensor(total_variation(x, torch.ones(1, 2, dtype=torch.bool)), shape=(2,))
    expect.close(got, torch.tensor([0.45, 0.0]), mistakes={
        "Channels are averaged. Add them up.": torch.tensor([0.15, 0.0]),
        "One root over all channels: each channel has its own, then they are added up.": torch.tensor([math.sqrt(0.41) / 2, 0.0]),
        "An even patch has no variation: do differences between channels come in?": torch.tensor([0.45, 0.3]),
    }, hint="A TV for each channel, one value per image.")

@exercise.case("does not mind what is outside; the image is left as it was")
def _(total_variation):
    mask = torch.zeros(5, 6, dtype=torch.bool)
    mask[1:4, 2:5] = True
    x = torch.rand(1, 1, 5, 6)
    inside = total_variation(x, mask)
    expect.unchanged(total_variation)
    expect.that(expect.tensor(inside, shape=(1,)).item() > 0.01, "nothing at all", "some variation inside")
    expect.close(total_variation(torch.where(mask, x, 1 - x), mask), inside,
                 hint="Other pixels outside, the same print inside: the TV must be the same.")

### BEGIN HIDDEN TESTS
@exercise.case("random masks, colours and sizes", hidden=True, hint="For any mask, also one with holes: both pixels of a pair must be inside.")
def _(total_variation):
    for channels, height, width in ((1, 4, 7), (3, 6, 5), (2, 1, 4)):
        x, mask = torch.rand(3, channels, height, width), torch.rand(height, width) < 0.6
        mask[0, 0] = True
        z = torch.nn.functional.pad(x, (0, 1, 0, 1))
        inside = torch.nn.functional.pad(mask, (0, 1, 0, 1))
        down = (z[:, :, 1:, :-1] - z[:, :, :-1, :-1]) * (inside[1:, :-1] & mask)
        right = (z[:, :, :-1, 1:] - z[:, :, :-1, :-1]) * (inside[:-1, 1:] & mask)
        expected = torch.hypot(down, right).sum(dim=(1, 2, 3)) / mask.sum()
        expect.close(expect.tensor(total_variation(x, mask), shape=(3,)), expected)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# The second penalty is the **non-printability score**. A printer has a set $C$ of colours. A pixel $\mathbf z_{i,j}$ (a vector of its channels) can be printed if it is close to *one* of them, and a product is small if one factor is:
#
# $$\mathrm{NPS}(\mathbf z) = \frac{1}{|M|}\sum_{(i,j)\in M}\;\prod_{\mathbf c \in C} \lVert \mathbf z_{i,j} - \mathbf c\rVert_2.$$
#
# ### Exercise 5.4: the non-printability score · medium · 15 minutes · 3 points
#
# <details><summary>Hint</summary>
# Give both tensors the axes (image, colour of the printer, channel, row, column): <code>x[:, None]</code> has shape <code>(B, 1, C, H, W)</code>, <code>colours[:, :, None, None]</code> has <code>(n, C, 1, 1)</code>. Which axis does the norm take away, which one the product?
# </details>

# %% solution="non_printability"
def non_printability(x: torch.Tensor, colours: torch.Tensor,
                     mask: torch.Tensor) -> torch.Tensor:
    """The non-printability score of each image: the mean over the pixels inside the mask.

    x: (B, C, H, W) images. colours: (n, C), the n colours that can be printed.
    mask: (H, W) booleans, True for at least one pixel.
    Returns (B,) floats: 0 if every pixel inside has one of the colours.
    """
    ### BEGIN SOLUTION
    distance = (x[:, None] - colours[:, :, None, None]).norm(dim=2)  # (B, n, H, W)
    return distance.prod(dim=1)[:, mask].mean(dim=1)
    ### END SOLUTION

# %% test="non_printability" points=3
# Run this cell to check your non_printability. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("non_printability", points=3, by_hand=["coursekit.attacks.physical.non_printability"])
black_and_white = torch.tensor([[0.0], [1.0]])

@exercise.case("grey pixels, a printer with black and white")
def _(non_printability):
    x = torch.tensor([[[[0.5, 0.2, 1.0]]]])
    got = expect.tensor(non_printability(x, black_and_white, torch.ones(1, 3, dtype=torch.bool)), shape=(1,))
    expect.close(got, torch.tensor([0.41 / 3]), mistakes={
        "This is the distance to the nearest colour. The formula multiplies the distances to all colours.": torch.tensor([0.7 / 3]),
        "You add up the distances to the colours. Multiply them: one small factor is enough.": torch.tensor([1.0]),
        "You take the mean of the distances to the colours. Multiply them: one small factor is enough.": torch.tensor([0.5]),
        "This is the sum over pixels. Divide by the number of pixels of the mask.": torch.tensor([0.41]),
        "These are squared distances.": torch.tensor([(0.0625 + 0.0256) / 3]),
        "You multiply over the pixels. The product goes over the colours, the mean over the pixels.": torch.tensor([0.1]),
    }, hint="At a pixel of 0.2 the score is |0.2 - 0| * |0.2 - 1| = 0.16.")

@exercise.case("only pixels inside the mask count")
def _(non_printability):
    x = torch.tensor([[[[0.5, 0.5], [0.1, 0.5]]], [[[0.5, 0.5], [0.0, 1.0]]]])
    mask = torch.tensor([[False, False], [True, True]])
    expect.close(expect.tensor(non_printability(x, black_and_white, mask), shape=(2,)), torch.tensor([0.17, 0.0]), mistakes={
        "Pixels outside the mask count as well.": torch.tensor([0.21, 0.125]),
        "Right inside, but divided by all pixels of the picture instead of those of the mask.": torch.tensor([0.085, 0.0]),
        "One number for the whole batch: each image has its own score.": torch.tensor([0.085, 0.085]),
        "This is the sum over pixels. Divide by the number of pixels of the mask.": torch.tensor([0.34, 0.0]),
    }, hint="The mean over the pixels inside, for each image.")

@exercise.case("colours: the distance is the length of a difference of vectors")
def _(non_printability):
    x = torch.tensor([0.3, 0.4, 0.0]).view(1, 3, 1, 1)
    colours = torch.tensor([[0.0, 0.0, 0.0], [0.3, 1.0, 0.8], [0.3, 0.4, 0.5]])
    expect.close(non_printability(x, colours, torch.ones(1, 1, dtype=torch.bool)), torch.tensor([0.5 * 1.0 * 0.5]), mistakes={
        "You add up the channels' absolute differences. The formula takes the Euclidean length.": torch.tensor([0.7 * 1.4 * 0.5]),
        "These are squared distances: the root is missing.": torch.tensor([0.25 * 1.0 * 0.25]),
        "Each channel has a product of its own here. First one distance per colour, over all channels, then the product.":
            torch.tensor([0.0]),
        "This is the distance to the nearest colour. The formula multiplies the distances to all colours.": torch.tensor([0.5]),
        "The distance is averaged over the channels. Take the length of the difference.":
            torch.tensor([(0.7 / 3) * (1.4 / 3) * (0.5 / 3)]),
    }, hint="sqrt of the sum over channels of the squared difference, for each colour; then the product over the colours.")

@exercise.case("an image of printable colours scores 0; x is left as it was")
def _(non_printability):
    colours = torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.1, 0.1], [0.5, 0.5, 0.5], [0.0, 0.9, 0.4]])
    x = colours[torch.tensor([[0, 1, 2], [3, 3, 0]])].permute(2, 0, 1)[None]
    mask = torch.ones(2, 3, dtype=torch.bool)
    expect.close(expect.tensor(non_printability(x, colours, mask), shape=(1,)), torch.zeros(1),
                 hint="Each pixel is one of the colours, so one factor of its product is 0.")
    expect.unchanged(non_printability)
    expect.that(expect.tensor(non_printability(x + 0.05, colours, mask), shape=(1,)).item() > 1e-4, "still 0",
                "more than 0 for other colours")

### BEGIN HIDDEN TESTS
@exercise.case("other numbers of colours, channels and images, float64", hidden=True, hint="No shape and no number of colours may be written out.")
def _(non_printability):
    for count, channels, images in ((1, 3, 2), (5, 1, 4), (4, 2, 1)):
        x = torch.rand(images, channels, 4, 3, dtype=torch.float64)
        colours, mask = torch.rand(count, channels, dtype=torch.float64), torch.rand(4, 3) < 0.6
        mask[1, 1] = True
        pixels = x.flatten(2).transpose(1, 2)  # (images, 12, channels)
        score = torch.cdist(pixels, colours.expand(images, -1, -1)).prod(dim=2)
        expected = (score * mask.flatten()).sum(dim=1) / mask.sum()
        expect.close(expect.tensor(non_printability(x, colours, mask), shape=(images,)), expected)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 5.4 One pair for everybody
#
# Glasses for each person from a photograph of that very person: that is a demonstration, not a product. What if the wearer looks the other way? What if somebody else wears them? Sharif et al. optimise *one* pair $\mathbf g$ for a whole set of photographs. With $t_b(\mathbf g)$ for "person $b$ wears $\mathbf g$" (inside the mask the pixels of $\mathbf g$, outside those of the photograph $\mathbf x_b$):
#
# $$\max_{\mathbf g}\; \frac1B \sum_{b=1}^B \mathcal L\big(f(t_b(\mathbf g)), y_b\big).$$
#
# ### Exercise 5.5: the gradient of a shared perturbation · medium · 15 minutes · 3 points
#
# Return the gradient of this mean with respect to $\mathbf g$: one tensor, however many people there are. Outside the mask $\mathbf g$ is not worn by anybody, so the gradient is 0 there. You may use `attacks.input_gradient(model, x, y)` (for each image the gradient of its own loss), or autograd.
#
# <details><summary>Hint 1</summary>
# First put the glasses on everybody: <code>torch.where(mask, glasses, x)</code> has the shape of <code>x</code>.
# </details>
# <details><summary>Hint 2</summary>
# All the losses depend on the same pixels of $\mathbf g$. What happens to derivatives when functions of the same variable are averaged?
# </details>

# %% solution="shared_gradient"
def shared_gradient(model, x: torch.Tensor, y: torch.Tensor, glasses: torch.Tensor,
                    mask: torch.Tensor) -> torch.Tensor:
    """The gradient of the mean loss of all people with respect to the glasses that they share.

    model: returns logits (N, K). x: (B, C, H, W) photographs. y: (B,) labels; the loss is the
    cross-entropy. glasses: (C, H, W), whose pixels inside the mask replace those of every
    photograph. mask: (H, W) booleans. Returns (C, H, W), 0 outside the mask.
    """
    ### BEGIN SOLUTION
    worn = torch.where(mask, glasses, x)
    return attacks.input_gradient(model, worn, y).mean(dim=0) * mask
    ### END SOLUTION

# %% test="shared_gradient" points=3
# Run this cell to check your shared_gradient. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data
from coursekit.attacks.physical import glasses
from coursekit.checks import expect

exercise = checks.Exercise("shared_gradient", points=3)
left = torch.tensor([[True, True, False, False]])
weight = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.2, 1.0, -3.0, 0.5]])
linear = checks.network(("flatten",), ("linear", weight, None), name="a linear classifier")

def slopes(pixels, y):
    """What each of these pictures says for itself, W^T (p - onehot(y)): (B, 1, 1, 4)."""
    return (((pixels @ weight.T).softmax(dim=1) - torch.eye(2)[y]) @ weight).reshape(-1, 1, 1, 4)

photographs = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.9, 0.8, 0.7, 0.1], [0.5, 0.1, 0.2, 0.6]])
wearing = torch.tensor([[0.6, 0.3, 0.3, 0.4], [0.6, 0.3, 0.7, 0.1], [0.6, 0.3, 0.2, 0.6]])  # the first two pixels are the glasses
pair, y = torch.tensor([0.6, 0.3, 0.8, 0.9]).reshape(1, 1, 4), torch.tensor([0, 1, 0])

@exercise.case("a linear classifier, three people: one gradient, where it is known")
def _(shared_gradient):
    x = photographs.reshape(3, 1, 1, 4)
    each, expected = slopes(wearing, y), torch.zeros(1, 1, 4)
    expected[..., :2] = each.mean(dim=0)[..., :2]
    got = expect.tensor(shared_gradient(linear, x, y, pair, left), like=pair)
    expect.close(got, expected, mistakes={
        "This is the sum over the people. The formula has their mean.": 3 * expected,
        "Outside the mask nobody wears the glasses: the gradient is 0 there.": each.mean(dim=0),
        "The sign is wrong: this is the gradient of minus the loss.": -expected,
        "The glasses are not on: this is the gradient at the photographs as they are.": slopes(photographs, y).mean(dim=0) * left,
        "The glasses are added to the faces. They take the place of the pixels: torch.where(mask, glasses, x).":
            slopes(photographs + left * pair.flatten(), y).mean(dim=0) * left,
        "Whole photographs are replaced. Outside the mask everybody keeps their own face.":
            slopes(pair.reshape(1, 4).expand(3, 4), y).mean(dim=0) * left,
        "Only the sign is left. Here the gradient itself is asked for.": expected.sign(),
        "This is the first person's gradient. Everybody counts.": each[0] * left,
    }, hint="Glasses on everybody, the gradient of each loss, the mean over the people, 0 outside the mask.")

@exercise.case("the same person twice counts as once; nobody else's gradient is in it")
def _(shared_gradient):
    x = photographs.reshape(3, 1, 1, 4)
    once = expect.tensor(shared_gradient(linear, x[:1], y[:1], pair, left), like=pair)
    expect.close(once, slopes(wearing[:1], y[:1])[0] * left, hint="With one person it is that person's gradient, inside the mask.")
    expect.close(shared_gradient(linear, x[:1].repeat(4, 1, 1, 1), y[:1].repeat(4), pair, left), once,
                 hint="A mean over people does not change when everybody is there four times.")

@exercise.case("real faces: a step along its sign raises the mean loss; model and images are left as they were")
def _(shared_gradient):
    faces, spec = data.load("faces", "train"), checks.model("faces_cnn")
    x, frame = faces.x[faces.y == 1][:20], glasses(25, 25, apart=0.36, thickness=0.08)
    y, grey = torch.ones(20, dtype=torch.int64), torch.full((1, 25, 25), 0.5)
    gradient = expect.tensor(shared_gradient(spec, x, y, grey, frame), like=grey)
    expect.unchanged(shared_gradient)
    expect.that(not gradient[:, ~frame].any(), "a gradient outside the frame", "0 outside the mask")
    network = spec.build()

    def mean_loss(pair):
        return torch.nn.functional.cross_entropy(network(torch.where(frame, pair, x)), y).item()

    before, after = mean_loss(grey), mean_loss(grey + 0.3 * gradient.sign())
    expect.that(after > 1.5 * before, f"a mean loss of {after:.3g} after the step", f"clearly more than the {before:.3g} before it",
                "Is it the gradient of the loss, at faces that wear the glasses?")

### BEGIN HIDDEN TESTS
@exercise.case("a curved loss, colour, other shapes and classes, float64", hidden=True,
               hint="Glasses on everybody, gradient of each loss, mean over the people, 0 outside the mask, for any shape.")
def _(shared_gradient):
    net = checks.network(("flatten",), ("linear", torch.randn(9, 24, dtype=torch.float64), torch.randn(9, dtype=torch.float64)), ("tanh",),
                         ("linear", torch.randn(5, 9, dtype=torch.float64), None))
    x, y, pair = torch.rand(4, 3, 2, 4, dtype=torch.float64), torch.tensor([1, 4, 0, 2]), torch.rand(3, 2, 4, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, True], [False, True, False, True]])
    network, variable = net.build(), pair.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(network(torch.where(mask, variable, x)), y)
    expect.close(expect.tensor(shared_gradient(net, x, y, pair, mask), like=pair), torch.autograd.grad(loss, variable)[0])
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Climb along this gradient, with the 80 people of whom the attacker has photographs. Then put the result on the 20 strangers.

# %% demo="shared-glasses"
def reference_shared(model, x, y, glasses, mask):
    """By the library: a tiny step of PGD that looks at everybody at once, logits (1, B, K)."""
    def look(pair):
        return model(torch.where(mask, pair, x))[None]
    moved = attacks.pgd(look, glasses[None], y[:1], any_paint(mask), steps=1, step_size=1e-3,
                        random_start=False)
    return moved[0] - glasses

your_gradient = checks.yours("shared_gradient", reference_shared)
pair, everybody = torch.full((1, 25, 25), 0.5), torch.ones(len(people), dtype=torch.int64)
for step in range(1, 31):
    gradient = your_gradient(detector, people, everybody, pair, frame)
    pair = (pair + 0.05 * gradient.sign()).clamp(0, 1)
    if step in (1, 3, 5, 7, 10, 30):
        hidden, also = (missed(torch.where(frame, pair, x)) for x in (people, strangers))
        print(f"after {step:>2} steps: {hidden:.0%} of the people missed, {also:.0%} of the strangers")
wearing = torch.where(frame, pair, strangers)
plots.images(wearing, marked=detector(wearing).argmax(dim=1) == 0, columns=10, size=0.95,
             alt="Twenty strangers, all with the same pair of glasses; the detector misses "
                 f"{missed(wearing):.0%} of them.")

# %% [markdown]
# One pair, twenty faces that took no part in making it. Such a perturbation is called *universal*.
#
# And what does it cost to make it smooth and printable? `attacks.expectation` maximises the loss minus $\lambda\,\mathrm{TV}$ minus $\mu\,\mathrm{NPS}$; to it "a person drawn at random wears the glasses" is one more random view $t$ of them, `Worn(people, frame)`. Our printer has four greys. (About five seconds.)

# %% demo="price"
greys = torch.tensor([[0.15], [0.4], [0.65], [0.9]])
weights, success, worn = [0, 10, 30, 100, 150, 200, 300], [], []
for weight in tqdm(weights, desc="glasses"):
    pair = attacks.expectation(
        detector, torch.full((1, 1, 25, 25), 0.5), torch.tensor([1]), any_paint(frame),
        Worn(people, frame), samples=16, steps=100, loss=losses.margin, smoothness=float(weight),
        printable=greys, printability=1000.0, generator=seeded(0))
    success.append(missed(torch.where(frame, pair, strangers)))
    worn.append(torch.where(frame, pair, strangers[8:9]))
plots.price(weights, success, torch.cat(worn), xlabel="weight λ of the total variation",
            ylabel="strangers missed")

# %% [markdown]
# Glasses of four greys in a few even patches still hide most strangers. Only when $\lambda$ asks for one even colour does the attack end: there is a limit to how harmless a pair of glasses can look *and* work. (The frame is a sixth of a picture of 25 by 25 pixels. With finer pictures and larger networks the numbers are others; the trade is the same.)
#
# ## 5.5 A sticker that must work from everywhere
#
# A sticker on a traffic sign has a harder life than glasses before a webcam. The camera sees the sign large or small, from the left or the right, in the sun or in haze, before another background, and adds its own blur and noise. Nobody who glues the sticker knows which.
#
# `signs.face("stop")` is the sign itself, seen from the front: four channels, red, green, blue and opacity (1 on the plate, 0 beside it), 64 by 64. `signs.views(n, generator)` draws `n` random views, with all that belongs to them: direction, distance, light, shadow, haze, blur, noise. `signs.photograph(faces, view)` takes the photographs, 32 by 32, as the classifier gets them; and it is differentiable, so that a gradient finds its way from the classifier back to the paint.

# %% demo="nine-views"
stop = signs.face("stop")
above = sticker(64, 64, centre=(0.24, 0.5), size=(0.14, 0.6))
strips = above | above.flip(0)  # and the same below
stickers = strips.expand(4, 64, 64).clone()
stickers[3] = False  # a sticker changes colours, not the shape of the plate

on_plate = stop[3] > 0.5
covered = (strips & on_plate).sum() / on_plate.sum()
print(f"two strips above and below the word cover {covered:.0%} of the plate")
nine = signs.views(9, seeded(77))
seen = signs.photograph(stop[None], nine)
called = sign_model(seen).argmax(dim=1).tolist()
plots.images(seen, titles=[f"“{classes[k]}”" for k in called], size=1.15)

# %% [markdown]
# **The naive attacker** takes one photograph, head-on and in good light, and runs PGD inside the stickers until that photograph is read as a speed limit of 100. (Targeted, so it goes *down* the loss of the class that it wants.) On its photograph it has full success:

# %% demo="naive"
head_on = signs.views(1, seeded(0), yaw=0.0, pitch=0.0, roll=0.0, distance=6.0, size=0.85,
                      light=1.0, shadow=0.0, haze=0.0, fading=0.0, blur=0.4, noise=0.0)

def reference_eot(model, sign, target, mask, shots, step_size):
    """As in Exercise 5.7, by the library: one step per entry of shots."""
    for view in shots:
        def look(faces, view=view):
            return model(signs.photograph(faces, view))[None]  # the views of one sign: (1, S, K)
        sign = attacks.pgd(look, sign[None], torch.tensor([target]), any_paint(mask), steps=1,
                           step_size=step_size, target=target, random_start=False)[0]
    return sign

naive = reference_eot(sign_model, stop, LIMIT, stickers, [head_on] * 40, 0.05)
for name, sign in (("clean", stop), ("naive", naive)):
    share = sign_model(signs.photograph(sign[None], head_on)).softmax(dim=1)[0]
    print(f"{name}: “{classes[int(share.argmax())]}”, "
          f"probability of “stop” {share[STOP]:.3f}, of “speed limit 100” {share[LIMIT]:.3f}")

# %% [markdown]
# ### Predict, then reveal
#
# **In how many of 100 new views is the naive sticker read as "speed limit 100"?**

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="naive-over-views"
held_out = signs.views(300, seeded(1000))  # nothing is ever optimised on these

def share_called(sign, wanted, view):
    """The share of the views in which the sign is taken for the class `wanted`."""
    with torch.no_grad():
        called = sign_model(signs.photograph(sign[None], view)).argmax(dim=1)
    return (called == wanted).float().mean().item()

checks.reveal(my_guess, f"{100 * share_called(naive, LIMIT, held_out):.0f} of 100",
              "It was made for one photograph. A little further away each of its pixels falls\n"
              "on another pixel of the camera.")

# %% [markdown]
# What the attacker wants is success in *every* view, or at least on average over the views that will come. So it maximises that average, and this is all there is to **expectation over transformations**, EOT (Athalye et al. 2018; the stickers are those of Eykholt et al. 2018):
#
# $$\max_{\boldsymbol\delta}\;\; \mathbb E_{t \sim T}\Big[\mathcal L\big(f(t(\mathbf x + M \odot \boldsymbol\delta)), y\big)\Big] \;\approx\; \frac1S \sum_{s=1}^S \mathcal L\big(f(t_s(\mathbf x + M \odot \boldsymbol\delta)), y\big), \qquad t_1, \dots, t_S \sim T.$$
#
# You have met it before: "person $b$ wears the glasses" was such a $t$.
#
# ### Exercise 5.6: the expected loss · medium · 15 minutes · 3 points
#
# Given $S$ photographs of each of $B$ things, estimate the expected loss of each thing. Mind the order: the formula has **the mean of the losses**. A published attack library took the loss of the mean logits instead. The two are not the same: a single view with very large logits can drown the others in a mean of logits, and the gradient then no longer notices the views in which the attack still fails.
#
# The reference for the cross-entropy is `losses.cross_entropy(logits, y)`: logits `(N, K)` and labels `(N,)` give `(N,)`.
#
# <details><summary>Hint</summary>
# A model takes images <code>(N, C, H, W)</code>. <code>seen.flatten(0, 1)</code> puts the views of the first thing first, then those of the second. Which labels belong to them, in this order? <code>y.repeat_interleave(S)</code> and <code>y.repeat(S)</code> are two different things.
# </details>

# %% solution="expected_loss"
def expected_loss(model, seen: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """For each thing the mean over its views of the cross-entropy.

    model: takes images (N, C, H, W), returns logits (N, K). seen: (B, S, C, H, W), S photographs
    of each of B things. y: (B,) the label of each thing. Returns (B,) floats.
    """
    ### BEGIN SOLUTION
    count, samples = seen.shape[:2]
    loss = losses.cross_entropy(model(seen.flatten(0, 1)), y.repeat_interleave(samples))
    return loss.reshape(count, samples).mean(dim=1)
    ### END SOLUTION

# %% test="expected_loss" points=3
# Run this cell to check your expected_loss. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks, data
from coursekit.checks import expect

exercise = checks.Exercise("expected_loss", points=3, by_hand=["coursekit.attacks.views"])
two_pixels = checks.network(("flatten",), ("linear", torch.eye(2), None), name="logits = pixels")

def pictures(*views):
    """Pictures of two pixels whose logits are given: (1, S, 1, 1, 2)."""
    return torch.tensor(views).reshape(1, len(views), 1, 1, 2)

def softplus(z):
    return math.log1p(math.exp(-abs(z))) + max(z, 0.0)

@exercise.case("two views, a good and a bad one: the mean of the losses",
               hint="A model takes a batch (N, C, H, W): put things and views into one axis first, or go through them in a loop.")
def _(expected_loss):
    got = expected_loss(two_pixels, pictures([5.0, 0.0], [0.0, 3.0]), torch.tensor([0]))
    each = [softplus(-5.0), softplus(3.0)]
    expect.close(expect.tensor(got, shape=(1,)), torch.tensor([sum(each) / 2]), mistakes={
        "This is the loss of the mean logits (or of the mean picture). First a loss for each view, then the mean.": torch.tensor([softplus(-1.0)]),
        "This is the loss of the mean probabilities. First a loss for each view, then the mean.":
            torch.tensor([-math.log((math.exp(-each[0]) + math.exp(-each[1])) / 2)]),
        "This is the sum of the losses. The expectation is a mean over the views.": torch.tensor([sum(each)]),
        "This is the largest loss of all views. The expectation is their mean.": torch.tensor([max(each)]),
        "This is the loss of the first view alone.": torch.tensor([each[0]]),
        "The sign is wrong.": torch.tensor([-sum(each) / 2]),
    }, hint="-log p_y in each view, then the mean over the views.")

@exercise.case("three things with two views each: to each its own label and its own mean")
def _(expected_loss):
    seen = torch.cat([pictures([2.0, 0.0], [1.0, 0.0]), pictures([0.0, 2.0], [0.0, 4.0]), pictures([0.0, 3.0], [5.0, 0.0])])
    right = [(softplus(-2.0) + softplus(-1.0)) / 2, (softplus(-2.0) + softplus(-4.0)) / 2, (softplus(3.0) + softplus(-5.0)) / 2]
    # Labels repeated in the other order: 0, 1, 0, 0, 1, 0 for the six pictures.
    mixed = [(softplus(-2.0) + softplus(1.0)) / 2, (softplus(2.0) + softplus(4.0)) / 2, (softplus(-3.0) + softplus(-5.0)) / 2]
    got = expect.tensor(expected_loss(two_pixels, seen, torch.tensor([0, 1, 0])), shape=(3,))
    expect.close(got, torch.tensor(right), mistakes={
        "Labels and pictures are in different orders: repeat_interleave(S) repeats each label, repeat(S) the whole row.": torch.tensor(mixed),
        "All things have the same value: the mean goes over the views only.": torch.full((3,), sum(right) / 3),
    }, hint="The views of one thing lie beside each other in seen; the mean goes over them only.")

@exercise.case("one view each: the ordinary cross-entropy; large logits do no harm")
def _(expected_loss):
    seen = torch.cat([pictures([1000.0, 0.0]), pictures([0.0, 1000.0])])
    got = expect.tensor(expected_loss(two_pixels, seen, torch.tensor([0, 0])), shape=(2,),
                        hint="Use losses.cross_entropy: a logarithm of a rounded probability is infinite.")
    expect.close(got, torch.tensor([0.0, 1000.0]))

@exercise.case("real signs: five photographs of each of four")
def _(expected_loss):
    photos, spec = data.load("signs", "test"), checks.model("signs_cnn")
    seen, y = photos.x[:20].reshape(4, 5, 3, 32, 32), torch.tensor([0, 3, 4, 7])
    got = expect.tensor(expected_loss(spec, seen, y), shape=(4,))
    expect.unchanged(expected_loss)
    network = spec.build()
    expected = torch.stack([torch.nn.functional.cross_entropy(network(five), label.expand(5)) for five, label in zip(seen, y)])
    expect.close(got, expected.detach(), hint="For each sign the mean of its five losses.")

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, classes and numbers of views, float64", hidden=True, hint="As above, for any B, S, K and shape of image.")
def _(expected_loss):
    net = checks.network(("flatten",), ("linear", torch.randn(7, 12, dtype=torch.float64), torch.randn(7, dtype=torch.float64)), ("tanh",),
                         ("linear", 3 * torch.randn(5, 7, dtype=torch.float64), None))
    network = net.build()
    for count, samples in ((1, 6), (5, 1), (2, 4)):
        seen, y = torch.rand(count, samples, 3, 2, 2, dtype=torch.float64), torch.randint(0, 5, (count,))
        expected = torch.stack([torch.nn.functional.cross_entropy(network(some), label.expand(samples)) for some, label in zip(seen, y)])
        expect.close(expect.tensor(expected_loss(net, seen, y), shape=(count,)), expected.detach())
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ## 5.6 STOP becomes a speed limit: the attack
#
# Now the whole attack, towards a target: in every step take *fresh* photographs of the sign as it is by now, average their losses towards the target, ask for the gradient with respect to the paint, and step down, inside the stickers only:
#
# $$\mathbf x_{k+1} = \operatorname{clamp}_{[0,1]}\Big(\mathbf x_k - \eta\, M \odot \operatorname{sign}\Big(\nabla_{\mathbf x}\; \frac1S\sum_{s=1}^S \mathcal L\big(f(t_{k,s}(\mathbf x_k)), y_{\text{target}}\big)\Big)\Big).$$
#
# ### Exercise 5.7: expectation over transformations · hard · 20 minutes · 5 points
#
# The views come as a list `shots` with one entry for each step; an entry holds the views of that step, as `signs.views` returns them. `signs.photograph(sign[None], view)` gives all the photographs of one entry: `(S, 3, 32, 32)`. The mask has the shape of the sign, `(4, 64, 64)`: it is False in the channel of the opacity. The reference for the loss is `losses.cross_entropy`.
#
# <details><summary>Hint 1</summary>
# One step, in words: a copy of the sign that requires a gradient; its photographs; logits; losses towards the target, one per photograph; their mean; the gradient with respect to the copy; the step.
# </details>
# <details><summary>Hint 2</summary>
# The labels: <code>torch.full((len(photographs),), target)</code>. The gradient: <code>torch.autograd.grad(loss, copy)[0]</code>. After the step, <code>detach()</code>, or start the next step from a fresh copy.
# </details>

# %% solution="eot_attack"
def eot_attack(model, sign: torch.Tensor, target: int, mask: torch.Tensor, shots: list,
               step_size: float) -> torch.Tensor:
    """Expectation over transformations: brings a sign closer to the class `target` in all views.

    model: takes photographs (N, 3, 32, 32), returns logits (N, K).
    sign: (4, S, S) in [0, 1]: red, green, blue, opacity. target: the class wanted.
    mask: (4, S, S) booleans, True where the paint may change.
    shots: a list; entry k holds the views of step k, for signs.photograph(sign[None], shots[k]).
    step_size: how far a pixel moves in one step, along the sign of its derivative.
    Returns the last iterate, like sign: equal to it outside the mask, in [0, 1] inside.
    """
    ### BEGIN SOLUTION
    x_k = sign
    for view in shots:
        paint = x_k.clone().requires_grad_(True)
        logits = model(signs.photograph(paint[None], view))
        loss = losses.cross_entropy(logits, torch.full((len(logits),), target)).mean()
        gradient = torch.autograd.grad(loss, paint)[0]
        x_k = (x_k - step_size * mask * gradient.sign()).clamp(0, 1)
    return x_k
    ### END SOLUTION

# %% test="eot_attack" points=5
# Run this cell to check your eot_attack. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.attacks.physical import sticker
from coursekit.checks import expect
from coursekit.data import signs

exercise = checks.Exercise("eot_attack", points=5, by_hand=["coursekit.attacks.expectation", "coursekit.attacks.pgd", "coursekit.attacks.views"])

# A grey plate of 8 x 8 pixels with a sticker of 2 x 2 in its middle.
plate = torch.full((4, 8, 8), 0.5)
plate[3] = 1.0
patch = torch.zeros(4, 8, 8, dtype=torch.bool)
patch[:3, 3:5, 3:5] = True

def brightness(factor, name, offset=0.0):
    """Logits 0 and factor * (mean brightness - offset): class 1 is the brighter one."""
    weight = torch.stack([torch.zeros(3072), torch.full((3072,), factor / 3072)])
    return checks.network(("flatten",), ("linear", weight, torch.tensor([0.0, -factor * offset])), name=name)

def mean_brightness(view):
    return signs.photograph(plate[None], view.build()).mean(dim=(1, 2, 3))

def moved(by):
    """The plate with the sticker's paint moved by so much."""
    return (plate + by * patch).clamp(0, 1)

bright = brightness(10.0, "a model of brightness")

@exercise.case("three steps towards a bright class: the sticker gets brighter, all else stays")
def _(eot_attack):
    shots = [checks.views(2, seed) for seed in (1, 2, 3)]
    got = expect.tensor(eot_attack(bright, plate, 1, patch, shots, 0.1), like=plate)
    expect.close(got, moved(0.3), mistakes={
        "You walk away from the target: its loss must fall, so the step goes against the gradient.": moved(-0.3),
        "Only one step was taken: there is one for each entry of shots, and each starts where the last one ended.": moved(0.1),
        "Pixels outside the mask changed, too.": torch.cat([torch.full((3, 8, 8), 0.8), plate[3:]]),
        "This is the change alone. Add it to the sign.": 0.3 * patch,
        "No step was taken: the sign is as it was.": plate,
    }, hint="Each step moves every pixel of the sticker by step_size; the rest of the sign and its opacity stay.")
    expect.close(eot_attack(bright, plate, 0, patch, shots, 0.1), moved(-0.3), hint="Towards the darker class the sticker gets darker.")

@exercise.case("many steps: the paint stays in [0, 1]")
def _(eot_attack):
    shots = [checks.views(1, seed) for seed in range(8)]
    expect.close(expect.tensor(eot_attack(bright, plate, 1, patch, shots, 0.1), like=plate), moved(0.5), mistakes={
        "Paint brighter than 1 does not exist: clamp to [0, 1] after every step.": plate + 0.8 * patch,
    }, hint="Clamp to [0, 1] after every step.")

# A target that is most probable at one brightness, between that of a dark and that of a bright view of the same scene.
dark, light = (checks.views(1, seed=5, light=value, shadow=0.0, noise=0.0) for value in (0.4, 1.1))
middle = ((mean_brightness(dark) + mean_brightness(light)) / 2).item()
rows = torch.stack([torch.full((3072,), 1 / 3072), torch.full((3072,), -1 / 3072)])

def neither_too_dark_nor_too_bright(offset, dark=10.0):
    return checks.network(("flatten",), ("linear", rows, torch.tensor([-offset, offset])), ("relu",),
                          ("linear", torch.tensor([[10.0, dark], [0.0, 0.0]]), None), name="a target of medium brightness")

@exercise.case("each step looks through its own views")
def _(eot_attack):
    between = neither_too_dark_nor_too_bright(middle)
    expect.close(eot_attack(between, plate, 1, patch, [dark, light, light], 0.05), moved(-0.05), mistakes={
        "All steps use the views of the first entry of shots. Step k has its own.": moved(0.15),
        "All steps use the views of the last entry of shots. Step k has its own.": moved(-0.15),
        "Only one step was taken.": moved(0.05),
    }, hint="In the dark view the sticker should get brighter, in the two bright ones darker: up, down, down.")

@exercise.case("all the views of a step count")
def _(eot_attack):
    between = neither_too_dark_nor_too_bright(middle)
    mostly_bright = checks.views(3, seed=5, light=[0.4, 1.1, 1.1], shadow=0.0, noise=0.0)
    expect.close(eot_attack(between, plate, 1, patch, [mostly_bright], 0.05), moved(-0.05), mistakes={
        "Only the first view of the step counts here. Take the mean over all of them.": moved(0.05),
    }, hint="One dark view and two bright ones: their mean loss falls if the sticker gets darker.")

@exercise.case("the mean of the losses, not the loss of the mean logits")
def _(eot_attack):
    # The dark view is of the target class already, by far, and its logits are the steeper ones; the bright view is not.
    both = checks.views(2, seed=5, light=[0.4, 1.1], shadow=0.0, noise=0.0)
    offset = mean_brightness(both)[0].item() + 0.01
    nearly = checks.network(("flatten",), ("linear", rows, torch.tensor([-offset, offset])), ("relu",),
                            ("linear", torch.tensor([[100.0, 600.0], [0.0, 0.0]]), torch.tensor([0.0, 15.0])), name="a target of medium brightness")
    expect.close(eot_attack(nearly, plate, 1, patch, [both], 0.05), moved(-0.05), mistakes={
        "You follow the loss of the mean logits. Average the losses: then the views in which the attack still fails count.": moved(0.05),
    }, hint="In the dark view the target is reached, its loss is nearly flat. The bright one asks for a darker sticker.")

@exercise.case("each step asks for a fresh gradient, of the sign as it is by now")
def _(eot_attack):
    just_above = neither_too_dark_nor_too_bright(signs.photograph(moved(0.03)[None], light.build()).mean().item(), dark=25.0)
    expect.close(eot_attack(just_above, plate, 1, patch, [light] * 4, 0.05), moved(0.0), mistakes={
        "The gradient is always that of the first sign. Photograph the sign as it is by now.": moved(0.2),
        "Gradients are added up over the steps (backward() adds to .grad).": moved(0.1),
    }, hint="The best paint is 0.53: with steps of 0.05 up to 0.55, back to 0.5, and so on; after four steps it is back.")

@exercise.case("a STOP sign towards “speed limit 100”: in views that it has never seen")
def _(eot_attack):
    strips = sticker(64, 64, centre=(0.24, 0.5), size=(0.14, 0.6)) | sticker(64, 64, centre=(0.76, 0.5), size=(0.14, 0.6))
    stop, mask, model = signs.face("stop"), strips.expand(4, 64, 64).clone(), checks.model("signs_cnn")
    mask[3] = False
    got = expect.tensor(eot_attack(model, stop, 2, mask, [checks.views(6, seed) for seed in range(20)], 0.08), like=stop)
    expect.unchanged(eot_attack)
    expect.that(torch.equal(got[~mask], stop[~mask]), "changes outside the stickers", "the sign as it was, but for the stickers")
    new = checks.views(100, seed=999).build()
    with torch.no_grad():
        share = (model.build()(signs.photograph(got[None], new)).argmax(dim=1) == 2).float().mean().item()
    expect.that(share > 0.45, f"taken for it in {share:.0%} of 100 new views", "clearly more than what one photograph gives, about 30 %",
                "Does every step use the mean loss over all of its views, and fresh views?")

### BEGIN HIDDEN TESTS
@exercise.case("a curved loss, other sizes and classes, float64", hidden=True,
               hint="Every step: photographs of the sign as it is, mean of the losses towards the target, gradient, down, only inside the mask.")
def _(eot_attack):
    net = checks.network(("flatten",), ("linear", 0.1 * torch.randn(9, 3072, dtype=torch.float64), None), ("tanh",),
                         ("linear", 3 * torch.randn(5, 9, dtype=torch.float64), None))
    network, sign = net.build(), torch.rand(4, 12, 12, dtype=torch.float64)
    sign[3] = 1.0
    mask = torch.rand(4, 12, 12) < 0.3
    mask[3] = False
    shots = [checks.views(count, seed) for seed, count in enumerate((3, 1))]
    x_k, clear = sign, mask.clone()
    for spec in shots:
        paint = x_k.clone().requires_grad_()
        logits = network(signs.photograph(paint[None], spec.build()))
        gradient = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, torch.full((len(logits),), 3)), paint)[0]
        clear &= gradient.abs() > 1e-6 * gradient.abs().max()  # where the sign is beyond doubt
        x_k = torch.where(mask, (x_k - 0.07 * gradient.sign()).clamp(0, 1), x_k)
    got = expect.tensor(eot_attack(net, sign, 3, mask, shots, 0.07), like=sign)
    expect.that(torch.equal(got[~mask], sign[~mask]), "changes outside the mask", "the sign as it was outside the mask")
    expect.close(got[clear], x_k[clear])

@exercise.case("no step at all, and a gradient of zero", hidden=True, hint="Without an entry in shots the result is the sign; no gradient, no change.")
def _(eot_attack):
    dead = checks.network(("flatten",), ("linear", torch.zeros(3, 3072), None), name="a constant classifier")
    expect.close(eot_attack(dead, plate, 1, patch, [], 0.1), plate)
    expect.close(eot_attack(dead, plate, 1, patch, [checks.views(2)], 0.1), plate)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Forty steps, sixteen fresh photographs in each: the same number of steps as the naive attacker had, and sixteen times as many gradients. (Two seconds.)

# %% demo="eot"
generator = seeded(0)
shots = [signs.views(16, generator) for _ in range(40)]
your_attack = checks.yours("eot_attack", reference_eot)
eot = your_attack(sign_model, stop, LIMIT, stickers, shots, 0.05)

noise = any_paint(stickers).sample(stop[None], generator=seeded(0))[0]
versions = {"clean": stop, "random": noise, "one photograph": naive, "all views (EOT)": eot}

def in_front_of_grey(sign):
    return sign[:3] * sign[3:] + 0.85 * (1 - sign[3:])

plots.images(torch.stack([in_front_of_grey(sign) for sign in versions.values()]),
             titles=list(versions), size=2.1,
             alt="The STOP sign from the front: clean; with two strips of random colours above and "
                 "below the word; with strips made for one photograph, patchy and colourful; and with "
                 "strips made for all views, mostly white with coloured edges. The word STOP "
                 "is readable on all four.")

# %% [markdown]
# ## 5.7 Measured on views that nobody has seen
#
# An attack that is measured on the views it was optimised for proves nothing: it may have learnt them by heart. That is the oldest rule of machine learning, with the attacker as the learner. So every number below comes from **held-out** views, drawn from another seed than those of the attack.
#
# ### Exercise 5.8: success over views · easy · 10 minutes · 3 points
#
# For each of several signs, return the share of the views in which the classifier takes it for the target. All signs are looked at through the *same* views: then a difference between two of them is due to the paint, not to luck.
#
# <details><summary>Hint</summary>
# <code>signs.photograph(face[None], view)</code> shows one sign in all views. A loop over the signs and a <code>torch.stack</code> is fine. No gradient is needed: <code>with torch.no_grad():</code>.
# </details>

# %% solution="success_rate"
def success_rate(model, faces: torch.Tensor, target: int, view) -> torch.Tensor:
    """For each sign the share of views in which it is classified as `target`.

    model: takes photographs (N, 3, 32, 32), returns logits (N, K).
    faces: (B, 4, S, S), one for each sign. view: some views, as signs.views returns them, the
    same ones for all signs. Returns (B,) floats from 0 to 1.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        seen = [signs.photograph(face[None], view) for face in faces]
        called = torch.stack([model(x).argmax(dim=1) for x in seen])
    return (called == target).float().mean(dim=1)
    ### END SOLUTION

# %% test="success_rate" points=3
# Run this cell to check your success_rate. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect
from coursekit.data import signs

exercise = checks.Exercise("success_rate", points=3, by_hand=["coursekit.attacks.success_over_views"])

def plain(grey, size=8):
    """A plate of one grey: (4, size, size)."""
    return torch.cat([torch.full((3, size, size), grey), torch.ones(1, size, size)])

# Three classes by brightness: 0 below 0.35, 1 up to 0.6, 2 above. In the light of these five views, one scene, a plate gets darker.
thirds = checks.network(("flatten",), ("linear", torch.stack([torch.zeros(3072), torch.full((3072,), 20 / 3072), torch.full((3072,), 40 / 3072)]),
                                       torch.tensor([0.0, -20 * 0.35, -20 * 0.95])), name="classes by brightness")

@exercise.case("a clean STOP sign is “stop” in every view, and no speed limit")
def _(success_rate):
    view = checks.views(20, seed=3, size=0.9, shadow=0.0)
    stop = signs.face("stop")[None]
    cnn = checks.model("signs_cnn")
    expect.close(expect.tensor(success_rate(cnn, stop, 4, view), shape=(1,)), torch.ones(1), mistakes={
        "This is the share of views that are not of the target class.": torch.zeros(1),
        "This is a number of views. Divide by how many there are.": torch.full((1,), 20.0),
        "This is in per cent; a share lies between 0 and 1.": torch.full((1,), 100.0),
    })
    expect.close(success_rate(cnn, stop, 2, view), torch.zeros(1), mistakes={
        "This is the share of views that are not of the target class.": torch.ones(1)})

@exercise.case("some views are, some are not: two signs in the same five views")
def _(success_rate):
    view = checks.views(5, seed=8, light=[0.3, 0.3, 0.3, 1.1, 1.1], shadow=0.0, noise=0.0, haze=0.0, fading=0.0)
    faces = torch.stack([plain(1.0), plain(0.0)])
    got = expect.tensor(success_rate(thirds, faces, 2, view), shape=(2,))
    sure = torch.stack([thirds.build()(signs.photograph(face[None], view.build())).softmax(dim=1)[:, 2].mean() for face in faces]).detach()
    expect.close(got, torch.tensor([0.4, 0.0]), mistakes={
        "This is the share that is not of the target class.": torch.tensor([0.6, 1.0]),
        "These are numbers of views. Divide by how many there are.": torch.tensor([2.0, 0.0]),
        "The share of all photographs together. Each sign has its own.": torch.tensor([0.2, 0.2]),
        "This is the mean probability of the target. Count the views in which it is the prediction.": sure,
        "In per cent. A share lies between 0 and 1.": torch.tensor([40.0, 0.0]),
    }, hint="The white plate is class 2 in the two bright views of five, the black one in none.")

@exercise.case("the target counts, not just any mistake")
def _(success_rate):
    view = checks.views(4, seed=8, light=[0.3, 1.1, 1.1, 1.1], shadow=0.0, noise=0.0, haze=0.0, fading=0.0)
    shares = [expect.tensor(success_rate(thirds, plain(1.0)[None], k, view), shape=(1,)) for k in range(3)]
    expect.close(torch.cat(shares), torch.tensor([0.25, 0.0, 0.75]), hint="The shares of all classes add up to 1; which class is asked for?")

@exercise.case("one number per sign; model and signs are left as they were")
def _(success_rate):
    faces = torch.stack([signs.face(name) for name in ("yield", "stop", "danger")])
    got = expect.tensor(success_rate(checks.model("signs_cnn"), faces, 5, checks.views(12, seed=4, size=0.9, shadow=0.0)), shape=(3,))
    expect.unchanged(success_rate)
    expect.close(got, torch.tensor([1.0, 0.0, 0.0]), hint="The first sign is of class 5 in every view, the others never.")

### BEGIN HIDDEN TESTS
@exercise.case("other signs, sizes, numbers of views and classes", hidden=True, hint="Share of views classified as target, for each sign.")
def _(success_rate):
    net = checks.network(("flatten",), ("linear", 0.3 * torch.randn(4, 3072), None))
    network = net.build()
    for count, samples, size in ((2, 30, 12), (1, 1, 20), (5, 17, 9)):
        faces, spec = torch.rand(count, 4, size, size), checks.views(samples, seed=samples)
        x = signs.photograph(faces.repeat_interleave(samples, 0), spec.build().select(torch.arange(samples).repeat(count)))
        called = network(x).argmax(dim=1).reshape(count, samples)
        target = int(called.flatten().mode().values)
        expect.close(expect.tensor(success_rate(net, faces, target, spec), shape=(count,)), (called == target).double().mean(dim=1))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# The table below has two columns, and they tell different stories. Two comparisons are added, to be fair to the naive attacker: EOT with a single fresh photograph in each step, which costs exactly as many gradients as the naive attack; and the naive attack from five other photographs, taken at random, so that it is not judged by one unlucky choice. (About eight seconds.)

# %% demo="table"
def reference_rate(model, faces, target, view):
    """By the library, which asks for one view after the other."""
    count, turn = len(view.homography), iter(range(len(view.homography)))
    def camera(faces, *, generator=None):
        return signs.photograph(faces, view.select(torch.full((len(faces),), next(turn))))
    y = torch.full((len(faces),), STOP)
    return attacks.success_over_views(model, faces, y, camera, samples=count, target=target)

rate = checks.yours("success_rate", reference_rate)
generator, versions = seeded(0), dict(versions)
fresh = [signs.views(1, generator) for _ in range(40)]  # a new photograph for each of 40 steps
versions["EOT, one fresh view"] = reference_eot(sign_model, stop, LIMIT, stickers, fresh, 0.05)
for seed in tqdm(range(1, 6), desc="naive, from other photographs"):
    same = [signs.views(1, seeded(seed))] * 40
    versions[f"another photograph ({seed})"] = reference_eot(sign_model, stop, LIMIT, stickers, same, 0.05)

faces = torch.stack([*versions.values()])
as_limit, as_stop = (rate(sign_model, faces, k, held_out) for k in (LIMIT, STOP))
print(f"{'over 300 new views':<26}{'“speed limit 100”':>18}{'not “stop”':>13}")
for name, hit, right in zip(versions, as_limit, as_stop):
    print(f"{name:<26}{hit:>18.0%}{1 - right:>13.0%}")

# %% [markdown]
# The first column is the attack's goal. The naive attacker depends on its luck with the photograph: from one to the next the sticker works in a sixth of the views or in more than half of them, and from its own photograph, on which each of them is a full success, it cannot tell. EOT needs no luck, and hardly more computation: with one fresh view a step it gets most of the way, for what counts is that the views keep changing. The second column is humbler: to make the sign *not* be read as STOP, even naive stickers are good enough in most views, and random ones do it now and then. It is easier to destroy than to steer, which is why a targeted attack is the better test of a method, and an untargeted one the better test of a defence.

# %% demo="gallery"
rows = {"clean": stop, "one photograph": naive, "all views (EOT)": eot}
seen = torch.cat([signs.photograph(sign[None], nine) for sign in rows.values()])
called = sign_model(seen).argmax(dim=1)
short_names = {k: name.replace("speed limit ", "") for k, name in enumerate(classes)}
plots.images(seen, titles=[short_names[k] for k in called.tolist()], rows=list(rows),
             marked=called == LIMIT, size=1.15)

# %% [markdown]
# How far can a view depart from the ordinary before an attack loses its grip? In each panel one quantity is fixed to the value below it, everything else is drawn at random. Grey marks what is ordinary in the views that the attack was made for, and the classifier trained on. (About six seconds.)

# %% demo="departure"
def line(sign, wanted, name, values):
    """For each value of one quantity the share of 60 views in which the sign is taken for `wanted`."""
    return [share_called(sign, wanted, signs.views(60, seeded(2000), **{name: v})) for v in values]

sweeps = {
    "size": ("share of the picture's width", [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1], (0.6, 0.95)),
    "yaw": ("turned by, in degrees", [-70.0, -55, -40, -20, 0, 20, 40, 55, 70], (-40, 40)),
    "light": ("light", [0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.2, 1.5], (0.45, 1.2)),
}
panels = []
for name, (title, values, ordinary_range) in tqdm(sweeps.items(), desc="views"):
    lines = {"EOT: “100”": line(eot, LIMIT, name, values),
             "naive: “100”": line(naive, LIMIT, name, values),
             "clean: “stop”": line(stop, STOP, name, values)}
    panels.append(plots.Departure(title, values, lines, ordinary_range))
plots.by_view(panels, ylabel="share of views")

# %% [markdown]
# The naive sticker needs the sign to fill the picture at least as it did on its own photograph, where it took up 0.85 of the width; further away it is lost. EOT holds on over most of the grey range, least well at its far end where the sign is small, and not far beyond: an expectation protects the attacker against what it averaged over, nothing else. So the distribution $T$ is part of the threat model, and of every claim about it.
#
# **Walk around the sign yourself.** Begin with the size: at 0.7 the naive sticker has lost. Then turn, tilt and dim. `scene` draws another background.

# %% demo="explorer"
stickered = {"no sticker": stop, "made for one photograph": naive, "made for all views (EOT)": eot}
widgets.viewpoint_explorer(sign_model, stickered, STOP, LIMIT)

# %% [markdown]
# <details><summary>Three things worth seeing in the picture</summary>
#
# 1. Size 0.85, head-on: both stickers work with full confidence. One photograph cannot tell them apart.
# 2. Size 0.7, or 0.6: the left one fails, the right one does not care.
# 3. Size 0.4, or turned by 60 degrees: both fail, and so does, now and then, the clean sign. The attack ends where its views did.
# </details>
#
# ## 5.8 Does a vote of ten frames help?
#
# A car sees a sign not once but in many frames as it drives up. An obvious defence: classify every frame, average the probabilities, and decide by the average. A single fooled frame then does no harm.
#
# ### Exercise 5.9: decide by several frames · easy · 10 minutes · 2 points
#
# <details><summary>Hint</summary>
# Softmax first, then the mean over the frames, then argmax. (Averaging the logits would let one very sure frame overrule the others.)
# </details>

# %% solution="decide"
def decide(model, frames: torch.Tensor) -> torch.Tensor:
    """For each drive the class with the largest mean probability over its frames.

    model: takes images (N, C, H, W), returns logits (N, K). frames: (D, T, C, H, W), T frames of
    each of D drives. Returns (D,) int64.
    """
    ### BEGIN SOLUTION
    probabilities = model(frames.flatten(0, 1)).softmax(dim=1)
    return probabilities.reshape(*frames.shape[:2], -1).mean(dim=1).argmax(dim=1)
    ### END SOLUTION

# %% test="decide" points=2
# Run this cell to check your decide. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data
from coursekit.checks import expect

exercise = checks.Exercise("decide", points=2)
two_pixels = checks.network(("flatten",), ("linear", torch.eye(2), None), name="logits = pixels")

def drive(*probabilities):
    """Frames of two pixels in which class 1 has these probabilities: (1, T, 1, 1, 2)."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([(1 - p).log(), p.log()], dim=1).float().reshape(1, len(p), 1, 1, 2)

@exercise.case("the mean of the probabilities decides")
def _(decide):
    got = expect.tensor(decide(two_pixels, drive(0.45, 0.45, 0.95)), shape=(1,), dtype=torch.int64)
    expect.that(got.item() == 1, f"class {got.item()}", "class 1: the mean of 0.45, 0.45 and 0.95 is 0.62",
                "Softmax over the classes, then the mean over the frames. (The most frequent verdict would be 0; it is not asked for.)")

@exercise.case("one very sure frame does not overrule the others")
def _(decide):
    got = expect.tensor(decide(two_pixels, drive(0.8, 0.8, 1e-6)), shape=(1,), dtype=torch.int64)
    expect.that(got.item() == 1, f"class {got.item()}", "class 1: the mean of 0.8, 0.8 and 0.000001 is 0.53",
                "Are logits (or log-probabilities, or pictures) averaged? Softmax comes first, the mean second.")

@exercise.case("several drives, each with its own frames; nothing is left changed")
def _(decide):
    frames = torch.cat([drive(0.9, 0.7), drive(0.2, 0.4), drive(0.9, 0.3), drive(0.6, 0.1)])
    got = expect.tensor(decide(two_pixels, frames), shape=(4,), dtype=torch.int64)
    expect.unchanged(decide)
    expect.that(got.tolist() == [1, 0, 1, 0], f"{got.tolist()}", "[1, 0, 1, 0]",
                "The first axis counts drives, the second frames: the mean goes over the second.")

### BEGIN HIDDEN TESTS
@exercise.case("more classes, other shapes, one frame", hidden=True, hint="For any number of drives, frames and classes.")
def _(decide):
    photos, spec = data.load("signs", "test"), checks.model("signs_cnn")
    for drives, length in ((6, 4), (3, 1), (1, 7)):
        frames = (photos.x[: drives * length] * 0.4 + 0.3 * torch.rand(drives * length, 3, 32, 32)).reshape(drives, length, 3, 32, 32)
        network = spec.build()
        expected = torch.stack([network(some).softmax(dim=1).mean(dim=0).argmax() for some in frames])
        got = expect.tensor(decide(spec, frames), shape=(drives,), dtype=torch.int64)
        expect.that(torch.equal(got, expected), f"{got.tolist()}", f"{expected.tolist()}")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Predict, then reveal
#
# The EOT sticker is taken for "speed limit 100" in about seven of ten single views. Now each decision is the average of ten frames in independent views. **Of 100 such decisions, how many fall for the EOT sticker?**

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="vote"
def reference_decide(model, frames):
    with torch.no_grad():
        return torch.stack([model(some).softmax(dim=1).mean(dim=0).argmax() for some in frames])

your_decide = checks.yours("decide", reference_decide)
thousand, answer, said = signs.views(1000, seeded(3000)), 0.0, []
for name, sign in rows.items():  # the last one is EOT
    frames = signs.photograph(sign[None], thousand).reshape(100, 10, 3, 32, 32)
    single, answer = (
        (your_decide(sign_model, frames[:, :count]) == LIMIT).float().mean().item() for count in (1, 10))
    said.append(f"{name:>16}: {single:>4.0%} of single frames, {answer:>4.0%} of decisions by ten")
checks.reveal(my_guess, f"{100 * answer:.0f} of 100", "Taken for “speed limit 100”:\n" + "\n".join(said))

# %% [markdown]
# Averaging takes the luck out of a decision, *for both sides*. A sticker that works in most views now works nearly always; one that works in a minority of them gains little. The defence helps against chance, and an attacker that has optimised an expectation has left nothing to chance. (In a real drive the frames are not even independent: the same car, the same light, the same side of the road. Whatever fools one of them has a good chance with the next.)
#
# ## 5.9 What was simulated, and what a real print would add
#
# Everything here was digital. Our camera model is rendered: a pinhole, a flat plate, soft shadows, normal noise. The classifier is small, and was trained on pictures from the same renderer. So the numbers say something about *methods*, compared under equal conditions, and little about any car. A real test would print the sticker, glue it to a plate, and photograph it: other days, several cameras, distances and angles measured, frames from a moving car, and it would report all of them, not the best. Between here and there lie a printer's inks (our strips have colours that no printer has), gloss, creases and dirt, the camera's exposure control, motion blur and compression, a detector that must first find and crop the sign, and maps and other sensors that know about the crossing. Some of it helps the attacker, most of it does not. It also pays to read the literature with this list in hand.
#
# **On conduct.** Making stickers in a simulation, or on a plate in a laboratory, is how defences get tested. Gluing one to a sign in traffic is not research: it endangers people who did not agree to take part, and in most countries it is a crime, whatever the sticker says. The line is not drawn by the algorithm, but by who may be harmed and who has consented: own systems or those whose owner agreed; closed grounds; faults of a product in use reported to its maker before they are published. The same holds for glasses and cameras that protect somebody.
#
# ## 5.10 In your own words
#
# These two answers are read by a person. A few sentences each are enough.
#
# ### Question 5.10a: a threat model for stickers · medium · 10 minutes · 3 points
#
# Write down the threat model of a sticker on a traffic sign: (1) What may the attacker change, what can it not control, and why is an $L_\infty$ ball with a small $\epsilon$ the wrong set of perturbations for it? (2) A paper reports "92 % success" for its sticker. Name three things about the evaluation that you would want to know before you believe that it is dangerous on a road.

# %% [markdown] answer="threat-model" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: may change: the pixels of a limited region (what can be printed and glued), by any amount, in printable colours, once for all. Cannot control: viewpoint, distance, light, weather, background, camera and its noise. (Both sides named: 1; only one: half.)
#
# **1 point** for why not a small L-inf ball: it allows tiny changes everywhere, also on the background and on things the attacker cannot touch, and a camera does not even resolve changes as small as that; it forbids the large change in a small area that the sticker is. "Unnoticed" is no requirement, only that people still read STOP. (Half a point if only one of the two directions, too large or too small a set.)
#
# **1 point** for three sensible items, a third each: success counted on held-out views (not those optimised on); which distribution of distances, angles and light, and whether failures are counted; printed and photographed, or digital; several cameras, days, signs; targeted or any mistake; accuracy on the clean sign in the same views; transfer to other classifiers, or the very one attacked; frames chosen by hand or all frames of a drive; a whole system or a classifier of cropped pictures; number of trials, interval.
# === END MARK SCHEME ===
# (1) The attacker may repaint a small region of the sign, the sticker, in any colour that a printer has, once and for all cars. It does not control from where, how far, in which light and weather and with which camera the sign is seen, nor what stands behind it. A small L-infinity ball is wrong in both directions: it allows changes of every pixel, also of the sky, which nobody can make, and so faint that a camera loses them; and it forbids the large change on a small area that a sticker is. That the sticker is seen does not matter as long as people still read STOP. (2) I would ask whether the views were held out from the optimisation and how they were chosen (angles, distances, light, all frames or the best); whether it was printed and photographed with several cameras or only simulated; and what is counted: any mistake or the target, beside the accuracy on the clean sign in the same views.

# %% [markdown]
# ### Question 5.10b: ten frames · medium · 10 minutes · 3 points
#
# A company says: "Our sign classifier averages its decision over ten frames. A sticker may fool single frames, but it is no danger to us." Judge this with what you measured. (1) When is the argument right, when is it wrong, and why? (2) How would you attack their system, as a formula or in words? (3) How would you test it?

# %% [markdown] answer="ten-frames" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: right for attacks that fool a minority of frames, such as noise or a sticker made for one photograph: they stay rare. Wrong for an attack that wins the average over views, as EOT does: the mean over frames estimates the very expectation that EOT maximised, so averaging makes it surer (about 7 of 10 single frames became nearly all decisions of ten). Also: frames of one drive are not independent, so the average removes less luck than it seems.
#
# **1 point** for the attack: put the defence into the loss: maximise E over drives of the loss of the averaged prediction, e.g. min over delta of E[ L( mean_k softmax f(t_k(x + M delta)), target ) ], with t_1..t_10 views of one drive (correlated: approaching, same light), gradient through the average. Plain EOT as first attempt earns half a point, if it is said why it works against the average.
#
# **1 point** for the test: adaptive attack that knows the average; whole drives as the unit, held out, all frames counted, other light, cameras, lanes; targeted and untargeted success, and clean accuracy, beside each other; printed if it can be; number of drives with an interval. (Two sensible items are enough.)
# === END MARK SCHEME ===
# (1) The argument holds against attacks that win few frames: the naive sticker gained little from ten frames. It fails against one that wins the average: EOT maximises the expected loss over views, and a mean over ten frames is an estimate of that expectation with less noise, so what worked in about seven of ten frames worked in nearly every decision of ten. Besides, frames of one drive share light, lane and camera, so they are not ten independent chances. (2) I would attack the average itself: minimise over δ the expectation over drives of the loss of the mean of softmax f(t_k(x + M⊙δ)), k = 1 to 10, towards the target, with the views of a drive as they follow each other. (3) I would let the attack know the defence, count whole drives that it has not seen, all of them, under several lights and cameras, and report success towards the target, any mistake, and mistakes on the clean sign, each with an interval.

# %% [markdown]
# ## What to take along
#
# * A physical attacker changes few pixels by much, and does not control the view. Its perturbation set is a mask; its uncertainty is a distribution of transformations.
# * PGD works on a mask as on a ball. Smoothness and printability are penalties, and have a price that can be measured.
# * One perturbation for many faces, or for many views, is the same idea: maximise the **mean of the losses** over them.
# * Success counts on held-out views, targeted and untargeted, beside the clean accuracy. An attack holds where its $T$ holds.
# * Averaging over frames is no defence against an attack that optimised the average.
#
# **Further**: Sharif, Bhagavatula, Bauer, Reiter, *Accessorize to a crime*, 2016 (glasses, TV, NPS). Eykholt et al., *Robust physical-world attacks on deep learning visual classification*, 2018 (stickers on STOP signs). Athalye, Engstrom, Ilyas, Kwok, *Synthesizing robust adversarial examples*, 2018 (EOT, and a printed turtle). Moosavi-Dezfooli et al., *Universal adversarial perturbations*, 2017. Kurakin, Goodfellow, Bengio, *Adversarial examples in the physical world*, 2017.
