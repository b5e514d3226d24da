// SPDX-License-Identifier: Apache-2.0
/*
 * root.c - the new root: made, entered, closed.
 *
 * Runs in the child, around mounts.c.
 */
#include <string.h>

#include "mounts.h"
#include "sys.h"

/**
 * sbx_root_make - the new root as a detached mount
 * Context: child.
 */
int sbx_root_make(struct sbx_context *ctx, int *root)
{
	const struct sbx_plan_core *core = ctx->core;
	const struct sbx_mount op = {
		.attrs = SBX_MOUNT_ATTR_NOSUID | SBX_MOUNT_ATTR_NODEV,
	};
	char path[PATH_MAX];
	int fd, tree, err;

	if (core->root_kind == SBX_ROOT_TMPFS)
		return sbx_tmpfs_make(core->root_size_bytes, 0, 0755, op.attrs,
				      root);
	err = sbx_path(ctx, &ctx->plan, core->root_source_slot,
		       core->root_source, path);
	if (err)
		return err;
	fd = sys_openat2(ctx->old_root, path[1] ? path + 1 : ".",
			 O_PATH | O_DIRECTORY,
			 SBX_RESOLVE_IN_ROOT | SBX_RESOLVE_NO_SYMLINKS);
	if (fd < 0)
		return fd;
	tree = sys_open_tree(fd, "", AT_EMPTY_PATH | SBX_OPEN_TREE_CLONE |
					     SBX_AT_RECURSIVE);
	close(fd);
	if (tree < 0)
		return tree;
	err = sbx_tree_attrs(tree, &op);
	if (err)
		close(tree);
	else
		*root = tree;
	return err;
}

/**
 * sbx_root_enter - stand on the new root, the old one stacked on top of it
 *
 * pivot_root(2) wants the new root attached somewhere. Any directory does,
 * for the moment between the two calls; these exist on every system.
 * Context: child.
 */
int sbx_root_enter(int root)
{
	static const char *const places[] = { "/tmp", "/usr", "/proc", "/dev" };
	int err = -ENOENT;
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(places[0]) && err; i++)
		err = sys_move_mount(root, AT_FDCWD, places[i], 0);
	if (err)
		return err;
	if (fchdir(root) < 0 ||
	    syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	return 0;
}

/**
 * sbx_stage_pivot - let go of the old root; / becomes read-only
 * Context: child.
 */
int sbx_stage_pivot(struct sbx_context *ctx)
{
	const struct sbx_mount_attr readonly = {
		.attr_set = SBX_MOUNT_ATTR_RDONLY,
	};
	int err = 0;

	if (!(ctx->core->namespaces & SBX_CLONE_NEWNS))
		return 0;
	if (fchdir(ctx->old_root) < 0)
		return -errno;
	err = sys_umount2(".", SBX_MNT_DETACH);
	if (err)
		return err;
	close(ctx->old_root);
	ctx->old_root = -1;
	if (fchdir(ctx->new_root) < 0)
		return -errno;
	if (ctx->core->flags & SBX_PLAN_ROOT_READONLY)
		err = sys_mount_setattr(ctx->new_root, 0, &readonly);
	close(ctx->new_root);
	ctx->new_root = -1;
	return err;
}
