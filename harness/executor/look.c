// SPDX-License-Identifier: GPL-2.0
/*
 * look.c - what a file looks like through one view, cell by cell, into the history.
 *
 * Looking is part of a sequence: an O_DIRECT read flushes, a buffered read fills the cache. Nothing
 * here decides whether what was seen is right.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../core/cell.h"
#include "../core/token.h"
#include "exec.h"

int look_init(struct look *l, struct pf_history *h, uint32_t run, uint32_t case_nr)
{
	memset(l, 0, sizeof(*l));
	l->h = h;
	l->run = run;
	l->case_nr = case_nr;
	if (posix_memalign((void **)&l->buf, VIEW_BLOCK_BYTES, VIEW_BUFFER_BYTES))
		return -ENOMEM;
	return 0;
}

void look_exit(struct look *l)
{
	free(l->buf);
}

#define VALUE_BYTES 400

enum value_kind { VALUE_ZERO, VALUE_HOME, VALUE_AWAY, VALUE_TEXT };

/*
 * A cell as it was seen. Cells that are not at home (a collapse moved them, or they are somebody
 * else's) differ from one to the next by their home offset only: then a run goes on.
 */
struct value {
	enum value_kind kind;
	struct pf_cell_id id;	/* VALUE_HOME, VALUE_AWAY */
	char text[VALUE_BYTES]; /* VALUE_TEXT: torn, or an error */
};

/* A "see" line under construction: "VALUE*COUNT VALUE*COUNT ...". */
struct runs {
	struct look *look;
	const struct pf_file *file;
	const char *view;
	uint32_t op;
	uint64_t size_bytes;
	uint64_t first;	    /* offset of the first cell in text */
	uint64_t cells;	    /* in text */
	struct value value; /* the run not yet in text */
	uint64_t count;
	size_t used;
	char text[PF_HISTORY_LINE_BYTES - 256];
};

static void runs_emit(struct runs *r)
{
	pf_history_line(r->look->h, "see %u %s %s %llu %llu %llu%.*s", r->op, r->file->name,
			r->view, (unsigned long long)r->size_bytes, (unsigned long long)r->first,
			(unsigned long long)(r->cells * PF_CELL_BYTES), (int)r->used, r->text);
	r->first += r->cells * PF_CELL_BYTES;
	r->cells = 0;
	r->used = 0;
}

static int value_print(const struct runs *r, char *out, size_t bytes)
{
	const struct pf_cell_id *id = &r->value.id;
	const struct look *l = r->look;

	switch (r->value.kind) {
	case VALUE_ZERO:
		return snprintf(out, bytes, " 0");
	case VALUE_HOME:
		return snprintf(out, bytes, " w%u", id->op);
	case VALUE_AWAY:
		if (id->run == l->run && id->case_nr == l->case_nr)
			return snprintf(out, bytes, " m%u:%u:%llu", id->op, id->file,
					(unsigned long long)id->off_bytes);
		return snprintf(out, bytes, " f%u:%u:%u:%llu:%u", id->run, id->case_nr, id->file,
				(unsigned long long)id->off_bytes, id->op);
	case VALUE_TEXT:
		break;
	}
	return snprintf(out, bytes, " %s", r->value.text);
}

static void runs_close_run(struct runs *r)
{
	if (!r->count)
		return;
	if (r->used + VALUE_BYTES + 24 > sizeof(r->text))
		runs_emit(r);
	r->used += (size_t)value_print(r, r->text + r->used, sizeof(r->text) - r->used);
	r->used += (size_t)snprintf(r->text + r->used, sizeof(r->text) - r->used, "*%llu",
				    (unsigned long long)r->count);
	r->cells += r->count;
	r->count = 0;
}

static bool continues(const struct runs *r, const struct value *v)
{
	struct pf_cell_id next = r->value.id;

	if (r->value.kind != v->kind)
		return false;
	switch (v->kind) {
	case VALUE_ZERO:
		return true;
	case VALUE_HOME:
		return next.op == v->id.op;
	case VALUE_AWAY:
		next.off_bytes += r->count * PF_CELL_BYTES;
		return pf_cell_same_id(&next, &v->id);
	case VALUE_TEXT:
		break;
	}
	return !strcmp(r->value.text, v->text);
}

/* Add @nr cells: all of value @v, or the first is, and the others follow it as its run would. */
static void runs_add(struct runs *r, const struct value *v, uint64_t nr)
{
	if (r->count && !continues(r, v))
		runs_close_run(r);
	if (!r->count) {
		r->value.kind = v->kind;
		r->value.id = v->id;
		if (v->kind == VALUE_TEXT)
			strcpy(r->value.text, v->text);
	}
	r->count += nr;
}

/* Whose byte is @c at @i: an operation's number, 0 for zero, -1 for nobody's. */
static long byte_owner(const uint8_t *cell, uint32_t i, const uint8_t *candidates, uint32_t nr)
{
	if (!cell[i])
		return 0;
	for (uint32_t op = 0; op < nr; op++)
		if (candidates[op * PF_CELL_BYTES + i] == cell[i])
			return op + 1;
	return -1;
}

#define CANDIDATES_MAX 64u

/* "0-31:w3,32-63:0": a greedy attribution, each stretch as long as one writer explains it. */
static void attribute(const struct look *l, const uint8_t *cell, uint32_t file, uint64_t off,
		      char *out, size_t bytes)
{
	static __thread uint8_t candidates[CANDIDATES_MAX * PF_CELL_BYTES];
	uint32_t nr = l->last_op < CANDIDATES_MAX ? l->last_op : CANDIDATES_MAX;
	struct pf_cell_id id = { l->run, l->case_nr, file, 0, off };
	size_t used = 0;

	for (uint32_t op = 0; op < nr; op++) {
		id.op = op + 1;
		pf_cell_stamp(candidates + op * PF_CELL_BYTES, &id);
	}
	for (uint32_t i = 0; i < PF_CELL_BYTES && used + 48 < bytes;) {
		uint32_t from = i;
		long owner = byte_owner(cell, i, candidates, nr);

		for (i++; i < PF_CELL_BYTES; i++) {
			if (owner < 0 && byte_owner(cell, i, candidates, nr) >= 0)
				break;
			if (owner == 0 && cell[i])
				break;
			if (owner > 0 &&
			    candidates[(size_t)(owner - 1) * PF_CELL_BYTES + i] != cell[i])
				break;
		}
		used += (size_t)snprintf(out + used, bytes - used, "%s%u-%u:", used ? "," : "",
					 from, i - 1);
		if (owner > 0)
			used += (size_t)snprintf(out + used, bytes - used, "w%ld", owner);
		else
			used += (size_t)snprintf(out + used, bytes - used, owner ? "?%02x" : "0",
						 cell[from]);
	}
}

/* The torn cell at @cell of @file at @off. */
static void torn_value(const struct look *l, const uint8_t *cell, uint32_t file, uint64_t off,
		       struct value *v)
{
	char detail[256];

	v->kind = VALUE_TEXT;
	attribute(l, cell, file, off, detail, sizeof(detail));
	v->text[0] = 't';
	pf_token_encode(v->text + 1, sizeof(v->text) - 1, detail);
}

/* The @nr cells at @cells, which are those of @file from @off on. */
static void see_cells(struct runs *r, const uint8_t *cells, uint64_t nr, uint32_t file,
		      uint64_t off)
{
	const struct look *l = r->look;
	enum pf_cell_kind kind;
	struct value value;

	while (nr) {
		size_t n = pf_cell_run(cells, nr, &kind, &value.id);
		const struct pf_cell_id *id = &value.id;

		if (kind == PF_CELL_TORN) {
			torn_value(l, cells, file, off, &value);
			n = 1;
		} else if (kind == PF_CELL_ZERO) {
			value.kind = VALUE_ZERO;
		} else {
			value.kind = id->run == l->run && id->case_nr == l->case_nr &&
						     id->file == file && id->off_bytes == off ?
					     VALUE_HOME :
					     VALUE_AWAY;
		}
		runs_add(r, &value, n);
		cells += n * PF_CELL_BYTES;
		off += n * PF_CELL_BYTES;
		nr -= n;
	}
}

/*
 * Of [off, end): what is in the look's buffer, @got bytes from @from on; and if it was asked for
 * @want and got less, a page that could not be read, as cells of value eERRNO. Returns where that
 * ends.
 */
static uint64_t see_part(struct runs *r, const struct pf_file *f, uint64_t off, uint64_t end,
			 uint64_t from, size_t want, size_t got, int err)
{
	uint64_t seen_end = from + got / PF_CELL_BYTES * PF_CELL_BYTES, page_end;
	struct value value;

	if (seen_end > end)
		seen_end = end;
	if (off < seen_end) {
		see_cells(r, r->look->buf + (off - from), (seen_end - off) / PF_CELL_BYTES, f->id,
			  off);
		off = seen_end;
	}
	if (off >= end || got >= want)
		return off;
	value.kind = VALUE_TEXT;
	snprintf(value.text, sizeof(value.text), "e%s", err ? pf_errno_name(err) : "EOF");
	page_end = (off / VIEW_BLOCK_BYTES + 1) * VIEW_BLOCK_BYTES;
	for (; off < page_end && off < end; off += PF_CELL_BYTES)
		runs_add(r, &value, 1);
	return off;
}

/*
 * A page fault for reading makes a page of a hole on tmpfs, and gets SIGBUS where there is no room
 * for it: that says nothing of the data (mm/shmem.c, shmem_get_folio_gfp()).
 */
static bool no_room_to_look(const struct pf_file *f, enum pf_view view, int err)
{
	struct statfs sfs;

	return err == EFAULT && (view == PF_VIEW_MMAP || view == PF_VIEW_GUP) &&
	       !fstatfs(f->fd, &sfs) && sfs.f_type == TMPFS_MAGIC && !sfs.f_bavail;
}

/* All of [off, end) cell by cell. */
static void see_range(struct runs *r, struct pf_file *f, int fd, enum pf_view view, uint64_t off,
		      uint64_t end)
{
	while (off < end) {
		/* Direct reads begin at a block: take the page and skip what was not asked for. */
		uint64_t from = view == PF_VIEW_DIRECT ? off / VIEW_BLOCK_BYTES * VIEW_BLOCK_BYTES
						       : off;
		size_t want = end - from < VIEW_BUFFER_BYTES ? (size_t)(end - from)
							     : VIEW_BUFFER_BYTES;
		int err;
		size_t got = view_read(f, fd, view, r->look->buf, from, want, &err);

		if (got < want && no_room_to_look(f, view, err)) {
			off = see_part(r, f, off, end, from, got, got, 0);
			runs_close_run(r);
			runs_emit(r);
			off = (off / VIEW_BLOCK_BYTES + 1) * VIEW_BLOCK_BYTES;
			r->first = off;
			continue;
		}
		off = see_part(r, f, off, end, from, want, got, err);
	}
	runs_close_run(r);
	runs_emit(r);
}

static struct runs *runs_begin(struct look *l, const struct pf_file *f, const char *view_name,
			       uint32_t op, uint64_t size_bytes, uint64_t off_bytes)
{
	static __thread struct runs r;

	l->last_op = l->h->last_op;
	r.look = l;
	r.file = f;
	r.view = view_name;
	r.op = op;
	r.size_bytes = size_bytes;
	r.first = off_bytes;
	r.cells = r.count = r.used = 0;
	return &r;
}

static uint32_t look_inv(struct look *l, const struct pf_file *f, uint64_t off_bytes,
			 uint64_t len_bytes, const char *view_name)
{
	return pf_history_inv(l->h, "look %s %llu %llu %s", f->name,
			      (unsigned long long)off_bytes, (unsigned long long)len_bytes,
			      view_name);
}

int look_at(struct look *l, struct pf_file *f, enum pf_view view, const char *view_name,
	    uint64_t off_bytes, uint64_t len_bytes)
{
	uint32_t op = look_inv(l, f, off_bytes, len_bytes, view_name);
	struct stat st;
	uint64_t end;
	int fd, rc;

	rc = view_open(f, view, &fd);
	if (!rc && fstat(f->fd, &st))
		rc = -errno;
	if (rc) {
		pf_history_ret(l->h, op, rc, NULL);
		return rc;
	}
	end = (uint64_t)st.st_size / PF_CELL_BYTES * PF_CELL_BYTES;
	if (len_bytes && off_bytes + len_bytes < end)
		end = off_bytes + len_bytes;
	if ((view == PF_VIEW_MMAP || view == PF_VIEW_GUP) && end > f->map_bytes)
		end = f->map_bytes;
	see_range(runs_begin(l, f, view_name, op, (uint64_t)st.st_size, off_bytes), f, fd, view,
		  off_bytes, end);
	pf_history_ret(l->h, op, 0, NULL);
	if (view == PF_VIEW_DIRECT)
		close(fd);
	return 0;
}

uint32_t look_begin(struct look *l, const struct pf_io *io, enum pf_view view)
{
	return look_inv(l, io->file, io->off_bytes, io->len_bytes, pf_view_name(view));
}

/*
 * The @got bytes that a held read of a file brought, which is @r->size_bytes long now. What stands
 * behind the end in its page is nobody's (mmap(2)). Pages behind that one are the file's no more,
 * and may not be had; but one that was, as it was pinned in time, is looked at.
 */
static void see_held(struct runs *r, const struct pf_io *io, size_t got)
{
	uint64_t size = r->size_bytes, tail = size / PF_CELL_BYTES * PF_CELL_BYTES;
	uint64_t from = io->off_bytes, end = from + io->len_bytes, got_end = from + got;
	uint64_t behind = (size + VIEW_BLOCK_BYTES - 1) / VIEW_BLOCK_BYTES * VIEW_BLOCK_BYTES;

	see_part(r, io->file, from, end < tail ? end : tail, from, io->len_bytes, got, EFAULT);
	runs_close_run(r);
	runs_emit(r);
	if (behind < from)
		behind = from;
	if (got_end <= behind)
		return;
	r->first = behind;
	see_part(r, io->file, behind, got_end, from, got, got, 0);
	runs_close_run(r);
	runs_emit(r);
}

void look_end(struct look *l, const struct pf_io *io, enum pf_view view, uint32_t op, long n)
{
	struct stat st;

	if (n >= 0 && fstat(io->file->fd, &st))
		n = -errno;
	if (n >= 0)
		see_held(runs_begin(l, io->file, pf_view_name(view), op, (uint64_t)st.st_size,
				    io->off_bytes),
			 io, (size_t)n);
	pf_history_ret(l->h, op, n < 0 ? n : 0, io->detail);
}
