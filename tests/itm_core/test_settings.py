"""The values that arguments and settings may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm_core.errors import InputError
from itm_core.settings import (
    Count,
    Positive,
    Settings,
    instance,
    name_in,
    seed_of,
    texts,
)


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


class Small(Settings):
    part: ClassVar[str] = "small"
    count: Count = 1
    rate: Positive | None = 0.5
    kind: Annotated[str, name_in(lambda: KINDS)] = "a"
    tags: tuple[str, ...] = ()


KINDS = {"a": 1, "b": 2}


def test_settings_are_immutable_comparable_and_hashable() -> None:
    settings = Small(rate=2)
    assert settings == Small(rate=2.0)
    assert hash(settings) == hash(Small(rate=2.0))
    assert settings.replace(count=3) == Small(count=3, rate=2.0)
    assert json.dumps(settings.model_dump()) == (
        '{"count": 1, "rate": 2.0, "kind": "a", "tags": []}'
    )
    with pytest.raises(ValueError, match="frozen"):
        settings.count = 2  # type: ignore[misc]


def test_settings_are_read_from_text() -> None:
    text = {"count": "4", "rate": "None", "kind": "b", "tags": ["x"]}
    assert Small.read(text) == Small(count=4, rate=None, kind="b", tags=("x",))
    with pytest.raises(
        InputError, match=r"^a\.toml: wrong value of small\.count; expected a valid"
    ):
        Small.read({"count": "many"}, file=Path("a.toml"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "wrong value of small.count; expected greater than or equal to 1, found 0"),
        ({"count": "3"}, "wrong value of small.count; expected a valid integer, found '3'"),
        ({"rate": float("nan")}, "expected a finite number"),
        ({"kind": "c"}, "wrong value of small.kind; expected one of a, b, found 'c'"),
        ({"size": 3}, "unknown key of small; expected one of count, rate, kind, tags, found size"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_expected(values: dict, message: str) -> None:
    for make in (lambda: Small(**values), lambda: Small().replace(**values)):
        with pytest.raises(InputError, match=message):
            make()


def test_a_registry_that_grows_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "c", 3)
    assert Small(kind="c").kind == "c"
