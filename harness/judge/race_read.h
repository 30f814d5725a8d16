/* SPDX-License-Identifier: GPL-2.0 */
/*
 * race_read.h - a race's stream, checked and merged by time.
 *
 * Records come thread by thread; what is handed on are beginnings and ends in one order of time. At
 * equal times beginnings come first: what cannot be told apart overlaps. Most operations end before
 * anything else happens, and are handed on once. Kept in memory is what lies between the slowest
 * thread's promise and the rest.
 */
#ifndef PF_JUDGE_RACE_READ_H
#define PF_JUDGE_RACE_READ_H

#include <stdbool.h>
#include <stdio.h>

#include "../core/racelog.h"

struct race_event {
	bool begins, ends; /* both: nothing else begins or ends in between */
	uint32_t thread;
	/* Of a beginning valid until its end has been taken, of an end until the next call. */
	const struct pf_race_rec *rec;
	const struct pf_race_run *runs;
};

struct race_reader;

/* Read from @fd (borrowed) and check the header. NULL when memory is short; what is wrong with the
 * header is said by race_error. */
struct race_reader *race_open(int fd);
/* The same of a stream that is in memory (borrowed until race_close). */
struct race_reader *race_open_bytes(const void *data, size_t bytes);
void race_close(struct race_reader *r);
const struct pf_race_header *race_header(const struct race_reader *r);
/* 1 with @ev filled in, 0 at the end, -EINVAL or -errno with race_error. */
int race_next(struct race_reader *r, struct race_event *ev);
/* "record N, byte M: what is wrong"; "" while all is well. */
const char *race_error(const struct race_reader *r);
/* Bytes of the stream so far. */
uint64_t race_read_bytes(const struct race_reader *r);
/* The most bytes of records that were kept at once. */
uint64_t race_kept_max(const struct race_reader *r);

#endif
