# SPDX-License-Identifier: GPL-2.0
"""fio as a neighbour on the same filesystem: workloads/fio/neighbour.fio, through the agent.

The `still` files are written once before the cases and verified after them, and after the remount where
there is one: data of a case that lands in somebody else's blocks shows there. The `live` job keeps
allocating, writing back and verifying while the cases run.
"""

from pathlib import Path

from .agent import Agent

# One fio for both, for under emulation starting it costs more than what it does. The `still` files are
# written when the last of them has its size; only then may it be stopped.
_START = r'''
mkdir -p "$1/neighbour" && cd "$2" || exit 1
rm -f live.pid
setsid sh -c 'echo $$ > live.pid; exec fio --directory="$1/neighbour" --section=still --section=live neighbour.fio' \
	sh "$1" > live.log 2>&1 < /dev/null &
i=0
until [ "$(stat -c %s "$1/neighbour/still.0" "$1/neighbour/still.1" 2>/dev/null | tr '\n' ' ')" = '524288 524288 ' ]; do
	i=$((i+1))
	if [ $i -ge 200 ] || { [ -s live.pid ] && ! kill -0 "$(cat live.pid)" 2>/dev/null; }; then
		kill -KILL "$(cat live.pid)" 2>/dev/null
		cat live.log
		exit 1
	fi
	sleep 0.1
done
'''
_STOP = r'''
cd "$1" || exit 0
[ -s live.pid ] || exit 0
pid=$(cat live.pid); rm -f live.pid
kill -INT "$pid" 2>/dev/null
timeout 20 tail --pid="$pid" -s 0.1 -f /dev/null || kill -KILL "$pid"
grep -a -E '^(verify|crc32c|fio: pid=)' live.log || true
'''
_VERIFY = r'''
cd "$2" && fio --directory="$1/neighbour" --section=still-check --readonly neighbour.fio
'''


class Neighbour:
    """fio beside one mounted filesystem. Does nothing if fio cannot start; `why` says so."""

    def __init__(self, agent: Agent, job: Path, mnt: str, work_dir: str) -> None:
        self.agent, self.job, self.mnt, self.work_dir = agent, job, mnt, work_dir
        self.running = False
        self.why = ""

    def start(self) -> None:
        text = self.job.read_text()
        self.agent.sh("sh", "-c", 'mkdir -p "$2" && printf %s "$1" > "$2/neighbour.fio"', "sh", text,
                      self.work_dir)
        done = self.agent.sh("sh", "-c", _START, "sh", self.mnt, self.work_dir, timeout_s=60)
        self.running = done.ok
        if not done.ok:
            self.why = f"fio did not start: {done.out.strip().splitlines()[-1:] or done.how}"

    def stop(self) -> list[str]:
        """Stop the live job; returns its complaints."""
        if not self.running:
            return []
        done = self.agent.sh("sh", "-c", _STOP, "sh", self.work_dir, timeout_s=40)
        return [line for line in done.out.splitlines() if line.strip()]

    def verify(self) -> list[str]:
        """Read `still` and compare: after the remount, where there is one."""
        if not self.running:
            return []
        done = self.agent.sh("sh", "-c", _VERIFY, "sh", self.mnt, self.work_dir, timeout_s=60)
        if done.ok:
            return []
        return [line for line in done.out.splitlines() if line.strip()][:6] or [done.how]
