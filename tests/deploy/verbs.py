"""Parses commands of ours as the shipped command would, without carrying them out."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cli.main import cli


def parse(command: Sequence[str]) -> tuple[str, list[str]]:
    """Parse a command; return its verb and its arguments. Raises `click.UsageError`, `AssertionError` for another's.

    Options are checked by name and value, as they are when it is called.
    """
    program, *rest = command
    assert program.rpartition("/")[2] == "paceline", program
    above = click.Context(cli, info_name="paceline", **cli.context_settings)
    name, verb, rest = cli.resolve_command(above, rest)
    assert verb is not None
    assert name is not None
    context = verb.make_context(name, list(rest), parent=above)
    arguments = [one.name for one in verb.params if isinstance(one, click.Argument)]
    return name, [str(context.params[one]) for one in arguments if one]
