"""What lies outside the source never arrives, however fast it is swapped in, and nothing swapped in hangs a batch."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from paceline.errors import FileProblem
from paceline.files import SourceRoot
from paceline.model import SourceFile
from tests.support.command import Paceline, read_lines
from tests.support.sandbox import Sandbox

INSIDE, OUTSIDE = b"what may be sent\n" * 64, b"a secret outside\n" * 64
MTIME_NS = 1_700_000_000_000_000_000


class Swapping:
    """Puts symlinks to twins outside in the place of things, and takes them back, as fast as it can while it lasts."""

    def __init__(self, twins: dict[Path, Path]) -> None:
        self._twins = twins
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._swap, daemon=True)
        self.times = 0

    def __enter__(self) -> Swapping:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _swap(self) -> None:
        while not self._over.is_set():
            for place, twin in self._twins.items():
                aside = place.with_name(f".{place.name}.aside")
                place.rename(aside)
                place.symlink_to(twin)
                self._over.wait(0.0005)  # long enough to be met, short enough to be met halfway
                place.unlink()
                aside.rename(place)
                self.times += 1
                self._over.wait(0.0005)


def planted(folder: Path, content: bytes, names: list[str]) -> None:
    """Make files that size and time can't tell from their twins."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(MTIME_NS, MTIME_NS))


def test_a_file_opened_in_the_middle_of_a_swap_is_never_the_one_outside(tmp_path: Path) -> None:
    names = ["a.txt", "sub/deep/b.txt"]
    planted(tmp_path / "source", INSIDE, names)
    planted(tmp_path / "outside", OUTSIDE, names)
    twins = {tmp_path / "source" / name: tmp_path / "outside" / name for name in ("a.txt", "sub")}
    root = SourceRoot(str(tmp_path / "source"))
    came: Counter[object] = Counter()
    with Swapping(twins) as swapping:
        while swapping.times < 600 or not came["refused"] or not came[INSIDE]:
            for name in names:
                try:
                    with root.open(SourceFile(name, len(INSIDE), MTIME_NS)) as stream:
                        came[stream.read()] += 1
                except FileProblem:
                    came["refused"] += 1
    assert set(came) == {INSIDE, "refused"}


def test_what_is_swapped_in_while_a_batch_uploads_never_arrives(tmp_path: Path) -> None:
    names = [f"sub/deep/{number:02d}.txt" for number in range(20)] + [f"{number:02d}.txt" for number in range(10)]
    planted(tmp_path / "source", INSIDE, names)
    planted(tmp_path / "outside", OUTSIDE, names)
    places = ["sub", "00.txt", "03.txt", "07.txt"]
    twins = {tmp_path / "source" / name: tmp_path / "outside" / name for name in places}
    with Sandbox("--run-seconds", "0.2") as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        run = ("--agent", "kolena:1", "--files-per-run", "2")
        with Swapping(twins) as swapping:
            for attempt in range(2):
                result = paceline("run", "source", "--to", f"out-{attempt}", *run)
                assert result.code in (0, 1, 5), result.stderr
        sent = {file["sha256"] for row in sandbox.log(request_class="add") for file in row["files"] or ()}
    assert swapping.times > 50
    assert hashlib.sha256(OUTSIDE).hexdigest() not in sent
    assert sent <= {hashlib.sha256(INSIDE).hexdigest(), None}
    assert hashlib.sha256(INSIDE).hexdigest() in sent


def test_what_is_no_file_any_more_hangs_nothing(tmp_path: Path) -> None:
    names = [f"{number}.txt" for number in range(6)]
    planted(tmp_path / "source", INSIDE, names)
    with (
        Sandbox("--run-seconds", "0.2", "--limit", "add=1/2s") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="1/2s") as paceline,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        process = paceline.start("run", "source", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        sandbox.wait("accepted", count=1, timeout=60)
        changes: dict[str, Callable[[Path], object]] = {
            "1.txt": os.mkfifo,
            "2.txt": lambda path: listener.bind(os.path.relpath(path)),
            "3.txt": lambda path: path.symlink_to("/dev/zero"),
            "4.txt": lambda path: path.symlink_to("/proc/self/environ"),
            "5.txt": lambda path: path.mkdir(),
        }
        for name, change in changes.items():
            with suppress(FileNotFoundError):
                (tmp_path / "source" / name).unlink()
            change(tmp_path / "source" / name)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 1, out + err
    reasons = {row["path"]: row["reason"] for row in read_lines(tmp_path / "out" / "files.jsonl")}
    assert reasons == {"0.txt": "completed"} | dict.fromkeys(changes, "file_missing")
