"""Gather a report from an output folder alone, where the ledger has forgotten the batch or is on another machine.

`summary.json` and `results.jsonl` have nearly everything, `batch.json` and `manifest.jsonl` of the first `--to` the
batch's options and the names of files left out. What isn't there: requests that were refused on the way and when, and
which run is a duplicate of which.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paceline import jsonl
from paceline.batch_file import BATCH_FILE, find_batch_file
from paceline.errors import UsageError
from paceline.model import Outcome
from paceline.report.collecting import FILES_SHOWN, Collector, Item
from paceline.report.left_out import with_names
from paceline.report.numbers import Report, Skipped, Way
from paceline.report.timeline import ByItem, empty_timeline
from paceline.times import ms_of

SUMMARY, RESULTS, MANIFEST = "summary.json", "results.jsonl", "manifest.jsonl"


def is_output(text: str) -> bool:
    """Tell whether this names a folder with the final files of a batch."""
    try:
        return all(Path(text, name).is_file() for name in (SUMMARY, RESULTS))
    except (OSError, ValueError):
        return False


@dataclass
class _Common:
    """What every record says again."""

    account: str = ""
    provider: str = ""
    agent: str = ""


def read_output(folder: str, *, now_ms: int, version: str) -> Report:
    """Read all that a report says from an output folder. Raises `UsageError` if its files aren't what they should."""
    try:
        summary = _summary(Path(folder, SUMMARY))
        start, end = summary["started_at"], summary["finished_at"]
        line = empty_timeline(ms_of(start), ms_of(end or start), None) if start else None
        by_item, collector, common = ByItem(line) if line else None, Collector(), _Common()
        for item in _items(Path(folder, RESULTS), common):
            collector.add(item)
            if by_item is not None:
                by_item.add(item.started_ms if item.run_id else None, item.finished_ms, item.outcome)
        if by_item is not None:
            by_item.fill_in()
        return Report(
            summary=summary,
            way=_way(Path(folder).absolute(), common),
            timeline=line,
            durations=collector.durations(),
            failures=collector.failures(),
            skipped=with_names(
                [Skipped(reason, number) for reason, number in summary["left_out"].items() if number],
                str(Path(folder, MANIFEST)),
            ),
            slowest=collector.slowest(),
            duplicates=(),
            held=(),
            made_ms=now_ms,
            version=version,
            from_folder=str(Path(folder).absolute()),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{folder!r} holds no batch's output that can be read: {type(error).__name__}: {error}"
        ) from error


def _way(folder: Path, common: _Common) -> Way:
    """Return how the batch was run: as its `batch.json` says, which only its first folder has, else as records do."""
    found = find_batch_file(str(folder / BATCH_FILE))
    if found is None:
        return Way("", common.account, common.provider, common.agent, (str(folder),))
    spec = found.spec
    return Way(
        spec.source,
        spec.account,
        spec.provider,
        spec.agent,
        spec.to,
        spec.files_per_run,
        spec.priority,
        spec.options,
        spec.choices,
    )


def batch_of(folder: str) -> str | None:
    """Return the id of the batch whose output this is; None if its summary can't be read."""
    try:
        return str(_summary(Path(folder, SUMMARY))["batch"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _summary(path: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(path.read_bytes())
    summary.setdefault("left_out", {})
    for name in ("batch", "name", "state", "files", "submissions", "requests", "runs_accepted", "duplicate_runs"):
        summary[name]
    return summary


def _items(path: Path, common: _Common) -> Iterator[Item]:
    with path.open("rb") as stream:
        for record in jsonl.read(stream):
            common.account, common.provider = record["account"], record["provider"]
            common.agent = record["agent"]
            files = record["files"]
            yield Item(
                record["submission"],
                Outcome(record["outcome"]).value,
                record["reason"],
                len(files),
                _ms(record["submitted_at"]),
                _ms(record["finished_at"]),
                record["run_id"],
                record["run_url"],
                _message(record["error"]),
                tuple(files[:FILES_SHOWN]),
            )


def _ms(text: str | None) -> int | None:
    return None if text is None else ms_of(text)


def _message(error: Mapping[str, Any] | None) -> str | None:
    if not error:
        return None
    return f"{error['message']} (HTTP {error['http_status']})" if error.get("http_status") else str(error["message"])
