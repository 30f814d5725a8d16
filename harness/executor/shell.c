// SPDX-License-Identifier: GPL-2.0
/* shell.c - run a command for the runner: mkfs, mount, fsck. Output and status go back, in time. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/clock.h"
#include "../core/token.h"
#include "exec.h"

#define OUTPUT_BYTES_MAX (64u << 10)

static void say_output(struct agent *a, char *text)
{
	char token[4096], *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		pf_token_encode(token, sizeof(token), line);
		agent_line(a, "out %s", token);
	}
}

/* Read until the command closes its output or @until_ns; what is too much is read and dropped. */
static bool collect(int fd, uint64_t until_ns, char *text, size_t bytes)
{
	char drop[4096];
	size_t used = 0;

	for (;;) {
		uint64_t now = pf_now_ns();
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		text[used] = '\0';
		if (now >= until_ns || poll(&p, 1, (int)((until_ns - now) / PF_NS_PER_MS) + 1) <= 0)
			return false;
		if (used < bytes - 1)
			n = read(fd, text + used, bytes - 1 - used);
		else
			n = read(fd, drop, sizeof(drop));
		if (n <= 0)
			return true;
		if (used < bytes - 1)
			used += (size_t)n;
	}
}

static void exec_command(char **argv, int out)
{
	int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

void do_sh(struct agent *a, char **words, int nr)
{
	uint64_t timeout_ms;
	int fds[2], status = 0;
	char *text, **argv;
	bool ended;
	pid_t pid;

	if (nr < 2 || pf_token_u64(words[0], &timeout_ms)) {
		agent_line(a, "err 22 sh%%20TIMEOUT_MS%%20ARG...");
		return;
	}
	text = malloc(OUTPUT_BYTES_MAX);
	argv = calloc((size_t)nr, sizeof(*argv));
	if (!text || !argv || pipe2(fds, O_CLOEXEC)) {
		agent_line(a, "err %d pipe", errno);
		goto out;
	}
	memcpy(argv, words + 1, sizeof(*argv) * (size_t)(nr - 1));
	pid = fork();
	if (pid == 0)
		exec_command(argv, fds[1]);
	close(fds[1]);
	ended = pid > 0 && collect(fds[0], pf_now_ns() + timeout_ms * PF_NS_PER_MS, text,
				   OUTPUT_BYTES_MAX);
	close(fds[0]);
	if (pid < 0) {
		agent_line(a, "err %d fork", errno);
		goto out;
	}
	if (!ended)
		kill(-pid, SIGKILL);
	say_output(a, text);
	/* A killed mount may sleep in the kernel for good: it is left behind then, not awaited. */
	for (int i = 0; waitpid(pid, &status, ended ? 0 : WNOHANG) == 0 && i < 1000; i++)
		poll(NULL, 0, 1);
	if (!ended)
		agent_line(a, "err 110 timeout");
	else if (WIFSIGNALED(status))
		agent_line(a, "ok signal %d", WTERMSIG(status));
	else
		agent_line(a, "ok exit %d", WEXITSTATUS(status));
out:
	free(argv);
	free(text);
}
