/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ending.h - what a run that ended is to the shell and to people.
 */
#ifndef SBX_LAUNCHER_ENDING_H
#define SBX_LAUNCHER_ENDING_H

#include "launcher.h"

int sbx_ending_code(const struct sbx_ending *ending);
void sbx_ending_say(const struct sbx_ending *ending);

#endif
