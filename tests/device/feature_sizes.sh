#!/usr/bin/env bash
# What each feature of the sdk adds to the digits' firmware: a table for README.md. Minutes: it builds the program once a
# feature. Needs the target thumbv7em-none-eabihf of rustup.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
triple=thumbv7em-none-eabihf
target=${CARGO_TARGET_DIR:-target}

flash() { # FEATURES
    cargo build --quiet --profile size --target "$triple" -p siskin-device-round --bin digits --features "$1"
    cargo run --quiet -p siskin-device-host -- sizes "$target/$triple/size/digits" | awk '$1 == "flash" { print $2 }'
}

features=$(awk '/^full = \[/ { on = 1; next } on && /^\]/ { exit } on' ../../sdk/Cargo.toml | tr -cd 'a-z, ' | tr ',' ' ')
base=$(flash "")
printf '| none | %s |\n' "$base"
for feature in $features full; do
    printf '| `%s` | +%s |\n' "$feature" $(($(flash "siskin/$feature") - base))
done
