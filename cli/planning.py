"""`paceline plan`: a rehearsal of a run, without Redis, network or key, and without touching its output.

Only the plan is written (under `PACELINE_HOME/plans`, or where `--save` and `--manifest` say), and a list that is kept.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.asked import Asked, asking
from cli.exits import Exit
from cli.known import known_files, sieve_at_hand
from cli.output import print_json
from cli.past import look_back
from cli.plan_report import Wish, as_json, make_report, print_report
from cli.target import Target, make_target
from paceline.errors import ConfigError, UsageError
from paceline.model import PlannedSubmission, SkippedFile
from paceline.sinks.places import private_paths

if TYPE_CHECKING:
    from config.schema import Settings
    from producers.known import Known
    from producers.rehearsal import Rehearsal
    from producers.weighing import FileScale

SHOW_EVERY_S = 0.5

INPUT_ROOM_BYTES = 200
"""Left free in a request whose files travel in an input of the agent's: a plan doesn't ask for that input's name."""


@click.command("plan")
@asking(agent_and_to=False)
@click.option(
    "--deadline", metavar="TIME", help="Say whether it can be done by then: 06:00, or like 2026-12-01T06:00+01:00."
)
@click.option("--start", metavar="TIME", help="With --deadline: when it is begun, written alike; default: now.")
@click.option(
    "--save", metavar="FILE", help="Where to save the plan for `paceline run FILE`; default: PACELINE_HOME/plans."
)
@click.option("--manifest", metavar="FILE", help="Where to write the bare manifest; default: PACELINE_HOME/plans.")
@click.option("--json", "json_", is_flag=True, help="Print the plan as JSON.")
def command(
    asked: Asked, deadline: str | None, start: str | None, save: str | None, manifest: str | None, json_: bool
) -> int:
    """Rehearse running SOURCE: what is left out, how many runs and requests, how long it takes, what it may cost.

    Nothing is sent and nothing is registered. With --agent and --to, the plan is saved, and `paceline run` executes
    that file exactly as it stands. What earlier batches came to is the basis for time and credits, where there are any.
    """
    from producers.saved import looks_saved

    if any(map(looks_saved, asked.sources)):
        raise UsageError(f"{asked.sources[0]!r} is a saved plan already: run it with: paceline run {asked.sources[0]}")
    wish = _wish(start, deadline)
    if asked.skip_unchanged and ":" not in (asked.agent or ""):
        raise UsageError("--skip-unchanged: what is known depends on the agent; add --agent ACCOUNT:ID")
    settings, agent = _settings_for(asked.agent)
    agent_known = ":" in (asked.agent or "")
    target = make_target(settings, replace(asked, agent=agent))
    runnable = agent_known and bool(target.spec.to)
    if save is not None and not runnable:
        raise UsageError("--save: a plan that can be run says who runs it and where results go: add --agent and --to")
    target = replace(target, manifest=_path_for(target, "--manifest", manifest, ".jsonl"))
    plan = _path_for(target, "--save", save, ".plan") if runnable else None
    past = look_back(target, agent_known=agent_known)
    scale = _scale(target, runnable=runnable)
    with sieve_at_hand(target) as known:
        tally = _plan(replace(target, exclude=past.exclude), scale, known, in_home=manifest is None)
    if plan is not None and tally.files:
        _save(target, tally, scale, plan)
    report = make_report(target, tally, past, wish, agent_known=agent_known, plan=plan if tally.files else None)
    if json_:
        print_json(as_json(report))
    else:
        print_report(report)
    if not tally.total:
        click.echo(target.source.nothing, err=True)
        return Exit.NOTHING_TO_DO
    if unchanged := not tally.files and known_files({reason.value: n for reason, n in tally.skipped.items()}):
        click.echo(
            f"Nothing new: {unchanged:,} of {tally.total:,} files are known; a run would send nothing.", err=True
        )
        return Exit.NOTHING_TO_DO
    if not tally.files:
        click.echo(f"No file of {target.source.location!r} can be run; the manifest says why for each.", err=True)
        return Exit.NOTHING_USABLE
    return Exit.DONE


def _wish(start: str | None, deadline: str | None) -> Wish:
    """Read the times. Raises `UsageError`."""
    from producers.deadline import parse_moment

    if start is not None and deadline is None:
        raise UsageError("--start says from when on the time to a deadline counts: add --deadline")
    now = datetime.now(UTC)
    starts = now if start is None else parse_moment(start, now, "--start")
    at = None if deadline is None else parse_moment(deadline, starts, "--deadline")
    return Wish(starts, at, later=start is not None)


def _settings_for(agent: str | None) -> tuple[Settings, str]:
    """Load the settings, adding a provider's account with its published limits where no key makes one."""
    from config.accounts import Account, default_url_env
    from config.settings import load_settings
    from paceline.providers.kinds import provider_kind, provider_names

    settings = load_settings()
    if agent is None:
        agent = next(iter(settings.accounts)) if len(settings.accounts) == 1 else "kolena"
    word, colon, _ = agent.partition(":")
    known = word in provider_names()
    if known and not any(word in (one.name, one.provider) for one in settings.accounts.values()):
        if not provider_kind(word).url:
            raise ConfigError(f"provider {word} has no address of its own; export {default_url_env(word)}=https://…")
        account = Account.model_validate({"name": word})
        settings = settings.model_copy(update={"accounts": {**settings.accounts, word: account}})
    if not colon:  # any agent: its id changes nothing about a plan
        kind = settings.accounts[word].kind if word in settings.accounts else provider_kind(word if known else "kolena")
        agent = f"{word}:{kind.agent_example}"
    return settings, agent


def _path_for(target: Target, option: str, wanted: str | None, suffix: str) -> str:
    """Choose a place for what is written. Raises `UsageError` for one that would overwrite or change what is there."""
    if wanted is None:
        return str(target.settings.home.absolute() / "plans" / f"{target.spec.batch_id()}{suffix}")
    from producers.sources import FILES_ALONE

    path = Path(wanted).expanduser().absolute()
    if suffix == ".plan" and path.suffix != suffix:
        raise UsageError(f"{option} {wanted!r}: a plan is known by its name; let it end with {suffix}")
    if path.exists() or path.is_symlink():
        raise UsageError(f"{option} {wanted!r} exists; a plan overwrites nothing: name a new file, or remove it")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {wanted!r}: there is no folder {str(path.parent)!r}; make it")
    places = [(place, "--to") for to in target.spec.to for place in private_paths(to)]
    if not FILES_ALONE & {*target.spec.options}:
        places.append((target.source.location, "the source"))
    for place, what in places:
        if path.resolve().is_relative_to(Path(place).resolve()):
            raise UsageError(f"{option} {wanted!r} lies in {what}; a plan changes nothing there: name another place")
    return str(path)


def _scale(target: Target, *, runnable: bool) -> FileScale | None:
    """Return what files weigh, where that isn't their size; of a plan to be run, with room for what the agent adds."""
    from producers.weighing import FileScale

    weights = target.weights({})
    if weights is None:
        return None
    scale = FileScale(weights, target.spec.inputs, target.source.location)
    if runnable and not target.account.opening_options.get("input"):
        scale.empty_bytes += INPUT_ROOM_BYTES
    return scale


def _plan(target: Target, scale: FileScale | None, known: Known | None, *, in_home: bool) -> Rehearsal:
    """List the source, cut it, write the manifest; it gets its name only when it is whole."""
    from paceline.durable import make_private_dir, writing
    from paceline.manifest import ManifestWriter
    from producers.contents import Contents
    from producers.planning import Cut, plan_entries
    from producers.rehearsal import Rehearsal

    if in_home:
        make_private_dir(str(Path(target.manifest).parent))
    part = Path(target.manifest + ".part")
    tally = Rehearsal(contents=Contents(target.way))
    show = _Counter()
    cut = Cut(target.limits, target.spec.files_per_run, scale, target.grouping, known)
    try:
        with ManifestWriter(str(part), target.spec.batch_id()) as writer:
            for entry in plan_entries(target.source, cut, target.exclude):
                writer.write(entry)
                tally.add(entry)
                show.at(tally, entry)
            writer.flush()
            with writing(target.manifest):
                part.replace(target.manifest)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    finally:
        show.clear()
    return tally


def _save(target: Target, tally: Rehearsal, scale: FileScale | None, path: str) -> None:
    """Save the plan for `paceline run`."""
    from producers.saved import Header, facts_of, fingerprint, own_version, save_plan

    account = target.account
    header = Header(
        spec=target.spec,
        limits=account.size_limits,
        weighing=fingerprint(account.opening_options),
        empty_bytes=0 if scale is None else scale.empty_bytes,
        facts=facts_of(tally),
        made_ms=round(time.time() * 1000),
        version=own_version(),
    )
    save_plan(path, header, target.manifest)


class _Counter:
    """Shows on a terminal how far a long listing is."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._shown_at = time.monotonic()
        self._shown = False

    def at(self, tally: Rehearsal, entry: PlannedSubmission | SkippedFile) -> None:
        if not self._on or time.monotonic() - self._shown_at < SHOW_EVERY_S:
            return
        self._shown_at, self._shown = time.monotonic(), True
        click.echo(f"\r{tally.total:,} files · {tally.submissions:,} submissions …", err=True, nl=False)

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
