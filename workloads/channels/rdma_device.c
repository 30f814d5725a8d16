// SPDX-License-Identifier: GPL-2.0
/*
 * rdma_device.c - which device, port and address the rdma channels use.
 *
 * The first active port of any device, or what PINFAULT_RDMA_DEV names; and of a port with a GID
 * table the GID by which it reaches itself.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rdma_int.h"

/* Take the first active port of @dev, or port @port_wanted; leaves r->ctx open on success. */
static int open_port(struct rdma *r, struct ibv_device *dev, unsigned int port_wanted)
{
	int rc = -ENODEV;

	errno = 0;
	r->ctx = ibv_open_device(dev);
	if (!r->ctx)
		return pf_rdma_errno();
	if (ibv_query_device(r->ctx, &r->dev_attr)) {
		rc = pf_rdma_errno();
		goto out;
	}
	for (unsigned int port = 1; port <= r->dev_attr.phys_port_cnt; port++) {
		if (port_wanted && port != port_wanted)
			continue;
		if (ibv_query_port(r->ctx, (uint8_t)port, &r->port_attr))
			continue;
		if (r->port_attr.state != IBV_PORT_ACTIVE)
			continue;
		r->port = (uint8_t)port;
		return 0;
	}
out:
	ibv_close_device(r->ctx);
	r->ctx = NULL;
	return rc;
}

/* PINFAULT_RDMA_DEV is a device's name, or NAME:PORT. */
static bool device_wanted(const char *want, const char *name, unsigned int *port)
{
	size_t len = strcspn(want, ":");

	*port = 0;
	if (!want[0])
		return true;
	if (strlen(name) != len || strncmp(want, name, len) != 0)
		return false;
	if (want[len] == ':')
		*port = (unsigned int)strtoul(want + len + 1, NULL, 10);
	return true;
}

/* Open the wanted one of @list; says in @why what was wrong with those tried. */
static int open_listed(struct rdma *r, struct ibv_device **list, int nr, char *why,
		       size_t why_bytes)
{
	const char *want = getenv("PINFAULT_RDMA_DEV");
	int matched = 0, rc = -ENODEV;

	want = want ? want : "";
	for (int i = 0; i < nr && !r->ctx; i++) {
		unsigned int port;

		if (!device_wanted(want, ibv_get_device_name(list[i]), &port))
			continue;
		matched++;
		rc = open_port(r, list[i], port);
		if (rc)
			snprintf(why, why_bytes, "%s: %s", ibv_get_device_name(list[i]),
				 rc == -ENODEV ? "no active port" : strerror(-rc));
		else
			why[0] = '\0';
	}
	if (!nr)
		snprintf(why, why_bytes, "no RDMA device");
	else if (!matched)
		snprintf(why, why_bytes, "no RDMA device %.40s", want);
	return rc;
}

/*
 * Looking for devices takes a third of open, so the list that the first open (the probe) made is
 * kept, forked children included, and made anew only when nothing on it can be opened.
 */
static struct ibv_device **kept;
static int nr_kept;

void pf_rdma_preload(void)
{
	if (!kept)
		kept = ibv_get_device_list(&nr_kept);
}

int pf_rdma_open_device(struct rdma *r, char *why, size_t why_bytes)
{
	int rc;

	if (kept) {
		if (!open_listed(r, kept, nr_kept, why, why_bytes))
			return 0;
		ibv_free_device_list(kept);
	}
	errno = 0;
	kept = ibv_get_device_list(&nr_kept);
	if (!kept) {
		rc = pf_rdma_errno();
		snprintf(why, why_bytes, "no RDMA: ibv_get_device_list: %s", strerror(-rc));
		return rc;
	}
	return open_listed(r, kept, nr_kept, why, why_bytes);
}

/* How good a GID is for reaching oneself: RoCE v2 over IPv4 needs nothing but an address. */
static int gid_rank(const struct ibv_gid_entry *e)
{
	static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (e->gid_type != IBV_GID_TYPE_ROCE_V2)
		return 1;
	return memcmp(e->gid.raw, v4_mapped, sizeof(v4_mapped)) ? 2 : 3;
}

int pf_rdma_choose_gid(struct rdma *r)
{
	struct ibv_gid_entry *table;
	int best = 0;
	size_t max;
	ssize_t nr;

	r->global = r->port_attr.link_layer == IBV_LINK_LAYER_ETHERNET ||
		    (r->port_attr.flags & IBV_QPF_GRH_REQUIRED);
	if (!r->global)
		return 0;
	/* Asked for as a whole: one by one, the mostly empty table took a third of open's time. */
	max = (size_t)r->port_attr.gid_tbl_len * r->dev_attr.phys_port_cnt;
	table = calloc(max, sizeof(*table));
	if (!table)
		return -ENOMEM;
	nr = ibv_query_gid_table(r->ctx, table, max, 0);
	for (ssize_t i = 0; i < nr; i++) {
		if (table[i].port_num != r->port || gid_rank(&table[i]) <= best)
			continue;
		best = gid_rank(&table[i]);
		r->gid = table[i];
	}
	free(table);
	if (nr < 0)
		return (int)nr;
	return best ? 0 : -EADDRNOTAVAIL;
}
