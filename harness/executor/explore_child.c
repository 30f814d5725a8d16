// SPDX-License-Identifier: GPL-2.0
/* explore_child.c - a process that takes its share of the sequences through the phases. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../core/clock.h"
#include "../core/token.h"
#include "explore.h"

#define WORKERS 8

static const char *const hold_names[] = { "none", "trivial", "inflight" };

/*
 * A sequence between the phases: what its next phase needs, and no more. The case itself is one
 * struct of hundreds of kilobytes that all sequences of a process use in turn: memory that nobody
 * touched before costs more than the steps.
 */
struct run {
	const struct explore_item *item;
	struct pf_file *files; /* nr_files of them */
	int nr_files, dirfd;
	struct mtime_watch watches[PF_SEQ_FILES_MAX];
	enum case_end end;
	char *why;     /* NULL: none */
	char *history; /* so far */
	size_t used;
	uint32_t last_op;
	bool cut;
	struct explore_kept *kept;
};

struct child {
	const struct explore_params *p;
	struct explore_shared *s;
	unsigned int k;
	struct agent *a;
	int result;
	struct run *runs; /* mine */
	uint32_t nr_runs;
	struct case_run *c; /* the one at work */
	struct case_params params;
	char dir[256];
	char why[1400]; /* of its end */
	struct pf_channel channel;
	bool channel_open;
	struct workers *workers;
	struct case_pool *pool;
	struct look look;
	struct explore_judge judge;
	struct explore_answers answers;
	struct explore_turn *turn; /* NULL: all run at once */
	uint64_t since_ns; /* when this phase began */
	int kmsg; /* -1: what the kernel says is not noted */
};

static void at(struct child *ch, uint32_t nr)
{
	atomic_store(&ch->s->since_ns[ch->k], pf_now_ns());
	atomic_store(&ch->s->at[ch->k], nr);
}

static void take_turn(struct child *ch, bool first)
{
	if (!ch->turn)
		return;
	atomic_store(&ch->s->waits[ch->k], true);
	explore_turn_take(ch->turn, first);
	atomic_store(&ch->s->since_ns[ch->k], pf_now_ns());
	atomic_store(&ch->s->waits[ch->k], false);
}

static void give_turn(struct child *ch)
{
	if (ch->turn)
		explore_turn_give(ch->turn);
}

/* While a step of a sequence sleeps; struct workers' give and take. */
static void step_sleeps(void *arg)
{
	give_turn(arg);
}

static void step_slept(void *arg)
{
	take_turn(arg, true);
}

/* The next sequence of a phase begins. */
static void next(struct child *ch, const struct run *r)
{
	if (ch->turn && explore_turn_wanted(ch->turn)) {
		at(ch, 0);
		give_turn(ch);
		take_turn(ch, false);
		kmsg_skip(ch->kmsg);
	}
	at(ch, r->item->nr);
}

/* The sequence is through with this phase. */
static void through(struct child *ch, const struct run *r)
{
	if (ch->kmsg >= 0)
		kmsg_overheard(ch->a, ch->kmsg, r->item->nr);
}

/* A file with a mapping needs a declared size; nothing here may end anything but this sequence. */
static void refuse_what_spreads(struct case_run *c)
{
	const unsigned int flags = PF_FAULT_EXCLUSIVE | PF_FAULT_LAST | PF_FAULT_POWER |
				   PF_FAULT_OPENS | PF_FAULT_CLOSES;

	for (int i = 0; i < c->seq.nr_steps; i++) {
		const struct pf_fault_ops *f = c->seq.steps[i].fault;

		if (f && ((f->flags & flags) || f->prim == PF_PRIM_SYNCFS))
			case_end(c, CASE_SKIP, "%s touches other files as well", f->name);
	}
}

/* Make @r's sequence the one at work, as its last phase left it. */
static void take_up(struct child *ch, const struct run *r)
{
	const struct explore_params *p = ch->p;
	struct case_run *c = ch->c;
	char err[200];

	snprintf(ch->dir, sizeof(ch->dir), "%.200s/%u", p->dir, r->item->nr);
	ch->params = (struct case_params){
		.nr = r->item->nr, .run = p->run, .dir = ch->dir, .mnt = p->mnt,
		.scratch = p->scratch, .channel = p->channel, .seq = r->item->text,
		.deadline_ms = p->deadline_ms, .grace_ms = p->grace_ms, .guest = p->guest,
		.in = -1, .late = -1,
	};
	c->params = &ch->params;
	c->pool = ch->pool;
	c->workers = ch->workers;
	c->channel = ch->channel;
	c->end = r->end;
	c->flushes.trace = -1; /* thousands of sequences have no time for it */
	c->refused = c->last_ran = false;
	c->nr_pinned = c->nr_open_states = 0;
	atomic_store(&c->reshaping, 0);
	atomic_store(&c->reshapes, 0);
	memset(c->held, 0, sizeof(c->held));
	if (pf_seq_parse(&c->seq, r->item->text, err, sizeof(err)))
		case_end(c, CASE_BROKEN, "sequence:%s", err);
	memset(c->jobs, 0, (size_t)c->seq.nr_steps * sizeof(c->jobs[0]));
	memset(c->files, 0, sizeof(c->files));
	if (case_prepare(c)) /* makes every file closed */
		case_end(c, CASE_BROKEN, "out of memory");
	if (r->nr_files)
		memcpy(c->files, r->files, (size_t)r->nr_files * sizeof(c->files[0]));
	memcpy(c->watches, r->watches, sizeof(c->watches));
	c->dirfd = r->dirfd;
	c->history.last_op = r->last_op;
	c->history.cut = r->cut;
	c->history.used = r->used;
	if (r->used)
		memcpy(c->history.buf, r->history, r->used);
	c->look = (struct look){ .h = &c->history, .run = p->run, .case_nr = r->item->nr,
				 .last_op = r->last_op, .buf = ch->look.buf };
}

/* 0 or -ENOMEM. */
static int put_away(struct child *ch, struct run *r)
{
	struct case_run *c = ch->c;

	if (!r->nr_files && c->seq.nr_files) {
		r->files = malloc((size_t)c->seq.nr_files * sizeof(*r->files));
		if (!r->files)
			return -ENOMEM;
		r->nr_files = c->seq.nr_files;
	}
	if (r->nr_files)
		memcpy(r->files, c->files, (size_t)r->nr_files * sizeof(*r->files));
	memcpy(r->watches, c->watches, sizeof(r->watches));
	r->dirfd = c->dirfd;
	r->end = c->end;
	if (c->end != CASE_RAN && !r->why)
		r->why = strdup(c->why);
	r->last_op = c->history.last_op;
	r->cut = c->history.cut;
	free(r->history);
	r->used = c->history.used;
	r->history = r->used ? malloc(r->used) : NULL;
	if (r->used && !r->history)
		return -ENOMEM;
	if (r->used)
		memcpy(r->history, c->history.buf, r->used);
	return 0;
}

/* Its directory and the files that it begins with. */
static void make(struct child *ch, struct run *r)
{
	struct case_run *c = ch->c;
	int rc;

	r->dirfd = -1;
	take_up(ch, r);
	pf_history_line(&c->history, "pinfault-history %d", PF_HISTORY_VERSION);
	pf_history_line(&c->history, "case %u %u %s %s %s explored", r->item->nr, ch->p->run,
			ch->p->channel, channel_class_names[c->channel.ops->class],
			hold_names[c->channel.ops->hold_kind]);
	refuse_what_spreads(c);
	if (c->end != CASE_RAN)
		return;
	if (!mkdir(ch->dir, 0700))
		c->dirfd = open(ch->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dirfd < 0) {
		case_end(c, CASE_BROKEN, "%s: %s", ch->dir, pf_errno_name(errno));
		return;
	}
	rc = files_create(c);
	if (rc)
		case_end(c, CASE_BROKEN, "%s: %s", ch->dir, pf_errno_name(-rc));
	for (int i = 0; i < c->seq.nr_steps && c->seq.steps[i].verb == PF_VERB_FILE; i++)
		if (c->end == CASE_RAN)
			step_run(&c->jobs[i].job);
}

static void run(struct case_run *c)
{
	bool lasts = c->channel.ops->class == PF_CLASS_LONG_PIN ||
		     c->channel.ops->class == PF_CLASS_FAULTING;
	int i = 0;

	while (i < c->seq.nr_steps && c->seq.steps[i].verb == PF_VERB_FILE)
		i++;
	/* A file step further on is not for here: its file would not be synced. */
	for (; i < c->seq.nr_steps && c->end == CASE_RAN && !c->refused; i++)
		case_run_step(c, &c->jobs[i]);
	if (c->end == CASE_HUNG)
		return;
	case_land(c);
	case_wait_sleepers(c);
	if (c->end == CASE_HUNG)
		return;
	case_unpin(c);
	/* What a pin that outlives the write leaves behind is seen only without it. Of the other
	 * classes an unpin is an munmap. */
	if (c->end == CASE_RAN && lasts && !c->refused)
		look_all(c, &c->look, true);
}

static void drop(struct case_run *c, struct explore_kept *kept)
{
	uint64_t sums[PF_SEQ_FILES_MAX] = { 0 };

	for (int i = 0; i < c->seq.nr_files; i++) {
		struct pf_file *f = &c->files[i];
		size_t from;

		if (f->fd < 0)
			continue;
		mtime_synced(c, f);
		posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
		from = c->history.used;
		look_at(&c->look, f, PF_VIEW_BUFFERED, "dropped", 0, 0);
		sums[i] = explore_sum(&c->history, from);
	}
	pf_history_line(&c->history, "end %llu", (unsigned long long)pf_now_ns());
	explore_keep(c, kept, sums);
}

static void end_files(struct case_run *c)
{
	for (int i = 0; i < PF_SEQ_FILES_MAX; i++)
		if (c->files[i].fd >= 0)
			close(c->files[i].fd);
	if (c->dirfd >= 0)
		close(c->dirfd);
}

/* Everybody comes here; then one syncs the filesystem, if @sync, and all go on. */
static int meet(struct child *ch, enum explore_phase ended, bool sync)
{
	int fd, rc = 0;

	at(ch, 0);
	give_turn(ch);
	/* NOLINTNEXTLINE(bugprone-posix-return): one of them gets a value below 0 */
	if (pthread_barrier_wait(&ch->s->barrier) == PTHREAD_BARRIER_SERIAL_THREAD && sync) {
		fd = open(ch->p->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = fd < 0 || syncfs(fd) ? -errno : 0;
		if (fd >= 0)
			close(fd);
	}
	pthread_barrier_wait(&ch->s->barrier);
	kmsg_skip(ch->kmsg); /* what is said at a sync is of no sequence in particular */
	if (!ch->k) {
		ch->s->phase_ns[ended] = pf_now_ns() - ch->since_ns;
		ch->since_ns = pf_now_ns();
	}
	if (ended != PHASE_DROP)
		take_turn(ch, false);
	return rc;
}

/*
 * All threads of a process on one CPU: a step in a thread of its own is then a switch and not a
 * wake-up of another CPU, and an unmap or a page made read-only flushes no other CPU's TLB.
 * Returns which of the CPUs it is, or a number of its own.
 */
static unsigned int stay_on_one_cpu(unsigned int k)
{
	cpu_set_t all, one;
	unsigned int nth, mine;

	if (sched_getaffinity(0, sizeof(all), &all))
		return k;
	mine = nth = k % (unsigned int)CPU_COUNT(&all);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && !nth--) {
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			sched_setaffinity(0, sizeof(one), &one); /* without it, only slower */
			break;
		}
	return mine;
}

static int setup(struct child *ch, uint32_t nr_items)
{
	struct rlimit files;
	unsigned int cpu = stay_on_one_cpu(ch->k);
	int rc = 0;

	if (ch->p->turns)
		ch->turn = &ch->s->turns[cpu];
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	ch->runs = calloc(nr_items / ch->p->jobs + 1, sizeof(*ch->runs));
	ch->answers = (struct explore_answers){ .s = ch->s, .a = ch->a };
	ch->answers.judged = calloc(nr_items / ch->p->jobs + 1, sizeof(uint32_t));
	ch->pool = calloc(1, sizeof(*ch->pool));
	ch->c = calloc(1, sizeof(*ch->c));
	ch->workers = workers_new(WORKERS);
	if (!ch->runs || !ch->answers.judged || !ch->pool || !ch->c || !ch->workers ||
	    look_init(&ch->look, NULL, 0, 0))
		return -ENOMEM;
	if (ch->turn)
		workers_share(ch->workers, step_sleeps, step_slept, ch);
	pf_history_open(&ch->c->history, -1, NULL);
	ch->c->history.keep = true;
	if (channel_find(&ch->channel, ch->p->channel))
		return -ENOENT;
	ch->channel.scratch_dir = ch->p->scratch;
	ch->channel.deadline_ms = ch->p->deadline_ms;
	if (ch->channel.ops->open)
		rc = ch->channel.ops->open(&ch->channel);
	ch->channel_open = true;
	ch->judge.take = explore_take_line;
	ch->judge.arg = &ch->answers;
	return rc || !ch->p->judge ? rc : explore_judge_start(&ch->judge, ch->p->judge);
}

static int judge_one(struct child *ch, const struct run *r)
{
	struct case_run *c = ch->c;
	static const char stop[] = ".\n";
	uint32_t nr = r->item->nr;
	int rc;

	switch (c->end) {
	case CASE_SKIP:
		explore_say(&ch->answers, nr, "skipped", r->why ? r->why : "");
		return 0;
	case CASE_RAN:
		break;
	default:
		explore_say(&ch->answers, nr, "broken", r->why ? r->why : "");
		return 0;
	}
	if (c->history.cut) {
		explore_say(&ch->answers, nr, "broken",
			    "its history is too long to be judged here");
		return 0;
	}
	explore_say_unnoticed(&ch->answers, nr, &c->history);
	atomic_fetch_add(&ch->s->judge_bytes, c->history.used);
	if (!ch->p->judge) {
		explore_hand_over(&ch->answers, nr, &c->history);
		return 0;
	}
	ch->answers.judged[ch->answers.nr_judged++] = nr;
	rc = explore_judge_send(&ch->judge, c->history.buf, c->history.used);
	return rc ? rc : explore_judge_send(&ch->judge, stop, sizeof(stop) - 1);
}

static int ended(struct child *ch, const char *how, uint32_t nr, const char *why)
{
	char text[1500];
	int n = snprintf(text, sizeof(text), "%s %u %u %s\n", how, ch->k, nr, why);

	return write(ch->result, text, (size_t)n) == n ? 0 : 1;
}

static int phases(struct child *ch, uint32_t *nr, const char **why)
{
	int rc = 0;

	*why = "out of memory";
	take_turn(ch, false);
	for (uint32_t i = 0; i < ch->nr_runs; i++) {
		next(ch, &ch->runs[i]);
		make(ch, &ch->runs[i]);
		if (put_away(ch, &ch->runs[i]))
			return -ENOMEM;
		through(ch, &ch->runs[i]);
	}
	if (meet(ch, PHASE_MAKE, true)) {
		*why = "syncfs of new files failed";
		return -EIO;
	}
	for (uint32_t i = 0; i < ch->nr_runs; i++) {
		next(ch, &ch->runs[i]);
		if (ch->p->mark)
			agent_line(ch->a, "at %u", ch->runs[i].item->nr);
		if (ch->runs[i].end != CASE_RAN)
			continue;
		take_up(ch, &ch->runs[i]);
		run(ch->c);
		if (ch->c->end == CASE_HUNG) {
			*nr = ch->runs[i].item->nr;
			snprintf(ch->why, sizeof(ch->why), "%s: %s", ch->c->why,
				 *ch->c->stack ? ch->c->stack : "no stack");
			*why = ch->why;
			return -ETIMEDOUT;
		}
		if (put_away(ch, &ch->runs[i]))
			return -ENOMEM;
		through(ch, &ch->runs[i]);
	}
	/* An error of it is the filesystem's answer to what came before. */
	meet(ch, PHASE_RUN, true);
	for (uint32_t i = 0; i < ch->nr_runs && !rc; i++) {
		next(ch, &ch->runs[i]);
		take_up(ch, &ch->runs[i]);
		if (ch->c->end == CASE_RAN)
			drop(ch->c, ch->runs[i].kept);
		rc = judge_one(ch, &ch->runs[i]);
		end_files(ch->c);
		free(ch->runs[i].history);
		ch->runs[i].history = NULL;
		through(ch, &ch->runs[i]);
	}
	at(ch, 0);
	*why = "the judge failed";
	if (!rc && ch->p->judge)
		rc = explore_judge_finish(&ch->judge);
	meet(ch, PHASE_DROP, false);
	return rc ? rc : ch->answers.nr_answered == ch->answers.nr_judged ? 0 : -EIO;
}

int explore_child(const struct explore_params *p, struct explore_shared *s,
		  const struct explore_item *items, uint32_t nr_items, unsigned int k,
		  struct agent *a, int result)
{
	static struct child one; /* of this process */
	struct child *ch = &one;
	const char *why = "";
	uint32_t nr = 0;
	int rc;

	one = (struct child){ .p = p, .s = s, .k = k, .a = a, .result = result,
			      .since_ns = pf_now_ns(), .kmsg = p->overhear ? kmsg_follow() : -1 };
	rc = setup(ch, nr_items);
	if (rc)
		return ended(ch, "broken", 0, *ch->channel.detail ? ch->channel.detail
							  : pf_errno_name(-rc));
	for (uint32_t i = k; i < nr_items; i += p->jobs) {
		struct run *r = &ch->runs[ch->nr_runs++];

		r->item = &items[i];
		r->kept = &s->kept[i];
		r->kept->nr = items[i].nr;
	}
	rc = phases(ch, &nr, &why);
	if (rc == -ETIMEDOUT && nr)
		return ended(ch, "hung", nr, why);
	if (rc)
		return ended(ch, "broken", 0, why);
	if (ch->channel.ops->close)
		ch->channel.ops->close(&ch->channel);
	return ended(ch, "done", 0, "");
}
