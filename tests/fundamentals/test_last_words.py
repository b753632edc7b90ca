"""What a process was told before it died, and what was paid for, is known to those that go on."""

from __future__ import annotations

from dataclasses import replace

from paceline.model import submission_id
from paceline.spool import Verdict
from paceline.steps.verdicts import hand_in
from tests.support.fake_provider import CAPABILITIES
from tests.support.seam import Mode, Seam
from tests.support.world import World


def dying(effect: str, mode: Mode, *, finds: bool = True) -> World:
    """Give a world whose process dies at the first effect of this name, with one submission planned."""

    def made(seam: Seam) -> World:
        world = World(seam=seam)
        world.provider.capabilities = CAPABILITIES if finds else replace(CAPABILITIES, finds_many=0)
        world.plan(1)
        return world

    whole = made(Seam())
    whole.run()
    return made(Seam({whole.seam.names.index(effect): mode}))


def test_an_accepted_run_outlives_the_worker_that_was_told() -> None:
    world = dying("accepted", Mode.CRASH_BEFORE, finds=False)
    world.run()
    (batch,) = world.views.batch_ids()
    assert world.crashes == 1
    assert world.states(batch) == {"exported": 1}  # nobody could be asked, and no person had to decide
    assert len(world.provider.arrivals) == 1


def test_a_finished_run_has_its_result_kept_already() -> None:
    world = dying("finish", Mode.CRASH_AFTER)
    world.run(until=lambda: world.crashes == 1)
    world.provider.hidden.update(world.provider.runs)  # the provider forgets it at once
    world.run()
    (batch,) = world.views.batch_ids()
    record = world.sink.parts[submission_id(batch, 1)].record
    assert record["data"]["names"]["value"] == ["0.txt", "1.txt", "2.txt"]


def test_a_rescue_between_the_note_and_the_ledger_costs_no_digests() -> None:
    world = World()
    keep = world.spool.keep

    def keep_while_another_looks(verdict: Verdict) -> None:
        keep(verdict)
        hand_in(world.context)  # notes are without digests, which come with the sender's own word

    world.spool.keep = keep_while_another_looks  # type: ignore[method-assign]
    batch = world.plan(2)
    world.run()
    assert world.states(batch) == {"exported": 2}
    digests = [file["sha256"] for part in world.sink.parts.values() for file in part.files]
    assert len(digests) == 6
    assert None not in digests
