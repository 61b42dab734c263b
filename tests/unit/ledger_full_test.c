/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that fills up under the ledger: nothing new is given, and all that is held can be
 * released. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger_kit.h"

enum { RECORDS = 1000, PER_BATCH = 50 };

/* Nobody but this program sees what it mounts, and it goes with it. */
static int make_namespace(void **state)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		print_message("SKIP: no right to mount (%s)\n", strerror(errno));
		exit(77);
	}
	return kit_make_root(state);
}

static void mount_tmpfs(void)
{
	assert_int_equal(mkdir(kit_dir, 0700), 0);
	assert_int_equal(mount("none", kit_dir, "tmpfs", 0, "size=16m"), 0);
}

static void mount_ext4(void)
{
	char command[512];

	assert_int_equal(mkdir(kit_dir, 0700), 0);
	(void)snprintf(command, sizeof(command),
		       "truncate -s 24M %s.img && mkfs.ext4 -q -O ^has_journal -m 0 %s.img && "
		       "mount -o loop %s.img %s",
		       kit_dir, kit_dir, kit_dir, kit_dir);
	if (system(command) != 0) {
		print_message("SKIP: no ext4 in a file here\n");
		skip();
	}
}

/* Somebody else takes all that is left, to the last block. */
static void fill_disk(void)
{
	static char block[4096];
	char path[96];
	int fd;

	memset(block, 'x', sizeof(block));
	(void)snprintf(path, sizeof(path), "%s/filler", kit_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	while (write(fd, block, sizeof(block)) > 0 && fdatasync(fd) == 0)
		;
	assert_int_equal(errno, ENOSPC);
	(void)close(fd);
}

static void empty_disk(void)
{
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/filler", kit_dir);
	assert_int_equal(unlink(path), 0);
}

static struct attachment held[RECORDS];

static int reserve_one(struct ledger *ledger, int i)
{
	struct reserve_request request;
	char container[32];

	(void)snprintf(container, sizeof(container), "c%d", i);
	request = kit_request(container, "p");
	return ledger_reserve(ledger, &request, NULL, &held[i], &kit_err);
}

static void reserve_all(struct ledger *ledger)
{
	for (int i = 0; i < RECORDS; i++) {
		if (i % PER_BATCH == 0)
			assert_ok(ledger_begin(ledger, &kit_err));
		assert_ok(reserve_one(ledger, i));
		if (i % PER_BATCH == PER_BATCH - 1)
			assert_ok(ledger_commit(ledger, &kit_err));
	}
}

static void release_one(struct ledger *ledger, const struct attachment *a)
{
	struct attachment_key key = attachment_key(a);
	bool gone;

	assert_ok(ledger_release(
		ledger, &key, a->generation,
		&(struct release) { .left = true, .restored = true, .reason = "deleted" }, NULL,
		&gone, &kit_err));
	assert_true(gone);
}

/* Each in a commit of its own, which takes most room. */
static void release_all(struct ledger *ledger)
{
	for (int i = 0; i < RECORDS; i++) {
		assert_ok(ledger_begin(ledger, &kit_err));
		release_one(ledger, &held[i]);
		assert_ok(ledger_commit(ledger, &kit_err));
	}
}

static int try_reserve(struct ledger *ledger)
{
	struct reserve_request request = kit_request("one-more", "p");
	struct attachment a = { 0 };
	int r;

	assert_ok(ledger_begin(ledger, &kit_err));
	r = ledger_reserve(ledger, &request, NULL, &a, &kit_err);
	if (r == 0)
		attachment_free(&a);
	if (ledger_commit(ledger, &kit_err) < 0)
		fail_msg("%s", kit_err.msg);
	return r;
}

static void refuse_reserve(struct ledger *ledger)
{
	assert_int_equal(try_reserve(ledger), -ENOSPC);
	assert_int_equal(kit_err.code, ERR_AGAIN);
	assert_non_null(strstr(kit_err.msg, "the disk is full"));
	assert_non_null(strstr(kit_err.details, "releases go on"));
}

static void run(void)
{
	static const char pools[] = "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': "
				    "'10.0.0.0/20'}]}]";
	struct ledger *ledger = kit_open("boot");

	kit_set_pools(ledger, pools);
	reserve_all(ledger);
	fill_disk();
	/* What is kept allocated is not used up yet, so nobody looks: a new start does. */
	ledger_close(ledger);
	ledger = kit_open("boot");
	kit_set_pools(ledger, pools);
	refuse_reserve(ledger);
	release_all(ledger);
	refuse_reserve(ledger);
	assert_int_equal(kit_count(ledger), 0);
	empty_disk();
	assert_ok(try_reserve(ledger));
	for (int i = 0; i < RECORDS; i++)
		attachment_free(&held[i]);
	ledger_close(ledger);
	kit_check();
	(void)umount2(kit_dir, 0);
}

static void test_releases_go_on_tmpfs(void **state)
{
	(void)state;
	mount_tmpfs();
	run();
}

static void test_releases_go_on_ext4(void **state)
{
	(void)state;
	mount_ext4();
	run();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_releases_go_on_tmpfs, kit_setup),
		cmocka_unit_test_setup(test_releases_go_on_ext4, kit_setup),
	};

	return cmocka_run_group_tests_name("full disk", tests, make_namespace, kit_remove_root);
}
