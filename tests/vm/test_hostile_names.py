# SPDX-License-Identifier: Apache-2.0
"""A pod that gives its VF names, numbers and places: what comes home by itself brings nothing of it, and harms no other."""

import os
import signal
import subprocess

import guest
import lab
import scene
from guest import run, wait_for

import hostile_names

PLAIN = {"rdma": "none", "ready": {"timeout_ms": 0}}
HOME_SECONDS = 30


def by_name(node, vf, **keys):
    """A network that names the net device."""
    conf = node.conf(rail=f"rail{node.vfs.index(vf) % len(node.pfs)}", **keys, **PLAIN)
    del conf["rail"]
    return conf | {"device": vf.netdev()}


def sent_home(node, pod, vf, name, altnames):
    """The pod moves it into a nested namespace, renames it and ends that: it comes home while the pod lives."""
    inner = subprocess.Popen(["nsenter", f"--net={pod.path}", "unshare", "-n", "sleep", "600"])
    node.processes.append(inner)
    own = os.readlink("/proc/self/ns/net")
    lab.wait_for(lambda: os.readlink(f"/proc/{inner.pid}/ns/net") not in (own, netns_of(pod)), what="a nested namespace")
    pod.ip("link", "set", "net1", "netns", str(inner.pid))
    there = ["nsenter", f"--net=/proc/{inner.pid}/ns/net", "ip"]
    run(*there, "link", "set", "net1", "name", name)
    for altname in altnames:
        run(*there, "link", "property", "add", "dev", name, "altname", altname)
    inner.kill()
    inner.wait()
    wait_for(lambda: vf.netdevs(), HOME_SECONDS, "it comes home")


def netns_of(pod):
    return pod.sh("readlink", "/proc/self/ns/net").strip()


def test_it_comes_home_by_itself():
    """Under its old name, so that only its altnames are strange: one is another pod's, one a network's."""
    with scene.Scene(scene.igb(2)) as node:
        vf, other = node.vfs[:2]
        pod, quiet = node.pod("h"), node.pod("q")
        conf, own = by_name(node, vf), vf.netdev()
        quiet_conf, taken = node.conf(other, **PLAIN), other.netdev()
        node.add(pod, conf)
        node.add(quiet, quiet_conf)
        sent_home(node, pod, vf, own, [taken, "wanted", "net1"])
        assert vf.netdev() == own
        # It is the pod's still, by whatever name somebody asks for it.
        node.refuse("ADD", 11, "", node.pod("w"), {**conf, "device": "wanted"})
        node.delete(quiet, quiet_conf)
        assert [a["containerID"] for a in node.attachments()] == [pod.container], node.attachments()
        assert other.netdev() == taken
        node.delete(pod, conf)
        assert not node.attachments(), node.attachments()
        node.settles()
        next_pod, next_conf, _ = node.attach("n", vf, **PLAIN)
        node.delete(next_pod, next_conf)
        node.settles()


def test_hundreds_of_altnames_of_the_dead():
    """Of two pods that die: each is cleaned by the daemon, whatever the other has."""
    with scene.Scene(scene.igb(2)) as node:
        pods = [node.attach(name, vf, **PLAIN)[0] for name, vf in zip("ab", node.vfs)]
        for i, pod in enumerate(pods):
            hostile_names.name_it(pod, hostile_names.long_names(400, 1000 * i))
        for pod in pods:
            node.end(pod)
        node.settles(60)


def test_moved_about_while_it_is_taken():
    """With another name and number each time, while links come and go in the pod."""
    with scene.Scene(scene.igb(2)) as node:
        vf = node.vfs[0]
        for i in range(3):
            pod, conf, _ = node.attach(f"a{i}", vf, **PLAIN)
            loop = subprocess.Popen(["nsenter", f"--net={pod.path}", "sh", "-c", hostile_names.MOVE_ABOUT],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            node.processes.append(loop)
            wait_for(lambda: "w1" in pod.links(), 60, "it has begun")
            node.delete(pod, conf)
            wait_for(lambda: not node.attachments(), 120, "it is clean, by a retry at most")
            os.killpg(loop.pid, signal.SIGKILL)
            node.end(pod)
            node.settles()


if __name__ == "__main__":
    guest.main(globals())
