"""The sandbox tells of runs that end, by webhook and by stream, as the vendor's own client understands it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from click.testing import CliRunner
from kolena_agents._utils.webhook import construct_event  # type: ignore[import-untyped]  # the vendor ships no types

from paceline.errors import Unavailable
from paceline.hints import RunHint
from paceline.providers.http import Http, HttpPolicy
from paceline.providers.kolena_stream import EventReader, Streams, read_event
from paceline.providers.kolena_webhook import Delivery, Refused, check, read_headers
from paceline.receiver import Receiver
from sandbox.command import command
from tests.support.command import wait_for
from tests.support.sandbox import Sandbox, SandboxError

SECRET = "hook-canary-77ab"
STREAM = "/api/v1/client/agents/1/stream"


class NotedDesk:
    """Checks deliveries as the product does, and keeps them; the first so many are answered with 500."""

    def __init__(self) -> None:
        self.taken: list[tuple[Mapping[str, str], bytes]] = []
        self.refusals = 0
        self._headers: dict[str, Mapping[str, str]] = {}

    def admit(self, headers: Mapping[str, Sequence[str]]) -> Delivery:
        delivery = read_headers(headers, float(headers["x-kolena-timestamp"][0]))
        self._headers[delivery.id] = {name: values[0] for name, values in headers.items()}
        return delivery

    def take(self, delivery: Delivery, body: bytes) -> str:
        if self.refusals:
            self.refusals -= 1
            raise Refused(500, "not_now")
        check(delivery, body, SECRET.encode())
        self.taken.append((self._headers[delivery.id], body))
        return "ok"


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    environment = {"HOOK_SECRET": SECRET}
    with Sandbox("--run-seconds", "600", "--webhook-secret-env", "HOOK_SECRET", environment=environment) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started: Sandbox) -> Sandbox:
    started.reset()
    return started


@pytest.fixture
def desk(sandbox: Sandbox) -> Iterator[NotedDesk]:
    desk = NotedDesk()
    receiver = Receiver("127.0.0.1", 0, desk)
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    sandbox.control("POST", "webhook", {"url": receiver.url})
    yield desk
    receiver.shutdown()
    receiver.server_close()
    thread.join()


def counts(sandbox: Sandbox) -> dict[str, Any]:
    return sandbox.control("GET", "webhook")


def test_a_run_that_ends_is_posted_as_the_vendors_helper_wants_it(sandbox: Sandbox, desk: NotedDesk) -> None:
    (run_id,) = sandbox.create_runs(external_id="b1.b1-000001")
    assert counts(sandbox)["delivered"] == 0
    sandbox.finish([run_id])
    wait_for(lambda: counts(sandbox)["delivered"] == 1, "the delivery")
    ((headers, body),) = desk.taken
    vendor = {
        f"X-Kolena-{name}": headers[f"x-kolena-{name.lower()}"] for name in ("Signature", "Timestamp", "Delivery-ID")
    }
    run = construct_event(body, SECRET, vendor)
    assert (run.run_id, run.user_defined_id, run.status) == (run_id, "b1.b1-000001", "success")


def test_a_delivery_can_be_lost_and_the_next_one_sent_twice(sandbox: Sandbox, desk: NotedDesk) -> None:
    sandbox.control("POST", "webhook", {"lose": 1})
    sandbox.finish(sandbox.create_runs())
    wait_for(lambda: counts(sandbox)["lost"] == 1, "the loss")
    sandbox.control("POST", "webhook", {"duplicate": 1})
    sandbox.finish(sandbox.create_runs())
    wait_for(lambda: counts(sandbox)["delivered"] == 2, "two deliveries")
    assert len({headers["x-kolena-delivery-id"] for headers, _ in desk.taken}) == 1


def test_a_refused_delivery_is_tried_three_more_times(sandbox: Sandbox, desk: NotedDesk) -> None:
    desk.refusals = 3
    sandbox.finish(sandbox.create_runs())
    wait_for(lambda: counts(sandbox)["delivered"] == 1, "the delivery")
    desk.refusals = 4
    sandbox.finish(sandbox.create_runs())
    wait_for(lambda: counts(sandbox)["dropped"] == 1, "giving up")
    assert (counts(sandbox)["refused"], len(desk.taken)) == (7, 1)


def test_an_address_elsewhere_is_refused(sandbox: Sandbox) -> None:
    for url in (
        "http://192.168.1.7:80/x",
        "https://127.0.0.1:80/x",
        "http://127.0.0.1.example.org:80/",
        "http://127.0.0.1/",
    ):
        with pytest.raises(SandboxError, match="this machine only"):
            sandbox.control("POST", "webhook", {"url": url})
    with pytest.raises(SandboxError, match="there is no colour"):
        sandbox.control("POST", "webhook", {"colour": 1})


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--webhook", "http://example.org:80/"], "this machine only"),
        (["--webhook", "http://127.0.0.1:80/"], "--webhook-secret-env"),
        (["--webhook-secret-env", "NO_SUCH_VARIABLE"], "no secret in NO_SUCH_VARIABLE"),
    ],
)
def test_an_option_that_makes_no_sense_is_a_usage_error(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert complaint in " ".join(result.output.split())


def stream(sandbox: Sandbox, query: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=30)
    connection.request("GET", f"{STREAM}?{query}", headers={"Authorization": f"Bearer {sandbox.key}"})
    answer = connection.getresponse()
    return answer.status, answer.headers["content-type"], answer.read()


def test_a_stream_begins_with_the_newest_runs_and_closes_in_time(sandbox: Sandbox) -> None:
    run_ids = sandbox.create_runs(count=12)
    status, kind, body = stream(sandbox, "tail=2&wait=0")
    assert (status, kind) == (200, "text/event-stream")
    events = [json.loads(event or b"") for event in EventReader().feed(body)]
    assert [event["run_id"] for event in events] == run_ids[-2:]
    assert stream(sandbox, "tail=-1&wait=0")[2] == b""


@pytest.mark.parametrize("query", ["tail=11", "wait=301", "wait=x"])
def test_a_stream_refuses_what_the_vendors_schema_refuses(sandbox: Sandbox, query: str) -> None:
    assert stream(sandbox, query)[0] == 422


class Ear:
    """Listens to one agent's stream as the product does, and keeps what it was told."""

    def __init__(self, sandbox: Sandbox, agents: Sequence[str] = ("1",)) -> None:
        self.told: list[tuple[str, Sequence[RunHint] | None]] = []
        http_ = Http(sandbox.url, sandbox.key, HttpPolicy(read_s=30.0))
        self.streams = Streams(
            http_, agents=lambda: agents, permit=lambda: 0.0, tell=lambda *one: self.told.append(one)
        )
        self.streams.start()

    def hears(self, run_id: int) -> bool:
        return any(runs is not None and str(run_id) in [run.run_id for run in runs] for _, runs in self.told)


def test_a_stream_tells_of_a_run_that_ends_and_not_of_one_that_starts(sandbox: Sandbox) -> None:
    ear = Ear(sandbox)
    try:
        wait_for(lambda: ear.told == [("1", None)], "the hint that a connection is")
        one, other = sandbox.create_runs(count=2)
        sandbox.finish([other])
        wait_for(lambda: ear.hears(other), "the end of a run")
        assert not ear.hears(one)
    finally:
        ear.streams.stop()


def test_a_stream_that_breaks_is_opened_again_with_a_hint(sandbox: Sandbox) -> None:
    sandbox.faults("status@other:count=1,code=503", "redirect@other:count=1,location=http://127.0.0.1:9/")
    ear = Ear(sandbox)
    try:
        wait_for(lambda: ear.told == [("1", None)], "the connection after two failures")
        assert [entry["status"] for entry in sandbox.log(request_class="other")][:2] == [503, 307]
    finally:
        ear.streams.stop()


def test_a_redirected_stream_takes_the_key_nowhere(sandbox: Sandbox) -> None:
    with Sandbox() as elsewhere:
        sandbox.faults(f"redirect@other:location={elsewhere.url}{STREAM}")
        with pytest.raises(Unavailable):
            Http(sandbox.url, sandbox.key).listen(STREAM, lambda _chunk: None, deadline_s=30)
        assert elsewhere.log() == []


def test_a_stream_ends_at_its_deadline_and_with_whatever_listens(sandbox: Sandbox) -> None:
    http_ = Http(sandbox.url, sandbox.key)
    heard: list[bytes] = []
    http_.listen(STREAM, heard.append, deadline_s=3.0, params=(("wait", "300"),))
    assert heard == [b""]

    def fail(_chunk: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        http_.listen(STREAM, fail, deadline_s=30.0)
    with pytest.raises(Unavailable):
        http_.listen("/api/v1/client/agents/99/stream", lambda _chunk: None, deadline_s=30.0)


def test_an_event_of_the_sandbox_is_read(sandbox: Sandbox) -> None:
    (run_id,) = sandbox.create_runs(external_id="b1.b1-000001")
    sandbox.finish([run_id])
    (event,) = EventReader().feed(stream(sandbox, "tail=1&wait=0")[2])
    assert read_event(event) == [RunHint(str(run_id), "1", "b1.b1-000001")]
