/* SPDX-License-Identifier: GPL-2.0 */
/* model.h - what model.c keeps of each object; verdict.c reads it. */
#ifndef PF_MODEL_H
#define PF_MODEL_H

#include "judge.h"

#define SET_MAX 6 /* values a cell may hold at once; more and it is undecided */

struct j_state {
	struct j_value v;
	uint32_t mask; /* pending operations that have taken effect in this state */
};

struct j_set {
	uint8_t nr; /* more than SET_MAX: too many to keep, any value is in it */
	struct j_value v[SET_MAX];
};

struct j_cell {
	uint8_t nr;
	bool undecided; /* too many possibilities: any observation is taken */
	bool seen;	/* observed, and explained, since the last change */
	struct j_state s[SET_MAX];
	struct j_set durable; /* what a crash may bring back */
	struct j_set since;   /* what it held since the sync under way began */
	struct j_set ever;    /* all it may have held at some time */
};

struct j_size_state {
	uint64_t bytes;
	uint32_t mask;
};

struct j_sizes {
	int nr;
	bool any; /* more than fit: any size is taken */
	struct j_size_state s[16];
};

struct j_object {
	char name[J_NAME_BYTES];  /* in the history */
	char path_name[J_NAME_BYTES]; /* the name it has in its directory, "" if none */
	bool path_uncertain;	  /* renamed or unlinked, not synced since: a crash may undo it */
	int path_maybe;		  /* renames and unlinks that failed or did not return */
	uint32_t id;
	int syncs_pending;
	struct j_sizes sizes, durable_sizes, since_sizes, ever_sizes;
	uint32_t nr_cells;
	struct j_cell *cells;
};

int j_find_object(const struct judge *j, const char *name);
/* Did @op, if it happened, change @cell of object @obj? */
bool j_touches(const struct j_op *op, int obj, uint64_t cell);

#endif
