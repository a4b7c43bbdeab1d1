"""Runs the example for Envoy Gateway: `./dev envoy-gateway`.

The real control plane reads deploy/envoy-gateway/sluicegate.yaml from files instead of Kubernetes, pulls the filter from a registry on this
machine, and starts the real Envoy, which serves a session and plain HTTP from a real bridge. Its ports 18000 to 18002 and 19001 are fixed.
"""

import base64
import re
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml
from processes import Processes, free_port
from registry import Registry

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "deploy/envoy-gateway/sluicegate.yaml"
FILTER = ROOT / "target/wasm32-wasip1/wasm/sluicegate_filter.wasm"
BIN = ROOT / "target/tools/bin"
BUILT = ROOT / "target/debug"
# Of the objects that Envoy Gateway itself has in Kubernetes.
SYSTEM = "envoy-gateway-system"


def main():
    with Processes() as run, Registry("sluicegate/filter", FILTER.read_bytes()) as registry:
        secret = secrets.token_hex(16)
        bridge = start_bridge(run, start_kafka(run), secret)
        gateway = start_gateway(run, bridge, registry, secret)
        base = f"127.0.0.1:{gateway}"
        run.until("Envoy serves the example", 120, lambda: status(f"http://{base}/kafka/topics") == 200)
        built = re.search(r"mod\t\S+\t(\S+)", tool("go", "version", "-m", BIN / "envoy-gateway"))
        print(f"Envoy Gateway {built[1]} runs Envoy {envoy_version()}")
        check(base, bridge)


def start_kafka(run):
    """The demo's, which fills it. Its own bridge and Envoy are not used here."""
    run.start("demo", BUILT / "demo", "--port", str(free_port()))
    told = run.until("the demo is ready", 60, lambda: re.search(r"reads and writes +Kafka at (\S+)", run.log("demo").read_text()))
    return told[1]


def start_bridge(run, kafka, secret):
    port, admin, file = free_port(), free_port(), run.folder / "bridge.toml"
    file.write_text(
        f'listen = "127.0.0.1:{port}"\nadmin_listen = "127.0.0.1:{admin}"\ngateway_secret = "{secret}"\n'
        f'write.clusters = ["default"]\nclusters.default."bootstrap.servers" = "{kafka}"\n'
    )
    run.start("bridge", BUILT / "sluicegate-bridge", "--config", file)
    run.until("the bridge is ready", 20, lambda: status(f"http://127.0.0.1:{admin}/readyz?cluster=default") == 200)
    return port


def start_gateway(run, bridge, registry, secret):
    home, port = run.folder / "home", free_port()
    # Envoy Gateway downloads no Envoy if this one is there.
    envoy = home / f"data/envoy-versions/{envoy_version()}/bin/envoy"
    envoy.parent.mkdir(parents=True)
    envoy.symlink_to(BIN / "envoy")
    tool("envoy-gateway", "certgen", "--local", "--config-home", home / "config")
    certificates = home / "config/certs/envoy"
    resources = run.folder / "resources"
    resources.mkdir()
    objects = example(port, registry, secret) + surroundings(bridge, certificates)
    (resources / "all.yaml").write_text(yaml.safe_dump_all(objects))
    host = {"configHome": "config", "dataHome": "data", "stateHome": "state", "runtimeDir": "run"}
    config = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        "provider": {
            "type": "Custom",
            "custom": {
                "resource": {"type": "File", "file": {"paths": [str(resources)]}},
                "infrastructure": {"type": "Host", "host": {key: str(home / name) for key, name in host.items()}},
            },
        },
        "extensionApis": {"enableBackend": True, "enableEnvoyPatchPolicy": True},
    }
    file = run.folder / "envoy-gateway.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [BIN / "envoy-gateway", "server", "--config-path", file]
    run.start("envoy-gateway", *command, env={"HOME": str(home), "PATH": "/usr/bin:/bin"})
    return port


def example(port, registry, secret):
    """The example's objects, with what only this run knows: a port, the filter's place, and the secret. From files, Envoy Gateway takes no Services,
    but Backends."""
    text = EXAMPLE.read_text()
    for theirs, ours in [
        ("port: 80\n", f"port: {port}\n"),
        ("ghcr.io/sluicegate/filter", registry.image),
        ("replace-with-the-gateways-secret", secret),
    ]:
        if text.count(theirs) != 1:
            sys.exit(f"{EXAMPLE.name}: expected {theirs!r} once")
        text = text.replace(theirs, ours)
    objects = [one for one in yaml.safe_load_all(text) if one]
    [route] = [one for one in objects if one["kind"] == "HTTPRoute"]
    for rule in route["spec"]["rules"]:
        rule["backendRefs"] = [{"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "sluicegate"}]
    [gateway_class] = [one for one in objects if one["kind"] == "GatewayClass"]
    reference = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "here", "namespace": SYSTEM}
    gateway_class["spec"]["parametersRef"] = reference
    return objects


def surroundings(bridge, certificates):
    """What Kubernetes and the chart provide: the bridge, and Envoy Gateway's own objects."""
    kafka = {"namespace": "kafka"}
    # Envoy fetches the filter from Envoy Gateway by a name and a certificate that are there in Kubernetes only.
    replaced = {
        "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address": "127.0.0.1",
        "/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca/filename": str(certificates / "ca.crt"),
    }
    patches = [
        {
            "type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": "wasm_cluster",
            "operation": {"op": "replace", "path": path, "value": value},
        }
        for path, value in replaced.items()
    ]
    data = {path.name: base64.b64encode(path.read_bytes()).decode() for path in certificates.iterdir() if path.suffix != ".json"}
    gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"}
    host = {"type": "Host", "host": {"envoyVersion": envoy_version()}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kafka"}},
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "Backend",
            "metadata": {"name": "sluicegate", **kafka},
            "spec": {"endpoints": [{"ip": {"address": "127.0.0.1", "port": bridge}}]},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "envoy", "namespace": SYSTEM}, "data": data},
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyProxy",
            "metadata": {"name": "here", "namespace": SYSTEM},
            "spec": {"provider": host, "telemetry": {"accessLog": {"disable": True}}},
        },
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyPatchPolicy",
            "metadata": {"name": "here", **kafka},
            "spec": {"targetRef": gateway, "type": "JSONPatch", "jsonPatches": patches},
        },
    ]


def check(base, bridge):
    """What the example promises, each as a client sees it."""
    sessions = f"ws://{base}/pubsub"
    expect("session: ping", sluicegate(sessions, "ping", "-c", "3"), "3")
    expect("session: topics", sluicegate(sessions, "topics"), "demo")
    sluicegate(sessions, "produce", "demo", "-p", "0", records="written here")
    expect("session: write and read", sluicegate(sessions, "fetch", "demo", "-p", "0", "--from", "earliest"), "written here")
    expect("plain HTTP: write", fetch(f"http://{base}/produce", b"1")[1], '"offset"')
    records = f"http://{base}/kafka/topics/demo/partitions/0/records?offset=0"
    expect("plain HTTP: read", fetch(records)[1], '"offset"')
    events = f"http://{base}/kafka/topics/demo/events?from=latest"
    expect("events, after 16 seconds", event_after(16, events), "data:")
    refused = [
        ("a topic outside the grant", f"http://{base}/kafka/topics/other/partitions/0/records?offset=0", {}, 403),
        ("a forged cluster", f"http://{base}/kafka/topics", {"sluicegate-cluster": "other"}, 200),
        ("a path that no route has", f"http://{base}/other", {"sluicegate-client": "10.0.0.1"}, 404),
        ("the bridge without its secret", f"http://127.0.0.1:{bridge}/kafka/topics", {"sluicegate-http": "x"}, 502),
    ]
    for what, url, headers, want in refused:
        got = status(url, headers)
        expect(what, str(got), str(want))


def expect(what, got, want):
    if want not in got:
        sys.exit(f"{what}: expected {want!r}, got {got!r}")
    print(f"{what}: ok")


def sluicegate(url, *arguments, records=""):
    command = [BUILT / "sluicegate", "-u", url, *arguments]
    done = subprocess.run(command, input=records, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        sys.exit(f"sluicegate {' '.join(arguments)}: {done.stderr}")
    return done.stdout + done.stderr


def fetch(url, body=None, headers=None):
    request = urllib.request.Request(url, body, headers or {})
    try:
        answer = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.read().decode()


def status(url, headers=None):
    try:
        return fetch(url, headers=headers)[0]
    except OSError:
        return None


def event_after(seconds, url):
    """An event that comes later than Envoy's default timeout of a route, 15 s, would allow."""
    begun = time.monotonic()
    with urllib.request.urlopen(url, timeout=20) as answer:
        for line in answer:
            if line.startswith(b"data:") and time.monotonic() > begun + seconds:
                return line.decode()
    return f"nothing: the stream ended after {time.monotonic() - begun:.0f} s"


def envoy_version():
    return re.search(r"/(\d+\.\d+\.\d+)/", tool("envoy", "--version"))[1]


def tool(name, *arguments):
    done = subprocess.run([BIN / name, *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        sys.exit(f"{name} {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
