"""A batch into a database and to a webhook, with the shipped command: every file is there once, read with SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.canary import Canary
from tests.support.command import Paceline, make_files
from tests.support.hook import SECRET, Hook
from tests.support.sandbox import Sandbox

SECRET_CANARY = Canary(SECRET)


def test_a_run_into_sqlite_and_to_a_webhook_has_every_file_once_in_both(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 12)
    (source / "nothing.txt").touch()
    on_disk = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    with (
        Hook(busy=2) as hook,
        Sandbox("--run-seconds", "0.3") as sandbox,
        Paceline(tmp_path, url=sandbox.url, webhook_secret=SECRET, export_again_seconds="2") as paceline,
    ):
        to = ("--to", "sqlite:///made/x.db", "--to", f"{hook.url}/hook")
        result = paceline("run", "files", "--agent", "kolena:1", *to, "--files-per-run", "5", "--json")

        assert result.code == 0, result.stderr
        batch = result.json()["batch"]
        assert SECRET_CANARY.in_folder(tmp_path) == []  # the append-only file, logs and results too
        assert SECRET not in result.stdout + result.stderr

    with closing(sqlite3.connect(tmp_path / "made" / "x.db")) as database:

        def ask(query: str) -> list[tuple[object, ...]]:
            return database.execute(query).fetchall()

        assert [path for (path,) in ask("SELECT path FROM files ORDER BY path")] == on_disk
        assert ask("SELECT outcome, reason, count(*) FROM files GROUP BY 1, 2 ORDER BY 3") == [
            ("skipped", "empty", 1),
            ("succeeded", "completed", 12),
        ]
        assert ask("SELECT batch, state FROM batches") == [(batch, "complete")]
        assert ask("SELECT count(*), sum(files), count(DISTINCT run_id) FROM runs WHERE outcome = 'succeeded'") == [
            (3, 12, 3)
        ]
        assert ask(
            "SELECT count(*) FROM runs LEFT JOIN answers USING (batch, submission) WHERE answers.value_json IS NULL"
        ) == [(0,)]
    events = hook.events("/hook")
    records = [event["data"] for event in events if event["type"] == "submission.exported"]
    assert len(events) == 4
    assert sorted(file["path"] for one in records for file in one["files"]) == sorted(set(on_disk) - {"nothing.txt"})
    assert events[-1]["type"] == "batch.complete"
    assert events[-1]["data"]["files"]["skipped"] == 1
