"""Kindo with the shipped command: files inside an input, cut by the body, and no second payment for a lost answer."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Paceline, make_files, read_lines
from tests.support.sandbox import Sandbox

INVENTORY = "11111111-1111-4111-8111-111111111111"
LANGUAGE = "22222222-2222-4222-8222-222222222222"
BODY_BYTES = 20_000


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    with Sandbox("--run-seconds", "0.3") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started: Sandbox) -> Sandbox:
    started.reset()
    return started


@pytest.fixture
def paceline(sandbox: Sandbox, tmp_path: Path) -> Iterator[Paceline]:
    with Paceline(tmp_path, settle_seconds="0.5", accounts__kindo__max_submission_bytes=str(BODY_BYTES)) as command:
        command.environment |= {"KINDO_API_URL": sandbox.url, "KINDO_API_KEY": sandbox.key}
        yield command


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_file_reaches_the_agent_as_it_is_and_no_body_is_too_large(
    sandbox: Sandbox, paceline: Paceline, tmp_path: Path
) -> None:
    source = make_files(tmp_path / "files", 60)
    (source / "b.bin").write_bytes(random.Random(7).randbytes(9_000))
    (source / "quotes é.txt").write_text('"\\\n' * 1_500)  # 4,500 bytes on disk, 16,500 in the body
    (source / "sub" / "file-0001.txt").write_text("a twin")
    (source / "too large.bin").write_bytes(bytes(16_000))  # in Base64 it is
    (source / "empty").touch()

    planned = paceline.here("plan", "files", "--agent", "kindo", "--json").json()
    done = paceline("run", "files", "--agent", f"kindo:{LANGUAGE}", "--to", "out", "--input", "language=de")
    assert done.code == 0, done.stdout + done.stderr

    records = read_lines(tmp_path / "out" / "results.jsonl")
    assert len(records) == planned["submissions"] > 2
    assert {record["data"]["json"]["inputs"]["language"] for record in records} == {"de"}
    seen = [one["sha256"] for record in records for one in record["data"]["json"]["inventory"]]
    files = read_lines(tmp_path / "out" / "files.jsonl")
    sent = [row["path"] for row in files if row["outcome"] == "succeeded"]
    assert sorted(seen) == sorted(digest(source / path) for path in sent)
    assert len(sent) == 63
    assert {row["path"]: row["reason"] for row in files if row["outcome"] == "skipped"} == {
        "too large.bin": "too_large",
        "empty": "empty",
    }
    bodies = [entry["bytes"] for entry in sandbox.log(request_class="add")]
    assert len(bodies) == len(records)
    assert max(bodies) <= BODY_BYTES
    assert paceline.here("verify", "out", "--digests").code == 0


def test_inputs_that_do_not_fit_stop_everything_before_anything_is_sent(
    sandbox: Sandbox, paceline: Paceline, tmp_path: Path
) -> None:
    make_files(tmp_path / "files", 2)
    command = ("run", "files", "--agent", f"kindo:{LANGUAGE}", "--to", "out")
    wrong = paceline(*command, "--input", "langauge=de")
    assert wrong.code == 6
    assert "did you mean 'language'" in wrong.stderr
    assert sandbox.log(request_class="add") == []
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_a_lost_answer_is_never_repeated_until_a_person_says_so(
    sandbox: Sandbox, paceline: Paceline, tmp_path: Path
) -> None:
    make_files(tmp_path / "files", 3)
    sandbox.faults("accept_then_drop@add:count=2")
    command = ("run", "files", "--agent", f"kindo:{INVENTORY}", "--to", "out", "--files-per-run", "1")
    stopped = paceline(*command)
    assert stopped.code == 4, stopped.stdout + stopped.stderr
    assert "paceline resolve" in stopped.stderr

    batch = paceline.here("list", "--json").json()[0]["batch"]
    shown = {one: paceline.here("show", one, "--json").json() for one in (f"{batch}-{n:06d}" for n in (1, 2, 3))}
    held = [one for one, facts in shown.items() if facts["state"] == "held"]
    assert len(held) == 2
    assert {shown[one]["reason"] for one in held} == {"no_way_to_know"}
    known = [facts["run_id"] for facts in shown.values() if facts["run_id"]]
    lost = [entry["run_id"] for entry in sandbox.log(request_class="add") if entry["run_id"] not in known]
    assert len(lost) == 2
    assert paceline.here("resolve", held[0], "--run-id", "500").code == 2
    # Which of the runs is whose, a person finds out by their files: the provider has no id of ours.
    names = {entry["run_id"]: entry["files"][0]["name"] for entry in sandbox.log(request_class="add")}
    (run_id,) = [one for one in lost if names[one] == Path(shown[held[0]]["files"][0]["path"]).name]
    anothers = paceline.here("resolve", held[0], "--run-id", known[0])
    assert (anothers.code, "is the one of submission" in anothers.stderr) == (2, True), anothers.stderr
    nobodys = paceline.here("resolve", held[0], "--run-id", "12345678-1234-4123-8123-123456789abc")
    assert (nobodys.code, "has no run" in nobodys.stderr) == (2, True), nobodys.stderr
    assert paceline.here("resolve", held[0], "--run-id", run_id).code == 0
    assert paceline.here("resolve", held[1], "--resubmit").code == 0

    assert paceline(*command).code == 0
    assert len(sandbox.log(request_class="add")) == 4
    records = read_lines(tmp_path / "out" / "results.jsonl")
    assert [record["outcome"] for record in records] == ["succeeded"] * 3
    for record in records:
        (found,) = record["data"]["json"]["inventory"]
        assert found["sha256"] == digest(tmp_path / "files" / record["files"][0])
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["duplicate_runs"] == 0


def test_an_account_may_decide_beforehand_to_send_again_and_is_told_what_that_costs(
    sandbox: Sandbox, paceline: Paceline, tmp_path: Path
) -> None:
    make_files(tmp_path / "files", 2)
    sandbox.faults("accept_then_drop@add:count=1")
    paceline.environment["PACELINE_ACCOUNTS__KINDO__ON_UNCERTAIN"] = "resubmit"
    done = paceline("run", "files", "--agent", f"kindo:{INVENTORY}", "--to", "out", "--files-per-run", "1")
    assert done.code == 0, done.stdout + done.stderr
    assert "paid" in done.stderr.splitlines()[0]
    stats = sandbox.stats()["kindo"]
    assert (stats["accepted"], stats["unique"], len(stats["duplicates"])) == (3, 2, 1)
