// SPDX-License-Identifier: Apache-2.0
/*
 * sources.c - where mounts come from: detached copies of the caller's trees.
 *
 * An ordinary user's child opens them itself, from the old root, inside its
 * new mount namespace. When the caller is root the parent opens them with
 * its own privilege and hands detached trees down: the child has a dedicated
 * id that may not even enter the caller's directories. There, trees marked
 * IDMAP are idmapped (mount_setattr(2), Linux 5.12) so that the owner of the
 * tree on disk is the command's id inside, and what the command creates
 * belongs to that owner and not to the dedicated id.
 *
 * Sources are canonical paths: a symbolic link on the way is ELOOP.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core.h"
#include "sys.h"

/**
 * sbx_mount_has_source - whether this kind takes a tree of the caller's
 */
int sbx_mount_has_source(const struct sbx_mount *op)
{
	return op->kind == SBX_MOUNT_BIND || op->kind == SBX_MOUNT_DEV ||
	       op->kind == SBX_MOUNT_OVERLAY;
}

/**
 * sbx_mount_applies - whether the caller has what the operation's slots name
 *
 * An operation below a slot without a value (no home, a working directory
 * that is not shown) is none: there is no place it could be about.
 */
int sbx_mount_applies(const struct sbx_context *ctx, const struct sbx_mount *op)
{
	uint32_t source = sbx_mount_has_source(op) ? op->source_slot :
		(uint32_t)SBX_SLOT_NONE;

	if (op->target_slot && !*ctx->slots[op->target_slot])
		return 0;
	return !source || *ctx->slots[source];
}

/**
 * sbx_mount_count - mounts of the plan and of the invocation
 */
size_t sbx_mount_count(const struct sbx_context *ctx)
{
	size_t of_plan, of_invocation;

	sbx_records(&ctx->plan, SBX_SECTION_MOUNTS, &of_plan);
	sbx_records(&ctx->invocation, SBX_SECTION_MOUNTS, &of_invocation);
	return of_plan + of_invocation;
}

/**
 * sbx_root_operation - the root of the caller's that a plan names, as a mount
 *
 * It has no record of its own in the list; its tree is the last source.
 * Return: 1, or 0 where the root is made empty.
 */
int sbx_root_operation(const struct sbx_context *ctx, struct sbx_mount *op)
{
	const struct sbx_plan_core *core = ctx->core;

	memset(op, 0, sizeof(*op));
	if (core->root_kind == SBX_ROOT_TMPFS)
		return 0;
	op->kind = core->root_kind == SBX_ROOT_BIND ? SBX_MOUNT_BIND :
						      SBX_MOUNT_OVERLAY;
	op->flags = SBX_MOUNT_RECURSIVE | SBX_MOUNT_IDMAP;
	op->attrs = SBX_MOUNT_ATTR_NOSUID | SBX_MOUNT_ATTR_NODEV;
	op->size_bytes = core->root_size_bytes;
	op->source_slot = core->root_source_slot;
	op->source = core->root_source;
	op->upper_slot = core->root_upper_slot;
	op->upper = core->root_upper;
	return 1;
}

static int device_check(int fd)
{
	struct stat st;

	if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
		return -errno;
	return S_ISCHR(st.st_mode) ? 0 : -ENODEV;
}

static int tree_open(struct sbx_context *ctx, const char *path,
		     const struct sbx_mount *op, int *tree)
{
	uint64_t resolve = SBX_RESOLVE_IN_ROOT | SBX_RESOLVE_NO_MAGICLINKS;
	unsigned int flags = AT_EMPTY_PATH | SBX_OPEN_TREE_CLONE;
	int err = 0;
	int fd;

	if (!(op->flags & SBX_MOUNT_FOLLOW))
		resolve |= SBX_RESOLVE_NO_SYMLINKS;
	if (op->flags & SBX_MOUNT_RECURSIVE)
		flags |= SBX_AT_RECURSIVE;
	while (*path == '/')
		path++;
	fd = sys_openat2(ctx->old_root, *path ? path : ".", O_PATH, resolve);
	if (fd < 0)
		return fd;
	if (op->kind == SBX_MOUNT_DEV)
		err = device_check(fd);
	if (!err) {
		int clone = sys_open_tree(fd, "", flags);

		if (clone < 0)
			err = clone;
		else
			*tree = clone;
	}
	close(fd);
	return err;
}

/**
 * sbx_tree_attrs - set the attributes of @op on a detached tree
 * Context: parent or child. Submounts get them too. Peer groups are left,
 * so that no later mount of the caller's appears inside.
 * Return: 0 or -errno.
 */
int sbx_tree_attrs(int tree, const struct sbx_mount *op)
{
	struct sbx_mount_attr attr = {
		.attr_set = op->attrs,
		.propagation = SBX_MS_PRIVATE,
	};

	return sys_mount_setattr(tree, SBX_AT_RECURSIVE, &attr);
}

/**
 * sbx_source_tree - the detached tree of mount @index, with its attributes
 * @index: counted over the plan's, then the invocation's mounts
 * Context: child (or the privileged parent).
 * Return: 0, -ENOENT where an optional source is absent, or -errno with
 * ctx->error.detail set.
 */
int sbx_source_tree(struct sbx_context *ctx, const struct sbx_view *view,
		    const struct sbx_mount *op, size_t index, int *tree)
{
	char path[PATH_MAX];
	int err;

	if (ctx->source_fds) {
		/* made, attributes and all, before the clone */
		if (ctx->source_fds[index] < 0)
			return -ENOENT;
		*tree = ctx->source_fds[index];
		ctx->source_fds[index] = -1;
		return 0;
	}
	ctx->error.detail = SBX_PART_SOURCE;
	err = sbx_path(ctx, view, op->source_slot, op->source, path);
	if (!err)
		err = tree_open(ctx, path, op, tree);
	if (err < 0)
		return err;
	ctx->error.detail = SBX_PART_ATTRS;
	err = sbx_tree_attrs(*tree, op);
	if (err < 0)
		close(*tree);
	return err;
}

static int tree_idmap(struct sbx_context *ctx, int tree,
		      const struct sbx_mount *op)
{
	struct sbx_mount_attr attr = { .attr_set = SBX_MOUNT_ATTR_IDMAP };
	unsigned int flags = op->flags & SBX_MOUNT_RECURSIVE ?
		SBX_AT_RECURSIVE : 0;
	struct stat st;
	int userns, err;

	if (fstatat(tree, "", &st, AT_EMPTY_PATH) < 0)
		return -errno;
	userns = sbx_userns_idmap_open(st.st_uid, st.st_gid,
				       sbx_id_outside(ctx, SBX_ID_UID),
				       sbx_id_outside(ctx, SBX_ID_GID));
	if (userns < 0)
		return userns;
	attr.userns_fd = (uint64_t)userns;
	err = sys_mount_setattr(tree, flags, &attr);
	close(userns);
	return err;
}

static int source_open(struct sbx_context *ctx, const struct sbx_view *view,
		       const struct sbx_mount *op, int *fd)
{
	char path[PATH_MAX];
	int tree = -1;
	int err;

	ctx->error.detail = SBX_PART_SOURCE;
	err = sbx_path(ctx, view, op->source_slot, op->source, path);
	if (!err)
		err = tree_open(ctx, path, op, &tree);
	if (err < 0)
		return err;
	if (op->flags & SBX_MOUNT_IDMAP) {
		ctx->error.detail = SBX_PART_IDMAP;
		err = tree_idmap(ctx, tree, op);
	}
	if (!err) {
		ctx->error.detail = SBX_PART_ATTRS;
		err = sbx_tree_attrs(tree, op);
	}
	if (err < 0)
		close(tree);
	else
		*fd = tree;
	return err;
}

/**
 * sbx_is_absent - an optional source or target may be missing in these ways
 */
int sbx_is_absent(int err)
{
	switch (err) {
	case -ENOENT:	/* not there */
	case -ENOTDIR:	/* a file stands where a directory would be */
	case -ELOOP:	/* a symbolic link: named sources are never followed */
		return 1;
	default:
		return 0;
	}
}

static int view_sources_open(struct sbx_context *ctx,
			     const struct sbx_view *view, size_t first,
			     int flag)
{
	size_t count, i;
	const struct sbx_mount *ops =
		sbx_records(view, SBX_SECTION_MOUNTS, &count);

	for (i = 0; i < count; i++) {
		int err;

		if (!sbx_mount_has_source(&ops[i]) ||
		    !sbx_mount_applies(ctx, &ops[i]))
			continue;
		ctx->error.op = (int32_t)i;
		err = source_open(ctx, view, &ops[i],
				  &ctx->source_fds[first + i]);
		if (err < 0 && !(ops[i].flags & SBX_MOUNT_OPTIONAL &&
				 sbx_is_absent(err))) {
			ctx->error.detail |= flag;
			return err;
		}
	}
	return 0;
}

/**
 * sbx_sources_open - open every source, the root too, with the parent's
 * privilege
 * Context: privileged parent, before the clone; may allocate.
 * Return: 0, or -errno with ctx->error.op and .detail set and nothing open.
 */
int sbx_sources_open(struct sbx_context *ctx)
{
	size_t count = sbx_mount_count(ctx);
	struct sbx_mount root;
	size_t of_plan, i;
	int err;

	ctx->source_fds = malloc((count + 1) * sizeof(int));
	if (!ctx->source_fds)
		return -ENOMEM;
	for (i = 0; i <= count; i++)
		ctx->source_fds[i] = -1;
	ctx->old_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ctx->old_root < 0)
		return -errno;
	ctx->error.op = -1;
	err = 0;
	if (sbx_root_operation(ctx, &root)) {
		err = source_open(ctx, &ctx->plan, &root,
				  &ctx->source_fds[count]);
		if (err)
			ctx->error.detail = SBX_PART_ROOT;
	}
	sbx_records(&ctx->plan, SBX_SECTION_MOUNTS, &of_plan);
	if (!err)
		err = view_sources_open(ctx, &ctx->plan, 0, 0);
	if (!err)
		err = view_sources_open(ctx, &ctx->invocation, of_plan,
					SBX_PART_INVOCATION);
	close(ctx->old_root);
	ctx->old_root = -1;
	return err;
}

/**
 * sbx_sources_close - close what sbx_sources_open() opened, and free it
 * Context: parent.
 */
void sbx_sources_close(struct sbx_context *ctx)
{
	size_t count, i;

	if (!ctx->source_fds)
		return;
	count = sbx_mount_count(ctx);
	for (i = 0; i <= count; i++)
		if (ctx->source_fds[i] >= 0)
			close(ctx->source_fds[i]);
	free(ctx->source_fds);
	ctx->source_fds = NULL;
}
