# SPDX-License-Identifier: GPL-2.0
"""What tests of explorations begin with: an alphabet, a judge of a few lines, and a machine that breaks."""

import itertools
from collections.abc import Callable
from typing import Any

from .fake_machine import FakeMachine
from .test_runner_enumeration import FAULTS
from .test_runner_execute import Bench
from harness.runner.alphabet import parse
from harness.runner.explore import Explore, ExploreKernel
from harness.runner.explore_state import Cell
from harness.runner.findings import steps_from, verbs

ALPHABET = """# test
file A 16K written pinned
step write A 0 4K
step punch A 0 4K
step evict A
step hold A 0 4K
step land
"""
JUDGE = """#!/bin/sh
if [ "$1" = --each ]; then # the fake machine's histories say what is to be answered
	while read -r line; do
		case $line in .) echo end ;; *) echo "$line" ;; esac
	done
	exit 0
fi
[ "$1" = --stdin ] || exit 2
while read -r path; do
	if grep -q BAD "$path"; then echo "verdict corrupt"; echo "resolution lost"; echo "kind lost-write"; sed -n 's/.*BAD \\(.\\)/kind \\1/p' "$path"
	else echo "verdict coherent"; echo "resolution landed"; fi
	echo "checked 3"; echo end
done
"""


def verbs_of(finding: dict[str, Any]) -> list[str]:
    return verbs(steps_from(finding["steps"]))


class Exploring(Bench):
    """No test of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.judge.write_text(JUDGE)
        self.store.meta["explore"] = {"cells": {}, "alphabet": {"name": "test", "title": "t", "text": ALPHABET},
                                      "depth": 3, "shard": 1, "shards": 1}
        self.store.meta["run"] = "test"
        self.machine = FakeMachine()

    def explore(self, depth: int = 3, channel: str = "dio-read", until: float | None = None,
                **more: object) -> dict[str, object]:
        kernel = ExploreKernel(self.machine, self.context)
        kernel.until = until
        kernel.explore = Explore(depth, alphabet=parse(ALPHABET, "test", "test", FAULTS), times=3, **more)  # type: ignore
        kernel.numbers = itertools.count(1)  # type: ignore[misc]
        kernel.run([Cell("6.1", "xfs", channel)])
        return self.store.meta["explore"]["cells"][f"6.1/xfs/{channel}"]

    def breaks(self, when: Callable[[str], bool], how: str = "corrupt") -> None:
        """Sequences of which that holds do so, explored and as a case."""
        self.machine.on_explore = lambda text: how if when(text) else "coherent"
        bad = {"corrupt": ("ok ran", ["BAD"]), "die": ("die", []), "hung": ("ok hung D%20x", [])}[how]
        original = self.machine.do_case

        def case(words: object, keys: dict[str, str]) -> list[str]:
            broken = when(keys["seq"])
            self.machine.on_case = lambda nr, m: bad[0] if broken else "ok ran"
            self.machine.history_of = lambda nr: bad[1] if broken else []
            return original(words, keys)
        self.machine.do_case = case  # type: ignore[method-assign]
