from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from hep2gan.runs.predictions import Predictions
from hep2gan.statistics.calibration import (
    apply_temperature,
    cross_fit_temperature,
    expected_calibration_error,
    fit_temperature,
    normalized_entropy,
    reliability,
    split_halves,
)
from hep2gan.statistics.trust import (
    conformal_quantile,
    find_unseen,
    fit_trust,
    limit_cells,
    scale_test,
)

CLASSES = ("a", "b", "c")


def made(specimens=20, per_specimen=20, seed=0, **changes) -> Predictions:
    """Cells whose logits are three times too large, with distances."""
    rng = np.random.default_rng(seed)
    cells = specimens * per_specimen
    specimen = np.repeat(np.arange(specimens), per_specimen)
    logits = rng.normal(size=(cells, 3))
    logits[np.arange(cells), specimen % 3] += 1.5
    whole = Predictions(
        classes=CLASSES,
        id=np.array([f"{n:05d}" for n in range(cells)]),
        specimen=specimen,
        label=np.array([rng.choice(3, p=softmax(row)) for row in logits]),
        image=np.zeros((cells, 2, 2), np.uint8),
        crop_size=np.ones((cells, 2), np.int64),
        probabilities=softmax(3 * logits, axis=1).astype(np.float32),
        distances=(rng.chisquare(5, (cells, 3)) + np.array([0, 20, 20])).astype(np.float32),
        train_specimens=np.arange(15, 40),
    )
    return replace(whole, **changes)


def with_validation(test: Predictions) -> Predictions:
    other = made(seed=7)
    return replace(
        test,
        validation_specimen=other.specimen + 100,
        validation_label=other.label,
        validation_probabilities=other.probabilities,
        validation_distances=2 * other.distances,
    )


def error(probabilities, label):
    return expected_calibration_error(reliability(probabilities, label))


def test_without_a_validation_part_half_tells_of_half():
    test = made()
    fitted = cross_fit_temperature(test.probabilities, test.label, test.specimen)
    scaled = scale_test(test)
    np.testing.assert_array_equal(scaled.probabilities, fitted.probabilities)
    found = fit_trust(test, "checkpoints/best.ckpt")
    assert (found.part, found.cells, found.specimens) == ("test", 400, 20)
    assert found.temperature == fit_temperature(test.probabilities, test.label)
    assert 2.3 < found.temperature < 3.7
    assert found.calibration_error == error(test.probabilities, test.label)
    assert found.calibration_error_scaled == error(fitted.probabilities, test.label)
    assert found.calibration_error_scaled < 0.5 * found.calibration_error
    assert found.checkpoint == "checkpoints/best.ckpt"


def test_a_validation_part_tells_of_the_whole_test():
    test = with_validation(made())
    found = fit_trust(test)
    temperature = fit_temperature(test.validation_probabilities, test.validation_label)
    assert (found.part, found.cells, found.temperature) == ("validation", 400, temperature)
    scaled = apply_temperature(test.probabilities, temperature)
    assert found.calibration_error_scaled == error(scaled, test.label)
    limit = conformal_quantile(test.validation_distances.min(axis=1), 0.975)
    chosen = normalized_entropy(apply_temperature(test.validation_probabilities, temperature))
    undecided = conformal_quantile(chosen, 0.975)
    assert (found.unlike.squared, found.unlike.entropy) == (limit, undecided)
    far = test.distances.min(axis=1) > limit
    beyond = far | (normalized_entropy(scaled) > undecided)
    assert found.unlike.false_alarms == beyond.mean() > far.mean()


def test_the_limit_by_hand():
    assert conformal_quantile(np.arange(1.0, 20), 0.95) == 19
    # ⌈100 · 0.95⌉ = 95 of 99.
    assert conformal_quantile(np.arange(99.0, 0, -1), 0.95) == 95
    assert conformal_quantile(np.arange(5.0), 0.95) == 4


def test_further_cells_of_the_same_kind_keep_the_limit_19_times_in_20():
    rng = np.random.default_rng(0)
    beyond = [rng.normal() > conformal_quantile(rng.normal(size=39)) for _ in range(4000)]
    assert np.mean(beyond) == pytest.approx(0.05, abs=0.01)


def test_false_alarms_are_of_the_half_that_did_not_choose():
    test = made()
    half = split_halves(test.label, test.specimen)
    nearest = test.distances.min(axis=1)
    beyond = np.zeros(400, bool)
    for own in (0, 1):
        ours, theirs = half == own, half != own
        temperature = fit_temperature(test.probabilities[theirs], test.label[theirs])
        entropy = normalized_entropy(apply_temperature(test.probabilities, temperature))
        far = nearest[ours] > conformal_quantile(nearest[theirs], 0.975)
        beyond[ours] = far | (entropy[ours] > conformal_quantile(entropy[theirs], 0.975))
    found = fit_trust(test).unlike
    assert found.squared == conformal_quantile(nearest, 0.975)
    assert found.false_alarms == beyond.mean()
    # Specimens 0 to 14 have no cell in training.
    assert found.false_alarms_unseen == beyond[:300].mean()
    assert (found.unseen_cells, found.unseen_specimens) == (300, 15)


def test_a_cell_does_not_choose_its_own_limit():
    test = made()
    one = np.flatnonzero(split_halves(test.label, test.specimen) == 0)
    far = test.distances.copy()
    far[one] += 1000
    assert limit_cells(replace(test, distances=far)).beyond[one].all()


@pytest.mark.parametrize(
    ("changes", "unseen"),
    [
        ({}, 300),
        ({"train_specimens": None}, 0),
        ({"specimen": np.full(400, -1)}, 0),
        ({"train_specimens": np.arange(20)}, 0),
    ],
)
def test_unseen_is_only_what_is_known_to_be(changes, unseen):
    assert find_unseen(made(**changes)).sum() == unseen
    found = fit_trust(made(**changes)).unlike
    assert (found.false_alarms_unseen is None) == (not unseen)


def test_what_cannot_be_known_is_not_said():
    assert fit_trust(made(probabilities=None)) is None
    bare = fit_trust(made(distances=None)).unlike
    assert (bare.squared, bare.quantile) == (None, 0.95)
    few = fit_trust(made(specimens=3, per_specimen=6))
    assert (few.unlike, few.no_limits) == (None, "the test part has 18 cells, limits need 40")
    one = fit_trust(made(specimen=np.zeros(400, np.int64)))
    assert one.calibration_error_scaled is one.unlike.false_alarms is None
    unknown = fit_trust(made(specimen=np.full(400, -1)))
    assert unknown.specimens is None
    assert unknown.calibration_error_scaled is not None


def test_the_curve_ends_at_the_error():
    found = fit_trust(made())
    assert len(found.risk) == 20
    assert found.risk[-1] == (1.0, found.error)
    assert found.aurc_ideal < found.aurc < found.error
