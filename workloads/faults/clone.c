// SPDX-License-Identifier: GPL-2.0
/*
 * clone - make the second file a snapshot of the first, sharing its blocks.
 *
 * The second file ends up exactly as the first is at one moment, so a longer one is emptied first:
 * FICLONE itself would leave its tail. So is any where the first may be about to get shorter; and
 * where it did so after all, unforeseen, it is done again. Clones onto the same file take turns:
 * between the two calls of one, another would put its tail there. The caller has created it
 * (O_RDWR|O_CREAT).
 * Kernel path: FICLONE -> ->remap_file_range: both files locked, the source written back, its page
 * table entries write-protected by that; then the extents are shared, and from here on a write to
 * either must allocate (->page_mkwrite or iomap_begin sees IOMAP_F_SHARED).
 * Can show: a write through a pin taken before skips the copy on write. On the page cache it is
 * lost at eviction or reaches the disk by somebody else's doing; on DAX it goes into the shared
 * block: the snapshot changes after the fact. A clone waits for short DAX pins.
 * Source: ioctl_ficlonerange(2); DAX and reflink together from 6.0, right from 6.2.
 */
#include <linux/fs.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include "state.h"

#define TARGETS 16u

static pthread_mutex_t one_at_a_time[TARGETS] = {
	[0 ... TARGETS - 1] = PTHREAD_MUTEX_INITIALIZER,
};

static bool longer(const struct pf_fault_call *c)
{
	return state_size_bytes(c->file2->fd) > state_size_bytes(c->file->fd);
}

static int clone_onto(const struct pf_fault_call *c, bool emptied)
{
	if (emptied && ftruncate(c->file2->fd, 0) < 0)
		return -errno;
	return ioctl(c->file2->fd, FICLONE, c->file->fd) < 0 ? -errno : 0;
}

static int clone_run(struct pf_fault_call *c)
{
	pthread_mutex_t *turn = &one_at_a_time[(unsigned int)c->file2->fd % TARGETS];
	int rc;

	pthread_mutex_lock(turn);
	rc = clone_onto(c, c->resizing || longer(c));
	if (!rc && longer(c)) /* the first one has become shorter since */
		rc = clone_onto(c, true);
	pthread_mutex_unlock(turn);
	return rc;
}

static enum pf_effect clone_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	uint64_t size_bytes = state_size_bytes(c->file2->fd);
	struct pf_extents x;
	int ret = pf_extents(c->file2->fd, 0, size_bytes, &x);

	if (ret < 0) {
		state_say(evidence, evidence_bytes, "FIEMAP: %s", strerror(-ret));
		return PF_EFFECT_UNKNOWN;
	}
	state_say(evidence, evidence_bytes, "%s is %" PRIu64 " bytes, %" PRIu64 " of them shared",
		  c->file2->name, size_bytes, x.shared_bytes);
	return size_bytes == state_size_bytes(c->file->fd) && x.shared_bytes ? PF_EFFECT_SHOWN :
									       PF_EFFECT_NONE;
}

static const struct pf_fault_ops clone_ops = {
	.name = "clone",
	.summary = "make the second file a reflink copy of the first (FICLONE)",
	.prim = PF_PRIM_COPY,
	.args = PF_ARGS_FILE_FILE,
	.run = clone_run,
	.effect = clone_effect,
};
PF_FAULT(clone_ops);
