"""What a split shares between training and test, in sentences."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from hep2gan.runs.finished import Run

_KNOWN = {
    "leakage/shared_specimens": (
        "{} of the test specimens also have cells in training: accuracy on unseen specimens will "
        "be lower."
    ),
    "leakage/duplicate_test_cells": "{} test cells have a byte-identical twin in training.",
}
_SUBJECTS = {"leakage/shared_specimens": "specimen", "leakage/duplicate_test_cells": "identical"}


class Findings(NamedTuple):
    """Sentences on what leaks, and notes that accuse nobody (nothing shared; cannot be known)."""

    leaks: list[str]
    notes: list[str]


def findings(run: Run) -> Findings:
    """Return the split's own sentences, and those that the `leakage/` metrics add to them.

    A sentence that begins with "Leakage" is a leak, any other a note.
    """
    told = run.split.get("leakage")
    sentences = [str(one) for one in told] if isinstance(told, list) else []
    leaks = [
        re.sub("^Leakage: *", "", one) for one in sentences if one.casefold().startswith("leakage")
    ]
    notes = [one for one in sentences if not one.casefold().startswith("leakage")]
    found = {key: n for key, n in run.metrics.items() if key.startswith("leakage/")}
    for key, number in found.items():
        if number > 0 and not any(_SUBJECTS.get(key, key) in one for one in leaks):
            words = _KNOWN.get(key, key.removeprefix("leakage/").replace("_", " ") + ": {}.")
            leaks.append(words.format(f"{number:,.0f}"))
    if set(_KNOWN) <= set(found) and not leaks and not notes:
        notes = ["No specimen and no byte-identical cell is in both training and test."]
    return Findings(leaks, notes)


def shared(found: Sequence[Findings]) -> dict[str, list[int]]:
    """Return each leak with the places of the runs that have it."""
    places: dict[str, list[int]] = {}
    for place, one in enumerate(found):
        for sentence in one.leaks:
            places.setdefault(sentence, []).append(place)
    return places
