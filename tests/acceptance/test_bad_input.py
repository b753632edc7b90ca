"""What a person gets wrong: one line that names the thing and the remedy, the right exit code, nothing lost or paid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Paceline, Result, make_files
from tests.support.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("--run-seconds", "0.2") as running:
        yield running


@pytest.fixture
def paceline(tmp_path: Path, sandbox: Sandbox) -> Iterator[Paceline]:
    make_files(tmp_path / "files", 3)
    sandbox.reset()
    with Paceline(tmp_path, url=sandbox.url) as ready:
        yield ready


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[Paceline]:
    """A complete batch in `out`, which no test changes."""
    folder = tmp_path_factory.mktemp("done")
    make_files(folder / "files", 3)
    with Paceline(folder, url=sandbox.url) as ready:
        assert ready("run", "files", "--agent", "kolena:1", "--to", "out").code == 0
        yield ready


def is_one_clear_line(result: Result, code: int, *words: str) -> None:
    assert result.code == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith(("paceline: ", "Error: "))]
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]


def adds(sandbox: Sandbox) -> int:
    return len(sandbox.log(request_class="add"))


def test_a_source_that_is_not_there(paceline: Paceline) -> None:
    is_one_clear_line(paceline.here("run", "no-such", "--agent", "kolena:1", "--to", "out"), 2, "no-such")


def test_a_source_without_files(paceline: Paceline, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    is_one_clear_line(paceline.here("run", "empty", "--agent", "kolena:1", "--to", "out"), 9, "empty")


def test_a_source_where_nothing_passes_the_checks(paceline: Paceline, tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "zeros").mkdir()
    (tmp_path / "zeros" / "a.txt").touch()
    result = paceline("run", "zeros", "--agent", "kolena:1", "--to", "out")
    assert result.code == 5, result.stderr
    assert '"reason":"empty"' in (tmp_path / "out" / "files.jsonl").read_text()
    assert adds(sandbox) == 0


def test_an_unknown_account(paceline: Paceline) -> None:
    is_one_clear_line(paceline.here("run", "files", "--agent", "kolenna:1", "--to", "out"), 6, "kolenna", "kolena")


def test_an_agent_that_is_no_number(paceline: Paceline) -> None:
    is_one_clear_line(paceline.here("run", "files", "--agent", "kolena:invoices", "--to", "out"), 2, "kolena:invoices")


def test_a_missing_key(paceline: Paceline) -> None:
    paceline.environment.pop("KOLENA_API_KEY")
    is_one_clear_line(paceline.here("run", "files", "--agent", "kolena:1", "--to", "out"), 6, "KOLENA_API_KEY")


def test_a_refused_key_costs_one_request(paceline: Paceline, sandbox: Sandbox) -> None:
    sandbox.keys(revoke="all", status=401)
    result = paceline.here("run", "files", "--agent", "kolena:1", "--to", "out")
    assert len(sandbox.log()) == 1
    sandbox.keys(accept=None)
    sandbox.keys(restore="all")
    is_one_clear_line(result, 6, "KOLENA_API_KEY", "401")


def test_an_unknown_agent_costs_one_request(paceline: Paceline, sandbox: Sandbox) -> None:
    result = paceline.here("run", "files", "--agent", "kolena:4711", "--to", "out")
    is_one_clear_line(result, 6, "4711")
    assert len(sandbox.log()) == 1


def test_an_output_that_is_a_file(paceline: Paceline, tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "taken").write_text("mine")
    is_one_clear_line(paceline.here("run", "files", "--agent", "kolena:1", "--to", "taken"), 2, "taken")
    assert (tmp_path / "taken").read_text() == "mine"
    assert adds(sandbox) == 0


def test_an_output_that_cannot_be_written(paceline: Paceline) -> None:
    is_one_clear_line(paceline.here("run", "files", "--agent", "kolena:1", "--to", "/proc/nowhere"), 2, "/proc/nowhere")


def test_an_output_that_is_the_source(paceline: Paceline) -> None:
    is_one_clear_line(paceline.here("run", "files", "--agent", "kolena:1", "--to", "files"), 2, "files")


def test_output_of_another_batch_is_not_overwritten(done: Paceline) -> None:
    is_one_clear_line(done.here("run", "files", "--agent", "kolena:2", "--to", "out"), 2, "out")


def test_a_lost_ledger_is_not_paid_for_again(done: Paceline, tmp_path: Path, sandbox: Sandbox) -> None:
    before = adds(sandbox)
    elsewhere = {"PACELINE_HOME": str(tmp_path / "other-home")}
    result = done.here("run", "files", "--agent", "kolena:1", "--to", "out", extra=elsewhere)
    is_one_clear_line(result, 2, "PACELINE_HOME")
    assert adds(sandbox) == before


def test_a_misspelt_variable(paceline: Paceline) -> None:
    result = paceline.here("run", "files", "--agent", "kolena:1", "--to", "out", extra={"PACELINE_SETTEL_SECONDS": "3"})
    is_one_clear_line(result, 6, "PACELINE_SETTEL_SECONDS", "PACELINE_SETTLE_SECONDS")


def test_a_misspelt_setting(paceline: Paceline, tmp_path: Path) -> None:
    (tmp_path / "paceline.toml").write_text("worker = 3\n")
    is_one_clear_line(paceline.here("run", "files", "--agent", "kolena:1", "--to", "out"), 6, "worker", "paceline.toml")


def test_a_provider_that_is_not_there(paceline: Paceline) -> None:
    result = paceline.here(
        "run", "files", "--agent", "kolena:1", "--to", "out", extra={"KOLENA_API_URL": "http://127.0.0.1:9"}
    )
    is_one_clear_line(result, 7, "127.0.0.1:9")


def test_another_address_for_the_same_batch_is_refused(done: Paceline) -> None:
    elsewhere = {"KOLENA_API_URL": "http://127.0.0.1:9"}
    result = done.here("run", "files", "--agent", "kolena:1", "--to", "out", extra=elsewhere)
    is_one_clear_line(result, 6, "http://127.0.0.1:9", "--to")


def test_too_many_files_per_run(paceline: Paceline) -> None:
    command = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "301")
    is_one_clear_line(paceline.here(*command), 2, "301", "300")


def test_an_unknown_verb_and_option(paceline: Paceline) -> None:
    assert paceline("rnu").code == 2
    assert paceline("run", "files", "--agnet", "kolena:1").code == 2


def test_results_inside_the_source_are_never_part_of_a_later_file_set(paceline: Paceline, sandbox: Sandbox) -> None:
    assert paceline("run", "files", "--agent", "kolena:1", "--to", "files/out").code == 0
    result = paceline("run", "files", "--agent", "kolena:1", "--to", "elsewhere", "--json")
    assert result.code == 0, result.stderr
    assert result.json()["files"]["total"] == 3


def test_an_output_of_a_known_batch_is_named_as_such(done: Paceline) -> None:
    result = done.here("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "2")
    is_one_clear_line(result, 2, "300 files a run", "another --to")
