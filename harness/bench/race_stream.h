/* SPDX-License-Identifier: GPL-2.0 */
/* race_stream.h - a race's stream without a filesystem: for the bench of the judge. */
#ifndef PF_BENCH_RACE_STREAM_H
#define PF_BENCH_RACE_STREAM_H

#include <stdint.h>

/*
 * Write the stream of @operations operations to @fd. A thread runs as long as @alone (> 0)
 * operations take on the average, then another one goes on; what it was doing stays half done.
 * Ends the process where it cannot go on.
 */
void race_stream_make(int fd, uint64_t operations, unsigned int alone, uint64_t seed);

#endif
