"""The vendor's own client judges the sandbox: what it sends must be understood, what it parses must be right."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kolena_agents import Client  # type: ignore[import-untyped]  # the vendor ships no types
from kolena_agents.types.agent_run import AgentRunStatus  # type: ignore[import-untyped]
from kolena_agents.types.exceptions import ApiException  # type: ignore[import-untyped]

from tests.support.sandbox import Sandbox

NEVER = "3600"


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started: Sandbox) -> Sandbox:
    started.reset()
    started.run_seconds("0")
    return started


@pytest.fixture
def client(sandbox: Sandbox) -> Any:
    return Client(api_key=sandbox.key, host=sandbox.url)


def one_file(name: str = "a.txt") -> list[tuple[str, bytes]]:
    return [(name, b"some words\n")]


def listed(client: Any, **filters: object) -> list[int]:
    return [run.run_id for run in client.agent_run.list(1, **filters).runs]


def test_the_result_of_a_run_is_what_is_in_the_files(client: Any, tmp_path: Path) -> None:
    contents = {
        "plain.txt": b"one two  three\nfour\n\nlast line without end",
        "umlaut ü.csv": "a;ü\n1;2\n".encode(),
        "page.pdf": b"%PDF-1.7\n\x00\x01\x02",
        "noise.bin": bytes(range(256)) * 1000,
        "photo.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        "letter.docx": b"PK\x03\x04" + b"\0" * 30,
        "bundle.zip": b"PK\x03\x04" + b"\0" * 30,
        "empty.txt": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    added = client.agent_run.add(1, [str(tmp_path / name) for name in contents], user_defined_id="batch.1")
    run = client.agent_run.get(1, added.run_id)

    assert run.files == list(contents)
    assert run.user_defined_id == "batch.1"
    assert run.status is AgentRunStatus.SUCCESS
    assert run.completed is not None
    assert list(run.data) == run.order == ["Inventory", "Totals", "Kinds", "Largest file"]
    inventory = run.data["Inventory"].value
    assert [file["file"] for file in inventory] == list(contents)
    for file, (name, content) in zip(inventory, contents.items(), strict=True):
        is_text = name.endswith((".txt", ".csv")) and bool(content)
        assert file["size_bytes"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["words"] == (len(content.split()) if is_text else None)
        assert file["lines"] == (len(content.splitlines()) if is_text else None)
    assert [file["kind"] for file in inventory] == ["text", "text", "pdf", "binary", "image", "office", "zip", "empty"]
    assert run.data["Totals"].value["size_bytes"] == sum(map(len, contents.values()))
    assert run.data["Kinds"].value == {
        "binary": 1, "empty": 1, "image": 1, "office": 1, "pdf": 1, "text": 2, "zip": 1
    }  # fmt: skip
    assert run.data["Largest file"].value == "noise.bin"
    assert [citation.file for citation in run.data["Largest file"].metadata.citations] == ["noise.bin"]
    assert run.usage.credits_used == sum(result.usage.credits_used for result in run.data.values())


def test_an_added_run_is_running_and_has_nothing_to_show(sandbox: Sandbox, client: Any) -> None:
    sandbox.run_seconds(NEVER)

    run = client.agent_run.add(1, one_file(), due_date=datetime.now(UTC) + timedelta(hours=1))

    assert run.status is AgentRunStatus.RUNNING
    assert (run.data, run.usage, run.completed, run.user_defined_id) == ({}, None, None, None)


def test_a_run_that_is_waited_for_is_finished(sandbox: Sandbox, client: Any) -> None:
    sandbox.run_seconds("0.2")

    run = client.agent_run.add_wait(1, one_file(), user_defined_id="w", timeout=60)

    assert run.status is AgentRunStatus.SUCCESS
    assert run.user_defined_id == "w"


def test_a_run_that_takes_longer_than_the_wait_comes_back_running(sandbox: Sandbox, client: Any) -> None:
    sandbox.run_seconds(NEVER)

    run = client.agent_run.add_wait(1, one_file(), timeout=1)

    assert run.status is AgentRunStatus.RUNNING
    assert client.agent_run.get(1, run.run_id).status is AgentRunStatus.RUNNING


def test_an_upload_of_unknown_length_is_understood(client: Any) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    run = client.agent_run.add(1, [("piped.txt", Pipe(b"words " * 100_000))])

    facts = client.agent_run.get(1, run.run_id).data["Inventory"].value[0]
    assert (facts["size_bytes"], facts["words"]) == (600_000, 100_000)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("naïve – 日本.txt", "naïve – 日本.txt"),
        ('a "quoted" name.txt', "a %22quoted%22 name.txt"),
        ("semi;colon=1.txt", "semi;colon=1.txt"),
        ("back\\slash\\", "back\\slash\\"),
        ("new\nline.txt", "new%0Aline.txt"),
        ("=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_file_is_known_by_the_name_it_was_sent_under(client: Any, name: str, shown: str) -> None:
    run = client.agent_run.add(1, one_file(name))

    assert run.files == [shown]


def test_three_hundred_files_are_accepted_in_order(client: Any) -> None:
    names = [f"{number}.txt" for number in range(300)]

    run = client.agent_run.add(1, [(name, name.encode()) for name in names])

    facts = client.agent_run.get(1, run.run_id).data["Inventory"].value
    assert [file["file"] for file in facts] == names
    assert [file["sha256"] for file in facts] == [hashlib.sha256(name.encode()).hexdigest() for name in names]


def test_three_hundred_and_one_files_are_refused(client: Any) -> None:
    with pytest.raises(ApiException) as caught:
        client.agent_run.add(1, one_file() * 301)

    assert caught.value.status == 422
    assert caught.value.data.detail[0].loc[1].actual_instance == "files"


def test_runs_are_listed_by_run_id_and_unknown_ids_are_missing(client: Any) -> None:
    runs = [client.agent_run.add(1, one_file()).run_id for _ in range(4)]

    assert sorted(listed(client, run_ids=[runs[2], runs[0], 999])) == [runs[0], runs[2]]


def test_runs_are_listed_by_user_defined_id_and_twins_are_all_shown(client: Any) -> None:
    first, second, _ = (
        client.agent_run.add(1, one_file(), user_defined_id=id_).run_id for id_ in ("a+b&c", "a+b&c", "b")
    )

    assert sorted(listed(client, user_defined_ids=["a+b&c", "unknown"])) == [first, second]


def test_filters_are_anded(client: Any) -> None:
    a, b = (client.agent_run.add(1, one_file(), user_defined_id=id_).run_id for id_ in ("a", "b"))

    assert listed(client, run_ids=[a, b], user_defined_ids=["b"]) == [b]
    assert listed(client, run_ids=[a], user_defined_ids=["b"]) == []


def test_runs_are_listed_by_status(sandbox: Sandbox, client: Any) -> None:
    done = client.agent_run.add(1, one_file()).run_id
    sandbox.faults("fail_runs:count=1")
    failed = client.agent_run.add(1, one_file()).run_id
    sandbox.run_seconds(NEVER)
    running = client.agent_run.add(1, one_file()).run_id

    assert listed(client, status=AgentRunStatus.RUNNING) == [running]
    assert listed(client, status=AgentRunStatus.SUCCESS) == [done]
    assert listed(client, status=AgentRunStatus.FAILED) == [failed]


def test_times_of_creation_are_inclusive_bounds(client: Any) -> None:
    first, second, third = (client.agent_run.add(1, one_file()) for _ in range(3))

    assert sorted(listed(client, created_gte=second.created)) == [second.run_id, third.run_id]
    assert sorted(listed(client, created_lte=second.created)) == [first.run_id, second.run_id]
    assert listed(client, created_gte=second.created, created_lte=second.created) == [second.run_id]
    assert listed(client, created_gte=third.created + timedelta(microseconds=1)) == []


def test_pages_from_zero_hold_every_run_once(client: Any) -> None:
    runs = {client.agent_run.add(1, one_file()).run_id for _ in range(7)}

    pages = [client.agent_run.list(1, page_number=number, page_size=3) for number in range(4)]

    assert [len(page.runs) for page in pages] == [3, 3, 1, 0]
    assert {page.total_pages for page in pages} == {3}
    assert [page.page_number for page in pages] == [0, 1, 2, 3]
    assert {run.run_id for page in pages for run in page.runs} == runs


def test_a_page_may_be_empty_or_hold_a_thousand(sandbox: Sandbox, client: Any) -> None:
    sandbox.create_runs(count=1001)

    assert client.agent_run.list(1, page_size=0).runs == []
    assert len(listed(client, page_size=1000)) == 1000
    assert len(listed(client)) == 50


def test_runs_belong_to_their_agent(client: Any) -> None:
    run = client.agent_run.add(2, [("a.txt", b"first line\nsecond")])

    assert listed(client) == []
    assert [run.run_id for run in client.agent_run.list(2).runs] == [run.run_id]
    with pytest.raises(ApiException) as caught:
        client.agent_run.get(1, run.run_id)
    assert caught.value.status == 404
    assert client.agent_run.get(2, run.run_id).data["First lines"].value == {"a.txt": "first line"}


def test_a_deleted_run_is_gone(client: Any) -> None:
    kept, deleted = (client.agent_run.add(1, one_file(), user_defined_id="x").run_id for _ in range(2))

    assert client.agent_run.delete(1, deleted) is None

    assert listed(client) == listed(client, user_defined_ids=["x"]) == [kept]
    for call in (client.agent_run.get, client.agent_run.delete):
        with pytest.raises(ApiException) as caught:
            call(1, deleted)
        assert caught.value.status == 404


def test_agents_are_shown_with_their_prompts_and_runs(client: Any) -> None:
    client.agent_run.add(1, one_file())

    agents = client.agent.list()

    assert [agent.id for agent in agents.agents] == [1, 2]
    assert client.agent.get(1).n_runs == 1
    assert [prompt.name for prompt in client.agent.get(1).prompts] == ["Inventory", "Totals", "Kinds", "Largest file"]
    with pytest.raises(ApiException) as caught:
        client.agent.get(3)
    assert caught.value.status == 404


def test_adding_to_an_unknown_agent_is_refused(client: Any) -> None:
    with pytest.raises(ApiException) as caught:
        client.agent_run.add(3, one_file())

    assert caught.value.status == 404


def test_usage_tells_what_finished_runs_cost(sandbox: Sandbox, client: Any) -> None:
    run = client.agent_run.add(1, one_file() * 5)
    other = client.agent_run.add(2, one_file())
    sandbox.run_seconds(NEVER)
    client.agent_run.add(1, one_file())

    usage = client.usage.list()

    assert {record.run_id: record.credits_used for record in usage.records} == {run.run_id: 20, other.run_id: 3}
    assert [record.run_id for record in client.usage.list(agent_id=2).records] == [other.run_id]
    assert client.usage.list(created_gte=datetime.now(UTC) + timedelta(days=1)).records == []
    assert client.usage.list(user="nobody@example.com").records == []
    assert client.usage.list(page_size=1).total_pages == 2


def test_a_failed_run_says_why_in_its_prompts(sandbox: Sandbox, client: Any) -> None:
    sandbox.faults("fail_runs:prompts=2,error=No%20text%2C sorry")

    run = client.agent_run.get(1, client.agent_run.add(1, one_file()).run_id)

    assert run.status is AgentRunStatus.FAILED
    assert [result.status.value for result in run.data.values()] == ["failed", "failed", "success", "success"]
    assert run.data["Inventory"].error == "No text, sorry"
    assert run.data["Inventory"].value is None


def test_a_revoked_key_is_refused(sandbox: Sandbox, client: Any) -> None:
    sandbox.keys(revoke=sandbox.key, status=403)

    with pytest.raises(ApiException) as caught:
        client.agent.list()

    assert caught.value.status == 403
