# shellcheck shell=bash
# The device suite: tests/device as a program of the host and as firmware of emulated boards. Sourced by tests/run.

# board | target triple | program | what it must say about itself | emulator
BOARDS=(
    "olimex-stm32-h405|thumbv7em-none-eabihf|olimex_stm32_h405|arch=arm pointer_width=32 fpu=true|qemu-system-arm -M olimex-stm32-h405"
    "mps2-an500|thumbv7em-none-eabihf|mps2_an500|arch=arm pointer_width=32 fpu=true|qemu-system-arm -M mps2-an500"
    "mps3-an547|thumbv7em-none-eabihf|mps3_an547|arch=arm pointer_width=32 fpu=true|qemu-system-arm -M mps3-an547"
    "riscv-virt-f|riscv32imafc-unknown-none-elf|riscv_virt|arch=riscv32 pointer_width=32 fpu=true|qemu-system-riscv32 -M virt -bios none -cpu rv32,zfa=false,d=false"
    "riscv-virt|riscv32imac-unknown-none-elf|riscv_virt|arch=riscv32 pointer_width=32 fpu=false|qemu-system-riscv32 -M virt -bios none -cpu rv32,zfa=false,f=false,d=false"
)

# The digests of every case, the same on all targets.
VECTORS=$ROOT/tests/vectors/cross_target.txt

suite_device() {
    local manifest=$ROOT/tests/device/Cargo.toml out=$LOG_DIR/device entry board triple program says emulator
    need_qemu || return 0
    need_targets thumbv7em-none-eabihf thumbv6m-none-eabi riscv32imac-unknown-none-elf riscv32imafc-unknown-none-elf \
        riscv32imc-unknown-none-elf || return 0
    mkdir -p -- "$out"
    rm -f -- "$out"/*.out

    check "locked versions are the workspace's" same_versions libm micromath rand_chacha
    program "host, debug" on_host "$out/host-debug.out" "$manifest"
    check "host, debug: digests" same_digests "$VECTORS" "$out/host-debug.out"
    program "host, release" on_host "$out/host-release.out" "$manifest" --release
    check "host, release: digests" same_digests "$VECTORS" "$out/host-release.out"
    suite_instructions "$out"

    check "cortex-m: builds" cross_cargo build thumbv7em-none-eabihf --release --manifest-path "$manifest" -p siskin-device-cortex-m
    check "riscv: builds" cross_cargo build riscv32imac-unknown-none-elf --release --manifest-path "$manifest" -p siskin-device-riscv
    check "riscv, hard float: builds" cross_cargo build riscv32imafc-unknown-none-elf --release --manifest-path "$manifest" -p siskin-device-riscv
    check "cortex-m: clippy" cross_cargo clippy thumbv7em-none-eabihf --release --manifest-path "$manifest" \
        -p siskin-device-cortex-m -p siskin-device-board -- -D warnings
    check "riscv: clippy" cross_cargo clippy riscv32imac-unknown-none-elf --release --manifest-path "$manifest" \
        -p siskin-device-riscv -- -D warnings
    for entry in "${BOARDS[@]}"; do
        IFS='|' read -r board triple program says emulator <<<"$entry"
        local elf
        elf=$(cross_dir "$triple")/release/$program
        program "$board" on_board "$out/$board.out" "target board=$board $says" "$elf" "$emulator"
        check "$board: digests" same_digests "$VECTORS" "$out/$board.out"
        check "$board: notices a panic" notices panic 10 "asked to panic" "$elf" "$emulator"
        check "$board: notices a hang" notices hang 3 "" "$elf" "$emulator"
        # The emulated mps2-an500 ignores accesses to addresses at which it has nothing.
        [[ $board == mps2-an500 ]] || check "$board: notices a bad access" notices access 10 "HardFault|exception" "$elf" "$emulator"
        # A stack that has run out leaves none for the handler: the processor locks up, which ends the emulator.
        [[ $board != olimex-* ]] || check "$board: notices a full stack" notices stack 10 "HardFault|Lockup" "$elf" "$emulator"
    done
    suite_round "$manifest" "$out"
    suite_fleet "$manifest" "$out"
}

# The program of the host again, on emulated processors of the same family: without AVX, where the kernels are the portable ones, and
# with AVX2 and no more.
suite_instructions() { # OUT
    local entry processor says
    if [[ $(uname -m) != x86_64 ]]; then
        record "$SUITE" "host, without AVX and with AVX2 (on x86-64)" 0 0 1
        return 0
    fi
    need qemu-x86_64 qemu-user || return 0
    for entry in "Nehalem|avx2=false avx512=false" "Haswell|avx2=true avx512=false"; do
        IFS='|' read -r processor says <<<"$entry"
        program "host, $processor" on_processor "$1/host-$processor.out" "$processor" "$says"
        check "host, $processor: digests" same_digests "$VECTORS" "$1/host-$processor.out"
    done
}

on_processor() { # OUTPUT PROCESSOR WHAT-IT-MUST-SAY
    timeout 600 qemu-x86_64 -cpu "$2" "$TARGET_DIR/release/siskin-device-host" 2>"$1.err" | tee -- "$1" || { cat -- "$1.err"; return 1; }
    grep -qFx -- "instructions: $3" "$1" || { echo "the program should have said: instructions: $3"; return 1; }
}

on_host() { # OUTPUT MANIFEST CARGO-ARGS...
    local output=$1 manifest=$2
    shift 2
    timeout 1200 cargo run --quiet --manifest-path "$manifest" -p siskin-device-host "$@" | tee -- "$output"
}

# One board until its firmware ends; a hang is a failure, and so is a firmware that says it is something else.
on_board() { # OUTPUT TARGET-LINE ELF EMULATOR
    [[ -f $3 ]] || { echo "$3 was not built"; return 1; }
    emulate "${SISKIN_BOARD_SECONDS:-120}" "$3" "$4" >"$1" || { local code=$?; cat -- "$1"; echo "exit code $code"; return "$code"; }
    cat -- "$1"
    grep -qFx -- "$2" "$1" || { echo "the firmware should have said: $2"; return 1; }
}

# The firmware, asked to misbehave, must end with an exit code other than 0 and say so; a hang must run into its time.
notices() { # TROUBLE SECONDS WORDS ELF EMULATOR
    local code=0 output
    output=$(emulate "$2" "$4" "$5" "$1") || code=$?
    printf '%s\nexit code %d\n' "$output" "$code"
    if [[ $1 == hang ]]; then
        ((code == 124))
    else
        ((code != 0 && code != 124)) && grep -qE -- "$3" <<<"$output" && ! grep -qE '[0-9]+ passed' <<<"$output"
    fi
}

emulate() { # SECONDS ELF EMULATOR [ARGUMENT]
    local words config="enable=on,target=native"
    read -ra words <<<"$3"
    [[ -n ${4:-} ]] && config+=",arg=siskin,arg=$4"
    timeout --kill-after=5 "$1" "${words[@]}" -nic none -nographic -monitor none -serial none \
        -semihosting-config "$config" -kernel "$2" </dev/null 2>&1 | tr -d '\r'
}

# The same cases ran and printed the recorded digests. Says which differ, in the order in which they were made: the first is where
# the bits part.
same_digests() { # EXPECTED ACTUAL
    awk '
        NR == FNR { expected_file = 1 }
        $1 == "digest" { if (NR == FNR) { expected[$2] = $3; order[++count] = $2 } else actual[$2] = $3 }
        $1 == "case" { if (NR == FNR) case_expected[$2] = 1; else case_actual[$2] = 1 }
        END {
            for (n = 1; n <= count; n++) {
                key = order[n]
                if (!(key in actual)) { print "digest " key " is missing"; bad = 1 }
                else if (actual[key] != expected[key]) { print "digest " key " differs: " actual[key] ", recorded is " expected[key]; bad = 1 }
            }
            for (key in actual) if (!(key in expected)) { print "digest " key " is not recorded"; bad = 1 }
            for (key in case_expected) if (!(key in case_actual)) { print "case " key " did not run"; bad = 1 }
            for (key in case_actual) if (!(key in case_expected)) { print "case " key " is not recorded"; bad = 1 }
            if (count == 0) { print "no digest to compare"; bad = 1 }
            else if (!bad) print count " digests are equal"
            exit bad
        }' "$1" "$2"
}

# The firmware's lock file is its own; crates whose rounding ends up in the results must be those of the workspace.
same_versions() { # CRATE...
    local name root device
    for name in "$@"; do
        root=$(locked Cargo.lock "$name") device=$(locked tests/device/Cargo.lock "$name")
        [[ $root == "$device" ]] || { echo "$name: $device in tests/device/Cargo.lock, $root in Cargo.lock"; return 1; }
    done
}

locked() { # FILE CRATE
    awk -v n="\"$2\"" '$1 == "name" { hit = $3 == n } hit && $1 == "version" { print $3 }' "$1"
}
