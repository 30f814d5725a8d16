// SPDX-License-Identifier: GPL-2.0
/*
 * fork - fork a child that reads the mapping and keeps it until the case ends.
 *
 * Kernel path: fork(2) -> copy_page_range(). A shared mapping has nothing to copy on write: parent
 * and child go on seeing the same pages, so the data must not change and nobody may lose a write.
 * It matters for private mappings, where fork write-protects the parent's page, the next store gets
 * a copy, and a pin stays with the old page: the data of the device goes to whoever lost the race
 * (CVE-2020-29374 and its kin; pinned anonymous pages are copied early since 5.10). On a shared one
 * it is the control of that, and the child is one more mapper whom truncate, reclaim and migration
 * have to find through the rmap.
 * Can show: a mapping that differs between two processes; a child that keeps a file busy.
 * The child closes every descriptor (else a copy of a device's would keep a registration alive
 * behind its owner's back), and waits on a pidfd of its parent: a parent-death signal would follow
 * the thread that forked, which is gone long before.
 * Source: fork(2); madvise(2), MADV_DONTFORK; LTP dma_thread_diotest.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "state.h"

/* Between fork and _exit in a threaded process: only system calls. */
static void fork_child(const struct pf_file *f, uint64_t size_bytes, pid_t parent, int told)
{
	struct pollfd parent_ended = {.fd = -1, .events = POLLIN};
	const volatile uint8_t *map = f->map;
	uint8_t sum = 0;

	signal(SIGBUS, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	for (uint64_t off = 0; map && off < size_bytes; off += STATE_PAGE_BYTES)
		sum ^= map[off];
	if (write(told, &sum, 1) != 1)
		_exit(1);
	syscall(SYS_close_range, 0u, ~0u, 0u);
	parent_ended.fd = (int)syscall(SYS_pidfd_open, parent, 0);
	while (parent_ended.fd >= 0 && poll(&parent_ended, 1, -1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static int fork_prepare(struct pf_fault_call *c)
{
	uint64_t size_bytes = state_size_bytes(c->file->fd);

	/* Past the end of the file a touch is SIGBUS, and past the mapping a fault of our own. */
	c->before[0] = size_bytes < c->file->map_bytes ? size_bytes : c->file->map_bytes;
	return 0;
}

static int fork_run(struct pf_fault_call *c)
{
	pid_t parent = getpid(), pid;
	int told[2], status, ret = 0;
	uint8_t sum;

	if (pipe2(told, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		fork_child(c->file, c->before[0], parent, told[1]);
	if (pid < 0)
		ret = -errno;
	close(told[1]);
	if (pid > 0) {
		c->before[1] = (uint64_t)pid;
		if (read(told[0], &sum, 1) != 1) {
			/* It died touching the mapping: the file was truncated under it. */
			waitpid(pid, &status, 0);
			ret = -EFAULT;
		}
	}
	close(told[0]);
	return ret;
}

static enum pf_effect fork_effect(struct pf_fault_call *c, char *evidence, size_t evidence_bytes)
{
	int status;

	if (waitpid((pid_t)c->before[1], &status, WNOHANG) != 0) {
		state_say(evidence, evidence_bytes, "the child has ended");
		return PF_EFFECT_NONE;
	}
	state_say(evidence, evidence_bytes, "a child has read %" PRIu64 " bytes of %s and lives",
		  c->file->map ? c->before[0] : 0, c->file->name);
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops fork_ops = {
	.name = "fork",
	.summary = "fork a child that shares the mapping until the case ends",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_NO_RACE,
	.prepare = fork_prepare,
	.run = fork_run,
	.effect = fork_effect,
};
PF_FAULT(fork_ops);
