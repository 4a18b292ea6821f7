"""Commands and scripts in processes that are forked from one which has imported everything already: real
processes, to be killed, interrupted and starved, without the seconds that `import torch` takes."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path
from unittest.mock import patch

MAIN = "from mnist_nb.cli import main; main()"  # `mnist-nb`
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["preload"])


def limit_files(size: int | None):
    "No file of this process may grow beyond so many bytes, as on a full disk."
    if size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def child(script: str, words: list[str], folder: str, variables: dict[str, str], size: int | None, said: str):
    "What the forked process does: it becomes the script, in a folder and an environment."
    import torch

    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(said, name), os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))  # which torch read when it was imported
    signal.signal(signal.SIGINT, signal.default_int_handler)
    limit_files(size)
    sys.argv = ["mnist-nb", *words]
    exec(script, {"__name__": "__main__"})


class Command:
    "`mnist-nb` on its way, treated as a `subprocess.Popen`; what it says is there once it has ended."

    def __init__(
        self,
        *words,
        folder: Path,
        variables: dict[str, str],
        script: str = MAIN,
        size: int | None = None,
    ):
        self.said = tempfile.TemporaryDirectory()
        words = [str(word) for word in words]
        arguments = (script, words, str(folder), variables, size, self.said.name)
        self.process = FORKS.Process(target=child, args=arguments)
        with patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parent)):  # where `preload` is
            forkserver.ensure_running()
        self.process.start()
        self.kill = self.process.kill

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("mnist-nb", timeout)
        return self.returncode

    def send_signal(self, number: int):
        os.kill(self.process.pid, number)

    @property
    def returncode(self) -> int | None:
        return self.poll()

    @property
    def stdout(self) -> str:
        return Path(self.said.name, "stdout").read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return Path(self.said.name, "stderr").read_text(encoding="utf-8")
