#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What a user without any privilege puts into files of root's: unprivileged.sh DEV DIR REPRODUCE, as
# root. DEV is formatted. Exit 1: a file of root's holds it; 0: none does; 2: it cannot run here.
dev=$1 dir=$2 reproduce=$3
mkfs.xfs -q -f -m reflink=1 "$dev" && mount -o dax=always "$dev" "$dir" || exit 2
sysctl -qw vm.unprivileged_userfaultfd=1 # how long the pin is held depends on it, nothing else
mkdir -m 1777 "$dir/t"
cp "$reproduce" "$dir/reproduce"
chmod 755 "$dir" "$dir/reproduce"
setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all \
	"$dir/reproduce" "$dir/t" slow &
user=$!
sleep 3
umask 077
for i in $(seq 400); do
	head -c 4096 /dev/zero | tr '\0' o > "$dir/t/root$i"
done
wait $user
[ $? -le 1 ] || exit 2
sync
bad=0
for i in $(seq 400); do
	n=$(tr -d o < "$dir/t/root$i" | wc -c)
	[ "$n" = 0 ] && continue
	echo "FAIL: $n bytes of root$i ($(stat -c '%U, mode %a' "$dir/t/root$i")) are not what root wrote:" \
		"$(tr -d o < "$dir/t/root$i" | head -c 8)..."
	bad=1
done
exit $bad
