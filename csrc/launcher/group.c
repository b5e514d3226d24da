// SPDX-License-Identifier: Apache-2.0
/*
 * group.c - making, joining and removing the control groups of a run.
 *
 * Runs in the supervisor. Nothing here changes an existing group: leaves are
 * made below groups that were found to be the caller's (host/cgroup.py), and
 * removed.
 *
 * Must not: go on after a limit could not be set, or a child could not be
 * moved. The caller hands over to Python, which fails with the right words.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "group.h"
#include "supervise.h"

#define REMOVE_MS 2000	/* a killed process leaves its group a moment later */
#define PAUSE_MS 5

static int is_run_id(const char *text)
{
	size_t size = strspn(text, "0123456789abcdef");

	return size && size < SBX_GROUP_NAME - sizeof("sandbox-") + 1 &&
	       !text[size];
}

/* Older kernels lack some files, and what those do is also done otherwise. */
static int is_tolerated(uint32_t flags, int err)
{
	if (flags & SBX_GROUP_WITHIN && err == -EINVAL)
		return 1;
	return flags & SBX_GROUP_OPTIONAL &&
	       (err == -ENOENT || err == -EACCES || err == -EPERM ||
		err == -EOPNOTSUPP);
}

static int leaf_make(struct sbx_group_leaf *leaf, const char *name)
{
	const int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;

	leaf->place_fd = open(leaf->place, flags);
	if (leaf->place_fd < 0)
		return -errno;
	if (mkdirat(leaf->place_fd, name, 0755) < 0)
		return -errno;
	leaf->fd = openat(leaf->place_fd, name, flags | O_NOFOLLOW);
	if (leaf->fd < 0)
		return -errno;
	leaf->procs_fd = openat(leaf->fd, "cgroup.procs",
				O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	return leaf->procs_fd < 0 ? -errno : 0;
}

static int leaves_make(struct sbx_group *group, const struct sbx_view *entry,
		       const struct sbx_group_step *steps, size_t count)
{
	size_t leaf = 0, i;

	for (i = 1; i < count; i++) {
		int err;

		if (steps[i].kind == SBX_GROUP_LEAF)
			err = leaf_make(&group->leaves[leaf++], group->name);
		else
			err = sbx_write_file(group->leaves[leaf - 1].fd,
					     sbx_string(entry, steps[i].text),
					     sbx_string(entry, steps[i].value));
		if (err < 0 && (steps[i].kind == SBX_GROUP_LEAF ||
				!is_tolerated(steps[i].flags, err)))
			return err;
	}
	return 0;
}

/* The names first: whoever collects after a crash must know each leaf. */
static int journal_begin(struct sbx_group *group, const char *folder)
{
	int lock, err;

	group->folder_fd = sbx_group_journal_open(folder);
	if (group->folder_fd < 0)
		return group->folder_fd;
	lock = sbx_journal_lock(group->folder_fd);
	if (lock < 0)
		return lock;
	sbx_group_collect(group->folder_fd);
	err = sbx_group_journal_write(group);
	close(lock);
	return err;
}

/**
 * sbx_group_make - make and limit the groups that the entry's steps name
 * @entry: an opened entry, or NULL; must outlive @group
 * @run_id: hexadecimal, at most 32
 * Context: supervisor. What killed supervisors left is removed on the way.
 * Return: 0, or a negative errno with nothing left over.
 */
int sbx_group_make(struct sbx_group *group, const struct sbx_view *entry,
		   const char *run_id)
{
	const struct sbx_group_step *steps = NULL;
	struct sbx_error error;
	size_t count = 0, i;
	int err;

	memset(group, 0, sizeof(*group));
	group->folder_fd = -1;
	if (entry)
		steps = sbx_records(entry, SBX_SECTION_ENTRY_GROUPS, &count);
	if (!count)
		return 0;
	if (sbx_check_groups(entry, &error) < 0 || !is_run_id(run_id))
		return -EINVAL;
	strcpy(group->name, "sandbox-");
	strcat(group->name, run_id);
	for (i = 1; i < count; i++) {
		if (steps[i].kind != SBX_GROUP_LEAF)
			continue;
		group->leaves[group->count++] = (struct sbx_group_leaf){
			.place = sbx_string(entry, steps[i].text),
			.flags = steps[i].flags,
			.place_fd = -1,
			.fd = -1,
			.procs_fd = -1,
		};
	}
	err = journal_begin(group, sbx_string(entry, steps[0].text));
	if (!err)
		err = leaves_make(group, entry, steps, count);
	if (err < 0)
		sbx_group_end(group);
	return err;
}

/**
 * sbx_group_join - move the waiting child into every leaf
 * Context: supervisor, between sbx_spawn() and 'M'.
 * Return: 0, or a negative errno: stage MAPS, detail SBX_MAPS_GROUP_JOIN.
 */
int sbx_group_join(const struct sbx_group *group, pid_t pid)
{
	char text[24];
	size_t size = sbx_format_u64((uint64_t)pid, 10, text);
	size_t i;

	for (i = 0; i < group->count; i++) {
		const struct sbx_group_leaf *leaf = &group->leaves[i];
		int err = sbx_write_all(leaf->procs_fd, text, size);

		/* e.g. a real-time process cannot be moved: no limit is lost */
		if (err < 0 && !(leaf->flags & SBX_GROUP_SHARE_ONLY))
			return err;
	}
	return 0;
}

/**
 * sbx_group_kill - kill all at once, where the kernel can (v2, Linux 5.14)
 *
 * Elsewhere the end of pid 1 does it, which is called for in any case.
 */
void sbx_group_kill(const struct sbx_group *group)
{
	size_t i;

	for (i = 0; i < group->count; i++)
		if (group->leaves[i].flags & SBX_GROUP_V2)
			sbx_write_file(group->leaves[i].fd, "cgroup.kill", "1");
}

static int is_removed(struct sbx_group *group)
{
	size_t i;

	for (i = 0; i < group->count; i++) {
		struct sbx_group_leaf *leaf = &group->leaves[i];

		if (leaf->place_fd < 0)
			continue;
		if (unlinkat(leaf->place_fd, group->name, AT_REMOVEDIR) < 0 &&
		    errno != ENOENT)
			return 0;
		close(leaf->place_fd);
		leaf->place_fd = -1;
	}
	return 1;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/**
 * sbx_group_end - remove the groups, and the journal with them
 * Context: supervisor, when all processes of the run are gone or killed.
 * Return: 0, or -EBUSY: a leaf is left to the next run, named in the journal.
 */
int sbx_group_end(struct sbx_group *group)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000 };
	const int64_t deadline_ms = now_ms() + REMOVE_MS;
	int is_gone;
	size_t i;

	for (i = 0; i < group->count; i++) {
		if (group->leaves[i].procs_fd >= 0)
			close(group->leaves[i].procs_fd);
		if (group->leaves[i].fd >= 0)
			close(group->leaves[i].fd);
		group->leaves[i].procs_fd = group->leaves[i].fd = -1;
	}
	while (!(is_gone = is_removed(group)) && now_ms() < deadline_ms)
		nanosleep(&pause, NULL);
	for (i = 0; i < group->count; i++)
		if (group->leaves[i].place_fd >= 0)
			close(group->leaves[i].place_fd);
	if (is_gone && group->folder_fd >= 0)
		sbx_group_journal_drop(group);
	if (group->folder_fd >= 0)
		close(group->folder_fd);
	group->folder_fd = -1;
	group->count = 0;
	return is_gone ? 0 : -EBUSY;
}
