// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - pinfault-judge: histories in, answers out (harness/README.md, "The judge's answer").
 *
 *	pinfault-judge FILE...		judge each
 *	pinfault-judge --prefix FILE...	of a damaged one, judge what comes before the damage:
 *corrupt if that is, else inconclusive pinfault-judge --race [--prefix] FILE	a race's stream
 *(core/racelog.h); - is stdin
 *	pinfault-judge --each		histories on stdin, each followed by a line "."; in brief:
 *					without the least that contradicts
 *	pinfault-judge --stdin		one path a line on stdin, an answer each, until end of file
 *
 * Exit: 0 when every history could be judged, 2 when one could not (its answer says broken).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/token.h"
#include "judge.h"
#include "race_judge.h"

static int broken(const char *path, const char *why)
{
	char text[600], token[1900];

	snprintf(text, sizeof(text), "%.250s: %.300s", path, why);
	pf_token_encode(token, sizeof(token), text);
	printf("resolution none\nverdict broken\nwhy %s\nchecked 0\nend\n", token);
	fflush(stdout);
	return 2;
}

/* Judge what @in holds, and close it. */
static int judge_stream(FILE *in, const char *path, bool prefix, bool brief)
{
	struct j_reader r = { .path = path, .in = in };
	struct judge *j = judge_new();
	struct j_event ev;
	int rc, status = 0;

	if (!j) {
		fclose(in);
		return broken(path, "out of memory");
	}
	j->brief = brief;
	while ((rc = j_read(&r, &ev)) > 0) {
		rc = judge_event(j, &ev);
		if (rc) {
			snprintf(r.err, sizeof(r.err), "line %u, byte %llu: %.180s", r.line_nr,
				 (unsigned long long)r.line_at, j->err);
			break;
		}
	}
	if (rc && prefix && *r.err) {
		j->prefix_of = r.err;
		rc = 0;
		status = 2;
	}
	if (!rc && judge_finish(j))
		rc = snprintf(r.err, sizeof(r.err), "%.200s", j->err);
	if (rc) {
		status = broken(path, *r.err ? r.err : "out of memory");
	} else {
		judge_answer(j, stdout);
		fflush(stdout);
	}
	judge_free(j);
	j_reader_free(&r);
	fclose(in);
	return status;
}

static int judge_file(const char *path, bool prefix)
{
	FILE *in = fopen(path, "re");

	return in ? judge_stream(in, path, prefix, false) : broken(path, strerror(errno));
}

static int judge_text(char *text, size_t bytes)
{
	FILE *in = bytes ? fmemopen(text, bytes, "r") : NULL;

	return in ? judge_stream(in, "stdin", false, true) :
		    broken("stdin", "empty: not a history");
}

/*
 * Histories on stdin, each followed by a line ".", an answer each: whoever writes them need not
 * have them in files.
 */
static int judge_each(void)
{
	char *line = NULL, *text = NULL, *more;
	size_t line_bytes = 0, used = 0, room = 0;
	int status = 0, one;
	ssize_t n;

	setvbuf(stdin, NULL, _IOFBF, 1 << 16);
	while ((n = getline(&line, &line_bytes, stdin)) > 0) {
		if (!strcmp(line, ".\n")) {
			one = judge_text(text ? text : "", used);
			status = one > status ? one : status;
			used = 0;
			continue;
		}
		if (used + (size_t)n > room) {
			room = 2 * room + (size_t)n + 4096;
			more = realloc(text, room);
			if (!more) {
				status = broken("stdin", "out of memory");
				break;
			}
			text = more;
		}
		memcpy(text + used, line, (size_t)n);
		used += (size_t)n;
	}
	free(line);
	free(text);
	return used ? broken("stdin", "cut off: no line with a dot") : status;
}

static int usage(void)
{
	fprintf(stderr, "usage: pinfault-judge [--prefix] FILE... | --race [--prefix] FILE|- | "
			"--stdin | --each\n");
	return 64;
}

/* Of --race only the last word is a file. */
static int judge_race(int argc, char **argv)
{
	bool prefix = argc == 4 && !strcmp(argv[2], "--prefix");
	const char *path = argv[argc - 1];
	int fd, status;

	if (argc != 3 + prefix)
		return usage();
	fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (fd < 0)
		return broken(path, strerror(errno));
	status = race_judge(fd, prefix, stdout);
	close(fd);
	return status;
}

int main(int argc, char **argv)
{
	char path[4096];
	int status = 0, first = 1;
	bool prefix = argc > 1 && !strcmp(argv[1], "--prefix");

	if (argc == 2 && !strcmp(argv[1], "--stdin")) {
		while (fgets(path, sizeof(path), stdin)) {
			path[strcspn(path, "\n")] = '\0';
			status |= judge_file(path, false);
		}
		return status;
	}
	if (argc == 2 && !strcmp(argv[1], "--each"))
		return judge_each();
	if (argc > 2 && !strcmp(argv[1], "--race"))
		return judge_race(argc, argv);
	first += prefix;
	if (argc <= first || argv[first][0] == '-')
		return usage();
	for (int i = first; i < argc; i++)
		status |= judge_file(argv[i], prefix);
	return status;
}
