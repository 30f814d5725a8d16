/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rdma_int.h - what the parts of the rdma channels have in common: rdma_common.c opens, registers
 * and closes, with rdma_device.c and rdma_pair.c; rdma_transfer.c moves the data; rdma_probe.c asks
 * what can be done. The channels themselves include rdma_common.h.
 *
 * Functions return 0 or -errno, unless they say otherwise.
 */
#ifndef PF_RDMA_INT_H
#define PF_RDMA_INT_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "rdma_common.h"

#define RDMA_FILES_MAX 4
#define RDMA_BATCH_MAX 64u /* atomics posted at once */
#define RDMA_DEADLINE_MS_DEFAULT 10000u

enum rdma_side { INITIATOR, RESPONDER, SIDES_NR };
enum rdma_op { OP_WRITE, OP_READ, OP_SEND, OP_ATOMIC };

struct rdma_variant {
	const char *name;
	enum rdma_op op;
	unsigned int mtu_bytes_max;
	uint32_t odp_caps; /* what on-demand paging must support for it, on RC */
};

struct rdma {
	const struct rdma_variant *variant;
	/* Of the queues and the anonymous side: held until a transfer has come back. A queue pair
	 * does one after the other anyway. */
	pthread_mutex_t lock;
	struct ibv_context *ctx;
	uint8_t port;
	struct ibv_port_attr port_attr;
	struct ibv_device_attr dev_attr;
	struct ibv_gid_entry gid;
	bool global; /* addresses carry a GID */
	struct ibv_pd *pd;
	struct ibv_comp_channel *events;
	struct ibv_cq *cq;
	bool armed; /* the next completion raises an event */
	struct ibv_qp *qp[SIDES_NR];
	bool connected;
	uint32_t generation; /* of the connection; completions of an older one are not ours */

	/* The anonymous side: what to write and, for atomics, what was read and what came back. */
	uint8_t *data, *old, *returned;
	size_t data_bytes;   /* room in data, and in old */
	size_t mapped_bytes; /* all of it */
	struct ibv_mr *data_mr;

	struct {
		struct pf_file *file;
		uint8_t *map;
		struct ibv_mr *mr;
	} pins[RDMA_FILES_MAX];

	struct ibv_send_wr wr[RDMA_BATCH_MAX];
	struct ibv_sge sge[RDMA_BATCH_MAX];
};


/* -errno of a verbs call that failed; some providers return NULL and leave errno alone. */
static inline int pf_rdma_errno(void)
{
	return errno ? -errno : -EIO;
}

/* The same of a call that returns its error: errno, or from some providers -1 or -errno. */
static inline int pf_rdma_rc(int ret)
{
	return ret > 0 ? -ret : ret;
}

static inline unsigned int pf_rdma_mtu_bytes(enum ibv_mtu mtu)
{
	return 128u << mtu; /* IBV_MTU_256 is 1 */
}

static inline unsigned int pf_rdma_deadline_ms(const struct pf_channel *ch)
{
	return ch->deadline_ms ? ch->deadline_ms : RDMA_DEADLINE_MS_DEFAULT;
}

/* rdma_common.c */
/* NULL: there is none of that name. */
const struct rdma_variant *pf_rdma_variant(const char *name);
/* Index of @f's registration (NULL: of a free place), or -1. */
int pf_rdma_pin_find(const struct rdma *r, const struct pf_file *f);

/* rdma_device.c */
/* Fills in r->ctx, port, port_attr and dev_attr; says in @why what was wrong. */
int pf_rdma_open_device(struct rdma *r, char *why, size_t why_bytes);
/* Fills in r->global and r->gid: the best GID of the port for reaching oneself. */
int pf_rdma_choose_gid(struct rdma *r);

/* rdma_pair.c */
/* The pair, and all it needs except a connection. What was made before an error stays in @r. */
int pf_rdma_create_queues(struct rdma *r);
/*
 * (Re)connect the pair. The reset comes first even for an error: once it is done nothing of the old
 * connection can still be writing to memory.
 */
int pf_rdma_connect(struct rdma *r, unsigned int deadline_ms);

#endif
