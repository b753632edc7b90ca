"""Hold the provider's runs against the submissions they are of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paceline.model import Outcome, RunView, State, Submission
from paceline.verifying.findings import Findings, Kind

Find = Callable[[Sequence[str]], Sequence[RunView]]
"""Lists the runs under external ids, with the account's pace. Raises `ProviderError`."""

UNDER_WAY = (State.SUBMITTING, State.UNCERTAIN)
"""What has a run, perhaps, that nobody has noted yet."""

ENDED = (State.FINISHED, State.EXPORTED)


def check_runs(
    items: Mapping[str, Submission],
    find: Find,
    again: Callable[[str], Submission | None],
    lagging: Callable[[Submission], bool],
    findings: Findings,
) -> None:
    """Ask after submissions, by id, and report missing, extra and other runs.

    `again` reads a submission anew: what began while the provider was being asked isn't a difference. `lagging` tells
    whether a run is so young that lists needn't show it.
    """
    runs: defaultdict[str, list[RunView]] = defaultdict(list)
    for run in find([item.external_id for item in items.values()]):
        runs[run.external_id or ""].append(run)
        findings.checked["runs"] += 1
    for name, former in items.items():
        found = runs[former.external_id]
        item = former if _plain(former, found) else again(name) or former
        _check_one(item, found, lagging, findings, had_ended=former.state in ENDED)


def _plain(item: Submission, found: Sequence[RunView]) -> bool:
    """Tell whether there is nothing to wonder about."""
    return [run.run_id for run in found] == ([item.run_id] if item.run_id else []) and not item.past


def _check_one(
    item: Submission,
    found: Sequence[RunView],
    lagging: Callable[[Submission], bool],
    findings: Findings,
    *,
    had_ended: bool,
) -> None:
    ours = next((run for run in found if run.run_id == item.run_id), None)
    deleted = item.outcome is Outcome.CANCELLED and item.reason == "cancelled"
    if item.run_id is not None and ours is None and not deleted and not lagging(item):
        findings.differs(
            Kind.RUN_MISSING, submission=item.id, expected=item.run_id, found=[run.run_id for run in found]
        )
    found = [run for run in found if run.run_id not in item.past]
    may_have_one = item.run_id is None and item.state in UNDER_WAY
    for run in found[1:] if may_have_one else found:
        if run.run_id != item.run_id:
            findings.differs(Kind.RUN_EXTRA, submission=item.id, expected=item.run_id, found=_shown(run))
    # Only what had ended before the provider was asked: its answer may be older than the ledger's present word.
    if ours is not None and had_ended and ours.outcome is not item.outcome and not _timed_out(item, ours):
        outcome = item.outcome.value if item.outcome else None
        findings.differs(Kind.RUN_OUTCOME, submission=item.id, expected=outcome, found=_shown(ours))


def _timed_out(item: Submission, run: RunView) -> bool:
    """Tell whether the run goes on though we have given up waiting for it."""
    return item.outcome is Outcome.FAILED and item.reason == "timed_out" and run.outcome is None


def _shown(run: RunView) -> dict[str, Any]:
    return {"run_id": run.run_id, "status": run.raw_status, "credits": run.credits}
