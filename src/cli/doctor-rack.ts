/** `memrack doctor` with a rack: asks for its nodes and measures the way to each. */

import type { Member } from '../apps/library.js';
import { Progress } from '../apps/terminal.js';
import { RACK_URL_DEFAULT } from '../client/options.js';
import type { Runtime } from '../runtime/runtime.js';
import { configurationOf, rackUrl, type SharedFlags } from './context.js';
import type { Finding } from './finding.js';
import { findingsOf, notOffered, notServing, rackUnreachable, unusable } from './doctor-network.js';
import { untilAsked } from './signals.js';

/** One in a hundred is told from none with some certainty. */
const PINGS = 400;

/** Whether somebody has named a rack: the default address alone is no wish. */
export function isRackNamed(flags: SharedFlags): boolean {
  const fromEnvironment = process.env['MEMRACK_URL'] ?? '';
  const isElsewhere = configurationOf(flags).rack !== RACK_URL_DEFAULT;
  return flags.rack !== undefined || fromEnvironment !== '' || isElsewhere;
}

/** `isReached` is false when no controller answers. */
export async function examineNetwork(
  flags: SharedFlags,
): Promise<{ readonly findings: readonly Finding[]; readonly isReached: boolean }> {
  const url = rackUrl(flags);
  const asked = untilAsked();
  const members = await membersOf(url, flags);
  if (typeof members === 'string') {
    return { findings: [rackUnreachable(url, members)], isReached: false };
  }
  const { appRuntime } = await import('../apps/app-runtime.js');
  const runtime = appRuntime('doctor');
  const nodes = members.filter(({ kind }) => kind === 'memory-node');
  const progress = new Progress(process.stderr, 'datagrams', nodes.length * PINGS, String);
  const findings: Finding[] = [];
  for (const node of nodes) {
    const step = (): void => {
      asked.throwIfAborted();
      progress.add(1);
    };
    findings.push(...(await examineNode(runtime, node, step)));
  }
  progress.end();
  // The one of this machine is the same for all nodes.
  const own = findings.findIndex(({ check }) => check === OWN_BUFFER);
  const isKept = ({ check }: Finding, i: number): boolean => check !== OWN_BUFFER || i === own;
  return { findings: findings.filter(isKept), isReached: true };
}

const OWN_BUFFER = 'receive buffer here';

/** A text says why there is no answer. */
async function membersOf(url: string, flags: SharedFlags): Promise<Member[] | string> {
  const { connect } = await import('../apps/library.js');
  const { timeoutMs } = configurationOf(flags);
  try {
    const rack = await connect(url, { timeoutMs, poll: false, link: 'tcp' });
    try {
      return await rack.nodes();
    } finally {
      await rack.close();
    }
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string };
    if (code !== 'Unavailable' && code !== 'Timeout') throw error;
    return message;
  }
}

async function examineNode(
  runtime: Runtime,
  node: Member,
  progress: () => void,
): Promise<Finding[]> {
  if (node.state !== 'serving') return [notServing(node)];
  if (!node.address.startsWith('tcp:')) return [notOffered(node)];
  const { Prober } = await import('../fabric/datagram/prober.js');
  const { examinePath } = await import('../client/ping/path.js');
  const address = node.address.replace('tcp:', 'udp:');
  const client = runtime.entropy.u53();
  try {
    const prober = await Prober.open({ runtime, address, client });
    try {
      const report = await examinePath({ timers: runtime.timers, prober, pings: PINGS, progress });
      return findingsOf(node, report, prober.receiveBytes);
    } finally {
      prober.close();
    }
  } catch (error) {
    const { name, message } = error as { readonly name: string; readonly message: string };
    if (name !== 'NetworkError') throw error;
    return [unusable(node, message)];
  }
}
