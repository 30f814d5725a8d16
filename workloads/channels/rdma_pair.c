// SPDX-License-Identifier: GPL-2.0
/*
 * rdma_pair.c - the two queue pairs of a channel, connected to each other by hand.
 */
#include <errno.h>
#include <fcntl.h>

#include "clock.h"
#include "rdma_int.h"

#define RD_ATOMIC_MAX 128 /* outstanding READs and atomics asked for */
#define RETRY_CNT 7

/* The port's largest path MTU that the variant allows. */
static enum ibv_mtu path_mtu(const struct rdma *r)
{
	enum ibv_mtu mtu = r->port_attr.active_mtu;

	while (mtu > IBV_MTU_256 && pf_rdma_mtu_bytes(mtu) > r->variant->mtu_bytes_max)
		mtu--;
	return mtu;
}

int pf_rdma_create_queues(struct rdma *r)
{
	struct ibv_qp_init_attr init = {
		.cap = {.max_send_wr = RDMA_BATCH_MAX,
			.max_recv_wr = 1,
			.max_send_sge = 1,
			.max_recv_sge = 1},
		.qp_type = IBV_QPT_RC,
	};

	errno = 0;
	r->pd = ibv_alloc_pd(r->ctx);
	if (!r->pd)
		return pf_rdma_errno();
	r->events = ibv_create_comp_channel(r->ctx);
	if (!r->events)
		return pf_rdma_errno();
	if (fcntl(r->events->fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	/* Both sides' completions, those of a reset connection included. */
	r->cq = ibv_create_cq(r->ctx, 4 * RDMA_BATCH_MAX, NULL, r->events, 0);
	if (!r->cq)
		return pf_rdma_errno();
	init.send_cq = init.recv_cq = r->cq;
	for (int i = 0; i < SIDES_NR; i++) {
		r->qp[i] = ibv_create_qp(r->pd, &init);
		if (!r->qp[i])
			return pf_rdma_errno();
	}
	return 0;
}

static int qp_reset(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_RESET};

	return pf_rdma_rc(ibv_modify_qp(qp, &attr, IBV_QP_STATE));
}

static int qp_to_init(struct rdma *r, struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = r->port,
		.qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
				   IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC,
	};

	if (r->dev_attr.atomic_cap == IBV_ATOMIC_NONE)
		attr.qp_access_flags &= ~(unsigned int)IBV_ACCESS_REMOTE_ATOMIC;
	return pf_rdma_rc(ibv_modify_qp(qp, &attr,
			      IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
					      IBV_QP_ACCESS_FLAGS));
}

static uint8_t rd_atomic(int device_max)
{
	return (uint8_t)(device_max < RD_ATOMIC_MAX ? device_max : RD_ATOMIC_MAX);
}

/* Each connection starts elsewhere, so that a late packet of the last one is out of its window. */
static uint32_t first_psn(const struct rdma *r)
{
	return (r->generation << 18 | 1) & 0xffffff;
}

static int qp_to_rtr(struct rdma *r, struct ibv_qp *qp, const struct ibv_qp *peer)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = path_mtu(r),
		.dest_qp_num = peer->qp_num,
		.rq_psn = first_psn(r),
		.max_dest_rd_atomic = rd_atomic(r->dev_attr.max_qp_rd_atom),
		.min_rnr_timer = 12, /* 0.64 ms */
		.ah_attr = {.port_num = r->port, .dlid = r->port_attr.lid},
	};

	if (r->global) {
		attr.ah_attr.is_global = 1;
		attr.ah_attr.grh.dgid = r->gid.gid;
		attr.ah_attr.grh.sgid_index = (uint8_t)r->gid.gid_index;
		attr.ah_attr.grh.hop_limit = 64;
	}
	return pf_rdma_rc(ibv_modify_qp(qp, &attr,
			      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				      IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
				      IBV_QP_MIN_RNR_TIMER));
}

/*
 * The longest acknowledge timeout (4.096 us << t) whose retries still end in half of the deadline,
 * within reason: below 67 ms a busy emulator is mistaken for a lost packet. wait_done() keeps the
 * deadline in any case.
 */
static uint8_t ack_timeout(unsigned int deadline_ms)
{
	uint64_t budget_ns = (uint64_t)deadline_ms * PF_NS_PER_MS / 2;
	uint8_t t = 14;

	while (t < 17 && (4096ull << (t + 1)) * (RETRY_CNT + 1) <= budget_ns)
		t++;
	return t;
}

static int qp_to_rts(struct rdma *r, struct ibv_qp *qp, unsigned int deadline_ms)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.sq_psn = first_psn(r),
		.timeout = ack_timeout(deadline_ms),
		.retry_cnt = RETRY_CNT,
		.rnr_retry = 6, /* 7 would be for ever */
		.max_rd_atomic = rd_atomic(r->dev_attr.max_qp_init_rd_atom),
	};

	return pf_rdma_rc(ibv_modify_qp(qp, &attr,
			      IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
				      IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC));
}

int pf_rdma_connect(struct rdma *r, unsigned int deadline_ms)
{
	int rc = 0;

	r->connected = false;
	r->generation++;
	for (int i = 0; i < SIDES_NR; i++) {
		int err = qp_reset(r->qp[i]);

		rc = rc ? rc : err;
	}
	for (int i = 0; i < SIDES_NR && !rc; i++)
		rc = qp_to_init(r, r->qp[i]);
	for (int i = 0; i < SIDES_NR && !rc; i++)
		rc = qp_to_rtr(r, r->qp[i], r->qp[!i]);
	for (int i = 0; i < SIDES_NR && !rc; i++)
		rc = qp_to_rts(r, r->qp[i], deadline_ms);
	r->connected = !rc;
	return rc;
}
