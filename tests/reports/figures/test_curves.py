import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures.curves import plot_training_curves, sort_into_panels
from hep2gan.runs.metrics_csv import read_series


def table(tmp_path, text):
    path = tmp_path / "metrics.csv"
    path.write_text(text, encoding="utf-8")
    return path


SPARSE = """\
epoch,step,lr/generator,step/loss,train/generator/total,val/dice,val/hd95
0,9,,7.5,,,
0,0,0.1,,,,
0,10,,,4.0,,
0,10,,,,0.5,9.0
1,15,,6.5,,,
1,11,0.01,,,,
1,20,,,3.0,,
1,20,,,5.0,,
1,20,,,,0.75,nan
"""


def test_sparse_rows_are_read_by_epoch_with_the_mean_of_several(tmp_path):
    series = read_series(table(tmp_path, SPARSE))
    read = {name: (one.epoch.tolist(), one.value.tolist()) for name, one in series.items()}
    assert read.pop("val/hd95")[1] == pytest.approx([9.0, np.nan], nan_ok=True)
    assert read == {
        "lr/generator": ([0.0, 1.0], [0.1, 0.01]),
        "train/generator/total": ([0.0, 1.0], [4.0, 4.0]),
        "val/dice": ([0.0, 1.0], [0.5, 0.75]),
    }


def test_lines_hold_what_the_file_holds(tmp_path):
    figure = plot_training_curves(table(tmp_path, SPARSE))
    drawn = {
        ax.get_title(loc="left"): {
            line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
            for line in ax.lines
        }
        for ax in figure.axes
    }
    assert drawn["Generator loss"] == {"total": ([0, 1], [4, 4])}
    assert drawn["Validation"] == {"Dice": ([0, 1], [0.5, 0.75])}
    assert drawn["Learning rate"] == {"generator": ([0, 1], [0.1, 0.01])}
    assert list(drawn) == ["Generator loss", "Validation", "Validation HD95 (px)", "Learning rate"]


def test_a_whole_training_has_its_panels(tmp_path, metrics_csv):
    grouped = sort_into_panels(read_series(metrics_csv))
    names = {title: [one.name for one in members] for title, members in grouped.items()}
    assert names["Discriminator output"] == [
        "train/discriminator/p_fake",
        "train/discriminator/p_real",
    ]
    assert [name.rpartition("/")[2] for name in names["Discriminator loss"]] == [
        "fake",
        "real",
        "total",
    ]
    assert len(names["Classifier loss"]) == 4
    assert names["Learning rate"] == ["lr/classifier", "lr/generator"]
    assert names["Validation HD95 (px)"] == ["val/hd95"]
    assert "val/hd95" not in names["Validation"]
    axes = {ax.get_title(loc="left"): ax for ax in plot_training_curves(metrics_csv).axes}
    assert list(axes) == list(grouped)
    legend = axes["Discriminator output"].get_legend()
    assert [t.get_text() for t in legend.get_texts()] == ["D(generated mask)", "D(true mask)"]
    assert axes["Learning rate"].get_yscale() == "log"
    assert axes["Discriminator loss"].get_yscale() == "linear"


def test_legends_cover_no_line_whatever_the_names(tmp_path):
    classes = [f"Cytoplasmic type {number:04d}" for number in range(12)]
    names = [*(f"val/dice/{name}" for name in classes), "train/generator/total", "val/hd95"]
    lines = [f"{epoch},{epoch}{f',{epoch / 9}' * len(names)}" for epoch in range(9)]
    path = table(tmp_path, "\n".join([f"epoch,step,{','.join(names)}", *lines]) + "\n")
    figure = plot_training_curves(path)
    figure.canvas.draw()
    legends = {ax.get_title(loc="left"): ax.get_legend() for ax in figure.axes}
    assert legends.pop("Validation HD95 (px)") is None
    assert len({text.get_text() for text in legends["Dice by class"].get_texts()}) == 12
    for legend in legends.values():
        box, panel = legend.get_window_extent(), legend.axes.get_window_extent()
        assert box.y1 < legend.axes.xaxis.get_tightbbox().y0 < panel.y0
        assert figure.bbox.y0 <= box.y0
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert panel.height > 100


def test_unknown_training_names_are_drawn_too(tmp_path):
    path = table(tmp_path, "epoch,step,train/loss,lr-Adam\n0,1,2.0,0.1\n")
    titles = {
        title: [one.name for one in group]
        for title, group in sort_into_panels(read_series(path)).items()
    }
    assert titles == {"Training": ["train/loss"], "Learning rate": ["lr-Adam"]}


def test_one_epoch_is_visible_as_dots(tmp_path):
    figure = plot_training_curves(table(tmp_path, "epoch,step,train/generator/total\n0,1,2.0\n"))
    assert figure.axes[0].lines[0].get_marker() != ""


def test_a_last_line_cut_short_is_ignored(tmp_path):
    path = table(tmp_path, "epoch,step,train/a,val/b\n0,1,2.0,1.0\n1,2,3.")
    assert read_series(path)["train/a"].value.tolist() == [2.0]


def test_a_file_without_curves_gives_none(tmp_path):
    assert plot_training_curves(table(tmp_path, "epoch,step\n")) is None
    assert plot_training_curves(table(tmp_path, "epoch,step,test/dice\n3,9,0.5\n")) is None


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "epoch,step,train/a\n0,1,many\n"])
def test_damage_names_the_file_and_the_fix(tmp_path, text):
    with pytest.raises(Hep2ganError, match=r"metrics\.csv is damaged.*Fix: restore"):
        plot_training_curves(table(tmp_path, text))


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"epoch,step\n\xff\xfe")
    with pytest.raises(Hep2ganError, match=r"metrics\.csv"):
        read_series(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(Hep2ganError, match="does not exist"):
        plot_training_curves(tmp_path / "metrics.csv")


def test_a_missing_epoch_is_told(tmp_path):
    text = "epoch,step,train/a\n0,1,2.0\n1,3,1.0\n3,7,0.5\n"
    with pytest.raises(Hep2ganError, match="the row of epoch 2 is missing"):
        plot_training_curves(table(tmp_path, text))
    path = table(tmp_path, text.replace("3,7", "2,5"))
    assert plot_training_curves(path, 3) is not None
    with pytest.raises(Hep2ganError, match=r"the rows of 2 epochs are missing, first 3.*delete"):
        plot_training_curves(path, 5)
