"""What the sandbox counts in files is right however the bytes are cut up on their way."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.facts import FileFacts, FileReader
from sandbox.options import SandboxOptions, Seconds
from sandbox.uploads import UploadError, UploadReader, boundary_of
from sandbox.world import Clock, World


def pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(content)) for cut in cuts} | {0, len(content)})
    return [content[start:end] for start, end in pairwise(places)]


def read(name: str, chunks: list[bytes]) -> FileFacts:
    reader = FileReader(name)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.facts()


@given(st.text("ab \t\n\r\x0b\x0c", min_size=1, max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_words_and_lines_do_not_depend_on_the_cuts(text: str, cuts: list[int]) -> None:
    content = text.encode()

    facts = read("a.txt", pieces(content, cuts))

    assert facts.words == len(content.split())
    assert facts.lines == content.count(b"\n") + (not content.endswith(b"\n"))
    assert facts.sha256 == hashlib.sha256(content).hexdigest()
    assert facts.size_bytes == len(content)


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=300)), max_size=5),
    st.lists(st.integers(0, 3000), max_size=12),
)
def test_an_upload_is_read_the_same_however_it_is_cut(files: list[tuple[str, bytes]], cuts: list[int]) -> None:
    named = [(name.translate({34: "%22", 10: "%0A", 13: "%0D"}), content) for name, content in files]
    body = b'--B-1\r\nContent-Disposition: form-data; name="user_defined_id"\r\n\r\nbatch.1\r\n'
    for name, content in named:
        disposition = f'Content-Disposition: form-data; name="files"; filename="{name}"'.encode()
        body += b"--B-1\r\n" + disposition + b"\r\nContent-Type: text/plain\r\n\r\n" + content + b"\r\n"
    reader = UploadReader(b"B-1", max_files=300, max_file_bytes=1000)

    for piece in pieces(body + b"--B-1--\r\n", cuts):
        reader.feed(piece)

    assert reader.ended
    assert reader.upload.fields == {"user_defined_id": "batch.1"}
    assert [(file.name, file.sha256) for file in reader.upload.files] == [
        (name, hashlib.sha256(content).hexdigest()) for name, content in named
    ]


def test_a_file_that_is_too_large_is_known_before_it_ends() -> None:
    reader = UploadReader(b"B", max_files=300, max_file_bytes=10)
    reader.feed(b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n')

    with pytest.raises(UploadError) as caught:
        reader.feed(b"x" * 11 + b"\r\n--")

    assert caught.value.kind == "file_too_large"


@pytest.mark.parametrize("body", [b"no boundary at all", b"--B\r\nContent-Type: x\r\n\r\n", b"--B\r\n:\r\n"])
def test_what_is_no_multipart_is_refused(body: bytes) -> None:
    with pytest.raises(UploadError, match=r"error|name"):
        UploadReader(b"B", max_files=300, max_file_bytes=10).feed(body)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data; charset=utf-8; BOUNDARY="a b;c"', b"a b;c"),
        (b"application/json", None),
        (b"multipart/form-data", None),
    ],
)
def test_the_boundary_is_found(content_type: bytes, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


class Moved:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now_s, wall=lambda: 1_700_000_000.0 + self.now_s)


def test_a_run_goes_its_course_by_the_clock_alone() -> None:
    time = Moved()
    world = World(SandboxOptions(run_seconds=Seconds(8, 8)), time.clock())
    run = world.accept(1, "x", [read("a.txt", [b"word"])])
    seen = []
    for now_s in (100, 101.9, 102, 104.5, 107.9, 108, 999):
        time.now_s = now_s
        shown = json.loads(run.to_json(now_s))
        seen.append((shown["status"], len(shown["data"]), (shown["usage"] or {}).get("credits_used")))

    assert seen == [
        ("running", 0, None),
        ("running", 0, None),
        ("running", 1, 1.0),
        ("running", 2, 2.0),
        ("running", 3, 3.0),
        ("success", 4, 4.0),
        ("success", 4, 4.0),
    ]
    assert shown["completed"] == shown["updated"] == shown["data"]["Largest file"]["end_time"]
    assert shown["created"] == "2023-11-14T22:15:00.000000+00:00"
    assert shown["completed"] == "2023-11-14T22:15:08.000000+00:00"


def test_durations_are_drawn_from_the_range_and_repeat_with_the_seed() -> None:
    def durations(seed: int) -> list[float]:
        world = World(SandboxOptions(run_seconds=Seconds(2, 8), seed=seed))
        return [world.accept(1, None, [read("a", [b"x"])]).course.seconds for _ in range(50)]

    assert durations(1) == durations(1) != durations(2)
    assert all(2 <= seconds <= 8 for seconds in durations(1))


def test_a_run_that_never_ends_stays_without_results() -> None:
    time = Moved()
    world = World(SandboxOptions(faults=("never_finish",)), time.clock())
    run = world.accept(1, None, [read("a", [b"x"])])
    time.now_s = 1e9

    shown = json.loads(run.to_json(time.now_s))

    assert math.isinf(run.finish_s)
    assert (shown["status"], shown["data"], shown["completed"]) == ("running", {}, None)
