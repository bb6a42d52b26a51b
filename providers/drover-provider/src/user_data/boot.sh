#!/bin/sh
# Boots cloud-init with user data on a copy-on-write view of this machine, which keeps nothing of it: four stages as
# systemd runs them. Prints what /tmp/out has then, and the host's name.
# Usage: unshare --mount --net --uts --pid --ipc --fork sh boot.sh FOLDER USER_DATA, as root.
set -eu
folder=$1 document=$2

mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
root=$folder/root
mkdir "$folder/upper" "$folder/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"

rm -rf "$root/var/lib/cloud"
seed=$root/var/lib/cloud/seed/nocloud
mkdir -p "$seed" "$root/etc/cloud/cloud.cfg.d"
cat >"$seed/user-data" <"$document"
echo 'instance-id: i-7' >"$seed/meta-data"
# What takes long, or needs a machine.
cat >"$root/etc/cloud/cloud.cfg.d/99-here.cfg" <<END
datasource_list: [NoCloud]
locale: false
ssh_deletekeys: false
ssh_genkeytypes: []
END

chroot "$root" sh -eu >&2 <<END
cloud-init init --local
cloud-init init
cloud-init modules --mode=config
cloud-init modules --mode=final
END
cat "$root/tmp/out"
uname -n
