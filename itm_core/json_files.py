"""Files of JSON: one value, or one a line; written completely or not at all."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from itm_core.errors import InputError
from itm_core.files import not_utf8, reading, unique_keys, whole_file

JSON_LINES = (".jsonl", ".ndjson")  # endings of files with a value a line
CUT = "the file ends in the middle: copy or download it again"


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as indented JSON, completely or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json_text(content), encoding="utf-8")


def json_text(content: object) -> str:
    """Return ``content`` as the text of an indented JSON file."""
    return json.dumps(content, indent=1) + "\n"


def read_json(path: Path) -> dict:
    """Return the JSON object in ``path``; raises `InputError` as `read_json_value` does."""
    content = read_json_value(path)
    if not isinstance(content, dict):
        raise InputError("not a JSON object", file=path, found=type(content).__name__)
    return content


def read_json_value(path: Path) -> Any:
    """Return the JSON value in ``path``, an object or anything else.

    Raises `InputError` when it cannot be opened (see `reading`), is not UTF-8 or not valid JSON,
    or has an object with a repeated key.
    """
    return _only_value(_text(path), path)


def read_json_entries(path: Path) -> Any:
    """Return the entries of a list or of JSON lines, each with its row, or the value of a file.

    The rows of a list are None. A file with one of the endings `JSON_LINES` has lines, and so has
    any other whose first line is an object of several: many are called .json. Raises `InputError`
    as `read_json_value`.
    """
    text = _text(path)
    if path.suffix.lower() in JSON_LINES or _has_lines(text):
        return list(_lines(text, path))
    content = _only_value(text, path)
    return [(None, entry) for entry in content] if isinstance(content, list) else content


def _lines(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    lines = [(row, line) for row, line in enumerate(text.split("\n"), 1) if line.strip()]
    for row, line in lines:
        try:
            value = _value(line, path, row)
        except InputError:
            raise
        except (ValueError, RecursionError) as error:
            remedy = _remedy(text, line, last=row == lines[-1][0])
            raise _not_json(path, error, remedy, row) from None
        yield row, value


def _has_lines(text: str) -> bool:
    first, _, others = text.strip().partition("\n")
    with suppress(ValueError, RecursionError):
        return bool(others) and isinstance(json.loads(first), dict)
    return False


def _text(path: Path) -> str:
    with reading(path):
        content = path.read_bytes()
    try:
        if (start := content.find(0)) >= 0:
            raise ValueError("bytes that are zero, which no text has")
        text = content.decode("utf-8-sig")
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            start = error.start
            start += len(codecs.BOM_UTF8) * content.startswith(codecs.BOM_UTF8)
        before = content[:start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        row = before.count(b"\n") + 1
        raise not_utf8(path, row, content, content[start:], error) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


# --- one value ---------------------------------------------------------------------------------


def _only_value(text: str, path: Path) -> Any:
    try:
        return _value(text, path)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # also of a number of thousands of digits
        raise _not_json(path, error, CUT if _open_ended(text) else None) from None


def _value(text: str, path: Path, row: int | None = None) -> Any:
    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Return an object of the file; raises `InputError` for a repeated key."""
        values = dict(pairs)
        if len(values) < len(pairs):
            unique_keys(pairs, path, what="values", source=lambda v: repr(v)[:60], row=row)
        return values

    return json.loads(text, object_pairs_hook=without_repeats)


def _not_json(
    path: Path, error: Exception, remedy: str | None, row: int | None = None
) -> InputError:
    return InputError("not readable as JSON", file=path, row=row, found=str(error), remedy=remedy)


def _remedy(whole: str, line: str, *, last: bool) -> str | None:
    """Return what to do about a line that is no JSON value; None where that is not known."""
    with suppress(ValueError, RecursionError):
        json.loads(whole)
        return "the file is one JSON value: let its name end in .json"
    with suppress(ValueError, RecursionError):
        json.loads(line.rstrip().removesuffix(","))
        return "take the comma at the end of each line out"
    if not _open_ended(line):
        return None
    return CUT if last else "an object is one line: take the line breaks inside it out"


def _open_ended(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[") and text.rstrip()[-1:] not in ("}", "]")
