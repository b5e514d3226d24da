// SPDX-License-Identifier: Apache-2.0
/*
 * prepare.c - a run before its child: what is asked for, and can it be done.
 *
 * Runs in the supervisor. Checks read and change nothing; then placeholders
 * and the relay are made, for sbx_supervise() to give back. Once the command
 * has what it needs, our copies of it go.
 */
#include <errno.h>
#include <string.h>

#include "supervise.h"
#include "sys.h"

#define GRACE_MS 2000		/* where the plan names none */

/**
 * sbx_run_refuse - say where nothing was started
 * Return: @err.
 */
int sbx_run_refuse(struct sbx_run *run, int err)
{
	memset(run->error, 0, sizeof(*run->error));
	run->error->stage = SBX_STAGE_CHECK;
	run->error->op = -1;
	run->error->err = -err;
	return err;
}

static int64_t milliseconds(uint64_t value)
{
	return value < INT64_MAX / 2000 ? (int64_t)value * 1000 : SBX_NEVER / 2;
}

/* Return: 0; -EOPNOTSUPP where a limit needs a control group, and neither the
 * entry says how one is made nor the caller has one. */
static int limits_read(struct sbx_run *run, const struct sbx_view *plan)
{
	size_t count, i;
	const struct sbx_supervise *limits =
		sbx_records(plan, SBX_SECTION_SUPERVISE, &count);

	run->output_bytes = UINT64_MAX;
	run->wall_us = SBX_NEVER;
	run->grace_us = milliseconds(GRACE_MS);
	run->look_at_us = SBX_NEVER;
	for (i = 0; i < count; i++) {
		switch (limits[i].key) {
		case SBX_SUPERVISE_WALL_MS:
			run->wall_us = milliseconds(limits[i].value);
			break;
		case SBX_SUPERVISE_TERM_GRACE_MS:
			run->grace_us = milliseconds(limits[i].value);
			break;
		case SBX_SUPERVISE_OUTPUT_BYTES:
			run->output_bytes = limits[i].value;
			break;
		case SBX_SUPERVISE_MEMORY_BYTES:
			run->memory_bytes = limits[i].value;
			run->look_at_us = 0;
			run->ending->flags |= SBX_ENDING_PEAK_KNOWN;
			break;
		default:
			/* under HOLD the caller joins the child to its own */
			if (!(run->core->flags & SBX_INVOCATION_HOLD) &&
			    !sbx_run_has_groups(run->job))
				return -EOPNOTSUPP;
			break;
		}
	}
	return 0;
}

/**
 * sbx_run_check - read the job; refuse what this supervisor cannot do
 * Context: before anything happens.
 * Return: 0 or -errno.
 */
int sbx_run_check(struct sbx_run *run)
{
	const struct sbx_job *job = run->job;
	const struct sbx_plan_core *core;
	struct sbx_view view;
	size_t count;
	int err;

	err = sbx_invocation_check(job->invocation, job->invocation_size,
				   run->error);
	if (!err)
		err = sbx_view_open(&view, job->invocation,
				    job->invocation_size, SBX_INVOCATION_MAGIC,
				    SBX_INVOCATION_MAX, run->error);
	if (err)
		return err;
	run->core = sbx_records(&view, SBX_SECTION_INVOCATION, &count);
	err = sbx_view_open(&view, job->plan, job->plan_size, SBX_PLAN_MAGIC,
			    SBX_PLAN_MAX, run->error);
	if (err)
		return err;
	core = sbx_records(&view, SBX_SECTION_CORE, &count);
	if (!core)
		return sbx_run_refuse(run, -EINVAL);
	run->has_namespace = (core->namespaces & SBX_CLONE_NEWPID) != 0;
	if (run->core->flags &
	    (SBX_INVOCATION_TERMINAL | SBX_INVOCATION_BARRIER))
		return sbx_run_refuse(run, -EOPNOTSUPP);
	if (job->channel < 0 && (!run->has_namespace ||
				 run->core->flags & SBX_INVOCATION_HOLD))
		return sbx_run_refuse(run, -EOPNOTSUPP);
	err = limits_read(run, &view);
	return err ? sbx_run_refuse(run, err) : 0;
}

/**
 * sbx_run_finalize - placeholders, groups, relay: what changes the invocation
 * Return: 0 or -errno.
 */
int sbx_run_finalize(struct sbx_run *run)
{
	const struct sbx_job *job = run->job;
	struct sbx_fd_map *fds;
	size_t count;
	int err;

	err = sbx_placeholders_open(&run->placeholders, job->placeholders);
	if (err)
		return err;
	if (!run->placeholders.count && run->output_bytes == UINT64_MAX &&
	    !sbx_run_has_groups(job) && !(job->flags & SBX_JOB_FACTS))
		return 0;
	run->final = sbx_final_copy(job->invocation, job->invocation_size);
	if (!run->final)
		return -ENOMEM;
	sbx_final_drop(run->final, job->placeholders, &run->placeholders);
	if (sbx_run_has_groups(job))
		err = sbx_run_groups_make(run);
	if (err)
		return err;
	if (job->flags & SBX_JOB_FACTS)
		err = sbx_final_hold(run->final);
	if (err)
		return err;
	if (run->output_bytes == UINT64_MAX)
		return 0;
	fds = sbx_final_fds(run->final, &count);
	return sbx_relay_open(&run->relay, run->output_bytes, fds, count);
}

/**
 * sbx_run_release - let go of the command's descriptors
 *
 * They are its own from now on, so that their other ends see it close them.
 * Numbers 0-2 stay taken.
 * Context: the command is executed.
 */
void sbx_run_release(struct sbx_run *run)
{
	struct sbx_view view;
	struct sbx_error error;
	const struct sbx_fd_map *fds;
	size_t count, i;
	int null;

	if (sbx_view_open(&view, run->job->invocation,
			  run->job->invocation_size, SBX_INVOCATION_MAGIC,
			  SBX_INVOCATION_MAX, &error) < 0)
		return;
	fds = sbx_records(&view, SBX_SECTION_FDS, &count);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (i = 0; i < count; i++) {
		int fd = fds[i].source;

		if (fd == 2 && run->job->flags & SBX_JOB_KEEP_STDERR)
			continue;
		if (fd > 2)
			close(fd);
		else if (fd >= 0 && null >= 0)
			dup2(null, fd);
	}
	if (null > 2)
		close(null);
}
