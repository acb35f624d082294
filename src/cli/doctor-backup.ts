/** `memrack doctor --verify FILE` of the file behind a block device. */

import { formatBytes } from '../base/units.js';
import { lockOf } from '../block/backup/backup-path.js';
import { HEADS_BYTES, isBackupHead } from '../block/backup/layout.js';
import { type BackupLook, verifyBackup } from '../block/backup/verify.js';
import { DiskError, type File } from '../runtime/disk.js';
import { MemoryError } from '../runtime/memory.js';
import type { Runtime } from '../runtime/runtime.js';
import { bad, type FileFindings, type Finding, good } from './finding.js';

/** Of a file in which more is damaged the first ones are named. */
const NAMED_MAX = 50;
const COPY = 'copy the device to a new one (nbdcopy): what memory nodes have is not lost';

/** Undefined: it is no such file, or cannot be opened. */
export async function examineBackup(
  runtime: Runtime,
  path: string,
): Promise<FileFindings | undefined> {
  let file: File;
  try {
    file = await runtime.disk.open(path, 'read');
  } catch (error) {
    if (error instanceof DiskError) return undefined;
    throw error;
  }
  try {
    const heads = new Uint8Array(HEADS_BYTES);
    await file.read(0, heads);
    if (!isBackupHead(heads)) return undefined;
    const served = await servedFinding(runtime, path);
    const { checksum, timers } = runtime;
    const look = await verifyBackup({ file, checksum, timers });
    const seen = typeof look === 'string' ? [bad('file', look, COPY)] : findingsOf(look);
    return { findings: [...seen.slice(0, 1), served, ...seen.slice(1)], isRefused: false };
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    return { findings: [bad('file', error.message, COPY)], isRefused: false };
  } finally {
    await file.close();
  }
}

/** The lock is let go at once: a host that begins meanwhile would serve without its file. */
async function servedFinding({ durables }: Runtime, path: string): Promise<Finding> {
  const check = 'host';
  const nobody = good(check, 'no host has it open');
  try {
    const lock = await durables.open(lockOf(path));
    const isFree = lock.lock(0, 'shared');
    lock.release();
    if (isFree) return nobody;
    return good(check, 'a host has it open, and writes to it: some areas are dirty then');
  } catch (error) {
    const isNone = error instanceof MemoryError;
    if (isNone || (error instanceof DiskError && error.kind === 'not-found')) return nobody;
    if (!(error instanceof DiskError)) throw error;
    const remedy = 'run it as the user of the host';
    return { check, state: 'warning', found: `it cannot be seen: ${error.message}`, remedy };
  }
}

function findingsOf(look: BackupLook): Finding[] {
  const { facts, fileBytes, slabs, areas, damage } = look;
  const sizes = `${formatBytes(fileBytes)} long, ${slabs} slabs of ${formatBytes(facts.slabBytes)}`;
  const { CLEAN, DIRTY, LOST, ABSENT } = areas;
  const findings = [
    good('file', `backup of the device with the number ${facts.device}, ${sizes}`),
    headFinding(look),
    good('areas', `${CLEAN} clean, ${DIRTY} dirty, ${LOST} lost, ${ABSENT} never written`),
  ];
  if (LOST > 0) findings.push(lostFinding(LOST));
  for (const { slab, area, what } of damage.slice(0, NAMED_MAX)) {
    const where = area === undefined ? `slab ${slab}` : `slab ${slab}, area ${area}`;
    findings.push(bad('damage', `${where}: ${what}`, COPY));
  }
  const more = damage.length - NAMED_MAX;
  if (more > 0) findings.push(bad('damage', `and ${more} more`, COPY));
  if (damage.length === 0) findings.push(good('blocks', 'all that is clean is as it was'));
  return findings;
}

function headFinding({ wholeHeads }: BackupLook): Finding {
  if (wholeHeads === 2) return good('heads', 'both are whole');
  return bad('heads', 'one of the two is damaged; a host goes by the other one', COPY);
}

function lostFinding(areas: number): Finding {
  const found = `${areas} areas are gone: all memory that had them was lost`;
  const remedy = 'reads and writes of them fail (EIO): copy the rest to a new device';
  return { check: 'lost', state: 'warning', found, remedy };
}
