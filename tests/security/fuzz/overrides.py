"""Command lines: overrides and arguments as they are typed, or mistyped."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from hep2gan.cli.app import run
from hep2gan.errors import Hep2ganError
from tests.security.fuzz.judge import Door
from tests.security.fuzz.mutations import mutated

LINES = (
    ["data=phantom", "scale=laptop", "trainer.max_epochs=2", "split.test_fraction=0.25"],
    ["method=two_stage", "optimizer=pix2pix", "loss.beta=20.0", "generator.atrous_rates=[2,4,6]"],
    ["data=manifest", "data.root='/a b/c'", "+extra={a: 1, b: [x, null]}", "~training.two_stage"],
    ["split=specimen", "split.seed=3", "trainer=cpu", "name=a-b", "study='x,y'", "seed=7"],
)
FORBIDDEN = ("-", "hydra", "--")
"""Flags and Hydra's own settings are other doors."""


@st.composite
def _inputs(draw: Any) -> list[str]:
    words = list(draw(st.sampled_from(LINES)))
    at = draw(st.integers(0, len(words) - 1))
    changed = draw(mutated([words[at].encode()]))[:2000].replace(b"\0", b"")
    text = changed.decode("utf-8", "ignore")
    words[at] = text if not text.startswith(FORBIDDEN) and "hydra" not in text else "seed=1"
    return words


def _composed(words: list[str], folder: Path) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    said, before, place = io.StringIO(), sys.argv, Path.cwd()
    sys.argv = ["hep2gan-train", *words]
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            run(found.append, "train")
    except SystemExit as stop:
        if stop.code != 2:
            raise AssertionError(f"exit status {stop.code}") from stop
        assert said.getvalue().startswith("error: "), said.getvalue()[-500:]
        assert "Traceback" not in said.getvalue()
        raise Hep2ganError(said.getvalue().rstrip(), "", "none") from None
    finally:
        sys.argv = before
        os.chdir(place)
    return found[0]


def _is_resolved(config: dict[str, Any], _: list[str]) -> None:
    assert {"data", "split", "trainer", "loss"} - set(config) <= {"data", "split"}


DOORS = (Door("overrides", _inputs(), _composed, _is_resolved, told=("error: ",)),)
