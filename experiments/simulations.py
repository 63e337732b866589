"""How often tests and intervals are wrong, by simulation; prints tables in Markdown.

    python experiments/simulations.py [false_positives|coverage|power|blocks] [--count 4000]

Cells, specimens and trainings are drawn: a cell is right if mu + specimen + cell + training +
training x specimen + training x cell is above 0, all normal. The standard deviations are set so
that the tests used before call one method against itself as often different as was seen: 45 % by
McNemar's test with one seed on specimens that no training has seen.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, nct, norm
from scipy.stats import t as student

from hep2gan.data.patterns import CLASSES, COUNTS
from hep2gan.data.phantom.specimens import plan_specimens
from hep2gan.data.splits import SplitSettings, make_split
from hep2gan.data.store.store import Store
from hep2gan.statistics.bootstrap import bootstrap, ratios
from hep2gan.statistics.clusters import CellValues, clustered_mean
from hep2gan.statistics.methods import CrossedTest, crossed_test
from hep2gan.statistics.significance import Interval, wilson

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rng = np.random.Generator
COUNT = 4000
BATCH = 250
LEVEL = 0.05
FOLDS = 5


class Cells(NamedTuple):
    """What decides whether a cell is classified correctly: standard deviations on a probit scale.

    Attributes:
        mean: Mean; larger is more accurate.
        specimen: Between specimens: some are hard for every training.
        cell: Between cells of a specimen.
        training: Between trainings: some seeds are better everywhere.
        by_specimen: Between trainings within a specimen.
        by_cell: Between trainings within a cell.
        method: Between methods within a specimen: which of two is better depends on it.
        gap: Mean of the first method less that of the second.
    """

    mean: float = 1.8
    specimen: float = 1.1
    cell: float = 1.2
    training: float = 0.4
    by_specimen: float = 1.15
    by_cell: float = 1.15
    method: float = 0.0
    gap: float = 0.0

    def draw(self, rng: Rng, count: int, seeds: int, specimens: int, cells: int) -> Bools:
        """Draw (count, 2, seeds, specimens, cells): whether each of two methods is right."""

        def normal(scale: float, *shape: int) -> npt.NDArray[np.float32]:
            return np.float32(scale) * rng.standard_normal((count, *shape), np.float32)

        shift = np.array([self.gap / 2, -self.gap / 2], np.float32).reshape(1, 2, 1, 1, 1)
        return np.asarray(
            self.mean
            + shift
            + normal(self.specimen, 1, 1, specimens, 1)
            + normal(self.cell, 1, 1, specimens, cells)
            + normal(self.method, 2, 1, specimens, 1)
            + normal(self.training, 2, seeds, 1, 1)
            + normal(self.by_specimen, 2, seeds, specimens, 1)
            + normal(self.by_cell, 2, seeds, specimens, cells)
            > 0
        )


UNSEEN = Cells()
"""Test specimens that no training has seen."""
SEEN = Cells(mean=3.0, specimen=0.9, training=0.33, by_specimen=0.4, by_cell=0.9)
"""A random split: each specimen has cells in training too."""


class Design(NamedTuple):
    """A way to test two methods, on the 83 specimens of the ICPR 2016 set with 16 cells each.

    Attributes:
        name: What the tables call it.
        cells: What decides whether a cell is classified correctly.
        specimens: Their number.
        folds: Trainings of each seed, each tested on specimens of its own.
        turns: One training of each seed, tested on one of so many folds: seed s on fold s modulo
            turns.
        random: Each seed is tested on a tenth of the cells, drawn for it alone.
        known: Specimens are known, so that tests are over them; else over cells.
    """

    name: str
    cells: Cells
    specimens: int
    folds: int = 1
    turns: int = 1
    random: bool = False
    known: bool = True

    def draw(self, rng: Rng, count: int, seeds: int, cells: Cells | None = None) -> "Results":
        """Draw the results of two methods."""
        own = cells or self.cells
        # Folds are trainings of their own, each on specimens of its own.
        sizes = [len(part) for part in np.array_split(np.arange(self.specimens), self.folds)]
        right = np.concatenate([own.draw(rng, count, seeds, n, 16) for n in sizes], axis=3)
        tested = np.ones((seeds, *right.shape[3:]), np.bool_)
        turn, fold = (np.arange(n) % self.turns for n in (seeds, self.specimens))
        tested &= (turn[:, None] == fold)[..., None]
        if self.random:
            flat = rng.random((seeds, tested[0].size)).argsort(axis=1) < tested[0].size // 10
            tested = flat.reshape(seeds, *right.shape[3:])
        return Results(right[:, 0].astype(np.int8) - right[:, 1], tested, self.known)


class Results(NamedTuple):
    """Simulated results: gained (count, seeds, S, n) is 1 if only the first method is right, -1 if
    only the second; tested (seeds, S, n) are the cells that each seed tests; known says whether the
    tests know their specimens."""

    gained: npt.NDArray[np.int8]
    tested: Bools
    known: bool = True

    @property
    def by_specimen(self) -> npt.NDArray[np.int64]:
        """(count, seeds, S) sums over the cells that are tested."""
        return np.asarray((self.gained * self.tested).sum(axis=3), np.int64)

    @property
    def by_seed(self) -> Floats:
        """(count, seeds) differences of accuracy."""
        return np.asarray(self.by_specimen.sum(axis=2) / self.tested.sum(axis=(1, 2)), np.float64)

    def mcnemar(self) -> Floats:
        """p of the exact test over cells; a cell counts for the method right under more seeds."""
        by_cell = (self.gained * self.tested).sum(axis=1)
        first, second = (by_cell > 0).sum(axis=(1, 2)), (by_cell < 0).sum(axis=(1, 2))
        return np.minimum(1, 2 * binom.cdf(np.minimum(first, second), first + second, 0.5))

    def sign_flips(self, rng: Rng) -> Floats:
        """p of flipping the signs of specimens, all seeds together."""
        sums = self.by_specimen.sum(axis=1).astype(np.float32)
        signs = rng.choice(np.array([-1, 1], np.float32), (sums.shape[1], 2000))
        extreme = np.abs(sums @ signs) >= np.abs(sums.sum(axis=1, keepdims=True)) - 1e-3
        return np.asarray((extreme.sum(axis=1) + 1) / 2001, np.float64)

    def over_seeds(self) -> Floats:
        """p of the paired t test over seeds."""
        seeds = self.by_seed.shape[1]
        error = self.by_seed.std(axis=1, ddof=1) / seeds**0.5
        ratio = np.abs(self.by_seed.mean(axis=1)) / np.where(error > 0, error, np.inf)
        return np.asarray(2 * student.sf(ratio, seeds - 1), np.float64)

    def crossed(self) -> CrossedTest:
        """The test over seeds x specimens, or cells, that the reports use."""
        cells = self.tested.sum(axis=(1, 2))
        beyond = (self.gained - self.by_seed[..., None, None]) * self.tested
        units = (*beyond.shape[:2], -1, *(beyond.shape[3:] if self.known else (1,)))
        influence = beyond.reshape(units).sum(axis=3) / cells[:, None]
        return crossed_test(self.by_seed, influence)


DESIGNS = (
    Design("fixed test, 9 unseen specimens", UNSEEN, 9),
    Design("fixed test, 17 unseen specimens", UNSEEN, 17),
    Design("five folds of 83 specimens", UNSEEN, 83, FOLDS),
    Design("five folds of 83 specimens, seeds in turn", UNSEEN, 83, turns=FOLDS),
    Design("random 9:1, another for each seed", SEEN, 83, random=True),
    Design("the same, over cells: specimens unknown", SEEN, 83, random=True, known=False),
)


def rejections(
    design: Design, seeds: int, count: int, seed: int = 0, cells: Cells | None = None
) -> dict[str, float]:
    """Share of simulations in which each test says that two methods differ.

    Args:
        design: How they are tested.
        seeds: Trainings of each.
        count: Number of simulations.
        seed: Seed of the simulation.
        cells: Other cells than the design's.
    """
    rng = np.random.default_rng([seed, seeds])
    found: dict[str, list[Floats]] = {}
    for start in range(0, count, BATCH):
        results = design.draw(rng, min(BATCH, count - start), seeds, cells)
        cellwise = results.mcnemar()
        p = {"McNemar": cellwise, "both": np.maximum(cellwise, results.sign_flips(rng))}
        if seeds > 1:
            p |= {"seeds": results.over_seeds(), "crossed": results.crossed().p}
        for name, values in p.items():
            found.setdefault(name, []).append(values < LEVEL)
    return {name: float(np.concatenate(values).mean()) for name, values in found.items()}


def print_false_positives(count: int) -> None:
    """Print how often one method against itself is called different."""
    print(f"One method against itself, {count:,} simulations: called different, % (nominal 5)\n")
    print(
        "| design | seeds | McNemar | and sign flips | t over seeds | seeds × specimens |\n"
        "|---|---|---|---|---|---|"
    )
    for design in DESIGNS:
        for seeds in (1, 3, 5):
            _print_row(f"{design.name} | {seeds}", rejections(design, seeds, count))
    for design in DESIGNS:
        found = rejections(design, 5, count, cells=design.cells._replace(method=0.8))
        _print_row(f"{design.name}; equal on average, not by specimen | 5", found)


def _print_row(head: str, found: dict[str, float]) -> None:
    shares = [found.get(name) for name in ("McNemar", "both", "seeds", "crossed")]
    text = " | ".join("no verdict" if one is None else f"{100 * one:.1f}" for one in shares)
    print(f"| {head} | {text} |")


def gap_of(points: float, cells: Cells) -> float:
    """Find the probit shift that makes two methods differ by so many points of accuracy."""
    total = float(np.linalg.norm(cells[1:7]))

    def difference(gap: float) -> float:
        ends = norm.cdf((cells.mean + gap / 2) / total), norm.cdf((cells.mean - gap / 2) / total)
        return float(100 * (ends[0] - ends[1]))

    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if difference(middle) < points else (low, middle)
    return low


def print_power(count: int) -> None:
    """Print how often a true difference is found, and the paired t test beside."""
    print(f"Power, % of {count:,} simulations: seeds × specimens (in brackets t over seeds)\n")
    seeds = (3, 5, 10, 15, 20)
    print("| design | true difference, points | " + " | ".join(f"{n} seeds" for n in seeds) + " |")
    print("|---|---|" + "---|" * len(seeds))
    for design in DESIGNS[1:]:
        for points in (1, 2, 4, 8):
            cells = design.cells._replace(gap=gap_of(points, design.cells))
            found = [rejections(design, n, count, cells=cells) for n in seeds]
            text = " | ".join(f"{100 * f['crossed']:.0f} ({100 * f['seeds']:.0f})" for f in found)
            print(f"| {design.name} | {points} | {text} |")
    print("\n| true difference, in standard deviations between seeds | seeds for 80 % power |")
    print("|---|---|")
    for ratio in (0.5, 1, 1.5, 2, 3):
        print(f"| {ratio} | {seeds_needed(ratio)} |")
    print("\nStandard deviation between trainings of one method:")
    for design in DESIGNS[1:]:
        results = design.draw(np.random.default_rng(0), 200, 10)
        spread = float(results.by_seed.std(axis=1, ddof=1).mean()) / 2**0.5
        print(f"- {design.name}: {100 * spread:.1f} points")


def seeds_needed(ratio: float, power: float = 0.8) -> int:
    """Count the seeds that find a difference, where specimens are many.

    The test is then the paired t test over seeds, whose power is that of a noncentral t.

    Args:
        ratio: True difference by the standard deviation between seeds of one method; that of
            paired differences is √2 times as large, as seeds of two methods have nothing in common.
        power: Share of studies that shall find it.
    """
    for seeds in range(3, 1000):
        bound, shift = student.ppf(1 - LEVEL / 2, seeds - 1), ratio / 2**0.5 * seeds**0.5
        if nct.sf(bound, seeds - 1, shift) >= power:
            return seeds
    raise ValueError(f"more than 1,000 seeds are needed for a ratio of {ratio}")


class Specimens(NamedTuple):
    """A test set of one training: beta-binomial cells, right by specimen with an ICC.

    Attributes:
        sizes: Specimens of each class.
        accuracy: Accuracy of each class.
        icc: Correlation of two cells of one specimen.
        folds: Test sets that they are divided among, each of a training of its own.
    """

    sizes: tuple[int, ...]
    accuracy: tuple[float, ...]
    icc: float
    folds: int = 1

    def draw(self, rng: Rng) -> CellValues:
        """Draw cells: right or wrong, specimen, class; about 16 a specimen, unequally many."""
        label = np.repeat(np.arange(len(self.sizes)), self.sizes)
        p, odds = np.array(self.accuracy)[label], (1 - self.icc) / self.icc
        share = rng.beta(p * odds, (1 - p) * odds)
        cells = np.maximum(2, rng.poisson(rng.gamma(4, 4, len(label))))
        specimen = np.repeat(np.arange(len(label)), cells)
        return CellValues(
            (rng.random(len(specimen)) < share[specimen]).astype(np.float64),
            specimen,
            label[specimen],
        )

    def divide(self, cells: CellValues) -> list[CellValues]:
        """Divide the specimens of each class among the folds, in turn."""
        place = np.concatenate([np.arange(size) for size in self.sizes])
        fold = (place % self.folds)[cells.unit]
        return [CellValues(*(part[fold == one] for part in cells)) for one in range(self.folds)]

    @property
    def truth(self) -> tuple[float, float]:
        """Accuracy, specimens having as many cells on average, and mean class accuracy."""
        mean = np.average(self.accuracy, weights=self.sizes)
        return float(mean), float(np.mean(self.accuracy))


SETS = (
    ((2, 2, 2, 1, 1, 1), (0.95, 0.85, 0.9, 0.9, 0.8, 0.9), 1),
    ((4, 4, 3, 3, 3), (0.95, 0.85, 0.9, 0.95, 0.8), 1),
    ((16, 16, 16, 16, 15, 4), (0.98, 0.9, 0.95, 0.98, 0.85, 0.92), 1),
    ((16, 16, 16, 16, 15, 4), (0.98, 0.9, 0.95, 0.98, 0.85, 0.92), FOLDS),
)
"""Specimens and accuracy of each class, and folds."""


def coverage(cells: Specimens, count: int, seed: int = 0) -> dict[str, float]:
    """Share of simulations whose 95 % interval contains the truth.

    Args:
        cells: The test sets to draw.
        count: Number of simulations; a tenth of them for the bootstrap, which takes long.
        seed: Seed of the simulation.
    """
    rng, hits = np.random.default_rng(seed), dict[str, list[bool]]()
    accuracy, by_class = cells.truth
    for turn in range(count):
        one = cells.draw(rng)
        flat = one._replace(stratum=np.zeros_like(one.stratum))
        ends = {
            "wilson": (accuracy, wilson(int(one.value.sum()), len(one.value))),
            "accuracy": (accuracy, clustered_mean(cells.divide(flat)).interval),
            "mean": (by_class, clustered_mean(cells.divide(one)).interval),
        }
        if turn % 10 == 0:
            ends |= {
                "accuracy, before": (accuracy, _bootstrapped(flat, ratios)),
                "mean, before": (by_class, _bootstrapped(one, _mean_class)),
            }
        for name, (truth, interval) in ends.items():
            if interval is not None:
                hits.setdefault(name, []).append(interval.low <= truth <= interval.high)
    return {name: float(np.mean(values)) for name, values in hits.items()}


def _bootstrapped(cells: CellValues, statistic: Callable[[Floats], Floats]) -> Interval | None:
    classes, specimens = int(cells.stratum.max()) + 1, int(cells.unit.max()) + 1
    sums = np.zeros((specimens, classes, 2))
    np.add.at(
        sums, (cells.unit, cells.stratum), np.stack([cells.value, np.ones(len(cells.value))], 1)
    )
    return bootstrap(sums.reshape(specimens, -1), statistic, resamples=1000)[0].interval


def _mean_class(sums: Floats) -> Floats:
    by_class = ratios(sums.reshape(*sums.shape[:-1], -1, 2))
    return np.nanmean(by_class[..., 0], axis=-1, keepdims=True)


def print_coverage(count: int) -> None:
    """Print how often 95 % intervals contain the truth, before and now."""
    print(f"Coverage of 95 % intervals, % of {count:,} simulations\n")
    print(
        "| specimens | ICC | accuracy: Wilson over cells | bootstrap of specimens | logit t | "
        "mean class accuracy: bootstrap | logit t |\n|---|---|---|---|---|---|---|"
    )
    for sizes, accuracy, folds in SETS:
        for icc in (0.1, 0.4):
            found = coverage(Specimens(sizes, accuracy, icc, folds), count)
            names = ("wilson", "accuracy, before", "accuracy", "mean, before", "mean")
            text = [f"{100 * found[n]:.1f}" if n in found else "none" for n in names]
            folded = f" in {folds} folds" if folds > 1 else ""
            print(f"| {sum(sizes)}{folded} | {icc} | {' | '.join(text)} |")


def plan_store(seed: int) -> Store:
    """Plan the cells of the ICPR 2016 set, by specimens of unequal length, without images."""
    plan = plan_specimens(sum(COUNTS), seed)
    sizes = [one.size for one in plan]
    label, specimen = (
        np.repeat([getattr(one, name) for one in plan], sizes) for name in ("label", "number")
    )
    n = len(label)
    return Store(
        path=Path("planned"),
        classes=CLASSES,
        size=1,
        fingerprint="",
        manifest={},
        image=np.zeros((n, 1, 1), np.uint8),
        mask=None,
        label=label,
        specimen=specimen,
        levels=np.zeros((n, 2), np.float32),
        crop_size=np.ones((n, 2), np.int64),
        intensity=np.full(n, -1, np.int8),
        part=np.full(n, -1, np.int8),
        digest=np.random.default_rng(seed).integers(0, 256, (n, 16), np.uint8),
        id=np.array([f"{row:05d}" for row in range(1, n + 1)]),
        specimen_names=np.array([], np.str_),
    )


def shared_specimens(guard: int | None, folds: int | None = None, seeds: int = 10) -> Floats:
    """Simulate block splits, one of another plan for each seed.

    Returns:
        (seeds, 2) share of the test cells whose specimen has cells in training, and share of all
        cells that the guard leaves out.
    """
    found = []
    for seed in range(seeds):
        store = plan_store(seed)
        settings = SplitSettings(kind="block", seed=seed, guard=guard, folds=folds)
        split = make_split(store, settings)
        trained = np.isin(store.specimen[split.test], store.specimen[split.train])
        found.append((trained.mean(), len(split.left_out) / len(store)))
    return np.array(found)


def print_blocks(count: int) -> None:
    """Print how many specimens a block split divides, of ten plans whatever `count` is."""
    del count
    print("Block splits of 13,596 cells of 83 specimens, ten seeds\n")
    print("| split | guard, ids | share of test cells whose specimen is trained on | left out |")
    print("|---|---|---|---|")
    default = SplitSettings(kind="block").guard_of(sum(COUNTS))
    # With five folds twice the guard would leave Golgi, of four specimens, nothing to train on.
    for name, folds, longest in (("9 : 1", None, 2), (f"{FOLDS} folds", FOLDS, 1)):
        for guard in (default * times for times in range(longest + 1)):
            shared, left = 100 * shared_specimens(guard, folds).T
            ends = f"{shared.min():.0f} to {shared.max():.0f} %"
            print(f"| {name} | {guard} | {shared.mean():.0f} % ({ends}) | {left.mean():.0f} % |")


PRINT = {
    "false_positives": print_false_positives,
    "coverage": print_coverage,
    "power": print_power,
    "blocks": print_blocks,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", nargs="?", choices=PRINT, help="one table alone")
    parser.add_argument("--count", type=int, default=COUNT, help="simulations a row, not of blocks")
    settings = parser.parse_args()
    for name, make in PRINT.items():
        if settings.table in (None, name):
            make(settings.count)
            print()
