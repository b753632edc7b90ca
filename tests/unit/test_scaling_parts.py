"""The figures of docs/scaling.md follow RESULTS.md, and a figure that isn't there any more is named."""

from __future__ import annotations

import pytest

from docs.scaling_parts import NOT_YET, RESULTS, computed, costs, measured

ENGINE = """# Results

## engine

`make bench` on a machine.

### engine

| | measured | target | verdict |
|---|--:|--:|---|
| CPU per submission, redis, ms | 2.0 |  |  |
| CPU per submission, worker-1, ms | 3.0 |  |  |
| CPU per submission, worker-2, ms | 9.0 |  |  |

### engine, Redis

| | measured | target | verdict |
|---|--:|--:|---|
| commands per submission, those inside scripts included | 1,150 |  |  |
| bytes kept per submission after the end (MEMORY USAGE) | 3,000 |  |  |
| … results backend, until its TTL ends | 1,000 |  |  |
"""


def row(table: str, start: str) -> list[str]:
    """Return the cells of a table's row."""
    [line] = [line for line in table.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_accounts_come_to_what_their_submissions_cost() -> None:
    assert row(computed(ENGINE), "10 × 600/min") == [
        "10 × 600/min", "100.0", "115,000", "0.20", "1.20", "0.90", f"{1000 * 100 * 604_800 / 1e9:.1f}",
        f"{2000 * 100 * 2_592_000 / 1e9:.1f}",
    ]  # fmt: skip


def test_what_nobody_has_measured_is_left_open() -> None:
    table = measured(ENGINE)

    assert row(table, "the ledger alone, `always`, 1 client: submissions/s")[2] == NOT_YET
    assert row(table, "workers' CPU per submission, ms")[2] == "12.0"
    assert row(table, "… so that it has a core full with, submissions/s (computed)")[2] == "500"


@pytest.mark.parametrize(
    "gone", ["CPU per submission, redis, ms", "… results backend, until its TTL ends", "CPU per submission, worker"]
)
def test_a_figure_that_has_another_name_now_is_noticed(gone: str) -> None:
    with pytest.raises(LookupError, match=r"mend docs/scaling_parts\.py"):
        costs(ENGINE.replace(f"| {gone}", "| something else"))


def test_the_results_that_are_kept_have_every_figure() -> None:
    assert costs(RESULTS.read_text("utf-8")).commands > 0
