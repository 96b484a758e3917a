import math

import pytest
import torch

from coursekit import models
from coursekit.attacks import fgsm
from coursekit.losses import cross_entropy
from coursekit.perturbations import LpBall

WHOLE_SPACE = (-math.inf, math.inf)


def test_it_is_the_formula_of_the_slide(cnn, digits):
    x, y = digits
    x_leaf = x.clone().requires_grad_()
    cross_entropy(cnn(x_leaf), y).mean().backward()
    expected = (x + 0.1 * x_leaf.grad.sign()).clamp(0, 1)
    torch.testing.assert_close(fgsm(cnn, x, y, LpBall(0.1, math.inf)), expected)


def test_it_steps_to_the_surface_and_needs_no_projection(cnn, digits):
    """The lecture's remark: eta = eps is valid as it is, where there is no image range."""
    x, y = digits
    x_adv = fgsm(cnn, x, y, LpBall(0.1, math.inf, WHOLE_SPACE))
    torch.testing.assert_close((x_adv - x).abs().flatten(1).amax(1), torch.full((100,), 0.1))


@pytest.mark.parametrize(("p", "dual"), [(1, math.inf), (2, 2), (math.inf, 1)])
def test_it_is_exact_on_a_linear_classifier(p, dual):
    """The distance from the boundary w x + b = 0 is |w x + b| / ||w||_dual: fooled just beyond it, not before."""
    generator = torch.Generator().manual_seed(0)
    w, b = torch.randn(20, generator=generator, dtype=torch.float64), 0.3
    x = torch.randn(50, 20, generator=generator, dtype=torch.float64)
    score = x @ w + b

    def model(x):
        return torch.stack([-(x @ w + b) / 2, (x @ w + b) / 2], dim=1)

    y, distance = (score > 0).long(), score.abs() / torch.linalg.vector_norm(w, ord=dual)
    for factor, fooled in ((0.999, False), (1.001, True)):
        x_adv = fgsm(model, x, y, LpBall(factor * distance, p, WHOLE_SPACE))
        assert torch.equal(model(x_adv).argmax(1) != y, torch.full((50,), fooled))


def test_it_fools_many_digits_but_random_noise_of_the_same_size_hardly_any(cnn, digits):
    x, y = digits
    threat = LpBall(0.1, math.inf)
    noise = threat.sample(x, generator=torch.Generator().manual_seed(0))
    fooled = [(cnn(images).argmax(1) != y).float().mean() for images in (fgsm(cnn, x, y, threat), noise)]
    assert fooled[0] > fooled[1] + 0.2


def test_a_robust_model_withstands_it(digits):
    x, y = digits
    robust = models.load("mnist_cnn", "pgd", 0.1)
    assert (robust(fgsm(robust, x, y, LpBall(0.1, math.inf))).argmax(1) == y).float().mean() > 0.85
