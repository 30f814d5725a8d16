// SPDX-License-Identifier: GPL-2.0
/* race_change.c - a write or a zeroing acts, or ends; see race_model.h. */
#include "race_int.h"

void race_contend_with(struct race_model *m, const struct race_pend *p, uint32_t others,
		       uint32_t from, uint32_t to)
{
	struct race_file *f = &m->f[p->rec->file];

	for (; others; others &= others - 1) {
		const struct race_pend *q = race_first(m, others);
		uint32_t lo, hi;

		if (!race_overlap(p, q, &lo, &hi))
			continue;
		lo = lo > from ? lo : from;
		hi = race_least(hi, to);
		/* Behind the limit there is nothing to zero. */
		if (!p->writes && !q->writes && hi > f->limit)
			hi = f->limit;
		race_contend(m, f, lo, hi);
	}
}

uint32_t race_settle_all(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi,
			 bool must)
{
	const struct race_file *f = &m->f[p->rec->file];
	bool ok;

	while (lo < hi) {
		pf_value is = race_at(f, lo);

		if (!race_contended(is))
			break;
		lo = race_settle(m, p, is, lo, hi, must, &ok);
	}
	return lo;
}

/* A write or a zeroing ends at cells that are moved, not claimed, or near the end of the file: in
 * one way at all of them. */
static void end_odd(struct race_model *m, struct race_pend *p, uint32_t lo, uint32_t hi, bool claim,
		    struct race_violation *bad)
{
	uint32_t file = p->rec->file;
	struct race_file *f = &m->f[file];
	bool inside = !p->writes || p->rec->verb == PF_RACE_PWRITE || lo < p->size_lo;
	bool beyond = p->writes && p->rec->verb != PF_RACE_PWRITE && lo >= p->size_hi;

	if (beyond && claim && lo / RACE_PAGE_CELLS * RACE_PAGE_CELLS >= p->size_hi) {
		struct race_violation v = { .bad = RACE_BAD_CLAIM, .rec = p->rec, .file = file,
					    .cell = lo, .nr = hi - lo };

		race_bad_cell(m, bad, &v);
	}
	for (uint32_t c = lo, to; c < hi; c = to) {
		if (race_contended(race_at(f, c))) {
			to = race_settle_all(m, p, c, hi, claim && inside);
			continue;
		}
		to = race_first_contended(f, c, hi);
		if (beyond || race_marked(p, &p->done, c, &to))
			continue;
		race_saw_by(f, c, to, 0);
		if (c >= p->moved_lo)
			race_fill(f, c, to, RACE_ANY);
		else if (claim && inside)
			race_fill(f, c, to, race_effect(m, p, c));
		else
			race_either(m, f, c, to, race_effect(m, p, c));
	}
}

/* It ends in one way from @lo on up to here. */
static uint32_t alike(const struct race_pend *p, uint32_t lo, uint32_t hi, uint32_t claimed)
{
	uint32_t page = p->size_hi > UINT32_MAX - RACE_PAGE_CELLS ? UINT32_MAX :
			(p->size_hi + RACE_PAGE_CELLS - 1) / RACE_PAGE_CELLS * RACE_PAGE_CELLS;

	hi = race_before(hi, claimed, lo);
	hi = race_before(hi, p->moved_lo, lo);
	hi = race_before(hi, p->size_lo, lo);
	hi = race_before(hi, p->size_hi, lo);
	return race_before(hi, page, lo);
}

void race_doubt(struct race_model *m, uint32_t others, bool writes, uint32_t lo, uint32_t hi)
{
	for (; others; others &= others - 1) {
		struct race_pend *q = race_first(m, others);

		if (writes || q->writes)
			race_mark(m, q, &q->doubtful, lo > q->lo ? lo : q->lo,
				  race_least(hi, q->hi));
	}
}

/* Cells that are certain hold what @p leaves; the other changes there may have been replaced. */
static void replace(struct race_model *m, const struct race_pend *p, uint32_t others, uint32_t lo,
		    uint32_t hi)
{
	race_fill(&m->f[p->rec->file], lo, hi, race_effect(m, p, lo));
	race_doubt(m, others, p->writes, lo, hi);
}

/* It ends at cells that are certain. */
static void assign(struct race_model *m, struct race_pend *p, uint32_t others, uint32_t lo,
		   uint32_t hi)
{
	struct race_file *f = &m->f[p->rec->file];

	for (uint32_t c = lo, to; c < hi; c = to) {
		to = hi;
		if (race_marked(p, &p->done, c, &to))
			continue;
		if (race_marked(p, &p->doubtful, c, &to))
			race_either(m, f, c, to, race_effect(m, p, c));
		else
			replace(m, p, others, c, to);
	}
}

/* Assign a whole stretch; what is contended in it is settled. */
static void end_plain(struct race_model *m, struct race_pend *p, uint32_t easy)
{
	struct race_file *f = &m->f[p->rec->file];
	uint32_t others = p->meets & ~f->looking;
	/* Behind the limit all is zero. */
	uint32_t known = p->writes || easy < f->limit ? easy : f->limit > p->lo ? f->limit : p->lo;

	race_saw_by(f, p->lo, known, 0);
	/* It has been replaced, or replaces, and so have others. */
	for (uint32_t c = p->lo, to; others && p->doubtful.words && c < easy; c = to) {
		to = easy;
		if (!race_marked(p, &p->done, c, &to) && race_marked(p, &p->doubtful, c, &to))
			race_contend_with(m, p, others, c, to);
	}
	for (uint32_t c = p->lo; c < easy;) {
		uint32_t to = race_first_contended(f, c, easy);

		assign(m, p, others, c, to);
		c = race_settle_all(m, p, to, easy, true);
	}
}

/* One of @others may have put there what was seen at cells from @lo to @hi, @saw at the first. */
static void contend_seen(struct race_model *m, struct race_file *f, uint32_t others, uint32_t lo,
			 uint32_t hi, pf_value saw)
{
	for (; others; others &= others - 1) {
		const struct race_pend *q = race_first(m, others);
		uint32_t a = lo > q->lo ? lo : q->lo, b = race_least(hi, q->hi);

		if (a < b && (b > q->moved_lo ||
			      race_effect(m, q, a) == race_value_on(saw, a - lo)))
			race_contend(m, f, a, b);
	}
}

/*
 * Change @p acts from @lo to @hi: @look, which is under way, may have seen what it finds there. Or,
 * if it saw what another change leaves, one of @others, that had acted before this one: only states
 * can tell. Without others it matters not which change it is.
 */
static void act_beneath(struct race_model *m, const struct race_pend *p, uint32_t others,
			struct race_pend *look, uint32_t lo, uint32_t hi)
{
	struct race_file *f = &m->f[look->rec->file];
	pf_value saw;

	lo = lo > look->lo ? lo : look->lo;
	hi = race_least(hi, look->hi);
	for (uint32_t c = lo, to, run; c < hi; c = to) {
		pf_value is = race_at(f, c);
		bool sees = race_seen(look, c, &saw, &run);

		to = race_least(race_end_of(f, c, hi), run);
		if (!sees || race_contended(is) ||
		    race_marked(look, &look->explained, c, &to))
			continue;
		if (is == saw || is == RACE_ANY)
			race_mark(m, look, &look->explained, c, to);
		else if (p && saw != race_effect(m, p, c))
			contend_seen(m, f, others, c, to, saw);
		m->undecided += is == RACE_ANY ? to - c : 0;
	}
}

void race_act_seen(struct race_model *m, struct race_pend *p, uint32_t looks, uint32_t lo,
		   uint32_t hi)
{
	uint32_t looking = m->f[p->rec->file].looking;

	for (looks &= p->meets & looking; looks; looks &= looks - 1)
		act_beneath(m, p, p->meets & ~looking, race_first(m, looks), lo, hi);
}

void race_act_alone(struct race_model *m, uint32_t looks, uint32_t lo, uint32_t hi)
{
	for (; looks; looks &= looks - 1)
		act_beneath(m, NULL, 0, race_first(m, looks), lo, hi);
}

uint32_t race_acted(struct race_model *m, const struct pf_race_rec *look, uint32_t looks,
		    uint32_t others, uint32_t lo, uint32_t hi, pf_value saw)
{
	struct race_file *f = &m->f[look->file];

	for (uint32_t left = others; left; left &= left - 1) {
		struct race_pend *q = race_first(m, left);
		uint32_t end = race_least(hi, q->hi);

		if (!q->writes || q->lo > lo || q->hi <= lo || saw != race_effect(m, q, lo) ||
		    lo >= q->moved_lo || lo >= q->size_lo ||
		    race_marked(q, &q->done, lo, &end))
			continue;
		end = race_least(end, race_least(q->moved_lo, q->size_lo));
		race_act_seen(m, q, looks, lo, end);
		if (race_contended(race_at(f, lo)))
			return lo;
		end = race_end_of(f, lo, end);
		race_saw_by(f, lo, end, look->what + 1u);
		replace(m, q, others & ~race_bit(m, q), lo, end);
		race_mark(m, q, &q->done, lo, end);
		return end;
	}
	return lo;
}

void race_end_change(struct race_model *m, struct race_pend *p)
{
	const struct pf_race_rec *r = p->rec;
	struct race_file *f = &m->f[r->file];
	bool ok = r->ret_ns != PF_RACE_UNRETURNED && r->result >= 0;
	uint32_t hi = race_least(p->hi, f->nr_cells);
	uint32_t claimed = !ok ? p->lo : p->writes ? p->lo + (uint32_t)r->result : hi;
	uint32_t easy = claimed;
	struct race_violation bad = { .nr = 0 };

	if (race_refused(r)) {
		race_forget(m, p);
		return;
	}
	if (p->writes && r->verb != PF_RACE_PWRITE && easy > p->size_lo)
		easy = p->size_lo > p->lo ? p->size_lo : p->lo;
	if (p->moved_lo < easy)
		easy = p->moved_lo > p->lo ? p->moved_lo : p->lo;
	if (easy > p->lo)
		end_plain(m, p, easy);
	race_contend_with(m, p, p->meets & ~f->looking, easy, hi);
	for (uint32_t c = easy, to; c < hi; c = to) {
		to = alike(p, c, hi, claimed);
		end_odd(m, p, c, to, c < claimed, &bad);
	}
	race_tell(m, &bad);
}

