// SPDX-License-Identifier: GPL-2.0
/*
 * test_faults.c - every fault, on filesystems made for it, does what it declares.
 *
 * For XFS, ext4, btrfs (loop mounts of images made here) and tmpfs: prepare, run and effect of each
 * registered fault on a file of known bytes, then the file's content against what the fault's prim
 * promises. What a filesystem says it has no operation for is printed and passed over; a denial, an
 * effect that does not show or wrong bytes are failures. The mounts live in a mount namespace of
 * their own, so that a killed test leaves none behind. Without root: one line says so, and no more.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../workloads/faults/behind.h"
#include "cell.h"
#include "fault.h"

#define FILE_BYTES (64u << 10)
#define PAGE_BYTES 4096u
#define IMAGE_BYTES (400ll << 20) /* the smallest XFS mkfs.xfs makes is 300 MiB */
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

extern char **environ;

struct test_fs {
	const char *fstype;
	const char *mkfs[6]; /* the image follows; NULL: needs none */
	const char *options;
};

static const struct test_fs filesystems[] = {
	{"xfs", {"mkfs.xfs", "-q", "-f", "-m", "reflink=1"}, "loop"},
	{"ext4", {"mkfs.ext4", "-q", "-F"}, "loop"},
	{"btrfs", {"mkfs.btrfs", "-q", "-f"}, "loop"},
	{"tmpfs", {NULL}, "size=64m"},
};

static char base[64] = "/tmp/pinfault-faults-XXXXXX";
static char mnt[128];
static const struct test_fs *fs;
static const struct pf_fault_ops *const *faults;
static size_t nr_faults;

/* The case's two files and the call about them. */
static struct pf_file file_a, file_b;
static struct pf_fault_call call;
static int dirfd_case;

/* Run @argv; its exit status, or -errno. */
static int run_command(const char *const *argv)
{
	posix_spawn_file_actions_t quiet;
	int status, ret;
	pid_t pid;

	/* mkfs.btrfs -q still has news to tell, on standard output. */
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	ret = posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (ret)
		return -ret;
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

static int make_image(const char *path)
{
	const char *argv[8] = {NULL};
	size_t n = 0;
	int fd, ret;

	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	ret = ftruncate(fd, IMAGE_BYTES) < 0 ? -errno : 0;
	close(fd);
	while (fs->mkfs[n]) {
		argv[n] = fs->mkfs[n];
		n++;
	}
	argv[n] = path;
	return ret ? ret : run_command(argv);
}

static int mount_fs(void)
{
	char image[128];
	const char *argv[] = {"mount", "-t", fs->fstype, "-o", fs->options, image, mnt, NULL};
	int ret = 0;

	snprintf(image, sizeof(image), "%s/%s.img", base, fs->fstype);
	if (fs->mkfs[0])
		ret = make_image(image);
	return ret ? ret : run_command(argv);
}

static void setup_mount(void)
{
	ck_assert_int_eq(mount_fs(), 0);
}

static void unmount_fs(void)
{
	char image[128];

	/* A busy mount would be a fault's leftover; the namespace takes it down in the end. */
	if (umount2(mnt, 0) < 0) {
		fprintf(stderr, "umount %s: %s\n", fs->fstype, strerror(errno));
		umount2(mnt, MNT_DETACH);
	}
	snprintf(image, sizeof(image), "%s/%s.img", base, fs->fstype);
	unlink(image);
}

/* Position-dependent bytes, none of them zero. */
static uint8_t pattern(uint64_t off_bytes, unsigned int who)
{
	return (uint8_t)(1 + (off_bytes * 131 + (off_bytes >> 8) * 31 + who * 77) % 255);
}

static void open_file(struct pf_file *f, const char *name, unsigned int id, bool filled)
{
	uint8_t bytes[PAGE_BYTES];

	memset(f, 0, sizeof(*f));
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(f->path, sizeof(f->path), "%s/%s", mnt, name);
	f->id = id;
	f->mnt = mnt;
	f->dirfd = dirfd_case;
	f->fd = openat(dirfd_case, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(f->fd, 0);
	for (uint64_t off = 0; filled && off < FILE_BYTES; off += PAGE_BYTES) {
		for (unsigned int i = 0; i < PAGE_BYTES; i++)
			bytes[i] = pattern(off + i, id);
		ck_assert_int_eq(pwrite(f->fd, bytes, PAGE_BYTES, (off_t)off), PAGE_BYTES);
	}
}

static void map_file(struct pf_file *f)
{
	f->map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	ck_assert_ptr_ne(f->map, MAP_FAILED);
	f->map_bytes = FILE_BYTES;
	for (unsigned int off = 0; off < FILE_BYTES; off += PAGE_BYTES)
		ck_assert_uint_eq(((volatile uint8_t *)f->map)[off], pattern(off, f->id));
}

static void close_file(struct pf_file *f)
{
	if (f->map)
		munmap(f->map, f->map_bytes);
	if (f->fd >= 0)
		close(f->fd);
	unlinkat(dirfd_case, f->name, 0);
}

static void setup_case(void)
{
	dirfd_case = open(mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dirfd_case, 0);
	open_file(&file_a, "A", 1, true);
	map_file(&file_a);
	file_b.fd = -1;
	memset(&call, 0, sizeof(call));
	call.file = &file_a;
}

static void teardown_case(void)
{
	if (file_b.fd >= 0)
		close_file(&file_b);
	close_file(&file_a);
	close(dirfd_case);
}

static void setup_mounted(void)
{
	ck_assert_int_eq(mount_fs(), 0);
	setup_case();
}

static void teardown_mounted(void)
{
	teardown_case();
	unmount_fs();
}

static bool is_unsupported(const struct pf_fault_ops *ops, int err)
{
	if (ops->unsupported)
		return ops->unsupported(err);
	return err == EOPNOTSUPP || err == ENOTTY || err == ENOSYS;
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

/* The sabotages really break the file: exactly the bytes they say, and nothing else. */
START_TEST(test_sabotage)
{
	static const char *const names[] = {"sabotage-swap", "sabotage-drop", "sabotage-old"};
	static const int changed_cells[] = {2, 1, PAGE_BYTES / 64};
	const struct pf_fault_ops *ops = pf_fault_find(names[_i]);
	uint8_t page[PAGE_BYTES], cell[64];
	int changed = 0, differs;

	ck_assert_ptr_nonnull(ops);
	ck_assert(ops->flags & PF_FAULT_SELFTEST);
	ck_assert_int_eq(ops->prepare(&call), 0);
	if (_i == 2) {
		ck_assert_int_eq(ops->run(&call), 0);
		memset(page, 0xff, sizeof(page));
		ck_assert_int_eq(pwrite(file_a.fd, page, sizeof(page), 0), sizeof(page));
		ck_assert_int_eq(ops->prepare(&call), 0);
	}
	ck_assert_int_eq(ops->run(&call), 0);
	for (uint64_t off = 0; off < FILE_BYTES; off += sizeof(cell)) {
		ck_assert_int_eq(pread(file_a.fd, cell, sizeof(cell), (off_t)off), sizeof(cell));
		differs = 0;
		for (size_t i = 0; i < sizeof(cell); i++)
			differs |= cell[i] != pattern(off + i, 1);
		/* The old page is the pattern again: there, what counts is that it came back. */
		changed += _i == 2 ? off < PAGE_BYTES && !differs : differs;
	}
	ck_assert_int_eq(changed, changed_cells[_i]);
}
END_TEST

/* --- Sabotages of cells, and through the device. --- */

static bool has_device(void)
{
	return fs->mkfs[0] != NULL;
}

/* Write the first block of @f as operation @op, through the page cache. */
static void write_cells(struct pf_file *f, uint32_t op)
{
	struct pf_cell_id id = { .run = 77, .case_nr = 5, .file = f->id, .op = op };
	uint8_t block[PAGE_BYTES];

	pf_cell_stamp_range(block, sizeof(block), &id);
	ck_assert_int_eq(pwrite(f->fd, block, sizeof(block), 0), sizeof(block));
}

/* The operation of the first cell; 0: zero, -1: torn, -errno - 1000: not to be read. */
static long first_op(const struct pf_file *f, int flags)
{
	static uint8_t block[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | flags);
	struct pf_cell_id id;
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	n = pread(fd, block, sizeof(block), 0);
	n = n < 0 ? -1000 - errno : n;
	close(fd);
	if (n < 0)
		return n;
	switch (pf_cell_decode(block, &id)) {
	case PF_CELL_ZERO:
		return 0;
	case PF_CELL_TORN:
		return -1;
	default:
		return id.run == 77 && id.file == f->id ? (long)id.op : -2;
	}
}

/* Run @name once; its effect, or -errno. */
static int sabotage(const char *name)
{
	const struct pf_fault_ops *ops = pf_fault_find(name);
	char evidence[200] = "";
	int ret;

	ck_assert_ptr_nonnull(ops);
	ck_assert(ops->flags & PF_FAULT_SELFTEST);
	ck_assert_int_eq(ops->prim, PF_PRIM_NONE);
	ret = ops->prepare ? ops->prepare(&call) : 0;
	ret = ret ? ret : ops->run(&call);
	return ret ? ret : (int)ops->effect(&call, evidence, sizeof(evidence));
}

static void refused(int ret)
{
	ck_assert_int_eq(ret, -EOPNOTSUPP);
	ck_assert_ptr_nonnull(call.why);
	printf("%-6s %-16s skipped: %s\n", fs->fstype, "behind", call.why);
}

/* An empty file that is overwritten in place. */
static void open_in_place(void)
{
	open_file(&file_b, "B", 2, false);
	ck_assert_int_eq(ftruncate(file_b.fd, FILE_BYTES), 0);
	call.file = &file_b;
	ck_assert_int_eq(sabotage("sabotage-nocow"), PF_EFFECT_SHOWN);
}

START_TEST(test_sabotage_behind)
{
	int ret;

	open_in_place();
	write_cells(&file_b, 1);
	ret = sabotage("sabotage-behind");
	if (!has_device()) {
		refused(ret);
		return;
	}
	ck_assert_int_eq(ret, PF_EFFECT_SHOWN);
	ck_assert_int_eq(first_op(&file_b, O_DIRECT), 1);
	write_cells(&file_b, 2);
	ck_assert_int_eq(sabotage("sabotage-behind"), PF_EFFECT_SHOWN);
	ck_assert_int_eq(first_op(&file_b, 0), 2);
	ck_assert_int_eq(first_op(&file_b, O_DIRECT), 1);
	behind_drop_cache(&file_b);
	ck_assert_int_eq(first_op(&file_b, 0), 1);
}
END_TEST

START_TEST(test_sabotage_rot)
{
	int ret;

	open_file(&file_b, "B", 2, true);
	write_cells(&file_b, 1);
	call.file = &file_b;
	ret = sabotage("sabotage-rot");
	if (!has_device()) {
		refused(ret);
		return;
	}
	ck_assert_int_eq(ret, PF_EFFECT_SHOWN);
	ck_assert_int_eq(first_op(&file_b, 0), strcmp(fs->fstype, "btrfs") ? -1 : -1000 - EIO);
}
END_TEST

/* Only a block that holds this file's own cells is ever written to. */
START_TEST(test_behind_wants_cells)
{
	struct behind b;

	if (!has_device())
		return;
	ck_assert_int_eq(behind_find(&call, 0, &b), -ENODATA);
	ck_assert_int_eq(b.dev_fd, -1);
	file_a.id = 9;
	write_cells(&file_a, 1);
	file_a.id = 1;
	ck_assert_int_eq(behind_find(&call, 0, &b), -ENODATA);
	write_cells(&file_a, 1);
	ck_assert_int_eq(behind_find(&call, 0, &b), 0);
	behind_close(&b);
}
END_TEST

/* Not the filesystem of /, and no loop device over somebody else's image. */
START_TEST(test_behind_refuses)
{
	char image[] = "/tmp/pf-not-ours-XXXXXX", dir[128], path[160];
	const char *mkfs[] = {"mkfs.ext4", "-q", "-F", image, "16M", NULL};
	const char *mount_it[] = {"mount", "-o", "loop", image, dir, NULL};
	struct pf_file other = {.name = "A", .id = 1, .dirfd = -1};
	struct pf_fault_call c = {.file = &other};
	struct behind b;

	other.fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(behind_find(&c, 0, &b), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(c.why);
	close(other.fd);
	close(mkstemp(image));
	snprintf(dir, sizeof(dir), "%s/other", base);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert_int_eq(run_command(mkfs), 0);
	ck_assert_int_eq(run_command(mount_it), 0);
	snprintf(path, sizeof(path), "%s/A", dir);
	other.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(other.fd, 0);
	write_cells(&other, 1);
	c.why = NULL;
	ck_assert_int_eq(behind_find(&c, 0, &b), -EOPNOTSUPP);
	ck_assert_str_eq(c.why, "the loop device is not over an image of ours");
	close(other.fd);
	ck_assert_int_eq(umount2(dir, 0), 0);
	rmdir(dir);
	unlink(image);
}
END_TEST

/* What is broken through the page cache is broken as it says. */
START_TEST(test_sabotage_cells)
{
	struct stat st;

	write_cells(&file_a, 1);
	ck_assert_int_eq(sabotage("sabotage-torn"), PF_EFFECT_SHOWN);
	ck_assert_int_eq(first_op(&file_a, 0), 1);
	write_cells(&file_a, 2);
	ck_assert_int_eq(sabotage("sabotage-torn"), PF_EFFECT_SHOWN);
	ck_assert_int_eq(first_op(&file_a, 0), -1);
	write_cells(&file_a, 3);
	ck_assert_int_eq(sabotage("sabotage-stranger"), PF_EFFECT_SHOWN);
	ck_assert_int_eq(first_op(&file_a, 0), -2);
	open_file(&file_b, "B", 2, false);
	write_cells(&file_b, 4);
	write_cells(&file_a, 5);
	call.file2 = &file_b;
	ck_assert_int_eq(sabotage("sabotage-foreign"), PF_EFFECT_SHOWN);
	ck_assert_int_eq(first_op(&file_a, 0), -2);
	ck_assert_int_eq(first_op(&file_b, 0), 4);
	ck_assert_int_eq(sabotage("sabotage-size"), PF_EFFECT_SHOWN);
	ck_assert_int_eq(fstat(file_a.fd, &st), 0);
	ck_assert_int_eq(st.st_size, FILE_BYTES + PAGE_BYTES);
}
END_TEST

START_TEST(test_sabotage_mtime)
{
	struct stat before, between, after;

	ck_assert_int_eq(fstat(file_a.fd, &before), 0);
	ck_assert_int_eq(sabotage("sabotage-mtime"), PF_EFFECT_SHOWN);
	write_cells(&file_a, 1);
	ck_assert_int_eq(fstat(file_a.fd, &between), 0);
	/* The first call has waited for the clock: the write shows. */
	ck_assert(memcmp(&between.st_mtim, &before.st_mtim, sizeof(before.st_mtim)) != 0);
	ck_assert_int_eq(sabotage("sabotage-mtime"), PF_EFFECT_SHOWN);
	ck_assert_int_eq(fstat(file_a.fd, &after), 0);
	ck_assert(memcmp(&after.st_mtim, &before.st_mtim, sizeof(before.st_mtim)) == 0);
	ck_assert_int_eq(first_op(&file_a, 0), 1);
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
	tcase_add_test(tc, test_effect_none);
	tcase_add_test(tc, test_punch_subblock);
	tcase_add_test(tc, test_dedupe_differs);
	tcase_add_loop_test(tc, test_sabotage, 0, 3);
	tcase_add_test(tc, test_sabotage_behind);
	tcase_add_test(tc, test_sabotage_rot);
	tcase_add_test(tc, test_behind_wants_cells);
	tcase_add_test(tc, test_sabotage_cells);
	tcase_add_test(tc, test_sabotage_mtime);
	if (!strcmp(fs->fstype, "ext4"))
		tcase_add_test(tc, test_behind_refuses);
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

/* Run the suite of @which, if it can be had here; the number of failures. */
static int run_suite(const struct test_fs *which)
{
	SRunner *runner;
	int failed, ret;

	fs = which;
	ret = mount_fs();
	if (ret) {
		printf("%-6s skipped: cannot be made or mounted here (%d)\n", fs->fstype, ret);
		return 0;
	}
	unmount_fs();
	runner = srunner_create(fault_suite());
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

int main(void)
{
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid() != 0) {
		printf("test_faults: skipped: needs root for loop mounts\n");
		return 0;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("test_faults: skipped: no mount namespace: %s\n", strerror(errno));
		return 0;
	}
	if (!mkdtemp(base)) {
		fprintf(stderr, "test_faults: %s: %s\n", base, strerror(errno));
		return 2;
	}
	snprintf(mnt, sizeof(mnt), "%s/mnt", base);
	if (mkdir(mnt, 0700) < 0)
		return 2;
	faults = pf_faults(&nr_faults);
	for (size_t i = 0; i < ARRAY_SIZE(filesystems); i++)
		failed += run_suite(&filesystems[i]);
	rmdir(mnt);
	rmdir(base);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
