"""hep2gan-evaluate: test a trained run again, or on another labelled set."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hep2gan.cli.app import image_size, run
from hep2gan.errors import Hep2ganError

if TYPE_CHECKING:
    from hep2gan.cli.settings import EvaluateSettings
    from hep2gan.config import TrainConfig
    from hep2gan.data.external import ExternalSet
    from hep2gan.data.readers.source import DataSource
    from hep2gan.inference.load import LoadedRun
    from hep2gan.runs.folder import RunFolder
    from hep2gan.runs.predictions import Predictions
    from hep2gan.training.external import WriteBeside


def evaluate(config: dict[str, Any]) -> None:
    """Test a trained run again, or on another set, and print its metrics.

    Args:
        config: The resolved configuration, see `EvaluateSettings`.
    """
    from hep2gan.cli.settings import EvaluateSettings
    from hep2gan.runs.folder import RunFolder
    from hep2gan.settings import parse

    # conf/evaluate.yaml gives these to any set.
    if config["data"] == {"name": config["as"], "size": image_size(config["run"])}:
        config["data"] = None
    if config["cells"] == {"_target_": None}:
        config["cells"] = None
    settings = parse(EvaluateSettings, config)
    # Before torch, which takes seconds to import.
    run = RunFolder.open(Path(settings.run))

    from hep2gan.config import parse_run
    from hep2gan.data.prepare import open_store_of_run
    from hep2gan.data.splits import Split
    from hep2gan.data.store.integrity import verify
    from hep2gan.inference.load import load_run
    from hep2gan.training.evaluation import evaluate_run, format_summary
    from hep2gan.training.setup import build_data

    own = parse_run(run, settings.trusted)
    if settings.data:
        _evaluate_external(settings, run, own)
        return
    if own.model.baseline:
        from hep2gan.training.forest import evaluate_forest

        metrics = evaluate_forest(run, own, settings.checkpoint, settings.store, settings.figures)
        print(f"{format_summary(metrics)}\n\n{run.path}, grown again")
        return
    trained = load_run(run.path, settings.checkpoint, settings.trusted)
    store = open_store_of_run(run, settings.store)
    verify(store)
    here = trained.config.on_device(settings.accelerator, settings.batch_size)
    metrics = evaluate_run(
        trained.task,
        build_data(here, store, Split.load(run.path, store)),
        run,
        here,
        checkpoint=trained.checkpoint,
        figures=settings.figures,
    )
    print(f"{format_summary(metrics)}\n\n{run.path} with {trained.checkpoint.name}")


def _evaluate_external(settings: "EvaluateSettings", run: "RunFolder", own: "TrainConfig") -> None:
    """Test a run on another labelled set; print what was tested, and the metrics."""
    from hep2gan.config import parse_source
    from hep2gan.data.store.integrity import verify
    from hep2gan.inference.load import load_run
    from hep2gan.reports.results import NO_INTERVAL, recorded_interval
    from hep2gan.runs.fields import fields_test
    from hep2gan.training import external
    from hep2gan.training.evaluation import format_summary
    from hep2gan.training.forest import refuse_checkpoint

    name, data = settings.test_name, settings.data
    assert name is not None
    assert data is not None
    external.check_finished(run)
    trained, beside = None, None
    source = parse_source(data, settings.trusted)
    if not own.model.baseline:
        training = external.find_training(run, settings.store)
        trained = load_run(run.path, settings.checkpoint, settings.trusted)
        here = trained.config.on_device(settings.accelerator, settings.batch_size)
        predict = external.network_predictor(trained.task, here)
        if settings.cells:
            beside = _field_tester(settings, trained, source)
    else:
        _refuse_cells(settings)
        refuse_checkpoint(run, settings.checkpoint)
        # The forest is grown again, so that its cells must be there.
        training = external.open_training(run, settings.store)
        predict = external.forest_predictor(own, *training)
    store = external.open_external(source, run, settings.workers)
    verify(store)
    cells, metrics = external.evaluate_external(
        run,
        source,
        store,
        name,
        predict,
        classes=settings.classes,
        training=training,
        checkpoint=trained.checkpoint.name if trained else None,
        figures=settings.figures,
        beside=beside,
    )
    print("\n".join([f"{run.path} on {store.path}", *cells.lines()]))
    if (accuracy := metrics.get("test/accuracy")) is not None:
        interval = NO_INTERVAL
        if (found := recorded_interval(metrics)) is not None:
            (low, high), unit = found
            interval = f"95 % interval over {unit}s {low:.3f}–{high:.3f}"
        before = run.metrics()["test/accuracy"]
        print(f"accuracy {accuracy:.3f} ({interval}); on the run's own test cells {before:.3f}")
    if (fields := fields_test(run.path, name)) is not None:
        print("\n".join(fields.lines()))
    print(f"{format_summary(metrics)}\n\n{run.external / name}")


def _refuse_cells(settings: "EvaluateSettings") -> None:
    """Refuse to predict fields with a forest."""
    if settings.cells:
        raise Hep2ganError(
            f"{settings.run} is a forest on texture features",
            "cells of fields are predicted by networks",
            "leave cells out, to test the forest on the true crops alone",
        )


def _field_tester(
    settings: "EvaluateSettings", trained: "LoadedRun", source: "DataSource"
) -> "Callable[[ExternalSet, Predictions], WriteBeside]":
    """Return what finds the cells of a set's fields and holds them against the true ones."""
    from hep2gan.config import parse_finder
    from hep2gan.data.readers.image import ImageReading
    from hep2gan.inference.fields.evaluation import (
        FieldMethod,
        TestedCells,
        evaluate_fields,
        require_fields,
    )
    from hep2gan.inference.fields.predictor import FieldPredictor
    from hep2gan.inference.load import torch_backend
    from hep2gan.io import progress_bar

    assert settings.cells is not None
    trained.task.guidance.require_no_truth()
    finder = parse_finder(settings.cells, settings.trusted)
    source = require_fields(source)
    true_margin = source.crop_margin
    margin = trained.crops.margin if trained.crops else true_margin

    def test(cells: "ExternalSet", predictions: "Predictions") -> "WriteBeside":
        backend = torch_backend(trained.task, trained.config, settings.accelerator)
        classes = trained.classes if predictions.probabilities is not None else ()
        method = FieldMethod(
            finder=finder,
            name=type(finder).__name__,
            predictor=FieldPredictor(backend, classes, trained.size, margin, settings.batch_size),
            nucleus=trained.crops.nucleus if trained.crops else None,
            diameter=trained.crops.usual_nucleus if trained.crops else None,
            margin=margin,
            reading=ImageReading(source.white_level, source.channel, source.plane),
            invert_masks=source.invert_masks,
        )
        fields = source.read_fields(settings.workers).fields
        tested = TestedCells(cells, predictions)
        with progress_bar("finding cells") as bar:
            found = evaluate_fields(fields, tested, method, trained.classes, true_margin, bar)
        return partial(found.write, figures=settings.figures)

    return test


def main() -> None:
    """Run the command."""
    run(evaluate, "evaluate", ("run",))


if __name__ == "__main__":
    main()
