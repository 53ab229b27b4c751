"""Versions, device and commit that are recorded with every number."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from itm_core.errors import InputError
from itm_core.settings import instance

PACKAGES = (
    *("itm-core", "torch", "numpy", "pandas", "jupyter-book", "papermill", "jupyterlab"),
    "faiss-cpu",
)
# paths of the repository that no number depends on; recording results changes the first
NO_CODE = ("data/results", "book", "tests", "*.md")
STATUS = ("--no-optional-locks", "status", "--porcelain")  # parallel runs take no lock
# of mallopt(3): its number, and the value in bytes; 32 MiB is the largest threshold it accepts
MALLOC_OPTIONS = {"MMAP_THRESHOLD": (-3, 1 << 25), "TRIM_THRESHOLD": (-1, (1 << 31) - 1)}


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    ``auto`` is a GPU if there is one. Raises `InputError` for a device that does not exist.
    """
    instance("device", name, str)
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
            "this device does not exist",
            expected=f"one of {count} CUDA devices",
            found=name,
            remedy="use device auto or cpu, or install a CUDA build of torch",
        )
    return device


def keep_freed_memory() -> bool:
    """Let the C library keep the memory of freed tensors, and return whether it does.

    A step of training frees and makes the same tensors again; by default their pages go back to
    the system and are cleared anew each time, a tenth of a step and a fifth of RCAR's scoring.
    Nothing is changed where the user has set ``MALLOC_*``, or for another C library than glibc.
    """
    chosen = any(f"MALLOC_{name}_" in os.environ for name in MALLOC_OPTIONS)
    if chosen or "GLIBC_TUNABLES" in os.environ or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(number, value) for number, value in MALLOC_OPTIONS.values())


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
        "commit": current_commit(),
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


def current_commit() -> str | None:
    """Return the commit of this package's source tree, with ``+`` when code has changed since.

    Changes are those of tracked files except `NO_CODE`, and untracked modules of the package.
    None where the package is in no commit: outside a git checkout, or installed below the
    checkout of something else.
    """
    excluded = [f":(top,exclude){path}" for path in NO_CODE]
    try:
        _git("ls-files", "--error-unmatch", "--", Path(__file__).name)
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git(*STATUS, "--untracked-files=no", "--", ":/", *excluded)
        untracked = _git(*STATUS, "--untracked-files=all", "--", "*.py")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed or untracked else "")


def _git(*words: str) -> str:
    process = subprocess.run(
        ["git", *words],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return process.stdout.strip()


keep_freed_memory()  # training and scoring import this module
