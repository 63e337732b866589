import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hep2gan.data.readers.image import ImageReading, resize, stretch
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.inference.load import TorchBackend
from hep2gan.inference.predict import (
    BackendOutput,
    InputArray,
    Predictor,
    find_images,
    load_image,
    map_ordered,
    remove_earlier_results,
)
from hep2gan.models.guidance import MaskGuidance
from hep2gan.reports.figures.overlay import overlay
from hep2gan.runs.folder import CropGeometry
from hep2gan.training.devices import resolve_device
from tests.helpers import tiny

AS_TRAINED = ImageReading()
OUT = Path("out")


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "a/1.png",
        "a/1_Mask.png",
        "a/deep/2.TIF",
        "a/notes.txt",
        "b/1.png",
        "c/x.csv",
        "j/1.gif",
        "m/1_m_mask.png",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def test_folders_are_searched_and_masks_left_out():
    found = [(str(f.path), str(f.name)) for f in find_images(["a"], OUT).images]
    assert found == [("a/1.png", "1"), ("a/deep/2.TIF", "deep/2")]


def test_a_file_named_is_taken_whatever_its_name():
    assert [str(f.name) for f in find_images(["a/1_Mask.png"], OUT).images] == ["1_Mask"]


def test_the_same_file_twice_is_one_image():
    assert len(find_images(["a/1.png", "a/1.png"], OUT).images) == 1


def image(name, shape=(60, 60), seed=0):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(name)


def names(*inputs, output=OUT):
    return [str(found.path) for found in find_images(inputs, output).images]


def test_a_folder_as_people_have_it():
    for name in ("001.png", "002.png", "003.png", "001_mask.png", "002_MASK.png", "004.gif"):
        image(f"folder/{name}")
    image("folder/005.ppm")
    image("folder/006.PNG")
    image("folder/.ipynb_checkpoints/002-checkpoint.png")
    Path("folder/._001.png").write_bytes(b"\0\5\x16\7")
    Path("folder/Thumbs.db").touch()
    found = find_images(["folder"], OUT)
    assert [path.path.name for path in found.images] == ["001.png", "002.png", "003.png", "006.PNG"]
    assert found.left_out == (
        "2 masks, 2 files of kinds that are not read (.gif, .ppm; PNG, TIFF, BMP and JPEG are)"
    )


def test_masks_among_files_named_are_left_out():
    assert names("a/1.png", "a/1_Mask.png", "a/deep/2.TIF") == ["a/1.png", "a/deep/2.TIF"]


@pytest.mark.parametrize("output", ["a/results", "a/deep/out", "a/x/../predictions"])
def test_what_a_prediction_wrote_is_no_input(output):
    before = names("a", output=Path(output))
    for name in ("masks/1.png", "overlays/1.png", "masks/deep/2.png", "1.png"):
        image(f"{output}/{name}")
    assert names("a", output=Path(output)) == before
    # Another output does not change what is an input; 1.png was not written by a prediction.
    again = names("a", output=OUT)
    assert len(again) == len(before) + 1


def test_the_output_among_inputs_that_a_shell_lists_is_left_out():
    image("a/predictions/masks/1.png")
    inputs = ["a/1.png", "a/deep", "a/predictions"]
    assert names(*inputs, output=Path("a/predictions")) == ["a/1.png", "a/deep/2.TIF"]


@pytest.mark.parametrize(("inputs", "output"), [(["."], "."), (["a"], "."), (["a/1.png"], "a")])
def test_results_are_not_written_among_inputs(inputs, output):
    with pytest.raises(Hep2ganError, match=r"lies in output=.*Fix: set output=") as caught:
        find_images(inputs, Path(output))
    fixed = caught.value.fix.removeprefix("set output=").partition(",")[0]
    assert "a/1.png" in names(*inputs, output=Path(fixed))


def test_predicting_twice_gives_the_same_twice():
    for number in range(3):
        image(f"folder/{number}.png", seed=number)

    def all_files(output):
        found = find_images(["folder"], output).images
        Predictor(engine, "ab", 16).predict(
            found,
            output,
            batch_size=2,
            reading=ImageReading(),
            overlays=True,
            progress=lambda *_: None,
        )
        return {path: path.read_bytes() for path in Path("folder").rglob("*") if path.is_file()}

    first = all_files(Path("folder/predictions"))
    assert len(first) == 3 + 3 + 3 + 1
    assert all_files(Path("folder/predictions")) == first


def test_names_that_differ_in_their_suffix_alone_keep_it():
    for name in ("e/cell_0.tif", "e/cell_0.png", "e/cell_1.png"):
        image(name)
    found = find_images(["e"], OUT).images
    assert [str(f.name) for f in found] == ["cell_0.png", "cell_0.tif", "cell_1"]
    Predictor(engine, "ab", 16).predict(
        found, OUT, batch_size=4, reading=ImageReading(), overlays=False, progress=lambda *_: None
    )
    written = sorted(path.name for path in Path("out/masks").iterdir())
    assert written == ["cell_0.png.png", "cell_0.tif.png", "cell_1.png"]


def test_white_is_that_of_the_training_where_none_is_given(monkeypatch):
    Path("w").mkdir()
    Image.fromarray(np.full((60, 60), 3000, np.uint16) + np.arange(60, dtype=np.uint16)).save(
        "w/1.png"
    )
    levels = []

    def noting(image, given):
        levels.append(given)
        return engine(image, given)

    found = find_images(["w"], OUT).images
    for own, given in ((4095, None), (4095, 6000), (None, None)):
        report = Predictor(noting, "ab", 16, reading=ImageReading(own)).predict(
            found,
            OUT,
            batch_size=1,
            reading=ImageReading(given),
            overlays=False,
            progress=lambda *_: None,
        )
        assert not report.problems
    white = [float(one[0, 1]) for one in levels]
    # The brightest pixel, after shrinking to 16 px, is close to 3057.
    assert white == pytest.approx([3057 * 255 / w for w in (4095, 6000, 65535)], rel=1e-3)


def test_channel_and_plane_are_those_of_the_training_where_none_is_given():
    Path("channels").mkdir()
    planes = np.zeros((2, 40, 40, 3), np.uint8)
    planes[..., 1], planes[1, ..., 1] = np.arange(40), 10 + np.arange(40)
    planes[0, ..., 2] = 5 + 2 * np.arange(40)
    frames = [Image.fromarray(plane) for plane in planes]
    frames[0].save("channels/1.tif", save_all=True, append_images=frames[1:])
    levels = []

    def noting(image, given):
        levels.append(given.max())
        return engine(image, given)

    found = find_images(["channels"], OUT).images
    predictor = Predictor(noting, "ab", 40, reading=ImageReading(None, "green", 1))
    for given in (AS_TRAINED, ImageReading(plane=0), ImageReading(channel="blue", plane=0)):
        report = predictor.predict(
            found, OUT, batch_size=1, reading=given, overlays=False, progress=lambda *_: None
        )
        assert not report.problems
    assert levels == [49, 39, 83]
    report = Predictor(engine, "ab", 16).predict(
        found, OUT, batch_size=1, reading=AS_TRAINED, overlays=False, progress=lambda *_: None
    )
    assert "Fix: set plane=0 or 1" in report.problems[0]


@pytest.mark.parametrize(
    ("shape", "is_field"),
    [((1040, 1388), True), ((90, 301), True), ((301, 90), True), ((300, 300), False)],
)
def test_a_field_of_cells_is_refused(shape, is_field):
    image("f/field.png", shape)
    found = find_images(["f"], OUT).images
    report = Predictor(engine, "ab", 16, crops=CropGeometry(100, 60, 80, 10, 55.0)).predict(
        found, OUT, batch_size=2, reading=ImageReading(), overlays=False, progress=lambda *_: None
    )
    assert report.done == (not is_field)
    words = f"f/field.png has {shape[1]} × {shape[0]} pixels: one file is one cell, and those of"
    assert [problem.startswith(words) for problem in report.problems] == [True] * is_field
    assert all("set input=field" in problem for problem in report.problems)


def test_a_crop_size_that_is_not_known_refuses_nothing():
    image("f/field.png", (900, 900))
    assert load_image(find_images(["f"], OUT).images[0], 16, ImageReading(), False).shape == (
        900,
        900,
    )


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (["a", "b"], r"a/1.png and b/1.png would both be written as 1"),
        (["c"], r"no images in c: .*png.*Fix: name an image"),
        (["j"], r"no images in j, but 1 file .*\.gif.*Fix: save them as PNG"),
        (["m"], "no images in m, but 1 mask: "),
        (["gone"], "gone does not exist"),
    ],
)
def test_inputs_that_cannot_be_predicted(inputs, words):
    with pytest.raises(Hep2ganError, match=words):
        find_images(inputs, OUT)


def test_runs_that_need_true_masks_cannot_predict():
    task = tiny.task(segment=False, guidance=MaskGuidance(source="ground_truth"))
    with pytest.raises(Hep2ganError, match="trained with true masks"):
        TorchBackend(task, Normalisation(), torch.device("cpu"))


def test_devices_are_named():
    assert resolve_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(Hep2ganError, match=r"no GPU.*accelerator=cpu"):
            resolve_device("gpu")


def engine(image, levels):
    """The mask is the image, the probabilities its first pixel's."""
    chance = image[:, 0, :1].astype(np.float32) / 255
    return BackendOutput(image.astype(np.float32) / 255, np.concatenate([chance, 1 - chance], 1))


def predicted(count, batch_size, calls=None, output=Path("out"), **given):
    def counting(image, levels):
        assert levels.shape == (len(image), 2)
        if calls is not None:
            calls.append(len(image))
        return engine(image, levels)

    rng = np.random.default_rng(1)
    for number in range(count):
        Path("many").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (9 + number % 3, 8), np.uint8)
        Image.fromarray(pixels).save(f"many/{number:03d}.png")
    for number in range(0, count, 7):
        Path(f"many/{number:03d}.png").write_bytes(b"nothing")
    seen = []
    report = Predictor(engine if calls is None else counting, "ab", 16).predict(
        find_images(["many"], OUT).images,
        output,
        batch_size=batch_size,
        reading=ImageReading(),
        overlays=True,
        progress=lambda done, total: seen.append((done, total)),
        **given,
    )
    return report, seen


def test_what_is_kept_in_memory_is_what_is_written():
    report, _ = predicted(40, 4)
    images = find_images(["many"], OUT).images
    found, errors = Predictor(engine, "ab", 16).predict_in_memory(
        images, batch_size=4, reading=ImageReading()
    )
    assert list(map(str, errors)) == report.problems
    rows = list(csv.DictReader(Path("out/predictions.csv").read_text().splitlines()))
    assert len(found) == report.done == len(rows)
    for cell, row in zip(found, rows, strict=True):
        written = np.asarray(Image.open(Path("out/masks") / Path(cell.name).name))
        assert 0 < cell.mask.mean() < 1
        assert np.array_equal(cell.mask * 255, written)
        numbers = [cell.probabilities["a"], cell.probabilities["b"], cell.mask_fraction]
        assert [f"{number:.6f}" for number in numbers] == [
            row[k] for k in ("a", "b", "mask_fraction")
        ]
        assert (cell.name, cell.label) == (row["image"], row["predicted"])
    arrays = [InputArray("x", np.asarray(Image.open(cell.name))) for cell in found]
    again, _ = Predictor(engine, "ab", 16).predict_in_memory(
        arrays, batch_size=7, reading=ImageReading()
    )
    for one, other in zip(found, again, strict=True):
        assert np.array_equal(one.mask, other.mask)
        assert np.array_equal(one.image, other.image)
        assert one.probabilities == other.probabilities


def test_rows_and_problems_keep_the_order_of_the_files():
    report, seen = predicted(40, 4)
    assert [p.split(" ")[0] for p in report.problems] == [
        f"many/{n:03d}.png" for n in range(0, 40, 7)
    ]
    with Path("out/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [f"many/{n:03d}.png" for n in range(40) if n % 7]
    assert [row["image"] for row in rows] == names
    assert report.done == len(names) == 34
    assert seen[-1] == (40, 40)
    assert sorted(seen) == seen


@pytest.mark.parametrize(("level", "said"), [(0.0, "empty"), (1.0, "full"), (0.5, "full")])
def test_masks_that_are_all_empty_or_full_are_told(level, said):
    def constant(pixels, _):
        return BackendOutput(np.full(pixels.shape, level, np.float32))

    image("one/1.png", seed=1)
    image("one/2.png", seed=2)

    def report(backend):
        return Predictor(backend, "ab", 16).predict(
            find_images(["one"], OUT).images,
            OUT,
            batch_size=2,
            reading=ImageReading(),
            overlays=False,
            progress=lambda *_: None,
        )

    assert report(constant).masks == said
    assert report(engine).masks == ""
    assert report(lambda pixels, _: BackendOutput()).masks == ""


def test_batches_are_of_so_many_files_whatever_can_be_read():
    calls = []
    predicted(10, 4, calls)
    assert calls == [3, 3, 2]


def test_each_file_gets_its_own_mask_and_overlay():
    predicted(5, 2)
    for number in range(1, 5):
        with Image.open(f"many/{number:03d}.png") as image:
            pixels = np.asarray(image)
        stored = stretch(resize(pixels.astype(np.float32), 16))[0]
        soft = Image.fromarray(stored.astype(np.float32) / 255)
        hard = np.asarray(soft.resize(pixels.shape[::-1], Image.Resampling.BILINEAR)) >= 0.5
        mask = np.asarray(Image.open(f"out/masks/{number:03d}.png"))
        assert np.array_equal(mask, hard * np.uint8(255))
        drawn = np.asarray(Image.open(f"out/overlays/{number:03d}.png"))
        assert np.array_equal(drawn, overlay(stretch(pixels.astype(np.float32))[0], mask))


@pytest.mark.parametrize("segments", [True, False])
def test_maps_are_drawn_and_the_spread_is_written(segments):
    image("m2/1.png", (20, 30))

    def explained(pixels, levels):
        output = engine(pixels, levels)
        values = np.zeros(pixels.shape, np.float32)
        values[:, :8] = 1
        return output._replace(
            mask=output.mask if segments else None,
            spread=np.full(len(pixels), 0.125, np.float32),
            activation=values,
        )

    def overlays(wanted):
        Predictor(explained, "ab", 16).predict(
            find_images(["m2/1.png"], OUT).images, OUT, batch_size=1, reading=AS_TRAINED,
            overlays=wanted, progress=lambda *_: None,
        )  # fmt: skip
        return OUT / "overlays/1.png"

    assert not overlays(False).exists()
    picture = np.asarray(Image.open(overlays(True)))
    plain = np.asarray(Image.open("m2/1.png"))
    assert picture.shape == (20, 30, 3)
    grey = (picture == picture[:, :, :1]).all(axis=2)
    assert not grey[:9].any()  # the upper half is coloured
    assert grey[12:].mean() > (0.5 if segments else 0.99)
    assert plain.shape == (20, 30)
    (row,) = csv.DictReader((OUT / "predictions.csv").read_text().splitlines())
    assert list(row)[:5] == ["image", "predicted", "a", "b", "spread"]
    assert float(row["spread"]) == 0.125


def test_only_some_images_are_held_at_once():
    done, started = [], []

    def work(item):
        done.append(item)
        return item

    def items():
        for item in range(100):
            started.append(item)
            yield item

    with ThreadPoolExecutor(2) as pool:
        results = map_ordered(pool, work, items(), ahead=5)
        assert [next(results) for _ in range(10)] == list(range(10))
        assert len(started) == 15
        results.close()
    assert len(done) <= 15


def test_an_error_of_writing_ends_the_prediction(monkeypatch):
    Path("out").touch()
    with pytest.raises(OSError, match="out"):
        predicted(40, 4)
    assert Path("out").read_bytes() == b""


def test_what_another_run_wrote_of_these_images_goes_and_nothing_else():
    images = find_images(["a"], OUT).images
    theirs = (
        "masks/1.png",
        "overlays/deep/2.png",
        "labels/1.tif",
        "geojson/1.geojson",
        "fields.csv",
    )
    others = ("masks/other.png", "masks/1.txt", "notes.csv", "1.png")
    for name in (*theirs, *others):
        (OUT / name).parent.mkdir(parents=True, exist_ok=True)
        (OUT / name).touch()
    (OUT / "fields.csv").rename(OUT / "f")
    remove_earlier_results(OUT, images)  # no tables: a folder of something else
    (OUT / "f").rename(OUT / "fields.csv")
    assert all((OUT / name).exists() for name in (*theirs, *others))
    remove_earlier_results(OUT, images)
    assert not any((OUT / name).exists() for name in theirs)
    assert all((OUT / name).exists() for name in others)


def test_masks_alone_are_written_in_the_layout_of_a_data_set():
    predicted(5, 2)
    report, _ = predicted(5, 2, output=Path("drawn"), masks="only")
    assert report.done == 4
    # 000 cannot be read.
    written = sorted(str(path) for path in Path("drawn").rglob("*"))
    assert written == [f"drawn/{number:03d}_Mask.png" for number in range(1, 5)]
    for number in range(1, 5):
        with Image.open(f"drawn/{number:03d}_Mask.png") as mask:
            assert mask.mode == "L"
            assert set(np.unique(np.asarray(mask))) <= {0, 255}
        same = Path(f"out/masks/{number:03d}.png").read_bytes()
        assert Path(f"drawn/{number:03d}_Mask.png").read_bytes() == same


def test_masks_may_be_left_out():
    predicted(5, 2, output=Path("bare"), masks=False)
    assert sorted(path.name for path in Path("bare").iterdir()) == ["overlays", "predictions.csv"]


def test_masks_of_a_method_without_any_are_refused_and_nothing_is_written():
    image("one/1.png")

    def classifying(pixels, levels):
        return engine(pixels, levels)._replace(mask=None)

    with pytest.raises(Hep2ganError, match="makes no masks") as caught:
        Predictor(classifying, "ab", 16).predict(
            find_images(["one"], OUT).images,
            OUT,
            batch_size=1,
            reading=AS_TRAINED,
            overlays=True,
            progress=lambda *_: None,
            masks="only",
        )
    assert "method=proposed" in caught.value.fix
    assert not OUT.exists()
