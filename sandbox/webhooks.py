"""Kolena's webhooks: when a run ends it is posted to one address on this machine, signed as the vendor does it.

A delivery that isn't answered with a 2xx is tried three more times at once, then dropped. The API never waits for any.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sandbox.runs import Run

if TYPE_CHECKING:
    from sandbox.world import World

PAUSES_S = (0.0, 0.1, 0.2, 0.4)
"""Before each try; the vendor's "three quick retries" have no published times."""

ANSWER_S = 10.0
AT_ONCE = 16


def loopback_url(text: str) -> str:
    """Return the address of a receiver; raise ValueError unless it is http on this machine."""
    parts = urlsplit(text)
    host = parts.hostname or ""
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if parts.scheme != "http" or not here or parts.port is None or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} isn't like http://127.0.0.1:PORT/PATH; webhooks go to this machine only")
    return text


class Webhooks:
    """Follows the runs of one world to their ends and posts them. Without a secret it does nothing."""

    def __init__(self, world: World, url: str | None, secret: bytes | None) -> None:
        self._world = world
        self._url_at_start = url
        self._secret = secret
        self._tasks: set[asyncio.Task[None]] = set()
        self.reset()

    def reset(self) -> None:
        """Go back to the start: nothing under way, nothing counted, no faults."""
        for task in self._tasks:
            task.cancel()
        self.url = self._url_at_start
        self.counts = {"delivered": 0, "refused": 0, "unreachable": 0, "dropped": 0, "lost": 0}
        self.faults: dict[str, float] = {"lose": 0, "duplicate": 0, "delay": 0.0}
        self._places = asyncio.Semaphore(AT_ONCE)

    def follow(self, run: Run) -> None:
        """Post the run when it ends."""
        if self._secret is not None:
            task = asyncio.get_running_loop().create_task(self._follow(run))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _follow(self, run: Run) -> None:
        clock = self._world.clock.monotonic
        while (now_s := clock()) < run.finish_s:
            await self._world.runs_moved.wait(min(run.finish_s - now_s, 3600.0))
        await asyncio.sleep(self.faults["delay"])
        if self._draws("lose"):
            self.counts["lost"] += 1
            return
        times = 2 if self._draws("duplicate") else 1
        delivery_id, body = str(uuid.uuid4()), run.to_json(clock())
        for _ in range(times):
            await self._deliver(delivery_id, body)

    def _draws(self, kind: str) -> bool:
        self.faults[kind] -= 1
        if self.faults[kind] >= 0:
            return True
        self.faults[kind] = 0
        return False

    async def _deliver(self, delivery_id: str, body: bytes) -> None:
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            async with self._places:
                status = await self._post(delivery_id, body)
            if status is not None and 200 <= status < 300:
                self.counts["delivered"] += 1
                self._world.happened.ring()
                return
            self.counts["unreachable" if status is None else "refused"] += 1
        self.counts["dropped"] += 1
        self._world.happened.ring()

    async def _post(self, delivery_id: str, body: bytes) -> int | None:
        """Send once; give the status, None if there was no answer."""
        if self.url is None:
            return None
        try:
            async with asyncio.timeout(ANSWER_S):
                return await _exchange(self.url, self._headers(delivery_id, body), body)
        except (OSError, TimeoutError, ValueError, asyncio.LimitOverrunError):
            return None

    def _headers(self, delivery_id: str, body: bytes) -> Mapping[str, str]:
        timestamp = str(int(time.time()))
        signed = f"{timestamp}.{delivery_id}.".encode() + body
        return {
            "Content-Type": "application/json",
            "X-Kolena-Signature": hmac.new(self._secret or b"", signed, hashlib.sha256).hexdigest(),
            "X-Kolena-Timestamp": timestamp,
            "X-Kolena-Delivery-ID": delivery_id,
        }


async def _exchange(url: str, headers: Mapping[str, str], body: bytes) -> int:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        head = [f"POST {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*head, "Connection: close", "", ""]).encode() + body)
        await writer.drain()
        line = await reader.readline()
        return int(line.split(b" ")[1]) if line.count(b" ") else 0
    finally:
        writer.close()
