// SPDX-License-Identifier: Apache-2.0
/*
 * root.c - the new root: made, entered, closed.
 *
 * Runs in the child, around mounts.c.
 */
#include <string.h>
#include <sys/stat.h>

#include "mounts.h"
#include "sys.h"

/* Room for the files of the plan that are laid over ones of the caller: content.c. */
#define BASE_BYTES (4u << 20)

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

/* Attach @base somewhere: any directory does, for the moment until the pivot;
 * these exist on every system. */
static int base_attach(int base)
{
	static const char *const places[] = { "/tmp", "/usr", "/proc", "/dev" };
	int err = -ENOENT;
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(places[0]) && err; i++)
		err = sys_move_mount(base, AT_FDCWD, places[i], 0);
	return err;
}

/**
 * sbx_root_enter - stand on the base, with old and new root below it
 *
 * The base is a private tmpfs that is / only while the view is built. Neither
 * root lies above or below the other: with the old one stacked on the new
 * one, a ".." of a hostile link that RESOLVE_IN_ROOT stops at the new root
 * would still step up into the mount on top of it.
 * Context: child.
 * Return: 0 or -errno.
 */
int sbx_root_enter(struct sbx_context *ctx)
{
	int err = sbx_tmpfs_make(BASE_BYTES, 0, 0700,
				 SBX_MOUNT_ATTR_NOSUID | SBX_MOUNT_ATTR_NODEV,
				 &ctx->base);

	if (!err)
		err = base_attach(ctx->base);
	if (err)
		return err;
	if (mkdirat(ctx->base, BASE_OLD, 0700) < 0 ||
	    mkdirat(ctx->base, BASE_NEW, 0700) < 0 || fchdir(ctx->base) < 0 ||
	    syscall(SYS_pivot_root, ".", BASE_OLD) < 0)
		return -errno;
	return sys_move_mount(ctx->new_root, ctx->base, BASE_NEW, 0);
}

/**
 * sbx_stage_pivot - the new root becomes /, read-only; the rest is let go
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
	/* the base, stacked on the new root for one call: pivot_root(2) */
	if (fchdir(ctx->new_root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	err = sys_umount2(".", SBX_MNT_DETACH);
	if (err)
		return err;
	close(ctx->old_root);
	close(ctx->base);
	ctx->old_root = -1;
	ctx->base = -1;
	if (ctx->core->flags & SBX_PLAN_ROOT_READONLY)
		err = sys_mount_setattr(ctx->new_root, 0, &readonly);
	close(ctx->new_root);
	ctx->new_root = -1;
	return err;
}
