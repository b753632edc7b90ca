"""Split what failed in halves: the ledger's part of it."""

from __future__ import annotations

from collections.abc import Sequence

from paceline import halving
from paceline import redis_keys as keys
from paceline.desk import Desk
from paceline.model import Follow, PlannedFile, Step, batch_of, index_of, submission_id
from paceline.packing import pack_files
from paceline.replies import Lost, Moved
from paceline.scripts import Arg


class Isolation(Desk):
    """Decides on halving, and carries it out. Thread-safe."""

    def isolate(self, submission: str, generation: int) -> bool | Lost:
        """Decide whether a submission that failed is split in halves: once for each time it fails, for all who ask.

        Takes the runs from the batch's budget (`Choice.ISOLATE`). True: its reason is `split` from now on, and `split`
        is due once every sink has its record, instead of `exported`.
        """
        args: list[Arg] = [submission, generation, halving.RUNS, halving.REASON]
        (word,) = self._scripts.run("isolate", keys.way(submission, *self.place(batch_of(submission))), args)
        return word == b"split" if word in (b"split", b"whole") else Lost()

    def split(self, submission: str, generation: int, files: Sequence[PlannedFile]) -> Moved | Lost:
        """Record that every sink has the record of a submission that is split, and plan the halves of its files."""
        batch = batch_of(submission)
        account, agent = self.place(batch)
        wanted = [*keys.way(submission, account, agent), keys.digests(submission), keys.halves(batch)]
        args: list[Arg] = [submission, generation, halving.REASON]
        for index, part in zip(halving.halves_of(index_of(submission)), halving.cut(files), strict=True):
            half = submission_id(batch, index)
            args += [half, len(part), sum(file.size_bytes for file in part), pack_files(part)]
            wanted += [keys.submission(half), keys.files(half)]
        row = self._scripts.run("split", wanted, args)
        if row[0] != b"ok":
            return Lost()
        wake_ms = int(row[2])
        return Moved(int(row[1]), Follow(Step.FEED, account, wake_ms / 1000) if wake_ms >= 0 else None)
