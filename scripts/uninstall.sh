#!/bin/sh
# Removes Copepod from this machine: containers, data, configuration, service and program.
# install.sh installs this as <service>-uninstall.sh, from which it knows the service's name.
set -eu

[ "$(id -u)" = 0 ] || { echo "${0##*/}: needs root" >&2; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
case ${0##*/} in
uninstall.sh) service=copepod bin_dir=/usr/local/bin ;;
*) service=$(basename "$0" -uninstall.sh) bin_dir=$here ;;
esac
data_dir=${COPEPOD_DATA_DIR:-/var/lib/copepod}

unit_file=
if [ -d /run/systemd/system ]; then
    unit_file=$(systemctl show --property FragmentPath --value "$service.service")
    systemctl disable --quiet --now "$service.service" 2>/dev/null || true
fi

# Containers and data are shared by all of Copepod's services: they go with the last.
others=
for other in "$bin_dir"/copepod*-uninstall.sh; do
    if [ -e "$other" ] && [ "${other##*/}" != "$service-uninstall.sh" ]; then others=$other; fi
done
if [ -z "$others" ]; then
    if [ -x "$here/copepod-killall.sh" ]; then "$here/copepod-killall.sh"; else "$here/killall.sh"; fi
    # This file system only: a volume that is still mounted below must not be emptied. The folder itself may be a disk.
    [ ! -d "$data_dir" ] || find "$data_dir" -xdev -mindepth 1 -delete || true
    [ ! -d "$data_dir" ] || rmdir "$data_dir" 2>/dev/null || echo "${0##*/}: $data_dir is left, it is a mount point" >&2
    rm -rf /etc/copepod /var/log/copepod.log
    rm -f "$bin_dir/copepod" "$bin_dir/copepod-killall.sh"
fi
rm -f "/etc/default/$service" "$bin_dir/$service-uninstall.sh"
if [ -n "$unit_file" ]; then
    rm -f "$unit_file" "$unit_file.env"
    systemctl daemon-reload
    systemctl reset-failed "$service.service" 2>/dev/null || true
fi
