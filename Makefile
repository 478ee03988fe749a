# make demo: environment, installation, the main job on the bundled network.
# make test: the same environment, everything that checks, in two processes of one thread each.
# make coverage: the same tests, and whether they reach 95 % of the package's lines; takes half as long again.
# make bench IMAGES=folder: other libraries beside ours (docs/benchmarks.md); about three hours. Needs runs/demo.
# make study IMAGES=folder: the telescope study (docs/study.md), about an hour and a half; MAILS=folder for its mails.
# make simulate: bias, coverage, nulls and power (docs/telescope.md, docs/perturbations.md); about twenty minutes.
PYTHON ?= python3
BIN := .venv/bin
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations=10

.PHONY: demo test coverage check bench study simulate clean

demo: .venv/.complete
	$(BIN)/layerscope demo --out runs/demo

test: .venv/.complete
	scripts/check
	$(PYTEST)

coverage: .venv/.complete
	$(PYTEST) --cov --cov-report=term

bench: .venv/.complete
	$(BIN)/python -m pip install --progress-bar=on --constraint constraints.txt --group bench
	for part in speed exact cost disk; do $(BIN)/python benchmarks/som.py $$part --images $(IMAGES) || exit 1; done
	for part in overhead memory reading kills; do $(BIN)/python benchmarks/recording.py $$part || exit 1; done
	$(BIN)/python benchmarks/measures.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/explorer.py --images $(IMAGES)
	for part in strength speed; do $(BIN)/python benchmarks/attacks.py $$part || exit 1; done

study: .venv/.complete
	for part in study causal; do $(BIN)/python studies/telescope/$$part.py --images $(IMAGES) $(if $(MAILS),--mails $(MAILS)) || exit 1; done

simulate: .venv/.complete
	$(BIN)/python studies/simulations.py

check: .venv/.complete
	scripts/check

.venv/.complete: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Layerscope needs Python 3.11 or newer; $(PYTHON) is older. Say which one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "$(PYTHON) can't make environments; install its venv module (Debian: apt-get install python3-venv)."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --progress-bar=on --constraint constraints.txt --editable . --group dev
	@touch $@

clean:
	rm -rf .venv runs
