"""The exception for bad input: where it is, what was expected and found, and what to do."""

from __future__ import annotations

from pathlib import Path


def escaped(value: object) -> str:
    """Return text with control characters and line ends escaped, so that terminals print them.

    >>> escaped("model\\x1b[31m.pth")
    'model\\\\x1b[31m.pth'
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(value)
    )


class InputError(ValueError):
    """Wrong input by the user, with a message that names the remedy.

    The command line prints the message and exits with code 2; a notebook shows it as the last
    line of the traceback.

    >>> str(InputError("too few captions", file="dev_caps.txt", expected=5, found=4))
    'dev_caps.txt: too few captions; expected 5, found 4'
    """

    def __init__(
        self,
        problem: str,
        *,
        file: Path | str | None = None,
        row: int | None = None,
        expected: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        where = [escaped(file)] if file is not None else []
        if row is not None:
            where.append(f"row {row}")
        message = f"{', '.join(where)}: {problem}" if where else problem
        contrast = [
            f"{name} {value}"
            for name, value in (("expected", expected), ("found", found))
            if value is not None
        ]
        if contrast:
            message += "; " + ", ".join(contrast)
        if remedy:
            message += f". Remedy: {remedy}"
        super().__init__(message)
        self.problem, self.file, self.row = problem, file, row
        self.expected, self.found, self.remedy = expected, found, remedy
