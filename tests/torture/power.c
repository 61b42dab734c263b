/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts. The pwrite(), writev(), fdatasync()… of this program stand before those of the C
 * library, so they see each byte that LMDB writes to data.mdb, and each flush. Random batches go
 * through the ledger; then, for every moment of that run, the file is made anew as a disk may have
 * it after a power cut there: all that had been flushed, and of the rest some writes, in any order,
 * some torn between sectors. It must open, and hold what the last acknowledged batch left, or the
 * one after it, whole.
 *
 * SPUR_SEED=N repeats a run, SPUR_TORTURE_SECONDS=N sets its length.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../unit/ledger_kit.h"
#include "digest.h"

enum {
	SECTOR = 512, /* what a disk writes whole */
	BATCHES = 60, /* of one round */
	OPERATIONS = 6,
	CONTAINERS = 24,
	EVENTS_MAX = 65536,
	SECONDS = 15,
};

/* --- the journal of the disk --- */

struct event {
	bool is_flush;
	bool is_synced; /* a write that is on the disk when it returns */
	off_t at;
	size_t len;
	uint8_t *bytes;
};

static struct {
	bool on;
	size_t count, named; /* named: when new.mdb became data.mdb */
	struct event events[EVENTS_MAX];
} journal;

static void journal_clear(void)
{
	for (size_t i = 0; i < journal.count; i++)
		free(journal.events[i].bytes);
	journal.count = 0;
}

/* data.mdb, or what becomes it: new.mdb. */
static bool is_recorded(int fd)
{
	static const char end[] = ".mdb", lock[] = "/lock.mdb";
	char link[32], path[256];
	ssize_t n;

	if (!journal.on)
		return false;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path));
	return n > (ssize_t)strlen(lock) && memcmp(path + n - strlen(end), end, strlen(end)) == 0 &&
	       memcmp(path + n - strlen(lock), lock, strlen(lock)) != 0;
}

static void journal_add(struct event event)
{
	if (journal.count == EVENTS_MAX)
		abort();
	journal.events[journal.count++] = event;
}

static void journal_write(int fd, const void *bytes, ssize_t len, off_t at)
{
	struct event event = { .at = at, .len = (size_t)len };

	if (len <= 0)
		return;
	event.is_synced = fcntl(fd, F_GETFL) & O_DSYNC;
	event.bytes = malloc(event.len);
	memcpy(event.bytes, bytes, event.len);
	journal_add(event);
}

#define STANDS_BEFORE __attribute__((visibility("default")))

STANDS_BEFORE ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
	ssize_t n = syscall(SYS_pwrite64, fd, bytes, len, at);

	if (is_recorded(fd))
		journal_write(fd, bytes, n, at);
	return n;
}

STANDS_BEFORE ssize_t write(int fd, const void *bytes, size_t len)
{
	bool recorded = is_recorded(fd);
	off_t at = recorded ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t n = syscall(SYS_write, fd, bytes, len);

	if (recorded)
		journal_write(fd, bytes, n, at);
	return n;
}

STANDS_BEFORE ssize_t writev(int fd, const struct iovec *iov, int count)
{
	bool recorded = is_recorded(fd);
	off_t at = recorded ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t n = syscall(SYS_writev, fd, iov, count), left = n;

	for (int i = 0; recorded && i < count && left > 0; i++) {
		ssize_t len = left < (ssize_t)iov[i].iov_len ? left : (ssize_t)iov[i].iov_len;

		journal_write(fd, iov[i].iov_base, len, at);
		at += len;
		left -= len;
	}
	return n;
}

/* The disk is the journal: nothing has to reach a real one. */
STANDS_BEFORE int fdatasync(int fd)
{
	if (is_recorded(fd))
		journal_add((struct event) { .is_flush = true });
	return 0;
}

STANDS_BEFORE int fsync(int fd)
{
	return fdatasync(fd);
}

STANDS_BEFORE int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	journal.named = journal.count;
	return (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
}

/* --- what a disk has after a power cut --- */

struct image {
	uint8_t *bytes;
	size_t size, room;
};

static void image_put(struct image *image, off_t at, const uint8_t *bytes, size_t len)
{
	size_t end = (size_t)at + len;

	if (len == 0)
		return;
	if (end > image->room) {
		image->room = end * 2;
		image->bytes = realloc(image->bytes, image->room);
		assert_non_null(image->bytes);
	}
	if (end > image->size)
		memset(image->bytes + image->size, 0, end - image->size);
	image->size = end > image->size ? end : image->size;
	memcpy(image->bytes + at, bytes, len);
}

static void image_write(struct image *image, const struct event *event)
{
	image_put(image, event->at, event->bytes, event->len);
}

static void image_write_torn(struct image *image, const struct event *event, unsigned int *seed)
{
	for (size_t done = 0; done < event->len;) {
		size_t sector = SECTOR - ((size_t)event->at + done) % SECTOR;
		size_t len = sector < event->len - done ? sector : event->len - done;

		if (rand_r(seed) % 2)
			image_put(image, event->at + (off_t)done, event->bytes + done, len);
		done += len;
	}
}

static void image_copy(struct image *image, const struct image *from)
{
	image->size = 0;
	image_put(image, 0, from->bytes, from->size);
}

static void image_save(const struct image *image, const char *dir, const char *name)
{
	char path[128];
	int fd;

	(void)mkdir(dir, 0700);
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, image->bytes, image->size), image->size);
	(void)close(fd);
}

/* What the disk keeps of the writes that no flush has covered. */
enum fate { KEEPS_ALL, KEEPS_NONE, KEEPS_SOME, TEARS, FATES };
static const char *const fate_names[FATES] = { "all", "none", "some", "torn ones" };

/* Cuts come in order: what is behind a flush is put into @base once. */
struct disk {
	struct image base, image;
	size_t settled;                   /* events in @base */
	bool drops_flushes, drops_synced; /* as if the store did not ask for them */
};

static void disk_settle(struct disk *disk, size_t cut)
{
	size_t flushed = disk->settled;

	for (size_t i = disk->settled; i < cut; i++) {
		if (journal.events[i].is_flush && !disk->drops_flushes)
			flushed = i + 1;
	}
	for (; disk->settled < flushed; disk->settled++) {
		if (!journal.events[disk->settled].is_flush)
			image_write(&disk->base, &journal.events[disk->settled]);
	}
}

static bool is_durable(const struct disk *disk, size_t i, size_t cut)
{
	return i < cut && journal.events[i].is_synced && !disk->drops_synced;
}

/* The writes since the last flush, the one at @cut among them: it may be under way. */
static size_t disk_pending(const struct disk *disk, size_t cut, const struct event **pending)
{
	size_t count = 0;

	for (size_t i = disk->settled; i <= cut && i < journal.count; i++) {
		if (!journal.events[i].is_flush && !is_durable(disk, i, cut))
			pending[count++] = &journal.events[i];
	}
	return count;
}

static void shuffle(const struct event **events, size_t count, unsigned int *seed)
{
	for (size_t i = count; i > 1; i--) {
		size_t k = (size_t)rand_r(seed) % i;
		const struct event *other = events[k];

		events[k] = events[i - 1];
		events[i - 1] = other;
	}
}

/* The disk after a power cut before event @cut had ended. */
static void disk_cut(struct disk *disk, size_t cut, enum fate fate, unsigned int *seed)
{
	static const struct event *pending[EVENTS_MAX];
	size_t count;

	disk_settle(disk, cut);
	image_copy(&disk->image, &disk->base);
	count = disk_pending(disk, cut, pending);
	if (fate == KEEPS_ALL && cut < journal.count && count > 0)
		count -= pending[count - 1] == &journal.events[cut]; /* as a kill leaves it */
	if (fate != KEEPS_ALL)
		shuffle(pending, count, seed);
	for (size_t i = 0; i < count && fate != KEEPS_NONE; i++) {
		if (fate == TEARS)
			image_write_torn(&disk->image, pending[i], seed);
		else if (fate == KEEPS_ALL || rand_r(seed) % 2)
			image_write(&disk->image, pending[i]);
	}
	for (size_t i = disk->settled; i < cut; i++) {
		if (is_durable(disk, i, cut))
			image_write(&disk->image, &journal.events[i]);
	}
}

static void disk_free(struct disk *disk)
{
	free(disk->base.bytes);
	free(disk->image.bytes);
}

/* --- what runs --- */

static const char *const pools_texts[] = {
	"[{'name': 'p', 'cooldown_s': 5, 'rails': ["
	" {'name': 'r0', 'cidr': '10.0.0.0/27', 'guidBase': '02:00:00:00:00:00:00:00'},"
	" {'name': 'r1', 'cidr': '10.0.1.0/27', 'guidBase': '02:00:00:00:00:01:00:00'}]}]",
	"[{'name': 'p', 'cooldown_s': 5, 'rails': ["
	" {'name': 'r0', 'cidr': '10.0.0.0/27', 'guidBase': '02:00:00:00:00:00:00:00'},"
	" {'name': 'r1', 'cidr': '10.0.1.0/27', 'guidBase': '02:00:00:00:00:01:00:00'},"
	" {'name': 'r2', 'cidr': '10.0.2.0/27'}]}]",
	"[{'name': 'p', 'cooldown_s': 5, 'rails': ["
	" {'name': 'r0', 'cidr': '10.0.0.0/27', 'guidBase': '02:00:00:00:00:00:00:00',"
	"  'exclude': ['10.0.0.8-10.0.0.15']},"
	" {'name': 'r1', 'cidr': '10.0.1.0/27', 'guidBase': '02:00:00:00:00:01:00:00'}]}]",
};

struct run {
	unsigned int seed;
	int boots;
	struct ledger *ledger;
	/* of each acknowledged batch, in order; 0 = the store was opened */
	struct batch {
		size_t journal;  /* how many events there were when it was acknowledged */
		uint64_t events; /* of its history, says the ledger */
		uint64_t digest; /* 0 = not known yet */
	} batches[BATCHES * 2];
	size_t count;
};

static int run_random(struct run *run, int below)
{
	return rand_r(&run->seed) % below;
}

static void run_acknowledge(struct run *run)
{
	struct batch batch = { .journal = journal.count };
	uint64_t before = run->count ? run->batches[run->count - 1].events : 0;
	CLEANUP_JSON json_t *events = NULL;

	assert_ok(kit_history(run->ledger, before, 1000, &events));
	batch.events = before + json_array_size(events);
	assert_true(run->count < ARRAY_SIZE(run->batches));
	run->batches[run->count++] = batch;
}

static void run_reopen(struct run *run, bool reboot)
{
	char boot_id[16];

	ledger_close(run->ledger);
	run->boots += reboot;
	(void)snprintf(boot_id, sizeof(boot_id), "boot-%d", run->boots);
	run->ledger = kit_open(boot_id);
	kit_set_pools(run->ledger, pools_texts[0]);
	run_acknowledge(run);
}

/* A refusal is an outcome as well. */
static void run_reserve(struct run *run, const char *container)
{
	static const char *const rails[] = { "r0", "r1" };
	struct reserve_request request = kit_request(container, "p");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct baseline device = kit_device("");

	request.rail = rails[run_random(run, 2)];
	request.netns.nsid = run_random(run, 4) - 1;
	if (run_random(run, 4) == 0)
		request.pod.uid = (char *)container;
	if (run_random(run, 4) == 0)
		request.guid = 0x0200000000000100 + (uint64_t)run_random(run, 64);
	if (run_random(run, 4) == 0)
		request.sticky = container;
	request.claim_all = run_random(run, 4) == 0;
	(void)snprintf(device.key, sizeof(device.key), "net:d%d", run_random(run, 12));
	(void)ledger_reserve(run->ledger, &request, run_random(run, 3) ? &device : NULL, &a,
			     &kit_err);
}

static void run_operation(struct run *run)
{
	const struct release how = {
		.left = run_random(run, 8),
		.restored = run_random(run, 8),
		.never_up = run_random(run, 4) == 0,
		.reason = "test",
	};
	char container[16], device[16];
	struct attachment_key key = { "net", container, "net1" };
	CLEANUP(attachment_free) struct attachment a = { 0 };
	const struct rail *rail = &ledger_pools(run->ledger)->pools[0].rails[run_random(run, 2)];
	struct facts facts = { .ifindex = 3 };
	size_t dropped;
	uint64_t guid;
	bool gone;

	(void)snprintf(container, sizeof(container), "c%d", run_random(run, CONTAINERS));
	(void)snprintf(device, sizeof(device), "net:d%d", run_random(run, 12));
	if (run_random(run, 16) == 0)
		assert_ok(ledger_drop_rebooted(run->ledger, 4, &dropped, &kit_err));
	else if (run_random(run, 16) == 0)
		assert_ok(ledger_claims_sweep(run->ledger, &dropped, &kit_err));
	else if (run_random(run, 8) == 0)
		(void)ledger_guid_assign(run->ledger, rail, device, &guid, &kit_err);
	else if (ledger_find(run->ledger, &key, &a, &kit_err) < 0)
		run_reserve(run, container);
	else if (a.state == ATTACHMENT_UNFINISHED && run_random(run, 2))
		assert_ok(ledger_done(run->ledger, &key, a.generation, &facts, &kit_err));
	else
		assert_ok(ledger_release(run->ledger, &key, a.generation, &how, NULL, &gone,
					 &kit_err));
}

static void run_batch(struct run *run)
{
	int count = 1 + run_random(run, OPERATIONS);

	assert_ok(ledger_begin(run->ledger, &kit_err));
	for (int i = 0; i < count; i++)
		run_operation(run);
	assert_ok(ledger_commit(run->ledger, &kit_err));
	run_acknowledge(run);
}

static void run_edit(struct run *run)
{
	const char *text = pools_texts[run_random(run, ARRAY_SIZE(pools_texts))];

	if (kit_try_pools(run->ledger, text) == 0)
		run_acknowledge(run);
}

static void run_any(struct run *run)
{
	int kind = run_random(run, 16);

	kit_now_ms += run_random(run, 5000);
	if (kind == 0)
		run_edit(run);
	else if (kind == 1)
		run_reopen(run, run_random(run, 2));
	else
		run_batch(run);
}

/* --- the check --- */

static char cut_dir[48];
static bool kept; /* what went wrong */
static pid_t test_pid;

/* What every write up to its acknowledgement makes of the file is what the ledger said. */
static uint64_t batch_digest(struct batch *batch)
{
	struct digest found = { 0 };
	struct image image = { 0 };
	char dir[48];

	if (batch->digest)
		return batch->digest;
	for (size_t i = 0; i < batch->journal; i++) {
		if (!journal.events[i].is_flush)
			image_write(&image, &journal.events[i]);
	}
	(void)snprintf(dir, sizeof(dir), "%s/whole", kit_root);
	image_save(&image, dir, "data.mdb");
	free(image.bytes);
	assert_ok(digest_read(dir, &found));
	assert_int_equal(found.events, batch->events);
	(void)snprintf(kit_dir, sizeof(kit_dir), "%s", dir);
	kit_check();
	batch->digest = found.sum;
	return batch->digest;
}

/* The list of free pages is seen by nobody but the next writer. */
static void check_goes_on(struct run *run)
{
	(void)snprintf(kit_dir, sizeof(kit_dir), "%s", cut_dir);
	run->ledger = kit_open("boot-next");
	kit_set_pools(run->ledger, pools_texts[1]);
	for (int i = 0; i < 3; i++) {
		assert_ok(ledger_begin(run->ledger, &kit_err));
		run_operation(run);
		assert_ok(ledger_commit(run->ledger, &kit_err));
	}
	ledger_close(run->ledger);
	kit_check();
}

static void check_child(struct run *run, const uint64_t *digests, bool goes_on)
{
	struct digest found = { 0 };

	if (digest_read(cut_dir, &found) < 0) {
		print_message("%s\n", kit_err.msg);
		_exit(1);
	}
	if (digests && found.sum != digests[0] && found.sum != digests[1])
		_exit(2);
	if (goes_on)
		check_goes_on(run);
}

/* In a child, for a file that makes no sense may end it. */
static int check_in_child(struct run *run, const uint64_t *digests, bool goes_on)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(60);
		check_child(run, digests, goes_on);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* 0: the file holds what it must; otherwise the status of the child that looked. */
static int check_cut(struct run *run, size_t acknowledged, bool goes_on)
{
	size_t next = acknowledged + 1 < run->count ? acknowledged + 1 : acknowledged;
	uint64_t digests[] = { batch_digest(&run->batches[acknowledged]),
			       batch_digest(&run->batches[next]) };

	return check_in_child(run, digests, goes_on);
}

static unsigned int seed_of_run(void)
{
	const char *text = getenv("SPUR_SEED");
	unsigned int seed = text ? (unsigned int)strtoul(text, NULL, 10) : (unsigned int)time(NULL);

	print_message("SPUR_SEED=%u\n", seed);
	return seed;
}

static int64_t now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static int64_t end_of_run(void)
{
	const char *text = getenv("SPUR_TORTURE_SECONDS");

	return now_s() + (text ? strtol(text, NULL, 10) : SECONDS);
}

static void remove_dir(const char *dir)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf --one-file-system %s", dir);
	assert_int_equal(system(command), 0);
}

static void check_journal(void)
{
	struct image image = { 0 };
	char path[80];
	uint8_t *file;
	struct stat st;
	int fd;

	for (size_t i = 0; i < journal.count; i++) {
		if (!journal.events[i].is_flush)
			image_write(&image, &journal.events[i]);
	}
	(void)snprintf(path, sizeof(path), "%s/data.mdb", kit_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, image.size);
	file = malloc(image.size + 1);
	assert_int_equal(read(fd, file, image.size), image.size);
	assert_memory_equal(file, image.bytes, image.size);
	(void)close(fd);
	free(file);
	free(image.bytes);
}

/* Fills the journal, and proves that it has seen all that reached the file. */
static void run_record(struct run *run)
{
	(void)snprintf(kit_dir, sizeof(kit_dir), "%s/run", kit_root);
	remove_dir(kit_dir);
	journal_clear();
	kit_now_ms = 1000000;
	journal.on = true;
	run->ledger = kit_open("boot-0");
	run_acknowledge(run);
	kit_set_pools(run->ledger, pools_texts[0]);
	run_acknowledge(run);
	while (run->count < BATCHES)
		run_any(run);
	ledger_close(run->ledger);
	journal.on = false;
	check_journal();
}

/* Cuts a run at every moment since the store is there; returns how often, or what went wrong. */
static int run_cut(struct run *run, struct disk *disk, int64_t end_s, int *ret_cuts)
{
	size_t acknowledged = 0;

	for (size_t cut = run->batches[0].journal; cut <= journal.count && now_s() < end_s; cut++) {
		enum fate fate = (enum fate)run_random(run, FATES);
		int status;

		while (acknowledged + 1 < run->count &&
		       run->batches[acknowledged + 1].journal <= cut)
			acknowledged++;
		disk_cut(disk, cut, fate, &run->seed);
		image_save(&disk->image, cut_dir, "data.mdb");
		status = check_cut(run, acknowledged, run_random(run, 4) == 0);
		(*ret_cuts)++;
		if (status == 0)
			continue;
		print_message("cut at event %zu of %zu, keeping %s, after batch %zu: status %x\n",
			      cut, journal.count, fate_names[fate], acknowledged, status);
		return -1;
	}
	return 0;
}

/* Rounds until the time is up or something is wrong. */
static int torture(const struct disk *how, int64_t end_s, int *ret_cuts)
{
	unsigned int seed = seed_of_run();
	int r = 0, rounds = 0;

	*ret_cuts = 0;
	while (r == 0 && now_s() < end_s) {
		struct run run = { .seed = seed + (unsigned int)rounds };
		struct disk disk = *how;

		print_message("round %d: SPUR_SEED=%u, %d cuts so far\n", rounds++, run.seed,
			      *ret_cuts);
		run_record(&run);
		r = run_cut(&run, &disk, end_s, ret_cuts);
		disk_free(&disk);
	}
	return r;
}

static void test_power_cuts(void **state)
{
	(void)state;
	struct disk disk = { 0 };
	int cuts, r;

	r = torture(&disk, end_of_run(), &cuts);
	print_message("%d power cuts\n", cuts);
	kept = r < 0;
	if (r < 0)
		fail_msg("the store is left in %s", cut_dir);
}

/* Before the first acknowledgement nothing is promised, but that it opens: nobody mends a store by
 * hand because the node lost power at its first start. */
static void test_cut_while_it_is_made(void **state)
{
	(void)state;
	struct run run = { .seed = seed_of_run() };

	run_record(&run);
	for (size_t cut = 0; cut < run.batches[0].journal; cut++) {
		const char *name = cut < journal.named ? "new.mdb" : "data.mdb";

		for (int i = 0; i < 8 * FATES; i++) {
			struct disk disk = { 0 };
			int status;

			disk_cut(&disk, cut, (enum fate)(i % FATES), &run.seed);
			remove_dir(cut_dir);
			image_save(&disk.image, cut_dir, name);
			disk_free(&disk);
			status = check_in_child(&run, NULL, true);
			kept = status != 0;
			if (kept)
				fail_msg("cut at event %zu, keeping %s: status %x: %s", cut,
					 fate_names[i % FATES], status, cut_dir);
		}
	}
}

/* The torture itself: a store that did not flush would not get past it. */
static void test_a_missing_flush_is_found(void **state)
{
	(void)state;
	struct disk data = { .drops_flushes = true }, meta = { .drops_synced = true };
	int cuts;

	assert_int_equal(torture(&data, now_s() + 60, &cuts), -1);
	assert_int_equal(torture(&meta, now_s() + 60, &cuts), -1);
}

/* Nothing has to reach a disk: see fdatasync() above. */
static int make_root(void **state)
{
	test_pid = getpid();
	if (access("/dev/shm", W_OK) == 0)
		(void)snprintf(kit_root, sizeof(kit_root), "/dev/shm/spur-XXXXXX");
	if (kit_make_root(state) < 0)
		return -1;
	(void)snprintf(cut_dir, sizeof(cut_dir), "%s/cut", kit_root);
	return 0;
}

static int remove_root(void **state)
{
	journal_clear();
	return kept ? 0 : kit_remove_root(state);
}

/* A child that fails an assertion comes back into the frame of the test. */
static int end_child(void **state)
{
	(void)state;
	if (getpid() != test_pid)
		_exit(3);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_power_cuts, kit_setup, end_child),
		cmocka_unit_test_setup_teardown(test_cut_while_it_is_made, kit_setup, end_child),
		cmocka_unit_test_setup_teardown(test_a_missing_flush_is_found, kit_setup,
						end_child),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
