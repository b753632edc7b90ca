"""The command's entry: finds the verb, turns errors into one line and an exit code.

Verbs are imported when they are called, so that `paceline --help` doesn't wait for Celery.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from cli.exits import Exit, exit_of
from paceline.errors import PacelineError

VERBS = {
    "run": ("cli.run", "Plan, submit, follow and export a file set."),
    "plan": ("cli.planning", "Show what a run would do, without doing it."),
    "submit": ("cli.submit", "Start a batch and return."),
    "status": ("cli.status", "Show how a batch, or everything, stands."),
    "list": ("cli.listing", "List all batches."),
    "show": ("cli.show", "Show one submission with its journal."),
    "limits": ("cli.limits", "Show the pace: allowed, learned, used, next free slot."),
    "doctor": ("cli.doctor", "Check settings, Redis, keys and agents."),
    "resolve": ("cli.resolve", "Decide on a held submission."),
    "verify": ("cli.verify", "Hold manifest, ledger, provider and output against each other."),
    "rebuild": ("cli.rebuild", "Make the ledger of a batch anew after Redis was lost."),
    "pause": ("cli.pause", "Send nothing more for an account or batch."),
    "resume": ("cli.resume", "Let a paused account or batch go on."),
    "up": ("cli.up", "Start Redis and workers in the background."),
    "down": ("cli.down", "Stop what is left running under PACELINE_HOME."),
    "worker": ("cli.worker", "Run one worker in the foreground."),
    "flower": ("cli.flower", "Watch the workers in Flower."),
    "sandbox": ("sandbox.command", "Stand in for the providers' APIs on this machine."),
}
"""Verb → the module whose `command` it is, and the line it has in `--help`."""


class Verbs(click.Group):
    """A group whose verbs are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs, in the order a person meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(VERBS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; for one that isn't there, name the likeliest."""
        close = difflib.get_close_matches(args[0], VERBS, n=1)
        if args[0] not in VERBS and close:
            ctx.fail(f"No such verb {args[0]!r}; did you mean {close[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="paceline", message="paceline %(version)s")
def cli() -> None:
    """Run piles of files through hosted document agents: each paid for once, at the full pace the provider allows."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit."""
    try:
        code: Any = cli.main(args=arguments, prog_name="paceline", standalone_mode=False)
    except click.exceptions.Abort:
        code = Exit.DETACHED
    except click.ClickException as error:
        error.show()
        code = Exit.USAGE
    except PacelineError as error:
        from config.logs import printable

        click.echo(f"paceline: {printable(str(error))}", err=True)  # it may quote a file's name
        code = exit_of(error)
    except KeyboardInterrupt:
        code = Exit.DETACHED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); Python would complain once more at exit.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.DONE
    sys.exit(int(code or 0))


if __name__ == "__main__":
    main()
