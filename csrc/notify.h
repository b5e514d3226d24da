/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify.h - refused calls: the program's answer, the record, its text.
 */
#ifndef SBX_NOTIFY_H
#define SBX_NOTIFY_H

#include <stddef.h>
#include <stdint.h>

#include "core.h"

#ifdef __aarch64__
#define SBX_AUDIT_ARCH 0xc00000b7u	/* AUDIT_ARCH_AARCH64 */
#else
#define SBX_AUDIT_ARCH 0xc000003eu	/* AUDIT_ARCH_X86_64 */
#endif

struct seccomp_data;
struct sock_filter;

/* bpf_run.c */
int sbx_bpf_run(const struct sock_filter *code, size_t count,
		const struct seccomp_data *data, uint32_t *value);

/* notify_text.c */
void sbx_denial_text(const struct seccomp_data *data, pid_t pid,
		     int may_read, char text[SBX_DENIAL_TEXT]);
void sbx_denial_comm(pid_t pid, char comm[16]);

/* listener.c */
int sbx_listener_load(struct sbx_context *ctx,
		      const struct sock_filter *code,
		      const struct sbx_filter *filter);

#endif
