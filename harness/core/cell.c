// SPDX-License-Identifier: GPL-2.0
/* cell.c - stamping, decoding and finding cells; see cell.h for what they are. */
#include <errno.h>
#include <string.h>

#include "cell.h"

#define FILL_WORDS 5

struct cell {
	uint32_t tag; /* hash of the identity */
	uint32_t run;
	uint32_t case_nr;
	uint32_t file;
	uint32_t op;
	uint32_t index; /* off_bytes / PF_CELL_BYTES: files up to 256 GiB */
	uint64_t fill[FILL_WORDS];
};

_Static_assert(sizeof(struct cell) == PF_CELL_BYTES, "a cell is 64 bytes");

/* The finalizer of splitmix64: every input bit reaches every output bit. */
static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* What of the hash is the same for all cells of one write. */
static inline uint64_t writer_hash(const struct pf_cell_id *id)
{
	uint64_t h = mix(((uint64_t)id->run << 32 | id->case_nr) + 0x9e3779b97f4a7c15ull);

	return mix(h ^ ((uint64_t)id->file << 32 | id->op));
}

static inline void build(struct cell *c, const struct pf_cell_id *id, uint64_t writer,
			 uint32_t index)
{
	uint64_t h = mix(writer + index * 0x9e3779b97f4a7c15ull);

	c->tag = (uint32_t)h | 1; /* never zero, so that no cell is all zero */
	c->run = id->run;
	c->case_nr = id->case_nr;
	c->file = id->file;
	c->op = id->op;
	c->index = index;
	for (int i = 0; i < FILL_WORDS; i++) {
		h = h * 0xd1342543de82ef95ull + 0x2545f4914f6cdd1dull;
		c->fill[i] = h ^ (h >> 29);
	}
}

void pf_cell_stamp_range(void *dst, size_t len_bytes, const struct pf_cell_id *id)
{
	uint64_t writer = writer_hash(id);
	uint32_t index = (uint32_t)(id->off_bytes / PF_CELL_BYTES);
	uint8_t *p = dst;

	for (size_t at = 0; at + PF_CELL_BYTES <= len_bytes; at += PF_CELL_BYTES) {
		struct cell c;

		build(&c, id, writer, index++);
		memcpy(p + at, &c, sizeof(c));
	}
}

void pf_cell_stamp(void *dst, const struct pf_cell_id *id)
{
	pf_cell_stamp_range(dst, PF_CELL_BYTES, id);
}

static bool is_zero(const struct cell *c)
{
	static const struct cell zero;

	return memcmp(c, &zero, sizeof(zero)) == 0;
}

enum pf_cell_kind pf_cell_decode(const void *src, struct pf_cell_id *id)
{
	struct cell c, want;
	struct pf_cell_id got;

	memcpy(&c, src, sizeof(c));
	if (!c.tag)
		return is_zero(&c) ? PF_CELL_ZERO : PF_CELL_TORN;
	got = (struct pf_cell_id){
		.run = c.run,
		.case_nr = c.case_nr,
		.file = c.file,
		.op = c.op,
		.off_bytes = (uint64_t)c.index * PF_CELL_BYTES,
	};
	build(&want, &got, writer_hash(&got), c.index);
	if (memcmp(&c, &want, sizeof(c)) != 0)
		return PF_CELL_TORN;
	*id = got;
	return PF_CELL_VALID;
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
