"""The kernels in the text of a .cu file, for the scripts that compile copies of kernels."""
import re

KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\)\s+)?(\w+)\((\w+)')


def kernels_in(text, name):
    """[(kernel, the type of its parameters)]. ValueError if one is written in a way that would leave it out."""
    found = KERNEL.findall(text)
    n_kernels = len(re.findall(r"^[^/\n]*\b__global__\b", text, re.MULTILINE))
    if len(found) != n_kernels:
        raise ValueError(f'{name}: {n_kernels} kernels, of which {len(found)} are written as expected: '
                         'extern "C" __global__ void [__launch_bounds__(...)] <kernel>(<Op>Params p)')
    return found
