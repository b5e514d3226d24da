// SPDX-License-Identifier: Apache-2.0
/*
 * group_read.c - what the control groups of a run have counted.
 *
 * Runs in the supervisor, while the command runs and after its end. A file that
 * cannot be read counts as 0: an older kernel lacks it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "group.h"

#define FILE_MAX 4096	/* of cpu.stat, memory.events, …: a dozen short lines */

static const struct sbx_group_leaf *leaf_of(const struct sbx_group *group,
					    uint32_t resource)
{
	size_t i;

	for (i = 0; i < group->count; i++)
		if (group->leaves[i].flags & resource)
			return &group->leaves[i];
	return NULL;
}

/* Return the length; the text ends with NUL. */
static size_t file_read(const struct sbx_group_leaf *leaf, const char *name,
			char text[FILE_MAX])
{
	ssize_t size = -1;
	int fd = openat(leaf->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0) {
		size = read(fd, text, FILE_MAX - 1);
		close(fd);
	}
	text[size > 0 ? size : 0] = '\0';
	return size > 0 ? (size_t)size : 0;
}

/* The number after `name` at the start of a line, "" the first of the file. */
static uint64_t number_of(const struct sbx_group_leaf *leaf, const char *file,
			  const char *name)
{
	const size_t size = strlen(name);
	char text[FILE_MAX];
	const char *line = text;

	if (!leaf || !file_read(leaf, file, text))
		return 0;
	while (line) {
		if (!size)
			return strtoull(line, NULL, 10);
		if (!strncmp(line, name, size) && line[size] == ' ')
			return strtoull(line + size, NULL, 10);
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return 0;
}

static int is_v2(const struct sbx_group_leaf *leaf)
{
	return leaf && leaf->flags & SBX_GROUP_V2;
}

static uint64_t cpu_ms(const struct sbx_group *group)
{
	const struct sbx_group_leaf *leaf = leaf_of(group, SBX_GROUP_CPU);

	if (is_v2(leaf))
		return number_of(leaf, "cpu.stat", "usage_usec") / 1000;
	return number_of(leaf, "cpuacct.usage", "") / 1000000;
}

static int has_oom_kill(const struct sbx_group *group)
{
	const struct sbx_group_leaf *leaf = leaf_of(group, SBX_GROUP_MEMORY);

	return number_of(leaf, is_v2(leaf) ? "memory.events" :
					     "memory.oom_control",
			 "oom_kill") > 0;
}

/**
 * sbx_group_check - whether a limit of the groups ends the run now
 * @cpu_limit_ms: SBX_SUPERVISE_GROUP_CPU_MS of the plan; 0: none
 * Context: supervisor, as often as it looks.
 */
enum sbx_cause sbx_group_check(const struct sbx_group *group,
			       uint64_t cpu_limit_ms)
{
	if (has_oom_kill(group))
		return SBX_CAUSE_MEMORY;
	if (cpu_limit_ms && leaf_of(group, SBX_GROUP_CPU) &&
	    cpu_ms(group) >= cpu_limit_ms)
		return SBX_CAUSE_CPU;
	return SBX_CAUSE_NONE;
}

/**
 * sbx_group_usage - note the limits that were hit, and the peak of memory
 * @ending: hits are added; a peak that the supervisor knows stays
 * Context: supervisor, after the end and before sbx_group_end().
 */
void sbx_group_usage(const struct sbx_group *group, struct sbx_ending *ending)
{
	const struct sbx_group_leaf *memory = leaf_of(group, SBX_GROUP_MEMORY);
	const char *peak = is_v2(memory) ? "memory.peak" :
					   "memory.max_usage_in_bytes";
	char text[FILE_MAX];

	if (has_oom_kill(group))
		ending->hits |= SBX_HIT_MEMORY;
	if (number_of(leaf_of(group, SBX_GROUP_PIDS), "pids.events", "max"))
		ending->hits |= SBX_HIT_PIDS;
	if (number_of(leaf_of(group, SBX_GROUP_QUOTA), "cpu.stat",
		      "nr_throttled"))
		ending->hits |= SBX_HIT_CPU_QUOTA;
	if (!(ending->flags & SBX_ENDING_PEAK_KNOWN) && memory &&
	    file_read(memory, peak, text)) {
		ending->memory_peak_bytes = strtoull(text, NULL, 10);
		ending->flags |= SBX_ENDING_PEAK_KNOWN;
	}
}
