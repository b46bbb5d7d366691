#!/usr/bin/env bash
# Builds tests/c/round.c against the static library and runs it: plainly, under valgrind, and with the sanitizers of the
# C compiler; also checks which symbols the shared library exports. What the machine lacks is shown as skipped.
# The last line is `N passed, N failed, N skipped`; the exit code is 0 only if nothing failed.
set -uo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
ROOT=$(cd -- "$HERE/../.." && pwd -P)
cd -- "$ROOT" || exit 2
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
OUT=$TARGET/test-c
CC=${CC:-gcc}
FLAGS=(-std=c99 -Wall -Wextra -Wpedantic -Werror -g -I ffi/include)
LIBS=("$TARGET/release/libsiskin_ffi.a" -lpthread -ldl -lm)
export SISKIN_TEST_SERVER=$TARGET/release/siskin-test-server
PASSED=0 FAILED=0 SKIPPED=0 REPORT=

finish() {
    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    ((FAILED == 0)) && ((PASSED > 0))
    exit
}

fail() { echo "FAIL: $1"; FAILED=$((FAILED + 1)); }
skip() { echo "skipped: $1"; SKIPPED=$((SKIPPED + 1)); }

# Runs a program that counts its own tests.
program() { # LABEL COMMAND...
    local label=$1 output code=0 line
    shift
    output=$("$@" 2>&1) || code=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' <<<"$output" | tail -n 1)
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        PASSED=$((PASSED + BASH_REMATCH[1])) FAILED=$((FAILED + BASH_REMATCH[2]))
        echo "$label: $line"
        if ((code != 0)); then
            printf '%s\n' "$output"
            ((BASH_REMATCH[2] > 0)) || fail "$label: exit code $code"
        fi
        same_report "$label" "$(grep -E '^report of ' <<<"$output")"
    else
        printf '%s\n' "$output"
        fail "$label: exit code $code and no count"
    fi
}

# The report is the same to the bit in every run: valgrind shows the library a processor with fewer instructions.
same_report() { # LABEL LINE
    : "${REPORT:=$2}"
    if [[ -n $2 && $2 == "$REPORT" ]]; then
        PASSED=$((PASSED + 1))
    else
        fail "$1: $2, the first run had: $REPORT"
    fi
}

mkdir -p -- "$OUT"
cargo build --release -p siskin-ffi -p siskin-test-server || { fail "the library does not build"; finish; }

if "$CC" "${FLAGS[@]}" -O1 tests/c/round.c "${LIBS[@]}" -o "$OUT/round"; then
    program "round" "$OUT/round"
    echo "$REPORT"
    if command -v valgrind >/dev/null; then
        program "round under valgrind" valgrind --quiet --error-exitcode=99 --leak-check=full \
            --errors-for-leak-kinds=definite,possible --trace-children=no "$OUT/round"
    else
        skip "valgrind not found"
    fi
else
    fail "round.c does not compile"
fi

if echo 'int main(void) { return 0; }' | "$CC" -x c - -fsanitize=address,undefined -o "$OUT/probe" 2>/dev/null && "$OUT/probe"; then
    if "$CC" "${FLAGS[@]}" -O1 -fsanitize=address,undefined -fno-sanitize-recover=all tests/c/round.c "${LIBS[@]}" \
        -o "$OUT/round-sanitized"; then
        # One case asks for more memory than there is.
        ASAN_OPTIONS=allocator_may_return_null=1 \
            program "round with address and undefined-behaviour sanitizers" "$OUT/round-sanitized"
    else
        fail "round.c does not compile with sanitizers"
    fi
else
    skip "sanitizers not found"
fi

# What a shared library exports is its interface: all functions of the header, nothing else.
if command -v nm >/dev/null && [[ -f $TARGET/release/libsiskin_ffi.so ]]; then
    grep -oE '\bsiskin_[a-z_]+\(' ffi/include/siskin.h | tr -d '(' | sort -u >"$OUT/declared"
    nm -D --defined-only "$TARGET/release/libsiskin_ffi.so" | awk '{ print $3 }' | sort -u >"$OUT/exported"
    if diff "$OUT/declared" "$OUT/exported"; then
        echo "exported symbols: $(wc -l <"$OUT/exported")"
        PASSED=$((PASSED + 1))
    else
        fail "the shared library does not export what the header declares (<: header, >: library)"
    fi
else
    skip "no nm or no shared library"
fi
finish
