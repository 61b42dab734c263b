/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of a daemon: floor.c's requests, one at a time, each one durable LMDB transaction that
 * keeps who holds which address.
 *
 *	floor_server SOCKET DIRECTORY
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lmdb.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char answer[] = "10.0.0.2/24 10.0.0.1";

struct store {
	MDB_env *env;
	MDB_dbi by_key, by_address;
	uint32_t next;
};

static void check(int r, const char *what)
{
	if (!r)
		return;
	fprintf(stderr, "%s: %s\n", what, mdb_strerror(r));
	exit(1);
}

static void store_open(struct store *store, const char *directory)
{
	MDB_txn *txn;

	check(mdb_env_create(&store->env), "create");
	check(mdb_env_set_mapsize(store->env, 1UL << 30), "mapsize");
	check(mdb_env_set_maxdbs(store->env, 2), "maxdbs");
	check(mdb_env_open(store->env, directory, 0, 0600), directory);
	check(mdb_txn_begin(store->env, NULL, 0, &txn), "begin");
	check(mdb_dbi_open(txn, "by_key", MDB_CREATE, &store->by_key), "by_key");
	check(mdb_dbi_open(txn, "by_address", MDB_CREATE, &store->by_address), "by_address");
	check(mdb_txn_commit(txn), "commit");
	store->next = 0x0a000002;
}

/* "ADD KEY" takes the next address, "DEL KEY" frees the one that KEY has. */
static void store_change(struct store *store, char *request, size_t len)
{
	MDB_val key = { .mv_size = len - 4, .mv_data = request + 4 };
	MDB_val address = { .mv_size = sizeof(store->next), .mv_data = &store->next };
	uint32_t held;
	MDB_txn *txn;

	check(mdb_txn_begin(store->env, NULL, 0, &txn), "begin");
	if (request[0] == 'A') {
		check(mdb_put(txn, store->by_key, &key, &address, 0), "put");
		check(mdb_put(txn, store->by_address, &address, &key, 0), "put");
		store->next++;
	} else {
		check(mdb_get(txn, store->by_key, &key, &address), "get");
		memcpy(&held, address.mv_data, sizeof(held));
		address.mv_data = &held;
		check(mdb_del(txn, store->by_address, &address, NULL), "del");
		check(mdb_del(txn, store->by_key, &key, NULL), "del");
	}
	check(mdb_txn_commit(txn), "commit");
}

static int server_listen(const char *path)
{
	struct sockaddr_un self = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strncpy(self.sun_path, path, sizeof(self.sun_path) - 1);
	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0 || listen(fd, 16) < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct store store;
	char request[256];
	int listener;

	if (argc != 3)
		return 2;
	store_open(&store, argv[2]);
	listener = server_listen(argv[1]);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		ssize_t len = recv(fd, request, sizeof(request), 0);

		if (len > 4) {
			store_change(&store, request, (size_t)len);
			(void)send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
		}
		close(fd);
	}
}
