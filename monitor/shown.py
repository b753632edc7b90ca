"""How values look on the pages: words, times, colours, small drawings. Pure; `clean` makes texts fit to be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paceline.batch_view import BatchView
from paceline.charts import NARROW, Part, Series, Tone, Words, histogram, over_time, stacked_bar
from paceline.halving import REASON
from paceline.limiter import PaceView
from paceline.markup import Markup, visible
from paceline.model import BatchState, EndpointClass, Outcome, Rate, State, Submission
from paceline.tallies import BOUNDS_S, Lengths
from paceline.times import iso
from paceline.wording import duration

BATCH_BADGES = {
    BatchState.PLANNING: "text-bg-secondary",
    BatchState.RUNNING: "task-state-started",
    BatchState.PAUSED: "text-bg-warning",
    BatchState.CANCELLING: "text-bg-secondary",
    BatchState.CLOSING: "task-state-started",
    BatchState.COMPLETE: "text-bg-success",
    None: "text-bg-danger",
}

_BADGES = {
    State.PLANNED: "text-bg-secondary",
    State.SUBMITTING: "task-state-started",
    State.RUNNING: "task-state-started",
    State.UNCERTAIN: "text-bg-warning",
    State.FINISHED: "task-state-started",
    State.HELD: "text-bg-danger",
}

CLASSES = {
    EndpointClass.ADD: "start a run",
    EndpointClass.WAIT: "start and wait",
    EndpointClass.GET: "ask after one run",
    EndpointClass.LIST: "ask after many runs",
}


def clean(value: Any) -> Any:
    """Make every text of a page's model fit for it: nothing that can't be written, or turns the line round."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {clean(name): clean(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [clean(one) for one in value]
    return value


def stamp(ms: int | None) -> str:
    """Write a time for people, in UTC as all of Flower; empty for none."""
    return "" if ms is None else f"{iso(ms)[:19].replace('T', ' ')} UTC"


def clock(ms: int) -> str:
    """Write the time of day in UTC."""
    return iso(ms)[11:19]


def badge(item: Submission | None) -> dict[str, str]:
    """Name a submission's state with its outcome, and the colour that Flower has for such."""
    if item is None:
        return {"text": "can't be read", "look": "text-bg-danger"}
    if item.state is not State.EXPORTED:
        return {"text": item.state.value, "look": _BADGES[item.state]}
    text = item.outcome.value if item.outcome else item.state.value
    looks = {Outcome.SUCCEEDED: "text-bg-success", Outcome.FAILED: "text-bg-danger"}
    return {"text": text, "look": looks.get(item.outcome or Outcome.SKIPPED, "text-bg-secondary")}


def used(pace: PaceView | None) -> str:
    """Write the pace now against the pace allowed; empty where nobody knows it."""
    if pace is None:
        return ""
    limit = pace.learned if pace.learned is not None else pace.rate.limit
    return f"{min(pace.used, limit):,} of {limit:,} in {pace.rate.window_s:g} s"


def parts_of(batch: BatchView) -> list[Part]:
    """Say how a batch's submissions stand; what was split stands there as its halves."""
    state, outcome = batch.by_state, batch.outcomes
    return [
        Part("succeeded", outcome[Outcome.SUCCEEDED], Tone.GOOD),
        Part("failed", max(outcome[Outcome.FAILED] - batch.reasons.get(REASON, 0), 0), Tone.BAD),
        Part("cancelled", outcome[Outcome.CANCELLED] + outcome[Outcome.SKIPPED], Tone.OFF),
        Part("running", state[State.RUNNING] + state[State.SUBMITTING], Tone.BUSY),
        Part("uncertain or held", state[State.UNCERTAIN] + state[State.HELD], Tone.HELD),
        Part("planned", state[State.PLANNED], Tone.WAIT),
    ]


def bar(batch: BatchView, *, width: int, height: int) -> Markup:
    """Draw how a batch's submissions stand."""
    parts = parts_of(batch)
    numbers = ", ".join(f"{part.value:,.0f} {part.label}" for part in parts if part.value)
    words = Words(f"bar-{batch.id}", "Submissions by state", numbers or "none yet")
    return stacked_bar(words, parts, width=width, height=height)


def hour(account: str, endpoint: EndpointClass, values: Sequence[int], rate: Rate, now_ms: int) -> Markup:
    """Draw the permits of the last hour, a bar for each minute, against the allowance."""
    allowed = rate.limit * 60 / rate.window_s
    label = CLASSES.get(endpoint, endpoint.value)
    text = f"{sum(values):,} requests in the last hour, {max(values):,} in the busiest minute, {allowed:,.4g} allowed"
    words = Words(f"hour-{account}-{endpoint}", f"{account}: {label}, by minute", text)
    first = now_ms - 59 * 60_000
    ticks = [(0.0, clock(first)[:5]), (0.5, clock(now_ms - 30 * 60_000)[:5]), (1.0, clock(now_ms)[:5])]
    series = [Series("a minute", Tone.BUSY, values)]
    return over_time(words, series, ticks, allowed=[allowed] * 60, width=NARROW, height=150)


def lengths(batch: BatchView, runs: Lengths) -> Markup:
    """Draw how long a batch's runs took."""
    names = [duration(bound) if bound >= 1 else f"{bound:g} s" for bound in BOUNDS_S]
    bins = [*zip((f"≤ {name}" for name in names), runs.counts, strict=False), ("longer", runs.counts[-1])]
    filled = [at for at, (_, count) in enumerate(bins) if count]
    shown = bins[max(filled[0] - 1, 0) : filled[-1] + 2]
    text = ", ".join(f"{count:,} {name}" for name, count in shown if count)
    return histogram(Words(f"runs-{batch.id}", "How long the runs took", text), shown, height=180)


def journal_row(row: Mapping[str, str]) -> dict[str, str]:
    """Write an entry of a journal."""
    told = ("submission", "verb", "from", "to", "generation", "attempt", "at_ms")
    came = row.get("from", "")
    return {
        "at": stamp(int(row["at_ms"])),
        "id": row.get("submission", ""),
        "verb": row.get("verb", ""),
        "move": f"{came} → {row.get('to', '')}" if came else row.get("to", ""),
        "attempt": row.get("attempt", ""),
        "facts": ", ".join(f"{name}: {value}" for name, value in row.items() if name not in told and value),
    }
