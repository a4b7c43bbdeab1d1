# Run through ./dev, which provides the tools.

set positional-arguments

# The demo and the tests find each other's programs there.
export CARGO_TARGET_DIR := justfile_directory() / "target"

# Tests wait more than they compute: for timeouts, for brokers and gateways to start, for a cluster that another one breaks.
export RUST_TEST_THREADS := env("RUST_TEST_THREADS", shell("echo $((4 * $(nproc)))"))

# One build for demo, tests and simulation: with the librdkafka that `./dev` has fetched, which programs and tests find from their own
# folders, and with Tokio's flag to repeat what it draws by chance. Recipes for what ships set their own flags.
export PKG_CONFIG := justfile_directory() / "target/tools/librdkafka/pkg-config"
export RUSTFLAGS := "--cfg tokio_unstable -Clink-arg=-Wl,-rpath,$ORIGIN/../tools/librdkafka -Clink-arg=-Wl,-rpath,$ORIGIN/../../tools/librdkafka"
dev := "--no-default-features --features sluicegate-bridge/shared-librdkafka,sluicegate-bridge/testing,sluicegate-client/testing"

# Programs that are released name no folder of this machine.
remap := "--remap-path-prefix=" + justfile_directory() + "=/sluicegate --remap-path-prefix=" + env("CARGO_HOME", home_directory() / ".cargo") + "=/cargo"

# Releases, and licences of what is linked besides crates.
zig := `echo "$PWD"/target/tools/venv/lib/python3*/site-packages/ziglang`
contents := "--architectures amd64 --notice 'musl (MIT)='" + quote(zig / "lib/libc/musl/COPYRIGHT") + " --notice 'zig (MIT)='" + quote(zig / "LICENSE")

# list the recipes
_default:
    @just --list --unsorted

# start everything on this machine and try it: see `./dev demo --help`
demo *args: _demo-programs
    @cd {{ quote(invocation_directory()) }} && exec {{ quote(justfile_directory() / "target/debug/demo") }} "$@"

[parallel]
_demo-programs: wasm web _programs

_programs:
    cargo build {{ dev }} -p sluicegate-demo -p sluicegate-bridge -p sluicegate-cli --bin demo --bin sluicegate-bridge --bin sluicegate

# each promise once, in every way in that differs: units, the filter, the client for browsers, the simulation, end to end on a real Envoy and a real Kafka
test: _built
    just _servers _tests

[parallel]
_built: wasm web _all-programs _browser

# At once, so that no core waits for the other's crate.
_all-programs:
    cargo build --workspace {{ dev }} --tests --bin demo --bin sluicegate-bridge --bin sluicegate

[parallel]
_tests: _native _pages

# Those of the pages are done while the first units run.
_native:
    cargo test --workspace {{ dev }} --tests --no-run --message-format=json 2>/dev/null | target/tools/venv/bin/python -B lab/harness/programs.py

_pages:
    npm test --silent -w sluicegate -w browser-tests -w login

# Waits for the servers that `./dev` installs while it builds.
_servers:
    @flock target/tools/servers.lock [ -e target/tools/servers.stamp ] || { echo "the servers of the tests are not installed" >&2; exit 1; }

# the whole matrix: before a release, and each week
test-all:
    SLUICEGATE_FULL=1 PROPTEST_CASES=256 just test relay checkers older-kafka 4.2 older-kafka 3.9 apicurio unit-on-wasm32

# run COUNT schedules of the simulation from SEED on, and tell which break a promise; `1 SEED --trace` prints the events of one
simulate *args:
    cargo run --workspace {{ dev }} --profile simulation --target-dir target/simulation --bin simulate -- "$@"

# everything that a change must pass
ci: lint doc test

# format the sources: Rust, TypeScript and the pages
fmt: _packages
    cargo fmt --all
    node_modules/.bin/biome check --write --linter-enabled=false

# check the format, TypeScript and pages with Biome, dependencies with deny.toml, and clippy on the native workspace and on WebAssembly
lint: _packages
    cargo fmt --all -- --check
    node_modules/.bin/biome check --error-on-warnings
    cargo clippy --workspace {{ dev }} --all-targets -- -D warnings
    RUSTFLAGS= cargo clippy -p sluicegate-filter --target wasm32-wasip1 -- -D warnings
    cargo deny --log-level error check bans licenses sources
    target/tools/venv/bin/python -B lab/bench/pictures.py --check

# look for security advisories of dependencies; it fetches RustSec's database from GitHub, so that lint and CI go without
advisories:
    cargo deny check advisories

# tell which pinned parts have newer versions in their registries
outdated: _packages
    @target/tools/venv/bin/python -B lab/harness/outdated.py

# build the documentation
doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace {{ dev }} --no-deps

# build the filter
wasm:
    RUSTFLAGS={{ quote(remap) }} cargo build -p sluicegate-filter --target wasm32-wasip1 --profile wasm

# build the client for browsers, and the demo's page
web: _packages
    #!/bin/sh
    set -e
    exec 9>target/tools/packages.lock && flock 9
    # Pages that an Envoy is serving stay as they are, unless a source is newer.
    page=examples/live-page/dist/page.js client=clients/typescript/dist/sluicegate.min.js
    sources="proto clients/typescript examples/live-page node_modules/.package-lock.json"
    if [ -e $page ] && [ -e $client ] && [ -z "$(find $sources -newer $page -not -path '*/dist*' -not -path '*/generated*' -not -name '*.tsbuildinfo' -print -quit)" ]; then exit; fi
    npm run --silent build -w sluicegate -w live-page

# One at a time. `npm ci` writes the newer file last. `npm ls` fails if a package is missing, as after `npm ci` in one workspace.
_packages:
    #!/bin/sh
    exec 9>target/tools/packages.lock && flock 9
    if [ ! node_modules/.package-lock.json -nt package-lock.json ] || ! npm ls --all >/dev/null 2>&1; then
        echo "fetching the packages of package-lock.json" >&2
        npm ci --no-audit --no-fund --loglevel=error || { echo "npm could not fetch the packages" >&2; exit 1; }
    fi

_browser: _packages
    @flock target/tools/packages.lock node lab/e2e/browser/install.ts

# end to end only; arguments go to the tests: `./dev e2e demo`
e2e *args: wasm web _browser _demo-programs _servers
    cargo test --workspace {{ dev }} --test e2e -- "$@"

# follow a topic across drains with other people's libraries for Go, Java, Node and Python, by the programs of examples/follow
programs: wasm _packages _demo-programs _servers
    SLUICEGATE_FULL=1 cargo test --workspace {{ dev }} --test e2e -- programs_

# end-to-end tests that `test` runs in the profile `tunnel` alone, in the other one
relay: wasm _demo-programs _servers
    cargo test --workspace {{ dev }} --test e2e -- --ignored relay::

# the tests that need the machine alone; arguments go to the tests: `./dev alone churn`
alone *args: wasm _demo-programs _servers
    cargo test --workspace {{ dev }} --test alone -- "$@"

# read, write and subscribe end to end on an older Kafka, 4.2 or 3.9, in one profile
older-kafka version: wasm _demo-programs _servers
    SLUICEGATE_KAFKA_VERSION={{ quote(version) }} SLUICEGATE_KAFKA_LIB={{ quote(justfile_directory() / "target/tools/kafka-" + version + "/lib") }} cargo test --workspace {{ dev }} --test e2e -- reading:: groups:: writing::records:: writing::repeated:: live::delivery::tunnel:: live::checker::every_subscriber_gets_every_record_once tables::snapshots:: --skip relay:: --skip nginx:: --skip direct::

# values of Confluent's serializers, with their schemas in Apicurio's registry
apicurio: _servers
    SLUICEGATE_APICURIO={{ quote(justfile_directory() / "target/tools/apicurio") }} cargo test --workspace {{ dev }} --test e2e -- serializers::

# plain HTTP, sessions and identities on the oldest supported Envoy, which does not tell whether it verified a certificate
older-envoy: wasm _demo-programs _servers
    SLUICEGATE_ENVOY=$(echo {{ quote(justfile_directory()) }}/target/tools/envoy-oldest/lib/python3*/site-packages/envoy/_bin/envoy) cargo test --workspace {{ dev }} --test e2e -- http:: sessions:: identity:: --skip apisix:: --skip nginx:: --skip direct:: --skip certificates:: --skip browsers::

# streams and writes on the oldest supported nats-server, alone and through a gateway
older-nats: wasm _demo-programs _servers
    SLUICEGATE_NATS={{ quote(justfile_directory() / "target/tools/nats-oldest/bin/nats-server") }} cargo test --workspace {{ dev }} --lib -- tests::changes tests::outages tests::reads tests::secured tests::waits tests::walks tests::writes
    SLUICEGATE_NATS={{ quote(justfile_directory() / "target/tools/nats-oldest/bin/nats-server") }} cargo test --workspace {{ dev }} --test e2e -- of_streams openapi asyncapi messages_are_written --skip relay:: --skip nginx:: --skip direct::

# an older filter with this bridge, and this filter with an older bridge; REF is by default the last release, or the commit before this one
compatibility ref="": wasm _servers
    #!/usr/bin/env bash
    set -euo pipefail
    ref=$1 older=$CARGO_TARGET_DIR/older
    : "${ref:=$(git describe --tags --abbrev=0 2>/dev/null || git rev-parse HEAD~1)}"
    rm -rf "$older/source" && mkdir -p "$older/source"
    git archive "$ref" | tar -xm -C "$older/source"
    (
        cd "$older/source"
        # Another patch version: cargo would take the crates of one for those of the other.
        sed -i '0,/^version = /s/^\(version = ".*\.\)[0-9]*"/\165535"/' Cargo.toml
        # The bridge shares the build of its dependencies. The filter does not: its file would replace this one's.
        unset PKG_CONFIG RUSTFLAGS
        CARGO_BUILD_BUILD_DIR=$CARGO_TARGET_DIR CARGO_TARGET_DIR=$older cargo build -p sluicegate-bridge
        CARGO_TARGET_DIR=$older cargo build -p sluicegate-filter --target wasm32-wasip1 --profile wasm
    )
    just _demo-programs
    check() { cargo test -q --workspace {{ dev }} --test e2e -- each_use --include-ignored --nocapture --test-threads=1; }
    echo "the filter of $ref with this bridge:"
    SLUICEGATE_FILTER=$older/wasm32-wasip1/wasm/sluicegate_filter.wasm check
    echo "this filter with the bridge of $ref:"
    SLUICEGATE_BRIDGE=$older/debug/sluicegate-bridge check

# the unit tests of crates without I/O, on 32 bits and without an operating system, in Node
unit-on-wasm32:
    RUSTFLAGS= CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=wasm-bindgen-test-runner cargo test -p sluicegate-ws-session -p sluicegate-protocol -p sluicegate-fair-share -p sluicegate-rights --lib --target wasm32-unknown-unknown

# throughput and latency beside a bare librdkafka, with and without TLS and SASL, and beside NATS; and memory: see `./dev bench --help`
bench *args: wasm _servers
    RUSTFLAGS='-Clink-arg=-Wl,-rpath,$ORIGIN/../tools/librdkafka' cargo build --release --no-default-features --features sluicegate-bridge/shared-librdkafka -p sluicegate-bench -p sluicegate-bridge --bins
    @exec target/release/bench "$@"

# the CPU of a page in a browser that loops over records, beside the NATS project's client
bench-page *args: wasm web _browser
    @just bench --only live --scenarios page "$@"

# render the saved figures of the benchmark into the pictures and tables of the documentation
pictures:
    @target/tools/venv/bin/python -B lab/bench/pictures.py

# the images of bridge and filter, as OCI archives in target/images: no daemon, no root
image: _static
    rm -rf target/images
    cargo run -q -p sluicegate-release -- images {{ contents }} target/images
    @ls -l target/images

# run the bridge from its image, in podman: locked down, over TLS to a real Kafka
image-test: image _servers
    cargo test --workspace {{ dev }} --test image -- "$PWD"/target/images/sluicegate-bridge-image-*.oci.tar

# all files of a release, with checksums and notes, in target/release-artefacts
release version: _packages
    cargo run -q -p sluicegate-release -- check {{ quote(version) }}
    just _static web
    rm -rf target/release-artefacts
    cargo run -q -p sluicegate-release -- pack {{ contents }} target/release-artefacts
    npm pack --silent -w sluicegate --pack-destination target/release-artefacts
    cargo run -q -p sluicegate-release -- sums target/release-artefacts
    @cat target/release-artefacts/SHA256SUMS

# Without folders of this machine, and with the time of the commit: nothing else may differ between two builds. librdkafka's build knows
# CC and CXX only; without them it would take this machine's compiler, whose C library is not musl, and its libraries.
_static: wasm
    PATH={{ quote(justfile_directory() / "deploy/release/bin") }}:$PATH CC=musl-cc CXX=musl-c++ HOST_CC=cc HOST_CXX=c++ PKG_CONFIG=pkg-config PKG_CONFIG_LIBDIR=/none CC_x86_64_unknown_linux_musl=musl-cc SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) SLUICEGATE_REVISION=$(git rev-parse HEAD) \
        RUSTFLAGS={{ quote(remap) }} cargo zigbuild --locked --profile dist --target x86_64-unknown-linux-musl -p sluicegate-bridge -p sluicegate-cli

# each way in and up to six kinds of clients, for hours; with --live, outages of everything; with --page, the live page's memory
soak *args: wasm web _browser _servers
    cargo build {{ dev }} -p sluicegate-soak -p sluicegate-bridge -p sluicegate-cli --bins
    @exec target/debug/soak "$@"

# members of groups, and subscribers of Kafka whose records are discarded, while bridges, Envoy and brokers are killed
checkers: wasm _demo-programs _servers
    SLUICEGATE_FULL=1 cargo test --workspace {{ dev }} --test e2e -- checker:: --ignored --nocapture

# rounds of 1,000 clients that come and go: no memory, session or descriptor may stay
churn rounds="100":
    SLUICEGATE_FULL=1 SLUICEGATE_CHURN_ROUNDS={{rounds}} just alone come_and_go --nocapture

# random logs, read through three bridges and by librdkafka, and compared; a failure names its seed
differential rounds="100" seed=`date +%s`:
    SLUICEGATE_FULL=1 SLUICEGATE_DIFFERENTIAL_ROUNDS={{rounds}} SLUICEGATE_DIFFERENTIAL_SEED={{seed}} just e2e differential --nocapture

# libFuzzer on a decoder of foreign bytes, beginning with its corpus: `./dev fuzz event_ids -runs=1000000`; on each: `all`; on one input: `./dev fuzz event_ids FILE`
fuzz target *args:
    #!/usr/bin/env bash
    set -euo pipefail
    targets=("$1")
    if [ "$1" = all ]; then targets=($(ls lab/fuzz/corpus)); fi
    if [ ! -d "lab/fuzz/corpus/${targets[0]}" ]; then
        echo "fuzz: no target $1: expected all or one of" $(ls lab/fuzz/corpus) >&2
        exit 2
    fi
    library={{ quote(justfile_directory() / "target/tools/librdkafka") }}
    host=$(rustc -vV | sed -n 's/^host: //p')
    # With a target, build scripts do not get the flags. The filter's host reads its counters of edges, and nothing else.
    counters() { echo "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=$1 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"; }
    RUSTFLAGS="$(counters 3) -Clink-arg=--allow-undefined" cargo build --profile wasm --target-dir target/fuzz --target wasm32-wasip1 -p sluicegate-filter
    export RUSTFLAGS="$(counters 4) -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
    export PKG_CONFIG="$library/pkg-config" LD_LIBRARY_PATH="$library"
    cargo build --profile simulation --target-dir target/fuzz --target "$host" -p sluicegate-fuzz --features libfuzzer
    export SLUICEGATE_FILTER=target/fuzz/wasm32-wasip1/wasm/sluicegate_filter.wasm
    failed=()
    for target in "${targets[@]}"; do
        echo "fuzz: $target" >&2
        found=target/fuzz/found/$target
        mkdir -p "$found/inputs"
        inputs=("$found/inputs" "lab/fuzz/corpus/$target")
        if [ -f "${2-}" ]; then inputs=(); fi
        SLUICEGATE_FUZZ_TARGET=$target "target/fuzz/$host/simulation/fuzz" -artifact_prefix="$found/" -timeout=5 "${inputs[@]}" "${@:2}" || failed+=("$target")
    done
    if [ "${#failed[@]}" -gt 0 ]; then
        echo "fuzz: ${failed[*]} failed; the input is in target/fuzz/found" >&2
        exit 1
    fi

# lint the Helm chart, render it, validate the objects by Kubernetes' schemas, and compare with the committed renderings, or --update them
chart *args:
    @target/tools/venv/bin/python -B lab/e2e/kubernetes/chart.py "$@"

# install the Helm chart and the examples into a real kube-apiserver, which takes minutes to build
chart-install:
    @target/tools/venv/bin/python -B lab/e2e/kubernetes/install.py

# run the example for Envoy Gateway on the real one, which takes minutes to build
envoy-gateway: _demo-programs
    @target/tools/venv/bin/python -B lab/e2e/kubernetes/envoy_gateway.py

# the conformance suite of Durable Streams on NATS, and a thousand readers of a stream behind Varnish
streams: wasm _demo-programs _servers
    cargo test --workspace {{ dev }} --test e2e -- --ignored conformance:: streams::

# test the alert rules of deploy/prometheus in promtool
alerts:
    promtool check rules deploy/prometheus/alerts.yaml
    promtool test rules deploy/prometheus/alerts.test.yaml

# generate the protobuf code from proto/, and the reference pages from the code
gen: _packages
    SLUICEGATE_GEN=1 cargo test --workspace {{ dev }} --lib contract::
    SLUICEGATE_GEN=1 cargo test --workspace {{ dev }} --lib reference_
    SLUICEGATE_GEN=1 cargo test --workspace {{ dev }} --bin sluicegate page
    npm run reference -w sluicegate
    just web
    SLUICEGATE_GEN=1 cargo test --workspace {{ dev }} --test e2e compose::envoy
