"""What people read while a batch runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from cli.output import size
from cli.progress import LiveProgress, Moment, PlainProgress, duration, per_minute, plain_line
from cli.watching import LiveScreen
from paceline.limiter import PaceView
from paceline.model import Rate

PACE = PaceView(Rate(40, 60.0), 12, 12, None, 0.0, None, 0.0)


def moment(waiting_for: str | None = None, *, planning: bool = False, **submissions: int) -> Moment:
    states = dict.fromkeys(("planned", "submitting", "uncertain", "running", "finished", "exported", "held"), 0)
    summary: dict[str, Any] = {
        "files": {"total": 10, "succeeded": 4, "failed": 1, "cancelled": 0, "skipped": 1, "pending": 4},
        "submissions": {"total": 5, **states, **submissions},
        "credits": 12.5,
        "seconds": 61.0,
        "eta_seconds": 90.0,
    }
    return Moment(summary, PACE, planning, waiting_for)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (12_000, "3 h 20 min"),
    ],
)
def test_a_duration_never_shows_sixty_of_anything(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (4_500_000_000, "4.5 GB")],
)
def test_a_size_never_shows_a_thousand_of_anything(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


def test_the_line_says_how_far_and_how_fast() -> None:
    parts = plain_line(moment(running=2, submitting=1, exported=2)).split(" · ")
    assert parts[:4] == ["6/10 files", "2/5 submissions", "3 in flight", "pace 12/40 in 60 s"]
    assert parts[4:] == ["1 failed", "12.5 credits", "about 1 min 30 s left"]


def test_totals_are_marked_as_growing_while_planning_goes_on() -> None:
    assert plain_line(moment(planning=True)).startswith("6/10+ files · 0/5+ submissions")


def test_the_pace_is_held_against_what_refusals_taught() -> None:
    assert per_minute(PaceView(Rate(40, 60.0), 35, 35, 30, 0.0, None, 0.0)) == "30/30 in 60 s"


def test_a_plain_line_is_written_again_only_when_it_says_something_new(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress(every_s=0.0)
    for _ in range(3):
        progress.show(moment())
    progress.show(moment(running=1))
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_new_cause_of_waiting_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress(every_s=3600.0)
    progress.show(moment("one"))
    progress.show(moment("one", running=1))
    progress.show(moment("another"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(" · ")[2] for line in lines] == ["one", "another"]


@pytest.mark.parametrize("make", [lambda: LiveProgress("a batch"), LiveScreen])
@pytest.mark.parametrize("when", ["rich.console.Console.push_render_hook", "rich.live._RefreshThread.start"])
def test_ctrl_c_while_the_screen_is_being_set_up_leaves_the_cursor_shown(
    make: Callable[[], Any], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [True]
    monkeypatch.setattr(Console, "show_cursor", lambda console, show=True: shown.append(show))
    monkeypatch.setattr(when, interrupted)
    screen = make()  # its owner closes it from here on
    with pytest.raises(KeyboardInterrupt):
        screen.say("planning")
    screen.close()
    assert False in shown
    assert shown[-1]


def interrupted(*_: object) -> None:
    """Stand in for a step that is under way when Ctrl-C is pressed."""
    raise KeyboardInterrupt


def test_the_panel_leaves_nothing_behind_but_what_it_restores(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LiveProgress("a batch")
    progress.show(moment("the provider asked to slow down (429)", running=3))
    progress.close()
    captured = capsys.readouterr()
    assert captured.out == ""
