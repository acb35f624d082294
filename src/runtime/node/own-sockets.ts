/**
 * Where sockets stand that are for this user's processes alone: a folder that nobody else may enter
 * or replace, below what the system gives each user for that, else below the one for temporary
 * files, in which others can make anything, also what looks like ours.
 */

import { lstatSync, mkdirSync, readdirSync, type Stats, statSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SUFFIX = '.ring';
/** A younger socket that nobody serves may be one that is about to be served. */
const YOUNG_MS = 1_000;
const OTHERS_MAY_WRITE = 0o022;
const ONLY_OWNERS_REMOVE = 0o1000;

/** The path of the socket called `name`; undefined where there is no such folder to be had. */
export async function ownSocketPath(name: string): Promise<string | undefined> {
  for (const parent of [process.env['XDG_RUNTIME_DIR'] ?? '', tmpdir()]) {
    const folder = ownFolder(parent);
    if (folder === undefined) continue;
    await clear(folder);
    return join(folder, `${name}${SUFFIX}`);
  }
  return undefined;
}

/** Below `parent`; made if it is missing. Undefined unless it is this user's alone. */
export function ownFolder(parent: string): string | undefined {
  const user = process.getuid?.();
  if (user === undefined || !parent.startsWith('/')) return undefined;
  const folder = join(parent, `memrack-${user}`);
  try {
    if (!isSafeParent(statSync(parent), user)) return undefined;
    try {
      mkdirSync(folder, { mode: 0o700 });
    } catch {
      // It is there already, mostly; who made it is looked at now.
    }
    const facts = lstatSync(folder);
    const isOurs = facts.isDirectory() && facts.uid === user && (facts.mode & 0o077) === 0;
    return isOurs ? folder : undefined;
  } catch {
    return undefined;
  }
}

/** Whether nobody but the system and this user can put another folder in the place of ours. */
function isSafeParent(facts: Stats, user: number): boolean {
  if (!facts.isDirectory() || (facts.uid !== 0 && facts.uid !== user)) return false;
  return (facts.mode & OTHERS_MAY_WRITE) === 0 || (facts.mode & ONLY_OWNERS_REMOVE) !== 0;
}

/** Removes what processes that were killed have left. */
async function clear(folder: string): Promise<void> {
  const paths = readdirSync(folder).filter((name) => name.endsWith(SUFFIX));
  await Promise.all(
    paths.map(async (name) => {
      const path = join(folder, name);
      try {
        const before = lstatSync(path);
        const isOld = Date.now() - before.mtimeMs > YOUNG_MS;
        if (!isOld || !(await isAbandoned(path))) return;
        // Meanwhile its next owner may have begun to listen there.
        const after = lstatSync(path);
        if (after.ino === before.ino && after.mtimeMs === before.mtimeMs) unlinkSync(path);
      } catch {
        // Another process was quicker.
      }
    }),
  );
}

/** Whether the path is a socket at which nobody accepts, or nothing any more. */
export function isAbandoned(path: string): Promise<boolean> {
  const facts = lstatSync(path, { throwIfNoEntry: false });
  if (facts?.isSocket() !== true) return Promise.resolve(facts === undefined);
  return new Promise((resolve) => {
    const probe = net.connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}
