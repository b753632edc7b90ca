"""Holds the table of planted bugs in docs/reliability.md against the bugs that `make mutants` plants.

The table is written by `make mutants WRITE=1`, which takes minutes; so here it is only checked.

| planted bug | what it would do | file | `tests/FILE.py::test_name`, … | seconds |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator

from docs.faults import PAGE as PAGE

BLOCK = "mutants"

_WITHIN = re.compile(rf"^<!-- generated: {BLOCK} -->\n(.*?)^<!-- end: {BLOCK} -->", re.M | re.S)
_TEST = re.compile(r"`(tests/[^`\s]+)`")


def wrong_rows(page: str, mutants: Collection[str], tests: Collection[str]) -> Iterator[tuple[int, str]]:
    """Find what is wrong with the table: the line, from 1, and what it is. `tests` are those that exist."""
    block = _WITHIN.search(page)
    if block is None:
        yield 1, f"there is no block {BLOCK!r}"
        return
    first = page.count("\n", 0, block.start(1)) + 1
    rows = Counter[str]()
    for number, line in enumerate(block[1].splitlines(), first):
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if not line.startswith("|") or set(line) <= set("|-: ") or cells[0] == "planted bug":
            continue
        rows[cells[0]] += 1
        if cells[0] not in mutants:
            yield number, f"{cells[0]!r} is planted no more; run: make mutants WRITE=1"
        if rows[cells[0]] > 1:
            yield number, f"{cells[0]!r} has two rows"
        named = _TEST.findall(line)
        if not named:
            yield number, f"{cells[0]!r} names no test that caught it"
        yield from ((number, f"there is no test {name}") for name in named if name not in tests)
    yield from (
        (first, f"the bug {name!r} has no row; run: make mutants WRITE=1") for name in mutants if name not in rows
    )
