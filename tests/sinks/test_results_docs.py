"""`docs/results.md`: its commands are run on a real batch, and print what stands there.

`python -m tests.sinks.test_results_docs` writes the outputs anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.sinks.csv_file import guard, unguard
from tests.support.command import Paceline
from tests.support.sandbox import Sandbox

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.M | re.S)
BATCH = re.compile(r"\bb[0-9a-z]{9}\b")


def make_invoices(folder: Path) -> None:
    """Make the files that the page tells of."""
    folder.mkdir()
    for number in range(1, 13):
        text = f"Invoice {number:02d}, total {number:02d}.00 EUR\n"
        (folder / f"{number:02d}.txt").write_text("" if number == 7 else text)


@contextlib.contextmanager
def batch(folder: Path) -> Iterator[None]:
    """Run the page's command with the page's sandbox, then stay in the folder with its results."""
    page = PAGE.read_text("utf-8")
    fault = re.search(r"paceline sandbox --fault (\S+)`", page)
    command = next(found[2] for found in BLOCK.finditer(page) if found[1] == "sh")
    assert fault is not None
    make_invoices(folder / "invoices")
    with (
        Sandbox("--run-seconds", "0.2", "--fault", fault[1]) as sandbox,
        Paceline(folder, url=sandbox.url) as paceline,
    ):
        done = paceline(*shlex.split(command.replace("\\\n", ""))[1:])
        assert done.code == 1, done.stderr  # one run failed, as the page says
        there = Path.cwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(there)


def run_python(code: str, names: dict[str, Any]) -> str:
    """Run a block as a person would paste it, after those before it; return what it prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pd.option_context("display.width", 110, "display.max_columns", 20):
        exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102  # our own page
    return said.getvalue()


def run_sql(query: str) -> str:
    """Run a query, which DuckDB shows as its command line does."""
    with duckdb.connect() as connection:
        return str(connection.sql(query))


def filled(page: str) -> str:
    """Return the page with what its blocks print."""
    names: dict[str, Any] = {}
    runners: dict[str, Callable[[str], str]] = {"python": lambda code: run_python(code, names), "sql": run_sql}

    def fill(found: re.Match[str]) -> str:
        language, code, shown = found.groups()
        if language not in runners:
            return found[0]
        said = "\n".join(line.rstrip() for line in runners[language](code).strip("\n").splitlines())
        assert shown is not None, f"nothing is shown of {code}"
        return f"```{language}\n{code}```\n```text\n{said}\n```\n"

    return BLOCK.sub(fill, page)


@pytest.mark.timeout(240)
def test_every_example_of_the_page_prints_what_stands_there(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    with batch(tmp_path):
        found = filled(page)
    assert found == page
    assert [language for language, _, _ in BLOCK.findall(page)].count("sql") >= 4
    assert not BATCH.search(found)  # it would be another one next time


@given(st.text(alphabet="'=-+@ \t\r\n1.eE＝\xa0\ufeffx٣") | st.text())
def test_the_line_that_gives_texts_back_is_right(text: str) -> None:
    code = next(found[2] for found in BLOCK.finditer(PAGE.read_text("utf-8")) if "def plain" in found[2])
    names: dict[str, Any] = {}
    run_python(code, names)
    assert names["plain"](guard(text)) == text
    assert names["plain"](text) == unguard(text)


def main() -> None:
    """Write the page anew."""
    with tempfile.TemporaryDirectory() as folder, batch(Path(folder)):
        page = filled(PAGE.read_text("utf-8"))
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
