"""The hinge loss against its term-by-term twin."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from itm_core.errors import InputError
from itm_core.losses import HingeSettings, hinge
from tests import twins


@given(n=st.integers(2, 6), seed=st.integers(0, 999), hardest=st.booleans())
def test_hinge_equals_its_twin(n: int, seed: int, hardest: bool) -> None:
    scores = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ours = hinge(scores, 0.2, hardest=hardest).item()
    assert ours == pytest.approx(twins.hinge(scores, 0.2, hardest), abs=1e-12)


def test_a_settled_batch_has_no_loss() -> None:
    assert hinge(torch.eye(4), 0.2) == 0


def test_a_margin_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match="margin"):
        HingeSettings(margin=0.0)
