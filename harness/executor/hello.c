// SPDX-License-Identifier: GPL-2.0
/*
 * hello.c - who this machine is and what can run on it. Probes run in a child each: one that
 * crashes or hangs is an answer too.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/token.h"
#include "exec.h"
#include "race.h"

#define PROBE_MS 20000

static const char *const hold_names[] = { "none", "trivial", "inflight" };
static const char *const args_names[] = { "file", "file-size", "file-range", "file-file" };

/* Run @ops->probe in a child. 0, or -errno with @why. */
static int probe(const struct pf_channel_ops *ops, const char *variant, char *why, size_t bytes)
{
	int fds[2], status = 0, rc = -EIO;
	struct pollfd p;
	ssize_t n = 0;
	pid_t pid;

	why[0] = '\0';
	if (!ops->probe)
		return 0;
	if (pipe(fds))
		return -errno;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		rc = ops->probe(variant, why, bytes);
		if (rc && !*why)
			snprintf(why, bytes, "%s", pf_errno_name(-rc));
		if (write(fds[1], rc ? why : "", strlen(rc ? why : "") + 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(fds[1]);
	p = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	if (pid > 0 && poll(&p, 1, PROBE_MS) > 0)
		n = read(fds[0], why, bytes - 1);
	close(fds[0]);
	why[n > 0 ? n : 0] = '\0';
	if (pid > 0 && n <= 0)
		kill(pid, SIGKILL);
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (n <= 0)
		snprintf(why, bytes, "the probe %s",
			 pid < 0	       ? "could not fork"
			 : WIFSIGNALED(status) ? "crashed or hung"
					       : "failed");
	return *why ? -EIO : 0;
}

static void say_channel(struct agent *a, const struct pf_channel_ops *ops, const char *variant)
{
	char why[200], token[620];
	int rc = probe(ops, variant, why, sizeof(why));

	if (!rc && !*variant && ops->preload)
		ops->preload();
	pf_token_encode(token, sizeof(token), why);
	agent_line(a, "channel %s%s%s %s %s %s %s %s", ops->name, *variant ? "/" : "", variant,
		   channel_class_names[ops->class], hold_names[ops->hold_kind],
		   ops->brief ? "brief" : "full", rc ? "no" : "yes", token);
}

static void say_fault(struct agent *a, const struct pf_fault_ops *ops)
{
	static const struct {
		unsigned int flag;
		const char *name;
	} flags[] = {
		{ PF_FAULT_BEST_EFFORT, "best-effort" }, { PF_FAULT_EXCLUSIVE, "exclusive" },
		{ PF_FAULT_SELFTEST, "selftest" },	 { PF_FAULT_GUEST_ONLY, "guest-only" },
		{ PF_FAULT_LAST, "last" },		 { PF_FAULT_POWER, "power" },
		{ PF_FAULT_REWRITES, "rewrites" },
	};
	char text[100] = "", token[400];

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (ops->flags & flags[i].flag) {
			if (*text)
				strcat(text, ",");
			strcat(text, flags[i].name);
		}
	if (!race_bears(ops, PF_RACE_FILES_MAX))
		strcat(text, *text ? ",unraced" : "unraced");
	pf_token_encode(token, sizeof(token), ops->summary);
	agent_line(a, "fault %s %s %s %s", ops->name, args_names[ops->args], *text ? text : "-",
		   token);
}

void do_hello(struct agent *a)
{
	static const char *const plain[] = { "", NULL };
	struct utsname u;
	char token[400];
	size_t nr;

	uname(&u);
	agent_line(a, "env kernel %s", u.release);
	pf_token_encode(token, sizeof(token), u.version);
	agent_line(a, "env build %s", token);
	agent_line(a, "env machine %s", u.machine);
	agent_line(a, "env cpus %ld", sysconf(_SC_NPROCESSORS_ONLN));
	agent_line(a, "env page_bytes %ld", sysconf(_SC_PAGESIZE));
	agent_line(a, "env memory_bytes %lld",
		   (long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
	agent_line(a, "env root %d", geteuid() == 0);
	for (const struct pf_channel_ops *const *c = pf_channels(&nr), *const *end = c + nr;
	     c < end; c++)
		for (const char *const *v = (*c)->variants ? (*c)->variants : plain; *v; v++)
			say_channel(a, *c, *v);
	for (const struct pf_fault_ops *const *f = pf_faults(&nr), *const *end = f + nr; f < end;
	     f++)
		say_fault(a, *f);
	agent_line(a, "ok");
}
