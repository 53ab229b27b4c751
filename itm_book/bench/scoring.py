"""Time of scoring: each method, its naive reference and the bare product, interleaved.

*Ours* is what `score_matrix` does with fragments that are already encoded. The *reference* is the
paper's equations in a loop over captions; with many captions it is timed on the first ones and
scaled up, since its time per caption is constant. The *bare product* is the one matrix product
that every method needs, all words with all regions. The *floor* is the time that the
floating-point operations of our form (those of matrix products, counted while it runs) would take
at the speed that one large square product reaches on this machine in the same precision.

Page: "What it costs".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from itm_book.bench.methods import (
    METHODS,
    Embeddings,
    Method,
    build,
    random_embeddings,
    reference_weights,
    score,
)
from itm_core.evaluation.compiled import compiled
from itm_core.evaluation.scoring import PRECISIONS, matmul_precision
from itm_core.models import Attending, Matcher
from itm_core.settings import at_least, one_of

SQUARE = 2048  # side of the product that measures the speed of this machine
SQUARE_GPU = 8192
COUNTED = 32  # images, and captions, of the run that counts operations
PRODUCTS = ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm")
RAPL = Path("/sys/class/powercap")


@dataclass(frozen=True, kw_only=True)
class ScoringSettings:
    """Methods, sizes and device of a benchmark of scoring.

    Attributes:
        methods: names of `methods.METHODS`; all by default.
        images, captions: numbers of images and captions; all pairs are scored.
        width, similarity: D and K.
        device: ``cpu`` or ``cuda``.
        precision: of ours and of the bare product, one of `scoring.PRECISIONS`.
        compile: also time ours compiled (see `compiled`), without the time of compilation.
        repeats: number of timings; by default each method's own.
        reference_captions: number of captions on which the reference is timed.
    """

    methods: Sequence[str] = tuple(METHODS)
    images: int = 100
    captions: int = 500
    width: int = 1024
    similarity: int = 256
    device: str = "cpu"
    precision: str = "float32"
    compile: bool = False
    repeats: int | None = None
    reference_captions: int = 500

    def __post_init__(self) -> None:
        for name in self.methods:
            one_of("method", name, METHODS)
        one_of("precision", self.precision, PRECISIONS)
        for name in ("images", "captions", "width", "similarity", "reference_captions"):
            at_least(name, getattr(self, name), 1)


@dataclass(frozen=True, kw_only=True)
class ScoringTiming:
    """Times of one method in seconds (medians), and what they are compared with.

    Attributes:
        flops: floating-point operations per pair of the matrix products in our form.
        reached: floating-point operations per second of a large product on this machine.
        products: fraction of our time spent in matrix products, by torch's profiler.
        error: largest difference of a score from the reference's.
        energy: joules of one scoring of ours; None where the machine has no readable counter.
        compiled: seconds of ours compiled; None when it was not timed.
    """

    method: str
    ours: float
    reference: float
    bare: float
    flops: float
    reached: float
    pairs: int
    products: float
    error: float
    repeats: int
    energy: float | None = None
    compiled: float | None = None

    @property
    def floor(self) -> float:
        """Seconds that the matrix products alone would take."""
        return self.flops * self.pairs / self.reached

    def line(self) -> str:
        """Return the numbers as one line of text."""
        compiled_part = "" if self.compiled is None else f"; compiled {self.compiled:.3f} s"
        energy_part = "" if self.energy is None else f", {self.energy:.0f} J"
        return (
            f"{self.method}: ours {self.ours:.3f} s, reference {self.reference:.3f} s "
            f"({self.reference / self.ours:.1f} x), bare product {self.bare:.3f} s "
            f"({self.ours / self.bare:.2f} x), floor {self.floor:.3f} s "
            f"({self.ours / self.floor:.2f} x){energy_part}; {self.flops / 1e6:.2f} MFLOP a pair, "
            f"{self.products:.0%} of the time in products, "
            f"largest difference {self.error:.0e}, {self.repeats} repeats{compiled_part}"
        )


def time_scoring(settings: ScoringSettings) -> Iterator[ScoringTiming]:
    """Yield the timing of each method, all on the same fragments."""
    torch.manual_seed(0)
    inputs = random_embeddings(settings.images, settings.captions, settings.width, settings.device)
    reached = product_speed(settings.device, settings.precision)
    for name in settings.methods:
        yield time_method(name, METHODS[name], inputs, settings, reached)


@torch.no_grad()
def time_method(
    name: str, method: Method, inputs: Embeddings, settings: ScoringSettings, reached: float
) -> ScoringTiming:
    """Return the interleaved times of one method, its reference and the bare product."""
    matcher = build(method, settings.width, settings.similarity).to(settings.device)
    weights = reference_weights(matcher, method)
    first = inputs.first(min(settings.reference_captions, len(inputs.words)))
    flat_regions = inputs.regions.flatten(0, 1).T.contiguous()
    compiled_matcher = compiled(matcher) if settings.compile else matcher

    def ours(matcher: Matcher = matcher) -> Tensor:
        with matmul_precision(torch.device(settings.device), settings.precision):
            return score(matcher, inputs).float()

    def reference() -> Tensor:
        return method.reference(first.regions, first.words, first.lens.tolist(), weights)

    def bare() -> Tensor:
        with matmul_precision(torch.device(settings.device), settings.precision):
            return inputs.packed @ flat_regions

    scores = ours()
    error = (scores[:, : len(first.words)] - reference()).abs().max().item()
    repeats = settings.repeats or method.repeats
    functions = [ours, reference, bare]
    if settings.compile:
        ours(compiled_matcher)
        functions.append(lambda: ours(compiled_matcher))
    seconds = [median(times) for times in interleaved(functions, repeats, settings.device)]
    with energy_meter() as energy:
        ours()
    return ScoringTiming(
        method=name,
        ours=seconds[0],
        reference=seconds[1] * len(inputs.words) / len(first.words),
        bare=seconds[2],
        flops=flops_per_pair(matcher, inputs),
        reached=reached,
        pairs=scores.numel(),
        products=product_fraction(ours),
        error=error,
        repeats=repeats,
        energy=energy(),
        compiled=seconds[3] if settings.compile else None,
    )


def flops_per_pair(matcher: Attending, inputs: Embeddings) -> float:
    """Return the floating-point operations of all matrix products per image-caption pair.

    Counted on a few images and captions of mean length, without padding. Some operations grow
    with the pairs and some with the images or captions only (pooled vectors, roots of Gram
    matrices): four counts separate these terms, and each is scaled to the sizes of ``inputs``.
    """
    mean = round(inputs.lens.float().mean().item())

    def counted(images: int, captions: int) -> int:
        words = inputs.packed[: captions * mean].view(captions, mean, -1)
        few = Embeddings(inputs.regions[:images], words, torch.full((captions,), mean))
        with FlopCounterMode(display=False) as counter:
            score(matcher, few)
        return counter.get_total_flops()

    images, captions = len(inputs.regions), len(inputs.words)
    n, m = (min(COUNTED, count) for count in (images, min(captions, len(inputs.packed) // mean)))
    if n < 2 or m < 2:
        return counted(n, m) / (n * m)
    i, c = n // 2, m // 2
    full, fewer_images, fewer_captions = counted(n, m), counted(i, m), counted(n, c)
    per_pair = (full - fewer_images - fewer_captions + counted(i, c)) / ((n - i) * (m - c))
    per_image = (full - fewer_images) / (n - i) - per_pair * m
    per_caption = (full - fewer_captions) / (m - c) - per_pair * n
    return per_pair + per_image / captions + per_caption / images


def product_fraction(function: Callable[[], Tensor]) -> float:
    """Return the fraction of a function's time that is spent in matrix products."""
    gpu = torch.cuda.is_available()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=kinds) as profiled:
        function()
        if gpu:
            torch.cuda.synchronize()
    times = {
        event.key: event.self_device_time_total or event.self_cpu_time_total
        for event in profiled.key_averages()
    }
    return sum(times.get(name, 0) for name in PRODUCTS) / max(sum(times.values()), 1e-9)


@torch.no_grad()
def product_speed(device: str, precision: str, repeats: int = 7) -> float:
    """Return the operations per second of one large square product on this machine."""
    size = SQUARE_GPU if device != "cpu" else SQUARE
    square = torch.randn(size, size, device=device)

    def product() -> Tensor:
        with matmul_precision(torch.device(device), precision):
            return square @ square

    product()
    return 2 * size**3 / median(interleaved([product], repeats, device)[0])


def interleaved(
    functions: Sequence[Callable[[], Tensor]], repeats: int, device: str = "cpu"
) -> list[list[float]]:
    """Return the seconds of ``repeats`` calls of each function, called in turn.

    So a change in the speed of the machine affects all functions alike.
    """
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, seconds, strict=True):
            started = time.perf_counter()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    return seconds


@contextmanager
def energy_meter() -> Iterator[Callable[[], float | None]]:
    """Yield a function that returns the joules spent in the block; None without a counter.

    Reads the counter of the GPU, or that of the CPU package, which on Linux needs root.
    """
    before = joules()
    after: list[float | None] = []
    try:
        yield lambda: None if before is None or not after or after[0] is None else after[0] - before
    finally:
        after.append(joules())


def joules() -> float | None:
    """Return the energy counter in joules; None where none can be read."""
    if torch.cuda.is_available():
        try:
            import pynvml  # comes with the CUDA builds of torch on some systems

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
            torch.cuda.synchronize()
            return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
        except Exception:  # not installed, or a card without a counter
            return None
    counters = RAPL.glob("intel-rapl:?/energy_uj")
    try:
        microjoules = [int(counter.read_text()) for counter in counters]
    except OSError:
        return None
    return sum(microjoules) / 1e6 if microjoules else None
