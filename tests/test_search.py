"""Searches, confirming, comparing: what is drawn and kept, and that nothing is chosen by luck or test."""

import json
import multiprocessing
import os
import random
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from dask.distributed import LocalCluster
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from helpers import batch
from helpers.batch import plans, results
from helpers.batch.__main__ import main
from helpers.errors import ParameterError, StorageError
from tests import batch_stub
from tests.test_batch import make_notebook, table_of, write_executed


@pytest.fixture
def notebook(tmp_path):
    return make_notebook(tmp_path / "small.ipynb")


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a Dask scheduler with one worker."""
    os.environ["BATCH_LOG"] = str(tmp_path_factory.mktemp("cluster") / "log")
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture(autouse=True)
def log(scheduler):
    """Empty the log of executions."""
    Path(os.environ["BATCH_LOG"]).write_text("")


def found(folder):
    """Return what a folder's runs were given: name → parameters."""
    return {name: run.parameters for name, run in results.read_folder(folder).items()}


# What is drawn


def test_a_range_is_log_uniform_where_it_spans_a_power_of_ten(notebook):
    def space(**values):
        return batch.make_search(notebook, values).space

    assert space(learning_rate="1e-5..0.1") == {"learning_rate": FloatDistribution(1e-5, 0.1, log=True)}
    assert space(learning_rate="0.01..0.05") == {"learning_rate": FloatDistribution(0.01, 0.05)}
    assert space(epochs="2..30") == {"epochs": IntDistribution(2, 30, log=True)}
    assert space(epochs="2..5", seed="7") == {
        "epochs": IntDistribution(2, 5),
        "seed": CategoricalDistribution([7]),
    }
    assert space(epochs=["5", 1, "5"]) == {"epochs": CategoricalDistribution([5, 1])}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "--search tpe -p learning_rate 0.1..1e-5",
            "`learning_rate` is 0.1..1e-05; write the lower end first",
        ),
        ("--search tpe -p learning_rate 1e-5..1", "`learning_rate` is 1.0, out of range; give a number from"),
        ("--search tpe -p learning_rate 1e-5..fast", "`learning_rate` is 'fast', a text; give a number"),
        ("--search tpe -p learning_rate ..0.1", "`learning_rate` is '..0.1', a text; give a number"),
        ("--search tpe -p epochs 1.5..3", "`epochs` is '1.5', a text; give a whole number"),
        ("--search tpe -p epohcs 1..3", "`epohcs` is no parameter of this tutorial (did you mean `epochs`?)"),
        ("--search tpe -p epochs 1..3 -p seed 0,1", "A search draws settings, not luck; give one `seed`"),
        ("--search tpe -p epochs 1..3 -p seed 0..9", "A search draws settings, not luck; give one `seed`"),
        ("--search tpe -p epochs 3", "There is nothing to draw; give a range, such as learning_rate"),
        ("--search tpe", "There is nothing to draw; give a range, such as learning_rate"),
        ("--search tpe -p epochs 1..3 --metric test_accuracy", "`test_accuracy` is of test images, by which"),
        (
            "--search tpe -p epochs 1..3 -f list.yml",
            "list.yml has a `list`, from which a search draws nothing",
        ),
        ("-p epochs 1..3", "`epochs` is 1..3, a range; list values as 1,2,3, or draw with --search"),
        ("-p epochs 1,2 --trials 5", "--trials and --metric are for a search"),
    ],
)
def test_bad_spaces_are_one_sentence_before_anything_starts(
    notebook, tmp_path, monkeypatch, capsys, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    Path("list.yml").write_text("list: [{seed: 1}]")
    assert main(["sweep", str(notebook), "out", *arguments.split()]) == 2
    assert sentence in capsys.readouterr().err.strip().splitlines()[-1]
    assert not Path("out").exists()


def test_other_bad_searches_are_refused(notebook):
    with pytest.raises(ParameterError, match="There is no search 'tpo' .did you mean `tpe`"):
        batch.make_search(notebook, {"epochs": "1..3"}, method="tpo")
    with pytest.raises(ParameterError, match="There is nothing to draw; give a range"):
        batch.make_search(notebook, {"epochs": "1..3", "learning_rate": []})
    assert plans.range_ends("dataset", "../mine.npz") == [], "two dots in a path are no range"


def test_dry_run_shows_the_space(notebook, tmp_path, capsys):
    words = ["sweep", str(notebook), str(tmp_path / "out"), "--dry-run", "--search", "random"]
    assert main([*words, "--trials", "7", "-p", "epochs", "2..5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "7 runs, by random:" and lines[1].startswith("  epochs: IntDistribution(high=5, ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_the_same_seed_draws_the_same_trials(notebook, tmp_path, scheduler, method):
    for place, seed in (("one", "0"), ("two", "0"), ("three", "1")):
        options = {"trials": 13, "method": method, "space": {"seed": seed}}
        assert batch_stub.fake_search(notebook, tmp_path / place, scheduler, **options) == {}
    one, two, three = (found(tmp_path / place) for place in ("one", "two", "three"))
    assert one == two and len(one) == 13
    rates = [{run["learning_rate"] for run in runs.values()} for runs in (one, three)]
    assert not rates[0] & rates[1]
    assert min(rates[0]) < 1e-4 < 1e-2 < max(rates[0]), "small ones as likely as large ones"
    assert [name for name, _ in batch_stub.logged()][:13] == [name for name, _ in batch_stub.logged()][13:26]


def test_tpe_draws_more_where_validation_accuracy_is_high(notebook, tmp_path, scheduler):
    batch_stub.fake_search(notebook, tmp_path, scheduler, trials=40)
    order = [float(name.split("rate=")[1].split("_")[0]) for name, _ in batch_stub.logged()]
    far = np.abs(np.log10(order) + 2)  # from the best rate
    assert far[10:].mean() < 0.8 * far[:10].mean()


# What is kept


def test_a_search_goes_on_where_it_was_and_with_more_trials(notebook, tmp_path, scheduler):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    batch_stub.fake_search(notebook, whole, scheduler, trials=14)
    for trials in (3, 12, 12, 14):
        batch_stub.fake_search(notebook, parts, scheduler, trials=trials)
        assert len(found(parts)) == trials
    assert found(parts) == found(whole)
    assert len(batch_stub.logged()) == 28, "each once"


@pytest.mark.slow
def test_a_search_killed_at_random_moments_makes_the_same_runs(notebook, tmp_path, scheduler):
    batch_stub.fake_search(notebook, tmp_path / "undisturbed", scheduler, trials=16)
    folder = tmp_path / "search"
    processes = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
    processes.set_forkserver_preload(["tests.batch_stub", "distributed", "optuna"])
    draw, done, kills = random.Random(0), {}, 0
    deadline = time.monotonic() + 600
    while len(done) < 16:
        assert time.monotonic() < deadline
        before = len(batch_stub.logged())
        process = processes.Process(
            target=batch_stub.fake_search, args=(notebook, folder, scheduler), kwargs={"trials": 16}
        )
        process.start()
        if kills < 10:
            wanted = before + draw.choice([0, 1, 2])
            while len(batch_stub.logged()) < wanted and process.is_alive():
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.15))
            process.kill()
            kills += 1
        process.join()
        again = {name for name, _ in batch_stub.logged()[before:]}
        assert not again & set(done), "a finished run ran again"
        done = found(folder) if folder.exists() else {}
    assert done == found(tmp_path / "undisturbed"), "and no other"


def test_a_damaged_study_is_one_sentence_and_its_runs_are_not_lost(notebook, tmp_path, scheduler):
    folder = tmp_path / "search"
    batch_stub.fake_search(notebook, folder, scheduler, trials=5)
    first = found(folder)
    (folder / "study.log").write_text("nonsense\n" + (folder / "study.log").read_text())
    with pytest.raises(StorageError, match="study.log cannot be read .*delete it: finished runs stay"):
        batch_stub.fake_search(notebook, folder, scheduler, trials=5)
    (folder / "study.log").unlink()
    (folder / sorted(folder.glob("*.ipynb"))[2].name).unlink()
    batch_stub.fake_search(notebook, folder, scheduler, trials=5)
    assert found(folder) == first and len(batch_stub.logged()) == 6


@pytest.mark.parametrize("step", ["ask", "tell"])
def test_a_study_that_cannot_be_written_is_one_sentence(notebook, tmp_path, scheduler, monkeypatch, step):
    def full(self, *given, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"optuna.study.Study.{step}", full)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\)"):
        batch_stub.fake_search(notebook, tmp_path, scheduler, trials=2)


def test_other_code_starts_another_study(notebook, tmp_path, scheduler, capsys):
    batch_stub.fake_search(notebook, tmp_path / "out", scheduler, trials=3, method="random")
    text = notebook.read_text(encoding="utf-8")
    notebook.write_text(text.replace("13 brings", "thirteen brings"), encoding="utf-8")
    batch_stub.fake_search(notebook, tmp_path / "out", scheduler, trials=3, method="random")
    assert len(batch_stub.logged()) == 6
    assert "3 finished runs of other code or data are kept" in capsys.readouterr().err


def test_a_failed_trial_is_kept_and_may_be_repeated(notebook, tmp_path, scheduler):
    options = {"trials": 6, "space": {"epochs": [1, 13], "learning_rate": 0.01}, "method": "random"}
    failed = batch_stub.fake_search(notebook, tmp_path, scheduler, **options)
    assert list(failed.values()) == ["ValueError: 13 brings bad luck"]
    assert len(batch_stub.logged()) == 2, "what is drawn twice is made once"
    assert batch_stub.fake_search(notebook, tmp_path, scheduler, **options) == failed
    assert len(batch_stub.logged()) == 2
    assert batch_stub.fake_search(notebook, tmp_path, scheduler, retry=True, **options) == failed
    assert len(batch_stub.logged()) == 3


def test_a_metric_that_is_not_recorded_stops_the_search(notebook, tmp_path, scheduler):
    with pytest.raises(ParameterError, match="no number 'validation_acuracy' .did you mean `validation_acc"):
        batch_stub.fake_search(notebook, tmp_path, scheduler, metric="validation_acuracy")
    assert len(batch_stub.logged()) == 1


# Confirming


def test_the_best_is_confirmed_with_fresh_seeds_only(notebook, tmp_path, scheduler):
    grid = {"learning_rate": [0.0001, 0.001, 0.01, 0.1], "epochs": [1], "seed": [0, 1, 3]}
    batch_stub.fake_sweep(notebook, grid, tmp_path, scheduler)
    options = {"scheduler": scheduler, "execute": batch_stub.fake_execute}
    for _ in range(2):
        table = batch.confirm(tmp_path, top=2, seeds=3, **options)
        assert len(batch_stub.logged()) == 12 + 6, "the second time all is there"
    fresh = found(tmp_path / "confirmed").values()
    assert {run["seed"] for run in fresh} == {103, 203, 303}
    assert sorted({run["learning_rate"] for run in fresh}) in ([0.001, 0.01], [0.01, 0.1])
    assert list(table) == ["epochs", "learning_rate", "searched", "fresh", "low", "high", "runs"]
    assert table["learning_rate"].iloc[0] == 0.01 and list(table["runs"]) == [3, 3]
    assert table["searched"].iloc[0] == table["fresh"].iloc[0] == 1.0
    assert len(results.collect(tmp_path)[0]) == 12, "they are apart from what was searched"


@pytest.mark.parametrize(
    ("default", "fresh"), [("0", {100, 200}), ("int(0)", {100, 200}), (str(2**32 - 1), {99, 199})]
)
def test_a_search_is_confirmed_too(notebook, tmp_path, scheduler, default, fresh):
    """With seeds that no notebook which trains several networks has counted up to."""
    text = notebook.read_text(encoding="utf-8")
    notebook.write_text(text.replace("seed: int = 0", f"seed: int = {default}"), encoding="utf-8")
    batch_stub.fake_search(notebook, tmp_path, scheduler, trials=4)
    table = batch.confirm(tmp_path, 1, 2, scheduler=scheduler, execute=batch_stub.fake_execute)
    searched, _ = results.collect(tmp_path)
    best = searched["validation_accuracy"].idxmax()
    assert table["learning_rate"].item() == searched.loc[best, "learning_rate"]
    assert {run["seed"] for run in found(tmp_path / "confirmed").values()} == fresh


def test_what_cannot_be_confirmed_is_one_sentence(notebook, tmp_path, scheduler, capsys):
    write_executed(tmp_path / "by papermill.ipynb", {"seed": 0}, {"validation_accuracy": 0.9})
    assert main(["confirm", str(tmp_path)]) == 2
    assert "holds no finished sweep of one notebook" in capsys.readouterr().err
    assert main(["confirm", str(tmp_path), "--metric", "test_accuracy"]) == 2
    assert "`test_accuracy` is of test images, by which nothing is chosen" in capsys.readouterr().err
    batch_stub.fake_search(notebook, tmp_path / "out", scheduler, trials=2)
    assert main(["confirm", str(tmp_path / "out"), "--metric", "validation_loss"]) == 2
    assert "The records hold no number 'validation_loss'" in capsys.readouterr().err


# The time limit


@pytest.mark.full
def test_a_run_over_its_limit_has_failed_with_one_sentence(notebook, tmp_path, capsys):
    slow = nbformat.read(notebook, as_version=4)
    for _ in range(4):  # each within the limit, together over it
        slow.cells.insert(2, nbformat.v4.new_code_cell("import time\ntime.sleep(4)"))
    nbformat.write(slow, notebook)
    words = ["sweep", str(notebook), str(tmp_path / "out"), "-p", "seed", "1"]
    assert main([*words, "--limit", "0.1"]) == 1
    name = plans.run_name("small", {"seed": 1})
    assert capsys.readouterr().out.splitlines()[:2] == [
        "1 runs: 0 finished, 1 failed.",
        f"  {name}: it was stopped at its limit of 0.1 minutes",
    ]
    for limit in ("0", "-1", "soon", "inf", "nan"):
        with pytest.raises(SystemExit):
            main([*words, "--limit", limit])
        assert "is no time in minutes; give a number above 0" in capsys.readouterr().err


# Collecting: curves, differences, the heat map


def test_a_curve_is_read_whole_and_stands_in_the_table_as_text(tmp_path):
    curve = [0.5, 0.75, 1]
    write_executed(tmp_path / "a.ipynb", {"seed": 0}, {"validation_accuracy": 0.9, "by_epoch": curve})
    write_executed(tmp_path / "b.ipynb", {"seed": 1}, {"validation_accuracy": 0.8})
    assert results.read_folder(tmp_path)["a"].record["by_epoch"] == curve
    table, left_out = results.collect(tmp_path)
    assert not left_out and json.loads(table.loc["a", "by_epoch"]) == curve
    assert pd.isna(table.loc["b", "by_epoch"]), "it has none"
    assert results.measured(table) == ["validation_accuracy"]
    assert main(["collect", str(tmp_path)]) == 0
    write_executed(tmp_path / "c.ipynb", {"seed": [0]}, {"validation_accuracy": 0.9})
    assert "damaged file" in results.collect(tmp_path)[1]["c"], "but no parameter is a list"


def test_differences_are_by_seed_and_with_students_interval():
    """By hand: 0.02, 0.03, 0.04 below the best: mean 0.03, deviation 0.01, t = 4.3027 with 3 seeds."""
    table = table_of([0.1, 0.01], [0.5], [0, 1, 2], lambda rate, _, seed: 0.9 + seed / 100)
    below = [0.02, 0.03, 0.04]
    table.loc[table["learning_rate"] == 0.1, "validation_accuracy"] -= below
    table["test_accuracy"] = 1 - table["validation_accuracy"]
    extra = {"learning_rate": 0.1, "dropout": 0.5, "seed": 7, "validation_accuracy": 0.1}
    table = pd.concat([table, pd.DataFrame([extra])])  # a seed that only one of them has
    (row,) = batch.compare(table, "validation_accuracy").to_dict("records")
    margin = 4.302653 * 0.01 / 3**0.5
    assert row["learning_rate"] == 0.1 and row["than"] == "learning rate 0.01" and row["seeds"] == 3
    assert [row["difference"], row["low"], row["high"]] == pytest.approx(
        [-0.03, -0.03 - margin, -0.03 + margin]
    )
    (row,) = batch.compare(table, "test_accuracy").to_dict("records")
    assert row["than"] == "learning rate 0.1" and row["learning_rate"] == 0.01, "the first, not the best"
    assert row["difference"] == pytest.approx(-0.03)
    assert batch.compare(table[table["seed"] == 0], "validation_accuracy").empty


def test_runs_that_were_left_at_the_default_are_compared_too():
    table = table_of([0.1, 0.01], [0.5], [0, 1, 2], lambda rate, _, seed: 0.9 - rate)
    table = table.replace({"learning_rate": {0.01: np.nan}, "seed": {0: np.nan}})
    (row,) = batch.compare(table, "validation_accuracy").to_dict("records")
    assert row["learning_rate"] == 0.1 and row["than"] == "learning rate default" and row["seeds"] == 3
    (row,) = batch.compare(table, "test_accuracy").to_dict("records")
    assert row["learning_rate"] == "default" and row["than"] == "learning rate 0.1"


def test_settings_of_two_parameters_are_compared_with_the_best():
    table = table_of([0.1, 0.01], [0.2, 0.5], [0, 1], lambda rate, dropout, _: 0.9 + rate * dropout)
    compared = batch.compare(table, "validation_accuracy")
    assert set(compared["than"]) == {"learning rate 0.1, dropout 0.5"}
    assert compared["difference"].tolist() == pytest.approx([-0.03, -0.048, -0.045])
    assert compared["low"].tolist() == pytest.approx(compared["difference"].tolist())


def test_heat_map_has_the_mean_of_every_pair():
    table = table_of([0.001, 0.01, 0.1], [0.2, 0.5], [0, 1], lambda r, d, seed: 0.8 + r + d / 10 + seed / 100)
    figure = batch.draw_heat_map(table, "validation_accuracy", ["learning_rate", "dropout"])
    axis = figure.axes[0]
    expected = [[82.6, 83.5, 92.5], [85.6, 86.5, 95.5]]
    assert np.allclose(axis.images[0].get_array(), expected)
    assert sorted(float(text.get_text()) for text in axis.texts) == sorted(np.ravel(expected))
    assert axis.get_xlabel() == "learning rate" and axis.get_ylabel() == "dropout"
    assert (
        figure.get_suptitle() == "Highest mean validation accuracy: 95.5%, at learning rate 0.1, dropout 0.5"
    )
    figure = batch.draw_heat_map(table, "test_accuracy", ["learning_rate", "dropout"])
    assert "Highest" not in figure.get_suptitle()
    plt.close("all")


def test_a_search_is_drawn_on_axes_of_numbers():
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-5, -1, 12)
    table = pd.DataFrame({"learning_rate": rates, "dropout": rng.uniform(0, 0.5, 12)})
    table["validation_accuracy"] = 0.9 + table["dropout"] / 10
    one, two = batch.draw_sweep(table, "validation_accuracy", ["learning_rate", "dropout"]).axes
    assert one.get_xscale() == "log" and two.get_xscale() == "linear"
    assert list(one.lines[0].get_xdata()) == list(rates) and not one.containers, "no means of single runs"
    axis = batch.draw_heat_map(table, "validation_accuracy", ["learning_rate", "dropout"]).axes[0]
    assert np.allclose(axis.collections[0].get_offsets(), table[["learning_rate", "dropout"]])
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "linear") and not axis.images
    plt.close("all")


def test_collect_writes_the_heat_map_and_prints_the_differences(tmp_path, capsys):
    table = table_of([0.001, 0.01], [0.2, 0.5], [0, 1], lambda rate, dropout, seed: 0.9 + rate)
    for number, row in enumerate(table.to_dict("records")):
        parameters = {name: row.pop(name) for name in ("learning_rate", "dropout", "seed")}
        write_executed(tmp_path / f"{number}.ipynb", parameters, row)
    assert main(["collect", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "heat_map.png") in lines
    assert (tmp_path / "heat_map.png").read_bytes().startswith(b"\x89PNG")
    assert "Differences seed by seed, with 95% intervals:" in lines and "than" in lines[-4]
