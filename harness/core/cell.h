/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cell.h - 64 bytes that say who wrote them and where they belong.
 *
 * A cell is the unit of all that the harness writes and checks. Its 64 bytes are a function of one
 * identity (run, case, file, offset, writing operation): a header that holds the identity, led by a
 * hash of it, and filler derived from it. A cell is valid when it is exactly what its own header
 * says it must be, so every flipped bit shows, and a cell found anywhere, at any byte offset, names
 * its writer and its home. A piece of a cell is attributed by comparing it with what each candidate
 * operation would have written there.
 */
#ifndef PF_CELL_H
#define PF_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PF_CELL_BYTES 64u

/* Who wrote a cell and where it belongs. */
struct pf_cell_id {
	uint32_t run;	   /* nonce of the whole run, from its seed */
	uint32_t case_nr;  /* number of the case within the run, > 0 */
	uint32_t file;	   /* number of the file within the case, from 1 */
	uint32_t op;	   /* number of the writing operation within the case, > 0 */
	uint64_t off_bytes; /* home of the cell in its file, a multiple of PF_CELL_BYTES */
};

enum pf_cell_kind {
	PF_CELL_ZERO,  /* 64 zero bytes: a hole, or never written */
	PF_CELL_VALID, /* exactly what its header says; id is filled in */
	PF_CELL_TORN,  /* anything else: part of a cell, several cells, or nobody's bytes */
};

/*
 * Write the cell of @id to @dst (PF_CELL_BYTES bytes, any alignment).
 */
void pf_cell_stamp(void *dst, const struct pf_cell_id *id);

/*
 * Stamp @len_bytes (a multiple of PF_CELL_BYTES) with the cells of @id, the first of them at home
 * at @id->off_bytes.
 */
void pf_cell_stamp_range(void *dst, size_t len_bytes, const struct pf_cell_id *id);

/*
 * Decode the PF_CELL_BYTES at @src. @id is written only for PF_CELL_VALID.
 */
enum pf_cell_kind pf_cell_decode(const void *src, struct pf_cell_id *id);

/*
 * Decode the longest run at the beginning of @src, which holds @nr_cells > 0 cells: zero cells, or
 * valid cells of one writer whose homes follow each other, or torn cells. Returns their number, with
 * *@kind, and the first one's identity in *@id (PF_CELL_VALID only). One pass: what the next cell must
 * be, if it goes on, is known before it is read.
 */
size_t pf_cell_run(const void *src, size_t nr_cells, enum pf_cell_kind *kind,
		   struct pf_cell_id *id);

/*
 * Look for a whole cell at any byte offset of @src[0, len_bytes). Returns the byte offset of the
 * first one and fills in @id, or -ENOENT.
 */
long pf_cell_find(const void *src, size_t len_bytes, struct pf_cell_id *id);

/* For tests: do without the vector instructions that this machine has beyond the common ones. */
void pf_cell_plain(void);

bool pf_cell_same_id(const struct pf_cell_id *a, const struct pf_cell_id *b);

#endif
