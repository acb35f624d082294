/** `memrack doctor --verify FILE` of a persistent memory: whether its file can be believed. */

import { SERVED_PART } from '../disk/durable-layout.js';
import { readStoredTable, type StoredTable } from '../disk/durable-table.js';
import { recover, verify } from '../disk/table-changes.js';
import { TableFile } from '../disk/table-file.js';
import { formatBytes } from '../base/units.js';
import { mappingOf } from '../memory-node/durable/file.js';
import { DiskError } from '../runtime/disk.js';
import type { DurableFile } from '../runtime/durable.js';
import type { Runtime } from '../runtime/runtime.js';
import { bad, type FileFindings, type Finding, good } from './finding.js';

const RESTORE = 'restore the file from a copy that was made when its node had ended in order';

export async function examineFile(runtime: Runtime, path: string): Promise<FileFindings> {
  let file: DurableFile;
  try {
    file = await runtime.durables.open(path);
  } catch (error) {
    const isDamaged = !(error instanceof DiskError);
    const remedy = isDamaged ? RESTORE : 'name the file of a node, on a disk that is mounted';
    return { findings: [bad('file', (error as Error).message, remedy)], isRefused: !isDamaged };
  }
  try {
    if (!file.lock(SERVED_PART, 'shared')) {
      const remedy = 'end its memory node first: what it says changes all the time';
      return { findings: [bad('file', 'it is being served', remedy)], isRefused: true };
    }
    return { findings: findingsOf(runtime, file), isRefused: false };
  } finally {
    file.release();
  }
}

function findingsOf(runtime: Runtime, file: DurableFile): Finding[] {
  const show = (offset: number, bytes: number) => file.map(offset, bytes);
  const stored = readStoredTable(show, file.bytes, runtime.checksum);
  if (typeof stored === 'string') return [bad('file', stored, RESTORE)];
  const { sizes, checkpoint, batches } = stored;
  const frames = `${formatBytes(sizes.frameBytes)} of frames`;
  return [
    good('file', `${frames}, checkpoint ${checkpoint.generation}, ${batches} batches behind it`),
    ...tableFindings(stored),
    closedFinding(file, stored),
  ];
}

function tableFindings({ table }: StoredTable): Finding[] {
  const opened = TableFile.open(mappingOf(table));
  if (typeof opened === 'string') return [bad('table', opened, RESTORE)];
  // What a process does first with a change that was under way.
  const reason = recover(opened);
  if (reason !== undefined) return [bad('table', reason, RESTORE)];
  const used = verify(opened);
  if (typeof used === 'string') return [bad('table', used, RESTORE)];
  const { nodeId, pageBytes } = opened.facts;
  const mapped = used.reduce((sum, one) => sum + one, 0);
  const memory = `${formatBytes(mapped * pageBytes)} in ${opened.regions.size} regions`;
  return [good('table', `memory of ${nodeId}: ${memory}, incarnation ${opened.incarnation}`)];
}

function closedFinding({ inode }: DurableFile, { checkpoint }: StoredTable): Finding {
  const check = 'end';
  if (checkpoint.isClosed) return good(check, 'its node ended in order');
  if (checkpoint.inode === inode || checkpoint.inode === 0) {
    return good(check, 'its node did not end in order: what was flushed is there');
  }
  const found = 'it is a copy of a file that was being served: some of it may be older';
  const remedy = 'serve the original; if that is gone, say so by memory-node --trust-copy';
  return { check, state: 'warning', found, remedy };
}
