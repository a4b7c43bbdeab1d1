"""Lints the chart, renders its value files, and validates the objects: `./dev chart`.

With --update, writes the renderings to deploy/helm/renderings. Without it, they must be the committed ones.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy/helm/sluicegate"
RENDERINGS = ROOT / "deploy/helm/renderings"
GUIDE = ROOT / "docs/how-to/kubernetes.md"
HELM = ROOT / "target/tools/bin/helm"
# The oldest supported one, and the newest with schemas.
KUBERNETES = ["1.30", "1.37"]
# A Helm that was built from its module knows no version of its own.
VERSION = ["--kube-version", KUBERNETES[-1]]
# Custom resources, which Kubernetes' own schemas lack. `./dev chart-install` validates them.
CUSTOM = {"ServiceMonitor"}

# Values that the chart must refuse, and what it says.
REFUSED = [
    ([], "gateways must authenticate"),
    (["gatewaySecret.existingSecret=gateway"], "no cluster"),
    (["tls.clientCA.existingSecret=ca"], "tls.clientCA needs tls.existingSecret"),
    (["minimal", "serviceMonitor.enabled=true"], "serviceMonitor.enabled needs networkPolicy.monitoring"),
    (["minimal", "service.headless=true", "service.type=NodePort"], "service.headless needs service.type"),
    (["minimal", "replicas=3"], "additional properties 'replicas' not allowed"),
    (["minimal", "config.listen=0.0.0.0:80"], "config/listen"),
    (["minimal", "config.gateway_secret=0123456789abcdef"], "config/gateway_secret"),
    (["minimal", "config.limits.max_sessions=many"], "config/limits/max_sessions"),
    (["minimal", r"config.clusters.default.sasl\.password=secret"], "config/clusters/default/sasl.password"),
    (["minimal", r"config.clusters.default.ssl\.key\.pem=secret"], "config/clusters/default/ssl.key.pem"),
    (["minimal", r"config.clusters.default.sasl\.jaas\.config=secret"], "config/clusters/default/sasl.jaas.config"),
    (["minimal", "config.clusters.events.creds=secret"], "config/clusters/events/creds"),
    (["minimal", "config.identity.partner.secret=secret"], "config/identity/partner/secret"),
    (["minimal", "secrets.gateway=other"], "invalid propertyName gateway"),
]


def main():
    parser = argparse.ArgumentParser(prog="./dev chart", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the renderings")
    update = parser.parse_args().update
    files = sorted((CHART / "ci").glob("*.yaml"))
    stale, objects = [], 0
    for values in files:
        helm("lint", "--strict", "--quiet", CHART, "--values", values)
        rendering = header(values) + helm(
            "template", "sluicegate", CHART, "--namespace", "kafka", "--values", values, *VERSION
        )
        objects += validate(rendering, values)
        committed = RENDERINGS / values.name
        if update:
            RENDERINGS.mkdir(exist_ok=True)
            committed.write_text(rendering)
        elif not committed.exists() or committed.read_text() != rendering:
            stale.append(committed.relative_to(ROOT))
    documented = renders_documented_values()
    for settings, reason in REFUSED:
        refuses(settings, reason)
    if stale:
        sys.exit(f"{', '.join(map(str, stale))}: not what the chart renders; `./dev chart --update` writes them")
    print(
        f"{len(files)} value files: lint passed; {objects} objects are valid in Kubernetes {' and '.join(KUBERNETES)}; "
        f"renderings {'written' if update else 'as committed'}; {len(REFUSED)} wrong settings refused; "
        f"{documented} documented values render"
    )


def header(values):
    """Names what the rendering was made of, so that a test without Helm can tell whether it is stale."""
    return f"# `./dev chart --update` writes this, from ci/{values.name} and a chart with SHA-256 {digest()}.\n"


def digest():
    """Of all files of the chart, each with its path and its length."""
    whole = hashlib.sha256()
    for path in sorted(path.relative_to(CHART).as_posix() for path in CHART.rglob("*") if path.is_file()):
        content = (CHART / path).read_bytes()
        whole.update(f"{path}\n{len(content)}\n".encode() + content)
    return whole.hexdigest()


def validate(rendering, values):
    objects = [one for one in yaml.safe_load_all(rendering) if one and one["kind"] not in CUSTOM]
    for one in objects:
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                place = ".".join(map(str, error.path))
                sys.exit(f"{values.name}: {one['kind']}, Kubernetes {version}: {place}: {error.message}")
    return len(objects)


def renders_documented_values():
    """Each YAML block of the how-to guide is a part of a values file, but for those of other programs."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    values = [block for block in blocks if not block.startswith("rules:")]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        for block in values:
            file.seek(0)
            file.truncate()
            file.write(block)
            file.flush()
            files = ["--values", CHART / "ci/minimal.yaml", "--values", file.name]
            validate(helm("template", "sluicegate", CHART, *files, *VERSION), GUIDE)
    return len(values)


def refuses(settings, reason):
    arguments = []
    for setting in settings:
        is_file = "=" not in setting
        arguments += ["--values", CHART / f"ci/{setting}.yaml"] if is_file else ["--set", setting]
    done = run("template", "sluicegate", CHART, *arguments, *VERSION)
    if done.returncode == 0:
        sys.exit(f"{settings}: accepted, expected a refusal: {reason}")
    # Helm's schema errors write places as /config/listen or config.listen.
    said = done.stderr.replace("'", "").replace("/", ".")
    if reason.replace("'", "").replace("/", ".") not in said:
        sys.exit(f"{settings}: refused, but not with {reason!r}: {done.stderr}")


def helm(*arguments):
    done = run(*arguments)
    if done.returncode != 0:
        sys.exit(f"helm {' '.join(map(str, arguments))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def run(*arguments):
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, timeout=120)


if __name__ == "__main__":
    main()
