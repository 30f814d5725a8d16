// SPDX-License-Identifier: GPL-2.0
/* fuzz_sequence.c - any bytes as a sequence: refused with a line, or within all limits
 * (libFuzzer). */
#include <stdlib.h>
#include <string.h>

#include "../core/seq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(const struct pf_seq *s)
{
	if (s->nr_files < 0 || s->nr_files > PF_SEQ_FILES_MAX || s->nr_steps < 0 ||
	    s->nr_steps > PF_SEQ_STEPS_MAX)
		abort();
	for (int i = 0; i < s->nr_steps; i++) {
		const struct pf_step *t = &s->steps[i];

		if (t->file >= s->nr_files || t->file2 >= s->nr_files)
			abort();
		if (t->off_bytes % 64 || t->len_bytes % 64)
			abort();
		if (t->verb == PF_VERB_FAULT && !t->fault)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct pf_seq seq;
	char *text = malloc(bytes + 1), err[100];

	if (!text)
		abort();
	memcpy(text, data, bytes);
	text[bytes] = '\0';
	memset(err, 0x7f, sizeof(err));
	if (pf_seq_parse(&seq, text, err, sizeof(err))) {
		if (!memchr(err, '\0', sizeof(err)) || !*err)
			abort(); /* refused, and nobody is told why */
	} else {
		check(&seq);
	}
	free(text);
	return 0;
}
