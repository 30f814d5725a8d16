// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz_history.c - any bytes as a history: the parser refuses it or the judge judges it
 * (libFuzzer).
 *
 * The limits of the judge are small in this build (Makefile), so that an execution takes no longer
 * than parsing does. Nothing here can see a wrong verdict: that is test_judge_brute's part.
 */
#include <stdlib.h>

#include "../judge/judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct j_reader r = { .path = "fuzz" };
	static FILE *nowhere;
	struct judge *j;
	struct j_event ev;
	int rc;

	nowhere = nowhere ? nowhere : fopen("/dev/null", "w");
	if (!bytes || !nowhere)
		return 0;
	r.in = fmemopen((void *)data, bytes, "r");
	j = judge_new();
	if (!r.in || !j)
		abort();
	while ((rc = j_read(&r, &ev)) > 0) {
		rc = judge_event(j, &ev);
		if (rc)
			break;
	}
	/* What comes before the damage is judged on request: so it must be judgeable. */
	if (rc && *r.err)
		j->prefix_of = r.err;
	if (!judge_finish(j))
		judge_answer(j, nowhere);
	judge_free(j);
	j_reader_free(&r);
	fclose(r.in);
	return 0;
}
