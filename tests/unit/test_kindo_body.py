"""The body of a Kindo run: JSON within JSON, its length known beforehand, never complete with files that changed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.chunking import upload_name
from paceline.errors import FileChanged, FileMissing, FileProblem
from paceline.providers.base import Upload, Weights
from paceline.providers.kindo_body import Body, Form, Forms, Weighing, weigh

AGENT = "3f0c1d2e-5a6b-4c7d-8e9f-0a1b2c3d4e5f"

AWKWARD = st.sampled_from([b'"', b"\\", b"\n", b"\r\n", b"\t", b"\f", b"\x00", b"\x1b", b"\x7f", b"\xff", b'\\"\\\\n'])
CONTENTS = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=40).map(str.encode),
    st.lists(st.one_of(AWKWARD, st.text(max_size=5).map(str.encode)), max_size=12).map(b"".join),
    st.sampled_from(["\ufeffé", "\u0085\u2028", "😀" * 9, "\x80"]).map(str.encode),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def held(name: str, data: bytes, size_bytes: int | None = None) -> Upload:
    """Make an upload of bytes in memory, whose planned size may be wrong."""
    return Upload(name, name, len(data) if size_bytes is None else size_bytes, lambda: io.BytesIO(data))


def turning(name: str, *versions: bytes) -> Upload:
    """Make an upload that is another one at each opening; the last one stays. Planned like the first."""
    left = list(versions)
    return Upload(name, name, len(versions[0]), lambda: io.BytesIO(left.pop(0) if len(left) > 1 else left[0]))


def body_of(uploads: Sequence[Upload], chunk_bytes: int = 1 << 18, **inputs: str) -> Body:
    return Body(AGENT, "documents", inputs, uploads, Forms(), chunk_bytes=chunk_bytes)


def documents(sent: bytes) -> list[dict[str, str]]:
    """Take the documents out of a body, as an agent does."""
    found = [one["value"] for one in json.loads(sent)["inputs"] if one["name"] == "documents"]
    result: list[dict[str, str]] = json.loads(found[0])
    return result


def restored(document: dict[str, str]) -> bytes:
    """Turn a document back into the file it was made from."""
    return document["content"].encode() if "content" in document else base64.b64decode(document["content_base64"])


def by_the_standard_library(files: Sequence[tuple[str, bytes]], inputs: dict[str, str]) -> bytes:
    """Write the body with `json.dumps`, twice."""

    def dumps(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    rows = []
    for name, data in files:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = "\0"
        is_text = not any((ord(c) < 32 and c not in "\t\n\f\r") or ord(c) == 127 for c in text)
        rows.append(
            {"name": name} | ({"content": text} if is_text else {"content_base64": base64.b64encode(data).decode()})
        )
    further = [{"name": name, "value": value} for name, value in inputs.items()]
    return dumps({"agentId": AGENT, "inputs": [*further, {"name": "documents", "value": dumps(rows)}]}).encode()


@settings(deadline=None)
@given(
    st.lists(st.tuples(TEXTS, CONTENTS), max_size=5),
    st.dictionaries(TEXTS.filter(lambda name: name != "documents"), TEXTS, max_size=2),
    st.integers(1, 70),
)
def test_every_byte_is_what_writing_json_twice_gives_and_none_is_miscounted(
    files: list[tuple[str, bytes]], inputs: dict[str, str], chunk_bytes: int
) -> None:
    body = Body(AGENT, "documents", inputs, [held(*file) for file in files], Forms(), chunk_bytes=chunk_bytes)
    sent = b"".join(body)
    assert sent == by_the_standard_library(files, inputs)
    assert len(body) == len(sent)
    assert [restored(one) for one in documents(sent)] == [data for _, data in files]
    assert body.digests == tuple(hashlib.sha256(data).digest() for _, data in files)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, CONTENTS), min_size=1, max_size=5), st.dictionaries(TEXTS, TEXTS, max_size=2))
def test_weights_add_up_to_the_body_and_no_file_weighs_more_than_its_bound(
    files: list[tuple[str, bytes]], inputs: dict[str, str]
) -> None:
    weights: Weights = Weighing({"input": "documents"})
    sent = Body(AGENT, "documents", inputs, [held(*file) for file in files], Forms())
    exact = [weights.exactly(name, name, len(data), io.BytesIO(data)) for name, data in files]
    assert weights.empty(inputs) + sum(exact) == len(sent) + 1  # the comma that the last file doesn't have
    for (name, data), weight in zip(files, exact, strict=True):
        assert weight <= weights.at_most(name, name, len(data))


def test_the_bound_is_reached_by_a_file_of_quotation_marks() -> None:
    data = b'"' * 1000
    weights = Weighing({})
    assert weights.at_most("a", "a", 1000) == weights.exactly("a", "a", 1000, io.BytesIO(data))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", True),
        ("Ünï – 文書 \ufeff\u0085".encode(), True),
        (b"page\fpage\r\n\tend", True),
        (b"nul\x00", False),
        (b"\x1b[31m", False),
        (b"bell\x07", False),
        (b"\x7f", False),
        (b"caf\xe9", False),
        ("é".encode()[:1], False),
        (b"\xed\xa0\x80", False),  # half a surrogate pair, which is no UTF-8
        (b"\xc0\x80", False),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 2, 100])
def test_what_is_text(data: bytes, text: bool, chunk_bytes: int) -> None:
    chunks = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
    assert weigh(chunks, len(data)).text is text


def test_weighing_stops_where_a_file_is_known_to_be_no_text() -> None:
    read = []

    def chunks() -> Iterator[bytes]:
        for chunk in (b"text", b"\x00", b"never"):
            read.append(chunk)
            yield chunk

    assert weigh(chunks(), 1000) == Form(False, 1336)
    assert read == [b"text", b"\x00"]


def test_by_reference_nothing_is_read_and_addresses_are_whole() -> None:
    def never() -> IO[bytes]:
        raise AssertionError("opened")

    paths = ["a b.txt", "sub/ü#?.txt", "sub/caf\udce9", "100%"]
    uploads = [Upload(upload_name(path), path, 10**9, never) for path in paths]
    body = Body(AGENT, "documents", {}, uploads, Forms(), reference_url="https://files.example/set/")
    sent = b"".join(body)
    assert len(body) == len(sent)
    assert body.digests == ()
    assert [one["url"] for one in documents(sent)] == [
        "https://files.example/set/a%20b.txt",
        "https://files.example/set/sub/%C3%BC%23%3F.txt",
        "https://files.example/set/sub/caf%E9",
        "https://files.example/set/100%25",
    ]
    weights = Weighing({"send": "reference", "reference_url": "https://files.example/set"})
    bounds = [weights.at_most(one.name, one.path, one.size_bytes) for one in uploads]
    assert weights.empty({}) + sum(bounds) == len(sent) + 1
    assert bounds[0] == weights.exactly("a b.txt", "a b.txt", 10**9, io.BytesIO())


CHANGES: dict[str, Callable[[], Upload]] = {
    "heavier text of the same length": lambda: turning("a", b"xxxxxxxxxx", b'xxxxxxxxx"'),
    "much heavier from its beginning": lambda: turning("a", b"x" * 40, b'"' * 40),
    "lighter text of the same length": lambda: turning("a", b'xxxxxxxxx"', b"xxxxxxxxxx"),
    "text that became something else": lambda: turning("a", b"xxxxxxxxxx", b"xxxxxxxxx\xff"),
    "text that ends within a character": lambda: turning("a", b"xxxxxxxxxx", b"xxxxxxxxx\xc3"),
    "text that became longer": lambda: turning("a", b"xxxxxxxxxx", b"x" * 11),
    "something else that became shorter": lambda: turning("a", b"\xff" * 10, b"\xff" * 9),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("chunk_bytes", [3, 8, 100])
def test_a_file_that_changes_between_counting_and_sending_is_never_sent_to_its_end(
    change: str, chunk_bytes: int
) -> None:
    body = body_of([CHANGES[change](), held("b", b"y" * 500)], chunk_bytes)
    given_away: list[bytes] = []
    with pytest.raises(FileChanged) as caught:
        given_away.extend(body)
    assert caught.value.path == "a"
    assert len(b"".join(given_away)) < len(body)
    assert b"yyy" not in b"".join(given_away)
    assert body.digests == ()


@pytest.mark.parametrize("planned", [4, 6])
@pytest.mark.parametrize("data", [b"hello", b"\xff\xff\xff\xff\xff"])
def test_a_file_of_another_size_than_planned_is_not_sent(planned: int, data: bytes) -> None:
    with pytest.raises(FileProblem):
        b"".join(body_of([held("a", data, planned)]))


def test_a_file_that_is_gone_stops_the_body_before_it_is_begun() -> None:
    def gone() -> IO[bytes]:
        raise FileNotFoundError

    with pytest.raises(FileMissing):
        body_of([held("a", b"x"), Upload("b", "b", 1, gone)])


def test_a_body_can_be_sent_again() -> None:
    body = body_of([held("a", b'1"' * 100), held("b", b"\xff2")])
    assert b"".join(body) == b"".join(body)
    assert len(body.digests) == 2


def test_a_file_is_weighed_once_as_long_as_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one")
    reads: list[int] = []

    class Counting(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append(1)
            return super().read(-1 if size is None else size) or b""

    upload = Upload("a.txt", "a.txt", 3, lambda: Counting(path))
    forms = Forms()
    assert forms.of(upload) == Form(True, 3)
    seen = len(reads)
    assert forms.of(upload) == Form(True, 3)
    assert len(reads) == seen
    path.write_bytes(b'"""')
    os.utime(path, ns=(1, 1))
    assert forms.of(upload) == Form(True, 12)


def test_what_is_remembered_of_files_is_bounded(tmp_path: Path) -> None:
    forms = Forms(most=3)
    for n in range(10):
        path = tmp_path / str(n)
        path.write_bytes(b"x")
        forms.of(Upload(str(n), str(n), 1, partial(io.FileIO, path)))
    assert len(forms._known) == 3
