/* SPDX-License-Identifier: GPL-2.0 */
/* clock.h - the one clock of a history. */
#ifndef PF_CLOCK_H
#define PF_CLOCK_H

#include <stdint.h>
#include <time.h>

#define PF_NS_PER_MS 1000000ull

/* CLOCK_MONOTONIC in nanoseconds. Any thread. */
static inline uint64_t pf_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

#endif
