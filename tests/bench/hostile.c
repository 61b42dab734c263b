/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that mean no good, until they are ended: of COUNT a fifth each that say nothing,
 * that send one byte a second, garbage, or 64 KiB of nesting, and that come and go. The last three
 * act ten times a second; whoever was closed comes again.
 *
 *	hostile SOCKET COUNT
 */
#include <signal.h>
#include <unistd.h>

#include <sys/socket.h>
#include <sys/un.h>

#include "figures.h"

enum { HOSTILE_MAX = 1024, TICK_NS = 100 * 1000 * 1000, SLOW_TICKS = 10, NESTING = 64 * 1024 };

enum kind { IDLE, SLOW, GARBAGE, NESTED, RESTLESS, KINDS };

static struct sockaddr_un address = { .sun_family = AF_UNIX };
static char nested[NESTING];

/* -1: there is no room at the door now. */
static int hostile_connect(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* What was answered is read and thrown away; tells whether the daemon has hung up. */
static bool hostile_is_closed(int fd)
{
	char answer[4096];
	ssize_t n;

	while ((n = recv(fd, answer, sizeof(answer), 0)) > 0)
		;
	return n == 0 || errno != EAGAIN;
}

static void hostile_act(int *fd, enum kind kind, int tick)
{
	static const char garbage[] = "\x16\x03\x01 GET / HTTP/1.1 {\"jsonrpc\": [}\n";

	if (*fd >= 0 && (kind == RESTLESS || hostile_is_closed(*fd))) {
		close(*fd);
		*fd = -1;
	}
	if (*fd < 0)
		*fd = hostile_connect();
	if (*fd < 0)
		return;
	if (kind == SLOW && tick % SLOW_TICKS == 0)
		(void)send(*fd, "{", 1, MSG_NOSIGNAL);
	if (kind == GARBAGE)
		(void)send(*fd, garbage, sizeof(garbage) - 1, MSG_NOSIGNAL);
	if (kind == NESTED)
		(void)send(*fd, nested, sizeof(nested), MSG_NOSIGNAL);
}

int main(int argc, char **argv)
{
	static int fds[HOSTILE_MAX];
	int count = argc == 3 ? atoi(argv[2]) : 0;

	if (count < 1 || count > HOSTILE_MAX)
		return 2;
	strncpy(address.sun_path, argv[1], sizeof(address.sun_path) - 1);
	memset(nested, '[', sizeof(nested) - 1);
	nested[sizeof(nested) - 1] = '\n';
	for (int i = 0; i < count; i++)
		fds[i] = -1;
	for (int tick = 0;; tick++) {
		/* Spread over the tick, so that they do not come as one. */
		const struct timespec pause = { .tv_nsec = TICK_NS / count };

		for (int i = 0; i < count; i++) {
			hostile_act(&fds[i], (enum kind)(i % KINDS), tick);
			nanosleep(&pause, NULL);
		}
	}
}
