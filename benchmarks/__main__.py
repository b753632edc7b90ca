"""Runs the measurements: ``python -m benchmarks [PART …] [--quick | --long] [--write]``, or ``make bench``.

Every ratio is of two things measured in the same run, so that tables of different machines can be compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    engine,
    finishing,
    following,
    growth,
    known,
    million,
    pace,
    packing,
    pages,
    plan,
    primary,
    report,
    split,
    start,
    uploads,
)
from benchmarks.results import Section, machine, write_results
from benchmarks.size import Size
from benchmarks.table import Table, as_text

PARTS: Mapping[str, Callable[[Size], list[Table]]] = {
    "pace": pace.measure,
    "pace-fast": pace.measure_fast,
    "following": following.measure,
    "planning": plan.measure,
    "packing": packing.measure,
    "upload": uploads.measure,
    "engine": engine.measure,
    "primary": primary.measure,
    "split": split.measure,
    "million": million.measure,
    "finishing": finishing.measure,
    "known": known.measure,
    "pages": pages.measure,
    "report": report.measure,
    "start": start.measure,
}

ALL: Mapping[str, Callable[[Size], list[Table]]] = {**PARTS, **growth.growing(PARTS)}

GROWTH = "growth"

RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: list[str]) -> int:
    """Measure what was asked for and print it; return 1 if a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(ALL)}; growth: all of that; default: all"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--long", action="store_true", help="with the measurements that take minutes")
    parser.add_argument("--write", action="store_true", help=f"keep tables and pictures in and beside {RESULTS.name}")
    parser.add_argument(
        "--typed", metavar="COMMAND", help="what was typed, where that calls this; kept with the tables"
    )
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.parts) - {*ALL, GROWTH})
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(ALL)}, and {GROWTH} for all of its own")
    size = Size.QUICK if chosen.quick else Size.LONG if chosen.long else Size.NORMAL
    typed = chosen.typed or " ".join(["python -m benchmarks", *arguments])
    print(machine(), flush=True)
    missed = 0
    for name in named(chosen.parts):
        begun, load = time.monotonic(), machine()
        tables = ALL[name](size)
        missed += sum(table.missed for table in tables)
        print(
            "\n" + "\n\n".join(as_text(table) for table in tables) + f"\n  ({time.monotonic() - begun:.0f} s)",
            flush=True,
        )
        if chosen.write:
            write_results(RESULTS, Section(name, typed, load, tables), order=list(ALL))
    return 1 if missed else 0


def named(parts: Sequence[str]) -> list[str]:
    """Return the parts that are meant, each once; all of them where none is named."""
    grown = [name for name in ALL if name.startswith(growth.PREFIX)]
    meant = [name for part in parts for name in (grown if part == GROWTH else [part])]
    return list(dict.fromkeys(meant)) or list(ALL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
