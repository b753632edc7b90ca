"""Works out from the sandbox's own log and the written records how runs were followed.

The end of a run is the sandbox's `completed`, the question that found it the first answered one after that which names
the run, and its record the modification time of a file: one machine, one clock.
"""

from __future__ import annotations

import json
import urllib.request
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandbox.arrivals import fingerprint
from sandbox.limits import busiest_window
from tests.support.sandbox import Sandbox

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Life:
    """When a run began and ended at the provider, in wall seconds; `end` is None while it goes on."""

    begin: float
    end: float | None


@dataclass(frozen=True, slots=True)
class Followed:
    """How one contestant followed its runs, in seconds of the true clock.

    `requests` counts all that ask for runs; `refused` those answered 429, `audits` those by our own ids. `found_s` is
    from an end to the question that saw it: the schedule's part, so it is multiplied by the scale. `written_s` is from
    there to the record: the machine's part, which is as long on any clock. Both are of the runs with a record, in one
    order.
    """

    requests: int
    audits: int
    refused: int
    busiest_minute: int
    found_s: list[float]
    written_s: list[float]
    ended: int
    peak_in_flight: int

    @property
    def whole_s(self) -> list[float]:
        """From the end of each run to its record."""
        return [found + written for found, written in zip(self.found_s, self.written_s, strict=True)]


def lives(sandbox: Sandbox, agent: int) -> dict[int, Life]:
    """Ask the sandbox, with a key of its own, for every run of an agent; by run id."""
    found: dict[int, Life] = {}
    page, pages = 0, 1
    while page < pages:
        answer = _list(sandbox, agent, page)
        for run in answer["runs"]:
            end = run["completed"] and datetime.fromisoformat(run["completed"]).timestamp()
            found[run["run_id"]] = Life(datetime.fromisoformat(run["created"]).timestamp(), end)
        page, pages = page + 1, answer["total_pages"]
    return found


def followed(
    sandbox: Sandbox, key: str, runs: Mapping[int, Life], written: Mapping[int, float], scale: float
) -> Followed:
    """Read a contestant's part of the sandbox's log. `written`: when the record of a run was on disk, by run id."""
    name = fingerprint(key)
    log = [entry for entry in sandbox.log(files=False) if entry["key"] == name and entry["class"] in ("list", "get")]
    asked_at: dict[int, list[float]] = defaultdict(list)
    for entry in sorted(log, key=lambda entry: entry["wall"]):
        if entry["status"] == 200:
            for run in entry["asked_run_ids"]:
                asked_at[run].append(entry["wall"])
    found_s, written_s = [], []
    for run, at in written.items():
        end, asks = runs[run].end, asked_at[run]
        assert end is not None
        # A run may end between the arrival of the last question and its answer: then that one found it.
        found = asks[min(bisect_left(asks, end), len(asks) - 1)]
        found_s.append(max(found - end, 0.0) * scale)
        written_s.append(at - max(found, end))
    # A request that is refused is so before its ids are read.
    named = ("asked_run_ids", "asked_external_ids")
    questions = [entry for entry in log if entry["status"] == 429 or any(entry[name] for name in named)]
    return Followed(
        requests=len(questions),
        audits=sum(bool(entry["asked_external_ids"]) for entry in questions),
        refused=sum(entry["status"] == 429 for entry in questions),
        busiest_minute=busiest_window(array("d", sorted(entry["t"] for entry in questions)), MINUTE_S / scale),
        found_s=found_s,
        written_s=written_s,
        ended=sum(life.end is not None for life in runs.values()),
        peak_in_flight=_peak(runs.values()),
    )


def _peak(runs: Iterable[Life]) -> int:
    changes = []
    for life in runs:
        changes.append((life.begin, 1))
        if life.end is not None:
            changes.append((life.end, -1))
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def _list(sandbox: Sandbox, agent: int, page: int) -> dict[str, Any]:
    url = f"{sandbox.url}/api/v1/client/agents/{agent}/runs?page_size=1000&page_number={page}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {sandbox.key}"})  # noqa: S310 - always http
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer
