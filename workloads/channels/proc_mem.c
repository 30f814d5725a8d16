// SPDX-License-Identifier: GPL-2.0
/*
 * proc_mem.c - pwrite(2) to /proc/self/mem at the mapping's address, as a debugger does.
 *
 * Path: mem_rw() -> access_remote_vm(FOLL_FORCE | FOLL_WRITE): a page at a time is found by
 * get_user_pages_remote, written through the kernel's own mapping, dirtied and put. The reference
 * is held for one memcpy between two copies in the kernel, so no hold is possible; it counts as
 * FOLL_GET, not FOLL_PIN.
 *
 * Can show: a page dirtied after writeback has cleaned it, without page_mkwrite, in a window of one
 * copy ("dirty pages without buffers"); past the end of the file, EIO.
 *
 * Source: proc(5); fs/proc/base.c; CVE-2016-5195 is this path's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "../../harness/core/channel.h"
#include "channel_probe.h"

/*
 * ch->priv is the descriptor, plus one so that NULL means none. It stands for the mm of the opener.
 */
static int proc_mem_fd(const struct pf_channel *ch)
{
	return (int)(intptr_t)ch->priv - 1;
}

static int proc_mem_open(struct pf_channel *ch)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ch->priv = (void *)(intptr_t)(fd + 1);
	return 0;
}

static long proc_mem_write(struct pf_channel *ch, struct pf_io *io)
{
	off_t at = (off_t)(uintptr_t)(io->file->map + io->off_bytes);
	ssize_t n = pwrite(proc_mem_fd(ch), io->data, io->len_bytes, at);

	return n < 0 ? -errno : n;
}

static void proc_mem_close(struct pf_channel *ch)
{
	if (ch->priv)
		close(proc_mem_fd(ch));
	ch->priv = NULL;
}

static int proc_mem_probe(const char *variant, char *why, size_t why_bytes);

static const struct pf_channel_ops proc_mem_ops = {
	.name = "proc-mem",
	.summary = "write(2) to /proc/self/mem (GUP with FOLL_FORCE)",
	.class = PF_CLASS_SHORT_PIN,
	.hold_kind = PF_HOLD_NONE,
	.probe = proc_mem_probe,
	.open = proc_mem_open,
	.write = proc_mem_write,
	.close = proc_mem_close,
};
PF_CHANNEL(proc_mem_ops);

static int proc_mem_probe(const char *variant, char *why, size_t why_bytes)
{
	return channel_probe(&proc_mem_ops, variant, why, why_bytes);
}
