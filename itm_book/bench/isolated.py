"""Measurements in a separate process, so that no two of them share a peak of memory."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from subprocess import PIPE
from typing import Any

import torch

from itm_core.errors import InputError
from itm_core.parallel import WATCHED, start_program


def run_isolated(
    module: str,
    argument: object,
    *,
    label: str,
    remedy: str,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Return what ``python -m module ARGUMENT`` prints; argument and result are JSON.

    Args:
        label: names the measurement in error messages.
        remedy: what the user can do when it fails.
        environment: variables added to those of this process.

    Raises `InputError` with the last line of stderr of a failed process, or with its exit status.
    """
    program = f"{WATCHED}import runpy; runpy.run_module({module!r}, run_name='__main__')"
    arguments = ["-c", program, json.dumps(argument)]
    process = start_program(arguments, environment, stdout=PIPE, stderr=PIPE)
    try:
        printed, errors = process.communicate()
    finally:
        process.kill()
    if process.returncode:
        # a process that was killed for its memory prints nothing
        lines = errors.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"status {process.returncode}"
        raise InputError("a benchmark ended early", found=f"{label}: {reason}", remedy=remedy)
    return json.loads(printed)


def peak_bytes(device: torch.device) -> float:
    """Return the peak memory in bytes: allocated by torch (CUDA), or of the process (CPU)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
