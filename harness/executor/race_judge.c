// SPDX-License-Identifier: GPL-2.0
/*
 * race_judge.c - a program that reads a race's stream while it runs. What it says is passed on line by
 * line; nothing here knows what it means.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/clock.h"
#include "race.h"

#define PIPE_BYTES (1 << 20) /* the most that needs no privilege: a slow moment of the judge is none
			      * of ours */

static void run_judge(const char *program, int in, int out)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(127);
	execl(program, program, "--race", "-", (char *)NULL);
	_exit(127);
}

int race_judge_start(struct race_judge *j, const char *program)
{
	int in[2], out[2];

	j->in = j->out = -1;
	if (access(program, X_OK))
		return -errno;
	if (pipe2(in, O_CLOEXEC))
		return -errno;
	if (pipe2(out, O_CLOEXEC)) {
		close(in[0]);
		close(in[1]);
		return -errno;
	}
	fcntl(in[1], F_SETPIPE_SZ, PIPE_BYTES); /* without it, only less room */
	j->pid = fork();
	if (j->pid == 0)
		run_judge(program, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	j->in = in[1];
	j->out = out[0];
	j->used = 0;
	return j->pid < 0 ? -EAGAIN : 0;
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
