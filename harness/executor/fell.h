/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fell.h - where a process of ours died of a signal.
 *
 * The process notes it in memory that it shares with the agent, which is of the same program with
 * the same libraries at the same addresses, and gives the place its name.
 */
#ifndef PF_FELL_H
#define PF_FELL_H

#include <stddef.h>
#include <stdint.h>

struct fell {
	int signal; /* 0: it has not */
	uintptr_t ip, addr;
};

/* From here on this process (all its threads) notes in @f, shared memory, how it dies of SIGSEGV,
 * SIGILL, SIGFPE or SIGABRT; and dies of it all the same. */
void fell_note_in(struct fell *f);
/* "SIGNAL at pinfault-exec+0x12ab, address 0x10", as far as @f has it. */
void fell_text(const struct fell *f, int signal, char *out, size_t bytes);

#endif
