"""Several machines around one Redis and one provider, whose cables can be taken out and which can lose their power.

Made of namespaces where the system lets us, else of processes behind proxies: `Site.kind` says which.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.support.command import FAST, Paceline
from tests.support.namespaces import LOOPBACK, Cable, SpacedHost, own_network, redis_address, why_not
from tests.support.proxies import ProxiedHost
from tests.support.sandbox import Sandbox
from tests.support.server import RedisServer

SETTINGS = {
    **FAST,
    "PACELINE_SETTLE_SECONDS": "1.5",
    "PACELINE_UPLOAD_BASE_SECONDS": "2",
    "PACELINE_UPLOAD_BYTES_PER_SECOND": "20000000",
    "PACELINE_LEASE_EXTRA_SECONDS": "0.5",
    "PACELINE_CONNECT_SECONDS": "1",
    "PACELINE_READ_SECONDS": "3",
    "PACELINE_WRITE_SECONDS": "3",
    "PACELINE_REDIS_CONNECT_SECONDS": "1",
    "PACELINE_REDIS_ANSWER_SECONDS": "2.5",
}
"""A lease of 2.5 s, and less than 4 s until a silent cable is noticed."""

LEASE_AND_SETTLE_S = 4.0
"""What a cut has to last at least for others to take over: the lease, and the settling time behind it."""


class Kind(StrEnum):
    """What the hosts are made of."""

    NAMESPACES = "network namespaces"
    PROXIES = "processes behind proxies"


class Host:
    """A machine with a home of its own; the folder of sources and outputs is shared by all."""

    def __init__(self, machine: SpacedHost | ProxiedHost, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = machine.name
        self.home = folder / self.name
        self.log = folder / f"{self.name}.log"
        self._machine = machine
        self._folder = folder
        self._environment = {**environment, "PACELINE_HOME": str(self.home)}
        self.cut_cables: tuple[Cable, ...] = ()

    def start_worker(self, role: str = "all") -> subprocess.Popen[bytes]:
        """Start a worker, as an init system would."""
        command = [sys.executable, "-P", "-m", "cli.main", "worker", "--role", role, "--name", self.name]
        return self._machine.start(command, folder=self._folder, environment=self._environment, log=self.log)

    def cut(self, cables: Sequence[Cable] = tuple(Cable)) -> None:
        """Take its cables out."""
        self.cut_cables = tuple(cables)
        self._machine.cut(cables)

    def join(self) -> None:
        """Put them in again."""
        self._machine.join(self.cut_cables)
        self.cut_cables = ()

    def is_named(self, worker: str) -> bool:
        """Tell whether a worker of that name runs on it."""
        return self._machine.is_named(worker)

    def power_off(self) -> None:
        """End it at once."""
        self._machine.power_off()

    def close(self) -> None:
        """End it."""
        self._machine.close()


@dataclass
class Site:
    """What stands in one room. `desk` runs commands beside Redis, with a home of its own."""

    kind: Kind
    redis: RedisServer
    sandbox: Sandbox
    desk: Paceline
    hosts: list[Host] = field(default_factory=list)


def kind_here() -> Kind:
    """Say what hosts can be made of here; `TEST_HOSTS=proxies` asks for the lesser kind."""
    return Kind.PROXIES if os.environ.get("TEST_HOSTS") == "proxies" or why_not() else Kind.NAMESPACES


@contextmanager
def site(
    folder: Path, hosts: int, *options: str, limits: Mapping[str, str], boot_ahead_s: Mapping[int, int] | None = None
) -> Iterator[Site]:
    """Build it all; `options` are the sandbox's, `limits` hold for it and for paceline.

    `boot_ahead_s` sets the boot clock of hosts, numbered from 1, ahead; only namespaces can do that.
    """
    kind = kind_here()
    with ExitStack() as stack:
        listen: list[str] = []
        address = LOOPBACK
        if kind is Kind.NAMESPACES:
            stack.enter_context(own_network())
            address = redis_address()
            listen = ["--bind", f"{address} {LOOPBACK}", "--protected-mode", "no"]
        # Whatever ends this process, the server ends too.
        within = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        server = RedisServer(folder / "redis", "--appendfsync", "everysec", *listen, within=within)
        redis = stack.enter_context(server)
        words = [word for name, limit in limits.items() for word in ("--limit", f"{name}={limit}")]
        sandbox = stack.enter_context(Sandbox(*words, "--refused-count", *options))
        chosen = {f"PACELINE_ACCOUNTS__KOLENA__LIMITS__{name.upper()}": limit for name, limit in limits.items()}
        chosen["PACELINE_REDIS_URL"] = f"redis://{address}:{redis.port}/0"
        desk = stack.enter_context(Paceline(folder, url=sandbox.url))
        desk.environment |= {**SETTINGS, **chosen}
        built = Site(kind, redis, sandbox, desk)
        ports = {Cable.REDIS: redis.port, Cable.PROVIDER: int(sandbox.url.rpartition(":")[2])}
        for number in range(1, hosts + 1):
            machine: SpacedHost | ProxiedHost
            if kind is Kind.NAMESPACES:
                machine = SpacedHost(number, boot_ahead_s=(boot_ahead_s or {}).get(number, 0))
            else:
                machine = ProxiedHost(number, ports)
            host = Host(machine, folder, desk.environment)
            stack.callback(host.close)
            built.hosts.append(host)
        yield built
