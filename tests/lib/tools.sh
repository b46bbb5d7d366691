# shellcheck shell=bash
# What the suites need on a machine: packages, emulator, Rust's core library for bare-metal targets. Sourced by tests/run.
#
# The machine's own package sources are never changed: where a newer or older version is needed than they offer, a private
# apt configuration under $TOOLS_DIR adds one suite of the mirror that the machine already uses.

have() { command -v "$1" >/dev/null 2>&1; }

# Asked once a run; the answer is kept in a file because suites run in subshells.
consent() { # WHAT
    [[ $ASSUME_YES == yes ]] && return 0
    local answer
    if [[ -e $LOG_DIR/consent ]]; then
        read -r answer <"$LOG_DIR/consent" || true
    elif [[ -t 0 && -t 1 ]] || { : </dev/tty; } 2>/dev/null; then
        read -r -p "tests/run would like to $1 (and whatever else is missing). Go on? [y/N] " answer </dev/tty || answer=n
        printf '%s\n' "$answer" >"$LOG_DIR/consent"
    else
        answer=n
    fi
    [[ $answer == [yY]* ]]
}
rm -f -- "$LOG_DIR/consent"

as_root() {
    if ((EUID == 0)); then "$@"; elif have sudo; then sudo "$@"; else return 1; fi
}

is_debian() {
    have apt-get && have dpkg && [[ -r /etc/os-release ]] && grep -q '^ID=debian$' /etc/os-release
}

# Debian's mirror as this machine's apt configuration names it: the address whose suite is the running release.
debian_mirror() {
    local codename files=() file
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-sid}")
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [[ -r $file ]] && files+=("$file")
    done
    if ((${#files[@]})); then
        awk -v suite="$codename" '
            $1 == "deb" {
                i = 2
                if ($i ~ /^\[/) { while (i < NF && $i !~ /\]$/) i++; i++ }
                if ($(i + 1) == suite) { print $i; exit }
            }' "${files[@]}" >"$TOOLS_DIR/mirror"
        [[ -s $TOOLS_DIR/mirror ]] && { cat -- "$TOOLS_DIR/mirror"; return 0; }
    fi
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ -r $file ]] || continue
        # Comment lines may stand inside a paragraph.
        sed '/^#/d' "$file" | awk -v suite="$codename" 'BEGIN { RS = ""; FS = "\n" }
            {
                uri = ""; found = 0
                for (i = 1; i <= NF; i++) {
                    n = split($i, word, /[ \t]+/)
                    if (tolower(word[1]) == "uris:") uri = word[2]
                    if (tolower(word[1]) == "suites:") for (k = 2; k <= n; k++) if (word[k] == suite) found = 1
                }
                if (found && uri != "") { print uri; exit }
            }' >"$TOOLS_DIR/mirror"
        [[ -s $TOOLS_DIR/mirror ]] && { cat -- "$TOOLS_DIR/mirror"; return 0; }
    done
    return 1
}

# Sets APT to options for a private configuration with SUITES of the mirror, alone or (`with-own`) beside the machine's own
# sources, and fetches its lists.
private_apt() { # NAME own|alone SUITE...
    local name=$1 own=$2 mirror suite dir
    shift 2
    dir=$TOOLS_DIR/apt-$name
    mirror=$(debian_mirror) || return 1
    mkdir -p -- "$dir/lists/partial" "$dir/cache/archives/partial"
    : >"$dir/sources.list"
    [[ $own == own && -r /etc/apt/sources.list ]] && cat /etc/apt/sources.list >"$dir/sources.list"
    for suite in "$@"; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >>"$dir/sources.list"
    done
    APT=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache"
        -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o "APT::Sandbox::User=$(id -un)")
    [[ $own == own ]] || APT+=(-o Dir::Etc::sourceparts=/dev/null)
    apt-get "${APT[@]}" -qq update
}

# Installs distribution packages, from the machine's own sources.
install_packages() { # PACKAGE...
    is_debian || return 1
    consent "install $* with apt-get" || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" ||
        {
            as_root apt-get -qq update &&
                as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"
        }
}

# A command, from a package if it has to be.
need() { # COMMAND PACKAGE
    have "$1" && return 0
    echo "  installing $2"
    install_packages "$2" >>"$LOG" 2>&1 || true
    have "$1" && return 0
    missing "$1" "install the package $2"
    return 1
}

# A file, from a package if it has to be.
need_file() { # PATH PACKAGE
    [[ -e $1 ]] && return 0
    echo "  installing $2"
    install_packages "$2" >>"$LOG" 2>&1 || true
    [[ -e $1 ]] && return 0
    missing "$1" "install the package $2"
    return 1
}

# --- QEMU -----------------------------------------------------------------------------------------------------------

qemu_has() { # PROGRAM MACHINE
    have "$1" && "$1" -M help 2>/dev/null | awk -v m="$2" '$1 == m { found = 1 } END { exit !found }'
}

# The STM32F405 board came with QEMU 8; Debian 12 itself has 7.2, its backports 10.
need_qemu() {
    qemu_ready && return 0
    echo "  installing QEMU"
    install_qemu >>"$LOG" 2>&1 || true
    qemu_ready && return 0
    missing "QEMU 8 or newer (qemu-system-arm, qemu-system-riscv32)" "install it from the distribution"
    return 1
}

qemu_ready() { qemu_has qemu-system-arm olimex-stm32-h405 && qemu_has qemu-system-riscv32 virt; }

install_qemu() {
    is_debian || return 1
    consent "install qemu-system-arm and qemu-system-riscv with apt-get" || return 1
    local codename riscv=qemu-system-misc from=()
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    if [[ $codename == bookworm ]]; then
        private_apt qemu own bookworm-backports || return 1
        from=(-t bookworm-backports)
    else
        private_apt qemu own || return 1
    fi
    # Older releases keep RISC-V in qemu-system-misc.
    apt-cache "${APT[@]}" policy qemu-system-riscv | grep -q 'Candidate: [0-9]' && riscv=qemu-system-riscv
    as_root env DEBIAN_FRONTEND=noninteractive apt-get "${APT[@]}" -qq install -y --no-install-recommends "${from[@]}" \
        qemu-system-arm "$riscv"
}

# --- Rust's core library for bare-metal targets ----------------------------------------------------------------------

has_target() { # TRIPLE
    [[ ${SISKIN_BUILD_STD:-} != 1 ]] && compgen -G "$(rustc --print sysroot)/lib/rustlib/$1/lib/libcore-*" >/dev/null
}

# Makes the triples buildable: rustup's own, if it has them or can fetch them; else core is built from its source.
# Where neither works the suite fails.
need_targets() { # TRIPLE...
    local triple absent=()
    for triple in "$@"; do
        has_target "$triple" || absent+=("$triple")
    done
    ((${#absent[@]})) || return 0
    if [[ ${SISKIN_BUILD_STD:-} != 1 ]] && have rustup && consent "add Rust targets with rustup" &&
        timeout 120 rustup target add "${absent[@]}" >>"$LOG" 2>&1; then
        return 0
    fi
    need_library && return 0
    missing "Rust's core library for ${absent[*]}" "rustup target add ${absent[*]}"
    return 1
}

# Rust's standard library for a target with an operating system. It takes crates of its own, so it is not built from source
# as core is: rustup has it, or the suite fails.
need_std() { # TRIPLE
    has_std "$1" && return 0
    echo "  adding the Rust target $1"
    if have rustup && consent "add Rust targets with rustup"; then
        timeout 300 rustup target add "$1" >>"$LOG" 2>&1 || true
    fi
    has_std "$1" && return 0
    missing "Rust's standard library for $1" "rustup target add $1"
    return 1
}

has_std() { compgen -G "$(rustc --print sysroot)/lib/rustlib/$1/lib/libstd-*" >/dev/null; }

library_ok() { [[ -f $1/core/src/lib.rs && -f $1/Cargo.lock ]]; }

# Sets LIBRARY to the source of exactly the compiler's version: another release's does not build.
need_library() {
    local version dir
    version=$(rustc --version | awk '{ print $2 }')
    dir=$TOOLS_DIR/rust-src-$version
    for LIBRARY in "${SISKIN_RUST_LIBRARY:-}" "$(rustc --print sysroot)/lib/rustlib/src/rust/library" \
        "$dir/usr/src/rustc-$version/library"; do
        library_ok "$LIBRARY" && return 0
    done
    echo "  fetching the source of Rust's core library, $version"
    fetch_library "$version" "$dir" >>"$LOG" 2>&1 || true
    LIBRARY=$dir/usr/src/rustc-$version/library
    library_ok "$LIBRARY"
}

# Debian's package rust-src, unpacked privately (nothing is installed). Backports keep older versions for a while.
fetch_library() { # VERSION DIR
    local suite version
    is_debian || return 1
    for suite in trixie-backports forky-backports forky sid; do
        private_apt "rust-$suite" alone "$suite" || continue
        version=$(apt-cache "${APT[@]}" madison rust-src | awk -v v="$1" '$3 ~ "^" v "[+]" { print $3; exit }')
        [[ -n $version ]] || continue
        mkdir -p -- "$2"
        (cd -- "$2" && rm -f ./*.deb && apt-get "${APT[@]}" -qq download "rust-src=$version" && dpkg -x ./*.deb . && rm -f ./*.deb)
        return
    done
    return 1
}

# `cargo COMMAND --target TRIPLE ARGS...`, with core built from source where rustup lacks the target. That build has a
# target directory of its own: RUSTC_BOOTSTRAP changes what build scripts detect, so sharing one would rebuild the host's
# crates back and forth.
cross_cargo() { # COMMAND TRIPLE ARGS...
    local command=$1 triple=$2
    shift 2
    if has_target "$triple"; then
        cargo "$command" --target "$triple" "$@"
    else
        need_library || return 1
        RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$LIBRARY CARGO_TARGET_DIR=$TARGET_DIR/cross \
            cargo "$command" -Zbuild-std=core --target "$triple" "$@"
    fi
}

cross_dir() { # TRIPLE: where its programs end up
    if has_target "$1"; then printf '%s/%s' "$TARGET_DIR" "$1"; else printf '%s/cross/%s' "$TARGET_DIR" "$1"; fi
}
