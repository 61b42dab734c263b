/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child reads what the disk has, through a map of its own: a sector that cannot be read kills the
 * child (SIGBUS), and so would a mistake of pages.c. Threads share the reading out among them, for
 * a node waits for its daemon.
 */
#include "ipamd/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ipamd/pages.h"

enum { VERIFY_THREADS = 4 };

/* What the child tells: in memory that it shares with its parent. */
struct verdict {
	int r; /* as of pages_begin() */
	char why[sizeof(((struct pages_part *)0)->why)];
};

void verify_recipe(const char *path, struct err *err)
{
	err_details(err,
		    "stop the daemon and restore %s from a copy or an export, or drain the node "
		    "and move it away (operations: the store is damaged)",
		    path);
}

/* Each part brings its share of the file in, in order, which a disk likes better than the order of
 * the keys. A kernel before 5.14 lets the walk do it. */
static void bring_in(const struct pages_part *part)
{
	const struct pages *pages = part->pages;
	size_t share = pages->size / part->parts & ~((size_t)sysconf(_SC_PAGESIZE) - 1);

	(void)madvise((void *)(pages->bytes + share * part->part),
		      part->part + 1 < part->parts ? share : pages->size - share * part->part,
		      MADV_POPULATE_READ);
}

static void *walk(void *arg)
{
	bring_in(arg);
	(void)pages_walk(arg);
	return NULL;
}

static unsigned int thread_count(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 1 ? 1 : cpus > VERIFY_THREADS ? VERIFY_THREADS : (unsigned int)cpus;
}

/* False: a part has found damage, and @first tells. */
static bool walk_parts(const struct pages *pages, struct pages_part *first)
{
	static struct pages_part parts[VERIFY_THREADS];
	pthread_t threads[VERIFY_THREADS];
	bool started[VERIFY_THREADS] = { false };
	unsigned int count = thread_count();

	for (unsigned int i = 0; i < count; i++) {
		parts[i] = (struct pages_part) { .pages = pages, .part = i, .parts = count };
		started[i] = i > 0 && pthread_create(&threads[i], NULL, walk, &parts[i]) == 0;
	}
	for (unsigned int i = 0; i < count; i++) {
		if (started[i])
			(void)pthread_join(threads[i], NULL);
		else
			(void)walk(&parts[i]);
	}
	for (unsigned int i = 0; i < count; i++) {
		if (!parts[i].why[0])
			continue;
		memcpy(first->why, parts[i].why, sizeof(first->why));
		return false;
	}
	return pages_end(first, parts, count);
}

static void judge(const void *bytes, size_t size, struct verdict *verdict)
{
	static struct pages_part part;
	struct pages pages;
	int r;

	r = pages_begin(&pages, bytes, size, &part);
	if (r == 0 && !walk_parts(&pages, &part))
		r = -EUCLEAN;
	memcpy(verdict->why, part.why, sizeof(part.why));
	verdict->r = r;
	pages_free(&pages);
}

/* Dies with its parent, of a signal silently, and keeps nothing open that the parent may close. */
_Noreturn static void child_run(const void *bytes, size_t size, struct verdict *verdict)
{
	const struct rlimit no_core = { 0, 0 };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)signal(SIGBUS, SIG_DFL);
	(void)signal(SIGSEGV, SIG_DFL);
	(void)close_range(3, ~0U, 0);
	judge(bytes, size, verdict);
	_exit(0);
}

/* Does the signal come from what is in the file? Not if it is somebody's, for want of memory, or of
 * a filter. */
static bool is_of_the_file(int signal)
{
	return signal == SIGBUS || signal == SIGSEGV;
}

static int child_wait(pid_t pid, struct verdict *verdict)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return verdict->r;
	(void)snprintf(verdict->why, sizeof(verdict->why), "it cannot be read to its end (%s)",
		       WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "the reader failed");
	return WIFSIGNALED(status) && is_of_the_file(WTERMSIG(status)) ? -EUCLEAN : -EINTR;
}

static int verdict_tell(const char *path, int r, const struct verdict *verdict, struct err *err)
{
	if (r == -EINTR) {
		(void)err_set(err, EINTR, ERR_STORE, "read %s: %s", path, verdict->why);
		err_details(err, "whether it is damaged is not known: start the daemon again");
		return r;
	}
	if (r == -EINVAL)
		(void)err_set(err, EINVAL, ERR_STORE, "open %s: it is not a ledger", path);
	else if (r == -EPROTONOSUPPORT)
		(void)err_set(err, EPROTONOSUPPORT, ERR_STORE,
			      "open %s: it has another format than LMDB 0.9 gives its files", path);
	else if (r == -EUCLEAN)
		(void)err_set(err, EUCLEAN, ERR_STORE, "open %s: it is damaged: %s", path,
			      verdict->why);
	else if (r < 0)
		return err_sys(err, -r, ERR_STORE, "read %s", path);
	if (r < 0)
		verify_recipe(path, err);
	return r;
}

static int verify_bytes(const char *path, const void *bytes, size_t size, struct verdict *verdict,
			struct err *err)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(err, errno, ERR_STORE, "start a reader of %s", path);
	if (pid == 0)
		child_run(bytes, size, verdict);
	return verdict_tell(path, child_wait(pid, verdict), verdict, err);
}

static int verify_fd(const char *path, int fd, size_t size, struct err *err)
{
	struct verdict *verdict = mmap(NULL, sizeof(*verdict), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	void *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	int r;

	if (verdict == MAP_FAILED || bytes == MAP_FAILED)
		r = err_sys(err, errno, ERR_STORE, "read %s", path);
	else
		r = verify_bytes(path, bytes, size, verdict, err);
	if (bytes != MAP_FAILED)
		(void)munmap(bytes, size);
	if (verdict != MAP_FAILED)
		(void)munmap(verdict, sizeof(*verdict));
	return r;
}

int verify_file(const char *path, struct err *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, ERR_STORE, "open %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, ERR_STORE, "open %s: it is no regular file", path);
	if (st.st_size > 0)
		return verify_fd(path, fd, (size_t)st.st_size, err);
	(void)err_set(err, EUCLEAN, ERR_STORE, "open %s: it is damaged: it is empty", path);
	verify_recipe(path, err);
	return -EUCLEAN;
}
