"""Batches one after the other over one folder, each of which may leave out what an earlier one has answered."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paceline.model import BatchSpec, Choice, SizeLimits, SkippedFile, SourceFile
from paceline.providers.base import Accepted, SubmitRequest
from paceline.roots import open_root
from paceline.runner import Runner
from paceline.views import BatchView
from producers.enqueue import enqueue, open_batch
from producers.filters import Rules
from producers.grouping import parse_grouping
from producers.known import Sieve
from producers.sources import resolve_source, resolve_sources
from producers.staging import Group
from tests.support.trees import put
from tests.support.world import World

LIMITS = SizeLimits(files=300, file_bytes=1000)
HOUR_NS = 3_600_000_000_000


class Folder:
    """A folder with files, and a world whose provider says what it was sent: `sent`, a tuple of paths a run."""

    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.sent: list[tuple[str, ...]] = []
        self.digests_lost = False
        self.world = World()
        self.batches = 0
        for name, content in files.items():
            put(self.source / name, content)
        self.connect()

    def connect(self) -> None:
        """Have the world read this folder and give digests, after a restart too."""
        self._submit = self.world.provider.submit
        self.world.provider.submit = self._send  # type: ignore[method-assign]  # the same, with digests
        self.real_root()

    def real_root(self) -> None:
        """Have the steps open real files."""
        self.world.context = replace(self.world.context, source=open_root)
        self.world.runner = Runner(self.world.context)

    def _send(self, request: SubmitRequest) -> Accepted:
        accepted = self._submit(request)
        self.sent.append(tuple(upload.path for upload in request.uploads))
        digests = []
        for upload in request.uploads:
            with upload.open() as stream:
                digests.append(hashlib.sha256(stream.read()).digest())
        return replace(accepted, digests=() if self.digests_lost else tuple(digests))

    def spec(self, *, per_run: int = 300, isolate: int = 0, source: str = "", **options: str) -> BatchSpec:
        """Describe the next batch; each goes to a place of its own."""
        return BatchSpec(
            source=os.path.join(self.source, source) if source else str(self.source),  # noqa: PTH118 - a text is wanted
            account="fake",
            provider="fake",
            agent="7",
            to=(str(self.folder / f"out{self.batches}"),),
            files_per_run=per_run,
            name="",
            options=options,
            choices={Choice.ISOLATE: str(isolate)} if isolate else {},
        )

    def open(self, spec: BatchSpec) -> BatchView:
        """Register a batch."""
        self.batches += 1
        out = Path(spec.to[0])
        out.mkdir()
        return open_batch(self.world.ledger, self.world.views, spec, str(out / "manifest.jsonl"))[0]

    def plan(self, batch: BatchView, *, stop_after: int = 0) -> None:
        """List and plan, leaving out what is known if the options say so."""
        options, asked = batch.options, iter(range(1, 10_000))
        how = options.get("skip")
        cuts = options.get("groups", "").split()
        enqueue(
            self.world.ledger,
            self.world.views,
            batch,
            resolve_source(batch.source),
            LIMITS,
            lambda follows: self.world.send(list(follows)),
            grouping=parse_grouping(options.get("group_by"), cut="cut" in cuts, pack="pack" in cuts),
            known=self.sieve(batch.spec) if how else None,
            stopped=lambda: next(asked) == stop_after,
        )

    def run(self, **options: Any) -> list[tuple[str, ...]]:
        """Carry a batch to its end; return what was sent, a tuple of paths a run."""
        self.batch = self.open(self.spec(**options))
        before = len(self.sent)
        self.plan(self.batch)
        self.world.run()
        return sorted(self.sent[before:])

    def run_list(self, text: str, how: str = "unchanged", groups: str = "") -> list[tuple[str, ...]]:
        """Carry a batch over a CSV list to its end, leaving out what is known; return what was sent."""
        table = put(self.folder / "list.csv", text.encode())
        source = resolve_sources([str(table)], Rules(), self.folder / "home")
        options = {**dict(source.options), "skip": how} | ({"groups": groups} if groups else {})
        self.batch = self.open(replace(self.spec(), source=source.location, options=options))
        before = len(self.sent)
        enqueue(
            self.world.ledger,
            self.world.views,
            self.batch,
            source,
            LIMITS,
            lambda follows: self.world.send(list(follows)),
            grouping=parse_grouping(None, cut="cut" in groups, pack="pack" in groups, listed=source.groups),
            known=self.sieve(self.batch.spec),
        )
        self.world.run()
        return sorted(self.sent[before:])

    def sieve(self, spec: BatchSpec) -> Sieve:
        """Return a sieve as the command makes it."""
        return Sieve(self.world.known, spec, contents=spec.options.get("skip") == "content")

    def left_out(self) -> dict[str, int]:
        """Return what the last batch has left out, by reason."""
        return dict(self.world.views.batch(self.batch.id).left_out)

    def touch(self, name: str) -> None:
        """Move a file's time on."""
        path = self.source / name
        at = path.stat().st_mtime_ns + HOUR_NS
        os.utime(path, ns=(at, at))

    def swap(self, name: str, content: bytes) -> None:
        """Change a file's content and keep its time."""
        path = self.source / name
        at = path.stat().st_mtime_ns
        path.write_bytes(content)
        os.utime(path, ns=(at, at))


def shown(entries: Sequence[SourceFile | SkippedFile | Group]) -> list[tuple[str, str]]:
    """Write what a sieve gave as names and reasons."""
    named = [(entry.name if isinstance(entry, Group) else entry.path, entry) for entry in entries]
    return [(name, entry.reason.value if isinstance(entry, SkippedFile) else "") for name, entry in named]
