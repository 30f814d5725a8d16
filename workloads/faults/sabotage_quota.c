// SPDX-License-Identifier: GPL-2.0
/*
 * sabotage-quota - have the file's owner charged for what no file has (selftest).
 *
 * Kernel path: quotactl_fd(2), Q_SETQUOTA with QIF_SPACE, which ext4 takes as it is. XFS refuses
 * to be told; there this only names the owner, and the runner, which made the device, raises the
 * count on it after the unmount and before the next mount (harness/runner/damage.py). That XFS
 * believes what is written there as long as its quota flags say that it was checked.
 * Can show: that usage which does not follow the blocks comes out as `unnoticed`.
 * EOPNOTSUPP where there is no user quota.
 * Source: quotactl(2).
 */
#include <linux/magic.h>
#include <sys/quota.h>
#include <sys/syscall.h>

#include "state.h"

#define WRONG_BYTES (1u << 20)

static int quota(int fd, int what, unsigned int id, struct dqblk *q)
{
	return syscall(SYS_quotactl_fd, fd, QCMD(what, USRQUOTA), id, q) < 0 ? -errno : 0;
}

static bool is_ext4(int fd)
{
	struct statfs sfs;

	return fstatfs(fd, &sfs) == 0 && sfs.f_type == EXT4_SUPER_MAGIC;
}

static int sabotage_quota_prepare(struct pf_fault_call *c)
{
	struct dqblk q;
	struct stat st;

	if (fstat(c->file->fd, &st) < 0)
		return -errno;
	c->before[0] = st.st_uid;
	if (quota(c->file->fd, Q_GETQUOTA, st.st_uid, &q)) {
		c->why = "this filesystem has no user quota";
		return -EOPNOTSUPP;
	}
	return 0;
}

static int sabotage_quota_run(struct pf_fault_call *c)
{
	unsigned int id = (unsigned int)c->before[0];
	struct dqblk q;
	int ret;

	if (!is_ext4(c->file->fd))
		return 0;
	ret = quota(c->file->fd, Q_GETQUOTA, id, &q);
	if (ret)
		return ret;
	q.dqb_curspace += WRONG_BYTES;
	q.dqb_valid = QIF_SPACE;
	return quota(c->file->fd, Q_SETQUOTA, id, &q);
}

/* The runner reads this line: "owner N". */
static enum pf_effect sabotage_quota_effect(struct pf_fault_call *c, char *evidence,
					    size_t evidence_bytes)
{
	state_say(evidence, evidence_bytes, "owner %" PRIu64, c->before[0]);
	return PF_EFFECT_SHOWN;
}

static const struct pf_fault_ops sabotage_quota_ops = {
	.name = "sabotage-quota",
	.summary = "have the file's owner charged for what no file has",
	.prim = PF_PRIM_NONE,
	.args = PF_ARGS_FILE,
	.flags = PF_FAULT_SELFTEST | PF_FAULT_EXCLUSIVE,
	.prepare = sabotage_quota_prepare,
	.run = sabotage_quota_run,
	.effect = sabotage_quota_effect,
};
PF_FAULT(sabotage_quota_ops);
