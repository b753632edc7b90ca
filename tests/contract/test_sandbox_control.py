"""What the sandbox says about itself is what happened, and a test can wait for an exact moment."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.support.sandbox import Sandbox, SandboxError

RUNS = "/api/v1/client/agents/1/runs"
FILES = {"files": ("a.txt", b"words")}


def test_the_log_tells_what_was_uploaded(sandbox: Sandbox, http: httpx.Client) -> None:
    contents = {"a.txt": b"words", "b.bin": bytes(1000)}
    before_s = time.monotonic()

    run = http.post(
        RUNS,
        data={"user_defined_id": "batch.1"},
        files=[("files", (name, content)) for name, content in contents.items()],
    ).json()

    (entry,) = sandbox.log()
    assert entry["files"] == [
        {"name": name, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    ]
    assert (entry["method"], entry["class"], entry["agent"]) == ("POST", "add", 1)
    assert (entry["external_id"], entry["run_id"], entry["status"]) == ("batch.1", run["run_id"], 200)
    assert (entry["end"], entry["refused"], entry["fault"], entry["upload"]) == ("answered", False, None, 1)
    assert before_s <= entry["t"] <= entry["answered_t"] <= time.monotonic()
    assert abs(entry["wall"] - time.time()) < 60


def test_the_log_tells_which_runs_were_asked_for(sandbox: Sandbox, http: httpx.Client) -> None:
    http.get(RUNS, params={"run_ids": [1, 2], "user_defined_ids": ["x"]})
    http.get(f"{RUNS}/7")

    asked = [(entry["class"], entry["asked_run_ids"], entry["asked_external_ids"]) for entry in sandbox.log()]

    assert asked == [("list", [1, 2], ["x"]), ("get", [7], [])]


def test_the_log_can_be_read_on_from_where_it_ended(sandbox: Sandbox, http: httpx.Client) -> None:
    http.get(RUNS)
    last = sandbox.log()[-1]["seq"]
    assert sandbox.log(since=last) == []

    http.get(RUNS)
    http.get(RUNS)

    assert [entry["seq"] for entry in sandbox.log(since=last)] == [last + 1, last + 2]
    (entry,) = sandbox.control("GET", f"log?since={last}&count=1&files=0")["entries"]
    assert "files" not in entry


def test_no_key_is_ever_shown(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.keys(revoke=sandbox.key)
    http.get(RUNS)

    shown = json.dumps([sandbox.log(), sandbox.stats(), sandbox.control("POST", "keys", {})])

    assert sandbox.key not in shown
    assert hashlib.sha256(sandbox.key.encode()).hexdigest()[:12] in shown


def test_stats_name_the_external_ids_that_were_accepted_twice(sandbox: Sandbox, http: httpx.Client) -> None:
    ids = [
        http.post(RUNS, data={"user_defined_id": id_} if id_ else {}, files=FILES).json()["run_id"]
        for id_ in ("a", "b", "a", None, "a")
    ]
    http.delete(f"{RUNS}/{ids[0]}")

    stats = sandbox.stats()

    assert stats["external_ids"] == {
        "unique": 2,
        "accepted": 4,
        "without": 1,
        "duplicates": [{"external_id": "a", "run_ids": [ids[0], ids[2], ids[4]]}],
    }
    assert stats["runs"] == {"accepted": 5, "deleted": 1, "running": 0, "success": 4, "failed": 0}
    assert stats["classes"]["add"]["statuses"] == {"200": 5}
    assert stats["credits_used"] == 16
    assert stats["peak_rss_bytes"] > 10_000_000


def test_many_files_leave_little_in_memory(sandbox: Sandbox, http: httpx.Client) -> None:
    http.post(RUNS, files=FILES)
    before = sandbox.stats()["peak_rss_bytes"]

    http.post(RUNS, files=[("files", (f"{number}.bin", bytes(10_000_000))) for number in range(8)])

    assert sandbox.stats()["received_bytes"] > 80_000_000
    assert sandbox.stats()["peak_rss_bytes"] - before < 20_000_000


def test_unfinished_runs_can_be_finished_now(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.run_seconds("3600")
    waiting: list[str] = []
    thread = threading.Thread(target=lambda: waiting.append(http.post(f"{RUNS}/wait", files=FILES).json()["status"]))
    thread.start()
    sandbox.wait("accepted")

    assert sandbox.finish() == 1
    thread.join(10)

    assert waiting == ["success"]
    assert sandbox.finish() == 0


def test_prompts_of_a_running_run_appear_one_after_the_other(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.run_seconds("1")
    (run_id,) = sandbox.create_runs()
    seen: list[list[str]] = []
    while True:
        run = http.get(f"{RUNS}/{run_id}").json()
        names = list(run["data"])
        if not seen or seen[-1] != names:
            seen.append(names)
        if run["status"] != "running":
            break
        time.sleep(0.02)

    assert all(names == run["order"][: len(names)] for names in seen)
    assert seen[-1] == run["order"]


def test_runs_nobody_asked_for_can_be_there_already(sandbox: Sandbox, http: httpx.Client) -> None:
    twins = sandbox.create_runs(count=2, external_id="batch.1", files={"x.txt": "one two"})

    runs = http.get(RUNS, params={"user_defined_ids": "batch.1"}).json()["runs"]

    assert sorted(run["run_id"] for run in runs) == twins
    assert runs[0]["data"]["Inventory"]["value"][0]["words"] == 2


def test_a_test_can_wait_for_a_point_in_an_upload(sandbox: Sandbox) -> None:
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as upload:
        upload.sendall(f"POST {RUNS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.key}\r\n".encode())
        upload.sendall(b"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 1000\r\n\r\n")
        assert sandbox.wait("arrived") == 1
        upload.sendall(b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * 400)
        assert sandbox.wait("upload") == 1
        assert sandbox.wait("body", bytes=400) < 1000
        with pytest.raises(SandboxError, match="wasn't reached"):
            sandbox.wait("body", bytes=1000, timeout=0.1)
        assert sandbox.log()[0]["end"] == "open"

    sandbox.wait("answered")
    (entry,) = sandbox.log()
    assert (entry["end"], entry["status"], entry["run_id"]) == ("client_left", None, None)
    assert sandbox.stats()["runs"]["accepted"] == 0


def test_a_reset_forgets_everything_but_the_numbers(sandbox: Sandbox, http: httpx.Client) -> None:
    (old,) = sandbox.create_runs()
    http.get(RUNS)
    seq = sandbox.log()[-1]["seq"]
    sandbox.faults("drop_before")
    sandbox.limits(add="1/60s")

    sandbox.reset()

    assert sandbox.log() == []
    assert http.get(RUNS).json()["runs"] == []
    assert sandbox.log()[0]["seq"] == seq + 1
    assert sandbox.create_runs()[0] == old + 1
    assert sandbox.limits()["add"] == "600/60s"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "limits", {"add": "fast"}),
        ("POST", "limits", {"subtract": "1/60s"}),
        ("POST", "runs", {"seconds": "soon"}),
        ("POST", "runs", {"create": {"agent": 99}}),
        ("POST", "keys", {"revoke": "all", "status": 200}),
        ("POST", "faults", ["drop_before"]),
        ("GET", "wait?event=doomsday", None),
        ("GET", "log?since=yesterday", None),
    ],
)
def test_a_control_that_makes_no_sense_is_refused(sandbox: Sandbox, method: str, path: str, body: object) -> None:
    with pytest.raises(SandboxError, match="error"):
        sandbox.control(method, path, body)


def test_the_log_file_has_a_line_for_every_request_that_ended(tmp_path: Path) -> None:
    log_file = tmp_path / "requests.jsonl"
    for _ in range(2):
        with Sandbox("--log-file", str(log_file)) as sandbox:
            headers = {"Authorization": f"Bearer {sandbox.key}"}
            httpx.post(sandbox.url + RUNS, files=FILES, headers=headers, trust_env=False)
            (entry,) = sandbox.log()

    lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    assert len(lines) == 2
    assert lines[1] == entry
