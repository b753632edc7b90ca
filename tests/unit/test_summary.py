"""The summary has exactly the fields that others test against, and its sums agree."""

from __future__ import annotations

from paceline.model import Rate
from paceline.summary import summarize
from tests.support.world import World

FIELDS = {
    "batch",
    "name",
    "state",
    "files",
    "left_out",
    "submissions",
    "outcomes",
    "runs_accepted",
    "duplicate_runs",
    "requests",
    "credits",
    "started_at",
    "finished_at",
    "seconds",
    "eta_seconds",
}


def test_the_fields_are_those_of_the_contract_at_every_moment() -> None:
    world = World()
    batch = world.plan(50)
    for _ in range(6):
        world.run(20)
        summary = summarize(world.views.batch(batch), world.views.now_ms(), Rate(40, 60.0))
        assert set(summary) == FIELDS
        assert set(summary["files"]) == {"total", "succeeded", "failed", "cancelled", "skipped", "pending"}
        assert set(summary["submissions"]) == {
            "total",
            "planned",
            "submitting",
            "uncertain",
            "running",
            "finished",
            "exported",
            "held",
        }
        assert set(summary["outcomes"]) == {"succeeded", "failed", "cancelled", "skipped"}
        assert set(summary["requests"]) == {"add", "wait", "get", "list", "delete", "rejected_429"}
        files, states = summary["files"], summary["submissions"]
        assert files["total"] == sum(number for name, number in files.items() if name != "total")
        assert states["total"] == sum(number for name, number in states.items() if name != "total")


def test_requests_are_those_that_arrived() -> None:
    world = World()
    batch = world.plan(30)
    world.run()
    summary = summarize(world.views.batch(batch), world.views.now_ms())
    assert summary["requests"]["add"] == len(world.provider.arrivals)
    assert summary["requests"]["list"] == len(world.provider.reads)
    assert summary["credits"] == 45.0
    assert summary["eta_seconds"] == 0.0


def test_the_estimate_never_promises_more_than_the_pace_allows() -> None:
    world = World()
    batch = world.plan(400)
    world.run(70)
    summary = summarize(world.views.batch(batch), world.views.now_ms(), Rate(40, 60.0))
    assert summary["eta_seconds"] >= (summary["submissions"]["planned"] - 40) * 60 / 40
