"""YAML files as plain values: no key twice, no aliases, no depth without end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from itm_core.errors import InputError
from itm_core.files import reading

DEPTH = 20  # of nested lists and mappings
MOST_BYTES = 2**20


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises `InputError`, with the line, for a file that cannot be read or is no mapping, and for a
    key that is repeated or no text, an alias, and values that are nested too deeply.
    """
    try:
        with reading(path):
            if path.stat().st_size > MOST_BYTES:
                raise InputError("too large for a file of settings", file=path, expected="1 MiB")
            text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        row = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(
            "not readable as YAML", file=path, row=row, found=error.problem or error.context
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("not readable as YAML", file=path, found=str(error)) from None
    if not isinstance(content, dict):
        raise InputError("not a mapping", file=path, found=type(content).__name__)
    return content


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return the next node; raises for an alias, or one that is nested too deeply."""
        if self.check_event(yaml.AliasEvent):
            raise _problem("an alias: write out what it stands for", self.peek_event())
        if self.depth >= DEPTH:
            raise _problem(f"nested more than {DEPTH} deep", self.peek_event())
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; raises for a key that is repeated or no text."""
        seen: set[str] = set()
        for key, _ in node.value:
            value = self.construct_object(key, deep=True)
            if not isinstance(value, str):
                raise _problem(f"the key {value!r} is no text: put it in quotes", key)
            if value in seen:
                raise _problem(f"the key {value} is there twice", key)
            seen.add(value)
        return super().construct_mapping(node, deep=deep)


def _problem(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, at.start_mark)
