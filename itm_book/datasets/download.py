"""Resumable downloads from a list of sources, verified at the end.

The library pooch verifies and renames files; the downloader here adds resuming and timeouts.
Everything is written to the hidden folder ``.arriving`` beside the file, so that a file with its
final name is complete. A partial download survives a killed process; it is resumed only if it
must be of the same file: its hash is known, or the server confirms it (ETag, Last-Modified).

Page: "The data".
"""

from __future__ import annotations

import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests
from requests.exceptions import InvalidSchema, InvalidURL, RequestException, TooManyRedirects
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from itm_book.datasets import archives
from itm_book.datasets.registry import FileEntry
from itm_book.folders import amount, require_space
from itm_core.data.arrays import mapped
from itm_core.errors import InputError
from itm_core.files import put, space_checked
from itm_core.json_files import read_json, write_json

log = logging.getLogger(__name__)
pooch.get_logger().setLevel(logging.WARNING)  # this module logs the same, more briefly
ARRIVING = ".arriving"
CHUNK = 2**20
SLOWEST = 2**10  # bytes per second; below it a source counts as stalled
PROGRESS = 2**20  # bytes after which an interrupted attempt does not count as a failure
TEMPORARY = (408, 425, 429)  # besides 5xx: status codes that may change soon
PARTIAL, OK, TOO_FAR = 206, 200, 416


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Timeouts in seconds, and the number of failures in a row after which a source is left."""

    connect: float = 20
    stall: float = 60
    tries: int = 5
    pause: float = 1

    def wait(self, failures: int) -> None:
        """Wait after the given number of failures in a row, each time twice as long."""
        time.sleep(self.pause * 2 ** (failures - 1))


class DownloadError(InputError):
    """No source provided the complete file; the message has the error of each source."""


class _RefusedError(Exception):
    """A source does not have the file; trying again would not help."""


class _InterruptedError(Exception):
    """A source was interrupted, or is temporarily unavailable."""


def fetch(
    file: FileEntry, folder: Path, *, expected_hash: str | None, retry: RetryPolicy | None = None
) -> Path:
    """Return the path of the file in ``folder``, downloaded from the first source that has it.

    ``expected_hash`` is ``algorithm:digits``, or None when the hash is unknown. Raises
    `DownloadError` when no source has the file, `InputError` when there is no disk space.
    """
    retry = retry or RetryPolicy()
    arriving = folder / ARRIVING
    arriving.mkdir(parents=True, exist_ok=True)
    for temporary in arriving.glob("tmp*"):  # pooch's, of a process that was killed
        temporary.unlink()
    failures = []
    for url in file.sources:
        log.info("%s from %s", file.name, url)
        try:
            complete = _from_source(url, file, arriving, expected_hash, retry)
        except (_RefusedError, _InterruptedError) as error:
            failures.append(f"{url}: {error}")
            log.info("  %s", error)
            continue
        put(complete, folder / file.name)
        return folder / file.name
    raise DownloadError(
        f"no source has {file.name}",
        found="; ".join(failures) or "no address without a login",
        remedy="run the command again later, the download is resumed; or get the file manually",
    )


def _from_source(
    url: str, file: FileEntry, arriving: Path, expected_hash: str | None, retry: RetryPolicy
) -> Path:
    """Return the complete file; raises `_RefusedError` or, after all tries, `_InterruptedError`."""
    download = Resuming(arriving / f"{file.name}.part", file.size, expected_hash, retry)
    failures, corrupted = 0, False
    while True:
        before = download.size
        try:
            path = Path(
                pooch.retrieve(url, expected_hash, file.name, arriving, downloader=download)
            )
            download.forget()
            if not (expected_hash or is_complete(path)):
                path.unlink()
                raise _RefusedError("has a truncated file, or one of another type")
            return path
        except InputError:  # no space; a ValueError, too
            raise
        except (InvalidSchema, InvalidURL, TooManyRedirects) as error:
            raise _RefusedError(f"not a usable address: {error}") from None
        except (RequestException, HTTPError, _InterruptedError) as error:
            failures = 1 if download.size - before >= PROGRESS else failures + 1
            if failures >= retry.tries:
                raise _InterruptedError(_short(error)) from None
            log.info("  %s; trying again", _short(error))
            retry.wait(failures)
        except ValueError:  # pooch: not the expected hash
            download.forget()
            if corrupted:
                raise _RefusedError(
                    "has another file than the listed one (the hash differs)"
                ) from None
            corrupted = True  # once, the connection may be the cause


def is_complete(path: Path) -> bool:
    """Return whether a file is complete, as far as its type shows."""
    if path.suffix == ".npy":
        try:
            mapped(path)
        except InputError:
            return False
    if path.suffix in (".zip", ".tar", ".gz", ".tgz"):
        return archives.is_complete(path)
    return path.stat().st_size > 0


def _short(error: Exception) -> str:
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return re.sub(r"\s+", " ", str(cause))[:200] or type(cause).__name__


class Resuming:
    """A downloader for pooch that resumes a partial download.

    The received bytes are in ``part``, with a note of their source beside it. The complete file is
    then linked to the path that pooch expects.
    """

    def __init__(
        self, part: Path, expected_size: int | None, expected_hash: str | None, retry: RetryPolicy
    ) -> None:
        self.part, self.note = part, part.with_name(f"{part.name}.json")
        self.expected_size, self.expected_hash, self.retry = expected_size, expected_hash, retry
        self.session = requests.Session()  # http and https only, for redirects too
        self.session.headers["Accept-Encoding"] = "identity"  # Content-Length counts these bytes
        self.session.max_redirects = 10

    @property
    def size(self) -> int:
        """Number of bytes received so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        """Remove the received bytes."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Download ``url`` to ``output_file``; called by pooch."""
        if not self.expected_hash or self.size != self.expected_size:  # else only verify it
            self._resume(url)
        target = Path(output_file)
        target.unlink(missing_ok=True)
        try:
            os.link(self.part, target)  # a kill while pooch verifies it loses nothing
        except OSError:  # a file system without links
            self.part.replace(target)

    def _resume(self, url: str) -> None:
        timeouts = (self.retry.connect, self.retry.stall)
        headers = self._range_headers(url)
        with self.session.get(url, headers=headers, stream=True, timeout=timeouts) as response:
            start, total = self._span(response)
            if response.status_code == TOO_FAR:  # nothing is left to send
                return
            require_space(self.part.parent, (total or 0) - start, f"download {self.part.stem}")
            version = _version(response)
            if start and headers.get("If-Range", version) != version:  # ignored by the server
                self.forget()
                raise _InterruptedError("the file has changed since the download began")
            write_json(self.note, {"url": url, "sign": version})
            self._copy(response, start, total)

    def _range_headers(self, url: str) -> dict[str, str]:
        """Return the headers to request the remaining bytes; empty to start from the beginning."""
        size = self.size
        if not size:
            return {}
        try:
            note = read_json(self.note)
        except InputError:
            note = {}
        version = note.get("sign") if note.get("url") == url else None
        if not (version or self.expected_hash):
            self.forget()
            return {}
        return {"Range": f"bytes={size}-"} | ({"If-Range": version} if version else {})

    def _span(self, response: requests.Response) -> tuple[int, int | None]:
        """Return the first byte of the response and the file's size, None when it is unknown."""
        _accept(response, self.part.stem, self.expected_hash)
        span = response.headers.get("Content-Range", "")
        length = response.headers.get("Content-Length")
        start, total = 0, int(length) if length and length.isdecimal() else None
        if response.status_code == PARTIAL:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", span)
            if not match or int(match[1]) != self.size:
                self.forget()
                raise _InterruptedError("sent another part than the requested one")
            start, total = int(match[1]), int(match[2])
        elif response.status_code == TOO_FAR:
            if span != f"bytes */{self.size}":
                self.forget()
                raise _InterruptedError("has fewer bytes than were received")
            start = total = self.size
        if total is not None and self.expected_size not in (None, total):
            raise _RefusedError(f"has another file: {total} bytes, not {self.expected_size}")
        chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
        if total is None and not (chunked or self.expected_size or self.expected_hash):
            raise _RefusedError("does not send the size of the file, so it cannot be verified")
        return start, total if total is not None else self.expected_size

    def _copy(self, response: requests.Response, start: int, total: int | None) -> None:
        stall, size = self.retry.stall, start
        bar = tqdm(
            desc=self.part.stem,
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            disable=None,  # shown on a terminal only
        )
        with space_checked(self.part), self.part.open("ab" if start else "wb") as file, bar:
            window_start, window_bytes = time.monotonic(), 0
            # read1 returns the available bytes; read would wait for a whole chunk
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
                size, window_bytes = size + len(chunk), window_bytes + len(chunk)
                if total is not None and size > total:
                    break
                if time.monotonic() - window_start > stall:
                    if window_bytes < SLOWEST * stall:
                        raise _InterruptedError(f"stalled at {amount(size)}")
                    window_start, window_bytes = time.monotonic(), 0
        if total is not None and size > total:
            self.forget()
            raise _InterruptedError(f"sent more than the announced {total} bytes")
        if total is not None and size < total:
            raise _InterruptedError(f"ended after {size} of {total} bytes")


def _version(response: requests.Response) -> str | None:
    """Return what identifies the server's version of a file: ETag, Last-Modified, or None."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _accept(response: requests.Response, name: str, expected_hash: str | None) -> None:
    """Raise `_RefusedError` or `_InterruptedError` for a response that is not the file."""
    code = response.status_code
    if code in TEMPORARY or code >= 500:
        raise _InterruptedError(f"answers {code} {response.reason}")
    if code not in (OK, PARTIAL, TOO_FAR):
        raise _RefusedError(f"answers {code} {response.reason}")
    if "html" in response.headers.get("Content-Type", "") and not name.endswith(".html"):
        raise _RefusedError("answers with a web page, perhaps one to log in")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _RefusedError("sends the file in another encoding than requested")
    first = response.history[0].url if response.history else response.url
    if not expected_hash and first.startswith("https:") and response.url.startswith("http:"):
        raise _RefusedError("redirects to an address without encryption, and no hash is known")
