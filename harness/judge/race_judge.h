/* SPDX-License-Identifier: GPL-2.0 */
/* race_judge.h - a race's stream in, an answer out. */
#ifndef PF_JUDGE_RACE_JUDGE_H
#define PF_JUDGE_RACE_JUDGE_H

#include <stdbool.h>
#include <stdio.h>

/*
 * Judge the stream at @fd (borrowed) while it comes and print the answer (harness/README.md) to
 * @out.
 * With @prefix a damaged one is judged up to the damage. Returns the exit status of
 * pinfault-judge: 0, or 2
 * when it could not be read to its end.
 */
int race_judge(int fd, bool prefix, FILE *out);
/* The same of a stream that is in memory (borrowed). */
int race_judge_bytes(const void *data, size_t bytes, bool prefix, FILE *out);

#endif
