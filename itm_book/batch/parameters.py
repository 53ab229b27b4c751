"""The parameters of a notebook: names and types, checked before its kernel starts and inside it.

papermill warns of a name that the notebook does not have and passes every type, so a grid of a
thousand cells would run with a misspelt parameter. Each notebook calls `check` after its cell of
parameters. The type of a parameter is that of its default value; an empty list takes texts, and
None a whole number or None.

Page: "Batches", "Parameters".
"""

from __future__ import annotations

import ast
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from itm_core.errors import InputError
from itm_core.settings import seed_of

INJECTED = "# Parameters\n"  # how papermill's cell begins
WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "True or False"}
SEEDS = ("seed", "seeds")  # parameters that hold them
STRICT = ConfigDict(strict=True, allow_inf_nan=False)
UNKNOWN = object()  # the value of what is not written as a literal


def assigned(source: str) -> dict[str, Any]:
    """Return the values that a cell assigns to names; `UNKNOWN` for what is not a literal.

    >>> assigned("recipe = 'scan'\\nseeds = [0]  # of the runs")
    {'recipe': 'scan', 'seeds': [0]}
    """
    values: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            try:
                value = ast.literal_eval(statement.value)
            except ValueError:
                value = UNKNOWN
            for target in ast.walk(statement):
                if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                    values[target.id] = value
    return values


def with_values(source: str, injected: str) -> str:
    """Return a cell of parameters with the values of papermill's cell; its comments stay.

    >>> with_values("seed = 0  # of the run\\nrecipe = 'scan'", "# Parameters\\nseed = 3")
    "seed = 3  # of the run\\nrecipe = 'scan'"
    """
    values = {name: ast.get_source_segment(injected, value) for name, value in _values(injected)}
    lines = [line.encode() for line in source.splitlines(keepends=True)]  # ast counts bytes
    for name, value in reversed(list(_values(source))):
        if name in values:
            first, last = value.lineno - 1, (value.end_lineno or value.lineno) - 1
            start, end = lines[first][: value.col_offset], lines[last][value.end_col_offset :]
            lines[first : last + 1] = [start + (values[name] or "").encode() + end]
    return b"".join(lines).decode()


def _values(source: str) -> Iterator[tuple[str, ast.expr]]:
    """Yield every name that a cell assigns by itself, with the expression."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, statement.value


def check_values(
    defaults: Mapping[str, Any], values: Mapping[str, Any], file: Path | None = None
) -> None:
    """Raise `InputError` for a parameter that a notebook does not have, or of another type.

    ``seed`` and ``seeds`` must be seeds, as `settings.seed_of` takes them.
    """
    unknown = sorted(set(values) - set(defaults))
    if unknown:
        raise InputError(
            f"the notebook has no parameter {', '.join(unknown)}",
            file=file,
            expected=f"some of {', '.join(defaults) or 'none (no cell tagged parameters)'}",
            remedy="assign it in the cell tagged parameters, or correct its name",
        )
    for name, value in values.items():
        kind = _kind(defaults[name])
        if kind is Any:
            continue
        if value is UNKNOWN:  # papermill writes float('nan')
            raise InputError(
                f"the parameter {name} is no finite value", file=file, expected=_in_words(kind)
            )
        try:
            TypeAdapter(kind, config=STRICT).validate_python(value)
        except ValidationError:
            raise InputError(
                f"the parameter {name} has the wrong type",
                file=file,
                expected=_in_words(kind),
                found=f"{reprlib.repr(value)} ({type(value).__name__})",
                remedy=f"give it to papermill as {_option(name, kind)}",
            ) from None
        if name in SEEDS and value is not None:
            for seed in value if isinstance(value, list) else [value]:
                seed_of(seed)


def check() -> None:
    """Raise `InputError` unless papermill's parameters are those of the notebook that runs.

    Its cells are read from the history of the kernel: papermill's is the last that begins with
    `INJECTED`, and the notebook's own parameters are assigned before it. Without papermill there
    is nothing to check.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:
        check_cells(shell.user_ns["In"])


def check_cells(cells: Sequence[str]) -> None:
    """Check the parameters in the cells of a notebook that have run; see `check`."""
    injected = [k for k, source in enumerate(cells) if source.startswith(INJECTED)]
    if not injected:
        return
    defaults: dict[str, Any] = {}
    for source in cells[: injected[0]]:
        defaults |= assigned(source)
    check_values(defaults, assigned(cells[injected[-1]]))


def _kind(default: object) -> Any:
    """Return the type of a parameter from its default value, as pydantic takes it."""
    if default is None:
        return int | None
    if isinstance(default, list):
        kinds = [_kind(value) for value in default] or [str]
        return list[kinds[0]] if all(kind == kinds[0] for kind in kinds) else list  # type: ignore[valid-type]
    if isinstance(default, dict):
        return dict
    return type(default) if type(default) in WORDS else Any


def _in_words(kind: Any) -> str:
    if kind in WORDS:
        return WORDS[kind]
    if kind == int | None:
        return "a whole number, or None"
    inner = getattr(kind, "__args__", None)
    plural = _in_words(inner[0]).removeprefix("a ") if inner else "values"
    return "a dictionary" if kind is dict else f"a list, each entry {plural}"


def _option(name: str, kind: Any) -> str:
    """Return the option by which papermill takes a parameter of this type.

    >>> _option("seed", int), _option("recipe", str), _option("seeds", list[int])
    ('-p seed VALUE', '-r recipe VALUE', "-y 'seeds: [...]'")
    """
    if kind is str:
        return f"-r {name} VALUE"
    if kind in WORDS or kind == int | None:
        return f"-p {name} VALUE"
    return f"-y '{name}: {'{...}' if kind is dict else '[...]'}'"
