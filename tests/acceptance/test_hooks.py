"""With `paceline hooks` a run is asked after when it ends; when it dies everything comes to its end too."""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import redis

from config.embedded import EmbeddedServer
from paceline import redis_keys as keys
from tests.acceptance.test_run import accepted, check_output
from tests.support.canary import Canary
from tests.support.command import Paceline, make_files, wait_for
from tests.support.sandbox import Sandbox

SECRET = "hook-canary-c0ffee-2b91/7a+d4e0="
ENVIRONMENT = {"KOLENA_WEBHOOK_SECRET": SECRET}
RUN = ("run", "files", "--agent", "kolena:1", "--files-per-run", "2")
NEVER_S = "250"
"""Until the first look after a run: longer than any test waits, so that only a hint can bring one."""


def make_sandbox() -> Sandbox:
    return Sandbox("--run-seconds", "600", "--webhook-secret-env", "KOLENA_WEBHOOK_SECRET", environment=ENVIRONMENT)


def wait_until_followed(paceline: Paceline, runs: int) -> None:
    """Wait until the ledger, not only the provider, knows of so many runs in flight."""
    with redis.Redis(unix_socket_path=str(EmbeddedServer(paceline.home).socket_path)) as client:
        wait_for(lambda: client.zcard(keys.due("kolena", "1")) == runs, "the runs in the ledger")


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


def asked_after(sandbox: Sandbox) -> Counter[int]:
    return Counter(run_id for entry in sandbox.log(request_class="list") for run_id in entry["asked_run_ids"])


def test_a_run_that_ends_between_looks_is_asked_after_once_and_exported(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 4)
    with make_sandbox() as sandbox, Paceline(tmp_path, url=sandbox.url, poll_first_seconds=NEVER_S) as paceline:
        paceline.environment |= ENVIRONMENT
        run = paceline.start(*RUN, "--to", "out")
        sandbox.wait("accepted", count=2, timeout=60)
        wait_until_followed(paceline, 2)
        hooks = paceline.start("hooks", "--port", "0")
        found = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+/webhook)\n", first_line(hooks))
        assert found is not None
        sandbox.control("POST", "webhook", {"url": found[1], "duplicate": 2})
        assert asked_after(sandbox) == {}

        assert sandbox.finish() == 2
        _, said = run.communicate(timeout=120)

        assert run.returncode == 0, said
        check_output(source, tmp_path / "out", 2)
        assert asked_after(sandbox) == dict.fromkeys(asked_after(sandbox), 1)
        assert len(asked_after(sandbox)) == 2
        wait_for(lambda: sandbox.control("GET", "webhook")["delivered"] == 4, "two deliveries, each twice")
        assert Canary(SECRET).in_folder(tmp_path) == []
        ended = paceline.interrupt(hooks)
        assert (ended.code, ended.stdout) == (0, "")
        assert ended.stderr.count("was=hint") == 2
        assert ended.stderr.count("was=replay") == 2
        assert len(ended.stderr.splitlines()) == 4
        assert SECRET not in ended.stderr


def test_a_stream_brings_hints_too_and_nothing_hangs_on_the_process(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 4)
    with make_sandbox() as sandbox, Paceline(tmp_path, url=sandbox.url, poll_first_seconds=NEVER_S) as paceline:
        paceline.environment |= ENVIRONMENT
        run = paceline.start(*RUN, "--to", "out")
        sandbox.wait("accepted", count=2, timeout=60)
        wait_until_followed(paceline, 2)
        assert asked_after(sandbox) == {}
        hooks = paceline.start("hooks", "--stream", "--port", "0")
        url = first_line(hooks).split()[-1]
        sandbox.control("POST", "webhook", {"url": url})
        wait_for(lambda: len(asked_after(sandbox)) == 2, "the look that a new stream brings")

        hooks.send_signal(signal.SIGKILL)
        hooks.communicate()
        sandbox.finish()
        _, said = run.communicate(timeout=120)

        assert run.returncode == 0, said
        assert sandbox.control("GET", "webhook")["delivered"] == 0
        check_output(source, tmp_path / "out", 2)
        assert set(accepted(sandbox).values()) == {1}
