"""A folder of everything that a file can be, with the shipped command: each is sent as it is, or told why not."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path
from unicodedata import normalize

from paceline.chunking import path_of
from tests.acceptance.test_run import accepted
from tests.support.command import Paceline, read_lines
from tests.support.sandbox import Sandbox
from tests.support.trees import ODD_NAMES, put, put_raw, put_socket

TWINS = [b"Report.pdf", b"REPORT.pdf", b"report.PDF"]


def fill(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Make the folder; return the SHA-256 of what is to be sent, and the reason of what isn't, by path."""
    sent, skipped = {}, {}
    for place in ("", "-sub/dots../", "=sub/"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name in [*ODD_NAMES, *TWINS, b"a..", b"%2e%2e%2fetc", b"a\tb\x1b[2J"]:
            content = place.encode() + name
            sent[place + put_raw(folder / place, name, content)] = hashlib.sha256(content).hexdigest()
    put(folder / "..hidden")
    with (folder / "exact.bin").open("wb") as file:
        file.truncate(250_000_000)
    with (folder / "more.bin").open("wb") as file:
        file.truncate(250_000_001)
    with (folder / "exact.bin").open("rb") as file:
        sent["exact.bin"] = hashlib.file_digest(file, "sha256").hexdigest()
    skipped["more.bin"] = "too_large"
    (folder / "empty").touch()
    skipped["empty"] = "empty"
    put(folder.parent / "outside" / "secret", b"secret")
    for link, target in (("out", "../outside/secret"), ("out-folder", "../outside"), ("passwd", "/etc/passwd")):
        (folder / link).symlink_to(target)
        skipped[link] = "escapes_source"
    for link, target in (("loop", "loop"), ("ping", "pong"), ("pong", "ping"), ("nowhere", "nothing")):
        (folder / link).symlink_to(target)
        skipped[link] = "unreadable"
    (folder / "=sub" / "round").symlink_to("..")
    skipped["=sub/round"] = "not_regular"
    os.mkfifo(folder / "fifo")
    put_socket(folder / "socket")
    skipped |= {"fifo": "not_regular", "socket": "not_regular"}
    if os.geteuid() == 0:
        os.mknod(folder / "device", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero: opened, it would never end
        skipped["device"] = "not_regular"
    return sent, skipped


def test_every_odd_file_is_sent_as_it_is_or_told_why_not(tmp_path: Path) -> None:
    sent, skipped = fill(tmp_path / "files")
    with Sandbox("--run-seconds", "0.2") as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        result = paceline("run", "files", "--agent", "kolena:1", "--to", "out")
        assert result.code == 0, result.stderr
        assert "\x1b[2J" not in result.stdout + result.stderr
        rows = read_lines(tmp_path / "out" / "files.jsonl")
        assert {row["path"]: row["sha256"] for row in rows if row["outcome"] == "succeeded"} == sent
        assert {row["path"]: row["reason"] for row in rows if row["outcome"] == "skipped"} == skipped
        assert len(rows) == len(sent) + len(skipped)
        assert set(accepted(sandbox).values()) == {1}
        arrived = [row for row in sandbox.log(request_class="add") if row["run_id"] is not None]
        check_names(arrived, sent)
        assert b"secret" not in (tmp_path / "out" / "results.jsonl").read_bytes()


def check_names(arrived: list[dict[str, list[dict[str, str]]]], sent: dict[str, str]) -> None:
    """Every file arrived once, under a name that is unique in its request and leads back to the file."""
    paths = {digest: path for path, digest in sent.items()}
    assert Counter(file["sha256"] for row in arrived for file in row["files"]) == dict.fromkeys(paths, 1)
    for row in arrived:
        names = [file["name"] for file in row["files"]]
        assert len({normalize("NFC", name).casefold() for name in names}) == len(names)
        for file in row["files"]:
            path = paths[file["sha256"]]
            assert path_of(file["name"]) in (path, path.rpartition("/")[2])
            assert file["name"].isprintable()
            assert "/" not in file["name"]
            assert '"' not in file["name"]
