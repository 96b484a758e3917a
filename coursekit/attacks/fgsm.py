"""The fast gradient-sign method: one step."""

from torch import Tensor

from coursekit.attacks.common import at_coordinates, check_inputs, goal, loss_and_gradient
from coursekit.losses import cross_entropy
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import PerturbationSet


def fgsm(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, *, target: Tensor | int | None = None
) -> Tensor:
    """Fast gradient-sign method: x~ = Pi(x + eps * steepest(grad_x L(f(x), y))).

    For p = inf the steepest direction is the sign of the gradient, and without an image range the projection does
    nothing; for p = 1 and 2 it is the same single step in that norm, for a rotation one in its angle and shift.
    x: (B, ...) floating, in threat.bounds; y: (B,) int64; one image with a 0-dimensional y also works. target:
    classes (B,) or one class for all: steps towards it instead of away from y. Returns x_adv like x, detached, inside
    P(x); a zero gradient moves nothing. The model is used in eval mode and left as it was. Raises ValueError or
    TypeError for what it cannot take.
    Source: lecture, slide "Projected Gradient Descent"; Goodfellow et al. 2015, section 4.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return fgsm(model, x[None], y[None], threat, target=target)[0]
    check_inputs(x, y, threat, target)
    if not len(x):
        return x.detach().clone()
    with evaluating(model), differentiating():
        aim = goal(y, target, cross_entropy)
        clean = x.clone() if x.is_inference() else x.detach()
        origin, search = threat.origin(clean), threat.search
        gradient = loss_and_gradient(model, clean, aim.labels, aim.objective)[2]
        z = search.step(origin, at_coordinates(threat, origin, clean, gradient), search.default_step(1))
        return threat.render(search.projector(origin)(z), clean).detach()
