# Pairloop. `make demo` on a fresh machine is the whole product; see README.md.
PYTHON ?= python3
PORT ?= 8000
# Empty: pip's default build of torch. https://download.pytorch.org/whl/cpu is the small CPU build.
TORCH_INDEX_URL ?=
TORCH := torch==2.13.0
BIN := .venv/bin
PIP := $(BIN)/pip install --disable-pip-version-check -q
export PORT
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: demo test test-long serve worker worker-gpu bench

demo: .venv/.engine
	@exec $(BIN)/python manage.py demo

test: .venv/.dev
	@exec $(BIN)/python -m tests

test-long: .venv/.dev
	@exec $(BIN)/python -m tests --long

serve: .venv/.engine
	@exec $(BIN)/gunicorn --config config/gunicorn.py

worker: .venv/.engine
	@exec $(BIN)/python manage.py worker

worker-gpu: .venv/.engine
	@exec $(BIN)/python manage.py worker --gpu

bench: .venv/.dev
	@exec $(BIN)/python -m benchmarks

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.engine: requirements-web.txt requirements-engine.txt requirements.txt | $(BIN)/python
	$(if $(TORCH_INDEX_URL),$(PIP) $(TORCH) --index-url $(TORCH_INDEX_URL))
	$(PIP) -r requirements.txt
	@touch $@

# The engine's packages are among these: one call installs all of them.
.venv/.dev: requirements-dev.txt requirements-web.txt requirements-engine.txt requirements.txt | $(BIN)/python
	$(if $(TORCH_INDEX_URL),$(PIP) $(TORCH) --index-url $(TORCH_INDEX_URL))
	$(PIP) -r requirements-dev.txt
	@touch .venv/.engine $@
