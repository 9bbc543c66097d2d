# What people do with pgweir's sources. `make` alone lists it. Every target installs what it lacks through apt
# (scripts/setup), so that a fresh Debian machine with rustup needs nothing else first.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# rustup's directory is on a login shell's path only.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Arguments for the program that demo, bench and bench-instructions run: make demo ARGS="--port 7000"
ARGS ?=

# Under CI the lock file is the law; at a desk cargo may bring it up to date.
LOCKED := $(if $(CI),--locked)

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
PGWEIR := $(TARGET_DIR)/release/pgweir
RELEASE := cargo build --release --package pgweir $(LOCKED)

DENY_VERSION := 0.20.2
DENY_ROOT := $(TARGET_DIR)/tools/cargo-deny-$(DENY_VERSION)
DENY := $(DENY_ROOT)/bin/cargo-deny

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run a primary, two replicas and pgweir in front of them, until Ctrl-C
	@scripts/setup build servers
	$(RELEASE)
	@exec $(PGWEIR) demo $(ARGS)

.PHONY: build
build: ## Build the release binary
	@scripts/setup build
	$(RELEASE)

.PHONY: test
test: ## Run every test, against real PostgreSQL servers
	@scripts/setup build servers
	@scripts/setup drivers || echo 'The tests of the drivers that are missing will be SKIPPED.' >&2
	RUST_BACKTRACE=1 cargo test --workspace $(LOCKED)

.PHONY: check
check: lint deny test ## Everything that must hold before a change goes in

.PHONY: lint
lint: ## Check the formatting, and let clippy judge
	cargo fmt --all --check
	@scripts/setup build
	cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings

.PHONY: docs
docs: ## Bring the generated parts of the documents up to date: keys, metrics, settings of PgBouncer's
	@scripts/setup build servers
	cargo run --quiet --package pgweir $(LOCKED) -- config > configs/pgweir.toml
	PGWEIR_DOCS=write cargo test --quiet --package pgweir --test documents $(LOCKED)
	PGWEIR_DOCS=write cargo test --quiet --package pgweir --test e2e $(LOCKED) the_page_on_metrics

.PHONY: fmt
fmt: ## Format the sources
	cargo fmt --all

.PHONY: deny
deny: $(DENY) ## Check the dependencies: licences, origins, unwanted crates (no network)
	cargo fetch --locked
	$(DENY) --offline --locked check --hide-inclusion-graph bans licenses sources

.PHONY: audit
audit: $(DENY) ## Check the dependencies against the advisory database (needs github.com)
	$(DENY) --locked check advisories

# cargo-deny is a tool, run once a check: built without optimisation it takes a minute instead of several.
$(DENY):
	@scripts/setup build
	CARGO_TARGET_DIR=$(DENY_ROOT)/build CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
	cargo install cargo-deny --version $(DENY_VERSION) --locked --root $(DENY_ROOT)
	rm -rf $(DENY_ROOT)/build

.PHONY: bench
bench: ## Measure pgweir beside PgBouncer and a direct connection (some seven minutes)
	@scripts/setup build servers bench
	$(RELEASE)
	python3 tests/bench/bench.py --pgweir $(PGWEIR) $(ARGS)

.PHONY: bench-instructions
bench-instructions: ## Count user instructions per query with callgrind (slow, steady)
	@scripts/setup build servers bench instructions
	$(RELEASE)
	python3 tests/bench/instructions.py --pgweir $(PGWEIR) $(ARGS)

.PHONY: regress
regress: ## Run PostgreSQL's own regression suite through pgweir, and straight, and compare
	@scripts/setup build servers
	$(RELEASE)
	python3 tests/regress/regress.py --pgweir $(PGWEIR) $(ARGS)

.PHONY: reload
reload: ## Change the configuration a thousand times under load (some minutes)
	@scripts/setup build servers
	PGWEIR_E2E_FULL=1 cargo test --package pgweir --test e2e $(LOCKED) reload_load:: -- --nocapture --test-threads 1

.PHONY: drivers
drivers: ## Let real drivers work through pgweir for long, in every version that is installed
	@scripts/setup build servers drivers newest languages
	PGWEIR_E2E_FULL=1 cargo test --package pgweir --test e2e $(LOCKED) drivers:: -- --include-ignored --test-threads 1

.PHONY: simulation
simulation: ## Play thousands of histories of servers and clients in virtual time
	@scripts/setup build
	PROPTEST_CASES=$${PROPTEST_CASES:-5000} cargo test --release --package pgweir-pool --lib $(LOCKED) simulation -- --nocapture

.PHONY: chaos
chaos: ## Kill, stop, promote and cut off servers under load, for ten minutes
	@scripts/setup build servers
	PGWEIR_CHAOS_SECONDS=$${PGWEIR_CHAOS_SECONDS:-600} cargo test --package pgweir --test chaos $(LOCKED) -- --nocapture --test-threads 1

.PHONY: deploy
deploy: ## Check what is in deploy/ with every tool: manifests, chart, alerts, dashboard, unit
	@scripts/setup build deploy
	cargo build --package pgweir $(LOCKED)
	PGWEIR_DEPLOY_FULL=1 /usr/bin/python3 tests/deploy/check.py $(TARGET_DIR)/debug/pgweir

.PHONY: consistency
consistency: ## Write and read a hundred thousand times while replicas stop and lag, and look for stale reads
	@scripts/setup build servers
	PGWEIR_E2E_FULL=1 cargo test --package pgweir --test e2e $(LOCKED) pairs:: -- --test-threads 1

.PHONY: oracle
oracle: ## Let a hot standby judge how PostgreSQL's own regression SQL is labelled, and strangers try (half an hour)
	@scripts/setup build servers
	PGWEIR_E2E_FULL=1 cargo test --package pgweir --test e2e $(LOCKED) strangers:: -- --nocapture
	python3 tests/oracle/oracle.py $(ARGS)

.PHONY: clean
clean: ## Remove everything that was built
	cargo clean
