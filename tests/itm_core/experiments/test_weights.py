"""Weights on disk: what was saved comes back, and who may not read it is told so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from itm_core.errors import InputError
from itm_core.experiments import recipes, weights
from itm_core.experiments.weights import load_matcher, save_matcher
from itm_core.models import Matcher
from tests.micro import SMALL
from tests.rights import closed


def matcher(seed: int = 0) -> Matcher:
    torch.manual_seed(seed)
    return recipes.get("scan-t2i-mean").replace(*SMALL).build(11, 20, 4)


def test_weights_come_back(tmp_path: Path) -> None:
    saved = matcher()
    save_matcher(saved, tmp_path / "best.safetensors")
    read = load_matcher(tmp_path / "best.safetensors", matcher(1))
    assert not read.training
    for name, weight in saved.state_dict().items():
        assert torch.equal(weight, read.state_dict()[name])


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_weights_have_the_mode_of_any_new_file(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        save_matcher(matcher(), tmp_path / "best.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "best.safetensors").stat().st_mode & 0o777 == mode


def no_memory(path: Path) -> None:
    raise RuntimeError("unable to mmap 4266160 bytes: Cannot allocate memory (12)")


def test_a_file_that_may_not_be_read_is_not_called_missing(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_matcher(matcher(), path)
    fresh = matcher(1)
    with (
        closed(path),
        pytest.raises(InputError, match=r"best\.safetensors: may not be read"),
    ):
        load_matcher(path, fresh)
    with pytest.raises(InputError, match="checkpoint not found.*train the run again"):
        load_matcher(tmp_path / "absent.safetensors", fresh)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "load_file", no_memory)
        with pytest.raises(InputError, match="not enough memory.*close other programs") as told:
            load_matcher(path, fresh)
    assert "delete" not in str(told.value)
    path.write_bytes(b"half")
    with pytest.raises(InputError, match="does not fit.*train the run again"):
        load_matcher(path, fresh)
    with pytest.raises(InputError, match=r"does not fit.*delete .* and import it again"):
        load_matcher(path, fresh, again="import it again")
