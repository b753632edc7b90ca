"""Draw how costs grow with the work as a log-log picture: an SVG that stands alone, for light and dark pages.

Every cost is drawn as a multiple of what it was for the least work, so that seconds, bytes and requests share one axis
and all curves begin in one point: what is linear runs beside the faint line, what is constant stays level.
`paceline/charts.py` draws for pages that bring their colours; a picture in a Markdown page has to bring its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from paceline.markup import Markup, escaped

WIDTH = 980
LEFT, RIGHT, UPPER, LABELS = 72.0, 452.0, 34.0, 478.0
"""Where the axes and the column of labels stand, in pixels; letters are 12 px high."""

LINE = 17.0
"""Between two labels."""

FITS = 67
"""Letters of a label, at 7.2 px each."""

_COLOURS = (
    ("#0b6e4f", "#4cc38a"),
    ("#c2410c", "#ff9a6b"),
    ("#1d6fb8", "#6cb6ff"),
    ("#8e3b8e", "#dba2e8"),
    ("#8a6100", "#e3b341"),
    ("#57606a", "#a8b3bf"),
    ("#b0195b", "#ff8ab5"),
    ("#00737f", "#56c7d3"),
)
"""On white and on black: each stands out by 4.5 : 1 at least."""

_DASHES = ("", "7 3", "2 3", "9 3 2 3")
"""Curves of neighbouring colours differ in their dashes and marks too."""

_MARKS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
    "M-3.6 -3.6h7.2v7.2h-7.2Z",
    "M0 -4.6L4.4 3.4H-4.4Z",
    "M0 -5L5 0L0 5L-5 0Z",
)


@dataclass(frozen=True, slots=True)
class Curve:
    """A cost by the work. `values` belong to the picture's scales and are above 0; `told` stands behind its name."""

    name: str
    told: str
    values: Sequence[float]

    def label(self, most: int) -> str:
        """Name the curve in up to `most` letters: where that isn't enough, the name is cut."""
        return f"{_cut(self.name, max(most - len(self.told) - 2, 1))}: {self.told}"


def slope(scales: Sequence[float], values: Sequence[float]) -> float:
    """Return the least-squares slope of log cost over log work: 1 linear, 0 constant, 2 quadratic.

    NaN where it has no meaning: fewer than two scales, or a value that isn't above 0.
    """
    if len(scales) < 2 or min(values) <= 0:
        return math.nan
    across, up = [math.log(scale) for scale in scales], [math.log(value) for value in values]
    mean_x, mean_y = sum(across) / len(across), sum(up) / len(up)
    spread = sum((x - mean_x) ** 2 for x in across)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(across, up, strict=True)) / spread


def picture(title: str, work: str, scales: Sequence[float], curves: Sequence[Curve]) -> Markup:
    """Draw the curves. `work` says what 1 × is; the scales go up, and the curves' values are above 0."""
    height = max(400.0, UPPER + LINE * (len(curves) + 1) + 60)
    frame = _Frame(scales, curves, lower=height - 52)
    body = [frame.grid(), frame.line_of_slope_1(), *frame.words(work, height)]
    ends = sorted(range(len(curves)), key=lambda at: -curves[at].values[-1] / curves[at].values[0])
    heights = _apart([frame.y(curves[at].values[-1] / curves[at].values[0]) for at in ends], frame.lower)
    for at, y in zip(ends, heights, strict=True):
        body.append(frame.curve(curves[at], at, y))
    told = "; ".join(f"{curve.name}: {curve.told}" for curve in curves)
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="t d" viewBox="0 0 {WIDTH} {_at(height)}"'
        f' width="{WIDTH}" height="{_at(height)}" font-family="system-ui, sans-serif" font-size="12">'
        f'<title id="t">{escaped(title)}</title><desc id="d">{escaped(told)}</desc><style>{_style()}</style>'
        f'<rect class="ground" width="{WIDTH}" height="{_at(height)}"/>'
        f'<text class="ink" x="{_at(LEFT)}" y="18" font-weight="600">{escaped(title)}</text>{"".join(body)}</svg>\n'
    )


class _Frame:
    """Where things stand in the picture."""

    def __init__(self, scales: Sequence[float], curves: Sequence[Curve], *, lower: float) -> None:
        self._scales = scales
        self._most_x = math.log10(scales[-1] / scales[0]) or 1.0
        ratios = [value / curve.values[0] for curve in curves for value in curve.values]
        # Room a little beyond what there is; less than the line of slope 1 needs would make every slope look steep.
        self._top = math.log10(max([scales[-1] / scales[0], *ratios])) + 0.08
        self._foot = math.log10(min([1.0, *ratios])) - 0.2
        self.lower = lower

    def x(self, scale: float) -> float:
        """Place an amount of work."""
        return LEFT + (RIGHT - LEFT) * math.log10(scale / self._scales[0]) / self._most_x

    def y(self, ratio: float) -> float:
        """Place a cost, as a multiple of the first one."""
        return self.lower - (self.lower - UPPER) * (math.log10(ratio) - self._foot) / (self._top - self._foot)

    def grid(self) -> str:
        """Draw the lines at powers of ten, with their values, and faint ones at 2 and 5 times those."""
        drawn = []
        for power in range(math.floor(self._foot), math.ceil(self._top) + 1):
            for times in (1, 2, 5):
                if not self._foot <= math.log10(times * 10.0**power) <= self._top:
                    continue
                y = self.y(times * 10.0**power)
                drawn.append(
                    f'<path class="{"line" if times == 1 else "faint"}" d="M{_at(LEFT)} {_at(y)}H{_at(RIGHT)}"/>'
                )
                if times == 1:
                    drawn.append(_text(LEFT - 7, y + 4, f"{10.0**power:,g} ×", "end"))
        for scale in self._scales:
            x = self.x(scale)
            drawn.append(f'<path class="line" d="M{_at(x)} {_at(UPPER)}V{_at(self.lower)}"/>')
            drawn.append(_text(x, self.lower + 16, f"{scale:,g} ×", "middle"))
        return "".join(drawn)

    def line_of_slope_1(self) -> str:
        """Draw what linear growth looks like."""
        last, high = self._scales[-1], self.y(self._scales[-1] / self._scales[0])
        return f'<path class="one" d="M{_at(LEFT)} {_at(self.y(1))}L{_at(self.x(last))} {_at(high)}"/>'

    def words(self, work: str, height: float) -> list[str]:
        """Write what the axes show."""
        middle = (UPPER + self.lower) / 2
        return [
            _text(LEFT, height - 14, _cut(f"work (1 × = {work})", 120), "start"),
            f'<text class="ink" transform="translate(14 {_at(middle)}) rotate(-90)" text-anchor="middle">'
            "cost ÷ cost at 1 ×</text>",
            '<path class="one" d="M478 20h22"/>',
            _text(506, 24, "slope 1: twice the work costs twice as much", "start"),
        ]

    def curve(self, curve: Curve, at: int, label_y: float) -> str:
        """Draw a curve and its label, joined by a thin line."""
        colour, shape = at % len(_COLOURS), at + at // len(_COLOURS)
        dashes, mark = _DASHES[shape % len(_DASHES)], _MARKS[shape % len(_MARKS)]
        places = [
            (self.x(scale), self.y(value / curve.values[0]))
            for scale, value in zip(self._scales, curve.values, strict=True)
        ]
        path = "L".join(f"{_at(x)} {_at(y)}" for x, y in places)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        marks = "".join(
            f'<path class="m{colour}" transform="translate({_at(x)} {_at(y)})" d="{mark}"/>' for x, y in places
        )
        return (
            f'<path class="line" d="M{_at(RIGHT + 6)} {_at(places[-1][1])}L{_at(LABELS - 6)} {_at(label_y)}"/>'
            f'<path class="c{colour}"{dashed} d="M{path}"/>{marks}'
            f'<path class="m{colour}" transform="translate({_at(LABELS + 2)} {_at(label_y)})" d="{mark}"/>'
            + _text(LABELS + 12, label_y + 4, curve.label(FITS), "start")
        )


def _apart(wanted: Sequence[float], lowest: float) -> list[float]:
    """Move labels so that none covers another: from top to bottom as wanted, none below `lowest`."""
    placed: list[float] = []
    for y in wanted:
        placed.append(max(y, placed[-1] + LINE) if placed else max(y, UPPER + LINE))
    for at in range(len(placed) - 1, -1, -1):
        placed[at] = min(placed[at], lowest - LINE * (len(placed) - 1 - at))
    return placed


def _style() -> str:
    light = ".ground{fill:#fff}.ink{fill:#1f2733}.line{stroke:#c9ced6}.faint{stroke:#e4e7eb}.one{stroke:#7d8794}"
    dark = ".ground{fill:#0d1117}.ink{fill:#e6edf3}.line{stroke:#3d444d}.faint{stroke:#262c34}.one{stroke:#8b949e}"
    for at, (on_white, on_black) in enumerate(_COLOURS):
        light += f".c{at}{{stroke:{on_white}}}.m{at}{{fill:{on_white}}}"
        dark += f".c{at}{{stroke:{on_black}}}.m{at}{{fill:{on_black}}}"
    shapes = "[class^=c]{fill:none;stroke-width:2}.one{stroke-width:1.5;stroke-dasharray:1 4;stroke-linecap:round}"
    return f"{shapes}{light}@media (prefers-color-scheme:dark){{{dark}}}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="ink" x="{_at(x)}" y="{_at(y)}" text-anchor="{anchor}">{escaped(text)}</text>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _at(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
