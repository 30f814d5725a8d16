// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz_race.c - any bytes as a race's stream: refused with a record and a byte, or judged
 * (libFuzzer).
 *
 * This build does not look at sums (PF_FUZZ): with them nothing but the sums would be tried.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../judge/race_judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static FILE *nowhere;
	static int fd = -1;

	nowhere = nowhere ? nowhere : fopen("/dev/null", "w");
	fd = fd < 0 ? memfd_create("fuzz", 0) : fd;
	if (!nowhere || fd < 0 || ftruncate(fd, 0) || lseek(fd, 0, SEEK_SET) ||
	    write(fd, data, bytes) != (ssize_t)bytes || lseek(fd, 0, SEEK_SET))
		abort();
	race_judge(fd, bytes & 1, nowhere);
	return 0;
}
