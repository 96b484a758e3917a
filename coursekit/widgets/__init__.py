"""Live figures: controls and one picture that follows them, with an alt text that follows too.

An `Explorer` is an ipywidgets box. Shown in a notebook it is live; saved, exported or opened without a kernel its
picture is still there. Without any front end it works as a plain object: `set`, `alt`, `png`.
"""

from coursekit.widgets.ball import adversarial_in_ball, attack_path, ball_explorer, ball_outline
from coursekit.widgets.cone import certified_circles, cone_explorer
from coursekit.widgets.defence import defence_explorer
from coursekit.widgets.explorer import Choice, Explorer, Number, Upload
from coursekit.widgets.halving import halving_explorer
from coursekit.widgets.norms import norm_explorer
from coursekit.widgets.one_step import one_step_explorer
from coursekit.widgets.photo import photo_explorer
from coursekit.widgets.pieces import pieces_explorer
from coursekit.widgets.relaxation import relaxation_explorer
from coursekit.widgets.scrubber import step_scrubber
from coursekit.widgets.smoothing import smoothing_explorer
from coursekit.widgets.tradeoff import tradeoff_explorer
from coursekit.widgets.training import boundaries, training_explorer
from coursekit.widgets.viewpoint import viewpoint_explorer

__all__ = [
    "Choice", "Explorer", "Number", "Upload", "adversarial_in_ball", "attack_path", "ball_explorer", "ball_outline",
    "boundaries", "certified_circles", "cone_explorer", "defence_explorer", "halving_explorer", "norm_explorer",
    "one_step_explorer", "photo_explorer", "pieces_explorer", "relaxation_explorer", "smoothing_explorer",
    "step_scrubber", "tradeoff_explorer", "training_explorer", "viewpoint_explorer",
]  # fmt: skip
