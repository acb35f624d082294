# Fills so many MiB from a seed, changes pages of it in a fixed disorder, and prints what is in it.
import hashlib
import sys

PAGE = 4096
pages = int(sys.argv[1]) * 256
rounds = int(sys.argv[2])
seed = int(sys.argv[3])
memory = bytearray(pages * PAGE)
for page in range(pages):
    memory[page * PAGE : page * PAGE + 16] = hashlib.md5(b"%d.%d" % (seed, page)).digest()
state = seed
for _ in range(rounds * pages):
    state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
    at = (state >> 33) % pages * PAGE
    memory[at : at + 8] = ((int.from_bytes(memory[at : at + 8], "little") + state) % 2**64).to_bytes(8, "little")
print(hashlib.sha256(memory).hexdigest())
