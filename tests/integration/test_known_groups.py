"""What a list or a cut says belongs together is known together, and never paid for a second time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.incremental import Folder

LIST = "path,group\nsource/a,G\nsource/b,G\nsource/c,\nsource/d,\n"
FILES = {"a": b"first", "b": b"second", "c": b"third", "d": b"fourth"}


@pytest.mark.parametrize("how", ["unchanged", "content"])
@pytest.mark.parametrize("groups", ["", "cut", "pack", "cut pack"])
def test_a_file_that_stands_alone_in_a_list_with_groups_is_known(tmp_path: Path, how: str, groups: str) -> None:
    folder = Folder(tmp_path, FILES)
    assert sum(map(len, folder.run_list(LIST, how, groups))) == 4

    assert folder.run_list(LIST, how, groups) == []
    assert folder.left_out() == {"unchanged": 4}


def test_what_was_answered_among_others_was_not_answered_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path, FILES)
    assert folder.run_list("path\nsource/c\nsource/d\n") == [("source/c", "source/d")]

    assert folder.run_list(LIST) == [("source/a", "source/b"), ("source/c",), ("source/d",)]


def test_a_group_that_was_cut_is_known_beside_groups_that_share_runs(tmp_path: Path) -> None:
    sizes = {"a": 13, "b": 1, "c": 7, "d": 3, "e": 9, "f": 2, "g": 12}
    files = {f"{group}/{n:02d}": b"x" for group, number in sizes.items() for n in range(number)}
    folder = Folder(tmp_path, files)
    options = {"per_run": 5, "group_by": "directory", "groups": "cut pack", "skip": "unchanged"}

    sent = folder.run(**options)

    assert sum(map(len, sent)) == len(files)
    assert ("b/00", "d/00", "d/01", "d/02") in sent  # whole groups share runs as before
    assert folder.run(**options) == []
    assert folder.left_out() == {"unchanged": len(files)}


def test_files_whose_group_is_blank_share_no_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path, FILES)

    assert folder.run_list("path,group\nsource/a,G\nsource/b, \nsource/c,\nsource/d, \n") == [
        (f"source/{name}",) for name in "abcd"
    ]
