# %% [markdown]
# # 1 Adversarial examples
#
# A pig, a change too small to see, and a network that is sure of an airliner: with this picture the lecture opens. Here you make it yourself, with a real classifier, on real photos and on your own. Then you take it apart. What exactly is an adversarial example? Is it bad luck, or is it built? Would one survive being saved as a file? And who would want to make one?
#
# **After this notebook you can**
#
# * say what an adversarial example is, condition by condition, and write the definition as a function;
# * add a perturbation to a photo and read what a classifier makes of it, in its own probabilities;
# * tell the worst case from the average one, with numbers: random noise, corruptions as they happen, and a crafted perturbation;
# * sort an attack into evasion or poisoning, targeted or untargeted, and say why.
#
# **Slides**: "Roadmap", "Introduction", "What Are Adversarial Examples?", "Why We (Should) Care About Adversarial Examples", "Adversarial Examples", "Adversarial Examples – Definition", "Attack Variants". **Time**: about two hours and a quarter. **Points**: 30 from nine functions that are checked at once, 6 from two texts that a person reads.
#
# **The roadmap** of the lecture, and where the course's assignments lie on it:
#
# | lecture | assignments |
# |---|---|
# | 1. Introduction | **01 adversarial examples** (you are here), 02 perturbation sets |
# | 2. Construction of adversarial examples | 03 gradient attacks, 04 minimum-norm attacks, 05 physical attacks |
# | 3. Improving robustness | 06 failed defences, 07 adversarial training, 08 the lecture's own questions |
# | 4. Certifiable robustness | 09 exact certification, 10 convex relaxations, 11 Lipschitz continuity, 12 randomised smoothing |
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other shapes, other numbers of classes and other sizes. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was: no tensor edited in place, no model in another mode.</div>
#
# **Notation**, as on the slides: $\mathbf x \in \mathbb R^d$ an image, here with pixels in $[0, 1]$; $y \in \mathcal Y$ its label; $f$ the classifier; $\tilde{\mathbf x}$ a perturbed image; $\mathcal P(\mathbf x)$ the perturbation set, all that $\mathbf x$ may be changed into. In code, `x` is a batch of images of shape `(B, C, H, W)` (batch, channels, height, width), `y` holds their `B` labels, and `model(x)` returns *logits* of shape `(B, K)`: one real number per image and class. The class with the largest is the prediction, $f(\mathbf x)$.

# %% readonly="setup"
import io
import math

import torch
import torchvision.transforms.v2.functional as corrupt
from IPython.display import display
from torchvision.utils import save_image
from tqdm.auto import tqdm

import coursekit
from coursekit import attacks, checks, data, evaluation, plots, widgets
from coursekit.perturbations import LpBall, Rotation

torch.set_num_threads(1)  # a second thread gains little here, and costs much on a busy machine
EPS = 0.005  # the size on the slide
ROUNDING = 1e-6  # what floating point may add to a distance; exercise 1.4 says where it comes from

# %% [markdown]
# ## 1.1 What the classifier sees
#
# Six photographs, and EfficientNet-Lite0: a network of the kind that runs on phones, trained on 1.2 million photos to tell 1,000 classes apart. It was not made for this course, and nobody made it weak.

# %% demo="photos"
photos = data.load("photos")
model = coursekit.models.load("imagenet").requires_grad_(False)  # its weights stay as they are
x, y, classes = photos.x, photos.y, photos.classes
AIRLINER = classes.index("airliner")

def names(logits):
    """The predicted class of each image, as a word."""
    return [classes[k] for k in logits.argmax(dim=1).tolist()]

print(f"{len(x)} photos of {tuple(x.shape[1:])}: {x[0].numel():,} numbers each, in [0, 1]; {len(classes):,} classes")
plots.images(x, titles=[f"“{name}”" for name in names(model(x))], size=1.55)

# %% [markdown]
# All six are right (ImageNet has no class for rockets: "missile" is the nearest, and its label here; and the tripod is what carries the camera). How sure is the network? Its logits $z$ become probabilities through the softmax,
#
# $$p_i = \frac{e^{z_i}}{\sum_{j=1}^{K} e^{z_j}}, \qquad i = 1, \dots, K.$$
#
# ### Exercise 1.1: the top classes · easy · 10 minutes · 3 points
#
# Write a function that turns the logits of a batch into the $k$ most probable classes of each image, with their probabilities.
#
# <details><summary>Hint 1</summary>
# <code>logits.softmax(dim=...)</code>: along which dimension must the probabilities of one image add up to 1?
# </details>
# <details><summary>Hint 2</summary>
# <code>torch.topk</code> returns the k largest values <em>and</em> where they were found. First the softmax over all classes, then the selection: the other way round, k classes would share what belongs to all.
# </details>

# %% solution="top_classes"
def top_classes(logits: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k most probable classes of each image, most probable first.

    logits: (B, K) floats. k: from 1 to K. Returns a pair (probabilities, classes), each (B, k): floats that are the
    softmax over all K classes, and the numbers of the classes as integers. Equally probable classes: in any order.
    """
    ### BEGIN SOLUTION
    top = logits.softmax(dim=1).topk(k, dim=1)
    return top.values, top.indices
    ### END SOLUTION

# %% test="top_classes" points=3
# Run this cell to check your top_classes. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("top_classes", points=3)

def pair(got, shape):
    """The two tensors of an answer, looked at in order."""
    expect.that(got is not None, "None", "a pair (probabilities, classes)", "Did you forget a return?")
    expect.that(isinstance(got, list) and len(got) == 2, got, "a pair of two tensors",
                "Return both: `return probabilities, classes`.")
    expect.that(not isinstance(got[0], torch.Tensor) or tuple(got[0].shape) == shape, f"shape {tuple(getattr(got[0], 'shape', ()))}", f"shape {shape}",
                "k classes for each image, (B, k): is k used, and is it the k largest of each row, dim=1?")
    values = expect.tensor(got[0], shape=shape, hint="The exponential of a large logit is infinite: use softmax.")
    indices = expect.tensor(got[1], shape=shape)
    swapped = "Probabilities first, classes second."
    expect.that(values.is_floating_point(), "whole numbers first", "probabilities first", swapped)
    expect.that(not indices.is_floating_point() and indices.dtype != torch.bool, f"classes of dtype {indices.dtype}".replace("torch.", ""),
                "whole numbers", "The number of a class is an integer, as topk and argsort return it.")
    return values.double(), indices.long()

def hold(got, logits, k):
    """An answer against its definition; ties may come in any order."""
    every = logits.double().softmax(dim=1)
    expected = every.topk(k, dim=1)
    values, indices = pair(got, (len(logits), k))
    raw, within = logits.double().topk(k, dim=1).values, logits.double().topk(k, dim=1).values.softmax(dim=1)
    mistakes = {
        "These are the logits. The softmax makes probabilities of them.": raw,
        "This is a sigmoid, each class by itself. The softmax divides by the sum over all classes.": logits.double().sigmoid().topk(k, dim=1).values,
        "The softmax is taken over the batch (dim=0). The probabilities of one image add up to 1.":
            logits.double().softmax(dim=0).topk(k, dim=1).values,
        "These are the least probable classes.": every.topk(k, dim=1, largest=False).values,
        "The k probabilities come in the wrong order: the most probable first.": expected.values.flip(1),
        "Logarithms: log_softmax. Probabilities are asked for.": expected.values.log(),
    }
    if k < logits.shape[1]:
        mistakes["The softmax is taken over the k classes alone: so they add up to 1, and the others get nothing. First the softmax, then topk."] = within
    expect.close(values, expected.values, mistakes=mistakes, hint="Softmax over all classes of an image, then the k largest.")
    expect.that(bool(((indices >= 0) & (indices < logits.shape[1])).all()), "a class that does not exist", f"classes from 0 to {logits.shape[1] - 1}",
                "Classes are counted from 0: their places in the row of logits.")
    at = every.gather(1, indices)
    expect.that(bool(torch.allclose(at, values, rtol=1e-3, atol=1e-4)), "classes that do not belong to the probabilities", "the class of each probability",
                "The places where the largest values were found are their classes: from the same topk.")
    expect.that(all(len(set(row)) == k for row in indices.tolist()), "a class twice", f"{k} different classes")

@exercise.case("two images, three classes: the two most probable")
def _(top_classes):
    logits = torch.tensor([[0.50, 0.30, 0.20], [0.10, 0.15, 0.75]]).log() + torch.tensor([[3.0], [-1.0]])
    hold(top_classes(logits, 2), logits, 2)

@exercise.case("all classes, in order")
def _(top_classes):
    logits = torch.tensor([[0.1, 2.0, -1.0, 1.0]])
    hold(top_classes(logits, 4), logits, 4)

@exercise.case("large logits do no harm")
def _(top_classes):
    logits = torch.tensor([[1000.0, 990.0, 0.0], [-1000.0, -1001.0, -1002.0]])
    hold(top_classes(logits, 2), logits, 2)

@exercise.case("a thousand classes; the logits are left as they were")
def _(top_classes):
    logits = 3 * torch.randn(3, 1000)
    hold(top_classes(logits, 5), logits, 5)
    expect.unchanged(top_classes)

### BEGIN HIDDEN TESTS
@exercise.case("a single image, one class asked for; float64", hint="Any number of images, of classes, and any k.", hidden=True)
def _(top_classes):
    for rows, columns, k in ((1, 6, 1), (20, 7, 3), (4, 2, 2)):
        logits = 2 * torch.randn(rows, columns, dtype=torch.float64)
        hold(top_classes(logits, k), logits, k)
### END HIDDEN TESTS

exercise.score()

# %% demo="top-classes"
def reference_top(logits, k):
    return tuple(logits.softmax(dim=1).topk(k, dim=1))

your_top = checks.yours("top_classes", reference_top)

def top_of(logits):
    """The three top classes of one photo (1, K) as a line of text; your function where it is there."""
    values, places = your_top(logits, 3)
    return ", ".join(f"{classes[k]} {plots.percent(p)}" for p, k in zip(values[0].tolist(), places[0].tolist(), strict=True))

for i in range(len(x)):
    print(f"photo {i + 1}: {top_of(model(x[i:i + 1]))}")

# %% [markdown]
# ## 1.2 "Airliner"
#
# The lecture's picture: a photo $\mathbf x$, plus 0.005 times a perturbation $\boldsymbol\delta$ with entries between $-1$ and $1$, gives
#
# $$\tilde{\mathbf x} = \mathbf x + 0.005 \cdot \boldsymbol\delta.$$
#
# You add, and an attack brings the $\boldsymbol\delta$. (How it finds one is assignment 03. In one sentence: it changes each pixel a little in the direction in which the class "airliner" becomes more probable, looks again, and repeats.)
#
# ### Exercise 1.2: add a perturbation, keep an image · easy · 8 minutes · 2 points
#
# The result must be an image again, with all its pixels in $[0, 1]$: a pixel that is white already cannot become brighter.
#
# <details><summary>Hint</summary>
# Scale, add, clip, in this order. What must be clipped is the sum: <code>clamp(0, 1)</code>.
# </details>

# %% solution="add_perturbation"
def add_perturbation(x: torch.Tensor, delta: torch.Tensor, size: float) -> torch.Tensor:
    """x + size * delta, clipped to the image range.

    x: (B, ...) images in [0, 1]. delta: like x, any values. size: a number, 0 or more.
    Returns images like x, in [0, 1].
    """
    ### BEGIN SOLUTION
    return (x + size * delta).clamp(0, 1)
    ### END SOLUTION

# %% test="add_perturbation" points=2
# Run this cell to check your add_perturbation. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("add_perturbation", points=2, by_hand=["coursekit.perturbations.LpBall.project"])

@exercise.case("grey pixels move by size times delta")
def _(add_perturbation):
    x, delta = torch.tensor([[0.5, 0.4, 0.6, 0.5]]), torch.tensor([[1.0, -1.0, 0.5, 0.0]])
    expect.close(add_perturbation(x, delta, 0.1), torch.tensor([[0.6, 0.3, 0.65, 0.5]]), mistakes={
        "The whole delta was added: scale it by size.": (x + delta).clamp(0, 1),
        "This is the perturbation alone. Add it to x.": 0.1 * delta,
        "This is the perturbation alone, clipped. Add it to x, then clip.": (0.1 * delta).clamp(0, 1),
        "You subtract it.": x - 0.1 * delta,
        "Pixels only get brighter: the perturbation was clipped to [0, 1]. Clip the sum.": x + (0.1 * delta).clamp(0, 1),
        "The image was stretched so that it fills [0, 1]. Clip it instead: pixels inside the range stay as they are.":
            (x + 0.1 * delta - 0.3) / 0.35,
        "The size 0.005 is written out. Use the argument.": x + 0.005 * delta,
        "Nothing was added to x.": x,
    }, hint="x + size * delta, pixel by pixel.")

@exercise.case("black and white stay in the range, and no pixel turns round")
def _(add_perturbation):
    x, delta = torch.tensor([[0.0, 1.0, 0.98, 0.01, 0.5]]), torch.tensor([[-1.0, 1.0, 1.0, -2.0, 3.0]])
    expect.close(add_perturbation(x, delta, 0.05), torch.tensor([[0.0, 1.0, 1.0, 0.0, 0.65]]), mistakes={
        "delta was clipped. It may have any values: clip the sum, and nothing else.": (x + 0.05 * delta.clamp(-1, 1)).clamp(0, 1),
        "Pixels leave [0, 1]: clip as the very last thing, after adding.": x + 0.05 * delta,
        "What leaves the range comes in again on the other side. A pixel that is too bright is white: clip.": (x + 0.05 * delta) % 1,
    }, hint="Values above 1 become 1, values below 0 become 0, all others stay.")

@exercise.case("a size of 0 gives x; x and delta are left as they were")
def _(add_perturbation):
    x, delta = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    expect.close(add_perturbation(x, delta, 0.0), x, hint="With size 0 nothing is added.")
    expect.tensor(add_perturbation(x, delta, 0.3), like=x)
    expect.unchanged(add_perturbation)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, other sizes, float64", hint="Any shape and size; scale, add, clip last, in the dtype of x.", hidden=True)
def _(add_perturbation):
    for shape, size in (((1, 1, 5, 3), 0.02), ((6, 2), 1.7)):
        x, delta = torch.rand(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
        expect.tensor(add_perturbation(x, delta, size), like=x)
        expect.close(add_perturbation(x, delta, size), torch.minimum(torch.maximum(x + size * delta, torch.zeros(())), torch.ones(())))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# And now the picture of the slide, live (about ten seconds): for each photo an attack of 15 steps within ±0.005 per pixel, with the target "airliner".

# %% demo="airliner"
def crafted(photo, steps=15):
    """One photo (3, H, W) on its way to "airliner": what the attack saw first as airliner (or None), and its end."""
    record = []
    x_end = attacks.pgd(model, photo[None], model(photo[None]).argmax(dim=1), LpBall(EPS, math.inf), steps=steps, step_size=EPS / 4,
                        random_start=False, target=AIRLINER, early_stop=False, trace=record)
    early = next((seen.x for seen in record if seen.logits.argmax() == AIRLINER), None)
    return early, x_end[0]

firsts, ends = zip(*(crafted(photo) for photo in tqdm(x, desc="towards airliner")), strict=True)
x_tilde = torch.stack(ends)
delta = (x_tilde - x) / EPS

def reference_add(x, delta, size):  # delta has entries in [-1, 1], so this projection only clips
    return LpBall(size, math.inf).project(x + size * delta, x)

x_tilde = checks.yours("add_perturbation", reference_add)(x, delta, EPS)
plots.perturbation(x[1], x_tilde[1], model, classes)

# %% demo="six-airliners"
before, after = names(model(x)), names(model(x_tilde))
plots.images(torch.cat([x, x_tilde]), titles=[f"“{name}”" for name in before + after], rows=["x", "x + 0.005 δ"], size=1.5,
             marked=[False] * 6 + [name != right for name, right in zip(after, before, strict=True)])

# %% [markdown]
# Look as closely as you like: the rows are the same to the eye. (The middle picture above shows $\boldsymbol\delta$ two hundred times as strong as it is.) The network is surer of its airliners (98 % and more) than it was of any of the originals. Chelsea the cat holds out for longer than 15 steps, and is a cat of another kind instead: wrong as well, but not what was ordered. Try `top_of(model(crafted(x[0], steps=60)[1][None]))`.
#
# **Your own photo**: put the path of an image file into the next cell, for instance `"Downloads/holiday.jpg"`, and run both. The largest square in its middle is taken.

# %%
my_photo = None  # replace None by the path of a photo

# %% demo="own-photo"
if my_photo is None:
    print("No photo given: my_photo is None.")
else:
    try:
        mine = data.photo(my_photo)
        display(plots.perturbation(mine, crafted(mine, steps=30)[1], model, classes))
    except (OSError, ValueError) as error:
        print(f"No photo there: {error}")

# %% [markdown]
# ## 1.3 How small is small?
#
# A pixel of an ordinary file has 256 grey levels per channel, 0 to 255. So 0.005 is $0.005 \cdot 255 \approx 1.3$ levels: hardly more than the smallest change that a file can hold at all.
#
# ### Predict, then reveal
#
# Now let the attacker be less choosy: *any* wrong class will do. **How large a change, in grey levels (steps of 1/255), does it need to make the network wrong on at least half of the six photos?** 10 levels? 3? 1?

# %%
my_guess = None  # replace None by a number of grey levels

# %% demo="grey-levels"
tiny = {}
for levels in tqdm((0.25, 0.1), desc="sizes"):
    tiny[levels] = attacks.pgd(model, x, y, LpBall(levels / 255, math.inf), steps=6, random_start=False)
wrong = {levels: int((model(images).argmax(dim=1) != y).sum()) for levels, images in tiny.items()}
enough = min((levels for levels, count in wrong.items() if count >= 3), default=None)
checks.reveal(
    my_guess,
    f"{enough:g} of a level is enough" if enough else "more than a quarter of a level",
    "Wrong, of 6: " + ", ".join(f"{count} at {levels:g} of a level" for levels, count in wrong.items()) + ".\n"
    "These are fractions of one grey level: no ordinary screen and no file of 8 bits can show them.",
)

# %% [markdown]
# Which raises a question. The network reads floating-point numbers, and an attacker who changes these may use fractions of a level. But a picture that is *sent* is a file, and its pixels are rounded to whole levels. **Does an adversarial example survive being saved?**
#
# ### Exercise 1.3: what a file keeps · easy · 8 minutes · 2 points
#
# Write what saving as PNG (8 bits per channel, without loss) and loading again does to an image: each pixel becomes the nearest of the 256 values $0, \frac1{255}, \frac2{255}, \dots, 1$.
#
# <details><summary>Hint</summary>
# In units of a grey level these values are whole numbers. Go there, round, come back. A conversion to integers does not round, it cuts off.
# </details>

# %% solution="eight_bit"
def eight_bit(x: torch.Tensor) -> torch.Tensor:
    """Each pixel rounded to the nearest multiple of 1/255.

    x: (B, ...) images in [0, 1]. Returns a tensor like x, in [0, 1]. (Half-way between two levels either is right.)
    """
    ### BEGIN SOLUTION
    return (x * 255).round() / 255
    ### END SOLUTION

# %% test="eight_bit" points=2
# Run this cell to check your eight_bit. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("eight_bit", points=2, by_hand=["coursekit.data.photo"])

def grid(levels, dtype=torch.float32):
    return torch.tensor(levels, dtype=dtype) / 255

@exercise.case("to the nearest level, up or down")
def _(eight_bit):
    x = grid([[10.3, 10.7, 99.6, 200.2]])
    rounded = expect.tensor(eight_bit(x), shape=(1, 4))
    expect.that(rounded.is_floating_point() and float(rounded.max()) <= 1.001, f"pixels up to {rounded.max().item():g}", "pixels in [0, 1]",
                "These are grey levels, 0 to 255. Come back to [0, 1].")
    expect.tensor(rounded, like=x)
    expect.close(255 * rounded, torch.tensor([[10.0, 11.0, 100.0, 200.0]]), tolerance=1e-3, mistakes={
        "The fraction is cut off: 10.7 becomes 10. A conversion to integers does that; round first.": torch.tensor([[10.0, 10.0, 99.0, 200.0]]),
        "Always up: the nearest level is asked for.": torch.tensor([[11.0, 11.0, 100.0, 201.0]]),
        "Everything became black or white: round in units of a grey level, not in [0, 1].": torch.tensor([[0.0, 0.0, 0.0, 255.0]]),
        "Nothing was rounded.": torch.tensor([[10.3, 10.7, 99.6, 200.2]]),
        "There are 256 levels from 0 to 255, so 255 steps between them: divide by 255, not by 256.":
            torch.tensor([[10.0, 11.0, 100.0, 200.0]]) * 255 / 256,
        "That is a grid of 256 steps. From 0 to 255 there are 255.": (x * 256).round() / 256 * 255,
    }, hint="x * 255, rounded, and back: the values there are 0, 1/255, 2/255, ..., 1.")

@exercise.case("an image that comes from a file stays exactly as it is")
def _(eight_bit):
    x = (torch.arange(256.0) / 255).reshape(1, 1, 16, 16)
    expect.close(eight_bit(x), x, tolerance=1e-6, hint="All 256 levels are on the grid already. "
                 "(255 k/255 may come out as a hair less than k: who cuts off instead of rounding loses a level.)")

@exercise.case("a change of less than half a level is gone, one of 1.3 becomes 1; x is left as it was")
def _(eight_bit):
    x = grid([[0, 50, 128, 255, 7, 90]])
    shift = torch.tensor([[0.4, -0.45, 0.2, -0.3, 1.3, -1.3]]) / 255
    expect.close(255 * expect.tensor(eight_bit(x + shift), like=x), torch.tensor([[0.0, 50.0, 128.0, 255.0, 8.0, 89.0]]), tolerance=1e-3,
                 hint="The nearest level, for each pixel.")
    expect.unchanged(eight_bit)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, float64", hint="Any shape, in the dtype of the image.", hidden=True)
def _(eight_bit):
    for shape in ((3, 2, 5), (1, 3, 4, 4)):
        levels = torch.randint(0, 256, shape).double()
        x = ((levels + 0.8 * (torch.rand(shape, dtype=torch.float64) - 0.5)) / 255).clamp(0, 1)
        expect.close(255 * expect.tensor(eight_bit(x), like=x), levels, tolerance=1e-3)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# **Predict**: three kinds of adversarial examples are saved as PNG files and loaded again: (a) the ones of a tenth of a grey level, any wrong class; (b) the airliners at 0.005, taken at the very step at which the attack first saw "airliner"; (c) the airliners at 0.005 after all 15 steps, where the network is sure. **Which of the three kinds survive?**

# %%
my_guess = None  # replace None by a string such as "a and c"

# %% demo="saved-as-png"
def through_a_file(photo):
    """A photo (3, H, W) saved as PNG, in memory, and loaded again."""
    file = io.BytesIO()
    save_image(photo, file, format="PNG")
    return data.photo(file.getvalue())

def reference_eight_bit(images):
    return torch.stack([through_a_file(image) for image in images])

def is_a_photo(image):
    """Whether an image is one of the six again, pixel by pixel."""
    return bool((image - x).abs().flatten(1).amax(dim=1).min() < 1e-4)

kinds = {
    "(a) a tenth of a level": tiny[0.1][model(tiny[0.1]).argmax(dim=1) != y],
    "(b) airliners as first seen": torch.cat([image for image in firsts if image is not None]),
    "(c) airliners after 15 steps": x_tilde[model(x_tilde).argmax(dim=1) == AIRLINER],
}
survived, report = [], ""
your_eight_bit = checks.yours("eight_bit", reference_eight_bit)
for kind, images in kinds.items():
    saved = your_eight_bit(images)
    still = int((model(saved).argmax(dim=1) == model(images).argmax(dim=1)).sum())
    survived.append(f"{kind}: {still} of {len(images)}")
    report += f"{kind}: {sum(map(is_a_photo, saved))} of {len(images)} files hold the original photo again, pixel by pixel\n"
as_rounded = your_eight_bit(x_tilde)
checks.reveal(my_guess, "still wrong in the same way are" + "".join(f"\n    {line}" for line in survived),
              report + f"A real PNG file holds just what rounding gives: {torch.allclose(reference_eight_bit(x_tilde), as_rounded, atol=1e-6)}")

# %% [markdown]
# A file of 8 bits keeps no fractions: what is smaller than half a level is rounded away, and the file of such an "adversarial example" holds the original photo, bit for bit. A picture that has only just become an airliner stands close to the border between two classes, and rounding may push it back: of these some survive and some do not. (With steps half as long, which stop closer to the border, hardly any does.) But an attack that goes on until the network is sure, its pixels at the edge of the ball at 1.3 levels, is rounded to whole levels, and the airliner stays. So the lecture's picture is no trick of floating point; the examples of a tenth of a level are. An honest claim names the form in which the picture reaches the network.
#
# ## 1.4 The definition
#
# So far an "adversarial example" was whatever looked impressive. Now exactly. Given a classifier $f$, a point $(\mathbf x, y)$ of the data, and a **perturbation set** $\mathcal P(\mathbf x)$: all perturbed versions of $\mathbf x$ that mean the same to a person, and so should not change the class. A point $\tilde{\mathbf x}$ is an adversarial example for $f$ at $(\mathbf x, y)$ if
#
# $$\tilde{\mathbf x} \in \mathcal P(\mathbf x), \qquad f(\mathbf x) = y, \qquad f(\tilde{\mathbf x}) \ne y.$$
#
# Three conditions, and each is there for a reason. Without the first, a picture of an airliner would be an adversarial example for a pig. Without the second, every mistake of the classifier would be one: *a prediction that was wrong before is a mistake, not an attack*. And the third compares with the label $y$.
#
# Our set is the $L_\infty$ ball of radius $\epsilon$, in the image range: no pixel further than $\epsilon$ from where it was, and all in $[0, 1]$. The slide writes $<\epsilon$; code takes $\le$, since attacks end on the surface (assignment 02 has more on this). And because floating point rounds, a pixel that was moved by exactly $\epsilon$ may be found a hair further off. So allow `ROUNDING` = $10^{-6}$ more than $\epsilon$, and the same beyond 0 and 1.
#
# ### Exercise 1.4: is it adversarial? · medium · 20 minutes · 4 points
#
# Decide for each image of a batch whether all three conditions hold.
#
# <details><summary>Hint 1</summary>
# Three tensors of <code>B</code> booleans, joined by <code>&amp;</code> (not <code>and</code>), each comparison in parentheses of its own. Write them one by one, and give each a name.
# </details>
# <details><summary>Hint 2</summary>
# For an image to lie in the ball, <em>every</em> pixel must have moved by at most ε, up or down: <code>.abs()</code>, then <code>.flatten(1)</code>, then <code>.amax(dim=1)</code> or <code>.all(dim=1)</code>.
# </details>

# %% solution="is_adversarial"
def is_adversarial(model, x: torch.Tensor, x_tilde: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """Which x_tilde are adversarial examples for the model at (x, y), in the closed L-inf ball within [0, 1].

    model: returns logits (B, K). x: (B, ...) images in [0, 1]. x_tilde: like x, any values. y: (B,) labels.
    eps: radius; distances and pixels may exceed their limits by ROUNDING = 1e-6. Returns (B,) booleans.
    """
    ### BEGIN SOLUTION
    moved = (x_tilde - x).flatten(1).abs().amax(dim=1)
    pixels = x_tilde.flatten(1)
    in_range = (pixels.amin(dim=1) >= -ROUNDING) & (pixels.amax(dim=1) <= 1 + ROUNDING)
    in_set = (moved <= eps + ROUNDING) & in_range
    return in_set & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)
    ### END SOLUTION

# %% test="is_adversarial" points=4
# Run this cell to check your is_adversarial. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("is_adversarial", points=4, by_hand=["coursekit.perturbations.LpBall.contains"])
three_pixels = checks.network(("linear", torch.eye(3), None), name="logits = pixels")

def hold(got, expected, hint="", mistakes=None):
    """Booleans, one per image. mistakes: hint -> what a typical slip gives."""
    got = expect.tensor(got, shape=(len(expected),))
    expect.that(got.dtype == torch.bool, f"dtype {got.dtype}".replace("torch.", ""), "booleans",
                "A comparison gives booleans; join them with &.")
    hint = next((why for why, value in (mistakes or {}).items() if got.tolist() == value), hint)
    expect.that(got.tolist() == expected, str(got.tolist()), str(expected), hint)

@exercise.case("the three conditions, one image for each")
def _(is_adversarial):
    x = torch.tensor([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.4, 0.5, 0.1], [0.5, 0.4, 0.1], [0.3, 0.4, 0.35], [0.45, 0.5, 0.1]])
    x_tilde = torch.tensor([[0.42, 0.48, 0.1], [0.1, 0.8, 0.1], [0.4, 0.5, 0.1], [0.48, 0.42, 0.1], [0.3, 0.35, 0.4], [0.52, 0.43, 0.1]])
    hold(is_adversarial(three_pixels, x, x_tilde, torch.zeros(6, dtype=torch.int64), 0.1), [True, False, False, False, False, False], mistakes={
        "The second image moved by 0.4, and eps is 0.1: is x_tilde in P(x)?": [True, True, False, False, False, False],
        "Images 3 and 5 were wrong before anybody touched them. Is f(x) = y asked for?": [True, False, True, False, True, False],
        "You ask whether the prediction changed. Images 5 and 6 were wrong before: is f(x) = y asked for?": [True, False, False, False, True, True],
        "You ask for f(x) = y and for the ball, not for a wrong prediction of x_tilde.": [True, False, False, True, False, False],
        "This is where the prediction stays right: the robust ones.": [False, False, False, True, False, False],
        "The opposite of what is asked for.": [False, True, True, True, True, True],
        "None at all, though the first image moved by 0.08 at most. Is it the largest change (no sum, no root of squares) of each image by itself (not of the whole batch)?": [False] * 6,
    }, hint="In the ball, right before, wrong after: all three.")

@exercise.case("the ball is closed, and rounding is forgiven")
def _(is_adversarial):
    bright = checks.network(("linear", torch.stack([torch.zeros(50), torch.ones(50)]), torch.tensor([25.0, 0.0])), name="is it bright?")
    x = 0.39 + 0.2 * torch.linspace(0, 1, 50).repeat(2, 1)
    x[1] = x[1].flip(0)
    zeros = torch.zeros(2, dtype=torch.int64)
    hold(is_adversarial(bright, x, x + 0.05, zeros, 0.05), [True, True],
         hint="All pixels moved by exactly eps, and floating point makes some of it a hair more. Allow eps + ROUNDING.")
    hold(is_adversarial(bright, x, x + 0.0502, zeros, 0.05), [False, False],
         hint="These pixels moved by 0.0502, clearly more than eps = 0.05. The tolerance is 1e-6.")

@exercise.case("one pixel too far is too far, up or down")
def _(is_adversarial):
    flat = checks.network(("flatten",), ("linear", torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]), None), name="first pixel or second?")
    x = torch.tensor([[0.5, 0.45, 0.5, 0.5]]).repeat(3, 1)
    x_tilde = x + torch.tensor([[-0.1, 0.1, 0.0, -0.3], [-0.1, 0.1, 0.3, 0.0], [-0.1, 0.1, 0.1, -0.1]])
    hold(is_adversarial(flat, x.view(3, 1, 2, 2), x_tilde.view(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64), 0.13), [False, False, True], mistakes={
        "A change downwards counts as well: the first image's last pixel moved by -0.3. Take the absolute value.": [True, False, True],
        "The last pixel of the first image and the third of the second moved by 0.3. It is the largest change that counts, not the mean, and not any small one.":
            [True, True, True],
        "The third image is in the L-inf ball: none of its own pixels moved by more than 0.1. Is it the largest change (no sum, no root of squares) of each image by itself (not of the batch)?":
            [False, False, False],
    }, hint="The largest |x_tilde - x| of each image, over all its pixels.")

@exercise.case("x_tilde must be an image, with pixels in [0, 1]")
def _(is_adversarial):
    x = torch.tensor([[0.95, 0.93, 0.5], [0.02, 0.0, 0.01]])
    x_tilde = torch.tensor([[0.96, 1.03, 0.5], [-0.05, 0.01, 0.0]])
    hold(is_adversarial(three_pixels, x, x_tilde, torch.tensor([0, 0]), 0.15), [False, False],
         hint="A pixel of 1.03 or -0.05 is none. P(x) holds images: pixels in [0, 1] (give or take ROUNDING).")
    hold(is_adversarial(three_pixels, x, x_tilde.clamp(0, 1), torch.tensor([0, 0]), 0.15), [True, True],
         hint="Black and white pixels are fine: the range [0, 1] is closed.")
    hold(is_adversarial(three_pixels, x, x_tilde.clamp(-5e-7, 1 + 5e-7), torch.tensor([0, 0]), 0.15), [True, True],
         hint="These pixels leave [0, 1] by 5e-7, which is rounding: the tolerance holds for the image range as well.")

@exercise.case("a single image; model and images are left as they were")
def _(is_adversarial):
    x, x_tilde = torch.tensor([[0.2, 0.5, 0.1]]), torch.tensor([[0.4, 0.3, 0.1]])
    hold(is_adversarial(three_pixels, x, x_tilde, torch.tensor([1]), 0.25), [True], hint="A prediction of class 0 instead of the right 1, in the ball.")
    expect.unchanged(is_adversarial)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, other classes, float64", hint="All three conditions, for each image, for any shape and number of classes.", hidden=True)
def _(is_adversarial):
    net = checks.network(("flatten",), ("linear", torch.randn(5, 12, dtype=torch.float64), None))
    network, x = net.build(), 0.3 + 0.4 * torch.rand(60, 3, 2, 2, dtype=torch.float64)
    x_tilde = x + 0.2 * (2 * torch.rand(x.shape, dtype=torch.float64) - 1) * torch.linspace(0.5, 1.5, 60, dtype=torch.float64).view(-1, 1, 1, 1)
    before, after = network(x).argmax(dim=1), network(x_tilde).argmax(dim=1)
    y = torch.where(torch.rand(60) < 0.7, before, torch.randint(0, 5, (60,)))
    inside = (x_tilde - x).abs().flatten(1).max(dim=1).values <= 0.2
    hold(is_adversarial(net, x, x_tilde, y, 0.2), (inside & (before == y) & (after != y)).tolist())
### END HIDDEN TESTS

exercise.score()

# %% demo="which-are-adversarial"
def reference_is_adversarial(model, x, x_tilde, y, eps):
    return LpBall(eps, math.inf).contains(x_tilde, x) & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

judge = checks.yours("is_adversarial", reference_is_adversarial)
for eps in (EPS, 1 / 255):
    print(f"the pictures of 1.2, in the ball of radius {eps:.4f}: {judge(model, x, x_tilde, y, eps).tolist()}")

# %% [markdown]
# The same six pictures, and in a ball of one grey level none of them counts: *adversarial* is a statement about a picture **and** a set. (Chelsea counts in the larger one, too. You may find that "tabby" is no bad answer; but the definition compares with the label $y$, and that says "Egyptian cat".)
#
# ## 1.5 Nature as an adversary
#
# Is a network that falls for 0.005 simply fragile? Then any change of that size should upset it. The contrast is easily made. Take the crafted $\boldsymbol\delta$ and throw a coin for each pixel: heads, its change keeps its sign; tails, it is turned round. Every pixel still moves just as far as before, so **every** $L_p$ norm is the same. What is lost is the plan.
#
# ### Exercise 1.5: the same size, no plan · easy · 10 minutes · 3 points
#
# Write the coin: turn every entry of $\boldsymbol\delta$ round with probability $\frac12$, drawn from a seed.
#
# <details><summary>Hint</summary>
# <code>generator = torch.Generator().manual_seed(seed)</code>, then <code>torch.rand(delta.shape, generator=generator) &lt; 0.5</code> is a coin per entry. Zeros and ones become signs by <code>2 * coin - 1</code>.
# </details>

# %% solution="random_signs"
def random_signs(delta: torch.Tensor, seed: int) -> torch.Tensor:
    """delta with the sign of every entry kept or turned round, each with probability 1/2, independently.

    delta: (B, ...) floats. seed: the same seed gives the same signs, another seed others.
    Returns a tensor like delta; no entry changes its size.
    """
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(delta.shape, generator=generator) < 0.5
    return torch.where(keep, delta, -delta)
    ### END SOLUTION

# %% test="random_signs" points=3
# Run this cell to check your random_signs. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("random_signs", points=3, by_hand=["coursekit.perturbations.LpBall.sample"])
entries = torch.linspace(-1, 1, 3200).reshape(4, 2, 20, 20)  # no entry is 0

def flipped(got, delta):
    """Which entries were turned round, after a look at their sizes."""
    got = expect.tensor(got, like=delta)
    same_size = torch.allclose(got.abs(), delta.abs(), atol=1e-6)
    if bool((got == 0).any()) and not bool((delta == 0).any()):
        hint = "Some entries became 0: a coin of 0 and 1 is not a sign. 2 * coin - 1 is -1 or +1."
    elif torch.allclose(got.abs().flatten().sort().values, delta.abs().flatten().sort().values):
        hint = "The entries changed places. Each stays where it is and keeps its size; only its sign is drawn."
    elif len(got.abs().unique()) == 1:
        hint = "All entries have one size: these are signs alone. Multiply them with delta."
    else:
        hint = "Multiply each entry by +1 or -1, nothing else."
    expect.that(same_size, "entries of another size", "the size of every entry as it was", hint)
    return (got - delta).abs() > (got + delta).abs()

@exercise.case("every entry keeps its size, so every norm stays the same")
def _(random_signs):
    turned = flipped(random_signs(entries, 0), entries)
    expect.that(bool(turned.any()), "delta itself", "about half of the signs turned round", "No sign was turned round.")
    expect.that(not bool(turned.all()), "minus delta", "about half of the signs turned round", "All signs were turned round: that is a plan as well, the opposite one.")

@exercise.case("a fair coin for each entry: about half are turned round")
def _(random_signs):
    turned = flipped(random_signs(entries, 1), entries)
    share = turned.float().mean().item()
    positive, negative = (turned[where].float().mean().item() for where in (entries > 0, entries < 0))
    if abs(positive - negative) > 0.5:
        hint = "Entries of one sign are turned, of the other kept: the result has one sign only. Multiply delta by a random sign; do not replace its sign."
    else:
        hint = "Heads and tails are equally likely, for entries of either sign."
    expect.that(0.4 < share < 0.6 and 0.4 < positive < 0.6 and 0.4 < negative < 0.6,
                f"{positive:.0%} of the positive and {negative:.0%} of the negative entries turned", "about half of each", hint)

@exercise.case("a coin of its own for each pixel, channel and image")
def _(random_signs):
    turned = flipped(random_signs(entries, 2), entries)
    one = "One draw is used several times. Draw a tensor of the full shape of delta."
    if not 0.3 < turned.float().mean() < 0.7:
        one = "The coin is not fair: heads and tails are equally likely."
    expect.that(not bool((turned[0] == turned[1]).all()), "the same signs for every image", "signs of its own for each", one)
    expect.that(not bool((turned[:, 0] == turned[:, 1]).all()), "the same signs for every channel", "signs of its own for each", one)
    per_row = turned.float().mean(dim=3)
    expect.that(bool(((per_row > 0) & (per_row < 1)).float().mean() > 0.9), "whole rows or images with one sign", "a coin for each pixel", one)

@exercise.case("the same seed gives the same signs, another seed others; delta is left as it was")
def _(random_signs):
    first = flipped(random_signs(entries, 5), entries)
    expect.that(torch.equal(first, flipped(random_signs(entries, 5), entries)), "two different draws with one seed", "the same draw",
                "Make a generator from the seed in every call, and draw from it.")
    for seed in (6, 7, 1005):
        other = flipped(random_signs(entries, seed), entries)
        expect.that(not torch.equal(first, other), f"the same draw with the seeds 5 and {seed}", "different draws",
                    "The seed, as it is, must reach the generator that is drawn from. (Where none is used, the check sees the same draw each time.)")
        agree = (first == other).float().mean().item()
        expect.that(0.4 < agree < 0.6, f"{agree:.0%} of the signs agree for the seeds 5 and {seed}", "about half", "Every sign must be drawn anew from the seed.")
    expect.unchanged(random_signs)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, zeros, float64", hint="Any shape and dtype; an entry of 0 stays 0.", hidden=True)
def _(random_signs):
    for shape in ((300, 5), (1, 3, 30, 30)):
        delta = torch.randn(shape, dtype=torch.float64)
        delta[0, 0] = 0.0
        turned = flipped(random_signs(delta, 3), delta)[delta != 0].float().mean().item()
        expect.that(0.4 < turned < 0.6, f"{turned:.0%} of the signs turned", "about half")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Now walk from the second photo straight on along $\boldsymbol\delta$, and beside it along the same $\boldsymbol\delta$ with random signs. The size is given in grey levels; the attack was made for 1.3.

# %% demo="two-directions"
def reference_signs(delta, seed):
    drawn = LpBall(1.0, math.inf, bounds=(-1.0, 1.0)).sample(torch.zeros_like(delta), generator=torch.Generator().manual_seed(seed))
    return delta * drawn.sign()

levels = torch.linspace(0, 3, 13)
cup, espresso = x[1:2], int(y[1])
noise = checks.yours("random_signs", reference_signs)(delta[1:2], 0)

def along(direction):
    """(13, K): the probabilities on the way from the photo in one direction, by grey levels."""
    with torch.no_grad():
        return model((cup + levels.view(-1, 1, 1, 1) / 255 * direction).clamp(0, 1)).softmax(dim=1)

with_plan, without = along(delta[1:2]), along(noise)
plots.curves({
    "“espresso”, random signs": (levels, without[:, espresso]),
    "“espresso”, crafted": (levels, with_plan[:, espresso]),
    "“airliner”, crafted": (levels, with_plan[:, AIRLINER]),
    "“airliner”, random signs": (levels, without[:, AIRLINER]),
}, chance=None, xlabel="largest change of a pixel, in grey levels of 255", ylabel="probability",
   title="Same photo, same size, with and without a plan")

# %% [markdown]
# Both directions are equally long in every norm. Along one of them the network forgets the coffee within a single grey level; along the other it does not even notice. In 150,528 dimensions a random direction is nearly at right angles to any given one, and so to the one that matters.
#
# ### Predict, then reveal
#
# The noise was of size 0.005. **How many of the six photos does random noise flip that is ten times as large, ±0.05 for every pixel?** (That can be seen well.)

# %%
my_guess = None  # replace None by a number from 0 to 6

# %% demo="louder-noise"
signs = [reference_signs(torch.ones_like(x), seed) for seed in range(3)]
flips = {}
for times in tqdm((1, 4, 10, 40), desc="noise"):
    flips[times] = [int((model((x + times * EPS * sign).clamp(0, 1)).argmax(dim=1) != y).sum()) for sign in signs]
ten = sorted(set(flips[10]))
checks.reveal(
    my_guess,
    f"{' or '.join(str(count) for count in ten)} of 6, depending on the draw",
    "Wrong, of 6, in three draws each:\n"
    + "\n".join(f"    {times:2d} times 0.005: {', '.join(map(str, counts))}" for times, counts in flips.items())
    + f"\nA crafted change of a fiftieth of that, a quarter of a grey level, made {wrong[0.25]} of 6 wrong in 1.3.",
)

# %% [markdown]
# Try it yourself: move the size, exchange the crafted δ for noise, take another photo, or upload your own (the attack on it takes some seconds).

# %% demo="photo-explorer"
def craft(photo):
    """The delta, in [-1, 1], towards "airliner" for one photo (1, 3, H, W)."""
    return (crafted(photo[0])[1] - photo) / EPS

order = [1, 0, 2, 3, 4, 5]  # the coffee first
widgets.photo_explorer(model, x[order], delta[order], names=["coffee", "Chelsea", "camera", "rocket", "tower", "shuttle"],
                       classes=classes, craft=craft)

# %% [markdown]
# <details><summary>Three things worth seeing in the picture</summary>
#
# 1. For the coffee the answer turns between 0.003 and 0.004: below one grey level, the dotted line.
# 2. Take noise in place of δ and move the size from end to end: hardly a bar moves.
# 3. δ was made for a size of 0.005, but nothing happens to it beyond: at twice the size five of the six photos are as surely airliners as before. Chelsea is the exception; follow her curve.
# </details>
#
# ## 1.6 How often does it work?
#
# One picture is an anecdote. An attack is judged by its **success rate**: of how many images does it change a right prediction into a wrong one? The definition says of which images: only those that were right before can be attacked at all. Who counts the others as successes makes a bad classifier look like a good attack.
#
# ### Exercise 1.6: the success rate · easy · 8 minutes · 3 points
#
# Compute it from the predictions before and after the attack.
#
# <details><summary>Hint</summary>
# Two tensors of booleans: right before; right before and wrong after. Divide the number of the second by the number of the first, and think of the case that it is 0.
# </details>

# %% solution="success_rate"
def success_rate(before: torch.Tensor, after: torch.Tensor, y: torch.Tensor) -> float:
    """Of the images that were right before the attack, the share that is wrong after it.

    before, after: (B,) the predicted classes of x and of x_tilde. y: (B,) the right classes; all integers.
    Returns a number from 0 to 1; 0 if no image was right before.
    """
    ### BEGIN SOLUTION
    right = before == y
    fooled = right & (after != y)
    return fooled.sum().item() / max(right.sum().item(), 1)
    ### END SOLUTION

# %% test="success_rate" points=3
# Run this cell to check your success_rate. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("success_rate", points=3, by_hand=["coursekit.evaluation.success_rate"])

@exercise.case("all right before: the share that is wrong after")
def _(success_rate):
    y = torch.tensor([3, 1, 4, 1, 5])
    expect.close(success_rate(y, torch.tensor([3, 2, 4, 1, 0]), y), 0.4, mistakes={
        "This is the share that withstands. Asked for are those that were fooled.": 0.6,
        "This is a number of images: divide by how many were right before.": 2.0,
        "This is in per cent; a share lies between 0 and 1.": 40.0,
    }, hint="Two of five are wrong after.")

@exercise.case("some were wrong before: they do not count, neither above nor below the line")
def _(success_rate):
    before, after = torch.tensor([0, 0, 0, 0, 7, 7, 2, 2, 2]), torch.tensor([0, 5, 5, 0, 3, 0, 6, 2, 2])
    expect.close(success_rate(before, after, torch.zeros(9, dtype=torch.int64)), 0.5, mistakes={
        "You divide by all images. Only those that were right before can be attacked: divide by their number.": 2 / 9,
        "You count all that are wrong after. Some of them were wrong before.": 6 / 9,
        "You count all that are wrong after, and divide by those that were right before. Some of them were wrong before.": 6 / 4,
        "You count every prediction that changed. A change from wrong to wrong, or from wrong to right, is no success.": 5 / 9,
        "You count every prediction that changed, also of images that were wrong before.": 5 / 4,
        "This is by how much the accuracy dropped. An image that was wrong before and right after hides a success: look at each image.": 1 / 9,
        "This is the drop of the accuracy, relative to before. An image that was wrong before and right after hides a success: look at each image.": 1 / 4,
    }, hint="Four were right before, and two of these are wrong after.")

@exercise.case("every prediction changed, one of three was right before")
def _(success_rate):
    expect.close(success_rate(torch.tensor([1, 2, 2]), torch.tensor([0, 0, 1]), torch.tensor([1, 1, 1])), 1.0, mistakes={
        "You divide by all images. Divide by those that were right before.": 1 / 3,
        "You count all that are wrong after, also one that was wrong before.": 2 / 3,
        "You count changes of images that were wrong before.": 3.0,
    }, hint="One was right before, and it is wrong after: 1 of 1.")

@exercise.case("nothing was right before: 0, and no division by zero")
def _(success_rate):
    rate = success_rate(torch.tensor([1, 2]), torch.tensor([0, 2]), torch.tensor([0, 1]))
    undefined = (isinstance(rate, float) and rate != rate) or (isinstance(rate, torch.Tensor) and rate.shape == () and bool(rate.isnan()))
    expect.that(not undefined, "NaN", "0", "0 divided by 0: nothing was right before. With nothing to attack the docstring wants 0.")
    expect.close(rate, 0.0, hint="With nothing to attack the docstring wants 0.")

@exercise.case("a single image; the arguments are left as they were")
def _(success_rate):
    expect.close(success_rate(torch.tensor([4]), torch.tensor([4]), torch.tensor([4])), 0.0, hint="It was right and stays right: no success.")
    expect.close(success_rate(torch.tensor([4]), torch.tensor([2]), torch.tensor([4])), 1.0, hint="It was right and is wrong now: 1 of 1.")
    expect.unchanged(success_rate)

### BEGIN HIDDEN TESTS
@exercise.case("many images, many classes", hint="Right before; of these, wrong after.", hidden=True)
def _(success_rate):
    for count, classes in ((200, 7), (33, 2)):
        y, before, after = (torch.randint(0, classes, (count,)) for _ in range(3))
        before = torch.where(torch.rand(count) < 0.6, y, before)
        right = [(b, a, k) for b, a, k in zip(before.tolist(), after.tolist(), y.tolist()) if b == k]
        expect.close(success_rate(before, after, y), sum(a != k for _, a, k in right) / len(right))
### END HIDDEN TESTS

exercise.score()

# %% demo="success-rates"
rate = checks.yours("success_rate", evaluation.success_rate)
before = model(x).argmax(dim=1)
rows = {
    "any wrong class, a tenth of a grey level": tiny[0.1],
    "any wrong class, a quarter of a grey level": tiny[0.25],
    "airliner, 0.005 (1.3 levels)": x_tilde,
    "random signs, 0.005": x + EPS * signs[0],
    "random signs, 0.05": x + 10 * EPS * signs[0],
}
for name, images in rows.items():
    print(f"{rate(before, model(images.clamp(0, 1)).argmax(dim=1), y):5.0%}  {name}")

# %% [markdown]
# (All six were right before, so here the denominator is all of them. On other data it is not, and that is where rates are overstated.)
#
# ## 1.7 How far can one go?
#
# "At 0.005 it is fooled" is one point. How far *along a given direction* can one go before the prediction changes? We try a list of sizes. Mind a trap: predictions need not change once and for all. A network can flip at size 1, flip back at 2, and flip again at 3. So say exactly what is meant: **the smallest size of the list at which the prediction is another one than at $\mathbf x$**, whatever happens at larger ones.
#
# ### Exercise 1.7: the smallest size that flips · medium · 20 minutes · 4 points
#
# Return that size for each image, infinity where no size of the list does it.
#
# <details><summary>Hint 1</summary>
# One loop over <code>sorted(sizes)</code>, smallest first; for each image remember the first size at which the prediction differs. A tensor full of <code>math.inf</code> is a good start.
# </details>
# <details><summary>Hint 2</summary>
# Or from large to small: then simply overwrite wherever the prediction differs, with <code>torch.where</code>; what is written last is the smallest.
# </details>

# %% solution="smallest_flip"
def smallest_flip(model, x: torch.Tensor, delta: torch.Tensor, sizes: list[float]) -> torch.Tensor:
    """For each image the smallest of the sizes at which the predicted class is no longer that of x.

    model: returns logits (B, K). x: (B, ...) images in [0, 1]. delta: like x. sizes: numbers above 0, in any order.
    At size s the image is x + s * delta, clipped to [0, 1]. Returns (B,) floats; math.inf where no size flips.
    """
    ### BEGIN SOLUTION
    before = model(x).argmax(dim=1)
    flip = torch.full((len(x),), math.inf)
    for size in sorted(sizes, reverse=True):
        after = model((x + size * delta).clamp(0, 1)).argmax(dim=1)
        flip = torch.where(after != before, torch.tensor(float(size)), flip)
    return flip
    ### END SOLUTION

# %% test="smallest_flip" points=4
# Run this cell to check your smallest_flip. (The dots unfold it: what is tried, and what is expected.)
import math
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("smallest_flip", points=4, by_hand=["coursekit.evaluation.smallest_flip"])
first_or_second = checks.network(("linear", torch.tensor([[1.0, 0.0], [0.0, 1.0]]), None), name="logits = pixels")
# One pixel u: class 1 where 0.6 < u < 0.7 and where u > 0.9, else class 0.
ramps = torch.tensor([[1.0], [1.0], [1.0], [1.0]])
bands = checks.network(("linear", ramps, -torch.tensor([0.6, 0.65, 0.7, 0.9])), ("relu",),
                       ("linear", torch.tensor([[0.0, 0, 0, 0], [10.0, -20.0, 10.0, 10.0]]), torch.tensor([0.01, 0.0])),
                       name="two bands of class 1")

def hold(got, expected, hint="", mistakes=None):
    """Sizes, one per image, where inf is allowed. mistakes: hint -> what a typical slip gives."""
    expect.that(got is not None, "None", f"a tensor of shape ({len(expected)},)", "Did you forget a return?")
    expect.that(isinstance(got, torch.Tensor), got, "a tensor", "Return a torch.Tensor with one size per image.")
    expect.tensor(torch.zeros_like(got) if got.is_floating_point() else got, shape=(len(expected),))
    expect.that(got.is_floating_point(), f"dtype {got.dtype}".replace("torch.", ""), "floating point numbers",
                "math.inf and sizes such as 0.5 need a tensor of floats.")

    def alike(values):
        return all(a == b or abs(a - b) < 1e-4 for a, b in zip(got.tolist(), values, strict=True))

    hint = next((why for why, values in (mistakes or {}).items() if alike(values)), hint)
    expect.that(alike(expected), got.tolist(), str(expected), hint)

@exercise.case("each image has a size of its own")
def _(smallest_flip):
    x, delta = torch.tensor([[0.6, 0.5], [0.6, 0.1], [0.2, 0.35]]), torch.tensor([[-1.0, 0.0], [-1.0, 1.0], [0.5, -0.5]])
    hold(smallest_flip(first_or_second, x, delta, [0.05, 0.12, 0.2, 0.3]), [0.12, 0.3, 0.2], mistakes={
        "These are the largest sizes at which the class differs, not the smallest.": [0.3, 0.3, 0.3],
        "This is the last size before the flip.": [0.05, 0.2, 0.12],
        "These are places in the list; the sizes themselves are asked for.": [1.0, 3.0, 2.0],
        "One size for the whole batch. Each image flips at its own.": [0.12, 0.12, 0.12],
        "The perturbations of all sizes add up. At each size start from x again.": [0.12, 0.2, 0.12],
    }, hint="For each image: the first of the sizes, in rising order, at which the class changes.")

@exercise.case("sizes in any order, and not changed")
def _(smallest_flip):
    x, delta = torch.tensor([[0.6, 0.5], [0.6, 0.3]]), torch.tensor([[-1.0, 0.0], [-1.0, 1.0]])
    hold(smallest_flip(first_or_second, x, delta, [0.3, 0.12, 0.2, 0.05]), [0.12, 0.2], mistakes={
        "This is the largest size that flips, or the first of the list as it comes. The smallest is asked for: what is written last must be the smallest.": [0.3, 0.3],
        "You take the last of the list as it comes. The smallest is asked for: sort the sizes.": [0.2, 0.2],
        "One size for both images, or the perturbations of all sizes add up. At each size start from x again, image by image.": [0.12, 0.12],
        "You stop at the first image that flips. The others still have to be looked at.": [0.12, math.inf],
    }, hint="The smallest of the sizes at which the class differs: sorted(sizes) helps.")
    expect.unchanged(smallest_flip)

@exercise.case("flips, flips back, flips again: the smallest")
def _(smallest_flip):
    x = torch.tensor([[0.5]])
    hold(smallest_flip(bands, x, torch.tensor([[1.0]]), [0.05, 0.15, 0.3, 0.45]), [0.15], mistakes={
        "At 0.15 the class was another one already; at 0.3 it was the old one again. The smallest flip is asked for, not the last.": [0.45],
        "The class flips at 0.15, back at 0.3 and again at 0.45. Do you look at every size (a bisection does not), and start from x at each?": [0.3],
        "You give up when the class flips back. It was another one at 0.15, and that counts.": [math.inf],
    }, hint="Look at every size; the class is another one at 0.15 and at 0.45.")

@exercise.case("no size flips: inf")
def _(smallest_flip):
    x, delta = torch.tensor([[0.9, 0.1], [0.6, 0.5]]), torch.tensor([[-1.0, 0.0], [1.0, -1.0]])
    hold(smallest_flip(first_or_second, x, delta, [0.1, 0.5]), [math.inf, math.inf], mistakes={
        "0 would be the smallest size of all. Where no size flips, return math.inf.": [0.0, 0.0],
        "This is the largest size of the list; but there the class is the old one. Return math.inf.": [0.5, 0.5],
        "Where no size flips, return math.inf.": [-1.0, -1.0],
    }, hint="Neither 0.1 nor 0.5 changes the class of either image.")

@exercise.case("clipped to [0, 1]: a white pixel gets no whiter")
def _(smallest_flip):
    x, delta = torch.tensor([[0.95, 0.9]]), torch.tensor([[0.5, 1.0]])
    hold(smallest_flip(first_or_second, x, delta, [0.02, 0.3, 0.6]), [math.inf], mistakes={
        "Without the clipping the second pixel would overtake. Clip x + s * delta to [0, 1].": [0.3],
        "Where no size flips, return math.inf.": [0.0],
    }, hint="After clipping both pixels are 1: which class does argmax take then? The first, as before.")

@exercise.case("a prediction that changes counts, whatever the right class is; nothing is edited")
def _(smallest_flip):
    x, delta = torch.tensor([[[[0.2, 0.35]]]]), torch.tensor([[[[0.5, -0.5]]]])
    flat = checks.network(("flatten",), ("linear", torch.eye(2), None), name="logits = pixels")
    hold(smallest_flip(flat, x, delta, [0.1, 0.2, 0.4]), [0.2], hint="From class 1 to class 0, at 0.2.")
    expect.unchanged(smallest_flip)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, classes and sizes", hint="For each image the smallest size at which the class differs from that of x; any shape.", hidden=True)
def _(smallest_flip):
    net = checks.network(("flatten",), ("linear", 4 * torch.randn(9, 12), torch.randn(9)), ("tanh",), ("linear", torch.randn(6, 9), None))
    network, x, delta = net.build(), torch.rand(25, 3, 2, 2), torch.randn(25, 3, 2, 2)
    sizes = [0.4, 0.01, 0.9, 0.05, 0.2, 1.7]
    expected = []
    for image, change in zip(x, delta):
        before = network(image[None]).argmax().item()
        flips = [s for s in sizes if network((image + s * change).clamp(0, 1)[None]).argmax().item() != before]
        expected.append(min(flips, default=math.inf))
    hold(smallest_flip(net, x, delta, sizes), expected)
### END HIDDEN TESTS

exercise.score()

# %% demo="how-far"
flip = checks.yours("smallest_flip", evaluation.smallest_flip)
levels = [0.5, 1, 16, 32]
for name, direction in tqdm({"crafted": delta, "random signs": reference_signs(delta, 0)}.items(), desc="directions"):
    found = [255 * size for size in flip(model, x, direction, [level / 255 for level in levels]).tolist()]
    print(f"{name:>13}: " + ", ".join("none" if size == math.inf else f"{size:g}" for size in found) + "   grey levels")

# %% [markdown]
# ## 1.8 The average and the worst case
#
# The slide "Introduction" begins with how models are judged: by a simple metric such as the misclassification rate, on test data. Then it asks: **are they reliable? How do they behave in the wild, when the data is corrupted?** So here are corruptions as they happen, without any adversary: a photo too dark or too bright, out of focus, taken at a slant. (A third question stands there, too: a model that is *used* changes the data it meets next, a **feedback loop**. A filter that hides a comment gets no reports about it, and what it then learns from is what it let through. One more reason why the test set of yesterday says little about tomorrow.)

# %% demo="corruptions"
def turned(x, angle):
    """Photos turned about their centre; what comes in from outside is a reflection of the edge."""
    return Rotation(180, padding="reflection").render(x.new_tensor([[angle / 180, 0.0, 0.0]]).expand(len(x), 3), x)

corruptions = {
    "as it is": x,
    "dark": corrupt.adjust_brightness(x, 0.3),
    "bright": corrupt.adjust_brightness(x, 2.0),
    "blurred": corrupt.gaussian_blur(x, [13, 13], [2.0, 2.0]),
    "turned 15°": turned(x, 15.0),
}
predicted = torch.stack([model(images).argmax(dim=1) for images in corruptions.values()])
plots.images(torch.cat(list(corruptions.values())), rows=list(corruptions), size=1.35,
             titles=[f"“{classes[k]}”" for k in predicted.flatten().tolist()], marked=(predicted != y).flatten())

# %% [markdown]
# Bold and framed: wrong. Let row $r$ of a table of booleans say which of the $B$ images are right under corruption $r$ of $R$. Two numbers sum it up, and they answer different questions:
#
# * the **average accuracy**: the share of right entries in the whole table. It answers: what happens on an ordinary day?
# * the **worst-case accuracy**: the share of images that are right under *all* $R$ corruptions. It answers: what happens if somebody, or nature, picks for each image the corruption that hurts it most?
#
# The second is what the word *robust* means, with the perturbation set $\mathcal P(\mathbf x)$ in place of $R$ corruptions.
#
# ### Exercise 1.8: average and worst case · easy · 10 minutes · 3 points
#
# Compute the two numbers from such a table.
#
# <details><summary>Hint 1</summary>
# <code>right.float().mean()</code> averages over everything. <code>right.all(dim=...)</code> asks for "all" along one dimension: along which, so that one boolean per image remains?
# </details>
# <details><summary>Hint 2</summary>
# Not meant is the accuracy under the worst single corruption: each image has a worst corruption of its own.
# </details>

# %% solution="average_and_worst"
def average_and_worst(right: torch.Tensor) -> tuple[float, float]:
    """The average accuracy and the worst-case accuracy.

    right: (R, B) booleans, right[r, b] says whether image b is classified rightly under corruption r.
    Returns a pair of numbers from 0 to 1: the share of right entries, and the share of images right under all R.
    """
    ### BEGIN SOLUTION
    return right.float().mean().item(), right.all(dim=0).float().mean().item()
    ### END SOLUTION

# %% test="average_and_worst" points=3
# Run this cell to check your average_and_worst. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("average_and_worst", points=3, by_hand=["coursekit.evaluation.average_and_worst"])

def hold(got, right, hint="For the worst case an image counts only if its whole column is True."):
    """An answer against its definition."""
    average, worst = right.float().mean().item(), right.all(dim=0).float().mean().item()
    expect.that(got is not None, "None", "a pair (average, worst)", "Did you forget a return?")
    if isinstance(got, torch.Tensor) and got.shape == (2,):
        got = got.tolist()
    expect.that(isinstance(got, list) and len(got) == 2, got, "a pair of two numbers", "Return both: `return average, worst`.")
    several = [value for value in got if isinstance(value, torch.Tensor) and value.numel() > 1]
    expect.that(not several, several[0] if several else "", "two numbers", "One number for the whole table each: something is missing that takes the mean of these.")
    first, second = (expect.number(value) for value in got)
    swapped = abs(first - worst) < 1e-4 and abs(second - average) < 1e-4 and abs(average - worst) > 1e-4
    expect.that(not swapped, [first, second], str([round(average, 4), round(worst, 4)]),
                "The two are swapped: the average first, the worst case second.")
    expect.close(first, average, mistakes={
        "This is a number of entries: divide by how many there are.": float(right.sum()),
        "In per cent; a share lies between 0 and 1.": 100 * average,
        "This is the share of wrong entries.": 1 - average,
    }, hint="The average: the share of True in the whole table.")
    expect.close(second, worst, mistakes={
        "This is the accuracy under the worst single corruption. Each image has a worst one of its own: an image counts only if it is right under all.":
            right.float().mean(dim=1).min().item(),
        "An image counts here if it is right under at least one corruption. Asked for: under all.": right.any(dim=0).float().mean().item(),
        "This is the share of corruptions under which all images are right: the wrong dimension. R comes first, B second.":
            right.all(dim=1).float().mean().item(),
        "This is a number of images: divide by B.": float(right.all(dim=0).sum()),
        "Divided by R. A share of images: divide by B.": float(right.all(dim=0).sum()) / len(right),
        "This is the share of images that some corruption spoils. The others are asked for.": 1 - worst,
        "This is 1 only if everything is right. One boolean per image first, then their mean.": float(right.all()),
    }, hint=hint)

@exercise.case("three corruptions, five images")
def _(average_and_worst):
    right = torch.tensor([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1], [1, 0, 1, 0, 0]]).bool()
    hold(average_and_worst(right), right)

@exercise.case("as good as ever on average, worthless in the worst case")
def _(average_and_worst):
    right = ~torch.eye(5, dtype=torch.bool)
    hold(average_and_worst(right), right, hint="Each image is spoiled by one corruption, another one for each: no image is right under all.")

@exercise.case("more images than corruptions, and one corruption only")
def _(average_and_worst):
    right = torch.tensor([[1, 1, 1, 0, 1, 1, 0], [1, 1, 0, 0, 1, 1, 1]]).bool()
    hold(average_and_worst(right), right)
    hold(average_and_worst(right[:1]), right[:1], hint="With one corruption the two are the same.")

@exercise.case("a single image; the table is left as it was")
def _(average_and_worst):
    right = torch.tensor([[1], [0], [1], [1]]).bool()
    hold(average_and_worst(right), right)
    expect.unchanged(average_and_worst)

### BEGIN HIDDEN TESTS
@exercise.case("tables of other sizes", hint="Over everything; and over the corruptions of each image.", hidden=True)
def _(average_and_worst):
    for corruptions, images in ((3, 200), (12, 40), (6, 6)):
        right = torch.rand(corruptions, images) < 0.9
        hold(average_and_worst(right), right)
### END HIDDEN TESTS

exercise.score()

# %% demo="photos-average-and-worst"
average, worst = checks.yours("average_and_worst", evaluation.average_and_worst)(predicted[1:] == y)
print(f"four corruptions of six photos: {average:.0%} right on average, {worst:.0%} of the photos right under all four")

# %% [markdown]
# Six photos are few. On 300 handwritten digits the three ways of asking can be drawn as curves: accuracy on the average of 20 random noises $\pm\epsilon$; the worst of the same 20, picked for each digit; and the worst that an attack finds (assignment 03). All three use exactly the same size ε. (About five seconds.)

# %% demo="average-worst-curve"
digits = data.load("mnist", "test")
digit_model = coursekit.models.load("mnist_cnn").requires_grad_(False)
digit_x, digit_y = digits.x[:300], digits.y[:300]
coins = [reference_signs(torch.ones_like(digit_x), seed) for seed in range(20)]
sizes = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4]
summary = checks.yours("average_and_worst", evaluation.average_and_worst)
averages, worsts, attacked = [], [], []
for eps in tqdm(sizes, desc="sizes"):
    right = torch.stack([digit_model((digit_x + eps * coin).clamp(0, 1)).argmax(dim=1) == digit_y for coin in coins])
    average, worst = summary(right)
    x_adv = attacks.pgd(digit_model, digit_x, digit_y, LpBall(eps, math.inf), steps=20, random_start=False)
    averages.append(average)
    worsts.append(worst)
    attacked.append((digit_model(x_adv).argmax(dim=1) == digit_y).float().mean().item())
plots.curves({
    "average of 20 noises": (sizes, averages),
    "worst of 20 noises": (sizes, worsts),
    "worst, by an attack": (sizes, attacked),
}, ylabel="accuracy", xlabel="size ε of the change of every pixel", title="One classifier, one size, three questions")

# %% [markdown]
# Look at ε = 0.15: the attack has brought the classifier to its knees, the average over noise has hardly moved, nor has even the worst of 20 draws. (At 0.3 noise hurts, too: there the digits are hard to see.) Testing with noise, however much of it, says next to nothing about the worst case. That is what the slide means by *nature as an adversary*: even where nobody attacks, whoever wants to rely on a model should know its worst case, and the average does not tell.
#
# ## 1.9 Why care, and who would attack?
#
# The lecture names two reasons to care. **Real-world risks**: an attacker need not touch any pixel. Glasses with a printed pattern make a face recogniser see somebody else [Sharif et al., 2016]; stickers make a STOP sign read as a speed limit [Eykholt et al., 2018]. You build both in assignment 05. **Conceptual gaps**: networks are said to learn what pictures *mean*; the pictures above mean a cup of coffee, to everyone but the network. Question 1.10a is about that.
#
# Attacks differ in *when* they happen and in *what they want*:
#
# * **Evasion**: the classifier is trained and stays as it is; the attacker changes what it is shown. **Poisoning**: the attacker changes the training data, so that a classifier trained on it has the properties that the attacker wants. (Everything in this course is evasion. Poisoning you need to tell apart from it.)
# * **Targeted**: the attacker wants one specific class. **Untargeted**: any class but the right one will do.
#
# ### Exercise 1.9: name the attack · medium · 20 minutes · 6 points
#
# Eight cases. For each decide when, what, and why.
#
# | name | what happens |
# |---|---|
# | `spam` | A mail service sorts incoming mail into five folders: inbox, promotions, social, forums, spam. A sender rewrites one advertisement, word by word, and sends it to an address of his own until it lies in the inbox. The other four folders are of no use to him. |
# | `stop_sign` | A prankster sticks tape onto a STOP sign. He has tried on a copy of the car's camera software which tape makes it miss the sign. Whether the car reads "speed limit", "yield" or an advertisement instead, he does not care. |
# | `crowd_labels` | A start-up pays people on the internet to label X-rays, and trains a classifier on the result. A competitor has a hundred accounts that answer at random, so that the product will be poor. |
# | `backdoor` | Somebody publishes a pretrained traffic-sign network. Before training it she put a small yellow square into some of the training pictures and labelled these "speed limit 100". Since then the network says "speed limit 100" to any sign with such a square on it; to a network that was trained on clean data the square means nothing. |
# | `face_unlock` | A door opens for one employee, whom its camera tells apart from 200 others. A thief prints a pattern onto the frame of a pair of glasses, computed for the finished classifier, with which the camera takes him for that employee. |
# | `camera` | A station compares the faces of passers-by with a list of 500 names, or says "unknown". An activist who is on the list paints her face so that her own name does not come up. Any other name, or "unknown", is fine with her. |
# | `chatbot` | A filter for comments rates each as friendly, neutral or insulting. Every night it is trained further on what users reported during the day. For weeks a group reports insults against one politician as "friendly", until the filter says so itself. |
# | `artist` | A painter changes all the pictures that she publishes, by amounts that nobody sees. Whoever collects them from the web and trains a classifier of styles on them gets one that does not recognise her style; with which other style it is confused is all the same to her. |
#
# The reasons to choose from. A letter may be right for more than one case, and some are right for none.
#
# | letter | reason |
# |---|---|
# | A | The classifier stays as it is; what it is shown is changed until one certain answer comes out. |
# | B | The classifier stays as it is; what it is shown is changed, and every answer but the right one is welcome. |
# | C | The classifier is in use, but it goes on learning, and what is sent to it are examples to learn from: they all pull towards one answer. |
# | D | What is seen when the classifier is used only pulls a trigger: the one answer to it was put in before, by training examples. |
# | E | The changes are too small to see, but they are made in pictures to be learned from; which wrong answer results is all the same. |
# | F | The pictures are untouched, only labels are wrong, and in no particular direction: the classifier shall be bad, no matter how. |
# | G | Nobody wants anything here: it is an accident, and nature is the adversary. |
# | H | The attacker knows the weights of the network, and who knows the weights always carries out this kind of attack. |
#
# <details><summary>Hint</summary>
# Two questions for each case. <em>Would a classifier that was trained on clean data be fooled as well?</em> And: <em>would the attacker be content with a wrong answer that somebody else picked?</em>
# </details>
# <details><summary>The form of the answer, to copy</summary>
# <pre>
# return {
#     "spam": ("", "", ""),
#     "stop_sign": ("", "", ""),
#     "crowd_labels": ("", "", ""),
#     "backdoor": ("", "", ""),
#     "face_unlock": ("", "", ""),
#     "camera": ("", "", ""),
#     "chatbot": ("", "", ""),
#     "artist": ("", "", ""),
# }
# </pre>
# </details>

# %% solution="attack_variants"
def attack_variants() -> dict[str, tuple[str, str, str]]:
    """When, what and why, for each of the eight cases.

    Returns {name: (when, what, reason)}: when is "evasion" or "poisoning", what is "targeted" or "untargeted",
    reason is one letter from "A" to "H". A case called "parrot" would look like this:
        {"parrot": ("poisoning", "untargeted", "G")}
    """
    ### BEGIN SOLUTION
    return {
        "spam": ("evasion", "targeted", "A"),
        "stop_sign": ("evasion", "untargeted", "B"),
        "crowd_labels": ("poisoning", "untargeted", "F"),
        "backdoor": ("poisoning", "targeted", "D"),
        "face_unlock": ("evasion", "targeted", "A"),
        "camera": ("evasion", "untargeted", "B"),
        "chatbot": ("poisoning", "targeted", "C"),
        "artist": ("poisoning", "untargeted", "E"),
    }
    ### END SOLUTION

# %% test="attack_variants" points=6
# Run this cell to check your attack_variants. (The right answers do not stand here: only fingerprints of them.)
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("attack_variants", points=6)
WHEN, WHAT, WHY = ("evasion", "poisoning"), ("targeted", "untargeted"), tuple("ABCDEFGH")
# name: fingerprints of the three answers, and for each of them something to think about
CASES = {
    "spam": (("68fc535eae30", "d093941772e5", "49647d692a39"), (
        "The folders are sorted by a filter. Does the sender change the filter, or only his mail?",
        "Four of the five folders are of no use to him. What does that say about the answers he would be content with?",
        "What is changed here, and how many answers will do? Find the sentence that says both.",
    )),
    "stop_sign": (("c2fc1c19bead", "273cd6ba307b", "c1a3f48b16e3"), (
        "The camera software is finished. What does the tape change, the software or what it sees?",
        "Would he be content with a wrong sign that somebody else picked?",
        "What is changed here, and which answers are welcome? Knowing the software is a means, not a kind of attack.",
    )),
    "crowd_labels": (("f5af906b4be7", "b7f49fc290c4", "f7ff9775a6bb"), (
        "When do the hundred accounts do their work, before the classifier is trained or after?",
        "Is there one answer that the competitor wants the classifier to give?",
        "What exactly is wrong with the data: pictures or labels? And do the wrong ones pull in one direction?",
    )),
    "backdoor": (("d8f4418efe25", "09f34fc3c644", "75a3be95c1fa"), (
        "Would the square fool a network that was trained on clean data? Then what had to be changed, and when?",
        "What does the network say to a sign with a square, and who decided that?",
        "What does the square do at the moment when it is seen, and what had to be done before?",
    )),
    "face_unlock": (("8eb665e7e31f", "5815d65035f9", "8c2f7b4b69c6"), (
        "Does the thief have a part in training the classifier, or does he meet it when it is finished?",
        "Whom must the camera take him for? Would any of the other 200 do?",
        "What is changed here, and how many answers will do? Find the sentence that says both.",
    )),
    "camera": (("c63c8ed96d88", "a8646074e6fa", "77ab970dcabc"), (
        "Is anything trained on the painted face, or is it shown to a finished system?",
        "Which name has to come up for her to be content?",
        "What is changed here, and which answers are welcome? Find the sentence that says both.",
    )),
    "chatbot": (("b5c3395b2838", "937e5f10095f", "6a645ea31001"), (
        "What happens every night with what the group reported during the day?",
        "What shall the filter say about these insults: something in particular, or just something wrong?",
        "It happens while the filter is in use: what makes that possible? And in which direction do the reports pull?",
    )),
    "artist": (("05876398e119", "c0c3c6de759f", "2512ce3920fb"), (
        "The changes are small, but what are the changed pictures used for?",
        "Is there one style that she wants to be taken for?",
        "What is changed, pictures or labels? Who uses it, and for what? And does it matter which wrong answer results?",
    )),
}

def cases_of(got):
    """The student's dictionary, with names in small letters."""
    expect.that(got is not None, "None", "a dictionary", "Did you forget a return?")
    expect.that(isinstance(got, dict), got, "a dictionary {name: (when, what, reason)}",
                "Return a dict, with the names of the cases as keys: the form to copy stands above.")
    return {name.strip().casefold().replace(" ", "_").replace("-", "_"): answer for name, answer in got.items()}

def ask(name):
    sealed, hints = CASES[name]

    @exercise.case(name)
    def _(attack_variants):
        answers = cases_of(attack_variants())
        answer, unknown = answers.get(name), ", ".join(repr(other) for other in answers if other not in CASES)
        expect.that(answer is not None, "no answer", "(when, what, reason)", f"Add an entry {name!r} to the dictionary. A guess costs nothing."
                    + f" (There is one called {unknown}: is it spelled as in the table?)" * bool(unknown))
        expect.that(isinstance(answer, list) and len(answer) == 3, answer, "(when, what, reason)",
                    'Three strings in parentheses, separated by commas: ("poisoning", "untargeted", "G"), for instance.')
        expect.that("" not in answer, "an empty string", "(when, what, reason)", "Not filled in yet. A guess costs nothing.")
        first = str(answer[0]).strip().casefold()
        expect.that(first not in WHAT and first not in map(str.casefold, WHY), answer, "(when, what, reason)",
                    "The order is (when, what, reason): first evasion or poisoning, then targeted or untargeted, then a letter.")
        for got, allowed, seal, part, hint in zip(answer, (WHEN, WHAT, WHY), sealed, ("when", "what", "why"), hints):
            expect.choice(got, allowed, sealed=seal, salt=f"attack_variants/{name}/{part}", hint=hint)

for name in CASES:
    ask(name)

exercise.score()

# %% [markdown]
# ## 1.10 In your own words
#
# These two answers are read by a person. A few sentences each are enough.
#
# ### Question 1.10a: counterexamples to what? · medium · 10 minutes · 3 points
#
# Networks are said to learn *meaningful representations*, which capture what a picture shows. (1) Why are adversarial examples counterexamples to this hypothesis? Say which part of the definition makes the argument work, and why random noise of the same size would not do. (2) Name two statements that do **not** follow from the existence of adversarial examples, although one hears them, and say in a clause why not.

# %% [markdown] answer="counterexamples" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: the meaning is unchanged (x tilde lies in P(x), which holds only what means the same to a person), x was understood rightly (f(x) = y), and still the prediction changes; so the prediction hangs on something else than the meaning. A representation of the meaning alone would be the same for x and x tilde. (Without P(x), or "changes that do not change the semantics": half a point.)
#
# **1 point**: why noise would not do: noise of this size does not change the prediction at all (so it is no counterexample); crafted perturbations show that there are directions to which the network reacts strongly and people do not, and they are found for nearly every image. One sentence with this idea is enough.
#
# **1 point** for two statements that do not follow, half each with a reason. For instance: "networks learn nothing meaningful / only noise" (they are right on new photos and stay right under noise and many corruptions; the features may be real and useful, only others than ours); "the network memorised its data" (accuracy on test data); "it is overfitting or a bug of this one network" (all networks trained in the ordinary way have them, and examples transfer); "test accuracy is worthless" (it answers another question, the average); "people have no adversarial examples" (nothing here was measured on people; there are optical illusions); "the model is useless" (depends on who may change the input, and on what is at stake); "no classifier can be robust" (training and certification, later).
# === END MARK SCHEME ===
# (1) $\tilde{\mathbf x}\in\mathcal P(\mathbf x)$ means that both pictures show the same to a person; $f(\mathbf x)=y$ says that the network had it right; and yet $f(\tilde{\mathbf x})\ne y$. A representation of what is shown would be the same for both, so the prediction rests, at least in part, on something that people do not see and that has nothing to do with the meaning. Noise of the same size shows nothing of the kind: the prediction stays, and one would conclude that the network looks through it. It takes the crafted direction to show that the network reacts strongly to something that means nothing to us. (2) It does not follow that the network has learned nothing: it is right on photos it never saw, also when they are noisy or dark, so what it uses does carry information. And it does not follow that its accuracy on test data is wrong or worthless: that number tells how often it errs on an ordinary day; it was never about the worst case.

# %% [markdown]
# ### Question 1.10b: a risk of your own · medium · 10 minutes · 3 points
#
# Describe a use of a classifier (not one from this notebook) in which an adversarial example would do harm, with its **threat model**: *who* attacks, what they *know* about the classifier, what they *may change* and what not (so, in words: what is $\mathcal P(\mathbf x)$?), and what they *want* (which variant is it?). Then: why does the accuracy on a test set not show this risk?

# %% [markdown] answer="own-risk" points=3
# === BEGIN MARK SCHEME ===
# **1 point** for a concrete, plausible use with a harm, and the attacker and their aim: who, and evasion/poisoning as well as targeted/untargeted named rightly for it. (Only a field, "in medicine", without a case: at most half.)
#
# **1 point** for what they know (weights, only answers, nothing, a copy) and what they may change, with a limit: what P(x) is in words, fitting the case (a few words of a text that keep its sense, stickers on a part, a loan application within what can be claimed without being found out), not just "pixels by eps". Half each.
#
# **1 point** for the test set: it holds inputs as they occur, drawn from P_data, and measures the average; the attacker picks the input, of which there may be practically none in the data; the share of such points among all can be as good as 0 while there is one near every input. (Only "the test set has no attacks in it": half.)
# === END MARK SCHEME ===
# An insurer pays for hail damage by photo: a classifier sorts pictures of a car into no, slight or heavy damage, and "heavy" is paid at once. Attackers are owners of undamaged or slightly damaged cars; they want "heavy": evasion, targeted. They do not know the weights, but may send pictures as often as they like and see the answer, and they may own a similar network. They may edit the file they send in any way that the insurer's clerk does not notice when he looks at a sample: changes of a few grey levels anywhere in the picture. So $\mathcal P(\mathbf x)$ is the $L_\infty$ ball of some levels, of pictures that are saved with 8 bits. The test set shows nothing of this, because it was drawn from honest claims: its accuracy is an average over pictures as cameras make them, and pictures in a crafted direction occur among those as good as never. That next to nearly every picture there is one that is paid is a statement about the worst case, and for that one has to search.

# %% [markdown]
# ## What to take along
#
# * An adversarial example is a statement about a picture, its label, a classifier **and a set**: $\tilde{\mathbf x}\in\mathcal P(\mathbf x)$, $f(\mathbf x)=y$, $f(\tilde{\mathbf x})\ne y$.
# * The worst case is built, not met by chance: noise of the same size, or ten times as large, does far less. So testing with noise, or with corruptions, does not find it.
# * Average accuracy and worst-case accuracy answer different questions; a model can be excellent in one and worthless in the other.
# * Fractions of a grey level fool a network, and do not survive a file; 1.3 levels can. Say in which form the picture reaches the classifier.
# * Evasion or poisoning: *would a classifier trained on clean data be fooled, too?* Targeted or untargeted: *does it have to be this class?*
#
# The slide's other three questions are the rest of the course: what does "small" mean (02), how are adversarial examples created (03 to 05), how does one protect against them (06 to 12).
#
# **Further**: Szegedy et al., *Intriguing properties of neural networks*, 2014, where it began. Mądry and Schmidt, *A brief introduction to adversarial examples*, gradientscience.org, 2018: the pig of the slide. Ilyas et al., *Adversarial examples are not bugs, they are features*, 2019: read it after question 1.10a. Hendrycks and Dietterich, *Benchmarking neural network robustness to common corruptions and perturbations*, 2019: the ordinary day, measured. Biggio and Roli, *Wild patterns: ten years after the rise of adversarial machine learning*, 2018: evasion and poisoning, with their history.
