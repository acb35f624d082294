/**
 * What a process is called in datagrams: the lower half of the random number by which hellos over
 * streams name it, so that a client knows whether both are the same process.
 */
export function incarnationOf(instance: number): number {
  return instance >>> 0 || 1;
}
