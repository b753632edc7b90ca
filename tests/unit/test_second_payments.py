"""Who sets an account to pay twice is told so at every start, and nobody else is."""

from __future__ import annotations

import pytest

from cli.preflight import warn_of_second_payments
from config.accounts import Account


@pytest.mark.parametrize(
    ("name", "on_uncertain", "warned"),
    [("kindo", "resubmit", True), ("kindo", "hold", False), ("kolena", "resubmit", False)],
)
def test_a_warning_stands_where_the_setting_can_cost_something(
    name: str, on_uncertain: str, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_second_payments(Account.model_validate({"name": name, "on_uncertain": on_uncertain}))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("WARNING: account kindo") is warned
    assert ("paid for each time" in err) is warned
