"""Installs the chart and the examples into a real kube-apiserver: `./dev chart-install`.

Nothing runs there: the API server stores the objects, with the CRDs of Istio, Envoy Gateway, the Gateway API and the Prometheus
operator, and with the Pod Security Standard `restricted`.
"""

import json
import re
import subprocess
import sys
import textwrap
import time

import yaml
from api_server import ApiServer
from chart import CHART, HELM, ROOT

CRDS = ROOT / "target/tools/crds"
EXAMPLES = ["deploy/istio", "deploy/envoy-gateway"]
PAGES = ["docs/how-to/rights-in-istio.md", "docs/how-to/rights-in-envoy-gateway.md"]
SERVED_WITHIN = 30


def main():
    with ApiServer() as server:
        version = server.request("GET", "/version", None)[1]["gitVersion"]
        print(f"Kubernetes {version}")
        refuses_unknown_fields(server)
        warns_of_root(server)
        for file in sorted(CRDS.glob("*.yaml")):
            create_crds(server, file)
        for values in sorted((CHART / "ci").glob("*.yaml")):
            install(server, values)
        for folder in EXAMPLES:
            for file in sorted((ROOT / folder).glob("*.yaml")):
                apply_all(server, file, file.read_text())
        for page in PAGES:
            apply_all(server, ROOT / page, documented(ROOT / page))


def refuses_unknown_fields(server):
    """So that an accepted object means something."""
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "wrong"}, "dta": {}}
    said = server.apply(wrong, "default")
    if "dta" not in said:
        sys.exit(f"an unknown field was accepted: {said!r}")


def warns_of_root(server):
    """So that the silence about the chart's pods means something."""
    create_namespace(server, "root")
    root = ["--set", "podSecurityContext.runAsNonRoot=false"]
    done = run_helm(server, "install", "root", CHART, "--namespace", "root", "--values", CHART / "ci/minimal.yaml", *root)
    if "would violate PodSecurity" not in done.stderr:
        sys.exit(f"pods that can be root caused no warning: {done.stderr!r}")


def create_crds(server, file):
    crds = [one for one in yaml.safe_load_all(file.read_text()) if one and one["kind"] == "CustomResourceDefinition"]
    if not crds:
        sys.exit(f"{file} has no CRD")
    for crd in crds:
        succeed(crd, server.apply(crd, None))
    for crd in crds:
        served(server, crd)
    print(f"{file.stem}: {len(crds)} CRDs")


def served(server, crd):
    """Waits until the API server knows a CRD's kind."""
    spec, deadline = crd["spec"], time.monotonic() + SERVED_WITHIN
    versions = [version["name"] for version in spec["versions"] if version["served"]]
    for version in versions:
        while True:
            status, answer, _ = server.request("GET", f"/apis/{spec['group']}/{version}", None)
            if status == 200 and any(one["name"] == spec["names"]["plural"] for one in answer["resources"]):
                break
            if time.monotonic() > deadline:
                sys.exit(f"{spec['names']['kind']} {version} is not served: {answer}")
            time.sleep(0.1)


def install(server, values):
    """Installs a release in a namespace of its own, upgrades it, and removes it."""
    name = values.stem
    create_namespace(server, name)
    chart = [CHART, "--namespace", name, "--values", values]
    helm(server, "install", "sluicegate", *chart)
    helm(server, "upgrade", "sluicegate", *chart, "--set", "drain.delaySeconds=15,config.read.wait_ms=200")
    stored = [
        f"{one['kind']}/{one['metadata']['name']}"
        for one in yaml.safe_load_all(helm(server, "get", "manifest", "sluicegate", "--namespace", name))
    ]
    path = f"/apis/apps/v1/namespaces/{name}/deployments"
    pods = server.request("GET", path, None)[1]["items"][0]["spec"]["template"]["spec"]
    seconds = pods["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    if seconds != 15:
        sys.exit(f"{name}: the upgrade did not arrive: preStop sleeps {seconds} s")
    print(f"{name}: installed and upgraded: {', '.join(stored)}")
    helm(server, "uninstall", "sluicegate", "--namespace", name)
    left = server.request("GET", path, None)[1]["items"]
    if left:
        sys.exit(f"{name}: left after the removal: {json.dumps(left)}")


def create_namespace(server, name):
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ["enforce", "warn"]}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}}
    succeed(namespace, server.apply(namespace, None))


def helm(server, *arguments):
    done = run_helm(server, *arguments)
    # The API server's warnings, for example about Pod Security, are on standard error.
    said = [line for line in done.stderr.splitlines() if "group-readable" not in line and "world-readable" not in line]
    if done.returncode != 0 or said:
        sys.exit(f"helm {' '.join(map(str, arguments))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def run_helm(server, *arguments):
    command = [HELM, *arguments, "--kubeconfig", server.kubeconfig()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def documented(page):
    """The resources that a page shows. Its other YAML blocks are values of the chart."""
    blocks = re.findall(r"^ *```yaml\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE)
    resources = [block for block in map(textwrap.dedent, blocks) if block.startswith("apiVersion:")]
    if len(resources) < 2:
        sys.exit(f"{page.name}: expected two resources, found {len(resources)}")
    return "---\n".join(resources)


def apply_all(server, file, text):
    objects = [one for one in yaml.safe_load_all(text) if one]
    for name in {one["metadata"].get("namespace", "default") for one in objects}:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        succeed(namespace, server.apply(namespace, None))
    for one in objects:
        succeed(one, server.apply(one, "default"))
    print(f"{file.relative_to(ROOT)}: accepted: {', '.join(one['kind'] for one in objects)}")


def succeed(one, problem):
    if problem:
        sys.exit(f"{one['kind']} {one['metadata']['name']}: {problem}")


if __name__ == "__main__":
    main()
