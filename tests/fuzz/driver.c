/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for libFuzzer in a build without it: gives every file of a corpus directory to the
 * entry, once. An empty corpus is a failure: it would test nothing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(int dir, const char *name)
{
	CLEANUP_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	CLEANUP_FREE uint8_t *data = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	/* Not a byte more than the input, so that a sanitizer sees each read beyond it. */
	data = malloc((size_t)st.st_size);
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
		return -1;
	return LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
	DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
	struct dirent *entry;
	int count = 0;

	if (!dir) {
		(void)fprintf(stderr, "usage: %s CORPUS_DIRECTORY\n", argv[0]);
		return 2;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (run_file(dirfd(dir), entry->d_name) != 0) {
			(void)fprintf(stderr, "%s/%s: failed\n", argv[1], entry->d_name);
			return 1;
		}
		count++;
	}
	(void)closedir(dir);
	printf("%d inputs\n", count);
	return count > 0 ? 0 : 1;
}
