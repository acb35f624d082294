// A Debian kernel in an emulated machine, without a disk: what it has comes in an initial file
// system that is put together here, from programs of this machine and modules of that kernel. It
// reaches loopback ports of this machine at 10.0.2.2, and speaks over its serial console.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { requires } from './requires.js';

/** Where a kernel package of Debian was unpacked. */
const KERNEL_FOLDER = process.env['MEMRACK_GUEST_KERNEL'] ?? '';
const MODULES = ['virtio_pci', 'virtio_net'];
const SOUGHT = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];
const OUTPUT_MAX = 20_000;

export interface GuestParts {
  /** Of this machine; those of busybox are there anyway. */
  readonly programs: readonly string[];
  /** Of the kernel, beside those of its network. */
  readonly modules: readonly string[];
  /** For the shell of busybox. When it ends, the machine does. */
  readonly script: string;
}

/** True where guests can be started; else false after a notice, or an error under CI. */
export function canHaveGuest(...programs: string[]): boolean {
  const needed = ['qemu-system-x86_64', 'busybox', 'cpio', 'ldd', ...programs];
  if (process.arch !== 'x64' || !requires(...needed)) return false;
  if (KERNEL_FOLDER !== '') return true;
  const notice = 'MEMRACK_GUEST_KERNEL does not name the folder of an unpacked Debian kernel';
  if (process.env['CI'] === 'true') throw new Error(notice);
  process.stderr.write(`skipping a test: ${notice}\n`);
  return false;
}

export class Guest {
  #output = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #wakers = new Set<() => void>();

  private constructor(folder: string) {
    const [kernel = ''] = found(join(KERNEL_FOLDER, 'boot'), (name) => name.startsWith('vmlinuz'));
    const machine = ['-accel', 'tcg', '-m', '256M', '-nographic', '-no-reboot'];
    const network = ['-nic', 'none', '-netdev', 'user,id=net', '-device'];
    const boot = ['-kernel', kernel, '-initrd', join(folder, 'initrd')];
    this.#child = spawn('qemu-system-x86_64', [
      ...[...machine, ...network, 'virtio-net-pci,netdev=net,romfile=', ...boot],
      ...['-append', 'console=ttyS0 quiet panic=-1'],
    ]);
    for (const from of [this.#child.stdout, this.#child.stderr]) {
      from?.on('data', (text: Buffer) => {
        this.#output = (this.#output + text.toString()).slice(-OUTPUT_MAX);
        for (const wake of this.#wakers) wake();
      });
    }
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        rmSync(folder, { recursive: true, force: true });
        for (const wake of this.#wakers) wake();
        resolve();
      });
    });
  }

  static start(parts: GuestParts): Guest {
    const folder = mkdtempSync(join(tmpdir(), 'memrack-guest-'));
    makeFileSystem(folder, parts);
    return new Guest(folder);
  }

  /** What it has said. */
  get output(): string {
    return this.#output;
  }

  /** Until it has said so; rejects with all that it has said when it ends before, or is late. */
  async heard(words: string, withinMs: number): Promise<void> {
    const isHeard = (): boolean => this.#output.includes(words);
    const isOver = (): boolean => this.#child.exitCode !== null;
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      for (const wake of this.#wakers) wake();
    }, withinMs);
    while (!isHeard() && !isOver() && !isLate) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#wakers.delete(wake);
          resolve();
        };
        this.#wakers.add(wake);
      });
    }
    clearTimeout(timer);
    if (!isHeard()) throw new Error(`the guest has not said "${words}":\n${this.#output}`);
  }

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

function makeFileSystem(folder: string, { programs, modules, script }: GuestParts): void {
  const root = join(folder, 'root');
  for (const name of ['bin', 'sbin', 'proc', 'sys', 'dev', 'mnt', 'tmp', 'modules']) {
    mkdirSync(join(root, name), { recursive: true });
  }
  copyFileSync(fileOf('busybox') ?? '', join(root, 'bin/busybox'));
  for (const program of programs) {
    const file = fileOf(program) ?? '';
    copyFileSync(file, join(root, 'sbin', program));
    for (const library of librariesOf(file)) {
      mkdirSync(join(root, dirname(library)), { recursive: true });
      copyFileSync(library, join(root, library));
    }
  }
  const files = inOrder([...MODULES, ...modules]);
  for (const file of files) copyFileSync(file, join(root, 'modules', basename(file)));
  const loads = files.map((file) => `insmod /modules/${basename(file)}`);
  const lines = [...FIRST, ...loads, ...NETWORK, script, 'poweroff -f', ''];
  writeFileSync(join(root, 'init'), lines.join('\n'), { mode: 0o755 });
  const pack = 'find . | cpio -o -H newc --quiet | gzip -1 > ../initrd';
  execFileSync('sh', ['-c', pack], { cwd: root });
}

const FIRST = [
  '#!/bin/busybox sh',
  '/bin/busybox --install -s /bin',
  'export PATH=/sbin:/bin',
  'mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev',
];
/** What the user network of qemu expects. */
const NETWORK = [
  'ip link set eth0 up',
  'ip addr add 10.0.2.15/24 dev eth0',
  'ip route add default via 10.0.2.2',
];

function fileOf(program: string): string | undefined {
  return SOUGHT.map((folder) => join(folder, program)).find((file) => {
    return found(dirname(file), (name) => name === program).length > 0;
  });
}

function librariesOf(file: string): string[] {
  const text = execFileSync('ldd', [file]).toString();
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
}

/** Files of kernel modules, those that others need before them. */
function inOrder(names: readonly string[]): string[] {
  const all = new Map<string, string>();
  const isModule = (name: string): boolean => name.endsWith('.ko');
  for (const file of found(join(KERNEL_FOLDER, 'lib/modules'), isModule)) {
    all.set(basename(file, '.ko'), file);
  }
  const ordered = new Set<string>();
  const take = (name: string): void => {
    const file = all.get(name);
    if (file === undefined) throw new Error(`the guest's kernel has no module ${name}`);
    // As `modinfo` shows it: strings with a zero behind each.
    const needs = /\0depends=([^\0]*)/.exec(readFileSync(file, 'latin1'))?.[1] ?? '';
    for (const need of needs.split(',')) if (need !== '') take(need);
    ordered.add(file);
  };
  for (const name of names) take(name);
  return [...ordered];
}

/** Files below a folder. */
function found(folder: string, isWanted: (name: string) => boolean): string[] {
  const recursive = folder.startsWith(KERNEL_FOLDER) && KERNEL_FOLDER !== '';
  const entries = readdirSync(folder, { withFileTypes: true, recursive });
  return entries.filter(({ name }) => isWanted(name)).map((one) => join(one.parentPath, one.name));
}
