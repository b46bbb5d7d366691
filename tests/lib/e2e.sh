# shellcheck shell=bash
# The e2e suite: the simulator as a user runs it. Sourced by tests/run.
#
# To add a case: write `e2e NAME EXPECTED-EXIT-CODE 'file file' ARGS...` into e2e_cases. It runs in a folder of its own in
# which the checkout's top-level entries are links, so paths of the README work and what it writes stays out of the sources.

SISKIN=

e2e_cases() {
    e2e "help" 0 "" --help
    e2e "unknown option" 2 "" --no-such-option
    e2e "the main job" 0 "siskin-out/report.html siskin-out/report.json siskin-out/model.safetensors siskin-out/model.plan"
    e2e "pruning compared" 0 "compared/compare-pruning.html compared/compare-pruning.json compared/rigl/report.html" \
        compare-pruning --rounds 8 --cohort 60 --noise-multiplier 0 --out compared
    e2e "codecs compared" 0 "codecs/codec-compare.html codecs/codec-compare.json" \
        codec compare --tables 3 --quick --out codecs
    e2e "sparse kernels against dense" 0 "" bench sparse --quick --json
    e2e "a cohort larger than the population" 2 "" --cohort 5000
    e2e "a model that this build cannot read" 2 "" run --model model.onnx
}

suite_e2e() {
    capture cargo build --release || { show_failure "build" 1 0; fail "build" "the simulator does not build"; return 0; }
    SISKIN=$TARGET_DIR/release/siskin
    e2e_cases
    e2e_readme
}

# Every `cargo run --release -- ...` line of the README's code blocks. A run must leave a report: a file that is not empty.
e2e_readme() {
    local line words number=0
    if [[ ! -f README.md ]]; then
        absent "no README.md"
        return 0
    fi
    while IFS= read -r line; do
        number=$((number + 1))
        # The README is ours: quotes in its commands are the shell's.
        eval "words=(${line#cargo run --release -- })"
        if [[ ${words[0]} == run ]]; then
            e2e "README: ${words[*]}" 0 "*" "${words[@]}"
        else
            e2e "README: ${words[*]}" 0 "" "${words[@]}"
        fi
    done < <(readme_commands README.md)
    ((number > 0)) || fail "README.md" "has no line \`cargo run --release -- ...\` in a code block"
}

readme_commands() { # FILE
    awk '
        /^```/ { inside = !inside; next }
        inside {
            line = held $0; held = ""
            sub(/^\$ /, "", line)
            if (line ~ /\\$/) { sub(/\\$/, "", line); held = line; next }
            if (line ~ /^cargo run --release -- /) { sub(/[ \t]+#.*$/, "", line); print line }
        }' "$1"
}

e2e() { # NAME EXIT-CODE FILES ARGS...
    local name=$1
    shift
    check "$name" e2e_run "$@"
}

# FILES: paths below the folder that must be there and not be empty; `*` for at least one new file, whatever its name.
e2e_run() { # EXIT-CODE FILES ARGS...
    local expected=$1 files=$2 scratch code=0 entry problem=
    shift 2
    scratch=$(mktemp -d)
    for entry in "$ROOT"/*; do
        [[ $entry == "$ROOT/target" || $entry == "$ROOT/siskin-out" ]] || ln -s -- "$entry" "$scratch/"
    done
    (cd -- "$scratch" && timeout --kill-after=10 "${SISKIN_STEP_SECONDS:-1800}" "$SISKIN" "$@" >.output 2>&1 </dev/null) || code=$?
    cat -- "$scratch/.output"
    ((code == expected)) || problem="exit code $code, expected $expected"
    [[ -s $scratch/.output ]] || problem=${problem:-printed nothing}
    if [[ $files == "*" ]]; then
        [[ -n $(find "$scratch" -type f -size +0 ! -name .output -print -quit) ]] || problem=${problem:-wrote no file}
    else
        for entry in $files; do
            [[ -s $scratch/$entry ]] || problem=${problem:-$entry is missing or empty}
        done
    fi
    rm -rf -- "$scratch"
    [[ -z $problem ]] || { echo "$problem"; return 1; }
}
