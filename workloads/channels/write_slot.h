/* SPDX-License-Identifier: GPL-2.0 */
/*
 * write_slot.h - what a plain write has for itself until it has come back, by number: where its
 * data lies, its ring. One that never sleeps gets number 0 each time, with its memory still warm.
 */
#ifndef PF_WRITE_SLOT_H
#define PF_WRITE_SLOT_H

#include <errno.h>
#include <stdatomic.h>

#include "../../harness/core/channel.h"

/* The lowest number below PF_WRITES_MAX that is not in @taken, which it then is; or -EBUSY. */
static inline int write_slot_take(atomic_uint *taken)
{
	for (unsigned int nr = 0; nr < PF_WRITES_MAX; nr++)
		if (!(atomic_fetch_or(taken, 1u << nr) & 1u << nr))
			return (int)nr;
	return -EBUSY;
}

static inline void write_slot_give(atomic_uint *taken, int nr)
{
	atomic_fetch_and(taken, ~(1u << nr));
}

#endif
