"""`make demo`: a real batch over real files, with the sandbox in the provider's place."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cli.exits import Exit

FILES_PER_RUN = 60
LIMIT = "60/10s"
"""A pace that can be felt, and that ends within half a minute."""

START_S = 20.0


@click.command("demo")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".demo"), show_default=True)
def command(folder: Path) -> int:
    """Run the files of the installed packages through a stand-in provider on this machine."""
    source = Path(sysconfig.get_paths()["purelib"])
    folder.mkdir(mode=0o700, exist_ok=True)
    number = sum(1 for _ in folder.glob("results-*")) + 1
    out = folder / f"results-{number}"
    with _sandbox(folder) as url:
        environment = _environment(folder, url)
        arguments = ["run", str(source), "--agent", "kolena:1", "--to", str(out)]
        arguments += ["--files-per-run", str(FILES_PER_RUN)]
        click.echo(
            f"A stand-in for Kolena answers at {url}; it allows {LIMIT.replace('/', ' new runs in ')}.", err=True
        )
        click.echo(f"$ paceline {' '.join(arguments)}", err=True)
        code = _run(arguments, environment)
    if code:
        return code
    checked, wrong = check(source, out)
    click.echo(f"  checked      {checked:,} digests that the runs returned against the files: {wrong:,} differ")
    click.echo()
    click.echo("What next:")
    click.echo(f"  head -n 1 {out}/results.jsonl | python3 -m json.tool | less   # what one run returned")
    click.echo(f"  PACELINE_HOME={folder}/home .venv/bin/paceline status           # the batch, as the ledger has it")
    click.echo("  .venv/bin/paceline --help                                       # all verbs")
    click.echo("  export KOLENA_API_KEY=…                                         # and your own files:")
    click.echo("  .venv/bin/paceline run FOLDER --agent kolena:ID --to RESULTS")
    return Exit.FAILURES if wrong else Exit.DONE


def check(source: Path, out: Path) -> tuple[int, int]:
    """Compare the digests that the stand-in's agent returned with the files on disk: how many, how many differ.

    The agent knows upload names; the manifest knows which file each of them was.
    """
    names: dict[tuple[str, str], str] = {}
    with (out / "manifest.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["submission"] is not None:
                names[row["submission"], row["name"]] = row["path"]
    checked = wrong = 0
    with (out / "results.jsonl").open(encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            for row in record["data"]["Inventory"]["value"]:
                path = source / names.pop((record["submission"], row["file"]))
                checked += 1
                wrong += hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]
    return checked, wrong + len(names)


def _environment(folder: Path, url: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PACELINE_", "KOLENA_", "KINDO_"))
    }
    return {
        **kept,
        "PACELINE_HOME": str((folder / "home").absolute()),
        "PACELINE_CONFIG": os.devnull,
        "PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD": LIMIT,
        "KOLENA_API_URL": url,
        "KOLENA_API_KEY": f"demo-{secrets.token_hex(8)}",
    }


def _run(arguments: list[str], environment: dict[str, str]) -> int:
    process = subprocess.Popen([sys.executable, "-m", "cli.main", *arguments], env=environment)
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which knows how to detach
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def _sandbox(folder: Path) -> Iterator[str]:
    """Run the sandbox in a process that ends with this one."""
    ready = folder / "sandbox.url"
    ready.unlink(missing_ok=True)
    theirs, ours = os.pipe()
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--ready-file", str(ready), "--owner-fd", str(theirs)]
    command += ["--limit", f"add={LIMIT}", "--run-seconds", "3-6"]
    with (folder / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(theirs,), start_new_session=True
        )
    os.close(theirs)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise click.ClickException(f"the sandbox didn't start; see {folder}/sandbox.log")
            time.sleep(0.02)
        yield ready.read_text().strip()
    finally:
        os.close(ours)
        process.wait()


def main() -> None:
    """Run the demo and exit."""
    sys.exit(int(command.main(standalone_mode=False) or 0))


if __name__ == "__main__":
    main()
