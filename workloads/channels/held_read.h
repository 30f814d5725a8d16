/* SPDX-License-Identifier: GPL-2.0 */
/*
 * held_read.h - a read of a mapping through GUP, with its pages pinned and nothing copied yet.
 *
 * Not a channel, as nothing is written: the mapping is the source. It has a channel's shape, and
 * hold, land and close are those of held_uffd.h.
 */
#ifndef PF_HELD_READ_H
#define PF_HELD_READ_H

#include "held_uffd.h"

/* All of [@src, @src + @len_bytes) of our own mappings, through a pin. Bytes, or -errno. */
long held_read_now(void *into, const void *src, size_t len_bytes);
/* Make @ch, of which ch->deadline_ms is set. 0, or -errno with @why. held_uffd_close ends it. */
int held_read_open(struct pf_channel *ch, char *why, size_t why_bytes);

#endif
