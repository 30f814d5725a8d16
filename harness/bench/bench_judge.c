// SPDX-License-Identifier: GPL-2.0
/*
 * bench_judge.c - how fast the judge of races judges, and what it keeps.
 *
 *	bench_judge [--seed N] [OPERATIONS | STREAM]...	default 1000000 10000000
 *
 * A number: a child makes a race's stream (race_stream.c) and writes it into a pipe; this process
 * judges it as it comes. Once as threads follow each other in real races, and once with threads
 * changing at about every operation; what it is a stream of is coherent, and the judge must say
 * so. A file: a recorded stream, judged again and again for a second
 * at least. Counted is the CPU time that judging takes, whatever the child takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../judge/race_judge.h"
#include "race_stream.h"

#define ALONE_RECORDED 11u /* operations between two changes of threads: xfs, 2 CPUs */
#define ALONE_NEVER 1u
#define RECORDED_S 1.0

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

static void say(const char *what, const char *text, uint64_t operations, double seconds)
{
	double checked = (double)answer_of(text, "\nchecked "), nr = (double)operations;
	double once = (double)answer_of(text, "\noperations ");

	printf("%s: %9.0f operations, %6.2f s of one core: %5.2f million a second, %4.0f ns each; "
	       "stream %.1f bytes each, kept at most %llu KiB; "
	       "undecided %.2f %% of %.1f cells each\n",
	       what, nr, seconds, nr / seconds / 1e6, seconds / nr * 1e9,
	       (double)answer_of(text, "\nstream_bytes ") / once,
	       (unsigned long long)answer_of(text, "\nkept_bytes ") / 1024,
	       100 * (double)answer_of(text, "\nundecided ") / checked, checked / once);
	fflush(stdout);
}

/* Judge @fd; the answer in *@text (the caller's to free), seconds of this process, or < 0. */
static double judge(int fd, char **text)
{
	size_t bytes;
	FILE *out = open_memstream(text, &bytes);
	double began = cpu_s();
	int status;

	if (!out)
		return -1;
	status = race_judge(fd, false, out);
	began = cpu_s() - began;
	fclose(out);
	return status ? -1 : began;
}

static int bench_made(uint64_t operations, unsigned int alone, uint64_t seed)
{
	char *text = NULL;
	double seconds;
	int fds[2];
	pid_t child;

	if (pipe(fds))
		return 1;
	fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
	child = fork();
	if (!child) {
		close(fds[0]);
		race_stream_make(fds[1], operations, alone, seed);
		_exit(0);
	}
	close(fds[1]);
	seconds = judge(fds[0], &text);
	close(fds[0]);
	waitpid(child, NULL, 0);
	if (seconds < 0 || !text || !strstr(text, "verdict coherent")) {
		fprintf(stderr, "bench_judge: the judge is wrong here, seed %llu:\n%s",
			(unsigned long long)seed, text ? text : "");
		return 1;
	}
	say(alone == ALONE_NEVER ? "all interrupted" : "as recorded    ", text, operations,
	    seconds);
	free(text);
	return 0;
}

static int bench_recorded(const char *path)
{
	const char *name = strrchr(path, '/');
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	double sum = 0;
	uint64_t nr = 0;

	if (fd < 0) {
		fprintf(stderr, "bench_judge: %s: %s\n", path, strerror(errno));
		return 1;
	}
	do {
		double seconds;

		free(text);
		text = NULL;
		seconds = lseek(fd, 0, SEEK_SET) ? -1 : judge(fd, &text);
		if (seconds < 0 || !text) {
			fprintf(stderr, "bench_judge: %s cannot be judged\n", path);
			return 1;
		}
		sum += seconds;
		nr += answer_of(text, "\noperations ");
	} while (sum < RECORDED_S);
	close(fd);
	say(name ? name + 1 : path, text, nr, sum);
	free(text);
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const usual[] = { "1000000", "10000000" };
	const char *const *args = argc > 1 ? (const char *const *)argv + 1 : usual;
	int nr = argc > 1 ? argc - 1 : 2;
	uint64_t seed = 1;

	if (nr > 2 && !strcmp(args[0], "--seed")) {
		seed = strtoull(args[1], NULL, 10);
		args += 2;
		nr -= 2;
	}
	for (int i = 0; i < nr; i++) {
		char *end;
		uint64_t operations = strtoull(args[i], &end, 10);

		if (*end ? bench_recorded(args[i])
			 : bench_made(operations, ALONE_RECORDED, seed) ||
				   bench_made(operations, ALONE_NEVER, seed))
			return 1;
	}
	return 0;
}
