"""One cell of a batch: its notebook, its errors, its GPU."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from itm_book.batch import experiment
from itm_book.batch.experiment import claim_gpu, error_of
from itm_book.batch.notebook_runner import NotebookError
from itm_core.errors import InputError
from tests.itm_book.batch.stand_in import wait_for, write_notebook

DEAD = r"x\.ipynb: .* DeadKernelError: .*out of memory.*fewer --workers"


def test_a_kernel_that_dies_is_reported(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "x.ipynb", "import os\nos._exit(1)")
    with pytest.raises(NotebookError, match=DEAD):
        experiment.run_cell(notebook, tmp_path / "run", {})
    assert error_of(tmp_path / "run").startswith("DeadKernelError: ")
    assert not list((tmp_path / "run").glob(".*.ipynb"))


def test_a_cell_waits_for_whoever_trains_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def execute(_notebook: Path, place: Path, _parameters: object, **_: object) -> None:
        events.append("executed")
        place.touch()

    def train() -> None:
        with FileLock(tmp_path / ".lock"):
            events.append("training")
            time.sleep(0.5)
            events.append("trained")

    monkeypatch.setattr(experiment, "run_notebook", execute)
    threading.Thread(target=train).start()
    wait_for(lambda: events)
    for _ in range(2):  # what is there is not executed again
        experiment.run_cell(tmp_path / "x.ipynb", tmp_path, {})
    assert events == ["training", "trained", "executed"]


def test_a_cell_without_its_notebook_says_so_in_its_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="notebook not found"):
        experiment.run_cell(tmp_path / "x.ipynb", tmp_path / "run", {})
    assert "notebook not found" in error_of(tmp_path / "run")


# --- GPUs --------------------------------------------------------------------------------------


def test_every_cell_claims_a_gpu_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    held: list[str | None] = []
    third = threading.Event()

    def claim() -> None:
        with claim_gpu(2, tmp_path) as name:
            held.append(name)
            third.wait(5)

    first, second = threading.Thread(target=claim), threading.Thread(target=claim)
    first.start()
    wait_for(lambda: len(held) == 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.delenv(
        "CUDA_VISIBLE_DEVICES"
    )  # a cell is a process, with an environment of its own
    second.start()
    wait_for(lambda: len(held) == 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    waiting = threading.Thread(target=claim)
    waiting.start()
    time.sleep(0.5)
    assert held == ["0", "1"]
    third.set()
    for thread in (first, second, waiting):
        thread.join(5)
    assert held[2] in ("0", "1")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_claims_keep_to_the_gpus_that_are_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-abc,5")
    with (
        claim_gpu(2, tmp_path) as one,
        FileLock(tmp_path / "never.lock"),
    ):
        assert (one, os.environ["CUDA_VISIBLE_DEVICES"]) == ("GPU-abc", "GPU-abc")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-abc,5"
    with claim_gpu(0, tmp_path) as none:
        assert none is None


def test_the_locks_of_gpus_are_in_a_folder_of_this_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "../../x")
    for _ in range(2):
        with claim_gpu(1) as name:
            assert name == "../../x"
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["..%2F..%2Fx.lock"]


@pytest.mark.parametrize("kind", ["a link", "another user's", "open to all", "a file"])
def test_a_folder_that_someone_else_put_there_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment.tempfile, "gettempdir", lambda: str(tmp_path))
    folder, user = tmp_path / f"itm-gpus-{os.getuid()}", os.getuid()
    if kind == "a link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    elif kind == "a file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod(0o777 if kind == "open to all" else 0o700)
    if kind == "another user's":
        monkeypatch.setattr(experiment.os, "getuid", lambda: user + 1)
        folder.rename(tmp_path / f"itm-gpus-{user + 1}")
    with pytest.raises(InputError, match="not a folder of this user alone"), claim_gpu(1):
        pass
    assert not list((tmp_path / "elsewhere").glob("*"))
