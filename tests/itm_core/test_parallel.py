"""One function of many tasks, in several processes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from itm_core.errors import InputError
from itm_core.parallel import run_parallel


def write(folder: Path, task: int) -> tuple[int, int]:
    if task == 1:
        raise InputError("one is refused")
    (folder / str(task)).touch()
    return task, torch.get_num_threads()


def test_results_come_in_order_and_an_error_stops_no_other_task(tmp_path: Path) -> None:
    results = run_parallel(
        partial(write, tmp_path), [0, 1, 2, 3], workers=2, threads=1, progress=False
    )
    assert next(results) == (0, 1)
    with pytest.raises(InputError, match="one is refused"):
        next(results)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2", "3"]
