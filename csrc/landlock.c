// SPDX-License-Identifier: Apache-2.0
/*
 * landlock.c - the second wall behind the mounts (landlock(7)).
 *
 * Runs in the command's process after the descriptors are closed and before
 * seccomp. Rights that the kernel's ABI does not know were left out by the
 * compiler of the plan, which also said so in its notes; here they would be
 * EINVAL, and end the run.
 */
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "core.h"
#include "sys.h"

#define LANDLOCK_CREATE_RULESET_VERSION 1u
#define LANDLOCK_RULE_PATH_BENEATH 1
#define LANDLOCK_RULE_NET_PORT 2

/* Rights that a rule on something other than a directory may carry:
 * execute, write_file, read_file, truncate, ioctl_dev. */
#define LANDLOCK_FILE_RIGHTS (1ULL << 0 | 1ULL << 1 | 1ULL << 2 | \
			      1ULL << 14 | 1ULL << 15)

struct landlock_ruleset {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

struct landlock_path {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

struct landlock_port {
	uint64_t allowed_access;
	uint64_t port;
};

int sbx_landlock_abi(void)
{
	return (int)sys_result(syscall(SBX_NR_LANDLOCK_CREATE_RULESET, NULL, 0,
				       LANDLOCK_CREATE_RULESET_VERSION));
}

/**
 * sbx_landlock_scope - enter a domain that scopes, and restricts no file
 * @scoped: LANDLOCK_SCOPE_* bits
 * Context: init; no_new_privs is set.
 */
int sbx_landlock_scope(uint64_t scoped)
{
	struct landlock_ruleset attr = { .scoped = scoped };
	int err;
	int ruleset = (int)sys_result(syscall(SBX_NR_LANDLOCK_CREATE_RULESET,
					      &attr, sizeof(attr), 0));

	if (ruleset < 0)
		return ruleset;
	err = (int)sys_result(syscall(SBX_NR_LANDLOCK_RESTRICT_SELF, ruleset,
				      0));
	close(ruleset);
	return err;
}

static int rule_add(int ruleset, int kind, const void *rule)
{
	return (int)sys_result(syscall(SBX_NR_LANDLOCK_ADD_RULE, ruleset, kind,
				       rule, 0));
}

/*
 * In a view of our own a link leads to something else that is in the view.
 * Without one it could lead anywhere on the host: paths are canonical, and a
 * link that somebody put there since is no grant.
 */
static int rule_path_open(const struct sbx_context *ctx, const char *path)
{
	char name[NAME_MAX + 1];
	int fd;

	if (ctx->core->namespaces & SBX_CLONE_NEWNS)
		return (int)sys_result(open(path, O_PATH | O_CLOEXEC));
	/* one part after the other: an outer filter may refuse openat2 */
	fd = (int)sys_result(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
	while (fd >= 0 && *(path += strspn(path, "/"))) {
		size_t size = strcspn(path, "/");
		struct stat st;
		int parent = fd;

		if (size > NAME_MAX) {
			fd = -ENAMETOOLONG;
		} else {
			memcpy(name, path, size);
			name[size] = '\0';
			fd = (int)sys_result(openat(parent, name,
						    O_PATH | O_NOFOLLOW |
							    O_CLOEXEC));
		}
		close(parent);
		if (fd >= 0 && fstatat(fd, "", &st, AT_EMPTY_PATH) == 0 &&
		    !S_ISLNK(st.st_mode)) {
			path += size;
			continue;
		}
		if (fd >= 0) {
			close(fd);
			fd = -ELOOP;
		}
	}
	return fd;
}

static int path_rule_add(struct sbx_context *ctx, int ruleset,
			 const struct sbx_landlock_rule *rule)
{
	struct landlock_path beneath = { .allowed_access = rule->access };
	char path[PATH_MAX];
	struct stat st;
	int err = sbx_path(ctx, &ctx->plan, rule->path_slot, rule->path, path);

	if (!err) {
		beneath.parent_fd = rule_path_open(ctx, path);
		err = beneath.parent_fd < 0 ? beneath.parent_fd : 0;
	}
	if (err) {
		/* no grant for what is not there: tighter, never looser */
		if (rule->flags & SBX_LANDLOCK_OPTIONAL && sbx_is_absent(err))
			return 0;
		return err;
	}
	if (fstatat(beneath.parent_fd, "", &st, AT_EMPTY_PATH) < 0)
		err = -errno;
	if (!err && !S_ISDIR(st.st_mode))
		beneath.allowed_access &= LANDLOCK_FILE_RIGHTS;
	if (!err && beneath.allowed_access)
		err = rule_add(ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath);
	close(beneath.parent_fd);
	return err;
}

static int rules_add(struct sbx_context *ctx, int ruleset)
{
	size_t count, i;
	const struct sbx_landlock_rule *rules =
		sbx_records(&ctx->plan, SBX_SECTION_LANDLOCK, &count);

	for (i = 0; i < count; i++) {
		int err;

		ctx->error.op = (int32_t)i;
		/* nothing is mounted below a slot without a value */
		if (rules[i].path_slot && !*ctx->slots[rules[i].path_slot])
			continue;
		if (rules[i].kind == SBX_LANDLOCK_PORT) {
			struct landlock_port port = {
				.allowed_access = rules[i].access,
				.port = rules[i].port,
			};

			err = rule_add(ruleset, LANDLOCK_RULE_NET_PORT, &port);
		} else {
			err = path_rule_add(ctx, ruleset, &rules[i]);
		}
		if (err)
			return err;
	}
	ctx->error.op = -1;
	return 0;
}

/**
 * sbx_landlock_ruleset - make the plan's ruleset
 * Context: command, or pid 1 where several commands share the view.
 * Return: a descriptor; -EOPNOTSUPP where the ABI is below the plan's; else
 * -errno.
 */
int sbx_landlock_ruleset(struct sbx_context *ctx)
{
	const struct sbx_plan_core *core = ctx->core;
	struct landlock_ruleset attr = {
		.handled_access_fs = core->landlock_fs,
		.handled_access_net = core->landlock_net,
		.scoped = core->landlock_scoped,
	};
	int abi = sbx_landlock_abi();
	int ruleset, err;

	if (abi < 0)
		return abi;
	if ((uint32_t)abi < core->landlock_min_abi)
		return -EOPNOTSUPP;
	ruleset = (int)sys_result(syscall(SBX_NR_LANDLOCK_CREATE_RULESET,
					  &attr, sizeof(attr), 0));
	if (ruleset < 0)
		return ruleset;
	err = rules_add(ctx, ruleset);
	if (!err)
		return ruleset;
	close(ruleset);
	return err;
}

/**
 * sbx_stage_landlock - restrict the command
 * Context: command; no_new_privs is set.
 * Return: 0, or what sbx_landlock_ruleset() and the kernel say.
 */
int sbx_stage_landlock(struct sbx_context *ctx)
{
	int ruleset = ctx->ruleset_fd;
	int err;

	if (!(ctx->core->flags & SBX_PLAN_LANDLOCK))
		return 0;
	if (ruleset < 0)
		ruleset = sbx_landlock_ruleset(ctx);
	if (ruleset < 0)
		return ruleset;
	err = (int)sys_result(syscall(SBX_NR_LANDLOCK_RESTRICT_SELF, ruleset,
				      0));
	close(ruleset);
	return err;
}
