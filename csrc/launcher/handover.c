// SPDX-License-Identifier: Apache-2.0
/*
 * handover.c - run Python in this process's place.
 *
 * The interpreter is the one that pip wrote into the first line of
 * `sandbox-python`, which lies beside the launcher's real path. Nothing else
 * is asked: whoever sets PATH, PYTHONPATH or argv[0] does not choose what
 * runs. Descriptors, terminal, signals and the exit status are those of this
 * process, since it stays the same one.
 *
 * Nothing has been allocated, opened or changed when this is called, or it
 * closes at exec.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher.h"

#define BESIDE "sandbox-python"
#define HEAD_MAX 4096

static int complain(const char *path, const char *problem, const char *detail)
{
	const char *const words[] = {
		"sandbox: its Python side cannot be started: ", path, ": ",
		problem, detail,
		"\n  hint: install the package again, so that `" BESIDE
		"` lies beside `sandbox`\n", NULL,
	};

	sbx_say(words);
	return SBX_EXIT_SANDBOX;
}

/* The path of @BESIDE, next to the program that runs. */
static int beside_path(char path[PATH_MAX])
{
	ssize_t size = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	if (size < 0)
		return -errno;
	path[size] = '\0';
	slash = strrchr(path, '/');
	if (!slash || path[0] != '/' ||
	    (size_t)(slash + 1 - path) + sizeof(BESIDE) > PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(slash + 1, BESIDE, sizeof(BESIDE));
	return 0;
}

static int head_read(const char *path, char head[HEAD_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t size;

	if (fd < 0)
		return -errno;
	size = read(fd, head, HEAD_MAX - 1);
	if (size < 0)
		size = -errno;
	close(fd);
	if (size < 0)
		return (int)size;
	head[size] = '\0';
	return 0;
}

/*
 * A path too long for the kernel, or with a space, stands on the second line:
 *   #!/bin/sh
 *   '''exec' "/a path/python" "$0" "$@"
 */
static char *long_form(char *head)
{
	static const char first[] = "#!/bin/sh\n'''exec' ";
	char *start, *end;

	if (strncmp(head, first, sizeof(first) - 1) != 0)
		return NULL;
	start = head + sizeof(first) - 1;
	if (*start == '"' || *start == '\'') {
		end = strchr(start + 1, *start);
		start++;
	} else {
		end = strchr(start, ' ');
	}
	if (!end)
		return NULL;
	*end = '\0';
	return start;
}

/**
 * sbx_interpreter - the interpreter that the head of a script names
 * @head: NUL-terminated; changed
 *
 * Context: pure.
 * Return: an absolute path inside @head, or NULL where the head is odd.
 */
char *sbx_interpreter(char *head)
{
	char *path = long_form(head);
	const char *name;

	if (!path) {
		if (strncmp(head, "#!", 2) != 0 || !strchr(head, '\n'))
			return NULL;
		path = head + 2;
		path += strspn(path, " \t");
		path[strcspn(path, " \t\r\n")] = '\0';
	}
	if (path[0] != '/')
		return NULL;
	/* env(1) would look in PATH, sh(1) is no Python */
	name = strrchr(path, '/') + 1;
	return strncmp(name, "py", 2) == 0 ? path : NULL;
}

/**
 * sbx_handover - become `INTERPRETER -I -P -m sandbox ARGUMENTS`
 * @argv: of this process
 * @has_spoken: the notes were written; Python is asked not to repeat them
 *
 * Return: 125, and a message was written; does not return otherwise.
 */
int sbx_handover(char *const argv[], int has_spoken)
{
	static char path[PATH_MAX], head[HEAD_MAX];
	static const char *const options[] = { "-I", "-P", "-m", "sandbox" };
	const size_t extra = sizeof(options) / sizeof(options[0]);
	char *interpreter;
	const char **made;
	size_t argc = 0, used = 0, i;
	int err;

	err = beside_path(path);
	if (err)
		return complain("/proc/self/exe", strerror(-err), "");
	err = head_read(path, head);
	if (err)
		return complain(path, strerror(-err), "");
	interpreter = sbx_interpreter(head);
	if (!interpreter)
		return complain(path, "its first line names no Python", "");
	while (argv[argc])
		argc++;
	made = calloc(argc + extra + 3, sizeof(*made));
	if (!made)
		return complain(path, strerror(ENOMEM), "");
	made[used++] = interpreter;
	for (i = 0; i < extra; i++)
		made[used++] = options[i];
	for (i = 1; i < argc; i++) {
		made[used++] = argv[i];
		if (i == 1 && has_spoken)
			made[used++] = "--quiet";
	}
	execve(interpreter, (char *const *)made, environ);
	err = errno;
	free(made);
	return complain(interpreter, strerror(err), "");
}
