/* SPDX-License-Identifier: GPL-2.0 */
/*
 * channel.h - a way for bytes to reach the pages of a mapping. One file in workloads/channels each.
 *
 * A channel file defines one struct pf_channel_ops and registers it:
 *
 *	static const struct pf_channel_ops store_ops = {
 *		.name = "store",
 *		.summary = "CPU store through the page table",
 *		.class = PF_CLASS_PTE,
 *		.hold_kind = PF_HOLD_TRIVIAL,
 *		.write = store_write,
 *	};
 *	PF_CHANNEL(store_ops);
 *
 * Channels never judge and never touch the history; they return what the kernel said.
 * All calls come from one process, and write, hold and land from other threads than open. One call
 * at a time, but that a write or a hold may sleep, in the page fault of a frozen filesystem: others
 * are called meanwhile, also of the same kind. So what one of them uses is its own until it comes
 * back, and what the first makes is made under a lock. A fault may sleep with the mmap lock of this
 * process held: memory is allocated in open and pin, or else before the first write goes anywhere.
 *
 * Errors: 0 (or a byte count) on success, -errno captured at the failing call. Where errno says too
 * little (a work completion status, SIGBUS), pf_io.detail says the rest in a word or two.
 */
#ifndef PF_CHANNEL_H
#define PF_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "file.h"

enum pf_class {
	PF_CLASS_PTE,	    /* through the page table: the control group */
	PF_CLASS_SHORT_PIN, /* GUP for the length of one I/O */
	PF_CLASS_LONG_PIN,  /* FOLL_LONGTERM */
	PF_CLASS_FAULTING,  /* no pin: page faults through MMU notifiers */
	PF_CLASS_SYSCALL,   /* write(2): not through the mapping; a control too */
};

enum pf_hold_kind {
	PF_HOLD_NONE,	 /* a write of this channel cannot be split: sequences with hold skip it */
	PF_HOLD_TRIVIAL, /* nothing is in flight after hold; all of the write is in land (stores,
			    long pins, faulting: the pin, if any, is the registration) */
	PF_HOLD_INFLIGHT, /* after hold the write has begun: pages pinned, data not there yet */
};

/* One channel write. Owned by the caller; valid until land or write returned. */
struct pf_io {
	struct pf_file *file;
	uint64_t off_bytes; /* where in the file (and its mapping); a multiple of 64 */
	size_t len_bytes;   /* a multiple of 64, at most PF_IO_MAX_BYTES */
	const void *data;   /* what to write: stamped cells in anonymous memory, borrowed */
	void *into;	    /* of a read that is held: where what was read goes, borrowed */
	void *priv;	    /* the channel's, between hold and land */
	/* Of the channel: the thread that does it (0: it has not begun). NULL: who called. */
	const _Atomic int *tid;
	/* Of the channel, with ETIMEDOUT from hold or land: it is in the kernel still, and may yet
	 * write. Land again to wait for it. */
	bool out;
	char detail[96];    /* more about an error, "" if errno says all */
};

#define PF_IO_MAX_BYTES (4u << 20)
#define PF_HOLDS_MAX 4 /* holds in flight at once per channel */
#define PF_WRITES_MAX 8 /* and plain writes that have not come back */

struct pf_channel_ops;

/* An open channel: one per case. */
struct pf_channel {
	const struct pf_channel_ops *ops;
	const char *variant;	/* one of ops->variants, "" for the plain form */
	const char *scratch_dir; /* a directory outside the filesystem under test (guest: tmpfs) */
	unsigned int deadline_ms; /* for every wait inside, but in a plain write's call */
	bool holds; /* a hold may come after writes that sleep: what it maps is made in open */
	void *priv;
	char detail[96]; /* more about an error of open or pin */
};

struct pf_channel_ops {
	const char *name;    /* the file's name with '-' for '_' */
	const char *summary; /* one line for --list */
	enum pf_class class;
	enum pf_hold_kind hold_kind;
	int brief; /* close kin of another channel: the default run gives it the short list of
		    * sequences (those that say "variants: yes"), as it does variants */
	const char *const *variants; /* NULL, or names ending with NULL; the first is "" (plain) */

	/* Can this variant run on this machine at all? 0, or -errno with one line in @why. Called
	 * once per agent; opens and closes what it needs. NULL: always. */
	int (*probe)(const char *variant, char *why, size_t why_bytes);
	/* Load libraries and lists that every open of a forked child will need; called once, in the
	 * agent's own process, after a probe succeeded in a child. Opens nothing. NULL: nothing. */
	void (*preload)(void);
	/* Acquire devices, threads and buffers. NULL: nothing to do. */
	int (*open)(struct pf_channel *ch);
	/* Attach to @f's mapping: registrations happen here. -errno is the kernel's refusal.
	 * May replace f->map. NULL: nothing to attach. At most 4 files per channel. */
	int (*pin)(struct pf_channel *ch, struct pf_file *f);
	/* Is @err (> 0) of pin this filesystem saying that it has no such thing (a skip), rather
	 * than a refusal? NULL: never. */
	bool (*unsupported)(int err);
	int (*unpin)(struct pf_channel *ch, struct pf_file *f);
	/* Write all of @io. Returns bytes written, or -errno. Required. */
	long (*write)(struct pf_channel *ch, struct pf_io *io);
	/* PF_HOLD_INFLIGHT only: begin @io and return 0 once its pages are pinned and the data is
	 * withheld; -errno if it could not be brought there (the I/O is then over, or io->out). */
	int (*hold)(struct pf_channel *ch, struct pf_io *io);
	/* Let a held @io finish. Returns bytes written, or -errno. */
	long (*land)(struct pf_channel *ch, struct pf_io *io);
	/* Release everything; accepts the half-open, lands what is still held. NULL: nothing. */
	void (*close)(struct pf_channel *ch);
};

/* Called by PF_CHANNEL before main; refuses incomplete ops with a message and exit 2. */
void pf_channel_register(const struct pf_channel_ops *ops);
/* Registered channels sorted by name; @nr receives their number. */
const struct pf_channel_ops *const *pf_channels(size_t *nr);
const struct pf_channel_ops *pf_channel_find(const char *name);

#define PF_CHANNEL(ops)                                                                            \
	__attribute__((constructor)) static void pf_channel_register_##ops(void)                  \
	{                                                                                          \
		pf_channel_register(&(ops));                                                       \
	}                                                                                          \
	struct pf_require_semicolon

#endif
