"""How robust is a model, and how far can the answer be trusted."""

from coursekit.evaluation.accuracy import RobustAccuracy, accuracy_curve, robust_accuracy, wilson_interval

__all__ = ["RobustAccuracy", "accuracy_curve", "robust_accuracy", "wilson_interval"]
