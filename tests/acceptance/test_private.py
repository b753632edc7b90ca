"""Whatever the umask, nobody else can read what a batch keeps or leaves: files 0600, folders 0700 (I17)."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import pytest

from config.embedded import EmbeddedServer
from tests.support.command import Paceline, make_files
from tests.support.sandbox import Sandbox
from tests.support.server import redis_server


class ModeWatch:
    """Looks at the modes of everything below some folders, again and again while its block lasts, and at its end."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen: set[str] = set()
        self.wrong: set[str] = set()

    def __enter__(self) -> ModeWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self._look()
            self._over.wait(0.1)
        self._look()

    def _look(self) -> None:
        for folder in self._folders:
            for path in [folder, *folder.rglob("*")]:
                try:
                    mode = path.lstat().st_mode
                except FileNotFoundError:
                    continue  # pid files and asides come and go
                self.seen.add(path.name)
                wanted = 0o700 if stat.S_ISDIR(mode) else 0o600
                if stat.S_IMODE(mode) != wanted:
                    self.wrong.add(f"{path}: {stat.filemode(mode)}")


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give every process that the test starts a umask."""
    former = os.umask(request.param)
    yield
    os.umask(former)


@contextmanager
def as_usual() -> Iterator[None]:
    """Make what isn't ours with a common umask."""
    former = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(former)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("umask", [0o000], ids=oct, indirect=True)
def test_everything_is_private_during_a_batch_after_a_kill_and_at_the_end(tmp_path: Path) -> None:
    home, out = tmp_path / "deep" / "er" / "home", tmp_path / "new" / "out"
    settings = {"accounts__kolena__limits__add": "6/1s", "home": str(home)}
    with ExitStack() as stack:
        with as_usual():
            make_files(tmp_path / "files", 8)
            sandbox = stack.enter_context(Sandbox("--run-seconds", "0.5", "--limit", "add=6/1s"))
        paceline = stack.enter_context(Paceline(tmp_path, url=sandbox.url, **settings))
        paceline.home = home
        with ModeWatch(tmp_path / "deep", tmp_path / "new") as watch:
            run = ("run", "files", "--agent", "kolena:1", "--to", str(out), "--files-per-run", "1")
            process = paceline.start(*run)
            sandbox.wait("accepted", count=3, timeout=60)
            for pid in [process.pid, *paceline.pids("worker"), *paceline.pids("redis")]:
                os.kill(pid, signal.SIGKILL)
            process.communicate()
            result = paceline(*run)
            assert result.code == 0, result.stderr
            assert paceline("plan", "files").code == 0
            assert paceline("up").code == 0
            assert paceline("down").code == 0
    assert watch.wrong == set()
    expected = {
        *({"redis.sock"} if EmbeddedServer(home).socket_path.is_relative_to(home) else set()),  # paths can be too long
        "redis.pid",
        "fleet.lock",
        "supervisor.lock",
        "worker-1.log",
        "redis.log",
        "supervisor.log",
    }
    expected |= {"parts", "plans", "manifest.jsonl", "results.jsonl", "_SUCCESS", "summary.json"}
    assert expected <= watch.seen, expected - watch.seen
    assert any(name.endswith(".aof") for name in watch.seen)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("umask", [0o000, 0o777], ids=oct, indirect=True)
def test_a_home_beside_a_configured_redis_is_private_too(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    with ExitStack() as stack:
        with as_usual():
            make_files(tmp_path / "files", 2)
            url = stack.enter_context(redis_server(tmp_path / "redis"))
            sandbox = stack.enter_context(Sandbox("--run-seconds", "0.1"))
        paceline = stack.enter_context(Paceline(tmp_path, url=sandbox.url, redis_url=url, home=str(home)))
        with ModeWatch(tmp_path / "deep", tmp_path / "out") as watch:
            result = paceline("run", "files", "--agent", "kolena:1", "--to", "out")
        assert result.code == 0, result.stderr
    assert watch.wrong == set()
    assert {"home", "run", "log", "fleet.lock", "worker-1.log"} <= watch.seen
