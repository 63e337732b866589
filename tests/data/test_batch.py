"""Batches reach a GPU without the host waiting for it."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hep2gan.data.batch import BatchSeed, to_device
from hep2gan.data.sampler import EpochBatchSampler
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.normalisation import Normalisation

EVERYTHING = Augmentation(
    rotation=180, quarter_turns=True, shift=0.05, scale=(0.9, 1.1), gain=(0.8, 1.2), offset=0.1,
    gamma=(0.7, 1.4), blur=(0.0, 1.5), noise=0.05,
)  # fmt: skip
# What a GPU answers only when it has done all that was asked before.
WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "bincount", "histc", "_unique2",
    "unique_dim", "equal", "is_nonzero", "repeat_interleave",
}  # fmt: skip


class Watch(TorchDispatchMode):
    """Write down every operation that would wait on a GPU."""

    def __init__(self):
        super().__init__()
        self.waited = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        if name in WAITING or by_mask:
            self.waited.append(name)
        return func(*args, **(kwargs or {}))


def test_the_watch_sees_what_waits():
    values = torch.rand(4)
    with Watch() as watch:
        values.sum().item()
        values[values > 0.5]
        torch.bincount(torch.ones(3, dtype=torch.int64))
    assert watch.waited[0] == "_local_scalar_dense"
    assert "index" in watch.waited
    assert "bincount" in watch.waited


@pytest.mark.parametrize("kind", ["min_max", "percentile", "z_score", "none"])
def test_normalising_and_augmenting_ask_nothing_of_the_device(kind):
    augmentation = EVERYTHING if kind != "z_score" else Augmentation(rotation=20, noise=0.1)
    image = torch.randint(0, 256, (6, 32, 32), dtype=torch.uint8)
    levels, mask = torch.rand(6, 2), (image > 100).float().unsqueeze(1)
    normalisation = Normalisation(kind=kind)
    with Watch() as watch:
        normalised = normalisation(image, levels)
        augmentation(normalised, mask, BatchSeed(0, 1, 2, 0, 1, 6), bounded=normalisation.bounded)
    assert watch.waited == []


def test_values_are_the_same_where_they_are_sent():
    values = torch.arange(12).view(3, 4).t()
    assert torch.equal(to_device(values, torch.device("cpu")), values)


@pytest.mark.parametrize("training", [True, False])
def test_rows_may_be_sent_an_epoch_at_a_time(training):
    rows = np.arange(23)
    plain = EpochBatchSampler(rows, 4, seed=5, training=training)
    # A device without memory: shapes and places, no values.
    far = EpochBatchSampler(rows, 4, seed=5, training=training, device=torch.device("meta"))
    for one, other in zip(plain, far, strict=True):
        assert other.rows.device.type == "meta"
        assert one.rows.shape == other.rows.shape
        assert one.batch_seed == other.batch_seed


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["min_max", "percentile"])
def test_a_gpu_is_not_waited_for(kind):
    device = torch.device("cuda")
    image = torch.randint(0, 256, (6, 32, 32), dtype=torch.uint8, device=device)
    levels, mask = torch.rand(6, 2, device=device), (image > 100).float().unsqueeze(1)

    def prepared(batch):
        normalised = Normalisation(kind=kind)(image, levels)
        return EVERYTHING(normalised, mask, BatchSeed(0, 1, batch, 0, 1, 6))

    prepared(0)
    sampler = EpochBatchSampler(np.arange(23), 4, seed=5, training=True, device=device)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch, request in enumerate(sampler):
            image.index_select(0, request.rows % 6)
            prepared(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
