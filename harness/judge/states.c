// SPDX-License-Identifier: GPL-2.0
/* states.c - components and value histories; see states.h. */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "states.h"

#ifndef X_INDEX_MIN /* the build with small limits makes it small */
#define X_INDEX_MIN 16u /* fewer rows are compared one by one */
#endif

struct x_comp *x_comp_new(uint32_t nr_locs)
{
	struct x_comp *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->nr_locs = nr_locs;
	c->max = 4;
	c->at = calloc(nr_locs, sizeof(*c->at));
	c->s = calloc((size_t)c->max * nr_locs, sizeof(*c->s));
	if (c->at && c->s)
		return c;
	x_comp_free(c);
	return NULL;
}

void x_comp_free(struct x_comp *c)
{
	if (!c)
		return;
	free(c->at);
	free(c->s);
	free(c->table);
	free(c);
}

struct x_comp *x_comp_copy(const struct x_comp *c)
{
	struct x_comp *n = x_comp_new(c->nr_locs);
	struct x_state *s = n ? realloc(n->s, (size_t)c->max * c->nr_locs * sizeof(*s)) : NULL;

	if (!s) {
		x_comp_free(n);
		return NULL;
	}
	n->s = s;
	n->max = c->max;
	n->nr = c->nr;
	memcpy(n->at, c->at, c->nr_locs * sizeof(*n->at));
	memcpy(n->s, c->s, (size_t)c->nr * c->nr_locs * sizeof(*n->s));
	return n;
}

static size_t row_bytes(const struct x_comp *c)
{
	return c->nr_locs * sizeof(struct x_state);
}

/* The slot where a row like @row is, or would be. */
static uint32_t *slot_of_row(const struct x_comp *c, const struct x_state *row)
{
	uint32_t at = (uint32_t)XXH3_64bits(row, row_bytes(c)) & (c->slots - 1);

	while (c->table[at] && memcmp(x_row(c, c->table[at] - 1), row, row_bytes(c)) != 0)
		at = (at + 1) & (c->slots - 1);
	return &c->table[at];
}

/* Bring the table up to the first @nr rows, of which no two are equal. False without memory. */
static bool index_rows(struct x_comp *c, uint32_t nr)
{
	uint32_t slots = c->slots ? c->slots : 4 * X_INDEX_MIN;

	while (slots < 2 * nr)
		slots *= 2;
	if (slots != c->slots) {
		free(c->table);
		c->table = malloc(slots * sizeof(*c->table));
		c->slots = c->table ? slots : 0;
		c->indexed = 0;
	}
	if (!c->table)
		return false;
	if (!c->indexed)
		memset(c->table, 0, c->slots * sizeof(*c->table));
	while (c->indexed < nr) {
		*slot_of_row(c, x_row(c, c->indexed)) = c->indexed + 1;
		c->indexed++;
	}
	return true;
}

/* Is it among the first @nr rows? */
static bool has_row(struct x_comp *c, const struct x_state *row, uint32_t nr)
{
	if (nr >= X_INDEX_MIN && index_rows(c, nr))
		return *slot_of_row(c, row);
	for (uint32_t i = 0; i < nr; i++)
		if (!memcmp(x_row(c, i), row, row_bytes(c)))
			return true;
	return false;
}

int x_comp_add(struct x_comp *c, const struct x_state *row)
{
	if (has_row(c, row, c->nr))
		return 0;
	if (c->nr == X_STATES_MAX)
		return -1;
	if (c->nr == c->max) {
		struct x_state *s = reallocarray(c->s, 2 * (size_t)c->max, row_bytes(c));

		if (!s)
			return -1;
		c->s = s;
		c->max *= 2;
	}
	memcpy(x_row(c, c->nr++), row, row_bytes(c));
	return 1;
}

void x_comp_dedupe(struct x_comp *c)
{
	uint32_t nr = 0;

	c->indexed = 0;
	for (uint32_t i = 0; i < c->nr; i++) {
		if (has_row(c, x_row(c, i), nr))
			continue;
		if (nr != i)
			memcpy(x_row(c, nr), x_row(c, i), row_bytes(c));
		nr++;
	}
	c->nr = nr;
}

struct x_comp *x_comp_join(struct x_comp *a, struct x_comp *b)
{
	uint64_t rows = (uint64_t)a->nr * b->nr;
	struct x_comp *c = rows > X_STATES_MAX || a->nr_locs + b->nr_locs > 64 ?
				   NULL :
				   x_comp_new(a->nr_locs + b->nr_locs);
	struct x_state *s = c ? realloc(c->s, (size_t)rows * c->nr_locs * sizeof(*s)) : NULL;

	if (s) {
		c->s = s;
		c->max = c->nr = (uint32_t)rows;
		memcpy(c->at, a->at, a->nr_locs * sizeof(*c->at));
		memcpy(c->at + a->nr_locs, b->at, b->nr_locs * sizeof(*c->at));
		for (uint32_t i = 0; i < a->nr; i++)
			for (uint32_t k = 0; k < b->nr; k++, s += c->nr_locs) {
				memcpy(s, x_row(a, i), a->nr_locs * sizeof(*s));
				memcpy(s + a->nr_locs, x_row(b, k), b->nr_locs * sizeof(*s));
			}
	} else {
		x_comp_free(c);
		c = NULL;
	}
	x_comp_free(a);
	x_comp_free(b);
	return c;
}

struct node {
	pf_value v;
	uint32_t at, before;
};

struct x_hist {
	struct node *nodes; /* [0] is unused */
	uint32_t nr, max;
	uint32_t *table; /* open addressing, 2 * max slots, 0: free */
};

static uint32_t slot_of(const struct x_hist *h, const struct node *n)
{
	uint64_t x = n->v * 0x9e3779b97f4a7c15ull ^ ((uint64_t)n->at << 32 | n->before);

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ull;
	return (uint32_t)((x ^ x >> 32) & (2 * (uint64_t)h->max - 1));
}

static void insert(struct x_hist *h, uint32_t n)
{
	uint32_t at = slot_of(h, &h->nodes[n]);

	while (h->table[at])
		at = (at + 1) & (2 * h->max - 1);
	h->table[at] = n;
}

static bool grow(struct x_hist *h)
{
	uint32_t max = h->max ? 2 * h->max : 1024;
	struct node *nodes = realloc(h->nodes, max * sizeof(*nodes));
	uint32_t *table;

	if (!nodes)
		return false;
	h->nodes = nodes;
	table = calloc(2 * (size_t)max, sizeof(*table));
	if (!table)
		return false;
	free(h->table);
	h->table = table;
	h->max = max;
	for (uint32_t i = 1; i < h->nr; i++)
		insert(h, i);
	return true;
}

struct x_hist *x_hist_new(void)
{
	struct x_hist *h = calloc(1, sizeof(*h));

	if (h)
		h->nr = 1;
	if (h && grow(h))
		return h;
	x_hist_free(h);
	return NULL;
}

void x_hist_free(struct x_hist *h)
{
	if (!h)
		return;
	free(h->nodes);
	free(h->table);
	free(h);
}

uint32_t x_hist_push(struct x_hist *h, uint32_t before, pf_value v, uint32_t at)
{
	struct node n = { v, at, before };

	for (uint32_t i = slot_of(h, &n); h->table[i]; i = (i + 1) & (2 * h->max - 1)) {
		const struct node *o = &h->nodes[h->table[i]];

		if (o->v == v && o->at == at && o->before == before)
			return h->table[i];
	}
	if (h->nr == h->max && !grow(h))
		return 0;
	h->nodes[h->nr] = n;
	insert(h, h->nr);
	return h->nr++;
}

uint32_t x_hist_pop(const struct x_hist *h, uint32_t n, pf_value *v, uint32_t *at)
{
	*v = h->nodes[n].v;
	*at = h->nodes[n].at;
	return h->nodes[n].before;
}
