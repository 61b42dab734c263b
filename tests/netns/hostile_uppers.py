# SPDX-License-Identifier: Apache-2.0
"""A hostile pod puts devices upon its own: macvlans, bridges, more of them while they are deleted, and one in a
friend's namespace, where nobody sees it. Nothing of it is upon the device when another pod gets it."""

import signal
import subprocess
import time

import lab

CONF = lab.netconf(device="eth1", pool="train")


def node_with_rail(**kw):
    node = lab.Node("uppers")
    node.rail("eth1", **kw)
    node.daemon(pools=[lab.pool()])
    return node


def is_claimed(ns, name):
    """Whether something has the receive hook, wherever that is: a bridge is refused then."""
    ns.ip("link", "add", "probe0", "type", "bridge")
    got = subprocess.run(["nsenter", f"--net={ns.path}", "ip", "link", "set", name, "master", "probe0"],
                         capture_output=True, text=True, check=False)
    ns.ip("link", "del", "probe0")
    assert got.returncode == 0 or "busy" in got.stderr, got
    return got.returncode != 0


def states(node):
    return [(a["state"], a["containerID"]) for a in node.attachments()]


def put_upon(pod, kind, name="up0", lower="net1", **words):
    pod.ip("link", "add", name, "link", lower, "type", kind, *(x for pair in words.items() for x in pair))
    pod.ip("link", "set", name, "up")


def test_uppers_of_the_pod():
    """A macvlan of each mode, one that has changed the address, a macvtap, a bridge: of none is anything left."""
    with node_with_rail(up=True) as node:
        before = node.snapshot()
        for n, (kind, mode) in enumerate([("macvlan", "bridge"), ("macvlan", "private"), ("macvlan", "source"),
                                          ("macvlan", "passthru"), ("macvtap", "vepa"), ("bridge", "")]):
            pod = node.pod(f"p{n}")
            node.add(pod, CONF)
            if mode:
                put_upon(pod, kind, mode=mode)
                pod.ip("link", "set", "up0", "address", "02:00:00:00:00:77")
            else:
                pod.ip("link", "add", "up0", "type", "bridge")
                pod.ip("link", "set", "net1", "master", "up0")
            node.delete(pod, CONF)
            assert pod.links() == ([] if mode else ["up0"]), (kind, mode, pod.links())
            assert not node.attachments() and not is_claimed(node.net, "eth1"), (kind, mode)
            lab.same(before, node.snapshot())
            pod.close()


def test_uppers_of_uppers():
    """A bridge with a macvlan as its port, and a macvlan upon that bridge; what does not stand upon the device stays."""
    with node_with_rail() as node:
        pod = node.pod("a")
        pod.ip("link", "add", "own0", "type", "veth", "peer", "name", "own1")
        put_upon(pod, "macvlan", "own2", lower="own0")
        before = node.snapshot(pod)
        node.add(pod, CONF)
        put_upon(pod, "macvlan")
        pod.ip("link", "add", "br0", "type", "bridge")
        pod.ip("link", "set", "up0", "master", "br0")
        put_upon(pod, "macvlan", "up1", lower="br0")
        node.delete(pod, CONF)
        pod.ip("link", "del", "up1")
        pod.ip("link", "del", "br0")
        assert not node.attachments() and not is_claimed(node.net, "eth1")
        lab.same(before, node.snapshot(pod))


def test_both_ends_of_a_veth():
    """To be the other end of a device is not to stand upon it."""
    with node_with_rail() as node:
        pod = node.pod("a")
        other = lab.netconf(device="eth1p", pool="train")
        node.add(pod, CONF)
        node.add(pod, other, ifname="net2")
        node.delete(pod, CONF)
        assert pod.links() == ["net2"] and node.net.links() == ["eth1"]
        node.delete(pod, other, ifname="net2")
        assert not node.attachments() and node.net.links() == ["eth1", "eth1p"]


def test_hundreds_of_uppers():
    """They are deleted together: one by one the kernel would take 15 ms for each."""
    with node_with_rail() as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        node.add(pod, CONF)
        pod.sh("ip", "-batch", "-", input="".join(f"link add m{n} link net1 type macvlan\n" for n in range(1500)))
        begun = time.monotonic()
        node.delete(pod, CONF)
        print(f"DEL with 1500 uppers: {time.monotonic() - begun:.2f} s")
        assert not node.attachments() and not is_claimed(node.net, "eth1")
        lab.same(before, node.snapshot(pod))


def test_behind_a_link_that_is_too_long():
    """A device of the pod's with more altnames than a page of a dump holds hides none of those behind it."""
    with node_with_rail() as node:
        pod = node.pod("a")
        pod.ip("link", "add", "own0", "type", "veth", "peer", "name", "own1")
        pod.sh("ip", "-batch", "-", input="".join(f"link property add dev own0 altname {n:0100}\n" for n in range(400)))
        node.add(pod, CONF)
        put_upon(pod, "macvlan")
        node.delete(pod, CONF)
        assert "up0" not in pod.sh("ls", "/proc/sys/net/ipv4/conf").split()
        assert not node.attachments() and not is_claimed(node.net, "eth1")


# Makes macvlans upon macvlans, which stand upon the device below them wherever that is, as fast as it can.
MAKER = """
n=0; while :; do n=$((n + 1)); ip link add "x$n" link net1 type macvlan || ip link add "x$n" link "x$((n - 1))" type macvlan; done 2>/dev/null
"""


def test_more_while_they_are_deleted():
    """DEL ends; and the device is clean as soon as the pod's processes are no more."""
    with node_with_rail() as node:
        pod = node.pod("a")
        node.add(pod, CONF)
        put_upon(pod, "macvlan", "x0")
        maker = subprocess.Popen(["nsenter", f"--net={pod.path}", "sh", "-c", MAKER])
        node.processes.append(maker)
        time.sleep(0.5)
        node.delete(pod, CONF)
        maker.kill()
        maker.wait()
        lab.wait_for(lambda: not node.attachments(), 30, "the device is clean")
        lab.wait_for(lambda: pod.links() == [], what="the last of them is deleted")
        assert not is_claimed(node.net, "eth1")


def test_upper_in_a_friends_namespace():
    """Its owner has died, and it speaks on. The device is nobody's until it has gone; then the next pod's."""
    with node_with_rail() as node:
        before = node.snapshot()
        friend, pod = node.pod("friend"), node.pod("a")
        node.add(pod, CONF)
        put_upon(pod, "macvlan")
        pod.ip("link", "set", "up0", "netns", friend.name)
        friend.ip("link", "set", "up0", "up")
        got = node.cni("DEL", pod, CONF)
        assert got.code == 0 and "eth1: it is in use from above" in got.stderr, got
        pod.close()
        assert friend.links() == ["up0"] and states(node) == [("dirty", "ctr-a")]
        after = node.pod("b")
        got = node.cni("ADD", after, CONF)
        assert got.code == 11, got
        time.sleep(1.5)  # the daemon has looked again
        assert states(node) == [("dirty", "ctr-a")]
        friend.close()
        lab.wait_for(lambda: not node.attachments(), 60, "the device is looked at again")
        node.add(after, CONF)
        node.delete(after, CONF)
        assert not is_claimed(node.net, "eth1")
        lab.same(before, node.snapshot())


def test_upper_made_in_a_friends_namespace():
    """One that the pod's namespace has never seen, beside one of its own."""
    with node_with_rail() as node:
        friend, pod = node.pod("friend"), node.pod("a")
        node.add(pod, CONF)
        put_upon(pod, "macvlan", "own0")
        pod.ip("link", "add", "up0", "link", "net1", "netns", friend.name, "type", "macvlan")
        got = node.cni("DEL", pod, CONF)
        assert got.code == 0 and "eth1: it is in use from above" in got.stderr, got
        assert pod.links() == [] and states(node) == [("dirty", "ctr-a")]
        friend.ip("link", "del", "up0")
        lab.wait_for(lambda: not node.attachments(), 60, "the device is looked at again")


def test_upper_in_the_host():
    """Where the host itself sees it."""
    with node_with_rail() as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        node.add(pod, CONF)
        put_upon(pod, "macvlan")
        pod.ip("link", "set", "up0", "netns", node.net.name)
        node.delete(pod, CONF)
        assert not node.attachments() and not is_claimed(node.net, "eth1")
        lab.same(before, node.snapshot(pod))


def test_successor():
    """It comes before the DEL of the one before, and has nothing of it upon its device."""
    with node_with_rail() as node:
        first = node.pod("a", namespace="ns", pod_name="job", uid="u-1")
        node.add(first, CONF)
        put_upon(first, "macvlan")
        second = node.pod("b", namespace="ns", pod_name="job", uid="u-1")
        node.add(second, CONF)
        assert first.links() == [] and second.links() == ["net1"]
        node.delete(second, CONF)
        assert not node.attachments() and not is_claimed(node.net, "eth1")


def test_hooked_add_that_fails():
    """What the pod has made upon the device while ADD was at work goes with it."""
    with node_with_rail() as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        call = node.popen("ADD", pod, CONF, SPUR_STALL_STEP="apply:3", SPUR_FAIL_STEP="apply:4")
        lab.wait_stopped(call)
        put_upon(pod, "macvlan")
        call.send_signal(signal.SIGCONT)
        got = node.finish(call)
        assert got.code and "the test hook fails it" in got.msg, got
        assert not node.attachments() and not is_claimed(node.net, "eth1")
        lab.same(before, node.snapshot(pod))


def test_what_stands_beside_it():
    """A macvlan upon a macvlan stands upon what is below both: it is no business of the one that the pod was given."""
    with node_with_rail() as node:
        node.net.ip("link", "add", "mv0", "link", "eth1", "type", "macvlan")
        conf = lab.netconf(device="mv0", pool="train")
        pod = node.pod("a")
        node.add(pod, conf)
        put_upon(pod, "macvlan")
        node.delete(pod, conf)
        assert pod.links() == ["up0"] and not node.attachments()


if __name__ == "__main__":
    lab.main(globals())
