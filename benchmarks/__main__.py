"""Runs the measurements: ``python -m benchmarks [PART …] [--quick | --long] [--write]``.

Every ratio is of two things measured in the same run, so that tables of different machines can be compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import engine, following, known, million, pace, packing, pages, plan, report, start, uploads
from benchmarks.results import Section, machine, write_results
from benchmarks.size import Size
from benchmarks.table import Table, as_text

PARTS: Mapping[str, Callable[[Size], list[Table]]] = {
    "pace": pace.measure,
    "following": following.measure,
    "planning": plan.measure,
    "packing": packing.measure,
    "upload": uploads.measure,
    "engine": engine.measure,
    "million": million.measure,
    "known": known.measure,
    "pages": pages.measure,
    "report": report.measure,
    "start": start.measure,
}

RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: list[str]) -> int:
    """Measure what was asked for and print it; return 1 if a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--long", action="store_true", help="with the measurements that take minutes")
    parser.add_argument("--write", action="store_true", help=f"keep the tables in {RESULTS.name}")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.parts) - set(PARTS))
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    size = Size.QUICK if chosen.quick else Size.LONG if chosen.long else Size.NORMAL
    print(machine(), flush=True)
    missed = 0
    for name in chosen.parts or PARTS:
        begun, load = time.monotonic(), machine()
        tables = PARTS[name](size)
        missed += sum(table.missed for table in tables)
        print(
            "\n" + "\n\n".join(as_text(table) for table in tables) + f"\n  ({time.monotonic() - begun:.0f} s)",
            flush=True,
        )
        if chosen.write:
            command = " ".join(["python -m benchmarks", name, *(["--long"] if chosen.long else [])])
            write_results(RESULTS, Section(name, command, load, tables), order=list(PARTS))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
