/* SPDX-License-Identifier: GPL-2.0 */
/*
 * explore.h - thousands of sequences on one mounted filesystem.
 *
 * A request brings a chunk of sequences. Processes share them, and go through the same phases, each
 * waiting for the others in between:
 *
 *	make	the files of every sequence
 *		one syncfs: they are clean, as fsync would have left each
 *	run	the steps, the landing, every view, the unpin
 *		one syncfs
 *	drop	the page cache of each file, and look at what the disk has; the judge gets the
 *		history
 *
 * The filesystem is synced by itself only where no sequence is under way: a sync between two steps
 * would be a step that the sequence does not have. So the processes do not share the run phase with
 * a syncfs, and a sequence whose own step syncs the whole filesystem must not be given here. What
 * the filesystem does by itself goes on all the same: btrfs, short of metadata space with so many
 * files, writes out all that is delayed (harness/expected/50-explore.conf, unrepeated-explore-*).
 *
 * Processes that share a CPU may be told to take turns (explore_turn.c): one runs, and the others
 * have it when it waits for long, or is through with the phase. Left to the scheduler they change
 * places a dozen times a sequence, each time the one sleeps for a moment, and to change from one
 * address space to another is what an emulated machine is slowest at.
 *
 * What is seen after the drop is kept as a sum, file by file. After the filesystem was mounted
 * again `explore-views` looks once more: every order of the operations that explains a history
 * explains the same seen again, so what is equal need not be judged, and what is not gets judged as
 * a case.
 */
#ifndef PF_EXPLORE_H
#define PF_EXPLORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "case.h"
#include "fell.h"

#define EXPLORE_JOBS_MAX 16
#define EXPLORE_CHUNK_MAX 8192
#define EXPLORE_RESOLUTIONS 11

/* A name in a sequence's directory, and what its file held last. */
struct explore_name {
	char name[PF_NAME_BYTES];
	uint32_t id; /* of the object; 0: there is no such name */
	uint64_t sum;
};

struct explore_kept {
	uint32_t nr;
	uint32_t nr_names;
	_Bool whole; /* looked at to the end: can be compared */
	struct explore_name names[PF_SEQ_FILES_MAX];
};

/* One sequence of the chunk, parsed by the process that runs it. */
struct explore_item {
	uint32_t nr;
	const char *text;
};

enum explore_phase { PHASE_MAKE, PHASE_RUN, PHASE_DROP, PHASES_NR };

/* Of the processes on one CPU. One that gave its turn away inside a sequence comes first. */
struct explore_turn {
	pthread_mutex_t lock;
	pthread_cond_t first, other;
	_Bool taken;
	_Atomic unsigned int nr_first;
};

/* Shared by the agent and its processes. */
struct explore_shared {
	pthread_barrier_t barrier;
	struct explore_turn turns[EXPLORE_JOBS_MAX]; /* by CPU */
	_Atomic _Bool waits[EXPLORE_JOBS_MAX];	     /* for its turn: it is not late */
	_Atomic uint32_t at[EXPLORE_JOBS_MAX];	     /* the sequence it is at, 0: between two */
	_Atomic uint64_t since_ns[EXPLORE_JOBS_MAX]; /* when it came there */
	struct fell fell[EXPLORE_JOBS_MAX];
	_Atomic uint64_t coherent, not_coherent, resolutions[EXPLORE_RESOLUTIONS];
	uint64_t phase_ns[PHASES_NR];
	_Atomic uint64_t judge_bytes;
	uint32_t nr_kept;
	struct explore_kept kept[];
};

struct explore_params {
	uint32_t run;
	const char *dir, *mnt, *scratch, *channel;
	const char *judge; /* a program; NULL: histories are for the runner, whose judge has them */
	unsigned int deadline_ms, grace_ms, jobs;
	_Bool guest, first, mark; /* mark: say where it is before each sequence */
	_Bool turns, overhear; /* overhear: say what the kernel says beside which sequence */
};

/* The judge of one process: histories in, answers out, in order. */
struct explore_judge {
	pid_t pid;
	int in, out;
	size_t used;
	char line[8192];
	/* Called for each line of an answer. */
	void (*take)(void *arg, char *line);
	void *arg;
};

/* What the judge says of one history, as far as it has said it. */
#define EXPLORE_EVIDENCE_MAX 3
struct explore_answer {
	char verdict[16], resolution[16], errno_name[16], kinds[200], why[400];
	char evidence[EXPLORE_EVIDENCE_MAX][400];
	int nr_evidence;
};

struct explore_answers {
	struct explore_shared *s;
	struct agent *a;
	uint32_t *judged; /* numbers of the sequences whose answers are to come, in order */
	uint32_t nr_judged, nr_answered;
	struct explore_answer answer;
};

/* explore_answer.c */
extern const char *const explore_resolutions[EXPLORE_RESOLUTIONS];
/* struct explore_judge's take; @arg is the answers. */
void explore_take_line(void *arg, char *line);
/* Of a sequence that is not judged. */
void explore_say(struct explore_answers *all, uint32_t nr, const char *verdict, const char *why);
/* Its history, for the runner to have it judged. */
void explore_hand_over(struct explore_answers *all, uint32_t nr, const struct pf_history *h);
/* If its history @h says that a modification time did not move (mtime.c). */
void explore_say_unnoticed(struct explore_answers *all, uint32_t nr, const struct pf_history *h);

int explore_judge_start(struct explore_judge *j, const char *program);
/* Hand over a history; takes what answers there are meanwhile. 0 or -errno. */
int explore_judge_send(struct explore_judge *j, const char *text, size_t bytes);
/* No more of them: take the rest of the answers. 0, or -EIO when it did not end in order. */
int explore_judge_finish(struct explore_judge *j);

/*
 * explore_child.c: what process @k of p->jobs does; returns its exit status. It writes how it ended
 * to @result in one write: "done K", "hung K NR WHERE" or "broken K WHY".
 */
int explore_child(const struct explore_params *p, struct explore_shared *s,
		  const struct explore_item *items, uint32_t nr_items, unsigned int k,
		  struct agent *a, int result);
/* explore_turn.c */
void explore_turn_init(struct explore_turn *t);
/* Wait for it. @first: before those that are between two sequences. */
void explore_turn_take(struct explore_turn *t, _Bool first);
void explore_turn_give(struct explore_turn *t);
/* Does somebody inside a sequence wait for it? */
static inline _Bool explore_turn_wanted(const struct explore_turn *t)
{
	return atomic_load_explicit(&t->nr_first, memory_order_relaxed) != 0;
}
/* explore_keep.c: a sum of what the see lines of @h from byte @from on say was seen. */
uint64_t explore_sum(const struct pf_history *h, size_t from);
/* The names in the directory of @c now, and what their files held last: @sums of each file. */
void explore_keep(const struct case_run *c, struct explore_kept *kept, const uint64_t *sums);
/* Look again at @kept, below @dir: how many names differ; one is named in @which. */
unsigned int explore_compare(const struct explore_kept *kept, const char *dir, uint32_t run,
			     struct look *l, char *which, size_t bytes);

#endif
