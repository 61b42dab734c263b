#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Boots VMs of the lab that `prepare` made, and runs things in them.

    got = vm.run("ip link", kernel="6.12")         # got.status, got.output
    with vm.boot("…", disk=path) as m:             # one that is to be cut off in the middle
        m.wait_mark("half")                        # the guest made /run/lab/half
        m.kill()                                   # the power is gone

The guest's root is this machine's own, read-only, under a tmpfs: it finds the checkout and the
programs that were built here under the same paths, and nothing it writes stays, but for /run/lab
(the run's own directory out here) and /run/disk (an ext4 image, if one was given).
A run whose kernel complained has .complaints, and its log is kept.

    vm.py run|shell|test [-k KERNEL] [--mode exclusive|shared] [--disk FILE] … [WHAT…]
"""

import contextlib
import optparse
import os
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import termios
import time
import tty

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CACHE = os.environ.get("SPUR_CACHE", "/var/cache/spur-dev")
LAB = os.path.join(CACHE, "vm")
KERNELS = ("6.12", "7")
NO_STATUS = 125  # the VM ended without telling one
SKIP = 77

# RAM beyond 2815 MiB puts the registers of igb's VFs where QEMU does not see them.
RAM_MIB = 2560
BOOT_SECONDS = 120

# What a kernel says when it is broken. "A link change request failed with some changes committed"
# is not of that kind: it is how a half-done RTM_NEWLINK is reported.
COMPLAINTS = re.compile(
    r"BUG:|WARNING:|Oops|general protection|refcount_t:|unregister_netdevice: waiting|"
    r"blocked for more than|Kernel panic|kmemleak|scheduling while atomic|double free"
)


def why_not(kernel):
    """None if the kernel can be booted, else the reason for a skip."""
    if kernel not in KERNELS:
        return f"a kernel {kernel}; the lab has {', '.join(KERNELS)}"
    with contextlib.suppress(OSError), open(os.path.join(LAB, f"{kernel}.why"), encoding="utf-8") as f:
        return f.read().strip()
    if not os.path.exists(os.path.join(LAB, kernel, "built")):
        return f"the VM lab with kernel {kernel}: ./dev vm prepare makes it"
    return None


def kernels():
    """Of each kernel None, or why it cannot be booted."""
    return {kernel: why_not(kernel) for kernel in KERNELS}


def release(kernel):
    with open(os.path.join(LAB, kernel, "release"), encoding="utf-8") as f:
        return f.read().strip()


class Result:
    """How a run ended. status: of the command, None if the VM was cut off or told none."""

    def __init__(self, status, output, complaints, directory):
        self.status = status
        self.output = output
        self.complaints = complaints
        self.directory = directory

    @property
    def good(self):
        return self.status == 0 and not self.complaints


class Died(Exception):
    """The VM did not do what was waited for."""


class Machine:
    """A running VM."""

    def __init__(self, command, kernel="6.12", mode=None, disk=None, pfs=2, extra=(), env=None,
                 echo=False, shell=False):
        self.kernel = kernel
        self.echo = echo
        self.output = b""
        self.directory = _new_run(kernel)
        if shell:
            open(self.path("shell"), "w", encoding="utf-8").close()
        with open(self.path("command"), "w", encoding="utf-8") as f:
            f.write(_script(command, kernel, env or {}))
        self.qemu_log = open(self.path("qemu.log"), "wb")
        self.qemu = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *_qemu(self.directory, kernel, mode, disk, pfs, shell), *extra],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.qemu_log,
            env={**os.environ, "LD_LIBRARY_PATH": os.path.join(LAB, "qemu/usr/lib/x86_64-linux-gnu")},
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill()

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def is_up(self):
        return os.path.exists(self.path("up"))

    def kill(self):
        """As if its plug were pulled."""
        if self.qemu.poll() is None:
            self.qemu.kill()
        while self._drain(None):
            pass
        self.qemu.wait()
        self.qemu_log.close()

    def _drain(self, seconds):
        """Takes what the guest writes within that time; False when it will write no more."""
        out = self.qemu.stdout
        if not out.closed and select.select([out], [], [], seconds)[0]:
            some = os.read(out.fileno(), 65536)
            self.output += some
            if self.echo:
                sys.stdout.buffer.write(some)
                sys.stdout.buffer.flush()
            if not some:
                out.close()
        return not out.closed

    def _wait(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            if not self._drain(0.02) and not condition():
                raise Died(f"the VM ended before it was {what}")
            if time.monotonic() > end:
                raise Died(f"the VM was not {what} within {seconds:g} s")

    def wait_up(self, seconds=BOOT_SECONDS):
        self._wait(self.is_up, seconds, "up")

    def wait_mark(self, name, seconds=120):
        """Until the guest has made the file /run/lab/NAME."""
        self._wait(lambda: os.path.exists(self.path(name)), seconds, f"at {name}")

    def wait(self, seconds):
        """Until its end, which comes by force when the time is over."""
        with contextlib.suppress(Died):
            self._wait(lambda: self.qemu.stdout.closed, seconds, "done")
        self.kill()
        return self.result()

    def result(self):
        status = self.read("status").strip()
        return Result(int(status) if status else None, self.output.decode(errors="replace"),
                      self.complaints(), self.directory)

    def complaints(self):
        log = self.read("console").replace("\r", "") + self.read("dmesg")
        return [line for line in dict.fromkeys(log.splitlines()) if COMPLAINTS.search(line)]


def _new_run(kernel):
    """A directory for a run; those of the day before go."""
    runs = os.path.join(LAB, "run")
    os.makedirs(runs, exist_ok=True)
    for old in os.scandir(runs):
        with contextlib.suppress(OSError):
            if old.stat().st_mtime < time.time() - 86400:
                shutil.rmtree(old.path)
    return tempfile.mkdtemp(prefix=f"{kernel}-", dir=runs)


def _script(command, kernel, env):
    built = os.path.realpath(os.path.join(LAB, kernel, "built"))
    outside = {k: os.environ[k] for k in ("SPUR_BUILD", "SPUR_CACHE") if k in os.environ}
    words = {**outside, "LAB_KERNEL": kernel, "LAB_BUILT": built, **env}
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in words.items())
    return f"cd {shlex.quote(ROOT)}\n{exports}{command}\n"


def _qemu(directory, kernel, mode, disk, pfs, shell):
    """The command line."""
    qemu = os.path.join(LAB, "qemu")
    append = [
        "console=ttyS0", "loglevel=5", "panic=-1", "net.ifnames=0", "mitigations=off", "watchdog_thresh=60",
        "sysrq_always_enabled", f"lab.session={HERE}/session",
        f"lab.modules={LAB}/{kernel}/image/usr/lib/modules",
    ]
    if mode:  # modprobe reads it from here, whoever loads ib_core
        append.append(f"ib_core.netns_mode={1 if mode == 'shared' else 0}")
    argv = [
        f"{qemu}/usr/bin/qemu-system-x86_64", "-L", f"{qemu}/usr/share/qemu", "-L", f"{qemu}/usr/share/seabios",
        "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", str(RAM_MIB),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
        "-kernel", f"{LAB}/{kernel}/vmlinuz", "-initrd", f"{LAB}/{kernel}/built/initrd", "-append", " ".join(append),
        "-serial", f"file:{directory}/console",
        "-chardev", f"socket,id=out,path={directory}/tty,server=on,wait=on" if shell else "stdio,id=out,signal=off",
        "-serial", "chardev:out",
        *_share("root", "/", ",readonly=on,multidevs=remap"), *_share("lab", directory, ""),
        *_share("guest", f"{LAB}/guest", ",readonly=on"),
    ]
    for i in range(pfs):
        argv += [
            "-netdev", f"hubport,hubid=0,id=net{i}", "-device", f"pcie-root-port,id=port{i},slot={i}",
            "-device", f"igb,bus=port{i},netdev=net{i},mac=52:54:00:00:00:{i + 1:02x}",
        ]
    if disk:
        argv += ["-drive", f"file={disk},format=raw,if=none,id=disk,cache=writethrough",
                 "-device", "virtio-blk-pci,drive=disk"]
    return argv


def _share(tag, path, options):
    return ["-fsdev", f"local,id={tag},path={path},security_model=none{options}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def make_disk(path, mib=512):
    """An empty image, on which the guest that sees it first makes a file system."""
    with open(path, "wb") as f:
        f.truncate(mib << 20)
    return path


def run(command, timeout=300, **options):
    """Boots, runs a shell command to its end, and powers off. Options: those of Machine.

    The log of what went wrong stays in .directory.
    """
    with boot(command, **options) as machine:
        result = machine.wait(timeout)
    if result.good:
        shutil.rmtree(result.directory, ignore_errors=True)
    return result


def boot(command, **options):
    """A Machine that is up; a boot that hangs is tried once more."""
    for last in (False, True):
        machine = Machine(command, **options)
        try:
            machine.wait_up()
            return machine
        except Died as died:
            machine.kill()
            print(f"vm: {died}; log: {machine.path('console')}", file=sys.stderr)
            if last:
                raise


def _relay(machine):
    """Joins this terminal and the guest's; Ctrl-] ends the VM."""
    tty_path = machine.path("tty")
    while not os.path.exists(tty_path):
        time.sleep(0.02)
    guest = socket.socket(socket.AF_UNIX)
    guest.connect(tty_path)
    before = termios.tcgetattr(0) if os.isatty(0) else None
    if before:
        tty.setraw(0)
    try:
        sources = [0, guest]
        while True:
            for source in select.select(sources, [], [])[0]:
                some = guest.recv(4096) if source is guest else os.read(0, 4096)
                if source is guest:
                    if not some:
                        return
                    os.write(1, some)
                elif b"\x1d" in some:
                    return
                elif some:
                    guest.sendall(some)
                else:
                    sources.remove(0)
    finally:
        if before:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def shell(options):
    size = os.get_terminal_size() if os.isatty(1) else os.terminal_size((80, 24))
    print("vm: booting; `exit` or Ctrl-] ends it")
    command = (f"stty rows {size.lines} cols {size.columns} sane; export PS1='lab {options.kernel} \\w # '\n"
               "exec bash --norc --noprofile")
    with Machine(command, shell=True, **_machine_options(options)) as machine:
        _relay(machine)
    shutil.rmtree(machine.directory, ignore_errors=True)
    return 0


def _machine_options(options):
    return {
        "kernel": options.kernel, "mode": options.mode, "disk": options.disk, "pfs": options.pfs,
        "extra": shlex.split(options.qemu),
    }


def report(result):
    """Says what was wrong, and returns the exit status."""
    if result.status is None:
        print("vm: the VM told no status", file=sys.stderr)
    for line in result.complaints:
        print(f"vm: the kernel complains: {line}", file=sys.stderr)
    if result.status is None or result.complaints:
        print(f"vm: log of the kernel: {result.directory}/console", file=sys.stderr)
    if result.status is None:
        return NO_STATUS
    return result.status or (1 if result.complaints else 0)


def _options(argv):
    """Options end at the first word that is none: the rest is the guest's."""
    parser = optparse.OptionParser(prog="./dev vm", usage="./dev vm run|shell|test [OPTION]… [WHAT…]")
    parser.disable_interspersed_args()
    parser.add_option("-k", "--kernel", default="6.12", help="6.12 (default) or 7")
    parser.add_option("--mode", choices=("exclusive", "shared"), help="RDMA and namespaces: exclusive, shared")
    parser.add_option("--pfs", type="int", default=2, help="igb functions, 7 VFs each (default 2)")
    parser.add_option("--disk", help="image of a disk that lasts, made if it is not there")
    parser.add_option("--timeout", type="float", default=300, help="seconds from boot to end (default 300)")
    parser.add_option("--qemu", default="", help="more arguments for QEMU")
    return parser.parse_args(argv)


def main(verb, *argv):
    options, what = _options(list(argv))
    why = why_not(options.kernel)
    if why:
        print(f"SKIP: {why}")
        return SKIP
    if options.disk and not os.path.exists(options.disk):
        make_disk(options.disk)
    if verb == "shell":
        return shell(options)
    if verb == "test":
        what = ["/usr/bin/python3", *what]
    command = what[0] if len(what) == 1 else shlex.join(what)
    try:
        return report(run(command, options.timeout, echo=True, **_machine_options(options)))
    except Died:
        return NO_STATUS


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
