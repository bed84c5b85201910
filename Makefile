# For readers: make tutorial · test · lab · book. For maintainers: the others, see CONTRIBUTING.md.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
RUN := .venv/bin/python -m
export JUPYTER_PREFER_ENV_PATH := 1

# Paths from the caller's folder: notebooks run in another one. (Quoted for the shell.)
absolute = $(shell $(PYTHON) -c 'import os, sys; print(os.path.abspath(os.path.expanduser(sys.argv[1])))' '$(subst ','\'',$(value $(1)))')
ifneq ($(value MNIST_PATH),)
  override MNIST_PATH := $(call absolute,MNIST_PATH)
  export MNIST_PATH
endif
ifneq ($(value MNIST_RUNS),)
  override MNIST_RUNS := $(call absolute,MNIST_RUNS)
  export MNIST_RUNS
endif
RUNS := "$${MNIST_RUNS:-runs}"

# Stop with one sentence if a folder cannot be written to. $(call writable,FOLDER,WHAT TO DO)
writable = @mkdir -p $(1) 2>/dev/null && test -w $(1) || { echo $(1)" cannot be written to; $(2)." >&2; exit 1; }

.PHONY: tutorial test lab book student dev edit check machines mutations verify refresh study constraints again
.DELETE_ON_ERROR:

# The virtual environment, made again when what it should hold changes or PYTHON names another.
ifneq ($(origin PYTHON),file)
  ifneq ($(shell cat .venv/made-with 2>/dev/null),$(PYTHON))
.venv/ready: again
  endif
endif
.venv/ready: pyproject.toml constraints.txt
	$(call writable,"$$PWD",copy this project to a folder of your own)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else "This tutorial needs Python 3.10 to 3.13, and $(PYTHON) is %d.%d; run make with PYTHON=python3.12, for example." % v)'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[notebook,book,test]'
	printf '%s\n' '$(PYTHON)' > .venv/made-with
	touch $@

# Run every notebook from the top into runs/tutorial/, or MNIST_RUNS, and print what they measured.
# Options are parameters, for every notebook that has them: make tutorial ARGS="-p dataset sample -p seed 1"
tutorial: .venv/ready
	$(call writable,$(RUNS)/tutorial,run make with MNIST_RUNS=FOLDER)
	rm -f $(RUNS)/tutorial/*.ipynb
	$(BIN)/python -m helpers.batch run all $(RUNS)/tutorial $(ARGS)

# With FULL=1, as on CI, each notebook twice, and what takes long and seldom fails alone.
test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(RUN) pytest -n logical --maxprocesses 4 --maxschedchunk 1 $(if $(FULL),-m "not slow and not timed and not everywhere")

lab: .venv/ready
	mkdir -p .venv/share/jupyter/lab/settings
	printf '%s\n' '{"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},' \
	  '"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}' \
	  > .venv/share/jupyter/lab/settings/overrides.json # Markdown opens rendered, so that its links work; no question about news
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/README.md

# The course as a website, from the committed notebooks, in runs/book/ (or BOOK=FOLDER).
BOOK ?= runs/book
book: .venv/ready
	$(BIN)/python -m sphinx -q -W --keep-going -c tools/book . $(BOOK)
	@echo "Open $(BOOK)/index.html in a browser."

# The course without solutions, for a class: make student STUDENT=FOLDER
STUDENT ?= runs/student
student: .venv/ready
	$(RUN) tools.student '$(STUDENT)'

# For changing the course: differences of notebooks that can be read, and the checks before a commit.
dev: .venv/dev
.venv/dev: .venv/ready
	$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[notebook,book,test,dev]'
	$(BIN)/nbdime config-git --enable
	git config diff.jupyternotebook.command '"$(CURDIR)/$(BIN)/git-nbdiffdriver" diff' # also where .venv is not on PATH
	git config merge.jupyternotebook.driver '"$(CURDIR)/$(BIN)/git-nbmergedriver" merge %O %A %B %L %P'
	$(BIN)/pre-commit install
	touch $@

# Execute one notebook on the sample and show what changed since the last commit: make edit N=04
edit: .venv/dev
	$(RUN) tools.edit $(or $(N),$(error Name a notebook, as in make edit N=04))

# Every way in, which takes longer: a real browser, Colab, fresh machines, faults. Then what hangs on the clock.
check: .venv/ready
	$(RUN) pytest -m "slow and not timed and not everywhere" -n 2 --dist loadscope --no-loadscope-reorder
	$(RUN) pytest -m timed

# Every Python at hand, and the newest versions of all dependencies.
machines: .venv/ready
	$(RUN) pytest -m everywhere -n 2 --dist loadscope

# Put plausible mistakes into copies of the project, all or N of them, and see that the tests notice.
mutations: .venv/ready
	$(RUN) tools.mutations --jobs 2 $(if $(N),--sample $(N))

# Execute again, on the full MNIST, what changed since its outputs were made, or everything with ALL=1,
# and compare with the stored outputs.
verify: .venv/ready
	$(RUN) tools.verify $(if $(ALL),--all) $(N)

# Execute the notebooks, or those of N=04, on the full MNIST; rewrite outputs, figures, navigation and README.
refresh: .venv/ready
	$(RUN) tools.refresh $(N)

# The study of recipes that notebook 10 reads: hours of CPU time; continues where it was stopped.
study: .venv/ready
	$(RUN) tools.study
	$(RUN) tools.benchmark_targets --output figures/study_speed.csv

# Resolve the newest versions for every supported Python (needs uv).
constraints:
	uv pip compile --quiet --universal --upgrade --python-version 3.10 --all-extras --no-emit-index-url --no-annotate --no-header -o constraints.txt pyproject.toml
