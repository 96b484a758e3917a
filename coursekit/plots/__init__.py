"""Figures in one house style, each with an alt text that says in words what is to be seen.

Every function takes tensors (or a model and tensors) and returns a matplotlib `Figure`: the last line of a cell
shows it, `display(figure)` shows it anywhere else. `alt_text(figure)` is what a screen reader says.
"""

from coursekit.plots.accuracy import curves, label_lines
from coursekit.plots.certificates import certificates, from_above
from coursekit.plots.defences import claims, score_histograms
from coursekit.plots.display import alt_text, as_html, image_tag, install
from coursekit.plots.exact import encoding, search_cost, two_bounds
from coursekit.plots.lipschitz import estimates, gap, growth, matrices, steepness
from coursekit.plots.look import (
    BLUE,
    CHANGE,
    COLOURS,
    GREEN,
    GREY,
    LINES,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILION,
    ink,
    style,
    styled,
)  # fmt: skip
from coursekit.plots.loss_line import loss_along
from coursekit.plots.norms import changes, distances, nearest_points
from coursekit.plots.pictures import (
    gradient,
    images,
    percent,
    perturbation,
    probabilities,
    probability_bars,
    short,
    show_image,
    to_numpy,
)  # fmt: skip
from coursekit.plots.questions import along_the_step, questions_asked, rivals, step_of_network
from coursekit.plots.relaxations import between, relu_relaxations, tightening, wrapping
from coursekit.plots.rotations import loss_by_angle
from coursekit.plots.smoothing import certified, coverage, two_clouds, votes
from coursekit.plots.surfaces import across, loss_plane, loss_surfaces
from coursekit.plots.tradeoff import penalties_along, tradeoff
from coursekit.plots.training import agreement, collapse, upper_envelope
from coursekit.plots.trust import convergence, diagnostics
from coursekit.plots.viewpoints import Departure, by_view, price

__all__ = [
    "BLUE", "CHANGE", "COLOURS", "GREEN", "GREY", "LINES", "ORANGE", "PURPLE", "SKY", "STYLE", "VERMILION", "Departure",
    "across", "agreement", "along_the_step", "alt_text", "as_html", "between", "by_view", "certificates", "certified",
    "changes", "claims", "collapse", "convergence", "coverage", "curves", "diagnostics", "distances", "encoding",
    "estimates", "from_above", "gap", "gradient", "growth", "image_tag", "images", "ink", "install", "label_lines",
    "loss_along", "loss_by_angle", "loss_plane", "loss_surfaces", "matrices", "nearest_points", "penalties_along",
    "percent", "perturbation", "price", "probabilities", "probability_bars", "questions_asked", "relu_relaxations",
    "rivals", "score_histograms", "search_cost", "short", "show_image", "steepness", "step_of_network", "style",
    "styled", "tightening", "to_numpy", "tradeoff", "two_bounds", "two_clouds", "upper_envelope", "votes", "wrapping",
]  # fmt: skip

install()
