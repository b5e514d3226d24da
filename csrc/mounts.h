/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mounts.h - what the files that build the view share.
 */
#ifndef SBX_MOUNTS_H
#define SBX_MOUNTS_H

#include "core.h"
#include "sys.h"

/* Names in the base, the root of the process while the view is built. */
#define BASE_OLD "old"
#define BASE_NEW "new"
#define BASE_LOWER "lower"
#define BASE_UPPER "upper"
#define BASE_FILE "file"

#define ATTRS_EMPTY (SBX_MOUNT_ATTR_NOSUID | SBX_MOUNT_ATTR_NODEV | \
		     SBX_MOUNT_ATTR_NOEXEC)

/**
 * struct sbx_operation - one mount operation in progress
 * @ctx: the child's context
 * @view: plan or invocation, whichever holds @op
 * @op: the record
 * @index: counted over both lists
 * @target: resolved path inside
 */
struct sbx_operation {
	struct sbx_context *ctx;
	const struct sbx_view *view;
	const struct sbx_mount *op;
	size_t index;
	char target[PATH_MAX];
};

/* Record which part of the operation failed; returns @err. */
static inline int sbx_mount_fail(const struct sbx_operation *at, int part,
				 int err)
{
	at->ctx->error.detail = part;
	return err;
}

/* mounts.c */
int sbx_filesystem_mount(int fs, unsigned int attrs, int *fd);
int sbx_attach_at(int tree, int target);
int sbx_attach(const struct sbx_operation *at, int tree);
int sbx_operation_source(const struct sbx_operation *at, int *tree);

/* overlay.c */
int sbx_overlay_make(const struct sbx_operation *at, int *overlay);
int sbx_overlay_mount(const struct sbx_operation *at);

/* content.c */
int sbx_directory_make(const struct sbx_operation *at);
int sbx_file_make(const struct sbx_operation *at);
int sbx_symlink_make(const struct sbx_operation *at);

/* root.c */
int sbx_base_enter(struct sbx_context *ctx);
int sbx_root_make(struct sbx_context *ctx);

#endif
