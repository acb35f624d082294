/** Opens the controller's metadata and begins another life of the controller on it. */
import type { Clock } from '../../runtime/clock.js';
import type { Databases } from '../../runtime/database.js';
import type { Entropy } from '../../runtime/runtime.js';
import { CONNECTIONS_PER_LIFE, FIRST_EPOCH_END, FIRST_SPACE_ID_END, LIVES_MAX } from '../limits.js';
import { eventOf } from './history.js';
import { Metadata, type MetadataChange } from './metadata.js';
import type { CounterName } from './schema.js';

/**
 * What the controller is towards nodes. It is the same client in all its lives, and its connections
 * are numbered through: so its first connection to a node ends what an earlier life may still have
 * under way there, before anything new is executed.
 */
export interface Identity {
  readonly clientId: number;
  readonly connectionsBefore: number;
}

export interface OpenOptions {
  readonly databases: Databases;
  readonly entropy: Entropy;
  /** Undefined: metadata is lost when the controller ends. */
  readonly folder: string | undefined;
  readonly clock: Pick<Clock, 'wall'>;
  /** A commit failed: ends the process. What is stored is known after a restart. */
  readonly failed: (reason: unknown) => void;
}

/** Rejects (`DiskError`) when the database cannot be opened or read. */
export async function openMetadata(
  options: OpenOptions,
): Promise<{ metadata: Metadata; identity: Identity }> {
  const { entropy } = options;
  const metadata = await Metadata.open(options.databases, {
    folder: options.folder,
    firstNumbers: firstNumbers(entropy),
    clock: options.clock,
    instance: entropy.u32(),
    failed: options.failed,
  });
  const changes = [...nextLife(metadata, entropy), ...goneSince(metadata)];
  await metadata.commit(changes, { events: [started(metadata)] });
  const connectionsBefore = metadata.next('life') * CONNECTIONS_PER_LIFE;
  return { metadata, identity: { clientId: metadata.next('client'), connectionsBefore } };
}

/**
 * An empty database may be the successor of one that was lost, while nodes still hold regions of
 * its spaces: numbers that begin anywhere hardly ever meet theirs.
 */
function firstNumbers(entropy: Entropy): Record<CounterName, number> {
  return {
    space: 1 + (entropy.u32() % (FIRST_SPACE_ID_END - 1)),
    epoch: 1 + (entropy.u32() % (FIRST_EPOCH_END - 1)),
    client: entropy.u53(),
    life: 0,
    leaseEpoch: 1,
    commit: 0,
    restoring: 0,
    restores: 0,
    event: 1,
  };
}

function started(metadata: Metadata) {
  const isEmpty = metadata.next('life') === 0;
  return eventOf('controller-started', {}, isEmpty ? { database: 'empty' } : {});
}

/** What is remembered of regions that there are no more. */
function goneSince(metadata: Metadata): MetadataChange[] {
  const gone = [...metadata.kept.values()].filter(({ space, region, epoch }) => {
    return metadata.regionsOf(space).get(region)?.epoch !== epoch;
  });
  return gone.map((row) => ({ table: 'kept', remove: row }) as const);
}

function nextLife(metadata: Metadata, entropy: Entropy): MetadataChange[] {
  const isLast = metadata.next('life') >= LIVES_MAX;
  const client = isLast ? entropy.u53() : metadata.next('client');
  const life = isLast ? 1 : metadata.next('life') + 1;
  const { instance } = metadata;
  const [space, epoch] = [metadata.next('space'), metadata.next('epoch')];
  return [
    { table: 'counters', put: { name: 'client', next: client } },
    { table: 'counters', put: { name: 'life', next: life } },
    // Where nothing was given out yet the next life would begin anywhere else: marks only rise.
    { table: 'counters', put: { name: 'space', next: space } },
    { table: 'counters', put: { name: 'epoch', next: epoch } },
    { table: 'starts', put: { commit: metadata.next('commit') + 1, instance } },
  ];
}
