import dataclasses
import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from hep2gan.data.batch import Batch, BatchSeed, RawBatch
from hep2gan.data.splits import Split, SplitSettings, make_split
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.training.datamodule import CellDataModule
from tests.helpers.made_store import made_store

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def store():
    return made_store(np.arange(40) % 2)


@pytest.fixture(scope="module")
def split(store):
    return make_split(store, SplitSettings(test_fraction=0.25, validation_fraction=0.2))


class Watcher(L.LightningModule):
    """Writes down what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "val": [], "test": [], "predict": []}

    def training_step(self, batch, batch_idx):
        self.seen["train"].append((self.current_epoch, batch))
        return self.weight * batch.image.mean()

    def validation_step(self, batch, batch_idx):
        self.seen["val"].append((self.current_epoch, batch))

    def test_step(self, batch, batch_idx):
        self.seen["test"].append((self.current_epoch, batch))

    def predict_step(self, batch, batch_idx):
        self.seen["predict"].append((self.current_epoch, batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def order(self, epoch, part="train"):
        return [batch.rows.tolist() for e, batch in self.seen[part] if e == epoch]

    def batches(self, epoch, part="train"):
        return [batch for e, batch in self.seen[part] if e == epoch]


def trainer(epochs=2, **given):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        use_distributed_sampler=False,
        enable_model_summary=False,
        **quiet | given,
    )


def fitted(store, split, epochs=2, start=None, **given):
    watcher, settings = Watcher(), {"batch_size": 8, "seed": 4} | given
    runner = trainer(epochs)
    runner.fit(
        watcher, CellDataModule(store, split, **settings), ckpt_path=start, weights_only=bool(start)
    )
    return watcher, runner


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_every_epoch_has_an_order_of_its_own_and_runs_repeat(store, split):
    first, _ = fitted(store, split)
    again, _ = fitted(store, split)
    other, _ = fitted(store, split, seed=5)
    # 40 cells: 10 tested, 6 validated, 24 trained in three batches of 8.
    assert [len(batch) for batch in first.order(0)] == [8, 8, 8]
    assert sorted(chain(*first.order(0))) == split.train.tolist()
    assert sorted(chain(*first.order(1))) == split.train.tolist()
    assert first.order(0) != first.order(1)
    for epoch in (0, 1):
        assert first.order(epoch) == again.order(epoch) != other.order(epoch)
        assert all(map(same, first.batches(epoch), again.batches(epoch)))


def test_a_resumed_run_goes_on_as_the_uninterrupted_one(store, split, tmp_path):
    whole, _ = fitted(store, split, epochs=3)
    _, runner = fitted(store, split, epochs=1)
    runner.save_checkpoint(tmp_path / "epoch0.ckpt")
    resumed, _ = fitted(store, split, epochs=3, start=tmp_path / "epoch0.ckpt")
    assert resumed.order(0) == []
    for epoch in (1, 2):
        assert resumed.order(epoch) == whole.order(epoch) != []
        assert all(map(same, resumed.batches(epoch), whole.batches(epoch)))


@pytest.mark.parametrize("given", [{}, {"cache_on_device": True}, {"num_workers": 1}])
def test_images_are_the_same_without_masks(store, split, given):
    every = Augmentation(
        rotation=90, quarter_turns=True, shift=0.1, scale=(0.8, 1.2), gain=(0.8, 1.2),
        blur=(0.0, 1.0), noise=0.05,
    )  # fmt: skip
    bare = dataclasses.replace(store, mask=None)
    with_masks, _ = fitted(store, split, epochs=1, augmentation=every)
    without, _ = fitted(bare, split, epochs=1, augmentation=every, **given)
    for part in ("train", "val"):
        one, other = with_masks.batches(0, part), without.batches(0, part)
        assert len(one) == len(other) > 0
        for a, b in zip(one, other, strict=True):
            assert a.mask is not None
            assert b.mask is None
            assert all(map(torch.equal, (a.image, a.label, a.rows), (b.image, b.label, b.rows)))


def test_training_is_augmented_and_evaluation_is_not(store, split):
    watcher, _ = fitted(store, split, augmentation=Augmentation(horizontal_flip=1, vertical_flip=0))
    plain = torch.from_numpy(store.image / np.float32(255))[:, None]
    low, high = plain.amin((2, 3), keepdim=True), plain.amax((2, 3), keepdim=True)
    plain, masks = (plain - low) / (high - low), torch.from_numpy(store.mask)[:, None].float()
    for batch in watcher.batches(0):
        assert torch.allclose(batch.image, plain[batch.rows].flip(-1), atol=1e-6)
        assert torch.equal(batch.mask, masks[batch.rows].flip(-1))
        assert torch.equal(batch.label, torch.from_numpy(store.label)[batch.rows])
    assert watcher.seen["val"]
    for _, batch in watcher.seen["val"]:
        assert torch.allclose(batch.image, plain[batch.rows], atol=1e-6)
        assert torch.equal(batch.mask, masks[batch.rows])


@pytest.mark.parametrize("kind", ["min_max", "percentile", "z_score", "none"])
def test_flipped_as_bytes_is_what_flipped_afterwards_would_be(kind):
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(3, 200, (6, 64, 64), dtype=np.uint8))
    label, levels = torch.zeros(6, dtype=torch.int64), torch.tensor([[10.0, 99.0]] * 6)
    raw = RawBatch(image, levels, image // 100 % 2, label, label, BatchSeed(0, 0, 0, 0, 1, 6))
    normalisation, augmentation = Normalisation(kind=kind), Augmentation(quarter_turns=True)
    data = CellDataModule(None, None, normalisation=normalisation, augmentation=augmentation)
    found = data.on_after_batch_transfer(raw, 0)
    masks = raw.mask[:, None].float()
    bounded = normalisation.bounded
    after = augmentation(normalisation(image, levels), masks, raw.batch_seed, bounded=bounded)
    assert not torch.equal(found.mask, masks)
    assert torch.equal(found.image, after[0])
    assert torch.equal(found.mask, after[1])


def test_batches_have_the_agreed_shapes_and_types(store, split):
    watcher, _ = fitted(store, split, epochs=1)
    batch = watcher.batches(0)[0]
    assert type(batch) is Batch
    assert [tuple(part.shape) for part in batch] == [(8, 1, 8, 8), (8, 1, 8, 8), (8,), (8,)]
    assert [part.dtype for part in batch] == [torch.float32] * 2 + [torch.int64] * 2
    assert batch.mask.unique().tolist() == [0, 1]


def test_augmentation_differs_between_epochs(store, split):
    watcher, _ = fitted(store, split, augmentation=Augmentation(gain=(0.1, 0.9)))
    brightest = [
        {
            int(i): float(v)
            for b in watcher.batches(e)
            for i, v in zip(b.rows, b.image.amax((1, 2, 3)), strict=True)
        }
        for e in (0, 1)
    ]
    assert all(abs(brightest[0][i] - brightest[1][i]) > 1e-6 for i in brightest[0])


def test_balanced_sampling_is_for_training_alone():
    store = made_store(np.arange(40) % 10 // 9)  # four of the second class
    split = make_split(store, SplitSettings(test_fraction=0.25, validation_fraction=0.2))
    plain, _ = fitted(store, split)
    watcher, _ = fitted(store, split, sampling="balanced")
    for epoch in (0, 1):
        assert [len(batch) for batch in watcher.order(epoch)] == [8, 8, 8]
        labels = torch.cat([batch.label for batch in watcher.batches(epoch)])
        assert labels.bincount().tolist() == [12, 12]
        assert all(map(same, watcher.batches(epoch, "val"), plain.batches(epoch, "val")))


def test_evaluation_serves_every_cell_once(store, split):
    data = CellDataModule(store, split, batch_size=8, eval_batch_size=4)
    watcher, runner = Watcher(), trainer()
    runner.validate(watcher, data, verbose=False)
    runner.test(watcher, data, verbose=False)
    runner.predict(watcher, data)
    assert watcher.order(0, "val") == [split.validation[:4].tolist(), split.validation[4:].tolist()]
    tested = [split.test[i : i + 4].tolist() for i in (0, 4, 8)]
    assert watcher.order(0, "test") == watcher.order(0, "predict") == tested


def test_no_validation_part_means_no_validation(store):
    watcher, _ = fitted(store, make_split(store, SplitSettings(test_fraction=0.25)), epochs=1)
    assert not watcher.seen["val"]
    assert len(watcher.seen["train"]) == 3


@pytest.mark.parametrize("given", [{"cache_on_device": True}, {"num_workers": 1}])
def test_resident_cells_and_workers_change_nothing(store, split, given):
    plain, _ = fitted(store, split, augmentation=Augmentation(rotation=20))
    other, _ = fitted(store, split, augmentation=Augmentation(rotation=20), **given)
    for part in ("train", "val"):
        for epoch in (0, 1):
            assert all(map(same, plain.batches(epoch, part), other.batches(epoch, part)))


def test_channels_last_changes_strides_alone(store, split):
    plain, _ = fitted(store, split, augmentation=Augmentation(rotation=20))
    other, _ = fitted(store, split, augmentation=Augmentation(rotation=20), channels_last=True)
    for part in ("train", "val"):
        assert all(map(same, plain.batches(0, part), other.batches(0, part)))
        for batch in other.batches(0, part):
            for images in (batch.image, batch.mask):
                assert images.stride() == (images[0].numel(), 1, images.shape[-1], 1)


def test_resident_cells_made_in_a_test_can_be_trained_on(store, split):
    data = CellDataModule(store, split, batch_size=8, cache_on_device=True)
    watcher = Watcher()
    trainer().test(watcher, data, verbose=False)
    trainer(1).fit(watcher, data)
    assert len(watcher.seen["train"]) == 3


def test_only_bytes_travel_to_the_device(store, split):
    loader = CellDataModule(store, split, batch_size=8).train_dataloader()
    raw = next(iter(loader))
    assert raw.image.dtype == raw.mask.dtype == torch.uint8


class Ranked:
    """As much of a trainer as the loaders ask for."""

    training = True

    def __init__(self, rank, world):
        self.global_rank, self.world_size = rank, world
        self.strategy = type("Strategy", (), {"root_device": torch.device("cpu")})


def batches_of(store, split, rank, world, part="train"):
    data = CellDataModule(
        store, split, batch_size=8, seed=1, augmentation=Augmentation(rotation=40, gain=(0.5, 1))
    )
    data.trainer = Ranked(rank, world)
    loader = getattr(data, f"{part}_dataloader")()
    return [data.on_after_batch_transfer(raw, 0) for raw in loader]


def test_two_ranks_together_see_what_one_sees(store, split):
    alone = batches_of(store, split, 0, 1)
    ranks = [batches_of(store, split, rank, 2) for rank in (0, 1)]
    assert len(alone) == len(ranks[0]) == len(ranks[1]) == 3
    for whole, first, second in zip(alone, *ranks, strict=True):
        assert same(Batch(*(part[0::2] for part in whole)), first)
        assert same(Batch(*(part[1::2] for part in whole)), second)
    tested = [
        row
        for rank in (0, 1, 2)
        for b in batches_of(store, split, rank, 3, "test")
        for row in b.rows.tolist()
    ]
    assert sorted(tested) == split.test.tolist()


def test_normalisation_is_applied(store, split):
    data = CellDataModule(store, split, normalisation=Normalisation(kind="none"))
    raw = next(iter(data.test_dataloader()))
    batch = data.on_after_batch_transfer(raw, 0)
    low, high = store.levels[split.test].T[:, :, None, None]
    grey = low + store.image[split.test] / 255 * (high - low)
    assert np.allclose(batch.image[:, 0].numpy(), grey / 255, atol=1e-6)


def test_indivisible_batch_size_is_told_before_training(store, split):
    data = CellDataModule(store, split, batch_size=15)
    data.trainer = Ranked(0, 2)
    with pytest.raises(Hep2ganError) as error:
        data.setup("fit")
    assert (
        str(error.value) == "Batch size 15 is not divisible by 2 devices; choose a multiple of 2."
    )


def test_too_few_cells_for_a_batch_are_told(store, split):
    with pytest.raises(Hep2ganError, match="24 cells, the batch size is 25"):
        fitted(store, split, batch_size=25)


def test_gamma_of_z_scores_is_told_at_once(store, split):
    with pytest.raises(Hep2ganError, match="z-score"):
        CellDataModule(
            store,
            split,
            normalisation=Normalisation(kind="z_score"),
            augmentation=Augmentation(gamma=(0.5, 2)),
        )


def test_split_from_disk_serves_the_same_cells(store, split, tmp_path):
    split.save(tmp_path, store)
    first, _ = fitted(store, Split.load(tmp_path, store), epochs=1)
    second, _ = fitted(store, split, epochs=1)
    assert first.order(0) == second.order(0)


class Recorder(Watcher):
    """Leaves the rows that its process saw in a file."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_end(self):
        rows = {part: self.order(1, part) for part in ("train", "val")}
        (self.folder / f"{self.global_rank}.json").write_text(json.dumps(rows))


def two_processes(folder):
    """Train with two processes, each of which leaves what it saw in `folder`."""
    cells = made_store(np.arange(40) % 2)
    parts = make_split(cells, SplitSettings(test_fraction=0.25, validation_fraction=0.2))
    data = CellDataModule(cells, parts, batch_size=8, eval_batch_size=3, seed=4)
    trainer(devices=2, strategy="ddp_fork").fit(Recorder(Path(folder)), data)


@pytest.mark.slow
def test_two_processes_share_every_batch(store, split, tmp_path):
    alone, _ = fitted(store, split, eval_batch_size=3)
    # Forked from a process of its own: this one may hold threads, which a fork would lose.
    program = (
        "import sys; from tests.training.test_datamodule import two_processes as two;"
        " two(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    whole = alone.order(1, "train")
    assert first["train"] == [batch[0::2] for batch in whole]
    assert second["train"] == [batch[1::2] for batch in whole]
    whole = alone.order(1, "val")
    assert len(whole) == 2
    assert first["val"] + second["val"] == whole


def test_too_few_batches_for_the_devices_are_told_before_training(store, split):
    data = CellDataModule(store, split, batch_size=8)
    data.trainer = Ranked(0, 2)
    with pytest.raises(Hep2ganError, match=r"validation part has 6 cells.*eval_batch_size=3"):
        data.setup("fit")
