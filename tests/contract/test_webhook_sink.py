"""A webhook as a destination: what a receiver gets, under which id and signature, and what its answers mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from paceline.errors import CredentialsError, SinkError, UsageError
from paceline.sinks import posting
from paceline.sinks.base import Closing, Part
from paceline.sinks.places import SECRET_ENV, canonical
from paceline.sinks.posting import read_secret, sign
from paceline.sinks.registry import open_sink
from paceline.sinks.webhook import WebhookSink
from tests.contract.sink_contract import SinkContract
from tests.support.hook import SECRET, SECRET_BYTES, Hook
from tests.support.raw_server import Peer, RawServer, answer, answering, refused_url
from tests.support.sink_batch import BATCH, closing, parts, second_attempt


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_ENV, SECRET)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as running:
        yield running


class TestWebhook(SinkContract):
    shows = ("records", "file_records")
    ordered = False
    early = True
    one_batch = False
    keeps_skipped = False
    steps = ("Http.post", "create_connection", "socket.send", "socket.sendall", "socket.recv", "Line.close")
    most_kills = 10

    @pytest.fixture(autouse=True)
    def _hook(self, hook: Hook) -> None:
        self.hook = hook
        self.numbers = iter(range(1000))

    def fresh(self) -> str:
        return canonical(f"{self.hook.url}/hook/{next(self.numbers)}?for=us")

    def read(self, place: str, batch: str) -> dict[str, list[Any]] | None:
        last: dict[str, dict[str, Any]] = {}
        for event in self.hook.events(place.removeprefix(self.hook.url)):
            if event["type"] == "submission.exported" and event["data"]["record"]["batch"] == batch:
                last[event["data"]["record"]["submission"]] = event["data"]
        records = [one["record"] for one in last.values()]
        return {"records": records, "file_records": [file for one in last.values() for file in one["files"]]}

    def wanted(self, kept: Sequence[Part], batch: str = BATCH) -> dict[str, list[Any]]:
        whole = super().wanted(kept, batch)
        return whole | {"file_records": [row for row in whole["file_records"] if row["submission"]]}


def summary_of(hook: Hook) -> list[Any]:
    return [one.body["data"] for one in hook.deliveries if one.body["type"] == "batch.complete"]


def test_a_record_and_the_end_of_its_batch_are_what_is_delivered(hook: Hook, tmp_path: Path) -> None:
    sink = open_sink(canonical(f"{hook.url}/hook"))
    one = parts()[1]
    done = closing(tmp_path, summary={"batch": BATCH, "finished_at": "2026-01-02T03:05:08.000Z", "name": "März"})
    sink.write(one)
    sink.commit(done)

    first, last = hook.deliveries
    assert first.body == {
        "type": "submission.exported",
        "timestamp": one.record["finished_at"],
        "data": {"record": one.record, "files": list(one.files)},
    }
    assert last.body == {
        "type": "batch.complete",
        "timestamp": "2026-01-02T03:05:08.000Z",
        "data": dict(done.summary),
    }
    assert (first.id, last.id) == ("b123456789-000002_1_2026-01-02T030507891Z", "b123456789_2026-01-02T030508000Z")


def test_an_id_stays_however_often_it_is_delivered_and_changes_with_the_run(hook: Hook, tmp_path: Path) -> None:
    sink = WebhookSink(f"{hook.url}/hook")
    one = parts()[1]
    done = closing(tmp_path, summary={"finished_at": "2026-01-02T03:05:08.000Z"})
    collected = replace(one, record={**one.record, "finished_at": "2026-01-03T00:00:00.000Z"})
    poorer = replace(one, record={**one.record, "data": {}, "error": {"category": "provider"}})

    for part in (one, one, poorer, second_attempt(), collected):
        sink.write(part)
    sink.commit(done)
    sink.commit(done)
    sink.commit(replace(done, summary={"finished_at": "2026-01-04T00:00:00.000Z"}))

    ids = [one.id for one in hook.deliveries]
    assert ids[0] == ids[1] == ids[2]
    assert ids[5] == ids[6]
    assert len(set(ids)) == 5
    assert not any("." in name for name in ids)  # it delimits what is signed


def test_nothing_is_delivered_by_the_check(hook: Hook) -> None:
    open_sink(canonical(f"{hook.url}/hook")).check(BATCH)

    assert hook.deliveries == []


def test_the_signature_is_the_one_of_the_scheme() -> None:
    """The example of the scheme's own libraries."""
    text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'

    signed = sign(base64.b64decode(text[6:]), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_of_plain_text_signs_with_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_ENV, "a plain secret of words\n")
    with RawServer(answering(answer(200))) as server:
        WebhookSink(server.url, now_s=lambda: 1614265330.9).write(parts()[1])

    head, _, body = server.received.partition(b"\r\n\r\n")
    name, stamp, signature = (header(head, f"webhook-{word}") for word in ("id", "timestamp", "signature"))
    digest = hmac.new(b"a plain secret of words", f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    assert (stamp, signature) == ("1614265330", f"v1,{base64.b64encode(digest).decode()}")
    assert header(head, "content-type") == "application/json"
    assert b"authorization" not in head.lower()


def header(head: bytes, name: str) -> str:
    lines = [line.partition(":") for line in head.decode().split("\r\n")]
    (found,) = [value.strip() for field, _, value in lines if field.lower() == name]
    return found


BAD_SECRETS = {
    "": "no secret to sign deliveries with",
    "whsec_ä": "no Base64 follows",
    "whsec_YWJj": "shorter than 16 bytes",
    "guess": "shorter than 16 bytes",
}


@pytest.mark.parametrize("text", BAD_SECRETS)
def test_a_secret_that_is_none_is_refused_with_the_remedy(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(SECRET_ENV, text)
    sink = WebhookSink(hook.url)

    with pytest.raises(
        CredentialsError, match=rf"{BAD_SECRETS[text]}.*export PACELINE_WEBHOOK_SECRET=whsec_"
    ) as caught:
        sink.check(BATCH)
    assert not text or text not in str(caught.value).replace("guessed", "")
    with pytest.raises(SinkError, match=BAD_SECRETS[text]):
        sink.write(parts()[0])
    assert hook.deliveries == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.org/hook?t=canary", "unencrypted; write https://"),
        ("https://me@example.org/hook", "takes no user"),
    ],
)
def test_an_address_where_results_arent_safe_is_refused(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        open_sink(canonical(url))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [answer(200, b"ok"), answer(202, {"a": 1}), answer(204), answer(200, b"x" * 1_000_000), answer(200, b"\xff{")],
    ids=["text", "json", "nothing", "much", "noise"],
)
def test_any_2xx_means_that_it_is_kept_whatever_it_says(reply: bytes) -> None:
    with RawServer(answering(reply)) as server:
        WebhookSink(server.url).write(parts()[0])
        WebhookSink(server.url).commit(Closing(BATCH, "", 0, {"finished_at": "2026"}))

    assert len(server.peers) == 2


ANSWERS = {
    301: r"redirects elsewhere \(301\).*name the address it leads to",
    303: r"redirects elsewhere \(303\)",
    400: r"refuses the delivery \(400\)",
    401: r"refuses the signature \(401\).*PACELINE_WEBHOOK_SECRET",
    403: r"refuses the signature \(403\)",
    404: r"no such address \(404\)",
    405: r"takes no POST there \(405\)",
    409: r"refuses the delivery \(409\)",
    410: r"wants no more deliveries \(410\)",
    413: r"refuses a body of \d,\d{3} bytes \(413\).*fewer files",
    422: r"refuses the delivery \(422\)",
    429: r"asked too often \(429\).*tried again",
    500: r"has trouble \(500\).*tried again",
    503: r"has trouble \(503\).*tried again",
}


@pytest.mark.parametrize("status", ANSWERS)
def test_any_other_answer_is_an_error_that_says_what_to_do(hook: Hook, status: int) -> None:
    reply = answer(status, {"detail": f"no \x1b[31m{SECRET}"}, {"Location": f"{hook.url}/hook"})
    with RawServer(answering(reply)) as server:
        sink = WebhookSink(f"{server.url}/hook?token=canary-1")
        with pytest.raises(SinkError, match=rf"webhook {server.url}/hook: .*{ANSWERS[status]}") as caught:
            sink.write(parts()[0])

    assert all(word not in str(caught.value) for word in (SECRET, "canary", "\x1b"))
    assert hook.deliveries == []  # a redirect is never followed
    assert len(server.peers) == 1


def test_a_receiver_that_is_not_there_or_breaks_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "POLICY", replace(posting.POLICY, read_s=0.3))
    with pytest.raises(SinkError, match="no connection; is the receiver running"):
        WebhookSink(refused_url()).write(parts()[0])

    def reset(peer: Peer) -> None:
        peer.read_request()
        peer.reset()

    scripts = [Peer.hang, reset, Peer.read_head]
    with RawServer(*scripts) as server:
        for _ in scripts:
            with pytest.raises(SinkError, match="didn't answer in time, or broke off"):
                WebhookSink(server.url).write(parts()[0])


def test_a_receiver_that_drips_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "BASE_S", 2.0)

    def drip(peer: Peer) -> None:
        peer.read_request()
        peer.drip(b"HTTP/1.1 200 " + b"O" * 400, 0.05)

    with RawServer(drip) as server, pytest.raises(SinkError, match="didn't answer in time"):
        WebhookSink(server.url).write(parts()[0])


def test_a_receiver_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    openssl = which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    pem = tmp_path / "pem"
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(pem), "-out", f"{pem}.crt"]
    subprocess.run([*command, *name], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{pem}.crt", pem)

    with RawServer(answering(answer(204)), tls=context) as server:
        with pytest.raises(SinkError, match="no connection"):
            WebhookSink(server.url).write(parts()[0])
        assert server.received == b""
        WebhookSink(server.url, ca_file=f"{pem}.crt").write(parts()[0])


def test_a_wrong_secret_is_refused_and_the_same_part_is_taken_later(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = WebhookSink(hook.url)
    monkeypatch.setenv(SECRET_ENV, "another secret, also long enough")
    with pytest.raises(SinkError, match=r"refuses the signature \(401\)"):
        sink.write(parts()[0])

    monkeypatch.setenv(SECRET_ENV, SECRET)
    sink.write(parts()[0])

    assert (hook.refused, len(hook.deliveries)) == (1, 1)
    assert read_secret() == SECRET_BYTES
    assert json.loads(hook.deliveries[0].raw)["data"]["record"]["submission"] == parts()[0].submission
