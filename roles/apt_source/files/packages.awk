# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Stanzas of `apt-cache show` (all versions of a package follow each other, newest first) to JSON:
#   {"NAME": {"versions": [...], "depends": {"VERSION": "..."}, "transitional": true}}
# Of the dependencies only those are kept whose names match the pattern `keep`.

function text(value) {
    gsub(/\\/, "\\\\", value)
    gsub(/"/, "\\\"", value)
    gsub(/[\001-\037]/, " ", value)
    return "\"" value "\""
}

function close_package() {
    if (name != "") {
        printf "%s%s: {\"versions\": [%s], \"depends\": {%s}, \"transitional\": %s}", (count++ ? ",\n" : ""), text(name), versions, depends, transitional
    }
}

BEGIN {
    RS = ""
    FS = "\n"
    printf "{"
}

{
    package = version = needs = ""
    described = 0
    for (i = 1; i <= NF; i++) {
        if ($i ~ /^Package: /) package = substr($i, 10)
        else if ($i ~ /^Version: /) version = substr($i, 10)
        else if ($i ~ /^(Pre-)?Depends: /) needs = needs (needs == "" ? "" : ", ") substr($i, index($i, ": ") + 2)
        else if ($i ~ /^Description[^:]*: / && tolower($i) ~ /transitional/) described = 1
    }
    if (package == "" || version == "") next
    if (package != name) {
        close_package()
        name = package
        versions = depends = ""
        transitional = described ? "true" : "false"
    }
    kept = ""
    number = split(needs, parts, /, */)
    for (i = 1; i <= number; i++) if (parts[i] ~ keep) kept = kept (kept == "" ? "" : ", ") parts[i]
    versions = versions (versions == "" ? "" : ", ") text(version)
    depends = depends (depends == "" ? "" : ", ") text(version) ": " text(kept)
}

END {
    close_package()
    print "}"
}
