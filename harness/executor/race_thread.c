// SPDX-License-Identifier: GPL-2.0
/*
 * race_thread.c - one thread of a race: what it has for itself, and what it does over and over.
 *
 * All it needs is there before the start: descriptors, mappings, buffers, its own channel (channels
 * take one call at a time), and a first write of it to anonymous memory, which brings up what a
 * channel makes at its first I/O.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../core/clock.h"
#include "race.h"

#define PAGE_BYTES 4096u

static bool pins(const struct pf_channel_ops *ops)
{
	return ops->class == PF_CLASS_LONG_PIN || ops->class == PF_CLASS_FAULTING;
}

/* What is registered must exist: no more than the file has at the start. Others may reach further. */
static uint64_t map_bytes(const struct race_thread *t)
{
	uint64_t size_bytes = t->race->plan.size_bytes;

	return pins(t->channel.ops) ? size_bytes : 2 * size_bytes;
}

static int open_file(struct race_thread *t, unsigned int i)
{
	const struct race *r = t->race;
	struct race_file *rf = &t->files[i];
	struct pf_file *f = &rf->f;

	snprintf(f->name, sizeof(f->name), "%c", 'A' + (int)i);
	snprintf(f->path, sizeof(f->path), "%.200s/%s", r->params.dir, f->name);
	f->id = i + 1;
	f->mnt = r->params.mnt;
	f->dirfd = r->dirfd;
	f->fd = openat(r->dirfd, f->name, O_RDWR | O_CLOEXEC);
	if (f->fd < 0)
		return -errno;
	/* tmpfs has it from 6.6; without it the plan drops the view. */
	rf->direct_fd = openat(r->dirfd, f->name, O_RDONLY | O_DIRECT | O_CLOEXEC);
	f->map_bytes = map_bytes(t);
	f->map = mmap(NULL, f->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (f->map == MAP_FAILED) {
		f->map = NULL;
		return -errno;
	}
	return 0;
}

/* A write of the channel to memory that is no file's: what it does at its first one is done. */
static int warm_up(struct race_thread *t, char *why, size_t why_bytes)
{
	struct pf_file f = { .name = "warm", .fd = -1, .dirfd = -1, .map_bytes = PAGE_BYTES };
	struct pf_io io = { .file = &f, .len_bytes = PAGE_BYTES, .data = t->data };
	long n;

	if (t->channel.ops->pin)
		return 0; /* it writes to what is pinned only; pinning does the work */
	f.map = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (f.map == MAP_FAILED)
		return -errno;
	n = t->channel.ops->write(&t->channel, &io);
	munmap(f.map, PAGE_BYTES);
	if (n < 0)
		snprintf(why, why_bytes, "a first write: %s %s", pf_errno_name((int)-n), io.detail);
	return n < 0 ? (int)n : 0;
}

int race_thread_setup(struct race_thread *t, char *why, size_t why_bytes)
{
	struct race *r = t->race;
	int rc = 0;

	pf_rng_init(&t->rng, r->params.seed, "race choices", t->nr);
	if (posix_memalign((void **)&t->data, PAGE_BYTES, VIEW_BUFFER_BYTES) ||
	    posix_memalign((void **)&t->seen, PAGE_BYTES, VIEW_BUFFER_BYTES + PAGE_BYTES))
		return -ENOMEM;
	memset(t->data, 0, VIEW_BUFFER_BYTES);
	memset(t->seen, 0, VIEW_BUFFER_BYTES + PAGE_BYTES);
	if (r->recording)
		rc = pf_race_open(&t->buf, &r->log, t->nr);
	for (unsigned int i = 0; i < r->plan.nr_files && !rc; i++) {
		rc = open_file(t, i);
		if (rc)
			snprintf(why, why_bytes, "file %s: %s", t->files[i].f.path,
				 pf_errno_name(-rc));
	}
	if (rc)
		return rc;
	if (t->channel.ops->open) {
		t->channel_open = true; /* close accepts the half-open */
		rc = t->channel.ops->open(&t->channel);
		if (rc)
			snprintf(why, why_bytes, "%s: open: %s %s", r->params.channel,
				 pf_errno_name(-rc), t->channel.detail);
	}
	return rc ? rc : warm_up(t, why, why_bytes);
}

int race_thread_pin(struct race_thread *t, char *why, size_t why_bytes)
{
	struct pf_channel *ch = &t->channel;

	for (unsigned int i = 0; i < t->race->plan.nr_files && ch->ops->pin; i++) {
		int rc = ch->ops->pin(ch, &t->files[i].f);

		if (rc) {
			snprintf(why, why_bytes, "%s %s", pf_errno_name(-rc), ch->detail);
			return rc;
		}
		t->files[i].pinned = true;
	}
	return 0;
}

void race_thread_release(struct race_thread *t)
{
	struct pf_channel *ch = &t->channel;

	for (unsigned int i = 0; i < t->race->plan.nr_files; i++) {
		struct race_file *rf = &t->files[i];

		if (rf->pinned && ch->ops->unpin)
			ch->ops->unpin(ch, &rf->f);
		rf->pinned = false;
	}
	if (t->channel_open && ch->ops->close)
		ch->ops->close(ch);
	t->channel_open = false;
	for (unsigned int i = 0; i < t->race->plan.nr_files; i++) {
		struct pf_file *f = &t->files[i].f;

		if (f->map)
			munmap(f->map, f->map_bytes);
		f->map = NULL;
	}
}

static void say_done(struct race_thread *t)
{
	uint64_t one = 1;
	ssize_t n;

	atomic_store(&t->done, true);
	n = write(t->race->done_fd, &one, sizeof(one));
	(void)n; /* fails only when the counter is full */
}

void *race_thread_main(void *arg)
{
	struct race_thread *t = arg;
	struct race *r = t->race;
	/* The numbers of operations are 32 bits; the last thousand are for the looks at the end. */
	uint64_t max = (UINT32_MAX - 1000u * r->plan.nr_threads) / r->plan.nr_threads;
	struct race_choice c;
	bool go_on = true;

	atomic_store(&t->tid, (int)syscall(SYS_gettid));
	max = r->quota < max ? r->quota : max;
	pthread_barrier_wait(&r->start);
	while (go_on && t->nr_ops < max && !atomic_load_explicit(&r->stop, memory_order_relaxed)) {
		race_choose(&r->plan, &t->rng, &c);
		go_on = race_op_run(t, &c);
	}
	if (!go_on) /* the record cannot go on, so neither can the others */
		atomic_store(&r->stop, true);
	say_done(t);
	return NULL;
}

void *race_last_main(void *arg)
{
	struct race_thread *t = arg;
	struct race *r = t->race;

	atomic_store(&t->tid, (int)syscall(SYS_gettid));
	if (race_op_last_looks(t, false)) {
		atomic_store(&t->since_ns, pf_now_ns());
		for (unsigned int i = 0; i < r->plan.nr_threads; i++)
			race_thread_release(&r->threads[i]);
		atomic_store(&t->since_ns, 0);
		race_op_last_looks(t, true);
	}
	say_done(t);
	return NULL;
}
