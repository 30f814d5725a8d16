// SPDX-License-Identifier: GPL-2.0
/*
 * bench_judge.c - how fast the judge of races judges, and what it keeps.
 *
 *	bench_judge [OPERATIONS | STREAM]...	default 1000000 10000000
 *
 * A child makes a race's stream and writes it into a pipe; this process judges it as it comes. Or a
 * STREAM that was recorded (run.sh race --record) is judged for two seconds, again and again. What
 * the judge needs is its own CPU time, whatever the child takes.
 *
 * The generated stream was matched by recorded ones (store on tmpfs and ext4, four threads on two
 * CPUs, two files of 256 KiB that change their size): verbs and faults in their shares, ranges in
 * theirs (a quarter one cell, a quarter less than a page, a third one page, the rest up to eight
 * pages, one in a hundred the whole file; half of them where everybody acts), most operations a
 * few microseconds long, some much longer because their thread was not running. Recorded: 62 to
 * 64 cells looked at an operation, 2.6 runs a look, 93 to 97 % of the operations beside another
 * one and 17 to 25 % meeting one, on 16 to 35 cells an operation. Generated: 51 cells, 2.4 runs,
 * 99 %; but only 9 % meet one, on 8 cells, so a recorded stream is the harder measure. No pwrites
 * that extend: stores here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../core/fault.h"
#include "../judge/race_judge.h"
#include "../core/racelog.h"

#define THREADS 4u
#define FILES 2u
#define CELLS 4096u
#define CELLS_MAX 8192u
#define HOT_CELLS 1024u
#define CHUNK_BYTES 65536u

static uint64_t rng_state = 88172645463325252ull;

static uint32_t below(uint32_t n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (uint32_t)((rng_state >> 32) * n >> 32);
}

struct thread {
	struct pf_race_rec rec;
	uint64_t effect_ns;
	bool done; /* the effect has been had */
	uint32_t nr;
	uint8_t chunk[CHUNK_BYTES + sizeof(struct pf_race_rec) + 64 * sizeof(struct pf_race_run)];
	uint32_t bytes, nr_records;
	struct pf_race_run runs[64];
};

static struct thread threads[THREADS];
static pf_value cells[FILES][CELLS_MAX];
static uint32_t sizes[FILES] = { CELLS, CELLS };

static void put(const void *data, size_t bytes)
{
	for (size_t at = 0; at < bytes;) {
		ssize_t n = write(STDOUT_FILENO, (const char *)data + at, bytes - at);

		if (n < 0)
			_exit(1);
		at += (size_t)n;
	}
}

static void flush(uint32_t t, uint64_t next_ns)
{
	struct thread *w = &threads[t];
	struct pf_race_chunk head = { PF_RACE_CHUNK_MAGIC, t, w->bytes, w->nr_records, next_ns, 0 };

	head.sum = XXH64(w->chunk, w->bytes, XXH64(&head, offsetof(struct pf_race_chunk, sum), 0));
	put(&head, sizeof(head));
	put(w->chunk, w->bytes);
	w->bytes = w->nr_records = 0;
}

static uint32_t choose_len(void)
{
	uint32_t dice = below(100);

	if (dice < 25)
		return 1;
	if (dice < 51)
		return 2 + below(62);
	if (dice < 81)
		return 64;
	return dice < 99 ? 64 + 64 * below(8) : CELLS_MAX;
}

static uint32_t choose_ns(bool fault)
{
	uint32_t dice = below(100);

	if (fault)
		return below(3000000);
	return below(dice < 85 ? 4000 : dice < 98 ? 60000 : 3000000);
}

static void next(uint32_t t, uint64_t now)
{
	struct thread *w = &threads[t];
	uint32_t dice = below(10000), len = choose_len();
	struct pf_race_rec *r = &w->rec;

	*r = (struct pf_race_rec){.inv_ns = now + 20 + below(1500),
				  .op = 10 + w->nr++ * THREADS + t,
				  .file = (uint8_t)below(FILES),
				  .size_cells = PF_RACE_NO_SIZE};
	r->file2 = r->file;
	r->ret_ns = r->inv_ns + 100 + choose_ns(dice >= 9800);
	w->effect_ns = r->inv_ns + below((uint32_t)(r->ret_ns - r->inv_ns) + 1);
	w->done = false;
	if (len > sizes[r->file])
		len = sizes[r->file];
	r->first_cell = below(2) ? CELLS / 4 + below(HOT_CELLS) : below(sizes[r->file]);
	if (r->first_cell > sizes[r->file] - len)
		r->first_cell = sizes[r->file] - len;
	if (len >= 64)
		r->first_cell &= ~63u;
	r->nr_cells = len;
	if (dice < 4400) {
		r->verb = PF_RACE_LOOK;
		r->what = (uint8_t)below(3);
	} else if (dice < 9800) {
		r->verb = (uint8_t)(dice & 1); /* pwrites would extend */
	} else {
		r->verb = PF_RACE_FAULT;
		r->what = dice < 9900 ? (dice & 1 ? PF_PRIM_ZERO : PF_PRIM_SYNC) :
			  dice < 9985 ? (dice & 1 ? PF_PRIM_ZERO : PF_PRIM_RESIZE) :
			  dice < 9992 ? PF_PRIM_COLLAPSE :
			  dice < 9999 ? PF_PRIM_INSERT :
					PF_PRIM_COPY;
		r->first_cell &= ~63u;
		r->nr_cells = 64;
		if (r->what == PF_PRIM_RESIZE) {
			r->first_cell = CELLS / 2 + 64 * below(CELLS / 64);
			r->nr_cells = 0;
		} else if (r->what == PF_PRIM_COPY) {
			r->first_cell = r->nr_cells = 0;
			r->file2 = !r->file;
		}
	}
}

/* What the operation does, at one moment. */
static void effect(struct thread *w)
{
	struct pf_race_rec *r = &w->rec;
	pf_value *c = cells[r->file];
	uint32_t *size = &sizes[r->file], end = r->first_cell + r->nr_cells;

	w->done = true;
	end = end < *size ? end : *size;
	if (r->verb == PF_RACE_LOOK) {
		uint32_t nr = 0;

		r->size_cells = *size;
		for (uint32_t i = r->first_cell; i < end && nr < 64; i++) {
			struct pf_race_run *last = nr ? &w->runs[nr - 1] : NULL;
			uint32_t kind = c[i] ? PF_RUN_CELLS : PF_RUN_ZERO;

			if (last && last->kind == kind &&
			    (!c[i] || last->value + last->count == c[i]))
				last->count++;
			else
				w->runs[nr++] = (struct pf_race_run){ c[i], 1, kind };
		}
		r->nr_runs = nr;
		return;
	}
	if (r->verb != PF_RACE_FAULT) {
		r->result = end > r->first_cell ? (int32_t)(end - r->first_cell) : 0;
		for (uint32_t i = r->first_cell; i < end; i++)
			c[i] = pf_value_make(r->op, r->file + 1u, i);
		return;
	}
	switch (r->what) {
	case PF_PRIM_ZERO:
		for (uint32_t i = r->first_cell; i < end; i++)
			c[i] = 0;
		break;
	case PF_PRIM_RESIZE:
		for (uint32_t i = r->first_cell; i < *size; i++)
			c[i] = 0;
		*size = r->first_cell;
		break;
	case PF_PRIM_COLLAPSE:
		if (*size < CELLS / 2 || r->first_cell + 64 >= *size) {
			r->result = -EINVAL;
			break;
		}
		memmove(c + r->first_cell, c + r->first_cell + 64,
			(CELLS_MAX - r->first_cell - 64) * sizeof(*c));
		*size -= 64;
		break;
	case PF_PRIM_INSERT:
		if (*size + 64 > CELLS_MAX || r->first_cell >= *size) {
			r->result = -EINVAL;
			break;
		}
		memmove(c + r->first_cell + 64, c + r->first_cell,
			(CELLS_MAX - r->first_cell - 64) * sizeof(*c));
		memset(c + r->first_cell, 0, 64 * sizeof(*c));
		*size += 64;
		break;
	case PF_PRIM_COPY:
		memcpy(cells[r->file2], c, sizeof(cells[0]));
		sizes[r->file2] = *size;
		break;
	default:
		break;
	}
}

static void record(uint32_t t)
{
	struct thread *w = &threads[t];
	size_t runs = w->rec.nr_runs * sizeof(w->runs[0]);

	memcpy(w->chunk + w->bytes, &w->rec, sizeof(w->rec));
	memcpy(w->chunk + w->bytes + sizeof(w->rec), w->runs, runs);
	w->bytes += (uint32_t)(sizeof(w->rec) + runs);
	w->nr_records++;
}

static void finish(uint32_t t)
{
	struct thread *w = &threads[t];

	record(t);
	if (w->bytes >= CHUNK_BYTES)
		flush(t, w->rec.ret_ns);
	next(t, w->rec.ret_ns);
}

static void make_stream(uint64_t operations)
{
	struct pf_race_header h = { .header_bytes = sizeof(h), .run = 1, .case_nr = 1,
				    .nr_threads = THREADS, .nr_files = FILES, .channel = "store" };

	memcpy(h.magic, PF_RACE_MAGIC, sizeof(h.magic));
	for (uint32_t f = 0; f < FILES; f++) {
		h.files[f] = (struct pf_race_file){ f + 1, CELLS, f + 1, 0 };
		for (uint32_t i = 0; i < CELLS; i++)
			cells[f][i] = pf_value_make(f + 1, f + 1, i);
	}
	h.sum = XXH64(&h, offsetof(struct pf_race_header, sum), 0);
	put(&h, sizeof(h));
	for (uint32_t t = 0; t < THREADS; t++)
		next(t, 0);
	for (uint64_t n = 0; n < operations;) {
		uint32_t best = 0;

		for (uint32_t t = 1; t < THREADS; t++)
			if ((threads[t].done ? threads[t].rec.ret_ns : threads[t].effect_ns) <
			    (threads[best].done ? threads[best].rec.ret_ns
						: threads[best].effect_ns))
				best = t;
		if (!threads[best].done) {
			effect(&threads[best]);
			continue;
		}
		finish(best);
		n++;
	}
	for (uint32_t t = 0; t < THREADS; t++) {
		if (threads[t].done) /* others may have seen what it did */
			record(t);
		flush(t, UINT64_MAX);
	}
}

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static uint64_t answer_of(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static bool says_coherent(int status, const char *text)
{
	if (!status && strstr(text, "verdict coherent"))
		return true;
	fprintf(stderr, "bench_judge: the judge is wrong here:\n%s", text);
	return false;
}

static void tell(const char *what, uint64_t times, double seconds, const char *text)
{
	double each = (double)answer_of(text, "\noperations ");
	double operations = each * (double)times;

	printf("judge of races: %s: %9.0f operations, %6.2f s of one core: %5.2f million a second, "
	       "%4.0f ns each; "
	       "stream %.1f bytes each, kept at most %llu KiB; undecided %.2f %% of %.1f cells "
	       "each\n",
	       what, operations, seconds, operations / seconds / 1e6, seconds / operations * 1e9,
	       (double)answer_of(text, "\nstream_bytes ") / each,
	       (unsigned long long)answer_of(text, "\nkept_bytes ") / 1024,
	       100.0 * (double)answer_of(text, "\nundecided ") /
		       (double)answer_of(text, "\nchecked "),
	       (double)answer_of(text, "\nchecked ") / each);
	fflush(stdout);
}

/* A stream that was recorded, from the page cache, as often as makes some seconds. */
static int bench_file(const char *path)
{
	double began = cpu_s(), seconds = 0;
	char *text = NULL;
	uint64_t times = 0;
	bool ok = true;

	for (; ok && seconds < 2; times++, seconds = cpu_s() - began) {
		size_t bytes = 0;
		FILE *out;
		int fd = open(path, O_RDONLY | O_CLOEXEC), status;

		free(text);
		out = open_memstream(&text, &bytes);
		if (fd < 0 || !out) {
			perror(path);
			return 1;
		}
		status = race_judge(fd, false, out);
		fclose(out);
		close(fd);
		ok = says_coherent(status, text);
	}
	if (ok)
		tell(path, times, seconds, text);
	free(text);
	return !ok;
}

static int bench(uint64_t operations)
{
	char *text = NULL;
	size_t bytes = 0;
	int fds[2], status;
	double began;
	FILE *out = open_memstream(&text, &bytes);
	pid_t child;

	if (!out || pipe(fds))
		return 1;
	fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
	child = fork();
	if (!child) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		make_stream(operations);
		_exit(0);
	}
	close(fds[1]);
	began = cpu_s();
	status = race_judge(fds[0], false, out);
	began = cpu_s() - began;
	fclose(out);
	close(fds[0]);
	waitpid(child, NULL, 0);
	if (!says_coherent(status, text))
		return 1;
	tell("generated", 1, began, text);
	free(text);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return bench(1000000) || bench(10000000);
	for (int i = 1; i < argc; i++) {
		char *end;
		uint64_t operations = strtoull(argv[i], &end, 10);

		if (*end ? bench_file(argv[i]) : bench(operations))
			return 1;
	}
	return 0;
}
