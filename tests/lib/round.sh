# shellcheck shell=bash
# The firmware of one round, tests/device/round: bytes, flash, memory and instructions. Sourced by tests/run, called by device.sh.

ARM_ROUND=thumbv7em-none-eabihf

suite_round() { # MANIFEST OUT
    local manifest=$1 out=$2 triple
    check "rounds are recorded" cargo run --quiet --manifest-path "$manifest" -p siskin-device-host -- record "$out"
    rm -f -- "$out/figures"

    # The programs that the figures are of; copied, because other features build under the same name.
    round_program "$manifest" "$out" digits $ARM_ROUND digits ""
    round_program "$manifest" "$out" images $ARM_ROUND images conv
    round_program "$manifest" "$out" counts $ARM_ROUND counts counts
    # The smallest targets: no FPU, no compare-and-swap. Without a machine of their own: no emulated Cortex-M0 has as much memory,
    # but a Cortex-M4 runs its code, and `virt` runs without atomics too.
    round_program "$manifest" "$out" digits-v6m thumbv6m-none-eabi digits ""
    round_program "$manifest" "$out" digits-imc riscv32imc-unknown-none-elf digits ""
    check "round: clippy" cross_cargo clippy $ARM_ROUND --profile size --manifest-path "$manifest" -p siskin-device-round \
        --features conv,counts -- -D warnings

    plays "$out" digits digits "core=cortex-m4 arch=arm pointer_width=32 fpu=true" "qemu-system-arm -M olimex-stm32-h405"
    plays "$out" images images "core=cortex-m55 arch=arm pointer_width=32 fpu=true" "qemu-system-arm -M mps3-an547"
    plays "$out" images images "core=cortex-m7 arch=arm pointer_width=32 fpu=true" "qemu-system-arm -M mps2-an500"
    plays "$out" digits-v6m digits "core=cortex-m4 arch=arm pointer_width=32 fpu=true" "qemu-system-arm -M olimex-stm32-h405"
    plays "$out" digits-imc digits "core=riscv arch=riscv32 pointer_width=32 fpu=false" \
        "qemu-system-riscv32 -M virt -bios none -cpu rv32,a=false,zfa=false,zawrs=false,f=false,d=false"
    check "a plan of a part that is not there is refused by name" refuses "$out"
    check "the sdk's events by defmt, on core=cortex-m4" tells_events "$manifest" "$out"
    check "instructions" counts_instructions "$out"
    check "budgets" within_budgets "$manifest" "$out"
}

round_program() { # MANIFEST OUT NAME TRIPLE PROGRAM FEATURES
    check "round: $3 builds" build_round "$@"
}

build_round() {
    cross_cargo build "$4" --profile size --manifest-path "$1" -p siskin-device-round --bin "$5" --features "$6" &&
        cp -- "$(cross_dir "$4")/size/$5" "$2/$3.elf"
}

plays() { # OUT ELF ROUND TARGET-LINE EMULATOR
    check "$2: the recorded bytes, on ${4%% *}" play "$@"
}

# The bytes of the device are those of the host, and its memory was used as planned: the firmware sees to that.
play() {
    local code=0
    rm -f -- "$1/$3.up"
    emulate 120 "$1/$2.elf" "$5" "$1/$3" >"$1/$2.out" || code=$?
    cat -- "$1/$2.out"
    ((code == 0)) || { echo "exit code $code"; return 1; }
    grep -qFx -- "target $4" "$1/$2.out" || { echo "the firmware should have said: target $4"; return 1; }
    cmp -- "$1/$3.up" "$1/$3.expected"
}

refuses() { # OUT
    local code=0 output
    output=$(emulate 60 "$1/digits.elf" "qemu-system-arm -M olimex-stm32-h405" "$1/images") || code=$?
    echo "$output"
    ((code == 1)) && grep -qFx 'refused: this build has no convolution and pooling: feature conv' <<<"$output"
}

# The digits' firmware with events: binary on standard output, text on standard error. Its budgets are of the one without.
tells_events() { # MANIFEST OUT
    local words config="enable=on,target=native,arg=siskin,arg=$2/digits" planned
    DEFMT_LOG=debug cross_cargo build $ARM_ROUND --profile size --manifest-path "$1" -p siskin-device-round --bin digits --features defmt || return 1
    cp -- "$(cross_dir $ARM_ROUND)/size/digits" "$2/events.elf"
    read -ra words <<<"qemu-system-arm -M olimex-stm32-h405 -nic none -nographic -monitor none -serial none"
    timeout 60 "${words[@]}" -semihosting-config "$config" -kernel "$2/events.elf" </dev/null >"$2/events.bin" 2>"$2/events.out" ||
        { cat -- "$2/events.out"; return 1; }
    # A program of the host that runs for a moment: optimised, it would take a minute to build.
    cargo run --quiet --manifest-path "$1" --profile events -p siskin-device-events -- "$2/events.elf" \
        <"$2/events.bin" >"$2/events.txt" || return 1
    cat -- "$2/events.txt" "$2/events.out"
    planned=$(sed -n 's/^arena: .* used, \([0-9]*\) planned.*/\1/p' "$2/events.out")
    grep -q "^debug round 7: $planned bytes of arena, [0-9]* to download\$" "$2/events.txt" &&
        grep -qE '^debug report of [0-9]+ bytes for 3608 coordinates$' "$2/events.txt"
}

counts_instructions() { # OUT
    emulate 60 "$1/counts.elf" "qemu-system-arm -M mps2-an500 -icount shift=6,sleep=off" >"$1/counts.out" || { cat -- "$1/counts.out"; return 1; }
    cat -- "$1/counts.out"
    [[ $(grep -c '^batch ' "$1/counts.out") == 3 ]]
}

# Every figure of tests/device/budgets.txt: not above its bar, nor 3 % above what is recorded there. Prints the table.
within_budgets() { # MANIFEST OUT
    local name
    for name in digits images; do
        cargo run --quiet --manifest-path "$1" -p siskin-device-host -- sizes "$2/$name.elf" >"$2/$name.sizes" || return 1
        awk -v n="$name" '
            $1 == "flash" { print n ".flash", $2 }
            $1 == "memory" { memory = $2 }
            $1 == "stack:" { print n ".stack", $2; print n ".memory", memory + $2 }
            $1 == "arena:" { print n ".arena", $2 }' "$2/$name.sizes" "$2/$name.out"
    done >"$2/figures"
    awk '$1 == "batch" { sub(":", "", $2); sub(",", "", $4); sub(",", "", $6)
        print "forward." $2, $4; print "backward." $2, $6; print "update." $2, $10 }' "$2/counts.out" >>"$2/figures"
    awk '
        /^#/ || NF == 0 { next }
        NR == FNR { recorded[$1] = $2; bar[$1] = $3; order[++n] = $1; next }
        { got[$1] = $2 }
        END {
            for (i = 1; i <= n; i++) {
                k = order[i]
                printf "| %s | %s | %s |\n", k, (k in got) ? got[k] : "missing", bar[k]
                if (!(k in got) || got[k] > 1.03 * recorded[k] || (bar[k] != "-" && got[k] + 0 > bar[k] + 0)) { print k ": recorded " recorded[k]; bad = 1 }
            }
            for (k in got) if (!(k in recorded)) { print k " has no budget"; bad = 1 }
            exit bad
        }' tests/device/budgets.txt "$2/figures"
}
