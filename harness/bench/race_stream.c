// SPDX-License-Identifier: GPL-2.0
/*
 * race_stream.c - see race_stream.h.
 *
 * What is done comes from the plan of real races (race_plan.c), so verbs, faults, ranges and places
 * are theirs. Operations act cell by cell, and are left half done for others to meet; a pwrite and
 * a fault have their file to themselves, as the lock of its inode gives it to them. README.md says
 * how the streams compare with those of real races.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../executor/race.h"
#include "race_stream.h"

#define THREADS 4u
#define FILES 2u
#define CELLS 4096u /* a file at the start */
#define CELLS_MAX (2 * CELLS)
#define PAGE_CELLS 64u
#define NOBODY THREADS
#define CALL_NS 2000u
#define CELL_NS 4u
#define MEAN_NS 2600u /* of an operation of the plan */

struct stream_thread {
	struct pf_race_rec rec;
	bool under_way;
	uint32_t at;  /* cells before it were acted on */
	uint32_t end; /* looks: where the file ended */
	uint32_t nr_ops, used, nr_records;
	uint64_t oldest_ns;
	struct pf_rng rng;
	uint8_t *chunk; /* the record under way is at used, its runs behind it */
};

static struct {
	int fd;
	struct race_plan plan;
	struct stream_thread t[THREADS];
	pf_value cells[FILES][CELLS_MAX]; /* behind the size all are zero */
	uint32_t size[FILES];
	uint32_t owner[FILES]; /* of the inode's lock */
	uint64_t now_ns;
	struct pf_rng rng;
} s;

static void put(const void *data, size_t bytes)
{
	for (size_t at = 0; at < bytes;) {
		ssize_t n = write(s.fd, (const char *)data + at, bytes - at);

		if (n < 0)
			_exit(1);
		at += (size_t)n;
	}
}

static void hand_over(uint32_t nr, uint64_t next_ns)
{
	struct stream_thread *t = &s.t[nr];
	struct pf_race_chunk head = { PF_RACE_CHUNK_MAGIC, nr, t->used, t->nr_records, next_ns, 0 };

	head.sum = XXH64(t->chunk, t->used, XXH64(&head, offsetof(struct pf_race_chunk, sum), 0));
	put(&head, sizeof(head));
	put(t->chunk, t->used);
	t->used = t->nr_records = 0;
}

static bool sizes(const struct pf_race_rec *r)
{
	if (r->verb == PF_RACE_FAULT)
		return r->what >= PF_PRIM_RESIZE && r->what <= PF_PRIM_COPY;
	return r->verb == PF_RACE_PWRITE && r->first_cell + r->nr_cells > CELLS / 2;
}

/* Would race_op.c do that just now, or skip it? */
static bool fits(const struct pf_race_rec *r)
{
	uint32_t size = s.size[r->file];

	if (!sizes(r))
		return true;
	for (uint32_t i = 0; i < THREADS; i++) {
		const struct pf_race_rec *q = &s.t[i].rec;

		if (s.t[i].under_way && sizes(q) &&
		    (q->file == r->file || q->file2 == r->file || q->file == r->file2))
			return false;
	}
	if (r->verb == PF_RACE_PWRITE)
		return true;
	if (r->what == PF_PRIM_COLLAPSE)
		return r->first_cell + r->nr_cells < size && size >= CELLS / 2 + r->nr_cells;
	if (r->what == PF_PRIM_INSERT)
		return r->first_cell < size && size + r->nr_cells <= CELLS_MAX;
	return r->what != PF_PRIM_COPY || s.size[r->file2] <= size;
}

static void begin(uint32_t nr)
{
	struct stream_thread *t = &s.t[nr];
	struct race_choice c;
	struct pf_race_rec r;

	do {
		race_choose(&s.plan, &t->rng, &c);
		r = (struct pf_race_rec){
			.op = 10 + t->nr_ops * THREADS + nr,
			.verb = (uint8_t)c.verb,
			.file = (uint8_t)c.file,
			.file2 = (uint8_t)c.file2,
			.first_cell = (uint32_t)(c.off_bytes / 64),
			.nr_cells = (uint32_t)(c.len_bytes / 64),
			.size_cells = PF_RACE_NO_SIZE,
		};
		if (c.verb == PF_RACE_LOOK) {
			r.what = (uint8_t)c.view;
			r.size_cells = s.size[c.file];
		} else if (c.verb == PF_RACE_FAULT) {
			r.what = (uint8_t)c.fault->ops->prim;
			if (r.what == PF_PRIM_RESIZE)
				r.first_cell = (uint32_t)(c.size_bytes / 64);
		}
	} while (!fits(&r));
	t->nr_ops++;
	t->under_way = true;
	t->at = 0;
	s.now_ns += 200 + pf_rng_below(&s.rng, 100);
	r.inv_ns = s.now_ns;
	t->rec = r;
	t->end = s.size[r.file];
}

/* Look at cells from @lo to @hi. */
static void see(struct stream_thread *t, uint32_t lo, uint32_t hi)
{
	struct pf_race_run *runs = (struct pf_race_run *)(t->chunk + t->used + sizeof(t->rec));
	const pf_value *c = s.cells[t->rec.file];
	uint32_t nr = t->rec.nr_runs;

	for (uint32_t i = lo; i < hi; i++) {
		uint32_t kind = c[i] ? PF_RUN_CELLS : PF_RUN_ZERO;

		if (nr && runs[nr - 1].kind == kind &&
		    (!c[i] || runs[nr - 1].value + runs[nr - 1].count == c[i]))
			runs[nr - 1].count++;
		else
			runs[nr++] = (struct pf_race_run){ c[i], 1, kind };
	}
	t->rec.nr_runs = nr;
}

/* Resizes, shifts and clones, at one moment. */
static void move(const struct pf_race_rec *r)
{
	pf_value *c = s.cells[r->file];
	uint32_t *size = &s.size[r->file], first = r->first_cell, nr = r->nr_cells;

	switch (r->what) {
	case PF_PRIM_RESIZE:
		if (first < *size)
			memset(c + first, 0, (*size - first) * sizeof(*c));
		*size = first;
		break;
	case PF_PRIM_COLLAPSE:
		memmove(c + first, c + first + nr, (*size - first - nr) * sizeof(*c));
		*size -= nr;
		memset(c + *size, 0, nr * sizeof(*c));
		break;
	case PF_PRIM_INSERT:
		memmove(c + first + nr, c + first, (*size - first) * sizeof(*c));
		memset(c + first, 0, nr * sizeof(*c));
		*size += nr;
		break;
	case PF_PRIM_COPY:
		memcpy(s.cells[r->file2], c, sizeof(s.cells[0]));
		s.size[r->file2] = *size;
		break;
	default:
		break;
	}
}

/* Act on the cells before @to, which is at most nr_cells. */
static void advance(struct stream_thread *t, uint32_t to)
{
	struct pf_race_rec *r = &t->rec;
	uint32_t lo = r->first_cell + t->at, hi = r->first_cell + to, *size = &s.size[r->file];
	bool zeroes = r->verb == PF_RACE_FAULT;

	t->at = to;
	if (r->verb == PF_RACE_PWRITE && hi > lo && hi > *size)
		*size = hi;
	if (r->verb == PF_RACE_LOOK) {
		t->end = *size < t->end ? *size : t->end;
		if (lo < t->end)
			see(t, lo, hi < t->end ? hi : t->end);
		return;
	}
	if (r->result < 0) /* where the file ended */
		return;
	if (!zeroes && hi > *size)
		r->result = -EFAULT;
	for (uint32_t i = lo; i < hi && i < *size; i++)
		s.cells[r->file][i] = zeroes ? 0 : pf_value_make(r->op, r->file + 1u, i);
	if (!zeroes && r->result >= 0)
		r->result = (int32_t)to;
}

/* Does it act on one cell after the other? */
static bool by_cell(const struct pf_race_rec *r)
{
	return r->verb != PF_RACE_FAULT || r->what == PF_PRIM_ZERO;
}

static bool locks(const struct pf_race_rec *r)
{
	return r->verb == PF_RACE_PWRITE ||
	       (r->verb == PF_RACE_FAULT && r->what >= PF_PRIM_ZERO && r->what <= PF_PRIM_COPY);
}

static void end(uint32_t nr)
{
	struct stream_thread *t = &s.t[nr];
	struct pf_race_rec *r = &t->rec;

	if (by_cell(r))
		advance(t, r->nr_cells);
	else
		move(r);
	if (locks(r))
		s.owner[r->file] = NOBODY;
	r->ret_ns = s.now_ns;
	t->under_way = false;
	if (!t->nr_records++)
		t->oldest_ns = r->inv_ns;
	memcpy(t->chunk + t->used, r, sizeof(*r));
	t->used += (uint32_t)(sizeof(*r) + r->nr_runs * sizeof(struct pf_race_run));
	if (t->used >= PF_RACE_FULL_BYTES || r->ret_ns - t->oldest_ns >= PF_RACE_OLD_NS)
		hand_over(nr, r->ret_ns);
}

static bool locked_out(uint32_t nr)
{
	const struct pf_race_rec *r = &s.t[nr].rec;
	uint32_t owner = s.owner[r->file], owner2 = s.owner[r->file2];

	return locks(r) && ((owner != NOBODY && owner != nr) || (owner2 != NOBODY && owner2 != nr));
}

/*
 * Go on with what was left, and then do one operation after the other, until the time is over. Long
 * operations are the likeliest to be left half done. Returns the number that ended, at most @max.
 */
static uint64_t turn(uint32_t nr, uint64_t left_ns, uint64_t max)
{
	struct stream_thread *t = &s.t[nr];
	struct pf_race_rec *r = &t->rec;

	for (uint64_t ended = 0; ended < max; ended++) {
		uint32_t cells;
		uint64_t ns;

		if (!t->under_way)
			begin(nr);
		if (locked_out(nr))
			return ended;
		if (locks(r))
			s.owner[r->file] = nr;
		cells = by_cell(r) ? r->nr_cells - t->at : 0;
		ns = CALL_NS + CELL_NS * cells;
		if (ns > left_ns) {
			s.now_ns += left_ns;
			if (cells)
				advance(t, t->at + (uint32_t)(cells * left_ns / ns));
			return ended;
		}
		s.now_ns += ns;
		left_ns -= ns;
		end(nr);
	}
	return max;
}

/* What is under way never returns. */
static void leave(uint32_t nr)
{
	struct stream_thread *t = &s.t[nr];

	if (t->under_way) {
		t->rec.ret_ns = PF_RACE_UNRETURNED;
		t->rec.size_cells = PF_RACE_NO_SIZE;
		t->rec.result = 0;
		t->rec.nr_runs = 0;
		memcpy(t->chunk + t->used, &t->rec, sizeof(t->rec));
		t->used += (uint32_t)sizeof(t->rec);
		t->nr_records++;
	}
	hand_over(nr, UINT64_MAX);
}

static void open_stream(uint64_t seed)
{
	const struct race_params params = { .threads = THREADS, .files = FILES,
					    .size_bytes = CELLS * 64 };
	struct pf_race_header h = { .header_bytes = sizeof(h), .run = 1, .case_nr = 1,
				    .nr_threads = THREADS, .nr_files = FILES, .channel = "store" };
	char why[200];

	if (race_plan_init(&s.plan, &params, 4096, why, sizeof(why)))
		_exit(1);
	memcpy(h.magic, PF_RACE_MAGIC, sizeof(h.magic));
	for (uint32_t f = 0; f < FILES; f++) {
		s.size[f] = CELLS;
		s.owner[f] = NOBODY;
		h.files[f] = (struct pf_race_file){ f + 1, CELLS, f + 1, 0 };
		for (uint32_t i = 0; i < CELLS; i++)
			s.cells[f][i] = pf_value_make(f + 1, f + 1, i);
	}
	pf_rng_init(&s.rng, seed, "bench", 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		pf_rng_init(&s.t[i].rng, seed, "thread", i);
		s.t[i].chunk = malloc(PF_RACE_FULL_BYTES + sizeof(struct pf_race_rec) +
				      CELLS_MAX * sizeof(struct pf_race_run));
		if (!s.t[i].chunk)
			_exit(1);
	}
	h.sum = XXH64(&h, offsetof(struct pf_race_header, sum), 0);
	put(&h, sizeof(h));
}

void race_stream_make(int fd, uint64_t operations, unsigned int alone, uint64_t seed)
{
	uint32_t nr = 0;

	s.fd = fd;
	open_stream(seed);
	for (uint64_t n = 0; n < operations;) {
		n += turn(nr, pf_rng_below(&s.rng, 2 * alone * MEAN_NS), operations - n);
		nr = (nr + 1 + (uint32_t)pf_rng_below(&s.rng, THREADS - 1)) % THREADS;
	}
	for (nr = 0; nr < THREADS; nr++)
		leave(nr);
}
