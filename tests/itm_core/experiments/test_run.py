"""What `load` takes for a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_core.errors import InputError
from itm_core.experiments.run import load


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no run\. Remedy: name the folder of a run"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"found a run that was interrupted\. Remedy: train it"):
        load(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match=r"configuration is damaged; .* train the run again"):
        load(tmp_path)
