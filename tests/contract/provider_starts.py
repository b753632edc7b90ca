"""The contract of providers about starting a run."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from paceline.errors import (
    AccessDenied,
    Ambiguous,
    Blocked,
    FileMissing,
    FileProblem,
    NoCredit,
    NotSent,
    PermitExpired,
    ProviderError,
    Refused,
    Throttled,
    Unavailable,
)
from paceline.providers.base import Accepted, Provider, Upload
from tests.contract.provider_basis import HTML, SOON_S, Basis
from tests.support import crooked
from tests.support.bench import ANSWER_BYTES, Bench, uploads
from tests.support.crooked import Crooked, Trick, accepted_then, said, then_said
from tests.support.raw_server import RawServer, refused_url

# Mishap, what a submission comes to, and whether the service has started a run.
WRITES: Mapping[str, tuple[Trick, type[ProviderError], bool]] = {
    "400": (said(400, {"error": "no"}), Refused, False),
    "401": (said(401, {"error": "no"}), AccessDenied, False),
    "402": (said(402, {"error": "no"}), NoCredit, False),
    "403": (said(403, HTML), AccessDenied, False),
    "413": (said(413, HTML), Refused, False),
    "422": (said(422, {"detail": [{"loc": ["body"], "msg": "no"}]}), Refused, False),
    "429": (said(429, HTML), Throttled, False),
    "408": (said(408), Ambiguous, False),
    "409": (said(409, {"error": "no"}), Ambiguous, False),
    "500": (said(500, {"error": "no"}), Ambiguous, False),
    "503": (said(503, HTML, Retry_After="1"), Ambiguous, False),
    "302": (said(302, Location="/"), Ambiguous, False),
    "200 without body": (said(200), Ambiguous, False),
    "200 with HTML": (said(200, HTML), Ambiguous, False),
    "200 with a list": (said(200, []), Ambiguous, False),
    "200 without id": (said(200, {}), Ambiguous, False),
    "closed unread": (crooked.unread, Ambiguous, False),
    "reset half-way": (crooked.cut_in_half, Ambiguous, False),
    "silence": (crooked.silent, Ambiguous, False),
    "accepted, dropped": (accepted_then(crooked.dropped), Ambiguous, True),
    "accepted, reset": (accepted_then(crooked.reset), Ambiguous, True),
    "accepted, silence": (accepted_then(crooked.hanging), Ambiguous, True),
    "accepted, truncated": (accepted_then(crooked.truncated), Ambiguous, True),
    "accepted, halved": (accepted_then(crooked.halved), Ambiguous, True),
    "accepted, dripping": (accepted_then(crooked.dripping), Ambiguous, True),
    "accepted, too large": (accepted_then(crooked.padded(ANSWER_BYTES)), Ambiguous, True),
    "accepted, 500": (then_said(500, {"error": "no"}), Ambiguous, True),
    "accepted, 502": (then_said(502, HTML), Ambiguous, True),
    "accepted, 408": (then_said(408), Ambiguous, True),
    "accepted, HTML": (then_said(200, HTML), Ambiguous, True),
    "accepted, 302": (then_said(302), Ambiguous, True),
}
SLOW = {"silence", "accepted, silence", "accepted, dripping"}


def gone() -> io.BytesIO:
    raise FileMissing("it is gone", path="a.txt")


class Starts(Basis):
    """Runs over one bench."""

    def test_a_submission_is_one_post_and_one_run(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        request, before = bench.request(), bench.runs()
        accepted = provider.submit(request)
        assert way.methods() == ["POST"]
        assert bench.runs() == before + 1
        assert re.fullmatch(bench.kind.run_id, accepted.run.run_id, re.ASCII)
        assert accepted.run.external_id in (None, request.external_id)
        assert accepted.digests == tuple(hashlib.sha256(data).digest() for data in bench.files.values())
        assert all(bench.mentions(way.received, data) for data in bench.files.values())

    def test_what_was_started_can_be_asked_after(self, bench: Bench, provider: Provider) -> None:
        run_id = provider.submit(bench.request()).run.run_id
        view = provider.get(bench.agent, run_id)
        assert view is not None
        assert (view.run_id, view.raw_status in bench.words) == (run_id, True)
        assert view.outcome is bench.words[view.raw_status]
        assert provider.ask(bench.agent, [run_id]) == {run_id: view}

    def test_the_gate_is_asked_once_on_a_connection_before_the_first_byte(
        self, bench: Bench, provider: Provider, way: Crooked
    ) -> None:
        seen = []

        def gate() -> None:
            way.wait_for_connections(1)
            seen.append((way.connections, way.received))

        provider.submit(bench.request(gate=gate))
        assert seen == [(1, b"")]

    def test_a_gate_that_refuses_lets_no_byte_out(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        def gate() -> None:
            raise PermitExpired("too old")

        before = bench.runs()
        with pytest.raises(PermitExpired):
            provider.submit(bench.request(gate=gate))
        assert way.received == b""
        assert bench.runs() == before

    def test_each_request_stands_on_a_connection_of_its_own(
        self, bench: Bench, provider: Provider, way: Crooked
    ) -> None:
        for _ in range(2):
            provider.submit(bench.request())
        assert way.connections == 2

    def test_nothing_was_sent_where_nobody_listens(self, bench: Bench) -> None:
        provider = bench.open(refused_url())
        with pytest.raises(NotSent):
            provider.submit(bench.request())
        for call in self.reads(bench, provider, bench.unknown_run).values():
            with pytest.raises(Unavailable):
                call()

    @pytest.mark.parametrize("mishap", WRITES)
    def test_a_mishap_is_never_taken_for_less_than_it_was(
        self, bench: Bench, provider: Provider, way: Crooked, mishap: str
    ) -> None:
        trick, expected, started = WRITES[mishap]
        before = bench.runs()
        request = bench.request(deadline_s=SOON_S if mishap in SLOW else 20.0)
        with way.playing(trick), pytest.raises(ProviderError) as caught:
            provider.submit(request)
        assert type(caught.value) is expected
        assert way.methods() == ["POST"]  # never sent again
        assert bench.runs() == before + started

    def test_a_body_that_was_cut_short_may_still_have_been_read(self, bench: Bench) -> None:
        large = uploads({"large.txt": b"0123456789abcde\n" * 1_000_000})  # more than any socket's buffers hold
        request, before = bench.request(uploads=large), bench.runs()
        narrow = Crooked(bench.url, receive_buffer=65_536)
        with narrow as way, way.playing(crooked.reset_early), pytest.raises(Ambiguous) as caught:
            bench.open(way.url).submit(request)
        assert not caught.value.body_sent
        assert bench.runs() == before

    @pytest.mark.parametrize("status", [301, 307, 308])
    def test_a_redirect_is_not_followed(self, bench: Bench, provider: Provider, way: Crooked, status: int) -> None:
        with RawServer(crooked_listener) as elsewhere:
            with way.playing(said(status, Location=elsewhere.url)), pytest.raises((Blocked, Ambiguous)):
                provider.submit(bench.request())
            with way.playing(said(status, Location=elsewhere.url)), pytest.raises(Unavailable):
                provider.get(bench.agent, bench.unknown_run)
            assert elsewhere.peers == []

    def test_an_unknown_agent_blocks(self, bench: Bench, provider: Provider) -> None:
        before = bench.runs()
        with pytest.raises(Blocked):
            provider.submit(bench.request(agent=bench.unknown_agent))
        assert bench.runs() == before

    @pytest.mark.parametrize(
        ("header", "wish"), [("7", 7.0), ("0.5", 0.5), ("1000000000", 1e9), ("soon", None), ("-1", None)]
    )
    def test_a_429_carries_its_wish(
        self, bench: Bench, provider: Provider, way: Crooked, header: str, wish: float | None
    ) -> None:
        calls = [lambda: provider.submit(bench.request()), *self.reads(bench, provider, bench.unknown_run).values()]
        with way.playing(said(429, {"error": "slow down"}, Retry_After=header)):
            for call in calls:
                with pytest.raises(Throttled) as caught:
                    call()
                assert caught.value.retry_after_s == wish

    @pytest.mark.parametrize(
        "wrong",
        [
            Upload("a.txt", "a.txt", 5, gone),
            Upload("a.txt", "a.txt", 5, lambda: io.BytesIO(b"1234")),
            Upload("a.txt", "a.txt", 5, lambda: io.BytesIO(b"123456")),
        ],
        ids=["gone", "shorter", "longer"],
    )
    def test_another_file_than_planned_starts_no_run(self, bench: Bench, provider: Provider, wrong: Upload) -> None:
        before = bench.runs()
        with pytest.raises(FileProblem):
            provider.submit(bench.request(uploads=[*uploads({"good.txt": b"good"}), wrong]))
        assert bench.runs() == before

    def test_many_threads_may_submit_at_once(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        number, before = 6, bench.runs()
        files = [{f"{n}.txt": f"file {n}\n".encode() * 5000} for n in range(number)]
        requests = [bench.request(uploads=uploads(one)) for one in files]
        together = threading.Barrier(number)

        def submit(at: int) -> Accepted:
            together.wait(20)
            return provider.submit(requests[at])

        with ThreadPoolExecutor(number) as pool:
            accepted = list(pool.map(submit, range(number)))
        assert len({one.run.run_id for one in accepted}) == number
        assert bench.runs() == before + number
        assert way.connections == number
        for one, sent in zip(accepted, files, strict=True):
            assert one.digests == tuple(hashlib.sha256(data).digest() for data in sent.values())

    def test_a_run_can_be_waited_for_where_it_says_so(self, bench: Bench, provider: Provider) -> None:
        if not provider.capabilities.waits_s:
            pytest.skip("it can't wait")
        before = bench.runs()
        accepted = provider.submit(bench.request(wait_s=1))
        assert accepted.run.outcome is not None
        assert bench.runs() == before + 1


def crooked_listener(peer: Any) -> None:
    """Take a connection that should never come."""
