"""A container registry on this machine with one image: a file, as Istio and Envoy Gateway expect a filter."""

import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """Serves `content` as the file plugin.wasm of the image `name`, for the length of a `with` block."""

    def __init__(self, name, content):
        self.name = name
        self.blobs = {}
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("plugin.wasm")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        layer = self._blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(archive.getvalue()))
        diff = {"type": "layers", "diff_ids": [digest(archive.getvalue())]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": diff}).encode()
        config = self._blob("application/vnd.oci.image.config.v1+json", config)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        self.manifest = json.dumps(manifest).encode()

    def _blob(self, media_type, content):
        self.blobs[digest(content)] = content
        return {"mediaType": media_type, "size": len(content), "digest": digest(content)}

    def __enter__(self):
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                kind, content = registry.find(self.path)
                self.send_response(200 if kind else 404)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Docker-Content-Digest", digest(content))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.image = f"127.0.0.1:{self.server.server_port}/{self.name}"
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def find(self, path):
        """The media type and the content of a path of the registry's API."""
        if path == "/v2/":
            return "application/json", b"{}"
        if path.startswith(f"/v2/{self.name}/manifests/"):
            return MANIFEST, self.manifest
        blob = self.blobs.get(path.removeprefix(f"/v2/{self.name}/blobs/"))
        return (None, b"") if blob is None else ("application/octet-stream", blob)


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()
