# ruff: noqa: S607 - `ip`, `unshare` and `nsenter` are in different places on different systems
"""Machines on one machine: each host has its own network, process ids, host name and, if wanted, boot clock.

Nothing here has a name outside of the namespaces that it makes. The calling thread moves into a network of its own,
where Redis, the sandbox and two bridges live; a host is a process whose standard input this process holds. So whatever
kills this process, the kernel takes the rest away.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path

_CLONE_NEWNET = 0x40000000

LOOPBACK = "127.0.0.1"
_NETS = {"redis": "198.18.0", "provider": "198.18.1"}  # set aside for tests of networks; nobody outside sees them
_START_S = 20.0
_LOCALNET = """\
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce"""
"""Let loopback addresses travel; and nobody asks for the way to a neighbour in the name of such an address."""


class Cable(StrEnum):
    """What a host is connected to, each by a cable of its own."""

    REDIS = "redis"
    PROVIDER = "provider"


@cache
def why_not() -> str:
    """Say why namespaces can't be made here; '' where they can."""
    missing = [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]
    if sys.platform != "linux" or missing:
        return f"{', '.join(missing) or 'Linux'} is missing"
    trial = "ip link add trial type bridge && echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet && hostname x"
    done = subprocess.run(
        ["unshare", *_KINDS, "sh", "-c", trial], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["refused"])[-1]


_KINDS = ("--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts", "--ipc")


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Move this thread into a network of its own, with a bridge for each kind of cable; move back at the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "no network namespace")
        try:
            _ip("link set lo up")
            for cable in Cable:
                # Its address is its own; else it would be one of its ports', and change with them.
                _ip(f"link add {cable} address 02:00:00:00:00:01 type bridge")
                _ip(f"addr add {_NETS[cable]}.1/24 dev {cable}")
                _ip(f"link set {cable} up")
            # The sandbox listens on loopback only, and a key goes over http to loopback only. So a host's loopback
            # address leads over its cable to the sandbox's.
            subprocess.run(["sh", "-ec", _LOCALNET], check=True)
            yield
        finally:
            if libc.setns(before, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "can't leave the network namespace")
    finally:
        os.close(before)


def redis_address() -> str:
    """Name the bridge's address, under which every host finds Redis."""
    return f"{_NETS['redis']}.1"


class SpacedHost:
    """A host in namespaces of its own. Make it within `own_network`."""

    def __init__(self, number: int, *, boot_ahead_s: int = 0) -> None:
        self.name = f"host{number}"
        self._number = number
        clock = ["--time", f"--boottime={boot_ahead_s}"] if boot_ahead_s else []
        self._enter_clock = ["--time"] if boot_ahead_s else []
        self._shell = subprocess.Popen(["unshare", *_KINDS, *clock, "cat"], stdin=subprocess.PIPE)
        self._first = self._find_first()
        for cable in Cable:
            peer = f"{cable}{number}"
            _ip(f"link add {peer} type veth peer name {cable} netns {self._first}")
            _ip(f"link set {peer} master {cable} up")
        own = [f"hostname {self.name}", "ip link set lo up", "ip addr del 127.0.0.1/8 dev lo"]
        own.append(_LOCALNET)
        for cable in Cable:
            own += [f"ip addr add {self._address(cable)}/24 dev {cable}", f"ip link set {cable} up"]
        own.append(f"ip route add {LOOPBACK}/32 via {_NETS['provider']}.1 src {self._address(Cable.PROVIDER)}")
        subprocess.run([*self._inside(), "sh", "-ec", "\n".join(own)], check=True)

    def start(
        self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Start a process on it. Signals reach it through `signal`, not through what is returned."""
        into = ["sh", "-c", 'cd "$0" && exec "$@"', str(folder), *command]
        with log.open("ab") as stream:
            return subprocess.Popen(
                [*self._inside(), *into], env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )

    def cut(self, cables: Sequence[Cable]) -> None:
        """Take its cables out."""
        for cable in cables:
            _ip(f"link set {cable}{self._number} down")

    def join(self, cables: Sequence[Cable]) -> None:
        """Put its cables in again."""
        for cable in cables:
            _ip(f"link set {cable}{self._number} up")

    def is_named(self, worker: str) -> bool:
        """Tell whether a worker of that name runs on it."""
        return worker.startswith(f"{self.name}:")

    def power_off(self) -> None:
        """End it at once; nobody hears a last word."""
        if self._shell.poll() is None:
            self.cut(tuple(Cable))
        self.close()

    def close(self) -> None:
        """End every process of it."""
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()

    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self._first}", "--net", "--pid", "--mount", "--uts", "--ipc", *self._enter_clock]

    def _address(self, cable: Cable) -> str:
        return f"{_NETS[cable]}.{10 + self._number}"

    def _find_first(self) -> int:
        """Return its first process once it is what it should be: then its /proc is mounted."""
        deadline = time.monotonic() + _START_S
        children = Path(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children")
        while time.monotonic() < deadline and self._shell.poll() is None:
            for child in children.read_text().split():
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{child}/comm").read_text().strip() == "cat":
                        return int(child)
            time.sleep(0.01)
        self.close()
        raise AssertionError("a host didn't start")


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, stdin=subprocess.DEVNULL)
