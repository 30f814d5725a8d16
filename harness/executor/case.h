/* SPDX-License-Identifier: GPL-2.0 */
/* case.h - one case while it runs, in a process of its own. */
#ifndef PF_CASE_H
#define PF_CASE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "exec.h"

struct case_params {
	uint32_t nr, run;
	const char *dir, *mnt, *scratch, *channel, *seq;
	unsigned int deadline_ms, grace_ms;
	bool guest; /* faults that are for guests only may run */
	bool flushes; /* nothing to look at without the trace of them: see flush.c */
	int in;	    /* where the runner's answers come from */
	int late;   /* struct agent's */
};

/* From before a write: what the checks beside the judge want to know after it. */
struct write_marks {
	unsigned int interval; /* mtime_before_write()'s answer */
	unsigned int space;    /* space_before_write()'s */
	uint32_t flush;	       /* flush_before_write()'s */
};

struct held {
	struct pf_io io;
	uint32_t op;
	bool out;      /* between hold and land */
	bool inflight; /* the I/O has begun */
	struct look *look; /* it is a look, and not a write of the channel's: NULL otherwise */
	struct write_marks marks;
};

/* One step with all it needs, allocated before the first one runs. */
struct step_job {
	struct job job;
	struct case_run *c;
	const struct pf_step *step;
	uint8_t *data; /* stamped cells of a writing step */
	struct pf_fault_call call;
	struct look look; /* a step's own: one that sleeps keeps its buffer */
	bool running; /* started and not yet seen to be done */
};

/* From the first write after a sync to the next sync; see mtime.c. */
struct mtime_watch {
	struct timespec before; /* the modification time when that write began */
	uint32_t op;		/* the last write that has returned success, 0: none yet */
	unsigned int interval;	/* its number, from 1 */
	bool armed;		/* the interval has begun */
	bool can_tell;		/* a stamp of the write would differ from before */
};

#define FLUSH_PAGES_MAX 512 /* of a file; those behind them are not watched */

/* A page of a file on DAX, and whether it is owed a flush; see flush.c. */
struct flush_page {
	uint32_t op;	  /* the last write that it is owed to, 0: none */
	uint32_t settled; /* when that last was so: the watch's clock */
	uint64_t block;	  /* where it was after that write */
};

struct flush_watch {
	pthread_mutex_t lock;
	int trace;	/* -1: nothing is asked */
	uint32_t clock; /* writes that have begun */
	struct flush_page pages[PF_SEQ_FILES_MAX][FLUSH_PAGES_MAX];
	uint32_t flushed_op[PF_SEQ_FILES_MAX]; /* of what was flushed since the last sync */
	char text[8192];		       /* of the trace: the beginning of a line */
	size_t used;
};

enum case_end { CASE_RAN, CASE_SKIP, CASE_HUNG, CASE_BROKEN };

/*
 * What the cases that one process runs one after the other share (explore): by number of the step,
 * allocated when first wanted and never given back. A case without a pool owns what it uses.
 */
struct case_pool {
	uint8_t *looks[PF_SEQ_STEPS_MAX]; /* VIEW_BUFFER_BYTES each */
	uint8_t *data[PF_SEQ_STEPS_MAX];
	size_t data_bytes[PF_SEQ_STEPS_MAX];
};

struct case_run {
	const struct case_params *params;
	struct case_pool *pool; /* NULL: alone in its process */
	struct pf_history history;
	struct pf_seq seq;
	struct pf_channel channel;
	struct pf_channel reader; /* of hold-read; without ops, as nothing is written */
	struct pf_file files[PF_SEQ_FILES_MAX];
	struct mtime_watch watches[PF_SEQ_FILES_MAX];
	struct flush_watch flushes;
	struct held held[PF_SEQ_HOLDS_MAX];
	struct step_job jobs[PF_SEQ_STEPS_MAX];
	struct workers *workers;
	struct look look;
	int dirfd;
	int nr_pinned; /* files with a mapping attached to the channel */
	int nr_open_states; /* frozen filesystems */
	atomic_int reshaping;  /* operations under way that take blocks away or move them */
	atomic_uint reshapes;  /* their beginnings and ends until now */
	bool refused;  /* the kernel refused the pin: the sequence ends there */
	bool last_ran; /* nothing can be looked at before the next mount */
	bool power_due; /* a fault waits for the machine to be killed */
	sem_t power;	/* posted then, or when it came to nothing */
	char late[16];	/* the prefix of a line after the reply to the case */
	enum case_end end;
	char why[256]; /* of an end that is not CASE_RAN */
	char stack[1024]; /* CASE_HUNG: where the late step is in the kernel; stack_frames() */
};

/* case.c: the parts of a case. */
/* Memory for every step; ends the case where one cannot run here. 0 or -ENOMEM. */
int case_prepare(struct case_run *c);
/* Run a step, and wait for it, or until it sleeps for a good reason. */
void case_run_step(struct case_run *c, struct step_job *j);
/*
 * Thaw what is frozen and land what is held. Then, with nothing asleep any more: look with the pins
 * there, and unpin.
 */
void case_land(struct case_run *c);
void case_unpin(struct case_run *c);
/* Wait for the steps that slept; only useful when nothing is held. */
void case_wait_sleepers(struct case_run *c);

/* step.c: what each verb does; runs in a worker. Returns 0 or the first fatal error in c->end. */
void step_run(struct job *job);
/*
 * Does it sync one file or all, whole, by a system call? Of a range, what is around it stays dirty,
 * and writable.
 */
bool step_syncs(const struct pf_fault_ops *fault);
/* Views of every file; @final_name NULL for the views' own names. Run in the caller's thread. */
void look_all(struct case_run *c, struct look *l, bool fresh_mapping);
void look_dropped(struct case_run *c);
int unpin_file(struct case_run *c, struct pf_file *f);
/* The cells at @data, @len bytes, as operation @op writes them to @f at @off. */
void stamp_cells(struct case_run *c, const struct pf_file *f, uint32_t op, uint64_t off,
		 uint8_t *data, size_t len);
/*
 * Create the files with which the sequence begins, empty, so that their inode numbers have their
 * order, as alone on a fresh filesystem: some lock in that order. Among thousands one may get the
 * number of a deleted one. Their steps give them their size. 0 or -errno.
 */
int files_create(struct case_run *c);
/* Was a pin seen since @before (with @before_rc 0) was read? */
void say_pinned(struct case_run *c, uint32_t op, const struct pin_counters *before, int before_rc,
		bool inflight);

/* hold.c */
void step_hold(struct step_job *j);
void step_hold_read(struct step_job *j);
void land_held(struct case_run *c, struct held *held);

/* mtime.c: around every write to @f, and after every sync of it that returned 0. */
/* The number of the interval that the write belongs to, for mtime_wrote(); 0: none. */
unsigned int mtime_before_write(struct case_run *c, const struct pf_file *f, bool through_map);
void mtime_wrote(struct case_run *c, const struct pf_file *f, uint32_t op, unsigned int interval);
void mtime_synced(struct case_run *c, const struct pf_file *f);

/* space.c: around every write, and around every fault. */
unsigned int space_before_write(struct case_run *c);
void space_wrote(struct case_run *c, const struct pf_io *io, long n, uint32_t op,
		 unsigned int mark);
void space_fault(struct case_run *c, enum pf_prim prim, bool begins);

/* flush.c: around every write, after every fault, and after every sync by a step. */
void flush_open(struct case_run *c);
/* A mark for flush_wrote(); 0: nothing will be owed. */
uint32_t flush_before_write(struct case_run *c, const struct pf_file *f, bool through_map);
void flush_wrote(struct case_run *c, const struct pf_io *io, long n, uint32_t op, uint32_t mark);
void flush_fault(struct case_run *c, const struct pf_fault_ops *ops,
		 const struct pf_fault_call *call);
void flush_synced(struct case_run *c, const struct pf_file *f);

/* step.c: all of these, before a write begins and once it has returned @n. */
void write_begins(struct case_run *c, const struct pf_file *f, bool through_map,
		  struct write_marks *marks);
void write_ended(struct case_run *c, const struct pf_io *io, long n, uint32_t op,
		 const struct write_marks *marks);

/* Note the first thing that ends the case early. Any thread. */
__attribute__((format(printf, 3, 4))) void case_end(struct case_run *c, enum case_end end,
						     const char *fmt, ...);

#endif
