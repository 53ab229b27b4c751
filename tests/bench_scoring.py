"""Benchmark: the scoring of each method beside its plain twin and the bare matrix product.

    python -m tests.bench_scoring [--methods scan-t2i rcar2-t2i] [--repeats 7] [--threads 2]
        [--precision bfloat16]

100 images x 500 captions, 36 regions, 8-20 words, D = 1024, K = 256; the three are run in turn,
so that a machine that slows down slows all of them, and medians are compared. Both sides have the
same weights, and the largest difference of their scores is printed. BFAN's gate is a step: a
weight on its threshold falls on either side by rounding, which moves that pair by some 1e-4.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from itm_core.encoders import EncoderSettings
from itm_core.fragments import Fragments, l2norm
from itm_core.matchers import Attending, AttendingSettings
from itm_core.reference.models import name_in
from itm_core.regulators import RegulatorSettings
from itm_core.scoring import IMAGES_PER_TILE, PRECISIONS, score_fragments
from tests import twins

REGIONS, LONGEST = 36, 20
GOLDEN = Path(__file__).parent / "golden"
PLAIN, ALONE = EncoderSettings(word_width=1), RegulatorSettings()
WHOLES = replace(PLAIN, whole_regions="self_attention", whole_words="self_attention")
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Method:
    """One method: our settings, its twin, and a file that lists the release's weight names.

    Attributes:
        repeats: how often it is timed unless the caller says; the slow ones less often.
    """

    settings: AttendingSettings
    twin: Callable[[Tensor, Tensor, list[int], Weights], Tensor]
    encoder: EncoderSettings = PLAIN
    regulator: RegulatorSettings = ALONE
    family: str = ""
    names: str = ""
    repeats: int = 7


@dataclass(frozen=True)
class Given:
    """Embedded regions ``[I, R, D]`` and words ``[C, L, D]``."""

    regions: Tensor
    words: Tensor
    lens: Tensor
    packed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        real = [w[:n] for w, n in zip(self.words, self.lens.tolist(), strict=True)]
        object.__setattr__(self, "packed", torch.cat(real))


METHODS = {
    "scan-t2i": Method(
        AttendingSettings(),
        lambda V, W, n, _: twins.scan_scores(V, W, n, direction="t2i"),
    ),
    "scan-i2t": Method(
        AttendingSettings(direction="i2t", attention_temperature=4.0),
        lambda V, W, n, _: twins.scan_scores(V, W, n, direction="i2t", attention_temperature=4.0),
    ),
    "bfan-equal": Method(
        AttendingSettings(direction="both", attention_temperature=20.0, gate="equal"),
        lambda V, W, n, _: twins.bfan_scores(V, W, n, gate="equal"),
    ),
    "chan": Method(
        AttendingSettings(
            attention="hard", aggregation="LSE", lse_temperature=10.0, lse_scaled=False
        ),
        lambda V, W, n, _: twins.chan_scores(
            V, [V.shape[1]] * len(V), W, n, coding="hard_word", pooling="LSE"
        ),
    ),
    "saf": Method(
        AttendingSettings(aggregation="SAF"),
        twins.saf_scores,
        encoder=WHOLES,
        family="sgraf",
        names="sgraf_saf.npz",
        repeats=3,
    ),
    "sgr": Method(
        AttendingSettings(aggregation="SGR"),
        twins.sgr_scores,
        encoder=WHOLES,
        family="sgraf",
        names="sgraf_sgr.npz",
        repeats=3,
    ),
    "rcar2-t2i": Method(
        AttendingSettings(attention_temperature=10.0),
        lambda V, W, n, w: twins.rcar_scores(
            V, W, n, w, mode="coop_rcar", steps=2, direction="t2i", attention_temperature=10.0
        ),
        regulator=RegulatorSettings(kind="rcar", steps=2),
        family="rcar",
        names="rcar_t2i_rcar2.npz",
        repeats=3,
    ),
}


def main() -> None:
    """Print times and ratios of the methods asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--repeats", type=int, help="default: 7, of slow methods 3")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--captions", type=int, default=500)
    parser.add_argument("--width", type=int, default=1024, help="D")
    parser.add_argument("--similarity", type=int, default=256, help="K")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of ours")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    given = draw(asked.images, asked.captions, asked.width)
    print(
        f"{asked.images} x {asked.captions}, {len(given.packed)} words, D {asked.width}, "
        f"K {asked.similarity}, {asked.threads} threads"
    )
    for name in asked.methods:
        method = METHODS[name]
        repeats = asked.repeats or method.repeats
        print(f"{name}: {race(method, given, asked, repeats)}", flush=True)


def draw(images: int, captions: int, width: int) -> Given:
    """Return random fragments that share a direction, as those of a trained model do."""
    shared = 0.5 * torch.randn(width)
    regions = l2norm(torch.randn(images, REGIONS, width) + shared)
    lens = torch.randint(8, LONGEST + 1, (captions,))
    real = (torch.arange(LONGEST) < lens[:, None])[..., None]
    return Given(regions, l2norm(torch.randn(captions, LONGEST, width) + shared) * real, lens)


@torch.no_grad()
def race(method: Method, given: Given, asked: argparse.Namespace, repeats: int) -> str:
    """Return the medians of one method and their ratios, in a line."""
    matcher = build(method, given.regions.shape[2], asked.similarity)
    weights = release_weights(matcher, method)
    flat = given.regions.flatten(0, 1).T.contiguous()
    reduced = asked.precision == "bfloat16"

    def ours() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            return score(matcher, given).float()

    runs: list[Callable[[], Tensor]] = [
        ours,
        lambda: method.twin(given.regions, given.words, given.lens.tolist(), weights),
        lambda: given.packed @ flat,
    ]
    error = (runs[0]() - runs[1]()).abs().max().item()
    mine, slow, bare = (median(t) for t in _in_turn(runs, repeats))
    return (
        f"ours {mine:.3f} s, twin {slow:.3f} s, bare product {bare:.3f} s; "
        f"{slow / mine:.1f} x the twin's speed, {mine / bare:.2f} x the bare product's time; "
        f"largest difference of scores {error:.0e}; {repeats} repeats"
    )


def build(method: Method, width: int, similarity: int) -> Attending:
    """Return our matcher, with biases that are not zero."""
    matcher = Attending(
        1,
        1,
        replace(method.encoder, embedding=width),
        replace(method.settings, width=similarity),
        replace(method.regulator, width=similarity),
        REGIONS,
    )
    for name, parameter in matcher.named_parameters():
        if name.endswith("bias"):
            nn.init.uniform_(parameter, -0.1, 0.1)
    return matcher.eval()


def release_weights(matcher: Attending, method: Method) -> Weights:
    """Return our weights under the release's names, which a reference file lists."""
    if not method.names:
        return {}
    with np.load(GOLDEN / method.names) as file:
        names = [key.removeprefix("weights/") for key in file.files if key.startswith("weights/")]
    ours = matcher.state_dict()
    found = {name: name_in(matcher, name, method.family) for name in names}
    return {theirs: ours[name] for theirs, name in found.items() if name in ours}


def score(matcher: Attending, given: Given) -> Tensor:
    """Return our scores ``[I, C]``; whole vectors are made on the way, as the twins do."""
    regions, words = Fragments.of(given.regions), Fragments.of(given.words, given.lens)
    if matcher.regions.whole is not None:
        regions = replace(regions, whole=matcher.regions.whole(regions))
        assert matcher.words.whole is not None
        words = replace(words, whole=matcher.words.whole(words))
    return score_fragments(matcher, regions.chunks(IMAGES_PER_TILE), words)


def _in_turn(functions: list[Callable[[], Tensor]], repeats: int) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, took in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            took.append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    main()
