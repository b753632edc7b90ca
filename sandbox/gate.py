"""The way in: a request is logged, its key and its pace checked and its fault drawn before its body is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Receive, Scope, Send

from sandbox import delivery
from sandbox.answers import Answer, error
from sandbox.dialects import KOLENA, Dialect
from sandbox.exchange import Ended, Exchange
from sandbox.fault_kinds import Stage
from sandbox.world import World

logger = logging.getLogger(__name__)

Handler = Callable[[Exchange, Mapping[str, str]], Awaitable[Answer]]


class Gate:
    """An ASGI endpoint: one class of requests, who answers them, and in which provider's manner.

    The order is that of a service behind a gateway: the key (401, 403), the pace (429), the gateway's faults, and only
    then the handler, which reads the body and checks what was asked.
    """

    def __init__(self, world: World, request_class: str, handler: Handler, dialect: Dialect = KOLENA) -> None:
        self._world = world
        self._class = request_class
        self._handler = handler
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(self._world, self._dialect, self._class, scope, receive, send)
        end, status = "broken", None
        try:
            await self._pass(exchange, scope.get("path_params", {}))
        except Ended as ended:
            end, status = ended.end, ended.status
        except asyncio.CancelledError:
            end = "stopped"  # the server goes down; uvicorn would report this as an error of ours
            exchange.connection.drop()
        except Exception:
            logger.exception("request.broken")
            raise
        finally:
            self._world.log.end(exchange.entry, end, status)
            self._world.happened.ring()

    async def _pass(self, exchange: Exchange, parameters: Mapping[str, str]) -> None:
        exchange.entry.agent_id = self._dialect.agent_of(self._world, parameters)
        refusal = self._refusal(exchange)
        if refusal is not None:
            await exchange.answer(refusal)
        exchange.fault, exchange.delay_s = self._world.faults.draw(self._class, exchange.entry.agent_id)
        if exchange.fault is not None and exchange.fault.stage is Stage.HEAD:
            await delivery.strike_at_head(exchange)
        await delivery.deliver(exchange, await self._handler(exchange, parameters))

    def _refusal(self, exchange: Exchange) -> Answer | None:
        status = self._world.keys.refusal(exchange.key)
        if status is not None:
            return self._dialect.say(status, "Invalid API key" if exchange.key else "Not authenticated", ())
        wait_s = self._world.limiter.admit(exchange.key, self._class, exchange.entry.arrived_s)
        if wait_s is None:
            return None
        exchange.entry.refused = True
        return error(429, "json", self._world.retry_after, wait_s, say=self._dialect.say)
