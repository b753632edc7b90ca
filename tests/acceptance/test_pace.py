"""The pace with real workers: never more than allowed, whoever sends. How close to it is measured in `benchmarks/`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.test_run import accepted, check_output
from tests.support.command import Paceline, make_files
from tests.support.sandbox import Sandbox


def test_two_upload_workers_together_keep_to_the_limit(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 40)
    limit = "10/2s"
    with (
        Sandbox("--run-seconds", "0.5", "--limit", f"add={limit}", "--refused-count") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add=limit, workers="2") as paceline,
    ):
        result = paceline("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 40)
        stats = sandbox.stats()["classes"]["add"]
        assert stats["refused_429"] == 0
        assert stats["max_in_window"] <= 10
        assert Counter(accepted(sandbox).values()) == {1: 40}


@pytest.mark.parametrize("retry_after", ["2", "date", "none"])
def test_a_refusal_pauses_everybody_and_every_submission_is_still_sent_once(tmp_path: Path, retry_after: str) -> None:
    source = make_files(tmp_path / "files", 12)
    # The sandbox allows less than the settings say: only its refusals can teach the pace.
    with (
        Sandbox("--run-seconds", "0.5", "--limit", "add=6/3s", "--retry-after", retry_after) as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="100/3s", workers="2") as paceline,
    ):
        result = paceline("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1", "--json")
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 12)
        assert Counter(accepted(sandbox).values()) == {1: 12}
        refused = sandbox.stats()["classes"]["add"]["refused_429"]
        assert refused >= 1
        assert result.json()["requests"]["rejected_429"] == refused
        assert result.json()["requests"]["add"] == 12 + refused
