"""Staged listings that nobody goes on with: which of them `paceline gc` takes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.gc import DAY_S, _is_abandoned


@pytest.mark.parametrize("name", ["b123456789", "b123456789.part"])
@pytest.mark.parametrize(
    ("age_days", "batch", "taken"),
    [
        (40, None, True),
        (40, SimpleNamespace(listed=True), True),
        (40, SimpleNamespace(listed=False), False),
        (20, None, False),
    ],
)
def test_only_old_stages_of_no_batch_that_is_still_planned(
    tmp_path: Path, name: str, age_days: int, batch: Any, taken: bool
) -> None:
    stage = tmp_path / name
    stage.touch()
    os.utime(stage, (time.time() - age_days * DAY_S,) * 2)
    views = {"b123456789": batch}
    services: Any = SimpleNamespace(views=SimpleNamespace(find_batch=views.__getitem__))

    assert _is_abandoned(stage, services, 30) is taken
    assert not _is_abandoned(stage, None, 30)
