"""Programs that run for the length of a `with` block, and what to wait for."""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path


class Processes:
    """A folder, and programs with their logs in it. All end with the block."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sluicegate-"))
        self.running = []
        return self

    def __exit__(self, *_):
        for _, process in reversed(self.running):
            process.terminate()
        for _, process in reversed(self.running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder)

    def start(self, name, *command, **options):
        """Starts a program, whose output is in its log."""
        with self.log(name).open("w") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **options)
        self.running.append((name, process))

    def log(self, name):
        return self.folder / f"{name}.log"

    def until(self, what, seconds, ready):
        """Waits for a true result of `ready`, and returns it. If a program ends or time is over, shows all logs."""
        deadline = time.monotonic() + seconds
        while not (result := ready()):
            ended = [name for name, process in self.running if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(f"{name}:\n{self.log(name).read_text()[-4000:]}" for name, _ in self.running)
                why = f"{', '.join(ended)} ended" if ended else f"not within {seconds} s"
                raise SystemExit(f"{what}: {why}\n{logs}")
            time.sleep(0.2)
        return result


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
