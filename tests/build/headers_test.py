#!/usr/bin/env python3
"""No header under /usr/local was read by the build: a CUDA toolkit that a system happens to have would hide a missing dependency.

usage: headers_test.py NINJA BUILD
"""

import subprocess
import sys


def main():
    ninja, build = sys.argv[1:3]
    files = {
        line.strip()
        for line in subprocess.run([ninja, "-C", build, "-t", "deps"], check=True, capture_output=True, text=True).stdout.splitlines()
        if line.startswith("    ")
    }
    if not any(file.endswith("kernels/device.cuh") for file in files):
        sys.exit(f"{build}: ninja knows no dependencies, so nothing was checked")
    local = sorted(file for file in files if file.startswith("/usr/local/"))
    if local:
        sys.exit("headers under /usr/local were read:\n" + "\n".join(local))
    print(f"{len(files)} files were read, none under /usr/local")


if __name__ == "__main__":
    main()
