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

stop() {
	echo "try-revision.sh: $1" >&2
	exit 255
}

skip() {
	echo "try-revision.sh: the kernel does not build, see $build/log:" >&2
	grep -m 3 -iE 'error|not found|\*\*\*' "$build/log" >&2 || tail -n 3 "$build/log" >&2
	exit 125
}

if [ $# -lt 1 ] || [ ! -x scripts/kconfig/merge_config.sh ]; then
	stop "usage, in a kernel tree: try-revision.sh RESULT [TIMES]"
fi
times=${2:-3}
[[ $times =~ ^[1-9][0-9]*$ ]] || stop "TIMES is a number from 1 up, not '$times'"
# What would end the bisection after the first build is looked at before it.
result=
for folder in "$1" "${1/://cases/}" "$pinfault/results/${1/://cases/}"; do
	[ -e "$folder/case.json" ] && [ -e "$folder/sequence.seq" ] && result=$(readlink -f "$folder") && break
done
[ -n "$result" ] || stop "$1: holds no recorded case that was run (case.json, sequence.seq)"
if [ -e .config ] || [ -d include/config ] || [ -d arch/x86/include/generated ]; then
	stop "the tree has been built in, and the kernel is built outside of it: make mrproper (CONFIG= for its .config)"
fi
build=$(readlink -m "${BUILD:-../pinfault-build}")
again=(repro "$result" --times "$times" --git-bisect --kernel "$build/arch/x86/boot/bzImage" --modules "$build/modules")
"$pinfault/run.sh" "${again[@]}" --check </dev/null || exit 255
mkdir -p "$build" || exit 255

# Every revision begins with the same one: what olddefconfig makes of it must not grow from revision to revision.
if [ -n "${CONFIG:-}" ]; then
	cp "$CONFIG" "$build/base.config" || exit 255
elif [ ! -e "$build/base.config" ]; then
	make -s O="$build" defconfig >"$build/log" 2>&1 </dev/null || skip
	cp "$build/.config" "$build/base.config" || exit 255
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

build_kernel >"$build/log" 2>&1 </dev/null || skip
exec "$pinfault/run.sh" "${again[@]}"
