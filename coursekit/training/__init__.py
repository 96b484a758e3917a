"""Standard and adversarial training, and the recipes of the shipped weights.

python -m coursekit.training mnist_cnn --training pgd --eps 0.1
"""

from coursekit.training.loop import fit, training_step
from coursekit.training.methods import adversarial_fit
from coursekit.training.recipes import RECIPES, main, measure, random_shift, train

__all__ = ["RECIPES", "adversarial_fit", "fit", "main", "measure", "random_shift", "train", "training_step"]
