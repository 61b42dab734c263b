/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of the daemon that do nothing but ask: each reserves, waits, releases, waits, and again.
 *
 *	load SOCKET DAEMON-PID CLIENTS CYCLES FIRST [each] < LINES
 *
 * LINES are the request to reserve and the request to release, made once; MARK (mark.h) stands for
 * the container, which is another one each cycle, from number FIRST on, and GENERATION for what
 * the answer says. With "each" a client connects for each cycle. Prints wall ns and the daemon's
 * CPU ns of all, and the median and the 99th percentile of a reserve in ns.
 */
#include <signal.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "figures.h"
#include "mark.h"

#define GENERATION "1000000000000000000"

enum { LINE_MAX_LEN = 65536, CLIENTS_MAX = 1024 };

struct client {
	int fd;
	bool reserved;
	uint64_t number;
	int64_t begun_ns;
	char *answer;
	size_t len;
};

struct load {
	struct sockaddr_un address;
	bool each;
	struct marked reserve, release;
	char *generation; /* in the text of @release */
	uint64_t next, end;
	int epoll_fd;
	size_t busy;
	struct client clients[CLIENTS_MAX];
	struct latencies latencies;
};

static void client_connect(struct load *load, struct client *client)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };

	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 ||
	    connect(client->fd, (struct sockaddr *)&load->address, sizeof(load->address)) < 0 ||
	    epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0)
		die("connect");
}

static void client_send(const struct client *client, const struct marked *line)
{
	if (send(client->fd, line->text, line->len, MSG_NOSIGNAL) != (ssize_t)line->len)
		die("send");
}

/* Begins the next cycle, if there is one. */
static void client_reserve(struct load *load, struct client *client)
{
	if (load->next == load->end) {
		load->busy--;
		return;
	}
	client->number = load->next++;
	client->begun_ns = clock_ns(CLOCK_MONOTONIC);
	if (client->fd < 0)
		client_connect(load, client);
	marked_name(&load->reserve, client->number);
	client_send(client, &load->reserve);
}

static void client_release(struct load *load, struct client *client)
{
	static const char key[] = "\"generation\":";
	const char *generation = strstr(client->answer, key);
	char text[sizeof(GENERATION)];

	latencies_add(&load->latencies, clock_ns(CLOCK_MONOTONIC) - client->begun_ns);
	if (!generation) {
		fprintf(stderr, "load: %s", client->answer);
		exit(1);
	}
	/* Padded in front with blanks, which JSON allows. */
	(void)snprintf(text, sizeof(text), "%*llu", (int)strlen(GENERATION),
		       strtoull(generation + strlen(key), NULL, 10));
	memcpy(load->generation, text, strlen(text));
	marked_name(&load->release, client->number);
	client_send(client, &load->release);
}

static void client_released(struct load *load, struct client *client)
{
	if (strstr(client->answer, "\"error\"")) {
		fprintf(stderr, "load: %s", client->answer);
		exit(1);
	}
	if (load->each) {
		close(client->fd);
		client->fd = -1;
	}
	client_reserve(load, client);
}

static void client_read(struct load *load, struct client *client)
{
	ssize_t n =
		recv(client->fd, client->answer + client->len, LINE_MAX_LEN - 1 - client->len, 0);

	if (n <= 0)
		die("the daemon has hung up");
	client->len += (size_t)n;
	if (client->answer[client->len - 1] != '\n')
		return;
	client->answer[client->len] = '\0';
	client->len = 0;
	client->reserved = !client->reserved;
	if (client->reserved)
		client_release(load, client);
	else
		client_released(load, client);
}

static void load_run(struct load *load, size_t clients)
{
	struct epoll_event events[64];

	load->busy = clients;
	for (size_t i = 0; i < clients; i++) {
		load->clients[i] = (struct client) { .fd = -1, .answer = malloc(LINE_MAX_LEN) };
		if (!load->clients[i].answer)
			die("malloc");
		if (!load->each)
			client_connect(load, &load->clients[i]);
	}
	for (size_t i = 0; i < clients; i++)
		client_reserve(load, &load->clients[i]);
	while (load->busy > 0) {
		int n = epoll_wait(load->epoll_fd, events, 64, -1);

		for (int i = 0; i < n; i++)
			client_read(load, events[i].data.ptr);
	}
}

static void marked_read(struct marked *marked)
{
	char *text = NULL;
	size_t size = 0;

	if (getline(&text, &size, stdin) < 0)
		die("read a line");
	marked_init(marked, text);
}

int main(int argc, char **argv)
{
	static struct load load = { .address.sun_family = AF_UNIX };
	size_t clients, cycles;
	int64_t wall_ns, cpu_ns;
	clockid_t daemon;

	if (argc < 6)
		return 2;
	strncpy(load.address.sun_path, argv[1], sizeof(load.address.sun_path) - 1);
	clients = strtoul(argv[3], NULL, 10);
	cycles = strtoul(argv[4], NULL, 10);
	load.next = strtoull(argv[5], NULL, 10);
	load.end = load.next + cycles;
	load.each = argc > 6;
	load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (clock_getcpuclockid(atoi(argv[2]), &daemon) != 0 || clients > CLIENTS_MAX)
		die("clock of the daemon");
	marked_read(&load.reserve);
	marked_read(&load.release);
	load.generation = strstr(load.release.text, GENERATION);
	if (!load.generation)
		die("no generation to release");
	latencies_init(&load.latencies, cycles);
	cpu_ns = rested_ns(daemon);
	wall_ns = clock_ns(CLOCK_MONOTONIC);
	load_run(&load, clients);
	wall_ns = clock_ns(CLOCK_MONOTONIC) - wall_ns;
	cpu_ns = rested_ns(daemon) - cpu_ns;
	figures_print(wall_ns, cpu_ns, &load.latencies);
	return 0;
}
