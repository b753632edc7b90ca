"""Measure what it costs to know again what was answered: memory of a real server, and time for noting and looking up.

Every file leaves two marks, of itself and of its content, as `paceline.remembering` makes them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from benchmarks.size import Size
from benchmarks.table import Table
from config.embedded import EmbeddedServer
from paceline.known import KnownFiles, Mark, Scope
from paceline.model import BatchSpec
from paceline.scripts import Scripts

MOST_BYTES = 300_000_000
"""For ten million files. Among fewer, the sets themselves weigh more."""

FEW_BYTES = 60
"""A file among a million, at most."""

LOOKED_UP = 100_000
SPEC = BatchSpec("/mnt/contracts", "kolena", "kolena", "42", ("/out",), 300, "", address="https://api.example")


def measure(size: Size) -> list[Table]:
    """Note a million files and look some up (`quick`: 50,000; `long`: ten million too)."""
    steps = {Size.QUICK: [50_000], Size.NORMAL: [1_000_000], Size.LONG: [1_000_000, 10_000_000]}[size]
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder)) as server:
        client: Any = redis.Redis(unix_socket_path=str(server.socket_path))
        client.config_set("appendonly", "no")  # memory is the same, and a disk would be measured too
        known, scope = KnownFiles(client, Scripts(client)), Scope(SPEC)
        tables, noted, noting_s = [], 0, 0.0
        before = client.info("memory")
        for files in steps:
            begun = time.perf_counter()
            known.note(scope, _marks(scope, noted, files), batch="b123456789", at_ms=1)
            noting_s += time.perf_counter() - begun
            noted = files
            tables.append(_table(client, known, scope, files, before, noting_s))
        client.close()
    return tables


def _marks(scope: Scope, start: int, stop: int) -> Iterator[Mark]:
    for number in range(start, stop):
        yield scope.file(_name(number), 1000 + number, 1_700_000_000_000_000_000 + number)
        yield scope.content(number.to_bytes(32, "big"))


def _name(number: int) -> str:
    return f"/mnt/contracts/{number // 1000:05d}/document-{number:08d}.pdf"


def _table(client: Any, known: KnownFiles, scope: Scope, files: int, before: Any, noting_s: float) -> Table:
    after = client.info("memory")
    used = after["used_memory"] - before["used_memory"]
    table = Table("known", f"{files:,} files known by name, size, time and by content, on a real server")
    if files >= 10_000_000:
        table.at_most("memory of Redis (used_memory), MB", used / 1e6, MOST_BYTES / 1e6, "{:.0f}")
    elif files >= 1_000_000:
        table.at_most("memory of Redis (used_memory), bytes a file", used / files, FEW_BYTES, "{:.1f}")
    table.fact("… resident, MB", f"{(after['used_memory_rss'] - before['used_memory_rss']) / 1e6:.0f}")
    table.fact("… bytes a file", f"{used / files:.1f}")
    key = client.randomkey()
    while not key.startswith(b"pl:known:"):
        key = client.randomkey()
    shown = f"{client.object('encoding', key).decode()} · {client.scard(key)} · {client.memory_usage(key)} bytes"
    table.fact("one of the sets: encoding · members · MEMORY USAGE", shown)
    table.fact("noted a second, files", f"{files / noting_s:,.0f}")
    begun = time.perf_counter()
    facts = ((_name(n), 1000 + n, 1_700_000_000_000_000_000 + n) for n in range(files - LOOKED_UP // 2, files))
    found = known.find(scope, (scope.file(*fact) for fact in facts))
    new = known.find(scope, (scope.file(_name(n), 1, 1) for n in range(LOOKED_UP // 2)))
    table.fact("looked up a second, files", f"{LOOKED_UP / (time.perf_counter() - begun):,.0f}")
    table.at_most("known files that weren't found, of 50,000", found.count(False), 0, "{:d}")
    table.at_most("new files taken for known, of 50,000", new.count(True), 0, "{:d}")
    return table
