"""Files written whole or not at all: what reads one sees the old one or the new one."""
import contextlib
import os
import secrets
import signal
import stat


def check_output(path, inputs):
    """OSError if the path is empty, or through links one of the inputs, or there is something that is no regular file."""
    if not os.fspath(path):
        raise FileNotFoundError(None, "a file's name is expected")
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
    write_all({path: text})


def write_all(texts):
    """write() of {path: text}: all are on the disk before the first is replaced."""
    with replacing(texts) as files:
        for file, text in zip(files, texts.values()):
            file.write(text.encode("utf-8"))


@contextlib.contextmanager
def replacing(paths):
    """Files open for writing bytes. At the end of the block they replace those that the paths lead to, all on the disk before the
    first does; on any error or interrupt nothing is left beside what was there. OSError if two paths lead to one file."""
    partials = {}  # partial: the file that it becomes
    try:
        with contextlib.ExitStack() as open_files:
            files = []
            for path in paths:
                path = os.path.realpath(os.fsencode(path))
                if path in partials.values():
                    raise OSError(None, f"two of the files are one, {os.fsdecode(path)!a}: links lead there")
                partial = path + b"." + secrets.token_hex(8).encode() + b".partial"
                partials[partial] = path
                files.append(open_files.enter_context(open(partial, "xb")))
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        with unstopped():
            for partial, path in partials.items():
                os.replace(partial, path)
    finally:
        for partial in partials:
            try:
                os.unlink(partial)
            except OSError:
                pass  # it is the file now, or was never made
    for name in {os.path.dirname(path) for path in partials.values()}:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the new name outlives a loss of power
        finally:
            os.close(folder)


@contextlib.contextmanager
def unstopped():
    """Whoever stops the program meanwhile stops it afterwards: between two files one would be new and the other old."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
