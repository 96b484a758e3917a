"""The house keeps its floors: each part imports only what is below it, and the entrance stays light."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import coursekit

ROOT = Path(coursekit.__file__).parent
# From the ground up; parts of one floor may use each other, except on the ground floor.
FLOORS = [
    {"data", "perturbations", "losses"},
    {"models"},
    {"attacks"},
    {"defenses", "training", "evaluation", "certify"},
    {"plots", "widgets", "checks"},
    {"grading", "doctor"},
    {"cli"},
]
FLOOR = {part: height for height, parts in enumerate(FLOORS) for part in parts}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
LIBRARY = sorted(part for parts in FLOORS[:4] for part in parts if importlib.util.find_spec(f"coursekit.{part}"))


def part_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_parts(path):
    """The parts of coursekit that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide the floor they come from"
            names = [node.module] if node.module != "coursekit" else [f"coursekit.{a.name}" for a in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("coursekit."))


def test_every_part_has_a_floor():
    assert {part_of(path) for path in MODULES} <= set(FLOOR)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downstairs_only(path):
    here = part_of(path)
    for there in imported_parts(path):
        if there == here or there.startswith("__"):
            continue
        assert there in FLOOR, f"{path}: no part is called {there}"
        ground = FLOOR[here] == 0
        assert FLOOR[there] < FLOOR[here] or (FLOOR[there] == FLOOR[here] and not ground), f"{here} imports {there}"


def loaded_after(statement):
    """The top names of sys.modules after running a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_coursekit_is_light():
    assert not loaded_after("import coursekit; dir(coursekit)") & {"torch", "numpy", "matplotlib", "IPython"}


def test_the_controlling_process_of_grading_never_loads_torch():
    """Worker processes run students' code with torch; the one that hands out the work must not need it."""
    modules = [m.name for m in pkgutil.iter_modules([str(ROOT / "grading")], "coursekit.grading.")]
    modules = [name for name in modules if not name.endswith(".worker")]
    assert "torch" not in loaded_after("import coursekit.cli, " + ", ".join(modules))


@pytest.mark.parametrize("part", LIBRARY)
def test_every_public_name_of_the_library_is_explained(part):
    package = importlib.import_module(f"coursekit.{part}")
    paths = [m.name for m in pkgutil.walk_packages(getattr(package, "__path__", []), f"coursekit.{part}.")]
    for module in [package, *map(importlib.import_module, paths)]:
        assert module.__doc__, f"{module.__name__} has no docstring"
        for name, thing in vars(module).items():
            ours = getattr(thing, "__module__", None) == module.__name__
            if name.startswith("_") or not ours or not (inspect.isfunction(thing) or inspect.isclass(thing)):
                continue
            assert thing.__doc__, f"{module.__name__}.{name} has no docstring"
            for method_name, method in vars(thing).items() if inspect.isclass(thing) else ():
                if inspect.isfunction(method) and not method_name.startswith("_"):
                    assert method.__doc__, f"{module.__name__}.{name}.{method_name} has no docstring"


def test_the_parts_are_reached_from_the_package():
    for part in ("attacks", "data", "evaluation", "losses", "models", "perturbations", "training"):
        assert getattr(coursekit, part) is importlib.import_module(f"coursekit.{part}")
    with pytest.raises(AttributeError, match="no attribute 'atacks'; its parts are attacks, "):
        _ = coursekit.atacks
