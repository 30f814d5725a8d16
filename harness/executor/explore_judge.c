// SPDX-License-Identifier: GPL-2.0
/*
 * explore_judge.c - pinfault-judge --each as a child: both ends are served, so that neither waits
 * for the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "explore.h"

#define SILENT_MS 60000

int explore_judge_start(struct explore_judge *j, const char *program)
{
	char *const argv[] = { (char *)(uintptr_t)program, "--each", NULL };
	int rc = judge_child_start(&j->pid, &j->in, &j->out, argv);

	j->used = 0;
	if (!rc)
		fcntl(j->in, F_SETFL, O_NONBLOCK);
	return rc;
}

static void take_lines(struct explore_judge *j)
{
	char *from = j->line, *newline;

	j->line[j->used] = '\0';
	while ((newline = strchr(from, '\n'))) {
		*newline = '\0';
		j->take(j->arg, from);
		from = newline + 1;
	}
	j->used -= (size_t)(from - j->line);
	memmove(j->line, from, j->used);
	if (j->used == sizeof(j->line) - 1) /* longer than any may be: what there is of it goes */
		j->used = 0;
}

/* 1, 0 at the end, -errno. */
static int take_answers(struct explore_judge *j)
{
	ssize_t n = read(j->out, j->line + j->used, sizeof(j->line) - 1 - j->used);

	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	j->used += (size_t)n;
	if (n)
		take_lines(j);
	return n > 0;
}

int explore_judge_send(struct explore_judge *j, const char *text, size_t bytes)
{
	struct pollfd p[2] = {
		{ .fd = j->in, .events = POLLOUT },
		{ .fd = j->out, .events = POLLIN },
	};
	int rc;

	for (size_t at = 0; at < bytes;) {
		ssize_t n = write(j->in, text + at, bytes - at);

		if (n > 0)
			at += (size_t)n;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n >= 0)
			continue;
		if (poll(p, 2, SILENT_MS) <= 0)
			return -ETIMEDOUT;
		if (p[1].revents) {
			rc = take_answers(j);
			if (rc <= 0)
				return rc ? rc : -EPIPE;
		}
	}
	return 0;
}

int explore_judge_finish(struct explore_judge *j)
{
	struct pollfd p = { .fd = j->out, .events = POLLIN };
	int status = 0, rc = 1, code;

	close(j->in);
	while (rc > 0)
		rc = poll(&p, 1, SILENT_MS) > 0 ? take_answers(j) : -ETIMEDOUT;
	close(j->out);
	if (rc < 0)
		kill(j->pid, SIGKILL);
	waitpid(j->pid, &status, 0);
	if (rc < 0)
		return rc;
	/* 2: a history could not be judged, and its answer says so. */
	code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	return code == 0 || code == 2 ? 0 : -EIO;
}
