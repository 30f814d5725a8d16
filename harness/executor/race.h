/* SPDX-License-Identifier: GPL-2.0 */
/*
 * race.h - threads of channel writes, stores, reads and faults on a few files, all at once.
 *
 * What keeps a race judgeable:
 * - every write is stamped with its operation's number, which is unique without being shared;
 * - what depends on a file's size (collapse, insert, resize, clone) holds that file's `sizing`
 *   flag, which is tried and never waited for: a clone of a shorter file onto a longer one, or a
 *   collapse whose file was truncated meanwhile, would leave content that no operation in the
 *   record explains;
 * - files never get smaller than half of their size at the start, and a write(2) past that half is
 *   of whole blocks, so that no file ends inside a page: a store to the rest of such a page
 *   succeeds and belongs to nobody;
 * - nothing waits: no operation of one thread needs another thread to return.
 */
#ifndef PF_RACE_H
#define PF_RACE_H

#include <pthread.h>
#include <stdatomic.h>

#include "../core/racelog_write.h"
#include "../core/rng.h"
#include "exec.h"

#define RACE_FAULTS_MAX 64
/*
 * So many write(2)s and faults that change content, of all threads, with EIO, EROFS or ESHUTDOWN
 * and not one success between them: the filesystem was shut down, or has aborted, and the race
 * ends. (A store to a page that is dirty already succeeds on a dead filesystem, as does a look at
 * one that is cached.)
 */
#define RACE_DENIED_MAX 200u
/*
 * race_check: UNCHECKED reads in looks and makes nothing of it; DECODED finds out what was read;
 * CHECKED records it as well. The first two are what the cost of the third is measured by.
 */
#define RACE_ERRNO_MAX 136 /* larger ones count as 0 */

struct race_params {
	uint32_t nr, run;
	const char *dir, *mnt, *scratch, *channel;
	const char *faults, *views;  /* comma lists, NULL: all suitable */
	const char *without;	     /* comma list: faults that are not chosen, NULL: none */
	const char *verbs;	     /* comma list: what is chosen at all, NULL: everything */
	const char *judge, *record;  /* NULL: none */
	uint64_t seed, size_bytes, ops, ms, record_max_bytes;
	unsigned int threads, files, deadline_ms;
	enum race_check { RACE_UNCHECKED, RACE_CHECKED, RACE_DECODED } check;
	bool guest;
};

struct race_fault {
	const struct pf_fault_ops *ops;
	uint32_t index; /* in the sorted registry */
	unsigned int weight;
	_Atomic int dropped; /* the errno by which this filesystem said it has none */
};

/* What may be chosen. Made before the race; only faults[].dropped changes in it. */
struct race_plan {
	unsigned int nr_threads, nr_files;
	uint64_t size_bytes;  /* of each file at the start; sizes stay from half to twice it */
	uint64_t block_bytes; /* ranges and sizes of faults are multiples of it; at least a page */
	enum pf_view views[PF_VIEWS_NR];
	unsigned int nr_views;
	struct race_fault faults[RACE_FAULTS_MAX];
	unsigned int nr_faults, weight_sum;
	unsigned int verb_weights[PF_RACE_VERBS_NR], verbs_sum;
};

/* One choice: a function of the plan and the thread's random numbers, of nothing else. */
struct race_choice {
	enum pf_race_verb verb;
	enum pf_view view;	/* LOOK */
	struct race_fault *fault; /* FAULT */
	unsigned int file, file2; /* file2: a fault's second file, else equal to file */
	uint64_t off_bytes, len_bytes;
	uint64_t size_bytes; /* PF_ARGS_FILE_SIZE */
	bool repin;	     /* WRITE through a pin: renew it first */
};

/* 0, or -EINVAL with one line in @why. @block_bytes is the filesystem's. */
int race_plan_init(struct race_plan *p, const struct race_params *params, uint64_t block_bytes,
		   char *why, size_t why_bytes);
/* Can a race bear this fault: nothing of the whole machine's, nothing that takes names away? */
bool race_bears(const struct pf_fault_ops *ops, unsigned int nr_files);
void race_choose(struct race_plan *p, struct pf_rng *r, struct race_choice *out);

struct race_counts {
	uint64_t done[PF_RACE_VERBS_NR]; /* returned without an error */
	uint64_t errors[PF_RACE_VERBS_NR][RACE_ERRNO_MAX];
	uint64_t fault_done[RACE_FAULTS_MAX], fault_failed[RACE_FAULTS_MAX]; /* as in the plan */
	uint64_t skipped;		/* choices that could not be made true just then */
	uint64_t repinned, repin_failed;
	uint64_t cells; /* decoded by looks */
};

struct race_file {
	struct pf_file f; /* the thread's own descriptor and mapping */
	int direct_fd;
	bool pinned;
};

struct race;

struct race_thread {
	struct race *race;
	unsigned int nr;
	pthread_t thread;
	bool started, joined;
	_Atomic int tid;
	_Atomic uint64_t since_ns; /* the operation in hand, coarse; 0: none */
	_Atomic bool done;	   /* out of the race */
	struct pf_rng rng;
	struct pf_race_buf buf;
	struct pf_channel channel;
	bool channel_open;
	struct race_file files[PF_RACE_FILES_MAX];
	uint8_t *data; /* stamped cells of a write */
	uint8_t *seen; /* what a look read; VIEW_BUFFER_BYTES each */
	uint64_t nr_ops;
	struct race_counts counts;
};

struct race {
	struct race_params params;
	struct race_plan plan;
	struct race_thread threads[PF_RACE_THREADS_MAX];
	_Atomic bool sizing[PF_RACE_FILES_MAX];
	_Atomic bool stop;
	_Atomic unsigned int denied; /* changes of content in a row that met a dead filesystem */
	_Atomic int dead;	     /* its errno, once it counts as dead; 0: it lives */
	pthread_barrier_t start;
	int done_fd;	  /* eventfd: a thread is through */
	bool recording;
	struct pf_racelog log;
	uint64_t quota; /* operations of one thread, UINT64_MAX: no end */
	int dirfd;
	bool dax; /* its files are */
};

/* race_thread.c */
/* The thread's own descriptors, mappings, buffers, channel. 0 or -errno with one line in @why. */
int race_thread_setup(struct race_thread *t, char *why, size_t why_bytes);
/* Attach the channel. 0, or the kernel's refusal. */
int race_thread_pin(struct race_thread *t, char *why, size_t why_bytes);
/* Detach and close the channel, drop the mappings; descriptors stay. */
void race_thread_release(struct race_thread *t);
/* The race itself, for a pthread. */
void *race_thread_main(void *arg);
/*
 * After the race, with all other threads gone, for a pthread that goes on with thread 0's record:
 * look at everything, release every thread's channel and mappings, look at what comes from the
 * disk.
 */
void *race_last_main(void *arg);

/* race_op.c: one operation, recorded. False: the record is closed or cannot be written, stop. */
bool race_op_run(struct race_thread *t, const struct race_choice *c);
/* Every file through every view; @dropped: synced, dropped from the cache, through read(2). */
bool race_op_last_looks(struct race_thread *t, bool dropped);

/* race_judge.c: a program that reads the stream and says what it thinks, which we pass on. */
struct race_judge {
	pid_t pid;
	int in, out; /* the stream; its answer. -1: closed */
	size_t used;
	char line[8192];
};
/* Start @program. 0 or -errno. Before any thread is made. */
int race_judge_start(struct race_judge *j, const char *program);
/* Pass on what it has said so far. False once it has closed its end. */
bool race_judge_relay(struct race_judge *j, struct agent *a);
/* End its input and wait for the rest; its end goes to "env judge ...". */
void race_judge_finish(struct race_judge *j, struct agent *a, unsigned int deadline_ms);

#endif
