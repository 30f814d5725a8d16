// SPDX-License-Identifier: GPL-2.0
/* worlds.c - the worlds of a history: forked, joined at the limit, the best of them kept. */
#include <stdlib.h>

#include "exact_int.h"

static void world_drop(struct exact *e, uint32_t i)
{
	x_world_free(e, e->w[i]);
	e->w[i] = e->w[--e->nr_worlds];
}

void x_worlds_merge_equal(struct exact *e)
{
	for (uint32_t i = 0; i < e->nr_worlds; i++)
		for (uint32_t k = i + 1; k < e->nr_worlds;)
			if (x_world_equal(e, e->w[i], e->w[k])) {
				x_world_same(e->w[i], e->w[k]);
				world_drop(e, k);
			} else {
				k++;
			}
}

bool x_sizes_may_change(const struct exact *e, int obj)
{
	for (uint32_t left = e->forkers; left; left &= left - 1) {
		const struct j_op *op = e->pend[__builtin_ctz(left)].op;

		if ((op->prim == J_COPY ? op->obj2 : op->obj) == obj)
			return true;
	}
	return false;
}

/* More worlds than can be kept: one in which whatever differs may be anything. */
void x_worlds_join(struct exact *e)
{
	struct x_world *w = e->w[0];

	while (e->nr_worlds > 1) {
		x_world_join(e, w, e->w[1]);
		world_drop(e, 1);
	}
	e->out->relaxed++;
	/* They count as taken; where they may act, nothing is certain until they have ended. */
	w->taken |= e->forkers;
	for (int i = 0; i < e->j->nr_objects; i++) {
		for (uint32_t k = 0; k < e->j->objects[i].cells_max; k++)
			if (x_may_move(e, i, k))
				x_give_up(e, w, i, k);
		if (x_sizes_may_change(e, i)) {
			w->o[i].size_bytes = X_SIZE_ANY;
			w->o[i].lost |= e->forkers;
		}
	}
	x_see_sizes(e, w);
}

bool x_world_add(struct exact *e, struct x_world *w)
{
	for (uint32_t i = 0; i < e->nr_worlds; i++)
		if (x_world_equal(e, e->w[i], w)) {
			x_world_same(e->w[i], w);
			x_world_free(e, w);
			return true;
		}
	if (e->nr_worlds == e->worlds_max) {
		x_world_join(e, e->w[0], w);
		x_world_free(e, w);
		return false;
	}
	e->w[e->nr_worlds++] = w;
	return true;
}

/* Every order in which the forking operations under way may have had their moment by now. */
void x_worlds_fork(struct exact *e)
{
	for (uint32_t i = 0; i < e->nr_worlds; i++)
		for (uint32_t left = e->forkers & ~e->w[i]->taken; left; left &= left - 1) {
			struct x_world *w = x_world_copy(e, e->w[i]);

			if (!w)
				return;
			x_apply(e, w, left & -left);
			if (!x_world_add(e, w)) {
				x_worlds_join(e);
				return;
			}
		}
}

/* Is world @a one to report rather than @b? One without contradictions before all others. */
static bool better(const struct exact *e, const struct x_bad_list *bad, uint32_t a, uint32_t b)
{
	if (bad[a].dead || bad[b].dead)
		return !bad[a].dead;
	if (!bad[a].cells || !bad[b].cells)
		return bad[a].cells < bad[b].cells;
	if (e->w[a]->unlikely != e->w[b]->unlikely)
		return e->w[a]->unlikely < e->w[b]->unlikely;
	return bad[a].cells < bad[b].cells;
}

/*
 * Of the worlds as they are after an event keep those without a contradiction; if there are none,
 * report those of one. It is the one that a person has in mind: where as little as can be of what
 * failed has happened all the same, and then the one with the fewest. Frees @bad.
 */
void x_keep_the_best(struct exact *e, struct x_bad_list *bad)
{
	uint32_t best = 0, nr = e->nr_worlds;

	for (uint32_t i = 1; i < nr; i++)
		if (better(e, bad, i, best))
			best = i;
	if (!bad[best].cells) {
		for (uint32_t i = nr; i-- > 0;)
			if (bad[i].dead || bad[i].cells)
				world_drop(e, i);
	} else {
		struct x_world *w = e->w[best];

		x_report(e, &bad[best]);
		e->w[best] = e->w[0];
		e->w[0] = w;
		while (e->nr_worlds > 1)
			world_drop(e, 1);
	}
	for (uint32_t i = 0; i < nr; i++)
		free(bad[i].v);
	free(bad);
}
