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
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <infiniband/verbs.h>

#include "clock.h"
#include "rdma_common.h"

#define FILES_MAX 4
#define BATCH_MAX 64u		     /* atomics posted at once */
#define RD_ATOMIC_MAX 128	     /* outstanding READs and atomics asked for */
#define DATA_BYTES_MIN (64u << 10)   /* anonymous buffer before pin() knows the file's size */
#define DEADLINE_MS_DEFAULT 10000u
#define RETRY_CNT 7
#define ATOMIC_BYTES 8u

enum side { INITIATOR, RESPONDER, SIDES_NR };
enum op { OP_WRITE, OP_READ, OP_SEND, OP_ATOMIC };

struct variant {
	const char *name;
	enum op op;
	unsigned int mtu_bytes_max;
	uint32_t odp_caps; /* what on-demand paging must support for it, on RC */
};

static const struct variant variants[] = {
	{"", OP_WRITE, 4096, IBV_ODP_SUPPORT_WRITE},
	{"read", OP_READ, 4096, IBV_ODP_SUPPORT_READ},
	{"send", OP_SEND, 4096, IBV_ODP_SUPPORT_RECV},
	{"atomic", OP_ATOMIC, 4096, IBV_ODP_SUPPORT_ATOMIC | IBV_ODP_SUPPORT_READ},
	{"mtu1024", OP_WRITE, 1024, IBV_ODP_SUPPORT_WRITE},
};

const char *const pf_rdma_variants[] = {"", "read", "send", "atomic", "mtu1024", NULL};

struct rdma {
	const struct variant *variant;
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
	} pins[FILES_MAX];

	struct ibv_send_wr wr[BATCH_MAX];
	struct ibv_sge sge[BATCH_MAX];
};

/* -errno of a verbs call that failed; some providers return NULL and leave errno alone. */
static int verbs_errno(void)
{
	return errno ? -errno : -EIO;
}

/* The same of a call that returns its error: errno, or from some providers -1 or -errno. */
static int verbs_rc(int ret)
{
	return ret > 0 ? -ret : ret;
}

static const struct variant *variant_find(const char *name)
{
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		if (!strcmp(variants[i].name, name))
			return &variants[i];
	return NULL;
}

static unsigned int mtu_bytes(enum ibv_mtu mtu)
{
	return 128u << mtu; /* IBV_MTU_256 is 1 */
}

/* The port's largest path MTU that the variant allows. */
static enum ibv_mtu path_mtu(const struct rdma *r)
{
	enum ibv_mtu mtu = r->port_attr.active_mtu;

	while (mtu > IBV_MTU_256 && mtu_bytes(mtu) > r->variant->mtu_bytes_max)
		mtu--;
	return mtu;
}

/* Take the first active port of @dev, or port @port_wanted; leaves r->ctx open on success. */
static int open_port(struct rdma *r, struct ibv_device *dev, unsigned int port_wanted)
{
	int rc = -ENODEV;

	errno = 0;
	r->ctx = ibv_open_device(dev);
	if (!r->ctx)
		return verbs_errno();
	if (ibv_query_device(r->ctx, &r->dev_attr)) {
		rc = verbs_errno();
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

static int open_device(struct rdma *r, char *why, size_t why_bytes)
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
		rc = verbs_errno();
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

static int choose_gid(struct rdma *r)
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

static int create_queues(struct rdma *r)
{
	struct ibv_qp_init_attr init = {
		.cap = {.max_send_wr = BATCH_MAX,
			.max_recv_wr = 1,
			.max_send_sge = 1,
			.max_recv_sge = 1},
		.qp_type = IBV_QPT_RC,
	};

	errno = 0;
	r->pd = ibv_alloc_pd(r->ctx);
	if (!r->pd)
		return verbs_errno();
	r->events = ibv_create_comp_channel(r->ctx);
	if (!r->events)
		return verbs_errno();
	if (fcntl(r->events->fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	/* Both sides' completions, those of a reset connection included. */
	r->cq = ibv_create_cq(r->ctx, 4 * BATCH_MAX, NULL, r->events, 0);
	if (!r->cq)
		return verbs_errno();
	init.send_cq = init.recv_cq = r->cq;
	for (int i = 0; i < SIDES_NR; i++) {
		r->qp[i] = ibv_create_qp(r->pd, &init);
		if (!r->qp[i])
			return verbs_errno();
	}
	return 0;
}

static int qp_reset(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_RESET};

	return verbs_rc(ibv_modify_qp(qp, &attr, IBV_QP_STATE));
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
	return verbs_rc(ibv_modify_qp(qp, &attr,
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
	return verbs_rc(ibv_modify_qp(qp, &attr,
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

	return verbs_rc(ibv_modify_qp(qp, &attr,
			      IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
				      IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC));
}

/*
 * (Re)connect the pair. The reset comes first even for an error: once it is done nothing of the old
 * connection can still be writing to memory.
 */
static int connect_pair(struct rdma *r, unsigned int deadline_ms)
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
		return verbs_errno();
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

static unsigned int deadline_of(const struct pf_channel *ch)
{
	return ch->deadline_ms ? ch->deadline_ms : DEADLINE_MS_DEFAULT;
}

int pf_rdma_open(struct pf_channel *ch)
{
	struct rdma *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	ch->priv = r;
	r->variant = variant_find(ch->variant);
	if (!r->variant)
		return open_failed(ch, "no such variant", -EINVAL);
	rc = open_device(r, ch->detail, sizeof(ch->detail));
	if (rc)
		return open_failed(ch, "device", rc);
	if (r->variant->op == OP_ATOMIC && r->dev_attr.atomic_cap == IBV_ATOMIC_NONE)
		return open_failed(ch, "the device has no atomics", -EOPNOTSUPP);
	rc = choose_gid(r);
	if (rc)
		return open_failed(ch, "no usable GID", rc);
	rc = create_queues(r);
	if (rc)
		return open_failed(ch, "queues", rc);
	rc = data_reserve(r, DATA_BYTES_MIN);
	if (rc)
		return open_failed(ch, "anonymous data buffer", rc);
	rc = connect_pair(r, deadline_of(ch));
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
	for (int i = 0; i < FILES_MAX; i++)
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

/* Index of @f's registration (NULL: of a free place), or -1. */
static int pin_find(const struct rdma *r, const struct pf_file *f)
{
	for (int i = 0; i < FILES_MAX; i++)
		if (f ? r->pins[i].file == f : !r->pins[i].mr)
			return i;
	return -1;
}

int pf_rdma_pin(struct pf_channel *ch, struct pf_file *f, int access_extra)
{
	struct rdma *r = ch->priv;
	int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
		     IBV_ACCESS_REMOTE_ATOMIC | access_extra;
	int i = pin_find(r, NULL), rc;
	struct ibv_mr *mr;

	ch->detail[0] = '\0';
	if (i < 0)
		return -ENOSPC;
	if (pin_find(r, f) >= 0)
		return -EBUSY;
	if (r->dev_attr.atomic_cap == IBV_ATOMIC_NONE)
		access &= ~IBV_ACCESS_REMOTE_ATOMIC;
	errno = 0;
	mr = ibv_reg_mr(r->pd, f->map, f->map_bytes, access);
	if (!mr) {
		rc = verbs_errno();
		snprintf(ch->detail, sizeof(ch->detail), "ibv_reg_mr");
		return rc;
	}
	rc = data_reserve(r, f->map_bytes < PF_IO_MAX_BYTES ? f->map_bytes : PF_IO_MAX_BYTES);
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
	int i = pin_find(r, f), rc;

	if (i < 0)
		return -ENOENT;
	rc = verbs_rc(ibv_dereg_mr(r->pins[i].mr));
	if (rc)
		return rc;
	r->pins[i].file = NULL;
	r->pins[i].map = NULL;
	r->pins[i].mr = NULL;
	return 0;
}

/* Where a transfer goes: the mapping's side of it, checked. */
struct target {
	uint8_t *addr;
	struct ibv_mr *mr;
};

static int target_of(const struct rdma *r, struct pf_io *io, struct target *t)
{
	int i = pin_find(r, io->file);

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
	return pf_now_ns() + deadline_of(ch) * PF_NS_PER_MS;
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

	return verbs_rc(ibv_post_send(r->qp[INITIATOR], r->wr, &bad));
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

	rc = verbs_rc(ibv_post_recv(r->qp[RESPONDER], &recv, &bad));
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

	for (size_t off = 0; off < io->len_bytes && !rc; off += BATCH_MAX * ATOMIC_BYTES) {
		size_t words = (io->len_bytes - off) / ATOMIC_BYTES;

		/* Where posting itself does the work (6.1's Soft-RoCE), waiting never looks. */
		if (pf_now_ns() >= end_ns) {
			snprintf(io->detail, sizeof(io->detail), "out of time at +%zu", off);
			return -ETIMEDOUT;
		}
		rc = swap_batch(r, t, io, off, words < BATCH_MAX ? (unsigned int)words : BATCH_MAX,
				end_ns);
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
	if (!rc)
		return (long)io->len_bytes;
	if (rc != -EAGAIN)
		connect_pair(ch->priv, deadline_of(ch));
	return rc;
}

/* Find @io's target and have a connection. */
static int begin(struct pf_channel *ch, struct pf_io *io, struct target *t)
{
	struct rdma *r = ch->priv;
	int rc = target_of(r, io, t);

	if (rc || r->connected)
		return rc;
	rc = connect_pair(r, deadline_of(ch));
	if (rc)
		snprintf(io->detail, sizeof(io->detail), "reconnecting the queue pairs");
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
		rc = verbs_errno();
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

	rc = verbs_rc(ibv_query_device_ex(r->ctx, NULL, &attr));
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
	struct pf_channel ch = {.variant = variant, .deadline_ms = DEADLINE_MS_DEFAULT};
	const struct variant *v = variant_find(variant);
	struct rdma *r;
	int rc;

	rc = pf_rdma_open(&ch);
	if (rc) {
		snprintf(why, why_bytes, "%s", ch.detail);
		return rc;
	}
	r = ch.priv;
	if (mtu_bytes(r->port_attr.active_mtu) < v->mtu_bytes_max && v->mtu_bytes_max < 4096) {
		snprintf(why, why_bytes, "%s: port MTU %u is below %u",
			 ibv_get_device_name(r->ctx->device), mtu_bytes(r->port_attr.active_mtu),
			 v->mtu_bytes_max);
		rc = -EOPNOTSUPP;
	}
	if (!rc && odp)
		rc = probe_odp(r, why, why_bytes);
	pf_rdma_close(&ch);
	return rc;
}
