#!/bin/sh
# Runs "$@" in the sandbox's cgroups and folder $1; called inside the sandbox's namespaces.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo $$ >/sys/fs/cgroup/init/cgroup.procs
else
    for procs in /sys/fs/cgroup/*/cgroup.procs; do
        echo $$ >"$procs"
    done
fi
cd "$1" || exit 125
shift
exec "$@"
