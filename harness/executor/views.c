// SPDX-License-Identifier: GPL-2.0
/* views.c - what the files of a finished case look like after everything was mounted again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/clock.h"
#include "exec.h"

#define OP_BASE 1000000u /* operations after the case: above any the case itself can reach */

static void view_file(struct look *l, const char *dir, const char *name, uint32_t id,
		      const char *label)
{
	struct pf_file f = { .id = id, .fd = -1 };
	uint32_t op;

	snprintf(f.name, sizeof(f.name), "%s", name);
	snprintf(f.path, sizeof(f.path), "%.200s/%.16s", dir, name);
	f.fd = open(f.path, O_RDONLY | O_CLOEXEC);
	if (f.fd < 0) {
		int err = errno;

		op = pf_history_inv(l->h, "look %s 0 0 %s", f.name, label);
		pf_history_ret(l->h, op, -err, NULL);
		return;
	}
	look_at(l, &f, PF_VIEW_BUFFERED, label, 0, 0);
	close(f.fd);
}

void do_views(struct agent *a, char **words, int nr)
{
	const char *dir = arg_find(words, nr, "dir"), *label = arg_find(words, nr, "label");
	const char *files = arg_find(words, nr, "files");
	struct pf_history *h = calloc(1, sizeof(*h));
	char *save = NULL, *copy = files ? strdup(files) : NULL;
	struct look l;
	uint32_t id = 0;

	if (!h || !dir || !label || !copy ||
	    look_init(&l, h, (uint32_t)arg_u64(words, nr, "run", 0),
		      (uint32_t)arg_u64(words, nr, "nr", 0))) {
		agent_line(a, "err 22 views%%20needs%%20nr,%%20run,%%20dir,%%20label,%%20files");
		goto out;
	}
	h->fd = a->out;
	h->prefix = "h ";
	h->last_op = OP_BASE;
	pthread_mutex_init(&h->lock, NULL);
	h->add_ns = arg_u64(words, nr, "add_ns", 0);
	pf_history_line(h, "%s %llu", label, (unsigned long long)pf_history_now_ns(h));
	for (char *name = strtok_r(copy, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		char *colon = strchr(name, ':');

		id++; /* without ":ID" the id of a name is its place in the list */
		if (colon) {
			*colon = '\0';
			id = (uint32_t)strtoul(colon + 1, NULL, 10);
		}
		view_file(&l, dir, name, id, label);
	}
	pf_history_flush(h);
	look_exit(&l);
	agent_line(a, "ok");
out:
	free(copy);
	free(h);
}
