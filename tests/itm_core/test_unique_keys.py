"""Keys of user data occur once; a repeated one is an error that names both sources."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm_core.errors import InputError
from itm_core.files import unique_keys
from itm_core.json_files import read_json


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers())))
def test_it_is_a_dictionary_or_an_error(pairs: list[tuple[str, int]]) -> None:
    keys = [key for key, _ in pairs]
    if len(set(keys)) == len(keys):
        assert unique_keys(pairs, "file") == dict(pairs)
    else:
        with pytest.raises(InputError, match="^file: two images share the key"):
            unique_keys(pairs, "file")


def test_both_sources_are_named() -> None:
    with pytest.raises(InputError) as error:
        unique_keys([("1", "a/1.jpg"), ("2", "2.jpg"), ("1", "b/1.jpg")], "caps.txt")
    assert str(error.value) == (
        "caps.txt: two images share the key '1'; found a/1.jpg and b/1.jpg. "
        "Remedy: rename one of them, or remove it"
    )


def test_a_json_object_has_each_key_once(tmp_path: Path) -> None:
    path = tmp_path / "id_mapping.json"
    path.write_text('{"0": {"a": 1, "b": 1}, "1": {"a": 2}}')
    assert read_json(path) == {"0": {"a": 1, "b": 1}, "1": {"a": 2}}
    path.write_text('{"0": "x.jpg", "1": "y.jpg", "0": "z.jpg"}')
    with pytest.raises(InputError, match=r"id_mapping.json.*'0'; found 'x.jpg' and 'z.jpg'"):
        read_json(path)
