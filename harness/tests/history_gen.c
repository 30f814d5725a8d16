// SPDX-License-Identifier: GPL-2.0
/* history_gen.c - see history_gen.h. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "history_gen.h"

#define CELL PF_CELL_BYTES
static uint64_t rng;

void gen_seed(uint64_t seed)
{
	rng = seed * 0x2545f4914f6cdd1dull + 1;
}

uint32_t gen_below(uint32_t n)
{
	rng += 0x9e3779b97f4a7c15ull;
	uint64_t x = rng;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)((x ^ x >> 31) % n);
}

static void feed(struct maker *m, const struct j_event *ev)
{
	ck_assert_msg(!judge_event(m->j, ev), "%s", m->j->err);
	ck_assert_int_eq(brute_open(&m->b, m->j), 0);
	m->s.at = (uint8_t)(m->j->nr_events + 1);
}

static const char *const names[] = { "A", "B" };

static void make_files(struct maker *m, int nr)
{
	for (int i = 0; i < nr; i++) {
		struct j_event ev = {
			.kind = EV_FILE,
			.name = names[i],
			.id = (uint32_t)i + 1,
			.size_bytes = gen_below(5) * CELL,
			.written = gen_below(4) != 0,
			.op = m->next_op,
			.text = "",
		};

		m->next_op++;
		feed(m, &ev);
	}
	brute_begin(&m->b, &m->s);
	m->s.at = (uint8_t)(m->j->nr_events + 1);
}

static void range(struct j_event *ev, uint32_t cells, uint32_t len_max)
{
	uint32_t first = gen_below(cells), len = 1 + gen_below(len_max);

	if (first + len > cells)
		len = cells - first;
	ev->off_bytes = first * CELL;
	ev->len_bytes = len * CELL;
}

static void random_fault(struct maker *m, struct j_event *ev)
{
	static const enum j_prim prims[] = { J_ZERO, J_RESIZE, J_COLLAPSE, J_INSERT, J_COPY,
					     J_COPY, J_SYNC, J_SYNCFS };
	int other = m->j->nr_objects > 1 ? !(ev->name == names[1]) : 0;

	ev->verb = J_FAULT;
	ev->fault = "fault";
	ev->prim = prims[gen_below(m->crash ? 8 : 6)];
	if (ev->prim == J_COPY && m->j->nr_objects < 2)
		ev->prim = J_ZERO;
	if (ev->prim == J_COPY)
		ev->name2 = names[other];
	else if (ev->prim == J_RESIZE)
		ev->size_bytes = gen_below(5) * CELL;
	else if (ev->prim == J_INSERT)
		range(ev, 2, 2);
	else if (ev->prim < J_SYNC)
		range(ev, 4, 3);
	/* Room: the files of the oracle are small. */
	if (ev->prim == J_INSERT &&
	    4 + m->j->inserted_cells + ev->len_bytes / CELL > BRUTE_CELLS)
		ev->prim = J_ZERO;
}

static void begin_op(struct maker *m)
{
	struct j_event ev = { .kind = EV_INV, .op = m->next_op++, .text = "", .view = "buffered" };
	uint32_t dice = gen_below(100);

	ev.name = names[gen_below((uint32_t)m->j->nr_objects)];
	ev.t_ns = m->j->nr_events;
	if (m->crashed || dice < 35) {
		ev.verb = J_LOOK;
	} else if (dice < 60) {
		ev.verb = gen_below(6) ? J_WRITE : J_PWRITE;
		range(&ev, 4, 3);
	} else {
		random_fault(m, &ev);
	}
	feed(m, &ev);
	m->s.active |= (uint16_t)(1u << (m->b.nr_ops - 1));
	m->stuck[m->b.nr_ops - 1] = !gen_below(12);
}

/* A step of operation @i; what a look sees by it is noted. False: none left, or not that one. */
static bool step(struct maker *m, int i, int n)
{
	const struct j_look *l = m->b.ops[i].look;
	uint32_t size = l ? m->s.size[l->obj] : 0;

	if (l && n < BRUTE_CELLS &&
	    (!(m->s.taken[i] & 1u << 15) || n >= m->saw_size[i]))
		return false; /* the size first, and then what it says is there */
	if (!brute_step(&m->b, &m->s, i, n, true))
		return false;
	if (l && n == BRUTE_CELLS)
		m->saw_size[i] = (uint8_t)size;
	if (l && n < BRUTE_CELLS) {
		m->saw[i][n] = m->s.c[l->obj][n];
		m->has[i] |= (uint16_t)(1u << n);
	}
	return true;
}

static void finish_steps(struct maker *m, int i)
{
	step(m, i, BRUTE_CELLS);
	for (int tries = 0; tries < 64; tries++)
		step(m, i, (int)gen_below(BRUTE_CELLS));
	for (int n = 0; n < BRUTE_CELLS; n++)
		step(m, i, n);
}

static void end_look(struct maker *m, int i)
{
	const struct j_look *l = m->b.ops[i].look;
	struct j_seen seen[BRUTE_CELLS];
	struct j_event ev = { .kind = EV_SEE, .op = l->op, .text = "", .view = "buffered",
			      .name = m->j->objects[l->obj].name,
			      .size_bytes = m->saw_size[i] * CELL, .seen = seen };
	struct j_event ret = { .kind = EV_RET, .op = l->op, .ok = true, .errno_name = "",
			       .text = "", .t_ns = m->j->nr_events + 1 };

	for (uint32_t n = 0; n < m->saw_size[i]; n++) {
		pf_value v = m->saw[i][n];

		seen[n] = (struct j_seen){ .kind = v ? SEEN_CELL : SEEN_ZERO, .op = pf_value_op(v),
					   .id = pf_value_file(v), .cell = pf_value_cell(v),
					   .count = 1, .text = "" };
		ev.nr_seen++;
	}
	ev.len_bytes = m->saw_size[i] * CELL;
	feed(m, &ev);
	feed(m, &ret);
}

static void end_op(struct maker *m, int i)
{
	const struct j_op *op = m->b.ops[i].op;
	struct j_event ev = { .kind = EV_RET, .ok = true, .errno_name = "EIO", .text = "" };
	uint32_t n = m->b.ops[i].n, first, done = 0;

	if (!op || gen_below(8))
		finish_steps(m, i);
	if (!op) {
		end_look(m, i);
	} else {
		first = (uint32_t)(op->off_bytes / CELL);
		while (j_is_write(op) && done < op->len_bytes / CELL &&
		       m->s.taken[i] & 1u << (first + done))
			done++;
		ev.op = n;
		ev.t_ns = m->j->nr_events;
		ev.value = done * CELL;
		if (j_is_write(op))
			ev.ok = done > 0 && (op->verb != J_PWRITE || (m->s.taken[i] & 1u << 15 &&
								      ev.value == op->len_bytes));
		else if (op->verb == J_FAULT && op->prim >= J_ZERO && op->prim <= J_COPY)
			ev.ok = brute_step(&m->b, &(struct brute_state){ 0 }, i, 0, true) ||
				m->s.taken[i];
		/* A clone that failed is not in the oracle: its target may have been emptied. */
		if (op->verb == J_FAULT && op->prim == J_COPY && !(m->s.taken[i] & 1u << 15)) {
			finish_steps(m, i);
			ev.ok = true;
		}
		if (op->verb == J_FAULT && op->prim == J_RESIZE) {
			finish_steps(m, i);
			ev.ok = gen_below(10) != 0;
		}
		if (op->verb == J_FAULT && op->prim == J_ZERO) {
			finish_steps(m, i);
			ev.ok = gen_below(10) != 0;
		}
		feed(m, &ev);
	}
	m->s.active &= (uint16_t)~(1u << i);
	m->s.taken[i] = 0;
}

/* Each cell and size comes back as it is, or as it was at some time since the last sync. */
static void crash(struct maker *m)
{
	struct j_event ev = { .kind = EV_CRASHED, .text = "" };
	struct brute_state was = m->s;

	feed(m, &ev);
	m->crashed = true;
	m->s.active = 0;
	memset(m->s.taken, 0, sizeof(m->s.taken));
	memset(m->s.old, 0, sizeof(m->s.old));
	m->s.nr_old = 0;
	for (int i = 0; i < was.nr_old; i++) {
		const struct brute_old *o = &was.old[i];

		if (gen_below(2) || o->at <= brute_synced(&m->b, o->file))
			continue;
		if (o->cell == BRUTE_CELLS)
			m->s.size[o->file] = (uint8_t)o->v;
		else
			m->s.c[o->file][o->cell] = o->v;
	}
}

static int pick_active(const struct maker *m, bool returning)
{
	int found[BRUTE_OPS], nr = 0;

	for (int i = 0; i < m->b.nr_ops; i++)
		if (m->s.active & 1u << i && !(returning && m->stuck[i]))
			found[nr++] = i;
	return nr ? found[gen_below((uint32_t)nr)] : -1;
}

static void act(struct maker *m, bool wind_up)
{
	int pending = __builtin_popcount(m->s.active);
	int i = pick_active(m, false), e = pick_active(m, true);
	uint32_t dice = gen_below(100);

	if (!wind_up && m->b.nr_ops < m->wanted && pending < m->pending_max &&
	    (dice < 30 || i < 0))
		begin_op(m);
	else if (i >= 0 && !wind_up && dice < 80)
		step(m, i, (int)gen_below(BRUTE_CELLS + 1));
	else if (e >= 0)
		end_op(m, e);
}

void gen_make(struct maker *m, uint64_t seed, bool with_crash)
{
	gen_seed(seed);
	memset(m, 0, sizeof(*m));
	m->j = judge_new();
	m->j->page_cells = 1 + gen_below(3);
	m->crash = with_crash;
	m->next_op = 1;
	make_files(m, 1 + (int)gen_below(2));
	m->wanted = 3 + (int)gen_below(with_crash ? 3 : 5);
	m->pending_max = 1 + (int)gen_below(4);
	m->b.crashes = with_crash;
	for (int n = 0; n < 300 && (m->b.nr_ops < m->wanted || pick_active(m, true) >= 0); n++) {
		m->b.crashes = with_crash;
		act(m, n > 60 || m->b.nr_ops >= m->wanted);
	}
	if (with_crash)
		crash(m);
	while (m->b.nr_ops < m->wanted + 1 + with_crash) { /* and who looks at the end */
		begin_op(m);
		m->stuck[m->b.nr_ops - 1] = false;
		end_op(m, m->b.nr_ops - 1);
	}
}

void gen_break(struct maker *m)
{
	struct judge *j = m->j;
	struct j_look *l;
	struct j_obs *o;
	uint32_t n;

	if (!j->nr_looks)
		return;
	l = &j->looks[gen_below(j->nr_looks)];
	switch (gen_below(8)) {
	case 0:
		l->size_bytes = gen_below(6) * CELL;
		return;
	case 1: /* claim what is not known to have happened */
		n = 1 + gen_below(j->last_op ? j->last_op : 1);
		if (j->ops[n].known && j->ops[n].returned) {
			j->ops[n].ok = true;
			j->ops[n].value = j_is_write(&j->ops[n]) ? j->ops[n].len_bytes : 0;
		}
		return;
	case 2:
		if (l->nr_obs > 1) {
			struct j_obs *p = &l->obs[gen_below(l->nr_obs)],
				     *q = &l->obs[gen_below(l->nr_obs)];
			pf_value v = p->value;
			enum j_seen_kind k = p->kind;

			p->value = q->value;
			p->kind = q->kind;
			q->value = v;
			q->kind = k;
		}
		return;
	default:
		break;
	}
	if (!l->nr_obs)
		return;
	o = &l->obs[gen_below(l->nr_obs)];
	n = gen_below(m->next_op);
	if (!n) {
		o->kind = SEEN_ZERO;
		o->value = 0;
		return;
	}
	o->kind = SEEN_CELL;
	o->value = pf_value_make(n, 1 + (n < 3 ? n - 1 : gen_below(2)),
				 gen_below(3) ? o->first : gen_below(4));
}

void gen_dump(const struct judge *j)
{
	static const char *const verbs[] = { "pin", "unpin", "write", "store", "pwrite", "look",
					     "fault" };
	static const char *const prims[] = { "none", "zero", "resize", "collapse", "insert", "copy",
					     "sync", "syncfs" };

	fprintf(stderr, "pages of %u cells\n", j->page_cells);
	for (int i = 0; i < j->nr_objects; i++)
		fprintf(stderr, "file %s %u %llu by %u\n", j->objects[i].name, j->objects[i].id,
			(unsigned long long)j->objects[i].size_bytes / CELL, j->objects[i].made_by);
	for (uint32_t at = 1; at <= j->nr_events; at++) {
		if (at == j->crash_at)
			fprintf(stderr, "%u crash\n", at);
		for (uint32_t n = 1; n <= j->last_op; n++) {
			const struct j_op *o = &j->ops[n];

			if (o->known && o->inv_at == at)
				fprintf(stderr,
					"%u inv %u %s %s %s %s off %llu len %llu size %llu\n", at,
					n, verbs[o->verb], prims[o->prim], j->objects[o->obj].name,
					o->obj2 >= 0 ? j->objects[o->obj2].name : "",
					(unsigned long long)o->off_bytes / CELL,
					(unsigned long long)o->len_bytes / CELL,
					(unsigned long long)o->size_bytes / CELL);
			if (o->known && o->returned && o->ret_at == at)
				fprintf(stderr, "%u ret %u %s %llu\n", at, n, o->ok ? "ok" : "err",
					(unsigned long long)o->value / CELL);
		}
		for (uint32_t n = 0; n < j->nr_looks; n++) {
			const struct j_look *l = &j->looks[n];

			if (l->inv_at == at)
				fprintf(stderr, "%u inv look %u of %s\n", at, l->op,
					j->objects[l->obj].name);
			if (l->ret_at != at)
				continue;
			fprintf(stderr, "%u ret look %u size %llu:", at, l->op,
				(unsigned long long)l->size_bytes / CELL);
			for (uint32_t k = 0; k < l->nr_obs; k++)
				fprintf(stderr, " %u/%u@%u", pf_value_op(l->obs[k].value),
					pf_value_file(l->obs[k].value),
					pf_value_cell(l->obs[k].value));
			fprintf(stderr, "\n");
		}
	}
}

