// SPDX-License-Identifier: GPL-2.0
/*
 * worker.c - threads that run steps.
 *
 * "Blocked" must mean asleep, not slow: an emulated machine can take long over a punch. So a step
 * counts as asleep only when the thread that does its work is in state S or D at the end of the
 * grace time and has not been switched to once during a last stretch of it. Where that is not the
 * step's own thread, the own one may wake up to look how far it is, but not be at work.
 *
 * A page fault that sleeps (a GUP write to a frozen filesystem) does so with the mmap lock of this
 * very process held. So threads are made beforehand, and nothing here maps or allocates memory
 * while a step runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../core/clock.h"
#include "exec.h"

#define QUIET_MS 60u /* without one context switch before we call it asleep */
#define EXTENSIONS 4 /* of the deadline, for a step that is running */

struct worker {
	pthread_t thread;
	struct workers *pool;
	pthread_cond_t wake; /* one each: waking all for every step costs more than the steps */
	struct job *job;     /* NULL: idle */
	int tid;
	struct worker *next;
};

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t done; /* some job is; only the one main thread waits */
	struct worker *all;
	/* Of workers_share(); NULL: nobody wants the CPU meanwhile. */
	void (*give)(void *arg);
	void (*take)(void *arg);
	void *share_arg;
};

static void *worker_main(void *arg)
{
	struct worker *me = arg;
	struct workers *pool = me->pool;

	pthread_mutex_lock(&pool->lock);
	me->tid = (int)syscall(SYS_gettid);
	for (;;) {
		struct job *job;

		while (!me->job)
			pthread_cond_wait(&me->wake, &pool->lock);
		job = me->job;
		job->tid = me->tid;
		pthread_mutex_unlock(&pool->lock);
		job->fn(job);
		pthread_mutex_lock(&pool->lock);
		me->job = NULL;
		job->done = true;
		pthread_cond_signal(&pool->done);
	}
	return NULL;
}

static int add_worker(struct workers *w)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int rc;

	if (!worker)
		return -ENOMEM;
	worker->pool = w;
	pthread_cond_init(&worker->wake, NULL);
	rc = -pthread_create(&worker->thread, NULL, worker_main, worker);
	if (rc) {
		free(worker);
		return rc;
	}
	worker->next = w->all;
	w->all = worker;
	return 0;
}

struct workers *workers_new(int nr)
{
	struct workers *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;

	if (!w)
		return NULL;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->done, &attr);
	pthread_mutex_lock(&w->lock);
	while (nr-- > 0)
		if (add_worker(w))
			break;
	pthread_mutex_unlock(&w->lock);
	return w;
}

void workers_share(struct workers *w, void (*give)(void *arg), void (*take)(void *arg), void *arg)
{
	w->give = give;
	w->take = take;
	w->share_arg = arg;
}

int workers_start(struct workers *w, struct job *job)
{
	struct worker *idle;
	int rc = -EAGAIN;

	job->done = false;
	pthread_mutex_lock(&w->lock);
	for (idle = w->all; idle && idle->job; idle = idle->next)
		;
	if (idle) {
		job->tid = idle->tid;
		idle->job = job;
		pthread_cond_signal(&idle->wake);
		rc = 0;
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

/* Wait until @job is done or @until_ns. Called with the lock held. */
static bool wait_until(struct workers *w, struct job *job, uint64_t until_ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(until_ns / 1000000000ull),
		.tv_nsec = (long)(until_ns % 1000000000ull),
	};

	while (!job->done)
		if (pthread_cond_timedwait(&w->done, &w->lock, &ts) == ETIMEDOUT)
			break;
	return job->done;
}

#define FIRST_MS 3u /* most steps are over by then */

/* From here on the wait may last: once for each. Called with the lock held. */
static void give(const struct workers *w, bool *given)
{
	if (w->give && !*given)
		w->give(w->share_arg);
	*given = w->give != NULL;
}

/* Called without the lock: the job must be able to end meanwhile. */
static void take_back(const struct workers *w, bool given)
{
	if (given)
		w->take(w->share_arg);
}

/* Read /proc/TID/NAME into @text without allocating. Returns its length. */
static size_t thread_file(int tid, const char *name, char *text, size_t bytes)
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, bytes - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

static uint64_t status_number(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* The state letter of thread @tid and how often it gave up the CPU. '?' if it cannot be read. */
static char thread_state(int tid, uint64_t *switches)
{
	char text[4096];
	const char *state;

	thread_file(tid, "status", text, sizeof(text));
	*switches = status_number(text, "\nvoluntary_ctxt_switches:") +
		    status_number(text, "\nnonvoluntary_ctxt_switches:");
	state = strstr(text, "\nState:\t");
	return state ? state[8] : '?';
}

static void thread_wchan(int tid, char *out, size_t bytes)
{
	if (!thread_file(tid, "wchan", out, bytes) || !strcmp(out, "0"))
		snprintf(out, bytes, "unknown");
}

void thread_stack(int tid, char *out, size_t bytes)
{
	thread_file(tid, "stack", out, bytes);
}

void stack_frames(char *stack)
{
	char *to = stack, *save = NULL;

	/* "[<0>] function+0x1d/0x90 [module]": never longer than what was read. */
	for (char *l = strtok_r(stack, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *name = strchr(l, ' ');
		size_t len = name ? strcspn(++name, "+ ") : 0;

		if (!len)
			continue;
		if (to != stack) {
			memcpy(to, " < ", 3);
			to += 3;
		}
		memmove(to, name, len);
		to += len;
	}
	*to = '\0';
}

int job_doer(const struct job *job)
{
	return job->doer ? job->doer(job) : job->tid;
}

/* As thread_state() of @job's doer; 'R' as well while the job's own thread runs beside it. */
static char job_state(const struct job *job, uint64_t *switches)
{
	int tid = job_doer(job);
	char letter = thread_state(tid, switches);
	uint64_t own;

	if (tid != job->tid && thread_state(job->tid, &own) == 'R')
		letter = 'R';
	return letter;
}

#define LOOP_SAMPLES 40 /* a turn of a loop may take long on an emulated machine */
#define LOOP_SAMPLE_MS 10
#define LOOP_SEEN_MIN 8 /* fewer say where it was put off the CPU now and then */

/* Leave of @frames the outer ones that @other has, too. */
static void keep_common(char *frames, const char *other)
{
	size_t len = strlen(frames), there = strlen(other);
	const char *at = frames;

	while (at) {
		size_t left = len - (size_t)(at - frames);

		if (left <= there && !strcmp(at, other + there - left) &&
		    (left == there || other[there - left - 1] == ' '))
			break;
		at = strstr(at, " < ");
		at = at ? at + 3 : NULL;
	}
	memmove(frames, at ? at : "", at ? len - (size_t)(at - frames) + 1 : 1);
}

/* What is on a stack wherever one is: to be put off the CPU, to take a lock, to get in. */
static bool says_nothing(const char *frame)
{
	static const char *const names[] = {
		"__schedule",  "schedule", "preempt_schedule", "__cond_resched", "irqentry_",
		"sysvec_",     "asm_",	   "down_",	       "mutex_lock",	 "_raw_",
		"__x64_sys_",  "x64_sys_", "do_syscall_64",    "entry_SYSCALL",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(frame, names[i], strlen(names[i])))
			return true;
	return false;
}

/*
 * The innermost kernel function that thread @tid, which runs, does not leave: it is on each of some
 * stacks. "" if there is none, or hardly a stack can be read (not root, or it is on another CPU).
 */
static void thread_loop(int tid, char *out, size_t bytes)
{
	char common[4096] = "", stack[4096];
	const char *at = common;
	int seen = 0;

	for (int i = 0; i < LOOP_SAMPLES; i++) {
		thread_stack(tid, stack, sizeof(stack));
		stack_frames(stack);
		seen += *stack != '\0';
		if (!*common)
			memcpy(common, stack, strlen(stack) + 1);
		else if (*stack)
			keep_common(common, stack);
		if (seen && !*common)
			break;
		poll(NULL, 0, LOOP_SAMPLE_MS);
	}
	if (seen < LOOP_SEEN_MIN)
		at = "";
	while (says_nothing(at) && (at = strstr(at, " < ")))
		at += 3;
	snprintf(out, bytes, "%.*s", at ? (int)strcspn(at, " ") : 0, at ? at : "");
}

static void say_where(int tid, char letter, char *out, size_t bytes)
{
	char name[80];

	if (letter == 'R') {
		thread_loop(tid, name, sizeof(name));
		snprintf(out, bytes, "R running%s%s", *name ? ":" : "", name);
	} else {
		thread_wchan(tid, name, sizeof(name));
		snprintf(out, bytes, "%c %s", letter, name);
	}
}

char thread_letter(int tid)
{
	uint64_t switches;

	return thread_state(tid, &switches);
}

void thread_where(int tid, char *out, size_t bytes)
{
	say_where(tid, thread_letter(tid), out, bytes);
}

enum job_state workers_wait(struct workers *w, struct job *job, unsigned int grace_ms,
			    unsigned int deadline_ms, char *where, size_t where_bytes)
{
	uint64_t start_ns = pf_now_ns(), before = 0, after;
	uint64_t deadline_ns = start_ns + deadline_ms * PF_NS_PER_MS;
	enum job_state state = JOB_DONE;
	char letter = '?';
	bool given = false;

	pthread_mutex_lock(&w->lock);
	if (w->give && !wait_until(w, job, start_ns + FIRST_MS * PF_NS_PER_MS))
		give(w, &given);
	if (grace_ms && wait_until(w, job, start_ns + grace_ms * PF_NS_PER_MS))
		goto out;
	while (grace_ms && pf_now_ns() < deadline_ns) {
		letter = job_state(job, &before);
		if (wait_until(w, job, pf_now_ns() + QUIET_MS * PF_NS_PER_MS))
			goto out;
		if ((letter == 'S' || letter == 'D') &&
		    job_state(job, &after) == letter && after == before) {
			state = JOB_ASLEEP;
			goto out;
		}
	}
	/* At the deadline one that sleeps is late. One that runs may only be slow, as everything on
	 * an emulated machine is now and then: it gets more time, though not for ever. */
	for (int extra = 0; !wait_until(w, job, deadline_ns); extra++) {
		letter = job_state(job, &before);
		if (letter != 'R' || extra == EXTENSIONS) {
			state = JOB_LATE;
			break;
		}
		deadline_ns += deadline_ms * PF_NS_PER_MS;
	}
out:
	if (state != JOB_DONE && where)
		say_where(job_doer(job), letter, where, where_bytes);
	pthread_mutex_unlock(&w->lock);
	take_back(w, given);
	return state;
}

#define POLL_MS 2u
#define OFTEN_MS 20u
#define POLL_LATER_MS 10u

/* Waits of fs-dax for a page that somebody holds: xfs_wait_dax_page, ext4_break_layouts, ... */
static bool waits_for_pin(const char *wchan)
{
	return strstr(wchan, "dax") || strstr(wchan, "break_layout");
}

enum job_state workers_wait_for_pin(struct workers *w, struct job *job, unsigned int grace_ms,
				    bool behind, char *where, size_t where_bytes)
{
	uint64_t start_ns = pf_now_ns(), until_ns = start_ns + grace_ms * PF_NS_PER_MS;
	uint64_t later_ns = start_ns + OFTEN_MS * PF_NS_PER_MS;
	uint64_t switches, asked = UINT64_MAX, asleep_ns = 0;
	enum job_state state = JOB_LATE;
	char wchan[80] = "", letter;
	bool given = false;
	unsigned int ms = FIRST_MS;

	pthread_mutex_lock(&w->lock);
	while (state == JOB_LATE && pf_now_ns() < until_ns) {
		if (wait_until(w, job, pf_now_ns() + ms * PF_NS_PER_MS)) {
			state = JOB_DONE;
			break;
		}
		ms = pf_now_ns() < later_ns ? POLL_MS : POLL_LATER_MS;
		letter = job_state(job, &switches);
		if (letter == 'S' || letter == 'D') {
			/* Once for each sleep: the kernel looks through all names of a module. */
			if (switches != asked) {
				thread_wchan(job_doer(job), wchan, sizeof(wchan));
				asked = switches;
				asleep_ns = pf_now_ns();
			}
			if (waits_for_pin(wchan) ||
			    (behind && pf_now_ns() > asleep_ns + QUIET_MS * PF_NS_PER_MS)) {
				snprintf(where, where_bytes, "%c %s", letter, wchan);
				state = JOB_ASLEEP;
			}
		}
		if (state == JOB_LATE)
			give(w, &given);
	}
	pthread_mutex_unlock(&w->lock);
	take_back(w, given);
	return state;
}
