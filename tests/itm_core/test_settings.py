"""The values that arguments and settings may have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm_core.errors import InputError
from itm_core.settings import instance, seed_of, texts


@given(st.integers(0, 2**32 - 1))
def test_a_seed_is_the_same_as_number_and_as_text(seed: int) -> None:
    assert seed_of(seed) == seed_of(str(seed)) == seed_of(np.uint64(seed)) == seed
    assert type(seed_of(np.uint64(seed))) is int


@given(
    st.one_of(
        st.integers(max_value=-1),
        st.integers(min_value=2**32),
        st.floats(),
        st.booleans(),
        st.none(),
        st.lists(st.integers(0, 3)),
        st.sampled_from(["", "-1", "+3", " 3", "3 ", "03", "1.0", "1e3", "1_0", "3\n", "\u0663"]),
        st.sampled_from(["4294967296", "9" * 5000, "None", "²"]),
    )
)
def test_nothing_else_is_a_seed(value: object) -> None:
    with pytest.raises(InputError, match="not a seed; expected a whole number from 0 to"):
        seed_of(value)


def test_a_list_of_texts_is_no_text() -> None:
    assert texts("overrides", ["a=1", "b=2"]) == texts("overrides", ("a=1", "b=2"))
    for wrong in ("a=1", None, [1], {"a": 1}, 3):
        with pytest.raises(InputError, match="overrides must be a list of texts"):
            texts("overrides", wrong)


def test_a_wrong_type_is_named_with_those_expected() -> None:
    instance("root", "data", str, bytes)
    with pytest.raises(InputError, match="root has the wrong type; expected str or bytes, found 3"):
        instance("root", 3, str, bytes)
