"""Each fault does to a client what it says, and leaves at the sandbox what it says: a run, a late run, or none."""

from __future__ import annotations

import json
import socket
import threading

import httpx
import pytest

from sandbox.fault_kinds import KINDS
from sandbox.faults import FaultBox, fault_from, parse_spec
from tests.support.sandbox import Sandbox, SandboxError

RUNS = "/api/v1/client/agents/1/runs"
FILES = {"files": ("a.txt", b"words")}
BIG = {"files": ("big.bin", bytes(8_000_000))}


def accepted(sandbox: Sandbox) -> int:
    return int(sandbox.stats()["runs"]["accepted"])


def ended(sandbox: Sandbox) -> tuple[str, str | None]:
    """Say how the last add ended and by which fault, once it has."""
    sandbox.wait("answered", class_="add")
    entry = sandbox.log(request_class="add")[-1]
    return entry["end"], entry["fault"]


# Which fault, when


def test_a_spec_reads_as_kind_classes_and_parameters() -> None:
    fault = fault_from(parse_spec("status@add+wait:code=429,retry_after=Wed%2C 21 Oct,p=0.5,count=3,skip=2"), 7)

    assert (fault.id, fault.kind, fault.classes) == (7, "status", ("add", "wait"))
    assert fault.parameters == {"code": 429, "body": "json", "retry_after": "Wed, 21 Oct"}
    assert (fault.probability, fault.count, fault.skip) == (0.5, 3, 2)


@pytest.mark.parametrize(
    "spec",
    [
        "explode",
        "list_lag@add",
        "status@nowhere",
        "status:colour=red",
        "status:code=many",
        "status:p=2",
        "status:code",
        "redirect",
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(sandbox: Sandbox, spec: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        fault_from(parse_spec(spec), 1)
    with pytest.raises(SandboxError):
        sandbox.faults("drop_before", spec)
    assert sandbox.control("GET", "faults") == {"faults": []}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_put_in_force_and_ended(sandbox: Sandbox, kind: str) -> None:
    given = ":location=http%3A//127.0.0.1%3A1/" if kind == "redirect" else ""

    (added,) = sandbox.faults(kind + given)
    assert sandbox.control("GET", "faults")["faults"] == [added]
    assert set(added) >= set(KINDS[kind].parameters)
    sandbox.clear_faults(kind)

    assert sandbox.control("GET", "faults") == {"faults": []}


def test_the_same_seed_gives_the_same_faults() -> None:
    boxes = [FaultBox(["status:p=0.3"], seed) for seed in (1, 1, 2)]

    first, again, other = ([box.draw("add", 1)[0] is None for _ in range(100)] for box in boxes)

    assert first == again != other
    assert 10 < first.count(False) < 50


def test_a_fault_strikes_the_requests_it_is_meant_for_and_then_ends(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("status@list:code=500,skip=1,count=2")

    assert [http.get(RUNS).status_code for _ in range(5)] == [200, 500, 500, 200, 200]
    assert http.get(f"{RUNS}/1").status_code == 404


def test_a_fault_can_be_kept_to_one_agent(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults({"kind": "status", "agent": 2, "code": 500})

    assert [http.get(f"/api/v1/client/agents/{agent}/runs").status_code for agent in (1, 2)] == [200, 500]


# Before accepting


@pytest.mark.parametrize(
    ("spec", "status", "content_type", "retry_after"),
    [
        ("status:code=503", 503, "application/json", None),
        ("status:code=502,body=html", 502, "text/html; charset=utf-8", None),
        ("status:code=408,body=empty", 408, None, None),
        ("status:code=429,body=text,retry_after=7", 429, "text/plain; charset=utf-8", "7"),
        ("status:code=599", 599, "application/json", None),
    ],
)
def test_a_refusal_may_have_any_status_body_and_retry_after(
    sandbox: Sandbox, http: httpx.Client, spec: str, status: int, content_type: str | None, retry_after: str | None
) -> None:
    sandbox.faults(spec)

    for response in (http.post(RUNS, files=FILES), http.get(RUNS)):
        assert response.status_code == status
        assert response.headers.get("content-type") == content_type
        assert response.headers.get("retry-after") == retry_after
    assert accepted(sandbox) == 0


def test_a_redirect_names_another_address_and_accepts_nothing(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults({"kind": "redirect", "location": "http://elsewhere.invalid/a,b", "code": 308})

    response = http.post(RUNS, files=BIG)

    assert (response.status_code, response.headers["location"]) == (308, "http://elsewhere.invalid/a,b")
    assert accepted(sandbox) == 0


def test_an_early_413_comes_before_the_body_was_read(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("early_413")

    assert http.post(RUNS, files=BIG).status_code == 413
    assert sandbox.stats()["received_bytes"] == 0


def test_a_connection_dropped_before_the_body_accepts_nothing(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("drop_before")

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        http.post(RUNS, files=BIG)

    assert ended(sandbox) == ("dropped", "drop_before")
    assert accepted(sandbox) == 0


def test_a_hanging_server_says_nothing_until_the_client_leaves(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("hang_before")

    with pytest.raises(httpx.ReadTimeout):
        http.post(RUNS, files=FILES, timeout=0.2)

    assert ended(sandbox) == ("client_left", "hang_before")
    assert accepted(sandbox) == 0


@pytest.mark.parametrize(("spec", "at_least"), [("bytes=0", 1), ("fraction=0.5", 4_000_000), ("fraction=1", 8_000_000)])
def test_a_reset_in_the_body_accepts_nothing(sandbox: Sandbox, http: httpx.Client, spec: str, at_least: int) -> None:
    sandbox.faults(f"reset_at:{spec}")

    with pytest.raises((httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)):
        http.post(RUNS, files=BIG)

    assert ended(sandbox) == ("reset", "reset_at")
    received = sandbox.log()[-1]["bytes"]
    assert at_least <= received <= at_least + 1_000_000
    assert accepted(sandbox) == 0


def test_a_stalled_upload_goes_on_when_the_fault_ends(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("stall_at:fraction=0.5")
    statuses: list[int] = []
    uploading = threading.Thread(target=lambda: statuses.append(http.post(RUNS, files=BIG).status_code))
    uploading.start()
    sandbox.wait("body", bytes=4_000_000)

    assert sandbox.log()[-1]["bytes"] < 8_000_000
    assert accepted(sandbox) == 0
    sandbox.clear_faults()
    uploading.join(10)

    assert statuses == [200]
    assert accepted(sandbox) == 1


def test_a_client_that_leaves_in_the_middle_of_an_upload_has_no_run(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("stall_at:bytes=1000000")
    with pytest.raises(httpx.WriteTimeout):
        http.post(RUNS, files={"files": ("big.bin", bytes(60_000_000))}, timeout=0.3)

    sandbox.clear_faults()

    assert ended(sandbox) == ("client_left", "stall_at")
    assert accepted(sandbox) == 0


def test_a_client_that_leaves_after_its_last_byte_has_a_run(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("stall_at:fraction=1")
    with pytest.raises(httpx.ReadTimeout):
        http.post(RUNS, files=FILES, timeout=0.2)

    assert ended(sandbox) == ("client_left", "stall_at")
    assert accepted(sandbox) == 1


def test_a_reset_is_a_reset_and_a_drop_is_an_end(sandbox: Sandbox) -> None:
    host, port = sandbox.url.removeprefix("http://").split(":")
    sandbox.faults("accept_then_reset:count=1", "accept_then_drop")
    body = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nword\r\n--B--\r\n'
    head = f"POST {RUNS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.key}\r\n"
    head += f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {len(body)}\r\n\r\n"

    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(head.encode() + body)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(head.encode() + body)
        assert client.recv(1) == b""


# After accepting


@pytest.mark.parametrize(
    ("spec", "status", "content_type"),
    [
        ("accept_then_status:code=504", 504, "text/html; charset=utf-8"),
        ("accept_then_status:code=500,body=json", 500, "application/json"),
        ("accept_then_html", 200, "text/html; charset=utf-8"),
    ],
)
def test_an_accepted_run_may_be_answered_with_an_error(
    sandbox: Sandbox, http: httpx.Client, spec: str, status: int, content_type: str
) -> None:
    sandbox.faults(spec)

    response = http.post(RUNS, files=FILES)

    assert (response.status_code, response.headers["content-type"]) == (status, content_type)
    assert accepted(sandbox) == 1
    (entry,) = sandbox.log(request_class="add")
    assert entry["run_id"] is not None
    assert entry["status"] == status


@pytest.mark.parametrize(
    ("spec", "error", "end"),
    [
        ("accept_then_drop", httpx.RemoteProtocolError, "dropped"),
        ("accept_then_reset", httpx.ReadError, "reset"),
        ("accept_then_hang:seconds=0.1", httpx.RemoteProtocolError, "dropped"),
        ("accept_then_hang", httpx.ReadTimeout, "client_left"),
        ("accept_then_truncate", httpx.RemoteProtocolError, "truncated"),
    ],
)
@pytest.mark.parametrize("path", [RUNS, f"{RUNS}/wait"])
def test_an_accepted_run_may_never_be_heard_of(
    sandbox: Sandbox, http: httpx.Client, spec: str, error: type[Exception], end: str, path: str
) -> None:
    sandbox.faults(spec)

    with pytest.raises(error):
        http.post(path, data={"user_defined_id": "lost"}, files=FILES, timeout=0.5)

    sandbox.wait("answered")
    assert accepted(sandbox) == 1
    (entry,) = sandbox.log()
    assert (entry["end"], entry["external_id"], entry["fault"]) == (end, "lost", spec.partition(":")[0])
    found = http.get(RUNS, params={"user_defined_ids": "lost"}).json()["runs"]
    assert [run["run_id"] for run in found] == [entry["run_id"]]


@pytest.mark.parametrize("what", ["run_id", "agent_id", "external_id", "text", "missing"])
def test_an_accepted_run_may_be_called_another(sandbox: Sandbox, http: httpx.Client, what: str) -> None:
    sandbox.faults(f"accept_then_wrong_ids:what={what}")

    told = http.post(RUNS, data={"user_defined_id": "mine"}, files=FILES).json()

    (true,) = http.get(RUNS).json()["runs"]
    names = ("agent_id", "run_id", "user_defined_id")
    assert [told.get(name) for name in names] != [true[name] for name in names]


def test_a_run_may_appear_long_after_the_client_was_dropped(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("accept_late:seconds=1")

    with pytest.raises(httpx.RemoteProtocolError):
        http.post(RUNS, data={"user_defined_id": "late"}, files=FILES)
    before = http.get(RUNS, params={"user_defined_ids": "late"}).json()["runs"]
    sandbox.wait("accepted")

    assert before == []
    assert len(http.get(RUNS, params={"user_defined_ids": "late"}).json()["runs"]) == 1


def test_a_run_may_appear_long_after_a_gateway_gave_up(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("accept_late:seconds=0.1,code=504")

    assert http.post(RUNS, files=FILES).status_code == 504
    sandbox.wait("accepted")


# Strange deliveries


def test_a_delayed_answer_is_the_right_one(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("delay@add:seconds=0.2")

    assert http.post(RUNS, files=FILES).status_code == 200
    (entry,) = sandbox.log(request_class="add")
    assert entry["answered_t"] - entry["t"] >= 0.2


def test_a_slow_answer_keeps_coming_and_is_right_in_the_end(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("slow_loris@get:bytes=400,interval=0.01")
    run = http.post(RUNS, files=FILES).json()

    assert http.get(f"{RUNS}/{run['run_id']}").json()["run_id"] == run["run_id"]


@pytest.mark.parametrize("spec", ["huge:bytes=5000000", "huge:bytes=5000000,chunked=1", "gzip_bomb:bytes=5000000"])
def test_an_answer_may_be_enormous(sandbox: Sandbox, http: httpx.Client, spec: str) -> None:
    run = http.post(RUNS, files=FILES).json()
    sandbox.faults(spec)

    with http.stream("GET", f"{RUNS}/{run['run_id']}") as response:
        sent = sum(map(len, response.iter_raw()))
    content = http.get(f"{RUNS}/{run['run_id']}").content

    assert len(content) == 5_000_000
    assert json.loads(content)["run_id"] == run["run_id"]
    assert sent == 5_000_000 if "huge" in spec else sent < 20_000


# Reads that lie


def test_a_new_run_may_be_missing_from_lists(sandbox: Sandbox, http: httpx.Client) -> None:
    run = http.post(RUNS, files=FILES).json()
    sandbox.faults("list_lag:seconds=3600")

    assert http.get(RUNS).json()["runs"] == []
    assert http.get(f"{RUNS}/{run['run_id']}").status_code == 200
    sandbox.clear_faults()
    sandbox.faults("list_lag:seconds=0")
    assert len(http.get(RUNS).json()["runs"]) == 1


def test_a_list_may_be_wrongly_empty_once(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.create_runs()
    sandbox.faults("list_empty:count=1")

    lists = [http.get(RUNS).json() for _ in range(2)]

    assert [(len(answer["runs"]), answer["total_pages"]) for answer in lists] == [(0, 0), (1, 1)]


def test_a_list_may_ignore_what_was_asked(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.create_runs(count=3, prefix="x")
    sandbox.faults("list_ignore_filter")

    assert len(http.get(RUNS, params={"user_defined_ids": "unknown", "status": "failed"}).json()["runs"]) == 3


def test_a_list_may_give_smaller_pages_than_asked_for(sandbox: Sandbox, http: httpx.Client) -> None:
    ids = sandbox.create_runs(count=5)
    sandbox.faults("list_page_cap:size=2")

    pages = [http.get(RUNS, params={"page_size": 1000, "page_number": number}).json() for number in range(3)]

    assert [(page["page_size"], page["total_pages"]) for page in pages] == [(2, 3)] * 3
    assert sorted(run["run_id"] for page in pages for run in page["runs"]) == ids


@pytest.mark.parametrize("how", ["truncated", "not_a_list", "no_total", "html", "empty"])
def test_a_list_may_be_no_list(sandbox: Sandbox, http: httpx.Client, how: str) -> None:
    sandbox.create_runs()
    sandbox.faults(f"list_malformed:how={how}")

    response = http.get(RUNS)

    assert response.status_code == 200
    try:
        answer = response.json()
    except json.JSONDecodeError:
        assert how in ("truncated", "html", "empty")
    else:
        assert not isinstance(answer["runs"], list) or "total_pages" not in answer


def test_a_run_may_be_wrongly_unknown(sandbox: Sandbox, http: httpx.Client) -> None:
    (run_id,) = sandbox.create_runs()
    sandbox.faults("get_404:count=2")

    assert [http.get(f"{RUNS}/{run_id}").status_code for _ in range(3)] == [404, 404, 200]


@pytest.mark.parametrize(
    ("spec", "name", "value"),
    [
        ("status_backwards", "status", "running"),
        ("unknown_status:word=paused", "status", "paused"),
        ("null_data", "data", None),
        ("null_completed", "completed", None),
    ],
)
def test_a_finished_run_may_be_shown_wrongly(
    sandbox: Sandbox, http: httpx.Client, spec: str, name: str, value: str | None
) -> None:
    (run_id,) = sandbox.create_runs()
    true = http.get(f"{RUNS}/{run_id}").json()
    sandbox.faults(spec)

    shown = [http.get(f"{RUNS}/{run_id}").json(), http.get(RUNS).json()["runs"][0]]

    assert true["status"] == "success"
    assert true["data"]
    assert [run[name] for run in shown] == [value, value]
    sandbox.clear_faults()
    assert http.get(f"{RUNS}/{run_id}").json() == true


# What becomes of runs


def test_a_share_of_the_runs_can_fail(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("fail_runs:p=0.3")

    sandbox.create_runs(count=200)

    runs = sandbox.stats()["runs"]
    assert runs["failed"] + runs["success"] == 200
    assert 30 < runs["failed"] < 90


def test_a_run_can_succeed_with_a_failed_prompt(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("fail_runs:prompts=1,status=success")

    run = http.get(f"{RUNS}/{sandbox.create_runs()[0]}").json()

    assert run["status"] == "success"
    assert [result["status"] for result in run["data"].values()] == ["failed", "success", "success", "success"]


def test_runs_with_a_certain_file_can_fail(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("fail_runs:file=bad")

    names = ("good.txt", "a bad one.txt")
    run_ids = [http.post(RUNS, files={"files": (name, b"text")}).json()["run_id"] for name in names]

    assert [http.get(f"{RUNS}/{run_id}").json()["status"] for run_id in run_ids] == ["success", "failed"]


def test_a_run_can_take_forever_until_it_is_told_to_finish(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("never_finish:count=1", "slow_runs:seconds=3600")
    never, slow = sandbox.create_runs(count=2)
    before = [http.get(f"{RUNS}/{run_id}").json() for run_id in (never, slow)]

    assert [run["status"] for run in before] == ["running", "running"]
    assert sandbox.finish([never]) == 1
    assert [http.get(f"{RUNS}/{run_id}").json()["status"] for run_id in (never, slow)] == ["success", "running"]


def test_faults_end_when_the_server_does(sandbox: Sandbox) -> None:
    with Sandbox("--fault", "hang_before") as hanging:
        host, port = hanging.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(f"GET {RUNS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n".encode())
            hanging.wait("arrived")
            assert hanging.stop() == 0
            assert client.recv(1) == b""
