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

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Locator, Page, TimeoutError

from itm_book.pairs.pair_records import PairRecord
from itm_book.search.searcher import Searcher
from tests import scenes_pair
from tests.e2e.conftest import Keep
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
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # a kernel that is still starting may hold it up
            server.kill()
            server.wait()


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


FIRST, TYPED = "a red ball", "a blue giraffe on the grass"
LIVE = """
from pathlib import Path
from itm_core.data.dataset import load_dataset
from itm_book.explorer import explorer_widget, gallery_widget
from itm_core.experiments.runs import all_runs
from ipywidgets import VBox
place = Path({place!r})
runs = {{run.recipe.name: run for run in all_runs(place / "runs")}}
split = load_dataset(place / "scenes-tiny").test
one = {{"SCAN": runs["scan-t2i-mean-smoke"]}}
pair = explorer_widget.live(runs, split, image=1, caption=2)
VBox([pair, gallery_widget.live(one, split, sentence={sentence!r})])
"""


def run_first_cell(page: Page) -> None:
    """Run a notebook's first cell, again until it runs: a kernel that looks idle may not listen."""
    started = "document.querySelector('.jp-CodeCell .jp-InputPrompt').innerText.trim() !== '[ ]:'"
    for _ in range(20):
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Control+Enter")
        try:
            page.wait_for_function(started, timeout=3000)
        except TimeoutError:
            continue
        return
    raise AssertionError("the cell did not start")


def test_explorer_and_gallery_are_alive(
    browser: Browser, lab: tuple[str, str], tmp_path: Path, keep: Keep
) -> None:
    address, token = lab
    first, second = scenes_pair.records(tmp_path, "rcar-t2i", "scan-t2i-mean")
    cell = new_code_cell(LIVE.format(place=str(tmp_path), sentence=FIRST))
    notebook = new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "live.ipynb")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked, complaints = [], []
    page.on("request", lambda r: asked.append(r.url) if r.url.startswith("http") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{address}/lab/tree/live.ipynb?token={token}")
    page.wait_for_selector(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status=idle]")
    run_first_cell(page)
    root = page.locator(".itm-explorer")
    root.wait_for(timeout=90_000)
    assert f"score {first.score:.3f}" in root.locator(".title").first.inner_text()
    word = int(first.directions[0].weights[-1].max(1).argmax())
    root.locator(f"[data-word='{word}']").hover()
    region = int(first.directions[0].weights[-1][word].argmax())
    marked = root.locator("[data-marked][data-rank='1']").first.get_attribute("data-marked")
    assert marked == str(region)
    keep(page, "lab-explorer")
    check_touching(page, root, first)
    page.get_by_label("method").first.select_option("scan-t2i-mean-smoke")
    page.wait_for_function(
        "score => document.querySelector('.itm-explorer .title').innerText.includes(score)",
        arg=f"score {second.score:.3f}",
    )
    check_typing(page, tmp_path)
    keep(page.locator(".itm-gallery"), "lab-gallery")
    page.set_viewport_size({"width": 640, "height": 900})
    page.wait_for_timeout(300)
    for seen in (root, page.locator(".itm-gallery")):
        assert seen.evaluate("one => one.scrollWidth <= one.clientWidth + 1")
    assert not complaints
    assert not [url for url in asked if not url.startswith(address)]
    page.close()


def check_touching(page: Page, root: Locator, record: PairRecord) -> None:
    """Pin, step, export and clear in the live explorer; what is drawn is what the record says."""
    side, last = record.directions[0], len(record.pair.words) - 1
    root.locator("[data-word]").first.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert root.locator(f"[data-word='{last}']").get_attribute("aria-pressed") == "true"
    for step, weights in enumerate(side.weights):
        root.locator("input[type='range']").fill(str(step))
        marked = root.locator(".panel").first.locator("[data-marked][data-rank='1']")
        assert marked.get_attribute("data-marked") == str(weights[last].argmax())
    shares = root.locator(".panel").first.locator(".bar[data-of='contribution']")
    values = shares.evaluate_all("all => all.map(one => Number(one.dataset.value))")
    assert sum(values) == pytest.approx(record.score, abs=1e-5)
    with page.expect_download() as waiting:
        root.get_by_role("button", name="Save as SVG").click()
    assert waiting.value.suggested_filename.endswith(".svg")
    root.locator("[data-word]").first.focus()
    page.keyboard.press("Escape")
    assert root.locator("[aria-pressed='true']").count() == 0


def check_typing(page: Page, folder: Path) -> None:
    """Type a sentence into the gallery; the ranking is that of the model."""
    run, split = scenes_pair.trained(folder, "scan-t2i-mean"), scenes_pair.scenes(folder)
    search = Searcher(run, split)
    for sentence in (FIRST, TYPED):
        line = page.get_by_label("sentence")
        if sentence == TYPED:
            line.fill(TYPED)
            line.press("Enter")
        page.locator(".itm-gallery .query [data-word]").nth(1).get_by_text(
            sentence.split()[1]
        ).wait_for()
        found = search.images_for(sentence)
        shown = page.locator(".itm-gallery li .picture").evaluate_all(
            "all => all.map(one => one.getAttribute('aria-label'))"
        )
        assert shown == [f"image {hit.record.pair.image}" for hit in found.hits]
    assert page.locator(".itm-gallery .unknown").all_inner_texts() == ["giraffe"]
