/** What the controller tells people: status with findings, members, spaces. */
import { formatBytes } from '../base/units.js';
import type {
  DeviceFacts,
  DrainFacts,
  MemberFacts,
  MoveFacts,
  RackStatus,
  SpaceFacts,
} from './api.js';
import type { Controller } from './controller.js';
import { byNeed, deviceFacts, deviceFindings, devicesIn } from './device-facts.js';
import { finding, type Finding } from './findings.js';
import {
  DEVICES_SHOWN_MAX,
  GARBAGE_SHOWN_MS,
  MOVE_STUCK_MS,
  MOVES_SHOWN_MAX,
  NEARLY_FULL_SHARE,
} from './limits.js';
import type { Member } from './member.js';
import type { SpaceRow } from './metadata/schema.js';
import { SLAB_SPACE_NAME } from './names.js';

/** So that a status fits into one message; the rest is counted. */
const FINDINGS_MAX = 100;
/** In one finding. */
const DEVICES_NAMED_MAX = 3;

/** What the report needs to know beyond the controller's state. */
export interface ReportContext {
  readonly nowMs: number;
  /** The clock on the wall. */
  readonly wallMs: number;
  /** Where the controller listens. */
  readonly address: string;
  readonly isDurable: boolean;
}

export function rackStatus(controller: Controller, context: ReportContext): RackStatus {
  const { membership, metadata, hosts } = controller;
  const members = [...membership.members.values()];
  const states = members.map((member) => membership.state(member));
  const count = (state: string): number => states.filter((other) => other === state).length;
  const devices = deviceFacts(controller);
  const findings = findingsOf(controller, context, devices);
  const moves = moveFacts(controller, context.nowMs);
  const isDown = count('serving') === 0;
  const hasError = findings.some(({ severity }) => severity === 'error');
  const sum = (of: (member: Member) => number): number =>
    members.reduce((total, member, i) => total + (states[i] === 'ended' ? 0 : of(member)), 0);
  return {
    state: isDown ? 'down' : hasError ? 'degraded' : 'serving',
    findings: findings.slice(0, FINDINGS_MAX),
    findingsOmitted: Math.max(findings.length - FINDINGS_MAX, 0),
    nodes: { serving: count('serving'), away: count('away'), ended: count('ended') },
    hosts: hosts.list().length,
    drains: controller.drains.list().map(({ node, state }) => ({ node, state })),
    moves: moves.slice(0, MOVES_SHOWN_MAX),
    movesOmitted: Math.max(moves.length - MOVES_SHOWN_MAX, 0),
    spaces: controller.spaces.list().filter(({ state }) => state === 'active').length,
    regions: regionCounts(controller),
    files: metadata.files.size,
    leases: controller.leases.known,
    devices: byNeed(devices).slice(0, DEVICES_SHOWN_MAX),
    devicesOmitted: Math.max(devices.length - DEVICES_SHOWN_MAX, 0),
    bytesLent: sum((member) => member.bytesLent),
    bytesUsed: sum((member) => member.bytesUsed),
    bytesCommitted: sum((member) => member.bytesCommitted),
    uptimeMs: Math.round(context.nowMs - controller.startedMs),
  };
}

function regionCounts({ metadata }: Controller): { granted: number; lost: number } {
  let granted = 0;
  let lost = 0;
  for (const regions of metadata.regions.values()) {
    for (const row of regions.values()) {
      if (row.state === 'lost') lost++;
      else granted++;
    }
  }
  return { granted, lost };
}

/** The worst first. */
function findingsOf(
  controller: Controller,
  context: ReportContext,
  devices: readonly DeviceFacts[],
): Finding[] {
  const { membership } = controller;
  const findings: Finding[] = [];
  if (membership.serving().length === 0) {
    const known = membership.members.size;
    const message = known === 0 ? 'no memory node has joined' : `none of ${known} nodes is serving`;
    findings.push(finding('NO_NODES', 'rack', message));
  }
  for (const member of membership.members.values()) {
    findings.push(...memberFindings(controller, member, context.nowMs, devices));
  }
  findings.push(...controller.drains.list().map(drainFinding));
  for (const { id, message } of membership.recentRefusals()) {
    findings.push(finding('NODE_REFUSED', id, message));
  }
  findings.push(...stuckMoves(controller, context.nowMs));
  for (const space of controller.spaces.list()) {
    // What is lost of slabs has other copies, or is their device's.
    if (space.name !== SLAB_SPACE_NAME) findings.push(...spaceFindings(controller, space));
  }
  findings.push(...deviceFindings(devices));
  findings.push(...garbageFindings(controller, context.wallMs), ...leaseFindings(controller));
  for (const host of controller.hosts.list()) {
    if (host.state === 'away') {
      findings.push(finding('HOST_AWAY', host.id, `host at ${host.address} is silent`));
    }
  }
  findings.push(...restorationFindings(controller), ...ownFindings(context));
  const order = ['error', 'warning', 'info'];
  return findings.sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
}

function memberFindings(
  controller: Controller,
  member: Member,
  nowMs: number,
  devices: readonly DeviceFacts[],
): Finding[] {
  const findings: Finding[] = [];
  const { id, address, machine } = member.row;
  const state = controller.membership.state(member);
  const owned = controller.metadata.regionsOfNode(id);
  if (state === 'away') {
    const silent = member.isJoined
      ? `silent for ${Math.round((nowMs - member.seenMs) / 1000)} s`
      : 'not heard of since the controller started';
    const message = `${address} on ${machine} is ${silent}; it holds ${owned.size} regions`;
    findings.push(finding('NODE_AWAY', id, message));
  }
  if (state === 'serving') {
    const there = (): DeviceFacts[] => devicesIn(controller, owned.values(), devices);
    findings.push(...donorFindings(member, there));
  }
  const isWhole = member.bytesLent >= member.row.bytesLent;
  const isFull = member.bytesUsed >= member.bytesLent * NEARLY_FULL_SHARE;
  if (state === 'serving' && isWhole && isFull) {
    const message = `${formatBytes(member.bytesUsed)} of ${formatBytes(member.bytesLent)} are used`;
    findings.push(finding('NODE_NEARLY_FULL', id, message));
  }
  const disk = controller.metadata.disks.get(id);
  if (disk !== undefined && disk.fileSystem !== '') {
    const message = `its memory is a file on ${disk.fileSystem}, which may lose what was flushed`;
    findings.push(finding('FILE_SYSTEM_UNPROVEN', id, message));
  }
  const unknown = member.unknown.filter(({ space }) => controller.metadata.spaces.has(space));
  if (unknown.length > 0) {
    const [first] = unknown;
    const message =
      `holds ${unknown.length} regions that the metadata does not know, for example ` +
      `region ${first?.region} of space ${first?.space}; they are kept and not granted to anybody`;
    findings.push(finding('REGION_UNKNOWN', id, message));
  }
  const granted = [...owned.values()].filter((row) => row.state === 'granted').length;
  if (state === 'serving' && member.confirmed.size < granted) {
    const message = `${granted - member.confirmed.size} regions granted to it are not confirmed`;
    findings.push(finding('REGION_NOT_CONFIRMED', id, message));
  }
  return findings;
}

/** Copies of slabs go by the hands of those that serve the devices. */
function copiesThere(devices: readonly DeviceFacts[]): string {
  if (devices.length === 0) return '';
  const names = devices.slice(0, DEVICES_NAMED_MAX).map(({ name, state }) => {
    return state === 'served' ? name : `${name} (which no host serves)`;
  });
  const more = devices.length > names.length ? ` and ${devices.length - names.length} more` : '';
  return `; hosts are to take copies elsewhere of ${names.join(', ')}${more}`;
}

/** Of a node that lends less than it could, because its machine needs its memory. */
function donorFindings(member: Member, devicesThere: () => DeviceFacts[]): Finding[] {
  const { bytesLent, bytesToGive, isUnmeasured, row } = member;
  const findings: Finding[] = [];
  if (bytesToGive > 0) {
    const message =
      `${formatBytes(bytesToGive)} of used memory have to move away: it lends ` +
      `${formatBytes(bytesLent)} now, because its machine is short of memory` +
      copiesThere(devicesThere());
    findings.push(finding('NODE_GIVES_BACK', row.id, message));
  } else if (bytesLent < row.bytesLent) {
    const message =
      `lends ${formatBytes(bytesLent)} of ${formatBytes(row.bytesLent)} now, because its machine ` +
      'is short of memory';
    findings.push(finding('NODE_LENDS_LESS', row.id, message));
  }
  if (isUnmeasured) {
    const message = 'does not know how much memory its machine, or its control group, has left';
    findings.push(finding('NODE_NOT_MEASURED', row.id, message));
  }
  return findings;
}

/** The oldest first. */
export function moveFacts({ moves, metadata }: Controller, nowMs: number): MoveFacts[] {
  return moves.underWay().map(({ row, sinceMs }) => {
    const { space, region, fromNode: from, toNode: to } = row;
    const name = metadata.spaces.get(space)?.name ?? String(space);
    return { space: name, region, from, to, ms: Math.max(0, Math.round(nowMs - sinceMs)) };
  });
}

function stuckMoves(controller: Controller, nowMs: number): Finding[] {
  const { membership } = controller;
  const stuck = moveFacts(controller, nowMs).filter(({ ms }) => ms >= MOVE_STUCK_MS);
  return stuck.map(({ space, region, from, to, ms }) => {
    const away = [from, to].filter((id) => {
      const member = membership.members.get(id);
      return member === undefined || membership.state(member) !== 'serving';
    });
    const why = away.length === 0 ? 'both nodes are there' : `${away.join(', ')} is away`;
    const message = `is on its way from ${from} to ${to} for ${Math.round(ms / 1000)} s; ${why}`;
    return finding('MOVE_STUCK', `${space}/${region}`, message);
  });
}

function drainFinding({ node, state, regionsLeft, waits }: DrainFacts): Finding {
  if (state === 'drained') return finding('NODE_DRAINED', node, 'holds nothing any more');
  if (state === 'ended') {
    const message = 'its memory was gone before everything had moved away';
    return finding('NODE_DRAIN_ENDED', node, message);
  }
  const left = `${regionsLeft} regions are left`;
  const [first] = waits;
  if (first === undefined) return finding('NODE_DRAINING', node, left);
  const more = waits.length > 1 ? `; ${waits.length - 1} others wait, too` : '';
  const message = `${left}; ${first.what}: ${first.reason} (${first.remedy})${more}`;
  return finding('NODE_DRAIN_WAITS', node, message);
}

function spaceFindings({ metadata }: Controller, space: SpaceRow): Finding[] {
  const rows = [...metadata.regionsOf(space.id).values()];
  if (space.state === 'removing') {
    const nodes = [...new Set(rows.map((row) => row.node))].join(', ');
    const message = `is removed, but not yet told to: ${nodes === '' ? 'none left' : nodes}`;
    return [finding('SPACE_REMOVAL_PENDING', space.name, message)];
  }
  const lost = rows.filter((row) => row.state === 'lost');
  if (lost.length === 0) return [];
  const nodes = [...new Set(lost.map((row) => row.node))].join(', ');
  const message =
    `${lost.length} of ${rows.length} regions are gone with the memory of ${nodes}: reads and ` +
    'writes there answer DataLost';
  return [finding('DATA_LOST', space.name, message)];
}

function garbageFindings({ metadata }: Controller, wallMs: number): Finding[] {
  const old = [...metadata.garbage.values()].filter(
    ({ sinceMs }) => wallMs - sinceMs >= GARBAGE_SHOWN_MS,
  );
  if (old.length === 0) return [];
  const bytes = old.reduce((sum, { length }) => sum + length, 0);
  const taken = old.filter(({ taker }) => taker !== 0).length;
  const message =
    `${old.length} places of former files (${formatBytes(bytes)}) are not freed for more than ` +
    `${GARBAGE_SHOWN_MS / 60_000} minutes; ${taken} of them were taken by clients that did not ` +
    'say what became of them';
  return [finding('GARBAGE_NOT_FREED', 'files', message)];
}

function leaseFindings({ leases }: Controller): Finding[] {
  return leases.blocked().map(({ name, nodes }) => {
    const message = `could not pass to another holder without an answer of ${nodes.join(', ')}`;
    return finding('LEASE_BLOCKED', name, message);
  });
}

function restorationFindings({ restoration, membership }: Controller): Finding[] {
  const findings: Finding[] = [];
  for (const [space, holders] of membership.unknownSpaces()) {
    const nodes = holders.map(({ row }) => row.id).join(', ');
    const message = `${nodes} hold regions of it; the metadata does not know it, nor its name`;
    findings.push(finding('SPACE_UNKNOWN', String(space), message));
  }
  if (restoration.phase !== 'restoring') return findings;
  const nodes = restoration.awaited().slice(0, 20).join(', ');
  const unknown = restoration.unknownTargets().join(', ');
  const targets =
    unknown === ''
      ? ''
      : `, and those for ${unknown}, which joined after the copy was made and may have a region ` +
        'of theirs: start it, or, where its memory is gone, their processes again';
  const message =
    'the metadata is an older copy: nothing is made, removed or granted until all its nodes have ' +
    `told what they hold; it waits for ${nodes === '' ? 'none' : nodes}${targets}`;
  return [...findings, finding('CONTROLLER_RESTORED', 'controller', message)];
}

function ownFindings({ address, isDurable }: ReportContext): Finding[] {
  const findings: Finding[] = [];
  if (!isDurable) {
    const message = 'spaces and files are forgotten when the controller ends';
    findings.push(finding('METADATA_NOT_KEPT', 'controller', message));
  }
  if (!isLocalAddress(address)) {
    const message = 'whoever reaches this address can read and change everything in the rack';
    findings.push(finding('LISTENING_WITHOUT_AUTHENTICATION', address, message));
  }
  return findings;
}

/** Whether only this machine can reach it. */
export function isLocalAddress(address: string): boolean {
  return (
    /^(unix|ring):/.test(address) ||
    /^tcp:\/\/(127(\.\d{1,3}){3}|localhost|\[::1\]|\[?::ffff:127(\.\d{1,3}){3}\]?):\d+$/.test(
      address,
    )
  );
}

export type WholeFacts = MemberFacts & { readonly pid: number };

/** Also the pids of other machines: whom to show which is up to the caller. */
export function memberFacts(controller: Controller): WholeFacts[] {
  const { membership, metadata, hosts } = controller;
  const nodes = [...membership.members.values()].map((member): WholeFacts => {
    const { id, address, machine, pageBytes, incarnation, pid } = member.row;
    const state = membership.state(member);
    // What it said last is gone with its memory.
    const isEnded = state === 'ended';
    const drain = metadata.drains.get(id)?.state;
    return {
      ...(drain === undefined ? {} : { drain }),
      id,
      kind: 'memory-node',
      address,
      state,
      bytesLent: isEnded ? 0 : member.bytesLent,
      bytesUsed: isEnded ? 0 : member.bytesUsed,
      bytesCommitted: isEnded ? 0 : member.bytesCommitted,
      regions: metadata.regionsOfNode(id).size,
      pageBytes,
      incarnation,
      machine,
      pid,
    };
  });
  const others = hosts.list().map((host): WholeFacts => {
    const { id, address, state, machine, pid } = host;
    const nothing = { bytesLent: 0, bytesUsed: 0, bytesCommitted: 0, regions: 0, pageBytes: 0 };
    return { id, kind: 'host', address, state, ...nothing, incarnation: 0, machine, pid };
  });
  return [...nodes, ...others].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

export function spaceFacts({ metadata }: Controller, space: SpaceRow): SpaceFacts {
  const rows = [...metadata.regionsOf(space.id).values()];
  const { id, name, kind, pageBytes, state } = space;
  const regionsLost = rows.filter((row) => row.state === 'lost').length;
  return { id, name, kind, pageBytes, regions: rows.length, regionsLost, state };
}
