"""Linear classifiers of two classes: the model of which the worst case is known, and so its robust loss.

f(x) = w x + b says class y = +1 where it is positive, else y = -1; l is the logistic loss log(1 + exp(-y f(x))). The
image range is left aside. w (d,), x (B, d), y (B,) of -1. and +1., all of one dtype; b a number or scalar tensor;
eps >= 0. ValueError for labels of another kind, a negative eps, or another p than 1, 2, inf.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from coursekit.attacks.linearised import DUAL


def worst_point(w: Tensor, x: Tensor, y: Tensor, eps: float, p: float = math.inf) -> Tensor:
    """The point of each image's L_p ball with the highest loss, like x.

    p = inf: x - eps y sign(w). p = 2: x - eps y w / ||w||_2. p = 1: the pixel with the largest |w_i| takes it all, of
    several the first. Where w_i = 0 a pixel does not move; there any move would do as well. Raises ValueError for
    another p. Source: Hoelder's inequality; Madry et al. 2018, section 2, for the loss.
    """
    _check(x, y, eps, p)
    if p == math.inf:
        step = w.sign()
    elif p == 2:
        step = w / torch.linalg.vector_norm(w).clamp_min(torch.finfo(w.dtype).tiny)
    else:
        step = F.one_hot(w.abs().argmax(), len(w)).to(w.dtype) * w.sign()
    return x - eps * y[:, None] * step


def robust_loss(w: Tensor, b: Tensor | float, x: Tensor, y: Tensor, eps: float, p: float = math.inf) -> Tensor:
    """sup over the L_p ball of log(1 + exp(-y f(x~))) = log(1 + exp(-(y f(x) - eps ||w||_q))), 1/p + 1/q = 1: (B,).

    Source: Goodfellow et al. 2015, section 5, for p = inf; Hoelder's inequality. Raises ValueError for another p.
    """
    _check(x, y, eps, p)
    margin = y * (x @ w + b) - eps * torch.linalg.vector_norm(w, ord=DUAL[p])
    return F.softplus(-margin)


def gradient(w: Tensor, b: Tensor | float, x: Tensor, y: Tensor, eps: float, p: float = math.inf) -> Tensor:
    """The gradient by w of the mean robust loss, (d,): that at the worst points, which are held fixed.

    m being the margin at a worst point x~: the mean of -sigmoid(-m) y x~. At a tie (some w_i = 0 for p = inf) it is the
    gradient for the worst points that `worst_point` names. Source: lecture, slide "Adversarial Training: Danskin's
    Theorem".
    """
    points = worst_point(w, x, y, eps, p)
    return (-torch.sigmoid(-y * (points @ w + b)) * y)[:, None].mul(points).mean(dim=0)


def measured_gradient(w: Tensor, b: Tensor | float, x: Tensor, y: Tensor, eps: float, h: float = 1e-5) -> Tensor:
    """Central differences of the mean robust loss (p = inf) in each weight, (d,): its gradient without any theorem.

    h: the step, > 0; for the default w should be float64.
    """
    shifts = h * torch.eye(len(w), dtype=w.dtype, device=w.device)
    ends = [
        robust_loss(w + shift, b, x, y, eps).mean() - robust_loss(w - shift, b, x, y, eps).mean() for shift in shifts
    ]
    return torch.stack(ends) / (2 * h)


def _check(x: Tensor, y: Tensor, eps: float, p: float) -> None:
    if p not in DUAL:
        raise ValueError(f"p must be 1, 2 or math.inf; got {p!r}")
    if not eps >= 0:
        raise ValueError(f"eps must be at least 0; got {eps}")
    if y.shape != x.shape[:1]:
        raise ValueError(f"y must have one label for each image, shape {tuple(x.shape[:1])}; got {tuple(y.shape)}")
    if not bool((y.abs() == 1).all()):  # labels 0 and 1 would wipe out the margin of every 0 without a word
        raise ValueError("y must hold -1. and 1.; got other values")
