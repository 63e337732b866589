"""hep2gan-predict: segment and classify cells, in images of one each or in fields of many."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hep2gan.cli.app import run
from hep2gan.errors import Hep2ganError, bullet_list, pluralize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hep2gan.cli.settings import PredictSettings
    from hep2gan.data.readers.image import ImageReading
    from hep2gan.inference.exported import Export
    from hep2gan.inference.fields.predict import FieldsReport
    from hep2gan.inference.predict import InputImage, TrainedModel
    from hep2gan.runs.folder import RunFolder

_ANSWERS = 30
"""Specimens whose answers are printed; specimens.csv has all."""


def predict(config: dict[str, Any]) -> Path:
    """Predict images and list those that could not be read.

    Args:
        config: The resolved configuration, see `PredictSettings`.

    Returns:
        The folder of the results.

    Raises:
        Hep2ganError: Some images could not be read; the others are done. Or nothing is, as
            `find_images` and `check_output`.
    """
    from hep2gan.cli.settings import PredictSettings
    from hep2gan.inference.fields.kind import sort_inputs
    from hep2gan.inference.members import list_members, require_one_for_checkpoint
    from hep2gan.inference.open import find_model
    from hep2gan.inference.predict import (
        check_output,
        find_images,
        remove_earlier_results,
    )
    from hep2gan.settings import parse

    settings = parse(PredictSettings, config)
    named = settings.run if isinstance(settings.run, list) else [settings.run]
    members = list_members(named)  # Before torch, which takes seconds to import.
    require_one_for_checkpoint(members, settings.checkpoint)
    found = {name: find_model(name) for name in members.names}
    inputs = settings.inputs
    output = Path(settings.output)
    images, left_out = find_images(inputs if isinstance(inputs, list) else [inputs], output)
    check_output(output, images)
    model = _open_models(settings, found, members.left_out)
    crops, fields, reason = sort_inputs(images, settings.input, model.crops)
    if reason:
        print(reason)
    if settings.masks != "only":
        remove_earlier_results(output, images)
    problems = _predict_fields(settings, model, fields) if fields else []
    problems += _predict_crops(settings, model, crops) if crops else []
    if left_out:
        print(f"not predicted: {left_out}")
    if problems:
        left = pluralize(len(problems), "image")
        raise Hep2ganError(f"{left} left out\n{bullet_list(problems)}\n")
    return output


def _predict_crops(
    settings: "PredictSettings", model: "TrainedModel", images: "Sequence[InputImage]"
) -> list[str]:
    """Predict images of one cell each; return what is wrong with those that cannot be read."""
    from hep2gan.inference.predict import Predictor
    from hep2gan.io import progress_bar

    output = Path(settings.output)
    known = None if settings.input == "crop" else model.crops
    predictor = Predictor(
        model.backend, model.classes, model.size, known, model.reading, model.rule
    )
    with progress_bar("predicting") as bar:
        report = predictor.predict(
            images,
            output,
            batch_size=settings.batch_size,
            reading=_reading(settings),
            overlays=settings.overlays is not False,
            progress=bar,
            masks=settings.masks,
        )
    written = output if settings.masks == "only" else output / "predictions.csv"
    print(f"{report.done:,} of {pluralize(len(images), 'image')} done, see {written}")
    _print_trust(settings, model, report.classified, report.unlike)
    if report.masks:
        print(
            f"every mask is {report.masks}: look at the overlays, and at the test of the run"
            " (Dice, test/constant_masks) before using any of them"
        )
    return report.problems


def _predict_fields(
    settings: "PredictSettings", model: "TrainedModel", fields: "Sequence[InputImage]"
) -> list[str]:
    """Predict fields of cells; return what is wrong with those that cannot be read."""
    from hep2gan.config import parse_finder
    from hep2gan.data.fields.labels import LabelFinder
    from hep2gan.inference.fields.cells import CellSource
    from hep2gan.inference.fields.predict import FieldOptions, predict_fields
    from hep2gan.inference.fields.predictor import FieldPredictor
    from hep2gan.inference.fields.specimens import name_specimens
    from hep2gan.inference.fields.tables import UNLIKE
    from hep2gan.io import progress_bar

    assert model.crops is not None  # sort_inputs has seen to it
    table = Path(settings.specimens) if settings.specimens else None
    specimens = name_specimens(fields, table)
    finder = parse_finder(settings.cells, settings.trusted) if settings.cells else None
    source = CellSource(LabelFinder(settings.labels), finder, model.crops.usual_nucleus)
    predictor = FieldPredictor(
        model.backend,
        model.classes,
        model.size,
        model.crops.margin,
        settings.batch_size,
        model.rule,
    )
    reading = _reading(settings).or_else(model.reading)
    options = FieldOptions(
        reading,
        model.crops.nucleus,
        Path(settings.output),
        settings.overlays is not False,
        settings.masks,
    )
    with progress_bar("predicting fields") as bar:
        report = predict_fields(fields, predictor, source, specimens, options, bar)
    _print_fields(report, len(fields), settings, model.classes, specimens.rule)
    classified = report.cells if predictor.outputs.probabilities is not None else 0
    unlike = report.flags[UNLIKE] if model.rule.has_limits else None
    _print_trust(settings, model, classified, unlike)
    return report.problems


def _print_fields(
    report: "FieldsReport",
    count: int,
    settings: "PredictSettings",
    classes: tuple[str, ...],
    rule: str,
) -> None:
    from hep2gan.inference.fields.predict import describe_answer

    where = settings.output if settings.masks == "only" else f"{settings.output}/cells.csv"
    cells = pluralize(report.cells, "cell")
    print(f"{report.done:,} of {pluralize(count, 'field')} done with {cells}, see {where}")
    read = report.done - report.found
    print(f"cells: by label images of {pluralize(read, 'field')}, found in {report.found:,}")
    if report.without_cells:
        print(f"no cells in {', '.join(report.without_cells[:5])}")
    at_border, odd, blurred = (
        report.flags[name] for name in ("at_border", "odd_size", "out_of_focus")
    )
    print(
        f"{at_border:,} cells at the border, {odd:,} of odd size, {blurred:,} out of focus: these"
        " do not count in a field or specimen that has others"
    )
    print(rule)
    for name, answer in list(report.specimens.items())[:_ANSWERS] if classes else ():
        print(f"  {name}: {describe_answer(answer, classes)}")
    if classes and len(report.specimens) > _ANSWERS:
        print(f"  and {len(report.specimens) - _ANSWERS:,} more, see specimens.csv")
    if report.divided:
        print(
            f"fields of one specimen differ in {pluralize(len(report.divided), 'specimen')}"
            f" ({', '.join(report.divided[:5])}{', …' if len(report.divided) > 5 else ''}):"
            " see fields.csv"
        )


def _print_trust(
    settings: "PredictSettings", model: "TrainedModel", cells: int, unlike: int | None
) -> None:
    """Say what probabilities and flags are worth; masks alone have neither."""
    from hep2gan.inference.trust import describe_trust

    if settings.masks == "only":
        return
    for line in describe_trust(model.trusts, cells, unlike, calibrated=settings.calibrated):
        print(line)


def _reading(settings: "PredictSettings") -> "ImageReading":
    from hep2gan.data.readers.image import ImageReading

    return ImageReading(settings.white_level, settings.channel, settings.plane)


def _open_models(
    settings: "PredictSettings",
    found: "Mapping[str, RunFolder | Export]",
    left_out: "Sequence[str]",
) -> "TrainedModel":
    """The networks of all members as one model; say which they are."""
    from hep2gan.inference.ensemble import combine_models
    from hep2gan.inference.explain import explain_model
    from hep2gan.inference.open import open_model

    for each in found.values():
        if origin := getattr(each, "origin", ""):
            print(f"model {origin}")
    if len(found) > 1:
        print(f"{len(found)} runs predict together:\n{bullet_list(list(found))}")
    if left_out:
        print(f"left out, as they are not finished:\n{bullet_list(left_out)}")
    models = {
        name: open_model(
            each,
            checkpoint=settings.checkpoint,
            accelerator=settings.accelerator,
            trusted=settings.trusted,
        )
        for name, each in found.items()
    }
    model = combine_models(models, views=settings.views, calibrated=settings.calibrated)
    draws_maps = settings.overlays == "cam" and settings.masks != "only"
    return explain_model(model) if draws_maps else model


def main() -> None:
    """Run the command."""
    run(predict, "predict", ("run+", "inputs*"))


if __name__ == "__main__":
    main()
