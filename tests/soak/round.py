"""Carries out one round: a sandbox, a batch, the plan's kills, then quiet, then the evidence."""

from __future__ import annotations

import hashlib
import json
import random
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from config.embedded import EmbeddedServer
from tests.soak.checker import Ending, Evidence, Verdict, check
from tests.soak.commands import Commands, settings_of
from tests.soak.plan import FAULT_AT, Kill, Mode, Plan, Point, Victim
from tests.soak.processes import Stops, TcpRedis, all_of, kill, named
from tests.support.command import Paceline, read_lines
from tests.support.sandbox import Sandbox

LIMIT, WINDOW_S = 20, 4.0
"""Of the add endpoint, for the sandbox and for paceline."""

LIMITS = {"add": f"{LIMIT}/{WINDOW_S:g}s", "get": f"80/{WINDOW_S:g}s", "list": f"80/{WINDOW_S:g}s"}
"""All have one window, which is also how long they stay closed after a configured Redis has restarted."""

STOP_S = 11.0
"""Longer than a lease (5 s), the settling time (3 s) and the two looks behind it: another one has sent it by then."""

REACH_S = 5.0
"""For an upload to come to the point where a kill is due; then it is killed without."""

LOOK_S = 0.02


@dataclass
class Count:
    """What was done to a round. A kill of several processes at once is one; `exact` counts those at a point."""

    kills: int = 0
    redis_kills: int = 0
    exact: int = 0
    processes: int = 0
    stops: int = 0
    told: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """How a round went. `commands` is how often a command was started."""

    plan: Plan
    count: Count
    verdict: Verdict
    commands: int
    seconds: float

    def __str__(self) -> str:
        count = self.count
        return (
            f"{self.plan.mode} seed={self.plan.seed} {self.verdict.totals} kills={count.kills}"
            f" redis_kills={count.redis_kills} (at an exact point {count.exact}, processes {count.processes},"
            f" stops {count.stops}, commands {self.commands}, {self.seconds:.0f} s)"
        )


def carry_out(plan: Plan, folder: Path, *, most_kills: int) -> Report:
    """Carry out a round in an empty folder, ending its kills after `most_kills`; the evidence stays there."""
    started = time.monotonic()
    digests = make_files(folder / "files", plan)
    (folder / "plan").write_text("\n".join([plan.seed, plan.mode, *plan.faults, *map(str, plan.kills)]) + "\n")
    with ExitStack() as stack:
        server = stack.enter_context(TcpRedis(folder / "redis")) if plan.mode is Mode.FLEET else None
        faults = [word for fault in plan.faults for word in ("--fault", fault)]
        options = [word for name, limit in LIMITS.items() for word in ("--limit", f"{name}={limit}")]
        options += ["--refused-count", "--run-seconds", "0.3-1.5"]
        seed = random.Random(plan.seed).randrange(1_000_000)
        sandbox = stack.enter_context(Sandbox(*options, "--seed", str(seed), *faults))
        paceline = stack.enter_context(Paceline(folder, url=sandbox.url, **settings_of(server, LIMITS)))
        arguments = ("files", "--agent", "kolena:1", "--to", "out", "--files-per-run", str(plan.files_per_run))
        commands = Commands(folder, plan.mode, paceline, arguments)
        hunt = Hunt(sandbox, commands, server)
        stack.callback(hunt.leave)
        hunt.carry_out(plan.kills, most_kills)
        hunt.calm()
        commands.finish()
        posts = len(sandbox.log(request_class="add", files=False))
        commands.once_more()
        evidence = gather(folder, sandbox, paceline, commands, server, digests)
        problems = list(check(evidence).problems)
        if len(sandbox.log(request_class="add", files=False)) != posts:
            problems.append("I1 the same command sent something for a complete batch")
        problems += [f"a command ended with a traceback: said/{name}" for name in commands.tracebacks()]
        verdict = Verdict(check(evidence).totals, problems)
    (folder / "kills").write_text("\n".join(hunt.count.told) + "\n")
    return Report(plan, hunt.count, verdict, commands.started, time.monotonic() - started)


class Hunt:
    """Kills by plan while the batch goes on."""

    def __init__(self, sandbox: Sandbox, commands: Commands, server: TcpRedis | None) -> None:
        self._sandbox = sandbox
        self._commands = commands
        self._server = server
        self._stops = Stops()
        self._seen = 0
        self._started = time.monotonic()
        self.count = Count()

    def carry_out(self, kills: tuple[Kill, ...], most: int) -> None:
        """Kill in order, until the batch is complete or enough was killed."""
        for one in kills:
            if self._commands.complete or self.count.kills >= most:
                return
            reached, fault = self._reach(one)
            if self._commands.complete:
                return
            killed = self._strike(one)
            if fault is not None:
                self._sandbox.control("DELETE", f"faults?id={fault}")
            exact = reached and one.point is not Point.WHILE
            self.count.exact += exact and killed > 0
            told = f"{time.monotonic() - self._started:7.2f} s  {one}: {killed} processes"
            self.count.told.append(told if exact or one.point is Point.WHILE else told + ", the point wasn't reached")

    def calm(self) -> None:
        """Return when nothing goes wrong any more."""
        self._sandbox.clear_faults()
        self._stops.wait()

    def leave(self) -> None:
        """End every process of the round at once, whatever state it is in."""
        kill(self._commands.pids)
        kill(all_of(self._commands.home))

    def _reach(self, one: Kill) -> tuple[bool, int | None]:
        """Wait for a kill's point. Returns whether it was reached, and the fault that holds the upload there."""
        self._new_posts()
        fault = None
        if one.point in FAULT_AT:
            fault = int(self._sandbox.faults(FAULT_AT[one.point])[0]["id"])
        for _ in self._looks(one.after_s if one.point is Point.WHILE else REACH_S):
            if one.point is not Point.WHILE and any(_is_at(one.point, row) for row in self._posts_since(self._seen)):
                return True, fault
        return one.point is Point.WHILE, fault

    def _looks(self, seconds: float) -> Iterator[None]:
        """Look again and again for so long, keeping the commands going."""
        until = time.monotonic() + seconds
        tended = 0.0
        while time.monotonic() < until and not self._commands.complete:
            if time.monotonic() - tended > 0.2:
                self._commands.keep_going()
                tended = time.monotonic()
            yield
            time.sleep(LOOK_S)

    def _strike(self, one: Kill) -> int:
        """Kill, or stop; return how many processes were hit."""
        found = named(self._commands.home)
        senders = [found[name] for name in ("worker-1", "worker-2") if name in found]
        if one.victim is Victim.STOPPED:
            stopped = bool(senders) and self._stops.stop(senders[one.pick % len(senders)], STOP_S)
            self.count.stops += stopped
            return int(stopped)
        redis_pid = found.get("redis") if self._server is None else self._server.pid
        victims: list[int | None] = []
        match one.victim:
            case Victim.SENDERS:
                victims += senders
            case Victim.SENDER:
                victims += senders[one.pick % len(senders) :][:1] if senders else []
            case Victim.REST:
                victims.append(found.get("worker-3"))
            case Victim.COMMAND:
                victims += [*self._commands.pids, found.get("supervisor")]
            case Victim.REDIS:
                victims.append(redis_pid)
            case Victim.EVERYTHING:
                victims += [*self._commands.pids, *all_of(self._commands.home), redis_pid]
        pids = list(dict.fromkeys(pid for pid in victims if pid is not None))
        killed = kill(pids)
        self.count.kills += killed > 0
        self.count.redis_kills += redis_pid in pids
        self.count.processes += killed
        if self._server is not None and self._server.pid in pids:
            self._server.start()  # as an init system would
        return killed

    def _new_posts(self) -> None:
        """Leave behind what has arrived so far."""
        for row in self._sandbox.log(self._seen, files=False):
            self._seen = row["seq"]

    def _posts_since(self, seq: int) -> list[dict[str, Any]]:
        return self._sandbox.log(seq, "add", files=False)


def _is_at(point: Point, row: dict[str, Any]) -> bool:
    if point is Point.ANSWERED:
        return bool(row["end"] == "answered" and row["run_id"] is not None)
    return bool(row["end"] == "open" and row["fault"] == FAULT_AT[point].partition("@")[0])


def make_files(folder: Path, plan: Plan) -> dict[str, str]:
    """Make the plan's files, each with other bytes; return their SHA-256 by path."""
    dice = random.Random(plan.seed + "/files")
    digests = {}
    for number, size in enumerate(plan.sizes):
        name = f"part {number % 3}/document-{number:04d}.bin" if number % 4 == 0 else f"document-{number:04d}.bin"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = dice.randbytes(size)
        path.write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def gather(
    folder: Path,
    sandbox: Sandbox,
    paceline: Paceline,
    commands: Commands,
    server: TcpRedis | None,
    digests: dict[str, str],
) -> Evidence:
    """Collect what a batch left behind, and keep what isn't in the folder anyway."""
    found = _journal(paceline.home) if server is None else read_journal(redis.Redis.from_url(server.url))
    return evidence(
        folder,
        sandbox,
        paceline.environment["KOLENA_API_KEY"],
        found,
        digests=digests,
        endings=commands.endings,
        limit=LIMIT,
        window_s=WINDOW_S,
    )


def evidence(
    folder: Path,
    sandbox: Sandbox,
    key: str,
    found: tuple[str, list[dict[str, str]]],
    *,
    digests: dict[str, str],
    endings: Sequence[Ending],
    limit: int,
    window_s: float,
) -> Evidence:
    """Put together what a batch with its output in `folder`/out left behind; `found` is what `read_journal` returns."""
    batch, journal = found
    requests, runs, out = sandbox.log(), list_runs(sandbox, key), folder / "out"
    for name, rows in (("requests", requests), ("runs", runs), ("journal", journal)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Evidence(
        batch=batch,
        requests=requests,
        runs=runs,
        manifest=lines_of(out / "manifest.jsonl"),
        journal=journal,
        results=lines_of(out / "results.jsonl"),
        files=lines_of(out / "files.jsonl"),
        failures=lines_of(out / "failures.jsonl"),
        digests=digests,
        endings=endings,
        limit=limit,
        window_s=window_s,
    )


def lines_of(path: Path) -> list[dict[str, Any]]:
    return read_lines(path) if path.exists() else []


def list_runs(sandbox: Sandbox, key: str) -> list[dict[str, Any]]:
    """Ask the provider for all runs, as anybody with the key could."""
    request = urllib.request.Request(  # noqa: S310 - always http, to ourselves
        f"{sandbox.url}/api/v1/client/agents/1/runs?page_size=1000", headers={"Authorization": f"Bearer {key}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        page = json.load(response)
    assert page["total_pages"] <= 1
    runs: list[dict[str, Any]] = page["runs"]
    return runs


def _journal(home: Path) -> tuple[str, list[dict[str, str]]]:
    with EmbeddedServer(home) as server:
        return read_journal(redis.Redis(unix_socket_path=str(server.socket_path)))


def read_journal(client: Any) -> tuple[str, list[dict[str, str]]]:
    """Return the one batch there is, and its journal."""
    (batch,) = [name.decode() for name in client.zrange("pl:batches", 0, -1)]
    entries = client.xrange(f"pl:b:{batch}:journal")
    client.close()
    return batch, [
        {"at": id_.decode(), **{name.decode(): value.decode() for name, value in entry.items()}}
        for id_, entry in entries
    ]


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file beneath a folder, by its path from there."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
