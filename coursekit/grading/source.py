"""The text source of a notebook: a Python file in jupytext's percent format whose cell headers say what is graded.

    # %% solution="fgsm"                        code the student writes, between ### BEGIN SOLUTION and ### END SOLUTION
    # %% test="fgsm" points=3                   graded by running it; may hold ### BEGIN / END HIDDEN TESTS
    # %% [markdown] answer="why" points=2       graded by a person; holds === BEGIN / END MARK SCHEME ===
    # %% readonly="imports"                     the student cannot change it
    # %% demo="curve"                           figures and experiments, not run when grading

A cell without a header key is plain. `read` turns a source into nbgrader's source notebook, or says what is wrong with
it and where.
"""

import ast
import builtins
import hashlib
import math
import re
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

SOLUTION, HIDDEN_TESTS, MARK_SCHEME = "SOLUTION", "HIDDEN TESTS", "MARK SCHEME"
REGIONS = (SOLUTION, HIDDEN_TESTS, MARK_SCHEME)  # nbgrader knows them by "BEGIN ..." and "END ..." in a line


@dataclass(frozen=True)
class Role:
    """What a header key makes of its cell."""

    cell_types: tuple[str, ...]
    nbgrader: dict[str, bool] | None = None  # None: none of nbgrader's cells
    may_hold: tuple[str, ...] = ()
    must_hold: tuple[str, ...] = ()

    @property
    def graded(self) -> bool:
        return self.nbgrader is not None and self.nbgrader["grade"]


def _flags(grade: bool = False, solution: bool = False, locked: bool = False) -> dict[str, bool]:
    return {"grade": grade, "solution": solution, "locked": locked, "task": False}


ROLES = {
    "solution": Role(("code",), _flags(solution=True), must_hold=(SOLUTION,)),
    "test": Role(("code",), _flags(grade=True, locked=True), may_hold=(HIDDEN_TESTS,)),
    "answer": Role(("markdown",), _flags(grade=True, solution=True), may_hold=(SOLUTION,), must_hold=(MARK_SCHEME,)),
    "readonly": Role(("code", "markdown"), _flags(locked=True)),
    "demo": Role(("code",)),
}
PLAIN = Role(("code", "markdown", "raw"))
DEMO_TAG = "demo"

# Keys of JupyterLab's own, such as `jupyter` and `tags`, are none: with one of them jupytext would write what
# JupyterLab notes about the display of a cell into every header.
ALLOWED_KEYS = (*ROLES, "points")
# What jupytext itself notes about the text's layout: needed to write the text back, no part of the notebook.
LAYOUT_KEYS = {"lines_to_next_cell", "lines_to_end_of_cell_marker", "cell_marker", "cell_depth"}

NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class SourceError(Exception):
    """A source that cannot be built. `problems`: one line each, naming file, line, cell and what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Source:
    """A source as read: nbgrader's source notebook, and what the table of contents says about it."""

    path: Path
    notebook: NotebookNode
    number: tuple[int, ...]
    title: str
    summary: str

    @property
    def points(self) -> float:
        return sum(cell.metadata.get("nbgrader", {}).get("points", 0) for cell in self.notebook.cells)

    @property
    def grade_ids(self) -> list[str]:
        return [cell.id for cell in self.notebook.cells if "nbgrader" in cell.metadata]


@dataclass
class _Cell:
    """One cell of the text, with the line of its header."""

    line: int
    cell_type: str
    text: str
    header: dict[str, Any]
    role_name: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def role(self) -> Role:
        return ROLES.get(self.role_name, PLAIN)

    @property
    def id(self) -> str:
        """The name given in the header (nbgrader's grade id too); of a plain cell the hash of its own text, so that it
        changes only when the cell does."""
        if not self.role_name:
            return hashlib.sha256(f"{self.cell_type}\n{self.text}".encode()).hexdigest()[:8]
        return f"test-{self.header['test']}" if self.role_name == "test" else str(self.header[self.role_name])

    def __str__(self) -> str:
        return f'cell {self.role_name}="{self.header[self.role_name]}"' if self.role_name else f"{self.cell_type} cell"


def read(path: Path, shown_as: str | None = None) -> Source:
    """Reads one source. Raises SourceError with every problem found; `shown_as` is the file's name in them."""
    shown_as = shown_as or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SourceError([f"{shown_as}: not UTF-8 text: {error.reason} at byte {error.start}"]) from None
    cells = _cells(text)
    problems = []
    for cell in cells:
        cell.problems = list(_header_problems(cell)) or list(_text_problems(cell))
        problems += [(cell.line, f"{cell}: {problem}") for problem in cell.problems]
    problems += _name_problems(cells)
    number, title, summary = _title(cells)
    if not number:
        problems.append(
            (1, "no title; allowed is a heading with the place in the course, like '# # 3 Gradient attacks'")
        )
    problems = problems or list(_layout_problems(text))
    if problems:
        raise SourceError([f"{shown_as}:{line}: {problem}" for line, problem in sorted(problems)])
    return Source(path, _notebook(cells), number, title, summary)


# -- text -> cells


def _cells(text: str) -> list[_Cell]:
    cells = jupytext.reads(text, fmt="py:percent").cells
    return [
        _Cell(line, cell.cell_type, cell.source, _header(cell)) for cell, line in zip(cells, _lines(text), strict=True)
    ]


def _header(cell: NotebookNode) -> dict[str, Any]:
    return {key: value for key, value in cell.metadata.items() if key not in LAYOUT_KEYS}


def _lines(text: str) -> list[int]:
    """The line of each cell's header. jupytext does not tell: so every header gets one more key, its own line."""
    numbered = [
        f"{line} line_in_source={number}" if re.match(r"# %%", line) else line
        for number, line in enumerate(text.splitlines(), start=1)
    ]
    cells = jupytext.reads("\n".join(numbered) + "\n", fmt="py:percent").cells
    lines = []
    for cell in cells:
        unreadable = re.search(r"line_in_source=(\d+)$", cell.metadata.get("incorrectly_encoded_metadata", ""))
        lines.append(int(unreadable[1]) if unreadable else cell.metadata.get("line_in_source", 1))
    return lines


def _title(cells: list[_Cell]) -> tuple[tuple[int, ...], str, str]:
    """(number, title, first sentence under it) from the notebook's first heading: `# 3 Gradient attacks`."""
    for cell in cells:
        if cell.cell_type == "markdown" and (heading := re.search(r"^# .*$", cell.text, re.MULTILINE)):
            numbered = re.fullmatch(r"# (\d+(?:\.\d+)*)\.?\s+(.+)", heading[0].strip())
            if not numbered:
                return (), "", ""
            number = tuple(int(part) for part in numbered[1].split("."))
            return number, numbered[2], _first_sentence(cell.text[heading.end() :])
    return (), "", ""


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    if not paragraph or paragraph[0] in "#<|$>-" or re.match(r"[*+] |\d+\. ", paragraph):
        return ""  # a heading, a list, a box: nothing to put in a table
    return re.split(r"(?<=[.!?])\s+(?=[A-Z*])", paragraph)[0].rstrip(":")


# -- cells -> problems


def _header_problems(cell: _Cell) -> Iterator[str]:
    header = cell.header
    if "incorrectly_encoded_metadata" in header:
        yield f'cannot read the header {header["incorrectly_encoded_metadata"]!r}; allowed is key="text" or key=number'
        return
    if "title" in header:
        yield f"unknown words {header['title']!r} in the header; allowed are {_one_of(ALLOWED_KEYS)}, each as key=value"
        return
    unknown = [key for key in header if key not in ALLOWED_KEYS]
    if unknown:
        yield f"unknown key {_one_of(unknown, 'and')} in the header; allowed are {_one_of(ALLOWED_KEYS)}"
        return
    roles = [key for key in header if key in ROLES]
    if len(roles) > 1:
        yield f"got {_one_of(roles, 'and')}; allowed is one of {_one_of(ROLES)}"
        return
    cell.role_name = roles[0] if roles else ""
    name = header.get(cell.role_name, "plain")
    # 59 characters and "test-": a cell id has at most 64.
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,58}", name):
        yield f"got the name {name!r}; allowed are up to 59 letters, digits, - and _, the first a letter"
    if cell.cell_type not in cell.role.cell_types:
        yield f"is a {cell.cell_type} cell; allowed is {_one_of(cell.role.cell_types)}"
    points = header.get("points")
    if not cell.role.graded and "points" in header:
        graded = _one_of(name for name, role in ROLES.items() if role.graded)
        yield f"has points={points}; allowed are points on {graded} cells"
    elif cell.role.graded and not _is_points(points):
        yield f"{'no points' if points is None else f'got points={points}'}; allowed is a number above 0: points=3"


def _is_points(points: Any) -> bool:
    return type(points) in (int, float) and math.isfinite(points) and points > 0


def _text_problems(cell: _Cell) -> Iterator[str]:
    regions = list(_region_problems(cell))
    if regions:
        yield from regions
    elif cell.role_name == "solution":
        yield from _release_problems(cell)
    elif cell.role_name == "test":
        yield from _test_problems(cell)


def _region_problems(cell: _Cell) -> Iterator[str]:
    allowed = cell.role.may_hold + cell.role.must_hold
    opened: list[str] = []
    found = set()
    for offset, line in enumerate(cell.text.splitlines(), start=1):
        where = f"line {offset} of the cell"
        for region in REGIONS:
            if f"BEGIN {region}" in line:
                if region not in allowed:
                    homes = [name for name, role in ROLES.items() if region in role.may_hold + role.must_hold]
                    yield f"BEGIN {region} in {where}; allowed in {_one_of(homes)} cells only"
                    return
                if region in opened or (opened and region == SOLUTION):
                    yield f"BEGIN {region} in {where}, inside another region; END {opened[-1]} is missing before it"
                    return
                opened.append(region)
                found.add(region)
            elif f"END {region}" in line:
                if not opened or opened[-1] != region:
                    yield f"END {region} in {where} without its BEGIN {region}"
                    return
                opened.pop()
    if opened:
        yield f"BEGIN {opened[-1]} without its END {opened[-1]}"
    for region in cell.role.must_hold:
        if region not in found:
            yield f"no BEGIN {region} ... END {region} in it"
    if SOLUTION in found and f"BEGIN {MARK_SCHEME}" in without(cell.text, SOLUTION):
        # Outside, the scheme would count as part of the stub, and an untouched answer would look like an answer.
        yield "BEGIN MARK SCHEME outside of the solution; allowed inside BEGIN SOLUTION ... END SOLUTION of this cell"


def without(text: str, region: str, stub: str | None = None) -> str:
    """`text` without the lines of every `region`, delimiters included; `stub` stands where each was, indented alike."""
    kept, inside = [], False
    for line in text.split("\n"):
        if f"BEGIN {region}" in line:
            inside = True
            if stub is not None:
                kept.append(line[: len(line) - len(line.lstrip())] + stub)
        elif f"END {region}" in line:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def marking_schemes(notebook: NotebookNode) -> dict[str, str]:
    """{grade id: marking scheme} of the free-text answers of a source notebook."""
    begin, end = f"BEGIN {MARK_SCHEME}", f"END {MARK_SCHEME}"
    regions = {
        cell.id: re.search(f"^.*{begin}.*\n((?:.*\n)*?).*{end}.*$", cell.source, re.MULTILINE)
        for cell in notebook.cells
    }
    return {grade_id: region[1].strip() for grade_id, region in regions.items() if region}


def _release_problems(cell: _Cell) -> Iterator[str]:
    """A solution cell must still be Python when the solution is taken out of it."""
    from IPython.core.inputtransformer2 import TransformerManager  # magics and `!` are fine here

    released = TransformerManager().transform_cell(without(cell.text, SOLUTION, stub="raise NotImplementedError()"))
    try:
        compile(released, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        yield f"as released it is not Python: {error.msg} in line {error.lineno} of the released cell"


def _test_problems(cell: _Cell) -> Iterator[str]:
    """Holds a test to its rules twice: as the grader runs it, and as students get it."""
    for version, text in (("", cell.text), ("without its hidden tests ", without(cell.text, HIDDEN_TESTS))):
        try:
            tree = ast.parse(text)
            table = symtable.symtable(text, "<cell>", "exec")
        except SyntaxError as error:
            yield f"{version}it is not Python: {error.msg} in line {error.lineno} of the cell"
            return
        problems = [*_ending_problems(tree), *_points_problems(tree, cell), *_name_rule_problems(tree, table)]
        if problems:
            yield from (version + problem for problem in problems)
            return


def _ending_problems(tree: ast.Module) -> Iterator[str]:
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        yield "its last statement is not an expression; allowed is the score: exercise.score()"


def _points_problems(tree: ast.Module, cell: _Cell) -> Iterator[str]:
    """Points are written into the header and into `checks.Exercise`: they must agree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Exercise":
            given = [*node.args[1:2], *(keyword.value for keyword in node.keywords if keyword.arg == "points")]
            said = cell.header["points"]
            if given and isinstance(given[0], ast.Constant) and given[0].value != said:
                yield f"points={said} in the header, {given[0].value!r} in Exercise; allowed is the same number"


# Ways round the rule that a student's work is reached by name through `checks` alone. IPython adds some builtins of its
# own (`get_ipython`, `display`), which another process does not have.
FORBIDDEN = {"globals", "locals", "eval", "exec", "__import__", "get_ipython", "display"}
BUILTINS = set(dir(builtins)) - FORBIDDEN


def _name_rule_problems(tree: ast.Module, table: symtable.SymbolTable) -> Iterator[str]:
    """Values only: every name a test uses is defined in the test itself, so no student's name is touched directly."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"line {node.lineno} of the cell imports *; allowed are imports by name"
            return
        imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if "__main__" in [*imported, getattr(node, "module", None)]:
            yield f"line {getattr(node, 'lineno', 1)} of the cell imports __main__; allowed is checks.Exercise"
    for name in sorted(_global_names(table) - _defined_names(table) - BUILTINS):
        line = min(
            (node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name), default=1
        )
        yield (
            f"uses {name} in line {line} of the cell, which it does not define; a test reaches the student's work "
            "by name through checks.Exercise and defines or imports everything else itself"
        )


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _global_names(table: symtable.SymbolTable) -> set[str]:
    """Names looked up in the notebook's own namespace, from anywhere in the cell."""
    return {
        symbol.get_name()
        for scope in _tables(table)
        for symbol in scope.get_symbols()
        if symbol.is_referenced() and (scope is table or symbol.is_global())
    }


def _defined_names(table: symtable.SymbolTable) -> set[str]:
    return {
        symbol.get_name()
        for scope in _tables(table)
        for symbol in scope.get_symbols()
        if (symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace())
        and (scope is table or symbol.is_declared_global())
    }


def _name_problems(cells: list[_Cell]) -> Iterator[tuple[int, str]]:
    first: dict[str, int] = {}
    for cell in cells:
        if cell.role_name and not cell.problems:
            if cell.id in first:
                yield cell.line, f"{cell}: the id {cell.id!r} is taken by the cell in line {first[cell.id]}"
            first.setdefault(cell.id, cell.line)


def _layout_problems(text: str) -> Iterator[tuple[int, str]]:
    """Saved as a notebook in JupyterLab, the text must come back as it was: else every such save is a difference."""
    if text.startswith("# ---"):
        yield 1, "has a YAML header, to which JupyterLab adds more when it saves; a source begins with its first cell"
        return
    back = jupytext.writes(jupytext.reads(text, fmt="py:percent"), fmt="py:percent").splitlines()
    lines = text.splitlines()
    for number, (line, written) in enumerate(zip(lines, back, strict=False), start=1):
        if line != written:
            yield number, f"JupyterLab would save {line!r} as {written!r}; write it like that"
            return
    if len(lines) != len(back):
        yield min(len(lines), len(back)) + 1, "JupyterLab would save other blank lines at the end of the file"


def _one_of(words: Any, last: str = "or") -> str:
    words = [str(word) for word in words]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


# -- cells -> notebook


def _notebook(cells: list[_Cell]) -> NotebookNode:
    taken: set[str] = {cell.id for cell in cells if cell.role_name}
    notebook = nbformat.v4.new_notebook(metadata=nbformat.from_dict(NOTEBOOK_METADATA))
    notebook.nbformat_minor = 5  # the first with cell ids
    make = {
        "code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell, "raw": nbformat.v4.new_raw_cell,
    }  # fmt: skip
    for cell in cells:
        cell_id = cell.id
        while not cell.role_name and cell_id in taken:  # two plain cells with the same text
            cell_id += "x"
        taken.add(cell_id)
        notebook.cells.append(make[cell.cell_type](cell.text, id=cell_id, metadata=_metadata(cell)))
    # So that `coursekit check` misses a test cell that was deleted, without the source.
    points = {cell.id: cell.header["points"] for cell in cells if cell.role_name == "test"}
    notebook.metadata.coursekit = nbformat.from_dict({"points": points})
    nbformat.validate(notebook)
    return notebook


def _metadata(cell: _Cell) -> NotebookNode:
    metadata: dict[str, Any] = {}
    if cell.role_name == "demo":
        metadata["tags"] = [DEMO_TAG]
    elif cell.role.nbgrader is not None:
        metadata["nbgrader"] = {"schema_version": 3, "grade_id": cell.id, **cell.role.nbgrader}
        if cell.role_name == "test":
            metadata["jupyter"] = {"source_hidden": True}  # one click away: what it says is what counts
        if cell.role.graded:
            metadata["nbgrader"]["points"] = cell.header["points"]
    return nbformat.from_dict(metadata)
