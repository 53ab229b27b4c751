"""A server on the loopback that behaves as badly as it is told, for tests of downloads."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Loopback(ThreadingHTTPServer):
    """Serves ``files`` by path; each request takes the next of the path's ``moods``.

    The last mood stays. A mood is a status, an address to redirect to, or one of: whole, drop (the
    line breaks in the middle), short (an honest answer, of half the file), corrupt, stall, drip,
    deaf (knows no ranges), unsigned (no ETag), endless (no length), web (a page), long (four bytes
    more), astray (another part than asked for), packed (an encoding that nobody asked for),
    careless (heeds no If-Range).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.moods: dict[str, list[int | str]] = {}
        self.requests: list[tuple[str, str | None]] = []  # path, Range header
        self.over = threading.Event()

    def put(self, path: str, content: bytes, *moods: int | str) -> str:
        """Return the address of a file that is served from now on."""
        self.files[path], self.moods[path] = content, list(moods or ("whole",))
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, *_: object) -> None:  # a client that gave up is meant to
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Loopback

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        moods = self.server.moods[self.path]
        mood = moods.pop(0) if len(moods) > 1 else moods[0]
        self.close_connection = True
        if isinstance(mood, int):
            self.send_error(mood)
        elif "://" in mood:
            self.send_response(302)
            self.send_header("Location", mood)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
        else:
            self._send(mood, self.server.files[self.path])

    def _send(self, mood: str, content: bytes) -> None:
        sign = f'"{hashlib.sha256(content).hexdigest()}"'
        start = self._start(mood, sign)
        start += mood == "astray" and start > 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            return
        if mood == "short":
            content = content[: len(content) // 2]
        self._headers(mood, content, start, sign)
        body = content[start:]
        if mood == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        if mood == "long":
            body += b"more"
        if mood in ("drop", "stall"):
            body = body[: len(body) // 2]
        if mood != "drip":
            self.wfile.write(body)
        if mood == "stall":
            self.wfile.flush()
            self.server.over.wait(5)
        if mood == "drip":
            for letter in body:
                self.wfile.write(bytes([letter]))
                time.sleep(0.02)

    def _start(self, mood: str, sign: str) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        same = self.headers["If-Range"] in (None, sign) or mood == "careless"
        return int(asked[1]) if asked and same and mood != "deaf" else 0

    def _headers(self, mood: str, content: bytes, start: int, sign: str) -> None:
        self.send_response(206 if start else 200)
        if start:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", span)
        if mood != "endless":
            self.send_header("Content-Length", str(len(content) - start + 4 * (mood == "long")))
        if mood != "unsigned":
            self.send_header("ETag", sign)
        if mood == "packed":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", "text/html" if mood == "web" else "application/binary")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Loopback]:
    """Give a server that is closed afterwards."""
    with Loopback() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
