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
	"ln -s ../../../bus/pci/drivers/mlx5_core $V/driver; "
	"ln -s ../../../bus/pci/drivers/vfio-pci $D/0000:1a:00.3/driver; "
	"V=$D/0000:1a:00.5; mkdir -p $V/net/one $V/net/two $V/infiniband/b $V/infiniband/a; "
	"echo -1 > $D/0000:1b:00.0/numa_node; mkdir -p $D/0000:1b:00.0/net; rm $P/virtfn2; ln -s "
	"../nowhere $P/virtfn2; "
	"A=$P/mlx5_core.sf.4; mkdir -p $A/net/sf4; ln -s ../../../$A "
	"bus/auxiliary/devices/mlx5_core.sf.4; "
	"ln -s ../../../devices/gone bus/auxiliary/devices/mlx5_core.sf.9; ln -s ../nowhere "
	"$D/0000:1b:00.0/physfn";

static int make_tree(void **state)
{
	char command[4096];

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
	assert_int_equal(aux.pci.bus, 0x1a);
	assert_int_equal(sysfs_aux_device(root_fd, "mlx5_core.sf.9", &aux, &err), -ENODEV);
	assert_int_equal(sysfs_aux_device(root_fd, "mlx5_core.sf.5", &aux, &err), -ENODEV);
	assert_int_equal(sysfs_aux_device(root_fd, "../../pci/devices/0000:1a:00.0", &aux, &err),
			 -EINVAL);
	assert_int_equal(err.code, ERR_VALUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pf),          cmocka_unit_test(test_vf),
		cmocka_unit_test(test_vf_for_vfio), cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_two_netdevs), cmocka_unit_test(test_aux),
	};

	return cmocka_run_group_tests(tests, make_tree, drop_tree);
}
