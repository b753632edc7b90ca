"""Our reading of our own YAML is that of a real parser, which comes with what these tests need."""

from __future__ import annotations

import importlib

import pytest

from tests.support import plain_yaml
from tests.support.monitoring import ROOT


@pytest.mark.parametrize("name", ["alerts", "prometheus"])
def test_prometheus_reads_what_we_read(name: str) -> None:
    text = (ROOT / f"deploy/prometheus/{name}.yaml").read_text("utf-8")
    assert importlib.import_module("yaml").safe_load(text) == plain_yaml.read(text)
