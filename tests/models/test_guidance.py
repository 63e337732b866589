"""Which mask reaches the classifier, in training and in a test, under each source."""

import pytest
import torch

from hep2gan.errors import Hep2ganError
from hep2gan.models.cross_fitting import CrossFittedNetwork
from hep2gan.models.guidance import MaskGuidance, ellipse_masks
from tests.helpers import tiny
from tests.training.test_module import fit

SOURCES = ("generated", "ground_truth", "other", "ellipse", "zeros")


def guided(source):
    """A task, and the masks that its classifier is given in the order of its calls."""
    task, seen = tiny.task(guidance=MaskGuidance(source=source)), []
    task.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].clone()))
    return task, seen


def expected(source, generated, truth):
    ellipse = ellipse_masks(truth, 0.145)
    masks = {"generated": generated, "ground_truth": truth, "other": generated[[1, 0, 3, 2, 5, 4]]}
    return masks | {"ellipse": ellipse, "zeros": torch.zeros_like(truth)}


@pytest.mark.parametrize("source", SOURCES)
def test_the_mask_of_a_training_step(source):
    task, seen = guided(source)
    generated, batch = [], tiny.batch()
    task.generator.register_forward_hook(lambda *given: generated.append(given[2].sigmoid()))
    fit(task, [batch])
    torch.testing.assert_close(seen[0], expected(source, generated[0], batch.mask)[source])
    assert len(seen) == 1


@pytest.mark.parametrize("source", SOURCES)
def test_the_mask_of_a_test(source):
    task, seen = guided(source)
    batch = tiny.batch()
    with torch.no_grad():
        output = task.eval()(batch.image, batch.mask)
    torch.testing.assert_close(seen[0], expected(source, output.mask, batch.mask)[source])
    # Accuracy with true masks is asked of a classifier that knows masks of its own cells.
    assert (output.probabilities_true_mask is not None) == (source == "generated")


def test_another_cell_is_never_the_cell_itself():
    generated = torch.arange(7.0).view(7, 1, 1, 1).expand(7, 1, 8, 8)
    other = MaskGuidance(source="other").select(generated, generated, None)
    assert other[:6, 0, 0, 0].tolist() == [1, 0, 3, 2, 5, 4]
    assert torch.equal(other[6:], ellipse_masks(generated[6:], 0.145))
    for image in generated.split(1):
        alone = MaskGuidance(source="other").select(image, image, None)
        assert torch.equal(alone, ellipse_masks(image, 0.145))
    with pytest.raises(Hep2ganError, match="a control, trained with masks of other cells"):
        MaskGuidance(source="other").require_no_truth()


def test_the_ellipse_is_that_of_a_usual_crop():
    (mask,) = ellipse_masks(torch.rand(1, 1, 69, 69), 10 / 69)
    # Semi-axes of 24.5 px.
    assert float(mask.sum()) == pytest.approx(torch.pi * 24.5**2, rel=0.01)
    assert mask[0, 34].nonzero().flatten().tolist() == list(range(10, 59))


def test_the_masks_of_cross_fitting_come_from_a_generator_that_never_saw_the_cell():
    task = tiny.task(guidance=MaskGuidance(source="cross_fitted"))
    task.generator = CrossFittedNetwork(tiny.Generator(), tiny.Generator())
    task.discriminator = CrossFittedNetwork(tiny.Discriminator(), tiny.Discriminator())
    task.optimized_modules |= {name: task.networks[name] for name in ("generator", "discriminator")}
    batches, given, learned, modes = [tiny.batch(seed=seed) for seed in range(4)], [], [], []
    task.classifier.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1].clone()))
    for number, half in enumerate(task.generator.halves):
        half.register_forward_hook(
            lambda one, inputs, output, number=number: modes.append(
                (number, one.training, output.detach().sigmoid())
            )
        )

    def note(name, loss, optimizer):
        if name != "classifier":
            halves = task.networks[name].halves
            graded = [any(p.grad is not None for p in half.parameters()) for half in halves]
            learned.append((name, graded))
        return True

    task.should_step = note
    fit(task, batches)
    # Batches are of one half and of the other in turn: each trains its own G and D,
    for number in range(4):
        own = [number % 2 == 0, number % 2 == 1]
        steps = learned[2 * number : 2 * number + 2]
        assert steps == [("discriminator", own), ("generator", own)]
        # and the classifier gets what the other G says, as in a test.
        (trains, first, _), (judges, second, mask) = modes[2 * number : 2 * number + 2]
        assert (trains, first, judges, second) == (number % 2, True, 1 - number % 2, False)
        torch.testing.assert_close(given[number], mask)
    with torch.no_grad():
        image = batches[0].image
        output = task.eval()(image)
        both = torch.stack([half(image) for half in task.generator.halves]).mean(0)
    torch.testing.assert_close(output.mask, both.sigmoid())
