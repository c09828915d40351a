# The commands to remember. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test bench lint web services services-stop deny packages clean

# Where tools that had to be fetched are kept between clones. Build results stay in ./target unless
# CARGO_TARGET_DIR says otherwise (.ci/run puts them in the cache).
export AVL_CACHE ?= $(HOME)/.cache/avl
export PATH := $(AVL_CACHE)/tools/bin:$(HOME)/.cargo/bin:$(PATH)
# How long `make bench` watches what takes real time.
MINUTES ?= 10
# A real drive to count bytes of, where it is; a simulated one otherwise.
URBAN ?= $(or $(AVL_TEST_DATA),../shared/data/nmea)/urban-ublox-f9k-1hz.nmea
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
step := ./scripts/step.sh
# Who reads these docs works on the code: links to private items serve them.
DOCS := -D warnings -A rustdoc::private_intra_doc_links
node := ./scripts/with-node.sh

help: ## This list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make demo SERIAL=/dev/ttyACM0 [BAUD=9600]   a real GNSS receiver instead of the virtual one"
	@echo "  make demo NMEA=drive.nmea [SPEED=10]        a recorded log instead"

demo: ## Everything on this machine: cloud, a gateway with a receiver, 50 simulated vehicles, the live map
	@$(step) "what a build needs" ./scripts/setup.sh build
	@$(MAKE) --no-print-directory web
	@$(step) "programs (the first build takes some minutes)" cargo build --workspace --bins
	@echo
	@exec $(TARGET)/debug/avl-demo $(if $(SERIAL),--serial "$(SERIAL)" $(if $(BAUD),--baud $(BAUD))) \
		$(if $(NMEA),--nmea "$(NMEA)" $(if $(SPEED),--speed $(SPEED))) $(if $(VEHICLES),--vehicles $(VEHICLES)) \
		$(if $(DURATION),--duration $(DURATION))

test: ## All that CI runs: format, lints, unit, property and system tests, docs, the page, the browser
	@$(step) "what the tests need" ./scripts/setup.sh build test
	@$(MAKE) --no-print-directory lint web
	@$(step) "web unit tests" $(node) npm --prefix cloud/web test
	@$(step) "programs" cargo build --workspace --bins
	@$(step) "unit, property and system tests" $(node) cargo test --workspace --no-fail-fast
	@$(step) "alert rules" ./scripts/prometheus.sh check
	@$(step) "the gateway for ARM, emulated" ./cross/test.sh aarch64-unknown-linux-gnu
	@$(step) "its package" ./cross/deb.sh aarch64-unknown-linux-gnu
	@$(step) "installing it" ./cross/try-deb.sh artifacts/packages/avl-edge_*_arm64.deb
	@$(step) "docs" env RUSTDOCFLAGS="$(DOCS)" cargo doc --workspace --no-deps --document-private-items --quiet
	@$(step) "licences and bans" ./scripts/deny.sh
	@echo "all good; logs and pictures are in artifacts/"

lint: ## Format and lints only
	@$(step) "format" cargo fmt --all --check
	@$(step) "clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
	@$(step) "web packages" $(node) ./scripts/web-packages.sh
	@$(step) "web lint" $(node) npm --prefix cloud/web run lint

web: ## The page, built into cloud/web/dist (nothing to do when its sources have not changed)
	@$(step) "web page" $(node) ./scripts/web-build.sh

bench: ## Measures, and writes artifacts/bench.md
	@$(step) "what a build needs" ./scripts/setup.sh build
	@$(step) "the database to measure with" ./scripts/timescaledb.sh install
	@$(step) "criterion benches (optimised; the first build takes many minutes)" cargo bench --workspace --bench '*'
	@$(step) "optimised programs" cargo build --workspace --release --bins
	@$(step) "size of the gateway" ./cross/sizes.sh artifacts/bench/size.md
	@$(step) "footprint of the gateway ($(MINUTES) minutes)" env AVL_EDGE_PROGRAM="$$(realpath "$$(./cross/build.sh x86_64-unknown-linux-gnu)")" \
		$(TARGET)/release/avl-bench-footprint --minutes $(MINUTES) --out artifacts/bench/footprint.md
	@$(step) "the link: drain, and bytes per fix ($(MINUTES) minutes)" $(TARGET)/release/avl-bench-link --minutes $(MINUTES) $(addprefix --log ,$(wildcard $(URBAN))) --out artifacts/bench/link.md
	@$(step) "into TimescaleDB" $(TARGET)/release/avl-bench-database --out artifacts/bench/database.md
	@$(step) "idle connections" $(TARGET)/release/avl-bench-ingest connections --out artifacts/bench/connections.md
	@$(step) "report" $(TARGET)/release/avl-bench-report --criterion $(TARGET)/criterion --measured artifacts/bench --out artifacts/bench.md

services: ## Kafka and TimescaleDB on this machine for work by hand; `make services-stop` stops them
	@$(step) "what the services need" ./scripts/setup.sh build test
	@./scripts/services.sh start

services-stop:
	@./scripts/services.sh stop

deny: ## Licences, bans, sources and advisories; installs cargo-deny into the cache when it is not there
	@$(step) "cargo-deny" ./scripts/deny.sh --install
	@$(step) "advisories" cargo deny --log-level error check advisories

packages: ## Debian packages of the gateway for amd64, arm64 and armhf, in artifacts/packages
	@$(step) "what a build needs" ./scripts/setup.sh build
	@$(step) "packages (the first build takes many minutes)" ./cross/deb.sh

clean: ## Build results, not the cache
	cargo clean
	rm -rf cloud/web/dist cloud/web/node_modules artifacts
