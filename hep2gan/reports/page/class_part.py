"""Results class by class, folded into one line of the page."""

from collections.abc import Sequence
from statistics import fmean

from hep2gan.reports.page.parts import PagePart, Part
from hep2gan.reports.page.tables import notes_of, printed, short_names
from hep2gan.reports.study import Study
from hep2gan.reports.tables.classes import NOTE, ClassRow, class_table
from hep2gan.reports.tables.notation import hundredths


def class_parts(study: Study) -> list[PagePart]:
    """Return the part, where any method classifies: the hardest class, and the table folded."""
    rows, named = study.tables.classes, short_names(study)
    if not rows:
        return []
    own = [row.method for row in rows]
    table = printed(class_table(rows, named), study.runs, own, "", notes_of(NOTE, own))
    classes, methods = len({row.name for row in rows}), len({method.title for method in own})
    folded = f"{classes} classes by {methods} method{'s' * (methods > 1)}"
    return [
        PagePart(Part.TABLES, "Class by class", text=_hardest(rows), tables=[table], folded=folded)
    ]


def _hardest(rows: Sequence[ClassRow]) -> list[str]:
    """Say which class has the lowest recall, on average over methods, and how far those differ."""
    recalls: dict[str, dict[str, float]] = {}
    for row in rows:
        if "recall" in row.scores:
            recalls.setdefault(row.name, {})[row.method.title] = row.scores["recall"].mean
    if not recalls:
        return []
    name = min(recalls, key=lambda name: fmean(recalls[name].values()))
    own = recalls[name]
    low, high = min(own, key=lambda title: own[title]), max(own, key=lambda title: own[title])
    share = f"{hundredths(own[low])} % of its cells"
    if own[low] < own[high]:
        share = f"from {share} ({low}) to {hundredths(own[high])} % ({high})"
    return [f"{name} is read right least often: {share}."]
