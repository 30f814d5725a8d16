// SPDX-License-Identifier: GPL-2.0
/*
 * unlink - remove the file's name; the file lives on while it is open.
 *
 * Kernel path: unlinkat(2): the link count drops to 0 and the inode goes to the orphan list. The
 * blocks are freed by the last iput, which the mapping holds off, and with it every pin that has a
 * mapping. A pin that outlives its mapping keeps the page, and on the page cache only that.
 * Can show: data of an unlinked file in somebody else's blocks; a pin that keeps a filesystem busy.
 * Source: unlink(2).
 */
#include "state.h"

/* After a rename over it the name is another file's. */
static int unlink_run(struct pf_fault_call *c)
{
	if (!state_has_name(c->file))
		return -ENOENT;
	return unlinkat(c->file->dirfd, state_leaf(c->file->path), 0) < 0 ? -errno : 0;
}

static enum pf_effect unlink_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	struct stat st;

	if (fstat(c->file->fd, &st) < 0) {
		state_say(evidence, evidence_bytes, "fstat: %s", strerror(errno));
		return PF_EFFECT_UNKNOWN;
	}
	state_say(evidence, evidence_bytes, "link count is %lu", (unsigned long)st.st_nlink);
	return st.st_nlink ? PF_EFFECT_NONE : PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops unlink_ops = {
	.name = "unlink",
	.summary = "remove the file's name (unlink)",
	.prim = PF_PRIM_UNLINK,
	.args = PF_ARGS_FILE,
	.run = unlink_run,
	.effect = unlink_effect,
};
PF_FAULT(unlink_ops);
