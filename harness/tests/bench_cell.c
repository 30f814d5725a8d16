// SPDX-License-Identifier: GPL-2.0
/*
 * bench_cell.c - how fast cells are stamped and decoded, beside memcpy of the same buffer.
 *
 *	bench_cell [KIB]	one line for each: KEY VALUE, GB/s and the ratio to memcpy
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/cell.h"
#include "../core/clock.h"

#define ROUNDS 9
#define ROUND_NS 40000000ull

static uint8_t *src, *dst;
static size_t len_bytes;
static volatile uint64_t sink;

static void do_memcpy(void)
{
	memcpy(dst, src, len_bytes);
	__asm__ volatile("" ::: "memory");
}

static void do_stamp(void)
{
	struct pf_cell_id id = { 7, 3, 2, 5, 0 };

	pf_cell_stamp_range(dst, len_bytes, &id);
	__asm__ volatile("" ::: "memory");
}

static void do_decode(void)
{
	size_t nr = len_bytes / PF_CELL_BYTES;
	struct pf_cell_id id;
	enum pf_cell_kind kind;

	for (size_t at = 0; at < nr;) {
		size_t n = pf_cell_run(src + at * PF_CELL_BYTES, nr - at, &kind, &id);

		sink += n;
		at += n;
	}
}

/* Best of several rounds, in bytes a nanosecond: others share the machine. */
static double speed(void (*fn)(void))
{
	double best = 0;

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start_ns = pf_now_ns(), now_ns = start_ns, times = 0;

		while (now_ns - start_ns < ROUND_NS) {
			fn();
			times++;
			now_ns = pf_now_ns();
		}
		if ((double)(times * len_bytes) / (double)(now_ns - start_ns) > best)
			best = (double)(times * len_bytes) / (double)(now_ns - start_ns);
	}
	return best;
}

int main(int argc, char **argv)
{
	struct pf_cell_id id = { 7, 3, 2, 5, 0 };
	double copy, stamp, one, few;

	len_bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 256) << 10;
	src = aligned_alloc(4096, len_bytes);
	dst = aligned_alloc(4096, len_bytes);
	if (!src || !dst || !len_bytes)
		return 1;
	pf_cell_stamp_range(src, len_bytes, &id);
	memset(dst, 0, len_bytes);
	copy = speed(do_memcpy);
	stamp = speed(do_stamp);
	one = speed(do_decode);
	for (size_t at = 0; at < len_bytes; at += 512) {
		id.op++;
		id.off_bytes = at;
		pf_cell_stamp_range(src + at, 512, &id);
	}
	few = speed(do_decode);
	printf("buffer_kib %zu\nmemcpy_gbps %.2f\n", len_bytes >> 10, copy);
	printf("stamp_gbps %.2f\nstamp_of_memcpy %.2f\n", stamp, stamp / copy);
	printf("decode_gbps %.2f\ndecode_of_memcpy %.2f\n", one, one / copy);
	printf("decode_runs_of_8_gbps %.2f\ndecode_runs_of_8_of_memcpy %.2f\n", few, few / copy);
	return 0;
}
