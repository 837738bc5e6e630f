# shellcheck shell=sh disable=SC2034 # the variables are for those who source this
# Shared by the scripts beside it; sourced, POSIX sh. The caller has set -eu and stands anywhere.

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit

# Where a started daemon (no systemd) leaves its traces, and where the product does.
bin=/usr/local/bin/copepod
log=/var/log/copepod.log
pid_file=/run/copepod/copepod.pid
kubeconfig=/etc/copepod/copepod.yaml
unit=copepod.service

say() { echo "==> $*"; }

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

need_root() {
    [ "$(id -u)" = 0 ] || die "needs root: sudo scripts/${0##*/} $*"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# True where systemd is process 1.
has_systemd() { [ -d /run/systemd/system ]; }

# need COMMAND=PACKAGE...: installs the packages whose commands are missing. A command that begins with / is a file.
need() {
    missing=
    for pair in "$@"; do
        case $pair in
        /*) [ -e "${pair%%=*}" ] || missing="$missing ${pair#*=}" ;;
        *) PATH=$PATH:/usr/sbin:/sbin has "${pair%%=*}" || missing="$missing ${pair#*=}" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    has apt-get || die "please install these, there is no apt-get to do it:$missing"
    say "installing$missing"
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# What running Copepod takes, and what building it takes.
need_to_run() { need containerd=containerd runc=runc iptables=iptables conntrack=conntrack ip=iproute2; }

need_to_build() {
    need cc=build-essential protoc=protobuf-compiler curl=curl /etc/ssl/certs/ca-certificates.crt=ca-certificates
    # cc may come without the C library's headers.
    need /usr/include/stdlib.h=libc6-dev
    need_cargo
}

# Builds run as the owner of the tree, so that `sudo scripts/up` leaves no files of root in it.
builder() {
    owner=$(stat -c %U "$root")
    if [ "$(id -u)" = 0 ] && [ "$owner" != root ] && [ "$owner" != UNKNOWN ]; then
        echo "$owner"
    else
        id -un
    fi
}

as_builder() {
    user=$(builder)
    home=$(getent passwd "$user" | cut -d: -f6)
    path=$home/.cargo/bin:$PATH
    if [ "$user" = "$(id -un)" ]; then
        env HOME="$home" PATH="$path" "$@"
    else
        runuser -u "$user" -- env HOME="$home" PATH="$path" "$@"
    fi
}

# The Rust release that Cargo.toml asks for, such as 1.95.
rust_version() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -1; }

cargo_is_new_enough() {
    as_builder sh -c 'command -v cargo' >/dev/null || return 1
    found=$(as_builder cargo --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$(rust_version)" "$found" | sort -V | head -1)" = "$(rust_version)" ]
}

need_cargo() {
    cargo_is_new_enough && return
    if ! as_builder sh -c 'command -v rustup' >/dev/null; then
        say "installing the Rust toolchain for $(builder)"
        # shellcheck disable=SC2016 # expanded by the inner shell
        as_builder sh -c 'curl --proto "=https" -sSf https://sh.rustup.rs |
            sh -s -- -y --profile minimal --no-modify-path --default-toolchain none' || need rustup=rustup
    fi
    RUSTUP_TOOLCHAIN=$(rust_version)
    export RUSTUP_TOOLCHAIN
    as_builder rustup toolchain install "$RUSTUP_TOOLCHAIN" --profile minimal --component clippy,rustfmt
    cargo_is_new_enough || die "cargo $(rust_version) or newer is needed; see https://rustup.rs"
}

need_kubectl() { has kubectl || need kubectl=kubernetes-client; }

# unpack_deb SUITE PACKAGE FOLDER: a package of another Debian release, unpacked and not installed.
unpack_deb() {
    [ ! -d "$3" ] || return 0
    say "unpacking $2 of Debian $1 into $3"
    scratch=$(mktemp -d)
    mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial" "$scratch/deb" "$(dirname "$3")"
    echo "deb http://deb.debian.org/debian $1 main" >"$scratch/sources.list"
    set -- "$1" "$2" "$3" -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$scratch/lists" -o Dir::State::Status=/dev/null -o Dir::Cache="$scratch/cache" -o APT::Sandbox::User=root \
        -o Debug::NoLocking=true -o Acquire::Languages=none
    package=$2 folder=$3
    shift 3
    (
        cd "$scratch/deb"
        apt-get "$@" update -qq && apt-get "$@" download -qq "$package"
    ) || { rm -rf "$scratch"; die "cannot download $package; is deb.debian.org reachable?"; }
    dpkg-deb -x "$scratch"/deb/*.deb "$folder.partial"
    mv "$folder.partial" "$folder"
    rm -rf "$scratch"
}

# Pid of the daemon that scripts/up started without systemd, when it still runs.
daemon_pid() {
    pid=$(cat "$pid_file" 2>/dev/null) || return 1
    # A deleted executable is one that has been replaced since.
    case $(readlink "/proc/$pid/exe" 2>/dev/null) in
    "$bin" | "$bin (deleted)") echo "$pid" ;;
    *) return 1 ;;
    esac
}
