/* SPDX-License-Identifier: Apache-2.0 */
/* netlib/host/sysfs over fake trees: what a PF, its VFs and auxiliary devices look like. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "host/sysfs.h"

static struct err err;
static char root[] = "/tmp/spur-sysfs-XXXXXX";
static int root_fd;

/* A PF 0000:1a:00.0 (mlx5, ens1f0, representors, mlx5_0) with four VFs and a subfunction. */
static const char tree[] =
	"cd %s && D=devices/pci0000:17/0000:17:00.0 && mkdir -p bus/pci/devices "
	"bus/pci/drivers/mlx5_core "
	"bus/pci/drivers/vfio-pci bus/auxiliary/devices && "
	"for f in 0000:1a:00.0 0000:1a:00.2 0000:1a:00.3 0000:1a:00.4 0000:1a:00.5 0000:1b:00.0; "
	"do "
	"mkdir -p $D/$f && ln -s ../../../$D/$f bus/pci/devices/$f; done && "
	"P=$D/0000:1a:00.0 && mkdir -p $P/net/ens1f0 $P/net/ens1f0_0 $P/net/ens1f0_1 "
	"$P/infiniband/mlx5_0 && "
	"echo p0 > $P/net/ens1f0/phys_port_name && echo pf0vf0 > $P/net/ens1f0_0/phys_port_name && "
	"echo pf0vf1 > $P/net/ens1f0_1/phys_port_name && echo 1 > $P/numa_node && "
	"mkdir $P/net/en3f0pf0sf88 && echo c1pf0sf88 > $P/net/en3f0pf0sf88/phys_port_name && "
	"i=0; for v in 2 3 4 5; do ln -s ../0000:1a:00.$v $P/virtfn$i; ln -s ../0000:1a:00.0 "
	"$D/0000:1a:00.$v/physfn; "
	"i=$((i+1)); done; "
	"V=$D/0000:1a:00.2; mkdir -p $V/net/ens1f0v0 $V/infiniband/mlx5_2; echo 1 > $V/numa_node; "
	"ln -s ../../../../bus/pci/drivers/mlx5_core $V/driver; "
	"ln -s ../../../../bus/pci/drivers/vfio-pci $D/0000:1a:00.3/driver; "
	"V=$D/0000:1a:00.5; mkdir -p $V/net/one $V/net/two $V/infiniband/b $V/infiniband/a; "
	"echo -1 > $D/0000:1b:00.0/numa_node; mkdir -p $D/0000:1b:00.0/net; rm $P/virtfn2; ln -s "
	"../nowhere $P/virtfn2; "
	"A=$P/mlx5_core.sf.4; mkdir -p $A/net/sf4; ln -s ../../../$A "
	"bus/auxiliary/devices/mlx5_core.sf.4; "
	"mkdir -p $A/infiniband/mlx5_9; "
	"ln -s ../../../devices/gone bus/auxiliary/devices/mlx5_core.sf.9; ln -s ../nowhere "
	"$D/0000:1b:00.0/physfn; "
	/* PFs: 1a has VFs, 1b could; and one of another domain */
	"echo 4 > $P/sriov_numvfs; echo 0 > $D/0000:1b:00.0/sriov_numvfs; "
	"mkdir -p $D/10000:01:00.0; ln -s ../../../$D/10000:01:00.0 bus/pci/devices; "
	"echo 1 > $D/10000:01:00.0/sriov_numvfs; ln -s ../10000:01:10.0 $D/10000:01:00.0/virtfn0; "
	"mkdir -p bus/pci/devices/nonsense; echo 1 > bus/pci/devices/nonsense/sriov_numvfs; "
	/* RDMA devices: mlx5_2 with four GIDs, mlx5_9 that is down */
	"C=class/infiniband/mlx5_2/ports/1; mkdir -p $C/gids $C/gid_attrs/types; "
	"echo '4: ACTIVE' > $C/state; "
	"echo fe80:0000:0000:0000:0211:22ff:fe33:4455 > $C/gids/0; "
	"echo 0000:0000:0000:0000:0000:ffff:0a00:0005 > $C/gids/1; "
	"echo 0000:0000:0000:0000:0000:ffff:0a00:0005 > $C/gids/2; "
	"echo 0000:0000:0000:0000:0000:0000:0000:0000 > $C/gids/3; "
	"echo fd00:0000:0000:0000:0000:0000:0000:0009 > $C/gids/4; "
	"echo fd00:0000:0000:0000:0000:0000:0000:000a > $C/gids/7; "
	"echo 'IB/RoCE v1' > $C/gid_attrs/types/1; "
	"for i in 0 2 4 7; do echo 'RoCE v2' > $C/gid_attrs/types/$i; done; "
	"mkdir -p $C/gid_attrs/ndevs; echo up0 > $C/gid_attrs/ndevs/2; "
	"echo 0000:0000:0000:0000:0000:ffff:0a00:0005 > $C/gids/5; "
	"echo 'RoCE v2' > $C/gid_attrs/types/5; echo net1 > $C/gid_attrs/ndevs/5; "
	"C=class/infiniband/mlx5_9/ports/1; mkdir -p $C; echo '1: DOWN' > $C/state; "
	"C=class/infiniband_verbs; mkdir -p $C/uverbs0 $C/uverbs1 $C/uverbs2; "
	"echo 6 > $C/abi_version; echo mlx5_2 > $C/uverbs1/ibdev; echo mlx5_20 > $C/uverbs0/ibdev; "
	"C=class/infiniband/mlx5_9/device/infiniband_verbs; mkdir -p $C/uverbs8 $C/uverbs9; "
	"echo mlx5_8 > $C/uverbs8/ibdev; echo mlx5_9 > $C/uverbs9/ibdev; "
	/* that of 1a:00.4 is in a pod, and called something; 1a:00.3's is being moved */
	"V=$D/0000:1a:00.4; C=class/infiniband_verbs/uverbs4; mkdir -p $V/infiniband "
	"$V/infiniband_verbs/uverbs4 $D/0000:1a:00.3/infiniband; "
	"printf 'a/\\n\\n' > $V/infiniband_verbs/uverbs4/ibdev; "
	"ln -s ../../$V/infiniband_verbs/uverbs4 $C; ln -s ../../../0000:1a:00.4 "
	"$V/infiniband_verbs/uverbs4/device; "
	"mkdir -p class/infiniband_verbs/uverbs5; printf '%%063d\\n' 0 > "
	"class/infiniband_verbs/uverbs5/ibdev";

static int make_tree(void **state)
{
	char command[8192];

	(void)state;
	if (!mkdtemp(root))
		return -1;
	(void)snprintf(command, sizeof(command), tree, root);
	root_fd = system(command) == 0 ? open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return root_fd < 0 ? -1 : 0;
}

static int drop_tree(void **state)
{
	char command[128];

	(void)state;
	(void)close(root_fd);
	(void)snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static int look(const char *text, struct pci_function *fn)
{
	struct pci_addr addr;

	assert_int_equal(pci_parse(text, &addr), 0);
	return sysfs_pci_function(root_fd, &addr, fn, &err);
}

static void test_pf(void **state)
{
	struct pci_function fn;

	(void)state;
	assert_int_equal(look("0000:1a:00.0", &fn), 0);
	assert_false(fn.is_vf);
	assert_string_equal(fn.netdev, "ens1f0"); /* not a representor */
	assert_string_equal(fn.rdma, "mlx5_0");
	assert_string_equal(fn.driver, "");
	assert_int_equal(fn.numa_node, 1);
}

static void test_vf(void **state)
{
	struct pci_function fn;

	(void)state;
	assert_int_equal(look("0000:1a:00.2", &fn), 0);
	assert_true(fn.is_vf);
	assert_int_equal(fn.vf_index, 0);
	assert_int_equal(fn.pf_addr.function, 0);
	assert_string_equal(fn.pf_netdev, "ens1f0");
	assert_string_equal(fn.netdev, "ens1f0v0");
	assert_string_equal(fn.driver, "mlx5_core");
	assert_string_equal(fn.rdma, "mlx5_2");
	assert_int_equal(fn.rdma_count, 1);
}

static void test_vf_for_vfio(void **state)
{
	struct pci_function fn;

	(void)state;
	assert_int_equal(look("0000:1a:00.3", &fn), 0);
	assert_int_equal(fn.vf_index, 1);
	assert_string_equal(fn.driver, "vfio-pci");
	assert_string_equal(fn.netdev, "");
	assert_int_equal(fn.rdma_count, 0);
	assert_int_equal(fn.numa_node, -1);
}

static void test_what_is_refused(void **state)
{
	struct pci_function fn = { .vf_index = 77 };

	(void)state;
	/* the PF's virtfn2 dangles, and the search ends there: 00.4 and 00.5 have no index */
	assert_int_equal(look("0000:1a:00.4", &fn), -ENODEV);
	assert_non_null(strstr(err.msg, "find VF index of 0000:1a:00.4"));
	assert_int_equal(look("0000:1c:00.0", &fn), -ENODEV);
	assert_int_equal(err.code, ERR_DEVICE);
	assert_int_equal(look("0000:1b:00.0", &fn), -EINVAL); /* physfn leads to no PCI address */
	assert_int_equal(fn.vf_index, 77);                    /* untouched */
}

static void test_two_netdevs(void **state)
{
	struct pci_function fn;
	char command[256];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm %s/bus/pci/devices/0000:1a:00.5/physfn", root);
	assert_int_equal(system(command), 0);
	assert_int_equal(look("0000:1a:00.5", &fn), -ENOTUNIQ);
	assert_non_null(strstr(err.msg, "it has two"));
}

static void test_aux(void **state)
{
	struct aux_device aux;

	(void)state;
	assert_int_equal(sysfs_aux_device(root_fd, "mlx5_core.sf.4", &aux, &err), 0);
	assert_string_equal(aux.netdev, "sf4");
	assert_string_equal(aux.rdma, "mlx5_9");
	assert_int_equal(aux.rdma_count, 1);
	assert_int_equal(aux.pci.bus, 0x1a);
	assert_int_equal(sysfs_aux_device(root_fd, "mlx5_core.sf.9", &aux, &err), -ENODEV);
	assert_int_equal(sysfs_aux_device(root_fd, "mlx5_core.sf.5", &aux, &err), -ENODEV);
	assert_int_equal(sysfs_aux_device(root_fd, "../../pci/devices/0000:1a:00.0", &aux, &err),
			 -EINVAL);
	assert_int_equal(err.code, ERR_VALUE);
}

static char seen[256]; /* what a list showed, one after the other */
static int stop_after;

static int note(const char *text)
{
	size_t len = strlen(seen);

	(void)snprintf(seen + len, sizeof(seen) - len, "%s ", text);
	return stop_after > 0 && --stop_after == 0;
}

static int note_pf(const struct pci_addr *pf, void *arg)
{
	char text[PCI_TEXT + 4];

	(void)arg;
	return note(pci_format(pf, text));
}

static int note_vf(int vf, const struct pci_addr *addr, void *arg)
{
	char text[PCI_TEXT + 4], both[40];

	(void)arg;
	(void)snprintf(both, sizeof(both), "%d:%s", vf, pci_format(addr, text));
	return note(both);
}

static void test_list_pfs(void **state)
{
	(void)state;
	seen[0] = '\0';
	assert_int_equal(sysfs_list_pfs(root_fd, note_pf, NULL, &err), 0);
	assert_string_equal(seen, "0000:1a:00.0 10000:01:00.0 "); /* only those with VFs */
	seen[0] = '\0';
	stop_after = 1;
	assert_int_equal(sysfs_list_pfs(root_fd, note_pf, NULL, &err), 1);
	assert_string_equal(seen, "0000:1a:00.0 ");
}

static int list_vfs(const char *text)
{
	struct pci_addr pf;

	assert_int_equal(pci_parse(text, &pf), 0);
	seen[0] = '\0';
	return sysfs_list_vfs(root_fd, &pf, note_vf, NULL, &err);
}

static void test_list_vfs(void **state)
{
	(void)state;
	assert_int_equal(list_vfs("10000:01:00.0"), 0);
	assert_string_equal(seen, "0:10000:01:10.0 ");
	assert_int_equal(list_vfs("0000:1b:00.0"), 0);
	assert_string_equal(seen, "");
	assert_int_equal(list_vfs("0000:1a:00.0"), -EINVAL); /* virtfn2 leads to no PCI address */
	assert_string_equal(seen, "0:0000:1a:00.2 1:0000:1a:00.3 ");
	assert_non_null(strstr(err.msg, "find VF 2 of 0000:1a:00.0"));
	stop_after = 1;
	assert_int_equal(list_vfs("0000:1a:00.0"), 1);
	assert_int_equal(list_vfs("0000:ff:00.0"), -ENODEV);
}

static int gid_index_of(const char *rdma, const char *address, const char *netdev)
{
	struct ip ip;
	int index = -77;

	assert_int_equal(ip_parse(address, &ip), 0);
	assert_int_equal(sysfs_rdma_gid_index(root_fd, rdma, &ip, netdev, &index, &err), 0);
	return index;
}

static int gid_index(const char *rdma, const char *address)
{
	return gid_index_of(rdma, address, "");
}

static void test_rdma(void **state)
{
	struct ip ip = { .family = 2 };
	bool active = false;
	int index = 77;

	(void)state;
	assert_int_equal(sysfs_rdma_port_active(root_fd, "mlx5_2", &active, &err), 0);
	assert_true(active);
	assert_int_equal(sysfs_rdma_port_active(root_fd, "mlx5_9", &active, &err), 0);
	assert_false(active);
	assert_int_equal(gid_index("mlx5_2", "10.0.0.5"), 2); /* 1 is of RoCE v1 */
	/* a device on top of ours has the address too */
	assert_int_equal(gid_index_of("mlx5_2", "10.0.0.5", "net1"), 5);
	assert_int_equal(gid_index_of("mlx5_2", "10.0.0.5", "net2"), -1);
	assert_int_equal(gid_index("mlx5_2", "fd00::9"), 4);
	assert_int_equal(gid_index("mlx5_2", "fd00::a"), -1); /* behind the end of the table */
	assert_int_equal(gid_index("mlx5_2", "10.0.0.6"), -1);
	assert_int_equal(gid_index("mlx5_9", "10.0.0.5"), -1);
	assert_int_equal(sysfs_rdma_gid_index(root_fd, "mlx5_3", &ip, "", &index, &err), -ENODEV);
	assert_int_equal(err.code, ERR_DEVICE);
	assert_int_equal(sysfs_rdma_gid_index(root_fd, "../x", &ip, "", &index, &err), -EINVAL);
	assert_int_equal(index, 77);
	assert_int_equal(sysfs_rdma_port_active(root_fd, "mlx5_3", &active, &err), -ENODEV);
	assert_int_equal(sysfs_rdma_port_active(root_fd, "..", &active, &err), -EINVAL);
}

static void test_uverbs(void **state)
{
	char uverbs[SYSFS_NAME_MAX] = "untouched";

	(void)state;
	assert_int_equal(sysfs_rdma_uverbs(root_fd, "", uverbs, &err), -EINVAL);
	assert_string_equal(uverbs, "untouched");
	assert_int_equal(sysfs_rdma_uverbs(root_fd, "mlx5_2", uverbs, &err), 0);
	assert_string_equal(uverbs, "uverbs1");
	assert_int_equal(sysfs_rdma_uverbs(root_fd, "mlx5_9", uverbs, &err), 0);
	assert_string_equal(uverbs, "uverbs9");
	assert_int_equal(sysfs_rdma_uverbs(root_fd, "mlx5_0", uverbs, &err), 0);
	assert_string_equal(uverbs, "");
}

static void expect_rdma(const char *function, const char *name, bool has)
{
	char rdma[SYSFS_NAME_MAX];

	assert_int_equal(sysfs_rdma_name(root_fd, "pci", function, rdma, &err), 0);
	assert_string_equal(rdma, name);
	assert_int_equal(sysfs_has_rdma(root_fd, "pci", function), has);
}

static void test_rdma_in_other_namespaces(void **state)
{
	char device[SYSFS_NAME_MAX], longest[SYSFS_NAME_MAX];

	(void)state;
	expect_rdma("0000:1a:00.2", "mlx5_2", true); /* without a character device */
	expect_rdma("0000:1a:00.3", "", true);
	expect_rdma("0000:1a:00.4", "a/\n", true);
	expect_rdma("0000:1b:00.0", "", false);
	assert_int_equal(sysfs_rdma_name(root_fd, "pci", "0000:ff:00.0", device, &err), -ENODEV);
	assert_true(sysfs_rdma_holder(root_fd, "a/\n", device));
	assert_string_equal(device, "0000:1a:00.4");
	(void)snprintf(longest, sizeof(longest), "%063d", 0);
	assert_true(sysfs_rdma_holder(root_fd, longest, device));
	assert_string_equal(device, "");
	assert_false(sysfs_rdma_holder(root_fd, "a/", device));
}

static void test_userspace_drivers(void **state)
{
	(void)state;
	assert_true(sysfs_driver_is_userspace("vfio-pci"));
	assert_true(sysfs_driver_is_userspace("mlx5_vfio_pci"));
	assert_true(sysfs_driver_is_userspace("uio_pci_generic"));
	assert_true(sysfs_driver_is_userspace("igb_uio"));
	assert_false(sysfs_driver_is_userspace("mlx5_core"));
	assert_false(sysfs_driver_is_userspace(""));
}

static void shell(const char *text)
{
	char command[512];

	(void)snprintf(command, sizeof(command), "cd %s && %s", root, text);
	assert_int_equal(system(command), 0);
}

/* A file tree takes what is written and does nothing: what the driver does is for a real kernel. */
static void test_rebind(void **state)
{
	struct pci_addr addr;

	(void)state;
	assert_int_equal(pci_parse("0000:1a:00.2", &addr), 0);
	shell("touch bus/pci/drivers/mlx5_core/unbind bus/pci/drivers_probe");
	assert_int_equal(sysfs_rebind(root_fd, &addr, &err), 0);
	shell("[ $(cat bus/pci/drivers/mlx5_core/unbind) = 0000:1a:00.2 ] && "
	      "[ $(cat bus/pci/drivers_probe) = 0000:1a:00.2 ]");
	/* it has no driver: only the probe is written, and nobody takes it */
	assert_int_equal(pci_parse("0000:1b:00.0", &addr), 0);
	assert_int_equal(sysfs_rebind(root_fd, &addr, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "none took it"));
	shell("[ $(cat bus/pci/drivers_probe) = 0000:1b:00.0 ]");
	shell("rm bus/pci/drivers_probe");
	assert_int_equal(sysfs_rebind(root_fd, &addr, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "probe 0000:1b:00.0 for a driver: "));
	shell("rm bus/pci/drivers/mlx5_core/unbind && mkdir bus/pci/drivers/mlx5_core/unbind");
	assert_int_equal(pci_parse("0000:1a:00.2", &addr), 0);
	assert_int_equal(sysfs_rebind(root_fd, &addr, &err), -EISDIR);
	assert_non_null(strstr(err.msg, "take the driver from 0000:1a:00.2: "));
	assert_int_equal(pci_parse("0000:ff:00.0", &addr), 0);
	assert_int_equal(sysfs_rebind(root_fd, &addr, &err), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pf),
		cmocka_unit_test(test_vf),
		cmocka_unit_test(test_vf_for_vfio),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_two_netdevs),
		cmocka_unit_test(test_aux),
		cmocka_unit_test(test_list_pfs),
		cmocka_unit_test(test_list_vfs),
		cmocka_unit_test(test_rdma),
		cmocka_unit_test(test_uverbs),
		cmocka_unit_test(test_rdma_in_other_namespaces),
		cmocka_unit_test(test_userspace_drivers),
		cmocka_unit_test(test_rebind),
	};

	return cmocka_run_group_tests(tests, make_tree, drop_tree);
}
