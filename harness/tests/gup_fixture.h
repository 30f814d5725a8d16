/* SPDX-License-Identifier: GPL-2.0 */
/*
 * gup_fixture.h - filesystems, channels and files for the tests of channels.
 *
 * gup_fixture_main() mounts a tmpfs and an ext4 (a loop mount of an image made here) in a mount
 * namespace of its own, so that a killed test leaves no mount behind, asks every channel's probe,
 * and runs one suite. Its tests are loops over subjects and fs_names. For what cannot be driven
 * here usable() says why, on stderr, and the test passes. Between bench_open() and bench_close():
 * a mapped file on one of the filesystems, with a channel open and pinned on it.
 */
#ifndef PF_TESTS_GUP_FIXTURE_H
#define PF_TESTS_GUP_FIXTURE_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/channel.h"

#define FILE_BYTES (64u << 10)
#define DEADLINE_MS 5000u

/* Every channel and variant that takes part, and what this kernel said to its probe. The first is
 * the store, the last the write(2). */
struct subject {
	const char *name, *variant;
	const struct pf_channel_ops *ops;
	int probe_rc; /* 0 or -errno */
	char why[160];
};

extern struct subject subjects[];
extern const int nr_subjects;
extern const char *const fs_names[2];

/* One file on one filesystem, mapped, with a channel open on it. */
struct bench {
	struct pf_channel ch;
	struct pf_file file;
	uint8_t *data; /* PF_IO_MAX_BYTES to write, the fixture's; none is zero before a fill() */
};

/* One line on stderr: @what is not tested, because of @why. */
void skip(const char *what, const char *why);

/* Can @s be driven here? If not, it has been said. */
bool usable(const struct subject *s);

/* Holds a write through the mapping, and is usable(). One that never holds is passed silently. */
bool holds(const struct subject *s);

/* Bytes that depend on their place and on @salt, so that a misplaced one shows. */
void fill(uint8_t *p, size_t len_bytes, unsigned int salt);

/*
 * A new file of @file_bytes zeros on @fs, one of fs_names, and @s opened and pinned on it. 0, or
 * -errno: the channel's refusal to pin. Either way bench_close() is the caller's to call. Whatever
 * else goes wrong fails the test.
 */
int bench_open(struct bench *b, const struct subject *s, const char *fs, size_t file_bytes);
void bench_close(struct bench *b);

/* Fails the test unless all of @io is there, for pread(2) and in the mapping. */
void check_arrived(const struct bench *b, const struct pf_io *io);

/* @len_bytes is at least 1. */
bool all_zero(const uint8_t *p, size_t len_bytes);

/* main() of a test program: the suite that @suite makes. Its exit status. */
int gup_fixture_main(const char *program, Suite *(*suite)(void));

#endif
