"""The files of Flickr30K Entities: sentences with marked phrases, boxes, names of photographs.

Plummer, Wang, Cervantes, Caicedo, Hockenmaier, Lazebnik, *Flickr30k Entities*, IJCV 123, 2017.
Its folder has ``Sentences/<image>.txt``, five lines such as ``[/EN#283585/people Two young guys]
look at ...``, ``Annotations/<image>.xml`` with boxes, and ``UNRELATED_CAPTIONS``. Phrases with the
same number form a chain; a chain has several boxes (each of the guys), one, or none (a scene, or
an object that is not visible), and a box may belong to several chains. ``[/EN#0/notvisual ...]``
is not a chain. After the number stand one or more types: people, clothing, bodyparts, animals,
vehicles, instruments, scene, other.

Page: "What attention metrics can and cannot say".
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from itm_core.data.photographs import image_key
from itm_core.data.vocabulary import read_captions
from itm_core.errors import InputError
from itm_core.files import reading

SENTENCES = 5  # of every photograph
NOT_VISUAL = "0"
PHRASE = re.compile(r"\[/EN#(\d+)((?:/\w+)+) (.+?)\]")
NUMBERED = re.compile(r"(\d+)_.+")  # Flickr8k's names: the number in Flickr30K, and a suffix


@dataclass(frozen=True)
class Phrase:
    """Words ``first`` to ``last - 1`` of a sentence, which refer to the objects of a chain."""

    first: int
    last: int
    chain: str
    kinds: tuple[str, ...]

    @property
    def visual(self) -> bool:
        """Whether the phrase refers to something that can be seen."""
        return self.chain != NOT_VISUAL and "notvisual" not in self.kinds


@dataclass(frozen=True)
class Sentence:
    """The words of a caption, as tokenised by Entities, and its phrases."""

    words: tuple[str, ...]
    phrases: tuple[Phrase, ...]


@dataclass(frozen=True)
class PhraseBoxes:
    """The boxes of an image, ``x1, y1, x2, y2`` from 0, each with its chains.

    Attributes:
        size: width and height of the original photograph, in whose pixels the boxes are.
        clipped: the chains of each box that exceeded the photograph and was clipped to it.
        empty: the chains of each box without area inside the photograph, which was removed.
    """

    size: tuple[int, int]
    boxes: tuple[tuple[tuple[float, ...], tuple[str, ...]], ...]
    clipped: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    def of(self, chain: str) -> list[int]:
        """Return the indices of a chain's boxes; empty for a scene or an invisible object."""
        return [i for i, (_, chains) in enumerate(self.boxes) if chain in chains]


class EntityFiles:
    """The annotations in a folder, by name of the photograph."""

    def __init__(self, root: Path) -> None:
        """List the annotations of a folder, as written by ``itm data get`` or all in one place.

        Raises `InputError` for a folder without sentences or boxes.
        """
        self.home = root / "annotations" if (root / "annotations").is_dir() else root
        boxes = {path.stem for path in (self.home / "Annotations").glob("*.xml")}
        sentences = {path.stem for path in (self.home / "Sentences").glob("*.txt")}
        if not boxes or not sentences:
            raise InputError(
                "no annotations of Flickr30K Entities in this folder",
                file=root,
                expected="Sentences/*.txt and Annotations/*.xml, here or in annotations/",
                remedy="itm data get flickr30k-entities, or name its folder: --annotations FOLDER",
            )
        self.names = boxes | sentences
        self.unrelated = _unrelated(self.home)
        self._by_number: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self.names):
            self._by_number[_number_of(image_key(name))].append(name)

    def name_of(self, photograph: str) -> str | None:
        """Return the name that a photograph has here, or None for one without annotation.

        The exact name comes first, then the number before the underscore: ``1000268201_693b08cb0e``
        of Flickr8k is ``1000268201`` here. Raises `InputError` when two names have the number.
        """
        if photograph in self.names:
            return photograph
        names = self._by_number.get(_number_of(image_key(photograph)), [])
        if len(names) > 1:
            raise InputError(
                f"two annotations fit the photograph {photograph}",
                file=self.home / "Annotations",
                found=" and ".join(f"{name}.xml" for name in names[:2]),
                remedy="give the right one the name of the photograph, or remove the other",
            )
        return names[0] if names else None

    def sentences(self, name: str) -> list[Sentence]:
        """Return the five sentences of a photograph; raises `InputError` for another number."""
        file = self.home / "Sentences" / f"{name}.txt"
        sentences = [read_sentence(line, file, n) for n, line in enumerate(read_captions(file), 1)]
        if len(sentences) != SENTENCES:
            raise InputError(
                "wrong number of sentences",
                file=file,
                expected=f"{SENTENCES} lines",
                found=len(sentences),
            )
        return sentences

    def boxes(self, name: str) -> PhraseBoxes:
        """Return the boxes of a photograph, see `read_boxes`."""
        return read_boxes(self.home / "Annotations" / f"{name}.xml")


def _number_of(name: str) -> str:
    match = NUMBERED.fullmatch(name)
    return image_key(match[1]) if match else name


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


def read_boxes(path: Path) -> PhraseBoxes:
    """Return the boxes of an XML file, clipped to the photograph.

    Pixels in the file count from 1; as in the authors' reader, 1 is subtracted from every corner.
    Raises `InputError` for a file that is missing, not XML, or lacks a size or a corner.
    """
    with reading(path, "annotations not found"):
        content = path.read_bytes()
    try:
        root = ElementTree.fromstring(content)
        width, height = (int(_number(root, f"size/{side}")) for side in ("width", "height"))
        if width < 1 or height < 1:
            raise ValueError(f"a photograph of {width} x {height} pixels")
        corners = []
        for thing in root.iter("object"):
            box = thing.find("bndbox")
            if box is not None:
                chains = tuple((name.text or "").strip() for name in thing.findall("name"))
                pixels = [_number(box, c) - 1 for c in ("xmin", "ymin", "xmax", "ymax")]
                corners.append((pixels, chains))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError("not an annotation of boxes", file=path, found=str(error)) from None
    return _inside((width, height), corners)


def _inside(size: tuple[int, int], boxes: list[tuple[list[float], tuple[str, ...]]]) -> PhraseBoxes:
    """Return boxes that are clipped to a photograph, without those that have no area in it."""
    kept, clipped, empty = [], [], []
    for corners, chains in boxes:
        inside = tuple(
            min(max(c, 0.0), float(side)) for c, side in zip(corners, size * 2, strict=True)
        )
        if inside[2] <= inside[0] or inside[3] <= inside[1]:
            empty.append(" ".join(chains))
            continue
        if inside != tuple(corners):
            clipped.append(" ".join(chains))
        kept.append((inside, chains))
    return PhraseBoxes(size, tuple(kept), tuple(clipped), tuple(empty))


def _number(element: ElementTree.Element, name: str) -> float:
    """Return the number in a child; raises ValueError where it is missing or not finite."""
    text = element.findtext(name)
    if text is None:
        raise ValueError(f"no {name}")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {text.strip()}")
    return number


def _unrelated(home: Path) -> set[tuple[str, int]]:
    """Return the captions that do not describe their image, by name and number from 1."""
    paths = (folder / "UNRELATED_CAPTIONS" for folder in (home, home.parent))
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return set()
    unrelated = set()
    for row, line in enumerate(read_captions(path), 1):
        if line.strip() and not line.startswith("#"):
            name, _, number = line.strip().partition(" ")
            if not number.strip().isdecimal() or len(number) > 9:
                expected = "a photograph and the number of a sentence"
                raise InputError("not readable", file=path, row=row, expected=expected, found=line)
            unrelated.add((name, int(number)))
    return unrelated
