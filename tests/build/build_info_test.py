"""What bench/build_info.cmake says of a tree: its commit, and whether anything that decides a build was changed."""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CMAKE = "cmake"
# Tracked files of a tree of the same layout.
FILES = ["engine/device/open.cpp", "kernels/gemv.cu", "kernels/gemv.h", "kernels/simt/fiber.cpp", "reference/ops.hpp", "bench/suite.cpp",
         "bench/README.md", "scripts/cmake/FindNvrtc.cmake", "scripts/setup", "scripts/requirements.txt", "scripts/report.py",
         "CMakeLists.txt", "CMakePresets.json", "README.md", "tests/device/open_test.cpp", "results/run.jsonl"]


class BuildInfo(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="m40llm_build_info_")
        self.addCleanup(folder.cleanup)
        self.outside = pathlib.Path(folder.name)
        self.tree = self.outside / "tree"
        for name in FILES:
            self.write(name, "as committed\n")
        self.write(".gitignore", "*.orig\nkernels/mine.cu\n")

    def write(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def git(self, *arguments, folder=None):
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(folder or self.tree), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, folder=None):
        folder = folder or self.tree
        self.git("init", "-q", folder=folder)
        self.git("add", "-A", folder=folder)
        self.git("commit", "-q", "-m", "x", folder=folder)
        return self.git("rev-parse", "HEAD", folder=folder)

    def run_script(self):
        out = self.outside / "build_info.hpp"
        result = subprocess.run([CMAKE, f"-DSOURCE={self.tree}", f"-DOUT={out}", "-DPRESET=p", "-DCOMPILER=c", "-DFLAGS=f", "-P",
                                 str(ROOT / "bench/build_info.cmake")], capture_output=True, text=True)
        return result, out

    def info(self):
        result, out = self.run_script()
        self.assertEqual(result.returncode, 0, result.stderr)
        text = out.read_text()
        return (re.search(r'kBuildCommit = "(.*)"', text)[1], re.search(r"kBuildDirty = (\w+)", text)[1])

    def test_what_decides_a_build(self):
        commit = self.commit()
        self.assertEqual(self.info(), (commit, "false"))
        for name in FILES:
            decides = not (name.endswith(".md") or name.startswith(("tests/", "results/", "scripts/report.py")))
            self.write(name, "changed\n")
            self.assertEqual(self.info(), (commit, "true" if decides else "false"), name)
            self.git("checkout", "-q", "--", name)
        self.assertEqual(self.info(), (commit, "false"))

    def test_files_that_git_does_not_know(self):
        commit = self.commit()
        # Compiled as it is found, also where git ignores it, or shows no such files.
        self.git("config", "status.showUntrackedFiles", "no")
        for name in ("kernels/new.cu", "kernels/new.h", "kernels/mine.cu", "scripts/cmake/New.cmake"):
            self.write(name, "new\n")
            self.assertEqual(self.info(), (commit, "true"), name)
            (self.tree / name).unlink()
        for name in ("tests/new.cpp", "notes.txt", "engine/device/open.cpp.orig", "kernels/NEW.md"):
            self.write(name, "new\n")
            self.assertEqual(self.info(), (commit, "false"), name)
            (self.tree / name).unlink()

    def test_a_tree_inside_another_repository_has_no_commit(self):
        self.commit(self.outside)
        self.assertEqual(self.info(), ("unknown", "false"))

    def test_a_path_that_is_gone_is_an_error(self):
        self.commit()
        (self.tree / "scripts/cmake").rename(self.tree / "cmake")
        result, _ = self.run_script()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("scripts/cmake", result.stderr)


if __name__ == "__main__":
    CMAKE = sys.argv.pop(1)
    unittest.main()
