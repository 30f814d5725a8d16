// SPDX-License-Identifier: GPL-2.0
/*
 * rdma_probe.c - can this device do a variant, and do it with on-demand paging?
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rdma_int.h"

/* Register a page of anonymous memory on demand: what the capability bits promise, tried. */
static int try_odp(struct rdma *r)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct ibv_mr *mr;
	void *p;
	int rc = 0;

	p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	errno = 0;
	mr = ibv_reg_mr(r->pd, p, page,
			IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_ON_DEMAND);
	if (!mr)
		rc = pf_rdma_errno();
	else
		ibv_dereg_mr(mr);
	munmap(p, page);
	return rc;
}

/* Names of the bits in @caps, as verbs.h spells them. */
static const char *odp_caps_text(uint32_t caps, char *buf, size_t buf_bytes)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{IBV_ODP_SUPPORT_SEND, "SEND"},	  {IBV_ODP_SUPPORT_RECV, "RECV"},
		{IBV_ODP_SUPPORT_WRITE, "WRITE"}, {IBV_ODP_SUPPORT_READ, "READ"},
		{IBV_ODP_SUPPORT_ATOMIC, "ATOMIC"},
	};
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (caps & names[i].bit && used < buf_bytes)
			used += (size_t)snprintf(buf + used, buf_bytes - used, "%s%s",
						 used ? " " : "", names[i].name);
	return buf;
}

static int probe_odp(struct rdma *r, char *why, size_t why_bytes)
{
	const char *dev = ibv_get_device_name(r->ctx->device);
	struct ibv_device_attr_ex attr = {0};
	uint32_t missing;
	char text[64];
	int rc;

	rc = pf_rdma_rc(ibv_query_device_ex(r->ctx, NULL, &attr));
	if (rc) {
		snprintf(why, why_bytes, "%s: ibv_query_device_ex: %s", dev, strerror(-rc));
		return rc;
	}
	if (!(attr.odp_caps.general_caps & IBV_ODP_SUPPORT)) {
		snprintf(why, why_bytes, "%s: no ODP support (general_caps %#llx)", dev,
			 (unsigned long long)attr.odp_caps.general_caps);
		return -EOPNOTSUPP;
	}
	missing = r->variant->odp_caps & ~attr.odp_caps.per_transport_caps.rc_odp_caps;
	if (missing) {
		snprintf(why, why_bytes, "%s: no ODP %s on RC (rc_odp_caps %#x)", dev,
			 odp_caps_text(missing, text, sizeof(text)),
			 attr.odp_caps.per_transport_caps.rc_odp_caps);
		return -EOPNOTSUPP;
	}
	rc = try_odp(r);
	if (rc)
		snprintf(why, why_bytes, "%s: declares ODP, but registering anonymous memory: %s",
			 dev, strerror(-rc));
	return rc;
}

int pf_rdma_probe(const char *variant, int odp, char *why, size_t why_bytes)
{
	struct pf_channel ch = {.variant = variant, .deadline_ms = RDMA_DEADLINE_MS_DEFAULT};
	const struct rdma_variant *v = pf_rdma_variant(variant);
	unsigned int port_bytes;
	struct rdma *r;
	int rc;

	rc = pf_rdma_open(&ch);
	if (rc) {
		snprintf(why, why_bytes, "%s", ch.detail);
		return rc;
	}
	r = ch.priv;
	port_bytes = pf_rdma_mtu_bytes(r->port_attr.active_mtu);
	if (port_bytes < v->mtu_bytes_max && v->mtu_bytes_max < 4096) {
		snprintf(why, why_bytes, "%s: port MTU %u is below %u",
			 ibv_get_device_name(r->ctx->device), port_bytes, v->mtu_bytes_max);
		rc = -EOPNOTSUPP;
	}
	if (!rc && odp)
		rc = probe_odp(r, why, why_bytes);
	pf_rdma_close(&ch);
	return rc;
}
