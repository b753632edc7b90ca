"""A small round of `make soak`: everything killed at seeded moments, and judged by what the sandbox saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.plan import Mode, draw
from tests.soak.round import carry_out

KILLS = 10


@pytest.mark.slow
def test_whatever_is_killed_everything_is_paid_once_and_nothing_is_lost(tmp_path: Path) -> None:
    plan = draw(258, 1, submissions=30, kills=2 * KILLS, mode=Mode.RUN)

    report = carry_out(plan, tmp_path, most_kills=KILLS)

    assert report.verdict.problems == [], f"{report}\n" + "\n".join(report.count.told)
    assert report.count.kills > 0
    totals = report.verdict.totals
    assert (totals.accepted, totals.duplicates, totals.lost) == (30, 0, 0)
