"""Attention measures on cases worked by hand, and on the truth of Scenes."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_core.data.dataset import Dataset, load_dataset
from itm_core.evaluation.attention_measures import MULTIPLES, Quality, measure
from itm_core.evaluation.attention_quality import attention_quality, iou
from itm_core.experiments import recipes
from itm_core.experiments.prepare import encode
from itm_core.models.pairing import REGIONS
from tests.micro import write_dataset


def test_one_query_by_hand() -> None:
    weights = torch.tensor([[0.4, 0.3, 0.2, 0.1, 0.0]])  # the mean is one fifth
    relevant = torch.tensor([[True, False, False, True, False]])
    found = measure(weights, relevant, torch.tensor([5]))
    assert found.precision == pytest.approx(1 / 3)  # three attended, one of them right
    assert found.recall == pytest.approx(1 / 2)
    assert found.f1 == pytest.approx(2 / 5)
    assert found.mass == pytest.approx(0.5)
    assert found.average_precision == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert found.pointing == 1
    assert found.chance == pytest.approx(2 / 5)
    assert (found.queries, found.dropped) == (1, 0)


# --- the worked case of the page "What attention metrics can and cannot say" --------------------

DOG = np.array([[0, 0, 10, 10]], float)
REGIONS_OF_DOG = np.array(
    [
        [0, 0, 10, 10],
        [0, 0, 10, 8],
        [2, 0, 12, 10],
        [4, 0, 14, 10],
        [0, 0, 40, 25],
        [30, 0, 40, 10],
    ],
    float,
)
WEIGHTS_BY_CASE = {
    "hard": [1.0, 0, 0, 0, 0, 0],
    "sharp": [0.6, 0.1, 0.05, 0.05, 0.1, 0.1],
    "diffuse": [0.2, 0.18, 0.17, 0.17, 0.18, 0.1],
    "not at all": [1 / 6] * 6,
    "wrong": [0.05, 0.05, 0.05, 0.05, 0.7, 0.1],
}


def looked(name: str, threshold: float = 0.5) -> Quality:
    relevant = torch.from_numpy(iou(REGIONS_OF_DOG, DOG)[:, 0] >= threshold)
    weights = torch.tensor([WEIGHTS_BY_CASE[name]], dtype=torch.float64)
    return measure(weights, relevant[None], torch.tensor([6]))


def test_the_regions_of_the_page_overlap_the_dog_as_it_says() -> None:
    # areas by hand: 80 of 100, 80 of 120, 60 of 140, 100 of 1000
    assert iou(REGIONS_OF_DOG, DOG)[:, 0] == pytest.approx([1, 0.8, 2 / 3, 3 / 7, 0.1, 0])
    small = np.array([[0, 0, 4, 4], [1, 1, 5, 5]], float)
    assert iou(small[:1], small[1:])[0, 0] == pytest.approx(9 / 23)  # counted from 1: lost


@pytest.mark.parametrize(
    ("name", "precision", "recall", "f1", "mass", "pointing"),
    [
        ("hard", 1, 1 / 3, 1 / 2, 1, 1),
        ("sharp", 1, 1 / 3, 1 / 2, 0.75, 1),
        ("diffuse", 3 / 5, 1, 3 / 4, 0.55, 1),
        ("not at all", 1 / 2, 1, 2 / 3, 0.5, 1 / 2),  # half of the tied ones are right
        ("wrong", 0, 0, 0, 0.15, 0),
    ],
)
def test_ways_to_look_of_the_page(
    name: str, precision: float, recall: float, f1: float, mass: float, pointing: float
) -> None:
    found = looked(name)
    numbers = [found.precision, found.recall, found.f1, found.mass, found.pointing]
    assert numbers == pytest.approx([precision, recall, f1, mass, pointing])
    assert found.chance == 0.5


def test_the_threshold_on_iou_turns_the_order_round_as_the_page_says() -> None:
    found = {t: [looked(n, t) for n in ("hard", "diffuse", "not at all")] for t in (0.4, 0.7, 0.9)}
    assert [q.f1 for q in found[0.4]] == pytest.approx([2 / 5, 8 / 9, 4 / 5])
    assert [q.f1 for q in found[0.7]] == pytest.approx([2 / 3, 4 / 7, 1 / 2])
    assert [q.f1 for q in found[0.9]] == pytest.approx([1, 1 / 3, 2 / 7])
    assert [q[0].chance for q in found.values()] == pytest.approx([4 / 6, 2 / 6, 1 / 6])


def test_a_region_asks_the_words_of_the_page() -> None:
    weights = torch.tensor([[0.05, 0.15, 0.45, 0.3, 0.05]])  # <start> a dog runs <end>
    heads, phrases = (torch.tensor([[False, a, True, False, False]]) for a in (False, True))
    found = measure(weights, heads, torch.tensor([5]))
    assert (found.precision, found.recall) == (0.5, 1)
    found = measure(weights, phrases, torch.tensor([5]))
    assert (found.precision, found.recall) == (0.5, 0.5)


def test_f1_of_means_and_mean_f1_are_told_apart() -> None:
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    relevant = torch.tensor([[True, True, True, True], [False, True, False, False]])
    found = measure(weights, relevant, torch.tensor([4, 4]))
    assert (found.precision, found.recall) == (0.5, 0.25)
    assert found.f1 == pytest.approx((2 / 3 + 0) / 2)
    assert found.f1_of_means == pytest.approx(1 / 3)


def test_averaging_over_pairs_counts_queries_by_what_they_have_to_find() -> None:
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    relevant = torch.tensor([[True, True, True, True], [False, True, False, False]])
    found = measure(weights, relevant, torch.tensor([4, 4]), averaging="pairs")
    assert (found.precision, found.recall) == pytest.approx((2 / 3, 2 / 5))
    strict = measure(weights, relevant, torch.tensor([4, 4]), multiple=3.0)
    assert (strict.precision, strict.recall) == (0, 0)  # only the wrong 1.0 is above three means


def test_a_fixed_weight_may_stand_for_the_mean() -> None:
    weights = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.5, 0.0]])
    relevant = torch.tensor([[True, False, False], [True, False, False]])
    found = measure(weights, relevant, torch.tensor([3, 2]), fixed=0.2)
    assert (found.precision, found.recall) == (0.5, 1)
    strict = measure(weights, relevant, torch.tensor([3, 2]), fixed=0.55)
    assert (strict.precision, strict.recall) == (0.5, 0.5)


def test_perfect_and_uniform_attention() -> None:
    relevant = torch.rand(20, 9) < 0.3
    relevant[:, 0] = True
    perfect = relevant / relevant.sum(1, keepdim=True)
    keys = torch.full((20,), 9)
    found = measure(perfect, relevant, keys)
    assert (found.precision, found.recall, found.f1, found.mass) == pytest.approx((1, 1, 1, 1))
    assert found.average_precision == pytest.approx(1)
    uniform = measure(torch.full((20, 9), 1 / 9), relevant, keys)  # everything is at the mean
    assert uniform.recall == 1
    assert uniform.precision == pytest.approx(uniform.chance)
    assert uniform.mass == pytest.approx(uniform.chance)


def test_queries_without_anything_relevant_are_counted_and_left_out() -> None:
    weights = torch.tensor([[0.9, 0.1], [0.9, 0.1]])
    relevant = torch.tensor([[True, False], [False, False]])
    found = measure(weights, relevant, torch.tensor([2, 2]))
    assert (found.queries, found.dropped, found.f1) == (1, 1, 1)
    none = measure(weights, torch.zeros(2, 2, dtype=torch.bool), torch.tensor([2, 2]))
    assert none.queries == 0
    assert np.isnan(none.f1)


def test_the_curve_falls_in_recall_and_meets_the_main_number() -> None:
    torch.manual_seed(0)
    weights = torch.randn(50, 12).softmax(1)
    relevant = torch.rand(50, 12) < 0.4
    found = measure(weights, relevant, torch.full((50,), 12))
    assert (np.diff(found.curve[:, 1]) <= 0).all()
    assert found.curve[MULTIPLES.index(1.0)] == pytest.approx(
        [found.precision, found.recall, found.f1]
    )


def test_iou_by_hand() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 5, 5]], float)
    found = iou(boxes, boxes)
    assert found[0] == pytest.approx([1, 1 / 7, 0])
    assert found[2, 2] == 0


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("scan-t2i-mean", {"t2i"}),
        ("bfan-prob", {"t2i", "i2t"}),
        ("chan", {"t2i"}),
        ("rcar-i2t", {"i2t"}),
        ("vse-gpo", set()),
    ],
)
def test_every_method_that_attends_is_measured(
    name: str, sides: set[str], scenes_folder: Path
) -> None:
    data = load_dataset(scenes_folder / "scenes-tiny")
    recipe = recipes.get(f"{name}-smoke")
    torch.manual_seed(0)
    matcher = recipe.build(data.test.regions.shape[2], len(data.vocabulary), 36).eval()
    found = attention_quality(matcher, data.test, encode(data.test, data.vocabulary))
    assert set(found) == sides
    for side in sides:
        flat = found[side].flat(f"{side}_attention")
        assert 0 <= flat[f"{side}_attention_f1"] <= 1
        assert flat[f"{side}_attention_queries"] > 100
        # untrained attention points about as well as chance
        assert flat[f"{side}_attention_mass"] == pytest.approx(
            flat[f"{side}_attention_chance"], abs=0.12
        )


def write_truth(folder: Path) -> Dataset:
    """A tiny dataset that knows what its words name: of four regions two show one thing."""
    write_dataset(folder)
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30], [40, 0, 45, 5]], float)
    things = [{"box": [0, 0, 10, 10]}, {"box": [20, 20, 30, 28]}]
    named = [None, {"objects": [0]}, {"objects": [0, 1]}]
    for split in ("train", "dev", "test"):
        np.save(folder / f"{split}_boxes.npy", np.tile(boxes, (12, 1, 1)).astype(np.float32))
        (folder / f"{split}_objects.json").write_text(json.dumps(12 * [{"objects": things}]))
        runs = [[{"objects": [1]}] * k for k in range(5)]
        words = [[*named, *runs[c % 5], None] for c in range(60)]  # the full stop names nothing
        (folder / f"{split}_words.json").write_text(json.dumps(words))
    return load_dataset(folder)


SHOWN = {0: {0, 1}, 1: {2}}  # which regions show which thing, at an IoU of one half


def plain(weights: np.ndarray, right: set[int]) -> list[float]:
    """Precision, recall, F1, mass, average precision and pointing of one query."""
    attended = {k for k, w in enumerate(weights) if w >= 1 / len(weights) - 1e-7}
    hits = len(attended & right)
    precision, recall = hits / max(len(attended), 1), hits / len(right)
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    mass = sum(weights[k] for k in right)
    ranked = rankings(weights, right)
    mean = np.mean([ranked_precision(one) for one in ranked])
    return [precision, recall, f1, mass, float(mean), float(np.mean([one[0] for one in ranked]))]


def rankings(weights: np.ndarray, right: set[int]) -> list[list[bool]]:
    """What is right along every ranking by weight; equal weights in all their arrangements."""
    found: list[list[bool]] = [[]]
    for value in sorted(set(weights.tolist()), reverse=True):
        tied = [k for k, w in enumerate(weights) if w == value]
        hits = sum(k in right for k in tied)
        placed = [
            [j in chosen for j in range(len(tied))]
            for chosen in combinations(range(len(tied)), hits)
        ]
        found = [before + here for before in found for here in placed]
    return found


def ranked_precision(ranked: list[bool]) -> float:
    """The mean of the precisions at each right place of a ranking."""
    found = [sum(ranked[: k + 1]) / (k + 1) for k, hit in enumerate(ranked) if hit]
    return sum(found) / len(found)


@pytest.mark.parametrize("name", ["scan-t2i-mean", "scan-i2t-mean", "bfan-equal", "chan"])
def test_a_split_is_measured_as_one_caption_after_another(name: str, tmp_path: Path) -> None:
    data = write_truth(tmp_path)
    test, truth = data.test, data.test.words()
    assert truth is not None
    torch.manual_seed(0)
    matcher = recipes.get(f"{name}-smoke").build(11, len(data.vocabulary), 4)
    matcher.train()
    measured = attention_quality(matcher, test, encode(test, data.vocabulary))
    assert matcher.training  # left as it was found
    matcher.eval()
    rows: dict[str, list[list[float]]] = {}
    for c, caption in enumerate(test.captions):
        ids = torch.tensor([data.vocabulary.encode(caption)])
        V = matcher.regions(torch.from_numpy(test.regions[[c // 5]]))
        W = matcher.words(ids, torch.tensor([ids.shape[1]]))
        shown = {
            place: set().union(*(SHOWN[thing] for thing in named["objects"]))
            for place, named in enumerate(truth[c], 1)  # <start> stands before the first
            if named
        }
        for output in matcher.explain(V, W).directions:
            weights = output.weights[0, :, 0].detach().numpy()
            if output.key_axis == REGIONS:
                found = rows.setdefault("t2i", [])
                found += [plain(weights[place], right) for place, right in shown.items()]
            else:
                words = [{p for p, regions in shown.items() if r in regions} for r in range(4)]
                found = rows.setdefault("i2t", [])
                found += [plain(weights[:, r], right) for r, right in enumerate(words) if right]
    assert set(measured) == set(rows)
    for side, values in rows.items():
        q = measured[side]
        ours = [q.precision, q.recall, q.f1, q.mass, q.average_precision, q.pointing]
        assert ours == pytest.approx(np.mean(values, 0).tolist(), abs=1e-6)
        assert q.queries == len(values)
        assert q.dropped == (60 * 1 if side == "i2t" else 0)  # the last region shows nothing
    tokens = encode(test, data.vocabulary)
    some = attention_quality(matcher, test, tokens, fixed=2.0)  # no weight is that large
    assert all(q.recall == 0 for q in some.values())


def test_a_dataset_that_does_not_know_has_no_quality(tmp_path: Path) -> None:
    data = load_dataset(write_dataset(tmp_path))
    matcher = recipes.get("scan-t2i-mean-smoke").build(11, len(data.vocabulary))
    assert attention_quality(matcher, data.test, encode(data.test, data.vocabulary)) == {}
