// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-unreadable - make the loop device end before the file's first block (selftest).
 *
 * Used twice with looks in between: the first call syncs the filesystem, drops the file's pages and
 * makes the device shorter; the second gives it its size back. Nothing may be written in between.
 * What lies behind the new end is not touched: the image keeps it.
 * Kernel path: LOOP_SET_STATUS64 with lo_sizelimit; the block layer then refuses every bio behind
 * the end ("attempt to access beyond end of device"), as a disk that has lost its end does.
 * Can show: a look through the mapping is SIGBUS (unreadable), read(2) is EIO, with nothing under
 * way that could excuse it.
 * EOPNOTSUPP where the device is no loop device of the harness's own: a guest's disk has no end
 * that could be moved from inside.
 */
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "behind.h"
#include "state.h"

static struct behind cut = { .dev_fd = -1 };
static pid_t healer;
static int healer_end; /* closed, it heals */

static int set_limit(uint64_t bytes)
{
	struct loop_info64 info;

	if (ioctl(cut.dev_fd, LOOP_GET_STATUS64, &info) < 0)
		return -errno;
	info.lo_sizelimit = bytes;
	return ioctl(cut.dev_fd, LOOP_SET_STATUS64, &info) < 0 ? -errno : 0;
}

/*
 * A case that is killed in between must not leave the next one a shorter device: a process waits
 * for the end of this one, or of the second call, and gives the device its size back.
 */
static int start_healer(void)
{
	int ends[2];
	char byte;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	healer = fork();
	if (healer == 0) {
		close(ends[1]);
		while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
			;
		_exit(set_limit(0) ? 1 : 0);
	}
	close(ends[0]);
	healer_end = ends[1];
	return healer < 0 ? -errno : 0;
}

static int heal(void)
{
	int status = 0;

	close(healer_end);
	if (waitpid(healer, &status, 0) < 0)
		return -errno;
	return status ? -EIO : 0;
}

static int sabotage_unreadable_prepare(struct pf_fault_call *c)
{
	struct loop_info64 info;
	int ret;

	c->before[0] = cut.dev_fd >= 0;
	if (c->before[0])
		return 0;
	ret = behind_find(c, 0, &cut);
	if (!ret && ioctl(cut.dev_fd, LOOP_GET_STATUS64, &info) < 0) {
		behind_close(&cut);
		c->why = "only a loop device can be made shorter under a filesystem";
		ret = -EOPNOTSUPP;
	}
	return ret;
}

static int sabotage_unreadable_run(struct pf_fault_call *c)
{
	int ret;

	if (c->before[0]) {
		ret = heal();
		behind_close(&cut);
		return ret;
	}
	ret = syncfs(c->file->fd) < 0 ? -errno : start_healer();
	if (ret)
		return ret;
	behind_drop_cache(c->file);
	return set_limit(cut.physical_bytes);
}

static enum pf_effect sabotage_unreadable_effect(struct pf_fault_call *c, char *evidence,
						 size_t evidence_bytes)
{
	if (c->before[0]) {
		state_say(evidence, evidence_bytes, "the device has its size again");
		return PF_EFFECT_SHOWN;
	}
	state_say(evidence, evidence_bytes, "the device ends at %" PRIu64, cut.physical_bytes);
	return behind_read(&cut) ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops sabotage_unreadable_ops = {
	.name = "sabotage-unreadable",
	.summary = "make the device end before the first block; the second time, put it back",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST | PF_FAULT_EXCLUSIVE,
	.prepare = sabotage_unreadable_prepare,
	.run = sabotage_unreadable_run,
	.effect = sabotage_unreadable_effect,
};
PF_FAULT(sabotage_unreadable_ops);
