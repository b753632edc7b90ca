"""Draw small charts as SVG: values in, text out, nothing else read or kept.

Every chart is one picture to a screen reader (`role="img"` with a title and a sentence that says what is to be seen);
whoever shows one puts its values beside it, in a table or a sentence. Colours are CSS variables with fallbacks that
can be told apart by the colour-blind and stand out from white by 3 : 1 at least; what matters has a pattern too.
Nothing is styled by `style=`, so a page may forbid that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from paceline.markup import Markup, escaped

WIDE, NARROW = 720, 360
"""Widths to draw for, in CSS pixels: letters are 12 px high where a chart is shown at the width it was drawn for."""

_LETTER = 6.6
"""The mean width of a letter of 12 px, for room that has to be kept free."""


class Tone(StrEnum):
    """What a colour stands for. The page sets `--pl-TONE`; the fallbacks are for a light ground."""

    GOOD = "good"  # succeeded
    BAD = "bad"  # failed
    OFF = "off"  # cancelled, skipped
    BUSY = "busy"  # on its way
    WAIT = "wait"  # not begun
    HELD = "held"  # a person must decide


_COLOURS = {
    Tone.GOOD: "#0b6e4f",
    Tone.BAD: "#c2410c",
    Tone.OFF: "#6b7280",
    Tone.BUSY: "#1d6fb8",
    Tone.WAIT: "#7d8794",
    Tone.HELD: "#8e3b8e",
}

_PATTERNS = {
    Tone.BAD: (45, "M0 0V6"),
    Tone.OFF: (0, "M1 1h1M4 4h1"),
    Tone.HELD: (0, "M0 0V6M0 0H6"),
}
"""For tones that must not be mistaken: how far the pattern is turned, and its strokes in a square of 6."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a chart is called. `name` is its id in the page (letters, digits, dashes); `text` says what it shows."""

    name: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a whole."""

    label: str
    value: float
    tone: Tone


@dataclass(frozen=True, slots=True)
class Series:
    """Values over time, one for each interval."""

    label: str
    tone: Tone
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Row:
    """A bar of a list; `text` is its value as it is to be read."""

    label: str
    value: float
    text: str
    tone: Tone = Tone.BUSY


def over_time(
    words: Words,
    series: Sequence[Series],
    ticks: Sequence[tuple[float, str]],
    *,
    allowed: Sequence[float | None] = (),
    allowed_label: str = "allowed",
    width: int = WIDE,
    height: int = 220,
) -> Markup:
    """Draw bars side by side in time, several series on top of each other, and a line for what was allowed.

    All series are equally long; `ticks` are (position from 0 to 1, text) below. `allowed` has a value for each
    interval, None where it isn't known.
    """
    count = max((len(one.values) for one in series), default=0)
    tallest = max((sum(one.values[at] for one in series) for at in range(count)), default=0.0)
    top, step = scale(max([tallest, *(one for one in allowed if one is not None)], default=0.0))
    left, upper, lower = 14 + _LETTER * max(len(_number(top)), len(_number(step))), 26.0, height - 24.0
    room, tall = width - left - 6, lower - upper
    body = [_levels(left, width - 6, upper, lower, top, step)]
    slot = room / max(count, 1)
    gap = min(slot * 0.2, 3.0)
    for at in range(count):
        foot = lower
        for one in series:
            high = tall * one.values[at] / top
            if high > 0:
                foot -= high
                body.append(_rect(words, one.tone, left + slot * at + gap / 2, foot, slot - gap, high))
    body.append(_limit(allowed, left, slot, lower, tall / top))
    body += [_tick(left, room, share, text, height - 6, width) for share, text in ticks]
    shown = [(one.label, one.tone) for one in series]
    body.append(_legend(words, shown, allowed_label if any(one is not None for one in allowed) else "", left))
    return _svg(words, width, height, body, {one.tone for one in series})


def stacked_bar(words: Words, parts: Sequence[Part], *, width: int = WIDE, height: int = 28) -> Markup:
    """Draw how a whole is made up, as one bar. Parts of nothing are left out, small ones are never invisible."""
    present = [part for part in parts if part.value > 0]
    least = 3.0
    spare = width - least * len(present)
    total = sum(part.value for part in present)
    body, at = [], 0.0
    for part in present:
        wide = least + spare * part.value / total
        body.append(
            _rect(words, part.tone, at, 0, max(wide - 1, 1), height, title=f"{part.label}: {_number(part.value)}")
        )
        at += wide
    if not present:
        body.append(f'<rect x="0" y="0" width="{width}" height="{height}" fill="var(--pl-line, #d5d9df)"/>')
    return _svg(words, width, height, body, {part.tone for part in present})


def histogram(
    words: Words,
    bins: Sequence[tuple[str, int]],
    *,
    marks: Sequence[tuple[float, str]] = (),
    tone: Tone = Tone.BUSY,
    width: int = WIDE,
    height: int = 200,
) -> Markup:
    """Draw how many fell into each bin; `marks` are (position in bins from the left, text), as for a median."""
    top, step = scale(max((number for _, number in bins), default=0))
    left, lower = 14 + _LETTER * max(len(_number(top)), len(_number(step))), height - 24.0
    upper = 10.0 + 15 * len(marks)
    room, tall = width - left - 6, lower - upper
    slot = room / max(len(bins), 1)
    body = [_levels(left, width - 6, upper, lower, top, step)]
    every = max(1, math.ceil(max((len(label) for label, _ in bins), default=0) * _LETTER / slot + 0.3))
    for at, (label, number) in enumerate(bins):
        high = tall * number / top
        if number:
            body.append(_rect(words, tone, left + slot * at + 1, lower - high, max(slot - 2, 1), high))
        if at % every == 0:
            body.append(_tick(left, room, (at + 0.5) / len(bins), label, height - 6, width))
    for row, (place, text) in enumerate(marks):
        x, y = left + slot * place, 14.0 + 15 * row
        late = x > left + room * 0.6
        body.append(
            f'<path d="M{_at(x)} {_at(y - 10)}V{_at(lower)}" stroke="var(--pl-ink, #1f2733)" stroke-width="1.5"'
            ' stroke-dasharray="4 3" fill="none"/>'
        )
        body.append(_text(x - 5 if late else x + 5, y, text, "end" if late else "start"))
    return _svg(words, width, height, body, {tone})


def bar_list(words: Words, rows: Sequence[Row], *, width: int = WIDE) -> Markup:
    """Draw a bar for each row below the other, with label and value above it, so that long labels have room."""
    most = max((row.value for row in rows), default=0.0) or 1.0
    tall, body = 36, []
    for at, row in enumerate(rows):
        y = at * tall
        fits = max(int((width - _LETTER * (len(row.text) + 3)) / _LETTER), 1)
        body.append(_text(0, y + 12, row.label if len(row.label) <= fits else row.label[: fits - 1] + "…", "start"))
        body.append(_text(width, y + 12, row.text, "end"))
        body.append(f'<rect x="0" y="{y + 18}" width="{width}" height="9" fill="var(--pl-line, #d5d9df)"/>')
        if row.value > 0:
            body.append(_rect(words, row.tone, 0, y + 18, max(width * row.value / most, 2), 9))
    return _svg(words, width, max(tall * len(rows), 1), body, {row.tone for row in rows})


def swatch(name: str, tone: Tone) -> Markup:
    """Draw a tone as the key to a chart, for a list or table beside it; hidden from screen readers, which get words."""
    words = Words(f"{name}-{tone}-key", "", "")
    inside = _pattern(words, tone) if tone in _PATTERNS else ""
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" aria-hidden="true" viewBox="0 0 12 12" width="12" height="12"'
        f' class="pl-key">{inside}{_rect(words, tone, 0, 0, 12, 12)}</svg>'
    )


def scale(most: float) -> tuple[float, float]:
    """Return where an axis ends that shows values up to `most`, and its step: 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1.0, 1.0
    rough = most / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough * 0.999)
    step = max(step, 1.0) if most >= 2 else step
    return step * math.ceil(most / step - 1e-9), step


def _svg(words: Words, width: float, height: float, body: Sequence[str], tones: set[Tone]) -> Markup:
    name = escaped(words.name)
    patterns = "".join(_pattern(words, tone) for tone in Tone if tone in tones and tone in _PATTERNS)
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="{name}-t {name}-d"'
        f' viewBox="0 0 {_at(width)} {_at(height)}" width="{_at(width)}" height="{_at(height)}" class="pl-chart"'
        ' font-family="system-ui, sans-serif" font-size="12">'
        f'<title id="{name}-t">{escaped(words.title)}</title><desc id="{name}-d">{escaped(words.text)}</desc>'
        f"{f'<defs>{patterns}</defs>' if patterns else ''}{''.join(body)}</svg>"
    )


def _pattern(words: Words, tone: Tone) -> str:
    turned, strokes = _PATTERNS[tone]
    return (
        f'<pattern id="{escaped(words.name)}-{tone}" width="6" height="6" patternUnits="userSpaceOnUse"'
        f' patternTransform="rotate({turned})"><rect width="6" height="6" fill="{_colour(tone)}"/>'
        f'<path d="{strokes}" stroke="var(--pl-ground, #ffffff)" stroke-width="1.6" fill="none"/></pattern>'
    )


def _colour(tone: Tone) -> str:
    return f"var(--pl-{tone}, {_COLOURS[tone]})"


def _rect(words: Words, tone: Tone, x: float, y: float, wide: float, high: float, *, title: str = "") -> str:
    fill = f"url(#{escaped(words.name)}-{tone})" if tone in _PATTERNS else _colour(tone)
    shape = (
        f'<rect x="{_at(x)}" y="{_at(y)}" width="{_at(max(wide, 0.5))}" height="{_at(max(high, 0.5))}" fill="{fill}"'
    )
    return f"{shape}><title>{escaped(title)}</title></rect>" if title else f"{shape}/>"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{_at(x)}" y="{_at(y)}" text-anchor="{anchor}" fill="var(--pl-ink, #1f2733)">{escaped(text)}</text>'
    )


def _levels(left: float, right: float, upper: float, lower: float, top: float, step: float) -> str:
    """Draw the lines across, with their values."""
    drawn = []
    for number in range(round(top / step) + 1):
        y = lower - (lower - upper) * number * step / top
        drawn.append(
            f'<path d="M{_at(left)} {_at(y)}H{_at(right)}" stroke="var(--pl-line, #d5d9df)" fill="none"/>'
            + _text(left - 6, y + 4, _number(number * step), "end")
        )
    return "".join(drawn)


def _limit(allowed: Sequence[float | None], left: float, slot: float, lower: float, per_unit: float) -> str:
    """Draw what was allowed as a line of steps, broken where it isn't known."""
    path, pen_down = "", False
    for at, value in enumerate(allowed):
        if value is None:
            pen_down = False
            continue
        y = lower - value * per_unit
        path += f"{'L' if pen_down else 'M'}{_at(left + slot * at)} {_at(y)}H{_at(left + slot * (at + 1))}"
        pen_down = True
    line = f'stroke="var(--pl-ink, #1f2733)" {_DASHES}'
    return f'<path d="{path}" {line}/>' if path else ""


_DASHES = 'stroke-width="2" stroke-dasharray="7 4" fill="none"'


def _tick(left: float, room: float, share: float, text: str, y: float, width: float) -> str:
    """Write a text below the axis, kept within the picture."""
    half = len(text) * _LETTER / 2
    x = min(max(left + room * share, half), width - half)
    return _text(x, y, text, "middle")


def _legend(words: Words, shown: Sequence[tuple[str, Tone]], allowed: str, x: float) -> str:
    drawn = []
    for label, tone in shown:
        drawn += [_rect(words, tone, x, 4, 12, 12), _text(x + 17, 14, label, "start")]
        x += 33 + _LETTER * len(label)
    if allowed:
        drawn.append(f'<path d="M{_at(x)} 10h24" stroke="var(--pl-ink, #1f2733)" {_DASHES}/>')
        drawn.append(_text(x + 29, 14, allowed, "start"))
    return "".join(drawn)


def _at(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _number(value: float) -> str:
    """Write a value of an axis."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")
