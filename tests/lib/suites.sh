# shellcheck shell=bash
# The suites of the host; device.sh and e2e.sh hold the other two. Sourced by tests/run.

BARE_METAL=(thumbv7em-none-eabihf thumbv6m-none-eabi riscv32imac-unknown-none-elf aarch64-unknown-none)

has_crate() { # NAME
    cargo metadata --no-deps --format-version 1 2>/dev/null | grep -q "\"name\":\"$1\",\"version\""
}

# Whatever there is, with the simulator's features: what it shares with the other crates is built once for all of them. (The crates
# that build tract in a run of their own would build the sdk, the server and the simulator once more.)
EVERYTHING=(--workspace --features siskin-simulator/full)

suite_fmt() {
    need cargo-fmt rustfmt || return 0
    check "workspace" cargo fmt --all --check -- --color never
    # By package: `--all` would follow the path dependency into the workspace above, and show its faults twice.
    check "tests/device" cargo fmt --check --manifest-path tests/device/Cargo.toml -p siskin-device-cases \
        -p siskin-device-host -p siskin-device-board -p siskin-device-cortex-m -p siskin-device-riscv -p siskin-device-round -- --color never
    if [[ -f tests/fuzz/Cargo.toml ]]; then
        check "tests/fuzz" cargo fmt --check --manifest-path tests/fuzz/Cargo.toml -- --color never
    fi
}

suite_lint() {
    need cargo-clippy rust-clippy || return 0
    check "workspace" cargo clippy "${EVERYTHING[@]}" --all-targets -- -D warnings
    # What stands in for the features that it has above.
    check "simulator: default" cargo clippy -p siskin-simulator --all-targets -- -D warnings
    # The library alone: its tests would build the test crates' dependencies once more for each feature.
    # Each feature alone is built by `features`; together they are everything that clippy can look at.
    check "sdk with defmt,log" cargo clippy -p siskin --lib --features full,flash,layered,fisher,defmt,log -- -D warnings
    check "tests/device on the host" cargo clippy --manifest-path tests/device/Cargo.toml -p siskin-device-cases \
        -p siskin-device-host --all-targets -- -D warnings
    check "shell syntax" shell_syntax
}

shell_syntax() {
    local file
    for file in tests/run tests/lib/*.sh tests/c/run.sh .ci/run; do
        bash -n "$file" || return 1
        [[ $file == tests/lib/* || -x $file ]] || { echo "$file is not executable"; return 1; }
    done
}

suite_doc() {
    check "pages" env RUSTDOCFLAGS="-D warnings" cargo doc "${EVERYTHING[@]}" --no-deps
    cargo_tests "documentation tests" "${EVERYTHING[@]}" --doc
}

suite_unit() {
    cargo_tests "debug" "${EVERYTHING[@]}" --lib --bins --tests
}

suite_release() {
    local crate crates=()
    for crate in siskin siskin-ffi siskin-accounting siskin-server siskin-host-tests; do
        has_crate "$crate" && crates+=(-p "$crate")
    done
    # The features that the simulator has too, so that the sdk is built once for both.
    cargo_tests "release" --release "${crates[@]}" --features siskin/deep,siskin/fisher --lib --bins --tests
}

# Programs with `defmt` need a device's logger to link, so on the host that feature is only checked.
suite_features() {
    local features
    local parts
    parts=$(awk '/^full = \[/ { on = 1; next } on && /^\]/ { exit } on' sdk/Cargo.toml | tr -cd 'a-z, ' | tr ',' ' ')
    for features in "" defmt log defmt,log deep flash layered fisher full full,deep,defmt,log $parts; do
        check "sdk: ${features:-default}" cargo check -p siskin --no-default-features --features "$features"
    done
}

# Nothing but `core` is there: what reached for `std` would not find it. That machine code comes of it is seen once, on the smallest
# target (no compare-and-swap, no FPU) and with the log crates; `device` links and runs it on the others.
suite_no_std() {
    need_targets "${BARE_METAL[@]}" || return 0
    local triple
    for triple in "${BARE_METAL[@]}"; do
        check "$triple" cross_cargo check "$triple" --release -p siskin --lib --features full,flash,layered,fisher
    done
    check "thumbv6m-none-eabi, defmt and log" \
        cross_cargo build thumbv6m-none-eabi --release -p siskin --lib --features full,flash,layered,fisher,defmt,log
}

# Tests and library by the same selection: for another one the features of what both build upon would differ, and the sdk be built again.
FOR_AARCH64=(-p siskin -p siskin-ffi --features siskin/log)

# The sdk's tests, with `log` and kernels with NEON among them, as a Linux program for AArch64 under QEMU's user mode; on AArch64
# itself as they are. That they ran there, and with NEON, is what one of them says: a log without it fails.
suite_aarch64() {
    local triple=aarch64-unknown-linux-gnu proof=model::kernel::tests::registers::on_aarch64_the_registers_are_those_of_neon
    if [[ $(rustc -vV | awk '/^host:/ { print $2 }') != "$triple" ]]; then
        need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu || return 0
        need_file /usr/aarch64-linux-gnu/lib/Scrt1.o libc6-dev-arm64-cross || return 0
        need qemu-aarch64 qemu-user || return 0
        need_std "$triple" || return 0
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
    fi
    cargo_tests "sdk with log" --target "$triple" "${FOR_AARCH64[@]}" --lib
    check "that was AArch64, with NEON" grep -Fx "test $proof ... ok" "$LOG"
    # The cases that boards run too, by the same kernels as the sdk's tests.
    program "cases of all targets" cases_on_aarch64 "$LOG_DIR/aarch64-cases.out" "$triple"
    check "cases of all targets: digests" same_digests "$VECTORS" "$LOG_DIR/aarch64-cases.out"
    if [[ -x tests/c/run.sh ]]; then
        need "${CC:-gcc}" gcc || return 0
        program "a C program with the static library" c_on_aarch64 "$triple"
    fi
}

cases_on_aarch64() { # OUTPUT TRIPLE
    cargo run --quiet --release --target "$2" --manifest-path tests/device/Cargo.toml -p siskin-device-host >"$1" || { cat -- "$1"; return 1; }
    cat -- "$1"
    grep -qFx 'instructions: neon=true' "$1" && grep -q '^target board=host arch=aarch64 pointer_width=64 ' "$1"
}

# tests/c/round.c for AArch64 and for this machine, against the same server: both must pass, with the same report. (qemu-aarch64 runs
# nothing but programs for AArch64.)
c_on_aarch64() { # TRIPLE
    local out=$TARGET_DIR/test-c flags=(-std=c99 -Wall -Wextra -Wpedantic -Werror -O1 -I ffi/include) libs=(-lpthread -ldl -lm) cross=()
    export SISKIN_TEST_SERVER=$TARGET_DIR/release/siskin-test-server
    mkdir -p -- "$out"
    cargo build --release -p siskin-ffi -p siskin-test-server && cargo build --target "$1" "${FOR_AARCH64[@]}" --lib --tests || return 1
    [[ -z ${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER:-} ]] || cross=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
    "${CC:-gcc}" "${flags[@]}" tests/c/round.c "$TARGET_DIR/release/libsiskin_ffi.a" "${libs[@]}" -o "$out/round-here" &&
        "${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER:-gcc}" "${flags[@]}" tests/c/round.c "$TARGET_DIR/$1/debug/libsiskin_ffi.a" \
            "${libs[@]}" -o "$out/round-aarch64" || return 1
    "$out/round-here" >"$out/here.txt" 2>&1 || { cat -- "$out/here.txt"; return 1; }
    timeout 300 "${cross[@]}" "$out/round-aarch64" >"$out/aarch64.txt" 2>&1 || { cat -- "$out/aarch64.txt"; return 1; }
    # Two programs that say nothing of their reports would be alike too.
    grep -qE '^report of ' "$out/here.txt" || { cat -- "$out/here.txt"; return 1; }
    diff <(grep -E '^report of ' "$out/here.txt") <(grep -E '^report of ' "$out/aarch64.txt") || return 1
    cat -- "$out/aarch64.txt"
}

suite_examples() {
    local manifest dir name found=no
    for manifest in */Cargo.toml simulator/*/Cargo.toml; do
        dir=$(dirname -- "$manifest")
        for name in "$dir"/examples/*.rs "$dir"/examples/*/main.rs; do
            [[ -f $name ]] || continue
            found=yes
            [[ $name == */main.rs ]] && name=$(dirname -- "$name")
            name=$(basename -- "$name" .rs)
            check "$dir: $name" in_scratch cargo run --release --manifest-path "$ROOT/$manifest" --example "$name"
        done
    done
    [[ $found == yes ]] || absent "no examples"
}

# Runs a command in an empty folder, so that what it writes does not land in the sources.
in_scratch() {
    local scratch code=0
    scratch=$(mktemp -d)
    (cd -- "$scratch" && timeout --kill-after=10 "${SISKIN_STEP_SECONDS:-1800}" "$@") || code=$?
    rm -rf -- "$scratch"
    return "$code"
}

# Each tests/c/*.c is a program of its own. It prints `N passed, N failed`, or its exit code alone counts as one test.
suite_c() {
    if [[ ! -x tests/c/run.sh ]]; then absent "no tests/c"; return 0; fi
    need "${CC:-gcc}" gcc || return 0
    program "tests/c" env CARGO_TARGET_DIR="$TARGET_DIR" tests/c/run.sh
}

# libFuzzer on the stable compiler, without cargo-fuzz: coverage counters come from LLVM's own pass, which stable `-C` options
# switch on, and libfuzzer-sys brings the engine (C++, so g++ is needed). AddressSanitizer is one more, unstable, option:
# RUSTC_BOOTSTRAP=1 unlocks it, and rustup's stable toolchain ships its runtime. An explicit --target keeps the options away
# from build scripts. tests/fuzz is a crate of its own: one [[bin]] a target in fuzz_targets/, seeds in seeds/TARGET/.
suite_fuzz() {
    if [[ ! -f tests/fuzz/Cargo.toml ]]; then
        absent "no tests/fuzz"
        return 0
    fi
    need "${CXX:-g++}" g++ || return 0
    local host flags file name
    host=$(rustc -vV | awk '/^host:/ { print $2 }')
    flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
    flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
    flags+=" -Cdebug-assertions --cfg fuzzing"
    [[ ${SISKIN_FUZZ_SANITIZER:-address} == address ]] && flags+=" -Zsanitizer=address"
    if ! capture env RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" CARGO_TARGET_DIR="$TARGET_DIR/fuzz" \
        cargo build --release --manifest-path tests/fuzz/Cargo.toml --target "$host"; then
        show_failure "tests/fuzz" 1 0
        fail "tests/fuzz" "does not build"
        return 0
    fi
    # Side by side, one a core: each has its own seconds, and they do not wait for each other.
    local results
    results=$(mktemp -d)
    export -f fuzz_one
    export TARGET_DIR LOG_DIR
    for file in tests/fuzz/fuzz_targets/*.rs; do basename -- "$file" .rs; done |
        xargs -P "$(nproc)" -I NAME bash -c \
            'code=0; fuzz_one "$1" "$2" >"$3/$1" 2>&1 || code=$?; echo "$code" >"$3/$1.code"' \
            fuzz NAME "$TARGET_DIR/fuzz/$host/release/NAME" "$results"
    for file in tests/fuzz/fuzz_targets/*.rs; do
        name=$(basename -- "$file" .rs)
        check "$name" fuzz_result "$results/$name"
    done
    rm -rf -- "$results"
}

# What a run printed, and its exit code; a run that left none has failed.
fuzz_result() { # FILE
    cat -- "$1"
    return "$(cat -- "$1.code")"
}

# New inputs are kept under the target directory; a crashing one is left in test-logs and its path is printed by libFuzzer.
fuzz_one() { # NAME PROGRAM
    local corpus=$TARGET_DIR/fuzz-corpus/$1 folders
    mkdir -p -- "$corpus"
    folders=("$corpus")
    [[ -d tests/fuzz/seeds/$1 ]] && folders+=("tests/fuzz/seeds/$1")
    local seconds=${SISKIN_FUZZ_SECONDS:-20}
    timeout --kill-after=10 $((seconds + 60)) "$2" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 \
        -artifact_prefix="$LOG_DIR/fuzz-$1-" -print_final_stats=1 "${folders[@]}"
}
