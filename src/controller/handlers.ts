/**
 * The controller's calls as messages: what comes in is handed to the part that knows, what it
 * answers is put into the reply. No decision is taken here but one: when too many changes wait for
 * their turn, the next is `Busy`.
 */
import type { SpaceId } from '../base/brands.js';
import { Status } from '../base/status.js';
import { utf8Bytes } from '../base/utf8.js';
import type { Log } from '../runtime/runtime.js';
import { JSON_BYTES_MAX } from '../wire/limits.js';
import type { Request } from '../wire/messages.js';
import * as wire from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import type { ControllerApi, MemberFacts, RackStatus } from './api.js';
import type { Controller } from './controller.js';
import { serveDevices } from './device-handlers.js';
import type { NodeJoin } from './join-rules.js';
import { NO_MARK, ownMark } from './mark.js';
import type { Place } from './metadata/metadata.js';
import type { FileRow, GarbageRow, SpaceRow } from './metadata/schema.js';
import type { HeldRegion } from './reconcile.js';
import { isRefusal } from './refusal.js';
import { regionsReply, spaceRegions } from './region-messages.js';
import type { GrantRequest } from './regions.js';
import { cut, refuseBusy, refuseChange, refused, type Serve } from './replies.js';
import { memberFacts, type WholeFacts } from './report.js';
import { refuseReserved } from './spaces.js';

const M = wire.MessageType;
const { SpaceKind } = wire;

export interface HandlerOptions {
  readonly controller: Controller;
  readonly api: ControllerApi;
  readonly heartbeatMs: number;
  readonly log: Log;
}

export function serveController(serve: Serve, options: HandlerOptions): void {
  serveMembers(serve, options);
  serveSpaces(serve, options);
  serveFiles(serve, options);
  serveGarbage(serve, options);
  serveLeases(serve, options);
  serveDevices(serve, options.controller);
  const { api, controller } = options;
  serve(M.ListNodes, () => {
    return { status: Status.Ok, members: memberFacts(controller).map(memberMessage) };
  });
  serve(M.NoteDoor, ({ host, kind, address }) => {
    const result = controller.hosts.noteDoor(host, { kind, address });
    return isRefusal(result) ? refused(result) : { status: Status.Ok };
  });
  serve(M.ListDoors, () => ({ status: Status.Ok, doors: controller.hosts.doors() }));
  serve(M.ListMemories, ({ after }) => {
    // Who is not in the list is gone for good: an older database does not know that.
    const unsure = controller.restoration.refusal();
    if (unsure !== undefined) return refused(unsure);
    const facts = memoryFacts(controller).filter(({ node }) => node > after);
    const { values, more } = cut(facts, wire.MemoryFacts.encodedBytes);
    return { status: Status.Ok, memories: values, more };
  });
  serve(M.RackStatus, () => ({ status: Status.Ok, json: statusJson(api.status()) }));
}

function serveMembers(serve: Serve, { controller, heartbeatMs, log }: HandlerOptions): void {
  const { membership, hosts } = controller;
  const mark = () => ownMark(controller.metadata);
  serve(M.JoinNode, async (request) => {
    const busy = refuseBusy(controller);
    if (busy !== undefined) return busy;
    const result = await membership.join(nodeJoin(request));
    const { id, address } = request;
    if (isRefusal(result)) {
      log.write('warn', 'a memory node was refused', {
        code: 'NODE_REFUSED',
        id,
        address,
        reason: result.message,
      });
      return refused(result);
    }
    const unknown = membership.members.get(id)?.unknown.length ?? 0;
    log.write(unknown > 0 ? 'warn' : 'info', 'a memory node joined', {
      code: 'NODE_JOINED',
      id,
      address,
      unknown,
    });
    return { status: Status.Ok, heartbeatMs, ...mark() };
  });
  serve(M.Heartbeat, (request) => ({
    status: Status.Ok,
    known: membership.heartbeat(request) ? 1 : 0,
    ...mark(),
  }));
  serve(M.NodeEnded, async ({ id, memoryId }) => {
    log.write('warn', 'the memory of a node is gone', { code: 'NODE_ENDED', id });
    await membership.ended(id, memoryId);
    return { status: Status.Ok };
  });
  serve(M.DescribeNode, ({ id }) => {
    const member = membership.members.get(id);
    if (member === undefined) {
      return { status: Status.NotFound, reason: 'no memory node of this id' };
    }
    const { memoryId, machine, keeper, process } = member.row;
    const state = stateNumber(membership.state(member));
    const kind = controller.metadata.disks.has(id) ? SpaceKind.PERSISTENT : SpaceKind.DRAM;
    return { status: Status.Ok, memoryId, machine, keeper, process, state, kind };
  });
  serve(M.JoinHost, (request) => {
    const result = hosts.join(request);
    return isRefusal(result) ? refused(result) : { status: Status.Ok, heartbeatMs, ...NO_MARK };
  });
  serve(M.HostHeartbeat, ({ id }) => {
    return { status: Status.Ok, known: hosts.heartbeat(id) ? 1 : 0, ...NO_MARK };
  });
  serve(M.NoteDevices, ({ host, ...notes }) => {
    const result = hosts.noteDevices(host, notes);
    return isRefusal(result) ? refused(result) : { status: Status.Ok };
  });
}

function serveSpaces(serve: Serve, { controller }: HandlerOptions): void {
  const { spaces, regions, metadata } = controller;
  serve(M.OpenSpace, async ({ name, create, kind, pageBytes }) => {
    const busy = refuseBusy(controller);
    if (busy !== undefined) return busy;
    const unsure = metadata.spaceIds.has(name) ? undefined : refuseChange(controller);
    if (unsure !== undefined) return unsure;
    const result = await spaces.open({ name, create: create !== 0, kind, pageBytes });
    if (isRefusal(result)) return refused(result);
    const {
      space,
      pageBytes: bytes,
      regions: count,
      kind: kindNumber,
    } = spaceMessage(controller, result.space);
    const created = result.created ? 1 : 0;
    return {
      status: Status.Ok,
      space,
      pageBytes: bytes,
      regions: count,
      kind: kindNumber,
      created,
    };
  });
  serve(M.ListSpaces, ({ after }) => {
    const rows = spaces.list().filter((row) => row.name > after);
    const { values, more } = cut(
      rows.map((row) => spaceMessage(controller, row)),
      wire.SpaceFacts.encodedBytes,
    );
    return { status: Status.Ok, spaces: values, more };
  });
  serve(M.RemoveSpaceByName, async ({ name }) => {
    const result = refuseChange(controller) ?? (await spaces.remove(name));
    return 'reason' in result || !isRefusal(result) ? result : refused(result);
  });
  serve(M.SpaceRegions, ({ space: number, after }) => {
    const space = number as SpaceId;
    if (metadata.activeSpace(space) !== undefined) return spaceRegions(controller, space, after);
    return refused(controller.refuseUnknownSpace(space));
  });
  serve(M.GrantRegions, async (request) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const wrong = refuseReserved(metadata.spaces.get(request.space as SpaceId)?.name ?? '');
    if (wrong !== undefined) return refused(wrong);
    const result = await regions.grant(request as GrantRequest);
    return isRefusal(result) ? refused(result) : regionsReply(result.regions, 0);
  });
}

function serveFiles(serve: Serve, { controller }: HandlerOptions): void {
  const { files } = controller;
  serve(M.PutFiles, async (request) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await files.put(request.files.map(fileRow));
    if (isRefusal(result)) return refused(result);
    return { status: Status.Ok, replaced: result.replaced.map(filePlace) };
  });
  serve(M.GetFile, ({ key }) => {
    const result = files.get(key);
    return isRefusal(result) ? refused(result) : { status: Status.Ok, ...result.file };
  });
  serve(M.ListFiles, ({ prefix, after, limit }) => {
    const page = files.list(prefix, after, limit);
    const { values, more } = cut(page.files, wire.FileEntry.encodedBytes);
    return { status: Status.Ok, files: values, more: page.more ? 1 : more };
  });
  serve(M.RemoveFile, async ({ key }) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await files.remove(key);
    return isRefusal(result) ? refused(result) : { status: Status.Ok, ...result.file };
  });
}

function serveGarbage(serve: Serve, { controller }: HandlerOptions): void {
  const { garbage } = controller;
  serve(M.TakeGarbage, async ({ taker, limit }) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await garbage.take(taker, limit);
    if (isRefusal(result)) return refused(result);
    return { status: Status.Ok, places: result.places.map(filePlace), more: result.more ? 1 : 0 };
  });
  serve(M.ForgetGarbage, async ({ taker, places, isFreed }) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    await garbage.forget(taker, places.map(placeOf), isFreed !== 0);
    return { status: Status.Ok };
  });
}

function serveLeases(serve: Serve, { controller }: HandlerOptions): void {
  const { leases } = controller;
  serve(M.AcquireLease, async ({ nodes, ...wish }) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await leases.acquire({ ...wish, nodes: nodes.map(({ id }) => id) });
    return isRefusal(result) ? refused(result) : result;
  });
  serve(M.ExtendLease, async (wish) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await leases.extend(wish);
    return isRefusal(result) ? refused(result) : result;
  });
  serve(M.HeldBefore, ({ lease, epoch }) => {
    return { status: Status.Ok, epoch: leases.heldBefore(lease, epoch) };
  });
  serve(M.ShrinkLease, async (wish) => {
    const busy = refuseChange(controller);
    if (busy !== undefined) return busy;
    const result = await leases.shrink(wish);
    return isRefusal(result) ? refused(result) : { status: Status.Ok };
  });
  serve(M.ReleaseLease, async ({ lease, epoch }) => {
    const result = await leases.release(lease, epoch);
    return isRefusal(result) ? refused(result) : { status: Status.Ok };
  });
}

function nodeJoin(request: Request<typeof M.JoinNode>): NodeJoin {
  const { controller, commit, life, nextSpace, nextEpoch, instance, ...join } = request;
  const mark = { controller, commit, life, nextSpace, nextEpoch, instance };
  const openings = join.openings.map(({ opening }) => opening);
  const isTrusted = join.isTrusted === 1;
  const regions = join.regions as readonly HeldRegion[];
  return { ...join, mark, openings, isTrusted, regions };
}

function spaceMessage({ metadata }: Controller, row: SpaceRow): Fields<typeof wire.SpaceFacts> {
  return {
    space: row.id,
    pageBytes: row.pageBytes,
    regions: metadata.regionsOf(row.id).size,
    kind: row.kind === 'persistent' ? SpaceKind.PERSISTENT : SpaceKind.DRAM,
    removing: row.state === 'removing' ? 1 : 0,
    name: row.name,
  };
}

function memberMessage(facts: WholeFacts): Fields<typeof wire.MemberFacts> {
  return {
    ...facts,
    state: stateNumber(facts.state),
    isHost: facts.kind === 'host' ? 1 : 0,
  };
}

function memoryFacts(controller: Controller): Fields<typeof wire.MemoryFacts>[] {
  const { membership, metadata } = controller;
  const { DRAINING, SERVING } = wire.NodeState;
  const facts = [...membership.members.values()].map((member) => {
    const { id: node, memoryId, address, machine } = member.row;
    const state = stateNumber(membership.state(member));
    const isEnded = state === wire.NodeState.ENDED;
    return {
      ...{ node, address, machine, memoryId: isEnded ? 0 : memoryId },
      state: state === SERVING && metadata.drains.has(node) ? DRAINING : state,
      bytesLent: isEnded ? 0 : member.bytesLent,
      bytesUsed: isEnded ? 0 : member.bytesUsed,
      bytesCommitted: isEnded ? 0 : member.bytesCommitted,
      isDisk: metadata.disks.has(node) ? 1 : 0,
    };
  });
  return facts.sort((a, b) => (a.node < b.node ? -1 : 1));
}

function stateNumber(state: MemberFacts['state']): number {
  const { SERVING, AWAY, ENDED } = wire.NodeState;
  return { serving: SERVING, away: AWAY, ended: ENDED }[state];
}

function fileRow(file: Request<typeof M.PutFiles>['files'][number]): FileRow {
  const { key, space, address, length, sha256 } = file;
  return { key, space: space as SpaceId, address, length, sha256 };
}

function placeOf({ space, address }: Fields<typeof wire.FilePlace>): Place {
  return { space: space as SpaceId, address };
}

function filePlace(file: FileRow | GarbageRow | undefined): Fields<typeof wire.FilePlace> {
  if (file === undefined) return { space: 0, address: 0, length: 0 };
  const { space, address, length } = file;
  return { space, address, length };
}

/** Fewer findings where all of them would not fit. */
function statusJson(status: RackStatus): string {
  for (let kept = status.findings.length; ; kept = Math.floor(kept / 2)) {
    const findings = status.findings.slice(0, kept);
    const findingsOmitted = status.findingsOmitted + status.findings.length - kept;
    const json = JSON.stringify({ ...status, findings, findingsOmitted });
    if (utf8Bytes(json) <= JSON_BYTES_MAX || kept === 0) return json;
  }
}
