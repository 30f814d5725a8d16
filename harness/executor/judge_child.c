// SPDX-License-Identifier: GPL-2.0
/* judge_child.c - pinfault-judge between two pipes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "exec.h"

#define PIPE_BYTES (1 << 20) /* the most that needs no privilege: a slow moment of the judge is none
			      * of ours */

static void run_judge(char *const argv[], int in, int out)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(127);
	execv(argv[0], argv);
	_exit(127);
}

int judge_child_start(pid_t *pid, int *in, int *out, char *const argv[])
{
	int to[2], from[2], rc;

	*in = *out = -1;
	if (access(argv[0], X_OK) || pipe2(to, O_CLOEXEC))
		return -errno;
	if (pipe2(from, O_CLOEXEC)) {
		rc = -errno;
		close(to[0]);
		close(to[1]);
		return rc;
	}
	fcntl(to[1], F_SETPIPE_SZ, PIPE_BYTES); /* without it, only less room */
	*pid = fork();
	if (*pid == 0)
		run_judge(argv, to[0], from[1]);
	close(to[0]);
	close(from[1]);
	*in = to[1];
	*out = from[0];
	return *pid < 0 ? -EAGAIN : 0;
}
