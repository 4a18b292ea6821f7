"""Jupyter kernels that are forked from a process which has imported everything already: real kernels, without
the seconds that `import torch` takes. That process is `kernels.py SOCKET`; a kernel is started as
`kernels.py SOCKET CONNECTION_FILE ...`, which has one forked and lives as long as it does."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import patch


class WarmKernels:
    "The process that forks kernels, which have its environment."

    def __init__(self, folder: Path, environment: dict[str, str]):
        argv, log = [sys.executable, __file__, str(folder / "socket")], folder / "log"
        spec = folder / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        kernel = {"argv": [*argv, "{connection_file}"], "display_name": "Python 3", "language": "python"}
        spec.write_text(json.dumps(kernel))
        self.folder = folder  # for $JUPYTER_PATH
        with log.open("w") as said:
            self.process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=said, stderr=said)
        while not (folder / "socket").exists():
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.05)

    def execute(self, chapter: Path, folder: Path):
        "The chapter with its outputs, from a kernel of its own in a folder; an error in a cell is raised."
        import nbformat
        from nbclient import NotebookClient

        with patch.dict(os.environ, {"JUPYTER_PATH": str(self.folder)}):
            notebook, where = nbformat.read(chapter, 4), {"metadata": {"path": str(folder)}}
            return NotebookClient(notebook, kernel_name="python3", resources=where).execute()

    def close(self):
        self.process.kill()
        self.process.wait()


def end_with(line: socket.socket):
    "End this process when its caller has ended."
    line.recv(1)
    os._exit(0)


def become_kernel(line: socket.socket, folder: str, connection_file: str, *options: str):
    "What a forked process does."
    from ipykernel.kernelapp import IPKernelApp

    threading.Thread(target=end_with, args=[line], daemon=True).start()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(folder)
    sys.path[0] = ""  # as in a kernel that was started here
    sys.argv = ["kernel", "-f", connection_file, *options]
    IPKernelApp.launch_instance()


def serve(path: str):
    "Fork a kernel for each caller."
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            line, _ = listener.accept()
            words = json.loads(line.makefile().readline())
            if os.fork() == 0:
                listener.close()
                become_kernel(line, *words)
                os._exit(0)
            line.close()


def call(path: str, *words: str):
    "Have a kernel forked for this folder, and wait for its end."
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        line.sendall(json.dumps([os.getcwd(), *words]).encode() + b"\n")
        line.recv(1)


if __name__ == "__main__":
    if sys.argv[2:]:
        call(*sys.argv[1:])
    else:
        import ipykernel.kernelapp  # noqa: F401
        import preload  # noqa: F401

        serve(sys.argv[1])
