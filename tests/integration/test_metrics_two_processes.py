"""Kept apart and light in imports: the second process imports this file."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
from torch import Tensor

from hep2gan.metrics.evaluation import compute_test_metrics
from hep2gan.metrics.validation import ValidationMetrics
from hep2gan.runs.predictions import Predictions


def sample_outputs():
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(11, 1, 6, 6, generator=generator)
    truth = torch.rand(11, 1, 6, 6, generator=generator) < 0.5
    scores = torch.rand(11, 3, generator=generator)
    return probability, truth, scores / scores.sum(dim=1, keepdim=True), torch.arange(11) % 3


def measured(rows: slice) -> dict[str, float]:
    probability, truth, scores, label = (part[rows] for part in sample_outputs())
    classes = ("Hom", "Spe", "Nuc")
    metrics = ValidationMetrics(
        classes, segments=True, classifies=True, mixture_distances=distances
    )
    metrics.update(probability, scores, scores, truth=truth, label=label)
    return metrics.flush()


def distances(features: Tensor) -> Tensor:
    """Stands for distances to the means of a mixture."""
    return 100 * features


def predictions() -> Predictions:
    probability, truth, scores, label = sample_outputs()
    return Predictions(
        classes=("Hom", "Spe", "Nuc"),
        id=np.array([str(n) for n in range(11)]),
        specimen=np.full(11, -1),
        label=label.numpy(),
        image=np.zeros((11, 6, 6), dtype=np.uint8),
        truth=truth[:, 0].numpy().astype(np.uint8),
        crop_size=np.full((11, 2), 60),
        mask=(probability[:, 0].numpy() * 255).astype(np.uint8),
        probabilities=scores.numpy(),
    )


# Uneven shares: 8 cells and 3.
SHARES = (slice(0, 8), slice(8, 11))


def work(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=20),
    )
    try:
        found: dict[str, object] = {"metrics": measured(SHARES[rank])}
        if rank == 0:
            # One process may score stored predictions while the other does not.
            found["score"] = compute_test_metrics(predictions())
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


def second(_: int, folder: str) -> None:
    torch.set_num_threads(1)
    Path(folder, "ready").touch()
    work(1, folder)


@pytest.mark.integration
def test_two_processes_equal_one(tmp_path: Path):
    # This process is rank 0: importing torch once more takes most of the test's time.
    other = torch.multiprocessing.spawn(
        second, args=(str(tmp_path),), nprocs=1, join=False, daemon=True
    )
    while not (tmp_path / "ready").exists():
        # Raises what the other process raised.
        assert not other.join(timeout=0.1)
    work(0, str(tmp_path))
    assert other.join(timeout=30)
    one = measured(slice(0, 11))
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for rank in found:
        assert rank["metrics"] == one
    assert found[0]["score"] == compute_test_metrics(predictions())
