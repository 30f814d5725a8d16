/* SPDX-License-Identifier: GPL-2.0 */
/*
 * seq.h - a sequence: a small program in text that names files and steps. The grammar stands in
 * harness/README.md; fault names come from the registry, so a new fault is a new verb.
 */
#ifndef PF_SEQ_H
#define PF_SEQ_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"

#define PF_SEQ_FILES_MAX 8
#define PF_SEQ_STEPS_MAX 256
#define PF_SEQ_HOLDS_MAX 4
#define PF_SEQ_HOLD_READ_BYTES_MAX (1u << 20) /* of a held look: one I/O */
#define PF_NAME_BYTES 16

enum pf_verb {
	PF_VERB_FILE,
	PF_VERB_PIN,
	PF_VERB_UNPIN,
	PF_VERB_HOLD,
	PF_VERB_HOLD_READ, /* a look through GUP; not the channel's */
	PF_VERB_LAND,
	PF_VERB_WRITE,	/* through the channel */
	PF_VERB_STORE,	/* CPU store through the mapping */
	PF_VERB_PWRITE, /* write(2) */
	PF_VERB_READ,
	PF_VERB_LOOK,
	PF_VERB_FAULT,
};

enum pf_state { PF_STATE_WRITTEN, PF_STATE_HOLE, PF_STATE_UNWRITTEN };

/* Through those below PF_VIEWS_NR races look, and every file is looked at. */
enum pf_view {
	PF_VIEW_MMAP,
	PF_VIEW_BUFFERED,
	PF_VIEW_DIRECT,
	PF_VIEWS_NR,
	PF_VIEW_GUP = PF_VIEWS_NR, /* the mapping through a read pin: where a step says so */
	PF_VIEW_NAMES_NR,
};

struct pf_step {
	int line;
	enum pf_verb verb;
	int file;  /* index into pf_seq.files, -1 if the step names none */
	int file2; /* PF_ARGS_FILE_FILE */
	int hold;  /* HOLD, HOLD_READ, LAND: 0..PF_SEQ_HOLDS_MAX-1 */
	uint64_t off_bytes, len_bytes, size_bytes;
	enum pf_state state;
	enum pf_view view;
	const struct pf_fault_ops *fault;
};

struct pf_seq {
	char title[96]; /* the first comment line */
	char files[PF_SEQ_FILES_MAX][PF_NAME_BYTES];
	uint64_t file_bytes[PF_SEQ_FILES_MAX]; /* as declared; 0 for files made by a step */
	int nr_files;
	struct pf_step steps[PF_SEQ_STEPS_MAX];
	int nr_steps;
};

/*
 * Parse @text. 0, or -EINVAL with "LINE: what is wrong" in @err (never longer than @err_bytes).
 * Reads nothing but @text and the fault registry; allocates nothing.
 */
int pf_seq_parse(struct pf_seq *seq, const char *text, char *err, size_t err_bytes);

/* "mmap", "buffered", "direct", "gup". */
const char *pf_view_name(enum pf_view view);
/* "written", "hole", "unwritten". */
const char *pf_state_name(enum pf_state state);

#endif
