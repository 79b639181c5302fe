"""What the scripts that compile copies of kernels take for a kernel: no kernel may be left out of the copies. And what plant.py says of a
planted fault that is not complete."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from kernel_text import kernels_in  # noqa: E402


class KernelText(unittest.TestCase):
    def test_all_ways_to_write_one(self):
        text = ('// a __global__ function\nextern "C" __global__ void first(OneParams p) {\n}\n'
                'extern "C" __global__ void __launch_bounds__(256) second(TwoParams p) {}\n'
                'extern "C" __global__ void __launch_bounds__(128, 2)\n    third(TwoParams p) {}\n')
        self.assertEqual(kernels_in(text, "k.cu"), [("first", "OneParams"), ("second", "TwoParams"), ("third", "TwoParams")])

    def test_one_in_another_way_is_an_error(self):
        for text in ('extern "C" __global__ __launch_bounds__(256) void k(OneParams p) {}\n', '__global__ void k(OneParams p) {}\n',
                     'extern "C" __global__ void k() {}\n'):
            with self.assertRaisesRegex(ValueError, r"^k.cu: 1 kernels, of which 0 are written as expected: extern "):
                kernels_in(text, "k.cu")

    def test_every_kernel_file(self):
        for path in sorted((ROOT / "kernels").glob("*.cu")):
            self.assertNotEqual(kernels_in(path.read_text(), path.name), [], path.name)

    def test_faults_that_are_not_complete(self):
        whole = '[[mutation]]\nname = "m"\nfile = "residual_add"\nops = "residual_add"\nfind = "i < p.n"\nreplace = "i <= p.n"\n'
        for text, says in ((whole.replace('find = "i < p.n"\n', ""), "mutation m: it lacks 'find'"), (whole * 2, "two mutations of one name: m"),
                           (whole.replace('name = "m"\n', ""), "mutation number 1: it lacks 'name'"), (whole + "x =", "at end of document")):
            with tempfile.NamedTemporaryFile("w", suffix=".toml") as table:
                table.write(text)
                table.flush()
                result = subprocess.run([sys.executable, "-B", ROOT / "tests/mutations/plant.py", "--list", table.name, ROOT, "out"],
                                        capture_output=True, text=True)
            self.assertEqual([result.returncode, len(result.stderr.splitlines())], [1, 1], result.stderr)
            self.assertIn(says, result.stderr)


if __name__ == "__main__":
    unittest.main()
