"""Tests of the seams: each adapter against the service it speaks to."""

import pytest

for _name in ("contract", "basis", "starts", "reads"):
    pytest.register_assert_rewrite(f"tests.contract.provider_{_name}")
