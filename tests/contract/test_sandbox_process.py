"""The sandbox starts on a free port, says when it is ready, and leaves with whoever owns it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sandbox.command import command
from tests.support.sandbox import ROOT, Sandbox, SandboxError


def test_it_says_where_it_is_in_one_line() -> None:
    with Sandbox() as sandbox:
        assert sandbox.stderr.read_text() == f"sandbox ready at {sandbox.url}\n"
        assert sandbox.url.startswith("http://127.0.0.1:")


def test_it_ends_with_its_owner() -> None:
    sandbox = Sandbox()
    sandbox.start()
    port = int(sandbox.url.rpartition(":")[2])

    assert sandbox.stop() == 0  # closes the pipe and does nothing else

    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_normally(number: signal.Signals) -> None:
    with Sandbox() as sandbox:
        os.kill(sandbox.pid, number)

        assert sandbox.ended() == 0


def test_it_ends_when_standard_input_is_closed() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0", "--exit-with-parent"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    assert "ready at" in process.stderr.readline()

    process.stdin.close()

    assert process.wait(10) == 0
    process.stderr.close()


def test_a_port_in_use_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sandbox = Sandbox("--port", str(taken.getsockname()[1]))
        with pytest.raises(SandboxError, match=r"can't listen on port \d+: Address already in use"):
            sandbox.start()


def test_two_sandboxes_know_nothing_of_each_other() -> None:
    with Sandbox() as one, Sandbox() as other:
        one.create_runs(count=3)

        assert one.url != other.url
        assert other.stats()["runs"]["accepted"] == 0


def test_options_set_limits_agents_durations_and_faults() -> None:
    arguments = ["--limit", "add=40/2s", "--limit", "get=off", "--agent", "7:Seven", "--run-seconds", "3-5"]
    with Sandbox(*arguments, "--fault", "status@list:code=500", "--fault", "never_finish:p=0.5") as sandbox:
        assert sandbox.limits() == {"add": "40/2s", "wait": "40/60s", "list": "1200/60s"}
        assert sandbox.control("POST", "runs", {"create": {"agent": 7}})["seconds"] == [3, 5]
        assert [fault["kind"] for fault in sandbox.control("GET", "faults")["faults"]] == ["status", "never_finish"]
        with pytest.raises(SandboxError, match="no agent 1"):
            sandbox.create_runs(agent=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--limit", "add=fast"],
        ["--limit", "nothing=1/60s"],
        ["--run-seconds", "8-2"],
        ["--run-seconds=-1"],
        ["--agent", "seven"],
        ["--fault", "explode"],
        ["--keys-from-env", "NO_SUCH_VARIABLE"],
        ["--owner-fd", "987"],
        ["--port", "70000"],
    ],
)
def test_an_option_that_makes_no_sense_is_a_usage_error(arguments: list[str]) -> None:
    result = CliRunner().invoke(command, arguments)

    assert result.exit_code == 2
    assert arguments[0].partition("=")[0] in result.output


def test_it_refuses_an_owner_it_cannot_watch(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        result = CliRunner().invoke(command, ["--owner-fd", str(file.fileno())])

    assert result.exit_code == 2
    assert "no pipe" in result.output
