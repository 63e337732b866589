"""Table I as CSV: one value a column, at full precision."""

from collections.abc import Sequence

from hep2gan.reports.tables.estimates import MEASURES, Estimate
from hep2gan.reports.tables.framing import identity
from hep2gan.reports.tables.markup import Value, csv_table, paths
from hep2gan.reports.tables.table_1 import Comparison, Row
from hep2gan.statistics.intervals import Interval


def table_1_csv(rows: Sequence[Row]) -> str:
    """A line a method: fractions, not percentages."""
    return csv_table([_line(row) for row in rows])


def _line(row: Row) -> dict[str, Value]:
    method = row.method
    line = identity(method)
    line |= {"seeds": len(method.tests), "runs": len(method.runs), "cells": len(method.cells)}
    line["specimens"] = method.cells.specimens or None
    for measure in MEASURES:
        line |= estimate(measure, row.estimates.get(measure))
        printed = method.published
        line[f"{measure}_paper"] = printed and printed.metrics.get(f"test/{measure}")
    line |= ends("accuracy_wilson", row.wilson)
    return line | _comparison_line(row.comparison) | {"run_paths": paths(method.runs)}


def estimate(measure: str, found: Estimate | None) -> dict[str, Value]:
    """Columns of a measure: mean, standard deviation, both intervals."""
    return {
        measure: found and found.mean,
        f"{measure}_sd": found and found.sd,
        **ends(f"{measure}_cells", found and found.cells),
        **ends(f"{measure}_specimens", found and found.specimens),
    }


def ends(name: str, interval: Interval | None) -> dict[str, Value]:
    """Two columns, name_low and name_high."""
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _comparison_line(comparison: Comparison | str) -> dict[str, Value]:
    one = comparison if isinstance(comparison, Comparison) else None
    over_specimens = one and one.over_specimens
    return {
        "against": one and one.other.title,
        "paired_cells": one and one.cells,
        "only_here": one and one.only_here,
        "only_there": one and one.only_there,
        "difference": one and one.over_cells.estimate,
        **ends("difference_cells", one and one.over_cells.interval),
        **ends("difference_specimens", over_specimens and over_specimens.interval),
        "difference_mean_class_accuracy": one and one.mean_class_accuracy.estimate,
        **ends("difference_mean_class_accuracy", one and one.mean_class_accuracy.interval),
        "p_mean_class_accuracy": one and one.p_class,
        "p_mean_class_accuracy_holm": one and one.p_class_holm,
        "p_mcnemar": one and one.p_cells,
        "p_mcnemar_holm": one and one.p_cells_holm,
        "p_specimens": one and one.p_specimens,
        "p_specimens_holm": one and one.p_specimens_holm,
        "verdict": one.verdict if one else str(comparison),
    }
