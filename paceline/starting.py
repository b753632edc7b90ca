"""How a batch's runs are started: by the plain call, or by the one that waits for their end."""

from __future__ import annotations

from collections.abc import Mapping

from paceline.model import Choice, EndpointClass, Rate

AUTO_WAIT_S = 60
"""How long `auto` waits for the end of a run: it has an upload thread for itself meanwhile."""


def way_of(
    choices: Mapping[str, str], submissions: int | None, rates: Mapping[EndpointClass, Rate], longest_s: int
) -> tuple[EndpointClass, int]:
    """Return the class of the request, and the seconds to wait for a run's end in it: 0 for none.

    `submissions` is None while nobody knows how many there will be. `auto` waits if the whole batch may go at once: the
    end is known when it comes then, and not at the next question. For more submissions the class's low limit would
    cost more than that. The same rule as in `lua/release.lua`.
    """
    choice = choices.get(Choice.WAIT) or "0"
    if choice == "auto":
        at_once = submissions is not None and submissions <= rates[EndpointClass.WAIT].limit
        choice = str(AUTO_WAIT_S) if at_once else "0"
    wait_s = min(int(choice), longest_s)
    return (EndpointClass.WAIT, wait_s) if wait_s else (EndpointClass.ADD, 0)
