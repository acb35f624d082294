/** Has this thread open its further sockets in another network namespace of `ip netns`. */
import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';

const CLONE_NEWNET = 0x40000000;
const setns = koffi.load(null).func('int setns(int fd, int type)') as (
  fd: number,
  type: number,
) => number;

/** Sockets that are open stay where they were opened. */
export function enterNamespace(name: string): void {
  const fd = openSync(`/run/netns/${name}`, 'r');
  try {
    if (setns(fd, CLONE_NEWNET) !== 0) throw new Error(`the namespace ${name} cannot be entered`);
  } finally {
    closeSync(fd);
  }
}
