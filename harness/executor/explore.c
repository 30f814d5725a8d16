// SPDX-License-Identifier: GPL-2.0
/*
 * explore.c - the agent's side of exploring: it starts the processes, watches that each comes on,
 * and kills them all when one does not. The runner then sets that sequence aside and sends the rest
 * again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/clock.h"
#include "../core/token.h"
#include "explore.h"

#define WATCH_MS 100
#define MARK_MS 1000	/* between two lines that say where it is */
#define SLOW 5u		/* deadlines for one that is running */
#define STILL 10u	/* and for all of them together between two sequences: a sync, the judge */
#define TEXT_MAX 8192	/* of a sequence */
#define CHUNKS_MAX 256

/* Chunks run since the filesystem was mounted, for explore-views. */
static struct explore_shared *chunks[CHUNKS_MAX];
static char chunk_dirs[CHUNKS_MAX][256];
static unsigned int nr_chunks;

static size_t shared_bytes(uint32_t nr)
{
	return sizeof(struct explore_shared) + nr * sizeof(struct explore_kept);
}

static void forget_chunks(void)
{
	while (nr_chunks) {
		nr_chunks--;
		munmap(chunks[nr_chunks], shared_bytes(chunks[nr_chunks]->nr_kept));
	}
}

static struct explore_shared *make_shared(uint32_t nr, unsigned int jobs)
{
	struct explore_shared *s = mmap(NULL, shared_bytes(nr), PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_barrierattr_t attr;

	if (s == MAP_FAILED)
		return NULL;
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&s->barrier, &attr, jobs);
	for (unsigned int cpu = 0; cpu < EXPLORE_JOBS_MAX; cpu++)
		explore_turn_init(&s->turns[cpu]);
	s->nr_kept = nr;
	return s;
}

/* The lines of the request: "seq NR TEXT" until "go". Returns their number, or -errno. */
static long read_items(struct agent *a, struct explore_item *items, uint32_t max)
{
	char *line = NULL, *words[4];
	size_t bytes = 0;
	uint64_t nr;
	long got = 0;

	while (getline(&line, &bytes, a->in) > 0) {
		int n = pf_token_split(line, words, 4);

		if (n == 1 && !strcmp(words[0], "go")) {
			free(line);
			return got;
		}
		if (got < 0 || (uint32_t)got == max || n != 3 || strcmp(words[0], "seq") != 0 ||
		    pf_token_u64(words[1], &nr) || !nr || nr > UINT32_MAX ||
		    pf_token_decode(words[2]) || strlen(words[2]) > TEXT_MAX) {
			got = -EINVAL; /* the rest is read all the same */
			continue;
		}
		items[got].nr = (uint32_t)nr;
		items[got].text = strdup(words[2]);
		got = items[got].text ? got + 1 : -ENOMEM;
	}
	exit(2); /* the runner is gone */
}

/*
 * The thread of @pid that is at work, and its state letter: one that runs; or else the main one,
 * which waits for the others itself and says which of them sleeps too long.
 */
static int thread_at_work(pid_t pid, char *letter)
{
	int tid = (int)pid;
	char path[64];
	struct dirent *e;
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	threads = opendir(path);
	*letter = thread_letter(tid);
	while (threads && *letter == 'S' && (e = readdir(threads))) {
		int other = atoi(e->d_name);

		if (other > 0 && thread_letter(other) == 'R') {
			tid = other;
			*letter = 'R';
		}
	}
	if (threads)
		closedir(threads);
	return tid;
}

/* Where thread @tid is, and the functions around it. */
static void thread_told(int tid, char *out, size_t bytes)
{
	char stack[2048];
	size_t used;

	thread_where(tid, out, bytes);
	thread_stack(tid, stack, sizeof(stack));
	stack_frames(stack);
	used = strlen(out);
	snprintf(out + used, bytes - used, ": %s", *stack ? stack : "no stack");
}

#define TOLD_BYTES 1500		       /* of why one ended */
#define TOKEN_BYTES (3 * TOLD_BYTES) /* encoded, at most */

struct watch {
	struct agent *a;
	const struct explore_params *p;
	struct explore_shared *s;
	pid_t pids[EXPLORE_JOBS_MAX];
	unsigned int done;
	char end[TOKEN_BYTES + 32]; /* of the reply, "" while all is well */
};

/* One line from a child: "done K NR WHY". */
static void child_said(struct watch *w, char *text)
{
	char how[16], token[TOKEN_BYTES], *why;
	unsigned int k, nr;
	int at = 0;

	if (sscanf(text, "%15s %u %u %n", how, &k, &nr, &at) < 3)
		return;
	if (!strcmp(how, "done")) {
		w->done++;
		return;
	}
	if (*w->end)
		return;
	why = text + at;
	pf_token_encode(token, sizeof(token), why);
	if (!strcmp(how, "hung"))
		snprintf(w->end, sizeof(w->end), "ok hung %u %s", nr, token);
	else
		snprintf(w->end, sizeof(w->end), "err 5 %s", token);
}

/* Nobody has come to another sequence for long: the one that waits for no other is told. */
static void watch_all(struct watch *w, uint64_t now_ns)
{
	char where[TOLD_BYTES] = "", token[TOKEN_BYTES];
	uint64_t newest_ns = 0;
	pid_t pid = 0;

	for (unsigned int k = 0; k < w->p->jobs; k++) {
		uint64_t since_ns = atomic_load(&w->s->since_ns[k]);

		newest_ns = since_ns > newest_ns ? since_ns : newest_ns;
	}
	if (*w->end || now_ns < newest_ns + STILL * w->p->deadline_ms * PF_NS_PER_MS)
		return;
	for (unsigned int k = 0; k < w->p->jobs; k++) {
		pid = w->pids[k] > 0 ? w->pids[k] : pid;
		if (w->pids[k] > 0 && thread_letter(pid) != 'S')
			break;
	}
	if (pid)
		thread_told(pid, where, sizeof(where));
	pf_token_encode(token, sizeof(token), where);
	snprintf(w->end, sizeof(w->end), "ok hung 0 %s", token);
}

static void watch_children(struct watch *w)
{
	uint64_t now_ns = pf_now_ns();

	for (unsigned int k = 0; k < w->p->jobs && !*w->end; k++) {
		uint32_t nr = atomic_load(&w->s->at[k]);
		uint64_t since_ns = atomic_load(&w->s->since_ns[k]);
		uint64_t late_ms = now_ns > since_ns ? (now_ns - since_ns) / PF_NS_PER_MS : 0;
		char where[TOLD_BYTES], token[TOKEN_BYTES], letter;
		int status, tid;

		if (w->pids[k] > 0 && waitpid(w->pids[k], &status, WNOHANG) == w->pids[k]) {
			w->pids[k] = 0;
			if (WIFSIGNALED(status)) {
				fell_text(&w->s->fell[k], WTERMSIG(status), where, sizeof(where));
				pf_token_encode(token, sizeof(token), where);
				snprintf(w->end, sizeof(w->end), "ok died %u %s", nr, token);
			}
			continue;
		}
		/* A step has its own deadline; this is for what has none. */
		if (!nr || atomic_load(&w->s->waits[k]) ||
		    late_ms < 2 * (uint64_t)w->p->deadline_ms ||
		    atomic_load(&w->s->at[k]) != nr)
			continue;
		tid = thread_at_work(w->pids[k], &letter);
		if (letter == 'R' && late_ms < SLOW * (uint64_t)w->p->deadline_ms)
			continue;
		thread_told(tid, where, sizeof(where));
		pf_token_encode(token, sizeof(token), where);
		snprintf(w->end, sizeof(w->end), "ok hung %u %s", nr, token);
	}
	watch_all(w, now_ns);
}

/* Kill what is left and wait for it. False: one cannot be killed. */
static bool end_children(struct watch *w)
{
	uint64_t until_ns = pf_now_ns() + 5000 * PF_NS_PER_MS;
	bool gone = false;

	for (unsigned int k = 0; k < w->p->jobs; k++)
		if (w->pids[k] > 0 && *w->end)
			kill(w->pids[k], SIGKILL);
	while (!gone && pf_now_ns() < until_ns) {
		gone = true;
		for (unsigned int k = 0; k < w->p->jobs; k++) {
			if (w->pids[k] > 0 && waitpid(w->pids[k], NULL, WNOHANG) != 0)
				w->pids[k] = 0;
			gone = gone && w->pids[k] <= 0;
		}
		if (!gone)
			poll(NULL, 0, 1);
	}
	return gone;
}

static void say_mark(struct watch *w)
{
	char line[16 * EXPLORE_JOBS_MAX] = "at";
	size_t used = 2;

	for (unsigned int k = 0; k < w->p->jobs; k++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, " %u",
					 atomic_load(&w->s->at[k]));
	agent_line(w->a, "%s", line);
}

static void watch(struct watch *w, int result)
{
	struct pollfd p = { .fd = result, .events = POLLIN };
	uint64_t marked_ns = pf_now_ns();
	char text[4096], *save = NULL;

	while (w->done < w->p->jobs && !*w->end) {
		if (poll(&p, 1, WATCH_MS) > 0) {
			ssize_t n = read(result, text, sizeof(text) - 1);

			text[n > 0 ? n : 0] = '\0';
			for (char *l = strtok_r(text, "\n", &save); l;
			     l = strtok_r(NULL, "\n", &save))
				child_said(w, l);
		}
		watch_children(w);
		if (pf_now_ns() - marked_ns > MARK_MS * PF_NS_PER_MS) {
			say_mark(w);
			marked_ns = pf_now_ns();
		}
	}
}

static uint64_t us_of(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * 1000000 + (uint64_t)tv->tv_usec;
}

static uint64_t children_cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return us_of(&u.ru_utime) + us_of(&u.ru_stime);
}

static void say_counters(struct watch *w, uint64_t cpu_us, uint64_t wall_us)
{
	static const char *const phases[] = { "make", "run", "drop" };
	struct explore_shared *s = w->s;

	agent_line(w->a, "env coherent %llu", (unsigned long long)s->coherent);
	agent_line(w->a, "env not_coherent %llu", (unsigned long long)s->not_coherent);
	for (int i = 0; i < EXPLORE_RESOLUTIONS; i++)
		if (s->resolutions[i])
			agent_line(w->a, "env resolution:%s %llu", explore_resolutions[i],
				   (unsigned long long)s->resolutions[i]);
	for (int i = 0; i < PHASES_NR; i++)
		agent_line(w->a, "env phase_us:%s %llu", phases[i],
			   (unsigned long long)s->phase_ns[i] / 1000);
	agent_line(w->a, "env judge_bytes %llu", (unsigned long long)s->judge_bytes);
	agent_line(w->a, "env cpu_us %llu", (unsigned long long)cpu_us);
	agent_line(w->a, "env wall_us %llu", (unsigned long long)wall_us);
}

static void explore(struct agent *a, const struct explore_params *p,
		    const struct explore_item *items, uint32_t nr)
{
	struct watch w = { .a = a, .p = p, .s = make_shared(nr, p->jobs) };
	uint64_t began_ns = pf_now_ns(), cpu_us = children_cpu_us();
	int fds[2];

	if (!w.s || nr_chunks == CHUNKS_MAX || pipe2(fds, O_CLOEXEC)) {
		agent_line(a, "err 12 explore:%%20out%%20of%%20memory");
		return;
	}
	snprintf(chunk_dirs[nr_chunks], sizeof(chunk_dirs[0]), "%.200s", p->dir);
	chunks[nr_chunks++] = w.s;
	if (mkdir(p->dir, 0700) && errno != EEXIST)
		snprintf(w.end, sizeof(w.end), "err %d mkdir", errno);
	for (unsigned int k = 0; k < p->jobs && !*w.end; k++) {
		atomic_store(&w.s->since_ns[k], pf_now_ns());
		w.pids[k] = fork();
		if (w.pids[k] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			fell_note_in(&w.s->fell[k]);
			close(fds[0]);
			_exit(explore_child(p, w.s, items, nr, k, a, fds[1]));
		}
		if (w.pids[k] < 0)
			snprintf(w.end, sizeof(w.end), "err %d fork", errno);
	}
	close(fds[1]);
	watch(&w, fds[0]);
	close(fds[0]);
	if (!end_children(&w))
		agent_line(a, "ok stuck %s", *w.end ? strchr(w.end, ' ') + 1 : "?");
	else if (*w.end)
		agent_line(a, "\n%s", w.end); /* a killed one may have left half a line */
	else {
		say_counters(&w, children_cpu_us() - cpu_us, (pf_now_ns() - began_ns) / 1000);
		agent_line(a, "ok ran");
	}
}

void do_explore(struct agent *a, char **words, int nr)
{
	const char *judge = arg_find(words, nr, "judge");
	struct explore_params p = {
		.run = (uint32_t)arg_u64(words, nr, "run", 0),
		.dir = arg_find(words, nr, "dir"),
		.mnt = arg_find(words, nr, "mnt"),
		.scratch = arg_find(words, nr, "scratch"),
		.channel = arg_find(words, nr, "channel"),
		.judge = judge && strcmp(judge, "-") ? judge : NULL,
		.deadline_ms = (unsigned int)arg_u64(words, nr, "deadline_ms", 3000),
		.grace_ms = (unsigned int)arg_u64(words, nr, "grace_ms", 120),
		.jobs = (unsigned int)arg_u64(words, nr, "jobs", 4),
		.guest = a->guest,
		.first = arg_u64(words, nr, "first", 0) != 0,
		.mark = arg_u64(words, nr, "mark", 0) != 0,
		.turns = arg_u64(words, nr, "turns", 0) != 0,
		.overhear = arg_u64(words, nr, "overhear", 0) != 0,
	};
	static struct explore_item items[EXPLORE_CHUNK_MAX];
	long got = read_items(a, items, EXPLORE_CHUNK_MAX);

	if (p.first)
		forget_chunks();
	if (!p.dir || !p.mnt || !p.scratch || !p.channel || !judge || !p.jobs ||
	    p.jobs > EXPLORE_JOBS_MAX)
		agent_line(a, "err 22 explore%%20needs%%20dir,%%20mnt,%%20scratch,%%20channel,"
			   "%%20judge,%%20jobs");
	else if (got <= 0)
		agent_line(a, "err 22 explore%%20needs%%20lines%%20seq%%20NR%%20TEXT,"
			   "%%20and%%20go");
	else
		explore(a, &p, items, (uint32_t)got);
	for (long i = 0; i < got; i++)
		free((void *)(uintptr_t)items[i].text);
}

void do_explore_views(struct agent *a, char **words, int nr)
{
	uint32_t run = (uint32_t)arg_u64(words, nr, "run", 0);
	struct pf_history *h = calloc(1, sizeof(*h));
	unsigned long long looked = 0;
	struct look l;
	char which[32], path[256];
	const char *mnt = arg_find(words, nr, "mnt");

	if (!h || !mnt || look_init(&l, h, run, 0)) {
		agent_line(a, "err 22 explore-views%%20needs%%20mnt,%%20run");
		free(h);
		return;
	}
	pf_history_open(h, -1, NULL);
	h->keep = true;
	for (unsigned int c = 0; c < nr_chunks; c++)
		for (uint32_t i = 0; i < chunks[c]->nr_kept; i++) {
			const struct explore_kept *kept = &chunks[c]->kept[i];

			snprintf(path, sizeof(path), "%.200s", chunk_dirs[c]);
			looked += kept->whole ? kept->nr_names : 0;
			if (explore_compare(kept, path, run, &l, which, sizeof(which)))
				agent_line(a,
					   "x %u remount lost view-split - %s%%20is%%20not%%20as"
					   "%%20before%%20the%%20remount",
					   kept->nr, which);
		}
	agent_line(a, "env looked %llu", looked);
	forget_chunks();
	look_exit(&l);
	free(h);
	agent_line(a, "ok");
}
