"""Trained classifiers: `load(name, training, eps)`. Weights are shipped; each file says how it was made."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from coursekit.models import imagenet
from coursekit.models.architectures import ARCHITECTURES

__all__ = ["ARCHITECTURES", "build", "load", "recipe"]

WEIGHTS = Path(__file__).parent / "weights"


def build(name: str) -> nn.Module:
    """The untrained network called `name`, in train mode. Raises ValueError if there is none."""
    if name not in ARCHITECTURES:
        raise ValueError(f"name must be one of {', '.join(map(repr, ARCHITECTURES))}; got {name!r}")
    return ARCHITECTURES[name]()


def load(name: str, training: str = "standard", eps: float | None = None) -> nn.Module:
    """The trained classifier called `name`, in eval mode on the CPU in float32; x in [0, 1] -> logits (B, K).

    name: "mnist_cnn", "mnist_mlp" (small enough to verify exactly), "mnist_linear", "mnist_lipschitz" (1-Lipschitz in
    L2), "moons_mlp", "signs_cnn", "faces_cnn", or "imagenet" (EfficientNet-Lite0). training: "standard", or the method
    that made it robust ("pgd", "trades", ...; see `coursekit.training`). eps: the L-inf radius it was trained for, for
    "noise" the standard deviation sigma of the noise that it was trained with; None takes the largest there is. It
    normalises its input itself. Parameters require gradients as in any torch model, and every call returns a model of
    its own.
    Raises ValueError, listing what there is, for anything else.
    """
    path = weights_file(name, training, eps)
    with torch.device("meta"):  # no initial values: nothing to compute, and the global random state stays
        model = build(name)
    model.load_state_dict(imagenet.state_dict(path) if name == "imagenet" else load_file(path), assign=True)
    return model.eval()


def recipe(name: str, training: str = "standard", eps: float | None = None) -> dict[str, str]:
    """How the weights of `load(name, training, eps)` were made, and what was measured on the test images.

    Keys: "command", "clean" and "robust" (accuracies), "attack" (what the robust accuracy was measured with). The
    weights of "imagenet" were not made here: it has only "source". Those of "ibp" have "certified", too: the share
    that interval bounds prove robust. Those of "noise" have "noisy": the accuracy on images with such noise.
    """
    path = weights_file(name, training, eps)
    if name == "imagenet":
        return dict(imagenet.RECIPE)
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def weights_file(name: str, training: str, eps: float | None) -> Path:
    """The shipped file for these arguments. Raises ValueError, listing what is shipped, if there is none."""
    if name not in ARCHITECTURES:
        raise ValueError(f"name must be one of {', '.join(map(repr, ARCHITECTURES))}; got {name!r}")
    shipped = _shipped(name)
    if training not in shipped:
        raise ValueError(f"training of {name!r} must be one of {', '.join(map(repr, shipped))}; got {training!r}")
    radii = shipped[training]
    if eps is None:
        eps = max(radii)
    if eps not in radii:
        allowed = f"one of {', '.join(f'{radius:g}' for radius in sorted(radii))}" if any(radii) else "None"
        raise ValueError(f"eps of {name!r} with training {training!r} must be {allowed}; got {eps!r}")
    return radii[eps]


def file_name(name: str, training: str, eps: float | None) -> str:
    """What the weights file for these arguments is called."""
    return f"{name}-{training}{f'-{eps:g}' if eps else ''}.safetensors"


def _shipped(name: str) -> dict[str, dict[float, Path]]:
    """{training: {eps: file}} as found on disk: a new weights file needs no other entry. No eps counts as 0."""
    if name == "imagenet":
        return {"standard": {0.0: imagenet.weights()}}
    found: dict[str, dict[float, Path]] = {}
    for path in sorted(WEIGHTS.glob(f"{name}-*.safetensors"), key=_standard_first):
        _, training, *eps = path.name.removesuffix(".safetensors").split("-")
        found.setdefault(training, {})[float(eps[0]) if eps else 0.0] = path
    return found


def _standard_first(path: Path) -> tuple[bool, str]:
    return "-standard" not in path.name, path.name
