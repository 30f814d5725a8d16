// SPDX-License-Identifier: GPL-2.0
/* racelog.c - writing the history of a race; see racelog_write.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "clock.h"
#include "racelog_write.h"

#define BUFFER_BYTES                                                                               \
	(PF_RACE_FULL_BYTES + sizeof(struct pf_race_rec) +                                         \
	 PF_RACE_LOOK_CELLS_MAX * sizeof(struct pf_race_run))

_Static_assert(BUFFER_BYTES <= PF_RACE_CHUNK_BYTES_MAX, "a buffer is handed over as one chunk");

static int write_all(int fd, const void *data, size_t bytes)
{
	for (size_t at = 0; at < bytes;) {
		ssize_t n = write(fd, (const uint8_t *)data + at, bytes - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += (size_t)n;
	}
	return 0;
}

/* One piece of the stream: @head and then @body. Takes the lock. */
static int put(struct pf_racelog *log, const void *head, size_t head_bytes, const void *body,
	       size_t body_bytes)
{
	uint64_t bytes = head_bytes + body_bytes;
	int rc;

	pthread_mutex_lock(&log->lock);
	if (log->fds[1] >= 0 && log->second_max_bytes &&
	    log->bytes + bytes > log->second_max_bytes)
		log->fds[1] = -1; /* what is there is a whole prefix; no later chunk may follow */
	for (int i = 0; i < 2 && !log->error; i++) {
		if (log->fds[i] < 0)
			continue;
		rc = write_all(log->fds[i], head, head_bytes);
		if (!rc)
			rc = write_all(log->fds[i], body, body_bytes);
		log->error = rc;
	}
	log->bytes += bytes;
	rc = log->error;
	pthread_mutex_unlock(&log->lock);
	return rc;
}

int pf_racelog_begin(struct pf_racelog *log, int fd, int second_fd, struct pf_race_header *header)
{
	log->fds[0] = fd;
	log->fds[1] = second_fd;
	log->error = 0;
	log->bytes = 0;
	pthread_mutex_init(&log->lock, NULL);
	memcpy(header->magic, PF_RACE_MAGIC, sizeof(header->magic));
	header->header_bytes = sizeof(*header);
	header->sum = XXH64(header, offsetof(struct pf_race_header, sum), 0);
	return put(log, header, sizeof(*header), NULL, 0);
}

int pf_race_open(struct pf_race_buf *b, struct pf_racelog *log, uint32_t thread)
{
	memset(b, 0, sizeof(*b));
	b->log = log;
	b->thread = thread;
	b->bytes = aligned_alloc(64, (BUFFER_BYTES + 63) / 64 * 64);
	if (!b->bytes)
		return -ENOMEM;
	/* Its pages are there before the race begins. */
	memset(b->bytes, 0, BUFFER_BYTES);
	return 0;
}

void pf_race_free(struct pf_race_buf *b)
{
	free(b->bytes);
	b->bytes = NULL;
}

static struct pf_race_rec *current(struct pf_race_buf *b)
{
	return (struct pf_race_rec *)(b->bytes + b->used);
}

static int hand_over(struct pf_race_buf *b, uint64_t next_inv_ns)
{
	struct pf_race_chunk c = {
		.magic = PF_RACE_CHUNK_MAGIC,
		.thread = b->thread,
		.bytes = b->used,
		.nr_records = b->nr_records,
		.next_inv_ns = next_inv_ns,
	};

	c.sum = XXH64(b->bytes, b->used, XXH64(&c, offsetof(struct pf_race_chunk, sum), 0));
	return put(b->log, &c, sizeof(c), b->bytes, b->used);
}

bool pf_race_begin(struct pf_race_buf *b, const struct pf_race_rec *rec)
{
	struct pf_race_rec *r = current(b);
	uint64_t idle = PF_RACE_IDLE;

	*r = *rec;
	r->ret_ns = PF_RACE_UNRETURNED;
	r->nr_runs = 0;
	b->nr_runs = 0;
	r->inv_ns = pf_now_ns();
	return atomic_compare_exchange_strong(&b->open, &idle, r->inv_ns);
}

bool pf_race_returned(struct pf_race_buf *b, int32_t result, uint32_t size_cells)
{
	uint64_t ret_ns, open = atomic_load_explicit(&b->open, memory_order_relaxed);
	struct pf_race_rec *r;

	/* What is in the CPU's store buffer nobody else sees, and others' stores come before it. */
	atomic_thread_fence(memory_order_seq_cst);
	ret_ns = pf_now_ns();
	if (open == PF_RACE_CLOSED ||
	    !atomic_compare_exchange_strong(&b->open, &open, PF_RACE_BUSY))
		return false;
	r = current(b);
	r->ret_ns = ret_ns;
	r->result = result;
	r->size_cells = size_cells;
	return true;
}

void pf_race_run(struct pf_race_buf *b, enum pf_run_kind kind, pf_value value, uint32_t count)
{
	struct pf_race_run *run = (struct pf_race_run *)(b->bytes + b->used +
							 sizeof(struct pf_race_rec)) + b->nr_runs;

	*run = (struct pf_race_run){ .value = value, .count = count, .kind = kind };
	b->nr_runs++;
}

int pf_race_commit(struct pf_race_buf *b)
{
	struct pf_race_rec *r = current(b);
	uint64_t ret_ns = r->ret_ns;
	int rc = 0;

	r->nr_runs = b->nr_runs;
	if (!b->nr_records++)
		b->oldest_ns = r->inv_ns;
	b->used += (uint32_t)(sizeof(*r) + b->nr_runs * sizeof(struct pf_race_run));
	if (b->used >= PF_RACE_FULL_BYTES || ret_ns - b->oldest_ns >= PF_RACE_OLD_NS) {
		rc = hand_over(b, ret_ns);
		b->used = b->nr_records = 0;
	}
	atomic_store(&b->open, PF_RACE_IDLE);
	return rc;
}

int pf_race_end(struct pf_race_buf *b, int32_t result)
{
	return pf_race_returned(b, result, PF_RACE_NO_SIZE) ? pf_race_commit(b) : -ECANCELED;
}

int pf_race_close(struct pf_race_buf *b)
{
	uint64_t open = atomic_load(&b->open);

	if (open == PF_RACE_CLOSED)
		return 0;
	if (open == PF_RACE_BUSY ||
	    !atomic_compare_exchange_strong(&b->open, &open, PF_RACE_CLOSED))
		return -EBUSY;
	if (open != PF_RACE_IDLE) {
		/* From here on its thread keeps its hands off; the record is as begin left it. */
		current(b)->size_cells = PF_RACE_NO_SIZE;
		b->used += sizeof(struct pf_race_rec);
		b->nr_records++;
	}
	return hand_over(b, UINT64_MAX);
}
