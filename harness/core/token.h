/* SPDX-License-Identifier: GPL-2.0 */
/*
 * token.h - the lines of the agent's protocol and of histories: tokens separated by one space, with
 * bytes <= 0x20, 0x7f and '%' written %XX, and the empty token written "%-".
 */
#ifndef PF_TOKEN_H
#define PF_TOKEN_H

#include <stddef.h>
#include <stdint.h>

/*
 * Encode @text (NUL-terminated) into @dst. Returns the length without the NUL; what does not fit in
 * @dst_bytes is cut off at a whole encoded byte, and the result is always NUL-terminated.
 */
size_t pf_token_encode(char *dst, size_t dst_bytes, const char *text);

/* Decode @token in place. 0, or -EINVAL for a bad escape or an encoded NUL. */
int pf_token_decode(char *token);

/*
 * Split @line in place at single spaces into at most @max pointers, without decoding. Returns their
 * number, or -E2BIG. A trailing newline is removed.
 */
int pf_token_split(char *line, char **tokens, int max);

/* Read all of @token as a decimal number. 0 or -EINVAL. */
int pf_token_u64(const char *token, uint64_t *out);

#endif
