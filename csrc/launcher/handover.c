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
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher.h"

#define BESIDE "sandbox-python"
#define HEAD_MAX 4096

static char quiet[] = "--quiet";

static int complain(const char *path, const char *problem)
{
	const char *const words[] = {
		"sandbox: its Python side cannot be started: ", path, ": ",
		problem,
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

/*
 * The interpreter, or NULL with the path and the problem; all of it is static.
 */
static char *python_find(const char **place, const char **problem)
{
	static char path[PATH_MAX], head[HEAD_MAX];
	char *interpreter;
	int err;

	*place = "/proc/self/exe";
	err = beside_path(path);
	if (!err) {
		*place = path;
		err = head_read(path, head);
	}
	if (err) {
		*problem = strerror(-err);
		return NULL;
	}
	interpreter = sbx_interpreter(head);
	if (!interpreter)
		*problem = "its first line names no Python";
	return interpreter;
}

static void python_run(const char *interpreter, const char *module,
		       char *const words[], size_t count)
{
	const char **made = calloc(count + 6, sizeof(*made));
	size_t used = 0, i;

	if (!made)
		return;
	made[used++] = interpreter;
	made[used++] = "-I";
	made[used++] = "-P";
	made[used++] = "-m";
	made[used++] = module;
	for (i = 0; i < count; i++)
		made[used++] = words[i];
	execve(interpreter, (char *const *)made, environ);
	free(made);
}

/**
 * sbx_handover - become `INTERPRETER -I -P -m sandbox ARGUMENTS`
 * @argv: of this process; room for one more word after the first
 * @has_spoken: the notes were written; Python is asked not to repeat them
 *
 * Return: 125, and a message was written; does not return otherwise.
 */
int sbx_handover(char *argv[], int has_spoken)
{
	const char *place, *problem;
	char *interpreter = python_find(&place, &problem);
	char **words = argv[0] ? argv + 1 : argv;
	size_t count = 0;

	if (!interpreter)
		return complain(place, problem);
	while (words[count])
		count++;
	if (has_spoken && count) {
		/* COMMAND becomes COMMAND --quiet, in the place of argv[0] */
		words--;
		words[0] = words[1];
		words[1] = quiet;
		count++;
	}
	python_run(interpreter, "sandbox", words, count);
	return complain(interpreter, strerror(errno));
}

/**
 * sbx_python_tell - have Python say in words what a record holds
 * @module: reads the record from its standard input
 *
 * Context: after the run. Where there is no Python, nothing is said.
 */
void sbx_python_tell(const char *module, const void *record, size_t size)
{
	const char *place, *problem;
	char *interpreter = python_find(&place, &problem);
	int fd = memfd_create("sandbox-record", MFD_CLOEXEC);
	pid_t pid;

	if (!interpreter || fd < 0 || sbx_write_all(fd, record, size) < 0 ||
	    lseek(fd, 0, SEEK_SET) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		if (dup2(fd, 0) == 0)
			python_run(interpreter, module, NULL, 0);
		_exit(SBX_EXIT_SANDBOX);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(fd);
}
