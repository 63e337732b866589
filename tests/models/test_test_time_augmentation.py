import numpy as np
import pytest
import torch
from torch import nn

from hep2gan.config import EvaluationSettings
from hep2gan.models.output import ModelOutput, TestTimeAugmentation, apply_view, undo_view
from hep2gan.training.build import build_task
from tests.helpers import tiny
from tests.helpers.configs import parsed
from tests.helpers.schema import refusal_of_setting

# No turn or mirror image of it equals another.
LETTER = torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0.5]])[None, None]


def by_numpy(number):
    picture = LETTER[0, 0].numpy()
    return np.rot90(np.fliplr(picture) if number >= 4 else picture, number % 4)


def test_the_views_are_the_eight_elements_of_d4():
    seen = [apply_view(LETTER, number) for number in range(8)]
    assert len({tuple(each.flatten().tolist()) for each in seen}) == 8
    for number, each in enumerate(seen):
        assert np.array_equal(each[0, 0].numpy(), by_numpy(number))
        assert torch.equal(undo_view(each, number), LETTER)


def test_masks_come_back_in_the_images_orientation():
    def segment(image, truth):
        return ModelOutput(image * 0.5, None, None, None)

    assert torch.allclose(TestTimeAugmentation(8).average(segment, LETTER, None).mask, LETTER / 2)


def corner(image, truth):
    """The top left pixel decides everything, so that each view says something else."""
    value, true = image[:, 0, 0, :1], truth[:, 0, 0, :1]
    mask = torch.zeros_like(image)
    mask[..., 0, 0] = image[..., 0, 0]
    return ModelOutput(
        mask,
        torch.cat([value, 1 - value], 1),
        torch.cat([true, 1 - true], 1),
        torch.cat([value, 10 * value, 3 + 0 * value], 1),
    )


def test_the_mean_by_hand():
    image = torch.tensor([[0.1, 0.2], [0.3, 0.8]])[None, None]
    truth = torch.tensor([[0.0, 1.0], [0.0, 0.0]])[None, None]
    found = TestTimeAugmentation(8).average(corner, image, truth)
    # Each of the four pixels comes to the corner in two views: means 1.4/4 and 1/4.
    assert torch.allclose(found.mask, image / 4)
    assert torch.allclose(found.probabilities, torch.tensor([[0.35, 0.65]]))
    assert torch.allclose(found.probabilities_true_mask, torch.tensor([[0.25, 0.75]]))
    assert torch.allclose(found.features, torch.tensor([[0.35, 3.5, 3.0]]))
    one = TestTimeAugmentation().average(corner, image, truth)
    assert all(torch.equal(a, b) for a, b in zip(one, corner(image, truth), strict=True))


def test_what_a_method_does_not_have_stays_absent():
    def classify(image, truth):
        return ModelOutput(None, image.flatten(1).softmax(1), None, None)

    found = TestTimeAugmentation(8).average(classify, LETTER, None)
    assert found.mask is None
    assert found.probabilities_true_mask is None
    assert found.features is None
    # All sixteen places share the values of their orbits: the mean is still a distribution.
    assert found.probabilities.sum() == pytest.approx(1)


def test_sums_are_taken_in_float32():
    def segment(image, truth):
        return ModelOutput(image.bfloat16(), None, None, None)

    assert TestTimeAugmentation(8).average(segment, LETTER, None).mask.dtype == torch.float32


def symmetric(task):
    """Give every 3 × 3 kernel the symmetry of D4, which makes the networks equivariant."""
    for module in task.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            kernels = [apply_view(module.weight.data, number) for number in range(8)]
            module.weight.data = torch.stack(kernels).mean(0)
    return task


def test_an_equivariant_network_says_the_same_in_one_view_and_in_eight():
    batch = tiny.batch()
    one, eight = (symmetric(tiny.task(views=TestTimeAugmentation(n))).eval() for n in (1, 8))
    for a, b in zip(one(batch.image, batch.mask), eight(batch.image, batch.mask), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_the_classifier_is_guided_by_the_mask_of_its_own_view():
    batch, task = tiny.batch(), tiny.task(views=TestTimeAugmentation(8)).eval()
    found = task(batch.image, batch.mask)
    masks, probabilities, features, true = [], [], [], []
    for turns in range(4):
        for mirror in (False, True):
            image, truth = (
                torch.rot90(part.flip(-1) if mirror else part, turns, (2, 3))
                for part in (batch.image, batch.mask)
            )
            mask = task.generator(image).sigmoid()
            logits, feature = task.classifier(image, mask)
            probabilities.append(logits.softmax(1))
            features.append(feature)
            true.append(task.classifier(image, truth)[0].softmax(1))
            back = torch.rot90(mask, 4 - turns, (2, 3))
            masks.append(back.flip(-1) if mirror else back)
    expected = [torch.stack(part).mean(0) for part in (masks, probabilities, true, features)]
    for name, a, b in zip(ModelOutput._fields, found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-6), name
    one = tiny.task().eval()(batch.image, batch.mask)
    assert not torch.allclose(one.probabilities, found.probabilities, atol=1e-6)
    assert not torch.allclose(one.mask, found.mask, atol=1e-4)


@pytest.mark.parametrize("number", [0, 4, 8.0, "8", True, None])
def test_other_numbers_are_refused(number):
    assert refusal_of_setting(EvaluationSettings, "tta", number) == "it must be one of 1, 8"


def test_the_task_follows_the_configuration():
    small = ("scale=laptop", "pretrained=false")
    with torch.device("meta"):
        one = build_task(parsed(*small), classes="abc", size=64)
        eight = build_task(parsed(*small, "evaluation.tta=8"), classes="abc", size=64)
    assert (one.views.views, eight.views.views) == (1, 8)
