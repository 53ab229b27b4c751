"""Fetching a file: source after source, going on where the last attempt ended, checked at the end.

The library pooch does the checking and the renaming; the downloader that is plugged into it adds
what it lacks: going on with what has arrived, and a limit on waiting. All happens in the hidden
folder ``.arriving`` beside the file, so that what bears the file's name is whole. What has arrived
outlives a kill; it is gone on with only where it must be the same file: its hash is known, or the
server vouches for it (ETag, Last-Modified).

Page: "The data".
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import requests
from requests.exceptions import InvalidSchema, InvalidURL, RequestException, TooManyRedirects
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from itm_book.datasets import archives
from itm_book.datasets.registry import FileEntry
from itm_book.folders import amount, require_space
from itm_core.errors import InputError
from itm_core.files import space_checked, write_json

log = logging.getLogger(__name__)
pooch.get_logger().setLevel(logging.WARNING)  # this module says the same in fewer words
ARRIVING = ".arriving"
CHUNK = 2**20
SLOWEST = 2**10  # bytes a second; below it a source counts as stalled
PROGRESS = 2**20  # bytes after which a broken attempt was worth it, and counts as none
AGAIN = (408, 425, 429)  # besides 5xx: answers that may be another one in a moment
PARTIAL, OK, TOO_FAR = 206, 200, 416


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long to wait, in seconds, and how often to try a source without getting on."""

    connect: float = 20
    stall: float = 60
    tries: int = 5
    pause: float = 1

    def rest(self, failed: int) -> None:
        """Wait after the ``failed``-th failure in a row, each time twice as long."""
        time.sleep(self.pause * 2 ** (failed - 1))


class DownloadError(InputError):
    """No source had the file whole; what each said stands in the message."""


class _RefusedError(Exception):
    """A source doesn't have the file; asking it again would not help."""


class _InterruptedError(Exception):
    """A source stopped in the middle, or for a moment."""


def fetch(
    file: FileEntry, folder: Path, *, known: str | None, patience: RetryPolicy | None = None
) -> Path:
    """Return the path of the file in ``folder``, fetched from the first source that has it.

    ``known`` is the hash that it must have, ``algorithm:digits``, or None when nobody knows one.
    Raises `DownloadError` when no source has it, `InputError` when the disk is too small.
    """
    patience = patience or RetryPolicy()
    arriving = folder / ARRIVING
    arriving.mkdir(parents=True, exist_ok=True)
    for left in arriving.glob("tmp*"):  # pooch's own, of a process that was killed
        left.unlink()
    failures = []
    for url in file.sources:
        log.info("%s from %s", file.name, url)
        try:
            whole = _from_source(url, file, arriving, known, patience)
        except (_RefusedError, _InterruptedError) as error:
            failures.append(f"{url}: {error}")
            log.info("  %s", error)
            continue
        whole.replace(folder / file.name)
        return folder / file.name
    raise DownloadError(
        f"no source has {file.name}",
        found="; ".join(failures) or "no address that needs no login",
        remedy="type the command again later, it goes on with what has arrived; or get it by hand",
    )


def _from_source(
    url: str, file: FileEntry, arriving: Path, known: str | None, patience: RetryPolicy
) -> Path:
    """Return the whole file, or raise `_RefusedError` or, after all tries, `_InterruptedError`."""
    download = Resuming(arriving / f"{file.name}.part", file.size, known, patience)
    failed, corrupted = 0, False
    while True:
        before = download.size
        try:
            path = Path(pooch.retrieve(url, known, file.name, arriving, downloader=download))
            download.forget()
            if not (known or is_whole(path)):
                path.unlink()
                raise _RefusedError("has a file that is cut off, or of another kind")
            return path
        except InputError:  # no space; a ValueError, too
            raise
        except (InvalidSchema, InvalidURL, TooManyRedirects) as error:
            raise _RefusedError(f"leads nowhere: {error}") from None
        except (RequestException, HTTPError, _InterruptedError) as error:
            failed = 1 if download.size - before >= PROGRESS else failed + 1
            if failed >= patience.tries:
                raise _InterruptedError(_short(error)) from None
            log.info("  %s; trying again", _short(error))
            patience.rest(failed)
        except ValueError:  # pooch: not the hash it should have
            download.forget()
            if corrupted:
                raise _RefusedError(
                    "has another file than the listed one (the hash differs)"
                ) from None
            corrupted = True  # once, the line may have done it


def is_whole(path: Path) -> bool:
    """Return whether a file has its end, as far as its kind can tell."""
    if path.suffix == ".npy":
        try:
            np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError):
            return False
    if path.suffix in (".zip", ".tar", ".gz", ".tgz"):
        return archives.is_whole(path)
    return path.stat().st_size > 0


def _short(error: Exception) -> str:
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return re.sub(r"\s+", " ", str(cause))[:200] or type(cause).__name__


class Resuming:
    """A downloader for pooch that goes on with what has arrived.

    What has arrived lies in ``part``, with a note of where it came from beside it. When it is
    whole, the file that pooch asked for becomes another name of it.
    """

    def __init__(
        self, part: Path, expected: int | None, known: str | None, patience: RetryPolicy
    ) -> None:
        self.part, self.note = part, part.with_name(f"{part.name}.json")
        self.expected, self.known, self.patience = expected, known, patience
        self.session = requests.Session()  # knows http and https, so redirects lead nowhere else
        self.session.headers["Accept-Encoding"] = "identity"  # bytes as they are counted
        self.session.max_redirects = 10

    @property
    def size(self) -> int:
        """How many bytes have arrived."""
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        """Remove what has arrived."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Fetch ``url`` into ``output_file``; what pooch calls."""
        if not self.known or self.size != self.expected:  # else it has arrived, but wasn't checked
            self._go_on(url)
        target = Path(output_file)
        target.unlink(missing_ok=True)
        try:
            os.link(self.part, target)  # so that a kill while pooch checks it loses nothing
        except OSError:  # a file system without links
            self.part.replace(target)

    def _go_on(self, url: str) -> None:
        timeouts = (self.patience.connect, self.patience.stall)
        headers = self._asking(url)
        with self.session.get(url, headers=headers, stream=True, timeout=timeouts) as response:
            start, total = self._agreed(response)
            if response.status_code == TOO_FAR:  # nothing is left to send
                return
            require_space(self.part.parent, (total or 0) - start, f"download {self.part.stem}")
            sign = _sign(response)
            if start and headers.get("If-Range", sign) != sign:  # a server that doesn't heed it
                self.forget()
                raise _InterruptedError("has another file than the one that was begun")
            write_json(self.note, {"url": url, "sign": sign})
            self._copy(response, start, total)

    def _asking(self, url: str) -> dict[str, str]:
        """Return the headers that ask for the rest, if what has arrived is of the same file."""
        size = self.size
        if not size:
            return {}
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            note = {}
        sign = note.get("sign") if note.get("url") == url else None
        if not (sign or self.known):
            self.forget()
            return {}
        return {"Range": f"bytes={size}-"} | ({"If-Range": sign} if sign else {})

    def _agreed(self, response: requests.Response) -> tuple[int, int | None]:
        """Return from which byte on the answer is, and of how many, or None if it doesn't say."""
        _accept(response, self.part.stem, self.known)
        span = response.headers.get("Content-Range", "")
        length = response.headers.get("Content-Length")
        start, total = 0, int(length) if length and length.isdecimal() else None
        if response.status_code == PARTIAL:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", span)
            if not found or int(found[1]) != self.size:
                self.forget()
                raise _InterruptedError("sent another part than was asked for")
            start, total = int(found[1]), int(found[2])
        elif response.status_code == TOO_FAR:
            if span != f"bytes */{self.size}":
                self.forget()
                raise _InterruptedError("has a shorter file than what has arrived")
            start = total = self.size
        if total is not None and self.expected not in (None, total):
            raise _RefusedError(f"has another file: {total} bytes, not {self.expected}")
        chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
        if total is None and not (chunked or self.expected or self.known):
            raise _RefusedError("doesn't say how long the file is, so its end can't be told")
        return start, total if total is not None else self.expected

    def _copy(self, response: requests.Response, start: int, total: int | None) -> None:
        stall, size = self.patience.stall, start
        bar = tqdm(
            desc=self.part.stem,
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            disable=None,  # drawn on a terminal only
        )
        with space_checked(self.part), self.part.open("ab" if start else "wb") as file, bar:
            since, fresh = time.monotonic(), 0
            # read1 gives what is there; read would wait for a whole chunk, however slow it comes
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
                size, fresh = size + len(chunk), fresh + len(chunk)
                if total is not None and size > total:
                    break
                if time.monotonic() - since > stall:
                    if fresh < SLOWEST * stall:
                        raise _InterruptedError(f"stalled at {amount(size)}")
                    since, fresh = time.monotonic(), 0
        if total is not None and size > total:
            self.forget()
            raise _InterruptedError(f"sent more than the {total} bytes it promised")
        if total is not None and size < total:
            raise _InterruptedError(f"ended after {size} of {total} bytes")


def _sign(response: requests.Response) -> str | None:
    """Return what the server tells its versions of a file apart by, if it does."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _accept(response: requests.Response, name: str, known: str | None) -> None:
    """Refuse an answer that is not the file."""
    code = response.status_code
    if code in AGAIN or code >= 500:
        raise _InterruptedError(f"answers {code} {response.reason}")
    if code not in (OK, PARTIAL, TOO_FAR):
        raise _RefusedError(f"answers {code} {response.reason}")
    if "html" in response.headers.get("Content-Type", "") and not name.endswith(".html"):
        raise _RefusedError("answers with a web page, perhaps one to log in")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _RefusedError("sends the file in another form than asked for")
    first = response.history[0].url if response.history else response.url
    if not known and first.startswith("https:") and response.url.startswith("http:"):
        raise _RefusedError("leads to an address without encryption, and no hash is known")
