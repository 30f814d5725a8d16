#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# try-revision.sh RESULT [TIMES] - build the kernel of the revision that is checked out here, and run a recorded
# case on it. In a kernel tree, between a good and a bad revision:
#
#	git bisect run PINFAULT/harness/guest/try-revision.sh PINFAULT/results/RUN/cases/K/F/C/S 3
#
# The kernel is built in $BUILD (default: ../pinfault-build beside the tree), from the configuration $CONFIG (default:
# the architecture's defconfig of the first revision) with kernel.config merged into it.
#
# Exit, as git wants it: 0 the case never failed; 1 it failed; 125 the revision cannot be built or booted, or nothing
# was concluded, and git tries another; 255 ends the bisection.
set -u
pinfault=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..
if [ $# -lt 1 ] || [ ! -x scripts/kconfig/merge_config.sh ]; then
	echo "usage, in a kernel tree: try-revision.sh RESULT [TIMES]" >&2
	exit 255
fi
result=$1
[ -d "$result" ] && result=$(readlink -f "$result")
times=${2:-3}
build=$(readlink -m "${BUILD:-../pinfault-build}")
mkdir -p "$build" || exit 255

# Every revision begins with the same one: what olddefconfig makes of it must not grow from revision to revision.
if [ ! -e "$build/base.config" ]; then
	if [ -n "${CONFIG:-}" ]; then
		cp "$CONFIG" "$build/base.config" || exit 255
	else
		make -s O="$build" defconfig || exit 125
		cp "$build/.config" "$build/base.config" || exit 255
	fi
fi

build_kernel() {
	# A line that begins with "?" is a wish.
	sed -n 's/^?\{0,1\}\(CONFIG_.*\)/\1/p' "$pinfault/harness/guest/kernel.config" >"$build/pinfault.config" &&
		scripts/kconfig/merge_config.sh -m -O "$build" "$build/base.config" "$build/pinfault.config" >/dev/null &&
		make -s O="$build" olddefconfig &&
		make -s -j"$(nproc)" O="$build" bzImage modules &&
		rm -rf "$build/modules" &&
		make -s O="$build" INSTALL_MOD_PATH="$build/modules" INSTALL_MOD_STRIP=1 modules_install
}

build_kernel >"$build/log" 2>&1 </dev/null || {
	echo "try-revision.sh: the kernel does not build, see $build/log" >&2
	exit 125
}
exec "$pinfault/run.sh" repro "$result" --times "$times" --git-bisect \
	--kernel "$build/arch/x86/boot/bzImage" --modules "$build/modules"
