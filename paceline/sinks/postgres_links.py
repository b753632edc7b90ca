"""The connections to one PostgreSQL database, and what its errors mean: the only module that knows psycopg.

A connection serves one transaction at a time and is kept for the next one. One that died meanwhile, as all do when a
server restarts, is noticed when it is used, and the transaction is done once more over a new one: what is written here
may be written twice. No transaction takes longer than `WHOLE_S`, whatever the server does or doesn't do.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from paceline.errors import SinkError, UsageError
from paceline.providers.answers import clean
from paceline.providers.deadline import Deadline, Watchdog, Wire

try:
    import psycopg
    from psycopg.conninfo import make_conninfo
except ImportError as error:
    raise UsageError("PostgreSQL needs a driver: pip install 'paceline[postgres]'") from error

Connection = Any
"""psycopg's; the checks of types run without that package."""

CONNECT_S = 10
"""For each address of the host."""

WHOLE_S = 60.0
"""For a transaction, from its first statement to the answer to its COMMIT."""

LOCK_S = 30
"""How long a statement waits for somebody else's lock."""

KEPT = 4
"""Connections that are kept open while nobody uses them."""

SCHEMA = "paceline"
"""Where the tables are if nothing is said: a schema of our own, as `public` is other people's, and often closed."""

_SETTINGS = {
    "statement_timeout": f"{WHOLE_S:g}s",
    "lock_timeout": f"{LOCK_S}s",
    "idle_in_transaction_session_timeout": f"{WHOLE_S:g}s",  # our locks end with us, even if we are only suspended
    "synchronous_commit": "on",  # a role's default may be off, and then a commit isn't durable
}
_SET = "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _SETTINGS.items())

_REPEATED = re.compile(r"connection to server at .*? failed: ")
_CONNECT_REMEDY = (
    "are host, port and database right, is the server running, is the password in PGPASSWORD or ~/.pgpass?"
)

T = TypeVar("T")


class PostgresLinks:
    """Connections to the database of a canonical destination; thread-safe. `schema` is where its tables are.

    The password comes from PGPASSWORD, PGPASSFILE or a service, and is kept nowhere. Raises `UsageError` for an address
    that can't be understood.
    """

    def __init__(self, url: str, *, whole_s: float = WHOLE_S) -> None:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        self.shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self.schema = next((value for name, value in reversed(query) if name == "schema"), SCHEMA)
        if not 0 < len(self.schema.encode()) < 64 or not self.schema.isprintable() or self.schema.startswith("pg_"):
            raise UsageError(f"output {self.shown!r}: {self.schema!r} is no name for a schema")
        rest = [(name, value) for name, value in query if name != "schema"]
        address = self.shown + ("?" + urlencode(rest, quote_via=quote) if rest else "")
        self._whole_s = whole_s
        self._kept: list[Connection] = []
        self._lock = threading.Lock()
        self._close = weakref.finalize(self, _close_all, self._kept)
        try:
            defaults = {"connect_timeout": CONNECT_S, "application_name": "paceline", "client_encoding": "UTF8"}
            given = psycopg.conninfo.conninfo_to_dict(address)
            self._conninfo = make_conninfo(**{**defaults, **given})
        except psycopg.Error as error:
            raise UsageError(f"output {self.shown!r}: {clean(str(error))}") from error

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Do `work` with a connection as one transaction that is durable when this returns; it may be done twice.

        Raises `SinkError`, whose text begins with `shown`; then nothing of it is there, unless it was the answer to the
        COMMIT that was lost.
        """
        with self._lock:
            kept = self._kept.pop() if self._kept else None
        if kept is not None:
            deadline = Deadline(self._whole_s)
            try:
                return self._attempt(kept, work, deadline)
            except psycopg.Error as error:
                if not _is_lost(error) or deadline.left_s == 0:
                    raise SinkError(self._explain(error, deadline)) from error
            finally:
                self._keep(kept)
        deadline = Deadline(self._whole_s)
        try:
            fresh = psycopg.connect(self._conninfo, prepare_threshold=None)
        except psycopg.Error as error:
            raise SinkError(f"{self.shown}: can't connect ({_said(error)}); {_CONNECT_REMEDY}") from error
        try:
            deadline = Deadline(self._whole_s)
            return self._attempt(fresh, work, deadline)
        except psycopg.Error as error:
            raise SinkError(self._explain(error, deadline)) from error
        finally:
            self._keep(fresh)

    def close(self) -> None:
        """Close what is kept. Using the object again opens new connections."""
        with self._lock:
            closing, self._kept[:] = list(self._kept), []
        _close_all(closing)

    def _attempt(self, connection: Connection, work: Callable[[Connection], T], deadline: Deadline) -> T:
        wire = Wire()
        try:
            with socket.socket(fileno=os.dup(connection.fileno())) as handle:
                wire.attach(handle)
            with Watchdog(wire, deadline):
                connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
                connection.execute(_SET)
                done = work(connection)
                connection.commit()
                return done
        except BaseException:
            with suppress(psycopg.Error):
                connection.close()  # nothing is simpler to roll back, and nothing else is left in an odd state
            raise
        finally:
            wire.detach()

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            if not connection.closed and len(self._kept) < KEPT:
                self._kept.append(connection)
                return
        with suppress(psycopg.Error):
            connection.close()

    def _explain(self, error: Exception, deadline: Deadline) -> str:
        if deadline.left_s == 0:
            return f"{self.shown}: no answer within {self._whole_s:g} s: is the server in order?"
        return explain(error, self.shown)


def explain(error: Exception, shown: str) -> str:
    """Say what an error of a statement means and what helps: the one place that does. None of the server's own words.

    They may hold what was written, and a record has no business in a log.
    """
    state = getattr(error, "sqlstate", None) or ""
    name = type(error).__name__
    remedies = [text for prefix, text in _MEANINGS.items() if state.startswith(prefix)]
    if remedies:
        return f"{shown}: {remedies[0]} ({state} {name})"
    if not state:
        return f"{shown}: the connection was lost; is the server running?"
    return f"{shown}: the server refuses what was to be written ({state} {name})"


_MEANINGS = {
    "42501": "not allowed: grant this user USAGE and CREATE on the schema, and its tables",
    "25006": "the server is read-only, perhaps a standby: name the one that takes writes",
    "53100": "the server's disk is full: free some space there",
    "53": "the server has no room or connections left",
    "57014": "the server took too long: is somebody holding a lock, or is it overloaded?",
    "57P": "the server is shutting down or starting",
    "58": "the server has trouble with its own disk",
    "55P03": f"somebody else held a lock for {LOCK_S} s",
    "40": "the server gave way to another transaction; it is tried again",
    "3D": "there is no such database: create it, or name another",
    "3F": "there is no such schema",
    "42P01": "a table of ours is gone",
    "42703": "a table of ours has lost a column",
    "54": "a value is larger than the server takes",
    "22": "a value doesn't fit its column",
    "28": "the server refuses the user or the password: export PGPASSWORD, or use ~/.pgpass",
    "08": "the connection was lost; is the server running?",
}
"""By SQLSTATE or its beginning; the first that fits counts."""


def _said(error: Exception) -> str:
    """Return why there is no connection: psycopg's words, as libpq has no codes for that, without the password."""
    text = str(error).partition("\n")[0].removeprefix("connection failed: ")
    return clean(_REPEATED.sub("", text), os.environ.get("PGPASSWORD", "").strip())


def _is_lost(error: Exception) -> bool:
    """Tell whether an error says that the connection is gone, or its server about to go."""
    state = getattr(error, "sqlstate", None) or ""
    return isinstance(error, psycopg.OperationalError) and (not state or state.startswith(("08", "57P")))


def _close_all(connections: list[Connection]) -> None:
    for connection in connections:
        with suppress(psycopg.Error):
            connection.close()
