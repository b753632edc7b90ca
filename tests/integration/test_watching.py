"""`status --watch`: one batch or all of them, on a terminal or not, until a person is wanted."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import watching
from cli.standing import Standing
from cli.watching import JsonScreen, PlainScreen, table, watch
from config.services import Services, open_services
from config.settings import load_settings
from paceline.limiter import PaceView
from paceline.model import BatchSpec, PlannedFile, PlannedSubmission, Rate
from paceline.summary import summarize
from tests.support.command import FAST, wait_for
from tests.support.server import RedisServer
from tests.support.verbs import Verbs

ODD = "b\x1b[2J\u202eé"
PACE = PaceView(Rate(40, 60.0), 12, 12, None, 0.0, None, 0.0)


def plan(services: Services, name: str, *, submissions: int = 2, source: str = "/files") -> str:
    """Plan a batch that nobody works on."""
    spec = BatchSpec(source, "kolena", "kolena", "7", ("/out",), 3, name)
    services.ledger.open_batch(spec, manifest="/out/manifest.jsonl")
    for index in range(1, submissions + 1):
        planned = PlannedSubmission(index, (PlannedFile(f"{index}.txt", 10, 1, "1.txt"),))
        services.ledger.plan(spec.batch_id(), planned, manifest_bytes=index)
    services.ledger.listed(spec.batch_id(), skipped=0, manifest_bytes=submissions)
    return spec.batch_id()


def complete(services: Services, *batches: str) -> None:
    """Let batches be complete, as far as a reader can tell."""
    for batch in batches:
        services.redis.hset(f"pl:b:{batch}", mapping={"closed": 1, "n:exported": 2, "n:planned": 0, "o:succeeded": 2})
        services.redis.hset(f"pl:b:{batch}", "files:succeeded", 2)


@pytest.fixture
def services(real_redis: Any, server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv("PACELINE_REDIS_URL", f"unix://{server}")
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KOLENA_API_KEY", "canary-key-71a2")
    monkeypatch.setattr(watching, "WATCH_S", 0.02)
    opened = open_services(load_settings())
    yield opened
    opened.redis.close()
    real_redis.flushall()


@pytest.fixture
def verbs(services: Services, server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    return Verbs(server, tmp_path, monkeypatch)


def standing(services: Services, batch: str, why: str | None = None) -> Standing:
    view = services.views.batch(batch)
    return Standing(view, summarize(view, services.views.now_ms()), PACE, why)


def test_all_open_batches_are_shown_until_none_goes_on(
    services: Services, verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = plan(services, "first"), plan(services, "second")
    seen: list[list[str]] = []

    def show(_self: PlainScreen, _services: Services, standings: Sequence[Standing]) -> None:
        seen.append([one.batch.name for one in standings])
        if len(seen) == 2:
            plan(services, "third")
        if len(seen) == 4:
            complete(services, first, second)
        if len(seen) == 6:
            complete(services, *services.views.batch_ids())

    monkeypatch.setattr(PlainScreen, "show", show)
    said = verbs("status", "--watch")
    assert said.code == 0
    assert seen[0] == ["first", "second"]
    assert seen[-1] == ["first", "second", "third"]
    assert len(seen) == 7
    assert [line.split()[1] for line in said.stdout.splitlines()] == ["NAME", "first", "second", "third"]


def test_a_single_open_batch_ends_as_if_it_had_been_named(services: Services, verbs: Verbs) -> None:
    batch = plan(services, "only")
    services.redis.hset(f"pl:b:{batch}", mapping={"n:planned": 0, "n:held": 2})
    watched, named = verbs("status", "--watch"), verbs("status", batch)
    assert watched.code == named.code == 4
    assert watched.stdout == named.stdout


def test_nothing_open_is_nothing_to_wait_for(services: Services, verbs: Verbs) -> None:
    assert verbs("status", "--watch").code == 0
    complete(services, plan(services, "done"))
    said = verbs("status", "--watch")
    assert (said.code, "done" in said.stdout) == (0, True)
    assert verbs("status", "--watch", "--json").stdout == ""


def test_as_json_there_is_a_line_for_each_change(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = plan(services, "one"), plan(services, "two")
    screen = JsonScreen()
    for change in (None, None, one, two, None):
        if change:
            complete(services, change)
        screen.show(services, [standing(services, batch) for batch in (one, two)])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    states = [(row["name"], row["state"]) for row in rows]
    assert states == [("one", "running"), ("two", "running"), ("one", "complete"), ("two", "complete")]


def test_json_and_what_the_provider_says_do_not_go_together(services: Services, verbs: Verbs) -> None:
    batch = plan(services, "one")
    said = verbs("status", batch, "--watch", "--json", "--usage")
    assert (said.code, "--usage" in said.stderr) == (2, True)


def test_elsewhere_than_on_a_terminal_each_line_says_whose_it_is(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = [plan(services, "one"), plan(services, ODD)]
    PlainScreen().show(services, [standing(services, batch) for batch in batches])
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"one ({batches[0]})", rf"b\x1b[2J\u202eé ({batches[1]})"]


@pytest.mark.parametrize(("width", "height"), [(30, 10), (60, 24), (89, 24), (90, 12), (200, 50)])
def test_a_table_fits_its_terminal(services: Services, width: int, height: int) -> None:
    names = [f"batch number {n} with a long name {ODD}" for n in range(12)]
    standings = [standing(services, plan(services, name), "the provider is down " * 9) for name in names]
    out = StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=True, color_system=None)
    console.print(table(standings, width, height))
    lines = out.getvalue().splitlines()
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    assert "\x1b[2J" not in out.getvalue()
    assert ("more" in out.getvalue()) == (height < 20)
    assert "pace 12/40" in out.getvalue()
    assert "batch" in lines[1]


def test_a_redis_that_goes_away_and_comes_back_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "WATCH_S", 0.02)
    with RedisServer(tmp_path / "redis") as server:
        monkeypatch.setenv("PACELINE_REDIS_URL", server.url)
        services = open_services(load_settings())
        batch = plan(services, "one")
        said: list[str] = []
        shown: list[str] = []
        monkeypatch.setattr(PlainScreen, "say", lambda _self, text: said.append(text))
        monkeypatch.setattr(PlainScreen, "show", lambda _self, _services, rows: shown.append(rows[0].summary["state"]))
        ended: list[list[str]] = []
        thread = threading.Thread(
            target=lambda: ended.append(watch(services, services.views.batch(batch), as_json=False)), daemon=True
        )
        thread.start()
        wait_for(lambda: shown, "a look")
        server.kill()
        wait_for(lambda: said, "the news")
        server.start()
        before = len(shown)
        wait_for(lambda: len(shown) > before, "another look")
        complete(services, batch)
        thread.join(30)
        assert ended == [[batch]]
        assert shown[-1] == "complete"
        assert said[0].startswith("Redis went away")


def test_a_redis_that_stays_away_is_given_up(
    services: Services, monkeypatch: pytest.MonkeyPatch, verbs: Verbs, tmp_path: Path
) -> None:
    with RedisServer(tmp_path / "redis") as server:
        monkeypatch.setenv("PACELINE_REDIS_URL", server.url)
        monkeypatch.setattr(watching, "PATIENCE_S", 0.1)
        batch = plan(open_services(load_settings()), "one")
        monkeypatch.setattr(PlainScreen, "show", lambda *_: server.kill())
        said = verbs("status", batch, "--watch")
    assert said.code == 6
    assert "went away" in said.stderr


def test_on_a_narrow_terminal_several_are_a_table_and_ctrl_c_ends_it(services: Services, tmp_path: Path) -> None:
    for name in ("first", "second"):
        plan(services, name)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cli.main", "status", "--watch"],
        cwd=tmp_path,
        env={**os.environ, **FAST, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    written = b""
    try:
        while not (b"first" in written and b"second" in written):
            written += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        while True:
            try:
                written += os.read(ours, 65536)
            except OSError:
                break
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = written.decode()
    assert "Traceback" not in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back
    assert "done" in text
    assert "in flight" not in text  # for that it would have to be wider
