"""Tests that can fail: put plausible mistakes into copies of the project, one at a time; see who notices.

    python -m tools.mutations                 all of them
    python -m tools.mutations --sample 10     ten of them, drawn by the commit
    python -m tools.mutations -k shuffle      those with this word in their description or place
    python -m tools.mutations --jobs 2        two at a time

Each mistake is one that a maintainer could make. A copy of the project gets it, and the tests that
should notice run there. It counts as caught only if one of them fails: not if they cannot be
collected, are skipped or take too long. The check that outputs are older than the code, which
notices every change, is left out. First, the same tests must pass on a copy without a mistake.
"""

import argparse
import ast
import concurrent.futures
import contextlib
import datetime
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

from tools.student import GENERATED

ROOT = Path(__file__).resolve().parent.parent
TOO_EASY = "tests/test_structure.py::test_outputs_were_made_by_the_code_above_them"
SECONDS = 600  # that the tests of one mistake may take


@dataclass(frozen=True)
class Mutation:
    """A mistake: at a place, the code ``old`` (there exactly once, in whatever layout) becomes ``new``.

    A place is a file, and in Python what is defined there: ``helpers/data.py::Dataset.fingerprint``.
    In a notebook it is every cell.
    """

    what: str
    place: str
    old: str
    new: str
    tests: str  # that should notice: pytest's node ids, separated by spaces

    @property
    def file(self):
        return self.place.partition("::")[0]


MUTATIONS = [
    # --- preprocessing, data ---
    Mutation(
        "Pixels stay unscaled",
        "helpers/preprocessing.py::scale",
        "(images.astype(np.float32) / 255)",
        "images.astype(np.float32)",
        "tests/test_preprocessing.py::test_scale_maps_0_to_255_onto_0_to_1_and_adds_a_channel",
    ),
    Mutation(
        "Pixels are divided by 256",
        "helpers/preprocessing.py::scale",
        "/ 255)",
        "/ 256)",
        "tests/test_preprocessing.py::test_scale_maps_0_to_255_onto_0_to_1_and_adds_a_channel",
    ),
    Mutation(
        "One-hot rows always have ten columns",
        "helpers/preprocessing.py::one_hot",
        "np.eye(classes, ",
        "np.eye(10, ",
        "tests/test_preprocessing.py::test_one_hot",
    ),
    Mutation(
        "A label one too high is accepted",
        "helpers/own_data.py::_label_faults",
        "y.max() >= len(class_names)",
        "y.max() > len(class_names)",
        "tests/test_data.py::test_wrong_arrays",
    ),
    Mutation(
        "Only the training arrays are checked by SHA-256",
        "helpers/data.py::_load_full_mnist",
        "    for key in ARRAYS:\n        if _sha256",
        '    for key in ("x_train", "y_train"):\n        if _sha256',
        "tests/test_data.py::test_mnist_path_with_an_altered_file",
    ),
    Mutation(
        "Pickled objects are loaded",
        "helpers/own_data.py::_read_npz",
        "np.load(path, allow_pickle=False)",
        "np.load(path, allow_pickle=True)",
        "tests/test_data.py::test_pickled_objects_are_never_loaded",
    ),
    Mutation(
        "The sample's split is not stratified",
        "helpers/data.py::_load_sample",
        "test_size=1000, stratify=labels, random_state=0",
        "test_size=1000, random_state=0",
        "tests/test_data.py::test_sample_is_stratified_uint8_and_split_4000_1000",
    ),
    Mutation(
        "The sample's split is unseeded",
        "helpers/data.py::_load_sample",
        "stratify=labels, random_state=0)",
        "stratify=labels)",
        "tests/test_data.py::test_sample_is_the_same_on_every_call_and_machine",
    ),
    Mutation(
        "The sample's test digits are among its training digits",
        "helpers/data.py::_load_sample",
        "images[train], labels[train], images[test]",
        "images, labels, images[test]",
        "tests/test_data.py::test_sample_parts_are_disjoint "
        "tests/test_data.py::test_sample_is_stratified_uint8_and_split_4000_1000",
    ),
    Mutation(
        "Without a network the sample is used without a word",
        "helpers/data.py::load_mnist",
        "            print(SAMPLE_NOTICE)\n",
        "",
        "tests/test_data.py::test_auto_without_network_falls_back_to_the_sample",
    ),
    # --- augmentation, models ---
    Mutation(
        "Degrees are taken for radians",
        "helpers/augmentation.py::distort",
        "amounts[0] * (ROTATION * np.pi / 180)",
        "amounts[0] * ROTATION",
        "tests/test_augmentation.py::test_linear_distortions_are_those_of_a_matrix",
    ),
    Mutation(
        "A photo's digits are read column by column",
        "helpers/photo.py::_reading_order",
        "(left[by_height], row)",
        "(row, left[by_height])",
        "tests/test_photo.py::test_ten_digits_are_found_in_reading_order",
    ),
    Mutation(
        "Ink is what is dark, whatever the light",
        "helpers/photo.py::find_ink",
        "contrast = (paper - gray) / paper.clip(1 / 255)",
        "contrast = np.median(paper) - gray",
        "tests/test_photo.py::test_ink_is_what_is_darker_than_the_paper_around_it",
    ),
    Mutation(
        "A pen that skips tears digits apart",
        "helpers/photo.py::read_photo",
        "ndimage.binary_dilation(ink > 0, iterations=3)",
        "ink > 0",
        "tests/test_photo.py::test_ten_digits_are_found_in_reading_order",
    ),
    Mutation(
        "Digits are scaled to 22 pixels instead of 20",
        "helpers/photo.py::prepare",
        "side * 20 / max(ink.shape)",
        "side * 22 / max(ink.shape)",
        "tests/test_photo.py::test_preparation_is_that_of_notebook_12",
    ),
    Mutation(
        "All images of a batch are distorted alike",
        "helpers/augmentation.py::distort",
        "(6, count, 1, 1)",
        "(6, 1, 1, 1)",
        "tests/test_augmentation.py::test_shift_moves_every_image_differently_within_its_bound",
    ),
    Mutation(
        "Ink at the border is smeared outward",
        "helpers/augmentation.py::sample",
        "tf.clip_by_value(position, -1, SIZE)",
        "tf.clip_by_value(position, 0, SIZE - 1)",
        "tests/test_augmentation.py::test_sample_is_bilinear_interpolation",
    ),
    Mutation(
        "Shear is drawn from the zoom's random number",
        "helpers/augmentation.py::distort",
        "SHEAR * amounts[3]",
        "SHEAR * amounts[1]",
        "tests/test_augmentation.py",
    ),
    Mutation(
        "One elastic field serves all batches and seeds",
        "helpers/augmentation.py::distort",
        "tf.stack(seed) + 1",
        "tf.constant([0, 1])",
        "tests/test_augmentation.py",
    ),
    # --- evaluation ---
    Mutation(
        "Dropout stays on in evaluation",
        "helpers/evaluation.py::predict",
        "training=False",
        "training=True",
        "tests/test_evaluation.py::test_predict_with_the_reference_network",
    ),
    Mutation(
        "The confusion table is transposed",
        "helpers/evaluation.py::confusion_table",
        "confusion_matrix(labels, predicted, ",
        "confusion_matrix(predicted, labels, ",
        "tests/test_evaluation.py::test_confusion_table_has_true_rows_and_predicted_columns",
    ),
    Mutation(
        "A normal interval in place of Wilson's",
        "helpers/evaluation.py::wilson_interval",
        '    interval = binomtest(int(correct), int(total)).proportion_ci(confidence, method="wilson")\n'
        "    return interval.low, interval.high",
        "    share = correct / total\n"
        "    margin = t.ppf((1 + confidence) / 2, 1e9) * np.sqrt(share * (1 - share) / total)\n"
        "    return max(0.0, share - margin), min(1.0, share + margin)",
        "tests/test_evaluation.py::test_wilson_interval",
    ),
    Mutation(
        "90% in place of 95%",
        "helpers/evaluation.py::wilson_interval",
        "confidence: float = 0.95) -> tuple[float, float]:",
        "confidence: float = 0.90) -> tuple[float, float]:",
        "tests/test_evaluation.py::test_wilson_interval",
    ),
    Mutation(
        "Student's interval is one-sided",
        "helpers/evaluation.py::mean_interval",
        "t.ppf((1 + confidence) / 2, count - 1)",
        "t.ppf(confidence, count - 1)",
        "tests/test_evaluation.py::test_mean_interval_of_a_worked_example",
    ),
    Mutation(
        "Precision and recall are swapped",
        "notebooks/05_evaluation.ipynb",
        '"precision": right_ones / said, "recall": right_ones / there',
        '"precision": right_ones / there, "recall": right_ones / said',
        "tests/test_lessons.py::test_precision_reads_columns_and_recall_rows",
    ),
    Mutation(
        "The kept network of notebook 00 is another one than its helper trains",
        "helpers/quickstart.py::fit",
        "make_reproducible(recipe.seed)",
        "make_reproducible(0)",
        "tests/test_quickstart.py::test_the_page_of_notebook_00_and_its_helper_train_the_same_network",
    ),
    # --- figures ---
    Mutation(
        "Tick and cross are swapped",
        "helpers/plots.py::draw_digits",
        '"✗ " if wrong[i] else "✓ "',
        '"✓ " if wrong[i] else "✗ "',
        "tests/test_plots.py::test_wrong_digits_are_marked_by_text_and_frame_as_well_as_color",
    ),
    Mutation(
        "Digits are shown transposed",
        "helpers/plots.py::draw_digits",
        "axis.imshow(image, vmin=0",
        "axis.imshow(image.T, vmin=0",
        "tests/test_plots.py::test_grid_of_digits",
    ),
    Mutation(
        "Accuracy and loss curves are swapped under their labels",
        "helpers/plots.py::draw_history",
        'zip(axes, ("accuracy", "loss"), (',
        'zip(axes, ("loss", "accuracy"), (',
        "tests/test_plots.py::test_history_is_drawn_over_epochs",
    ),
    Mutation(
        "The confusion matrix's axis labels are swapped",
        "helpers/plots.py::draw_confusion",
        'xlabel="predicted class", ylabel="true class"',
        'xlabel="true class", ylabel="predicted class"',
        "tests/test_plots.py::test_confusion_has_true_rows_and_predicted_columns",
    ),
    Mutation(
        "Alt text is dropped from a figure's metadata",
        "helpers/plots.py::show",
        'about = {"alt": alt, "width": width}',
        'about = {"alt": name or "", "width": width}',
        "tests/test_plots.py::test_show_displays_a_png_with_alt_text_and_width",
    ),
    # --- parameters, record, kept models, batch runs ---
    Mutation(
        "A misspelt parameter is accepted",
        "helpers/parameters.py::check_parameters",
        "    check_names(_injected_names(), declared)\n",
        "",
        "tests/test_parameters.py::test_undeclared_name_is_refused",
    ),
    Mutation(
        "A parameter of another notebook is accepted",
        "helpers/parameters.py::check_names",
        "        if name not in declared:",
        "        if name not in declared and name not in PARAMETERS:",
        "tests/test_parameters.py::test_undeclared_name_is_refused",
    ),
    Mutation(
        "The record is rounded to four decimals",
        "helpers/record.py::_plain",
        "return value",
        "return round(value, 4) if isinstance(value, float) else value",
        "tests/test_record.py::test_one_output_for_people_and_programs",
    ),
    Mutation(
        "A kept model is loaded for another seed",
        "helpers/storage.py::model_key",
        'asdict(recipe) | {"precision"',
        'asdict(recipe) | {"seed": 0, "precision"',
        "tests/test_storage.py::test_key_changes_with_the_recipe",
    ),
    Mutation(
        "A kept model is loaded for a recipe with other averaging",
        "helpers/storage.py::model_key",
        'asdict(recipe) | {"precision"',
        'asdict(recipe) | {"averaging": 0, "precision"',
        "tests/test_storage.py::test_key_changes_with_the_recipe",
    ),
    Mutation(
        "A damaged kept model is loaded",
        "helpers/storage.py::_load",
        ' or hashlib.sha256(content).hexdigest() != notes.get("model_sha256")',
        "",
        "tests/test_storage.py::test_other_model_under_this_name_is_not_loaded "
        "tests/test_storage.py::test_damaged_model_is_trained_again",
    ),
    Mutation(
        "Wall-clock and CPU seconds are swapped",
        "helpers/storage.py::training_seconds",
        'return notes["seconds"], notes["cpu_seconds"]',
        'return notes["cpu_seconds"], notes["seconds"]',
        "tests/test_storage.py::test_what_the_training_took_is_kept",
    ),
    Mutation(
        "Two runs with many parameters get the same name",
        "helpers/batch/plans.py::run_name",
        "digest([stem, parameters])",
        "digest(readable)",
        "tests/test_batch.py::test_names_are_safe_and_distinct",
    ),
    Mutation(
        "Failed runs are collected",
        "helpers/batch/results.py::collect",
        "if run.record and not run.problem",
        "if run.record",
        "tests/test_batch.py::test_collected_table",
    ),
    Mutation(
        "A study's ensemble has the same seed for all members",
        "tools/study.py::read_track",
        "[[Recipe(**recipe, seed=seed) for seed in seeds] for recipe in written",
        "[[Recipe(**recipe, seed=seeds[0]) for seed in seeds] for recipe in written",
        "tests/test_study.py::test_every_recipe_of_the_study_can_be_trained",
    ),
    Mutation(
        "A study's row of other code counts as done",
        "tools/study.py::study",
        'row is None or row.get("code") != code',
        "row is None",
        "tests/test_study.py::test_rows_of_other_code_are_measured_again",
    ),
    Mutation(
        "A study's table is written at the end only",
        "tools/study.py::study",
        "write(pd.DataFrame([row for row in rows if row]).to_csv(index=False), path)",
        "i == waiting[-1] and write(pd.DataFrame(rows).to_csv(index=False), path)",
        "tests/test_study.py::test_a_study_goes_on_where_it_was_stopped",
    ),
    # --- the page to draw on ---
    Mutation(
        "The page's 16-bit weights overflow: scaled to 32,768",
        "helpers/draw/page.py::_rounded",
        "1e-30) / 32767",
        "1e-30) / 32768",
        "tests/test_draw.py::test_answers_as_keras_does",
    ),
    Mutation(
        "The page's hard images are its easiest",
        "helpers/draw/page.py::_choose_images",
        "hard = np.argsort(of_label, ",
        "hard = np.argsort(-of_label, ",
        "tests/test_draw.py::test_the_gallery_has_right_ordinary_images_and_the_hardest",
    ),
    Mutation(
        "Models that hold code are loaded",
        "helpers/draw/__main__.py::read_model",
        "compile=False, safe_mode=True",
        "compile=False, safe_mode=False",
        "tests/test_draw.py::test_a_bad_file_ends_in_one_sentence[lambda]",
    ),
    Mutation(
        "The pad centers the rectangle, not the mass",
        "helpers/draw/pad.js",
        "place(sumX / sum, columns), shiftY = place(sumY / sum, rows)",
        "place((columns - 1) / 2, columns), shiftY = place((rows - 1) / 2, rows)",
        "tests/test_draw.py::test_prepares_ink_as_the_notebook_does",
    ),
    Mutation(
        "The page divides pixels by 256",
        "helpers/draw/network.js",
        "state.input[i] = pixels[i] / 255",
        "state.input[i] = pixels[i] / 256",
        "tests/test_draw.py::test_a_gallery_image_is_fed_as_it_is",
    ),
    Mutation(
        "The page swaps row and column",
        "helpers/draw/inside.js",
        "map ${map + 1}, row ${y + 1}, column ${x + 1}`;\n  byId",
        "map ${map + 1}, row ${x + 1}, column ${y + 1}`;\n  byId",
        "tests/test_draw.py::test_a_pixel_under_the_pointer_is_explained",
    ),
    Mutation(
        "What is unusual counts only if both measures say so",
        "helpers/draw/network.js",
        "return 1 - rank(Math.max(...ranks)",
        "return 1 - rank(Math.min(...ranks)",
        "tests/test_draw.py::test_the_page_and_python_agree_on_what_is_usual",
    ),
    Mutation(
        "The distance is that to the farthest class",
        "helpers/novelty.py::Usual",
        "distances = np.min(",
        "distances = np.max(",
        "tests/test_novelty.py::test_measures_what_notebook_13_measures",
    ),
    Mutation(
        "The page turns digits the other way",
        "helpers/draw/page.js",
        "const x = MIDDLE + cos * (column - MIDDLE) + sin",
        "const x = MIDDLE + cos * (column - MIDDLE) - sin",
        "tests/test_draw.py::test_sliders_change_what_the_network_sees",
    ),
    Mutation(
        "Saved drawings are stored column by column",
        "helpers/draw/files.js",
        "'fortran_order': False",
        "'fortran_order': True",
        "tests/test_draw.py::test_a_data_set_of_drawings_is_read_by_the_notebooks",
    ),
    # --- refresh ---
    Mutation(
        "Refresh does not write the README",
        "tools/refresh.py::main",
        'readme.write_text(fill_readme(text, readme_parts(paths)), encoding="utf-8")',
        "fill_readme(text, readme_parts(paths))",
        "tests/test_refresh.py::test_an_executed_notebook_reaches_readme_and_figures",
    ),
    Mutation(
        "Refresh takes the sample where it cannot get the full data",
        "tools/refresh.py::main",
        'load_mnist("mnist")',
        'load_mnist("auto")',
        "tests/test_refresh.py::test_an_executed_notebook_reaches_readme_and_figures",
    ),
    Mutation(
        "Refresh loads networks that were kept from earlier days",
        "tools/refresh.py::main",
        '            os.environ["MNIST_RUNS"] = runs  # train anew; nothing kept from earlier days\n',
        "",
        "tests/test_refresh.py::test_an_executed_notebook_reaches_readme_and_figures",
    ),
    Mutation(
        "Refresh leaves progress bars in the committed outputs",
        "tools/refresh.py::joined",
        'output.get("name") == "stderr"',
        'output.get("name") == "another"',
        "tests/test_refresh.py::test_what_differs_from_run_to_run_is_taken_out",
    ),
    Mutation(
        "The README's table rounds to one decimal",
        "tools/refresh.py::percent",
        "{100 * share:.2f}%",
        "{100 * share:.1f}%",
        "tests/test_structure.py::test_readme_and_figures_are_up_to_date",
    ),
    Mutation(
        "The README's table swaps training and validation accuracy",
        "tools/refresh.py::readme_parts",
        "| validation accuracy | {percent(training['validation_accuracy'])} |",
        "| validation accuracy | {percent(training['training_accuracy'])} |",
        "tests/test_structure.py::test_readme_and_figures_are_up_to_date",
    ),
    Mutation(
        "The README names a parameter that does not exist",
        "README.md",
        "-p epochs 3 -p learning_rate 0.0005",
        "-p epochs 3 -p lr 0.0005",
        "tests/test_structure.py::test_commands_in_the_readme_name_parameters_that_exist",
    ),
    # --- notebooks: text ---
    Mutation(
        "A formula is not closed",
        "notebooks/05_evaluation.ipynb",
        "Let $k$ of $n$ answers be right",
        "Let $k of $n$ answers be right",
        "tests/test_structure.py::test_every_formula_is_closed",
    ),
    Mutation(
        "A link leads to a notebook that is not there",
        "notebooks/10_beyond_99.ipynb",
        "and [07 CNN against dense](07_cnn_vs_dense.ipynb) for why",
        "and [07 CNN against dense](07_cnn_and_dense.ipynb) for why",
        "tests/test_structure.py::test_links_between_notebooks_lead_somewhere",
    ),
    # --- notebooks: code ---
    Mutation(
        "A parameter has no comment",
        "notebooks/05_evaluation.ipynb",
        "dropout: float = 0.5  # share of the dense layer that training drops, 0 to 0.95",
        "dropout: float = 0.5",
        "tests/test_structure.py::test_parameters_are_plain_typed_documented_and_checked",
    ),
    Mutation(
        "A notebook's default differs from the recipe",
        "notebooks/05_evaluation.ipynb",
        "epochs: int = 10  # passes",
        "epochs: int = 5  # passes",
        "tests/test_lessons.py::test_a_notebook_with_the_reference_recipe_has_its_defaults",
    ),
    Mutation(
        "A figure has no alt text",
        "notebooks/01_loading.ipynb",
        'alt="Bar chart of the number of training images of each class.",',
        'alt="",',
        "tests/test_structure.py::test_every_call_that_shows_a_figure_gives_it_alt_text",
    ),
    Mutation(
        "The quickstart tests on unscaled pixels",
        "notebooks/00_quickstart.ipynb",
        'x_test = data.x_test.astype("float32")[..., np.newaxis] / 255',
        'x_test = data.x_test.astype("float32")[..., np.newaxis]',
        "tests/test_lessons.py::test_the_quickstart_scales_training_and_test_images_alike",
    ),
    Mutation(
        "The quickstart validates on the test set",
        "notebooks/00_quickstart.ipynb",
        '    "validation_split": 0.1,\n',
        '    "validation_data": (\n        data.x_test.astype("float32")[..., np.newaxis] / 255,\n'
        "        keras.utils.to_categorical(data.y_test, data.classes),\n    ),\n",
        "tests/test_lessons.py::test_the_quickstart_never_shows_the_test_set_to_fit",
    ),
    Mutation(
        "The quickstart swaps predicted and true class",
        "notebooks/00_quickstart.ipynb",
        "read, true = class_names[predicted[i]], class_names[data.y_test[i]]",
        "true, read = class_names[predicted[i]], class_names[data.y_test[i]]",
        "tests/test_lessons.py::test_the_quickstart_titles_say_what_was_read_and_what_is_true",
    ),
    Mutation(
        "An exercise's solution is wrong",
        "notebooks/00_quickstart.ipynb",
        "counts = np.bincount(data.y_test[wrong], minlength=data.classes)\nanswer = counts.argmax()",
        "counts = np.bincount(data.y_test[wrong], minlength=data.classes)\nanswer = counts.argmin()",
        "tests/test_notebooks.py::test_runs_on_the_sample[00_quickstart]",
    ),
    Mutation(
        "Another exercise's solution is wrong, without an assertion beside it",
        "notebooks/06_visualization.ipynb",
        "answer = p_true.argmin()",
        "answer = p_true.argmax()",
        "tests/test_notebooks.py::test_runs_on_the_sample[06_visualization]",
    ),
    Mutation(
        "The lesson on preprocessing divides by 256",
        "notebooks/02_preprocessing.ipynb",
        'scaled = images.astype("float32") / 255',
        'scaled = images.astype("float32") / 256',
        "tests/test_notebooks.py::test_runs_on_the_sample[02_preprocessing]",
    ),
    Mutation(
        "The lesson's network has another number of filters",
        "notebooks/03_model.ipynb",
        'layers.Conv2D(64, 3, activation="relu", name="conv_2")',
        'layers.Conv2D(48, 3, activation="relu", name="conv_2")',
        "tests/test_structure.py::test_the_lesson_and_the_helper_build_the_same_network",
    ),
    Mutation(
        "The lesson's confusion matrix is transposed",
        "notebooks/05_evaluation.ipynb",
        "confusion[true, guess] += 1",
        "confusion[guess, true] += 1",
        "tests/test_notebooks.py::test_runs_on_the_sample[05_evaluation]",
    ),
    Mutation(
        "The lesson's interval is for 90%",
        "notebooks/05_evaluation.ipynb",
        "p_hat, z = k / n, 1.96",
        "p_hat, z = k / n, 1.645",
        "tests/test_notebooks.py::test_runs_on_the_sample[05_evaluation]",
    ),
    Mutation(
        "Training and validation accuracy are swapped in a figure",
        "notebooks/06_visualization.ipynb",
        'validation = 100 * (1 - np.array(history["val_accuracy"]))',
        'validation = 100 * (1 - np.array(history["accuracy"]))',
        "tests/test_lessons.py::test_the_curves_are_what_their_labels_say",
    ),
    Mutation(
        "The loss figure shows the accuracy",
        "notebooks/06_visualization.ipynb",
        'history["loss"], history["val_loss"], off_loss',
        'history["accuracy"], history["val_loss"], off_loss',
        "tests/test_lessons.py::test_the_curves_are_what_their_labels_say",
    ),
    Mutation(
        "McNemar's sum ends one too early",
        "notebooks/07_cnn_vs_dense.ipynb",
        "comb(m, i) for i in range(k + 1)",
        "comb(m, i) for i in range(k)",
        "tests/test_lessons.py::test_mcnemar_is_the_exact_binomial_test",
    ),
    Mutation(
        "The interval over seeds lacks the root of their number",
        "notebooks/07_cnn_vs_dense.ipynb",
        "t * by_seed.std(ddof=1) / np.sqrt(len(by_seed))",
        "t * by_seed.std(ddof=1)",
        "tests/test_lessons.py::test_the_bootstrap_covers_digits_and_seeds",
    ),
    Mutation(
        "The expected calibration error takes absolute values image by image",
        "notebooks/08_error_analysis.ipynb",
        "np.abs(np.bincount(number, weights=hits - sureness)).sum() / len(y)",
        "np.bincount(number, weights=np.abs(hits - sureness)).sum() / len(y)",
        "tests/test_lessons.py::test_expected_calibration_error_of_a_worked_example",
    ),
    Mutation(
        "The temperature is fitted on the test images",
        "notebooks/08_error_analysis.ipynb",
        "[fit_temperature(p, y_validation) for p in on_validation]",
        "[fit_temperature(p, labels) for p in on_test]",
        "tests/test_lessons.py::test_the_temperatures_are_fitted_on_validation_images",
    ),
    Mutation(
        "The occlusion map is transposed",
        "notebooks/09_inside_the_network.ipynb",
        "row, column = divmod(number, places)",
        "column, row = divmod(number, places)",
        "tests/test_lessons.py::test_the_occlusion_map_has_the_places_of_the_image",
    ),
    Mutation(
        "The study's table pools ensembles with single networks",
        "notebooks/10_beyond_99.ipynb",
        'if name in wanted and name != "seed"]',
        'if name in wanted and name not in ("seed", "ensemble")]',
        "tests/test_lessons.py::test_the_study_keeps_ensembles_and_recipes_apart",
    ),
    Mutation(
        "The center of mass goes half a pixel aside",
        "notebooks/12_draw_a_digit.ipynb",
        "np.floor(14 - center_of_mass(small) + 0.5)",
        "np.floor(13.5 - center_of_mass(small) + 0.5)",
        "tests/test_draw.py::test_prepares_ink_as_the_notebook_does",
    ),
    # --- split and training ---
    Mutation(
        "The first images are for validation",
        "helpers/preprocessing.py::split_validation",
        "return (data.x_train[:cut], y), (data.x_train[cut:], y_validation)",
        "return (data.x_train[cut:], y_validation), (data.x_train[:cut], y)",
        "tests/test_preprocessing.py::test_split_takes_the_last_images_as_keras_does",
    ),
    Mutation(
        "The validation split rounds up",
        "helpers/preprocessing.py::split_validation",
        "int(len(data.x_train) * (1 - validation_split))",
        "-int(-len(data.x_train) * (1 - validation_split) // 1)",
        "tests/test_preprocessing.py::test_split_takes_the_last_images_as_keras_does"
        " tests/test_training.py::test_validation_split_is_keras_own",
    ),
    Mutation(
        "Sorted classes are split without a word",
        "helpers/preprocessing.py::in_order",
        "1 < present <= len(labels) / 2",
        "1 < present <= len(labels) / 2000",
        "tests/test_preprocessing.py::test_split_of_sorted_classes_warns_with_a_cure_that_cures",
    ),
    Mutation(
        "Every epoch has the same order of images",
        "helpers/training.py::train",
        "(recipe.seed + (1 << 32), number)",
        "(recipe.seed + (1 << 32), 0)",
        "tests/test_training.py::test_the_order_is_another_in_every_epoch_and_for_every_seed",
    ),
    Mutation(
        "Every seed has the same order of images",
        "helpers/training.py::train",
        "(recipe.seed + (1 << 32), number)",
        "(1 << 32, number)",
        "tests/test_training.py::test_the_order_is_another_in_every_epoch_and_for_every_seed",
    ),
    Mutation(
        "Dropout drops the same outputs in every step",
        "helpers/training.py::train_steps",
        'seed = (epoch["seed"], tf.cast(done, tf.int64))',
        'seed = (epoch["seed"], tf.cast(epoch["done"], tf.int64))',
        "tests/test_training.py::test_dropout_drops_its_share_anew_by_seed_step_and_layer"
        " tests/test_training.py::test_distortions_differ_by_step_and_seed"
        " tests/test_training.py::test_steps_are_those_of_keras_adam",
    ),
    Mutation(
        "Dropout is the same in every layer",
        "helpers/training.py::compute",
        "own = (seed[0] + (place + 2 << 32), seed[1])",
        "own = (seed[0] + (2 << 32), seed[1])",
        "tests/test_training.py::test_dropout_drops_its_share_anew_by_seed_step_and_layer",
    ),
    Mutation(
        "Dropout stays on while validating",
        "helpers/training.py::validate",
        "compute(plan, weights, x)",
        "compute(plan, weights, x, (0, 0))",
        "tests/test_training.py::test_validation_values_are_those_of_the_last_images",
    ),
    Mutation(
        "The images that fill up the last validation batch count",
        "helpers/training.py::validate",
        "real = tf.cast(places < count, tf.float32)",
        "real = tf.cast(places >= 0, tf.float32)",
        "tests/test_training.py::test_validation_values_are_those_of_the_last_images",
    ),
    Mutation(
        "Adam's second power lags by a step",
        "helpers/training.py::train_steps",
        "beta2_power=tf.pow(BETA_2, tf.cast(done + 1, tf.float32))",
        "beta2_power=tf.pow(BETA_2, tf.cast(done + 2, tf.float32))",
        "tests/test_training.py::test_steps_are_those_of_keras_adam",
    ),
    Mutation(
        "Weight decay takes biases along",
        "helpers/training.py::train_steps",
        'epoch["decay"] is not None and len(variable.shape) > 1',
        'epoch["decay"] is not None',
        "tests/test_training.py::test_steps_are_those_of_keras_adam",
    ),
    Mutation(
        "Averaging starts from the random start",
        "helpers/training.py::train_steps",
        'epoch["averaging"] * tf.cast(done > 0, tf.float32)',
        'epoch["averaging"]',
        "tests/test_training.py::test_steps_are_those_of_keras_adam",
    ),
    Mutation(
        "Label smoothing takes from the true class only",
        "helpers/training.py::measure",
        "* (1 - smoothing) + smoothing / classes",
        "* (1 - smoothing)",
        "tests/test_training.py::test_steps_are_those_of_keras_adam",
    ),
    Mutation(
        "Biases are added before pooling",
        "helpers/training.py::operations",
        'found[place - 1][0] in ("add", "relu")',
        'found[place - 1][0] in ("relu",)',
        "tests/test_training.py::test_pooling_comes_before_biases_and_relu",
    ),
    Mutation(
        "Batch normalization keeps the variance of the sample",
        "helpers/training.py::normalize",
        "result.batch_variance * (count - 1) / count",
        "result.batch_variance",
        "tests/test_training.py::test_outputs_gradients_and_moving_statistics_are_kerass",
    ),
    Mutation(
        "The one-cycle schedule ends at a tenth",
        "helpers/training.py::one_cycle",
        "rising, start, end = 0.3, 0.04, 0.001",
        "rising, start, end = 0.3, 0.04, 0.1",
        "tests/test_training.py::test_one_cycle_rises_then_falls",
    ),
    Mutation(
        "The last batch is left out",
        "helpers/training.py::train",
        "steps = -(-count // recipe.batch_size)",
        "steps = count // recipe.batch_size",
        "tests/test_training.py::test_every_image_of_an_epoch_is_learned_from_once",
    ),
    Mutation(
        "The averaged weights are not what is returned",
        "helpers/training.py::train",
        "variable.assign(average)",
        "average.assign(variable)",
        "tests/test_training.py::test_steps_are_those_of_keras_adam"
        " tests/test_training.py::test_validation_values_are_those_of_the_last_images",
    ),
    # --- own data ---
    Mutation(
        "Dark ink on light paper stays as it is",
        "helpers/own_data.py::_light_ink",
        "images[key] = 255 - images[key]",
        "images[key] = images[key]",
        "tests/test_forms.py::test_dark_ink_on_light_paper_is_inverted",
    ),
    Mutation(
        "Scaled pixels that were cast are multiplied",
        "helpers/own_data.py::_tidy_images",
        'x.dtype.kind in "bf" or np.mean(x) >= LEAST_INK',
        "True",
        "tests/test_forms.py::test_pixels_scaled_and_cast_are_refused_with_the_cure",
    ),
    Mutation(
        "Labels from 1 lose their names",
        "helpers/own_data.py::_tidy_labels",
        "names or tuple(map(str, present[0]))",
        "names",
        "tests/test_forms.py::test_labels_from_1_keep_their_names",
    ),
    Mutation(
        "Numbered folders are sorted as texts",
        "helpers/own_data.py::_read_pictures",
        "key=lambda name: (int(name) if name.isdecimal() else -1, name)",
        "key=str",
        "tests/test_forms.py::test_numbered_folders_keep_the_order_of_numbers",
    ),
    Mutation(
        "An endless gzip is read to its end",
        "helpers/own_data.py::_read_csv",
        "file.read(max(10**6, 100 * path.stat().st_size))",
        "file.read()",
        "tests/test_forms.py::test_csv_that_unzips_to_more_than_a_hundredfold_is_read_no_further",
    ),
    Mutation(
        "Own data without a test part are split by chance",
        "helpers/own_data.py::_split",
        "random_state=0",
        "random_state=None",
        "tests/test_forms.py::test_one_pair_of_arrays_is_split",
    ),
    # --- exercises ---
    Mutation(
        "An answer that makes the check fail is right",
        "helpers/exercises.py::Check.__call__",
        "said = False",
        "said = True",
        "tests/test_exercises.py::test_an_answer_that_the_check_cannot_handle_is_wrong",
    ),
    Mutation(
        "A typical mistake gets the general hint",
        "helpers/exercises.py::Check._advice",
        "return sentence",
        "return self.hint",
        "tests/test_exercises.py",
    ),
    # --- store, sweeps ---
    Mutation(
        "Loading leaves other random numbers than training",
        "helpers/storage.py::load_or_train",
        "training.make_reproducible(recipe.seed)",
        "",
        "tests/test_storage.py::test_what_follows_is_the_same_trained_or_loaded",
    ),
    Mutation(
        "The store forgets the data's class names",
        "helpers/storage.py::model_key",
        "[data.fingerprint, data.class_names]",
        "[data.fingerprint]",
        "tests/test_storage.py::test_key_changes_with_the_class_names",
    ),
    Mutation(
        "Comments count as code",
        "helpers/identity.py::_read",
        "return _meaning(tree), list(_imports(tree, package))",
        "return ascii(content), list(_imports(tree, package))",
        "tests/test_identity.py::test_comments_and_docstrings_change_nothing_and_an_expression_does",
    ),
    Mutation(
        "Corrected data under the same name are taken for the old",
        "helpers/batch/running.py::_why",
        '("code", "data", *new["versions"])',
        '("code", *new["versions"])',
        "tests/test_batch.py::test_corrected_data_under_the_same_name_are_new_runs",
    ),
    Mutation(
        "Outdated runs are overwritten",
        "helpers/batch/running.py::sweep",
        'Path(folder, f"{name}.ipynb").replace(place / f"{name}.ipynb")',
        "",
        "tests/test_batch.py::test_changed_code_runs_again_and_a_larger_grid_only_adds",
    ),
    Mutation(
        "A sweep's figure draws the test accuracy",
        "helpers/batch/results.py::choose_metric",
        "[CHOSEN_BY, *filter(is_chosen_by, numbers)]",
        '["test_accuracy", *filter(is_chosen_by, numbers)]',
        "tests/test_batch.py::test_metric_is_chosen_or_named",
    ),
    Mutation(
        "The highest test accuracy is named",
        "helpers/batch/charts.py::_title",
        "if not is_chosen_by(metric):",
        'if "accuracy" not in metric:',
        "tests/test_batch.py::test_only_of_validation_images_is_the_highest_named",
    ),
    Mutation(
        "A search that goes on draws its first trials again",
        "helpers/batch/plans.py::Plan.draw",
        "SeedSequence([seed, number])",
        "SeedSequence([seed, number - len(drawn)])",
        "tests/test_search.py::test_a_search_goes_on_where_it_was_and_with_more_trials",
    ),
    Mutation(
        "A learning rate is drawn evenly",
        "helpers/batch/plans.py::_distribution",
        "log=0 < 10 * low <= high",
        "log=False",
        "tests/test_search.py::test_a_range_is_log_uniform_where_it_spans_a_power_of_ten",
    ),
    Mutation(
        "A winner is confirmed with seeds that a notebook has counted up to",
        "helpers/batch/running.py::confirm",
        "apart * number",
        "number",
        "tests/test_search.py::test_the_best_is_confirmed_with_fresh_seeds_only",
    ),
    Mutation(
        "A search may go by test images",
        "helpers/batch/results.py::refuse_test",
        'if "test" in metric:',
        "if False:",
        "tests/test_search.py::test_bad_spaces_are_one_sentence_before_anything_starts",
    ),
    Mutation(
        "Runs of different seeds are subtracted",
        "helpers/batch/results.py::compare",
        "by_seed - by_seed.iloc[best]",
        "by_seed - by_seed.iloc[best].to_numpy()[::-1]",
        "tests/test_search.py::test_differences_are_by_seed_and_with_students_interval",
    ),
    Mutation(
        "The limit is of each cell, not of the run",
        "helpers/batch/running.py::execute",
        "end + 0.1 - time.monotonic()",
        "60 * limit",
        "tests/test_search.py::test_a_run_over_its_limit_has_failed_with_one_sentence",
    ),
]


def find_definition(text, name):
    """Return where in Python's text what has this qualified name starts and ends, (0, its length) for ""."""
    starts = [0, *itertools.accumulate(map(len, text.encode().splitlines(keepends=True)))]
    node = ast.parse(text)
    for part in filter(None, name.split(".")):
        for child in ast.iter_child_nodes(node):
            targets = getattr(child, "targets", [getattr(child, "target", None)])
            if part in [getattr(child, "name", None), *[getattr(target, "id", None) for target in targets]]:
                node = child
                break
        else:
            raise LookupError(f"there is no {name}")
    if not name:
        return 0, len(text)
    first = min([node.lineno, *[one.lineno for one in getattr(node, "decorator_list", [])]])
    before, whole = text.encode()[: starts[first - 1]], text.encode()[: starts[node.end_lineno]]
    return len(before.decode()), len(whole.decode())


def in_any_layout(code):
    """Return a pattern that finds code however its lines are broken and its brackets closed."""
    tokens = re.findall(r"\w+|[^\w\s]", code)
    pattern = ""
    for before, token in zip(["", *tokens], tokens):
        pattern += r"\s+" if re.fullmatch(r"\w+ \w+", f"{before} {token}") else r"\s*" if before else ""
        pattern += (r",?\s*" if token in ")]}" and before != "," else "") + re.escape(token)
        pattern = rf"\b{pattern}" if not before and token[0].isalnum() else pattern
    return pattern + (r"\b" if re.fullmatch(r"\w+", tokens[-1]) else "")


def mutated(mutation, text):
    """Return a file's text with a mistake in it.

    Raises:
        SystemExit: the mistake is stale (its old code is not there exactly once), or it is none that
            a maintainer could miss (the new code is no Python).
    """
    file, _, name = mutation.place.partition("::")
    notebook = json.loads(text) if file.endswith(".ipynb") else None
    cells = notebook["cells"] if notebook else [{"source": [text], "cell_type": file}]
    sources = ["".join(cell["source"]) for cell in cells]
    try:
        start, end = find_definition(sources[0], name) if file.endswith(".py") else (0, None)
    except LookupError as error:
        raise SystemExit(f"Stale mutation, {error}: {mutation.what}") from None
    found = [
        (place, match)
        for place, source in enumerate(sources)
        for match in re.compile(in_any_layout(mutation.old)).finditer(source, start, end or len(source))
    ]
    if len(found) != 1 or mutation.old == mutation.new:
        raise SystemExit(f"Stale mutation, its old code is there {len(found)} times: {mutation.what}")
    ((place, match),) = found
    before = sources[place][: match.start()]
    indent = re.match(r" *", before[before.rfind("\n") + 1 :])[0]
    new = textwrap.indent(textwrap.dedent(mutation.new), indent).strip()
    if not new and before.endswith("\n" + indent) and mutation.old.rstrip()[-1] not in ",([{":
        new = "pass"  # in place of a statement
    changed = before + new + sources[place][match.end() :]
    if cells[place]["cell_type"] == "code" or file.endswith(".py"):
        ast.parse(changed)
    if not notebook:
        return changed
    cells[place]["source"] = changed.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def run_tests(folder, tests, *options):
    """Run tests in a copy of the project, with its code; return the finished process, None if too slow."""
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "-m", "not slow"]
    command += ["-p", "no:xdist", "--deselect", TOO_EASY]  # which takes long to load
    environment = {k: v for k, v in os.environ.items() if k not in ("MNIST_PATH", "MNIST_RUNS")}
    environment |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            [*command, *options, *tests],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS if "-x" in options else None,
        )
    except subprocess.TimeoutExpired:
        return None


def try_out(mutation=None, tests=()):
    """Run tests on a copy with a mistake; return (the first that fails or None, seconds, output)."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "project")
        shutil.copytree(ROOT, folder, ignore=lambda _, names: {*filter(GENERATED.fullmatch, names)})
        if mutation:
            file = folder / mutation.file
            file.write_text(mutated(mutation, file.read_text(encoding="utf-8")), encoding="utf-8")
        done = run_tests(folder, tests or mutation.tests.split(), *(["-x"] if mutation else []))
    seconds = time.monotonic() - started
    if done is None:
        return None, seconds, f"not finished after {SECONDS} seconds"
    failed = re.search(r"^FAILED (tests/.+?)(?: - .*)?$", done.stdout, flags=re.MULTILINE)
    if done.returncode == 1 and failed:
        return failed[1], seconds, done.stdout
    return None, seconds, f"exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def seed_of_today():
    """Return the commit's hash, or without git the date."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return datetime.date.today().isoformat()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-k", metavar="WORD", default="", help="only those with this word")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of them, drawn anew for every commit")
    parser.add_argument("--seed", help="draw as for this one (default: the commit's hash, or the date)")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time (default: 1)")
    options = parser.parse_args()
    chosen = [m for m in MUTATIONS if options.k.lower() in f"{m.what} {m.place}".lower()]
    if options.sample:
        seed = options.seed or seed_of_today()
        print(f"{options.sample} of {len(chosen)} mistakes, drawn with --seed {seed}", flush=True)
        chosen = random.Random(seed).sample(chosen, min(options.sample, len(chosen)))
    for mutation in chosen:  # before anything runs
        mutated(mutation, (ROOT / mutation.file).read_text(encoding="utf-8"))

    survived = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        every = sorted({test for mutation in chosen for test in mutation.tests.split()})
        running = {pool.submit(try_out, None, every): None}
        running |= {pool.submit(try_out, mutation): mutation for mutation in chosen}
        for future in concurrent.futures.as_completed(running):
            mutation, (test, seconds, output) = running[future], future.result()
            if mutation:
                print(f"{test or 'SURVIVED'} ({seconds:.0f} s): {mutation.what}", flush=True)
            elif test or not output.startswith("exit status 0"):
                pool.shutdown(cancel_futures=True)
                raise SystemExit(f"These tests fail without any mistake:\n{output}")
            if mutation and not test:
                print(output)
                survived.append(mutation)
    print(f"{len(chosen) - len(survived)} of {len(chosen)} mistakes caught")
    sys.exit(bool(survived))


if __name__ == "__main__":
    main()
