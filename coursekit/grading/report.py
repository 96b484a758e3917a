"""What an instructor reads: a table per student and question, and the same as JSON."""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

from coursekit.grading.score import printable

if TYPE_CHECKING:
    from coursekit.grading.results import Graded
    from coursekit.grading.score import Grade


def table(assignment: str, results: list[Graded]) -> str:
    """Every student's questions with points, status and reason, what was mended in the file, and a summary."""
    width = min(max(shutil.get_terminal_size((110, 24)).columns, 80), 160)
    blocks = [_student(result, width) for result in results]
    return "\n".join([*blocks, _summary(assignment, results)])


def _student(result: Graded, width: int) -> str:
    grades = result.all_grades()
    points = f"{total(grades)} of {number(sum(grade.max for grade in grades))} points"
    waiting = sum(grade.max for grade in grades if grade.status == "manual")
    points += f", {number(waiting)} more await a person" if waiting else ""
    head = printable(f"{result.student}  {points}").encode("utf-8", "replace").decode()
    lines = [head, "-" * min(width, len(head))]
    name = max([len(grade.id) for grade in grades] + [0])
    for grade in _told_once(grades):
        score = "-" if grade.score is None else number(grade.score)
        head = f"  {grade.id:<{name}}  {score:>5} / {number(grade.max):<4} {grade.status:<13}  "
        lines += wrap(head, "" if grade.reason == "not attempted yet" else grade.reason, width)
    for remark in result.remarks:
        lines += wrap("  * ", printable(remark), width)
    return "\n".join(lines) + "\n"


def _told_once(grades: list[Grade]) -> list[Grade]:
    """What is the same for all questions is one line, as for a file that is no notebook."""
    first = grades[0] if grades else None
    if first is None or first.status not in ("unreadable", "error") or len({(g.status, g.reason) for g in grades}) > 1:
        return grades
    return [replace(first, id="all questions", max=sum(grade.max for grade in grades))]


def _overview(results: list[Graded]) -> list[str]:
    """A line for every student: the class at a glance."""
    name = max(len(result.student) for result in results)
    lines = []
    for result in results:
        grades = result.all_grades()
        waiting = sum(grade.max for grade in grades if grade.status == "manual")
        line = (
            f"  {printable(result.student):<{name}}  {total(grades):>6} / {number(sum(grade.max for grade in grades))}"
        )
        lines.append(line + f"  {number(waiting)} await a person" * bool(waiting))
    return [line.encode("utf-8", "replace").decode() for line in lines]


def _summary(assignment: str, results: list[Graded]) -> str:
    failed = [result.student for result in results if any(grade.status == "error" for grade in result.all_grades())]
    waiting = sum(any(grade.status == "manual" for grade in result.all_grades()) for result in results)
    count = f"{len(results)} submission{'s' * (len(results) != 1)}"
    lines = [f"{assignment}: {count} graded" if not failed else f"{assignment}: {count}, not all of them graded"]
    if len(results) > 1:
        lines += _overview(results)
    if waiting:
        lines.append(
            f"{waiting} of them with answers that await a person: open formgrader (jupyter lab, menu nbgrader)."
        )
    if failed:
        lines.append(f"Something of ours failed for: {', '.join(failed)}. Nobody lost points by that; grade again.")
    return "\n".join(lines)


def as_json(results: list[Graded]) -> str:
    """{"<student>": {"<grade id>": {"score", "max", "status", "reason"}}}"""
    content = {result.student: {grade.id: grade.as_dict() for grade in result.all_grades()} for result in results}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def total(grades: list[Grade]) -> str:
    return number(sum(grade.score or 0.0 for grade in grades))


def number(value: float) -> str:
    """Points as people write them: 2, 2.5, 1.33."""
    return f"{round(value, 2):g}"


def wrap(head: str, text: str, width: int) -> list[str]:
    """A line with a head, its text continued below itself."""
    lines = textwrap.wrap(text, max(width - len(head), 30)) or [""]
    return [(head + lines[0]).rstrip(), *(" " * len(head) + line for line in lines[1:])]
