"""Flickr30K Entities on sentences and boxes worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_book.datasets.entities import annotate, write_annotations
from itm_book.datasets.entity_alignment import aligned, paired
from itm_book.datasets.entity_files import Sentence, read_boxes, read_sentence
from itm_core.data.dataset import Split, load_split
from itm_core.data.vocabulary import Vocabulary, tokenise
from itm_core.errors import InputError
from itm_core.evaluation.attention_quality import attention_quality, truth
from itm_core.experiments import recipes
from itm_core.experiments.prepare import encode

GUYS = (
    "[/EN#283585/people Two young guys] with [/EN#283587/bodyparts shaggy hair] look at "
    "[/EN#0/notvisual each other] in [/EN#283588/scene the yard] ."
)
OTHERS = (
    "[/EN#283585/people Two men] stand near [/EN#283589/other a grill] outside .",
    "[/EN#283585/people Friends] are in [/EN#283588/scene a garden] .",
    "[/EN#283590/people One] holds [/EN#283591/bodyparts/people a man 's arm] .",
    "Nothing to see .",
)
XML = """<annotation><filename>{name}.jpg</filename>
<size><width>100</width><height>50</height><depth>3</depth></size>
<object><name>283585</name><name>283590</name>
  <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>11</xmax><ymax>21</ymax></bndbox></object>
<object><name>283585</name>
  <bndbox><xmin>51</xmin><ymin>11</ymin><xmax>71</xmax><ymax>31</ymax></bndbox></object>
<object><name>283587</name>
  <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>11</xmax><ymax>6</ymax></bndbox></object>
<object><name>283588</name><scene>1</scene><nobndbox>0</nobndbox></object>
<object><name>283589</name><scene>0</scene><nobndbox>1</nobndbox></object>
<object><name>283591</name>
  <bndbox><xmin>81</xmin><ymin>41</ymin><xmax>91</xmax><ymax>46</ymax></bndbox></object>
</annotation>"""
CAPTIONS = [
    "Two young guys with shaggy hair look at each other in the yard.",
    "Two men stand near a grill outside.",
    "Friends are in a garden.",
    "One holds a man's arm.",
    "Nothing to see.",
]


def write_entities(root: Path, name: str, lines: tuple[str, ...] = (GUYS, *OTHERS)) -> Path:
    for folder in ("Sentences", "Annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "Sentences" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (root / "Annotations" / f"{name}.xml").write_text(XML.format(name=name))
    return root


def write_split(
    folder: Path, *, size: tuple[int, int] = (100, 50), captions: list[str] = CAPTIONS
) -> Split:
    """One image of the retrieval split: its id is a number that a mapping turns into a name."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "test_ims.npy", np.random.default_rng(0).random((1, 4, 11), np.float32))
    boxes = np.array([[0, 0, 10, 20], [50, 10, 70, 30], [0, 0, 9, 5], [20, 0, 40, 9]], np.float32)
    scale = np.array([size[0] / 100, size[1] / 50] * 2, np.float32)
    np.save(folder / "test_boxes.npy", boxes[None] * scale)
    np.save(folder / "test_img_sizes.npy", np.array([size]))
    (folder / "test_caps.txt").write_text("\n".join(captions) + "\n")
    (folder / "test_ids.txt").write_text("77\n" * 5)
    (folder / "id_mapping.json").write_text('{"77": "1007129816.jpg", "78": "36979.jpg"}')
    return load_split(folder, "test")


def test_a_sentence_by_hand() -> None:
    found = read_sentence(GUYS)
    assert " ".join(found.words) == (
        "Two young guys with shaggy hair look at each other in the yard ."
    )
    message = [(p.first, p.last, p.chain, p.kinds) for p in found.phrases]
    assert message == [
        (0, 3, "283585", ("people",)),
        (4, 6, "283587", ("bodyparts",)),
        (8, 10, "0", ("notvisual",)),
        (11, 13, "283588", ("scene",)),
    ]
    assert read_sentence(OTHERS[2]).phrases[1].kinds == ("bodyparts", "people")
    assert read_sentence("a [ b ] c").words == ("a", "[", "b", "]", "c")
    for line in ("[/EN#1/people Two men look", "[/EN#1/people Two [/EN#2/other dogs] run"):
        with pytest.raises(InputError, match=r"x.txt, row 3: a phrase is not closed"):
            read_sentence(line, Path("x.txt"), 3)


def test_boxes_count_from_zero_and_chains_have_several(tmp_path: Path) -> None:
    write_entities(tmp_path, "1")
    found = read_boxes(tmp_path / "Annotations" / "1.xml")
    assert found.size == (100, 50)
    assert found.boxes[0] == ((0, 0, 10, 20), ("283585", "283590"))
    assert found.of("283585") == [0, 1]
    assert found.of("283590") == [0]
    assert found.of("283588") == found.of("283589") == found.of("5") == []
    (tmp_path / "Annotations" / "1.xml").write_text("<annotation><size/></annotation>")
    with pytest.raises(InputError, match=r"1.xml: not an annotation.*no size/width"):
        read_boxes(tmp_path / "Annotations" / "1.xml")
    with pytest.raises(InputError, match="annotations not found"):
        read_boxes(tmp_path / "2.xml")


@pytest.mark.parametrize(
    ("caption", "line", "expected"),
    [
        ("A man's arm", "[/EN#1/people A man 's] [/EN#2/x arm]", [["a", "man", "'s"], ["arm"]]),
        ("He can't see the dog.", "He can't see [/EN#1/x the dog] .", [["the", "dog"]]),
        ('A "red" sign', 'A [/EN#1/other " red " sign]', [["``", "red", "''", "sign"]]),
        ("A big black dog", "A [/EN#1/x black dog]", [["black", "dog"]]),
        ("A dog runs", "A [/EN#1/x cat] runs", [[]]),
        ("A grey dog runs", "[/EN#1/x A gray dog] runs", [["a", "grey", "dog"]]),
        ("In a high chair", "In [/EN#1/x a highchair]", [["a", "high", "chair"]]),
        ("In a highchair", "In [/EN#1/x a high chair]", [["a", "highchair"]]),
        ("a dog and", "[/EN#1/x a dog] and [/EN#2/x a cat]", [["a", "dog"], []]),
        ("a dog and a dog", "[/EN#1/x a dog] and [/EN#2/x a dog]", [["a", "dog"], ["a", "dog"]]),
    ],
)
def test_phrases_find_their_tokens(caption: str, line: str, expected: list[list[str]]) -> None:
    tokens = tokenise(caption)
    places = aligned(caption, read_sentence(line))
    assert [[tokens[p] for p in phrase] for phrase in places] == expected
    assert sorted(p for phrase in places for p in phrase) == [p for ph in places for p in ph]


def sentences(*lines: str) -> list[Sentence]:
    return [read_sentence(line) for line in lines]


def test_captions_find_their_sentences_by_text() -> None:
    theirs = sentences("a dog .", "A man runs .", "a dog .", "two gray cats sleep here .", "x")
    pairs = paired(["Two grey cats sleep here", "A MAN RUNS!", "A dog", "other", "a dog ."], theirs)
    assert [number for number, _ in pairs] == [3, 1, 2, 4, 0]  # each sentence once
    similarity = [s for _, s in pairs]
    assert similarity[1] == similarity[2] == similarity[4] == 1
    assert similarity[0] == pytest.approx(2 * 23 / 48)  # 23 of 24 letters and blanks of each
    assert similarity[3] < 0.5
    assert paired(["x", "a dog", "a cat"], theirs[:1]) == [(None, 0), (0, 1), (None, 0)]
    assert paired(["a man runs"], theirs) == [(1, 1)]


def objects_of(words: list[dict | None], caption: str) -> dict[str, list[int]]:
    pairs = zip(tokenise(caption), words, strict=True)
    return {token: named["objects"] for token, named in pairs if named}


def test_words_name_boxes_by_hand(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "1007129816")
    split = write_split(tmp_path / "f30k")
    heads = annotate(split, root)
    named = [objects_of(w, c) for w, c in zip(heads.words, CAPTIONS, strict=True)]
    assert named == [
        {"guys": [0, 1], "hair": [2]},  # "each other" is not visual, "the yard" a scene
        {"men": [0, 1]},  # the grill has no box
        {"friends": [0, 1]},
        {"one": [0], "arm": [3]},
        {},
    ]
    assert heads.objects[0]["objects"][1]["box"] == [50, 10, 70, 30]
    counts = heads.counts
    assert (counts.equal, counts.phrases, counts.annotated, counts.tokens) == (5, 10, 6, 6)
    assert (counts.not_visual, counts.without_box, counts.with_box) == (1, 3, 6)
    whole = annotate(split, root, words="phrases")
    assert objects_of(whole.words[0], CAPTIONS[0]) == {
        "two": [0, 1],
        "young": [0, 1],
        "guys": [0, 1],
        "shaggy": [2],
        "hair": [2],
    }
    with pytest.raises(InputError, match="words"):
        annotate(split, root, words="nouns")


def test_boxes_follow_pictures_of_another_size(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "1007129816")
    split = write_split(tmp_path / "f30k", size=(200, 200))
    assert annotate(split, root).objects[0]["objects"][1]["box"] == [100, 40, 140, 120]


def test_the_truth_is_what_attention_is_measured_against(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "1007129816")
    split = write_split(tmp_path / "f30k")
    assert truth(split) is None
    (annotated,) = write_annotations(split.folder, root).splits
    assert "  phrases: 10; with a box 6, without 3, not visual 1" in annotated.lines()
    known = truth(split)
    assert known is not None
    relevant, naming = known
    guys, hair = 1 + 2, 1 + 5  # <start> stands before the first
    assert relevant[0][guys].tolist() == [True, True, False, False]
    assert relevant[0][hair].tolist() == [False, False, True, False]  # an IoU of 0.9
    assert np.flatnonzero(naming[0]).tolist() == [guys, hair]
    vocabulary = Vocabulary.from_captions(split.captions, threshold=1)
    torch.manual_seed(0)
    matcher = recipes.get("scan-t2i-mean-smoke").build(11, len(vocabulary), 4)
    found = attention_quality(matcher, split, encode(split, vocabulary))
    # "arm" is shown by no region
    assert (found["t2i"].queries, found["t2i"].dropped) == (5, 1)


def test_annotations_are_those_of_the_split_and_not_of_their_own_test_list(tmp_path: Path) -> None:
    """Entities' test.txt lists other images; the id that the mapping gives is what counts."""
    root = write_entities(tmp_path / "entities", "1007129816")
    write_entities(root, "36979", ("[/EN#1/people A group of friends] playing .",) * 5)
    (root / "test.txt").write_text("36979\n")
    split = write_split(tmp_path / "f30k")
    assert annotate(split, root).counts.tokens == 6
    (tmp_path / "f30k" / "id_mapping.json").write_text('{"77": "36979.jpg"}')
    with pytest.raises(InputError, match=r"77: .*36979.txt: other captions in Entities"):
        annotate(split, root)
    (tmp_path / "f30k" / "id_mapping.json").unlink()
    with pytest.raises(InputError, match=r"1 of 1 photographs.*77: not in Entities"):
        annotate(split, root)


def test_captions_in_another_order_or_unrelated_are_told_apart(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "1007129816")
    (root / "UNRELATED_CAPTIONS").write_text(
        "# format: <imageID> <sentence number>\n1007129816 2\n5 1\n"
    )
    turned = [*CAPTIONS[1:4], "A quite different caption of it !", CAPTIONS[0]]
    split = write_split(tmp_path / "f30k", captions=turned)
    found = annotate(split, root)
    named = [objects_of(w, c) for w, c in zip(found.words, turned, strict=True)]
    assert named == [
        {},
        {"friends": [0, 1]},
        {"one": [0], "arm": [3]},
        {},
        {"guys": [0, 1], "hair": [2]},
    ]
    assert (found.counts.equal, found.counts.unrelated, found.counts.other) == (4, 1, 1)
    rows = json.loads(json.dumps(found.words))
    assert [len(row) for row in rows] == [len(tokenise(c)) for c in turned]


def test_the_folder_may_be_as_the_download_leaves_it(tmp_path: Path) -> None:
    """Sentences and boxes are unpacked one folder below the list of unrelated captions."""
    write_entities(tmp_path / "entities" / "annotations", "1007129816")
    (tmp_path / "entities" / "UNRELATED_CAPTIONS").write_text("1007129816 1\n")
    split = write_split(tmp_path / "f30k")
    for root in (tmp_path / "entities", tmp_path / "entities" / "annotations"):
        assert annotate(split, root).counts.unrelated == 1
