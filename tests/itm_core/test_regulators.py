"""Regulators: bounds of their control, padding, gradients, references, registered classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from itm_book import reference
from itm_core import regulators
from itm_core.constraints import CONSTRAINTS
from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.errors import InputError
from itm_core.experiments import recipes, runs
from itm_core.models import Attending, AttendingSettings
from itm_core.models.pairing import AllPairs
from itm_core.models.regulation import AttentionPass, Regulator, RegulatorState
from itm_core.regulators import REGULATORS, RegulatorSettings, register, regulator_factory
from tests.micro import SMALL, write_dataset

ENCODER = EncoderSettings(embedding=6, word_width=2)


def pairs(lens: list[int], seed: int = 0, images: int = 3) -> tuple[Fragments, Fragments]:
    draw = torch.Generator().manual_seed(seed)
    V = l2norm(torch.randn(images, 4, 6, generator=draw, dtype=torch.float64))
    W = l2norm(torch.randn(len(lens), max(lens), 6, generator=draw, dtype=torch.float64))
    W = W * (torch.arange(max(lens)) < torch.tensor(lens)[:, None])[..., None]
    return Fragments.of(V), Fragments.of(W, torch.tensor(lens))


def matcher(kind: str, direction: str = "t2i", steps: int = 3) -> Attending:
    torch.manual_seed(4)
    made = Attending(
        3,
        5,
        ENCODER,
        AttendingSettings(direction=direction, attention_temperature=0.5),  # may fall to zero
        regulator_factory(RegulatorSettings(kind=kind, steps=steps, width=4)),
    )
    for parameter in made.parameters():  # biases too: a missing term must show
        nn.init.normal_(parameter, std=0.6)
    return made.double().eval()


@given(
    lens=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    kind=st.sampled_from(["rcr", "rar", "rcar"]),
    direction=st.sampled_from(["t2i", "i2t"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_controls_and_pooling_weights_are_in_their_bounds(
    lens: list[int], kind: str, direction: str, seed: int
) -> None:
    V, W = pairs(lens, seed)
    with torch.no_grad():
        output = matcher(kind, direction).match(AllPairs(V, W)).directions[0]
    for attention_pass in output.passes[1:]:
        assert attention_pass.control.factors is not None
        assert attention_pass.control.factors.abs().max() <= 1
        assert isinstance(attention_pass.control.temperature, Tensor)
        assert attention_pass.control.temperature.min() >= 0
    for weights in output.pooling:
        torch.testing.assert_close(
            weights.sum(output.query_axis), torch.ones_like(weights.sum(output.query_axis))
        )
        if direction == "t2i":
            padded = torch.arange(max(lens)) >= torch.tensor(lens)[:, None]
            assert (weights[padded] == 0).all()
    counts = {"rcr": (4, 0), "rar": (1, 3), "rcar": (3, 3)}[kind]
    assert (len(output.passes), len(output.pooling)) == counts


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize(("kind", "steps"), [*((kind, 3) for kind in REGULATORS), ("rar", 0)])
def test_padding_changes_no_score(kind: str, steps: int, direction: str) -> None:
    V, W = pairs([4, 2])
    wider = Fragments.of(torch.cat([W.vectors, torch.zeros(2, 3, 6)], 1), W.lens)
    more = torch.cat([V.vectors, torch.zeros(3, 2, 6)], 1)
    m = matcher(kind, direction, steps=steps)
    padded = AllPairs(Fragments.of(more, torch.tensor([4, 4, 4])), wider)
    torch.testing.assert_close(m(padded), m(AllPairs(V, W)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize(("kind", "steps"), [*((kind, 2) for kind in REGULATORS), ("rar", 0)])
def test_gradients_are_right(kind: str, steps: int, direction: str) -> None:
    V, W = pairs([3, 3], images=2)
    m = matcher(kind, direction, steps=steps)

    def scores(regions: Tensor, words: Tensor) -> Tensor:
        return m(AllPairs(Fragments.of(regions), Fragments.of(words, W.lens)))

    inputs = V.vectors.requires_grad_(), (W.vectors + 0.0).requires_grad_()
    assert torch.autograd.gradcheck(scores, inputs, atol=1e-5)


RELEASED = (  # our names of a regulator's parameters, and the releases'
    (r"^align\.(\d+)\.transform", r"sim_enc.alv_modules.\1.sim_transform_w"),
    (r"^pooled\.(\d+)", r"sim_enc.rar_modules.\1.rar_q_w.0"),
    (r"^local\.(\d+)", r"sim_enc.rar_modules.\1.rar_k_w.0"),
    (r"^weigh\.(\d+)", r"sim_enc.rar_modules.\1.rar_v_w.0"),
    (r"^correct\.(\d+)\.temperature", r"sim_enc.rcr_modules.\1.rcr_smooth_w"),
    (r"^correct\.(\d+)\.factors", r"sim_enc.rcr_modules.\1.rcr_matrix_w"),
    (r"^output", "sim_enc.sim_eval_w"),
    (r"^gate", "gate_{direction}"),
    (r"^refine", "linear_{direction}"),
)


def released(m: Attending, direction: str) -> dict[str, Tensor]:
    """The weights of the regulator under the names of the references."""
    found = {}
    for name, value in m.directions[direction].regulator.state_dict().items():
        for ours, theirs in RELEASED:
            name = re.sub(ours, theirs.replace("{direction}", direction), name)
        found[name] = value
    return found


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["rcr", "rar", "rcar", "memory"])
def test_any_number_of_steps_equals_the_plain_twin(kind: str, steps: int, direction: str) -> None:
    V, W = pairs([5, 1, 3], seed=steps)
    m = matcher(kind, direction, steps=steps)
    sets = V.vectors, W.vectors, W.lens.tolist(), released(m, direction)
    if kind == "memory":
        expected = reference.imram_scores(
            *sets,
            directions=(direction,),
            steps=steps,
            normalise_memory=False,
            attention_temperature=0.5,
        )
    else:
        expected = reference.rcar_scores(
            *sets,
            mode={"rcr": "only_rcr", "rar": "only_rar", "rcar": "coop_rcar"}[kind],
            steps=steps,
            direction=direction,
            attention_temperature=0.5,
        )
    torch.testing.assert_close(m(AllPairs(V, W)).T, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_rar_without_a_step_scores_the_plain_mean(direction: str) -> None:
    V, W = pairs([5, 1, 3], seed=7)
    m = matcher("rar", direction, steps=0)
    expected = reference.rcar_scores(
        V.vectors,
        W.vectors,
        W.lens.tolist(),
        released(m, direction),
        mode="only_rar",
        steps=0,
        direction=direction,
        attention_temperature=0.5,
    )
    torch.testing.assert_close(m(AllPairs(V, W)).T, expected, rtol=1e-6, atol=1e-7)
    output = m.match(AllPairs(V, W)).directions[0]
    shares = output.contribution.sum(output.query_axis)
    torch.testing.assert_close(shares.flatten(1) + output.bias, output.score, rtol=1e-9, atol=1e-12)
    (weights,) = output.pooling
    if direction == "t2i":
        each = weights[..., 0].transpose(1, 2)[:, 0]  # [C, L], the same for every image
        assert each[2].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])
        assert each[1].tolist() == [1, 0, 0, 0, 0]
    else:
        assert weights.unique().tolist() == [0.25]


def test_rar_without_a_step_is_another_model_than_its_host() -> None:
    host = recipes.get("scan-t2i-mean-smoke")
    plain = host.build(5, 9, 4).state_dict()
    pooled = recipes.get("scan-t2i-mean+rar-smoke").replace("regulator.steps=0").build(5, 9, 4)
    more = {
        name.removeprefix("directions.t2i.regulator.")
        for name in pooled.state_dict().keys() - plain
    }
    assert more == {
        "align.0.transform.weight",
        "align.0.transform.bias",
        "output.weight",
        "output.bias",
    }
    for kind in ("rcr", "rcar", "memory"):
        assert not RegulatorSettings(kind=kind, steps=0).active


def test_a_first_correction_only_lowers_factors_from_one() -> None:
    V, W = pairs([4, 3])
    output = matcher("rcr", steps=1).match(AllPairs(V, W)).directions[0]
    assert output.passes[0].control.factors is None
    factors = output.passes[1].control.factors
    assert factors is not None
    assert factors.min() > 0  # tanh + 1, clamped at one


class Thermostat(Regulator):
    """Change the temperature of each query by its alignment."""

    changes_attention = True

    def __init__(self, embedding: int, settings: RegulatorSettings) -> None:
        super().__init__(embedding, settings)
        self.heads = nn.ModuleList(nn.Linear(settings.width, 1) for _ in range(self.updates))

    def update(self, k: int, attention: AttentionPass, state: RegulatorState) -> RegulatorState:
        change = self.heads[k](self.alignment(k, attention)).squeeze(-1)
        return state.with_control(temperature=(state.control.temperature + change).relu())


class FirstWord(Regulator):
    """Score the first query alone."""

    pools = True

    def update(self, k: int, attention: AttentionPass, state: RegulatorState) -> RegulatorState:
        alignment = self.alignment(k, attention)
        weights = torch.zeros_like(alignment[..., 0])
        weights.select(attention.query_axis, 0).fill_(1)
        pooled = (weights.unsqueeze(-1) * alignment).sum(attention.query_axis, keepdim=True)
        return state.with_pooling(alignment, weights, pooled)


@pytest.fixture
def own() -> Iterator[None]:
    register("thermostat", Thermostat)
    register("first", FirstWord)
    yield
    for name in ("thermostat", "first"):
        del regulators.REGULATORS[name]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("host", ["scan-t2i-mean", "scan-i2t-LSE", "bfan-prob", "saf", "chan"])
@pytest.mark.parametrize("kind", ["thermostat", "first"])
def test_a_regulator_of_ones_own_plugs_into_every_host(host: str, kind: str) -> None:
    if host == "chan" and kind == "thermostat":
        with pytest.raises(InputError, match="no gradient"):
            recipes.get(f"{host}+{kind}")
        return
    recipe = recipes.get(f"{host}+{kind}-smoke").replace("encoder.embedding=8")
    m = recipe.build(5, 9, 4).eval()
    regions = m.regions(torch.randn(2, 4, 5))
    words = m.words(torch.tensor([[1, 4, 5, 2], [1, 6, 2, 0]]), torch.tensor([4, 3]))
    with torch.no_grad():
        scores = m(AllPairs(regions, words))
        output = m.explain(regions, words)
    torch.testing.assert_close(output.total()[:, 0], scores.diagonal(), atol=1e-6, rtol=0)


@pytest.mark.usefixtures("own")
def test_a_run_remembers_the_source_of_ones_own_regulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = write_dataset(tmp_path / "data")
    made = [
        runs.train_or_load(
            dataset, "scan-t2i-mean+thermostat", overrides=SMALL, root=tmp_path, progress=False
        )
    ]
    monkeypatch.setitem(regulators.REGULATORS, "thermostat", FirstWord)
    made.append(
        runs.train_or_load(
            dataset, "scan-t2i-mean+thermostat", overrides=SMALL, root=tmp_path, progress=False
        )
    )
    sources = {run.config["regulator_source"] for run in made}
    assert len(sources) == len({run.folder for run in made}) == 2


@pytest.mark.parametrize("name", ["my/reg", "my-coco", "my+reg", ""])
def test_a_name_that_recipes_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="not a name of a regulator"):
        register(name, Thermostat)
    assert name not in REGULATORS


def test_the_source_is_that_of_methods_bases_and_constants_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of(**members: object) -> str | None:
        base = type("Base", (Thermostat,), members)
        monkeypatch.setitem(regulators.REGULATORS, "own", type("Own", (base,), {}))
        return regulators.fingerprint("own")

    same = of(layers=(64, [2, "x"]))
    assert same == of(layers=(64, [2, "x"]))
    others = [
        of(layers=(64, [3, "x"])),
        of(rates={"a": 1}),
        of(helper=staticmethod(embeddings_of_one)),
        of(helper=classmethod(embeddings_of_one)),
        of(),
    ]
    assert same not in others
    assert len({*others}) == 4  # a static and a class method of one function have one source
    assert of(table={"f": embeddings_of_one}) == of()  # whose text would differ in every process


def test_the_source_has_nothing_that_python_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(**members: object) -> str | None:
        own = type("Own", (Thermostat,), {"__module__": __name__, "rate": 2, **members})
        monkeypatch.setitem(regulators.REGULATORS, "own", own)
        return regulators.fingerprint("own")

    plain = of()
    assert of(__annotations__={"rate": "int"}) == plain
    assert of(__firstlineno__=12, __static_attributes__=("heads",)) == plain  # Python 3.13
    assert of(__annotate_func__=embeddings_of_one) == plain  # Python 3.14
    assert of(__doc__="One.\n\n    More.") == of(__doc__="One.\n\nMore.")  # Python 3.13
    assert of(__call__=embeddings_of_one) != plain  # a method
    assert of(rate=3) != plain


def test_the_hash_of_a_class_is_that_of_older_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another hash would train all runs with registered regulators again."""
    monkeypatch.setitem(regulators.REGULATORS, "own", Still)
    assert regulators.fingerprint("own") == "92cb829f3d9c"  # of the two sources below and above


class Still(Thermostat):
    """A class for the test above."""

    layers = (1, "a")


def embeddings_of_one(self: object) -> None:
    """A method for the test above."""


def test_a_regulator_without_effect_or_with_a_built_in_name_is_refused() -> None:
    class Idle(Thermostat):
        changes_attention = False

    with pytest.raises(InputError, match="no effect"):
        register("idle", Idle)
    before = dict(REGULATORS)
    for name in ("none", *before):
        with pytest.raises(InputError, match="built-in regulator"):
            register(name, Thermostat)
    for name in CONSTRAINTS:  # host+ccr is the constraint, and the class would never be used
        with pytest.raises(InputError, match="built-in constraint"):
            register(name, Thermostat)
    assert before == REGULATORS
