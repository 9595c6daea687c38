"""The container image `ollama/ollama` of the lab: the real server on busybox and the C library of this machine.

Same entry point, command, environment and data directory as the published image, and the things that NVIDIA's container toolkit needs
inside: a linker cache to rewrite, and default library and program folders where it mounts the driver's files.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.lab import docker_archive
from tests.lab.cache import cached
from tests.lab.docker_archive import write_archive
from tests.lab.ollama.server import VERSION, build_server

REFERENCE = f"ollama/ollama:{VERSION}"
LIBRARY_FOLDER = Path("usr/lib/x86_64-linux-gnu")
# Loaded by name at run time, so no linker table names them: host names (Go's resolver through the C library) and old split-out parts of libc.
EXTRA_LIBRARIES = ("libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2")
FOLDERS = {"proc": 0o755, "dev": 0o755, "sys": 0o755, "run": 0o755, "root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777, "etc/ld.so.conf.d": 0o755}
MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\nvideo:x:44:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/os-release": 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nPRETTY_NAME="Ollama on busybox"\n',
    # The toolkit's linker hook asks this file which folders are defaults.
    "etc/debian_version": "trixie/sid\n",
    "etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n",
    "etc/ld.so.conf.d/x86_64-linux-gnu.conf": "/usr/local/lib/x86_64-linux-gnu\n/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n",
}
CONFIG = {
    "Env": [
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        "NVIDIA_VISIBLE_DEVICES=all",
        "OLLAMA_HOST=0.0.0.0:11434",
    ],
    "Entrypoint": ["/bin/ollama"],
    "Cmd": ["serve"],
    "ExposedPorts": {"11434/tcp": {}},
    "WorkingDir": "",
}


def build_image_archive() -> Path:
    """Return a tar archive for `docker load` that holds the image `ollama/ollama:0.17.4`."""
    server = build_server()
    inputs = [Path(__file__), Path(docker_archive.__file__), str(server.parent.name), *_libraries(server), _program("busybox"), _program("ldconfig")]

    def build(out: Path) -> None:
        root = out / "root"
        make_root(root, server)
        write_archive(out / "image.tar", root, REFERENCE, CONFIG)
        shutil.rmtree(root)

    return cached("ollama-image", inputs, build) / "image.tar"


def _program(name: str) -> Path:
    """A statically linked program of this machine. Ubuntu's ldconfig is a script around `ldconfig.real`."""
    for candidate in (f"{name}.real", name):
        found = shutil.which(candidate, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if found:
            return Path(found)
    package = {"busybox": "busybox-static", "ldconfig": "libc-bin"}[name]
    raise RuntimeError(f"{name} is needed for the image; install the package {package}")


def _libraries(server: Path) -> list[Path]:
    """The shared libraries that the server needs, the dynamic loader among them."""
    listing = subprocess.run(["ldd", str(server)], check=True, capture_output=True, text=True).stdout
    found = [Path(match) for match in re.findall(r"(/\S+\.so\S*)", listing)]
    libc = next(path for path in found if path.name == "libc.so.6")
    return sorted({*found, *(path for name in EXTRA_LIBRARIES if (path := libc.parent / name).exists())})


def make_root(root: Path, server: Path) -> None:
    """Write the tree of the image, with `server` as /usr/bin/ollama."""
    for folder in (*MERGED.values(), str(LIBRARY_FOLDER), *FOLDERS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for folder, mode in FOLDERS.items():
        (root / folder).chmod(mode)
    for link, target in MERGED.items():
        (root / link).symlink_to(target)
    for name, text in FILES.items():
        (root / name).write_text(text)
    for library in _libraries(server):
        loader = library.name.startswith("ld-linux")
        shutil.copyfile(library, target := root / ("usr/lib64" if loader else LIBRARY_FOLDER) / library.name)
        target.chmod(0o755 if loader else 0o644)
    _install(server, root / "usr/bin/ollama")
    _install(_program("ldconfig"), root / "usr/sbin/ldconfig")
    _install(_program("busybox"), busybox := root / "usr/bin/busybox")
    for applet in subprocess.run([str(busybox), "--list"], check=True, capture_output=True, text=True).stdout.split():
        if applet not in ("busybox", "ldconfig"):
            (root / "usr/bin" / applet).symlink_to("busybox")
    subprocess.run([str(_program("ldconfig")), "-r", str(root)], check=True)
    shutil.rmtree(root / "var/cache", ignore_errors=True)


def _install(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755)
