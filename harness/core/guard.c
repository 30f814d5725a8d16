// SPDX-License-Identifier: GPL-2.0
/* guard.c - one SIGBUS handler for the process, one way back for each thread; see guard.h. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "guard.h"

#define PAGE_BYTES 4096u

static __thread sigjmp_buf way_back;
static __thread volatile sig_atomic_t inside;
static pthread_once_t installed = PTHREAD_ONCE_INIT;

static void on_sigbus(int sig)
{
	if (inside)
		siglongjmp(way_back, 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void install(void)
{
	struct sigaction sa = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };

	sigaction(SIGBUS, &sa, NULL);
}

/* Bytes until either side reaches a page boundary: a fault then loses no byte that was copied. */
static size_t stretch(uintptr_t dst, uintptr_t src, size_t left)
{
	size_t n = PAGE_BYTES - dst % PAGE_BYTES;
	size_t m = PAGE_BYTES - src % PAGE_BYTES;

	n = n < m ? n : m;
	return n < left ? n : left;
}

size_t pf_guarded_copy(void *dst, const void *src, size_t len_bytes)
{
	volatile size_t at = 0;

	pthread_once(&installed, install);
	inside = 1;
	/* The handler blocks nothing (SA_NODEFER), so there is no mask to save: that is a system call. */
	if (!sigsetjmp(way_back, 0)) {
		while (at < len_bytes) {
			size_t n = stretch((uintptr_t)dst + at, (uintptr_t)src + at,
					   len_bytes - at);

			memcpy((uint8_t *)dst + at, (const uint8_t *)src + at, n);
			at += n;
		}
	}
	inside = 0;
	return at;
}
