"""A world whose provider is a real sandbox behind the real adapter, with real files and a real output folder.

Requests, files and results are real; only waiting costs nothing, because the clock is the world's. So a fault that
takes an hour to get over is tried in a second. Where the sandbox needs real time for something (a run that it accepts
late), a test lets `before_find` wait for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paceline.files import SourceRoot
from paceline.model import BatchSpec, RunView, SizeLimits, Submission
from paceline.providers.http import HttpPolicy
from paceline.providers.kolena import Kolena
from paceline.sinks.registry import open_sink
from paceline.steps.context import Account, Waits
from paceline.views import BatchView
from producers.enqueue import enqueue, open_batch
from producers.sources import resolve_source
from tests.support.command import read_lines
from tests.support.sandbox import Sandbox
from tests.support.world import World

DEADLINE_S = 1.0
"""Of every request, in real seconds: what hangs costs this much."""

LIMITS = SizeLimits(files=300, file_bytes=250_000_000)


class WatchedKolena(Kolena):
    """The adapter, with a moment before each look for uncertain submissions that a test may use."""

    before_find: Callable[[int], object] = staticmethod(lambda _number: None)
    finds = 0

    def find(self, agent: str, external_ids: Sequence[str]) -> Sequence[RunView]:
        """Call `before_find` with the number of this look, from 1."""
        self.finds += 1
        self.before_find(self.finds)
        return super().find(agent, external_ids)


class Rehearsal(World):
    """One account `fake` at the sandbox, whose agent 7 has to exist. Submissions are of one file unless told."""

    def __init__(self, sandbox: Sandbox, folder: Path, *, waits: Waits | None = None) -> None:
        super().__init__(waits=waits or Waits(upload_base_s=DEADLINE_S))
        policy = HttpPolicy(connect_s=5.0, read_s=DEADLINE_S, write_s=DEADLINE_S, whole_read_s=DEADLINE_S)
        self.sandbox = sandbox
        self.folder = folder
        self.out = folder / "out"
        self.kolena = WatchedKolena(sandbox.url, sandbox.key, policy=policy)
        self.opened: Callable[[str], SourceRoot] = SourceRoot
        self.context = replace(
            self.context,
            accounts={"fake": Account("fake", self.kolena, self.provider.rates)},
            source=lambda place: self.opened(place),
            sink=open_sink,
        )
        self.runner.context = self.context

    def plan_folder(self, source: Path, *, files_per_run: int = 1) -> str:
        """Plan every file of a folder, as `paceline submit` does; return the batch."""
        spec = BatchSpec(
            source=str(source),
            account="fake",
            provider="kolena",
            agent="7",
            to=(str(self.out),),
            files_per_run=files_per_run,
            name="",
        )
        self.out.mkdir(exist_ok=True)
        batch, _ = open_batch(self.ledger, self.views, spec, str(self.out / "manifest.jsonl"))
        enqueue(
            self.ledger,
            self.views,
            batch,
            resolve_source(str(source)),
            LIMITS,
            lambda follows: self.send(list(follows)),
        )
        return batch.id

    def batch(self, batch: str) -> BatchView:
        """Show a batch."""
        return self.views.batch(batch)

    def items(self, batch: str) -> list[Submission]:
        """Show a batch's submissions, in order."""
        return list(self.views.submissions(batch))

    def verbs(self, submission: str) -> list[str]:
        """List the transitions of a submission."""
        return [row["verb"] for row in self.views.journal(submission.partition("-")[0], submission)]

    def accepted(self) -> Counter[str]:
        """Count accepted runs by external id, from the sandbox's log."""
        return Counter(row["external_id"] for row in self.sandbox.log(request_class="add") if row["run_id"])

    def records(self) -> dict[str, dict[str, Any]]:
        """Read `results.jsonl`, by the path of each submission's first file."""
        return {record["files"][0]: record for record in read_lines(self.out / "results.jsonl")}

    def file_records(self) -> dict[str, dict[str, Any]]:
        """Read `files.jsonl`, by path; a path that is there twice fails."""
        rows = read_lines(self.out / "files.jsonl")
        found = {row["path"]: row for row in rows}
        assert len(found) == len(rows)
        return found
