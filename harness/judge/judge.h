/* SPDX-License-Identifier: GPL-2.0 */
/*
 * judge.h - from a history to a resolution and a verdict.
 *
 *	read.c		lines -> events, refusing what is not a history by its line
 *	model.c		what each cell may hold, event by event
 *	verdict.c	what came of it: resolution, kinds, evidence
 *
 * The model: every cell is a register. It keeps the set of values the cell may hold in some order
 * of the operations that respects real time; an observation that is in no such order is a
 * violation. Operations under way may take effect at any moment between invocation and return;
 * those that failed or never returned may or may not have. Cells are followed one by one: a
 * snapshot (clone) or shift that overlaps a write in time is taken to see any value the source may
 * have had meanwhile, which can miss a contradiction between cells and never invents one.
 */
#ifndef PF_JUDGE_H
#define PF_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define J_OBJECTS_MAX 16
#define J_OPS_MAX 2048
#define J_PENDING_MAX 32
#define J_LOOKS_MAX 64
#define J_NAME_BYTES 16
#define J_FILE_CELLS_MAX (1u << 20) /* files up to 64 MiB */

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

enum j_class { J_PTE, J_SHORT_PIN, J_LONG_PIN, J_FAULTING };

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
	char *line;
	size_t line_bytes;
	struct j_seen *seen;
	int seen_max;
	char err[256]; /* "line N: what is wrong" */
};

/* 1 with @ev filled in; 0 at the end; -EINVAL with r->err; -ENOMEM. */
int j_read(struct j_reader *r, struct j_event *ev);
void j_reader_free(struct j_reader *r);

struct j_value {
	uint32_t op; /* 0: zero */
	uint32_t id, cell;
};

struct j_op {
	enum j_verb verb;
	enum j_prim prim;
	int obj, obj2; /* -1: none */
	char fault[24];
	uint64_t off_bytes, len_bytes, size_bytes;
	uint64_t inv_ns, ret_ns, blocked_ns;
	char blocked_in[64];
	bool known, returned, ok;
	uint64_t value;
	char errno_name[16], detail[100];
	int bit;	  /* while pending, else -1 */
	bool overlapped;  /* something else was under way in its interval */
	uint64_t size_lo, size_hi; /* writes: the sizes the file may have had meanwhile */
	char effect;	  /* 's' shown, 'n' none, 'u' unknown, 0 none given */
	bool effect_best_effort;
	char pinned;	  /* 'y', 'n', 'u', 0 */
	char evidence[160];
	struct j_set *before; /* of a pending move: what its source cells held without it */
	uint32_t nr_before;
	uint64_t cells_wanted, cells_gone; /* of a write: observed at the end of the case */
};

#define KINDS_MAX 16
#define EVIDENCE_MAX 12

struct judge {
	uint32_t case_nr, run;
	enum j_class class;
	char channel[64], title[128];
	struct j_op ops[J_OPS_MAX];
	uint32_t last_op;
	struct j_object *objects;
	int nr_objects, names_in_doubt;
	uint32_t pending[J_PENDING_MAX]; /* op by bit, 0: free */
	uint64_t events; /* invocations and returns so far, looks apart */
	struct j_object *looked_at[J_LOOKS_MAX]; /* by look OP % J_LOOKS_MAX; NULL: no such file */
	uint64_t look_events[J_LOOKS_MAX]; /* events when look OP % J_LOOKS_MAX began */
	uint64_t last_change_events, looked_at_events; /* events at the last return of a change, look */
	uint64_t checked_cells, checked_sizes, undecided_cells;
	bool ended, hung, crashed, remounted;
	char hung_where[200];
	char kinds[KINDS_MAX][24];
	int nr_kinds;
	char evidence[EVIDENCE_MAX][300];
	int nr_evidence;
	char err[256]; /* a history that contradicts itself */
};

struct judge *judge_new(void);
void judge_free(struct judge *j);
/* Take one event. 0, or -EINVAL with j->err when the history contradicts itself. */
int judge_event(struct judge *j, const struct j_event *ev);
/* After the last event: what became of each write. */
void judge_finish(struct judge *j);
/* Print the answer (harness/README.md) to @out. */
void judge_answer(const struct judge *j, FILE *out);

/* verdict.c: note a violation; @fmt is its evidence. */
__attribute__((format(printf, 3, 4))) void judge_violation(struct judge *j, const char *kind,
							     const char *fmt, ...);

#endif
