"""What the verbs say of known files: the plan, the end of a batch with nothing new, forgetting; in this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.exits import Exit
from paceline.known import KnownFiles, Scope
from paceline.model import BatchSpec
from paceline.scripts import Scripts
from tests.support.trees import put
from tests.support.verbs import Verbs

URL = "http://127.0.0.1:9"


@pytest.fixture
def verbs(server: Path, tmp_path: Path, real_redis: Any, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    """Verbs in a folder of three files, one of them known, one empty."""
    for name, content in {"old": b"old", "new": b"new", "empty": b""}.items():
        put(tmp_path / "files" / name, content)
    monkeypatch.setenv("KOLENA_API_URL", URL)
    monkeypatch.setenv("KOLENA_API_KEY", "canary-key-4d1f0c")
    note(real_redis, tmp_path / "files" / "old")
    return Verbs(server, tmp_path, monkeypatch)


def spec(**changes: Any) -> BatchSpec:
    """Describe a batch as the command does."""
    made = BatchSpec("/elsewhere", "other-name", "kolena", "1", ("/out",), 300, "", address=URL)
    return replace(made, **changes)


def note(redis: Any, path: Path, of: BatchSpec | None = None) -> None:
    """Note that a file was answered."""
    scope, stat = Scope(of or spec()), path.stat()
    mark = scope.file(str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    KnownFiles(redis, Scripts(redis)).note(scope, [mark], batch="b123456789", at_ms=1_700_000_000_000)


def test_a_plan_tells_what_is_known(verbs: Verbs, tmp_path: Path, real_redis: Any) -> None:
    asked = ("plan", "files", "--agent", "kolena:1", "--json")
    assert verbs(*asked).json()["skipped"] == {"empty": 1}
    assert verbs(*asked, "--skip-unchanged").json()["skipped"] == {"empty": 1, "unchanged": 1}
    assert verbs(*asked, "--skip-unchanged", "--checksum").json()["skipped"] == {"empty": 1}  # its content isn't known
    assert verbs(*asked, "--skip-unchanged", "--files-per-run", "2").json()["skipped"] == {"empty": 1}
    note(real_redis, tmp_path / "files" / "new")
    nothing = verbs("plan", "files", "--agent", "kolena:1", "--skip-unchanged")
    assert nothing.code == Exit.NOTHING_TO_DO
    assert "Nothing new: 2 of 3 files are known" in nothing.stderr


def test_a_plan_that_does_not_say_which_agent_is_refused(verbs: Verbs) -> None:
    refused = verbs("plan", "files", "--agent", "kolena", "--skip-unchanged")
    assert (refused.code, "depends on the agent" in refused.stderr) == (Exit.USAGE, True)


def test_a_plan_where_no_ledger_is_counts_every_file_as_new(
    tmp_path: Path, verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PACELINE_REDIS_URL")
    planned = verbs("plan", "files", "--agent", "kolena:1", "--json", "--skip-unchanged")
    assert planned.json()["skipped"] == {"empty": 1}
    assert "every file is new" in planned.stderr
    assert not (tmp_path / "home" / "redis").exists()


def test_forgetting_asks_and_then_forgets_that_agent_alone(verbs: Verbs, tmp_path: Path, real_redis: Any) -> None:
    for other in (spec(agent="2"), spec(files_per_run=7), spec(address="https://elsewhere.example")):
        note(real_redis, tmp_path / "files" / "old", other)
    asked = ("gc", "--forget-known", "kolena:1")
    shown = verbs(*asked, "--dry-run", "--json").json()
    assert [row["files_per_run"] for row in shown["known"]] in ([7, 300], [300, 7])
    refused = verbs(*asked)
    assert (refused.code, "--yes" in refused.stderr) == (Exit.USAGE, True)
    assert len(KnownFiles(real_redis, Scripts(real_redis)).scopes()) == 4
    done = verbs(*asked, "--yes")
    assert (done.code, "7 files a run" in done.stdout) == (0, True)
    left = KnownFiles(real_redis, Scripts(real_redis)).scopes()
    assert sorted((one.facts["agent"], one.facts["address"]) for one in left) == [
        ("1", "https://elsewhere.example"),
        ("2", URL),
    ]
    assert "Nothing is known of kolena:1" in verbs(*asked, "--yes").stderr
    assert verbs(*asked, "--older-than", "3").code == Exit.USAGE
    assert verbs("gc", "--forget-known", "nobody:1").code == Exit.CONFIG
