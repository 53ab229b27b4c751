"""Versions, device and commit that are recorded with every number."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from itm_core.errors import InputError, did_you_mean
from itm_core.parallel import cores
from itm_core.settings import instance

log = logging.getLogger(__name__)

ACCELERATORS = ("cuda", "mps", "xpu")  # in the order in which ``auto`` takes them
PACKAGES = (
    *("itm-core", "torch", "numpy", "pandas", "jupyter-book", "papermill", "jupyterlab"),
    "faiss-cpu",
)
# paths of the repository that no number depends on; recording results changes the first
NO_CODE = ("data/results", "book", "tests", "*.md")
STATUS = ("--no-optional-locks", "status", "--porcelain")  # parallel runs take no lock
GIT_SECONDS = 120  # a status takes more than ten where the disk is busy
# of mallopt(3): its number, and the value in bytes; 32 MiB is the largest threshold it accepts
MALLOC_OPTIONS = {"MMAP_THRESHOLD": (-3, 1 << 25), "TRIM_THRESHOLD": (-1, (1 << 31) - 1)}


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``: ``auto``, ``cpu``, or one of torch's, such as ``cuda:1``.

    ``auto`` is the first of `ACCELERATORS` that is there, else the CPU. Raises `InputError` for a
    device that does not exist.
    """
    instance("device", name, str)
    if name == "auto":
        return torch.device(next(filter(device_count, ACCELERATORS), "cpu"))
    known = ("auto", "cpu", *ACCELERATORS)
    try:
        device = torch.device(name)
        count = device_count(device.type)
    except RuntimeError:
        raise InputError(
            "unknown device",
            expected=f"{', '.join(known)}, or one with its number, such as cuda:1",
            found=name,
            remedy=did_you_mean(name, known),
        ) from None
    if (device.index or 0) >= count:
        there = [kind for kind in known[1:] if device_count(kind)]
        raise InputError(
            "this machine has no such device, or torch was built without it",
            expected=f"auto, {', '.join(there)}",
            found=name,
            remedy="use device auto or cpu"
            + ("" if count else f", or install a build of torch for {device.type}"),
        )
    return device


def device_count(kind: str) -> int:
    """Return how many devices of a kind are there and can be used by this build of torch.

    Raises RuntimeError for a kind that torch does not know.
    """
    if kind == "cpu":
        return 1
    try:
        module = torch.get_device_module(kind)
    except RuntimeError:  # known to torch, and nothing of this build is on it
        torch.device(kind)
        return 0
    return module.device_count() if module.is_available() else 0


@cache
def has_float64(device: torch.device) -> bool:
    """Return whether tensors of a device can be float64; those of Apple's GPUs cannot."""
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError, NotImplementedError):
        return False
    return True


def exact(tensor: Tensor) -> Tensor:
    """Return a tensor in float64; on the CPU where its own device has none."""
    return tensor.double() if has_float64(tensor.device) else tensor.cpu().double()


def free_bytes(device: torch.device) -> int:
    """Return how many bytes of a device's own memory are free; 0 where it does not say so."""
    if device.type == "cpu":
        return 0
    ask = getattr(torch.get_device_module(device.type), "mem_get_info", None)
    return ask(device)[0] if ask is not None else 0


def random_state(device: torch.device, state: Tensor | None = None) -> Tensor | None:
    """Return the state of a device's random numbers, after setting it; None for the CPU."""
    if device.type == "cpu":
        return None
    module = torch.get_device_module(device.type)
    where = () if device.type == "mps" else (device,)  # it has a single device
    if state is not None:
        module.set_rng_state(state.cpu(), *where)
    return module.get_rng_state(*where)


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
    name = _processor() if device.type == "cpu" else _name(device)
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "system": platform.platform(terse=True),
        "device": device.type,
        "device_name": name,
        "cores": cores(),  # of the machine those that this process may use
        "threads": torch.get_num_threads(),
        "processes": processes,
        "commit": current_commit(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _name(device: torch.device) -> str:
    """Return the name of an accelerator: its maker's where torch has it."""
    ask = getattr(torch.get_device_module(device.type), "get_device_name", None)
    return ask(device) if ask is not None else f"{_processor()}, {device.type}"


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
    checkout of something else; and, with a warning, where git does not answer in `GIT_SECONDS`.
    """
    excluded = [f":(top,exclude){path}" for path in NO_CODE]
    try:
        _git("ls-files", "--error-unmatch", "--", Path(__file__).name)
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git(*STATUS, "--untracked-files=no", "--", ":/", *excluded)
        untracked = _git(*STATUS, "--untracked-files=all", "--", "*.py")
    except subprocess.TimeoutExpired:
        log.warning(
            "git did not answer in %d seconds: the commit of the code is unknown, and a run that "
            "starts now cannot be recorded",
            GIT_SECONDS,
        )
        return None
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed or untracked else "")


def _git(*words: str) -> str:
    process = subprocess.run(
        ["git", *words],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=GIT_SECONDS,
        check=True,
    )
    return process.stdout.strip()


keep_freed_memory()  # training and scoring import this module
