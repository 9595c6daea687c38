"""The real Ollama server, compiled from the Go module proxy for the processor alone.

A module archive of Go leaves out C headers that live in `vendor` folders, so a plain `go install` fails. Two of the three missing
libraries are distribution packages (nlohmann-json3-dev, libstb-dev); the third, miniaudio, comes with the source archive of the Python
package of that name.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.lab import gotool
from tests.lab.cache import cached, progress

VERSION = "0.17.4"
MODULE = "github.com/ollama/ollama"
MINIAUDIO = "1.61"
HEADERS = {"nlohmann-json3-dev": Path("/usr/include/nlohmann/json_fwd.hpp"), "libstb-dev": Path("/usr/include/stb/stb_image.h")}
# Without `server.mode=release` the web framework prints its routes; without `-s -w` the binary is twice as large.
LINKER_FLAGS = f"-s -w -X={MODULE}/version.Version={VERSION} -X={MODULE}/server.mode=release"


def build_server() -> Path:
    """Return the path of the `ollama` binary (about six minutes of processor time when it is not cached)."""
    return cached("ollama-server", [VERSION, MINIAUDIO, LINKER_FLAGS], _compile) / "ollama"


def _compile(out: Path) -> None:
    missing = [package for package, header in HEADERS.items() if not header.exists()]
    if missing:
        raise RuntimeError(f"the Ollama server needs C headers to build; install the packages {' '.join(missing)}")
    # The folder is part of the compiler's command line and with it of Go's own build cache: it must be the same at every build.
    headers = cached("miniaudio", [MINIAUDIO], _fetch_miniaudio)
    progress(f"ollama-server: compiling {MODULE}@v{VERSION} (3 to 6 minutes)")
    environment = gotool.environment(CGO_ENABLED="1", CGO_CPPFLAGS=f"-I{headers}", GOBIN=str(out))
    command = ["nice", "-n", "10", gotool.go(), "install", "-trimpath", "-ldflags", LINKER_FLAGS, f"{MODULE}@v{VERSION}"]
    done = subprocess.run(command, env=environment, cwd="/", text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"go install {MODULE}@v{VERSION} failed ({done.returncode}):\n" + done.stdout[-4000:])


def _fetch_miniaudio(out: Path) -> None:
    """Put `miniaudio/miniaudio.h` into `out`."""
    download = out / "download"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "miniaudio", "--dest", str(download), f"miniaudio=={MINIAUDIO}"]
    subprocess.run(command, check=True)
    (out / "miniaudio").mkdir()
    with tarfile.open(download / f"miniaudio-{MINIAUDIO}.tar.gz") as archive:
        header = archive.extractfile(f"miniaudio-{MINIAUDIO}/miniaudio/miniaudio.h")
        if header is None:
            raise RuntimeError("the source archive of miniaudio holds no miniaudio.h")
        (out / "miniaudio" / "miniaudio.h").write_bytes(header.read())
    shutil.rmtree(download)
