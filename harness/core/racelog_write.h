/* SPDX-License-Identifier: GPL-2.0 */
/*
 * racelog_write.h - writing the history of a race (racelog.h) while it runs.
 *
 *	pf_racelog_begin(&log, &header)
 *	each thread:	pf_race_begin(&buf, ...); the operation; pf_race_end(&buf, result)
 *			or, for a look: pf_race_returned(), pf_race_run()..., pf_race_commit()
 *	at the end:	pf_race_close(&buf) for every thread
 *
 * A thread writes into a buffer of its own. It takes the one lock only to hand over a full or an
 * old buffer, after an operation has returned and before the next one begins.
 *
 * Somebody else may close the buffer of a thread that is still inside an operation: the operation
 * is then recorded as one that never returned, and whatever its thread does later is refused.
 */
#ifndef PF_RACELOG_WRITE_H
#define PF_RACELOG_WRITE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "racelog.h"

#define PF_RACE_FULL_BYTES (64u << 10) /* a buffer with so much in it is handed over */
#define PF_RACE_OLD_NS 20000000ull     /* and one whose first record is so old */
/* The most that one look can add: runs of single cells. It fits a chunk beside a full buffer. */
#define PF_RACE_LOOK_CELLS_MAX 16384u

struct pf_racelog {
	int fds[2]; /* where the stream goes, borrowed; -1: nowhere */
	pthread_mutex_t lock;
	int error;	      /* the first of write(2), as -errno; nothing is written after it */
	uint64_t bytes;	      /* of the stream so far */
	uint64_t second_max_bytes; /* fds[1] gets whole chunks up to here; 0: no limit */
};

/* What buf->open says besides "an operation is under way since then (ns)". */
#define PF_RACE_IDLE 0u
#define PF_RACE_BUSY 1u	  /* its record is being completed */
#define PF_RACE_CLOSED 2u /* by pf_race_close */

struct pf_race_buf {
	_Atomic uint64_t open;
	struct pf_racelog *log;
	uint32_t thread;
	uint32_t used, nr_records; /* of whole records */
	uint32_t nr_runs;	   /* of the record under way */
	uint64_t oldest_ns;
	uint8_t *bytes;
};

/*
 * Write @header (magic, header_bytes and sum are filled in here) to @fd, and to @second_fd where
 * that is not -1. 0 or -errno.
 */
int pf_racelog_begin(struct pf_racelog *log, int fd, int second_fd, struct pf_race_header *header);

/* Make the buffer of @thread; allocates. 0 or -ENOMEM. */
int pf_race_open(struct pf_race_buf *b, struct pf_racelog *log, uint32_t thread);
void pf_race_free(struct pf_race_buf *b);

/*
 * Begin an operation: @rec without its times, result and runs. The clock is read last. False when
 * the buffer was closed: the thread must stop.
 */
bool pf_race_begin(struct pf_race_buf *b, const struct pf_race_rec *rec);

/*
 * It returned; the clock is read first, once others see what was stored. False when the buffer was
 * closed meanwhile: the thread must stop and not touch the buffer again.
 */
bool pf_race_returned(struct pf_race_buf *b, int32_t result, uint32_t size_cells);

/* Add a run to the look that returned. At most PF_RACE_LOOK_CELLS_MAX of them. */
void pf_race_run(struct pf_race_buf *b, enum pf_run_kind kind, pf_value value, uint32_t count);

/* The record is complete; may hand over the buffer. 0 or the log's error. */
int pf_race_commit(struct pf_race_buf *b);

/* returned and commit in one. 0, -ECANCELED when the buffer was closed, or the log's error. */
int pf_race_end(struct pf_race_buf *b, int32_t result);

/*
 * The last chunk of @b's thread, from any thread: what it holds, and the operation it is in as one
 * that never returned. -EBUSY while its thread is completing a record: try again. 0 (also when it
 * was closed before) or the log's error.
 */
int pf_race_close(struct pf_race_buf *b);

#endif
