"""The contract of providers about asking after runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paceline.errors import (
    AccessDenied,
    Ambiguous,
    AnswerTooLarge,
    Blocked,
    NoCredit,
    ProviderError,
    Throttled,
    Unavailable,
)
from paceline.model import Outcome
from paceline.providers.base import Provider
from tests.contract.provider_basis import HTML, SOON_S, Basis
from tests.support import crooked
from tests.support.bench import ANSWER_BYTES, Bench
from tests.support.crooked import Crooked, Trick, accepted_then, rewritten, said
from tests.support.raw_server import answer

READS: Mapping[str, tuple[Trick, type[ProviderError]]] = {
    "401": (said(401, {"error": "no"}), AccessDenied),
    "402": (said(402), NoCredit),
    "403": (said(403, HTML), AccessDenied),
    "404 of a gateway": (said(404, HTML), Unavailable),
    "408": (said(408), Unavailable),
    "429": (said(429), Throttled),
    "500": (said(500, {"error": "no"}), Unavailable),
    "503": (said(503, HTML), Unavailable),
    "302": (said(302, Location="/"), Unavailable),
    "307": (said(307, Location="/"), Unavailable),
    "200 without body": (said(200), Unavailable),
    "200 with HTML": (said(200, HTML), Unavailable),
    "200 with a number": (said(200, 7), Unavailable),
    "closed": (crooked.unread, Unavailable),
    "dropped": (accepted_then(crooked.dropped), Unavailable),
    "reset": (accepted_then(crooked.reset), Unavailable),
    "truncated": (accepted_then(crooked.truncated), Unavailable),
    "halved": (accepted_then(crooked.halved), Unavailable),
    "too large": (accepted_then(crooked.padded(ANSWER_BYTES)), AnswerTooLarge),
}


def renamed(key: str, value: object) -> Callable[[Any], Any]:
    """Return what sets a key wherever an answer has it."""

    def change(found: Any) -> Any:
        if isinstance(found, list):
            return [change(one) for one in found]
        if isinstance(found, dict):
            return {name: value if name == key else change(one) for name, one in found.items()}
        return found

    return change


class Reads(Basis):
    """Runs over one bench."""

    @pytest.mark.parametrize("mishap", READS)
    def test_a_question_that_goes_wrong_has_no_answer(
        self, bench: Bench, provider: Provider, way: Crooked, mishap: str
    ) -> None:
        trick, expected = READS[mishap]
        run_id = provider.submit(bench.request()).run.run_id
        for name, call in self.reads(bench, provider, run_id).items():
            with way.playing(trick), pytest.raises(expected) as caught:
                call()
            assert isinstance(caught.value, Throttled | Blocked | Unavailable), name
            call()  # and the next one is as good as ever

    def test_a_question_ends_at_its_deadline(self, bench: Bench, way: Crooked) -> None:
        hasty = bench.open(way.url, whole_read_s=SOON_S)
        with way.playing(accepted_then(crooked.dripping)), pytest.raises(Unavailable):
            hasty.describe_agent(bench.agent)

    def test_only_the_service_can_say_that_there_is_no_run(
        self, bench: Bench, provider: Provider, way: Crooked
    ) -> None:
        assert provider.get(bench.agent, bench.unknown_run) is None
        assert provider.ask(bench.agent, [bench.unknown_run]) == {}
        for trick in (said(404, HTML), said(404), said(410, {"error": "no"})):
            with way.playing(trick), pytest.raises(Unavailable):
                provider.get(bench.agent, bench.unknown_run)

    def test_as_many_as_it_says_are_asked_after_at_once(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        most = max(provider.capabilities.asks_after_many, 1)
        ids = [provider.submit(bench.request()).run.run_id for _ in range(min(most, 3))]
        unknown = [str(10**15 + n) for n in range(most - len(ids))]
        asked = len(way.heads)
        found = provider.ask(bench.agent, [*ids, *unknown])
        assert sorted(found) == sorted(ids)
        assert way.methods(asked) == ["GET"]

    def test_runs_nobody_asked_for_are_dropped(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        run_id, other = (provider.submit(bench.request()).run.run_id for _ in range(2))
        told: list[bytes] = []
        overheard = accepted_then(lambda peer, reply: told.append(answer(reply.status, reply.body)))
        with way.playing(overheard), pytest.raises(Unavailable):
            provider.ask(bench.agent, [other])

        def said_of_the_other(request: crooked.Request) -> None:
            request.peer.send(told[-1])

        with way.playing(said_of_the_other):
            found: Mapping[str, Any] = {}
            if provider.capabilities.asks_after_many:
                found = provider.ask(bench.agent, [run_id])
            else:
                with pytest.raises(Unavailable):
                    provider.ask(bench.agent, [run_id])
            with pytest.raises(Unavailable):
                provider.get(bench.agent, run_id)
        assert found == {}

    def test_every_run_under_an_external_id_is_found(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        one, twice, never = (bench.request() for _ in range(3))
        if not provider.capabilities.finds_many:
            with pytest.raises(Unavailable):
                provider.find(bench.agent, [one.external_id])
            return
        ids = [provider.submit(request).run.run_id for request in (one, twice, twice)]
        asked = len(way.heads)
        found = provider.find(bench.agent, [request.external_id for request in (one, twice, never)])
        assert sorted(view.run_id for view in found) == sorted(ids)
        assert {view.external_id for view in found} == {one.external_id, twice.external_id}
        assert way.methods(asked) == ["GET"]
        assert provider.find(bench.agent, [never.external_id]) == []

    def test_a_status_that_nobody_knows_is_no_end(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        run_id = provider.submit(bench.request()).run.run_id
        words: dict[str, Outcome | None] = {**bench.words, "archiving": None, "": None}
        for word, outcome in words.items():
            with way.playing(rewritten(renamed(bench.status_key, word))):
                view = provider.get(bench.agent, run_id)
                assert view is not None
                assert (view.raw_status, view.outcome) == (word, outcome)
        odd_words: tuple[object, ...] = (None, 7, ["succeeded"])
        for odd in odd_words:
            with way.playing(rewritten(renamed(bench.status_key, odd))):
                try:
                    view = provider.get(bench.agent, run_id)
                except Unavailable:
                    continue
                assert view is not None
                assert view.outcome is None

    def test_an_answer_without_a_good_id_is_no_run(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        run_id = provider.submit(bench.request()).run.run_id
        odd_ids: tuple[object, ...] = (None, "", [], {}, True, 1.5, "../x", "a b", "\x1b[31m")
        for odd in odd_ids:
            before = bench.runs()
            with way.playing(rewritten(renamed(bench.id_key, odd))):
                with pytest.raises(Ambiguous):
                    provider.submit(bench.request())
                with pytest.raises(Unavailable):
                    provider.get(bench.agent, run_id)
            assert bench.runs() == before + 1

    def test_what_was_used_is_a_sum_or_unknown(self, bench: Bench, provider: Provider) -> None:
        provider.submit(bench.request())
        used = provider.usage(bench.agent, datetime.now(UTC) - timedelta(hours=1))
        assert used is None or (used.records > 0 and used.credits >= 0)
        assert used is not None or not provider.capabilities.reports_credits

    def test_what_is_deleted_is_gone_and_may_be_deleted_again(self, bench: Bench, provider: Provider) -> None:
        if not provider.capabilities.cancels:
            pytest.skip("it can't delete")
        run_id = provider.submit(bench.request()).run.run_id
        provider.delete(bench.agent, run_id)
        provider.delete(bench.agent, run_id)
        view = provider.get(bench.agent, run_id)
        assert view is None or view.outcome is not None
