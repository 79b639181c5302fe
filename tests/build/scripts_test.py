"""scripts/run on a tree of stand-ins: which steps follow one that fails. And --help of all scripts, which does nothing else, and words
that a script would leave out of account."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = ["m40llm-parity", "m40llm-occupancy", "m40llm-decode", "python"]


class Scripts(unittest.TestCase):
    def setUp(self):
        self.tree = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.tree / "scripts").mkdir()
        shutil.copy2(ROOT / "scripts/run", self.tree / "scripts/run")
        self.stand_in("scripts/setup", "echo model.gguf")
        self.stand_in("path/cmake", "")
        for name in STEPS:
            self.stand_in(self.place(name), "")

    def place(self, name):
        return f".venv/bin/{name}" if name == "python" else f"build/release/bin/{name}"

    def stand_in(self, name, command):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "$(basename "$0")" >>"{self.tree}/done"\n{command}\n')
        path.chmod(0o755)

    def run_it(self):
        """The exit code, and the steps that were started."""
        (self.tree / "done").unlink(missing_ok=True)
        environment = os.environ | {"PATH": f"{self.tree / 'path'}:{os.environ['PATH']}"}
        result = subprocess.run([self.tree / "scripts/run"], env=environment, capture_output=True, text=True, timeout=60)
        return result.returncode, [name for name in (self.tree / "done").read_text().split() if name in STEPS]

    def test_all_steps(self):
        self.assertEqual(self.run_it(), (0, STEPS))

    def test_one_that_fails_does_not_keep_the_others_from_being_done(self):
        self.stand_in(self.place("m40llm-parity"), "exit 1")
        self.assertEqual(self.run_it(), (1, STEPS))

    def test_a_wrong_flag_and_ctrl_c_end_it(self):
        for code in (2, 130):
            self.stand_in(self.place("m40llm-parity"), f"exit {code}")
            self.assertEqual(self.run_it(), (code, STEPS[:1]))

    def test_help(self):
        for name in ("run", "test", "setup", "planted", "gpu-bundle", "gpu-run"):
            shutil.copy2(ROOT / "scripts" / name, self.tree / "scripts" / name)
            for flag in ("-h", "--help"):
                result = subprocess.run([self.tree / "scripts" / name, flag], capture_output=True, text=True, timeout=60)
                self.assertEqual([result.returncode, result.stderr], [0, ""], name)
                self.assertGreater(len(result.stdout), 100, name)
        self.assertFalse((self.tree / "done").exists())

    def test_what_is_not_expected_is_named(self):
        for name in ("setup", "gpu-bundle"):
            shutil.copy2(ROOT / "scripts" / name, self.tree / "scripts" / name)
            result = subprocess.run([self.tree / "scripts" / name, "--bogus"], capture_output=True, text=True, timeout=60)
            self.assertEqual([result.returncode, result.stdout], [2, ""], name)
            self.assertIn(f"{name}: error: no argument is expected; got '--bogus'", result.stderr)
        self.assertFalse((self.tree / "done").exists())

    def test_a_selection_that_is_no_test_fails(self):
        shutil.copy2(ROOT / "CMakePresets.json", self.tree)
        for preset in ("release", "debug", "checked", "asan", "tsan"):
            folder = self.tree / "build" / preset
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "CTestTestfile.cmake").write_text("add_test(one true)\n")
            for word, code in (("one", 0), ("nosuch", 8)):
                result = subprocess.run(["ctest", "--preset", preset, "-R", word], cwd=self.tree, capture_output=True, text=True, timeout=60)
                self.assertEqual(result.returncode, code, result.stdout + result.stderr)


if __name__ == "__main__":
    unittest.main()
