# Veza chat server. Needs Linux and Rust; what the tests need besides is installed by .ci/tools where it is missing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
CARGO ?= cargo
# One target folder for everything; CARGO_TARGET_DIR moves it.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: all run build test rust-test sim-test fuzz browser-test lint bench conformance clean

all: build

# The server on the bundled database in ./data. Its last line says where to open it.
run: build
	@exec "$(TARGET)/release/chat-server"

build:
	$(CARGO) build --release --workspace --bin chat-server

# Everything: units, both stores, faults, simulator, browser.
test: rust-test sim-test browser-test

rust-test:
	.ci/tools postgresql prometheus
	$(CARGO) test --workspace --exclude veza-sim

# The guarantees, checked after every step in virtual time, with fixed seeds: a red run is red again.
sim-test:
	$(CARGO) test -p veza-sim -- --nocapture

# Seeds that nobody has run before, as many as an hour has; the first violation ends it.
fuzz:
	$(CARGO) build --release -p veza-sim
	"$(TARGET)/release/veza-sim" --seed $$(date +%s%N) --seeds 100000 --steps 10000

browser-test:
	.ci/tools node chromium
	$(CARGO) build --workspace --bin chat-server
	cd loadtest/browser && npm ci --no-audit --no-fund
	cd loadtest/browser && node --test client.test.mjs model.test.mjs
	cd loadtest/browser && node browser-test.mjs --server "$(abspath $(TARGET))/debug/chat-server"

lint:
	.ci/tools rust
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# The engine's parts, then the table of the whole: the server on core 0, load and database on core 1. Takes half an hour
# on a machine that does nothing else. A missed figure fails it; ROWS=1,3 makes only these.
bench:
	.ci/tools postgresql valgrind
	$(CARGO) bench -p veza-benches
	$(CARGO) build --release --workspace --bin chat-server --bin veza-loadtest --bin mesh-cost
	"$(TARGET)/release/veza-loadtest" bench --json "$(TARGET)/bench.json" $(if $(ROWS),--rows $(ROWS))

# The Autobahn suite against /echo; wants a Python 2.7 (see loadtest/conformance/run.sh).
conformance:
	loadtest/conformance/run.sh

clean:
	$(CARGO) clean
