"""Several processes read and write one file in every way that there is, and compare with a model.

    file-exerciser.py FILE SEED PROCESSES STEPS [--no-map]

The file keeps its size. Each step takes the locks of the stripes that it touches, so that the model,
which all processes share, says what must be there. Prints how often each way was taken; exits with
1 and says where, when a byte is not what it must be.
"""

import fcntl
import mmap
import os
import random
import sys
import tempfile

STRIPE = 64 * 1024
BLOCK = 4096
LONGEST = 200 * 1024


class Wrong(Exception):
    pass


class Exerciser:
    def __init__(self, path, seed, model, locks, may_map):
        self.path, self.model, self.locks = path, model, locks
        self.random = random.Random(seed)
        self.file = os.open(path, os.O_RDWR)
        self.direct = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.size = os.fstat(self.file).st_size
        self.map = mmap.mmap(self.file, self.size) if may_map else None
        self.aligned = mmap.mmap(-1, LONGEST + BLOCK)
        self.counts = {}
        self.ways = [self.read, self.read, self.write, self.write, self.read_direct,
                     self.write_direct, self.sync, self.truncate, self.append, self.vectors]
        if may_map:
            self.ways += [self.read_map, self.read_map, self.write_map, self.write_map]

    def range(self, unit=1):
        length = self.random.choice([1, 7, 512, 4096, 5000, 65536, LONGEST])
        length = max(unit, self.random.randrange(1, length + 1) // unit * unit)
        at = self.random.randrange(0, self.size - length + 1) // unit * unit
        return at, length

    def step(self):
        way = self.random.choice(self.ways)
        self.counts[way.__name__] = self.counts.get(way.__name__, 0) + 1
        unit = 512 if way in (self.read_direct, self.write_direct) else 1
        at, length = self.range(unit)
        first, last = at // STRIPE, (at + length - 1) // STRIPE
        fcntl.lockf(self.locks, fcntl.LOCK_EX, last - first + 1, first)
        try:
            way(at, length)
        finally:
            fcntl.lockf(self.locks, fcntl.LOCK_UN, last - first + 1, first)

    def compare(self, what, at, seen, length):
        meant = self.model[at:at + length]
        if seen == meant:
            return
        where = next((i for i in range(min(len(seen), length)) if seen[i] != meant[i]), len(seen))
        raise Wrong(f"{what} of {length} bytes at {at} gave {len(seen)}: byte {at + where} differs")

    def fresh(self, at, length):
        """What is to be written there; the model has it."""
        data = self.random.randbytes(length) if self.random.random() < 0.8 else bytes(length)
        self.model[at:at + length] = data
        return data

    def read(self, at, length):
        self.compare("a read", at, os.pread(self.file, length, at), length)

    def write(self, at, length):
        data = self.fresh(at, length)
        done = os.pwrite(self.file, data, at)
        if done != length:
            raise Wrong(f"a write of {length} bytes at {at} took {done}")

    def vectors(self, at, length):
        data = self.fresh(at, length)
        cut = self.random.randrange(0, length + 1)
        if os.pwritev(self.file, [data[:cut], data[cut:]], at) != length:
            raise Wrong(f"a write of two parts of {length} bytes at {at} was short")

    def read_direct(self, at, length):
        view = memoryview(self.aligned)[:length]
        done = os.preadv(self.direct, [view], at)
        self.compare("a direct read", at, bytes(view[:done]), length)

    def write_direct(self, at, length):
        view = memoryview(self.aligned)[:length]
        view[:] = self.fresh(at, length)
        if os.pwritev(self.direct, [view], at) != length:
            raise Wrong(f"a direct write of {length} bytes at {at} was short")

    def read_map(self, at, length):
        self.compare("a look at the map", at, self.map[at:at + length], length)

    def write_map(self, at, length):
        self.map[at:at + length] = self.fresh(at, length)
        if self.random.random() < 0.3:
            begin = at // BLOCK * BLOCK
            self.map.flush(begin, at + length - begin)

    def sync(self, _at, _length):
        os.fsync(self.file)

    def truncate(self, at, _length):
        try:
            os.ftruncate(self.file, at)
        except PermissionError:
            return
        raise Wrong(f"the file was cut to {at} bytes")

    def append(self, _at, length):
        try:
            os.pwrite(self.file, bytes(length), self.size)
        except OSError:
            return
        raise Wrong("something was written beyond the end")


def work(path, seed, steps, model, locks, may_map):
    one = Exerciser(path, seed, model, os.open(locks, os.O_RDWR), may_map)
    try:
        for _ in range(steps):
            one.step()
    except Exception as wrong:  # Of whatever kind: the parent's files are not to be closed here.
        print(f"seed {seed}: {type(wrong).__name__}: {wrong}", flush=True)
        return 1
    told = ", ".join(f"{way} {count}" for way, count in sorted(one.counts.items()))
    print(f"seed {seed}: {told}", flush=True)
    return 0


def main():
    path, seed, processes, steps = sys.argv[1], *map(int, sys.argv[2:5])
    may_map = "--no-map" not in sys.argv
    size = os.stat(path).st_size
    model = mmap.mmap(-1, size)
    with open(path, "rb") as file:
        model[:] = file.read()
    with tempfile.NamedTemporaryFile(prefix="memrack-exerciser-") as locks:
        children = []
        for number in range(processes):
            child = os.fork()
            if child == 0:
                os._exit(work(path, seed + number, steps, model, locks.name, may_map))
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    with open(path, "rb") as file:
        if file.read() != model[:]:
            print("in the end the file is not what was written", flush=True)
            codes.append(1)
    sys.exit(1 if any(codes) else 0)


main()
