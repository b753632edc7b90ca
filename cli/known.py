"""What `--skip-unchanged` leaves out, and what to say about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cli.output import counted, local_time
from paceline.model import BatchSpec, SkipReason

if TYPE_CHECKING:
    from cli.target import Target
    from config.services import Services
    from paceline.known import KnownFiles
    from producers.known import Sieve

KNOWN = (SkipReason.UNCHANGED.value, SkipReason.SAME_CONTENT.value)


def sieve_for(target: Target, known: KnownFiles) -> Sieve | None:
    """Return what leaves known files out of a batch; None where that wasn't asked for."""
    from producers.known import Sieve

    how = target.spec.options.get("skip", "")
    return Sieve(known, target.spec, contents=how == "content") if how else None


@contextmanager
def sieve_at_hand(target: Target) -> Iterator[Sieve | None]:
    """The same where a ledger may be missing: then nothing is known, and a line says so."""
    from cli.reading import reading

    if not target.spec.options.get("skip"):
        yield None
        return
    with reading(target.settings) as services:
        if services is None:
            click.echo(f"--skip-unchanged: {target.settings.home} holds no batches, so every file is new", err=True)
        yield None if services is None else sieve_for(target, services.known)


def known_files(left_out: Mapping[str, int]) -> int:
    """Return how many files were left out because they are known."""
    return sum(left_out.get(reason, 0) for reason in KNOWN)


def left_out_text(left_out: Mapping[str, int]) -> str:
    """Write which files were left out: `2,998 unchanged · 2 empty`, known ones first."""
    names = [name for name in KNOWN if left_out.get(name)] + [name for name in left_out if name not in KNOWN]
    return " · ".join(f"{left_out[name]:,} {name}" for name in names)


def say_nothing_new(spec: BatchSpec, left_out: Mapping[str, int], services: Services) -> None:
    """Say that a batch has nothing to pay for, and since when what it left out is known."""
    from paceline.known import Scope

    last = services.known.scope(Scope(spec))
    since = f" since batch {last.batch} of {local_time(last.at_ms)}" if last else ""
    click.echo(f"{counted(known_files(left_out), 'file')} unchanged{since}; nothing was sent, nothing paid.", err=True)
    others = sum(left_out.values()) - known_files(left_out)
    if others:
        click.echo(f"{counted(others, 'other file')} can't be sent; files.jsonl says why for each.", err=True)


def say_how_to_look_again(spec: BatchSpec) -> None:
    """Say how to find files that came since a batch was complete."""
    if spec.options.get("skip"):
        click.echo("To look for new and changed files since, name another --to: that makes a new batch.", err=True)
    else:
        click.echo("Files added since aren't part of it: another --to makes a new batch.", err=True)
