# Every target is one line that calls a program; `make help` lists them.
# Most begin alike: make the environment if it is not there or out of date, then run in it.

CONFIG ?= demo
DATA ?=
CATEGORY ?=
SPAN ?=
OUT ?= out
MANIFEST ?=
TESTS ?=
PUSH ?=
BENCH ?=

# Without TESTS all of them run, in two processes; the tests of a file stay together, and long files (by
# default those of few tests) do not come last.
ALL_TESTS = -n 2 --dist loadfile --no-loadscope-reorder

IN_ENVIRONMENT = python3 requirements/environment.py run --

.DEFAULT_GOAL := help
.PHONY: run serve test test-newest test-flink flink-job-server compile test-spec test-image fuzz image bench lint format lock check clean help

run: ## run the pipeline: CONFIG=<preset or YAML file> DATA=<folder or zip> CATEGORY=<name or all> OUT=<folder>; SPAN=<number> for data that grows
	@$(IN_ENVIRONMENT) python -m pipeline.local_runner --config "$(CONFIG)" --data "$(DATA)" --category "$(CATEGORY)" $(if $(SPAN),--span "$(SPAN)") --out "$(OUT)"

serve: ## start TensorFlow Serving on what was pushed under OUT=<folder>, with Docker, or say what is missing
	@$(IN_ENVIRONMENT) python -m pipeline.cli serve --out "$(OUT)"

test: ## run the tests: TESTS=<folder, file or pytest options> for some of them
	@$(IN_ENVIRONMENT) python -m pytest $(or $(TESTS),$(ALL_TESTS))

test-newest: ## run the tests on the newest TFX, in a Debian 13 tree if this system is older
	@python3 -m requirements.newest_on_debian12 $(or $(TESTS),$(ALL_TESTS))

test-flink: ## run the Beam work on a real Flink on loopback, and kill a TaskManager; needs Java and Maven
	@POINTNET_FLINK=1 $(IN_ENVIRONMENT) python -m pytest tests/flink

flink-job-server: ## build Beam's job server for Flink and print the path of its jar; needs Java and Maven
	@$(IN_ENVIRONMENT) python -m deploy.flink.job_server

compile: CONFIG = cluster_example
compile: ## compile the pipeline for the clusters that CONFIG names: OUT/specs/vertex.json and kubeflow.yaml
	@$(IN_ENVIRONMENT) pointnet-parts compile --config "$(CONFIG)" --manifest "$(MANIFEST)" --output "$(OUT)/specs"

test-spec: ## execute the compiled pipelines here, after checking them: TESTS=--renew-golden writes tests/spec/golden anew
	@$(IN_ENVIRONMENT) python -m pytest tests/spec --execute-specs $(TESTS)

test-image: ## build the container image without Docker, on a Debian 13 made by debootstrap, and try it
	@$(IN_ENVIRONMENT) env POINTNET_TEST_IMAGE=1 python -m pytest tests/deploy

fuzz: ## damaged files for every parser, tens of thousands each; what breaks one is kept in out/fuzz
	@$(IN_ENVIRONMENT) python -m tests.fuzz.fuzz_parsers

lint: ## check the code (ruff, its formatter, mypy), the Dockerfile (hadolint) and the workflow (zizmor)
	@$(IN_ENVIRONMENT) python -m requirements.lint

format: ## let ruff format the code and mend what it can
	@$(IN_ENVIRONMENT) python -m requirements.lint --mend

image: ## build the container image with Docker, Podman or Buildah: PUSH=<registry and path>, GPU=0 without CUDA
	@python3 -m deploy.build_image --push "$(PUSH)"

bench: ## measure everything and write bench/out/results.json: BENCH=<conversion, transform, network, evaluation, serving or quality> for some
	@$(IN_ENVIRONMENT) python -m bench $(BENCH)

lock: ## compile the lock files anew; UPGRADE=1 takes the newest versions
	@python3 -m requirements.lock

check: ## say which environment is made here and what it lacks; GPU=0 and POINTNET_PYTHON=<path> change it
	@python3 requirements/environment.py check

clean: ## remove the environments and caches; results under out/ stay
	@rm -rf .venv .venv-newest .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile
