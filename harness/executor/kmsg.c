// SPDX-License-Identifier: GPL-2.0
/* kmsg.c - the kernel log since the last call, from /dev/kmsg. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/token.h"
#include "exec.h"

static int kmsg_fd = -1;

void kmsg_open(void)
{
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg_fd >= 0)
		lseek(kmsg_fd, 0, SEEK_END);
}

/* A record is "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT\n" and perhaps further lines of keys. */
static void say_record(struct agent *a, char *record)
{
	char token[3 * 1024 + 64], *semicolon = strchr(record, ';'), *newline, *comma;
	unsigned long priority = strtoul(record, &comma, 10);
	unsigned long long us = 0;

	if (!semicolon)
		return;
	newline = strchr(semicolon, '\n');
	if (newline)
		*newline = '\0';
	if (*comma == ',' && (comma = strchr(comma + 1, ',')))
		us = strtoull(comma + 1, NULL, 10);
	pf_token_encode(token, sizeof(token), semicolon + 1);
	agent_line(a, "k %llu.%06llu %lu %s", us / 1000000, us % 1000000, priority & 7, token);
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

void do_kmsg(struct agent *a)
{
	char record[8192];
	ssize_t n;

	if (kmsg_fd < 0) {
		agent_line(a, "err 1 /dev/kmsg%%20cannot%%20be%%20read");
		return;
	}
	for (;;) {
		n = read(kmsg_fd, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE) /* records were overwritten: go on with the next */
			continue;
		if (n <= 0)
			break;
		record[n] = '\0';
		say_record(a, record);
	}
	if (a->guest)
		warn_again();
	agent_line(a, "ok");
}
