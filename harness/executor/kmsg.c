// SPDX-License-Identifier: GPL-2.0
/* kmsg.c - the kernel log since the last call, from /dev/kmsg. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/clock.h"
#include "../core/token.h"
#include "exec.h"

#define LEVEL_WARNING 4
#define OVERHEARD_MAX 200 /* lines of one sequence: a warning and its trace have forty */

static int kmsg_fd = -1;

int kmsg_follow(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	kmsg_skip(fd);
	return fd;
}

void kmsg_skip(int fd)
{
	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
}

void kmsg_open(void)
{
	kmsg_fd = kmsg_follow();
}

struct record {
	unsigned int level; /* 0 emergency to 7 debug */
	unsigned long long us;
	char token[3 * 1024 + 64]; /* the text */
};

/*
 * The next one, false when there is none: "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT\n" and perhaps
 * further lines of keys.
 */
static bool next_record(int fd, struct record *r)
{
	char line[8192], *semicolon, *newline, *comma;
	ssize_t n;

	for (;;) {
		n = read(fd, line, sizeof(line) - 1);
		if (n < 0 && errno == EPIPE) /* records were overwritten: go on with the next */
			continue;
		if (n <= 0)
			return false;
		line[n] = '\0';
		semicolon = strchr(line, ';');
		if (semicolon)
			break;
	}
	newline = strchr(semicolon, '\n');
	if (newline)
		*newline = '\0';
	r->level = strtoul(line, &comma, 10) & 7;
	r->us = 0;
	if (*comma == ',' && (comma = strchr(comma + 1, ',')))
		r->us = strtoull(comma + 1, NULL, 10);
	pf_token_encode(r->token, sizeof(r->token), semicolon + 1);
	return true;
}

/* What a kernel warns of once only (WARN_ON_ONCE) it is to warn of again, or the next case would be
 * innocent of what it does. A guest's only: nobody asked for more in the log of this machine. */
static void warn_again(void)
{
	int fd = open("/sys/kernel/debug/clear_warn_once", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "1", 1) < 0)
		perror("clear_warn_once");
	close(fd);
}

/* What the kernel does not say itself: @verb and a line as it might. */
static void say_zeros(struct agent *a, const char *verb, size_t wrong)
{
	agent_line(a,
		   "%s the%%20kernel's%%20page%%20of%%20zeros"
		   "%%20has%%20%zu%%20bytes%%20that%%20are%%20not",
		   verb, wrong);
}

void do_kmsg(struct agent *a)
{
	size_t wrong = zeros_wrong();
	struct record r;
	char verb[64];

	if (kmsg_fd < 0) {
		agent_line(a, "err 1 /dev/kmsg%%20cannot%%20be%%20read");
		return;
	}
	while (next_record(kmsg_fd, &r))
		agent_line(a, "k %llu.%06llu %u %s", r.us / 1000000, r.us % 1000000, r.level,
			   r.token);
	if (a->guest)
		warn_again();
	if (wrong) {
		snprintf(verb, sizeof(verb), "k %.6f 1", (double)pf_now_ns() / 1e9);
		say_zeros(a, verb, wrong);
	}
	agent_line(a, "ok");
}

void kmsg_overheard(struct agent *a, int fd, uint32_t nr)
{
	static bool zeros_said; /* by this process */
	size_t wrong = zeros_said ? 0 : zeros_wrong();
	struct record r;
	unsigned int said = 0;
	char verb[32];

	if (wrong) {
		zeros_said = true;
		snprintf(verb, sizeof(verb), "w %u", nr);
		say_zeros(a, verb, wrong);
	}
	while (fd >= 0 && next_record(fd, &r))
		if (r.level <= LEVEL_WARNING && said++ < OVERHEARD_MAX)
			agent_line(a, "w %u %s", nr, r.token);
	if (said)
		warn_again();
}
