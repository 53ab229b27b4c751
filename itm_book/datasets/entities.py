"""Flickr30K Entities: phrases of captions, and the boxes in the photograph that they refer to.

Plummer, Wang, Cervantes, Caicedo, Hockenmaier, Lazebnik, *Flickr30k Entities*, IJCV 123, 2017.
Its folder has ``Sentences/<image>.txt``, five lines such as ``[/EN#283585/people Two young guys]
look at ...``, ``Annotations/<image>.xml`` with boxes, and ``UNRELATED_CAPTIONS``. Phrases with the
same number form a chain; a chain has several boxes (each of the guys), one, or none (a scene, or
an object that is not visible), and a box may belong to several chains. ``[/EN#0/notvisual ...]``
is not a chain.

Two files are written for a split, which `attention_quality` reads: ``{split}_words.json`` and
``{split}_objects.json``. They cover the images of *that split*: the retrieval test split and the
test split of Entities share 25 images of 1,000, and the others were trained on.

Page: "What attention metrics can and cannot say".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from itm_book.datasets.caption_sources import photographs
from itm_core.data.dataset import Split
from itm_core.data.vocabulary import read_captions, tokenise
from itm_core.errors import InputError
from itm_core.files import write_json
from itm_core.settings import one_of

WORDS = ("heads", "phrases")
NOT_VISUAL = "0"
MIN_SIMILARITY = 0.5  # fraction of common tokens below which two captions differ
PHRASE = re.compile(r"\[/EN#(\d+)((?:/\w+)+) (.+?)\]")
QUOTES = {"``": '"', "''": '"'}  # the tokeniser's quotes


@dataclass(frozen=True)
class Phrase:
    """Words ``first`` to ``last - 1`` of a sentence, which refer to the objects of a chain."""

    first: int
    last: int
    chain: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Sentence:
    """The words of a caption, as tokenised by Entities, and its phrases."""

    words: tuple[str, ...]
    phrases: tuple[Phrase, ...]


@dataclass(frozen=True)
class Boxes:
    """The boxes of an image, ``x1, y1, x2, y2`` from 0, each with its chains."""

    size: tuple[int, int]
    boxes: tuple[tuple[tuple[float, ...], tuple[str, ...]], ...]

    def of(self, chain: str) -> list[int]:
        """Return the indices of a chain's boxes; empty for a scene or an invisible object."""
        return [i for i, (_, chains) in enumerate(self.boxes) if chain in chains]


@dataclass
class Counts:
    """Numbers of annotated and skipped captions, phrases and tokens."""

    captions: int = 0
    unrelated: int = 0
    unlike: int = 0
    phrases: int = 0
    not_visual: int = 0
    without_box: int = 0
    not_aligned: int = 0
    tokens_naming: int = 0

    def lines(self) -> list[str]:
        """Return one line of text for each count."""
        return [f"{f.name.replace('_', ' ')}: {getattr(self, f.name)}" for f in fields(self)]


@dataclass(frozen=True)
class Annotated:
    """Annotations of a split: the objects of each caption's tokens, and of each image."""

    words: list[list[dict[str, Any] | None]]
    objects: list[dict[str, Any]]
    counts: Counts = field(default_factory=Counts)


def read_sentence(line: str, file: Path | None = None, row: int | None = None) -> Sentence:
    """Return the words and phrases of one line; raises `InputError` for an open bracket.

    >>> read_sentence("[/EN#7/people Two guys] look .").words
    ('Two', 'guys', 'look', '.')
    """
    words: list[str] = []
    phrases = []
    end = 0
    for match in PHRASE.finditer(line):
        words += line[end : match.start()].split()
        inner = match[3].split()
        kinds = tuple(match[2].strip("/").split("/"))
        phrases.append(Phrase(len(words), len(words) + len(inner), match[1], kinds))
        words += inner
        end = match.end()
    words += line[end:].split()
    if any("/EN#" in word for word in words):
        raise InputError("a phrase is not closed", file=file, row=row, found=line[:80])
    return Sentence(tuple(words), tuple(phrases))


def read_boxes(path: Path) -> Boxes:
    """Return the boxes of an XML file.

    Pixels in the file count from 1; as in the authors' reader, 1 is subtracted from every corner.
    Raises `InputError` for a file that is missing, not XML, or lacks a size or a corner.
    """
    try:
        root = ElementTree.parse(path).getroot()
        size = tuple(int(_number(root, f"size/{side}")) for side in ("width", "height"))
        boxes = []
        for thing in root.iter("object"):
            box = thing.find("bndbox")
            if box is not None:
                corners = tuple(_number(box, c) - 1 for c in ("xmin", "ymin", "xmax", "ymax"))
                chains = tuple((name.text or "").strip() for name in thing.findall("name"))
                boxes.append((corners, chains))
    except FileNotFoundError:
        remedy = "ids, or id_mapping.json beside the split, must name the photographs"
        raise InputError("annotations not found", file=path, remedy=remedy) from None
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError("not an annotation of boxes", file=path, found=str(error)) from None
    return Boxes((size[0], size[1]), tuple(boxes))


def _number(element: ElementTree.Element, name: str) -> float:
    text = element.findtext(name)
    if text is None:
        raise ValueError(f"no {name}")
    return float(text)


def aligned(caption: str, sentence: Sentence) -> tuple[list[list[int]], float]:
    """Return the token positions of each phrase in a caption, and the similarity of both texts.

    Both are tokenised by our tokeniser and aligned as sequences; tokens that do not match have no
    position.
    """
    ours = [QUOTES.get(token, token) for token in tokenise(caption)]
    theirs: list[str] = []
    starts = [0]
    for word in sentence.words:
        theirs += [QUOTES.get(token, token) for token in tokenise(word)]
        starts.append(len(theirs))
    place: dict[int, int] = {}
    matched = SequenceMatcher(None, theirs, ours, autojunk=False)
    for block in matched.get_matching_blocks():
        place.update({block.a + k: block.b + k for k in range(block.size)})
    positions = [
        [place[t] for t in range(starts[phrase.first], starts[phrase.last]) if t in place]
        for phrase in sentence.phrases
    ]
    return positions, matched.ratio()


def annotate(split: Split, root: Path | str, *, words: str = "heads") -> Annotated:
    """Return the objects that the words of a split's captions refer to, and their boxes.

    Args:
        split: its ids are names of photographs, or numbers that ``id_mapping.json`` of its folder
            translates to names. Boxes are scaled to its pictures where their size differs.
        root: the folder of Entities, as written by `itm data get`, or with all files in one place.
        words: ``heads`` annotates the last word of a phrase (nearly always its head),
            ``phrases`` every word of it.

    Raises `InputError` for an image without annotation, or with other captions than in Entities.
    """
    one_of("words", words, WORDS)
    root, n = _home(Path(root)), split.captions_per_image
    unrelated, counts = _unrelated(root), Counts()
    rows: list[list[dict[str, Any] | None]] = []
    objects = []
    for i, name in enumerate(photographs(split)):
        boxes = read_boxes(root / "Annotations" / f"{name}.xml")
        sentences = _sentences(root / "Sentences" / f"{name}.txt")
        captions = split.captions[n * i : n * i + n]
        matches = list(_matches(captions, sentences))
        if all(similarity < MIN_SIMILARITY for _, _, similarity in matches):
            raise InputError(
                f"image {i} of the {split.name} split has other captions in Entities",
                file=root / "Sentences" / f"{name}.txt",
                expected=captions[0],
                found=" ".join(sentences[0].words) if sentences else "no sentence",
                remedy="check that ids (or id_mapping.json) name the photographs in this order",
            )
        for caption, (number, places, similarity) in zip(captions, matches, strict=True):
            rows.append([None] * len(tokenise(caption)))
            counts.captions += 1
            if (name, number + 1) in unrelated:
                counts.unrelated += 1
            elif similarity < MIN_SIMILARITY:
                counts.unlike += 1
            else:
                _annotate_tokens(rows[-1], sentences[number], places, boxes, words, counts)
        objects.append({"objects": _scaled(boxes, None if split.sizes is None else split.sizes[i])})
    return Annotated(rows, objects, counts)


def _sentences(file: Path) -> list[Sentence]:
    return [read_sentence(line, file, row) for row, line in enumerate(read_captions(file), 1)]


def _matches(
    captions: Sequence[str], sentences: Sequence[Sentence]
) -> Iterator[tuple[int, list[list[int]], float]]:
    """Yield for each caption its most similar sentence, its phrases' tokens, the similarity."""
    for k, caption in enumerate(captions):
        # the sentence at the same position comes first, and wins a tie
        order = sorted(range(len(sentences)), key=lambda number: number != k)
        candidates = [(number, *aligned(caption, sentences[number])) for number in order]
        yield max(candidates, key=lambda candidate: candidate[2], default=(0, [], 0.0))


def _annotate_tokens(
    row: list[dict[str, Any] | None],
    sentence: Sentence,
    places: Sequence[list[int]],
    boxes: Boxes,
    words: str,
    counts: Counts,
) -> None:
    """Fill the row of one caption with the objects of its tokens."""
    for phrase, tokens in zip(sentence.phrases, places, strict=True):
        counts.phrases += 1
        if phrase.chain == NOT_VISUAL or "notvisual" in phrase.kinds:
            counts.not_visual += 1
            continue
        objects = boxes.of(phrase.chain)
        if not objects:
            counts.without_box += 1
        elif not tokens:
            counts.not_aligned += 1
        else:
            for token in tokens if words == "phrases" else tokens[-1:]:
                row[token] = {"objects": objects, "kinds": list(phrase.kinds)}
                counts.tokens_naming += 1


def _scaled(boxes: Boxes, size: Any) -> list[dict[str, Any]]:
    """Return the boxes in pixels of a picture of this size; unchanged for None."""
    wide, high = (1.0, 1.0) if size is None else (size[k] / boxes.size[k] for k in (0, 1))
    return [
        {
            "box": [round(float(c * s), 3) for c, s in zip(b, (wide, high) * 2, strict=True)],
            "chains": list(chains),
        }
        for b, chains in boxes.boxes
    ]


def _home(root: Path) -> Path:
    """Return the folder of ``Sentences``, a subfolder in the download."""
    unpacked = root / "annotations"
    return unpacked if unpacked.is_dir() else root


def _unrelated(home: Path) -> set[tuple[str, int]]:
    """Return the captions that do not describe their image, by name and number from 1."""
    paths = (folder / "UNRELATED_CAPTIONS" for folder in (home, home.parent))
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return set()
    lines = (line.split() for line in read_captions(path) if not line.startswith("#"))
    return {(name, int(number)) for name, number in (line for line in lines if len(line) == 2)}


def write_truth(split: Split, root: Path | str, *, words: str = "heads") -> Counts:
    """Write the annotations of a split (`annotate`) to its folder, and return the counts."""
    annotated = annotate(split, root, words=words)
    write_json(split.folder / f"{split.name}_objects.json", annotated.objects)
    write_json(split.folder / f"{split.name}_words.json", annotated.words)
    return annotated.counts
