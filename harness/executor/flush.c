// SPDX-License-Identifier: GPL-2.0
/*
 * flush.c - does a sync flush what was stored to a mapped file on DAX? The kernel's trace says.
 *
 * A store there is in the caches of the CPU until somebody flushes it, which fsync and its kin do
 * for each page that is marked dirty (Linux: Documentation/filesystems/dax.rst; write(2) does it
 * itself). Where that is forgotten nothing can be seen in memory, nor on an emulated NVDIMM, which
 * has no cache. So what is asked is whether the kernel did it: fs_dax:dax_writeback_one is traced
 * for each page it flushes.
 *
 * A page is owed a flush from the end of a write through the mapping to the end of the next sync
 * of the whole file that returned 0. A flush counts from the write's beginning on: it may have
 * come in between. Nothing is owed, as it cannot be told:
 *   - by a write during which the page was flushed or the file synced, or its block taken;
 *   - once an operation has changed what is in the page, or write(2) has;
 *   - when its block is another one than after the write, or when blocks are being taken during
 *     the sync;
 *   - when the trace has lost something.
 *
 * Asked in guests, whose trace is ours, and where the sequence syncs by a step of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../core/token.h"
#include "case.h"

#define PAGE_BYTES 4096u
#define TRACING "/sys/kernel/tracing/"

static bool enable(void)
{
	int fd = open(TRACING "events/fs_dax/dax_writeback_one/enable", O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

/* Does the sequence sync by a step, and leave the machine on? If not, nothing can be looked at. */
static bool asked(const struct case_run *c)
{
	bool syncs = false;

	for (int i = 0; i < c->seq.nr_steps; i++) {
		const struct pf_fault_ops *fault = c->seq.steps[i].fault;

		if (fault && (fault->flags & PF_FAULT_POWER))
			return false; /* its process lives on beside those after it */
		syncs = syncs || (fault && step_syncs(fault));
	}
	return syncs;
}

void flush_open(struct case_run *c)
{
	struct flush_watch *w = &c->flushes;

	pthread_mutex_init(&w->lock, NULL);
	w->trace = -1;
	if (!asked(c)) {
		if (c->params->flushes)
			case_end(c, CASE_SKIP, "flush-trace wants a step that syncs whole files, "
				 "and none that cuts the power");
		return;
	}
	if (!c->params->guest || c->pool)
		return;
	if (enable())
		w->trace = open(TRACING "trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (w->trace >= 0)
		return;
	if (c->params->flushes)
		case_end(c, CASE_SKIP, "no trace of flushes: %s", pf_errno_name(errno));
	else
		pf_history_line(&c->history, "note no%%20trace%%20of%%20flushes:%%20%s",
				pf_errno_name(errno));
}

static void settle(const struct flush_watch *w, struct flush_page *p)
{
	p->op = 0;
	p->settled = w->clock;
}

/* Pages of file number @i from byte @from up to @to. */
static void settle_bytes(struct flush_watch *w, long i, uint64_t from, uint64_t to)
{
	for (uint64_t p = from / PAGE_BYTES; p < FLUSH_PAGES_MAX && p * PAGE_BYTES < to; p++)
		settle(w, &w->pages[i][p]);
}

static void settle_all(struct flush_watch *w)
{
	for (long i = 0; i < PF_SEQ_FILES_MAX; i++)
		settle_bytes(w, i, 0, UINT64_MAX);
}

static void flushed(struct case_run *c, dev_t dev, ino_t ino, uint64_t first, uint64_t nr)
{
	struct flush_watch *w = &c->flushes;
	struct stat st;

	for (int i = 0; i < PF_SEQ_FILES_MAX; i++) {
		if (c->files[i].fd < 0 || fstat(c->files[i].fd, &st) || st.st_ino != ino ||
		    st.st_dev != dev)
			continue;
		for (uint64_t p = first; p < FLUSH_PAGES_MAX && p < first + nr; p++) {
			if (w->pages[i][p].op)
				w->flushed_op[i] = w->pages[i][p].op;
			settle(w, &w->pages[i][p]);
		}
	}
}

/* A line of the trace: "... dax_writeback_one: dev 259:0 ino 0x83 pgoff 0x1 pglen 0x1". */
static void take_line(struct case_run *c, const char *line)
{
	const char *at = strstr(line, " dax_writeback_one: ");
	unsigned long ino, first, nr;
	unsigned int major, minor;

	if (at && sscanf(at, " dax_writeback_one: dev %u:%u ino %lx pgoff %lx pglen %lx", &major,
			 &minor, &ino, &first, &nr) == 5)
		flushed(c, makedev(major, minor), ino, first, nr);
	else if (strstr(line, " EVENTS]")) /* "CPU:0 [LOST 12 EVENTS]" */
		settle_all(&c->flushes);
}

/* Take note of what was flushed until now. Called with the lock held. */
static void catch_up(struct case_run *c)
{
	struct flush_watch *w = &c->flushes;
	char *line, *end;
	ssize_t n;

	while ((n = read(w->trace, w->text + w->used, sizeof(w->text) - 1 - w->used)) > 0) {
		w->used += (size_t)n;
		w->text[w->used] = '\0';
		for (line = w->text; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			take_line(c, line);
		}
		w->used = strlen(line);
		memmove(w->text, line, w->used);
		if (w->used == sizeof(w->text) - 1) { /* no line of ours */
			settle_all(w);
			w->used = 0;
		}
	}
}

/* Where page @p of the file is on the device; 0: nowhere, or not known. */
static uint64_t block_of(const struct pf_file *f, uint64_t p)
{
	struct pf_extents x;

	return pf_extents(f->fd, p * PAGE_BYTES, PAGE_BYTES, &x) ? 0 : x.first_physical;
}

static bool on_dax(const struct pf_file *f)
{
	struct statx st;

	return !statx(f->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) &&
	       (st.stx_attributes & STATX_ATTR_DAX);
}

uint32_t flush_before_write(struct case_run *c, const struct pf_file *f, bool through_map)
{
	struct flush_watch *w = &c->flushes;
	uint32_t mark;

	if (w->trace < 0 || !through_map || !on_dax(f))
		return 0;
	pthread_mutex_lock(&w->lock);
	catch_up(c);
	mark = ++w->clock;
	pthread_mutex_unlock(&w->lock);
	return mark;
}

void flush_wrote(struct case_run *c, const struct pf_io *io, long n, uint32_t op, uint32_t mark)
{
	struct flush_watch *w = &c->flushes;
	long i = io->file - c->files;
	uint64_t to = io->off_bytes + (uint64_t)n;

	if (w->trace < 0)
		return;
	pthread_mutex_lock(&w->lock);
	catch_up(c);
	if (!mark)
		settle_bytes(w, i, io->off_bytes, to);
	for (uint64_t p = io->off_bytes / PAGE_BYTES;
	     mark && p < FLUSH_PAGES_MAX && p * PAGE_BYTES < to; p++) {
		struct flush_page *page = &w->pages[i][p];

		if (page->settled >= mark)
			continue;
		page->block = block_of(io->file, p);
		page->op = page->block ? op : 0;
	}
	pthread_mutex_unlock(&w->lock);
}

void flush_fault(struct case_run *c, const struct pf_fault_ops *ops,
		 const struct pf_fault_call *call)
{
	struct flush_watch *w = &c->flushes;
	long i = call->file - c->files;

	if (w->trace < 0)
		return;
	pthread_mutex_lock(&w->lock);
	switch (ops->prim) {
	case PF_PRIM_ZERO:
		settle_bytes(w, i, call->off_bytes, call->off_bytes + call->len_bytes);
		break;
	case PF_PRIM_RESIZE:
		settle_bytes(w, i, call->size_bytes, UINT64_MAX);
		break;
	case PF_PRIM_COLLAPSE:
	case PF_PRIM_INSERT:
		settle_bytes(w, i, call->off_bytes, UINT64_MAX);
		break;
	case PF_PRIM_COPY:
		settle_bytes(w, call->file2 - c->files, 0, UINT64_MAX);
		break;
	case PF_PRIM_CRASH:
		settle_all(w);
		break;
	case PF_PRIM_NONE: /* blocks may move: block_of() */
	case PF_PRIM_SYNC:
	case PF_PRIM_SYNCFS:
	case PF_PRIM_UNLINK:
	case PF_PRIM_RENAME:
		break;
	}
	pthread_mutex_unlock(&w->lock);
}

void flush_synced(struct case_run *c, const struct pf_file *f)
{
	struct flush_watch *w = &c->flushes;
	long i = f - c->files;
	uint32_t op = 0;
	uint64_t first = 0;
	unsigned int nr = 0;

	if (w->trace < 0 || f->fd < 0)
		return;
	pthread_mutex_lock(&w->lock);
	catch_up(c);
	for (uint64_t p = 0; p < FLUSH_PAGES_MAX && !atomic_load(&c->reshaping); p++) {
		const struct flush_page *page = &w->pages[i][p];

		if (!page->op || block_of(f, p) != page->block)
			continue;
		first = nr++ ? first : p * PAGE_BYTES;
		op = page->op > op ? page->op : op;
	}
	if (nr)
		pf_history_line(&c->history,
				"note flushed%%20%u%%20no%%20%u%%20page(s)%%20of%%20%s,"
				"%%20the%%20first%%20at%%20%llu",
				op, nr, f->name, (unsigned long long)first);
	else if (w->flushed_op[i])
		pf_history_line(&c->history, "note flushed%%20%u%%20yes", w->flushed_op[i]);
	w->flushed_op[i] = 0;
	settle_bytes(w, i, 0, UINT64_MAX);
	pthread_mutex_unlock(&w->lock);
}
