"""Whatever a provider answers, the adapter comes to a verdict in bounded time and within a worker's memory (I14)."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.raw_server import Peer, RawServer, Script, answer

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 300_000_000
BLOCK = 16 << 20

CLIENT = """
import json, sys
from paceline.errors import ProviderError
from paceline.providers.base import SubmitRequest
from paceline.providers.http import HttpPolicy
from paceline.providers.kolena import Kolena

verb, deadline_s, *urls = sys.argv[1:]
policy = HttpPolicy(read_s=float(deadline_s), whole_read_s=float(deadline_s))
verdicts = []
for url in urls:
    kolena = Kolena(url, "sk-canary-5d1f0c9e", policy=policy)
    request = SubmitRequest("1", "b000000000.b000000000-000001", (), float(deadline_s), lambda: None)
    try:
        if verb == "add":
            kolena.submit(request)
        elif verb == "list":
            kolena.ask("1", ["7"])
        else:
            kolena.get("1", "7")
    except ProviderError as error:
        assert len(str(error)) < 1000
        verdicts.append(type(error).__name__)
    else:
        verdicts.append("taken")
    kolena.close()
with open("/proc/self/status") as status:
    peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps({"verdicts": verdicts, "peak_bytes": peak_kb * 1024}))
"""


def reading_first(script: Script) -> Script:
    """Read the request, then do as the script says."""

    def whole(peer: Peer) -> None:
        peer.read_request()
        script(peer)

    return whole


def head(*fields: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", "Content-Type: application/json", *fields, "", "")).encode()


def a_gigabyte(peer: Peer) -> None:
    """No length announced, and it goes on as long as anybody listens."""
    peer.send(head("Connection: close") + b'{"a":"')
    peer.flood(b"x" * (1 << 20), 1000)


def an_announced_gigabyte(peer: Peer) -> None:
    peer.send(head("Content-Length: 1000000000"))
    peer.flood(b"[" * (1 << 20), 1000)


def a_gzip_bomb(peer: Peer) -> None:
    """A gigabyte of zeros in a megabyte; after a full flush the same piece may be repeated."""
    packer = zlib.compressobj(9, wbits=31)
    first = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    peer.send(head("Content-Encoding: gzip", "Connection: close") + first)
    peer.flood(again, 63)


def a_megabyte_of_header(peer: Peer) -> None:
    peer.send(head(f"X-Long: {'x' * 1_000_000}", "Content-Length: 2") + b"{}")


def a_slow_loris(peer: Peer) -> None:
    peer.send(head("Content-Length: 100000"))
    peer.drip(b" " * 100_000, 0.05)


def a_slow_header(peer: Peer) -> None:
    peer.drip(head(*(f"X-{number}: y" for number in range(9999))), 0.05)


def said(body: bytes) -> Script:
    return lambda peer: peer.send(answer(200, body))


HOSTILE: dict[str, Script] = {
    "a gigabyte": a_gigabyte,
    "an announced gigabyte": an_announced_gigabyte,
    "a gzip bomb": a_gzip_bomb,
    "100,000 levels": said(b"[" * 100_000 + b"]" * 100_000),
    "100,000 levels of objects": said(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a list of empty lists": said(b"[" + b"[]," * 20_000_000 + b"0]"),
    "a text with an emoji": said(b'{"a":"' + b"x" * 70_000_000 + '\U0001f600"}'.encode()),
    "a megabyte of header": a_megabyte_of_header,
}
SLOW: dict[str, Script] = {"a slow loris": a_slow_loris, "a slow header": a_slow_header}


def verdicts(verb: str, scripts: dict[str, Script], deadline_s: float) -> dict[str, str]:
    """Put each answer to an adapter in a process of its own; check that process's peak; return what it made of them."""
    with ExitStack() as stack:
        servers = [stack.enter_context(RawServer(reading_first(script))) for script in scripts.values()]
        command = [sys.executable, "-c", CLIENT, verb, str(deadline_s), *(server.url for server in servers)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["peak_bytes"] < MOST_BYTES
    return dict(zip(scripts, told["verdicts"], strict=True))


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads its peak from /proc")


def test_a_write_whose_answer_is_hostile_is_uncertain_and_costs_little_memory() -> None:
    assert set(verdicts("add", HOSTILE, 60).values()) == {"Ambiguous"}


@pytest.mark.parametrize("verb", ["list", "get"])
def test_a_question_whose_answer_is_hostile_fails_and_costs_little_memory(verb: str) -> None:
    found = verdicts(verb, HOSTILE, 60)

    assert found.pop("a megabyte of header") == "Unreachable"
    assert set(found.values()) == {"AnswerTooLarge"}


@pytest.mark.parametrize(("verb", "verdict"), [("add", "Ambiguous"), ("list", "Unreachable"), ("get", "Unreachable")])
def test_an_answer_that_takes_for_ever_ends_at_the_deadline(verb: str, verdict: str) -> None:
    assert set(verdicts(verb, SLOW, 1).values()) == {verdict}
