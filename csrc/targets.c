// SPDX-License-Identifier: Apache-2.0
/*
 * targets.c - paths inside the new root.
 *
 * Runs in the child. Every path is resolved by openat2(2) from the new
 * root's descriptor with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS: a
 * symbolic link in a root that we did not write cannot lead outside
 * (CVE-2021-30465), and no path is ever looked up twice as text.
 */
#include <string.h>
#include <sys/stat.h>

#include "core.h"
#include "sys.h"

#define RESOLVE_INSIDE (SBX_RESOLVE_IN_ROOT | SBX_RESOLVE_NO_MAGICLINKS)

/**
 * sbx_target_open - an O_PATH descriptor of @path inside @root
 * Context: child.
 * Return: 0, or -ENOENT and whatever else openat2(2) says.
 */
int sbx_target_open(int root, const char *path, int *fd)
{
	int opened;

	while (*path == '/')
		path++;
	opened = sys_openat2(root, *path ? path : ".", O_PATH, RESOLVE_INSIDE);
	if (opened < 0)
		return opened;
	*fd = opened;
	return 0;
}

static int directory_open(int root, const char *path)
{
	return sys_openat2(root, *path ? path : ".", O_PATH | O_DIRECTORY,
			   RESOLVE_INSIDE);
}

/* The directory at @prefix, whose last part is @name in @dir; made if absent. */
static int directory_make(int root, const char *prefix, int dir,
			  const char *name)
{
	int fd = directory_open(root, prefix);

	if (fd != -ENOENT)
		return fd;
	if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	return directory_open(root, prefix);
}

/**
 * sbx_parent_open - make and open the directories above @path
 * @parent: O_PATH descriptor of the last directory, for sbx_parent_close()
 * @name: the final component, inside @path
 * Context: child. Missing directories are made with mode 0755.
 * Return: 0 or -errno; -EINVAL for a path without a final component.
 */
int sbx_parent_open(int root, const char *path, int *parent, const char **name)
{
	char prefix[PATH_MAX];
	size_t size, at = 0;
	int dir = root;
	char *last;

	while (*path == '/')
		path++;
	size = strlen(path);
	while (size && path[size - 1] == '/')
		size--;
	if (!size || size >= sizeof(prefix))
		return size ? -ENAMETOOLONG : -EINVAL;
	memcpy(prefix, path, size);
	prefix[size] = '\0';
	last = strrchr(prefix, '/');
	if (last) {
		/* most often another operation has made them */
		*last = '\0';
		dir = directory_open(root, prefix);
		*last = '/';
		if (dir >= 0) {
			*parent = dir;
			*name = path + (last - prefix) + 1;
			return 0;
		}
		dir = root;
	}
	for (;;) {
		char *slash = strchr(prefix + at, '/');
		int next;

		if (!slash)
			break;
		*slash = '\0';
		next = directory_make(root, prefix, dir, prefix + at);
		sbx_parent_close(root, dir);
		if (next < 0)
			return next;
		dir = next;
		*slash = '/';
		at = (size_t)(slash - prefix) + 1;
	}
	*parent = dir;
	*name = path + at;
	return 0;
}

/**
 * sbx_parent_close - give back what sbx_parent_open() gave
 * Context: child. The root itself is nobody's to close.
 */
void sbx_parent_close(int root, int parent)
{
	if (parent != root)
		close(parent);
}

/**
 * sbx_target_make - open @path, made as a directory or an empty file if absent
 * @mode: of what is made
 * Context: child.
 * Return: 0 or -errno; -EROFS where the place is on a read-only mount.
 */
int sbx_target_make(int root, const char *path, int is_directory, mode_t mode,
		    int *fd)
{
	const char *name;
	int parent;
	int err = sbx_parent_open(root, path, &parent, &name);

	if (err == -EINVAL)	/* the root itself */
		return sbx_target_open(root, path, fd);
	if (err < 0)
		return err;
	/* what is made here is opened without looking for it again */
	if (!is_directory)
		*fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL |
			     O_NOFOLLOW | O_CLOEXEC, mode);
	else if (mkdirat(parent, name, mode) < 0)
		*fd = -1;
	else
		*fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW |
			     O_CLOEXEC);
	err = *fd < 0 ? -errno : 0;
	sbx_parent_close(root, parent);
	/* what is there already says so, whatever else would forbid it */
	return err == -EEXIST ? sbx_target_open(root, path, fd) : err;
}
