"""Lists of files with the shipped command: piped in and killed, with columns that travel, and one that is wrong."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Paceline, Result, make_files, read_lines, wait_for
from tests.support.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("--run-seconds", "0.2-0.5", "--limit", "add=10/2s") as running:
        yield running


@pytest.fixture
def paceline(tmp_path: Path, sandbox: Sandbox) -> Iterator[Paceline]:
    with Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="10/2s") as ready:
        yield ready


def find_into(paceline: Paceline, *arguments: str) -> subprocess.Popen[str]:
    """Start `find files -type f -print0 | paceline …`."""
    with subprocess.Popen(
        ["/usr/bin/env", "find", "files", "-type", "f", "-print0"], cwd=paceline.folder, stdout=subprocess.PIPE
    ) as find:
        assert find.stdout is not None
        return paceline.start(*arguments, stdin=find.stdout)


def test_a_piped_list_killed_in_the_middle_and_piped_again_is_each_file_once(
    paceline: Paceline, sandbox: Sandbox, tmp_path: Path
) -> None:
    make_files(tmp_path / "files", 19)
    (tmp_path / "files" / "with\nline end.txt").write_text("odd")
    command = ("run", "-", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
    first = find_into(paceline, *command)
    wait_for(lambda: len(sandbox.log(request_class="add")) > 3, "some runs")
    paceline.kill_everything(first)
    assert not (tmp_path / "out" / "_SUCCESS").exists()

    again = find_into(paceline, *command)
    out, err = again.communicate(timeout=120)

    assert again.returncode == 0, out + err
    sent = [path for record in read_lines(tmp_path / "out" / "results.jsonl") for path in record["files"]]
    on_disk = {str(path.relative_to(tmp_path)) for path in (tmp_path / "files").rglob("*") if path.is_file()}
    assert len(on_disk) == 20
    assert sorted(sent) == sorted(on_disk)
    accepted = Counter(row["external_id"] for row in sandbox.log(request_class="add") if row["run_id"] is not None)
    assert set(accepted.values()) == {1}


def test_what_a_table_says_of_a_file_travels_into_the_results(paceline: Paceline, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (tmp_path / name).write_text(name)
    lines = [
        "\ufeffpath;group;priority;metadata.customer",
        "a.txt;late;;ACME",
        'b.txt;urgent;9;"Müller; Söhne"',
        "c.txt;urgent;9;",
        "gone.txt;;;",
        "d.txt;late;;",
    ]
    (tmp_path / "list.csv").write_bytes("\r\n".join(lines).encode())

    result = paceline("run", "list.csv", "--agent", "kolena:1", "--to", "out", "--json")

    assert result.code == 0, result.stderr
    records = read_lines(tmp_path / "out" / "results.jsonl")
    assert [(record["group"], record["files"]) for record in records] == [
        ("urgent", ["b.txt", "c.txt"]),
        ("late", ["a.txt", "d.txt"]),
    ]
    rows = {
        row["path"]: (row["reason"], row["group"], row["metadata"])
        for row in read_lines(tmp_path / "out" / "files.jsonl")
    }
    assert rows == {
        "a.txt": ("completed", "late", {"customer": "ACME"}),
        "b.txt": ("completed", "urgent", {"customer": "Müller; Söhne"}),
        "c.txt": ("completed", "urgent", {"customer": ""}),
        "d.txt": ("completed", "late", {"customer": ""}),
        "gone.txt": ("missing", None, {"customer": ""}),
    }
    exported = paceline.here("export", result.json()["batch"], "--to", "again")
    assert exported.code == 0, exported.stderr
    assert read_lines(tmp_path / "again" / "files.jsonl") == read_lines(tmp_path / "out" / "files.jsonl")


def test_a_list_that_is_wrong_is_refused_before_anything_is_sent(
    paceline: Paceline, sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "list.csv").write_text("path,group\na.txt,one\na.txt,two\n")

    result = paceline("run", "list.csv", "--agent", "kolena:1", "--to", "out")

    refused(result, 2, "list.csv", "lines 2 and 3", "a.txt")
    refused(paceline("run", "*.doc", "--agent", "kolena:1", "--to", "out"), 9, "no file matches '*.doc'")
    assert sandbox.log() == []
    assert not (tmp_path / "out").exists()


def refused(result: Result, code: int, *words: str) -> None:
    assert result.code == code, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("paceline: ")]
    for word in words:
        assert word in line
