// SPDX-License-Identifier: GPL-2.0
/*
 * gup_fixture.c - filesystems mounted, channels probed and files mapped for the tests of channels.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gup_fixture.h"

static char root_dir[] = "/tmp/pf-gup-XXXXXX";
static uint8_t pattern[PF_IO_MAX_BYTES]; /* what is written */
static const char *no_mounts; /* why there is no filesystem to test on; NULL: there is */

struct subject subjects[] = {
	{ .name = "store", .variant = "" },	 { .name = "copyout", .variant = "" },
	{ .name = "dio-read", .variant = "" },	 { .name = "dio-read", .variant = "loop" },
	{ .name = "uring-read", .variant = "" }, { .name = "uring-fixed", .variant = "" },
	{ .name = "pvm-writev", .variant = "" }, { .name = "proc-mem", .variant = "" },
	{ .name = "pwrite", .variant = "" },
};
const int nr_subjects = sizeof(subjects) / sizeof(subjects[0]);
const char *const fs_names[] = { "tmpfs", "ext4" };

void skip(const char *what, const char *why)
{
	fprintf(stderr, "skip: %s: %s\n", what, why);
}

bool usable(const struct subject *s)
{
	if (no_mounts)
		skip(s->name, no_mounts);
	else if (s->probe_rc)
		skip(s->name, s->why);
	return !no_mounts && !s->probe_rc;
}

bool holds(const struct subject *s)
{
	return s->ops->hold_kind == PF_HOLD_INFLIGHT && s->ops->class != PF_CLASS_SYSCALL &&
	       usable(s);
}

void fill(uint8_t *p, size_t len_bytes, unsigned int salt)
{
	for (size_t i = 0; i < len_bytes; i++)
		p[i] = (uint8_t)(1 + (i * 2654435761u >> 13) % 251 + salt);
}

int bench_open(struct bench *b, const struct subject *s, const char *fs, size_t file_bytes)
{
	struct pf_file *f = &b->file;
	int rc;

	*b = (struct bench){ .ch = { .ops = s->ops, .variant = s->variant, .scratch_dir = root_dir,
				     .deadline_ms = DEADLINE_MS } };
	f->id = 1;
	snprintf(f->path, sizeof(f->path), "%s/%s/file", root_dir, fs);
	f->fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(f->fd, 0);
	ck_assert_int_eq(posix_fallocate(f->fd, 0, (off_t)file_bytes), 0);
	f->map_bytes = file_bytes;
	f->map = mmap(NULL, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	ck_assert_ptr_ne(f->map, MAP_FAILED);
	b->data = pattern;
	rc = s->ops->open ? s->ops->open(&b->ch) : 0;
	ck_assert_msg(!rc, "%s open: %s", s->name, strerror(-rc));
	return s->ops->pin ? s->ops->pin(&b->ch, f) : 0;
}

void bench_close(struct bench *b)
{
	if (b->ch.ops->close)
		b->ch.ops->close(&b->ch);
	munmap(b->file.map, b->file.map_bytes);
	close(b->file.fd);
	unlink(b->file.path);
}

void check_arrived(const struct bench *b, const struct pf_io *io)
{
	uint8_t *seen = malloc(io->len_bytes);

	ck_assert_ptr_nonnull(seen);
	ck_assert_int_eq(pread(b->file.fd, seen, io->len_bytes, (off_t)io->off_bytes),
			 (ssize_t)io->len_bytes);
	ck_assert_mem_eq(seen, io->data, io->len_bytes);
	ck_assert_mem_eq(b->file.map + io->off_bytes, io->data, io->len_bytes);
	free(seen);
}

bool all_zero(const uint8_t *p, size_t len_bytes)
{
	return !p[0] && !memcmp(p, p + 1, len_bytes - 1);
}

/* The mounts are the namespace's, which is this process's. NULL, or why there are none. */
static const char *make_mounts(void)
{
	char path[128], cmd[512];

	if (geteuid())
		return "not root";
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		return "no mount namespace";
	if (mount("pf-gup", root_dir, "tmpfs", 0, "size=512m"))
		return "no tmpfs";
	snprintf(path, sizeof(path), "%s/tmpfs", root_dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/ext4", root_dir);
	mkdir(path, 0700);
	snprintf(cmd, sizeof(cmd),
		 "truncate -s 128M %s/image && mkfs.ext4 -q %s/image && mount -o loop %s/image %s",
		 root_dir, root_dir, root_dir, path);
	return system(cmd) ? "no ext4 on a loop image" : NULL;
}

static void probe_all(void)
{
	for (int i = 0; i < nr_subjects; i++) {
		struct subject *s = &subjects[i];

		s->ops = pf_channel_find(s->name);
		if (!s->ops) {
			fprintf(stderr, "%s is not registered\n", s->name);
			exit(1);
		}
		if (s->ops->probe)
			s->probe_rc = s->ops->probe(s->variant, s->why, sizeof(s->why));
		fprintf(stderr, "note: probe %s/%s: %s %s\n", s->name, s->variant,
			s->probe_rc ? strerror(-s->probe_rc) : "yes", s->why);
	}
}

int gup_fixture_main(const char *program, Suite *(*suite)(void))
{
	SRunner *runner;
	int failed;

	if (!mkdtemp(root_dir)) {
		fprintf(stderr, "%s: %s: %s\n", program, root_dir, strerror(errno));
		return 1;
	}
	fill(pattern, sizeof(pattern), 0);
	no_mounts = make_mounts();
	probe_all();
	runner = srunner_create(suite());
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	if (!no_mounts) {
		char path[128];

		snprintf(path, sizeof(path), "%s/ext4", root_dir);
		umount2(path, MNT_DETACH);
	}
	umount2(root_dir, MNT_DETACH);
	rmdir(root_dir);
	return failed ? 1 : 0;
}
