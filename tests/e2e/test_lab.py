"""JupyterLab opens the newcomer's notebook and can run it."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from playwright.sync_api import Browser

from tests.tiny_book import PROJECT

pytestmark = pytest.mark.e2e
START_LIMIT = 60  # seconds


@pytest.fixture
def lab(tmp_path: Path, browser: Browser) -> Iterator[tuple[str, str]]:
    """Address and token of a JupyterLab on a copy of the notebooks, on this machine alone."""
    shutil.copytree(PROJECT / "notebooks", tmp_path / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, address = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    own = {
        f"{name}": str(tmp_path / "jupyter" / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    }
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    options += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    options += [f"--ServerApp.root_dir={tmp_path}", f"--IdentityProvider.token={token}"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=os.environ | own,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(f"{address}/api?token={token}", server, tmp_path / "lab.log")
        yield address, token
    finally:
        server.terminate()
        server.wait(30)


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_LIMIT
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (URLError, ConnectionError):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)


def test_first_match_opens_and_has_a_kernel(browser: Browser, lab: tuple[str, str]) -> None:
    address, token = lab
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if r.url.startswith("http") else None)
    page.goto(f"{address}/lab/tree/notebooks/first_match.ipynb?token={token}")
    page.wait_for_selector(".jp-Notebook .jp-MarkdownCell h1", timeout=60_000)
    assert page.locator(".jp-Notebook .jp-CodeCell").count() > 0
    page.wait_for_selector(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status=idle]")
    assert not [url for url in asked if not url.startswith(address)]
    page.close()
