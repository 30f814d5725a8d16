// SPDX-License-Identifier: GPL-2.0
/*
 * verdict.c - what came of a case, for a person: the resolution of the conflict, the verdict, the
 * kinds of violation and their evidence.
 *
 * A pass is earned. Without data checked, without a write that completed, without a pin shown where
 * one was claimed, without a fault that is shown to have happened, the verdict is inconclusive.
 */
#include <stdarg.h>
#include <string.h>

#include "../core/token.h"
#include "judge.h"

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

struct account {
	const struct j_op *refused, *reported, *denied, *blocked, *overtaken, *written;
	const struct j_op *no_effect, *no_pin, *unreturned;
	bool pin_shown;
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
	switch (op->verb) {
	case J_PIN:
		if (!op->ok)
			a->refused = op;
		break;
	case J_WRITE:
		if (!op->ok || op->value < op->len_bytes) {
			a->reported = op;
			break;
		}
		a->written = op;
		if (op->cells_gone)
			a->overtaken = op;
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
	if (!a->written)
		return "none";
	return j->class == J_FAULTING ? "faulted" : "landed";
}

/* Why a clean history is not a pass; NULL if it is one. */
static const char *inconclusive(const struct judge *j, const struct account *a)
{
	/* Of an emptied file only the size is left to look at; that is a look too. */
	if (!j->checked_cells && !j->checked_sizes)
		return "no data was looked at";
	if (j->looked_at_events < j->last_change_events)
		return "no data was looked at after the last change";
	if (j->undecided_cells >= j->checked_cells && !j->checked_sizes)
		return "nothing that was looked at could be decided";
	if (a->unreturned && !j->crashed)
		return "an operation never returned";
	if (a->refused)
		return NULL;
	if (!a->written && !a->reported)
		return "no channel write completed";
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
	if (j->undecided_cells)
		fprintf(out, "undecided %llu\n", (unsigned long long)j->undecided_cells);
	fprintf(out, "end\n");
}
