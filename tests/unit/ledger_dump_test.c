/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger that goes out as lines and comes in again is the same; what is not whole comes not in.
 */
#include "ipamd/crc32c.h"
#include "ledger_kit.h"

static const char pools[] = "[{'name':'p','rails':[{'name':'r0','cidr':'10.0.0.0/28'},"
			    "{'name':'r1','cidr':'10.1.0.0/28','cidr6':'fd00::/124'}]},"
			    "{'name':'q','rails':[{'name':'r0','cidr':'10.2.0.0/28',"
			    "'guidBase':'02:00:00:00:00:00:00:00'}]}]";

static void reserve(struct ledger *ledger, const struct reserve_request *request,
		    const struct baseline *device)
{
	struct attachment a;

	assert_ok(kit_reserve(ledger, request, device, &a));
	attachment_free(&a);
}

static void release(struct ledger *ledger, const char *container)
{
	struct attachment_key key = { "net", container, "net1" };
	struct attachment a;

	assert_ok(ledger_find(ledger, &key, &a, &kit_err));
	assert_true(kit_release(ledger, &a, true, true));
	attachment_free(&a);
}

/* Records with a device, a pod, a namespace, a GUID by name; what rests; a VF's GUID. */
static struct ledger *scene(void)
{
	struct reserve_request request = kit_request("c1", "p");
	static const char *const gone[] = { "g0", "g1", "g2" };
	struct baseline device = kit_device("net:eth5");
	struct ledger *ledger = kit_open("boot");
	struct attachment a;
	uint64_t guid;

	kit_set_pools(ledger, pools);
	request.rail = "r0";
	reserve(ledger, &request, &device);
	request = kit_request("c2", "p");
	request.rail = "r1";
	request.pod = (struct pod_ref) { (char *)"ns", (char *)"p\"o\\d ü", (char *)"u2" };
	request.netns.nsid = 3;
	reserve(ledger, &request, NULL);
	request = kit_request("c3", "q");
	request.guid = 0x0200000000000099;
	reserve(ledger, &request, NULL);
	request = kit_request("c5", "p");
	request.rail = "r0";
	request.claim_all = true;
	request.sticky = "job/worker-3";
	reserve(ledger, &request, NULL); /* and r1 is claimed */
	request = kit_request("c6", "p");
	request.rail = "r0";
	request.sticky = "job/worker-4";
	reserve(ledger, &request, NULL);
	release(ledger, "c6");
	for (int i = 0; i < 3; i++) {
		kit_now_ms += 1000;
		request = kit_request("c4", "q");
		request.pod.name = (char *)gone[i];
		reserve(ledger, &request, NULL);
		release(ledger, "c4");
	}
	device = kit_vf("pci:0000:01:00.2", "pf0", "0000:01:00.0");
	request = kit_request("c7", "p");
	request.rail = "r0";
	assert_ok(kit_reserve(ledger, &request, &device, &a));
	assert_true(kit_end(
		ledger, &a,
		&(struct release) {
			.left = true, .restored = true, .used_above = true, .reason = "DEL" }));
	attachment_free(&a);
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_guid_assign(ledger, &ledger_pools(ledger)->pools[1].rails[0],
				     "pci:0000:01:00.1", &guid, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	return ledger;
}

/* The lines, without the head's "time". */
static char *dump(struct ledger *ledger)
{
	struct ledger *reader;
	struct dump *lines;
	char *text, *line;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int r;

	assert_ok(ledger_fork(ledger, &reader, &kit_err));
	assert_ok(ledger_dump(reader, "n1", &lines, &kit_err));
	while ((r = dump_next(lines, &line, &kit_err)) == 0) {
		assert_int_equal(line[strlen(line) - 1], '\n');
		(void)fputs(line, f);
		free(line);
	}
	assert_int_equal(r, -ENOENT);
	dump_free(lines);
	ledger_close(reader);
	(void)fclose(f);
	return text;
}

static int load(struct ledger *ledger, const char *text, size_t len, struct dump_report *ret_report)
{
	FILE *f = fmemopen((void *)text, len, "r");
	int r;

	assert_non_null(f);
	assert_ok(ledger_begin(ledger, &kit_err));
	r = ledger_load(ledger, f, ret_report, &kit_err);
	(void)fclose(f);
	if (r < 0)
		ledger_abort(ledger);
	else
		assert_ok(ledger_commit(ledger, &kit_err));
	return r;
}

static struct ledger *empty_ledger(const char *boot_id)
{
	struct ledger *ledger;

	(void)kit_setup(NULL);
	ledger = kit_open(boot_id);
	kit_set_pools(ledger, pools);
	return ledger;
}

/* Behind the head, which says when it was made; and but for the sum, which is of that, too. */
static void assert_same(const char *a, const char *b)
{
	const char *end = strstr(a, "{\"end\"");

	a = strchr(a, '\n');
	b = strchr(b, '\n');
	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(strncmp(a, b, (size_t)(end - a)), 0);
}

static void test_round_trip(void **state)
{
	struct ledger *ledger = scene();
	CLEANUP_FREE char *out = dump(ledger), *again = NULL;
	struct reserve_request request = kit_request("c9", "q");
	struct dump_report report;
	struct attachment a;

	(void)state;
	ledger_close(ledger);
	ledger = empty_ledger("boot");
	/* What an idle daemon has done by then does not matter. */
	reserve(ledger, &request, NULL);
	release(ledger, "c9");
	assert_ok(load(ledger, out, strlen(out), &report));
	assert_int_equal(report.records, 4);
	assert_int_equal(report.rebooted, 0);
	again = dump(ledger);
	assert_same(out, again);

	/* Nothing that is held is given again, nor an id; what rests does so. */
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_int_equal(a.id, 11);
	assert_int_equal(a.rail.index, 5);
	attachment_free(&a);
	request = kit_request("c7", "p");
	request.rail = "r0";
	request.sticky = "job/worker-4";
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_int_equal(a.rail.index, 3); /* it was its own, and its own rest does not matter */
	attachment_free(&a);
	request = kit_request("c5", "p");
	request.key.ifname = "net2";
	request.rail = "r1";
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_int_equal(a.rail.index, 2); /* that it had claimed */
	attachment_free(&a);
	ledger_close(ledger);
	kit_check();
}

/* What was there when the node went down is there, and nobody's. */
static void test_other_boot(void **state)
{
	struct ledger *ledger = scene();
	CLEANUP_FREE char *out = dump(ledger);
	struct attachment_key key = { "net", "c1", "net1" };
	struct ledger_counts counts;
	struct dump_report report;
	struct attachment a;
	size_t dropped;

	(void)state;
	ledger_close(ledger);
	ledger = empty_ledger("boot 2");
	assert_ok(load(ledger, out, strlen(out), &report));
	assert_int_equal(report.rebooted, 4);
	assert_int_equal(ledger_find(ledger, &key, &a, &kit_err), -ENOENT);
	assert_ok(ledger_counts(ledger, &counts, &kit_err));
	assert_int_equal(counts.rebooted, 4);
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_drop_rebooted(ledger, 100, &dropped, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	assert_int_equal(dropped, 4);
	ledger_close(ledger);
	kit_check();
}

static void test_rest_goes_on(void **state)
{
	struct reserve_request request = kit_request("c9", "q");
	struct ledger *ledger = scene();
	CLEANUP_FREE char *out = dump(ledger);
	struct dump_report report;
	struct rail_usage usage;
	struct attachment a;

	(void)state;
	ledger_close(ledger);
	ledger = empty_ledger("boot");
	kit_now_ms = 5; /* the node is up anew, say */
	assert_ok(load(ledger, out, strlen(out), &report));
	assert_ok(ledger_usage(ledger, &ledger_pools(ledger)->pools[1],
			       &ledger_pools(ledger)->pools[1].rails[0], &usage, &kit_err));
	assert_int_equal(usage.resting, 3);
	kit_now_ms += 119 * 1000;
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_int_equal(a.rail.index, 2); /* it had rested for 2 s */
	attachment_free(&a);
	request = kit_request("c10", "q");
	request.pod.name = (char *)"g2";
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_int_equal(a.rail.index, 4); /* it rests of this pod */
	attachment_free(&a);
	ledger_close(ledger);
	kit_check();
}

static void test_not_into_a_ledger_in_use(void **state)
{
	struct reserve_request request = kit_request("c9", "q");
	struct ledger *ledger = scene();
	CLEANUP_FREE char *out = dump(ledger);
	struct dump_report report;

	(void)state;
	ledger_close(ledger);
	ledger = empty_ledger("boot");
	reserve(ledger, &request, NULL);
	assert_int_equal(load(ledger, out, strlen(out), &report), -EEXIST);
	assert_non_null(strstr(kit_err.msg, "the ledger is not empty"));
	ledger_close(ledger);
	kit_check();
}

/* Refused wherever the file ends. */
static void test_each_cut(void **state)
{
	struct ledger *ledger = scene();
	CLEANUP_FREE char *out = dump(ledger);
	struct dump_report report;

	(void)state;
	ledger_close(ledger);
	ledger = empty_ledger("boot");
	for (size_t len = 1; len < strlen(out); len += len % 7 ? 13 : 1)
		assert_true(load(ledger, out, len, &report) < 0);
	ledger_close(ledger);
	kit_check();
}

/* One byte of it is another: the sum says so, where nothing else does. */
static void test_each_change(void **state)
{
	struct ledger *ledger = scene();
	CLEANUP_FREE char *out = dump(ledger);
	size_t len = strlen(out);
	struct dump_report report;

	(void)state;
	ledger_close(ledger);
	ledger = empty_ledger("boot");
	for (size_t i = 0; i < len - 1; i += 11) {
		out[i] ^= 1;
		if (load(ledger, out, len, &report) == 0)
			fail_msg("byte %zu (%.30s) may be another", i, out + i);
		out[i] ^= 1;
	}
	ledger_close(ledger);
	kit_check();
}

static const char head[] =
	"{'ledger':{'format':1,'bootID':'boot','clock':5000,'firstID':1,'nextID':9}}\n";

static const struct {
	const char *lines, *refusal;
} wrong[] = {
	{ "", "behind line 1: the end is missing: the file is cut" },
	{ "{'end':{'lines':2,'crc32c':'00000000'}}\n", "line 2: the end speaks of 2 lines" },
	{ "{'ledger':{'format':1,'clock':5000,'nextID':9}}\n", "line 2: \"ledger\" must be in" },
	{ "{'resting':{'pool':'p','rail':'r0','index':3,'since':5001}}\n",
	  "line 2: key \"resting.since\": 5001: must be" },
	{ "{'resting':{'pool':'','rail':'r0','index':3,'since':1}}\n",
	  "line 2: key \"resting.pool\": \"\": must be 1 to 63 bytes" },
	{ "{'resting':{'pool':'p','rail':'r0','index':3,'since':1,'more':1}}\n",
	  "line 2: key \"resting.more\"" },
	{ "{'resting':{'pool':'p','rail':'r0','index':3,'since':1}}\n"
	  "{'resting':{'pool':'p','rail':'r0','index':3,'since':2}}\n",
	  "line 3: index 3 of pool \"p\" rail \"r0\": is there already" },
	{ "{'guid':{'guid':'ff:ff:ff:ff:ff:ff:ff:ff','owner':'pci:0000:01:00.1'}}\n",
	  "line 2: key \"guid.guid\"" },
	{ "{'guid':{'guid':'02:00:00:00:00:00:00:01','owner':'pci:0000:01:00.1'}}\n"
	  "{'guid':{'guid':'02:00:00:00:00:00:00:01','owner':'pci:0000:01:00.2'}}\n",
	  "line 3: GUID 02:00:00:00:00:00:00:01: has an owner already" },
	{ "{'claim':{'containerID':'c','pool':'p','id':3,'expiry':3605001,'rails':[{}]}}\n",
	  "line 2: key \"claim.expiry\": 3605001: must be" },
	{ "{'rebind':{'device':'eth0','id':3,'due':true}}\n", "line 2: key \"rebind.device\": " },
	{ "{'rebind':{'device':'pci:0000:01:00.1','id':9,'due':true}}\n",
	  "line 2: key \"rebind.id\": 9: must be" },
	{ "{'rebind':{'device':'pci:0000:0a:00.1','id':3,'due':true}}\n"
	  "{'rebind':{'device':'pci:0000:0A:00.1','id':4,'due':true}}\n",
	  "line 3: rebind of pci:0000:0a:00.1: is there already" },
	{ "{'event':{'seq':7}}\n{'event':{'seq':7}}\n", "line 3: key \"event.seq\": 7: must be" },
	{ "{'record':{'id':1}}\n", "line 2: " },
	{ "{'thing':{}}\n", "line 2: must be one of" },
	{ "{'guid':{},'event':{}}\n", "line 2: must be one of" },
	{ "[]\n", "line 2: " },
};

static void test_wrong_lines(void **state)
{
	struct ledger *ledger = empty_ledger("boot");
	struct dump_report report;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char text[1024];

		(void)snprintf(text, sizeof(text), "%s%s", head, wrong[i].lines);
		for (char *p = text; *p; p++)
			*p = *p == '\'' ? '"' : *p;
		assert_true(load(ledger, text, strlen(text), &report) < 0);
		if (strncmp(kit_err.msg, wrong[i].refusal, strlen(wrong[i].refusal)) != 0)
			fail_msg("%zu: %s", i, kit_err.msg);
	}
	ledger_close(ledger);
	kit_check();
}

/* An export from before schema 5 does not say whose an identity was, nor of which namespace a pod
 * was that an index rests of. */
static void test_export_without_namespaces(void **state)
{
	static const char lines[] =
		"{\"ledger\":{\"format\":1,\"bootID\":\"boot\",\"clock\":2000000,"
		"\"firstID\":1,\"nextID\":9}}\n"
		"{\"resting\":{\"pool\":\"p\",\"rail\":\"r0\",\"index\":3,"
		"\"since\":2000000,\"pod\":\"u1\"}}\n"
		"{\"identity\":{\"pool\":\"p\",\"identity\":\"w\",\"rail\":"
		"\"r0\",\"index\":3,\"last\":2000000}}\n";
	struct reserve_request request = kit_request("c", "p");
	struct ledger *ledger = empty_ledger("boot");
	struct dump_report report;
	struct attachment a;
	char text[1024];

	(void)state;
	(void)snprintf(text, sizeof(text), "%s{\"end\":{\"lines\":3,\"crc32c\":\"%08x\"}}\n", lines,
		       crc32c(0, lines, strlen(lines)));
	assert_ok(load(ledger, text, strlen(text), &report));
	request.rail = "r0";
	request.has_index = true;
	request.index = 3;
	assert_int_equal(kit_reserve(ledger, &request, NULL, &a), -EAGAIN);
	assert_non_null(strstr(kit_err.msg, "of a pod whose namespace is not known"));
	request.has_index = false;
	request.sticky = "w";
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_int_not_equal(a.rail.index, 3);
	attachment_free(&a);
	ledger_close(ledger);
	kit_check();
}

static const struct {
	const char *head, *refusal;
} wrong_heads[] = {
	{ "'clock':5000,'firstID':10,'nextID':9", "line 1: key \"ledger.firstID\": 10: must be" },
	{ "'clock':5000,'firstID':1,'nextID':9223372036854775807",
	  "line 1: key \"ledger.nextID\": 9223372036854775807: must be" },
	{ "'clock':9223372036854775807,'firstID':1,'nextID':9",
	  "line 1: key \"ledger.clock\": 9223372036854775807: must be" },
};

/* Numbers that let the next ids run over, or let them be of an earlier boot. */
static void test_wrong_heads(void **state)
{
	struct ledger *ledger = empty_ledger("boot");
	struct dump_report report;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong_heads); i++) {
		char text[256];

		(void)snprintf(text, sizeof(text), "{'ledger':{'format':1,'bootID':'boot',%s}}\n",
			       wrong_heads[i].head);
		for (char *p = text; *p; p++)
			*p = *p == '\'' ? '"' : *p;
		assert_true(load(ledger, text, strlen(text), &report) < 0);
		if (strncmp(kit_err.msg, wrong_heads[i].refusal, strlen(wrong_heads[i].refusal)) !=
		    0)
			fail_msg("%zu: %s", i, kit_err.msg);
	}
	ledger_close(ledger);
	kit_check();
}

static size_t given; /* of a line without an end */

static ssize_t give(void *cookie, char *buf, size_t size)
{
	(void)cookie;
	if (given > 64 << 20)
		return 0;
	memset(buf, 'x', size);
	given += size;
	return (ssize_t)size;
}

/* It is not gathered, however long it is. */
static void test_line_without_an_end(void **state)
{
	FILE *file = fopencookie(NULL, "r", (cookie_io_functions_t) { .read = give });
	struct ledger *ledger = empty_ledger("boot");
	struct dump_report report;

	(void)state;
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_true(ledger_load(ledger, file, &report, &kit_err) < 0);
	assert_non_null(strstr(kit_err.msg, "line 1: is cut, or longer than"));
	assert_true(given < 1 << 20);
	ledger_abort(ledger);
	(void)fclose(file);
	ledger_close(ledger);
}

/* The pools of the daemon's file are others by now. */
static void test_other_pools(void **state)
{
	struct ledger *ledger = scene();
	CLEANUP_FREE char *out = dump(ledger);
	struct dump_report report;

	(void)state;
	ledger_close(ledger);
	(void)kit_setup(NULL);
	ledger = kit_open("boot");
	kit_set_pools(ledger, "[{'name':'z','rails':[{'name':'r0','cidr':'10.0.0.0/28'}]}]");
	assert_int_equal(load(ledger, out, strlen(out), &report), -EBUSY);
	assert_non_null(strstr(kit_err.msg, "address 10.0.0.1 is held by container c1"));
	kit_set_pools(ledger, "[{'name':'z','rails':[{'name':'r0','cidr':'10.9.0.0/28'}]}]");
	assert_ok(load(ledger, out, strlen(out), &report));
	ledger_close(ledger);
	kit_check();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_round_trip, kit_setup),
		cmocka_unit_test_setup(test_other_boot, kit_setup),
		cmocka_unit_test_setup(test_rest_goes_on, kit_setup),
		cmocka_unit_test_setup(test_not_into_a_ledger_in_use, kit_setup),
		cmocka_unit_test_setup(test_each_cut, kit_setup),
		cmocka_unit_test_setup(test_each_change, kit_setup),
		cmocka_unit_test_setup(test_wrong_lines, kit_setup),
		cmocka_unit_test_setup(test_export_without_namespaces, kit_setup),
		cmocka_unit_test_setup(test_wrong_heads, kit_setup),
		cmocka_unit_test_setup(test_line_without_an_end, kit_setup),
		cmocka_unit_test_setup(test_other_pools, kit_setup),
	};

	return cmocka_run_group_tests_name("ledger dump", tests, kit_make_root, kit_remove_root);
}
