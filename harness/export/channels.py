# SPDX-License-Identifier: GPL-2.0
"""The channels that can be exported: of each the fragments that write its way, and what the program's head says."""

from dataclasses import dataclass

LIBRARIES = {"infiniband/verbs.h": "-libverbs", "liburing.h": "-luring", "pthread.h": "-lpthread"}  # of an #include
_RDMA_DEVICE = ("          an RDMA device that is up (RDMA_DEV=NAME chooses one), or Soft-RoCE:",
                "          modprobe rdma_rxe; ip link set lo up; rdma link add rxe0 type rxe netdev lo")


@dataclass(frozen=True)
class Channel:
    """Names of fragments (NAME.c.in), and text. All but the first three may be empty."""

    snippet: str  # has channel_write(),
    hold: str  # hold() and land(), or "" where a write cannot be held
    what: str  # for "seen with"
    source: str = ""  # source_read(): how a file that has the data is read
    pin: str = ""  # pin() and unpin(): what registers the mapping,
    field: str = ""  # and what `struct file` keeps of it
    defines: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()  # lines of the head
    not_in_xfstests: str = ""  # why


def _rdma(verb: str, what: str, on_demand: bool, mtu_bytes: int) -> Channel:
    region = ("a memory region that faults its pages in on demand, over a shared mapping of the file" if on_demand else
              "a memory region that pins the pages of a shared mapping of the file")
    access = "IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE" + " | IBV_ACCESS_ON_DEMAND" * on_demand
    return Channel(f"channel_rdma_{verb}", "hold_trivial", f"{what} {region}", pin="rdma",
                   field="struct ibv_mr *mr;\t/* while it is registered */",
                   defines=(f"#define ACCESS ({access})", f"#define MTU IBV_MTU_{mtu_bytes}"), prepare=_RDMA_DEVICE,
                   not_in_xfstests="xfstests knows no RDMA devices and does not build with -libverbs; use --export c")


CHANNELS = {
    "store": Channel("channel_store", "hold_trivial", "a CPU store through the mapping"),
    "copyout": Channel("channel_copyout", "hold_trivial", "a buffered read(2) into the mapping"),
    "proc-mem": Channel("channel_proc_mem", "", "write(2) to /proc/self/mem at the mapping's address"),
    "pvm-writev": Channel("channel_pvm_writev", "hold_uffd", "process_vm_writev(2) into the mapping"),
    "pwrite": Channel("channel_pwrite", "hold_uffd", "write(2)"),
    "dio-read": Channel("channel_source", "hold_fuse", "an O_DIRECT read(2) into the mapping", source="source_read"),
    "uring-read": Channel("channel_source", "hold_fuse", "an O_DIRECT read by io_uring into the mapping",
                          source="source_uring"),
    "uring-fixed": Channel("channel_uring_fixed", "hold_trivial",
                           "io_uring's READ_FIXED into a registered buffer, which pins the pages of the mapping",
                           pin="uring_buffers", field="struct io_uring ring;\t/* the mapping is its buffer */"),
}
for _kind in ("pinned", "odp"):
    for _variant, _verb, _what, _mtu in (("", "write", "RDMA WRITE into", 4096),
                                         ("/mtu1024", "write", "RDMA WRITE, in packets of 1024 bytes, into", 1024),
                                         ("/read", "read", "RDMA READ into", 4096),
                                         ("/send", "send", "SEND into", 4096)):
        CHANNELS[f"rdma-{_kind}{_variant}"] = _rdma(_verb, _what, _kind == "odp", _mtu)
