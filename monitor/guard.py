"""Decides whether a request comes from somebody who sits before our own pages: against forged and rebound ones.

Flower checks this only where a login is set. On loopback without one, any web page open in the same browser could send
forms here, and one whose name is made to lead to 127.0.0.1 (DNS rebinding) could read the answers too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def foreign_host(host: str, *, listens_on: str, login: bool) -> bool:
    """Tell whether a request was meant for another host. Behind a login it may have any name: a proxy's, say."""
    if login:
        return False
    name = (urlsplit(f"//{host}").hostname or "") if _is_plain(host) else ""
    return not (name and (is_loopback(name) or name == listens_on.strip("[]").lower()))


def foreign_origin(headers: Mapping[str, str], host: str) -> bool:
    """Tell whether a form was sent from a page that isn't ours. What no browser sent names no origin, and isn't."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None and site != "same-origin":
        return True
    origin = headers.get("Origin")
    return origin is not None and site is None and urlsplit(origin).netloc != host


def is_loopback(name: str) -> bool:
    """Tell whether a name or address is this machine's own, whatever a name server says."""
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"


def _is_plain(host: str) -> bool:
    return all(sign.isalnum() or sign in ".:-[]" for sign in host)
