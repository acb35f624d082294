/** fio against an NBD export: one turn of some seconds, with the processor time of the servers. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { cpuMicroseconds, pinned, type Side, type Turn } from '../harness.js';

const run = promisify(execFile);
const OUTPUT_MAX = 1 << 24;

export interface FioLoad {
  readonly rw: 'randread' | 'randwrite' | 'read' | 'write';
  readonly blockKiB: number;
  readonly depth: number;
  /** Connections to the device, each with this depth. */
  readonly connections: number;
}

export interface NbdPeer {
  readonly name: string;
  readonly uri: string;
  /** Of all processes that serve it. */
  readonly pids: readonly number[];
}

interface FioEnd {
  readonly total_ios: number;
  readonly iops: number;
  readonly bw_bytes: number;
  readonly lat_ns: { readonly mean: number };
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

interface FioReport {
  readonly jobs: readonly [
    {
      readonly read: FioEnd;
      readonly write: FioEnd;
      /** Per cent of one processor. */
      readonly usr_cpu: number;
      readonly sys_cpu: number;
    },
  ];
}

export type FioFigure = 'latency us' | 'bytes/s' | 'operations/s';

export function fioSide(peer: NbdPeer, load: FioLoad, figure: FioFigure, seconds: number): Side {
  return { name: `${peer.name}, ${nameOf(load)}`, turn: () => turn(peer, load, figure, seconds) };
}

function nameOf({ rw, blockKiB, depth, connections }: FioLoad): string {
  const many = connections === 1 ? '' : `, ${connections} connections`;
  return `${rw} ${blockKiB} KiB, depth ${depth}${many}`;
}

async function turn(
  { uri, pids }: NbdPeer,
  { rw, blockKiB, depth, connections }: FioLoad,
  figure: FioFigure,
  seconds: number,
): Promise<Turn> {
  const [program, args] = pinned(1, [
    ...['fio', '--name=bench', '--ioengine=nbd', `--uri=${uri}`, `--rw=${rw}`],
    ...[`--bs=${blockKiB}k`, `--iodepth=${depth}`, `--numjobs=${connections}`, '--size=100%'],
    ...['--group_reporting', '--randrepeat=1', '--norandommap=1', '--time_based'],
    ...[`--runtime=${seconds}`, '--output-format=json'],
  ]);
  const served = (): number => pids.reduce((sum, pid) => sum + cpuMicroseconds(pid), 0);
  const before = served();
  const { stdout } = await run(program, args, { maxBuffer: OUTPUT_MAX });
  const used = served() - before;
  const [job] = (JSON.parse(stdout.slice(stdout.indexOf('{'))) as FioReport).jobs;
  const end = rw.endsWith('read') ? job.read : job.write;
  const own = ((job.usr_cpu + job.sys_cpu) / 100) * seconds * 1e6 * connections;
  const values: Record<FioFigure, number> = {
    'latency us': end.lat_ns.mean / 1000,
    'bytes/s': end.bw_bytes,
    'operations/s': end.iops,
  };
  const p99 = (end.clat_ns.percentile?.['99.000000'] ?? Number.NaN) / 1000;
  const cpuPerOperation = (used + own) / end.total_ios;
  return { value: values[figure], cpuPerOperation, extra: { 'p99 us': p99 } };
}
