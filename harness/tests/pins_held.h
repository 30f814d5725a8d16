/* SPDX-License-Identifier: GPL-2.0 */
/* pins_held.h - FOLL_PIN pages of the whole machine, for tests of what pins. */
#ifndef PF_TESTS_PINS_HELD_H
#define PF_TESTS_PINS_HELD_H

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* -1 if the kernel does not say. */
static inline long pins_held(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);
	long value, acquired = -1, released = 0;
	char key[64];
	FILE *f;

	if (fd < 0)
		return -1;
	if (write(fd, "1", 1) == 1) {
		f = fopen("/proc/vmstat", "re");
		while (f && fscanf(f, "%63s %ld", key, &value) == 2) {
			if (!strcmp(key, "nr_foll_pin_acquired"))
				acquired = value;
			else if (!strcmp(key, "nr_foll_pin_released"))
				released = value;
		}
		if (f)
			fclose(f);
	}
	close(fd);
	return acquired < 0 ? -1 : acquired - released;
}

#endif
