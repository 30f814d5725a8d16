// SPDX-License-Identifier: GPL-2.0
/* race_judge.c - drives the model, names what it finds and shows what led to it; see
 * race_judge.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../core/fault.h"
#include "../core/seq.h"
#include "../core/token.h"
#include "race_int.h"
#include "race_judge.h"

#ifdef PF_FUZZ
#define RING 64u
#define TOLD_MAX 3
#else
#define RING (1u << 16) /* operations that ended last: what evidence is taken from */
#define TOLD_MAX 12	/* violations that are shown, and the first of each kind */
#endif
#define LINES_MAX 6	 /* operations shown with each */
#define KINDS_MAX 12
#define EVIDENCE_MAX ((TOLD_MAX + KINDS_MAX) * (LINES_MAX + 1))

typedef unsigned long long ull;

struct race {
	struct race_reader *r;
	struct race_model m;
	struct pf_race_rec *ring;
	uint64_t ended, writes, looks;
	uint64_t t0_ns;
	/* When the last shift or clone into it ended; 0: there was none. */
	uint64_t moved_ns[PF_RACE_FILES_MAX];
	const char *kinds[KINDS_MAX];
	int nr_kinds;
	char lines[EVIDENCE_MAX][300];
	int nr_lines, told;
};

static const char *const views[] = { "mmap", "buffered", "direct" };
static const char *const verbs[] = { "write", "store", "pwrite", "look", "fault" };
static const char *const prims[] = { "none", "zero", "resize", "collapse", "insert", "copy",
				     "sync", "syncfs", "unlink", "rename", "crash" };

static const char *view_of(const struct pf_race_rec *r)
{
	return r->what < 3 ? views[r->what] : "other";
}

static uint8_t target(const struct pf_race_rec *r)
{
	return r->verb == PF_RACE_FAULT && r->what == PF_PRIM_COPY ? r->file2 : r->file;
}

static bool touches(const struct pf_race_rec *r, uint32_t file, uint32_t cell)
{
	if (target(r) != file)
		return false;
	if (r->verb == PF_RACE_LOOK)
		return false;
	if (r->verb != PF_RACE_FAULT || r->what == PF_PRIM_ZERO)
		return cell >= r->first_cell && cell < r->first_cell + r->nr_cells;
	return r->what >= PF_PRIM_RESIZE && r->what <= PF_PRIM_COPY && cell >= r->first_cell;
}

/* The last operation that changed the cell and ended before @r began. */
static const struct pf_race_rec *last_change(const struct race *j, const struct race_violation *v)
{
	uint64_t nr = j->ended < RING ? j->ended : RING;

	for (uint64_t i = 1; i <= nr; i++) {
		const struct pf_race_rec *r = &j->ring[(j->ended - i) % RING];

		if (r->ret_ns < v->rec->inv_ns && r->result >= 0 && touches(r, v->file, v->cell))
			return r;
	}
	return NULL;
}

static bool writes_page(const struct pf_race_rec *r, const struct race_violation *v)
{
	uint32_t page = v->cell / RACE_PAGE_CELLS * RACE_PAGE_CELLS;

	return r->verb <= PF_RACE_PWRITE && r->file == v->file &&
	       r->first_cell < page + RACE_PAGE_CELLS && r->first_cell + r->nr_cells > page;
}

/* Of the last change and of what else writes to its page one is write(2), and one is not. */
static bool by_other_ways(const struct pf_race_rec *last, const struct pf_race_rec *r)
{
	return (last->verb == PF_RACE_PWRITE) != (r->verb == PF_RACE_PWRITE);
}

/*
 * Zeros through a mapping where data had been put, while somebody who came before that data may
 * not be through with taking the zero page down that was mapped there. After write(2): a write
 * fault that has allocated the block, and has not yet replaced the page. After a write through
 * another mapping: write(2) that has allocated the block and dropped its entry, and has not yet
 * unmapped it.
 */
static bool zero_page_lingers(const struct race *j, const struct race_violation *v,
			      const struct pf_race_rec *last)
{
	uint64_t nr = j->ended < RING ? j->ended : RING;

	if (!(race_header(j->r)->files[v->file].flags & PF_RACE_FILE_DAX))
		return false; /* the page cache maps no zero page */
	if (v->saw || v->rec->what != PF_VIEW_MMAP || !last || last->verb > PF_RACE_PWRITE)
		return false;
	for (uint32_t i = 0; i < j->m.nr_threads; i++) {
		const struct pf_race_rec *r = j->m.p[i].rec;

		if (r && writes_page(r, v) && by_other_ways(last, r) && r->inv_ns < last->ret_ns)
			return true;
	}
	for (uint64_t i = 1; i <= nr; i++) {
		const struct pf_race_rec *r = &j->ring[(j->ended - i) % RING];

		if (writes_page(r, v) && by_other_ways(last, r) && r->inv_ns < last->ret_ns &&
		    r->ret_ns > v->rec->inv_ns)
			return true;
	}
	return false;
}

static bool is_move(const struct pf_race_rec *r)
{
	return r->verb == PF_RACE_FAULT && r->what >= PF_PRIM_COLLAPSE && r->what <= PF_PRIM_COPY;
}

static const struct pf_race_rec *writer(const struct race *j, uint32_t op)
{
	uint64_t nr = j->ended < RING ? j->ended : RING;

	for (uint32_t i = 0; i < j->m.nr_threads; i++)
		if (j->m.p[i].rec && j->m.p[i].rec->op == op)
			return j->m.p[i].rec;
	for (uint64_t i = 1; i <= nr; i++)
		if (j->ring[(j->ended - i) % RING].op == op)
			return &j->ring[(j->ended - i) % RING];
	return NULL;
}

/* May a shift or clone have brought @saw to the file, or to its place there? */
static bool may_have_moved(const struct race *j, uint32_t file, pf_value saw)
{
	const struct pf_race_rec *w;

	for (uint32_t i = 0; i < j->m.nr_threads; i++) {
		const struct pf_race_rec *r = j->m.p[i].rec;

		if (r && is_move(r) && target(r) == file)
			return true;
	}
	if (!j->moved_ns[file])
		return false;
	w = writer(j, pf_value_op(saw));
	return !w || w->inv_ns <= j->moved_ns[file];
}

static const char *kind_of_value(const struct race *j, const struct race_violation *v)
{
	const struct race_file *f = &j->m.f[v->file];
	const struct pf_race_rec *last = last_change(j, v);
	bool moved = v->saw && may_have_moved(j, v->file, v->saw);

	if (v->want && zero_page_lingers(j, v, last))
		return "late-zero";
	if (v->saw && !moved && pf_value_file(v->saw) != f->id)
		return "foreign";
	if (v->saw && !moved && pf_value_cell(v->saw) != v->cell)
		return "misplaced";
	if (!v->want && last && last->verb == PF_RACE_FAULT && last->what == PF_PRIM_RESIZE)
		return "past-eof";
	if (v->seen_view && v->seen_view != v->rec->what + 1)
		return "view-split";
	return v->seen_view || !v->want ? "stale" : "lost-write";
}

static const char *kind_of(const struct race *j, const struct race_violation *v)
{
	switch (v->bad) {
	case RACE_BAD_SIZE:
		return "wrong-size";
	case RACE_BAD_CLAIM:
		return "lost-write";
	case RACE_BAD_VALUE:
		return kind_of_value(j, v);
	case RACE_BAD_READ:
		break;
	}
	if (v->run_kind == PF_RUN_FOREIGN)
		return "foreign";
	if (v->run_kind == PF_RUN_TORN)
		return "torn";
	return v->saw == EIO ? "checksum" : "unreadable";
}

__attribute__((format(printf, 2, 3))) static void say(struct race *j, const char *fmt, ...)
{
	va_list ap;

	if (j->nr_lines == EVIDENCE_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(j->lines[j->nr_lines++], sizeof(j->lines[0]), fmt, ap);
	va_end(ap);
}

static void value_text(const struct race *j, pf_value v, uint32_t file, uint32_t cell, char *out,
		       size_t bytes)
{
	if (!v)
		snprintf(out, bytes, "zero");
	else if (v == RACE_ANY)
		snprintf(out, bytes, "anything");
	else if (pf_value_file(v) == j->m.f[file].id && pf_value_cell(v) == cell)
		snprintf(out, bytes, "op %u", pf_value_op(v));
	else
		snprintf(out, bytes, "op %u of file %u at %llu", pf_value_op(v), pf_value_file(v),
			 (ull)pf_value_cell(v) * 64);
}

static void say_operation(struct race *j, const struct pf_race_rec *r)
{
	const char *verb =
		r->verb == PF_RACE_FAULT && r->what < 11 ? prims[r->what] : verbs[r->verb];
	char result[40] = "ok";

	if (r->ret_ns == PF_RACE_UNRETURNED)
		snprintf(result, sizeof(result), "never returned");
	else if (r->result < 0)
		snprintf(result, sizeof(result), "%s", strerrorname_np(-r->result));
	say(j, "  op %u %s of file %u [%llu, +%llu), from %llu for %llu ns: %s", r->op, verb,
	    j->m.f[r->file].id, (ull)r->first_cell * 64, (ull)r->nr_cells * 64,
	    (ull)(r->inv_ns - j->t0_ns), (ull)(r->ret_ns - r->inv_ns), result);
}

/* The operations that touched the cell last, oldest first, and what is under way there. */
static void say_operations(struct race *j, const struct race_violation *v)
{
	uint64_t nr = j->ended < RING ? j->ended : RING, at[LINES_MAX];
	int found = 0;

	for (uint64_t i = 1; i <= nr && found < LINES_MAX - 2; i++)
		if (touches(&j->ring[(j->ended - i) % RING], v->file, v->cell))
			at[found++] = (j->ended - i) % RING;
	while (found > 0)
		say_operation(j, &j->ring[at[--found]]);
	for (uint32_t i = 0; i < j->m.nr_threads && found < 2; i++) {
		const struct pf_race_rec *r = j->m.p[i].rec;

		if (r && r != v->rec && touches(r, v->file, v->cell)) {
			say_operation(j, r);
			found++;
		}
	}
}

/* The first violation of this kind. */
static bool is_new(struct race *j, const char *kind)
{
	for (int i = 0; i < j->nr_kinds; i++)
		if (!strcmp(j->kinds[i], kind))
			return false;
	if (j->nr_kinds < KINDS_MAX)
		j->kinds[j->nr_kinds++] = kind;
	return true;
}

static void told(void *arg, const struct race_violation *v)
{
	struct race *j = arg;
	const char *kind = kind_of(j, v);
	bool first = is_new(j, kind);
	char want[80], saw[80];

	if (j->told++ >= TOLD_MAX && !first)
		return;
	value_text(j, v->want, v->file, v->cell, want, sizeof(want));
	value_text(j, v->saw, v->file, v->cell, saw, sizeof(saw));
	switch (v->bad) {
	case RACE_BAD_SIZE:
		say(j, "%s: look %u %s of file %u: %llu bytes long, must be %llu", kind, v->rec->op,
		    view_of(v->rec), j->m.f[v->file].id, (ull)v->saw * 64, (ull)v->want * 64);
		return;
	case RACE_BAD_CLAIM:
		say(j, "%s: op %u %s: success for %llu bytes at %llu that file %u did not have",
		    kind, v->rec->op, verbs[v->rec->verb], (ull)v->nr * 64, (ull)v->cell * 64,
		    j->m.f[v->file].id);
		break;
	case RACE_BAD_READ:
		if (v->run_kind == PF_RUN_ERROR)
			snprintf(saw, sizeof(saw), "%s", strerrorname_np((int)v->saw));
		else
			snprintf(saw, sizeof(saw), "%s",
				 v->run_kind == PF_RUN_TORN ? "a torn cell" : "another run's cell");
		__attribute__((fallthrough));
	case RACE_BAD_VALUE:
		say(j,
		    "%s: look %u %s of file %u [%llu, +%llu), from %llu for %llu ns: must be %s, "
		    "saw %s",
		    kind, v->rec->op, view_of(v->rec), j->m.f[v->file].id, (ull)v->cell * 64,
		    (ull)v->nr * 64, (ull)(v->rec->inv_ns - j->t0_ns),
		    (ull)(v->rec->ret_ns - v->rec->inv_ns), want, saw);
		break;
	}
	say_operations(j, v);
}

static void note(struct race *j, const struct race_event *ev)
{
	const struct pf_race_rec *r = ev->rec;

	if (!j->t0_ns)
		j->t0_ns = r->inv_ns;
	if (!ev->ends)
		return;
	if (is_move(r) && r->ret_ns > j->moved_ns[target(r)])
		j->moved_ns[target(r)] = r->ret_ns;
	j->writes += r->verb != PF_RACE_LOOK && r->verb != PF_RACE_FAULT && r->result > 0;
	j->looks += r->verb == PF_RACE_LOOK;
	if (r->verb != PF_RACE_LOOK)
		j->ring[j->ended++ % RING] = *r;
}

static void line(FILE *out, const char *key, const char *text)
{
	char token[1200];

	pf_token_encode(token, sizeof(token), text);
	fprintf(out, "%s %s\n", key, token);
}

static void answer(const struct race *j, const char *trouble, bool prefix, FILE *out)
{
	const char *why = NULL, *verdict = "coherent";

	if (j->nr_kinds) {
		verdict = "corrupt";
		why = trouble;
	} else if (trouble) {
		verdict = prefix ? "inconclusive" : "broken";
		why = trouble;
	} else if (!j->m.checked) {
		verdict = "inconclusive";
		why = "no data was looked at";
	} else if (!j->writes) {
		verdict = "inconclusive";
		why = "no write completed";
	} else if (j->m.undecided == j->m.checked) {
		verdict = "inconclusive";
		why = "nothing that was looked at could be decided";
	}
	if (trouble && !prefix)
		verdict = "broken";
	fprintf(out, "resolution %s\nverdict %s\n",
		j->nr_kinds ? "lost" : j->writes ? "landed" : "none", verdict);
	if (why)
		line(out, "why", why);
	for (int i = 0; i < j->nr_kinds; i++)
		line(out, "kind", j->kinds[i]);
	for (int i = 0; i < j->nr_lines; i++)
		line(out, "evidence", j->lines[i]);
	fprintf(out,
		"checked %llu\nundecided %llu\noperations %llu\nviolations %llu\nstream_bytes "
		"%llu\n"
		"kept_bytes %llu\n"
		"end\n",
		(ull)j->m.checked, (ull)j->m.undecided, (ull)j->m.operations,
		(ull)j->m.nr_violations, (ull)(j->r ? race_read_bytes(j->r) : 0),
		(ull)(j->r ? race_kept_max(j->r) : 0));
	fflush(out);
}

/* @reader is closed here; NULL: memory was short. */
static int judge(struct race_reader *reader, bool prefix, FILE *out)
{
	struct race *j = calloc(1, sizeof(*j));
	const char *trouble = NULL;
	struct race_event ev;
	int rc = -1;

	if (j)
		j->ring = calloc(RING, sizeof(*j->ring));
	if (j)
		j->r = reader;
	if (!j || !j->ring || !j->r) {
		fprintf(out, "resolution none\nverdict broken\nwhy out%%20of%%20memory\nchecked "
			     "0\nend\n");
		goto out;
	}
	if (*race_error(j->r)) {
		answer(j, race_error(j->r), false, out);
		goto out;
	}
	if (race_model_init(&j->m, race_header(j->r)))
		j->m.out_of_memory = true;
	j->m.tell = told;
	j->m.arg = j;
	while (!j->m.out_of_memory && (rc = race_next(j->r, &ev)) > 0) {
		race_model_event(&j->m, &ev);
		note(j, &ev);
	}
	if (j->m.out_of_memory)
		trouble = "out of memory";
	else if (rc < 0)
		trouble = race_error(j->r);
	answer(j, trouble, prefix && !j->m.out_of_memory, out);
	rc = trouble ? -1 : 0;
out:
	if (j) {
		race_model_exit(&j->m);
		free(j->ring);
	}
	free(j);
	race_close(reader);
	return rc ? 2 : 0;
}

int race_judge(int fd, bool prefix, FILE *out)
{
	return judge(race_open(fd), prefix, out);
}

int race_judge_bytes(const void *data, size_t bytes, bool prefix, FILE *out)
{
	return judge(race_open_bytes(data, bytes), prefix, out);
}
