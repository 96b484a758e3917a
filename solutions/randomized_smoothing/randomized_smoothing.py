# %% [markdown]
# # 12 Randomised smoothing
#
# Turn any classifier into one with a proven radius of robustness, without opening it: ask it about a cloud of noisy copies and take the majority. The price is statistics. A majority that was *seen* is not yet a majority that *is*, and a certificate that rests on lots drawn must say with which probability it is wrong. You build it in seven small steps, and find out where each of them is easy to get wrong.
#
# **After this notebook you can**
#
# * say why a majority under normal noise survives every shift up to a radius, and derive that radius from two bell curves;
# * bound a probability from votes so that the claim holds with any confidence asked for, and show why the usual error bars do not;
# * write the certificate of Cohen et al. (2019) as a whole: two samples, one bound, one quantile, and the courage to abstain;
# * tell how many votes a radius costs, and why no network, however good, gets beyond a ceiling;
# * read and draw certified accuracy curves, and say what exactly they promise: for which classifier, in which norm, with which probability.
#
# **Slides**: "Roadmap": this is its part 4, *Certifiable robustness: randomized smoothing*, which the slides name and do not work out; the notebook follows the literature, with its sources named. **Time**: about two and a half hours. **Points**: 24 from seven functions that are checked at once, 6 from two texts that a person reads. No other assignment is needed for this one.
#
# <div class="alert alert-info"><b>How to work here.</b> Each exercise has a cell to fill in, marked <code>YOUR CODE HERE</code>, and right below it a cell that checks it. Run the check as often as you like: each line is one situation, with what came out, what should have, and something to think about. When the notebook is graded, a few more cases of the same kind are added, with other shapes, other numbers of classes and of votes. No exercise needs an earlier one to be right: where you need one, the notebook gives you a reference. What an exercise asks for you write yourself; a call to the package's own version is refused. And a good function leaves what it is given as it was.</div>
#
# **Notation**: $\mathbf x$ an image, $f$ a classifier as on the slides (the *base* classifier), $\boldsymbol\varepsilon \sim \mathcal N(\mathbf 0, \sigma^2 I)$ normal noise, drawn for every pixel by itself with standard deviation $\sigma$; $g$ the smoothed classifier. $\Phi$ is the distribution function of the standard normal distribution, $\Phi(z) = \mathbb P[\mathcal N(0, 1) \le z]$, and $\Phi^{-1}$ its inverse. Distances are $L_2$ throughout. In code, `x` is a batch of shape `(B, ...)`, and probabilities are double precision (`torch.float64`): the interesting ones are close to 1.

# %% readonly="setup"
import math
import time

import torch
from scipy import stats
from tqdm.auto import tqdm

import coursekit
from coursekit import attacks, checks, data, plots, widgets
from coursekit.certify import smoothing
from coursekit.perturbations import LpBall

torch.set_num_threads(1)  # networks as small as these run faster on a single thread


def tail(k: int, n: int, p: float) -> float:
    """P[Bin(n, p) >= k]: how likely k successes or more are in n independent trials that each succeed with p."""
    return float(stats.binom.sf(k - 1, n, p))


test_digits = data.load("mnist", "test")
x, y = test_digits.x[:200], test_digits.y[:200]
plain = coursekit.models.load("mnist_cnn")  # a convolutional network, trained the ordinary way
# Smaller networks, two layers of 32, so that thousands of questions are answered quickly; trained with noise.
noise_trained = {sigma: coursekit.models.load("mnist_mlp", "noise", sigma) for sigma in (0.25, 0.5, 1.0)}
accuracy = (plain(test_digits.x).argmax(dim=1) == test_digits.y).float().mean().item()
print(f"{len(test_digits.x)} test digits of shape {tuple(x.shape[1:])}; clean accuracy of the ordinary network {accuracy:.1%}")

# %% [markdown]
# ## 12.1 A classifier that is asked about a cloud
#
# Attacks live on accidents: a direction in which $f$ happens to change its mind nearby. So do not ask $f$ about $\mathbf x$. Ask it about a whole cloud of noisy copies of $\mathbf x$, and let them vote:
#
# $$g(\mathbf x) = \underset{c}{\arg\max}\; \mathbb P\big[f(\mathbf x + \boldsymbol\varepsilon) = c\big], \qquad \boldsymbol\varepsilon \sim \mathcal N(\mathbf 0, \sigma^2 I).$$
#
# (Cohen, Rosenfeld and Kolter, 2019, equation 1. The slides' Roadmap calls it *randomized smoothing*.) An attacker who moves $\mathbf x$ a little moves the cloud a little, and the two clouds still have most of their points in common. This is the whole idea; the rest is to say how much "most" is.

# %% demo="first-look"
generator = torch.Generator().manual_seed(0)
few = x[3:8]
rows = [few] + [few + sigma * torch.randn(few.shape, generator=generator) for sigma in noise_trained]
plots.images(torch.cat(rows), rows=["x", *(f"σ = {sigma:g}" for sigma in noise_trained)],
             alt="Five digits, and below them one noisy copy of each with sigma 0.25, 0.5 and 1. With 0.25 they are easy to read, "
                 "with 0.5 one guesses some of them, with 1 one sees a stroke here and there in a snowstorm.")

# %% [markdown]
# ### Exercise 12.1: the votes · medium · 15 minutes · 4 points
#
# Draw $n$ noisy copies of each image, ask the network about them, and count how many are given to each class.
#
# One thing is *not* done: the copies are not clamped to $[0, 1]$. They are questions to a network and need not be images, and the proof to come compares two normal distributions. After a clamp they are none.
#
# <details><summary>Hint 1</summary>
# For one image, <code>torch.randn((n, *image.shape), generator=rng, dtype=x.dtype)</code> is standard normal noise for all of its copies at once, and <code>image + ...</code> adds the image to each. A loop over the images of the batch is quick enough.
# </details>
# <details><summary>Hint 2</summary>
# <code>classes.bincount(minlength=K)</code> counts how often each of the classes 0 to K - 1 occurs. Predictions need no gradients: under <code>torch.no_grad()</code> a thousand copies take less memory.
# </details>

# %% solution="count_votes"
def count_votes(model, x: torch.Tensor, sigma: float, n: int, seed: int) -> torch.Tensor:
    """How often the model says each class of n noisy copies of each image.

    model: returns logits (B, K), for batches of any size. x: (B, ...) images. sigma: the standard deviation of the noise,
    which is normal, drawn anew for every pixel of every copy of every image, and not clamped. seed: the same seed gives
    the same votes, another one others.
    Returns (B, K) int64: the votes for class c in column c; each row adds up to n.
    """
    ### BEGIN SOLUTION
    rng = torch.Generator().manual_seed(seed)
    counts = []
    with torch.no_grad():
        for image in x:
            noise = torch.randn((n, *image.shape), generator=rng, dtype=x.dtype)
            scores = model(image + sigma * noise)
            counts.append(scores.argmax(dim=1).bincount(minlength=scores.shape[1]))
    return torch.stack(counts)
    ### END SOLUTION

# %% test="count_votes" points=4
# Run this cell to check your count_votes. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks, data
from coursekit.checks import expect

exercise = checks.Exercise("count_votes", points=4, by_hand=["coursekit.certify.smoothing.SmoothedClassifier"])
# Two pixels u, v. Class 0 where u is above 0.6; class 0 where u - v is above 0.3; class 0 where u is above 1.1.
bright = checks.network(("linear", torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([0.0, 0.6])), name="u > 0.6")
differ = checks.network(("linear", torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.tensor([0.0, 0.3])), name="u - v > 0.3")
beyond = checks.network(("linear", torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([0.0, 1.1])), name="u > 1.1")
# Five classes, dark to bright: u up to 0.25, to 0.42, to 0.58, to 0.75, and above.
five = checks.network(("linear", torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]]),
                       torch.tensor([0.0, -0.25, -0.67, -1.25, -2.0])), name="five shades of u")
# What noise gives these shares of the five, at u = 0.5 and sigma = 0.2
NOISES = {
    "This is noise of variance 0.2, standard deviation 0.45. Multiply standard normal noise by sigma, not by its root.": (0.288, 0.141, 0.142, 0.141, 0.288),
    "This is noise of standard deviation 0.04. Multiply standard normal noise by sigma, not by sigma squared.": (0.0, 0.023, 0.954, 0.023, 0.0),
    "This is noise of standard deviation 1: is it multiplied by sigma?": (0.401, 0.067, 0.064, 0.067, 0.401),
    "No noise is beyond sigma here. Is it normal (randn)? Uniform noise ends at sigma.": (0.0, 0.3, 0.4, 0.3, 0.0),
    "No noise is below 0 here, and none above sigma. Is it normal and centred at 0 (randn, not rand)?": (0.0, 0.0, 0.4, 0.6, 0.0),
    "This is uniform noise, and narrow. Is it normal (randn)?": (0.0, 0.1, 0.8, 0.1, 0.0),
}
size = {"is wrong": False}  # what the cases after it need not say in other words
COLUMNS = "One column for each class the network knows, also for those without a vote: bincount(minlength=...), read off the logits."
STACK = "If rows differ in length: one column for each class the network knows, also for those without a vote (minlength). Are the classes dim 1 of the logits?"

def votes(got, images, classes, n, whole=False):
    """One row of whole numbers per image that add up to n. whole: as int64."""
    rows = f"a tensor of shape {(images, classes)}"
    expect.that(not (isinstance(got, list) and got and all(isinstance(row, torch.Tensor) for row in got)), "a list of tensors", rows,
                "torch.stack makes one tensor of a list of rows.")
    if isinstance(got, torch.Tensor) and got.ndim == 2 and len(got) == images and got.shape[1] != classes:
        expect.that(False, f"shape {tuple(got.shape)}", rows,
                    "These are the n answers themselves. Count how often each class is among them." if got.shape[1] == n else COLUMNS)
    got = expect.tensor(got, shape=(images, classes))
    totals = got.sum(dim=1).tolist()
    if totals[0] != n:
        expect.that(totals[0] != classes, f"rows that add up to {classes}", f"rows that add up to n = {n}",
                    "There are as many votes as classes: does argmax run over the copies? The classes are dim 1 of the logits.")
        expect.that(abs(totals[0] - 1) > 1e-3, "rows that add up to 1", f"rows that add up to n = {n}",
                    "Count the copies that get each class: neither shares nor probabilities.")
    expect.that(bool((got == got.round()).all()), "fractions of votes", "whole numbers",
                "Each copy votes for one class: neither shares nor probabilities.")
    expect.that(all(total == n for total in totals), f"rows that add up to {[total for total in totals if total != n][:1]}",
                f"rows that add up to n = {n}", "Each of the n copies of an image has one vote.")
    expect.that(not whole or got.dtype == torch.int64, f"dtype {got.dtype}".replace("torch.", ""), "int64", "Votes are whole numbers.")
    return got

def share(got):
    """Of the first class, in all rows together."""
    return got[:, 0].double().mean().item() / got[0].sum().item()

def explained(hint):
    """The hint, unless the noise is of the wrong size: that explains this, too."""
    return "First the size of the noise: see the line about the five shades." if size["is wrong"] else hint

@exercise.case("one row per image, one column per class, n votes in each row, as int64", hint=STACK)
def _(count_votes):
    never = checks.network(("linear", torch.zeros(5, 2), torch.tensor([0.0, 9.0, 0.0, 0.0, 0.0])), name="always class 1")
    got = votes(count_votes(never, torch.rand(1, 2), 0.5, 7, 0), 1, 5, 7)
    expect.that(got[0, 1].item() == 7, f"{got[0, 1].item():g} votes for class 1", "7: it is all that this network says")
    three = checks.network(("linear", torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), None), name="three classes")
    votes(count_votes(three, torch.rand(4, 2), 0.5, 30, 0), 4, 3, 30, whole=True)

@exercise.case("normal noise of the right size: u = 0.5, sigma = 0.2, five shades of u", hint=STACK)
def _(count_votes):
    size["is wrong"] = True  # until it is seen to be right
    got = votes(count_votes(five, torch.tensor([[0.5, 0.5]]), 0.2, 2500, 1), 1, 5, 2500)[0].double() / 2500
    def alike(shares):
        return (got - torch.tensor(shares, dtype=torch.float64)).abs().sum().item() < 0.12
    right = (0.106, 0.239, 0.311, 0.239, 0.106)
    size["is wrong"] = not alike(right) and got.max() < 0.999
    expect.that(alike(right), "votes of " + ", ".join(f"{part:.0%}" for part in got.tolist()), "11 %, 24 %, 31 %, 24 % and 11 %, give or take a few",
                "All copies get one answer: is any noise added, and is it noise of its own for each copy?" if got.max() > 0.999 else
                next((hint for hint, shares in NOISES.items() if alike(shares)),
                     "Normal noise of standard deviation 0.2 is beyond 0.25 in 11 % of all copies, on either side."))

@exercise.case("copies are not clamped to [0, 1]: u = 1, sigma = 0.2, class 0 above 1.1", hint=STACK)
def _(count_votes):
    seen = share(votes(count_votes(beyond, torch.tensor([[1.0, 0.5]]), 0.2, 2500, 2), 1, 2, 2500))
    expect.that(abs(seen - 0.309) < 0.06, f"{seen:.1%} of the votes for class 0", "30.9 %, give or take 6", explained(
        "No copy is brighter than 1.1. Are they clamped to the image range?" if seen < 0.01 else
        "A copy is of class 0 if its noise is above 0.1, half of sigma."))

@exercise.case("noise of its own for each pixel, each copy and each image", hint=STACK)
def _(count_votes):
    got = votes(count_votes(differ, torch.full((8, 2), 0.5), 0.2, 1000, 3), 8, 2, 1000)
    expect.that(bool((got > 0).all()), f"{got[0].tolist()} votes", "some for each class", explained(
        "All copies of an image, or all of its pixels, have the same noise: then u - v never changes, or always."))
    expect.that(abs(share(got) - 0.144) < 0.025, f"{share(got):.1%} of the votes for class 0", "14.4 %, give or take 2.5", explained(
        "The difference of two pixels with noise of their own has the standard deviation 1.41 sigma."))
    expect.that(len(got[:, 0].unique()) > 1, f"{got[0].tolist()} votes for each of 8 images", "votes that differ from image to image",
                "The images of the batch share their noise. Draw it anew for each: is the generator made once, before the loop?")

@exercise.case("the same seed gives the same votes, another seed others", hint=STACK)
def _(count_votes):
    images = torch.tensor([[0.9, 0.5]]).repeat(8, 1)
    one = votes(count_votes(differ, images, 0.2, 200, 5), 8, 2, 200)
    expect.that(torch.equal(one, count_votes(differ, images, 0.2, 200, 5)), "two different results with one seed", "the same",
                "Make a generator from the seed in every call and hand it to torch.randn.")
    for seed in (6, 1005):
        expect.that(not torch.equal(one, count_votes(differ, images, 0.2, 200, seed)), f"the same votes with the seeds 5 and {seed}",
                    "different ones", "The seed, as it is, must reach the generator, and the generator the draw. One that is made but not handed "
                    "over (generator=...) changes nothing: then randn draws from torch's global generator.")

@exercise.case("real digits; the network and the images are left as they were", hint=STACK)
def _(count_votes):
    digits, sees_through = data.load("mnist", "test"), checks.model("mnist_mlp", "noise", 0.25)
    got = votes(count_votes(sees_through, digits.x[:6], 0.25, 50, 0), 6, 10, 50)
    right = (got.argmax(dim=1) == digits.y[:6]).sum().item()
    expect.that(right >= 5, f"{right} of 6 digits with most votes for what they show", "at least 5")
    expect.unchanged(count_votes)

### BEGIN HIDDEN TESTS
@exercise.case("other shapes, many classes, float64", hint="Nothing about the shape of an image or the number of classes may be written out.", hidden=True)
def _(count_votes):
    weight = torch.zeros(7, 24, dtype=torch.float64)
    weight[3, 5] = 1.0
    net = checks.network(("flatten",), ("linear", weight, torch.tensor([0, 0, 0.5, 0, 0, 0, 0], dtype=torch.float64)))
    images = torch.full((3, 2, 3, 4), 0.25, dtype=torch.float64)
    got = votes(count_votes(net, images, 0.5, 1500, 11), 3, 7, 1500)
    expect.that(bool(((got[:, 3] / 1500 - 0.3085).abs() < 0.07).all()) and int(got[:, [0, 1, 4, 5, 6]].sum()) == 0,
                f"votes {got[0].tolist()}", "about 31 % for class 3, the rest for class 2")

@exercise.case("a single image, other sigmas", hint="Is sigma used as it is given?", hidden=True)
def _(count_votes):
    for sigma, expected in ((0.1, 0.9772), (0.8, 0.5987)):
        seen = share(votes(count_votes(bright, torch.tensor([[0.8, 0.0]]), sigma, 2000, 4), 1, 2, 2000))
        expect.that(abs(seen - expected) < 0.07, f"{seen:.1%} of the votes for class 0", f"about {expected:.1%}")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# ### Predict, then reveal
#
# The majority can only be as good as the voters. The ordinary network has never seen a noisy digit. **It is right on about 98 of 100 clean ones. How many of 100 does it get right if each has noise with σ = 0.5?** (It is the noise of the third row of the picture above. How many of those can *you* read?)

# %%
my_guess = None  # replace None by a number from 0 to 100

# %% demo="noise-fails"
def under_noise(model, sigma):
    """The share of digits that the model recognises, on one noisy copy of each of the 1,000."""
    noise = torch.randn(test_digits.x.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return (model(test_digits.x + sigma * noise).argmax(dim=1) == test_digits.y).float().mean().item()

sigmas = [0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0]
networks = {"ordinary": plain} | {f"trained with σ = {sigma:g}": model for sigma, model in noise_trained.items()}
shares = {name: (sigmas, [under_noise(model, sigma) for sigma in sigmas]) for name, model in networks.items()}
checks.reveal(my_guess, f"{100 * shares['ordinary'][1][4]:.0f} of 100; the network trained with σ = 0.5: "
                        f"{100 * shares['trained with σ = 0.5'][1][4]:.0f} of 100",
              "The second network is the smaller one by far. Noise of this size leaves enough to go by,\n"
              "but not for a network that was never shown any.")

# %% [markdown]
# The same for other sizes of the noise, and for all four networks:

# %% demo="under-noise"
plots.curves(shares, xlabel="σ of the noise", ylabel="accuracy on noisy digits")

# %% [markdown]
# So a base classifier is trained for its job: with the ordinary loss, on images with fresh noise in every batch, `training.fit(model, x, y, augment=training.gaussian_noise(0.5))`. No attack is computed and no bound is propagated; it costs what ordinary training costs, for a network of any size. Note the other side of it, too: at $\sigma = 0$, on clean digits, more noise in training means less accuracy. Keep this in mind for 12.6.
#
# ## 12.2 Why a majority survives a shift
#
# Say the cloud of $\mathbf x$ has the class $c$ with probability $p = \mathbb P[f(\mathbf x + \boldsymbol\varepsilon) = c]$. Now somebody moves $\mathbf x$ to $\tilde{\mathbf x}$, at distance $r$. *What can be said about the cloud of $\tilde{\mathbf x}$, if all that is known of $f$ is this one number?*
#
# Look at it from the attacker's side. The set $C$ of all points that $f$ gives to $c$ must hold the share $p$ of the first cloud; as for the rest, $f$ is yours to draw as you like. Draw it so that $C$ holds as little as possible of the *second* cloud. A point $\mathbf z$ that you put into $C$ counts with the first density for what you must have, and with the second for what you want to avoid. So first take the points whose second density is smallest compared with the first:
#
# $$\frac{\text{density at } \mathbf z \text{ around } \tilde{\mathbf x}}{\text{density at } \mathbf z \text{ around } \mathbf x} = \exp\!\Big(\frac{\lVert\mathbf z - \mathbf x\rVert_2^2 - \lVert\mathbf z - \tilde{\mathbf x}\rVert_2^2}{2\sigma^2}\Big),$$
#
# and that is small where $\mathbf z$ lies far on the side away from $\tilde{\mathbf x}$: it depends only on how far along the line from $\mathbf x$ to $\tilde{\mathbf x}$ the point is. Take points from that end until you have the share $p$. So the worst $C$ is a **half-space** at right angles to the line. (This is the Neyman-Pearson lemma of 1933, at a new job.) Of all that happens in 784 dimensions, one is left: along the line the first cloud is $\mathcal N(0, \sigma^2)$, the second $\mathcal N(r, \sigma^2)$, and $C$ is everything below some place $t$.
#
# ### Exercise 12.2a: what is left at worst · medium · 10 minutes · 3 points
#
# Finish the calculation. Where must $t$ be so that the first cloud has the share $p$ below it? Which share of the second cloud is below $t$ then?
#
# <details><summary>Hint 1</summary>
# P[N(0, σ²) ≤ t] = Φ(t / σ), and P[N(r, σ²) ≤ t] = Φ((t - r) / σ). Solve the first for t, and put it into the second.
# </details>
# <details><summary>Hint 2</summary>
# <code>torch.special.ndtr</code> is Φ, <code>torch.special.ndtri</code> is its inverse.
# </details>

# %% solution="worst_case_probability"
def worst_case_probability(p: torch.Tensor, sigma: float, r: float) -> torch.Tensor:
    """The least probability that a class can have around a point at distance r, if it has p around x.

    p: (N,) float64, each strictly between 0 and 1, above or below one half. sigma: the standard deviation of the noise.
    r: the distance, 0 or more. Returns (N,) float64.
    """
    ### BEGIN SOLUTION
    t = sigma * torch.special.ndtri(p)
    return torch.special.ndtr((t - r) / sigma)
    ### END SOLUTION

# %% test="worst_case_probability" points=3
# Run this cell to check your worst_case_probability. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("worst_case_probability", points=3, by_hand=["coursekit.certify.smoothing.least_probability"])
# Phi at -3, -2, ..., 3
PHI = {-3: 0.0013498980, -2: 0.0227501319, -1: 0.1586552539, 0: 0.5, 1: 0.8413447461, 2: 0.9772498681, 3: 0.9986501020}
NO_NUMBER = ("Not a number: the inverse of Phi wants a probability, and gives a place on the line. Subtract distances from the place, "
             "never from the probability.")
BEST = "The class gains by the shift: this is the best that can happen. Which way is the half-space moved?"
OTHERS = "This is the share of the other classes."
PLACE = "This is the quantile itself. What share of the second cloud is below it?"
HALF = "The shift is halved. The two clouds are r apart, and t is measured from the middle of the first."
NO_SIGMA = "The distance is not divided by sigma: a wide cloud minds a shift less."
TIMES = "You multiply by sigma. A wide cloud minds a shift less: divide."
VARIANCE = "You divide by the variance. Phi takes distances in units of sigma, the standard deviation."
UNITS = "The place t is in units of sigma, the distance is not: (t - r) / sigma, with t = sigma times the quantile."
NOTHING_LOST = "Nothing is lost by the shift. The second cloud is r further away from the half-space."

def exact(*values):
    return torch.tensor(values, dtype=torch.float64)

def at(*places):
    """The share of a standard normal distribution below each place."""
    return torch.special.ndtr(exact(*places))

def like(got, p):
    """Probabilities in the shape of p, in single or double precision."""
    got = expect.tensor(got, shape=tuple(p.shape), hint=NO_NUMBER)
    expect.that(got.is_floating_point(), f"dtype {got.dtype}".replace("torch.", ""), "float64")
    return got

@exercise.case("sigma = 1: shares of 84.1 % and 97.7 %, moved by 1")
def _(worst_case_probability):
    p = exact(PHI[1], PHI[2])
    expect.close(like(worst_case_probability(p, 1.0, 1.0), p), exact(PHI[0], PHI[1]), mistakes={
        BEST: exact(PHI[2], PHI[3]), OTHERS: 1 - exact(PHI[0], PHI[1]), PLACE: exact(0.0, 1.0), HALF: at(0.5, 1.5), NOTHING_LOST: p,
        "This is Phi of p - r: p is a probability. First turn it into a place t on the line, with the inverse of Phi.": at(PHI[1] - 1, PHI[2] - 1),
        "The bounded change p - r, or the like, is another proof. Here: the share of N(r, sigma^2) below t.": (p - 1.0).clamp(0, 1),
    }, hint="t has the share p of N(0, 1) below it. Which share of N(1, 1) is below t?")

@exercise.case("another sigma: what counts is the distance in units of sigma")
def _(worst_case_probability):
    p = exact(PHI[1], PHI[3])
    expect.close(like(worst_case_probability(p, 0.25, 0.5), p), exact(PHI[-1], PHI[1]), mistakes={
        NO_SIGMA: at(0.5, 2.5), TIMES: at(1 - 0.125, 3 - 0.125), VARIANCE: at(-7, -5), UNITS: at(0.5 / 0.25, 2.5 / 0.25),
        BEST: at(3, 5), HALF: at(0, 2), OTHERS: 1 - exact(PHI[-1], PHI[1]), PLACE: exact(-1.0, 1.0), NOTHING_LOST: p,
    }, hint="Everything in units of sigma: here the shift is 2 sigma.")

@exercise.case("no shift, no change; in double precision", hint="At distance 0 the two clouds are one, and p is what is left.")
def _(worst_case_probability):
    p = exact(0.2, 0.5, 0.75, 0.999)
    expect.close(expect.tensor(worst_case_probability(p, 0.7, 0.0), like=p, hint=NO_NUMBER), p, tolerance=1e-6)

@exercise.case("below one half, too")
def _(worst_case_probability):
    p = exact(PHI[-1], PHI[-2])
    expect.close(like(worst_case_probability(p, 3.0, 3.0), p), exact(PHI[-2], PHI[-3]), mistakes={
        "What is left is never below one half here. It may be: nothing is clamped.": exact(0.5, 0.5),
        "p is raised to one half first. The formula holds for every p as it is.": at(-1, -1),
        "1 - p is taken in place of p, where p is below one half. The formula holds for every p as it is.": at(0, 1),
        BEST: at(0, -1), OTHERS: 1 - exact(PHI[-2], PHI[-3]), PLACE: exact(-2.0, -3.0), HALF: at(-1.5, -2.5), NOTHING_LOST: p,
        NO_SIGMA: at(-4, -5), TIMES: at(-10, -11), VARIANCE: at(-1 - 1 / 3, -2 - 1 / 3), UNITS: at(-4 / 3, -5 / 3),
    }, hint="The same formula holds for every p, above one half and below.")
    expect.unchanged(worst_case_probability)

### BEGIN HIDDEN TESTS
@exercise.case("many probabilities, other numbers", hint="Any p in (0, 1), any sigma, any distance.", hidden=True)
def _(worst_case_probability):
    from scipy import stats
    p = torch.rand(30, dtype=torch.float64) * 0.98 + 0.01
    for sigma, r in ((0.12, 0.3), (1.7, 0.4)):
        place = stats.norm.ppf(p.numpy(), 0, sigma)
        expect.close(like(worst_case_probability(p, sigma, r), p), torch.from_numpy(stats.norm.cdf(place, r, sigma)))
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# In the picture, left: the worst region for a class with 84 % around $\mathbf x$, and what is left of it around $\tilde{\mathbf x}$. Right: your formula as the thick line, and three other regions with the same 84 %. They keep more, at every distance, and so does any other region. That the thick line is *reached*, by a linear classifier, says that nobody can prove more from $p$ alone.

# %% demo="two-clouds"
def reference_worst(p, sigma, r):
    return smoothing.least_probability(p, sigma, r)

plots.two_clouds(0.84, 0.5, 0.6, checks.yours("worst_case_probability", reference_worst))

# %% [markdown]
# The thick line also says how far the majority lasts. As long as more than one half is left, no other class can have more, and $g$ stays with $c$. So set what is left equal to $\frac12$ and solve for the distance: that is the **certified radius** (theorem 1 of the paper, with the runner-up's probability bounded by $1 - p$).
#
# ### Exercise 12.2b: the radius · easy · 10 minutes · 3 points
#
# Return the distance at which the worst-case probability is down to one half, and 0 where there is no majority to begin with.
#
# <details><summary>Hint</summary>
# Φ is one half at 0. For which r is (t - r) / σ equal to 0, if t is the place with the share p below it?
# </details>

# %% solution="certified_radius"
def certified_radius(p: torch.Tensor, sigma: float) -> torch.Tensor:
    """The radius within which a class keeps its majority, if it has at least the probability p around x.

    p: (N,) float64, from 0 to below 1; 0 itself may occur. sigma: the standard deviation of the noise.
    Returns (N,) float64, 0 where p is one half or less.
    """
    ### BEGIN SOLUTION
    quantile = torch.special.ndtri(p)
    return torch.where(p > 0.5, sigma * quantile, 0.0)
    ### END SOLUTION

# %% test="certified_radius" points=3
# Run this cell to check your certified_radius. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("certified_radius", points=3, by_hand=["coursekit.certify.smoothing.radius"])
# Phi at -1, 0, 1, 2, 3
PHI = {-1: 0.1586552539, 0: 0.5, 1: 0.8413447461, 2: 0.9772498681, 3: 0.9986501020}
NO_SIGMA = "sigma does not appear. The quantile counts in units of sigma."
OVER = "You divide by sigma. A wider cloud gives a larger radius for the same p."
VARIANCE = "You multiply by the variance. The quantile counts in units of sigma."
HALF = "Half of it. The second class is bounded by 1 - p, and the two quantiles are of equal size: they add up."
TWICE = "Twice too much: sigma (quantile of p - quantile of 1 - p) still has to be halved."
NO_NUMBER = "Not a finite number: the quantile of 0 is minus infinity, and 0 times infinity is NaN. What is chosen where p is one half or less?"

def exact(*values):
    return torch.tensor(values, dtype=torch.float64)

def like(got, p):
    """Radii in the shape of p, in single or double precision."""
    got = expect.tensor(got, shape=tuple(p.shape), hint=NO_NUMBER)
    expect.that(got.is_floating_point(), f"dtype {got.dtype}".replace("torch.", ""), "float64")
    return got

@exercise.case("sigma = 1")
def _(certified_radius):
    p = exact(PHI[1], PHI[2], PHI[3])
    expect.close(like(certified_radius(p, 1.0), p), exact(1.0, 2.0, 3.0), tolerance=1e-3, mistakes={
        HALF: exact(0.5, 1.0, 1.5), TWICE: exact(2.0, 4.0, 6.0),
        "This is Phi of p. The radius is a place on the line that has the share p below it: the inverse.": torch.special.ndtr(p),
        "erfinv counts in other units than the inverse of Phi: a factor of the root of 2 is missing.": exact(1.0, 2.0, 3.0) / 2**0.5,
        "erfinv is not the inverse of Phi: Phi(z) = (1 + erf(z / root of 2)) / 2. Or take torch.special.ndtri.": torch.erfinv(p),
        "erfinv(p), stretched by the root of 2, is not the inverse of Phi: it wants 2 p - 1.": 2**0.5 * torch.erfinv(p),
        "This is how far p is above one half. The radius is a distance: the quantile of p.": p - 0.5,
        "One half is taken off the quantile. It is Phi that is one half at the edge, and its quantile is 0.": exact(0.5, 1.5, 2.5),
        "The quantile of 1 - p is that of p with a minus, and a radius is not negative.": exact(-1.0, -2.0, -3.0),
    }, hint="Which r makes Phi(quantile of p - r / sigma) one half?")

@exercise.case("another sigma")
def _(certified_radius):
    p = exact(PHI[1], PHI[3])
    expect.close(like(certified_radius(p, 0.2), p), exact(0.2, 0.6), tolerance=1e-3, mistakes={
        NO_SIGMA: exact(1.0, 3.0), OVER: exact(5.0, 15.0), VARIANCE: exact(0.04, 0.12), HALF: exact(0.1, 0.3), TWICE: exact(0.4, 1.2),
    }, hint="The radius grows in proportion to sigma.")

@exercise.case("no majority, no radius")
def _(certified_radius):
    p = exact(PHI[-1], 0.5, PHI[2])
    expect.close(like(certified_radius(p, 3.0), p), exact(0.0, 0.0, 6.0), tolerance=1e-3, mistakes={
        "A negative radius. Where p is below one half there is nothing to certify: 0.": exact(-3.0, 0.0, 6.0),
        "A class with less than one half gets a radius. There is nothing to certify: 0.": exact(3.0, 0.0, 6.0),
        NO_SIGMA: exact(0.0, 0.0, 2.0), HALF: exact(0.0, 0.0, 3.0), TWICE: exact(0.0, 0.0, 12.0),
        OVER: exact(0.0, 0.0, 2 / 3), VARIANCE: exact(0.0, 0.0, 18.0),
    }, hint="0 where p is one half or less, the quantile times sigma elsewhere.")

@exercise.case("p = 0 occurs: a class without a single vote")
def _(certified_radius):
    p = exact(0.0, PHI[1])
    expect.close(like(certified_radius(p, 1.0), p), exact(0.0, 1.0), tolerance=1e-3, hint="0 where p is one half or less.")
    expect.unchanged(certified_radius)

@exercise.case("p next to 1: in double precision", hint="One copy in ten million is wrong here. A float32 has no room for that: compute in the dtype of p.")
def _(certified_radius):
    p = exact(1 - 1e-7)
    expect.close(expect.tensor(certified_radius(p, 1.0), like=p), exact(5.1993376), tolerance=1e-5, mistakes={
        "The digits of p are lost on the way: compute in float64 throughout.": exact(5.1665781)})

### BEGIN HIDDEN TESTS
@exercise.case("many probabilities", hint="Any p from 0 to below 1, any sigma.", hidden=True)
def _(certified_radius):
    from scipy import stats
    p = torch.cat([torch.rand(20, dtype=torch.float64) * 0.9, 1 - exact(1e-2, 1e-3)])
    for sigma in (0.12, 1.7):
        expected = torch.from_numpy(sigma * stats.norm.ppf(p.numpy())).clamp_min(0)
        expect.close(like(certified_radius(p, sigma), p), expected, tolerance=1e-3)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# $$R = \sigma\, \Phi^{-1}(p)$$
#
# So much certainty from so little: nothing was asked about $f$, neither its layers nor its gradients. Play with it before the statistics begin. In the plane one can *compute* $g$ without drawing lots; its boundary is the dashed line, and the circle, drawn from votes, should never cross it. (What the bound "at least ..." in the bar is, comes in 12.3.)

# %% demo="explorer"
widgets.smoothing_explorer()

# %% [markdown]
# <details><summary>Five things worth seeing in the picture</summary>
#
# 1. The circle may reach across the boundary of the <i>base</i> classifier (the colours); across the dashed line it does not, but for the rare draws of number 5. It certifies g, not f.
# 2. Choose "with islands": a base that is fooled anywhere by a step of 0.1 or less. Its g hardly notices the islands, and has certificates all the same; smaller ones, for each island costs votes.
# 3. Raise σ from 0.02 on. At first the circle grows with it; then the cloud spills over into the other class, p falls, and the circle shrinks again. There is a best σ, and it is another one for each point. (Take point 60. At point 30, where the explorer starts, it is beyond the end of the slider.)
# 4. Raise n: the black bar comes closer to the end of the coloured one, and the circle grows, though nothing about f or g has changed.
# 5. A certificate may be false. Take the base "network", σ = 0.12, point 112, 30 votes, alpha = 0.1, and go through the draws: for about one in ten the circle is too large, and the verdict says so. (Number 2 is the first.) With alpha = 0.001 you can look for long.
# </details>
#
# ## 12.3 From an estimate to a claim
#
# The formula wants $p$, the true probability. What one has is $k$ votes of $n$. The obvious $\hat p = k/n$ is above $p$ about half of the time (unless $p$ is next to 1), and then the radius is too large, and the certificate a false one. What is needed is a claim $p \ge \underline p$ that is false with a probability of at most $\alpha$, *whatever $p$ is*. Statistics courses have a formula for an error bar,
#
# $$\underline p = \hat p - z_\alpha \sqrt{\hat p\,(1 - \hat p) / n}, \qquad z_\alpha = \Phi^{-1}(1 - \alpha).$$
#
# **Predict.** The true $p$ is 0.98, there are $n = 100$ votes, and $\alpha$ is 1 %. We let 10,000 people draw 100 votes each and work out this $\underline p$. It should be above 0.98 for about 100 of them. **For how many is it?**

# %%
my_guess = None  # replace None by a number from 0 to 10000

# %% demo="normal-approximation"
def normal_approximation(k, n, alpha):
    return k / n - stats.norm.isf(alpha) * math.sqrt(k / n * (1 - k / n) / n)

drawn = stats.binom.rvs(100, 0.98, size=10_000, random_state=0)
claims = [normal_approximation(k, 100, 0.01) for k in range(101)]
too_high = sum(claims[k] > 0.98 for k in drawn.tolist())
checks.reveal(my_guess, f"{too_high} of 10,000",
              "Whoever gets 100 votes of 100 has an error bar of length 0 and claims p = 1.\n"
              "And that happens to 13 % of them: 0.98 to the power of 100.")

# %% [markdown]
# The formula is an approximation that breaks down just where certificates live: $p$ near 1. So turn to a claim that is right by construction. Ask of every $p$: *would $k$ votes or more be a surprise, if $p$ were the truth?* With
#
# $$\mathbb P[\mathrm{Bin}(n, p) \ge k] = \sum_{j=k}^{n} \binom nj p^j (1-p)^{n-j},$$
#
# call it a surprise if this is at most $\alpha$. It grows with $p$, from 0 at $p = 0$ to 1 at $p = 1$. All $p$ up to some place would be surprised, and that place is the claim:
#
# $$\underline p(k) = \text{the } p \text{ with } \mathbb P[\mathrm{Bin}(n, p) \ge k] = \alpha.$$
#
# Why is it false with a probability of at most $\alpha$? Let $p$ be the truth. The claim is false if $\underline p(k) > p$, and then $k$ votes or more were a surprise to $p$. The smallest such $k$, call it $k^*$, has $\mathbb P[\mathrm{Bin}(n, p) \ge k^*] \le \alpha$; so $k$ is as large as that with a probability of at most $\alpha$. No approximation, for every $n$ and every $p$. (An example: $n = 100$, $p = \frac12$, $\alpha = 5\,\%$. 58 votes or more have a probability of 6.7 %, no surprise; 59 or more have 4.4 %. So $k^* = 59$, and the claim is false in 4.4 % of all draws: votes are whole numbers, and 5 % itself is not among the tails.) (Clopper and Pearson, 1934; the paper's LowerConfBound.)
#
# ### Exercise 12.3: a bound that keeps its promise · hard · 20 minutes · 4 points
#
# Solve that equation for $p$. The setup has `tail(k, n, p)`, which is $\mathbb P[\mathrm{Bin}(n, p) \ge k]$. (There is a closed form as well, a quantile of a beta distribution; if you know it, or find it, use it.)
#
# <details><summary>Hint 1</summary>
# The tail grows with p. Keep two places, one where the tail is at most alpha and one where it is more, look at the middle, and keep the half that still has the solution between its ends. Fifty halvings are exact enough.
# </details>
# <details><summary>Hint 2</summary>
# Where do you start? p = 0 is surprised by any vote at all. And k votes are no surprise if p is k/n. The case k = 0 is one of its own: no vote surprises nobody, so nothing can be claimed but p ≥ 0.
# </details>

# %% solution="lower_bound"
def lower_bound(k: int, n: int, alpha: float) -> float:
    """The p at which k or more of n votes have probability alpha: a claim "at least p" that is false with at most alpha.

    k: 0 to n votes for the class, of n of all classes, at least 1. alpha: strictly between 0 and one half.
    Returns a number from 0 to below 1, exact to 6 decimals; 0 for k = 0.
    """
    ### BEGIN SOLUTION
    claimed, doubted = 0.0, k / n
    for _ in range(50):
        half_way = 0.5 * (claimed + doubted)
        if tail(k, n, half_way) <= alpha:
            claimed = half_way
        else:
            doubted = half_way
    return claimed
    ### END SOLUTION

# %% test="lower_bound" points=4
# Run this cell to check your lower_bound. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("lower_bound", points=4, by_hand=["coursekit.certify.smoothing.lower_bound"])

WALD = "This is the normal approximation. It is off just where p is near 1: solve the equation with the tail itself."
WILSON = "This is Wilson's interval: a better approximation, and still one. Solve the equation with the tail itself."
TWO_SIDED = "This is the lower end of a two-sided interval, with alpha / 2 on each side. Only the lower side can make a certificate false."
STRICT = "This counts more than k votes. What is a surprise is k votes or more: P[Bin(n, p) >= k]."
EARLY = "This counts k - 1 votes or more. tail(k, n, p) is P[Bin(n, p) >= k] as it is."
EXACTLY = "This is the probability of exactly k votes. What is a surprise is k votes or more: add up to n, or take tail."
UNANIMOUS = "This is alpha to the power of 1/n: right if all votes agree, and only then."
UPPER = "This is an upper bound. Claimed is that p is at least so much."
SHARE = "This is k/n, the estimate. It is above the truth about half of the time."
HOEFFDING = "This is Hoeffding's bound. It is a true claim, but far lower than needed: solve the equation with the tail itself."
BAYES = "This is a Bayesian quantile, with k + 1 and n - k + 1. Close, but the promise for every p needs k and n - k + 1."
OTHER_TAIL = "Here the tail is 1 - alpha, not alpha: k votes would be no surprise at all."
CERTAIN = ("No number of votes proves p = 1. Whoever counts more than k votes gets it, and so do k/n, the error bar from above "
           "and an upper bound: none of them is the claim.")
NOTHING = "0 claims nothing, and something can be claimed. (Is it alpha to the power of n? It is p to the power of n that must be alpha.)"

def claim(got, expected, mistakes, hint):
    """A number, to 6 decimals."""
    if isinstance(got, torch.Tensor) and got.numel() == 1:
        got = got.item()
    expect.that(not (isinstance(got, float) and got != got), "NaN, which is not a number", f"{expected:g}",
                "The beta quantile has no answer for k = 0. That is a case of its own: 0." if not expected else
                "Is a root drawn, or a logarithm taken, of something below 0?")
    got = expect.number(got)
    near = 2e-6 < abs(got - expected) < 2e-4 and not any(abs(got - value) < 2e-6 for value in mistakes.values())
    expect.that(not near, f"{got:.7f}", f"{expected:.7f}", "Nearly: asked for are 6 decimals. Halve more often; fifty times is enough.")
    expect.close(got, expected, tolerance=1e-6, mistakes=mistakes, hint=hint)

@exercise.case("90 of 100 votes, alpha = 5 %")
def _(lower_bound):
    claim(lower_bound(90, 100, 0.05), 0.836282377, {
        SHARE: 0.9, WALD: 0.850654391, TWO_SIDED: 0.823777402, STRICT: 0.848204571, UPPER: 0.944736762, HOEFFDING: 0.777612658,
        BAYES: 0.837845428, OTHER_TAIL: 0.937075450, WILSON: 0.839644490, EARLY: 0.824497197, EXACTLY: 0.853127843, UNANIMOUS: 0.970486950,
    }, "tail(90, 100, p) must come out as 0.05 for the p that you return.")

@exercise.case("all of 100 votes, alpha = 0.1 %")
def _(lower_bound):
    claim(lower_bound(100, 100, 0.001), 0.933254301, {
        CERTAIN: 1.0, NOTHING: 0.0, TWO_SIDED: 0.926807842, BAYES: 0.933892806, HOEFFDING: 0.814153891, EARLY: 0.911373111,
        OTHER_TAIL: 0.999989995,
    }, "If p were the truth, all of 100 votes had the probability p^100. For which p is that 0.001?")

@exercise.case("not a single vote: nothing is claimed", hint="No votes surprise nobody, whatever p is: the claim is 0, not NaN and not an error.")
def _(lower_bound):
    claim(lower_bound(0, 50, 0.01), 0.0, {
        "A claim from no votes at all. k = 0 is a case of its own: 0.": 1 - 0.99 ** (1 / 50), UNANIMOUS: 0.01 ** (1 / 50)}, "")
    claim(lower_bound(25, 50, 0.01), 0.331404706, {SHARE: 0.5, NOTHING: 0.0}, "And half of the votes claim this much.")

@exercise.case("ten thousand votes")
def _(lower_bound):
    claim(lower_bound(9900, 10_000, 0.001), 0.986531159, {
        SHARE: 0.99, WALD: 0.986925258, TWO_SIDED: 0.986288174, STRICT: 0.986646259, BAYES: 0.986532504, UPPER: 0.992798089,
        HOEFFDING: 0.971415389, OTHER_TAIL: 0.992713315, WILSON: 0.986423893, EARLY: 0.986416136, EXACTLY: 0.987051104, UNANIMOUS: 0.999309463,
    }, "The same equation. If you multiply binomials out yourself: do they overflow? Is the search exact to 6 decimals?")

@exercise.case("one vote of one, few votes, a large alpha")
def _(lower_bound):
    claim(lower_bound(1, 1, 0.05), 0.05, {CERTAIN: 1.0, NOTHING: 0.0, TWO_SIDED: 0.025, OTHER_TAIL: 0.95},
          "One vote of one: P[Bin(1, p) >= 1] = p, so the p is alpha.")
    claim(lower_bound(2, 4, 0.3), 0.272383942, {
        SHARE: 0.5, STRICT: 0.491595245, UNANIMOUS: 0.740082804, EARLY: 0.085308779, EXACTLY: 0.337540152, TWO_SIDED: 0.179384365,
        UPPER: 0.727616058, BAYES: 0.389818351, OTHER_TAIL: 0.508404755, WALD: 0.368899872,
    }, "6 p^2 (1 - p)^2 + 4 p^3 (1 - p) + p^4 = 0.3.")

### BEGIN HIDDEN TESTS
@exercise.case("other counts, other alphas", hint="Any k from 0 to n, any n, any alpha: the p with P[Bin(n, p) >= k] = alpha, to 6 decimals.", hidden=True)
def _(lower_bound):
    from scipy import stats
    for k, n, alpha in ((1, 400, 0.2), (57, 60, 0.01), (1234, 2000, 0.0005), (5, 7, 1e-6), (499, 500, 0.05)):
        expect.close(lower_bound(k, n, alpha), float(stats.beta.ppf(alpha, k, n - k + 1)), tolerance=1e-6)

@exercise.case("the promise is kept: for every p the claim is too high with at most alpha", hint="For some p the claim is too high too often.", hidden=True)
def _(lower_bound):
    from scipy import stats
    claims = [expect.number(lower_bound(k, 40, 0.05)) for k in range(41)]
    expect.that(claims[40] > 0.9, claims[40], "a claim above 0.9 from 40 of 40 votes", "A claim of next to nothing is true, and of no use.")
    for p in (0.1, 0.5, 0.62, 0.9, 0.975, 0.995):
        false = sum(float(stats.binom.pmf(k, 40, p)) for k, claim in enumerate(claims) if claim > p + 1e-6)
        expect.that(false <= 0.05 + 1e-6, f"claims above p = {p:g} in {false:.1%} of all draws", "at most 5 %")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Hold the three against each other: for every true $p$, how often is the claim too high? (Computed exactly: the probability of all $k$ whose claim is above $p$. The lines are saws because $k$ is a whole number.) The estimate itself is false about half of the time, until $p$ comes close to 1. The approximation is false somewhat more often than promised for $p$ up to 0.7, then several times as often, and more and more so towards $p = 1$. The exact bound stays below the dotted line everywhere. Beyond $p = 0.955$ it is *never* too high: 100 votes cannot claim more, even if they all agree. This will be the topic of 12.5.

# %% demo="coverage"
def reference_bound(k, n, alpha):
    return smoothing.lower_bound(k, n, alpha).item()

plots.coverage({"the share of votes itself": lambda k, n, alpha: k / n, "normal approximation": normal_approximation,
                "exact bound": checks.yours("lower_bound", reference_bound)}, n=100, alpha=0.01)

# %% [markdown]
# ## 12.4 The certificate
#
# Now everything is there. For an image $\mathbf x$, the algorithm *Certify* of the paper:
#
# 1. Draw $n_0$ noisy copies, a few, and let $c$ be the class with most votes.
# 2. Draw $n$ **other** noisy copies, many, and count the votes $k$ for $c$ among them.
# 3. $\underline p$ = the bound from $k$ of $n$ at the risk $\alpha$.
# 4. If $\underline p > \frac12$: certify the class $c$ with the radius $\sigma\,\Phi^{-1}(\underline p)$. Otherwise **abstain**: the votes do not prove that there is a majority, and a wrong "I am certain" is worse than none.
#
# The promise is one for each image: its certificate is false with a probability of at most $\alpha$. For several claims at once the risks add up, at most: that *any* of $m$ certificates is false has a probability of at most $m\,\alpha$, whether or not they have to do with each other (the *union bound*). Whoever wants all $m$ to hold at the risk $\alpha$ makes each at $\alpha / m$.
#
# Why draw twice? The bound of 12.3 is for a class that was chosen *before* the votes were counted. Whoever looks at the votes and then picks the class that has the most, picks the one that was lucky. More on this below.
#
# ### Exercise 12.4: certify · medium · 15 minutes · 4 points
#
# Write steps 1 to 4 for a batch, given both sets of votes. References: `smoothing.lower_bound(k, n, alpha)` for the bound, where `k` is an int64 tensor `(B,)` and `n` an int, and `smoothing.radius(p, sigma)` for the radius, 0 where there is no majority.
#
# <details><summary>Hint</summary>
# The class comes from one table of votes, the count from the other, in the column of that class: <code>counts[torch.arange(len(c)), c]</code>, or <code>gather</code>. How many votes a row of the second table has is its sum, and that is the same for all rows; <code>int(counts[0].sum())</code> makes a plain number of it.
# </details>

# %% solution="certify"
def certify(counts0: torch.Tensor, counts: torch.Tensor, sigma: float, alpha: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The certificates of a batch, from two independent sets of votes.

    counts0: (B, K) int64, votes that choose the class; no ties. counts: (B, K) int64, votes that
    bound its probability; all rows add up to the same n, which is mostly another number than the votes in counts0.
    sigma: of the noise. alpha: the risk of each certificate.
    Returns three tensors (B,): the labels, int64, chosen by counts0 also where it abstains; the radii, float64, 0 where
    it abstains; and booleans, True where it abstains, which is where the bound is one half or less.
    """
    ### BEGIN SOLUTION
    label = counts0.argmax(dim=1)
    supporters = counts[torch.arange(len(label)), label]
    p = smoothing.lower_bound(supporters, int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5
    ### END SOLUTION

# %% test="certify" points=4
# Run this cell to check your certify. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.certify import smoothing
from coursekit.checks import expect

exercise = checks.Exercise("certify", points=4, by_hand=["coursekit.certify.smoothing.certificate"])
MORE_THAN_N = "If there are more votes than n: n is the number of votes in counts, not that in counts0."
SQUEEZE = "gather keeps the dimension it picks from. Take it away: squeeze(1), or [:, 0]."

def parts(got, images, exactly=False):
    """Labels, radii and booleans, one of each per image. exactly: of the dtypes asked for, too."""
    expect.that(isinstance(got, list) and len(got) == 3, got, "three tensors: labels, radii, booleans",
                "Return three things, separated by commas.")
    for part in got:
        kept = isinstance(part, torch.Tensor) and tuple(part.shape) == (images, 1)
        expect.that(not kept, f"shape {(images, 1)}", f"shape {(images,)}", SQUEEZE)
    label, radius, abstained = (expect.tensor(part, shape=(images,)) for part in got)
    for name, part, kind in (("labels", label, torch.int64), ("radii", radius, torch.float64), ("abstained", abstained, torch.bool)):
        expect.that(not exactly or part.dtype == kind, f"{name} of dtype {part.dtype}".replace("torch.", ""), f"{kind}".replace("torch.", ""),
                    "In this order: labels as whole numbers, radii in double precision, booleans where it abstains.")
    return label, radius, abstained.bool()

def radius_of(votes, n, alpha, sigma):
    """What so many votes of n for the chosen class certify."""
    return smoothing.radius(smoothing.lower_bound(torch.tensor(votes), n, alpha), sigma)

@exercise.case("a clear majority in both samples", hint=MORE_THAN_N)
def _(certify):
    counts0, counts = torch.tensor([[20, 970, 10]]), torch.tensor([[15, 480, 5]])
    label, radius, abstained = parts(certify(counts0, counts, 0.5, 0.001), 1)
    expect.close(label, torch.tensor([1]), hint="970 of the first 1000 votes are for class 1.")
    expect.close(radius, radius_of([480], 500, 0.001, 0.5), mistakes={
        "n is the number of votes in counts, 500, not that in counts0.": radius_of([480], 1000, 0.001, 0.5),
        "The votes are counted in counts0. It has done its work when the class is chosen: count in counts.": radius_of([970], 1000, 0.001, 0.5),
        "Both samples are thrown together. The first one has done its work when the class is chosen.": radius_of([1450], 1500, 0.001, 0.5),
        "The radius comes from the estimate k/n. Take the lower bound.": 0.5 * torch.special.ndtri(torch.tensor([0.96], dtype=torch.float64)),
        "The risk is halved. The bound is one-sided: all of alpha is for it.": radius_of([480], 500, 0.0005, 0.5),
        "sigma is missing from the radius.": radius_of([480], 500, 0.001, 1.0),
        "alpha is not the one given.": radius_of([480], 500, 0.05, 0.5),
    }, hint="480 of 500 votes for class 1, then the bound, then the radius.")
    expect.that(not abstained.item(), "it abstains", "a certificate", "The bound is above one half: is True where it abstains, not where it certifies?")

@exercise.case("the samples disagree: the class is that of the first", hint=MORE_THAN_N)
def _(certify):
    counts0, counts = torch.tensor([[40, 60]]), torch.tensor([[700, 300]])
    label, radius, abstained = parts(certify(counts0, counts, 0.5, 0.001), 1)
    expect.close(label, torch.tensor([1]), mistakes={
        "You choose the class in the sample that also bounds its probability (or in both together). Choose it in counts0 alone.":
            torch.tensor([0])}, hint="60 of the first 100 votes are for class 1.")
    expect.close(radius, torch.zeros(1), mistakes={
        "You count the votes of the class with most votes in counts. Count those of the class that counts0 chose.":
            radius_of([700], 1000, 0.001, 0.5)}, hint="300 of 1000 votes prove no majority.")
    expect.that(abstained.item(), "a certificate", "it abstains", "300 of 1000 votes for the chosen class prove no majority.")

@exercise.case("a majority, but not proven: 520 of 1000", hint=MORE_THAN_N)
def _(certify):
    counts0, counts = torch.tensor([[0, 0, 55, 45]]), torch.tensor([[10, 10, 520, 460]])
    label, radius, abstained = parts(certify(counts0, counts, 1.0, 0.001), 1)
    expect.that(abstained.item(), "a certificate", "it abstains",
                "520 of 1000 could come from a class with less than one half. It is the bound that must be above one half, not k/n.")
    expect.close(radius, torch.zeros(1), hint="Where it abstains the radius is 0.")
    expect.close(label, torch.tensor([2]), mistakes={
        "Where it abstains the label stays the chosen class; the booleans say the rest.": torch.tensor([-1])}, hint="The chosen class is 2.")

@exercise.case("a batch: each image has its own class and its own votes", hint=MORE_THAN_N)
def _(certify):
    counts0 = torch.tensor([[9, 1, 0], [2, 3, 5], [1, 8, 1], [6, 2, 2]])
    counts = torch.tensor([[480, 20, 0], [100, 100, 300], [0, 500, 0], [200, 250, 50]])
    votes = [480, 300, 500, 200]
    label, radius, abstained = parts(certify(counts0, counts, 0.25, 0.01), 4)
    expect.close(label, torch.tensor([0, 2, 1, 0]), hint="The largest entry of each row of counts0.")
    expect.close(radius, radius_of(votes, 500, 0.01, 0.25), mistakes={
        "The risk is halved. The bound is one-sided: all of alpha is for it.": radius_of(votes, 500, 0.005, 0.25),
        "alpha is not the one given.": radius_of(votes, 500, 0.001, 0.25),
        "sigma is missing from the radius.": radius_of(votes, 500, 0.01, 1.0),
        "sigma is not the one given.": radius_of(votes, 500, 0.01, 0.5),
        "n is that of the whole batch. Each image has the votes of its own row.": radius_of(votes, 2000, 0.01, 0.25),
    }, hint="480, 300, 500 and 200 of 500 votes. Is each row paired with its own class, and is n the sum of one row?")
    expect.that(abstained.tolist() == [False, False, False, True], str(abstained.tolist()), "[False, False, False, True]",
                "Only the last has a bound of one half or less.")
    expect.unchanged(certify)

@exercise.case("labels int64, radii float64, booleans", hint=MORE_THAN_N)
def _(certify):
    parts(certify(torch.tensor([[9, 1], [2, 8]]), torch.tensor([[90, 10], [40, 60]]), 0.25, 0.01), 2, exactly=True)

### BEGIN HIDDEN TESTS
@exercise.case("many images and classes, other numbers of votes", hint="The class from counts0, its votes from counts, n from a row of counts, the bound decides.", hidden=True)
def _(certify):
    base = torch.rand(25, 11).softmax(dim=1)
    base[torch.arange(25), torch.randint(0, 11, (25,))] += 4 * torch.rand(25)
    counts0, counts = (torch.stack([torch.multinomial(row, n, replacement=True).bincount(minlength=11) for row in base]) for n in (31, 430))
    counts0.mul_(2)[torch.arange(25), counts0.argmax(dim=1)] += 1  # no ties
    label, radius, abstained = parts(certify(counts0, counts, 0.7, 0.02), 25)
    votes = [row[c].item() for row, c in zip(counts, counts0.argmax(dim=1).tolist())]
    expected = radius_of(votes, 430, 0.02, 0.7)
    expect.close(label, counts0.argmax(dim=1))
    expect.close(radius, expected)
    expect.close(abstained, expected == 0)
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Here it is at work: ten digits, a base trained with $\sigma = 0.5$, $n = 2{,}000$ votes, $\alpha = 0.001$. Below each digit its votes; above it the radius, within which *no* perturbation changes the answer of $g$. Where two classes share the votes the radius is small, whatever the digit looks like to you; where none has a clear half, it abstains.

# %% demo="ten-digits"
def reference_votes(model, x, sigma, n, seed):
    return smoothing.SmoothedClassifier(model, sigma).counts(x, n, torch.Generator().manual_seed(seed))

def reference_certify(counts0, counts, sigma, alpha):
    return tuple(smoothing.certificate(counts0, counts, int(counts[0].sum()), sigma, alpha))

your_votes = checks.yours("count_votes", reference_votes)
your_certify = checks.yours("certify", reference_certify)

these = [59, *range(20, 29)]  # the first is a hard one
ten, ten_y = test_digits.x[these], test_digits.y[these]
begin = time.perf_counter()
first, second = your_votes(noise_trained[0.5], ten, 0.5, 100, 0), your_votes(noise_trained[0.5], ten, 0.5, 2000, 1)
print(f"2,100 passes through the network for each certificate: {(time.perf_counter() - begin) / len(ten):.2f} seconds a digit, on one processor core")
label, radius, abstained = your_certify(first, second, 0.5, 0.001)
captions = ["abstains" if silent else f"“{c}”, R = {r:.2f}" for c, r, silent in zip(label.tolist(), radius.tolist(), abstained.tolist())]
plots.votes(ten, second, captions, test_digits.classes, marked=((label != ten_y) & ~abstained).tolist())

# %% [markdown]
# ### One sample for both?
#
# Drawing twice looks wasteful. Take the hardest point there is, one on the boundary of $g$: two classes, each with $p = \frac12$. *Every* certificate is false there, for $p$ is not above one half for either of them; $\alpha = 5\,\%$ is the risk that was accepted. A colleague saves the first sample and chooses the class by the same 100 votes that bound its probability. **Predict**: of 10,000 such points, how many get a (false) certificate from the colleague? With two samples it is about 440. (Not 500: see $k^* = 59$ in 12.3.)

# %%
my_guess = None  # replace None by a number from 0 to 10000

# %% demo="one-sample"
def coin_votes(n, seed):
    """Ten thousand times n votes for two classes with p = 1/2 each, (10000, 2)."""
    heads = torch.from_numpy(stats.binom.rvs(n, 0.5, size=10_000, random_state=seed)).long()
    return torch.stack([heads, n - heads], dim=1)

first, second = coin_votes(101, 0), coin_votes(100, 1)
certified = {name: int((~your_certify(chosen_by, second, 0.5, 0.05)[2]).sum())
             for name, chosen_by in (("two samples", first), ("one sample for both", second))}
checks.reveal(my_guess, f"{certified['one sample for both']} of 10,000; with two samples {certified['two samples']}",
              "Whichever class is lucky is chosen: two chances to be wrong instead of one.")

# %% [markdown]
# Twice as many as with two samples, and far more than the 500 that were accepted; and with more ways to choose (several $\sigma$, several seeds, "let us draw again, it almost worked") it is three times, four times, ten times. Nothing in the numbers shows it afterwards. The first sample may be small: if it picks the wrong class, the second one finds few votes for it, and the algorithm abstains. That costs an answer, and never a promise.
#
# ## 12.5 What certainty costs
#
# Suppose the voters are perfect: *all* $n$ votes are for one class. Then $\underline p^{\,n} = \alpha$, so
#
# $$R \le \sigma\, \Phi^{-1}\big(\alpha^{1/n}\big).$$
#
# This is a ceiling for every image and every network, and it has nothing to do with robustness: it is only a matter of counting. How does it grow with $n$? With $\alpha = 0.001$:

# %% demo="ceiling"
for n in (9, 10, 100, 1_000, 10_000, 100_000):
    print(f"{n:>9,} unanimous votes: R at most {smoothing.largest_radius(n, 1.0):.3f} σ")

# %% [markdown]
# Nine people who agree prove nothing at this risk. From 100 votes on, ten times as many add about 1 σ, then 0.7 σ, then 0.6 σ. **Predict**: how many votes does it take for $R = 5\,\sigma$?

# %%
my_guess = None  # replace None by a number

# %% demo="five-sigma"
def reference_samples(radius, sigma, alpha):
    fewer, enough = 0, 1
    while smoothing.largest_radius(enough, sigma, alpha) < radius:
        fewer, enough = enough, 2 * enough
    while enough - fewer > 1:
        between = (fewer + enough) // 2
        fewer, enough = (between, enough) if smoothing.largest_radius(between, sigma, alpha) < radius else (fewer, between)
    return enough

checks.reveal(my_guess, f"{reference_samples(5.0, 1.0, 0.001):,}",
              f"For 3 σ it is {reference_samples(3.0, 1.0, 0.001):,}, for 4.5 σ {reference_samples(4.5, 1.0, 0.001):,}.\n"
              "To claim that at most one copy in three and a half million is wrong, one has to look at more than so many.")

# %% [markdown]
# ### Exercise 12.5: the price of a radius · medium · 10 minutes · 3 points
#
# Say how many votes are needed, if all agree, to certify a given radius. Solve for $n$: for large radii, counting up to it takes minutes, and then days.
#
# <details><summary>Hint 1</summary>
# σ Φ⁻¹(α^(1/n)) ≥ R means α^(1/n) ≥ Φ(R / σ). Take logarithms, and mind that both are negative.
# </details>
# <details><summary>Hint 2</summary>
# Votes come in whole numbers, and one fewer than needed is not enough: <code>math.ceil</code>. <code>stats.norm.cdf</code> is Φ, <code>stats.norm.logcdf</code> its logarithm.
# </details>

# %% solution="votes_needed"
def votes_needed(radius: float, sigma: float, alpha: float) -> int:
    """The smallest n for which n unanimous votes certify at least this radius at the risk alpha.

    radius: above 0. sigma: the standard deviation of the noise, above 0. alpha: strictly between 0 and one half.
    Returns a whole number, which may be many millions.
    """
    ### BEGIN SOLUTION
    return math.ceil(math.log(alpha) / stats.norm.logcdf(radius / sigma))
    ### END SOLUTION

# %% test="votes_needed" points=3
# Run this cell to check your votes_needed. (The dots unfold it: what is tried, and what is expected.)
import time
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("votes_needed", points=3, by_hand=["coursekit.certify.smoothing.largest_radius"])
MINUS = "A negative number of votes. Both logarithms are negative: their quotient is positive."
SLIPS = (
    "Rounded down: with one vote fewer than needed the radius is a little smaller than asked for.",
    "One too many: one vote fewer is enough.",
    "This is the quotient as it is. Votes come in whole numbers: how many are enough?",
    "The risk is halved. The bound is one-sided.",
    "log(alpha) is divided by the share of wrong copies, 1 - Phi. Close, but it is divided by the logarithm of Phi.",
    "Next to nothing. Is the quotient upside down, or 1 - alpha in place of alpha? It is alpha that n unanimous votes must get down to.",
    "sigma does not appear. What counts is the radius in units of sigma.",
    "You multiply by sigma. What counts is the radius divided by sigma.",
    "You divide sigma by the radius. What counts is the radius in units of sigma.",
    "This is Phi of minus the radius. alpha^(1/n) must be at least Phi(R / sigma) itself.",
    MINUS, MINUS + " ", MINUS + "  ",
)
slow = {}  # how long a smaller number of votes took

def votes_of(votes_needed, *arguments):
    """One number, and the seconds that it took."""
    begin = time.monotonic()
    got = votes_needed(*arguments)
    return expect.number(got), time.monotonic() - begin

def asked(got, expected, slips, hint):
    expect.close(got, expected, tolerance=1e-6, mistakes=dict(zip(SLIPS, slips)), hint=hint)

@exercise.case("one and a half sigma, alpha = 1 %")
def _(votes_needed):
    asked(votes_needed(0.3, 0.2, 0.01), 67, (66, 68, 66.60294, 77, 69, 1, 10, 8, 16, 2, -66.60294, -66, -67),
          "alpha^(1/n) must be at least Phi(1.5) = 0.9332.")

@exercise.case("three sigma, alpha = 2 %")
def _(votes_needed):
    asked(votes_needed(0.9, 0.3, 0.02), 2897, (2896, 2898, 2896.05683, 3410, 2899, 1, 20, 8, 9, 1, -2896.05683, -2896, -2897),
          "alpha^(1/n) must be at least Phi(3) = 0.99865. Is alpha the one given?")

@exercise.case("any radius at all: ten votes at alpha = 0.1 %")
def _(votes_needed):
    expect.close(votes_needed(1e-9, 0.5, 0.001), 10, mistakes={
        "With 9 unanimous votes at a risk of 0.001 not even a majority is proven.": 9,
        "Also the smallest radius needs a majority, and one vote proves none.": 1,
        "One too many, or the risk is halved: 10 are enough.": 11,
        MINUS: -9, MINUS + " ": -10,
    }, hint="alpha^(1/n) must be at least one half: 0.5^10 is just below 0.001.")

@exercise.case("three and a quarter sigma, then four: solve for n, counting up takes too long")
def _(votes_needed):
    for radius, expected in ((0.8125, 11_968), (1.0, 218_105)):
        got, seconds = votes_of(votes_needed, radius, 0.25, 0.001)
        slow[radius] = seconds > 0.5
        expect.that(not slow[radius], f"{seconds:.1f} seconds for {expected:,} votes", "an answer at once",
                    "Do not count up to n: at 4 sigma it is a hundred thousands, at 5 sigma tens of millions. Solve for it with logarithms.")
        expect.that(abs(got - expected) <= 1, got, str(expected),
                    f"alpha^(1/n) must be at least Phi({radius / 0.25:g}). Is it the logarithm of Phi, in double precision?")

### BEGIN HIDDEN TESTS
@exercise.case("other numbers", hint="The smallest whole n with alpha^(1/n) at least Phi(R / sigma), for any radius, sigma and alpha.", hidden=True)
def _(votes_needed):
    for radius, sigma, alpha, expected in ((0.3, 0.4, 0.2, 7), (2.2, 1.0, 1e-5, 823), (0.61, 0.2, 0.05, 2617)):
        expect.close(votes_needed(radius, sigma, alpha), expected)
    expect.that(not any(slow.values()), "not tried: a smaller one took too long", "517597")
    got = expect.number(votes_needed(2.1, 0.5, 0.001))
    expect.that(abs(got - 517597) <= 3, got, "517597, give or take rounding")
### END HIDDEN TESTS

exercise.score()

# %% [markdown]
# Two ways out of the ceiling: more votes, which is hopeless beyond 4 σ, or a larger $\sigma$, which raises it in proportion. A larger $\sigma$ is paid for elsewhere. How much?
#
# ## 12.6 Radius against accuracy
#
# The figure that every paper on certificates shows: for each radius $r$ the share of test images for which $g$ is **right**, and certified to be so for **every** perturbation of length up to $r$.
#
# ### Exercise 12.6: certified accuracy · easy · 10 minutes · 3 points
#
# Compute this share for a list of radii. A certificate of radius $R$ holds for all points *less* than $R$ away, so it covers the ball of radius $r$, edge included, if $R > r$.
#
# <details><summary>Hint</summary>
# <code>radius &gt; r[:, None]</code> compares every certificate with every radius: one row for each r. Two conditions, one mean over the images.
# </details>

# %% solution="certified_accuracy"
def certified_accuracy(label: torch.Tensor, radius: torch.Tensor, y: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """The share of images that are certified, with the right label, at all points up to r away, for each r.

    label: (B,) int64, what was certified. radius: (B,) float64, the certified radii, 0 where it abstained. y: (B,) int64,
    the true classes. r: (M,) float64, each 0 or more. Returns (M,) floats from 0 to 1; all B images count.
    """
    ### BEGIN SOLUTION
    certain = (label == y) & (radius > r.unsqueeze(1))
    return certain.double().mean(dim=1)
    ### END SOLUTION

# %% test="certified_accuracy" points=3
# Run this cell to check your certified_accuracy. (The dots unfold it: what is tried, and what is expected.)
import torch
from coursekit import checks
from coursekit.checks import expect

exercise = checks.Exercise("certified_accuracy", points=3, by_hand=["coursekit.certify.smoothing.certified_accuracy"])
BOOLEANS = "If mean() could not infer the dtype of its output: a share is a mean of numbers. .double() makes some of booleans."

def exact(*values):
    return torch.tensor(values, dtype=torch.float64)

def shares(got, count):
    """One share for each radius asked about."""
    got = expect.tensor(got)
    expect.that(tuple(got.shape) == (count,), f"shape {tuple(got.shape)}", f"shape ({count},)",
                "One share for each r: the mean runs over the images. Is there one row for each r, one column for each image?")
    expect.that(got.is_floating_point(), f"dtype {got.dtype}".replace("torch.", ""), "floating point numbers", "A share is a float: .double().mean()")
    return got

@exercise.case("five right labels, three radii", hint=BOOLEANS)
def _(certified_accuracy):
    label = y = torch.tensor([3, 1, 4, 1, 5])
    radius, r = exact(0.1, 0.7, 0.4, 1.2, 0.45), exact(0.0, 0.42, 1.0)
    expect.close(shares(certified_accuracy(label, radius, y, r), 3), exact(1.0, 0.6, 0.2), mistakes={
        "This is the share whose radius is at most r. Certified are those with more.": exact(0.0, 0.4, 0.8),
        "This is a number of images; divide by all of them.": exact(5.0, 3.0, 1.0),
        "This is in per cent; a share lies between 0 and 1.": exact(100.0, 60.0, 20.0),
    }, hint="Of five radii all are above 0, three above 0.42, one above 1.")

@exercise.case("a wrong label counts for nothing, however large its radius", hint=BOOLEANS)
def _(certified_accuracy):
    label, y = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 9, 9])
    radius, r = exact(0.5, 0.1, 0.9, 0.2), exact(0.0, 0.3, 0.8)
    got = certified_accuracy(label, radius, y, r)
    expect.unchanged(certified_accuracy)
    expect.close(shares(got, 3), exact(0.5, 0.25, 0.0), mistakes={
        "You count every certificate. One for the wrong class is certainly wrong.": exact(1.0, 0.5, 0.25),
        "You divide by the images that are right. All images count.": exact(1.0, 0.5, 0.0),
        "You divide by the images that reach the radius. All images count.": exact(0.5, 0.5, 0.0),
        "This is the accuracy; the radius counts as well.": exact(0.5, 0.5, 0.5),
        "One condition is enough for you. Both are needed: the right label and a radius above r.": exact(1.0, 0.75, 0.75),
        "This is the product of two shares. Look at both conditions image by image.": exact(0.5, 0.25, 0.125),
    }, hint="Right, and certified beyond r, of all four images.")

@exercise.case("an image that abstained has the radius 0, and is not certified at r = 0", hint=BOOLEANS)
def _(certified_accuracy):
    # Right: 1 abstained, 3 certified. Wrong: 2 certified, 3 abstained.
    label, y = torch.tensor([7, 7, 7, 7, 1, 1, 1, 1, 1]), torch.tensor([7, 7, 7, 7, 2, 2, 2, 2, 2])
    radius = exact(0.0, 0.3, 0.4, 0.5, 0.3, 0.4, 0.0, 0.0, 0.0)
    got = certified_accuracy(label, radius, y, exact(0.0))
    expect.unchanged(certified_accuracy)
    expect.close(shares(got, 1), exact(3 / 9), mistakes={
        "This is the accuracy, with those that abstained: is it radius >= r? Strictly above.": exact(4 / 9),
        "You leave out those that abstained. They stay in the count, as not certified.": exact(3 / 5),
        "You count every certificate. One for the wrong class is certainly wrong.": exact(5 / 9),
        "You divide by the images that are right. All images count.": exact(3 / 4),
        "One condition is enough for you. Both are needed: the right label and a radius above r.": exact(6 / 9),
        "This is the product of two shares. Look at both conditions image by image.": exact(20 / 81),
        "This is a number of images; divide by all of them.": exact(3.0),
        "You take radius >= r, and do not look at the labels.": exact(1.0),
    }, hint="Strictly above r, and divided by all images.")
    label = y = torch.tensor([7, 7])
    expect.close(shares(certified_accuracy(label, exact(0.25, 0.5), y, exact(0.25, 0.5)), 2), exact(0.5, 0.0), mistakes={
        "You take radius >= r. The certificate is for points less than its radius away: strictly above.": exact(1.0, 0.5)},
        hint="A certificate of 0.25 does not cover a point exactly 0.25 away.")

@exercise.case("as many answers as radii, for any number of images", hint=BOOLEANS)
def _(certified_accuracy):
    label = y = torch.tensor([1, 1, 0])
    got = shares(certified_accuracy(label, exact(0.2, 0.4, 0.6), y, torch.linspace(0, 1, 11, dtype=torch.float64)), 11)
    expect.close(got, exact(1, 1, 2 / 3, 2 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0, 0), hint="Radii of 0.2, 0.4 and 0.6, and eleven r from 0 to 1.")
    expect.unchanged(certified_accuracy)

### BEGIN HIDDEN TESTS
@exercise.case("many images, radii in any order", hint="For each r by itself: the right label and a radius above r, of all images.", hidden=True)
def _(certified_accuracy):
    label, y = torch.randint(0, 4, (60,)), torch.randint(0, 4, (60,))
    label[:30] = y[:30]
    radius, r = (torch.rand(60, dtype=torch.float64) - 0.2).clamp_min(0), torch.rand(9, dtype=torch.float64)
    expected = torch.stack([((radius > edge) & (label == y)).double().mean() for edge in r])
    expect.close(shares(certified_accuracy(label, radius, y, r), 9), expected)
### END HIDDEN TESTS

exercise.score()

# %% demo="tradeoff"
def reference_accuracy(label, radius, y, r):
    return smoothing.certified_accuracy(smoothing.Certificate(label, radius, radius == 0), y, r.tolist())

your_accuracy = checks.yours("certified_accuracy", reference_accuracy)
radii = torch.linspace(0, 2.4, 481, dtype=torch.float64)
curves, ceilings, certificates = {}, {}, {}
for sigma, model in tqdm(noise_trained.items(), desc="certifying 200 digits"):
    first, second = your_votes(model, x, sigma, 50, 0), your_votes(model, x, sigma, 500, 1)
    certificates[sigma] = label, radius, abstained = your_certify(first, second, sigma, 0.001)
    curves[f"σ = {sigma:g}"], ceilings[f"σ = {sigma:g}"] = (radii, your_accuracy(label, radius, y, radii)), smoothing.largest_radius(500, sigma)
    share = ((label == y) & ~abstained).float().mean().item()
    print(f"σ = {sigma:<5g} certified and right: {share:.1%}, abstains: {abstained.float().mean().item():.1%}, "
          f"ceiling {smoothing.largest_radius(500, sigma):.2f}")
plots.certified(curves, ceilings=ceilings)

# %% [markdown]
# The first two curves end in a cliff, and the cliff is the ceiling of 12.5 (dotted): many digits have hundreds of unanimous votes, and only more votes would tell how robust they are. With $\sigma = 0.25$ the cliff comes early. With $\sigma = 1$ there is none: few digits have so many votes of one mind in so much noise; the curve starts lowest, and reaches furthest. No $\sigma$ is best everywhere, and none may be chosen for each image after looking at the result. For one thing, three chances for one claim have three times the risk (12.4). For another, each $\sigma$ makes another $g$: "the best $\sigma$ for this image" is a classifier of its own, which at the shifted image may choose another $\sigma$, and for it nothing is proven. Choose it beforehand, on other images. A better base and more votes lift the whole curve: the convolutional network trained with σ = 0.25, `coursekit.models.load("mnist_cnn", "noise", 0.25)`, certifies about 98 % of the test digits at radius 0.25 and about 95 % at 0.5, with 10,000 votes for each of them; so many questions take several minutes. Photographs are harder: on CIFAR-10 the paper certifies about 60 % at radius 0.25, and about 23 % at radius 1.
#
# ## 12.7 Try to break it
#
# A proof deserves an attack. The attacker knows everything: $f$, $\sigma$, the algorithm. To climb, she needs the gradient of what $g$ does, and $g$ is a vote over a cloud; so in each step of PGD she averages the loss over 16 noisy copies (`smoothed.looking(16)`, the expectation over transformations of assignments 05 and 06), in the $L_2$ ball. The radius of the ball is 95 % of *that image's own* certified radius.
#
# **Predict**: of the digits with a certificate, how many does the attack bring to another answer of $g$?

# %%
my_guess = None  # replace None by a number from 0 to 200

# %% demo="attack"
sigma = 0.5
smoothed, (label, radius, abstained) = smoothing.SmoothedClassifier(noise_trained[sigma], sigma), certificates[sigma]

def attack_smoothed(images, labels, eps, steps=10):
    rng = torch.Generator().manual_seed(0)
    return attacks.pgd(smoothed.looking(16, rng), images, labels, LpBall(eps, 2), steps=steps, early_stop=False, generator=rng)

def answers(images, n=200):
    """What g says, and where it does not abstain."""
    return smoothed.predict(images, n=n, generator=torch.Generator().manual_seed(2))

held = (~abstained).nonzero().flatten()
moved = attack_smoothed(x[held], label[held], 0.95 * radius[held].float())
after = answers(moved)
broken = int(((after.label != label[held]) & ~after.abstained).sum())
checks.reveal(my_guess, f"{broken} of {len(held)}", "And but for the risk alpha no other attack will do better, today's or tomorrow's:\n"
              "that is the difference between a certificate and a defence.")

# %% [markdown]
# Beyond the certified radius nothing is promised, and much still holds. Push the radius up, the same for all digits, and compare: what is certified; what this attack leaves of $g$; what PGD leaves of the *base* classifier $f$; and what the same PGD leaves of an ordinary network of the same architecture. (For $g$ the line counts the plain majority of 200 votes. The band counts the images where these votes leave the answer open: as wrong at its lower edge, as right at its upper one.) The truth about $g$ lies between the certificates, which bound it from below, and the attack, which bounds it from above.

# %% demo="sandwich"
sizes = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0]
some = slice(0, 50)
ordinary = coursekit.models.load("mnist_mlp")
attacked = {"g under attack": [], "f under attack": [], "an ordinary network": []}
for eps in tqdm(sizes, desc="attacks at each radius"):
    found = answers(attack_smoothed(x[some], y[some], eps))
    right = found.label == y[some]
    counted = right, right & ~found.abstained, right | found.abstained  # plain majority; open ones as wrong; as right
    attacked["g under attack"].append([one.float().mean().item() for one in counted])
    for name, network in (("f under attack", smoothed.model), ("an ordinary network", ordinary)):
        moved = attacks.pgd(network, x[some], y[some], LpBall(eps, 2), steps=20, generator=torch.Generator().manual_seed(0))
        attacked[name].append([(network(moved).argmax(dim=1) == y[some]).float().mean().item()])
fine = torch.linspace(0, 2, 401, dtype=torch.float64)
held_at = your_accuracy(label[some], radius[some], y[some], fine)
plots.certified({"certified": (fine, held_at)}, ceilings={"certified": smoothing.largest_radius(500, sigma)},
                attacked={name: (sizes, *zip(*shares)) for name, shares in attacked.items()})

# %% [markdown]
# Three things to note. The ordinary network falls first; then, beyond small radii, the one that was trained with noise, and $g$ last: training with noise buys robustness, voting buys more of it, and only voting makes it *provable*. (Not all of the lead need be real: an attack that sees 16 noisy copies at a time is weaker than one with an exact gradient.) The gap between "certified" and "g under attack" is wide, and part of it is the ceiling of a few hundred votes. And the certificate says nothing about $f$: in the explorer, "with islands", $f$ is wrong at points inside of nearly every circle, and $g$ is certified there.
#
# One more price, and it is paid for ever: to *use* $g$, every image costs hundreds of passes through the network instead of one.
#
# ## 12.8 In your own words
#
# These two answers are read by a person. A few sentences each are enough.
#
# ### Question 12.8a: with which probability, over what? · medium · 10 minutes · 3 points
#
# A company certifies the 1,000 images of a test set with $\alpha = 0.001$ each, and writes: "With a probability of 99.9 %, all our certified radii are true, and with the same probability the next customer's image is classified rightly." (1) For one single image: what is random in the statement "the certificate is true with a probability of at least 99.9 %", and what is not? (2) How many of the 1,000 certificates must one expect to be false at worst, and which $\alpha$ would each need for the company's first claim to hold? (3) What is wrong with the second claim?

# %% [markdown] answer="which-probability" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: random are the noisy copies that were drawn for the votes (another draw, another bound, another radius). Image, f, g, and whether g is constant within a given radius are fixed; a certificate, once issued, is true or false. (Half a point for naming the noise without saying what is fixed.)
#
# **1 point**: up to 1,000 x 0.001 = 1 on average (half a point); for all of them together to hold with 99.9 %, alpha / 1000 = 1e-6 each, by adding up the risks (union bound), whether or not they are independent (half a point). Accept 1 - 0.999^(1/1000) for independent draws.
#
# **1 point**: a certificate says that g keeps its answer near this image, not that the answer is right; and it says nothing about images that were not certified: how often g is right on new ones is a matter of the test accuracy and its own error bar. (Either of the two with a reason is enough.)
# === END MARK SCHEME ===
# (1) Random is only the noise that was drawn for the votes: with another draw the bound and the radius would have come out differently, and in at most 0.1 % of all draws the radius is larger than it may be. The image, $f$, $g$, and the true distance to the nearest point where $g$ changes are fixed. Once it is issued, a certificate is either true or false. (2) Each may be false with a probability of 0.001, so up to one of 1,000 on average. For all of them to be true with 99.9 % each needs $\alpha = 0.001/1000 = 10^{-6}$, since the risks at most add up; the radii become somewhat smaller by that. (3) A certificate says that $g$ does not change its answer nearby, not that the answer is right. And the next customer's image was not certified at all; how often $g$ is right on new images is estimated by the accuracy on the test set, which has an error bar of its own.

# %% [markdown]
# ### Question 12.8b: three improvements · medium · 10 minutes · 3 points
#
# A colleague has three ideas to make the certificates look better. (1) "We run *Certify* with ten seeds for each image and publish the largest of the ten radii." (2) "We try $\sigma$ = 0.25, 0.5 and 1 on each test image and take for it the one with the largest radius, each at $\alpha = 0.001$." (3) "Voting is slow. In the product we run the base classifier once, on the clean image; after all it was certified." Say for each what is wrong with it, and what would have to be done to keep the idea honest, if anything can.

# %% [markdown] answer="three-improvements" points=3
# === BEGIN MARK SCHEME ===
# **1 point**: the largest of ten is false if any of the ten is: a risk of up to ten times alpha. Honest: alpha / 10 for each (half a point), or, better, all votes of the ten runs in one count. (Half a point for the reason, half for a remedy.)
#
# **1 point**: again several chances for one claim (three times the risk: alpha / 3 each); and, what is worse, another sigma is another classifier g: the rule "the best sigma for each image" is itself a classifier, which at a moved image may pick another sigma, and for that nothing is proven. Honest: choose sigma beforehand, on other images. (Half a point for each of the two faults; the remedy for either counts as naming it.)
#
# **1 point**: the certificate is one for g. f may be wrong at x itself and at points as near as one likes (the islands); nothing was proven about it. Honest: run g, with its votes and its abstentions, or a certificate of f by another method.
# === END MARK SCHEME ===
# (1) Each run may be false with probability $\alpha$, and the largest radius is false if any of them is: the risk is up to ten times as large, and choosing the largest looks for just the lucky run. Honest would be $\alpha/10$ for each run, or to put all votes of the ten runs into one count, which gives more. (2) Again three chances instead of one, so $\alpha/3$. But there is more: for each $\sigma$ there is another $g$, and what the colleague describes is a fourth classifier that picks its $\sigma$ by the image. At a perturbed image it may pick another, and no theorem covers that. Choose one $\sigma$ beforehand, on images that are not reported. (3) What was certified is $g$. The base classifier may be wrong at $\mathbf x$ itself or right next to it, as the one with the islands is, and still have a large certified radius for its $g$. There is no honest form of it: use $g$ with its votes, or certify $f$ by another method.

# %% [markdown]
# ## What to take along
#
# * $g$ asks $f$ about a normal cloud and takes the majority. If a class has at least the share $p > \frac12$, it keeps its majority within $R = \sigma\,\Phi^{-1}(p)$, in $L_2$, whatever $f$ is: the worst region is a half-space, and one cannot prove more from $p$ alone.
# * $p$ is never known. Claim only the exact lower bound from votes that had no part in choosing the class, and abstain where it is not above one half.
# * $n$ votes never certify more than $\sigma\,\Phi^{-1}(\alpha^{1/n})$. Beyond 4 σ, votes do not help; a larger σ does, and costs accuracy.
# * The certificate is about $g$ and not about $f$, says "does not change" and not "is right", and is false with a probability of at most α over the noise that was drawn.
#
# **How it differs from its neighbours on the Roadmap**: exact certification (assignment 09), convex relaxations (10) and Lipschitz bounds (11) are certain, and must look into the network; they get harder, or looser, with its size. Smoothing works for every network of any size, is slow to use, holds for $L_2$, and with a probability.
#
# **Further**: Cohen, Rosenfeld and Kolter, *Certified adversarial robustness via randomized smoothing*, 2019: algorithm, proofs, and experiments on ImageNet. Lécuyer et al., *Certified robustness to adversarial examples with differential privacy*, 2019, which had the first such certificate. Salman et al., *Provably robust deep learning via adversarially trained smoothed classifiers*, 2019: the attack of 12.7, put into training. Yang et al., *Randomized smoothing of all shapes and sizes*, 2020: other noise for other norms, and why it is hard for $L_\infty$. Neyman and Pearson, *On the problem of the most efficient tests of statistical hypotheses*, 1933; Clopper and Pearson, *The use of confidence or fiducial limits illustrated in the case of the binomial*, 1934.
