"""The smallest networks with the contracts of the real ones, and batches of noise for them."""

from functools import partial

import torch
from torch import Tensor, nn

from hep2gan.data.batch import Batch
from hep2gan.losses.adversarial import AdversarialLoss
from hep2gan.losses.classification import ClassificationLoss, GaussianMixtureLoss
from hep2gan.losses.segmentation import GeneratorLoss
from hep2gan.metrics.validation import ValidationMetrics
from hep2gan.training.module import SegmentationGuidedClassification

CLASSES = 3


class Generator(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        # Old compilers pass over torch's own modules.
        return super().forward(image)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = nn.Conv2d(2, 1, 4, stride=2)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return self.network(torch.cat([image, mask], dim=1))


class Classifier(nn.Module):
    feature_dim = 5

    def __init__(self, guided: bool = True):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1 + guided, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.output = nn.Linear(5, CLASSES)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = self.features(image if mask is None else torch.cat([image, mask], dim=1))
        return self.output(features), features


def batch(cells: int = 6, side: int = 8, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    image = torch.rand(cells, 1, side, side, generator=g)
    mask = (torch.rand(cells, 1, side, side, generator=g) > 0.5).float()
    label = torch.randint(0, CLASSES, (cells,), generator=g)
    return Batch(image, mask, label, torch.arange(cells))


def task(
    segment: bool = True,
    classify: bool = True,
    mixture: bool = True,
    adversarial: bool = True,
    **given,
):
    torch.manual_seed(3)
    guidance = given.get("guidance")
    guided = guidance.source != "none" if guidance else True
    loss = AdversarialLoss() if adversarial else None
    gm = GaussianMixtureLoss(CLASSES, Classifier.feature_dim) if classify and mixture else None
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01)
    schedule = partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.1)
    return SegmentationGuidedClassification(
        generator=Generator() if segment else None,
        discriminator=Discriminator() if segment and adversarial else None,
        classifier=Classifier(guided) if classify else None,
        adversarial_loss=loss,
        generator_loss=GeneratorLoss(0.5, 10.0, loss),
        classification_loss=ClassificationLoss(gaussian_mixture=gm) if classify else None,
        optimizers={
            "generator": sgd,
            "discriminator": sgd,
            "classifier": partial(torch.optim.Adam, lr=0.01, betas=(0.5, 0.999), weight_decay=0.1),
        },
        schedules={"generator": None, "discriminator": None, "classifier": schedule},
        metrics=ValidationMetrics(
            [str(number) for number in range(CLASSES)],
            segments=segment,
            classifies=classify,
            mixture_distances=gm.distances if gm else None,
        ),
        **given,
    )
