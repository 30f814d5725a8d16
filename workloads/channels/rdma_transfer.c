// SPDX-License-Identifier: GPL-2.0
/*
 * rdma_transfer.c - one write (or read back) of a mapping, in the way of the channel's variant.
 *
 * Every transfer ends when its completion came, or at the deadline; after an error the pair is
 * connected anew, so that nothing of it can be in flight under the next one.
 */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "rdma_int.h"

#define ATOMIC_BYTES 8u

/* Where a transfer goes: the mapping's side of it, checked. */
struct target {
	uint8_t *addr;
	struct ibv_mr *mr;
};

static int target_of(const struct rdma *r, struct pf_io *io, struct target *t)
{
	int i = pf_rdma_pin_find(r, io->file);

	io->detail[0] = '\0';
	if (i < 0) {
		snprintf(io->detail, sizeof(io->detail), "not registered");
		return -EBADF;
	}
	if (io->len_bytes > r->data_bytes || io->len_bytes > PF_IO_MAX_BYTES ||
	    io->off_bytes > r->pins[i].mr->length ||
	    io->len_bytes > r->pins[i].mr->length - io->off_bytes) {
		snprintf(io->detail, sizeof(io->detail), "beyond the registration");
		return -ERANGE;
	}
	t->addr = r->pins[i].map + io->off_bytes;
	t->mr = r->pins[i].mr;
	return 0;
}

/* A completion's status as errno, and in lower case words in @detail. */
static int wc_error(enum ibv_wc_status status, char *detail, size_t detail_bytes)
{
	snprintf(detail, detail_bytes, "%s", ibv_wc_status_str(status));
	for (char *p = detail; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	switch (status) {
	case IBV_WC_REM_INV_REQ_ERR:
	case IBV_WC_REM_ACCESS_ERR:
	case IBV_WC_REM_OP_ERR:
	case IBV_WC_REM_INV_RD_REQ_ERR:
	case IBV_WC_REM_ABORT_ERR:
		return -EREMOTEIO;
	default:
		return -EIO;
	}
}

/* Sleep until the completion queue has something to say, at most until @end_ns. */
static int wait_event(struct rdma *r, uint64_t end_ns)
{
	struct pollfd pfd = {.fd = r->events->fd, .events = POLLIN};
	uint64_t now_ns = pf_now_ns();
	struct ibv_cq *cq;
	void *context;
	int n;

	if (now_ns >= end_ns)
		return -ETIMEDOUT;
	n = poll(&pfd, 1, (int)((end_ns - now_ns) / PF_NS_PER_MS) + 1);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n && !ibv_get_cq_event(r->events, &cq, &context)) {
		ibv_ack_cq_events(cq, 1);
		r->armed = false;
	}
	return 0;
}

/*
 * Wait for @nr completions of this connection. The first failed one ends it; received lengths must
 * be @recv_bytes.
 */
static int wait_done(struct rdma *r, unsigned int nr, size_t recv_bytes, uint64_t end_ns,
		     struct pf_io *io)
{
	while (nr) {
		struct ibv_wc wc;
		int n = ibv_poll_cq(r->cq, 1, &wc), rc;

		if (n < 0)
			return -EIO;
		if (n) {
			if (wc.wr_id != r->generation)
				continue;
			if (wc.status != IBV_WC_SUCCESS)
				return wc_error(wc.status, io->detail, sizeof(io->detail));
			if (wc.opcode == IBV_WC_RECV && wc.byte_len != recv_bytes) {
				snprintf(io->detail, sizeof(io->detail), "received %u of %zu bytes",
					 wc.byte_len, recv_bytes);
				return -EIO;
			}
			nr--;
			continue;
		}
		/* Arm, then look once more: what came before arming raises no event. */
		if (!r->armed) {
			if (ibv_req_notify_cq(r->cq, 0))
				return -EIO;
			r->armed = true;
			continue;
		}
		rc = wait_event(r, end_ns);
		if (rc) {
			snprintf(io->detail, sizeof(io->detail), "no completion");
			return rc;
		}
	}
	return 0;
}

static uint64_t end_of(const struct pf_channel *ch)
{
	return pf_now_ns() + pf_rdma_deadline_ms(ch) * PF_NS_PER_MS;
}

/* Fill in work request @i: @bytes at @local on our side. */
static struct ibv_send_wr *wr_prepare(struct rdma *r, unsigned int i, enum ibv_wr_opcode opcode,
				      const void *local, uint32_t lkey, size_t bytes)
{
	r->sge[i] = (struct ibv_sge){
		.addr = (uintptr_t)local, .length = (uint32_t)bytes, .lkey = lkey};
	r->wr[i] = (struct ibv_send_wr){
		.wr_id = r->generation,
		.sg_list = &r->sge[i],
		.num_sge = 1,
		.opcode = opcode,
		.send_flags = IBV_SEND_SIGNALED,
	};
	return &r->wr[i];
}

static int post(struct rdma *r)
{
	struct ibv_send_wr *bad;

	return pf_rdma_rc(ibv_post_send(r->qp[INITIATOR], r->wr, &bad));
}

/* RDMA WRITE from, or RDMA READ to, the anonymous memory at @local; the mapping is remote. */
static int transfer_remote(struct rdma *r, enum ibv_wr_opcode opcode, void *local,
			   const struct target *t, struct pf_io *io, uint64_t end_ns)
{
	struct ibv_send_wr *wr =
		wr_prepare(r, 0, opcode, local, r->data_mr->lkey, io->len_bytes);
	int rc;

	wr->wr.rdma.remote_addr = (uintptr_t)t->addr;
	wr->wr.rdma.rkey = t->mr->rkey;
	rc = post(r);
	return rc ? rc : wait_done(r, 1, 0, end_ns, io);
}

/* RDMA READ of the anonymous data; the mapping is the local side. */
static int transfer_read(struct rdma *r, const struct target *t, struct pf_io *io, uint64_t end_ns)
{
	struct ibv_send_wr *wr =
		wr_prepare(r, 0, IBV_WR_RDMA_READ, t->addr, t->mr->lkey, io->len_bytes);
	int rc;

	wr->wr.rdma.remote_addr = (uintptr_t)r->data;
	wr->wr.rdma.rkey = r->data_mr->rkey;
	rc = post(r);
	return rc ? rc : wait_done(r, 1, 0, end_ns, io);
}

/* SEND of the anonymous data into the mapping, which the responder posted as its buffer. */
static int transfer_send(struct rdma *r, const struct target *t, struct pf_io *io, uint64_t end_ns)
{
	struct ibv_sge sge = {.addr = (uintptr_t)t->addr,
			      .length = (uint32_t)io->len_bytes,
			      .lkey = t->mr->lkey};
	struct ibv_recv_wr recv = {.wr_id = r->generation, .sg_list = &sge, .num_sge = 1};
	struct ibv_recv_wr *bad;
	int rc;

	rc = pf_rdma_rc(ibv_post_recv(r->qp[RESPONDER], &recv, &bad));
	if (rc)
		return rc;
	wr_prepare(r, 0, IBV_WR_SEND, r->data, r->data_mr->lkey, io->len_bytes);
	rc = post(r);
	return rc ? rc : wait_done(r, 2, io->len_bytes, end_ns, io);
}

/* Swap @nr words from @off_bytes of the transfer; only the last one is signalled. */
static int swap_batch(struct rdma *r, const struct target *t, struct pf_io *io, size_t off_bytes,
		      unsigned int nr, uint64_t end_ns)
{
	int rc;

	for (unsigned int i = 0; i < nr; i++) {
		size_t at = off_bytes + i * ATOMIC_BYTES;
		struct ibv_send_wr *wr =
			wr_prepare(r, i, IBV_WR_ATOMIC_CMP_AND_SWP, r->returned + i * ATOMIC_BYTES,
				   r->data_mr->lkey, ATOMIC_BYTES);

		wr->send_flags = i + 1 == nr ? IBV_SEND_SIGNALED : 0;
		wr->next = i + 1 == nr ? NULL : &r->wr[i + 1];
		wr->wr.atomic.remote_addr = (uintptr_t)t->addr + at;
		wr->wr.atomic.rkey = t->mr->rkey;
		memcpy(&wr->wr.atomic.compare_add, r->old + at, ATOMIC_BYTES);
		memcpy(&wr->wr.atomic.swap, r->data + at, ATOMIC_BYTES);
	}
	rc = post(r);
	if (rc)
		return rc;
	rc = wait_done(r, 1, 0, end_ns, io);
	if (rc)
		return rc;
	for (unsigned int i = 0; i < nr; i++) {
		size_t at = off_bytes + i * ATOMIC_BYTES;

		/* A swap that did not find what the READ saw has not written. */
		if (memcmp(r->returned + i * ATOMIC_BYTES, r->old + at, ATOMIC_BYTES)) {
			snprintf(io->detail, sizeof(io->detail), "compare mismatch at +%zu", at);
			return -EAGAIN;
		}
	}
	return 0;
}

static int transfer_atomic(struct rdma *r, const struct target *t, struct pf_io *io,
			   uint64_t end_ns)
{
	int rc = transfer_remote(r, IBV_WR_RDMA_READ, r->old, t, io, end_ns);

	for (size_t off = 0; off < io->len_bytes && !rc; off += RDMA_BATCH_MAX * ATOMIC_BYTES) {
		size_t words = (io->len_bytes - off) / ATOMIC_BYTES;

		if (words > RDMA_BATCH_MAX)
			words = RDMA_BATCH_MAX;
		/* Where posting itself does the work (6.1's Soft-RoCE), waiting never looks. */
		if (pf_now_ns() >= end_ns) {
			snprintf(io->detail, sizeof(io->detail), "out of time at +%zu", off);
			return -ETIMEDOUT;
		}
		rc = swap_batch(r, t, io, off, (unsigned int)words, end_ns);
	}
	return rc;
}

static int transfer(struct rdma *r, const struct target *t, struct pf_io *io, uint64_t end_ns)
{
	switch (r->variant->op) {
	case OP_READ:
		return transfer_read(r, t, io, end_ns);
	case OP_SEND:
		return transfer_send(r, t, io, end_ns);
	case OP_ATOMIC:
		return transfer_atomic(r, t, io, end_ns);
	case OP_WRITE:
		break;
	}
	return transfer_remote(r, IBV_WR_RDMA_WRITE, r->data, t, io, end_ns);
}

/*
 * After an error both ends are in the error state, or something may still be in flight: reset and
 * connect them anew. If that fails the next write tries again.
 */
static long finish(struct pf_channel *ch, struct pf_io *io, int rc)
{
	struct rdma *r = ch->priv;

	if (rc && rc != -EAGAIN)
		pf_rdma_connect(r, pf_rdma_deadline_ms(ch));
	pthread_mutex_unlock(&r->lock);
	return rc ? rc : (long)io->len_bytes;
}

/* Find @io's target and have a connection, for this transfer alone until finish(), if that is 0. */
static int begin(struct pf_channel *ch, struct pf_io *io, struct target *t)
{
	struct rdma *r = ch->priv;
	int rc;

	pthread_mutex_lock(&r->lock);
	rc = target_of(r, io, t);
	if (!rc && !r->connected) {
		rc = pf_rdma_connect(r, pf_rdma_deadline_ms(ch));
		if (rc)
			snprintf(io->detail, sizeof(io->detail), "reconnecting the queue pairs");
	}
	if (rc)
		pthread_mutex_unlock(&r->lock);
	return rc;
}

long pf_rdma_write(struct pf_channel *ch, struct pf_io *io)
{
	struct rdma *r = ch->priv;
	struct target t;
	int rc = begin(ch, io, &t);

	if (rc)
		return rc;
	memcpy(r->data, io->data, io->len_bytes);
	return finish(ch, io, transfer(r, &t, io, end_of(ch)));
}

long pf_rdma_fetch(struct pf_channel *ch, struct pf_io *io, void *dst)
{
	struct rdma *r = ch->priv;
	struct target t;
	int rc = begin(ch, io, &t);

	if (rc)
		return rc;
	rc = transfer_remote(r, IBV_WR_RDMA_READ, r->data, &t, io, end_of(ch));
	if (!rc && dst)
		memcpy(dst, r->data, io->len_bytes);
	return finish(ch, io, rc);
}
