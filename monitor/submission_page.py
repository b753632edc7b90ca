"""What a submission's page says: pure, from what the ledger has of it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from monitor import shown
from monitor.board import BROKEN
from paceline.batch_view import BatchView
from paceline.errors import UnknownBatch, UnknownSubmission
from paceline.halving import REASON, halves_of, parent_of
from paceline.markup import web_address
from paceline.model import PlannedFile, State, Submission, index_of, submission_id
from paceline.views import Views
from paceline.wording import amount, size

FILES = 100
JOURNAL = 200


def make(views: Views, submission: str, *, page: int) -> dict[str, Any] | None:
    """Read and write the page; five round trips. None for a submission that isn't there."""
    try:
        item = views.submission(submission)
        batch = views.batch(item.batch)
        journal = views.journal_of(submission, JOURNAL)
    except (UnknownSubmission, UnknownBatch):
        return None
    files: Sequence[PlannedFile] | None
    try:
        files = views.files(submission)
    except (UnknownSubmission, zlib.error, *BROKEN):
        files = None
    pages = max((len(files or ()) + FILES - 1) // FILES, 1)
    page = min(max(page, 1), pages)
    return {
        "id": item.id,
        "batch": batch.id,
        "name": batch.name or batch.id,
        "badge": shown.badge(item),
        "facts": _facts(item, batch),
        "error": _error(item),
        "run": item.run_id or "",
        "url": web_address(item.run_url),
        "relatives": _relatives(item),
        "next": _next(item),
        "files": [_file(one) for one in (files or ())[(page - 1) * FILES : page * FILES]],
        "files_known": files is not None,
        "number": item.files,
        "page": page,
        "pages": pages,
        "journal": [shown.journal_row(one) for one in journal],
        "whole_journal": len(journal) < JOURNAL and any(one["verb"] in ("plan", "restore") for one in journal),
        "external": item.external_id,
    }


def _facts(item: Submission, batch: BatchView) -> list[dict[str, str]]:
    rows = [
        ("Agent", f"{batch.account}:{batch.agent}"),
        ("External id", item.external_id),
        ("Provider says", item.raw_status or ""),
        ("Reason", item.reason or ""),
        ("Attempts", str(item.attempt)),
        ("Earlier runs", " ".join(item.past) and f"{' '.join(item.past)} ({amount(item.past_credits)} credits)"),
        ("Credits", "" if item.credits is None else amount(item.credits)),
        ("Size", size(item.size_bytes)),
        ("Planned", shown.stamp(item.planned_ms)),
        ("Sent", shown.stamp(item.submitted_ms)),
        ("In doubt since", shown.stamp(item.doubt_ms) if item.state in (State.UNCERTAIN, State.HELD) else ""),
        ("Ended", shown.stamp(item.finished_ms)),
    ]
    return [{"name": name, "text": text} for name, text in rows if text]


def _error(item: Submission) -> str:
    if not item.error:
        return ""
    error = item.error
    status = f" (HTTP {error['http_status']})" if error.get("http_status") else ""
    return f"{error.get('phase', '')}, {error.get('category', '')}: {error.get('message', '')}{status}"


def _relatives(item: Submission) -> list[dict[str, str]]:
    index = index_of(item.id)
    whole = parent_of(index)
    found = [] if whole is None else [{"label": "half of", "id": submission_id(item.batch, whole)}]
    if item.reason == REASON and item.state is State.EXPORTED:
        found += [{"label": "split into", "id": submission_id(item.batch, half)} for half in halves_of(index)]
    return found


def _next(item: Submission) -> list[str]:
    """Say what to type where only a person can decide; that isn't for a page, as it wants a look at the provider."""
    if item.state is not State.HELD:
        return []
    return [
        f"paceline resolve {item.id} --run-id R",
        f"paceline resolve {item.id} --resubmit",
        f"paceline resolve {item.id} --fail",
    ]


def _file(one: PlannedFile) -> dict[str, str]:
    renamed = "" if one.upload_name == one.path.rpartition("/")[2] else one.upload_name
    return {"path": one.path, "size": size(one.size_bytes), "renamed": renamed, "group": one.group}
