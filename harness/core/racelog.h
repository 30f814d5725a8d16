/* SPDX-License-Identifier: GPL-2.0 */
/*
 * racelog.h - the history of a race: millions of operations of several threads, in one clock.
 *
 * A stream of bytes: one header, then chunks. A chunk is a batch of records of one thread, in the
 * order of their invocation; chunks of different threads follow each other in any order. A record
 * is written when its operation has returned, so a thread needs no lock but for handing over a
 * chunk. Each chunk promises how far its thread has come (next_inv_ns), and the reader merges the
 * threads by time up to the smallest promise: what it must keep is what lies between.
 *
 * All numbers are little endian, as the machine has them. Header and chunks carry an XXH64 (seed 0)
 * of what they hold, so that a flipped bit, a cut end or another file is refused by its offset.
 *
 * A value is 64 bits: who wrote the cell, and where it belongs. Cells move (collapse, insert,
 * clone) and keep their value.
 */
#ifndef PF_RACELOG_H
#define PF_RACELOG_H

#include <stddef.h>
#include <stdint.h>

#define PF_RACE_MAGIC "pfrace01"
#define PF_RACE_FILES_MAX 8u
#define PF_RACE_THREADS_MAX 16u
#ifndef PF_RACE_CELLS_MAX /* the fuzzers make it small */
#define PF_RACE_CELLS_MAX (1u << 24) /* a file: 1 GiB */
#endif
#define PF_RACE_CHUNK_MAGIC 0x4b434650u /* "PFCK" */
#define PF_RACE_CHUNK_BYTES_MAX (1u << 20)

/* op 32 bits, 0: zero | file id 8 bits | home cell 24 bits. */
typedef uint64_t pf_value;
#define PF_VALUE_ZERO ((pf_value)0)

static inline pf_value pf_value_make(uint32_t op, uint32_t file_id, uint32_t cell)
{
	return op ? (uint64_t)op << 32 | (uint64_t)(file_id & 0xff) << 24 | (cell & 0xffffffu) : 0;
}

static inline uint32_t pf_value_op(pf_value v)
{
	return (uint32_t)(v >> 32);
}

static inline uint32_t pf_value_file(pf_value v)
{
	return (uint32_t)(v >> 24) & 0xff;
}

static inline uint32_t pf_value_cell(pf_value v)
{
	return (uint32_t)v & 0xffffffu;
}

struct pf_race_file {
	uint32_t id;	/* in cells, 1..255 */
	uint32_t cells; /* size at the start */
	uint32_t op;	/* who wrote the initial content, 0: a hole. Not in any record */
	uint32_t flags; /* PF_RACE_FILE_* */
};

#define PF_RACE_FILE_DAX 1u /* the mapping has the storage itself (statx STATX_ATTR_DAX) */

struct pf_race_header {
	char magic[8];
	uint32_t header_bytes; /* sizeof(struct pf_race_header) */
	uint32_t run, case_nr;
	uint32_t nr_threads, nr_files;
	uint32_t class; /* enum pf_class of the channel */
	char channel[48];
	uint64_t seed;
	struct pf_race_file files[PF_RACE_FILES_MAX];
	uint64_t sum; /* XXH64 of all before it */
};

struct pf_race_chunk {
	uint32_t magic;
	uint32_t thread;      /* 0..nr_threads-1 */
	uint32_t bytes;	      /* of records that follow, a multiple of 8 */
	uint32_t nr_records;  /* may be 0: only a promise */
	uint64_t next_inv_ns; /* every later record of this thread begins then or later; UINT64_MAX:
			       * there is none */
	uint64_t sum;	      /* XXH64 of the records, seeded with the XXH64 of the chunk's fields
			       * before this one */
};

enum pf_race_verb {
	PF_RACE_WRITE, /* through the channel */
	PF_RACE_STORE,
	PF_RACE_PWRITE,
	PF_RACE_LOOK,
	PF_RACE_FAULT,
	PF_RACE_VERBS_NR,
};

enum pf_run_kind {
	PF_RUN_ZERO,	/* zero cells */
	PF_RUN_CELLS,	/* value, then the same with the next home cell, and so on */
	PF_RUN_FOREIGN, /* valid cells of another run or case; value is theirs */
	PF_RUN_TORN,	/* neither zero nor a cell; value: a hash of the bytes */
	PF_RUN_ERROR,	/* could not be read; value: the errno (EFAULT for SIGBUS) */
	PF_RUN_KINDS_NR,
};

/* What a look saw: records are followed by nr_runs of these, in order, which cover its cells from
 * first_cell on; fewer cells than asked for where the file ended. */
struct pf_race_run {
	pf_value value;
	uint32_t count;
	uint32_t kind;
};

#define PF_RACE_UNRETURNED UINT64_MAX
#define PF_RACE_NO_SIZE UINT32_MAX

struct pf_race_rec {
	uint64_t inv_ns; /* CLOCK_MONOTONIC */
	uint64_t ret_ns; /* PF_RACE_UNRETURNED: it was under way when the race ended */
	uint32_t op;	 /* unique in the race, > 0; the op in the cells that it wrote */
	uint8_t verb;	 /* enum pf_race_verb */
	uint8_t what;	 /* looks: enum pf_view. Faults: enum pf_prim */
	uint8_t file;	 /* index into the header's files */
	uint8_t file2;	 /* of a copy: the target. Else equal to file */
	uint32_t first_cell; /* of the range; of a resize: the new size in cells; else 0 */
	uint32_t nr_cells;   /* of the range; 0 where there is none */
	int32_t result;	     /* cells done (writes), 0 (others), or -errno */
	uint32_t size_cells; /* looks: the file's size as fstat said just before, else NO_SIZE */
	uint32_t nr_runs;
	uint32_t fault; /* faults: index into the sorted registry, for evidence; else 0 */
};

_Static_assert(sizeof(struct pf_race_rec) == 48, "a record is 48 bytes");
_Static_assert(sizeof(struct pf_race_run) == 16, "a run is 16 bytes");
_Static_assert(sizeof(struct pf_race_chunk) == 32, "a chunk's head is 32 bytes");

#endif
