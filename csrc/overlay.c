// SPDX-License-Identifier: Apache-2.0
/*
 * overlay.c - an overlay of a caller's tree, for writes that stay private.
 *
 * Runs in the child as part of mounts.c. Both sides are attached in the base
 * while the overlay is created, because overlayfs looks its layers up by
 * path. They go with the base, at the pivot: the overlay holds private mounts
 * of them, and each umount(2) of its own would wait for a grace period.
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

/*
 * Names of the two sides in the base, one pair for each overlay, and paths
 * from the root that the base is.
 */
struct scratch {
	char lower[NAME_MAX];
	char upper[NAME_MAX];
	char upper_layer[NAME_MAX];
	char work[NAME_MAX];
};

static void scratch_name(char out[NAME_MAX], const char *head, size_t index,
			 const char *tail)
{
	size_t size = strlen(head);

	memcpy(out, head, size);
	size += sbx_format_u64(index, 10, out + size);
	memcpy(out + size, tail, strlen(tail) + 1);
}

static void scratch_names(struct scratch *names, size_t index)
{
	scratch_name(names->lower, "/" BASE_LOWER, index, "");
	scratch_name(names->upper, "/" BASE_UPPER, index, "");
	scratch_name(names->upper_layer, "/" BASE_UPPER, index, "/upper");
	scratch_name(names->work, "/" BASE_UPPER, index, "/work");
}

/* The upper side: a tmpfs of its own, or a directory made for this run. */
static int overlay_upper_attach(const struct sbx_operation *at,
				const struct scratch *names, mode_t mode)
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
	err = scratch_attach(ctx->base, names->upper + 1, tree);
	if (err)
		return err;
	/* the merged root shows the mode of the upper directory */
	if (mkdirat(ctx->base, names->upper_layer + 1, mode) < 0 ||
	    mkdirat(ctx->base, names->work + 1, 0700) < 0)
		return -errno;
	return 0;
}

static int overlay_create(const struct sbx_operation *at,
			  const struct scratch *names, int *fd)
{
	int fs = sys_fsopen("overlay");
	int err;

	if (fs < 0)
		return fs;
	err = sys_fsconfig(fs, SBX_FSCONFIG_SET_STRING, "lowerdir",
			   names->lower);
	if (!err)
		err = sys_fsconfig(fs, SBX_FSCONFIG_SET_STRING, "upperdir",
				   names->upper_layer);
	if (!err)
		err = sys_fsconfig(fs, SBX_FSCONFIG_SET_STRING, "workdir",
				   names->work);
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
	struct scratch names;
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
	scratch_names(&names, at->index);
	err = scratch_attach(at->ctx->base, names.lower + 1, lower);
	if (!err)
		err = overlay_upper_attach(at, &names, st.st_mode & 0777);
	if (!err)
		err = overlay_create(at, &names, &fd);
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
