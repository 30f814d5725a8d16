// SPDX-License-Identifier: GPL-2.0
/*
 * verdict.c - what came of a case, for a person: the resolution of the conflict, the verdict, the
 * kinds of violation and their evidence.
 *
 * A pass is earned. Without data checked, without a write that completed, without a pin shown where
 * one was claimed, without a fault that is shown to have happened, the verdict is inconclusive.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "../core/token.h"
#include "coarse.h"
#include "explain.h"

void judge_violation(struct judge *j, const char *kind, const char *fmt, ...)
{
	va_list ap;
	int i = 0;

	while (i < j->nr_kinds && strcmp(j->kinds[i], kind) != 0)
		i++;
	if (i == j->nr_kinds && j->nr_kinds < KINDS_MAX)
		snprintf(j->kinds[j->nr_kinds++], sizeof(j->kinds[0]), "%s", kind);
	if (j->nr_evidence == EVIDENCE_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(j->evidence[j->nr_evidence++], sizeof(j->evidence[0]), fmt, ap);
	va_end(ap);
}

void judge_evidence(struct judge *j, const char *fmt, ...)
{
	va_list ap;

	if (j->nr_evidence == EVIDENCE_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(j->evidence[j->nr_evidence++], sizeof(j->evidence[0]), fmt, ap);
	va_end(ap);
}

/*
 * What became of each successful channel write: its cells may have moved, so they are looked for in
 * every file. What somebody overwrote after it returned is not missed.
 */
struct found {
	const struct judge *j;
	bool *of[J_OPS_MAX];
};

static bool counts(const struct j_op *op)
{
	return op->known && op->channel && op->ok;
}

static void note_held(void *arg, int obj, uint32_t cell, pf_value v)
{
	struct found *f = arg;
	uint32_t n = pf_value_op(v);
	const struct j_op *op = &f->j->ops[n < J_OPS_MAX ? n : 0];

	(void)obj;
	(void)cell;
	if (counts(op) && f->of[n] && pf_value_file(v) == f->j->objects[op->obj].id &&
	    j_touches(op, op->obj, pf_value_cell(v)))
		f->of[n][pf_value_cell(v) - op->off_bytes / PF_CELL_BYTES] = true;
}

static bool overwritten(const struct judge *j, const struct j_op *w, uint64_t cell)
{
	for (uint32_t k = 1; k <= j->last_op; k++)
		if (&j->ops[k] != w && j->ops[k].known && j->ops[k].inv_ns > w->ret_ns &&
		    j_touches(&j->ops[k], w->obj, cell))
			return true;
	return false;
}

static void settle_accounts(struct judge *j, struct found *f)
{
	for (uint32_t n = 1; n <= j->last_op; n++) {
		struct j_op *op = &j->ops[n];
		uint64_t first = op->off_bytes / PF_CELL_BYTES;

		for (uint64_t i = 0; f->of[n] && i < op->len_bytes / PF_CELL_BYTES; i++)
			op->cells_gone += !f->of[n][i] && !overwritten(j, op, first + i);
		free(f->of[n]);
	}
}

int judge_finish(struct judge *j)
{
	struct found *f = calloc(1, sizeof(*f));
	struct x_result r = { 0 };
	int rc = f ? 0 : -ENOMEM;

	if (j_make_room(j)) {
		free(f);
		return -EINVAL;
	}
	for (uint32_t n = 1; f && n <= j->last_op; n++)
		if (counts(&j->ops[n])) {
			f->of[n] = calloc(j->ops[n].len_bytes / PF_CELL_BYTES + 1, 1);
			rc = f->of[n] ? rc : -ENOMEM;
		}
	if (!rc) {
		f->j = j;
		x_run_coarse(j, &r, note_held, f);
		j->checked_cells = r.checked_cells;
		j->checked_sizes = r.checked_sizes;
		j->undecided_cells = r.undecided_cells;
		j->relaxed = r.relaxed;
		rc = r.out_of_memory ? -ENOMEM : 0;
	}
	if (f)
		settle_accounts(j, f);
	if (!rc)
		explain(j, &r);
	if (rc)
		snprintf(
			j->err, sizeof(j->err),
			"more than can be followed: memory is short, or over %d operations at once",
			J_PENDING_MAX);
	x_result_free(&r);
	free(f);
	return rc;
}

struct account {
	const struct j_op *refused, *reported, *denied, *blocked, *overtaken, *written;
	const struct j_op *no_effect, *no_pin, *unreturned;
	bool pin_shown, held_look; /* one that was held, and came back */
};

/* A short pin is shown where a write was held; a long one where it was registered. */
static void account_pin(const struct judge *j, const struct j_op *op, struct account *a)
{
	if (op->pinned == 'y')
		a->pin_shown = true;
	if (j->class == J_LONG_PIN && op->verb == J_PIN && op->ok && !op->pinned)
		a->no_pin = op;
	if (j->class == J_FAULTING || !op->pinned || op->pinned == 'y')
		return;
	a->no_pin = op;
}

static void account_op(const struct judge *j, const struct j_op *op, struct account *a)
{
	account_pin(j, op, a);
	if (op->blocked_ns && !a->blocked)
		a->blocked = op;
	if (!op->returned) {
		a->unreturned = op;
		return;
	}
	if (op->channel) {
		if (!op->ok || op->value < op->len_bytes) {
			a->reported = op;
			return;
		}
		a->written = op;
		if (op->cells_gone)
			a->overtaken = op;
		return;
	}
	switch (op->verb) {
	case J_PIN:
		if (!op->ok)
			a->refused = op;
		break;
	case J_FAULT:
		if (!op->ok)
			a->denied = op;
		else if (op->effect && op->effect != 's' &&
			 (!a->no_effect || a->no_effect->effect_best_effort))
			a->no_effect = op; /* a strict one is not to be hidden by a later one */
		break;
	default:
		break;
	}
}

static void account(const struct judge *j, struct account *a)
{
	memset(a, 0, sizeof(*a));
	for (uint32_t i = 1; i <= j->last_op; i++)
		if (j->ops[i].known)
			account_op(j, &j->ops[i], a);
	/* Short is not enough: where its first page could not be had it held nothing. */
	for (uint32_t i = 0; i < j->nr_looks; i++)
		if (j->looks[i].pinned == 'y' && j->looks[i].nr_obs)
			a->held_look = a->pin_shown = true;
}

static const char *resolution(const struct judge *j, const struct account *a)
{
	if (j->hung)
		return "hung";
	if (j->nr_kinds)
		return "lost";
	if (a->refused)
		return "refused";
	if (a->blocked)
		return "blocked";
	if (a->reported)
		return "reported";
	if (a->denied)
		return "denied";
	if (a->overtaken)
		return "overtaken";
	if (!a->written && !a->held_look)
		return "none";
	return j->class == J_FAULTING ? "faulted" : "landed";
}

/* Why a clean history is not a pass; NULL if it is one. */
static const char *inconclusive(const struct judge *j, const struct account *a)
{
	/* Of an emptied file only the size is left to look at; that is a look too. */
	if (!j->checked_cells && !j->checked_sizes)
		return "no data was looked at";
	if (j->last_seen_at < j->last_change_at)
		return "no data was looked at after the last change";
	if (j->undecided_cells >= j->checked_cells && !j->checked_sizes)
		return "nothing that was looked at could be decided";
	if (a->unreturned && !j->crashed)
		return "an operation never returned";
	if (a->refused)
		return NULL;
	if (!a->written && !a->reported && !a->held_look)
		return "no channel write completed, and no held read";
	if (a->no_pin)
		return "the pin could not be shown";
	if (!a->no_effect || (a->no_effect->effect_best_effort && a->pin_shown))
		return NULL;
	return a->no_effect->effect == 'n' ? "the fault had no effect"
					   : "the fault could not be shown to have had an effect";
}

static void line(FILE *out, const char *key, const char *text)
{
	char token[1200];

	pf_token_encode(token, sizeof(token), text);
	fprintf(out, "%s %s\n", key, token);
}

static void detail_of(const struct j_op *op, const char *word, char *out, size_t bytes)
{
	const char *name = op->verb == J_FAULT ? op->fault : op->verb == J_PIN ? "pin" : "write";

	snprintf(out, bytes, "%s: %s%s%s", name, word, *op->detail ? " " : "", op->detail);
}

static void print_detail(const struct judge *j, const struct account *a, FILE *out)
{
	const struct j_op *op = a->refused ? a->refused : a->reported ? a->reported : a->denied;
	char text[400];

	if (op && !j->nr_kinds) {
		if (op->ok)
			snprintf(text, sizeof(text), "short: %llu of %llu bytes",
				 (unsigned long long)op->value,
				 (unsigned long long)op->len_bytes);
		else
			detail_of(op, op->errno_name, text, sizeof(text));
		line(out, "detail", text);
		if (!op->ok)
			line(out, "errno", op->errno_name);
	}
	if (a->blocked && a->blocked->returned) {
		op = a->blocked;
		snprintf(text, sizeof(text), "%s slept in %s",
			 op->verb == J_FAULT ? op->fault : "a write", op->blocked_in);
		line(out, "detail", text);
		fprintf(out, "blocked_ns %llu\n", (unsigned long long)(op->ret_ns - op->inv_ns));
	}
	if (a->no_effect && a->no_effect->effect_best_effort && a->pin_shown) {
		snprintf(text, sizeof(text), "the pin held %s off: %s", a->no_effect->fault,
			 a->no_effect->evidence);
		line(out, "detail", text);
	}
}

void judge_answer(const struct judge *j, FILE *out)
{
	struct account a;
	const char *why;

	account(j, &a);
	line(out, "resolution", resolution(j, &a));
	print_detail(j, &a, out);
	why = inconclusive(j, &a);
	if (j->hung) {
		line(out, "verdict", "hung");
		line(out, "why", j->hung_where);
	} else if (j->nr_kinds) {
		line(out, "verdict", "corrupt");
	} else if (j->prefix_of) {
		line(out, "verdict", "inconclusive");
		line(out, "why", j->prefix_of);
	} else if (!j->ended) {
		line(out, "verdict", "broken");
		line(out, "why", "the history ends before the case did");
	} else if (why) {
		line(out, "verdict", "inconclusive");
		line(out, "why", why);
	} else {
		line(out, "verdict", "coherent");
	}
	for (int i = 0; i < j->nr_kinds; i++)
		line(out, "kind", j->kinds[i]);
	for (int i = 0; i < j->nr_evidence; i++)
		line(out, "evidence", j->evidence[i]);
	for (uint32_t i = 1; i <= j->last_op; i++)
		if (j->ops[i].known && *j->ops[i].evidence)
			line(out, j->ops[i].verb == J_FAULT ? "effect" : "pinned",
			     j->ops[i].evidence);
	fprintf(out, "checked %llu\n", (unsigned long long)j->checked_cells);
	if (j->relaxed)
		fprintf(out, "relaxed %llu\n", (unsigned long long)j->relaxed);
	if (j->undecided_cells)
		fprintf(out, "undecided %llu\n", (unsigned long long)j->undecided_cells);
	fprintf(out, "end\n");
}
