# SPDX-License-Identifier: Apache-2.0
"""A pod that gives its device names: hundreds of altnames, names that others need, new ones while it is taken away; and
one that has thousands of addresses and rules."""

import os
import signal
import subprocess

import lab

CONF = lab.netconf(device="eth1", pool="train")
OTHER = lab.netconf(name="other", device="eth2", pool="train", rail="rail1")


def node_of_two():
    node = lab.Node("names")
    node.rail("eth1", altnames=("own1", "own2"))
    node.rail("eth2")
    node.daemon(pools=[lab.pool(rails=2)], env={"SPUR_YOUNG_MS": "0"})
    return node


CONF["ipam"]["rail"] = "rail0"


def name_it(pod, names, device="net1"):
    """One a message: of more than 1 KiB in one `ip` leaves out the rest, and says nothing."""
    pod.sh("ip", "-batch", "-", input="".join(f"link property add dev {device} altname {n}\n" for n in names))
    assert set(names) <= set(pod.link(device)["altnames"])


def long_names(count, start=0):
    return [f"{i:04d}-{'n' * 122}" for i in range(start, start + count)]


def all_clean(node):
    return node.attachments() == []


def test_hundreds_of_altnames():
    """Beyond what any page of a dump holds; nothing of it comes home."""
    for count in (17, 100, 400):
        with node_of_two() as node:
            pod = node.pod("a")
            before = node.snapshot(pod)
            node.add(pod, CONF)
            name_it(pod, long_names(count))
            node.delete(pod, CONF)
            assert all_clean(node), node.attachments()
            lab.same(before, node.snapshot(pod))


def test_it_holds_nobody_up():
    """A pod with as many altnames as there can be lives on, and others come, go, die."""
    with node_of_two() as node:
        hostile, quiet, dead = node.pod("h"), node.pod("q"), node.pod("d")
        node.add(hostile, CONF)
        name_it(hostile, long_names(480))
        node.add(quiet, OTHER)
        node.delete(quiet, OTHER)
        node.add(dead, OTHER)
        dead.close()
        node.pods.remove(dead)
        node.delete(dead, OTHER)
        lab.wait_for(lambda: [a["containerID"] for a in node.attachments()] == [hostile.container], 30,
                     "the dead pod's record goes")
        node.stop()
        node.start(env={"SPUR_YOUNG_MS": "0"})
        node.delete(hostile, CONF)
        assert all_clean(node), node.attachments()


def test_names_that_others_need():
    """Of devices in the host, which it would clash with on the way home; and of its own."""
    with node_of_two() as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        node.add(pod, CONF)
        name_it(pod, ["eth2", "eth2p", "eth1", "lo2", *(f"dev{i}" for i in range(100))])
        node.delete(pod, CONF)
        assert all_clean(node), node.attachments()
        lab.same(before, node.snapshot(pod))


def test_its_own_altname_is_taken_at_home():
    """Somebody in the host has it by now: the device does without, and is given to the next."""
    with node_of_two() as node:
        pod = node.pod("a")
        node.add(pod, CONF)
        node.net.ip("link", "property", "add", "dev", "eth2", "altname", "own1")
        node.delete(pod, CONF)
        assert all_clean(node), node.attachments()
        home = node.net.link("eth1")
        assert home["ifname"] == "eth1" and home["altnames"] == ["own2"], home
        node.add(pod, CONF)
        node.delete(pod, CONF)
        assert all_clean(node), node.attachments()


def test_an_altname_that_came_home_first():
    """Another pod's device came home by itself, and has the name of ours for an altname: it has to give way."""
    with node_of_two() as node:
        pod = node.pod("a")
        node.add(pod, CONF)
        node.net.ip("link", "property", "add", "dev", "eth2", "altname", "eth1")
        node.net.ip("link", "property", "add", "dev", "eth2", "altname", f"dev{pod.link('net1')['ifindex']}")
        node.delete(pod, CONF)
        assert all_clean(node), node.attachments()
        assert node.net.link("eth1")["ifname"] == "eth1"
        assert "eth1" not in node.net.link("eth2")["altnames"]


MAKE_MORE = """
i=0
while :; do
  i=$((i + 1))
  echo "link property add dev net1 altname eth2"
  echo "link property add dev net1 altname x$i-%s"
  echo "link set net1 name w$((i %% 7))"
  echo "link set w$((i %% 7)) name net1"
done | ip -force -batch -
""" % ("n" * 100)


def test_new_names_while_it_is_taken():
    with node_of_two() as node:
        for i in range(5):
            pod = node.pod(f"a{i}")
            before = node.snapshot()
            node.add(pod, CONF)
            loop = subprocess.Popen(["nsenter", f"--net={pod.path}", "sh", "-c", MAKE_MORE],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            node.processes.append(loop)
            lab.wait_for(lambda: any("x" in a for l in pod.ip_json("link") for a in l.get("altnames", ())), 30, "it has begun")
            node.delete(pod, CONF)
            lab.wait_for(lambda: all_clean(node), 60, "it is clean, by a retry at most")
            os.killpg(loop.pid, signal.SIGKILL)
            lab.same(before, node.snapshot())


MOVE_ABOUT = """
unshare -n sleep 600 & inner=$!
while [ "$(readlink /proc/$inner/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do :; done
(while :; do echo "link add f1 type dummy"; echo "link del f1"; done | ip -force -batch -) &
i=0
while :; do
  i=$((i + 1))
  ip link add d$i type dummy
  for name in net1 w1; do ip link set $name netns $inner name w2; done
  nsenter -t $inner -n ip link set w2 netns $$ name w1
  ip link del d$i
done
"""


def test_moved_about_while_it_is_taken():
    """Into a nested namespace and back, each time with another number, while other links come and go."""
    with node_of_two() as node:
        for i in range(3):
            pod = node.pod(f"a{i}")
            before = node.snapshot()
            node.add(pod, CONF)
            loop = subprocess.Popen(["nsenter", f"--net={pod.path}", "sh", "-c", MOVE_ABOUT],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            node.processes.append(loop)
            lab.wait_for(lambda: "w1" in pod.links(), 30, "it has begun")
            node.delete(pod, CONF)
            lab.wait_for(lambda: all_clean(node), 60, "it is clean, by a retry at most")
            os.killpg(loop.pid, signal.SIGKILL)
            lab.same(before, node.snapshot())


def test_many_altnames_are_not_given_away():
    """A record holds 16: what it does not hold it could not give back."""
    with node_of_two() as node:
        name_it(node.net, [f"alt{i}" for i in range(17)], "eth2")
        pod = node.pod("a")
        node.refuse("ADD", 102, "altnames", pod, OTHER)
        assert all_clean(node)


def test_check_among_many_addresses():
    """The pod has put hundreds before its own, and hundreds of rules like ours."""
    with node_of_two() as node:
        pod = node.pod("a")
        conf = {**CONF, "routing": {"table": 100}}
        got = node.add(pod, conf)
        own = got["ips"][0]["address"]
        batch = [f"addr del {own} dev net1", *(f"addr add 10.0.7.{i}/24 dev net1" for i in range(1, 250)),
                 f"addr add {own} dev net1", *(f"rule add from 10.9.0.{i} lookup 7 protocol 115 priority 5" for i in range(1, 250)),
                 "route add 10.0.0.0/24 dev net1 table 100 proto 115",
                 "route add default via 10.0.0.1 dev net1 table 100 proto 115"]
        pod.sh("ip", "-force", "-batch", "-", input="\n".join(batch) + "\n", check=False)
        check = node.cni("CHECK", pod, {**conf, "prevResult": got})
        assert check.returncode == 0, check
        node.delete(pod, conf)
        assert all_clean(node), node.attachments()


def test_thousands_of_addresses_and_rules():
    with node_of_two() as node:
        pod = node.pod("a")
        node.add(pod, CONF)
        batch = [f"addr add 10.77.{i // 250}.{i % 250 + 1}/16 dev net1" for i in range(3000)]
        batch += [f"rule add from 10.9.{i // 250}.{i % 250 + 1} lookup 7 protocol 115" for i in range(1000)]
        pod.sh("ip", "-batch", "-", input="\n".join(batch) + "\n")
        node.delete(pod, CONF)
        assert all_clean(node), node.attachments()
        assert node.net.addresses("eth1") == []


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
