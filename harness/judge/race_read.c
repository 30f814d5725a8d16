// SPDX-License-Identifier: GPL-2.0
/* race_read.c - see race_read.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../core/fault.h"
#include "race_read.h"

#define REC_BYTES sizeof(struct pf_race_rec)
#define RUN_BYTES sizeof(struct pf_race_run)

struct chunk {
	struct chunk *next;
	uint32_t bytes, used; /* handed on */
	uint32_t room;
	_Alignas(struct pf_race_rec) uint8_t data[];
};

/* Chunks are used again: memory that the system has to hand out anew costs more than reading. */
#ifdef PF_FUZZ /* every byte behind a chunk's last is to be found */
#define ROOM_STEP 1u
#define SPARE_MAX 0u
#else
#define ROOM_STEP (16u << 10)
#define SPARE_MAX (4u << 20) /* bytes */
#endif

struct thread {
	struct chunk *first, *last;
	const struct pf_race_rec *pending; /* begun and not ended: in first */
	bool has; /* an event: its key is that of it, else of its promise */
	uint64_t promise_ns;
	uint64_t checked_ns; /* the invocation of the last record that was read */
};

struct race_reader {
	int fd;
	const uint8_t *in; /* not NULL: the whole stream is in memory, and borrowed */
	size_t in_at, in_end;
	uint8_t ahead[sizeof(struct pf_race_chunk)]; /* read, and not taken yet */
	size_t ahead_bytes;
	struct chunk *spare;
	uint64_t spare_bytes;
	uint64_t byte, record;
	struct pf_race_header h;
	struct thread t[PF_RACE_THREADS_MAX];
	/* By thread: when its next event is, times four, and what it is. Beginnings come first. */
	uint64_t key[PF_RACE_THREADS_MAX];
	struct thread *ended; /* its last event was the end of a record */
	uint32_t first;	      /* the thread that had the earliest event, */
	uint64_t others;      /* and what its next one must come before to be that again */
	bool eof;
	uint64_t kept, kept_max;
	char err[256];
};

#define ERRNO_MAX 4095
#define NS_MAX (1ull << 62) /* a century and a half */
#define NEVER UINT64_MAX
enum { KEY_PROMISE, KEY_BEGIN, KEY_END };
#define HOMES (1u << 24) /* cells that a value can name */
#ifdef PF_FUZZ /* what lies behind the sums is to be reached */
#define SUMS false
#else
#define SUMS true
#endif

__attribute__((format(printf, 2, 3))) static int bad(struct race_reader *r, const char *fmt, ...)
{
	int at = snprintf(r->err, sizeof(r->err), "record %llu, byte %llu: ",
			  (unsigned long long)r->record, (unsigned long long)r->byte);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->err + at, sizeof(r->err) - (size_t)at, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Take @bytes from the stream. 1; 0 at its end, before the first of them; -errno. */
static int take(struct race_reader *r, void *to, size_t bytes)
{
	size_t at;

	if (r->in) {
		at = bytes < r->in_end - r->in_at ? bytes : r->in_end - r->in_at;
		memcpy(to, r->in + r->in_at, at);
		r->in_at += at;
	} else {
		at = bytes < r->ahead_bytes ? bytes : r->ahead_bytes;
		memcpy(to, r->ahead, at);
		r->ahead_bytes -= at;
		memmove(r->ahead, r->ahead + at, r->ahead_bytes);
	}
	while (at < bytes) {
		/* With what comes next: a chunk's head behind the one before it. */
		struct iovec iov[] = { { (uint8_t *)to + at, bytes - at },
				       { r->ahead, sizeof(r->ahead) } };
		ssize_t got = r->in ? 0 : readv(r->fd, iov, 2);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return bad(r, "%s", strerror(errno));
		if (!got)
			return at ? bad(r, "cut off") : 0;
		at += (size_t)got;
	}
	r->ahead_bytes += at - bytes;
	return 1;
}

static int read_header(struct race_reader *r)
{
	struct pf_race_header *h = &r->h;
	int rc = take(r, h, sizeof(*h));

	if (rc <= 0)
		return rc ? rc : bad(r, "empty: not a race");
	if (memcmp(h->magic, PF_RACE_MAGIC, sizeof(h->magic)) != 0)
		return bad(r, "not a race's history of version 1");
	if (SUMS && h->sum != XXH64(h, offsetof(struct pf_race_header, sum), 0))
		return bad(r, "the header is damaged");
	if (h->header_bytes != sizeof(*h) || !h->nr_threads ||
	    h->nr_threads > PF_RACE_THREADS_MAX || !h->nr_files ||
	    h->nr_files > PF_RACE_FILES_MAX || h->class > 3 ||
	    !memchr(h->channel, '\0', sizeof(h->channel)))
		return bad(r, "a header that no race writes");
	for (uint32_t i = 0; i < h->nr_files; i++)
		if (!h->files[i].id || h->files[i].id > 255 || h->files[i].op == UINT32_MAX ||
		    h->files[i].cells > PF_RACE_CELLS_MAX)
			return bad(r, "a file that no race has");
	r->byte = sizeof(*h);
	return 1;
}

struct race_reader *race_open(int fd)
{
	struct race_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->fd = fd;
	read_header(r);
	return r;
}

struct race_reader *race_open_bytes(const void *data, size_t bytes)
{
	struct race_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->fd = -1;
	r->in = data;
	r->in_end = bytes;
	read_header(r);
	return r;
}

static void free_chunks(struct chunk *c)
{
	while (c) {
		struct chunk *next = c->next;

		free(c);
		c = next;
	}
}

void race_close(struct race_reader *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < PF_RACE_THREADS_MAX; i++)
		free_chunks(r->t[i].first);
	free_chunks(r->spare);
	free(r);
}

const struct pf_race_header *race_header(const struct race_reader *r)
{
	return &r->h;
}

const char *race_error(const struct race_reader *r)
{
	return r->err;
}

uint64_t race_read_bytes(const struct race_reader *r)
{
	return r->byte;
}

uint64_t race_kept_max(const struct race_reader *r)
{
	return r->kept_max;
}

/* What the runs of a look may be. */
static int check_runs(struct race_reader *r, const struct pf_race_rec *rec,
		      const struct pf_race_run *run)
{
	uint64_t cells = 0;

	for (uint32_t i = 0; i < rec->nr_runs; i++, run++) {
		if (run->kind >= PF_RUN_KINDS_NR || !run->count ||
		    run->count > PF_RACE_CELLS_MAX)
			return bad(r, "a run of no kind, or of no cells");
		if (run->kind == PF_RUN_CELLS &&
		    (!pf_value_op(run->value) || pf_value_op(run->value) == UINT32_MAX))
			return bad(r, "a cell that nobody wrote");
		if (run->kind == PF_RUN_CELLS && pf_value_cell(run->value) + run->count > HOMES)
			return bad(r, "a cell from behind the end of every file");
		cells += run->count;
	}
	if (rec->first_cell + cells > PF_RACE_CELLS_MAX)
		return bad(r, "cells that no file has");
	return 0;
}

static int check_record(struct race_reader *r, struct thread *t, const struct pf_race_rec *rec)
{
	bool look = rec->verb == PF_RACE_LOOK;

	if (rec->verb >= PF_RACE_VERBS_NR || rec->file >= r->h.nr_files ||
	    rec->file2 >= r->h.nr_files || !rec->op || rec->op == UINT32_MAX)
		return bad(r, "no operation of this race");
	if (rec->verb == PF_RACE_FAULT && rec->what > 10)
		return bad(r, "no fault that is known");
	if (rec->verb == PF_RACE_FAULT && rec->what == PF_PRIM_COPY && rec->file == rec->file2)
		return bad(r, "a copy onto itself");
	if ((uint64_t)rec->first_cell + rec->nr_cells > PF_RACE_CELLS_MAX)
		return bad(r, "cells that no file has");
	if (rec->inv_ns < t->checked_ns || rec->inv_ns < t->promise_ns)
		return bad(r, "it begins before the one before it, or than was promised");
	if (rec->inv_ns >= NS_MAX || (rec->ret_ns >= NS_MAX && rec->ret_ns != PF_RACE_UNRETURNED))
		return bad(r, "a time of no clock");
	if (rec->ret_ns < rec->inv_ns)
		return bad(r, "it ends before it begins");
	if (rec->result > (int64_t)rec->nr_cells && !look && rec->verb != PF_RACE_FAULT)
		return bad(r, "it did more than it was asked to");
	if (rec->result < -ERRNO_MAX)
		return bad(r, "an error that no kernel returns");
	if ((rec->nr_runs != 0) & !look)
		return bad(r, "it sees, and does not look");
	t->checked_ns = rec->ret_ns == PF_RACE_UNRETURNED ? rec->inv_ns : rec->ret_ns;
	return check_runs(r, rec, (const struct pf_race_run *)(rec + 1));
}

static int check_chunk(struct race_reader *r, const struct pf_race_chunk *head, struct chunk *c)
{
	struct thread *t = &r->t[head->thread];
	uint32_t nr = 0;

	for (uint32_t at = 0; at < c->bytes; nr++) {
		const struct pf_race_rec *rec = (const struct pf_race_rec *)(c->data + at);
		uint64_t bytes = REC_BYTES;
		int rc;

		if (c->bytes - at < REC_BYTES)
			return bad(r, "half a record");
		bytes += (uint64_t)rec->nr_runs * RUN_BYTES;
		if (bytes > c->bytes - at)
			return bad(r, "a record with half its runs");
		rc = check_record(r, t, rec);
		if (rc)
			return rc;
		at += (uint32_t)bytes;
		r->byte += bytes;
		r->record++;
	}
	if (nr != head->nr_records)
		return bad(r, "%u records where %u are announced", nr, head->nr_records);
	if (head->next_inv_ns < t->checked_ns || head->next_inv_ns < t->promise_ns)
		return bad(r, "a promise that is broken already");
	if (head->next_inv_ns >= NS_MAX && head->next_inv_ns != UINT64_MAX)
		return bad(r, "a promise of no clock");
	t->promise_ns = head->next_inv_ns;
	return 0;
}

static const struct pf_race_rec *next_record(const struct thread *t)
{
	return t->first && t->first->used < t->first->bytes ?
		       (const struct pf_race_rec *)(t->first->data + t->first->used) :
		       NULL;
}

/* What never returned has no end to hand on. */
static void look_ahead(struct race_reader *r, struct thread *t)
{
	const struct pf_race_rec *rec = t->pending ? t->pending : next_record(t);
	uint64_t ns = t->pending ? rec->ret_ns : rec ? rec->inv_ns : t->promise_ns;

	t->has = rec;
	r->key[t - r->t] = ns == UINT64_MAX ? NEVER :
			   4 * ns + (t->pending ? KEY_END : rec ? KEY_BEGIN : KEY_PROMISE);
}

static struct chunk *chunk_new(struct race_reader *r, uint32_t bytes)
{
	struct chunk *c = r->spare;
	uint32_t room = (bytes + ROOM_STEP - 1) / ROOM_STEP * ROOM_STEP;

	if (c) {
		r->spare = c->next;
		r->spare_bytes -= c->room;
	}
	if (!c || c->room < bytes) {
		free(c);
		c = malloc(sizeof(*c) + room);
		if (!c)
			return NULL;
		c->room = room;
	}
	c->next = NULL;
	c->bytes = bytes;
	c->used = 0;
	return c;
}

static void chunk_free(struct race_reader *r, struct chunk *c)
{
	if (r->spare_bytes + c->room > SPARE_MAX) {
		free(c);
		return;
	}
	c->next = r->spare;
	r->spare = c;
	r->spare_bytes += c->room;
}

/* One more chunk. 1, 0 at the end, -EINVAL. */
static int read_chunk(struct race_reader *r)
{
	struct pf_race_chunk head;
	struct chunk *c;
	struct thread *t;
	uint64_t seed;
	int rc = take(r, &head, sizeof(head));

	if (rc <= 0)
		return rc;
	if (head.magic != PF_RACE_CHUNK_MAGIC || head.thread >= r->h.nr_threads ||
	    head.bytes > PF_RACE_CHUNK_BYTES_MAX || head.bytes % 8)
		return bad(r, "not the beginning of a chunk");
	t = &r->t[head.thread];
	c = chunk_new(r, head.bytes);
	if (!c)
		return bad(r, "out of memory");
	rc = head.bytes ? take(r, c->data, head.bytes) : 1;
	seed = XXH64(&head, offsetof(struct pf_race_chunk, sum), 0);
	if (SUMS && rc > 0 && head.sum != XXH64(c->data, head.bytes, seed))
		rc = bad(r, "a damaged chunk of thread %u", head.thread);
	else if (!rc)
		rc = bad(r, "cut off");
	r->byte += sizeof(head);
	if (rc > 0)
		rc = check_chunk(r, &head, c) ? -EINVAL : 1;
	if (rc < 0 || !c->bytes) {
		chunk_free(r, c);
		if (rc > 0 && !t->has)
			look_ahead(r, t);
		return rc;
	}
	if (t->last)
		t->last->next = c;
	else
		t->first = c;
	t->last = c;
	if (!t->has)
		look_ahead(r, t);
	r->kept += c->bytes;
	r->kept_max = r->kept > r->kept_max ? r->kept : r->kept_max;
	return 1;
}

/* Leave a chunk that was used up; its last record must have ended. */
static void leave_chunk(struct race_reader *r, struct thread *t)
{
	struct chunk *c = t->first;

	if (!c || c->used < c->bytes || t->pending)
		return;
	t->first = c->next;
	if (!t->first)
		t->last = NULL;
	r->kept -= c->bytes;
	chunk_free(r, c);
}

/*
 * The thread with the earliest event, and when those of the others are. One that has none yet might
 * have it when what it promised comes first, and a beginning at the same time would have to come
 * before an end. Threads take turns seldom: mostly it is the same again.
 */
static uint32_t earliest(struct race_reader *r)
{
	uint64_t first = r->key[0], others = NEVER;
	uint32_t at = 0;

	if (r->key[r->first] < r->others)
		return r->first;
	for (uint32_t i = 1; i < r->h.nr_threads; i++) {
		bool less = r->key[i] < first;
		uint64_t more = less ? first : r->key[i];

		at = less ? i : at;
		first = less ? r->key[i] : first;
		others = more < others ? more : others;
	}
	r->first = at;
	r->others = others;
	return at;
}

/* Its next record begins. */
static void hand_on_begin(struct race_reader *r, struct thread *t, struct race_event *ev)
{
	const struct pf_race_rec *rec = next_record(t);

	ev->rec = rec;
	ev->runs = (const struct pf_race_run *)(rec + 1);
	ev->begins = true;
	ev->ends = rec->ret_ns != PF_RACE_UNRETURNED && 4 * rec->ret_ns + KEY_END < r->others;
	t->first->used += (uint32_t)(REC_BYTES + rec->nr_runs * RUN_BYTES);
	if (ev->ends) {
		r->ended = t;
	} else {
		t->pending = rec;
		look_ahead(r, t);
	}
}

static void hand_on_end(struct race_reader *r, struct thread *t, struct race_event *ev)
{
	ev->rec = t->pending;
	ev->runs = (const struct pf_race_run *)(t->pending + 1);
	ev->begins = false;
	ev->ends = true;
	t->pending = NULL;
	r->ended = t;
}

/* Mostly the thread goes on, and its next record ends before any other has an event: no key is
 * needed to know that. */
static bool hand_on_next(struct race_reader *r, struct race_event *ev)
{
	struct chunk *c = r->ended ? r->ended->first : NULL;
	const struct pf_race_rec *rec;

	if (!c || c->used == c->bytes)
		return false;
	rec = (const struct pf_race_rec *)(c->data + c->used);
	if (rec->ret_ns == PF_RACE_UNRETURNED || 4 * rec->ret_ns + KEY_END >= r->others)
		return false;
	ev->rec = rec;
	ev->runs = (const struct pf_race_run *)(rec + 1);
	ev->begins = ev->ends = true;
	ev->thread = r->first;
	c->used += (uint32_t)(REC_BYTES + rec->nr_runs * RUN_BYTES);
	return true;
}

static __attribute__((noinline)) int next_event(struct race_reader *r, struct race_event *ev)
{
	if (*r->err)
		return -EINVAL;
	if (r->ended) { /* whose record was handed on may be gone now */
		leave_chunk(r, r->ended);
		look_ahead(r, r->ended);
		r->ended = NULL;
	}
	for (;;) {
		uint32_t at = earliest(r);
		uint64_t key = r->key[at];
		bool wait = key != NEVER && key % 4 == KEY_PROMISE;
		int rc;

		if (!wait && key != NEVER) {
			ev->thread = at;
			if (r->t[at].pending)
				hand_on_end(r, &r->t[at], ev);
			else
				hand_on_begin(r, &r->t[at], ev);
			return 1;
		}
		r->others = 0; /* a chunk changes when they are */
		if (r->eof)
			return wait ? bad(r, "cut off: a thread promised more") : 0;
		rc = read_chunk(r);
		if (rc < 0)
			return rc;
		r->eof = !rc;
	}
}

int race_next(struct race_reader *r, struct race_event *ev)
{
	return hand_on_next(r, ev) ? 1 : next_event(r, ev);
}
