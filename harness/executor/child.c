// SPDX-License-Identifier: GPL-2.0
/*
 * child.c - what a request does to a filesystem is done in a forked child, which may hang, crash or
 * be killed: the agent waits with a deadline, and says what became of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/clock.h"
#include "../core/token.h"
#include "exec.h"
#include "fell.h"

#define KILL_MS 5000u /* for a killed child to be gone */

const char *const channel_class_names[] = { "pte", "short-pin", "long-pin", "faulting",
					    "syscall" };

int channel_find(struct pf_channel *ch, const char *full_name)
{
	char name[64];
	const char *slash = strchr(full_name, '/');
	const char *variant = slash ? slash + 1 : "";
	const struct pf_channel_ops *ops;

	snprintf(name, sizeof(name), "%.*s",
		 (int)(slash ? slash - full_name : (long)strlen(full_name)), full_name);
	ops = pf_channel_find(name);
	if (!ops)
		return -ENOENT;
	ch->ops = ops;
	if (!*variant) {
		ch->variant = "";
		return 0;
	}
	for (const char *const *v = ops->variants; v && *v; v++)
		if (!strcmp(*v, variant))
			ch->variant = *v;
	return ch->variant ? 0 : -ENOENT;
}

/*
 * Read what the child says about its end: one write, so one read. Not until end of file, which
 * helpers that the child forked may keep from coming. False if there is no answer in time.
 */
static bool read_result(int fd, unsigned int deadline_ms, char *text, size_t bytes)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, (int)deadline_ms) <= 0)
		return false;
	n = read(fd, text, bytes - 1);
	text[n > 0 ? n : 0] = '\0';
	return true;
}

/* Wait for @pid to be gone. Returns false if it still is there after @wait_ms. */
static bool reap(pid_t pid, unsigned int wait_ms, int *status)
{
	uint64_t until = pf_now_ns() + wait_ms * PF_NS_PER_MS;

	for (;;) {
		pid_t got = waitpid(pid, status, WNOHANG);

		if (got == pid || (got < 0 && errno == ECHILD))
			return true;
		if (pf_now_ns() >= until)
			return false;
		poll(NULL, 0, 1);
	}
}

void thaw(const char *mnt)
{
	int fd = open(mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	ioctl(fd, FITHAW, 0); /* EINVAL when it was not frozen */
	close(fd);
}

static void report(struct agent *a, const char *mnt, pid_t pid, const char *text, bool answered,
		   const struct fell *fell)
{
	char token[1024], where[200];
	const char *why = strchr(text, ' ');
	int status = 0;
	bool gone;

	if (answered && !strncmp(text, "power", 5)) {
		agent_line(a, "ok power"); /* the child lives on, until the machine dies */
		return;
	}
	pf_token_encode(token, sizeof(token), why && why[1] ? why + 1 : "?");
	/* A child that died with the filesystem frozen would leave it so. */
	if (!answered || !strncmp(text, "hung", 4)) {
		thaw(mnt);
		kill(pid, SIGKILL);
	}
	gone = reap(pid, KILL_MS, &status);
	/* A child killed in the middle of a line leaves half of it: end that line first. */
	if (!gone || !answered || WIFSIGNALED(status))
		agent_line(a, "%s", "");
	if (!gone) {
		agent_line(a, "ok stuck %s", token);
		return;
	}
	if (!answered || !strncmp(text, "hung", 4))
		agent_line(a, "ok hung %s", answered ? token : "no%20answer");
	else if (WIFSIGNALED(status)) {
		fell_text(fell, WTERMSIG(status), where, sizeof(where));
		pf_token_encode(token, sizeof(token), where);
		agent_line(a, "ok died %s", token);
	} else if (!strncmp(text, "ran", 3))
		agent_line(a, "ok ran");
	else if (!strncmp(text, "skip", 4))
		agent_line(a, "ok skip %s", token);
	else if (!strncmp(text, "refused", 7))
		agent_line(a, "ok refused %s", token);
	else
		agent_line(a, "err 5 %s", token);
}

void child_do(struct agent *a, int (*child_main)(void *arg, int out, int result), void *arg,
	      const char *mnt, unsigned int deadline_ms)
{
	char text[512] = "";
	struct fell *fell = mmap(NULL, sizeof(*fell), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fds[2];
	bool answered;
	pid_t pid;

	if (fell == MAP_FAILED || pipe2(fds, O_CLOEXEC)) {
		agent_line(a, "err %d pipe%%20or%%20memory", errno);
		if (fell != MAP_FAILED)
			munmap(fell, sizeof(*fell));
		return;
	}
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fell_note_in(fell);
		_exit(child_main(arg, a->out, fds[1]));
	}
	close(fds[1]);
	if (pid < 0) {
		agent_line(a, "err %d fork", errno);
	} else {
		answered = read_result(fds[0], deadline_ms, text, sizeof(text));
		report(a, mnt, pid, text, answered, fell);
	}
	close(fds[0]);
	munmap(fell, sizeof(*fell));
}
