"""Says what went wrong, and with `--debug` where: never a local variable, a secret, or a raw control character."""

from __future__ import annotations

import logging
import os
import traceback

import click

from config.connections import mask_of
from config.logs import printable, setup_logging
from config.masking import Mask
from config.settings import load_settings
from paceline.errors import PacelineError
from paceline.secrets import SUFFIX
from paceline.sinks.places import SECRET_ENV

LEVEL = "PACELINE_LOG_LEVEL"


def log_everything() -> None:
    """Log from debug on, here and in the processes that this one starts."""
    os.environ[LEVEL] = "debug"
    try:
        settings = load_settings()
    except PacelineError:
        return  # the verb meets the same error and explains it
    setup_logging("debug", settings.log_format, mask=mask_of(settings))


def explain(error: PacelineError) -> None:
    """Say an error in one line; it may quote a file's name."""
    mask = _mask()
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        _show_traceback(error, mask)
    click.echo(f"paceline: {mask(printable(str(error)))}", err=True)


def explain_defect(error: Exception) -> None:
    """Show an error that nobody expected, with its traceback."""
    mask = _mask()
    _show_traceback(error, mask)
    click.echo("paceline: this is a defect; nothing is lost, the same command goes on where it was", err=True)


def _show_traceback(error: Exception, mask: Mask) -> None:
    for line in "".join(traceback.format_exception(error)).splitlines():
        click.echo(mask(printable(line)), err=True)


def _mask() -> Mask:
    try:
        settings = load_settings()
    except PacelineError:
        names = {name.removesuffix(SUFFIX) for name in os.environ}
        return Mask(name for name in sorted(names) if name.endswith("_API_KEY") or name == SECRET_ENV)
    return mask_of(settings)
