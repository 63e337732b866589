"""Class activation maps: where in an image the classifier sees what speaks for a class."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.models.guidance import frozen

SIDE = 7
"""Places a side that a map should have, as the last one of ResNet-50 at 224 px."""


class MapLayer(NamedTuple):
    """The module of a classifier whose output is mapped.

    Attributes:
        module: The module.
        size: Height and width of its output in places.
    """

    module: nn.Module
    size: tuple[int, int]


class ActivationMapper:
    """Class activation maps by gradients, of a classifier in eval mode.

    Grad-CAM as R. L. Draelos and L. Carin correct it (HiResCAM, arXiv:2011.08891, eq. 5): each
    place counts by its own gradient, not by the mean over places, so that what the classifier does
    not look at is not marked. Where it averages its last map, as ResNet does, both are the same:
    R. R. Selvaraju et al., Grad-CAM, ICCV 2017, eqs 1 and 2. The sources take the last
    convolutional layer; where that has fewer than `SIDE` places a side, as on small images, it is
    the last that has.

    Args:
        classifier: Maps images and masks (or None) to logits (B, K) and features (B, D).
    """

    def __init__(self, classifier: nn.Module) -> None:
        self._classifier = classifier
        self._layer: MapLayer | None = None

    def __call__(self, image: Tensor, mask: Tensor | None, classes: Tensor) -> Tensor:
        """Map what speaks for a class.

        Args:
            image: Normalised images (B, 1, H, W).
            mask: Masks (B, 1, H, W) for a guided classifier, None for an unguided one.
            classes: int64 (B,) the class of each image.

        Returns:
            float32 (B, H, W): the map of each image divided by its largest value; zeros where
            nothing speaks for the class.

        Raises:
            Hep2ganError: The classifier has no convolutional map before its features.
        """
        if self._layer is None:
            self._layer = find_map_layer(self._classifier, image, mask)
        with torch.enable_grad(), frozen(self._classifier), _cut_at(self._layer) as maps:
            logits, _ = self._classifier(image, mask)
            score = logits.gather(1, classes[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, maps[-1])
        cam = (gradient * maps[-1].detach()).sum(dim=1, keepdim=True).relu()
        cam = F.interpolate(cam.float(), image.shape[-2:], mode="bilinear", align_corners=False)
        peak = cam.amax(dim=(1, 2, 3), keepdim=True)
        return (cam / peak.clamp(min=torch.finfo(cam.dtype).tiny))[:, 0]


@contextmanager
def _cut_at(layer: MapLayer) -> Iterator[list[Tensor]]:
    """Start the gradients at the output of a module, so that nothing before it is kept."""
    maps: list[Tensor] = []

    def cut(module: nn.Module, inputs: object, output: object) -> Tensor | None:
        if not isinstance(output, Tensor) or output.shape[-2:] != layer.size:
            return None
        maps.append(output.detach().requires_grad_())
        return maps[-1].clone()  # what follows may write into it

    handle = layer.module.register_forward_hook(cut)
    try:
        yield maps
    finally:
        handle.remove()


def find_map_layer(classifier: nn.Module, image: Tensor, mask: Tensor | None) -> MapLayer:
    """Find the last map of at least `SIDE` places a side, or the largest there is.

    A map is what a convolution gives and layers of the same size make of it. Of several modules in
    one another, such as a block and its stage, the outermost counts: it has the sum over branches.

    Args:
        classifier: The classifier, in eval mode.
        image: Normalised images (B, 1, H, W).
        mask: Masks (B, 1, H, W), or None.

    Returns:
        The module and the size of its output.

    Raises:
        Hep2ganError: There is no convolution, or others that see places come after the last, as in
            a transformer.
    """
    watch = _Watch()
    handles = [
        module.register_forward_hook(watch.hook(name.count(".")))
        for name, module in classifier.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            classifier(image[:1], None if mask is None else mask[:1])
    finally:
        for handle in handles:
            handle.remove()
    if not watch.maps or watch.goes_on:
        raise Hep2ganError(
            "overlays is cam, and this classifier has no convolutional map before its features",
            "a class activation map is one of a convolutional network, not of a transformer",
            "leave overlays=cam out: overlays=true draws the outlines of masks",
        )
    fine = [layer for layer in watch.maps if min(layer.size) >= SIDE]
    return fine[-1] if fine else max(watch.maps, key=lambda layer: min(layer.size))


class _Watch:
    """Notes the maps of a forward pass, one for each size."""

    def __init__(self) -> None:
        self.maps: list[MapLayer] = []
        self.goes_on = False
        self._depth = 0

    def hook(self, depth: int) -> Callable[[nn.Module, object, object], None]:
        """Return what watches a module, so many levels below the classifier."""

        def watch(module: nn.Module, inputs: object, output: object) -> None:
            if not isinstance(output, Tensor) or output.ndim not in (3, 4):
                return
            places = output.shape[-2:] if output.ndim == 4 else output.shape[1:2]
            if places.numel() > 1:
                self._note(module, output, depth)

        return watch

    def _note(self, module: nn.Module, output: Tensor, depth: int) -> None:
        size = (output.shape[-2], output.shape[-1]) if output.ndim == 4 else None
        same = bool(self.maps) and self.maps[-1].size == size
        if size is not None and same:
            self.goes_on = False
            if depth <= self._depth:
                self.maps[-1], self._depth = MapLayer(module, size), depth
        elif size is not None and isinstance(module, nn.Conv2d):
            self.goes_on = False
            self.maps.append(MapLayer(module, size))
            self._depth = depth
        elif any(True for _ in module.parameters(recurse=False)):
            self.goes_on = True
