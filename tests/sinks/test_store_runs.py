"""From an object store to an object store with the shipped command, against a real S3 server and the sandbox."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.command import Paceline, read_lines, wait_for
from tests.support.doorway import Doorway
from tests.support.s3 import KEYS, Bucket, S3Server
from tests.support.sandbox import Sandbox

QUICK = {"upload_base_seconds": "5", "lease_extra_seconds": "1", "settle_seconds": "1"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("--run-seconds", "0.2-0.6") as running:
        yield running


def rows(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def fill(bucket: Bucket, number: int, size: int = 500) -> dict[str, bytes]:
    """Put objects with distinct contents; give them by path."""
    found = {}
    for n in range(number):
        path = f"{'sub/' if n % 3 else ''}file {n:03d} ü.txt"
        found[path] = (b"document %d " % n) * (size // 12)
        bucket.put(f"docs/{path}", found[path])
    return found


def sent(sandbox: Sandbox) -> Counter[str]:
    """Count the files of accepted runs by their digests, from the sandbox's own log."""
    return Counter(
        file["sha256"] for row in sandbox.log(request_class="add") if row["run_id"] is not None for file in row["files"]
    )


def check_output(bucket: Bucket, prefix: str, files: dict[str, bytes], sandbox: Sandbox, submissions: int) -> None:
    """Hold what stands in the bucket, and what the sandbox got, against the objects."""
    content = bucket.content(prefix)
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    assert sent(sandbox) == Counter(digests.values())
    assert content["_SUCCESS"].decode().strip() == json.loads(content["summary.json"])["batch"]
    recorded = {row["path"]: row["sha256"] for row in rows(content["files.jsonl"])}
    # Killed between an upload and its record, nobody knows the digests of what was sent; the sandbox does, above.
    assert {path: digest or digests[path] for path, digest in recorded.items()} == digests
    assert {row["outcome"] for row in rows(content["files.jsonl"])} == {"succeeded"}
    records = rows(content["results.jsonl"])
    assert len({record["submission"] for record in records}) == len(records) == submissions
    assert sorted(path for record in records for path in record["files"]) == sorted(files)
    assert [row["path"] for row in rows(content["manifest.jsonl"])] == sorted(files, key=str.encode)
    last = bucket.written_last(prefix)
    assert last == f"{prefix}_SUCCESS"


def without_batch_file(content: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out what says whether the listing was complete when it was written."""
    return {name: data for name, data in content.items() if name != "batch.json"}


def test_a_prefix_becomes_results_within_it_whatever_is_killed(
    tmp_path: Path, sandbox: Sandbox, s3: S3Server, bucket: Bucket
) -> None:
    files = fill(bucket, 24)
    bucket.put("docs/.hidden")
    bucket.put("docs2/other")
    source = f"s3://{bucket.name}/docs"
    command = ("run", source, "--agent", "kolena:1", "--to", f"{source}/out", "--files-per-run", "3")
    with Paceline(tmp_path, url=sandbox.url, **QUICK) as paceline:
        running = paceline.start(*command)
        sandbox.wait("accepted", count=3, timeout=60)
        wait_for(lambda: bucket.keys("docs/out/parts/"), "a part")
        paceline.kill_everything(running)
        again = paceline(*command, "--json")

        assert again.code == 0, again.stderr
        check_output(bucket, "docs/out/", files, sandbox, 8)
        before = bucket.content("docs/out/")
        copied = paceline("export", again.json()["batch"], "--to", "copy", "--to", f"s3://{bucket.name}/copy")
        assert copied.code == 0, copied.stderr
        assert sent(sandbox).total() == len(files)
        seen = b"".join(path.read_bytes() for path in paceline.home.rglob("*") if path.is_file())
        assert KEYS["AWS_SECRET_ACCESS_KEY"].encode() not in seen

    assert bucket.content("docs/out/") == before
    assert without_batch_file(bucket.content("copy/")) == without_batch_file(before)
    assert read_lines(tmp_path / "copy" / "results.jsonl") == rows(before["results.jsonl"])


def test_a_store_that_goes_away_in_mid_upload_pauses_the_batch(
    tmp_path: Path, sandbox: Sandbox, s3: S3Server, bucket: Bucket
) -> None:
    files = fill(bucket, 6, size=3_000_000)
    command = ("run", f"s3://{bucket.name}/docs", "--agent", "kolena:1", "--to", "out", "--files-per-run", "2")
    with (
        Doorway(urlsplit(s3.url).port or 0) as door,
        Paceline(tmp_path, url=sandbox.url, **QUICK) as paceline,
    ):
        paceline.environment["AWS_ENDPOINT_URL"] = door.url
        door.shut(after_bytes=7_000_000)
        first = paceline(*command)
        assert not door.open
        assert first.code == 6, first.stdout + first.stderr
        assert "can't be reached" in first.stderr
        assert "AWS_ENDPOINT_URL" in first.stderr
        door.reopen()
        again = paceline(*command)
        assert again.code == 0, again.stderr
        verified = paceline("verify", "out", "--digests")
        assert verified.code == 0, verified.stdout + verified.stderr
        assert "6 files are what was sent" in verified.stdout

    assert sent(sandbox) == Counter(hashlib.sha256(data).hexdigest() for data in files.values())
    assert {row["outcome"] for row in read_lines(tmp_path / "out" / "files.jsonl")} == {"succeeded"}
