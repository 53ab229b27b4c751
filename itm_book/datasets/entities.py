"""Flickr30K Entities joined to a dataset: the boxes that the words of its captions refer to.

The captions of a photograph are paired with the sentences of Entities by their text, and the
boxes scaled from the original photograph to the picture at hand. Written for a split:

==========================  ========================================================================
``{split}_words.json``      for every caption a list with an entry for each of its tokens: null, or
                            ``{"objects": [0, 1], "kinds": ["people"], "phrase": 0}``
``{split}_objects.json``    for every image ``{"objects": [{"box": [x1, y1, x2, y2], "chains":
                            ["283585"]}, ...]}``, boxes in pixels of the picture at hand
``{split}_entities.json``   the counts, and the names of everything that was left out or clipped
==========================  ========================================================================

``objects`` are indices in the list of the image, ``kinds`` the types of the phrase (people,
clothing, bodyparts, animals, vehicles, instruments, scene, other; some phrases have two), and
``phrase`` is its number in the sentence. The files cover the images of *that split*: the
retrieval test split and the test split of Entities share 25 images of 1,000.

Page: "What attention metrics can and cannot say".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from itm_book.datasets.caption_sources import photographs
from itm_book.datasets.entity_alignment import ALIKE, aligned, paired
from itm_book.datasets.entity_files import EntityFiles, PhraseBoxes, Sentence
from itm_core.data.dataset import SPLITS, Split, load_split
from itm_core.data.vocabulary import tokenise
from itm_core.errors import InputError
from itm_core.files import unique_keys, whole_file
from itm_core.settings import one_of

WORDS = ("heads", "phrases")
SHOWN = 5  # names in a message

Row = list[dict[str, Any] | None]  # an entry for each token of a caption


@dataclass
class Counts:
    """Numbers of a split; those of captions, phrases and boxes are of annotated photographs.

    Attributes:
        equal, alike, other: captions whose words are those of a sentence of Entities, whose
            letters are at least 90 % those of one, and the rest, which gets no annotation.
        unrelated: equal or alike captions that Entities lists as not about their photograph.
        phrases: with a box, without one (scenes, what is not visible), or not visual.
        skipped: phrases with a box, in captions that are other or unrelated.
        not_aligned: phrases with a box whose last word the caption does not have.
        annotated: phrases with a box that tokens of the caption refer to.
        tokens: these tokens.
        boxes: inside the photograph; of these clipped, and besides these empty (left out).
        unscaled: photographs whose size at hand is unknown, so boxes are in original pixels.
    """

    photographs: int = 0
    equal: int = 0
    alike: int = 0
    other: int = 0
    unrelated: int = 0
    phrases: int = 0
    with_box: int = 0
    without_box: int = 0
    not_visual: int = 0
    skipped: int = 0
    not_aligned: int = 0
    annotated: int = 0
    tokens: int = 0
    boxes: int = 0
    clipped: int = 0
    empty: int = 0
    unscaled: int = 0

    def lines(self) -> list[str]:
        """Return the counts as lines of text."""
        captions = self.equal + self.alike + self.other
        lines = [
            f"photographs: {self.photographs} annotated",
            f"captions: {captions}; equal {self.equal}, alike {self.alike}, other {self.other}; "
            f"unrelated to their photograph {self.unrelated}",
            f"phrases: {self.phrases}; with a box {self.with_box}, without {self.without_box}, "
            f"not visual {self.not_visual}",
            f"phrases with a box: annotated {self.annotated} ({self.tokens} tokens), not aligned "
            f"{self.not_aligned}, in captions that are other or unrelated {self.skipped}",
            f"boxes: {self.boxes}; clipped {self.clipped}, left out as empty {self.empty}",
        ]
        if self.unscaled:
            lines.append(f"size of the picture unknown, boxes not scaled: {self.unscaled}")
        return lines


@dataclass(frozen=True)
class Annotated:
    """Annotations of a split: the objects of each caption's tokens, and of each image.

    Attributes:
        left_out: for each photograph without usable annotation the reason.
        other: captions of annotated photographs that are no sentence of Entities, by place.
        not_aligned: phrases with a box that the caption does not have, by its place.
        clipped, empty: for each photograph the chains of its boxes that were clipped, or had no
            area in it and were left out.
    """

    split: Split
    words: list[Row]
    objects: list[dict[str, Any]]
    counts: Counts = field(default_factory=Counts)
    left_out: dict[str, str] = field(default_factory=dict)
    other: dict[int, str] = field(default_factory=dict)
    not_aligned: dict[int, list[str]] = field(default_factory=dict)
    clipped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    empty: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the counts and the first names of what was left out, as lines of text."""
        lines = [f"{self.split.name}:", *(f"  {line}" for line in self.counts.lines())]
        if self.left_out:
            lines.append(f"  photographs without annotation: {len(self.left_out)}")
            lines += _first(f"{name}: {why}" for name, why in self.left_out.items())
        if self.other:
            lines.append(f"  captions that are other than in Entities: {len(self.other)}")
            lines += _first(f"caption {place}: {text}" for place, text in self.other.items())
        if self.not_aligned:
            lines.append(f"  captions without the words of a phrase: {len(self.not_aligned)}")
            lines += _first(f"caption {k}: {'; '.join(p)}" for k, p in self.not_aligned.items())
        return lines


@dataclass(frozen=True)
class DatasetAnnotations:
    """Annotations of splits of a dataset, and the annotations that none of their images has."""

    splits: list[Annotated]
    unused: list[str]

    def lines(self) -> list[str]:
        """Return what was annotated and what was not, as lines of text."""
        lines = [line for annotated in self.splits for line in annotated.lines()]
        if self.unused:
            names = ", ".join(annotated.split.name for annotated in self.splits)
            lines.append(f"annotations without a photograph in {names}: {len(self.unused)}")
            lines += _first(self.unused)
        return lines


def _first(entries: Iterable[str]) -> list[str]:
    entries = list(entries)
    more = [f"    and {len(entries) - SHOWN} more"] if len(entries) > SHOWN else []
    return [f"    {entry}" for entry in entries[:SHOWN]] + more


def annotate(
    split: Split, root: Path | str, *, words: str = "heads", strict: bool = False
) -> Annotated:
    """Return the objects that the words of a split's captions refer to, and their boxes.

    Args:
        split: its ids are names of photographs, or numbers that ``id_mapping.json`` of its folder
            translates to names; names are those of Entities or of Flickr8k (`EntityFiles.name_of`).
            Boxes are scaled to ``split.sizes``, or to its pictures where it has none.
        root: the folder of Entities, as written by `itm data get`, or with all files in one place.
        words: ``heads`` annotates the last word of a phrase (nearly always its head),
            ``phrases`` every word of it.
        strict: whether a photograph without usable annotation is refused instead of counted.

    Raises `InputError` when most photographs have no usable annotation (with ``strict``: when one
    has none), and when two photographs have the same one.
    """
    files = EntityFiles(Path(root))
    (names,) = _names([split], files)
    return _annotate(split, files, names, words=words, strict=strict)


def _names(splits: Sequence[Split], files: EntityFiles) -> list[list[str | None]]:
    """Return the names that the images of each split have in Entities, None for those it lacks."""
    names = [[files.name_of(photograph) for photograph in photographs(split)] for split in splits]
    used = (
        (name, f"{image} of {split.name}")
        for split, names_of in zip(splits, names, strict=True)
        for name, image in zip(names_of, split.ids, strict=True)
        if name is not None
    )
    unique_keys(used, files.home / "Annotations", what="photographs")
    return names


def _annotate(
    split: Split, files: EntityFiles, names: Sequence[str | None], *, words: str, strict: bool
) -> Annotated:
    one_of("words", words, WORDS)
    annotated = Annotated(split, [[None] * len(tokenise(c)) for c in split.captions], [])
    for image, name in enumerate(names):
        try:
            if name is None:
                raise InputError("not in Entities", remedy="ids must name the photographs")
            annotated.objects.append(_annotate_image(annotated, image, name, files, words))
        except InputError as error:
            annotated.objects.append({"objects": []})
            annotated.left_out[split.ids[image]] = str(error)
    _require_most(annotated, files, strict)
    return annotated


def _require_most(annotated: Annotated, files: EntityFiles, strict: bool) -> None:
    left_out, images = annotated.left_out, len(annotated.objects)
    if len(left_out) > (0 if strict else images / 2):
        photograph, why = next(iter(left_out.items()))
        raise InputError(
            f"{len(left_out)} of {images} photographs of the {annotated.split.name} split have no "
            "usable annotation",
            file=files.home,
            found=f"{photograph}: {why}",
            remedy="without --strict it would be counted"
            if len(left_out) <= images / 2
            else "check that ids (or id_mapping.json) name the photographs, in the order of the "
            "captions",
        )


def _annotate_image(
    annotated: Annotated, image: int, name: str, files: EntityFiles, words: str
) -> dict[str, Any]:
    """Fill the rows of an image's captions, add to the counts, and return its objects.

    Raises `InputError` before it changes anything.
    """
    split, counts = annotated.split, annotated.counts
    boxes, sentences = files.boxes(name), files.sentences(name)
    first = split.place(image, 0)
    captions = split.captions_of(image)
    pairs = paired(captions, sentences)
    if all(similarity < ALIKE for _, similarity in pairs):
        raise InputError(
            "other captions in Entities",
            file=files.home / "Sentences" / f"{name}.txt",
            expected=captions[0],
            found=" ".join(sentences[0].words),
        )
    size = _size(split, image)
    objects = {"objects": _scaled(boxes, size)}
    counts.photographs += 1
    counts.boxes += len(boxes.boxes)
    counts.clipped += len(boxes.clipped)
    counts.empty += len(boxes.empty)
    if boxes.clipped:
        annotated.clipped[split.ids[image]] = boxes.clipped
    if boxes.empty:
        annotated.empty[split.ids[image]] = boxes.empty
    counts.unscaled += size is None
    for place, (number, similarity) in enumerate(pairs, first):
        sentence = Sentence((), ()) if number is None else sentences[number]
        related = number is None or (name, number + 1) not in files.unrelated
        other = similarity < ALIKE
        counts.equal += similarity == 1
        counts.alike += not other and similarity < 1
        counts.other += other
        counts.unrelated += not (other or related)
        if other:
            annotated.other[place] = split.captions[place]
        row = annotated.words[place] if related and not other else None
        positions = aligned(split.captions[place], sentence)
        if words == "heads":
            positions = [tokens[-1:] for tokens in positions]
        if missed := _annotate_caption(row, positions, sentence, boxes, counts):
            annotated.not_aligned[place] = missed
    return objects


def _annotate_caption(
    row: Row | None,
    positions: Sequence[list[int]],
    sentence: Sentence,
    boxes: PhraseBoxes,
    counts: Counts,
) -> list[str]:
    """Fill the row of one caption with the objects of its tokens; None for one that is skipped.

    Returns the phrases with a box that are not aligned.
    """
    missed = []
    for number, (phrase, tokens) in enumerate(zip(sentence.phrases, positions, strict=True)):
        counts.phrases += 1
        objects = boxes.of(phrase.chain) if phrase.visual else []
        counts.not_visual += not phrase.visual
        counts.without_box += phrase.visual and not objects
        counts.with_box += bool(objects)
        if not objects:
            continue
        if row is None:
            counts.skipped += 1
            continue
        free = [token for token in tokens if row[token] is None]
        if not free:
            counts.not_aligned += 1
            missed.append(" ".join(sentence.words[phrase.first : phrase.last]))
        counts.annotated += bool(free)
        for token in free:
            row[token] = {"objects": objects, "kinds": list(phrase.kinds), "phrase": number}
            counts.tokens += 1
    return missed


def _size(split: Split, image: int) -> tuple[float, float] | None:
    """Return width and height of the picture at hand, None where neither is stored."""
    if split.sizes is not None:
        return float(split.sizes[image][0]), float(split.sizes[image][1])
    picture = split.picture(image)
    return None if picture is None else (float(picture.shape[1]), float(picture.shape[0]))


def _scaled(boxes: PhraseBoxes, size: tuple[float, float] | None) -> list[dict[str, Any]]:
    """Return the boxes in pixels of a picture of this size; unchanged for None."""
    wide, high = (1.0, 1.0) if size is None else (size[k] / boxes.size[k] for k in (0, 1))
    return [
        {
            "box": [round(float(c * s), 3) for c, s in zip(b, (wide, high) * 2, strict=True)],
            "chains": list(chains),
        }
        for b, chains in boxes.boxes
    ]


def write_annotations(
    folder: Path | str,
    root: Path | str,
    *,
    splits: Sequence[str] | None = None,
    words: str = "heads",
    strict: bool = False,
) -> DatasetAnnotations:
    """Write the annotations of a dataset's splits to its folder, all or none, and return them.

    Args:
        splits: by default train, dev and test where the folder has them.
        root, words, strict: as for `annotate`.

    Raises `InputError` as `annotate` does; then nothing was written.
    """
    folder = Path(folder)
    present = [name for name in SPLITS if (folder / f"{name}_ims.npy").exists()]
    loaded = [load_split(folder, name) for name in splits or present or SPLITS]
    files = EntityFiles(Path(root))
    names = _names(loaded, files)
    all_annotated = [
        _annotate(split, files, names_of, words=words, strict=strict)
        for split, names_of in zip(loaded, names, strict=True)
    ]
    used = {name for names_of in names for name in names_of}
    annotations = DatasetAnnotations(all_annotated, sorted(files.names - used))
    _write(folder, annotations, words)
    return annotations


def _write(folder: Path, annotations: DatasetAnnotations, words: str) -> None:
    with ExitStack() as stack:  # renamed together, when all are complete
        for annotated in annotations.splits:
            note = {
                "words": words,
                "counts": asdict(annotated.counts),
                "left_out": annotated.left_out,
                "other_captions": annotated.other,
                "not_aligned": annotated.not_aligned,
                "clipped": annotated.clipped,
                "empty": annotated.empty,
                "unused": annotations.unused,  # by all splits of the call
            }
            contents = {
                "objects": _lines(annotated.objects),
                "words": _lines(annotated.words),
                "entities": json.dumps(note, indent=1),
            }
            for kind, text in contents.items():
                path = folder / f"{annotated.split.name}_{kind}.json"
                stack.enter_context(whole_file(path)).write_text(text + "\n", encoding="utf-8")


def _lines(rows: Sequence[Any]) -> str:
    """Return rows as a JSON list with a row a line."""
    return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]"
