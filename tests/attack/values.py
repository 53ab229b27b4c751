"""Values that nobody can mean, in the place of numbers, names, paths and texts."""

from __future__ import annotations

from typing import Any

NESTED = "[" * 100_000
LONG = "x" * 300
NUMBERS = (float("nan"), float("inf"), -float("inf"), -1, 0, 0.5, 1e38, -1e30, 2**31, 2**63)
NAMES = ("", ".", "..", "../../x", "/etc/passwd", "a\0b", "\x1b[31mred", LONG, "con\n", "\ud800")
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    10**30,
    -(10**30),
    float("nan"),
    float("inf"),
    "x",
    "nan",
    "1e9",
    [],
    {},
    [[]],
    ["x", 1],
    {"x": None},
    [5],
    *NAMES,
)
TEXTS = (
    "",
    " ",
    "nan",
    "inf",
    "-1",
    "1.5",
    "1e400",
    "1" + "0" * 30,
    "null",
    '"',
    "'",
    "\u200b",  # invisible
    "\u0661",  # a digit of another script
    "\u202e",  # turns the text around
    "=1+1",
    "|",
    "<script>alert(1)</script>",
    "<<<<<<< HEAD",
    "word " * 2000,
    *NAMES,
)
# what may stand after an option of a command
OPTION_NUMBERS = (
    "-1",
    "0",
    "1.5",
    "nan",
    "inf",
    "1e22",
    "1" + "0" * 30,
    "1_0",
    "\u0661",
    "x",
    "",
    " ",
    "\udcff",  # a byte that is not UTF-8, as Python has it from the shell
)
OPTION_TEXTS = (
    "",
    " ",
    "x",
    "../../x",
    "nan",
    "-1",
    "\x1b[31m",
    "\udcff",
    LONG * 20,
    "a=b",
    "++",
    "<b>",
)
