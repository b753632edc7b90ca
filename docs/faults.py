"""Holds the tables of faults in docs/reliability.md against the tests: each row names one that exists.

| fault | what happens, what the user sees | `tests/FILE.py::test_name`, … |
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

PAGE = "docs/reliability.md"

GROUPS = ("Processes", "Messages", "Redis", "Provider", "Files", "Sinks")
"""The headings that have a table."""

PENDING = "*pending*"
"""How the cell of a fault may begin that isn't tried yet: only while somebody is at it, for the check refuses it."""

_HEADING = re.compile(r"#{1,6} +(.+?) *$")
_TEST = re.compile(r"`(tests/[^`\s]+)`")


def wrong_rows(page: str, tests: Collection[str]) -> Iterator[tuple[int, str]]:
    """Find what is wrong with the tables: the line, from 1, and what it is. `tests` are those that exist."""
    group = ""
    rows = dict.fromkeys(GROUPS, 0)
    for number, line in enumerate(page.splitlines(), 1):
        if heading := _HEADING.match(line):
            group = heading[1]
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if group not in rows or not line.startswith("|") or set(line) <= set("|-: ") or cells[0] == "fault":
            continue
        rows[group] += 1
        yield from ((number, text) for text in _wrong_row(cells, tests))
    yield from ((1, f"no fault is listed under {name}") for name, times in rows.items() if not times)


def _wrong_row(cells: list[str], tests: Collection[str]) -> Iterator[str]:
    if len(cells) != 3 or not all(cells):
        yield "a row has a fault, what happens, and its test"
        return
    if cells[2].startswith(PENDING):
        yield f"{cells[0]!r} is pending"
        return
    named = _TEST.findall(cells[2])
    if not named:
        yield f"{cells[0]!r} names no test"
    for name in named:
        if re.sub(r"\[.*\]$", "", name) not in tests:
            yield f"there is no test {name}"


def test_names(root: Path) -> set[str]:
    """Collect the tests of a project as pytest names them, without parameters; a contract's by the contract."""
    found = set()
    paths = [path for form in ("test_*.py", "*_contract.py") for path in (root / "tests").rglob(form)]
    for path in sorted(paths):
        place = path.relative_to(root).as_posix()
        for node in ast.parse(path.read_bytes()).body:
            within = node.body if isinstance(node, ast.ClassDef) else [node]
            middle = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
            found |= {
                f"{place}::{middle}{one.name}"
                for one in within
                if isinstance(one, ast.FunctionDef) and one.name.startswith("test")
            }
    return found
