/* SPDX-License-Identifier: GPL-2.0 */
/* guard.h - touching mappings of files that may have been truncated. */
#ifndef PF_GUARD_H
#define PF_GUARD_H

#include <stddef.h>

/*
 * Copy @len_bytes from @src to @dst page by page (of whichever side is a file mapping). Returns how
 * many bytes were copied before a SIGBUS stopped it; @len_bytes if none did. Any thread. Installs
 * the process's SIGBUS handler on first use; a SIGBUS elsewhere still kills.
 */
size_t pf_guarded_copy(void *dst, const void *src, size_t len_bytes);

#endif
