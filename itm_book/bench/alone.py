"""Measuring in a process of its own, so that no two measurements share a peak of memory."""

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


def answer(
    module: str,
    asked: object,
    *,
    what: str,
    remedy: str,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Return what ``python -m module ASKED`` prints; both are JSON.

    ``environment`` are variables that the process has beside those of this one.

    Raises `InputError` with the last line that a failing process complained, or with its status.
    """
    command = [sys.executable, "-m", module, json.dumps(asked)]
    variables = os.environ | dict(environment or {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        # killed for its memory, a process says nothing
        said = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise InputError("a benchmark ended early", found=f"{what}: {said[0]}", remedy=remedy)
    return json.loads(done.stdout)


def peak(device: torch.device) -> float:
    """Return the most bytes so far: what torch allocated (CUDA), or all of the process (CPU)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
