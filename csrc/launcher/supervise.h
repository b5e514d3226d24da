/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervise.h - the supervisor: what a job is, and the parts that serve it.
 */
#ifndef SBX_SUPERVISE_H
#define SBX_SUPERVISE_H

#include "core.h"

#define SBX_JOB_KEEP_STDERR 0x1	/* else the command's are let go of at its start */
#define SBX_JOB_DETACHED 0x2	/* a session of its own: only TERM is passed on */

/**
 * struct sbx_job - one run
 * @plan: the walls; the limits are in its SUPERVISE section
 * @invocation: what runs
 * @flags: SBX_JOB_*
 * @channel: SOCK_SEQPACKET to the caller (abi_job.h), or -1
 * @placeholders: an opened entry with the PLACEHOLDERS section, whose strings
 *	were checked; or NULL
 */
struct sbx_job {
	const void *plan;
	size_t plan_size;
	const void *invocation;
	size_t invocation_size;
	uint32_t flags;
	int channel;
	const struct sbx_view *placeholders;
};

/* supervise.c */
int sbx_supervise(const struct sbx_job *job, struct sbx_ending *ending,
		  struct sbx_error *error);

#endif
