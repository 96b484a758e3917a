"""Lipschitz certificates: no logit can change faster than L, so the class cannot change before the lead is used up.

If |g(x~) - g(x)| <= L ||x~ - x||_p for the lead g = z_y - z_i of class y over class i, then y stays ahead of i as long
as ||x~ - x||_p < g(x) / L. L is bounded layer by layer: a composition is at most as steep as the product of its parts.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.grad import conv2d_input

from coursekit.attacks.common import check_batch, check_count, check_generator, check_range
from coursekit.attacks.linearised import DUAL
from coursekit.losses import check_labels
from coursekit.models.architectures import MaxMin, Normalize
from coursekit.models.state import differentiating, evaluating
from coursekit.perturbations import LpBall, widen

NOT_STEEPER = (nn.Flatten, nn.ReLU, nn.Tanh, MaxMin)  # no two points get further apart, in any L_p norm
SUPPORTED = (nn.Linear, nn.Conv2d, Normalize, *NOT_STEEPER)
UP = 1 + 1e-9  # norms are computed in float64, to about 1e-12: rounded up, they are bounds
ULPS = 16  # by which a logit may be off, in units in the last place of the largest logit


def radius(model: nn.Module, x: Tensor, y: Tensor, p: float = 2) -> Tensor:
    """The certified radius of each image, (B,): no x~ with ||x~ - x||_p below it is taken for another class than y.

    min over i != y of (z_y - z_i) / L_yi, with L_yi as in `pair_constants`; 0 where x is misclassified, tied, or its
    logits are not finite; inf where no other class can overtake. It holds in all of R^d, so also in the image range.

    model: a Sequential of Linear, Conv2d, ReLU, Tanh, MaxMin, Flatten and the course's Normalize that ends with a
    Linear, used in eval mode. x: (B, ...) floating; y: (B,) int64; p: 1, 2 or math.inf. Returns the dtype of the
    logits, half precision as float32, on the device of x. Rounding of the constants is on the safe side, and so are 16
    units in the last place for that of the logits. Raises ValueError or TypeError for what it cannot take.
    Source: Tsuzuku et al. 2018, "Lipschitz-margin training", proposition 1; with a constant for each pair as in
    Leino et al. 2021, "Globally-robust neural networks".
    """
    check_batch(x, y, None)
    with torch.no_grad(), evaluating(model):
        slopes = pair_constants(model, x.shape[1:], p)
        check_labels("y", y, batch=len(x), classes=len(slopes))
        logits = widen(model(x))
    z, L = logits.double(), slopes[y]
    lead = z.gather(1, y[:, None]) - z - ULPS * torch.finfo(logits.dtype).eps * z.abs().amax(1, keepdim=True)
    # Two classes with the same weights keep their distance for ever.
    distance = (lead / L.where(L > 0, 1)).where((L > 0) | (lead <= 0) | lead.isnan(), math.inf)
    nearest = distance.scatter(1, y[:, None], math.inf).amin(1).clamp_min(0).nan_to_num(nan=0.0, posinf=math.inf)
    return (nearest * (1 - 2 * torch.finfo(logits.dtype).eps)).to(logits.dtype)


def pair_constants(model: nn.Module, shape: Sequence[int], p: float = 2) -> Tensor:
    """(K, K) float64: how much faster than ||x~ - x||_p the difference z_i - z_j of two logits can change, at most.

    ||w_i - w_j||_q ||A_1||_p ... ||A_m||_p with the rows w of the last layer, the operator norms of those before it,
    and 1/p + 1/q = 1 (Hoelder's inequality): symmetric, 0 on the diagonal. At most sqrt(2) times `constant` for p = 2,
    and usually far less. shape: of one input, without the batch. Model and errors as for `radius`.
    """
    _check_norm(p)
    *body, last = _layers(model)
    if type(last) is not nn.Linear:
        raise ValueError(f"model must end with a Linear layer; got {type(last).__name__}")
    with torch.no_grad(), evaluating(model):
        rows = last.weight.double()
        difference = torch.linalg.vector_norm(rows[:, None] - rows, ord=DUAL[p], dim=2)
        return UP * difference * _product(body, shape, p)


def constant(model: nn.Module, shape: Sequence[int], p: float = 2) -> Tensor:
    """A bound L with ||f(x~) - f(x)||_p <= L ||x~ - x||_p for all logits f and all x, x~: a float64 scalar.

    The product of the layers' operator norms. shape: of one input, without the batch. Layers as for `radius`.
    Source: Szegedy et al. 2014, "Intriguing properties of neural networks", section 4.3.
    """
    _check_norm(p)
    with torch.no_grad(), evaluating(model):
        return _product(_layers(model), shape, p)


def operator_norm(layer: nn.Module, shape: Sequence[int], p: float = 2) -> Tensor:
    """A bound on max ||A v||_p / ||v||_p over v != 0, for what a layer does to differences: a float64 scalar >= 0.

    layer: one of those named in `radius`; its bias does not count. shape: of one input, without the batch. Exact, but
    for rounding up, in all cases but one: p = 1 the largest absolute column sum, p = inf the largest row sum, p = 2 the
    largest singular value. The one is a convolution for p = 2, where the bound is that of the same convolution on a
    larger image without an edge: see `_convolution_2`. Raises ValueError for other layers, norms and padding modes.
    """
    _check_norm(p)
    if type(layer) in NOT_STEEPER:
        return torch.ones((), dtype=torch.float64)
    if type(layer) is Normalize:
        return UP / layer.std.double().min()
    if type(layer) is nn.Linear:
        return UP * torch.linalg.matrix_norm(layer.weight.detach().double(), ord=p)
    if type(layer) is not nn.Conv2d:
        known = ", ".join(kind.__name__ for kind in SUPPORTED)
        raise ValueError(f"model must consist of {known}; got {type(layer).__name__}")
    return UP * (_convolution_2(layer, shape) if p == 2 else _convolution_sums(layer, shape, p))


def _convolution_sums(layer: nn.Conv2d, shape: Sequence[int], p: float) -> Tensor:
    """p = inf: row sums of |A|, by a convolution of ones with |W|. p = 1: column sums, by its transpose."""
    weight, ones = layer.weight.detach().double().abs(), layer.weight.new_ones(1, *shape, dtype=torch.float64)
    settings = layer.stride, _padding(layer), layer.dilation, layer.groups
    rows = F.conv2d(ones, weight, None, *settings)
    if p == math.inf:
        return rows.max()
    return conv2d_input(ones.shape, weight, torch.ones_like(rows), *settings).max()


def _convolution_2(layer: nn.Conv2d, shape: Sequence[int]) -> Tensor:
    """A bound on the spectral norm of a convolution with zero padding, close to it but in small images.

    Put the image with its zeros on a torus, and the convolution is a part of one that runs round the torus: some inputs
    are held at 0, some outputs left out. A part of a linear map has no larger norm. On the torus the Fourier transform
    takes the convolution apart, into one matrix (C_out, C_in) for each frequency; the largest norm among them is that
    of the whole, exactly. A stride s is no exception: each s x s block of pixels counts as one pixel with s^2 times as
    many channels.
    Source: Sedghi, Gupta, Long 2019, "The singular values of convolutional layers", theorem 6.
    """
    weight = _kernel(layer)
    stride = layer.stride
    blocks = [math.ceil(size / step) for size, step in zip(weight.shape[2:], stride, strict=True)]
    room = [step * count - size for step, count, size in zip(stride, blocks, weight.shape[2:], strict=True)]
    weight = F.pad(weight, (0, room[1], 0, room[0]))
    weight = weight.view(*weight.shape[:2], blocks[0], stride[0], blocks[1], stride[1])
    weight = weight.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)  # (C_out, C_in s s, blocks, blocks)
    # What is read beyond one edge of the image may come round to the zeros beyond the other.
    around = [size + pad for size, pad in zip(shape[-2:], _padding(layer), strict=True)]
    torus = [max(count, math.ceil(size / step)) for size, step, count in zip(around, stride, blocks, strict=True)]
    frequencies = torch.fft.fft2(weight, s=torus).permute(2, 3, 0, 1)
    return torch.linalg.matrix_norm(frequencies, ord=2).max()


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    """The rows and columns of zeros on each side. Raises ValueError for what else a convolution may be told."""
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        got = layer.padding if isinstance(layer.padding, str) else layer.padding_mode
        raise ValueError(f"Conv2d's padding must be numbers, its padding_mode 'zeros'; got {got!r}")
    return layer.padding


def _kernel(layer: nn.Conv2d) -> Tensor:
    """The kernel in float64 as if it had neither groups nor dilation: zeros in between."""
    weight, groups = layer.weight.detach().double(), layer.groups
    if groups > 1:
        out, part = weight.shape[0] // groups, weight.shape[1]
        full = weight.new_zeros(weight.shape[0], groups * part, *weight.shape[2:])
        for g in range(groups):
            full[g * out : (g + 1) * out, g * part : (g + 1) * part] = weight[g * out : (g + 1) * out]
        weight = full
    steps = [d * (size - 1) + 1 for d, size in zip(layer.dilation, weight.shape[2:], strict=True)]
    spread = weight.new_zeros(*weight.shape[:2], *steps)
    spread[:, :, :: layer.dilation[0], :: layer.dilation[1]] = weight
    return spread


def power_iteration(
    layer: nn.Module, shape: Sequence[int], *, steps: int = 50, generator: Generator | None = None
) -> Tensor:
    """An estimate of the spectral norm of a linear layer FROM BELOW, which rises to it: a scalar.

    v <- A^T A v / ||A^T A v||, from a random v; the estimate is ||A v|| for ||v|| = 1. No matrix is needed: A^T A v is
    the gradient of ||A v||^2 / 2. shape: of one input, without the batch. Since it is never above the norm, what rests
    on it is no certificate: `operator_norm` is for that.
    Source: Miyato et al. 2018, "Spectral normalization", algorithm 1.
    """
    check_count("steps", steps)
    check_generator(generator)
    weight = _weight(layer)
    v = torch.randn(1, *shape, generator=generator).to(weight)
    offset = layer(torch.zeros_like(v)).detach()
    with differentiating():
        for step in range(steps + 1):
            v = (v / torch.linalg.vector_norm(v)).requires_grad_()
            Av = layer(v) - offset
            if step < steps:
                (v,) = torch.autograd.grad(Av.square().sum() / 2, v)  # A^T A v
    return torch.linalg.vector_norm(Av.detach())


def as_matrix(layer: nn.Module, shape: Sequence[int]) -> Tensor:
    """The matrix (outputs, inputs) by which a linear layer acts on the pixels of an image, row by row; no bias.

    shape: of one input, without the batch. For looking at and for small images: it has (inputs x outputs) entries.
    """
    weight = _weight(layer)
    basis = torch.eye(math.prod(shape)).to(weight).view(-1, *shape)
    with torch.no_grad():
        return (layer(basis) - layer(torch.zeros_like(basis[:1]))).flatten(1).T


def _weight(layer: nn.Module) -> Tensor:
    """The weight of a layer that has one. Raises ValueError for other layers."""
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        raise ValueError(f"layer must be a Linear or a Conv2d; got {type(layer).__name__}")
    return layer.weight.detach()


def local_slopes(
    model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, *, points: int = 20, generator: Generator | None = None
) -> Tensor:
    """(B, K): the steepest slope of z_y - z_i that was seen in P(x), at x and at points - 1 random points.

    max ||grad z_y - grad z_i||_q with 1/p + 1/q = 1 for the p of `threat`; 0 for i = y. No constant that holds in P(x)
    is lower, so it shows how loose a bound may be at most. It is no bound itself: nobody looked everywhere.
    x: (B, ...) in threat.bounds; y: (B,) int64. Takes K gradients for each point. generator: for the points.
    """
    check_batch(x, y, None)
    check_count("points", points)
    check_generator(generator)
    if not isinstance(threat, LpBall):
        raise TypeError(f"threat must be an LpBall; got {type(threat).__name__}")
    check_range(x, threat.bounds, "the threat's bounds")
    with evaluating(model), differentiating():
        places = [x, *(threat.sample(x, generator=generator) for _ in range(points - 1))]
        return torch.stack([_slopes(model, place, y, DUAL[threat.p]) for place in places]).amax(0)


def _slopes(model: nn.Module, x: Tensor, y: Tensor, q: float) -> Tensor:
    """||grad z_y - grad z_i||_q at x, (B, K)."""
    x = x.detach().clone().requires_grad_()
    logits = model(x)
    differences = logits.gather(1, y[:, None]) - logits
    gradients = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0] for column in differences.unbind(1)]
    return torch.linalg.vector_norm(torch.stack(gradients, 1).flatten(2), ord=q, dim=2)


def _product(layers: Sequence[nn.Module], shape: Sequence[int], p: float) -> Tensor:
    """The product of the operator norms of layers through which an input of this shape passes."""
    product = torch.ones((), dtype=torch.float64)
    if not layers:
        return product
    places = [part for layer in layers for part in (*layer.parameters(), *layer.buffers())]
    h = torch.zeros(1, *shape).to(places[0] if places else product.float())
    for layer in layers:
        product = product * operator_norm(layer, h.shape[1:], p)
        h = layer(h)
    return product


def _layers(model: nn.Module) -> list[nn.Module]:
    """The layers in order. Raises ValueError naming the first that is not supported."""
    if not isinstance(model, nn.Sequential):
        raise ValueError(f"model must be a torch.nn.Sequential; got {type(model).__name__}")
    layers = [inner for layer in model for inner in (_layers(layer) if isinstance(layer, nn.Sequential) else [layer])]
    for layer in layers:
        if type(layer) not in SUPPORTED:
            known = ", ".join(kind.__name__ for kind in SUPPORTED)
            raise ValueError(f"model must consist of {known}; got {type(layer).__name__}")
    return layers


def _check_norm(p: float) -> None:
    if p not in DUAL:
        raise ValueError(f"p must be 1, 2 or math.inf; got {p!r}")
