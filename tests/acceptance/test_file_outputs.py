"""A batch without a folder among its outputs, with the shipped command, from the run to its removal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from paceline.tables import ANSWERS, FILES
from tests.support.command import Paceline, make_files, read_lines
from tests.support.read_csv import read_csv
from tests.support.sandbox import Sandbox


@pytest.mark.timeout(180)
def test_a_batch_whose_outputs_are_files_is_run_exported_verified_shown_and_removed(tmp_path: Path) -> None:
    make_files(tmp_path / "files", 10)
    (tmp_path / "files" / "=1+1.txt").write_text("a formula\n")
    (tmp_path / "files" / "empty").touch()
    with Sandbox("--run-seconds", "0.3", "--fault", "fail_runs:count=1") as sandbox:
        with Paceline(tmp_path, url=sandbox.url) as paceline:
            command = ["run", "files", "--agent", "kolena:1", "--files-per-run", "4"]
            command += ["--to", "out.jsonl", "--to", "x.csv", "--to", "x.files.csv"]
            (tmp_path / "x.csv").write_text("mine")
            refused = paceline(*command)
            assert (refused.code, "move it away" in refused.stderr) == (2, True)
            assert sandbox.log(request_class="add") == []
            (tmp_path / "x.csv").unlink()

            done = paceline(*command)

            assert done.code == 1, done.stderr  # one run failed
            for name in ("out.jsonl", "x.csv", "x.files.csv"):
                assert f"results      {tmp_path / name}\n" in done.stdout
            assert f"left out     1 empty, with its reason in {tmp_path / 'x.files.csv'}\n" in done.stdout
            records = read_lines(tmp_path / "out.jsonl")
            assert [len(record["files"]) for record in records] == [4, 4, 3]
            answers = read_csv(tmp_path / "x.csv", ANSWERS)
            assert {row[1] for row in answers} == {record["submission"] for record in records}
            assert "'=1+1.txt" in (tmp_path / "x.files.csv").read_text()
            paths = [row[1] for row in read_csv(tmp_path / "x.files.csv", FILES)]
            assert sorted(map(str, paths)) == sorted(
                str(path.relative_to(tmp_path / "files")) for path in (tmp_path / "files").rglob("*") if path.is_file()
            )

            batch = records[0]["batch"]
            again = paceline(*command)
            assert "complete already" in again.stderr
            verified = paceline.here("verify", batch, "--digests", "--json")
            assert (verified.code, verified.json()["differences"]) == (0, [])
            assert verified.json()["checked"]["digests"] == 11
            shown = paceline.here("show", records[0]["submission"])
            assert f"{tmp_path}/x.csv.parts/{records[0]['submission']}.json" in shown.stdout
            later = paceline.here("export", batch, "--to", "later.csv", "--to", "folder")
            assert later.code == 0, later.stderr
            assert (tmp_path / "later.csv").read_bytes() == (tmp_path / "x.csv").read_bytes()
            assert (tmp_path / "folder" / "results.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
            assert (tmp_path / "folder" / "_SUCCESS").exists()

            assert paceline.here("gc", "--batch", batch, "--yes").code == 0
            shutil.rmtree(paceline.home / "redis")  # what `gc` kept is lost too
            lost = paceline(*command)
            assert (lost.code, f"paceline rebuild {paceline.home / 'batches' / batch}" in lost.stderr) == (2, True)
            rebuilt = paceline("rebuild", str(paceline.home / "batches" / batch), "--json")
            assert rebuilt.json()["submissions"] == {"total": 3, "restored": 3, "in_doubt": 0}
            assert "complete already" in paceline(*command).stderr
        assert len({row["external_id"] for row in sandbox.log(request_class="add")}) == 3
        assert len(sandbox.log(request_class="add")) == 3
