"""`python -m tests.soak --seed N --kills 200`: rounds until enough was killed; ends with 1 if anything is amiss."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import click

from tests.soak.checker import Totals
from tests.soak.plan import Mode, draw
from tests.soak.round import LIMIT, carry_out


@click.command()
@click.option("--seed", type=int, default=None, help="Of the plan; default: another one each time. It is printed.")
@click.option("--kills", "wanted", type=click.IntRange(1), default=200, show_default=True)
@click.option("--kills-per-round", "per_round", type=click.IntRange(1), default=70, show_default=True)
@click.option("--submissions", type=click.IntRange(1), default=200, show_default=True, help="In one round.")
@click.option("--first-round", type=click.IntRange(1), default=1, help="To do one round of a seed again.")
@click.option("--mode", type=click.Choice([mode.value for mode in Mode]), help="Default: one after the other.")
@click.option("--evidence", type=click.Path(path_type=Path, file_okay=False), help="Keep every round's evidence there.")
def main(
    seed: int | None,
    wanted: int,
    per_round: int,
    submissions: int,
    first_round: int,
    mode: str | None,
    evidence: Path | None,
) -> None:
    """Kill paceline at seeded moments, then count what was paid, lost and recorded, by the provider's own log."""
    seed = int(time.time()) if seed is None else seed
    keep = evidence is not None
    place = Path(tempfile.mkdtemp(prefix="paceline-soak-")) if evidence is None else evidence.absolute()
    click.echo(f"seed={seed}, {wanted} kills, {submissions} submissions a round, add limit {LIMIT} in 4 s")
    totals, kills, redis_kills, wrong = Totals(), 0, 0, 0
    number = first_round
    while kills < wanted:
        folder = place / f"round-{number:03d}"
        folder.mkdir(parents=True)
        # A few more than needed are drawn: some find nobody to kill.
        plan = draw(
            seed, number, submissions=submissions, kills=2 * per_round, mode=None if mode is None else Mode(mode)
        )
        try:
            report = carry_out(plan, folder, most_kills=min(per_round, wanted - kills))
        except Exception:  # noqa: BLE001  # a process edge: whatever broke, say the seed and where to look
            traceback.print_exc()
            click.echo(f"round {number} broke; seed={seed}, its evidence is in {folder}")
            sys.exit(1)
        verdict, count = report.verdict, report.count
        click.echo(f"round {number} {report}: {'MISMATCH' if verdict.problems else 'ok'}")
        for problem in verdict.problems[:20]:
            click.echo(f"    {problem}")
        totals += verdict.totals
        kills += count.kills
        redis_kills += count.redis_kills
        if verdict.problems:
            wrong += 1
            click.echo(f"    {len(verdict.problems)} problems; seed={seed}, evidence: {folder}")
        elif not keep:
            shutil.rmtree(folder)
        number += 1
    click.echo(f"{totals} kills={kills} redis_kills={redis_kills}")
    if wrong:
        click.echo(f"{wrong} rounds differ from what must hold; seed={seed}, evidence: {place}")
        sys.exit(1)
    if not keep:
        place.rmdir()


if __name__ == "__main__":
    main()
