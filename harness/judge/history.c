// SPDX-License-Identifier: GPL-2.0
/* history.c - from events to operations, looks and their order; refuses what contradicts itself. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "judge.h"

#define CELL PF_CELL_BYTES

__attribute__((format(printf, 2, 3))) static int contradiction(struct judge *j, const char *fmt,
								...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(j->err, sizeof(j->err), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int j_find_object(const struct judge *j, const char *name)
{
	for (int i = 0; i < j->nr_objects; i++)
		if (!strcmp(j->objects[i].name, name))
			return i;
	return -1;
}

bool j_touches(const struct j_op *op, int obj, uint64_t cell)
{
	uint64_t off = cell * CELL;

	if (op->verb == J_FAULT && op->prim == J_COPY)
		return op->obj2 == obj;
	if (op->obj != obj || !j_changes_data(op))
		return false;
	if (j_is_write(op) || op->prim == J_ZERO)
		return off >= op->off_bytes && off < op->off_bytes + op->len_bytes;
	if (op->prim == J_RESIZE)
		return off >= op->size_bytes / CELL * CELL;
	return off >= op->off_bytes; /* collapse, insert */
}

/* The object will at some time have room for @bytes. */
static int room_for(struct judge *j, int obj, uint64_t bytes)
{
	struct j_object *o = &j->objects[obj];
	uint64_t nr = (bytes + CELL - 1) / CELL;

	if (nr > J_FILE_CELLS_MAX)
		return contradiction(j, "file %s grows past what can be judged", o->name);
	o->cells_max = nr > o->cells_max ? (uint32_t)nr : o->cells_max;
	return 0;
}

static int take_file(struct judge *j, const struct j_event *ev)
{
	struct j_object *o = &j->objects[j->nr_objects];

	if (j->nr_objects == J_OBJECTS_MAX || j_find_object(j, ev->name) >= 0)
		return contradiction(j, "file %s is there already, or one too many", ev->name);
	*o = (struct j_object){
		.id = ev->id,
		.made_at = ++j->nr_events,
		.made_by = ev->written ? ev->op : 0,
		.size_bytes = ev->size_bytes,
	};
	strcpy(o->name, ev->name);
	strcpy(o->path_name, ev->name);
	if (room_for(j, j->nr_objects, ev->size_bytes))
		return -EINVAL;
	j->nr_objects++;
	return 0;
}

/*
 * Sizes that operations make by themselves. What inserts add, and clones carry from file to
 * file, depends on
 * the order they come in: so every file may have the longest of them and all that is ever inserted.
 */
static int room_for_op(struct judge *j, const struct j_op *op)
{
	if (j_is_write(op)) /* also where no file is: that they claim it must show */
		return room_for(j, op->obj, op->off_bytes + op->len_bytes);
	if (op->verb == J_FAULT && op->prim == J_RESIZE)
		return room_for(j, op->obj, op->size_bytes);
	if (op->verb == J_FAULT && op->prim == J_INSERT)
		j->inserted_cells += op->len_bytes / CELL;
	if (op->verb == J_FAULT && op->prim == J_COPY)
		j->copied = true;
	return 0;
}

int j_make_room(struct judge *j)
{
	uint64_t longest = 0;

	for (int i = 0; i < j->nr_objects && j->copied; i++)
		if (j->objects[i].cells_max > longest)
			longest = j->objects[i].cells_max;
	for (int i = 0; i < j->nr_objects; i++) {
		uint64_t nr = j->copied ? longest : j->objects[i].cells_max;

		if (room_for(j, i, (nr + j->inserted_cells) * CELL) ||
		    room_for(j, i, j->objects[i].cells_seen * (uint64_t)CELL))
			return -EINVAL;
	}
	return 0;
}

/* Names in the directory. A rename or unlink that is under way, or failed, may have happened. */
static void name_in_doubt(struct judge *j, const struct j_op *op, int by)
{
	if (op->prim != J_UNLINK && op->prim != J_RENAME)
		return;
	j->objects[op->obj].path_maybe += by;
	j->names_in_doubt += by;
	if (op->obj2 >= 0)
		j->objects[op->obj2].path_maybe += by;
}

static void apply_name(struct judge *j, const struct j_op *op)
{
	struct j_object *o = &j->objects[op->obj];

	o->path_uncertain = true;
	if (op->prim == J_RENAME) {
		strcpy(o->path_name, j->objects[op->obj2].path_name);
		j->objects[op->obj2].path_uncertain = true;
		j->objects[op->obj2].path_name[0] = '\0';
	} else {
		o->path_name[0] = '\0';
	}
}

/* After a mount files are known by their path, before it by the descriptor that was kept. */
static int object_seen(const struct judge *j, const char *name)
{
	for (int i = 0; i < j->nr_objects; i++)
		if (!strcmp(j->remounted ? j->objects[i].path_name : j->objects[i].name, name))
			return i;
	return -1;
}

static bool name_unsure(const struct judge *j, const struct j_object *o)
{
	return (j->crashed && o->path_uncertain) || (j->remounted && o->path_maybe);
}

static struct j_look *look_find(struct judge *j, uint32_t op)
{
	for (uint32_t i = j->nr_looks; i-- > 0;)
		if (j->looks[i].op == op)
			return &j->looks[i];
	return NULL;
}

static int look_begin(struct judge *j, const struct j_event *ev)
{
	struct j_look *l;

	if (look_find(j, ev->op) || (ev->op < J_OPS_MAX && j->ops[ev->op].known))
		return contradiction(j, "operation %u begins twice", ev->op);
	if (j->nr_looks == j->looks_max) {
		uint32_t max = j->looks_max ? 2 * j->looks_max : 64;

		l = realloc(j->looks, max * sizeof(*l));
		if (!l)
			return contradiction(j, "out of memory");
		j->looks = l;
		j->looks_max = max;
	}
	l = &j->looks[j->nr_looks++];
	*l = (struct j_look){
		.op = ev->op,
		.obj = object_seen(j, ev->name),
		.after_mount = j->remounted,
		.inv_ns = ev->t_ns,
		.inv_at = ++j->nr_events,
	};
	snprintf(l->view, sizeof(l->view), "%s", ev->view);
	return 0;
}

/* What contradicts leaves no trace: the lines before it can be judged (--prefix). */
static int take_inv(struct judge *j, const struct j_event *ev)
{
	struct j_op *op, begun;
	int rc;

	if (!ev->op || (ev->op >= J_OPS_MAX && ev->verb != J_LOOK))
		return contradiction(j, "operation number %u", ev->op);
	if (ev->verb == J_LOOK)
		return look_begin(j, ev);
	op = &j->ops[ev->op];
	if (op->known || look_find(j, ev->op))
		return contradiction(j, "operation %u begins twice", ev->op);
	begun = (struct j_op){
		.known = true,
		/* What a channel writes with write(2) makes the file longer like any other. */
		.verb = ev->verb == J_WRITE && j->class == J_SYSCALL ? J_PWRITE : ev->verb,
		.channel = ev->verb == J_WRITE,
		.prim = ev->verb == J_FAULT ? ev->prim : J_NONE,
		.off_bytes = ev->off_bytes,
		.len_bytes = ev->len_bytes,
		.size_bytes = ev->size_bytes,
		.inv_ns = ev->t_ns,
		.inv_at = ++j->nr_events,
		.obj = j_find_object(j, ev->name),
		.obj2 = ev->name2 ? j_find_object(j, ev->name2) : -1,
	};
	if (ev->fault)
		snprintf(begun.fault, sizeof(begun.fault), "%s", ev->fault);
	if (begun.obj < 0 || (ev->name2 && begun.obj2 < 0) ||
	    ((begun.prim == J_COPY || begun.prim == J_RENAME) &&
	     (begun.obj2 < 0 || begun.obj2 == begun.obj)))
		return contradiction(j, "operation %u: no such file", ev->op);
	rc = room_for_op(j, &begun);
	if (rc)
		return rc;
	*op = begun;
	j->last_op = ev->op > j->last_op ? ev->op : j->last_op;
	name_in_doubt(j, op, 1);
	return 0;
}

/* fsync and syncfs promise that the file can be found again; of fdatasync and msync nobody is
 * sure. */
static bool synced_name(const struct judge *j, int obj)
{
	for (uint32_t n = 1; n <= j->last_op; n++) {
		const struct j_op *op = &j->ops[n];

		if (op->known && op->verb == J_FAULT && op->ok && op->returned && !op->len_bytes &&
		    ((op->prim == J_SYNC && op->obj == obj && !strcmp(op->fault, "fsync")) ||
		     op->prim == J_SYNCFS))
			return true;
	}
	return false;
}

/* A view may not exist (EINVAL, ENODATA); but no file is gone after an orderly mount. */
static void look_failed(struct judge *j, const struct j_look *l, const struct j_event *ev)
{
	const struct j_object *o;

	if (ev->ok || l->obj < 0)
		return;
	o = &j->objects[l->obj];
	if (name_unsure(j, o))
		return;
	if (!strcmp(ev->errno_name, "ENOENT") && j->crashed && synced_name(j, l->obj))
		judge_violation(j, "not-durable", "look %u: %s is gone, and was synced", ev->op,
				o->name);
	else if (!strcmp(ev->errno_name, "ENOENT") ? j->remounted && !j->crashed :
						     !strcmp(ev->errno_name, "EIO"))
		judge_violation(j, "unreadable", "look %u: %s of %s", ev->op, ev->errno_name,
				o->name);
}

static int take_ret(struct judge *j, const struct j_event *ev)
{
	struct j_op *op = &j->ops[ev->op < J_OPS_MAX ? ev->op : 0];
	struct j_look *l = op->known ? NULL : look_find(j, ev->op);

	if (l) {
		if (l->ret_ns)
			return contradiction(j, "operation %u returns twice", ev->op);
		l->ret_ns = ev->t_ns ? ev->t_ns : 1;
		l->ret_at = ++j->nr_events;
		look_failed(j, l, ev);
		return 0;
	}
	if (!op->known)
		return contradiction(j, "operation %u returns and never began", ev->op);
	if (op->returned)
		return contradiction(j, "operation %u returns twice", ev->op);
	if (j_is_write(op) && ev->ok && ev->value > op->len_bytes)
		return contradiction(j, "operation %u wrote more than it was asked to", ev->op);
	op->returned = true;
	op->ok = ev->ok;
	op->value = ev->value;
	op->ret_ns = ev->t_ns;
	op->ret_at = ++j->nr_events;
	snprintf(op->errno_name, sizeof(op->errno_name), "%s", ev->ok ? "" : ev->errno_name);
	snprintf(op->detail, sizeof(op->detail), "%s", ev->text);
	if (j_changes_data(op))
		j->last_change_at = op->ret_at;
	if (op->verb != J_FAULT || !op->ok)
		return 0;
	if (op->prim == J_SYNCFS) /* fdatasync and msync promise nothing of names */
		for (int i = 0; i < j->nr_objects; i++)
			j->objects[i].path_uncertain = false;
	if (op->prim == J_UNLINK || op->prim == J_RENAME) {
		name_in_doubt(j, op, -1);
		apply_name(j, op);
	}
	if (op->prim == J_CRASH)
		j->crashed = true;
	return 0;
}

/* One line may not hold all that a look saw. */
static int see_runs(struct judge *j, struct j_look *l, const struct j_event *ev)
{
	uint64_t at = ev->off_bytes / CELL, end = at;
	const struct j_object *o = &j->objects[l->obj];
	struct j_obs *obs;

	if (l->nr_obs && l->obs[l->nr_obs - 1].first + l->obs[l->nr_obs - 1].nr > at)
		return contradiction(j, "look %u saw a cell twice", l->op);
	for (int i = 0; i < ev->nr_seen; i++)
		if (ev->seen[i].count > J_FILE_CELLS_MAX ||
		    (end += ev->seen[i].count) > J_FILE_CELLS_MAX)
			return contradiction(j, "look %u sees past what can be judged", l->op);
	obs = realloc(l->obs, (l->nr_obs + (uint32_t)ev->nr_seen + 1) * sizeof(*obs));
	if (!obs)
		return contradiction(j, "out of memory");
	l->obs = obs;
	for (int i = 0; i < ev->nr_seen; i++) {
		const struct j_seen *s = &ev->seen[i];
		struct j_obs *b = &obs[l->nr_obs];

		*b = (struct j_obs){ .kind = s->kind, .first = (uint32_t)at,
				     .nr = (uint32_t)s->count };
		if (s->kind == SEEN_CELL)
			b->value = s->id ? pf_value_make(s->op, s->id, s->cell) :
					   pf_value_make(s->op, o->id, (uint32_t)at);
		else if (s->kind != SEEN_ZERO)
			b->text = strdup(s->text);
		at += s->count;
		l->nr_obs++;
	}
	if (at > j->objects[l->obj].cells_seen)
		j->objects[l->obj].cells_seen = (uint32_t)at;
	return 0;
}

static int take_see(struct judge *j, const struct j_event *ev)
{
	struct j_look *l = look_find(j, ev->op);

	if (!l || l->ret_ns)
		return contradiction(j, "operation %u sees, and is not under way", ev->op);
	if (l->obj < 0)
		return j->crashed || j->names_in_doubt ?
			       0 :
			       contradiction(j, "look at %s: no such file", ev->name);
	if (!name_unsure(j, &j->objects[l->obj])) {
		if (see_runs(j, l, ev))
			return -EINVAL;
		l->judged = true;
		l->has_size = true;
		l->size_bytes = ev->size_bytes;
	}
	if (ev->len_bytes || ev->size_bytes < CELL)
		j->last_seen_at = j->nr_events + 1;
	return 0;
}

static int note_op(struct judge *j, const struct j_event *ev)
{
	struct j_op *op = &j->ops[ev->op < J_OPS_MAX ? ev->op : 0];
	struct j_look *l = ev->kind == EV_PINNED && !op->known ? look_find(j, ev->op) : NULL;

	if (l) {
		l->pinned = *ev->word;
		return 0;
	}
	if (ev->kind == EV_EFFECT) {
		op->effect = *ev->word;
		op->effect_best_effort = ev->best_effort;
		snprintf(op->evidence, sizeof(op->evidence), "%s", ev->text);
	} else if (ev->kind == EV_PINNED) {
		op->pinned = *ev->word;
		snprintf(op->evidence, sizeof(op->evidence), "%s", ev->text);
	} else if (ev->kind == EV_BLOCKED) {
		op->blocked_ns = ev->t_ns;
		snprintf(op->blocked_in, sizeof(op->blocked_in), "%s", ev->text);
	}
	return 0;
}

static int take_mount(struct judge *j, bool crashed)
{
	j->remounted = true;
	if (!crashed)
		return 0;
	if (j->crash_at)
		return contradiction(j, "a second crash");
	j->crashed = true;
	j->crash_at = ++j->nr_events;
	return 0;
}

int judge_event(struct judge *j, const struct j_event *ev)
{
	switch (ev->kind) {
	case EV_CASE:
		j->case_nr = ev->case_nr;
		j->run = ev->run;
		j->class = ev->class;
		snprintf(j->channel, sizeof(j->channel), "%s", ev->channel);
		snprintf(j->title, sizeof(j->title), "%s", ev->title);
		return 0;
	case EV_FILE:
		return take_file(j, ev);
	case EV_INV:
		return take_inv(j, ev);
	case EV_RET:
		return take_ret(j, ev);
	case EV_SEE:
		return take_see(j, ev);
	case EV_BLOCKED:
	case EV_EFFECT:
	case EV_PINNED:
		return note_op(j, ev);
	case EV_HUNG:
		j->hung = true;
		snprintf(j->hung_where, sizeof(j->hung_where), "op %u in %s", ev->op, ev->text);
		return 0;
	case EV_REMOUNT:
	case EV_CRASHED:
		return take_mount(j, ev->kind == EV_CRASHED);
	case EV_END:
		j->ended = true;
		return 0;
	case EV_NOTE:
	case EV_LAST:
		return 0;
	}
	return 0;
}

struct judge *judge_new(void)
{
	struct judge *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->page_cells = 4096 / CELL;
	j->cells_each = 1;
	return j;
}

void judge_free(struct judge *j)
{
	if (!j)
		return;
	for (uint32_t i = 0; i < j->nr_looks; i++) {
		for (uint32_t k = 0; k < j->looks[i].nr_obs; k++)
			free(j->looks[i].obs[k].text);
		free(j->looks[i].obs);
	}
	free(j->looks);
	free(j);
}
