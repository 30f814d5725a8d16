/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rng.h - random numbers that are the same wherever the seed is: one stream for each purpose, so that
 * a new kind of decision changes none of the others.
 *
 * xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018), its
 * state filled by splitmix64 as they recommend. A stream belongs to one thread.
 */
#ifndef PF_RNG_H
#define PF_RNG_H

#include <stdint.h>

struct pf_rng {
	uint64_t s[4];
};

static inline uint64_t pf_splitmix64(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* Begin the stream of @purpose (any text) number @nr under @seed. */
static inline void pf_rng_init(struct pf_rng *r, uint64_t seed, const char *purpose, uint64_t nr)
{
	uint64_t state = seed;

	for (; *purpose; purpose++) {
		state ^= (uint64_t)(unsigned char)*purpose;
		state = pf_splitmix64(&state);
	}
	state ^= nr;
	for (int i = 0; i < 4; i++)
		r->s[i] = pf_splitmix64(&state);
}

static inline uint64_t pf_rng_next(struct pf_rng *r)
{
	uint64_t *s = r->s, five = s[1] * 5, result = (five << 7 | five >> 57) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = s[3] << 45 | s[3] >> 19;
	return result;
}

/* 0..@n-1; @n > 0. The bias is n / 2^64. */
static inline uint64_t pf_rng_below(struct pf_rng *r, uint64_t n)
{
	return (uint64_t)((unsigned __int128)pf_rng_next(r) * n >> 64);
}

#endif
