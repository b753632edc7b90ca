"""The control endpoints that watch and disturb webhooks."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from sandbox.control import PREFIX, answered, form_of
from sandbox.webhooks import loopback_url
from sandbox.world import World


def routes(world: World) -> list[Route]:
    """Give the control endpoints."""
    hooks = world.webhooks

    async def show(request: Request) -> dict[str, Any]:
        """``GET webhook`` → ``{"url", "lose", "duplicate", "delay", "delivered", "refused", …}``."""
        return {"url": hooks.url, **hooks.faults, **hooks.counts}

    async def change(request: Request) -> dict[str, Any]:
        """``POST webhook`` with any of ``{"url": URL | null, "lose": n, "duplicate": n, "delay": seconds}``.

        The next so many deliveries are lost, or sent twice; each comes so much later. → as ``GET``.
        """
        body = await form_of(request)
        if unknown := set(body) - {"url", *hooks.faults}:
            raise ValueError(f"there is no {', '.join(sorted(unknown))}")
        faults = {name: float(body[name]) for name in hooks.faults if name in body}
        if "url" in body:
            hooks.url = None if body["url"] is None else loopback_url(body["url"])
        hooks.faults |= faults
        return await show(request)

    return [
        Route(f"{PREFIX}/webhook", answered(show), methods=["GET"]),
        Route(f"{PREFIX}/webhook", answered(change), methods=["POST"]),
    ]
