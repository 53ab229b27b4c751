"""JSON, one value or one a line: what is read, and what is said of what is not JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_core.errors import InputError
from itm_core.json_files import read_json, read_json_entries, read_json_value


@pytest.mark.parametrize("text", ["{half", "[1]", "\ud800"])
def test_broken_json_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text, errors="surrogatepass")
    with pytest.raises(InputError, match=r"broken\.json"):
        read_json(path)


def test_a_json_that_ends_in_the_middle_is_said_to(tmp_path: Path) -> None:
    path = tmp_path / "coco_karpathy_train.json"
    path.write_text('[{"image": "1.jpg", "caption": "Two men walk . A brick pil')
    with pytest.raises(InputError, match="not readable as JSON.*ends in the middle"):
        read_json_value(path)
    path.write_text('[{"image": 1.jpg}]')
    with pytest.raises(InputError, match="not readable as JSON") as error:
        read_json_value(path)
    assert "ends in the middle" not in str(error.value)


def test_every_line_has_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n [2]\n"\xe2\x80\xa8"\n')
    assert read_json_entries(path) == [(1, {"a": 1}), (3, [2]), (4, "\u2028")]


@pytest.mark.parametrize(
    ("name", "text", "entries"),
    [
        ("a.json", '[{"a": 1}, 2]', [(None, {"a": 1}), (None, 2)]),
        ("a.json", '{"a": 1}\n{"a": 2}\n', [(1, {"a": 1}), (2, {"a": 2})]),
        ("a.json", '{\n"a": 1}\n', {"a": 1}),
        ("a.json", '{"a": 1}\n', {"a": 1}),
        ("a.ndjson", '{"a": 1}\n', [(1, {"a": 1})]),
        ("a.json", "3", 3),
    ],
)
def test_entries_are_of_a_list_or_of_lines(
    tmp_path: Path, name: str, text: str, entries: object
) -> None:
    (tmp_path / name).write_text(text)
    assert read_json_entries(tmp_path / name) == entries


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1},\n{"a": 2}\n', "row 1: .*take the comma"),
        ('[\n{"a": 1}\n]\n', "row 1: .*let its name end in .json"),
        ('{"a":\n1}\n{"a": 2}\n', "row 1: .*take the line breaks inside it out"),
        ('{"a": 1,\n"b": 1}\n{"a": 2}\n', "row 1: .*take the line breaks inside it out"),
        ('{"a": 1}\n{"a":', "row 2: .*ends in the middle"),
        ('{"a": 1}\nb\n', "row 2: not readable as JSON"),
        ('{"a": 1}\n{"b": 1, "b": 2}\n', "row 2: two values share the key 'b'"),
    ],
)
def test_a_line_that_is_no_value_is_named_with_what_to_do(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_json_entries(path)


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("latin1", "-f latin1"),
        ("utf-16", "-f utf-16 "),
        ("utf-16le", "-f utf-16le.*or download it"),
    ],
)
def test_another_encoding_is_named_with_its_row_and_the_command(
    tmp_path: Path, encoding: str, says: str
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('[\n"caf\xe9"]'.encode(encoding))
    row = 2 if encoding == "latin1" else 1  # the first zero is in the first row
    with pytest.raises(InputError, match=rf"row {row}: not UTF-8.*iconv {says}"):
        read_json_value(path)


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf{}\n\xe9{}\n", b"{}\r\xe9\r"])
def test_the_row_that_is_not_utf8_is_counted_as_lines_are(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(InputError, match="row 2: not UTF-8"):
        read_json_entries(tmp_path / "a.jsonl")
