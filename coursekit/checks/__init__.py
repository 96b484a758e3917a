"""What a student's answer is held against: exercises made of cases, each with what was got, expected and a hint.

    exercise = checks.Exercise("fgsm", points=3)

    @exercise.case("one step on real digits", hint="Which way does the loss rise?")
    def _(fgsm):
        x_adv = fgsm(checks.model("mnist_cnn"), x, y, 0.1)
        expect.tensor(x_adv, like=x)
        expect.inside(x_adv, x, 0.1)

    exercise.score()

A test cell touches a student's work by name and by value only, so the same cell runs in JupyterLab, under plain
nbgrader, and in a grader whose tests live in another process.
"""

from coursekit.checks import expect, programs, proofs, symptoms, table
from coursekit.checks.choices import seal
from coursekit.checks.classifiers import ClassifierSpec, classifier
from coursekit.checks.defended import DefendedSpec, DetectorSpec, defended, detector
from coursekit.checks.exercise import MIME, Exercise, Score
from coursekit.checks.failures import Crashed, Failure, NotAttempted, Wrong
from coursekit.checks.prediction import reveal, yours
from coursekit.checks.values import ModelSpec, ViewsSpec, model, network, views

__all__ = [
    "MIME", "ClassifierSpec", "Crashed", "DefendedSpec", "DetectorSpec", "Exercise", "Failure", "ModelSpec",
    "NotAttempted", "Score", "ViewsSpec", "Wrong", "classifier", "defended", "detector", "expect", "model", "network",
    "programs", "proofs", "reveal", "seal", "symptoms", "table", "views", "yours",
]  # fmt: skip
