/* SPDX-License-Identifier: GPL-2.0 */
/*
 * file.h - a file under test: an object with a name, a descriptor and a shared writable mapping.
 */
#ifndef PF_FILE_H
#define PF_FILE_H

#include <stddef.h>
#include <stdint.h>

struct pf_file {
	char name[16];	  /* object name in the sequence, "A".."Z" or longer */
	uint32_t id;	  /* its number in cells, from 1 */
	char path[256];	  /* where it was created (a rename moves it away) */
	const char *mnt;  /* mount point of the filesystem under test */
	int dirfd;	  /* the case's directory, borrowed */
	int fd;		  /* O_RDWR, buffered; -1 before creation */
	uint8_t *map;	  /* MAP_SHARED, PROT_READ|PROT_WRITE; NULL before "pin" */
	size_t map_bytes; /* length of the mapping: the size when the file was declared */
	uint64_t commit[6]; /* the fault start-commit's, for commit-range */
};

#endif
