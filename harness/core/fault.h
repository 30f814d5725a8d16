/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fault.h - an operation that changes a file's layout, cache or state under a channel's feet.
 * One file in workloads/faults each, registered with PF_FAULT(ops).
 *
 * A fault says what it does to the data in terms the judge knows (enum pf_prim), so that a new
 * fault needs no change to the judge, and shows afterwards that it really happened (effect).
 */
#ifndef PF_FAULT_H
#define PF_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "file.h"

/* What the fault means for the content of files. Arguments come from the call. */
enum pf_prim {
	PF_PRIM_NONE,	  /* the data must not change */
	PF_PRIM_ZERO,	  /* file off len: reads as zero; size unchanged */
	PF_PRIM_RESIZE,	  /* file size: truncate; cells past the new size are gone, new ones zero */
	PF_PRIM_COLLAPSE, /* file off len: removed, the tail moves down, size shrinks by len */
	PF_PRIM_INSERT,	  /* file off len: a hole appears at off, the tail moves up, size grows */
	PF_PRIM_COPY,	  /* file -> file2: file2 becomes a snapshot of file (created if absent) */
	PF_PRIM_SYNC,	  /* file: what it holds must survive a crash */
	PF_PRIM_SYNCFS,	  /* all files of the case: the same */
	PF_PRIM_UNLINK,	  /* file: its name is gone, the object lives on while open */
	PF_PRIM_RENAME,	  /* file -> file2: file's object takes file2's name; the other loses it */
	PF_PRIM_CRASH,	  /* what was not synced may be gone; the filesystem is dead till remount */
};

/* The arguments of a fault step, in this order: */
enum pf_args {
	PF_ARGS_FILE,	      /* name */
	PF_ARGS_FILE_SIZE,    /* name size */
	PF_ARGS_FILE_RANGE,   /* name off len */
	PF_ARGS_FILE_FILE,    /* name name */
};

enum pf_effect {
	PF_EFFECT_SHOWN,   /* it happened: evidence says how that was seen */
	PF_EFFECT_NONE,	   /* it returned success, changed nothing (evidence: what was looked at) */
	PF_EFFECT_UNKNOWN, /* it cannot be told from here */
};

enum pf_fault_flags {
	PF_FAULT_BEST_EFFORT = 1, /* the kernel may decline silently (evict, migrate): with a pin
				     shown, PF_EFFECT_NONE means the pin held it off */
	PF_FAULT_EXCLUSIVE = 2,	  /* touches the whole filesystem: run it without neighbours, and
				     mount afresh afterwards */
	PF_FAULT_SELFTEST = 4,	  /* breaks things on purpose to test the harness; not by default */
	PF_FAULT_GUEST_ONLY = 8,  /* never on the machine the harness itself runs on */
	PF_FAULT_LAST = 16,	  /* nothing can be looked at before the next mount */
	PF_FAULT_OPENS = 32,	  /* (freeze) later steps may sleep until a fault with CLOSES ran */
	PF_FAULT_CLOSES = 64,	  /* (thaw) */
	PF_FAULT_UNSEEN = 512,	  /* (persist) a sync that is no system call: it stamps no file */
	PF_FAULT_REWRITES = 256,  /* writes what it has read: not beside other writers (no races) */
	PF_FAULT_NO_RACE = 1024,  /* it gives up beside writers, or leaves a child behind */
	PF_FAULT_POWER = 128,	  /* ends in a power cut: run never returns, the steps after it are
				     repeated until the runner kills the machine */
};

/* What a fault may ask the runner for. 0 or -errno. */
enum pf_ask {
	PF_ASK_POWER,  /* kill the machine: does not return */
	PF_ASK_FORGET, /* keep a copy of its disks, and bring that back at the next power cut */
};

struct pf_fault_call {
	struct pf_file *file;
	struct pf_file *file2; /* PF_ARGS_FILE_FILE; fd -1 if it does not exist yet */
	uint64_t off_bytes;    /* PF_ARGS_FILE_RANGE */
	uint64_t len_bytes;
	uint64_t size_bytes; /* PF_ARGS_FILE_SIZE */
	uint64_t before[4];  /* the fault's own notes from prepare to effect */
	bool resizing;	     /* a step that changes the size of @file is still under way */

	/* Ask the runner, which owns the machine, for what only it can do. NULL outside a case, and
	 * where the machine is not ours to break. Called in run only. */
	int (*ask)(struct pf_fault_call *c, enum pf_ask what);
	void *ask_arg; /* the executor's */
	const char *why;     /* with EOPNOTSUPP: more than the errno says; a constant, or NULL */
};

struct pf_fault_ops {
	const char *name;    /* the file's name with '-' for '_' */
	const char *summary; /* one line for --list */
	enum pf_prim prim;
	enum pf_args args;
	unsigned int flags;

	/* Note the state before (extents, residency); NULL: nothing. Not timed. 0 or -errno;
	 * -EOPNOTSUPP where the fault could do nothing here is a skip. */
	int (*prepare)(struct pf_fault_call *c);
	/* The system call or calls, nothing else: this is what is timed and may block.
	 * 0 or -errno. Runs in a thread of its own. Required. */
	int (*run)(struct pf_fault_call *c);
	/* After run returned 0: did it happen? One line of evidence in @evidence. NULL: UNKNOWN.
	 * Must not disturb the page cache (FIEMAP without FIEMAP_FLAG_SYNC, fstat, mincore). */
	enum pf_effect (*effect)(struct pf_fault_call *c, char *evidence, size_t evidence_bytes);
	/* Is @err (> 0) this filesystem saying it has no such operation (a skip), rather than a
	 * refusal of this call (denied)? NULL: EOPNOTSUPP, ENOTTY and ENOSYS. */
	bool (*unsupported)(int err);
};

/* Called by PF_FAULT before main; refuses incomplete ops with a message and exit 2. */
void pf_fault_register(const struct pf_fault_ops *ops);
/* Registered faults sorted by name; @nr receives their number. */
const struct pf_fault_ops *const *pf_faults(size_t *nr);
const struct pf_fault_ops *pf_fault_find(const char *name);

#define PF_FAULT(ops)                                                                              \
	__attribute__((constructor)) static void pf_fault_register_##ops(void)                    \
	{                                                                                          \
		pf_fault_register(&(ops));                                                         \
	}                                                                                          \
	struct pf_require_semicolon

/* Shared by several faults (core/extent.c). */

/*
 * Extents overlapping file->fd [off, off+len), from FIEMAP without sync; a "hole" is what is
 * covered by none. Writes counts: @mapped_bytes, @unwritten_bytes, @shared_bytes, @delalloc_bytes
 * (each may be NULL) and @first_physical (0 if none). 0, or -errno (EOPNOTSUPP on tmpfs).
 */
struct pf_extents {
	uint64_t mapped_bytes, unwritten_bytes, shared_bytes, delalloc_bytes, first_physical;
};
int pf_extents(int fd, uint64_t off_bytes, uint64_t len_bytes, struct pf_extents *out);
/* Bytes of [off, off+len) that SEEK_DATA/SEEK_HOLE call data; works on tmpfs. -errno on error. */
long pf_data_bytes(int fd, uint64_t off_bytes, uint64_t len_bytes);

#endif
