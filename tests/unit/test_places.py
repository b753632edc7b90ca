"""What a `--to` means, and that one destination has one spelling."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import UsageError
from paceline.sinks.places import (
    PlaceKind,
    canonical,
    folders,
    kind_of,
    local_path,
    parts_folder,
    private_paths,
    sqlite_path,
    written_in_turn,
)

KINDS = {
    "results": PlaceKind.FOLDER,
    "results/": PlaceKind.FOLDER,
    "./a.b/c": PlaceKind.FOLDER,
    "results.2026": PlaceKind.FOLDER,
    "at 12:30": PlaceKind.FOLDER,
    ".csv": PlaceKind.FOLDER,
    "x.jsonl": PlaceKind.JSONL,
    "X.JSONL": PlaceKind.JSONL,
    "a/b.files.csv": PlaceKind.CSV,
    "x.Parquet": PlaceKind.PARQUET,
    "sqlite:///x.db": PlaceKind.SQLITE,
    "postgres://h/db": PlaceKind.POSTGRES,
    "PostgreSQL://h/db": PlaceKind.POSTGRES,
    "s3://b/p": PlaceKind.STORE,
    "gs://b": PlaceKind.STORE,
    "az://c/p.csv": PlaceKind.STORE,
    "https://h/hook": PlaceKind.WEBHOOK,
    "http://h/hook.csv": PlaceKind.WEBHOOK,
}


@pytest.mark.parametrize(("text", "kind"), KINDS.items())
def test_its_form_tells_what_a_destination_is(text: str, kind: PlaceKind) -> None:
    assert kind_of(text) is kind
    assert kind_of(canonical(text)) is kind


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("sqlite:///x y.db", "sqlite:////here/x%20y.db"),
        ("sqlite:////srv/x.db", "sqlite:////srv/x.db"),
        ("postgres://h:5/db?sslmode=require", "postgresql://h:5/db?sslmode=require"),
        ("postgresql:///db", "postgresql:///db"),
        ("S3://bucket/prefix/", "s3://bucket/prefix"),
        ("s3://bucket/", "s3://bucket"),
        ("https://h/hook/?a=1#part", "https://h/hook/?a=1"),
        ("out/", "/here/out"),
        ("./out", "/here/out"),
        ("../here/../out", "/out"),
        ("link/out", "/here/link/out"),
        ("link/../out", "/elsewhere/out"),
        ("sqlite:///../r.db", "sqlite:////r.db"),
        ("/../srv/out", "/srv/out"),
        ("/srv/out", "/srv/out"),
        ("~/x.csv", "/home/anna/x.csv"),
    ],
)
def test_it_is_written_in_one_way(text: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", "/home/anna")

    assert canonical(text).replace(str(tmp_path), "") == wanted


@pytest.mark.parametrize("text", [text for text in KINDS if text != ".csv"])
def test_what_is_canonical_stays(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "--to is empty"),
        ("-", "terminal"),
        ("ftp://host/x", "unknown kind"),
        ("https://[host/x", "no address"),
        ("postgresql://[::1/db", "no address"),
        ("s3://b/a\tb", "control characters"),
        ("://x", "unknown kind"),
        ("s3x://b", "x.parquet"),
        ("sqlite://x.db", "sqlite:///x.db"),
        ("sqlite:///", "sqlite:///x.db"),
        ("sqlite://", "sqlite:///x.db"),
        ("sqlite:x.db", "begins like an address, but is none; name a folder"),
        ("s3:/b/p", "begins like an address, but is none"),
        ("a/x.db", "write sqlite:///a/x.db"),
        ("/srv/x.sqlite3", "write sqlite:////srv/x.sqlite3"),
        ("a/x.XLSX", "write a/x.csv"),
        ("x.json", "write x.jsonl"),
        ("x.csv.gz", "leave .gz out"),
        ("s3://", "no bucket"),
        ("s3:///p", "no bucket"),
        ("https://", "no host"),
        ("s3://b/p?x=1", "not supported"),
        ("postgresql://u:hunter2@h/db", "PGPASSWORD"),
        ("postgresql://h/db?password=hunter2", "PGPASSWORD"),
        ("postgresql://h/db?sslpassword=hunter2", "PGPASSWORD"),
        ("https://u:hunter2@h/x", "leave it out"),
    ],
)
def test_what_cannot_be_one_is_refused_with_the_remedy(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word.replace("?", r"\?")) as caught:
        canonical(text)
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_is_there_may_have_any_name(tmp_path: Path) -> None:
    for name in ("x.db", "s3:", "x.json"):
        (tmp_path / name).mkdir()
        assert canonical(str(tmp_path / name)) == str(tmp_path / name)


def test_a_home_that_nobody_has_is_a_name_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert canonical("~nobody-of-that-name/out") == f"{tmp_path}/~nobody-of-that-name/out"


def test_what_is_on_this_machine_is_known() -> None:
    assert local_path("/a/out") == "/a/out"
    assert local_path("/a/x.csv") == "/a/x.csv"
    assert local_path("sqlite:////a/x%20y.db") == sqlite_path("sqlite:////a/x%20y.db") == "/a/x y.db"
    assert [local_path(one) for one in ("postgresql://h/db", "s3://b/p", "https://h/x")] == [None] * 3


def test_parts_stand_in_a_folder_or_beside_a_file() -> None:
    assert parts_folder("/a/out") == "/a/out/parts"
    assert parts_folder("/a/x.parquet") == "/a/x.parquet.parts"
    assert [parts_folder(one) for one in ("sqlite:///a/x.db", "postgresql://h/db", "s3://b/p")] == [None] * 3


def test_everything_that_is_written_here_is_private() -> None:
    assert private_paths("/a/out") == ["/a/out", "/a/out/parts"]
    assert private_paths("/a/x.csv") == ["/a/x.csv", "/a/x.csv.parts"]
    assert private_paths("sqlite:////a/x.db") == ["/a/x.db", "/a/x.db-wal", "/a/x.db-shm", "/a/x.db-journal"]
    assert private_paths("s3://b/p") == []


def test_folders_are_told_from_the_rest() -> None:
    assert folders(["/a/x.csv", "/a/out", "s3://b", "/b"]) == ["/a/out", "/b"]


def test_a_name_too_long_for_a_folder_is_no_defect() -> None:
    assert canonical("/a/" + "x" * 300) == "/a/" + "x" * 300  # whoever writes there says what is wrong with it


@given(st.text())
def test_any_text_has_one_spelling_or_is_refused(text: str) -> None:
    try:
        place = canonical(text)
    except UsageError:
        return
    assert canonical(place) == place
    assert kind_of(place) is kind_of(text)
    assert all(path.startswith("/") for path in private_paths(place))


def test_webhooks_come_last_and_all_else_stays_in_order() -> None:
    assert written_in_turn(["https://a/1", "/out", "http://b/2", "sqlite:////x.db", "/x.csv"]) == [
        "/out",
        "sqlite:////x.db",
        "/x.csv",
        "https://a/1",
        "http://b/2",
    ]


def test_a_password_in_an_unknown_address_is_not_repeated() -> None:
    with pytest.raises(UsageError, match="mysql://me:…@h/db") as caught:
        canonical("mysql://me:pa55@h/db?password=pa55")
    assert "pa55" not in str(caught.value)
