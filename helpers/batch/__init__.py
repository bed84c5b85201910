"""Run notebooks in batches: with checked parameters, in parallel, and so that a stop costs little.

    python -m helpers.batch run 04_training runs/trial -p epochs 3
    python -m helpers.batch run all runs/small -p dataset sample
    python -m helpers.batch sweep 05_evaluation runs/rates -p learning_rate 1e-4,1e-3 -p seed 0,1,2
    python -m helpers.batch sweep 05_evaluation runs/rates -f sweep.yml --dry-run
    python -m helpers.batch sweep 05_evaluation runs/search --search tpe -p learning_rate 1e-5..0.1
    python -m helpers.batch confirm runs/search --top 3 --seeds 5
    python -m helpers.batch collect runs/rates --metric validation_accuracy

papermill executes the notebooks, Dask spreads them over processes or machines, Optuna draws what a search
tries, and pandas holds the results. What is here is what they leave open: parameters and data are checked
before a kernel starts, an executed notebook appears in its folder whole or not at all, and a sweep that is
started again does only what is not there yet, and keeps what other code or data made.
"""

from helpers.batch.charts import draw_heat_map, draw_sweep
from helpers.batch.plans import Plan, make_plan, make_search
from helpers.batch.results import collect, compare
from helpers.batch.running import confirm, run, sweep

__all__ = ["Plan", "collect", "compare", "confirm", "draw_heat_map", "draw_sweep"]
__all__ += ["make_plan", "make_search", "run", "sweep"]
