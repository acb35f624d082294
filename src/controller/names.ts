/** What spaces, nodes and hosts may be called, and what a file's key may be. */
import { Status } from '../base/status.js';
import type { Metadata } from './metadata/metadata.js';
import type { SpaceRow } from './metadata/schema.js';
import { refuse, type Refusal } from './refusal.js';

export const NAME_CHARACTERS_MAX = 100;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]*$/;

/** Undefined when the name may be used. `what` begins the sentence: "space name". */
export function refuseName(what: string, name: string): Refusal | undefined {
  if (name.length > 0 && name.length <= NAME_CHARACTERS_MAX && NAME.test(name)) return undefined;
  return refuse(
    Status.Invalid,
    `${what} ${quote(name)} cannot be used: 1 to ${NAME_CHARACTERS_MAX} letters, digits, ` +
      `'.', '_', ':' or '-', the first one a letter or digit`,
  );
}

/** For messages: what came from outside is cut, and control characters are made visible. */
export function quote(text: string): string {
  return JSON.stringify(text.length > NAME_CHARACTERS_MAX ? `${text.slice(0, 80)}...` : text);
}

/** Programs neither open nor remove a space of this name. */
export const SLAB_SPACE_NAME = 'memrack-slabs';

/** Undefined: it was not needed yet. */
export function slabSpaceOf({
  spaceIds,
  spaces,
}: Pick<Metadata, 'spaceIds' | 'spaces'>): SpaceRow | undefined {
  const id = spaceIds.get(SLAB_SPACE_NAME);
  return id === undefined ? undefined : spaces.get(id);
}
