// SPDX-License-Identifier: GPL-2.0
/*
 * test_sabotage.c - the faults of the selftest really break a file, and break only what they say.
 *
 * Those that go through the page cache, and those that go through the device under the mount and
 * must find nothing there but blocks of the file's own cells. Filesystems: fault_fixture.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../workloads/faults/behind.h"
#include "cell.h"
#include "fault_fixture.h"

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

/* The mapping shows what the file holds and is the file's no more: what is stored stays there. */
START_TEST(test_sabotage_detach)
{
	write_cells(&file_a, 1);
	ck_assert_int_eq(sabotage("sabotage-detach"), PF_EFFECT_SHOWN);
	for (unsigned int off = PAGE_BYTES; off < FILE_BYTES; off++)
		ck_assert_uint_eq(file_a.map[off], pattern(off, 1));
	memset(file_a.map, 0xff, FILE_BYTES);
	ck_assert_int_eq(first_op(&file_a, 0), 1);
	ck_assert_int_eq(first_op(&file_a, O_DIRECT), 1);
}
END_TEST

static Suite *sabotage_suite(void)
{
	Suite *s = suite_create(fs->fstype);
	TCase *tc = tcase_create("sabotage");

	tcase_add_unchecked_fixture(tc, setup_mount, unmount_fs);
	tcase_add_checked_fixture(tc, setup_case, teardown_case);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_sabotage, 0, 3);
	tcase_add_test(tc, test_sabotage_behind);
	tcase_add_test(tc, test_sabotage_rot);
	tcase_add_test(tc, test_behind_wants_cells);
	tcase_add_test(tc, test_sabotage_cells);
	tcase_add_test(tc, test_sabotage_mtime);
	tcase_add_test(tc, test_sabotage_detach);
	if (!strcmp(fs->fstype, "ext4"))
		tcase_add_test(tc, test_behind_refuses);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return fault_fixture_main("test_sabotage", sabotage_suite);
}
