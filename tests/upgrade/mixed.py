"""A world in which two versions work on one ledger: each step is done by the released code or by this one's, by lot.

They share Redis, the provider, the output, and the spool, through its lines as they stand in the file.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from paceline import spool as our_spool
from paceline.errors import ProviderError
from paceline.model import Follow, Step
from paceline.runner import Runner
from tests.support.world import World
from tests.upgrade.released import Released

MODULES = ("tests.support.world", "paceline.spool", "paceline.errors", "paceline.steps.context", "paceline.limiter")
"""What `load` has to load for this."""


class BridgedSpool:
    """Our spool as the released code sees it: every note goes through its line."""

    def __init__(self, world: World, released: Released) -> None:
        self._world = world
        self._theirs = released["paceline.spool"]

    def begun(self, request: Any) -> None:
        self._world.spool.notes.read(self._theirs._line(request))

    def keep(self, verdict: Any) -> None:
        self._world.spool.notes.read(self._theirs._verdict_line(verdict))

    def handed_in(self, verdict: Any) -> None:
        self._world.spool.notes.read(self._theirs._line(verdict.request, done=True))

    def latest(self, submission: str) -> Any:
        found = self._world.spool.notes.latest.get(submission)
        return None if found is None else self._read(our_spool._line(found)).latest[submission]

    def accepted(self, submission: str) -> Any:
        found = self._world.spool.notes.accepted.get(submission)
        return None if found is None else self._read(our_spool._verdict_line(found)).accepted[submission]

    def waiting(self) -> list[Any]:
        lines = [our_spool._verdict_line(verdict) for verdict in self._world.spool.notes.waiting.values()]
        return list(self._read(*lines).waiting.values())

    def _read(self, *lines: bytes) -> Any:
        notes = self._theirs.Notes()
        for line in lines:
            notes.read(line)
        return notes


def old_world(released: Released, world: World) -> Any:
    """Make the released version's world around what `world` has outside of its process."""
    worlds, theirs = released["tests.support.world"], released["paceline.errors"]
    outcome = released["paceline.model"].Outcome

    def translated(call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except ProviderError as error:
            same = getattr(theirs, type(error).__name__)
            other = same.__new__(same)
            other.args, other.__dict__ = error.args, dict(error.__dict__)
            raise other from error

    class Provider(worlds.FakeProvider):  # type: ignore[misc, name-defined]  # of another version
        def start(self, external_id: str, names: tuple[str, ...] = ()) -> Any:
            return world.provider.start(external_id, names)

        def _view(self, run: Any) -> Any:
            run.outcome = outcome(run.outcome.value)
            return super()._view(run)

    class Old(worlds.World):  # type: ignore[misc, name-defined]
        clock = property(lambda _self: world.clock, lambda _self, _value: None)

        def restart(self) -> None:
            self.provider = Provider(now=lambda: world.clock, passing=world.seam)
            ours = world.provider
            self.provider.rates = {_endpoint(released, name): _rate(released, one) for name, one in ours.rates.items()}
            self.provider.capabilities = type(self.provider.capabilities)(**_shared(self.provider, ours))
            self.provider.runs, self.provider.arrivals = ours.runs, ours.arrivals
            self.provider.run_s = ours.run_s
            self.provider.on_submit = lambda request: ours.on_submit and translated(ours.on_submit, request)
            self.provider.on_read = lambda what: ours.on_read and translated(ours.on_read, what)
            self.provider.after_accept = lambda request: ours.after_accept and translated(ours.after_accept, request)
            self.sink, self.results = world.sink, world.results
            self.spool = BridgedSpool(world, released)
            super().restart()

    theirs_known = {one.name for one in fields(released["paceline.steps.context"].Waits)}
    known = {name: value for name, value in asdict(world.waits).items() if name in theirs_known}
    waits = released["paceline.steps.context"].Waits(**known)
    policy = released["paceline.limiter"].PacePolicy(**asdict(world.policy))
    return Old(world.redis, waits=waits, pace=policy, seam=world.seam)


def _shared(theirs: Any, ours: Any) -> dict[str, Any]:
    return {name: getattr(ours.capabilities, name) for name in asdict(theirs.capabilities)}


def _endpoint(released: Released, name: Any) -> Any:
    return released["paceline.model"].EndpointClass(name.value)


def _rate(released: Released, rate: Any) -> Any:
    return released["paceline.model"].Rate(**asdict(rate))


class MixedRunner:
    """Draws for each step which version does it."""

    def __init__(self, ours: Runner, old: Any, dice: random.Random, counts: dict[str, int]) -> None:
        self._ours = ours
        self._old = old
        self._dice = dice
        self._counts = counts
        self.only = ""  # 'new' or 'old': nothing is drawn
        self._their_step = type(old.runner).run.__globals__["Step"]

    def run(self, step: Step, *keys: str) -> Sequence[Follow]:
        """Do a step. The old version takes a message with several keys for none of its own, and drops it."""
        if self._draw("new", "old") == "new":
            return self._ours.run(step, *keys)
        return self._translated(self._old.runner.run(self._their_step(step.value), *keys)) if len(keys) == 1 else []

    def rescue(self) -> Sequence[Follow]:
        """Look for what is overdue."""
        if self._draw("new rescue", "old rescue") == "new rescue":
            return self._ours.rescue()
        return self._translated(self._old.runner.rescue())

    def _draw(self, *names: str) -> str:
        name = next((name for name in names if name.startswith(self.only)), "") if self.only else ""
        name = name or self._dice.choice(names)
        self._counts[name] = self._counts.get(name, 0) + 1
        return name

    @staticmethod
    def _translated(follows: Sequence[Any]) -> list[Follow]:
        return [Follow(Step(one.step.value), one.key, one.countdown_s) for one in follows]


class MixedWorld(World):
    """A world whose steps are done by either version."""

    released: Released
    seed: int = 0
    only = ""

    def __init__(self, *args: Any, **named: Any) -> None:
        self._dice = random.Random(self.seed)
        self.counts: dict[str, int] = {}
        self.old: Any = None
        super().__init__(*args, **named)
        self.old = old_world(self.released, self)
        self.restart()

    def restart(self) -> None:
        """Begin new processes of both versions."""
        super().restart()
        if self.old is not None:
            self.old.restart()
            self.mixed = MixedRunner(self.runner, self.old, self._dice, self.counts)
            self.mixed.only = self.only
            self.runner = self.mixed  # type: ignore[assignment]  # it does the same

    def leave_to(self, version: str) -> None:
        """Let only `new` or only `old` work from now on; '' for both."""
        self.only = version
        self.restart()
