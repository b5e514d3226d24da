// SPDX-License-Identifier: Apache-2.0
/*
 * content.c - directories, files and links that the plan itself writes.
 *
 * Runs in the child as part of mounts.c. A file whose place is already taken
 * by one of the caller's is laid over it as a mount; nothing of the caller's
 * is ever written.
 */
#include <string.h>
#include <sys/stat.h>

#include "mounts.h"
#include "sys.h"

/**
 * sbx_directory_make - MKDIR: a directory, with those above it
 * Context: child.
 */
int sbx_directory_make(const struct sbx_operation *at)
{
	int fd = -1;
	int err = sbx_target_make(at->ctx->new_root, at->target, 1,
				  (mode_t)at->op->mode_octal, &fd);

	if (err)
		return sbx_mount_fail(at, SBX_PART_TARGET, err);
	close(fd);
	return 0;
}

static int content_write(const struct sbx_operation *at, int parent,
			 const char *name)
{
	int err;
	int fd = openat(parent, name,
			O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			(mode_t)at->op->mode_octal);

	if (fd < 0)
		return -errno;
	err = sbx_write_all(fd, sbx_string(at->view, at->op->data),
			    at->op->data_size);
	close(fd);
	return err;
}

/* The file exists already, on a mount: lay ours over it. */
static int file_cover(const struct sbx_operation *at)
{
	const struct sbx_mount op = {
		.attrs = SBX_MOUNT_ATTR_RDONLY | ATTRS_EMPTY,
	};
	int base = at->ctx->base;
	int tree;
	int err = content_write(at, base, BASE_FILE);

	if (err)
		return sbx_mount_fail(at, SBX_PART_CONTENT, err);
	tree = sys_open_tree(base, BASE_FILE, SBX_OPEN_TREE_CLONE);
	if (tree < 0)
		return sbx_mount_fail(at, SBX_PART_SOURCE, tree);
	err = sbx_tree_attrs(tree, &op);
	if (err) {
		close(tree);
		return sbx_mount_fail(at, SBX_PART_ATTRS, err);
	}
	err = sbx_attach(at, tree);
	/* only now: what has no name any more cannot be attached (ENOENT) */
	if (!err && unlinkat(base, BASE_FILE, 0) < 0)
		err = sbx_mount_fail(at, SBX_PART_CONTENT, -errno);
	return err;
}

/**
 * sbx_file_make - FILE: a file with the plan's content
 * Context: child.
 */
int sbx_file_make(const struct sbx_operation *at)
{
	const char *name;
	int parent;
	int err = sbx_parent_open(at->ctx->new_root, at->target, &parent,
				  &name);

	if (err)
		return sbx_mount_fail(at, SBX_PART_TARGET, err);
	err = content_write(at, parent, name);
	sbx_parent_close(at->ctx->new_root, parent);
	switch (err) {
	case -EEXIST:	/* bound from the caller's system: cover it */
		return file_cover(at);
	default:
		return err ? sbx_mount_fail(at, SBX_PART_CONTENT, err) : 0;
	}
}

static int link_is(int parent, const char *name, const char *wanted)
{
	char present[PATH_MAX];
	ssize_t size = readlinkat(parent, name, present, sizeof(present));

	return size >= 0 && (size_t)size == strlen(wanted) &&
	       !memcmp(present, wanted, (size_t)size);
}

/**
 * sbx_symlink_make - SYMLINK: a symbolic link, unless the same one is there
 * Context: child.
 */
int sbx_symlink_make(const struct sbx_operation *at)
{
	const char *wanted = sbx_string(at->view, at->op->data);
	const char *name;
	int parent;
	int err = sbx_parent_open(at->ctx->new_root, at->target, &parent,
				  &name);

	if (err)
		return sbx_mount_fail(at, SBX_PART_TARGET, err);
	if (symlinkat(wanted, parent, name) < 0) {
		err = -errno;
		if (err == -EEXIST && link_is(parent, name, wanted))
			err = 0;
	}
	sbx_parent_close(at->ctx->new_root, parent);
	return err ? sbx_mount_fail(at, SBX_PART_CONTENT, err) : 0;
}
