// SPDX-License-Identifier: GPL-2.0
/*
 * race_plan.c - what a race may do, and how a thread chooses.
 *
 * A choice depends on the plan and on the thread's random numbers only, so a seed gives every
 * thread the same list of choices on any machine. Which of them meet is the machine's doing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../core/cell.h"
#include "race.h"

#define PAGE_BYTES 4096u
#define HOT_PAGES 16u
#define RANGE_PAGES_MAX 8u
#define SHIFT_BLOCKS_MAX 4u /* of a collapse or insert */
#define REPIN_ONE_IN 256u

/* Of 100 choices, when none is left out. */
static const unsigned int all_verb_weights[PF_RACE_VERBS_NR] = {
	[PF_RACE_WRITE] = 34, [PF_RACE_STORE] = 9, [PF_RACE_PWRITE] = 11,
	[PF_RACE_LOOK] = 44,  [PF_RACE_FAULT] = 2,
};

static const char *const verb_names[PF_RACE_VERBS_NR] = { "write", "store", "pwrite", "look",
							  "fault" };

/* A direct read writes back what is dirty in its range, and waits for that. */
static const unsigned int view_weights[PF_VIEWS_NR] = {
	[PF_VIEW_MMAP] = 16,
	[PF_VIEW_BUFFERED] = 16,
	[PF_VIEW_DIRECT] = 1,
};

enum range {
	RANGE_CELL,
	RANGE_SUBPAGE,
	RANGE_PAGE,
	RANGE_SPAN,
	RANGE_PAGES,
	RANGE_WHOLE,
	RANGES_NR,
};

static const unsigned int range_weights[RANGES_NR] = {
	[RANGE_CELL] = 20, [RANGE_SUBPAGE] = 22, [RANGE_PAGE] = 22,
	[RANGE_SPAN] = 22, [RANGE_PAGES] = 13,	 [RANGE_WHOLE] = 1,
};

static unsigned int pick(struct pf_rng *r, const unsigned int *weights, unsigned int nr,
			 unsigned int sum)
{
	unsigned int at = (unsigned int)pf_rng_below(r, sum), i;

	for (i = 0; i < nr - 1 && at >= weights[i]; i++)
		at -= weights[i];
	return i;
}

bool race_bears(const struct pf_fault_ops *ops, unsigned int nr_files)
{
	const unsigned int no = PF_FAULT_EXCLUSIVE | PF_FAULT_SELFTEST | PF_FAULT_GUEST_ONLY |
				PF_FAULT_LAST | PF_FAULT_OPENS | PF_FAULT_CLOSES |
				PF_FAULT_POWER | PF_FAULT_REWRITES | PF_FAULT_NO_RACE;

	if (ops->flags & no)
		return false;
	if (ops->args == PF_ARGS_FILE_FILE && nr_files < 2)
		return false;
	switch (ops->prim) {
	case PF_PRIM_NONE:
	case PF_PRIM_ZERO:
	case PF_PRIM_RESIZE:
	case PF_PRIM_COLLAPSE:
	case PF_PRIM_INSERT:
	case PF_PRIM_COPY:
	case PF_PRIM_SYNC:
	case PF_PRIM_SYNCFS:
		return true;
	case PF_PRIM_UNLINK:
	case PF_PRIM_RENAME:
	case PF_PRIM_CRASH:
		break;
	}
	return false;
}

/*
 * What takes milliseconds comes seldom, or a race would be nothing else: two faults walk all memory
 * of the machine, syncs wait for the disk, and so do a shift and a clone, which write back first.
 */
static unsigned int fault_weight(const struct pf_fault_ops *ops)
{
	if (!strcmp(ops->name, "drop-caches") || !strcmp(ops->name, "migrate"))
		return 1;
	if (ops->prim == PF_PRIM_SYNC || ops->prim == PF_PRIM_SYNCFS)
		return 16;
	return ops->prim == PF_PRIM_ZERO || ops->prim == PF_PRIM_RESIZE ? 512 : 128;
}

static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (!strncmp(at, name, len) && (at[len] == ',' || !at[len]))
			return true;
	return false;
}

/* Take the name that @list begins with. Returns the rest, NULL at the end of the list. */
static const char *next_name(const char *list, char *name, size_t name_bytes)
{
	size_t len;

	if (!list || !*list)
		return NULL;
	len = strcspn(list, ",");
	snprintf(name, name_bytes, "%.*s", (int)len, list);
	return list + len + (list[len] == ',');
}

/* The first name of @list that is in neither registry nor plan, for the message. */
static int check_names(struct race_plan *p, const char *list, char *why, size_t why_bytes)
{
	char name[64];

	while ((list = next_name(list, name, sizeof(name)))) {
		bool found = false;

		for (unsigned int i = 0; i < p->nr_faults; i++)
			found = found || !strcmp(p->faults[i].ops->name, name);
		if (!found) {
			snprintf(why, why_bytes, "fault '%s' %s", name,
				 pf_fault_find(name) ? "cannot be raced" : "does not exist");
			return -EINVAL;
		}
	}
	return 0;
}

/* What is left out must exist, or a misspelled name would be run in silence. */
static int check_without(const char *list, char *why, size_t why_bytes)
{
	char name[64];

	while ((list = next_name(list, name, sizeof(name))))
		if (!pf_fault_find(name)) {
			snprintf(why, why_bytes, "fault '%s' does not exist", name);
			return -EINVAL;
		}
	return 0;
}

static int plan_faults(struct race_plan *p, const struct race_params *params, char *why,
		       size_t why_bytes)
{
	const struct pf_fault_ops *const *all;
	size_t nr;

	if (check_without(params->without, why, why_bytes))
		return -EINVAL;
	all = pf_faults(&nr);
	for (size_t i = 0; i < nr && p->nr_faults < RACE_FAULTS_MAX; i++) {
		struct race_fault *f = &p->faults[p->nr_faults];

		if (!race_bears(all[i], params->files) ||
		    (params->faults && !listed(params->faults, all[i]->name)) ||
		    listed(params->without, all[i]->name))
			continue;
		f->ops = all[i];
		f->index = (uint32_t)i;
		f->weight = fault_weight(all[i]);
		p->weight_sum += f->weight;
		p->nr_faults++;
	}
	return params->faults && strcmp(params->faults, "none")
		       ? check_names(p, params->faults, why, why_bytes)
		       : 0;
}

/* Without looks a race has nothing to say. */
static int plan_verbs(struct race_plan *p, const struct race_params *params, char *why,
		      size_t why_bytes)
{
	const char *list = params->verbs;
	char name[64];

	while ((list = next_name(list, name, sizeof(name)))) {
		bool found = false;

		for (int v = 0; v < PF_RACE_VERBS_NR; v++)
			found = found || !strcmp(verb_names[v], name);
		if (!found) {
			snprintf(why, why_bytes, "verbs: write, store, pwrite, look, fault");
			return -EINVAL;
		}
	}
	for (int v = 0; v < PF_RACE_VERBS_NR; v++) {
		if (params->verbs && !listed(params->verbs, verb_names[v]))
			continue;
		p->verb_weights[v] = all_verb_weights[v];
		p->verbs_sum += p->verb_weights[v];
	}
	if (!p->verb_weights[PF_RACE_LOOK] ||
	    !(p->verb_weights[PF_RACE_WRITE] + p->verb_weights[PF_RACE_STORE] +
	      p->verb_weights[PF_RACE_PWRITE])) {
		snprintf(why, why_bytes, "verbs: look, and one that writes");
		return -EINVAL;
	}
	return 0;
}

int race_plan_init(struct race_plan *p, const struct race_params *params, uint64_t block_bytes,
		   char *why, size_t why_bytes)
{
	uint64_t unit = block_bytes > PAGE_BYTES ? block_bytes : PAGE_BYTES;

	memset(p, 0, sizeof(*p));
	if (params->threads < 1 || params->threads > PF_RACE_THREADS_MAX || params->files < 1 ||
	    params->files > PF_RACE_FILES_MAX) {
		snprintf(why, why_bytes, "threads 1..%u, files 1..%u", PF_RACE_THREADS_MAX,
			 PF_RACE_FILES_MAX);
		return -EINVAL;
	}
	/* Half of it is whole blocks too, and there is room for shifts on both sides. */
	if (params->size_bytes % (2 * unit) || params->size_bytes < 8 * unit ||
	    params->size_bytes * 2 / PF_CELL_BYTES > PF_RACE_CELLS_MAX / 2) {
		snprintf(why, why_bytes, "size: a multiple of %llu from %llu to %llu",
			 (unsigned long long)(2 * unit), (unsigned long long)(8 * unit),
			 (unsigned long long)PF_RACE_CELLS_MAX / 4 * PF_CELL_BYTES);
		return -EINVAL;
	}
	p->nr_threads = params->threads;
	p->nr_files = params->files;
	p->size_bytes = params->size_bytes;
	p->block_bytes = unit;
	for (enum pf_view v = 0; v < PF_VIEWS_NR; v++)
		if (!params->views || listed(params->views, pf_view_name(v)))
			p->views[p->nr_views++] = v;
	if (!p->nr_views) {
		snprintf(why, why_bytes, "views: mmap, buffered, direct");
		return -EINVAL;
	}
	if (plan_verbs(p, params, why, why_bytes))
		return -EINVAL;
	return plan_faults(p, params, why, why_bytes);
}

/*
 * Where to act, in units of @unit: half of the time where everybody acts, seldom in the part that a
 * file has only while it is longer than at the start.
 */
static uint64_t choose_place(const struct race_plan *p, struct pf_rng *r, uint64_t unit)
{
	uint64_t nr = p->size_bytes / unit, hot = nr / 4 < HOT_PAGES ? nr / 4 : HOT_PAGES;
	uint64_t dice = pf_rng_below(r, 20);

	if (dice < 10)
		return (nr / 4 + pf_rng_below(r, hot)) * unit;
	return pf_rng_below(r, dice < 19 ? nr : 2 * nr) * unit;
}

static void choose_cells(const struct race_plan *p, struct pf_rng *r, struct race_choice *c)
{
	const uint64_t page_cells = PAGE_BYTES / PF_CELL_BYTES;
	uint64_t page = choose_place(p, r, PAGE_BYTES), first, nr;

	switch ((enum range)pick(r, range_weights, RANGES_NR, 100)) {
	case RANGE_CELL:
		first = pf_rng_below(r, page_cells);
		nr = 1;
		break;
	case RANGE_SUBPAGE:
		first = pf_rng_below(r, page_cells - 1);
		nr = 1 + pf_rng_below(r, page_cells - first);
		break;
	case RANGE_SPAN: /* over a page's end, and seldom aligned */
		first = 1 + pf_rng_below(r, page_cells - 1);
		nr = page_cells - first + 1 + pf_rng_below(r, page_cells);
		break;
	case RANGE_PAGES:
		first = 0;
		nr = page_cells * (2 + pf_rng_below(r, RANGE_PAGES_MAX - 1));
		break;
	case RANGE_WHOLE:
		page = first = 0;
		nr = 2 * p->size_bytes / PF_CELL_BYTES;
		break;
	default:
		first = 0;
		nr = page_cells;
		break;
	}
	c->off_bytes = page + first * PF_CELL_BYTES;
	c->len_bytes = nr * PF_CELL_BYTES;
	if (c->off_bytes + c->len_bytes > 2 * p->size_bytes)
		c->len_bytes = 2 * p->size_bytes - c->off_bytes;
	if (c->len_bytes > VIEW_BUFFER_BYTES)
		c->len_bytes = VIEW_BUFFER_BYTES;
}

static void choose_fault(struct race_plan *p, struct pf_rng *r, struct race_choice *c)
{
	unsigned int at = (unsigned int)pf_rng_below(r, p->weight_sum), i;
	uint64_t blocks;
	bool shifts;

	for (i = 0; i < p->nr_faults - 1 && at >= p->faults[i].weight; i++)
		at -= p->faults[i].weight;
	c->fault = &p->faults[i];
	shifts = c->fault->ops->prim == PF_PRIM_COLLAPSE || c->fault->ops->prim == PF_PRIM_INSERT;
	switch (c->fault->ops->args) {
	case PF_ARGS_FILE_FILE:
		c->file2 = (unsigned int)pf_rng_below(r, p->nr_files - 1);
		c->file2 += c->file2 >= c->file;
		break;
	case PF_ARGS_FILE_RANGE:
		c->off_bytes = choose_place(p, r, p->block_bytes);
		blocks = 1 + pf_rng_below(r, shifts ? SHIFT_BLOCKS_MAX : RANGE_PAGES_MAX);
		c->len_bytes = blocks * p->block_bytes;
		break;
	case PF_ARGS_FILE_SIZE:
		blocks = p->size_bytes / p->block_bytes;
		c->size_bytes = (blocks / 2 + pf_rng_below(r, blocks + blocks / 2 + 1)) *
				p->block_bytes;
		break;
	case PF_ARGS_FILE:
		break;
	}
}

static enum pf_view choose_view(const struct race_plan *p, struct pf_rng *r)
{
	unsigned int weights[PF_VIEWS_NR], sum = 0;

	for (unsigned int i = 0; i < p->nr_views; i++)
		sum += weights[i] = view_weights[p->views[i]];
	return p->views[pick(r, weights, p->nr_views, sum)];
}

void race_choose(struct race_plan *p, struct pf_rng *r, struct race_choice *c)
{
	memset(c, 0, sizeof(*c));
	c->verb = pick(r, p->verb_weights, PF_RACE_VERBS_NR, p->verbs_sum);
	c->file = c->file2 = (unsigned int)pf_rng_below(r, p->nr_files);
	if (c->verb == PF_RACE_FAULT && !p->nr_faults)
		c->verb = PF_RACE_LOOK;
	if (c->verb == PF_RACE_FAULT) {
		choose_fault(p, r, c);
		return;
	}
	choose_cells(p, r, c);
	if (c->verb == PF_RACE_LOOK)
		c->view = choose_view(p, r);
	if (c->verb == PF_RACE_WRITE)
		c->repin = !pf_rng_below(r, REPIN_ONE_IN);
	/* What may make the file longer does so by whole blocks. */
	if (c->verb == PF_RACE_PWRITE && c->off_bytes + c->len_bytes > p->size_bytes / 2) {
		uint64_t end = c->off_bytes + c->len_bytes + p->block_bytes - 1;

		c->off_bytes -= c->off_bytes % p->block_bytes;
		c->len_bytes = end - end % p->block_bytes - c->off_bytes;
		if (c->len_bytes > VIEW_BUFFER_BYTES)
			c->len_bytes = VIEW_BUFFER_BYTES;
	}
}
