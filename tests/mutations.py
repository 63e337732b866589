"""Break the code on purpose, once for each entry of MUTATIONS, and see that a test fails.

`make mutations` runs it: each break goes into a copy of the project, where the tests that guard it
must fail. A break that no test notices is printed, and the exit status is 1. All guards belong to
`make test`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("hep2gan", "conf", "tests", "pyproject.toml")
WORKERS = 2


class Mutation(NamedTuple):
    """A break of the code: `old`, which stands once in the file of the package, becomes `new`."""

    file: str
    old: str
    new: str
    guards: str


ADVERSARIAL, SEGMENTATION = "losses/adversarial.py", "losses/segmentation.py"
CLASSIFICATION, MODULE = "losses/classification.py", "training/module.py"
TEST_GM, TEST_STEP = "losses/test_gaussian_mixture.py", "training/test_module.py"
MUTATIONS = (
    # Equations of the losses.
    Mutation(
        ADVERSARIAL,
        '"total": 0.5 * (on_real + on_fake)',
        '"total": on_real + on_fake',
        "losses/test_adversarial.py",
    ),
    Mutation(
        ADVERSARIAL,
        "return -F.logsigmoid(logits).mean()",
        "return F.logsigmoid(-logits).mean()",
        "losses/test_adversarial.py",
    ),
    Mutation(
        ADVERSARIAL,
        "target = 1.0 - self.label_smoothing",
        "target = 1.0",
        "losses/test_adversarial.py",
    ),
    Mutation(
        SEGMENTATION,
        "(to_float32(truth) - to_float32(logits).sigmoid()).abs().mean()",
        "(to_float32(truth) - to_float32(logits).sigmoid()).square().mean()",
        "losses/test_segmentation.py",
    ),
    Mutation(
        SEGMENTATION,
        "(2.0 * both + self.smooth)",
        "(both + self.smooth)",
        "losses/test_segmentation.py",
    ),
    Mutation(
        SEGMENTATION,
        'self.alpha * terms["adversarial"]',
        'terms["adversarial"]',
        "losses/test_segmentation.py",
    ),
    Mutation(
        SEGMENTATION,
        "total = self.beta * sum(",
        "total = sum(",
        "losses/test_segmentation.py",
    ),
    Mutation(
        SEGMENTATION,
        "self.level + (1.0 - 2.0 * self.level)",
        "self.level + (1.0 - self.level)",
        "losses/test_mask_softening.py",
    ),
    Mutation(CLASSIFICATION, "(1.0 + alpha * own) * half", "(1.0 + alpha) * half", TEST_GM),
    Mutation(CLASSIFICATION, "self.margin if self.training else 0.0", "self.margin", TEST_GM),
    Mutation(
        CLASSIFICATION,
        "logits = self.log_prior - half_log_det",
        "logits = self.log_prior + half_log_det",
        TEST_GM,
    ),
    Mutation(
        CLASSIFICATION,
        "half, half_log_det = 0.5 * self.distances(features)",
        "half, half_log_det = self.distances(features)",
        TEST_GM,
    ),
    Mutation(
        CLASSIFICATION,
        'self.gamma * terms["likelihood"]',
        'terms["likelihood"]',
        "losses/test_classification.py",
    ),
    # Which gradients reach which network, and who is updated when.
    Mutation(MODULE, "discriminator(batch.image, generated.detach())",
             "discriminator(batch.image, generated)", TEST_STEP),
    Mutation(MODULE, "with frozen(*judges):", "with frozen():", TEST_STEP),
    Mutation(
        MODULE,
        "generated = None if generated is None else generated.detach()",
        "pass",
        TEST_STEP,
    ),
    Mutation(MODULE, "network.train(name in self.trained)", "network.train(True)", TEST_STEP),
    Mutation(MODULE, '{"params": means, "weight_decay": 0.0}', '{"params": means}', TEST_STEP),
    Mutation(
        MODULE,
        "            if name in self.trained:\n                scheduler.step()",
        "            scheduler.step()",
        TEST_STEP,
    ),
    Mutation(MODULE, "if self.should_step(name, loss, optimizer):", "if True:",
             "training/test_nonfinite.py"),
    Mutation(
        "models/guidance.py",
        "(generated >= 0.5).to(generated.dtype) if self.hard else generated",
        "generated",
        TEST_STEP,
    ),
    Mutation("models/attention_pooling.py", "dilated - mask", "dilated",
             "models/test_attention_pooling.py"),
    Mutation("models/output.py", "torch.rot90(images, -(view % 4), (-2, -1))",
             "torch.rot90(images, view % 4, (-2, -1))", "models/test_test_time_augmentation.py"),
    # Reductions over batches, ranks and epochs.
    Mutation(
        "training/callbacks/networks.py",
        "get_ema_multi_avg_fn(decay)",
        "get_ema_multi_avg_fn(1 - decay)",
        "training/callbacks",
    ),
    Mutation("data/sampler.py", "chosen[self.rank :: self.world_size]",
             "chosen[:: self.world_size]", "data/test_sampler.py"),
    Mutation("training/distributed.py", "(flat / world_size())", "flat",
             "integration/test_buffers.py"),
    Mutation(
        "metrics/segmentation.py",
        "to_fixed_point(2 * intersection, size)",
        "to_fixed_point(intersection, size)",
        "metrics/test_segmentation.py",
    ),
    Mutation(
        "metrics/segmentation.py",
        "ratio(self.intersection, self.size - self.intersection)",
        "ratio(self.intersection, self.size)",
        "metrics/test_segmentation.py",
    ),
    Mutation("metrics/boundary.py", "hd95 = max(", "hd95 = min(", "metrics/test_boundary.py"),
    Mutation(
        "metrics/boundary.py",
        "(crop_size[0] / truth.shape[0], crop_size[1] / truth.shape[1])",
        "(crop_size[1] / truth.shape[1], crop_size[0] / truth.shape[0])",
        "metrics/test_boundary.py",
    ),
    # Statistics.
    Mutation("statistics/significance.py", 'method="wilson"', 'method="exact"',
             "statistics/test_significance.py statistics/test_intervals.py"),
    Mutation("statistics/significance.py", "np.arange(len(p), 0, -1)", "np.full(len(p), len(p))",
             "statistics/test_significance.py"),
    Mutation(
        "statistics/methods.py", "(squares - within)", "squares", "statistics/test_methods.py"
    ),
    Mutation(
        "statistics/clusters.py",
        "one.influence_about(by_class)",
        "one.influence",
        "statistics/test_clusters.py",
    ),
    Mutation(
        "reports/tables/estimates.py",
        "max(self.each.unit, pool(self.second).unit, key=UNITS.index)",
        "self.each.unit",
        "reports/tables/test_leakage.py",
    ),
    Mutation(
        "training/module.py",
        "with full_float32(), without_autocast(batch.image):",
        "with full_float32():",
        "training/test_precision.py",
    ),
    Mutation("statistics/calibration.py", "bins.cells * gaps", "gaps",
             "statistics/test_calibration.py"),
    Mutation("statistics/calibration.py", "probabilities[half != own], label[half != own]",
             "probabilities[half == own], label[half == own]", "statistics/test_calibration.py"),
    Mutation("statistics/classification.py", "count == count.max(axis=1, keepdims=True)",
             "count > -1", "statistics/test_voting.py"),
    # Images, masks and stores.
    Mutation("data/transforms/normalisation.py", "(bright - dark) / 255**2",
             "(bright - dark) / 255", "data/transforms"),
    Mutation("data/readers/decoding.py", "self.full_scale - values.astype(np.float32)", "values",
             "data/readers/test_image.py"),
    Mutation("data/readers/decoding.py", "            check_png_checksums(data)",
             "            pass", "data/readers security/test_outside_images.py"),
    Mutation("data/readers/mask.py", "bool(is_flat and np.array_equal(values, nucleus * peak))",
             "bool(is_flat)", "data/readers/test_mask.py"),
    Mutation("data/readers/decoding.py", 'raw.replace("B", "N")', "raw",
             "data/readers/test_tiff.py"),
    Mutation("data/store/plausibility.py", "_BACKGROUND if lean <= -_CERTAIN", "_BACKGROUND if 0",
             "data/store/test_plausibility.py"),
    Mutation("data/readers/image.py", "grey.resize((size, size), Image.Resampling.NEAREST)",
             "grey.resize((size, size), Image.Resampling.BILINEAR)", "data/readers/test_image.py"),
    Mutation("data/store/integrity.py", "names) != store.fingerprint:",
             "names) == 0:", "data/store"),
    # Sets without masks.
    Mutation("data/store/integrity.py", 'if has_masks or name != "mask"', 'if name != "mask"',
             "data/store/test_without_masks.py"),
    Mutation("data/readers/mask_files.py", "return None if mask == cell.image else mask",
             "return mask", "data/readers/test_mask_files.py"),
    Mutation("training/preflight.py", "config.model.needs_masks and not has_masks",
             "config.model.segment and not has_masks", "training/test_preflight.py"),
    Mutation("inference/predict.py", 'if masks != "only":', 'if masks != "none":',
             "inference/test_predict.py"),
    Mutation("inference/exported.py", "if not whole:", "if False:", "inference/test_hub.py"),
    Mutation("inference/hub.py", "allow_patterns=list(files)", "allow_patterns=None",
             "inference/test_hub.py"),
    Mutation("inference/configuration.py", 'if key != "weights"', "if True",
             "inference/test_weights.py"),
    Mutation("data/splits.py", "if fingerprint != store.fingerprint:", "if fingerprint is None:",
             "data/test_splits.py"),
    # Other sets, longer runs, weights from elsewhere.
    Mutation("data/external.py", "        rows = rows[[twin is None for twin in twins]]\n", "",
             "data/test_external.py"),
    Mutation("data/patterns.py", "elif keys.count(key) == 1:", "elif key in keys:",
             "data/test_external.py"),
    Mutation("data/readers/labelled.py", "        if len(masks) > 1:", "        if len(masks) > 9:",
             "test_fixes.py"),
    Mutation("data/readers/stack.py", "plane, place[axis] = divmod(plane, size)",
             "plane, place[axis] = divmod(plane, size + 1)", "data/readers/test_stack.py"),
    Mutation("data/store/store.py", '        columns["label"] = label\n', "",
             "data/store/test_store.py"),
    Mutation("training/extension.py", "if any(old != new for", "if False and any(old != new for",
             "training/test_extension.py"),
    Mutation("training/initial_weights.py", "target.zero_()[:, :images]", "target[:, :images]",
             "training/test_initial_weights.py"),
    # Safety and what a user is told.
    Mutation("runs/checkpoints.py", "        check_archive_safety(path)\n", "",
             "security/test_outside_checkpoints.py"),
    Mutation("runs/checkpoints.py", "dict) or not _are_weights(content.get(\"state_dict\")):",
             "dict):", "security/test_outside_checkpoints.py"),
    Mutation("runs/folder.py", "        if differences:", "        if not differences:",
             "runs/test_folder.py"),
    Mutation("training/nonfinite.py", "if first != _NO_BATCH:", "if first == -1:",
             "training/test_nonfinite.py"),
    # A step that is recorded and replayed.
    Mutation("training/step_graph.py", "if values != self._values:", "if False:",
             "training/test_step_graph.py"),
    Mutation("training/step_graph.py", "buffer.copy_(part, non_blocking=True)", "pass",
             "training/test_step_graph.py"),
    Mutation("training/step_graph.py", "kind.replay().clone()", "kind.replay()",
             "training/test_step_graph.py"),
)  # fmt: skip


def survives(mutation: Mutation) -> str | None:
    """Give what to print of a mutation that no test notices, or that does not apply; else None."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in COPIED:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
            copy(ROOT / part, folder / part)
        path = folder / "hep2gan" / mutation.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            return f"does not apply: {mutation.file}: {mutation.old!r}"
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        guards = [f"tests/{guard}" for guard in mutation.guards.split()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", "0"]
        done = subprocess.run(
            [*command, "-m", "not slow and not gpu and not browser", *guards],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 1:
        return None
    return f"survives: {mutation.file}: {mutation.old!r} -> {mutation.new!r}\n{done.stdout[-500:]}"


def main(words: list[str]) -> int:
    """Try every mutation whose file holds one of the words; all without words."""
    chosen = [m for m in MUTATIONS if not words or any(word in m.file for word in words)]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(survives, chosen))
    for text in filter(None, found):
        print(text)
    print(f"{found.count(None)} of {len(chosen)} mutations caught")
    return int(any(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
