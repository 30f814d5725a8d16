// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - pinfault-judge: histories in, answers out (harness/README.md, "The judge's answer").
 *
 *	pinfault-judge FILE...		judge each
 *	pinfault-judge --prefix FILE...	of a damaged one, judge what comes before the damage: corrupt
 *					if that is, else inconclusive
 *	pinfault-judge --stdin		one path a line on stdin, an answer each, until end of file
 *
 * Exit: 0 when every history could be judged, 2 when one could not (its answer says broken).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/token.h"
#include "judge.h"

static int broken(const char *path, const char *why)
{
	char text[600], token[1900];

	snprintf(text, sizeof(text), "%.250s: %.300s", path, why);
	pf_token_encode(token, sizeof(token), text);
	printf("resolution none\nverdict broken\nwhy %s\nchecked 0\nend\n", token);
	fflush(stdout);
	return 2;
}

static int judge_file(const char *path, bool prefix)
{
	struct j_reader r = { .path = path };
	struct judge *j;
	struct j_event ev;
	int rc, status = 0;

	r.in = fopen(path, "re");
	if (!r.in)
		return broken(path, strerror(errno));
	j = judge_new();
	if (!j) {
		fclose(r.in);
		return broken(path, "out of memory");
	}
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
	fclose(r.in);
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
	first += prefix;
	if (argc <= first || argv[first][0] == '-') {
		fprintf(stderr, "usage: pinfault-judge [--prefix] FILE... | --stdin\n");
		return 64;
	}
	for (int i = first; i < argc; i++)
		status |= judge_file(argv[i], prefix);
	return status;
}
