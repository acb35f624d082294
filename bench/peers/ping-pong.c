/*
 * The floor for a lone request over loopback TCP: two threads of control that poll their sockets
 * and do nothing else. 48 bytes there, 96 bytes back, as one 64-byte read of ours.
 * Each side has a core of its own where the machine has two, as ours and the peers have.
 * Prints the median round trip in microseconds, the processor time per round trip, and the mean.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double used(int who) {
  struct rusage u;
  getrusage(who, &u);
  return u.ru_utime.tv_sec * 1e6 + u.ru_utime.tv_usec + u.ru_stime.tv_sec * 1e6 + u.ru_stime.tv_usec;
}

static int by_size(const void *a, const void *b) {
  return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 100000, one = 1;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  char bytes[4096] = {0};
  if (bind(listener, (void *)&address, length) || listen(listener, 1)) return 1;
  getsockname(listener, (void *)&address, &length);
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(0);
    int peer = accept(listener, 0, 0), got = 0;
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (;;) {
      long n = recv(peer, bytes, sizeof bytes, MSG_DONTWAIT);
      if (n == 0) _exit(0);
      if (n > 0) got += n;
      if (got >= 48) {
        got -= 48;
        if (send(peer, bytes, 96, 0) != 96) _exit(1);
      }
    }
  }
  pin(1);
  int peer = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(peer, (void *)&address, length)) return 1;
  setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  double *took = malloc(rounds * sizeof *took), start = now();
  for (int i = 0; i < rounds; i++) {
    int got = 0;
    double before = now();
    if (send(peer, bytes, 48, 0) != 48) return 1;
    while (got < 96) {
      long n = recv(peer, bytes, sizeof bytes, MSG_DONTWAIT);
      if (n > 0) got += n;
    }
    took[i] = now() - before;
  }
  double wall = now() - start;
  close(peer);
  wait(0);
  qsort(took, rounds, sizeof *took, by_size);
  double cpu = (used(RUSAGE_SELF) + used(RUSAGE_CHILDREN)) / rounds;
  printf("%f %f %f\n", took[rounds / 2], cpu, wall / rounds);
  return 0;
}
