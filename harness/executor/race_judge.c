// SPDX-License-Identifier: GPL-2.0
/*
 * race_judge.c - a program that reads a race's stream while it runs. What it says is passed on line
 * by line; nothing here knows what it means.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/clock.h"
#include "race.h"

int race_judge_start(struct race_judge *j, const char *program)
{
	char *const argv[] = { (char *)(uintptr_t)program, "--race", "-", NULL };

	j->used = 0;
	return judge_child_start(&j->pid, &j->in, &j->out, argv);
}

/* Pass on the whole lines in j->line. */
static void say_lines(struct race_judge *j, struct agent *a)
{
	char *from = j->line, *newline;

	j->line[j->used] = '\0';
	while ((newline = strchr(from, '\n'))) {
		*newline = '\0';
		agent_line(a, "j %s", from);
		from = newline + 1;
	}
	j->used -= (size_t)(from - j->line);
	memmove(j->line, from, j->used);
	/* A line longer than any may be: what there is of it goes, cut. */
	if (j->used == sizeof(j->line) - 1)
		j->used = 0;
}

bool race_judge_relay(struct race_judge *j, struct agent *a)
{
	ssize_t n;

	if (j->out < 0)
		return false;
	n = read(j->out, j->line + j->used, sizeof(j->line) - 1 - j->used);
	if (n > 0) {
		j->used += (size_t)n;
		say_lines(j, a);
		return true;
	}
	if (n < 0 && errno == EINTR)
		return true;
	close(j->out);
	j->out = -1;
	return false;
}

void race_judge_finish(struct race_judge *j, struct agent *a, unsigned int deadline_ms)
{
	uint64_t until_ns = pf_now_ns() + deadline_ms * PF_NS_PER_MS, now_ns;
	struct pollfd p = { .fd = j->out, .events = POLLIN };
	int status = 0;
	bool late = false;

	if (j->pid <= 0)
		return;
	if (j->in >= 0)
		close(j->in);
	j->in = -1;
	while (j->out >= 0) {
		now_ns = pf_now_ns();
		late = now_ns >= until_ns ||
		       poll(&p, 1, (int)((until_ns - now_ns) / PF_NS_PER_MS) + 1) <= 0;
		if (late)
			break;
		race_judge_relay(j, a);
	}
	if (late)
		kill(j->pid, SIGKILL);
	waitpid(j->pid, &status, 0);
	j->pid = 0;
	if (late)
		agent_line(a, "env judge late");
	else if (WIFSIGNALED(status))
		agent_line(a, "env judge signal%%20%d", WTERMSIG(status));
	else
		agent_line(a, "env judge exit%%20%d", WEXITSTATUS(status));
}
