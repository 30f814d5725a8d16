# SPDX-License-Identifier: GPL-2.0
# The few functions of xfstests' common/ that an exported test calls, for test_export.py: it puts this file in
# the place of common/preamble. They do what theirs do on a scratch device, without its options.
# shellcheck shell=bash disable=SC2034

_begin_fstest() {
	seq=$(basename "$0")
	here=$(pwd)
	tmp=$TEST_TMP/$seq
	seqres=$TEST_TMP/$seq
	status=1
	echo "QA output created by $seq"
	trap 'umount "$SCRATCH_MNT" 2>/dev/null; exit $status' EXIT
}

_fail() { echo "$*"; exit 1; }
_notrun() { echo "notrun: $*" >"$seqres.notrun"; status=0; exit; }
_require_scratch() { [ -b "$SCRATCH_DEV" ] || _notrun "no SCRATCH_DEV"; }
_require_test_program() { [ -x "src/$1" ] || _notrun "src/$1 not built"; }
_require_xfs_io_command() { xfs_io -c "help $1" | grep -q "^$1" || _notrun "xfs_io $1"; }
_require_io_uring() { ! grep -qs '[12]' /proc/sys/kernel/io_uring_disabled || _notrun "io_uring"; }
_require_scratch_reflink() { [ "$FSTYP" = xfs ] || [ "$FSTYP" = btrfs ] || _notrun "reflink"; }
_require_scratch_dedupe() { _require_scratch_reflink; }
_require_scratch_dax_mountopt() { grep -q 1 "/sys/block/$(basename "$SCRATCH_DEV")/queue/dax" || _notrun "DAX"; }
_scratch_mkfs() { "mkfs.$FSTYP" -f "$SCRATCH_DEV"; }
_scratch_mount() { mount "$@" "$SCRATCH_DEV" "$SCRATCH_MNT"; }
