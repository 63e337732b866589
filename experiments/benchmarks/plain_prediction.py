"""Prediction as a plain script has it: eager PyTorch, one file after the other."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from hep2gan.reports.figures.overlay import overlay


def predict_file_by_file(
    generator: nn.Module,
    classifier: nn.Module,
    classes: Sequence[str],
    size: int,
    files: Iterable[Path],
    output: Path,
) -> None:
    """Write masks/, overlays/ and predictions.csv of 8-bit grey files into `output`.

    The mathematics and the outputs are those of hep2gan-predict for normalisation min_max, in
    batches of one image, with what Pillow and torch do when nothing is set.
    """
    generator.eval()
    classifier.eval()
    for name in ("masks", "overlays"):
        (output / name).mkdir(parents=True, exist_ok=True)
    with (output / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["image", "predicted", *classes, "mask_share"])
        for path in files:
            grey = Image.open(path).convert("F")
            small = _stretched(np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR)))
            with torch.inference_mode():
                pixels = torch.from_numpy(small).float()
                low, high = pixels.min(), pixels.max()
                image = ((pixels - low) / (high - low))[None, None]
                mask = generator(image).sigmoid()
                logits, _ = classifier(image, mask)
                chances = logits.softmax(dim=1)[0].tolist()
            soft = Image.fromarray(mask[0, 0].numpy())
            full = soft.resize(grey.size, Image.Resampling.BILINEAR)
            hard = (np.asarray(full) >= 0.5).astype(np.uint8)
            Image.fromarray(hard * 255).save(output / "masks" / f"{path.stem}.png")
            drawn = overlay(_stretched(np.asarray(grey)), hard)
            Image.fromarray(drawn).save(output / "overlays" / f"{path.stem}.png")
            told = [f"{chance:.6f}" for chance in chances]
            best = classes[int(np.argmax(chances))]
            rows.writerow([str(path), best, *told, f"{hard.mean():.6f}"])


def _stretched(grey: np.ndarray) -> np.ndarray:
    low, high = float(grey.min()), float(grey.max())
    return np.rint((grey.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)
