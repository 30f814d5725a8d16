// SPDX-License-Identifier: GPL-2.0
/* token.c - encoding, splitting and decoding of protocol lines; see token.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token.h"

size_t pf_token_encode(char *dst, size_t dst_bytes, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t at = 0;

	if (!dst_bytes)
		return 0;
	if (!*text && dst_bytes > 2) {
		memcpy(dst, "%-", 3);
		return 2;
	}
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p > 0x20 && *p != 0x7f && *p != '%') {
			if (at + 1 >= dst_bytes)
				break;
			dst[at++] = (char)*p;
			continue;
		}
		if (at + 3 >= dst_bytes)
			break;
		dst[at++] = '%';
		dst[at++] = hex[*p >> 4];
		dst[at++] = hex[*p & 15];
	}
	dst[at] = '\0';
	return at;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int pf_token_decode(char *token)
{
	char *out = token;

	if (!strcmp(token, "%-")) {
		*token = '\0';
		return 0;
	}
	for (const char *in = token; *in; in++) {
		int high, low;

		if (*in != '%') {
			*out++ = *in;
			continue;
		}
		high = hex_digit(in[1]);
		low = high < 0 ? -1 : hex_digit(in[2]);
		if (low < 0 || (!high && !low))
			return -EINVAL;
		*out++ = (char)(high << 4 | low);
		in += 2;
	}
	*out = '\0';
	return 0;
}

int pf_token_split(char *line, char **tokens, int max)
{
	size_t len = strlen(line);
	int nr = 0;

	while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	if (!len)
		return 0;
	for (char *p = line; p; ) {
		char *space = strchr(p, ' ');

		if (nr == max)
			return -E2BIG;
		tokens[nr++] = p;
		if (space)
			*space++ = '\0';
		p = space;
	}
	return nr;
}

int pf_token_u64(const char *token, uint64_t *out)
{
	char *end;

	if (*token < '0' || *token > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoull(token, &end, 10);
	return errno || *end ? -EINVAL : 0;
}
