import { expect, test } from 'vitest';
import { infoData, contextData, factsOf, type NbdClient, optionBytes } from './testing/client.js';
import { readUtf8 } from '../../base/utf8.js';
import * as nbd from './protocol.js';
import { ADDRESS, Rig } from './testing/rig.js';
import { NbdClient as Client } from './testing/client.js';

const types = (replies: { type: number }[]): number[] => replies.map(({ type }) => type);
const text = (data: Uint8Array, from = 0): string => readUtf8(data, from, data.length) ?? '?';
const ALL_FLAGS =
  nbd.NBD_FLAG_HAS_FLAGS |
  nbd.NBD_FLAG_SEND_FLUSH |
  nbd.NBD_FLAG_SEND_FUA |
  nbd.NBD_FLAG_SEND_TRIM |
  nbd.NBD_FLAG_SEND_WRITE_ZEROES |
  nbd.NBD_FLAG_CAN_MULTI_CONN |
  nbd.NBD_FLAG_SEND_CACHE |
  nbd.NBD_FLAG_SEND_FAST_ZERO;

async function greeted(options = {}): Promise<{ rig: Rig; client: NbdClient }> {
  const rig = await new Rig(options).listen();
  return { rig, client: await rig.connect() };
}

async function closed(rig: Rig, client: NbdClient): Promise<boolean> {
  await rig.pass(50);
  expect(client.violation).toBeUndefined();
  return client.closedBecause !== undefined;
}

test('the greeting offers fixed newstyle without zeroes', async () => {
  const { client } = await greeted();
  expect(client.handshakeFlags).toBe(nbd.NBD_FLAG_FIXED_NEWSTYLE | nbd.NBD_FLAG_NO_ZEROES);
});

test('unknown client flags end the connection', async () => {
  const rig = await new Rig().listen();
  const client = await rig.connect(1 | 2 | 4);
  expect(await closed(rig, client)).toBe(true);
  expect(rig.door.counters.negotiationsFailed).toBe(1);
  expect(rig.door.sessions).toBe(0);
});

test('NBD_OPT_EXPORT_NAME gives size and flags, and zeroes to those who want them', async () => {
  for (const flags of [1, 3]) {
    const rig = await new Rig().listen();
    const client = await rig.connect(flags);
    const facts = await rig.wait(client.exportName('disk'));
    expect(facts).toEqual({ bytes: 1024 * 1024, flags: ALL_FLAGS });
    expect((await rig.wait(client.read(0, 8))).error).toBe(0);
    expect(client.violation).toBeUndefined();
  }
});

test('a client without fixed newstyle may choose an export, and nothing else', async () => {
  const rig = await new Rig().listen();
  const plain = await rig.connect(0);
  expect((await rig.wait(plain.exportName('')))?.bytes).toBe(1024 * 1024);
  const other = await rig.connect(0);
  expect(await rig.wait(other.option(nbd.NBD_OPT_LIST))).toEqual([]);
  expect(await closed(rig, other)).toBe(true);
});

test('NBD_OPT_EXPORT_NAME ends the connection for an export that is not there', async () => {
  for (const name of ['other', 'x'.repeat(5000)]) {
    const { rig, client } = await greeted();
    expect(await rig.wait(client.exportName(name))).toBeUndefined();
    expect(await closed(rig, client)).toBe(true);
    expect(rig.exports.users).toBe(0);
  }
});

test('NBD_OPT_ABORT is acknowledged, with data too, and ends the connection', async () => {
  for (const data of [new Uint8Array(0), new Uint8Array(9)]) {
    const { rig, client } = await greeted();
    expect(types(await rig.wait(client.option(nbd.NBD_OPT_ABORT, data)))).toEqual([
      nbd.NBD_REP_ACK,
    ]);
    expect(await closed(rig, client)).toBe(true);
  }
});

test('NBD_OPT_ABORT is not waited for to be whole', async () => {
  const { rig, client } = await greeted();
  client.send(optionBytes(nbd.NBD_OPT_ABORT, new Uint8Array(100)).subarray(0, 20));
  await rig.pass(10);
  expect(client.closedBecause).toBeDefined();
});

test('NBD_OPT_LIST tells names and descriptions', async () => {
  const { rig, client } = await greeted({ backend: { description: 'für alle' } });
  const replies = await rig.wait(client.option(nbd.NBD_OPT_LIST));
  expect(types(replies)).toEqual([nbd.NBD_REP_SERVER, nbd.NBD_REP_ACK]);
  const { data } = replies[0] as { data: Uint8Array };
  expect(new DataView(data.buffer).getUint32(0)).toBe(4);
  expect(text(data, 4)).toBe('diskfür alle');
  const wrong = await rig.wait(client.option(nbd.NBD_OPT_LIST, new Uint8Array(1)));
  expect(types(wrong)).toEqual([nbd.NBD_REP_ERR_INVALID]);
});

test('unknown options are answered as such, with their data skipped, however long', async () => {
  const { rig, client } = await greeted();
  for (const option of [
    0,
    4,
    12,
    2 ** 32 - 1,
    nbd.NBD_OPT_EXTENDED_HEADERS,
    nbd.NBD_OPT_STARTTLS,
  ]) {
    const replies = await rig.wait(
      client.option(option, new Uint8Array(option === 4 ? 70_000 : 7)),
    );
    expect(types(replies)).toEqual([nbd.NBD_REP_ERR_UNSUP]);
  }
  expect(await rig.wait(client.go('disk'))).toMatchObject({ bytes: 1024 * 1024 });
});

test('known options that are too long are answered as such', async () => {
  const { rig, client } = await greeted();
  for (const option of [nbd.NBD_OPT_LIST, nbd.NBD_OPT_GO, nbd.NBD_OPT_SET_META_CONTEXT]) {
    const replies = await rig.wait(client.option(option, new Uint8Array(20_000)));
    expect(types(replies)).toEqual([nbd.NBD_REP_ERR_TOO_BIG]);
  }
  expect(await rig.wait(client.go('disk'))).toMatchObject({ bytes: 1024 * 1024 });
});

test('NBD_OPT_INFO and NBD_OPT_GO tell what is wanted, by any name of the export', async () => {
  const description = 'a disk';
  const { rig, client } = await greeted({ backend: { description, blockMin: 512 } });
  const bare = await rig.wait(client.option(nbd.NBD_OPT_INFO, infoData('', [])));
  expect(factsOf(bare)).toEqual({
    bytes: 1024 * 1024,
    flags: ALL_FLAGS,
    blockSizes: [512, 4096, 32 * 1024 * 1024],
  });
  expect(rig.exports.users).toBe(0);
  // Unknown information types are ignored.
  const data = infoData('', [nbd.NBD_INFO_NAME, nbd.NBD_INFO_DESCRIPTION, 77, 3]);
  const full = await rig.wait(client.option(nbd.NBD_OPT_GO, data));
  expect(full.at(-1)?.type).toBe(nbd.NBD_REP_ACK);
  expect(factsOf(full)).toMatchObject({ name: 'disk', description, flags: ALL_FLAGS });
  expect(rig.exports.users).toBe(1);
  client.close();
  await rig.pass(10);
  expect(rig.exports.users).toBe(0);
});

test('a read-only export says so, and DF comes with structured replies', async () => {
  const { rig, client } = await greeted({ backend: { isReadOnly: true } });
  await rig.wait(client.structured());
  const facts = await rig.wait(client.go('disk'));
  const { flags } = facts as { flags: number };
  expect(flags & nbd.NBD_FLAG_READ_ONLY).not.toBe(0);
  expect(flags & nbd.NBD_FLAG_SEND_DF).not.toBe(0);
  expect(flags & (nbd.NBD_FLAG_SEND_TRIM | nbd.NBD_FLAG_SEND_WRITE_ZEROES)).toBe(0);
  expect(flags & nbd.NBD_FLAG_SEND_FAST_ZERO).toBe(0);
});

test('an export that is not there is unknown, and another one may be chosen', async () => {
  const { rig, client } = await greeted();
  expect(await rig.wait(client.go('other'))).toBe(nbd.NBD_REP_ERR_UNKNOWN);
  expect(await rig.wait(client.go('disk'))).toMatchObject({ bytes: 1024 * 1024 });
});

test('malformed requests for information are invalid', async () => {
  const { rig, client } = await greeted();
  const right = infoData('disk', [1, 2]);
  const tooLongName = right.slice();
  new DataView(tooLongName.buffer).setUint32(0, 2 ** 32 - 1);
  const tooMany = right.slice();
  tooMany[9] = 200;
  const notText = right.slice();
  notText[4] = 0xff;
  const withNul = infoData('di\0k', []);
  const wrong = [right.subarray(0, 3), right.subarray(0, 9), right.subarray(0, 13)];
  wrong.push(new Uint8Array([...right, 0]), tooLongName, tooMany, notText, withNul);
  wrong.push(infoData('x'.repeat(4097), []));
  for (const data of wrong) {
    const replies = await rig.wait(client.option(nbd.NBD_OPT_GO, data));
    expect(types(replies)).toEqual([nbd.NBD_REP_ERR_INVALID]);
  }
});

test('structured replies take no data, and may be asked for again', async () => {
  const { rig, client } = await greeted();
  const option = nbd.NBD_OPT_STRUCTURED_REPLY;
  expect(types(await rig.wait(client.option(option, new Uint8Array(1))))).toEqual([
    nbd.NBD_REP_ERR_INVALID,
  ]);
  for (let i = 0; i < 2; i++) expect(await rig.wait(client.structured())).toBe(true);
});

test('contexts are listed: all, by wildcard, by name', async () => {
  const { rig, client } = await greeted();
  const list = async (queries: string[]): Promise<string[]> => {
    const data = contextData('disk', queries);
    const replies = await rig.wait(client.option(nbd.NBD_OPT_LIST_META_CONTEXT, data));
    expect(replies.at(-1)?.type).toBe(nbd.NBD_REP_ACK);
    return replies.slice(0, -1).map(({ data: context }) => text(context, 4));
  };
  const early = await rig.wait(client.option(nbd.NBD_OPT_LIST_META_CONTEXT, contextData('', [])));
  expect(types(early)).toEqual([nbd.NBD_REP_ERR_INVALID]);
  await rig.wait(client.structured());
  for (const queries of [[], ['base:'], ['x:y', 'base:allocation']]) {
    expect(await list(queries)).toEqual(['base:allocation']);
  }
  expect(await list(['qemu:', 'base:other'])).toEqual([]);
});

test('contexts are selected for one export, by exact name, by the last try', async () => {
  const all: [string[][], string, boolean][] = [
    [[['base:allocation']], 'disk', true],
    [[['qemu:x', 'base:allocation', 'base:other']], 'disk', true],
    [[['base:']], 'disk', false],
    [[[]], 'disk', false],
    [[['base:allocation'], []], 'disk', false],
    [[['base:allocation'], ['nothing']], 'disk', false],
    // The default export by its name is another name.
    [[['base:allocation']], '', false],
  ];
  for (const [tries, name, isSelected] of all) {
    const { rig, client } = await greeted();
    await rig.wait(client.structured());
    for (const queries of tries) await rig.wait(client.contexts('disk', ...queries));
    await rig.wait(client.go(name));
    const { error } = await rig.wait(client.blockStatus(0, 4096));
    expect([tries, error]).toEqual([tries, isSelected ? 0 : nbd.NBD_EINVAL]);
    expect(client.violation).toBeUndefined();
  }
});

test('malformed and unknown requests for contexts are refused', async () => {
  const { rig, client } = await greeted();
  await rig.wait(client.structured());
  expect(await rig.wait(client.contexts('other', 'base:allocation'))).toBe(nbd.NBD_REP_ERR_UNKNOWN);
  const right = contextData('disk', ['base:allocation']);
  const lying = right.slice();
  new DataView(lying.buffer).setUint32(8, 2 ** 31);
  const wrong = [
    right.subarray(0, 11),
    right.subarray(0, 20),
    lying,
    new Uint8Array([...right, 0]),
  ];
  wrong.push(contextData('disk', ['no namespace']), contextData('disk', [':leaf']));
  for (const data of wrong) {
    const replies = await rig.wait(client.option(nbd.NBD_OPT_SET_META_CONTEXT, data));
    expect(types(replies)).toEqual([nbd.NBD_REP_ERR_INVALID]);
  }
});

test('an option without its magic ends the connection at once', async () => {
  const { rig, client } = await greeted();
  client.send(new Uint8Array(8).fill(0x41));
  expect(await closed(rig, client)).toBe(true);
});

test('options that come together are answered in order, split anywhere', async () => {
  const { rig, client } = await greeted();
  rig.world.wire = { chunk: () => 3 };
  const option = nbd.NBD_OPT_STRUCTURED_REPLY;
  const first = client.option(option);
  client.send(optionBytes(nbd.NBD_OPT_ABORT, new Uint8Array(0)));
  expect(types(await rig.wait(first))).toEqual([nbd.NBD_REP_ACK]);
  await rig.pass(50);
  expect(client.closedBecause).toBeDefined();
});

test('an export that is looked for long holds up its client alone', async () => {
  const { rig, client } = await greeted();
  let open: () => void = () => undefined;
  rig.exports.waitFor = new Promise((resolve) => (open = resolve));
  const late = client.go('disk');
  await rig.pass(100);
  rig.exports.waitFor = undefined;
  await rig.use();
  open();
  expect(await rig.wait(late)).toMatchObject({ bytes: 1024 * 1024 });
});

test('a client that goes while its export is looked for leaves nothing', async () => {
  const { rig, client } = await greeted();
  let open: () => void = () => undefined;
  rig.exports.waitFor = new Promise((resolve) => (open = resolve));
  const late = client.go('disk');
  await rig.pass(10);
  client.close();
  await rig.wait(late);
  await rig.pass(10);
  expect(rig.door.sessions).toBe(1);
  open();
  await rig.pass(10);
  expect([rig.door.sessions, rig.exports.users]).toEqual([0, 0]);
});

test('who negotiates too long, too much or too often is sent away', async () => {
  const silent = await greeted();
  await silent.rig.pass(9_900);
  expect(silent.client.closedBecause).toBeUndefined();
  await silent.rig.pass(200);
  expect(silent.client.closedBecause).toBeDefined();

  const talker = await greeted();
  for (let i = 0; i < 256; i++) await talker.rig.wait(talker.client.option(99));
  expect(talker.client.closedBecause).toBeUndefined();
  await talker.rig.wait(talker.client.option(99));
  expect(talker.client.closedBecause).toBeDefined();

  const flood = await greeted();
  flood.client.send(optionBytes(99, new Uint8Array(0)));
  flood.client.send(optionBytes(99, new Uint8Array(2 * 1024 * 1024)));
  await flood.rig.pass(50);
  expect(flood.client.closedBecause).toBeDefined();
  expect(flood.rig.door.sessions).toBe(0);
});

test('a client that stays is not sent away for its long negotiation', async () => {
  const { rig, client } = await greeted();
  await rig.pass(9_000);
  await rig.wait(client.go('disk'));
  await rig.pass(100_000);
  expect((await rig.wait(client.read(0, 4096))).error).toBe(0);
});

test('replies that are not read are not made', async () => {
  const rig = new Rig({ backend: { description: 'd'.repeat(4000) } });
  rig.world.outputBytes = 64 * 1024;
  rig.world.inputBytes = 64 * 1024;
  await rig.listen();
  const client = await rig.connect();
  client.stream.pause();
  for (let i = 0; i < 200; i++) client.send(optionBytes(nbd.NBD_OPT_LIST, new Uint8Array(0)));
  await rig.pass(100);
  // As many as fit into the buffers on the way.
  expect(rig.exports.lists).toBeGreaterThan(20);
  expect(rig.exports.lists).toBeLessThan(50);
  expect(client.closedBecause).toBeUndefined();
});

test('a door that stops says so to those who negotiate, and takes no more', async () => {
  const { rig, client } = await greeted();
  const stopped = rig.door.stop();
  expect(types(await rig.wait(client.option(nbd.NBD_OPT_LIST)))).toEqual([
    nbd.NBD_REP_ERR_SHUTDOWN,
  ]);
  expect(await rig.wait(client.go('disk'))).toBe(nbd.NBD_REP_ERR_SHUTDOWN);
  await rig.wait(stopped);
  expect(rig.door.sessions).toBe(0);
  const { network } = rig.world.runtime();
  await expect(rig.wait(Client.connect(network, ADDRESS))).rejects.toThrow('nobody listens');
});

test('more connections than are allowed are closed at once', async () => {
  const rig = await new Rig({ door: { limits: { connections: 2 } } }).listen();
  const first = await rig.connect();
  const second = await rig.connect();
  const third = await rig.connect();
  expect(third.closedBecause).toBeDefined();
  expect([first.closedBecause, second.closedBecause]).toEqual([undefined, undefined]);
  expect(rig.door.counters.connectionsRefused).toBe(1);
  first.close();
  await rig.pass(10);
  expect((await rig.connect()).closedBecause).toBeUndefined();
});
