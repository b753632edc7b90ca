"""What a person does at two in the morning, with the shipped command: limit, cancel, wait for a provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Paceline, make_files, read_lines, wait_for
from tests.support.sandbox import Sandbox

LIMITS = {"ADD": "20/3s", "WAIT": "1000/1s", "DELETE": "1000/1s"}
AGENT = ("--agent", "kolena:1", "--files-per-run", "1")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("--run-seconds", "0.5", "--limit", "delete=1000/1s", "--limit", "wait=1000/1s") as running:
        yield running


@pytest.fixture
def paceline(tmp_path: Path, sandbox: Sandbox) -> Iterator[Paceline]:
    sandbox.clear_faults()
    sandbox.reset()
    sandbox.run_seconds("0.5")
    make_files(tmp_path / "files", 30)
    limits = {f"ACCOUNTS__KOLENA__LIMITS__{name}": rate for name, rate in LIMITS.items()}
    with Paceline(tmp_path, url=sandbox.url, key=sandbox.key, **limits) as command:
        yield command


def ids(sandbox: Sandbox, batch: str) -> list[str]:
    """Return the external ids of a batch that the provider has accepted."""
    entries = [*sandbox.log(request_class="add"), *sandbox.log(request_class="wait")]
    return [entry["external_id"] for entry in entries if entry["run_id"] and entry["external_id"].startswith(batch)]


def test_a_cap_stops_a_batch_and_a_higher_one_goes_on(paceline: Paceline, sandbox: Sandbox) -> None:
    run = ("run", "files", "--to", "out", *AGENT)
    stopped = paceline(*run, "--max-runs", "4")
    assert stopped.code == 3, stopped.stderr
    assert "4 runs were started, and no more than 4 are allowed" in stopped.stderr
    assert not (paceline.folder / "out" / "_SUCCESS").exists()
    batch = paceline.here("list", "--json").json()[0]["batch"]
    assert len(ids(sandbox, batch)) == 4
    done = paceline(*run, "--max-runs", "0", "--wait-seconds", "30")
    assert done.code == 0, done.stderr
    accepted = ids(sandbox, batch)
    assert len(accepted) == len(set(accepted)) == 30
    assert "26 wait" in paceline.here("status", batch).stdout


def test_a_cancelled_batch_ends_its_runs_and_keeps_what_it_has(paceline: Paceline, sandbox: Sandbox) -> None:
    paceline("run", "files", "--to", "first", *AGENT, "--max-runs", "3")
    sandbox.run_seconds("600")
    running = paceline.start("run", "files", "--to", "first", *AGENT, "--max-runs", "12")
    batch = paceline.here("list", "--json").json()[0]["batch"]
    wait_for(lambda: len(ids(sandbox, batch)) == 12, "the runs")
    cancelled = paceline.here("cancel", batch)
    assert cancelled.code == 0, cancelled.stderr
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1, err
    files = [row["outcome"] for row in read_lines(paceline.folder / "first" / "files.jsonl")]
    assert (files.count("succeeded"), files.count("cancelled")) == (3, 27)
    assert sandbox.stats()["runs"]["deleted"] == 9
    assert len(ids(sandbox, batch)) == 12, "cancelling starts nothing"
    assert paceline.here("verify", batch).code == 0
    assert "was cancelled" in paceline.here("resume", batch).stderr


def test_a_provider_that_is_down_is_waited_for(paceline: Paceline, sandbox: Sandbox) -> None:
    running = paceline.start("run", "files", "--to", "out", *AGENT)
    batch = wait_for(lambda: (paceline.here("list", "--json").json() or [{}])[0].get("batch"), "the batch")
    sandbox.faults("status@add+get+list+other:code=503")
    assert running.stderr is not None
    assert any("the provider is down" in line for line in running.stderr), "run itself says what it waits for"
    assert "the provider is down" in paceline.here("status", batch).stdout
    sandbox.clear_faults()
    _, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    accepted = ids(sandbox, batch)
    assert len(accepted) == len(set(accepted)) == 30


def test_a_tolerance_stops_a_failing_batch(paceline: Paceline, sandbox: Sandbox) -> None:
    sandbox.faults("fail_runs")
    stopped = paceline("run", "files", "--to", "out", *AGENT, "--max-failures", "10%")
    assert stopped.code == 1, stopped.stderr
    assert "submissions failed, more than 10%" in stopped.stderr
    batch = paceline.here("list", "--json").json()[0]["batch"]
    assert "submissions failed, more than 10%" in paceline.here("status", batch).stdout
    sandbox.clear_faults()
    assert paceline.here("resume", batch).code == 0
    assert paceline("run", "files", "--to", "out", *AGENT).code == 1
    again = paceline.here("retry", batch, "--reason", "run_failed")
    assert again.code == 0, again.stderr
    assert paceline("run", "files", "--to", "out", *AGENT).code == 0


def test_an_account_in_a_cool_down_does_not_slow_another(paceline: Paceline, sandbox: Sandbox) -> None:
    paceline.environment |= {
        "PACELINE_ACCOUNTS__OTHER__PROVIDER": "kolena",
        "PACELINE_ACCOUNTS__OTHER__URL": sandbox.url,
        "OTHER_API_KEY": "another-key-77aa01",
    }
    sandbox.faults("status@add:agent=1,code=429,retry_after=300")
    cooling = paceline("submit", "files", "--to", "cooling", *AGENT)
    assert cooling.code == 0, cooling.stderr
    rows = wait_for(lambda: [row for row in limits(paceline) if row["closed_why"] == "throttled"], "the cool-down")
    assert [(row["account"], row["class"]) for row in rows] == [("kolena", "add")]
    assert rows[0]["closed_seconds"] > 250
    done = paceline("run", "files", "--to", "out", "--agent", "other:2", "--files-per-run", "1")
    assert done.code == 0, done.stderr
    assert "asked to slow down (429); next try in 4 min" in paceline.here("status", cooling.stdout.strip()).stdout
    refused = [entry for entry in sandbox.log(request_class="add") if entry["status"] == 429]
    assert len(refused) <= 8, "those under way together, and no more while the class is closed"


def limits(paceline: Paceline) -> list[dict[str, Any]]:
    """Return what `paceline limits` shows."""
    shown: list[dict[str, Any]] = paceline.here("limits", "--json").json()
    return shown
