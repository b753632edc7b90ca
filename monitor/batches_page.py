"""What the page of all batches says: pure, from what the board has read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from config.queues import submit_queue
from monitor import shown
from monitor.board import Around, Board
from monitor.facts import AccountFacts, Head, Heads
from paceline.batch_view import BatchView
from paceline.halving import REASON
from paceline.limiter import PaceView
from paceline.model import BatchState, EndpointClass, Outcome, Rate, State
from paceline.summary import summarize
from paceline.waiting import stopped_by
from paceline.wording import amount, counted, duration

PAGE = 50


def pick(heads: Sequence[Head], *, state: str, text: str) -> list[Head]:
    """Choose what is asked for, open ones first, the newest first in each half. `state`: one, `open`, or '' for all."""
    fits = [one for one in heads if (not text or one.mentions(text)) and _is(one, state)]
    return sorted(fits, key=lambda one: (not one.open, -one.created_ms))


def _is(head: Head, state: str) -> bool:
    return not state or (head.open if state == "open" else head.state is not None and head.state.value == state)


def make(board: Board, *, state: str, text: str, page: int) -> dict[str, Any]:
    """Read and write the page; three round trips, and three more where there are schedules."""
    heads = board.heads()
    fits = pick(heads.batches, state=state, text=text)
    pages = max((len(fits) + PAGE - 1) // PAGE, 1)
    page = min(max(page, 1), pages)
    chosen = fits[(page - 1) * PAGE : page * PAGE]
    around, found = board.batches(heads, [one.id for one in chosen])
    rows = [
        row(one, around, board.pace_of(one, around), _rate(board, one)) if isinstance(one, BatchView) else broken(one)
        for one in found
    ]
    return {
        "rows": rows,
        "totals": totals(heads),
        "state": state,
        "text": text,
        "page": page,
        "pages": pages,
        "fits": len(fits),
        "states": ["open", *(one.value for one in BatchState)],
        "left_out": heads.total - len(heads.batches),
        "accounts": [account(around.accounts[name], heads.now_ms) for name in heads.accounts],
        "accounts_left_out": counted(heads.accounts_left_out, "more account") if heads.accounts_left_out else "",
        "workers": workers(around.signs),
        "schedules": board.schedules(heads),
        "now": shown.stamp(heads.now_ms),
    }


def _rate(board: Board, batch: BatchView) -> Rate | None:
    found = board.rate_of(batch)
    return found[1] if found else None


def totals(heads: Heads) -> list[dict[str, str]]:
    """Count batches for the cards on top."""
    count = {state: sum(one.state is state for one in heads.batches) for state in BatchState}
    going = sum(one.open for one in heads.batches)
    return [
        {"label": "Open", "value": f"{going:,}", "look": "metric-card-active"},
        {"label": "Paused", "value": f"{count[BatchState.PAUSED]:,}", "look": "metric-card-danger"},
        {"label": "Complete", "value": f"{count[BatchState.COMPLETE]:,}", "look": "metric-card-success"},
        {"label": "Live workers", "value": f"{len(heads.signs):,}", "look": ""},
    ]


def broken(batch: str) -> dict[str, Any]:
    """Write the row of a batch that can't be read."""
    return {"id": batch, "broken": True}


def row(batch: BatchView, around: Around, pace: PaceView | None, rate: Rate | None) -> dict[str, Any]:
    """Write a batch's row."""
    summary = summarize(batch, around.now_ms, rate)
    files, left = summary["files"], summary["eta_seconds"]
    why = stopped_by(batch, around.of(batch.account), pace, submit_queue(batch.account))
    state = batch.by_state
    done = files["total"] - files["pending"]
    return {
        "id": batch.id,
        "broken": False,
        "name": batch.name or batch.source.rstrip("/").rpartition("/")[2] or batch.id,
        "source": batch.source,
        "agent": f"{batch.account}:{batch.agent}",
        "state": batch.state.value,
        "look": shown.BATCH_BADGES[batch.state],
        "bar": shown.bar(batch, width=220, height=12),
        "done": f"{done:,} of {files['total']:,}{'' if batch.listed else '+'} files"
        + (f", {files['skipped']:,} left out" if files["skipped"] else ""),
        "states": " · ".join(f"{part.value:,.0f} {part.label}" for part in shown.parts_of(batch) if part.value),
        "flight": state[State.SUBMITTING] + state[State.RUNNING] + state[State.UNCERTAIN],
        "pace": "" if batch.closed else shown.used(pace),
        "left": duration(left) if left and not why else "",
        "credits": "" if batch.credits is None else amount(batch.credits),
        "failed": batch.outcomes[Outcome.FAILED] - batch.reasons.get(REASON, 0),
        "held": state[State.HELD],
        "why": why or "",
    }


def account(facts: AccountFacts, now_ms: int) -> dict[str, Any]:
    """Write an account's card."""
    pause, circuit = facts.pause, facts.circuit
    down = ""
    if circuit is not None:
        down = "it answers again; one submission tries before the others go on"
        if not circuit.trying:
            down = f"down for {duration(circuit.since_s)}: {circuit.why}; next question in {duration(circuit.next_s)}"
    return {
        "name": facts.name,
        "broken": facts.broken,
        "known": bool(facts.classes),
        "address": facts.view.address,
        "paused": "" if pause is None else pause.message or pause.reason,
        "since": "" if pause is None else shown.stamp(pause.since_ms),
        "by": (pause.by or "") if pause else "",
        "down": down,
        "credits": amount(facts.tallies.credits) if facts.tallies.credits else "",
        "classes": [_class(endpoint, one) for endpoint, one in facts.classes.items()],
        "charts": _charts(facts, now_ms),
    }


def _class(endpoint: EndpointClass, facts: Any) -> dict[str, Any]:
    pace: PaceView = facts.pace
    return {
        "name": endpoint.value,
        "label": shown.CLASSES[endpoint],
        "used": shown.used(pace),
        "learned": "" if pace.learned is None else f"{pace.learned:,} (of {pace.rate.limit:,}), after a 429",
        "closed": f"closed for {duration(pace.closed_s)}" if pace.closed_s > 0 else "",
        "refused": facts.refused,
        "hour": sum(facts.hour),
    }


def _charts(facts: AccountFacts, now_ms: int) -> list[dict[str, Any]]:
    """Draw the last hour of what starts runs, and of all else that was asked."""
    return [
        {
            "label": f"Last hour of {endpoint} ({shown.CLASSES[endpoint]})",
            "drawing": shown.hour(facts.name, endpoint, one.hour, one.pace.rate, now_ms),
        }
        for endpoint, one in facts.classes.items()
        if endpoint is EndpointClass.ADD or any(one.hour)
    ]


def workers(signs: Sequence[Mapping[str, object]]) -> list[dict[str, str]]:
    """List the live workers with what each reads."""
    rows = []
    for sign in signs:
        queues = sign.get("queues")
        reads = ", ".join(map(str, queues)) if isinstance(queues, list) else ""
        rows.append({"name": str(sign.get("worker", "?")), "reads": reads})
    return sorted(rows, key=lambda one: one["name"])
