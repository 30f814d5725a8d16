// SPDX-License-Identifier: GPL-2.0
/*
 * fault_fixture.c - filesystems made, mounted and unmounted for the tests of faults.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_fixture.h"

#define IMAGE_BYTES (400ll << 20) /* the smallest XFS mkfs.xfs makes is 300 MiB */

extern char **environ;

static const struct test_fs filesystems[] = {
	{"xfs", {"mkfs.xfs", "-q", "-f", "-m", "reflink=1"}, "loop"},
	{"ext4", {"mkfs.ext4", "-q", "-F"}, "loop"},
	{"btrfs", {"mkfs.btrfs", "-q", "-f"}, "loop"},
	{"tmpfs", {NULL}, "size=64m"},
};

char base[64] = "/tmp/pinfault-faults-XXXXXX";
char mnt[128];
const struct test_fs *fs;
struct pf_file file_a, file_b;
struct pf_fault_call call;
int dirfd_case;

int run_command(const char *const *argv)
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

void setup_mount(void)
{
	ck_assert_int_eq(mount_fs(), 0);
}

void unmount_fs(void)
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

uint8_t pattern(uint64_t off_bytes, unsigned int who)
{
	return (uint8_t)(1 + (off_bytes * 131 + (off_bytes >> 8) * 31 + who * 77) % 255);
}

void open_file(struct pf_file *f, const char *name, unsigned int id, bool filled)
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

void setup_case(void)
{
	dirfd_case = open(mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dirfd_case, 0);
	open_file(&file_a, "A", 1, true);
	map_file(&file_a);
	file_b.fd = -1;
	memset(&call, 0, sizeof(call));
	call.file = &file_a;
}

void teardown_case(void)
{
	if (file_b.fd >= 0)
		close_file(&file_b);
	close_file(&file_a);
	close(dirfd_case);
}

void setup_mounted(void)
{
	ck_assert_int_eq(mount_fs(), 0);
	setup_case();
}

void teardown_mounted(void)
{
	teardown_case();
	unmount_fs();
}

bool is_unsupported(const struct pf_fault_ops *ops, int err)
{
	if (ops->unsupported)
		return ops->unsupported(err);
	return err == EOPNOTSUPP || err == ENOTTY || err == ENOSYS;
}

/* Run the suite of @which, if it can be had here; the number of failures. */
static int run_suite(const struct test_fs *which, Suite *(*suite)(void))
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
	runner = srunner_create(suite());
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed;
}

int fault_fixture_main(const char *program, Suite *(*suite)(void))
{
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid() != 0) {
		printf("%s: skipped: needs root for loop mounts\n", program);
		return 0;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("%s: skipped: no mount namespace: %s\n", program, strerror(errno));
		return 0;
	}
	if (!mkdtemp(base)) {
		fprintf(stderr, "%s: %s: %s\n", program, base, strerror(errno));
		return 2;
	}
	snprintf(mnt, sizeof(mnt), "%s/mnt", base);
	if (mkdir(mnt, 0700) < 0)
		return 2;
	for (size_t i = 0; i < ARRAY_SIZE(filesystems); i++)
		failed += run_suite(&filesystems[i], suite);
	rmdir(mnt);
	rmdir(base);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
