// SPDX-License-Identifier: Apache-2.0
/*
 * entry.c - checking an entry of the plan cache.
 *
 * An entry is read from a file that its owner could have changed and a crash
 * could have cut, so all of it is judged before any of it is used. Whether it
 * may be used is not said here: that takes its key, its ids and its facts.
 */
#include <errno.h>
#include <string.h>

#include "core.h"

static int core_check(const struct sbx_view *view, struct sbx_error *error)
{
	const struct sbx_entry_core *core;
	const unsigned char *at;
	size_t count;

	core = sbx_records(view, SBX_SECTION_ENTRY_CORE, &count);
	if (count != 1 || core->flags & ~SBX_ENTRY_FLAGS_ALL ||
	    core->reserved || !core->version || !core->policy ||
	    sbx_check_string(view, core->version, NAME_MAX) < 0 ||
	    sbx_check_string(view, core->policy, PATH_MAX) < 0)
		return sbx_check_fail(error, SBX_SECTION_ENTRY_CORE, EINVAL);
	at = (const unsigned char *)core;
	if (core->checksum != sbx_entry_checksum(view->base, view->size,
						 (size_t)(at - view->base)))
		return sbx_check_fail(error, SBX_SECTION_ENTRY_CORE, EBADMSG);
	return 0;
}

static int fact_check(const struct sbx_view *view, const struct sbx_fact *fact)
{
	if (fact->kind < SBX_FACT_ABSENT || fact->kind > SBX_FACT_CGROUP_MOUNTS)
		return -EINVAL;
	if (fact->kind == SBX_FACT_PROBE)
		return fact->path || !fact->value[0] ||
				       fact->value[0] >= SBX_PROBE_COUNT
			       ? -EINVAL
			       : 0;
	if (!fact->path || sbx_check_string(view, fact->path, PATH_MAX - 1) < 0)
		return -EINVAL;
	return sbx_string(view, fact->path)[0] == '/' ? 0 : -EINVAL;
}

static int facts_check(const struct sbx_view *view, struct sbx_error *error)
{
	const struct sbx_fact *facts;
	size_t count, i;

	facts = sbx_records(view, SBX_SECTION_ENTRY_FACTS, &count);
	if (!count || count > SBX_FACTS_MAX)
		return sbx_check_fail(error, SBX_SECTION_ENTRY_FACTS, EINVAL);
	for (i = 0; i < count; i++) {
		error->op = (int32_t)i;
		if (fact_check(view, &facts[i]) < 0)
			return sbx_check_fail(error, SBX_SECTION_ENTRY_FACTS,
					      EINVAL);
	}
	error->op = -1;
	return 0;
}

/* Notes are single offsets, placeholders pairs of them. */
static int offsets_check(const struct sbx_view *view, uint32_t kind,
			 size_t each, struct sbx_error *error)
{
	const uint32_t *offsets;
	size_t count, i;

	offsets = sbx_records(view, kind, &count);
	for (i = 0; i < count * each; i++) {
		error->op = (int32_t)(i / each);
		if (!offsets[i] ||
		    sbx_check_string(view, offsets[i], SBX_ENTRY_MAX) < 0)
			return sbx_check_fail(error, kind, EINVAL);
	}
	error->op = -1;
	return 0;
}

static int step_check(const struct sbx_view *view,
		      const struct sbx_group_step *step, size_t index)
{
	static const uint32_t flags[] = {
		[SBX_GROUP_FOLDER] = 0,
		[SBX_GROUP_LEAF] = SBX_GROUP_LEAF_FLAGS_ALL,
		[SBX_GROUP_WRITE] = SBX_GROUP_WRITE_FLAGS_ALL,
	};
	int is_write = step->kind == SBX_GROUP_WRITE;
	const char *text;

	if (step->kind < SBX_GROUP_FOLDER || step->kind > SBX_GROUP_WRITE ||
	    (step->kind == SBX_GROUP_FOLDER) != !index ||
	    step->flags & ~flags[step->kind] || !step->text ||
	    (step->value != 0) != is_write)
		return -EINVAL;
	if (sbx_check_string(view, step->text, PATH_MAX - 1) < 0 ||
	    sbx_check_string(view, step->value, NAME_MAX) < 0)
		return -EINVAL;
	text = sbx_string(view, step->text);
	if (is_write)
		return strchr(text, '/') || !*text ? -EINVAL : 0;
	return *text == '/' ? 0 : -EINVAL;
}

/**
 * sbx_check_groups - the GROUPS section: the folder, then leaves with writes
 * Context: pure.
 */
int sbx_check_groups(const struct sbx_view *view, struct sbx_error *error)
{
	const struct sbx_group_step *steps;
	size_t count, leaves = 0, i;

	steps = sbx_records(view, SBX_SECTION_ENTRY_GROUPS, &count);
	for (i = 0; i < count; i++) {
		error->op = (int32_t)i;
		leaves += steps[i].kind == SBX_GROUP_LEAF;
		if (step_check(view, &steps[i], i) < 0 ||
		    leaves > SBX_GROUP_LEAVES_MAX || (i && !leaves))
			return sbx_check_fail(error, SBX_SECTION_ENTRY_GROUPS,
					      EINVAL);
	}
	error->op = -1;
	return 0;
}

static int inner_check(const struct sbx_view *view, uint32_t kind,
		       int (*check)(const void *, size_t, struct sbx_error *),
		       struct sbx_error *error)
{
	struct sbx_error inner;
	const void *blob;
	size_t size;

	blob = sbx_records(view, kind, &size);
	if (!size)
		return sbx_check_fail(error, kind, EINVAL);
	if (check(blob, size, &inner) < 0)
		return sbx_check_fail(error, kind, inner.err);
	return 0;
}

uint64_t sbx_entry_checksum(const void *entry, size_t size, size_t core)
{
	const unsigned char *base = entry;
	size_t after = core + sizeof(uint64_t);	/* the checksum itself is out */
	uint64_t sum;

	sum = sbx_checksum(base, core, SBX_ENTRY_MAGIC);
	return sbx_checksum(base + after, size - after, sum);
}

int sbx_entry_check(const void *entry, size_t size, struct sbx_error *error)
{
	const uint64_t allowed = 1ull << SBX_SECTION_STRINGS |
				 1ull << SBX_SECTION_ENTRY_CORE |
				 1ull << SBX_SECTION_ENTRY_KEY |
				 1ull << SBX_SECTION_ENTRY_FACTS |
				 1ull << SBX_SECTION_ENTRY_PLAN |
				 1ull << SBX_SECTION_ENTRY_INVOCATION |
				 1ull << SBX_SECTION_ENTRY_NOTES |
				 1ull << SBX_SECTION_ENTRY_PLACEHOLDERS |
				 1ull << SBX_SECTION_ENTRY_GROUPS;
	struct sbx_view view;
	size_t count;
	int err;

	err = sbx_view_open(&view, entry, size, SBX_ENTRY_MAGIC, SBX_ENTRY_MAX,
			    error);
	if (!err)
		err = sbx_check_sections(&view, allowed, error);
	if (!err)
		err = core_check(&view, error);
	if (!err && !sbx_records(&view, SBX_SECTION_ENTRY_KEY, &count))
		err = sbx_check_fail(error, SBX_SECTION_ENTRY_KEY, EINVAL);
	if (!err)
		err = facts_check(&view, error);
	if (!err)
		err = offsets_check(&view, SBX_SECTION_ENTRY_NOTES, 1, error);
	if (!err)
		err = offsets_check(&view, SBX_SECTION_ENTRY_PLACEHOLDERS, 2,
				    error);
	if (!err)
		err = sbx_check_groups(&view, error);
	if (!err)
		err = inner_check(&view, SBX_SECTION_ENTRY_PLAN, sbx_plan_check,
				  error);
	if (!err)
		err = inner_check(&view, SBX_SECTION_ENTRY_INVOCATION,
				  sbx_check_template, error);
	return err;
}
