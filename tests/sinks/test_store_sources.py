"""Object stores as sources: what is listed, in which order, and what is said when it can't be."""

from __future__ import annotations

from pathlib import Path

import pytest

from paceline.errors import UsageError
from paceline.model import SkippedFile, SkipReason, SourceFile
from producers.filters import Rules
from producers.sources import Source, SourceKind, resolve_sources
from tests.support.s3 import Bucket, S3Server

ODD = (
    "a b.txt",
    "naïve 🧾.txt",
    "e\u0301.txt",
    "%20.txt",
    "#h&a=b+c.txt",
    "back\\slash",
    "<>|\"'`[]{}^~*.txt",
    "sub/deep/er.txt",
    "sub-side/x",
    "sub.txt",
    "\uff21",
    "\U0001f600",
)


def source(text: str) -> Source:
    return resolve_sources([text], Rules(), Path("/nowhere"))


def listed(text: str, **options: object) -> list[SourceFile | SkippedFile]:
    return list(source(text).listing.entries(**options))  # type: ignore[arg-type]  # what a test says


def paths(text: str, **options: object) -> list[str]:
    return [entry.path for entry in listed(text, **options)]


def test_a_prefix_ends_at_a_slash(bucket: Bucket) -> None:
    for key in ("docs/a", "docs2/b", "docs.txt", "other"):
        bucket.put(key)

    for text in (f"s3://{bucket.name}/docs", f"s3://{bucket.name}/docs/", f"S3://{bucket.name}/docs"):
        assert paths(text) == ["a"]
        assert source(text).location == f"s3://{bucket.name}/docs/"
        assert source(text).kind is SourceKind.FOLDER
    assert paths(f"s3://{bucket.name}") == ["docs.txt", "docs/a", "docs2/b", "other"]


def test_odd_keys_come_in_the_order_of_their_bytes_and_can_be_taken_up_behind_any(bucket: Bucket) -> None:
    for name in ODD:
        bucket.put(f"docs/{name}")
    bucket.put("docs0")
    listing = source(f"s3://{bucket.name}/docs/").listing

    whole = [entry.path for entry in listing.entries()]

    assert whole == sorted(ODD, key=lambda name: name.encode())
    assert listing.ordered
    assert whole == sorted(whole, key=listing.key)
    for number, path in enumerate(whole):
        assert [entry.path for entry in listing.entries(after=path)] == whole[number + 1 :]


def test_more_than_a_page_is_listed_and_taken_up(bucket: Bucket) -> None:
    names = [f"{number:05d}" for number in range(151)]
    for name in names:
        bucket.put(f"many/{name}")

    assert paths(f"s3://{bucket.name}/many/") == names
    for number in (48, 49, 50, 99, 150):
        assert paths(f"s3://{bucket.name}/many/", after=names[number]) == names[number + 1 :]


def test_folder_markers_hidden_and_empty_objects(bucket: Bucket) -> None:
    for key in ("docs/", "docs/sub/", "docs/lone/", "docs/empty", "docs/sub/empty"):
        bucket.put(key, b"")
    for key in ("docs/.hidden", "docs/.git/config", "docs/sub/.x", "docs/x", "docs/sub/x", "docs/both", "docs/dot.d/x"):
        bucket.put(key, b"12345")
    bucket.put("docs/both/", b"")

    found = listed(f"s3://{bucket.name}/docs")

    assert [entry.path for entry in found] == ["both", "dot.d/x", "empty", "sub/empty", "sub/x", "x"]
    assert [str(entry.reason) for entry in found if isinstance(entry, SkippedFile)] == ["empty", "empty"]
    assert {entry.size_bytes for entry in found if isinstance(entry, SourceFile)} == {5}
    assert all(entry.mtime_ns and not entry.mtime_ns % 10**9 for entry in found)


def test_a_key_that_ends_like_a_folder_and_holds_something_spoils_no_submission(bucket: Bucket) -> None:
    for key in ("docs/a", "docs/sub/", "docs/sub/x", "docs/sub-side", "docs/z/", "docs/z/y"):
        bucket.put(key, b"1")

    found = listed(f"s3://{bucket.name}/docs")

    assert [entry.path for entry in found] == ["a", "sub-side", "sub/", "sub/x", "z/", "z/y"]
    assert [entry.path for entry in found if isinstance(entry, SkippedFile)] == ["sub/", "z/"]
    assert paths(f"s3://{bucket.name}/docs", after="sub/") == ["sub/x", "z/", "z/y"]


def test_a_pattern_is_sent_to_include(bucket: Bucket) -> None:
    bucket.put("docs/a*b.pdf")

    assert paths(f"s3://{bucket.name}/docs/a*b.pdf") == ["a*b.pdf"]
    with pytest.raises(UsageError, match=r"--include '\*\.pdf'"):
        paths(f"s3://{bucket.name}/docs/*.pdf")


def test_one_object_is_a_source_too(bucket: Bucket) -> None:
    bucket.put("docs/.deep/report #1.pdf", b"1234")
    bucket.put("docs/.deep/report #1.pdf/below", b"1")

    one = source(f"s3://{bucket.name}/docs/.deep/report #1.pdf")

    assert one.kind is SourceKind.FILE
    (entry,) = one.listing.entries()
    assert (entry.path, entry.size_bytes) == ("report #1.pdf", 4)
    assert list(one.listing.entries(after=entry.path)) == []


def test_an_output_within_the_source_is_left_out_and_never_the_same(bucket: Bucket) -> None:
    for key in ("docs/a", "docs/out/parts/1.json", "docs/out-side", "docs/z"):
        bucket.put(key)
    place = f"s3://{bucket.name}/docs"

    assert paths(place, exclude=[f"{place}/out", "/home/me"]) == ["a", "out-side", "z"]
    assert paths(place, exclude=[f"s3://{bucket.name}"]) == ["a", "out-side", "out/parts/1.json", "z"]
    with pytest.raises(UsageError, match="source and output at once"):
        paths(place, exclude=[place])


@pytest.mark.parametrize("key", ["docs/x//y", "docs/../up", "docs/./dot", "docs/tab\tx", "docs/\x01", "docs//y"])
def test_a_key_that_can_not_be_asked_for_is_named(bucket: Bucket, key: str) -> None:
    bucket.put("docs/a")
    bucket.put(key)

    with pytest.raises(UsageError) as caught:
        paths(f"s3://{bucket.name}/docs")

    assert repr(key) in str(caught.value)
    assert "another key" in str(caught.value)


def test_a_bucket_that_is_not_there_is_named(s3: S3Server) -> None:
    for text in ("s3://nobody-has-this", "s3://nobody-has-this/docs/"):
        with pytest.raises(UsageError, match="no such bucket: s3://nobody-has-this; check the spelling"):
            paths(text)


def test_filters_hold_for_keys_too(bucket: Bucket) -> None:
    for key in ("a.PDF", "b.txt", "sub/c.pdf", "out/d.pdf", ".e.pdf", "sub/.f/g.pdf"):
        bucket.put(f"docs/{key}")
    place = f"s3://{bucket.name}/docs/"

    def chosen(rules: Rules, place: str = place) -> list[str]:
        found = resolve_sources([place], rules, Path("/nowhere"))
        assert found.options == rules.options()
        return [entry.path for entry in found.listing.entries()]

    assert chosen(Rules(include=("*.pdf",))) == ["a.PDF", "out/d.pdf", "sub/c.pdf"]
    assert chosen(Rules(include=("*.pdf",), exclude=("out/",))) == ["a.PDF", "sub/c.pdf"]
    assert chosen(Rules(include=("*.pdf",), case_sensitive=True)) == ["out/d.pdf", "sub/c.pdf"]
    assert chosen(Rules(exclude=("*.pdf",))) == ["b.txt"]
    assert chosen(Rules(include=("*.pdf",)), f"{place}a.PDF") == ["a.PDF"]
    assert chosen(Rules(exclude=("*.pdf",)), f"{place}a.PDF") == []
    assert chosen(Rules(include=("sub/**",), hidden=True)) == ["sub/.f/g.pdf", "sub/c.pdf"]


def test_a_list_of_addresses_is_looked_up_in_its_order(bucket: Bucket, s3: S3Server, tmp_path: Path) -> None:
    other = s3.bucket()
    for number in range(100):
        (bucket if number % 2 else other).put(f"docs/{number}.txt", b"x" * (number + 1))
    bucket.put("docs/empty", b"")
    named = [f"s3://{(bucket if number % 2 else other).name}/docs/{number}.txt" for number in reversed(range(100))]
    odd = [f"s3://{bucket.name}/docs/{name}" for name in ("empty", "nothing", "")]
    odd.append("s3://nobody-has-this/x")
    table = tmp_path / "list.csv"
    table.write_text("path,group,metadata.n\n" + "".join(f"{path},g,{path[-5:]}\n" for path in [*named, *odd]))

    found = resolve_sources([str(table)], Rules(), tmp_path)
    entries = list(found.listing.entries(exclude=[f"s3://{bucket.name}/docs/99.txt", str(tmp_path)]))

    assert found.location == "urls:"
    assert (entries[0].path, getattr(entries[0], "reason", None)) == (named[0], SkipReason.IN_OUTPUT)
    entries = entries[1:]
    assert [entry.path for entry in entries] == [*named[1:], *odd]
    assert [entry.size_bytes for entry in entries[:99]] == list(range(99, 0, -1))
    assert {entry.group for entry in entries} == {"g"}
    assert [str(entry.reason) for entry in entries if isinstance(entry, SkippedFile)] == [
        "empty",
        "missing",
        "not_regular",
        "missing",
    ]
    only = resolve_sources([str(table)], Rules(include=("9*.TXT",)), tmp_path)
    assert len(list(only.listing.entries())) == 11


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("https://me:geheim@host/x", "leave it out"),
        ("https://host/x?sig=geheim", "queries are not supported"),
    ],
)
def test_a_list_with_an_address_that_can_not_be_used_says_which(
    s3: S3Server, tmp_path: Path, line: str, words: str
) -> None:
    table = tmp_path / "list.csv"
    table.write_text(f"path\n{line}\n")

    with pytest.raises(UsageError) as caught:
        list(resolve_sources([str(table)], Rules(), tmp_path).listing.entries())

    assert words in str(caught.value)
    assert "geheim" not in str(caught.value)
