"""The base class of all settings, and validators of function arguments."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from itm_core.errors import InputError, did_you_mean
from itm_core.option_types import SEEDS

Entry = TypeVar("Entry")

Count = Annotated[int, Field(ge=1)]
Times = Annotated[int, Field(ge=1, le=10**6)]  # no training ends after more epochs
Width = Annotated[int, Field(ge=1, le=2**16)]  # of vectors; a square matrix of it has 16 GiB
Depth = Annotated[int, Field(ge=1, le=64)]  # layers or steps, each with weights of its own
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, le=10**6, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=10**6, allow_inf_nan=False)]


class Settings(BaseModel):
    """Base class of settings: immutable, hashable, validated, without unknown fields.

    The constructor takes values of the annotated types alone; `read` converts text. A value that
    does not fit raises `InputError` with the field, the value and what is expected. Validators
    of subclasses raise `InputError` themselves; theirs are passed on unchanged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    part: ClassVar[str] = ""  # prefix of the fields in messages: the part of a recipe

    def __init__(self, **values: Any) -> None:
        with _as_input_error(type(self)):
            super().__init__(**values)

    # without this mark pydantic would call __init__ from `read`, in strict mode
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def read(cls, values: Mapping[str, Any], *, file: Path | None = None) -> Self:
        """Return settings made of text, or of what a file of settings holds.

        ``"3"`` becomes a number, ``"false"`` a bool, a list a tuple, and ``"none"`` None where a
        field may be None. ``file`` is named in the message of an `InputError`.
        """
        optional = {k for k, f in cls.model_fields.items() if type(None) in get_args(f.annotation)}
        converted = {
            name: None if name in optional and str(value).lower() in ("none", "null") else value
            for name, value in values.items()
        }
        with _as_input_error(cls, file):
            return cls.model_validate(converted, strict=False)

    @classmethod
    def of_file(cls, values: Mapping[str, Any], file: Path) -> Self:
        """Return settings made of the values in a file that has types; a list becomes a tuple.

        Raises `InputError` for a value of another type: no text is a number, no bool is 1.
        """
        with _as_input_error(cls, file):
            return cls.model_validate_json(json.dumps(values, default=str))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated like a new one."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**values, **changes})


@contextmanager
def _as_input_error(kind: type[Settings], file: Path | None = None) -> Iterator[None]:
    """Turn pydantic's `ValidationError` into an `InputError` about the first wrong field."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    else:
        return
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):  # raised by a validator
        raise cause
    name = ".".join(str(step) for step in (kind.part, *first["loc"]) if step != "")
    if first["type"] == "extra_forbidden":
        owner, _, key = name.rpartition(".")
        known = ", ".join(kind.model_fields) if len(first["loc"]) == 1 else None
        raise InputError(
            f"unknown key of {owner or kind.__name__}",
            file=file,
            expected=known and f"one of {known}",
            found=key,
            remedy=did_you_mean(key, kind.model_fields) if known else None,
        )
    if first["type"] == "missing":
        raise InputError(f"missing {name}", file=file, expected=", ".join(kind.model_fields))
    raise InputError(
        f"wrong value of {name or kind.__name__}",
        file=file,
        expected=first["msg"].removeprefix("Input should be "),
        found=reprlib.repr(first["input"]),
        remedy=did_you_mean(first["input"], _choices(first.get("ctx", {}))),
    )


def _choices(context: Mapping[str, Any]) -> list[str]:
    """Return what a value had to be one of, from the context of pydantic's error; often nothing."""
    if isinstance(context.get("names"), str):  # of `name_in`
        return context["names"].split(", ")
    expected = context.get("expected")  # of a Literal
    return re.findall(r"'([^']*)'", expected) if isinstance(expected, str) else []


def name_in(names: Collection[str] | Callable[[], Collection[str]]) -> AfterValidator:
    """Return the validator of a field that holds one of ``names``.

    They are looked up at each validation, as registries can grow. A function gives those that
    are defined after the class.
    """

    def check(value: str) -> str:
        """Return the value; raises unless it is one of the names."""
        known = names() if callable(names) else names
        if value not in known:
            raise PydanticCustomError(
                "name_in", "Input should be one of {names}", {"names": ", ".join(known)}
            )
        return value

    return AfterValidator(check)


def one_of(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise `InputError` unless ``value`` is one of ``allowed``."""
    if value not in tuple(allowed):  # a tuple also takes values that are not hashable
        names = [str(choice) for choice in allowed]
        choices = ("; " if any("," in one for one in names) else ", ").join(names)
        raise InputError(
            f"unknown value of {name}",
            expected=f"one of {choices}",
            found=value,
            remedy=did_you_mean(value, allowed),
        )


def registered(name: str, value: str, registry: Mapping[str, Entry]) -> Entry:
    """Return the entry of a registry called ``value``; raise `InputError` when there is none."""
    one_of(name, value, registry)
    return registry[value]


def positive(name: str, value: float) -> None:
    """Raise `InputError` unless ``value`` is a finite number above zero."""
    if not 0 < value < float("inf"):
        raise InputError(f"{name} must be above zero", expected="a positive number", found=value)


def at_least(name: str, value: int, least: int) -> None:
    """Raise `InputError` unless ``value`` is at least ``least``."""
    if value < least:
        raise InputError(f"{name} is too small", expected=f"{least} or more", found=value)


def not_negative(name: str, value: float) -> None:
    """Raise `InputError` unless ``value`` is a finite number, zero or above."""
    if not 0 <= value < float("inf"):
        raise InputError(f"{name} must not be negative", expected="0 or more", found=value)


def seed_of(value: object) -> int:
    """Return a seed as an integer; papermill's ``-r`` passes it as text.

    Raises `InputError` for anything but an integer from 0 to 2**32 - 1 or its decimal text.

    >>> seed_of("3")
    3
    """
    number = -1
    if isinstance(value, str):
        number = int(value) if re.fullmatch("0|[1-9][0-9]{0,9}", value) else -1
    elif isinstance(value, int | np.integer) and not isinstance(value, bool):
        number = int(value)
    if not 0 <= number < SEEDS:
        raise InputError(
            "not a seed",
            expected=f"a whole number from 0 to {SEEDS - 1}",
            found=reprlib.repr(value),
        )
    return number


def texts(name: str, values: object) -> tuple[str, ...]:
    """Return a list or tuple of texts as a tuple; raises `InputError` for anything else."""
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise InputError(
            f"{name} must be a list of texts",
            expected="such as ['a', 'b']",
            found=reprlib.repr(values),
        )
    return tuple(values)


def instance(name: str, value: object, *kinds: type) -> None:
    """Raise `InputError` unless ``value`` is an instance of one of ``kinds``."""
    if not isinstance(value, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise InputError(f"{name} has the wrong type", expected=expected, found=reprlib.repr(value))
