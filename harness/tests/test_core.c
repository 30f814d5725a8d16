// SPDX-License-Identifier: GPL-2.0
/* test_core.c - cells, tokens, sequences, histories. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../core/cell.h"
#include "../core/guard.h"
#include "../core/history.h"
#include "../core/seq.h"
#include "../core/token.h"

static const struct pf_cell_id home = { 7, 3, 2, 5, 4096 };

START_TEST(cell_round_trip)
{
	uint8_t buf[4 * PF_CELL_BYTES + 1];
	struct pf_cell_id got;

	pf_cell_stamp_range(buf + 1, 4 * PF_CELL_BYTES, &home);
	for (unsigned int i = 0; i < 4; i++) {
		struct pf_cell_id want = home;

		want.off_bytes += i * PF_CELL_BYTES;
		ck_assert_int_eq(pf_cell_decode(buf + 1 + i * PF_CELL_BYTES, &got), PF_CELL_VALID);
		ck_assert(pf_cell_same_id(&got, &want));
	}
}
END_TEST

/* Every single flipped bit must show: this is what all verdicts rest on. */
START_TEST(cell_every_bit_counts)
{
	uint8_t buf[PF_CELL_BYTES];
	struct pf_cell_id got;

	for (unsigned int bit = 0; bit < PF_CELL_BYTES * 8; bit++) {
		pf_cell_stamp(buf, &home);
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_msg(pf_cell_decode(buf, &got) == PF_CELL_TORN, "bit %u", bit);
	}
}
END_TEST

START_TEST(cell_zero_and_almost_zero)
{
	uint8_t buf[PF_CELL_BYTES] = { 0 };
	struct pf_cell_id got;

	ck_assert_int_eq(pf_cell_decode(buf, &got), PF_CELL_ZERO);
	buf[PF_CELL_BYTES - 1] = 1;
	ck_assert_int_eq(pf_cell_decode(buf, &got), PF_CELL_TORN);
}
END_TEST

START_TEST(cell_differs_by_each_part_of_its_identity)
{
	uint8_t a[PF_CELL_BYTES], b[PF_CELL_BYTES];
	struct pf_cell_id ids[] = { home, home, home, home, home };

	ids[0].run++;
	ids[1].case_nr++;
	ids[2].file++;
	ids[3].op++;
	ids[4].off_bytes += PF_CELL_BYTES;
	pf_cell_stamp(a, &home);
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		int equal = 0;

		pf_cell_stamp(b, &ids[i]);
		for (unsigned int k = 24; k < PF_CELL_BYTES; k++)
			equal += a[k] == b[k];
		ck_assert_msg(equal < 8, "part %zu: %d of 40 filler bytes equal", i, equal);
	}
}
END_TEST

START_TEST(cell_is_found_at_any_offset)
{
	uint8_t buf[512];
	struct pf_cell_id got;

	memset(buf, 0xaa, sizeof(buf));
	ck_assert_int_eq(pf_cell_find(buf, sizeof(buf), &got), -ENOENT);
	pf_cell_stamp(buf + 101, &home);
	ck_assert_int_eq(pf_cell_find(buf, sizeof(buf), &got), 101);
	ck_assert(pf_cell_same_id(&got, &home));
	ck_assert_int_eq(pf_cell_find(buf, 101 + PF_CELL_BYTES - 1, &got), -ENOENT);
}
END_TEST

/* What a machine with wide registers wrote, one without must read, and the other way round. */
START_TEST(cell_is_the_same_on_every_machine)
{
	static uint8_t wide[300 * PF_CELL_BYTES], plain[300 * PF_CELL_BYTES];
	struct pf_cell_id got;
	enum pf_cell_kind kind;

	pf_cell_stamp_range(wide, sizeof(wide), &home);
	pf_cell_plain();
	pf_cell_stamp_range(plain, sizeof(plain), &home);
	ck_assert_mem_eq(wide, plain, sizeof(wide));
	ck_assert_uint_eq(pf_cell_run(wide, 300, &kind, &got), 300);
	ck_assert_int_eq(kind, PF_CELL_VALID);
}
END_TEST

static uint32_t draw(uint32_t n)
{
	static uint32_t state = 1;

	state = state * 1664525u + 1013904223u;
	return (state >> 8) % n;
}

/* Fill @nr cells with stretches of every kind. */
static void fill_mixed(uint8_t *p, unsigned int nr)
{
	struct pf_cell_id id = home;

	memset(p, 0, (size_t)nr * PF_CELL_BYTES);
	for (unsigned int at = 0; at < nr;) {
		unsigned int n = 1 + draw(9);

		n = n < nr - at ? n : nr - at;
		id.op = 1 + draw(3);
		id.off_bytes = draw(2) ? at * PF_CELL_BYTES : draw(64) * PF_CELL_BYTES;
		if (draw(3))
			pf_cell_stamp_range(p + at * PF_CELL_BYTES, n * PF_CELL_BYTES, &id);
		if (!draw(4))
			p[at * PF_CELL_BYTES + draw(n * PF_CELL_BYTES)] ^= (uint8_t)(1u << draw(8));
		at += n;
	}
}

/* Runs say what the cells say one by one, and are as long as they can be. */
START_TEST(cell_runs_are_what_their_cells_are)
{
	static uint8_t buf[256 * PF_CELL_BYTES];

	if (_i)
		pf_cell_plain();
	for (int round = 0; round < 300; round++) {
		enum pf_cell_kind kind, before = PF_CELL_VALID;
		struct pf_cell_id id, got, next = { 0 };

		fill_mixed(buf, 256);
		for (size_t at = 0; at < 256;) {
			size_t n = pf_cell_run(buf + at * PF_CELL_BYTES, 256 - at, &kind, &id);

			ck_assert_uint_ge(n, 1);
			ck_assert_uint_le(n, 256 - at);
			/* It could not have been part of the run before. */
			ck_assert(!at || kind != before ||
				  (kind == PF_CELL_VALID && !pf_cell_same_id(&id, &next)));
			for (size_t i = 0; i < n; i++, at++) {
				ck_assert_int_eq(pf_cell_decode(buf + at * PF_CELL_BYTES, &got),
						 kind);
				ck_assert(kind != PF_CELL_VALID || pf_cell_same_id(&got, &id));
				id.off_bytes += PF_CELL_BYTES;
			}
			before = kind;
			next = id;
		}
	}
}
END_TEST

START_TEST(cell_run_ends_at_every_flipped_bit)
{
	static uint8_t buf[5 * PF_CELL_BYTES];
	struct pf_cell_id id;
	enum pf_cell_kind kind;

	for (unsigned int bit = 0; bit < PF_CELL_BYTES * 8; bit++) {
		pf_cell_stamp_range(buf, sizeof(buf), &home);
		buf[2 * PF_CELL_BYTES + bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_msg(pf_cell_run(buf, 5, &kind, &id) == 2, "bit %u", bit);
		ck_assert_uint_eq(pf_cell_run(buf + 2 * PF_CELL_BYTES, 3, &kind, &id), 1);
		ck_assert_int_eq(kind, PF_CELL_TORN);
	}
}
END_TEST

/* No two bytes of neighbours hang together: a piece of a cell belongs to one place. */
START_TEST(cell_bytes_depend_on_the_place)
{
	static uint8_t buf[4096 * PF_CELL_BYTES];
	static const unsigned int far[] = { 1, 2, 16, 64, 256, 1024, 2048 };

	pf_cell_stamp_range(buf, sizeof(buf), &home);
	for (size_t k = 0; k < sizeof(far) / sizeof(far[0]); k++)
		for (unsigned int byte = 24; byte < PF_CELL_BYTES; byte++) {
			unsigned int equal = 0;

			for (unsigned int i = 0; i < 1024; i++)
				equal += buf[i * PF_CELL_BYTES + byte] ==
					 buf[(i + far[k]) * PF_CELL_BYTES + byte];
			ck_assert_msg(equal < 200, "byte %u, %u apart: %u of 1024", byte, far[k],
				      equal);
		}
}
END_TEST

START_TEST(token_round_trip)
{
	static const char *const texts[] = { "", "plain", "two words", "100%", "a\nb\tc", "%-" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char token[64];

		pf_token_encode(token, sizeof(token), texts[i]);
		ck_assert(!strpbrk(token, " \n\t"));
		ck_assert_int_eq(pf_token_decode(token), 0);
		ck_assert_str_eq(token, texts[i]);
	}
}
END_TEST

START_TEST(token_bad_escapes)
{
	static const char *const bad[] = { "%", "%4", "%G0", "a%0", "%00" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char token[16];

		strcpy(token, bad[i]);
		ck_assert_msg(pf_token_decode(token) == -EINVAL, "%s", bad[i]);
	}
}
END_TEST

START_TEST(token_cut_off_at_whole_bytes)
{
	char token[6];

	ck_assert_uint_eq(pf_token_encode(token, sizeof(token), "ab cd"), 5);
	ck_assert_str_eq(token, "ab%20");
	ck_assert_uint_eq(pf_token_encode(token, 5, "ab cd"), 2);
}
END_TEST

static struct pf_seq seq;

static const char *parse(const char *text)
{
	static char err[200];

	err[0] = '\0';
	return pf_seq_parse(&seq, text, err, sizeof(err)) ? err : NULL;
}

START_TEST(seq_parses_the_example)
{
	ck_assert_ptr_null(parse("# A clone must stay what it was.\n"
				 "file A 64K written\npin  A\n"
				 "hold w1 A 0 8K   # data not there yet\n"
				 "punch A 0 4K\nland w1\nread A 0 8K buffered\nlook\nunpin A"));
	ck_assert_str_eq(seq.title, "A clone must stay what it was.");
	ck_assert_int_eq(seq.nr_steps, 8);
	ck_assert_uint_eq(seq.file_bytes[0], 65536);
	ck_assert_int_eq(seq.steps[2].verb, PF_VERB_HOLD);
	ck_assert_uint_eq(seq.steps[2].len_bytes, 8192);
	ck_assert_str_eq(seq.steps[3].fault->name, "punch");
	ck_assert_int_eq(seq.steps[3].line, 5);
	ck_assert_int_eq(seq.steps[4].hold, seq.steps[2].hold);
	ck_assert_int_eq(seq.steps[5].view, PF_VIEW_BUFFERED);
}
END_TEST

START_TEST(seq_holds_reads)
{
	ck_assert_ptr_null(parse("file A 64K written\npin A\nhold-read r1 A 0 8K\nhold w1 A 0 4K\n"
				 "land r1\nread A 0 8K gup"));
	ck_assert_int_eq(seq.steps[2].verb, PF_VERB_HOLD_READ);
	ck_assert_uint_eq(seq.steps[2].len_bytes, 8192);
	ck_assert_int_ne(seq.steps[3].hold, seq.steps[2].hold);
	ck_assert_int_eq(seq.steps[4].hold, seq.steps[2].hold);
	ck_assert_int_eq(seq.steps[5].view, PF_VIEW_GUP);
}
END_TEST

START_TEST(seq_clone_makes_its_target)
{
	ck_assert_ptr_null(parse("file A 8K written\nclone A B\npwrite B 0 64"));
	ck_assert_int_eq(seq.nr_files, 2);
	ck_assert_int_eq(seq.steps[1].file2, 1);
}
END_TEST

START_TEST(seq_says_line_and_reason)
{
	static const struct {
		const char *text, *err;
	} cases[] = {
		{ "", "0: a sequence without a step" },
		{ "file A 64K\n", "1: usage: file NAME SIZE written|hole|unwritten" },
		{ "\nfile A 63 written", "2: '63' is not a multiple of 64 bytes" },
		{ "file A 4Q hole", "1: '4Q' is not a size (a number, then nothing, K or M)" },
		{ "file A 4K hole\nfile A 4K hole", "2: file A is declared twice" },
		{ "file A 4K wet", "1: 'wet' is not a state (written, hole, unwritten)" },
		{ "pin A", "1: no file 'A' was declared" },
		{ "file A 4K hole\nwrite A 0 4K", "2: file A is not pinned here" },
		{ "file A 4K hole\npin A\nwrite A 64 4K",
		  "3: the range ends past the 4096 bytes file A was declared with" },
		{ "file A 4K hole\npin A\nhold w A 0 64\nhold w A 0 64", "4: 'w' is held already" },
		{ "file A 4K hole\nland w", "2: 'w' is not held" },
		{ "file A 4K hole\nunpin A", "2: file A is not pinned" },
		{ "file A 4K hole\npunsh A 0 4K", "2: 'punsh' is neither a step nor a fault" },
		{ "file A 4K hole\npunch A", "2: usage: punch NAME OFF LEN" },
		{ "file A 4K hole\nread A 0 4K xray",
		  "2: 'xray' is not a view (mmap, buffered, direct, gup)" },
		{ "file A 4K hole\nhold-read r A 0 4K", "2: file A is not pinned here" },
		{ "file A 4K hole\npin A\nhold-read r A 0 8K",
		  "3: the range ends past the 4096 bytes file A was declared with" },
		{ "file A 2M hole\npin A\nhold-read r A 0 2M", "3: a held read of more than 1M" },
		{ "file A 8M hole\npin A\nhold w A 0 8M", "3: a channel's write of more than 4M" },
		{ "file A 8M hole\npin A\nwrite A 0 4M\nwrite A 64 4M\nwrite A 0 4097K",
		  "5: a channel's write of more than 4M" },
		{ "file A 4K hole\npin A\nhold w A 0 64\nhold-read w A 0 64",
		  "4: 'w' is held already" },
		{ "file A 4K hole\nrename A A", "2: rename needs two different files" },
		{ "file A 99999999999M hole", "1: '99999999999M': the largest offset is 1024M" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *err = parse(cases[i].text);

		ck_assert_msg(err && !strcmp(err, cases[i].err), "case %zu: %s", i,
			      err ? err : "accepted");
	}
}
END_TEST

START_TEST(history_lines)
{
	static struct pf_history h;
	char text[1024];
	ssize_t n;
	int fds[2];
	uint32_t op;

	ck_assert_int_eq(pipe(fds), 0);
	pf_history_open(&h, fds[1], NULL);
	op = pf_history_inv(&h, "write A %d 64", 0);
	pf_history_ret(&h, op, -EREMOTEIO, "remote access error");
	pf_history_ret(&h, pf_history_reserve(&h), 64, NULL);
	pf_history_flush(&h);
	n = read(fds[0], text, sizeof(text) - 1);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	ck_assert_ptr_nonnull(strstr(text, "pinfault-history 1\n"));
	ck_assert_ptr_nonnull(strstr(text, " write A 0 64\n"));
	ck_assert_ptr_nonnull(strstr(text, "err EREMOTEIO remote%20access%20error\n"));
	ck_assert_ptr_nonnull(strstr(text, "ret 2 "));
	ck_assert_ptr_nonnull(strstr(text, "ok 64\n"));
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static char *pipe_text(int fd, char *text, size_t bytes)
{
	ssize_t n = read(fd, text, bytes - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

START_TEST(history_redirected)
{
	static struct pf_history h;
	char text[1024];
	int before[2], after[2];

	ck_assert_int_eq(pipe(before), 0);
	ck_assert_int_eq(pipe2(after, O_NONBLOCK), 0);
	pf_history_open(&h, before[1], "h ");
	pf_history_line(&h, "note a");
	pf_history_redirect(&h, after[1], "7 ");
	ck_assert_ptr_nonnull(strstr(pipe_text(before[0], text, sizeof(text)), "h note%20a\n"));
	ck_assert_str_eq(pipe_text(after[0], text, sizeof(text)), "");
	pf_history_line(&h, "note b"); /* not flushed by anybody */
	ck_assert_str_eq(pipe_text(after[0], text, sizeof(text)), "7 note%20b\n");
	for (int i = 0; i < 2; i++) {
		close(before[i]);
		close(after[i]);
	}
}
END_TEST

START_TEST(history_after_an_earlier_boot)
{
	static struct pf_history h;
	char text[1024];
	int fds[2];
	unsigned long long t_ns;

	ck_assert_int_eq(pipe(fds), 0);
	pf_history_open(&h, fds[1], NULL);
	h.add_ns = 1000000000000000000ull;
	pf_history_ret(&h, pf_history_inv(&h, "look A 0 0 crash"), 0, NULL);
	pf_history_flush(&h);
	pipe_text(fds[0], text, sizeof(text));
	ck_assert_int_eq(sscanf(strstr(text, "inv 1 "), "inv 1 %llu", &t_ns), 1);
	ck_assert_uint_ge(t_ns, h.add_ns);
	ck_assert_int_eq(sscanf(strstr(text, "ret 1 "), "ret 1 %llu", &t_ns), 1);
	ck_assert_uint_ge(t_ns, h.add_ns);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(guard_stops_at_the_end_of_the_file)
{
	static uint8_t buf[3 * 4096];
	int fd = memfd_create("guard", 0);
	uint8_t *map;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, sizeof(buf)), 0);
	map = mmap(NULL, sizeof(buf), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	ck_assert_uint_eq(pf_guarded_copy(map, buf, sizeof(buf)), sizeof(buf));
	ck_assert_int_eq(ftruncate(fd, 2 * 4096), 0);
	ck_assert_uint_eq(pf_guarded_copy(map + 64, buf, sizeof(buf) - 64), 2 * 4096 - 64);
	ck_assert_uint_eq(pf_guarded_copy(buf, map, sizeof(buf)), 2 * 4096);
	munmap(map, sizeof(buf));
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("core");
	TCase *t = tcase_create("core");
	SRunner *r;
	int failed;

	tcase_add_test(t, cell_round_trip);
	tcase_add_test(t, cell_every_bit_counts);
	tcase_add_test(t, cell_zero_and_almost_zero);
	tcase_add_test(t, cell_differs_by_each_part_of_its_identity);
	tcase_add_test(t, cell_is_found_at_any_offset);
	tcase_add_test(t, cell_is_the_same_on_every_machine);
	tcase_add_loop_test(t, cell_runs_are_what_their_cells_are, 0, 2);
	tcase_add_test(t, cell_run_ends_at_every_flipped_bit);
	tcase_add_test(t, cell_bytes_depend_on_the_place);
	tcase_add_test(t, token_round_trip);
	tcase_add_test(t, token_bad_escapes);
	tcase_add_test(t, token_cut_off_at_whole_bytes);
	tcase_add_test(t, seq_parses_the_example);
	tcase_add_test(t, seq_holds_reads);
	tcase_add_test(t, seq_clone_makes_its_target);
	tcase_add_test(t, seq_says_line_and_reason);
	tcase_add_test(t, history_lines);
	tcase_add_test(t, history_redirected);
	tcase_add_test(t, history_after_an_earlier_boot);
	tcase_add_test(t, guard_stops_at_the_end_of_the_file);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
