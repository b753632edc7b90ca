"""`paceline down` stops what is ours and nothing else, whatever the pid files say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import processes
from config.leftovers import Leftover, leftovers, remove_pid, stop_leftovers, write_pid
from config.processes import look_up

Starter = Callable[..., subprocess.Popen[bytes]]

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"


@pytest.fixture
def start() -> Iterator[Starter]:
    """Start processes that sleep, with words of our choice in their command line, and end them."""
    started: list[subprocess.Popen[bytes]] = []

    def run(
        *words: str, code: str = "print(flush=True); import time; time.sleep(60)", **environ: str
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, env={**os.environ, **environ}
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_a_pid_file_holds_the_number_alone_and_is_private(tmp_path: Path) -> None:
    path = write_pid(tmp_path, "worker-1")

    assert path == tmp_path / "run" / "worker-1.pid"
    assert int(path.read_text()) == os.getpid()
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_pid_file_that_names_someone_else_by_now_stays(tmp_path: Path) -> None:
    path = write_pid(tmp_path, "supervisor", 123)

    remove_pid(tmp_path, "supervisor")
    assert path.exists()

    remove_pid(tmp_path, "supervisor", 123)
    assert not path.exists()


def test_a_worker_that_was_left_is_stopped(tmp_path: Path, start: Starter) -> None:
    process = start(PACELINE_HOME=str(tmp_path))
    path = write_pid(tmp_path, "worker-1", process.pid)

    assert stop_leftovers(tmp_path) == (Leftover("worker-1", process.pid),)

    assert process.wait(5) == -signal.SIGTERM
    assert not path.exists()


def test_a_worker_that_names_no_home_is_known_by_its_command_and_its_age(tmp_path: Path, start: Starter) -> None:
    process = start("paceline", "worker")
    write_pid(tmp_path, "worker-1", process.pid)

    assert stop_leftovers(tmp_path) == (Leftover("worker-1", process.pid),)


def test_a_process_that_got_an_old_number_is_left_alone(tmp_path: Path, start: Starter) -> None:
    process = start("paceline", "worker")
    path = write_pid(tmp_path, "worker-1", process.pid)
    os.utime(path, (time.time() - 3600, time.time() - 3600))

    assert stop_leftovers(tmp_path) == ()

    assert process.poll() is None
    assert not path.exists()


def test_a_process_of_another_kind_is_left_alone(tmp_path: Path, start: Starter) -> None:
    process = start("editor", "report.txt")
    write_pid(tmp_path, "worker-1", process.pid)

    assert stop_leftovers(tmp_path) == ()
    assert process.poll() is None


def test_a_worker_of_another_home_is_left_alone(tmp_path: Path, start: Starter) -> None:
    process = start(PACELINE_HOME=str(tmp_path / "ten"))
    write_pid(tmp_path / "te", "worker-1", process.pid)

    assert stop_leftovers(tmp_path / "te") == ()
    assert process.poll() is None


@pytest.mark.parametrize("content", ["", "x", "0", "1", "-1", "99999999999999", "12 13", "é"])
def test_a_pid_file_of_nonsense_signals_nobody(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run" / "worker-1.pid"
    path.parent.mkdir()
    path.write_text(content, "latin-1")

    assert stop_leftovers(tmp_path) == ()
    assert not path.exists()


def test_this_very_process_is_no_leftover(tmp_path: Path) -> None:
    path = write_pid(tmp_path, "supervisor")
    os.utime(path)

    assert leftovers(tmp_path) == ()


def test_what_will_not_end_is_killed(tmp_path: Path, start: Starter) -> None:
    process = start(code=STUBBORN, PACELINE_HOME=str(tmp_path))
    write_pid(tmp_path, "worker-1", process.pid)

    stop_leftovers(tmp_path, term_seconds=0.2)

    assert process.wait(5) == -signal.SIGKILL


def test_the_supervisor_goes_first_and_the_server_last(tmp_path: Path, start: Starter) -> None:
    names = ("redis", "worker-2", "worker-1", "supervisor")
    for name in names:
        write_pid(tmp_path, name, start(PACELINE_HOME=str(tmp_path)).pid)

    stopped = stop_leftovers(tmp_path)

    assert [one.name for one in stopped] == ["supervisor", "worker-1", "worker-2", "redis"]


def test_stopping_twice_stops_nothing_more(tmp_path: Path, start: Starter) -> None:
    write_pid(tmp_path, "worker-1", start(PACELINE_HOME=str(tmp_path)).pid)
    stop_leftovers(tmp_path)

    assert stop_leftovers(tmp_path) == ()


def test_a_home_that_never_was_has_no_leftovers(tmp_path: Path) -> None:
    assert stop_leftovers(tmp_path / "never") == ()


def test_a_process_that_has_ended_is_not_there_even_while_its_parent_looks_away(start: Starter) -> None:
    process = start()
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert look_up(process.pid) is None
    assert processes._from_ps(process.pid) is None


def test_ps_and_proc_tell_the_same(start: Starter) -> None:
    process = start("two words", "x")

    from_proc, from_ps = look_up(process.pid), processes._from_ps(process.pid)

    assert from_proc is not None
    assert from_ps is not None
    assert (from_proc.pid, from_proc.user) == (from_ps.pid, from_ps.user)
    assert abs(from_proc.started - from_ps.started) <= 2
    assert from_proc.command.strip() == from_ps.command.strip()
