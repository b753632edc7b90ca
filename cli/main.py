"""The command's entry: finds the verb, turns errors into one line and an exit code.

Verbs are imported when they are called, so that `paceline --help` doesn't wait for Celery.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from cli.exits import Exit, exit_of
from cli.importing import importing
from paceline.errors import PacelineError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VERBS = {
    "run": ("cli.run", "Plan, submit, follow and export a file set."),
    "plan": ("cli.planning", "Show what a run would do, without doing it."),
    "submit": ("cli.submit", "Start a batch and return."),
    "status": ("cli.status", "Show how a batch, or everything, stands."),
    "list": ("cli.listing", "List all batches."),
    "show": ("cli.show", "Show one submission with its journal."),
    "report": ("cli.report", "Tell a batch on one page, for the browser."),
    "limits": ("cli.limits", "Show the pace: allowed, learned, used, next free slot."),
    "doctor": ("cli.doctor", "Check settings, Redis, keys and agents."),
    "resolve": ("cli.resolve", "Decide on a held submission."),
    "collect": ("cli.collect", "Ask again after runs that took longer than the time limit."),
    "retry": ("cli.retry", "Send what failed once more."),
    "verify": ("cli.verify", "Hold manifest, ledger, provider and output against each other."),
    "export": ("cli.export", "Write a batch's records to another place."),
    "rebuild": ("cli.rebuild", "Make the ledger of a batch anew after Redis was lost."),
    "gc": ("cli.gc", "Remove old, complete batches from the ledger; outputs stay."),
    "pause": ("cli.pause", "Send nothing more for an account or batch."),
    "resume": ("cli.resume", "Let a paused account or batch go on."),
    "cancel": ("cli.cancel", "End a batch for good, keeping what it has."),
    "schedule": ("cli.schedule", "See and steer what is started by itself."),
    "up": ("cli.up", "Start Redis and workers in the background."),
    "down": ("cli.down", "Stop what is left running under PACELINE_HOME."),
    "worker": ("cli.worker", "Run one worker in the foreground."),
    "beat": ("cli.beat", "Send the ticks that start schedules."),
    "hooks": ("cli.hooks", "Take hints that runs have ended: webhooks, streams."),
    "alive": ("cli.alive", "Tell whether a worker, beat or Flower is alive here."),
    "flower": ("cli.flower", "Watch batches and workers in Flower."),
    "sandbox": ("sandbox.command", "Stand in for the providers' APIs on this machine."),
}
"""Verb → the module whose `command` it is, and the line it has in `--help`."""

DEFECT = 1
"""Python's own exit code for an error that nobody expected."""


class Verbs(click.Group):
    """A group whose verbs are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs, in the order a person meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        if cmd_name not in VERBS:
            return None
        with importing():
            command: click.Command = importlib.import_module(VERBS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; for one that isn't there, name the likeliest."""
        if args[0] not in VERBS:
            import difflib  # takes as long as half of Click, and most people know the verb

            if close := difflib.get_close_matches(args[0], VERBS, n=1):
                ctx.fail(f"No such verb {args[0]!r}; did you mean {close[0]}?")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a verb, which Click would import all of them for, or an option."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(name, help=text) for name, (_, text) in VERBS.items() if name.startswith(incomplete)]
        return [*verbs, *super(click.Group, self).shell_complete(ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="paceline", message="paceline %(version)s")
@click.option("--debug", is_flag=True, help="Log everything, on stderr, and show where an error came from.")
def cli(debug: bool) -> None:
    """Run piles of files through hosted document agents: each paid for once, at the full pace the provider allows."""
    if debug:
        from cli.debugging import log_everything

        log_everything()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit. Whatever it makes is private, whatever the umask."""
    os.umask(0o077)
    try:
        code: Any = cli.main(args=arguments, prog_name="paceline", standalone_mode=False)
    except click.exceptions.Abort:
        code = Exit.DETACHED
    except click.ClickException as error:
        _complain(error)
        code = Exit.USAGE
    except PacelineError as error:
        from cli.debugging import explain

        explain(error)
        code = exit_of(error)
    except KeyboardInterrupt:
        code = Exit.DETACHED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); Python would complain once more at exit.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.DONE
    except Exception as error:  # noqa: BLE001  # the process's edge: Python would print whatever the error quotes
        from cli.debugging import explain_defect

        explain_defect(error)
        code = DEFECT
    sys.exit(int(code or 0))


def _complain(error: click.ClickException) -> None:
    """Say what is wrong with a call as Click does, where an argument may be anything."""
    from config.logs import printable

    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"Try '{error.ctx.command_path} --help' for help.\n", err=True)
    click.echo(f"Error: {printable(error.format_message())}", err=True)


if __name__ == "__main__":
    main()
