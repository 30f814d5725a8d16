// SPDX-License-Identifier: GPL-2.0
/*
 * store.c - a CPU store through the page table: the first of the control group.
 *
 * Path: the MMU; a store to a page that is not mapped writable faults into the filesystem
 * (page_mkwrite, dax_iomap_fault), which is how every filesystem learns of a write to a mapping.
 *
 * Can show: nothing that is GUP's doing. If this channel is not coherent, the filesystem, or the
 * harness, is at fault.
 *
 * "sync" stores through a MAP_SYNC mapping, which only DAX has: a fault for writing returns when
 * the block is the file's on the disk too (dax_iomap_fault() with VM_SYNC: VM_FAULT_NEEDDSYNC, then
 * dax_finish_sync_fault(): vfs_fsync_range(), and only then a writable entry). What was stored and
 * flushed from the CPU's caches (persist.c) survives a crash without fsync. Can show: an entry that
 * was writable before the log had the block, and data that is in no file after the crash.
 *
 * Source: mmap(2), MAP_SYNC; Documentation/filesystems/dax.rst and locking.rst,
 * vm_operations_struct; caa51d26f85c ("dax, iomap: Add support for synchronous faults", v4.15).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "../../harness/core/channel.h"
#include "../../harness/core/guard.h"
#include "channel_probe.h"

/* A page past the end of the file raises SIGBUS; what was stored before it stays stored. */
static long store_write(struct pf_channel *ch, struct pf_io *io)
{
	size_t n = pf_guarded_copy(io->file->map + io->off_bytes, io->data, io->len_bytes);

	(void)ch;
	if (n == io->len_bytes)
		return (long)n;
	if (n)
		snprintf(io->detail, sizeof(io->detail), "SIGBUS after %zu bytes", n);
	else
		snprintf(io->detail, sizeof(io->detail), "SIGBUS");
	return -EFAULT;
}

/*
 * The new mapping is made beside the old one: where it is refused, the old one is still there. Its
 * type has to be MAP_SHARED_VALIDATE; MAP_SHARED drops flags that it does not know.
 */
static int store_pin(struct pf_channel *ch, struct pf_file *f)
{
	void *map;

	if (strcmp(ch->variant, "sync"))
		return 0;
	map = mmap(NULL, f->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC,
		   f->fd, 0);
	if (map == MAP_FAILED) {
		snprintf(ch->detail, sizeof(ch->detail), "mmap MAP_SYNC");
		return -errno;
	}
	munmap(f->map, f->map_bytes);
	f->map = map;
	return 0;
}

/* Without DAX there is no MAP_SYNC, nor where the device or its filesystem has no such faults. */
static bool store_unsupported(int err)
{
	return err == EOPNOTSUPP;
}

static int store_probe(const char *variant, char *why, size_t why_bytes);

static const char *const store_variants[] = {"", "sync", NULL};

static const struct pf_channel_ops store_ops = {
	.name = "store",
	.summary = "CPU store through the page table",
	.class = PF_CLASS_PTE,
	.hold_kind = PF_HOLD_TRIVIAL,
	.variants = store_variants,
	.probe = store_probe,
	.pin = store_pin,
	.unsupported = store_unsupported,
	.write = store_write,
};
PF_CHANNEL(store_ops);

/* Whether there is MAP_SYNC is the filesystem's to say, when a file of it is mapped. */
static int store_probe(const char *variant, char *why, size_t why_bytes)
{
	(void)variant;
	return channel_probe(&store_ops, "", why, why_bytes);
}
