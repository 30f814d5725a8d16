# SPDX-License-Identifier: GPL-2.0
"""The program as a test of xfstests: tests/generic/pinfault-NAME, its golden output, src/pinfault-NAME.c."""

from pathlib import Path

from ..runner.store import write_atomic
from .channels import CHANNELS
from .checks import Check
from .program import HERE, expectation, wrap, write_program
from .recorded import CannotExport, Recorded

# Fault -> what xfs_io (or common/reflink) is asked whether it can, and the group.
XFS_IO = {"punch": ("fpunch", "punch"), "zero-range": ("fzero", "prealloc"), "collapse": ("fcollapse", "collapse"),
          "insert": ("finsert", "insert"), "unshare": ("funshare", "unshare")}
REFLINK = {"clone": ("_require_scratch_reflink", "clone"), "dedupe": ("_require_scratch_dedupe", "dedupe"),
           "unshare": ("_require_scratch_reflink", "clone")}


def _script(recorded: Recorded, test: str) -> str:
    verbs = [s.verb for s in recorded.steps]
    groups, requires, sources = ["rw", "mmap"], [], []
    for verb in dict.fromkeys(verbs):
        if verb in XFS_IO:
            requires.append(f'_require_xfs_io_command "{XFS_IO[verb][0]}"')
            groups.append(XFS_IO[verb][1])
        if verb == "defrag":
            groups.append("defrag")
        if verb in REFLINK:
            requires.append(REFLINK[verb][0])
            groups.append(REFLINK[verb][1])
            sources.append(". ./common/reflink")
    if any(s.verb == "file" and s.words[3] == "unwritten" for s in recorded.steps):
        requires.append('_require_xfs_io_command "falloc"')
    uring = recorded.result.channel.startswith("uring-")
    if uring:
        requires.append("_require_io_uring")
        groups.append("io_uring")
    mount = ""
    if recorded.fs["requires"] == "pmem":
        option = str(recorded.fs["mount_options"]).removeprefix("-o ")
        requires.append(f'_require_scratch_dax_mountopt "{option}"')
        groups.append("dax")
        mount = f"-o {option} "
    about = wrap(recorded.title)
    result = recorded.result
    about += wrap(f"Seen on Linux {result.kernel_version}, {result.fs}, {result.channel}; src/{test}.c says what must "
                  "hold and why.")
    about += wrap(f"Expected of it: {expectation(result.expected)}.", "  ") if result.expected else []
    lines = {"TEST": test, "TARGETS": "LINUX_TARGETS (under HAVE_URING)" if uring else "LINUX_TARGETS",
             "ABOUT": "\n".join(f"# {line}" for line in about),
             "GROUPS": " ".join(dict.fromkeys(groups)),
             "SOURCES": "".join(f"{s}\n" for s in dict.fromkeys(sources)) + ("\n" if sources else ""),
             "REQUIRES": "".join(f"{r}\n" for r in dict.fromkeys(requires)), "MOUNT": mount}
    text = (HERE / "xfstests.in").read_text()
    for key, value in lines.items():
        text = text.replace(f"@{key}@", value)
    return text


def write_xfstests(recorded: Recorded, checks: list[Check], name: str, folder: Path) -> list[Path]:
    """Write the three files below `folder`. Raises CannotExport before anything is written."""
    test = f"pinfault-{name}"
    channel = recorded.result.channel
    if channel in CHANNELS and CHANNELS[channel].not_in_xfstests:
        raise CannotExport(f"the channel {channel} as a test of xfstests: {CHANNELS[channel].not_in_xfstests}")
    program = write_program(recorded, checks, test)
    script = folder / "tests" / "generic" / test
    files = {script: _script(recorded, test),
             script.with_name(f"{test}.out"): f"QA output created by {test}\nSilence is golden\n",
             folder / "src" / f"{test}.c": program}
    for path, text in files.items():
        write_atomic(path, text, "")
    script.chmod(0o755)
    return list(files)
