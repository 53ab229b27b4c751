"""Scenes: what is said of a picture. A grammar with synonyms, relations and partial descriptions.

Every caption comes with its meaning (what must hold in a picture for it to be true) and with the
objects that each token names; articles, relations and fillers name nothing.

Page: The Scenes data card.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from itm_book.scenes.world import Draws, Relations, Scene

PER_IMAGE = 5
ATTRIBUTES = ("size", "texture", "colour", "shape")  # in the order in which English says them
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
ANY_THING: tuple[str, ...] = ("thing", "object", "shape")
SAID_OF_GROUND = {
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
SAID_OF_PLACE = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "middle": "in the middle",
}
SAID_OF_RELATION = {
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
    """What a noun phrase demands of an object, and of how many objects."""

    wanted: dict[str, str]
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What must hold for a caption to be true; numbers are places among ``mentions``."""

    mentions: list[Mention]
    relation: str | None = None  # of mention 0 to mention 1
    between: bool = False  # mention 0 lies between mentions 1 and 2
    place: str | None = None  # of mention 0
    ground: str | None = None


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A caption, the objects that each of its tokens names (or None), and its meaning."""

    tokens: list[Token] = field(default_factory=list)
    meaning: Meaning

    @property
    def text(self) -> str:
        """The caption as it is written to the file."""
        return " ".join(word for word, _ in self.tokens)


def captions(scene: Scene, related: Relations, draws: Draws) -> list[Caption]:
    """Return five different captions that are true of the scene.

    How long a caption is and how many objects it mentions is drawn before the scene is looked
    at: a matcher that sees only lengths must learn nothing.
    """
    found: dict[str, Caption] = {}
    while len(found) < PER_IMAGE:
        caption = _caption(scene, related, draws)
        found.setdefault(caption.text.lower(), caption)
    return list(found.values())


def _caption(scene: Scene, related: Relations, draws: Draws) -> Caption:
    many = 1 + (draws.below(100) >= 14) + (draws.below(100) >= 66)
    chosen = draws.shuffled(range(len(scene.objects)))[:many]
    between = many == 3 and draws.percent(30)
    triple = _first_true(related.between, draws) if between else None
    relation = None
    if triple is not None:
        chosen = list(triple)
    elif many >= 2 and draws.percent(75):
        relation, chosen[:2] = _relation(related, chosen, draws)
    mentions = [_mention(scene, [number], many, draws) for number in chosen]
    if many > 1 and relation is None and triple is None and draws.percent(35):
        mentions[0] = _pair_mention(scene, chosen[1:], draws) or mentions[0]
    place = _place(related, chosen[0], draws) if many == 1 and draws.percent(80) else None
    ground = scene.ground if draws.percent(60 if many == 1 else 30) else None
    said = [_noun_phrase(mention, named, draws) for mention, named in mentions]
    tokens = _sentence(said, relation, triple is not None, place, ground, draws)
    meaning = Meaning(
        mentions=[mention for mention, _ in mentions],
        relation=relation,
        between=triple is not None,
        place=place,
        ground=ground,
    )
    return Caption(tokens=tokens, meaning=meaning)


def _first_true(table: np.ndarray, draws: Draws) -> tuple[int, ...] | None:
    true = np.argwhere(table)
    return tuple(int(n) for n in true[draws.below(len(true))]) if len(true) else None


def _relation(related: Relations, chosen: list[int], draws: Draws) -> tuple[str | None, list[int]]:
    """A relation that holds between the first two chosen objects, in one order or the other."""
    names = draws.shuffled(list(related.pairs))
    for first, second in permutations(chosen[:2]):
        for name in names:
            if related.pairs[name][first, second]:
                return name, [first, second]
    return None, chosen[:2]


def _place(related: Relations, number: int, draws: Draws) -> str | None:
    held = [name for name, table in related.places.items() if table[number]]
    return draws.choose(held) if held else None


def _mention(
    scene: Scene, named: list[int], many: int, draws: Draws
) -> tuple[Mention, tuple[int, ...]]:
    """A partial description of one object; the fewer objects, the fuller."""
    thing = scene.objects[named[0]]
    chances = {"size": 45, "texture": 50, "colour": 88, "shape": 90}
    while True:
        said = [a for a in ATTRIBUTES if draws.percent(chances[a] + (12 if many == 1 else 0))]
        if len(said) >= (3 if many == 1 else 2):
            return Mention(wanted={a: getattr(thing, a) for a in said}), tuple(named)


def _pair_mention(
    scene: Scene, taken: list[int], draws: Draws
) -> tuple[Mention, tuple[int, ...]] | None:
    """Two objects, not taken by another mention, that share at least two attributes."""
    free = [number for number in range(len(scene.objects)) if number not in taken]
    for a, b in permutations(draws.shuffled(free), 2):
        one, two = scene.objects[a], scene.objects[b]
        same = {k: getattr(one, k) for k in ATTRIBUTES if getattr(one, k) == getattr(two, k)}
        if len(same) >= 2:
            return Mention(wanted=same, count=2), (a, b)
    return None


def _noun_phrase(mention: Mention, named: tuple[int, ...], draws: Draws) -> list[Token]:
    words = [
        draws.choose(WORDS[a][mention.wanted[a]])
        for a in ATTRIBUTES
        if a in mention.wanted and a != "shape"
    ]
    wanted = mention.wanted
    noun = draws.choose(WORDS["shape"][wanted["shape"]] if "shape" in wanted else ANY_THING)
    if mention.count == 2:
        return [("two", named), *[(w, named) for w in words], (_plural(noun), named)]
    article = "an" if ([*words, noun])[0][0] in "aeiou" else "a"
    generic = None if "shape" not in wanted else named  # 'thing' alone grounds nowhere
    return [(article, None), *[(w, named) for w in words], (noun, generic)]


def _plural(noun: str) -> str:
    return PLURALS.get(noun, noun + "s")


def _plain(words: str) -> list[Token]:
    return [(word, None) for word in words.split()]


def _sentence(
    said: list[list[Token]],
    relation: str | None,
    between: bool,
    place: str | None,
    ground: str | None,
    draws: Draws,
) -> list[Token]:
    tokens: list[Token] = _plain(draws.choose(FILLERS)) if draws.percent(35) else []
    verb = _plain("is") if not tokens and draws.percent(50) else []
    rest = said[1:]
    tokens += said[0]
    if between:
        tokens += verb + _plain("between") + said[1] + _plain("and") + said[2]
        rest = []
    elif relation:
        tokens += verb + _plain(draws.choose(SAID_OF_RELATION[relation])) + said[1]
        rest = said[2:]
    elif place:
        tokens += verb + _plain(SAID_OF_PLACE[place])
    for number, phrase in enumerate(rest):
        last = number == len(rest) - 1
        tokens += _plain(draws.choose(("and", "with")) if last else ",") + phrase
    if ground:
        tokens += _plain(draws.choose(SAID_OF_GROUND[ground]))
    if draws.percent(60):
        tokens.append((".", None))
    if draws.percent(70):
        tokens[0] = (tokens[0][0].capitalize(), tokens[0][1])
    return tokens
