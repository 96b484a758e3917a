"""The table of an exercise, as plain text and as HTML. Works on the report, so a grader can show it anywhere."""

import textwrap
from html import escape
from typing import Any

WIDTH = 100
MARKS = {"passed": "ok", "wrong": "X", "crashed": "!!", "not attempted": "--"}


def points(value: float) -> str:
    return f"{value:g}"


def summary(report: dict[str, Any]) -> str:
    return f"{points(report['points'])} of {points(report['max'])} points"


def as_text(report: dict[str, Any]) -> str:
    """For terminals and log files; no escape sequences.

    fgsm                                      2 of 3 points
      ok   one step on real digits
      X    stays inside the eps-ball      got ..., expected ...
           hint
    """
    lines = [f"{report['exercise']:<{WIDTH - 20}}{summary(report):>20}"]
    if report["status"] == "not attempted":
        return "\n".join([*lines, "  --   not attempted yet"])
    for case in _without_repeats(report["cases"]):
        lines.append(f"  {MARKS[case['status']]:<4} {case['title']}")
        for text in (_verdict(case), case["hint"]):
            lines += textwrap.wrap(text, WIDTH, initial_indent=" " * 7, subsequent_indent=" " * 7)
    return "\n".join(lines)


def _without_repeats(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One error in all cases is told once."""
    seen: set[str] = set()
    short = []
    for case in cases:
        again = case["status"] == "crashed" and case["got"] in seen
        short.append({**case, "got": "the same error", "expected": "", "hint": ""} if again else case)
        seen.add(case["got"])
    return short


def _verdict(case: dict[str, Any]) -> str:
    if case["status"] in ("passed", "not attempted"):
        return ""
    got = case["got"] if case["status"] == "crashed" else f"got {case['got']}"
    return f"{got}; expected {case['expected']}" if case["expected"] else got


_ICONS = {
    "passed": ("✓", "#00694d", "passed"),
    "wrong": ("✗", "#b34700", "wrong"),
    "crashed": ("!", "#a3195b", "crashed"),
    "not attempted": ("–", "#555555", "not attempted"),
}


def as_html(report: dict[str, Any]) -> str:
    """For JupyterLab: a table that reads the same in its light and its dark theme, and to a screen reader."""
    if report["status"] == "not attempted":
        return f"<p><code>{escape(report['exercise'])}</code>: not attempted yet.</p>"
    rows = "".join(_row(case) for case in _without_repeats(report["cases"]))
    return (
        '<table style="width:100%;max-width:60em;border-collapse:collapse;text-align:left">'
        f'<caption style="text-align:left;padding:2px 0"><code>{escape(report["exercise"])}</code></caption>'
        f"<tbody>{rows}</tbody></table>"
    )


def _row(case: dict[str, Any]) -> str:
    icon, colour, word = _ICONS[case["status"]]
    cell = '<td style="text-align:left;vertical-align:top;white-space:normal;'
    detail = ""
    if case["status"] == "wrong":
        detail = f"<br>got <b>{escape(case['got'])}</b>"
    elif case["status"] == "crashed":
        detail = f"<br><b>{escape(case['got'])}</b>"
    if detail and case["expected"]:
        detail += f", expected <b>{escape(case['expected'])}</b>"
    if detail and case["hint"]:
        detail += f"<br><i>{escape(case['hint'])}</i>"
    return (
        f'<tr>{cell}width:2.2em"><span role="img" aria-label="{word}" style="display:inline-block;width:1.4em;'
        f'text-align:center;border-radius:3px;color:white;font-weight:bold;background:{colour}">{icon}</span></td>'
        f'{cell}">{escape(case["title"])}{detail}</td></tr>'
    )


def summary_html(report: dict[str, Any]) -> str:
    return f"<b>{escape(summary(report))}</b>"
