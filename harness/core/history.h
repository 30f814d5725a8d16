/* SPDX-License-Identifier: GPL-2.0 */
/*
 * history.h - every operation's invocation and completion with its result, in one clock.
 *
 * The writer. Lines are described in harness/README.md. They are buffered; whoever is about to do
 * something the kernel may not survive flushes first, so that what was begun is known outside. Not
 * before every operation, which costs; nor has the emulator taken a line when the write(2) to the
 * port returns: see pf_history_redirect() for lines that must be out before what they announce.
 */
#ifndef PF_HISTORY_H
#define PF_HISTORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PF_HISTORY_VERSION 1
#define PF_HISTORY_LINE_BYTES 16384

struct pf_history {
	int fd;		    /* where lines go, borrowed */
	const char *prefix; /* before each line; with a prefix the line is encoded as one token */
	uint32_t last_op;
	pthread_mutex_t lock;
	bool eager;	    /* write out every line at once */
	bool keep;	    /* write out nothing: the owner takes what is in buf */
	bool cut;	    /* kept, and there was more than buf holds */
	uint64_t add_ns;    /* to every time: what came before this machine's last boot */
	size_t used;
	char buf[1 << 16];
};

/* Start a history that writes to @fd. */
void pf_history_open(struct pf_history *h, int fd, const char *prefix);

/* Add one line (no newline). Any thread. A line longer than PF_HISTORY_LINE_BYTES is cut. */
__attribute__((format(printf, 2, 3))) void pf_history_line(struct pf_history *h, const char *fmt,
							     ...);

/*
 * Begin an operation: gives it the next number, takes the time, writes "inv OP T @fmt...". Returns
 * the number. Any thread.
 */
__attribute__((format(printf, 2, 3))) uint32_t pf_history_inv(struct pf_history *h,
								const char *fmt, ...);

/* The same for a number reserved earlier by pf_history_reserve. */
__attribute__((format(printf, 3, 4))) void pf_history_inv_as(struct pf_history *h, uint32_t op,
							       const char *fmt, ...);

/* Take an operation number whose invocation comes later. */
uint32_t pf_history_reserve(struct pf_history *h);

/*
 * End operation @op with @value >= 0 (ok) or -errno; @detail may be NULL or "". The time is taken
 * here, so call it right after the system call.
 */
void pf_history_ret(struct pf_history *h, uint32_t op, long value, const char *detail);

/*
 * From now on lines go to @fd with @prefix (which must outlive the history), and each is written
 * out at once, in one write(2): the machine may die at any moment, and others may write there as
 * well. What was buffered goes out before, where it belongs.
 */
void pf_history_redirect(struct pf_history *h, int fd, const char *prefix);

/* The time, as this history counts it. */
uint64_t pf_history_now_ns(const struct pf_history *h);

/* Write out what is buffered. */
void pf_history_flush(struct pf_history *h);

/* errno as its name ("EFAULT"), or "E<number>". */
const char *pf_errno_name(int err);

#endif
