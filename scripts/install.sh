#!/bin/sh
# Installs Copepod as a service:
#
#     curl -sfL URL/install.sh | COPEPOD_RELEASE_URL=URL sh -s - server [FLAG...]
#
# Without `server` or `agent` the role is agent when COPEPOD_URL is set, else server. Running it again with the same
# settings changes nothing and restarts nothing; flags given before and not again are dropped.
#
#   COPEPOD_RELEASE_URL              folder to download from: copepod-<arch>, sha256sum-<arch>.txt and the files beside
#   INSTALL_COPEPOD_VERSION          subfolder of it
#   INSTALL_COPEPOD_BIN              an executable to install instead of downloading
#   INSTALL_COPEPOD_EXEC             role and flags, before those of the command line
#   INSTALL_COPEPOD_BIN_DIR          where the executable goes (/usr/local/bin, or /opt/bin where that is read-only)
#   INSTALL_COPEPOD_SYSTEMD_DIR      where the unit goes (/etc/systemd/system)
#   INSTALL_COPEPOD_NAME             the service is called copepod-<name>
#   INSTALL_COPEPOD_SKIP_ENABLE      true: the service is neither enabled nor started
#   INSTALL_COPEPOD_SKIP_START       true: the service is not started
#   INSTALL_COPEPOD_FORCE_RESTART    true: the service is restarted even when nothing changed
#   INSTALL_COPEPOD_SKIP_PACKAGES    true: missing packages are named, not installed
#   COPEPOD_URL, COPEPOD_TOKEN       server to join, and the secret for it
#
# Variables that begin with COPEPOD_ or CONTAINERD_ or end in _PROXY or _proxy are kept for the service.
set -eu

say() { echo "[copepod] $*"; }

die() {
    echo "[copepod] $*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# The folder that this script came in, when it came in one.
find_tree() {
    tree=
    case $0 in
    */install.sh) tree=$(cd "$(dirname "$0")/.." && pwd) ;;
    esac
    [ -f "$tree/systemd/copepod.service" ] || tree=
}

choose_role() {
    # shellcheck disable=SC2086 # words, as k3s takes them
    set -- ${INSTALL_COPEPOD_EXEC-} "$@"
    case ${1-} in
    server | agent)
        role=$1
        shift
        ;;
    -* | '') if [ -n "${COPEPOD_URL-}" ]; then role=agent; else role=server; fi ;;
    *) die "unknown role $1: give server or agent" ;;
    esac
    if [ "$role" = agent ]; then
        case ${COPEPOD_URL-} in
        https://*) ;;
        '') die "an agent needs COPEPOD_URL, the https address of its server" ;;
        *) die "COPEPOD_URL must begin with https://, it is $COPEPOD_URL" ;;
        esac
        [ -n "${COPEPOD_TOKEN-}${COPEPOD_TOKEN_FILE-}" ] || die "an agent needs COPEPOD_TOKEN, from the server's server/token"
    fi
    # Each flag quoted as systemd reads it.
    flags=
    for flag in "$@"; do
        flags="$flags \"$(printf '%s' "$flag" | sed 's/[\\"]/\\&/g; s/%/%%/g; s/\$/$$/g')\""
    done
}

choose_names() {
    if [ -n "${INSTALL_COPEPOD_NAME-}" ]; then
        service=copepod-$INSTALL_COPEPOD_NAME
    elif [ "$role" = agent ]; then
        service=copepod-agent
    else
        service=copepod
    fi
    case $service in *[!A-Za-z0-9_.-]*) die "INSTALL_COPEPOD_NAME has characters that a service's name cannot have" ;; esac
    bin_dir=${INSTALL_COPEPOD_BIN_DIR-}
    if [ -z "$bin_dir" ]; then
        bin_dir=/usr/local/bin
        if ! (mkdir -p $bin_dir && touch $bin_dir/.copepod && rm $bin_dir/.copepod) 2>/dev/null; then bin_dir=/opt/bin; fi
    fi
    systemd_dir=${INSTALL_COPEPOD_SYSTEMD_DIR:-/etc/systemd/system}
    systemd=
    if [ -d /run/systemd/system ]; then systemd=yes; fi
}

choose_architecture() {
    case $(uname -m) in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    armv7* | armhf) arch=arm ;;
    riscv64) arch=riscv64 ;;
    *) die "there is no Copepod for $(uname -m)" ;;
    esac
}

install_packages() {
    missing=
    for program in containerd iptables conntrack; do
        PATH=$PATH:/usr/sbin:/sbin has $program || missing="$missing $program"
    done
    PATH=$PATH:/usr/sbin:/sbin has runc || PATH=$PATH:/usr/sbin has crun || missing="$missing runc"
    [ -n "$missing" ] || return 0
    [ "${INSTALL_COPEPOD_SKIP_PACKAGES-}" != true ] || die "please install:$missing"
    say "installing$missing"
    # Debian's names; what others call differently.
    others=$(echo "$missing" | sed 's/conntrack/conntrack-tools/')
    # shellcheck disable=SC2086 # lists of words
    if has apt-get; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
        # The package starts a containerd of its own, which nobody here uses.
        if [ -n "$systemd" ]; then
            case $missing in *containerd*) systemctl disable --quiet --now containerd.service || true ;; esac
        fi
    elif has dnf; then
        dnf install -y -q $others
    elif has zypper; then
        zypper --non-interactive --quiet install $others
    elif has apk; then
        apk add --quiet $others
    else
        die "please install:$missing"
    fi
}

download() {
    if has curl; then
        curl -fsSL -o "$2" "$1"
    elif has wget; then
        wget -qO "$2" "$1"
    else
        die "curl or wget is needed"
    fi || die "cannot download $1"
}

# fetch FILE: puts it into $scratch, and makes sure that it is what the list of sums says.
fetch() {
    download "$url/$1" "$scratch/$1"
    wanted=$(awk -v name="$1" '$2 == name || $2 == "*" name { print $1 }' "$scratch/sums")
    [ -n "$wanted" ] || die "$url/sha256sum-$arch.txt does not list $1"
    [ "$(sum "$scratch/$1")" = "$wanted" ] || die "$1 was damaged on its way: its SHA-256 is not the listed one"
}

sum() { if [ -f "$1" ]; then sha256sum "$1" | cut -d' ' -f1; fi; }

# Brings executable, units and scripts into $scratch.
gather() {
    url=${COPEPOD_RELEASE_URL-}
    if [ -n "$url" ]; then
        url=${url%/}${INSTALL_COPEPOD_VERSION:+/$INSTALL_COPEPOD_VERSION}
        download "$url/sha256sum-$arch.txt" "$scratch/sums"
    fi
    if [ -n "${INSTALL_COPEPOD_BIN-}" ]; then
        [ -f "$INSTALL_COPEPOD_BIN" ] || die "INSTALL_COPEPOD_BIN names $INSTALL_COPEPOD_BIN, which is no file"
        cp "$INSTALL_COPEPOD_BIN" "$scratch/copepod"
    elif [ -n "$url" ]; then
        wanted=$(awk -v name="copepod-$arch" '$2 == name { print $1 }' "$scratch/sums")
        if [ -n "$wanted" ] && [ "$(sum "$bin_dir/copepod")" = "$wanted" ]; then
            cp "$bin_dir/copepod" "$scratch/copepod"
        else
            say "downloading copepod-$arch"
            fetch "copepod-$arch"
            mv "$scratch/copepod-$arch" "$scratch/copepod"
        fi
    else
        die "set COPEPOD_RELEASE_URL to download from, or INSTALL_COPEPOD_BIN to a built executable"
    fi
    for file in "systemd/copepod.service" "systemd/copepod-agent.service" "scripts/killall.sh" "scripts/uninstall.sh"; do
        if [ -n "$tree" ]; then
            cp "$tree/$file" "$scratch/${file#*/}"
        elif [ -n "$url" ]; then
            fetch "${file#*/}"
        else
            die "set COPEPOD_RELEASE_URL: this script came alone, and needs ${file#*/} from there"
        fi
    done
}

# place FILE TARGET MODE: as install(1), but only when it changes something. A running program can be replaced this way.
place() {
    if [ "$(sum "$1")" = "$(sum "$2")" ] && [ "$(stat -c %a "$2")" = "$3" ]; then return 0; fi
    cp "$1" "$2.new"
    chmod "$3" "$2.new"
    mv "$2.new" "$2"
    changed="$changed ${2##*/}"
}

# Written as both systemd and a shell read it.
write_environment() {
    (umask 077 && : >"$1")
    # shellcheck disable=SC2016 # awk's
    awk 'BEGIN {
        for (name in ENVIRON) {
            if (name !~ /^(COPEPOD|CONTAINERD)_/ && name !~ /_(PROXY|proxy)$/) continue
            if (name == "COPEPOD_RELEASE_URL") continue
            value = ENVIRON[name]
            gsub(/[\\"`$]/, "\\\\&", value)
            printf "%s=\"%s\"\n", name, value
        }
    }' | sort >>"$1"
}

write_unit() {
    source=copepod.service
    if [ "$role" = agent ]; then source=copepod-agent.service; fi
    # By the environment, because awk would take backslashes out of a -v value.
    exec_line="ExecStart=$bin_dir/copepod $role$flags" environment="$systemd_dir/$service.service.env" awk '
        /^ExecStart=/ { print ENVIRON["exec_line"]; next }
        /^EnvironmentFile=-\/etc\/systemd\/system\// { print "EnvironmentFile=-" ENVIRON["environment"]; next }
        { print }' "$scratch/$source" >"$1"
}

install_files() {
    changed=
    mkdir -p "$bin_dir"
    place "$scratch/copepod" "$bin_dir/copepod" 755
    place "$scratch/killall.sh" "$bin_dir/copepod-killall.sh" 755
    place "$scratch/uninstall.sh" "$bin_dir/$service-uninstall.sh" 755
    write_environment "$scratch/environment"
    if [ -n "$systemd" ]; then
        mkdir -p "$systemd_dir"
        write_unit "$scratch/unit"
        place "$scratch/environment" "$systemd_dir/$service.service.env" 600
        place "$scratch/unit" "$systemd_dir/$service.service" 644
    else
        place "$scratch/environment" "/etc/default/$service" 600
    fi
    if [ -n "$changed" ]; then say "installed:$changed"; else say "everything is in place already"; fi
}

start_service() {
    if [ -z "$systemd" ]; then
        [ "${INSTALL_COPEPOD_SKIP_START-}" = true ] || [ "${INSTALL_COPEPOD_SKIP_ENABLE-}" = true ] ||
            say "there is no systemd here; start it by: $bin_dir/copepod $role$flags"
        return 0
    fi
    [ "${INSTALL_COPEPOD_SKIP_ENABLE-}" != true ] || return 0
    systemctl daemon-reload
    systemctl enable --quiet "$service.service"
    [ "${INSTALL_COPEPOD_SKIP_START-}" != true ] || return 0
    if [ -z "$changed" ] && [ "${INSTALL_COPEPOD_FORCE_RESTART-}" != true ] && systemctl --quiet is-active "$service"; then
        return 0
    fi
    say "starting $service"
    systemctl restart "$service.service" || die "$service does not start: journalctl -u $service"
}

# A function, so that a download cut short runs nothing.
main() {
    [ "$(id -u)" = 0 ] || die "needs root"
    find_tree
    choose_role "$@"
    choose_names
    choose_architecture
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    install_packages
    gather
    install_files
    start_service
}

main "$@"
