"""A complete batch in the hands of an operator: exported again, compared with the provider's books, removed."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.acceptance.test_run import accepted
from tests.support.command import Paceline, make_files, read_lines
from tests.support.sandbox import Sandbox

OPTIONS = ("--agent", "kolena:1", "--files-per-run", "2")


def test_what_was_paid_for_is_exported_removed_and_never_paid_again(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 6)
    run = ("files", *OPTIONS, "--to", "files/out")  # inside the source, which is where people put it
    with Sandbox("--run-seconds", "0.3") as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        first = paceline("run", *run, "--json")
        assert first.code == 0, first.stderr
        summary, batch = first.json(), first.json()["batch"]
        record = read_lines(source / "out" / "results.jsonl")[0]
        assert sum(record["usage"]["by"].values()) == record["usage"]["credits"] > 0
        assert paceline.here("show", f"{batch}-1", "--json").json()["credits_by"] == record["usage"]["by"]

        told = paceline.here("status", batch, "--usage", "--json").json()["usage"]
        assert (told["credits"], told["records"]) == (summary["credits"], 3)

        for folder in (source / "out" / "parts", source / "out" / "_SUCCESS"):
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
        again = paceline("export", batch, "--to", "more", "--json", extra={"KOLENA_API_KEY": "", "KOLENA_API_URL": ""})
        assert (again.code, again.json()["from"]["results"]) == (0, 3), again.stderr
        assert (tmp_path / "more" / "results.jsonl").read_bytes() == (source / "out" / "results.jsonl").read_bytes()
        assert paceline.here("export", batch, "--to", "files/out").code == 0

        removed = paceline.here("gc", "--older-than", "0", "--yes")
        assert (removed.code, "Removed 1 batch" in removed.stderr) == (0, True)
        assert paceline.here("list", "--json").json() == []
        repeated = paceline.here("run", *run, "--json")
        assert (repeated.code, repeated.json()) == (0, summary), repeated.stderr
        assert "complete already; nothing was sent, nothing was paid" in repeated.stderr
        assert paceline("submit", *run).code == 0
        assert len(accepted(sandbox)) == 3

        other = paceline("run", "files", *OPTIONS, "--to", "out2", "--json")
        assert (other.code, other.json()["files"]["total"]) == (0, 6), other.stderr
        assert len(accepted(sandbox)) == 6
