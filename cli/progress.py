"""Show how a batch goes on: a live panel on a terminal, a plain line now and then elsewhere. Always on stderr."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from paceline.limiter import PaceView
from paceline.wording import amount
from paceline.wording import duration as duration

PLAIN_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is to show: the batch's summary, its account's pace, what it waits for (None: nothing special)."""

    summary: dict[str, Any]
    pace: PaceView
    planning: bool
    waiting_for: str | None


class Progress(Protocol):
    """Something that shows moments."""

    def show(self, moment: Moment) -> None:
        """Show a moment; may leave it out if the last one was just shown."""

    def say(self, text: str) -> None:
        """Say something that there is no moment for."""

    def close(self) -> None:
        """Leave the screen as it should stay."""


def per_minute(pace: PaceView) -> str:
    """Write the pace now against the pace allowed, per window as the limit is written."""
    limit = pace.learned if pace.learned is not None else pace.rate.limit
    return f"{min(pace.used, limit)}/{limit} in {pace.rate.window_s:g} s"


def in_flight(summary: dict[str, Any]) -> int:
    """Count the submissions that a provider is busy with, as far as we know."""
    states = summary["submissions"]
    return int(states["submitting"] + states["uncertain"] + states["running"])


def plain_line(moment: Moment) -> str:
    """Write a moment as one line."""
    summary = moment.summary
    files, states = summary["files"], summary["submissions"]
    done = files["total"] - files["pending"]
    parts = [
        f"{done:,}/{files['total']:,}{'+' if moment.planning else ''} files",
        f"{states['exported']:,}/{states['total']:,}{'+' if moment.planning else ''} submissions",
        f"{in_flight(summary):,} in flight",
        f"pace {per_minute(moment.pace)}",
    ]
    if files["failed"]:
        parts.append(f"{files['failed']} failed")
    if states["held"]:
        parts.append(f"{states['held']} held")
    if summary["credits"] is not None:
        parts.append(f"{amount(summary['credits'])} credits")
    if summary["eta_seconds"]:
        parts.append(f"about {duration(summary['eta_seconds'])} left")
    if moment.waiting_for:
        parts.append(moment.waiting_for)
    return " · ".join(parts)


class PlainProgress:
    """A line every few seconds, and whenever what it waits for changes; `label` is put before it."""

    def __init__(self, every_s: float = PLAIN_EVERY_S) -> None:
        import click

        self._echo = click.echo
        self._every_s = every_s
        self._shown_at = 0.0
        self._waiting_for: str | None = None
        self._line = ""
        self.label = ""

    def show(self, moment: Moment) -> None:
        """Write a line, if it is time."""
        now = time.monotonic()
        why = _without_numbers(moment.waiting_for)
        if now - self._shown_at < self._every_s and why == self._waiting_for:
            return
        line = f"{self.label}: {plain_line(moment)}" if self.label else plain_line(moment)
        self._shown_at, self._waiting_for = now, why
        if line != self._line:
            self._line = line
            self._echo(line, err=True)

    def say(self, text: str) -> None:
        """Write a line, if it is time or something new."""
        now = time.monotonic()
        why = _without_numbers(text)
        if now - self._shown_at < self._every_s and why == self._waiting_for:
            return
        self._shown_at, self._waiting_for = now, why
        self._echo(text, err=True)

    def close(self) -> None:
        """Nothing to restore."""


def _without_numbers(text: str | None) -> str | None:
    """Leave out what counts down: only another reason is worth a line of its own."""
    return re.sub(r"\d+", "", text) if text else None


class LiveProgress:
    """A panel that updates in place, from the first thing it shows: who made it can close it by then."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._title = title
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)

    def show(self, moment: Moment) -> None:
        """Draw the panel anew."""
        self._draw(panel(self._title, moment))

    def say(self, text: str) -> None:
        """Show a sentence in the panel's place."""
        from rich.text import Text

        self._draw(Text(text, style="yellow"))

    def close(self) -> None:
        """Remove the panel: what stays is the closing summary."""
        stop_live(self._live)

    def _draw(self, what: Any) -> None:
        self._live.start()  # which hides the cursor, the first time
        self._live.update(what)


def stop_live(live: Any) -> None:
    """End a Rich display and show the cursor again, even where Ctrl-C came while it was being set up."""
    try:
        with suppress(IndexError):  # it takes away what it may not have got to putting there
            live.stop()
    finally:
        live.console.show_cursor(True)


def panel(title: str, moment: Moment) -> Any:
    """Draw a moment of one batch, as Rich shows it."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    summary = moment.summary
    files, states = summary["files"], summary["submissions"]
    done = files["total"] - files["pending"]
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    share = f"{done:,} of {files['total']:,}{'+' if moment.planning else ''} files"
    head.add_row(ProgressBar(total=max(files["total"], 1), completed=done), share)
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column()
    shown = [f"{number:,} {state}" for state, number in states.items() if state != "total" and number]
    rows.add_row("submissions", " · ".join(shown) or "none yet")
    rows.add_row("pace", f"{per_minute(moment.pace)} allowed" + (" (learned)" if moment.pace.learned else ""))
    rows.add_row("in flight", f"{in_flight(summary):,}")
    left = f" · about {duration(summary['eta_seconds'])} left" if summary["eta_seconds"] else ""
    rows.add_row("time", f"{duration(summary['seconds'])} gone{left}")
    if summary["credits"] is not None:
        rows.add_row("credits", amount(summary["credits"]))
    failed = files["failed"] + files["cancelled"]
    if failed or files["skipped"]:
        rows.add_row("not done", f"{failed:,} failed · {files['skipped']:,} skipped")
    body: list[Any] = [head, rows]
    if moment.waiting_for:
        body.append(Text(moment.waiting_for, style="yellow"))
    return Panel(Group(*body), title=Text(title), title_align="left", border_style="cyan")


def open_progress(title: str) -> Progress:
    """Return what fits stderr: live on a terminal, plain elsewhere."""
    import os
    import sys

    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return LiveProgress(title)
    return PlainProgress()
