"""The exception for bad input: where it is, what was expected and found, and what to do.

Errors of the operating system about files and memory become that exception too, in `files_named`.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

BAD_INPUT, INTERRUPTED = 2, 130  # exit codes of the command line


def escaped(value: object) -> str:
    """Return text with control characters and line ends escaped, so that terminals print them.

    >>> escaped("model\\x1b[31m.pth")
    'model\\\\x1b[31m.pth'
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(value)
    )


ENDING = re.compile(r"\.(ya?ml|json|ipynb|py|csv|pth|tar|safetensors)$", re.IGNORECASE)


def similar_names(name: str, names: Collection[str]) -> list[str]:
    """Return the names that may be meant by one that does not exist, the likeliest first.

    Folders, endings of files, case, and whether words are joined by a dash, an underscore or a
    space make no difference.

    >>> similar_names("recipes/SCAN_t2i_mean.yml", ["bfan-prob", "scan-t2i-LSE", "scan-t2i-mean"])
    ['scan-t2i-mean', 'scan-t2i-LSE']
    >>> similar_names("scan", ["chan", "scan-t2i"])
    ['scan-t2i', 'chan']
    """

    def plain(text: str) -> str:
        """Return the text without case, and with one hyphen for its separators."""
        return re.sub(r"[\s_-]+", "-", text.casefold())

    stem = name.replace("\\", "/").rstrip("/").rpartition("/")[2].strip()
    while ENDING.search(stem):
        stem = ENDING.sub("", stem)
    plain_names, name = {plain(known): known for known in names}, plain(stem)
    longer = [known for known in plain_names if name and f"{known}-".startswith(f"{name}-")]
    longer.sort(key=lambda known: known.count("-"))  # the name itself before longer ones
    close = difflib.get_close_matches(name, plain_names, 3)
    return [plain_names[known] for known in dict.fromkeys([*longer, *close])][:3]


def did_you_mean(value: object, allowed: Collection[object]) -> str | None:
    """Return the remedy for a misspelt name: the likeliest of those that exist, if one is close.

    >>> did_you_mean("TINY", ["full", "tiny"])
    'did you mean tiny?'
    """
    similar = similar_names(str(value), [str(name) for name in allowed])
    return f"did you mean {similar[0]}?" if similar else None


class InputError(ValueError):
    """Wrong input by the user, with a message that names the remedy.

    The command line prints the message and exits with code 2; a notebook shows nothing but it.

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
        super().__init__(escaped(re.sub(r"\s*[\r\n]\s*", " ", message.strip())))
        self.problem, self.file, self.row = problem, file, row
        self.expected, self.found, self.remedy = expected, found, remedy

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in a notebook: the message, without a traceback."""
        return [f"{type(self).__name__}: {self}"]


PROBLEMS: dict[int, tuple[str, str]] = {  # errno: the problem and the remedy
    errno.ENOENT: ("no such file or folder", "check the name, and the folder it starts from"),
    errno.EACCES: ("may not be {doing}", "its owner gives access with: chmod {right} {closed}"),
    errno.EPERM: ("may not be {doing}", "name another path; the system does not allow this one"),
    errno.EROFS: ("may not be written", "its file system is read-only: name another folder"),
    errno.EISDIR: ("not a file; found a folder, not a file", "name a file"),
    errno.ENOTDIR: ("a file in the place of a folder", "this path, or one above it, is a file"),
    errno.EEXIST: ("exists already", "name another one, or remove it"),
    errno.ENOTEMPTY: ("not empty", "name another folder, or remove what is in it"),
    errno.ENAMETOOLONG: ("the name is too long", "shorten it: 255 bytes are the usual limit"),
    errno.ELOOP: ("a symbolic link that leads to itself", "remove the link, or correct it"),
    errno.EMFILE: ("too many open files", "raise the limit (ulimit -n 4096), or use fewer workers"),
    errno.EBUSY: ("in use", "end the program that uses it, and run the same command again"),
    errno.EIO: ("the drive failed", "check the drive, and run the same command again"),
    errno.ESTALE: ("the network drive failed", "check the drive, and run the same command again"),
    errno.ENOSPC: ("no space left", "free some space, and run the same command again"),
    errno.EDQUOT: ("your quota is used up", "free some space, and run the same command again"),
}
LOOP = "Symlink loop from "  # the RuntimeError of pathlib, before Python 3.13
# of torch, CUDA, the system, C++ and shared libraries, whose errors are of several types
NO_MEMORY = re.compile(
    "an't allocate memory|annot allocate memory|out of memory|bad_alloc|failed to map segment"
)
ASKED = re.compile(r"allocate ([\d.]+ ?(?:bytes|[KMGTPE]?i?B))")
LESS_MEMORY = (
    "close other programs, raise the limit (ulimit -v), or use fewer workers, smaller batches or "
    "smaller files; is a file damaged, which claims this size?"
)


@contextmanager
def files_named(path: Path | str | None = None, doing: str = "opened") -> Iterator[None]:
    """Turn the operating system's errors about files inside the block into an `InputError`.

    So are those about memory, also of numpy and torch. Errors of other kinds (`PROBLEMS` lists
    these) are passed on.

    Args:
        path: what the message names; by default the file that the error names.
        doing: ``read``, ``written`` or ``opened``: what a missing permission would allow.

    >>> with files_named():
    ...     open("/no such folder/captions.txt")
    Traceback (most recent call last):
        ...
    itm_core.errors.InputError: /no such folder/captions.txt: no such file or folder. Remedy: ...
    """
    try:
        yield
    except (OSError, RuntimeError, MemoryError, ImportError) as error:
        named = _named(error, path, doing)
        if named is None:
            raise
        raise named from None


def _named(error: Exception, path: Path | str | None, doing: str) -> InputError | None:
    """Return the error to raise for one of the system; None for an error of another kind."""
    text = str(error)
    if isinstance(error, MemoryError) or NO_MEMORY.search(text):
        asked = ASKED.search(text)
        found = f"{asked[1]} asked for at once" if asked else None
        return InputError("not enough memory", file=path, found=found, remedy=LESS_MEMORY)
    if text.startswith(LOOP):
        return _file_error(errno.ELOOP, text.removeprefix(LOOP).strip("'"), doing)
    if not isinstance(error, OSError) or error.errno not in PROBLEMS:
        return None
    name = path
    if isinstance(error.filename, bytes | str) and (
        path is None or error.errno == errno.ENAMETOOLONG
    ):
        name = os.fsdecode(error.filename)
    return _file_error(error.errno, name, doing)


def _file_error(number: int, name: Path | str | None, doing: str) -> InputError:
    problem, remedy = PROBLEMS[number]
    if "{closed}" in remedy:
        closed, right = _closed(Path(name or "."), doing)
        remedy = remedy.format(closed=escaped(closed), right=right)
    return InputError(problem.format(doing=doing), file=name, remedy=remedy)


def _closed(path: Path, doing: str) -> tuple[Path, str]:
    """Return what denies access to a path, itself or a folder above it, and the missing right."""
    for folder in reversed(path.absolute().parents):
        if not os.access(folder, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            return folder, "a+rx"
    if not os.path.lexists(path):
        return path.parent, "a+w"
    return path, {"read": "a+r", "written": "a+w"}.get(doing, "a+rw")
