// SPDX-License-Identifier: GPL-2.0
/*
 * rdma_common.c - a pair of RC queue pairs on one device, connected to each other by hand.
 *
 * qp[INITIATOR] begins every operation, qp[RESPONDER] answers it; both belong to this process, so
 * no second machine, no connection manager and no address is needed: Soft-RoCE over lo will do, and
 * so will any port that is active. One side of each transfer is an anonymous buffer registered in
 * the ordinary way, the other is the mapping under test.
 *
 * A completion of an RDMA WRITE counts as "the data is there": initiator and responder share one
 * device, without relaxed ordering, so the completion entry is written after the data.
 *
 * ibv_fork_init() is deliberately not called: it would set MADV_DONTFORK on the mapping under test.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rdma_int.h"

#define DATA_BYTES_MIN (64u << 10) /* anonymous buffer before pin() knows the file's size */

static const struct rdma_variant variants[] = {
	{"", OP_WRITE, 4096, IBV_ODP_SUPPORT_WRITE},
	{"read", OP_READ, 4096, IBV_ODP_SUPPORT_READ},
	{"send", OP_SEND, 4096, IBV_ODP_SUPPORT_RECV},
	{"atomic", OP_ATOMIC, 4096, IBV_ODP_SUPPORT_ATOMIC | IBV_ODP_SUPPORT_READ},
	{"mtu1024", OP_WRITE, 1024, IBV_ODP_SUPPORT_WRITE},
};

const char *const pf_rdma_variants[] = {"", "read", "send", "atomic", "mtu1024", NULL};

const struct rdma_variant *pf_rdma_variant(const char *name)
{
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		if (!strcmp(variants[i].name, name))
			return &variants[i];
	return NULL;
}

static void data_free(struct rdma *r)
{
	if (r->data_mr)
		ibv_dereg_mr(r->data_mr);
	if (r->data)
		munmap(r->data, r->mapped_bytes);
	r->data_mr = NULL;
	r->data = NULL;
	r->data_bytes = 0;
}

/*
 * Make room for @want_bytes on the anonymous side. It is MADV_DONTFORK: a fork among the faults is
 * to test the mapping, not what it does to this buffer.
 */
static int data_reserve(struct rdma *r, size_t want_bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (want_bytes + page - 1) & ~(page - 1);
	bool atomic = r->variant->op == OP_ATOMIC;
	void *p;

	if (bytes <= r->data_bytes)
		return 0;
	data_free(r);
	r->mapped_bytes = atomic ? 2 * bytes + page : bytes;
	p = mmap(NULL, r->mapped_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	r->data = p;
	if (madvise(p, r->mapped_bytes, MADV_DONTFORK))
		return -errno;
	errno = 0;
	r->data_mr = ibv_reg_mr(r->pd, p, r->mapped_bytes,
				IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);
	if (!r->data_mr)
		return pf_rdma_errno();
	r->data_bytes = bytes;
	r->old = atomic ? r->data + bytes : NULL;
	r->returned = atomic ? r->old + bytes : NULL;
	return 0;
}

/* Say in ch->detail where open failed, unless something better stands there. */
static int open_failed(struct pf_channel *ch, const char *where, int rc)
{
	if (!ch->detail[0])
		snprintf(ch->detail, sizeof(ch->detail), "%s: %s", where, strerror(-rc));
	pf_rdma_close(ch);
	return rc;
}

int pf_rdma_open(struct pf_channel *ch)
{
	struct rdma *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	ch->priv = r;
	pthread_mutex_init(&r->lock, NULL);
	r->variant = pf_rdma_variant(ch->variant);
	if (!r->variant)
		return open_failed(ch, "no such variant", -EINVAL);
	rc = pf_rdma_open_device(r, ch->detail, sizeof(ch->detail));
	if (rc)
		return open_failed(ch, "device", rc);
	if (r->variant->op == OP_ATOMIC && r->dev_attr.atomic_cap == IBV_ATOMIC_NONE)
		return open_failed(ch, "the device has no atomics", -EOPNOTSUPP);
	rc = pf_rdma_choose_gid(r);
	if (rc)
		return open_failed(ch, "no usable GID", rc);
	rc = pf_rdma_create_queues(r);
	if (rc)
		return open_failed(ch, "queues", rc);
	rc = data_reserve(r, DATA_BYTES_MIN);
	if (rc)
		return open_failed(ch, "anonymous data buffer", rc);
	rc = pf_rdma_connect(r, pf_rdma_deadline_ms(ch));
	if (rc)
		return open_failed(ch, "connecting the queue pairs", rc);
	return 0;
}

void pf_rdma_close(struct pf_channel *ch)
{
	struct rdma *r = ch->priv;

	if (!r)
		return;
	for (int i = 0; i < SIDES_NR; i++)
		if (r->qp[i])
			ibv_destroy_qp(r->qp[i]);
	for (int i = 0; i < RDMA_FILES_MAX; i++)
		if (r->pins[i].mr)
			ibv_dereg_mr(r->pins[i].mr);
	data_free(r);
	if (r->cq)
		ibv_destroy_cq(r->cq);
	if (r->events)
		ibv_destroy_comp_channel(r->events);
	if (r->pd)
		ibv_dealloc_pd(r->pd);
	if (r->ctx)
		ibv_close_device(r->ctx);
	free(r);
	ch->priv = NULL;
}

int pf_rdma_pin_find(const struct rdma *r, const struct pf_file *f)
{
	for (int i = 0; i < RDMA_FILES_MAX; i++)
		if (f ? r->pins[i].file == f : !r->pins[i].mr)
			return i;
	return -1;
}

int pf_rdma_pin(struct pf_channel *ch, struct pf_file *f, int access_extra)
{
	struct rdma *r = ch->priv;
	int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
		     IBV_ACCESS_REMOTE_ATOMIC | access_extra;
	int i = pf_rdma_pin_find(r, NULL), rc;
	struct ibv_mr *mr;

	ch->detail[0] = '\0';
	if (i < 0)
		return -ENOSPC;
	if (pf_rdma_pin_find(r, f) >= 0)
		return -EBUSY;
	if (r->dev_attr.atomic_cap == IBV_ATOMIC_NONE)
		access &= ~IBV_ACCESS_REMOTE_ATOMIC;
	errno = 0;
	mr = ibv_reg_mr(r->pd, f->map, f->map_bytes, access);
	if (!mr) {
		rc = pf_rdma_errno();
		snprintf(ch->detail, sizeof(ch->detail), "ibv_reg_mr");
		return rc;
	}
	pthread_mutex_lock(&r->lock);
	rc = data_reserve(r, f->map_bytes < PF_IO_MAX_BYTES ? f->map_bytes : PF_IO_MAX_BYTES);
	pthread_mutex_unlock(&r->lock);
	if (rc) {
		snprintf(ch->detail, sizeof(ch->detail), "anonymous data buffer");
		ibv_dereg_mr(mr);
		return rc;
	}
	r->pins[i].file = f;
	r->pins[i].map = f->map;
	r->pins[i].mr = mr;
	return 0;
}

int pf_rdma_unpin(struct pf_channel *ch, struct pf_file *f)
{
	struct rdma *r = ch->priv;
	int i = pf_rdma_pin_find(r, f), rc;

	if (i < 0)
		return -ENOENT;
	rc = pf_rdma_rc(ibv_dereg_mr(r->pins[i].mr));
	if (rc)
		return rc;
	r->pins[i].file = NULL;
	r->pins[i].map = NULL;
	r->pins[i].mr = NULL;
	return 0;
}
