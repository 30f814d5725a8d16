# SPDX-License-Identifier: GPL-2.0
"""The protocol's tokens and replies."""

import unittest
from unittest import mock

from harness.runner.agent import Agent, decode, encode, late_histories
from harness.runner.errors import AgentDied, AgentTimeout


class Script:
    """A transport that answers each request with prepared lines."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.sent: list[str] = []

    def send(self, line: str) -> None:
        self.sent.append(line)

    def recv(self, timeout_s: float) -> str:
        if not self.lines:
            raise AgentTimeout("nothing more")
        return self.lines.pop(0)


class Tokens(unittest.TestCase):
    def test_round_trip(self) -> None:
        for text in ("", "a", "a b", "100%", "%-", "line\nline\ttab", "\x7f", "grün", "%41", "a%"):
            with self.subTest(text):
                token = encode(text)
                self.assertNotRegex(token, r"[\x00-\x20\x7f]")
                self.assertEqual(decode(token), text)

    def test_known_forms(self) -> None:
        self.assertEqual(encode(""), "%-")
        self.assertEqual(encode("a b%"), "a%20b%25")

    def test_bad_escape_stays(self) -> None:
        self.assertEqual(decode("a%zz%2"), "a%zz%2")


class Requests(unittest.TestCase):
    def test_late_histories(self) -> None:
        self.assertEqual(late_histories(["7 inv%201%209%20write%20A%200%2064", "8 note%20b", "x y", "", "7", "7 note%20c"]),
                         {7: ["inv 1 9 write A 0 64", "note c"], 8: ["note b"]})

    def test_watch(self) -> None:
        Agent(Script("said")).watch(5)
        dead = Script()
        dead.recv = lambda timeout_s: (_ for _ in ()).throw(AgentDied("gone"))  # type: ignore[method-assign]
        with self.assertRaises(AgentDied):
            Agent(dead).watch(5)

    def test_a_case_asks(self) -> None:
        script = Script("h note%20a", "ask forget", "h note%20b", "ok ran")
        asked: list[str] = []
        reply = Agent(script, asked.append).case(5, nr=9)
        self.assertEqual((reply.history(), asked, script.sent), (["note a", "note b"], ["forget"], ["case nr=9", "go"]))

    def test_an_exploration_is_silent_only_while_it_says_nothing(self) -> None:
        """However long it takes: a thousand sequences that sleep take minutes."""
        clock = [0.0]
        script = Script(*(f"at {nr}" for nr in range(9)), "ok ran")
        say = script.recv

        def recv(timeout_s: float) -> str:
            clock[0] += 30
            if timeout_s < 30:
                raise AgentTimeout("silent")
            return say(timeout_s)

        script.recv = recv  # type: ignore[method-assign]
        with mock.patch("harness.runner.agent.time.monotonic", lambda: clock[0]):
            agent = Agent(script)
            self.assertEqual(agent.explore(60, [(1, "# T")]).last, ["ok", "ran"])
            self.assertEqual(agent.mark, [8])
            script.lines = ["x not%20where%20it%20is"] * 9
            with self.assertRaises(AgentTimeout):
                agent.explore(60, [(1, "# T")])

    def test_hello(self) -> None:
        script = Script("env kernel 6.1.0", "channel store pte trivial full yes %-",
                        "channel rdma-odp/mtu1024 faulting trivial full no no%20device",
                        "fault punch file-range - punches%20a%20hole", "fault crash file exclusive,last x", "ok")
        hello = Agent(script).hello()
        self.assertEqual(hello.env, {"kernel": "6.1.0"})
        self.assertTrue(hello.channels["store"].available)
        self.assertEqual(hello.channels["rdma-odp/mtu1024"].why, "no device")
        self.assertFalse(hello.channels["rdma-odp/mtu1024"].plain)
        self.assertEqual(hello.faults["crash"].flags, {"exclusive", "last"})
        self.assertEqual(hello.faults["punch"].flags, frozenset())

    def test_sh(self) -> None:
        script = Script("out one%20line", "out two", "ok exit 3")
        done = Agent(script).sh("echo", "a b", timeout_s=2)
        self.assertEqual((done.out, done.exit, done.ok), ("one line\ntwo", 3, False))
        self.assertEqual(script.sent, ["sh 2000 echo a%20b"])

    def test_sh_signal_and_timeout(self) -> None:
        self.assertIsNone(Agent(Script("ok signal 9")).sh("x").exit)
        self.assertIsNone(Agent(Script("err 110 timeout")).sh("x").exit)

    def test_history_is_decoded_once(self) -> None:
        reply = Agent(Script("h ret%201%205%20err%20EIO%20a%2520b", "ok ran")).case(1, nr=1, seq="file A\n")
        self.assertEqual(reply.history(), ["ret 1 5 err EIO a%20b"])

    def test_pins(self) -> None:
        self.assertEqual(Agent(Script("env nr_foll_pin_acquired 7", "env nr_foll_pin_released 5", "ok")).pins(), 2)
        self.assertIsNone(Agent(Script("ok")).pins())


if __name__ == "__main__":
    unittest.main()
