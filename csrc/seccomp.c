// SPDX-License-Identifier: Apache-2.0
/*
 * seccomp.c - load the filter, and prove that it is live.
 *
 * Runs in the command's process, last before exec, so that no policy has to
 * allow what set-up needs.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include "notify.h"
#include "sys.h"

int sbx_seccomp_action_avail(uint32_t action)
{
	return (int)sys_result(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL,
				       0, &action));
}

/**
 * sbx_stage_seccomp - install every program of the plan
 *
 * Afterwards one harmless call that the filter answers, with an errno that
 * the kernel itself would not give for it, shows that the filter is in force.
 * Context: command; no_new_privs is set.
 * Return: 0; -EPROTO if the proof came back otherwise; else -errno.
 */
int sbx_stage_seccomp(struct sbx_context *ctx)
{
	size_t count, code_count, i;
	const struct sock_filter *code;
	const struct sbx_filter *filters;
	long proof;
	int err;

	code = sbx_records(&ctx->plan, SBX_SECTION_CODE, &code_count);
	filters = sbx_records(&ctx->plan, SBX_SECTION_FILTERS, &count);
	if (!count)
		return 0;
	for (i = 0; i < count; i++) {
		struct sock_fprog program = {
			.len = (unsigned short)filters[i].count,
			.filter = (struct sock_filter *)&code[filters[i].first],
		};

		ctx->error.op = (int32_t)i;
		if (filters[i].flags & SBX_FILTER_NOTIFY) {
			err = sbx_listener_load(ctx, program.filter,
						&filters[i]);
			if (err)
				return err;
			continue;
		}
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0,
			    &program) < 0)
			return -errno;
	}
	ctx->error.op = -1;
	if (!ctx->core->proof_errno)
		return 0;
	proof = syscall(ctx->core->proof_nr, -1L, 0L, 0L, 0L, 0L, 0L);
	if (proof != -1 || errno != ctx->core->proof_errno)
		return -EPROTO;
	return 0;
}
