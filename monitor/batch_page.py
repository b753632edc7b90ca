"""What a batch's page says, and the list of its submissions: pure, from what the board has read."""

from __future__ import annotations

from typing import Any

from config.queues import submit_queue
from monitor import batches_page, shown
from monitor.board import Board
from monitor.facts import BatchFacts, Listed
from paceline.batch_view import CANCELLED, BatchView
from paceline.halving import REASON
from paceline.limiter import PaceView
from paceline.markup import web_address
from paceline.model import Choice, Outcome, Rate, State
from paceline.operating import cancel_effects, retryable
from paceline.summary import summarize
from paceline.views import Views
from paceline.waiting import stopped_by
from paceline.wording import amount, duration, size

SOME = 20
"""Submissions shown of each list; all are on the page of submissions."""

LAST = 30
"""Entries of the journal."""

PAGE = 100


def make(board: Board, batch: str) -> dict[str, Any] | None:
    """Read and write the page; four round trips. None for a batch that isn't there."""
    facts = board.batch(batch, some=SOME, last=LAST)
    if facts is None:
        return None
    rate = board.rate_of(facts.view)
    return write(facts, board.pace_of(facts.view, facts.around), rate[1] if rate else None)


def write(facts: BatchFacts, pace: PaceView | None, rate: Rate | None) -> dict[str, Any]:
    """Write the page."""
    batch, now_ms = facts.view, facts.around.now_ms
    summary = summarize(batch, now_ms, rate)
    files, left = summary["files"], summary["eta_seconds"]
    account = facts.around.accounts[batch.account]
    why = stopped_by(batch, facts.around.of(batch.account), pace, submit_queue(batch.account)) or ""
    state = batch.by_state
    flight = state[State.SUBMITTING] + state[State.RUNNING] + state[State.UNCERTAIN]
    failed = batch.outcomes[Outcome.FAILED] - batch.reasons.get(REASON, 0)
    gone = f"{duration(summary['seconds'])} gone" if batch.started_ms else ""
    return {
        "id": batch.id,
        "name": batch.name or batch.id,
        "state": batch.state.value,
        "look": shown.BATCH_BADGES[batch.state],
        "cards": [
            _card(
                "Files done",
                f"{files['total'] - files['pending']:,}",
                f"of {files['total']:,}" + (f", {files['skipped']:,} left out" if files["skipped"] else ""),
                "metric-card-success",
            ),
            _card("In flight", f"{flight:,}", shown.used(pace) if not batch.closed else "", "metric-card-active"),
            _card(
                "Failed",
                f"{failed:,}",
                f"{state[State.HELD]:,} held" if state[State.HELD] else "",
                "metric-card-danger",
            ),
            _card("Took", duration(summary["seconds"]), "", "")
            if batch.closed
            else _card("Left", duration(left) if left and not why else "–", gone, ""),
        ],
        "bar": shown.bar(batch, width=960, height=24),
        "legend": [
            {"label": part.label, "value": f"{part.value:,.0f}", "tone": part.tone.value}
            for part in shown.parts_of(batch)
        ],
        "why": why,
        "facts": _facts(batch, summary, pace),
        "account": batches_page.account(account, now_ms),
        "actions": actions(batch, account_paused=account.pause is not None),
        "reasons": [
            {"name": name, "number": number, "some": facts.examples.get(name, [])}
            for name, number in sorted(batch.reasons.items(), key=lambda one: -one[1])
        ],
        "lists": [_list(name, facts.listed[name], state[State(name)]) for name in facts.listed],
        "runs": shown.lengths(batch, batch.runs) if batch.runs.total else "",
        "runs_text": _runs(batch),
        "journal": [shown.journal_row(one) for one in facts.journal],
        "total": batch.total,
        "now": shown.stamp(now_ms),
    }


def _card(label: str, value: str, more: str, look: str) -> dict[str, str]:
    return {"label": label, "value": value, "more": more, "look": look}


def _runs(batch: BatchView) -> str:
    mean, most = batch.runs.mean_s, batch.runs.quantile_s(0.95)
    if mean is None or most is None:
        return ""
    longest = "more than 6 h" if most == float("inf") else f"at most {duration(most)}"
    return f"{batch.runs.total:,} runs took {duration(mean)} on average; 95 % of them {longest}."


def _facts(batch: BatchView, summary: dict[str, Any], pace: PaceView | None) -> list[dict[str, Any]]:
    """List what is to be known of a batch; what has no value is left out."""
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in batch.left_out.items())
    choices = ", ".join(f"{name} {value}" for name, value in batch.choices.items() if value)
    options = ", ".join(f"{name} {value}" for name, value in batch.options.items())
    spare = batch.choices.get(Choice.ISOLATE, "0")
    requests = ", ".join(f"{number:,} {name}" for name, number in summary["requests"].items() if number)
    rows = [
        ("Source", [batch.source]),
        ("Agent", [f"{batch.account}:{batch.agent}{f' at {batch.address}' if batch.address else ''}"]),
        ("Results", list(batch.to)),
        ("Submissions", [f"{batch.total:,}{'' if batch.listed else '+'} of up to {batch.files_per_run:,} files"]),
        ("Size", [size(batch.size_bytes)]),
        ("Skipped files", [f"{summary['files']['skipped']:,}: {left_out}" if left_out else ""]),
        ("Options", [options]),
        ("Choices", [choices]),
        ("Priority", [str(batch.priority) if batch.priority else ""]),
        ("Split in halves", [f"{batch.isolated:,} of {spare} runs spent" if batch.isolated else ""]),
        ("Planned", [shown.stamp(batch.created_ms)]),
        ("First sent", [shown.stamp(batch.started_ms)]),
        ("Complete", [shown.stamp(batch.finished_ms)]),
        ("Pace", [shown.used(pace) if not batch.closed else ""]),
        ("Requests", [requests]),
        ("Runs accepted", [f"{batch.runs_accepted:,}" if batch.runs_accepted else ""]),
        ("Runs too many", [f"{len(batch.duplicates):,}: {', '.join(batch.duplicates)}" if batch.duplicates else ""]),
        ("Credits", ["" if batch.credits is None else amount(batch.credits)]),
    ]
    return [{"name": name, "values": [one for one in values if one]} for name, values in rows if any(values)]


def actions(batch: BatchView, *, account_paused: bool) -> dict[str, bool]:
    """Tell what may be done to a batch as it stands."""
    capped = batch.paused in (Choice.MAX_RUNS, Choice.MAX_CREDITS)
    open_ = not batch.closed and batch.paused != CANCELLED
    return {
        "pause": open_ and not batch.paused,
        "resume": open_ and bool(batch.paused) and not capped,
        "capped": open_ and capped,
        "cancel": open_,
        "retry": bool(retryable(batch)) and (batch.closed or batch.paused != CANCELLED),
        "account_paused": account_paused,
    }


def _list(name: str, items: list[Listed], number: int) -> dict[str, Any]:
    return {"name": name, "rows": [item_row(one) for one in items], "number": number}


def item_row(item: Listed) -> dict[str, Any]:
    """Write a submission's row."""
    found = item.found
    if found is None:
        return {"id": item.id, "badge": shown.badge(None), "broken": True}
    return {
        "id": item.id,
        "broken": False,
        "badge": shown.badge(found),
        "reason": found.reason or "",
        "files": found.files,
        "attempts": found.attempt,
        "run": found.run_id or "",
        "url": web_address(found.run_url),
        "at": shown.stamp(found.finished_ms or found.submitted_ms or found.planned_ms),
        "credits": "" if found.credits is None else amount(found.credits),
        "error": str(found.error.get("message", "")) if isinstance(found.error, dict) else "",
    }


def submissions(
    board: Board, views: Views, batch: str, *, page: int = 1, reason: str = "", after: str = ""
) -> dict[str, Any] | None:
    """Read and write a page of a batch's submissions: all by number, or what ended for a reason, behind `after`."""
    view = views.find_batch(batch)
    if view is None:
        return None
    pages = max((view.total + PAGE - 1) // PAGE, 1)
    page = min(max(page, 1), pages)
    more, number, unlisted = "", view.reasons.get(reason, 0), 0
    if reason:
        ids = views.ended(batch, reason, PAGE + 1, after=after)
        more, ids = (ids[PAGE - 1] if len(ids) > PAGE else ""), ids[:PAGE]
        unlisted = max(number - len(ids), 0) if not more and not after else 0  # a worker of version 0.1 ended those
    else:
        ids = board.page(view, (page - 1) * PAGE, PAGE)
    return {
        "id": view.id,
        "name": view.name or view.id,
        "rows": [item_row(one) for one in board.submissions(ids)],
        "reason": reason,
        "number": number,
        "unlisted": unlisted,
        "reasons": dict(view.reasons),
        "more": more,
        "page": page,
        "pages": pages,
        "total": view.total,
    }


def confirm_cancel(batch: BatchView, *, reachable: bool) -> dict[str, Any]:
    """Write what a person confirms before a batch is cancelled."""
    return {
        "id": batch.id,
        "name": batch.name or batch.id,
        "title": "Cancel this batch for good?",
        "lines": [*(f"{one}." for one in cancel_effects(batch)), "What has run is paid for; its results are kept."],
        "verb": "cancel",
        "button": "Cancel the batch",
        "possible": reachable,
        "why_not": f"The batch's folder isn't on this machine; where it is, type: paceline cancel {batch.id}",
        "fields": {},
    }


def to_retry(batch: BatchView, reason: str) -> dict[str, int]:
    """Count by reason what a retry would send again: what ended for that `reason`, or, without one, all that failed."""
    counts = retryable(batch)
    return {name: number for name, number in counts.items() if (name == reason if reason else name != CANCELLED)}


def confirm_retry(batch: BatchView, reason: str, *, reachable: bool) -> dict[str, Any]:
    """Write what a person confirms before what failed is sent again."""
    counts, chosen = retryable(batch), to_retry(batch, reason)
    number = sum(chosen.values())
    mean = batch.credits / batch.runs_accepted if batch.credits and batch.runs_accepted else None
    cost = f", about {amount(mean * number)} credits as the runs so far cost" if mean else ""
    return {
        "id": batch.id,
        "name": batch.name or batch.id,
        "title": f"Send {number:,} submission{'' if number == 1 else 's'} again?",
        "lines": [
            *(f"{count:,} that ended with {name}." for name, count in chosen.items()),
            f"Each is a new run and is paid for again{cost}. Earlier runs stay on record.",
        ],
        "verb": "retry",
        "button": "Send and pay again",
        "possible": number > 0 and (reachable or batch.paused != CANCELLED),
        "why_not": f"Nothing to send from here; where the batch's folder is: paceline retry {batch.id}",
        "fields": {"reason": reason, "number": str(number)},
        "choices": counts,
    }
