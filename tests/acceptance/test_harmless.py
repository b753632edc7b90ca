"""No name and no word of a provider becomes a command to a terminal, a second line of a log, or a broken record."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.command import Paceline, Result, read_lines
from tests.support.echo_provider import EchoProvider

MARKS = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\nfake.event key=value\u2028\u202egpj.exe\x7f"
"""A new window title, an empty screen, red, another line, Unicode's line end, text from right to left."""

FILES = (f"a{MARKS}.txt", "b\nnew line.txt", "=cmd|' C calc'!A0.txt", "d\udcff\udc9b31m.txt", "-e.txt")
OUT = "out\x1b]0;owned\x07\u202e"


def harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n")) and "fake.event" not in re.findall(r"^\S+", text, re.M)


def is_harmless(result: Result) -> Result:
    assert harmless(result.stdout), ascii(result.stdout)
    assert harmless(result.stderr), ascii(result.stderr)
    return result


def at_a_terminal(paceline: Paceline, *arguments: str) -> bytes:
    """Run a command on a terminal of its own; return all that it wrote there."""
    pid, terminal = pty.fork()
    if not pid:  # no Python of this process's must run on here
        os.chdir(paceline.folder)
        environment = {**paceline.environment, "TERM": "xterm-256color"}
        os.execve(sys.executable, [sys.executable, "-P", "-m", "cli.main", *arguments], environment)  # noqa: S606  # ourselves
    shown = bytearray()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            got = os.read(terminal, 65536)
        except OSError:  # EIO: its last process has gone
            break
        if not got:
            break
        shown += got
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0, 1, 3), bytes(shown)
    return bytes(shown)


def has_command(shown: bytes) -> bool:
    """Tell whether a name got through as it is; colours and cursor movements of the panel's own are fine."""
    text = shown.decode("utf-8", "surrogateescape")
    return any(mark in text for mark in ("\x1b]0;", "\x1b[2J", "\x9b", "\u202e", "\u2028", "\x07", "\x7f", "\nfake"))


RUN = ("run", "files", "--to", OUT, "--agent", "kolena:1", "--files-per-run", "1", "--name", MARKS.replace("\x7f", ""))


@contextmanager
def scene(folder: Path, log_format: str) -> Iterator[Paceline]:
    """Make the files, and a provider that says such things while three of its five runs go wrong or well."""
    (folder / "files").mkdir()
    for name in FILES:
        (folder / "files" / name).write_text("content")
    endings = ("failed run", "refused", "good run")
    with (
        EchoProvider(lambda _: f"said{MARKS}\0", endings) as provider,
        Paceline(folder, url=provider.url, log_format=log_format, log_level="debug") as paceline,
    ):
        yield paceline


def test_names_and_words_do_no_harm_where_no_terminal_is_and_to_logs_in_json(tmp_path: Path) -> None:
    with scene(tmp_path, "json") as paceline:
        assert is_harmless(paceline(*RUN)).code == 1
        check_logs(paceline, "json")
    check_output(tmp_path / OUT)


def test_names_and_words_do_no_harm(tmp_path: Path) -> None:
    with scene(tmp_path, "text") as paceline:
        assert not has_command(at_a_terminal(paceline, *RUN))
        batch = is_harmless(paceline("list", "--json")).json()[0]["batch"]
        for arguments in (("list",), ("status",), ("status", batch), ("doctor", "--agent", "kolena:1"), ("limits",)):
            assert is_harmless(paceline(*arguments)).stdout
        shown = "".join(is_harmless(paceline.here("show", f"{batch}-{number}")).stdout for number in range(1, 6))
        assert "said" in shown
        check_errors(paceline)
        check_logs(paceline, "text")
    check_output(tmp_path / OUT)


def check_errors(paceline: Paceline) -> None:
    """Everything a person may type, and every reason a person may give, comes back harmless."""
    options = ("--agent", "kolena:1")
    for arguments in (
        ("show", MARKS),
        ("status", MARKS),
        (MARKS,),
        ("run", MARKS, "--to", "x", *options),
        ("run", "files", "--to", "x", "--agent", f"kolena:{MARKS}"),
        ("run", "files", "--to", "x", "--agent", f"{MARKS}:1"),
        ("run", "files", "--to", f"files/{FILES[0]}/x", *options),
        ("run", "files", "--to", "x", "--priority", MARKS, *options),
        ("resolve", MARKS, "--fail"),
    ):
        assert is_harmless(paceline.here(*arguments)).code not in (0, 1), arguments
    assert is_harmless(paceline.here("pause", "--account", "kolena", "--reason", MARKS)).code == 0
    assert "owned" in is_harmless(paceline("run", "files", "--to", f"second-{OUT}", *options)).stderr
    assert not has_command(at_a_terminal(paceline, "run", "files", "--to", f"second-{OUT}", *options))


def check_logs(paceline: Paceline, log_format: str) -> None:
    """Each event is one line that says when it was; nothing else is a line."""
    lines = []
    for path in (paceline.home / "log").glob("worker-*.log"):
        lines += path.read_text("utf-8").split("\n")[:-1]
    # Celery says past all logging that it shuts down: constant words.
    lines = [line for line in lines if line and not re.fullmatch(r"worker: \w+ shutdown \(MainProcess\)", line)]
    assert len(lines) > 10
    for line in lines:
        assert line.isprintable(), ascii(line)
        if log_format == "json":
            assert json.loads(line)["time"]
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT|  \| ", line), line


def check_output(out: Path) -> None:
    """Every record is there, a line each for every reader, with the very names."""
    assert sorted(row["path"] for row in read_lines(out / "files.jsonl")) == sorted(FILES)
    for name in ("results.jsonl", "files.jsonl", "failures.jsonl", "manifest.jsonl"):
        text = (out / name).read_text("utf-8")
        assert text.splitlines() == text.split("\n")[:-1]  # whatever a reader takes for the end of a line
        assert harmless(text)
    assert any(MARKS in json.dumps(row, ensure_ascii=False) or row["data"] for row in read_lines(out / "results.jsonl"))
