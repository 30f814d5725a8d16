/* SPDX-License-Identifier: GPL-2.0 */
/* exec.h - what the files of the executor share. The protocol stands in harness/README.md. */
#ifndef PF_EXEC_H
#define PF_EXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../core/channel.h"
#include "../core/fault.h"
#include "../core/history.h"
#include "../core/seq.h"

/* The agent's end of the line to the runner. */
struct agent {
	FILE *in;
	int out;	    /* file descriptor: replies, one write(2) a line */
	int late;	    /* history after the reply to a case goes here; -1: nowhere */
	bool guest;	    /* this machine is a guest made for us: it may be crashed */
};

/* Reply with one line made of @fmt; tokens must be encoded already. */
__attribute__((format(printf, 2, 3))) void agent_line(struct agent *a, const char *fmt, ...);

/* Find KEY in @nr words "KEY=VALUE"; NULL if it is not there. Values are decoded already. */
const char *arg_find(char **words, int nr, const char *key);
/* The same as a number; @fallback if absent or not a number. */
uint64_t arg_u64(char **words, int nr, const char *key, uint64_t fallback);

/* Requests, one function each: @words are the decoded tokens after the verb. They reply. */
void do_hello(struct agent *a);
void do_sh(struct agent *a, char **words, int nr);
void do_statx(struct agent *a, char **words, int nr);
void do_case(struct agent *a, char **words, int nr);
void do_race(struct agent *a, char **words, int nr);
void do_views(struct agent *a, char **words, int nr);
/* These read further lines of the request. */
void do_explore(struct agent *a, char **words, int nr);
void do_explore_views(struct agent *a, char **words, int nr);
void do_kmsg(struct agent *a);
void do_pins(struct agent *a);
void do_quota(struct agent *a, char **words, int nr);

/* child.c */
/*
 * Run @child_main in a forked child and reply with the last line of the request. The child writes
 * reply lines to @out itself and then, in one write to @result, how it ended: "ran", "skip WHY",
 * "refused ERRNO WHY", "hung WHERE" or "broken WHY". One that has not said so after @deadline_ms is
 * killed, as is one that says it hangs; a filesystem left frozen at @mnt is thawed first.
 */
void child_do(struct agent *a, int (*child_main)(void *arg, int out, int result), void *arg,
	      const char *mnt, unsigned int deadline_ms);
/* Thaw the filesystem at @mnt, if it is frozen. */
void thaw(const char *mnt);
/* Set ops and variant of @ch from "name" or "name/variant". 0 or -ENOENT. */
int channel_find(struct pf_channel *ch, const char *full_name);
extern const char *const channel_class_names[];

/* step.c: is @err (> 0) this filesystem's way to say that it has no such operation? */
bool fault_unsupported(const struct pf_fault_ops *ops, int err);

/* Start reading the kernel log from now on. */
void kmsg_open(void);
/* Another reader of the kernel log, from here on; -1 where it cannot be read. */
int kmsg_follow(void);
/* Leave out what it has not read. */
void kmsg_skip(int fd);
/*
 * What it has not read, of warnings and worse, as lines "w @nr TEXT"; what the kernel warns of once
 * it will warn of again. That the page of zeros is not one is said by each process once.
 */
void kmsg_overheard(struct agent *a, int fd, uint32_t nr);

/* zeros.c: look at the kernel's page of zeros from now on. */
void zeros_open(void);
/* How many bytes of it are not zero; 0 before zeros_open() as well. */
size_t zeros_wrong(void);
/* The same of any @len bytes, > 0. */
size_t zeros_count_wrong(const uint8_t *bytes, size_t len);

/* pins.c: counters of FOLL_PIN from /proc/vmstat, folded over all CPUs. 0 or -errno. */
struct pin_counters {
	uint64_t acquired, released;
};
int pin_counters_read(struct pin_counters *out);
/* Pages pinned and not yet released. */
static inline int64_t pin_counters_held(const struct pin_counters *c)
{
	return (int64_t)(c->acquired - c->released);
}

/* view.c: reading a file through one view, for cases and races. */
#define VIEW_BUFFER_BYTES (1u << 20)
#define VIEW_BLOCK_BYTES 4096u /* direct reads begin and end at multiples of this */

/*
 * Make @view of @f readable: *@fd is what view_read reads, to be closed by the caller only for
 * PF_VIEW_DIRECT. 0, or -errno if the view does not exist here.
 */
int view_open(struct pf_file *f, enum pf_view view, int *fd);
/*
 * Read up to @len bytes at @off into @buf (page aligned, VIEW_BUFFER_BYTES). Returns the bytes
 * read, short where a page cannot be read or the file ends; *@err is the errno of why it is short,
 * 0 at the end of the file. May read more than @len (whole blocks).
 */
size_t view_read(struct pf_file *f, int fd, enum pf_view view, uint8_t *buf, uint64_t off,
		 size_t len, int *err);

/* look.c */

/* What a look needs to name the cells it finds. */
struct look {
	struct pf_history *h;
	uint32_t run, case_nr;
	uint32_t last_op; /* candidates for torn cells */
	uint8_t *buf;	  /* VIEW_BUFFER_BYTES, page aligned */
};
int look_init(struct look *l, struct pf_history *h, uint32_t run, uint32_t case_nr);
void look_exit(struct look *l);
/*
 * Look at @f [off, off + len) through @view (len 0: to the end of the file) and record it under the
 * name @view_name. Returns 0, or -errno if the view does not exist here (recorded as well).
 */
int look_at(struct look *l, struct pf_file *f, enum pf_view view, const char *view_name,
	    uint64_t off_bytes, uint64_t len_bytes);
/*
 * A look whose I/O is somebody else's. look_begin returns the operation; look_end says what came of
 * it: @n bytes in l->buf, or -errno.
 */
uint32_t look_begin(struct look *l, const struct pf_io *io, enum pf_view view);
void look_end(struct look *l, const struct pf_io *io, enum pf_view view, uint32_t op, long n);
/* worker.c: steps run in threads of their own, so that one that sleeps does not stop the case. */
struct job {
	void (*fn)(struct job *job); /* must set result */
	void *arg;
	uint32_t op;
	long result;
	char detail[160];
	/* The thread that does the work, where the job's own only waits for it. NULL: its own. */
	int (*doer)(const struct job *job);
	/* owned by worker.c */
	bool done, blocked_seen;
	int tid;
	struct worker *worker;
};

enum job_state { JOB_DONE, JOB_ASLEEP, JOB_LATE };

struct workers;
/* @nr threads, made now: none is made later. NULL when memory is short. */
struct workers *workers_new(int nr);
/*
 * Whoever waits for a job has the CPU to himself, and says when he does not need it: @give before
 * what may be long of a wait, @take after it, both in the thread that waits.
 */
void workers_share(struct workers *w, void (*give)(void *arg), void (*take)(void *arg), void *arg);
/* The thread that does the work of @job, which has been started. */
int job_doer(const struct job *job);
/* The kernel stack of thread @tid, of any process, "" if it cannot be read (only root can). */
void thread_stack(int tid, char *out, size_t bytes);
/* Of a /proc/PID/stack, in place: "inner < outer < ...", the functions alone. */
void stack_frames(char *stack);
/* The state letter of thread @tid, of any process; '?' if it is gone. */
char thread_letter(int tid);
/*
 * "D folio_wait_bit": that letter and the kernel function it sleeps in; "R running:FUNCTION": the
 * one it does not leave, which takes half a second to say; or "R running".
 */
void thread_where(int tid, char *out, size_t bytes);
/* Hand @job to an idle thread. 0, or -EAGAIN when all are busy. */
int workers_start(struct workers *w, struct job *job);
/*
 * Wait for @job: JOB_DONE when its function returned; JOB_ASLEEP when, after @grace_ms (0: never),
 * the thread that does its work has been asleep in the kernel without waking once for a while;
 * JOB_LATE after @deadline_ms. @where (may be NULL) gets the state letter and the kernel function
 * that one sleeps in.
 */
enum job_state workers_wait(struct workers *w, struct job *job, unsigned int grace_ms,
			    unsigned int deadline_ms, char *where, size_t where_bytes);
/*
 * Wait up to @grace_ms: JOB_DONE; JOB_ASLEEP with @where as soon as it sleeps in a function that
 * waits for a page to be no longer pinned, or, where it may wait @behind what is held or sleeps
 * itself, when it has slept for a while without waking; JOB_LATE: neither.
 */
enum job_state workers_wait_for_pin(struct workers *w, struct job *job, unsigned int grace_ms,
				    bool behind, char *where, size_t where_bytes);

/* judge_child.c: start @argv (its first word a path) with a pipe to its stdin, *@in, and one from
 * its stdout, *@out; both are the caller's to close, also after -EAGAIN (no process). Else 0 or
 * -errno. Before any thread is made. It dies with its parent. */
int judge_child_start(pid_t *pid, int *in, int *out, char *const argv[]);

#endif
