"""From what a student handed in to a notebook that can be graded: a pure function of its bytes and the original.

The student's file is read for five things only: each cell's type, text, pictures, and who it claims to be (cell id and
nbgrader's grade id). Everything else is thrown away and written anew from the original, so nothing that was edited,
retagged or lost in the file matters. Each change that a person may want to know about is one sentence.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

SIZE_LIMIT = 100 * 1024**2  # bytes; an honest notebook with animations in it may be large
CELL_LIMIT = 5000
SIMILAR = 0.8

GRADED = ("solution", "test", "answer", "readonly")
LOCKED = ("test", "readonly")
SKIPPING_TAGS = {"skip-execution", "raises-exception", "remove-cell", "remove_cell"}


class Unreadable(Exception):
    """The file is no notebook. The text says what it is, in a sentence for student and instructor."""


@dataclass(frozen=True)
class Repaired:
    """A notebook that can be run and graded. skip: ids of its cells that are not run (figures left as released)."""

    notebook: NotebookNode
    repairs: list[str]
    skip: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Original:
    """A cell as the course has it. `text` is what is run, hidden tests included; `released` is what students got."""

    id: str
    role: str  # one of GRADED, "demo" or "plain"
    cell_type: str
    text: str
    released: str
    metadata: NotebookNode

    @property
    def names(self) -> set[str]:
        """What its stub defines: functions and classes by which a solution is recognised."""
        return _defined(self.released) if self.role == "solution" else set()


@dataclass(frozen=True)
class Template:
    """The course's side of a notebook: every cell in order."""

    originals: list[Original]
    metadata: NotebookNode

    @classmethod
    def of(cls, canonical: NotebookNode, release: NotebookNode) -> Template:
        """canonical: nbgrader's source notebook without solutions, with hidden tests, checksums and locks, as
        nbgrader records it. release: the same cells as students got them."""
        released = {cell.id: cell.source for cell in release.cells}
        originals = [
            Original(
                cell.id, _role(cell), cell.cell_type, cell.source, released.get(cell.id, cell.source), cell.metadata
            )
            for cell in canonical.cells
        ]
        return cls(originals, canonical.metadata)

    @property
    def stubs(self) -> dict[str, str]:
        """The released text of what students fill in, by grade id."""
        return {o.id: o.released for o in self.originals if o.role in ("solution", "answer")}

    @property
    def imports(self) -> list[str]:
        """The import statements of the cells as released: what a test may count on, wherever it runs."""
        statements: list[str] = []
        for original in self.originals:
            if original.cell_type == "code" and original.role in ("plain", "readonly"):
                with contextlib.suppress(SyntaxError):  # a magic of IPython's
                    nodes = ast.parse(original.released).body
                    statements += [ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
        return statements

    def needs(self) -> dict[str, list[str]]:
        """For each test the solutions it is about: those since the test before, and the one of its name."""
        needs: dict[str, list[str]] = {}
        since: list[str] = []
        for original in self.originals:
            if original.role == "solution":
                since.append(original.id)
            elif original.role == "test":
                named = [o.id for o in self.originals if o.role == "solution" and original.id == f"test-{o.id}"]
                needs[original.id] = [*since, *named]
                since = []
        return needs


@dataclass
class _Cell:
    """A cell of the student's file, and the original it turned out to be."""

    cell_type: str
    text: str
    claimed_id: str = ""
    claimed_grade_id: str = ""
    settings: dict = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    attachments: dict = field(default_factory=dict)
    original: Original | None = None

    @property
    def skipping(self) -> bool:
        return bool(self.tags & SKIPPING_TAGS)


def repair(template: Template, data: bytes) -> Repaired:
    """The notebook to run, made of the student's text and the original's everything else.

    Student cells keep their order. Raises Unreadable if `data` is no notebook.
    """
    cells, repairs = read(data)
    _recognise(template, cells)
    cells = _without_duplicates(template, cells, repairs)
    repairs += _describe(cells)
    _restore_missing(template, cells, repairs)
    _tests_after_solutions(template, cells, repairs)
    return _write(template, cells, repairs)


def untouched(template: Template) -> NotebookNode:
    """The notebook with nothing filled in: what is shown for a submission that cannot be read."""
    cells = [_Cell(o.cell_type, o.text if o.role in LOCKED else o.released, original=o) for o in template.originals]
    return _write(template, cells, []).notebook


# --- reading -------------------------------------------------------------------------------------------------------


def read(data: bytes) -> tuple[list[_Cell], list[str]]:
    """The cells of a notebook file of any version, and remarks. Raises Unreadable."""
    content, remarks = parse(data)
    cells, left_out = cells_of(content)
    return cells, remarks + left_out


def parse(data: bytes) -> tuple[Any, list[str]]:
    """What a notebook file holds, whatever its encoding, and remarks. Raises Unreadable."""
    if len(data) > SIZE_LIMIT:
        raise Unreadable(f"the file has {len(data) / 1e6:.0f} MB, more than the {SIZE_LIMIT / 1e6:.0f} MB allowed")
    text, remarks = _decode(data)
    try:
        return json.loads(text), remarks
    except RecursionError:
        raise Unreadable("the file is nested too deeply for a notebook") from None
    except ValueError as error:
        detail = f": {error.msg} in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable(f"the file is not a notebook{detail}") from None


def cells_of(content: Any) -> tuple[list[_Cell], list[str]]:
    """The cells of a parsed file, and remarks. Raises Unreadable."""
    raw = _raw_cells(content)
    if len(raw) > CELL_LIMIT:
        raise Unreadable(f"the notebook has {len(raw)} cells, more than the {CELL_LIMIT} allowed")
    cells = [cell for entry in raw if (cell := _read_cell(entry)) is not None]
    left_out = _count(len(raw) - len(cells), "entry")
    return cells, [f"{left_out} of the file that are no cells were left out."] if len(cells) < len(raw) else []


def _decode(data: bytes) -> tuple[str, list[str]]:
    if not data.strip(b"\0 \t\r\n"):
        raise Unreadable("the file is empty")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif data[:2].count(0) == 1:  # "{" in UTF-16 without its mark
        encodings = ["utf-16-le" if data[1] == 0 else "utf-16-be"]
    else:
        encodings = ["utf-8-sig", "latin-1"]
    for encoding in encodings:
        try:
            text = data.decode(encoding, "surrogatepass" if encoding.startswith("utf") else "strict")
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            raise Unreadable("the file is not a notebook: it holds null bytes, as after a broken upload")
        odd = encoding != "utf-8-sig"
        return text, [f"The file is written in {encoding} instead of UTF-8 and was read as such."] if odd else []
    raise Unreadable("the file is not a notebook: it is not text")


def _raw_cells(content: Any) -> list:
    """The list of cells, in the notebook formats 3 and 4."""
    if isinstance(content, dict):
        if isinstance(content.get("cells"), list):
            return content["cells"]
        sheets = content.get("worksheets")
        if isinstance(sheets, list):
            lists = [
                sheet["cells"] for sheet in sheets if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list)
            ]
            return [cell for cells in lists for cell in cells]
    raise Unreadable("the file is JSON, but not a notebook: it has no cells")


def _read_cell(entry: Any) -> _Cell | None:
    if not isinstance(entry, dict):
        return None
    kind = entry.get("cell_type")
    text = _text(entry.get("source", entry.get("input", "")))
    if kind == "heading":  # format 3
        level = entry.get("level")
        kind, text = "markdown", "#" * (level if isinstance(level, int) and 1 <= level <= 6 else 1) + " " + text
    if kind not in ("code", "markdown", "raw"):
        kind = "markdown" if kind == "html" else "raw"
    metadata = entry.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    settings = metadata.get("nbgrader")
    settings = settings if isinstance(settings, dict) else {}
    tags = metadata.get("tags")
    tags = frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset()
    return _Cell(
        kind, text, claimed_id=_text(entry.get("id")), claimed_grade_id=_text(settings.get("grade_id")),
        settings=settings, tags=tags, attachments=_attachments(entry.get("attachments")),
    )  # fmt: skip


def _text(value: Any) -> str:
    """Text of a notebook, a string or a list of lines, such that it can be written as UTF-8."""
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str):
        return ""
    return value.replace("\r\n", "\n").replace("\0", "").encode("utf-8", "replace").decode()


def _attachments(value: Any) -> dict:
    """Pictures pasted into an answer: {name: {media type: base64 text}}."""
    if not isinstance(value, dict):
        return {}
    return {
        _text(name): {_text(kind): _text(data) for kind, data in bundle.items() if isinstance(data, str)}
        for name, bundle in value.items()
        if isinstance(bundle, dict)
    }


# --- who is who ----------------------------------------------------------------------------------------------------


def _recognise(template: Template, cells: list[_Cell]) -> None:
    """Find the original of each cell: by text and by what it claims first, then by what it looks like."""
    for cell in cells:
        cell.original = _claimed(template, cell)
    _match_by_text(template, cells)
    for original in _unclaimed(template, cells):
        free = [cell for cell in cells if cell.original is None]
        found = _lookalike(original, free) or _neighbour(template, original, cells)
        if found is not None:
            found.original = original


def _claimed(template: Template, cell: _Cell) -> Original | None:
    """The original a cell claims to be. Where its two ids disagree, its text decides."""
    candidates = [
        o for o in template.originals if cell.claimed_id == o.id or (o.role in GRADED and cell.claimed_grade_id == o.id)
    ]
    if not candidates:
        return None
    names = _defined(cell.text)

    def evidence(original: Original) -> tuple[bool, bool, bool]:
        return _same(cell.text, original), bool(names & original.names), cell.claimed_grade_id == original.id

    return max(candidates, key=evidence)


def _match_by_text(template: Template, cells: list[_Cell]) -> None:
    """Cells that still read as released, in their order: several answers may have the same stub."""
    for original in _unclaimed(template, cells):
        for cell in cells:
            if cell.original is None and cell.text.strip() and _same(cell.text, original):
                cell.original = original
                break


def _lookalike(original: Original, free: list[_Cell]) -> _Cell | None:
    """A cell without its settings: a solution by the function it defines, a locked cell by its text."""
    if original.role == "solution":
        matches = [cell for cell in free if cell.cell_type == "code" and original.names & _defined(cell.text)]
        return matches[-1] if matches else None
    if original.role in LOCKED:
        return max(
            (cell for cell in free if _similarity(cell.text, original) >= SIMILAR),
            key=lambda cell: _similarity(cell.text, original),
            default=None,
        )
    return None


def _neighbour(template: Template, original: Original, cells: list[_Cell]) -> _Cell | None:
    """An answer that lost its settings: the unknown text right after the cell that it follows in the original."""
    if original.role not in ("answer", "solution"):
        return None
    position = template.originals.index(original)
    before = template.originals[position - 1] if position else None
    for index, cell in enumerate(cells[:-1]):
        follower = cells[index + 1]
        if before is not None and cell.original is before and follower.original is None:
            return follower if follower.cell_type == original.cell_type and follower.text.strip() else None
    return None


def _unclaimed(template: Template, cells: list[_Cell]) -> Iterator[Original]:
    for original in template.originals:
        if all(cell.original is not original for cell in cells):
            yield original


def _same(text: str, original: Original) -> bool:
    return _plain(text) in (_plain(original.released), _plain(original.text))


def _plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _similarity(text: str, original: Original) -> float:
    if not text.strip() or len(text) > 20_000:
        return 0.0
    matcher = difflib.SequenceMatcher(None, _plain(text), _plain(original.released), autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() >= SIMILAR and matcher.quick_ratio() >= SIMILAR else 0.0


def _defined(text: str) -> set[str]:
    """Functions and classes a cell defines. By pattern, not by parsing: the cell may hold a syntax error."""
    return set(re.findall(r"^(?:async +)?(?:def|class) +(\w+)", text, re.MULTILINE))


def _role(cell: NotebookNode) -> str:
    meta = cell.metadata.get("nbgrader", {})
    if meta.get("solution"):
        return "answer" if meta.get("grade") else "solution"
    if meta.get("grade"):
        return "test"
    if meta.get("locked"):
        return "readonly"
    return "demo" if "demo" in cell.metadata.get("tags", []) else "plain"


# --- mending -------------------------------------------------------------------------------------------------------


def _describe(cells: Iterable[_Cell]) -> list[str]:
    """What was changed in cells that are recognised, as sentences."""
    repairs = []
    for cell in cells:
        original = cell.original
        if original is None or original.role not in GRADED:
            continue
        if cell.cell_type != original.cell_type:
            repairs.append(f"{original.id}: was turned into a {cell.cell_type} cell; it is {original.cell_type} again.")
        if original.role in LOCKED and not _same(cell.text, original):
            repairs.append(f"{original.id}: was edited; the original is back.")
        if cell.skipping:
            repairs.append(f"{original.id}: was marked not to be run; it is run all the same.")
        if not cell.claimed_grade_id:
            how = "its cell id" if cell.claimed_id == original.id else "what is in it"
            repairs.append(f"{original.id}: had lost nbgrader's settings; recognised by {how}.")
        elif changes := _changed_settings(cell.settings, original.metadata.get("nbgrader", {})):
            repairs.append(f"{original.id}: its settings were changed ({changes}); the original ones are back.")
    return repairs


def _changed_settings(settings: dict, right: dict) -> str:
    changes = [
        f"{name} {right.get(name)!r} to {settings.get(name)!r}"
        for name in ("grade_id", "grade", "solution", "locked", "points")
        if name in settings and settings[name] != right.get(name)
    ]
    return ", ".join(changes)[:200]


def _without_duplicates(template: Template, cells: list[_Cell], repairs: list[str]) -> list[_Cell]:
    """One cell for each original. The copies that say something else stay as cells of the student's own."""
    dropped: set[int] = set()
    for original in template.originals:
        copies = [cell for cell in cells if cell.original is original]
        if original.role not in GRADED or len(copies) < 2:
            continue
        winner, told = _winner(original, copies)
        kept = 0
        for cell in copies:
            if cell is winner:
                continue
            if _same(cell.text, original) or _plain(cell.text) == _plain(winner.text) or not cell.text.strip():
                dropped.add(id(cell))
            else:
                cell.original, kept = None, kept + 1
        rest = f"; {_count(kept, 'other version')} kept as plain" if kept else ""
        repairs.append(f"{original.id}: was there {len(copies)} times; {told} counts{rest}.")
    return [cell for cell in cells if id(cell) not in dropped]


def _winner(original: Original, copies: list[_Cell]) -> tuple[_Cell, str]:
    """Which copy counts, and in words.

    A solution or answer: the last one that was worked on, which is the one that holds when the notebook is run from
    top to bottom. Earlier versions still run, so a right one stays in force if the last does not even parse. A test:
    the last that reads as released, so that the student's work is done before it. A read-only cell: the first.
    """
    if original.role == "readonly":
        return copies[0], "the first"
    if original.role == "test":
        unedited = [cell for cell in copies if _same(cell.text, original)]
        return (unedited or copies)[-1], "the last"
    attempted = [cell for cell in copies if cell.text.strip() and not _same(cell.text, original)]
    if not attempted:
        return copies[0], "the first"
    winner = attempted.pop()
    while attempted and _plain(attempted[-1].text) == _plain(winner.text):  # a mere copy: the work was done further up
        winner = attempted.pop()
    return winner, "the last that was worked on"


def _restore_missing(template: Template, cells: list[_Cell], repairs: list[str]) -> None:
    """Put deleted cells back: after the cell they follow in the original, and after what the student added there."""
    for position, original in enumerate(template.originals):
        if original.role not in GRADED or any(cell.original is original for cell in cells):
            continue
        before = [o.id for o in template.originals[:position]]
        known = [i for i, cell in enumerate(cells) if cell.original is not None and cell.original.id in before]
        nearest = [i for i in known if cells[i].original.id == _last_present(before, cells)]  # type: ignore[union-attr]
        place = nearest[-1] + 1 if nearest else 0
        while original.role == "test" and place < len(cells) and cells[place].original is None:
            place += 1
        text = original.text if original.role in LOCKED else original.released
        cells.insert(place, _Cell(original.cell_type, text, original=original))
        what = "put back" if original.role in LOCKED else "put back as released: not attempted"
        repairs.append(f"{original.id}: was deleted; {what}.")


def _last_present(ids: list[str], cells: list[_Cell]) -> str:
    present = {cell.original.id for cell in cells if cell.original is not None}
    return next((id for id in reversed(ids) if id in present), "")


def _tests_after_solutions(template: Template, cells: list[_Cell], repairs: list[str]) -> None:
    """A test that was moved above the solution it is about would find nothing there: move it below."""
    for test, solutions in template.needs().items():
        place = {cell.original.id: i for i, cell in enumerate(cells) if cell.original is not None}
        last = max((place[id] for id in solutions if id in place), default=-1)
        if test in place and place[test] < last:
            cells.insert(last, cells.pop(place[test]))
            repairs.append(f"{test}: stood above its solution; it is run below it.")


def _write(template: Template, cells: list[_Cell], repairs: list[str]) -> Repaired:
    make = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}
    notebook = new_notebook(metadata=copy.deepcopy(template.metadata))
    notebook.nbformat_minor = 5
    skip: set[str] = set()
    taken = {original.id for original in template.originals}
    used: set[str] = set()
    for number, cell in enumerate(cells, 1):
        original = cell.original
        if original is not None and original.id not in used:
            id, metadata = original.id, copy.deepcopy(original.metadata)
        else:
            id, metadata = _new_id(number, taken), from_dict({})
        used.add(id)
        graded = original is not None and original.role in GRADED
        kind = original.cell_type if original is not None and graded else cell.cell_type
        text = original.text if original is not None and original.role in LOCKED else cell.text
        written = make[kind](text, id=id, metadata=metadata)
        if cell.attachments and kind != "code":
            written.attachments = from_dict(cell.attachments)
        if original is not None and original.role == "demo" and _same(cell.text, original):
            skip.add(id)
        notebook.cells.append(written)
    return Repaired(notebook, repairs, frozenset(skip))


def _new_id(number: int, taken: set[str]) -> str:
    id = f"own-{number}"
    while id in taken:
        id += "x"
    return id


def _count(number: int, noun: str) -> str:
    plural = {"entry": "entries"}.get(noun, noun + "s")
    return f"{number} {noun if number == 1 else plural}"
