// SPDX-License-Identifier: Apache-2.0
/*
 * text.c - numbers and small writes, safe between clone and exec.
 *
 * Runs anywhere. snprintf(3) and stdio are not async-signal-safe, and in a
 * child of a threaded process a lock they need may be held for ever.
 */
#include <fcntl.h>
#include <string.h>

#include "core.h"
#include "sys.h"

/**
 * sbx_format_u64 - write a number as text
 * @value: the number
 * @base: 8 or 10
 * @out: NUL-terminated text
 * Context: any.
 * Return: the length.
 */
size_t sbx_format_u64(uint64_t value, unsigned int base, char out[24])
{
	char digits[24];
	size_t count = 0;
	size_t i;

	do {
		digits[count++] = (char)('0' + value % base);
		value /= base;
	} while (value);
	for (i = 0; i < count; i++)
		out[i] = digits[count - 1 - i];
	out[count] = '\0';
	return count;
}

/**
 * sbx_write_all - write every byte
 * Context: any; retries EINTR and short writes.
 * Return: 0 or -errno of write(2).
 */
int sbx_write_all(int fd, const void *data, size_t size)
{
	const char *from = data;

	while (size) {
		ssize_t done = write(fd, from, size);

		if (done < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		from += done;
		size -= (size_t)done;
	}
	return 0;
}

/**
 * sbx_write_file - write @text to an existing file in one write(2)
 * Context: any. The kernel's control files want the whole value at once.
 * Return: 0 or -errno of openat(2) or write(2).
 */
int sbx_write_file(int dirfd, const char *path, const char *text)
{
	size_t size = strlen(text);
	ssize_t done;
	int err = 0;
	int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	done = write(fd, text, size);
	if (done < 0)
		err = -errno;
	else if ((size_t)done != size)
		err = -EIO;
	close(fd);
	return err;
}
