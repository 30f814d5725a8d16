// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-pin - leave a process behind that keeps pages pinned after the case (selftest, guest).
 *
 * A child registers anonymous memory as an io_uring fixed buffer (io_sqe_buffers_register() pins it
 * with FOLL_LONGTERM on every kernel) and outlives the case, as a leaked reference would. It has no
 * file of the filesystem under test open, so that this can be unmounted; when it is, the child sees
 * that in /proc/self/mountinfo and ends, and the guest is as it was.
 * Can show: nr_foll_pin_acquired stays ahead of nr_foll_pin_released.
 * Guest only: natively the pins of everybody else count too, and are not looked at.
 */
#include <linux/io_uring.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "state.h"

#define PINNED_BYTES (16 * STATE_PAGE_BYTES)

/* Is a filesystem mounted on @path? Only system calls: the child was forked from a thread. */
static bool mounted(int fd, const char *path)
{
	static char text[65536];
	size_t used = 0;
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	while (used < sizeof(text) - 1 && (n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	return strstr(text, path) != NULL;
}

static int pin_memory(void)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { .iov_len = PINNED_BYTES };
	int ring;

	iov.iov_base = mmap(NULL, PINNED_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ring = (int)syscall(__NR_io_uring_setup, 4, &params);
	if (iov.iov_base == MAP_FAILED || ring < 0)
		return -errno;
	return syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1) < 0 ?
		       -errno : 0;
}

static void child(const struct pf_file *f, int told)
{
	struct pollfd mounts = { .events = POLLPRI };
	int ret;

	signal(SIGBUS, SIG_DFL);
	if (f->map)
		munmap(f->map, f->map_bytes);
	dup2(told, 0);
	syscall(SYS_close_range, 1u, ~0u, 0u);
	mounts.fd = open("/proc/self/mountinfo", O_RDONLY);
	ret = mounts.fd < 0 ? -errno : pin_memory();
	if (write(0, &ret, sizeof(ret)) != sizeof(ret) || ret)
		_exit(1);
	close(0);
	while (mounted(mounts.fd, f->mnt))
		poll(&mounts, 1, -1);
	_exit(0);
}

static int sabotage_pin_run(struct pf_fault_call *c)
{
	int told[2], ret = -EIO;
	pid_t pid;

	if (pipe2(told, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		child(c->file, told[1]);
	if (pid < 0)
		ret = -errno;
	close(told[1]);
	if (pid > 0 && read(told[0], &ret, sizeof(ret)) != sizeof(ret))
		ret = -EIO;
	close(told[0]);
	if (pid > 0 && ret)
		waitpid(pid, NULL, 0);
	c->before[0] = (uint64_t)pid;
	return ret;
}

static enum pf_effect sabotage_pin_effect(struct pf_fault_call *c, char *evidence,
					  size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "process %" PRIu64 " keeps %u pages pinned",
		  c->before[0], PINNED_BYTES / STATE_PAGE_BYTES);
	return kill((pid_t)c->before[0], 0) == 0 ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops sabotage_pin_ops = {
	.name = "sabotage-pin",
	.summary = "leave a process behind that keeps pages pinned until the unmount",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST | PF_FAULT_GUEST_ONLY | PF_FAULT_EXCLUSIVE,
	.run = sabotage_pin_run,
	.effect = sabotage_pin_effect,
};
PF_FAULT(sabotage_pin_ops);
