/* Fills so many MiB, then reads and changes a word of every page, in order or not, so many times.
 * Prints the microseconds that a page took. Arguments: MiB, rounds, "in-order" or "random". */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE 4096

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const uint64_t pages = strtoull(argv[1], 0, 10) * 256;
  const uint64_t rounds = strtoull(argv[2], 0, 10);
  const int is_random = strcmp(argv[3], "random") == 0;
  char *memory = malloc(pages * PAGE);
  if (memory == 0) return 1;
  uint64_t state = 88172645463325252ull;
  for (uint64_t i = 0; i < pages * PAGE / 8; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    ((uint64_t *)memory)[i] = state;
  }
  for (uint64_t i = 0; i < pages; i++) *(uint64_t *)(memory + i * PAGE) = i;
  const double began = now();
  for (uint64_t i = 0; i < rounds * pages; i++) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    const uint64_t page = is_random ? (state >> 33) % pages : i % pages;
    uint64_t *word = (uint64_t *)(memory + page * PAGE);
    if (*word % pages != page) return 3;
    *word += pages;
  }
  printf("%.3f\n", (now() - began) / (rounds * pages));
  return 0;
}
