// SPDX-License-Identifier: GPL-2.0
/*
 * Soft-RoCE, on-demand paging: a page that the device was told of by an RDMA READ is written to by
 * an atomic, or an RDMA WRITE, though nobody asked for it to be writable. Memory that was only read
 * so far is the kernel's one page of zeros, which everybody shares.
 *
 *	gcc -O2 -Wall -o reproduce reproduce.c -libverbs
 *	modprobe rdma_rxe; ip link set lo up; rdma link add rxe0 type rxe netdev lo
 *	./reproduce [write]
 *
 * exit: 0 the page of zeros is one; 1 it is not; 2 cannot run here. Not on a machine that you need:
 * where it is not, whatever expects fresh memory to be zero goes wrong from then on.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define ACCESS                                                                                     \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |               \
	 IBV_ACCESS_REMOTE_ATOMIC)

static struct ibv_context *device;
static struct ibv_port_attr port;
static struct ibv_gid_entry gid;
static struct ibv_pd *pd;
static struct ibv_cq *cq;
static struct ibv_qp *qp[2];
static char own[2 * PAGE] __attribute__((aligned(4096)));

static void quit(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

static void open_device(void)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_gid_entry e;

	if (!list || !*list || !(device = ibv_open_device(*list)) ||
	    ibv_query_port(device, 1, &port))
		quit("no RDMA device");
	for (int i = 0; i < port.gid_tbl_len; i++) /* ::ffff:127.0.0.1, if there is one */
		if (!ibv_query_gid_ex(device, 1, i, &e, 0) &&
		    (!gid.gid_type || !memcmp(e.gid.raw + 10, "\xff\xff", 2)) &&
		    e.gid_type == IBV_GID_TYPE_ROCE_V2)
			gid = e;
	pd = ibv_alloc_pd(device);
	cq = pd ? ibv_create_cq(device, 16, NULL, NULL, 0) : NULL;
	if (!cq)
		quit("completion queue");
}

/* Two queue pairs of ours: what the first sends, the second carries out. */
static void connect_pair(void)
{
	struct ibv_qp_init_attr init = {
		.send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
	};
	struct ibv_qp_attr a = {
		.port_num = 1, .path_mtu = port.active_mtu, .qp_access_flags = ACCESS,
		.max_rd_atomic = 1, .max_dest_rd_atomic = 1, .min_rnr_timer = 12,
		.timeout = 17, .retry_cnt = 7, .rnr_retry = 6,
		.ah_attr = { .port_num = 1, .is_global = 1, .grh = { .dgid = gid.gid,
			     .sgid_index = (uint8_t)gid.gid_index, .hop_limit = 64 } },
	};

	for (int i = 0; i < 2; i++)
		if (!(qp[i] = ibv_create_qp(pd, &init)))
			quit("queue pair");
	for (int i = 0; i < 2; i++) {
		a.dest_qp_num = qp[!i]->qp_num;
		a.qp_state = IBV_QPS_INIT;
		errno = ibv_modify_qp(qp[i], &a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
						 IBV_QP_ACCESS_FLAGS);
		a.qp_state = IBV_QPS_RTR;
		errno = errno ?: ibv_modify_qp(qp[i], &a, IBV_QP_STATE | IBV_QP_AV |
					       IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
					       IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
		a.qp_state = IBV_QPS_RTS;
		errno = errno ?: ibv_modify_qp(qp[i], &a, IBV_QP_STATE | IBV_QP_TIMEOUT |
					       IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
					       IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
		if (errno)
			quit("connecting the queue pairs");
	}
}

static void transfer(enum ibv_wr_opcode what, size_t len, struct ibv_mr *from, struct ibv_mr *to)
{
	struct ibv_sge at = { .addr = (uintptr_t)own, .length = (uint32_t)len, .lkey = from->lkey };
	struct ibv_send_wr *bad, wr = {
		.sg_list = &at, .num_sge = 1, .opcode = what, .send_flags = IBV_SEND_SIGNALED,
	};
	struct ibv_wc wc;
	time_t end = time(NULL) + 20;
	int n = 0;

	if (what == IBV_WR_ATOMIC_FETCH_AND_ADD) {
		wr.wr.atomic.remote_addr = (uintptr_t)to->addr;
		wr.wr.atomic.rkey = to->rkey;
		wr.wr.atomic.compare_add = 0x4444444444444444;
	} else {
		wr.wr.rdma.remote_addr = (uintptr_t)to->addr;
		wr.wr.rdma.rkey = to->rkey;
	}
	errno = ibv_post_send(qp[0], &wr, &bad);
	if (errno)
		quit("ibv_post_send");
	while (!n && time(NULL) < end)
		n = ibv_poll_cq(cq, 1, &wc);
	printf("%s: %s\n", what == IBV_WR_RDMA_READ ? "RDMA READ" :
	       what == IBV_WR_RDMA_WRITE ? "RDMA WRITE" : "atomic fetch and add",
	       n == 1 ? ibv_wc_status_str(wc.status) : "no completion");
}

int main(int argc, char **argv)
{
	int write_it = argc == 2 && !strcmp(argv[1], "write"), bad = 0;
	volatile const unsigned char *nobody;
	struct ibv_mr *from, *to;
	char *fresh = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	setvbuf(stdout, NULL, _IONBF, 0);
	open_device();
	connect_pair();
	from = ibv_reg_mr(pd, own, sizeof(own), ACCESS);
	to = from ? ibv_reg_mr(pd, fresh, PAGE, ACCESS | IBV_ACCESS_ON_DEMAND) : NULL;
	if (!to)
		quit("no memory region with on-demand paging");
	transfer(IBV_WR_RDMA_READ, PAGE, from, to);
	memset(own, 'D', sizeof(own));
	if (write_it)
		transfer(IBV_WR_RDMA_WRITE, PAGE, from, to);
	else
		transfer(IBV_WR_ATOMIC_FETCH_AND_ADD, 8, from, to);
	nobody = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < PAGE; i++)
		bad += nobody[i] != 0;
	printf("%s: %d bytes of memory that nobody has written to are not zero\n",
	       bad ? "FAIL" : "ok", bad);
	_exit(!!bad);
}
