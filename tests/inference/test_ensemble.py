"""Several networks and views as one: means and spread by hand, and what cannot be averaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hep2gan.data.readers.image import ImageReading
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.inference.ensemble import VIEWS, Ensemble, combine_models, spread, turn, turn_back
from hep2gan.inference.explain import explain_model
from hep2gan.inference.load import TorchBackend
from hep2gan.inference.onnx_backend import OnnxBackend
from hep2gan.inference.predict import BackendOutput, TrainedModel
from hep2gan.models.output import TestTimeAugmentation, apply_view, undo_view
from hep2gan.runs.folder import CropGeometry
from hep2gan.statistics.trust_rule import TrustRule
from tests.helpers import tiny
from tests.helpers.made_up_trust import LIMIT, TRUST

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (3, 6, 6), np.uint8)
LEVELS = np.tile(np.array([[0, 255]], np.float32), (3, 1))
CROPS = CropGeometry(100, 60, 80, 10, 55.0)


def says(probabilities, mask=None, distances=None):
    """Networks that say the same of each image."""

    def backend(image, levels):
        parts = (mask, probabilities, distances)
        return BackendOutput(
            *(None if p is None else np.repeat(np.asarray([p], np.float32), 3, 0) for p in parts)
        )

    return backend


def corner(image, levels):
    """The mask is the image, the probability the first pixel's."""
    chance = image[:, 0, :1].astype(np.float32) / 255
    return BackendOutput(image.astype(np.float32) / 255, np.concatenate([chance, 1 - chance], 1))


def model(
    backend, classes=("a", "b"), size=6, crops=CROPS, reading=ImageReading(), trusts=(None,)  # noqa: B008
):  # fmt: skip
    return TrainedModel(backend, classes, size, crops, reading, trusts)


@pytest.mark.parametrize(
    ("opinions", "expected"),
    [
        ([[1, 0], [0, 1]], 1),  # each sure of another class
        ([[1, 0], [1, 0]], 0),
        ([[0.5, 0.5], [0.5, 0.5]], 0),  # unsure, but of one mind
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], 1),
        ([[1, 0, 0, 0], [0, 1, 0, 0]], 0.5),  # log 2 / log 4: two members cannot say more
        # H(0.7) − (H(0.9) + H(0.5)) / 2 = 0.8812909 − (0.4689956 + 1) / 2 bits
        ([[0.9, 0.1], [0.5, 0.5]], 0.1467931),
        ([[1.0], [1.0]], 0),
    ],
)
def test_spread_by_hand(opinions, expected):
    found = spread(np.array(opinions)[:, None])
    assert found.dtype == np.float32
    assert found == pytest.approx([expected], abs=1e-6)


def test_means_by_hand():
    mask = np.zeros((6, 6))
    members = [
        says([0.9, 0.1], mask, [4, 9]),
        says([0.5, 0.5], mask + 0.6),
        says([0.4, 0.6], None, [2, 1]),
    ]
    found = Ensemble(members)(IMAGE, LEVELS)
    assert found.probabilities == pytest.approx(np.tile([0.6, 0.4], (3, 1)))
    assert found.mask == pytest.approx(np.full((3, 6, 6), 0.3))  # of the two that segment
    assert found.distances == pytest.approx(np.tile([3.0, 5.0], (3, 1)))
    opinions = np.array([[0.9, 0.1], [0.5, 0.5], [0.4, 0.6]])[:, None]
    assert found.spread == pytest.approx(np.tile(spread(opinions), 3))
    assert {part.dtype.char for part in (found.mask, found.distances, found.spread)} == {"f"}


def test_each_member_is_scaled_by_its_own_temperature_before_the_mean():
    members = [says([0.9, 0.1]), says([0.5, 0.5])]
    found = Ensemble(members, rules=[TrustRule(temperature=2.0), TrustRule()])(IMAGE, LEVELS)
    # √0.9 / (√0.9 + √0.1) = 0.75.
    assert found.probabilities == pytest.approx(np.tile([0.625, 0.375], (3, 1)))
    scaled = np.array([[0.75, 0.25], [0.5, 0.5]])[:, None]
    assert found.spread == pytest.approx(np.tile(spread(scaled), 3), abs=1e-6)


def test_the_limits_of_an_ensemble_are_the_means_of_its_members():
    near = replace(TRUST, unlike=replace(LIMIT, squared=2.5, entropy=0.6))
    members = {"a": model(corner, trusts=(TRUST,)), "b": model(corner, trusts=(near,))}
    assert combine_models(members).rule == TrustRule(squared=7.5, entropy=pytest.approx(0.7))
    assert combine_models(members, views=True).rule.squared == 7.5
    assert combine_models(members).trusts == (TRUST, near)
    # Limits are of calibrated probabilities.
    assert not combine_models(members, calibrated=False).rule.has_limits
    untested = members | {"c": model(corner)}
    assert not combine_models(untested).rule.has_limits
    assert combine_models({"a": members["a"]}).rule == TrustRule.of(TRUST)


def test_members_that_do_not_classify_have_no_spread():
    found = Ensemble([says(None, np.zeros((6, 6)))] * 2)(IMAGE, LEVELS)
    assert found.probabilities is None
    assert found.spread is None


def test_views_are_those_of_the_training():
    for view in range(VIEWS):
        turned = turn(IMAGE, view)
        assert np.array_equal(turned, apply_view(torch.tensor(IMAGE)[:, None], view)[:, 0])
        assert np.array_equal(turn_back(turned, view), IMAGE)
        back = undo_view(torch.tensor(IMAGE)[:, None], view)[:, 0]
        assert np.array_equal(turn_back(IMAGE, view), back)
    assert len({turn(IMAGE, view).tobytes() for view in range(VIEWS)}) == VIEWS


def test_views_by_hand():
    found = Ensemble([corner], views=VIEWS)(IMAGE, LEVELS)
    assert found.mask == pytest.approx(IMAGE / 255, abs=1e-6)  # each mask is turned back
    corners = IMAGE[:, [0, 0, -1, -1], [0, -1, 0, -1]] / 255
    assert found.probabilities[:, 0] == pytest.approx(corners.mean(axis=1), abs=1e-6)
    opinions = np.stack([corners, 1 - corners], axis=-1).transpose(1, 0, 2)
    assert found.spread == pytest.approx(spread(opinions), abs=1e-6)
    assert (found.spread > 0).all()


def test_members_and_views_together():
    both = Ensemble([corner, says([0.2, 0.8])], views=VIEWS)(IMAGE, LEVELS)
    views = Ensemble([corner], views=VIEWS)(IMAGE, LEVELS)
    expected = (views.probabilities + np.array([0.2, 0.8])) / 2
    assert both.probabilities == pytest.approx(expected, abs=1e-6)
    assert (both.spread > 0).all()


def test_one_model_that_looks_once_is_left_as_it_is():
    alone = model(corner)
    assert combine_models({"a": alone}) == alone
    assert combine_models({"a": alone}, views=True).backend(IMAGE, LEVELS).spread is not None


OTHERS = {
    "classes": model(corner, ("b", "a")),
    "size of images": model(corner, size=7),
    "reading of images": model(corner, reading=ImageReading(4095)),
    "geometry of crops": model(corner, crops=None),
}


@pytest.mark.parametrize("fact", OTHERS)
def test_models_that_differ_are_refused(fact):
    members = {"run/x": model(corner), "run/y": model(corner), "run/z": OTHERS[fact]}
    with pytest.raises(Hep2ganError, match=f"run/x and run/z differ in the {fact}: ") as caught:
        combine_models(members)
    assert "leave run/z out" in caught.value.fix
    assert combine_models({name: members[name] for name in ("run/x", "run/y")})


def test_an_exported_average_of_views_is_refused():
    graph = OnnxBackend.__new__(OnnxBackend)
    graph._views = 8
    with pytest.raises(Hep2ganError, match=r"averages its own views.*leave views=true out"):
        combine_models({"export": model(graph)}, views=True)
    assert combine_models({"export": model(graph)}).backend is graph
    graph._views = 1
    assert combine_models({"export": model(graph)}, views=True)


def backend(views=1, **given):
    task = tiny.task(views=TestTimeAugmentation(views), **given)
    return TorchBackend(task, Normalisation(), torch.device("cpu"))


def test_the_run_s_own_views_are_looked_at_one_by_one():
    averaging = backend(VIEWS)
    whole = averaging(IMAGE, LEVELS)
    single = combine_models({"run": model(averaging)}, views=True).backend(IMAGE, LEVELS)
    for name in ("mask", "probabilities"):
        assert getattr(single, name) == pytest.approx(getattr(whole, name), abs=1e-5)
    assert single.spread.max() > 1e-7
    again = averaging(IMAGE, LEVELS)
    assert np.array_equal(again.probabilities, whole.probabilities)  # the run itself is unchanged


def test_maps_are_those_of_the_members_averaged():
    first, second = backend(), backend(mixture=False)
    second._task.classifier.output.weight.data *= -1
    members = {"a": model(first, "abc"), "b": model(second, "abc")}
    together = explain_model(combine_models(members)).backend(IMAGE, LEVELS)
    predicted = together.probabilities.argmax(axis=1)
    maps = [each.activation_maps(IMAGE, LEVELS, predicted) for each in (first, second)]
    assert together.activation == pytest.approx(np.mean(maps, axis=0), abs=1e-6)
    assert together.activation.std() > 0
    alone = explain_model(model(first, "abc")).backend(IMAGE, LEVELS)
    assert alone.spread is None
    assert np.array_equal(alone.probabilities, first(IMAGE, LEVELS).probabilities)


def test_maps_turn_with_the_views():
    turned = explain_model(combine_models({"a": model(backend(), "abc")}, views=True))
    output = turned.backend(IMAGE, LEVELS)
    for view in range(VIEWS):
        other = turned.backend(turn(IMAGE, view), LEVELS)
        assert turn_back(other.activation, view) == pytest.approx(output.activation, abs=1e-5)


def test_what_cannot_be_explained_is_refused():
    with pytest.raises(Hep2ganError, match="does not classify"):
        explain_model(model(backend(classify=False), ()))
    for members in ({"a": model(corner)}, {"a": model(backend()), "b": model(corner)}):
        with pytest.raises(Hep2ganError, match=r"graph of ONNX.*gradients.*leave overlays=cam out"):
            explain_model(combine_models(members))
