// SPDX-License-Identifier: GPL-2.0
/* race_op.c - one operation of a race, between two readings of the clock. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../core/cell.h"
#include "../core/guard.h"
#include "race.h"

/* Unreadable pages that one look goes on behind. */
#define HOLES_MAX 16u

/* Milliseconds are exact enough to see that an operation hangs, and cost next to nothing. */
static uint64_t coarse_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* Unique without being shared. The files' first content has the numbers 1 to nr_files. */
static uint32_t op_number(const struct race_thread *t)
{
	const struct race_plan *p = &t->race->plan;

	return (uint32_t)(p->nr_files + 1 + t->nr_ops * p->nr_threads + t->nr);
}

static void count(struct race_thread *t, enum pf_race_verb verb, long result)
{
	if (result >= 0)
		t->counts.done[verb]++;
	else
		t->counts.errors[verb][-result < RACE_ERRNO_MAX ? -result : 0]++;
}

/* @result of an operation that a filesystem lets nobody do once it is shut down or has aborted. */
static void note_denied(struct race *r, long result)
{
	if (result != -EIO && result != -EROFS && result != -ESHUTDOWN) {
		if (result >= 0 && atomic_load_explicit(&r->denied, memory_order_relaxed))
			atomic_store_explicit(&r->denied, 0, memory_order_relaxed);
		return;
	}
	if (atomic_fetch_add_explicit(&r->denied, 1, memory_order_relaxed) + 1 < RACE_DENIED_MAX)
		return;
	atomic_store(&r->dead, (int)-result);
	atomic_store(&r->stop, true);
}

static bool begin(struct race_thread *t, const struct race_choice *c, uint8_t what)
{
	struct pf_race_rec rec = {
		.op = op_number(t),
		.verb = (uint8_t)c->verb,
		.what = what,
		.file = (uint8_t)c->file,
		.file2 = (uint8_t)c->file2,
		.first_cell = (uint32_t)((c->off_bytes + c->size_bytes) / PF_CELL_BYTES),
		.nr_cells = (uint32_t)(c->len_bytes / PF_CELL_BYTES),
		.fault = c->fault ? c->fault->index : 0,
	};

	t->nr_ops++;
	return !t->race->recording || pf_race_begin(&t->buf, &rec);
}

static bool end(struct race_thread *t, enum pf_race_verb verb, long result)
{
	count(t, verb, result);
	return !t->race->recording || !pf_race_end(&t->buf, (int32_t)result);
}

/* Try to be the one that changes the sizes of @c's files. Never waits. */
static bool take_sizes(struct race *r, const struct race_choice *c)
{
	if (atomic_exchange(&r->sizing[c->file], true))
		return false;
	if (c->file2 == c->file || !atomic_exchange(&r->sizing[c->file2], true))
		return true;
	atomic_store(&r->sizing[c->file], false);
	return false;
}

static void give_sizes(struct race *r, const struct race_choice *c)
{
	atomic_store(&r->sizing[c->file], false);
	atomic_store(&r->sizing[c->file2], false);
}

static bool skip(struct race_thread *t)
{
	t->counts.skipped++;
	return true;
}

/* Is memory registered with a device or a ring, that may be given back and registered again? */
static bool registers(const struct pf_channel_ops *ops)
{
	return ops->class == PF_CLASS_LONG_PIN || ops->class == PF_CLASS_FAULTING;
}

/* Renew the pin of @rf, or make the one that could not be renewed. False: it has none now. */
static bool repin(struct race_thread *t, struct race_file *rf)
{
	struct pf_channel *ch = &t->channel;

	if (rf->pinned && ch->ops->unpin)
		ch->ops->unpin(ch, &rf->f);
	/* A file that is shorter than its mapping just now refuses; a later write tries again. */
	rf->pinned = !ch->ops->pin(ch, &rf->f);
	if (rf->pinned)
		t->counts.repinned++;
	else
		t->counts.repin_failed++;
	return rf->pinned;
}

static void stamp(struct race_thread *t, const struct race_choice *c)
{
	struct pf_cell_id id = {
		.run = t->race->params.run,
		.case_nr = t->race->params.nr,
		.file = t->files[c->file].f.id,
		.op = op_number(t),
		.off_bytes = c->off_bytes,
	};

	pf_cell_stamp_range(t->data, c->len_bytes, &id);
}

/* WRITE and STORE, through the mapping: no longer than it is. */
static bool op_map(struct race_thread *t, struct race_choice c)
{
	struct race_file *rf = &t->files[c.file];
	struct pf_io io = { .file = &rf->f, .off_bytes = c.off_bytes, .data = t->data };
	long n;

	if (c.off_bytes >= rf->f.map_bytes)
		return skip(t);
	if (c.len_bytes > rf->f.map_bytes - c.off_bytes)
		c.len_bytes = rf->f.map_bytes - c.off_bytes;
	if (c.verb == PF_RACE_WRITE && registers(t->channel.ops) && (c.repin || !rf->pinned) &&
	    !repin(t, rf))
		return skip(t);
	io.len_bytes = c.len_bytes;
	stamp(t, &c);
	if (!begin(t, &c, 0))
		return false;
	if (c.verb == PF_RACE_WRITE) {
		n = t->channel.ops->write(&t->channel, &io);
	} else {
		n = (long)pf_guarded_copy(rf->f.map + c.off_bytes, t->data, c.len_bytes);
		n = (size_t)n < c.len_bytes ? -EFAULT : n;
	}
	return end(t, c.verb, n < 0 ? n : n / (long)PF_CELL_BYTES);
}

/* Is there a clone among the faults, and does this filesystem know it, as far as was seen? */
static bool clones(const struct race_plan *p)
{
	for (unsigned int i = 0; i < p->nr_faults; i++)
		if (p->faults[i].ops->prim == PF_PRIM_COPY &&
		    !atomic_load_explicit(&p->faults[i].dropped, memory_order_relaxed))
			return true;
	return false;
}

/* A write that makes the target of a clone longer must not meet the clone; see race.h. */
static bool op_pwrite(struct race_thread *t, const struct race_choice *c)
{
	const struct race_plan *p = &t->race->plan;
	bool sizes = c->off_bytes + c->len_bytes > p->size_bytes / 2 && clones(p);
	ssize_t n;
	bool go_on;

	if (sizes && !take_sizes(t->race, c))
		return skip(t);
	stamp(t, c);
	go_on = begin(t, c, 0);
	if (go_on) {
		n = pwrite(t->files[c->file].f.fd, t->data, c->len_bytes, (off_t)c->off_bytes);
		n = n < 0 ? -errno : n / (ssize_t)PF_CELL_BYTES;
		note_denied(t->race, n);
		go_on = end(t, c->verb, n);
	}
	if (sizes)
		give_sizes(t->race, c);
	return go_on;
}

/* What a look brought: stretches of cells, each read or not to be read. */
struct stretch {
	uint64_t off_bytes, end_bytes;
	int err; /* 0: it is in t->seen */
};

/*
 * Read [@off, @end) through @view. What @view cannot read is a stretch of one page, and reading
 * goes on behind it; not behind a page past the end of the file (EFAULT in the mapping), where the
 * next ones are none either. Returns the number of stretches.
 */
static unsigned int read_stretches(struct race_thread *t, struct race_file *rf, enum pf_view view,
				   uint64_t off, uint64_t end_bytes, struct stretch *s)
{
	int fd = view == PF_VIEW_DIRECT ? rf->direct_fd : rf->f.fd, err = 0;
	uint64_t base = off / VIEW_BLOCK_BYTES * VIEW_BLOCK_BYTES;
	unsigned int nr = 0;

	while (off < end_bytes && nr < 2 * HOLES_MAX) {
		uint64_t from = view == PF_VIEW_DIRECT ? off / VIEW_BLOCK_BYTES * VIEW_BLOCK_BYTES
						       : off;
		size_t want = (size_t)(end_bytes - from);
		size_t got = view_read(&rf->f, fd, view, t->seen + (from - base), from, want, &err);
		uint64_t seen_end = from + got / PF_CELL_BYTES * PF_CELL_BYTES;

		if (seen_end > end_bytes)
			seen_end = end_bytes;
		if (seen_end > off)
			s[nr++] = (struct stretch){ off, seen_end, 0 };
		off = seen_end > off ? seen_end : off;
		if (off >= end_bytes || !err)
			break; /* all of it, or the file ended */
		s[nr].off_bytes = off;
		off = (off / VIEW_BLOCK_BYTES + 1) * VIEW_BLOCK_BYTES;
		off = off < end_bytes ? off : end_bytes;
		s[nr].end_bytes = off;
		s[nr++].err = err;
		if (view == PF_VIEW_MMAP)
			break;
	}
	return nr;
}

/* The cells at @p as runs of the record. */
static void decode(struct race_thread *t, const uint8_t *p, size_t nr)
{
	const struct race_params *params = &t->race->params;
	struct pf_cell_id id;
	enum pf_cell_kind kind;

	t->counts.cells += nr;
	for (size_t at = 0; at < nr;) {
		const uint8_t *cell = p + at * PF_CELL_BYTES;
		size_t n = pf_cell_run(cell, nr - at, &kind, &id);
		enum pf_run_kind run = PF_RUN_ZERO;
		pf_value value = PF_VALUE_ZERO;

		if (kind == PF_CELL_VALID) {
			value = pf_value_make(id.op, id.file,
					      (uint32_t)(id.off_bytes / PF_CELL_BYTES));
			run = id.run == params->run && id.case_nr == params->nr ? PF_RUN_CELLS
										: PF_RUN_FOREIGN;
		} else if (kind == PF_CELL_TORN) {
			run = PF_RUN_TORN;
			value = XXH64(cell, PF_CELL_BYTES, 0);
			n = 1; /* each torn cell has a hash of its own */
		}
		if (t->race->recording)
			pf_race_run(&t->buf, run, value, (uint32_t)n);
		at += n;
	}
}

static bool op_look(struct race_thread *t, struct race_choice c)
{
	struct race_file *rf = &t->files[c.file];
	struct stretch s[2 * HOLES_MAX + 2];
	uint64_t base = c.off_bytes / VIEW_BLOCK_BYTES * VIEW_BLOCK_BYTES, end_bytes;
	unsigned int nr = 0;
	struct stat st;
	int rc;

	/* What is read together fits the buffer; a mapping ends where it ends. */
	if (c.len_bytes > base + VIEW_BUFFER_BYTES - c.off_bytes)
		c.len_bytes = base + VIEW_BUFFER_BYTES - c.off_bytes;
	if (c.view == PF_VIEW_MMAP && c.off_bytes >= rf->f.map_bytes)
		return skip(t);
	if (c.view == PF_VIEW_MMAP && c.len_bytes > rf->f.map_bytes - c.off_bytes)
		c.len_bytes = rf->f.map_bytes - c.off_bytes;
	if (!begin(t, &c, (uint8_t)c.view))
		return false;
	rc = fstat(rf->f.fd, &st) ? -errno : 0;
	if (!rc) {
		end_bytes = (uint64_t)st.st_size / PF_CELL_BYTES * PF_CELL_BYTES;
		if (c.off_bytes + c.len_bytes < end_bytes)
			end_bytes = c.off_bytes + c.len_bytes;
		nr = read_stretches(t, rf, c.view, c.off_bytes, end_bytes, s);
	}
	count(t, PF_RACE_LOOK, rc);
	if (t->race->params.check == RACE_UNCHECKED)
		return true;
	if (t->race->recording &&
	    !pf_race_returned(&t->buf, rc,
			      rc ? PF_RACE_NO_SIZE : (uint32_t)(st.st_size / PF_CELL_BYTES)))
		return false;
	for (unsigned int i = 0; i < nr; i++) {
		size_t cells = (size_t)(s[i].end_bytes - s[i].off_bytes) / PF_CELL_BYTES;

		if (!s[i].err)
			decode(t, t->seen + (s[i].off_bytes - base), cells);
		else if (t->race->recording)
			pf_race_run(&t->buf, PF_RUN_ERROR, (uint64_t)s[i].err, (uint32_t)cells);
	}
	return !t->race->recording || !pf_race_commit(&t->buf);
}

static uint64_t size_now(const struct race_thread *t, unsigned int file)
{
	struct stat st;

	return fstat(t->files[file].f.fd, &st) ? 0 : (uint64_t)st.st_size;
}

/*
 * Does the choice keep to the sizes that race.h promises, and is its result a function of its
 * arguments? Called with the sizes taken, so the answer stays true while it runs.
 */
static bool fits(const struct race_thread *t, const struct race_choice *c)
{
	const struct race_plan *p = &t->race->plan;
	uint64_t size = size_now(t, c->file);

	switch (c->fault->ops->prim) {
	case PF_PRIM_COLLAPSE:
		return c->off_bytes + c->len_bytes < size &&
		       size >= p->size_bytes / 2 + c->len_bytes;
	case PF_PRIM_INSERT:
		return c->off_bytes < size && size + c->len_bytes <= 2 * p->size_bytes;
	case PF_PRIM_COPY:
		return size_now(t, c->file2) <= size;
	default:
		return true;
	}
}

static bool changes_sizes(enum pf_prim prim)
{
	return prim == PF_PRIM_RESIZE || prim == PF_PRIM_COLLAPSE || prim == PF_PRIM_INSERT ||
	       prim == PF_PRIM_COPY;
}

static bool changes_content(enum pf_prim prim)
{
	return prim == PF_PRIM_ZERO || changes_sizes(prim);
}

static void fault_counted(struct race_thread *t, struct race_fault *f, int rc)
{
	size_t i = (size_t)(f - t->race->plan.faults);

	if (!rc)
		t->counts.fault_done[i]++;
	else
		t->counts.fault_failed[i]++;
	if (rc && fault_unsupported(f->ops, -rc))
		atomic_store(&f->dropped, -rc);
}

static bool run_fault(struct race_thread *t, const struct race_choice *c)
{
	const struct pf_fault_ops *ops = c->fault->ops;
	struct pf_fault_call call = {
		.file = &t->files[c->file].f,
		.file2 = ops->args == PF_ARGS_FILE_FILE ? &t->files[c->file2].f : NULL,
		.off_bytes = c->off_bytes,
		.len_bytes = c->len_bytes,
		.size_bytes = c->size_bytes,
	};
	int rc = ops->prepare ? ops->prepare(&call) : 0;

	if (rc) {
		if (fault_unsupported(ops, -rc))
			atomic_store(&c->fault->dropped, -rc);
		return skip(t);
	}
	if (!begin(t, c, (uint8_t)ops->prim))
		return false;
	rc = ops->run(&call);
	fault_counted(t, c->fault, rc);
	if (changes_content(ops->prim))
		note_denied(t->race, rc);
	return end(t, PF_RACE_FAULT, rc);
}

static bool op_fault(struct race_thread *t, const struct race_choice *c)
{
	bool sizes = changes_sizes(c->fault->ops->prim), go_on;

	if (atomic_load_explicit(&c->fault->dropped, memory_order_relaxed))
		return skip(t);
	if (sizes && !take_sizes(t->race, c))
		return skip(t);
	go_on = sizes && !fits(t, c) ? skip(t) : run_fault(t, c);
	if (sizes)
		give_sizes(t->race, c);
	return go_on;
}

bool race_op_run(struct race_thread *t, const struct race_choice *c)
{
	bool go_on = false;

	atomic_store_explicit(&t->since_ns, coarse_ns(), memory_order_relaxed);
	switch (c->verb) {
	case PF_RACE_WRITE:
	case PF_RACE_STORE:
		go_on = op_map(t, *c);
		break;
	case PF_RACE_PWRITE:
		go_on = op_pwrite(t, c);
		break;
	case PF_RACE_LOOK:
		go_on = op_look(t, *c);
		break;
	case PF_RACE_FAULT:
		go_on = op_fault(t, c);
		break;
	case PF_RACE_VERBS_NR:
		break;
	}
	atomic_store_explicit(&t->since_ns, 0, memory_order_relaxed);
	return go_on;
}

/* All of @file through @view, piece by piece. */
static bool look_whole(struct race_thread *t, unsigned int file, enum pf_view view)
{
	struct race_choice c = { .verb = PF_RACE_LOOK, .view = view, .file = file, .file2 = file };
	uint64_t size = size_now(t, file);

	c.len_bytes = VIEW_BUFFER_BYTES;
	for (; c.off_bytes < size; c.off_bytes += VIEW_BUFFER_BYTES)
		if (!race_op_run(t, &c))
			return false;
	return true;
}

/* Write @file back, as a fault if there is one of that name, so that it is in the record. */
static bool sync_file(struct race_thread *t, unsigned int file)
{
	const struct race_plan *p = &t->race->plan;
	struct race_choice c = { .verb = PF_RACE_FAULT, .file = file, .file2 = file };

	for (unsigned int i = 0; i < p->nr_faults; i++)
		if (!strcmp(p->faults[i].ops->name, "fsync") && !p->faults[i].dropped) {
			c.fault = (struct race_fault *)&p->faults[i];
			return race_op_run(t, &c);
		}
	fsync(t->files[file].f.fd);
	return true;
}

bool race_op_last_looks(struct race_thread *t, bool dropped)
{
	const struct race_plan *p = &t->race->plan;

	for (unsigned int i = 0; i < p->nr_files; i++) {
		if (dropped) {
			if (!sync_file(t, i))
				return false;
			posix_fadvise(t->files[i].f.fd, 0, 0, POSIX_FADV_DONTNEED);
			if (!look_whole(t, i, PF_VIEW_BUFFERED))
				return false;
			continue;
		}
		for (unsigned int v = 0; v < p->nr_views; v++)
			if ((p->views[v] != PF_VIEW_DIRECT || t->files[i].direct_fd >= 0) &&
			    !look_whole(t, i, p->views[v]))
				return false;
	}
	return true;
}
