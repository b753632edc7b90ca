"""What the vendor's client can't be made to send or doesn't look at: refusals, raw JSON, the order of the checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.sandbox import Sandbox

RUNS = "/api/v1/client/agents/1/runs"
FILES = {"files": ("a.txt", b"words")}


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    with Sandbox("--max-file-bytes", "100000") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started: Sandbox) -> Sandbox:
    started.reset()
    started.run_seconds("0")
    return started


@pytest.fixture(scope="module")
def http(started: Sandbox) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {started.key}"}
    with httpx.Client(base_url=started.url, headers=headers, trust_env=False, timeout=30) as client:
        yield client


def refused(response: httpx.Response) -> tuple[str, list[Any]]:
    """Give the type and place of the one thing FastAPI's 422 complains of."""
    assert response.status_code == 422
    (problem,) = response.json()["detail"]
    assert set(problem) >= {"type", "loc", "msg", "input"}
    return problem["type"], problem["loc"]


def test_every_key_is_always_sent(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.run_seconds("3600")
    running = http.post(RUNS, files=FILES).json()
    sandbox.finish()
    finished = http.get(f"{RUNS}/{running['run_id']}").json()

    keys = {"agent_id", "run_id", "user_defined_id", "created", "updated", "completed", "files", "run_url", "order"}
    keys |= {"data", "status", "usage"}
    assert set(running) == set(finished) == keys
    assert isinstance(running["run_id"], int)
    assert running["user_defined_id"] is running["completed"] is running["usage"] is None
    result = {"status", "value", "error", "metadata", "user_input", "start_time", "end_time", "usage"}
    assert all(set(prompt) == result for prompt in finished["data"].values())
    metadata = finished["data"]["Inventory"]["metadata"]
    assert set(metadata) == {"reasoning", "confidence", "citations", "url_citations"}


@pytest.mark.parametrize("path", ["agents", "agents/1", "usage"])
def test_agents_and_usage_answer_with_and_without_a_slash(http: httpx.Client, path: str) -> None:
    answers = [http.get(f"/api/v1/client/{path}{slash}") for slash in ("", "/")]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize(
    ("query", "kind", "place"),
    [
        ("page_size=1001", "less_than_equal", ["query", "page_size"]),
        ("page_size=-1", "greater_than_equal", ["query", "page_size"]),
        ("page_number=-1", "greater_than_equal", ["query", "page_number"]),
        ("page_number=one", "int_parsing", ["query", "page_number"]),
        ("run_ids=1&run_ids=2,3", "int_parsing", ["query", "run_ids", 1]),
        ("status=done", "enum", ["query", "status"]),
        ("created_gte=yesterday", "datetime_from_date_parsing", ["query", "created_gte"]),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(http: httpx.Client, query: str, kind: str, place: list[Any]) -> None:
    assert refused(http.get(f"{RUNS}?{query}")) == (kind, place)


@pytest.mark.parametrize("timeout", ["0", "121", "soon"])
def test_a_wait_outside_one_to_120_seconds_is_refused(sandbox: Sandbox, http: httpx.Client, timeout: str) -> None:
    _, place = refused(http.post(f"{RUNS}/wait?timeout={timeout}", files=FILES))

    assert place == ["query", "timeout"]
    assert sandbox.stats()["runs"]["accepted"] == 0


@pytest.mark.parametrize(("path", "name"), [("agents/x/runs/1", "agent_id"), ("agents/1/runs/x", "run_id")])
def test_an_id_that_is_no_integer_is_refused(http: httpx.Client, path: str, name: str) -> None:
    assert refused(http.get(f"/api/v1/client/{path}")) == ("int_parsing", ["path", name])


def test_an_upload_without_files_is_refused(sandbox: Sandbox, http: httpx.Client) -> None:
    field_only = http.post(RUNS, files={"user_defined_id": (None, b"x")})

    assert refused(field_only) == ("missing", ["body", "files"])
    assert refused(http.post(RUNS)) == ("missing", ["body", "files"])
    assert refused(http.post(RUNS, json={"files": []})) == ("missing", ["body", "files"])
    assert sandbox.stats()["runs"]["accepted"] == 0


def test_a_file_of_the_largest_size_is_accepted_and_one_byte_more_is_not(http: httpx.Client) -> None:
    largest = http.post(RUNS, files={"files": ("a.bin", bytes(100_000))})
    too_large = http.post(RUNS, files={"files": ("a.bin", bytes(100_001))})

    assert largest.status_code == 200
    assert refused(too_large)[1] == ["body", "files"]


def test_a_body_that_ends_before_its_boundary_is_not_accepted(sandbox: Sandbox, http: httpx.Client) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nword'

    response = http.post(RUNS, content=body, headers={"Content-Type": "multipart/form-data; boundary=B"})

    assert response.status_code == 422
    assert sandbox.stats()["runs"]["accepted"] == 0


def test_a_due_date_that_is_none_is_refused(http: httpx.Client) -> None:
    response = http.post(RUNS, data={"due_date": "tomorrow"}, files=FILES)

    assert refused(response)[1] == ["body", "due_date"]


def test_times_without_a_zone_are_taken_for_utc(http: httpx.Client) -> None:
    created = http.post(RUNS, files=FILES).json()["created"]
    naive = created.removesuffix("+00:00")

    found = http.get(RUNS, params={"created_gte": naive, "created_lte": naive}).json()

    assert created != naive
    assert len(found["runs"]) == 1


def test_a_file_name_that_is_not_utf_8_is_taken_for_latin_1(http: httpx.Client) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="files"; filename="\xfc.txt"\r\n\r\nword\r\n--B--\r\n'

    run = http.post(RUNS, content=body, headers={"Content-Type": 'multipart/form-data; boundary="B"'}).json()

    assert run["files"] == ["ü.txt"]


@pytest.mark.parametrize("header", [None, "Bearer", "Basic abc", "Token x"])
def test_a_request_without_a_key_is_refused(sandbox: Sandbox, header: str | None) -> None:
    response = httpx.post(
        sandbox.url + RUNS, files=FILES, headers={"Authorization": header} if header else {}, trust_env=False
    )

    assert (response.status_code, response.json()) == (401, {"detail": "Not authenticated"})
    assert sandbox.stats()["runs"]["accepted"] == 0


def test_only_the_keys_of_the_environment_are_accepted_when_it_names_some() -> None:
    with Sandbox("--keys-from-env", "GOOD_KEYS", environment={"GOOD_KEYS": "one, two"}) as sandbox:
        url = sandbox.url + "/api/v1/client/agents"
        statuses = {
            key: httpx.get(url, headers={"Authorization": f"Bearer {key}"}, trust_env=False).status_code
            for key in ("one", "two", "three")
        }

    assert statuses == {"one": 200, "two": 200, "three": 401}


def test_a_key_can_be_revoked_and_restored_while_clients_work(sandbox: Sandbox, http: httpx.Client) -> None:
    statuses = []
    for change in ({"revoke": sandbox.key}, {"restore": sandbox.key}, {"revoke": "all", "status": 403}):
        sandbox.keys(**change)
        statuses.append(http.get("/api/v1/client/agents").status_code)

    assert statuses == [401, 200, 403]


def test_a_refused_key_uses_no_place_in_the_window(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.limits(list="1/60s")
    sandbox.keys(revoke="all")
    assert [http.get(RUNS).status_code for _ in range(3)] == [401, 401, 401]

    sandbox.keys(restore="all")

    assert [http.get(RUNS).status_code for _ in range(2)] == [200, 429]


def test_an_unknown_address_is_not_found(http: httpx.Client) -> None:
    assert http.get("/api/v1/client/nothing").json() == {"detail": "Not Found"}
    assert http.put(RUNS).status_code == 405


def test_three_hundred_ids_fit_one_request(sandbox: Sandbox, http: httpx.Client) -> None:
    ids = sandbox.create_runs(count=400, prefix="batch.")

    by_run = http.get(RUNS, params=[("page_size", 1000), *(("run_ids", id_) for id_ in ids[:300])]).json()
    by_external = http.get(RUNS, params={"page_size": 1000, "user_defined_ids": [f"batch.{n}" for n in range(300)]})

    assert sorted(run["run_id"] for run in by_run["runs"]) == ids[:300]
    assert sorted(run["run_id"] for run in by_external.json()["runs"]) == ids[:300]
