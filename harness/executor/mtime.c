// SPDX-License-Identifier: GPL-2.0
/*
 * mtime.c - was the filesystem told of a write? The modification time says.
 *
 * POSIX (write, mmap, msync): the last data modification is marked for update between the write
 * and the next fsync or msync. So from the first write after a sync to the next sync that returned
 * 0, the time must have moved; that is one interval, and one line in the history. Linux marks a
 * store when the page becomes writable, which writeback undoes, so that a later store of the same
 * interval marks nothing: only the interval as a whole can be asked. A sync of a range (dsync) ends
 * none: pages around it are writable still.
 *
 * No line where it cannot be told: when the clock that stamps files had not ticked since the time
 * before the write; and on tmpfs for what goes through the mapping: its pages are never
 * write-protected, so that after a mere read of the page a store meets no fault and marks nothing.
 */
#include <poll.h>
#include <sys/vfs.h>
#include <linux/magic.h>

#include "case.h"

#define TICK_WAIT_MS 50 /* a tick is 1 to 10 ms */

static bool later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static bool same(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Would a stamp made now differ from @mtime? Wait for the next tick, where that is worth it. */
static bool can_tell(const struct timespec *mtime, bool wait)
{
	struct timespec now;

	for (int ms = 0;; ms++) {
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
		if (later(&now, mtime))
			return true;
		if (!wait || ms == TICK_WAIT_MS)
			return false;
		poll(NULL, 0, 1);
	}
}

/*
 * Is the answer part of what is asked? Of a long pin, through which nothing tells the filesystem of
 * a write; else it would be told by chance. And where the sequence syncs by a step of its own: of a
 * case only, thousands of sequences have no time for it.
 */
static bool asked(const struct case_run *c)
{
	if (c->channel.ops->class == PF_CLASS_LONG_PIN)
		return true;
	for (int i = 0; i < c->seq.nr_steps && !c->pool; i++) {
		const struct pf_fault_ops *fault = c->seq.steps[i].fault;

		if (fault && (fault->prim == PF_PRIM_SYNC || fault->prim == PF_PRIM_SYNCFS))
			return true;
	}
	return false;
}

static struct mtime_watch *watch_of(struct case_run *c, const struct pf_file *f)
{
	return &c->watches[f - c->files];
}

unsigned int mtime_before_write(struct case_run *c, const struct pf_file *f, bool through_map)
{
	struct mtime_watch *w = watch_of(c, f);
	struct statfs sfs;
	struct stat st;

	if (w->armed)
		return w->interval;
	if (fstat(f->fd, &st) || fstatfs(f->fd, &sfs))
		return 0;
	w->before = st.st_mtim;
	w->op = 0;
	w->armed = true;
	w->can_tell = !(through_map && sfs.f_type == TMPFS_MAGIC) &&
		      can_tell(&w->before, asked(c));
	return ++w->interval;
}

void mtime_wrote(struct case_run *c, const struct pf_file *f, uint32_t op, unsigned int interval)
{
	struct mtime_watch *w = watch_of(c, f);

	/* One that began before the interval was marked then: a short pin is, when it is made. */
	if (w->armed && w->interval == interval)
		w->op = op;
}

void mtime_synced(struct case_run *c, const struct pf_file *f)
{
	struct mtime_watch *w = watch_of(c, f);
	struct stat st;

	/* A write that is still held keeps its interval open. */
	if (!w->armed || !w->op)
		return;
	w->armed = false;
	if (!w->can_tell || fstat(f->fd, &st))
		return;
	pf_history_line(&c->history,
			"note mtime%%20%u%%20%s%%20%lld.%09ld%%20before%%20the%%20write,"
			"%%20%lld.%09ld%%20after%%20the%%20sync",
			w->op, same(&st.st_mtim, &w->before) ? "no" : "yes",
			(long long)w->before.tv_sec, w->before.tv_nsec,
			(long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}
