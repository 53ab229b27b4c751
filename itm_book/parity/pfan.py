"""PFAN's models: SCAN's over regions that know where they are, as its release computes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from itm_book.parity.format import Difference, Stored
from itm_book.parity.models import Settings, compare_model, load, scan_settings
from itm_book.parity.names import ENCODERS, RULES
from itm_core.errors import InputError
from itm_core.models import Attending

RULES["pfan"] = (
    (r"^img_enc\.position_embedding\.", "regions.positions.table."),
    (r"^img_enc\.fc_att\.", "regions.positions.query."),
    *ENCODERS,
)


def pfan_settings(c: Mapping[str, Any]) -> Settings:
    """Return PFAN's settings from its options: SCAN's, positions, and words' bonus."""
    encoder, matcher, regulator = scan_settings(c)
    return (
        encoder.replace(positions="released"),
        matcher.replace(max_attention_bonus=matcher.direction == "t2i"),
        regulator,
    )


def check_pfan(stored: Stored) -> Iterator[Difference]:
    """Yield the difference of every number of a PFAN model.

    Raises `InputError` for an option, an input or a weight that ours does not have.
    """
    features = torch.cat([stored.tensor("inputs/images"), stored.tensor("inputs/boxes")], -1)
    try:
        encoder, settings, _ = pfan_settings(stored.config)
        words = stored.config["vocab_size"]
    except KeyError as error:
        raise InputError("unknown or missing option", file=stored.path, found=error) from None
    matcher = Attending(features.shape[2], words, encoder, settings)
    load(matcher, stored, "pfan")
    matcher.eval()
    ids, lens = stored.tensor("inputs/captions"), stored.tensor("inputs/lengths")
    yield from compare_model(
        stored, matcher, matcher.regions(features), matcher.words(ids, lens), "pfan"
    )
