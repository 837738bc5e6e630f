#!/bin/sh
# Ends everything that Copepod runs on this machine: server, agent, containerd, every container; then removes their
# mounts, network namespaces, devices, packet filter rules and cgroups. Data stays.
# install.sh installs this as copepod-killall.sh. Honours COPEPOD_DATA_DIR and COPEPOD_RUN_DIR.
set -eu

data_dir=${COPEPOD_DATA_DIR:-/var/lib/copepod}
run_dir=${COPEPOD_RUN_DIR:-/run/copepod}
PATH=$PATH:/usr/sbin:/sbin

[ "$(id -u)" = 0 ] || { echo "${0##*/}: needs root" >&2; exit 1; }

stop_services() {
    if [ -d /run/systemd/system ]; then
        systemctl stop 'copepod*.service'
    fi
    if pid=$(cat "$run_dir/copepod.pid" 2>/dev/null); then
        case $(readlink "/proc/$pid/exe" 2>/dev/null) in
        */copepod | */copepod\ \(deleted\)) end "$pid" ;;
        esac
    fi
}

# Asks a process to end, and kills it when it has not after ten seconds.
end() {
    kill "$1" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$1" 2>/dev/null || true
}

# Our containerd, and the shims that belong to it: their arguments name our socket or configuration.
runtime_pids() {
    mounts=$(readlink /proc/$$/ns/mnt)
    for entry in /proc/[0-9]*; do
        # Another mount namespace has another /run: a container, or a cluster under test.
        [ "$(readlink "$entry/ns/mnt" 2>/dev/null)" = "$mounts" ] || continue
        case $(readlink "$entry/exe" 2>/dev/null) in
        */containerd | */containerd-shim*) ;;
        *) continue ;;
        esac
        case $(tr '\0' ' ' <"$entry/cmdline" 2>/dev/null) in
        *" $run_dir/"* | *" $data_dir/agent/"*) echo "${entry#/proc/}" ;;
        esac
    done
}

# Pids given, with all below them: a container's processes are below its shim.
with_descendants() {
    ps -e -o pid= -o ppid= | awk -v roots="$*" '
        { parent[$1] = $2 }
        END {
            count = split(roots, list, " ")
            for (i = 1; i <= count; i++) ours[list[i]] = 1
            do {
                grown = 0
                for (pid in parent) if (!(pid in ours) && (parent[pid] in ours)) { ours[pid] = 1; grown = 1 }
            } while (grown)
            for (pid in ours) print pid
        }'
}

kill_runtime() {
    # Again, in case a container was being started meanwhile.
    for _ in 1 2 3; do
        pids=$(runtime_pids)
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2046,SC2086 # lists of pids
        kill -9 $(with_descendants $pids) 2>/dev/null || true
        sleep 0.2
    done
}

unmount_below() {
    # Last mounted first. Spaces and the like are octal in the list.
    awk -v folder="$1/" 'index($2, folder) == 1 { print $2 }' /proc/self/mounts | sort -r | while read -r point; do
        point=$(printf '%b' "$point")
        umount -l "$point" || true
    done
}

# Of the namespaces that container runtimes made, those in which no process is left.
remove_namespaces() {
    used=$(readlink /proc/[0-9]*/ns/net 2>/dev/null | sort -u || true)
    for file in /run/netns/cni-*; do
        [ -e "$file" ] || continue
        if ! echo "$used" | grep -qF "net:[$(stat -L -c %i "$file")]"; then
            umount -l "$file" 2>/dev/null || true
            rm -f "$file"
        fi
    done
}

remove_devices() {
    for device in $(ip -o link show master cni0 2>/dev/null | awk -F': ' '{ sub(/@.*/, "", $2); print $2 }'); do
        ip link delete "$device" 2>/dev/null || true
    done
    for device in cni0 copepod.1; do
        ip link delete "$device" 2>/dev/null || true
    done
}

# Deletes the jumps into our chains and then the chains, as one transaction a table; other rules are not touched.
remove_rules() {
    for tool in iptables ip6tables; do
        command -v "$tool-save" >/dev/null || continue
        "$tool-save" 2>/dev/null | awk '
            /^\*/ { table = $0; jumps = ""; flushes = ""; deletes = "" }
            /^:COPEPOD-/ { chain = substr($1, 2); flushes = flushes "-F " chain "\n"; deletes = deletes "-X " chain "\n" }
            /^-A/ && $2 !~ /^COPEPOD-/ && /-[jg] COPEPOD-/ { sub(/^-A/, "-D"); jumps = jumps $0 "\n" }
            /^COMMIT/ && flushes != "" { printf "%s\n%s%s%sCOMMIT\n", table, jumps, flushes, deletes }
        ' | "$tool-restore" --noflush || echo "${0##*/}: some $tool rules could not be removed" >&2
    done
}

remove_cgroups() {
    for pods in /sys/fs/cgroup/kubepods* /sys/fs/cgroup/*/kubepods*; do
        # Only empty ones go.
        [ ! -d "$pods" ] || find "$pods" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
}

stop_services
kill_runtime
unmount_below "$run_dir"
unmount_below "$data_dir"
remove_namespaces
remove_devices
remove_rules
remove_cgroups
rm -rf "$run_dir"
