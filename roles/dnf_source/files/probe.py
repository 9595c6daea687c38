# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads dnf repositories, and resolves a transaction, without touching the host: runs in the system's Python (3.6 or newer), which has dnf.

Usage: probe.py JSON, with {scratch, repositories, name, packages, module, transaction}. `repositories`: folder of repository files; `name`: the repository
whose packages are listed, empty for all. Prints JSON {versions, streams, simulation}; an error is one line on stderr and status 1.
"""
import json
import sys

import dnf
import dnf.exceptions
import dnf.module.module_base
import hawkey


def open_base(given):
    """A dnf base with the host's configuration and installed packages, and everything that it writes in the scratch folder."""
    base = dnf.Base()
    base.conf.read()
    for option in ("cachedir", "persistdir", "logdir"):
        setattr(base.conf, option, "%s/%s" % (given["scratch"], option))
    base.conf.reposdir = [given["repositories"]]
    base.conf.install_weak_deps = False
    base.conf.substitutions.update_from_etc(base.conf.installroot)
    base.read_all_repos()
    base.fill_sack()
    return base


def versions(base, given):
    """`{name: [epoch:version-release, newest first]}` of the packages of the probed repository."""
    found = {}
    query = base.sack.query(flags=hawkey.IGNORE_MODULAR_EXCLUDES).available().filter(name__glob=given["packages"])
    if given["name"]:
        query = query.filter(reponame=given["name"])
    for package in sorted(query, reverse=True):
        evr = "%s:%s-%s" % (package.epoch, package.version, package.release)
        if evr not in found.setdefault(package.name, []):
            found[package.name].append(evr)
    return found


def streams(base, name):
    """Names of the streams of a module."""
    modules, _rest = dnf.module.module_base.ModuleBase(base).get_modules(name)
    return sorted({module.getStream() for module in modules})


def label(package):
    """The name; of packages that stay installed beside each other, such as kernels, with version, release and architecture."""
    kept = any(str(provide) == "installonlypkg(kernel)" for provide in package.provides)
    return "%s-%s-%s.%s" % (package.name, package.version, package.release, package.arch) if kept else package.name


def simulate(base, specs):
    """What installing would do: {rc, installs: {name: epoch:version-release}, removes: [name], error}."""
    try:
        for spec in specs:
            base.install(spec)
        base.resolve(allow_erasing=True)
    except dnf.exceptions.Error as error:
        return {"rc": 1, "installs": {}, "removes": [], "error": " ".join(str(error).split())}
    installs = {label(one): "%s:%s-%s" % (one.epoch, one.version, one.release) for one in base.transaction.install_set}
    removes = sorted({label(one) for one in base.transaction.remove_set} - set(installs))
    return {"rc": 0, "installs": installs, "removes": removes, "error": ""}


def main():
    """Answer the question of the command line."""
    given = json.loads(sys.argv[1])
    try:
        base = open_base(given)
        answer = {"versions": versions(base, given), "streams": streams(base, given["module"]) if given["module"] else [], "simulation": {}}
        if given["transaction"]:
            answer["simulation"] = simulate(base, given["transaction"])
    except dnf.exceptions.Error as error:
        sys.exit(" ".join(str(error).split()))
    print(json.dumps(answer))


main()
