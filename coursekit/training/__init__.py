"""Standard and adversarial training, and the recipes of the shipped weights.

python -m coursekit.training mnist_cnn --training pgd --eps 0.1
"""

from coursekit.training import linear
from coursekit.training.augment import gaussian_noise, random_affine, random_shift
from coursekit.training.certified import certified_fit
from coursekit.training.family import family_fit
from coursekit.training.lipschitz import lipschitz_fit
from coursekit.training.loop import fit, training_step
from coursekit.training.methods import METHODS, adversarial_fit
from coursekit.training.overfitting import breakdown
from coursekit.training.processes import accelerated
from coursekit.training.progress import Epoch
from coursekit.training.recipes import RECIPES, main, measure, train
from coursekit.training.schedules import constant, falling, one_cycle, plateau, ramp

__all__ = [
    "METHODS", "RECIPES", "Epoch", "accelerated", "adversarial_fit", "breakdown", "certified_fit", "constant",
    "falling", "family_fit", "fit", "gaussian_noise", "linear", "lipschitz_fit", "main", "measure", "one_cycle",
    "plateau", "ramp", "random_affine", "random_shift", "train", "training_step",
]  # fmt: skip
