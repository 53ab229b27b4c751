"""Where a number was made: versions, device, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from itm_core.errors import InputError

PACKAGES = (
    *("itm-core", "torch", "numpy", "pandas", "jupyter-book", "papermill", "jupyterlab"),
    "faiss-cpu",
)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    ``auto`` takes a GPU when there is one. Raises `InputError` for a device that isn't there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError("unknown device", expected="auto, cpu, cuda or cuda:N", found=name)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise InputError(
            "this device isn't there",
            expected=f"one of {count} CUDA devices",
            found=name,
            remedy="use device auto or cpu, or install a CUDA build of torch",
        )
    return device


def describe(device: torch.device, processes: int = 1) -> dict[str, object]:
    """Return versions, machine, device, how many processes, and commit, ready for JSON."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "system": platform.platform(terse=True),
        "device": device.type,
        "device_name": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "commit": _commit(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit of the source tree, with ``+`` when it has uncommitted changes.

    Recorded results don't count: a record grows row by row, all of them from the same source.
    """
    here = Path(__file__).parent
    changed = ["status", "--porcelain", "-uno", "--", ":/", ":(top,exclude)data/results"]
    try:
        said = [
            subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True
            ).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], changed)
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return said[0] + ("+" if said[1] else "")
