/* SPDX-License-Identifier: GPL-2.0 */
/* uring_why.h - can a ring be had here at all, and if not, who forbids it. */
#ifndef PF_URING_WHY_H
#define PF_URING_WHY_H

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>

/* 0, or -errno with one line in @why. Leaves nothing open. */
static inline int uring_why(char *why, size_t why_bytes)
{
	char disabled = '0';
	struct io_uring ring;
	int rc = io_uring_queue_init(2, &ring, 0);
	FILE *f;

	if (!rc) {
		io_uring_queue_exit(&ring);
		return 0;
	}
	f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
	if (f) {
		if (fread(&disabled, 1, 1, f) != 1)
			disabled = '0';
		fclose(f);
	}
	if (disabled != '0')
		snprintf(why, why_bytes, "kernel.io_uring_disabled=%c: %s", disabled,
			 strerror(-rc));
	else
		snprintf(why, why_bytes, "io_uring_setup: %s", strerror(-rc));
	return rc;
}

#endif
