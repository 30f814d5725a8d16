// SPDX-License-Identifier: GPL-2.0
/* explore_keep.c - what the files of a sequence held last, and whether they still do. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "explore.h"

/* FNV-1a over what the see lines from @from on say, but for the operation's number and the view. */
uint64_t explore_sum(const struct pf_history *h, size_t from)
{
	uint64_t sum = 0xcbf29ce484222325ull;
	const char *line = h->buf + from, *end = h->buf + h->used;

	while (line < end) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const char *stop = newline ? newline : end;
		int words = strncmp(line, "see ", 4) ? -1 : 4;

		for (; words >= 0 && line < stop; line++) {
			if (words)
				words -= *line == ' ';
			else
				sum = (sum ^ (uint8_t)*line) * 0x100000001b3ull;
		}
		line = stop + 1;
	}
	return sum;
}

/* Under which names the files stand in the directory now, and with what content. */
void explore_keep(const struct case_run *c, struct explore_kept *kept, const uint64_t *sums)
{
	ino_t inodes[PF_SEQ_FILES_MAX] = { 0 };
	struct stat st;

	for (int i = 0; i < c->seq.nr_files; i++)
		if (c->files[i].fd >= 0 && !fstat(c->files[i].fd, &st))
			inodes[i] = st.st_ino;
	kept->nr_names = (uint32_t)c->seq.nr_files;
	for (int n = 0; n < c->seq.nr_files; n++) {
		struct explore_name *name = &kept->names[n];

		snprintf(name->name, sizeof(name->name), "%s", c->seq.files[n]);
		if (fstatat(c->dirfd, name->name, &st, 0))
			continue;
		for (int i = 0; i < c->seq.nr_files; i++)
			if (inodes[i] == st.st_ino) {
				name->id = c->files[i].id;
				name->sum = sums[i];
			}
	}
	kept->whole = true;
}

unsigned int explore_compare(const struct explore_kept *kept, const char *dir, uint32_t run_nonce,
			     struct look *l, char *which, size_t bytes)
{
	unsigned int differ = 0;

	l->run = run_nonce;
	l->case_nr = kept->nr;
	for (uint32_t n = 0; kept->whole && n < kept->nr_names; n++) {
		const struct explore_name *name = &kept->names[n];
		struct pf_file f = { .id = name->id };
		char path[300];
		bool same;

		snprintf(path, sizeof(path), "%.200s/%u/%s", dir, kept->nr, name->name);
		f.fd = open(path, O_RDONLY | O_CLOEXEC);
		same = (f.fd >= 0) == (name->id != 0);
		if (same && f.fd >= 0) {
			l->h->used = 0;
			snprintf(f.name, sizeof(f.name), "%s", name->name);
			look_at(l, &f, PF_VIEW_BUFFERED, "remount", 0, 0);
			same = explore_sum(l->h, 0) == name->sum;
		}
		if (f.fd >= 0)
			close(f.fd);
		if (!same && !differ++)
			snprintf(which, bytes, "%s", name->name);
	}
	return differ;
}
