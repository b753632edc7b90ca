"""Listens to Kolena's streams of events, one per agent, for hints that runs have ended.

A stream can't be resumed, so every connection may follow a gap: it begins with a hint about the agent's runs, whichever
they are. An event is a run [doc, in the client]; one that can't be read is such a hint too.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote

from redis.exceptions import RedisError

from paceline.delays import backoff_s
from paceline.errors import PacelineError
from paceline.hints import RunHint
from paceline.providers.http import Http
from paceline.providers.kolena import PREFIX
from paceline.providers.kolena_webhook import runs_in

log = logging.getLogger(__name__)

WAIT_S = 300
"""How long the service is to keep a stream open: the most it allows [doc]."""

OVER_S = 20.0
"""A stream that is open for so much longer is cut."""

STEADY_S = 30.0
"""A stream that lasted so long isn't held against the next connection."""

EVENT_BYTES = 1_000_000
"""A longer event isn't kept: it counts as one that can't be read. A run with all its results can be that long."""

LOOK_S = 2.0
"""How often agents with runs in flight are looked for."""

STREAMS_MOST = 20
"""So many streams at once; each costs a thread and a connection. Other agents are followed by polling alone."""

Tell = Callable[[str, Sequence[RunHint] | None], None]
"""Takes an agent and the runs that a hint is about; None: any of the agent's."""


class EventReader:
    """Takes a stream of server-sent events apart, in bounded memory.

    Lines end with LF, CR or CRLF. An event is its `data`; comments and events without any are passed over.
    """

    def __init__(self, most_bytes: int = EVENT_BYTES) -> None:
        self._most = most_bytes
        self._line = bytearray()
        self._data = bytearray()
        self._has_data = self._too_long = self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes | None]:
        """Take bytes; return the events that end in them, None for one that was too long to keep."""
        if self._after_cr and chunk:
            chunk, self._after_cr = chunk.removeprefix(b"\n"), False
        self._after_cr = self._after_cr or chunk.endswith(b"\r")
        *lines, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        found = []
        for line in lines:
            self._add(line)
            if not self._line and (self._has_data or self._too_long):
                found.append(None if self._too_long else bytes(self._data))
                self._data.clear()
                self._has_data = self._too_long = False
            elif self._line:
                self._end_line()
            self._line.clear()
        self._add(rest)
        return found

    def _add(self, part: bytes) -> None:
        if len(self._line) + len(self._data) + len(part) > self._most:
            self._too_long = True
            del self._data[:]
            part = part[: max(self._most - len(self._line), 0)]
        self._line += part

    def _end_line(self) -> None:
        name, _, value = bytes(self._line).partition(b":")
        if name == b"data" and not self._too_long:
            self._data += b"\n" * self._has_data + value.removeprefix(b" ")
            self._has_data = True


class Streams:
    """Keeps a stream open for each agent of an account that has runs in flight.

    `agents` names those agents; `permit` takes a permit for a request, or returns the seconds to wait for one; `tell`
    passes hints on. Threads end with the process, and soon after `stop`.
    """

    def __init__(
        self, http: Http, *, agents: Callable[[], Sequence[str]], permit: Callable[[], float], tell: Tell
    ) -> None:
        self._http = http
        self._agents = agents
        self._permit = permit
        self._tell = tell
        self._threads: dict[str, threading.Thread] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Listen from now on, in threads."""
        threading.Thread(target=self._watch, name="paceline-streams", daemon=True).start()

    def stop(self) -> None:
        """End; nothing is waited for."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            try:
                wanted = self._agents()
            except RedisError as error:
                log.warning("stream.no_ledger", extra={"error": type(error).__name__})
                wanted = ()
            self._threads = {agent: thread for agent, thread in self._threads.items() if thread.is_alive()}
            for agent in wanted:
                if agent not in self._threads and len(self._threads) < STREAMS_MOST:
                    name = f"paceline-stream-{agent}"
                    self._threads[agent] = threading.Thread(target=self._follow, args=(agent,), name=name, daemon=True)
                    self._threads[agent].start()
            self._stopped.wait(LOOK_S)

    def _follow(self, agent: str) -> None:
        """Keep one agent's stream open until it has no runs in flight."""
        strikes = 0
        while not self._stopped.is_set():
            began_at = time.monotonic()
            why = "ended"
            try:
                if agent not in self._agents():
                    return
                wait_s = self._permit()
                if wait_s > 0:
                    self._stopped.wait(min(wait_s, 60.0))
                    continue
                self._listen(agent)
            except (PacelineError, RedisError) as error:
                why = type(error).__name__
            except Exception:
                log.exception("stream.defect", extra={"agent": agent})
                why = "defect"
            strikes = 0 if time.monotonic() - began_at > STEADY_S else strikes + 1
            level = logging.INFO if why == "ended" else logging.WARNING
            log.log(level, "stream.ended", extra={"agent": agent, "why": why})
            self._stopped.wait(backoff_s(max(strikes, 1)))

    def _listen(self, agent: str) -> None:
        reader = EventReader()

        def each(chunk: bytes) -> None:
            if not chunk:
                log.info("stream.open", extra={"agent": agent})
                self._tell(agent, None)
            for event in reader.feed(chunk):
                runs = read_event(event)
                if runs is None or runs:
                    self._tell(agent, runs)

        params = (("tail", "0"), ("wait", str(WAIT_S)))
        path = f"{PREFIX}/agents/{quote(agent, safe='')}/stream"
        self._http.listen(path, each, deadline_s=WAIT_S + OVER_S, params=params)


def read_event(event: bytes | None) -> list[RunHint] | None:
    """Return the runs that an event speaks of and that aren't running; None if it can't be read."""
    try:
        return runs_in(json.loads(event)) if event is not None else None
    except (ValueError, RecursionError):
        return None
