/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.h - declarations shared by the files of the core; includes abi.h.
 *
 * A blob that passed its checker is read through struct sbx_view; nothing
 * after the check looks at a size again, and nothing before it trusts one.
 */
#ifndef SBX_CORE_H
#define SBX_CORE_H

#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "abi.h"
#include "abi_entry.h"
#include "abi_job.h"
#include "abi_denials.h"
#include "abi_serve.h"

#define SBX_SECTION_KINDS 48
#define SBX_MAP_LINE 64		/* three numbers of 32 bits, and room to format */
#define SBX_TERMINAL_FD 3	/* of pid 1, while there is a terminal */

/**
 * struct sbx_view - a checked blob
 * @base: start of the blob, aligned to 8
 * @size: bytes
 * @sections: section table entries by kind, NULL where absent
 */
struct sbx_view {
	const unsigned char *base;
	size_t size;
	const struct sbx_section *sections[SBX_SECTION_KINDS];
};

/**
 * struct sbx_context - everything a child needs, made before the clone
 * @plan: the walls
 * @invocation: what runs now
 * @core: the plan's CORE record
 * @run: the invocation's INVOCATION record
 * @slots: slot values, "" where the caller has none
 * @source_fds: detached trees opened by a privileged parent, one for each
 *	mount of plan and invocation, -1 where none; NULL: the child opens them
 * @is_notifying: the filter has refused calls answered by the supervisor
 * @is_switching_ids: the outside id is not the caller's
 * @control_fd: read end; 'M' = maps written, 'G' = barrier open, EOF = die
 * @error_fd: write end
 * @status_fd: write end
 * @handover_fd: socket to the supervisor for the terminal's master and the
 *	filter's listener, or -1
 * @terminal_fd: the command's own terminal, or -1
 * @old_root: O_PATH descriptor of the root the sources are taken from
 * @new_root: the mount that becomes /
 * @base: the root while the view is built; holds the other two and scratch
 * @supervisor_pid: of the caller, as the child sees it without a pid namespace
 * @init_pid: of the process that forks the command
 * @is_domain_proved: kill(-1) of init reaches only its descendants: tree.c
 * @is_unprivileged: pid 1 has no capability left, and the command none to drop
 * @command_pid: known to pid 1 after the fork
 * @command_status: as waitpid(2), once @is_command_done
 * @is_command_done: the command was reaped
 * @is_served: the command is one of several: serve.c
 * @requests_fd: the socket that brings requests
 * @taken_fd: where it tells pid 1 that it has taken a request, or -1
 * @ruleset_fd: a Landlock ruleset that is ready to be enforced, or -1
 * @degraded: SBX_DEGRADED_* seen on the way
 * @umask_octal: the caller's
 * @signal_mask: the caller's, restored for the command
 * @vectors: room for the argv and envp pointers, made before the clone
 * @error: filled in by the stage that fails
 */
struct sbx_context {
	struct sbx_view plan;
	struct sbx_view invocation;
	const struct sbx_plan_core *core;
	const struct sbx_invocation_core *run;
	const char *slots[SBX_SLOT_COUNT];
	int *source_fds;
	int is_notifying;
	int is_switching_ids;
	int is_bounded;		/* the bounding set holds no more than the plan's */
	int control_fd;
	int error_fd;
	int status_fd;
	int handover_fd;
	int terminal_fd;
	int old_root;
	int new_root;
	int base;
	pid_t supervisor_pid;
	pid_t init_pid;
	int is_domain_proved;
	int is_unprivileged;
	pid_t command_pid;
	int command_status;
	int is_command_done;
	int is_served;
	int requests_fd;
	int taken_fd;
	int ruleset_fd;
	uint32_t degraded;
	mode_t umask_octal;
	sigset_t signal_mask;
	void *vectors;
	struct sbx_error error;
};

/* view.c */
int sbx_view_open(struct sbx_view *view, const void *blob, size_t size,
		  uint32_t magic, size_t max, struct sbx_error *error);
const void *sbx_records(const struct sbx_view *view, uint32_t kind,
			size_t *count);
const char *sbx_string(const struct sbx_view *view, uint32_t offset);
int sbx_path(const struct sbx_context *ctx, const struct sbx_view *view,
	     uint32_t slot, uint32_t offset, char out[PATH_MAX]);
int sbx_check_mounts(const struct sbx_view *view, struct sbx_error *error);
int sbx_check_string(const struct sbx_view *view, uint32_t offset,
		     size_t max);
int sbx_check_slot_path(const struct sbx_view *view, uint32_t slot,
			uint32_t offset);
int sbx_check_root(const struct sbx_view *view,
		   const struct sbx_plan_core *core);
int sbx_check_sections(const struct sbx_view *view, uint64_t allowed,
		       struct sbx_error *error);
int sbx_check_fail(struct sbx_error *error, uint32_t kind, int err);

/* entry.c */
int sbx_check_groups(const struct sbx_view *view, struct sbx_error *error);

/* plan.c */
int sbx_check_template(const void *invocation, size_t size,
		       struct sbx_error *error);

/* idmaps.c */
int sbx_check_id_maps(const struct sbx_view *view, struct sbx_error *error);
uint32_t sbx_id_outside(const struct sbx_context *ctx, enum sbx_id_kind kind);
size_t sbx_id_map_line(const struct sbx_id_map *map, char line[SBX_MAP_LINE]);

/* child.c: runs in the child, does not return */
void sbx_child_main(struct sbx_context *ctx) __attribute__((noreturn));
void sbx_command_main(struct sbx_context *ctx) __attribute__((noreturn));
void sbx_child_report(struct sbx_context *ctx, enum sbx_stage stage, int err)
	__attribute__((noreturn));

/* One effect each; all return 0 or a negative errno and may set
 * ctx->error.op and ctx->error.detail. */
int sbx_userns_maps_write(const struct sbx_context *ctx, pid_t pid);
int sbx_userns_idmap_open(uid_t uid, gid_t gid, uid_t outside_uid,
			  gid_t outside_gid);
int sbx_stage_maps(struct sbx_context *ctx);
int sbx_stage_userns_lock(struct sbx_context *ctx);
int sbx_stage_timens(struct sbx_context *ctx);
int sbx_stage_hostname(struct sbx_context *ctx);
int sbx_stage_loopback(struct sbx_context *ctx);
int sbx_stage_mounts(struct sbx_context *ctx);
int sbx_stage_pivot(struct sbx_context *ctx);
int sbx_stage_terminal(struct sbx_context *ctx);
int sbx_stage_session(struct sbx_context *ctx);
int sbx_stage_chdir(struct sbx_context *ctx);
int sbx_stage_rlimits(struct sbx_context *ctx);
int sbx_stage_caps(struct sbx_context *ctx);
int sbx_stage_no_new_privs(struct sbx_context *ctx);
int sbx_stage_fds(struct sbx_context *ctx);
int sbx_stage_landlock(struct sbx_context *ctx);
int sbx_stage_seccomp(struct sbx_context *ctx);
int sbx_stage_exec(struct sbx_context *ctx);

/* confine.c */
uint64_t sbx_netns_late(const struct sbx_context *ctx);
int sbx_netns_enter(const struct sbx_context *ctx);
int sbx_caps_bound(struct sbx_context *ctx);
int sbx_caps_drop_all(const struct sbx_context *ctx);
int sbx_caps_drop_own(void);
int sbx_caps_keep_for_commands(const struct sbx_context *ctx);

/* landlock.c */
int sbx_landlock_scope(uint64_t scoped);
int sbx_landlock_ruleset(struct sbx_context *ctx);

/* tree.c */
int sbx_tree_prepare(struct sbx_context *ctx);
int sbx_tree_follow(struct sbx_context *ctx);
void sbx_tree_end(struct sbx_context *ctx);

/* sources.c */
int sbx_sources_open(struct sbx_context *ctx);
void sbx_sources_close(struct sbx_context *ctx);
int sbx_root_operation(const struct sbx_context *ctx, struct sbx_mount *op);
int sbx_source_tree(struct sbx_context *ctx, const struct sbx_view *view,
		    const struct sbx_mount *op, size_t index, int *tree);
int sbx_tree_attrs(int tree, const struct sbx_mount *op);
size_t sbx_mount_count(const struct sbx_context *ctx);
int sbx_mount_has_source(const struct sbx_mount *op);
int sbx_mount_applies(const struct sbx_context *ctx,
		      const struct sbx_mount *op);
int sbx_is_absent(int err);

/* targets.c */
int sbx_target_open(int root, const char *path, int *fd);
int sbx_target_make(int root, const char *path, int is_directory,
		    mode_t mode, int *fd);
int sbx_parent_open(int root, const char *path, int *parent,
		    const char **name);
void sbx_parent_close(int root, int parent);

/* mounts.c */
int sbx_tmpfs_make(uint64_t size_bytes, uint32_t inodes, uint32_t mode_octal,
		   uint64_t attrs, int *fd);

/* terminal.c */
int sbx_terminal_join(const struct sbx_context *ctx);
void sbx_terminal_grant(const struct sbx_context *ctx);

/* init.c: pid 1 after the fork, does not return */
void sbx_init_main(struct sbx_context *ctx) __attribute__((noreturn));

/* serve.c: pid 1 of many commands, does not return */
void sbx_serve_main(struct sbx_context *ctx) __attribute__((noreturn));

/**
 * struct sbx_taken - what a command tells pid 1 of the request that it took
 */
struct sbx_taken {
	int32_t pid;
	uint32_t timeout_ms;
	uint32_t grace_ms;
};

/* request.c */
int sbx_request_take(struct sbx_context *ctx);
int sbx_request_refuse(int socket, int is_once, int err);

/* pass.c */
int sbx_fd_pass(int socket, char tag, unsigned char value, int fd);
int sbx_fd_take(int socket, char tag, unsigned char *value);

/* text.c: async-signal-safe helpers */
size_t sbx_format_u64(uint64_t value, unsigned int base, char out[24]);
int sbx_write_all(int fd, const void *data, size_t size);
int sbx_write_file(int dirfd, const char *path, const char *text);

#endif
