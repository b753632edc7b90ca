"""Leads a process's connections to other ports, `TEST_REDIRECT=8899=5001,6379=5002`: the cables of a host."""

import os
import socket
from typing import Any

_PORTS = dict(pair.split("=") for pair in os.environ.get("TEST_REDIRECT", "").split(",") if pair)
_connect = socket.socket.connect


def _redirected(self: socket.socket, address: Any) -> None:
    if isinstance(address, tuple) and str(address[1]) in _PORTS:
        address = (address[0], int(_PORTS[str(address[1])]), *address[2:])
    _connect(self, address)


socket.socket.connect = _redirected  # type: ignore[method-assign,assignment]
