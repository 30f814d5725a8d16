// SPDX-License-Identifier: GPL-2.0
/*
 * race.c - the request `race`: threads, channels and faults on a few files, in a forked child.
 *
 * The child's main thread makes everything, starts the race, watches that no operation takes longer
 * than the deadline, passes on what the judge says, and tells the end. It takes part in nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../core/cell.h"
#include "../core/clock.h"
#include "../core/token.h"
#include "../../workloads/faults/state.h"
#include "race.h"

#define WATCH_MS 20
#define RUNNING_DEADLINES 5u	/* for one that runs: an emulated machine may be slow */
#define JUDGE_MS 120000u	/* for the judge to end after the race */
#define SLOWEST_OPS_PER_S 20u	/* to tell how long so many operations may take at all */

struct race_main {
	struct race r;
	struct agent a;
	struct race_judge judge;
	int record_fd;
	char end[16], why[400];
	uint64_t began_ns, ended_ns;
	double cpu_s; /* of the race, all threads, user and system */
	int64_t pinned_pages; /* by the registrations; -1: unknown */
};

__attribute__((format(printf, 3, 4))) static bool end_race(struct race_main *m, const char *end,
							    const char *fmt, ...)
{
	va_list ap;

	if (*m->end)
		return false;
	snprintf(m->end, sizeof(m->end), "%s", end);
	va_start(ap, fmt);
	vsnprintf(m->why, sizeof(m->why), fmt, ap);
	va_end(ap);
	return false;
}

static int write_whole(int fd, const uint8_t *data, size_t bytes)
{
	for (size_t at = 0; at < bytes;) {
		ssize_t n = write(fd, data + at, bytes - at);

		if (n <= 0)
			return n ? -errno : -EIO;
		at += (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

/* The files with their first content: file i is written by operation i + 1. */
static bool make_files(struct race_main *m)
{
	struct race *r = &m->r;
	const struct race_params *p = &r->params;
	uint8_t *data = malloc(p->size_bytes);
	int rc = data ? 0 : -ENOMEM;

	for (unsigned int i = 0; i < p->files && !rc; i++) {
		struct pf_cell_id id = { p->run, p->nr, i + 1, i + 1, 0 };
		char name[] = { (char)('A' + i), '\0' };
		int fd = openat(r->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		pf_cell_stamp_range(data, p->size_bytes, &id);
		rc = fd < 0 ? -errno : write_whole(fd, data, p->size_bytes);
		if (fd >= 0) {
			r->dax = state_is_dax(fd);
			close(fd);
		}
	}
	free(data);
	return rc ? end_race(m, "broken", "files in %s: %s", p->dir, pf_errno_name(-rc)) : true;
}

static bool open_dir(struct race_main *m)
{
	const char *dir = m->r.params.dir;
	struct statvfs vfs;
	char why[200];

	if (mkdir(dir, 0700) && errno != EEXIST)
		return end_race(m, "broken", "%s: %s", dir, pf_errno_name(errno));
	m->r.dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->r.dirfd < 0 || fstatvfs(m->r.dirfd, &vfs))
		return end_race(m, "broken", "%s: %s", dir, pf_errno_name(errno));
	if (race_plan_init(&m->r.plan, &m->r.params, vfs.f_bsize, why, sizeof(why)))
		return end_race(m, "broken", "%s", why);
	return true;
}

static void drop_view(struct race_plan *p, enum pf_view view)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < p->nr_views; i++)
		if (p->views[i] != view)
			p->views[kept++] = p->views[i];
	p->nr_views = kept;
}

static bool make_threads(struct race_main *m)
{
	struct race *r = &m->r;
	const struct race_params *p = &r->params;
	char why[200] = "";

	for (unsigned int i = 0; i < p->threads; i++) {
		struct race_thread *t = &r->threads[i];
		int rc;

		t->race = r;
		t->nr = i;
		if (channel_find(&t->channel, p->channel))
			return end_race(m, "broken", "no channel '%s'", p->channel);
		t->channel.scratch_dir = p->scratch;
		t->channel.deadline_ms = p->deadline_ms;
		rc = race_thread_setup(t, why, sizeof(why));
		if (rc)
			return end_race(m, "broken", "%s", *why ? why : pf_errno_name(-rc));
		if (t->files[0].direct_fd < 0)
			drop_view(&r->plan, PF_VIEW_DIRECT);
	}
	return r->plan.nr_views ? true : end_race(m, "skip", "no view of the plan exists here");
}

static bool pin_threads(struct race_main *m)
{
	struct pin_counters before, after;
	int rc = pin_counters_read(&before);
	char why[200];

	m->pinned_pages = -1;
	for (unsigned int i = 0; i < m->r.plan.nr_threads; i++) {
		const struct pf_channel_ops *ops = m->r.threads[i].channel.ops;
		int err = -race_thread_pin(&m->r.threads[i], why, sizeof(why));

		if (err)
			return end_race(m, ops->unsupported && ops->unsupported(err) ? "skip" :
										       "refused",
					"%s", why);
	}
	if (!rc && !pin_counters_read(&after))
		m->pinned_pages = pin_counters_held(&after) - pin_counters_held(&before);
	return true;
}

/*
 * The stream could not be written: rc, negative. A judge that is gone is a pipe without a reader,
 * from the header on.
 */
static bool end_race_unrecorded(struct race_main *m, int rc)
{
	if (rc == -EPIPE)
		return end_race(m, "broken", "the judge ended before the race");
	return end_race(m, "broken", "stream: %s", pf_errno_name(-rc));
}

/* Where the stream goes: the judge, a file, both. */
static bool start_record(struct race_main *m)
{
	struct race *r = &m->r;
	const struct race_params *p = &r->params;
	struct pf_race_header h = {
		.run = p->run,
		.case_nr = p->nr,
		.nr_threads = p->threads,
		.nr_files = p->files,
		.class = r->threads[0].channel.ops->class,
		.seed = p->seed,
	};
	int rc = 0;

	m->record_fd = -1;
	if (!r->recording)
		return true;
	snprintf(h.channel, sizeof(h.channel), "%s", p->channel);
	for (unsigned int i = 0; i < p->files; i++)
		h.files[i] = (struct pf_race_file){
			.id = i + 1,
			.op = i + 1,
			.cells = (uint32_t)(p->size_bytes / PF_CELL_BYTES),
			.flags = r->dax ? PF_RACE_FILE_DAX : 0,
		};
	if (p->record) {
		m->record_fd = open(p->record, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (m->record_fd < 0)
			return end_race(m, "broken", "%s: %s", p->record, pf_errno_name(errno));
	}
	if (p->judge)
		rc = race_judge_start(&m->judge, p->judge);
	if (rc)
		return end_race(m, "broken", "%s: %s", p->judge, pf_errno_name(-rc));
	r->log.second_max_bytes = p->record_max_bytes;
	rc = pf_racelog_begin(&r->log, m->judge.in, m->record_fd, &h);
	return rc ? end_race_unrecorded(m, rc) : true;
}

static bool start_thread(struct race_main *m, struct race_thread *t, void *(*fn)(void *))
{
	int rc;

	atomic_store(&t->done, false);
	t->joined = false;
	rc = pthread_create(&t->thread, NULL, fn, t);
	t->started = !rc;
	return rc ? end_race(m, "broken", "thread: %s", pf_errno_name(rc)) : true;
}

/* Is @t's operation over its deadline? Says so. One that waits for the judge is not. */
static bool late(struct race_main *m, struct race_thread *t)
{
	uint64_t since = atomic_load(&t->since_ns), now = pf_now_ns(), deadline_ns;
	char where[128];

	deadline_ns = m->r.params.deadline_ms * PF_NS_PER_MS;
	if (!since || now < since || now - since < deadline_ns || atomic_load(&t->done))
		return false;
	if (m->r.recording && atomic_load(&t->buf.open) == PF_RACE_BUSY)
		return now - since >= JUDGE_MS * PF_NS_PER_MS
			       ? !end_race(m, "broken", "the judge does not read")
			       : false;
	if (thread_letter(atomic_load(&t->tid)) == 'R' &&
	    now - since < RUNNING_DEADLINES * deadline_ns)
		return false;
	thread_where(atomic_load(&t->tid), where, sizeof(where));
	end_race(m, "hung", "thread %u, in %s", t->nr, where);
	return true;
}

/*
 * Wait until all that was started is through, or something hangs: false. After @until_ns (0: never)
 * they are told to stop.
 */
static bool watch(struct race_main *m, uint64_t until_ns)
{
	struct race *r = &m->r;
	uint64_t count;

	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = r->done_fd, .events = POLLIN },
			{ .fd = m->judge.out, .events = POLLIN },
		};
		unsigned int under_way = 0;

		if (poll(fds, 2, WATCH_MS) > 0) {
			if (fds[0].revents && read(r->done_fd, &count, sizeof(count)) < 0)
				return false;
			if (fds[1].revents)
				race_judge_relay(&m->judge, &m->a);
		}
		if (until_ns && pf_now_ns() >= until_ns)
			atomic_store(&r->stop, true);
		for (unsigned int i = 0; i < r->plan.nr_threads; i++) {
			struct race_thread *t = &r->threads[i];

			if (t->started && !t->joined && late(m, t))
				return false;
			under_way += t->started && !t->joined && !atomic_load(&t->done);
		}
		if (!under_way)
			return true;
	}
}

static void join_done(struct race *r)
{
	for (unsigned int i = 0; i < r->plan.nr_threads; i++) {
		struct race_thread *t = &r->threads[i];

		if (t->started && !t->joined && atomic_load(&t->done))
			t->joined = !pthread_join(t->thread, NULL);
	}
}

/* Which of them hangs for a reason of its own, and which behind another one, is not ours to say. */
static void name_the_late(struct race_main *m)
{
	size_t used = 0;

	for (unsigned int i = 0; i < m->r.plan.nr_threads && used < sizeof(m->why); i++) {
		struct race_thread *t = &m->r.threads[i];
		char where[128];

		if (!t->started || atomic_load(&t->done))
			continue;
		thread_where(atomic_load(&t->tid), where, sizeof(where));
		used += (size_t)snprintf(m->why + used, sizeof(m->why) - used,
					 "%sthread %u, in %s", used ? "; " : "", i, where);
	}
}

/* Something hangs: give the others the time that an operation may take to come back. */
static void wait_for_others(struct race *r)
{
	uint64_t until_ns = pf_now_ns() + r->params.deadline_ms * PF_NS_PER_MS;

	atomic_store(&r->stop, true);
	while (pf_now_ns() < until_ns) {
		unsigned int under_way = 0;

		for (unsigned int i = 0; i < r->plan.nr_threads; i++)
			under_way += r->threads[i].started && !atomic_load(&r->threads[i].done);
		if (under_way <= 1)
			break;
		poll(NULL, 0, 1);
	}
	join_done(r);
}

static void close_records(struct race_main *m)
{
	struct race *r = &m->r;

	for (unsigned int i = 0; r->recording && i < r->plan.nr_threads; i++) {
		uint64_t until_ns = pf_now_ns() + r->params.deadline_ms * PF_NS_PER_MS;

		while (r->threads[i].buf.bytes && pf_race_close(&r->threads[i].buf) == -EBUSY &&
		       pf_now_ns() < until_ns)
			poll(NULL, 0, 1);
	}
	if (m->record_fd >= 0)
		close(m->record_fd);
}

static double cpu_seconds(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u))
		return 0;
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* The race proper, and the looks after it. */
static void run_race(struct race_main *m)
{
	struct race *r = &m->r;
	unsigned int started = 0;
	bool through;

	pthread_barrier_init(&r->start, NULL, r->plan.nr_threads + 1);
	while (started < r->plan.nr_threads &&
	       start_thread(m, &r->threads[started], race_thread_main))
		started++;
	if (started < r->plan.nr_threads)
		return; /* those that did start wait at the barrier, till the process ends */
	m->cpu_s = cpu_seconds();
	m->began_ns = pf_now_ns();
	pthread_barrier_wait(&r->start);
	through = watch(m, r->params.ms ? m->began_ns + r->params.ms * PF_NS_PER_MS : 0);
	m->ended_ns = pf_now_ns();
	m->cpu_s = cpu_seconds() - m->cpu_s;
	if (through) {
		join_done(r);
		if (r->recording && r->log.error)
			end_race_unrecorded(m, r->log.error);
		else if (start_thread(m, &r->threads[0], race_last_main))
			through = watch(m, 0);
	}
	if (through)
		join_done(r);
	else
		wait_for_others(r);
	if (!strcmp(m->end, "hung"))
		name_the_late(m);
}

static void say_errors(struct race_main *m, const struct race_counts *sum)
{
	static const char *const verbs[] = { "write", "store", "pwrite", "look", "fault" };

	for (unsigned int v = 0; v < PF_RACE_VERBS_NR; v++) {
		agent_line(&m->a, "env %s %llu", verbs[v], (unsigned long long)sum->done[v]);
		for (int e = 0; e < RACE_ERRNO_MAX; e++)
			if (sum->errors[v][e])
				agent_line(&m->a, "env %s:%s %llu", verbs[v],
					   e ? pf_errno_name(e) : "other",
					   (unsigned long long)sum->errors[v][e]);
	}
}

static void say_faults(struct race_main *m, const struct race_counts *sum)
{
	const struct race_plan *p = &m->r.plan;

	for (unsigned int i = 0; i < p->nr_faults; i++) {
		const struct race_fault *f = &p->faults[i];
		int dropped = atomic_load(&f->dropped);

		if (sum->fault_done[i] || sum->fault_failed[i])
			agent_line(&m->a, "env fault:%s %llu%%20failed%%20%llu", f->ops->name,
				   (unsigned long long)sum->fault_done[i],
				   (unsigned long long)sum->fault_failed[i]);
		if (dropped)
			agent_line(&m->a, "env dropped:%s %s", f->ops->name,
				   pf_errno_name(dropped));
	}
}

static void add_counts(struct race_counts *sum, const struct race_counts *c)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)c;

	_Static_assert(sizeof(*c) % sizeof(*from) == 0, "nothing but counters");
	for (size_t i = 0; i < sizeof(*c) / sizeof(*from); i++)
		to[i] += from[i];
}

static void say_counts(struct race_main *m)
{
	static struct race_counts sum;
	double seconds = (double)(m->ended_ns - m->began_ns) / 1e9;
	unsigned long long ops = 0;

	for (unsigned int i = 0; i < m->r.plan.nr_threads; i++) {
		add_counts(&sum, &m->r.threads[i].counts);
		ops += m->r.threads[i].nr_ops;
	}
	agent_line(&m->a, "env ops %llu", ops);
	agent_line(&m->a, "env seconds %.3f", seconds);
	agent_line(&m->a, "env cpu_s %.3f", m->cpu_s);
	agent_line(&m->a, "env ops_per_s %.0f", seconds > 0 ? (double)ops / seconds : 0.0);
	if (atomic_load(&m->r.dead))
		agent_line(&m->a, "env dead %s", pf_errno_name(atomic_load(&m->r.dead)));
	agent_line(&m->a, "env cells_seen %llu", (unsigned long long)sum.cells);
	agent_line(&m->a, "env choices_skipped %llu", (unsigned long long)sum.skipped);
	agent_line(&m->a, "env stream_bytes %llu", (unsigned long long)m->r.log.bytes);
	if (m->r.threads[0].channel.ops->pin) {
		agent_line(&m->a, "env repinned %llu", (unsigned long long)sum.repinned);
		agent_line(&m->a, "env repin_failed %llu", (unsigned long long)sum.repin_failed);
		agent_line(&m->a, "env pinned_pages %lld", (long long)m->pinned_pages);
	}
	say_errors(m, &sum);
	say_faults(m, &sum);
}

/* Everything the child does; see child_do. */
static int race_child(void *arg, int out, int result)
{
	const struct race_params *p = arg;
	struct race_main *m = calloc(1, sizeof(*m));
	char text[450];
	int n;

	if (!m)
		return 1;
	m->a.out = out;
	m->judge.in = m->judge.out = -1;
	m->r.params = *p;
	m->r.recording = p->check == RACE_CHECKED;
	m->r.quota = p->ops ? (p->ops + p->threads - 1) / p->threads : UINT64_MAX;
	m->r.dirfd = -1;
	m->r.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (open_dir(m) && make_files(m) && make_threads(m) && pin_threads(m) && start_record(m)) {
		run_race(m);
		close_records(m);
		say_counts(m);
		race_judge_finish(&m->judge, &m->a, JUDGE_MS);
	} else {
		for (unsigned int i = 0; i < m->r.plan.nr_threads; i++)
			if (m->r.threads[i].race)
				race_thread_release(&m->r.threads[i]);
	}
	n = snprintf(text, sizeof(text), "%s %s", *m->end ? m->end : "ran", m->why);
	return write(result, text, (size_t)n) != n;
}

static unsigned int limit_ms(const struct race_params *p)
{
	uint64_t ms = p->ms ? p->ms : p->ops * 1000 / SLOWEST_OPS_PER_S;

	ms += (uint64_t)(RUNNING_DEADLINES + 3) * p->deadline_ms + 2 * JUDGE_MS;
	return ms < INT32_MAX ? (unsigned int)ms : INT32_MAX;
}

void do_race(struct agent *a, char **words, int nr)
{
	struct race_params p = {
		.nr = (uint32_t)arg_u64(words, nr, "nr", 0),
		.run = (uint32_t)arg_u64(words, nr, "run", 0),
		.dir = arg_find(words, nr, "dir"),
		.mnt = arg_find(words, nr, "mnt"),
		.scratch = arg_find(words, nr, "scratch"),
		.channel = arg_find(words, nr, "channel"),
		.faults = arg_find(words, nr, "faults"),
		.without = arg_find(words, nr, "without"),
		.views = arg_find(words, nr, "views"),
		.verbs = arg_find(words, nr, "verbs"),
		.judge = arg_find(words, nr, "judge"),
		.record = arg_find(words, nr, "record"),
		.record_max_bytes = arg_u64(words, nr, "record_max", 0),
		.seed = arg_u64(words, nr, "seed", 0),
		.size_bytes = arg_u64(words, nr, "size", 256u << 10),
		.ops = arg_u64(words, nr, "ops", 0),
		.ms = arg_u64(words, nr, "ms", 0),
		.threads = (unsigned int)arg_u64(words, nr, "threads", 4),
		.files = (unsigned int)arg_u64(words, nr, "files", 2),
		.deadline_ms = (unsigned int)arg_u64(words, nr, "deadline_ms", 10000),
		.check = (enum race_check)arg_u64(words, nr, "check", RACE_CHECKED),
		.guest = a->guest,
	};

	if (!p.nr || !p.dir || !p.mnt || !p.scratch || !p.channel || (!p.ops && !p.ms) ||
	    !p.threads || p.threads > PF_RACE_THREADS_MAX) {
		agent_line(a, "err 22 race%%20needs%%20nr,%%20dir,%%20mnt,%%20scratch,%%20channel,"
			   "%%20and%%20ops%%20or%%20ms");
		return;
	}
	child_do(a, race_child, &p, p.mnt, limit_ms(&p));
}
