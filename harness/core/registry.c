// SPDX-License-Identifier: GPL-2.0
/*
 * registry.c - channels and faults announce themselves before main; the runner learns their names
 * from here, so a new one is one new file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "fault.h"

#define OPS_MAX 128

static const struct pf_channel_ops *channels[OPS_MAX];
static size_t nr_channels;
static const struct pf_fault_ops *faults[OPS_MAX];
static size_t nr_faults;

/* Runs before main, where nobody could handle an error: the build is broken, so say it and stop. */
static void refuse(const char *kind, const char *name, const char *why)
{
	fprintf(stderr, "pinfault: %s %s: %s\n", kind, name ? name : "(no name)", why);
	exit(2);
}

void pf_channel_register(const struct pf_channel_ops *ops)
{
	size_t i;

	if (!ops->name || !ops->summary || !ops->write)
		refuse("channel", ops->name, "needs name, summary and write");
	if (ops->hold_kind == PF_HOLD_INFLIGHT && (!ops->hold || !ops->land))
		refuse("channel", ops->name, "an in-flight hold needs hold and land");
	if (pf_channel_find(ops->name))
		refuse("channel", ops->name, "registered twice");
	if (nr_channels == OPS_MAX)
		refuse("channel", ops->name, "too many channels");
	for (i = nr_channels++; i > 0 && strcmp(channels[i - 1]->name, ops->name) > 0; i--)
		channels[i] = channels[i - 1];
	channels[i] = ops;
}

const struct pf_channel_ops *const *pf_channels(size_t *nr)
{
	*nr = nr_channels;
	return channels;
}

const struct pf_channel_ops *pf_channel_find(const char *name)
{
	for (size_t i = 0; i < nr_channels; i++)
		if (!strcmp(channels[i]->name, name))
			return channels[i];
	return NULL;
}

void pf_fault_register(const struct pf_fault_ops *ops)
{
	size_t i;

	if (!ops->name || !ops->summary || !ops->run)
		refuse("fault", ops->name, "needs name, summary and run");
	if (pf_fault_find(ops->name))
		refuse("fault", ops->name, "registered twice");
	if (nr_faults == OPS_MAX)
		refuse("fault", ops->name, "too many faults");
	for (i = nr_faults++; i > 0 && strcmp(faults[i - 1]->name, ops->name) > 0; i--)
		faults[i] = faults[i - 1];
	faults[i] = ops;
}

const struct pf_fault_ops *const *pf_faults(size_t *nr)
{
	*nr = nr_faults;
	return faults;
}

const struct pf_fault_ops *pf_fault_find(const char *name)
{
	for (size_t i = 0; i < nr_faults; i++)
		if (!strcmp(faults[i]->name, name))
			return faults[i];
	return NULL;
}
