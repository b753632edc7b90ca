"""A batch with something of everything that a report tells: slow runs, failures, files left out, odd names."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

from paceline.errors import Throttled
from paceline.manifest import ManifestWriter
from paceline.model import BatchSpec, EndpointClass, Outcome, PlannedFile, PlannedSubmission, SkippedFile, SkipReason
from paceline.providers.base import SubmitRequest
from paceline.replies import Moved
from paceline.report.from_ledger import gather
from paceline.report.numbers import Report
from tests.support.world import World

EVIL = "<script>alert('x')</script>\"&'\u202egnp.\udcff\x1b[31m"
"""A name that would do something where it is put into a page, a terminal or a file as it is."""

WORDS = ("invoice", "delivery-note", "contract", "order", "reminder", "offer")
SKIPPED = {SkipReason.EMPTY: 4, SkipReason.TOO_LARGE: 1, SkipReason.UNREADABLE: 2}


class Told:
    """A batch of `submissions` in a world of its own, planned but not run; its manifest lies in `folder`."""

    def __init__(
        self,
        folder: Path,
        submissions: int = 60,
        *,
        name: str = "Supplier documents, third quarter",
        files: int = 8,
        source: str = "/srv/documents/2026-q3",
        options: Mapping[str, str] | None = None,
        folder_of: Callable[[int], str] = lambda index: f"supplier-{index % 37:03d}",
    ) -> None:
        self.world = World()
        self.chance = random.Random(7)
        self.spec = BatchSpec(
            source=source,
            account="fake",
            provider="fake",
            agent="7",
            to=("/srv/results/2026-q3", "postgresql://warehouse/documents"),
            files_per_run=files,
            name=name,
            options=options or {},
        )
        self.id = self.spec.batch_id()
        manifest = folder / "manifest.jsonl"
        self.world.ledger.open_batch(self.spec, manifest=str(manifest))
        self.world.provider.on_submit = self._vary
        with ManifestWriter(str(manifest), self.id) as writer:
            for index in range(1, submissions + 1):
                planned = PlannedSubmission(index, tuple(self._file(folder_of(index), n) for n in range(files)))
                writer.write(planned)
                moved = self.world.ledger.plan(self.id, planned, manifest_bytes=writer.flush())
                self.world.send([moved.follow] if isinstance(moved, Moved) and moved.follow else [])
            for reason, number in SKIPPED.items() if submissions else ():
                for n in range(number):
                    writer.write(SkippedFile(f"scans/{reason.value}-{n}.pdf", reason, 0, 0))
            end = writer.flush()
        left = SKIPPED if submissions else {}
        self.world.ledger.left_out(self.id, {reason.value: number for reason, number in left.items()})
        follow = self.world.ledger.listed(self.id, skipped=sum(left.values()), manifest_bytes=end)
        self.world.send([follow] if follow else [])

    def _file(self, folder: str, number: int) -> PlannedFile:
        name = f"{self.chance.choice(WORDS)}-{self.chance.randrange(10_000):04d}.pdf"
        size = self.chance.randrange(20_000, 4_000_000)
        return PlannedFile(f"{folder}/{number}-{name}", size, 1_790_000_000_000_000_000, f"{number}-{name}")

    def _vary(self, request: SubmitRequest) -> None:
        """Let every run take another time, and refuse a request now and then."""
        self.world.provider.run_s = self.chance.lognormvariate(3.6, 0.6)
        if self.chance.random() < 0.004:
            raise Throttled("too many requests", retry_after_s=5.0)

    def fail_every(self, nth: int) -> None:
        """Let each `nth` run fail."""
        provider = self.world.provider
        provider.outcome = lambda name: Outcome.FAILED if int(name[-6:]) % nth == 0 else Outcome.SUCCEEDED

    def report(self, *, waits: str | None = None) -> Report:
        """Gather what there is to tell now."""
        world = self.world
        return gather(
            world.redis,
            world.views,
            world.views.batch(self.id),
            version="0.1.0",
            rate=world.provider.rates[EndpointClass.ADD],
            waits=waits,
        )
