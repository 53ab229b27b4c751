"""Scoring raced: each method, its plain twin and the bare product, in turn in one process.

*Ours* is what `score_matrix` does with fragments that are encoded already. The *twin* is the
paper's equations in a loop over captions; on many captions it is timed on the first ones and
counted up, which is fair, since its time is the same for each. The *bare product* is the one
matrix product that every method needs, all words with all regions. The *floor* is the time that
the floating-point operations of our form (counted while it runs, products alone) would take at the
speed that one large square product reaches here in the same precision.

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

from itm_book.bench.methods import METHODS, Given, Method, build, draw, score, weights_of_twin
from itm_core.evaluation.compiled import compiled
from itm_core.evaluation.scoring import PRECISIONS, matmul_precision
from itm_core.models import Attending, Matcher
from itm_core.settings import at_least, one_of

SQUARE = 2048  # of the product that says what this machine reaches
SQUARE_GPU = 8192
COUNTED = 32  # images, and captions, of the run that counts operations
PRODUCTS = ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm")
RAPL = Path("/sys/class/powercap")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is raced, and on what.

    Attributes:
        methods: names of `methods.METHODS`; all by default.
        images, captions: how many meet.
        width, similarity: D and K.
        device: ``cpu`` or ``cuda``.
        precision: of ours and of the bare product, one of `scoring.PRECISIONS`.
        compile: time ours compiled too (see `compiled`); the compiling itself is not counted.
        repeats: by default each method's own.
        twin_captions: on how many captions the twin is timed.
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
    twin_captions: int = 500

    def __post_init__(self) -> None:
        for name in self.methods:
            one_of("method", name, METHODS)
        one_of("precision", self.precision, PRECISIONS)
        for name in ("images", "captions", "width", "similarity", "twin_captions"):
            at_least(name, getattr(self, name), 1)


@dataclass(frozen=True, kw_only=True)
class ScoringTiming:
    """What came of one method; seconds are medians.

    Attributes:
        flops: of the products that our form needs for a pair.
        reached: floating-point operations a second of a large product here.
        products: share of our time that is spent in matrix products, by torch's profiler.
        error: largest difference of a score from the twin's.
        energy: joules of one scoring of ours, where the machine tells; else None.
        compiled: seconds of ours compiled; None where that was not asked for.
    """

    method: str
    ours: float
    twin: float
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
        """Seconds that the products alone would take."""
        return self.flops * self.pairs / self.reached

    def line(self) -> str:
        """Return the numbers in a line."""
        fast = "" if self.compiled is None else f"; compiled {self.compiled:.3f} s"
        spent = "" if self.energy is None else f", {self.energy:.0f} J"
        return (
            f"{self.method}: ours {self.ours:.3f} s, twin {self.twin:.3f} s "
            f"({self.twin / self.ours:.1f} x), bare product {self.bare:.3f} s "
            f"({self.ours / self.bare:.2f} x), floor {self.floor:.3f} s "
            f"({self.ours / self.floor:.2f} x){spent}; {self.flops / 1e6:.2f} MFLOP a pair, "
            f"{self.products:.0%} of the time in products, "
            f"largest difference {self.error:.0e}, {self.repeats} repeats{fast}"
        )


def race_all(asked: Asked) -> Iterator[ScoringTiming]:
    """Yield what came of each method, one after the other; the same fragments for all."""
    torch.manual_seed(0)
    given = draw(asked.images, asked.captions, asked.width, asked.device)
    reached = speed_of_products(asked.device, asked.precision)
    for name in asked.methods:
        yield race(name, METHODS[name], given, asked, reached)


@torch.no_grad()
def race(name: str, method: Method, given: Given, asked: Asked, reached: float) -> ScoringTiming:
    """Return the times of one method, of its twin and of the bare product, run in turn."""
    matcher = build(method, asked.width, asked.similarity).to(asked.device)
    weights = weights_of_twin(matcher, method)
    few = given.first(min(asked.twin_captions, len(given.words)))
    flat = given.regions.flatten(0, 1).T.contiguous()
    fast = compiled(matcher) if asked.compile else matcher

    def ours(matcher: Matcher = matcher) -> Tensor:
        with matmul_precision(torch.device(asked.device), asked.precision):
            return score(matcher, given).float()

    def twin() -> Tensor:
        return method.twin(few.regions, few.words, few.lens.tolist(), weights)

    def bare() -> Tensor:
        with matmul_precision(torch.device(asked.device), asked.precision):
            return given.packed @ flat

    mine = ours()
    error = (mine[:, : len(few.words)] - twin()).abs().max().item()
    repeats = asked.repeats or method.repeats
    racing = [ours, twin, bare]
    if asked.compile:
        ours(fast)
        racing.append(lambda: ours(fast))
    took = [median(times) for times in in_turn(racing, repeats, asked.device)]
    with metered() as spent:
        ours()
    return ScoringTiming(
        method=name,
        ours=took[0],
        twin=took[1] * len(given.words) / len(few.words),
        bare=took[2],
        flops=operations(matcher, given),
        reached=reached,
        pairs=mine.numel(),
        products=share_of_products(ours),
        error=error,
        repeats=repeats,
        energy=spent(),
        compiled=took[3] if asked.compile else None,
    )


def operations(matcher: Attending, given: Given) -> float:
    """Return the floating-point operations of all products, for a pair of usual length.

    Counted on a few images and captions, all with as many words as the mean, so that no padding
    is counted. Some grow with the pairs and some with the images or captions alone (whole
    vectors, roots of Gram matrices): four counts tell them apart, and each is scaled to the sizes
    that were given.
    """
    mean = round(given.lens.float().mean().item())

    def counted(images: int, captions: int) -> int:
        words = given.packed[: captions * mean].view(captions, mean, -1)
        few = Given(given.regions[:images], words, torch.full((captions,), mean))
        with FlopCounterMode(display=False) as counter:
            score(matcher, few)
        return counter.get_total_flops()

    images, captions = len(given.regions), len(given.words)
    n, m = (min(COUNTED, count) for count in (images, min(captions, len(given.packed) // mean)))
    if n < 2 or m < 2:
        return counted(n, m) / (n * m)
    i, c = n // 2, m // 2
    all_, fewer, shorter, least = counted(n, m), counted(i, m), counted(n, c), counted(i, c)
    a_pair = (all_ - fewer - shorter + least) / ((n - i) * (m - c))
    an_image = (all_ - fewer) / (n - i) - a_pair * m
    a_caption = (all_ - shorter) / (m - c) - a_pair * n
    return a_pair + an_image / captions + a_caption / images


def share_of_products(function: Callable[[], Tensor]) -> float:
    """Return the share of a function's time that its matrix products take."""
    gpu = torch.cuda.is_available()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=kinds) as profiled:
        function()
        if gpu:
            torch.cuda.synchronize()
    spent = {
        one.key: one.self_device_time_total or one.self_cpu_time_total
        for one in profiled.key_averages()
    }
    return sum(spent.get(name, 0) for name in PRODUCTS) / max(sum(spent.values()), 1e-9)


@torch.no_grad()
def speed_of_products(device: str, precision: str, repeats: int = 7) -> float:
    """Return the operations a second that one large square product reaches here."""
    size = SQUARE_GPU if device != "cpu" else SQUARE
    square = torch.randn(size, size, device=device)

    def product() -> Tensor:
        with matmul_precision(torch.device(device), precision):
            return square @ square

    product()
    return 2 * size**3 / median(in_turn([product], repeats, device)[0])


def in_turn(
    functions: Sequence[Callable[[], Tensor]], repeats: int, device: str = "cpu"
) -> list[list[float]]:
    """Return the seconds of every call; a machine that slows down slows all functions."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, took in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            took.append(time.perf_counter() - started)
    return times


@contextmanager
def metered() -> Iterator[Callable[[], float | None]]:
    """Give a function that returns the joules spent inside, None where nothing tells.

    On a GPU its own counter, on a CPU that of the package, which Linux lets root read.
    """
    before = joules()
    after: list[float | None] = []
    try:
        yield lambda: None if before is None or not after or after[0] is None else after[0] - before
    finally:
        after.append(joules())


def joules() -> float | None:
    """Return what the energy counter shows; None where there is none that can be read."""
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
        found = [int(counter.read_text()) for counter in counters]
    except OSError:
        return None
    return sum(found) / 1e6 if found else None
