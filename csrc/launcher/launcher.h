/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launcher.h - declarations shared by the files of the launcher.
 */
#ifndef SBX_LAUNCHER_H
#define SBX_LAUNCHER_H

#include "core.h"

#define SBX_EXIT_SANDBOX 125	/* the sandbox failed; EXIT_SANDBOX of errors.py */

extern char **environ;

/* main.c */
void sbx_say(const char *const words[]);

/* handover.c */
int sbx_handover(char *const argv[]);
char *sbx_interpreter(char *head);

/* job.c: the supervisor of a Python program */
int sbx_job_main(void) __attribute__((weak));

#endif
