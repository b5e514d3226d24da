/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group.h - the control groups of one run.
 *
 * What sandbox/run/cgroup.py does, from the steps that it wrote into an entry:
 * a leaf named sandbox-RUNID in each hierarchy, made, limited, joined by pid 1
 * while it waits (SBX_INVOCATION_HOLD), read, removed. Both keep their journals
 * in one directory under one lock, so each collects what the other left.
 */
#ifndef SBX_GROUP_H
#define SBX_GROUP_H

#include "core.h"

#define SBX_GROUP_NAME 41	/* "sandbox-", a run's id of at most 32, NUL */

/**
 * struct sbx_group_leaf - the run's group in one hierarchy
 * @place: path of the group that it is made in
 * @flags: SBX_GROUP_*: what is held there
 * @place_fd: that group
 * @fd: the leaf, -1 until it is made
 * @procs_fd: its cgroup.procs, for joining
 */
struct sbx_group_leaf {
	const char *place;
	uint32_t flags;
	int place_fd;
	int fd;
	int procs_fd;
};

/**
 * struct sbx_group - all groups of a run; without leaves it does nothing
 * @folder_fd: the directory of journals
 * @name: of each leaf; the journal has the part after "sandbox-"
 */
struct sbx_group {
	struct sbx_group_leaf leaves[SBX_GROUP_LEAVES_MAX];
	size_t count;
	int folder_fd;
	char name[SBX_GROUP_NAME];
};

/* group.c */
int sbx_group_make(struct sbx_group *group, const struct sbx_view *entry,
		   const char *run_id);
int sbx_group_join(const struct sbx_group *group, pid_t pid);
void sbx_group_kill(const struct sbx_group *group);
int sbx_group_end(struct sbx_group *group);

/* group_read.c */
enum sbx_cause sbx_group_check(const struct sbx_group *group,
			       uint64_t cpu_limit_ms);
void sbx_group_usage(const struct sbx_group *group, struct sbx_ending *ending);

/* group_journal.c */
int sbx_group_journal_open(const char *path);
int sbx_group_journal_write(const struct sbx_group *group);
void sbx_group_journal_drop(const struct sbx_group *group);
void sbx_group_collect(int folder_fd);

#endif
