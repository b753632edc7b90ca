"""A provider that another package brings, used by the shipped command as if it were ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.support.command import Paceline, make_files, read_lines
from tests.support.installed import EXAMPLE, install, make_package
from tests.support.rest_service import AGENT, RestService

KEY = "canary-rest-5d1f0c9e"


def test_a_batch_runs_through_the_example_and_nothing_else_is_disturbed(tmp_path: Path) -> None:
    files = make_files(tmp_path / "files", 7)
    packages = install(EXAMPLE, tmp_path / "packages")
    make_package(packages, "acme", "acme", "acme_kind:KIND", acme_kind="raise RuntimeError('half\\ninstalled')")
    target = f"rest:{AGENT}"
    with RestService(KEY) as service, Paceline(tmp_path) as paceline:
        paceline.environment |= {"PYTHONPATH": str(packages), "REST_API_URL": service.url, "REST_API_KEY": KEY}
        paceline.environment |= {"PACELINE_ACCOUNTS__REST__OPTIONS__LIST_PATH": "/runs"}

        planned = paceline("plan", "files", "--agent", target, "--files-per-run", "3", "--json")
        done = paceline("run", "files", "--agent", target, "--to", "out", "--files-per-run", "3")
        limits = paceline("limits", "--json")
        checked = paceline("doctor", "--agent", target)

        assert planned.code == 0, planned.stderr
        assert planned.json()["submissions"] == 3
        assert done.code == 0, done.stderr
        assert len(service.runs) == 3
        assert {row["account"] for row in limits.json()} == {"rest"}
        assert {row["allowed"] for row in limits.json()} == {"60/60s"}
        assert checked.code == 0, checked.stdout
        assert "rest (paceline-rest 0.1.0)" in checked.stdout
        assert "provider 'acme' can't be loaded from acme_kind:KIND (RuntimeError: half installed)" in checked.stdout
        assert "Checksums" in checked.stdout
    results = {name: told for run in service.runs.values() for name, told in run["result"].items()}
    assert {told["sha256"] for told in results.values()} == {
        hashlib.sha256(path.read_bytes()).hexdigest() for path in files.rglob("*.txt")
    }
    records = {record["run_id"]: record["data"] for record in read_lines(tmp_path / "out" / "results.jsonl")}
    assert records == {run["id"]: run["result"] for run in service.runs.values()}
    assert KEY not in "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
