import { expect, test } from 'vitest';
import { MASK, simulatedTls } from '../../runtime/simulated/tls.js';
import * as nbd from './protocol.js';
import { contextData, infoData, type NbdClient, optionBytes } from './testing/client.js';
import { Rig, someBytes } from './testing/rig.js';

async function rigWithTls(): Promise<Rig> {
  const secure = simulatedTls.server({ kind: 'psk', keys: new Map() });
  const door = { tls: { mode: 'required', secure } } as const;
  return new Rig({ door }).listen();
}

/** From now on the client's bytes are masked on the wire. */
function mask(rig: Rig): void {
  rig.world.wire = {
    touch: (_connection, _direction, _passed, bytes) => {
      bytes.forEach((byte, i) => (bytes[i] = byte ^ MASK));
    },
  };
}

async function lastOf(rig: Rig, client: NbdClient, option: number, data?: Uint8Array) {
  return (await rig.wait(client.option(option, data))).at(-1)?.type;
}

test('without TLS every option but two is refused, and no export is told', async () => {
  const rig = await rigWithTls();
  const client = await rig.connect();
  const options: [number, Uint8Array?][] = [
    [nbd.NBD_OPT_LIST],
    [nbd.NBD_OPT_STRUCTURED_REPLY],
    [nbd.NBD_OPT_INFO, infoData('disk', [])],
    [nbd.NBD_OPT_GO, infoData('other', [])],
    [nbd.NBD_OPT_LIST_META_CONTEXT, contextData('disk', [])],
    [nbd.NBD_OPT_SET_META_CONTEXT, contextData('disk', [])],
    [99, new Uint8Array(5)],
  ];
  for (const [option, data] of options) {
    expect(await lastOf(rig, client, option, data)).toBe(nbd.NBD_REP_ERR_TLS_REQD);
  }
  expect([rig.exports.lists, rig.exports.users]).toEqual([0, 0]);
  expect(await lastOf(rig, client, nbd.NBD_OPT_ABORT)).toBe(nbd.NBD_REP_ACK);
});

test('without TLS choosing an export by name ends the connection', async () => {
  const rig = await rigWithTls();
  const client = await rig.connect();
  expect(await rig.wait(client.exportName('disk'))).toBeUndefined();
});

test('NBD_OPT_STARTTLS with data is invalid, and secures nothing', async () => {
  const rig = await rigWithTls();
  const client = await rig.connect();
  const answer = await lastOf(rig, client, nbd.NBD_OPT_STARTTLS, new Uint8Array(3));
  expect(answer).toBe(nbd.NBD_REP_ERR_INVALID);
  expect(await lastOf(rig, client, nbd.NBD_OPT_LIST)).toBe(nbd.NBD_REP_ERR_TLS_REQD);
});

test('after NBD_OPT_STARTTLS everything goes through the secured stream', async () => {
  const rig = await rigWithTls();
  const client = await rig.connect();
  expect(await lastOf(rig, client, nbd.NBD_OPT_STARTTLS)).toBe(nbd.NBD_REP_ACK);
  mask(rig);
  expect(await lastOf(rig, client, nbd.NBD_OPT_STARTTLS)).toBe(nbd.NBD_REP_ERR_INVALID);
  expect(await lastOf(rig, client, nbd.NBD_OPT_LIST)).toBe(nbd.NBD_REP_ACK);
  expect(await rig.wait(client.structured())).toBe(true);
  await rig.wait(client.contexts('disk', 'base:allocation'));
  expect(await rig.wait(client.go('disk'))).toMatchObject({ bytes: 1024 * 1024 });
  const bytes = someBytes(300_001, 1);
  expect((await rig.wait(client.write(5, bytes))).error).toBe(0);
  const { data } = await rig.wait(client.read(5, bytes.length));
  expect(Buffer.compare(data, bytes)).toBe(0);
  expect((await rig.wait(client.blockStatus(0, 4096))).error).toBe(0);
  client.disconnect();
  await rig.pass(10);
  expect(client.violation).toBeUndefined();
  expect([rig.door.sessions, rig.exports.users]).toEqual([0, 0]);
});

test('who goes on in plain text after NBD_OPT_STARTTLS is not understood', async () => {
  const rig = await rigWithTls();
  const client = await rig.connect();
  await lastOf(rig, client, nbd.NBD_OPT_STARTTLS);
  client.send(optionBytes(nbd.NBD_OPT_LIST, new Uint8Array(0)));
  await rig.pass(10);
  expect(client.closedBecause).toBeDefined();
  expect(rig.exports.lists).toBe(0);
});

// CVE-2021-3716 and its kin: what stands behind the option in plain text, put there by somebody in
// between, must not count as said under TLS.
test('plain text behind NBD_OPT_STARTTLS ends the connection unanswered', async () => {
  for (const injected of [
    optionBytes(nbd.NBD_OPT_STRUCTURED_REPLY, new Uint8Array(0)),
    Uint8Array.of(0),
  ]) {
    const rig = await rigWithTls();
    const client = await rig.connect();
    const answered = client.option(nbd.NBD_OPT_STARTTLS);
    client.send(injected);
    expect(await rig.wait(answered)).toEqual([]);
    expect(client.closedBecause).toBeDefined();
    await rig.pass(10);
    expect(rig.door.sessions).toBe(0);
  }
});

test('the time to negotiate is one for both, and TLS does not prolong it', async () => {
  const rig = await rigWithTls();
  const client = await rig.connect();
  await rig.pass(9_000);
  await lastOf(rig, client, nbd.NBD_OPT_STARTTLS);
  mask(rig);
  await rig.pass(1_100);
  expect(client.closedBecause).toBeDefined();
});
