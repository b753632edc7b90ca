"""Puts the providers' endpoints and the control endpoints together."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox import control, kolena, stream, webhook_control
from sandbox.world import World


def build(world: World) -> Starlette:
    """Make the ASGI application; it must be served by ``sandbox.connection.Connection``."""
    return Starlette(
        routes=[*kolena.routes(world), *stream.routes(world), *control.routes(world), *webhook_control.routes(world)],
        exception_handlers={HTTPException: _nothing_here},
    )


async def _nothing_here(request: Request, exc: Exception) -> Response:
    """Answer 404 and 405 as FastAPI does."""
    assert isinstance(exc, HTTPException)
    return JSONResponse({"detail": exc.detail}, exc.status_code, headers=exc.headers)
