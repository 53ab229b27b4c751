"""The model card of a shipped matcher: a YAML header for programs, prose and tables for people.

Page: "Your pictures".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from itm_book.records.markdown import code, inert
from itm_core.errors import InputError
from itm_core.evaluation.retrieval import CUTS

SIDES = (("i2t", "image to text"), ("t2i", "text to image"))
PRECISIONS = (("float32", "as trained, float32"), ("float16", "as shipped, float16"))
TEXT = """\
# {title}

A matcher of the book *Where Words Look*, after {paper}.
It scores how well a sentence describes a photograph, and weighs 36 regions of the photograph for
every word. Recipe `{recipe}`, seed {seed}, trained on {dataset} from commit `{commit}`.

## Data and its terms

Trained on the training split of {dataset_name}. {terms}
The folder holds weights and a list of {words} words, which occur in the training captions; no
photograph, caption or feature. Its use is bound by the terms of the data that it was trained on.

## The features that it needs

36 regions of {width} numbers for a photograph, made with the backbone {backbone}
{hash}and the boxes {boxes}. `features` in `config.json` is the note that such
features carry. Features that were made otherwise are refused: their vectors mean something else.

## Training

{machine}

```yaml
{settings}```

## Numbers

The {images} photographs and {captions} captions of the test split, which took no part in
training; recalls in percent, 95 % intervals over images. The weights are rounded to float16 and
computed with as float32: a score moves by {moved:.1g} at most, and the rank of the right item for
{i2t_moved} of {images} photographs and {t2i_moved} of {captions} captions.

{numbers}
{attention}
## Limits

Its words are those of {dataset}: mostly people and dogs outdoors, in English. A word that occurs
rarely or never in the captions is one and the same unknown word to it. A score orders photographs
for one sentence, and sentences for one photograph; it is no probability that a sentence is true.
The numbers are of one seed, and of regions and features of this project: do not compare them with
published numbers of Flickr30K or MSCOCO. What the captions say about people, it repeats.

## How to load it

```python
from itm_book.checkpoints import shipped_matchers
from itm_book.pairs.pair_records import pair_record
from itm_book.photographs.run_pictures import pictures_for

run = shipped_matchers.load("{name}")
photographs = pictures_for(run, "my-photographs", "data/my-photographs-regions")
pair_record(run, photographs, 0, "a dog runs in the grass").score
```

In a terminal: `itm index` and `itm score` take this folder as a run. The chapter *Your pictures*
of the book searches a folder of photographs with it.
"""


def model_card(
    config: Mapping[str, Any], record: Mapping[str, Any], environment: Mapping[str, Any]
) -> str:
    """Return the card of a matcher.

    Args:
        config, record: its configuration, its numbers and origin, as `shipping.ship` writes them.
        environment: of the run that trained it.
    """
    shipped, features, test = config["shipped"], config["features"], record["test"]["float16"]
    text = TEXT.format(
        title=inert(shipped["title"]),
        paper=config["recipe"]["paper"],
        name=shipped["name"],
        recipe=config["recipe"]["name"],
        seed=config["seed"],
        dataset=inert(config["dataset"]),
        dataset_name=code(config["dataset"]),
        commit=record["commit"],
        terms=inert(record["terms"]),
        words=record["words"],
        width=features["width"],
        backbone=code(features["backbone"]),
        hash=f"(weights {features['weights'][:12]}…) " if "weights" in features else "",
        boxes=code(config["boxes"]),
        machine=_machine(environment),
        settings=yaml.safe_dump(dict(config["recipe"]), sort_keys=False, allow_unicode=True),
        images=test["images"],
        captions=test["captions"],
        moved=record["largest_difference"],
        i2t_moved=record["moved_ranks"]["i2t"],
        t2i_moved=record["moved_ranks"]["t2i"],
        numbers=_numbers(record["test"]),
        attention=_attention(record["attention"]),
    )
    return f"---\n{yaml.safe_dump(_header(config, record), sort_keys=False)}---\n\n{text}"


def _header(config: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a program may want to know without reading the prose."""
    shipped, test = config["shipped"], record["test"]["float16"]
    recalls = {f"{side}_r{cut}": test[f"{side}_r{cut}"] for side, _ in SIDES for cut in CUTS}
    return {
        "name": shipped["name"],
        "recipe": config["recipe"]["name"],
        "seed": config["seed"],
        "dataset": config["dataset"],
        "commit": record["commit"],
        "precision": "float16",
        "weights": shipped["weights"],
        "words": record["words"],
        "features": config["features"],
        "boxes": config["boxes"],
        "test": {"rsum": test["rsum"], **recalls},
    }


def _machine(environment: Mapping[str, Any]) -> str:
    try:
        minutes = environment["seconds_training"] / 60
        versions = f"Python {environment['python']}, torch {environment['packages']['torch']}"
        device = inert(environment["device_name"])
    except (KeyError, TypeError) as error:
        raise InputError(
            "the run does not say where and how long it was trained",
            file="environment.json",
            expected="device_name, seconds_training, python and packages.torch",
            found=f"no {error}" if isinstance(error, KeyError) else str(error),
            remedy="ship a run that this program has trained",
        ) from None
    return (
        f"{minutes:.0f} minutes on {device}, {versions}.\n"
        "The weights are those of the epoch with the best recalls on the development split. "
        "All settings:"
    )


def _numbers(test: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the recalls of both precisions as a Markdown table."""
    head = ["weights", "direction", *(f"R@{cut}" for cut in CUTS), "rSum"]
    rows = [head, ["---"] * len(head)]
    for precision, words in PRECISIONS:
        numbers = test[precision]
        for side, direction in SIDES:
            cells = [_with_interval(numbers, f"{side}_r{cut}") for cut in CUTS]
            rsum = _with_interval(numbers, "rsum") if side == SIDES[0][0] else ""
            rows.append([words, direction, *cells, rsum])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _with_interval(numbers: Mapping[str, Any], name: str) -> str:
    low, high = numbers["intervals"][name]
    return f"{numbers[name]:.1f} [{low:.1f}, {high:.1f}]"


def _attention(measures: Mapping[str, float]) -> str:
    """Return attention against people's boxes as a Markdown table; empty without annotations."""
    if not measures:
        return ""
    rows = "".join(f"| {name} | {value:.3f} |\n" for name, value in measures.items())
    said = "Attention against the boxes that people drew, of the weights as trained:"
    return f"\n{said}\n\n| measure | value |\n| --- | --- |\n{rows}"
