// SPDX-License-Identifier: GPL-2.0
/* explore_answer.c - what the judge says of each history: a counter, or a line to the runner. */
#include <string.h>

#include "../core/token.h"
#include "explore.h"

const char *const explore_resolutions[EXPLORE_RESOLUTIONS] = {
	"none",	   "landed",   "faulted", "overtaken", "blocked", "denied",
	"refused", "reported", "lost",	  "hung",      "crashed",
};

/* One line about a sequence that is not plainly coherent. Everything in it is one word. */
static void say(struct explore_answers *all, uint32_t nr, const struct explore_answer *w)
{
	char why[1300], evidence[3700];
	size_t used = 0;

	pf_token_encode(why, sizeof(why), w->why);
	evidence[0] = '\0';
	for (int i = 0; i < w->nr_evidence && used + 1300 < sizeof(evidence); i++) {
		evidence[used++] = ' ';
		used += pf_token_encode(evidence + used, 1200, w->evidence[i]);
	}
	atomic_fetch_add(&all->s->not_coherent, 1);
	agent_line(all->a, "x %u %s %s %s %s %s%s", nr, w->verdict,
		   *w->resolution ? w->resolution : "-", *w->kinds ? w->kinds : "-",
		   *w->errno_name ? w->errno_name : "-", why, evidence);
}

void explore_say(struct explore_answers *all, uint32_t nr, const char *verdict, const char *why)
{
	struct explore_answer w = { 0 };

	snprintf(w.verdict, sizeof(w.verdict), "%s", verdict);
	snprintf(w.why, sizeof(w.why), "%s", why);
	say(all, nr, &w);
}

static void answer_ended(struct explore_answers *all)
{
	struct explore_answer *w = &all->answer;
	int i = 0;

	while (i < EXPLORE_RESOLUTIONS - 1 && strcmp(explore_resolutions[i], w->resolution) != 0)
		i++;
	atomic_fetch_add(&all->s->resolutions[i], 1);
	if (strcmp(w->verdict, "coherent") != 0)
		say(all, all->judged[all->nr_answered], w);
	else
		atomic_fetch_add(&all->s->coherent, 1);
	all->nr_answered++;
	memset(w, 0, sizeof(*w));
}

void explore_take_line(void *arg, char *line)
{
	struct explore_answers *all = arg;
	struct explore_answer *w = &all->answer;
	char *value = strchr(line, ' ');

	if (!strcmp(line, "end")) {
		if (all->nr_answered < all->nr_judged)
			answer_ended(all);
		return;
	}
	if (!value)
		return;
	*value++ = '\0';
	pf_token_decode(value);
	if (!strcmp(line, "verdict"))
		snprintf(w->verdict, sizeof(w->verdict), "%s", value);
	else if (!strcmp(line, "resolution"))
		snprintf(w->resolution, sizeof(w->resolution), "%s", value);
	else if (!strcmp(line, "errno"))
		snprintf(w->errno_name, sizeof(w->errno_name), "%s", value);
	else if (!strcmp(line, "why"))
		snprintf(w->why, sizeof(w->why), "%s", value);
	else if (!strcmp(line, "kind") && strlen(w->kinds) + strlen(value) + 2 < sizeof(w->kinds))
		strcat(strcat(w->kinds, *w->kinds ? "," : ""), value);
	else if (!strcmp(line, "evidence") && w->nr_evidence < EXPLORE_EVIDENCE_MAX)
		snprintf(w->evidence[w->nr_evidence++], sizeof(w->evidence[0]), "%s", value);
}

#define PIECE_BYTES 2500u /* a third of a line, even if every byte of it is written %XX */

void explore_hand_over(struct explore_answers *all, uint32_t nr, const struct pf_history *h)
{
	char piece[PIECE_BYTES + 1], token[3 * PIECE_BYTES + 1];
	size_t at = 0;

	do {
		size_t len = h->used - at < PIECE_BYTES ? h->used - at : PIECE_BYTES;

		memcpy(piece, h->buf + at, len);
		piece[len] = '\0';
		at += len;
		pf_token_encode(token, sizeof(token), piece);
		agent_line(all->a, "y %u %s %s", nr, at < h->used ? "more" : "end", token);
	} while (at < h->used);
}

/* A write that a sync has followed and of which the modification time knows nothing (mtime.c). */
static bool unnoticed(const struct pf_history *h)
{
	static const char note[] = "\nnote mtime%20";
	const char *at = h->buf, *end = h->buf + h->used;

	while ((at = memmem(at, (size_t)(end - at), note, sizeof(note) - 1))) {
		at += sizeof(note) - 1;
		while (at < end && *at >= '0' && *at <= '9')
			at++;
		if (end - at > 5 && !memcmp(at, "%20no", 5))
			return true;
	}
	return false;
}

void explore_say_unnoticed(struct explore_answers *all, uint32_t nr, const struct pf_history *h)
{
	struct explore_answer w = { .verdict = "unnoticed", .kinds = "unnoticed" };

	if (!unnoticed(h))
		return;
	strcpy(w.why, "the modification time did not move between a write and the end of the sync "
		      "after it");
	say(all, nr, &w);
}
