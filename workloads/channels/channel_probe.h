/* SPDX-License-Identifier: GPL-2.0 */
/* channel_probe.h - what most channels' probes do: try it. */
#ifndef PF_CHANNEL_PROBE_H
#define PF_CHANNEL_PROBE_H

#include <stddef.h>

#include "../../harness/core/channel.h"

/*
 * Open a channel of @ops and @variant, attach it to anonymous shared memory, write once, hold and
 * land once if it can, and close it. 0, or -errno with one line in @why.
 */
int channel_probe(const struct pf_channel_ops *ops, const char *variant, char *why,
		  size_t why_bytes);

#endif
