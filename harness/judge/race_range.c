// SPDX-License-Identifier: GPL-2.0
/*
 * race_range.c - what is done with whole ranges of cells, as wide as the machine allows.
 *
 * Most operations meet nobody: all their judging is one of these loops. The compiler makes each
 * for several
 * instruction sets and the loader chooses (target_clones); sanitizers cannot follow that, so
 * there it is made once.
 */
#include "race_int.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
	!defined(__SANITIZE_ADDRESS__)
#define WIDE __attribute__((optimize("O3"), target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

#define BLOCK 8u /* looked at without asking in between */

WIDE uint32_t race_certain(const pf_value *cells, uint32_t nr)
{
	uint32_t i = 0;

	for (; i + 4 * BLOCK <= nr; i += 4 * BLOCK) {
		uint64_t any = 0;

		for (uint32_t k = 0; k < 4 * BLOCK; k++) /* the mark is all ones */
			any |= (uint64_t)((int64_t)cells[i + k] >> 32 == -1);
		if (any) /* or lost track of, which is certain too */
			for (uint32_t k = 0; k < 4 * BLOCK; k++)
				if (race_contended(cells[i + k]))
					return i + k;
	}
	while (i < nr && !race_contended(cells[i]))
		i++;
	return i;
}

WIDE uint32_t race_same(const pf_value *cells, uint32_t nr, pf_value v, bool steps)
{
	pf_value step = steps ? UINT64_MAX : 0;
	uint32_t i = 0;

	for (; i + BLOCK <= nr; i += BLOCK) {
		uint64_t diff = 0;

		for (uint32_t k = 0; k < BLOCK; k++)
			diff |= cells[i + k] ^ (v + ((i + k) & step));
		if (diff)
			break;
	}
	while (i < nr && cells[i] == v + (i & step))
		i++;
	return i;
}

WIDE void race_fill(pf_value *cells, uint32_t nr, pf_value v, bool steps)
{
	pf_value step = steps ? UINT64_MAX : 0;

	for (uint32_t i = 0; i < nr; i++)
		cells[i] = v + (i & step);
}
