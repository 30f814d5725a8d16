# SPDX-License-Identifier: GPL-2.0
"""The standalone C file: the steps as straight lines, and of the *.c.in beside this only what they call."""

import re
import textwrap
from pathlib import Path
from typing import Any

from .channels import CHANNELS, LIBRARIES
from .checks import Check, Want, value_of
from .recorded import CannotExport, Recorded, Step

HERE = Path(__file__).resolve().parent
ORDER = ("base must_fail written hole unwritten COPY memory_file ring SOURCE PIN pinned CHANNEL HOLD fuse_write "
         "clone dedupe DEFRAG evict write_proc drop_caches migrate dsync fork aside look say shows expect expect_any agree "
         "expect_size CHECK views mid_views hang").split()

FAULTS = {
    "punch": "fallocate({f}.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, {0}, {1})",
    "zero-range": "fallocate({f}.fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, {0}, {1})",
    "unshare": "fallocate({f}.fd, FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE, {0}, {1})",
    "collapse": "fallocate({f}.fd, FALLOC_FL_COLLAPSE_RANGE, {0}, {1})",
    "insert": "fallocate({f}.fd, FALLOC_FL_INSERT_RANGE, {0}, {1})",
    "truncate": "ftruncate({f}.fd, {0})",
    "clone": "clone_file(&{f}, &{g})", "dedupe": "dedupe(&{f}, &{g})",
    "defrag": "defrag(&{f})", "fsync": "fsync({f}.fd)", "fdatasync": "fdatasync({f}.fd)", "syncfs": "syncfs({f}.fd)",
    "msync": "msync({f}.map, {f}.map_len, MS_SYNC)",
    "sync-file-range": "sync_file_range({f}.fd, {0}, {1}, SYNC_FILE_RANGE_WAIT_BEFORE | "
                       "SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)",
    "dsync": "dsync(&{f}, {0}, {1})", "evict": "evict(&{f})", "drop-caches": "drop_caches(&{f})",
    "page-out": "madvise({f}.map, {f}.map_len, MADV_PAGEOUT)", "fork": "fork_reader(&{f})",
    "migrate": "migrate(&{f})", "rename": 'rename("{fn}", "{gn}")', "unlink": 'unlink("{fn}")',
}
_MAPPED = ("msync", "page-out")  # need the mapping
VIEW_ENUM = {"mmap": "MMAP", "buffered": "READ", "direct": "DIRECT"}
VIEW_NAME = {"mmap": "mmap", "buffered": "read(2)", "direct": "O_DIRECT", "dropped": "read(2) once nothing is cached"}


def wrap(text: str, more: str = "", width: int = 96) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=more, break_on_hyphens=False)


class Text:
    """Lines of C, broken at 100 columns where an argument ends."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, text: str = "", tabs: int = 1) -> None:
        lead = "\t" * tabs
        while len((lead + text).expandtabs(8)) > 100:
            room = 100 - len(lead.expandtabs(8))
            cut = max(text.rfind(", ", 0, room), text.rfind("| ", 0, room))
            if cut < 0:
                break
            self.lines.append(lead + text[:cut + 1])
            lead, text = "\t" * tabs + "     ", text[cut + 2:]
        self.lines.append(lead + text if text else "")

    def comment(self, text: str, tabs: int = 1) -> None:
        lead = "\t" * tabs
        body = wrap(text, width=94 - 8 * tabs)
        if len(body) == 1:
            self.lines.append(f"{lead}/* {body[0]} */")
            return
        self.lines += [f"{lead}/*", *(f"{lead} * {line}" for line in body), f"{lead} */"]


def _ident(name: str) -> str:
    plain = re.sub(r"\W", "_", name)
    return plain if len(plain) == 1 and plain.isupper() else f"file_{plain}"


class Program:
    def __init__(self, recorded: Recorded, checks: list[Check], name: str) -> None:
        self.r = recorded
        self.checks = checks
        self.name = name
        self.channel = recorded.result.channel
        if self.channel not in CHANNELS:
            raise CannotExport(f"the channel {self.channel} cannot be exported; these can: {' '.join(CHANNELS)}")
        self.way = CHANNELS[self.channel]
        self.rdma = self.way.pin == "rdma"
        self.fuse = self.way.hold == "hold_fuse" and self._wants_fuse()
        self.hold = "" if self.way.hold == "hold_fuse" and not self.fuse else self.way.hold
        self.held: dict[str, tuple[str, Step]] = {}  # label -> variable, step; what is out
        self.holds: list[str] = []
        self.files: list[str] = []
        self.mapped: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.libraries = ""
        self.waiting = False  # is a step done aside?
        self.body = Text()
        self.sources = Text()
        self.asides = Text()  # functions of the steps that waited for what was held

    def _wants_fuse(self) -> bool:
        """A plain O_DIRECT read pins pages of a filesystem that has a disk, in whole blocks."""
        writes = [s for s in self.r.steps if s.verb in ("hold", "write")]
        return (self.r.fs["requires"] != "disk" or any(s.verb == "hold" for s in writes)
                or any(n % 4096 for s in writes for n in _off_len(s)))

    # --- words ------------------------------------------------------------------------------

    def value(self, want: Want, off: int) -> str:
        """For a sentence."""
        if not want[0]:
            return "zeros"
        home = "" if want[1] == off else f" at {want[1]}"
        return f"what step {self.r.step_of(want[0])} wrote{home}"

    def saw(self, check: Check) -> str:
        value = value_of(check.saw, check.off)
        if value:
            return self.value(value, check.off)
        return {"e": f"unreadable ({check.saw[1:]})", "f": "another file's", "t": "torn"}.get(check.saw[0], check.saw)

    def sentence(self, check: Check) -> str:
        if check.size >= 0:
            return f"{check.file} must be {check.size} bytes long"
        if check.claim:
            return (f"Step {self.r.step_of(check.claim)} must not succeed: {check.file} does not have the "
                    f"{check.len_bytes} bytes. It returned success.")
        where = f"{check.file} [{check.off}, +{check.len_bytes})"
        through = ", ".join(VIEW_NAME.get(v, v) for v in check.views)
        if not check.wants:
            return (f"{where} may be the one or the other here, and nobody changes it any more: every view must show "
                    f"the same. It was not so through {through}.")
        want = " or ".join(self.value(w, check.off) for w in check.wants)
        want += "".join(f"{', as' if not i else ' and'} [{off}, +{length}) is {self.value(value, off)}"
                        for i, (off, length, value) in enumerate(check.beside))
        return f"{where} must be {want}. It was {self.saw(check)} through {through}."

    def by(self, want: Want) -> str:
        return f"BY({self.r.step_of(want[0])}, {want[1]})" if want[0] else "0"

    # --- checks -----------------------------------------------------------------------------

    def check(self, out: Text, check: Check, tabs: int, look: str = "f, view") -> None:
        out.comment(self.sentence(check), tabs)
        if check.beside:
            shown = " && ".join(f"shows({off}, {length}, {self.by(value)})" for off, length, value in check.beside)
            out.add(f"if ({shown})", tabs)
            tabs += 1
        if check.size >= 0:
            out.add(f"expect_size({look}, {check.size});", tabs)
        elif not check.wants:
            first = f"first_{_ident(check.file)}_{check.off}"
            out.add(f"agree({look}, {check.off}, {check.len_bytes}, &{first});", tabs)
        elif len(check.wants) == 1:
            out.add(f"expect({look}, {check.off}, {check.len_bytes}, {self.by(check.wants[0])});", tabs)
        else:
            either = ", ".join(self.by(w) for w in check.wants)
            out.add(f"expect_any({look}, {check.off}, {check.len_bytes}, (uint64_t[]){{ {either} }}, "
                    f"{len(check.wants)});", tabs)

    def check_function(self) -> str:
        out = Text()
        end = [c for c in self.checks if not c.look and not c.claim]
        out.comment("What must hold when all steps are done." if end else
                    "Looking alone: what is wrong here is not what a file has in the end.", 0)
        out.add("static void check(const struct file *f, enum view view)", 0)
        out.add("{", 0)
        for check in end:
            if not check.wants and check.size < 0:
                out.add(f"static struct first first_{_ident(check.file)}_{check.off};")
        if any(not c.wants and c.size < 0 for c in end):
            out.add("")
        if not end:
            out.add("(void)f;")
            out.add("(void)view;")
        for file in dict.fromkeys(c.file for c in end):
            out.add(f"if (f == &{_ident(file)}) {{")
            for check in end:
                if check.file == file:
                    self.check(out, check, 2)
            out.add("}")
        out.add("}", 0)
        return "\n".join(out.lines) + "\n"

    # --- steps ------------------------------------------------------------------------------

    def outcome(self, op: int, expr: str, text: str) -> None:
        """A step that succeeded must again; one that failed may."""
        how, count = self.r.returned.get(op, ("ok", "0"))
        if any(c.claim == op for c in self.checks):
            self.body.add(f'must_fail("{text}", {expr});')
        elif how == "ok":
            self.body.add(f'step("{text}", {expr}, {count});')
        else:
            self.body.comment(f"it failed with {count}")
            self.body.add(f'tell("{text}", {expr});')

    def step(self, step: Step) -> None:
        waited = step.op in self.r.blocked and bool(self.held) and step.verb != "hold"
        self.body.add("")
        self.body.comment(f"{step.nr}: {step.text}" + ("  (it waited for what is held)" if waited else ""))
        main, self.body = self.body, Text() if waited else self.body
        handler = getattr(self, "do_" + step.verb.replace("-", "_"), None)
        if handler:
            handler(step, f"{step.nr} {step.text}")
        else:
            self.do_fault(step, f"{step.nr} {step.text}")
        if waited:
            self.aside(step, self.body, main)

    def aside(self, step: Step, done: Text, main: Text) -> None:
        """A step beside those that follow it, until nothing is held."""
        self.body = main
        name = f"step_{step.nr}"
        self.asides.comment(f"{step.nr}: {step.text}", 0)
        self.asides.add(f"static void *{name}(void *arg)", 0)
        self.asides.add("{", 0)
        self.asides.add("(void)arg;")
        self.asides.add("enter_aside();")
        self.asides.lines += done.lines
        self.asides.add("leave_aside();")
        self.asides.add("return NULL;")
        self.asides.add("}", 0)
        self.asides.add("", 0)
        self.waiting = True
        self.body.add(f'aside({name}, "{step.nr} {step.text}");')

    def nothing_held(self) -> None:
        if self.waiting and not self.held:
            self.body.add("await_asides();")
            self.waiting = False

    def know(self, name: str) -> str:
        if name not in self.files:
            self.files.append(name)
        return _ident(name)

    def do_file(self, step: Step, _text: str) -> None:
        var, size, state = self.know(step.words[1]), step.numbers()[0], step.words[3]
        self.sizes[step.words[1]] = size
        self.body.add({"written": f"create_written(&{var}, {step.nr}, {size});", "hole": f"create_hole(&{var}, {size});",
                       "unwritten": f"create_unwritten(&{var}, {size});"}[state])

    def do_pin(self, step: Step, text: str) -> None:
        self.mapped.add(step.file)
        self.body.add(f"map(&{_ident(step.file)}, {self.sizes.get(step.file, 0)});")
        if not self.way.pin:
            return
        how, errno = self.r.returned.get(step.op, ("ok", "0"))
        if how != "ok":
            raise CannotExport(f"step {step.nr} ({step.text}) was refused with {errno}, and nothing done after it")
        self.body.add(f'pinned("{text}", pin(&{_ident(step.file)}));')

    def do_unpin(self, step: Step, _text: str) -> None:
        self.mapped.discard(step.file)
        self.unpin(self.body, _ident(step.file))

    def unpin(self, out: Text, var: str) -> None:
        if self.way.pin:
            out.add(f"unpin(&{var});")
        out.add(f"unmap(&{var});")

    def do_hold_read(self, step: Step, _text: str) -> None:
        raise CannotExport(f"step {step.nr} ({step.text}): a read that is held cannot be exported, only writes can")

    def do_hold(self, step: Step, text: str) -> None:
        if not self.hold:
            raise CannotExport(f"the channel {self.channel} cannot hold a write")
        label = step.words[1]
        var = label if label not in self.holds else f"{label}_{step.nr}"
        self.holds.append(var)
        self.held[label] = (var, step)
        off, length = _off_len(step)
        file = _ident(step.file)
        if self.fuse:
            self.sources.add(f"open_source(&{var}, {step.nr}, {off}, {length});")
            expr = f"hold(&{var}, &{file})"
        elif self.hold == "hold_uffd":
            there = min(length // 2 // 64 * 64, 2048) if self.channel == "pwrite" else 0
            if there:
                self.body.comment(f"the first {there} bytes of its source are there, the next page is not")
            expr = f"hold(&{var}, {step.nr}, &{file}, {off}, {length}, {there})"
        else:
            expr = f"hold(&{var}, {step.nr}, &{file}, {off}, {length})"
        if self.r.returned.get(step.op, ("ok", ""))[0] == "ok":
            self.body.add(f'step("{text}", {expr}, 0);')
        else:
            self.body.add(f'tell("{text}", {expr});')

    def do_land(self, step: Step, text: str) -> None:
        var, held = self.held.pop(step.words[1])
        self.outcome(held.op, f"land(&{var})", text)
        self.nothing_held()

    def do_write(self, step: Step, text: str) -> None:
        off, length = _off_len(step)
        if self.fuse:
            self.holds.append(f"s{step.nr}")
            self.sources.add(f"open_source(&s{step.nr}, {step.nr}, {off}, {length});")
            expr = f"hold_and_land(&s{step.nr}, &{_ident(step.file)})"
        else:
            expr = f"channel_write(&{_ident(step.file)}, {off}, data({step.nr}, {off}, {length}), {length})"
        self.outcome(step.op, expr, text)

    def do_store(self, step: Step, text: str) -> None:
        off, length = _off_len(step)
        self.outcome(step.op, f"copy({_ident(step.file)}.map + {off}, data({step.nr}, {off}, {length}), {length})", text)

    def do_pwrite(self, step: Step, text: str) -> None:
        off, length = _off_len(step)
        self.outcome(step.op, f"pwrite({_ident(step.file)}.fd, data({step.nr}, {off}, {length}), {length}, {off})", text)

    def do_read(self, step: Step, text: str) -> None:
        view = step.words[4] if len(step.words) > 4 else "buffered"
        if view not in VIEW_ENUM:
            raise CannotExport(f"step {step.nr} ({step.text}): a look through {view} cannot be exported")
        off, length = step.numbers()
        mine = [c for c in self.checks if c.look and c.look == step.looks[0]]
        if view == "mmap" and step.file not in self.mapped:
            return
        where = f"&{_ident(step.file)}, {VIEW_ENUM[view]}"
        self.body.add(f'tell("{text}", look({where}, {off}, {length}) - 1);')
        for check in mine:
            self.check(self.body, check, 1, where)

    def do_look(self, step: Step, _text: str) -> None:
        if any(c.look in step.looks for c in self.checks):
            raise CannotExport(f"step {step.nr} (look) is where it failed, and cannot be checked in the middle; name the file "
                               "and the view with `read`")
        for name in self.files:
            self.body.add(f"views_now(&{_ident(name)});")

    def do_fault(self, step: Step, text: str) -> None:
        if step.verb not in FAULTS:
            raise CannotExport(f"step {step.nr} ({step.text}): {step.verb} cannot be exported")
        if step.verb == "defrag" and not self.defrag():
            raise CannotExport(f"step {step.nr} ({step.text}): {self.r.fs['fstype']} has no defragmenter")
        if step.verb in _MAPPED and step.file not in self.mapped:
            raise CannotExport(f"step {step.nr} ({step.text}): the file is not mapped")
        other = step.words[2] if len(step.words) > 2 and not step.words[2][0].isdigit() else ""
        if other and other not in self.files:
            self.body.add(f"create(&{self.know(other)});")
        self.outcome(step.op, FAULTS[step.verb].format(*step.numbers(), f=_ident(step.file), fn=step.file,
                                                       g=_ident(other), gn=other), text)

    # --- the whole --------------------------------------------------------------------------

    def main(self) -> str:
        for step in self.r.steps:
            self.step(step)
        for label in list(self.held):
            var, held = self.held.pop(label)
            self.body.add("")
            self.outcome(held.op, f"land(&{var})", f"land {label}")
        self.nothing_held()
        files = [_ident(f) for f in self.files]
        out = Text()
        out.add("int main(int argc, char **argv)", 0)
        out.add("{", 0)
        out.add("if (argc != 2) {")
        out.add('printf("usage: %s DIRECTORY\\n", argv[0]);', 2)
        out.add("return 2;", 2)
        out.add("}")
        out.add(f'begin(argv[1], "{self.name}");')
        if self.r.result.verdict == "hung":
            out.add("signal(SIGALRM, on_alarm);")
            out.add("alarm(60);")
        if self.rdma:
            out.add("open_device();")
        out.lines += self.sources.lines + self.body.lines
        self.end_looks(out, files)
        out.add("")
        out.add('printf("%s\\n", failed ? "FAILED" : "all is as it must be");')
        out.add("leave(failed);")
        out.add("}", 0)
        return "\n".join(out.lines) + "\n"

    def end_looks(self, out: Text, files: list[str]) -> None:
        out.add("")
        out.comment("Every file through every view: as it is now,")
        for var in files:
            out.add(f"all_views(&{var});")
        out.comment("through a mapping made for it,")
        for name in self.files:
            if name in self.mapped:
                self.unpin(out, _ident(name))
        for var in files:
            out.add(f"fresh_views(&{var});")
        out.comment("and from the disk.")
        for var in files:
            out.add(f"dropped_view(&{var});")

    def text(self) -> str:
        main = self.main()
        parts, includes = self.pieces(main)
        self.libraries = "".join(f" {flag}" for name, flag in LIBRARIES.items() if f"#include <{name}>" in includes)
        objects = [f"static struct file {_ident(f)} = {{ .name = \"{f}\", .fd = -1 }};" for f in self.files]
        objects += [f"static struct hold {var};" for var in self.holds]
        # The check needs the files, and what holds is declared by its snippet: both before the check.
        parts.insert(parts.index("CHECK"), "\n".join(objects) + "\n")
        parts[parts.index("CHECK")] = self.check_function()
        head = "\n".join([*includes, "", f"#define STEPS {len(self.r.steps)}",
                          f"#define SIZE {self.largest()} /* no file here becomes longer */", *self.way.defines, ""])
        asides = ["\n".join(self.asides.lines)] if self.asides.lines else []
        return self.head() + "#define _GNU_SOURCE\n" + head + "\n" + "\n".join([*parts, *asides, main])

    def pieces(self, main: str) -> tuple[list[str], list[str]]:
        """The snippets that are called, in ORDER, and what they include."""
        known = {}
        for name in ORDER:
            file = {"CHANNEL": self.way.snippet, "HOLD": self.hold, "COPY": self.copy(), "PIN": self.way.pin,
                    "SOURCE": self.way.source, "DEFRAG": self.defrag()}.get(name, name)
            known[name] = (HERE / f"{file}.c.in").read_text() if file and file != "CHECK" else ""
        field = f"\t{self.way.field}\n" if self.way.field else ""
        known["base"] = known["base"].replace("@FIELD@\n", field)
        calls = _code("\n".join(self.asides.lines) + main + self.check_function())
        used = {"base", "CHECK"}
        while True:
            more = {n for n, text in known.items() if n not in used
                    and any(re.search(rf"\b{f}\b", calls) for f in _defines(text))}
            if not more:
                break
            used |= more
            calls += _code("".join(known[n] for n in more))
        parts, includes = [], set()
        for name in ORDER:
            if name not in used:
                continue
            includes |= set(re.findall(r"^#include .*$", known[name], re.M))
            parts.append("CHECK" if name == "CHECK" else
                         re.sub(r"^(#include .*\n)+\n", "", known[name], flags=re.M))
        return parts, sorted(includes)

    def copy(self) -> str:
        """A page that is not there raises SIGBUS: only where that was seen is it waited for."""
        errors = {errno for how, errno in self.r.returned.values() if how == "err"}
        return "guard" if "unreadable" in self.r.result.kinds or "EFAULT" in errors else "plain_copy"

    def defrag(self) -> str:
        """Each filesystem has its own."""
        name = f"defrag_{self.r.fs['fstype']}"
        return name if (HERE / f"{name}.c.in").exists() else ""

    def largest(self) -> int:
        sizes = [*self.sizes.values(), *(look.size for look in self.r.looks.values()),
                 *(c.off + c.len_bytes for c in self.checks)]
        return (max(sizes) + 4095) // 4096 * 4096

    def head(self) -> str:
        r, fs = self.r.result, self.r.fs
        kinds = ", ".join(dict.fromkeys([*r.kinds, *(f["kind"] for f in r.findings)]))
        lines = [*wrap(f"{self.name}.c - {self.r.title}"), ""]
        lines += wrap(f"Seen on Linux {r.kernel_version}, {r.fs}, with {self.way.what} ({r.channel}): "
                      f"{r.resolution or r.verdict} ({kinds}).")
        for text in [*dict.fromkeys(self.sentence(c) for c in self.checks[:4]), *self.watch()]:
            lines += wrap(text, "  ")
        lines += wrap(f"Expected of it: {expectation(r.expected)}.", "  ") if r.expected else []
        if self.r.comments:
            lines += ["", *wrap(" ".join(self.r.comments))]
        lines += ["", "The steps:"] + [f"  {s.nr:2}  {s.text}" for s in self.r.steps]
        lines += ["", f"build:    gcc -O2 -Wall -o {self.name} {self.name}.c{self.libraries}", *_prepare(fs),
                  *self.way.prepare,
                  f"run:      ./{self.name} DIR        (as root; it makes a folder of its own in DIR)",
                  "exit:     0 all is as it must be, or was refused; 1 not so, see the lines that begin with FAIL;",
                  "          2 it cannot run here"]
        body = "".join(f" * {line}".rstrip().replace("*/", "* /") + "\n" for line in lines)
        return f"// SPDX-License-Identifier: GPL-2.0\n/*\n{body} */\n"

    def watch(self) -> list[str]:
        """What the program cannot see of this failure by itself."""
        out = []
        if self.r.result.verdict in ("hung", "crashed"):
            out.append(f"It {self.r.result.verdict}: {self.r.result.why}. Watch the kernel log; a step that is not "
                       "printed has not come back.")
        for finding in self.r.result.findings:
            out.append(f"Watch ({finding['kind']}): {finding['text']}")
        return out


def expectation(said: dict[str, Any]) -> str:
    """"bug: results/reference/... (harness/expected/50-explore.conf:36 of pinfault)". In a list of rules "the same" is
    the one before, which is not here."""
    reference = re.sub(r"^the same\b[;:,]? *", "", said.get("reference", ""))
    rule = f" (harness/expected/{said['rule']} of pinfault)" if said.get("rule") else ""
    return said.get("class", "") + (f": {reference}" if reference else "") + rule


def _off_len(step: Step) -> tuple[int, int]:
    off, length = step.numbers() if step.verb != "hold" else \
        [n for n in Step(0, "", ("x", *step.words[2:])).numbers()]
    return off, length


def _code(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def _defines(text: str) -> list[str]:
    return re.findall(r"^static (?:[a-z_ ]+ )?\*?(?:const )?(?:struct \w+ )?\*?(\w+)\(", text, re.M)


def _prepare(fs: dict[str, object]) -> list[str]:
    kind, mkfs, mount = fs["fstype"], str(fs["mkfs_options"]), str(fs["mount_options"])
    if fs["requires"] == "none":
        return [f"prepare:  mount -t {kind} {mount} none DIR".replace("  none", " none")]
    device = ("DEV is persistent memory (/dev/pmem0: an NVDIMM, or RAM by memmap=1G!4G)"
              if fs["requires"] == "pmem" else
              "DEV is a disk, or: truncate -s 1G IMAGE; DEV=$(losetup -f --show IMAGE)")
    force = "-F" if str(kind).startswith("ext") else "-f"
    words = [w for w in (f"mkfs.{kind}", force, mkfs, "DEV;", "mount", mount, "DEV DIR") if w]
    return [f"prepare:  {' '.join(words)}", f"          {device}"]


def write_program(recorded: Recorded, checks: list[Check], name: str) -> str:
    """The C file's text. Raises CannotExport."""
    return Program(recorded, checks, name).text()
