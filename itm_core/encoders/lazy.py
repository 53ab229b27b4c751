"""Values that an object works out once, when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801 - it reads like `property`
    """A property that is computed once and kept, like ``functools.cached_property``.

    That one takes a lock in Python 3.11, which torch.compile cannot trace.

    >>> class Sum:
    ...     @lazy
    ...     def value(self) -> int:
    ...         print("working")
    ...         return 3
    >>> one = Sum()
    >>> one.value, one.value
    working
    (3, 3)
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.make, self.name = make, make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> lazy[T]: ...

    @overload
    def __get__(self, owner: object, kind: type) -> T: ...

    def __get__(self, owner: object | None, kind: type) -> lazy[T] | T:
        """Return the value; the next time the object has it itself."""
        if owner is None:
            return self
        value = self.make(owner)
        owner.__dict__[self.name] = value
        return value
