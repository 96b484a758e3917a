"""coursekit: a course on the robustness of machine learning models.

`import coursekit` is light: a part (`coursekit.data`, `coursekit.attacks`, ...) is imported, and torch with it,
when it is first used.
"""

import importlib
from importlib.metadata import version
from types import ModuleType

__version__ = version("coursekit")

_PARTS = {
    "attacks", "certify", "checks", "data", "defenses", "evaluation", "grading", "losses", "models", "perturbations",
    "plots", "training", "widgets",
}  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    if name in _PARTS:
        return importlib.import_module(f"coursekit.{name}")
    raise AttributeError(f"module 'coursekit' has no attribute {name!r}; its parts are {', '.join(sorted(_PARTS))}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PARTS])
