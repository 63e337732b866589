"""A metrics.csv that lost lines or values is found out before a run is resumed with it."""

import re

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.runs.metrics_csv import require_epochs

HEAD = "epoch,step,train/a,val/b\n"
SOUND = HEAD + "0,3,1.5,\n0,3,,0.5\n1,7,1.25,\n2,11,1.0,\n"


def test_a_sound_file_holds_its_epochs(tmp_path):
    path = tmp_path / "metrics.csv"
    require_epochs(path, 7)
    path.write_text(SOUND)
    require_epochs(path, 3)
    require_epochs(path, 2)
    # Of an epoch that will be trained again nothing is asked.
    path.write_text(SOUND + "3,1")
    require_epochs(path, 3)
    # Deleted knowingly, the curves began at epoch 1.
    path.write_text(HEAD + "1,7,1.25,\n2,11,1.0,\n")
    require_epochs(path, 3)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (SOUND.replace("2,11,1.0,\n", ""), "the row of epoch 2 is missing"),
        (SOUND[:-1], "the row of epoch 2 is missing"),
        (HEAD, "the rows of 3 epochs are missing, first 0"),
        (HEAD + "0,3,1.5,\n2,11,1.0,\n", "the row of epoch 1 is missing"),
        (SOUND.replace("1.25", "1.2x"), "line 4: could not convert string to float: '1.2x'"),
        (SOUND.replace("1,7,1.25,", "1,7"), "line 4: 2 cells, 4 columns"),
        (SOUND.replace("1,7,", "1,-7,"), "line 4: step is -7"),
        (SOUND.replace("val/b", "train/a"), "line 1: the column train/a occurs twice"),
        ("\0\0" + SOUND, "it holds zero bytes"),
        ("", "line 1: it has no column epoch"),
    ],
)
def test_damage_is_told_before_a_run_goes_on(tmp_path, text, what):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(Hep2ganError, match=rf"damaged \({re.escape(what)}.*delete it"):
        require_epochs(path, 3)
