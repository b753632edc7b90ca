"""Measure how each part's costs grow with the work: at 1 ×, 10 × and 100 ×, with slope and picture.

A part takes part by what its module offers, see `Growing`. A slope is told twice: fitted through all amounts of work,
and over the last step alone, where what a start costs once weighs least; the steeper one is judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import getmodule
from typing import Protocol, cast

from benchmarks.loglog import Curve, picture, slope
from benchmarks.size import Size
from benchmarks.table import EXPLAINED, MET, MISSED, Line, Picture, Table

SCALES = {Size.QUICK: (1, 10), Size.NORMAL: (1, 10, 100), Size.LONG: (1, 10, 100)}

MOST = 1.1
"""The steepest slope that counts as linear: 100 times the work at 158 times the cost."""

LEVEL = 0.1
"""The steepest slope that counts as constant: 100 times the work at 1.6 times the cost."""

PREFIX = "growth-"


class Growing(Protocol):
    """What a part's module offers.

    `GROWS` says what 1 × of the work is. `grow(scale)` does `scale` times that, and returns its costs by name, with the
    unit in the name; the same names at every scale. A module may have `GROWTH_NOTES` too: by the name of a cost, why it
    grows faster than the work. What is explained there isn't missed.
    """

    GROWS: str

    def grow(self, scale: int) -> Mapping[str, float]:
        """Do the work and return its costs."""


Measure = Callable[[Size], list[Table]]


def growing(parts: Mapping[str, Measure]) -> dict[str, Measure]:
    """Return a part `growth-NAME` for each of those whose module can grow."""
    modules: dict[object, str] = {}
    for name, measure in parts.items():  # where several parts are of one module, it grows under the first one's name
        modules.setdefault(getmodule(measure), name)
    return {
        PREFIX + name: partial(measure_growth, name, cast("Growing", module))
        for module, name in modules.items()
        if hasattr(module, "grow")
    }


def measure_growth(name: str, module: Growing, size: Size) -> list[Table]:
    """Measure one part at each scale (`quick`: 1 × and 10 ×)."""
    scales = SCALES[size]
    runs = [module.grow(scale) for scale in scales]
    notes: Mapping[str, str] = getattr(module, "GROWTH_NOTES", {})
    return [tabled(name, module.GROWS, scales, {cost: [run[cost] for run in runs] for cost in runs[0]}, notes)]


def tabled(
    name: str, work: str, scales: Sequence[int], costs: Mapping[str, Sequence[float]], notes: Mapping[str, str]
) -> Table:
    """Put a part's costs, by scale, into a table with a picture."""
    times = " · ".join(f"{scale} ×" for scale in scales)
    table = Table(
        f"growth of {name}",
        f"1 × is {work}; each cost at {times}, and its slope in a log-log picture, fitted and over the last step",
    )
    curves = []
    for cost, values in costs.items():
        fitted, last = slope(scales, values), slope(scales[-2:], values[-2:])
        shown = f"{cost}: {' · '.join(map(number, values))}"
        if math.isnan(fitted):
            table.fact(shown, "no slope")
            continue
        steepest = max(fitted, last)
        verdict = MET if steepest <= MOST else EXPLAINED if cost in notes else MISSED
        table.lines.append(Line(shown, f"{_two(fitted)}, {_two(last)}: {shape(steepest)}", f"≤ {MOST:g}", verdict))
        curves.append(Curve(cost, f"{number(values[0])} → {number(values[-1])}, slope {_two(fitted)}", values))
        if verdict == EXPLAINED:
            table.fact(f"… {notes[cost]}", "")
    if curves:
        title = f"{name}: cost by work"
        told = f"{title}, both logarithmic, beside a line of slope 1; the table has the figures"
        table.picture = Picture(f"{PREFIX}{name}.svg", told, picture(title, work, scales, curves))
    return table


def shape(steepest: float) -> str:
    """Name a slope."""
    if steepest < -LEVEL:
        return "falls"
    if steepest <= LEVEL:
        return "constant"
    return "less than linear" if steepest < 2 - MOST else "linear" if steepest <= MOST else "worse than linear"


def number(value: float) -> str:
    """Write a cost with three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(2 - math.floor(math.log10(abs(value))), 0)}f}"


def _two(steep: float) -> str:
    return f"{round(steep, 2) + 0.0:.2f}"  # never -0.00
