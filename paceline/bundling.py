"""Tell which wake-ups travel in one message: what a message costs is half of what a submission costs the machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from paceline.model import Follow, Step

EXPORTS_AT_ONCE = 16
"""So many exports are woken by one message, and done in one turn; few enough for several workers to share the work."""


def bundled(follows: Iterable[Follow]) -> Iterator[list[Follow]]:
    """Give the wake-ups of each message: exports of one moment travel together, in their order, after all others."""
    exports: list[Follow] = []
    for follow in follows:
        if follow.step is Step.EXPORT and not follow.countdown_s and not follow.alone:
            exports.append(follow)
        else:
            yield [follow]
    for start in range(0, len(exports), EXPORTS_AT_ONCE):
        yield exports[start : start + EXPORTS_AT_ONCE]
