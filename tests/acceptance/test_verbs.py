"""The verbs that read, and the dry run, as a person or a script calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command import Paceline, make_files, processes_of, read_lines
from tests.support.sandbox import Sandbox

ESCAPE = "\x1b"
NAME = f"good{ESCAPE}[31m"
KEY = "canary-key-9f27ac"


@dataclass(frozen=True)
class Scene:
    """Two complete batches in one home: `good` of twelve files and an empty one, `bad` whose runs all failed."""

    folder: Path
    sandbox: Sandbox
    paceline: Paceline
    good: str
    bad: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("verbs")
    source = make_files(folder / "files", 12)
    (source / f"empty{ESCAPE}[2J.txt").touch()
    with Sandbox("--run-seconds", "0.2") as sandbox, Paceline(folder, url=sandbox.url, key=KEY) as paceline:
        options = ("--agent", "kolena:1", "--files-per-run", "4", "--json")
        done = paceline("run", "files", "--to", "good", "--name", NAME, *options)
        assert done.code == 0, done.stderr
        sandbox.faults("fail_runs")
        failed = paceline("run", "files", "--to", "bad", "--name", "bad", *options)
        assert failed.code == 1, failed.stderr
        sandbox.clear_faults()
        yield Scene(folder, sandbox, paceline, done.json()["batch"], failed.json()["batch"])
    assert processes_of(folder / "home") == []


@pytest.fixture
def nowhere(tmp_path: Path) -> Paceline:
    """A command in a folder where nothing has been yet, and nothing must be left."""
    paceline = Paceline(tmp_path)
    del paceline.environment["PACELINE_HOME"]
    return paceline


# -- where nothing has been ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["status", "list", "limits"])
def test_reading_where_nothing_has_been_leaves_nothing(nowhere: Paceline, tmp_path: Path, verb: str) -> None:
    result = nowhere.here(verb, "--json")
    assert (result.code, result.json()) == (0, [])
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_cannot_be_there_is_a_wrong_call(nowhere: Paceline, tmp_path: Path) -> None:
    result = nowhere.here("status", "b012345678")
    assert result.code == 2
    assert "b012345678" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_doctor_where_nothing_has_been_leaves_nothing(nowhere: Paceline, tmp_path: Path) -> None:
    result = nowhere.here("doctor")
    assert result.code == 6
    assert "✗ accounts" in result.stdout
    assert "KOLENA_API_KEY" in result.stdout
    assert list(tmp_path.iterdir()) == []


# -- status and list -------------------------------------------------------------------------------------------------


def test_status_prints_the_same_summary_that_the_batch_left(scene: Scene) -> None:
    result = scene.paceline("status", scene.good, "--json")
    assert result.code == 0
    assert result.json() == json.loads((scene.folder / "good" / "summary.json").read_text())


def test_status_of_everything_is_a_list_with_the_newest_last(scene: Scene) -> None:
    result = scene.paceline.here("status", "--json")
    assert [(row["batch"], row["state"]) for row in result.json()] == [
        (scene.good, "complete"),
        (scene.bad, "complete"),
    ]


def test_status_of_a_batch_with_failures_names_their_reasons_and_examples(scene: Scene) -> None:
    result = scene.paceline.here("status", "bad")
    assert result.code == 1
    reason = read_lines(scene.folder / "bad" / "failures.jsonl")[0]["reason"]
    line = next(line for line in result.stdout.splitlines() if line.split()[0] == "failed")
    assert line.split()[1:3] == ["3", f"{reason}:"]
    assert f"{scene.bad}-000001" in line


def test_a_batch_is_found_by_the_beginning_of_its_id(scene: Scene) -> None:
    assert scene.paceline.here("status", scene.good[:8], "--json").json()["batch"] == scene.good


def test_a_word_that_means_two_batches_is_refused(scene: Scene) -> None:
    result = scene.paceline.here("status", "b")
    assert result.code == 2
    assert scene.good in result.stderr
    assert scene.bad in result.stderr


def test_watching_a_complete_batch_ends_at_once(scene: Scene) -> None:
    assert scene.paceline.here("status", scene.good, "--watch").code == 0


def test_list_tells_what_each_batch_is(scene: Scene) -> None:
    rows = scene.paceline.here("list", "--json").json()
    assert [row["batch"] for row in rows] == [scene.good, scene.bad]
    assert set(rows[0]) == {"batch", "name", "state", "files", "agent", "created_at", "source", "to", "paused"}
    assert rows[0]["files"] == {"total": 13, "done": 13}
    assert rows[0]["name"] == NAME
    assert (rows[1]["agent"], rows[1]["source"]) == ("kolena:1", str(scene.folder / "files"))


@pytest.mark.parametrize("arguments", [("list",), ("status",), ("status", NAME), ("doctor",)])
def test_no_name_reaches_the_terminal_as_a_command(scene: Scene, arguments: tuple[str, ...]) -> None:
    result = scene.paceline(*arguments)
    assert result.code == 0, result.stderr
    assert ESCAPE not in result.stdout + result.stderr
    assert KEY not in result.stdout + result.stderr


# -- show ------------------------------------------------------------------------------------------------------------


def test_show_tells_a_submissions_whole_story(scene: Scene) -> None:
    found = scene.paceline.here("show", f"{scene.good}-000001", "--json").json()
    record = read_lines(scene.folder / "good" / "results.jsonl")[0]
    assert [one["path"] for one in found["files"]] == record["files"]
    for name in ("submission", "batch", "run_id", "run_url", "external_id", "outcome", "finished_at", "attempts"):
        assert found[name] == record[name]
    assert [row["verb"] for row in found["journal"]] == ["plan", "begin", "accepted", "finish", "exported"]
    assert found["journal"] == sorted(found["journal"], key=lambda row: str(row["at"]))
    assert found["parts"] == [str(scene.folder / "good" / "parts" / f"{scene.good}-000001.json")]


def test_show_says_why_a_run_failed(scene: Scene) -> None:
    result = scene.paceline.here("show", f"{scene.bad}-2")
    assert result.code == 0, result.stderr
    assert f"Submission {scene.bad}-000002 is exported" in result.stdout
    assert read_lines(scene.folder / "bad" / "failures.jsonl")[1]["error"]["message"] in result.stdout


@pytest.mark.parametrize("text", ["b012345678-000001", "nonsense", "b012345678"])
def test_show_of_an_unknown_submission_is_a_wrong_call(scene: Scene, text: str) -> None:
    result = scene.paceline.here("show", text)
    assert result.code == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr


# -- limits and doctor -----------------------------------------------------------------------------------------------


def test_limits_show_every_class_of_every_account(scene: Scene) -> None:
    extra = {"PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD": "7/2s"}
    rows = scene.paceline.here("limits", "--json", extra=extra).json()
    assert [(row["account"], row["class"]) for row in rows] == [
        ("kolena", name) for name in ("add", "wait", "get", "list", "delete")
    ]
    assert (rows[0]["allowed"], rows[0]["waiting"], rows[0]["paused"]) == ("7/2s", 0, None)


def test_an_agent_that_is_none_is_a_wrong_call_of_doctor(scene: Scene) -> None:
    result = scene.paceline.here("doctor", "--agent", "kolena")
    assert result.code == 2
    assert "kolena:42" in result.stderr


def test_limits_of_an_unknown_account_are_a_matter_of_settings(scene: Scene) -> None:
    result = scene.paceline.here("limits", "--account", "kolenna")
    assert result.code == 6
    assert "kolena" in result.stderr


def test_doctor_finds_nothing_wrong_where_nothing_is(scene: Scene) -> None:
    before = len(scene.sandbox.log())
    result = scene.paceline.here("doctor", "--agent", "kolena:1", "--json")
    assert result.code == 0, result.stdout
    assert [one["name"] for one in result.json() if one["ok"] is False] == []
    assert "agent kolena:1" in [one["name"] for one in result.json()]
    assert len(scene.sandbox.log()) == before + 1


@pytest.mark.parametrize(
    ("arguments", "extra", "name", "words"),
    [
        (("--agent", "kolena:4711"), {}, "agent kolena:4711", "not known"),
        ((), {"KOLENA_API_KEY": ""}, "account kolena", "KOLENA_API_KEY"),
        ((), {"KOLENA_API_URL": "http://127.0.0.1:1"}, "provider kolena", "can't be reached"),
        ((), {"PACELINE_SETTEL_SECONDS": "1"}, "settings", "PACELINE_SETTLE_SECONDS"),
        ((), {"PACELINE_REDIS_URL": "redis://127.0.0.1:1"}, "redis", "PACELINE_REDIS_URL"),
    ],
)
def test_doctor_names_what_is_wrong_and_the_remedy(
    scene: Scene, arguments: tuple[str, ...], extra: dict[str, str], name: str, words: str
) -> None:
    result = scene.paceline.here("doctor", "--json", *arguments, extra=extra)
    assert result.code == 6, result.stdout
    wrong = {one["name"]: one for one in result.json() if one["ok"] is False}
    assert words in wrong[name]["found"] + wrong[name]["remedy"]
    assert wrong[name]["remedy"]


def test_doctor_names_a_refused_key_by_its_variable(scene: Scene) -> None:
    scene.sandbox.keys(revoke="all", status=401)
    result = scene.paceline.here("doctor", "--agent", "kolena:1")
    scene.sandbox.keys(restore="all")
    assert result.code == 6
    assert "✗ provider kolena" in result.stdout
    assert "correct KOLENA_API_KEY" in result.stdout


# -- plan ------------------------------------------------------------------------------------------------------------


def test_a_plan_needs_no_key_and_counts_what_a_run_would_do(nowhere: Paceline, tmp_path: Path) -> None:
    make_files(tmp_path / "files", 9)
    (tmp_path / "files" / "empty.txt").touch()
    extra = {"PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD": "2/10s"}
    plan = nowhere("plan", "files", "--files-per-run", "2", "--json", extra=extra).json()
    assert plan["files"] == {"total": 10, "planned": 9, "skipped": 1}
    assert (plan["submissions"], plan["skipped"], plan["requests"]["add"]) == (5, {"empty": 1}, 5)
    assert 20.0 <= plan["seconds"] <= 23.0
    assert len(read_lines(Path(plan["manifest"]))) == 10
    assert not (tmp_path / ".paceline" / "redis").exists()
    assert nowhere("plan", "files").code == 0


def test_a_plan_is_the_manifest_of_the_run_that_follows(scene: Scene) -> None:
    options = ("files", "--agent", "kolena:1", "--to", "good", "--name", NAME, "--files-per-run", "4")
    plan = scene.paceline.here("plan", *options, "--json").json()
    assert plan["batch"] == scene.good
    assert Path(plan["manifest"]).read_bytes() == (scene.folder / "good" / "manifest.jsonl").read_bytes()


def test_a_plan_leaves_the_output_alone(nowhere: Paceline, tmp_path: Path) -> None:
    make_files(tmp_path / "files", 2)
    assert nowhere.here("plan", "files", "--agent", "kolena:1", "--to", "out").code == 0
    assert not (tmp_path / "out").exists()
    inside = nowhere.here("plan", "files", "--to", "out", "--manifest", "files/manifest.jsonl")
    assert inside.code == 2
    assert "source" in inside.stderr


def test_a_plan_overwrites_no_file(nowhere: Paceline, tmp_path: Path) -> None:
    make_files(tmp_path / "files", 2)
    assert nowhere.here("plan", "files", "--manifest", "plan.jsonl").code == 0
    first = (tmp_path / "plan.jsonl").read_bytes()
    make_files(tmp_path / "files", 3)
    result = nowhere.here("plan", "files", "--manifest", "plan.jsonl")
    assert result.code == 2
    assert "plan.jsonl" in result.stderr
    assert (tmp_path / "plan.jsonl").read_bytes() == first


def test_a_plan_of_nothing_says_which_nothing_it_is(nowhere: Paceline, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    assert nowhere.here("plan", "files").code == 9
    (tmp_path / "files" / "empty.txt").touch()
    result = nowhere.here("plan", "files", "--json")
    assert result.code == 5
    assert result.json()["skipped"] == {"empty": 1}
