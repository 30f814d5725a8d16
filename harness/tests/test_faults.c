// SPDX-License-Identifier: GPL-2.0
/*
 * test_faults.c - every fault, on filesystems made for it, does what it declares.
 *
 * For each filesystem of fault_fixture.c: prepare, run and effect of each registered fault on a
 * file of known bytes, then the file's content against what the fault's prim promises. What a
 * filesystem says it has no operation for is printed and passed over; a denial, an effect that does
 * not show or wrong bytes are failures. Those that break things on purpose are test_sabotage.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_fixture.h"

static const struct pf_fault_ops *const *faults;
static size_t nr_faults;

static void rewrite_page(int fd)
{
	uint8_t page[PAGE_BYTES];

	ck_assert_int_eq(fsync(fd), 0);
	ck_assert_int_eq(pread(fd, page, sizeof(page), PAGE_BYTES), PAGE_BYTES);
	ck_assert_int_eq(pwrite(fd, page, sizeof(page), PAGE_BYTES), PAGE_BYTES);
}

/* What the fault finds: blocks on the disk, and a clone where something is to be unshared. */
static int arrange(const struct pf_fault_ops *ops)
{
	bool shared = !strcmp(ops->name, "unshare") || !strcmp(ops->name, "dedupe");
	bool dirty = ops->prim == PF_PRIM_SYNC || ops->prim == PF_PRIM_SYNCFS ||
		     !strcmp(ops->name, "sync-file-range");

	call.off_bytes = 2 * PAGE_BYTES;
	call.len_bytes = 2 * PAGE_BYTES;
	call.size_bytes = PAGE_BYTES + 64;
	/* btrfs moves what is in several extents. */
	if (!strcmp(ops->name, "defrag"))
		rewrite_page(file_a.fd);
	if (!dirty)
		ck_assert_int_eq(fsync(file_a.fd), 0);
	if (!strcmp(ops->name, "sync-file-range"))
		call.off_bytes = 0;
	if (!strcmp(ops->name, "drain") && pf_fault_find("fill")->run(&call))
		return -EIO;
	if (!strcmp(ops->name, "thaw") && ioctl(file_a.fd, FIFREEZE, 0) < 0)
		return -errno;
	if (ops->args != PF_ARGS_FILE_FILE && !shared)
		return 0;
	open_file(&file_b, "B", 2, !strcmp(ops->name, "rename"));
	call.file2 = &file_b;
	if (shared && ioctl(file_b.fd, FICLONE, file_a.fd) < 0)
		return -errno;
	/* Equal content in blocks of its own, where that can be had. */
	if (!strcmp(ops->name, "dedupe"))
		fallocate(file_b.fd, FALLOC_FL_UNSHARE_RANGE, 0, FILE_BYTES);
	return 0;
}

/* The byte that A holds at @off once @ops is over; -1: past its end. */
static int expected_byte(const struct pf_fault_ops *ops, uint64_t off)
{
	uint64_t start = call.off_bytes, end = call.off_bytes + call.len_bytes, size = FILE_BYTES;

	switch (ops->prim) {
	case PF_PRIM_ZERO:
		return off >= start && off < end ? 0 : pattern(off, 1);
	case PF_PRIM_RESIZE:
		return off < call.size_bytes ? pattern(off, 1) : -1;
	case PF_PRIM_COLLAPSE:
		size -= call.len_bytes;
		return off >= size ? -1 : pattern(off < start ? off : off + call.len_bytes, 1);
	case PF_PRIM_INSERT:
		if (off < start)
			return pattern(off, 1);
		return off < end ? 0 : pattern(off - call.len_bytes, 1);
	default:
		return pattern(off, 1);
	}
}

static void check_content(const struct pf_fault_ops *ops, int fd)
{
	static uint8_t bytes[FILE_BYTES];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);
	int want;

	ck_assert_int_ge(n, 0);
	for (uint64_t off = 0; off < sizeof(bytes); off++) {
		want = expected_byte(ops, off);
		if (want != (off < (uint64_t)n ? bytes[off] : -1))
			ck_abort_msg("%s on %s: byte %llu of %zd is not %d", ops->name, fs->fstype,
				     (unsigned long long)off, n, want);
	}
}

static const char *effect_name(enum pf_effect effect)
{
	static const char *const names[] = {"shown", "none", "unknown"};

	return names[effect];
}

/* Does this fault have to show its effect here? Only compaction goes where it likes. */
static bool must_show(const struct pf_fault_ops *ops)
{
	return strcmp(ops->name, "migrate") != 0;
}

static void end_child(void)
{
	pid_t pid = (pid_t)call.before[1];

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* After fill: nothing more is to be had, until its file is gone. */
static void check_full(void)
{
	ck_assert_int_lt(fallocate(file_a.fd, FALLOC_FL_KEEP_SIZE, FILE_BYTES, 64 << 10), 0);
	ck_assert_int_eq(errno, ENOSPC);
	ck_assert_int_eq(unlinkat(dirfd_case, ".fill", 0), 0);
}

/* Run one fault; 0, or -errno if it was refused. */
static int run_fault(const struct pf_fault_ops *ops, enum pf_effect *effect, char *evidence,
		     size_t n)
{
	int ret = arrange(ops);

	if (!ret && ops->prepare)
		ret = ops->prepare(&call);
	if (!ret)
		ret = ops->run(&call);
	*effect = PF_EFFECT_UNKNOWN;
	if (!ret && ops->effect)
		*effect = ops->effect(&call, evidence, n);
	return ret;
}

static bool is_skipped(const struct pf_fault_ops *ops)
{
	/* Those that stop the filesystem, or break things, have tests of their own. */
	return ops->prim == PF_PRIM_CRASH || (ops->flags & PF_FAULT_SELFTEST) ||
	       !strcmp(ops->name, "remount");
}

START_TEST(test_effect)
{
	const struct pf_fault_ops *ops = faults[_i];
	char evidence[160] = "";
	enum pf_effect effect;
	int ret;

	if (is_skipped(ops))
		return;
	ret = run_fault(ops, &effect, evidence, sizeof(evidence));
	if (!strcmp(ops->name, "freeze") && !ret)
		ck_assert_int_eq(ioctl(file_a.fd, FITHAW, 0), 0);
	if (!strcmp(ops->name, "fork") && !ret)
		end_child();
	if (!strcmp(ops->name, "fill") && !ret)
		check_full();
	if (ret && is_unsupported(ops, -ret)) {
		printf("%-6s %-16s skipped: %s\n", fs->fstype, ops->name, strerror(-ret));
		return;
	}
	printf("%-6s %-16s %s: %s\n", fs->fstype, ops->name,
	       ret ? strerror(-ret) : effect_name(effect), evidence);
	ck_assert_msg(!ret, "%s on %s: %s", ops->name, fs->fstype, strerror(-ret));
	if (must_show(ops))
		ck_assert_msg(effect == PF_EFFECT_SHOWN, "%s on %s: effect %s: %s", ops->name,
			      fs->fstype, effect_name(effect), evidence);
	check_content(ops, file_a.fd);
	if (ops->prim == PF_PRIM_COPY)
		check_content(ops, file_b.fd);
}
END_TEST

/* An open writer is what a read-only remount is refused for; without one it goes through. */
START_TEST(test_remount)
{
	const struct pf_fault_ops *ops = pf_fault_find("remount");
	char evidence[160] = "";

	ck_assert_ptr_nonnull(ops);
	ck_assert_int_eq(ops->prepare(&call), 0);
	ck_assert_int_eq(ops->run(&call), -EBUSY);
	close(file_a.fd);
	munmap(file_a.map, file_a.map_bytes);
	file_a.map = NULL;
	file_a.fd = open(file_a.path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(ops->prepare(&call), 0);
	ck_assert_int_eq(ops->run(&call), 0);
	ck_assert_int_eq(ops->effect(&call, evidence, sizeof(evidence)), PF_EFFECT_SHOWN);
	printf("%-6s %-16s shown without writers: %s\n", fs->fstype, "remount", evidence);
	ck_assert_int_ge(open(file_a.path, O_RDWR | O_CLOEXEC), 0);
}
END_TEST

/* Faults must say when nothing happened: each of these returns 0 and changes nothing. */
START_TEST(test_effect_none)
{
	static const char *const names[] = {"truncate", "punch", "sync-file-range"};
	const struct pf_fault_ops *ops;
	char evidence[160];
	int ret;

	ck_assert_int_eq(fsync(file_a.fd), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		call.size_bytes = FILE_BYTES;
		call.off_bytes = i == 1 ? 4 * FILE_BYTES : 0;
		call.len_bytes = PAGE_BYTES;
		memset(call.before, 0, sizeof(call.before));
		ops = pf_fault_find(names[i]);
		ck_assert_ptr_nonnull(ops);
		ret = ops->prepare(&call);
		if (ret && is_unsupported(ops, -ret))
			continue;
		ck_assert_int_eq(ret, 0);
		ck_assert_int_eq(ops->run(&call), 0);
		ck_assert_msg(ops->effect(&call, evidence, sizeof(evidence)) == PF_EFFECT_NONE,
			      "%s: %s", names[i], evidence);
	}
}
END_TEST

/* Less than a block is zeroed in memory, and still shown. */
START_TEST(test_punch_subblock)
{
	const struct pf_fault_ops *ops = pf_fault_find("punch");
	char evidence[160];

	call.off_bytes = 192;
	call.len_bytes = 128;
	ck_assert_int_eq(ops->prepare(&call), 0);
	ck_assert_int_eq(ops->run(&call), 0);
	ck_assert_msg(ops->effect(&call, evidence, sizeof(evidence)) == PF_EFFECT_SHOWN, "%s",
		      evidence);
	check_content(ops, file_a.fd);
}
END_TEST

/* Different content is a refusal of this call, not a filesystem without dedupe. */
START_TEST(test_dedupe_differs)
{
	const struct pf_fault_ops *ops = pf_fault_find("dedupe");
	int ret;

	open_file(&file_b, "B", 2, true);
	call.file2 = &file_b;
	ck_assert_int_eq(ops->prepare(&call), 0);
	ret = ops->run(&call);
	ck_assert(ret == -EBADE || is_unsupported(ops, -ret));
}
END_TEST

/* On a mount of its own: nothing works after it until the next one. */
START_TEST(test_crash)
{
	const struct pf_fault_ops *ops = pf_fault_find(_i ? "crash-logflush" : "crash");
	char evidence[160] = "";
	enum pf_effect effect;
	int ret;

	ret = run_fault(ops, &effect, evidence, sizeof(evidence));
	if (ret && is_unsupported(ops, -ret)) {
		printf("%-6s %-16s skipped: %s\n", fs->fstype, ops->name, strerror(-ret));
		return;
	}
	printf("%-6s %-16s %s: %s\n", fs->fstype, ops->name,
	       ret ? strerror(-ret) : effect_name(effect), evidence);
	ck_assert_int_eq(ret, 0);
	ck_assert_int_eq(effect, PF_EFFECT_SHOWN);
	ck_assert_int_lt(fsync(file_a.fd), 0);
}
END_TEST

/* Faults that stop a whole filesystem refuse the one that / is on. */
START_TEST(test_refuses_root)
{
	static const char *const names[] = {"freeze", "remount", "crash", "crash-logflush", "hang",
					    "sabotage-stall"};
	struct pf_file root = {.name = "root", .mnt = "/", .dirfd = -1};
	struct pf_fault_call c = {.file = &root};

	root.fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(root.fd, 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		ck_assert_int_eq(pf_fault_find(names[i])->prepare(&c), -EPERM);
	close(root.fd);
}
END_TEST

/* A long and a short file cloned onto a third at once: it ends up as one of them is, whole. */
struct cloner {
	const struct pf_fault_ops *ops;
	struct pf_fault_call call;
	atomic_int *ready; /* both spin: one that slept would come second */
	int rc;
};

static void *clone_thread(void *arg)
{
	struct cloner *c = arg;

	atomic_fetch_add(c->ready, 1);
	while (atomic_load(c->ready) < 2)
		;
	c->rc = c->ops->run(&c->call);
	return NULL;
}

static bool ends_as(const struct pf_file *to, off_t bytes, unsigned int who)
{
	struct stat st;
	uint8_t byte;

	ck_assert_int_eq(fstat(to->fd, &st), 0);
	ck_assert_int_eq(pread(to->fd, &byte, 1, 0), 1);
	return st.st_size == bytes && byte == pattern(0, who);
}

START_TEST(test_clones_take_turns)
{
	const struct pf_fault_ops *ops = pf_fault_find("clone");
	struct cloner c[2] = { { .ops = ops }, { .ops = ops } };
	struct pf_file lesser;
	pthread_t thread[2];
	atomic_int ready;

	open_file(&lesser, "C", 3, true);
	ck_assert_int_eq(ftruncate(lesser.fd, FILE_BYTES / 2), 0);
	open_file(&file_b, "B", 2, false);
	for (int i = 0; i < 300 && !c[0].rc && !c[1].rc; i++) {
		ck_assert_int_eq(ftruncate(file_b.fd, 0), 0);
		atomic_store(&ready, 0);
		for (int k = 0; k < 2; k++) {
			c[k].call = (struct pf_fault_call){ .file = k ? &lesser : &file_a,
							    .file2 = &file_b, .resizing = k };
			c[k].ready = &ready;
			ck_assert_int_eq(
				pthread_create(&thread[k], NULL, clone_thread, &c[k]), 0);
		}
		for (int k = 0; k < 2; k++)
			ck_assert_int_eq(pthread_join(thread[k], NULL), 0);
		ck_assert(c[0].rc || c[1].rc || ends_as(&file_b, FILE_BYTES, file_a.id) ||
			  ends_as(&file_b, FILE_BYTES / 2, lesser.id));
	}
	for (int k = 0; k < 2; k++)
		ck_assert(!c[k].rc || is_unsupported(ops, -c[k].rc));
	close(lesser.fd);
}
END_TEST

/* Extents and data bytes of a file whose layout is known. */
START_TEST(test_extents)
{
	struct pf_extents x;
	int ret;

	ck_assert_int_eq(fsync(file_a.fd), 0);
	ck_assert_int_eq(fallocate(file_a.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   PAGE_BYTES, 2 * PAGE_BYTES), 0);
	ck_assert_int_eq(pf_data_bytes(file_a.fd, 0, FILE_BYTES), FILE_BYTES - 2 * PAGE_BYTES);
	ck_assert_int_eq(pf_data_bytes(file_a.fd, PAGE_BYTES, 2 * PAGE_BYTES), 0);
	ck_assert_int_eq(pf_data_bytes(file_a.fd, 0, 2 * PAGE_BYTES), PAGE_BYTES);
	ret = pf_extents(file_a.fd, 0, FILE_BYTES, &x);
	if (!strcmp(fs->fstype, "tmpfs")) {
		ck_assert_int_eq(ret, -EOPNOTSUPP);
		return;
	}
	ck_assert_int_eq(ret, 0);
	ck_assert_uint_eq(x.mapped_bytes, FILE_BYTES - 2 * PAGE_BYTES);
	ck_assert_uint_eq(x.unwritten_bytes, 0);
	ck_assert_uint_ne(x.first_physical, 0);
	ck_assert_int_eq(fallocate(file_a.fd, 0, PAGE_BYTES, PAGE_BYTES), 0);
	ck_assert_int_eq(pf_extents(file_a.fd, 0, 2 * PAGE_BYTES, &x), 0);
	ck_assert_uint_eq(x.mapped_bytes, 2 * PAGE_BYTES);
	ck_assert_uint_eq(x.unwritten_bytes, PAGE_BYTES);
	ck_assert_int_eq(pf_extents(file_a.fd, 64 * FILE_BYTES, PAGE_BYTES, &x), 0);
	ck_assert_uint_eq(x.mapped_bytes, 0);
}
END_TEST

static Suite *fault_suite(void)
{
	Suite *s = suite_create(fs->fstype);
	TCase *tc = tcase_create("faults");

	tcase_add_unchecked_fixture(tc, setup_mount, unmount_fs);
	tcase_add_checked_fixture(tc, setup_case, teardown_case);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_effect, 0, (int)nr_faults);
	tcase_add_test(tc, test_extents);
	tcase_add_test(tc, test_clones_take_turns);
	tcase_add_test(tc, test_effect_none);
	tcase_add_test(tc, test_punch_subblock);
	tcase_add_test(tc, test_dedupe_differs);
	tcase_add_test(tc, test_refuses_root);
	tcase_add_test(tc, test_remount);
	suite_add_tcase(s, tc);
	tc = tcase_create("crash");
	tcase_add_checked_fixture(tc, setup_mounted, teardown_mounted);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_crash, 0, 2);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	faults = pf_faults(&nr_faults);
	return fault_fixture_main("test_faults", fault_suite);
}
