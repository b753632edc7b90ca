"""Records a session with the sandbox: `python -m docs.record` writes `docs/session.svg` and README's transcript."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import random
import re
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from docs.blocks import put

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 100, 40

FOLDER = Path("/tmp/paceline-docs")  # noqa: S108  # the recording stops if it is there
SHOWN = "/home/you/paceline"
"""Stands for `FOLDER` in what is written, and nothing else is changed. As long as that, so that frames stay whole."""

FILES, EMPTY = 3000, (7, 1500)
LIMIT = "40/10s"
"""A pace that can be felt: 120 runs take two more windows than the first."""

RUN = "paceline run invoices --agent kolena:1 --to results --files-per-run 25"

START_S = 20.0

_ERASE = re.compile(r"\r(?:\x1b\[2K)?(?:\x1b\[1A\x1b\[2K)+|\r\x1b\[2K")
_CURSOR = re.compile(r"\x1b\[\?25[lh]")

_SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>paceline run, recorded</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; \
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own form loads a font from another host; this one is content with what the reader has."""


def main() -> None:
    """Record, and write what was recorded."""
    FOLDER.mkdir(mode=0o700)
    try:
        make_files(FOLDER / "invoices")
        with _sandbox() as url:
            environment = _environment(url)
            screen = on_terminal(RUN, environment).replace(str(FOLDER), SHOWN)
            told = _told(RUN, environment).replace(str(FOLDER), SHOWN)
        frames, ending = take_apart(screen)
        (ROOT / "docs/session.svg").write_text(svg(frames[len(frames) * 3 // 5], ending), "utf-8")
        transcript = "\n".join([f"$ {RUN}", Text.from_ansi(ending).plain.rstrip(), f"$ {RUN} > /dev/null", told])
        readme = ROOT / "README.md"
        readme.write_text(put(readme.read_text("utf-8"), "session", f"```console\n{transcript}\n```"), "utf-8")
    finally:
        shutil.rmtree(FOLDER)


def make_files(folder: Path) -> None:
    """Write invoices, the same ones every time; two of them are empty."""
    chance = random.Random(1)  # noqa: S311  # made-up invoices
    for number in range(FILES):
        path = folder / f"2026-{number % 12 + 1:02d}" / f"{number:05d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        items = "".join(
            f"{chance.randrange(1, 10)} x article {chance.randrange(999):03d}\n" for _ in range(chance.randrange(3, 30))
        )
        path.write_text("" if number in EMPTY else f"Invoice {number}\n{items}", "ascii")


def on_terminal(command: str, environment: dict[str, str]) -> str:
    """Run a command on a terminal of its own and return everything that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        _words(command), stdin=theirs, stdout=theirs, stderr=theirs, cwd=FOLDER, env=environment, start_new_session=True
    )
    os.close(theirs)
    written = bytearray()
    try:
        while chunk := _read(ours):
            written += chunk
    finally:
        os.close(ours)
    if process.wait():
        raise SystemExit(f"{command!r} ended with {process.returncode}:\n{written.decode()}")
    return written.decode()


def take_apart(screen: str) -> tuple[list[str], str]:
    """Split what a terminal got into the panel's frames and what stayed when the panel was gone."""
    *frames, ending = _ERASE.split(_CURSOR.sub("", screen).replace("\r\n", "\n"))
    return [frame for frame in frames if "╭" in frame], ending


def svg(frame: str, ending: str) -> str:
    """Draw the session: the command, one moment of the panel, the ending."""
    console = Console(
        record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False
    )
    console.print(Text.assemble(("$ ", "green"), (RUN, "bold")))
    console.print(Text.from_ansi(frame.strip("\n")))
    console.print(Text("   the panel is drawn anew four times a second, and makes room for the summary:", "dim italic"))
    console.print(Text.from_ansi(ending.strip("\n")))
    return console.export_svg(
        title="", theme=SVG_EXPORT_THEME, code_format=_SVG, unique_id="session", font_aspect_ratio=0.6
    )


def _told(command: str, environment: dict[str, str]) -> str:
    """Run a command and return what it says beside its data."""
    done = subprocess.run(
        _words(command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=FOLDER, env=environment, check=True
    )
    return done.stderr.decode().rstrip()


def _words(command: str) -> list[str]:
    program, *words = command.split()
    return [str(Path(sys.executable).with_name(program)) if program == "paceline" else program, *words]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError as error:
        if error.errno != errno.EIO:  # how Linux says that the other side of a terminal is closed
            raise
        return b""


def _environment(url: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PACELINE_", "KOLENA_", "KINDO_"))
    }
    return {
        **kept,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LC_ALL": "C.UTF-8",
        "PACELINE_CONFIG": os.devnull,
        "PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD": LIMIT,
        "KOLENA_API_URL": url,
        "KOLENA_API_KEY": "rehearsal",
    }


@contextmanager
def _sandbox() -> Iterator[str]:
    """Run a sandbox on a free port, until its standard input is closed; yield where it answers."""
    ready = FOLDER / "sandbox.url"
    command = f"paceline sandbox --port 0 --ready-file {ready} --limit add={LIMIT} --run-seconds 3-6 --exit-with-parent"
    process = subprocess.Popen(_words(command), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the sandbox didn't start")
            time.sleep(0.02)
        yield ready.read_text("utf-8").strip()
    finally:
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    main()
