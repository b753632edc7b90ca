"""What an earlier batch has answered isn't paid for again: the shipped command, judged by what the provider got."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.command import Paceline, Result, read_lines
from tests.support.sandbox import Sandbox


class Week:
    """One folder, run day after day into another output each."""

    def __init__(self, folder: Path, sandbox: Sandbox, paceline: Paceline) -> None:
        self.folder, self.sandbox, self.paceline = folder, sandbox, paceline
        self.sent: set[str] = set()
        self.seen = 0

    def run(self, day: str, *options: str) -> Result:
        """Run; `sent` is then what the provider was sent, by name."""
        result = self.paceline(
            "run", "files", "--agent", "kolena:1", "--to", day, "--files-per-run", "1", "--json", *options
        )
        log = self.sandbox.log(self.seen, request_class="add")
        self.sent = {file["name"] for row in log for file in row["files"]}
        self.seen = max([row["seq"] for row in log], default=self.seen)
        return result

    def reasons(self, day: str) -> dict[str, str]:
        """Return why each file ended as it did, by path."""
        return {row["path"]: row["reason"] for row in read_lines(self.folder / day / "files.jsonl")}


def test_only_what_is_new_changed_or_failed_is_sent_and_the_output_says_why(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name in "abcdef":
        (files / f"{name}.txt").write_text(f"document {name}")
    with (
        Sandbox("--run-seconds", "0", "--fault", "fail_runs:count=1") as sandbox,
        Paceline(tmp_path, url=sandbox.url) as paceline,
    ):
        assert paceline("up").code == 0  # so that no run has to start workers
        week = Week(tmp_path, sandbox, paceline)
        first = week.run("monday")
        assert (first.code, len(week.sent)) == (1, 6), first.stderr
        failed = next(path for path, reason in week.reasons("monday").items() if reason == "run_failed")
        changed, touched, renamed, hidden, *_ = sorted(path for path in week.reasons("monday") if path != failed)
        (files / "new.txt").write_text("document new")
        (files / changed).write_text("document, changed")
        os.utime(files / touched, (1_900_000_000, 1_900_000_000))
        (files / renamed).rename(files / "other.txt")
        time = (files / hidden).stat().st_mtime_ns
        (files / hidden).write_text("DOCUMENT x")
        os.utime(files / hidden, ns=(time, time))

        again = week.run("tuesday", "--skip-unchanged", "--checksum")
        assert (again.code, week.sent) == (0, {"new.txt", changed, failed, hidden}), again.stderr
        reasons = week.reasons("tuesday")
        assert (reasons[touched], reasons["other.txt"], reasons["new.txt"]) == (*["same_content"] * 2, "completed")
        assert sorted(reasons.values()).count("unchanged") == 1
        assert again.json()["left_out"] == {"same_content": 2, "unchanged": 1}

        later = week.run("wednesday", "--skip-unchanged", "--checksum")
        assert (later.code, week.sent) == (9, set()), later.stderr
        assert "7 files unchanged since batch" in later.stderr
        assert (tmp_path / "wednesday" / "_SUCCESS").exists()
        assert len(week.reasons("wednesday")) == 7

        same = week.run("wednesday", "--skip-unchanged", "--checksum")
        assert (same.code, week.sent) == (9, set())
