// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-mtime - set the file's modification time back to what it was (selftest).
 *
 * Used twice with a write in between: the first call remembers the time, the second sets it. The
 * data is right; but whoever asks the filesystem whether the file changed (a backup, an NFS client)
 * is told that it did not, as after a write that went past it.
 * Kernel path: futimens(2). The change time cannot be set back, and moves on. The first call waits
 * for the clock that stamps files to tick, so that the write between would have shown.
 */
#include <poll.h>
#include <time.h>

#include "state.h"

#define TICK_MAX_MS 1000

static struct {
	uint32_t file_id; /* 0: nothing remembered */
	struct timespec mtime;
} old_time;

static int sabotage_mtime_prepare(struct pf_fault_call *c)
{
	struct stat st;

	c->before[0] = old_time.file_id == c->file->id;
	if (c->before[0])
		return 0;
	if (fstat(c->file->fd, &st) < 0)
		return -errno;
	old_time.mtime = st.st_mtim;
	old_time.file_id = c->file->id;
	return 0;
}

static int wait_tick(const struct timespec *since)
{
	struct timespec now;

	for (int ms = 0; ms < TICK_MAX_MS; ms++) {
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
		if (now.tv_sec > since->tv_sec ||
		    (now.tv_sec == since->tv_sec && now.tv_nsec > since->tv_nsec))
			return 0;
		poll(NULL, 0, 1);
	}
	return -ETIME;
}

static int sabotage_mtime_run(struct pf_fault_call *c)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, old_time.mtime };

	if (!c->before[0])
		return wait_tick(&old_time.mtime);
	return futimens(c->file->fd, times) < 0 ? -errno : 0;
}

static enum pf_effect sabotage_mtime_effect(struct pf_fault_call *c, char *evidence,
					    size_t evidence_bytes)
{
	struct stat st;

	if (fstat(c->file->fd, &st) < 0)
		return PF_EFFECT_UNKNOWN;
	state_say(evidence, evidence_bytes, "mtime is %lld.%09ld", (long long)st.st_mtim.tv_sec,
		  st.st_mtim.tv_nsec);
	return st.st_mtim.tv_sec == old_time.mtime.tv_sec &&
			       st.st_mtim.tv_nsec == old_time.mtime.tv_nsec ?
		       PF_EFFECT_SHOWN :
		       PF_EFFECT_NONE;
}

static const struct pf_fault_ops sabotage_mtime_ops = {
	.name = "sabotage-mtime",
	.summary = "remember the modification time; the second time, set it back",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST,
	.prepare = sabotage_mtime_prepare,
	.run = sabotage_mtime_run,
	.effect = sabotage_mtime_effect,
};
PF_FAULT(sabotage_mtime_ops);
