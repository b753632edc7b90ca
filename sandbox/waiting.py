"""Lets a test wait for an exact point of the sandbox's life, instead of sleeping.

Events, by ``event=``:

- ``arrived`` (``class=add``, default any): so many requests' headers have arrived since the start or the last reset
- ``accepted``: so many runs were accepted
- ``answered`` (``class=…``): so many requests have ended, one way or another
- ``upload``: the body of upload number ``count`` is being read, or was
- ``body``: ``bytes=`` of upload number ``count`` were read; holds afterwards too

Each takes ``count=`` (default 1) and ``timeout=`` in seconds (default 10, at most 600).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.world import World

MAX_TIMEOUT_S = 600.0


async def reached(world: World, query: Mapping[str, str]) -> dict[str, Any]:
    """Wait as asked; give ``{"reached": bool, "value": what it stands at}``. Raises ValueError for an unknown event."""
    count = int(query.get("count", "1"))
    wanted = int(query.get("bytes", "1")) if query.get("event") == "body" else count
    value = _gauge(world, query.get("event", "accepted"), query.get("class"), count)
    timeout_s = min(float(query.get("timeout", "10")), MAX_TIMEOUT_S)
    return {"reached": await world.happened.wait_until(lambda: value() >= wanted, timeout_s), "value": value()}


def _gauge(world: World, event: str, request_class: str | None, count: int) -> Callable[[], int]:
    classes = world.log.classes

    def chosen() -> list[str]:
        return [name for name in classes if request_class in (None, name)]

    if event == "accepted":
        return lambda: world.accepted
    if event == "arrived":
        return lambda: sum(classes[name].requests for name in chosen())
    if event == "answered":
        return lambda: sum(classes[name].statuses.total() for name in chosen())
    if event == "upload":
        return lambda: world.log.uploads
    if event == "body":
        return lambda: world.log.upload_bytes(count)
    raise ValueError(f"there is no event {event!r}")
