"""Several hosts around one Redis, one cut off and one dead: a small form of `make hosts`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.services import is_gone, worker_name
from tests.hosts import SHORT, carry_out


@pytest.mark.slow
def test_hosts_that_are_cut_off_or_die_cost_nothing_twice_and_those_that_come_back_work_on(tmp_path: Path) -> None:
    report = carry_out(SHORT, tmp_path)

    said = f"{report}\n" + "\n".join(report.told)
    sys.stdout.write(said)  # which kind of hosts it was
    assert report.problems == [], said
    assert (report.totals.accepted, report.totals.duplicates, report.totals.lost) == (SHORT.submissions, 0, 0)


def test_the_same_process_id_on_another_machine_is_somebody_else() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ours = worker_name(gone.pid)
    assert is_gone(ours)
    assert not is_gone(worker_name(os.getpid()))
    name, _, machine = ours.rpartition("@")
    host, _, pid = name.rpartition(":")
    assert not is_gone(f"{name}@{machine[::-1]}x")  # other process ids
    assert not is_gone(f"another-{host}:{pid}@{machine}")  # a copy of this machine, under another name
    assert not is_gone(name)
    assert not is_gone(f"{name}@")
