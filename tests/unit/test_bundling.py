"""Which wake-ups travel in one message."""

from __future__ import annotations

from paceline.bundling import EXPORTS_AT_ONCE, bundled
from paceline.model import Follow, Step


def exports(number: int) -> list[Follow]:
    """Wake-ups of so many exports."""
    return [Follow(Step.EXPORT, f"b000000000-{index:06d}") for index in range(1, number + 1)]


def test_exports_of_one_moment_travel_together_and_in_order() -> None:
    wanted = exports(2 * EXPORTS_AT_ONCE + 1)
    bundles = list(bundled(wanted))
    assert [len(bundle) for bundle in bundles] == [EXPORTS_AT_ONCE, EXPORTS_AT_ONCE, 1]
    assert [one for bundle in bundles for one in bundle] == wanted


def test_everything_else_travels_alone_and_goes_first() -> None:
    submits = [Follow(Step.SUBMIT, f"b000000000-{index:06d}") for index in (7, 8)]
    feed = Follow(Step.FEED, "kolena", 3.0)
    assert list(bundled([*exports(2), *submits, feed])) == [[submits[0]], [submits[1]], [feed], exports(2)]


def test_an_export_that_waits_or_wants_its_own_turn_travels_alone() -> None:
    waits, alone = Follow(Step.EXPORT, "b000000000-000003", 1.0), Follow(Step.EXPORT, "b000000000-000004", alone=True)
    assert list(bundled([waits, *exports(2), alone])) == [[waits], [alone], exports(2)]


def test_nothing_makes_no_message() -> None:
    assert list(bundled([])) == []
