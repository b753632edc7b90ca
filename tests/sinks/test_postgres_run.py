"""A batch into PostgreSQL with the shipped command, read with SQL."""

from __future__ import annotations

from pathlib import Path

import psycopg

from tests.support.canary import Canary
from tests.support.command import Paceline, make_files
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.sandbox import Sandbox


def test_a_run_into_postgresql_has_every_file_once(tmp_path: Path, postgres: PostgresServer) -> None:
    source = make_files(tmp_path / "files", 12)
    (source / "nothing.txt").touch()
    on_disk = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    with Sandbox("--run-seconds", "0.3") as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        to = ("--to", postgres.place(schema="acceptance"))
        result = paceline("run", "files", "--agent", "kolena:1", *to, "--files-per-run", "5", "--json")

        assert result.code == 0, result.stderr
        batch = result.json()["batch"]
        again = paceline("export", batch, "--to", postgres.place(schema="again"))
        assert again.code == 0, again.stderr
        assert Canary(PASSWORD).in_folder(tmp_path) == []

    with psycopg.connect(postgres.place()) as connection:
        for schema in ("acceptance", "again"):
            connection.execute(f"SET search_path = {schema}")
            paths = connection.execute('SELECT path FROM files ORDER BY path COLLATE "C"').fetchall()
            assert [path for (path,) in paths] == on_disk
            assert connection.execute("SELECT batch, state FROM batches").fetchall() == [(batch, "complete")]
            told = "SELECT count(*), sum(files), count(DISTINCT run_id) FROM runs WHERE outcome = 'succeeded'"
            assert connection.execute(told).fetchall() == [(3, 12, 3)]
