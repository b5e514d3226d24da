/* SPDX-License-Identifier: Apache-2.0 */
/*
 * invocation.h - an invocation while it is made.
 */
#ifndef SBX_LAUNCHER_INVOCATION_H
#define SBX_LAUNCHER_INVOCATION_H

#include "launcher.h"

/**
 * struct sbx_draft - an invocation without its layout
 * @template: what the entry has
 * @slots: the caller's directories, from the template
 * @pool: the template's strings, then those of this command
 * @argv: offsets into @pool, 32 bits each; so are @envp and @programs
 */
struct sbx_draft {
	struct sbx_view template;
	const char *slots[SBX_SLOT_COUNT];
	struct sbx_text pool;
	struct sbx_text argv;
	struct sbx_text envp;
	struct sbx_text programs;
};

/* invocation.c */
void sbx_draft_string(struct sbx_draft *draft, struct sbx_text *list,
		      const char *string);

/* environment.c */
int sbx_environment_make(struct sbx_draft *draft, const struct sbx_view *plan,
			 char *const caller[], const char *name);

#endif
