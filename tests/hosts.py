"""Several machines for real: `python -m tests.hosts --seed N --cut-seconds 60`; ends with 1 if anything is amiss.

A batch goes on while hosts are cut off, from everything, from Redis only or from the provider only, and lose their
power. Afterwards the sandbox's own log says what was accepted, and the checker of the soak what differs.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from paceline.lifecycle import Verb
from paceline.views import Views
from tests.soak.checker import Ending, Evidence, Totals, busiest, check
from tests.soak.round import digests_of, evidence, read_journal
from tests.support.command import make_files, wait_for
from tests.support.hosts import LEASE_AND_SETTLE_S, Host, Kind, Site, site
from tests.support.namespaces import Cable

HOSTS = 3
DAYS_S = 11 * 86_400
"""How far the boot clock of the last host is ahead: each host's is its own."""

LONGEST_S = 180.0
"""For what has to happen to happen."""


class What(StrEnum):
    """What is done to a host."""

    CUT = "cut off"  # from everything
    NO_REDIS = "cut off from Redis"
    NO_PROVIDER = "cut off from the provider"
    POWER = "power off"


CABLES = {What.CUT: tuple(Cable), What.NO_REDIS: (Cable.REDIS,), What.NO_PROVIDER: (Cable.PROVIDER,)}


@dataclass(frozen=True, slots=True)
class Act:
    """One thing done to a host (from 0), once so many submissions are accepted; a cut lasts `seconds`.

    With `sending`, at a moment when the host has a request under way.
    """

    what: What
    host: int
    at_accepted: int
    seconds: float = 0.0
    sending: bool = True

    def __str__(self) -> str:
        lasts = "" if self.what is What.POWER else f" for {self.seconds:g} s"
        return f"host{self.host + 1} {self.what}{lasts}, {self.at_accepted} accepted"


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch and what happens to its hosts, in order; an act begins when the cut of the one before has begun.

    `limit` requests are accepted in `window_s`; runs take `run_seconds`, as the sandbox writes it. `roles` are those of
    the hosts' workers.
    """

    submissions: int
    acts: Sequence[Act]
    limit: int
    window_s: float
    run_seconds: str
    roles: Sequence[str] = ("all",) * HOSTS


@dataclass
class Report:
    """How it went."""

    kind: Kind
    totals: Totals
    problems: list[str]
    told: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kind}: {self.totals}"


class Room:
    """Does to the hosts what the plan says."""

    def __init__(self, built: Site, plan: Plan) -> None:
        self._site = built
        self._plan = plan
        self._client: Any = built.redis.client()
        self._views = Views(self._client)
        self._cuts: list[tuple[float, Host]] = []
        self._started = time.monotonic()
        self.told: list[str] = []

    def carry_out(self) -> None:
        """Carry out the acts while the batch goes on; return when it is complete and every cable is in again."""
        for act in self._plan.acts:
            host = self._site.hosts[act.host]
            self._until(lambda act=act: self._accepted(act.at_accepted))
            self._until(lambda host=host: not host.cut_cables)
            if act.sending:
                self._until(lambda host=host: self._sends(host))
            self._tell(str(act))
            if act.what is What.POWER:
                host.power_off()
                continue
            host.cut(CABLES[act.what])
            self._cuts.append((time.monotonic() + act.seconds, host))
        self._until(lambda: not self._cuts)
        self._until(lambda: (self._site.desk.folder / "out" / "_SUCCESS").exists())

    def leave_alone(self, host: int) -> None:
        """End every other host, and have a small batch done: by this one, or never."""
        for other in self._site.hosts:
            if other is not self._site.hosts[host]:
                other.close()
        make_files(self._site.desk.folder / "more", 2)
        planned = self._site.desk("submit", "more", "--agent", "kolena:1", "--to", "out-more")
        assert planned.code == 0, planned.stderr
        self._until(lambda: (self._site.desk.folder / "out-more" / "_SUCCESS").exists())
        self._tell(f"{self._site.hosts[host].name} does a batch alone")

    def _until(self, condition: Any) -> None:
        """Wait for a condition, putting in cables whose time has come."""
        deadline = time.monotonic() + LONGEST_S + max((act.seconds for act in self._plan.acts), default=0.0)
        while True:
            for cut in [cut for cut in self._cuts if cut[0] <= time.monotonic()]:
                self._cuts.remove(cut)
                self._put_in(cut[1])
            if condition():
                return
            assert time.monotonic() < deadline, "\n".join([*self.told, "then nothing more happened"])
            time.sleep(0.02)

    def _put_in(self, host: Host) -> None:
        host.join()
        self._tell(f"{host.name} is back")

    def _accepted(self, number: int) -> bool:
        query = f"wait?event=accepted&count={number}&timeout=0.2"
        return bool(self._site.sandbox.control("GET", query)["reached"])

    def _sends(self, host: Host) -> bool:
        return any(host.is_named(worker) for worker in self._views.senders().values())

    def _tell(self, text: str) -> None:
        self.told.append(f"{time.monotonic() - self._started:6.1f} s  {text}")


def carry_out(plan: Plan, folder: Path) -> Report:
    """Carry out a plan in an empty folder and judge it by the sandbox's log."""
    make_files(folder / "files", plan.submissions)
    rate = f"{plan.limit}/{plan.window_s:g}s"
    limits = {"add": rate, "get": f"400/{plan.window_s:g}s", "list": f"400/{plan.window_s:g}s"}
    words = ["--run-seconds", plan.run_seconds, "--fault", "delay@add:seconds=0.5"]
    with site(folder, HOSTS, *words, limits=limits, boot_ahead_s={HOSTS: DAYS_S}) as built:
        for host, role in zip(built.hosts, plan.roles, strict=True):
            host.start_worker(role)
        client: Any = built.redis.client()
        wait_for(lambda: len(list(client.scan_iter("pl:worker:*"))) == HOSTS, "the workers", LONGEST_S)
        command = ("files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        planned = built.desk("submit", *command)
        assert planned.code == 0, planned.stderr
        room = Room(built, plan)
        room.carry_out()
        again = built.desk("run", *command)
        verified = built.desk("verify", "out")
        evidence = _gather(built, plan, [Ending("run", again.code, (folder / "out" / "_SUCCESS").exists())])
        room.leave_alone(next(act.host for act in plan.acts if act.what is not What.POWER))
    verdict = check(evidence)
    # What waited in a cable arrives late, together with others. So the pace is judged by the permits.
    problems = [problem for problem in verdict.problems if not problem.startswith("I3")]
    if (most := busiest(_permits_s(evidence.journal), plan.window_s)) > plan.limit:
        problems.append(f"I3 {most} permits in {plan.window_s:g} s, allowed are {plan.limit}")
    if verified.code != 0:
        problems.append(f"verify ended with {verified.code}: {verified.stdout}{verified.stderr}")
    problems += [f"{host.name}.log has a defect" for host in built.hosts if "rescue.defect" in host.log.read_text()]
    return Report(built.kind, verdict.totals, problems, room.told)


def _permits_s(journal: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return when permits were granted, without those of requests that surely did nothing, which are handed back."""
    begun: dict[str, list[float]] = defaultdict(list)
    for row in journal:
        if row["verb"] == Verb.BEGIN:
            begun[row["submission"]].append(int(row["at"].partition("-")[0]) / 1000)
        elif row["verb"] == Verb.PUT_BACK:
            begun[row["submission"]].pop()
    return [at for times in begun.values() for at in times]


def _gather(built: Site, plan: Plan, endings: Sequence[Ending]) -> Evidence:
    folder = built.desk.folder
    client: Any = built.redis.client()
    return evidence(
        folder,
        built.sandbox,
        built.desk.environment["KOLENA_API_KEY"],
        read_journal(client),
        digests=digests_of(folder / "files"),
        endings=endings,
        limit=plan.limit,
        window_s=plan.window_s,
    )


AWAY_S = LEASE_AND_SETTLE_S + 1

SHORT = Plan(
    submissions=45,
    acts=(
        Act(What.CUT, 0, at_accepted=5, seconds=AWAY_S),
        Act(What.NO_REDIS, 1, at_accepted=7, seconds=AWAY_S),
        Act(What.POWER, 1, at_accepted=20),
    ),
    limit=10,
    window_s=2.0,
    run_seconds="1-4",
    roles=("all", "upload", "all"),  # what else the dead one had would wait for 45 s, the lease of a chain
)
"""For `make test`: one host cut off for longer than lease and settling time, one dead after a while without Redis."""


def draw(seed: int, *, cut_s: float, submissions: int) -> Plan:
    """Draw a long plan: every kind of cut during uploads, one host dead, and a cut while runs are only followed."""
    dice = random.Random(seed)
    hosts = dice.sample(range(HOSTS), HOSTS)
    kinds = dice.sample([What.CUT, What.NO_REDIS, What.NO_PROVIDER], 3)
    part = submissions // 5
    acts = [
        Act(kind, hosts[number % 2], (number + 1) * part + dice.randrange(part // 2), cut_s)
        for number, kind in enumerate(kinds)
    ]
    acts.insert(dice.randrange(1, 3), Act(What.POWER, hosts[2], 0))
    acts = [
        act if act.at_accepted else Act(What.POWER, act.host, acts[at - 1].at_accepted + 3)
        for at, act in enumerate(acts)
    ]
    acts.append(Act(What.CUT, dice.choice(hosts[:2]), submissions, cut_s, sending=False))
    pace = 4.0 * submissions / (5 * cut_s)  # in 4 s: five parts, each about as long as a cut
    return Plan(submissions, tuple(acts), max(round(pace), 2), 4.0, f"5-{max(cut_s, 6.0):g}")


@contextmanager
def _evidence(place: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="paceline-hosts-")) if place is None else place.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    if place is None:
        shutil.rmtree(folder)


@click.command()
@click.option("--seed", type=int, default=None, help="Of the plan; default: another one each time. It is printed.")
@click.option("--cut-seconds", type=click.FloatRange(LEASE_AND_SETTLE_S), default=60.0, show_default=True)
@click.option("--submissions", type=click.IntRange(20), default=400, show_default=True)
@click.option("--short", is_flag=True, help="What `make test` does.")
@click.option("--evidence", type=click.Path(path_type=Path, file_okay=False), help="Keep the evidence there.")
def main(seed: int | None, cut_seconds: float, submissions: int, short: bool, evidence: Path | None) -> None:
    """Cut hosts off and take their power away under a batch, then count what was paid by the provider's own log."""
    seed = int(time.time()) if seed is None else seed
    plan = SHORT if short else draw(seed, cut_s=cut_seconds, submissions=submissions)
    click.echo(f"seed={seed}, {plan.submissions} submissions, {plan.limit} in {plan.window_s:g} s")
    with _evidence(evidence) as folder:
        try:
            report = carry_out(plan, folder)
        except Exception:  # noqa: BLE001  # a process edge: whatever broke, say the seed and where to look
            traceback.print_exc()
            click.echo(f"it broke; seed={seed}, its evidence is in {folder}")
            sys.exit(1)
        click.echo("\n".join([*report.told, str(report)]))
        if report.problems:
            click.echo("\n".join(report.problems[:30]))
            click.echo(f"{len(report.problems)} problems; seed={seed}, evidence: {folder}")
            sys.exit(1)


if __name__ == "__main__":
    main()
