"""What a wrong answer looks like from outside: measured on the result, so that a hint fits however the code is written.

Each function returns a hint, or "" when it recognises nothing.
"""

import torch
from torch import Tensor


def of_step(x_adv: Tensor, x: Tensor, gradient: Tensor, eps: float) -> str:
    """A step from x that should go uphill by eps in the sign of the gradient. All tensors of one shape.

    Only pixels count that the image range did not stop and whose gradient is clearly not zero.
    """
    delta = x_adv - x
    if float(delta.abs().max()) < 1e-7:
        return "Nothing was added to x: the result is x itself."
    free = (x_adv > 1e-6) & (x_adv < 1 - 1e-6) & (gradient.abs() > 1e-3 * gradient.abs().max()) & (delta.abs() > 1e-9)
    if not bool(free.any()):
        return ""
    moved, slope = delta[free], gradient[free]
    uphill = (moved.sign() == slope.sign()).float().mean().item()
    if uphill < 0.1:
        return "You go downhill: every pixel moves against the gradient. An attack wants the loss to rise."
    sizes = moved.abs()
    if float(sizes.std(correction=0)) > 0.05 * float(sizes.mean()):
        if float(torch.nn.functional.cosine_similarity(moved, slope, dim=0)) > 0.99:
            return "You step along the gradient itself. What does the method take of it before scaling?"
        return (
            "Pixels move by different amounts; all should move equally far. Is it the sign of the gradient, from x on?"
        )
    if abs(float(sizes.mean()) - eps) > 0.02 * eps:
        return f"Each pixel moves by {float(sizes.mean()) / eps:.3g} times eps. How far may one step go?"
    return ""
