"""The race: what it counts and how it compares. Times themselves are not tested."""

from __future__ import annotations

import pytest
import torch

from itm_book.bench import scoring
from itm_book.bench.methods import METHODS, Given, build, draw
from itm_book.bench.scoring import Asked, ScoringTiming, operations, race_all
from itm_core.errors import InputError

R, L, D, K = 36, 8, 32, 16


def given(captions: int = 40) -> Given:
    drawn = draw(scoring.COUNTED, captions, D)
    return Given(drawn.regions, drawn.words[:, :L], torch.full((captions,), L))


def test_operations_are_those_that_the_equations_need() -> None:
    dots, gram = 2 * L * R * D, 2 * L * R * R
    chan = operations(build(METHODS["CHAN"], D, K), given())
    assert chan == dots
    scan = operations(build(METHODS["SCAN t2i"], D, K), given())
    once_an_image = 2 * R * R * D / scoring.COUNTED  # V V^T, shared by the captions
    assert scan == pytest.approx(dots + gram + once_an_image, rel=0.15)
    saf = operations(build(METHODS["SAF"], D, K), given())
    assert saf > dots + 2 * L * R * D + 2 * L * D * K  # and the attended vectors, and the map to K


def test_what_is_asked_is_checked() -> None:
    with pytest.raises(InputError, match="method"):
        Asked(methods=("SCAM",))
    with pytest.raises(InputError, match="precision"):
        Asked(precision="float8")
    with pytest.raises(InputError, match="images"):
        Asked(images=0)


def test_a_race_tells_times_and_that_the_scores_agree() -> None:
    asked = Asked(
        methods=("SCAN t2i", "CHAN"),
        images=4,
        captions=12,
        width=D,
        similarity=K,
        repeats=1,
        twin_captions=6,
    )
    for one in race_all(asked):
        assert one.pairs == 48
        assert one.error < 1e-5
        assert min(one.ours, one.twin, one.bare, one.floor) > 0
        assert one.method in one.line()


def test_a_race_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "compiled", lambda matcher: matcher)
    sizes = {"images": 2, "captions": 3, "width": D, "similarity": K, "repeats": 1}
    (one,) = race_all(Asked(methods=("CHAN",), compile=True, **sizes))
    assert one.compiled is not None
    assert f"compiled {one.compiled:.3f} s" in one.line()
    (one,) = race_all(Asked(methods=("CHAN",), **sizes))
    assert one.compiled is None


def test_operations_of_images_are_shared_by_the_captions() -> None:
    """The roots of Gram matrices are made once for an image, however many captions there are."""
    matcher = build(METHODS["SCAN t2i"], D, K)
    few, many = (operations(matcher, given(captions)) for captions in (40, 80))
    root = 2 * R * R * D
    assert few - many == pytest.approx(root / 40 - root / 80)


def test_the_floor_is_operations_by_speed() -> None:
    one = ScoringTiming(
        method="m",
        ours=2,
        twin=8,
        bare=1,
        flops=5e6,
        reached=1e9,
        pairs=100,
        products=0.5,
        error=0,
        repeats=1,
    )
    assert one.floor == 0.5
    assert "8.000 s (4.0 x)" in one.line()
    assert "(4.00 x)" in one.line()


def test_energy_is_read_from_the_counters(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "intel-rapl:0"
    folder.mkdir()
    (folder / "energy_uj").write_text("2500000\n")
    monkeypatch.setattr(scoring, "RAPL", folder.parent)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with scoring.metered() as spent:
        (folder / "energy_uj").write_text("4000000\n")
    assert spent() == 1.5
    monkeypatch.setattr(scoring, "RAPL", folder)
    with scoring.metered() as spent:
        pass
    assert spent() is None
