/* SPDX-License-Identifier: Apache-2.0 */
/* The device-info file: from the record alone, whole, in the words of device-info-spec 1.1.0. */
#include "cni/devinfo.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"

static void expect_file(const char *path, const char *text)
{
	CLEANUP_JSON json_t *is = json_load_file(path, 0, NULL);
	CLEANUP_JSON json_t *want = json_loads(text, 0, NULL);
	CLEANUP_FREE char *line = is ? json_dumps(is, JSON_COMPACT) : NULL;

	assert_non_null(want);
	if (!json_equal(is, want))
		fail_msg("is   %s\nnot  %s", line ? line : "no JSON", text);
}

#define HEAD "{\"type\":\"pci\",\"version\":\"1.1.0\",\"pci\":{\"pci-address\":\"0000:1a:00.1\""

static void test_what_is_said(void **state)
{
	struct attachment vf = { .device = { .key = "pci:0000:1a:00.1" } };
	const struct attachment whole = vf, other = { .device = { .key = "pci:0000:1a:00.2" } };
	char dir[] = "/run/k8s.cni.cncf.io/devinfo/XXXXXX", path[64];
	struct err err = { 0 };
	struct stat st;

	(void)state;
	vf.device.vf.is_vf = true;
	vf.device.vf.pf = (struct pci_addr) { .bus = 0x1a };
	(void)mkdir("/run/k8s.cni.cncf.io", 0755);
	(void)mkdir("/run/k8s.cni.cncf.io/devinfo", 0755);
	if (!mkdtemp(dir))
		skip(); /* it is root's */
	(void)snprintf(path, sizeof(path), "%s/new/net1.json", dir);
	assert_int_equal(devinfo_write(path, &vf, "mlx5_0", &err), 0);
	expect_file(path, HEAD ",\"rdma-device\":\"mlx5_0\",\"pf-pci-address\":\"0000:1a:00.0\"}}");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	assert_int_equal(devinfo_write(path, &whole, "", &err), 0);
	expect_file(path, HEAD "}}");
	assert_int_equal(devinfo_check(path, &other, &err), -EEXIST);
	assert_int_equal(devinfo_write(path, &other, "", &err), -EEXIST);
	assert_int_equal(err.code, ERR_VALUE);
	devinfo_remove(path, &other);
	expect_file(path, HEAD "}}");
	assert_int_equal(devinfo_check(path, &vf, &err), 0);
	devinfo_remove(path, &vf);
	assert_int_not_equal(access(path, F_OK), 0);
	path[strlen(dir) + strlen("/new")] = '\0';
	assert_int_equal(rmdir(path), 0); /* and no half of it is left */
	assert_int_equal(rmdir(dir), 0);
}

#define PLACE "k8s.cni.cncf.io/devinfo"

static void test_where(void **state)
{
	static const struct {
		const char *path;
		bool valid;
	} rows[] = {
		{ "/run/" PLACE "/a.json", true },
		{ "/var/run/" PLACE "/cni/a..json", true },
		{ "//var/./run//" PLACE "/./cni/a.", true },
		{ "/run/" PLACE, false },
		{ "/run/" PLACE "/", false },
		{ "/run/" PLACE "/.", false },
		{ "/run/" PLACE "/a/", false },
		{ "/run/" PLACE "/../a", false },
		{ "/run/" PLACE "/..", false },
		{ "/var/../run/" PLACE "/a", false },
		{ "/run/k8s.cni.cncf.io/devinfos/a", false },
		{ "/run/x", false },
		{ "/tmp/run/" PLACE "/a", false },
		{ "run/" PLACE "/a", false },
		{ "/etc/passwd", false },
		{ "/", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (devinfo_path_is_valid(rows[i].path) != rows[i].valid)
			fail_msg("%s", rows[i].path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_said),
		cmocka_unit_test(test_where),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
