// SPDX-License-Identifier: GPL-2.0
/* cell.c - stamping, decoding and finding cells; see cell.h for what they are. */
#include <errno.h>
#include <string.h>

#include "cell.h"

#define WORDS (PF_CELL_BYTES / 8)

/*
 * A cell is eight words: three of header, five of filler. Word i of the pattern is a Weyl sequence
 * over the cells of one writer (a start of its own, and an odd step for each further cell), folded
 * by x ^ x >> 32 so that every byte depends on the position. Header and pattern go from one cell to
 * the next by additions alone, so a whole cell is a few vector instructions; stamping and decoding
 * run at a good part of memcpy's speed, which a race needs (its looks are decoded while it runs).
 */
struct cell {
	uint32_t tag; /* hash of the identity, from pattern word 0; never zero */
	uint32_t run;
	uint32_t case_nr;
	uint32_t file;
	uint32_t op;
	uint32_t index; /* off_bytes / PF_CELL_BYTES: files up to 256 GiB */
	uint64_t fill[WORDS - 3];
};

_Static_assert(sizeof(struct cell) == PF_CELL_BYTES, "a cell is 64 bytes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are put together as they lie");

/* From one cell of a writer to the next. Odd, and with no relation among them. */
static const uint64_t pattern_step[WORDS] = {
	0x9e3779b97f4a7c15ull, 0xbf58476d1ce4e5b9ull, 0x94d049bb133111ebull, 0xd1342543de82ef95ull,
	0xc2b2ae3d27d4eb4full, 0xa0761d6478bd642full, 0xe7037ed1a0b428dbull, 0x8ebc6af09c88c6e3ull,
};
/* From a writer's hash to the words of its cell 0. */
static const uint64_t pattern_start[WORDS] = {
	0xff51afd7ed558ccdull, 0xc4ceb9fe1a85ec53ull, 0x87c37b91114253d5ull, 0x4cf5ad432745937full,
	0x52dce729da3ed7b1ull, 0x38495ab5ae12ddc3ull, 0x2545f4914f6cdd1dull, 0xda942042e4dd58b5ull,
};
/* Where the pattern shows, and how the header counts. */
static const uint64_t pattern_mask[WORDS] = { 0xffffffffull, 0, 0, ~0ull, ~0ull, ~0ull, ~0ull,
					      ~0ull };
static const uint64_t header_step[WORDS] = { 0, 0, 1ull << 32, 0, 0, 0, 0, 0 };

/* All it takes to make a cell and those that follow it. */
struct maker {
	uint64_t pattern[WORDS];
	uint64_t header[WORDS];
};

/* The finalizer of splitmix64: every input bit reaches every output bit. */
static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static void maker_init(struct maker *m, const struct pf_cell_id *id)
{
	uint64_t index = (uint32_t)(id->off_bytes / PF_CELL_BYTES);
	uint64_t h = mix(((uint64_t)id->run << 32 | id->case_nr) + 0x9e3779b97f4a7c15ull);

	h = mix(h ^ ((uint64_t)id->file << 32 | id->op));
	for (unsigned int i = 0; i < WORDS; i++)
		m->pattern[i] = h * pattern_start[i] + index * pattern_step[i];
	memset(m->header, 0, sizeof(m->header));
	m->header[0] = (uint64_t)id->run << 32 | 1; /* 1: no cell is all zero */
	m->header[1] = (uint64_t)id->file << 32 | id->case_nr;
	m->header[2] = index << 32 | id->op;
}

/* A cell in the widest registers there are; the compiler cuts it into what the machine has. */
typedef uint64_t word8 __attribute__((vector_size(PF_CELL_BYTES)));

#define WORD8(name, from)                                                                          \
	word8 name;                                                                                \
	memcpy(&(name), from, sizeof(name))
#define MAKER_CELL (((pattern ^ (pattern >> 32)) & mask) | header)

static inline __attribute__((always_inline)) void stamp(uint8_t *p, size_t nr,
							const struct maker *m)
{
	WORD8(pattern, m->pattern);
	WORD8(header, m->header);
	WORD8(mask, pattern_mask);
	WORD8(step, pattern_step);
	WORD8(count, header_step);

	for (; nr; nr--, p += PF_CELL_BYTES) {
		word8 cell = MAKER_CELL;

		memcpy(p, &cell, sizeof(cell));
		pattern += step;
		header += count;
	}
}

/* How many of the @nr cells at @p are those that @m makes. */
static inline __attribute__((always_inline)) size_t count_made(const uint8_t *p, size_t nr,
							       const struct maker *m)
{
	WORD8(pattern, m->pattern);
	WORD8(header, m->header);
	WORD8(mask, pattern_mask);
	WORD8(step, pattern_step);
	WORD8(count, header_step);
	size_t n;

	for (n = 0; n < nr; n++, p += PF_CELL_BYTES) {
		word8 cell;
		uint64_t bits = 0;

		memcpy(&cell, p, sizeof(cell));
		cell ^= MAKER_CELL;
		for (unsigned int i = 0; i < WORDS; i++)
			bits |= cell[i];
		if (bits)
			break;
		pattern += step;
		header += count;
	}
	return n;
}

static void stamp_plain(uint8_t *p, size_t nr, const struct maker *m)
{
	stamp(p, nr, m);
}

static size_t count_made_plain(const uint8_t *p, size_t nr, const struct maker *m)
{
	return count_made(p, nr, m);
}

static void (*stamp_best)(uint8_t *p, size_t nr, const struct maker *m) = stamp_plain;
static size_t (*count_made_best)(const uint8_t *p, size_t nr,
				 const struct maker *m) = count_made_plain;

void pf_cell_plain(void)
{
	stamp_best = stamp_plain;
	count_made_best = count_made_plain;
}

#ifdef __x86_64__
#define FOR_TARGET(name, features)                                                                 \
	__attribute__((target(features))) static void stamp_##name(uint8_t *p, size_t nr,          \
								   const struct maker *m)          \
	{                                                                                          \
		stamp(p, nr, m);                                                                   \
	}                                                                                          \
	__attribute__((target(features))) static size_t count_made_##name(                         \
		const uint8_t *p, size_t nr, const struct maker *m)                                \
	{                                                                                          \
		return count_made(p, nr, m);                                                       \
	}

FOR_TARGET(avx2, "avx2")
FOR_TARGET(avx512, "avx512f")

__attribute__((constructor)) static void choose(void)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f")) {
		stamp_best = stamp_avx512;
		count_made_best = count_made_avx512;
	} else if (__builtin_cpu_supports("avx2")) {
		stamp_best = stamp_avx2;
		count_made_best = count_made_avx2;
	}
}
#endif

void pf_cell_stamp_range(void *dst, size_t len_bytes, const struct pf_cell_id *id)
{
	struct maker m;

	maker_init(&m, id);
	stamp_best(dst, len_bytes / PF_CELL_BYTES, &m);
}

void pf_cell_stamp(void *dst, const struct pf_cell_id *id)
{
	pf_cell_stamp_range(dst, PF_CELL_BYTES, id);
}

static bool is_zero(const uint8_t *p)
{
	uint64_t w[WORDS], bits = 0;

	memcpy(w, p, sizeof(w));
	for (unsigned int i = 0; i < WORDS; i++)
		bits |= w[i];
	return !bits;
}

/* What the header of the cell at @p says. False: it says nothing (no cell has tag 0). */
static bool read_header(const uint8_t *p, struct pf_cell_id *id)
{
	struct cell c;

	memcpy(&c, p, sizeof(c));
	*id = (struct pf_cell_id){
		.run = c.run,
		.case_nr = c.case_nr,
		.file = c.file,
		.op = c.op,
		.off_bytes = (uint64_t)c.index * PF_CELL_BYTES,
	};
	return c.tag != 0;
}

/* The valid cells at the beginning of @p that follow each other. @id is written if there are any. */
static size_t valid_run(const uint8_t *p, size_t nr, struct pf_cell_id *id)
{
	struct pf_cell_id first;
	struct maker m;
	size_t n;

	if (!read_header(p, &first))
		return 0;
	maker_init(&m, &first);
	n = count_made_best(p, nr, &m);
	if (n)
		*id = first;
	return n;
}

size_t pf_cell_run(const void *src, size_t nr_cells, enum pf_cell_kind *kind,
		   struct pf_cell_id *id)
{
	const uint8_t *p = src;
	struct pf_cell_id next;
	size_t n = valid_run(p, nr_cells, id);

	*kind = PF_CELL_VALID;
	if (n)
		return n;
	*kind = PF_CELL_ZERO;
	while (n < nr_cells && is_zero(p + n * PF_CELL_BYTES))
		n++;
	if (n)
		return n;
	*kind = PF_CELL_TORN;
	for (n = 1; n < nr_cells; n++)
		if (pf_cell_decode(p + n * PF_CELL_BYTES, &next) != PF_CELL_TORN)
			break;
	return n;
}

enum pf_cell_kind pf_cell_decode(const void *src, struct pf_cell_id *id)
{
	if (valid_run(src, 1, id))
		return PF_CELL_VALID;
	return is_zero(src) ? PF_CELL_ZERO : PF_CELL_TORN;
}

long pf_cell_find(const void *src, size_t len_bytes, struct pf_cell_id *id)
{
	const uint8_t *p = src;

	for (size_t at = 0; at + PF_CELL_BYTES <= len_bytes; at++)
		if (pf_cell_decode(p + at, id) == PF_CELL_VALID)
			return (long)at;
	return -ENOENT;
}

bool pf_cell_same_id(const struct pf_cell_id *a, const struct pf_cell_id *b)
{
	return a->run == b->run && a->case_nr == b->case_nr && a->file == b->file &&
	       a->op == b->op && a->off_bytes == b->off_bytes;
}
