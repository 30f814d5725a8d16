// SPDX-License-Identifier: GPL-2.0
/*
 * zeros.c - the kernel's page of zeros: what a process has where it has read and not written yet.
 *
 * A driver that takes it for a page of the file overwrites the fresh memory of everybody
 * (results/reference/findings/6.18-odp-zero-page). Nothing on that machine can be believed after
 * it, and nothing says so but the page.
 */
#include <string.h>
#include <sys/mman.h>

#include "exec.h"

#define PAGE_BYTES 4096

static const uint8_t *page = MAP_FAILED;

void zeros_open(void)
{
	page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

size_t zeros_count_wrong(const uint8_t *bytes, size_t len)
{
	size_t wrong = 0;

	/* Asked after each sequence, and hardly ever so. */
	if (!bytes[0] && !memcmp(bytes, bytes + 1, len - 1))
		return 0;
	for (size_t i = 0; i < len; i++)
		wrong += bytes[i] != 0;
	return wrong;
}

size_t zeros_wrong(void)
{
	return page == MAP_FAILED ? 0 : zeros_count_wrong(page, PAGE_BYTES);
}
