# filterrelay: the two commands a newcomer needs are `make demo` and `make test`.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# What is measured runs on the distribution's Python if that is new enough, as an appliance does
# and as the peers are the distribution's builds; one built without optimisations is a tenth slower.
BENCH_PYTHON ?= $(shell /usr/bin/python3 -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo /usr/bin/python3 || echo $(PYTHON))
BENCH_VENV   := $(if $(filter $(BENCH_PYTHON),$(PYTHON) $(shell command -v $(PYTHON))),$(VENV),build/bench)

.DEFAULT_GOAL := help
.PHONY: help demo test peers bench pictures clean

help:
	@echo "make demo    the whole appliance on loopback, with sample mail"
	@echo "make test    everything proves itself (installs its peers when run as root)"
	@echo "make bench   speed and memory beside Postfix with OpenDKIM or rspamd, and Haraka"
	@echo "make pictures  docs/pictures anew, from three minutes of watched mail"
	@echo "make clean   remove what the other targets made"

$(sort $(BIN)/filterrelay $(BENCH_VENV)/bin/filterrelay): pyproject.toml
	@sh .ci/venv "$(if $(filter $(BIN)/%,$@),$(PYTHON),$(BENCH_PYTHON))" "$(@:/bin/filterrelay=)" demo

demo: $(BIN)/filterrelay
	@$(BIN)/filterrelay demo

test:
	sh .ci/test "$(PYTHON)" "$(VENV)"

peers:
	sh tests/acceptance/install-peers

# options go in BENCH, such as make bench BENCH="--quick --relays postfix,filterrelay";
# with BENCH=--deep a queue of a million messages is filled and drained instead (45 minutes)
bench: $(BENCH_VENV)/bin/filterrelay peers
	$(BENCH_VENV)/bin/python -m tests.bench $(BENCH)

pictures: $(BIN)/filterrelay peers
	$(BIN)/python -m tests.acceptance.monitored

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
