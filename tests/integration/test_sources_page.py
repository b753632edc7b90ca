"""What docs/sources.md shows is what happens."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import cli
from cli.planning import command as plan
from paceline.manifest import read_manifest
from producers.filters import Rules
from producers.sources import resolve_sources
from producers.tables import read_table
from tests.support.trees import put

PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the page's fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def rows() -> list[tuple[str, list[str]]]:
    """Return the commands of the table of examples with what they take."""
    table = PAGE.partition("| paceline plan … | takes |\n|---|---|\n")[2].partition("\n\n")[0]
    pairs = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return [(command.strip("`"), re.findall("`([^`]+)`", taken)) for command, taken in pairs]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the page's files."""
    for path in blocks("text")[0].split():
        put(tmp_path / path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("command", "taken"), rows())
def test_the_table_of_examples_is_true(here: Path, command: str, taken: list[str]) -> None:
    given = plan.make_context("plan", shlex.split(command)).params
    rules = Rules(given["include"], given["exclude"], given["case_sensitive"], given["hidden"])

    source = resolve_sources(given["sources"], rules, here / ".paceline")

    assert [entry.path for entry in source.listing.entries()] == taken


def test_there_are_examples() -> None:
    assert len(rows()) > 10
    assert len(blocks("console")) == 1


def test_the_lists_can_be_read_and_are_right(here: Path) -> None:
    table = list(read_table(str(put(here / "list.csv", blocks("csv")[0].encode()))))
    lines = list(read_table(str(put(here / "list.jsonl", blocks("jsonl")[0].encode()))))

    assert (table[0].group, table[2].priority, table[2].metadata) == ("ACME", 10, (("customer", "B-2, new"),))
    assert (lines[0].group, lines[0].metadata) == ("ACME", (("customer", "A-17"), ("pages", 12)))
    assert lines[1].priority == 10


def test_the_errors_are_what_the_command_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here / "wrong.csv", b"path,customer,date\ncontracts/a.pdf,ACME,2024\n")
    put(here / "twice.csv", b"path,group\ncontracts/a.pdf,a\ncontracts/B.PDF,a\n./contracts/a.pdf,b\n")
    monkeypatch.setenv("PACELINE_HOME", str(here / "home"))
    shown = re.findall(r"^\$ paceline (.*)\npaceline: (.*)$", blocks("console")[0], re.M)

    assert len(shown) == 2
    for command, says in shown:
        done = CliRunner().invoke(cli, shlex.split(command))
        assert str(done.exception) == says


def test_a_plan_may_be_written_beside_files_that_are_named_one_by_one(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACELINE_HOME", str(here / "home"))
    put(here / "list.csv", b"path,metadata.x\ninvoices/1.pdf,7\n")

    CliRunner().invoke(cli, ["plan", "list.csv", "--manifest", "m.jsonl"])
    CliRunner().invoke(cli, ["plan", "invoices/1.pdf", "contracts/a.pdf", "--manifest", "n.jsonl"])
    refused = CliRunner().invoke(cli, ["plan", "invoices", "contracts", "--manifest", "o.jsonl"])

    assert [row.metadata for row in read_manifest(str(here / "m.jsonl"))] == [(("x", "7"),)]
    assert [row.path for row in read_manifest(str(here / "n.jsonl"))] == ["contracts/a.pdf", "invoices/1.pdf"]
    assert "lies in the source" in str(refused.exception)
