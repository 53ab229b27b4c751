"""Encoders that cannot be imported are refused by their name, whatever the options are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.itm_book.checkpoints.test_importing import refused, with_weights, write


def test_bert_is_refused_by_its_option(tmp_path: Path) -> None:
    case = "chan_model_gru_selfattn_vha_lse_equal"
    path = write(tmp_path / "model.pth", case, text_enc_type="bert")
    refused(path, "a BERT encoder cannot be imported")


@pytest.mark.parametrize(
    ("part", "name", "message"),
    [
        (1, "bert.embeddings.word_embeddings.weight", "a BERT encoder cannot.* with a GRU"),
        (0, "cnn.module.layer1.0.conv1.weight", "a CNN encoder cannot.*precomputed features"),
        (0, "backbone.top_down.layer1.weight", "a CNN encoder cannot be imported"),
    ],
)
def test_other_encoders_are_refused_by_their_weights(
    part: int, name: str, message: str, tmp_path: Path
) -> None:
    refused(with_weights(tmp_path / "model.pth.tar", part, {name: torch.zeros(2)}), message)


def test_a_message_names_the_first_of_many_weights(tmp_path: Path) -> None:
    changes = {f"layer{k}.weight": torch.zeros(2) for k in range(30)}
    path = with_weights(tmp_path / "model.pth.tar", 0, changes)
    refused(path, r"layer4\.weight: has no place.*; and 25 more; .*30 without a place, 0 missing")
