# shellcheck shell=bash
# Running commands, counting tests, the table at the end. Sourced by tests/run.
#
# Each result is a line `suite <tab> target <tab> passed <tab> failed <tab> skipped` in $RESULTS, so that suites can run in
# subshells and a suite that dies half way still shows what it had done.

SUITE=
CHILD=

record() { # SUITE TARGET PASSED FAILED SKIPPED
    printf '%s\t%s\t%d\t%d\t%d\n' "$@" >>"$RESULTS"
}

seconds_since() { # START, both from now()
    awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'
}

now() { date +%s.%N; }

# Stops the running command with its children, then this script.
interrupted() {
    trap - INT TERM
    [[ -n $CHILD ]] && kill -TERM "$CHILD" 2>/dev/null
    exit 130
}
trap interrupted INT TERM

# Runs a command (or shell function) with its output in $STEP_OUT and appended to the suite's log; returns its exit code.
# A command that takes longer than SISKIN_STEP_SECONDS is stopped (exit code 124).
capture() { # CMD...
    STEP_OUT=$LOG_DIR/$SUITE.step
    local code=0
    {
        printf '\n$'
        printf ' %q' "$@"
        printf '\n'
    } >>"$LOG"
    if declare -F "$1" >/dev/null; then
        "$@" >"$STEP_OUT" 2>&1 || code=$?
    else
        timeout --kill-after=10 "${SISKIN_STEP_SECONDS:-1800}" "$@" >"$STEP_OUT" 2>&1 </dev/null &
        CHILD=$!
        wait "$CHILD" || code=$?
        CHILD=
    fi
    cat -- "$STEP_OUT" >>"$LOG"
    ((code == 124)) && echo "  timed out: $*" | tee -a "$LOG"
    return "$code"
}

show_failure() { # LABEL CODE SECONDS
    printf '  FAIL  %s (exit code %d, %s s); the end of its output:\n' "$1" "$2" "$3"
    tail -n 60 -- "$STEP_OUT" | sed 's/^/  | /'
    # A suite of several binaries goes on after a failure: what failed stands far above its end.
    if grep -q '^failures:$' -- "$STEP_OUT"; then
        printf '  FAIL  %s; what failed:\n' "$1"
        awk '/^failures:$/ { on = 1 } /^test result: / { on = 0 } on' "$STEP_OUT" | head -n 80 | cut -c 1-400 | sed 's/^/  | /'
    fi
}

# A command that counts as one test.
check() { # LABEL CMD...
    local label=$1 start code=0
    shift
    start=$(now)
    capture "$@" || code=$?
    if ((code == 0)); then
        printf '  ok    %s (%s s)\n' "$label" "$(seconds_since "$start")"
        record "$SUITE" "$label" 1 0 0
    else
        show_failure "$label" "$code" "$(seconds_since "$start")"
        record "$SUITE" "$label" 0 1 0
    fi
    rm -f -- "$STEP_OUT"
}

# `cargo test` with its arguments; one row a test binary. A test that passed but printed a line `skipped: ...` is counted
# as skipped, which is why the captured output of passed tests is asked for.
cargo_tests() { # LABEL CARGO-TEST-ARGS...
    local label=$1 start code=0 target passed failed skipped any_failed=0 total=0
    shift
    start=$(now)
    capture cargo test --no-fail-fast "$@" -- --show-output || code=$?
    while IFS=$'\t' read -r target passed failed skipped; do
        record "$SUITE" "$label: $target" "$passed" "$failed" "$skipped"
        any_failed=$((any_failed + failed))
        total=$((total + passed))
    done < <(count_cargo_tests "$STEP_OUT")
    if ((code != 0 && any_failed == 0)); then
        record "$SUITE" "$label: build or run" 0 1 0
    fi
    if ((code != 0 || any_failed != 0)); then
        show_failure "$label" "$code" "$(seconds_since "$start")"
    else
        printf '  ok    %s: %d tests (%s s)\n' "$label" "$total" "$(seconds_since "$start")"
    fi
    rm -f -- "$STEP_OUT"
}

# Log of `cargo test -- --show-output` -> lines `target <tab> passed <tab> failed <tab> skipped`, for binaries with any
# test. A binary that started and never gave its result (it crashed) is one failure.
count_cargo_tests() { # LOG
    awk '
        function finish() { if (open) printf "%s (no result)\t0\t1\t0\n", name; open = 0 }
        /^     Running .*\(.*\)$/ {
            finish()
            source = $2 == "unittests" ? $3 : $2
            name = $NF; gsub(/[()]/, "", name); sub(/.*\//, "", name); sub(/-[0-9a-f]+$/, "", name)
            name = name " " source; open = 1; skips = 0; next
        }
        /^   Doc-tests / { finish(); name = $2 " documentation"; open = 1; skips = 0; next }
        # rustdoc runs merged and single documentation tests one after the other, each with a result line of its own.
        /^running [0-9]+ tests?$/ { if (!open && name != "") { open = 1; skips = 0 } }
        /^successes:$/ { in_successes = 1; counted = 1; next }
        /^failures:$/ { in_successes = 0 }
        in_successes && /^---- .* ----$/ { counted = 0; next }
        in_successes && !counted && /^skipped: / { skips++; counted = 1 }
        open && /^test result: / {
            p = f = i = 0
            for (k = 1; k < NF; k++) {
                if ($(k + 1) ~ /^passed/) p = $k
                if ($(k + 1) ~ /^failed/) f = $k
                if ($(k + 1) ~ /^ignored/) i = $k
            }
            if (p + f + i > 0) printf "%s\t%d\t%d\t%d\n", name, p - skips, f, i + skips
            open = 0; in_successes = 0
        }
        END { finish() }
    ' "$1"
}

# The last line `N passed, N failed` (`, N skipped` may follow) that a program printed: `passed failed`; fails without one.
count_own_tests() { # OUTPUT
    awk '
        { sub(/\r$/, "") }
        /^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ { p = $1; f = $3; found = 1 }
        END { if (!found) exit 1; print p + 0, f + 0 }
    ' "$1"
}

# A program that counts its own tests; no such line, or an exit code that contradicts it, is a failure.
program() { # LABEL CMD...
    local label=$1 start code=0 passed failed
    shift
    start=$(now)
    capture "$@" || code=$?
    if ! read -r passed failed < <(count_own_tests "$STEP_OUT"); then
        passed=0 failed=1
    fi
    ((code != 0 && failed == 0)) && failed=1
    if ((failed != 0)); then
        show_failure "$label" "$code" "$(seconds_since "$start")"
    else
        printf '  ok    %s: %d tests (%s s)\n' "$label" "$passed" "$(seconds_since "$start")"
    fi
    record "$SUITE" "$label" "$passed" "$failed" 0
    rm -f -- "$STEP_OUT"
}

fail() { # LABEL MESSAGE
    printf '  FAIL  %s: %s\n' "$1" "$2" | tee -a "$LOG"
    record "$SUITE" "$1" 0 1 0
}

# What a suite would test is not part of this checkout: shown and counted as skipped, never passed over.
absent() { # WHAT
    printf '  skipped: %s\n' "$1" | tee -a "$LOG"
    record "$SUITE" "($1)" 0 0 1
}

# A tool that cannot be had: the suite fails and says how to go on without it.
missing() { # WHAT HOW
    fail "$1 is missing" "$2; to go on without: tests/run --skip $SUITE"
}

run_suite() { # SUITE
    local start code=0 tests
    SUITE=$1
    LOG=$LOG_DIR/$SUITE.log
    : >"$LOG"
    printf '== %s\n' "$SUITE"
    start=$(now)
    # A subshell that `set -e` ends: a mistake in a suite is a failure of that suite, and the others still run.
    set +e
    (
        set -e
        trap interrupted INT TERM
        "suite_$SUITE"
    )
    code=$?
    set -e
    ((code == 130)) && exit 130
    ((code != 0)) && fail "(suite)" "ended early with exit code $code"
    tests=$(awk -F '\t' -v s="$SUITE" '$1 == s { n += $3 + $4 + $5 } END { print n + 0 }' "$RESULTS")
    ((tests == 0)) && fail "(suite)" "empty: no test ran"
    printf '%s\t%s\n' "$SUITE" "$(seconds_since "$start")" >>"$LOG_DIR/times.tsv"
    printf '== %s took %s s\n' "$SUITE" "$(seconds_since "$start")"
}

# The table, the failures again, and the last line; the exit code.
summary() {
    local passed failed skipped
    echo
    awk -F '\t' '
        FILENAME != previous { file++; previous = FILENAME }
        file == 1 { time[$1] = $2; next }
        {
            if ($1 != last) { if (last != "") total(); last = $1; p = f = s = 0 }
            printf "%-9s %-58s %7d %7d %8d\n", $1, substr($2, 1, 58), $3, $4, $5
            p += $3; f += $4; s += $5
        }
        function total() { printf "%-9s %-58s %7d %7d %8d %8s s\n", "", "= " last, p, f, s, time[last] == "" ? "-" : time[last] }
        BEGIN { printf "%-9s %-58s %7s %7s %8s %10s\n", "suite", "target", "passed", "failed", "skipped", "time" }
        END { if (last != "") total() }
    ' "$LOG_DIR/times.tsv" "$RESULTS"
    read -r passed failed skipped < <(awk -F '\t' '{ p += $3; f += $4; s += $5 } END { print p + 0, f + 0, s + 0 }' "$RESULTS")
    if ((failed != 0)); then
        echo
        echo "failed:"
        awk -F '\t' '$4 > 0 { printf "  %s: %s\n", $1, $2 }' "$RESULTS"
        echo "logs: $LOG_DIR"
    fi
    # A run in which nothing passed shows nothing.
    local code=0
    ((failed != 0)) && code=1
    if ((passed == 0 && skipped == 0)); then code=1; fi
    echo "$passed passed, $failed failed, $skipped skipped"
    exit "$code"
}
: >"$LOG_DIR/times.tsv"
