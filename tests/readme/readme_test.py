"""The steps of kernels/README.md and bench/README.md, done on a copy of the tree: one more variant, one more op.

M40LLM_VENV is the virtual environment with NVRTC. The blocks of the READMEs say all that is done: "```cpp FILE" is a new file, or goes
to the end of one that is there; "```cpp FILE: LINE" goes behind that line. The commands of "```sh" are run as they stand, the two builds
as one, and those of "```sh checked" left out, which would double the time. To save minutes the copy's kernels are compiled for sm_52
alone, its C++ with less optimisation, and of the planted faults only those of the files that the steps touch.
"""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^( *)```(\w+)(?: ([^\n:]+?)(?:: ([^\n]*))?)?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)

OPTIONS = "-Wno-dev -DM40LLM_ARCHS=sm_52 -DCMAKE_CXX_FLAGS_RELEASE=-O1"


def blocks(path, heading):
    """[(language, file, line, text)] of a section."""
    section = path.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [(language, file, line, textwrap.dedent(text)) for _, language, file, line, text in BLOCK.findall(section)]


class Steps(unittest.TestCase):
    def setUp(self):
        self.tree = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True,
                                 capture_output=True).stdout.decode()
        for name in filter(None, tracked.split("\0")):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)
        self.steps = blocks(ROOT / "kernels/README.md", "One more variant") + blocks(ROOT / "bench/README.md", "One more op")

    def write(self, name, line, text):
        path = self.tree / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if not line:
            path.write_text(old + text, encoding="utf-8")
            return
        lines = old.splitlines(keepends=True)
        places = [at for at, there in enumerate(lines) if there.strip() == line.strip()]
        self.assertEqual(len(places), 1, f"{name} has the line {line!r} {len(places)} times")
        lines.insert(places[0] + 1, text)
        path.write_text("".join(lines), encoding="utf-8")

    def keep_faults_of(self, files):
        path = self.tree / "tests/mutations/mutations.toml"
        head, *entries = path.read_text(encoding="utf-8").split("[[mutation]]\n")
        kept = [entry for entry in entries if any(f'file = "{file}"\n' in entry for file in files)]
        path.write_text(head + "".join("[[mutation]]\n" + entry for entry in kept), encoding="utf-8")

    def run_command(self, command):
        result = subprocess.run(["bash", "-ec", command], cwd=self.tree, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(result.returncode, 0, f"{command}\n{result.stdout[-6000:]}")
        return result.stdout

    def test_they_are_complete(self):
        files = [step for step in self.steps if step[0] not in ("sh", "toml")]
        faults = [step for step in self.steps if step[0] == "toml"]
        self.assertEqual([len(files) > 8, len(faults)], [True, 2])
        for _, name, line, text in files + faults:
            self.write(name, line, text)
        self.keep_faults_of([re.search(r'file = "(\w+)"', text).group(1) for *_, text in faults])
        commands = [text.splitlines() for language, name, _, text in self.steps if language == "sh" and not name]
        self.assertEqual([len(lines) for lines in commands], [3, 3])
        self.assertEqual(commands[0][0], commands[1][0])
        self.run_command(commands[0][0].replace("cmake ", f"cmake {OPTIONS} -DM40LLM_VENV='{os.environ['M40LLM_VENV']}' ", 1))
        for (parity, mutation), case in zip((lines[1:] for lines in commands), ("residual_add/float4", "relu/element")):
            self.run_command(parity)
            said = self.run_command(mutation)
            self.assertIn(f"caught by {case}", said)
            self.assertRegex(said, r"\[  PASSED  \] 1 test\b")
            self.assertIn(case, self.run_command(parity.replace("--device simt", "--list")))


if __name__ == "__main__":
    unittest.main()
