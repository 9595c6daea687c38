"""The entry point of the lab: commands and their arguments."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.lab import faults
from tests.lab.cache import progress
from tests.lab.errors import LabError
from tests.lab.hardware.profile import profile_names
from tests.lab.node import lifecycle
from tests.lab.node.image import RECIPES
from tests.lab.packages.build import EXTRAS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab", description="Simulated GPU servers in Docker containers.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="start a node, building what is missing; prints the path of its inventory")
    up.add_argument("profile", choices=profile_names(), metavar="PROFILE", help=", ".join(profile_names()))
    up.add_argument("--name", help="name of the node (default: the profile)")
    up.add_argument("--inventory", type=Path, help="write the inventory to this file instead")
    up.add_argument("--release", choices=sorted(RECIPES), help="userland (default: the one of the profile's identity)")

    down = commands.add_parser("down", help="remove a node and its volumes")
    which = down.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", help="name of the node")
    which.add_argument("--all", action="store_true", help="all nodes, the mirror and the network")

    shell = commands.add_parser("shell", help="a shell, or one command, in a node")
    shell.add_argument("name")
    shell.add_argument("argument", nargs=argparse.REMAINDER)

    commands.add_parser("list", help="nodes, their profiles and states")

    inject = commands.add_parser("inject", help="break one thing in a running node", epilog=faults.table())
    inject.formatter_class = argparse.RawDescriptionHelpFormatter
    inject.add_argument("fault", choices=sorted(faults.FAULTS), metavar="FAULT")
    inject.add_argument("--name", help="name of the node; may be left out when there is one")
    inject.add_argument("setting", nargs="*", metavar="key=value")

    repository = commands.add_parser("repository", help="build and serve one more package repository; prints its apt source")
    repository.add_argument("extra", choices=sorted(EXTRAS), metavar="REPOSITORY", help=", ".join(sorted(EXTRAS)))
    repository.add_argument("--name", help="make it an apt source of this node")

    commands.add_parser("clean", help="down --all, and remove images and build products")
    return parser


def _settings(words: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    wrong = [key for key, sign, _ in pairs if not sign]
    if wrong:
        raise LabError(f"not of the form key=value: {' '.join(wrong)}")
    return {key: value for key, _, value in pairs}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    if options.command == "up":
        print(lifecycle.up(options.profile, options.name or options.profile, release=options.release, inventory=options.inventory))
    elif options.command == "down" and options.all:
        lifecycle.down_all()
    elif options.command == "down":
        lifecycle.down(options.name)
    elif options.command == "shell":
        return lifecycle.shell(options.name, options.argument)
    elif options.command == "list":
        for line in lifecycle.listing():
            print(line)
    elif options.command == "inject":
        node = lifecycle.find(options.name)
        progress(faults.inject(options.fault, node, _settings(options.setting)))
    elif options.command == "repository":
        print(lifecycle.serve(options.extra, options.name), end="")
    elif options.command == "clean":
        lifecycle.clean()
    return 0
