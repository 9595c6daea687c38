#!/usr/bin/python3
"""Double of GRUB: update-grub writes the menu over the kernels of /boot, grub-set-default and grub-reboot choose an entry, boot does what the loader does.

`boot` prints the kernel release of the entry that starts, and forgets an entry that was chosen for one boot. A host with entries of the Boot
Loader Specification has those for a menu.
"""
from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

MENU = Path("/boot/grub/grub.cfg")
ENVIRONMENT = MENU.with_name("grubenv")
DEFAULTS = Path("/etc/default/grub")
BLS = Path("/boot/loader/entries")
BLS_ENVIRONMENT = Path("/boot/grub2/grubenv")
DISK = "3c5d2f0e-7d2c-4b6f-9e6a-6f3a1f5f2b11"
HEADER = """\
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="%s"
fi
"""


def environment(path: Path | None = None) -> dict[str, str]:
    """Return the variables of GRUB's environment block."""
    path = path or ENVIRONMENT
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: value for name, sign, value in (line.partition("=") for line in lines) if sign}


def set_environment(**values: str | None) -> None:
    """Write variables into the environment block; None takes one out."""
    kept = {name: value for name, value in {**environment(), **values}.items() if value is not None}
    text = "# GRUB Environment Block\n" + "".join(f"{name}={value}\n" for name, value in kept.items())
    ENVIRONMENT.write_text(text + "#" * (1024 - len(text)))


def kernels() -> list[str]:
    """Return the releases of the kernels of /boot, newest first."""

    def compare(one: str, other: str) -> int:
        return 1 if subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False).returncode == 0 else -1

    return sorted((path.name.removeprefix("vmlinuz-") for path in Path("/boot").glob("vmlinuz-*")), key=functools.cmp_to_key(compare))


def update() -> None:
    """Write the menu: the newest kernel on top, all of them in a submenu."""
    system = re.search(r'^NAME="?(\w+)', Path("/etc/os-release").read_text(), re.MULTILINE)
    name = system[1] if system else "Linux"
    chosen = re.search(r"^GRUB_DEFAULT=(.*)$", DEFAULTS.read_text() if DEFAULTS.exists() else "", re.MULTILINE)
    default = chosen[1].strip("'\"") if chosen else "0"

    def entry(title: str, kind: str, release: str, indent: str = "") -> str:
        head = f"{indent}menuentry '{title}' --class gnu-linux --class os $menuentry_id_option '{kind}-{DISK}' {{\n"
        body = f"{indent}\tlinux\t/boot/vmlinuz-{release} root=/dev/mapper/system-root ro quiet\n{indent}\tinitrd\t/boot/initrd.img-{release}\n"
        return f"{head}{body}{indent}}}\n"

    found = kernels()
    text = HEADER % ("${saved_entry}" if default == "saved" else default)
    if found:
        text += entry(f"{name} GNU/Linux", "gnulinux-simple", found[0])
        text += f"submenu 'Advanced options for {name} GNU/Linux' $menuentry_id_option 'gnulinux-advanced-{DISK}' {{\n"
        for release in found:
            text += entry(f"{name} GNU/Linux, with Linux {release}", f"gnulinux-{release}-advanced", release, "\t")
        text += "}\n"
    MENU.parent.mkdir(parents=True, exist_ok=True)
    part = MENU.with_suffix(".new")
    part.write_text(text)
    part.replace(MENU)


def entries() -> list[dict[str, str]]:
    """Return the menu's entries in order: position (`0`, `1>0`), title and id by their paths, and the kernel's release."""
    found: list[dict[str, str]] = []
    prefix: list[tuple[str, str, str]] = []
    counters = [0]
    for line in MENU.read_text().splitlines():
        head = re.match(r"\s*(menuentry|submenu) '([^']*)'.* '([^']*)' \{", line)
        if head:
            here = (str(counters[-1]), head[2], head[3])
            counters[-1] += 1
            if head[1] == "submenu":
                prefix.append(here)
                counters.append(0)
            else:
                paths = zip(*prefix, here, strict=True) if prefix else ((part,) for part in here)
                found.append(dict(zip(("position", "title", "id"), (">".join(path) for path in paths), strict=True)))
        elif line == "}" and prefix:
            prefix.pop()
            counters.pop()
        elif image := re.match(r"\s*linux\s+/boot/vmlinuz-(\S+)", line):
            found[-1]["release"] = image[1]
    return found


def boot() -> str:
    """Return the release that boots now; the host's kernel where there is nothing to choose from."""
    # Not from uname(2), which tells what the last boot chose.
    host = Path("/proc/sys/kernel/osrelease").read_text().strip()
    if BLS.is_dir():
        saved = environment(BLS_ENVIRONMENT).get("saved_entry", "")
        image = re.search(r"^linux\s+\S*vmlinuz-(\S+)", (BLS / f"{saved}.conf").read_text(), re.MULTILINE) if (BLS / f"{saved}.conf").exists() else None
        return image[1] if image else host
    if not MENU.exists():
        update()
    default = re.findall(r'^\s*set default="([^$].*?|\$\{saved_entry\})"$', MENU.read_text(), re.MULTILINE)[-1]
    variables = environment()
    wanted = variables.get("next_entry") or (variables.get("saved_entry", "0") if default == "${saved_entry}" else default)
    if "next_entry" in variables:
        set_environment(next_entry=None)
    menu = entries()
    # An entry that does not exist: GRUB starts the first one.
    found = [entry for entry in menu if wanted in (entry["position"], entry["title"], entry["id"])] or menu[:1]
    return found[0]["release"] if found else host


def main(program: str, arguments: list[str]) -> None:
    """Do what the program of this name does."""
    if program == "update-grub":
        update()
    elif program == "grub-set-default":
        set_environment(saved_entry=arguments[0])
    elif program == "grub-reboot":
        set_environment(next_entry=arguments[0])
    elif arguments == ["boot"]:
        print(boot())
    else:
        sys.exit(f"usage: update-grub | grub-set-default ENTRY | grub-reboot ENTRY | {program} boot")


if __name__ == "__main__":
    main(Path(sys.argv[0]).name, sys.argv[1:])
