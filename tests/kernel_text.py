"""The kernels in the text of a .cu file, for the scripts that compile copies of kernels."""
import pathlib
import re
import subprocess

KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\)\s+)?(\w+)\((\w+)')
FORMATS = pathlib.Path(__file__).resolve().parents[1] / "kernels" / "formats.h"


def expanded(text):
    """The text with its own macros and the tables of formats expanded: files that have a kernel for each format write it once."""
    tables = "".join(re.findall(r"#define M40LLM_\w*FORMATS\(X\)(?:.*\\\n)+.*\n", FORMATS.read_text()))
    without_includes = re.sub(r"^#(?!define|undef).*$", "", text, flags=re.MULTILINE)
    result = subprocess.run(["c++", "-E", "-P", "-x", "c++", "-"], input=tables + without_includes, capture_output=True, text=True)
    if result.returncode != 0:
        raise ValueError(result.stderr)
    return result.stdout


def kernels_in(text, name):
    """[(kernel, the type of its parameters)]. ValueError if one is written in a way that would leave it out."""
    text = expanded(text)
    found = KERNEL.findall(text)
    n_kernels = len(re.findall(r"\b__global__\b", text))
    if len(found) != n_kernels:
        raise ValueError(f'{name}: {n_kernels} kernels, of which {len(found)} are written as expected: '
                         'extern "C" __global__ void [__launch_bounds__(...)] <kernel>(<Op>Params p)')
    return found
