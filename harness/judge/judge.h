/* SPDX-License-Identifier: GPL-2.0 */
/*
 * judge.h - from a history to a resolution and a verdict.
 *
 *	read.c		lines -> events, refusing what is not a history by its line
 *	history.c	events -> operations, looks and their order
 *	coarse.c	one cell for many, where nothing tells them apart
 *	exact.c		every order of the operations that explains what was seen, or that there is
 *none states.c	what a cell, or cells that depend on each other, may hold explain.c	what a
 *contradiction is called, and the least that already contradicts verdict.c	what came of it:
 *resolution, kinds, evidence
 *
 * README.md beside this file says what the model is, why it is right, and where it ends. The judge
 * of races (race_judge.c) reads another format and keeps no history.
 */
#ifndef PF_JUDGE_H
#define PF_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../core/racelog.h" /* pf_value */

#define J_OBJECTS_MAX 16
#ifndef J_OPS_MAX /* the fuzzers make it small */
#define J_OPS_MAX 2048
#endif
#define J_PENDING_MAX 32
#define J_NAME_BYTES 16
#ifndef J_FILE_CELLS_MAX /* the fuzzers make it small */
#define J_FILE_CELLS_MAX (1u << 20) /* files up to 64 MiB */
#endif

enum j_event_kind {
	EV_CASE,
	EV_FILE,
	EV_INV,
	EV_SEE,
	EV_RET,
	EV_BLOCKED,
	EV_EFFECT,
	EV_PINNED,
	EV_HUNG,
	EV_REMOUNT,
	EV_CRASHED, /* mounted again after a crash */
	EV_NOTE,
	EV_END,
	EV_LAST, /* of the file */
};

enum j_verb {
	J_PIN,
	J_UNPIN,
	J_WRITE, /* through the channel */
	J_STORE,
	J_PWRITE,
	J_LOOK,
	J_FAULT,
};

enum j_prim {
	J_NONE,
	J_ZERO,
	J_RESIZE,
	J_COLLAPSE,
	J_INSERT,
	J_COPY,
	J_SYNC,
	J_SYNCFS,
	J_UNLINK,
	J_RENAME,
	J_CRASH,
};

enum j_class { J_PTE, J_SHORT_PIN, J_LONG_PIN, J_FAULTING, J_SYSCALL };

/* One run of equal cells as seen. */
enum j_seen_kind { SEEN_ZERO, SEEN_CELL, SEEN_FOREIGN, SEEN_TORN, SEEN_ERROR };
struct j_seen {
	enum j_seen_kind kind;
	uint32_t op, id; /* SEEN_CELL */
	uint32_t cell;	 /* SEEN_CELL: home offset / 64 */
	uint64_t count;
	const char *text; /* the value as written, for evidence; points into the line */
};

/* One parsed line. Strings point into the line and live until the next call. */
struct j_event {
	enum j_event_kind kind;
	uint32_t op;
	uint64_t t_ns;
	/* EV_CASE */
	uint32_t case_nr, run;
	const char *channel, *title;
	enum j_class class;
	/* EV_FILE, EV_INV, EV_SEE: the object, and a second one */
	const char *name, *name2;
	uint32_t id;
	uint64_t size_bytes, off_bytes, len_bytes;
	bool written; /* EV_FILE */
	enum j_verb verb;
	const char *fault;
	enum j_prim prim;
	const char *view;
	/* EV_RET */
	bool ok;
	uint64_t value;
	const char *errno_name;
	/* EV_EFFECT, EV_PINNED: first letter decides */
	const char *word;
	bool best_effort;
	const char *text;
	/* EV_SEE */
	struct j_seen *seen;
	int nr_seen;
};

struct j_reader {
	FILE *in;
	const char *path;
	unsigned int line_nr;
	uint64_t line_at, next_at; /* bytes */
	bool begun;		   /* the version's line was there */
	bool summed, ended;	   /* version 2; its last line was there */
	uint32_t sum;
	char *line;
	size_t line_bytes;
	struct j_seen *seen;
	int seen_max;
	char err[256]; /* "line N, byte M: what is wrong" */
};

/* 1 with @ev filled in; 0 at the end; -EINVAL with r->err; -ENOMEM. */
int j_read(struct j_reader *r, struct j_event *ev);
void j_reader_free(struct j_reader *r);

/* An operation that is not a look, by its number; and what was said about it. */
struct j_op {
	enum j_verb verb;
	enum j_prim prim;
	int obj, obj2; /* -1: none */
	char fault[24];
	uint64_t off_bytes, len_bytes, size_bytes;
	uint64_t inv_ns, ret_ns, blocked_ns;
	char blocked_in[64];
	bool known, returned, ok;
	bool channel; /* a write of the channel's */
	uint64_t value;
	uint32_t inv_at, ret_at; /* in the order of events */
	char errno_name[16], detail[100];
	char effect;	  /* 's' shown, 'n' none, 'u' unknown, 0 none given */
	bool effect_best_effort;
	char pinned;	  /* 'y', 'n', 'u', 0 */
	char evidence[160];
	uint64_t cells_gone; /* of a write: not overwritten, and nowhere at the end of the case */
};

/* What a look saw of consecutive cells. */
struct j_obs {
	enum j_seen_kind kind;
	uint32_t first, nr; /* cells */
	uint64_t value;	    /* pf_value of the first; its home goes on with each cell */
	char *text;	    /* torn, foreign, error: as written; owned */
};

struct j_look {
	uint32_t op; /* its number */
	int obj;     /* -1: no such file */
	bool judged; /* what it saw is to be explained */
	char pinned; /* of one that was held, as of an operation; 0: of another */
	bool has_size;
	bool after_mount;
	uint64_t size_bytes;
	uint64_t inv_ns, ret_ns;
	uint32_t inv_at, ret_at;
	char view[16];
	struct j_obs *obs; /* in the order of cells; owned */
	uint32_t nr_obs;
};

struct j_object {
	char name[J_NAME_BYTES];      /* in the history */
	char path_name[J_NAME_BYTES]; /* the name it has in its directory, "" if none */
	bool path_uncertain; /* renamed or unlinked, not synced since: a crash may undo it */
	int path_maybe;		      /* renames and unlinks that failed or did not return */
	uint32_t id;
	uint32_t made_at, made_by; /* event; 0: a hole */
	uint64_t size_bytes;
	uint32_t cells_seen; /* somebody saw as many */
	uint32_t cells_max;  /* it never has more; final after j_make_room */
};

#define KINDS_MAX 16
#define EVIDENCE_MAX 24

/* A history in memory, and what is found in it. */
struct judge {
	uint32_t case_nr, run;
	enum j_class class;
	char channel[64], title[128];
	uint32_t page_cells; /* 64: pages of 4096 bytes */
	uint32_t cells_each; /* 1; how many one stands for (coarse.c) */
	struct j_op ops[J_OPS_MAX];
	uint32_t last_op;
	struct j_look *looks;
	uint32_t nr_looks, looks_max;
	struct j_object objects[J_OBJECTS_MAX];
	int nr_objects, names_in_doubt;
	uint64_t inserted_cells; /* by all inserts together */
	bool copied;
	uint32_t nr_events;
	uint32_t crash_at; /* event after which only what was durable is left; 0: none */
	uint32_t last_change_at, last_seen_at;
	uint64_t checked_cells, checked_sizes, undecided_cells, relaxed;
	bool ended, hung, crashed, remounted;
	bool brief; /* what contradicts is said, and not the least that does */
	const char *prefix_of; /* why only the beginning could be read; NULL: all was */
	char hung_where[200];
	char kinds[KINDS_MAX][24];
	int nr_kinds;
	char evidence[EVIDENCE_MAX][400];
	int nr_evidence;
	char err[256]; /* a history that contradicts itself */
};

struct judge *judge_new(void);
void judge_free(struct judge *j);
/* history.c: take one event. 0, or -EINVAL with j->err when the history contradicts itself. */
int judge_event(struct judge *j, const struct j_event *ev);
/* After the last event: how long each file may ever have been (objects[].cells_max). 0 or
 * -EINVAL. */
int j_make_room(struct judge *j);
/* Then judge it. 0; -ENOMEM, -EINVAL with j->err. */
int judge_finish(struct judge *j);
/* Print the answer (harness/README.md) to @out. */
void judge_answer(const struct judge *j, FILE *out);

/* verdict.c: note a violation; @fmt is its evidence. */
__attribute__((format(printf, 3, 4))) void judge_violation(struct judge *j, const char *kind,
							     const char *fmt, ...);
/* One more line of evidence. */
__attribute__((format(printf, 2, 3))) void judge_evidence(struct judge *j, const char *fmt, ...);

/* history.c */
int j_find_object(const struct judge *j, const char *name);
static inline bool j_is_write(const struct j_op *op)
{
	return op->verb == J_WRITE || op->verb == J_STORE || op->verb == J_PWRITE;
}
/* Does the content of a cell come from another cell? */
static inline bool j_moves(const struct j_op *op)
{
	return op->verb == J_FAULT &&
	       (op->prim == J_COLLAPSE || op->prim == J_INSERT || op->prim == J_COPY);
}
static inline bool j_changes_data(const struct j_op *op)
{
	return j_is_write(op) ||
	       (op->verb == J_FAULT && op->prim >= J_ZERO && op->prim <= J_COPY);
}
/* May @op, if it happens, change @cell of object @obj? */
bool j_touches(const struct j_op *op, int obj, uint64_t cell);

#endif
