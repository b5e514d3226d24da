// SPDX-License-Identifier: Apache-2.0
/*
 * plan.c - the checkers of plan and invocation.
 *
 * Pure: no system call, no allocation, no state. They hold the promise that
 * the child may walk every array without looking back: indices, offsets,
 * enums, flags and ranges are what abi.h says. Attacked by tests/fuzz and by
 * the mutation test.
 * On failure error->detail is the section and error->op the record.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "core.h"
#include "sys.h"

#define NAMESPACES_ALL                                                   \
	(SBX_CLONE_NEWTIME | SBX_CLONE_NEWNS | SBX_CLONE_NEWCGROUP |     \
	 SBX_CLONE_NEWUTS | SBX_CLONE_NEWIPC | SBX_CLONE_NEWUSER |       \
	 SBX_CLONE_NEWPID | SBX_CLONE_NEWNET)
#define ATTRS_ALL                                                        \
	(SBX_MOUNT_ATTR_RDONLY | SBX_MOUNT_ATTR_NOSUID |                 \
	 SBX_MOUNT_ATTR_NODEV | SBX_MOUNT_ATTR_NOEXEC |                  \
	 SBX_MOUNT_ATTR_NOATIME | SBX_MOUNT_ATTR_NOSYMFOLLOW)
#define HOSTNAME_MAX 64
#define FILTER_MAX 4096		/* BPF_MAXINSNS */
#define FD_TARGET_MAX 1023

static int namespaces_check(const struct sbx_plan_core *core)
{
	uint64_t ns = core->namespaces;

	if (ns & ~NAMESPACES_ALL)
		return -EINVAL;
	/* set-up needs the capabilities that only the user namespace gives,
	 * and pid 1 is the one that ends the others */
	if (ns && (~ns & (SBX_CLONE_NEWUSER | SBX_CLONE_NEWNS |
			  SBX_CLONE_NEWPID)))
		return -EINVAL;
	if ((core->flags & SBX_PLAN_LOOPBACK) && !(ns & SBX_CLONE_NEWNET))
		return -EINVAL;
	if ((core->flags & SBX_PLAN_ZERO_CLOCKS) && !(ns & SBX_CLONE_NEWTIME))
		return -EINVAL;
	if ((core->flags & SBX_PLAN_LOCK_USERNS) && !ns)
		return -EINVAL;
	/* without a user namespace nothing else keeps exec from giving rights,
	 * and none can be kept; without a mount namespace there is no view */
	if (!ns && (!(core->flags & SBX_PLAN_NO_NEW_PRIVS) || core->caps ||
		    core->root_kind != SBX_ROOT_TMPFS))
		return -EINVAL;
	return 0;
}

static int core_check(const struct sbx_view *view, struct sbx_error *error)
{
	size_t count;
	const struct sbx_plan_core *core =
		sbx_records(view, SBX_SECTION_CORE, &count);
	int err;

	if (count != 1)
		return sbx_check_fail(error, SBX_SECTION_CORE, EINVAL);
	err = namespaces_check(core);
	if (!err && core->flags & ~(uint64_t)SBX_PLAN_FLAGS_ALL)
		err = -EINVAL;
	if (!err)
		err = sbx_check_string(view, core->hostname, HOSTNAME_MAX);
	if (!err && core->hostname && !(core->namespaces & SBX_CLONE_NEWUTS))
		err = -EINVAL;
	if (!err)
		err = sbx_check_root(view, core);
	if (!err && (core->uid == SBX_NONE || core->gid == SBX_NONE))
		err = -EINVAL;
	if (!err && core->umask_octal != SBX_NONE && core->umask_octal > 0777)
		err = -EINVAL;
	if (!err && (core->proof_errno < 0 || core->proof_errno > 4095))
		err = -EINVAL;
	if (!err && core->securebits >> 16)
		err = -EINVAL;
	return err ? sbx_check_fail(error, SBX_SECTION_CORE, -err) : 0;
}

static int mount_check(const struct sbx_view *view, const struct sbx_mount *op)
{
	const struct sbx_section *pool = view->sections[SBX_SECTION_STRINGS];
	int err;

	if (op->kind < SBX_MOUNT_BIND || op->kind > SBX_MOUNT_MQUEUE ||
	    op->flags & ~(uint32_t)SBX_MOUNT_FLAGS_ALL ||
	    op->attrs & ~ATTRS_ALL || op->mode_octal > 07777)
		return -EINVAL;
	err = sbx_check_slot_path(view, op->target_slot, op->target);
	if (err < 0)
		return err;
	/* the root itself is no target */
	if (op->target_slot == SBX_SLOT_NONE &&
	    !strcmp(sbx_string(view, op->target), "/"))
		return -EINVAL;
	if (sbx_mount_has_source(op)) {
		err = sbx_check_slot_path(view, op->source_slot, op->source);
		if (err < 0)
			return err;
	}
	if (op->upper_slot) {
		err = sbx_check_slot_path(view, op->upper_slot, op->upper);
		if (err < 0)
			return err;
	}
	if (op->data_size) {
		if (op->data <= pool->offset ||
		    op->data >= pool->offset + pool->size ||
		    op->data_size >= pool->offset + pool->size - op->data)
			return -EINVAL;
		/* content is bytes; what is read as text ends where it says */
		if (op->kind != SBX_MOUNT_FILE &&
		    strlen(sbx_string(view, op->data)) != op->data_size)
			return -EINVAL;
	}
	if (op->kind == SBX_MOUNT_SYMLINK && !op->data_size)
		return -EINVAL;
	return 0;
}

/**
 * sbx_check_mounts - every mount of a blob is well-formed
 * Context: pure.
 */
int sbx_check_mounts(const struct sbx_view *view, struct sbx_error *error)
{
	size_t count, i;
	const struct sbx_plan_core *core;
	const struct sbx_mount *ops =
		sbx_records(view, SBX_SECTION_MOUNTS, &count);

	if (count > SBX_MOUNTS_MAX)
		return sbx_check_fail(error, SBX_SECTION_MOUNTS, E2BIG);
	core = sbx_records(view, SBX_SECTION_CORE, &i);
	if (count && core && !(core->namespaces & SBX_CLONE_NEWNS))
		return sbx_check_fail(error, SBX_SECTION_MOUNTS, EINVAL);
	for (i = 0; i < count; i++) {
		int err = mount_check(view, &ops[i]);

		error->op = (int32_t)i;
		if (err < 0)
			return sbx_check_fail(error, SBX_SECTION_MOUNTS, -err);
	}
	error->op = -1;
	return 0;
}

static int rlimits_check(const struct sbx_view *view, struct sbx_error *error)
{
	size_t count, i;
	const struct sbx_rlimit *limits =
		sbx_records(view, SBX_SECTION_RLIMITS, &count);

	for (i = 0; i < count; i++) {
		error->op = (int32_t)i;
		if (limits[i].resource >= RLIM_NLIMITS ||
		    limits[i].soft > limits[i].hard)
			return sbx_check_fail(error, SBX_SECTION_RLIMITS,
					      EINVAL);
	}
	error->op = -1;
	return 0;
}

static int landlock_check(const struct sbx_view *view, struct sbx_error *error)
{
	size_t count, i;
	const struct sbx_landlock_rule *rules =
		sbx_records(view, SBX_SECTION_LANDLOCK, &count);

	for (i = 0; i < count; i++) {
		const struct sbx_landlock_rule *rule = &rules[i];
		int err = 0;

		error->op = (int32_t)i;
		if (rule->kind == SBX_LANDLOCK_PATH)
			err = sbx_check_slot_path(view, rule->path_slot,
						  rule->path);
		else if (rule->kind != SBX_LANDLOCK_PORT ||
			 rule->port > 65535 || rule->path_slot)
			err = -EINVAL;
		if (rule->flags & ~(uint32_t)SBX_LANDLOCK_OPTIONAL ||
		    !rule->access)
			err = -EINVAL;
		if (err < 0)
			return sbx_check_fail(error, SBX_SECTION_LANDLOCK,
					      -err);
	}
	error->op = -1;
	return 0;
}

/* A tree has one listener, and what is said of it rests on one program. */
static int filter_flags_check(uint32_t flags, size_t count)
{
	if (flags & ~(uint32_t)SBX_FILTER_FLAGS_ALL)
		return -EINVAL;
	if (!(flags & SBX_FILTER_NOTIFY))
		return flags ? -EINVAL : 0;
	return count == 1 ? 0 : -EINVAL;
}

static int filters_check(const struct sbx_view *view, struct sbx_error *error)
{
	size_t code_count, count, i;
	const struct sbx_filter *filters;

	sbx_records(view, SBX_SECTION_CODE, &code_count);
	filters = sbx_records(view, SBX_SECTION_FILTERS, &count);
	for (i = 0; i < count; i++) {
		error->op = (int32_t)i;
		if (!filters[i].count || filters[i].count > FILTER_MAX ||
		    filters[i].first > code_count ||
		    filters[i].count > code_count - filters[i].first ||
		    filter_flags_check(filters[i].flags, count) < 0)
			return sbx_check_fail(error, SBX_SECTION_FILTERS,
					      EINVAL);
	}
	error->op = -1;
	return 0;
}

/* What only Python reads is checked too: a plan is valid as a whole. */
static int rest_check(const struct sbx_view *view, struct sbx_error *error)
{
	size_t count, i;
	const struct sbx_env_rule *env;
	const struct sbx_protect *protect;
	const struct sbx_supervise *limits;

	env = sbx_records(view, SBX_SECTION_ENV, &count);
	for (i = 0; i < count; i++) {
		error->op = (int32_t)i;
		if (env[i].kind < SBX_ENV_ALLOW || env[i].kind > SBX_ENV_SET ||
		    env[i].value_slot >= SBX_SLOT_COUNT ||
		    sbx_check_string(view, env[i].name, PATH_MAX) < 0 ||
		    !*sbx_string(view, env[i].name) ||
		    sbx_check_string(view, env[i].value, SIZE_MAX) < 0)
			return sbx_check_fail(error, SBX_SECTION_ENV, EINVAL);
	}
	protect = sbx_records(view, SBX_SECTION_PROTECT, &count);
	for (i = 0; i < count; i++) {
		error->op = (int32_t)i;
		if (protect[i].kind < SBX_PROTECT_READONLY ||
		    protect[i].kind > SBX_PROTECT_PRESENT || protect[i].flags ||
		    sbx_check_slot_path(view, protect[i].path_slot,
					protect[i].path) < 0)
			return sbx_check_fail(error, SBX_SECTION_PROTECT,
					      EINVAL);
	}
	limits = sbx_records(view, SBX_SECTION_SUPERVISE, &count);
	for (i = 0; i < count; i++) {
		error->op = (int32_t)i;
		if (limits[i].key < SBX_SUPERVISE_WALL_MS ||
		    limits[i].key > SBX_SUPERVISE_GROUP_CPU_PERCENT)
			return sbx_check_fail(error, SBX_SECTION_SUPERVISE,
					      EINVAL);
	}
	error->op = -1;
	return 0;
}

int sbx_plan_check(const void *plan, size_t size, struct sbx_error *error)
{
	const uint32_t allowed =
		((1u << (SBX_SECTION_SUPERVISE + 1)) - 1) & ~1u;
	struct sbx_view view;
	int err;

	err = sbx_view_open(&view, plan, size, SBX_PLAN_MAGIC, SBX_PLAN_MAX,
			    error);
	if (!err)
		err = sbx_check_sections(&view, allowed, error);
	if (!err)
		err = core_check(&view, error);
	if (!err)
		err = sbx_check_id_maps(&view, error);
	if (!err)
		err = sbx_check_mounts(&view, error);
	if (!err)
		err = rlimits_check(&view, error);
	if (!err)
		err = landlock_check(&view, error);
	if (!err)
		err = filters_check(&view, error);
	if (!err)
		err = rest_check(&view, error);
	return err;
}

/* A list of strings; each entry must be one. */
static int strings_list_check(const struct sbx_view *view, uint32_t kind,
			      size_t min, struct sbx_error *error)
{
	size_t count, i;
	const uint32_t *offsets = sbx_records(view, kind, &count);

	if (count < min)
		return sbx_check_fail(error, kind, EINVAL);
	for (i = 0; i < count; i++) {
		error->op = (int32_t)i;
		if (sbx_check_string(view, offsets[i], SIZE_MAX) < 0)
			return sbx_check_fail(error, kind, EINVAL);
	}
	error->op = -1;
	return 0;
}

static int slots_check(const struct sbx_view *view, struct sbx_error *error)
{
	size_t count, i;
	const uint32_t *slots = sbx_records(view, SBX_SECTION_SLOTS, &count);

	if (count != SBX_SLOT_COUNT)
		return sbx_check_fail(error, SBX_SECTION_SLOTS, EINVAL);
	for (i = 0; i < count; i++) {
		int err = 0;

		error->op = (int32_t)i;
		if (slots[i])
			err = sbx_check_slot_path(view, SBX_SLOT_NONE,
						  slots[i]);
		if (err < 0 || (i == SBX_SLOT_NONE && slots[i]))
			return sbx_check_fail(error, SBX_SECTION_SLOTS,
					      EINVAL);
	}
	error->op = -1;
	return 0;
}

static int fds_check(const struct sbx_view *view, int has_terminal,
		     struct sbx_error *error)
{
	size_t count, i, j;
	const struct sbx_fd_map *fds =
		sbx_records(view, SBX_SECTION_FDS, &count);

	if (count > SBX_FDS_MAX)
		return sbx_check_fail(error, SBX_SECTION_FDS, E2BIG);
	for (i = 0; i < count; i++) {
		int is_open = fds[i].source >= 0 ||
			      (has_terminal && fds[i].source == SBX_FD_TERMINAL);

		error->op = (int32_t)i;
		if (!is_open || fds[i].target < 0 ||
		    fds[i].target > FD_TARGET_MAX)
			return sbx_check_fail(error, SBX_SECTION_FDS, EINVAL);
		for (j = 0; j < i; j++)
			if (fds[j].target == fds[i].target)
				return sbx_check_fail(error, SBX_SECTION_FDS,
						      EEXIST);
	}
	error->op = -1;
	return 0;
}

static int run_check(const struct sbx_view *view,
		     const struct sbx_invocation_core *core)
{
	uint32_t flags = core->flags;

	if (sbx_check_slot_path(view, SBX_SLOT_NONE, core->cwd) < 0 ||
	    flags & ~(uint32_t)SBX_INVOCATION_FLAGS_ALL)
		return -EINVAL;
	/* a request has no terminal, and nobody to open a barrier */
	if (flags & SBX_INVOCATION_SERVE
		    ? core->requests < 3 || core->requests > INT_MAX ||
			      flags & (SBX_INVOCATION_TERMINAL |
				       SBX_INVOCATION_BARRIER)
		    : core->requests ||
			      flags & (SBX_INVOCATION_ONCE |
				       SBX_INVOCATION_FILTER_FIRST))
		return -EINVAL;
	if (flags & SBX_INVOCATION_MAPS_OUTSIDE &&
	    !(flags & SBX_INVOCATION_HOLD))
		return -EINVAL;
	if (flags & SBX_INVOCATION_TERMINAL)
		return core->terminal < 0 ? -EINVAL : 0;
	/* nothing to be in the foreground of, nothing to copy from */
	return flags & SBX_INVOCATION_FOREGROUND || core->terminal != -1
		       ? -EINVAL
		       : 0;
}

/* `least`: how many arguments and programs there must be */
static int invocation_check(const void *invocation, size_t size,
			    uint32_t least, struct sbx_error *error)
{
	const uint32_t allowed = 1u << SBX_SECTION_STRINGS |
				 1u << SBX_SECTION_MOUNTS |
				 1u << SBX_SECTION_INVOCATION |
				 1u << SBX_SECTION_ARGV |
				 1u << SBX_SECTION_ENVP |
				 1u << SBX_SECTION_PROGRAMS |
				 1u << SBX_SECTION_FDS |
				 1u << SBX_SECTION_SLOTS;
	const struct sbx_invocation_core *core;
	struct sbx_view view;
	size_t count;
	int err;

	err = sbx_view_open(&view, invocation, size, SBX_INVOCATION_MAGIC,
			    SBX_INVOCATION_MAX, error);
	if (!err)
		err = sbx_check_sections(&view, allowed, error);
	if (err)
		return err;
	core = sbx_records(&view, SBX_SECTION_INVOCATION, &count);
	if (count != 1 || run_check(&view, core) < 0)
		return sbx_check_fail(error, SBX_SECTION_INVOCATION, EINVAL);
	err = strings_list_check(&view, SBX_SECTION_ARGV, least, error);
	if (!err)
		err = strings_list_check(&view, SBX_SECTION_ENVP, 0, error);
	if (!err)
		err = strings_list_check(&view, SBX_SECTION_PROGRAMS, least,
					 error);
	if (!err)
		err = slots_check(&view, error);
	if (!err)
		err = fds_check(&view,
				(core->flags & SBX_INVOCATION_TERMINAL) != 0,
				error);
	if (!err)
		err = sbx_check_mounts(&view, error);
	return err;
}

int sbx_invocation_check(const void *invocation, size_t size,
			 struct sbx_error *error)
{
	return invocation_check(invocation, size, 1, error);
}

/**
 * sbx_check_template - an invocation that may yet lack its command
 * Context: pure.
 */
int sbx_check_template(const void *invocation, size_t size,
		       struct sbx_error *error)
{
	return invocation_check(invocation, size, 0, error);
}
