"""Figures: alt text, size, the same bytes each time, and marks that do without color."""

import base64
import io
import struct

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from helpers import plots
from helpers.evaluation import confusion_table
from tests.conftest import make_arrays

HISTORY = {
    "accuracy": [0.9, 0.95, 0.97],
    "loss": [0.3, 0.2, 0.1],
    "val_accuracy": [0.92, 0.96, 0.965],
    "val_loss": [0.25, 0.15, 0.14],
}


@pytest.fixture(autouse=True)
def style():
    """The notebooks' style, gone after the test, with all figures."""
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, as a list of (bundle, metadata)."""
    displayed = []

    def display(bundle, metadata, raw):
        assert raw
        displayed.append((bundle, metadata))

    monkeypatch.setattr(plots, "display", display)
    return displayed


def digits():
    return plots.draw_digits(make_arrays()["x_test"][:10], [f"a {i}" for i in range(10)])


FIGURES = {
    "digits": digits,
    "history": lambda: plots.draw_history(HISTORY, "It learns"),
    "confusion": lambda: plots.draw_confusion(confusion_table([0, 1, 1], [0, 0, 1], ("a", "b"))),
}


@pytest.mark.parametrize("figure", FIGURES)
def test_show_displays_a_png_with_alt_text_and_width(shown, figure):
    figure = FIGURES[figure]()
    inches = figure.get_figwidth()
    plots.show(figure, "What the figure shows.", name="a_name")
    ((bundle, metadata),) = shown
    assert bundle["text/plain"] == "What the figure shows."
    png = base64.b64decode(bundle["image/png"], validate=True)
    assert png.startswith(b"\x89PNG")
    (pixels,) = struct.unpack(">I", png[16:20])
    about = metadata["image/png"]
    assert about["alt"] == "What the figure shows." and about["name"] == "a_name"
    assert 500 <= about["width"] <= 800, "legible, and no wider than a page"
    assert pixels == pytest.approx(inches * plots.DOTS_PER_INCH, abs=1)
    assert pixels == pytest.approx(1.5 * about["width"], abs=2), "sharp on dense screens"


def test_shown_colors_are_the_drawn_ones(shown):
    """The palette of 256 colors changes no color that a reader could tell apart."""
    figure, axis = plt.subplots()
    axis.imshow(np.linspace(-1, 1, 300).reshape(15, 20), cmap="PuOr")
    axis.plot([0, 19], [0, 14])
    rare = axis.scatter([3], [2], s=4, color="#D55E00", linewidth=0)  # a few pixels of a color of its own
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=plots.DOTS_PER_INCH)
    plots.show(figure, "alt")
    png = io.BytesIO(base64.b64decode(shown[0][0]["image/png"]))
    before, after = (np.asarray(Image.open(file).convert("RGB"), int) for file in (drawn, png))
    difference = np.abs(before - after).max(axis=-1)
    assert np.quantile(difference, 0.99) <= 8, "of 255; more only on the soft edges of lines"
    dot = np.abs(before - np.round(255 * rare.get_facecolor()[0, :3])).max(axis=-1) < 3
    assert dot.sum() > 3 and difference[dot].max() <= 8, "rare colors, too"
    assert len(png.getvalue()) < 0.6 * len(drawn.getvalue())


def test_show_closes_the_figure_and_needs_no_name(shown):
    figure, _ = plt.subplots()
    plots.show(figure, "alt")
    assert plt.get_fignums() == []
    assert "name" not in shown[0][1]["image/png"]


@pytest.mark.parametrize("figure", FIGURES)
def test_equal_figures_are_equal_byte_for_byte(shown, figure):
    for _ in range(2):
        plots.show(FIGURES[figure](), "alt")
    assert shown[0] == shown[1]
    assert b"Matplotlib" not in base64.b64decode(shown[0][0]["image/png"]), "no version in the file"


def frames(axis):
    """Return the one line width, line style and color of an axis's frame."""
    (frame,) = {
        (spine.get_linewidth(), str(spine.get_linestyle()), to_rgb(spine.get_edgecolor()))
        for spine in axis.spines.values()
        if spine.get_visible()
    }
    return frame


def test_wrong_digits_are_marked_by_text_and_frame_as_well_as_color():
    images = make_arrays()["x_test"][:3]
    figure = plots.draw_digits(images, ["a", "b", "c"], columns=3, wrong=np.array([False, True, False]))
    assert [axis.get_title() for axis in figure.axes] == ["✓ a", "✗ b", "✓ c"]
    right, wrong, other = map(frames, figure.axes)
    assert right == other
    assert wrong[0] > 2 * right[0], "a heavier frame"
    assert wrong[1] != right[1], "a dashed frame"
    assert wrong[2] != right[2]


def test_digits_without_marks():
    figure = digits()
    assert [axis.get_title() for axis in figure.axes[:10]] == [f"a {i}" for i in range(10)]
    assert not any(axis.axison for axis in figure.axes)


@pytest.mark.parametrize("count, rows", [(1, 1), (8, 1), (9, 2), (16, 2)])
def test_grid_of_digits(count, rows):
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 3, 5] = np.arange(1, count + 1)
    figure = plots.draw_digits(images, ["7"] * count, columns=8)
    assert len(figure.axes) == 8 * rows
    drawn = [axis.images[0] for axis in figure.axes if axis.images]
    assert [image.get_array()[3, 5] for image in drawn] == list(range(1, count + 1))
    assert {image.get_clim() for image in drawn} == {(0, 255)}, "one scale of gray for all"
    assert drawn[0].get_cmap().name == "gray_r", "dark ink"


def test_title_of_digits_and_no_digits_at_all():
    figure = plots.draw_digits(np.empty((0, 28, 28), np.uint8), [], title="No digit is wrong")
    assert figure.get_suptitle() == "No digit is wrong"
    assert not any(axis.images for axis in figure.axes)


def test_history_is_drawn_over_epochs():
    figure = plots.draw_history(HISTORY, "It learns")
    assert figure.get_suptitle() == "It learns"
    error, loss = figure.axes
    for axis, key in ((error, "accuracy"), (loss, "loss")):
        training, validation = axis.lines
        for line, name in ((training, key), (validation, f"val_{key}")):
            np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
            values = np.array(HISTORY[name])
            np.testing.assert_allclose(line.get_ydata(), 100 * (1 - values) if axis is error else values)
        assert training.get_linestyle() != validation.get_linestyle(), "not by color alone"
        assert training.get_marker() != validation.get_marker()
        assert axis.get_xlabel() == "epoch"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation"]
    assert error.get_ylabel() == "error (%)" and "loss" in loss.get_ylabel()


def test_history_has_a_line_for_training_without_dropout_if_measured_and_a_place_for_no_errors():
    history = HISTORY | {"off_accuracy": [0.9, 1, 1], "off_loss": [0.2, 0.1, 0.01]}
    figure = plots.draw_history(history, "It memorizes")
    (legend,) = figure.legends
    assert "training, dropout off" in [text.get_text() for text in legend.get_texts()]
    error = figure.axes[0]
    np.testing.assert_allclose(error.lines[1].get_ydata(), [10, 0, 0], atol=1e-9)
    figure.draw_without_rendering()
    assert np.isfinite(error.transData.transform([(3, 0)])).all(), "0 has a place on the axis"
    assert error.get_ylim()[0] <= 0


@pytest.mark.parametrize("epochs", [1, 2, 3, 10])
def test_epochs_are_whole_numbers(epochs):
    figure = plots.draw_history({name: [0.5] * epochs for name in HISTORY}, "It learns")
    figure.draw_without_rendering()
    for axis in figure.axes:
        low, high = axis.get_xlim()
        ticks = [tick for tick in axis.get_xticks() if low <= tick <= high]
        assert ticks and all(tick == round(tick) for tick in ticks)


def test_confusion_has_true_rows_and_predicted_columns():
    # a is read as b twice, b as a never
    table = confusion_table([0, 0, 0, 1, 1, 2], [1, 1, 0, 1, 2, 2], ("a", "b", "c"))
    axis = plots.draw_confusion(table).axes[0]
    written = {text.get_position(): text.get_text() for text in axis.texts}  # position: (column, row)
    assert written == {(0, 0): "1", (1, 0): "2", (1, 1): "1", (2, 1): "1", (2, 2): "1"}
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class")
    assert [text.get_text() for text in axis.get_xticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b", "c"]
    assert axis.get_ylim()[0] > axis.get_ylim()[1], "the first row is at the top"
    colored = np.nan_to_num(np.ma.filled(axis.images[0].get_array().astype(float), 0))
    np.testing.assert_array_equal(colored, [[0, 2, 0], [0, 0, 1], [0, 0, 0]], "errors only")


@pytest.mark.parametrize("classes", [2, 26])
def test_confusion_without_errors_and_with_many_classes(shown, classes):
    labels = np.arange(classes)
    table = confusion_table(labels, labels, [f"long name {i}" for i in labels])
    figure = plots.draw_confusion(table)
    assert len(figure.axes[0].texts) == classes
    plots.show(figure, "alt")
    assert len(shown) == 1


def test_colors_are_far_apart_in_lightness_or_hue():
    colors = np.array([to_rgb(c) for c in (plots.BLUE, plots.ORANGE, plots.GREEN, plots.PURPLE, plots.GRAY)])
    distance = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    assert distance[~np.eye(len(colors), dtype=bool)].min() > 0.3


def test_long_names_over_images_keep_their_place():
    """Titles become smaller, all alike, until none reaches its neighbor; short ones stay as they are."""
    images = np.zeros((4, 28, 28), np.uint8)
    short = plots.draw_digits(images, ["5: 98%, 3: 2%\ntrue 5"] * 4, columns=4)
    assert {axis.title.get_fontsize() for axis in short.axes} == {10}
    texts = [
        "Ankle boot: 25%, Pullover: 17%\ntrue Ankle boot",
        "Bag",
        "Coat",
        "watermelon: 25%, ice cream: 9%",
    ]
    long = plots.draw_digits(images, texts, columns=4, wrong=[True, False, True, False])
    long.canvas.draw()
    assert len({axis.title.get_fontsize() for axis in long.axes}) == 1
    boxes = [axis.title.get_window_extent() for axis in long.axes]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))
    assert boxes[0].x0 >= 0 and boxes[-1].x1 <= long.bbox.x1


@pytest.mark.parametrize("name", ["$", "a$b$c", "\\frac", "$\\frac{", "x_1^2", "%", "{}"])
def test_names_are_plain_text_in_every_figure(shown, name):
    """No name is a formula: Matplotlib's parser of math would end the notebook, or hide letters."""
    images = make_arrays()["x_test"][:2]
    figure = plots.draw_digits(images, [name, f"{name}: 98%\ntrue {name}"], columns=2, wrong=[True, False])
    plots.show(figure, "alt")
    plots.show(plots.draw_confusion(confusion_table([0, 1, 1], [0, 0, 1], (name, "b"))), "alt")
    assert len(shown) == 2


@pytest.mark.parametrize("setting", [{"text.usetex": True}, {"figure.facecolor": "black"}, {"font.size": 40}])
def test_own_matplotlib_settings_change_no_figure(shown, setting):
    """As from a user's matplotlibrc: TeX for all texts, or a dark style."""
    plots.show(FIGURES["confusion"](), "alt")
    plt.rcParams.update({"text.color": "white", "axes.facecolor": "black", "savefig.dpi": 20} | setting)
    plots.use_style()
    plots.show(FIGURES["confusion"](), "alt")
    assert shown[0] == shown[1]


def test_labels_of_logarithmic_axes_are_plain_numbers(shown):
    figure, axis = plt.subplots()
    axis.plot([1, 30_000], [0.2, 90])
    axis.set(xscale="log", yscale="log")
    plots.show(figure, "alt")
    texts = {label.get_text() for label in axis.get_xticklabels() + axis.get_yticklabels()}
    assert {"1", "1,000", "0.1", "10"} <= texts and not any("$" in text for text in texts)


def unexpected(warned):
    """Return the warnings without those that an old Matplotlib gets from a new pyparsing."""
    return [warning for warning in warned if warning.category.__name__ != "PyparsingDeprecationWarning"]


@pytest.mark.parametrize(
    "names", [("猫", "狗", "7"), ("\N{TELUGU LETTER A}", "b"), ("\N{BRAIN}", "\N{FLEXED BICEPS}")]
)
def test_names_without_a_font_become_numbers_with_a_legend(shown, capsys, monkeypatch, recwarn, names):
    fonts = [font for font in plots.font_manager.fontManager.ttflist if "DejaVu Sans" in font.name]
    last = [font for font in plots.font_manager.fontManager.ttflist if "Last Resort" in font.name]
    monkeypatch.setattr(plots.font_manager.fontManager, "ttflist", last + fonts)
    numbers = plots.drawable(names)
    assert numbers == tuple(map(str, range(len(names))))
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and err == ""
    assert all(f"{number} is {name}" in out for number, name in enumerate(names))
    plots.show(plots.draw_digits(make_arrays()["x_test"][:2], numbers[:2]), "alt")
    assert not unexpected(recwarn)


@pytest.mark.parametrize("names", [("cat", "dog"), ("Hündin", "кот"), ("a\nb", "tab\t"), ("", "\N{BULLET}")])
def test_names_that_matplotlib_has_letters_for_stay(capsys, names):
    family = plt.rcParams["font.family"]
    assert plots.drawable(names) == names
    assert plt.rcParams["font.family"] == family and capsys.readouterr().out == ""


def test_an_installed_font_that_has_the_letters_is_used(shown, capsys, recwarn):
    """Letters that only another installed font has: here one of Matplotlib's own for mathematics."""
    usual, other = (
        set(plots.font_manager.get_font(plots.font_manager.findfont(name)).get_charmap())
        for name in ("DejaVu Sans", "STIXGeneral")
    )
    name = chr(min(other - usual))
    assert plots.drawable([name, "b"]) == (name, "b") and capsys.readouterr().out == ""
    plots.show(plots.draw_digits(make_arrays()["x_test"][:2], [name, "b"]), "alt")
    assert not unexpected(recwarn)


def test_a_font_that_was_uninstalled_is_passed_over(monkeypatch, capsys, tmp_path):
    """Matplotlib keeps its list of fonts in a file."""
    usual = [font for font in plots.font_manager.fontManager.ttflist if font.name == "DejaVu Sans"]
    gone = plots.font_manager.FontEntry(fname=str(tmp_path / "gone.ttf"), name="Gone")
    monkeypatch.setattr(plots.font_manager.fontManager, "ttflist", [gone, *usual])
    assert plots.drawable(("猫", "狗")) == ("0", "1")
    assert "1 is 狗" in capsys.readouterr().out


def test_class_colors_tell_ten_classes_apart():
    colors = np.array([to_rgb(color) for color in plots.CLASS_COLORS])
    distance = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    assert len(colors) == 10 and distance[~np.eye(10, dtype=bool)].min() > 0.2
    looks = {
        (plots.CLASS_COLORS[i % 10], plots.CLASS_MARKERS[i % len(plots.CLASS_MARKERS)]) for i in range(90)
    }
    assert len(looks) == 90, "never color alone"
