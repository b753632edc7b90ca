"""`docs/results-databases.md`: its queries are asked of a real batch in real databases, and print what stands there.

`python -m tests.sinks.test_databases_docs` writes the outputs anew.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.sinks.test_results_docs import BATCH, BLOCK, make_invoices
from tests.support.command import Paceline
from tests.support.hook import SECRET
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.sandbox import Sandbox

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results-databases.md"


def run_batch(folder: Path, server: PostgresServer) -> None:
    """Write the page's batch into both databases."""
    make_invoices(folder / "invoices")
    with (
        Sandbox("--run-seconds", "0.2", "--fault", "fail_runs:file=11.txt") as sandbox,
        Paceline(folder, url=sandbox.url) as paceline,
    ):
        to = ("--to", "sqlite:///invoices.db", "--to", server.place())
        done = paceline("run", "invoices", "--agent", "kolena:1", "--files-per-run", "5", *to)
        assert done.code == 1, done.stderr  # one run failed, as the page says


def ask_sqlite(path: Path, query: str) -> str:
    """Ask as `sqlite3` at its prompt does, which shows columns with a bar between."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(query).fetchall()
    return "\n".join("|".join("" if value is None else str(value) for value in row) for row in rows)


def ask_postgres(server: PostgresServer, query: str) -> str:
    """Ask with `psql`."""
    command = [str(server.binaries / "psql"), "-X", "-q", "-d", server.place(), "-c", "SET search_path = paceline"]
    done = subprocess.run([*command, "-c", query], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def filled(page: str, ask: dict[str, Callable[[str], str]]) -> str:
    """Return the page with what its queries print, by the headings they stand under."""

    def fill(found: re.Match[str]) -> str:
        language, query, shown = found.groups()
        if language != "sql":
            return found[0]
        heading = re.findall(r"^## (\w+)$", page[: found.start()], re.M)[-1]
        said = "\n".join(line.rstrip() for line in ask[heading](query).strip("\n").splitlines())
        assert shown is not None, f"nothing is shown of {query}"
        return f"```sql\n{query}```\n```text\n{said}\n```\n"

    return BLOCK.sub(fill, page)


def whole(folder: Path, server: PostgresServer) -> str:
    run_batch(folder, server)
    asked: dict[str, Callable[[str], str]] = {
        "SQLite": lambda query: ask_sqlite(folder / "invoices.db", query),
        "PostgreSQL": lambda query: ask_postgres(server, query),
    }
    return filled(PAGE.read_text("utf-8"), asked)


@pytest.mark.timeout(240)
def test_every_query_of_the_page_prints_what_stands_there(tmp_path: Path, postgres: PostgresServer) -> None:
    page = PAGE.read_text("utf-8")

    found = whole(tmp_path, postgres)

    assert found == page
    assert [language for language, _, _ in BLOCK.findall(page)].count("sql") == 9
    assert not BATCH.search(found)  # it would be another one next time


def test_the_lines_that_verify_a_delivery_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    from paceline.sinks.webhook import WebhookSink
    from tests.support.raw_server import RawServer, answer, answering
    from tests.support.sink_batch import parts

    monkeypatch.setenv("PACELINE_WEBHOOK_SECRET", SECRET)
    names: dict[str, Any] = {}
    code = next(found[2] for found in BLOCK.finditer(PAGE.read_text("utf-8")) if "def verify" in found[2])
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102  # our own page
    with RawServer(answering(answer(204))) as server:
        WebhookSink(server.url).write(parts()[0])
    head, _, body = server.received.partition(b"\r\n\r\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    headers = {name.lower(): value for name, value in lines}

    names["verify"](SECRET, headers, body)
    for changed in ({"webhook-id": "other"}, {"webhook-timestamp": "1614265330"}):
        with pytest.raises(ValueError, match=r"signed|old"):
            names["verify"](SECRET, headers | changed, body)
    with pytest.raises(ValueError, match="not signed"):
        names["verify"](SECRET, headers, body + b" ")


def main() -> None:
    """Write the page anew."""
    os.environ["PGPASSWORD"] = PASSWORD
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as server:
        page = whole(Path(folder), server)
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
