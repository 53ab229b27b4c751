"""What the system refuses: memory, standard streams, the home and working folders, names."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from itm_core.cli import main
from tests.micro import write_dataset

ENTRY = "from itm_core.cli import entry; entry()"
ITM = f"{sys.executable} -c '{ENTRY}'"
MEMORY = {
    "numpy": MemoryError("Unable to allocate 1.00 PiB for an array with shape (2, 3)"),
    "torch": RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes"
    ),
    "cuda": RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "python": MemoryError(),
    "system": OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    "library": ImportError("libtorch.so: failed to map segment from shared object"),
}
ASKED = {"numpy": "1.00 PiB", "torch": "7 bytes", "cuda": "2.00 GiB"}


@pytest.mark.parametrize("kind", MEMORY)
def test_too_little_memory_is_one_line(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise MEMORY[kind]

    monkeypatch.setattr("itm_core.experiments.run_list.listed", fail)
    assert main(["runs"]) == 2
    found = f"; found {ASKED[kind]} asked for at once" if kind in ASKED else ""
    error = capsys.readouterr().err
    assert error.startswith(f"itm: not enough memory{found}. Remedy: ")
    assert "ulimit -v" in error


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("micro") / "data" / "micro")


GONE = "itm: the working folder: no such file or folder"
# what the shell does, the exit code, and what standard error has
SHELL = {
    "output is full": ("{itm} recipes > /dev/full", 2, "itm: no space left"),
    "output is closed": ("{itm} recipes >&-", 0, ""),
    "output ends early": ("{itm} recipes | true; exit ${{PIPESTATUS[0]}}", 141, ""),
    "both are closed": ("{itm} runs --root /dev/null/x >&- 2>&-", 0, ""),
    "both are full": ("{itm} recipes > /dev/full 2> /dev/full", 2, ""),
    "errors are closed": ("{itm} check nothing 2>&-", 2, ""),
    "errors are full": ("{itm} check nothing 2> /dev/full", 2, ""),
    "input is closed": ("{itm} check {data} <&-", 0, ""),
    "little memory": ("ulimit -v 50000; {itm} check {data}", 2, "itm: not enough memory"),
    "ascii alone": ("LC_ALL=C PYTHONUTF8=0 {itm} check $'\\xe5\\x9b\\xbe'", 2, "itm: "),
    "ascii output": ("PYTHONIOENCODING=ascii {itm} check $'图 片'", 2, "\\u7247/train_ims.npy: no"),
    "bytes": ("{itm} check $'\\xff'", 2, "itm: argument DATASET: expected the name of a file"),
    "no terminal": ("env -u TERM -u HOME {itm} check {data}", 0, ""),
    "no home": ("HOME=/nonexistent {itm} check {data}", 0, ""),
    "read-only caches": ("HOME=/proc MPLCONFIGDIR=/proc {itm} check {data}", 0, ""),
    "no working folder": ("{gone} {itm} check {data}", 2, GONE),
    "nor a dataset": ("{gone} {itm} check x", 2, GONE),
    "nor runs": ("{gone} {itm} runs", 2, GONE),
    "nor a place": ("{gone} {itm} scenes --preset tiny", 2, GONE),
    "processes": ("WORLD_SIZE=abc {itm} train --dataset {data} --recipe x", 2, "WORLD_SIZE"),
    "no rank": ("WORLD_SIZE=2 {itm} train --dataset {data} --recipe x", 2, "RANK"),
}
QUICK = ("output is full", "little memory", "bytes", "errors are full")  # each takes seconds


@pytest.mark.parametrize(
    "case", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in SHELL]
)
def test_a_bad_environment_is_no_traceback(case: str, micro: Path, tmp_path: Path) -> None:
    shell, code, error = SHELL[case]
    done = subprocess.run(
        ["bash", "-c", shell.format(itm=ITM, data=micro, gone="mkdir g && cd g && rmdir ../g &&")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert error in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("itm:")]
    assert len(lines) == bool(error), done.stderr
    assert "Traceback" not in done.stderr
