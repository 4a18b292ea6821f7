# make train: train the network; make test: run every test; make site: build the book and the live page.
# Each makes what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
FLOORS := build/floors
MIN_PYTHON = $(shell sed -n 's/^min_python = //p' settings.ini)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: train test site site-check lab notebooks readme floors repoint weights calibration photographs patience bytes clean

train: .venv/train
	$(BIN)/mnist-nb train

test: .venv/dev
	$(BIN)/python tools/test.py

site: .venv/site
	$(BIN)/python tools/site.py

site-check: .venv/dev # on a machine that does nothing else: every test image, every page in all views, and times
	$(BIN)/python -m pytest -q --whole tests/test_live.py tests/test_site.py

lab: .venv/dev
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) nbs/index.ipynb

notebooks: .venv/dev
	$(BIN)/python tools/notebooks.py

readme: .venv/dev
	$(BIN)/python tools/readme.py
	$(BIN)/python tools/card.py

floors: build/uv/bin/uv # a wheel at the lowest versions that settings.ini allows
	rm -rf build/lib
	$< venv --quiet --clear --python $(MIN_PYTHON) $(FLOORS)
	$< pip install --quiet --python $(FLOORS) --resolution lowest-direct '.[app]'
	$< pip install --quiet --python $(FLOORS) pytest
	$(FLOORS)/bin/python tools/commands.py
	MNIST_NB_SOURCE=digits $(FLOORS)/bin/python -P -m pytest -q tests/test_model.py

repoint:
	$(PYTHON) tools/repoint.py $(OWNER) $(REPO)

weights: .venv/train
	rm -rf build/weights
	OMP_NUM_THREADS=1 $(BIN)/mnist-nb train --data mnist --device cpu --seed 0 --out build/weights
	mkdir -p mnist_nb/weights && cp build/weights/model.safetensors mnist_nb/weights/default.safetensors

calibration photographs: .venv/train
	$(BIN)/python tools/reading.py $@

patience bytes: .venv/train
	$(BIN)/python tools/further.py $@

clean:
	rm -rf .venv build _site *.egg-info

build/uv/bin/uv:
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet uv

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/train: .venv/bin/python settings.ini setup.py
	$(BIN)/python -m pip install --quiet -e .
	touch $@

.venv/site: .venv/bin/python settings.ini setup.py
	$(BIN)/python -m pip install --quiet -e '.[site]'
	touch $@ .venv/train

.venv/dev: .venv/bin/python settings.ini setup.py
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@ .venv/train .venv/site
