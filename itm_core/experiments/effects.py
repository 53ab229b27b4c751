"""Which settings have an effect only with others: without those a change of them is refused.

It would train the same matcher again as another run.

Page: "Add your own regulator", "Batches".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from itm_core.encoders.region_blocks import REGION_BLOCKS
from itm_core.errors import InputError
from itm_core.models.aggregation import AGGREGATIONS
from itm_core.regulators import RAR, REGULATORS, Memory, RegulatorSettings
from itm_core.settings import Settings

Parts = Mapping[str, Settings]  # of a recipe, by name


class Need(NamedTuple):
    """What a setting needs to have an effect: a test of the recipe, and its text."""

    met: Callable[[Parts], bool]
    text: str


def _setting(part: str, key: str, *values: object) -> Need:
    """Return the need of one of some values of another setting."""

    def met(parts: Parts) -> bool:
        """Return whether the other setting has one of the values."""
        return getattr(parts[part], key, None) in values

    return Need(met, f"{part}.{key}={' or '.join(map(str, values))}")


def _regulator(text: str, *kinds: type) -> Need:
    """Return the need of a built-in regulator of some kinds; those of users take all settings."""

    def met(parts: Parts) -> bool:
        """Return whether the regulator reads the setting."""
        settings = parts["regulator"]
        assert isinstance(settings, RegulatorSettings)
        regulator = REGULATORS.get(settings.kind)
        if regulator is None:
            return False
        return issubclass(regulator, kinds) or regulator.__module__ != RAR.__module__

    return Need(met, text)


def _positive(part: str, *keys: str) -> Need:
    """Return the need of another setting above zero."""

    def met(parts: Parts) -> bool:
        """Return whether one of the other settings is above zero."""
        return any(getattr(parts[part], key) > 0 for key in keys)

    return Need(met, " or ".join(f"{part}.{key} above 0" for key in keys))


def _aggregates(parts: Parts) -> bool:
    """Return whether the matcher aggregates: a regulator that pools scores in its place."""
    settings = parts["regulator"]
    assert isinstance(settings, RegulatorSettings)
    return not (settings.active and REGULATORS[settings.kind].pools)


BLOCKS = [name for name in REGION_BLOCKS if name != "linear"]
SOFT = _setting("matcher", "attention", "soft")
GRU = _setting("encoder", "text_encoder", "gru")
HINGE = _setting("loss", "kind", "hinge")
CCR, CCS = _positive("constraints", "ccr"), _positive("constraints", "ccs")
CONSTRAINED = _positive("constraints", "ccr", "ccs")
POOLING = _regulator("regulator.kind=rar or rcar", RAR)
AGGREGATED = Need(_aggregates, "no regulator that pools (rar, rcar), which scores by itself")
NEEDS: dict[str, tuple[Need, ...]] = {
    **dict.fromkeys(("encoder.word_width", "encoder.gru_layers", "encoder.bidirectional"), (GRU,)),
    **dict.fromkeys(("encoder.word_init", "encoder.word_dropout"), (GRU,)),
    "encoder.bert": (_setting("encoder", "text_encoder", "bert"),),
    "encoder.mask_regions": (_setting("encoder", "region_encoder", *BLOCKS),),
    **dict.fromkeys(("matcher.normalisation", "matcher.attention_temperature"), (SOFT,)),
    "matcher.alignment": (SOFT, _setting("matcher", "aggregation", *AGGREGATIONS), AGGREGATED),
    "matcher.aggregation": (AGGREGATED,),
    "matcher.lse_temperature": (_setting("matcher", "aggregation", "LSE", "softmax"), AGGREGATED),
    "matcher.lse_scaled": (_setting("matcher", "aggregation", "LSE"), AGGREGATED),
    # max_attention_bonus=false, PFAN as its paper has it, may be written with every regulator
    "matcher.width": (_setting("matcher", "aggregation", "SAF", "SGR"), AGGREGATED),
    "matcher.node_steps": (_setting("matcher", "aggregation", "SGR"), AGGREGATED),
    **dict.fromkeys(("regulator.steps", "regulator.width"), (_regulator("a regulator", object),)),
    **dict.fromkeys(("regulator.dropout", "regulator.output"), (POOLING,)),
    "regulator.normalise_memory": (_regulator("regulator.kind=memory", Memory),),
    **dict.fromkeys(("constraints.ccr_margin", "constraints.negative"), (CCR,)),
    "constraints.detach_values": (CCR,),
    "constraints.bottom_k": (CCR, _setting("constraints", "negative", "bottom_k")),
    **dict.fromkeys(("constraints.ccs_margin", "constraints.swap"), (CCS,)),
    "constraints.exclude_same_word": (CCS,),
    **dict.fromkeys(("constraints.relevance", "constraints.queries"), (CONSTRAINED,)),
    **dict.fromkeys(("constraints.gate_regions", "constraints.direction"), (CONSTRAINED,)),
    **dict.fromkeys(("constraints.pairs", "constraints.from_epoch"), (CONSTRAINED,)),
    "loss.hardest": (HINGE,),
    "loss.warmup_epochs": (HINGE, _setting("loss", "hardest", True)),
    "loss.temperature": (_setting("loss", "kind", "info_nce"),),
    "training.bert_learning_rate": (_setting("encoder", "text_encoder", "bert"),),
    "training.keep_special_tokens": (_positive("training", "token_dropout"),),
}


# set for all recipes alike, as profiles do: where they have no effect they stay what they were
WIDTHS = ("encoder.word_width", "matcher.width", "regulator.width")


def unused_widths(
    recipe: str, parts: Parts, before: Parts, changed: Iterable[tuple[str, str]]
) -> dict[str, dict[str, int]]:
    """Return the former values of the widths without effect, by part and key.

    Args:
        recipe: its name.
        parts, before: its parts with and without the changes; a value that it has is no change.
        changed: part and key of each changed setting.

    Raises `InputError` for a change of any other setting that has no effect.
    """
    widths: dict[str, dict[str, int]] = {}
    for part, key in changed:
        name, value = f"{part}.{key}", getattr(parts[part], key)
        missing = next((need for need in NEEDS.get(name, ()) if not need.met(parts)), None)
        if missing is None or value == getattr(before[part], key, value):
            continue
        if name not in WIDTHS:
            raise InputError(
                f"{name}={value} has no effect",
                expected=missing.text,
                found=f"{recipe} without that",
                remedy="leave it out: the run is the same without it",
            )
        widths.setdefault(part, {})[key] = getattr(before[part], key)
    return widths
