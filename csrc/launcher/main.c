// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - the native launcher: one static program, two modes.
 *
 * The name under which it was started decides. `sandbox-supervisor` runs the
 * job that its descriptors describe, for a Python program (job.c). Any other
 * name is the command line: `exec` runs from the plan cache where an entry
 * holds; everything else, and everything that goes wrong before the command
 * has started, is done by Python, which is started in this process's place.
 */
#include <string.h>

#include "launcher.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int main(int argc, char *argv[])
{
	int has_spoken = 0;
	int code = SBX_HANDOVER;

	if (argc > 0 && !strcmp(base_name(argv[0]), "sandbox-supervisor"))
		return sbx_job_main();
	if (argc > 2 && !strcmp(argv[1], "exec"))
		code = sbx_exec(&argv[2], &has_spoken);
	return code == SBX_HANDOVER ? sbx_handover(argv, has_spoken) : code;
}
