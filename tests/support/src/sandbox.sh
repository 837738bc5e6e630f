#!/bin/sh
# Keeps one test cluster's namespaces, and takes everything away when its standard input closes: whether the test
# ended, panicked or was killed. Started as `sandbox.sh NAME FOLDER`, runs itself again inside as `sandbox.sh --inside`.
#
# Everything of the cluster (server, containerd, shims, containers) lives in one PID namespace, one mount namespace,
# one network namespace and one cgroup per hierarchy. Ending process 1 therefore ends all of it.
set -eu

cgroups=/sys/fs/cgroup

# The mount points of the v1 hierarchies, or the v2 one.
hierarchies() {
    awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts
}

# Lets the children of cgroup $1 use its controllers (v2).
delegate() {
    sed 's/[^ ]*/+&/g' "$1/cgroup.controllers" >"$1/cgroup.subtree_control"
}

join_own_cgroups() {
    for hierarchy in $(hierarchies); do
        if [ -f "$hierarchy/cgroup.subtree_control" ]; then
            delegate "$hierarchy" || true
        fi
        mkdir -p "$hierarchy/$name"
        # A new cpuset has no processors until it is given some.
        for file in cpuset.mems cpuset.cpus; do
            [ ! -f "$hierarchy/cgroup.clone_children" ] || [ ! -f "$hierarchy/$file" ] ||
                cat "$hierarchy/$file" >"$hierarchy/$name/$file"
        done
        echo $$ >"$hierarchy/$name/cgroup.procs"
    done
}

leave_cgroups() {
    for hierarchy in $(hierarchies); do
        echo $$ >"$hierarchy/cgroup.procs" || true
        # A cgroup stays busy until the kernel has buried its last process.
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            [ -d "$hierarchy/$name" ] || break
            find "$hierarchy/$name" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
        done
    done
}

if [ "$1" != --inside ]; then
    name=$1 folder=$2
    # Only the end of the input ends this; an interrupt from the terminal reaches the test, and so the input.
    trap '' INT TERM HUP
    exec 3<&0
    join_own_cgroups
    unshare --cgroup --net --pid --mount --uts --ipc --fork --mount-proc --propagation private \
        sh "$0" --inside "$name" <&3 || true
    leave_cgroups
    rm -rf --one-file-system "$folder"
    exit 0
fi

name=$2
trap - INT TERM HUP
mount --make-rshared /

# sysfs shows the network devices of the namespace it is mounted in; it hides the cgroups, which come back below.
awk '$3 == "cgroup" || $3 == "cgroup2" { print $2, $3, $4 }' /proc/self/mounts >"$(dirname "$0")/cgroup-mounts"
umount --recursive --lazy /sys
mount -t sysfs sysfs /sys
grep -q "^$cgroups " "$(dirname "$0")/cgroup-mounts" || mount -t tmpfs -o mode=755 tmpfs "$cgroups"
while read -r point type options; do
    if [ "$point" = "$cgroups" ]; then
        mount -t "$type" "$type" "$cgroups"
        mkdir "$cgroups/init"
        while read -r process; do echo "$process" >"$cgroups/init/cgroup.procs"; done <"$cgroups/cgroup.procs"
        delegate "$cgroups"
        continue
    fi
    mkdir -p "$point"
    if [ "$type" = cgroup2 ]; then
        mount -t cgroup2 cgroup2 "$point"
    else
        controllers=$(echo "$options" | tr , '\n' |
            grep -Ev '^(rw|ro|nosuid|nodev|noexec|relatime|xattr|clone_children|release_agent=.*)$' | paste -sd, -)
        mount -t cgroup -o "$controllers" cgroup "$point"
    fi
done <"$(dirname "$0")/cgroup-mounts"

# What Copepod, containerd and iptables leave outside of the data folder.
resolver=$(readlink -f /etc/resolv.conf || true)
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns /var/log
mount -t tmpfs -o mode=755 tmpfs /var/log
if [ ! -e /etc/resolv.conf ] && [ -n "$resolver" ]; then
    mkdir -p "$(dirname "$resolver")"
    echo nameserver 192.168.77.1 >"$resolver"
fi

hostname "$name"
ip link set lo up
# A default route that leads nowhere: nothing leaves the namespace.
ip link add uplink0 type veth peer name nowhere
ip link set nowhere up
ip addr add 192.168.77.2/24 dev uplink0
ip link set uplink0 up
ip route add default via 192.168.77.1

# Process 1 reaps orphans while it waits for the end of its input.
exec 3<&0
cat <&3 >/dev/null &
echo ready
wait $!
