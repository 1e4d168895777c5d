from __future__ import annotations

import pytest

from training.rlhf.config import GateConfig
from training.rlhf.metrics.gates import gates


@pytest.mark.parametrize("name", ["broken", "repetition"])
@pytest.mark.parametrize(
    ("before", "after", "passes"),
    [(None, 0.1, True), (None, 0.3, False), (0.0, 0.3, False), (0.62, 0.5, True), (0.62, 0.7, 0)],
)
def test_a_policy_that_begins_outside_a_bound_has_to_be_no_worse(
    name: str, before: float | None, after: float, passes: bool
) -> None:
    metric = "broken_rate" if name == "broken" else name
    measured: dict[str, float | None] = {metric: after, f"{metric}_before": before}
    [gate] = [one for one in gates({"evaluate": measured}, GateConfig()) if one.name == name]
    assert gate.passed == passes
    assert ("no more than the policy before" in gate.text) == (before == 0.62)
