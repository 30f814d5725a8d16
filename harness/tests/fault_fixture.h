/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fault_fixture.h - filesystems and files for the tests of faults.
 *
 * fault_fixture_main() runs one suite on XFS, ext4 and btrfs (loop mounts of images made here) and
 * on tmpfs, in a mount namespace of its own, so that a killed test leaves no mount behind. Without
 * root one line says so, and nothing is run. A test finds its filesystem in fs, mounted on mnt;
 * between setup_case() and teardown_case(), file_a: FILE_BYTES of known bytes, mapped, with a call
 * about it.
 */
#ifndef PF_TESTS_FAULT_FIXTURE_H
#define PF_TESTS_FAULT_FIXTURE_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "fault.h"

#define FILE_BYTES (64u << 10)
#define PAGE_BYTES 4096u
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct test_fs {
	const char *fstype;
	const char *mkfs[6]; /* the image follows; NULL: needs none */
	const char *options;
};

extern char base[64]; /* the folder of images and mounts */
extern char mnt[128];
extern const struct test_fs *fs;

/* The case's two files and the call about them. file_b is the test's to open. */
extern struct pf_file file_a, file_b;
extern struct pf_fault_call call;
extern int dirfd_case;

/* Run @argv, its standard output dropped; its exit status, or -errno. */
int run_command(const char *const *argv);

/* Checked and unchecked fixtures, in pairs. */
void setup_mount(void);
void unmount_fs(void);
void setup_case(void);
void teardown_case(void);
void setup_mounted(void); /* both */
void teardown_mounted(void);

/* The byte of file @who at @off_bytes: position-dependent, never zero. */
uint8_t pattern(uint64_t off_bytes, unsigned int who);

/* Make @name anew in mnt, empty or @filled with FILE_BYTES of its pattern. */
void open_file(struct pf_file *f, const char *name, unsigned int id, bool filled);

/* Is @err how the fault says that this filesystem has no such operation? */
bool is_unsupported(const struct pf_fault_ops *ops, int err);

/* main() of a test program: the suite that @suite makes, on each filesystem. Its exit status. */
int fault_fixture_main(const char *program, Suite *(*suite)(void));

#endif
