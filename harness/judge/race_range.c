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

WIDE bool race_any_contended(const pf_value *cells, uint32_t nr)
{
	uint64_t any = 0;

	for (uint32_t i = 0; i < nr; i++)
		any |= (uint64_t)(cells[i] >= RACE_MARK << 32);
	return any;
}

WIDE bool race_all_are(const pf_value *cells, uint32_t nr, pf_value v, pf_value step)
{
	uint64_t diff = 0;

	for (uint32_t i = 0; i < nr; i++)
		diff |= cells[i] ^ (v + i * step);
	return !diff;
}

WIDE void race_fill(pf_value *cells, uint32_t nr, pf_value v, pf_value step)
{
	for (uint32_t i = 0; i < nr; i++)
		cells[i] = v + i * step;
}
