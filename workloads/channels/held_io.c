// SPDX-License-Identifier: GPL-2.0
/*
 * held_io.c - an I/O in a thread of its own; held_io.h says for whom.
 *
 * Why threads and system calls that wait, and not AIO, which needs no thread to be in flight: a
 * process that exits waits for its AIO in exit_mm, before it closes its descriptors. The last of
 * its threads to get there may be the FUSE server that ought to answer. A thread that sleeps in
 * read(2) keeps the process's memory alive until the server is gone and the connection with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../harness/core/clock.h"
#include "held_io.h"

#define SETTLE_POLL_MS 4
#define SETTLE_ROUNDS 3

int held_io_init(struct held_io *h)
{
	h->running = h->has_thread = h->over = false;
	sem_init(&h->go, 0, 0);
	h->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return h->done_fd < 0 ? -errno : 0;
}

void held_io_exit(struct held_io *h)
{
	if (h->has_thread) {
		h->over = true;
		sem_post(&h->go);
		pthread_join(h->thread, NULL);
	}
	h->has_thread = false;
	if (h->done_fd >= 0)
		close(h->done_fd);
	h->done_fd = -1;
}

static void *held_io_main(void *arg)
{
	struct held_io *h = arg;
	int tid = (int)syscall(SYS_gettid);
	uint64_t one = 1;
	ssize_t n;

	for (;;) {
		while (sem_wait(&h->go))
			;
		if (h->over)
			return NULL;
		atomic_store(&h->tid, tid);
		h->result = h->run(h);
		atomic_store(&h->tid, 0);
		n = write(h->done_fd, &one, sizeof(one));
		(void)n;
	}
}

static int make_thread(struct held_io *h)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&h->thread, NULL, held_io_main, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	h->has_thread = !rc;
	return rc;
}

int held_io_threads(struct held_io *io, unsigned int nr)
{
	int rc = 0;

	for (unsigned int i = 0; i < nr && !rc; i++)
		if (!io[i].has_thread)
			rc = make_thread(&io[i]);
	return rc;
}

void held_io_start(struct held_io *h, struct pf_io *io)
{
	atomic_store(&h->tid, 0);
	io->tid = &h->tid;
	h->running = true;
	sem_post(&h->go);
}

long held_io_finish(struct held_io *h, unsigned int deadline_ms)
{
	struct pollfd done = { .fd = h->done_fd, .events = POLLIN };
	uint64_t count;
	ssize_t n;

	if (poll(&done, 1, (int)deadline_ms) != 1)
		return -ETIMEDOUT;
	n = read(h->done_fd, &count, sizeof(count));
	(void)n;
	h->running = false;
	return h->result;
}

bool held_io_asleep_in(int tid, const char *prefix)
{
	char path[64], where[80];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/wchan", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, where, sizeof(where) - 1);
	close(fd);
	where[n > 0 ? n : 0] = '\0';
	return !strncmp(where, prefix, strlen(prefix));
}

int held_reader_init(struct held_reader *r, long (*run)(struct held_io *h),
		     bool (*settled)(const struct held_io *h))
{
	int rc = 0;

	pthread_mutex_init(&r->lock, NULL);
	for (unsigned int i = 0; i < HELD_SLOTS; i++) {
		r->io[i].run = run;
		r->io[i].settled = settled;
		r->io[i].arg = r;
		r->io[i].nr = i;
		r->io[i].done_fd = -1;
	}
	for (unsigned int i = 0; i < PF_HOLDS_MAX && !rc; i++)
		rc = held_io_init(&r->io[i]);
	return rc;
}

static int bring_up(struct held_reader *r, struct pf_channel *ch, struct pf_io *io)
{
	int rc = held_io_threads(r->io, PF_HOLDS_MAX);

	if (!rc)
		rc = held_source_start(&r->src, ch->deadline_ms, io->detail, sizeof(io->detail));
	if (rc)
		return rc;
	rc = r->ready ? r->ready(r, ch) : 0;
	if (rc) {
		snprintf(io->detail, sizeof(io->detail), "%s", ch->detail);
		held_source_stop(r->src);
		r->src = NULL;
	}
	return rc;
}

/* The source is brought up by the first I/O: most cases never get to one. */
static int reader_ready(struct held_reader *r, struct pf_channel *ch, struct pf_io *io)
{
	int rc;

	pthread_mutex_lock(&r->lock);
	rc = r->src ? 0 : bring_up(r, ch, io);
	pthread_mutex_unlock(&r->lock);
	return rc;
}

static struct held_io *reader_aim(struct held_reader *r, struct pf_io *io, unsigned int nr,
				  bool withhold)
{
	struct held_io *h = &r->io[nr];

	held_source_offer(r->src, nr, io->data, io->len_bytes, withhold);
	h->dst = io->file->map + io->off_bytes;
	h->data = io->data;
	h->len_bytes = io->len_bytes;
	h->pos_bytes = held_source_pos(r->src, nr);
	return h;
}

long held_reader_write(struct held_reader *r, struct pf_channel *ch, struct pf_io *io)
{
	struct held_io *h;
	long n;
	int rc = reader_ready(r, ch, io), nr;

	if (rc)
		return rc;
	nr = write_slot_take(&r->writes);
	if (nr < 0)
		return nr;
	h = reader_aim(r, io, PF_HOLDS_MAX + (unsigned int)nr, false);
	n = h->run(h);
	held_source_retire(r->src, h->nr);
	write_slot_give(&r->writes, nr);
	return n;
}

/*
 * Wait until the server was asked for all of @h: 0. Where GUP stopped half way nothing more will be
 * asked for; that is a held I/O too, a short one, and is recognised by its thread sleeping where it
 * waits for answers. -ECANCELED: the I/O is over already. -ETIMEDOUT.
 */
static int reader_await(struct held_reader *r, struct held_io *h, unsigned int deadline_ms)
{
	struct pollfd fds[2] = {
		{ .fd = h->done_fd, .events = POLLIN },
		{ .fd = held_source_asked_fd(r->src), .events = POLLIN },
	};
	uint64_t until_ns = pf_now_ns() + deadline_ms * PF_NS_PER_MS, count;
	unsigned int calm = 0;
	ssize_t n;

	while (pf_now_ns() < until_ns) {
		size_t asked = held_source_asked(r->src, h->nr);

		if (asked >= h->len_bytes)
			return 0;
		n = poll(fds, 2, SETTLE_POLL_MS);
		if (n > 0 && fds[0].revents)
			return -ECANCELED;
		if (n > 0 && fds[1].revents)
			n = read(fds[1].fd, &count, sizeof(count));
		if (!asked || n || !h->settled || !h->settled(h))
			calm = 0;
		else if (++calm == SETTLE_ROUNDS)
			return 0;
	}
	return -ETIMEDOUT;
}

/* End a hold that did not come about. Returns what to tell the caller. */
static int reader_give_up(struct held_reader *r, struct pf_channel *ch, struct pf_io *io,
			  struct held_io *h, int why)
{
	long n;

	held_source_release(r->src, h->nr);
	n = held_io_finish(h, ch->deadline_ms);
	io->out = h->running;
	/*
	 * Even if the thread is still out there (close will wait for it), the data is the caller's.
	 */
	held_source_retire(r->src, h->nr);
	r->out[h->nr] = NULL;
	if (why == -ETIMEDOUT || h->running)
		return -ETIMEDOUT;
	if (n < 0)
		return (int)n;
	snprintf(io->detail, sizeof(io->detail), "over before it was held: %ld bytes", n);
	return -EIO;
}

int held_reader_hold(struct held_reader *r, struct pf_channel *ch, struct pf_io *io)
{
	struct held_io *h;
	unsigned int nr;
	size_t asked;
	int rc = reader_ready(r, ch, io);

	if (rc)
		return rc;
	for (nr = 0; nr < PF_HOLDS_MAX && r->io[nr].running; nr++)
		;
	if (nr == PF_HOLDS_MAX)
		return -EBUSY;
	h = reader_aim(r, io, nr, true);
	held_io_start(h, io);
	r->out[nr] = io;
	io->priv = h;
	rc = reader_await(r, h, ch->deadline_ms);
	if (rc)
		return reader_give_up(r, ch, io, h, rc);
	asked = held_source_asked(r->src, nr);
	if (asked < io->len_bytes)
		snprintf(io->detail, sizeof(io->detail), "pinned %zu of %zu bytes", asked,
			 io->len_bytes);
	return 0;
}

long held_reader_land(struct held_reader *r, struct pf_channel *ch, struct pf_io *io)
{
	struct held_io *h = io->priv;
	long n;

	held_source_release(r->src, h->nr);
	n = held_io_finish(h, ch->deadline_ms);
	io->out = h->running;
	held_source_retire(r->src, h->nr);
	r->out[h->nr] = NULL;
	return n;
}

void held_reader_land_all(struct held_reader *r, struct pf_channel *ch)
{
	for (unsigned int i = 0; i < PF_HOLDS_MAX; i++)
		if (r->io[i].running && r->out[i])
			held_reader_land(r, ch, r->out[i]);
}

bool held_reader_close(struct held_reader *r, struct pf_channel *ch)
{
	bool all_back = !atomic_load(&r->writes);

	held_reader_land_all(r, ch);
	if (r->src && held_source_abort(r->src, ch->deadline_ms))
		return false;
	/* The connection is gone, and with it every reason to wait that is ours. */
	for (unsigned int i = 0; i < PF_HOLDS_MAX; i++)
		if (r->io[i].running) {
			held_io_finish(&r->io[i], ch->deadline_ms);
			all_back = all_back && !r->io[i].running;
		}
	if (!all_back)
		return false;
	for (unsigned int i = 0; i < PF_HOLDS_MAX; i++)
		held_io_exit(&r->io[i]);
	held_source_stop(r->src);
	return true;
}
