// Authorities and certificates for tests, made when they are needed: no key is kept anywhere.
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export interface Certified {
  /** Both PEM. */
  readonly certificate: string;
  readonly key: string;
}

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT = 0x06;
const UTF8 = 0x0c;
const UTC_TIME = 0x17;
const BOOLEAN = 0x01;
const EXPLICIT = 0xa0;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

const COMMON_NAME = [0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS = [0x55, 0x1d, 0x13];
const KEY_USAGE = [0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES = [0x55, 0x1d, 0x11];
const ECDSA_WITH_SHA256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

const DAY_MS = 24 * 3_600_000;
const TRUE = Buffer.of(0xff);

export class Authority {
  readonly certificate: string;
  readonly #name: string;
  readonly #key: KeyObject;
  #serial = 1;

  constructor(name: string) {
    this.#name = name;
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#key = privateKey;
    const isAuthority = extension(BASIC_CONSTRAINTS, der(SEQUENCE, der(BOOLEAN, TRUE)));
    // keyCertSign alone.
    const usage = extension(KEY_USAGE, der(BIT_STRING, Buffer.of(2, 0x04)));
    this.certificate = this.#sign(name, publicKey, [isAuthority, usage]);
  }

  /** Of a server on this machine, or a client. `days`: how long from now on it is good. */
  issue(name: string, days = 1): Certified {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const names = der(
      SEQUENCE,
      der(DNS_NAME, Buffer.from('localhost')),
      der(IP_ADDRESS, Buffer.of(127, 0, 0, 1)),
    );
    const certificate = this.#sign(name, publicKey, [extension(ALTERNATIVE_NAMES, names)], days);
    return { certificate, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
  }

  #sign(subject: string, key: KeyObject, extensions: Buffer[], days = 1): string {
    const algorithm = der(SEQUENCE, der(OBJECT, Buffer.from(ECDSA_WITH_SHA256)));
    const end = Date.now() + days * DAY_MS;
    const signed = der(
      SEQUENCE,
      der(EXPLICIT, der(INTEGER, Buffer.of(2))),
      der(INTEGER, Buffer.of(this.#serial++)),
      algorithm,
      distinguished(this.#name),
      der(SEQUENCE, time(Math.min(Date.now(), end) - DAY_MS), time(end)),
      distinguished(subject),
      key.export({ type: 'spki', format: 'der' }),
      der(EXPLICIT + 3, der(SEQUENCE, ...extensions)),
    );
    const signature = sign('sha256', signed, this.#key);
    const whole = der(SEQUENCE, signed, algorithm, der(BIT_STRING, Buffer.of(0), signature));
    const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
    return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
  }
}

function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const long = length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...(length < 128 ? [length] : long)]), body]);
}

function distinguished(name: string): Buffer {
  const common = der(SEQUENCE, der(OBJECT, Buffer.from(COMMON_NAME)), der(UTF8, Buffer.from(name)));
  return der(SEQUENCE, der(SET, common));
}

function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  return der(UTC_TIME, Buffer.from(digits.slice(2)));
}

/** A critical one. */
function extension(id: readonly number[], value: Buffer): Buffer {
  const flag = der(BOOLEAN, TRUE);
  return der(SEQUENCE, der(OBJECT, Buffer.from(id)), flag, der(OCTET_STRING, value));
}
