// SPDX-License-Identifier: Apache-2.0
/*
 * run_group.c - the control groups of a run, at their places in its life.
 *
 * Runs in the supervisor. A caller that holds the child itself (HOLD) may do
 * so beside: the child goes on when both have let it.
 */
#include <errno.h>
#include <unistd.h>

#include "supervise.h"

/* The limits that only the supervisor keeps: processor time of the group. */
static uint64_t cpu_limit_ms(const struct sbx_job *job)
{
	const struct sbx_supervise *limits;
	struct sbx_error error;
	struct sbx_view plan;
	size_t count, i;

	if (sbx_view_open(&plan, job->plan, job->plan_size, SBX_PLAN_MAGIC,
			  SBX_PLAN_MAX, &error) < 0)
		return 0;	/* refused by sbx_run_check() */
	limits = sbx_records(&plan, SBX_SECTION_SUPERVISE, &count);
	for (i = 0; i < count; i++)
		if (limits[i].key == SBX_SUPERVISE_GROUP_CPU_MS)
			return limits[i].value;
	return 0;
}

/**
 * sbx_run_has_groups - whether the entry says how groups are made
 */
int sbx_run_has_groups(const struct sbx_job *job)
{
	size_t count = 0;

	if (job->placeholders)
		sbx_records(job->placeholders, SBX_SECTION_ENTRY_GROUPS,
			    &count);
	return count > 0;
}

/**
 * sbx_run_groups_make - make them, and have the child wait for its move
 * Context: after run->final is a copy of the invocation.
 * Return: 0 or -errno.
 */
int sbx_run_groups_make(struct sbx_run *run)
{
	char run_id[17];
	int err;

	sbx_run_id_make(run_id);
	err = sbx_group_make(&run->group, run->job->placeholders, run_id);
	if (err < 0)
		return err;
	err = sbx_final_hold(run->final);
	if (err)
		return err;
	run->cpu_ms = cpu_limit_ms(run->job);
	run->look_at_us = 0;
	return 0;
}

/* The child makes its network namespace meanwhile. */
static int facts_hold(const struct sbx_job *job)
{
	const struct sbx_fact *facts;
	size_t count;

	if (!(job->flags & SBX_JOB_FACTS))
		return 1;
	facts = sbx_records(job->placeholders, SBX_SECTION_ENTRY_FACTS, &count);
	return sbx_facts_hold(facts, count, job->placeholders->base) == count;
}

/**
 * sbx_run_groups_join - move the child, which waits, and let it go on
 * Context: right after sbx_spawn().
 * Return: 0, or -errno with *run->error, and the child still waits.
 */
int sbx_run_groups_join(struct sbx_run *run)
{
	int err = 0;

	if (!run->group.count && !(run->job->flags & SBX_JOB_FACTS))
		return 0;
	if (!facts_hold(run->job))
		return sbx_run_refuse(run, -ESTALE);
	if (run->group.count)
		err = sbx_group_join(&run->group, run->child.pid);
	if (err < 0) {
		*run->error = (struct sbx_error){
			.stage = SBX_STAGE_MAPS,
			.op = -1,
			.err = -err,
			.detail = SBX_MAPS_GROUP_JOIN,
		};
		return err;
	}
	/* a caller that holds it as well has the last word: SETTLED */
	if (!(run->core->flags & SBX_INVOCATION_HOLD))
		(void)!write(run->child.control_fd, "M", 1);
	return 0;
}

/**
 * sbx_run_look - see what the run has used up
 * Context: as often as run->look_at_us says.
 * Return: the limit that ends it, SBX_CAUSE_NONE for none.
 */
enum sbx_cause sbx_run_look(struct sbx_run *run)
{
	uint64_t used;

	if (run->memory_bytes) {
		used = sbx_tree_memory(run->child.pid, run->memory_bytes);
		if (used > run->ending->memory_peak_bytes)
			run->ending->memory_peak_bytes = used;
		if (used > run->memory_bytes)
			return SBX_CAUSE_MEMORY;
	}
	return sbx_group_check(&run->group, run->cpu_ms);
}
