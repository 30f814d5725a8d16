// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-detach - put memory that is no file's in the place of the mapping (selftest).
 *
 * Kernel path: mmap(2) with MAP_FIXED and MAP_ANONYMOUS over the shared mapping, filled with what
 * the file holds. Every store goes on to succeed, and no fault asks the filesystem for a block. It
 * is how the write of a device looks that has pinned a page which the file has lost since: success
 * is told, nothing is there, and nobody could say ENOSPC.
 * A private mapping of the file would not do: where it is read, tmpfs gives the file a page.
 * What was pinned before keeps its pages; a channel that pins for each write pins the new ones.
 */
#include "state.h"

static int sabotage_detach_prepare(struct pf_fault_call *c)
{
	return c->file->map ? 0 : -ENXIO;
}

static int sabotage_detach_run(struct pf_fault_call *c)
{
	size_t bytes = c->file->map_bytes, at = 0;
	ssize_t n = 1;

	if (mmap(c->file->map, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -errno;
	for (; at < bytes && n > 0; at += (size_t)n) {
		n = pread(c->file->fd, c->file->map + at, bytes - at, (off_t)at);
		if (n < 0)
			return -errno;
	}
	return 0;
}

/* The mode and the inode of the mapping at @map, from /proc/self/maps. False: it is not there. */
static bool map_look(const uint8_t *map, char mode[5], unsigned long *inode)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uintptr_t from, to;
	bool found = false;
	char line[512];

	while (maps && !found && fgets(line, sizeof(line), maps))
		found = sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*x %*x:%*x %lu", &from, &to,
			       mode, inode) == 4 &&
			from <= (uintptr_t)map && (uintptr_t)map < to;
	if (maps)
		fclose(maps);
	return found;
}

static enum pf_effect sabotage_detach_effect(struct pf_fault_call *c, char *evidence,
					     size_t evidence_bytes)
{
	unsigned long inode;
	char mode[5];

	if (!map_look(c->file->map, mode, &inode))
		return PF_EFFECT_UNKNOWN;
	state_say(evidence, evidence_bytes, "the mapping is %s of inode %lu", mode, inode);
	return inode ? PF_EFFECT_NONE : PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_detach_ops = {
	.name = "sabotage-detach",
	.summary = "memory that is no file's in the place of the mapping",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.prepare = sabotage_detach_prepare,
	.run = sabotage_detach_run,
	.effect = sabotage_detach_effect,
};
PF_FAULT(sabotage_detach_ops);
