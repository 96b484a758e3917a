"""Defences that do not work, and the attacks that know them."""

from coursekit.defenses.adaptive import averaged, bpda, evade, straight_through
from coursekit.defenses.detection import Detector, Guarded, Mahalanobis, NearestNeighbours, auroc, features
from coursekit.defenses.obfuscation import Preprocessed, Quantized, RandomNoise, RandomResize, Saturated

__all__ = [
    "Detector", "Guarded", "Mahalanobis", "NearestNeighbours", "Preprocessed", "Quantized", "RandomNoise",
    "RandomResize", "Saturated", "auroc", "averaged", "bpda", "evade", "features", "straight_through",
]  # fmt: skip
