// SPDX-License-Identifier: GPL-2.0
/*
 * case.c - one sequence, against one channel, on one filesystem, in a forked child.
 *
 * The child runs the steps and writes the history; the parent only waits for it, with a deadline,
 * and survives whatever the child ends in.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../workloads/channels/held_read.h"
#include "../core/clock.h"
#include "../core/token.h"
#include "case.h"

#define WORKERS PF_WRITES_MAX /* steps asleep at once; beside them one runs, or the end does */
#define LATE_OPS_MAX 1500u

static const char *const hold_names[] = { "none", "trivial", "inflight" };

static bool writes(const struct pf_step *s)
{
	return s->verb == PF_VERB_WRITE || s->verb == PF_VERB_HOLD || s->verb == PF_VERB_STORE ||
	       s->verb == PF_VERB_PWRITE ||
	       (s->verb == PF_VERB_FILE && s->state == PF_STATE_WRITTEN);
}

static bool looks(const struct pf_step *s)
{
	return s->verb == PF_VERB_READ || s->verb == PF_VERB_LOOK || s->verb == PF_VERB_HOLD_READ;
}

static bool begins_hold(const struct pf_step *s)
{
	return s->verb == PF_VERB_HOLD || s->verb == PF_VERB_HOLD_READ;
}

static bool has_flag(const struct pf_step *s, unsigned int flag)
{
	return s->fault && (s->fault->flags & flag);
}

static bool freezes(const struct pf_step *s)
{
	return has_flag(s, PF_FAULT_OPENS);
}

static bool is_power(const struct pf_step *s)
{
	return has_flag(s, PF_FAULT_POWER);
}

/* Can a step be run again and again, as those after a power cut are? */
static bool repeats(const struct pf_step *s)
{
	switch (s->verb) {
	case PF_VERB_WRITE:
	case PF_VERB_STORE:
	case PF_VERB_PWRITE:
	case PF_VERB_READ:
	case PF_VERB_LOOK:
		return true;
	case PF_VERB_FAULT:
		return !is_power(s) && !(s->fault->flags & PF_FAULT_LAST);
	default:
		return false;
	}
}

/* A struct job's doer. The worker of a held I/O only waits for the thread that does it. */
static int step_doer(const struct job *job)
{
	const struct step_job *j = job->arg;
	const struct pf_step *s = j->step;
	const _Atomic int *io_tid = NULL;
	int tid = 0;

	if (begins_hold(s) || s->verb == PF_VERB_LAND)
		io_tid = j->c->held[s->hold].io.tid;
	if (io_tid)
		tid = atomic_load(io_tid);
	return tid ? tid : job->tid;
}

/* Memory of step @i: a look's buffer, or @bytes to be stamped. */
static int step_memory(struct case_run *c, int i, bool looks, size_t bytes)
{
	struct step_job *j = &c->jobs[i];
	struct case_pool *p = c->pool;

	if (!p && looks)
		return look_init(&j->look, &c->history, c->params->run, c->params->nr);
	if (!p)
		return bytes ? -posix_memalign((void **)&j->data, 4096, bytes) : 0;
	if (looks) {
		if (!p->looks[i] &&
		    posix_memalign((void **)&p->looks[i], VIEW_BLOCK_BYTES, VIEW_BUFFER_BYTES))
			return -ENOMEM;
		j->look = (struct look){ .h = &c->history, .run = c->params->run,
					 .case_nr = c->params->nr, .buf = p->looks[i] };
		return 0;
	}
	if (bytes > p->data_bytes[i]) {
		free(p->data[i]);
		p->data[i] = NULL;
		p->data_bytes[i] = 0;
		if (posix_memalign((void **)&p->data[i], 4096, bytes))
			return -ENOMEM;
		p->data_bytes[i] = bytes;
	}
	j->data = bytes ? p->data[i] : NULL;
	return 0;
}

/* What holds a look; once for all the cases of a process. */
static void reader_prepare(struct case_run *c)
{
	char why[160] = "";
	int rc;

	if (c->reader.priv)
		return;
	c->reader.deadline_ms = c->params->deadline_ms;
	rc = held_read_open(&c->reader, why, sizeof(why));
	if (rc)
		case_end(c, CASE_SKIP, "hold-read: %s", *why ? why : pf_errno_name(-rc));
}

int case_prepare(struct case_run *c)
{
	const struct pf_step *power = NULL;

	sem_init(&c->power, 0, 0);
	for (int i = 0; i < PF_SEQ_FILES_MAX; i++)
		c->files[i].fd = -1;
	for (int i = 0; i < c->seq.nr_steps; i++) {
		const struct pf_step *s = &c->seq.steps[i];
		struct step_job *j = &c->jobs[i];
		size_t bytes = s->verb == PF_VERB_FILE ? s->size_bytes : s->len_bytes;

		j->c = c;
		j->step = s;
		j->job.fn = step_run;
		j->job.arg = j;
		j->job.doer = step_doer;
		if (step_memory(c, i, looks(s), writes(s) ? bytes : 0))
			return -ENOMEM;
		if (s->fault && (s->fault->flags & PF_FAULT_GUEST_ONLY) && !c->params->guest)
			case_end(c, CASE_SKIP, "%s runs in guests only", s->fault->name);
		c->channel.holds = c->channel.holds || s->verb == PF_VERB_HOLD;
		if (s->verb == PF_VERB_HOLD && c->channel.ops->hold_kind == PF_HOLD_NONE)
			case_end(c, CASE_SKIP, "%s cannot hold a write", c->params->channel);
		if (s->verb == PF_VERB_HOLD_READ)
			reader_prepare(c);
		if (power && !repeats(s))
			case_end(c, CASE_BROKEN, "line %d cannot be repeated till the power is cut",
				 s->line);
		power = is_power(s) ? s : power;
	}
	return 0;
}

static void setup(struct case_run *c, int out)
{
	const struct case_params *p = c->params;
	char err[200], title[400];
	int rc;

	pf_history_open(&c->history, out, "h ");
	if (pf_seq_parse(&c->seq, p->seq, err, sizeof(err))) {
		case_end(c, CASE_BROKEN, "sequence:%s", err);
		return;
	}
	if (channel_find(&c->channel, p->channel)) {
		case_end(c, CASE_BROKEN, "no channel '%s'", p->channel);
		return;
	}
	c->channel.scratch_dir = p->scratch;
	c->channel.deadline_ms = p->deadline_ms;
	pf_token_encode(title, sizeof(title), c->seq.title);
	pf_history_line(&c->history, "case %u %u %s %s %s %s", p->nr, p->run, p->channel,
			channel_class_names[c->channel.ops->class],
			hold_names[c->channel.ops->hold_kind], title);
	rc = look_init(&c->look, &c->history, p->run, p->nr);
	rc = rc ? rc : case_prepare(c);
	c->workers = workers_new(WORKERS + 2);
	if (!rc && !c->workers)
		rc = -ENOMEM;
	if (!rc && mkdir(p->dir, 0700) && errno != EEXIST)
		rc = -errno;
	c->dirfd = rc ? -1 : open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!rc && c->dirfd < 0)
		rc = -errno;
	if (rc) {
		case_end(c, CASE_BROKEN, "%s: %s", p->dir, pf_errno_name(-rc));
		return;
	}
	flush_open(c);
	if (c->end == CASE_RAN && c->channel.ops->open) {
		rc = c->channel.ops->open(&c->channel);
		if (rc)
			case_end(c, CASE_BROKEN, "%s: open: %s %s", p->channel,
				 pf_errno_name(-rc), c->channel.detail);
	}
}

/* Is something open that a later step of the sequence closes: a held write, a frozen filesystem? */
static bool held_or_frozen(const struct case_run *c)
{
	for (int i = 0; i < PF_SEQ_HOLDS_MAX; i++)
		if (c->held[i].out && c->held[i].inflight)
			return true;
	return c->nr_open_states > 0;
}

/* Is a freeze under way? Who comes later sleeps for it already, and until it is thawed. */
static bool freezing(const struct case_run *c)
{
	for (int i = 0; i < c->seq.nr_steps; i++)
		if (c->jobs[i].running && freezes(c->jobs[i].step))
			return true;
	return false;
}

/*
 * Could a step be sleeping for a good reason, and wake when something later is done? A long pin
 * ends with the case only, and is what a fault may wait for; a write through it that takes long is
 * slow. Steps that are repeated until the power goes had their turn before: one that sleeps then
 * waits for the disk, as do all others.
 */
static bool may_sleep(const struct case_run *c, const struct pf_step *s)
{
	return held_or_frozen(c) || (freezing(c) && !freezes(s)) ||
	       (s->verb == PF_VERB_FAULT && c->nr_pinned > 0 && !c->power_due &&
		c->channel.ops->class == PF_CLASS_LONG_PIN);
}

static void step_late(struct case_run *c, struct step_job *j, const char *where)
{
	char stack[2048], token[6144];

	thread_stack(job_doer(&j->job), stack, sizeof(stack));
	pf_token_encode(token, sizeof(token), stack);
	pf_history_line(&c->history, "hung %u %llu %s %s", j->job.op,
			(unsigned long long)pf_now_ns(), where, token);
	stack_frames(stack);
	snprintf(c->stack, sizeof(c->stack), "%.1000s", stack);
	case_end(c, CASE_HUNG, "line %d of the sequence, in %s", j->step->line, where);
}

/* Is there one that has locks, and that will not give them back before something later is done? */
static bool locks_held(const struct case_run *c, const struct step_job *j)
{
	if (held_or_frozen(c) && c->channel.ops->class == PF_CLASS_SYSCALL)
		return true;
	for (int i = 0; i < c->seq.nr_steps; i++)
		if (&c->jobs[i] != j && c->jobs[i].running && c->jobs[i].job.blocked_seen)
			return true;
	return false;
}

/* Wait for a step that was started. One that sleeps for a good reason is left running. */
static void wait_step(struct case_run *c, struct step_job *j)
{
	unsigned int grace_ms = may_sleep(c, j->step) ? c->params->grace_ms : 0, left_ms = grace_ms;
	char where[128] = "";
	enum job_state state = JOB_LATE;

	/* What waits for a pin is known by the function that it sleeps in: a thousand sequences
	 * have no time to see that it goes on sleeping. */
	if (c->pool && grace_ms) {
		state = workers_wait_for_pin(c->workers, &j->job, grace_ms, locks_held(c, j),
					     where, sizeof(where));
		left_ms = 1;
	}
	if (state == JOB_LATE)
		state = workers_wait(c->workers, &j->job, left_ms, c->params->deadline_ms,
				     where, sizeof(where));
	switch (state) {
	case JOB_DONE:
		j->running = false;
		return;
	case JOB_ASLEEP:
		if (!j->job.blocked_seen)
			pf_history_line(&c->history, "blocked %u %llu %s", j->job.op,
					(unsigned long long)pf_now_ns(), where);
		j->job.blocked_seen = true;
		/* What is written while it sleeps may be overwritten with what it read before. */
		if (has_flag(j->step, PF_FAULT_REWRITES))
			case_end(c, CASE_SKIP, "%s slept between its read and its write",
				 j->step->fault->name);
		return;
	case JOB_LATE:
		step_late(c, j, where);
		return;
	}
}

static bool opens_nothing(const struct pf_step *s)
{
	return !begins_hold(s) && !freezes(s);
}

static void wait_running(struct case_run *c, bool (*which)(const struct pf_step *s))
{
	for (int i = 0; i < c->seq.nr_steps && c->end != CASE_HUNG; i++)
		if (c->jobs[i].running && which(c->jobs[i].step))
			wait_step(c, &c->jobs[i]);
}

/*
 * What slept should wake now that nothing is held and nothing frozen; the next step is not to run
 * beside it. Those that are held after all come first, and a freeze that was under way: the others
 * may sleep on for them.
 */
void case_wait_sleepers(struct case_run *c)
{
	if (held_or_frozen(c))
		return;
	wait_running(c, begins_hold);
	wait_running(c, freezes);
	wait_running(c, opens_nothing);
}

static int nr_running(const struct case_run *c)
{
	int nr = 0;

	for (int i = 0; i < c->seq.nr_steps; i++)
		nr += c->jobs[i].running;
	return nr;
}

void case_run_step(struct case_run *c, struct step_job *j)
{
	int rc;

	/* Nothing that this process could undo would make it sleep: whoever watches the process
	 * sees that it is late. A landing has a deadline of its own. */
	if (c->pool && (!may_sleep(c, j->step) || j->step->verb == PF_VERB_LAND)) {
		j->job.fn(&j->job);
		case_wait_sleepers(c);
		return;
	}
	/* Or nobody is left to land and thaw. */
	if (nr_running(c) > WORKERS) {
		case_end(c, CASE_SKIP, "more than %d steps asleep at once", WORKERS);
		return;
	}
	rc = workers_start(c->workers, &j->job);
	if (rc) {
		case_end(c, CASE_BROKEN, "thread: %s", pf_errno_name(-rc));
		return;
	}
	j->running = true;
	if (is_power(j->step)) {
		/* It is on its way to sleep for good, or fails at once: in either case it posts. */
		sem_wait(&c->power);
		j->running = !c->power_due; /* who waits for sleepers does not wait for that */
		if (c->power_due)
			return;
	}
	wait_step(c, j);
	case_wait_sleepers(c);
}

/* Returns the number of the first step that was not run. */
static int run_steps(struct case_run *c)
{
	int i = 0;

	while (i < c->seq.nr_steps && c->end == CASE_RAN && !c->refused && !c->power_due)
		case_run_step(c, &c->jobs[i++]);
	return i;
}

/*
 * Repeat the steps from @first on until the machine dies, so that it dies in the middle of one. Not
 * more operations than a judge wants to read; a step that sleeps is left as it is.
 */
static void run_until_power_cut(struct case_run *c, int first)
{
	while (first < c->seq.nr_steps && c->history.last_op < LATE_OPS_MAX)
		for (int i = first; i < c->seq.nr_steps; i++) {
			if (c->end != CASE_RAN || c->jobs[i].running)
				goto out;
			case_run_step(c, &c->jobs[i]);
		}
out:
	for (;;)
		pause();
}

void case_land(struct case_run *c)
{
	if (c->nr_open_states > 0) {
		thaw(c->params->mnt);
		pf_history_line(&c->history, "note thawed%%20at%%20the%%20end");
	}
	c->nr_open_states = 0;
	for (int i = 0; i < PF_SEQ_HOLDS_MAX; i++)
		land_held(c, &c->held[i]);
}

void case_unpin(struct case_run *c)
{
	if (c->end == CASE_RAN && !c->last_ran)
		look_all(c, &c->look, false);
	for (int i = 0; i < c->seq.nr_files; i++)
		if (c->files[i].map)
			unpin_file(c, &c->files[i]);
}

/* The end of a case runs in a worker as well: it may hang like any step. */
static void land_job(struct job *job)
{
	case_land(job->arg);
}

static void unpin_job(struct job *job)
{
	case_unpin(job->arg);
}

static void look_job(struct job *job)
{
	struct case_run *c = job->arg;

	/* A refused pin was looked at already; nothing has happened since. */
	if (!c->refused)
		look_all(c, &c->look, true);
	look_dropped(c);
}

static void close_job(struct job *job)
{
	struct case_run *c = job->arg;

	if (c->channel.ops && c->channel.ops->close)
		c->channel.ops->close(&c->channel);
	held_uffd_close(&c->reader);
	for (int i = 0; i < PF_SEQ_FILES_MAX; i++)
		if (c->files[i].fd >= 0)
			close(c->files[i].fd);
	if (c->dirfd >= 0)
		close(c->dirfd);
}

static void run_phase(struct case_run *c, void (*fn)(struct job *), const char *name)
{
	/* Not on the stack: one that is late goes on after we have given up on it. */
	struct job *job = c->end == CASE_HUNG ? NULL : calloc(1, sizeof(*job));
	char where[128] = "";

	if (!job)
		return;
	job->fn = fn;
	job->arg = c;
	if (workers_start(c->workers, job))
		case_end(c, CASE_BROKEN, "thread");
	else if (workers_wait(c->workers, job, 0, c->params->deadline_ms, where,
			      sizeof(where)) != JOB_DONE)
		case_end(c, CASE_HUNG, "%s, in %s", name, where);
}

/* A hold that slept is out only once what it slept for is over, and is to be landed then. */
static void land_all(struct case_run *c)
{
	int rounds = 0;

	do {
		run_phase(c, land_job, "landing");
		case_wait_sleepers(c);
	} while (c->end == CASE_RAN && held_or_frozen(c) && ++rounds < PF_SEQ_HOLDS_MAX);
}

static int say_result(int result, const char *how, const char *why)
{
	char text[320];
	int n = snprintf(text, sizeof(text), "%s %s", how, why);

	return write(result, text, (size_t)n) == n ? 0 : 1;
}

/* Everything the child does; see child_do. */
static int case_child(void *arg, int out, int result)
{
	const struct case_params *p = arg;
	static const char *const ends[] = { "ran", "skip", "hung", "broken" };
	struct case_run *c = calloc(1, sizeof(*c));
	int next;

	if (!c)
		return 1;
	c->params = p;
	c->dirfd = -1;
	setup(c, out);
	if (c->end == CASE_RAN) {
		next = run_steps(c);
		if (c->power_due && !say_result(result, "power", ""))
			run_until_power_cut(c, next);
		if (c->workers) {
			land_all(c);
			run_phase(c, unpin_job, "looking and unpinning");
		}
		if (c->end == CASE_RAN && !c->last_ran)
			run_phase(c, look_job, "looking after unpin");
	}
	if (c->workers)
		run_phase(c, close_job, "closing");
	if (c->end == CASE_RAN)
		pf_history_line(&c->history, "end %llu", (unsigned long long)pf_now_ns());
	pf_history_flush(&c->history);
	return say_result(result, ends[c->end], c->why);
}

void do_case(struct agent *a, char **words, int nr)
{
	struct case_params p = {
		.nr = (uint32_t)arg_u64(words, nr, "nr", 0),
		.run = (uint32_t)arg_u64(words, nr, "run", 0),
		.dir = arg_find(words, nr, "dir"),
		.mnt = arg_find(words, nr, "mnt"),
		.scratch = arg_find(words, nr, "scratch"),
		.channel = arg_find(words, nr, "channel"),
		.seq = arg_find(words, nr, "seq"),
		.deadline_ms = (unsigned int)arg_u64(words, nr, "deadline_ms", 10000),
		.grace_ms = (unsigned int)arg_u64(words, nr, "grace_ms", 200),
		.guest = a->guest,
		.flushes = arg_u64(words, nr, "flushes", 0),
		.in = fileno(a->in),
		.late = a->late,
	};

	if (!p.nr || !p.dir || !p.mnt || !p.scratch || !p.channel || !p.seq) {
		agent_line(a, "err 22 case%%20needs%%20nr,%%20dir,%%20mnt,%%20scratch,%%20channel,"
			   "%%20seq");
		return;
	}
	/* The child has a deadline for each step; this is for a child that cannot keep it. */
	child_do(a, case_child, &p, p.mnt, 8 * p.deadline_ms + 10000);
}
