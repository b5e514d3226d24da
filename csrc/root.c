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
 * sbx_base_enter - stand on the base, with the old root below it
 *
 * The base is a private tmpfs that is / only while the view is built; the new
 * root is put beside the old one, and scratch mounts of its making too. Neither
 * root lies above or below the other: with the old one stacked on the new
 * one, a ".." of a hostile link that RESOLVE_IN_ROOT stops at the new root
 * would still step up into the mount on top of it.
 * Context: child.
 * Return: 0 or -errno.
 */
int sbx_base_enter(struct sbx_context *ctx)
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
	return 0;
}

/*
 * What is mounted over in a root that we did not make has to be a directory
 * or absent: through a link /proc would be mounted, and its secrets masked,
 * somewhere else (CVE-2023-27561, CVE-2026-41579).
 */
static int places_check(int root)
{
	static const char *const places[] = { "proc", "dev", "sys" };
	struct stat st;
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (fstatat(root, places[i], &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno != ENOENT)
				return -errno;
			continue;
		}
		if (S_ISLNK(st.st_mode))
			return -ELOOP;
		if (!S_ISDIR(st.st_mode))
			return -ENOTDIR;
	}
	return 0;
}

/* The caller's directory, bound or below an overlay. */
static int foreign_root(struct sbx_context *ctx, const struct sbx_mount *op,
			int *root)
{
	const struct sbx_operation at = {
		.ctx = ctx,
		.view = &ctx->plan,
		.op = op,
		.index = sbx_mount_count(ctx),
	};
	struct stat st;
	int err;

	if (op->kind == SBX_MOUNT_OVERLAY)
		err = sbx_overlay_make(&at, root);
	else
		err = sbx_operation_source(&at, root);
	if (err)
		return err;
	if (fstatat(*root, "", &st, AT_EMPTY_PATH) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? places_check(*root) : -ENOTDIR;
}

/**
 * sbx_root_make - the new root, attached beside the old one
 * Context: child; standing on the base.
 * Return: 0 or -errno.
 */
int sbx_root_make(struct sbx_context *ctx)
{
	struct sbx_mount op;
	int err;

	if (sbx_root_operation(ctx, &op))
		err = foreign_root(ctx, &op, &ctx->new_root);
	else
		err = sbx_tmpfs_make(ctx->core->root_size_bytes, 0, 0755,
				     SBX_MOUNT_ATTR_NOSUID |
					     SBX_MOUNT_ATTR_NODEV,
				     &ctx->new_root);
	if (err)
		return err;
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
