"""Measure the start and what an idle fleet costs: seconds to the help, to the first byte sent, CPU with nothing to do.

Everything is measured as installed: with the byte code that pip leaves, in a folder of our own, so that the tree stays
as it is and an environment that keeps Python from writing any doesn't slow our modules down alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import redis

from benchmarks import idle
from benchmarks.pages import fill
from benchmarks.product import cpu_s, peak_mb
from benchmarks.size import Size
from benchmarks.table import Table
from config.embedded import EmbeddedServer
from tests.support.sandbox import ROOT, Sandbox

HELP_S, FIRST_BYTE_S = 0.25, 3.0
"""The targets."""

BIN = Path(sys.executable).parent
PACELINE = str(BIN / "paceline")

SCRIPT = """
import sys, httpx
url, key, path = sys.argv[1:]
with open(path, "rb") as file, httpx.Client(headers={"Authorization": f"Bearer {key}"}, trust_env=False) as client:
    client.post(f"{url}/api/v1/client/agents/1/runs", files={"files": ("document.txt", file)}).raise_for_status()
"""
"""What the least program does that starts a run."""

GROWS = "a ledger with 100 submissions of one batch"


def measure(size: Size) -> list[Table]:
    """Start commands, runs of one file and fleets that have nothing to do (`quick`: few, and for seconds)."""
    quick = size is Size.QUICK
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = as_installed(folder)
        commands = _commands(folder, environment, 3 if quick else 15)
        first = _first_bytes(folder, environment, 1 if quick else 7)
        resting = idle.table(folder, environment, 5.0 if quick else 45.0)
    return [commands, first, resting]


def grow(scale: int) -> Mapping[str, float]:
    """Look at a ledger with 100 × `scale` submissions: seconds of `status` and `list`, and their peak memory."""
    with tempfile.TemporaryDirectory() as name:
        environment = {**as_installed(Path(name)), "PACELINE_HOME": name}
        with EmbeddedServer(Path(name)) as server:
            client: Any = redis.Redis(unix_socket_path=str(server.socket_path))
            fill(client, 100 * scale, others=0)
            client.close()
            costs = {}
            for verb in ("status", "list"):
                costs[f"{verb} seconds"] = median([took_s([PACELINE, verb], environment) for _ in range(6)][1:])
                costs[f"{verb} peak MB"] = took_mb([PACELINE, verb], environment)
    return costs


def as_installed(folder: Path) -> dict[str, str]:
    """Return an environment without settings of ours, where byte code is kept in a folder and found there."""
    ours = ("PACELINE_", "KOLENA_", "KINDO_", "PYTHONDONTWRITEBYTECODE")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**clean, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def took_s(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a command to its end; return its seconds. Raises where it fails."""
    begun = time.perf_counter()
    subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def took_mb(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a command to its end; return its peak memory in MB.

    The kernel's mark is read while it runs: what it says of a child at its end is never less than what the parent had.
    """
    most = 0.0
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            most = max(most, peak_mb(process.pid))
            time.sleep(0.005)
    return most


def _commands(folder: Path, environment: Mapping[str, str], times: int) -> Table:
    table = Table("start", f"commands that do nothing, {times} times each in turn, median of seconds")
    environment = {**environment, "PACELINE_HOME": str(folder / "nothing")}
    complete = {**environment, "_PACELINE_COMPLETE": "bash_complete", "COMP_WORDS": "paceline st", "COMP_CWORD": "1"}
    help_ = "`paceline --help`"
    commands: dict[str, tuple[list[str], Mapping[str, str]]] = {
        help_: ([PACELINE, "--help"], environment),
        "`paceline --version`": ([PACELINE, "--version"], environment),
        "`paceline st<Tab>`": ([PACELINE], complete),
        "`paceline list`, nothing there": ([PACELINE, "list"], environment),
        "`paceline status`, nothing there": ([PACELINE, "status"], environment),
        "`paceline run --help`": ([PACELINE, "run", "--help"], environment),
        "`python -c pass`": ([sys.executable, "-c", "pass"], environment),
        "`celery --help`": ([str(BIN / "celery"), "--help"], environment),
        "`celery flower --help`": ([str(BIN / "celery"), "flower", "--help"], environment),
    }
    took: dict[str, list[float]] = {what: [] for what in commands}
    for turn in range(times + 1):  # the first leaves the byte code
        for what, (command, variables) in commands.items():
            seconds = took_s(command, variables)
            if turn:
                took[what].append(seconds)
    table.at_most(help_, median(took.pop(help_)), HELP_S, "{:.3f}")
    for what, values in took.items():
        (table.fact if "paceline" in what else table.rival)(what, f"{median(values):.3f}")
    return table


def _first_bytes(folder: Path, environment: Mapping[str, str], times: int) -> Table:
    table = Table(
        "start, first byte",
        "`paceline run` on one file, from the process's start to the arrival of the request's headers at the sandbox:"
        f" median of {times}, each with a new home, so Redis and two workers are started too",
    )
    with Sandbox("--run-seconds", "0") as sandbox:
        environment = {**environment, "KOLENA_API_URL": sandbox.url, "KOLENA_API_KEY": sandbox.key}
        _run(folder / "warm", environment, sandbox)
        ran = [_run(folder / f"run-{number}", environment, sandbox) for number in range(times)]
        up = {**environment, "PACELINE_HOME": str(folder / "up")}
        with idle.fleet(up):
            again = [_run(folder / f"again-{number}", up, sandbox) for number in range(times)]
        scripts = [_script(folder / f"script-{number}", environment, sandbox) for number in range(times + 1)][1:]
    table.at_most("to the first byte sent, s", median(one["add"] for one in ran), FIRST_BYTE_S)
    table.fact("… the slowest, s", f"{max(one['add'] for one in ran):.2f}")
    table.fact("to the question after the agent, s", f"{median(one['other'] for one in ran):.2f}")
    table.fact("to the command's end, with the result written, s", f"{median(one['end'] for one in ran):.2f}")
    for name in ("command", "worker-1", "worker-2", "redis"):
        table.fact(f"CPU of {name} until the first byte, s", f"{median(one[name] for one in ran):.2f}")
    table.fact("to the first byte, after `paceline up`, s", f"{median(one['add'] for one in again):.2f}")
    table.rival("a script of five lines with httpx, s", f"{median(scripts):.2f}")
    return table


def _run(folder: Path, environment: Mapping[str, str], sandbox: Sandbox) -> dict[str, float]:
    """Run one file; return seconds by class of request and `end`, and by process the CPU seconds at the first byte."""
    document = _document(folder)
    home = Path(environment.get("PACELINE_HOME", folder / "home"))
    command = [PACELINE, "run", str(document.parent), "--agent", "kolena:1", "--to", str(folder / "out"), "--json"]
    sandbox.reset()
    with (folder / "said.txt").open("wb") as said:
        begun = time.monotonic()
        process = subprocess.Popen(
            command,
            env={**environment, "PACELINE_HOME": str(home)},
            cwd=folder,
            stdout=said,
            stderr=said,
        )
        sandbox.wait("arrived", class_="add", timeout=60)
        used = {path.stem: cpu_s(int(path.read_text())) or 0.0 for path in (home / "run").glob("[rw]*.pid")}
        used["command"] = cpu_s(process.pid) or 0.0
        process.wait()
    ended = time.monotonic() - begun
    if process.returncode != 0:
        raise RuntimeError((folder / "said.txt").read_text()[-1500:])
    return {**used, **_arrived(sandbox, begun), "end": ended}


def _script(folder: Path, environment: Mapping[str, str], sandbox: Sandbox) -> float:
    document = _document(folder)
    sandbox.reset()
    begun = time.monotonic()
    took_s([sys.executable, "-c", SCRIPT, sandbox.url, sandbox.key, str(document)], environment)
    return _arrived(sandbox, begun)["add"]


def _document(folder: Path) -> Path:
    path = folder / "source" / "document.txt"
    path.parent.mkdir(parents=True)
    path.write_text(str(folder))
    return path


def _arrived(sandbox: Sandbox, begun: float) -> dict[str, float]:
    """Return when the first request of each class arrived, in seconds after `begun`."""
    return {entry["class"]: entry["t"] - begun for entry in reversed(sandbox.log())}
