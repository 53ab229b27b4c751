"""Attention query by query: against a plain loop, at several IoUs, by type, with ties."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from itm_core.data.dataset import Dataset, load_dataset
from itm_core.errors import InputError
from itm_core.evaluation.attention_measures import MULTIPLES, QueryMeasures, by_query, measure
from itm_core.evaluation.attention_quality import (
    annotation,
    attention_quality,
    iou,
    truth,
)
from itm_core.evaluation.attention_queries import (
    FIRST,
    LAST,
    Queries,
    attended_queries,
)
from itm_core.experiments import recipes
from itm_core.experiments.prepare import encode
from itm_core.models import Matcher
from itm_core.models.pairing import REGIONS
from tests.itm_core.evaluation.test_attention_quality import ranked_precision, rankings
from tests.micro import write_dataset

IOUS = (0.3, 0.5, 0.7)
BOXES = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30], [40, 0, 45, 5]], float)
THINGS = [[0, 0, 10, 10], [20, 20, 30, 26], [100, 100, 110, 110]]  # the last no region shows
COLOUR = {"objects": [1], "kinds": ["clothing"]}
THING = {"objects": [0, 1], "kinds": ["people", "clothing"]}
RUNS = {"objects": [2], "kinds": ["animals"]}


def write_annotated(folder: Path, *, images: int = 4) -> Dataset:
    """Write a tiny dataset with boxes, whose words have types of phrases."""
    write_dataset(folder, images=images)
    rng = np.random.default_rng(0)
    for split in ("train", "dev", "test"):
        boxes = np.tile(BOXES, (images, 1, 1))
        boxes[:, :, 2:] += rng.integers(0, 4, boxes[:, :, 2:].shape)  # other overlaps per image
        np.save(folder / f"{split}_boxes.npy", boxes.astype(np.float32))
        objects = images * [{"objects": [{"box": box} for box in THINGS]}]
        (folder / f"{split}_objects.json").write_text(json.dumps(objects))
        words = [
            [None, COLOUR, THING, *[RUNS] * (c % 5), None] for c in range(5 * images)
        ]  # "A red dog runs runs ."
        (folder / f"{split}_words.json").write_text(json.dumps(words))
    return load_dataset(folder)


def built(name: str, data: Dataset) -> Matcher:
    torch.manual_seed(0)
    return recipes.get(f"{name}-smoke").build(11, len(data.vocabulary), 4).eval()


def measured_queries(matcher: Matcher, data: Dataset) -> dict[tuple[str, str], Queries]:
    annotated = annotation(data.test)
    assert annotated is not None
    return attended_queries(matcher, data.test, encode(data.test, data.vocabulary), annotated)


# --- a plain loop --------------------------------------------------------------------------------


def plain(weights: list[float], right: list[bool]) -> dict[str, float]:
    """The measures of one query, by counting; expectations over all orders of the keys."""
    n, mean = len(weights), 1 / len(weights) - 1e-7
    attended = [w >= mean for w in weights]
    hits = sum(a and r for a, r in zip(attended, right, strict=True))
    size = sum(attended)
    precision, recall = hits / size, hits / sum(right)
    random = [sum(right[k] for k in drawn) for drawn in combinations(range(n), size)]
    ranked = rankings(np.array(weights), {k for k, r in enumerate(right) if r})
    best = [k for k, w in enumerate(weights) if w == max(weights)]
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * hits / (size + sum(right)),
        "mass": sum(w for w, r in zip(weights, right, strict=True) if r),
        "average_precision": float(np.mean([ranked_precision(hits) for hits in ranked])),
        "pointing": sum(right[k] for k in best) / len(best),
        "chance": sum(right) / n,
        "chance_recall": float(np.mean(random)) / sum(right),
        "chance_f1": float(np.mean([2 * h / (size + sum(right)) for h in random])),
    }


NAMES = list(plain([0.5, 0.5], [True, False]))


def numbers(measures: QueryMeasures) -> np.ndarray:
    """``[M, 9]`` in the order of `NAMES`."""
    return np.stack([getattr(measures, name).numpy() for name in NAMES], 1)


@pytest.mark.parametrize("name", ["scan-t2i-mean", "scan-i2t-mean", "bfan-equal", "chan"])
@pytest.mark.parametrize("threshold", IOUS)
def test_every_query_as_in_a_plain_loop(name: str, threshold: float, tmp_path: Path) -> None:
    data = write_annotated(tmp_path)
    matcher, test = built(name, data), data.test
    words = test.words()
    assert words is not None
    assert test.boxes is not None
    rows: dict[str, list[tuple[int, set[str], list[float]]]] = {}
    dropped: dict[str, int] = {}
    for c, caption in enumerate(test.captions):
        ids = torch.tensor([data.vocabulary.encode(caption)])
        fits = iou(test.boxes[c // 5].astype(float), np.array(THINGS, float)) >= threshold
        named = [None, *words[c], None]
        shown = [[bool(w) and fits[r, w["objects"]].any() for r in range(4)] for w in named]
        with torch.no_grad():
            V = matcher.regions(torch.from_numpy(test.regions[[c // 5]]))
            W = matcher.words(ids, torch.tensor([ids.shape[1]]))
            outputs = matcher.explain(V, W).directions
        for output in outputs:
            weights = output.weights[0, :, 0].numpy()
            if output.key_axis == REGIONS:
                queries = [
                    (weights[k], shown[k], set(w["kinds"])) for k, w in enumerate(named) if w
                ]
            else:
                queries = [
                    (
                        weights[:, r],
                        [row[r] for row in shown],
                        {
                            k
                            for w, row in zip(named, shown, strict=True)
                            if row[r]
                            for k in w["kinds"]
                        },
                    )
                    for r in range(4)
                ]
            side = "t2i" if output.key_axis == REGIONS else "i2t"
            for values, right, kinds in queries:
                if any(right):
                    found = list(plain(values.tolist(), right).values())
                    rows.setdefault(side, []).append((c // 5, kinds, found))
                else:
                    dropped[side] = dropped.get(side, 0) + 1
    collected = measured_queries(matcher, data)
    assert set(collected) == {(side, LAST) for side in rows}
    for side, expected in rows.items():
        measured = collected[side, LAST].measured(threshold)
        images, kinds, values = zip(*expected, strict=True)
        assert measured.image.tolist() == list(images)
        # float32 weights, whose last digits depend on how many pairs are computed at once
        np.testing.assert_allclose(numbers(measured.measures), np.array(values), atol=5e-6)
        names = ("animals", "clothing", "people")
        for column, kind in enumerate(names):
            assert measured.types[:, column].tolist() == [kind in k for k in kinds]
        assert measured.dropped[0] == dropped.get(side, 0)


@pytest.mark.parametrize("name", ["bfan-prob", "chan", "rcar-t2i"])
def test_means_are_those_of_attention_quality(name: str, tmp_path: Path) -> None:
    data = write_annotated(tmp_path)
    matcher, tokens = built(name, data), encode(data.test, data.vocabulary)
    for (side, place), queries in measured_queries(matcher, data).items():
        if place == LAST:
            found = queries.measured(0.5)
            expected = attention_quality(matcher, data.test, tokens)[side]
            for measure_name in ("precision", "recall", "f1", "mass", "pointing", "chance"):
                mean = getattr(found.measures, measure_name).mean().item()
                assert mean == pytest.approx(getattr(expected, measure_name), abs=1e-7)
            np.testing.assert_allclose(found.measures.curve[:, :3], expected.curve, atol=1e-9)
            assert found.dropped[0] == expected.dropped


def test_a_regulator_has_a_first_pass_the_attention_of_its_host(tmp_path: Path) -> None:
    data = write_annotated(tmp_path)
    collected = measured_queries(built("rcar-t2i", data), data)
    assert set(collected) == {("t2i", FIRST), ("t2i", LAST)}
    first, last = collected["t2i", FIRST], collected["t2i", LAST]
    assert not torch.equal(first.weights, last.weights)
    assert torch.equal(first.overlap, last.overlap)


def test_a_matcher_without_attention_has_no_queries(tmp_path: Path) -> None:
    data = write_annotated(tmp_path)
    assert measured_queries(built("vse-gpo", data), data) == {}


# --- properties ----------------------------------------------------------------------------------


def random_queries(seed: int, *, wide: int = 6, levels: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Weights with ties, overlaps and numbers of keys; zero beyond these."""
    draw = np.random.default_rng(seed)
    keys = torch.from_numpy(draw.integers(2, wide + 1, 40))
    real = torch.arange(wide) < keys[:, None]
    weights = torch.from_numpy(draw.integers(0, levels, (40, wide)) + 1.0) * real
    overlap = torch.from_numpy(draw.random((40, wide))) * real
    return weights / weights.sum(1, keepdim=True), overlap, keys


@pytest.mark.parametrize("seed", range(3))
def test_ties_by_a_plain_loop(seed: int) -> None:
    weights, overlap, keys = random_queries(seed, wide=5)
    relevant = overlap >= 0.6
    found = numbers(by_query(weights, relevant, keys))
    rows = zip(weights.tolist(), relevant.tolist(), keys.tolist(), strict=True)
    expected = [list(plain(w[:n], g[:n]).values()) for w, g, n in rows if any(g[:n])]
    np.testing.assert_allclose(found, np.array(expected), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_keys_changes_nothing(seed: int) -> None:
    weights, overlap, _ = random_queries(seed)
    keys = torch.full((40,), 6)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    found = numbers(by_query(weights, overlap >= 0.5, keys))
    again = numbers(by_query(weights[:, order], overlap[:, order] >= 0.5, keys))
    np.testing.assert_allclose(found, again, atol=1e-12)


def test_uniform_weights_give_chance_exactly() -> None:
    weights, overlap, keys = random_queries(0)
    queries = Queries(weights, overlap, keys, torch.zeros(40).long(), torch.ones(40, 1).bool())
    for threshold in IOUS:
        uniform = queries.uniform().measured(threshold).measures
        trained = queries.measured(threshold).measures
        for name in ("precision", "mass", "pointing"):
            torch.testing.assert_close(getattr(uniform, name), trained.chance, rtol=0, atol=1e-12)
        assert (uniform.recall == 1).all()
        torch.testing.assert_close(uniform.f1, uniform.chance_f1)  # all keys are attended


def test_padding_changes_nothing() -> None:
    weights, overlap, keys = random_queries(1)
    wider = [torch.nn.functional.pad(x, (0, 3)) for x in (weights, overlap)]
    found = numbers(by_query(weights, overlap >= 0.5, keys))
    again = numbers(by_query(wider[0], wider[1] >= 0.5, keys))
    np.testing.assert_allclose(found, again, atol=1e-12)


def test_a_curve_is_the_mean_at_every_threshold() -> None:
    weights, overlap, keys = random_queries(2)
    relevant = overlap >= 0.5
    found = by_query(weights, relevant, keys)
    for row, multiple in zip(found.curve, MULTIPLES, strict=True):
        at = measure(weights, relevant, keys, multiple=multiple)
        assert row[:3] == pytest.approx([at.precision, at.recall, at.f1], abs=1e-12)
    assert found.curve[MULTIPLES.index(1.0), 3] == pytest.approx(found.chance_f1.mean().item())
    uniform = Queries(weights, overlap, keys, keys, relevant).uniform()
    curve = by_query(uniform.weights, relevant, keys).curve
    np.testing.assert_allclose(curve[:, 2], curve[:, 3])  # all keys or none


def test_hard_attention_on_one_key_by_hand() -> None:
    """Two of four keys are relevant; the only attended one is relevant or not."""
    weights = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1.0, 0]])
    relevant = torch.tensor([[True, True, False, False]] * 2)
    found = by_query(weights, relevant, torch.tensor([4, 4]))
    assert found.f1.tolist() == pytest.approx([2 / 3, 0])
    # at random the key is relevant in half of the cases
    assert found.chance_f1.tolist() == pytest.approx([1 / 3, 1 / 3])
    assert found.chance_recall.tolist() == [0.25, 0.25]
    assert found.pointing.tolist() == [1, 0]


# --- the annotation ------------------------------------------------------------------------------


def test_the_truth_is_the_annotation_at_a_threshold(tmp_path: Path) -> None:
    data = write_annotated(tmp_path)
    annotated = annotation(data.test)
    assert annotated is not None
    for threshold in IOUS:
        at = truth(data.test, threshold)
        assert at is not None
        for overlap, relevant in zip(annotated.overlap, at[0], strict=True):
            np.testing.assert_array_equal(overlap >= threshold, relevant)
    assert annotated.type_names == ("animals", "clothing", "people")
    assert annotated.types[1][:5].tolist() == [
        [False] * 3,  # <start>
        [False] * 3,  # a
        [False, True, False],
        [False, True, True],
        [True, False, False],
    ]


def test_a_dataset_without_annotation_has_none(tmp_path: Path) -> None:
    assert annotation(load_dataset(write_dataset(tmp_path)).test) is None


def test_an_annotation_of_other_captions_is_refused(tmp_path: Path) -> None:
    data = write_annotated(tmp_path)
    annotated = annotation(data.test)
    assert annotated is not None
    shorter = replace(annotated, naming=[annotated.naming[0][:-1], *annotated.naming[1:]])
    tokens = encode(data.test, data.vocabulary)
    with pytest.raises(InputError, match="of another caption") as caught:
        attended_queries(built("scan-t2i-mean", data), data.test, tokens, shorter)
    assert caught.value.row == 1


def test_an_object_that_is_not_there_is_named(tmp_path: Path) -> None:
    data = write_annotated(tmp_path)
    words = json.loads((tmp_path / "test_words.json").read_text())
    words[2][1]["objects"] = [0, 3]
    (tmp_path / "test_words.json").write_text(json.dumps(words))
    problem = "a word of caption 2 names an object that its image does not have"
    with pytest.raises(InputError, match=problem) as caught:
        annotation(data.test)
    assert caught.value.found == 3


# --- pieces of words -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scan-t2i-mean", "scan-i2t-mean"])
def test_pieces_of_a_word_attend_together(name: str, tmp_path: Path) -> None:
    """Every token twice, as two pieces of a word, whose weights differ in their place."""
    data = write_annotated(tmp_path)
    annotated, tokens = annotation(data.test), encode(data.test, data.vocabulary)
    assert annotated is not None
    doubled = [[i for i in ids for _ in range(2)] for ids in tokens]
    rows = [[k for k in range(len(ids)) for _ in range(2)] for ids in tokens]
    stretched = replace(
        annotated,
        overlap=[np.repeat(x, 2, 0) for x in annotated.overlap],
        naming=[np.repeat(x, 2) for x in annotated.naming],
        types=[np.repeat(x, 2, 0) for x in annotated.types],
    )
    matcher = built(name, data)
    (apart,) = attended_queries(matcher, data.test, doubled, stretched).values()
    (joined,) = attended_queries(matcher, data.test, doubled, annotated, word_rows=rows).values()
    if name == "scan-t2i-mean":  # rows are words
        expected = (apart.weights[0::2] + apart.weights[1::2]) / 2
    else:  # columns are
        expected = apart.weights[:, 0::2] + apart.weights[:, 1::2]
    torch.testing.assert_close(joined.weights, expected)
    torch.testing.assert_close(joined.weights.sum(1), torch.ones(len(expected)))
    assert (
        joined.keys.tolist()
        == (apart.keys[0::2] if name == "scan-t2i-mean" else apart.keys // 2).tolist()
    )
