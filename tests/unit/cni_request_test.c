/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of requests: environment and configuration in, code and words out. Every key of
 * docs/netconf.md has its rows here: absent, its limits, beyond them, of another type.
 */
#include "cni/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cni/recorded.h"

#define CONF(more) "{\"cniVersion\":\"1.0.0\",\"name\":\"rail0\",\"type\":\"spur\"" more "}"
/* With a device, so that nothing but @more can be wrong. */
#define ADD(more) CONF(",\"device\":\"eth1\"" more)
/* Likewise, with a VF, or an auxiliary device. */
#define VF(more)  CONF(",\"deviceID\":\"0000:1a:00.1\"" more)
#define AUX(more) CONF(",\"deviceID\":\"mlx5_core.sf.4\"" more)
#define GUID      "\"02:00:00:00:00:00:00:01\""
#define OURS      ",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"train\"}"

static const struct request_env add_env = {
	.command = "ADD",
	.container_id = "c1",
	.ifname = "net1",
	.netns = "/run/netns/a",
	.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod;K8S_POD_UID=u1",
	.path = "/opt/cni/bin",
};

/* Reads @text; fails the test unless the code is @code and the message has @words. */
static void expect(const struct request_env *env, const char *text, int code, const char *words)
{
	struct request request;
	struct err err = { 0 };
	int r = request_read(env, false, text, strlen(text), &request, &err);

	if ((r < 0 ? err.code : 0) != code || (r < 0 && words && !strstr(err.msg, words)))
		fail_msg("%s\n  gave %d \"%s\"\n  not  %d \"%s\"", text, r < 0 ? err.code : 0,
			 r < 0 ? err.msg : "", code, words ? words : "");
	request_free(&request);
}

static void test_every_key(void **state)
{
	static const struct {
		const char *text;
		int code; /* 0: accepted */
		const char *words;
	} rows[] = {
		{ ADD(""), 0, NULL },
		/* which device */
		{ CONF(""), 7, "\"deviceID\", \"device\" or \"rail\": is required" },
		{ CONF(OURS), 7, "is required" },
		{ CONF(OURS ",\"rail\":\"r\""), 0, NULL },
		{ CONF(",\"rail\":\"r\""), 7, "needs \"ipam\" spur-ipam" },
		{ CONF(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"rail\":\"r\"}"), 7,
		  "is required" },
		{ CONF(OURS ",\"rail\":\"r\",\"vlan\":5,\"guid\":" GUID), 0, NULL },
		{ VF(OURS ",\"rail\":\"r\""), 0, NULL },
		{ CONF(",\"device\":1"), 7, "key \"device\"" },
		{ CONF(",\"device\":\"0123456789abcdef\""), 7, "key \"device\"" },
		{ CONF(",\"device\":\"0123456789abcde\""), 0, NULL },
		{ CONF(",\"device\":\"a/b\""), 7, "key \"device\"" },
		{ CONF(",\"deviceID\":\"0000:1a:00.1\""), 0, NULL },
		{ CONF(",\"deviceID\":\"mlx5_core.sf.4\""), 0, NULL },
		{ CONF(",\"deviceID\":\"eth1\""), 7, "key \"deviceID\"" },
		{ CONF(",\"deviceID\":\"../x.y\""), 7, "key \"deviceID\"" },
		{ CONF(",\"pciBusID\":\"0000:1a:00.1\""), 0, NULL },
		{ CONF(",\"deviceID\":\"0000:1a:00.1\",\"pciBusID\":\"0000:1A:00.1\""), 0, NULL },
		{ CONF(",\"deviceID\":\"0000:1a:00.1\",\"pciBusID\":\"0000:1a:00.2\""), 7,
		  "contradicts" },
		{ CONF(",\"runtimeConfig\":{\"deviceID\":\"0000:1a:00.1\"}"), 0, NULL },
		{ CONF(",\"runtimeConfig\":{\"deviceID\":\"x\"}"), 7, "runtimeConfig.deviceID" },
		{ ADD(",\"deviceID\":\"0000:1a:00.1\""), 0, NULL },
		{ ADD(",\"deviceID\":\"0000:1a:00.1\",\"pciBusID\":\"0000:1a:00.1\",\"vlan\":5"), 0,
		  NULL },
		{ ADD(",\"runtimeConfig\":{\"deviceID\":\"0000:1a:00.1\"}"), 0, NULL },
		/* what is misspelt, or another plugin's, before what is missing for it */
		{ CONF(",\"deviceId\":\"0000:1a:00.1\""), 2,
		  "key \"deviceId\": is not known; did you mean \"deviceID\"?" },
		{ CONF(",\"pciBusId\":\"0000:1a:00.1\""), 2,
		  "key \"pciBusId\": is not known; did you mean \"pciBusID\"?" },
		{ CONF(",\"ipam\":{\"type\":\"spur-ipam\",\"poolName\":\"a\"}"), 2,
		  "key \"ipam.poolName\": is not known; did you mean \"pool\"?" },
		{ CONF(",\"routing\":{\"tabel\":1}"), 2,
		  "key \"routing.tabel\": is not known; did you mean \"table\"?" },
		{ CONF(",\"routing\":{},\"devise\":\"eth1\""), 2,
		  "key \"devise\": is not known; did you mean \"device\"?" },
		{ CONF(",\"ipam\":{},\"ipams\":1"), 2, "did you mean \"ipam\"?" },
		{ ADD(",\"hwaddr\":\"02:00:00:00:00:01\""), 2,
		  "key \"hwaddr\": is not known; did you mean \"mac\"?" },
		{ "{\"cniVersion\":\"1.0.0\",\"names\":\"a\",\"device\":\"eth1\"}", 2,
		  "key \"names\": is not known; did you mean \"name\"?" },
		{ "{\"cniVersion\":\"1.0.0\",\"device\":\"eth1\"}", 7,
		  "key \"name\": is required" },
		{ "{\"name\":\"a\",\"device\":\"eth1\"}", 1, "key \"cniVersion\": is required" },
		{ "{\"cniVersion\":1,\"name\":\"a\"}", 1, "key \"cniVersion\": 1: must be 0.3.0" },
		/* how it looks */
		{ ADD(",\"mac\":\"02:00:00:00:00:01\""), 0, NULL },
		{ ADD(",\"mac\":\"01:00:00:00:00:01\""), 7, "key \"mac\"" },
		{ ADD(",\"mac\":\"00:00:00:00:00:00\""), 7, "key \"mac\"" },
		{ ADD(",\"mac\":\"02:00:00:00:00\""), 7, "key \"mac\"" },
		{ ADD(",\"mac\":2"), 7, "key \"mac\"" },
		{ ADD(",\"runtimeConfig\":{\"mac\":\"x\"}"), 7, "runtimeConfig.mac" },
		{ ADD(",\"mtu\":68"), 0, NULL },
		{ ADD(",\"mtu\":65535"), 0, NULL },
		{ ADD(",\"mtu\":67"), 7, "key \"mtu\": 67: must be an integer 68..65535" },
		{ ADD(",\"mtu\":65536"), 7, "key \"mtu\"" },
		{ ADD(",\"mtu\":\"1500\""), 7, "key \"mtu\"" },
		{ ADD(",\"mtu\":1500.0"), 7, "key \"mtu\"" },
		{ ADD(",\"dad\":true"), 0, NULL },
		{ ADD(",\"dad\":\"true\""), 7, "key \"dad\"" },
		{ ADD(",\"ready\":{\"timeout_ms\":0}"), 0, NULL },
		{ ADD(",\"ready\":{\"timeout_ms\":30000}"), 0, NULL },
		{ ADD(",\"ready\":{\"timeout_ms\":30001}"), 7, "ready.timeout_ms" },
		{ ADD(",\"ready\":{\"timeout\":1}"), 2, "ready.timeout" },
		{ ADD(",\"ready\":true"), 7, "key \"ready\"" },
		/* attributes of a VF */
		{ ADD(",\"vlan\":0"), 7, "\"device\" names a netdev" },
		{ ADD(",\"vlan\":1,\"vlanProto\":\"802.1AD\""), 7, "\"device\" names a netdev" },
		{ ADD(",\"spoofchk\":\"off\""), 7, "\"device\" names a netdev" },
		{ ADD(",\"trust\":\"on\""), 7, "\"device\" names a netdev" },
		{ ADD(",\"link_state\":\"auto\""), 7, "\"device\" names a netdev" },
		{ ADD(",\"min_tx_rate\":0"), 7, "\"device\" names a netdev" },
		{ ADD(",\"max_tx_rate\":0"), 7, "\"device\" names a netdev" },
		{ ADD(",\"guid\":\"02:00:00:00:00:00:00:01\""), 7, "\"device\" names a netdev" },
		{ ADD(",\"vfioPciMode\":true"), 7, "\"device\" names a netdev" },
		{ AUX(",\"vlan\":0"), 7, "an auxiliary device has no PF" },
		{ AUX(",\"vlan\":1,\"vlanProto\":\"802.1AD\""), 7,
		  "an auxiliary device has no PF" },
		{ AUX(",\"spoofchk\":\"off\""), 7, "an auxiliary device has no PF" },
		{ AUX(",\"trust\":\"on\""), 7, "an auxiliary device has no PF" },
		{ AUX(",\"link_state\":\"auto\""), 7, "an auxiliary device has no PF" },
		{ AUX(",\"min_tx_rate\":0"), 7, "an auxiliary device has no PF" },
		{ AUX(",\"max_tx_rate\":0"), 7, "an auxiliary device has no PF" },
		{ AUX(",\"guid\":\"02:00:00:00:00:00:00:01\""), 7,
		  "an auxiliary device has no PF" },
		{ AUX(",\"vfioPciMode\":true"), 7, "an auxiliary device has no PF" },
		{ VF(",\"vlan\":0"), 0, NULL },
		{ VF(",\"vlan\":4094"), 0, NULL },
		{ VF(",\"vlan\":1,\"vlanQoS\":7"), 0, NULL },
		{ VF(",\"vlan\":0,\"vlanQoS\":0"), 0, NULL },
		{ VF(",\"vlan\":1,\"vlanProto\":\"802.1AD\""), 0, NULL },
		{ VF(",\"vlan\":0,\"vlanProto\":\"802.1q\""), 0, NULL },
		{ VF(",\"spoofchk\":\"ON\""), 0, NULL },
		{ VF(",\"trust\":\"off\""), 0, NULL },
		{ VF(",\"link_state\":\"Enable\""), 0, NULL },
		{ VF(",\"min_tx_rate\":2,\"max_tx_rate\":0"), 0, NULL },
		{ VF(",\"min_tx_rate\":2147483647"), 0, NULL },
		{ VF(",\"max_tx_rate\":2147483647"), 0, NULL },
		{ VF(",\"vlan\":4095"), 7, "0..4094" },
		{ VF(",\"vlan\":-1"), 7, "0..4094" },
		{ VF(",\"vlan\":\"1\""), 7, "0..4094" },
		{ VF(",\"vlanQoS\":1"), 7, "needs \"vlan\"" },
		{ VF(",\"vlan\":1,\"vlanQoS\":8"), 7, "0..7" },
		{ VF(",\"vlan\":0,\"vlanQoS\":1"), 7, "must be 0 with" },
		{ VF(",\"vlanProto\":\"802.1q\""), 7, "needs \"vlan\"" },
		{ VF(",\"vlan\":1,\"vlanProto\":\"802.1x\""), 7, "802.1ad" },
		{ VF(",\"vlan\":0,\"vlanProto\":\"802.1AD\""), 7, "other than 0" },
		{ VF(",\"spoofchk\":\"ture\""), 7, "\"on\" or \"off\"" },
		{ VF(",\"trust\":true"), 7, "must be a string" },
		{ VF(",\"link_state\":\"up\""), 7, "\"auto\", \"enable\" or \"disable\"" },
		{ VF(",\"min_tx_rate\":-1"), 7, "min_tx_rate" },
		{ VF(",\"max_tx_rate\":2147483648"), 7, "0..2147483647" },
		{ VF(",\"min_tx_rate\":2,\"max_tx_rate\":1"), 7, "must not be above" },
		/* RDMA */
		{ VF(",\"rdma\":\"auto\""), 0, NULL },
		{ VF(",\"rdma\":\"none\""), 0, NULL },
		{ VF(",\"rdma\":\"Required\""), 0, NULL },
		{ VF(",\"rdmaIsolation\":false,\"rdma\":\"none\""), 0, NULL },
		{ VF(",\"rdmaIsolation\":true"), 0, NULL },
		{ VF(",\"rdmaIsolation\":true,\"rdma\":\"required\""), 0, NULL },
		{ VF(",\"rdmaName\":\"mlx5_0\""), 0, NULL },
		{ ADD(",\"rdma\":\"required\""), 0, NULL },
		{ AUX(",\"rdma\":\"required\",\"rdmaName\":\"mlx5_0\""), 0, NULL },
		{ VF(",\"rdma\":\"yes\""), 7, "\"auto\", \"required\" or \"none\"" },
		{ VF(",\"rdma\":true"), 7, "must be a string" },
		{ VF(",\"rdmaIsolation\":1"), 7, "must be true or false" },
		{ VF(",\"rdmaIsolation\":true,\"rdma\":\"none\""), 7,
		  "key \"rdmaIsolation\": true: contradicts \"rdma\", which says none" },
		{ VF(",\"rdmaIsolation\":true,\"rdma\":\"auto\""), 7, "which says auto" },
		{ VF(",\"rdmaName\":\"\""), 7, "key \"rdmaName\"" },
		{ VF(",\"rdmaName\":\"a/b\""), 7, "key \"rdmaName\"" },
		{ VF(",\"rdmaName\":7"), 7, "key \"rdmaName\"" },
		{ VF(",\"rdmaName\":"
		     "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\""),
		  7, "at most 63" },
		{ VF(",\"rdmaName\":\"mlx5_0\",\"rdma\":\"none\""), 7, "contradicts \"rdma\"" },
		/* InfiniBand */
		{ VF(",\"guid\":\"02:00:00:00:00:00:00:01\""), 0, NULL },
		{ VF(",\"guid\":\"FE:00:00:00:00:00:00:01\""), 0, NULL },
		{ VF(",\"guid\":\"\""), 0, NULL },
		{ VF(",\"runtimeConfig\":{\"infinibandGUID\":\"02:00:00:00:00:00:00:01\"}"), 0,
		  NULL },
		{ VF(",\"args\":{\"cni\":{\"guid\":\"02:00:00:00:00:00:00:01\"}}"), 0, NULL },
		{ VF(",\"pkey\":\"0x8001\""), 0, NULL },
		{ VF(",\"pkey\":\"0x7fff\""), 7,
		  "key \"pkey\": \"0x7fff\": is the default partition" },
		{ VF(",\"pkey\":\"0xffff\""), 7,
		  "key \"pkey\": \"0xffff\": is the default partition" },
		{ VF(",\"pkey\":\"0x7fff\",\"pkeyMembership\":\"limited\""), 7, "is the default" },
		{ VF(",\"pkey\":\"0x7ffe\",\"pkeyMembership\":\"limited\""), 0, NULL },
		{ VF(",\"pkey\":\"0x8010\",\"pkeyMembership\":\"full\""), 0, NULL },
		{ VF(",\"pkey\":\"0x8010\",\"pkeyMembership\":\"limited\""), 7,
		  "key \"pkeyMembership\": \"limited\": contradicts \"pkey\"" },
		{ VF(",\"pkey\":\"0x10\",\"pkeyMembership\":\"half\""), 7,
		  "key \"pkeyMembership\": \"half\": must be \"full\" or \"limited\"" },
		{ VF(",\"pkey\":\"0x10\",\"pkeyMembership\":1"), 7, "must be a string" },
		{ VF(",\"pkeyMembership\":\"limited\""), 7, "needs \"pkey\"" },
		{ VF(",\"pkey\":\"0x1\""), 0, NULL },
		{ VF(",\"ibKubernetesEnabled\":false"), 0, NULL },
		{ VF(",\"ibKubernetesEnabled\":true,\"args\":{\"cni\":{\"guid\":\"02:00:00:00:00:"
		     "00:00:01\",\"mellanox.infiniband.app\":\"configured\"}}"),
		  0, NULL },
		{ VF(",\"ibKubernetesEnabled\":true,\"args\":{\"cni\":{\"mellanox.infiniband.app\":"
		     "\"configured\"}},\"runtimeConfig\":{\"infinibandGUID\":\"02:00:00:00:00:00:"
		     "00:01\"}"),
		  0, NULL },
		{ VF(",\"guid\":\"00:00:00:00:00:00:00:00\""), 7, "must be a GUID" },
		{ VF(",\"guid\":\"ff:ff:ff:ff:ff:ff:ff:ff\""), 7, "must be a GUID" },
		{ VF(",\"guid\":\"03:00:00:00:00:00:00:01\""), 7, "multicast" },
		{ VF(",\"guid\":\"02:00:00:00:00:01\""), 7, "must be a GUID" },
		{ VF(",\"guid\":2"), 7, "must be a string" },
		{ VF(",\"runtimeConfig\":{\"infinibandGUID\":\"zz\"}"), 7,
		  "runtimeConfig.infinibandGUID" },
		{ VF(",\"args\":{\"cni\":{\"guid\":\"zz\"}}"), 7, "args.cni.guid" },
		{ VF(",\"pkey\":\"0x8000\""), 7, "low 15 bits" },
		{ VF(",\"pkey\":\"0x0000\""), 7, "low 15 bits" },
		{ VF(",\"pkey\":\"8001\""), 7, "low 15 bits" },
		{ VF(",\"pkey\":\"0x\""), 7, "low 15 bits" },
		{ VF(",\"pkey\":\"0x10001\""), 7, "low 15 bits" },
		{ VF(",\"pkey\":32769"), 7, "must be a string" },
		{ VF(",\"ibKubernetesEnabled\":1"), 7, "must be true or false" },
		{ VF(",\"ibKubernetesEnabled\":true"), 11, "mellanox.infiniband.app is not" },
		{ VF(",\"ibKubernetesEnabled\":true,\"args\":{\"cni\":{\"mellanox.infiniband.app\":"
		     "\"pending\"}}"),
		  11, "mellanox.infiniband.app is not" },
		{ VF(",\"ibKubernetesEnabled\":true,\"args\":{\"cni\":{\"mellanox.infiniband.app\":"
		     "\"configured\"}}"),
		  11, "no GUID" },
		{ ADD(",\"runtimeConfig\":{\"infinibandGUID\":\"02:00:00:00:00:00:00:01\"}"), 7,
		  "key \"runtimeConfig.infinibandGUID\": needs a VF" },
		/* vfio */
		{ VF(",\"vfioPciMode\":true"), 0, NULL },
		{ VF(",\"vfioPciMode\":true,\"rdma\":\"none\""), 0, NULL },
		{ VF(",\"vfioPciMode\":1"), 7, "true or false" },
		{ VF(",\"vfioPciMode\":true,\"rdma\":\"required\""), 7, "contradicts \"rdma\"" },
		{ VF(",\"vfioPciMode\":true,\"rdmaName\":\"a\""), 7, "contradicts \"rdmaName\"" },
		/* addresses */
		{ ADD(",\"ipam\":{}"), 0, NULL },
		{ ADD(",\"ipam\":[]"), 7, "key \"ipam\"" },
		{ ADD(",\"ipam\":{\"pool\":\"x\"}"), 7, "ipam.type" },
		{ ADD(",\"ipam\":{\"type\":\"../sh\"}"), 7, "ipam.type" },
		{ ADD(",\"ipam\":{\"type\":\"dhcp\"}"), 7, "ipam.type" },
		{ ADD(",\"ipam\":{\"type\":\"host-local\",\"whatever\":1}"), 0, NULL },
		{ ADD(OURS), 0, NULL },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\"}"), 7, "ipam.pool\": is required" },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"x\":1}"), 2, "ipam.x" },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"x-a\":1}"), 0, NULL },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"\"}"), 7, "ipam.pool" },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"rail\":1}"), 7,
		  "ipam.rail" },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"claim\":\"all\"}"), 0,
		  NULL },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"claim\":[\"r\",\"s\"]}"),
		  0, NULL },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"claim\":[\"r\",\"r\"]}"),
		  7, "must be \"all\" or 1..32 names of rails, each once" },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"claim\":[]}"), 7,
		  "ipam.claim" },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"claim\":[\"*\"]}"), 7,
		  "ipam.claim" },
		{ ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"claim\":\"r\"}"), 7,
		  "ipam.claim" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"claim\":\"all\",\"sticky\":\"job/a.b_c-3:x\"}}"),
		  0, NULL },
		{ ADD(OURS ",\"args\":{\"cni\":{\"claim\":7}}"), 7, "args.cni.claim" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"sticky\":\"\"}}"), 7, "args.cni.sticky" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"sticky\":\"a b\"}}"), 7, "args.cni.sticky" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"sticky\":3}}"), 7, "args.cni.sticky" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"allocateIPWithIndex\":5}}"), 0, NULL },
		{ ADD(OURS ",\"args\":{\"cni\":{\"allocateIPWithIndex\":-1}}"), 7,
		  "args.cni.allocateIPWithIndex" },
		{ ADD(OURS
		      ",\"args\":{\"cni\":{\"allocateIPWithIndex\":5,\"ips\":[\"10.0.0.9\"]}}"),
		  7, "excludes addresses" },
		/* nv-ipam's */
		{ ADD(OURS
		      ",\"args\":{\"cni\":{\"poolNames\":[\"train\"],\"poolType\":\"CIDRPool\"}}"),
		  0, NULL },
		{ ADD(OURS ",\"args\":{\"cni\":{\"poolNames\":[\"other\"]}}"), 7,
		  "key \"args.cni.poolNames\": [\"other\"]: must name the one pool of the network, "
		  "\"ipam.pool\" \"train\"" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"poolNames\":[\"train\",\"other\"]}}"), 7,
		  "poolNames" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"poolNames\":\"train\"}}"), 7, "poolNames" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"poolNames\":[1]}}"), 7, "poolNames" },
		{ ADD(",\"args\":{\"cni\":{\"poolNames\":[\"train\"]}}"), 7, "poolNames" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"poolType\":\"other\"}}"), 7,
		  "key \"args.cni.poolType\": \"other\": must be \"ippool\" or \"cidrpool\"" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"allocateDefaultGateway\":true}}"), 0, NULL },
		{ ADD(OURS ",\"args\":{\"cni\":{\"allocateDefaultGateway\":false,"
			   "\"allocateIPWithIndex\":5}}"),
		  0, NULL },
		{ ADD(OURS ",\"args\":{\"cni\":{\"allocateDefaultGateway\":1}}"), 7,
		  "true or false" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"allocateDefaultGateway\":true,"
			   "\"allocateIPWithIndex\":5}}"),
		  7, "excludes \"allocateIPWithIndex\"" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"allocateDefaultGateway\":true,\"ips\":[\"10.0.0."
			   "9\"]}}"),
		  7, "excludes addresses" },
		{ ADD(OURS
		      ",\"args\":{\"cni\":{\"allocateDefaultGateway\":true,\"claim\":\"all\"}}"),
		  7, "excludes \"claim\"" },
		{ ADD(",\"args\":{\"cni\":{\"allocateDefaultGateway\":true}}"), 7,
		  "needs \"ipam\"" },
		{ ADD(",\"ipam\":{\"type\":\"nv-ipam\"},\"args\":{\"cni\":{"
		      "\"allocateDefaultGateway\":"
		      "true,\"poolNames\":[\"a\",\"b\"],\"poolType\":\"x\"}}"),
		  0, NULL },
		{ ADD(",\"args\":{\"cni\":{\"claim\":\"all\"}}"), 7, "needs \"ipam\" spur-ipam" },
		{ ADD(",\"args\":{\"cni\":{\"sticky\":\"a\"}}"), 7, "needs \"ipam\" spur-ipam" },
		{ ADD(",\"ipam\":{\"type\":\"nv-ipam\"},\"args\":{\"cni\":{\"allocateIPWithIndex\":"
		      "5}}"),
		  0, NULL },
		{ ADD(",\"rail\":\"r\""), 7, "needs \"ipam\" spur-ipam" },
		{ ADD(OURS ",\"rail\":\"r\""), 0, NULL },
		{ ADD(",\"rail\":\"r\",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"rail\":"
		      "\"s\"}"),
		  7, "contradicts" },
		{ ADD(OURS ",\"runtimeConfig\":{\"ips\":[\"10.0.0.9/24\",\"fd00::9\"]}"), 0, NULL },
		{ ADD(OURS ",\"runtimeConfig\":{\"ips\":\"10.0.0.9\"}"), 7, "runtimeConfig.ips" },
		{ ADD(OURS ",\"runtimeConfig\":{\"ips\":[1]}"), 7, "runtimeConfig.ips" },
		{ ADD(OURS ",\"args\":{\"cni\":{\"ips\":[\"10.0.0.256\"]}}"), 7, "args.cni.ips" },
		{ ADD(",\"runtimeConfig\":{\"ips\":[\"10.0.0.9\"]}"), 7, "is needed" },
		/* routing */
		{ ADD(",\"routing\":{\"table\":1}"), 0, NULL },
		{ ADD(",\"routing\":{\"table\":4294967295,\"rules\":false}"), 0, NULL },
		{ ADD(",\"routing\":{\"table\":0}"), 7, "routing.table" },
		{ ADD(",\"routing\":{\"table\":4294967296}"), 7, "routing.table" },
		{ ADD(",\"routing\":{\"table\":\"main\"}"), 7, "routing.table" },
		{ ADD(",\"routing\":{\"table\":\"auto\"}"), 7, "needs a rail" },
		{ ADD(OURS ",\"routing\":{\"table\":\"auto\"}"), 0, NULL },
		{ ADD(",\"routing\":{}"), 7, "routing.table\": is required" },
		{ ADD(",\"routing\":{\"table\":1,\"rule\":true}"), 2, "routing.rule" },
		{ ADD(",\"routing\":{\"table\":1,\"rules\":1}"), 7, "routing.rules" },
		{ ADD(OURS ",\"arp\":\"strict\""), 0, NULL },
		{ ADD(OURS ",\"arp\":\"kernel\""), 0, NULL },
		{ ADD(OURS ",\"arp\":\"loose\""), 7, "must be \"strict\" or \"kernel\"" },
		{ ADD(OURS ",\"arp\":1"), 7, "key \"arp\"" },
		{ ADD(",\"arp\":\"strict\""), 7, "needs \"ipam\"" },
		{ ADD(OURS ",\"arp\":\"strict\",\"routing\":{\"table\":1}"), 0, NULL },
		{ ADD(OURS ",\"arp\":\"kernel\",\"routing\":{\"table\":1}"), 7, "contradicts" },
		/* the rest */
		{ ADD(",\"socket\":\"/run/x.sock\""), 0, NULL },
		{ ADD(",\"socket\":\"x.sock\""), 7, "key \"socket\"" },
		{ ADD(",\"logLevel\":\"panic\""), 0, NULL },
		{ ADD(",\"logLevel\":\"loud\""), 7, "key \"logLevel\"" },
		{ ADD(",\"logFile\":\"log\""), 7, "key \"logFile\"" },
		{ ADD(",\"runtimeConfig\":{\"CNIDeviceInfoFile\":\"x\"}"), 7, "CNIDeviceInfoFile" },
		{ ADD(",\"vlann\":1"), 2, "key \"vlann\": is not known" },
		{ ADD(",\"x-mine\":1,\"cni.dev/x\":1,\"dns\":{},\"capabilities\":{},"
		      "\"disableCheck\":true,\"disableGC\":true"),
		  0, NULL },
		{ ADD(",\"runtimeConfig\":{\"portMappings\":[],\"dns\":{}},\"args\":{\"x\":1}"), 0,
		  NULL },
		{ ADD(",\"prevResult\":{\"cniVersion\":\"1.0.0\"}"), 0, NULL },
		{ ADD(",\"prevResult\":[]"), 7, "key \"prevResult\"" },
		{ ADD(",\"prevResult\":{\"ips\":{}}"), 7, "key \"prevResult\"" },
		{ ADD(",\"prevResult\":{\"ips\":[{\"address\":\"10.0.0.300/24\"}]}"), 7,
		  "key \"prevResult\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect(&add_env, rows[i].text, rows[i].code, rows[i].words);
}

/* As ib-kubernetes has it, a key without the top bit is a partition, and its members are full. */
static void test_membership(void **state)
{
	static const struct {
		const char *text;
		uint16_t pkey;
	} rows[] = {
		{ VF(",\"pkey\":\"0x10\""), 0x8010 },
		{ VF(",\"pkey\":\"0x8010\""), 0x8010 },
		{ VF(",\"pkey\":\"0x10\",\"pkeyMembership\":\"Full\""), 0x8010 },
		{ VF(",\"pkey\":\"0x10\",\"pkeyMembership\":\"limited\""), 0x0010 },
		{ VF(""), 0 },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct request request;
		struct err err;

		assert_int_equal(request_read(&add_env, false, rows[i].text, strlen(rows[i].text),
					      &request, &err),
				 0);
		assert_int_equal(request.conf.pkey, rows[i].pkey);
		request_free(&request);
	}
}

static void test_stdin(void **state)
{
	(void)state;
	expect(&add_env, "", ERR_JSON, NULL);
	expect(&add_env, "[]", ERR_JSON, "object");
	expect(&add_env, "{\"name\":\"a\",\"name\":\"b\"}", ERR_JSON, "duplicate");
	expect(&add_env, ADD("") "x", ERR_JSON, NULL);
	expect(&add_env, "{\"cniVersion\":\"1.0.0\",\"device\":\"eth1\"}", ERR_VALUE, "name");
	expect(&add_env, "{\"cniVersion\":\"1.0.0\",\"name\":\"a b\",\"device\":\"eth1\"}",
	       ERR_VALUE, "name");
	expect(&add_env, "{\"cniVersion\":\"0.2.0\",\"name\":\"a\",\"device\":\"eth1\"}",
	       ERR_VERSION, "0.2.0");
	expect(&add_env, "{\"name\":\"a\",\"device\":\"eth1\"}", ERR_VERSION, NULL);
}

/* Each row changes one variable of a good ADD. */
static void test_env(void **state)
{
	static const struct {
		size_t variable;
		const char *value;
		int code;
	} rows[] = {
		{ offsetof(struct request_env, command), NULL, ERR_ENV },
		{ offsetof(struct request_env, command), "", ERR_ENV },
		{ offsetof(struct request_env, command), "add", ERR_ENV },
		{ offsetof(struct request_env, container_id), NULL, ERR_ENV },
		{ offsetof(struct request_env, container_id), "-a", ERR_ENV },
		{ offsetof(struct request_env, container_id), "a/b", ERR_ENV },
		{ offsetof(struct request_env, ifname), NULL, ERR_ENV },
		{ offsetof(struct request_env, ifname), "..", ERR_ENV },
		{ offsetof(struct request_env, ifname), "0123456789abcdef", ERR_ENV },
		{ offsetof(struct request_env, ifname), "0123456789abcde", 0 },
		{ offsetof(struct request_env, ifname), "a b", ERR_ENV },
		{ offsetof(struct request_env, netns), NULL, ERR_ENV },
		{ offsetof(struct request_env, ifname), "net%d", ERR_ENV },
		{ offsetof(struct request_env, ifname), "all", ERR_ENV },
		{ offsetof(struct request_env, ifname), "default", ERR_ENV },
		{ offsetof(struct request_env, netns), "", ERR_ENV },
		{ offsetof(struct request_env, netns), "run/netns/a", ERR_ENV },
		{ offsetof(struct request_env, path), NULL, 0 },
		{ offsetof(struct request_env, args), NULL, 0 },
		{ offsetof(struct request_env, args), "", 0 },
		{ offsetof(struct request_env, args), "A=1", ERR_ENV },
		{ offsetof(struct request_env, args), "A=1;IgnoreUnknown=true", 0 },
		{ offsetof(struct request_env, args), "IgnoreUnknown=yes", ERR_ENV },
		{ offsetof(struct request_env, args), "IgnoreUnknown=1;", ERR_ENV },
		{ offsetof(struct request_env, args), "IgnoreUnknown", ERR_ENV },
		{ offsetof(struct request_env, args), "A=b=c;IgnoreUnknown=1", ERR_ENV },
		{ offsetof(struct request_env, args), "K8S_POD_NAME=", 0 },
		{ offsetof(struct request_env, args), "MAC=02:00:00:00:00:01", 0 },
		{ offsetof(struct request_env, args), "MAC=ff:ff:ff:ff:ff:ff", ERR_ENV },
		{ offsetof(struct request_env, args), "IP=10.0.0.9,fd00::9", 0 },
		{ offsetof(struct request_env, args), "IP=10.0.0.9,", ERR_ENV },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct request_env env = add_env;
		void *variable = (char *)&env + rows[i].variable;

		*(const char **)variable = rows[i].value;
		expect(&env, ADD(OURS), rows[i].code, NULL);
	}
}

static void test_key_length(void **state)
{
	struct request_env env = add_env;
	char id[PROTO_KEY_MAX + 1];

	(void)state;
	memset(id, 'a', sizeof(id) - 1);
	id[PROTO_KEY_MAX - strlen("rail0") - strlen("net1")] = '\0';
	env.container_id = id;
	expect(&env, ADD(""), 0, NULL);
	id[strlen(id)] = 'a';
	id[PROTO_KEY_MAX - strlen("rail0") - strlen("net1") + 1] = '\0';
	expect(&env, ADD(""), ERR_ENV, "at most 490");
}

/* Whatever somebody has done to the configuration since ADD. */
static void test_del_needs_little(void **state)
{
	static const char *const texts[] = {
		CONF(""),
		CONF(",\"mtu\":1,\"vlann\":{},\"ipam\":7,\"socket\":3,\"logLevel\":[]"),
		CONF(",\"routing\":\"x\",\"prevResult\":8,\"runtimeConfig\":9,\"args\":1"),
		"{\"name\":\"rail0\"}",
		"{\"name\":\"rail0\",\"cniVersion\":\"9.9\"}",
	};
	struct request_env env = add_env;

	(void)state;
	env.command = "DEL";
	env.args = "broken";
	env.netns = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		expect(&env, texts[i], 0, NULL);
	expect(&env, "{\"cniVersion\":\"1.0.0\"}", ERR_VALUE, "name");
	expect(&env, "x", ERR_JSON, NULL);
	env.ifname = "a/b";
	expect(&env, CONF(""), ERR_ENV, "CNI_IFNAME");
}

static void test_verbs_and_versions(void **state)
{
	static const struct {
		const char *verb, *version;
		int code;
	} rows[] = {
		{ "ADD", "0.3.0", 0 },     { "ADD", "0.3.1", 0 },    { "ADD", "0.4.0", 0 },
		{ "ADD", "1.0.0", 0 },     { "ADD", "1.1.0", 0 },    { "ADD", "1.2.0", 1 },
		{ "CHECK", "0.3.0", 1 },   { "CHECK", "0.3.1", 1 },  { "CHECK", "0.4.0", 0 },
		{ "CHECK", "1.1.0", 0 },   { "STATUS", "1.0.0", 1 }, { "STATUS", "1.1.0", 0 },
		{ "GC", "1.0.0", 1 },      { "GC", "1.1.0", 0 },     { "DEL", "0.3.0", 0 },
		{ "VERSION", "0.1.0", 0 },
	};
	struct request_env env = add_env;
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		env.command = rows[i].verb;
		(void)snprintf(text, sizeof(text),
			       "{\"cniVersion\":\"%s\",\"name\":\"a\",\"device\":\"eth1\"}",
			       rows[i].version);
		expect(&env, text, rows[i].code, NULL);
	}
}

static void read_good(const char *args, const char *text, struct request *ret_request)
{
	struct request_env env = add_env;
	struct err err = { 0 };

	env.args = args;
	if (request_read(&env, false, text, strlen(text), ret_request, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
}

static void test_precedence(void **state)
{
	static const struct {
		const char *args, *text, *mac, *ip;
	} rows[] = {
		{ "MAC=02:00:00:00:00:02;IP=10.0.0.2",
		  ADD(OURS
		      ",\"mac\":\"02:00:00:00:00:03\",\"args\":{\"cni\":{\"ips\":[\"10.0.0.3\"]}},"
		      "\"runtimeConfig\":{\"mac\":\"02:00:00:00:00:01\",\"ips\":[\"10.0.0.1\"]}"),
		  "02:00:00:00:00:01", "10.0.0.1/32" },
		{ "MAC=02:00:00:00:00:02;IP=10.0.0.2",
		  ADD(OURS
		      ",\"mac\":\"02:00:00:00:00:03\",\"args\":{\"cni\":{\"ips\":[\"10.0.0.3\"]}}"),
		  "02:00:00:00:00:02", "10.0.0.3/32" },
		{ "IP=10.0.0.2/24", ADD(OURS ",\"mac\":\"02:00:00:00:00:03\""), "02:00:00:00:00:03",
		  "10.0.0.2/24" },
		/* Twice: the last one counts, as for libcni. */
		{ "IgnoreUnknown=0;MAC=02:00:00:00:00:02;IP=10.0.0.9,10.0.0.8;IgnoreUnknown=1;X=y;"
		  "MAC=02:00:00:00:00:04;IP=10.0.0.2/24",
		  ADD(OURS), "02:00:00:00:00:04", "10.0.0.2/24" },
	};
	char mac[MAC_TEXT], ip[CIDR_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct request request;

		read_good(rows[i].args, rows[i].text, &request);
		assert_string_equal(mac_format(&request.conf.mac, mac), rows[i].mac);
		assert_int_equal(request.conf.ip_count, 1);
		assert_string_equal(cidr_format(&request.conf.ips[0], ip), rows[i].ip);
		request_free(&request);
	}
}

static void test_what_is_read(void **state)
{
	struct request request;

	(void)state;
	read_good("K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=u;K8S_POD_INFRA_CONTAINER_ID=c",
		  CONF(",\"runtimeConfig\":{\"deviceID\":\"0000:1A:00.1\",\"CNIDeviceInfoFile\":"
		       "\"/run/k8s.cni.cncf.io/devinfo/"
		       "y\"},\"mtu\":9000,\"dad\":true,\"ready\":{\"timeout_ms\":5},"
		       "\"routing\":{\"table\":7,\"rules\":false},\"socket\":\"/s\",\"rail\":\"r1\""
		       ",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"train\"}"),
		  &request);
	assert_string_equal(request.args.pod.namespace, "ns");
	assert_string_equal(request.args.pod.name, "p");
	assert_string_equal(request.args.pod.uid, "u");
	assert_string_equal(request.conf.device, "pci:0000:1a:00.1");
	assert_string_equal(request.conf.devinfo_file, "/run/k8s.cni.cncf.io/devinfo/y");
	assert_int_equal(request.conf.mtu, 9000);
	assert_true(request.conf.dad);
	assert_true(request.conf.ready_required);
	assert_int_equal(request.conf.ready_ms, 5);
	assert_true(request.conf.routing.asked);
	assert_int_equal(request.conf.routing.table, 7);
	assert_false(request.conf.routing.rules);
	assert_string_equal(request.conf.socket, "/s");
	assert_string_equal(request.conf.pool, "train");
	assert_string_equal(request.conf.rail, "r1");
	assert_int_equal(request.conf.ipam, IPAM_OURS);
	request_free(&request);
}

static void test_what_is_read_of_a_vf(void **state)
{
	struct request request;

	(void)state;
	read_good(NULL,
		  VF(",\"vlan\":7,\"vlanQoS\":3,\"vlanProto\":\"802.1ad\",\"max_tx_rate\":100,"
		     "\"trust\":\"on\",\"spoofchk\":\"off\",\"link_state\":\"disable\","
		     "\"rdmaIsolation\":true,\"rdmaName\":\"mlx5_0\",\"pkey\":\"0x8005\""),
		  &request);
	assert_int_equal(request.conf.vf.known, VF_BIT(VF_VLAN) | VF_BIT(VF_RATE) |
							VF_BIT(VF_SPOOFCHK) | VF_BIT(VF_TRUST) |
							VF_BIT(VF_LINK_STATE));
	assert_int_equal(request.conf.vf.vlan, 7);
	assert_int_equal(request.conf.vf.qos, 3);
	assert_true(request.conf.vf.vlan_ad);
	assert_false(request.conf.min_rate_asked);
	assert_true(request.conf.max_rate_asked);
	assert_int_equal(request.conf.vf.max_rate, 100);
	assert_true(request.conf.vf.trust);
	assert_false(request.conf.vf.spoofchk);
	assert_int_equal(request.conf.vf.link_state, VF_LINK_DISABLE);
	assert_int_equal(request.conf.rdma_wish, RDMA_WISH_REQUIRED);
	assert_true(request.conf.rdma_isolation);
	assert_string_equal(request.conf.rdma_name, "mlx5_0");
	assert_int_equal(request.conf.pkey, 0x8005);
	assert_int_equal(request.conf.guid, 0);
	assert_false(request.conf.from_plugin || request.conf.choose_device ||
		     request.conf.rdma_only || request.conf.vfio);
	request_free(&request);
	read_good(NULL, VF(""), &request);
	assert_int_equal(request.conf.vf.known, 0);
	assert_int_equal(request.conf.rdma_wish, RDMA_WISH_AUTO);
	request_free(&request);
}

static void test_who_named_the_device(void **state)
{
	static const struct {
		const char *text;
		bool from_plugin, choose;
	} rows[] = {
		{ VF(""), false, false },
		{ CONF(",\"pciBusID\":\"0000:1a:00.1\""), false, false },
		{ VF(",\"pciBusID\":\"0000:1a:00.1\""), true, false },
		{ VF(",\"pciBusID\":\"\""), false, false },
		{ CONF(",\"runtimeConfig\":{\"deviceID\":\"0000:1a:00.1\"}"), true, false },
		{ VF(OURS ",\"rail\":\"r\""), false, false },
		{ CONF(OURS ",\"rail\":\"r\""), false, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct request request;

		read_good(NULL, rows[i].text, &request);
		assert_int_equal(request.conf.from_plugin, rows[i].from_plugin);
		assert_int_equal(request.conf.choose_device, rows[i].choose);
		assert_int_equal(!request.conf.device[0], rows[i].choose);
		request_free(&request);
	}
}

static void test_precedence_of_guids(void **state)
{
	static const struct {
		const char *text;
		uint64_t guid;
	} rows[] = {
		{ VF(",\"guid\":\"02:00:00:00:00:00:00:03\",\"args\":{\"cni\":{\"guid\":"
		     "\"02:00:00:00:00:00:00:02\"}},\"runtimeConfig\":{\"infinibandGUID\":" GUID
		     "}"),
		  0x0200000000000001 },
		{ VF(",\"guid\":\"02:00:00:00:00:00:00:03\",\"args\":{\"cni\":{\"guid\":"
		     "\"02:00:00:00:00:00:00:02\"}},\"runtimeConfig\":{\"infinibandGUID\":\"\"}"),
		  0x0200000000000002 },
		{ VF(",\"guid\":\"02:00:00:00:00:00:00:03\""), 0x0200000000000003 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct request request;

		read_good(NULL, rows[i].text, &request);
		assert_int_equal(request.conf.guid, rows[i].guid);
		request_free(&request);
	}
}

#define IN_POD                                                                               \
	",\"prevResult\":{\"interfaces\":[{\"name\":\"lo\"},{\"name\":\"net1\",\"sandbox\":" \
	"\"/run/netns/a\"}]}"

/* Behind a main plugin that has put net1 into this pod: its RDMA device, and nothing else. */
static void test_behind_a_main_plugin(void **state)
{
	static const char *const refused[] = {
		",\"mac\":\"02:00:00:00:00:01\"",
		",\"mtu\":1500",
		",\"dad\":true",
		",\"routing\":{\"table\":1}",
		OURS,
		(OURS ",\"arp\":\"strict\""),
		",\"vlan\":5",
		",\"min_tx_rate\":5",
		",\"max_tx_rate\":5",
		",\"spoofchk\":\"on\"",
		",\"trust\":\"on\"",
		",\"link_state\":\"auto\"",
		",\"guid\":\"02:00:00:00:00:00:00:01\"",
		",\"pkey\":\"0x8001\"",
		",\"vfioPciMode\":true",
		",\"rdma\":\"none\"",
	};
	char text[1024];
	struct request request;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		(void)snprintf(text, sizeof(text), VF("%s"), refused[i]);
		expect(&add_env, text, 0, NULL);
		(void)snprintf(text, sizeof(text), VF("%s" IN_POD), refused[i]);
		expect(&add_env, text, ERR_VALUE, "the chain's main plugin has made the interface");
	}
	expect(&add_env, ADD(IN_POD), ERR_VALUE, "key \"device\"");
	expect(&add_env, VF(IN_POD OURS ",\"rail\":\"r\""), ERR_VALUE, "key \"rail\"");
	expect(&add_env, CONF(IN_POD), ERR_VALUE, "is required");
	read_good(NULL,
		  VF(IN_POD ",\"rdma\":\"required\",\"rdmaName\":\"a\",\"ipam\":{},\"dad\":false,"
			    "\"ready\":{\"timeout_ms\":5},\"args\":{\"cni\":{\"guid\":" GUID "}}"),
		  &request);
	assert_true(request.conf.rdma_only);
	assert_int_equal(request.conf.guid, 0);
	request_free(&request);
	read_good(NULL, AUX(IN_POD), &request);
	assert_true(request.conf.rdma_only);
	request_free(&request);
}

/* DEL has no prevResult: it knows from the record whose netdev it was. */
static void test_behind_a_main_plugin_recorded(void **state)
{
	static const struct {
		const char *name, *driver;
		bool rdma_only;
	} rows[] = {
		{ "", "mlx5_core", true },
		{ "", "", true },
		{ "", "vfio-pci", false },
		{ "eth5", "mlx5_core", false },
	};
	static char program[] = "spur";
	CLEANUP_JSON json_t *netconf = json_loads(VF(""), 0, NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct attachment record = { .program = program,
					     .netconf = netconf,
					     .device = { .key = "pci:0000:1a:00.1" } };
		struct recorded recorded;
		struct err err = { 0 };

		(void)snprintf(record.device.name, sizeof(record.device.name), "%s", rows[i].name);
		(void)snprintf(record.device.driver, sizeof(record.device.driver), "%s",
			       rows[i].driver);
		assert_int_equal(recorded_read(&record, &recorded, &err), 0);
		assert_int_equal(recorded.conf.rdma_only, rows[i].rdma_only);
		recorded_free(&recorded);
	}
}

/* What is refused today is read in a record of yesterday, or its VF would not be given back. */
static void test_recorded_is_not_refused(void **state)
{
	static char program[] = "spur";
	static const char *const texts[] = {
		VF(OURS ",\"vlan\":5,\"pkey\":\"0x7fff\""),
		VF(OURS
		   ",\"vlan\":5,\"args\":{\"cni\":{\"poolNames\":[\"other\"],\"poolType\":\"x\"}}"),
		VF(OURS ",\"vlan\":5,\"args\":{\"cni\":{\"allocateDefaultGateway\":\"yes\"}}"),
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		CLEANUP_JSON json_t *netconf = json_loads(texts[i], 0, NULL);
		struct attachment record = { .program = program,
					     .netconf = netconf,
					     .device = { .key = "pci:0000:1a:00.1",
							 .name = "v0" } };
		struct recorded recorded;
		struct err err = { 0 };

		expect(&add_env, texts[i], 7, NULL);
		assert_int_equal(recorded_read(&record, &recorded, &err), 0);
		assert_int_equal(recorded.conf.vf.known, VF_BIT(VF_VLAN));
		recorded_free(&recorded);
	}
}

/* Another interface, another pod: there is a device to attach. */
#define MADE(interfaces) VF(",\"mtu\":1500,\"prevResult\":{\"interfaces\":[" interfaces "]}")

static void expect_own_netdev(const char *text)
{
	struct request request;

	read_good(NULL, text, &request);
	assert_false(request.conf.rdma_only);
	request_free(&request);
}

static void test_beside_a_main_plugin(void **state)
{
	(void)state;
	expect_own_netdev(MADE(""));
	expect_own_netdev(MADE("{\"name\":\"eth0\",\"sandbox\":\"/run/netns/a\"}"));
	expect_own_netdev(
		MADE("{\"name\":\"net1\",\"sandbox\":\"/run/netns/b\"},{\"name\":\"net1\"}"));
}

/* What the pod asks for in args.cni wins over the network's own. */
static void test_claim_of_args_wins(void **state)
{
	(void)state;
	static const char text[] =
		ADD(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"claim\":\"all\"},"
		    "\"args\":{\"cni\":{\"claim\":[\"r0\",\"r1\"],\"sticky\":\"job/0\","
		    "\"allocateIPWithIndex\":9}}");
	struct request request;
	struct err err = { 0 };

	assert_int_equal(request_read(&add_env, false, text, strlen(text), &request, &err), 0);
	assert_false(request.conf.claim_all);
	assert_int_equal(request.conf.claim_count, 2);
	assert_string_equal(request.conf.claim[1], "r1");
	assert_string_equal(request.conf.sticky, "job/0");
	assert_true(request.conf.has_index);
	assert_int_equal(request.conf.index, 9);
	request_free(&request);
}

/* As spur-ipam, all keys but ipam belong to another plugin. */
static void test_ipam_only(void **state)
{
	static const struct {
		const char *text;
		int code;
	} rows[] = {
		{ CONF(",\"master\":\"eth0\",\"mtu\":\"x\"" OURS), 0 },
		{ CONF(""), ERR_VALUE },
		{ CONF(",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"a\",\"x\":1}"), ERR_KEY },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct request request;
		struct err err = { 0 };
		int r = request_read(&add_env, true, rows[i].text, strlen(rows[i].text), &request,
				     &err);

		assert_int_equal(r < 0 ? err.code : 0, rows[i].code);
		request_free(&request);
	}
}

/* What the record keeps: no prevResult, and only the variables that were there. */
static void test_what_is_kept(void **state)
{
	struct request request;
	json_t *json;

	(void)state;
	read_good(NULL, ADD(",\"prevResult\":{\"cniVersion\":\"1.0.0\"}"), &request);
	json = request_netconf(&request);
	assert_null(json_object_get(json, "prevResult"));
	assert_non_null(json_object_get(json, "device"));
	assert_non_null(json_object_get(request.json, "prevResult"));
	json_decref(json);
	json = request_env_encode(&request);
	assert_int_equal(json_object_size(json), 4);
	assert_string_equal(json_string_value(json_object_get(json, "CNI_IFNAME")), "net1");
	assert_null(json_object_get(json, "CNI_ARGS"));
	json_decref(json);
	request_free(&request);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_key),
		cmocka_unit_test(test_membership),
		cmocka_unit_test(test_stdin),
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_key_length),
		cmocka_unit_test(test_del_needs_little),
		cmocka_unit_test(test_verbs_and_versions),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_what_is_read_of_a_vf),
		cmocka_unit_test(test_who_named_the_device),
		cmocka_unit_test(test_precedence_of_guids),
		cmocka_unit_test(test_behind_a_main_plugin),
		cmocka_unit_test(test_behind_a_main_plugin_recorded),
		cmocka_unit_test(test_recorded_is_not_refused),
		cmocka_unit_test(test_beside_a_main_plugin),
		cmocka_unit_test(test_what_is_read),
		cmocka_unit_test(test_claim_of_args_wins),
		cmocka_unit_test(test_ipam_only),
		cmocka_unit_test(test_what_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
