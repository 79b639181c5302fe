"""A file written whole or not at all: what reads it sees the old one or the new one."""
import os
import secrets
import stat


def check_output(path, inputs):
    """OSError if the path, through links, is one of the inputs or there is something that is no regular file."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(None, "it is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "it is no regular file")
    if any(os.path.samestat(status, os.stat(name)) for name in inputs):
        raise OSError(None, "it is one of the files that were read")


def write(path, text):
    """Replaces the file that the path leads to. On any error or interrupt nothing is left beside what was there."""
    content = text.encode("utf-8")
    path = os.path.realpath(os.fsencode(path))
    partial = path + b"." + secrets.token_hex(8).encode() + b".partial"
    try:
        with open(partial, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        try:
            os.unlink(partial)
        except OSError:
            pass  # it is the file now, or was never made
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the new name outlives a loss of power
    finally:
        os.close(folder)
