"""Captions of Scenes: a grammar with synonyms, relations and partial descriptions.

Every caption has a meaning (the conditions under which it is true of an image) and, for each
token, the objects that the token refers to. Articles, relations and fillers refer to no object.

Page: "Scenes, the dataset card".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from itm_book.scenes.world import Draws, Relations, Scene

CAPTIONS_PER_IMAGE = 5
ATTRIBUTES = ("size", "texture", "colour", "shape")  # English adjective order
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "ball": ("ball", "sphere", "globe"),
        "box": ("box", "square", "block"),
        "triangle": ("triangle", "wedge"),
        "star": ("star",),
        "ring": ("ring", "hoop", "donut"),
        "cross": ("cross", "plus"),
        "heart": ("heart",),
        "diamond": ("diamond", "rhombus"),
        "moon": ("moon", "crescent"),
        "hexagon": ("hexagon",),
    },
    "colour": {
        "red": ("red", "crimson", "scarlet"),
        "orange": ("orange", "amber"),
        "yellow": ("yellow", "golden"),
        "green": ("green", "emerald"),
        "turquoise": ("turquoise", "teal"),
        "blue": ("blue", "cobalt"),
        "purple": ("purple", "violet"),
        "pink": ("pink", "rosy"),
        "white": ("white", "ivory"),
        "black": ("black", "dark"),
    },
    "size": {
        "small": ("small", "little", "tiny"),
        "medium": ("medium",),
        "big": ("big", "large", "huge"),
    },
    "texture": {
        "plain": ("plain", "smooth"),
        "striped": ("striped", "stripy"),
        "dotted": ("dotted", "spotted"),
        "checked": ("checked", "chequered"),
    },
}
PLURALS = {"box": "boxes", "cross": "crosses", "plus": "pluses", "rhombus": "rhombuses"}
GENERIC_NOUNS: tuple[str, ...] = ("thing", "object", "shape")
GROUND_PHRASES = {
    "grass": ("on the grass", "on a lawn"),
    "sand": ("on the sand", "on a beach"),
    "snow": ("in the snow", "on fresh snow"),
    "water": ("on the water", "on a lake"),
    "brick": ("on a brick wall", "against some bricks"),
    "wood": ("on the wood", "on wooden planks"),
    "stone": ("on the stones", "on a stone floor"),
    "carpet": ("on the carpet", "on a rug"),
    "tiles": ("on the tiles", "on a tiled floor"),
    "soil": ("on the soil", "on bare earth"),
}
PLACE_PHRASES = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "middle": "in the middle",
}
RELATION_PHRASES = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "near": ("near", "beside", "next to"),
    "in front of": ("in front of", "partly covering"),
    "behind": ("behind", "partly hidden by"),
}
FILLERS = (
    "in this picture ,",
    "here we see",
    "someone left",
    "on a quiet day ,",
    "a photo of",
    "there is",
)
Token = tuple[str, tuple[int, ...] | None]


@dataclass(frozen=True, kw_only=True)
class Mention:
    """The attributes that a noun phrase requires, and the number of objects it refers to."""

    wanted: dict[str, str]
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """The conditions under which a caption is true; numbers are indices into ``mentions``."""

    mentions: list[Mention]
    relation: str | None = None  # of mention 0 to mention 1
    between: bool = False  # mention 0 lies between mentions 1 and 2
    place: str | None = None  # of mention 0
    ground: str | None = None


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A caption: its tokens, each with the objects it refers to (or None), and its meaning."""

    tokens: list[Token] = field(default_factory=list)
    meaning: Meaning

    @property
    def text(self) -> str:
        """The caption as written to the file."""
        return " ".join(word for word, _ in self.tokens)


def captions(scene: Scene, related: Relations, draws: Draws) -> list[Caption]:
    """Return five different captions that are true of the scene.

    The length and the number of mentioned objects are drawn independently of the scene, so that
    caption length carries no information about the image.
    """
    distinct: dict[str, Caption] = {}
    while len(distinct) < CAPTIONS_PER_IMAGE:
        caption = _caption(scene, related, draws)
        distinct.setdefault(caption.text.lower(), caption)
    return list(distinct.values())


def _caption(scene: Scene, related: Relations, draws: Draws) -> Caption:
    count = 1 + (draws.below(100) >= 14) + (draws.below(100) >= 66)
    chosen = draws.shuffled(range(len(scene.objects)))[:count]
    between = count == 3 and draws.percent(30)
    triple = _random_true_index(related.between, draws) if between else None
    relation = None
    if triple is not None:
        chosen = list(triple)
    elif count >= 2 and draws.percent(75):
        relation, chosen[:2] = _relation(related, chosen, draws)
    mentions = [_mention(scene, [number], count, draws) for number in chosen]
    if count > 1 and relation is None and triple is None and draws.percent(35):
        mentions[0] = _pair_mention(scene, chosen[1:], draws) or mentions[0]
    place = _place(related, chosen[0], draws) if count == 1 and draws.percent(80) else None
    ground = scene.ground if draws.percent(60 if count == 1 else 30) else None
    phrases = [_noun_phrase(mention, named, draws) for mention, named in mentions]
    tokens = _sentence(phrases, relation, triple is not None, place, ground, draws)
    meaning = Meaning(
        mentions=[mention for mention, _ in mentions],
        relation=relation,
        between=triple is not None,
        place=place,
        ground=ground,
    )
    return Caption(tokens=tokens, meaning=meaning)


def _random_true_index(table: np.ndarray, draws: Draws) -> tuple[int, ...] | None:
    """Return the index of a randomly drawn true entry of a bool array; None if there is none."""
    true = np.argwhere(table)
    return tuple(int(n) for n in true[draws.below(len(true))]) if len(true) else None


def _relation(related: Relations, chosen: list[int], draws: Draws) -> tuple[str | None, list[int]]:
    """Return a relation between the first two chosen objects, and the objects in its order."""
    names = draws.shuffled(list(related.pairs))
    for first, second in permutations(chosen[:2]):
        for name in names:
            if related.pairs[name][first, second]:
                return name, [first, second]
    return None, chosen[:2]


def _place(related: Relations, number: int, draws: Draws) -> str | None:
    places = [name for name, table in related.places.items() if table[number]]
    return draws.choose(places) if places else None


def _mention(
    scene: Scene, named: list[int], count: int, draws: Draws
) -> tuple[Mention, tuple[int, ...]]:
    """Return a partial description of one object; captions of one object describe it more fully."""
    thing = scene.objects[named[0]]
    chances = {"size": 45, "texture": 50, "colour": 88, "shape": 90}
    while True:
        drawn = [a for a in ATTRIBUTES if draws.percent(chances[a] + (12 if count == 1 else 0))]
        if len(drawn) >= (3 if count == 1 else 2):
            return Mention(wanted={a: getattr(thing, a) for a in drawn}), tuple(named)


def _pair_mention(
    scene: Scene, taken: list[int], draws: Draws
) -> tuple[Mention, tuple[int, ...]] | None:
    """Return a mention of two unmentioned objects that share at least two attributes, or None."""
    free = [number for number in range(len(scene.objects)) if number not in taken]
    for a, b in permutations(draws.shuffled(free), 2):
        first, second = scene.objects[a], scene.objects[b]
        shared = {
            k: getattr(first, k) for k in ATTRIBUTES if getattr(first, k) == getattr(second, k)
        }
        if len(shared) >= 2:
            return Mention(wanted=shared, count=2), (a, b)
    return None


def _noun_phrase(mention: Mention, named: tuple[int, ...], draws: Draws) -> list[Token]:
    words = [
        draws.choose(WORDS[a][mention.wanted[a]])
        for a in ATTRIBUTES
        if a in mention.wanted and a != "shape"
    ]
    wanted = mention.wanted
    noun = draws.choose(WORDS["shape"][wanted["shape"]] if "shape" in wanted else GENERIC_NOUNS)
    if mention.count == 2:
        return [("two", named), *[(w, named) for w in words], (_plural(noun), named)]
    article = "an" if ([*words, noun])[0][0] in "aeiou" else "a"
    generic = None if "shape" not in wanted else named  # 'thing' alone refers to nothing
    return [(article, None), *[(w, named) for w in words], (noun, generic)]


def _plural(noun: str) -> str:
    return PLURALS.get(noun, noun + "s")


def _without_objects(words: str) -> list[Token]:
    return [(word, None) for word in words.split()]


def _sentence(
    phrases: list[list[Token]],
    relation: str | None,
    between: bool,
    place: str | None,
    ground: str | None,
    draws: Draws,
) -> list[Token]:
    tokens: list[Token] = _without_objects(draws.choose(FILLERS)) if draws.percent(35) else []
    verb = _without_objects("is") if not tokens and draws.percent(50) else []
    remaining = phrases[1:]
    tokens += phrases[0]
    if between:
        tokens += verb + _without_objects("between") + phrases[1]
        tokens += _without_objects("and") + phrases[2]
        remaining = []
    elif relation:
        tokens += verb + _without_objects(draws.choose(RELATION_PHRASES[relation])) + phrases[1]
        remaining = phrases[2:]
    elif place:
        tokens += verb + _without_objects(PLACE_PHRASES[place])
    for number, phrase in enumerate(remaining):
        last = number == len(remaining) - 1
        tokens += _without_objects(draws.choose(("and", "with")) if last else ",") + phrase
    if ground:
        tokens += _without_objects(draws.choose(GROUND_PHRASES[ground]))
    if draws.percent(60):
        tokens.append((".", None))
    if draws.percent(70):
        tokens[0] = (tokens[0][0].capitalize(), tokens[0][1])
    return tokens
