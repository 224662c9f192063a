# What a person does with this project: `make demo` shows the main job, `make test` passes everything,
# `make prove` goes on for half an hour to show that it holds whatever the timing.
#
# With RUSTC_BOOTSTRAP=1 (or on a nightly) the AWS SDK compiles in a third of the time, see CONTRIBUTING.md.

TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
PROGRAM := $(abspath $(TARGET_DIR))/$(HOST)/release/eip-claim
DEBUG := $(abspath $(TARGET_DIR))/$(HOST)/debug
VENV := $(abspath $(TARGET_DIR))/venv
export CARGO_TARGET_DIR := $(abspath $(TARGET_DIR))

.PHONY: build demo fakecloud test prove lint deny

build:
	cargo build --release

# The story: a zone fails, the replacement takes the address over, the stale instance yields.
demo: build fakecloud
	@$(DEBUG)/demo $(PROGRAM)

# The fake cloud that demonstration and tests run against.
fakecloud:
	cargo build --quiet --package fakecloud

# Everything, against the program that ships: the Rust tests; then what must hold whatever the timing, one at a time,
# since each keeps the machine busy, in three minutes; then the AWS CLI and boto3 as judges of the fake cloud,
# and Python's TLS, proxy and journal as the other end of the wire.
test: build fakecloud $(VENV)/.installed
	CLAIM_BINARY=$(PROGRAM) MOTO_SERVER=$(VENV)/bin/moto_server cargo test --workspace -- --skip prove::
	CLAIM_BINARY=$(PROGRAM) cargo test --test tests prove:: -- --test-threads=1 --show-output
	PROGRAM=$(PROGRAM) FAKECLOUD_BIN=$(DEBUG)/fakecloud $(VENV)/bin/pytest -q tests/judges tests/transport

# The same proofs to their full size; tests/prove/mod.rs says what they are. They print their figures.
prove: build
	PROPTEST_CASES=20000 cargo test --lib
	PROVE=full CLAIM_BINARY=$(PROGRAM) cargo test --test tests prove:: -- --test-threads=1 --nocapture

# The Python programs that the tests compare with, in an environment of their own.
$(VENV)/.installed: tests/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement $<
	touch $@

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Licences, sources and banned crates; deny.toml says which.
deny: $(CARGO_TARGET_DIR)/tools/bin/cargo-deny
	$< check bans licenses sources

# Built from outside this folder, whose cargo configuration is not meant for it.
$(CARGO_TARGET_DIR)/tools/bin/cargo-deny:
	cd / && env -u RUSTC_BOOTSTRAP CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/tools/build \
		cargo install --quiet --locked --root $(CARGO_TARGET_DIR)/tools cargo-deny@0.20.2
