"""Go on showing how batches stand, until none of them will change by itself.

On a terminal one batch is a panel and several are a table, drawn anew in place; elsewhere there is a line now and then,
or with `--json` one for each change. A Redis that goes away is waited for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from cli.lost import noticing_loss
from cli.progress import Moment, PlainProgress, duration, in_flight, panel, per_minute, stop_live
from cli.standing import NO_PACE, Standing, look, stays, title
from config.logs import printable
from config.services import Services
from paceline.model import batch_label
from paceline.pauses import find_pause
from paceline.views import BatchView

WATCH_S = 1.0

PATIENCE_S = 600.0
"""How long a Redis may be away; whoever works with the batch starts an embedded one again much sooner."""

_COLUMNS = (
    (45, ("batch", "done", "held")),
    (90, ("batch", "done", "files", "failed", "held")),
    (10_000, ("batch", "state", "", "files", "in flight", "failed", "held", "left")),
)
"""What the table has on terminals narrower than so many columns; the nameless one is a bar."""


class Screen(Protocol):
    """Something that shows how batches stand."""

    def show(self, services: Services, standings: Sequence[Standing]) -> None:
        """Show them; what hasn't changed may be left out."""

    def say(self, text: str) -> None:
        """Say something in their place."""

    def close(self) -> None:
        """Leave the screen as it should stay."""


def watch(services: Services, batch: BatchView | None, *, as_json: bool) -> list[str]:
    """Show one batch, or all that are open now or begin meanwhile, until no more will happen by itself.

    Returns the ids of what was shown, oldest first. Raises `LedgerLost` where a batch disappears, and what redis-py
    raises where the server stays away.
    """
    shown: dict[str, BatchView] = {} if batch is None else {batch.id: batch}
    screen = open_screen(as_json)
    away_since: float | None = None
    try:
        while True:
            try:
                if batch is None:
                    shown |= {one.id: one for one in services.views.batches() if not one.closed}
                standings = [_look(services, one) for one in shown.values()]
                if standings:
                    screen.show(services, standings)
                if all(stays(services, one) for one in standings):
                    return list(shown)
                away_since = None
            except (NoConnection, NoAnswer):
                away_since = away_since or time.monotonic()
                away_s = time.monotonic() - away_since
                if away_s > PATIENCE_S:
                    raise
                screen.say(f"Redis went away {duration(away_s)} ago; waiting for it")
            time.sleep(WATCH_S)
    finally:
        screen.close()


def _look(services: Services, batch: BatchView) -> Standing:
    with noticing_loss(batch):
        return look(services, services.views.batch(batch.id))


def open_screen(as_json: bool) -> Screen:
    """Return what fits: lines of JSON on stdout, a live screen on a terminal, plain lines on stderr elsewhere."""
    if as_json:
        return JsonScreen()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return LiveScreen()
    return PlainScreen()


class JsonScreen:
    """A line of JSON on stdout whenever a batch has changed: what `status BATCH --json` prints."""

    def __init__(self) -> None:
        import click

        self._echo = click.echo
        self._last: dict[str, Any] = {}

    def show(self, services: Services, standings: Sequence[Standing]) -> None:
        """Print what has changed; time that goes by is no change."""
        for one in standings:
            pause = find_pause(services.redis, one.batch)
            row = one.summary | ({"paused": pause.as_dict()} if pause else {})
            facts = {name: value for name, value in row.items() if name not in ("seconds", "eta_seconds")}
            if self._last.get(one.batch.id) != facts:
                self._last[one.batch.id] = facts
                self._echo(json.dumps(row))

    def say(self, text: str) -> None:
        """Say it on stderr, once."""
        if "away" not in self._last:
            self._last["away"] = text
            self._echo(text, err=True)

    def close(self) -> None:
        """Nothing to restore."""


class PlainScreen:
    """A line for each batch every few seconds, and whenever what it waits for changes; named, if there are several."""

    def __init__(self) -> None:
        self._lines: dict[str, PlainProgress] = {}
        self._said = PlainProgress()

    def show(self, services: Services, standings: Sequence[Standing]) -> None:
        """Write the lines that are due."""
        for one in standings:
            line = self._lines.setdefault(one.batch.id, PlainProgress())
            line.label = printable(batch_label(one.batch.name, one.batch.id)) if len(standings) > 1 else ""
            line.show(_moment(one))

    def say(self, text: str) -> None:
        """Write a line, if it is time or something new."""
        self._said.say(text)

    def close(self) -> None:
        """Nothing to restore."""


class LiveScreen:
    """A panel, or a table of several, redrawn in place, from the first thing shown on: its owner can close it then."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)

    def show(self, services: Services, standings: Sequence[Standing]) -> None:
        """Draw the screen anew."""
        size = self._console.size
        if len(standings) == 1:
            self._draw(panel(title(standings[0].batch), _moment(standings[0])))
        else:
            self._draw(table(standings, size.width, size.height))

    def say(self, text: str) -> None:
        """Show a sentence in its place."""
        from rich.text import Text

        self._draw(Text(text, style="yellow"))

    def close(self) -> None:
        """Remove it: what stays is the closing summary."""
        stop_live(self._live)

    def _draw(self, what: Any) -> None:
        self._live.start()  # which hides the cursor, the first time
        self._live.update(what)


def _moment(one: Standing) -> Moment:
    return Moment(one.summary, one.pace or NO_PACE, not one.batch.listed, one.why)


def table(standings: Sequence[Standing], width: int, height: int) -> Any:
    """Draw several batches as rows, and their accounts' pace below; what doesn't fit a terminal is counted."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    paces = {one.batch.account: one.pace for one in standings if one.pace is not None and not one.batch.closed}
    room = max(height - len(paces) - 6, 1)
    rows = sorted(standings, key=lambda one: one.batch.closed)[:room] if len(standings) > room else standings
    names = next((names for below, names in _COLUMNS if width < below), _COLUMNS[-1][1])
    drawn = Table(box=None, expand=True, padding=(0, 1), header_style="bold")
    for name in names:
        wide = {"batch": 3, "": 2}.get(name)
        drawn.add_column(
            name, ratio=wide, justify="left" if wide or name == "state" else "right", no_wrap=True, overflow="ellipsis"
        )
    for one in rows:
        cells = _cells(one, ProgressBar)
        drawn.add_row(*(cells[name] for name in names))
    below: list[Any] = []
    if len(rows) < len(standings):
        below.append(Text(f"… and {len(standings) - len(rows)} more", style="dim"))
    said = [(f"{printable(name)}: pace {per_minute(pace)} allowed", "dim") for name, pace in paces.items()]
    said += [(why, "yellow") for why in list(dict.fromkeys(one.why for one in rows if one.why))[:3]]
    below += [Text(text, style=style, no_wrap=True, overflow="ellipsis") for text, style in said]
    return Group(drawn, *below)


def _cells(one: Standing, bar: Any) -> dict[str, Any]:
    from rich.text import Text

    files, states = one.summary["files"], one.summary["submissions"]
    done, total = files["total"] - files["pending"], max(files["total"], 1)
    more = "" if one.batch.listed else "+"
    return {
        "batch": Text(printable(one.batch.name) or one.batch.id),
        "state": one.summary["state"],
        "": bar(total=total, completed=done),
        "done": f"{100 * done // total} %",
        "files": f"{done:,}/{files['total']:,}{more}",
        "in flight": str(in_flight(one.summary)),
        "failed": str(files["failed"] or ""),
        "held": str(states["held"] or ""),
        "left": duration(one.summary["eta_seconds"]) if one.summary["eta_seconds"] and not one.why else "",
    }
