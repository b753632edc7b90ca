"""Kolena's adapter against the sandbox: what goes beyond the contract of providers."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator

import pytest

from paceline.errors import (
    AccessDenied,
    AgentUnknown,
    Ambiguous,
    ProviderError,
    Refused,
    Throttled,
    Unavailable,
)
from paceline.model import Outcome
from paceline.providers.base import Accepted, SubmitRequest, Upload
from paceline.providers.http import HttpPolicy
from paceline.providers.kolena import Kolena
from tests.support.sandbox import Sandbox

POLICY = HttpPolicy(answer_bytes=2_000_000, whole_read_s=1.0)
FILES = {"Ünï 文.txt": b"one two\nthree\n", 'quo"te.txt': b"\x00\x01", "big.bin": bytes(3_000_000)}


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox("--run-seconds", "0") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.reset()
    return running


@pytest.fixture
def kolena(sandbox: Sandbox) -> Iterator[Kolena]:
    provider = Kolena(sandbox.url, sandbox.key, policy=POLICY)
    yield provider
    provider.close()


def uploads(files: dict[str, bytes]) -> list[Upload]:
    return [Upload(name, name, len(data), lambda data=data: io.BytesIO(data)) for name, data in files.items()]  # type: ignore[misc]  # mypy can't type a default of a lambda


def submit(kolena: Kolena, external_id: str = "b.b-000001", agent: str = "1", deadline_s: float = 5.0) -> Accepted:
    return kolena.submit(SubmitRequest(agent, external_id, uploads(FILES), deadline_s, gate=lambda: None))


def test_what_was_sent_is_what_arrived(sandbox: Sandbox, kolena: Kolena) -> None:
    accepted = submit(kolena)
    view = kolena.ask("1", [accepted.run.run_id])[accepted.run.run_id]
    assert accepted.digests == tuple(hashlib.sha256(data).digest() for data in FILES.values())
    assert accepted.run.external_id == view.external_id == "b.b-000001"
    assert view.outcome is Outcome.SUCCEEDED
    assert view.credits is not None
    seen = {entry["file"]: entry["sha256"] for entry in view.data["Inventory"]["value"]}
    names = [name.replace('"', "%22") for name in FILES]
    assert seen == dict(zip(names, [digest.hex() for digest in accepted.digests], strict=True))


def test_agents_and_keys_are_checked(sandbox: Sandbox, kolena: Kolena) -> None:
    assert kolena.describe_agent("1").name == "Document inventory"
    with pytest.raises(AgentUnknown):
        kolena.describe_agent("404")
    with pytest.raises(AgentUnknown):
        submit(kolena, agent="404")
    sandbox.keys(revoke=sandbox.key, status=401)
    for call in (lambda: kolena.describe_agent("1"), lambda: submit(kolena), lambda: kolena.ask("1", ["1"])):
        with pytest.raises(AccessDenied):
            call()


# What only the sandbox does, beside the mishaps of `provider_contract`.
WRITES: list[tuple[str, type[ProviderError], int | None]] = [
    ("early_413", Refused, 0),
    ("reset_at@add:bytes=1", Ambiguous, 0),
    ("stall_at@add:fraction=0.1", Ambiguous, None),  # what the kernel holds may still be read, and accepted
    ("accept_then_wrong_ids@add:what=agent_id", Ambiguous, 1),
    ("accept_then_wrong_ids@add:what=external_id", Ambiguous, 1),
    ("accept_then_wrong_ids@add:what=missing", Ambiguous, 1),
    ("huge@add:bytes=5000000,chunked=1", Ambiguous, 1),
    ("gzip_bomb@add:bytes=50000000", Ambiguous, 1),
]


@pytest.mark.parametrize(("fault", "expected", "runs"), WRITES)
def test_a_write_that_goes_wrong_is_never_taken_for_less_than_it_was(
    sandbox: Sandbox, kolena: Kolena, fault: str, expected: type[ProviderError], runs: int | None
) -> None:
    sandbox.faults(fault)
    external_id = f"b.{WRITES.index((fault, expected, runs))}"  # an earlier test's request may still be on its way
    started = time.monotonic()
    with pytest.raises(expected) as caught:
        submit(kolena, external_id, deadline_s=1.0)
    assert type(caught.value) is expected
    assert time.monotonic() - started < 2.5
    assert sandbox.key not in str(caught.value)
    sandbox.clear_faults()
    if runs is not None:
        assert len(kolena.find("1", [external_id])) == runs


def test_ids_as_text_are_ids(sandbox: Sandbox, kolena: Kolena) -> None:
    sandbox.faults("accept_then_wrong_ids@add:what=text")
    accepted = submit(kolena)
    sandbox.clear_faults()
    assert [view.run_id for view in kolena.find("1", ["b.b-000001"])] == [accepted.run.run_id]


def test_a_late_answer_within_the_deadline_is_an_answer(sandbox: Sandbox, kolena: Kolena) -> None:
    sandbox.faults("delay@add:seconds=0.3")
    assert submit(kolena).run.external_id == "b.b-000001"


def test_a_429_with_a_date_is_read(sandbox: Sandbox, kolena: Kolena) -> None:
    sandbox.faults("status:code=429,retry_after=date")
    with pytest.raises(Throttled) as caught:
        kolena.ask("1", ["1"])
    assert caught.value.retry_after_s is not None
    assert 0 <= caught.value.retry_after_s < 120


READS = [
    "slow_loris@list:bytes=1,interval=0.1",
    "gzip_bomb@list:bytes=50000000",
    "list_malformed@list:how=truncated",
    "list_malformed@list:how=not_a_list",
    "list_malformed@list:how=no_total",
    "list_malformed@list:how=html",
    "list_malformed@list:how=empty",
]


@pytest.mark.parametrize("fault", READS)
def test_a_list_that_goes_wrong_is_no_list(sandbox: Sandbox, kolena: Kolena, fault: str) -> None:
    run_id = submit(kolena).run.run_id
    sandbox.faults(fault)
    for call in (lambda: kolena.ask("1", [run_id]), lambda: kolena.find("1", ["b.b-000001"])):
        started = time.monotonic()
        with pytest.raises(Unavailable):
            call()
        assert time.monotonic() - started < 2.5
    sandbox.clear_faults()
    assert list(kolena.ask("1", [run_id])) == [run_id]


def test_a_list_of_everything_is_searched_for_what_was_asked(sandbox: Sandbox, kolena: Kolena) -> None:
    created = sandbox.create_runs(agent=1, prefix="other-", count=120)
    run_id = submit(kolena).run.run_id
    sandbox.faults("list_ignore_filter")
    assert [view.run_id for view in kolena.find("1", ["b.b-000001"])] == [run_id]
    assert list(kolena.ask("1", [run_id])) == [run_id]
    assert len(created) == 120


def test_small_pages_are_put_together(sandbox: Sandbox, kolena: Kolena) -> None:
    ids = [str(run_id) for run_id in sandbox.create_runs(agent=1, prefix="x-", count=120)]
    sandbox.faults("list_page_cap:size=50")
    assert sorted(kolena.ask("1", ids)) == sorted(ids)
    assert len(sandbox.log(request_class="list")) == 3


def test_an_unknown_word_or_null_data_is_no_end_and_no_error(sandbox: Sandbox, kolena: Kolena) -> None:
    run_id = submit(kolena).run.run_id
    sandbox.faults("unknown_status:word=archiving")
    view = kolena.ask("1", [run_id])[run_id]
    assert (view.raw_status, view.outcome) == ("archiving", None)
    sandbox.clear_faults()
    sandbox.faults("null_data")
    view = kolena.ask("1", [run_id])[run_id]
    assert (view.outcome, view.data) == (Outcome.SUCCEEDED, {})


def test_a_failed_run_says_why(sandbox: Sandbox, kolena: Kolena) -> None:
    sandbox.faults("fail_runs:error=unreadable scan")
    run_id = submit(kolena).run.run_id
    view = kolena.ask("1", [run_id])[run_id]
    assert view.outcome is Outcome.FAILED
    assert "unreadable scan" in (view.error_message or "")
