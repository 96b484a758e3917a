"""How robust is a model, and how far can the answer be trusted."""

from coursekit.evaluation.accuracy import RobustAccuracy, accuracy_curve, robust_accuracy, wilson_interval
from coursekit.evaluation.budget import Counted, counting
from coursekit.evaluation.outcomes import average_and_worst, smallest_flip, success_rate
from coursekit.evaluation.report import AttackReport, attack_report
from coursekit.evaluation.rules import broken_rules

__all__ = [
    "AttackReport", "Counted", "RobustAccuracy", "accuracy_curve", "attack_report", "average_and_worst", "broken_rules",
    "counting", "robust_accuracy", "smallest_flip", "success_rate", "wilson_interval",
]  # fmt: skip
