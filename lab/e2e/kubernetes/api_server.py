"""A real kube-apiserver with a real etcd, on free local ports, for the length of a `with` block."""

import json
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from processes import Processes, free_port

BIN = Path(__file__).resolve().parents[3] / "target/tools/bin"
READY_WITHIN = 60


class ApiServer(Processes):
    """Objects are stored and validated, and nothing runs: there are no controllers and no nodes."""

    def __enter__(self):
        super().__enter__()
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        etcd, peers, self.port = free_port(), free_port(), free_port()
        clients = f"http://127.0.0.1:{etcd}"
        urls = ["--advertise-client-urls", clients, "--listen-client-urls", clients]
        peers = ["--listen-peer-urls", f"http://127.0.0.1:{peers}"]
        self.start("etcd", BIN / "etcd", "--data-dir", self.folder / "etcd", *urls, *peers)
        key = self.folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        self.token = secrets.token_hex(16)
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f"{self.token},admin,admin,system:masters\n")
        self.start(
            "kube-apiserver",
            BIN / "kube-apiserver",
            f"--etcd-servers={clients}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self.folder / 'certificates'}",
            "--service-account-issuer=https://kubernetes.invalid",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={tokens}",
            "--service-cluster-ip-range=10.96.0.0/24",
        )
        self.until("the API server is ready", READY_WITHIN, self._is_ready)

    def _is_ready(self):
        try:
            return self.request("GET", "/readyz", None)[0] == 200
        except OSError:
            return False

    def request(self, method, path, body, content_type="application/json"):
        """The status, the answer as JSON if it is JSON, and the warnings."""
        # The certificate is self-made, for this run.
        context = ssl._create_unverified_context()
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        url = f"https://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=30, context=context)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read().decode()
            warnings = answer.headers.get_all("Warning", [])
            return answer.status, json.loads(text) if text.startswith("{") else text, warnings

    def apply(self, one, namespace):
        """Creates or changes an object; unknown fields are refused. Returns the refusal, or nothing."""
        group = one["apiVersion"]
        prefix = "/api/v1" if group == "v1" else f"/apis/{group}"
        kinds = self.request("GET", prefix, None)[1]
        known = [kind for kind in kinds.get("resources", []) if kind["kind"] == one["kind"] and "/" not in kind["name"]]
        if not known:
            return f"the API server has no {group} {one['kind']}"
        folder = prefix
        if known[0]["namespaced"]:
            folder += f"/namespaces/{one['metadata'].get('namespace', namespace)}"
        path = f"{folder}/{known[0]['name']}/{one['metadata']['name']}?fieldManager=sluicegate&fieldValidation=Strict&force=true"
        status, answer, warnings = self.request("PATCH", path, one, "application/apply-patch+yaml")
        if status not in (200, 201):
            return answer["message"]
        return "; ".join(warnings)

    def kubeconfig(self):
        """The path of a kubeconfig file with all rights."""
        path = self.folder / "kubeconfig"
        cluster = {"server": f"https://127.0.0.1:{self.port}", "insecure-skip-tls-verify": True}
        context = {"cluster": "local", "user": "admin"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "local", "context": context}],
            "current-context": "local",
        }
        path.write_text(json.dumps(config))
        return path

