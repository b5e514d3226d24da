// SPDX-License-Identifier: Apache-2.0
/*
 * mounts.c - the view: a new root, filled by the plan's list of operations.
 *
 * Runs in the child, which is pid 1 of its namespaces and still has every
 * capability of its user namespace. On entry the caller's whole tree is
 * mounted; on exit of sbx_stage_mounts() the process stands on a private base
 * that holds the old and the new root side by side; sbx_stage_pivot() makes
 * the new one / and detaches everything else.
 *
 * The switch to the base comes first and the mounts after it, so that no
 * source can be hidden by the place where the new root is put together, and
 * the old /proc is still there when a fresh one is mounted (the kernel asks
 * for it).
 *
 * Should: walk the list in order; take every target by descriptor.
 * Must not: follow a link out of the root; go on after an error.
 */
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "mounts.h"
#include "sys.h"

/* Create the configured filesystem as a detached mount. */
int sbx_filesystem_mount(int fs, unsigned int attrs, int *fd)
{
	int err = sys_fsconfig(fs, SBX_FSCONFIG_CMD_CREATE, NULL, NULL);

	if (!err) {
		int mount = sys_fsmount(fs, attrs);

		if (mount < 0)
			err = mount;
		else
			*fd = mount;
	}
	close(fs);
	return err;
}

static int option_u64(int fs, const char *key, uint64_t value,
		      unsigned int base)
{
	char text[24];

	sbx_format_u64(value, base, text);
	return sys_fsconfig(fs, SBX_FSCONFIG_SET_STRING, key, text);
}

/**
 * sbx_tmpfs_make - a detached tmpfs
 * @size_bytes: 0 for the kernel's default
 * @inodes: 0 for the kernel's default
 * Context: child.
 */
int sbx_tmpfs_make(uint64_t size_bytes, uint32_t inodes, uint32_t mode_octal,
		   uint64_t attrs, int *fd)
{
	int fs = sys_fsopen("tmpfs");
	int err = 0;

	if (fs < 0)
		return fs;
	if (size_bytes)
		err = option_u64(fs, "size", size_bytes, 10);
	if (!err && inodes)
		err = option_u64(fs, "nr_inodes", inodes, 10);
	if (!err)
		err = option_u64(fs, "mode", mode_octal, 8);
	if (err) {
		close(fs);
		return err;
	}
	return sbx_filesystem_mount(fs, (unsigned int)attrs, fd);
}

/* Attach a detached mount to an open target. */
int sbx_attach_at(int tree, int target)
{
	return sys_move_mount(tree, target, "", SBX_MOVE_MOUNT_T_EMPTY_PATH);
}

/* Attach @tree to the operation's target, made if absent; closes @tree. */
int sbx_attach(const struct sbx_operation *at, int tree)
{
	struct stat st;
	int target = -1;
	int err = 0;

	if (fstatat(tree, "", &st, AT_EMPTY_PATH) < 0)
		err = sbx_mount_fail(at, SBX_PART_ATTACH, -errno);
	if (!err) {
		err = sbx_target_make(at->ctx->new_root, at->target,
				      S_ISDIR(st.st_mode), 0755, &target);
		if (err)
			sbx_mount_fail(at, SBX_PART_TARGET, err);
	}
	if (!err) {
		err = sbx_attach_at(tree, target);
		if (err)
			sbx_mount_fail(at, SBX_PART_ATTACH, err);
		close(target);
	}
	close(tree);
	return err;
}

int sbx_operation_source(const struct sbx_operation *at, int *tree)
{
	return sbx_source_tree(at->ctx, at->view, at->op, at->index, tree);
}

/* BIND and DEV */
static int bind_mount(const struct sbx_operation *at)
{
	int tree = -1;
	int err = sbx_operation_source(at, &tree);

	return err ? err : sbx_attach(at, tree);
}

/* A copy of what is at the target, with attributes, laid over it. */
static int self_mount(const struct sbx_operation *at)
{
	unsigned int flags = AT_EMPTY_PATH | SBX_OPEN_TREE_CLONE |
			     SBX_AT_RECURSIVE;
	int target = -1;
	int tree = -1;
	int err = sbx_target_open(at->ctx->new_root, at->target, &target);

	if (err)
		return sbx_mount_fail(at, SBX_PART_TARGET, err);
	tree = sys_open_tree(target, "", flags);
	if (tree < 0) {
		err = sbx_mount_fail(at, SBX_PART_SOURCE, tree);
		goto out;
	}
	err = sbx_tree_attrs(tree, at->op);
	if (err) {
		sbx_mount_fail(at, SBX_PART_ATTRS, err);
	} else {
		err = sbx_attach_at(tree, target);
		if (err)
			sbx_mount_fail(at, SBX_PART_ATTACH, err);
	}
	close(tree);
out:
	close(target);
	return err;
}

static int tmpfs_mount(const struct sbx_operation *at)
{
	int fd = -1;
	int err = sbx_tmpfs_make(at->op->size_bytes, at->op->inodes,
				 at->op->mode_octal, at->op->attrs, &fd);

	return err ? sbx_mount_fail(at, SBX_PART_CREATE, err) : sbx_attach(at, fd);
}

/* The caller's /proc, read-only: only where the policy names this fallback. */
static int proc_bind(const struct sbx_operation *at)
{
	struct sbx_mount op = *at->op;
	int tree = sys_open_tree(at->ctx->old_root, "proc",
				 SBX_OPEN_TREE_CLONE | SBX_AT_RECURSIVE);
	int err;

	if (tree < 0)
		return sbx_mount_fail(at, SBX_PART_SOURCE, tree);
	op.attrs |= SBX_MOUNT_ATTR_RDONLY | ATTRS_EMPTY;
	err = sbx_tree_attrs(tree, &op);
	if (err) {
		close(tree);
		return sbx_mount_fail(at, SBX_PART_ATTRS, err);
	}
	at->ctx->degraded |= SBX_DEGRADED_PROC_BIND;
	return sbx_attach(at, tree);
}

static int proc_mount(const struct sbx_operation *at)
{
	int fs = sys_fsopen("proc");
	int fd = -1;
	int err = 0;

	if (fs < 0)
		return sbx_mount_fail(at, SBX_PART_CREATE, fs);
	if (at->op->data_size)
		err = sys_fsconfig(fs, SBX_FSCONFIG_SET_STRING, "subset",
				   sbx_string(at->view, at->op->data));
	if (err) {
		close(fs);
		return sbx_mount_fail(at, SBX_PART_CREATE, err);
	}
	err = sbx_filesystem_mount(fs, (unsigned int)(at->op->attrs | ATTRS_EMPTY),
			       &fd);
	/* EPERM: parts of the caller's /proc are masked (a container) */
	if (err == -EPERM && at->op->flags & SBX_MOUNT_FALLBACK_BIND)
		return proc_bind(at);
	return err ? sbx_mount_fail(at, SBX_PART_CREATE, err) : sbx_attach(at, fd);
}

static int devpts_mount(const struct sbx_operation *at)
{
	int fs = sys_fsopen("devpts");
	int fd = -1;
	int err;

	if (fs < 0)
		return sbx_mount_fail(at, SBX_PART_CREATE, fs);
	/* no gid=: group tty has no id under a single-id map */
	err = option_u64(fs, "ptmxmode", 0666, 8);
	if (!err)
		err = option_u64(fs, "mode", 0620, 8);
	if (err) {
		close(fs);
		return sbx_mount_fail(at, SBX_PART_CREATE, err);
	}
	err = sbx_filesystem_mount(fs, (unsigned int)at->op->attrs, &fd);
	return err ? sbx_mount_fail(at, SBX_PART_CREATE, err) : sbx_attach(at, fd);
}

static int mqueue_mount(const struct sbx_operation *at)
{
	int fs = sys_fsopen("mqueue");
	int fd = -1;
	int err;

	if (fs < 0)
		return sbx_mount_fail(at, SBX_PART_CREATE, fs);
	err = sbx_filesystem_mount(fs, (unsigned int)at->op->attrs, &fd);
	return err ? sbx_mount_fail(at, SBX_PART_CREATE, err) : sbx_attach(at, fd);
}

/* /dev/null by descriptor, and sure that it is that (CVE-2025-31133). */
static int null_tree(const struct sbx_operation *at, int *tree)
{
	const struct sbx_mount op = {
		.attrs = SBX_MOUNT_ATTR_RDONLY | SBX_MOUNT_ATTR_NOSUID |
			 SBX_MOUNT_ATTR_NOEXEC,
	};
	struct stat st;
	int clone, err;
	int fd = sys_openat2(at->ctx->old_root, "dev/null", O_PATH,
			     SBX_RESOLVE_IN_ROOT | SBX_RESOLVE_NO_SYMLINKS);

	if (fd < 0)
		return fd;
	if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
		err = -errno;
	else if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		err = -ENODEV;
	else
		err = 0;
	if (!err) {
		clone = sys_open_tree(fd, "",
				      AT_EMPTY_PATH | SBX_OPEN_TREE_CLONE);
		err = clone < 0 ? clone : sbx_tree_attrs(clone, &op);
		if (!err)
			*tree = clone;
		else if (clone >= 0)
			close(clone);
	}
	close(fd);
	return err;
}

static int mask_mount(const struct sbx_operation *at)
{
	struct stat st;
	int target = -1;
	int tree = -1;
	int err = sbx_target_open(at->ctx->new_root, at->target, &target);

	if (err)
		return sbx_mount_fail(at, SBX_PART_TARGET, err);
	if (fstatat(target, "", &st, AT_EMPTY_PATH) < 0)
		err = -errno;
	else if (S_ISDIR(st.st_mode))
		err = sbx_tmpfs_make(4096, 2, 0555,
				     SBX_MOUNT_ATTR_RDONLY | ATTRS_EMPTY,
				     &tree);
	else
		err = null_tree(at, &tree);
	if (err) {
		sbx_mount_fail(at, SBX_PART_CREATE, err);
	} else {
		err = sbx_attach_at(tree, target);
		if (err)
			sbx_mount_fail(at, SBX_PART_ATTACH, err);
		close(tree);
	}
	close(target);
	return err;
}

static int operation_run(const struct sbx_operation *at)
{
	switch (at->op->kind) {
	case SBX_MOUNT_BIND:
	case SBX_MOUNT_DEV:
		return bind_mount(at);
	case SBX_MOUNT_SELF:
		return self_mount(at);
	case SBX_MOUNT_TMPFS:
		return tmpfs_mount(at);
	case SBX_MOUNT_PROC:
		return proc_mount(at);
	case SBX_MOUNT_DEVPTS:
		return devpts_mount(at);
	case SBX_MOUNT_OVERLAY:
		return sbx_overlay_mount(at);
	case SBX_MOUNT_MKDIR:
		return sbx_directory_make(at);
	case SBX_MOUNT_FILE:
		return sbx_file_make(at);
	case SBX_MOUNT_SYMLINK:
		return sbx_symlink_make(at);
	case SBX_MOUNT_MASK:
		return mask_mount(at);
	case SBX_MOUNT_MQUEUE:
		return mqueue_mount(at);
	default:
		return -EINVAL;	/* the checker let nothing else through */
	}
}

/* Whether an optional operation failed because its subject is absent. */
static int may_skip(const struct sbx_operation *at, int err)
{
	int part = at->ctx->error.detail;

	if (!(at->op->flags & SBX_MOUNT_OPTIONAL) || !sbx_is_absent(err))
		return 0;
	if (sbx_mount_has_source(at->op))
		return part == SBX_PART_SOURCE;
	return part == SBX_PART_TARGET && (at->op->kind == SBX_MOUNT_SELF ||
					   at->op->kind == SBX_MOUNT_MASK);
}

static int view_mount(struct sbx_context *ctx, const struct sbx_view *view,
		      size_t first)
{
	size_t count, i;
	const struct sbx_mount *ops =
		sbx_records(view, SBX_SECTION_MOUNTS, &count);
	struct sbx_operation at = { .ctx = ctx, .view = view };

	for (i = 0; i < count; i++) {
		int err;

		if (!sbx_mount_applies(ctx, &ops[i]))
			continue;
		at.op = &ops[i];
		at.index = first + i;
		ctx->error.op = (int32_t)i;
		ctx->error.detail = SBX_PART_SOURCE;
		err = sbx_path(ctx, view, ops[i].target_slot, ops[i].target,
			       at.target);
		if (err)
			sbx_mount_fail(&at, SBX_PART_TARGET, err);
		else
			err = operation_run(&at);
		if (err && !may_skip(&at, err))
			return err;
	}
	return 0;
}

/**
 * sbx_stage_mounts - build the view and stand on it
 * Context: child.
 * Return: 0, or -errno with ctx->error.op and .detail set.
 */
int sbx_stage_mounts(struct sbx_context *ctx)
{
	size_t of_plan;
	int err;

	if (!(ctx->core->namespaces & SBX_CLONE_NEWNS))
		return 0;
	ctx->error.detail = SBX_PART_ROOT;
	if (syscall(SYS_mount, NULL, "/", NULL, SBX_MS_REC | SBX_MS_PRIVATE,
		    NULL) < 0)
		return -errno;
	ctx->old_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ctx->old_root < 0)
		return -errno;
	err = sbx_base_enter(ctx);
	if (!err)
		err = sbx_root_make(ctx);
	if (err) {
		ctx->error.detail = SBX_PART_ROOT;
		return err;
	}
	sbx_records(&ctx->plan, SBX_SECTION_MOUNTS, &of_plan);
	err = view_mount(ctx, &ctx->plan, 0);
	if (err)
		return err;
	err = view_mount(ctx, &ctx->invocation, of_plan);
	if (err)
		ctx->error.detail |= SBX_PART_INVOCATION;
	else
		ctx->error.op = -1;
	return err;
}

