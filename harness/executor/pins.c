// SPDX-License-Identifier: GPL-2.0
/*
 * pins.c - how many pages are pinned right now, by the kernel's own count.
 *
 * nr_foll_pin_acquired and nr_foll_pin_released (Linux 5.7) count FOLL_PIN only: what takes plain
 * references (FUSE direct I/O before 6.15) does not show. They are per-CPU and folded lazily, so
 * they are read after a write to /proc/sys/vm/stat_refresh.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec.h"

static int vmstat_value(const char *text, const char *key, uint64_t *out)
{
	const char *at = strstr(text, key);

	if (!at)
		return -ENODATA;
	*out = strtoull(at + strlen(key), NULL, 10);
	return 0;
}

int pin_counters_read(struct pin_counters *out)
{
	static char text[32768];
	size_t used = 0;
	ssize_t n;
	int fd, rc;

	fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = write(fd, "1", 1);
		(void)n; /* without it the figures lag: the caller sees "unknown", not a lie */
		close(fd);
	}
	fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (used < sizeof(text) - 1 && (n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	text[used] = '\0';
	rc = vmstat_value(text, "nr_foll_pin_acquired ", &out->acquired);
	return rc ? rc : vmstat_value(text, "nr_foll_pin_released ", &out->released);
}

void do_pins(struct agent *a)
{
	struct pin_counters c = { 0 };
	int rc = pin_counters_read(&c);

	if (rc) {
		agent_line(a, "err %d /proc/vmstat%%20has%%20no%%20nr_foll_pin_*", -rc);
		return;
	}
	agent_line(a, "env nr_foll_pin_acquired %llu\nenv nr_foll_pin_released %llu\nok",
		   (unsigned long long)c.acquired, (unsigned long long)c.released);
}
