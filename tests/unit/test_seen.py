"""Which of Flower's tasks a submission's page leads to, and what their arguments look like."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.events.state import State

from config.messages import make_app
from config.schema import Settings
from monitor.extension import readable
from monitor.seen import tasks_seen
from paceline.bundling import EXPORTS_AT_ONCE

ITEMS = [f"b0123abcde-{number:06d}" for number in range(1, EXPORTS_AT_ONCE + 1)]


def told(*tasks: tuple[str, str, list[str]]) -> Any:
    """Return Flower's state after workers have received tasks: the id, the name and the arguments of each."""
    state = State()
    for order, (uuid, name, keys) in enumerate(tasks, 1):
        written = make_app(Settings()).amqp.as_task_v2(uuid, name, args=tuple(keys)).headers["argsrepr"]
        event = {"type": "task-received", "uuid": uuid, "name": name, "args": written, "hostname": "w@here"}
        state.event(event | {"timestamp": order, "local_received": order, "clock": order})
    return state


def test_an_export_woken_together_with_others_is_a_task_of_each() -> None:
    export = f"{ITEMS[0]}.export"
    state = told(*[(item, "paceline.submit", [item]) for item in ITEMS], (export, "paceline.export", ITEMS))
    for item in ITEMS:
        assert tasks_seen(state, item) == [item, export]
    assert tasks_seen(state, "b0123abcde-000099") == []


def test_tasks_whose_arguments_werent_seen_are_found_by_their_name() -> None:
    state = told((ITEMS[0], "paceline.submit", ITEMS[:1]), (f"{ITEMS[1]}.export", "paceline.export", ITEMS[1:3]))
    for task in state.tasks.values():
        task.args = None
    assert tasks_seen(state, ITEMS[0]) == ITEMS[:1]
    assert tasks_seen(state, ITEMS[1]) == [f"{ITEMS[1]}.export"]


@pytest.mark.parametrize("keys", [ITEMS[:1], ITEMS[:2], ITEMS])
def test_arguments_are_shown_as_they_are(keys: list[str]) -> None:
    (task,) = told(("one", "paceline.export", keys)).tasks.values()
    assert readable(task).args == ", ".join(keys)


@pytest.mark.parametrize("written", ["('o\\'dd',)", "('cut off', 'in the mi...", "(1,)", "()", "", None])
def test_arguments_of_another_form_are_left_alone(written: str | None) -> None:
    assert readable(SimpleNamespace(name="paceline.export", args=written)).args == written


def test_tasks_of_others_are_left_alone() -> None:
    assert readable(SimpleNamespace(name="theirs.export", args="('a',)")).args == "('a',)"
