# `make` lists what there is. Every target first sees to what it needs (scripts/setup.sh).

.PHONY: help demo test bench bench-peers bench-capture bench-matching bench-priority check fmt

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## run the demo; flags go in ARGS, as in: make demo ARGS="--for 20s"
	@scripts/setup.sh
	cargo run --release --locked -- demo $(ARGS)

test: ## run all tests
	@scripts/setup.sh test
	cargo test --locked

bench: ## measure Rowcall end to end: latency, drains, memory, and more
	@scripts/setup.sh
	cargo bench --locked --bench harness

bench-peers: ## the same work by Rowcall, by NOTIFY and by graphile-worker, as ratios
	@scripts/setup.sh peers
	mkdir -p target/bench/peers
	cp benches/peers/*.json benches/peers/*.mjs target/bench/peers
	npm ci --prefix target/bench/peers --no-audit --no-fund
	ROWCALL_BENCH_ONLY=peers cargo bench --locked --bench harness

bench-capture: ## measure what capture costs the writers
	@scripts/setup.sh
	cargo bench --locked --bench capture

bench-matching: ## measure how fast events find their subscriptions
	@scripts/setup.sh
	cargo bench --locked --bench matching

bench-priority: ## measure how soon what is fresh is sent beside a backlog
	@scripts/setup.sh
	cargo bench --locked --bench priority

check: ## check format, lints and, if cargo-deny is installed, licences and advisories
	@scripts/setup.sh
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check; \
	else echo "check: cargo-deny is not installed, deny.toml was not checked"; fi

fmt: ## format the code
	cargo fmt
