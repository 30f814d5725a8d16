// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz_race.c - any bytes as a race's stream: refused with a record and a byte, or judged
 * (libFuzzer).
 *
 * This build does not look at sums (PF_FUZZ): with them nothing but the sums would be tried. The
 * bytes are judged where they are and the answer is dropped, for system calls took most of the
 * time.
 */
#include <stdint.h>
#include <stdlib.h>

#include "../judge/race_judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
const char *__asan_default_options(void);

/* What is freed is used again after some hundred executions, while it is in the caches: the default
 * of 256 MiB makes every execution touch fresh pages. */
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=1";
}

static ssize_t drop(void *cookie, const char *text, size_t bytes)
{
	(void)cookie;
	(void)text;
	return (ssize_t)bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static FILE *nowhere;

	nowhere = nowhere ? nowhere
			  : fopencookie(NULL, "w", (cookie_io_functions_t){ .write = drop });
	if (!nowhere)
		abort();
	race_judge_bytes(data, bytes, bytes & 1, nowhere);
	return 0;
}
