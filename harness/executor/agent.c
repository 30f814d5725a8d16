// SPDX-License-Identifier: GPL-2.0
/*
 * agent.c - the executor's main: answers the runner's requests, one at a time.
 *
 *	pinfault-exec --port FILE [--late FILE]	in a guest: its virtio-serial ports. What is written
 *				to the second is outside when write(2) returns
 *	pinfault-exec --stdio		natively: requests on stdin, replies on stdout
 *	pinfault-exec --seq FILE	check a sequence: silence, or FILE:LINE: the error (exit 64)
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <linux/stat.h>
#include <unistd.h>

#include "../core/token.h"
#include "exec.h"

#define WORDS_MAX 64

void agent_line(struct agent *a, const char *fmt, ...)
{
	char line[8192];
	va_list ap;
	int len;
	size_t at = 0;

	va_start(ap, fmt);
	len = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	if ((size_t)len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';
	while (at < (size_t)len) {
		ssize_t n = write(a->out, line + at, (size_t)len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			exit(2); /* the runner is gone */
		at += (size_t)n;
	}
}

const char *arg_find(char **words, int nr, const char *key)
{
	size_t len = strlen(key);

	for (int i = 0; i < nr; i++)
		if (!strncmp(words[i], key, len) && words[i][len] == '=')
			return words[i] + len + 1;
	return NULL;
}

uint64_t arg_u64(char **words, int nr, const char *key, uint64_t fallback)
{
	const char *text = arg_find(words, nr, key);
	uint64_t value;

	return text && !pf_token_u64(text, &value) ? value : fallback;
}

#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000
#endif
#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x00002000U
#endif

static const char *fs_name(long magic)
{
	static const struct {
		long magic;
		const char *name;
	} names[] = {
		{ 0x58465342, "xfs" },	{ 0xef53, "ext" },     { 0x9123683e, "btrfs" },
		{ 0x01021994, "tmpfs" }, { 0x65735546, "fuse" }, { 0xf2f52010, "f2fs" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].magic == magic)
			return names[i].name;
	return "unknown";
}

void do_statx(struct agent *a, char **words, int nr)
{
	struct statx st = { 0 };
	struct statfs fs;

	if (nr != 1) {
		agent_line(a, "err 22 statx%%20PATH");
		return;
	}
	if (syscall(SYS_statx, AT_FDCWD, words[0], 0, STATX_BASIC_STATS | STATX_DIOALIGN, &st) ||
	    statfs(words[0], &fs)) {
		agent_line(a, "err %d %s", errno, pf_errno_name(errno));
		return;
	}
	agent_line(a, "env dax %d", (st.stx_attributes & STATX_ATTR_DAX) != 0);
	agent_line(a, "env fstype %s", fs_name((long)fs.f_type));
	if (st.stx_mask & STATX_DIOALIGN)
		agent_line(a, "env dio_align %u", st.stx_dio_offset_align);
	agent_line(a, "ok");
}

static void dispatch(struct agent *a, char *line)
{
	char *words[WORDS_MAX];
	int nr = pf_token_split(line, words, WORDS_MAX);

	for (int i = 0; i < nr; i++)
		if (pf_token_decode(words[i]))
			nr = -EINVAL;
	if (nr <= 0)
		agent_line(a, "err 22 malformed%%20request");
	else if (!strcmp(words[0], "hello"))
		do_hello(a);
	else if (!strcmp(words[0], "sh"))
		do_sh(a, words + 1, nr - 1);
	else if (!strcmp(words[0], "statx"))
		do_statx(a, words + 1, nr - 1);
	else if (!strcmp(words[0], "case"))
		do_case(a, words + 1, nr - 1);
	else if (!strcmp(words[0], "race"))
		do_race(a, words + 1, nr - 1);
	else if (!strcmp(words[0], "views"))
		do_views(a, words + 1, nr - 1);
	else if (!strcmp(words[0], "explore"))
		do_explore(a, words + 1, nr - 1);
	else if (!strcmp(words[0], "explore-views"))
		do_explore_views(a, words + 1, nr - 1);
	else if (!strcmp(words[0], "kmsg"))
		do_kmsg(a);
	else if (!strcmp(words[0], "pins"))
		do_pins(a);
	else if (!strcmp(words[0], "quota"))
		do_quota(a, words + 1, nr - 1);
	else
		agent_line(a, "err 38 unknown%%20request");
}

static int serve(struct agent *a)
{
	char *line = NULL;
	size_t bytes = 0;

	signal(SIGPIPE, SIG_IGN);
	kmsg_open();
	zeros_open();
	while (getline(&line, &bytes, a->in) > 0) {
		if (!strncmp(line, "quit", 4)) {
			agent_line(a, "ok");
			break;
		}
		dispatch(a, line);
	}
	free(line);
	return 0;
}

static int check_seq(const char *path)
{
	static struct pf_seq seq;
	static char text[1 << 16];
	char err[200];
	size_t n;
	FILE *f = fopen(path, "re");

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 2;
	}
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	if (n == sizeof(text) - 1 || strlen(text) != n) {
		fprintf(stderr, "%s:1: not a sequence: too long, or not text\n", path);
		return 64;
	}
	if (!pf_seq_parse(&seq, text, err, sizeof(err)))
		return 0;
	fprintf(stderr, "%s:%s\n", path, err);
	return 64;
}

int main(int argc, char **argv)
{
	struct agent a = { .in = stdin, .out = STDOUT_FILENO, .late = -1 };

	if (argc == 3 && !strcmp(argv[1], "--seq"))
		return check_seq(argv[2]);
	if ((argc == 3 || (argc == 5 && !strcmp(argv[3], "--late"))) &&
	    !strcmp(argv[1], "--port")) {
		a.out = open(argv[2], O_RDWR | O_CLOEXEC);
		a.in = a.out < 0 ? NULL : fdopen(dup(a.out), "r");
		a.guest = true;
		if (!a.in) {
			fprintf(stderr, "pinfault-exec: %s: %s\n", argv[2], strerror(errno));
			return 2;
		}
		if (argc == 5)
			a.late = open(argv[4], O_WRONLY | O_APPEND | O_CLOEXEC);
		if (argc == 5 && a.late < 0) {
			fprintf(stderr, "pinfault-exec: %s: %s\n", argv[4], strerror(errno));
			return 2;
		}
		return serve(&a);
	}
	if (argc == 2 && !strcmp(argv[1], "--stdio"))
		return serve(&a);
	fprintf(stderr, "usage: pinfault-exec --port FILE [--late FILE] | --stdio | --seq FILE\n");
	return 64;
}
