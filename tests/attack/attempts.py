"""One attempt: a command or reader on bad input, watched; what it must not do is said in `faults`.

An attempt is right when it ends with a valid result, or with one `InputError` (exit code 2, one
message, nothing written), within `SECONDS` and `MEMORY`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from itm_core import cli
from itm_core.errors import InputError

SECONDS = 10  # of the processor; a machine that is shared may take longer
WAITING = 60  # seconds of a clock, for what waits for ever
MEMORY = 3 * 2**30  # bytes more than the process has
# locks, notes on what was checked, and photographs whose features are computed and kept
CACHES = re.compile(r"(^|/)(lock|[^/]*\.lock|\.[^/]*\.checked|lock\.mdb|\.made\.partial/[^/]+)$")
# numbers of a result; "nan" in a name or a message is not one
NOT_A_NUMBER = re.compile(r"(?<![\w./\"'-])-?(nan|inf)(?![\w.\"'-])")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b\ud800-\udfff]")


FOLDER = (0, 0)  # in the place of size and time of change


class TooSlowError(BaseException):
    """The time is up; no handler of `Exception` may take it."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: its exit code or exception, and what it printed."""

    code: int
    out: str = ""
    error: str = ""
    trace: str = ""
    words: tuple[str, ...] = ()


@contextmanager
def watched() -> Iterator[None]:
    """Stop what takes longer than `SECONDS`, and refuse memory above `MEMORY`."""

    def stop(*_: object) -> None:
        raise TooSlowError(f"more than {SECONDS} s")

    before = {number: signal.signal(number, stop) for number in (signal.SIGALRM, signal.SIGPROF)}
    limits, threads = resource.getrlimit(resource.RLIMIT_AS), torch.get_num_threads()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    signal.alarm(WAITING)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        torch.set_num_threads(threads)  # a command may have set its own
        resource.setrlimit(resource.RLIMIT_AS, limits)
        for number, handler in before.items():
            signal.signal(number, handler)


def run_command(words: list[str]) -> Outcome:
    """Return how a command ends in this process."""
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), watched():
            code = cli.main(words)
    except SystemExit as exit_:  # argparse
        code = int(exit_.code or 0)
    except BaseException as failure:
        return Outcome(-1, out.getvalue(), error.getvalue(), _trace(failure))
    return Outcome(code, out.getvalue(), error.getvalue(), words=tuple(words))


def call(reader: Callable[[], object]) -> Outcome:
    """Return how a reader ends: as a command would."""
    try:
        with watched():
            reader()
    except InputError as error:
        return Outcome(2, error=f"itm: {error}\n")
    except BaseException as failure:
        return Outcome(-1, trace=_trace(failure))
    return Outcome(0)


def _trace(failure: BaseException) -> str:
    """The exception, and the last line of this project that it came through."""
    frames = traceback.extract_tb(failure.__traceback__)
    ours = [f for f in frames if "/itm_core/" in f.filename or "/itm_book/" in f.filename]
    place = f"{'/'.join(Path(ours[-1].filename).parts[-3:])}:{ours[-1].lineno}" if ours else "?"
    return f"{type(failure).__name__} at {place}: {str(failure)[:160]}"


def faults(outcome: Outcome) -> list[str]:
    """Return what is wrong with an outcome; nothing for a valid result or one `InputError`."""
    if outcome.trace:
        return [f"traceback: {outcome.trace}"]
    found = []
    if outcome.code not in (0, 1, 2):
        found.append(f"exit code {outcome.code}")
    messages = [line for line in outcome.error.splitlines() if line.startswith("itm")]
    usage = "usage: itm" in outcome.error
    if outcome.code == 2 and len(messages) != 1 and not usage:
        found.append(f"{len(messages)} messages")
    if "Traceback" in outcome.error + outcome.out:
        found.append("a traceback is printed")
    if outcome.code != 2 and (number := NOT_A_NUMBER.search(outcome.out)):
        found.append(f"a result has {number[0]}")
    printed = outcome.error.split("\r")[-1]
    if not CONTROL.search(" ".join(outcome.words)):  # what is said of a path as it was given
        printed += outcome.out.replace("\r", "")
    if control := CONTROL.search(printed):
        found.append(f"control character {control[0]!r} is printed")
    return found


@dataclass(frozen=True)
class Tree:
    """The files of a folder with their content, to be compared and restored."""

    root: Path
    content: dict[str, bytes | None]  # None for a folder
    stamps: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, root: Path) -> Tree:
        """Return what a folder holds now."""
        paths = sorted(root.rglob("*"))
        content = {str(p.relative_to(root)): None if p.is_dir() else p.read_bytes() for p in paths}
        return cls(root, content, _stamps(root))

    def changed(self) -> list[str]:
        """Return the names of files that are new, gone or different, without caches."""
        now = _stamps(self.root)
        names = [n for n in {**self.stamps, **now} if now.get(n) != self.stamps.get(n)]
        files = [name for name in names if self.content.get(name, b"") is not None]
        return sorted(
            name
            for name in files
            if not CACHES.search(name) and self._content(name) != self.content.get(name)
        )

    def _content(self, name: str) -> bytes | None:
        path = self.root / name
        return path.read_bytes() if path.is_file() else None

    def restore(self) -> None:
        """Bring everything back, and remove what is new."""
        now = _stamps(self.root)
        for name, stamp in self.stamps.items():
            kinds = {now.get(name) == FOLDER, stamp == FOLDER}
            if name in now and len(kinds) == 2:
                _remove(self.root / name)  # a folder is in the place of a file, or the reverse
        for name in sorted(set(now) - set(self.content), reverse=True):
            _remove(self.root / name)
        for name, content in self.content.items():
            path = self.root / name
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
            elif now.get(name) != self.stamps[name] or not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        self.stamps.clear()
        self.stamps.update(_stamps(self.root))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _stamps(root: Path) -> dict[str, tuple[int, int]]:
    found, waiting = {}, [str(root)]
    start = len(str(root)) + 1
    while waiting:
        for entry in os.scandir(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                found[entry.path[start:]] = FOLDER
                waiting.append(entry.path)
            else:
                state = entry.stat(follow_symlinks=False)
                found[entry.path[start:]] = (state.st_size, state.st_mtime_ns)
    return found
