// SPDX-License-Identifier: Apache-2.0
/*
 * spawn.c - start a sandbox; runs in the parent.
 *
 * One clone makes every namespace; the child waits for its id maps, which
 * only a process outside can write. Three pipes tie the two together:
 *   control  parent -> child  'M' maps written (and the cgroup joined), 'G'
 *                             barrier open; its closing
 *                             tells pid 1 that the supervisor is gone
 *   error    child -> parent  one struct sbx_error, or end of file at exec
 *   status   pid 1 -> parent  one struct sbx_status when the command ended
 * and a socket, where it gets a terminal of its own or its refused calls are
 * recorded, for the terminal's master and the filter's listener.
 *
 * Thread-safe: no state outlives the call; signals stay blocked in this
 * thread from before the clone until the parent is back, so that no handler
 * of the caller's runs in the child. The child is cloned without an exit
 * signal: a wait(2) of the caller's own, or of a library, never reaps it.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <linux/capability.h>

#include "core.h"
#include "sys.h"

#define GROUPS_MAX 65536	/* NGROUPS_MAX of Linux */

struct pipes {
	int control[2];
	int error[2];
	int status[2];
	int handover[2];	/* -1 where nothing is handed over */
};

static int fail(struct sbx_error *error, enum sbx_stage stage, int err)
{
	error->stage = (int32_t)stage;
	error->err = -err;
	return err;
}

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void pipes_close(struct pipes *pipes)
{
	int *all = (int *)pipes;
	size_t i;

	for (i = 0; i < sizeof(*pipes) / sizeof(int); i++)
		fd_close(&all[i]);
}

/* Both ends above 2, even where the caller closed 0-2. */
static int ends_raise(const int raw[2], int ends[2])
{
	int i;

	for (i = 0; i < 2; i++) {
		ends[i] = raw[i];
		if (raw[i] > 2)
			continue;
		ends[i] = fcntl(raw[i], F_DUPFD_CLOEXEC, 3);
		close(raw[i]);
	}
	return ends[0] < 0 || ends[1] < 0 ? -EMFILE : 0;
}

static int pipe_open(int ends[2])
{
	int raw[2];

	return pipe2(raw, O_CLOEXEC) < 0 ? -errno : ends_raise(raw, ends);
}

static int socket_open(int ends[2])
{
	int raw[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, raw) < 0)
		return -errno;
	return ends_raise(raw, ends);
}

static int pipes_open(struct pipes *pipes, int has_handover)
{
	int err;

	memset(pipes, 0xff, sizeof(*pipes));	/* -1 everywhere */
	err = pipe_open(pipes->control);
	if (!err)
		err = pipe_open(pipes->error);
	if (!err)
		err = pipe_open(pipes->status);
	if (!err && has_handover)
		err = socket_open(pipes->handover);
	if (err)
		pipes_close(pipes);
	return err;
}

/* The whole id range as one map: the initial user namespace. */
static int is_initial_userns(void)
{
	char line[128];
	ssize_t size;
	int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	size = read(fd, line, sizeof(line) - 1);
	close(fd);
	if (size <= 0)
		return 0;
	line[size] = '\0';
	return strstr(line, "4294967295") != NULL;
}

int sbx_is_privileged(void)
{
	const uint32_t wanted = 1u << CAP_SYS_ADMIN | 1u << CAP_SETUID |
				1u << CAP_SETGID;
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	memset(data, 0, sizeof(data));
	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	return (data[0].effective & wanted) == wanted && is_initial_userns();
}

int sbx_orphans_adopt(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* Whether the command is somebody else than the caller outside. */
static int outside_differs(const struct sbx_context *ctx)
{
	if (!(ctx->core->namespaces & SBX_CLONE_NEWUSER))
		return 0;
	return sbx_id_outside(ctx, SBX_ID_UID) != geteuid() ||
	       sbx_id_outside(ctx, SBX_ID_GID) != getegid();
}

/* The end of each command, and of all, is pid 1's business; and the listener,
 * of which a tree has one, is handed over before the sandbox is ready. */
static int is_servable(const struct sbx_context *ctx)
{
	uint32_t wanted = SBX_INVOCATION_ONCE | SBX_INVOCATION_FILTER_FIRST;

	return ctx->core->namespaces & SBX_CLONE_NEWPID &&
	       (!ctx->is_notifying || (ctx->run->flags & wanted) == wanted);
}

static int context_init(struct sbx_context *ctx, const void *plan,
			size_t plan_size, const void *invocation,
			size_t invocation_size, struct sbx_error *error)
{
	size_t argc, envc, count, i;
	const struct sbx_filter *filters;
	const uint32_t *slots;
	int err;

	memset(ctx, 0, sizeof(*ctx));
	ctx->handover_fd = -1;
	ctx->terminal_fd = -1;
	ctx->old_root = -1;
	ctx->new_root = -1;
	ctx->base = -1;
	ctx->taken_fd = -1;
	ctx->ruleset_fd = -1;
	err = sbx_plan_check(plan, plan_size, error);
	if (!err)
		err = sbx_invocation_check(invocation, invocation_size, error);
	if (!err)
		err = sbx_view_open(&ctx->plan, plan, plan_size,
				    SBX_PLAN_MAGIC, SBX_PLAN_MAX, error);
	if (!err)
		err = sbx_view_open(&ctx->invocation, invocation,
				    invocation_size, SBX_INVOCATION_MAGIC,
				    SBX_INVOCATION_MAX, error);
	if (err)
		return err;
	ctx->core = sbx_records(&ctx->plan, SBX_SECTION_CORE, &count);
	ctx->run = sbx_records(&ctx->invocation, SBX_SECTION_INVOCATION,
			       &count);
	slots = sbx_records(&ctx->invocation, SBX_SECTION_SLOTS, &count);
	for (i = 0; i < count; i++)
		ctx->slots[i] = sbx_string(&ctx->invocation, slots[i]);
	sbx_records(&ctx->invocation, SBX_SECTION_ARGV, &argc);
	sbx_records(&ctx->invocation, SBX_SECTION_ENVP, &envc);
	ctx->requests_fd = (int)ctx->run->requests;
	filters = sbx_records(&ctx->plan, SBX_SECTION_FILTERS, &count);
	for (i = 0; i < count; i++)
		ctx->is_notifying |= (filters[i].flags & SBX_FILTER_NOTIFY) != 0;
	ctx->supervisor_pid = getpid();
	sbx_records(&ctx->invocation, SBX_SECTION_MOUNTS, &count);
	if (count && !(ctx->core->namespaces & SBX_CLONE_NEWNS))
		return fail(error, SBX_STAGE_CHECK, -EINVAL);
	if (ctx->run->flags & SBX_INVOCATION_SERVE && !is_servable(ctx))
		return fail(error, SBX_STAGE_CHECK, -EINVAL);
	ctx->vectors = malloc((argc + envc + 2) * sizeof(char *));
	return ctx->vectors ? 0 : fail(error, SBX_STAGE_CHECK, -ENOMEM);
}

/*
 * Clone. Where ids are switched, this thread drops its supplementary groups
 * around the call: the child inherits them and can never drop them again,
 * since setgroups(2) is denied in its namespace. The raw call is per thread.
 */
static int clone_child(struct sbx_context *ctx, int *pidfd)
{
	struct sbx_clone_args args = {
		/* TIME and CGROUP are entered by unshare(2), see
		 * sbx_stage_timens() and sbx_stage_maps(); so is NET */
		.flags = (ctx->core->namespaces &
			  ~(SBX_CLONE_NEWTIME | SBX_CLONE_NEWCGROUP |
			    sbx_netns_late(ctx))) |
			 SBX_CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
	};
	gid_t *groups = NULL;
	int count = 0;
	int pid;

	if (ctx->is_switching_ids) {
		groups = malloc(GROUPS_MAX * sizeof(gid_t));
		if (!groups)
			return -ENOMEM;
		count = getgroups(GROUPS_MAX, groups);
		if (count < 0 || sys_setgroups(0, NULL) < 0) {
			pid = -errno;
			free(groups);
			return pid;
		}
	}
	pid = sys_clone3(&args);
	/* Container engines answer so, because a filter cannot look into the
	 * arguments of clone3; clone they judge by its flags. */
	if (pid == -ENOSYS && !(args.flags >> 32))
		pid = sys_clone_pidfd(args.flags, pidfd);
	if (pid == 0)
		return 0;
	if (groups) {
		/* restoring what this thread had cannot be refused to a
		 * thread that was allowed to drop it */
		int err = sys_setgroups((size_t)count, groups);

		free(groups);
		if (err < 0)
			abort();
	}
	return pid;
}

static void child_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* Write the maps and let the child go on, unless the caller has to do more. */
static int child_release(struct sbx_context *ctx, int control, pid_t pid)
{
	uint32_t flags = ctx->run->flags;
	int err = 0;

	if (ctx->core->namespaces & SBX_CLONE_NEWUSER &&
	    !(flags & SBX_INVOCATION_MAPS_OUTSIDE))
		err = sbx_userns_maps_write(ctx, pid);
	if (err || flags & SBX_INVOCATION_HOLD)
		return err;
	return sbx_write_all(control, "M", 1);
}

static int start(struct sbx_context *ctx, struct pipes *pipes,
		 struct sbx_child *child, struct sbx_error *error)
{
	sigset_t all;
	int pidfd = -1;
	int err, pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &ctx->signal_mask);
	ctx->control_fd = pipes->control[0];
	ctx->error_fd = pipes->error[1];
	ctx->status_fd = pipes->status[1];
	ctx->handover_fd = pipes->handover[1];
	pid = clone_child(ctx, &pidfd);
	if (pid == 0) {
		/* the other ends: a held write end would hide the closing */
		close(pipes->control[1]);
		close(pipes->error[0]);
		close(pipes->status[0]);
		fd_close(&pipes->handover[0]);
		sbx_child_main(ctx);
	}
	pthread_sigmask(SIG_SETMASK, &ctx->signal_mask, NULL);
	if (pid < 0)
		return fail(error, SBX_STAGE_CLONE, pid);
	fd_close(&pipes->control[0]);
	fd_close(&pipes->error[1]);
	fd_close(&pipes->status[1]);
	fd_close(&pipes->handover[1]);
	err = child_release(ctx, pipes->control[1], pid);
	if (err) {
		child_kill(pid);
		close(pidfd);
		return fail(error, SBX_STAGE_MAPS, err);
	}
	memset(child, 0, sizeof(*child));
	child->pid = pid;
	child->pidfd = pidfd;
	child->control_fd = pipes->control[1];
	child->error_fd = pipes->error[0];
	child->status_fd = pipes->status[0];
	child->handover_fd = pipes->handover[0];
	return 0;
}

int sbx_spawn(const void *plan, size_t plan_size, const void *invocation,
	      size_t invocation_size, struct sbx_child *child,
	      struct sbx_error *error)
{
	struct sbx_context ctx;
	struct pipes pipes;
	int err;

	err = context_init(&ctx, plan, plan_size, invocation, invocation_size,
			   error);
	if (err)
		goto out;
	ctx.is_switching_ids = outside_differs(&ctx);
	if (ctx.is_switching_ids) {
		err = sbx_sources_open(&ctx);
		error->op = ctx.error.op;
		error->detail = ctx.error.detail;
		if (err) {
			fail(error, SBX_STAGE_SOURCES, err);
			goto out;
		}
		error->op = -1;
		error->detail = 0;
	}
	err = pipes_open(&pipes, ctx.is_notifying ||
			 (ctx.run->flags & SBX_INVOCATION_TERMINAL) != 0);
	if (err) {
		fail(error, SBX_STAGE_CLONE, err);
		goto out;
	}
	err = start(&ctx, &pipes, child, error);
	if (err)
		pipes_close(&pipes);
out:
	sbx_sources_close(&ctx);
	free(ctx.vectors);
	return err;
}
