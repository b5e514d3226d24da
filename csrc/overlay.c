// SPDX-License-Identifier: Apache-2.0
/*
 * overlay.c - an overlay of a caller's tree, for writes that stay private.
 *
 * Runs in the child as part of mounts.c. Both sides are attached in the base
 * while the overlay is created, because overlayfs looks its layers up by
 * path, and detached right after: the overlay holds private mounts of them.
 */
#include <string.h>
#include <sys/stat.h>

#include "mounts.h"
#include "sys.h"

/* Attach @tree to a directory of the base; closes @tree. */
static int scratch_attach(int base, const char *name, int tree)
{
	int dir = -1;
	int err = 0;

	if (mkdirat(base, name, 0700) < 0)
		err = -errno;
	if (!err)
		err = sbx_target_open(base, name, &dir);
	if (!err) {
		err = sbx_attach_at(tree, dir);
		close(dir);
	}
	close(tree);
	return err;
}

static void scratch_detach(int base, const char *path, const char *name)
{
	/* never attached if an earlier step failed, and then the run ends */
	sys_umount2(path, SBX_MNT_DETACH);
	unlinkat(base, name, AT_REMOVEDIR);
}

/* The upper side: a tmpfs of its own, or a directory made for this run. */
static int overlay_upper_attach(const struct sbx_operation *at, mode_t mode)
{
	struct sbx_context *ctx = at->ctx;
	char path[PATH_MAX];
	int tree = -1;
	int dir, err;

	if (at->op->upper_slot) {
		err = sbx_path(ctx, at->view, at->op->upper_slot,
			       at->op->upper, path);
		if (err)
			return err;
		tree = sys_openat2(ctx->old_root, path + 1, O_PATH,
				   SBX_RESOLVE_IN_ROOT |
					   SBX_RESOLVE_NO_SYMLINKS);
		if (tree < 0)
			return tree;
		dir = tree;
		tree = sys_open_tree(dir, "",
				     AT_EMPTY_PATH | SBX_OPEN_TREE_CLONE);
		close(dir);
		if (tree < 0)
			return tree;
	} else {
		err = sbx_tmpfs_make(at->op->size_bytes, at->op->inodes, 0700,
				     SBX_MOUNT_ATTR_NOSUID |
					     SBX_MOUNT_ATTR_NODEV,
				     &tree);
		if (err)
			return err;
	}
	err = scratch_attach(ctx->base, BASE_UPPER, tree);
	if (err)
		return err;
	/* the merged root shows the mode of the upper directory */
	if (mkdirat(ctx->base, BASE_UPPER "/upper", mode) < 0 ||
	    mkdirat(ctx->base, BASE_UPPER "/work", 0700) < 0)
		return -errno;
	return 0;
}

static int overlay_create(const struct sbx_operation *at, int *fd)
{
	int fs = sys_fsopen("overlay");
	int err;

	if (fs < 0)
		return fs;
	err = sys_fsconfig(fs, SBX_FSCONFIG_SET_STRING, "lowerdir",
			   "/" BASE_LOWER);
	if (!err)
		err = sys_fsconfig(fs, SBX_FSCONFIG_SET_STRING, "upperdir",
				   "/" BASE_UPPER "/upper");
	if (!err)
		err = sys_fsconfig(fs, SBX_FSCONFIG_SET_STRING, "workdir",
				   "/" BASE_UPPER "/work");
	/* trusted.* attributes are beyond a user namespace; without user.* a
	 * removed and remade directory is EIO */
	if (!err)
		err = sys_fsconfig(fs, SBX_FSCONFIG_SET_FLAG, "userxattr",
				   NULL);
	if (err) {
		close(fs);
		return err;
	}
	return sbx_filesystem_mount(fs, (unsigned int)at->op->attrs, fd);
}

/**
 * sbx_overlay_make - a detached overlay: the source below, private writes above
 * Context: child.
 * Return: 0, or -errno with ctx->error.detail set.
 */
int sbx_overlay_make(const struct sbx_operation *at, int *overlay)
{
	int base = at->ctx->base;
	struct stat st;
	int lower = -1;
	int fd = -1;
	int err = sbx_operation_source(at, &lower);

	if (err)
		return err;
	if (fstatat(lower, "", &st, AT_EMPTY_PATH) < 0)
		err = -errno;
	else if (!S_ISDIR(st.st_mode))
		err = -ENOTDIR;
	if (err) {
		close(lower);
		return sbx_mount_fail(at, SBX_PART_SOURCE, err);
	}
	err = scratch_attach(base, BASE_LOWER, lower);
	if (!err)
		err = overlay_upper_attach(at, st.st_mode & 0777);
	if (!err)
		err = overlay_create(at, &fd);
	/* the overlay keeps private mounts of both sides */
	scratch_detach(base, "/" BASE_UPPER, BASE_UPPER);
	scratch_detach(base, "/" BASE_LOWER, BASE_LOWER);
	if (err)
		return sbx_mount_fail(at, SBX_PART_CREATE, err);
	*overlay = fd;
	return 0;
}

/**
 * sbx_overlay_mount - OVERLAY
 * Context: child.
 */
int sbx_overlay_mount(const struct sbx_operation *at)
{
	int fd = -1;
	int err = sbx_overlay_make(at, &fd);

	return err ? err : sbx_attach(at, fd);
}
