"""A batch with a real folder at both ends, in a world whose ledger can be lost at any moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paceline.model import BatchSpec, Choice, SizeLimits, submission_id
from paceline.rebuilding import Rebuilt, rebuild
from paceline.runner import Runner
from paceline.sinks.places import parts_folder
from paceline.sinks.registry import open_sink
from paceline.views import BatchView
from producers.enqueue import enqueue, open_batch
from producers.sources import resolve_source
from tests.support.notes import Notes
from tests.support.trees import put
from tests.support.world import World

LIMITS = SizeLimits(files=2, file_bytes=1000)


class Scene:
    """`files` source files, `per_run` a submission, and one that is left out; results go to `places` folders.

    With `names` they go to files of those names in `folder` instead; `out`, where the manifest is, is in the home then.
    """

    def __init__(
        self,
        folder: Path,
        files: int = 12,
        *,
        places: int = 1,
        redis: Any = None,
        per_run: int = 2,
        isolate: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.world = World(redis)
        self._with_folders()
        for number in range(files):
            put(folder / "source" / f"{number:03d}", b"x" * (number + 1))
        put(folder / "source" / "empty", b"")
        self.outs = [folder / name for name in names or [f"out{number}" for number in range(places)]]
        self.spec = BatchSpec(
            source=str(folder / "source"),
            account="fake",
            provider="fake",
            agent="7",
            to=tuple(map(str, self.outs)),
            files_per_run=per_run,
            name="näme",
            priority=3,
            choices={Choice.ISOLATE: str(isolate)} if isolate else {},
        )
        self.limits = replace(LIMITS, files=per_run)
        self.id = self.spec.batch_id()
        self.out = folder / "home" / "batches" / self.id if names else self.outs[0]
        self.manifest = self.out / "manifest.jsonl"

    def _with_folders(self) -> None:
        self.world.context = replace(self.world.context, sink=open_sink)
        self.world.runner = Runner(self.world.context)

    def plan(self, *, stop_after: int | None = None) -> None:
        """Open the batch and plan it, as the command does."""
        asked = iter(range(10_000))
        batch, _ = open_batch(self.world.ledger, self.world.views, self.spec, str(self.manifest))
        enqueue(
            self.world.ledger,
            self.world.views,
            batch,
            resolve_source(self.spec.source),
            self.limits,
            lambda follows: self.world.send(list(follows)),
            stopped=lambda: next(asked) + 1 == stop_after,
        )

    def exported(self) -> int:
        """Count the parts that stand at the first destination."""
        return len(list(self.part(1).parent.glob("*.json")))

    def lose(self, *, spool: bool = True) -> None:
        """Empty Redis, and (unless told otherwise) this machine's spool; what the provider has goes on."""
        if spool:
            self.world.spool.notes = Notes()
        self.world.lose_messages()
        self.world.redis.flushall()
        self.world._tick(0)

    def rebuild(self, *, sending_s: float = 0.0) -> Rebuilt:
        """Rebuild, as the command does."""
        return rebuild(
            self.world.ledger,
            self.world.views,
            str(self.out),
            sending_s=lambda _size: sending_s,
            paused_message="being rebuilt",
            known=self.world.known,
        )

    def batch(self) -> BatchView:
        """Return the batch as the ledger has it."""
        return self.world.views.batch(self.id)

    def runs(self) -> Counter[int]:
        """Count the provider's runs by submission."""
        return Counter(int(run.external_id[-6:]) for run in self.world.provider.runs.values())

    def part(self, index: int, place: int = 0) -> Path:
        """Name a part's file."""
        return Path(str(parts_folder(str(self.outs[place]))), f"{submission_id(self.id, index)}.json")
