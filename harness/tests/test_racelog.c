// SPDX-License-Identifier: GPL-2.0
/* test_racelog.c - the writer of a race's history. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../core/cell.h"
#include "../core/clock.h"
#include "../core/racelog_write.h"

static struct pf_racelog log_;
static struct pf_race_header header;

static void begin_log(int fd, int second_fd)
{
	memset(&log_, 0, sizeof(log_));
	memset(&header, 0, sizeof(header));
	header.run = 7;
	header.nr_threads = 4;
	header.nr_files = 1;
	header.files[0] = (struct pf_race_file){ .id = 1, .cells = 64, .op = 1 };
	ck_assert_int_eq(pf_racelog_begin(&log_, fd, second_fd, &header), 0);
}

/* The stream that was written to @fd, whole. The caller frees it. */
static uint8_t *whole(int fd, size_t *bytes)
{
	off_t end = lseek(fd, 0, SEEK_END);
	uint8_t *data = malloc((size_t)end + 1);

	ck_assert_ptr_nonnull(data);
	ck_assert_int_eq(pread(fd, data, (size_t)end, 0), end);
	*bytes = (size_t)end;
	return data;
}

/* The chunk at @at, its sum checked; moves @at behind it. */
static const struct pf_race_chunk *next_chunk(const uint8_t *data, size_t bytes, size_t *at)
{
	const struct pf_race_chunk *c = (const void *)(data + *at);
	uint64_t seed;

	ck_assert_uint_le(*at + sizeof(*c), bytes);
	ck_assert_uint_eq(c->magic, PF_RACE_CHUNK_MAGIC);
	ck_assert_uint_le(c->bytes, PF_RACE_CHUNK_BYTES_MAX);
	ck_assert_uint_le(*at + sizeof(*c) + c->bytes, bytes);
	seed = XXH64(c, offsetof(struct pf_race_chunk, sum), 0);
	ck_assert(XXH64(c + 1, c->bytes, seed) == c->sum);
	*at += sizeof(*c) + c->bytes;
	return c;
}

static const struct pf_race_rec a_write = {
	.op = 9, .verb = PF_RACE_WRITE, .first_cell = 3, .nr_cells = 2,
};

START_TEST(writer_writes_what_happened)
{
	int fd = memfd_create("stream", 0);
	struct pf_race_rec look = { .op = 13, .verb = PF_RACE_LOOK, .nr_cells = 4 };
	const struct pf_race_chunk *c;
	const struct pf_race_rec *r;
	const struct pf_race_run *run;
	struct pf_race_buf b;
	size_t at = sizeof(header), bytes;
	uint8_t *data;

	begin_log(fd, -1);
	ck_assert_int_eq(pf_race_open(&b, &log_, 2), 0);
	ck_assert(pf_race_begin(&b, &a_write));
	ck_assert_int_eq(pf_race_end(&b, 2), 0);
	ck_assert(pf_race_begin(&b, &look));
	ck_assert(pf_race_returned(&b, 0, 64));
	pf_race_run(&b, PF_RUN_CELLS, pf_value_make(9, 1, 3), 2);
	pf_race_run(&b, PF_RUN_ZERO, 0, 2);
	ck_assert_int_eq(pf_race_commit(&b), 0);
	ck_assert_int_eq(pf_race_close(&b), 0);
	ck_assert_int_eq(pf_race_close(&b), 0); /* twice is once */
	data = whole(fd, &bytes);
	ck_assert_mem_eq(data, PF_RACE_MAGIC, 8);
	ck_assert(XXH64(data, offsetof(struct pf_race_header, sum), 0) ==
		  ((struct pf_race_header *)data)->sum);
	c = next_chunk(data, bytes, &at);
	ck_assert_uint_eq(at, bytes);
	ck_assert_uint_eq(c->thread, 2);
	ck_assert_uint_eq(c->nr_records, 2);
	ck_assert(c->next_inv_ns == UINT64_MAX);
	r = (const void *)(c + 1);
	ck_assert_uint_eq(r[0].op, 9);
	ck_assert_int_eq(r[0].result, 2);
	ck_assert_uint_eq(r[0].nr_runs, 0);
	ck_assert_uint_eq(r[0].size_cells, PF_RACE_NO_SIZE);
	ck_assert(r[0].inv_ns <= r[0].ret_ns && r[0].ret_ns <= r[1].inv_ns);
	ck_assert_uint_eq(r[1].size_cells, 64);
	ck_assert_uint_eq(r[1].nr_runs, 2);
	run = (const void *)&r[2];
	ck_assert(run[0].value == pf_value_make(9, 1, 3) && run[0].count == 2);
	ck_assert(run[1].kind == PF_RUN_ZERO && run[1].count == 2);
	free(data);
	pf_race_free(&b);
	close(fd);
}
END_TEST

START_TEST(writer_closes_what_never_returned)
{
	int fd = memfd_create("stream", 0);
	const struct pf_race_chunk *c;
	const struct pf_race_rec *r;
	struct pf_race_buf b;
	size_t at = sizeof(header), bytes;
	uint8_t *data;

	begin_log(fd, -1);
	ck_assert_int_eq(pf_race_open(&b, &log_, 0), 0);
	ck_assert(pf_race_begin(&b, &a_write));
	ck_assert_int_eq(pf_race_close(&b), 0);
	/* Its thread comes back after all, and must leave the buffer alone. */
	ck_assert_int_eq(pf_race_end(&b, 2), -ECANCELED);
	ck_assert(!pf_race_begin(&b, &a_write));
	data = whole(fd, &bytes);
	c = next_chunk(data, bytes, &at);
	ck_assert_uint_eq(at, bytes);
	ck_assert_uint_eq(c->nr_records, 1);
	r = (const void *)(c + 1);
	ck_assert(r->ret_ns == PF_RACE_UNRETURNED && r->inv_ns && r->op == 9);
	free(data);
	pf_race_free(&b);
	close(fd);
}
END_TEST

START_TEST(writer_does_not_close_a_record_being_completed)
{
	int fd = memfd_create("stream", 0);
	struct pf_race_buf b;

	begin_log(fd, -1);
	ck_assert_int_eq(pf_race_open(&b, &log_, 0), 0);
	ck_assert(pf_race_begin(&b, &a_write));
	ck_assert(pf_race_returned(&b, 2, PF_RACE_NO_SIZE));
	ck_assert_int_eq(pf_race_close(&b), -EBUSY);
	ck_assert_int_eq(pf_race_commit(&b), 0);
	ck_assert_int_eq(pf_race_close(&b), 0);
	pf_race_free(&b);
	close(fd);
}
END_TEST

/* Full buffers go, old buffers go, and the largest look fits beside what was there. */
START_TEST(writer_hands_over)
{
	int fd = memfd_create("stream", 0);
	struct pf_race_rec look = { .op = 13, .verb = PF_RACE_LOOK,
				    .nr_cells = PF_RACE_LOOK_CELLS_MAX };
	struct pf_race_buf b;
	size_t at = sizeof(header), bytes;
	uint32_t in_a_chunk;
	uint8_t *data;

	begin_log(fd, -1);
	ck_assert_int_eq(pf_race_open(&b, &log_, 0), 0);
	/* On a slow machine it is old, and handed over, before it is full: then it fills again. */
	while (b.used + sizeof(a_write) < PF_RACE_FULL_BYTES) {
		ck_assert(pf_race_begin(&b, &a_write));
		ck_assert_int_eq(pf_race_end(&b, 2), 0);
	}
	ck_assert(pf_race_begin(&b, &look));
	ck_assert(pf_race_returned(&b, 0, 64));
	for (uint32_t i = 0; i < PF_RACE_LOOK_CELLS_MAX; i++)
		pf_race_run(&b, PF_RUN_CELLS, pf_value_make(i + 1, 1, 0), 1);
	ck_assert_int_eq(pf_race_commit(&b), 0);
	ck_assert_uint_eq(b.used, 0);
	ck_assert(pf_race_begin(&b, &a_write));
	poll(NULL, 0, (int)(PF_RACE_OLD_NS / PF_NS_PER_MS) + 1); /* a slow operation */
	ck_assert_int_eq(pf_race_end(&b, 2), 0);
	ck_assert_uint_eq(b.used, 0);
	ck_assert_int_eq(pf_race_close(&b), 0);
	data = whole(fd, &bytes);
	for (uint64_t before = 0; at < bytes;) {
		const struct pf_race_chunk *c = next_chunk(data, bytes, &at);

		in_a_chunk = c->nr_records;
		ck_assert(c->next_inv_ns >= before);
		before = c->next_inv_ns;
	}
	ck_assert_uint_eq(in_a_chunk, 0); /* the last says only that there is no more */
	free(data);
	pf_race_free(&b);
	close(fd);
}
END_TEST

START_TEST(writer_keeps_a_whole_prefix)
{
	int fd = memfd_create("stream", 0), second = memfd_create("second", 0);
	struct pf_race_buf b;
	size_t bytes, second_bytes, at = sizeof(header);
	uint8_t *data, *prefix;

	begin_log(fd, second);
	log_.second_max_bytes = 200u << 10;
	ck_assert_int_eq(pf_race_open(&b, &log_, 0), 0);
	for (int i = 0; i < 10000; i++) {
		ck_assert(pf_race_begin(&b, &a_write));
		ck_assert_int_eq(pf_race_end(&b, 2), 0);
	}
	ck_assert_int_eq(pf_race_close(&b), 0);
	data = whole(fd, &bytes);
	prefix = whole(second, &second_bytes);
	ck_assert_uint_lt(second_bytes, bytes);
	ck_assert_uint_le(second_bytes, 200u << 10);
	ck_assert_uint_gt(second_bytes, 100u << 10);
	ck_assert_mem_eq(data, prefix, second_bytes);
	while (at < second_bytes)
		next_chunk(prefix, second_bytes, &at);
	ck_assert_uint_eq(at, second_bytes);
	free(data);
	free(prefix);
	pf_race_free(&b);
	close(fd);
	close(second);
}
END_TEST

START_TEST(writer_says_that_nobody_reads)
{
	struct pf_race_buf b;
	int fds[2], rc = 0;

	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe(fds), 0);
	begin_log(fds[1], -1);
	close(fds[0]);
	ck_assert_int_eq(pf_race_open(&b, &log_, 0), 0);
	for (int i = 0; i < 10000 && !rc; i++) {
		ck_assert(pf_race_begin(&b, &a_write));
		rc = pf_race_end(&b, 2);
	}
	ck_assert_int_eq(rc, -EPIPE);
	ck_assert_int_eq(log_.error, -EPIPE);
	pf_race_free(&b);
	close(fds[1]);
}
END_TEST

static void *write_many(void *arg)
{
	struct pf_race_buf *b = arg;

	for (uint32_t i = 0; i < 20000; i++) {
		struct pf_race_rec r = a_write;

		r.op = 2 + i * 4 + b->thread;
		if (!pf_race_begin(b, &r) || pf_race_end(b, 1))
			return b;
	}
	return NULL;
}

START_TEST(writer_mixes_threads_by_chunks)
{
	int fd = memfd_create("stream", 0);
	uint32_t records[4] = { 0 }, next_op[4] = { 2, 3, 4, 5 };
	struct pf_race_buf b[4];
	pthread_t threads[4];
	size_t at = sizeof(header), bytes;
	uint8_t *data;

	begin_log(fd, -1);
	for (uint32_t i = 0; i < 4; i++) {
		ck_assert_int_eq(pf_race_open(&b[i], &log_, i), 0);
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_many, &b[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
		ck_assert_int_eq(pf_race_close(&b[i]), 0);
	}
	data = whole(fd, &bytes);
	while (at < bytes) {
		const struct pf_race_chunk *c = next_chunk(data, bytes, &at);
		const struct pf_race_rec *r = (const void *)(c + 1);

		for (uint32_t i = 0; i < c->nr_records; i++) {
			ck_assert_uint_eq(r[i].op, next_op[c->thread]);
			next_op[c->thread] += 4;
			records[c->thread]++;
		}
	}
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_eq(records[i], 20000);
		pf_race_free(&b[i]);
	}
	free(data);
	close(fd);
}
END_TEST

/* Two threads that store to the same cells, again and again at about the same time. */
#define STORED 34u
#define ROUNDS 300000u

static struct storer {
	struct pf_race_buf buf;
	struct pf_race_rec last;
	atomic_uint came; /* how often it waited for the other */
	unsigned int nr;
} storers[2];
static _Alignas(PF_CELL_BYTES) unsigned char stored[STORED * PF_CELL_BYTES];
static unsigned int in_order, against_it;

static void wait_for_each_other(struct storer *t)
{
	struct storer *other = &storers[!t->nr];
	unsigned int turn = atomic_fetch_add(&t->came, 1) + 1;

	for (unsigned int spins = 1; atomic_load(&other->came) < turn; spins++)
		if (spins % 16384 == 0)
			sched_yield();
}

/* By their times one came after the other: is it its data that is there? */
static void compare_with_times(void)
{
	const struct pf_race_rec *a = &storers[0].last, *b = &storers[1].last;
	unsigned char want = a->ret_ns < b->inv_ns ? 2 : 1;
	bool other = false;

	if (want == 1 && b->ret_ns >= a->inv_ns)
		return;
	for (size_t i = 0; i < sizeof(stored); i++)
		other |= stored[i] != want;
	in_order++;
	against_it += other;
}

static void *store_again_and_again(void *arg)
{
	struct storer *t = arg;
	struct pf_race_rec rec = { .verb = PF_RACE_STORE, .nr_cells = STORED };
	unsigned char data[sizeof(stored)];
	uint32_t chance = t->nr + 1;

	memset(data, (int)t->nr + 1, sizeof(data));
	for (rec.op = 1; rec.op <= ROUNDS; rec.op++) {
		const struct pf_race_rec *mine = (const void *)(t->buf.bytes + t->buf.used);

		wait_for_each_other(t);
		chance = chance * 1664525 + 1013904223;
		for (volatile uint32_t wait = chance >> 24; wait; wait--)
			;
		pf_race_begin(&t->buf, &rec);
		memcpy(stored, data, sizeof(data));
		pf_race_returned(&t->buf, STORED, PF_RACE_NO_SIZE);
		t->last = *mine;
		pf_race_commit(&t->buf);
		wait_for_each_other(t);
		if (!t->nr)
			compare_with_times();
	}
	return NULL;
}

START_TEST(a_store_that_returned_is_there)
{
	pthread_t thread;

	begin_log(-1, -1);
	for (unsigned int i = 0; i < 2; i++) {
		storers[i].nr = i;
		ck_assert_int_eq(pf_race_open(&storers[i].buf, &log_, i), 0);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, store_again_and_again, &storers[1]), 0);
	store_again_and_again(&storers[0]);
	pthread_join(thread, NULL);
	for (unsigned int i = 0; i < 2; i++)
		pf_race_free(&storers[i].buf);
	ck_assert_uint_gt(in_order, 0);
	ck_assert_uint_eq(against_it, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("race's history");
	TCase *t = tcase_create("race's history");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, writer_writes_what_happened);
	tcase_add_test(t, writer_closes_what_never_returned);
	tcase_add_test(t, writer_does_not_close_a_record_being_completed);
	tcase_add_test(t, writer_hands_over);
	tcase_add_test(t, writer_keeps_a_whole_prefix);
	tcase_add_test(t, writer_says_that_nobody_reads);
	tcase_add_test(t, writer_mixes_threads_by_chunks);
	tcase_add_test(t, a_store_that_returned_is_there);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
