"""Measurements in a separate process, so that no two of them share a peak of memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import torch

from itm_core.errors import InputError


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
    command = [sys.executable, "-m", module, json.dumps(argument)]
    variables = os.environ | dict(environment or {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        # a process that was killed for its memory prints nothing
        reason = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise InputError("a benchmark ended early", found=f"{label}: {reason[0]}", remedy=remedy)
    return json.loads(done.stdout)


def peak_bytes(device: torch.device) -> float:
    """Return the peak memory in bytes: allocated by torch (CUDA), or of the process (CPU)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
