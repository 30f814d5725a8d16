// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-stall - have the kernel report a hung task, and go on (selftest, guest only).
 *
 * Kernel path: FIFREEZE, and a thread whose write(2) waits in sb_start_write(); khungtaskd, told to
 * look every second, logs "INFO: task ... blocked for more than 1 seconds". It is the one complaint
 * that a stock kernel can be made to utter without anything being broken; the filesystem is thawed
 * when it is in the log, or after STALL_MAX_MS.
 * Can show: that a complaint in the log is found although nothing else went wrong.
 * EOPNOTSUPP where there is no freezing (tmpfs) or no khungtaskd.
 * Source: Documentation/admin-guide/sysctl/kernel.rst, hung_task_*.
 */
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>

#include "state.h"

#define STALL_MAX_MS 5000

static const char *const knobs[] = {
	"/proc/sys/kernel/hung_task_timeout_secs",
	"/proc/sys/kernel/hung_task_check_interval_secs",
};

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static int read_text(const char *path, char *text, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, bytes - 1);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	return 0;
}

static void *stalled_write(void *arg)
{
	const struct pf_fault_call *c = arg;
	uint8_t byte;

	/* What is there already: nothing changes but for the wait. */
	if (pread(c->file->fd, &byte, 1, 0) == 1 && pwrite(c->file->fd, &byte, 1, 0) < 0)
		return arg;
	return NULL;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Wait for the report, from here on in the log. 1 if it came. */
static int wait_report(int log_fd)
{
	int64_t until = now_ms() + STALL_MAX_MS, left;
	struct pollfd p = { .fd = log_fd, .events = POLLIN };
	char record[2048];
	ssize_t n;

	while ((left = until - now_ms()) > 0) {
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		n = read(log_fd, record, sizeof(record) - 1);
		record[n > 0 ? n : 0] = '\0';
		if (strstr(record, "blocked for more than"))
			return 1;
	}
	return 0;
}

static int stall(struct pf_fault_call *c, int log_fd)
{
	pthread_t writer;
	int ret;

	if (ioctl(c->file->fd, FIFREEZE, 0) < 0)
		return -errno;
	ret = -pthread_create(&writer, NULL, stalled_write, c);
	if (!ret)
		c->before[0] = (uint64_t)wait_report(log_fd);
	ioctl(c->file->fd, FITHAW, 0);
	if (!ret)
		pthread_join(writer, NULL);
	return ret;
}

static int sabotage_stall_prepare(struct pf_fault_call *c)
{
	if (state_is_root_fs(c->file->fd))
		return -EPERM;
	if (access(knobs[0], W_OK) || access(knobs[1], W_OK)) {
		c->why = "this kernel does not look for hung tasks";
		return -EOPNOTSUPP;
	}
	return 0;
}

static int sabotage_stall_run(struct pf_fault_call *c)
{
	int log_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), ret;
	char saved[2][32] = { "120", "0" };

	if (log_fd < 0)
		return -errno;
	lseek(log_fd, 0, SEEK_END);
	for (int i = 0; i < 2; i++)
		read_text(knobs[i], saved[i], sizeof(saved[i]));
	ret = write_text(knobs[1], "1");
	ret = ret ? ret : write_text(knobs[0], "1");
	ret = ret ? ret : stall(c, log_fd);
	for (int i = 0; i < 2; i++)
		write_text(knobs[i], saved[i]);
	close(log_fd);
	return ret;
}

static enum pf_effect sabotage_stall_effect(struct pf_fault_call *c, char *evidence,
					    size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "the kernel %s a hung task",
		  c->before[0] ? "reported" : "did not report");
	return c->before[0] ? PF_EFFECT_SHOWN : PF_EFFECT_NONE;
}

static const struct pf_fault_ops sabotage_stall_ops = {
	.name = "sabotage-stall",
	.summary = "write to a frozen filesystem until the kernel reports a hung task",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST | PF_FAULT_GUEST_ONLY | PF_FAULT_EXCLUSIVE,
	.prepare = sabotage_stall_prepare,
	.run = sabotage_stall_run,
	.effect = sabotage_stall_effect,
};
PF_FAULT(sabotage_stall_ops);
