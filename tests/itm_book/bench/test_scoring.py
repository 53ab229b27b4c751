"""Timing of scoring: operations, errors, options. The times themselves are not tested."""

from __future__ import annotations

import pytest
import torch

from itm_book.bench import scoring
from itm_book.bench.methods import METHODS, Embeddings, build, random_embeddings
from itm_book.bench.scoring import ScoringSettings, ScoringTiming, flops_per_pair, time_scoring
from itm_core.errors import InputError

R, L, D, K = 36, 8, 32, 16


def inputs(captions: int = 40) -> Embeddings:
    full = random_embeddings(scoring.COUNTED, captions, D)
    return Embeddings(full.regions, full.words[:, :L], torch.full((captions,), L))


def test_operations_are_those_that_the_equations_need() -> None:
    dots, gram = 2 * L * R * D, 2 * L * R * R
    chan = flops_per_pair(build(METHODS["CHAN"], D, K), inputs())
    assert chan == dots
    scan = flops_per_pair(build(METHODS["SCAN t2i"], D, K), inputs())
    once_an_image = 2 * R * R * D / scoring.COUNTED  # V V^T, shared by the captions
    assert scan == pytest.approx(dots + gram + once_an_image, rel=0.15)
    saf = flops_per_pair(build(METHODS["SAF"], D, K), inputs())
    assert saf > dots + 2 * L * R * D + 2 * L * D * K  # and the attended vectors, and the map to K


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="method"):
        ScoringSettings(methods=("SCAM",))
    with pytest.raises(InputError, match="precision"):
        ScoringSettings(precision="float8")
    with pytest.raises(InputError, match="images"):
        ScoringSettings(images=0)


def test_times_are_measured_and_the_scores_agree() -> None:
    settings = ScoringSettings(
        methods=("SCAN t2i", "CHAN"),
        images=4,
        captions=12,
        width=D,
        similarity=K,
        repeats=1,
        reference_captions=6,
    )
    for timing in time_scoring(settings):
        assert timing.pairs == 48
        assert timing.error < 1e-5
        assert min(timing.ours, timing.reference, timing.bare, timing.floor) > 0
        assert timing.method in timing.line()


def test_ours_is_timed_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "compiled", lambda matcher: matcher)
    sizes = {"images": 2, "captions": 3, "width": D, "similarity": K, "repeats": 1}
    (timing,) = time_scoring(ScoringSettings(methods=("CHAN",), compile=True, **sizes))
    assert timing.compiled is not None
    assert f"compiled {timing.compiled:.3f} s" in timing.line()
    (timing,) = time_scoring(ScoringSettings(methods=("CHAN",), **sizes))
    assert timing.compiled is None


def test_operations_of_images_are_shared_by_the_captions() -> None:
    """The roots of Gram matrices are made once for an image, however many captions there are."""
    matcher = build(METHODS["SCAN t2i"], D, K)
    few, many = (flops_per_pair(matcher, inputs(captions)) for captions in (40, 80))
    root = 2 * R * R * D
    assert few - many == pytest.approx(root / 40 - root / 80)


def test_the_floor_is_operations_by_speed() -> None:
    timing = ScoringTiming(
        method="m",
        ours=2,
        reference=8,
        bare=1,
        flops=5e6,
        reached=1e9,
        pairs=100,
        products=0.5,
        error=0,
        repeats=1,
    )
    assert timing.floor == 0.5
    assert "8.000 s (4.0 x)" in timing.line()
    assert "(4.00 x)" in timing.line()


def test_energy_is_read_from_the_counters(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "intel-rapl:0"
    folder.mkdir()
    (folder / "energy_uj").write_text("2500000\n")
    monkeypatch.setattr(scoring, "RAPL", folder.parent)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with scoring.energy_meter() as spent:
        (folder / "energy_uj").write_text("4000000\n")
    assert spent() == 1.5
    monkeypatch.setattr(scoring, "RAPL", folder)
    with scoring.energy_meter() as spent:
        pass
    assert spent() is None
