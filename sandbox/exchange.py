"""One request on its way through the sandbox: its body, its entry in the log, its answer, and the fault it drew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

from starlette.types import Receive, Scope, Send

from sandbox.answers import Answer
from sandbox.arrivals import Arrival, fingerprint
from sandbox.connection import Connection, connection_of
from sandbox.dialects import Dialect
from sandbox.fault_kinds import Stage
from sandbox.faults import Fault
from sandbox.world import World


class Ended(Exception):
    """Nothing more will be said; ``end`` is the log's word for how it ended, ``status`` what was sent, if anything."""

    def __init__(self, end: str, status: int | None = None) -> None:
        super().__init__(end)
        self.end = end
        self.status = status


class Exchange:
    """One request. Made when its headers have arrived, which is when it is counted and its time is taken."""

    def __init__(
        self, world: World, dialect: Dialect, request_class: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.world = world
        self.dialect = dialect
        self.request_class = request_class
        self.scope = scope
        self.connection: Connection = connection_of(scope)
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.key = fingerprint(dialect.key_of(self.headers))
        self.fault: Fault | None = None
        self.delay_s = 0.0
        self.body_length = _body_length(self.headers)
        self.body_read = self.body_length == 0
        self.entry: Arrival = world.log.arrive(scope["method"], request_class, self.key, scope["state"]["arrived_s"])
        self._receive = receive
        self._send = send
        world.happened.ring()

    def draws(self, kind: str) -> Fault | None:
        """Give the request's fault if it is of that kind, and note it as the one that struck."""
        if self.fault is None or self.fault.kind != kind:
            return None
        return self.strike()

    def strike(self) -> Fault:
        """Note that the request's fault takes effect now."""
        assert self.fault is not None
        self.entry.fault = self.fault.kind
        return self.fault

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read the body piece by piece; raises Ended if the client leaves or a fault breaks the connection."""
        self.world.log.begin_upload(self.entry)
        strike_at = self._strike_at()
        while not self.body_read:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Ended("client_left")
            chunk: bytes = message.get("body", b"")
            self.body_read = not message.get("more_body", False)
            self.entry.received_bytes += len(chunk)
            self.world.log.received_bytes += len(chunk)
            self.world.happened.ring()
            if strike_at is not None and self.entry.received_bytes >= strike_at:
                strike_at = None
                await self._strike_in_body()
            if chunk:
                yield chunk

    async def answer(self, answer: Answer) -> NoReturn:
        """Say the answer and end: early and then hanging up if the body wasn't read, by uvicorn's ways otherwise."""
        if answer.run_id is not None:
            self.entry.run_id = answer.run_id
        if self.connection.gone:
            raise Ended("client_left")
        if not self.body_read:
            await self.connection.write(answer.raw())
            self.connection.hang_up()
        else:
            await self._send({"type": "http.response.start", "status": answer.status, "headers": answer.all_headers()})
            await self._send({"type": "http.response.body", "body": answer.body})
        raise Ended("answered", answer.status)

    async def pause(self, seconds: float) -> None:
        """Let time pass; raises Ended as soon as the client has left."""
        try:
            await asyncio.wait_for(self.connection.lost.wait(), seconds)
        except TimeoutError:
            return
        raise Ended("client_left")

    def _strike_at(self) -> int | None:
        if self.fault is None or self.fault.stage is not Stage.BODY:
            return None
        wanted = self.fault.parameters["bytes"]
        if wanted >= 0:
            return int(wanted)
        return int(self.fault.parameters["fraction"] * (self.body_length or 0))

    async def _strike_in_body(self) -> None:
        fault = self.strike()
        if fault.kind == "reset_at":
            self.connection.reset()
            raise Ended("reset")
        self.connection.flow.pause_reading()
        until_s = self.world.clock.monotonic() + fault.parameters["seconds"]
        # Reading is paused, so nobody tells us that the client has left: look. Its FIN may not show, because it stands
        # behind what was sent before; what became of the upload is then found by reading on.
        while self.world.clock.monotonic() < until_s and fault in self.world.faults.in_force():
            if self.connection.gone:
                return
            await asyncio.sleep(0.02)


def _body_length(headers: dict[bytes, bytes]) -> int | None:
    if b"transfer-encoding" in headers:
        return None
    try:
        return int(headers.get(b"content-length", b"0"))
    except ValueError:
        return None
