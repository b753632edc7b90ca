"""Puts our pages into Flower: handlers, templates, the login of the settings, readable columns, metrics."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tornado.routing import URLSpec
from tornado.web import StaticFileHandler

from config.schema import Settings
from config.settings import load_settings
from monitor import handlers
from monitor.desk import Desk
from monitor.seen import ids_of
from monitor.templating import PagesLoader
from paceline.model import SUBMISSION_ID

STATIC = Path(__file__).with_name("static")

_BATCH = r"b[0-9a-z]{9}"
_ACCOUNT = r"[a-z0-9][a-z0-9_-]{0,63}"

_COLUMNS = "name,args,state,received,started,runtime,worker,uuid"


def install(settings: Settings | None = None) -> None:
    """Extend the Flower of this process, before its application is made. Does nothing the second time.

    Raises `ConfigError` for settings that can't be read.
    """
    urls: Any = import_module("flower.urls")
    options: Any = import_module("flower.options").options
    if "template_loader" in urls.settings:
        return
    chosen = settings or load_settings()
    urls.handlers[-1:-1] = routes(Desk(chosen))
    urls.settings["template_loader"] = PagesLoader(urls.settings["template_path"])
    logins = [one for one in options.basic_auth or () if one]  # an empty variable counts as unset, and isn't to Flower
    if chosen.flower_login is not None and not logins:
        logins = [chosen.flower_login.get_secret_value()]  # on the command line everybody could read it
    options.basic_auth = logins
    if options.tasks_columns == "name,uuid,state,received,runtime,worker":  # Flower's own default: it hides arguments
        options.tasks_columns = _COLUMNS
    if options.format_task is None:
        options.format_task = readable
    _install_metrics(chosen)


def routes(desk: Desk) -> list[URLSpec]:
    """Return our pages with the names that templates know them by."""
    given = {"desk": desk}
    return [
        URLSpec(r"/batches", handlers.Batches, given, name="batches"),
        URLSpec(r"/batches/static/(.*)", StaticFileHandler, {"path": str(STATIC)}, name="paceline-static"),
        URLSpec(rf"/batch/({_BATCH})", handlers.Batch, given, name="batch"),
        URLSpec(rf"/batch/({_BATCH})/submissions", handlers.Submissions, given, name="submissions"),
        URLSpec(rf"/batch/({_BATCH})/(pause|resume|cancel|retry)", handlers.BatchAct, given, name="batch-act"),
        URLSpec(rf"/account/({_ACCOUNT})/(pause|resume)", handlers.AccountAct, given, name="account-act"),
        URLSpec(rf"/submission/({SUBMISSION_ID})", handlers.Submission, given, name="submission"),
    ]


def readable(task: Any) -> Any:
    """Show a task's arguments, the ids of what it is about, as they are, without Python's brackets and quotes."""
    if (task.name or "").startswith("paceline."):
        found = ids_of(task.args or "")
        task.args = ", ".join(found) if found else task.args
    return task


def _install_metrics(settings: Settings) -> None:
    from monitor.metrics import install as install_metrics

    install_metrics(settings)
