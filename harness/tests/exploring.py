# SPDX-License-Identifier: GPL-2.0
"""What tests of explorations begin with: an alphabet, a judge of a few lines, and a machine that breaks."""

import itertools
from collections.abc import Callable
from typing import Any
from unittest import mock

from .fake_machine import FakeMachine
from .test_runner_enumeration import FAULTS
from .test_runner_execute import Bench
from harness.runner import explore, explore_attempt, explore_clock
from harness.runner.agent import decode
from harness.runner.alphabet import parse
from harness.runner.explore import Explore, ExploreKernel
from harness.runner.explore_state import Cell
from harness.runner.findings import steps_from, verbs

CASE_S, HANG_S = 2.0, 60.0
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

    def complains(self, complain: Callable[[str], object]) -> None:
        """Of each sequence, explored and as a case."""
        case, on_explore = self.machine.do_case, self.machine.on_explore

        def explored(text: str) -> str:
            complain(text)
            return on_explore(text)

        def with_message(words: object, keys: dict[str, str]) -> list[str]:
            complain(keys["seq"])
            return case(words, keys)
        self.machine.on_explore, self.machine.do_case = explored, with_message  # type: ignore[method-assign]

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


class Ticking:
    """In place of the module time: only what is run takes any."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Timed(Exploring):
    """On a clock of its own. No test of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Ticking()
        for module in (explore, explore_attempt, explore_clock):
            self.enterContext(mock.patch.object(module, "time", self.clock))
        self.fresh()

    def fresh(self) -> None:
        """Another run, on another machine."""
        self.machine = type(self.machine)()
        self.store.folder = self.store.folder.parent / f"run{len(list(self.store.folder.parent.iterdir()))}"
        self.store.results.clear()
        self.store.meta.update(notes=[], controls=[])
        self.store.meta["explore"].update(cells={}, budget_s=1.0)

    def takes(self, seconds: Callable[[str], float], also: float = 0.0) -> None:
        """Each sequence so long, each filesystem `also`."""
        do_explore, do_case = self.machine.do_explore, self.machine.do_case

        def explored(words: object, keys: dict[str, str]) -> list[str]:
            took = sum(seconds(decode(r.split(" ")[2])) for r in self.machine.following if r.startswith("seq "))
            lines = do_explore(words, keys)
            hung = any(line.startswith("ok hung") for line in lines)
            self.clock.now += (HANG_S if hung else took) + also
            return [f"env wall_us {int(took * 1e6)}" if line.startswith("env wall_us") else line for line in lines]

        def case(words: object, keys: dict[str, str]) -> list[str]:
            lines = do_case(words, keys)
            self.clock.now += HANG_S if lines[-1].startswith("ok hung") else CASE_S
            return lines
        self.machine.do_explore, self.machine.do_case = explored, case  # type: ignore[method-assign]

    def code(self) -> int:
        self.store.write_run()
        with mock.patch("sys.stdout"):
            return explore._finish(mock.Mock(json=False), self.store, {}, mock.Mock())  # noqa: SLF001

    @staticmethod
    def in_hold(text: str, step: str) -> bool:
        return step in text.partition("hold")[2].partition("land")[0]

    def lose(self) -> None:
        self.breaks(lambda text: self.in_hold(text, "punch") or self.in_hold(text, "evict"))
        self.takes(lambda text: 0.1)

    def hang(self) -> None:
        self.breaks(lambda text: self.in_hold(text, "punch"), "hung")
        self.takes(lambda text: 0.1)
