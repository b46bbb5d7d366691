# shellcheck shell=bash
# A fleet of emulated boards and virtual devices against one server, tests/device/fleet. Sourced by tests/run, called by device.sh.

# board | target triple | feature of its UART | what it must say about itself | emulator
FLEET=(
    "olimex_stm32_h405|thumbv7em-none-eabihf|stm32|core=cortex-m4 arch=arm pointer_width=32 fpu=true|qemu-system-arm -M olimex-stm32-h405"
    "mps2_an500|thumbv7em-none-eabihf|cmsdk|core=cortex-m7 arch=arm pointer_width=32 fpu=true|qemu-system-arm -M mps2-an500"
    "riscv_virt|riscv32imac-unknown-none-elf|ns16550|core=riscv arch=riscv32 pointer_width=32 fpu=false|qemu-system-riscv32 -M virt -bios none -cpu rv32,zfa=false,f=false,d=false"
)
# Everybody is in every round, so that a run without boards has the same cohorts.
FLEET_ROUNDS=5
FLEET_RUN=(--devices 203 --cohort 203 --over-selection 1 --dropout 0 --rounds "$FLEET_ROUNDS" --progress plain)
# How often a board is killed and started again, if its rounds last long enough.
FLEET_KILLS=6

suite_fleet() { # MANIFEST OUT
    local manifest=$1 out=$2/fleet entry board triple uart says emulator
    mkdir -p -- "$out"
    check "fleet: the simulator builds" cargo build --release
    for entry in "${FLEET[@]}"; do
        IFS='|' read -r board triple uart says emulator <<<"$entry"
        check "fleet: $board builds" cross_cargo build "$triple" --profile size --manifest-path "$manifest" -p siskin-device-fleet --features "$uart"
        check "fleet: $board, clippy" cross_cargo clippy "$triple" --profile size --manifest-path "$manifest" -p siskin-device-fleet \
            --features "$uart" -- -D warnings
    done
    check "fleet: ${#FLEET[@]} boards, killed up to $FLEET_KILLS times each, and 200 virtual devices: the model without boards" fleet "$out"
    check "fleet: a board that stays away has dropped out" fleet_without_board "$out"
    check "fleet: bytes of no device are ignored" fleet_noise "$out"
}

# Starts the server; SERVER is its process, PORTS are where it expects boards.
serve_fleet() { # OUT BOARDS ARGUMENTS...
    local out=$1 boards=$2 i serial=()
    shift 2
    for ((i = 0; i < boards; i++)); do serial+=(--serial 0); done
    rm -rf -- "$out/files" "$out/with"
    timeout 600 "$TARGET_DIR/release/siskin" serve "${serial[@]}" --device-files "$out/files" --out "$out/with" "$@" >"$out/serve.out" 2>"$out/serve.err" &
    SERVER=$!
    for ((i = 0; i < 100; i++)); do
        mapfile -t PORTS < <(sed -n 's/^device [0-9]* is expected on .*:\([0-9]*\)$/\1/p' "$out/serve.err")
        ((${#PORTS[@]} == boards)) && return
        sleep 0.1
    done
    cat -- "$out/serve.err"
    return 1
}

# One board until it has been in all rounds: killed at a random moment, and started again with the flash that it left.
run_board() { # OUT NUMBER PORT ELF EMULATOR
    local out=$1 number=$2 kills=0 code words time
    read -ra words <<<"$5"
    RANDOM=$((number + 1))
    : >"$out/board-$number.out"
    while :; do
        # 0.3 to 4 s; the last time as long as it takes.
        time=$((300 + RANDOM % 3700))
        ((kills == FLEET_KILLS)) && time=300000
        code=0
        timeout --signal=KILL "$((time / 1000)).$(printf %03d $((time % 1000)))" "${words[@]}" -nic none -nographic -monitor none \
            -chardev "socket,id=uart,host=127.0.0.1,port=$3" -serial chardev:uart \
            -semihosting-config "enable=on,target=native,arg=siskin,arg=$out/files/device-$number" -kernel "$4" </dev/null >>"$out/board-$number.out" 2>&1 || code=$?
        [[ $code == 137 && $kills -lt $FLEET_KILLS ]] || break
        kills=$((kills + 1))
    done
    echo "killed $kills times, exit code $code" >>"$out/board-$number.out"
    return "$code"
}

fleet() { # OUT
    local out=$1 i board triple uart says emulator boards=() restored code=0
    "$TARGET_DIR/release/siskin" run "${FLEET_RUN[@]}" --out "$out/without" >/dev/null || return 1
    serve_fleet "$out" "${#FLEET[@]}" "${FLEET_RUN[@]}" || return 1
    for i in "${!FLEET[@]}"; do
        IFS='|' read -r board triple uart says emulator <<<"${FLEET[i]}"
        run_board "$out" "$i" "${PORTS[i]}" "$(cross_dir "$triple")/size/fleet_$board" "$emulator" &
        boards+=($!)
    done
    for i in "${boards[@]}"; do wait "$i" || code=1; done
    ((code == 0)) || kill "$SERVER"
    wait "$SERVER" || code=1
    cat -- "$out/serve.out" "$out/serve.err" "$out"/board-*.out
    ((code == 0)) || return 1
    for i in "${!FLEET[@]}"; do
        IFS='|' read -r board triple uart says emulator <<<"${FLEET[i]}"
        grep -qFx -- "target $says" "$out/board-$i.out" || { echo "$board should have said: target $says"; return 1; }
        grep -qE '^killed ([2-9]|[1-9][0-9]+) times, exit code 0' "$out/board-$i.out" || { echo "$board was over before it had been killed twice"; return 1; }
        grep -q "^device $i: $FLEET_ROUNDS reports in $FLEET_ROUNDS rounds" "$out/serve.err" || { echo "$board was not counted once a round"; return 1; }
    done
    restored=$(cat -- "$out"/board-*.out | grep -c '^restored in round')
    ((restored >= 3)) || { echo "only $restored restarts went on with what had been saved"; return 1; }
    cmp -- "$out/with/model.safetensors" "$out/without/model.safetensors" && echo "the model is the same to the bit"
}

# Nobody connects: the round goes on with the others.
fleet_without_board() { # OUT
    serve_fleet "$1" 1 --devices 20 --cohort 20 --over-selection 1 --dropout 0 --rounds 1 --patience 2 || return 1
    wait "$SERVER" || { cat -- "$1/serve.err"; return 1; }
    cat -- "$1/serve.out"
    grep -q '19 in, 1 dropped out' "$1/serve.out"
}

# Somebody connects and sends what is no frame.
fleet_noise() { # OUT
    serve_fleet "$1" 1 --devices 20 --cohort 20 --over-selection 1 --dropout 0 --rounds 1 --patience 2 || return 1
    head -c 100000 /dev/urandom >"/dev/tcp/127.0.0.1/${PORTS[0]}" || true
    wait "$SERVER" || { cat -- "$1/serve.err"; return 1; }
    cat -- "$1/serve.out"
    grep -q '19 in, 1 dropped out' "$1/serve.out"
}
