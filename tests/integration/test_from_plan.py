"""What is refused before a saved plan is run: other options, another account, files that are gone."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from cli.asked import Asked
from cli.from_plan import age, check_batch, check_fits, say_plan, target_of
from cli.gc import command as gc_command
from cli.planning import INPUT_ROOM_BYTES
from cli.planning import command as plan_command
from cli.preflight import say_what_shares_runs
from cli.target import Target, make_target
from config.schema import Settings
from config.settings import load_settings
from paceline.errors import ConfigError, PacelineError, UsageError
from paceline.model import Choice
from tests.support.trees import put

KINDO_AGENT = "11111111-1111-4111-8111-111111111111"
OTHERS = MappingProxyType({"KOLENA_API_KEY": "k", "KOLENA_API_URL": "http://here", "KINDO_API_KEY": "k"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files, which is where commands are typed."""
    for name in list(os.environ):
        if name.startswith(("PACELINE_", "KOLENA_", "KINDO_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "home"))
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    for name in ("a", "b"):
        put(tmp_path / "files" / name)
    return tmp_path


def plan(*options: str, agent: str = "kolena:1") -> None:
    arguments = ["files", "--agent", agent, "--to", "out", "--save", "x.plan", *options]
    assert plan_command.main(arguments, standalone_mode=False) == 0


def settings_with(folder: Path, **variables: str) -> Settings:
    return load_settings({**OTHERS, "PACELINE_HOME": str(folder / "home"), **variables}, folder)


def target(folder: Path, agent: str | None = None, to: tuple[str, ...] = (), **options: object) -> Target:
    return target_of(settings_with(folder), Asked(("x.plan",), agent, to, **options))  # type: ignore[arg-type]


def test_a_plan_is_the_same_batch_as_its_command_without_it(folder: Path) -> None:
    plan("--files-per-run", "1", "--name", "n", "--max-runs", "5", "--priority", "3")

    found = target(folder)

    asked = Asked(("files",), "kolena:1", ("out",), files_per_run=1, name="n", priority=3)
    plain = make_target(settings_with(folder), asked)
    assert found.spec.batch_id() == plain.spec.batch_id()
    assert (found.manifest, found.exclude, found.spec.priority) == (plain.manifest, plain.exclude, 3)
    assert (found.spec.choices, found.planned) == ({}, {Choice.MAX_RUNS: "5"})


def test_what_is_given_again_may_say_the_same(folder: Path) -> None:
    plan("--files-per-run", "1", "--name", "n")

    found = target(folder, "kolena:1", ("./out",), files_per_run=1, name="n", max_runs=9, priority=4)

    assert (found.spec.choices, found.spec.priority) == ({Choice.MAX_RUNS: "9"}, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"agent": "kolena:2"}, "--agent 'kolena:2'"),
        ({"to": ("elsewhere",)}, "--to 'elsewhere'"),
        ({"to": ("out", "too")}, "--to"),
        ({"files_per_run": 2}, "--files-per-run '2'"),
        ({"name": "other"}, "--name 'other'"),
        ({"inputs": ("a=b",)}, "--input a 'b'"),
        ({"hidden": True}, "--hidden"),
        ({"include": ("*.pdf",)}, "--include"),
        ({"group_by": "directory"}, "--group-by"),
        ({"skip_unchanged": True}, "--skip-unchanged"),
        ({"cut_groups": True}, "--cut-groups and --pack-groups 'cut'"),
        ({"case_sensitive": True}, "--case-sensitive"),
    ],
)
def test_what_is_given_besides_must_say_the_same(folder: Path, options: dict[str, object], words: str) -> None:
    plan()

    with pytest.raises(UsageError, match=r"isn't what plan 'x\.plan' was made with") as caught:
        target(folder, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("variables", "error", "words"),
    [
        ({"KOLENA_API_URL": "http://elsewhere"}, ConfigError, r"made for http://here.*at http://elsewhere"),
        ({"PACELINE_ACCOUNTS__KOLENA__MAX_FILES": "10"}, UsageError, r"300 files a run.*10 files a run"),
        ({"PACELINE_ACCOUNTS__KOLENA__MAX_FILES": "400"}, UsageError, "other limits"),
        ({"PACELINE_ACCOUNTS__KOLENA__MAX_FILE_BYTES": "10"}, UsageError, "10 bytes a file"),
        ({"PACELINE_ACCOUNTS__KOLENA__MAX_SUBMISSION_BYTES": "10"}, UsageError, "10 bytes in all"),
        ({"PACELINE_ACCOUNTS__KOLENA__INPUT": "other"}, UsageError, "other settings"),
    ],
)
def test_a_plan_for_an_account_that_is_another_now_is_refused(
    folder: Path, variables: dict[str, str], error: type[PacelineError], words: str
) -> None:
    plan()

    with pytest.raises(error, match=words):
        target_of(settings_with(folder, **variables), Asked(("x.plan",), None, ()))


def test_only_a_plan_whose_files_share_runs_unasked_is_warned_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "list.csv").write_text("path,group\nfiles/a,\nfiles/b,B\n")
    put(folder / "files" / "sub" / "c")
    for arguments, warned in (
        (["files"], True),
        (["files", "--group-by", "directory"], False),
        (["files", "--files-per-run", "2"], False),
        (["list.csv"], False),
    ):
        (folder / "x.plan").unlink(missing_ok=True)
        said = [*arguments, "--agent", "kolena:1", "--to", "out", "--save", "x.plan"]
        assert plan_command.main(said, standalone_mode=False) == 0
        capsys.readouterr()

        say_what_shares_runs(target(folder), ())

        assert ("ALL files of a run" in capsys.readouterr().err) is warned, arguments


def test_groups_are_not_halved_because_they_come_from_a_plan(folder: Path) -> None:
    (folder / "list.csv").write_text("path,group\nfiles/a,\nfiles/b,B\n")
    for arguments in (["files", "--group-by", "directory"], ["list.csv"]):
        (folder / "x.plan").unlink(missing_ok=True)
        said = [*arguments, "--agent", "kolena:1", "--to", "out", "--save", "x.plan"]
        assert plan_command.main(said, standalone_mode=False) == 0
        for options in ({"isolate": True}, {"isolate_runs": 5}):
            with pytest.raises(UsageError, match="a group stays whole"):
                target(folder, **options)

        (folder / "x.plan").unlink()
        assert plan_command.main([*said, "--pack-groups"], standalone_mode=False) == 0
        assert target(folder, isolate=True).spec.choices[Choice.ISOLATE] == "50"


def test_the_pace_may_be_another_one_now(folder: Path) -> None:
    plan()
    settings = settings_with(folder, PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD="1/60s")

    assert target_of(settings, Asked(("x.plan",), None, ())).spec.agent == "1"


def test_a_plan_stands_alone(folder: Path) -> None:
    plan()

    with pytest.raises(UsageError, match="alone"):
        target_of(settings_with(folder), Asked(("x.plan", "files"), None, ()))


@pytest.mark.parametrize(
    ("source", "options", "warns"),
    [
        ("files", (), True),
        ("files", ("--group-by", "directory"), False),
        ("files", ("--group-by", "regex:.", "--pack-groups"), False),
        ("files", ("--files-per-run", "1"), False),
        ("groups.csv", (), False),
        ("alone.csv", ("--pack-groups",), False),
        ("plain.csv", (), True),
    ],
)
def test_files_that_share_runs_are_warned_of_only_where_nobody_said_so(
    folder: Path, capsys: pytest.CaptureFixture[str], source: str, options: tuple[str, ...], warns: bool
) -> None:
    put(folder / "files" / "deep" / "c")
    put(folder / "groups.csv", b"path,group\nfiles/a,G\nfiles/b,G\n")
    put(folder / "alone.csv", b"path,group\nfiles/a,\nfiles/deep/c,\nfiles/b,G\n")
    put(folder / "plain.csv", b"path\nfiles/a\nfiles/deep/c\n")
    arguments = [source, "--agent", "kolena:1", "--to", "out", "--save", "x.plan", *options]
    assert plan_command.main(arguments, standalone_mode=False) == 0
    capsys.readouterr()

    say_what_shares_runs(target(folder), ())

    assert ("ALL files of a run" in capsys.readouterr().err) is warns


def test_a_plan_whose_source_is_gone_is_refused(folder: Path) -> None:
    plan()
    (folder / "files").rename(folder / "moved")

    with pytest.raises(UsageError, match="mount or bring back"):
        check_batch(target(folder), None)


def test_a_due_date_that_has_passed_since_wants_a_new_one(folder: Path) -> None:
    plan("--due", "2999-01-01T00:00Z")
    found = target(folder)
    assert found.planned == {Choice.DUE: "2999-01-01T00:00:00+00:00"}
    late = replace(found, planned={Choice.DUE: "2020-01-01T00:00:00+00:00"})

    with pytest.raises(UsageError, match="give another one with --due"):
        check_batch(late, None)
    check_batch(replace(late, spec=replace(late.spec, choices={Choice.DUE: "2999-01-01T00:00:00+00:00"})), None)


def test_a_file_that_changed_is_told_of_and_a_plan_of_nothing_else_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan("--files-per-run", "1")
    say_plan(target(folder), None)
    assert "WARNING" not in capsys.readouterr().err
    put(folder / "files" / "a", b"something else")

    say_plan(target(folder), None)
    assert "WARNING: 1 submission has a file that changed" in capsys.readouterr().err
    (folder / "files" / "b").unlink()
    with pytest.raises(UsageError, match="too old"):
        say_plan(target(folder), None)


def test_a_plan_for_kindo_leaves_room_for_the_name_of_the_agents_input(folder: Path) -> None:
    plan(agent=f"kindo:{KINDO_AGENT}")
    found = target(folder)

    check_fits(found, {"input": "documents"})
    check_fits(found, {"input": "documents" + "x" * INPUT_ROOM_BYTES})
    with pytest.raises(UsageError, match="Set the account's `input`"):
        check_fits(found, {"input": "documents" + "x" * (INPUT_ROOM_BYTES + 1)})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5.0, "just now"), (89.0, "just now"), (7200.0, "2 h 00 min ago"), (86_400.0, "1 day ago"), (3e5, "3 days ago")],
)
def test_the_age_of_a_plan_is_told_roughly(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_a_name_that_no_ledger_can_hold_is_refused_at_once(folder: Path) -> None:
    with pytest.raises(UsageError, match="isn't UTF-8"):
        make_target(settings_with(folder), Asked(("files",), "kolena:1", ("out",), name="caf\udce9"))


def test_gc_knows_old_plans(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["files", "--agent", "kolena:1", "--to", "out"]
    assert plan_command.main(arguments, standalone_mode=False) == 0
    capsys.readouterr()

    gc_command.main(["--older-than", "0", "--dry-run", "--json"], standalone_mode=False)

    found = json.loads(capsys.readouterr().out)["plans"]
    assert [Path(path).suffix for path in found] == [".jsonl", ".plan"]
