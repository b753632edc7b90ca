"""What an earlier batch has answered isn't paid for again: the page's own example, judged by what the provider got."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.command import Paceline, read_lines
from tests.support.sandbox import Sandbox

PAGE = Path(__file__).resolve().parents[2] / "docs" / "incremental.md"

VARIES = (
    (r"\bb[0-9a-z]{9}\b", "BATCH"),
    (r"\d+ status", "N status"),
    (r"(?m)^  time .*", "  time"),
    (r"/\S*/", "/home/you/"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
)
"""What differs between two runs of the same commands."""


def same(text: str) -> str:
    """Return what has to be the same whenever a command is typed."""
    text = "\n".join(line for line in text.splitlines() if " in flight" not in line)  # progress, where no terminal is
    for pattern, word in VARIES:
        text = re.sub(pattern, word, text)
    return text.strip()


def test_the_page_shows_what_happens_and_only_what_is_new_or_changed_is_sent(tmp_path: Path) -> None:
    block = PAGE.read_text("utf-8").partition("```console\n")[2].partition("```")[0]
    typed = [part.partition("\n") for part in block.split("$ ")[1:] if part.strip()]
    (tmp_path / "contracts").mkdir()
    for name in ("north", "south", "east", "west", "lake", "hill"):
        (tmp_path / "contracts" / f"{name}.txt").write_text(f"Contract {name}\n")
    sent: list[set[str]] = []
    with Sandbox("--run-seconds", "0") as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        assert paceline("up").code == 0  # so that no run has to start workers
        path = f"{Path(sys.executable).parent}:{paceline.environment['PATH']}"
        for command, _, shown in typed:
            seen = len(sandbox.log())
            done = subprocess.run(
                ["bash", "-c", command],  # noqa: S607  # any bash
                cwd=tmp_path,
                env={**paceline.environment, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
            )
            assert same(done.stdout) == same(shown), command
            added = [row for row in sandbox.log()[seen:] if row["class"] == "add"]
            sent += [{file["name"] for row in added for file in row["files"]}] if "paceline run" in command else []
    assert sent[1:] == [{"sea.txt", "north.txt"}, set()]
    assert (tmp_path / "wednesday" / "_SUCCESS").exists()
    rows = {row["path"]: (row["outcome"], row["reason"]) for row in read_lines(tmp_path / "wednesday" / "files.jsonl")}
    assert len(rows) == 7
    assert rows["orient.txt"] == ("skipped", "same_content")
    assert rows["sea.txt"] == ("skipped", "unchanged")
