"""Tells which pinned parts have a newer version, as their registries say: `./dev outdated`. Exits 1 if one has.

The pins are those of `dev`, the `pom.xml` in `lab/stack`, `package-lock.json`, `Cargo.lock` and `lab/stack/nginx`. Parts that are old on purpose, such as the
oldest supported Envoy, are left out. Actions and base images are Dependabot's.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "target/tools"
MAVEN = "org.codehaus.mojo:versions-maven-plugin:2.20.1:display-property-updates"


def main():
    dev = (ROOT / "dev").read_text()
    pins = dict(re.findall(r"(\w+)=([\d.]+)", "\n".join(re.findall(r"^readonly .*", dev, re.MULTILINE))))
    behind = []
    for part, pinned, newest in [*python(dev, pins), *go(dev, pins), *npm(), *maven(), *crates(dev, pins)]:
        if pinned != newest:
            behind.append(part)
            print(f"{part}: {pinned}, {newest} is there")
    if behind:
        sys.exit(f"{len(behind)} parts are behind")
    print("every pinned part is the newest")


def python(dev, pins):
    for package, name in sorted(set(re.findall(r'"([\w-]+)(?:\[[\w,]+\])?==\$(\w+)"', dev))):
        if name in pins and not name.startswith("oldest_"):
            yield package, pins[name], run(TOOLS / "venv/bin/python", "-m", "pip", "index", "versions", package).split("(")[1].split(")")[0]


def go(dev, pins):
    found = re.findall(r"([\w.]+\.\w+/[\w./-]+)@v\$(\w+)", dev)
    for module, name in sorted({(module.split("/cmd/")[0], name) for module, name in found}):
        newest = run(TOOLS / "bin/go", "list", "-m", f"{module}@latest", env={"GOPATH": str(TOOLS / "go.build")})
        yield module, pins[name], newest.split()[1].removeprefix("v")


def npm():
    # It exits 1 if something is behind.
    found = run(TOOLS / "bin/npm", "outdated", "--json", allowed=[0, 1])
    for package, one in json.loads(found).items():
        one = one[0] if isinstance(one, list) else one
        # The types of Node are those of its version.
        if package != "@types/node":
            yield package, one["current"], one["latest"]


def maven():
    for pom in ROOT.glob("lab/stack/*/pom.xml"):
        said = run("mvn", "-B", "-Dstyle.color=never", "-f", pom, MAVEN)
        for name, pinned, newest in re.findall(r"\$\{([\w.]+)\} \.+ (\S+) -> (\S+)", said):
            yield name, pinned, newest


def crates(dev, pins):
    yield "cargo-deny", pins["cargo_deny"], re.search(r"^version: (\S+)", run("cargo", "info", "-q", "cargo-deny"), re.MULTILINE)[1]
    for folder in [ROOT, ROOT / "lab/stack/nginx"]:
        own = re.findall(r"^([\w-]+) = ", (folder / "Cargo.toml").read_text(), re.MULTILINE)
        said = run("cargo", "update", "--dry-run", "--verbose", "--color", "never", cwd=folder)
        for crate, pinned, newest in re.findall(r"(?:Unchanged|Updating) (\S+) v(\S+) (?:\(available: |-> )v([^\s,)]+)", said):
            # Those of other crates move when these do.
            if crate in own:
                yield crate, pinned, newest


def run(*command, allowed=(0,), env=None, cwd=ROOT):
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **(env or {})}, timeout=300)
    if done.returncode not in allowed:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    # Cargo says on standard error what it would do.
    return done.stdout or done.stderr


if __name__ == "__main__":
    main()
