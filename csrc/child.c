// SPDX-License-Identifier: Apache-2.0
/*
 * child.c - the story of a sandbox, from clone to exec, as one table.
 *
 * The child of the clone becomes pid 1 (without a pid namespace: init, see
 * tree.c). It runs the first part of the table, forks the command, and turns
 * to init.c (to serve.c where commands come as requests); the command runs the
 * second part and becomes the program. Order is security; each row says what
 * the stage should do and what it must not.
 *
 * Everything here is async-signal-safe and allocates nothing: the caller may
 * have threads, and only the cloning one exists in the child.
 */
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "core.h"
#include "sys.h"

struct stage {
	enum sbx_stage name;
	int (*run)(struct sbx_context *ctx);
};

/* pid 1 */
static const struct stage first_part[] = {
	/* Should: wait for the maps, take the command's ids.
	 * Must not: touch a file before that. */
	{ SBX_STAGE_MAPS, sbx_stage_maps },
	/* Should: forbid further user namespaces, while /proc is the caller's
	 * and the capabilities are there. Must not: touch the host's limit. */
	{ SBX_STAGE_USERNS_LOCK, sbx_stage_userns_lock },
	/* Should: leave the clocks' namespace to the children. */
	{ SBX_STAGE_TIMENS, sbx_stage_timens },
	{ SBX_STAGE_HOSTNAME, sbx_stage_hostname },
	{ SBX_STAGE_LOOPBACK, sbx_stage_loopback },
	/* Should: build the view by descriptors, in the plan's order.
	 * Must not: follow a link out of the new root. */
	{ SBX_STAGE_MOUNTS, sbx_stage_mounts },
	/* Should: let go of the old root. Must not: keep a descriptor of it. */
	{ SBX_STAGE_PIVOT, sbx_stage_pivot },
	/* Should: open it in the new root's devpts, send the master out.
	 * Must not: keep the master. */
	{ SBX_STAGE_TERMINAL, sbx_stage_terminal },
};

/* the command */
static const struct stage second_part[] = {
	/* Should: leave the caller's session and terminal, or join its own. */
	{ SBX_STAGE_SESSION, sbx_stage_session },
	{ SBX_STAGE_CHDIR, sbx_stage_chdir },
	/* Should: only ever lower a limit. */
	{ SBX_STAGE_RLIMITS, sbx_stage_rlimits },
	/* Should: empty every set but what the plan keeps. */
	{ SBX_STAGE_CAPS, sbx_stage_caps },
	/* Must not: be skipped where Landlock or seccomp follow. */
	{ SBX_STAGE_NO_NEW_PRIVS, sbx_stage_no_new_privs },
	/* Should: close everything that the invocation does not name. */
	{ SBX_STAGE_FDS, sbx_stage_fds },
	{ SBX_STAGE_LANDLOCK, sbx_stage_landlock },
	/* Last: no policy has to allow what set-up needs. */
	{ SBX_STAGE_SECCOMP, sbx_stage_seccomp },
	{ SBX_STAGE_EXEC, sbx_stage_exec },
};

/* The command of a request, while it waits for one: what no request changes.
 * The order of the rest is the same; Landlock restricts nothing that comes
 * after it but exec. */
static const struct stage waiting_part[] = {
	{ SBX_STAGE_SESSION, sbx_stage_session },
	{ SBX_STAGE_RLIMITS, sbx_stage_rlimits },
	{ SBX_STAGE_CAPS, sbx_stage_caps },
	{ SBX_STAGE_NO_NEW_PRIVS, sbx_stage_no_new_privs },
	{ SBX_STAGE_LANDLOCK, sbx_stage_landlock },
};

static const struct stage filter_part[] = {
	{ SBX_STAGE_SECCOMP, sbx_stage_seccomp },
};

static const struct stage request_part[] = {
	{ SBX_STAGE_CHDIR, sbx_stage_chdir },
	{ SBX_STAGE_FDS, sbx_stage_fds },
};

static const struct stage exec_part[] = {
	{ SBX_STAGE_EXEC, sbx_stage_exec },
};

#define RUN_PART(ctx, part) run_part(ctx, part, sizeof(part) / sizeof((part)[0]))

/**
 * sbx_child_report - tell the supervisor where it ended, and end
 */
void sbx_child_report(struct sbx_context *ctx, enum sbx_stage stage, int err)
{
	ctx->error.stage = (int32_t)stage;
	ctx->error.err = -err;
	/* if nobody reads, nobody can be told */
	if (sbx_write_all(ctx->error_fd, &ctx->error, sizeof(ctx->error)) < 0)
		_exit(126);
	_exit(127);
}

static void run_part(struct sbx_context *ctx, const struct stage *part,
		     size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		int err;

		ctx->error.op = -1;
		ctx->error.detail = 0;
		err = part[i].run(ctx);
		if (err < 0)
			sbx_child_report(ctx, part[i].name, err);
	}
}

/*
 * Handlers of the caller must not run here. What it ignores stays ignored
 * only for the signals that shells and nohup(1) use that way; an interpreter
 * also ignores SIGPIPE for its own sake, which no command expects.
 */
static void signals_reset(void)
{
	int number;

	for (number = 1; number < NSIG; number++) {
		struct sigaction action;

		if (sigaction(number, NULL, &action) < 0)
			continue;	/* KILL, STOP, the C library's own */
		if (action.sa_handler == SIG_DFL)
			continue;
		if (action.sa_handler == SIG_IGN &&
		    (number == SIGHUP || number == SIGINT || number == SIGQUIT))
			continue;
		memset(&action, 0, sizeof(action));
		action.sa_handler = SIG_DFL;
		sigaction(number, &action, NULL);
	}
}

/**
 * sbx_stage_exec - become the program
 *
 * The candidates are tried as a shell would: an absent one leads to the
 * next, one that may not be executed is remembered.
 * Context: command; behind every wall.
 * Return: only on failure, with ctx->error.detail of enum sbx_exec_detail.
 */
int sbx_stage_exec(struct sbx_context *ctx)
{
	size_t programs, argc, envc, i;
	const uint32_t *paths =
		sbx_records(&ctx->invocation, SBX_SECTION_PROGRAMS, &programs);
	const uint32_t *args =
		sbx_records(&ctx->invocation, SBX_SECTION_ARGV, &argc);
	const uint32_t *vars =
		sbx_records(&ctx->invocation, SBX_SECTION_ENVP, &envc);
	const char **argv = (const char **)(void *)ctx->vectors;
	const char **envp = argv + argc + 1;
	int result = -ENOENT;

	for (i = 0; i < argc; i++)
		argv[i] = sbx_string(&ctx->invocation, args[i]);
	argv[argc] = NULL;
	for (i = 0; i < envc; i++)
		envp[i] = sbx_string(&ctx->invocation, vars[i]);
	envp[envc] = NULL;
	for (i = 0; i < programs; i++) {
		const char *path = sbx_string(&ctx->invocation, paths[i]);
		struct stat st;

		execve(path, (char *const *)argv, (char *const *)envp);
		switch (errno) {
		case ENOENT:
			if (stat(path, &st) == 0) {
				/* there, but not what is to load it */
				ctx->error.op = (int32_t)i;
				ctx->error.detail = SBX_EXEC_NO_INTERPRETER;
				return -ENOENT;
			}
			continue;
		case ENOTDIR:
			continue;
		case EACCES:
			ctx->error.op = (int32_t)i;
			if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
				ctx->error.detail = SBX_EXEC_IS_DIRECTORY;
			result = -EACCES;
			continue;
		default:
			ctx->error.op = (int32_t)i;
			return -errno;
		}
	}
	return result;
}

/*
 * Be ready, wait for a request, become its program. FILTER_FIRST says that
 * the plan's filter allows every call from there on; then it is in force
 * before anything from outside is read, and costs the request no time.
 */
static void __attribute__((noreturn)) request_main(struct sbx_context *ctx)
{
	int is_filter_first =
		(ctx->run->flags & SBX_INVOCATION_FILTER_FIRST) != 0;
	int err;

	RUN_PART(ctx, waiting_part);
	if (is_filter_first)
		RUN_PART(ctx, filter_part);
	err = sbx_request_take(ctx);
	if (err)
		sbx_child_report(ctx, SBX_STAGE_CHECK, err);
	RUN_PART(ctx, request_part);
	if (!is_filter_first)
		RUN_PART(ctx, filter_part);
	RUN_PART(ctx, exec_part);
	_exit(127);
}

/**
 * sbx_command_main - run the second part, and become the program
 * Context: the command, right after pid 1 forked it.
 */
void sbx_command_main(struct sbx_context *ctx)
{
	int err = sbx_tree_follow(ctx);

	if (err)
		sbx_child_report(ctx, SBX_STAGE_INIT, err);
	if (ctx->run->flags & SBX_INVOCATION_SERVE)
		request_main(ctx);
	RUN_PART(ctx, second_part);
	_exit(127);	/* exec returned an error, and it was reported */
}

/*
 * A sanitizer does not know of stacks of our own. A command that waits for a
 * request or a barrier leaves pid 1 its own life meanwhile.
 */
#if defined(__SANITIZE_ADDRESS__)
#define MAY_SHARE_MEMORY 0
#else
#define MAY_SHARE_MEMORY 1
#endif
#define COMMAND_STACK (128u << 10)

static int command_entry(void *ctx)
{
	sbx_command_main(ctx);
}

/*
 * Fork the command. It borrows pid 1's memory, which waits until the command
 * has executed or ended: page tables that exec throws away are not copied.
 * Nothing in there waits for pid 1, and the stages write what pid 1 reads no
 * more. As pid 1 wakes only beside the running command, it gives up its
 * capabilities before, for both. Where the command keeps some, and without a
 * namespace of its own, where init has to stay awake (tree.c), it is a copy.
 * Return: the command's pid, or -errno with the stage in ctx->error.
 */
static int command_fork(struct sbx_context *ctx)
{
	static unsigned char stack[COMMAND_STACK] __attribute__((aligned(64)));
	const uint32_t waits = SBX_INVOCATION_SERVE | SBX_INVOCATION_BARRIER;
	int pid;

	ctx->error.stage = SBX_STAGE_INIT;
	if (MAY_SHARE_MEMORY && !(ctx->run->flags & waits) &&
	    !ctx->core->caps && ctx->core->namespaces & SBX_CLONE_NEWPID) {
		int err = sbx_stage_caps(ctx);

		if (err) {
			ctx->error.stage = SBX_STAGE_CAPS;
			return err;
		}
		ctx->is_unprivileged = 1;
		pid = clone(command_entry, stack + sizeof(stack),
			    CLONE_VM | CLONE_VFORK | SIGCHLD, ctx);
		return pid < 0 ? -errno : pid;
	}
	pid = sys_fork();
	if (pid == 0)
		sbx_command_main(ctx);
	return pid;
}

/**
 * sbx_child_main - run every stage
 * Context: the child of the clone, on a copy of the caller's memory.
 */
void sbx_child_main(struct sbx_context *ctx)
{
	pid_t pid;
	int err;

	err = sbx_netns_enter(ctx);
	if (err)
		sbx_child_report(ctx, SBX_STAGE_CLONE, err);
	signals_reset();
	ctx->umask_octal = umask(0);
	RUN_PART(ctx, first_part);
	/* not readable through /proc by what it will hold, from the first
	 * moment that something else exists in the namespace */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		sbx_child_report(ctx, SBX_STAGE_INIT, -errno);
	err = sbx_tree_prepare(ctx);
	if (err)
		sbx_child_report(ctx, SBX_STAGE_INIT, err);
	if (ctx->run->flags & SBX_INVOCATION_SERVE &&
	    !(ctx->run->flags & SBX_INVOCATION_ONCE))
		sbx_serve_main(ctx);
	err = sbx_caps_bound(ctx);
	if (err)
		sbx_child_report(ctx, SBX_STAGE_CAPS, err);
	pid = command_fork(ctx);
	if (pid < 0)
		sbx_child_report(ctx, (enum sbx_stage)ctx->error.stage, pid);
	ctx->command_pid = pid;
	sbx_init_main(ctx);
}
