/* SPDX-License-Identifier: GPL-2.0 */
/*
 * held_io.h - an I/O in a thread of its own, so that whoever began it can go on while it is held.
 *
 * The first I/O makes the threads, and they wait for the next ones: to make and end one costs more
 * than what it does, and with its stack goes the TLB.
 */
#ifndef PF_HELD_IO_H
#define PF_HELD_IO_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../harness/core/channel.h"
#include "held_source.h"
#include "write_slot.h"

/* Owned by the channel, in memory that outlives the thread (see held_io_lost). */
struct held_io {
	/* The I/O itself: returns bytes or -errno. Runs in the thread, with all signals blocked. */
	long (*run)(struct held_io *h);
	/* With part of the pages pinned, can this thread come to no more? NULL: cannot be told. */
	bool (*settled)(const struct held_io *h);
	void *arg;	 /* the channel's */
	unsigned int nr; /* which of the channel's slots */
	void *dst;
	const void *data;
	size_t len_bytes;
	uint64_t pos_bytes; /* in the source file */

	/* held_io.c's */
	pthread_t thread;
	bool has_thread;
	sem_t go;     /* there is something to run, or to end for */
	bool over;    /* it is to end */
	int done_fd;  /* eventfd: readable once run returned */
	_Atomic int tid; /* of the I/O under way; 0: none is */
	long result;
	bool running; /* begun and not finished */
};

/* Make @h startable. 0 or -errno. */
int held_io_init(struct held_io *h);
/*
 * End its thread and release it; accepts one never initialised with done_fd -1. Not while it is
 * running.
 */
void held_io_exit(struct held_io *h);
/*
 * Make the threads of @nr that have none. All at once: an I/O that sleeps in a page fault has the
 * mmap lock of this process, which the stack of a new thread needs. 0 or -errno.
 */
int held_io_threads(struct held_io *io, unsigned int nr);
/* Run h->run, which is what @io asks for, in its thread, which is there. */
void held_io_start(struct held_io *h, struct pf_io *io);
/*
 * Wait for run to return and give its result. -ETIMEDOUT after @deadline_ms: h->running stays true
 * and this may be called again.
 */
long held_io_finish(struct held_io *h, unsigned int deadline_ms);

/* Is thread @tid of this process asleep in a kernel function whose name begins with @prefix? */
bool held_io_asleep_in(int tid, const char *prefix);

/*
 * The whole of hold, land, write and close for channels that read from a held source; used by
 * dio-read and uring-read. Allocated in open; nothing expensive happens before the first I/O.
 */
struct held_reader {
	pthread_mutex_t lock;	 /* while the first I/O makes what all use */
	struct held_source *src; /* NULL until the first I/O */
	struct held_io io[HELD_SLOTS]; /* those of plain writes run in the caller's thread */
	atomic_uint writes; /* plain ones under way */
	struct pf_io *out[PF_HOLDS_MAX]; /* what each hold is for; NULL: nobody waits for it */
	/* Called once, after the source is there: what else the channel needs. NULL: nothing. */
	int (*ready)(struct held_reader *r, struct pf_channel *ch);
	void *priv; /* the channel's */
};

int held_reader_init(struct held_reader *r, long (*run)(struct held_io *h),
		     bool (*settled)(const struct held_io *h));
long held_reader_write(struct held_reader *r, struct pf_channel *ch, struct pf_io *io);
int held_reader_hold(struct held_reader *r, struct pf_channel *ch, struct pf_io *io);
long held_reader_land(struct held_reader *r, struct pf_channel *ch, struct pf_io *io);
/* Land everything that is held. */
void held_reader_land_all(struct held_reader *r, struct pf_channel *ch);
/*
 * Land what is held and end the source. False: a thread is still in the kernel; the memory of @r
 * and of what its run function uses must be leaked, because that thread will come back to it.
 */
bool held_reader_close(struct held_reader *r, struct pf_channel *ch);

#endif
