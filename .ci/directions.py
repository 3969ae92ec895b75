"""Proves from the dependency tree which crate may know which, and that the pure crates have no runtime."""

import json
import subprocess
import sys

ALLOWED = {
    "ilp-oer": set(),
    "ilp-clp": {"ilp-oer"},
    "ilp-core": {"ilp-oer"},
    "ilp-plugins": {"ilp-clp", "ilp-core", "ilp-oer"},
    "ilp-store-redis": {"ilp-core"},
}
RUNTIMES = {"tokio", "mio", "async-std", "smol", "polling", "socket2", "tokio-tungstenite", "tungstenite", "rustls", "getrandom"}
RUNTIME_FREE = ["ilp-oer", "ilp-clp", "ilp-core"]


def tree(crate):
    out = subprocess.run(
        ["cargo", "tree", "--locked", "--package", crate, "--no-default-features", "--edges", "normal", "--prefix", "none", "--format", "{p}"],
        check=True, capture_output=True, text=True,
    ).stdout
    return {line.split()[0] for line in out.splitlines() if line.strip()}


def main():
    metadata = json.loads(subprocess.run(
        ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"], check=True, capture_output=True, text=True,
    ).stdout)
    wrong = []
    for package in metadata["packages"]:
        if package["name"] not in ALLOWED:
            continue
        known = {d["name"] for d in package["dependencies"] if d["kind"] != "dev" and d["name"].startswith("ilp-")}
        for name in sorted(known - ALLOWED[package["name"]]):
            wrong.append(f"{package['name']} depends on {name}")
        print(f"{package['name']}: {', '.join(sorted(known)) or 'nothing of ours'}")
    for crate in RUNTIME_FREE:
        found = sorted(tree(crate) & RUNTIMES)
        print(f"{crate} without features: {'no runtime' if not found else 'has ' + ', '.join(found)}")
        wrong += [f"{crate} without features has {name}" for name in found]
    for line in wrong:
        print(f"not allowed: {line}", file=sys.stderr)
    sys.exit(bool(wrong))


main()
