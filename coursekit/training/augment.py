"""Changes to training images that leave their class as it is; all randomness comes from the generator."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from coursekit.perturbations.random import normal
from coursekit.training.loop import Augment


def random_shift(x: Tensor, generator: Generator | None = None) -> Tensor:
    """Each image (B, C, H, W) moved by up to two pixels each way; what comes in from outside is 0."""
    padded = F.pad(x, (2, 2, 2, 2))
    moves = torch.randint(0, 5, (len(x), 2), generator=generator).to(x.device)
    rows = moves[:, :1] + torch.arange(x.shape[2], device=x.device)
    columns = moves[:, 1:] + torch.arange(x.shape[3], device=x.device)
    images = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def mirrored_shift(x: Tensor, generator: Generator | None = None) -> Tensor:
    """Half of the images (B, C, H, W) mirrored left to right, then each moved as by `random_shift`."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator).to(x.device) < 0.5
    return random_shift(torch.where(mirrored, x.flip(-1), x), generator)


def random_affine(
    x: Tensor, generator: Generator | None = None, *, degrees: float = 15.0, scale: float = 0.1, shear: float = 0.15,
    shift: float = 2.0,
) -> Tensor:  # fmt: skip
    """Each image (B, C, H, W) turned, stretched along both axes, sheared and moved; what comes in from outside is 0.

    Each by a random amount, uniform up to: degrees of turn, share of the size, shear (sideways per pixel of height),
    pixels of shift. Bilinear, so values stay in the range of x and 0.
    """
    amounts = (2 * torch.rand(6, len(x), generator=generator) - 1).to(x)  # drawn on the CPU, as the order is
    angle, slant = amounts[0] * math.radians(degrees), amounts[1] * shear
    wide, high = 1 + scale * amounts[2], 1 + scale * amounts[3]
    across, down = amounts[4] * 2 * shift / x.shape[3], amounts[5] * 2 * shift / x.shape[2]
    cos, sin = angle.cos(), angle.sin()
    # Turn times shear, divided by the stretch; grid_sample asks where each pixel of the result comes from.
    theta = torch.stack(
        [
            torch.stack([cos / wide, (slant * cos - sin) / high, across], dim=1),
            torch.stack([sin / wide, (slant * sin + cos) / high, down], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def gaussian_noise(sigma: float, after: Augment | None = None) -> Augment:
    """A change x -> x + e, e ~ N(0, sigma^2 I) drawn anew for each image, for `fit(..., augment=gaussian_noise(0.25))`.

    So a network learns to be right about noisy images: the base classifier of randomised smoothing. sigma: >= 0, in
    units of x. after: another change that comes first, `random_shift` say. The result is not clipped to the image
    range, just as `certify.smoothing` does not clip it. Source: Cohen et al. 2019, section 3.3.
    """
    if not 0 <= sigma < math.inf:
        raise ValueError(f"sigma must be a number of at least 0; got {sigma!r}")

    def noisy(x: Tensor, generator: Generator | None = None) -> Tensor:
        changed = x if after is None else after(x, generator)
        return changed + sigma * normal(changed, generator)

    return noisy
