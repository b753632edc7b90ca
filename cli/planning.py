"""`paceline plan`: what a run would come to, without Redis, network or key, and without touching its output.

Only the manifest is written: under `PACELINE_HOME/plans`, or where `--manifest` says.
"""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.asked import Asked, asking, default_choices, merged
from cli.exits import Exit
from cli.known import known_files, sieve_at_hand
from cli.output import print_fields, print_json, size
from cli.progress import duration
from cli.target import Target, make_target
from paceline.delays import single_gap_s
from paceline.errors import ConfigError, UsageError
from paceline.model import EndpointClass, PlannedSubmission, Rate, SkippedFile
from paceline.starting import way_of

if TYPE_CHECKING:
    from config.accounts import Account
    from config.schema import Settings
    from producers.known import Known
    from producers.planning import Tally

RUN_S = 60.0
"""How long a run is taken to last, for the estimate of status requests; nobody knows before."""

LOOK_EVERY_S = 5.0
"""Between two looks at all runs in flight: the grid of `paceline.delays`."""

SHOW_EVERY_S = 0.5


@click.command("plan")
@asking(agent_and_to=False)
@click.option("--manifest", metavar="FILE", help="Where to write the manifest; default: PACELINE_HOME/plans.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(asked: Asked, manifest: str | None, as_json: bool) -> int:
    """Show what running SOURCE would take: submissions, files left out, requests and minutes.

    Nothing is sent and nothing is registered. The pace is the account's as it is set, or as its provider publishes it.
    """
    if asked.skip_unchanged and ":" not in (asked.agent or ""):
        raise UsageError("--skip-unchanged: what is known depends on the agent; add --agent ACCOUNT:ID")
    settings, agent = _settings_for(asked.agent)
    target = make_target(settings, replace(asked, agent=agent))
    target = replace(target, manifest=_manifest_path(target, manifest))
    with sieve_at_hand(target) as known:
        tally = _plan(target, known, in_home=manifest is None)
    report = describe(target, tally, agent_known=":" in (asked.agent or ""))
    if as_json:
        print_json(report)
    else:
        _print(report)
    if not tally.total:
        click.echo(f"{target.source.location!r} has no file to run (hidden files don't count)", err=True)
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


def least_seconds(submissions: int, rate: Rate, window_s: float) -> float:
    """Return the least time from the first request to the last: a sliding window lets `limit` go in each `window_s`."""
    return max(submissions - 1, 0) // rate.limit * window_s


def status_requests(submissions: int, account: Account, seconds: float) -> int:
    """Estimate the requests that following the runs costs: every few seconds as many as a sweep of those in flight."""
    add, most = account.rates[EndpointClass.ADD], account.kind.capabilities.asks_after_many
    in_flight = min(submissions, math.ceil(add.limit * RUN_S / add.window_s))
    calls = math.ceil(in_flight / max(most, 1))
    every_s = LOOK_EVERY_S if most else max(LOOK_EVERY_S, calls * single_gap_s(account.rates[EndpointClass.GET]))
    return math.ceil((seconds + RUN_S) / every_s) * calls


def describe(target: Target, tally: Tally, *, agent_known: bool) -> dict[str, Any]:
    """Return the plan as `--json` prints it. `seconds` is the time that sending takes; runs and uploads come on top."""
    from paceline.limiter import PacePolicy

    account, settings = target.account, target.settings
    choices = merged(default_choices(account), target.spec.choices)
    endpoint, waits = way_of(choices, tally.submissions, account.rates, account.kind.capabilities.waits_s)
    rate = account.rates[endpoint]
    policy = PacePolicy(permit_life_s=settings.permit_life_seconds, margin_s=settings.pace_margin_seconds)
    seconds = least_seconds(tally.submissions, rate, policy.window_ms(rate) / 1000)
    status = 0 if waits else status_requests(tally.submissions, account, seconds)
    return {
        "batch": target.spec.batch_id() if agent_known and target.spec.to else None,
        "source": target.source.location,
        "account": target.account.name,
        "agent": f"{target.account.name}:{target.spec.agent}" if agent_known else None,
        "files": {"total": tally.total, "planned": tally.files, "skipped": tally.skipped.total()},
        "skipped": {reason.value: number for reason, number in sorted(tally.skipped.items())},
        "bytes": tally.size_bytes,
        "submissions": tally.submissions,
        "files_per_run": target.spec.files_per_run,
        "requests": {endpoint.value: tally.submissions, "status": status},
        "pace": str(rate),
        "seconds": round(seconds, 3),
        "manifest": target.manifest,
    }


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


def _manifest_path(target: Target, wanted: str | None) -> str:
    """Choose the manifest's place. Raises `UsageError` for one that would overwrite or change what is there."""
    if wanted is None:
        return str(target.settings.home / "plans" / f"{target.spec.batch_id()}.jsonl")
    path = Path(wanted).expanduser().absolute()
    if path.exists() or path.is_symlink():
        raise UsageError(f"--manifest {wanted!r} exists; a plan overwrites nothing: name a new file, or remove it")
    if not path.parent.is_dir():
        raise UsageError(f"--manifest {wanted!r}: there is no folder {str(path.parent)!r}; make it")
    for place, what in ((target.source.location, "the source"), *((folder, "--to") for folder in target.spec.to)):
        if path.resolve().is_relative_to(Path(place).resolve()):
            raise UsageError(f"--manifest {wanted!r} lies in {what}; a plan changes nothing there: name another place")
    return str(path)


def _plan(target: Target, known: Known | None, *, in_home: bool) -> Tally:
    """List the source, cut it, write the manifest; it gets its name only when it is whole."""
    from paceline.durable import make_private_dir, writing
    from paceline.manifest import ManifestWriter
    from producers.planning import Cut, Tally, plan_entries
    from producers.weighing import FileScale

    if in_home:
        make_private_dir(str(Path(target.manifest).parent))
    part = Path(target.manifest + ".part")
    tally = Tally()
    show = _Counter()
    weights = target.weights({})
    scale = FileScale(weights, target.spec.inputs, target.source.location) if weights else None
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


class _Counter:
    """Shows on a terminal how far a long listing is."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._shown_at = time.monotonic()
        self._shown = False

    def at(self, tally: Tally, entry: PlannedSubmission | SkippedFile) -> None:
        if not self._on or time.monotonic() - self._shown_at < SHOW_EVERY_S:
            return
        self._shown_at, self._shown = time.monotonic(), True
        click.echo(f"\r{tally.total:,} files · {tally.submissions:,} submissions …", err=True, nl=False)

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)


def _print(report: dict[str, Any]) -> None:
    files, skipped = report["files"], report["skipped"]
    left_out = " · ".join(f"{number:,} {reason}" for reason, number in skipped.items())
    click.echo(f"A run would be batch {report['batch']}" if report["batch"] else "A run would take")
    fields = [
        ("files", f"{files['planned']:,} of {files['total']:,}, {size(report['bytes'])}"),
        ("left out", left_out or "none"),
        ("submissions", f"{report['submissions']:,} of at most {report['files_per_run']:,} files"),
        ("requests", " · ".join(_request(name, number) for name, number in report["requests"].items())),
        ("pace", f"{report['pace']} for account {report['account']}"),
        ("time", f"{duration(report['seconds'])} at this pace, then the last uploads and runs"),
        ("manifest", report["manifest"]),
    ]
    print_fields(fields)


def _request(name: str, number: int) -> str:
    return f"about {number:,} {name}" if name == "status" and number else f"{number:,} {name}"
