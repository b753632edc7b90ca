"""Puts the providers' endpoints and the control endpoints together."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox import control, kindo, kolena, stream, webhook_control
from sandbox.dialects import flat
from sandbox.world import World


def build(world: World) -> Starlette:
    """Make the ASGI application; it must be served by ``sandbox.connection.Connection``."""
    return Starlette(
        routes=[
            *kolena.routes(world),
            *stream.routes(world),
            *kindo.routes(world),
            *control.routes(world),
            *webhook_control.routes(world),
        ],
        exception_handlers={HTTPException: _nothing_here},
    )


async def _nothing_here(request: Request, exc: Exception) -> Response:
    """Answer 404 and 405 as the provider of that path does."""
    assert isinstance(exc, HTTPException)
    if request.url.path.startswith(f"{kindo.PREFIX}/"):
        answer = flat(exc.status_code, exc.detail)
        return Response(answer.body, exc.status_code, headers=exc.headers, media_type="application/json")
    return JSONResponse({"detail": exc.detail}, exc.status_code, headers=exc.headers)
