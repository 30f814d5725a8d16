#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# run.sh - finds python3, goes to the checkout and hands over to harness/runner.
set -u
caller_dir=$PWD
failed=2
[[ " $* " == *" --git-bisect "* ]] && failed=255 # 2 would say to git that the kernel is bad
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" || exit $failed

if ! command -v python3 >/dev/null; then
	if [ "$(id -u)" -ne 0 ] || [[ " $* " == *" --no-install "* ]]; then
		echo "run.sh: python3 is missing (the runner is written in it): apt-get install -y python3" >&2
		exit $failed
	fi
	echo "run.sh: installing python3, the runner is written in it" >&2
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 >/dev/null ||
		{ apt-get update >/dev/null && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y --no-install-recommends python3 >/dev/null; } || exit $failed
fi
PINFAULT_CALLER_DIR=$caller_dir exec python3 -m harness.runner "$@"
