"""Adds up what the sandbox has seen, for tests that judge a whole batch."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from sandbox.arrivals import ClassCount
from sandbox.limits import Limit, busiest_window
from sandbox.world import World

DEFAULT_WINDOW_S = 60.0

_KINDO_STATUSES = {"in_progress": "running", "success": "success"}


def stats(world: World) -> dict[str, Any]:
    """Give the totals since the start or the last reset.

    ``{"uptime_s", "received_bytes", "credits_used", "peak_rss_bytes", "classes": {class: {"requests", "accepted",
    "refused_429", "statuses": {status or end: n}, "limit", "window_s", "max_in_window", "max_in_window_by_key":
    {fingerprint: n}}}, "runs": {"accepted", "deleted", "running", "success", "failed"}, "external_ids": {"unique",
    "accepted", "without", "duplicates": [{"external_id", "run_ids"}]}, "kindo": …}``; see ``KindoRunStore.to_dict``.
    ``runs`` are those of all providers, Kindo's ``in_progress`` as running, its ends but success as failed;
    ``external_ids`` and credits are Kolena's alone. ``max_in_window`` counts every arrival of one
    key in the busiest half-open window of ``window_s`` seconds (the class's own, else 60), refused ones included.
    """
    now_s = world.clock.monotonic()
    runs: Counter[str] = Counter()
    credits_used = 0.0
    for run in world.runs.all():
        runs[run.status(now_s)] += 1
        credits_used += run.credits_used(now_s) or 0.0
    for kindo_run in world.kindo.all():
        status = kindo_run.status(now_s)
        runs[_KINDO_STATUSES.get(status, "failed")] += 1
    accepted_ids = world.runs.accepted_ids
    with_id = sum(map(len, accepted_ids.values()))
    limits = world.limiter.limits
    return {
        "uptime_s": now_s - world.started_s,
        "classes": {name: _class(count, limits.get(name)) for name, count in sorted(world.log.classes.items())},
        "runs": {
            "accepted": world.accepted,
            "deleted": world.runs.deleted,
            **{status: runs[status] for status in ("running", "success", "failed")},
        },
        "external_ids": {
            "unique": len(accepted_ids),
            "accepted": with_id,
            "without": world.runs.accepted - with_id,
            "duplicates": [
                {"external_id": id_, "run_ids": run_ids} for id_, run_ids in accepted_ids.items() if len(run_ids) > 1
            ],
        },
        "kindo": world.kindo.to_dict(now_s),
        "received_bytes": world.log.received_bytes,
        "credits_used": credits_used,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def peak_rss_bytes() -> int:
    """Give the most memory this process has ever had."""
    # Linux counts what the parent had at the fork in ru_maxrss, but not in VmHWM.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _class(count: ClassCount, limit: Limit | None) -> dict[str, Any]:
    window_s = limit.window_s if limit else DEFAULT_WINDOW_S
    busiest = {key: busiest_window(times_s, window_s) for key, times_s in count.times_s.items()}
    return {
        "requests": count.requests,
        "accepted": count.accepted,
        "refused_429": count.refused_429,
        "statuses": dict(count.statuses),
        "limit": str(limit) if limit else None,
        "window_s": window_s,
        "max_in_window": max(busiest.values(), default=0),
        "max_in_window_by_key": busiest,
    }
